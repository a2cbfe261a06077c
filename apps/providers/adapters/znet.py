"""The PIN part of the ZNET reseller panels (`/servis/pin_*.php`): GET requests, answers as text split by `|`.

The panel's document knows four things: `OK|cost|balance` and `3|text` for an order, `OK|state|pin|description` for a
question, `OK|balance` for money. There is no table of errors, only free Turkish text, so `REFUSAL_WORDS` is the table.
Airtime (`tl_*.php`) is another protocol and does not live here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from functools import cache, partial
from types import MappingProxyType
from typing import TypeVar

from apps.common.wire import REDACTED, Answer, HttpCall, HttpReply, NotSent
from apps.providers.contract import (
    CATALOGUE_LIMIT,
    Account,
    Balance,
    Capabilities,
    Catalogue,
    CatalogueItem,
    Code,
    Knob,
    OrderRef,
    Outcome,
    PlaceRequest,
    PollPlan,
    Result,
    Talk,
    TalkBalance,
    TalkCatalogue,
    TalkMany,
)
from apps.providers.parsing import (
    decode_text,
    decode_url,
    decode_url_field,
    fold_turkish,
    is_blank_code,
    is_html,
    parse_amount,
    parse_json,
)


class TextClass(StrEnum):
    """What kind of thing a panel's free text says."""

    BALANCE = "balance"  # our money there is too low
    PRODUCT = "product"  # no such game or denomination, or not on sale
    STOCK = "stock"  # on sale, but none left
    LOGIN = "login"  # credentials, address or permission
    DUPLICATE = "duplicate"  # this order may exist already
    TEMPORARY = "temporary"  # their trouble: the order may exist
    OPENED = "opened"  # sounds as if something was done
    NO_RECORD = "no_record"  # questions only: no order with that reference


Words = tuple[tuple[str, TextClass], ...]

