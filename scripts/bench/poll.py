#!/usr/bin/env python3
"""How many status checks a second the poller makes, beside a bare aiohttp loop that asks the same simulator.

Everything is real: PostgreSQL with durable commits, `monitoring.sweep`, sockets, the simulator in bench mode. The three
loops take turns; ratios are made per repetition. `fresh` opens a connection for each question, as the poller must: an
answer of ZNET does not say which order it is about, so a kept connection could give one order's answer to the next.
`kept` reuses its connections and is the physical limit.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts")]

import _bootstrap

OPTIONS: dict[str, Any] = {
    "rate_per_s": 100_000,
    "burst": 1000,
    "ask_timeout_s": 30,
    "poll_base_s": 86400,
    "poll_cap_s": 86400,
}
"""An account that takes whatever comes: the budget is not what is measured. Nothing is asked twice in a repetition."""


def main(argv: Sequence[str]) -> int:
    """Start the servers, fill the queue, measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--pending", type=int, default=2000, help="orders that wait, each asked once in a repetition")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--delay", type=float, action="append", help="the provider's seconds; default 0 and 0.1")
    parser.add_argument("--growth", type=int, nargs="*", default=[], metavar="N", help="cost of a check with N pending")
    parser.add_argument("--json", action="store_true", dest="as_json")
    options = parser.parse_args(argv)
    from tests.servers import PostgresServer

    with PostgresServer(durable=True) as server:
        prepare(server.create_database("bench"))
        for delay in options.delay or [0.0, 0.1]:
            with simulator(delay) as url:
                tell(measure(url, delay, options.pending, options.repetitions), as_json=options.as_json)
        if options.growth:
            with simulator(0.0) as url:
                tell(measure_growth(url, options.growth, options.repetitions), as_json=options.as_json)
    return 0


def prepare(url: str) -> None:
    """Django on that server, with the tables made."""
    settings = {"DATABASE_URL": url, "REDIS_URL": "", "DEBUG": "false", "PRODUCTION": "false", "LOG_LEVEL": "WARNING"}
    os.environ.update({**_bootstrap.random_secrets(), **settings, "DJANGO_SETTINGS_MODULE": "config.settings"})
    import django
    from django.core.management import call_command

    django.setup()
    call_command("migrate", verbosity=0)


@contextmanager
def simulator(delay_s: float) -> Iterator[str]:
    """The address of a simulator in bench mode, which says of every order that it is being worked on."""
    command = [sys.executable, "-m", "apps.simulator", "--bench", "waiting", "--delay", str(delay_s)]
    command.append("--stop-with-parent")
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            told = process.stdout.readline() if process.stdout else b""
            yield f"http://127.0.0.1:{json.loads(told)['port']}"
        finally:
            process.terminate()


def cpu_of(url: str) -> float:
    """CPU seconds that the simulator has used."""
    with urllib.request.urlopen(url + "/_control/cpu", timeout=10) as answer:  # noqa: S310 - our own simulator
        return float(answer.read())


# --- the queue


def fill(url: str, pending: int) -> None:
    """So many orders that were accepted at one account behind `url`, and asked about once."""
    from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order, OrderUnit
    from tests.crowds import FIRST_COPY, copies, unchecked
    from tests.factories import fill_lane, make_shop, order_from

    emptied()
    shop = make_shop(url, **OPTIONS)
    pattern = order_from(shop)
    fill_lane(pattern, shop.integration, 1)
    attempt, unit = Attempt.objects.get(order=pattern), OrderUnit.objects.get(order=pattern)
    row = DueCheck.objects.get(attempt=attempt)
    link = AttemptUnit.objects.create(attempt=attempt, unit=unit)
    own = f"{FIRST_COPY} + g"
    standing = {"status": "'processing'", "external_status": "'sent'", "provider_referans": "'r' || g"}
    late = "now() + interval '30 days'"
    with unchecked():
        copies(Order, pattern.pk, pending, idempotency_key="'copy-' || g", intent="''", deadline_at=late, **standing)
        copies(OrderUnit, unit.pk, pending, order_id=own)
        copies(Attempt, attempt.pk, pending, order_id=own, reference="(100000000000000000 + g)::text")
        copies(AttemptUnit, link.pk, pending, attempt_id=own, unit_id=own)
        copies(DueCheck, row.pk, pending, order_id=own, attempt_id=own)
        for model, pk in ((DueCheck, row.pk), (AttemptUnit, link.pk)):
            model.objects.filter(pk=pk).delete()
    answer_once()


def answer_once() -> None:
    """Ask about one order, and give all others what its answer has left on its rows."""
    from apps.orders.models import Attempt, DueCheck, Order

    sweep(1)
    row = DueCheck.objects.exclude(digest="").select_related("attempt", "order").get()
    if row.attempt is None:
        raise SystemExit("the first answer was lost")
    for model, told in ((DueCheck, row), (Attempt, row.attempt), (Order, row.order)):
        names = {
            DueCheck: ("digest", "same_since", "asked_at", "tries"),
            Attempt: ("outcome", "reason_code", "reason"),
            Order: ("external_status",),
        }[model]
        model.objects.update(**{name: getattr(told, name) for name in names})
    run_sql("VACUUM FULL orders_due_check")
    run_sql("VACUUM ANALYZE")


