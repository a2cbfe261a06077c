"""The selling side of the client API (`/client/api/...`): the shop software of our customers buys here as at any shop.

Every answer, also an error, has this protocol's shape and status 200; only what broke here is a 500, which its readers
take for what it is: unknown, ask by the UUID. The shapes themselves live in `client_api_shapes`.
"""

from __future__ import annotations

import functools
import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt

from apps.accounts.keys import Caller, find_caller
from apps.accounts.models import Customer
from apps.api import client_api_shapes as shapes
from apps.api.dialects import WHOLE, Unreadable, find_order, orders_of, packages_of, read_params
from apps.catalog.models import InputField, Package
from apps.common import clock
from apps.common.logs import get_logger
from apps.orders import creation
from apps.orders.chains import Origin, read_path
from apps.orders.creation import NewOrder
from apps.orders.models import Order
from apps.orders.services import create_order
from apps.providers.parsing import dump_json
from apps.wallet import ledger

log = get_logger(__name__)

MOST_ORDERS = 50
"""Orders told in one answer of `check`; further ones are ignored, as the other servers of this protocol do."""

MOST_PRODUCTS = 200
"""Products that `products_id` may name."""

RECIPIENT_ALIAS = "playerId"
"""The name under which most clients send the recipient, whatever the product's own name for it is."""

TOKEN_MISSING, TOKEN_WRONG, UNKNOWN_ERROR, BROKEN = 120, 121, 114, 500
NOT_ALLOWED, TOO_SMALL, TOO_LARGE, NO_SUCH_PRODUCT, WRONG_FIELD = 106, 112, 113, 109, 107

CODES: dict[type[creation.OrderRefused], tuple[int, str]] = {
    creation.NotEnoughBalance: (100, "Insufficient balance"),
    creation.BadField: (WRONG_FIELD, ""),
    creation.UnknownPackage: (NO_SUCH_PRODUCT, "Product deleted or not found"),
    creation.NotSellable: (110, "not_available"),
    creation.LoopRefused: (110, "not_available"),
}
"""What a refused order is called here; an empty text means the core's own words, which name no supplier."""

REFUSED = (110, "not_available")
"""Any other refusal of the core: nothing was written."""

View = Callable[..., object]

_UUID = re.compile(r"[0-9A-Fa-f]{8}(?:-[0-9A-Fa-f]{4}){3}-[0-9A-Fa-f]{12}")


class Refused(Exception):
    """The request is not served; nothing was written."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message


@dataclass(frozen=True, slots=True)
class Call:
    """One request: whose key it carries, its parameters, each given once, and the shops that its order has passed."""

    caller: Caller
    params: Mapping[str, str]
    path: str = ""

    @property
    def customer(self) -> Customer:
        """Who pays."""
        return self.caller.customer


def door(view: View, *methods: str) -> Callable[..., HttpResponse]:
    """Find the caller, serve, and tell every error in this protocol's shape. No cookie opens anything here."""

    @csrf_exempt
    @functools.wraps(view)
    def answer(request: HttpRequest, **ids: int) -> HttpResponse:
        try:
            if request.method not in methods:
                raise Refused(UNKNOWN_ERROR, f"this address takes {' and '.join(methods)}")
            return respond(view(read_call(request), **ids))
        except Refused as refused:
            return respond(shapes.tell_error(refused.code, refused.message))
        except creation.RepeatSuspected as refused:
            log.info("order_refused", refusal=refused.code, detail=refused.detail)
            return respond(shapes.tell_error(WRONG_FIELD, shapes.name_first(refused)))
        except creation.OrderRefused as refused:
            log.info("order_refused", refusal=refused.code, detail=refused.detail)
            code, text = CODES.get(type(refused), REFUSED)
            return respond(shapes.tell_error(code, text or refused.detail))
        except creation.InFlight:  # no refusal: the other request may have placed it
            return respond(shapes.tell_error(BROKEN, "the same order is being placed: ask again"), status=503)
        except Exception as error:
            log.exception("client_api_failed", path=request.path, error=type(error).__name__)
            return respond(shapes.tell_error(BROKEN, "unknown error"), status=500)

    return answer


def respond(document: object, status: int = 200) -> HttpResponse:
    """A JSON document of which nobody keeps a copy."""
    response = HttpResponse(dump_json(document), status=status, content_type="application/json")
    response["Cache-Control"] = "no-store"
    return response


def read_call(request: HttpRequest) -> Call:
    """The caller behind the header `api-token`, and the parameters of query and form. Raises `Refused`."""
    token = request.headers.get("api-token", "").strip()
    if not token:
        raise Refused(TOKEN_MISSING, "send your API key in the header api-token")
    caller = find_caller(token, clock.now())
    if caller is None:
        raise Refused(TOKEN_WRONG, "this API key is wrong, switched off or expired")
    try:
        return Call(caller, read_params(request), request.headers.get("X-Order-Path", ""))
    except Unreadable as error:
        raise Refused(UNKNOWN_ERROR, str(error)) from error


def show_profile(call: Call) -> object:
    """The wallet of the caller."""
    return shapes.tell_profile(ledger.balance_of(call.customer.pk, call.customer.currency))


def list_products(call: Call) -> object:
    """What the caller may buy; `products_id` names some, `base=1` asks for id and name alone."""
    packages = packages_of(call.customer)
    if named := call.params.get("products_id"):
        wanted = set(split_names(named)[:MOST_PRODUCTS])
        packages = [package for package in packages if str(package.pk) in wanted]
    return shapes.tell_products(packages, call.customer, clock.now(), is_base=call.params.get("base") == "1")


