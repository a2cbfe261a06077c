"""The sessions at PostgreSQL: what is gone is missed soon, and who stops inside a transaction gives its locks back."""

from __future__ import annotations

import contextlib
import threading

import pytest
from django.db import OperationalError, connection, transaction

from apps.accounts.models import Tenant
from apps.common import sessions
from apps.proof.proxy import FaultProxy
from tests.functional.core_fixtures import committed

__all__ = ["committed"]

pytestmark = pytest.mark.postgres


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
