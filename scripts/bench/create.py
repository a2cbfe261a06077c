#!/usr/bin/env python3
"""Order creation through HTTP beside a bare Django view that inserts the same rows, in the same run.

Everything is real: throw-away PostgreSQL with durable commits and Valkey, gunicorn, sockets. The contestants take
turns, and ratios are made within each repetition; then orders arrive at half of the rate that ours has reached, evenly,
and each is timed from the moment at which it was due. Prints one JSON line; a run in which an answer was not 201, or an
order is missing, says `"valid": false` and ends with 1. How to read it: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import json
import os
import secrets
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(HERE)]

import _bootstrap

CUSTOMERS = 8
"""Customers who order at the same time, one connection each: no two wait for one wallet."""

WORKERS, THREADS = 2, 4
"""Of gunicorn, for both contestants."""

PATTERNS = "BENCH_PATTERNS"
"""The variable with the orders whose rows the bare view inserts."""

MOST_PER_S = 10_000
STARTS_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Buyer:
    """One customer: a key, a package, and the order whose rows are the pattern of the bare view."""

    number: int
    key: str
    package: str
    pattern: int

    def order(self) -> tuple[str, dict[str, str], bytes]:
        """Path, headers and body of an order for somebody new."""
        name = secrets.token_hex(12)
        headers = {"Authorization": f"Bearer {self.key}", "Idempotency-Key": name, "Content-Type": "application/json"}
        return "/api/v1/orders", headers, json.dumps({"package": self.package, "fields": {"player_id": name}}).encode()

    def bare(self) -> tuple[str, dict[str, str], bytes]:
        """The same for the bare view."""
        return "/orders", {"Content-Type": "application/json"}, json.dumps({"customer": self.number}).encode()


Ask = Callable[[Buyer], tuple[str, dict[str, str], bytes]]


@dataclass(frozen=True, slots=True)
class Site:
    """A web server: its port, and the process whose children serve."""

    port: int
    pid: int

    def cpu_s(self) -> float | None:
        """CPU seconds that it has used so far; None where this system does not say."""
        from contestants import children_of, cpu_s

        return cpu_s([self.pid, *children_of(self.pid)])


@dataclass
class Heard:
    """What came of the requests of one turn: seconds from when each was due until its answer, and what went wrong.

    `cpu_s` is what the web server has used meanwhile, without the database.
    """

    seconds: float = 0.0
    cpu_s: float | None = None
    took_s: list[float] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        """Orders a second."""
        return len(self.took_s) / self.seconds if self.seconds else 0.0

    @property
    def cpu_ms(self) -> float:
        """The web server's CPU for each order; 0 where it is not known."""
        return self.cpu_s / len(self.took_s) * 1000 if self.cpu_s is not None and self.took_s else 0.0

    def percentile_ms(self, percent: int) -> float:
        """So many of a hundred were answered within this."""
        if len(self.took_s) < 2:
            return 0.0
        return round(statistics.quantiles(self.took_s, n=100, method="inclusive")[percent - 1] * 1000, 1)


