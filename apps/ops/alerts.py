"""One round of watching: read the facts, apply the rules, open and close episodes, tell people. One process does it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from django.conf import settings

from apps.common.logs import get_logger
from apps.journal import alerts, heartbeats
from apps.journal.alerts import Found
from apps.journal.models import AlertNotice
from apps.ops import answers, channels
from apps.ops.alert_rules import RULES, Limits
from apps.ops.channels import NotTold
from apps.ops.facts import Facts, load_facts

log = get_logger(__name__)

TOKEN = "alerts"  # noqa: S105 - the name of a heartbeat
NOTICES = 10
"""So many messages in one round, at most; the rest in the next."""

Clock = Callable[[], datetime]


def watch(clock: Clock) -> bool:
    """One round, if no other process has just done it; whether this one did.

    The token is not given back: it lapses when the next round is due, and whoever asks first then has it.
    """
    now = clock()
    # A little less than the period, so that a process that is alone finds it free each time.
    token = heartbeats.take_token(TOKEN, now, timedelta(seconds=settings.ALERT_EVERY_S * 0.9))
    if not token:
        return False
    answers.count_new(now)
    facts = load_facts(now)
    found, looked_at = apply_rules(facts, Limits.load())
    alerts.record(found, looked_at, channels.channels_in_use(), now)
    tell(clock)
    return True


def apply_rules(facts: Facts, limits: Limits) -> tuple[list[Found], set[str]]:
    """Every trouble, and the names of the rules that could look; one that fails hides no other."""
    found: list[Found] = []
    looked_at: set[str] = set()
    for rule in RULES:
        name = rule.__name__
        try:
            found += list(rule(facts, limits))
        except Exception as error:
            log.exception("alert_rule_failed", rule=name, error=type(error).__name__)
        else:
            looked_at.add(name)
    return found, looked_at


def tell(clock: Clock) -> None:
    """Send what is due; each message is won by one process, and what could not be sent is tried again later."""
    for notice in alerts.due_notices(channels.channels_in_use(), clock(), NOTICES):
        now = clock()
        if alerts.is_stale(notice, now):
            alerts.drop(notice)
        elif alerts.claim(notice, now):
            _send(notice, clock)


def _send(notice: AlertNotice, clock: Clock) -> None:
    try:
        channels.send(notice)
    except NotTold as failure:
        log.warning("alert_not_told", channel=notice.channel, alert=notice.episode.rule, why=str(failure))
        alerts.not_told(notice, clock())
    else:
        alerts.told(notice, clock())
