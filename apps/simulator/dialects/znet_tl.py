"""The airtime half of the ZNET panels: `tl_servis`, `tl_kontrol`, `paket_listesi` under /servis/, GET and POST alike.

Its own account asks for its balance under /znet_tl/servis/bakiye_kontrol.php, because the PIN half has that path too.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
    message,
    number,
)
from apps.simulator.fates import RefuseClass, StatusFault
from apps.simulator.faults import EMPTY
from apps.simulator.wire import Reply, Request
from apps.simulator.world import Ask, Look, State, World, bought

TEN_MINUTES_S = 600.0


class RepeatPolicy(StrEnum):
    DOCUMENT = "document"  # code 8: ask about it
    CLONE_A = "clone_a"  # a refusal code for a reference that was bought
    CLONE_B = "clone_b"  # the first answer once more


class UnknownReference(StrEnum):
    CLONE_A = "clone_a"  # nothing at all
    CLONE_B = "clone_b"  # looks like a cancellation


@dataclass(frozen=True, slots=True)
class AirtimeSwitches(TextSwitches):
    repeat_policy: RepeatPolicy = RepeatPolicy.DOCUMENT
    unknown_reference: UnknownReference = UnknownReference.CLONE_B
    ten_minute_rule: bool = True
    wrong_ip: bool = False
    dealer_disabled: bool = False
    success_names_operator: bool = False
    cancel_has_cost: bool = False
    cancel_falls_through: bool = False
    line_feeds: bool = False


SWITCH_CHECKS: dict[str, strict.Check] = TEXT_CHECKS | {
    "repeat_policy": strict.one_of(RepeatPolicy),
    "unknown_reference": strict.one_of(UnknownReference),
    "ten_minute_rule": strict.flag,
    "wrong_ip": strict.flag,
    "dealer_disabled": strict.flag,
    "success_names_operator": strict.flag,
    "cancel_has_cost": strict.flag,
    "cancel_falls_through": strict.flag,
    "line_feeds": strict.flag,
}


def _product(operator: str, kind: str, kontor: str, price: str, name: str, *, is_inquiry: bool = False) -> Product:
    row = {"operator": operator, "type": kind, "name": name, "is_inquiry": is_inquiry}
    return Product(f"{operator.lower()}/{kind.lower()}", kontor, Decimal(price), gives_codes=False, row=row)


# An inquiry costs nothing and is answered as a cancellation that recommends packages.
PRODUCTS: tuple[Product, ...] = (
    _product("Turkcell", "Tam", "100", "95.50", "100 TL"),
    _product("Turkcell", "3gCep", "8401", "210.00", "Cep 10 GB"),
    _product("Vodafone", "Tam", "50", "47.25", "50 TL"),
    _product("Vodafone", "Ses", "515", "1250.00", "Yıllık Ses"),
    _product("Vodafone", "Ses", "5001", "0.00", "Ses Sorgu", is_inquiry=True),
    _product("Avea", "Sms", "1000", "18.40", "1000 SMS"),
)

STATE_CODES: dict[State, str] = {
    State.WAITING: "2",
    State.DELIVERED: "1",
    State.PARTIAL: "1",
    State.CANCELLED: "3",
    State.REVERSED: "3",
}
UNKNOWN_CODE = "6"

REFUSALS: dict[RefuseClass, str] = {
    RefuseClass.BALANCE: "OK|3|Bakiye Yetersiz|0.00",
    RefuseClass.PRODUCT: "OK|3|Aktif Kontor Miktarı Bulunamadı.|0.00",
    RefuseClass.AUTH: "OK|3|Yetki Yetersiz! Yukleme|0.00",
    RefuseClass.OTHER: "OK|3|Sistemsel hata. Tekrar deneyiniz.|0.00",
}
UNLISTED_TEXT = "OK|3|Aktif Kontor VodafoneSes8401|0.00|"
UNCERTAIN_TEXT = "OK|5|Bağlantı Hatası|0.00"
MISSING_PARAMETER = "OK|3|Eksik Parametre|0.00"
SAME_NUMBER = "OK|3|Aynı Numaraya Aynı Miktarda 10 Dakika İçinde İşlem Gerçekleşti|0.00"
WRONG_IP = "OK|3|ip geçersiz|0.00"
TAKEN = "Talebiniz İşleme Alınmıştır."
ADVICE = "3:Ses paketi yok. Tavsiye= ,12,34,:"

REPEATS: dict[RepeatPolicy, str] = {
    RepeatPolicy.DOCUMENT: "OK|8|Bu İşlem Daha Önce Gönderildi|0.00",
    RepeatPolicy.CLONE_A: "OK|3|Tekil numara çakışması.|0.00",
}
UNKNOWN_REFERENCES: dict[UnknownReference, str] = {
    UnknownReference.CLONE_A: "",
    UnknownReference.CLONE_B: "3:Bu referansla işlem yok:0",
}
BAD_PASSWORDS: dict[BadPassword, str] = {
    BadPassword.DOCUMENT: CLONE_B,  # the document's words; clone B took them over
    BadPassword.CLONE_A: CLONE_A,
    BadPassword.CLONE_B: CLONE_B,
}


def balance(request: Request, world: World, now: float) -> Reply:
    if not _is_known(request, world, "kod"):
        return EMPTY if world.switches.bad_password is BadPassword.DOCUMENT else message(_stranger(world), world)
    return balance_text(world)


def packages(request: Request, world: World, now: float) -> Reply:
    if not _is_known(request, world):
        return message(_stranger(world), world)
    end = "^\r\n" if world.switches.line_feeds else "^"
    return message("".join(_package(product, world) + end for product in PRODUCTS), world)


def _package(product: Product, world: World) -> str:
    row = product.row
    fields = (row["operator"], row["type"], product.kupur, number(product.cost, world), row["name"])
    return "|".join(fields) + "|"


# tl_servis.php


def place(request: Request, world: World, now: float) -> Reply:
    if world.switches.dealer_disabled and world.switches.bad_password is not BadPassword.CLONE_B:
        return EMPTY
    return placing.place(_read_ask(request.params), world, now, is_ours=_is_known(request, world))


def _read_ask(params: dict[str, str]) -> Ask:
    return Ask(
        account=params.get("bayi_kodu", ""),
        reference=params.get("tekilnumara", ""),
        product=f"{params.get('operator', '')}/{params.get('tip', '')}".lower(),
        kupur=params.get("kontor", "").removesuffix(".00"),
        recipient=params.get("gsmno", ""),
    )


def _product_of(ask: Ask, world: World) -> Product:
    if not ask.reference or not re.fullmatch(r"5\d{9}", ask.recipient, re.ASCII):
        raise Refused(MISSING_PARAMETER)
    product = world.dialect.find_product(ask.product, ask.kupur)
    if product is None:
        raise Refused(REFUSALS[RefuseClass.PRODUCT])
    if world.switches.ten_minute_rule and _was_just_sold(ask, world):
        raise Refused(SAME_NUMBER)
    return product


def _was_just_sold(ask: Ask, world: World) -> bool:
    """Whether this number got this amount within ten minutes, an order that was cancelled not counted."""
    wanted = (ask.recipient, ask.product, ask.kupur)
    return any(
        (each.ask.recipient, each.ask.product, each.ask.kupur) == wanted
        for each in world.younger_than(TEN_MINUTES_S)
        if each.state is not State.CANCELLED
    )


def _accepted(look: Look, world: World) -> Reply:
    return message(f"OK|1|{TAKEN}|{number(bought(look).cost, world)}", world)


def _repeated(first: Look, world: World) -> tuple[str, Reply]:
    policy = world.switches.repeat_policy
    text = REPEATS.get(policy)
    return policy, message(text, world) if text else _accepted(first, world)


# tl_kontrol.php


def status(request: Request, world: World, now: float) -> Reply:
    if not _is_known(request, world):
        return _bad_login(world)
    look = world.look(now, reference=request.params.get("tekilnumara", ""))
    return asking.answer([look], world, lambda: _tell(look, world))


def _tell(look: Look, world: World) -> Reply:
    if look.fault is StatusFault.UNKNOWN_WORD:
        return message(f"{UNKNOWN_CODE}:sorgulaniyor:0", world)
    if look.purchase is None:
        return message(UNKNOWN_REFERENCES[world.switches.unknown_reference], world)
    return message(SENTENCES.get(look.word, _waiting)(look, world), world)


def _waiting(look: Look, world: World) -> str:
    return f"{look.word}:islemde:{number(bought(look).cost, world)}"


def _done(look: Look, world: World) -> str:
    purchase = bought(look)
    product = world.dialect.find_product(purchase.ask.product, purchase.ask.kupur)
    if product and product.row["is_inquiry"]:
        return ADVICE
    named = f"Ref.No={purchase.order_id}_Abone=AYSE" if world.switches.success_names_operator else "olumlu_islem"
    return f"{look.word}:{purchase.fate.description or named}:{number(purchase.cost, world)}"


def _cancelled(look: Look, world: World) -> str:
    purchase, switches = bought(look), world.switches
    reason = "iptal_nedeni" if purchase.fate.cancel_text is None else purchase.fate.cancel_text
    if switches.cancel_falls_through:
        return f"{look.word}:{reason}2:islemde:"
    return f"{look.word}:{reason}:0" if switches.cancel_has_cost else f"{look.word}:{reason}"


SENTENCES: dict[str, Callable[[Look, World], str]] = {"1": _done, "2": _waiting, "3": _cancelled}


# Logins


def _is_known(request: Request, world: World, login: str = "bayi_kodu") -> bool:
    account, params, switches = world.account, request.params, world.switches
    is_right = params.get(login) == account.login and params.get("sifre") == account.password
    return is_right and not switches.wrong_ip and not switches.dealer_disabled


def _stranger(world: World) -> str:
    return WRONG_IP if world.switches.wrong_ip else BAD_PASSWORDS[world.switches.bad_password]


def _bad_login(world: World) -> Reply:
    switches = world.switches
    if switches.dealer_disabled and switches.bad_password is not BadPassword.CLONE_B:
        return EMPTY
    is_clone_b = switches.bad_password is BadPassword.CLONE_B and not switches.wrong_ip
    return message(CLONE_B_STATUS if is_clone_b else _stranger(world), world)


DIALECT = Dialect(
    name="znet_tl",
    routes={
        "/servis/tl_servis.php": place,
        "/servis/tl_kontrol.php": status,
        "/servis/paket_listesi.php": packages,
        "/servis/bakiye_kontrol.php": balance,
    },
    words=Words(
        states=STATE_CODES,
        unknown_state=UNKNOWN_CODE,
        refusals=REFUSALS,
        unlisted=UNLISTED_TEXT,
        uncertain=UNCERTAIN_TEXT,
        stranger=_stranger,
        bad_login=_bad_login,
        product_of=_product_of,
        accepted=_accepted,
        refuse=message,
        repeated=_repeated,
    ),
    products=PRODUCTS,
    currency="TRY",
    balance=Decimal("100000.00"),
    switches=AirtimeSwitches(),
    switch_checks=SWITCH_CHECKS,
    cannot={
        "P18": "its answers name no time",
        "P22": "it asks about one order at a time",
        **dict.fromkeys(("V3", "V4", "V5", "V9", "V11"), "airtime has no PIN"),
        "V6": "its quantity is always one",
    },
)
