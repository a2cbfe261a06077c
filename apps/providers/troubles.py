"""Troubles on our side of a provider account: balance, credentials, limits, mappings. New orders wait, nothing fails.

What waits goes on when the trouble is over: `mended` says so in the transaction that mends it, to whom it may concern.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F
from django.dispatch import Signal

from apps.common.logs import get_logger
from apps.providers.adapters.smm_v2 import SERVICE_UNKNOWN
from apps.providers.contract import Outcome, Result
from apps.providers.models import Integration, PackageMapping

log = get_logger(__name__)

TROUBLES = {
    Outcome.INSUFFICIENT_BALANCE: "our balance there is too low",
    Outcome.AUTH_ERROR: "our credentials, address or permission were refused",
    Outcome.RATE_LIMITED: "it asked us to slow down",
}
FIRST_PAUSE_S = 60
LONGEST_PAUSE_S = 600

MAPPING_REFUSALS: dict[str, frozenset[str]] = {
    "smm_v2": frozenset({SERVICE_UNKNOWN}),
    "reloadly": frozenset({"PRODUCT_NOT_FOUND"}),
}
"""The refusals, by kind and reason code, that say for certain: the ids of our mapping name nothing there. A kind that
is not here cannot tell that from a product that is not on sale, and its refusal stays one of the order."""

mended = Signal()
"""A trouble at an account may be over. `integration`; `package_id` where only one package is concerned, else None."""


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


def resume(integration: Integration, *, only: Outcome | None = None) -> None:
    """End the pause, or only one for this trouble, and let the orders go that wait for the account."""
    with transaction.atomic():
        account = Integration.objects.select_for_update(no_key=True).get(pk=integration.pk)
        if only is None or account.pause_reason == TROUBLES[only]:
            clear(account)
        mended.send(sender=Integration, integration=account, package_id=None)


# --- mappings


def blames_mapping(kind: str, reason_code: str) -> bool:
    """Whether this refusal by an account of this kind says that it does not know our ids."""
    return reason_code in MAPPING_REFUSALS.get(kind, ())


def note_refusal(integration: Integration, package_id: int, result: Result, now: datetime) -> None:
    """Leave the package's mapping there alone for a while, where the provider says that it does not know its ids."""
    if result.outcome is not Outcome.REJECTED or not blames_mapping(integration.kind, result.reason_code):
        return
    PackageMapping.objects.filter(integration=integration, package=package_id).update(refused_at=now)
    log.warning("mapping_refused", integration=integration.pk, package=package_id, code=result.reason_code)
