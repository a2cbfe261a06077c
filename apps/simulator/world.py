"""The provider's own world: balance, purchases and what becomes of them in time; knows no wire format."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum

from apps.simulator.catalogue import BY_PAIR, Product
from apps.simulator.fates import PLAIN, BlankForm, Fate, FateBook, Final, StatusFault, fate_as_json, parse_fate
from apps.simulator.ledger import Entry, Ledger
from apps.simulator.switches import Switches


class BalanceTooLow(Exception):
    """The dealer cannot pay for this product."""


class State(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    CANCELLED = "cancelled"


class Step(StrEnum):
    """What time does to a purchase; the word is also written to the ledger as `by`."""

    COMPLETE = "complete"
    LATE_PIN = "late_pin"
    SECOND_PIN = "second_pin"
    FLIP = "flip"


@dataclass(frozen=True, slots=True)
class Ask:
    """One placing request as it arrived."""

    account: str
    reference: str
    product: str
    kupur: str
    recipient: str


@dataclass(slots=True)
class Purchase:
    ask: Ask
    execution: int
    cost: Decimal
    balance_after: Decimal
    bought_at: float
    fate: Fate
    pin: str | None
    second_pin: str | None
    state: State = State.WAITING
    finished_at: float = 0.0
    is_flipped: bool = False
    pins_given: list[str] = field(default_factory=list)

    def next_step(self) -> tuple[float, Step] | None:
        """The next thing that time alone will do to this purchase."""
        fate = self.fate
        if self.state is State.WAITING and fate.final is not Final.NEVER:
            return self.bought_at + fate.complete_after_s, Step.COMPLETE
        if self.state is State.CANCELLED and fate.flip_to_delivered_after_s is not None and not self.is_flipped:
            return self.finished_at + fate.flip_to_delivered_after_s, Step.FLIP
        if self.state is State.DELIVERED and self.pin is not None:
            return self._next_pin()
        return None

    def _next_pin(self) -> tuple[float, Step] | None:
        fate = self.fate
        if not self.pins_given and fate.pin_late_s is not None:
            return self.finished_at + fate.pin_late_s, Step.LATE_PIN
        if fate.second_pin_after_s is not None and self.second_pin not in self.pins_given:
            return self.finished_at + fate.second_pin_after_s, Step.SECOND_PIN
        return None


@dataclass(slots=True)
class StatusScript:
    """What the next status questions about one reference get before the truth."""

    faults: deque[StatusFault]
    flips: deque[str]


class World:
    def __init__(self, login: str, password: str, balance: Decimal, fates: FateBook, truth: Ledger) -> None:
        self.login = login
        self.password = password
        self.balance = balance
        self.fates = fates
        self.truth = truth
        self.switches = Switches()
        self._purchases: dict[str, list[Purchase]] = {}
        self._scripts: dict[str, StatusScript] = {}
        self._due: list[tuple[float, int, Step, Purchase]] = []
        self._due_count = 0

    # Placing

    def receive(self, ask: Ask, now: float, is_ours: bool) -> Fate:
        """Record that a placing request arrived and choose its fate; a stranger or a repeat uses up no script."""
        is_fresh = is_ours and (ask.reference not in self._purchases or self.buys_again)
        fate = self.fates.choose(ask.reference, ask.recipient) if is_fresh else None
        self.truth.record("asked", now, **_ask_fields(ask), fate=fate_as_json(fate) if fate else None)
        if fate:
            self._scripts[ask.reference] = _status_script(fate)
        return fate or PLAIN

    @property
    def buys_again(self) -> bool:
        return self.switches.repeat_policy == "buys_again"

    def record_refused(self, ask: Ask, now: float, text: str) -> None:
        self.truth.record("refused", now, account=ask.account, reference=ask.reference, text=text)

    def record_repeat(self, ask: Ask, now: float, done: str) -> None:
        self.truth.record("repeat", now, account=ask.account, reference=ask.reference, done=done)

    def buy(self, ask: Ask, product: Product, fate: Fate, now: float) -> Purchase:
        """Charge and keep the purchase, as often as its fate says; raises BalanceTooLow with nothing bought."""
        cost = Decimal(fate.cost or product.fiyat)
        if self.balance < cost * fate.executions:
            raise BalanceTooLow
        return [self._buy_once(ask, product, fate, cost, now) for _ in range(fate.executions)][-1]

    def _buy_once(self, ask: Ask, product: Product, fate: Fate, cost: Decimal, now: float) -> Purchase:
        execution = len(self._purchases.get(ask.reference, ())) + 1
        pin, second_pin = self._pins(ask.reference, execution, product, fate)
        self.balance -= cost
        purchase = Purchase(ask, execution, cost, self.balance, now, fate, pin, second_pin)
        self.truth.record(
            "bought",
            now,
            **_ask_fields(ask),
            execution=execution,
            cost=str(cost),
            balance=str(self.balance),
            planned_pins=[pin, second_pin],
        )
        self._keep(purchase)
        self.settle(now)
        return purchase

    def _pins(self, reference: str, execution: int, product: Product, fate: Fate) -> tuple[str | None, str | None]:
        is_blank = fate.pin_blank_form is not BlankForm.NONE and fate.pin_late_s is None
        pin = fate.pin
        if pin is None and product.gives_pin and not is_blank:
            pin = self.fates.pin_for(reference, execution, "first")
        return pin, fate.second_pin or self.fates.pin_for(reference, execution, "second")

    def _keep(self, purchase: Purchase) -> None:
        self._purchases.setdefault(purchase.ask.reference, []).append(purchase)
        self._plan(purchase)

    # Looking

    def purchases(self) -> Iterable[Purchase]:
        return (purchase for executions in self._purchases.values() for purchase in executions)

    def first_of(self, reference: str) -> Purchase | None:
        executions = self._purchases.get(reference)
        return executions[0] if executions else None

    def get_visible(self, reference: str, now: float) -> Purchase | None:
        """The latest purchase of the reference, unless its fate still hides it."""
        executions = self._purchases.get(reference)
        if not executions or now < executions[-1].bought_at + executions[-1].fate.visible_after_s:
            return None
        return executions[-1]

    def next_fault(self, reference: str) -> StatusFault | None:
        script = self._scripts.get(reference)
        return script.faults.popleft() if script and script.faults else None

    def next_flip(self, reference: str) -> str | None:
        script = self._scripts.get(reference)
        return script.flips.popleft() if script and script.flips else None

    def record_checked(self, reference: str, now: float, told: str, by: str) -> None:
        self.truth.record("checked", now, account=self.login, reference=reference, told=told, by=by)

    # Time

    def settle(self, now: float) -> None:
        """Let everything happen that is due."""
        while self._due and self._due[0][0] <= now:
            at, _, step, purchase = heapq.heappop(self._due)
            if purchase.next_step() == (at, step):
                STEPS[step](self, purchase, at)
                self._plan(purchase)

    def finish(self, reference: str, final: Final, now: float) -> Purchase | None:
        """Deliver or cancel the latest purchase of a reference at once, whatever its state."""
        executions = self._purchases.get(reference)
        if not executions or final is Final.NEVER:
            return None
        self._end(executions[-1], State(final), now, "control")
        self._plan(executions[-1])
        return executions[-1]

    def _plan(self, purchase: Purchase) -> None:
        due = purchase.next_step()
        if due is not None:
            self._due_count += 1
            heapq.heappush(self._due, (due[0], self._due_count, due[1], purchase))

    def _complete(self, purchase: Purchase, at: float) -> None:
        self._end(purchase, State(purchase.fate.final), at, Step.COMPLETE)

    def _flip(self, purchase: Purchase, at: float) -> None:
        self._end(purchase, State.DELIVERED, at, Step.FLIP)

    def _end(self, purchase: Purchase, state: State, at: float, by: str) -> None:
        self.balance += _charged(purchase.state, purchase.cost) - _charged(state, purchase.cost)
        gives_now = state is State.DELIVERED and (purchase.fate.pin_late_s is None or by == "control")
        _apply_end(purchase, state, at, by, purchase.pin if gives_now else None)
        self._record_finished(purchase, at, by, purchase.pin if gives_now else None)

    def _give_late_pin(self, purchase: Purchase, at: float) -> None:
        self._give(purchase, purchase.pin, at, Step.LATE_PIN)

    def _give_second_pin(self, purchase: Purchase, at: float) -> None:
        self._give(purchase, purchase.second_pin, at, Step.SECOND_PIN)

    def _give(self, purchase: Purchase, pin: str | None, at: float, by: str) -> None:
        _apply_pin(purchase, pin)
        self._record_finished(purchase, at, by, pin)

    def _record_finished(self, purchase: Purchase, at: float, by: str, pin: str | None) -> None:
        self.truth.record(
            "finished",
            at,
            account=purchase.ask.account,
            reference=purchase.ask.reference,
            execution=purchase.execution,
            state=purchase.state,
            pin=pin,
            balance=str(self.balance),
            by=by,
        )

    # After a restart

    def rebuild(self, entries: Iterable[Entry]) -> None:
        """Play the ledger back without writing to it; switches and unused scripts are not in it."""
        asked: dict[str, Fate] = {}
        for entry in entries:
            reference = entry.get("reference", "")
            if entry["event"] == "asked" and entry["fate"] is not None:
                asked[reference] = parse_fate(entry["fate"])
                self._scripts[reference] = _status_script(asked[reference])
            elif entry["event"] in REPLAYS:
                REPLAYS[entry["event"]](self, entry, asked.get(reference, PLAIN))
        for purchase in self.purchases():
            self._plan(purchase)

    def _replay_bought(self, entry: Entry, fate: Fate) -> None:
        ask = Ask(*(entry[name] for name in ("account", "reference", "product", "kupur", "recipient")))
        self.balance = Decimal(entry["balance"])
        purchase = Purchase(
            ask, entry["execution"], Decimal(entry["cost"]), self.balance, entry["at"], fate, *entry["planned_pins"]
        )
        self._purchases.setdefault(ask.reference, []).append(purchase)

    def _replay_finished(self, entry: Entry, fate: Fate) -> None:
        purchase = self._purchases[entry["reference"]][entry["execution"] - 1]
        self.balance = Decimal(entry["balance"])
        if entry["by"] in (Step.LATE_PIN, Step.SECOND_PIN):
            _apply_pin(purchase, entry["pin"])
        else:
            _apply_end(purchase, State(entry["state"]), entry["at"], entry["by"], entry["pin"])

    def _replay_checked(self, entry: Entry, fate: Fate) -> None:
        if entry["by"] == "fault":
            self.next_fault(entry["reference"])
        elif entry["by"] == "flip":
            self.next_flip(entry["reference"])


STEPS: dict[Step, Callable[[World, Purchase, float], None]] = {
    Step.COMPLETE: World._complete,
    Step.LATE_PIN: World._give_late_pin,
    Step.SECOND_PIN: World._give_second_pin,
    Step.FLIP: World._flip,
}

REPLAYS: dict[str, Callable[[World, Entry, Fate], None]] = {
    "bought": World._replay_bought,
    "finished": World._replay_finished,
    "checked": World._replay_checked,
}


def find_product(product: str, kupur: str) -> Product | None:
    return BY_PAIR.get((product, kupur))


def advanced_by(entries: Iterable[Entry]) -> float:
    """How far earlier runs on this ledger have moved the clock, in seconds."""
    return sum(float(entry["seconds"]) for entry in entries if entry["event"] == "advanced")


def _apply_end(purchase: Purchase, state: State, at: float, by: str, pin: str | None) -> None:
    purchase.state = state
    purchase.finished_at = at
    purchase.is_flipped = purchase.is_flipped or by == Step.FLIP
    _apply_pin(purchase, pin)


def _apply_pin(purchase: Purchase, pin: str | None) -> None:
    if pin is not None and pin not in purchase.pins_given:
        purchase.pins_given.append(pin)


def _charged(state: State, cost: Decimal) -> Decimal:
    return Decimal(0) if state is State.CANCELLED else cost


def _status_script(fate: Fate) -> StatusScript:
    return StatusScript(deque(fate.status_faults), deque(fate.status_flip))


def _ask_fields(ask: Ask) -> dict[str, str]:
    return {
        "account": ask.account,
        "reference": ask.reference,
        "product": ask.product,
        "kupur": ask.kupur,
        "recipient": ask.recipient,
    }
