"""The door for providers' webhooks: it stores, answers at once, and tells nobody what it thinks of the call."""

from __future__ import annotations

from datetime import datetime, timedelta

from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed
from django.http.request import UnreadablePostError
from django.views.decorators.csrf import csrf_exempt

from apps.common import clock
from apps.common.wire import BODY_LIMIT
from apps.journal.models import ProviderWebhook
from apps.providers.contract import HookCall
from apps.providers.models import Integration
from apps.webhooks import reading
from apps.webhooks.addresses import find_account

RATE = 1200
RATE_WINDOW = timedelta(minutes=1)
"""Calls of one address that are taken in a minute; a provider repeats those that are not."""


@csrf_exempt
def provider_webhook(request: HttpRequest, token: str) -> HttpResponse:
    """202 for everything that was stored, forged or not. 400, 404, 405, 413 and 429 store nothing."""
    if request.method != "POST":
        return HttpResponseNotAllowed(["POST"])
    integration = find_account(token)
    if integration is None:
        return plain(404)
    now = clock.now()
    if is_too_often(integration, now):
        return plain(429)
    try:
        body = read_body(request)
    except UnreadablePostError:
        return plain(400)
    if body is None:
        return plain(413)
    headers = {name.lower(): value for name, value in request.headers.items()}
    call = HookCall(request.path, headers, body)
    row = reading.store(integration, call, request.META.get("REMOTE_ADDR", ""), now)
    reading.read_safely(row.pk, now)
    return plain(202)


def plain(status: int) -> HttpResponse:
    """An answer that says nothing but its status."""
    response = HttpResponse(status=status, content_type="text/plain")
    response["Cache-Control"] = "no-store"
    return response


def read_body(request: HttpRequest) -> bytes | None:
    """The body, or None when it is longer than 256 KiB. Raises UnreadablePostError when its sender cut it off."""
    told = request.META.get("CONTENT_LENGTH") or "0"
    if not told.isdecimal() or int(told) > BODY_LIMIT:
        return None
    body = request.body
    return body if len(body) <= BODY_LIMIT else None


def is_too_often(integration: Integration, now: datetime) -> bool:
    """Whether the address was called more often than it may be."""
    calls = ProviderWebhook.objects.filter(integration_id=integration.pk, received_at__gt=now - RATE_WINDOW)
    return calls[:RATE].count() >= RATE
