"""A shop whose customer has endpoints, with receivers that really listen; for the tests of events."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from types import SimpleNamespace
from typing import Any

import pytest
import time_machine
from pytest_django import Settings
from time_machine import Traveller

from apps.accounts.models import Customer
from apps.common import checkpoints, clock, kept
from apps.orders.models import Order
from apps.orders.services import try_auto_dispatch
from apps.webhooks import delivering, endpoints
from apps.webhooks.delivering import Ran
from apps.webhooks.models import DeliveryTry, WebhookDelivery, WebhookEndpoint
from tests.factories import START, Shop, make_stock_shop, order_from, put_codes
from tests.unit.loopback import OK, Peer, Server, answering

PIN = "CANARY-7F3Q-PIN"
"""The code that every order of these tests delivers; it must be seen by nobody who did not ask for it."""


@dataclass(frozen=True, slots=True)
class Got:
    """One request as its receiver saw it."""

    headers: dict[str, str]
    body: bytes

    def told(self) -> dict[str, Any]:
        """Its body."""
        told: dict[str, Any] = json.loads(self.body)
        return told


def got(server: Server) -> list[Got]:
    """Everything that a receiver was sent, in its order."""
    return [_read(bytes(peer.received)) for peer in server.peers if peer.received]


def _read(request: bytes) -> Got:
    head, _, body = request.partition(b"\r\n\r\n")
    pairs = (line.split(": ", 1) for line in head.decode().split("\r\n")[1:])
    return Got({name.lower(): value for name, value in pairs}, body)


def receiver(*replies: bytes, play: Callable[[Peer], None] | None = None, tls: ssl.SSLContext | None = None) -> Server:
    """A receiver that gives these answers in turn, the last one again and again."""
    return Server(play or answering(*(replies or (OK,))), tls=tls)


@dataclass
class Desk:
    """The hub with its clock, one shop that sells from stock, and what was published to the broker."""

    traveller: Traveller
    shop: Shop
    messages: list[tuple[str, float]] = field(default_factory=list)

    def move(self, seconds: float) -> datetime:
        """Let time pass."""
        self.traveller.shift(seconds)
        return clock.now()

    def endpoint(self, url: str, customer: Customer | None = None, **wish: Any) -> tuple[WebhookEndpoint, str]:
        """A new endpoint of the shop's customer, and its secret."""
        return endpoints.create(customer or self.shop.customer, endpoints.Wish(url, **wish), clock.now())

    def order(self, customer: Customer | None = None) -> Order:
        """An order for one more code, which nobody has taken from the shelf yet."""
        put_codes(self.shop.integration, f"{PIN}-{Order.objects.count()}")
        return order_from(self.shop, customer=customer)

    def sold(self) -> Order:
        """A completed order with one code."""
        order = self.order()
        try_auto_dispatch(order.pk)
        order.refresh_from_db()
        assert order.status == "completed"
        return order

    def run(self, **options: Any) -> Ran:
        """One run, with one sender, which leaves nothing to chance."""
        return delivering.run(clock.now, **{"senders": 1, **options})


def states(endpoint: WebhookEndpoint) -> list[tuple[str, str, int]]:
    """Kind, state and tries of its deliveries, oldest first."""
    rows = WebhookDelivery.objects.filter(endpoint=endpoint).order_by("pk")
    return list(rows.values_list("event__kind", "state", "tries"))


def outcomes(endpoint: WebhookEndpoint) -> list[tuple[str, int | None]]:
    """What came of every try, oldest first."""
    rows = DeliveryTry.objects.filter(delivery__endpoint=endpoint).order_by("pk")
    return list(rows.values_list("outcome", "http_status"))


@pytest.fixture
def desk(committed: None, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    """A standing clock, dice in the middle, receivers on loopback allowed, and a broker that only remembers."""
    settings.EVENTS_TO_LOCAL = True
    kept.forget_all()
    monkeypatch.setattr("apps.webhooks.kicks._quiet_until", 0.0)
    monkeypatch.setattr("apps.webhooks.delivering.random", SimpleNamespace(random=lambda: 0.5))
    with time_machine.travel(START, tick=False) as traveller:
        built = Desk(traveller, make_stock_shop())

        def remember(task: str, args: list[int], *, countdown: float = 0, expires: float | None = None) -> bool:
            built.messages.append((task, countdown))
            return True

        monkeypatch.setattr("apps.webhooks.kicks.publish", remember)
        monkeypatch.setattr("apps.orders.wake.publish", lambda *args, **kwargs: True)
        try:
            yield built
        finally:
            checkpoints.set_hook(None)
            kept.forget_all()
