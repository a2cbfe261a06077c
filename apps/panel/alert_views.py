"""The page of alerts: what is wrong now, and what was lately."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from django.conf import settings
from django.contrib.auth.decorators import login_required
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.accounts.models import Tenant, User
from apps.journal.alerts import SEVERITIES, Severity, runbook_of, say, severity_of
from apps.journal.models import AlertEpisode
from apps.panel.views import person_of, zone_of

CLOSED_SHOWN = 50

ABOUT_THE_MACHINE = ("loop_silent", "schedule_disabled", "transaction_long")
"""What concerns every shop and tells nothing of any."""


@dataclass(frozen=True, slots=True)
class Line:
    """One episode as the page shows it."""

    episode: AlertEpisode
    sentence: str
    severity: str
    is_critical: bool
    runbook: str


@never_cache
@login_required
@require_safe
def alerts(request: HttpRequest) -> HttpResponse:
    """Open episodes, the oldest first, and the last closed ones."""
    person = person_of(request)
    seen = episodes_for(person)
    context = {
        "open": lines(seen.filter(closed_at=None).order_by("opened_at", "pk")),
        "closed": lines(seen.filter(closed_at__isnull=False).order_by("-closed_at", "-pk")[:CLOSED_SHOWN]),
        "docs_url": settings.ALERT_DOCS_URL,
    }
    with timezone.override(zone_of(person.tenant_ids())):
        return render(request, "panel/alerts.html", context)


def episodes_for(person: User) -> QuerySet[AlertEpisode]:
    """Those of the person's shops and of the machine; what counts over all shops only for who sees all shops."""
    own = person.tenant_ids()
    everybodys = Q(tenant_id=None, rule__in=ABOUT_THE_MACHINE)
    if not Tenant.objects.filter(is_active=True).exclude(pk__in=own).exists():
        everybodys = Q(tenant_id=None)
    return AlertEpisode.objects.filter(everybodys | Q(tenant_id__in=own))


def lines(episodes: Iterable[AlertEpisode]) -> list[Line]:
    """Each with its words in the language of the page."""
    return [
        Line(
            episode=one,
            sentence=say(one),
            severity=str(SEVERITIES[severity_of(one.rule)]),
            is_critical=severity_of(one.rule) is Severity.CRITICAL,
            runbook=runbook_of(one.rule),
        )
        for one in episodes
    ]
