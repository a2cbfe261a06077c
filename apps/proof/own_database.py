"""A database of the proof's own, and child processes that play on it: the configured database is never touched."""

from __future__ import annotations

import base64
import contextlib
import os
import secrets
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from django.core.management.base import CommandError

ROOT = Path(__file__).resolve().parents[2]
NEEDED = (
    "the proof starts a PostgreSQL of its own: run `pip install -r requirements-dev.txt`, or choose --database sqlite"
)

WORKER = "HUB_PROVE_WORKER"
"""Set for a child that plays on a database made for it."""


@contextlib.contextmanager
def databases(kind: str, count: int) -> Iterator[list[dict[str, str]]]:
    """The environments of `count` children, each with an empty, migrated database; everything ends with the block."""
    with tempfile.TemporaryDirectory(prefix="order-hub-prove-") as name:
        folder = Path(name)
        with {"postgresql": _postgres, "sqlite": _sqlite}[kind](folder, count) as urls:
            yield [environment(folder, url) for url in urls]


def environment(folder: Path, url: str) -> dict[str, str]:
    """Every setting of a child: random keys, its own data folder, no broker; the project's `.env` does not count."""
    data = folder / f"data-{secrets.token_hex(4)}"
    data.mkdir()
    return {
        **os.environ,
        "DATABASE_URL": url,
        "HUB_DATA_DIR": str(data),
        "REDIS_URL": "",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_KEYS": f"k1:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}",
        "CODE_INDEX_KEY": secrets.token_hex(32),
        "API_KEY_PEPPER": secrets.token_hex(32),
        "DEBUG": "false",
        "PRODUCTION": "false",
        "LOG_LEVEL": "ERROR",
        "PYTHONHASHSEED": "0",
        WORKER: "1",
    }


@contextlib.contextmanager
def _postgres(folder: Path, count: int) -> Iterator[list[str]]:
    try:
        import psycopg2  # noqa: PLC0415 - a server of the tests, which an installation need not have

        from tests.servers import MissingServer, PostgresServer  # noqa: PLC0415
    except ImportError as error:
        raise CommandError(f"{error.name} is missing: {NEEDED}") from error
    try:
        server = PostgresServer()
    except MissingServer as error:
        raise CommandError(NEEDED) from error
    with server:
        _execute(psycopg2, server.url, "ALTER SYSTEM SET autovacuum = off", "SELECT pg_reload_conf()")
        first = server.create_database("prove_1")
        migrate(environment(folder, first))
        _execute(psycopg2, first, "VACUUM")
        urls = [first]
        for number in range(2, count + 1):
            _execute(psycopg2, server.url, f"CREATE DATABASE prove_{number} TEMPLATE prove_1")
            urls.append(first.removesuffix("prove_1") + f"prove_{number}")
        yield urls


def _execute(psycopg2: object, url: str, *statements: str) -> None:
    connection = psycopg2.connect(url)  # type: ignore[attr-defined]
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    finally:
        connection.close()


@contextlib.contextmanager
def _sqlite(folder: Path, count: int) -> Iterator[list[str]]:
    urls = [f"sqlite:///{folder / f'prove_{number}.sqlite3'}" for number in range(1, count + 1)]
    for url in urls:
        migrate(environment(folder, url))
    yield urls


def migrate(variables: Mapping[str, str]) -> None:
    """Make the tables. Raises `CommandError`."""
    words, env = command("migrate", "-v0"), dict(variables)
    done = subprocess.run(words, env=env, cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode:
        raise CommandError(f"the proof's own database cannot be migrated:\n{done.stderr[-2000:]}")


def command(*words: str) -> list[str]:
    """A command of this project in another process."""
    return [sys.executable, str(ROOT / "manage.py"), *words]


def start(variables: Mapping[str, str], words: Sequence[str]) -> subprocess.Popen[str]:
    """A child that plays `words` of `prove`; its answers come line by line from its standard output."""
    return subprocess.Popen(command("prove", *words), env=dict(variables), cwd=ROOT, stdout=subprocess.PIPE, text=True)  # noqa: S603
