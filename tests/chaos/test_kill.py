"""Real processes on real servers, one of them killed in the middle: nothing is bought twice, nothing is lost."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import redis

from tests.chaos.real_hub import RealHub, real_hub, wait_for
from tests.servers import free_port

ORDERS = 30
BEFORE_THE_KILL = 20
HANGS: dict[str, Any] = {"complete_after_s": 1, "place": "accept_then_hang"}
FATES: tuple[dict[str, Any], ...] = (
    {"complete_after_s": 0, "answer_delay_s": 0.3},
    {"complete_after_s": 2, "answer_delay_s": 0.3},
    HANGS,
    {"complete_after_s": 1, "place": "accept_then_500"},
)


def place_orders(hub: RealHub, players: list[str]) -> None:
    with ThreadPoolExecutor(4) as customers:
        list(customers.map(hub.order, players))


@pytest.mark.smoke
class TestAKilledWorker:
    def test_leaves_no_double_purchase_and_no_lost_pin(self, tmp_path: Path) -> None:
        dice = random.Random(7)
        with real_hub(tmp_path) as (hub, simulator, valkey):
            players = [f"kill-{n:03d}" for n in range(ORDERS)]
            for player in players:
                simulator.set_fate(recipient=player, **dice.choices(FATES, weights=(5, 3, 1, 1))[0])
            slow = players[BEFORE_THE_KILL - 1]  # its request is on the wire for three seconds: the kill hits it
            simulator.set_fate(recipient=slow, **HANGS)
            hub.start_web(free_port())
            hub.start_worker("worker1", children=2)
            hub.start_beat()
            place_orders(hub, players[:BEFORE_THE_KILL])
            wait_for(lambda: _count(hub, "state <> 'sending'") >= 5, "the worker sends nothing")
            its = f"order_id = (SELECT id FROM product_orders WHERE user_identifier = '{slow}')"  # noqa: S608 - our own
            wait_for(lambda: _count(hub, f"state = 'sending' AND {its}") == 1, "the slow order is not being sent")
            hub.kill("worker1")
            in_sending = _count(hub, "state = 'sending'")
            place_orders(hub, players[BEFORE_THE_KILL:])
            hub.start_worker("worker2", children=2)
            wait_for(lambda: _count(hub, "state = 'delivered'") >= 15, "the second worker does nothing", 90)
            redis.Redis.from_url(valkey.url).flushall()
            open_orders = "SELECT id FROM product_orders WHERE status NOT IN ('completed', 'rejected', 'review')"
            wait_for(lambda: not hub.query(open_orders), "some orders are still open", 150)
            hub.stop(within_s=5)
            count, problems = hub.recount(simulator.truth_path)
            logs = hub.logs()
            given = {pin for entry in simulator.truth() for pin in entry.get("planned_pins", [])}

        assert in_sending >= 1, "the kill hit nobody: this run proves nothing"
        assert problems == []
        assert count["orders"] == ORDERS
        assert count["double_purchases"] == 0
        assert count["money_unexplained"] == 0
        assert count["completed"] + count["review"] == ORDERS
        assert count["review"] <= in_sending
        assert count["pins"] == count["purchases_at_provider"] == count["completed"]
        assert not [pin for pin in given if pin in logs], "a PIN stands in a log"
        assert "demo-secret" not in logs
        assert hub.key not in logs


def _count(hub: RealHub, condition: str) -> int:
    return int(hub.query(f"SELECT count(*) FROM orders_attempt WHERE {condition}")[0][0])  # noqa: S608 - our own words
