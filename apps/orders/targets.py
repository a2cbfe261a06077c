"""Accounts at providers that take one open order per recipient: who is being served, and who is next."""

from __future__ import annotations

from datetime import datetime

from django.db import transaction

from apps.orders import wake
from apps.orders.models import Attempt, DueCheck
from apps.orders.states import OPEN_ATTEMPTS, DueKind
from apps.providers.models import Integration

BUSY = "target_busy"
REASON = f"waiting:{BUSY}"


def is_busy(integration: Integration, recipient: str) -> bool:
    """Whether the account takes one order at a time for a recipient and has an open one for this recipient.

    Every open attempt has a due row in its account's lane, which is short; the attempts of an account are not.
    """
    if not recipient or not integration.caps().one_per_target:
        return False
    lane = DueCheck.objects.filter(lane=integration.pk, attempt__state__in=OPEN_ATTEMPTS)
    return lane.filter(order__user_identifier=recipient).exists()


def is_busy_for_sure(integration: Integration, recipient: str) -> bool:
    """The same, decided for this transaction: two dispatches at once queue at the account's row."""
    if not recipient or not integration.caps().one_per_target:
        return False
    Integration.objects.select_for_update(no_key=True).get(pk=integration.pk)
    return is_busy(integration, recipient)


def let_next_go(ended: Attempt, now: datetime) -> None:
    """After the commit, the order that has waited longest for this attempt's recipient is due at once."""
    if ended.state in OPEN_ATTEMPTS or not ended.integration.caps().one_per_target:
        return
    recipient, tenant_id = ended.order.user_identifier, ended.order.tenant_id
    transaction.on_commit(lambda: _bring_forward(tenant_id, recipient, now))


def _bring_forward(tenant_id: int, recipient: str, now: datetime) -> None:
    waiting = DueCheck.objects.filter(kind=DueKind.DISPATCH, lane=0, order__reason=REASON, next_at__gt=now)
    row = waiting.filter(order__tenant_id=tenant_id, order__user_identifier=recipient).order_by("order_id").first()
    if row is not None and DueCheck.objects.filter(pk=row.pk, fence=row.fence).update(next_at=now):
        wake.dispatch_on_commit(row.order_id, tenant_id)
