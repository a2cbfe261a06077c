"""Digiflazz, the prepaid part of its buyer API: JSON calls signed with MD5, JSON answers inside `data`.

There is no question about an order: the identical purchase under the same `ref_id` is answered with the state of the
first one, so asking is re-sending. It must not come within a minute, and never for a reference older than 90 days,
which would be bought anew. Every answer has a code, `rc`, and `RCS` is the table of all of them.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from types import MappingProxyType

from apps.common.wire import REDACTED, Answer, HttpCall, HttpReply, NotSent
from apps.providers.contract import (
    CATALOGUE_LIMIT,
    WEBHOOK_SECRET,
    Account,
    Balance,
    Capabilities,
    Catalogue,
    CatalogueItem,
    Code,
    Hook,
    HookCall,
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
    Trust,
)
from apps.providers.parsing import clean_line, is_blank_code, json_amount, json_text, parse_json
from apps.providers.signatures import is_signed
from apps.providers.talks import ask_each, ask_once


@dataclass(frozen=True, slots=True)
class Rc:
    """What a code means for a purchase; `is_formed` when a transaction with our reference exists afterwards."""

    outcome: Outcome
    is_formed: bool
    wait_s: float | None = None


RCS: Mapping[str, Rc] = {
    "00": Rc(Outcome.COMPLETED, is_formed=True),
    "01": Rc(Outcome.REJECTED, is_formed=True),  # time-out, final
    "02": Rc(Outcome.REJECTED, is_formed=True),  # failed
    "03": Rc(Outcome.ACCEPTED, is_formed=True),  # pending
    "40": Rc(Outcome.REJECTED, is_formed=False),  # payload error
    "41": Rc(Outcome.AUTH_ERROR, is_formed=False),  # signature
    "42": Rc(Outcome.AUTH_ERROR, is_formed=False),  # username
    "43": Rc(Outcome.REJECTED, is_formed=False),  # no such SKU, or inactive
    "44": Rc(Outcome.INSUFFICIENT_BALANCE, is_formed=False),
    "45": Rc(Outcome.AUTH_ERROR, is_formed=False),  # our address
    "47": Rc(Outcome.REJECTED, is_formed=False),  # done already at another buyer
    "49": Rc(Outcome.UNKNOWN, is_formed=False),  # reference not unique: an earlier purchase exists
    "50": Rc(Outcome.NOT_FOUND, is_formed=True),  # transaction not found
    "51": Rc(Outcome.REJECTED, is_formed=True),  # number blocked
    "52": Rc(Outcome.REJECTED, is_formed=True),  # prefix of another operator
    "53": Rc(Outcome.OUT_OF_STOCK, is_formed=True),  # seller's product unavailable
    "54": Rc(Outcome.REJECTED, is_formed=True),  # wrong number
    "55": Rc(Outcome.OUT_OF_STOCK, is_formed=True),  # product in trouble
    "56": Rc(Outcome.OUT_OF_STOCK, is_formed=False),  # seller's balance
    "57": Rc(Outcome.REJECTED, is_formed=True),  # too few or too many digits
    "58": Rc(Outcome.OUT_OF_STOCK, is_formed=True),  # cut-off
    "59": Rc(Outcome.REJECTED, is_formed=True),  # outside the region
    "60": Rc(Outcome.REJECTED, is_formed=True),  # bill not available
    "61": Rc(Outcome.INSUFFICIENT_BALANCE, is_formed=False),  # never deposited
    "62": Rc(Outcome.OUT_OF_STOCK, is_formed=False),  # seller in trouble
    "63": Rc(Outcome.REJECTED, is_formed=False),  # no second purchase of the same
    "64": Rc(Outcome.REJECTED, is_formed=False),  # ticket not drawn
    "65": Rc(Outcome.REJECTED, is_formed=False),  # limit of purchases of the same
    "66": Rc(Outcome.OUT_OF_STOCK, is_formed=False),  # seller under repair
    "67": Rc(Outcome.OUT_OF_STOCK, is_formed=False),  # seller not verified
    "68": Rc(Outcome.OUT_OF_STOCK, is_formed=False),  # stock out
    "69": Rc(Outcome.OUT_OF_STOCK, is_formed=False),  # price above our limit
    "70": Rc(Outcome.REJECTED, is_formed=True),  # biller's time-out, final
    "71": Rc(Outcome.OUT_OF_STOCK, is_formed=True),  # product unstable
    "72": Rc(Outcome.REJECTED, is_formed=True),  # another package must end first
    "73": Rc(Outcome.REJECTED, is_formed=True),  # too many kWh
    "74": Rc(Outcome.REVERSED, is_formed=True),  # refunded
    "80": Rc(Outcome.AUTH_ERROR, is_formed=False),  # we are blocked by the seller
    "81": Rc(Outcome.AUTH_ERROR, is_formed=False),  # we blocked the seller
    "82": Rc(Outcome.AUTH_ERROR, is_formed=False),  # account not verified
    "83": Rc(Outcome.RATE_LIMITED, is_formed=False, wait_s=300),  # price list
    "84": Rc(Outcome.REJECTED, is_formed=True),  # amount
    "85": Rc(Outcome.RATE_LIMITED, is_formed=True, wait_s=60),  # transactions
    "86": Rc(Outcome.RATE_LIMITED, is_formed=True, wait_s=60),  # look-ups of PLN numbers
    "87": Rc(Outcome.REJECTED, is_formed=False),  # amount not a multiple of 1000
    "88": Rc(Outcome.AUTH_ERROR, is_formed=False),  # not permitted
    "99": Rc(Outcome.ACCEPTED, is_formed=True),  # trouble between Digiflazz and the seller: pending
}
"""Every code of the vendor's document. A formed purchase that failed has used its reference up for ever, also where
the document says to try again: another try is another purchase with another reference."""

STATUSES: Mapping[Outcome, str] = {Outcome.COMPLETED: "sukses", Outcome.ACCEPTED: "pending"}
FAILED_STATUS = "gagal"
"""The word `status` that goes with an outcome, `gagal` with all others; an answer with another one says nothing."""

DUPLICATE_RC = "49"
STANDING = frozenset({Outcome.COMPLETED, Outcome.ACCEPTED, Outcome.REVERSED, Outcome.NOT_FOUND})
"""Outcomes that are the same for a purchase and for a question."""

GOOD = frozenset({Outcome.COMPLETED, Outcome.ACCEPTED})
"""Outcomes that come with status 200 only; what failed, a refund among it, may come with 4xx, too."""

SN_FORMS = ("code", "receipt")
CODE_CATEGORIES = frozenset({"voucher", "pln"})
"""Categories of the price list whose products give a code in `sn`."""

CURRENCY = "IDR"
LIST_TIMEOUT_S = 60.0
BALANCE_PATH, LIST_PATH, ORDER_PATH = "/cek-saldo", "/price-list", "/transaction"


@dataclass(frozen=True, slots=True)
class Order:
    """The order an answer is about, and whether the answer is one to a question."""

    account: Account
    own_ref: str
    is_question: bool = False
    has_code: bool = False

    def result(self, outcome: Outcome, code: str = "", text: str = "", sn: str = "") -> Result:
        """An outcome with the provider's code and words, these without secrets and without what may be a PIN."""
        return Result(
            outcome=outcome,
            own_ref=self.own_ref,
            currency=self.account.currency,
            reason_code=code,
            reason=clean_reason(text if is_blank_code(sn) else text.replace(sn, REDACTED), self.account),
        )