REFUSAL_WORDS: Words = (
    ("bakiye* .. yetersiz*", TextClass.BALANCE),
    ("yetersiz* bakiye*", TextClass.BALANCE),
    ("bakiye* .. yeterli degil*", TextClass.BALANCE),
    ("bakiye* .. yetmiyor", TextClass.BALANCE),
    ("kupur* .. bulunam*", TextClass.PRODUCT),
    ("oyun* .. bulunam*", TextClass.PRODUCT),
    ("urun* .. bulunam*", TextClass.PRODUCT),
    ("paket* .. bulunam*", TextClass.PRODUCT),
    ("kontor* .. bulunam*", TextClass.PRODUCT),
    ("kupur* .. gecersiz*", TextClass.PRODUCT),
    ("oyun* .. gecersiz*", TextClass.PRODUCT),
    ("urun* .. gecersiz*", TextClass.PRODUCT),
    ("gecersiz* kupur*", TextClass.PRODUCT),
    ("gecersiz* oyun*", TextClass.PRODUCT),
    ("gecersiz* urun*", TextClass.PRODUCT),
    ("kupur* .. aktif degil*", TextClass.PRODUCT),
    ("oyun* .. aktif degil*", TextClass.PRODUCT),
    ("urun* .. aktif degil*", TextClass.PRODUCT),
    ("satisa kapali*", TextClass.PRODUCT),
    ("stok* .. yok", TextClass.STOCK),
    ("stok* .. yoktur", TextClass.STOCK),
    ("stok* .. yetersiz*", TextClass.STOCK),
    ("yetersiz* stok*", TextClass.STOCK),
    ("stok* .. bulunam*", TextClass.STOCK),
    ("stok* .. tuken*", TextClass.STOCK),
    ("stok* .. kalmad*", TextClass.STOCK),
    ("sifre* .. gecersiz*", TextClass.LOGIN),
    ("sifre* .. hatali*", TextClass.LOGIN),
    ("sifre* .. yanlis*", TextClass.LOGIN),
    ("gecersiz* .. sifre*", TextClass.LOGIN),
    ("hatali* .. sifre*", TextClass.LOGIN),
    ("yanlis* .. sifre*", TextClass.LOGIN),
    ("bayikodu* .. gecersiz*", TextClass.LOGIN),
    ("bayikodu* .. hatali*", TextClass.LOGIN),
    ("hatali* bayikodu*", TextClass.LOGIN),
    ("bayi kodu* .. gecersiz*", TextClass.LOGIN),
    ("bayi kodu* .. hatali*", TextClass.LOGIN),
    ("hatali* bayi kodu*", TextClass.LOGIN),
    ("bayi* bulunam*", TextClass.LOGIN),
    ("bayi* .. aktif degil*", TextClass.LOGIN),
    ("bayi* .. pasif*", TextClass.LOGIN),
    ("bayi* .. kapali*", TextClass.LOGIN),
    ("api .. aktif degil*", TextClass.LOGIN),
    ("api .. kapali*", TextClass.LOGIN),
    ("yetki* .. yetersiz*", TextClass.LOGIN),
    ("yetkisiz*", TextClass.LOGIN),
    ("yetki* yok*", TextClass.LOGIN),
    ("yetki* bulunm*", TextClass.LOGIN),
    ("ip", TextClass.LOGIN),
    ("daha once*", TextClass.DUPLICATE),
    ("onceden", TextClass.DUPLICATE),
    ("cakis*", TextClass.DUPLICATE),
    ("mukerrer*", TextClass.DUPLICATE),
    ("zaten", TextClass.DUPLICATE),
    ("ayni", TextClass.DUPLICATE),
    ("duplicate*", TextClass.DUPLICATE),
    ("already", TextClass.DUPLICATE),
    ("sistem*", TextClass.TEMPORARY),
    ("baglanti*", TextClass.TEMPORARY),
    ("tekrar*", TextClass.TEMPORARY),
    ("sunucu*", TextClass.TEMPORARY),
    ("servis*", TextClass.TEMPORARY),
    ("gecici*", TextClass.TEMPORARY),
    ("bakim*", TextClass.TEMPORARY),
    ("zaman asim*", TextClass.TEMPORARY),
    ("timeout*", TextClass.TEMPORARY),
    ("mesgul*", TextClass.TEMPORARY),
    ("yogun*", TextClass.TEMPORARY),
    ("daha sonra", TextClass.TEMPORARY),
    ("hata olus*", TextClass.TEMPORARY),
    ("bilinmeyen*", TextClass.TEMPORARY),
    ("ok", TextClass.OPENED),
    ("isleme alindi*", TextClass.OPENED),
    ("isleme alinmis*", TextClass.OPENED),
    ("isleniyor*", TextClass.OPENED),
    ("islemde", TextClass.OPENED),
    ("bekle*", TextClass.OPENED),
    ("bekli*", TextClass.OPENED),
    ("gonderil*", TextClass.OPENED),
    ("yuklendi*", TextClass.OPENED),
    ("yukleniyor*", TextClass.OPENED),
    ("onayland*", TextClass.OPENED),
    ("basarili*", TextClass.OPENED),
    ("basariyla", TextClass.OPENED),
    ("tamamland*", TextClass.OPENED),
    ("olusturuldu*", TextClass.OPENED),
    ("islem* yok*", TextClass.NO_RECORD),
    ("islem* bulunam*", TextClass.NO_RECORD),
    ("kayit* yok*", TextClass.NO_RECORD),
    ("kayit* bulunam*", TextClass.NO_RECORD),
    ("kaydi* bulunam*", TextClass.NO_RECORD),
    ("siparis* yok*", TextClass.NO_RECORD),
    ("siparis* bulunam*", TextClass.NO_RECORD),
    ("talep* bulunam*", TextClass.NO_RECORD),
    ("referans* yok*", TextClass.NO_RECORD),
    ("referans* bulunam*", TextClass.NO_RECORD),
)
"""Panel texts, folded (`fold_turkish`): `stem*` is a word beginning so, a word without a star is a whole word, `..` is
anything inside one sentence. Words that could also stand in a good answer (`bakiye`, `stok`, `sifre`, `aktif`) count
only beside the word that makes them a refusal; the classes after LOGIN are no refusals but forbid one. Sources: the
document, the clone servers and live replies; the synonyms are ours."""

FOUND_NOTHING = "bulunam"
"""In an answer that is no order's state (`3|...`) this stem is enough: what was asked for is the order."""

REFUSALS: Mapping[frozenset[TextClass], Outcome] = {
    frozenset({TextClass.BALANCE}): Outcome.INSUFFICIENT_BALANCE,
    frozenset({TextClass.PRODUCT}): Outcome.REJECTED,
    frozenset({TextClass.STOCK}): Outcome.OUT_OF_STOCK,
    frozenset({TextClass.PRODUCT, TextClass.STOCK}): Outcome.OUT_OF_STOCK,
    frozenset({TextClass.LOGIN}): Outcome.AUTH_ERROR,
}
"""What a refused order is, by all the classes of its text together. Any other set of classes is no refusal."""

