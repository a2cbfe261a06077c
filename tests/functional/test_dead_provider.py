"""A provider that is dead, with many orders open there: nobody else is held up, and when it is back no herd arrives."""

from __future__ import annotations

import threading
from collections import Counter
from datetime import timedelta

import pytest

from apps.common import clock
from apps.common.budget import Limits, as_us
from apps.orders import monitoring, services
from apps.orders.models import DueCheck, Order
from apps.providers import breaker
from apps.providers.breaker import State
from tests.factories import Shop, Stage, at_checkpoint, check_invariants, fill_lane, make_shop, standing_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.unit.loopback import Peer, Server, closed_port, hang
from tests.unit.test_budget import check_windows

__all__ = ["committed", "simulator", "stage"]

PENDING = 10_000
RICH = "5000"
ASKS_OF_TEN = 8
"""Of ten requests at once, two are kept for placing."""


def sent(stage: Stage, shop: Shop, count: int) -> list[Order]:
    """So many accepted orders; they are due in a minute."""
    orders = [stage.order(shop) for _ in range(count)]
    for order in orders:
        assert services.try_auto_dispatch(order.pk).said == "accepted"
    return orders


def statuses(orders: list[Order]) -> set[str]:
    return set(Order.objects.filter(pk__in=[order.pk for order in orders]).values_list("status", flat=True))


def dead_shop(stage: Stage, port: int, *, ask_timeout_s: float, pending: int) -> Shop:
    """A shop with many open orders at an address where nobody answers."""
    shop = make_shop(f"http://127.0.0.1:{port}", burst=10, ask_timeout_s=ask_timeout_s)
    fill_lane(stage.order(shop), shop.integration, pending)
    DueCheck.objects.filter(kind="dispatch").delete()
    return shop


@pytest.mark.slow
@pytest.mark.both_databases
class TestManyOrdersAtADeadProvider:
    def test_that_hangs_hold_up_no_other(self, stage: Stage) -> None:
        with Server(hang) as server:
            dead = dead_shop(stage, server.port, ask_timeout_s=0.4, pending=PENDING)
            others = sent(stage, make_shop(stage.url, balance=RICH), 40)
            stage.move(60)
            assert monitoring.sweep().asked == 40 + ASKS_OF_TEN
            server.settle()
            assert server.requests == ASKS_OF_TEN
        assert statuses(others) == {"completed"}
        self.check_put_off(dead)

    def test_that_refuses_connections_hold_up_no_other(self, stage: Stage) -> None:
        dead = dead_shop(stage, closed_port(), ask_timeout_s=3, pending=PENDING)
        others = sent(stage, make_shop(stage.url, balance=RICH), 40)
        stage.move(60)
        assert monitoring.sweep().asked == 40 + ASKS_OF_TEN
        assert statuses(others) == {"completed"}
        self.check_put_off(dead)

    def check_put_off(self, dead: Shop) -> None:
        lane, now = dead.integration.pk, clock.now()
        assert breaker.state_of(lane, now) is State.OPEN
        rows = DueCheck.objects.filter(lane=lane, errors=0, tries=0, asked=0)
        assert rows.count() == PENDING - ASKS_OF_TEN
        seconds = Counter((at - now).total_seconds() for at in rows.values_list("next_at", flat=True))
        assert sorted(seconds) == [15 * step for step in range(1, 9)]


def test_the_others_are_answered_while_the_dead_one_still_hangs(stage: Stage) -> None:
    """More of them than one turn takes; the dead panel lets go only when all of them are done."""
    is_done, released = threading.Event(), []

    def wait_for_the_others(peer: Peer) -> None:
        peer.read_request()
        released.append(is_done.wait(20))

    with Server(wait_for_the_others) as server:
        dead_shop(stage, server.port, ask_timeout_s=25, pending=100)
        others = sent(stage, make_shop(stage.url, balance=RICH), 40)
        stage.move(60)
        at_checkpoint("apply.after_commit", lambda: is_done.set() if statuses(others) == {"completed"} else None)
        monitoring.sweep()
    assert released == [True] * ASKS_OF_TEN


class TestAProviderThatIsBack:
    RATE, BURST, ORDERS = 5, 10, 30

    def test_is_asked_about_all_within_its_budget_in_time(self, stage: Stage) -> None:
        """After six hours: each order, oldest first, at four fifths of the rate, two minutes later at the most."""
        shop = make_shop(stage.url, balance=RICH, ask_timeout_s=1)
        orders = sent(stage, shop, self.ORDERS)
        type(shop.integration).objects.update(
            options=shop.integration.options | {"rate_per_s": self.RATE, "burst": self.BURST}
        )
        stage.simulator.switch(down="hang")
        for seconds in (60, 3600, 3600):
            stage.move(seconds)
            monitoring.sweep()
        assert breaker.state_of(shop.integration.pk, clock.now()) is State.OPEN
        stage.simulator.switch(down=None)
        back_at, asked = clock.now(), []
        while statuses(orders) != {"completed"}:
            now = stage.move(1)
            asked += [as_us(now)] * monitoring.sweep().asked
        limits = Limits.of(self.RATE, self.BURST)
        check_windows(asked, limits.ask_gap_us, limits.ask_burst)
        assert len(asked) == self.ORDERS
        assert clock.now() - back_at <= timedelta(seconds=self.ORDERS / (0.8 * self.RATE) + 120)
        assert {standing_of(order)[0] for order in orders} == {"completed"}
        check_invariants(stage)
