"""One order explained from stored facts: where it stands, its money, its fifteen steps, every event, every due time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from apps.catalog.models import Package
from apps.common.money import Money
from apps.orders.dispatch.trace import STEPS, decision_of
from apps.orders.models import Attempt, Case, DueCheck, Evidence, Order, OrderCode, OrderEvent, OrderUnit
from apps.orders.polling import learning
from apps.orders.polling.policy import LEAST_COMPLETIONS
from apps.orders.questions import load_facts
from apps.orders.states import OPEN_ATTEMPTS, SETTLED, AttemptState, DueKind, ExternalStatus, OrderStatus, UnitStatus
from apps.panel import words
from apps.panel.replies import as_curl
from apps.providers.actions import allowed
from apps.wallet import ledger

PLAIN_FACTS = ("n", "name")

FACT_WORDS: dict[str, words.Words] = {
    "attempt_state": dict(AttemptState.choices),
    "kind": dict(DueKind.choices),
    "knowledge": words.KNOWLEDGE,
    "outcome": words.OUTCOMES,
    "reason": words.REASONS,
    "said": words.EVENTS,
    "status": dict(OrderStatus.choices),
    "strategy": dict(Package.Strategy.choices),
}
"""Facts whose values are words of the hub."""


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that a step found."""

    label: str
    value: str


@dataclass(frozen=True, slots=True)
class Step:
    """One of the fifteen steps, with what it found; `is_done` is false for a step that was not reached."""

    n: int
    name: str
    is_done: bool
    facts: list[Fact]


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One run of `try_auto_dispatch`: all fifteen steps, and why it stopped early if it did."""

    at: datetime
    steps: list[Step]
    done: int
    result: str


@dataclass(frozen=True, slots=True)
class PassedRoute:
    """One route that was passed over: where it leads, why, and when it may be open again."""

    name: str
    why: str
    retry_at: datetime | None


@dataclass(frozen=True, slots=True)
class Choice:
    """The latest decision about the route: which one was taken (none: empty), by which rule, and what it passed."""

    at: datetime
    picked: str
    strategy: str
    passed: list[PassedRoute]


@dataclass(frozen=True, slots=True)
class Line:
    """One event of the story."""

    event: OrderEvent
    title: str
    cause: str
    status: str
    external: str
    reason: str
    quote: str
    to: str


@dataclass(frozen=True, slots=True)
class Due:
    """One thing that is going to be done, and how often it was done already."""

    row: DueCheck
    kind: str
    asked: int
    why: str


@dataclass(frozen=True, slots=True)
class Proof:
    """One question or purchase with what came back."""

    evidence: Evidence
    verb: str
    knowledge: str
    outcome: str
    curl: str


@dataclass(frozen=True, slots=True)
class Option:
    """One thing that might be done about an attempt, and why it must not be; `why_not` is empty where it may."""

    action: str
    why_not: str


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt with its money and, while it is open, what may be done about it."""

    attempt: Attempt
    outcome: str
    cost: Money | None
    options: list[Option]


@dataclass(frozen=True, slots=True)
class Posting:
    """One line of the ledger."""

    line: ledger.Line
    kind: str
    source: str
    target: str


@dataclass(frozen=True, slots=True)
class Question:
    """One case: something that money hangs on and a person must answer."""

    case: Case
    risk: Money


@dataclass(frozen=True, slots=True)
class Share:
    """One unit of the quantity with its money."""

    unit: OrderUnit
    money: Money


@dataclass(frozen=True, slots=True)
class Amount:
    """One signed amount of the order's result; None while it is not known."""

    label: str
    money: Money | None


