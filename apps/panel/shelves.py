"""The pages of our own stock: how full each shelf is, from when on it counts as low, and new codes from a file."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_variables
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.admin_base import AmountField
from apps.accounts.models import User
from apps.common import clock
from apps.common.money import Money
from apps.orders import local
from apps.orders.evidence import delivered_before
from apps.panel.views import person_of
from apps.providers import stock, stock_files
from apps.providers.models import Integration
from apps.providers.stock_files import ChangedMeanwhile, Reading

SHOWN_FAULTS = 50


class ThresholdForm(forms.Form):
    """From how many codes on a shelf counts as low."""

    account = forms.IntegerField()
    shelf = forms.CharField(max_length=120)
    low_at = forms.IntegerField(min_value=0, max_value=1_000_000)


class ImportForm(forms.Form):
    """A file of codes, and where they go."""

    account = forms.ModelChoiceField(Integration.objects.none(), label=_("Stock account"))
    shelf = forms.CharField(label=_("Shelf"), max_length=120, widget=forms.TextInput(attrs={"dir": "ltr"}))
    batch = forms.CharField(label=_("Batch (optional)"), max_length=80, required=False)
    usual_cost = AmountField(
        label=_("Cost of a code whose line names none (optional)"), min_value=Decimal(0), required=False
    )
    file = forms.FileField(label=_("CSV file"), max_length=255)

    def __init__(self, *args: Any, accounts: list[Integration], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choices = Integration.objects.filter(pk__in=[account.pk for account in accounts])
        self.fields["account"] = forms.ModelChoiceField(choices, label=_("Stock account"))


# --- pages


@never_cache
@login_required
@require_safe
def shelves(request: HttpRequest) -> HttpResponse:
    """Every shelf of the person's shops."""
    person = person_of(request)
    found = local.load_shelves(Integration.objects.filter(tenant_id__in=person.tenant_ids()), clock.now())
    return render(request, "panel/stock.html", {"shelves": found, "may_act": bool(own_accounts(person))})


@never_cache
@login_required
@require_POST
def threshold(request: HttpRequest) -> HttpResponse:
    """Set from when on a shelf counts as low."""
    form = ThresholdForm(request.POST)
    if not form.is_valid():
        messages.warning(request, _("The threshold must be a whole number from 0 on. Nothing was changed."))
        return redirect("panel:stock")
    account = next((one for one in own_accounts(person_of(request)) if one.pk == form.cleaned_data["account"]), None)
    if account is None:
        raise Http404
    stock.set_low_at(account, form.cleaned_data["shelf"], form.cleaned_data["low_at"])
    return redirect("panel:stock")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_variables("reading", "content")
def add_codes(request: HttpRequest) -> HttpResponse:
    """Check a file of codes (a dry run), or put its codes on a shelf: all of them, or none."""
    accounts = own_accounts(person_of(request))
    if not accounts and request.method == "POST":
        raise PermissionDenied
    form = ImportForm(request.POST or None, request.FILES or None, accounts=accounts, initial=request.GET.dict())
    if request.method != "POST" or not form.is_valid():
        return render(request, "panel/stock_import.html", {"form": form, "has_account": bool(accounts)})
    reading = _read(form)
    if not reading.faults and "store" in request.POST and _store(request, form, reading):
        return redirect("panel:stock")
    context = {
        "form": form,
        "has_account": True,
        "reading": reading,
        "faults": reading.faults[:SHOWN_FAULTS],
        "more": max(len(reading.faults) - SHOWN_FAULTS, 0),
        "cost": Money(reading.cost_micros, form.cleaned_data["account"].currency),
    }
    return render(request, "panel/stock_import.html", context)


# --- what they share


def own_accounts(person: User) -> list[Integration]:
    """The stock accounts of the shops in which the person may act."""
    return list(Integration.objects.filter(kind=stock.KIND, tenant_id__in=person.operated_ids()).order_by("name"))


def _read(form: ImportForm) -> Reading:
    account: Integration = form.cleaned_data["account"]
    content: bytes = form.cleaned_data["file"].read(stock_files.MOST_BYTES + 1)
    return stock_files.read_file(
        content,
        tenant_id=account.tenant_id,
        usual_cost_micros=form.cleaned_data["usual_cost"],
        delivered=lambda indexes: delivered_before(account.tenant_id, indexes),
        today=local.today_in(account.tenant, clock.now()),
    )


def _store(request: HttpRequest, form: ImportForm, reading: Reading) -> bool:
    typed = form.cleaned_data
    try:
        stock_files.store(typed["account"], typed["shelf"], typed["batch"], reading.lines, clock.now())
    except ChangedMeanwhile:
        messages.warning(
            request, _("Somebody stored one of these codes a moment ago. Nothing was stored: check again.")
        )
        return False
    told = {"count": len(reading.lines), "shelf": typed["shelf"]}
    messages.success(request, gettext("%(count)d codes are on the shelf %(shelf)s.") % told)
    return True