def emptied() -> None:
    """Nothing of an earlier run is left."""
    from tests.functional.core_fixtures import empty_postgres

    empty_postgres()
    run_sql("SET session_replication_role = origin")


def make_due(count: int) -> None:
    """So many rows are due now, the rest in a while, in a tidy queue."""
    from django.utils import timezone

    from apps.orders.models import DueCheck

    now = timezone.now()
    DueCheck.objects.update(next_at=now + timedelta(days=10))
    chosen = DueCheck.objects.order_by("attempt__reference").values_list("pk", flat=True)[:count]
    DueCheck.objects.filter(pk__in=list(chosen)).update(next_at=now - timedelta(minutes=1))
    run_sql("VACUUM ANALYZE orders_due_check")


def run_sql(sql: str) -> Any:
    """Run it; its first value, where it has one."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchone()[0] if cursor.description else None


# --- the three loops


def sweep(count: int) -> float:
    """Seconds in which the poller asks about all that is due."""
    from apps.orders import monitoring

    make_due(count)
    began = time.perf_counter()
    asked = monitoring.sweep().asked
    while asked < count and (more := monitoring.sweep().asked):
        asked += more
    took = time.perf_counter() - began
    if asked != count:
        raise SystemExit(f"the poller asked {asked} of {count}")
    return took


def bare(url: str, count: int, *, kept: bool) -> float:
    """Seconds in which a bare loop asks as often, as many at a time as the poller."""
    from apps.orders.turns import LANE_CONCURRENCY

    began = time.perf_counter()
    asyncio.run(_bare(url, count, LANE_CONCURRENCY, kept=kept))
    return time.perf_counter() - began


async def _bare(url: str, count: int, concurrency: int, *, kept: bool) -> None:
    import aiohttp

    numbers = iter(range(count))
    address = f"{url}/servis/tahsilat_kontrol.php?bayi_kodu=demo&sifre=demo-secret&tahsilat_api_islem_id="
    connector = aiohttp.TCPConnector(limit=0, force_close=not kept)

    async def ask(session: aiohttp.ClientSession) -> None:
        for number in numbers:
            async with session.get(f"{address}{100000000000000000 + number}") as answer:
                if answer.status != 200:
                    raise SystemExit(f"the simulator answered {answer.status}")
                await answer.read()

    async with aiohttp.ClientSession(connector=connector) as session:
        await asyncio.gather(*(ask(session) for _ in range(concurrency)))


# --- the measurement


def measure(url: str, delay: float, pending: int, repetitions: int) -> dict[str, Any]:
    """The three loops in turn, with answers that are not the first of their kind."""
    from apps.orders.models import Evidence

    fill(url, pending)
    loops: dict[str, Callable[[], float]] = {
        "ours": lambda: sweep(pending),
        "fresh": lambda: bare(url, pending, kept=False),
        "kept": lambda: bare(url, pending, kept=True),
    }
    rates: dict[str, list[float]] = {name: [] for name in loops}
    cpu: dict[str, list[float]] = {name: [] for name in loops}
    shares = []
    for number in range(repetitions):
        for name in [*loops][:: 1 if number % 2 == 0 else -1]:
            busy, began, own = cpu_of(url), time.perf_counter(), time.process_time()
            kept = Evidence.objects.count()
            rates[name].append(pending / loops[name]())
            if Evidence.objects.count() != kept:
                raise SystemExit("some answers were not the usual one: the machine is too busy to measure on")
            cpu[name].append((time.process_time() - own) / pending * 1e6)
            shares.append((cpu_of(url) - busy) / (time.perf_counter() - began))
    ratios = {
        f"ours/{name}": spread([a / b for a, b in zip(rates["ours"], rates[name], strict=True)], 3)
        for name in ("fresh", "kept")
    }
    return {
        "delay_s": delay,
        "pending": pending,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "load": round(os.getloadavg()[0], 1),
        "checks_per_s": {name: spread(found, 0) for name, found in rates.items()},
        **ratios,
        "cpu_us_per_check": {name: spread(found, 0) for name, found in cpu.items()},
        "simulator_cpu": round(max(shares), 2),
        "valid": max(shares) < 0.9,
        "queue_bytes_per_row": round(run_sql("SELECT pg_total_relation_size('orders_due_check')") / pending),
    }


def measure_growth(url: str, sizes: Sequence[int], repetitions: int, due: int = 1000) -> dict[str, Any]:
    """Seconds per check of as many due rows in queues of these sizes, and how much dearer the longest is."""
    costs = {}
    for size in sizes:
        fill(url, size)
        costs[size] = statistics.median(sweep(min(due, size)) / min(due, size) for _ in range(repetitions))
    return {
        "microseconds_per_check": {size: round(cost * 1e6) for size, cost in costs.items()},
        "growth": round(costs[sizes[-1]] / costs[sizes[0]], 2),
    }


def spread(values: Sequence[float], digits: int) -> dict[str, float]:
    """Median, least and most."""
    found = {"median": statistics.median(values), "min": min(values), "max": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def tell(result: dict[str, Any], *, as_json: bool) -> None:
    """One JSON line, or a few lines for a person."""
    if as_json:
        print(json.dumps(result), flush=True)
        return
    for name, value in result.items():
        print(f"{name:24} {value}", flush=True)
    print()


if __name__ == "__main__":
    _bootstrap.check_python()
    _bootstrap.ensure_environment(dev=True)
    sys.exit(main(sys.argv[1:]))
