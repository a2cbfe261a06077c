"""A shop with as many purchases as one likes, the provider's statement of them, and differences planted into it."""

from __future__ import annotations

import csv
import io
import random
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import F

from apps.catalog.models import Package
from apps.common.money import format_amount, to_micros
from apps.ops.invariants import violations
from apps.ops.money_check import check_money
from apps.orders.models import Attempt, AttemptUnit, Order, OrderEvent, OrderUnit
from apps.orders.reconciling.aligning import Period
from apps.orders.reconciling.dialects import PRESETS
from apps.orders.reconciling.importing import Brought
from apps.orders.statement_models import Break
from apps.wallet import ledger
from apps.wallet.models import Account, Entry, Transfer
from tests.factories import START, Shop

PRICE, COST = to_micros("35"), to_micros("31.50")
KINDS = ("missing_here", "missing_there", "price", "doubled", "fee", "state", "currency", "time")
FIRST = START - timedelta(days=6)
PERIOD = Period(FIRST - timedelta(hours=1), START - timedelta(hours=4))
COLUMNS = ("reference", "provider_id", "target", "amount", "currency", "time", "state", "fee")


@dataclass(frozen=True, slots=True)
class Row:
    """One line as the provider writes it."""

    reference: str
    provider_id: str
    target: str
    amount: str
    currency: str
    time: datetime
    state: str = "completed"
    fee: str = ""

    def cells(self) -> list[str]:
        """The line's cells."""
        return [
            self.reference, self.provider_id, self.target, self.amount, self.currency, self.time.isoformat(),
            self.state, self.fee,
        ]  # fmt: skip


@dataclass(slots=True)
class Book:
    """The file's rows, and what must be found: the kind with the number of a line or the id of an attempt."""

    rows: list[Row]
    planted: set[tuple[str, int]] = field(default_factory=set)
    mended: int = 0

    def content(self) -> bytes:
        """The file."""
        return as_csv(self.rows)


def as_csv(rows: list[Row]) -> bytes:
    """A file in the dialect `plain`."""
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(COLUMNS)
    writer.writerows(row.cells() for row in rows)
    return text.getvalue().encode()


def bring(rows: list[Row], period: Period | None = PERIOD, by: str = "omar") -> Brought:
    """The file as it comes in."""
    return Brought(as_csv(rows), PRESETS["plain"], period, by, "march.csv")


def make_purchases(shop: Shop, count: int, *, untold: int = 0) -> list[Attempt]:
    """Delivered and paid orders spread over five days; of the first `untold` the provider never told the cost."""
    Package.objects.filter(pk=shop.package.pk).update(quantity_max=5)
    gap = timedelta(days=5) / count
    orders = Order.objects.bulk_create(
        (_order(shop, number, FIRST + number * gap) for number in range(count)), batch_size=500
    )
    units = OrderUnit.objects.bulk_create(
        (OrderUnit(order=order, n=1, amount_micros=PRICE, status="captured") for order in orders), batch_size=500
    )
    attempts = Attempt.objects.bulk_create(
        (_attempt(shop, order, number, is_told=number >= untold) for number, order in enumerate(orders)), batch_size=500
    )
    AttemptUnit.objects.bulk_create(
        (AttemptUnit(attempt=attempt, unit=unit) for attempt, unit in zip(attempts, units, strict=True)), batch_size=500
    )
    events = (_event(order, attempt) for order, attempt in zip(orders, attempts, strict=True))
    OrderEvent.objects.bulk_create(events, batch_size=500)
    with transaction.atomic():  # a transfer without its entries is not committed
        _book(shop, orders, units, attempts)
    return attempts


def _order(shop: Shop, number: int, at: datetime) -> Order:
    return Order(
        tenant=shop.tenant,
        customer=shop.customer,
        package=shop.package,
        product_name="product",
        package_name="package",
        needs_code=False,
        quantity=1,
        user_identifier=f"T{number:06}",
        unit_price_micros=PRICE,
        price_micros=PRICE,
        currency="TRY",
        captured_micros=PRICE,
        expected_cost_micros=COST,
        cost_micros=COST,
        status="completed",
        external_status="completed",
        provider_referans=str(100000000000000000 + number),
        idempotency_key=f"bulk-{number}",
        request_hash="0" * 64,
        created_at=at,
        sent_at=at,
        settled_at=at,
        deadline_at=at + timedelta(days=1),
        updated_at=at,
    )


def _attempt(shop: Shop, order: Order, number: int, *, is_told: bool) -> Attempt:
    return Attempt(
        order=order,
        integration=shop.integration,
        integration_name=shop.integration.name,
        kind="znet",
        reference=str(100000000000000000 + number),
        state="delivered",
        outcome="completed",
        send_deadline_at=order.created_at + timedelta(seconds=10),
        expected_cost_micros=COST,
        cost_micros=COST if is_told else None,
        cost_currency="TRY",
        sale_cost_micros=COST,
        provider_order_id=f"Z{number:07}",
        created_at=order.created_at,
        answered_at=order.created_at,
        delivered_at=order.created_at,
        closed_at=order.created_at,
    )


