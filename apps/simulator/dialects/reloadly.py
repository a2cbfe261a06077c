"""Reloadly: OAuth tokens, gift cards and airtime, each service under its own prefix of one host.

`/oauth/token` lends tokens, `/giftcards/...` and `/topups/...` are the two services; a token is for one of them.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from functools import partial
from typing import Any

from apps.simulator import asking, placing, strict
from apps.simulator.dialect import Dialect, Endpoint, Hook, Letter, Product, Refused, Words
from apps.simulator.fates import RefuseClass
from apps.simulator.switches import Switches
from apps.simulator.wire import BadRequest, Reply, Request
from apps.simulator.world import Ask, Look, Purchase, State, World, bought

GIFTCARDS, TOPUPS = "giftcards", "topups"
REPORT_ZONE = timezone(timedelta(hours=-4))
TIME_FORMAT = "%Y-%m-%d %H:%M:%S"
LONGEST_IDENTIFIER = 150
JUST_RECHARGED_S = 120.0
FIRST_ID = 2**53 + 1
"""Numbers of transactions begin where a binary float cannot hold them."""


class CardsWhileProcessing(StrEnum):
    NOT_FOUND = "404"
    EMPTY = "empty"


class CardForm(StrEnum):
    """What a delivered card consists of."""

    NUMBER = "number"  # a code alone
    NUMBER_AND_PIN = "number_and_pin"
    URL = "url"  # an address to redeem it at


class HookFields(StrEnum):
    """Where a webhook puts the fields of its transaction."""

    DATA = "data"
    TRANSACTION = "transaction"
    TOP = "top"


@dataclass(frozen=True, slots=True)
class ReloadlySwitches(Switches):
    token_life_s: float = 86400.0
    ignores_overlap: bool = True
    cards_while_processing: CardsWhileProcessing = CardsWhileProcessing.NOT_FOUND
    card_form: CardForm = CardForm.NUMBER
    single_card_as_object: bool = False
    card_number_as_number: bool = False
    balance_misspelt: bool = False
    status_inside: bool = False
    recharge_rule: bool = True
    rate_limited: bool = False
    hook_fields: HookFields = HookFields.DATA
    most_per_page: int = 200
    report_stops_early: bool = False  # its first page says that it is the last

    @property
    def is_racy(self) -> bool:
        """Two requests in flight together with one identifier are both executed."""
        return self.ignores_overlap


SWITCH_CHECKS: dict[str, strict.Check] = {
    "token_life_s": strict.seconds,
    "ignores_overlap": strict.flag,
    "cards_while_processing": strict.one_of(CardsWhileProcessing),
    "card_form": strict.one_of(CardForm),
    "single_card_as_object": strict.flag,
    "card_number_as_number": strict.flag,
    "balance_misspelt": strict.flag,
    "status_inside": strict.flag,
    "recharge_rule": strict.flag,
    "rate_limited": strict.flag,
    "hook_fields": strict.one_of(HookFields),
    "most_per_page": strict.count,
    "report_stops_early": strict.flag,
}


def _card(number: str, price: str, cost: str, name: str, **row: Any) -> Product:
    return Product(number, price, Decimal(cost), row={"service": GIFTCARDS, "name": name, "currency": "USD", **row})


def _airtime(number: str, amount: str, cost: str, name: str, *, gives_codes: bool = False) -> Product:
    row = {"service": TOPUPS, "name": name, "currency": "USD"}
    return Product(f"op:{number}", amount, Decimal(cost), gives_codes=gives_codes, row=row)


# `kupur` is the price of a unit that a buyer names; a range has its ends in the row and its cost per unit of price.
PRODUCTS: tuple[Product, ...] = (
    _card("120", "10", "10.20", "Game Card US"),
    _card("120", "25", "25.5", "Game Card US"),
    _card("5", "range", "1.08315", "Shop Card EU", currency="EUR", least="5", most="500"),
    _card("77", "20", "19.4", "Player Card", needs_user=True),
    _airtime("341", "5", "5", "MTN Nigeria"),
    _airtime("341", "10", "10", "MTN Nigeria"),
    _airtime("732", "5", "4.85", "PIN Mobile", gives_codes=True),
)
LOCAL_RATE = Decimal(1500)
"""Units of the operators' money for one dollar."""

