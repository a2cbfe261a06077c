"""The PIN part of the ZNET reseller panels (`/servis/pin_*.php`): GET requests, answers as text split by `|`.

The panel's document knows four things: `OK|cost|balance` and `3|text` for an order, `OK|state|pin|description` for a
question, `OK|balance` for money. There is no table of errors, only free Turkish text, so the words of `znet_texts`
are the table. Airtime (`tl_*.php`) is another protocol and does not live here.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from functools import partial
from types import MappingProxyType

from apps.common.wire import REDACTED, Answer, HttpCall, HttpReply, NotSent
from apps.providers.contract import (
    CATALOGUE_LIMIT,
    Account,
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
    TEXT_LIMIT,
    decode_text,
    decode_url,
    decode_url_field,
    fold_turkish,
    is_blank_code,
    is_html,
    parse_amount,
    parse_json,
)
from apps.providers.talks import ask_each, ask_once
from apps.providers.znet_texts import (
    CONNECTION_CODE,
    FOUND_NOTHING,
    REFUSALS,
    Order,
    TextClass,
    build_get,
    classify,
    clean_reason,
    each_once,
    prose_only,
    read_amount,
    read_balance,
    read_text,
    split_ok,
)

ORDER_CALL, QUESTION_CALL, BALANCE_CALL = "pin_ekle", "pin_kontrol", "bakiye_kontrol"
LIST_CALL = "pin_listesi"
LIST_TIMEOUT_S = 60
CURRENCIES: Mapping[str, str] = MappingProxyType({"tl": "TRY", "₺": "TRY", "try": "TRY", "usd": "USD", "eur": "EUR"})
"""What `para_birimi` may say; a price in any other money is no price."""
_FAILURE = re.compile(r"([0-9]{1,4})\s*\|(.*)", re.DOTALL)
_ENCODED_FIELD = re.compile(r"[\w.~!'()*+%-]*", re.ASCII)
_TAG = re.compile(r"<[^>]*>")


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
        one_per_target=False,
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
        return ask_once(call, partial(read_place, Order(account, request.reference)))

    def status(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        """The state of one order. Raises ValueError for more than one."""
        if len(refs) > self.caps.status_batch_max:
            raise ValueError("ZNET answers one order per question")
        return ask_each([(ref.own_ref, self.find(account, ref)) for ref in refs])

    def find(self, account: Account, ref: OrderRef) -> Talk:
        """The state of one order by our reference."""
        call = build_call(self.caps, account, QUESTION_CALL, ("tahsilat_api_islem_id", ref.own_ref))
        return ask_once(call, partial(read_state, Order(account, ref.own_ref)))

    def balance(self, account: Account) -> TalkBalance:
        """Our credit there less our debt."""
        return ask_once(build_call(self.caps, account, BALANCE_CALL), partial(read_balance, account))

    def catalogue(self, account: Account) -> TalkCatalogue:
        """Everything on the panel's list, each pair of ids once."""
        call = replace(build_call(self.caps, account, LIST_CALL), timeout_s=LIST_TIMEOUT_S, limit_bytes=CATALOGUE_LIMIT)
        return ask_once(call, partial(read_list, account))


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
    """A call of this half of the panel, with the time-out of its kind."""
    timeout_s = account.seconds("place_timeout_s" if name == ORDER_CALL else "ask_timeout_s", caps)
    return build_get(account, name, "kod", timeout_s, *params)


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
        cost=read_amount(cost),
        currency=order.account.currency,
        balance_after=read_amount(balance),
    )


def _is_airtime_answer(number: str, text: str) -> bool:
    """Whether fields are `3|bayikodu yada sifre gecersiz`: some panels print this airtime form on every address."""
    is_text = not is_blank_code(text) and read_amount(text) is None
    return is_text and re.fullmatch(r"[0-9]", number.strip()) is not None


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


def read_list(account: Account, answer: Answer) -> Catalogue:
    """What `pin_listesi` lists. A row is ordered by its pair (`oyun_bilgi_id`, `kupur`); one without is left out.

    `success: false`, text, and a list without any usable
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
    return Catalogue(each_once(found), "" if found else "no_usable_row")


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


def plain(value: object) -> str:
    """A value of the list as one line of text: strings and numbers alike, without HTML tags and entities."""
    if not isinstance(value, str | Decimal):
        return ""
    bare = _TAG.sub(" ", html.unescape(_TAG.sub(" ", str(value))))
    return " ".join("".join(letter if letter.isprintable() else " " for letter in bare).split())[:TEXT_LIMIT]
