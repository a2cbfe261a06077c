"""What the client API tells of wallets, products and orders, in the shapes that its document gives them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal

from apps.accounts.models import Customer
from apps.catalog.models import Package
from apps.catalog.prices import groups_of, pick_price
from apps.common.money import Money, format_amount, to_decimal
from apps.orders.decisions import ShownCode, reveal_codes_once
from apps.orders.models import Order, OrderUnit
from apps.orders.refusals import RepeatSuspected
from apps.orders.sellable import CannotSell, Sale, look_at, make_offer
from apps.orders.states import OrderStatus, UnitStatus
from apps.orders.telling import WITH_CODES
from apps.providers.mapping import least_quantity

ORDER_PREFIX = "ID_"

TOLD_STATUS: dict[OrderStatus, str] = {
    OrderStatus.PENDING: "wait",
    OrderStatus.PROCESSING: "wait",
    OrderStatus.REVIEW: "wait",
    OrderStatus.COMPLETED: "accept",
    OrderStatus.PARTIAL: "accept",
    OrderStatus.REJECTED: "reject",
    OrderStatus.CANCELLED: "reject",
    OrderStatus.REFUNDED: "reject",
}
"""`reject` is told only when the customer's money is back; what is in doubt is still in progress."""

CAUSE = "client_api"
"""The door's name in the story of an order."""


def tell_error(code: int, message: str) -> object:
    """Why a request was not served."""
    return {"status": "ERROR", "code": code, "message": message}


def name_first(refused: RepeatSuspected) -> str:
    """Which order is the same, by the id that this door tells, and how to order it again."""
    return (
        f"order {ORDER_PREFIX}{refused.order_id} is the same for the same recipient; "
        f"to order it again, send repeat={refused.next_repeat}"
    )


def tell_profile(balance: Money) -> object:
    """The balance as text with three decimals at least; the key has no e-mail address and no second factor."""
    return {"balance": format_amount(balance.micros, 3), "email": "", "towFactor": False}


def tell_categories(packages: Sequence[Package]) -> object:
    """One category for each product."""
    products = {package.product_id: package.product for package in packages}
    return [{"id": pk, "name": product.name, "img": ""} for pk, product in products.items()]


def tell_products(packages: Sequence[Package], customer: Customer, now: datetime, *, is_base: bool) -> object:
    """The packages that have a price for this customer, or all of them by id and name alone."""
    if is_base:
        return [{"id": package.pk, "name": name_of(package)} for package in packages]
    groups = groups_of(customer)
    told = [(sale.package, *price_of(sale, customer.currency, groups)) for sale in look_at(packages, now)]
    return [_tell_product(package, micros, is_sold=is_sold) for package, micros, is_sold in told if micros]


def price_of(sale: Sale, currency: str, groups: Sequence[int | None]) -> tuple[int, bool]:
    """The price of one unit of the least quantity, and whether it can be had now; 0 where no price is known."""
    quantity = least_quantity(sale.package)
    try:
        return make_offer(sale, currency, groups, quantity).unit_price_micros, True
    except CannotSell:
        fixed = pick_price(sale.prices, groups, currency, quantity)
        return fixed.unit_price_micros if fixed else 0, False


def _tell_product(package: Package, price_micros: int, *, is_sold: bool) -> dict[str, object]:
    price = Decimal(format_amount(price_micros))
    return {
        "id": package.pk,
        "name": name_of(package),
        "price": price,
        "params": [field.name for field in package.product.fields.all()],
        "category_name": package.product.name,
        "available": is_sold,
        "qty_values": quantities_of(package),
        "product_type": "package" if package.quantity_kind == Package.QuantityKind.ONE else "amount",
        "parent_id": package.product_id,
        "base_price": price,
        "category_img": "",
    }


def name_of(package: Package) -> str:
    """Product and package in one name."""
    return f"{package.product.name} {package.name}"


def quantities_of(package: Package) -> object:
    """`null` for one at a time, a list of texts, or a range."""
    kinds = Package.QuantityKind
    rules: dict[str, object] = {
        kinds.ONE: None,
        kinds.LIST: [str(value) for value in package.quantity_values],
        kinds.RANGE: {"min": package.quantity_min, "max": package.quantity_max},
    }
    return rules[package.quantity_kind]


def tell_placed(order: Order, actor: str, now: datetime, *, is_repeated: bool) -> object:
    """An order as `newOrder` tells it: the price is a number, codes are in objects. A repeated UUID is marked as such,
    with what its order was for, so that a buyer notices another product under it."""
    codes = show_codes(order, actor, now)
    first = {"reused": True, "product_id": order.package_id, "quantity": order.quantity} if is_repeated else {}
    told = {
        "order_id": f"{ORDER_PREFIX}{order.pk}",
        "status": TOLD_STATUS[OrderStatus(order.status)],
        "price": Decimal(format_amount(order.price_micros)),
        "data": fields_of(order),
        "replay_api": [{"replay": codes}] if codes else None,
        **first,
    }
    return {"status": "OK", "data": told}


def tell_checked(order: Order, actor: str, now: datetime) -> object:
    """An order as `check` tells it: the price is a text of 16 decimals, codes are a flat list, the time is UTC."""
    quantity, price_micros = part_of(order)
    return {
        "order_id": f"{ORDER_PREFIX}{order.pk}",
        "quantity": quantity,
        "data": fields_of(order),
        "created_at": order.created_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "product_name": f"{order.product_name} {order.package_name}",
        "price": f"{to_decimal(price_micros):.16f}",
        "status": TOLD_STATUS[OrderStatus(order.status)],
        "replay_api": show_codes(order, actor, now) or None,
    }


def part_of(order: Order) -> tuple[int, int]:
    """Units and money of what was sold: of a partly delivered order the part that was delivered and paid."""
    if order.status != OrderStatus.PARTIAL:
        return order.quantity, order.price_micros
    units = OrderUnit.objects.filter(order=order, status=UnitStatus.CAPTURED).values_list("amount_micros", flat=True)
    return len(units), sum(units)


def fields_of(order: Order) -> dict[str, str]:
    """What the buyer gave, by the product's names for it."""
    columns = {"user_identifier": order.user_identifier, "extra_field": order.extra_field}
    fields = order.package.product.fields.all()
    given = {field.name: columns.get(field.target, order.params.get(field.name, "")) for field in fields}
    return {name: value for name, value in given.items() if value}


def show_codes(order: Order, actor: str, now: datetime) -> list[str]:
    """The codes of an order that is over, one text each; the story keeps who was shown them first."""
    if order.status not in WITH_CODES:
        return []
    return [as_leaf(code) for code in reveal_codes_once(order, actor, CAUSE, now)]


def as_leaf(code: ShownCode) -> str:
    """A code as one text: with a serial, a PIN or an address beside it, `serial/code/pin/address`."""
    return "/".join(filter(None, (code.serial, code.value, code.pin, code.url)))
