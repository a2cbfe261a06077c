"""Sending events: an endpoint is served by one sender at a time, each of its deliveries claimed, sent and written down.

Nothing is sent inside a transaction. Whoever dies over a delivery leaves it to others when its lease is over, so the
receiver may get it twice, and tells repetitions by their `webhook-id`.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.db import connection, transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet

from apps.common.guards import check_no_transaction
from apps.common.logs import get_logger, hide_in_text
from apps.common.transport import send_once
from apps.common.wire import HttpCall
from apps.webhooks import endpoints, kicks, ladder, payloads, signing
from apps.webhooks.ladder import Heard
from apps.webhooks.models import DeliveryTry, WebhookDelivery, WebhookEndpoint, due_deliveries
from apps.webhooks.publishing import publish

log = get_logger(__name__)

Clock = Callable[[], datetime]
State, Outcome = WebhookDelivery.State, DeliveryTry.Outcome

TIMEOUT_S = 10.0
"""A receiver gets so long for everything, from the look-up of its name to the last byte of its answer."""

ANSWER_BYTES = 16 * 1024
LEASE = timedelta(seconds=60)
"""Longer than one try with everything around it."""

SENDERS = 8
"""Endpoints that one run serves at the same time: a slow one holds up nobody but itself."""

TURN = 20
"""Deliveries of one endpoint in a row, then it is the turn of another."""

RUNS_FOR_S = 45.0
EXCERPT = 300


@dataclass(frozen=True, slots=True)
class Ran:
    """What one run did: events handed on, and tries."""

    published: int
    tries: int


def run(clock: Clock, *, ca_file: str | None = None, senders: int = SENDERS) -> Ran:
    """Hand on what lies in the outbox and send what is due, until nothing is or 45 seconds are over.

    Safe to run in many processes at once. `ca_file` replaces the usual certificate authorities.
    """
    check_no_transaction()
    until = time.monotonic() + RUNS_FOR_S
    published = publish_all(clock, until)
    crew = Crew(clock, until, ca_file)
    crew.work(min(senders, count_waiting_endpoints(clock())))
    return Ran(published, crew.tries)


def publish_all(clock: Clock, until: float) -> int:
    """Hand on batch after batch."""
    published = 0
    while time.monotonic() < until and (count := publish(clock())):
        published += count
    return published


class Crew:
    """The senders of one run: threads with connections of their own, each serving one endpoint after another."""

    def __init__(self, clock: Clock, until: float, ca_file: str | None) -> None:
        self._clock, self._until, self._ca_file = clock, until, ca_file
        self._lock = threading.Lock()
        self.tries = 0

    def work(self, senders: int) -> None:
        """Serve until nothing is due; with one sender in this very thread."""
        threads = [threading.Thread(target=self._apart, name=f"events-{n}") for n in range(1, senders)]
        for thread in threads:
            thread.start()
        try:
            self._serve_all()
        finally:
            for thread in threads:
                thread.join()

    def _apart(self) -> None:
        try:
            self._serve_all()
        except Exception as error:
            log.exception("events_sender_failed", error=type(error).__name__)
        finally:
            connection.close()

    def _serve_all(self) -> None:
        while time.monotonic() < self._until:
            endpoint = claim_endpoint(self._clock())
            if endpoint is None:
                return
            tries = serve(endpoint, self._clock, ca_file=self._ca_file)
            with self._lock:
                self.tries += tries


# --- one endpoint


def waiting_endpoints(now: datetime) -> Q:
    """Endpoints that nobody serves, that do not rest, and for which something is due."""
    due = due_deliveries(now).filter(endpoint=OuterRef("pk"))
    free = Q(busy_until=None) | Q(busy_until__lte=now)
    return free & Q(Exists(due))


def count_waiting_endpoints(now: datetime) -> int:
    """How many endpoints wait to be served, the first few of them."""
    return WebhookEndpoint.objects.filter(waiting_endpoints(now))[:SENDERS].count()


def claim_endpoint(now: datetime) -> WebhookEndpoint | None:
    """The endpoint whose last turn is the longest ago, for this sender alone; None when none waits."""
    waiting = WebhookEndpoint.objects.filter(waiting_endpoints(now)).select_related("customer")
    for endpoint in waiting.order_by(F("served_at").asc(nulls_first=True), "pk")[: 2 * SENDERS]:
        same = WebhookEndpoint.objects.filter(pk=endpoint.pk, busy_until=endpoint.busy_until)
        if same.update(busy_until=now + LEASE, served_at=now) == 1:
            endpoint.busy_until = now + LEASE
            return endpoint
    return None


def serve(endpoint: WebhookEndpoint, clock: Clock, *, ca_file: str | None = None) -> int:
    """Send what is due there, oldest first, up to a turn or the first failure; how many tries that were."""
    for tries in range(TURN):
        now = clock()
        delivery = claim_delivery(endpoint, now)
        if delivery is None:
            give_back(endpoint, None)
            return tries
        heard = send(delivery, now, ca_file)
        record(delivery, heard, clock())
        if heard.outcome is not Outcome.TAKEN:
            return tries + 1
    give_back(endpoint, None)
    return TURN


def give_back(endpoint: WebhookEndpoint, until: datetime | None) -> None:
    """Let others serve it, now or when it has rested."""
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(busy_until=until)


# --- one delivery


def claim_delivery(endpoint: WebhookEndpoint, now: datetime) -> WebhookDelivery | None:
    """The oldest delivery that is due there, counted as tried and leased; also the endpoint is leased anew."""
    due = due_deliveries(now).filter(endpoint=endpoint).select_related("event", "endpoint")
    for delivery in due.order_by("pk")[:TURN]:
        same = WebhookDelivery.objects.filter(pk=delivery.pk, state=State.WAITING, next_at=delivery.next_at)
        if same.update(next_at=now + LEASE, tries=F("tries") + 1) == 1:
            delivery.next_at, delivery.tries = now + LEASE, delivery.tries + 1
            give_back(endpoint, now + LEASE)
            return delivery
    return None


def send(delivery: WebhookDelivery, now: datetime, ca_file: str | None) -> Heard:
    """One try, once, outside of any transaction. What a receiver of codes says is dropped: it may repeat them."""
    body = payloads.compose(delivery, now)
    check_no_transaction()
    call = HttpCall(
        "POST",
        delivery.endpoint.url,
        json=body,
        headers=signing.headers_of(delivery.endpoint, delivery.message_id, body, now),
        timeout_s=TIMEOUT_S,
        limit_bytes=ANSWER_BYTES,
    )
    answer = send_once(call, policy=endpoints.policy(), ca_file=ca_file)
    heard = ladder.judge(answer, now)
    return replace(heard, body=b"") if delivery.endpoint.with_codes else heard


def record(delivery: WebhookDelivery, heard: Heard, now: datetime) -> None:
    """Write down a try and what follows from it, for the delivery and for its endpoint."""
    with transaction.atomic():
        DeliveryTry.objects.create(
            delivery=delivery,
            at=now,
            outcome=heard.outcome,
            http_status=heard.http_status,
            detail=heard.detail[:120],
            latency_ms=heard.latency_ms,
            excerpt=excerpt_of(heard.body),
        )
        if heard.outcome is Outcome.TAKEN:
            _taken(delivery, now)
        else:
            _not_taken(delivery, heard, now)
    log.info(
        "event_tried",
        endpoint=delivery.endpoint_id,
        message=delivery.message_id,
        outcome=str(heard.outcome),
        status=heard.http_status,
        tries=delivery.tries,
    )


def excerpt_of(body: bytes) -> str:
    """The beginning of an answer as people may see it: printable, and without what looks like a secret."""
    text = body[: 4 * EXCERPT].decode("utf-8", "replace")
    return hide_in_text("".join(letter if letter.isprintable() else " " for letter in text))[:EXCERPT]


def _taken(delivery: WebhookDelivery, now: datetime) -> None:
    _still(delivery).update(state=State.DELIVERED, ended_at=now)
    failing = WebhookEndpoint.objects.filter(pk=delivery.endpoint_id, failures__gt=0)
    failing.update(failures=0, failing_since=None)


def _not_taken(delivery: WebhookDelivery, heard: Heard, now: datetime) -> None:
    """The delivery goes up the ladder, or has reached its end; the endpoint rests, or is paused."""
    gap_s = ladder.gap_s(delivery.tries, heard.retry_after_s, random.random())
    if gap_s is None:
        _still(delivery).update(state=State.DEAD, ended_at=now)
        log.warning("event_given_up", endpoint=delivery.endpoint_id, message=delivery.message_id)
    else:
        _still(delivery).update(next_at=now + timedelta(seconds=gap_s))
    endpoint = WebhookEndpoint.objects.select_for_update().get(pk=delivery.endpoint_id)
    endpoint.failures += 1
    endpoint.failing_since = endpoint.failing_since or now
    endpoint.busy_until = now + timedelta(seconds=ladder.rest_s(endpoint.failures, heard.retry_after_s))
    endpoint.save(update_fields=["failures", "failing_since", "busy_until"])
    if heard.outcome is Outcome.GONE:
        endpoints.pause(endpoint, WebhookEndpoint.Pause.GONE, now)
    elif now - endpoint.failing_since >= ladder.PAUSES_AFTER:
        endpoints.pause(endpoint, WebhookEndpoint.Pause.FAILING, now)


def _still(delivery: WebhookDelivery) -> QuerySet[WebhookDelivery]:
    """The delivery, unless it was sent anew or given up while this try was under way."""
    return WebhookDelivery.objects.filter(pk=delivery.pk, state=State.WAITING, next_at=delivery.next_at)


def redeliver(delivery: WebhookDelivery, now: datetime) -> None:
    """Send it again, from the beginning of the ladder, whatever became of it; its log stays."""
    again = WebhookDelivery.objects.filter(pk=delivery.pk)
    again.update(state=State.WAITING, tries=0, next_at=now, ended_at=None)
    delivery.refresh_from_db()
    kicks.kick_on_commit()
    log.info("event_redelivered", endpoint=delivery.endpoint_id, message=delivery.message_id)
