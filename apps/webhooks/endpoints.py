"""Endpoints of customers: create, change, pause, give a new secret. What may be contacted is decided here, too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.utils.translation import gettext as _

from apps.accounts.models import Customer
from apps.common import egress
from apps.common.egress import EgressForbidden, EgressPolicy
from apps.common.logs import get_logger
from apps.orders.telling import EVENT_KINDS
from apps.webhooks.models import WebhookDelivery, WebhookEndpoint
from apps.webhooks.signing import new_secret, seal_secret

log = get_logger(__name__)

MOST = 10
"""Endpoints that one customer may have."""

LONGEST_URL = 500

OVERLAP = timedelta(days=1)
"""How long the old secret signs beside the new one."""

KINDS = tuple(EVENT_KINDS.values())
"""Every kind of event that an endpoint can ask for."""

Pause = WebhookEndpoint.Pause


class EndpointRefused(Exception):
    """The endpoint cannot be as it was asked for; `name` is the field to mend, `detail` says how."""

    def __init__(self, name: str, detail: str) -> None:
        super().__init__(detail)
        self.name = name
        self.detail = detail


class TooManyEndpoints(Exception):
    """The customer has as many endpoints as one may have."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How an endpoint is to be. No `kinds`: every kind."""

    url: str
    description: str = ""
    kinds: Sequence[str] = ()
    with_codes: bool = False


def policy() -> EgressPolicy:
    """What events may be sent to: public https, or the own network without it where EVENTS_TO_LOCAL says so."""
    return egress.LOCAL if settings.EVENTS_TO_LOCAL else EgressPolicy(schemes=frozenset({"https"}))


def live_endpoints(customer: Customer) -> list[WebhookEndpoint]:
    """The customer's endpoints, oldest first."""
    return list(WebhookEndpoint.objects.filter(customer=customer, deleted_at=None).order_by("pk"))


def create(customer: Customer, wish: Wish, now: datetime) -> tuple[WebhookEndpoint, str]:
    """A new endpoint and its secret, which is shown this once. Raises `EndpointRefused` or `TooManyEndpoints`."""
    check(wish)
    secret = new_secret()
    with transaction.atomic():
        Customer.objects.select_for_update().get(pk=customer.pk)  # two at once could be one too many
        if WebhookEndpoint.objects.filter(customer=customer, deleted_at=None).count() >= MOST:
            raise TooManyEndpoints
        endpoint = WebhookEndpoint.objects.create(
            customer=customer, sealed_secret=seal_secret(secret), created_at=now, **_columns(wish)
        )
    log.info("endpoint_created", endpoint=endpoint.pk, customer=customer.pk, with_codes=wish.with_codes)
    return endpoint, secret


def change(endpoint: WebhookEndpoint, wish: Wish) -> None:
    """Make it so. Raises `EndpointRefused`."""
    check(wish)
    _update(endpoint, **_columns(wish))
    log.info("endpoint_changed", endpoint=endpoint.pk, with_codes=wish.with_codes)


def check(wish: Wish) -> None:
    """Raise `EndpointRefused` for an address that may not be contacted, an unknown kind, or codes without https."""
    if len(wish.url) > LONGEST_URL:
        raise EndpointRefused("url", _("an address has at most %(most)d characters") % {"most": LONGEST_URL})
    try:
        egress.check_url(wish.url, policy())
    except EgressForbidden as error:
        text = _("this address cannot be used: use a public https:// address without a login (%(reason)s)")
        raise EndpointRefused("url", text % {"reason": error.reason}) from error
    unknown = [kind for kind in wish.kinds if kind not in KINDS]
    if unknown:
        text = _("this kind is not known; known are: %(kinds)s")
        raise EndpointRefused("kinds", text % {"kinds": ", ".join(KINDS)})
    if wish.with_codes and not wish.url.startswith("https://"):
        raise EndpointRefused("with_codes", _("codes are sent to https:// addresses only"))


def _columns(wish: Wish) -> dict[str, object]:
    kinds = [kind for kind in KINDS if kind in wish.kinds]
    return {"url": wish.url, "description": wish.description, "kinds": kinds, "with_codes": wish.with_codes}


@dataclass(frozen=True, slots=True)
class Rotated:
    """A new secret, and until when the one before signs beside it."""

    secret: str
    old_until: datetime


def rotate_secret(endpoint: WebhookEndpoint, now: datetime) -> Rotated:
    """A new secret, shown this once; the one before signs beside it for a day."""
    rotated = Rotated(new_secret(), now + OVERLAP)
    with transaction.atomic():
        locked = WebhookEndpoint.objects.select_for_update().get(pk=endpoint.pk)
        _update(
            endpoint,
            sealed_secret=seal_secret(rotated.secret),
            sealed_old_secret=locked.sealed_secret,
            old_secret_until=rotated.old_until,
        )
    log.info("endpoint_secret_rotated", endpoint=endpoint.pk)
    return rotated


def pause(endpoint: WebhookEndpoint, why: WebhookEndpoint.Pause, now: datetime) -> None:
    """Send nothing there until it is resumed; what happens meanwhile waits. One that is paused stays as it is."""
    live = WebhookEndpoint.objects.filter(pk=endpoint.pk, paused_at=None)
    if live.update(paused_at=now, pause=why) == 1:
        log.warning("endpoint_paused", endpoint=endpoint.pk, customer=endpoint.customer_id, why=str(why))
    endpoint.refresh_from_db()


def resume(endpoint: WebhookEndpoint) -> None:
    """Send there again, beginning with what waited; what it did before is forgotten."""
    _update(endpoint, paused_at=None, pause="", failures=0, failing_since=None, busy_until=None)
    log.info("endpoint_resumed", endpoint=endpoint.pk)


def delete(endpoint: WebhookEndpoint, now: datetime) -> None:
    """Nothing is sent there any more; what waited is given up, and the log stays for the shop."""
    with transaction.atomic():
        _update(endpoint, deleted_at=now)
        waiting = WebhookDelivery.objects.filter(endpoint=endpoint, state=WebhookDelivery.State.WAITING)
        waiting.update(state=WebhookDelivery.State.DEAD, ended_at=now)
    log.info("endpoint_deleted", endpoint=endpoint.pk)


def _update(endpoint: WebhookEndpoint, **fields: object) -> None:
    WebhookEndpoint.objects.filter(pk=endpoint.pk).update(**fields)
    endpoint.refresh_from_db()