@dataclass(frozen=True, slots=True)
class Story:
    """All that the page of one order shows."""

    order: Order
    price: Money
    result: list[Amount]
    sentences: list[str]
    sums: list[tuple[UnitStatus, Money]]
    units: list[Share]
    postings: list[Posting]
    choice: Choice | None
    dispatches: list[Dispatch]
    lines: list[Line]
    tries: list[Try]
    dues: list[Due]
    proofs: list[Proof]
    codes: list[OrderCode]
    questions: list[Question]

    @property
    def is_settled(self) -> bool:
        """Whether the page may stop asking for news."""
        return self.order.status in SETTLED

    @property
    def can_ask(self) -> bool:
        """Whether asking again could find anything to do."""
        return bool(self.dues) or not self.is_settled

    @property
    def can_reveal(self) -> bool:
        """Whether there is a code that a person may see."""
        return any(not code.is_quarantined for code in self.codes)


def load_due(order: Order) -> list[DueCheck]:
    """What the order waits for, soonest first; found by its attempts and its one dispatch row."""
    rows = DueCheck.objects.select_related("attempt__integration")
    found = [*rows.filter(attempt__order=order), *rows.filter(order=order, kind=DueKind.DISPATCH)]
    return sorted(found, key=lambda row: row.next_at)


def load_story(order: Order, now: datetime) -> Story:
    """Read everything that is known of the order."""
    attempts = list(Attempt.objects.filter(order=order).select_related("integration").order_by("id"))
    dues = [as_due(row, order) for row in load_due(order)]
    events = list(OrderEvent.objects.filter(order=order).select_related("attempt").order_by("id"))
    units = list(OrderUnit.objects.filter(order=order).order_by("n"))
    evidence = Evidence.objects.filter(order=order).select_related("attempt").order_by("id")
    return Story(
        order=order,
        price=Money(order.price_micros, order.currency),
        result=result_of(order),
        sentences=standing(order, attempts, dues, now),
        sums=sums_of(order, units),
        units=[Share(unit, Money(unit.amount_micros, order.currency)) for unit in units],
        postings=[as_posting(line) for line in ledger.lines_of("order", order.pk)],
        choice=choice_of(events),
        dispatches=[as_dispatch(event) for event in events if "steps" in event.data],
        lines=[as_line(event) for event in events],
        tries=[as_try(attempt, now) for attempt in attempts],
        dues=dues,
        proofs=[as_proof(item) for item in evidence.defer("sealed_body")],
        codes=list(OrderCode.objects.filter(order=order).select_related("attempt").order_by("id")),
        questions=[
            Question(case, Money(case.risk_micros, case.currency))
            for case in Case.objects.filter(order=order).select_related("attempt", "owner").order_by("id")
        ],
    )


def result_of(order: Order) -> list[Amount]:
    """What the order brought, cost and left, as it is stored; the difference only where the provider named one."""
    found = [
        (_("Brought"), order.captured_micros),
        (_("Cost"), order.cost_micros),
        (_("Profit"), order.profit_micros),
    ]
    if order.cost_difference_micros:
        found.append((_("Cost above the expected"), order.cost_difference_micros))
    return [Amount(label, None if micros is None else Money(micros, order.currency)) for label, micros in found]


# --- where it stands, as sentences


def standing(order: Order, attempts: list[Attempt], dues: list[Due], now: datetime) -> list[str]:
    """Why the order is where it is, what was done about it, and what happens next."""
    return [_main_sentence(order, attempts), *_next_sentences(order, dues, now)]


def _main_sentence(order: Order, attempts: list[Attempt]) -> str:
    if order.reason:
        return words.say(words.REASONS, order.reason)
    open_states = [attempt.state for attempt in attempts if attempt.state in words.ATTEMPT_SENTENCES]
    if order.status == OrderStatus.PROCESSING and open_states:
        # Doubt is the worst news, so it speaks for the order.
        state = AttemptState.IN_DOUBT if AttemptState.IN_DOUBT in open_states else open_states[-1]
        return words.say(words.ATTEMPT_SENTENCES, state)
    return words.say(words.STATUS_SENTENCES, order.status)


def _next_sentences(order: Order, dues: list[Due], now: datetime) -> list[str]:
    if order.status in SETTLED:
        return []
    return [_next_sentence(due, now) for due in dues if due.row.kind != DueKind.WATCH]


