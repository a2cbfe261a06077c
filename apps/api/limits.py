"""How many requests a key and its shop may send: atomic, shared by all processes, with a Redis and without."""

from __future__ import annotations

import functools
import math
import time
from datetime import datetime

from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.translation import gettext as _

from apps.accounts.models import ApiBudget, ApiKey
from apps.api.problems import TooManyRequests
from apps.common.budget import REST_S, SECOND_US, Draw, Drawn, Limits, Store, StoreUnreachable, Use, as_us
from apps.common.budget_redis import RedisStore
from apps.common.logs import get_logger
from apps.providers.budget import DatabaseStore

log = get_logger(__name__)

REDIS_KEY = "hub:api:{account}"


class ApiStore(DatabaseStore):
    """The budgets of keys and shops in the database."""

    model = ApiBudget


def take_turn(request: HttpRequest, key: ApiKey, now: datetime) -> None:
    """Spend one request of the key's budget and of its shop's. Raises `TooManyRequests`.

    The key's own comes first: what it is refused costs its neighbours nothing.
    """
    draw = Draw(Use.PLACE, 1, as_us(now))
    limits = limits_of(key)
    drawn = _store().draw(2 * key.pk, limits, draw)
    note(request, limits, drawn)
    if not drawn.count:
        raise too_many(drawn, draw, _("this API key sends too many requests; wait as long as Retry-After says"))
    shop = key.customer.tenant
    drawn = _store().draw(2 * shop.pk + 1, Limits.of(shop.api_rate_per_s, shop.api_burst), draw)
    if not drawn.count:
        raise too_many(drawn, draw, _("this shop's API keys send too many requests; wait as long as Retry-After says"))


def book_more(request: HttpRequest, key: ApiKey, count: int, now: datetime) -> None:
    """Spend so many requests more of both budgets, whether or not they are there: later ones wait for them."""
    shop = key.customer.tenant
    draw = Draw(Use.PLACE, count, as_us(now), is_forced=True)
    note(request, limits_of(key), _store().draw(2 * key.pk, limits_of(key), draw))
    _store().draw(2 * shop.pk + 1, Limits.of(shop.api_rate_per_s, shop.api_burst), draw)


def limits_of(key: ApiKey) -> Limits:
    """The limits of one key."""
    return Limits.of(key.rate_per_s, key.burst)


def too_many(drawn: Drawn, draw: Draw, detail: str) -> TooManyRequests:
    """The refusal, with the whole seconds after which one request may go."""
    return TooManyRequests(detail, max(1, math.ceil((drawn.retry_us - draw.now_us) / SECOND_US)))


def note(request: HttpRequest, limits: Limits, drawn: Drawn) -> None:
    """Keep for the response what is left to its key."""
    full_again_us = (limits.burst - drawn.left) * limits.gap_us
    request.META["hub.rate"] = (limits.burst, drawn.left, math.ceil(full_again_us / SECOND_US))


def tell_limits(request: HttpRequest, response: HttpResponseBase) -> None:
    """`RateLimit-Limit` (requests at once), `-Remaining`, and `-Reset` (seconds until all are there again)."""
    if "hub.rate" in request.META:
        for name, value in zip(("Limit", "Remaining", "Reset"), request.META["hub.rate"], strict=True):
            response[f"RateLimit-{name}"] = str(value)


class LenientStore:
    """One store while it answers, else another. At a change both may be full: no customer is refused for our trouble.

    The budgets of providers are stricter: there two stores must never add up.
    """

    def __init__(self, first: Store, second: Store) -> None:
        self._first, self._second = first, second
        self._rests_until = float("-inf")

    def draw(self, account: int, limits: Limits, draw: Draw) -> Drawn:
        """Withdraw from the first store; from the second, and for a few seconds more, when it fails."""
        if time.monotonic() >= self._rests_until:
            try:
                return self._first.draw(account, limits, draw)
            except StoreUnreachable as error:
                self._rests_until = time.monotonic() + REST_S
                log.warning("api_limits_unreachable", error=str(error))
        return self._second.draw(account, limits, draw)


def _store() -> Store:
    return _shared(settings.REDIS_URL) if settings.REDIS_URL else ApiStore()


@functools.lru_cache(maxsize=4)
def _shared(url: str) -> Store:
    return LenientStore(RedisStore(url, REDIS_KEY), ApiStore())
