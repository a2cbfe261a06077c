"""Placing an order for a customer by hand, through the same door as every machine."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import get_language, gettext_lazy
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from apps.accounts.models import Customer
from apps.catalog.models import InputField, Package
from apps.common import clock
from apps.common.money import Money
from apps.orders import machine
from apps.orders.creation import Created, NewOrder, create_order
from apps.orders.offers import load_offer
from apps.orders.refusals import OrderRefused, RepeatSuspected
from apps.panel import words
from apps.panel.listing import as_id
from apps.panel.views import person_of

MOST_CUSTOMERS = 500
"""Customers in the list; the others are reached from their wallets."""


class OrderForm(forms.Form):
    """How many, for whom, and what the product wants to know."""

    def __init__(self, *args: Any, package: Package, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.package = package
        self.fields["quantity"] = forms.IntegerField(
            label=_("Quantity"), min_value=1, initial=package.quantity_min, widget=forms.NumberInput({"dir": "ltr"})
        )
        for wanted in package.product.fields.all():
            self.fields[f"field_{wanted.name}"] = forms.CharField(
                label=label_of(wanted),
                required=wanted.required,
                max_length=200,
                widget=forms.TextInput({"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}),
            )
        self.fields["client_reference"] = forms.CharField(
            label=gettext_lazy("The customer's reference"), required=False, max_length=120
        )
        self.fields["is_again"] = forms.BooleanField(
            label=gettext_lazy("The same again for the same recipient is meant"), required=False
        )

    def new_order(self, repeat: int) -> NewOrder:
        """What was typed, for the one door."""
        typed = self.cleaned_data
        given = {name.removeprefix("field_"): text for name, text in self._given() if text}
        return NewOrder(
            self.package.code,
            typed["quantity"],
            given,
            client_reference=typed["client_reference"] or None,
            repeat=repeat,
        )

    def _given(self) -> Iterator[tuple[str, str]]:
        return ((name, text) for name, text in self.cleaned_data.items() if name.startswith("field_"))

    def blame(self, refused: OrderRefused) -> None:
        """Show beside its field what the hub objects to."""
        pointer = refused.pointer.removeprefix("/").replace("fields/", "field_")
        text = words.say(words.REFUSED_ORDERS, refused.code)
        self.add_error(pointer if pointer in self.fields else None, f"{text} ({refused})")


def label_of(wanted: InputField) -> str:
    """The field's label in the language of the page."""
    told = {"ar": wanted.label_ar, "tr": wanted.label_tr}.get(get_language() or "", "")
    return told or wanted.label


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def order_new(request: HttpRequest) -> HttpResponse:
    """Choose customer and package; then the form with its price; a post places the order."""
    person = person_of(request)
    shops = person.operated_ids()
    customer, package = _chosen(request, shops)
    if customer is None or package is None:
        return render(request, "panel/order_new.html", {"choices": _choices(shops), "customer": customer})
    if request.method == "POST":
        return _place(request, customer, package)
    return _page(request, customer, package, OrderForm(package=package), secrets.token_hex(16))


def _chosen(request: HttpRequest, shops: list[int]) -> tuple[Customer | None, Package | None]:
    """The customer and the package of the address; 404 for those of another shop, or of two."""
    customer_id, package_id = as_id(request.GET.get("customer", "")), as_id(request.GET.get("package", ""))
    customer = _load(Customer.objects.filter(tenant_id__in=shops), customer_id)
    package = _load(Package.objects.filter(tenant_id__in=shops, is_active=True).select_related("product"), package_id)
    if customer is not None and package is not None and customer.tenant_id != package.tenant_id:
        raise Http404
    return customer, package


def _load(found: Any, wanted: int | None) -> Any:
    if wanted is None:
        return None
    one = found.filter(pk=wanted).first()
    if one is None:
        raise Http404
    return one


def _choices(shops: list[int]) -> dict[str, object]:
    customers = Customer.objects.filter(tenant_id__in=shops).order_by("name", "id")
    packages = Package.objects.filter(tenant_id__in=shops, is_active=True, product__is_active=True)
    return {
        "customers": customers[:MOST_CUSTOMERS],
        "packages": packages.select_related("product").order_by("product__name", "name", "id"),
    }


def _place(request: HttpRequest, customer: Customer, package: Package) -> HttpResponse:
    """Place it, if its price is the one that was seen. The key makes two clicks one order."""
    form, key = OrderForm(request.POST, package=package), request.POST.get("key", "")
    if not form.is_valid():
        return _page(request, customer, package, form, key, status=422)
    price = _price(customer, package)
    if isinstance(price, str) or str(price.micros) != request.POST.get("seen", ""):
        return _page(request, customer, package, form, key, status=409)
    try:
        created = _create(request, customer, form, f"panel-{key}")
    except OrderRefused as refused:
        form.blame(refused)
        return _page(request, customer, package, form, key, status=422)
    messages.success(request, _("The order was placed."))
    return redirect("panel:order", order_id=created.order.pk)


def _create(request: HttpRequest, customer: Customer, form: OrderForm, key: str) -> Created:
    """The order with the name of who placed it, in one transaction."""
    person, now = person_of(request), clock.now()
    with transaction.atomic():
        try:
            created = create_order(customer, form.new_order(0), key, now)
        except RepeatSuspected as suspected:
            if not form.cleaned_data["is_again"]:
                raise
            created = create_order(customer, form.new_order(suspected.next_repeat), key, now)
        if not created.is_replay:
            machine.record_story(created.order, "placed_by_hand", "panel", now, actor=person.get_username()[:80])
    return created


def _price(customer: Customer, package: Package) -> Money | str:
    """The price of one unit, or why there is none."""
    try:
        offer = load_offer(customer, package, package.quantity_min, None, clock.now())
    except OrderRefused as refused:
        return f"{words.say(words.REFUSED_ORDERS, refused.code)} ({refused})"
    return Money(offer.unit_price_micros, customer.currency)


def _page(
    request: HttpRequest, customer: Customer, package: Package, form: OrderForm, key: str, status: int = 200
) -> HttpResponse:
    price = _price(customer, package)
    context = {
        "customer": customer,
        "package": package,
        "form": form,
        "key": key,
        "price": None if isinstance(price, str) else price,
        "no_price": price if isinstance(price, str) else "",
        "is_changed": status == 409,
    }
    return render(request, "panel/order_new.html", context, status=status)
