"""Fixtures of the tests that drive real orders; a module imports those that it uses."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from django.db import connection

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
    if connection.vendor == "sqlite":
        empty_sqlite()


def empty_sqlite() -> None:
    """Delete every row. SQLite has no TRUNCATE, so the triggers are put away meanwhile."""
    connection.close()
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = cursor.fetchall()
        cursor.execute("PRAGMA foreign_keys = OFF")
        for name, _ in triggers:
            cursor.execute(f"DROP TRIGGER {name}")
        for table in connection.introspection.django_table_names(only_existing=True):
            cursor.execute(f"DELETE FROM {table}")  # noqa: S608 - our own names
        for _, sql in triggers:
            cursor.execute(sql)
        cursor.execute("PRAGMA foreign_keys = ON")


@pytest.fixture
def stage(committed: None, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Stage]:
    """A standing clock, dice that always show the middle, a broker that only remembers, and a panel that behaves."""
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
