"""The operator pages: translate a request, call once, translate back. Whoever has no part in a shop gets 404 there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import tzinfo
from zoneinfo import ZoneInfo

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.template.loader import render_to_string
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.utils.http import quote_etag
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.models import Tenant, User
from apps.common import clock
from apps.common.sheets import csv_lines
from apps.orders import local
from apps.orders.chains import links_of
from apps.orders.decisions import DecisionRefused, Said, ask_again, refund, reveal_codes
from apps.orders.models import Order
from apps.orders.states import OrderStatus
from apps.panel.listing import OPEN, Wanted, load_listing
from apps.panel.story import load_story
from apps.panel.words import answer_in_words
from apps.providers.models import Integration
from apps.providers.stock import Shelf

# --- the list


@never_cache
@login_required
@require_safe
def orders(request: HttpRequest) -> HttpResponse:
    """The orders of the person's shops, newest first."""
    person = person_of(request)
    context = _list_context(request, person)
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


def _list_context(request: HttpRequest, person: User) -> dict[str, object]:
    wanted = Wanted.read(request.GET)
    tenant_ids = person.tenant_ids()
    return {
        "listing": load_listing(tenant_ids, wanted),
        "low_shelves": low_shelves(tenant_ids),
        "has_shop": bool(tenant_ids),
        "query": wanted.query(before=wanted.before),
        "statuses": [("", _("All orders")), (OPEN, _("All open orders")), *OrderStatus.choices],
    }


def low_shelves(tenant_ids: list[int]) -> list[Shelf]:
    """Shelves of these shops from which a package is to come although little or nothing is there."""
    accounts = Integration.objects.filter(tenant_id__in=tenant_ids, is_enabled=True)
    return [shelf for shelf in local.load_shelves(accounts, clock.now()) if shelf.is_low]


# --- one order


@never_cache
@login_required
@require_safe
def order(request: HttpRequest, order_id: int) -> HttpResponse:
    """The story of one order."""
    found = load_order(request, order_id)
    with timezone.override(zone_of([found.tenant_id])):
        return render(request, "panel/order.html", _order_context(request, found))


@never_cache
@login_required
@require_safe
def order_live(request: HttpRequest, order_id: int) -> HttpResponseBase:
    """The part of the story that changes; 304 when it has not."""
    found = load_order(request, order_id)
    with timezone.override(zone_of([found.tenant_id])):
        return live(request, "panel/_order.html", _order_context(request, found))


def _order_context(request: HttpRequest, found: Order) -> dict[str, object]:
    person = person_of(request)
    return {
        "links": links_of(found) if person.is_superuser else None,
        "story": load_story(found, clock.now()),
        "order": found,
        "may_act": person.may_operate(found.tenant_id),
    }


@never_cache
@login_required
@require_POST
def ask(request: HttpRequest, order_id: int) -> HttpResponse:
    """Ask again now, and say what came of it."""
    found = load_order(request, order_id)
    check_may_operate(request, found.tenant_id)
    answer = ask_again(found.pk, person_of(request).get_username(), clock.now())
    level = messages.SUCCESS if answer.said in (Said.SENT, Said.ASKED) else messages.INFO
    messages.add_message(request, level, answer_in_words(answer.said, answer.word))
    return redirect("panel:order", order_id=found.pk)


@never_cache
@login_required
@require_POST
@sensitive_variables("shown")
def reveal(request: HttpRequest, order_id: int) -> HttpResponse:
    """The order's codes in clear, once: this answer only, stored nowhere."""
    found = load_order(request, order_id)
    check_may_operate(request, found.tenant_id)
    shown = reveal_codes(found, person_of(request).get_username(), "panel", clock.now())
    with timezone.override(zone_of([found.tenant_id])):
        return render(request, "panel/order.html", {**_order_context(request, found), "shown": shown})


@never_cache
@login_required
@require_POST
def give_back(request: HttpRequest, order_id: int) -> HttpResponse:
    """Give the customer the money of a delivered order back; the goods stay where they are."""
    found = load_order(request, order_id)
    check_may_operate(request, found.tenant_id)
    reason = request.POST.get("reason", "").strip()
    if not reason or len(reason) > 200 or not reason.isprintable():
        messages.error(request, _("Give a reason of at most 200 characters, in one line."))
        return redirect("panel:order", order_id=found.pk)
    try:
        if refund(found.pk, person_of(request).get_username(), reason, clock.now()):
            messages.success(request, _("The money is back in the customer's wallet."))
        else:
            messages.info(request, _("There is nothing to give back."))
    except DecisionRefused as refused:
        messages.error(request, str(refused))
    return redirect("panel:order", order_id=found.pk)


# --- what the pages share


def person_of(request: HttpRequest) -> User:
    """Who is signed in. Raises `PermissionDenied` for nobody."""
    if not isinstance(request.user, User):
        raise PermissionDenied
    return request.user


def load_order(request: HttpRequest, order_id: int) -> Order:
    """The order, if it belongs to one of the person's shops; else 404, as if it did not exist."""
    own = Order.objects.filter(tenant_id__in=person_of(request).tenant_ids())
    found = own.select_related("tenant", "customer").filter(pk=order_id).first()
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
