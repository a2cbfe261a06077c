#!/usr/bin/env python3
"""Benchmarks: the hub beside the physical limit and beside Celery, on the same orders and in the same run.

Everything is real: throw-away PostgreSQL with durable commits and Valkey, `manage.py poll`, sockets, the simulator. The
contestants take turns, and ratios are made within each repetition. Prints one JSON line for each measurement; a run in
which the work was not done says `"valid": false` and ends with 1. How to read it: docs/benchmarks.md.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "scripts"), str(ROOT / "scripts" / "bench")]

import _bootstrap


@dataclass(frozen=True, slots=True)
class Plan:
    """How much is measured: waiting orders, seconds and repetitions of each contestant, and lengths of the queue."""

    orders: int
    seconds: float
    repetitions: int
    growth: tuple[int, ...]


QUICK = Plan(orders=10_000, seconds=15, repetitions=3, growth=(1_000, 20_000))
FULL = Plan(orders=100_000, seconds=60, repetitions=5, growth=(1_000, 10_000, 100_000, 1_000_000))
DELAYS_S = (0.0, 0.1)
DUE = 1000
"""Checks whose cost is measured in each queue."""
LOAD = 0.8
"""Of the checks a second that are possible."""

Result = dict[str, object]


def main(argv: Sequence[str]) -> int:
    """Start the servers, measure, tell."""
    options = parse(argv)
    chosen = FULL if options.full else QUICK
    plan = Plan(
        options.orders or chosen.orders,
        options.seconds or chosen.seconds,
        options.repetitions or chosen.repetitions,
        tuple(options.growth or chosen.growth),
    )
    is_valid = True
    for result in measure(options.workload or list(WORKLOADS), plan):
        is_valid &= bool(result["valid"])
        tell(result, as_json=options.json)
    return 0 if is_valid else 1


def parse(argv: Sequence[str]) -> argparse.Namespace:
    """The command line; a workload that does not exist is refused with those that do."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS), help="default: all of them")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="a few minutes (the default)")
    size.add_argument("--full", action="store_true", help="longer queues, more repetitions: about an hour")
    parser.add_argument("--orders", type=int, help="orders that wait")
    parser.add_argument("--seconds", type=float, help="seconds for each contestant, at most")
    parser.add_argument("--repetitions", type=int)
    parser.add_argument("--growth", type=int, nargs="*", metavar="N", help="W4: lengths of the queue")
    parser.add_argument("--json", action="store_true", help="one JSON line for each result")
    return parser.parse_args(argv)


def measure(workloads: Sequence[str], plan: Plan) -> Iterator[Result]:
    """The results of the workloads, on servers that last as long."""
    import hub
    from contestants import Place
    from figures import machine

    from tests.servers import PostgresServer, ValkeyServer

    with PostgresServer(durable=True) as server, ValkeyServer(durable=True) as broker:
        hub.prepare(server.create_database("bench"), broker.url)
        place = Place(server.create_database("peer"), broker.url.rpartition("/")[0] + "/7")
        for name in workloads:
            for result in WORKLOADS[name](plan, place):
                yield {"workload": name, **result, **machine()}


def polling(plan: Plan, place: object) -> Iterator[Result]:
    """W1: so many orders wait for their provider; how many checks a second are made, by whom."""
    import contestants as who
    import hub
    from figures import Run, compare, in_turn

    assert isinstance(place, who.Place)  # noqa: S101 - `measure` made it
    for delay_s in DELAYS_S:
        with hub.simulator(delay_s) as url:
            hub.fill(url, plan.orders)
            told = {"queue_mb_per_100k": round(hub.queue_bytes() / plan.orders / 10, 1)}
            task = who.Task(url, plan.orders, plan.seconds, delay_s)
            ways: dict[str, Callable[[], Run]] = {
                "ours": partial(who.ours, task),
                "loop": partial(who.loop, task, "fresh"),
                "kept_loop": partial(who.loop, task, "kept"),
                "celery": partial(who.celery, task, place),
            }
            runs: dict[str, list[Run]] = {name: [] for name in ways}
            for number in range(plan.repetitions):
                for name in in_turn(list(ways), number):
                    runs[name].append(who.measured(task, ways[name]))
            yield {"provider_ms": round(delay_s * 1000), "pending": plan.orders, **compare(runs), **told}


def growth(plan: Plan, place: object) -> Iterator[Result]:
    """W4: what a check costs in longer and longer queues, each beside the bare loop of the same moment."""
    import contestants as who
    import hub

    cost, beside = {}, {}
    with hub.simulator(0.0) as url:
        for size in plan.growth:
            hub.fill(url, size)
            due = min(DUE, size)
            hub.sweep(due)  # what is read for the first time is not what is measured
            pairs = [
                (hub.sweep(due) / due, who.loop(who.Task(url, due, 60, 0.0), "fresh").per_s)
                for _ in range(2 * plan.repetitions)
            ]
            cost[size] = statistics.median(seconds for seconds, _ in pairs)
            beside[size] = statistics.median(seconds * per_s for seconds, per_s in pairs)
    first, last = plan.growth[0], plan.growth[-1]
    yield {
        "valid": first < last,
        "microseconds_per_check": {size: round(seconds * 1e6) for size, seconds in cost.items()},
        "in_checks_of_the_loop": {size: round(checks, 2) for size, checks in beside.items()},
        "growth": round(cost[last] / cost[first], 2),
        "growth_beside_the_loop": round(beside[last] / beside[first], 2),
    }


def queueing(plan: Plan, place: object) -> Iterator[Result]:
    """W5: orders come due one by one at four fifths of what is possible; how long each waits for us."""
    import contestants as who
    import figures
    import hub

    for delay_s in DELAYS_S:
        with hub.simulator(delay_s) as url:
            hub.fill(url, plan.orders)
            task = who.Task(url, plan.orders, plan.seconds, delay_s)
            runs = [who.loaded(task, LOAD, seed) for seed in range(plan.repetitions)]
            yield {"provider_ms": round(delay_s * 1000), "pending": plan.orders, **figures.queueing(runs, LOAD)}


WORKLOADS: dict[str, Callable[[Plan, object], Iterator[Result]]] = {"W1": polling, "W4": growth, "W5": queueing}


def tell(result: Result, *, as_json: bool) -> None:
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
