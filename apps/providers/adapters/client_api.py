"""The "client API" of a large family of shops (`/client/api/...`); with other options, another shop of this system.

One header with a token, an order by GET under a UUID of ours, JSON answers. The same UUID again returns the first
order, so a lost answer may be asked about or the request repeated. Some shops give the error numbers other meanings:
the table of codes is data, and an account may overrule each row.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from types import MappingProxyType

from apps.common.wire import Answer, HttpCall, HttpReply, NotSent
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
from apps.providers.json_answers import objects_in
from apps.providers.parsing import (
    TEXT_LIMIT,
    clean_line,
    dump_json,
    is_blank_code,
    json_amount,
    json_text,
    parse_json,
)
from apps.providers.signatures import is_signed, parse_moment
from apps.providers.talks import ask_once

CODES: Mapping[str, Outcome] = {
    "100": Outcome.INSUFFICIENT_BALANCE,
    "105": Outcome.OUT_OF_STOCK,
    "106": Outcome.REJECTED,
    "107": Outcome.REJECTED,
    "108": Outcome.AUTH_ERROR,
    "109": Outcome.REJECTED,
    "110": Outcome.OUT_OF_STOCK,
    "111": Outcome.RATE_LIMITED,
    "112": Outcome.REJECTED,
    "113": Outcome.REJECTED,
    "120": Outcome.AUTH_ERROR,
    "121": Outcome.AUTH_ERROR,
    "122": Outcome.AUTH_ERROR,
    "123": Outcome.AUTH_ERROR,
}
"""What an error number of the document means for a new order. 114 and 500 (unknown error) and 130 (maintenance) are no
refusals: the order may exist, as with every number that is not listed."""

STATES: Mapping[str, Outcome] = {
    "accept": Outcome.COMPLETED,
    "wait": Outcome.ACCEPTED,
    "reject": Outcome.REJECTED,
    "success": Outcome.COMPLETED,
    "completed": Outcome.COMPLETED,
    "pending": Outcome.ACCEPTED,
    "processing": Outcome.ACCEPTED,
    "queued": Outcome.ACCEPTED,
}
"""What an order's status means: three words of the document, then those of clones. Their `failed` and `cancelled` are
not listed: only `reject` is known to mean that the money came back. Another word says nothing."""

REPEATED: tuple[str, ...] = ("reused", "duplicate")
"""Fields by which clones say that the UUID existed before."""

SAME: Mapping[str, str] = {
    "quantity": "quantity",
    "qty": "quantity",
    "product_id": "product",
    "order_uuid": "reference",
    "uuid": "reference",
}
"""Fields of a told order that must agree with what was asked for, where they are told."""

LIST_FORMS: tuple[str, ...] = ("bracketed", "csv", "json")
"""Ways of writing several names in one parameter: `[a,b]`, `a,b`, `["a","b"]`."""

RETRY_AFTER_S = 60.0
"""The document's "try again after 1 minute" (111)."""

ANOTHER = "another_order"
"""The reason's code where an answer tells another order than the one that was asked about."""

API_PATH = "/client/api"
PATH_HEADER = "X-Order-Path"
LIST_TIMEOUT_S = 60.0
OWN_PARAMS = frozenset({"qty", "order_uuid"})
RECIPIENT_NAME = "playerId"
RENAMED = "name_of_"

_ID = re.compile(r"[A-Za-z0-9_-]{1,60}")
_QUANTITY = re.compile(r"[1-9][0-9]{0,8}")
_DIGITS_OF_PROSE = 5

CAPS = Capabilities(
    ref_format="uuid4",
    ref_max_len=36,
    ref_max_age_s=86400,
    dedup="returns_original",
    resend_same_ref_safe=True,
    resend_min_gap_s=60,
    find_by_own_ref=True,
    absent_after_s=900,
    ask_may_create=False,
    query_window_s=None,
    status_batch_max=50,
    list_form="bracketed",
    send_window_s=20,
    place_timeout_s=60,
    ask_timeout_s=30,
    resolve_margin_s=10,
    review_after_s=900,
    rate_per_s=2,
    burst=2,
    poll=PollPlan(first_s=60, base_s=30, cap_s=600, floor_s=10),
    flipping=frozenset(),
    final_after_s=0,
    failed_final_after_s=60,
    quantity="one",
    one_per_target=False,
    webhook="none",
    balance_check=True,
)
"""The family's. For how long a shop remembers a UUID is not told, so it is not sent again after a day."""


