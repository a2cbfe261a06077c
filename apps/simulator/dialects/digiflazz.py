"""Digiflazz's buyer API: signed JSON posts under /v1/, one address that sells and, asked again, tells the state."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from typing import Any

from apps.simulator import asking, placing, strict
from apps.simulator.dialect import Dialect, Hook, Letter, Product, Refused, Words
from apps.simulator.fates import BlankForm, RefuseClass
from apps.simulator.switches import Switches
from apps.simulator.wire import BadRequest, Reply, Request
from apps.simulator.world import Ask, Look, Purchase, State, World, bought


class HttpStatuses(StrEnum):
    """With what status a failure is told: the document says nothing of it, one client reads `rc` in errors alone."""

    ALWAYS_200 = "always_200"
    FAILED_400 = "failed_400"


class Reused(StrEnum):
    """A reference that comes again for another product or customer: the listed error, or the first order."""

    RC_49 = "rc_49"
    FIRST_ORDER = "first_order"


class SerialForm(StrEnum):
    """What `sn` holds: the code alone, or the slashed text of electricity tokens with the code in front."""

    PLAIN = "plain"
    SLASHED = "slashed"


REMEMBERED_S = 90 * 86400.0
DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class DigiflazzSwitches(Switches):
    http_statuses: HttpStatuses = HttpStatuses.ALWAYS_200
    reused: Reused = Reused.RC_49
    serial_form: SerialForm = SerialForm.PLAIN
    router_trouble: bool = False  # what waits is told as rc 99 instead of 03
    list_limited: bool = False  # the full price list was asked for less than five minutes ago
    once_a_day: bool = False  # one product once a day for one customer, unless it is `multi`

    @property
    def reference_life_s(self) -> float | None:
        """An older reference buys anew."""
        return REMEMBERED_S


SWITCH_CHECKS: dict[str, strict.Check] = {
    "http_statuses": strict.one_of(HttpStatuses),
    "reused": strict.one_of(Reused),
    "serial_form": strict.one_of(SerialForm),
    "router_trouble": strict.flag,
    "list_limited": strict.flag,
    "once_a_day": strict.flag,
}

STATE_CODES: dict[State, str] = {
    State.WAITING: "03",
    State.DELIVERED: "00",
    State.PARTIAL: "00",
    State.CANCELLED: "02",
    State.REVERSED: "74",
}
UNKNOWN_CODE = "98"
ROUTER_CODE = "99"

SUCCESS, PENDING, FAILED = "Sukses", "Pending", "Gagal"
STATUSES: dict[str, str] = {"00": SUCCESS, "03": PENDING, ROUTER_CODE: PENDING, "02": FAILED, "74": FAILED}
UNKNOWN_STATUS = "Diproses"

MESSAGES: dict[str, str] = {
    "00": "Transaksi Sukses",
    "02": "Transaksi Gagal",
    "03": "Transaksi Pending",
    "74": "Transaksi Refund",
    ROUTER_CODE: "DF Router Issue",
    UNKNOWN_CODE: "Transaksi sedang dicek",
}

PAYLOAD_ERROR = "40|Payload Error"
WRONG_SIGN = "41|Signature tidak valid"
WRONG_USER = "42|Gagal memproses API Buyer, username belum sesuai"
NO_SUCH_SKU = "43|SKU tidak di temukan atau Non-Aktif"
BALANCE_TOO_LOW = "44|Saldo tidak cukup"
NOT_UNIQUE = "49|Ref ID tidak unik"
NOT_FOUND = "50|Transaksi Tidak Ditemukan"
NO_MULTI = "63|Tidak support transaksi Multi"
OUT_OF_STOCK = "68|Stok habis"
PRICE_ABOVE_LIMIT = "69|Harga seller lebih besar dari ketentuan harga Buyer"
LIST_LIMIT = "83|Limitasi pengecekan pricelist telah habis"

REFUSALS: dict[RefuseClass, str] = {
    RefuseClass.BALANCE: BALANCE_TOO_LOW,
    RefuseClass.PRODUCT: OUT_OF_STOCK,
    RefuseClass.AUTH: WRONG_SIGN,
    RefuseClass.OTHER: NOT_UNIQUE,
}

BLANKS: dict[BlankForm, str] = {
    BlankForm.NONE: "",
    BlankForm.SPACE: " ",
    BlankForm.DASH: "-",
    BlankForm.SPACED_DASH: " - ",
    BlankForm.EMPTY: "",
}


def _product(
    sku: str, name: str, brand: str, category: str, price: str, *, gives_codes: bool, multi: bool = True
) -> Product:
    row = {
        "product_name": name,
        "category": category,
        "brand": brand,
        "type": "Umum",
        "seller_name": "Toko Demo",
        "price": int(price),
        "buyer_sku_code": sku,
        "buyer_product_status": True,
        "seller_product_status": True,
        "unlimited_stock": True,
        "stock": 0,
        "multi": multi,
        "start_cut_off": "23:45",
        "end_cut_off": "0:15",
        "desc": "-",
    }
    return Product(sku, "", Decimal(price), gives_codes, row)


PRODUCTS: tuple[Product, ...] = (
    _product("gp50", "Google Play 50.000", "GOOGLE PLAY", "Voucher", "51250", gives_codes=True),
    _product("pln20", "PLN 20.000", "PLN", "PLN", "20150", gives_codes=True),
    _product("xld10", "Xl 10.000", "XL", "Pulsa", "10500", gives_codes=False, multi=False),
    _product("ml86", "MOBILE LEGENDS 86 Diamond", "MOBILE LEGENDS", "Games", "19800", gives_codes=False),
)

# The three addresses


def balance(request: Request, world: World, now: float) -> Reply:
    body = _body(request)
    if trouble := _trouble(body, "depo", world) or ("" if body.get("cmd") == "deposit" else PAYLOAD_ERROR):
        return _refuse(trouble, world)
    return _json({"deposit": float(world.balance)})


def price_list(request: Request, world: World, now: float) -> Reply:
    body = _body(request)
    if trouble := _trouble(body, "pricelist", world) or _list_trouble(body, world):
        return _refuse(trouble, world)
    rows = [dict(product.row) for product in PRODUCTS if body["cmd"] == "prepaid" and _is_wanted(product, body)]
    return _json(rows)


def _list_trouble(body: Mapping[str, Any], world: World) -> str:
    if body.get("cmd") not in ("prepaid", "pasca"):
        return PAYLOAD_ERROR
    return LIST_LIMIT if world.switches.list_limited and not body.get("code") else ""


def _is_wanted(product: Product, body: Mapping[str, Any]) -> bool:
    filters = {"code": "buyer_sku_code", "category": "category", "brand": "brand", "type": "type"}
    return all(product.row[column] == body[name] for name, column in filters.items() if body.get(name))


def transaction(request: Request, world: World, now: float) -> Reply:
    """Sells under a new reference; under a known one it tells the order's state and sells nothing."""
    body = _body(request)
    ask = _read_ask(body)
    trouble = _form_trouble(body, ask) or _trouble(body, ask.reference, world)
    if trouble in (PAYLOAD_ERROR, WRONG_USER):
        return _named(_refuse(trouble, world), ask)
    first = world.first_of(ask.reference, now)
    if trouble or first is None:
        return _named(placing.place(ask, world, now, is_ours=not trouble), ask)
    return _named(_ask_again(ask, first, world, now), ask)