STATES: dict[State, str] = {
    State.WAITING: "PROCESSING",
    State.DELIVERED: "SUCCESSFUL",
    State.PARTIAL: "SUCCESSFUL",
    State.CANCELLED: "FAILED",
    State.REVERSED: "REFUNDED",
}

# A refusal is "status|errorCode|message".
REFUSALS: dict[RefuseClass, str] = {
    RefuseClass.BALANCE: "400|INSUFFICIENT_BALANCE|Insufficient balance",
    RefuseClass.PRODUCT: "400|INVALID_AMOUNT_FOR_OPERATOR|The amount is not offered",
    RefuseClass.AUTH: "401|INVALID_TOKEN|Full authentication is required",
    RefuseClass.OTHER: "400|TRANSACTION_CANNOT_BE_PROCESSED_AT_THE_MOMENT|Try again later",
}
EXPIRED = "401|TOKEN_EXPIRED|The token has expired"
ALREADY_USED = "400|CUSTOM_IDENTIFIER_ALREADY_USED|The custom identifier is in use"
RECENTLY_RECHARGED = "400|PHONE_RECENTLY_RECHARGED|The phone was recharged a moment ago"
BAD_REQUEST = "400|INVALID_REQUEST|%s"
NOT_FOUND = "404|TRANSACTION_NOT_FOUND|There is no such transaction"
NOT_ACCEPTABLE = "406|NOT_ACCEPTABLE|Name the version of the service in Accept"
TOO_MANY = "429|TOO_MANY_REQUESTS|Too many requests"
LIMITS = (("X-RateLimit-Limit", "50"), ("X-RateLimit-Remaining", "0"), ("X-RateLimit-Reset", "60"))


class Raw(str):
    """A number as it shall stand in the JSON, digit for digit."""

    __slots__ = ()


def as_json(value: Any, *, status: int = 200, headers: tuple[tuple[str, str], ...] = ()) -> Reply:
    """A JSON answer in which decimals and long numbers keep every digit."""
    return Reply(_dump(value).encode(), status, "application/json", headers)


def _dump(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_dump(each)}" for key, each in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(_dump, value)) + "]"
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    return json.dumps(value, ensure_ascii=False)


def refuse(text: str, world: World) -> Reply:
    """A refusal in the service's own form."""
    status, code, message = text.split("|", 2)
    told = {"timeStamp": _time(world.now, world), "message": message, "path": "/", "errorCode": code, "details": []}
    return as_json(told, status=int(status))


def _time(at: float, world: World) -> str:
    return datetime.fromtimestamp(world.told(at), REPORT_ZONE).strftime(TIME_FORMAT)


# Tokens


def lend_token(request: Request, world: World, now: float) -> Reply:
    """`client_credentials` for one audience; the token itself says for which service and from when on."""
    wish = request.read_json()
    audience = str(wish.get("audience", ""))
    service = next((name for name in (GIFTCARDS, TOPUPS) if name in audience), "")
    account = world.account
    is_right = (wish.get("client_id"), wish.get("client_secret")) == (account.login, account.password)
    if request.method != "POST" or wish.get("grant_type") != "client_credentials" or not service:
        return refuse(BAD_REQUEST % "grant_type and audience are needed", world)
    if not is_right:
        return refuse("401|INVALID_CREDENTIALS|Access denied", world)
    life = int(world.switches.token_life_s)
    lent = {"access_token": _token(service, f"{now:.3f}", world), "expires_in": life, "token_type": "Bearer"}
    return as_json(lent | {"scope": f"{service}-orders"})


