"""An SMM panel (API v2): one address, form fields `key` and `action`, JSON back; there is no reference of the buyer's.

Orders go up to a service's most in one order and may end in part. Refills are not served.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any

from apps.simulator import asking, placing, strict
from apps.simulator.dialect import Dialect, Endpoint, Product, Refused, Words
from apps.simulator.fates import Final, RefuseClass
from apps.simulator.faults import HTML_200
from apps.simulator.switches import Switches
from apps.simulator.wire import Reply, Request
from apps.simulator.world import Ask, Look, Purchase, State, World

BATCH_MAX = 100
FIRST_ORDER = 23500


class ErrorForm(StrEnum):
    KEYS = "keys"  # neworder.error.not_enough_funds
    SENTENCES = "sentences"  # Not enough funds on balance


class Cancelled(StrEnum):
    CANCELED = "Canceled"
    CANCELLED = "Cancelled"
    REFUNDED = "Refunded"


class Waiting(StrEnum):
    PENDING = "Pending"
    IN_PROGRESS = "In progress"
    PROCESSING = "Processing"


class StartCount(StrEnum):
    TEXT = "text"
    NULL = "null"
    EMPTY = "empty"


class MoneyForm(StrEnum):
    TEXT = "text"  # "0.27819"
    NUMBER = "number"
    LONG_TEXT = "long_text"  # "0.2781900000"


@dataclass(frozen=True, slots=True)
class SmmSwitches(Switches):
    error_form: ErrorForm = ErrorForm.KEYS
    cancelled: Cancelled = Cancelled.CANCELED
    waiting: Waiting = Waiting.IN_PROGRESS
    start_count: StartCount = StartCount.TEXT
    money_form: MoneyForm = MoneyForm.TEXT
    order_as_text: bool = False
    html_shield: bool = False
    one_order_per_link: bool = False


SWITCH_CHECKS: dict[str, strict.Check] = {
    "error_form": strict.one_of(ErrorForm),
    "cancelled": strict.one_of(Cancelled),
    "waiting": strict.one_of(Waiting),
    "start_count": strict.one_of(StartCount),
    "money_form": strict.one_of(MoneyForm),
    "order_as_text": strict.flag,
    "html_shield": strict.flag,
    "one_order_per_link": strict.flag,
}


def _service(number: str, name: str, kind: str, rate: str, least: str, most: str) -> Product:
    row = {"service": int(number), "name": name, "type": kind, "category": "Instagram"}
    limits = {"rate": rate, "min": least, "max": most, "refill": False, "cancel": True}
    return Product(number, "", Decimal(rate) / 1000, gives_codes=False, row=row | limits)


PRODUCTS: tuple[Product, ...] = (
    _service("1", "Followers", "Default", "0.90", "1", "10000"),
    _service("2", "Comments", "Custom Comments", "8", "1", "1500"),
    _service("3", "Likes", "Default", "0.27819", "100", "500000"),
)

STATES: dict[State, str] = {
    State.WAITING: "In progress",
    State.DELIVERED: "Completed",
    State.PARTIAL: "Partial",
    State.CANCELLED: "Canceled",
    State.REVERSED: "Canceled",
}

BAD_KEY = "Invalid API key"
NO_SUCH_ORDER = "Incorrect order ID"
REFUSALS: dict[RefuseClass, str] = {
    RefuseClass.BALANCE: "neworder.error.not_enough_funds",
    RefuseClass.PRODUCT: "neworder.error.service_not_found",
    RefuseClass.AUTH: BAD_KEY,
    RefuseClass.OTHER: "neworder.error.too_many_orders",
}
SENTENCES: dict[str, str] = {
    "neworder.error.not_enough_funds": "Not enough funds on balance",
    "neworder.error.service_not_found": "error.incorrect_service_id",
    "neworder.error.link_duplicate": "You have active order with this link. Please wait until order being completed.",
    "neworder.error.invalid_link": "Invalid link",
    "neworder.error.invalid_quantity": "Quantity is less than minimal or more than maximal",
}
"""What some panels write instead of a key."""


def serve(request: Request, world: World, now: float) -> Reply:
    """All actions: a wrong key, a shield against programs, and an unknown action come before them."""
    if world.switches.html_shield and "mozilla" not in request.headers.get("user-agent", "").lower():
        return HTML_200
    action = request.params.get("action", "")
    if action == "add" and request.method == "POST":
        return placing.place(_read_ask(request.params, world), world, now, is_ours=_is_ours(request, world))
    if not _is_ours(request, world):
        return _error(BAD_KEY, world)
    if action not in ACTIONS or request.method != "POST":
        return _error("Incorrect request", world)
    return ACTIONS[action](request, world, now)


def _is_ours(request: Request, world: World) -> bool:
    return request.params.get("key") == world.account.secrets["key"]


# add


def _read_ask(params: dict[str, str], world: World) -> Ask:
    return Ask(
        account=world.account.login,
        reference="",
        product=params.get("service", ""),
        recipient=params.get("link", ""),
        quantity=_quantity(params),
        extra={name: params[name] for name in ("comments", "runs", "interval") if name in params},
    )


def _quantity(params: dict[str, str]) -> Decimal:
    """The quantity, else the number of comments; zero for what is no whole number."""
    lines = [line for line in params.get("comments", "").splitlines() if line.strip()]
    text = params.get("quantity") or str(len(lines))
    return Decimal(text) if text.isascii() and text.isdigit() and len(text) < 10 else Decimal(0)


def _product_of(ask: Ask, world: World) -> Product:
    product = world.dialect.find_product(ask.product)
    if product is None:
        raise Refused(REFUSALS[RefuseClass.PRODUCT])
    if not ask.recipient:
        raise Refused("neworder.error.invalid_link")
    if not Decimal(product.row["min"]) <= ask.quantity <= Decimal(product.row["max"]):
        raise Refused("neworder.error.invalid_quantity")
    if world.switches.one_order_per_link and any(_is_active(each, ask) for each in world.purchases()):
        raise Refused("neworder.error.link_duplicate")
    return product


def _is_active(purchase: Purchase, ask: Ask) -> bool:
    same = (purchase.ask.product, purchase.ask.recipient) == (ask.product, ask.recipient)
    return same and purchase.state is State.WAITING


def _accepted(look: Look, world: World) -> Reply:
    return _json({"order": _number(look.purchase, world)})


def _number(purchase: Purchase | None, world: World) -> int | str:
    number = purchase.order_id if purchase else ""
    return number if world.switches.order_as_text else int(number)


# status


def status(request: Request, world: World, now: float) -> Reply:
    if "orders" in request.params:
        return _tell_many(_listed(request.params["orders"]), world, now)
    look = world.look(now, order_id=request.params.get("order", ""))
    return asking.answer([look], world, lambda: _json(_tell(look, world)))


def _listed(orders: str) -> list[str]:
    """At most a hundred of them, each once; what comes after those is not answered."""
    return list(dict.fromkeys(order.strip() for order in orders.split(",")))[:BATCH_MAX]


def _tell_many(orders: Sequence[str], world: World, now: float) -> Reply:
    looks = [world.look(now, order_id=order) for order in orders]
    missing = (order for order, look in zip(orders, looks, strict=True) if look.purchase is None)
    told = dict(_named(asking.batch(looks, world, now), missing, world))
    return asking.answer(looks, world, lambda: _json(told))


def _named(looks: Sequence[Look], missing: Iterator[str], world: World) -> Iterator[tuple[str, dict[str, Any]]]:
    for look in looks:
        yield look.purchase.order_id if look.purchase else next(missing), _tell(look, world)


def _tell(look: Look, world: World) -> dict[str, Any]:
    if look.purchase is None:
        return {"error": NO_SUCH_ORDER}
    return {
        "charge": _money(look.charged, world),
        "start_count": _start_count(look.purchase, world),
        "status": _word(look.word, world),
        "remains": str(look.purchase.ask.quantity - look.delivered),
        "currency": world.dialect.currency,
    }


def _word(word: str, world: World) -> str:
    """The state as this panel spells it; a scripted word stays as it is."""
    spelt = {STATES[State.CANCELLED]: world.switches.cancelled, STATES[State.WAITING]: world.switches.waiting}
    return str(spelt.get(word, word))


def _start_count(purchase: Purchase, world: World) -> str | None:
    counted = str(3572 + int(purchase.order_id) % 1000)
    return {StartCount.NULL: None, StartCount.EMPTY: ""}.get(world.switches.start_count, counted)


def _money(amount: Decimal, world: World) -> str | float:
    form = world.switches.money_form
    if form is MoneyForm.NUMBER:
        return float(amount)
    return f"{amount:.10f}" if form is MoneyForm.LONG_TEXT else f"{amount.normalize():f}"


# The rest


def services(request: Request, world: World, now: float) -> Reply:
    return _json([dict(product.row) for product in PRODUCTS])


def balance(request: Request, world: World, now: float) -> Reply:
    return _json({"balance": _money(world.balance, world), "currency": world.dialect.currency})


def cancel(request: Request, world: World, now: float) -> Reply:
    return _json([_cancel_one(order, world, now) for order in _listed(request.params.get("orders", ""))])


def _cancel_one(order: str, world: World, now: float) -> dict[str, Any]:
    purchase = world.by_order_id(order)
    if purchase is None:
        return {"order": order, "cancel": {"error": NO_SUCH_ORDER}}
    if purchase.state is not State.WAITING:
        return {"order": _number(purchase, world), "cancel": {"error": "Order cannot be cancelled"}}
    world.finish(purchase, Final.CANCELLED, now)
    return {"order": _number(purchase, world), "cancel": 1}


ACTIONS: dict[str, Endpoint] = {"services": services, "status": status, "balance": balance, "cancel": cancel}


def _error(text: str, world: World) -> Reply:
    is_sentence = world.switches.error_form is ErrorForm.SENTENCES
    return _json({"error": SENTENCES.get(text, text) if is_sentence else text})


def _json(value: object) -> Reply:
    return Reply(json.dumps(value, separators=(",", ":")).encode(), content_type="application/json")


DIALECT = Dialect(
    name="smm_v2",
    routes={"/api/v2": serve},
    words=Words(
        states=STATES,
        unknown_state="Queued for review",
        refusals=REFUSALS,
        unlisted="Your order was declined by the team",
        uncertain="Something went wrong. Please try again later",
        stranger=lambda world: BAD_KEY,
        bad_login=lambda world: _error(BAD_KEY, world),
        product_of=_product_of,
        accepted=_accepted,
        refuse=_error,
        repeated=lambda first, world: ("never", _accepted(first, world)),
    ),
    products=PRODUCTS,
    currency="USD",
    balance=Decimal("100000.00"),
    secrets={"key": "demo-key"},
    switches=SmmSwitches(),
    switch_checks=SWITCH_CHECKS,
    order_id=lambda number, seed: str(FIRST_ORDER + number),
    cannot={
        "P5": "it takes no reference of the buyer's, so no order is a repeat",
        "P18": "its answers name no time",
        **dict.fromkeys(("V3", "V4", "V5", "V9", "V11"), "it delivers no codes"),
    },
)