CONNECTION_CODE = "8"
"""`8|...` is a trouble between the panel and its supplier: the order may exist, whatever the text says."""

ORDER_CALL, QUESTION_CALL, BALANCE_CALL = "pin_ekle", "pin_kontrol", "bakiye_kontrol"
LIST_CALL = "pin_listesi"
LIST_TIMEOUT_S = 60
CURRENCIES: Mapping[str, str] = MappingProxyType({"tl": "TRY", "₺": "TRY", "try": "TRY", "usd": "USD", "eur": "EUR"})
"""What `para_birimi` may say; a price in any other money is no price."""
TEXT_LIMIT = 500
"""Characters of provider text that are read for its class, and kept as a reason; what is longer has no class."""

_FAILURE = re.compile(r"([0-9]{1,4})\s*\|(.*)", re.DOTALL)
_ENCODED_FIELD = re.compile(r"[\w.~!'()*+%-]*", re.ASCII)
_TAG = re.compile(r"<[^>]*>")
_GAP = r"(?:(?![.!?;|]\s).)*?"

Read = TypeVar("Read", Result, Balance, Catalogue)


@dataclass(frozen=True, slots=True)
class Order:
    """The order an answer is about; makes results that carry its reference and the account's currency."""

    account: Account
    own_ref: str

    def result(self, outcome: Outcome, code: str = "", text: str = "", *, duplicate: bool = False) -> Result:
        """An outcome with the panel's number and words, these without secrets."""
        return Result(
            outcome=outcome,
            own_ref=self.own_ref,
            currency=self.account.currency,
            reason_code=code,
            reason=clean_reason(text, self.account),
            duplicate=duplicate,
        )


