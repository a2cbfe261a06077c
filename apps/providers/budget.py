"""One request budget per account for all workers: in Redis where there is one, else in the database. Never waits."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.conf import settings
from django.db.models import Model

from apps.common.budget import (
    DEBT_US,
    SECOND_US,
    Draw,
    Drawn,
    Limits,
    RedundantStore,
    Spent,
    Store,
    Use,
    as_us,
    from_us,
    is_kept,
    withdraw,
)
from apps.common.budget_redis import RedisStore
from apps.providers.models import Integration
from apps.providers.traffic_models import RateBudget

TRIES = 50
"""Times that a withdrawal is worked out anew because somebody else's came between."""


@dataclass(frozen=True, slots=True)
class Grant:
    """How many requests may go now, and when one more may."""

    count: int
    retry_at: datetime


def take(integration: Integration, use: Use, n: int, now: datetime) -> Grant:
    """As many of `n` requests as the account's budget has at `now`; what is granted is spent."""
    drawn = _draw(integration, Draw(use, n, as_us(now)))
    return Grant(drawn.count, from_us(drawn.retry_us))


def outlook(integration: Integration, now: datetime, use: Use = Use.PLACE) -> datetime | None:
    """None when a request may go at `now`, else when the next may. Spends nothing."""
    drawn = _draw(integration, Draw(use, 0, as_us(now)))
    return from_us(drawn.retry_us) if drawn.retry_us > as_us(now) else None


def book(integration: Integration, use: Use, n: int, now: datetime) -> None:
    """Spend `n` requests that were made without asking first: later ones wait for them."""
    _draw(integration, Draw(use, n, as_us(now), is_forced=True))


def hold(integration: Integration, until: datetime, now: datetime) -> None:
    """No request before `until` (ten minutes at most), and from then on one after the other."""
    until = min(until, now + timedelta(microseconds=DEBT_US))
    emptied_us = as_us(until) - _limits(integration).gap_us
    _draw(integration, Draw(Use.ASK, 0, as_us(now), emptied_us, is_forced=True))


def _draw(integration: Integration, draw: Draw) -> Drawn:
    return _store().draw(integration.pk, _limits(integration), draw)


def _limits(integration: Integration) -> Limits:
    caps = integration.caps()
    return Limits.of(caps.rate_per_s, caps.burst)


class DatabaseStore:
    """The budgets of all processes that share the database. A withdrawal is written only if nothing came between."""

    model: type[Model] = RateBudget

    def draw(self, account: int, limits: Limits, draw: Draw) -> Drawn:
        """Withdraw by a conditional update; in a crowd that never lets it through, nothing is granted."""
        for _ in range(TRIES):
            spent = self._load(account)
            after, drawn = withdraw(spent, limits, draw)
            if not is_kept(draw, drawn):
                return drawn
            rows = self.model._default_manager.filter(pk=account, all_us=spent.all_us, ask_us=spent.ask_us)
            if rows.update(all_us=after.all_us, ask_us=after.ask_us) == 1:
                return drawn
            if spent == Spent():
                self.model._default_manager.bulk_create([self.model(pk=account)], ignore_conflicts=True)
        return Drawn(0, draw.now_us + SECOND_US)

    def _load(self, account: int) -> Spent:
        found = self.model._default_manager.filter(pk=account).values_list("all_us", "ask_us").first()
        return Spent() if found is None else Spent(*found)


def _store() -> Store:
    return _shared(settings.REDIS_URL) if settings.REDIS_URL else DatabaseStore()


@functools.lru_cache(maxsize=4)
def _shared(url: str) -> Store:
    return RedundantStore(RedisStore(url), DatabaseStore())
