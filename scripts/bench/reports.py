#!/usr/bin/env python3
"""How long the reports and the trial balance take over many orders, on a PostgreSQL of its own, with the plans used.

Prints one JSON line per report, the median of five runs with the plans and the indexes in them; the last line says
whether each stayed under two seconds.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import _bootstrap

RUNS = 5
LIMIT_S = 2.0
CHUNK = 5000
PRICE, COST = 35_000_000, 31_500_000
NEWEST = datetime(2026, 3, 31, 12, 0, tzinfo=UTC)
DAYS = 365


def main(argv: Sequence[str]) -> int:
    """Start a server, fill it, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--orders", type=int, default=100_000)
    options = parser.parse_args(argv)
    from tests.servers import shared_postgres

    with shared_postgres() as url:
        prepare(url)
        return measure_all(fill(options.orders), options.orders)


def prepare(url: str) -> None:
    """Django on that server, with the tables made."""
    settings = {"DATABASE_URL": url, "REDIS_URL": "", "DEBUG": "false", "PRODUCTION": "false", "LOG_LEVEL": "ERROR"}
    os.environ.update({**_bootstrap.random_secrets(), **settings, "DJANGO_SETTINGS_MODULE": "config.settings"})
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


# --- the orders


def fill(count: int) -> int:
    """`count` completed orders of one shop, with the postings that they would have; returns the shop's id."""
    from apps.accounts.models import Tenant

    shop = make_shop()
    for start in range(0, count, CHUNK):
        fill_chunk(shop, range(start, min(start + CHUNK, count)), count)
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
    tenant: Tenant = shop["tenant"]
    return int(tenant.pk)


def make_shop() -> dict[str, Any]:
    """Twenty customers, ten packages, four provider accounts."""
    from apps.accounts.models import Customer, Tenant
    from apps.catalog.models import Package, Product
    from apps.providers.models import Integration

    tenant = Tenant.objects.create(name="Bench", slug="bench", currency="TRY", timezone="Europe/Istanbul")
    product = Product.objects.create(tenant=tenant, name="Product", needs_code=False)
    shop: dict[str, Any] = {
        "tenant": tenant,
        "customers": [Customer.objects.create(tenant=tenant, name=f"Customer {n}") for n in range(20)],
        "packages": [
            Package.objects.create(tenant=tenant, product=product, code=f"package-{n}", name=str(n)) for n in range(10)
        ],
        "accounts": [
            Integration.objects.create(
                tenant=tenant, name=f"Panel {n}", kind="znet", base_url=f"http://127.0.0.1:{9000 + n}", currency="TRY"
            )
            for n in range(4)
        ],
    }
    return {**shop, "books": make_books(tenant, shop["customers"], shop["accounts"])}


def fill_chunk(shop: dict[str, Any], numbers: range, count: int) -> None:
    """Some of the orders, with units, attempts and postings."""
    from django.db import transaction

    from apps.orders.models import Attempt, AttemptUnit, Order, OrderUnit

    with transaction.atomic():
        orders = Order.objects.bulk_create(as_order(shop, number, count) for number in numbers)
        units = OrderUnit.objects.bulk_create(
            OrderUnit(order=order, n=1, amount_micros=PRICE, status="captured") for order in orders
        )
        attempts = Attempt.objects.bulk_create(as_attempt(shop, order) for order in orders)
        AttemptUnit.objects.bulk_create(
            AttemptUnit(attempt=attempt, unit=unit) for attempt, unit in zip(attempts, units, strict=True)
        )
        post(shop, orders, attempts)