@dataclass(frozen=True, slots=True)
class Order:
    """The order an answer is about; makes results that carry its reference and the account's currency."""

    account: Account
    ref: OrderRef

    def result(self, outcome: Outcome, code: str = "", text: str = "", *, duplicate: bool = False) -> Result:
        """An outcome with the shop's code and words, these without secrets."""
        return Result(
            outcome=outcome,
            own_ref=self.ref.own_ref,
            provider_id=self.ref.provider_id,
            currency=self.account.currency,
            reason_code=code[:40],
            reason=clean_line(text, self.account.secrets.values()),
            retry_after_s=RETRY_AFTER_S if outcome is Outcome.RATE_LIMITED else None,
            duplicate=duplicate,
        )


class ClientApi:
    """Places one order under a UUID of ours, and asks about up to fifty by the shop's ids or about one by the UUID."""

    secret_fields: tuple[str, ...] = ("token",)
    mapping_fields: tuple[str, ...] = ("oyun",)
    option_fields: Mapping[str, Knob] = MappingProxyType(
        {
            "method": Knob("choice", ("GET", "POST")),
            "list_form": Knob("choice", LIST_FORMS),
            "quantity": Knob("choice", ("one", "any")),
            "dedup": Knob("choice", ("returns_original", "unproven")),
            "resend_same_ref_safe": Knob("flag"),
            "codes": Knob(
                "table",
                (
                    "rejected",
                    "out_of_stock",
                    "insufficient_balance",
                    "auth_error",
                    "rate_limited",
                    "not_found",
                    "unknown",
                ),
            ),
            "words": Knob("table", ("accepted", "completed", "rejected", "unknown")),
            "webhook": Knob("choice", ("none", "hmac_sha256", "unsigned")),
        }
    )

    def __init__(
        self,
        kind: str = "client_api",
        label: str = "Client API",
        caps: Capabilities = CAPS,
        *,
        carries_path: bool = False,
    ) -> None:
        self.kind = kind
        self.label = label
        self.caps = caps
        self.carries_path = carries_path

    def place(self, account: Account, request: PlaceRequest) -> Talk:
        """Orders once. Raises ValueError at once, before any call, for a request that this protocol cannot say."""
        order = Order(account, OrderRef(request.reference, request=request))
        return ask_once(self._place_call(account, request), partial(read_place, order))

    def _place_call(self, account: Account, request: PlaceRequest) -> HttpCall:
        path = f"newOrder/{product_id(request)}/params"
        params = order_params(request)
        call = build_call(account, path, account.seconds("place_timeout_s", self.caps))
        if self.carries_path and request.path:
            call = replace(call, headers=(*call.headers, (PATH_HEADER, ",".join(request.path))))
        if account.options.get("method") == "POST":
            return replace(call, method="POST", form=params)
        return replace(call, params=params)

    def status(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        """States of one order by our UUID, of several by the shop's ids; one without an id has no state then."""
        if len(refs) > self.caps.status_batch_max:
            raise ValueError(f"at most {self.caps.status_batch_max} orders are answered in one question")
        return self._status(account, [Order(account, ref) for ref in refs])

    def _status(self, account: Account, orders: Sequence[Order]) -> TalkMany:
        if len(orders) == 1:
            answer = yield self._check_call(account, [orders[0].ref.own_ref], self._form(account), ("uuid", "1"))
            found = read_found(orders[0], answer)
            is_news = found.outcome is not Outcome.NOT_FOUND and found.reason_code != ANOTHER
            return {found.own_ref: found} if is_news else {}
        named = [order for order in orders if order.ref.provider_id]
        if not named:
            return {}
        answer = yield self._check_call(account, [order.ref.provider_id for order in named], self._form(account))
        return read_states(named, answer)

    def find(self, account: Account, ref: OrderRef) -> Talk:
        """The state of one order by our UUID. NOT_FOUND only when no way of writing a list finds it.

        A shop that reads lists in another way than the account says finds nothing, whatever it has sold.
        """
        form = self._form(account)
        result = Order(account, ref).result(Outcome.UNKNOWN)
        for each in (form, *(other for other in LIST_FORMS if other != form)):
            answer = yield self._check_call(account, [ref.own_ref], each, ("uuid", "1"))
            result = read_found(Order(account, ref), answer)
            if result.outcome is not Outcome.NOT_FOUND:
                break
        return result

    def _form(self, account: Account) -> object:
        return account.options.get("list_form", self.caps.list_form)

    def _check_call(self, account: Account, names: Sequence[str], form: object, *more: tuple[str, str]) -> HttpCall:
        call = build_call(account, "check", account.seconds("ask_timeout_s", self.caps))
        return replace(call, params=(("orders", as_list(names, form)), *more))

    def balance(self, account: Account) -> TalkBalance:
        """Our money there."""
        answer = yield build_call(account, "profile", account.seconds("ask_timeout_s", self.caps))
        return read_balance(account, answer)

    def catalogue(self, account: Account) -> TalkCatalogue:
        """Every product of the shop."""
        answer = yield replace(build_call(account, "products", LIST_TIMEOUT_S), limit_bytes=CATALOGUE_LIMIT)
        return read_products(account, answer)

    def parse_webhook(self, account: Account, call: HookCall) -> Hook:
        """An order as `check` tells it; the clone that signs does so over method, path, time, nonce and body."""
        trust, sent_at = Trust.UNSIGNED, None
        if account.options.get("webhook") != "unsigned":
            trust, sent_at = verify_webhook(account, call)
        if trust not in (Trust.VERIFIED, Trust.UNSIGNED):
            return Hook(trust)
        told = parse_json(call.body)
        row = told if isinstance(told, Mapping) else {}
        own_ref = json_text(row.get("order_uuid")) or json_text(row.get("uuid"))
        named = json_text(row.get("order_id"))
        if not (own_ref or _ID.fullmatch(named)):
            return Hook(Trust.UNREADABLE)
        says = _state_of(account, json_text(row.get("status")).casefold())
        return Hook(trust, own_ref, named, sent_at, says)


def verify_webhook(account: Account, call: HookCall) -> tuple[Trust, datetime | None]:
    """How far a signed webhook may be believed, and when it was sent."""
    secret = account.secrets.get(WEBHOOK_SECRET, "")
    if not secret:
        return Trust.NO_KEY, None
    moment, nonce = call.headers.get("x-webhook-timestamp", ""), call.headers.get("x-webhook-nonce", "")
    signed = "\n".join(("POST", call.path, moment, nonce, hashlib.sha256(call.body).hexdigest()))
    given, sent_at = call.headers.get("x-webhook-signature", ""), parse_moment(moment)
    is_right = bool(nonce) and is_signed(secret, signed.encode(), given, "sha256")
    return (Trust.VERIFIED, sent_at) if is_right and sent_at is not None else (Trust.FORGED, None)


def build_call(account: Account, path: str, timeout_s: float) -> HttpCall:
    """A GET below `/client/api/` with the token in its header, which is marked as a secret."""
    return HttpCall(
        method="GET",
        url=f"{account.base_url.rstrip('/').removesuffix(API_PATH)}{API_PATH}/{path}",
        headers=(("api-token", account.secrets.get("token", "")), ("Cache-Control", "no-cache")),
        timeout_s=timeout_s,
        secrets=frozenset({"api-token"}),
    )


def as_list(names: Sequence[str], form: object) -> str:
    """Several names in one parameter: `[a,b]`, `a,b` or `["a","b"]`."""
    if form == "json":
        return dump_json(list(names)).decode()
    return ",".join(names) if form == "csv" else f"[{','.join(names)}]"


def product_id(request: PlaceRequest) -> str:
    """The shop's id of the product. Raises ValueError for one that is no plain id: it becomes part of the address."""
    product = request.product.get("oyun", "")
    if not _ID.fullmatch(product):
        raise ValueError("client API mapping without a plain product id (oyun)")
    return product


def ordered_quantity(request: PlaceRequest) -> int:
    """Units as the shop counts them: ours times the mapping's `quantity` (1 without it)."""
    each = request.product.get("quantity", "1")
    if not _QUANTITY.fullmatch(each) or request.quantity < 1:
        raise ValueError("client API quantity is no whole number from 1: see the mapping's parameter quantity")
    return request.quantity * int(each)


def order_params(request: PlaceRequest) -> tuple[tuple[str, str], ...]:
    """The parameters of `newOrder`. Raises ValueError when two of them have one name, or a field has none."""
    fields = buyer_fields(request)
    return (("qty", str(ordered_quantity(request))), ("order_uuid", request.reference), *fields.items())


def buyer_fields(request: PlaceRequest) -> dict[str, str]:
    """What the buyer said, under the names by which this product wants it back (the mapping's parameters)."""
    names = request.product
    given = [
        (names.get("recipient_name", RECIPIENT_NAME), request.recipient),
        (names.get("extra_field_name", ""), request.extra_field),
        *((names.get(RENAMED + name, name), value) for name, value in request.params.items()),
    ]
    said = [(name, value) for name, value in given if value]
    fields = dict(said)
    if "" in fields:
        raise ValueError("client API mapping without extra_field_name, but the order has an extra field")
    if len(fields) != len(said) or OWN_PARAMS & set(fields):
        raise ValueError("client API mapping gives two parameters the same name")
    return fields


def read_place(order: Order, answer: Answer) -> Result:
    """What an answer of `newOrder` says. Only a listed status is a state, only a row of the code table is a refusal."""
    if isinstance(answer, NotSent):
        return order.result(Outcome.NOT_SENT, answer.reason.value, answer.detail)
    body, trouble = read_body(answer)
    data = body.get("data")
    if trouble:
        return order.result(Outcome.UNKNOWN, trouble)
    if isinstance(data, Mapping) and is_success(answer, body):
        return read_order(order, data)
    return _read_refusal(order, body)


def _read_refusal(order: Order, body: Mapping[str, object]) -> Result:
    code = error_code(body)
    outcome = meaning_of(order.account, code) if is_error(body) else Outcome.UNKNOWN
    if outcome is Outcome.NOT_FOUND:
        outcome = Outcome.UNKNOWN
    return order.result(outcome, code or "unlisted", error_text(body))


def read_found(order: Order, answer: Answer) -> Result:
    """What an answer of `check` says about the one order that was asked for; UNKNOWN when the question failed."""
    body, trouble = read_body(answer)
    if trouble or not is_success(answer, body):
        return _read_failed_question(order, body, trouble)
    if body.get("data") == []:
        return order.result(Outcome.NOT_FOUND)
    rows = objects_in(body, "data")
    mine = [row for row in rows if is_about(order.ref, row)] if order.ref.provider_id else rows
    if len(mine) == 1:
        return replace(read_order(order, mine[0]), raw=dump_json(mine[0]))
    return order.result(Outcome.UNKNOWN, ANOTHER)


def read_states(orders: Sequence[Order], answer: Answer) -> dict[str, Result]:
    """What an answer of `check` says of each order, by our reference; an order that it does not name is missing."""
    body, trouble = read_body(answer)
    if trouble or not is_success(answer, body):
        return {order.ref.own_ref: _read_failed_question(order, body, trouble) for order in orders}
    rows = objects_in(body, "data")
    told = {order.ref.own_ref: [row for row in rows if is_about(order.ref, row)] for order in orders}
    return {
        order.ref.own_ref: replace(read_order(order, mine[0]), raw=dump_json(mine[0]))
        for order in orders
        if len(mine := told[order.ref.own_ref]) == 1
    }


def is_about(ref: OrderRef, row: Mapping[str, object]) -> bool:
    """Whether a told order is the one that the shop calls so."""
    return json_text(row.get("order_id")) == ref.provider_id


def _read_failed_question(order: Order, body: Mapping[str, object], trouble: str) -> Result:
    code = error_code(body)
    meaning = meaning_of(order.account, code) if is_error(body) else Outcome.UNKNOWN
    outcome = meaning if meaning in (Outcome.AUTH_ERROR, Outcome.NOT_FOUND) else Outcome.UNKNOWN
    return order.result(outcome, trouble or code or "unlisted", error_text(body))


def read_order(order: Order, data: Mapping[str, object]) -> Result:
    """What an order that the shop tells says. Codes are those of a completed order; texts of a rejected one are why."""
    named, word = json_text(data.get("order_id")), json_text(data.get("status")).casefold()
    if not _ID.fullmatch(named):
        return order.result(Outcome.UNKNOWN, "no_order_id")
    if other := differing_field(order.ref, data):
        return order.result(Outcome.UNKNOWN, ANOTHER, f"it differs in {other}", duplicate=True)
    order = replace(order, ref=replace(order.ref, provider_id=named))
    outcome = _state_of(order.account, word)
    leaves = code_leaves(data.get("replay_api")) or code_leaves(data.get("pin"))
    text = " ".join(filter(is_prose, leaves)) if outcome is Outcome.REJECTED else ""
    told = order.result(outcome, word, text, duplicate=any(data.get(name) is True for name in REPEATED))
    if outcome is Outcome.REJECTED:
        return replace(told, reason=told.reason or word, duplicate=False)
    is_done = outcome is Outcome.COMPLETED
    codes = tuple(Code(value=leaf) for leaf in leaves) if is_done else ()
    return replace(told, cost=json_amount(data.get("price")), codes=codes)


def _state_of(account: Account, word: str) -> Outcome:
    own = account.options.get("words")
    said = own.get(word) if isinstance(own, Mapping) else None
    return Outcome(said) if said in _OUTCOMES else STATES.get(word, Outcome.UNKNOWN)


_OUTCOMES = frozenset(Outcome)


def meaning_of(account: Account, code: str) -> Outcome:
    """What an error code means at this account: its own row, else the document's."""
    own = account.options.get("codes")
    said = own.get(code) if isinstance(own, Mapping) else None
    return Outcome(said) if said in _OUTCOMES else CODES.get(code, Outcome.UNKNOWN)


def differing_field(ref: OrderRef, data: Mapping[str, object]) -> str:
    """The first field that was told otherwise than asked, or nothing: the same UUID may return another, older order."""
    if ref.request is None:
        return ""
    asked = {
        "quantity": str(ordered_quantity(ref.request)),
        "product": ref.request.product.get("oyun", ""),
        "reference": ref.own_ref,
    }
    given, said = buyer_fields(ref.request), data.get("data")
    pairs = [(name, asked[what], data.get(name)) for name, what in SAME.items()]
    if isinstance(said, Mapping):
        pairs += [(name, value, said.get(name)) for name, value in given.items()]
    return next((name for name, value, told in pairs if is_another(value, told)), "")


def is_another(asked: str, told: object) -> bool:
    """Whether a told value has other letters or digits than what was asked; nothing told is no difference."""
    number = json_amount(told) if isinstance(told, Decimal) else None
    text = json_text(told) if number is None else f"{number.normalize():f}"
    return bool(text) and _letters(text) != _letters(asked)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text.casefold()))


