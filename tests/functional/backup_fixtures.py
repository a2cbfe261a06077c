"""An empty database beside that of the tests, and PostgreSQL's programs on PATH."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.db import connection

from tests.servers import find_postgres


@pytest.fixture
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """pg_dump and pg_restore of the server's own version."""
    if connection.vendor == "postgresql":
        monkeypatch.setenv("PATH", f"{find_postgres()}{os.pathsep}{os.environ['PATH']}")


@contextlib.contextmanager
def bound_to_empty(folder: Path) -> Iterator[str]:
    """The connection leads to an empty database, whose name is given; afterwards that one is gone."""
    before = str(connection.settings_dict["NAME"])
    name = f"drill_{secrets.token_hex(4)}"
    if connection.vendor == "postgresql":
        run(f'CREATE DATABASE "{name}"')
    bind(name if connection.vendor == "postgresql" else str(folder / f"{name}.sqlite3"))
    try:
        yield Path(connection.settings_dict["NAME"]).name
    finally:
        bind(before)
        if connection.vendor == "postgresql":
            run(f'DROP DATABASE "{name}" WITH (FORCE)')


def bind(name: str) -> None:
    """Lead the connection to another database of the same server, or to another file."""
    connection.close()
    connection.settings_dict["NAME"] = name


def run(statement: str) -> None:
    """One statement outside of a transaction."""
    with connection.cursor() as cursor:
        cursor.execute(statement)
