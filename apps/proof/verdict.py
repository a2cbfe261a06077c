"""What must hold when all is healed and quiet: our tables joined with what the providers really did."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal

from apps.ops.money_check import check_money
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order, OrderCode, OrderEvent, OrderUnit
from apps.orders.states import SETTLED, AttemptState, DueKind, OrderStatus, UnitStatus
from apps.proof.shop import Wish
from apps.simulator.ledger import Entry, purchase_rows
from apps.simulator.world import World

GONE = frozenset({"cancelled", "reversed"})
"""States in which a provider keeps neither goods nor money."""

WIRED = frozenset({"client_api", "znet", "smm_v2", "digiflazz"})
LONGEST_GAP = timedelta(seconds=660 + 120)
REMINDER = timedelta(days=1, minutes=5)

FINDINGS = (
    "double_purchases",
    "wrong_refunds",
    "lost_pins",
    "forgotten",
    "money_unexplained",
    "unwritten_sends",
    "orphans",
)
"""What must be zero."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What the run leaves besides its database."""

    wishes: Sequence[Wish]
    truth: Sequence[Entry]
    early: Sequence[str]
    now: datetime
    worlds: Mapping[str, World]


@dataclass(slots=True)
class Verdict:
    """What was found wrong, in words by kind, and how much was looked at."""

    orders: int = 0
    purchases: int = 0
    in_doubt: dict[str, int] = field(default_factory=dict)
    resolved: dict[str, int] = field(default_factory=dict)
    answerable: dict[str, int] = field(default_factory=dict)
    answered: dict[str, int] = field(default_factory=dict)
    by_status: dict[str, int] = field(default_factory=dict)
    wrong: dict[str, list[str]] = field(default_factory=lambda: {kind: [] for kind in FINDINGS})
    orders_concerned: set[int] = field(default_factory=set)

    @property
    def is_good(self) -> bool:
        """Whether nothing was wrong."""
        return not any(self.wrong.values())

    def add(self, kind: str, text: str, order_id: int | None = None) -> None:
        """Something is wrong."""
        self.wrong[kind].append(text)
        if order_id:
            self.orders_concerned.add(order_id)


def check_written(entry: Entry, sent_at: datetime) -> str:
    """I2 and I4 as a purchase arrives: its attempt is committed, may send, and began in time; else what is wrong."""
    if entry["dialect"] not in WIRED:
        return ""
    attempts = list(_attempts_of(entry))
    if not attempts:
        return f"a purchase for {entry['recipient']} arrived at {entry['dialect']} and no attempt is written"
    for attempt in attempts:
        if attempt.integration.caps().ask_may_create:
            continue  # there a question is a purchase too, and comes after the sender's time
        if attempt.state == AttemptState.SENDING and sent_at > attempt.send_deadline_at:
            return f"attempt {attempt.pk} was sent after its deadline"
    if (
        entry["reference"]
        and attempts[0].state != AttemptState.SENDING
        and not attempts[0].integration.caps().ask_may_create
    ):
        return f"attempt {attempts[0].pk} was sent while it was {attempts[0].state}"
    return ""


def _attempts_of(entry: Entry) -> Iterable[Attempt]:
    if entry["reference"]:
        return Attempt.objects.filter(reference=entry["reference"])
    return Attempt.objects.filter(kind=entry["dialect"], order__user_identifier=entry["recipient"])


def forgotten(facts: Facts) -> list[str]:
    """I11 alone, now."""
    verdict = Verdict()
    _look_for_forgotten(verdict, Books(facts), facts.now, newest=facts.wishes[-1].order_id)
    return verdict.wrong["forgotten"]


def judge(facts: Facts, *, is_open_looked_at: bool = True) -> Verdict:
    """Look at everything."""
    verdict = Verdict()
    for text in facts.early:
        verdict.add("unwritten_sends", text)
    books = Books(facts)
    _count(verdict, books)
    _look_at_wishes(verdict, facts)
    _look_at_purchases(verdict, books)
    _look_at_money_back(verdict, books)
    _look_at_codes(verdict, books)
    if is_open_looked_at:
        _look_for_forgotten(verdict, books, facts.now)
    for problem in check_money().problems:
        verdict.add("money_unexplained", problem)
    return verdict


