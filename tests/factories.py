"""Small builders of shops and orders, a stage with two clocks for driving them, and the check of what must hold."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeVar

from django.db import connection
from django.db.models import Count, Max, Min, Sum
from time_machine import Traveller

from apps.accounts.models import Customer, Tenant
from apps.catalog.models import InputField, Package, PackagePrice, Product
from apps.common import checkpoints, clock
from apps.common.money import Money, to_micros
from apps.ops.invariants import violations
from apps.ops.money_check import check_money
from apps.orders import monitoring
from apps.orders.creation import NewOrder, create_order
from apps.orders.models import (
    Attempt,
    AttemptUnit,
    Case,
    DueCheck,
    Order,
    OrderCode,
    OrderEvent,
    OrderUnit,
)
from apps.orders.states import ORDER_EDGES, SETTLED, AttemptState, DueKind, OrderStatus, UnitStatus
from apps.providers import stock_files
from apps.providers.models import Integration, PackageMapping, Route
from apps.simulator.client import SimulatorProcess
from apps.simulator.ledger import purchase_rows
from apps.wallet import ledger

T = TypeVar("T")

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""When every staged test begins; the clock stands still until the test moves it."""

NOWHERE = "http://127.0.0.1:9"
"""A panel for tests that send nothing."""

FAST_OPTIONS = {"place_timeout_s": 3, "ask_timeout_s": 3, "rate_per_s": 1000, "burst": 1000}
"""ZNET's own schedule with shorter time-outs and more patience. A lease is 26 s: two questions and the margin."""

PIN_PRODUCT = ("152", "60")
DIRECT_PRODUCT = ("210", "100")

_numbers = itertools.count(1)


@dataclass(frozen=True, slots=True)
class Shop:
    """One tenant with a customer who has money, one package, and its first route."""

    tenant: Tenant
    customer: Customer
    package: Package
    integration: Integration
    route: Route


def make_tenant(*, currency: str = "TRY") -> Tenant:
    """A shop with a name of its own."""
    number = next(_numbers)
    return Tenant.objects.create(name=f"Shop {number}", slug=f"shop-{number}", currency=currency)


def make_customer(tenant: Tenant, balance: str = "1000", *, currency: str = "TRY", credit: str = "0") -> Customer:
    """A buyer with `balance` in the wallet, paid in, and a credit line."""
    customer = Customer.objects.create(tenant=tenant, name=f"Customer {next(_numbers)}", currency=currency)
    key = f"deposit:test:{customer.pk}"
    money = Money(to_micros(balance), currency)
    if money.micros:
        ledger.deposit(tenant.pk, customer.pk, money, key=key, reason="test", actor="test", now=clock.now())
    if credit != "0":
        limit, key = Money(to_micros(credit), currency), f"credit:test:{customer.pk}"
        ledger.set_credit_limit(tenant.pk, customer.pk, limit, key=key, reason="test", actor="test", now=clock.now())
    return customer


def make_package(tenant: Tenant, *, needs_code: bool = True, price: str = "35.00", currency: str = "TRY") -> Package:
    """A package of 1 to 5 units that asks for a player's id."""
    number = next(_numbers)
    product = Product.objects.create(tenant=tenant, name=f"Product {number}", needs_code=needs_code)
    InputField.objects.create(product=product, name="player_id", label="Player ID", pattern=r"[A-Za-z0-9_-]{3,40}")
    package = Package.objects.create(
        tenant=tenant,
        product=product,
        code=f"package-{number}",
        name="60 UC",
        quantity_kind=Package.QuantityKind.RANGE,
        quantity_max=5,
    )
    PackagePrice.objects.create(package=package, currency=currency, unit_price_micros=to_micros(price))
    return package


def make_integration(tenant: Tenant, url: str, **options: float) -> Integration:
    """A ZNET account on this machine."""
    integration = Integration(
        tenant=tenant,
        name=f"Panel {next(_numbers)}",
        kind="znet",
        base_url=url,
        login="demo",
        currency="TRY",
        options=FAST_OPTIONS | options,
        is_local=True,
    )
    integration.set_secrets({"sifre": "demo-secret"})
    integration.full_clean()
    integration.save()
    return integration


def add_route(
    package: Package,
    integration: Integration,
    *,
    position: int = 1,
    product: tuple[str, str] = PIN_PRODUCT,
    cost: str | None = "31.50",
) -> Route:
    """Map the package to the account, at an expected cost, and send it there."""
    oyun, kupur = product
    PackageMapping.objects.create(
        package=package,
        integration=integration,
        oyun=oyun,
        kupur=kupur,
        cost_micros=None if cost is None else to_micros(cost),
    )
    return Route.objects.create(package=package, position=position, integration=integration)


