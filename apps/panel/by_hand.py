"""The pages of people who fulfil by hand: the queue, and one order with what was delivered for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.admin_base import AmountField
from apps.common import clock
from apps.orders import manual
from apps.orders.manual import BadEntry, Delivery, HeldByAnother, NotTaken, NotWaiting, Task
from apps.orders.models import Attempt
from apps.panel import words
from apps.panel.views import check_may_operate, person_of, zone_of
from apps.providers.contract import Code

PLAIN = {"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}


class DeliveryForm(forms.Form):
    """A code for each unit where the product has codes, a proof, and what all of it cost."""

    proof = forms.CharField(label=_("Proof or receipt"), required=False, max_length=manual.LONGEST_TEXT)
    cost = AmountField(label=_("What it cost"), min_value=Decimal(0))

    def __init__(self, *args: Any, task: Task, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.units = range(1, task.units + 1) if task.order.needs_code else range(0)
        for n in self.units:
            self.fields[f"code_{n}"] = _code_field(_("Code"), required=True)
            self.fields[f"serial_{n}"] = _code_field(_("Serial number"), required=False)

    def rows(self) -> Iterator[tuple[int, forms.BoundField, forms.BoundField]]:
        """The number of each unit with its two fields."""
        return ((n, self[f"code_{n}"], self[f"serial_{n}"]) for n in self.units)

    def delivery(self) -> Delivery:
        """What was typed."""
        typed = self.cleaned_data
        codes = tuple(Code(typed[f"code_{n}"], serial=typed[f"serial_{n}"]) for n in self.units)
        return Delivery(codes, typed["proof"], typed["cost"])

    def blame(self, error: BadEntry) -> None:
        """Show beside its field what the hub objects to."""
        field = f"code_{error.unit}" if error.unit else {"proof_missing": "proof"}.get(error.reason)
        self.add_error(field, words.say(words.BAD_ENTRIES, error.reason))


class RefusalForm(forms.Form):
    """Why it cannot be delivered."""

    reason = forms.CharField(label=_("Why it cannot be delivered"), max_length=manual.LONGEST_TEXT)


def _code_field(label: Any, *, required: bool) -> forms.CharField:
    return forms.CharField(label=label, required=required, max_length=500, widget=forms.TextInput(attrs=PLAIN))


Page = Callable[[HttpRequest, int], HttpResponse]


def told(page: Page) -> Page:
    """A page about one order; who comes too late, or to somebody else's, is told so in the queue."""

    @functools.wraps(page)
    def wrapper(request: HttpRequest, attempt_id: int) -> HttpResponse:
        try:
            return page(request, attempt_id)
        except NotTaken as error:
            messages.warning(request, _why_not(error))
            return redirect("panel:tasks")

    return wrapper


def _why_not(error: NotTaken) -> str:
    match error:
        case NotWaiting():
            return gettext("Somebody has answered this order already. Nothing was changed.")
        case HeldByAnother(holder=""):
            return gettext("Take the order first. Nothing was changed.")
        case HeldByAnother():
            return gettext("%(name)s works on this order. Nothing was changed.") % {"name": error.holder}
        case _:
            return gettext("It could not be stored. Nothing was changed: try again.")


# --- pages


@never_cache
@login_required
@require_safe
def tasks(request: HttpRequest) -> HttpResponse:
    """Every order that waits for a person, oldest first."""
    tenant_ids = person_of(request).tenant_ids()
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/tasks.html", {"tasks": manual.load_tasks(tenant_ids)})


@never_cache
@login_required
@require_safe
@told
def task(request: HttpRequest, attempt_id: int) -> HttpResponse:
    """One of them, with the forms for its answer."""
    found = load_task(request, attempt_id)
    return _page(request, found, DeliveryForm(task=found), RefusalForm())


@never_cache
@login_required
@require_POST
@told
def claim(request: HttpRequest, attempt_id: int) -> HttpResponse:
    """Work on it from now on."""
    found = load_own(request, attempt_id)
    manual.claim(found.attempt.pk, _me(request), request.POST.get("holder", ""), clock.now())
    return redirect("panel:task", attempt_id=found.attempt.pk)


@never_cache
@login_required
@require_POST
@sensitive_post_parameters()
@sensitive_variables("form")
@told
def deliver(request: HttpRequest, attempt_id: int) -> HttpResponse:
    """Enter what was delivered."""
    found = load_own(request, attempt_id)
    form = DeliveryForm(request.POST, task=found)
    if not form.is_valid():
        return _page(request, found, form, RefusalForm())
    try:
        manual.deliver(found.attempt.pk, _me(request), form.delivery(), clock.now())
    except BadEntry as error:
        form.blame(error)
        return _page(request, found, form, RefusalForm())
    messages.success(request, _("Delivered."))
    return redirect("panel:order", order_id=found.order.pk)


@never_cache
@login_required
@require_POST
@told
def refuse(request: HttpRequest, attempt_id: int) -> HttpResponse:
    """Say that it cannot be delivered."""
    found = load_own(request, attempt_id)
    form = RefusalForm(request.POST)
    if not form.is_valid():
        return _page(request, found, DeliveryForm(task=found), form)
    manual.refuse(found.attempt.pk, _me(request), form.cleaned_data["reason"], clock.now())
    messages.success(request, _("Refused. It goes to the next route, or the money goes back."))
    return redirect("panel:order", order_id=found.order.pk)


# --- what they share


def load_task(request: HttpRequest, attempt_id: int) -> Task:
    """The task of one of the person's shops, else 404. Raises `NotWaiting` for one that is answered."""
    tenant_ids = person_of(request).tenant_ids()
    found = manual.get_task(attempt_id, tenant_ids)
    if found is not None:
        return found
    if Attempt.objects.filter(pk=attempt_id, kind=manual.KIND, order__tenant_id__in=tenant_ids).exists():
        raise NotWaiting
    raise Http404


def load_own(request: HttpRequest, attempt_id: int) -> Task:
    """The same for somebody who may act on it."""
    found = load_task(request, attempt_id)
    check_may_operate(request, found.order.tenant_id)
    return found


def _me(request: HttpRequest) -> str:
    return person_of(request).get_username()


def _page(request: HttpRequest, found: Task, delivery: DeliveryForm, refusal: RefusalForm) -> HttpResponse:
    context = {
        "task": found,
        "order": found.order,
        "delivery": delivery,
        "refusal": refusal,
        "is_mine": found.holder == _me(request)[: manual.LONGEST_NAME],
        "may_act": person_of(request).may_operate(found.order.tenant_id),
    }
    with timezone.override(zone_of([found.order.tenant_id])):
        return render(request, "panel/task.html", context)
