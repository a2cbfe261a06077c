"""What people are told of troubles: the kinds of alerts as one table, and the life of an episode.

Finding troubles and sending messages is not done here: whoever does it has seen more of the hub than a journal may.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from django.db import transaction
from django.db.models import Exists, OuterRef
from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _

from apps.common.logs import get_logger
from apps.journal.loops import LABELS
from apps.journal.models import AlertEpisode, AlertNotice

log = get_logger(__name__)

Occasion = AlertNotice.Occasion

CLOSES_AFTER = timedelta(seconds=30)
"""A trouble that is not seen for so long is over; one that comes back sooner is the same episode."""

REMINDS_AFTER = timedelta(days=1)
"""An open critical episode is told again this often."""

RUNBOOK = "docs/ALERTS.md"
"""The page that says what to do, with one heading for each kind."""


class Severity(StrEnum):
    """How soon somebody must look."""

    CRITICAL = "critical"  # now: orders stand still, or money is at risk
    WARNING = "warning"  # today


SEVERITIES: Mapping[str, Promise] = {Severity.CRITICAL: _("critical"), Severity.WARNING: _("warning")}


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of alert: how bad it is, and its sentence with places for the episode's values."""

    severity: Severity
    sentence: Promise


CRITICAL, WARNING = Severity.CRITICAL, Severity.WARNING

KINDS: dict[str, Kind] = {
    "loop_silent": Kind(CRITICAL, _("“%(loop)s” has not been heard of for %(time)s. Orders wait until it runs again.")),
    "orders_overdue": Kind(CRITICAL, _("Orders that wait longer than they should: %(count)s, the first for %(time)s.")),
    "in_doubt_old": Kind(CRITICAL, _("Purchases in doubt: %(count)s, the first for %(time)s. The money is held.")),
    "review_waiting": Kind(WARNING, _("Orders waiting for a person (%(reason)s): %(count)s, the first for %(time)s.")),
    "breaker_open": Kind(WARNING, _("Provider account %(account)s (%(kind)s) has not answered for %(time)s.")),
    "account_paused": Kind(
        WARNING, _("Provider account %(account)s (%(kind)s) takes no orders because of our balance or login there.")
    ),
    "balance_low": Kind(WARNING, _("Our balance at provider account %(account)s (%(kind)s) is below its limit.")),
    "answers_not_understood": Kind(
        WARNING, _("Provider account %(account)s (%(kind)s) gives answers that the hub does not understand.")
    ),
    "webhooks_silent": Kind(
        WARNING, _("The webhooks of provider account %(account)s (%(kind)s) have stopped. Its orders are asked about.")
    ),
    "books_wrong": Kind(CRITICAL, _("The money does not add up. Disagreements: %(count)s.")),
    "transaction_long": Kind(WARNING, _("A transaction in the database has been open for %(time)s.")),
    "schedule_disabled": Kind(CRITICAL, _("“%(task)s” is missing or disabled in the schedule.")),
    "stock_low": Kind(WARNING, _("Shelf %(shelf)s of stock account %(account)s is low. Codes left: %(count)s.")),
    "events_late": Kind(
        WARNING, _("Events to customers that wait longer than they should: %(count)s, the first for %(time)s.")
    ),
    "endpoint_paused": Kind(
        WARNING, _("Webhook endpoint %(endpoint)s of customer %(customer)s takes nothing any more and was paused.")
    ),
}
"""Every kind of alert. A test asserts that each has a rule that finds it, and a heading in the runbook."""


def severity_of(rule: str) -> Severity:
    """How bad it is; what a newer version has opened counts as a warning."""
    return KINDS[rule].severity if rule in KINDS else WARNING


def say(episode: AlertEpisode) -> str:
    """The episode's sentence in the language of the moment."""
    if episode.rule not in KINDS:
        return f"{episode.rule} {episode.subject}"
    values = dict(episode.values)
    if "loop" in values:
        values["loop"] = LABELS.get(values["loop"], values["loop"])
    if "seconds" in values:
        values["time"] = duration(values.pop("seconds"))
    return str(KINDS[episode.rule].sentence) % values


def duration(seconds: float) -> str:
    """Whole units that people can read, the same in every language: `45 s`, `12 min`, `5 h`, `3 d`."""
    for unit, size, most in (("s", 1, 120), ("min", 60, 7200), ("h", 3600, 172_800)):
        if seconds < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86_400:.0f} d"


def runbook_of(rule: str) -> str:
    """Where to read what to do, from the project's folder."""
    return f"{RUNBOOK}#{rule}"


# --- episodes


@dataclass(frozen=True, slots=True)
class Found:
    """A trouble that is there now: of which rule, about what, in which shop (none: all), and what its sentence says."""

    rule: str
    subject: str
    values: dict[str, Any] = field(default_factory=dict)
    tenant_id: int | None = None


def open_episodes() -> list[AlertEpisode]:
    """What is wrong now, the oldest first."""
    return list(AlertEpisode.objects.filter(closed_at=None).order_by("opened_at", "pk"))