def code_leaves(told: object) -> list[str]:
    """Every text in `replay_api`, whatever its shape: nothing, a text, a list of them, objects with `replay`."""
    return [leaf for leaf in map(str.strip, _leaves(told)) if not is_blank_code(leaf)]


def _leaves(told: object) -> Iterator[str]:
    if isinstance(told, Mapping):
        yield from _leaves(told.get("replay"))
    elif isinstance(told, list):
        for inner in told:
            yield from _leaves(inner)
    else:
        yield json_text(told)


def is_prose(text: str) -> bool:
    """Whether a text is a sentence for people and cannot be a code: words with spaces, and few digits."""
    return len(text.split()) > 1 and sum(letter.isdigit() for letter in text) <= _DIGITS_OF_PROSE


def read_body(answer: Answer) -> tuple[Mapping[str, object], str]:
    """The JSON object of a complete answer with status 200 or 4xx, or a word for why there is none."""
    if not isinstance(answer, HttpReply):
        return {}, answer.reason.value
    body = parse_json(answer.body)
    if answer.status != 200 and not 400 <= answer.status <= 499:
        return {}, f"http_{answer.status}"
    if not isinstance(body, Mapping):
        return {}, "no_object" if answer.status == 200 else f"http_{answer.status}"
    return body, ""


