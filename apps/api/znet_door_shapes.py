"""What the ZNET door tells of wallets, products and orders: lines of text split by `|`, for airtime by `:` and `^`."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from urllib.parse import quote

from apps.accounts.models import Customer
from apps.api.client_api_shapes import as_leaf, name_of, price_of
from apps.catalog.models import Package
from apps.catalog.prices import groups_of
from apps.common.money import Money, format_amount
from apps.orders.decisions import reveal_codes_once
from apps.orders.models import Order
from apps.orders.sellable import look_at
from apps.orders.states import OrderStatus
from apps.orders.telling import WITH_CODES

CAUSE = "znet"
"""The door's name in the story of an order."""

WAITING, DELIVERED, CANCELLED = "1", "2", "3"
"""States of `pin_kontrol`."""

TL_LOADED, TL_IN_PROGRESS, TL_CANCELLED = "1", "2", "3"
"""States of `tl_kontrol`: the same numbers with other meanings."""

TOLD_STATE: dict[OrderStatus, str] = {
    OrderStatus.PENDING: WAITING,
    OrderStatus.PROCESSING: WAITING,
    OrderStatus.REVIEW: WAITING,
    OrderStatus.COMPLETED: DELIVERED,
    OrderStatus.PARTIAL: DELIVERED,
    OrderStatus.REJECTED: CANCELLED,
    OrderStatus.CANCELLED: CANCELLED,
    OrderStatus.REFUNDED: CANCELLED,
}
"""`3` is told only when the customer's money is back; what is in doubt is still waiting."""

SAID = {WAITING: "İşlemde", DELIVERED: "Yüklendi", CANCELLED: "İptal edildi"}
"""The description of each state. Our own reasons name suppliers and stay inside."""

TL_STATE = {
    WAITING: f"{TL_IN_PROGRESS}:islemde",
    DELIVERED: f"{TL_LOADED}:olumlu_islem",
    CANCELLED: f"{TL_CANCELLED}:{SAID[CANCELLED]}",
}

NO_PIN = " "
"""What stands where a PIN would, when there is none."""

OPERATORS = ("turkcell", "vodafone", "avea", "callback")
"""The operators that airtime clients know."""

CURRENCY_WORDS = {"TRY": "TL"}
"""Currencies whose name in `para_birimi` is not their code."""

_AIRTIME_CODE = re.compile(rf"({'|'.join(OPERATORS)})-([a-z0-9]+)-([0-9]+)", re.IGNORECASE)


def tell_balance(balance: Money) -> str:
    """The money of the wallet; where it is below zero a third field has the debt."""
    if balance.micros < 0:
        return f"OK|0.00|{format_amount(-balance.micros)}"
    return f"OK|{format_amount(balance.micros)}"


def tell_taken(order: Order, balance: Money) -> str:
    """An order as `pin_ekle` tells it: taken, its price, and what is left in the wallet."""
    return f"OK|{format_amount(order.price_micros)}|{format_amount(max(balance.micros, 0))}"


def tell_state(order: Order, actor: str, now: datetime) -> str:
    """An order as `pin_kontrol` tells it. The story keeps who was shown its codes first."""
    state = TOLD_STATE[OrderStatus(order.status)]
    return join_state(state, show_codes(order, actor, now), SAID[state])


def tell_on_its_way() -> str:
    """What is told of a reference whose order may still arrive."""
    return join_state(WAITING, "", SAID[WAITING])


def join_state(state: str, pin: str, description: str) -> str:
    """The line of `pin_kontrol`. A PIN with a `|` is url-encoded, and the description with it shows that it is."""
    if "|" in pin:
        pin, description = quote(pin, safe=""), quote(description, safe="")
    return f"OK|{state}|{pin or NO_PIN}|{description}"


def show_codes(order: Order, actor: str, now: datetime) -> str:
    """The codes of an order that is over as one text, with spaces between; nothing for any other order."""
    if order.status not in WITH_CODES:
        return ""
    return " ".join(as_leaf(code) for code in reveal_codes_once(order, actor, CAUSE, now))


def tell_loading(order: Order) -> str:
    """An order as `tl_kontrol` tells it: state, text, cost."""
    state = TL_STATE[TOLD_STATE[OrderStatus(order.status)]]
    return state if state.startswith(TL_CANCELLED) else f"{state}:{format_amount(order.price_micros)}"


def tell_loading_on_its_way() -> str:
    """The same of a reference whose order may still arrive."""
    return f"{TL_STATE[WAITING]}:0.00"


def tell_list(packages: Sequence[Package], customer: Customer, now: datetime) -> str:
    """`pin_listesi`: every package that is sold one at a time and has a price for this customer."""
    rows = [_tell_row(package, price, customer.currency) for package, price in _priced(packages, customer, now)]
    return _dump({"success": True, "result": rows, "error": None})


def tell_no_list(reason: str) -> str:
    """`pin_listesi` when it is refused."""
    return _dump({"success": False, "result": [], "error": reason})


def _dump(document: object) -> str:
    return json.dumps(document, ensure_ascii=False)


def _tell_row(package: Package, price_micros: int, currency: str) -> dict[str, str]:
    return {
        "id": str(package.pk),
        "adi": name_of(package),
        "aciklama": " ".join(field.name for field in package.product.fields.all()),
        "oyun_id": str(package.product_id),
        "oyun_adi": package.product.name,
        "fiyat": format_amount(price_micros),
        "kupur": str(package.pk),
        "oyun_bilgi_id": str(package.product_id),
        "para_birimi": CURRENCY_WORDS.get(currency, currency),
    }


def tell_airtime(packages: Sequence[Package], customer: Customer, now: datetime) -> str:
    """`paket_listesi`: every airtime package with a price, `Operator|tip|kupur|price|name|^`, one on each line."""
    airtime = [package for package in packages if airtime_of(package)]
    return "\r\n".join(_tell_airtime(package, price) for package, price in _priced(airtime, customer, now))


def _tell_airtime(package: Package, price_micros: int) -> str:
    operator, kind, kupur = airtime_of(package)
    return f"{operator.capitalize()}|{kind}|{kupur}|{format_amount(price_micros)}|{_plain(name_of(package))}|^"


def airtime_of(package: Package) -> tuple[str, ...]:
    """`operator`, `tip` and `kontor` in small letters where the package's code says them (`turkcell-tam-100`).

    A package that delivers a PIN is no airtime: the protocol has no place for one.
    """
    code = None if package.product.needs_code else _AIRTIME_CODE.fullmatch(package.code)
    return tuple(part.lower() for part in code.groups()) if code else ()


def _priced(packages: Sequence[Package], customer: Customer, now: datetime) -> list[tuple[Package, int]]:
    """What is sold one at a time, with the customer's price in micro-units; what has none is left out."""
    groups = groups_of(customer)
    single = [package for package in packages if package.allows(1)]
    told = [(sale.package, price_of(sale, customer.currency, groups)[0]) for sale in look_at(single, now)]
    return [(package, price) for package, price in told if price]


def _plain(text: str) -> str:
    """A name without the letters that split these records."""
    return " ".join(re.sub(r"[|^:\r\n]", " ", text).split())
