"""What the SMM door tells of wallets, services and orders, in the JSON that panels of version 2 answer with."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from apps.accounts.models import Customer
from apps.api.client_api_shapes import part_of, price_of
from apps.catalog.models import InputField, Package
from apps.catalog.prices import groups_of
from apps.common.money import Money, format_amount
from apps.orders.models import Order
from apps.orders.sellable import look_at
from apps.orders.states import OrderStatus
from apps.providers.adapters.smm_v2 import BUYER_PARAMS

PER = 1000
"""Rates are for so many units."""

TOLD_STATUS: dict[OrderStatus, str] = {
    OrderStatus.PENDING: "Pending",
    OrderStatus.PROCESSING: "In progress",
    OrderStatus.REVIEW: "In progress",
    OrderStatus.COMPLETED: "Completed",
    OrderStatus.PARTIAL: "Partial",
    OrderStatus.REJECTED: "Canceled",
    OrderStatus.CANCELLED: "Canceled",
    OrderStatus.REFUNDED: "Canceled",
}
"""`Canceled` is told only when the customer's money is back; what is in doubt is still in progress."""


def tell_error(text: str) -> dict[str, object]:
    """Why a request was not served."""
    return {"error": text}


def tell_balance(balance: Money) -> object:
    """The wallet."""
    return {"balance": format_amount(balance.micros), "currency": balance.currency}


def tell_services(packages: Sequence[Package], customer: Customer, now: datetime) -> object:
    """The packages that this protocol can sell and that have a price for this customer."""
    groups = groups_of(customer)
    sales = look_at([package for package in packages if link_of(package)], now)
    told = [(sale.package, price_of(sale, customer.currency, groups)[0]) for sale in sales]
    return [_tell_service(package, price) for package, price in told if price]


def link_of(package: Package) -> str:
    """The name of the field that takes the `link`; empty for a package that cannot be sold here.

    Nothing here has a code, and a buyer can say no more than the link and the parameters of the protocol.
    """
    fields = list(package.product.fields.all())
    links = [field.name for field in fields if field.target == InputField.Target.USER_IDENTIFIER]
    others = {field.name for field in fields if field.required and field.name not in links}
    return links[0] if links and others <= set(BUYER_PARAMS) and not package.product.needs_code else ""


def _tell_service(package: Package, price_micros: int) -> dict[str, object]:
    allowed = package.quantities()
    return {
        "service": package.pk,
        "name": package.name,
        "type": "Package" if package.quantity_kind == Package.QuantityKind.ONE else "Default",
        "category": package.product.name,
        "rate": format_amount(price_micros * PER),
        "min": str(allowed[0]),
        "max": str(allowed[-1]),
        "refill": False,
        "cancel": False,
    }


def tell_status(order: Order) -> dict[str, object]:
    """An order's state. `charge` is what it costs: nothing once the money is back, of a part the part's share."""
    status = TOLD_STATUS[OrderStatus(order.status)]
    delivered, charge = part_of(order)
    remains = {"Completed": 0, "Partial": order.quantity - delivered}.get(status, order.quantity)
    return {
        "charge": format_amount(0 if status == "Canceled" else charge),
        "start_count": None,
        "status": status,
        "remains": str(remains),
        "currency": order.currency,
    }
