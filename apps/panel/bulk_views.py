"""One decision about all orders that a filter lets through: dry run, start, progress, and the end of the rest."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.models import Tenant, User
from apps.common import clock
from apps.common.money import Money
from apps.orders.bulk_models import BulkAction, BulkRow
from apps.orders.decisions import BadInput, DecisionRefused, Said, bulk, tags
from apps.panel import words
from apps.panel.listing import Wanted, select_orders
from apps.panel.provider_views import paging, start_of
from apps.panel.providing import PAGE
from apps.panel.views import check_may_operate, live, person_of, zone_of

State, Status = BulkRow.State, BulkAction.Status


class BulkForm(forms.Form):
    """What is done, in which shop, and why."""

    tenant = forms.ModelChoiceField(Tenant.objects.none(), label=gettext_lazy("Shop"), empty_label=None)
    kind = forms.ChoiceField(
        label=gettext_lazy("What is done with each order"), choices=BulkAction.Kind.choices, widget=forms.RadioSelect
    )
    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=180, widget=forms.TextInput(attrs={"dir": "auto"})
    )

    tag = forms.CharField(
        label=gettext_lazy("The tag that is put on or taken off"),
        max_length=tags.LONGEST,
        required=False,
        widget=forms.TextInput(attrs={"dir": "auto", "list": "known-tags", "autocomplete": "off"}),
    )

    def __init__(self, *args: Any, shops: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["tenant"]
        assert isinstance(field, forms.ModelChoiceField)  # noqa: S101 - for the types
        field.queryset = Tenant.objects.filter(pk__in=shops).order_by("name")


@never_cache
@login_required
@require_safe
def bulk_actions(request: HttpRequest) -> HttpResponse:
    """Every bulk action of the person's shops, the newest first; another's dry run is nobody else's matter."""
    person, tenant_ids = person_of(request), person_of(request).tenant_ids()
    found = BulkAction.objects.filter(tenant_id__in=tenant_ids).select_related("tenant", "asked_by")
    rows = [one for one in found.order_by("-pk")[:PAGE] if one.status != Status.DRAFT or one.asked_by_id == person.pk]
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/bulk_actions.html", {"rows": rows})


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def bulk_new(request: HttpRequest) -> HttpResponse:
    """Asks what to do with the orders of a filter; a post makes the dry run, which does nothing yet."""
    person, now = person_of(request), clock.now()
    shops, wanted = person.operated_ids(), Wanted.read(request.GET)
    found = select_orders(shops, wanted, now, zone_of(person.tenant_ids()))
    if not shops:
        raise PermissionDenied
    form = BulkForm(request.POST or None, shops=shops, initial={"tenant": shops[0]})
    if request.method == "POST" and form.is_valid():
        typed = form.cleaned_data
        ids = list(found.filter(tenant=typed["tenant"]).order_by("pk").values_list("pk", flat=True)[: bulk.MOST + 1])
        try:
            made = bulk.draft(
                typed["kind"], typed["tenant"], ids, person, typed["reason"], wanted.query(), now, tag=typed["tag"]
            )
            return redirect("panel:bulk", bulk_id=made.pk)
        except DecisionRefused as refused:
            form.add_error("tag" if isinstance(refused, BadInput) and refused.field == "tag" else None, str(refused))
    context = {
        "form": form,
        "count": found.count(),
        "most": bulk.MOST,
        "filter": wanted.query(),
        "known_tags": tags.known_tags(shops),
    }
    return render(request, "panel/bulk_new.html", context, status=422 if form.errors else 200)


@never_cache
@login_required
@require_safe
def bulk_page(request: HttpRequest, bulk_id: int) -> HttpResponse:
    """The dry run, or how far it is, with what came of each order."""
    found = load_bulk(request, bulk_id)
    start, state = start_of(request), request.GET.get("state", "")
    rows = found.rows.select_related("order").order_by("pk")
    if state in State.values:
        rows = rows.filter(state=state)
    page = [(row, said_of(row), money_of(row)) for row in rows[start : start + PAGE]]
    context = {
        **_context(request, found),
        "rows": page,
        "states": State.choices,
        "state": state,
        **paging(start, rows.count(), {"state": state}),
    }
    with timezone.override(zone_of([found.tenant_id])):
        return render(request, "panel/bulk.html", context)


@never_cache
@login_required
@require_safe
def bulk_live(request: HttpRequest, bulk_id: int) -> HttpResponseBase:
    """The part of the page that changes; 304 when it has not."""
    found = load_bulk(request, bulk_id)
    with timezone.override(zone_of([found.tenant_id])):
        return live(request, "panel/_bulk.html", _context(request, found))


def _context(request: HttpRequest, found: BulkAction) -> dict[str, object]:
    person, counted = person_of(request), bulk.counts(found)
    part = sum(counted.values()) - counted[State.EXCLUDED]
    return {
        "bulk": found,
        "counted": [(label, counted[state], state) for state, label in State.choices if counted[state]],
        "part": part,
        "decided": part - counted[State.PENDING],
        "excluded": counted[State.EXCLUDED],
        "totals": bulk.totals(found),
        "needs_two": bulk.needs_two(found),
        "may_act": person.may_operate(found.tenant_id),
        "is_own": found.asked_by_id == person.pk,
        "is_ended": found.status in (Status.DONE, Status.CANCELLED),
        "done": counted[State.DONE],
        "can_undo": bulk.can_undo(found, clock.now()),
    }


def said_of(row: BulkRow) -> str:
    """What came of an order, in words."""
    return words.answer_in_words(Said(row.said), "") if row.said in words.ANSWERS else row.said


def money_of(row: BulkRow) -> Money | None:
    """The money that hung on it."""
    return None if row.amount_micros is None else Money(row.amount_micros, row.currency)


@never_cache
@login_required
@require_POST
def bulk_decide(request: HttpRequest, bulk_id: int, step: str) -> HttpResponse:
    """Start the dry run, confirm somebody else's, cancel what is left, or make a dry run that takes it back."""
    found, act = load_bulk(request, bulk_id), STEPS.get(step)
    if act is None:
        raise Http404
    check_may_operate(request, found.tenant_id)
    try:
        found = act(found.pk, person_of(request), clock.now())
    except DecisionRefused as refused:
        messages.error(request, str(refused))
    return redirect("panel:bulk", bulk_id=found.pk)


STEPS: dict[str, Callable[..., BulkAction]] = {
    "start": bulk.start,
    "confirm": bulk.confirm,
    "cancel": bulk.cancel,
    "undo": bulk.undo,
}


def load_bulk(request: HttpRequest, bulk_id: int) -> BulkAction:
    """The action, if it belongs to one of the person's shops and is no other person's dry run; else 404."""
    person: User = person_of(request)
    own = BulkAction.objects.filter(tenant_id__in=person.tenant_ids())
    found = own.select_related("tenant", "asked_by", "confirmed_by", "ended_by").filter(pk=bulk_id).first()
    if found is None or (found.status == Status.DRAFT and found.asked_by_id != person.pk):
        raise Http404
    return found