def make_shop(
    url: str = NOWHERE,
    *,
    needs_code: bool = True,
    balance: str = "1000",
    product: tuple[str, str] | None = None,
    **options: float,
) -> Shop:
    """A shop whose one package costs 35.00 TRY and is bought for 31.50 TRY at the panel behind `url`."""
    tenant = make_tenant()
    package = make_package(tenant, needs_code=needs_code)
    integration = make_integration(tenant, url, **options)
    route = add_route(package, integration, product=product or (PIN_PRODUCT if needs_code else DIRECT_PRODUCT))
    return Shop(tenant, make_customer(tenant, balance), package, integration, route)


def make_impatient_shop(url: str) -> Shop:
    """A shop that waits 0.8 s for a panel that never answers."""
    return make_shop(url, place_timeout_s=0.8, ask_timeout_s=0.8)


def new_player() -> str:
    """A recipient that no other test uses: fates are scripted by it."""
    return f"P{next(_numbers):06}"


def order_from(
    shop: Shop, player: str = "", *, quantity: int = 1, key: str = "", customer: Customer | None = None
) -> Order:
    """One order through the one way in."""
    player = player or new_player()
    new = NewOrder(shop.package.code, quantity, {"player_id": player})
    return create_order(customer or shop.customer, new, key or f"key-{player}", clock.now()).order


def fill_lane(order: Order, integration: Integration, count: int) -> None:
    """So many accepted purchases of one order, all of them due; the panel knows none of them."""
    attempts = Attempt.objects.bulk_create(
        Attempt(
            order=order,
            integration=integration,
            integration_name="copy",
            kind="znet",
            state="accepted",
            reference=f"copy-{integration.pk}-{number}",
            send_deadline_at=START,
            cost_currency="TRY",
            created_at=START,
        )
        for number in range(count)
    )
    DueCheck.objects.bulk_create(
        DueCheck(order=order, attempt=attempt, lane=integration.pk, kind="check", next_at=START) for attempt in attempts
    )


def at_checkpoint(name: str, act: Callable[[], object]) -> None:
    """Do this whenever the named point is reached, until the hook is taken away."""

    def hook(reached: str) -> None:
        if reached == name:
            act()

    checkpoints.set_hook(hook)


@contextmanager
def standing_still(create: Callable[[], T]) -> Iterator[list[T]]:
    """`create()` in a thread of its own, which stands still before its order's commit until the block is over.

    What it returned is in the list afterwards.
    """
    reached, goes_on = threading.Event(), threading.Event()
    returned: list[T] = []

    def stand_still() -> None:
        if threading.current_thread() is thread:
            reached.set()
            assert goes_on.wait(60)

    def run() -> None:
        try:
            returned.append(create())
        finally:
            connection.close()

    thread = threading.Thread(target=run)
    at_checkpoint("create.before_commit", stand_still)
    thread.start()
    try:
        assert reached.wait(60)
        yield returned
    finally:
        goes_on.set()
        thread.join(60)
        checkpoints.set_hook(None)


class Stage:
    """The hub's clock, which stands still until it is moved, and one simulated panel whose clock moves with it."""

    def __init__(self, traveller: Traveller, simulator: SimulatorProcess) -> None:
        self.traveller = traveller
        self.simulator = simulator
        self.messages: list[tuple[str, list[int], float]] = []
        self._old_truth = len(simulator.truth())

    @property
    def url(self) -> str:
        """Where the panel listens."""
        return self.simulator.url

    def move(self, seconds: float) -> datetime:
        """Let time pass for both; returns the new time."""
        self.traveller.shift(seconds)
        self.simulator.advance(seconds)
        return clock.now()

    def move_to(self, at: datetime) -> None:
        """Let time pass until `at`; a moment in the past leaves it as it is."""
        self.move(max((at - clock.now()).total_seconds(), 0))

    def order(self, shop: Shop, *, quantity: int = 1, **fate: Any) -> Order:
        """An order for a new player whose purchases have this fate."""
        player = new_player()
        if fate:
            self.simulator.set_fate(recipient=player, **fate)
        return order_from(shop, player, quantity=quantity)

    def run_until_quiet(self, for_s: float = 7200) -> None:
        """Sweep and move on to the next due time, until nothing but late news is due in the next `for_s` seconds."""
        ends_at = clock.now() + timedelta(seconds=for_s)
        while True:
            monitoring.sweep()
            next_at = DueCheck.objects.exclude(kind=DueKind.WATCH).aggregate(first=Min("next_at"))["first"]
            if next_at is None or next_at > ends_at:
                return
            # What is due and was not asked waits for a request of its account's budget.
            self.move_to(next_at if next_at > clock.now() else clock.now() + timedelta(seconds=1))

    def truth(self, event: str = "") -> list[dict[str, Any]]:
        """What the panel has recorded since this test began, or its entries of one kind."""
        entries = self.simulator.truth()[self._old_truth :]
        return [entry for entry in entries if event in ("", entry["event"])]

    def purchases(self, order: Order | None = None) -> list[dict[str, Any]]:
        """What the panel really sold since this test began, to this order or to anybody."""
        wanted = {entry["reference"] for entry in self.truth("bought")}
        if order is not None:
            wanted &= set(Attempt.objects.filter(order=order).values_list("reference", flat=True))
        return [row for row in purchase_rows(self.simulator.truth()) if row["reference"] in wanted]

    def questions(self) -> int:
        """How many status questions the panel was asked since this test began."""
        return len(self.truth("checked"))