def is_success(answer: Answer, body: Mapping[str, object]) -> bool:
    """Whether an answer tells orders: status 200, no word of an error, no error's code."""
    is_good = isinstance(answer, HttpReply) and answer.status == 200
    word = json_text(body.get("status")).casefold()
    return is_good and word in ("ok", "success") and not error_code(body)


def is_error(body: Mapping[str, object]) -> bool:
    """Whether a body says that nothing was done: an error's word or none, and no order beside it."""
    return json_text(body.get("status")).casefold() in ("", "error") and not body.get("data")


def error_code(body: Mapping[str, object]) -> str:
    """The error's number, or the word that some clones give in its place."""
    return json_text(body.get("code")) or json_text(body.get("error"))


def error_text(body: Mapping[str, object]) -> str:
    """The shop's words for an error: `message`, or `msg` as a text or as an object of texts."""
    told = body.get("message") or body.get("msg")
    texts = map(json_text, told.values()) if isinstance(told, Mapping) else (json_text(told),)
    return " ".join(filter(None, texts))[:TEXT_LIMIT]


def read_balance(account: Account, answer: Answer) -> Balance:
    """Our credit there; an error, or anything but an amount, is an error."""
    body, trouble = read_body(answer)
    amount = json_amount(body.get("balance"))
    is_good = isinstance(answer, HttpReply) and answer.status == 200
    if amount is None or not is_good or error_code(body) or json_text(body.get("status")).casefold() == "error":
        said = clean_line(error_text(body) or error_code(body), account.secrets.values())
        return Balance(None, account.currency, error=trouble or said or "no_amount")
    return Balance(amount, account.currency, credit=amount)


