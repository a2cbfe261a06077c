"""The self-check of the main job: 20 orders fates drawn from a seed, recounted against the provider's truth ledger."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import requests

from apps.common import clock
from apps.ops import demo
from apps.ops.child import SimulatorChild
from apps.ops.embedded import Embedded
from apps.ops.money_check import check_money
from apps.ops.recount import Recount, recount
from apps.orders.models import Order
from apps.orders.states import SETTLED, OrderStatus

ORDERS = 20
WITHIN_S = 180.0
LOOK_EVERY_S = 0.2

Fate = tuple[str, str, dict[str, Any]]
"""A name, the package to order, and what the simulator does with it."""

FATES: tuple[Fate, ...] = (
    ("instant PIN", "pubg-60", {"complete_after_s": 0}),
    ("slow PIN", "steam-50", {"complete_after_s": 7}),
    ("direct top-up", "freefire-100", {"complete_after_s": 1}),
    ("refusal", "pubg-325", {"place": "refuse", "refuse_class": "product"}),
    ("accepted, then time-out", "steam-100", {"place": "accept_then_hang", "complete_after_s": 2}),
)


def draw_fates(seed: int, orders: int = ORDERS) -> list[Fate]:
    """Every fate at least twice, the rest at random, in an order that the seed decides."""
    dice = random.Random(seed)
    fates = [*FATES, *FATES, *dice.choices(FATES, k=orders - 2 * len(FATES))]
    dice.shuffle(fates)
    return fates


def run(data: Path, *, port: int, seed: int, say: Callable[[str], None]) -> int:
    """Run the whole hub, place the orders over REST, wait for each to settle, recount. 0 only if everything agrees."""
    started = time.monotonic()
    truth = data / "truth.jsonl"
    simulator = SimulatorChild(truth, login=demo.LOGIN, password=demo.PASSWORD, seed=seed, mix="none")
    hub = Embedded(port)
    try:
        tenant = demo.load_demo(simulator.url, clock.now())
        key = demo.issue_demo_key(tenant, clock.now())
        hub.start()
        problems = place_all(hub.url, key, simulator, draw_fates(seed))
        problems += wait_until_settled(started + WITHIN_S)
    finally:
        hub.stop()
        simulator.stop()
    count = recount(Order.objects.order_by("id"), truth)
    say(f"Money: {json.dumps(check_money().as_dict())}")
    count.seconds = round(time.monotonic() - started, 1)
    return report(count, problems, say)


def place_all(url: str, key: str, simulator: SimulatorChild, fates: list[Fate]) -> list[str]:
    """Script every fate, then order side by side like customers do; returns what was not answered 201."""

    def place(n: int) -> str:
        _, package, fate = fates[n]
        player = f"check-{n:03d}"
        simulator.set_fate(player, fate)
        answer = requests.post(
            f"{url}/api/v1/orders",
            json={"package": package, "quantity": 1, "fields": {"player_id": player}},
            headers={"Authorization": f"Bearer {key}", "Idempotency-Key": f"check-{n}"},
            timeout=30,
        )
        return "" if answer.status_code == 201 else f"order {n} was answered {answer.status_code}: {answer.text[:200]}"

    with ThreadPoolExecutor(4) as customers:
        return [problem for problem in customers.map(place, range(len(fates))) if problem]


def wait_until_settled(ends_at: float) -> list[str]:
    """Until no order is open; returns the ones that still are when the time is up."""
    done = [*SETTLED, OrderStatus.REVIEW]
    pause = threading.Event()
    while (open_orders := Order.objects.exclude(status__in=done)).exists():
        if time.monotonic() > ends_at:
            return [f"order {order.pk} is still {order.status} ({order.reason})" for order in open_orders]
        pause.wait(LOOK_EVERY_S)
    return []


def report(count: Recount, problems: list[str], say: Callable[[str], None]) -> int:
    """Print every disagreement, then the one line of JSON."""
    problems = [*problems, *count.problems]
    if count.orders != ORDERS:
        problems.append(f"{count.orders} orders exist instead of {ORDERS}")
    for problem in problems:
        say(f"NOT RIGHT: {problem}")
    say(json.dumps(count.as_dict()))
    return 1 if problems or count.double_purchases or count.money_unexplained else 0