class Books:
    """Our tables and the providers', read once."""

    def __init__(self, facts: Facts) -> None:
        self.rows = [row for row in purchase_rows(facts.truth) if row["dialect"] in WIRED]
        self.orders = {order.pk: order for order in Order.objects.order_by("id")}
        self.by_recipient = {order.user_identifier: order for order in self.orders.values()}
        self.attempts = list(Attempt.objects.select_related("integration").order_by("id"))
        self.by_reference = {attempt.reference: attempt for attempt in self.attempts}
        self.units: dict[int, list[OrderUnit]] = defaultdict(list)
        for unit in OrderUnit.objects.order_by("id"):
            self.units[unit.order_id].append(unit)
        self.attempt_units: dict[int, list[int]] = defaultdict(list)
        for attempt_id, unit_id in AttemptUnit.objects.order_by("id").values_list("attempt_id", "unit_id"):
            self.attempt_units[attempt_id].append(unit_id)
        self.given_up = _given_up(facts.truth)
        self.abandoned = set(OrderEvent.objects.filter(kind="abandoned").values_list("attempt_id", flat=True))

    def live(self, row: Entry) -> bool:
        """Whether the provider keeps to a purchase; what it once gave up and delivered later is its own doing."""
        return row["state"] not in GONE and row["order_id"] not in self.given_up

    def attempt_of(self, row: Entry) -> Attempt | None:
        """Whose purchase it is."""
        if row["reference"]:
            return self.by_reference.get(row["reference"])
        order = self.by_recipient.get(row["recipient"])
        own = [each for each in self.attempts if order and each.order_id == order.pk and each.kind == row["dialect"]]
        named = [each for each in own if each.provider_order_id == row["order_id"]]
        return next(iter(named or own), None)

    def packs(self, row: Entry) -> Decimal:
        """How many of our units a purchase is for."""
        return Decimal(row["quantity"]) / (10 if row["dialect"] == "smm_v2" else 1)


def _given_up(truth: Sequence[Entry]) -> set[str]:
    """Purchases that their provider called ended without goods at least once."""
    return {entry["order_id"] for entry in truth if entry["event"] == "finished" and entry["state"] in GONE}


def _count(verdict: Verdict, books: Books) -> None:
    verdict.orders, verdict.purchases = len(books.orders), len(books.rows)
    verdict.by_status = dict(Counter(order.status for order in books.orders.values()))
    by_person = set(OrderEvent.objects.filter(cause="person").values_list("order_id", flat=True))
    doubts = [attempt for attempt in books.attempts if attempt.doubt_since or attempt.state == AttemptState.IN_DOUBT]
    verdict.in_doubt = dict(Counter(attempt.kind for attempt in doubts))
    alone = [each for each in doubts if each.state != AttemptState.IN_DOUBT and each.order_id not in by_person]
    verdict.resolved = dict(Counter(attempt.kind for attempt in alone))
    bought = {attempt.pk for row in books.rows if (attempt := books.attempt_of(row))}
    answerable = {attempt.pk for attempt in doubts if _is_answerable(attempt, was_bought=attempt.pk in bought)}
    verdict.answerable = dict(Counter(attempt.kind for attempt in doubts if attempt.pk in answerable))
    verdict.answered = dict(Counter(attempt.kind for attempt in alone if attempt.pk in answerable))


def _is_answerable(attempt: Attempt, *, was_bought: bool) -> bool:
    """Whether the provider can be asked and its answer settles it: it has the purchase, or its absence is a proof."""
    caps = attempt.integration.caps()
    return caps.find_by_own_ref and (was_bought or caps.absent_after_s is not None)


def _look_at_wishes(verdict: Verdict, facts: Facts) -> None:
    """One wish is one order, and no wish is lost."""
    keys = Counter(Order.objects.values_list("idempotency_key", flat=True))
    for wish in facts.wishes:
        if keys[wish.key] != 1:
            kind = "double_purchases" if keys[wish.key] > 1 else "forgotten"
            verdict.add(kind, f"wish {wish.number} became {keys[wish.key]} orders")


