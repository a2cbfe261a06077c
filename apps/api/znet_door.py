"""The selling side of the ZNET panels (`/servis/*.php`): software that buys at such a panel buys here as there.

Every answer is text with status 200, as its readers expect; only what broke here is a 500 without a word. A login that
fails is answered by silence wherever a text could be read as the end of an order. The shapes are in
`znet_door_shapes`.
"""

from __future__ import annotations

import functools
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from django.http import HttpRequest, HttpResponse
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt

from apps.accounts.keys import Caller, find_caller
from apps.accounts.models import Customer
from apps.api import znet_door_shapes as shapes
from apps.api.client_api_shapes import fields_of
from apps.api.dialects import WHOLE, Unreadable, find_order, find_package, orders_of, packages_of, read_params
from apps.catalog.models import InputField, Package
from apps.common import clock
from apps.common.logs import get_logger
from apps.common.money import Money, format_amount
from apps.orders import creation, unseen
from apps.orders.chains import Origin
from apps.orders.creation import NewOrder
from apps.orders.models import Order
from apps.wallet import ledger

log = get_logger(__name__)

METHODS = ("GET", "POST")
TEXT, JSON = "text/plain; charset=utf-8", "application/json; charset=utf-8"

LOGIN_FAILED = "bayikodu yada şifre geçersiz"
NO_PRODUCT = "Kupur Bilgisi Bulunamadı"
NO_BALANCE = "Bakiye Yetersiz"
NO_STOCK = "Stok yok"
BAD_FIELD = "Oyuncu bilgisi geçersiz"
BAD_REFERENCE = "Eksik Parametre: referans"
BAD_REQUEST = "Eksik Parametre"
NO_RECORD = "Kayıt Bulunamadı"
CLOSED = "Bu referans kapandı, ürün satışa kapalı"
USED_BEFORE = "Bu referans daha önce başka bir sipariş için kullanıldı"
REPEATED = "Bu ürün bu oyuncu için kısa süre geçersiz: sipariş {order_id}; bilerek ise repeat={next_repeat}"
TL_SENT_BEFORE = "OK|8|Bu İşlem Daha Önce Gönderildi|0.00"
TL_REPEATED = "Aynı Numaraya Aynı Miktarda 10 Dakika İçinde İşlem Gerçekleşti"
TL_TAKEN = "Talebiniz İşleme Alınmıştır."

REFUSALS: dict[type[creation.OrderRefused], str] = {
    creation.NotEnoughBalance: NO_BALANCE,
    creation.BadField: BAD_FIELD,
    creation.UnknownPackage: NO_PRODUCT,
    creation.WrongQuantity: NO_PRODUCT,
    creation.NotSellable: NO_STOCK,
    creation.LoopRefused: NO_STOCK,
    creation.BadKey: BAD_REFERENCE,
}
"""What a refused order is called here. Any other refusal is `NO_STOCK`: nothing was written, nobody is named."""

_REFERENCE = re.compile(r"[0-9A-Za-z_-]{1,50}")
_RANK: dict[str, int] = {
    InputField.Target.USER_IDENTIFIER: 0,
    InputField.Target.EXTRA_FIELD: 1,
    InputField.Target.PARAM: 2,
}


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


@dataclass(frozen=True, slots=True)
class Voice:
    """How one address says that it does not serve, and that the login is wrong."""

    refuse: Callable[[str], str]
    login_failed: str
    content_type: str = TEXT


def _numbered(text: str) -> str:
    return f"3|{text}"


def _tl_refused(text: str) -> str:
    return f"OK|3|{text}|0.00"


ORDERING = Voice(_numbered, _numbered(LOGIN_FAILED))
ASKING = Voice(_numbered, "")
"""Some clients read any `3` here as a cancelled order, and give money back for one that is alive."""
SILENT = Voice(lambda text: "", "")
LISTING = Voice(shapes.tell_no_list, shapes.tell_no_list(LOGIN_FAILED), JSON)
TL_ORDERING = Voice(_tl_refused, _tl_refused(LOGIN_FAILED))


def door(view: Callable[[Call], str], voice: Voice) -> Callable[[HttpRequest], HttpResponse]:
    """Find the caller, serve, and tell every refusal in the voice of the address. No cookie opens anything here."""

    @csrf_exempt
    @functools.wraps(view)
    def answer(request: HttpRequest) -> HttpResponse:
        try:
            return respond(serve(view, voice, request), voice.content_type)
        except Exception as error:
            log.exception("znet_door_failed", path=request.path, error=type(error).__name__)
            return respond("", TEXT, status=500)

    return answer