def as_order(shop: dict[str, Any], number: int, count: int) -> Any:
    """A completed order, settled somewhere within the year."""
    from apps.orders.models import Order

    at = NEWEST - timedelta(seconds=number * DAYS * 86400 // count)
    package = shop["packages"][number % 10]
    return Order(
        tenant=shop["tenant"],
        customer=shop["customers"][number % 20],
        package=package,
        product_name="Product",
        package_name=package.name,
        needs_code=False,
        quantity=1,
        unit_price_micros=PRICE,
        price_micros=PRICE,
        captured_micros=PRICE,
        cost_micros=COST,
        expected_cost_micros=COST,
        currency="TRY",
        status="completed",
        external_status="completed",
        idempotency_key=f"bench-{number}",
        request_hash="0" * 64,
        created_at=at,
        updated_at=at,
        settled_at=at,
        deadline_at=at + timedelta(days=1),
    )


def as_attempt(shop: dict[str, Any], order: Any) -> Any:
    """The purchase that delivered it."""
    from apps.orders.models import Attempt

    account = shop["accounts"][order.pk % 4]
    return Attempt(
        order=order,
        integration=account,
        integration_name=account.name,
        kind="znet",
        reference=str(10**17 + order.pk),
        state="delivered",
        send_deadline_at=order.created_at,
        cost_micros=COST,
        sale_cost_micros=COST,
        cost_currency="TRY",
        created_at=order.created_at,
        delivered_at=order.created_at,
    )


def post(shop: dict[str, Any], orders: Sequence[Any], attempts: Sequence[Any]) -> None:
    """Deposit, hold, capture and cost of every order: what the one writer of money would write, many rows at a time."""
    from apps.wallet.models import Entry, Transfer

    tenant = shop["tenant"]
    kinds = ("deposit", "hold", "capture", "cost")
    transfers = Transfer.objects.bulk_create(
        Transfer(tenant=tenant, key=f"bench:{kind}:{order.pk}", kind=kind, subject_kind="order", subject_id=order.pk,
                 actor="bench", at=order.created_at)
        for order in orders
        for kind in kinds
    )  # fmt: skip
    sides = [side for order, attempt in zip(orders, attempts, strict=True) for side in sides_of(shop, order, attempt)]
    Entry.objects.bulk_create(
        Entry(transfer=transfer, account_id=account, amount_micros=amount)
        for transfer, (source, target, micros) in zip(transfers, sides, strict=True)
        for account, amount in ((source, -micros), (target, micros))
    )


def sides_of(shop: dict[str, Any], order: Any, attempt: Any) -> list[tuple[int, int, int]]:
    """Source, target and amount of the four postings of one order."""
    books: dict[tuple[str, int], int] = shop["books"]
    wallet, account = books["customer", order.customer_id], books["float", attempt.integration_id]
    house = {kind: books[kind, 0] for kind in ("cash", "held", "revenue", "cost")}
    return [
        (house["cash"], wallet, PRICE),
        (wallet, house["held"], PRICE),
        (house["held"], house["revenue"], PRICE),
        (account, house["cost"], COST),
    ]


def make_books(tenant: Any, customers: Sequence[Any], accounts: Sequence[Any]) -> dict[tuple[str, int], int]:
    """The ledger's accounts by kind and subject."""
    from apps.wallet.models import Account

    subjects = [("customer", "customer", one.pk) for one in customers]
    subjects += [("float", "integration", one.pk) for one in accounts]
    subjects += [(kind, "", 0) for kind in ("cash", "held", "revenue", "cost")]
    made = [
        Account.objects.create(
            tenant=tenant, kind=kind, currency="TRY", subject_kind=subject_kind, subject_id=subject_id,
            balance_micros=0 if kind == "customer" else None,
        )
        for kind, subject_kind, subject_id in subjects
    ]  # fmt: skip
    return {(account.kind, account.subject_id): account.pk for account in made}


# --- the measurement


def measure_all(tenant_id: int, orders: int) -> int:
    """Every report, once to warm up and five times on the clock."""
    from zoneinfo import ZoneInfo

    from apps.orders import reports
    from apps.wallet.statement import Period

    zone = ZoneInfo("Europe/Istanbul")
    month = Period((NEWEST - timedelta(days=30)).date(), None, zone)
    year = Period(None, None, zone)
    wanted: dict[str, Callable[[], Sequence[object]]] = {
        **{f"profit_by_{by}": functools.partial(reports.profit, tenant_id, by, year) for by in reports.By},
        "profit_by_day_of_a_month": lambda: reports.profit(tenant_id, reports.By.DAY, month),
        "stock_taking": lambda: reports.stock_taking(tenant_id),
        "trial_balance": lambda: reports.trial_balance(tenant_id),
    }
    results = [measure(name, ask, orders) for name, ask in wanted.items()]
    for result in results:
        print(json.dumps(result), flush=True)
    slowest = max(result["seconds"] for result in results)
    print(json.dumps({"reports": len(results), "slowest_s": slowest, "limit_s": LIMIT_S, "good": slowest < LIMIT_S}))
    return 0 if slowest < LIMIT_S else 1


def measure(name: str, ask: Callable[[], Sequence[object]], orders: int) -> dict[str, Any]:
    """The median of five runs, and the indexes that the plans of its queries use."""
    from django.db import connection
    from django.test.utils import CaptureQueriesContext

    with CaptureQueriesContext(connection) as queries:
        lines = len(ask())
    plans = [explain(query["sql"]) for query in queries.captured_queries]
    times = []
    for _ in range(RUNS):
        begun = time.perf_counter()
        ask()
        times.append(time.perf_counter() - begun)
    found = {"report": name, "orders": orders, "lines": lines, "seconds": round(statistics.median(times), 3)}
    return found | {"index": sorted({index for plan in plans for index in indexes_in(plan)}), "plans": plans}


def explain(sql: str) -> Any:
    """PostgreSQL's plan of one query."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (FORMAT JSON) {sql}")
        row = cursor.fetchone()
    return row[0][0]["Plan"] if row else {}


def indexes_in(plan: dict[str, Any]) -> list[str]:
    """The names of the indexes that a plan reads."""
    own = [plan["Index Name"]] if "Index Name" in plan else []
    return own + [name for part in plan.get("Plans", []) for name in indexes_in(part)]


if __name__ == "__main__":
    _bootstrap.check_python()
    _bootstrap.ensure_environment(dev=True)
    sys.exit(main(sys.argv[1:]))