def _token(service: str, since: str, world: World) -> str:
    seal = hmac.new(world.account.password.encode(), f"{service}.{since}".encode(), hashlib.sha256).hexdigest()
    return f"{service}-{since}-{seal}"


def _token_fault(request: Request, service: str, world: World, now: float) -> str:
    """Why this request is not let in; empty where it is."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    since = token.split("-")[1] if token.count("-") == 2 else "0"
    if scheme != "Bearer" or not hmac.compare_digest(token.encode(), _token(service, since, world).encode()):
        return REFUSALS[RefuseClass.AUTH]
    return EXPIRED if now - float(since) >= world.switches.token_life_s else ""


def _service(name: str, method: str, endpoint: Endpoint) -> Endpoint:
    """Every call but the two that place: token, version, method and limit first."""

    def guarded(request: Request, world: World, now: float) -> Reply:
        fault = _token_fault(request, name, world, now) or _form_fault(request, name, method)
        if fault:
            return refuse(fault, world)
        return replace(refuse(TOO_MANY, world), headers=LIMITS) if _is_limited(world) else endpoint(request, world, now)

    return guarded


def _form_fault(request: Request, service: str, method: str) -> str:
    if request.method != method:
        return "405|METHOD_NOT_ALLOWED|This method is not allowed"
    is_named = request.headers.get("accept", "").startswith(f"application/com.reloadly.{service}-v")
    return "" if is_named else NOT_ACCEPTABLE


def _is_limited(world: World) -> bool:
    return bool(world.switches.rate_limited)


# Placing


def _placing(service: str, read: Callable[[dict[str, Any], Request, World], Ask]) -> Endpoint:
    def place(request: Request, world: World, now: float) -> Reply:
        fault = _form_fault(request, service, "POST")
        if fault:
            return refuse(fault, world)
        if _is_limited(world):
            return replace(refuse(TOO_MANY, world), headers=LIMITS)
        token_fault = _token_fault(request, service, world, now)
        if token_fault == EXPIRED:
            return refuse(token_fault, world)
        return placing.place(read(request.read_json(), request, world), world, now, is_ours=not token_fault)

    return place


def _read_card(body: dict[str, Any], request: Request, world: World) -> Ask:
    extra = body.get("productAdditionalRequirements") or {}
    user = str(extra.get("userId", "")) if isinstance(extra, dict) else ""
    return Ask(
        account=world.account.login,
        reference=_text(body, "customIdentifier"),
        product=_text(body, "productId"),
        kupur=_plain(body.get("unitPrice")),
        recipient=_text(body, "recipientEmail") or user,
        quantity=_number(body.get("quantity")),
        extra={"service": GIFTCARDS, "userId": user, "form": "card"},
    )


def _read_topup(body: dict[str, Any], request: Request, world: World) -> Ask:
    phone = body.get("recipientPhone") or {}
    if not isinstance(phone, dict):
        raise BadRequest("recipientPhone is an object")
    amount = _number(body.get("amount"))
    if body.get("useLocalAmount"):
        amount = amount / LOCAL_RATE
    return Ask(
        account=world.account.login,
        reference=_text(body, "customIdentifier"),
        product=f"op:{_text(body, 'operatorId')}",
        kupur=_plain(amount),
        recipient=str(phone.get("number", "")),
        extra={"service": TOPUPS, "form": "async" if "async" in request.path else "sync"},
    )


def _text(body: dict[str, Any], name: str) -> str:
    return str(body.get(name) or "")


def _number(value: object) -> Decimal:
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        raise BadRequest("a number is needed") from None
    if not number.is_finite():
        raise BadRequest("a number is needed")
    return number


def _plain(value: object) -> str:
    return f"{_number(value).normalize():f}"


def _product_of(ask: Ask, world: World) -> Product:
    if len(ask.reference) > LONGEST_IDENTIFIER:
        raise Refused(BAD_REQUEST % "customIdentifier is too long")
    if ask.quantity < 1 or ask.quantity != int(ask.quantity):
        raise Refused(BAD_REQUEST % "quantity is a whole number from 1 on")
    product = world.dialect.find_product(ask.product, ask.kupur) or _in_range(ask, world)
    if product is None:
        raise Refused(REFUSALS[RefuseClass.PRODUCT])
    if product.row.get("needs_user") and not ask.extra["userId"]:
        raise Refused(BAD_REQUEST % "productAdditionalRequirements.userId is needed")
    if ask.extra["service"] == TOPUPS:
        _check_phone(ask, world)
    return product


def _in_range(ask: Ask, world: World) -> Product | None:
    found = world.dialect.find_product(ask.product, "range")
    price = Decimal(ask.kupur)
    if found is None or not Decimal(found.row["least"]) <= price <= Decimal(found.row["most"]):
        return None
    return replace(found, cost=(found.cost * price).quantize(Decimal("0.00001")))


def _check_phone(ask: Ask, world: World) -> None:
    if not ask.recipient.isascii() or not ask.recipient.lstrip("+").isdigit():
        raise Refused("400|INVALID_PHONE_NUMBER|The phone number is invalid")
    if world.switches.recharge_rule and any(map(partial(_is_same, ask), world.younger_than(JUST_RECHARGED_S))):
        raise Refused(RECENTLY_RECHARGED)


def _is_same(ask: Ask, earlier: Purchase) -> bool:
    """Whether the earlier one is for the same phone, and not this one's twin in flight."""
    is_same = earlier.ask.recipient == ask.recipient and earlier.ask.extra["service"] == TOPUPS
    is_other = not ask.reference or earlier.ask.reference != ask.reference
    return is_same and is_other and earlier.state is not State.CANCELLED


