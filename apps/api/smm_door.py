"""The selling side of the SMM panels' API of version 2 (`POST /api/v2`): one address, a key, an action, JSON back.

The protocol has no reference of the buyer: a request that is sent twice is two requests, and only the guard against
repeats (`orders/repeats.py`) tells them from two purchases. The shapes are in `smm_door_shapes`.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import URLPattern, path
from django.views.decorators.csrf import csrf_exempt

from apps.accounts.keys import Caller, find_caller
from apps.accounts.models import Customer
from apps.api import smm_door_shapes as shapes
from apps.api.dialects import WHOLE, Unreadable, find_package, orders_of, packages_of, read_params
from apps.catalog.models import Package
from apps.common import clock
from apps.common.logs import get_logger
from apps.orders import creation
from apps.orders.chains import Origin
from apps.orders.creation import NewOrder
from apps.orders.models import Order
from apps.orders.services import create_order
from apps.wallet import ledger

log = get_logger(__name__)

MOST_ORDERS = 100
"""Orders told in one answer; further ones are ignored."""

BAD_KEY = "Invalid API key"
BAD_REQUEST = "Incorrect request"
NO_SERVICE = "neworder.error.service_not_found"
BAD_QUANTITY = "neworder.error.invalid_quantity"
BAD_LINK = "neworder.error.invalid_link"
BAD_FIELD = "Invalid link or parameters"
NO_FUNDS = "neworder.error.not_enough_funds"
SAME_LINK = "neworder.error.link_duplicate"
NOT_NOW = "Not available now, maximum quantity is 0"
NO_ORDER = "Incorrect order ID"
NO_CANCEL = "This order cannot be canceled"
NO_REFILL = "This order cannot be refilled"

REFUSALS: dict[type[creation.OrderRefused], str] = {
    creation.NotEnoughBalance: NO_FUNDS,
    creation.BadField: BAD_FIELD,
    creation.UnknownPackage: NO_SERVICE,
    creation.WrongQuantity: BAD_QUANTITY,
    creation.RepeatSuspected: SAME_LINK,
    creation.NotSellable: NOT_NOW,
    creation.LoopRefused: NOT_NOW,
}
"""What a refused order is called here. Any other refusal is `NOT_NOW`: nothing was written, nobody is named."""

OWN_PARAMS = frozenset({"key", "action", "service", "link", "quantity", "repeat"})
"""Parameters of `add` that are no fields of the product."""

_ID = re.compile(r"[1-9][0-9]{0,17}")


class Refused(Exception):
    """The request is not served; nothing was written."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: whose key it carries, and its parameters, each given once."""

    caller: Caller
    params: Mapping[str, str]

    @property
    def customer(self) -> Customer:
        """Who pays."""
        return self.caller.customer

    def get(self, name: str) -> str:
        """A parameter without the white space around it; empty when it is missing."""
        return self.params.get(name, "").strip()


@csrf_exempt
def door(request: HttpRequest) -> HttpResponse:
    """Find the caller, serve, and tell every error in this protocol's shape. No cookie opens anything here."""
    try:
        return respond(serve(request))
    except Exception as error:
        log.exception("smm_door_failed", path=request.path, error=type(error).__name__)
        return respond(shapes.tell_error("Internal error"), status=500)


def serve(request: HttpRequest) -> object:
    """The answer to a request, also why it is refused."""
    try:
        call = read_call(request)
        action = ACTIONS.get(call.get("action"))
        return action(call) if action else shapes.tell_error(BAD_REQUEST)
    except Refused as refused:
        return shapes.tell_error(str(refused))
    except creation.OrderRefused as refused:
        log.info("order_refused", refusal=refused.code, detail=refused.detail)
        return shapes.tell_error(REFUSALS.get(type(refused), NOT_NOW))


def respond(document: object, status: int = 200) -> HttpResponse:
    """A JSON document of which nobody keeps a copy."""
    response = JsonResponse(document, safe=False, status=status)
    response["Cache-Control"] = "no-store"
    return response


def read_call(request: HttpRequest) -> Call:
    """The caller behind `key`, and the parameters of the form. Raises `Refused`; nothing is read from a GET."""
    if request.method != "POST":
        raise Refused(BAD_REQUEST)
    try:
        params = read_params(request)
    except Unreadable as error:
        raise Refused(BAD_REQUEST) from error
    caller = find_caller(params.get("key", "").strip(), clock.now())
    if caller is None:
        raise Refused(BAD_KEY)
    return Call(caller, params)


