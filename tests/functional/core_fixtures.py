"""Fixtures of the tests that drive real orders; a module imports those that it uses."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.db import connection, transaction
from django.test import TransactionTestCase

from apps.common import checkpoints
from apps.simulator.client import SimulatorProcess
from tests.factories import START, Stage

PLAIN_SWITCHES: dict[str, Any] = {
    "unknown_reference": "3|",
    "repeat_policy": "original",
    "number_format": "dot",
    "encoding": "utf-8",
    "bad_password": "document",
    "auth_fails_on": [],
    "down": None,
    "debt": None,
}


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """One simulated panel for all tests of a module; they are told apart by recipient and reference."""
    with SimulatorProcess(tmp_path_factory.mktemp("truth") / "truth.jsonl") as process:
        yield process


@pytest.fixture
def committed(transactional_db: None) -> Iterator[None]:
    """A database where commits are real; emptied afterwards, append-only tables too."""
    yield
    connection.close()
    {"postgresql": empty_postgres, "sqlite": empty_sqlite}[connection.vendor]()
    connection.close()
    skip_the_flush()


def skip_the_flush() -> None:
    """Django's own emptying, which comes next, would take ten times as long to find nothing."""
    patch = pytest.MonkeyPatch()
    patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: patch.undo())


def tables() -> list[str]:
    """Every table of ours and of the libraries, but for what the migrations themselves have filled."""
    filled = {"django_content_type", "auth_permission"}
    return sorted(set(connection.introspection.django_table_names(only_existing=True)) - filled)


def empty_postgres() -> None:
    """Delete every row with triggers and foreign keys switched off; TRUNCATE where the role may not do that."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        if cursor.fetchone()[0]:
            cursor.execute("SET session_replication_role = replica")
            cursor.execute("; ".join(f"DELETE FROM {table}" for table in tables()))  # noqa: S608 - our own names
        else:
            cursor.execute(f"TRUNCATE {', '.join(tables())} CASCADE")


def empty_sqlite() -> None:
    """Delete every row; the triggers of the append-only tables are put away meanwhile."""
    with connection.cursor() as cursor:
        cursor.execute("PRAGMA foreign_keys = OFF")
        with transaction.atomic():
            cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
            triggers = cursor.fetchall()
            for name, _ in triggers:
                cursor.execute(f"DROP TRIGGER {name}")
            for table in tables():
                cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
            for _, sql in triggers:
                cursor.execute(sql)


@pytest.fixture
def stage(committed: None, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A standing clock, dice that always show the middle, a broker that only remembers, and a panel that behaves.

    Budgets are in the database, which the next test finds empty; a Redis would remember this test's times.
    """
    monkeypatch.setattr("django.conf.settings.REDIS_URL", "")
    with time_machine.travel(START, tick=False) as traveller:
        built = Stage(traveller, simulator)
        monkeypatch.setattr("apps.orders.outcomes.random", SimpleNamespace(random=lambda: 0.5))
        monkeypatch.setattr("apps.orders.wake.publish", _remember(built))
        try:
            yield built
        finally:
            checkpoints.set_hook(None)
            simulator.switch(**PLAIN_SWITCHES)


def _remember(stage: Stage) -> Any:
    def publish(task: str, args: list[int], *, countdown: float = 0, expires: float | None = None) -> bool:
        stage.messages.append((task, list(args), countdown))
        return True

    return publish
