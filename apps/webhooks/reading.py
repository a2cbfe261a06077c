"""A webhook from its bytes to its effect: stored and committed first, then verified, told apart, and followed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from apps.common.checkpoints import checkpoint
from apps.common.crypto import digest, open_sealed, seal
from apps.common.logs import get_logger
from apps.common.wire import REDACTED
from apps.journal.models import ProviderWebhook
from apps.orders import hints
from apps.providers.contract import Hook, HookCall, HookedAdapter, Trust
from apps.providers.models import Integration
from apps.providers.registry import load_adapter

log = get_logger(__name__)

V, E = ProviderWebhook.Verdict, ProviderWebhook.Effect

FRESH_FOR = timedelta(minutes=5)
"""A webhook that names its own time is followed only this near to it."""

UNREAD_AFTER = timedelta(seconds=10)
"""A webhook that is not read so long after it came is read by the sweep: whoever stored it is gone."""

PLAIN = ("content-type", "user-agent")
HIDING = ("signature", "secret", "token", "auth", "key", "cookie")
FORWARDED = ("x-forwarded", "x-real-ip")
VALUE_LIMIT = 500

VERDICTS: dict[Trust, ProviderWebhook.Verdict] = {
    Trust.VERIFIED: V.VERIFIED,
    Trust.UNSIGNED: V.UNSIGNED,
    Trust.FORGED: V.FORGED,
    Trust.NO_KEY: V.NO_KEY,
    Trust.UNREADABLE: V.UNREADABLE,
}


def store(integration: Integration, call: HookCall, remote_addr: str, now: datetime) -> ProviderWebhook:
    """Commit the call as it came. Raises nothing for what it holds; nothing of it is read here."""
    kept = {name: value[:VALUE_LIMIT] for name, value in call.headers.items() if is_kept(name)}
    row = ProviderWebhook.objects.create(
        integration_id=integration.pk,
        received_at=now,
        sealed_body=seal(call.body),
        sealed_call=seal(json.dumps({"path": call.path, "headers": kept}).encode()),
        body_digest=digest(call.body),
        headers=redacted(kept),
        remote_addr=remote_addr[:45],
    )
    checkpoint("hook.after_store")
    return row


def is_kept(name: str) -> bool:
    """Whether a header may be the provider's own: what proxies add is not."""
    return name in PLAIN or (name.startswith("x-") and not name.startswith(FORWARDED))


def redacted(headers: Mapping[str, str]) -> dict[str, str]:
    """The headers as people may see them."""
    return {
        name: REDACTED if any(word in name for word in HIDING) else value.replace("\x00", "")
        for name, value in headers.items()
    }


def read(hook_id: int, now: datetime) -> None:
    """Verify a stored webhook and follow it, once: a row that was read already stays as it is."""
    with transaction.atomic():
        row = ProviderWebhook.objects.select_for_update().filter(pk=hook_id, effect=E.UNREAD).first()
        if row is None:
            return
        integration = Integration.objects.get(pk=row.integration_id)
        hook = parse(integration, row)
        row.verdict, row.effect = judge(hook, row.received_at), E.NONE
        row.says = hook.says
        is_believed = row.verdict in (V.VERIFIED, V.UNSIGNED)
        if is_believed:
            row.reference, row.provider_order_id = as_name(hook.own_ref, 64), as_name(hook.provider_id, 120)
        if is_believed and claim_event(row):
            hints.follow(row, now)
        else:
            row.save()
    log.info("provider_hook_read", integration=row.integration_id, hook=row.pk, verdict=row.verdict, effect=row.effect)


def parse(integration: Integration, row: ProviderWebhook) -> Hook:
    """What the adapter reads from the stored call."""
    adapter = load_adapter(integration.kind)
    if not isinstance(adapter, HookedAdapter):
        return Hook(Trust.UNREADABLE)
    call = json.loads(open_sealed(row.sealed_call))
    return adapter.parse_webhook(
        integration.account(), HookCall(call["path"], call["headers"], open_sealed(row.sealed_body))
    )


def judge(hook: Hook, received_at: datetime) -> ProviderWebhook.Verdict:
    """The verdict: what is verified must also be of now, where it tells its time."""
    is_stale = hook.sent_at is not None and abs(received_at - hook.sent_at) > FRESH_FOR
    return V.STALE if hook.trust is Trust.VERIFIED and is_stale else VERDICTS[hook.trust]


def as_name(text: str, most: int) -> str:
    """A reference or id as it is stored; one that is too long names nothing of ours."""
    return text if len(text) <= most else ""


def claim_event(row: ProviderWebhook) -> bool:
    """Save the row as the first of its event; False, and saved as a repetition, where there was one before."""
    row.event_key = row.body_digest
    try:
        with transaction.atomic():
            row.save()
    except IntegrityError:
        row.event_key, row.effect = "", E.REPEATED
        return False
    return True


def read_left(now: datetime, limit: int = 500) -> int:
    """Read what a crash left unread; one that cannot be read does not hold up the others."""
    left = ProviderWebhook.objects.filter(effect=E.UNREAD, received_at__lte=now - UNREAD_AFTER).order_by("pk")
    for pk in left.values_list("pk", flat=True)[:limit]:
        read_safely(pk, now)
    return ProviderWebhook.objects.filter(effect=E.UNREAD).count()


def read_safely(hook_id: int, now: datetime) -> None:
    """`read`, where an error leaves the row for the next sweep."""
    try:
        read(hook_id, now)
    except Exception as error:
        log.exception("provider_hook_left", hook=hook_id, error=type(error).__name__)