def _accepted(look: Look, world: World) -> Reply:
    purchase = bought(look)
    if purchase.ask.extra["form"] == "async":
        return as_json({"transactionId": Raw(purchase.order_id)})
    return as_json(_transaction(look, world))


# What is told of a transaction


def _transaction(look: Look, world: World) -> dict[str, Any]:
    purchase = bought(look)
    tell = _tell_card if purchase.ask.extra["service"] == GIFTCARDS else _tell_topup
    return tell(look, purchase, world)


def _tell_card(look: Look, purchase: Purchase, world: World) -> dict[str, Any]:
    ask = purchase.ask
    row = _row_of(purchase, world)
    price = Decimal(ask.kupur)
    return {
        "transactionId": Raw(purchase.order_id),
        "amount": purchase.cost,
        "discount": Decimal(0),
        "currencyCode": world.dialect.currency,
        "fee": Decimal(0),
        "recipientEmail": ask.recipient or None,
        "customIdentifier": ask.reference or None,
        "status": look.word,
        "product": {
            "productId": Raw(ask.product),
            "productName": row["name"],
            "quantity": int(ask.quantity),
            "unitPrice": price,
            "totalPrice": price * ask.quantity,
            "currencyCode": row["currency"],
        },
        "transactionCreatedTime": _time(purchase.bought_at, world),
        _balance_name(world): _balance_info(purchase, world),
    }


def _balance_name(world: World) -> str:
    return "balaneInfo" if world.switches.balance_misspelt else "balanceInfo"


def _balance_info(purchase: Purchase, world: World) -> dict[str, Any]:
    return {
        "oldBalance": purchase.balance_after + purchase.cost,
        "newBalance": purchase.balance_after,
        "cost": purchase.cost,
        "currencyCode": world.dialect.currency,
    }


def _row_of(purchase: Purchase, world: World) -> Any:
    return next(each.row for each in world.dialect.products if each.product == purchase.ask.product)


