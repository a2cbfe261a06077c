"""Those who take part: each is given the same orders and the same simulator, and tells how many checks it made."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import celery_peer
import hub
import psycopg2
import redis
from figures import Loaded, Run, arrivals

HERE = Path(__file__).resolve().parent
LOOK_EVERY_S = 0.1
STARTS_WITHIN_S = 60.0
STARTS_IN_S = 3.0
"""After so long the first order of a load is due; writing and packing the queue takes less."""
LATE_S = 20.0
"""An order that nobody asked about by then, after the last was due, was lost."""
UNUSUAL = 0.01
"""Share of answers that may be written down as news: of a lost connection, and of the first one after it."""


@dataclass(frozen=True, slots=True)
class Task:
    """Orders to check, once each, within so many seconds; `delay_s` is how long the provider takes."""

    url: str
    orders: int
    seconds: float
    delay_s: float


@dataclass(frozen=True, slots=True)
class Place:
    """The servers of the run: the peer's own database and broker."""

    peer_database: str
    peer_broker: str


def measured(task: Task, act: Callable[[], Run]) -> Run:
    """The run, with the simulator's share of a core in it."""
    busy, began = hub.cpu_of(task.url), time.perf_counter()
    run = act()
    return replace(run, simulator=(hub.cpu_of(task.url) - busy) / max(time.perf_counter() - began, 0.001))


def ours(task: Task) -> Run:
    """The resident poller, from the first answers that it has applied on."""
    from apps.orders.models import Evidence

    kept = Evidence.objects.count()
    with hub.poller() as pid:
        began = hub.now()
        hub.make_due(task.orders)
        run = watch(task, lambda: hub.asked_since(began), [pid])
    unusual = Evidence.objects.count() - kept
    is_usual = unusual <= UNUSUAL * run.checks
    return run if is_usual else replace(run, trouble=f"{unusual} answers were not the usual one")


def loaded(task: Task, load: float, seed: int) -> Loaded:
    """The poller under a share of what it can do: what it can is measured first, in the same run."""
    capacity = measured(task, lambda: ours(task))
    offered = load * capacity.per_s
    offsets = arrivals(offered, min(task.orders, round(offered * task.seconds)), seed) if offered else []
    with hub.poller():
        begins_at = hub.now() + timedelta(seconds=STARTS_IN_S)
        rows = hub.make_due_one_by_one(offsets, begins_at)
        busy, began = hub.cpu_of(task.url), time.perf_counter()
        hub.wait_for_all(begins_at, len(rows), (offsets[-1] if offsets else 0) + STARTS_IN_S + LATE_S)
        simulator = (hub.cpu_of(task.url) - busy) / max(time.perf_counter() - began, 0.001)
    waits = hub.waits_of(rows, offsets, begins_at)
    own = [None if wait is None else max(wait - task.delay_s, 0.0) for wait in waits]
    return Loaded(capacity, offered, own, simulator)


def loop(task: Task, kind: str) -> Run:
    """The bare loop, with as many requests at a time as the poller has."""
    from apps.orders.turns import LANE_CONCURRENCY

    numbers = [str(task.orders), str(LANE_CONCURRENCY), str(task.seconds)]
    command = [sys.executable, str(HERE / "loop.py"), task.url, *numbers, kind]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, timeout=task.seconds + 60).stdout)
    return Run(told["checks"], told["seconds"], told["cpu_s"])


def celery(task: Task, place: Place) -> Run:
    """Celery done well, from the first check that it has written on; its messages are there before its worker is."""
    with psycopg2.connect(place.peer_database) as database, database.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS peer_orders")
        cursor.execute(celery_peer.TABLE)
        cursor.execute(
            "INSERT INTO peer_orders SELECT g, (100000000000000000 + g)::text FROM generate_series(1, %s) g",
            [task.orders],
        )
    redis.Redis.from_url(place.peer_broker).flushdb()
    celery_peer.app.conf.update(broker_url=place.peer_broker)
    celery_peer.enqueue(range(1, task.orders + 1))
    with worker(task, place) as process, psycopg2.connect(place.peer_database) as database:
        database.autocommit = True

        def checked() -> int:
            with database.cursor() as cursor:
                cursor.execute("SELECT count(*) FROM peer_orders WHERE checked_at IS NOT NULL")
                row = cursor.fetchone()
            return int(row[0]) if row else 0

        return watch(task, checked, [process.pid, *children_of(process.pid)])


@contextmanager
def worker(task: Task, place: Place) -> Iterator[subprocess.Popen[bytes]]:
    """A worker with the pool that suits the provider: processes where it answers at once, else threads."""
    pool = ["--pool", "threads", "--concurrency", "32"] if task.delay_s else ["--pool", "prefork", "--concurrency", "2"]
    command = [sys.executable, "-m", "celery", "-A", "celery_peer", "worker", "--loglevel", "ERROR", *pool]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    told = {celery_peer.BROKER: place.peer_broker, celery_peer.DATABASE: place.peer_database}
    without = {name: value for name, value in os.environ.items() if name != "DJANGO_SETTINGS_MODULE"}
    environment = {**without, **told, celery_peer.PROVIDER: task.url}
    silent = subprocess.DEVNULL
    with subprocess.Popen(command, cwd=HERE, env=environment, stdout=silent, stderr=silent) as process:
        try:
            yield process
        finally:
            end(process)


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; its thousands of messages for later are nobody's, so it is not waited for long."""
    children = children_of(process.pid)
    process.terminate()
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        for pid in children:
            subprocess.run(["kill", "-9", str(pid)], check=False, capture_output=True)


def watch(task: Task, done: Callable[[], int], pids: list[int]) -> Run:
    """Count between the first check that is seen and the last, or the end of the time."""
    hub.wait_until("the first check", lambda: done() > 0, STARTS_WITHIN_S)
    first, busy, began = done(), cpu_s(pids), time.perf_counter()
    latest, at = first, began
    while latest < task.orders and at - began < task.seconds:
        time.sleep(LOOK_EVERY_S)
        latest, at = done(), time.perf_counter()
    used = cpu_s(pids)
    return Run(latest - first, at - began, used - busy if used is not None and busy is not None else None)


def children_of(pid: int) -> list[int]:
    """The processes that it has started; none where this system does not say."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def cpu_s(pids: list[int]) -> float | None:
    """CPU seconds that these processes have used so far; None where this system does not say."""
    try:
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    except OSError:
        return None
    return sum(int(one[11]) + int(one[12]) for one in fields) / os.sysconf("SC_CLK_TCK")
