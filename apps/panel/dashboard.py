"""The first page of a day."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.accounts.models import User
from apps.common import clock
from apps.panel import today
from apps.panel.views import live, person_of, zone_of


@never_cache
@login_required
@require_safe
def dashboard(request: HttpRequest) -> HttpResponse:
    """What needs a person now, and how today goes."""
    tenant_ids = person_of(request).tenant_ids()
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/dashboard.html", _context(person_of(request)))


@never_cache
@login_required
@require_safe
def dashboard_live(request: HttpRequest) -> HttpResponseBase:
    """The part of it that changes; 304 when it has not."""
    tenant_ids = person_of(request).tenant_ids()
    with timezone.override(zone_of(tenant_ids)):
        return live(request, "panel/_dashboard.html", _context(person_of(request)))


def _context(person: User) -> dict[str, object]:
    tenant_ids, now = person.tenant_ids(), clock.now()
    return {
        "needs": today.load_needs(tenant_ids, now),
        "paused": today.load_paused(tenant_ids, now),
        "low": today.load_low_balances(tenant_ids, now),
        "day": today.load_day(tenant_ids, now, zone_of(tenant_ids)),
        "providers": today.load_providers(tenant_ids, now),
    }