def _event(order: Order, attempt: Attempt) -> OrderEvent:
    return OrderEvent(
        order=order,
        attempt=attempt,
        kind="delivered",
        cause="place",
        status="completed",
        external_status="completed",
        data={"attempt_state": "delivered"},
        at=order.created_at,
    )


def _book(shop: Shop, orders: list[Order], units: list[OrderUnit], attempts: list[Attempt]) -> None:
    """Hold, capture and cost of each; the ledger's own accounts, made by three postings that cancel out."""
    tenant, customer = shop.tenant.pk, shop.customer.pk
    purses = {
        "customer": ledger.customer_purse(customer),
        "held": ledger.HELD,
        "revenue": ledger.REVENUE,
        "float": ledger.float_purse(shop.integration.pk),
        "cost": ledger.COST,
    }
    accounts = {
        name: Account.objects.get_or_create(
            tenant_id=tenant, kind=purse.kind, currency="TRY", subject_kind=purse.subject_kind,
            subject_id=purse.subject_id, defaults={"balance_micros": 0 if name == "customer" else None},
        )[0]
        for name, purse in purses.items()
    }  # fmt: skip
    moves = [
        *((f"hold:order:{order.pk}", "hold", order, "customer", "held", PRICE) for order in orders),
        *((f"capture:unit:{unit.pk}", "capture", unit.order, "held", "revenue", PRICE) for unit in units),
        *((f"cost:attempt:{one.pk}", "cost", one.order, "float", "cost", COST) for one in attempts),
    ]
    transfers = Transfer.objects.bulk_create(
        (
            Transfer(
                key=key, tenant_id=tenant, kind=kind, subject_kind="order", subject_id=order.pk, at=order.created_at
            )
            for key, kind, order, *_ in moves
        ),
        batch_size=500,
    )
    Entry.objects.bulk_create(
        (
            Entry(transfer=transfer, account=accounts[name], amount_micros=sign * micros)
            for transfer, (_, _, _, source, target, micros) in zip(transfers, moves, strict=True)
            for name, sign in ((source, -1), (target, 1))
        ),
        batch_size=900,
    )
    Account.objects.filter(pk=accounts["customer"].pk).update(balance_micros=F("balance_micros") - PRICE * len(orders))


def honest_rows(attempts: list[Attempt]) -> list[Row]:
    """What the provider should write: a third names our reference, a third its id, a third neither."""
    rows = []
    for number, attempt in enumerate(attempts):
        names = [(attempt.reference, attempt.provider_order_id), ("", attempt.provider_order_id), ("", "")][number % 3]
        target, at = attempt.order.user_identifier, attempt.created_at + timedelta(seconds=40)
        rows.append(Row(*names, target, format_amount(COST), "TRY", at))
    return rows


def plant(attempts: list[Attempt], each: int, seed: int = 7) -> Book:
    """The statement with `each` differences of every kind, none of them near another."""
    rows: list[Row | None] = list(honest_rows(attempts))
    named = [n for n in range(len(attempts)) if n % 3 != 2 and n > 5 and n < len(attempts) - 5]
    chosen = random.Random(seed).sample(named, each * (len(KINDS) - 1))
    extra: list[tuple[Row, str]] = []
    marked: dict[int, str] = {}
    book = Book([])
    for place, number in enumerate(chosen):
        kind, row = KINDS[1:][place % (len(KINDS) - 1)], rows[number]
        assert row is not None
        marked[number] = kind
        match kind:
            case "missing_there":
                rows[number] = None
                book.planted.add((kind, -attempts[number].pk))
            case "price":
                rows[number] = replace(row, amount="31.75")
                book.mended += attempts[number].cost_micros is None
            case "doubled":
                extra.append((replace(row, reference=attempts[number].reference, provider_id=f"Y{number}"), kind))
                del marked[number]
            case "fee":
                rows[number] = replace(row, fee="0.25")
            case "state":
                rows[number] = replace(row, state="refunded")
            case "currency":
                rows[number] = replace(row, currency="USD")
            case "time":
                rows[number] = replace(row, time=row.time + timedelta(days=9))
    extra += [
        (Row(f"9{n:017}", f"X{n}", f"T9{n:05}", "31.50", "TRY", START - timedelta(days=3)), "missing_here")
        for n in range(each)
    ]
    for number, kept in enumerate(rows):
        if kept is None:
            continue
        book.rows.append(kept)
        if number in marked:
            book.planted.add((marked[number], len(book.rows) + 1))
    for row, kind in extra:
        book.rows.append(row)
        book.planted.add((kind, len(book.rows) + 1))
    return book


def found_in(statement_id: int) -> set[tuple[str, int]]:
    """What was found, in the same form as `planted`; each once."""
    rows = Break.objects.filter(statement_id=statement_id).values_list("kind", "line__number", "attempt_id")
    found = [(kind, number if number else -(attempt_id or 0)) for kind, number, attempt_id in rows]
    assert [one for one, times in Counter(found).items() if times > 1] == []
    return set(found)


def check_books() -> None:
    """The money adds up, and nothing else is broken."""
    assert check_money().problems == []
    assert violations(connection) == []