def _tell_topup(look: Look, purchase: Purchase, world: World) -> dict[str, Any]:
    ask = purchase.ask
    told = {
        "transactionId": Raw(purchase.order_id),
        "status": look.word,
        "operatorTransactionId": f"OP{purchase.order_id[-6:]}",
        "customIdentifier": ask.reference or None,
        "recipientPhone": ask.recipient,
        "operatorId": Raw(ask.product.removeprefix("op:")),
        "operatorName": _row_of(purchase, world)["name"],
        "requestedAmount": purchase.cost,
        "requestedAmountCurrencyCode": world.dialect.currency,
        "deliveredAmount": Decimal(ask.kupur) * LOCAL_RATE,
        "deliveredAmountCurrencyCode": "NGN",
        "discount": Decimal(0),
        "transactionDate": _time(purchase.bought_at, world),
        "balanceInfo": _balance_info(purchase, world),
    }
    return told | {"pinDetail": _pin_detail(look)}


def _pin_detail(look: Look) -> dict[str, Any] | None:
    """The newest PIN, where there is one; early or after a failure too, if its fate says so."""
    pins = _shown_pins(look)
    return {"serial": f"S{bought(look).order_id[-6:]}", "code": pins[-1], "info1": "DIAL *311*PIN#"} if pins else None


def _shown_pins(look: Look) -> tuple[str, ...]:
    purchase = bought(look)
    is_early = purchase.fate.pin_while_waiting and look.state is State.WAITING
    return purchase.planned_pins if is_early else look.pins


# Questions


def report(service: str) -> Endpoint:
    """The paged list of transactions, newest first, by identifier (in any case) and by time."""

    def tell(request: Request, world: World, now: float) -> Reply:
        wanted = request.params.get("customIdentifier", "")
        found = [each for each in world.newest_first() if _is_wanted(each, service, request, world)]
        looks = [world.look(now, order_id=each.order_id) for each in found]
        if wanted and world.latest_of(wanted) is None:
            looks = looks or [world.look(now, reference=wanted)]
        return asking.answer(looks, world, lambda: as_json(_page(looks, request, world)))

    return tell


def _is_wanted(purchase: Purchase, service: str, request: Request, world: World) -> bool:
    wanted = request.params.get("customIdentifier", "")
    at = datetime.fromtimestamp(world.told(purchase.bought_at), REPORT_ZONE)
    is_named = not wanted or purchase.ask.reference.casefold() == wanted.casefold()
    begin, end = (_day(request.params.get(name, "")) for name in ("startDate", "endDate"))
    is_in_time = (begin is None or at >= begin) and (end is None or at <= end)
    return is_named and is_in_time and purchase.ask.extra["service"] == service


def _day(text: str) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, TIME_FORMAT).replace(tzinfo=REPORT_ZONE)
    except ValueError:
        raise BadRequest("a time is written like 2026-03-02 09:00:00") from None


def _page(looks: Sequence[Look], request: Request, world: World) -> dict[str, Any]:
    rows = [_transaction(look, world) for look in looks if look.purchase is not None]
    page = _paged(rows, request, world)
    return page | {"totalPages": 1, "last": True} if world.switches.report_stops_early else page


