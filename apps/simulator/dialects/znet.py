"""The PIN half of the ZNET panels: four text endpoints under /servis/, from request and world to reply."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from urllib.parse import quote_plus

from apps.simulator.catalogue import PRODUCTS, Product
from apps.simulator.fates import BlankForm, Fate, Place, RefuseClass, StatusFault
from apps.simulator.switches import BadPassword, Down, Encoding, Endpoint, NumberFormat, RepeatPolicy, UnknownReference
from apps.simulator.wire import Ending, Reply, Request
from apps.simulator.world import Ask, BalanceTooLow, Purchase, State, World, find_product

STATE_CODES: dict[State, str] = {State.WAITING: "1", State.DELIVERED: "2", State.CANCELLED: "3"}

BLANKS: dict[BlankForm, str] = {
    BlankForm.NONE: " ",
    BlankForm.SPACE: " ",
    BlankForm.DASH: "-",
    BlankForm.SPACED_DASH: " - ",
    BlankForm.EMPTY: "",
}

REFUSALS: dict[RefuseClass, str] = {
    RefuseClass.BALANCE: "3|Bakiye Yetersiz",
    RefuseClass.PRODUCT: "3|Aktif Stok Bulunamadı",
    RefuseClass.AUTH: "3|Bayi kodu veya şifre hatalı",
    RefuseClass.OTHER: "3|Sistemsel hata. Tekrar deneyiniz.",
}

NO_SUCH_PRODUCT = "3|Kupur Bilgisi Bulunamadı"
MISSING_PARAMETER = "3|Eksik Parametre"
UNLISTED_TEXT = "3|Talebiniz alınamadı, lütfen bayinizle görüşünüz"
CODE_8_TEXT = "8|Bağlantı Hatası"

UNKNOWN_REFERENCES: dict[UnknownReference, str] = {
    UnknownReference.EMPTY: "",
    UnknownReference.CODE_3: "3|Bu referansla işlem yok",
    UnknownReference.COLON: "3:Bu referansla işlem yok:0",
    UnknownReference.OK_3: "OK|3|Bu referansla işlem yok|",
}

REPEAT_TEXTS: dict[RepeatPolicy, str] = {
    RepeatPolicy.REFUSE_3: "3|Bu İşlem Daha Önce Gönderildi",
    RepeatPolicy.CODE_8: "8|Bu İşlem Daha Önce Gönderildi",
}

CONTENT_TYPES: dict[Encoding, tuple[str, str]] = {
    Encoding.UTF_8: ("utf-8", "text/html; charset=utf-8"),
    Encoding.UTF_8_NO_CHARSET: ("utf-8", "text/html"),
    Encoding.CP1254: ("cp1254", "text/html; charset=windows-1254"),
    Encoding.CP1254_NO_CHARSET: ("cp1254", "text/html"),
    Encoding.URLENCODED: ("utf-8", "text/html; charset=utf-8"),
}

HTML_PAGE = "<!DOCTYPE html><html><head><title>Bakım</title></head><body>Sistem bakımdadır.</body></html>".encode()
HTML_200 = Reply(HTML_PAGE)
ERROR_500 = Reply(b"<html><body><h1>500 Internal Server Error</h1></body></html>", 500)
ERROR_503 = Reply(HTML_PAGE, 503)
NO_SUCH_PAGE = Reply(b"<html><body><h1>404 Not Found</h1></body></html>", 404)
EMPTY = Reply()
HANG = Reply(ending=Ending.HANG)
RESET = Reply(ending=Ending.RESET)

DOWN_REPLIES: dict[Down, Reply] = {Down.HTML: ERROR_503, Down.EMPTY: EMPTY, Down.HANG: HANG, Down.REFUSE: RESET}


def answer(request: Request, world: World, now: float) -> Reply:
    """Answer one request; GET and POST are the same."""
    if world.switches.down is not None:
        return DOWN_REPLIES[world.switches.down]
    endpoint = ENDPOINTS.get(request.path)
    return endpoint(request.params, world, now) if endpoint else NO_SUCH_PAGE


# bakiye_kontrol.php


def balance(params: dict[str, str], world: World, now: float) -> Reply:
    if not _is_known(params, world, Endpoint.BALANCE):
        return _bad_password(world, Endpoint.BALANCE)
    fields = ["OK", _number(world.balance, world)]
    if world.switches.debt is not None:
        fields.append(_number(Decimal(world.switches.debt), world))
    return _text("|".join(fields), world)


# pin_listesi.php


def products(params: dict[str, str], world: World, now: float) -> Reply:
    if not _is_known(params, world, Endpoint.PRODUCTS):
        return _bad_password(world, Endpoint.PRODUCTS)
    rows = [_product_row(product, world) for product in PRODUCTS]
    return _json({"success": True, "result": rows, "error": None})


def _product_row(product: Product, world: World) -> dict[str, object]:
    row: dict[str, object] = dict(product.row())
    if world.switches.price_as_number:
        row |= {"fiyat": float(product.fiyat), "para_birimi": "TRY"}
    return row


# pin_ekle.php


def place(params: dict[str, str], world: World, now: float) -> Reply:
    ask = _read_ask(params)
    is_ours = _is_known(params, world, Endpoint.PLACE)
    fate = world.receive(ask, now, is_ours)
    if not is_ours:
        return _refuse_stranger(ask, world, now)
    if world.first_of(ask.reference):
        return _repeat(ask, fate, world, now)
    return _place_fresh(ask, fate, world, now)


def _read_ask(params: dict[str, str]) -> Ask:
    recipient = params.get("oyuncu_bilgi") or params.get("musteri_tel", "")
    return Ask(
        account=params.get("kod", ""),
        reference=params.get("referans", ""),
        product=params.get("oyun", ""),
        kupur=params.get("kupur", ""),
        recipient=recipient,
    )


def _refuse_stranger(ask: Ask, world: World, now: float) -> Reply:
    return _refuse(ask, BAD_PASSWORDS[world.switches.bad_password][Endpoint.PLACE], world, now)


def _repeat(ask: Ask, fate: Fate, world: World, now: float) -> Reply:
    policy = world.switches.repeat_policy
    world.record_repeat(ask, now, policy)
    if policy is RepeatPolicy.BUYS_AGAIN:
        return _place_fresh(ask, fate, world, now)
    first = world.first_of(ask.reference)
    if policy is RepeatPolicy.ORIGINAL and first:
        return _accepted(first, world)
    return _message(REPEAT_TEXTS[policy], world)


def _place_fresh(ask: Ask, fate: Fate, world: World, now: float) -> Reply:
    outcome = _buy(ask, fate, world, now) if fate.place.buys else NOT_BOUGHT[fate.place](ask, fate, world, now)
    return replace(outcome, delay_s=fate.answer_delay_s)


def _buy(ask: Ask, fate: Fate, world: World, now: float) -> Reply:
    product = find_product(ask.product, ask.kupur)
    if not ask.reference:
        return _refuse(ask, MISSING_PARAMETER, world, now)
    if product is None:
        return _refuse(ask, NO_SUCH_PRODUCT, world, now)
    try:
        purchase = world.buy(ask, product, fate, now)
    except BalanceTooLow:
        return _refuse(ask, REFUSALS[RefuseClass.BALANCE], world, now)
    return AFTER_BUYING[fate.place](_accepted(purchase, world), world)


def _accepted(purchase: Purchase, world: World) -> Reply:
    return _text(f"OK|{_number(purchase.cost, world)}|{_number(purchase.balance_after, world)}", world)


def _refuse(ask: Ask, text: str, world: World, now: float) -> Reply:
    world.record_refused(ask, now, text)
    return _message(text, world)


def _refuse_by_fate(ask: Ask, fate: Fate, world: World, now: float) -> Reply:
    text = REFUSALS[fate.refuse_class] if fate.refuse_text is None else fate.refuse_text
    return _refuse(ask, text, world, now)


def _redirect(ask: Ask, fate: Fate, world: World, now: float) -> Reply:
    return Reply(status=302, headers=(("Location", fate.redirect_to),))


AFTER_BUYING: dict[Place, Callable[[Reply, World], Reply]] = {
    Place.ACCEPT: lambda accepted, world: accepted,
    Place.ACCEPT_THEN_HANG: lambda accepted, world: HANG,
    Place.ACCEPT_THEN_RESET: lambda accepted, world: RESET,
    Place.ACCEPT_THEN_500: lambda accepted, world: ERROR_500,
    Place.ACCEPT_THEN_HTML: lambda accepted, world: HTML_200,
    Place.ACCEPT_THEN_EMPTY: lambda accepted, world: EMPTY,
    Place.ACCEPT_THEN_CUT: lambda accepted, world: replace(accepted, ending=Ending.CUT),
    Place.ACCEPT_THEN_HEADERS: lambda accepted, world: replace(accepted, ending=Ending.HEADERS_ONLY),
    Place.ACCEPT_THEN_FLOOD: lambda accepted, world: replace(accepted, ending=Ending.FLOOD),
    Place.ACCEPT_THEN_DRIP: lambda accepted, world: replace(accepted, ending=Ending.DRIP),
    Place.ACCEPT_THEN_CODE_8: lambda accepted, world: _message(CODE_8_TEXT, world),
}

NOT_BOUGHT: dict[Place, Callable[[Ask, Fate, World, float], Reply]] = {
    Place.REFUSE: _refuse_by_fate,
    Place.UNLISTED_TEXT: lambda ask, fate, world, now: _refuse(ask, UNLISTED_TEXT, world, now),
    Place.CODE_8: lambda ask, fate, world, now: _refuse(ask, CODE_8_TEXT, world, now),
    Place.REDIRECT: _redirect,
    Place.HANG_BEFORE: lambda ask, fate, world, now: HANG,
    Place.RESET_BEFORE: lambda ask, fate, world, now: RESET,
    Place.ERROR_500_BEFORE: lambda ask, fate, world, now: ERROR_500,
    Place.HTML_BEFORE: lambda ask, fate, world, now: HTML_200,
    Place.EMPTY_BEFORE: lambda ask, fate, world, now: EMPTY,
}


# pin_kontrol.php


def status(params: dict[str, str], world: World, now: float) -> Reply:
    if not _is_known(params, world, Endpoint.STATUS):
        return _bad_password(world, Endpoint.STATUS)
    reference = params.get("tahsilat_api_islem_id", "")
    fault = world.next_fault(reference)
    if fault is not None:
        world.record_checked(reference, now, fault, "fault")
        return STATUS_FAULTS[fault](world)
    purchase = world.get_visible(reference, now)
    if purchase is None:
        world.record_checked(reference, now, "not_found", "world")
        return _not_found(world)
    return _status_of(purchase, world, now)


def _status_of(purchase: Purchase, world: World, now: float) -> Reply:
    reference = purchase.ask.reference
    flip = world.next_flip(reference)
    code = flip or STATE_CODES[purchase.state]
    world.record_checked(reference, now, code, "flip" if flip else "world")
    return _text("|".join(["OK", code, *FIELDS.get(code, _fields_waiting)(purchase, world)]), world)


def _fields_waiting(purchase: Purchase, world: World) -> tuple[str, str]:
    shown = purchase.pin if purchase.fate.pin_while_waiting and purchase.pin else _blank(purchase)
    return _field(shown, world), _field(_description(purchase, "İşlemde"), world)


def _fields_delivered(purchase: Purchase, world: World) -> tuple[str, str]:
    shown = purchase.pins_given[-1] if purchase.pins_given else _blank(purchase)
    return _field(shown, world), _field(_description(purchase, "Onaylandı"), world)


def _fields_cancelled(purchase: Purchase, world: World) -> tuple[str, str]:
    fate = purchase.fate
    reason = "İptal Edildi" if fate.cancel_text is None else fate.cancel_text
    if fate.cancel_text_in_pin_field:
        return _field(reason, world), ""
    return _field(_blank(purchase), world), _field(reason, world)


FIELDS: dict[str, Callable[[Purchase, World], tuple[str, str]]] = {
    "1": _fields_waiting,
    "2": _fields_delivered,
    "3": _fields_cancelled,
}


def _description(purchase: Purchase, default: str) -> str:
    return default if purchase.fate.description is None else purchase.fate.description


def _blank(purchase: Purchase) -> str:
    return BLANKS[purchase.fate.pin_blank_form]


def _not_found(world: World) -> Reply:
    return _message(UNKNOWN_REFERENCES[world.switches.unknown_reference], world)


STATUS_FAULTS: dict[StatusFault, Callable[[World], Reply]] = {
    StatusFault.ERROR_500: lambda world: ERROR_500,
    StatusFault.HTML: lambda world: HTML_200,
    StatusFault.EMPTY: lambda world: EMPTY,
    StatusFault.HANG: lambda world: HANG,
    StatusFault.RESET: lambda world: RESET,
    StatusFault.CUT: lambda world: replace(_text("OK|2|CUT-OFF-BEFORE-ITS-END|Onaylandı", world), ending=Ending.CUT),
    StatusFault.FLOOD: lambda world: Reply(ending=Ending.FLOOD),
    StatusFault.NOT_FOUND: _not_found,
    StatusFault.AUTH_EMPTY: lambda world: EMPTY,
    StatusFault.AUTH_TEXT: lambda world: _bad_password(world, Endpoint.STATUS),
    StatusFault.UNKNOWN_WORD: lambda world: _message("OK|7| |Sorgulanıyor", world),
}


# Shared by all four


ENDPOINTS: dict[str, Callable[[dict[str, str], World, float], Reply]] = {
    f"/servis/{Endpoint.BALANCE}.php": balance,
    f"/servis/{Endpoint.PRODUCTS}.php": products,
    f"/servis/{Endpoint.PLACE}.php": place,
    f"/servis/{Endpoint.STATUS}.php": status,
}

_CLONE_A = "OK|3|bayikodu yada sifre  geçersiz|0.00"
_CLONE_B_STATUS = "3:Hatalı bayi kodu veya şifre:0"
_CLONE_B = "OK|3|bayikodu yada şifre geçersiz|0.00"

# The document knows an empty balance answer; what clone B answers to balance and list is a guess.
BAD_PASSWORDS: dict[BadPassword, dict[Endpoint, str]] = {
    BadPassword.DOCUMENT: {
        Endpoint.BALANCE: "",
        Endpoint.PLACE: REFUSALS[RefuseClass.AUTH],
        Endpoint.STATUS: REFUSALS[RefuseClass.AUTH],
    },
    BadPassword.CLONE_A: dict.fromkeys(Endpoint, _CLONE_A),
    BadPassword.CLONE_B: dict.fromkeys(Endpoint, _CLONE_B) | {Endpoint.STATUS: _CLONE_B_STATUS},
}


def _is_known(params: dict[str, str], world: World, endpoint: Endpoint) -> bool:
    is_right = params.get("kod") == world.login and params.get("sifre") == world.password
    return is_right and endpoint not in world.switches.auth_fails_on


def _bad_password(world: World, endpoint: Endpoint) -> Reply:
    text = BAD_PASSWORDS[world.switches.bad_password].get(endpoint)
    if text is None:
        return _json({"success": False, "result": None, "error": "Bayi kodu veya şifre hatalı"})
    return _message(text, world)


def _number(amount: Decimal, world: World) -> str:
    return NUMBERS[world.switches.number_format](amount)


NUMBERS: dict[NumberFormat, Callable[[Decimal], str]] = {
    NumberFormat.DOT: lambda amount: f"{amount:.2f}",
    NumberFormat.COMMA: lambda amount: f"{amount:.2f}".replace(".", ","),
    NumberFormat.BRACES: lambda amount: f"{{{amount:.2f}}}",
    NumberFormat.TR_THOUSANDS: lambda amount: f"{amount:,.2f}".translate(str.maketrans(",.", ".,")),
    NumberFormat.EN_THOUSANDS: lambda amount: f"{amount:,.4f}",
}


def _message(text: str, world: World) -> Reply:
    """A fixed text whose separators are its own."""
    return _text(quote_plus(text, safe="|:") if world.switches.encoding is Encoding.URLENCODED else text, world)


def _field(text: str, world: World) -> str:
    return quote_plus(text) if world.switches.encoding is Encoding.URLENCODED else text


def _text(body: str, world: World) -> Reply:
    """A body whose fields are encoded already, in the panel's charset."""
    charset, content_type = CONTENT_TYPES[world.switches.encoding]
    return Reply(body.encode(charset, "replace"), content_type=content_type)


def _json(value: object) -> Reply:
    return Reply(json.dumps(value, separators=(",", ":")).encode(), content_type="application/json")