def show_content(call: Call, content_id: int) -> object:
    """The shop's shelves: 0 is the home page with a category for each product, its packages are below."""
    packages = packages_of(call.customer)
    if content_id == 0:
        return {"categories": shapes.tell_categories(packages), "products": []}
    below = [package for package in packages if package.product_id == content_id]
    return {"categories": [], "products": shapes.tell_products(below, call.customer, clock.now(), is_base=False)}


def place_order(call: Call, package_id: int) -> object:
    """Order once per UUID: a UUID that was used before returns its own order, whatever is asked for now."""
    params = dict(call.params)
    key = read_uuid(params.pop("order_uuid", ""))
    first = find_order(call.customer, key)
    if first is not None:
        return shapes.tell_placed(first, call.caller.key_id, clock.now(), is_repeated=True)
    package = load_package(call.customer, package_id)
    quantity = read_quantity(package, params.pop("qty", ""))
    repeat = read_repeat(package, params)
    origin = Origin(key, call.caller.key_id, read_path(call.path))
    new = NewOrder(package.code, quantity, name_fields(package, params), repeat=repeat, origin=origin)
    order, is_repeated = create_once(call.customer, new, key)
    return shapes.tell_placed(order, call.caller.key_id, clock.now(), is_repeated=is_repeated)


def create_once(customer: Customer, new: NewOrder, key: str) -> tuple[Order, bool]:
    """The order, and whether another request with this UUID was faster, also one that asked for something else."""
    try:
        created = create_order(customer, new, key, clock.now())
    except creation.IdempotencyMismatch:
        return orders_of(customer).get(idempotency_key=key), True
    return created.order, created.is_replay


def load_package(customer: Customer, package_id: int) -> Package:
    """The package by the id that `products` tells. Raises `Refused`."""
    packages = Package.objects.select_related("product").filter(tenant_id=customer.tenant_id)
    package = packages.filter(pk=package_id).first() if package_id < 10**18 else None
    if package is None:
        raise Refused(NO_SUCH_PRODUCT, "Product deleted or not found")
    return package


def read_uuid(text: str) -> str:
    """The UUID in small letters. Raises `Refused`: without one an order could not be repeated safely."""
    if not _UUID.fullmatch(text):
        raise Refused(UNKNOWN_ERROR, "send order_uuid, a new UUID for each order you mean to place")
    return str(uuid.UUID(text))


def read_quantity(package: Package, text: str) -> int:
    """The whole number in `qty`. Raises `Refused` with the code for too few, too many, or another rule."""
    if not WHOLE.fullmatch(text):
        raise Refused(NOT_ALLOWED, f"qty must be {package.quantity_rule()}")
    quantity = int(text)
    if package.allows(quantity):
        return quantity
    is_range = package.quantity_kind == Package.QuantityKind.RANGE
    code = NOT_ALLOWED if not is_range else TOO_SMALL if quantity < package.quantity_min else TOO_LARGE
    raise Refused(code, f"qty must be {package.quantity_rule()}")


def read_repeat(package: Package, params: dict[str, str]) -> int:
    """Take the counter `repeat` out of `params`, 0 where there is none. A product's own field of this name stays."""
    if any(field.name == "repeat" for field in package.product.fields.all()):
        return 0
    text = params.pop("repeat", "") or "0"
    if not WHOLE.fullmatch(text):
        raise Refused(WRONG_FIELD, "repeat must be a whole number")
    return int(text)


def name_fields(package: Package, params: Mapping[str, str]) -> dict[str, str]:
    """The buyer's fields by the product's names: `playerId` is the recipient where nothing else is called so."""
    known = {field.name: field.target for field in package.product.fields.all()}
    recipient = next((name for name, target in known.items() if target == InputField.Target.USER_IDENTIFIER), None)
    fields = dict(params)
    if recipient and RECIPIENT_ALIAS in fields and RECIPIENT_ALIAS not in known and recipient not in fields:
        fields[recipient] = fields.pop(RECIPIENT_ALIAS)
    return fields


def check_orders(call: Call) -> object:
    """The caller's orders among those that `orders` names, by our ids or, with `uuid=1`, by the caller's UUIDs."""
    names = split_names(call.params.get("orders", ""))[:MOST_ORDERS]
    orders = orders_of(call.customer)
    if call.params.get("uuid") == "1":
        keys = [str(uuid.UUID(name)) for name in names if _UUID.fullmatch(name)]
        found = {order.idempotency_key: order for order in orders.filter(idempotency_key__in=keys)}
        asked = [found[key] for key in dict.fromkeys(keys) if key in found]
    else:
        bare = [name.removeprefix(shapes.ORDER_PREFIX) for name in names]
        ids = [int(name) for name in bare if WHOLE.fullmatch(name)]
        by_id = orders.in_bulk(ids)
        asked = [by_id[pk] for pk in dict.fromkeys(ids) if pk in by_id]
    return {"status": "OK", "data": [shapes.tell_checked(order, call.caller.key_id, clock.now()) for order in asked]}


def split_names(text: str) -> list[str]:
    """`[a,b]`, `a,b` and `["a","b"]` alike."""
    names = (name.strip(" \"'") for name in text.strip().removeprefix("[").removesuffix("]").split(","))
    return [name for name in names if name]


def nothing_here(request: HttpRequest) -> HttpResponse:
    """Whatever address this protocol does not have."""
    return respond({"error": "NOT_FOUND", "message": "there is nothing at this address"}, status=404)


app_name = "client_api"
urlpatterns: list[URLPattern] = [
    path("profile", door(show_profile, "GET"), name="profile"),
    path("products", door(list_products, "GET"), name="products"),
    path("content/<int:content_id>", door(show_content, "GET"), name="content"),
    path("newOrder/<int:package_id>/params", door(place_order, "GET", "POST"), name="new-order"),
    path("check", door(check_orders, "GET"), name="check"),
    re_path("", csrf_exempt(nothing_here)),
]
