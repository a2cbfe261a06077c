"""What the doors for other shops' software share: a customer's shelves and orders, and parameters given once."""

from __future__ import annotations

import re

from django.db.models import QuerySet
from django.http import HttpRequest

from apps.accounts.models import Customer
from apps.api.bodies import check_size
from apps.api.problems import BodyTooLarge
from apps.catalog.models import Package
from apps.orders.models import Order

WHOLE = re.compile(r"[0-9]{1,18}")
"""A whole number that every database can hold."""


class Unreadable(Exception):
    """The parameters cannot be read; the text says what to mend."""


def read_params(request: HttpRequest) -> dict[str, str]:
    """The parameters of query and form by name. Raises `Unreadable` for a large form or a name given twice."""
    try:
        check_size(request)
    except BodyTooLarge as error:
        raise Unreadable(error.detail) from error
    lists = [*request.GET.lists(), *request.POST.lists()]
    given = [(name, str(value)) for name, values in lists for value in values]
    if len(dict(given)) != len(given):
        raise Unreadable("send each parameter once")
    return dict(given)


def packages_of(customer: Customer) -> list[Package]:
    """Everything on sale in the customer's shop."""
    packages = Package.objects.select_related("product", "tenant").prefetch_related("product__fields")
    on_sale = packages.filter(tenant_id=customer.tenant_id, is_active=True, product__is_active=True)
    return list(on_sale.order_by("product__name", "pk"))


def find_package(customer: Customer, text: str) -> Package | None:
    """The package of the customer's shop with this id, on sale or not."""
    if not WHOLE.fullmatch(text):
        return None
    packages = Package.objects.select_related("product").prefetch_related("product__fields")
    return packages.filter(tenant_id=customer.tenant_id, pk=int(text)).first()


def orders_of(customer: Customer) -> QuerySet[Order]:
    """The customer's orders with all that is told of each."""
    orders = Order.objects.select_related("package__product").prefetch_related("package__product__fields")
    return orders.filter(customer=customer)


def find_order(customer: Customer, key: str) -> Order | None:
    """The customer's order under this key."""
    return orders_of(customer).filter(idempotency_key=key).first()
