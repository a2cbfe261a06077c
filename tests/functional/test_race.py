"""Many dispatchers at once on PostgreSQL: each order is bought once, with the row lock and without it."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from django.db import connection
from django.db.models import QuerySet

from apps.accounts.models import Customer
from apps.common import clock
from apps.ops import demo
from apps.orders.models import Attempt, AttemptUnit, Order
from apps.orders.services import NewOrder, create_order, try_auto_dispatch
from apps.simulator.client import SimulatorProcess

THREADS = 12
ORDERS = 25


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(truth=tmp_path / "truth.jsonl", login=demo.LOGIN, password=demo.PASSWORD) as running:
        yield running


@pytest.fixture
def order_ids(transactional_db: None, simulator: SimulatorProcess) -> list[int]:
    tenant = demo.load_demo(simulator.url, clock.now())
    customer = Customer.objects.filter(tenant=tenant).order_by("id")[0]
    return [
        create_order(customer, NewOrder("pubg-60", 1, {"player_id": f"race-{n}"}), f"race-{n}", clock.now()).order.pk
        for n in range(ORDERS)
    ]


def race(order_ids: list[int]) -> None:
    """Every thread dispatches every order, all starting together."""
    start = threading.Barrier(THREADS)

    def run(offset: int) -> None:
        start.wait(30)
        try:
            for n in range(len(order_ids)):
                try_auto_dispatch(order_ids[(n + offset) % len(order_ids)])
                try_auto_dispatch(order_ids[n])
        finally:
            connection.close()

    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(run, range(THREADS)))


@pytest.mark.postgres
class TestTwelveThreads:
    def check(self, order_ids: list[int], simulator: SimulatorProcess) -> None:
        bought = Counter(entry["reference"] for entry in simulator.truth() if entry["event"] == "bought")
        assert len(bought) == ORDERS
        assert set(bought.values()) == {1}
        assert Attempt.objects.count() == ORDERS
        assert AttemptUnit.objects.filter(holds=True).count() == ORDERS
        assert set(Order.objects.values_list("status", flat=True)) == {"processing"}
        assert set(Order.objects.values_list("provider_referans", flat=True)) == set(bought)

    def test_buy_each_order_once(self, order_ids: list[int], simulator: SimulatorProcess) -> None:
        race(order_ids)
        self.check(order_ids, simulator)

    def test_buy_each_order_once_without_the_row_lock(
        self, order_ids: list[int], simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def no_lock(self: QuerySet[Any], *args: object, **kwargs: object) -> QuerySet[Any]:
            return self

        monkeypatch.setattr(QuerySet, "select_for_update", no_lock)
        race(order_ids)
        self.check(order_ids, simulator)
