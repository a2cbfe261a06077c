"""A provider's own world: balance, purchases and what becomes of them in time; knows no wire format."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import takewhile
from typing import Any

from apps.simulator.dialect import Dialect, Product, Words
from apps.simulator.fates import PLAIN, BlankForm, Fate, FateBook, Final, StatusFault, fate_as_json, parse_fate
from apps.simulator.ledger import Entry, Ledger
from apps.simulator.purchases import (
    GIVING,
    NOT_FOUND,
    Account,
    Ask,
    Look,
    Moment,
    Purchase,
    Question,
    State,
    StatusScript,
    Step,
    apply,
    ask_fields,
    bought,
    given_in,
    read_ask,
    status_script,
)

__all__ = ["Account", "Ask", "BalanceTooLow", "Look", "Moment", "Purchase", "State", "World", "advanced_by", "bought"]

LAST_QUESTIONS = 30


class BalanceTooLow(Exception):
    """The account cannot pay for this product."""


class World:
    def __init__(self, dialect: Dialect, account: Account, balance: Decimal, fates: FateBook, truth: Ledger) -> None:
        self.dialect = dialect
        self.account = account
        self.balance = balance
        self.fates = fates
        self.truth = truth
        self.switches: Any = dialect.switches  # the dialect's own class: only its file reads more than the base
        self._executions: dict[str, list[Purchase]] = {}
        self._by_order_id: dict[str, Purchase] = {}
        self._scripts: dict[str, StatusScript] = {}
        self._refusals: dict[str, str] = {}  # the first one of each reference
        self.news: deque[tuple[Purchase, Moment]] = deque()  # for the webhooks, while they are switched on
        self.last_questions: deque[Question] = deque(maxlen=LAST_QUESTIONS)  # for the page that people watch
        self.now = 0.0  # of the request that is being answered
        self._asked = 0
        self._due: list[tuple[float, int, Step, Purchase]] = []
        self._due_count = 0

    @property
    def words(self) -> Words:
        return self.dialect.words

    @property
    def is_used(self) -> bool:
        """Whether anybody has ordered or asked here."""
        return bool(self._asked or self.last_questions)

    # Placing

    def receive(self, ask: Ask, now: float, is_ours: bool) -> Fate:
        """Record that a placing request arrived and choose its fate; a stranger or a repeat uses up no script."""
        self._asked += 1
        is_fresh = is_ours and (self.switches.buys_again or not self.first_of(ask.reference, now))
        key = ask.reference or f"#{self._asked}"
        fate = self.fates.choose(key, ask.recipient, now) if is_fresh else None
        self._record("asked", now, **ask_fields(ask), fate=fate_as_json(fate) if fate else None)
        if fate and ask.reference:
            self._scripts[ask.reference] = status_script(fate)
        return fate or PLAIN

    def record_refused(self, ask: Ask, now: float, text: str) -> None:
        self._refusals.setdefault(ask.reference, text)
        self._record("refused", now, account=ask.account, reference=ask.reference, text=text)

    def first_refusal(self, reference: str) -> str | None:
        """How this reference was refused for the first time."""
        return self._refusals.get(reference)

    def record_repeat(self, ask: Ask, now: float, done: str) -> None:
        self._record("repeat", now, account=ask.account, reference=ask.reference, done=done)

    def buy(self, ask: Ask, product: Product, fate: Fate, now: float) -> Purchase:
        """Charge and keep the purchase, as often as its fate says; raises BalanceTooLow with nothing bought."""
        cost = product.cost * ask.quantity if fate.cost is None else Decimal(fate.cost)
        if self.balance < cost * fate.executions:
            raise BalanceTooLow
        script = self._scripts.get(ask.reference) or status_script(fate)
        return [self._buy_once(ask, product, fate, cost, script, now) for _ in range(fate.executions)][-1]

    def _buy_once(
        self, ask: Ask, product: Product, fate: Fate, cost: Decimal, script: StatusScript, now: float
    ) -> Purchase:
        execution = len(self._executions.get(ask.reference, ())) + 1 if ask.reference else 1
        order_id = self.dialect.order_id(len(self._by_order_id) + 1, self.fates.seed)
        pins, second = self._pins(f"{ask.reference or order_id}:{execution}", ask, product, fate)
        self.balance -= cost
        purchase = Purchase(ask, order_id, execution, cost, self.balance, now, fate, script, pins, second)
        self._record(
            "bought",
            now,
            **ask_fields(ask),
            order_id=order_id,
            execution=execution,
            cost=str(cost),
            balance=str(self.balance),
            planned_pins=[*pins, second],
            fate=fate_as_json(fate),
        )
        self._keep(purchase)
        self._announce(purchase, Moment(now, State.WAITING, ()))
        self._plan(purchase)
        self.settle(now)
        return purchase

    def _pins(self, key: str, ask: Ask, product: Product, fate: Fate) -> tuple[tuple[str, ...], str]:
        second = fate.second_pin or self.fates.pin_for(f"{key}:second")
        is_blank = fate.pin_blank_form is not BlankForm.NONE and fate.pin_late_s is None
        if fate.pin is None and (is_blank or not product.gives_codes):
            return (), second
        first = fate.pin or self.fates.pin_for(f"{key}:first")
        return (first, *(self.fates.pin_for(f"{key}:code-{n}") for n in range(2, int(ask.quantity) + 1))), second

    def _keep(self, purchase: Purchase) -> None:
        self._by_order_id[purchase.order_id] = purchase
        if purchase.ask.reference:
            self._executions.setdefault(purchase.ask.reference, []).append(purchase)

    # Looking

    def purchases(self) -> Iterable[Purchase]:
        """All of them, the oldest first."""
        return self._by_order_id.values()

    def newest_first(self) -> Iterator[Purchase]:
        return reversed(self._by_order_id.values())

    def younger_than(self, seconds: float) -> Iterator[Purchase]:
        """Those of the last seconds, the newest first."""
        return takewhile(lambda each: self.now - each.bought_at < seconds, self.newest_first())

    def first_of(self, reference: str, now: float) -> Purchase | None:
        """The purchase that makes this reference a repeat, unless the provider has forgotten it or is still busy."""
        executions = self._executions.get(reference)
        return executions[0] if executions and self._is_known(executions[-1], now) else None

    def _is_known(self, purchase: Purchase, now: float) -> bool:
        age = now - purchase.bought_at
        life = self.switches.reference_life_s
        is_busy = self.switches.is_racy and age < purchase.fate.answer_delay_s
        return not is_busy and (life is None or age < life)

    def latest_of(self, reference: str) -> Purchase | None:
        executions = self._executions.get(reference)
        return executions[-1] if executions else None

    def by_order_id(self, order_id: str) -> Purchase | None:
        return self._by_order_id.get(order_id)

    def other_than(self, purchase: Purchase) -> Purchase:
        """Any other purchase, for an answer that is about the wrong order; the same one where there is no other."""
        return next((other for other in self.newest_first() if other is not purchase), purchase)

    def look(self, now: float, *, reference: str = "", order_id: str = "") -> Look:
        """Answer a status question by our reference or by the provider's id, and write down what was told."""
        purchase = self.by_order_id(order_id) if order_id else self.latest_of(reference)
        script = purchase.script if purchase else self._scripts.get(reference)
        look, by = self._look(purchase, script, now)
        known = purchase.ask.reference if purchase else reference
        self._record_checked(known, purchase.order_id if purchase else order_id, look, by, now)
        return look

    def view(self, purchase: Purchase | None, now: float) -> Look:
        """What is true of a purchase, as far as its provider's status side knows; asks nothing, writes nothing."""
        if purchase is None:
            return NOT_FOUND
        return self.view_of(purchase, purchase.at(now - purchase.fate.status_lag_s))

    def view_of(self, purchase: Purchase, moment: Moment) -> Look:
        """A purchase as it was at one moment of its history."""
        return Look(purchase, moment.state, self.words.states[moment.state], moment.pins)

    def _look(self, purchase: Purchase | None, script: StatusScript | None, now: float) -> tuple[Look, str]:
        fault = script.next_fault() if script else None
        is_hidden = purchase is None or not purchase.is_visible(now)
        seen = NOT_FOUND if is_hidden else self.view(purchase, now)
        if fault is not None:
            return self._faulty(seen, fault, now), "fault"
        flip = script.next_flip() if script and seen.purchase else None
        if flip is None:
            return seen, "world"
        return Look(seen.purchase, self._state_of(flip), flip, seen.pins), "flip"

    def _faulty(self, seen: Look, fault: StatusFault, now: float) -> Look:
        if fault is StatusFault.NOT_FOUND:
            return Look(None, fault=fault)
        if fault is StatusFault.OTHER_ORDER and seen.purchase:
            return replace(self.view(self.other_than(seen.purchase), now), fault=fault)
        word = self.words.unknown_state if fault is StatusFault.UNKNOWN_WORD else seen.word
        return Look(seen.purchase, seen.state, word, seen.pins, fault)

    def _state_of(self, word: str) -> State | None:
        return next((state for state, known in self.words.states.items() if known == word), None)

    def _record_checked(self, reference: str, order_id: str, look: Look, by: str, now: float) -> None:
        told = look.fault or (look.word if look.purchase else "not_found")
        self.last_questions.append(Question(now, reference, order_id, told, by))
        self._record(
            "checked", now, account=self.account.login, reference=reference, order_id=order_id, told=told, by=by
        )

    def told(self, at: float) -> float:
        """A moment as this provider's own clock names it."""
        return at + float(self.switches.clock_skew_s)

    # Time

    def settle(self, now: float) -> None:
        """Let everything happen that is due."""
        self.now = now
        while self._due and self._due[0][0] <= now:
            at, _, step, purchase = heapq.heappop(self._due)
            if purchase.next_step() == (at, step):
                STEPS[step](self, purchase, at)
                self._plan(purchase)

    def finish(self, purchase: Purchase, final: Final, now: float) -> None:
        """Bring a purchase to this end at once, whatever its state."""
        self._end(purchase, State(final), now, "control")
        self._plan(purchase)

    def _plan(self, purchase: Purchase) -> None:
        due = purchase.next_step()
        if due is not None:
            self._due_count += 1
            heapq.heappush(self._due, (due[0], self._due_count, due[1], purchase))

    def _complete(self, purchase: Purchase, at: float) -> None:
        self._end(purchase, State(purchase.fate.final), at, Step.COMPLETE)

    def _flip(self, purchase: Purchase, at: float) -> None:
        self._end(purchase, State.DELIVERED, at, Step.FLIP)

    def _reverse(self, purchase: Purchase, at: float) -> None:
        self._end(purchase, State.REVERSED, at, Step.REVERSE)

    def _end(self, purchase: Purchase, state: State, at: float, by: str) -> None:
        self.balance += purchase.charged_in(purchase.state) - purchase.charged_in(state)
        gives_now = state in GIVING and (purchase.fate.pin_late_s is None or by == "control")
        gives_now = gives_now or (state is State.CANCELLED and purchase.fate.pin_when_cancelled)
        self._change(purchase, state, at, by, given_in(purchase, state) if gives_now else ())

    def _give_late_pin(self, purchase: Purchase, at: float) -> None:
        self._change(purchase, purchase.state, at, Step.LATE_PIN, given_in(purchase, purchase.state))

    def _give_second_pin(self, purchase: Purchase, at: float) -> None:
        self._change(purchase, purchase.state, at, Step.SECOND_PIN, (purchase.second_pin,))

    def _change(self, purchase: Purchase, state: State, at: float, by: str, pins: tuple[str, ...]) -> None:
        apply(purchase, state, at, by, pins)
        self._announce(purchase, purchase.history[-1])
        self._record(
            "finished",
            at,
            account=purchase.ask.account,
            reference=purchase.ask.reference,
            order_id=purchase.order_id,
            execution=purchase.execution,
            state=state,
            pins=list(pins),
            charged=str(purchase.charged_in(state)),
            balance=str(self.balance),
            by=by,
        )

    def _announce(self, purchase: Purchase, moment: Moment) -> None:
        if self.switches.hook_url:
            self.news.append((purchase, moment))

    def record_hook(self, purchase: Purchase, moment: Moment, now: float, *, is_forged: bool) -> None:
        names = {"reference": purchase.ask.reference, "order_id": purchase.order_id}
        self._record("hook", now, **names, state=moment.state, is_forged=is_forged)

    def _record(self, event: str, at: float, **fields: Any) -> None:
        self.truth.record(event, at, dialect=self.dialect.name, **fields)

    # After a restart

    def rebuild(self, entries: Iterable[Entry]) -> None:
        """Play the ledger back without writing to it; switches and unused scripts are not in it."""
        for entry in entries:
            if entry.get("dialect") == self.dialect.name and entry["event"] in REPLAYS:
                REPLAYS[entry["event"]](self, entry)
        for purchase in self.purchases():
            self._plan(purchase)

    def _replay_asked(self, entry: Entry) -> None:
        self._asked += 1
        if entry["fate"] is not None and entry["reference"]:
            self._scripts[entry["reference"]] = status_script(parse_fate(entry["fate"]))

    def _replay_bought(self, entry: Entry) -> None:
        fate = parse_fate(entry["fate"])
        script = self._scripts.get(entry["reference"]) or status_script(fate)
        *pins, second = entry["planned_pins"]
        self.balance = Decimal(entry["balance"])
        cost = Decimal(entry["cost"])
        place = (read_ask(entry), entry["order_id"], entry["execution"])
        self._keep(Purchase(*place, cost, self.balance, entry["at"], fate, script, tuple(pins), second))

    def _replay_refused(self, entry: Entry) -> None:
        self._refusals.setdefault(entry["reference"], entry["text"])

    def _replay_finished(self, entry: Entry) -> None:
        self.balance = Decimal(entry["balance"])
        purchase = self._by_order_id[entry["order_id"]]
        apply(purchase, State(entry["state"]), entry["at"], entry["by"], tuple(entry["pins"]))

    def _replay_checked(self, entry: Entry) -> None:
        purchase = self.by_order_id(entry["order_id"])
        script = purchase.script if purchase else self._scripts.get(entry["reference"])
        if script and entry["by"] == "fault":
            script.next_fault()
        elif script and entry["by"] == "flip":
            script.next_flip()


STEPS: dict[Step, Callable[[World, Purchase, float], None]] = {
    Step.COMPLETE: World._complete,
    Step.LATE_PIN: World._give_late_pin,
    Step.SECOND_PIN: World._give_second_pin,
    Step.FLIP: World._flip,
    Step.REVERSE: World._reverse,
}

REPLAYS: dict[str, Callable[[World, Entry], None]] = {
    "asked": World._replay_asked,
    "bought": World._replay_bought,
    "refused": World._replay_refused,
    "finished": World._replay_finished,
    "checked": World._replay_checked,
}


def advanced_by(entries: Iterable[Entry]) -> float:
    """How far earlier runs on this ledger have moved the clock, in seconds."""
    return sum(float(entry["seconds"]) for entry in entries if entry["event"] == "advanced")
