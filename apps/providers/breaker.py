"""The circuit breaker of an account, shared by all workers: five failures in a row open it, one answer closes it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from django.db import transaction

from apps.common.budget import as_us
from apps.common.logs import get_logger
from apps.journal import audit
from apps.journal.audit import Action
from apps.providers.models import Integration
from apps.providers.traffic_models import Breaker
from apps.providers.troubles import mended

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
    """The state and since when (None: always); while it is not closed, when the next probe may go.

    `held`: a person has stopped new orders to the account, whatever it answers: since when, who, and why.
    """

    state: State
    since: datetime | None = None
    next_probe_at: datetime | None = None
    held: tuple[datetime, str, str] | None = None


def state_of(integration_id: int, now: datetime) -> State:
    """Whether requests go to the account."""
    return standing_of(integration_id, now).state


def standing_of(integration_id: int, now: datetime) -> Standing:
    """The same, with its times."""
    row = Breaker.objects.filter(pk=integration_id).first()
    if row is None:
        return Standing(State.CLOSED)
    held = None if row.held_at is None else (row.held_at, row.held_by, row.held_why)
    if row.opened_at is None or row.next_probe_at is None:
        return Standing(State.CLOSED, row.closed_at, held=held)
    state = State.HALF_OPEN if row.next_probe_at <= now else State.OPEN
    return Standing(state, row.opened_at, row.next_probe_at, held)


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


# --- by a person


def trip(integration: Integration, who: str, why: str, now: datetime) -> None:
    """Send no new order to the account until a person lets it; open ones are asked about as ever."""
    with transaction.atomic():
        Breaker.objects.get_or_create(pk=integration.pk)
        free = Breaker.objects.filter(pk=integration.pk, held_at=None)
        if free.update(held_at=now, held_by=who[:150], held_why=why) == 1:
            _tell(Action.BREAKER_TRIPPED, integration, who, why, now)
            log.warning("provider_stopped", integration=integration.pk, actor=who)


def close(integration: Integration, who: str, why: str, now: datetime) -> None:
    """Let orders go there again, also where failures have opened the breaker; those that waited go at once."""
    with transaction.atomic():
        Breaker.objects.get_or_create(pk=integration.pk)
        row = Breaker.objects.select_for_update().get(pk=integration.pk)
        if row.held_at is None and row.opened_at is None:
            return
        row.held_at, row.held_by, row.held_why = None, "", ""
        row.failed_us, row.opened_at, row.next_probe_at, row.closed_at = [], None, None, now
        row.save()
        _tell(Action.BREAKER_CLOSED, integration, who, why, now)
        log.warning("provider_let_go", integration=integration.pk, actor=who)
        mended.send(sender=Integration, integration=integration, package_id=None)


def _tell(action: Action, integration: Integration, who: str, why: str, now: datetime) -> None:
    audit.record(action, integration, integration.tenant_id, now, changes={"reason": ("", why)}, actor=who)
