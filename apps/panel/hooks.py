"""What the page of a provider account shows of its webhooks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Count

from apps.journal.models import ProviderWebhook
from apps.orders.silence import Habit, habit_of
from apps.providers.models import Integration
from apps.webhooks.addresses import path_of, takes_webhooks

COUNTED = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class HookCard:
    """The address without its host, the latest call, and a week's calls by verdict (its words, its name, how many)."""

    path: str
    last: ProviderWebhook | None
    counts: list[tuple[str, str, int]]
    is_silent: bool


def load_hooks(account: Integration, now: datetime) -> HookCard | None:
    """The account's webhooks; None where its provider sends none."""
    if not takes_webhooks(account):
        return None
    calls = ProviderWebhook.objects.filter(integration_id=account.pk)
    recent = calls.filter(received_at__gt=now - COUNTED).order_by().values("verdict").annotate(calls=Count("pk"))
    by_verdict = {row["verdict"]: row["calls"] for row in recent}
    return HookCard(
        path=path_of(account),
        last=calls.order_by("-received_at").first(),
        counts=[(str(v.label), v.value, by_verdict[v]) for v in ProviderWebhook.Verdict if v in by_verdict],
        is_silent=habit_of(account) is Habit.SILENT,
    )
