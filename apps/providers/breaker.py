"""The circuit breaker of an account, shared by all workers: five failures in a row open it, one answer closes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction

from apps.common.budget import as_us
from apps.common.logs import get_logger
from apps.providers.traffic_models import Breaker

log = get_logger(__name__)

OPENS_AFTER = 5
WITHIN = timedelta(seconds=30)
PROBE_EVERY = timedelta(seconds=15)
ASK_FIRST = timedelta(seconds=120)
"""A purchase is no probe while a question, which buys nothing, is due this soon."""


class State(StrEnum):
    """How an account stands."""

    CLOSED = "closed"  # it answers, as far as we know
    OPEN = "open"  # it does not: nothing is sent there
    HALF_OPEN = "half_open"  # it did not, and one request may find out whether it does again


@dataclass(frozen=True, slots=True)
class Standing:
    """The state and since when (None: always); while it is not closed, when the next probe may go."""

    state: State
    since: datetime | None = None
    next_probe_at: datetime | None = None


def state_of(integration_id: int, now: datetime) -> State:
    """Whether requests go to the account."""
    return standing_of(integration_id, now).state


def standing_of(integration_id: int, now: datetime) -> Standing:
    """The same, with its times."""
    row = Breaker.objects.filter(pk=integration_id).first()
    if row is None:
        return Standing(State.CLOSED)
    if row.opened_at is None or row.next_probe_at is None:
        return Standing(State.CLOSED, row.closed_at)
    state = State.HALF_OPEN if row.next_probe_at <= now else State.OPEN
    return Standing(state, row.opened_at, row.next_probe_at)


def win_probe(integration_id: int, now: datetime) -> bool:
    """Whether the caller, alone among all who ask, may send the one request that is due; the next is due 15 s later."""
    due = Breaker.objects.filter(pk=integration_id, next_probe_at__lte=now)
    return due.update(next_probe_at=now + PROBE_EVERY) == 1


def note(integration_id: int, answers: Sequence[bool], now: datetime) -> None:
    """What the latest requests met, in order: True for an answer of any kind, False for none or a server's error."""
    row = Breaker.objects.filter(pk=integration_id).first()
    is_quiet = row is None or (row.opened_at is None and not row.failed_us)
    if not answers or (is_quiet and all(answers)):
        return
    with transaction.atomic():
        Breaker.objects.get_or_create(pk=integration_id)
        row = Breaker.objects.select_for_update().get(pk=integration_id)
        for is_answered in answers:
            (_answered if is_answered else _failed)(row, now)
        row.save()


def _answered(row: Breaker, now: datetime) -> None:
    row.failed_us = []
    if row.opened_at is not None:
        log.warning("breaker_closed", integration=row.pk, open_s=round((now - row.opened_at).total_seconds()))
        row.opened_at, row.next_probe_at, row.closed_at = None, None, now


def _failed(row: Breaker, now: datetime) -> None:
    if row.opened_at is not None:
        return
    recent = [at for at in row.failed_us if at > as_us(now - WITHIN)]
    row.failed_us = [*recent, as_us(now)]
    if len(row.failed_us) >= OPENS_AFTER:
        log.warning("breaker_opened", integration=row.pk, failures=len(row.failed_us))
        row.failed_us, row.opened_at, row.next_probe_at = [], now, now + PROBE_EVERY
