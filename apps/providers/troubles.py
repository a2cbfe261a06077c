"""Troubles on our side of a provider account (balance, credentials, limits): new orders wait, nothing fails."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db.models import F

from apps.common.logs import get_logger
from apps.providers.contract import Outcome
from apps.providers.models import Integration

log = get_logger(__name__)

TROUBLES = {
    Outcome.INSUFFICIENT_BALANCE: "our balance there is too low",
    Outcome.AUTH_ERROR: "our credentials, address or permission were refused",
    Outcome.RATE_LIMITED: "it asked us to slow down",
}
FIRST_PAUSE_S = 60
LONGEST_PAUSE_S = 600


def pause(integration: Integration, outcome: Outcome, now: datetime, retry_after_s: float | None = None) -> None:
    """Keep new orders away for a minute, doubling up to ten with every trouble in a row; then one order tries again."""
    seconds = (
        min(retry_after_s, LONGEST_PAUSE_S)
        if retry_after_s
        else min(FIRST_PAUSE_S * 2 ** min(integration.troubles, 10), LONGEST_PAUSE_S)
    )
    Integration.objects.filter(pk=integration.pk).update(
        paused_until=now + timedelta(seconds=seconds), pause_reason=TROUBLES[outcome], troubles=F("troubles") + 1
    )
    log.warning("provider_paused", integration=integration.pk, reason=TROUBLES[outcome], seconds=seconds)


def clear(integration: Integration) -> None:
    """A purchase went through: whatever the trouble was, it is over."""
    if integration.troubles or integration.paused_until:
        Integration.objects.filter(pk=integration.pk).update(paused_until=None, pause_reason="", troubles=0)
