"""What PostgreSQL is told so that the queue stays quick, by the migration, by hand, and per connection."""

from __future__ import annotations

import re
from pathlib import Path

import psycopg2
import pytest
from django.db import connection

from apps.common import clock
from apps.ops import doctor
from tests.functional.core_fixtures import committed
from tests.functional.past_the_guards import sql

__all__ = ["committed"]

pytestmark = pytest.mark.postgres

FILE = Path(__file__).resolve().parents[2] / "migrations_sql" / "queue_settings.sql"


def told() -> set[str]:
    """The settings of the queue's table."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE oid = 'orders_due_check'::regclass")
        return set(cursor.fetchone()[0] or ())


def statement() -> str:
    (found,) = re.findall(r"^ALTER TABLE .*;$", FILE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return str(found)


def troubles() -> list[tuple[str, str]]:
    return [(finding.found, finding.remedy) for finding in doctor.queue_upkeep(clock.now())]


@pytest.mark.django_db
class TestTheTable:
    def test_has_by_the_migration_what_the_file_sets(self) -> None:
        by_migration = told()
        assert len(by_migration) == 6
        sql(f"ALTER TABLE orders_due_check RESET ({', '.join(name.split('=')[0] for name in by_migration)})")
        assert told() == set()
        for _ in range(2):
            sql(statement())
            assert told() == by_migration == doctor.wanted_of_queue()

    def test_without_its_settings_is_told_by_the_doctor(self) -> None:
        assert troubles() == []
        sql("ALTER TABLE orders_due_check RESET (autovacuum_vacuum_cost_delay)")
        found = "the queue's table lacks autovacuum_vacuum_cost_delay=0"
        assert troubles() == [(found, "run migrations_sql/queue_settings.sql as the owner of the table")]


@pytest.mark.django_db
class TestTheServer:
    @pytest.mark.parametrize(
        ("setting", "found"),
        [
            ("SET LOCAL idle_in_transaction_session_timeout = 0", "a process that hangs in a transaction holds"),
            ("SET LOCAL track_counts = off", "track_counts is off: the queue grows and slows down"),
        ],
    )
    def test_that_lets_the_queue_grow_is_told_by_the_doctor(self, setting: str, found: str) -> None:
        sql(setting)
        assert [trouble for trouble, _ in troubles() if trouble.startswith(found)] != []

    def test_with_a_transaction_that_does_not_end_is_told_by_the_doctor(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(doctor, "LONG_TRANSACTION", doctor.LONG_TRANSACTION * 0)
        other = psycopg2.connect(**connection.get_connection_params() | {"cursor_factory": None})
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_backend_pid()")
                pid = cursor.fetchone()[0]
            assert any(f"pg_terminate_backend({pid})" in remedy for _, remedy in troubles())
        finally:
            other.close()


class TestAConnection:
    def test_asks_the_server_to_end_it_when_it_hangs_in_a_transaction(self, committed: None) -> None:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchone()[0] == "30s"