class Znet:
    """ZNET PIN: orders one PIN or one direct top-up per request, and asks for it by our own reference."""

    kind: str = "znet"
    label: str = "ZNET (PIN)"
    caps: Capabilities = Capabilities(
        ref_format="digits18",
        ref_max_len=30,
        ref_max_age_s=None,
        dedup="unproven",
        resend_same_ref_safe=False,
        resend_min_gap_s=60,
        find_by_own_ref=True,
        absent_after_s=None,
        ask_may_create=False,
        query_window_s=None,
        status_batch_max=1,
        list_form="one",
        send_window_s=20,
        place_timeout_s=30,
        ask_timeout_s=20,
        resolve_margin_s=10,
        review_after_s=900,
        rate_per_s=5,
        burst=4,
        poll=PollPlan(first_s=60, base_s=30, cap_s=600, floor_s=10),
        flipping=frozenset({"failed"}),
        final_after_s=43200,
        failed_final_after_s=60,
        quantity="one",
        webhook="none",
        balance_check=True,
    )
    secret_fields: tuple[str, ...] = ("sifre",)
    mapping_fields: tuple[str, ...] = ("oyun", "kupur")
    option_fields: Mapping[str, Knob] = MappingProxyType(
        {"dedup": Knob("choice", ("unproven", "rejects", "returns_original")), "resend_same_ref_safe": Knob("flag")}
    )

    def place(self, account: Account, request: PlaceRequest) -> Talk:
        """Orders one unit. Raises ValueError at once, before any call, for a request that this protocol cannot say."""
        call = build_place_call(self.caps, account, request)
        return _ask(call, partial(read_place, Order(account, request.reference)))

    def status(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        """The state of one order. Raises ValueError for more than one."""
        if len(refs) > self.caps.status_batch_max:
            raise ValueError("ZNET answers one order per question")
        results: dict[str, Result] = {}
        for ref in refs:
            results[ref.own_ref] = yield from self.find(account, ref)
        return results

    def find(self, account: Account, ref: OrderRef) -> Talk:
        """The state of one order by our reference."""
        call = build_call(self.caps, account, QUESTION_CALL, ("tahsilat_api_islem_id", ref.own_ref))
        return _ask(call, partial(read_state, Order(account, ref.own_ref)))

    def balance(self, account: Account) -> TalkBalance:
        """Our credit there less our debt."""
        return _ask(build_call(self.caps, account, BALANCE_CALL), partial(read_balance, account))

    def catalogue(self, account: Account) -> TalkCatalogue:
        """Everything on the panel's list, each pair of ids once."""
        call = replace(build_call(self.caps, account, LIST_CALL), timeout_s=LIST_TIMEOUT_S, limit_bytes=CATALOGUE_LIMIT)
        return _ask(call, partial(read_list, account))


def build_place_call(caps: Capabilities, account: Account, request: PlaceRequest) -> HttpCall:
    """The one call that buys. `oyuncu_bilgi` is the recipient and the extra field with one space between."""
    missing = [name for name in ("oyun", "kupur") if not request.product.get(name)]
    if missing:
        raise ValueError(f"ZNET mapping without {', '.join(missing)}")
    if request.quantity != 1:
        raise ValueError("ZNET sells one unit per order")
    return build_call(
        caps,
        account,
        ORDER_CALL,
        ("oyun", request.product["oyun"]),
        ("kupur", request.product["kupur"]),
        ("referans", request.reference),
        ("musteri_tel", request.params.get("phone") or request.recipient),
        ("oyuncu_bilgi", " ".join(part for part in (request.recipient, request.extra_field) if part)),
    )


def build_call(caps: Capabilities, account: Account, name: str, *params: tuple[str, str]) -> HttpCall:
    """A GET to `/servis/<name>.php` with the credentials in front; both are marked as secrets."""
    login = (("kod", account.login), ("sifre", account.secrets.get("sifre", "")))
    if name == ORDER_CALL:
        timeout_s = _seconds(account, "place_timeout_s", caps.place_timeout_s)
    else:
        timeout_s = _seconds(account, "ask_timeout_s", caps.ask_timeout_s)
    return HttpCall(
        method="GET",
        url=f"{account.base_url.rstrip('/')}/servis/{name}.php",
        params=(*login, *params),
        headers=(("Cache-Control", "no-cache"),),
        timeout_s=timeout_s,
        secrets=frozenset({"kod", "sifre"}),
    )


def _seconds(account: Account, option: str, default: float) -> float:
    value = account.options.get(option)
    return float(value) if isinstance(value, int | float) else default


def _ask(call: HttpCall, read: Callable[[Answer], Read]) -> Generator[HttpCall, Answer, Read]:
    answer = yield call
    return read(answer)


def read_place(order: Order, answer: Answer) -> Result:
    """What an answer of `pin_ekle` says. Only `OK|` is acceptance, only a row of `REFUSALS` is a refusal."""
    if isinstance(answer, NotSent):
        return order.result(Outcome.NOT_SENT, answer.reason.value, answer.detail)
    text, trouble = read_text(answer)
    if trouble:
        return order.result(Outcome.UNKNOWN, trouble)
    if (fields := split_ok(text)) is not None:
        return _read_accepted(order, fields)
    if failure := _FAILURE.fullmatch(text):
        return _read_refusal(order, failure.group(1), decode_url(failure.group(2).strip(" |")))
    return order.result(Outcome.UNKNOWN, "unlisted", text)


def _read_accepted(order: Order, fields: list[str]) -> Result:
    cost, balance, *_ = (*fields, "", "")
    if _is_airtime_answer(cost, balance):
        return _read_contradiction(order, cost.strip(), decode_url(balance.strip()))
    return Result(
        outcome=Outcome.ACCEPTED,
        own_ref=order.own_ref,
        cost=_amount(cost),
        currency=order.account.currency,
        balance_after=_amount(balance),
    )


def _is_airtime_answer(number: str, text: str) -> bool:
    """Whether fields are `3|bayikodu yada sifre gecersiz`: some panels print this airtime form on every address."""
    is_text = not is_blank_code(text) and _amount(text) is None
    return is_text and re.fullmatch(r"[0-9]", number.strip()) is not None


def _amount(field: str) -> Decimal | None:
    return parse_amount(decode_url(field.strip()))


def _read_contradiction(order: Order, code: str, text: str) -> Result:
    """`OK|3|text` instead of a price: only the login texts were seen on this address, so only they are a refusal."""
    classes = classify(text)
    refused = classes == {TextClass.LOGIN} and code != CONNECTION_CODE
    outcome = Outcome.AUTH_ERROR if refused else Outcome.UNKNOWN
    return order.result(outcome, code, text, duplicate=TextClass.DUPLICATE in classes)


def _read_refusal(order: Order, code: str, text: str) -> Result:
    classes = classify(text)
    outcome = Outcome.UNKNOWN if code == CONNECTION_CODE else REFUSALS.get(classes, Outcome.UNKNOWN)
    return order.result(outcome, code, text, duplicate=TextClass.DUPLICATE in classes)


def read_state(order: Order, answer: Answer) -> Result:
    """What an answer of `pin_kontrol` says; UNKNOWN whenever the question itself failed.

    The line is split three times at most, so that a `|` in the description survives. A PIN that holds a `|` itself
    cannot be told from its description on this wire: what stands before it is the code, the rest is the reason.
    """
    text, trouble = read_text(answer)
    if trouble:
        return order.result(Outcome.UNKNOWN, trouble)
    if (fields := split_ok(text)) is not None:
        return _read_ok_state(order, fields)
    if failure := _FAILURE.fullmatch(text):
        return _read_failed_question(order, failure.group(1), decode_url(failure.group(2).strip(" |")))
    return order.result(Outcome.UNKNOWN, "unlisted", prose_only(text))


def _read_ok_state(order: Order, fields: list[str]) -> Result:
    state, pin, written = (*(field.strip() for field in fields), "", "", "")[:3]
    description = decode_url(written.rstrip("| "))
    pin = _read_pin(pin, is_encoded=description != written.rstrip("| "))
    if pin and (state == "2" or not prose_only(pin)):
        description = description.replace(pin, REDACTED)
    if state == "1":
        return order.result(Outcome.ACCEPTED, state, description)
    if state == "2":
        return _read_delivered(order, pin, description)
    if state == "3":
        return _read_cancelled(order, pin, description)
    return order.result(Outcome.UNKNOWN, f"state_{state[:20]}", description)


def _read_pin(field: str, *, is_encoded: bool) -> str:
    """The PIN exactly as written, or nothing for one of the blank forms, which some panels url-encode (`+-+`).

    It is decoded only where the description proves that the panel encodes its fields: a `+` may belong to a code.
    """
    if is_blank_code(field.replace("+", " ")):
        return ""
    return decode_url_field(field).strip() if is_encoded and _ENCODED_FIELD.fullmatch(field) else field


def _read_delivered(order: Order, pin: str, description: str) -> Result:
    return Result(
        outcome=Outcome.COMPLETED,
        own_ref=order.own_ref,
        currency=order.account.currency,
        codes=(Code(value=pin),) if pin else (),
        reason_code="2",
        reason=clean_reason(description, order.account),
    )


def _read_cancelled(order: Order, pin: str, description: str) -> Result:
    """State 3. Operators type the reason into the PIN field; panels print login errors and "no such order" here, too.

    A login text or a missing record is never a cancelled order: believing it would refund orders that are alive.
    """
    typed = decode_url(pin)
    if _is_airtime_answer("3", typed) and parse_amount(description) is not None:
        return _read_failed_question(order, "3", typed)
    classes = classify(f"{typed} | {description}")
    text = prose_only(typed) if is_blank_code(description) else description
    if TextClass.LOGIN in classes:
        return order.result(Outcome.UNKNOWN, "3", text)
    if TextClass.NO_RECORD in classes:
        return order.result(Outcome.NOT_FOUND, "3", text)
    return order.result(Outcome.REJECTED, "3", text)


def _read_failed_question(order: Order, code: str, text: str) -> Result:
    classes = classify(text)
    if classes & {TextClass.TEMPORARY, TextClass.DUPLICATE, TextClass.OPENED}:
        return order.result(Outcome.UNKNOWN, code, prose_only(text))
    if TextClass.LOGIN in classes:
        return order.result(Outcome.AUTH_ERROR, code, text)
    if TextClass.NO_RECORD in classes or FOUND_NOTHING in fold_turkish(text[:TEXT_LIMIT]):
        return order.result(Outcome.NOT_FOUND, code, text)
    return order.result(Outcome.UNKNOWN, code, prose_only(text))


def read_balance(account: Account, answer: Answer) -> Balance:
    """`OK|credit` or `OK|credit|debt`; an empty answer, a login text or anything else is an error."""
    text, trouble = read_text(answer)
    if trouble:
        return Balance(None, account.currency, error=trouble)
    fields = split_ok(text.rstrip("| "))
    amounts = [_amount(field) for field in fields or ()]
    if len(amounts) not in (1, 2) or None in amounts:
        return Balance(None, account.currency, error=clean_reason(text, account))
    credit, debt = (*(amount for amount in amounts if amount is not None), Decimal(0))[:2]
    return Balance(credit - debt, account.currency, credit=credit, debt=debt)


def read_list(account: Account, answer: Answer) -> Catalogue:
    """What `pin_listesi` lists. A row is ordered by its pair (`oyun_bilgi_id`, `kupur`); one without is left out.

    Some panels list a pair twice: then the dearer row counts. `success: false`, text, and a list without any usable
    row are errors.
    """
    if not isinstance(answer, HttpReply):
        return Catalogue((), answer.reason.value)
    if answer.status != 200:
        return Catalogue((), f"http_{answer.status}")
    text = decode_text(answer.body, answer.headers.get("content-type", "")) or ""
    told = parse_json(text.encode())
    if not isinstance(told, dict):
        return Catalogue((), _why_no_list(account, text))
    if told.get("success") not in (True, "1", "true"):
        return Catalogue((), clean_reason(plain(told.get("error")), account) or "refused_without_a_reason")
    rows = told.get("result")
    found = [item for row in rows if (item := _read_row(account, row))] if isinstance(rows, list) else []
    return Catalogue(_each_once(found), "" if found else "no_usable_row")


def _why_no_list(account: Account, text: str) -> str:
    if not text:
        return "empty"
    return "html" if is_html(text) else clean_reason(text, account) or "not_json"


def _read_row(account: Account, row: object) -> CatalogueItem | None:
    if not isinstance(row, dict):
        return None
    oyun, kupur = plain(row.get("oyun_bilgi_id")), plain(row.get("kupur"))
    if not oyun or not kupur:
        return None
    group = plain(row.get("oyun_adi"))
    money = plain(row.get("para_birimi")).casefold()
    currency = CURRENCIES.get(money, "") if money else account.currency
    cost = parse_amount(plain(row.get("fiyat"))) if currency else None
    return CatalogueItem(
        ids={"oyun": oyun, "kupur": kupur},
        name=plain(row.get("adi")) or f"{group} {kupur}".strip(),
        group=group,
        cost=cost or None,
        currency=currency if cost else "",
    )


def _each_once(items: Sequence[CatalogueItem]) -> tuple[CatalogueItem, ...]:
    dearest: dict[tuple[str, ...], CatalogueItem] = {}
    for item in items:
        pair = tuple(item.ids.values())
        if pair not in dearest or (item.cost or 0) > (dearest[pair].cost or 0):
            dearest[pair] = item
    return tuple(dearest.values())


def plain(value: object) -> str:
    """A value of the list as one line of text: strings and numbers alike, without HTML tags and entities."""
    if not isinstance(value, str | Decimal):
        return ""
    bare = _TAG.sub(" ", html.unescape(_TAG.sub(" ", str(value))))
    return " ".join("".join(letter if letter.isprintable() else " " for letter in bare).split())[:TEXT_LIMIT]


def read_text(answer: Answer) -> tuple[str, str]:
    """The text of a complete answer with status 200, or a word for why there is none; one of the two is empty."""
    if not isinstance(answer, HttpReply):
        return "", answer.reason.value
    if answer.status != 200:
        return "", f"http_{answer.status}"
    text = decode_text(answer.body, answer.headers.get("content-type", ""))
    if text is None or "\x00" in text:
        return "", "undecodable"
    if "|" not in text:
        text = decode_url(text)
    if is_html(text):
        return "", "html"
    return (text, "") if text else ("", "empty")


def split_ok(text: str) -> list[str] | None:
    """The fields after `OK|`, at most three, the last with every further `|`; None when the text does not begin so."""
    head, bar, rest = text.partition("|")
    return rest.split("|", 2) if bar and head.strip().casefold() == "ok" else None


def classify(text: str) -> frozenset[TextClass]:
    """All classes of `REFUSAL_WORDS` that the text belongs to; none when it is too long to be a panel's message."""
    if len(text) > TEXT_LIMIT:
        return frozenset()
    folded = fold_turkish(text)
    return frozenset(text_class for pattern, text_class in REFUSAL_WORDS if _compile(pattern).search(folded))


@cache
def _compile(pattern: str) -> re.Pattern[str]:
    parts = (" ".join(map(_word, part.split(" "))) for part in pattern.split(" .. "))
    return re.compile(_GAP.join(parts))


def _word(word: str) -> str:
    return rf"\b{word.removesuffix('*')}\w*" if word.endswith("*") else rf"\b{word}\b"


def prose_only(text: str) -> str:
    """`text`, or nothing when it may hold a code: more than five digits, or no word of letters alone."""
    digits = sum(letter.isdigit() for letter in text)
    has_word = any(word.strip(".,;:!?").isalpha() for word in text.split())
    return text if digits <= 5 and has_word else ""


def clean_reason(text: str, account: Account) -> str:
    """The panel's words as one short line without our credentials, which some panels repeat."""
    for secret in (*account.secrets.values(), account.login):
        text = text.replace(secret, REDACTED) if secret else text
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text[:TEXT_LIMIT]).split())
