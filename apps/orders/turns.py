"""Whose turn it is to be asked about: what is due of an account, as far as its budget and its breaker allow."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from apps.common.budget import Use
from apps.orders import due
from apps.orders.due import Claim, lease_of
from apps.providers import breaker, budget
from apps.providers.breaker import Standing, State
from apps.providers.models import Integration
from apps.providers.registry import has_wire

LANE_CONCURRENCY = 200
"""Most requests of one turn, where the account's burst allows as many: each is a connection of its own."""


@dataclass(frozen=True, slots=True)
class Turn:
    """What may be asked now; `retry_at`: more is due, and may be asked then."""

    claims: list[Claim]
    retry_at: datetime | None = None


def most_at_once(integration: Integration) -> int:
    """Requests of one turn: all of them begin at once, so that each is made when it was granted."""
    return min(integration.caps().burst, LANE_CONCURRENCY)


def claim_turn(integration: Integration, now: datetime) -> Turn:
    """Take what may be asked now. An account that does not answer gets one probe at most; the rest is put off."""
    if not has_wire(integration.kind):
        return Turn(due.claim_lane(integration.pk, now, lease_of(integration), LANE_CONCURRENCY))
    standing = breaker.standing_of(integration.pk, now)
    if standing.next_probe_at is None:
        return _claim(integration, now, most_at_once(integration))
    turn = Turn([]) if standing.state is State.OPEN else _claim_probe(integration, now)
    if turn.retry_at is None:
        due.put_off_lane(integration.pk, now, _next_probe_at(standing, now), breaker.PROBE_EVERY)
    return turn


def has_turn(integration: Integration, n: int, now: datetime, *, is_forced: bool) -> bool:
    """Whether `n` requests may go now; a person's question goes to an account that does not answer, too."""
    if not has_wire(integration.kind):
        return True
    if not is_forced and breaker.state_of(integration.pk, now) is not State.CLOSED:
        return False
    return budget.take(integration, Use.ASK, n, now).count == n


def _claim(integration: Integration, now: datetime, most: int) -> Turn:
    """As many requests as are wanted and granted; what was granted is what is claimed, and then asked."""
    lane, batch = integration.pk, integration.caps().status_batch_max
    wanted = due.requests_wanted(lane, now, most, batch)
    if not wanted:
        return Turn([])
    grant = budget.take(integration, Use.ASK, wanted, now)
    claims = due.claim_lane(lane, now, lease_of(integration), grant.count, batch) if grant.count else []
    return Turn(claims, grant.retry_at if grant.count < wanted else None)


def _claim_probe(integration: Integration, now: datetime) -> Turn:
    """One question about one order, for the one who wins it."""
    grant = budget.take(integration, Use.ASK, 1, now)
    if not grant.count:
        return Turn([], grant.retry_at)
    is_mine = breaker.win_probe(integration.pk, now)
    return Turn(due.claim_lane(integration.pk, now, lease_of(integration), 1) if is_mine else [])


def _next_probe_at(standing: Standing, now: datetime) -> datetime:
    """When the lane is looked at again: at the probe to come, or the one after the probe of this moment."""
    at = standing.next_probe_at or now
    return at if at > now else now + breaker.PROBE_EVERY
