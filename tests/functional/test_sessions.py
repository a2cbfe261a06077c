"""The sessions at PostgreSQL: what is gone is missed soon, and who stops inside a transaction gives its locks back."""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg2
import pytest
from django.db import OperationalError, connection, transaction
from django.test import Client

from apps.accounts.models import Tenant
from apps.common import sessions
from apps.orders import monitoring
from apps.orders.models import DueCheck
from apps.proof.proxy import FaultProxy
from tests.factories import Stage, make_shop
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.postgres

ROOT = Path(__file__).resolve().parents[2]


@contextlib.contextmanager
def as_guest(most: int) -> Iterator[Callable[[int], None]]:
    """The hub signs in as somebody who may have this many connections at once; gives what sets another number.

    A superuser, as the tests mostly are, may have any number.
    """
    given = connection.settings_dict
    parts = {"host": given["HOST"], "port": given["PORT"], "dbname": given["NAME"]}
    connection.close()
    with (
        contextlib.closing(psycopg2.connect(**parts, user=given["USER"], password=given["PASSWORD"])) as admin,
        admin.cursor() as cursor,
        pytest.MonkeyPatch.context() as patch,
    ):
        admin.autocommit = True
        cursor.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
        cursor.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO guest")
        cursor.execute("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO guest")

        def limit(number: int) -> None:
            cursor.execute("ALTER ROLE guest CONNECTION LIMIT %s", [number])

        limit(most)
        patch.setitem(given, "USER", "guest")
        patch.setitem(given, "PASSWORD", "guest")
        try:
            yield limit
        finally:
            connection.close()
            cursor.execute("DROP OWNED BY guest")
            cursor.execute("DROP ROLE guest")


class TestAServerWithoutAFreeConnection:
    def test_holds_orders_up_and_lets_nothing_leave(self, stage: Stage) -> None:
        """The sweep itself has the only connection, so that the order's own thread gets none."""
        order = stage.order(make_shop(stage.url))
        with as_guest(1) as limit:
            with pytest.raises(OperationalError, match="too many connections"):
                monitoring.sweep()
            asked = stage.truth("asked")
            order.refresh_from_db()
            assert (asked, order.status, DueCheck.objects.get().kind) == ([], "pending", "dispatch")
            limit(20)
            stage.run_until_quiet()
        order.refresh_from_db()
        assert (order.status, len(stage.purchases(order))) == ("completed", 1)

    def test_is_told_by_the_page_that_says_whether_orders_can_be_taken(self, committed: None) -> None:
        with as_guest(0):
            answer = Client().get("/readyz")
        assert (answer.status_code, "the database does not answer" in answer.json()["problems"][0]) == (503, True)

    def test_may_be_a_pooler_that_lends_one_for_a_transaction(self) -> None:
        """What lasts longer than a transaction would be somebody else's: locks, listeners, tables, cursors."""
        lasting = re.compile(r"pg_(try_)?advisory_lock|\bLISTEN \w|TEMP(ORARY)? TABLE|\bPREPARE \w|DECLARE \w+ CURSOR")
        sources = [path for path in (ROOT / "apps").rglob("*.py") if "migrations" not in path.parts]
        assert [path.name for path in sources if lasting.search(path.read_text("utf-8"))] == []
        assert connection.settings_dict["DISABLE_SERVER_SIDE_CURSORS"] is True


class TestASession:
    def test_misses_a_server_that_is_gone(self, committed: None) -> None:
        connection.ensure_connection()
        told = connection.connection.get_dsn_parameters()
        wanted = {
            "connect_timeout": "10",
            "keepalives_idle": "20",
            "keepalives_interval": "10",
            "keepalives_count": "3",
        }
        assert {name: told.get(name) for name in wanted} == wanted
        assert told["tcp_user_timeout"] == "60000"

    def test_that_cannot_be_opened_is_given_up(self, committed: None) -> None:
        """A server that takes the connection and says nothing, as one behind a full pool does."""
        given = connection.settings_dict
        there = FaultProxy(given["HOST"], int(given["PORT"]), speaks_http=False)
        with there as line, pytest.MonkeyPatch.context() as patch:
            line.clog()
            connection.close()
            patch.setitem(given, "PORT", line.port)
            patch.setitem(given["OPTIONS"], "connect_timeout", 2)  # the least that libpq takes
            with pytest.raises(OperationalError, match="timeout expired"):
                connection.ensure_connection()

    def test_that_lies_still_inside_a_transaction_gives_its_locks_back(
        self, committed: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tenant = Tenant.objects.create(name="Locked", slug="locked")
        monkeypatch.setattr(sessions, "IDLE_IN_TRANSACTION", "200ms")
        has_locked, may_end = threading.Event(), threading.Event()
        finished: list[str] = []

        def stop_inside() -> None:
            with contextlib.suppress(OperationalError), transaction.atomic():
                Tenant.objects.select_for_update().get(pk=tenant.pk)
                has_locked.set()
                may_end.wait(20)
                Tenant.objects.filter(pk=tenant.pk).update(name="Too late")
                finished.append("although it was still for longer than it may")
            connection.close()

        frozen = threading.Thread(target=stop_inside)
        frozen.start()
        has_locked.wait(60)
        Tenant.objects.filter(pk=tenant.pk).update(name="Free")  # waits for the lock
        may_end.set()
        frozen.join(60)
        assert finished == []
        assert Tenant.objects.get(pk=tenant.pk).name == "Free"
