"""The PIN half of the ZNET panels: four text endpoints under /servis/, GET and POST alike."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from apps.simulator import asking, placing, strict
from apps.simulator.dialect import Dialect, Product, Refused, Words
from apps.simulator.dialects.znet_text import (
    CLONE_A,
    CLONE_B,
    CLONE_B_STATUS,
    TEXT_CHECKS,
    BadPassword,
    TextSwitches,
    balance_text,
    field,
    message,
    number,
    text,
)
from apps.simulator.fates import BlankForm, RefuseClass, StatusFault
from apps.simulator.wire import Reply, Request
from apps.simulator.world import Ask, Look, Purchase, State, World, bought


class UnknownReference(StrEnum):
    EMPTY = "empty"
    CODE_3 = "3|"
    COLON = "3:"
    OK_3 = "OK|3|"


class RepeatPolicy(StrEnum):
    ORIGINAL = "original"
    REFUSE_3 = "refuse_3"
    CODE_8 = "code_8"
    BUYS_AGAIN = "buys_again"


class Endpoint(StrEnum):
    BALANCE = "bakiye_kontrol"
    PRODUCTS = "pin_listesi"
    PLACE = "pin_ekle"
    STATUS = "pin_kontrol"


@dataclass(frozen=True, slots=True)
class ZnetSwitches(TextSwitches):
    unknown_reference: UnknownReference = UnknownReference.CODE_3
    repeat_policy: RepeatPolicy = RepeatPolicy.ORIGINAL
    auth_fails_on: tuple[Endpoint, ...] = ()
    price_as_number: bool = False

    @property
    def buys_again(self) -> bool:
        return self.repeat_policy is RepeatPolicy.BUYS_AGAIN


SWITCH_CHECKS: dict[str, strict.Check] = TEXT_CHECKS | {
    "unknown_reference": strict.one_of(UnknownReference),
    "repeat_policy": strict.one_of(RepeatPolicy),
    "auth_fails_on": strict.list_of(strict.one_of(Endpoint)),
    "price_as_number": strict.flag,
}


_PIN = "PIN kodu ile teslim edilir"
_DIRECT = "Oyuncu hesabına doğrudan yüklenir"


def _product(*row: str, gives_codes: bool = True) -> Product:
    """One row of `pin_listesi.php`: every value a string, as in the panels' document."""
    listed = dict(zip(LISTED, row, strict=True))
    return Product(listed["oyun_bilgi_id"], listed["kupur"], Decimal(listed["fiyat"]), gives_codes, listed)


LISTED = ("id", "adi", "aciklama", "oyun_id", "oyun_adi", "fiyat", "kupur", "oyun_bilgi_id")

# 100 is the kupur of two products on purpose: only the pair (oyun_bilgi_id, kupur) names one.
PRODUCTS: tuple[Product, ...] = (
    _product("1", "PUBG Mobile 60 UC", _PIN, "12", "PUBG Mobile", "31.50", "60", "152"),
    _product("2", "PUBG Mobile 325 UC", _PIN, "12", "PUBG Mobile", "149.90", "325", "152"),
    _product("3", "PUBG Mobile 660 UC", _PIN, "12", "PUBG Mobile", "289.75", "660", "152"),
    _product("4", "Steam Cüzdan Kodu 50 TL", _PIN, "7", "Steam", "48.25", "50", "88"),
    _product("5", "Steam Cüzdan Kodu 100 TL", _PIN, "7", "Steam", "96.40", "100", "88"),
    _product("6", "Free Fire 100 Elmas", _DIRECT, "21", "Free Fire", "18.30", "100", "210", gives_codes=False),
    _product("7", "Free Fire 310 Elmas", _DIRECT, "21", "Free Fire", "54.90", "310", "210", gives_codes=False),
)

# The panels have no word for a reversal; money that goes back looks like a cancellation.
STATE_CODES: dict[State, str] = {
    State.WAITING: "1",
    State.DELIVERED: "2",
    State.PARTIAL: "2",
    State.CANCELLED: "3",
    State.REVERSED: "3",
}
UNKNOWN_CODE = "7"

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

# bakiye_kontrol.php


def balance(request: Request, world: World, now: float) -> Reply:
    if not _is_known(request, world, Endpoint.BALANCE):
        return _bad_password(world, Endpoint.BALANCE)
    return balance_text(world)


# pin_listesi.php


def products(request: Request, world: World, now: float) -> Reply:
    if not _is_known(request, world, Endpoint.PRODUCTS):
        return _bad_password(world, Endpoint.PRODUCTS)
    rows = [_product_row(product.row, world) for product in PRODUCTS]
    return _json({"success": True, "result": rows, "error": None})


def _product_row(listed: Mapping[str, str], world: World) -> dict[str, object]:
    if world.switches.price_as_number:
        return {**listed, "fiyat": float(listed["fiyat"]), "para_birimi": "TRY"}
    return dict(listed)


# pin_ekle.php


def place(request: Request, world: World, now: float) -> Reply:
    return placing.place(_read_ask(request.params), world, now, is_ours=_is_known(request, world, Endpoint.PLACE))


def _read_ask(params: dict[str, str]) -> Ask:
    recipient = params.get("oyuncu_bilgi") or params.get("musteri_tel", "")
    return Ask(
        account=params.get("kod", ""),
        reference=params.get("referans", ""),
        product=params.get("oyun", ""),
        kupur=params.get("kupur", ""),
        recipient=recipient,
    )