def pins_of(order: Order) -> list[str]:
    """The codes that a customer would see, oldest first."""
    return [
        code.reveal()["value"] for code in OrderCode.objects.filter(order=order, is_quarantined=False).order_by("id")
    ]


def story_of(order: Order) -> list[str]:
    """The kinds of the order's events, oldest first."""
    return list(OrderEvent.objects.filter(order=order).order_by("id").values_list("kind", flat=True))


def standing_of(order: Order) -> tuple[str, str, str]:
    """Status, external status and reason as they are stored."""
    order.refresh_from_db()
    return order.status, order.external_status, order.reason


def sums_of(order: Order) -> dict[str, int]:
    """What was held, captured, released and paid for the order, in micro-units, by kind of transfer."""
    return ledger.order_sums([order.pk])[order.pk]


def due_of(order: Order) -> list[tuple[str, datetime]]:
    """What the order waits for, soonest first."""
    return list(DueCheck.objects.filter(order=order).order_by("next_at").values_list("kind", "next_at"))


# --- what must hold whenever nothing is in flight; the names are those of the proof


def check_invariants(stage: Stage | None = None) -> None:
    """Assert the file of invariants, I3, I8, I9, I11, I17, and I1, I2, I6, I7 against what the panel really did."""
    found = violations(connection)
    assert found == [], found
    check_one_holder()
    check_conservation()
    for order in Order.objects.order_by("id"):
        check_exactness(order)
        check_snapshot(order)
        check_not_forgotten(order)
        check_story(order)
    if stage is not None:
        check_against_truth(stage)


def check_one_holder() -> None:
    """I3: a unit is held by at most one attempt."""
    held = AttemptUnit.objects.filter(holds=True).values("unit").annotate(holders=Count("id")).filter(holders__gt=1)
    assert list(held) == []


def check_conservation() -> None:
    """I8: all that the money check looks at agrees: transfers, balances, limits, orders, units, attempts."""
    assert check_money().problems == []


def check_exactness(order: Order) -> None:
    """I9: per order, held + captured + released is the price; the status says the same as the units."""
    units = OrderUnit.objects.filter(order=order)
    by_status = {
        status: units.filter(status=status).aggregate(sum=Sum("amount_micros"))["sum"] or 0 for status in UnitStatus
    }
    sums = sums_of(order)
    assert sums.get("hold") == order.price_micros == sum(by_status.values())
    assert sums.get("capture", 0) == by_status[UnitStatus.CAPTURED]
    assert sums.get("release", 0) == by_status[UnitStatus.RELEASED]
    kinds = {str(status) for status, micros in by_status.items() if micros}
    settled_kinds = {"completed": {"captured"}, "rejected": {"released"}, "partial": {"captured", "released"}}
    if order.status in settled_kinds:
        assert kinds == settled_kinds[order.status]
    elif order.status not in SETTLED:
        assert "held" in kinds


def check_snapshot(order: Order) -> None:
    """What the order's own row says it brought is what the ledger has; its cost too, where no rate lies between."""
    sums = sums_of(order)
    assert order.captured_micros == sums.get("capture", 0) + sums.get("late_sale", 0) - sums.get("sale_reversal", 0)
    if not Attempt.objects.filter(order=order).exclude(cost_currency=order.currency).exists():
        assert order.cost_micros == ledger.cost_of_order(order.pk)


def check_not_forgotten(order: Order) -> None:
    """I11: an open order has a due row not too far away, or a person's queue."""
    if order.status in SETTLED:
        return
    rows = DueCheck.objects.filter(order=order).exclude(kind=DueKind.WATCH)
    assert rows.exists() or order.status == OrderStatus.REVIEW
    for row in rows:
        asked_at = row.asked_at or order.created_at
        assert row.next_at <= max(asked_at, clock.now()) + timedelta(seconds=660 + 26)