class Digiflazz:
    """Digiflazz prepaid: airtime, data, games, e-money, vouchers and electricity tokens of Indonesia."""

    kind: str = "digiflazz"
    label: str = "Digiflazz (prepaid)"
    caps: Capabilities = Capabilities(
        ref_format="digits18",
        ref_max_len=18,
        ref_max_age_s=85 * 86400,
        dedup="returns_original",
        resend_same_ref_safe=True,
        resend_min_gap_s=60,
        find_by_own_ref=True,
        absent_after_s=None,
        ask_may_create=True,
        query_window_s=None,
        status_batch_max=1,
        list_form="one",
        send_window_s=20,
        place_timeout_s=60,
        ask_timeout_s=30,
        resolve_margin_s=10,
        review_after_s=900,
        rate_per_s=2,
        burst=4,
        poll=PollPlan(first_s=60, base_s=60, cap_s=600, floor_s=60),
        flipping=frozenset(),
        final_after_s=0,
        failed_final_after_s=60,
        quantity="one",
        one_per_target=False,
        webhook="hmac_sha1",
        balance_check=True,
    )
    secret_fields: tuple[str, ...] = ("api_key",)
    mapping_fields: tuple[str, ...] = ("buyer_sku_code",)
    option_fields: Mapping[str, Knob] = MappingProxyType({"sn": Knob("choice", SN_FORMS)})

    def place(self, account: Account, request: PlaceRequest) -> Talk:
        """Orders one unit. Raises ValueError at once, before any call, for a request that this protocol cannot say."""
        body = order_body(account, request)
        call = build_call(account, ORDER_PATH, body, account.seconds("place_timeout_s", self.caps))
        order = Order(account, request.reference, has_code=is_sn_code(account, request))
        return ask_once(call, partial(read_transaction, order))

    def status(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        """The state of one order. Raises ValueError for more than one, and as `find` does."""
        if len(refs) > self.caps.status_batch_max:
            raise ValueError("Digiflazz answers about one order in one question")
        return ask_each([(ref.own_ref, self.find(account, ref)) for ref in refs])

    def find(self, account: Account, ref: OrderRef) -> Talk:
        """The state of one order, by sending its purchase again as it was.

        Raises ValueError at once where that purchase is not given whole: another one would be bought.
        """
        if ref.request is None or ref.request.reference != ref.own_ref:
            raise ValueError("Digiflazz is asked by the identical purchase, which is missing")
        call = build_call(
            account, ORDER_PATH, order_body(account, ref.request), account.seconds("ask_timeout_s", self.caps)
        )
        has_code = is_sn_code(account, ref.request)
        order = Order(account, ref.own_ref, is_question=True, has_code=has_code)
        return ask_once(call, partial(read_transaction, order))

    def balance(self, account: Account) -> TalkBalance:
        """Our deposit there."""
        body = {"cmd": "deposit", "username": account.login, "sign": sign(account, "depo")}
        answer = yield build_call(account, BALANCE_PATH, body, account.seconds("ask_timeout_s", self.caps))
        return read_balance(account, answer)

    def catalogue(self, account: Account) -> TalkCatalogue:
        """The prepaid price list, which may be asked for once in five minutes."""
        body = {"cmd": "prepaid", "username": account.login, "sign": sign(account, "pricelist")}
        call = build_call(account, LIST_PATH, body, LIST_TIMEOUT_S)
        answer = yield replace(call, limit_bytes=CATALOGUE_LIMIT)
        return read_list(account, answer)

    def parse_webhook(self, account: Account, call: HookCall) -> Hook:
        """A purchase as its answer tells it, signed with HMAC-SHA1 over the body; no time is told."""
        secret = account.secrets.get(WEBHOOK_SECRET, "")
        if not secret:
            return Hook(Trust.NO_KEY)
        given = call.headers.get("x-hub-signature", "").strip()
        if not given.startswith("sha1=") or not is_signed(secret, call.body, given.removeprefix("sha1="), "sha1"):
            return Hook(Trust.FORGED)
        body = parse_json(call.body)
        data = body.get("data") if isinstance(body, Mapping) else None
        if not isinstance(data, Mapping) or not (own_ref := json_text(data.get("ref_id"))):
            return Hook(Trust.UNREADABLE)
        row = RCS.get(json_text(data.get("rc")))
        return Hook(Trust.VERIFIED, own_ref, says=row.outcome if row else Outcome.UNKNOWN)


def sign(account: Account, subject: str) -> str:
    """The signature of a call: MD5 of login, key and what it is about, as the vendor wants it."""
    text = account.login + account.secrets.get("api_key", "") + subject
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


def order_body(account: Account, request: PlaceRequest) -> dict[str, str | int]:
    """The one body of a purchase, the same whenever it is sent. `max_price` of the mapping refuses a dearer one."""
    _check_request(account, request)
    limit = request.product.get("max_price", "")
    return {
        "username": account.login,
        "buyer_sku_code": request.product["buyer_sku_code"],
        "customer_no": customer_no(request),
        "ref_id": request.reference,
        "sign": sign(account, request.reference),
        **({"max_price": int(limit)} if limit else {}),
    }


def customer_no(request: PlaceRequest) -> str:
    """The number to charge: the recipient and the extra field, with the mapping's `separator` between them."""
    return request.product.get("separator", "").join(part for part in (request.recipient, request.extra_field) if part)


def _check_request(account: Account, request: PlaceRequest) -> None:
    limit = request.product.get("max_price", "")
    if account.currency != CURRENCY:
        raise ValueError("Digiflazz counts in IDR: the account is in another currency")
    if not request.product.get("buyer_sku_code"):
        raise ValueError("Digiflazz mapping without buyer_sku_code")
    if request.quantity != 1:
        raise ValueError("Digiflazz sells one unit per order")
    if not request.recipient:
        raise ValueError("Digiflazz order without a customer number")
    if limit and not (limit.isascii() and limit.isdecimal()):
        raise ValueError("Digiflazz mapping with a max_price that is no whole number")


def is_sn_code(account: Account, request: PlaceRequest) -> bool:
    """Whether `sn` is the product's code: the mapping's `sn` decides, then the account's; without a word it is not."""
    form = request.product.get("sn") or account.options.get("sn") or "receipt"
    if form not in SN_FORMS:
        raise ValueError(f"Digiflazz mapping whose sn is neither {' nor '.join(SN_FORMS)}")
    return form == "code"


def build_call(account: Account, path: str, body: Mapping[str, str | int], timeout_s: float) -> HttpCall:
    """A JSON call; the body holds a signature instead of the key."""
    return HttpCall(
        method="POST",
        url=account.base_url.rstrip("/") + path,
        json=json.dumps(body, separators=(",", ":")).encode(),
        timeout_s=timeout_s,
    )


def read_transaction(order: Order, answer: Answer) -> Result:
    """What an answer of `/transaction` says, by its `rc` alone; everything around it can only take that away."""
    if isinstance(answer, NotSent) and not order.is_question:
        return order.result(Outcome.NOT_SENT, answer.reason.value, answer.detail)
    told, trouble = read_data(answer)
    if trouble:
        return order.result(Outcome.UNKNOWN, trouble)
    rc, sn = json_text(told.get("rc")), json_text(told.get("sn"))
    row = RCS.get(rc)
    doubt = "unlisted" if row is None else _why_doubtful(order, row, told, answer)
    if row is None or doubt:
        return order.result(Outcome.UNKNOWN, doubt, json_text(told.get("message")), sn)
    result = order.result(_outcome(order, row), rc, json_text(told.get("message")), sn)
    if result.outcome in (Outcome.COMPLETED, Outcome.ACCEPTED):
        return _with_goods(order, result, told, sn)
    is_limited = result.outcome is Outcome.RATE_LIMITED
    return replace(result, duplicate=rc == DUPLICATE_RC, retry_after_s=row.wait_s if is_limited else None)


def _why_doubtful(order: Order, row: Rc, told: Mapping[str, object], answer: Answer) -> str:
    """Why an answer says nothing although its code is listed; empty when it may be believed."""
    own_ref, word = json_text(told.get("ref_id")), json_text(told.get("status")).casefold()
    if own_ref != order.own_ref and (own_ref or row.is_formed):
        return "another_order"
    if word != STATUSES.get(row.outcome, FAILED_STATUS) and (word or row.outcome is Outcome.COMPLETED):
        return "contradiction"
    if row.outcome in GOOD and not is_ok(answer):
        return "contradiction"
    return ""


def _outcome(order: Order, row: Rc) -> Outcome:
    """A purchase is what its code says. A question learns only of formed purchases: the rest is its own refusal."""
    if not order.is_question:
        return Outcome.UNKNOWN if row.outcome is Outcome.NOT_FOUND else row.outcome
    if row.outcome in STANDING or row.outcome is Outcome.AUTH_ERROR:
        return row.outcome
    return Outcome.REJECTED if row.is_formed else Outcome.UNKNOWN


def _with_goods(order: Order, result: Result, told: Mapping[str, object], sn: str) -> Result:
    """Cost and balance of a good answer, and its code when the product gives one and it is there."""
    is_code = order.has_code and result.outcome is Outcome.COMPLETED and not is_blank_code(sn)
    return replace(
        result,
        cost=json_amount(told.get("price")),
        balance_after=json_amount(told.get("buyer_last_saldo")),
        codes=(Code(sn),) if is_code else (),
    )


def read_balance(account: Account, answer: Answer) -> Balance:
    """Our deposit; anything without one is an error."""
    told, trouble = read_data(answer)
    amount = json_amount(told.get("deposit"))
    if trouble or amount is None or not is_ok(answer) or json_text(told.get("rc")) not in ("", "00"):
        return Balance(None, account.currency, error=trouble or _words(account, told) or "no_amount")
    return Balance(amount, account.currency, credit=amount)


def read_list(account: Account, answer: Answer) -> Catalogue:
    """What the price list offers, each SKU once; a refusal, or a list without a usable row, is an error."""
    told, trouble = read_json(answer)
    data = told.get("data")
    if trouble or not isinstance(data, list) or not is_ok(answer):
        said = _words(account, data) if isinstance(data, Mapping) else ""
        return Catalogue((), trouble or said or "no_list")
    found = {item.ids["buyer_sku_code"]: item for row in data if (item := _read_row(row))}
    return Catalogue(tuple(found.values()), "" if found else "no_usable_row")


def _read_row(row: object) -> CatalogueItem | None:
    told = row if isinstance(row, Mapping) else {}
    sku, name = json_text(told.get("buyer_sku_code")), json_text(told.get("product_name"))
    if not sku or not name:
        return None
    price, category = json_amount(told.get("price")), json_text(told.get("category"))
    return CatalogueItem(
        ids={"buyer_sku_code": sku},
        name=name,
        group=" / ".join(part for part in (category, json_text(told.get("brand"))) if part),
        cost=price or None,
        currency=CURRENCY if price else "",
        available=_is_available(told),
        gives_code=True if category.casefold() in CODE_CATEGORIES else None,
    )


def _is_available(told: Mapping[str, object]) -> bool:
    is_on = told.get("buyer_product_status") is True and told.get("seller_product_status") is True
    return is_on and (told.get("unlimited_stock") is True or bool(json_amount(told.get("stock"))))


def _words(account: Account, told: Mapping[str, object]) -> str:
    said = (json_text(told.get(name)) for name in ("rc", "message"))
    return clean_reason(" ".join(said), account)


def read_data(answer: Answer) -> tuple[Mapping[str, object], str]:
    """The object in `data`, or a word for why there is none; it is empty then."""
    told, trouble = read_json(answer)
    data = told.get("data")
    return (data, "") if isinstance(data, Mapping) else ({}, trouble or "no_data")


def read_json(answer: Answer) -> tuple[Mapping[str, object], str]:
    """The object of a complete answer with status 200 or 4xx, or a word for why there is none."""
    if not isinstance(answer, HttpReply):
        return {}, answer.reason.value
    if not is_ok(answer) and not 400 <= answer.status < 500:
        return {}, f"http_{answer.status}"
    told = parse_json(answer.body)
    return (told, "") if isinstance(told, Mapping) else ({}, "not_json")


def is_ok(answer: Answer) -> bool:
    """Whether it is a complete answer with status 200."""
    return isinstance(answer, HttpReply) and answer.status == 200


def clean_reason(text: str, account: Account) -> str:
    """The provider's words as one short line without our key and login."""
    return clean_line(text, (*account.secrets.values(), account.login))