def _product_of(ask: Ask, world: World) -> Product:
    if not ask.reference:
        raise Refused(MISSING_PARAMETER)
    product = world.dialect.find_product(ask.product, ask.kupur)
    if product is None:
        raise Refused(NO_SUCH_PRODUCT)
    return product


def _accepted(look: Look, world: World) -> Reply:
    purchase = bought(look)
    return text(f"OK|{number(purchase.cost, world)}|{number(purchase.balance_after, world)}", world)


def _repeated(first: Look, world: World) -> tuple[str, Reply]:
    policy = world.switches.repeat_policy
    text = REPEAT_TEXTS.get(policy)
    return policy, message(text, world) if text else _accepted(first, world)


# pin_kontrol.php


def status(request: Request, world: World, now: float) -> Reply:
    if not _is_known(request, world, Endpoint.STATUS):
        return _bad_password(world, Endpoint.STATUS)
    look = world.look(now, reference=request.params.get("tahsilat_api_islem_id", ""))
    return asking.answer([look], world, lambda: _tell(look, world))


def _tell(look: Look, world: World) -> Reply:
    if look.fault is StatusFault.UNKNOWN_WORD:
        return message(f"OK|{UNKNOWN_CODE}| |Sorgulanıyor", world)
    if look.purchase is None:
        return message(UNKNOWN_REFERENCES[world.switches.unknown_reference], world)
    fields = FIELDS.get(look.word, _fields_waiting)(look, bought(look), world)
    return text("|".join(["OK", look.word, *fields]), world)


def _fields_waiting(look: Look, purchase: Purchase, world: World) -> tuple[str, str]:
    shown = purchase.planned_pins[0] if purchase.fate.pin_while_waiting and purchase.planned_pins else _blank(purchase)
    return field(shown, world), field(_description(purchase, "İşlemde"), world)


def _fields_delivered(look: Look, purchase: Purchase, world: World) -> tuple[str, str]:
    shown = look.pins[-1] if look.pins else _blank(purchase)
    return field(shown, world), field(_description(purchase, "Onaylandı"), world)


def _fields_cancelled(look: Look, purchase: Purchase, world: World) -> tuple[str, str]:
    fate = purchase.fate
    reason = "İptal Edildi" if fate.cancel_text is None else fate.cancel_text
    if fate.cancel_text_in_pin_field:
        return field(reason, world), ""
    shown = look.pins[-1] if fate.pin_when_cancelled and look.pins else _blank(purchase)
    return field(shown, world), field(reason, world)


FIELDS: dict[str, Callable[[Look, Purchase, World], tuple[str, str]]] = {
    "1": _fields_waiting,
    "2": _fields_delivered,
    "3": _fields_cancelled,
}


def _description(purchase: Purchase, default: str) -> str:
    return default if purchase.fate.description is None else purchase.fate.description


def _blank(purchase: Purchase) -> str:
    return BLANKS[purchase.fate.pin_blank_form]


# Shared by all four


# The document knows an empty balance answer; what clone B answers to balance and list is a guess.
BAD_PASSWORDS: dict[BadPassword, dict[Endpoint, str]] = {
    BadPassword.DOCUMENT: {
        Endpoint.BALANCE: "",
        Endpoint.PLACE: REFUSALS[RefuseClass.AUTH],
        Endpoint.STATUS: REFUSALS[RefuseClass.AUTH],
    },
    BadPassword.CLONE_A: dict.fromkeys(Endpoint, CLONE_A),
    BadPassword.CLONE_B: dict.fromkeys(Endpoint, CLONE_B) | {Endpoint.STATUS: CLONE_B_STATUS},
}


def _is_known(request: Request, world: World, endpoint: Endpoint) -> bool:
    account, params = world.account, request.params
    is_right = params.get("kod") == account.login and params.get("sifre") == account.password
    return is_right and endpoint not in world.switches.auth_fails_on


def _bad_password(world: World, endpoint: Endpoint) -> Reply:
    text = BAD_PASSWORDS[world.switches.bad_password].get(endpoint)
    if text is None:
        return _json({"success": False, "result": None, "error": "Bayi kodu veya şifre hatalı"})
    return message(text, world)


def _json(value: object) -> Reply:
    return Reply(json.dumps(value, separators=(",", ":")).encode(), content_type="application/json")


WORDS = Words(
    states=STATE_CODES,
    unknown_state=UNKNOWN_CODE,
    refusals=REFUSALS,
    unlisted=UNLISTED_TEXT,
    uncertain=CODE_8_TEXT,
    stranger=lambda world: BAD_PASSWORDS[world.switches.bad_password][Endpoint.PLACE],
    bad_login=lambda world: _bad_password(world, Endpoint.STATUS),
    product_of=_product_of,
    accepted=_accepted,
    refuse=message,
    repeated=_repeated,
)

DIALECT = Dialect(
    name="znet",
    routes={
        f"/servis/{Endpoint.BALANCE}.php": balance,
        f"/servis/{Endpoint.PRODUCTS}.php": products,
        f"/servis/{Endpoint.PLACE}.php": place,
        f"/servis/{Endpoint.STATUS}.php": status,
    },
    words=WORDS,
    products=PRODUCTS,
    currency="TRY",
    balance=Decimal("100000.00"),
    switches=ZnetSwitches(),
    switch_checks=SWITCH_CHECKS,
    cannot={
        "P18": "its answers name no time",
        "P22": "it asks about one order at a time",
        "V6": "its quantity is always one",
    },
)