def list_services(call: Call) -> object:
    """What the caller may buy here."""
    return shapes.tell_services(packages_of(call.customer), call.customer, clock.now())


def show_balance(call: Call) -> object:
    """The wallet of the caller."""
    return shapes.tell_balance(ledger.balance_of(call.customer.pk, call.customer.currency))


def add_order(call: Call) -> object:
    """Order for a link. The same again for the same link, soon after, is refused unless `repeat` says it is meant."""
    package = find_package(call.customer, call.get("service"))
    link = shapes.link_of(package) if package else ""
    if package is None or not link:
        raise Refused(NO_SERVICE)
    if not call.get("link"):
        raise Refused(BAD_LINK)
    origin = Origin("", call.caller.key_id)
    repeat = read_whole(call.get("repeat") or "0", BAD_REQUEST)
    new = NewOrder(package.code, read_quantity(call, package), read_fields(call, link), repeat=repeat, origin=origin)
    try:
        created = create_order(call.customer, new, f"smm-{uuid.uuid4()}", clock.now())
    except creation.BadField as refused:
        if refused.pointer == f"/fields/{link}":
            raise Refused(BAD_LINK) from refused
        raise
    return {"order": created.order.pk}


def read_quantity(call: Call, package: Package) -> int:
    """The whole number in `quantity`; one where the package is sold one at a time and none is said."""
    is_single = package.quantity_kind == Package.QuantityKind.ONE
    return read_whole(call.get("quantity") or ("1" if is_single else ""), BAD_QUANTITY)


def read_whole(text: str, refusal: str) -> int:
    """A whole number. Raises `Refused` with this refusal."""
    if not WHOLE.fullmatch(text):
        raise Refused(refusal)
    return int(text)


def read_fields(call: Call, link: str) -> dict[str, str]:
    """The product's fields: the link, and every further parameter that is not empty, by its own name.

    What the product does not know is refused by the core, so that nobody believes in `runs` that never come.
    """
    others = {name: value for name, value in call.params.items() if name not in OWN_PARAMS and value.strip()}
    return {**others, link: call.get("link")}


def show_status(call: Call) -> object:
    """The state of one order, or of up to a hundred by their ids."""
    if "orders" not in call.params:
        found = find_orders(call, [call.get("order")])
        return next(iter(found.values()), None) or shapes.tell_error(NO_ORDER)
    names = split_names(call.get("orders"))
    found = find_orders(call, names)
    return {name: found.get(name) or shapes.tell_error(NO_ORDER) for name in names}


def find_orders(call: Call, names: list[str]) -> dict[str, dict[str, object]]:
    """What is told of the caller's orders among these."""
    ids = [int(name) for name in names if _ID.fullmatch(name)]
    return {str(order.pk): shapes.tell_status(order) for order in orders_of(call.customer).filter(pk__in=ids)}


def split_names(text: str) -> list[str]:
    """The ids with commas between, each once, a hundred at most."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))[:MOST_ORDERS]


def refuse_cancel(call: Call) -> object:
    """Nothing is cancelled here: an order that was sent on cannot be taken back, and one that waits may be sent now."""
    return [{"order": name, "cancel": why} for name, why in refuse_each(call, NO_CANCEL)]


def refuse_refill(call: Call) -> object:
    """Nothing is refilled here."""
    if "orders" not in call.params:
        (why,) = [why for _, why in refuse_each(call, NO_REFILL)] or [shapes.tell_error(NO_ORDER)]
        return why
    return [{"order": name, "refill": why} for name, why in refuse_each(call, NO_REFILL)]


def refuse_each(call: Call, text: str) -> list[tuple[object, dict[str, object]]]:
    """Each order that is named, as a number where it is one, with why nothing was done."""
    names = split_names(call.get("orders") or call.get("order"))
    found: Mapping[str, Order] = {
        str(order.pk): order for order in orders_of(call.customer).filter(pk__in=filter(_ID.fullmatch, names))
    }
    return [
        (int(name) if _ID.fullmatch(name) else name, shapes.tell_error(text if name in found else NO_ORDER))
        for name in names
    ]


def refuse_refill_status(call: Call) -> object:
    """There is no refill to ask about."""
    return shapes.tell_error("Incorrect refill ID")


ACTIONS: dict[str, Callable[[Call], object]] = {
    "services": list_services,
    "add": add_order,
    "status": show_status,
    "balance": show_balance,
    "cancel": refuse_cancel,
    "refill": refuse_refill,
    "refill_status": refuse_refill_status,
}
"""Every action of the protocol."""

app_name = "smm_door"
urlpatterns: list[URLPattern] = [path("", door, name="door")]