def serve(view: Callable[[Call], str], voice: Voice, request: HttpRequest) -> str:
    """What the address answers to this request."""
    try:
        if request.method not in METHODS:
            raise Refused(BAD_REQUEST)
        params = read_params(request)
        caller = log_in(params)
        return voice.login_failed if caller is None else view(Call(caller, params))
    except Unreadable:
        return voice.refuse(BAD_REQUEST)
    except Refused as refused:
        return voice.refuse(str(refused))
    except unseen.ReferenceClosed:
        return voice.refuse(CLOSED)
    except creation.OrderRefused as refused:
        log.info("order_refused", refusal=refused.code, detail=refused.detail)
        return voice.refuse(REFUSALS.get(type(refused), NO_STOCK))


def respond(text: str, content_type: str, status: int = 200) -> HttpResponse:
    """A text of which nobody keeps a copy."""
    response = HttpResponse(text.encode(), status=status, content_type=content_type)
    response["Cache-Control"] = "no-store"
    return response


def log_in(params: Mapping[str, str]) -> Caller | None:
    """The caller whose API key is `sifre` and whose key's id is `kod`, which airtime calls `bayi_kodu`; in constant
    time."""
    caller = find_caller(params.get("sifre", "").strip(), clock.now())
    told = (params.get("kod") or params.get("bayi_kodu") or "").strip()
    is_named = hmac.compare_digest(told.encode(), (caller.key_id if caller else "").encode())
    return caller if is_named else None


def show_balance(call: Call) -> str:
    """The wallet of the caller."""
    return shapes.tell_balance(balance_of(call))


def balance_of(call: Call) -> Money:
    """What the caller can spend without credit."""
    return ledger.balance_of(call.customer.pk, call.customer.currency)


def list_pins(call: Call) -> str:
    """What the caller may buy one at a time."""
    return shapes.tell_list(packages_of(call.customer), call.customer, clock.now())


def list_airtime(call: Call) -> str:
    """What the caller may load on a telephone number."""
    return shapes.tell_airtime(packages_of(call.customer), call.customer, clock.now())


def add_pin(call: Call) -> str:
    """Order one unit, once per `referans`; a repeat of the same is told as the first, another under it is refused."""
    reference = read_reference(call, "referans")
    package = find_package(call.customer, call.get("kupur"))
    if package is not None and str(package.product_id) != call.get("oyun"):
        package = None
    fields = name_fields(package, call.get("oyuncu_bilgi"), call.get("musteri_tel")) if package else {}
    try:
        order, _ = place_once(call, package, fields, reference)
    except creation.RepeatSuspected as refused:
        log.info("order_refused", refusal=refused.code, detail=refused.detail)
        raise Refused(REPEATED.format(order_id=refused.order_id, next_repeat=refused.next_repeat)) from refused
    return shapes.tell_taken(order, balance_of(call))


def load_airtime(call: Call) -> str:
    """Load one amount on one number, once per `tekilnumara`; a repeat is told as what was sent before."""
    reference = read_reference(call, "tekilnumara")
    package = find_airtime(call)
    number = InputField.Target.USER_IDENTIFIER
    names = [field.name for field in package.product.fields.all() if field.target == number] if package else []
    fields = {name: call.get("gsmno") for name in names}
    try:
        order, is_repeated = place_once(call, package, fields, reference)
    except creation.RepeatSuspected as refused:
        log.info("order_refused", refusal=refused.code, detail=refused.detail)
        raise Refused(TL_REPEATED) from refused
    if is_repeated:
        return TL_SENT_BEFORE
    return f"OK|1|{TL_TAKEN}|{format_amount(order.price_micros)}"


def find_airtime(call: Call) -> Package | None:
    """The package whose code says this operator, kind and amount, written with `.00` or without, in any letters."""
    kontor = call.get("kontor").removesuffix(".00")
    code = f"{call.get('operator')}-{call.get('tip')}-{kontor}"
    packages = Package.objects.select_related("product").prefetch_related("product__fields")
    package = packages.filter(tenant_id=call.customer.tenant_id, code__iexact=code[:60]).order_by("pk").first()
    return package if package is not None and shapes.airtime_of(package) else None


