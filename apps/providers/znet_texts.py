"""What the two halves of the ZNET panels say alike: free Turkish texts and their classes, login errors, the balance.

The panels have no table of errors, so `REFUSAL_WORDS` is the table. No call is sent here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from functools import cache

from apps.common.wire import Answer, HttpCall, HttpReply
from apps.providers.contract import Account, Balance, CatalogueItem, Outcome, Result
from apps.providers.parsing import TEXT_LIMIT, clean_line, decode_text, decode_url, fold_turkish, is_html, parse_amount


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

_GAP = r"(?:(?![.!?;|]\s).)*?"


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


def build_get(account: Account, name: str, login: str, timeout_s: float, *params: tuple[str, str]) -> HttpCall:
    """A GET to `/servis/<name>.php`, the credentials in front; both are secrets. `login` is the parameter of ours."""
    return HttpCall(
        method="GET",
        url=f"{account.base_url.rstrip('/')}/servis/{name}.php",
        params=((login, account.login), ("sifre", account.secrets.get("sifre", "")), *params),
        headers=(("Cache-Control", "no-cache"),),
        timeout_s=timeout_s,
        secrets=frozenset({login, "sifre"}),
    )


def each_once(items: Iterable[CatalogueItem]) -> tuple[CatalogueItem, ...]:
    """The items of a list without the pairs that some panels print twice: of those the dearest counts."""
    dearest: dict[tuple[str, ...], CatalogueItem] = {}
    for item in items:
        known = dearest.setdefault(tuple(item.ids.values()), item)
        dearest[tuple(item.ids.values())] = max(known, item, key=lambda each: each.cost or 0)
    return tuple(dearest.values())


def read_amount(field: str) -> Decimal | None:
    return parse_amount(decode_url(field.strip()))


def read_balance(account: Account, answer: Answer) -> Balance:
    """`OK|credit` or `OK|credit|debt`; an empty answer, a login text or anything else is an error."""
    text, trouble = read_text(answer)
    if trouble:
        return Balance(None, account.currency, error=trouble)
    fields = split_ok(text.rstrip("| "))
    amounts = [read_amount(field) for field in fields or ()]
    if len(amounts) not in (1, 2) or None in amounts:
        return Balance(None, account.currency, error=clean_reason(text, account))
    credit, debt = (*(amount for amount in amounts if amount is not None), Decimal(0))[:2]
    return Balance(credit - debt, account.currency, credit=credit, debt=debt)


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
    return clean_line(text, (*account.secrets.values(), account.login))