def _next_sentence(due: Due, now: datetime) -> str:
    at = {"time": clock_time(due.row.next_at, now)}
    if due.row.kind == DueKind.DISPATCH:
        return _("Next try to send: %(time)s.") % at
    if due.asked == 0:
        return _("Not asked yet; first question at %(time)s.") % at
    counted = {**at, "count": due.asked}
    if due.row.kind == DueKind.RESOLVE:
        return (
            ngettext(
                "Asked by reference %(count)d time; next question at %(time)s.",
                "Asked by reference %(count)d times; next question at %(time)s.",
                due.asked,
            )
            % counted
        )
    return (
        ngettext(
            "Asked %(count)d time; next question at %(time)s.",
            "Asked %(count)d times; next question at %(time)s.",
            due.asked,
        )
        % counted
    )


def clock_time(at: datetime, now: datetime) -> str:
    """The time of day in the zone of the page, with the date when it is another day."""
    local, today = timezone.localtime(at), timezone.localtime(now).date()
    return f"{local:%H:%M:%S}" if local.date() == today else f"{local:%Y-%m-%d %H:%M}"


# --- parts


def sums_of(order: Order, units: list[OrderUnit]) -> list[tuple[UnitStatus, Money]]:
    """Held, captured and released, from the units."""
    micros = dict.fromkeys(UnitStatus, 0)
    for unit in units:
        micros[UnitStatus(unit.status)] += unit.amount_micros
    return [(status, Money(amount, order.currency)) for status, amount in micros.items()]


def as_due(row: DueCheck, order: Order) -> Due:
    """The row's first answer is that to the purchase itself; what was counted after it are questions."""
    placed = 1 if row.attempt is not None and row.attempt.answered_at is not None else 0
    return Due(row, str(DueKind(row.kind).label), max(row.asked - placed, 0), why_then(row, order))


def why_then(row: DueCheck, order: Order) -> str:
    """Why the next time is when it is: what was learned, else what the fixed schedule is for."""
    usual = words.say(words.DUE_WHY, row.kind)
    if row.attempt is None:
        return usual
    why = learning.explain(row, row.attempt, order.package.product_id)
    if why is None:
        return usual
    if why.lesson.key is None:
        told = {"count": why.lesson.completions, "least": LEAST_COMPLETIONS}
        return _("By the fixed schedule: %(count)d of the %(least)d completions that teach have been seen.") % told
    return _(
        "Typical for %(what)s: %(done)d %% done by %(by)s s; asked again %(gap)s s after the last answer "
        "(hazard %(hazard)s %%/s, price %(price)s s); the schedule alone would wait %(schedule)s s."
    ) % {
        "what": _typical_for(why.lesson.key, row.attempt, order),
        "done": int(100 * why.done),
        "by": f"{why.by_s:.0f}",
        "gap": f"{why.gap_s:.0f}",
        "hazard": f"{100 * why.hazard:.2g}",
        "price": f"{why.price_s:.3g}",
        "schedule": f"{why.schedule_s:.0f}",
    }


def _typical_for(key: learning.Key, attempt: Attempt, order: Order) -> str:
    if key.product_id != learning.ALL:
        return f"{attempt.integration_name} / {order.product_name}"
    return attempt.integration_name if key.integration_id != learning.ALL else _("all providers")


def as_try(attempt: Attempt, now: datetime) -> Try:
    """The attempt with the cost that the provider named, else the one that was expected."""
    micros = attempt.cost_micros if attempt.cost_micros is not None else attempt.expected_cost_micros
    cost = Money(micros, attempt.cost_currency) if micros is not None else None
    return Try(attempt, words.say(words.OUTCOMES, attempt.outcome), cost, options_of(attempt, now))


def options_of(attempt: Attempt, now: datetime) -> list[Option]:
    """Every action with the reason that forbids it, for an attempt that is open."""
    if attempt.state not in OPEN_ATTEMPTS:
        return []
    caps = attempt.integration.caps()
    told = allowed(caps, load_facts(attempt, caps, now))
    return [
        Option(words.say(words.ACTIONS, action), words.say(words.WHY_NOT, why) if why else "")
        for action, why in told.items()
    ]


