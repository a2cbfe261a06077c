"""`manage.py poll`: orders are sent and finished by this process alone."""

from __future__ import annotations

import pytest
from django.core.management import CommandError
from django.db import connection

from apps.common import checkpoints, clock
from apps.orders.management.commands import poll
from apps.simulator.client import SimulatorProcess
from tests.factories import at_checkpoint, make_shop, new_player, order_from, pins_of
from tests.functional.core_fixtures import committed, simulator
from tests.functional.ops_fixtures import run

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
        def interrupted(stop_after_s: float | None, pause_s: float) -> None:
            assert (stop_after_s, pause_s) == (None, 1.0)
            raise KeyboardInterrupt

        monkeypatch.setattr("apps.orders.monitoring.poll_forever", interrupted)
        assert run("poll") == "Stopped: what is due stays due.\n"
