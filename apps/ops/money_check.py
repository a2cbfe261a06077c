"""All money recomputed: the ledger from its entries, and every order, unit and attempt against it. Reads only."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from django.db import connection, transaction

from apps.orders.models import Attempt, Order, OrderUnit
from apps.orders.outcomes import known_cost
from apps.orders.states import AttemptState, OrderStatus, UnitStatus
from apps.providers.models import Integration
from apps.wallet import ledger
from apps.wallet.books import OrderTransfer, float_subjects, order_transfers, orders_with_money

BATCH = 500

A, S, U = AttemptState, OrderStatus, UnitStatus

KEYS: dict[str, str] = {
    "hold": r"hold:order:(\d+)",
    "capture": r"capture:unit:(\d+)",
    "release": r"release:unit:(\d+)",
    "sale_reversal": r"reversal:unit:(\d+)",
    "cost": r"cost:attempt:(\d+)",
    "cost_correction": r"cost:attempt:(\d+):evidence:\d+",
    "late_sale": r"late:unit:(\d+):evidence:\d+",
    "late_cost": r"late:attempt:(\d+):evidence:\d+",
    "cost_reversal": r"reversal:attempt:(\d+):evidence:\d+",
}
"""How the key of each kind of transfer about an order looks; the number is the order's, the unit's or the attempt's."""

WAYS: dict[str, tuple[tuple[str, str], ...]] = {
    "hold": (("customer", "held"),),
    "capture": (("held", "revenue"),),
    "release": (("held", "customer"),),
    "sale_reversal": (("revenue", "customer"),),
    "cost": (("float", "cost"),),
    "cost_correction": (("float", "cost"), ("cost", "float"), ("float", "loss"), ("loss", "float")),
    "late_sale": (("customer", "revenue"),),
    "late_cost": (("float", "loss"),),
    "cost_reversal": (("cost", "float"), ("loss", "float")),
}
"""Out of which account and into which each kind of transfer about an order goes."""


@dataclass(slots=True)
class MoneyCheck:
    """How much was looked at, and every row that disagrees, in words."""

    orders: int = 0
    accounts: int = 0
    entries: int = 0
    problems: list[str] = field(default_factory=list)

    def as_dict(self) -> dict[str, int]:
        """The counts, for one line of JSON."""
        return {
            "orders": self.orders,
            "accounts": self.accounts,
            "entries": self.entries,
            "unexplained": len(self.problems),
        }


def check_money() -> MoneyCheck:
    """Recompute everything from one moment's view of the database."""
    with one_moment():
        books = ledger.recount()
        check = MoneyCheck(accounts=books.accounts, entries=books.entries, problems=books.problems())
        check.problems += _orphans()
        ids = list(Order.objects.order_by("id").values_list("id", flat=True))
        for start in range(0, len(ids), BATCH):
            _check_orders(check, ids[start : start + BATCH])
        return check


@contextmanager
def one_moment() -> Iterator[None]:
    """A view of the database that does not move while orders go on; inside a transaction it is that one's."""
    if connection.in_atomic_block:
        yield
    elif connection.vendor == "postgresql":
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
            yield
    else:
        with connection.cursor() as cursor:
            cursor.execute("BEGIN DEFERRED")  # reading keeps nobody from writing, as `atomic` would
            try:
                yield
            finally:
                cursor.execute("ROLLBACK")


def _orphans() -> list[str]:
    """Money of orders, and accounts of provider accounts, that do not exist."""
    known = set(Order.objects.values_list("id", flat=True))
    lost = sorted(orders_with_money() - known)
    strange = sorted(float_subjects() - set(Integration.objects.values_list("tenant_id", "id")))
    return [
        *(f"there is money of order {order_id}, which does not exist" for order_id in lost),
        *(
            f"shop {tenant_id} has a float at provider account {pk}, which it does not have"
            for tenant_id, pk in strange
        ),
    ]


# --- orders


@dataclass(frozen=True, slots=True)
class Facts:
    """One order with all that is known of its money. `moved` are micro-units by kind of transfer and subject id."""

    order: Order
    units: list[OrderUnit]
    attempts: list[Attempt]
    transfers: list[OrderTransfer]
    moved: dict[tuple[str, int], int]

    def of_unit(self, kind: str, unit: OrderUnit) -> int:
        """What transfers of this kind moved for one unit."""
        return self.moved.get((kind, unit.pk), 0)


def _check_orders(check: MoneyCheck, ids: Sequence[int]) -> None:
    units, attempts, transfers = (defaultdict(list) for _ in range(3))
    for unit in OrderUnit.objects.filter(order_id__in=ids).order_by("order_id", "n"):
        units[unit.order_id].append(unit)
    for attempt in Attempt.objects.filter(order_id__in=ids).order_by("id"):
        attempts[attempt.order_id].append(attempt)
    for transfer in order_transfers(ids):
        transfers[transfer.order_id].append(transfer)
    for order in Order.objects.filter(pk__in=ids).order_by("id"):
        check.orders += 1
        facts = _facts(order, units[order.pk], attempts[order.pk], transfers[order.pk])
        check.problems += [f"order {order.pk}: {problem}" for look in LOOKS for problem in look(facts)]


def _facts(order: Order, units: list[OrderUnit], attempts: list[Attempt], transfers: list[OrderTransfer]) -> Facts:
    moved: dict[tuple[str, int], int] = defaultdict(int)
    for transfer in transfers:
        if subject := _subject_of(transfer):
            moved[transfer.kind, subject] += transfer.micros
    return Facts(order, units, attempts, transfers, dict(moved))