def _look_at_purchases(verdict: Verdict, books: Books) -> None:
    """I1 and I2, once by our references and once without them: by who the goods are for."""
    bought: dict[str, Decimal] = defaultdict(Decimal)
    per_unit: Counter[int] = Counter()
    for row in books.rows:
        attempt = books.attempt_of(row)
        if attempt is None:
            verdict.add("orphans", f"{row['dialect']} sold {row['order_id']} to {row['recipient']}, and nobody knows")
        elif books.live(row) and attempt.pk not in books.abandoned:
            bought[row["recipient"]] += books.packs(row)
            per_unit.update(books.attempt_units[attempt.pk])
    for attempt in books.attempts:
        if attempt.kind == "stock" and attempt.state == AttemptState.DELIVERED:
            bought[books.orders[attempt.order_id].user_identifier] += len(books.attempt_units[attempt.pk])
    for recipient, packs in sorted(bought.items()):
        order = books.by_recipient.get(recipient)
        if order is not None and packs > order.quantity:
            verdict.add("double_purchases", f"{packs} bought for order {order.pk} of {order.quantity}", order.pk)
    for unit_id, times in sorted(per_unit.items()):
        if times > 1:
            verdict.add("double_purchases", f"unit {unit_id} was bought {times} times")


def _look_at_money_back(verdict: Verdict, books: Books) -> None:
    """I7: no unit's money went back while its goods are there, or may still come."""
    released = {unit.pk for units in books.units.values() for unit in units if unit.status == UnitStatus.RELEASED}
    for row in books.rows:
        attempt = books.attempt_of(row)
        if attempt is None or not books.live(row) or attempt.pk in books.abandoned:
            continue
        if released & set(books.attempt_units[attempt.pk]):
            text = f"order {attempt.order_id} got its money back, and {row['dialect']} has it as {row['state']}"
            verdict.add("wrong_refunds", text, attempt.order_id)


def _look_at_codes(verdict: Verdict, books: Books) -> None:
    """I6: every PIN that a provider gave is stored byte for byte, with its own order and no other."""
    stored: dict[int, set[str]] = defaultdict(set)
    for code in OrderCode.objects.order_by("id"):
        stored[code.order_id].add(code.reveal()["value"])
    given: dict[int, set[str]] = defaultdict(set)
    for row in books.rows:
        attempt = books.attempt_of(row)
        if attempt is None or not books.orders[attempt.order_id].needs_code:
            continue
        given[attempt.order_id] |= set(row["pins"])
        lost = set(row["pins"]) - stored[attempt.order_id] if books.live(row) else set()
        if lost:
            text = f"order {attempt.order_id}: {len(lost)} PINs of attempt {attempt.pk} are not there"
            verdict.add("lost_pins", text, attempt.order_id)
    for order_id, values in stored.items():
        strange = {value for value in values - given[order_id] if not value.startswith("STOCK-")}
        if strange and books.orders[order_id].needs_code:
            verdict.add("lost_pins", f"order {order_id} has {len(strange)} PINs that nobody gave for it", order_id)


def _look_for_forgotten(verdict: Verdict, books: Books, now: datetime, newest: int | None = None) -> None:
    """I11: what is open has a next time that is not far, or a person's queue; what its provider ended is not open."""
    rows: dict[int, list[DueCheck]] = defaultdict(list)
    for row in DueCheck.objects.exclude(kind=DueKind.WATCH):
        rows[row.order_id].append(row)
    ended = _ended(books)
    for order in books.orders.values():
        if order.status in SETTLED or (newest is not None and order.pk != newest):
            continue
        late = [row for row in rows[order.pk] if row.next_at > now + (REMINDER if order.reason else LONGEST_GAP)]
        if not rows[order.pk] and order.status != OrderStatus.REVIEW:
            verdict.add("forgotten", f"order {order.pk} is {order.status} and nothing is due", order.pk)
        elif late:
            verdict.add("forgotten", f"order {order.pk} is {order.status} and looked at again far too late", order.pk)
        elif order.status != OrderStatus.REVIEW and order.pk in ended:
            text = f"order {order.pk} is still {order.status} ({order.reason}), long after all of it ended there"
            verdict.add("forgotten", text, order.pk)


def _ended(books: Books) -> set[int]:
    """Orders of which nothing is open at any provider."""
    waiting = {
        attempt.order_id for row in books.rows if row["state"] == "waiting" and (attempt := books.attempt_of(row))
    }
    return set(books.orders) - waiting