def record(found: Sequence[Found], looked_at: Collection[str], channels: Sequence[str], now: datetime) -> None:
    """Open, carry on and close episodes, and write down what is to be said over which channels.

    Only rules in `looked_at` are carried on or closed: of one that failed nothing is known.
    """
    known = {(one.rule, one.subject): one for one in open_episodes()}
    seen = {(one.rule, one.subject): one for one in found}
    with transaction.atomic():
        for key, trouble in seen.items():
            if key in known:
                _carry_on(known[key], trouble, now)
            else:
                _open(trouble, channels, now)
        for key, episode in known.items():
            if key not in seen and episode.rule in looked_at and now - episode.last_seen_at >= CLOSES_AFTER:
                _close(episode, channels, now)
        _remind([episode for key, episode in known.items() if key in seen], channels, now)


def _open(found: Found, channels: Sequence[str], now: datetime) -> None:
    episode, is_new = AlertEpisode.objects.get_or_create(
        rule=found.rule,
        subject=found.subject,
        closed_at=None,
        defaults={
            "tenant_id": found.tenant_id,
            "values": found.values,
            "opened_at": now,
            "last_seen_at": now,
        },
    )
    if is_new:
        _plan(episode, Occasion.OPENED, 1, channels, now)


def _carry_on(episode: AlertEpisode, found: Found, now: datetime) -> None:
    still = AlertEpisode.objects.filter(pk=episode.pk, closed_at=None)
    still.update(values=found.values, last_seen_at=max(now, episode.last_seen_at))


def _close(episode: AlertEpisode, channels: Sequence[str], now: datetime) -> None:
    if AlertEpisode.objects.filter(pk=episode.pk, closed_at=None).update(closed_at=now) == 1:
        _plan(episode, Occasion.CLOSED, 1, channels, now)


def _remind(episodes: Collection[AlertEpisode], channels: Sequence[str], now: datetime) -> None:
    for episode in episodes:
        days = (now - episode.opened_at) // REMINDS_AFTER
        if days < 1 or severity_of(episode.rule) is not CRITICAL:
            continue
        if not episode.notices.filter(occasion=Occasion.REMINDER, number=days).exists():
            _plan(episode, Occasion.REMINDER, days, channels, now)


def _plan(episode: AlertEpisode, occasion: str, number: int, channels: Sequence[str], now: datetime) -> None:
    """One row for each channel; what is planned already stays as it is."""
    rows = [
        AlertNotice(episode=episode, channel=channel, occasion=occasion, number=number, next_at=now)
        for channel in channels
    ]
    AlertNotice.objects.bulk_create(rows, ignore_conflicts=True)


# --- notices

FIRST_RETRY_S = 15
LONGEST_RETRY_S = 600
SENDING_FOR = timedelta(minutes=1)
"""No channel takes longer than this for one message."""
STALE_AFTER = timedelta(days=1)
"""What could not be said for so long is not said any more once its episode is over."""


def due_notices(channels: Sequence[str], now: datetime, limit: int) -> list[AlertNotice]:
    """What is to be said now, in its order; each channel says an episode's opening before its end."""
    untold = AlertNotice.objects.filter(told_at=None)
    before = untold.filter(episode=OuterRef("episode"), channel=OuterRef("channel"), pk__lt=OuterRef("pk"))
    untold = untold.filter(~Exists(before), next_at__lte=now, channel__in=channels)
    return list(untold.select_related("episode").order_by("next_at", "pk")[:limit])


def is_stale(notice: AlertNotice, now: datetime) -> bool:
    """Whether it is too late to say this."""
    closed_at = notice.episode.closed_at
    return closed_at is not None and now - closed_at > STALE_AFTER


def drop(notice: AlertNotice) -> None:
    """Nobody needs to hear this any more."""
    notice.delete()


def claim(notice: AlertNotice, now: datetime) -> bool:
    """Win the right to say it; whoever dies over it leaves it to others after a minute."""
    same = AlertNotice.objects.filter(pk=notice.pk, told_at=None, next_at=notice.next_at)
    return same.update(next_at=now + SENDING_FOR) == 1


def told(notice: AlertNotice, now: datetime) -> None:
    """It was said: write it down, so that it is not said again."""
    with transaction.atomic():
        AlertNotice.objects.filter(pk=notice.pk, told_at=None).update(told_at=now)
        if notice.occasion == Occasion.OPENED:
            AlertEpisode.objects.filter(pk=notice.episode_id, notified_at=None).update(notified_at=now)


def not_told(notice: AlertNotice, now: datetime) -> None:
    """It could not be said: try again after 15 s, doubling up to ten minutes."""
    wait_s = min(FIRST_RETRY_S * 2 ** min(notice.failures, 10), LONGEST_RETRY_S)
    later = {"failures": notice.failures + 1, "next_at": now + timedelta(seconds=wait_s)}
    AlertNotice.objects.filter(pk=notice.pk, told_at=None).update(**later)