def _ask_again(ask: Ask, first: Purchase, world: World, now: float) -> Reply:
    if _is_other(ask, first) and world.switches.reused is Reused.RC_49:
        world.record_repeat(ask, now, Reused.RC_49)
        return _refuse(NOT_UNIQUE, world)
    world.record_repeat(ask, now, "state")
    look = world.look(now, reference=ask.reference)
    return asking.answer([look], world, lambda: _tell(look, world))


def _is_other(ask: Ask, first: Purchase) -> bool:
    return (ask.product, ask.recipient) != (first.ask.product, first.ask.recipient)


# Reading


def _body(request: Request) -> dict[str, Any]:
    if request.method != "POST":
        raise BadRequest("this address takes POST")
    return request.read_json()


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _read_ask(body: Mapping[str, Any]) -> Ask:
    limit = body.get("max_price")
    return Ask(
        account=_text(body, "username"),
        reference=_text(body, "ref_id"),
        product=_text(body, "buyer_sku_code"),
        recipient=_text(body, "customer_no"),
        extra={} if limit is None else {"max_price": str(limit)},
    )


def _form_trouble(body: Mapping[str, Any], ask: Ask) -> str:
    is_whole = all((ask.reference, ask.product, ask.recipient)) and _is_number(ask.extra.get("max_price", "0"))
    return "" if is_whole and "commands" not in body else PAYLOAD_ERROR


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal()


def _trouble(body: Mapping[str, Any], signed: str, world: World) -> str:
    if _text(body, "username") != world.account.login:
        return WRONG_USER
    wanted = hashlib.md5(f"{world.account.login}{world.account.password}{signed}".encode()).hexdigest()  # noqa: S324
    return "" if hmac.compare_digest(_text(body, "sign").encode(), wanted.encode()) else WRONG_SIGN


def _product_of(ask: Ask, world: World) -> Product:
    product = world.dialect.find_product(ask.product)
    if product is None:
        raise Refused(NO_SUCH_SKU)
    if Decimal(ask.extra.get("max_price", product.cost)) < product.cost:
        raise Refused(PRICE_ABOVE_LIMIT)
    if world.switches.once_a_day and not product.row["multi"] and _was_sold_today(ask, world):
        raise Refused(NO_MULTI)
    return product


def _was_sold_today(ask: Ask, world: World) -> bool:
    """The prefix makes another customer of the number, so it is enough to compare."""
    recent = world.younger_than(DAY_S)
    return any(not _is_other(ask, each) and each.state is not State.CANCELLED for each in recent)


