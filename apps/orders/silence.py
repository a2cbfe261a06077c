"""When a provider whose webhooks came reliably falls silent, its orders are asked about more often: decided here.

One completion after another is looked at, the newest first: was it told by a webhook before we saw it ourselves? No
time is guessed, so a quiet night is no silence. The schedule itself is never slower for webhooks.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import takewhile

from apps.journal.models import ProviderWebhook
from apps.orders.due import lease_of
from apps.orders.models import Attempt, DueCheck
from apps.orders.states import AttemptState, DueKind
from apps.providers.contract import Outcome, PollPlan
from apps.providers.models import Integration

MISSED_IN_A_ROW = 3
"""So many completions without their webhook, one after the other, are a silence."""

LAST = 50
LEAST = 20
RELIABLE = 0.9
"""Reliable is an account of whose last 50 completions before the silence (20 at least) nine in ten were told."""

LOOK_BACK = 200
"""Completions that are looked at: a silence of 150 is no silence any more, the webhooks are gone."""

ENDS = (Outcome.COMPLETED, Outcome.PARTIAL)


class Habit(StrEnum):
    """What an account's webhooks are worth."""

    UNKNOWN = "unknown"  # too few completions, or webhooks that do not come
    RELIABLE = "reliable"
    SILENT = "silent"  # they were reliable, and do not come any more


def judge(told: Sequence[bool]) -> Habit:
    """The habit, from completions with the newest first: True where a webhook told it before we saw it."""
    missed = len(list(takewhile(lambda is_told: not is_told, told)))
    before = told[missed : missed + LAST] if missed >= MISSED_IN_A_ROW else told[:LAST]
    if len(before) < LEAST or sum(before) < RELIABLE * len(before):
        return Habit.UNKNOWN
    return Habit.SILENT if missed >= MISSED_IN_A_ROW else Habit.RELIABLE


def denser(next_at: datetime, asked_at: datetime, poll: PollPlan, now: datetime) -> datetime:
    """When to ask instead during a silence: the schedule's shortest gap after the last question, never below the floor.

    Not later than `next_at`.
    """
    gap = timedelta(seconds=max(poll.base_s, poll.floor_s))
    return min(next_at, max(asked_at + gap, now))


def habit_of(integration: Integration) -> Habit:
    """The habit of an account's webhooks now."""
    if integration.caps().webhook == "none":
        return Habit.UNKNOWN
    done = Attempt.objects.filter(integration=integration, delivered_at__isnull=False).order_by("-pk")
    latest = done.values_list("delivered_at", "pk")[:LOOK_BACK]
    completions = sorted(((at, pk) for at, pk in latest if at is not None), reverse=True)
    told = _first_told(integration, [pk for _, pk in completions])
    return judge([pk in told and told[pk] <= at for at, pk in completions])


def _first_told(integration: Integration, attempt_ids: Sequence[int]) -> dict[int, datetime]:
    """When the first verified webhook told the end of each of these attempts."""
    told = ProviderWebhook.objects.filter(
        integration_id=integration.pk,
        attempt_id__in=attempt_ids,
        verdict=ProviderWebhook.Verdict.VERIFIED,
        says__in=list(ENDS),
    )
    rows = told.order_by("-received_at").values_list("attempt_id", "received_at")
    return {pk: at for pk, at in rows if pk is not None}


def ask_more_often(integration: Integration, now: datetime, limit: int = 1000) -> int:
    """Pull the account's open orders forward to the schedule's shortest gap; how many were.

    Rows that are due within a lease stay: somebody may be asking about them.
    """
    caps = integration.caps()
    rows = DueCheck.objects.filter(lane=integration.pk, attempt__isnull=False, next_at__gt=now + lease_of(integration))
    rows = rows.exclude(kind=DueKind.WATCH).exclude(attempt__state=AttemptState.SENDING)
    pulled = 0
    for row in rows.select_related("attempt").order_by("next_at")[:limit]:
        if row.attempt is None:
            continue
        at = denser(row.next_at, row.asked_at or row.attempt.answered_at or row.attempt.created_at, caps.poll, now)
        same = DueCheck.objects.filter(pk=row.pk, fence=row.fence, next_at=row.next_at)
        pulled += same.update(next_at=at) if at < row.next_at else 0
    return pulled
