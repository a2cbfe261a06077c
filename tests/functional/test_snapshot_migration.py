"""Orders that were there before the snapshot get it from their units and attempts."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoDbBlocker

from tests.functional.test_provider_referans_migration import ALIAS, made_database, migrate_to, new_name

pytestmark = pytest.mark.both_databases

BEFORE = "0003_code_parts"
AFTER = "0005_fill_money_snapshot"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def database(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    """A database as it was before."""
    with django_db_blocker.unblock(), made_database(new_name(tmp_path)) as connection:
        migrate_to(BEFORE)
        yield connection
        connection.close()


class Old:
    """Rows written by the models of that time."""

    def __init__(self, connection: BaseDatabaseWrapper) -> None:
        self.models = MigrationExecutor(connection).loader.project_state(("orders", BEFORE)).apps
        self.tenant = self.make("accounts.Tenant", name="Shop", slug="shop")
        self.customer = self.make("accounts.Customer", tenant=self.tenant, name="Buyer", currency="TRY")
        product = self.make("catalog.Product", tenant=self.tenant, name="Game")
        self.package = self.make("catalog.Package", tenant=self.tenant, product=product, code="game-60", name="60")
        self.panel = self.make(
            "providers.Integration", tenant=self.tenant, name="Panel", kind="znet", base_url="x", currency="TRY"
        )
        self.make("catalog.PackagePrice", package=self.package, currency="TRY", unit_price_micros=35)

    def make(self, label: str, **values: object) -> Any:
        return self.models.get_model(label).objects.using(ALIAS).create(**values)

    def order(self, *units: str) -> Any:
        number = self.models.get_model("orders.Order").objects.using(ALIAS).count()
        order = self.make(
            "orders.Order",
            tenant=self.tenant,
            customer=self.customer,
            package=self.package,
            product_name="Game",
            package_name="60",
            needs_code=True,
            quantity=len(units),
            unit_price_micros=35,
            price_micros=35 * len(units),
            currency="TRY",
            idempotency_key=f"k-{number}",
            request_hash="0",
            created_at=NOW,
            updated_at=NOW,
            deadline_at=NOW,
        )
        for n, status in enumerate(units, start=1):
            self.make("orders.OrderUnit", order=order, n=n, amount_micros=35, status=status)
        return order

    def attempt(self, order: Any, *, delivered: bool = True, **fields: object) -> None:
        number = self.models.get_model("orders.Attempt").objects.using(ALIAS).count()
        self.make(
            "orders.Attempt",
            **{
                "order": order,
                "integration": self.panel,
                "integration_name": "Panel",
                "kind": "znet",
                "reference": f"r-{number}",
                "send_deadline_at": NOW,
                "cost_currency": "TRY",
                "created_at": NOW,
                "delivered_at": NOW if delivered else None,
                **fields,
            },
        )


def test_orders_get_what_they_brought_and_cost(database: BaseDatabaseWrapper) -> None:
    old = Old(database)
    sold = old.order("captured", "captured", "released")
    old.attempt(sold, expected_cost_micros=31, cost_micros=33)
    old.attempt(sold, expected_cost_micros=31)
    old.attempt(sold, delivered=False, expected_cost_micros=31)
    late = old.order("released")
    old.attempt(late, expected_cost_micros=30, is_surplus=True)
    unknown = old.order("captured")
    old.attempt(unknown)
    dollars = old.order("captured")
    old.attempt(dollars, expected_cost_micros=1, cost_currency="USD")
    waiting = old.order("held")
    migrate_to(AFTER)
    with database.cursor() as cursor:
        cursor.execute("SELECT id, captured_micros, expected_cost_micros, cost_micros FROM product_orders ORDER BY id")
        rows = cursor.fetchall()
    assert rows == [
        (sold.pk, 70, 62, 64),
        (late.pk, 0, 30, 30),
        (unknown.pk, 35, None, None),
        (dollars.pk, 35, None, None),
        (waiting.pk, 0, 0, 0),
    ]


def test_goes_back_and_forth_with_orders_there(database: BaseDatabaseWrapper) -> None:
    old = Old(database)
    old.attempt(old.order("captured"), expected_cost_micros=31)
    migrate_to(AFTER)
    migrate_to(BEFORE)
    migrate_to(AFTER)
    with database.cursor() as cursor:
        cursor.execute("SELECT captured_micros, cost_micros FROM product_orders")
        assert cursor.fetchall() == [(35, 31)]