def _subject_of(transfer: OrderTransfer) -> int:
    """The order, unit or attempt that the key names; 0 when the key is not one of its kind."""
    found = re.fullmatch(KEYS.get(transfer.kind, "(?!)"), transfer.key)
    return int(found[1]) if found else 0


def _look_at_transfers(facts: Facts) -> Iterator[str]:
    """Each transfer's key is its kind's and names something of this order; the money goes the way of its kind."""
    order = facts.order
    own = {
        "order": {order.pk},
        "unit": {unit.pk for unit in facts.units},
        "attempt": {attempt.pk for attempt in facts.attempts},
    }
    for transfer in facts.transfers:
        what = transfer.key.split(":")[1] if ":" in transfer.key else ""
        if _subject_of(transfer) not in own.get(what, set()):
            yield f"transfer {transfer.key} ({transfer.kind}) is about nothing of this order"
        if transfer.way not in WAYS.get(transfer.kind, ()):
            yield f"transfer {transfer.key} ({transfer.kind}) goes from {transfer.way[0]} to {transfer.way[1]}"
        if transfer.customer_id not in (0, order.customer_id):
            yield f"transfer {transfer.key} is of the wallet of customer {transfer.customer_id}"
        if transfer.customer_id and transfer.currency != order.currency:
            yield f"transfer {transfer.key} is in {transfer.currency}, the order in {order.currency}"


def _look_at_sums(facts: Facts) -> Iterator[str]:
    """held = captured + released + still held, and held is the price."""
    hold = facts.moved.get(("hold", facts.order.pk), 0)
    settled = {kind: sum(facts.of_unit(kind, unit) for unit in facts.units) for kind in ("capture", "release")}
    still = sum(unit.amount_micros for unit in facts.units if unit.status == U.HELD)
    if hold != facts.order.price_micros:
        yield f"{hold} micro-units were held for a price of {facts.order.price_micros}"
    if hold != settled["capture"] + settled["release"] + still:
        yield f"held {hold} is not captured {settled['capture']} + released {settled['release']} + still held {still}"


def _look_at_units(facts: Facts) -> Iterator[str]:
    """A held unit has neither capture nor release; a captured one sums up to its amount; a released one is all back."""
    for unit in facts.units:
        captured, released = facts.of_unit("capture", unit), facts.of_unit("release", unit)
        agrees = {
            U.HELD: (captured, released) == (0, 0),
            U.CAPTURED: captured > 0 and captured + released == unit.amount_micros,
            U.RELEASED: (captured, released) == (0, unit.amount_micros),
        }
        if not agrees.get(UnitStatus(unit.status)):
            yield f"unit {unit.n} is {unit.status}, but {captured} were captured and {released} released"
        if (charged := facts.of_unit("late_sale", unit)) not in (0, released):
            yield f"{charged} were charged for unit {unit.n} after {released} had gone back"
        if facts.of_unit("sale_reversal", unit) > captured:
            yield f"more of unit {unit.n} was given back than captured"


def _look_at_status(facts: Facts) -> Iterator[str]:
    """What the order says is what became of its units."""
    captured, released, given_back = (
        sum(facts.of_unit(kind, unit) for unit in facts.units) for kind in ("capture", "release", "sale_reversal")
    )
    is_open = any(unit.status == U.HELD for unit in facts.units)
    status = OrderStatus(facts.order.status)
    expected = {
        S.COMPLETED: captured and not released,
        S.PARTIAL: captured and released,
        S.REJECTED: released and not captured,
        S.CANCELLED: released and not captured,
        S.REFUNDED: captured and given_back == captured,
    }
    if is_open == (status in expected) or (status in expected and not expected[status]):
        yield f"it is {status}, but {captured} were captured, {released} released and {given_back} given back"
    is_part = status in (S.COMPLETED, S.PARTIAL) and given_back < captured  # the provider took back a part of it
    if given_back and status != S.REFUNDED and not is_part:
        yield f"{given_back} were given back, but it is {status}"


def _look_at_costs(facts: Facts) -> Iterator[str]:
    """What is booked for each attempt is what it says that it cost."""
    for attempt in facts.attempts:
        booked = _booked(facts, attempt)
        expected = known_cost(attempt) if attempt.state in (A.DELIVERED, A.PARTIAL) else None
        purse = "loss" if attempt.is_surplus else "cost"
        wanted = {(purse, expected.currency): expected.micros} if expected and expected.micros else {}
        if booked != wanted:
            yield f"attempt {attempt.pk} ({attempt.state}) should have cost {wanted}, booked is {booked}"


def _booked(facts: Facts, attempt: Attempt) -> dict[tuple[str, str], int]:
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for transfer in facts.transfers:
        if ":attempt:" in transfer.key and _subject_of(transfer) == attempt.pk:
            for purse, sign in zip(transfer.way, (-1, 1), strict=True):
                if purse in ("cost", "loss"):
                    sums[purse, transfer.currency] += sign * transfer.micros
    return {which: micros for which, micros in sums.items() if micros}


LOOKS: tuple[Callable[[Facts], Iterator[str]], ...] = (
    _look_at_transfers,
    _look_at_sums,
    _look_at_units,
    _look_at_status,
    _look_at_costs,
)