# Telling


def _tell(look: Look, world: World) -> Reply:
    if look.purchase is None:
        return _refuse(NOT_FOUND, world)
    return _reply(_data(look, world), world)


def _data(look: Look, world: World) -> dict[str, Any]:
    purchase = bought(look)
    code = ROUTER_CODE if look.word == "03" and world.switches.router_trouble else look.word
    return {
        "ref_id": purchase.ask.reference,
        "customer_no": purchase.ask.recipient,
        "buyer_sku_code": purchase.ask.product,
        "message": _message(look, purchase, code),
        "status": STATUSES.get(code, UNKNOWN_STATUS),
        "rc": code,
        "sn": _serial(look, purchase, world),
        "buyer_last_saldo": float(purchase.balance_after),
        "price": int(purchase.cost),
        "tele": "@demo",
        "wa": "081234512345",
    }


def _message(look: Look, purchase: Purchase, code: str) -> str:
    fate = purchase.fate
    said = fate.cancel_text if look.state is State.CANCELLED else fate.description
    return MESSAGES.get(code, MESSAGES[UNKNOWN_CODE]) if said is None else said


def _serial(look: Look, purchase: Purchase, world: World) -> str:
    """The code that was given last; a top-up has a serial number of its own, which is no code."""
    early = purchase.planned_pins if purchase.fate.pin_while_waiting and look.state is State.WAITING else ()
    pins = look.pins or early
    if not pins:
        is_top_up = not purchase.planned_pins and purchase.fate.pin_blank_form is BlankForm.NONE
        is_done = look.state is State.DELIVERED
        return purchase.order_id if is_top_up and is_done else BLANKS[purchase.fate.pin_blank_form]
    return f"{pins[-1]}/DEMO/R1/900/32,1" if world.switches.serial_form is SerialForm.SLASHED else pins[-1]


def _refuse(text: str, world: World) -> Reply:
    """A refusal from `<rc>|<message>`; whose order it is about is added by `_named`."""
    code, _, message = text.partition("|")
    return _reply({"message": message, "status": FAILED, "rc": code}, world)


def _named(reply: Reply, ask: Ask) -> Reply:
    """A refusal with the names of the order that was asked for; an answer that has names already stays as it is."""
    start = b'{"data":{'
    if not reply.body.startswith(start) or b'"ref_id":' in reply.body:
        return reply
    names = {"ref_id": ask.reference, "customer_no": ask.recipient, "buyer_sku_code": ask.product}
    written = json.dumps(names, ensure_ascii=False, separators=(",", ":")).encode()
    return replace(reply, body=start + written[1:-1] + b"," + reply.body[len(start) :])


def _reply(data: Mapping[str, Any], world: World) -> Reply:
    is_error = data["status"] == FAILED and world.switches.http_statuses is HttpStatuses.FAILED_400
    return _json(data, 400 if is_error else 200)


def _json(data: object, status: int = 200) -> Reply:
    body = json.dumps({"data": data}, ensure_ascii=False, separators=(",", ":")).encode()
    return Reply(body, status, content_type="application/json")


def hook(look: Look, world: World, letter: Letter) -> Hook:
    """The order as its answer tells it, signed with HMAC-SHA1."""
    body = json.dumps({"data": _data(look, world)}, ensure_ascii=False).encode()
    signature = hmac.new(letter.secret.encode(), body, hashlib.sha1).hexdigest()
    headers = (
        ("Content-Type", "application/json"),
        ("User-Agent", "Digiflazz-Hookshot"),
        ("X-Digiflazz-Event", "create" if look.state is State.WAITING else "update"),
        ("X-Hub-Signature", f"sha1={signature}"),
    )
    return Hook(headers, body)


def _order_id(number: int, seed: str) -> str:
    """A serial number as sellers print it."""
    return str(20260000000000 + number)


DIALECT = Dialect(
    name="digiflazz",
    routes={"/v1/cek-saldo": balance, "/v1/price-list": price_list, "/v1/transaction": transaction},
    words=Words(
        states=STATE_CODES,
        unknown_state=UNKNOWN_CODE,
        refusals=REFUSALS,
        unlisted="97|Transaksi belum dapat diproses, hubungi kami",
        uncertain=NOT_UNIQUE,
        stranger=lambda world: WRONG_SIGN,
        bad_login=lambda world: _refuse(WRONG_SIGN, world),
        product_of=_product_of,
        accepted=_tell,
        refuse=_refuse,
        repeated=lambda first, world: ("state", _tell(first, world)),
    ),
    products=PRODUCTS,
    currency="IDR",
    balance=Decimal("100000000"),
    secrets={"webhook": "demo-webhook-secret"},
    switches=DigiflazzSwitches(),
    switch_checks=SWITCH_CHECKS,
    order_id=_order_id,
    hook=hook,
    cannot={
        "P18": "its answers name no time",
        "P22": "it asks about one order at a time",
        "V6": "its quantity is always one",
    },
)