def place_once(call: Call, package: Package | None, fields: Mapping[str, str], reference: str) -> tuple[Order, bool]:
    """The order under the reference, and whether it was there before. Raises `Refused`, or what the core refuses with.

    A repeat is the same when it names the same package and fields, whatever has become of prices since.
    """
    first = find_order(call.customer, reference)
    if first is None:
        if package is None:
            raise Refused(NO_PRODUCT)
        new = NewOrder(package.code, 1, fields, repeat=read_repeat(call), origin=Origin(reference, call.caller.key_id))
        try:
            created = unseen.create_unless_closed(call.customer, new, reference, clock.now())
        except creation.IdempotencyMismatch:
            first = orders_of(call.customer).get(idempotency_key=reference)
        else:
            return created.order, created.is_replay
    if package is None or not is_same(first, package, fields):
        raise Refused(USED_BEFORE)
    return first, True


def is_same(first: Order, package: Package, fields: Mapping[str, str]) -> bool:
    """Whether the first order under a reference is for this package, one unit of it, and these fields."""
    told = {name: value for name, value in fields.items() if value}
    return (first.package_id, first.quantity, fields_of(first)) == (package.pk, 1, told)


def read_reference(call: Call, name: str) -> str:
    """The buyer's own number for the order. Raises `Refused`: without one an order could not be repeated safely."""
    text = call.get(name)
    if not _REFERENCE.fullmatch(text):
        raise Refused(BAD_REFERENCE)
    return text


def read_repeat(call: Call) -> int:
    """Which of several of the same this is, where the buyer says that the same again is meant."""
    text = call.get("repeat") or "0"
    if not WHOLE.fullmatch(text):
        raise Refused(BAD_REQUEST)
    return int(text)


def name_fields(package: Package, info: str, phone: str) -> dict[str, str]:
    """The buyer's two texts by the product's names.

    `oyuncu_bilgi` holds the recipient, the extra field and the parameters with one space between, in this order, the
    last one with all that is left. `musteri_tel` fills telephone numbers; clients that have none repeat the player
    there. A product that asks for nothing takes nothing.
    """
    fields = list(package.product.fields.all())
    phones = [field for field in fields if field.kind == InputField.Kind.PHONE]
    worded = sorted((field for field in fields if field not in phones), key=lambda field: _RANK[field.target])
    words = info.split(maxsplit=len(worded) - 1) if worded else []
    if worded and phone in (info, *words):
        phone = ""
    named = {field.name: word.strip() for field, word in zip(worded, words, strict=False)}
    return named | {field.name: phone or ("" if worded else info) for field in phones}


def check_pin(call: Call) -> str:
    """The state of the order under `tahsilat_api_islem_id`, the buyer's own reference."""
    reference = read_reference(call, "tahsilat_api_islem_id")
    order = find_seen(call, reference)
    return shapes.tell_state(order, call.caller.key_id, clock.now()) if order else shapes.tell_on_its_way()


def check_airtime(call: Call) -> str:
    """The state of the order under `tekilnumara`."""
    order = find_seen(call, read_reference(call, "tekilnumara"))
    return shapes.tell_loading(order) if order else shapes.tell_loading_on_its_way()


def find_seen(call: Call, reference: str) -> Order | None:
    """The caller's order; None while it may be on its way. Raises `Refused` when there is none and will be none."""
    order = find_order(call.customer, reference)
    if order is None and unseen.is_absent(call.customer, reference, clock.now()):
        raise Refused(NO_RECORD)
    return order or find_order(call.customer, reference)


def nothing_here(request: HttpRequest) -> HttpResponse:
    """Whatever address this protocol does not have."""
    return respond("", TEXT, status=404)


ADDRESSES: dict[str, tuple[Callable[[Call], str], Voice]] = {
    "bakiye_kontrol": (show_balance, SILENT),
    "pin_listesi": (list_pins, LISTING),
    "pin_ekle": (add_pin, ORDERING),
    "pin_kontrol": (check_pin, ASKING),
    "paket_listesi": (list_airtime, TL_ORDERING),
    "tl_servis": (load_airtime, TL_ORDERING),
    "tl_kontrol": (check_airtime, ASKING),
}
"""Every address with who serves it and how it refuses."""

app_name = "znet_door"
urlpatterns: list[URLPattern] = [
    *(path(f"{name}.php", door(view, voice), name=name) for name, (view, voice) in ADDRESSES.items()),
    re_path("", csrf_exempt(nothing_here)),
]
