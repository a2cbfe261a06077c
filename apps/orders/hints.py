"""What a provider's webhook makes us do: ask about its order now. It never says what became of the order.

Whoever read and verified a webhook calls `follow`; the rows are those of `apps.journal`. A purchase whose answer is
still awaited is left alone: its webhook waits, and is matched when the answer was settled.
"""

from __future__ import annotations

from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Max

from apps.common.logs import get_logger
from apps.journal.models import ProviderWebhook
from apps.orders import wake
from apps.orders.due import lease_of
from apps.orders.models import Attempt, DueCheck
from apps.orders.outcomes import lock_orders
from apps.orders.states import AttemptState, DueKind
from apps.providers.registry import has_webhooks

log = get_logger(__name__)

V, E = ProviderWebhook.Verdict, ProviderWebhook.Effect

TRUSTED_GAP = timedelta(seconds=5)
UNSIGNED_GAP = timedelta(minutes=1)
"""The least time between two questions about one order that webhooks caused, by whether they are signed."""

MATCH_FOR = timedelta(hours=24)
"""A webhook about no order that we know is looked at again this long."""


def follow(hook: ProviderWebhook, now: datetime) -> None:
    """Find the order of a webhook that may be believed and have it asked about; write down what came of it.

    The caller holds the row in its transaction.
    """
    attempt = find_attempt(hook)
    if attempt is None:
        hook.effect = E.WAITING
        hook.save()
        return
    order = lock_orders({attempt.order_id})[attempt.order_id]
    attempt = Attempt.objects.select_related("integration").get(pk=attempt.pk)  # as it is under the lock
    hook.attempt_id, hook.order_id = attempt.pk, order.pk
    if attempt.state == AttemptState.SENDING or may_be_asking(attempt, now):
        hook.effect = E.WAITING
        hook.save()
        return
    at = next_question(attempt, hook, now)
    hook.effect = E.ASKED if pull_forward(attempt, at) else E.REOPENED
    hook.matched_at = now
    hook.save()
    wake.check_on_commit(order.pk, order.tenant_id, at, now)
    log.info("provider_hook_followed", order=order.pk, attempt=attempt.pk, hook=hook.pk, effect=hook.effect)


def find_attempt(hook: ProviderWebhook) -> Attempt | None:
    """The purchase at this account that the webhook names: by our reference, else by the provider's id while open."""
    own = Attempt.objects.filter(integration_id=hook.integration_id)
    if hook.attempt_id is not None:
        return own.filter(pk=hook.attempt_id).first()
    if hook.reference:
        return own.filter(reference=hook.reference).first()
    if not hook.provider_order_id:
        return None
    still_open = DueCheck.objects.filter(lane=hook.integration_id, attempt__provider_order_id=hook.provider_order_id)
    return own.filter(pk__in=still_open.values("attempt_id")).order_by("-pk").first()


def may_be_asking(attempt: Attempt, now: datetime) -> bool:
    """Whether somebody may be asking this moment where a question may buy: two must not be under way together."""
    integration = attempt.integration
    if not integration.caps().ask_may_create:
        return False
    return DueCheck.objects.filter(attempt=attempt, next_at__gt=now, next_at__lte=now + lease_of(integration)).exists()


def next_question(attempt: Attempt, hook: ProviderWebhook, now: datetime) -> datetime:
    """Now, but not sooner than the provider's least gap and the gap between webhooks' questions about the order."""
    floor = timedelta(seconds=attempt.integration.caps().poll.floor_s)
    asked_at = DueCheck.objects.filter(attempt=attempt).values_list("asked_at", flat=True).first()
    requests = [at for at in (asked_at, attempt.answered_at, attempt.created_at) if at is not None]
    gap = UNSIGNED_GAP if hook.verdict == V.UNSIGNED else TRUSTED_GAP
    earlier = ProviderWebhook.objects.filter(order_id=attempt.order_id, effect__in=[E.ASKED, E.REOPENED])
    hinted_at: datetime | None = earlier.exclude(pk=hook.pk).aggregate(last=Max("matched_at"))["last"]
    return max(now, max(requests) + floor, hinted_at + gap if hinted_at else now)


def pull_forward(attempt: Attempt, at: datetime) -> bool:
    """Make the attempt due at `at`, or sooner where it is. False: it was closed, and has a row again.

    The new fence drops the schedule of whoever is asking right now: its answer may be older than the webhook.
    """
    rows = DueCheck.objects.filter(attempt=attempt)
    rows.filter(next_at__gt=at).update(next_at=at)
    if rows.update(fence=F("fence") + 1) == 1:
        return True
    DueCheck.objects.create(
        order_id=attempt.order_id, attempt=attempt, lane=attempt.integration_id, kind=DueKind.WATCH, next_at=at
    )
    return False


def match_early(attempt: Attempt, now: datetime) -> None:
    """After a purchase was settled: follow its webhooks that were faster. What fails here waits for the sweep."""
    if not has_webhooks(attempt.kind):
        return
    try:
        waiting = ProviderWebhook.objects.filter(integration_id=attempt.integration_id, effect=E.WAITING)
        named = {
            "reference": attempt.reference,
            "provider_order_id": attempt.provider_order_id,
            "attempt_id": attempt.pk,
        }
        for name, value in named.items():
            if value:
                follow_all(list(waiting.filter(**{name: value}).values_list("pk", flat=True)), now, attempt)
    except Exception as error:
        log.exception("early_hooks_left", attempt=attempt.pk, error=type(error).__name__)


def follow_all(hook_ids: list[int], now: datetime, attempt: Attempt | None = None) -> int:
    """Follow these webhooks that still wait, each in a transaction of its own; how many are asked about."""
    followed = 0
    for pk in hook_ids:
        with transaction.atomic():
            hook = ProviderWebhook.objects.select_for_update().filter(pk=pk, effect=E.WAITING).first()
            if hook is None:
                continue
            if attempt is not None:
                hook.attempt_id = attempt.pk
            follow(hook, now)
            followed += hook.effect in (E.ASKED, E.REOPENED)
    return followed


def match_waiting(now: datetime, limit: int = 2000) -> int:
    """Look again for the orders of webhooks that wait, the newest first, and give those up that waited a day."""
    waiting = ProviderWebhook.objects.filter(effect=E.WAITING)
    waiting.filter(received_at__lte=now - MATCH_FOR).update(effect=E.UNMATCHED)
    return follow_all(list(waiting.order_by("-pk").values_list("pk", flat=True)[:limit]), now)