def check_story(order: Order) -> None:
    """I17: the story ends where the order stands, and each line follows from the one before by allowed edges."""
    told = list(
        OrderEvent.objects.filter(order=order).order_by("id").values_list("status", "external_status", "reason")
    )
    assert told[-1] == (order.status, order.external_status, order.reason)
    statuses = [OrderStatus(status) for status, _, _ in told]
    for old, new in itertools.pairwise(statuses):
        # Step 10 makes the order `processing` before the send; the settled answer tells it.
        near = {old} | ORDER_EDGES[old]
        assert new in near | (ORDER_EDGES[OrderStatus.PROCESSING] if OrderStatus.PROCESSING in near else set())


def check_against_truth(stage: Stage) -> None:
    """I1, I2, I6, I7: what the panel really did, joined to what we know by our reference."""
    bought = stage.purchases()
    attempts = {attempt.reference: attempt for attempt in Attempt.objects.all()}
    assert [row["reference"] for row in bought if row["reference"] not in attempts] == []  # I2: no orphan
    executions = Counter(row["reference"] for row in bought)
    assert {reference: count for reference, count in executions.items() if count > 1} == {}
    live = [row for row in bought if row["state"] != "cancelled" and not _is_accounted_for(attempts[row["reference"]])]
    units = Counter(unit for row in live for unit in _units_of(attempts[row["reference"]]))
    assert {unit: count for unit, count in units.items() if count > 1} == {}  # I1
    released = set(OrderUnit.objects.filter(status=UnitStatus.RELEASED).values_list("pk", flat=True))
    assert [unit for unit in units if unit in released] == []  # I7
    _check_pins(bought, attempts)


def _is_accounted_for(attempt: Attempt) -> bool:
    """A delivery after the money had gone back: it has its Case."""
    return attempt.is_surplus and Case.objects.filter(attempt=attempt, reason=Case.Reason.LATE_DELIVERY).exists()


def _units_of(attempt: Attempt) -> list[int]:
    return list(AttemptUnit.objects.filter(attempt=attempt).values_list("unit_id", flat=True))


def _check_pins(bought: list[dict[str, Any]], attempts: dict[str, Attempt]) -> None:
    """I6: what a delivered attempt gave is stored, byte for byte, with that attempt and nowhere else."""
    given = {row["reference"]: row["pins"] for row in bought}
    for code in OrderCode.objects.select_related("attempt"):
        assert code.reveal()["value"] in given[code.attempt.reference]
    for reference, attempt in attempts.items():
        is_done = attempt.state == AttemptState.DELIVERED and attempt.closed_at is not None
        if is_done and given.get(reference):
            assert OrderCode.objects.filter(attempt=attempt).exists()


def iter_units(order: Order) -> Iterator[tuple[int, str]]:
    """The order's units with where their money is."""
    yield from OrderUnit.objects.filter(order=order).order_by("n").values_list("n", "status")


def last_event_id() -> int:
    """The id of the newest event, 0 when there is none."""
    return OrderEvent.objects.aggregate(last=Max("id"))["last"] or 0


# --- kinds without a wire


def make_account(tenant: Tenant, kind: str) -> Integration:
    """An account of a kind that is fulfilled here."""
    account = Integration(tenant=tenant, name=f"{kind} {next(_numbers)}", kind=kind, currency="TRY")
    account.full_clean()
    account.save()
    return account


def make_stock_shop(*codes: str, needs_code: bool = True, shelf: str = "uc-60", cost: str = "30.00") -> Shop:
    """A shop whose one package comes from its own stock, where these codes lie."""
    shop = _local_shop("stock", shelf, needs_code=needs_code)
    if codes:
        put_codes(shop.integration, *codes, shelf=shelf, cost=cost)
    return shop


def make_manual_shop(*, needs_code: bool = True) -> Shop:
    """A shop whose one package is fulfilled by its people."""
    return _local_shop("manual", "60 UC", needs_code=needs_code)


def _local_shop(kind: str, shelf: str, *, needs_code: bool) -> Shop:
    tenant = make_tenant()
    package = make_package(tenant, needs_code=needs_code)
    account = make_account(tenant, kind)
    route = add_route(package, account, product=(shelf, ""), cost=None)
    return Shop(tenant, make_customer(tenant), package, account, route)


def put_codes(account: Integration, *codes: str, shelf: str = "uc-60", cost: str = "30.00", expires: str = "") -> None:
    """Put codes on a shelf, through the one way in."""
    rows = [f"{code},{cost},{expires}" for code in codes]
    content = "\n".join(["code,cost,expires", *rows]).encode()
    today = clock.now().date()
    reading = stock_files.read_file(
        content, tenant_id=account.tenant_id, usual_cost_micros=None, delivered=lambda indexes: set(), today=today
    )
    assert reading.faults == ()
    stock_files.store(account, shelf, "test", reading.lines, clock.now())
