"""`manage.py poll`: orders are sent and finished by this process alone."""

from __future__ import annotations

import signal
from datetime import datetime
from pathlib import Path
from threading import Event

import psycopg2
import pytest
from django.core.management import CommandError
from django.db import connection

from apps.common import checkpoints, clock
from apps.orders.management.commands import poll
from apps.simulator.client import SimulatorProcess
from tests.chaos.real_hub import RealHub, wait_for
from tests.factories import at_checkpoint, make_shop, new_player, order_from, pins_of
from tests.functional.core_fixtures import committed, simulator
from tests.functional.ops_fixtures import run
from tests.servers import PostgresServer

__all__ = ["committed", "simulator"]

pytestmark = pytest.mark.both_databases


class TestPoll:
    def test_finishes_orders_without_broker_and_beat(
        self, committed: None, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("apps.orders.wake.publish", lambda *args, **options: False)
        monkeypatch.setattr(poll, "PAUSE_S", 0.1)
        shop = make_shop(simulator.url, poll_first_s=0.3, poll_floor_s=0.1)
        player = new_player()
        simulator.set_fate(recipient=player, complete_after_s=0)
        order = order_from(shop, player)
        began = clock.now()
        assert run("poll", "--seconds", "1.5") == ""
        assert 1.5 <= (clock.now() - began).total_seconds() < 5
        order.refresh_from_db()
        assert (order.status, len(pins_of(order))) == ("completed", 1)

    def test_goes_on_when_the_database_was_away(
        self, committed: None, simulator: SimulatorProcess, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("apps.orders.wake.publish", lambda *args, **options: False)
        monkeypatch.setattr(poll, "PAUSE_S", 0.1)
        shop = make_shop(simulator.url, poll_first_s=0.3, poll_floor_s=0.1)
        player = new_player()
        simulator.set_fate(recipient=player, complete_after_s=0)
        order = order_from(shop, player)
        breaks = [connection.connection.close]

        def lose_the_database() -> None:
            while breaks:
                breaks.pop()()

        at_checkpoint("ask.after_claim", lose_the_database)
        assert run("poll", "--seconds", "4") == ""
        checkpoints.set_hook(None)
        order.refresh_from_db()
        assert breaks == []
        assert (order.status, len(pins_of(order))) == ("completed", 1)

    def test_takes_no_time_that_is_none(self) -> None:
        with pytest.raises(CommandError, match="above zero"):
            run("poll", "--seconds", "0")

    def test_ends_quietly_with_ctrl_c(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupted(stop_after_s: float | None, pause_s: float, stop: Event) -> None:
            assert (stop_after_s, pause_s) == (None, 1.0)
            raise KeyboardInterrupt

        monkeypatch.setattr("apps.orders.monitoring.poll_forever", interrupted)
        assert run("poll") == "Stopped: what is due stays due.\n"

    def test_ends_after_the_turn_of_this_moment_when_it_is_told_to(
        self, committed: None, simulator: SimulatorProcess
    ) -> None:
        shop = make_shop(simulator.url, poll_first_s=0.1, poll_floor_s=0.1)
        player = new_player()
        simulator.set_fate(recipient=player, complete_after_s=0)
        order = order_from(shop, player)
        at_checkpoint("ask.after_answers", lambda: signal.raise_signal(signal.SIGTERM))
        try:
            assert run("poll", "--seconds", "50") == "Stopped: what is due stays due.\n"
        finally:
            checkpoints.set_hook(None)
        order.refresh_from_db()
        assert order.status == "completed"


@pytest.mark.slow
class TestARealPoller:
    """The command as its own process, on a PostgreSQL of its own that goes away and comes back."""

    def test_outlives_its_database_and_ends_when_it_is_told_to(
        self, tmp_path: Path, simulator: SimulatorProcess
    ) -> None:
        with PostgresServer(durable=True) as server:
            hub = RealHub(tmp_path, server.create_database("hub"), "", simulator.url)
            hub.start("poll", "manage", "poll")
            try:
                wait_for(lambda: beat_of(hub) is not None, "no sweep was ever heard of")
                server.kill()
                wait_for(lambda: "poll_database_lost" in told(hub), "the loss is not told")
                server.start()
                wait_for(lambda: "poll_database_back" in told(hub), "the return is not told")
                seen = beat_of(hub)
                wait_for(lambda: beat_of(hub) != seen, "it does not sweep any more")
                assert told(hub).count("poll_database_lost") == 1
                hub.processes["poll"].send_signal(signal.SIGTERM)
                assert hub.processes["poll"].wait(30) == 0
                assert "Stopped: what is due stays due." in told(hub)
            finally:
                hub.stop()


def told(hub: RealHub) -> str:
    return (hub.folder / "poll.log").read_text()


def beat_of(hub: RealHub) -> datetime | None:
    """When the sweep was last heard of."""
    connection = psycopg2.connect(hub.database_url, connect_timeout=5)
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT beat_at FROM journal_heartbeat WHERE name = 'check_pending_orders_batch'")
            row = cursor.fetchone()
            return None if row is None else row[0]
    finally:
        connection.close()