def as_posting(line: ledger.Line) -> Posting:
    """The ledger's line in words."""
    return Posting(
        line,
        words.say(words.TRANSFERS, line.kind),
        words.say(words.PURSES, line.source),
        words.say(words.PURSES, line.target),
    )


def as_proof(evidence: Evidence) -> Proof:
    """One piece of evidence in words; its raw answer stays closed."""
    return Proof(
        evidence,
        words.say(words.CAUSES, evidence.verb),
        words.say(words.KNOWLEDGE, evidence.knowledge),
        words.say(words.OUTCOMES, evidence.outcome),
        as_curl(evidence.request),
    )


def as_line(event: OrderEvent) -> Line:
    """One event in words."""
    return Line(
        event=event,
        title=words.say(words.EVENTS, event.kind),
        cause=words.say(words.CAUSES, event.cause),
        status=str(OrderStatus(event.status).label),
        external=str(ExternalStatus(event.external_status).label),
        reason=words.say(words.REASONS, event.reason) if event.reason else "",
        quote=str(event.data.get("provider_words") or event.data.get("why", "")),
        to=str(event.data.get("to", "")) if event.cause == "person" else "",
    )


# --- why this route


def choice_of(events: list[OrderEvent]) -> Choice | None:
    """The latest decision of step 5 that is in the story; None before the first one."""
    made = [(event.at, decision_of(event.data.get("steps", []))) for event in events]
    found = [as_choice(at, step) for at, step in made if step is not None]
    return found[-1] if found else None


def as_choice(at: datetime, step: Mapping[str, Any]) -> Choice:
    """The decision in words."""
    return Choice(
        at=at,
        picked=str(step["provider"]) if step["route"] is not None else "",
        strategy=str(Package.Strategy(step["strategy"]).label),
        passed=[as_passed(one) for one in step["passed_over"]],
    )


def as_passed(one: dict[str, Any]) -> PassedRoute:
    """One route that was passed over, in words."""
    retry_at = datetime.fromisoformat(one["retry_at"]) if one["retry_at"] else None
    return PassedRoute(one["name"] or _("a person"), words.say(words.PASSED_OVER, one["reason"]), retry_at)


# --- the fifteen steps


def as_dispatch(event: OrderEvent) -> Dispatch:
    """The trace of one dispatch as all fifteen steps, reached or not."""
    found = {step["n"]: step for step in event.data["steps"]}
    return Dispatch(
        at=event.at,
        steps=[as_step(n, name, found.get(n)) for n, name in STEPS.items()],
        done=len(found),
        result=_result(event),
    )


def _result(event: OrderEvent) -> str:
    if event.kind == "dispatch_refused" and event.reason:
        return words.say(words.REASONS, event.reason)
    return words.say(words.EVENTS, event.kind)


def as_step(n: int, name: str, found: dict[str, Any] | None) -> Step:
    """One step with what it found, in words."""
    facts = [] if found is None else [as_fact(key, value) for key, value in found.items() if _is_told(key, value)]
    return Step(n, words.say(words.STEP_NAMES, name), found is not None, facts)


def _is_told(key: str, value: object) -> bool:
    return key not in PLAIN_FACTS and value not in (None, "", [])


def as_fact(key: str, value: Any) -> Fact:
    """One fact; values that are words of the hub are said as such."""
    return Fact(words.say(words.FACTS, key), _fact_value(key, value))


def _fact_value(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return _("yes") if value else _("no")
    if key == "next_at":
        return f"{timezone.localtime(datetime.fromisoformat(value)):%H:%M:%S}"
    if key == "passed_over" and isinstance(value, list):
        return "; ".join(f"{passed.name}: {passed.why}" for passed in map(as_passed, value))
    return words.say(FACT_WORDS.get(key, {}), str(value))