def _paged(rows: Sequence[Any], request: Request, world: World) -> dict[str, Any]:
    size = min(max(int(_number(request.params.get("size", "10"))), 1), world.switches.most_per_page)
    number = max(int(_number(request.params.get("page", "1"))), 1)
    pages = -(-len(rows) // size)
    shown = rows[(number - 1) * size : number * size]
    return {
        "content": shown,
        "totalElements": len(rows),
        "totalPages": pages,
        "number": number,
        "size": size,
        "last": number >= pages,
        "empty": not shown,
    }


def one_transaction(service: str) -> Endpoint:
    """One transaction by its number."""

    def tell(request: Request, world: World, now: float) -> Reply:
        look = _look(service, request.path.rpartition("/")[2], world, now)
        return asking.answer([look], world, lambda: _transaction_or_404(look, world))

    return tell


def _transaction_or_404(look: Look, world: World) -> Reply:
    return refuse(NOT_FOUND, world) if look.purchase is None else as_json(_transaction(look, world))


def _look(service: str, number: str, world: World, now: float) -> Look:
    purchase = world.by_order_id(number)
    is_here = purchase is not None and purchase.ask.extra["service"] == service
    return world.look(now, order_id=number) if is_here else Look(None)


def below_topups(request: Request, world: World, now: float) -> Reply:
    """`/topups/<id>/status`: no transaction while it is processing."""
    number, _, last = request.path.rpartition("/topups/")[2].partition("/")
    if last != "status":
        return refuse(NOT_FOUND, world)
    look = _look(TOPUPS, number, world, now)
    return asking.answer([look], world, lambda: _status(look, world))


def _status(look: Look, world: World) -> Reply:
    if look.purchase is None:
        return refuse(NOT_FOUND, world)
    is_failed = look.word == STATES[State.CANCELLED]
    code = "OPERATOR_UNAVAILABLE_OR_CURRENTLY_INACTIVE" if is_failed else None
    about = {"code": code, "message": look.fate.cancel_text if is_failed else None, "status": look.word}
    if look.word == STATES[State.WAITING]:
        return as_json({"transaction": about} if world.switches.status_inside else about)
    told = _transaction(look, world)
    return as_json({"transaction": told | about} if world.switches.status_inside else about | {"transaction": told})


def below_orders(request: Request, world: World, now: float) -> Reply:
    """`/orders/transactions/<id>/cards`: the codes, in the form of the version that was asked for."""
    number, _, last = request.path.rpartition("/transactions/")[2].partition("/")
    if last != "cards":
        return refuse(NOT_FOUND, world)
    look = _look(GIFTCARDS, number, world, now)
    is_v2 = "-v2+" in request.headers["accept"]
    return asking.answer([look], world, lambda: _cards(look, world, is_v2=is_v2))


def _cards(look: Look, world: World, *, is_v2: bool) -> Reply:
    if look.purchase is None:
        return refuse(NOT_FOUND, world)
    cards = [_one_card(pin, world, is_v2=is_v2) for pin in _shown_pins(look)]
    if not cards and world.switches.cards_while_processing is CardsWhileProcessing.NOT_FOUND:
        return refuse(NOT_FOUND, world)
    return as_json(cards[0] if len(cards) == 1 and world.switches.single_card_as_object else cards)


def _one_card(pin: str, world: World, *, is_v2: bool) -> dict[str, Any]:
    form = world.switches.card_form
    number: Any = Raw(pin) if world.switches.card_number_as_number and _is_number(pin) else pin
    if form is CardForm.URL:
        number = None if is_v2 else _redeem_at(pin)
    card = {"cardNumber": number, "pinCode": _second_half(pin) if form is CardForm.NUMBER_AND_PIN else None}
    if not is_v2:
        return card
    return card | {"redemptionUrl": _redeem_at(pin) if form is CardForm.URL else None}


def _is_number(pin: str) -> bool:
    return pin.isascii() and pin.isdigit() and (pin == "0" or not pin.startswith("0"))


def _redeem_at(pin: str) -> str:
    return f"https://redeem.example.invalid/{pin}"


def _second_half(pin: str) -> str:
    """The PIN that belongs to a card number: four digits, always the same for the same number."""
    return f"{int(hashlib.sha256(pin.encode()).hexdigest(), 16) % 10000:04d}"


def products(request: Request, world: World, now: float) -> Reply:
    """What can be bought of gift cards, page by page."""
    numbers = dict.fromkeys(each.product for each in PRODUCTS if each.row["service"] == GIFTCARDS)
    return as_json(_paged([_listed(number) for number in numbers], request, world))


def _listed(number: str) -> dict[str, Any]:
    of_it = [each for each in PRODUCTS if each.product == number]
    row = of_it[0].row
    told = {
        "productId": Raw(number),
        "productName": row["name"],
        "recipientCurrencyCode": row["currency"],
        "senderCurrencyCode": "USD",
        "additionalRequirements": {"userIdRequired": bool(row.get("needs_user"))},
    }
    if "least" not in row:
        return told | {
            "denominationType": "FIXED",
            "fixedRecipientDenominations": [Decimal(each.kupur) for each in of_it],
            "fixedSenderDenominations": [each.cost for each in of_it],
        }
    ends = [Decimal(row["least"]), Decimal(row["most"])]
    names = ("minRecipientDenomination", "maxRecipientDenomination")
    costs = ("minSenderDenomination", "maxSenderDenomination")
    ranged = dict(zip(names, ends, strict=True)) | dict(
        zip(costs, (each * of_it[0].cost for each in ends), strict=True)
    )
    return told | {"denominationType": "RANGE"} | ranged


def balance(request: Request, world: World, now: float) -> Reply:
    """Our money there."""
    told = {"balance": world.balance, "currencyCode": world.dialect.currency, "currencyName": "US Dollar"}
    return as_json(told | {"updatedAt": _time(now, world)})


# Webhooks


def hook(look: Look, world: World, letter: Letter) -> Hook:
    """Signed over the raw body, a colon and the moment of the request."""
    service = bought(look).ask.extra["service"]
    kind = "giftcard_transaction.status" if service == GIFTCARDS else "airtime_transaction.status"
    fields = _transaction(look, world)
    about: dict[str, Any] = {"type": kind, "date": _time(letter.at, world)}
    where = world.switches.hook_fields
    body = _dump(about | fields if where is HookFields.TOP else about | {str(where): fields}).encode()
    moment = f"{world.told(letter.at):.0f}"
    signature = hmac.new(letter.secret.encode(), body + b":" + moment.encode(), hashlib.sha256).hexdigest()
    return Hook((("X-Reloadly-Signature", signature), ("X-Reloadly-Request-Timestamp", moment)), body)


def _routes() -> Iterable[tuple[str, Endpoint]]:
    yield "/oauth/token", lend_token
    yield "/giftcards/orders", _placing(GIFTCARDS, _read_card)
    yield "/giftcards/orders/transactions/", _service(GIFTCARDS, "GET", below_orders)
    yield "/giftcards/products", _service(GIFTCARDS, "GET", products)
    yield "/topups/topups", _placing(TOPUPS, _read_topup)
    yield "/topups/topups-async", _placing(TOPUPS, _read_topup)
    yield "/topups/topups/", _service(TOPUPS, "GET", below_topups)
    yield "/topups/topups/reports/transactions", _service(TOPUPS, "GET", report(TOPUPS))
    yield "/topups/topups/reports/transactions/", _service(TOPUPS, "GET", one_transaction(TOPUPS))
    yield "/giftcards/reports/transactions", _service(GIFTCARDS, "GET", report(GIFTCARDS))
    yield "/giftcards/reports/transactions/", _service(GIFTCARDS, "GET", one_transaction(GIFTCARDS))
    for service in (GIFTCARDS, TOPUPS):
        yield f"/{service}/accounts/balance", _service(service, "GET", balance)


DIALECT = Dialect(
    name="reloadly",
    routes=dict(_routes()),
    words=Words(
        states=STATES,
        unknown_state="ON_HOLD",
        refusals=REFUSALS,
        unlisted="400|SOMETHING_NEW|Nobody has heard of this",
        uncertain="500|PROVIDER_INTERNAL_ERROR|Internal error",
        stranger=lambda world: REFUSALS[RefuseClass.AUTH],
        bad_login=lambda world: refuse(EXPIRED, world),
        product_of=_product_of,
        accepted=_accepted,
        refuse=refuse,
        repeated=lambda first, world: ("already_used", refuse(ALREADY_USED, world)),
    ),
    products=PRODUCTS,
    currency="USD",
    balance=Decimal("100000"),
    login="demo-client",
    secrets={"webhook": "demo-webhook-secret"},
    switches=ReloadlySwitches(),
    switch_checks=SWITCH_CHECKS,
    order_id=lambda number, seed: str(FIRST_ID + 2 * number),
    hook=hook,
    cannot={
        "P22": "it has no question about several orders that are named",
        "V6": "a transaction is delivered as a whole",
    },
)
