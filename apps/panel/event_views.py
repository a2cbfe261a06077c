"""The pages of customers' webhooks: where events go, what became of each, and sending one again. Viewers only look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.admin_base import owned_tenant_ids
from apps.common import clock
from apps.common.logs import get_logger
from apps.panel.listing import as_id
from apps.panel.views import check_may_operate, person_of, zone_of
from apps.webhooks import endpoints
from apps.webhooks.delivering import redeliver
from apps.webhooks.models import WebhookDelivery, WebhookEndpoint

log = get_logger(__name__)

PAGE = 50
MOST_ENDPOINTS = 200

State = WebhookDelivery.State


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deliveries to show; None and empty mean all."""

    state: str = ""
    customer: int | None = None
    endpoint: int | None = None
    before: int | None = None

    @classmethod
    def read(cls, query: QueryDict) -> Wanted:
        """From the address; what makes no sense counts as not given."""
        state = query.get("state", "")
        numbers = {name: as_id(query.get(name, "")) for name in ("customer", "endpoint", "before")}
        return cls(state if state in State.values else "", **numbers)

    def query(self, before: int | None) -> str:
        """The address of the same deliveries, older than one of them."""
        given = {"state": self.state, "customer": self.customer, "endpoint": self.endpoint, "before": before}
        return urlencode({name: value for name, value in given.items() if value})


@never_cache
@login_required
@require_safe
def webhooks(request: HttpRequest) -> HttpResponse:
    """The endpoints of the shops' customers, and the deliveries, newest first."""
    person, wanted = person_of(request), Wanted.read(request.GET)
    tenant_ids = person.tenant_ids()
    found = list(select_deliveries(tenant_ids, wanted)[: PAGE + 1])
    context = {
        "wanted": wanted,
        "states": [("", _("all")), *State.choices],
        "endpoints": load_endpoints(tenant_ids, wanted),
        "operated": set(person.operated_ids()),
        "owned": set(owned_tenant_ids(request)),
        "deliveries": found[:PAGE],
        "older": wanted.query(found[PAGE - 1].pk) if len(found) > PAGE else "",
    }
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/webhooks.html", context)


def load_endpoints(tenant_ids: Sequence[int], wanted: Wanted) -> list[WebhookEndpoint]:
    """The endpoints in use, those that are paused first, each with the number of deliveries that wait."""
    own = WebhookEndpoint.objects.filter(customer__tenant__in=tenant_ids, deleted_at=None)
    if wanted.customer is not None:
        own = own.filter(customer=wanted.customer)
    if wanted.endpoint is not None:
        own = own.filter(pk=wanted.endpoint)
    waiting = Count("deliveries", filter=Q(deliveries__state=State.WAITING))
    by_need = own.annotate(waiting=waiting).order_by("-pause", "pk").select_related("customer__tenant")
    return list(by_need[:MOST_ENDPOINTS])


def select_deliveries(tenant_ids: Sequence[int], wanted: Wanted) -> QuerySet[WebhookDelivery]:
    """What is shown, newest first; also of endpoints that were deleted."""
    rows = WebhookDelivery.objects.filter(endpoint__customer__tenant__in=tenant_ids)
    if wanted.state:
        rows = rows.filter(state=wanted.state)
    if wanted.customer is not None:
        rows = rows.filter(endpoint__customer=wanted.customer)
    if wanted.endpoint is not None:
        rows = rows.filter(endpoint=wanted.endpoint)
    if wanted.before is not None:
        rows = rows.filter(pk__lt=wanted.before)
    return rows.select_related("event", "endpoint__customer").order_by("-pk")


@never_cache
@login_required
@require_safe
def webhook(request: HttpRequest, delivery_id: int) -> HttpResponse:
    """One delivery with every try."""
    delivery = load_delivery(request, delivery_id)
    tenant_id = delivery.endpoint.customer.tenant_id
    context = {
        "delivery": delivery,
        "tries": delivery.log.order_by("-pk"),
        "may_act": person_of(request).may_operate(tenant_id),
    }
    with timezone.override(zone_of([tenant_id])):
        return render(request, "panel/webhook.html", context)


@never_cache
@login_required
@require_POST
def resend(request: HttpRequest, delivery_id: int) -> HttpResponse:
    """Send it again from the beginning of the ladder, whatever became of it."""
    delivery = load_delivery(request, delivery_id)
    endpoint = delivery.endpoint
    check_may_operate(request, endpoint.customer.tenant_id)
    if endpoint.deleted_at is not None:
        messages.error(request, _("This endpoint was deleted by the customer: nothing is sent there any more."))
    else:
        redeliver(delivery, clock.now())
        log.info("event_resent", message=delivery.message_id, actor=person_of(request).get_username())
        waits = _("It waits until the endpoint is served again.")
        messages.success(request, waits if endpoint.paused_at else _("It is sent again in a moment."))
    return redirect("panel:webhook", delivery_id=delivery.pk)


@never_cache
@login_required
@require_POST
def resume(request: HttpRequest, endpoint_id: int) -> HttpResponse:
    """Serve a paused endpoint again."""
    own = WebhookEndpoint.objects.filter(customer__tenant__in=person_of(request).tenant_ids(), deleted_at=None)
    endpoint = own.select_related("customer").filter(pk=endpoint_id).first()
    if endpoint is None:
        raise Http404
    check_may_operate(request, endpoint.customer.tenant_id)
    endpoints.resume(endpoint)
    log.info("endpoint_served_again", endpoint=endpoint.pk, actor=person_of(request).get_username())
    messages.success(request, _("The endpoint is served again, beginning with what waited."))
    return redirect("panel:webhooks")


def load_delivery(request: HttpRequest, delivery_id: int) -> WebhookDelivery:
    """One delivery of the person's shops; else 404, as if it did not exist."""
    own = WebhookDelivery.objects.filter(endpoint__customer__tenant__in=person_of(request).tenant_ids())
    delivery = own.select_related("event", "endpoint__customer__tenant").filter(pk=delivery_id).first()
    if delivery is None:
        raise Http404
    return delivery