def read_products(account: Account, answer: Answer) -> Catalogue:
    """What `products` lists, each product once; an error, or a list without a usable row, is an error."""
    if not isinstance(answer, HttpReply):
        return Catalogue((), answer.reason.value)
    told = parse_json(answer.body) if answer.status == 200 else None
    if not isinstance(told, list):
        body, trouble = read_body(answer)
        said = clean_line(error_text(body) or error_code(body), account.secrets.values())
        return Catalogue((), trouble or said or "no_list")
    found = {item.ids["oyun"]: item for row in told if (item := _read_product(account, row))}
    return Catalogue(tuple(found.values()), "" if found else "no_usable_row")


def _read_product(account: Account, row: object) -> CatalogueItem | None:
    told = row if isinstance(row, Mapping) else {}
    product, name = json_text(told.get("id")), json_text(told.get("name"))
    if not _ID.fullmatch(product) or not name:
        return None
    cost = json_amount(told.get("price")) or None
    wanted = told.get("params")
    item = CatalogueItem(
        ids={"oyun": product},
        name=name,
        group=json_text(told.get("category_name")),
        cost=cost,
        currency=account.currency if cost else "",
        available=told.get("available", True) not in (False, 0, "0", "false"),
        fields=tuple(filter(None, map(json_text, wanted))) if isinstance(wanted, list) else (),
    )
    return _with_quantities(item, told.get("qty_values"))


def _with_quantities(item: CatalogueItem, told: object) -> CatalogueItem:
    """`null` is one at a time, a list those numbers, an object a range; what cannot be read is any."""
    if told is None:
        return item
    if isinstance(told, Mapping):
        least, most = (json_text(told.get(bound)) for bound in ("min", "max"))
        if _QUANTITY.fullmatch(least) and _QUANTITY.fullmatch(most) and int(least) <= int(most):
            return replace(item, quantity="range", quantity_min=int(least), quantity_max=int(most))
    values = [json_text(value) for value in told] if isinstance(told, list) else []
    if values and all(map(_QUANTITY.fullmatch, values)):
        numbers = tuple(map(int, values))
        return replace(
            item, quantity="list", quantity_min=min(numbers), quantity_max=max(numbers), quantity_values=numbers
        )
    return replace(item, quantity="any")