def main(argv: Sequence[str]) -> int:
    """Start the servers, measure, tell."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--seconds", type=float, default=10, help="of each turn (default 10)")
    parser.add_argument("--repetitions", type=int, default=3)
    options = parser.parse_args(argv)
    result = measure(options.seconds, options.repetitions)
    print(json.dumps(result), flush=True)
    return 0 if result["valid"] else 1


def measure(seconds: float, repetitions: int) -> dict[str, object]:
    """The result, on servers that last as long."""
    import hub

    from tests.servers import PostgresServer, ValkeyServer, free_port

    with PostgresServer(durable=True) as server, ValkeyServer(durable=True) as broker:
        hub.prepare(server.create_database("bench"), broker.url)
        buyers = make_buyers()
        ours = gunicorn("config.wsgi:application", free_port(), buyers)
        bare = gunicorn("bare:application", free_port(), buyers)
        with ours as site, bare as bare_site:
            return compare(buyers, site, bare_site, seconds, repetitions)


def compare(buyers: list[Buyer], site: Site, bare: Site, seconds: float, repetitions: int) -> dict[str, object]:
    """Turns of both, there and back; then half of the load."""
    from figures import in_turn, machine, spread

    from apps.orders.models import Order

    ways: dict[str, Callable[[float], Heard]] = {
        "ours": lambda for_s: full_load(buyers, site, Buyer.order, for_s),
        "bare": lambda for_s: full_load(buyers, bare, Buyer.bare, for_s),
    }
    warm = [way(min(seconds, 2.0)) for way in ways.values()]
    runs: dict[str, list[Heard]] = {name: [] for name in ways}
    for number in range(repetitions):
        for name in in_turn(list(ways), number):
            runs[name].append(ways[name](seconds))
    half = half_load(buyers, site, statistics.median(run.per_s for run in runs["ours"]) / 2, seconds * repetitions)
    every = [*warm, *itertools.chain.from_iterable(runs.values()), half]
    wrong = sorted({text for run in every for text in run.wrong})
    missing = sum(len(run.took_s) for run in every) + len(buyers) - Order.objects.count()
    ratios = [own.per_s / other.per_s for own, other in zip(runs["ours"], runs["bare"], strict=True) if other.per_s]
    return {
        "workload": "create",
        "valid": not wrong and not missing and len(ratios) == repetitions,
        **({"trouble": [*wrong, f"{missing} orders are missing"]} if wrong or missing else {}),
        "ratio_to_bare": spread(ratios or [0.0], 3),
        "orders_per_s": {name: spread([run.per_s for run in own], 1) for name, own in runs.items()},
        "cpu_ms_per_order": {name: spread([run.cpu_ms for run in own], 2) for name, own in runs.items()},
        "half_load": {
            "orders_per_s": round(half.per_s, 1),
            **{f"p{percent}_ms": half.percentile_ms(percent) for percent in (50, 95, 99)},
        },
        "full_load": {f"p{percent}_ms": runs["ours"][-1].percentile_ms(percent) for percent in (50, 99)},
        "repetitions": repetitions,
        **machine(),
    }


# --- the shop


def make_buyers() -> list[Buyer]:
    """One shop with customers who have money and whose keys have no limit that counts."""
    from apps.accounts.keys import issue_key
    from apps.accounts.models import Tenant
    from apps.common import clock
    from tests.factories import make_customer, make_shop, order_from

    shop = make_shop("http://127.0.0.1:9")
    Tenant.objects.update(api_rate_per_s=MOST_PER_S, api_burst=MOST_PER_S)
    buyers = []
    for number in range(CUSTOMERS):
        customer = make_customer(shop.tenant, "1000000000")
        key = issue_key(customer, clock.now(), rate_per_s=MOST_PER_S, burst=MOST_PER_S)[1]
        pattern = order_from(shop, customer=customer).pk
        buyers.append(Buyer(number, key, shop.package.code, pattern))
    return buyers


@contextmanager
def gunicorn(application: str, port: int, buyers: list[Buyer]) -> Iterator[Site]:
    """The application behind gunicorn, once it answers."""
    how = ["-k", "gthread", "-w", str(WORKERS), "--threads", str(THREADS), "--log-level", "error"]
    command = [sys.executable, "-m", "gunicorn", application, "-b", f"127.0.0.1:{port}", *how]
    paths = os.pathsep.join([str(ROOT), str(HERE)])
    told = {"PYTHONPATH": paths, PATTERNS: ",".join(str(buyer.pattern) for buyer in buyers)}
    with subprocess.Popen(command, cwd=ROOT, env={**os.environ, **told}) as process:
        try:
            wait_for(port)
            yield Site(port, process.pid)
        finally:
            process.terminate()


def wait_for(port: int) -> None:
    """Until it is there."""
    ends_at = time.monotonic() + STARTS_WITHIN_S
    while time.monotonic() < ends_at:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        try:
            connection.request("GET", "/livez")
            connection.getresponse().read()
            return
        except OSError:
            time.sleep(0.1)
        finally:
            connection.close()
    raise SystemExit(f"nothing answered on port {port}")


# --- the load


class Line:
    """One customer's kept connection."""

    def __init__(self, buyer: Buyer, port: int, ask: Ask, heard: Heard) -> None:
        self.buyer, self.ask, self.heard = buyer, ask, heard
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def send(self, due_at: float) -> None:
        """One order; timed from `due_at`."""
        path, headers, body = self.ask(self.buyer)
        try:
            self._connection.request("POST", path, body, headers)
            answer = self._connection.getresponse()
            told = answer.read()
        except OSError as error:
            self._connection.close()
            self.heard.wrong.append(type(error).__name__)
            return
        if answer.status == 201:
            self.heard.took_s.append(time.perf_counter() - due_at)
        else:
            self.heard.wrong.append(f"{answer.status} {told[:120]!r}")


def all_at_once(buyers: list[Buyer], site: Site, ask: Ask, play: Callable[[Line], None]) -> Heard:
    """Every customer plays in a thread of its own, beginning together."""
    heard, gate = Heard(), threading.Barrier(len(buyers) + 1)

    def run(buyer: Buyer) -> None:
        line = Line(buyer, site.port, ask, heard)
        gate.wait()
        play(line)

    with ThreadPoolExecutor(len(buyers)) as pool:
        done = [pool.submit(run, buyer) for buyer in buyers]
        gate.wait()
        began, used = time.perf_counter(), site.cpu_s()
        for one in done:
            one.result()
    heard.seconds = time.perf_counter() - began
    after = site.cpu_s()
    heard.cpu_s = after - used if after is not None and used is not None else None
    return heard


def full_load(buyers: list[Buyer], site: Site, ask: Ask, for_s: float) -> Heard:
    """Everybody sends the next order when the last one is answered."""

    def play(line: Line) -> None:
        ends_at = time.perf_counter() + for_s
        while (now := time.perf_counter()) < ends_at:
            line.send(now)

    return all_at_once(buyers, site, ask, play)


def half_load(buyers: list[Buyer], site: Site, per_s: float, for_s: float) -> Heard:
    """So many orders a second, evenly, whether the last one is answered or not: who is late waits in the line."""
    gap_s = len(buyers) / per_s if per_s else 1.0

    def play(line: Line) -> None:
        due_at = time.perf_counter() + gap_s * line.buyer.number / len(buyers)
        ends_at = due_at + for_s
        while due_at < ends_at:
            time.sleep(max(due_at - time.perf_counter(), 0))
            line.send(due_at)
            due_at += gap_s

    return all_at_once(buyers, site, Buyer.order, play)


if __name__ == "__main__":
    _bootstrap.check_python()
    _bootstrap.ensure_environment(dev=True)
    sys.exit(main(sys.argv[1:]))
