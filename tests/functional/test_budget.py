"""Budgets that many share: threads and processes, in Redis and in the database, and when Redis is gone."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import redis
from django.db import connection
from pytest_django import Settings

from apps.common.budget import SECOND_US, Draw, Limits, Spent, Store, Use, as_us, withdraw
from apps.common.budget_redis import RedisStore
from apps.providers import budget
from apps.providers.budget import DatabaseStore
from apps.providers.models import Integration
from apps.providers.traffic_models import RateBudget
from tests.factories import NOWHERE, START, make_integration, make_tenant
from tests.functional.core_fixtures import committed
from tests.servers import ValkeyServer
from tests.unit.test_budget import check_windows

__all__ = ["committed"]

ROOT = Path(__file__).resolve().parents[2]
NOW = as_us(START)
LIMITS = Limits.of(20, 5)
TICKS = 40
THREADS = 8


@pytest.fixture
def valkey(valkey_url: str) -> Iterator[str]:
    """An empty Redis."""
    with redis.Redis.from_url(valkey_url) as client:
        client.flushdb()
        yield valkey_url
        client.flushdb()


@pytest.fixture
def account(committed: None, settings: Settings) -> Integration:
    """An account with 20 requests a second, 5 at once; its budget is in the database unless the test says otherwise."""
    settings.REDIS_URL = ""
    return make_integration(make_tenant(), NOWHERE, rate_per_s=20, burst=5)


def crowd(store: Store, account: int) -> list[int]:
    """Eight threads that want more than there is at every tick, in step; returns the time of each request granted."""
    step = threading.Barrier(THREADS)
    granted: list[int] = []

    def want() -> None:
        try:
            for tick in range(TICKS):
                step.wait(60)
                at = NOW + tick * LIMITS.gap_us
                granted.extend([at] * store.draw(account, LIMITS, Draw(Use.PLACE, 3, at)).count)
        finally:
            connection.close()

    threads = [threading.Thread(target=want) for _ in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert not any(thread.is_alive() for thread in threads)
    return granted


def check_crowd(granted: list[int]) -> None:
    """All of the budget is used, and nothing beyond it."""
    check_windows(granted, LIMITS.gap_us, LIMITS.burst)
    assert len(granted) == LIMITS.burst + TICKS - 1


class TestThreads:
    @pytest.mark.both_databases
    def test_share_one_budget_in_the_database(self, account: Integration) -> None:
        check_crowd(crowd(DatabaseStore(), account.pk))

    def test_share_one_budget_in_redis(self, valkey: str) -> None:
        check_crowd(crowd(RedisStore(valkey), 1))


WORKER = """
import sys
import django
django.setup()
from apps.common.budget import Draw, Limits, Use
from apps.common.budget_redis import RedisStore
from apps.providers.budget import DatabaseStore
url, account = sys.argv[1], int(sys.argv[2])
store = RedisStore(url) if url else DatabaseStore()
print("ready", flush=True)
for line in sys.stdin:
    print(store.draw(account, Limits.of(20, 5), Draw(Use.PLACE, 3, int(line))).count, flush=True)
