"""Delivered events are forgotten after a month; what was not delivered never is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from apps.common import clock
from apps.journal.models import OutboxEvent
from apps.ops.schedule import SCHEDULE
from apps.webhooks import keeping
from apps.webhooks.delivering import redeliver
from apps.webhooks.models import DeliveryTry, WebhookDelivery
from apps.webhooks.publishing import publish
from apps.webhooks.tasks import forget_delivered_events
from tests.functional.core_fixtures import committed
from tests.functional.event_fixtures import Desk, desk, receiver, states
from tests.unit.loopback import OK

__all__ = ["committed", "desk"]

pytestmark = pytest.mark.both_databases

MONTH_S = keeping.KEPT_FOR.total_seconds()


class TestADeliveredEvent:
    def test_is_kept_for_a_month_and_then_forgotten_with_its_tries(self, desk: Desk) -> None:
        with receiver(OK) as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.sold()
            desk.run()
        desk.move(MONTH_S)
        assert keeping.forget_old(clock.now()) == (0, 0)
        desk.move(1)
        assert keeping.forget_old(clock.now(), batch=2) == (3, 3)
        assert states(endpoint) == []
        assert (DeliveryTry.objects.count(), OutboxEvent.objects.count()) == (0, 0)

    def test_that_is_sent_again_is_kept(self, desk: Desk) -> None:
        with receiver(OK) as server:
            endpoint, _ = desk.endpoint(server.url, kinds=["order.completed"])
            desk.sold()
            desk.run()
        desk.move(MONTH_S + 1)
        redeliver(WebhookDelivery.objects.get(), clock.now())
        forget_delivered_events()
        assert states(endpoint) == [("order.completed", "waiting", 0)]
        assert OutboxEvent.objects.get().kind == "order.completed"


class TestAnEventThatWasNotDelivered:
    @pytest.mark.parametrize("state", ["waiting", "dead"])
    def test_is_never_forgotten(self, desk: Desk, state: str) -> None:
        endpoint, _ = desk.endpoint("http://127.0.0.1:9")
        desk.order()
        publish(clock.now())
        ended_at = clock.now() if state == "dead" else None
        WebhookDelivery.objects.update(state=state, ended_at=ended_at)
        desk.move(12 * MONTH_S)
        assert keeping.forget_old(clock.now()) == (0, 0)
        assert states(endpoint) == [("order.pending", state, 0)]

    def test_nor_is_one_that_nobody_has_handed_on(self, desk: Desk) -> None:
        desk.order()
        desk.move(12 * MONTH_S)
        assert keeping.forget_old(clock.now()) == (0, 0)
        assert OutboxEvent.objects.get().published_at is None


class TestTheTime:
    def test_is_in_the_document_and_the_work_in_the_schedule(self) -> None:
        text = (Path(__file__).resolve().parents[2] / "docs" / "API.md").read_text(encoding="utf-8")
        assert re.findall(r"is kept for ([0-9]+) days", text) == [str(keeping.KEPT_FOR.days)]
        assert forget_delivered_events.name in {periodic.task for periodic in SCHEDULE}
