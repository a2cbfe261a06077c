"""The three health pages, which anyone may read, and the metrics, which not anyone may. Nobody may cache them."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.common import clock
from apps.ops import health
from apps.ops import metrics as numbers


@never_cache
@require_safe
def livez(_request: HttpRequest) -> JsonResponse:
    """The process answers; nothing else is asked."""
    return JsonResponse({"ok": True})


@never_cache
@require_safe
def readyz(_request: HttpRequest) -> JsonResponse:
    """Whether this process can take orders: 200 or 503 with the reasons."""
    problems = health.not_ready(clock.now())
    return JsonResponse({"ok": not problems, "problems": problems}, status=503 if problems else 200)


@never_cache
@require_safe
def statusz(_request: HttpRequest) -> JsonResponse:
    """Whether the loops are alive: 200 or 503, with the numbers."""
    status = health.status(clock.now())
    return JsonResponse(status, status=200 if status["ok"] else 503)


@never_cache
@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """The numbers for Prometheus: 401 without the token, 403 from elsewhere where there is none."""
    if not numbers.may_read(request):
        return HttpResponse(status=401 if settings.METRICS_TOKEN else 403)
    return HttpResponse(numbers.exposition(clock.now()), content_type=numbers.CONTENT_TYPE)
