"""What a provider keeps of one purchase: the ask, its fate, its history, and what a question about it finds."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from apps.simulator.fates import PLAIN, Fate, Final, StatusFault
from apps.simulator.ledger import Entry

ONE = Decimal(1)
MICRO = Decimal("0.000001")


class State(StrEnum):
    WAITING = "waiting"
    DELIVERED = "delivered"
    PARTIAL = "partial"
    CANCELLED = "cancelled"
    REVERSED = "reversed"


GIVING = frozenset({State.DELIVERED, State.PARTIAL})


class Step(StrEnum):
    """What time does to a purchase; the word is also written to the ledger as `by`."""

    COMPLETE = "complete"
    LATE_PIN = "late_pin"
    SECOND_PIN = "second_pin"
    FLIP = "flip"
    REVERSE = "reverse"


@dataclass(frozen=True, slots=True)
class Account:
    """Who may buy; `secrets` are those beyond the password, such as a webhook's."""

    login: str
    password: str
    secrets: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ask:
    """One placing request as it arrived; `reference` is empty where the protocol has none."""

    account: str
    reference: str
    product: str
    kupur: str = ""
    recipient: str = ""
    quantity: Decimal = ONE
    extra: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True)
class StatusScript:
    """What the next status questions about one order get before the truth."""

    faults: deque[StatusFault]
    flips: deque[str]

    def next_fault(self) -> StatusFault | None:
        return self.faults.popleft() if self.faults else None

    def next_flip(self) -> str | None:
        return self.flips.popleft() if self.flips else None


@dataclass(frozen=True, slots=True)
class Moment:
    """What was true of a purchase from `at` on."""

    at: float
    state: State
    pins: tuple[str, ...]


@dataclass(slots=True)
class Purchase:
    ask: Ask
    order_id: str
    execution: int
    cost: Decimal
    balance_after: Decimal
    bought_at: float
    fate: Fate
    script: StatusScript
    planned_pins: tuple[str, ...]
    second_pin: str
    state: State = State.WAITING
    finished_at: float = 0.0
    is_flipped: bool = False
    pins_given: list[str] = field(default_factory=list)
    history: list[Moment] = field(default_factory=list)

    @property
    def delivered(self) -> Decimal:
        """How much of the ordered quantity a partial delivery holds."""
        return min(Decimal(self.fate.delivered or 0), self.ask.quantity)

    def charged_in(self, state: State) -> Decimal:
        """What the account pays for this purchase in a state: the rest of a partial one is given back."""
        if state is State.PARTIAL:
            return (self.cost * self.delivered / self.ask.quantity).quantize(MICRO)
        return Decimal(0) if state in (State.CANCELLED, State.REVERSED) else self.cost

    def is_visible(self, now: float) -> bool:
        until = self.fate.visible_until_s
        age = now - self.bought_at
        return age >= self.fate.visible_after_s and (until is None or age < until)

    def at(self, moment: float) -> Moment:
        """What a reader sees who knows everything up to a moment and nothing after it."""
        known = [each for each in self.history if each.at <= moment]
        return known[-1] if known else Moment(self.bought_at, State.WAITING, ())

    def next_step(self) -> tuple[float, Step] | None:
        """The next thing that time alone will do to this purchase."""
        return min(self._coming(), default=None)

    def _coming(self) -> Iterator[tuple[float, Step]]:
        fate = self.fate
        if self.state is State.WAITING and fate.final is not Final.NEVER:
            yield self.bought_at + fate.complete_after_s, Step.COMPLETE
        elif self.state is State.CANCELLED and fate.flip_to_delivered_after_s is not None and not self.is_flipped:
            yield self.finished_at + fate.flip_to_delivered_after_s, Step.FLIP
        elif self.state in GIVING:
            yield from self._coming_pins()
            if fate.reverse_after_s is not None:
                yield self.finished_at + fate.reverse_after_s, Step.REVERSE

    def _coming_pins(self) -> Iterator[tuple[float, Step]]:
        if not self.planned_pins:
            return
        if not self.pins_given and self.fate.pin_late_s is not None:
            yield self.finished_at + self.fate.pin_late_s, Step.LATE_PIN
        elif self.fate.second_pin_after_s is not None and self.second_pin not in self.pins_given:
            yield self.finished_at + self.fate.second_pin_after_s, Step.SECOND_PIN


@dataclass(frozen=True, slots=True)
class Question:
    """What was told to one status question, and whether the truth, a flip or a fault spoke."""

    at: float
    reference: str
    order_id: str
    told: str
    by: str


@dataclass(frozen=True, slots=True)
class Look:
    """What one question about one order finds: the truth, or what its fate shows instead; no purchase: not found."""

    purchase: Purchase | None
    state: State | None = None
    word: str = ""
    pins: tuple[str, ...] = ()
    fault: StatusFault | None = None

    @property
    def fate(self) -> Fate:
        return self.purchase.fate if self.purchase else PLAIN

    @property
    def delivered(self) -> Decimal:
        """Units delivered in the state that is shown."""
        if self.purchase is None or self.state not in GIVING:
            return Decimal(0)
        return self.purchase.delivered if self.state is State.PARTIAL else self.purchase.ask.quantity

    @property
    def charged(self) -> Decimal:
        """What the provider keeps of the cost in the state that is shown."""
        return self.purchase.charged_in(self.state) if self.purchase and self.state else Decimal(0)


def bought(look: Look) -> Purchase:
    """The purchase of a look that found one."""
    if look.purchase is None:
        raise LookupError("nothing was found, so there is nothing to tell")
    return look.purchase


NOT_FOUND = Look(None)


def apply(purchase: Purchase, state: State, at: float, by: str, pins: tuple[str, ...]) -> None:
    """Write one change into a purchase; a PIN that comes later leaves its state and its end as they are."""
    purchase.pins_given.extend(pin for pin in pins if pin not in purchase.pins_given)
    if by not in (Step.LATE_PIN, Step.SECOND_PIN):
        purchase.state = state
        purchase.finished_at = at
        purchase.is_flipped = purchase.is_flipped or by == Step.FLIP
    purchase.history.append(Moment(at, state, tuple(purchase.pins_given)))


def given_in(purchase: Purchase, state: State) -> tuple[str, ...]:
    """The codes that go with a state: of a partial one, as many as were delivered."""
    return purchase.planned_pins[: int(purchase.delivered)] if state is State.PARTIAL else purchase.planned_pins


def status_script(fate: Fate) -> StatusScript:
    """The faults and flips of a fate, to be used up one by one."""
    return StatusScript(deque(fate.status_faults), deque(fate.status_flip))


def ask_fields(ask: Ask) -> dict[str, Any]:
    """An ask as the ledger holds it."""
    return {
        "account": ask.account,
        "reference": ask.reference,
        "product": ask.product,
        "kupur": ask.kupur,
        "recipient": ask.recipient,
        "quantity": str(ask.quantity),
        "extra": dict(ask.extra),
    }


def read_ask(entry: Entry) -> Ask:
    """The ask of a ledger entry."""
    return Ask(
        account=entry["account"],
        reference=entry["reference"],
        product=entry["product"],
        kupur=entry["kupur"],
        recipient=entry["recipient"],
        quantity=Decimal(entry["quantity"]),
        extra=entry["extra"],
    )