"""


def address_of_the_database() -> str:
    """The database of this test, as a setting takes it."""
    known = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{known['NAME']}"
    return f"postgresql://{known['USER']}:{known['PASSWORD']}@{known['HOST']}:{known['PORT']}/{known['NAME']}"


class Worker:
    """Another process that draws from the budget when it is told to."""

    def __init__(self, url: str, account: int) -> None:
        env = {**os.environ, "DATABASE_URL": address_of_the_database(), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", WORKER, url, str(account)]
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=ROOT, env=env)

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate(timeout=60)


def two_processes(url: str, account: int) -> list[int]:
    """Two processes that want more than there is at every tick; returns the time of each request granted."""
    workers = [Worker(url, account) for _ in range(2)]
    assert [worker.answer() for worker in workers] == ["ready", "ready"]
    granted: list[int] = []
    for tick in range(TICKS):
        at = NOW + tick * LIMITS.gap_us
        for worker in workers:
            worker.tell(str(at))
        granted += [at] * sum(int(worker.answer()) for worker in workers)
    for worker in workers:
        worker.end()
    return granted


class TestProcesses:
    @pytest.mark.both_databases
    def test_share_one_budget_in_the_database(self, account: Integration) -> None:
        check_crowd(two_processes("", account.pk))

    def test_share_one_budget_in_redis(self, valkey: str) -> None:
        check_crowd(two_processes(valkey, 1))


def test_redis_decides_as_the_pure_function_does(valkey: str) -> None:
    dice = random.Random(7)
    for account in range(1, 31):
        store, spent = RedisStore(valkey), Spent()
        limits = Limits.of(dice.choice([0.05, 0.5, 3, 5, 333]), dice.randint(1, 12))
        at = NOW
        for _ in range(40):
            at += dice.choice([-7 * SECOND_US, 0, 1, 333_333, 20 * SECOND_US, -3600 * SECOND_US])
            emptied_us = dice.choice([0, 0, at + 5 * SECOND_US, at - 1])
            draw = Draw(dice.choice(list(Use)), dice.randint(0, 9), at, emptied_us, dice.random() < 0.2)
            after, drawn = withdraw(spent, limits, draw)
            assert store.draw(account, limits, draw) == drawn
            spent = after if drawn.count or draw.is_forced else spent


@pytest.mark.both_databases
class TestAnAccount:
    def test_gives_what_it_has_and_says_when_there_is_more(self, account: Integration) -> None:
        grant = budget.take(account, Use.ASK, 9, START)
        assert (grant.count, grant.retry_at) == (4, START + timedelta(milliseconds=62.5))
        assert budget.outlook(account, START) is None
        assert budget.take(account, Use.PLACE, 9, START).count == 1
        assert budget.outlook(account, START) == START + timedelta(milliseconds=50)
        assert budget.outlook(account, START, Use.ASK) == START + timedelta(milliseconds=62.5)

    def test_that_must_be_left_alone_gives_nothing_before_and_one_by_one_after(self, account: Integration) -> None:
        until = START + timedelta(seconds=30)
        budget.hold(account, until, START)
        assert budget.outlook(account, START) == until
        counts = [budget.take(account, use, 9, until).count for use in (Use.PLACE, Use.ASK)]
        assert counts == [1, 0]
        assert budget.take(account, Use.PLACE, 9, until + timedelta(seconds=1)).count == 5

    def test_is_left_alone_for_ten_minutes_at_most(self, account: Integration) -> None:
        budget.hold(account, START + timedelta(days=3), START)
        assert budget.outlook(account, START) == START + timedelta(minutes=10)

    def test_pays_back_what_was_asked_without_leave(self, account: Integration) -> None:
        budget.book(account, Use.ASK, 10, START)
        assert budget.outlook(account, START) == START + timedelta(milliseconds=300)

    def test_has_a_budget_of_its_own(self, account: Integration) -> None:
        other = make_integration(account.tenant, NOWHERE, rate_per_s=20, burst=5)
        assert [budget.take(one, Use.PLACE, 9, START).count for one in (account, other)] == [5, 5]


class TestRedisThatIsGone:
    def take(self, account: Integration, at: datetime) -> int:
        return budget.take(account, Use.PLACE, 9, at).count

    def test_is_replaced_by_the_database_at_once_within_the_same_budget(
        self, account: Integration, settings: Settings
    ) -> None:
        with ValkeyServer() as server:
            settings.REDIS_URL = server.url
            assert self.take(account, START) == 5
            server.kill()
            gap = timedelta(milliseconds=50)
            assert [self.take(account, START + n * gap) for n in range(4)] == [0, 1, 1, 1]

    def test_that_swallows_everything_costs_one_wait(self, account: Integration, settings: Settings) -> None:
        taken: list[socket.socket] = []
        with socket.create_server(("127.0.0.1", 0)) as server:

            def swallow() -> None:
                with suppress(OSError):
                    while True:
                        taken.append(server.accept()[0])

            thread = threading.Thread(target=swallow, daemon=True)
            thread.start()
            settings.REDIS_URL = f"redis://127.0.0.1:{server.getsockname()[1]}/0"
            granted = [self.take(account, START + timedelta(milliseconds=50 * n)) for n in range(20)]
            server.shutdown(socket.SHUT_RDWR)
            thread.join(5)
        assert granted == [0] + [1] * 19
        assert len(taken) == 1
        for line in taken:
            line.close()

    def test_that_holds_another_kind_of_value_is_no_obstacle(self, account: Integration, settings: Settings) -> None:
        with ValkeyServer() as server:
            settings.REDIS_URL = server.url
            with redis.Redis.from_url(server.url) as client:
                client.set(f"hub:budget:{account.pk}", "not a budget")
            assert [self.take(account, START + timedelta(milliseconds=50 * n)) for n in range(3)] == [0, 1, 1]

    def test_that_answers_keeps_the_budget_alone(self, account: Integration, settings: Settings) -> None:
        with ValkeyServer() as server:
            settings.REDIS_URL = server.url
            assert [self.take(account, START), self.take(account, START)] == [5, 0]
            with redis.Redis.from_url(server.url) as client:
                assert client.exists(f"hub:budget:{account.pk}")
        assert not RateBudget.objects.exists()
