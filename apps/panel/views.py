"""The operator pages: translate a request, call once, translate back. Whoever has no part in a shop gets 404 there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from zoneinfo import ZoneInfo

from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Q
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase, StreamingHttpResponse
from django.shortcuts import render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.accounts.models import Tenant, User
from apps.accounts.view_models import SavedView
from apps.catalog.models import Product
from apps.common import clock
from apps.common.sheets import csv_lines
from apps.orders import local
from apps.orders.decisions.tags import known_tags
from apps.orders.models import Order
from apps.orders.states import OrderStatus
from apps.panel import words
from apps.panel.listing import OPEN, Wanted, file_head, file_rows, load_listing, select_orders
from apps.providers.models import Integration
from apps.providers.stock import Shelf

# --- the list


@never_cache
@login_required
@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """The orders of the person's shops, newest first."""
    person = person_of(request)
    context = {**_list_context(request, person), **_choices(person.tenant_ids())}
    context["may_act"] = bool(person.operated_ids())
    context["saved_views"] = SavedView.objects.filter(user=person).order_by("name")
    with timezone.override(zone_of(person.tenant_ids())):
        return render(request, "panel/orders.html", context)


@never_cache
@login_required
@require_safe
def orders_live(request: HttpRequest) -> HttpResponseBase:
    """The part of the list that changes; 304 when it has not."""
    person = person_of(request)
    context = _list_context(request, person)
    with timezone.override(zone_of(person.tenant_ids())):
        return live(request, "panel/_orders.html", context)


def shops_shown(person: User, wanted: Wanted) -> list[int]:
    """The shops whose orders the list has: the person's own, or their sandboxes where these are asked for."""
    return person.sandbox_ids() if wanted.sandbox else person.tenant_ids()


def _list_context(request: HttpRequest, person: User) -> dict[str, object]:
    wanted = Wanted.read(request.GET)
    tenant_ids = person.tenant_ids()
    return {
        "listing": load_listing(shops_shown(person, wanted), wanted, clock.now(), zone_of(tenant_ids)),
        "low_shelves": low_shelves(tenant_ids),
        "has_shop": bool(tenant_ids),
        "query": wanted.query(before=wanted.before),
        "filter": wanted.query(),
    }


def _choices(tenant_ids: list[int]) -> dict[str, object]:
    """What the filters may be set to."""
    accounts = Integration.objects.filter(tenant_id__in=tenant_ids).order_by("name", "id")
    products = Product.objects.filter(tenant_id__in=tenant_ids).order_by("name", "id")
    return {
        "statuses": [("", _("All orders")), (OPEN, _("All open orders")), *OrderStatus.choices],
        "reasons": words.REASONS.items(),
        "providers": accounts.values_list("pk", "name"),
        "products": products.values_list("pk", "name"),
        "tags": known_tags(tenant_ids),
    }


@never_cache
@login_required
@require_safe
def orders_file(request: HttpRequest) -> StreamingHttpResponse:
    """Every order that the filters let through as CSV, in portions however many there are."""
    wanted = Wanted.read(request.GET)
    tenant_ids = shops_shown(person_of(request), wanted)
    zone = zone_of(tenant_ids)
    found = select_orders(tenant_ids, wanted, clock.now(), zone)
    return StreamingHttpResponse(
        csv_lines(file_head(), file_rows(found, zone)),
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="orders.csv"'},
    )


def low_shelves(tenant_ids: list[int]) -> list[Shelf]:
    """Shelves of these shops from which a package is to come although little or nothing is there."""
    accounts = Integration.objects.filter(tenant_id__in=tenant_ids, is_enabled=True)
    return [shelf for shelf in local.load_shelves(accounts, clock.now()) if shelf.is_low]


# --- what the pages share


def person_of(request: HttpRequest) -> User:
    """Who is signed in. Raises `PermissionDenied` for nobody."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def load_order(request: HttpRequest, order_id: int) -> Order:
    """The order, if it belongs to one of the person's shops or their sandboxes; else 404, as if it did not exist."""
    own = person_of(request).tenant_ids()
    mine = Order.objects.filter(Q(tenant_id__in=own) | Q(tenant__sandbox_of__in=own))
    found = mine.select_related("tenant", "customer").filter(pk=order_id).first()
    if found is None:
        raise Http404
    return found


def check_may_operate(request: HttpRequest, tenant_id: int) -> None:
    """Raise `PermissionDenied` for a viewer of the shop."""
    if not person_of(request).may_operate(tenant_id):
        raise PermissionDenied


def as_file(name: str, head: Sequence[str], rows: Iterable[Sequence[str]]) -> HttpResponse:
    """A CSV file to keep."""
    disposition = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse("".join(csv_lines(head, rows)), content_type="text/csv; charset=utf-8", headers=disposition)


def zone_of(tenant_ids: list[int]) -> tzinfo:
    """The time zone that these shops share, else UTC."""
    names = set(Tenant.objects.filter(pk__in=tenant_ids).values_list("timezone", flat=True))
    try:
        return ZoneInfo(names.pop() if len(names) == 1 else "UTC")
    except (KeyError, ValueError, OSError):  # unknown, or no name of a zone at all
        return ZoneInfo("UTC")


def live(request: HttpRequest, template: str, context: Mapping[str, object]) -> HttpResponseBase:
    """A part of a page with a validator, so that an unchanged one costs 304."""
    html = render_to_string(template, dict(context), request)
    response = HttpResponse(html)
    etag = quote_etag(hashlib.sha256(html.encode()).hexdigest()[:32])
    response["ETag"] = etag
    return get_conditional_response(request, etag=etag, response=response) or response
