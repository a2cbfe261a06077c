"""Reloadly: gift cards and airtime over JSON, with a token that another address lends for a while.

The two services speak alike and differ in `SERVICES`. The reference (`customIdentifier`) is refused when it is used
again, but two requests on the way together are both executed, so an order is sent once and then only asked about.
"""

from __future__ import annotations

import re
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from types import MappingProxyType

from apps.common.wire import BODY_LIMIT, Answer, HttpCall, HttpReply, NotSent
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
    Listed,
    Listing,
    OrderRef,
    Outcome,
    PlaceRequest,
    PollPlan,
    Result,
    Talk,
    TalkBalance,
    TalkCatalogue,
    TalkListing,
    TalkMany,
    Trust,
)
from apps.providers.json_answers import objects_in, read_object
from apps.providers.parsing import clean_line, dump_json, is_blank_code, json_amount, json_text, parse_json
from apps.providers.signatures import is_signed, parse_moment

Json = Mapping[str, object]
Prices = Sequence[tuple[object, object]]


@dataclass(frozen=True, slots=True)
class Service:
    """Where one service keeps its orders, reports and products."""

    orders: str
    reports: str
    one_order: str
    products: str


SERVICES: Mapping[str, Service] = {
    "giftcards": Service("/orders", "/reports/transactions", "/reports/transactions/{}", "/products"),
    "topups": Service("/topups", "/topups/reports/transactions", "/topups/{}/status", "/operators"),
}

STATES: Mapping[str, Outcome] = {
    "PROCESSING": Outcome.ACCEPTED,
    "SUCCESSFUL": Outcome.COMPLETED,
    "FAILED": Outcome.REJECTED,
    "REFUNDED": Outcome.REJECTED,
}
"""The words of a transaction. Any other word says nothing."""

REFUSALS: Mapping[str, Outcome] = {
    "INSUFFICIENT_BALANCE": Outcome.INSUFFICIENT_BALANCE,
    "INVALID_TOKEN": Outcome.AUTH_ERROR,
    "TOKEN_EXPIRED": Outcome.AUTH_ERROR,
    "OPERATOR_UNAVAILABLE_OR_CURRENTLY_INACTIVE": Outcome.OUT_OF_STOCK,
    "TEMPORARY_OUT_OF_STOCK": Outcome.OUT_OF_STOCK,
    "PHONE_RECENTLY_RECHARGED": Outcome.RATE_LIMITED,
    "INVALID_PHONE_NUMBER": Outcome.REJECTED,
    "INVALID_RECIPIENT_PHONE": Outcome.REJECTED,
    "OPERATOR_AND_RECIPIENT_PHONE_MISMATCH": Outcome.REJECTED,
    "COULD_NOT_AUTO_DETECT_OPERATOR": Outcome.REJECTED,
    "COUNTRY_NOT_SUPPORTED": Outcome.REJECTED,
    "INVALID_AMOUNT_FOR_OPERATOR": Outcome.REJECTED,
    "INVALID_LOCAL_AMOUNT_FOR_OPERATOR": Outcome.REJECTED,
    "LOCAL_AMOUNTS_NOT_SUPPORTED_BY_OPERATOR": Outcome.REJECTED,
    "PRODUCT_NOT_FOUND": Outcome.REJECTED,
    "WRONG_PRODUCT_PRICE": Outcome.REJECTED,
    "PRICE_IS_NOT_PERMITTED": Outcome.REJECTED,
}
"""`errorCode` of a 4xx answer to an order: nothing was bought. A code without a row is no refusal; left out on purpose
are the temporary ones (`PROVIDER_INTERNAL_ERROR`, `TRANSACTION_CANNOT_BE_PROCESSED_AT_THE_MOMENT`,
`RECIPIENT_HAS_PENDING_TRANSACTION`), after which the reports are asked whether something exists."""

DUPLICATE = "CUSTOM_IDENTIFIER_ALREADY_USED"
"""The order exists already: in one set of data 1,483 of 2,393 payments with this answer had been made."""

LOGIN_REFUSALS = frozenset({"INVALID_CREDENTIALS", "invalid_client", "unauthorized_client", "access_denied"})
"""Words with which the address that lends tokens refuses our credentials."""

RETRY_AFTER_S: Mapping[Outcome, float] = {Outcome.AUTH_ERROR: 1, Outcome.RATE_LIMITED: 120}
"""An old token is dropped, so the next try brings a new one; the same number may be loaded again after two minutes."""

AMOUNTS = ("fixedAmounts", "minAmount", "maxAmount")
LOCAL_AMOUNTS = ("localFixedAmounts", "localMinAmount", "localMaxAmount")
AUTH_URL = "https://auth.reloadly.com"
REPORT_PAGES, LIST_PAGES, REPORT_LIST_PAGES = 3, 60, 150
LIST_TIMEOUT_S = 60.0
REPORT_ZONE, REPORT_TIME = timezone(timedelta(hours=-4)), "%Y-%m-%d %H:%M:%S"
"""How the reports write times, in questions and in answers."""

_NUMBER = re.compile(r"[0-9]{1,18}")
_AMOUNT = re.compile(r"(?=.*[1-9])[0-9]{1,9}(?:\.[0-9]{1,5})?")
_PHONE = re.compile(r"\+?([0-9]{5,15})")
_COUNTRY = re.compile(r"[A-Z]{2}")
_TOKEN = re.compile(r"[!-~]+")


@dataclass(frozen=True, slots=True)
class Token:
    """A token, or why there is none; `is_refused` when our credentials were refused in words."""

    value: str
    is_refused: bool = False
    code: str = ""
    text: str = ""


Question = Generator[HttpCall, Answer, tuple[Answer | None, Token]]
"""A question's answer, none where no token could be had for it, and the token."""


@dataclass(frozen=True, slots=True)
class Order:
    """The order an answer is about, at one account; makes results that carry its reference and the account's money."""

    account: Account
    own_ref: str
    provider_id: str = ""

    def result(self, outcome: Outcome, code: str = "", text: str = "") -> Result:
        """An outcome with the provider's code and words, these without secrets."""
        return Result(
            outcome=outcome,
            own_ref=self.own_ref,
            currency=self.account.currency,
            reason_code=code[:100],
            reason=clean_line(text, hidden(self.account)),
        )

    def owns(self, told: Json) -> bool:
        """Whether a transaction is this order's: what it names, identifier or id, must be ours, to the letter."""
        reference, number = json_text(told.get("customIdentifier")), json_text(told.get("transactionId"))
        if reference:
            return reference == self.own_ref and (not self.provider_id or number in ("", self.provider_id))
        return bool(number) and number == self.provider_id

    def is_named_like(self, told: Json) -> bool:
        """Whether a search for this order may show a transaction: its identifier is ours, in any case of letters."""
        return json_text(told.get("customIdentifier")).casefold() == self.own_ref.casefold()


class Reloadly:
    """Reloadly: one gift card or one top-up per order, found again by our reference in the reports."""

    kind: str = "reloadly"
    label: str = "Reloadly"
    caps: Capabilities = Capabilities(
        ref_format="digits18",
        ref_max_len=150,
        ref_max_age_s=None,
        dedup="racy",
        resend_same_ref_safe=False,
        resend_min_gap_s=120,
        find_by_own_ref=True,
        absent_after_s=900,
        ask_may_create=False,
        query_window_s=None,
        status_batch_max=1,
        list_form="one",
        send_window_s=45,
        place_timeout_s=90,
        ask_timeout_s=20,
        resolve_margin_s=10,
        review_after_s=1800,
        rate_per_s=2,
        burst=2,
        poll=PollPlan(first_s=60, base_s=30, cap_s=600, floor_s=10),
        flipping=frozenset(),
        final_after_s=0,
        failed_final_after_s=60,
        quantity="one",
        one_per_target=False,
        webhook="hmac_sha256",
        balance_check=True,
    )
    secret_fields: tuple[str, ...] = ("client_secret",)
    mapping_fields: tuple[str, ...] = ("product_id", "amount")
    option_fields: Mapping[str, Knob] = MappingProxyType(
        {
            "service": Knob("choice", ("giftcards", "topups")),
            "sandbox": Knob("flag"),
            "auth_url": Knob("text"),
            "use_local_amount": Knob("flag"),
            "country": Knob("text"),
            "sender_name": Knob("text"),
            "recipient_is": Knob("choice", ("nothing", "user_id", "email")),
        }
    )

    def place(self, account: Account, request: PlaceRequest) -> Talk:
        """Buys one card or one top-up. Raises ValueError at once, before any call, for what cannot be ordered."""
        return self._place(account, request.reference, dump_json(build_order(account, request)))

    def _place(self, account: Account, reference: str, body: bytes) -> Talk:
        order = Order(account, reference)
        token = yield from self._token(account)
        if not token.value:
            outcome = Outcome.AUTH_ERROR if token.is_refused else Outcome.NOT_SENT
            return order.result(outcome, token.code, token.text)
        call = build_call(account, service_of(account).orders)
        timeout_s = account.seconds("place_timeout_s", self.caps)
        answer = yield with_token(replace(call, method="POST", json=body, timeout_s=timeout_s), token)
        result = read_place(order, answer)
        if result.outcome is Outcome.AUTH_ERROR:
            account.tokens.drop(audience_of(account))
        return result

    def status(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        """The state of one order, by the provider's number where it is known. Raises ValueError for more than one."""
        if len(refs) > self.caps.status_batch_max:
            raise ValueError("Reloadly answers one order per question")
        return self._ask_each(account, refs)

    def _ask_each(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        results: dict[str, Result] = {}
        for ref in refs:
            ask = self._ask_by_number if _NUMBER.fullmatch(ref.provider_id) else self.find
            results[ref.own_ref] = yield from ask(account, ref)
        return results

    def _ask_by_number(self, account: Account, ref: OrderRef) -> Talk:
        order = Order(account, ref.own_ref, ref.provider_id)
        answer, token = yield from self._ask(account, service_of(account).one_order.format(ref.provider_id))
        if not isinstance(answer, HttpReply) or not (told := read_object(answer, 200)):
            return read_failed_question(order, answer, token)
        inner = told.get("transaction")
        transaction: Json = {**told, **inner} if isinstance(inner, dict) else told
        return (yield from self._tell(order, transaction))

    def find(self, account: Account, ref: OrderRef) -> Talk:
        """Looks through the reports for our reference: its state, or NOT_FOUND when all pages were read.

        A page with transactions of other names is no answer to this search, so that none is ours proves nothing.
        """
        order, is_proof = Order(account, ref.own_ref), True
        for page in range(1, REPORT_PAGES + 1):
            query = (("customIdentifier", ref.own_ref), ("size", "50"), ("page", str(page)))
            answer, token = yield from self._ask(account, service_of(account).reports, *query)
            body = read_object(answer, 200)
            rows, content = objects_in(body, "content"), body.get("content")
            if not isinstance(content, list):
                return read_failed_question(order, answer, token)
            if mine := [row for row in rows if order.owns(row)]:
                return (yield from self._tell(order, most_certain(mine)))
            is_proof = is_proof and len(rows) == len(content) and all(map(order.is_named_like, rows))
            if is_last(body, page):
                outcome = Outcome.NOT_FOUND if is_proof else Outcome.UNKNOWN
                return order.result(outcome, "not_in_reports" if is_proof else "other_transactions")
        return order.result(Outcome.UNKNOWN, "too_many_pages")

    def _tell(self, order: Order, transaction: Json) -> Talk:
        """What the transaction says, and with a delivered gift card its codes: a second question, if it has any."""
        result = read_transaction(order, transaction)
        if result.outcome is not Outcome.COMPLETED or result.codes or service_name(order.account) != "giftcards":
            return result
        path = f"/orders/transactions/{result.provider_id}/cards"
        answer, _ = yield from self._ask(order.account, path, version=2)
        return replace(result, codes=read_cards(answer))

    def balance(self, account: Account) -> TalkBalance:
        """Our money there; an amount in another currency than the account's is an error."""
        answer, token = yield from self._ask(account, "/accounts/balance")
        body = read_object(answer, 200)
        amount, currency = json_amount(body.get("balance")), json_text(body.get("currencyCode"))
        if amount is None:
            failed = read_failed_question(Order(account, ""), answer, token)
            return Balance(None, account.currency, error=failed.reason or failed.reason_code)
        if currency != account.currency:
            return Balance(None, account.currency, error=f"the balance is in {currency[:10] or 'no named currency'}")
        return Balance(amount, currency, credit=amount)

    def catalogue(self, account: Account) -> TalkCatalogue:
        """Every denomination of every product, page by page; a page that cannot be read makes the whole an error."""
        read = read_products if service_name(account) == "giftcards" else read_operators
        found: dict[tuple[str, ...], CatalogueItem] = {}
        for page in range(1, LIST_PAGES + 1):
            query = (("size", "200"), ("page", str(page)))
            answer, token = yield from self._ask(account, service_of(account).products, *query, is_list=True)
            body = read_object(answer, 200)
            if not isinstance(body.get("content"), list):
                failed = read_failed_question(Order(account, ""), answer, token)
                return Catalogue((), failed.reason or failed.reason_code)
            for row in objects_in(body, "content"):
                found.update({tuple(item.ids.values()): item for item in read(account, row)})
            if is_last(body, page):
                return Catalogue(tuple(found.values()), "" if found else "nothing_is_sold")
        return Catalogue((), "too_many_pages")

    def listing(self, account: Account, starts_at: datetime, ends_at: datetime) -> TalkListing:
        """The report of a time, page by page; whatever leaves open whether it is whole makes all of it an error."""
        moments = (("startDate", written(starts_at)), ("endDate", written(ends_at)))
        found: dict[str, Listed] = {}
        for page in range(1, REPORT_LIST_PAGES + 1):
            query = (*moments, ("size", "200"), ("page", str(page)))
            answer, token = yield from self._ask(account, service_of(account).reports, *query, is_list=True)
            body = read_object(answer, 200)
            rows, content = objects_in(body, "content"), body.get("content")
            if not isinstance(content, list) or len(rows) != len(content):
                failed = read_failed_question(Order(account, ""), answer, token)
                return Listing((), failed.reason or failed.reason_code)
            known = len(found)
            found.update({listed.provider_id: listed for listed in (read_listed(account, row) for row in rows)})
            if fault := list_fault(body, page, found, known):
                return Listing((), fault)
            if is_last(body, page):
                return Listing(tuple(found.values()))
        return Listing((), "too_many_pages")

    def parse_webhook(self, account: Account, call: HookCall) -> Hook:
        """A transaction, signed with HMAC-SHA256 over body, colon and the time of the request."""
        secret = account.secrets.get(WEBHOOK_SECRET, "")
        if not secret:
            return Hook(Trust.NO_KEY)
        moment = call.headers.get("x-reloadly-request-timestamp", "")
        signed = call.body + b":" + moment.encode()
        if not is_signed(secret, signed, call.headers.get("x-reloadly-signature", ""), "sha256"):
            return Hook(Trust.FORGED)
        body, sent_at = parse_json(call.body), parse_moment(moment)
        told = hooked_transaction(body) if isinstance(body, dict) else {}
        own_ref, number = json_text(told.get("customIdentifier")), json_text(told.get("transactionId"))
        if sent_at is None or not (own_ref or number):
            return Hook(Trust.UNREADABLE)
        says = STATES.get(json_text(told.get("status")), Outcome.UNKNOWN)
        return Hook(Trust.VERIFIED, own_ref, number, sent_at, says)

    def _ask(
        self, account: Account, path: str, *params: tuple[str, str], version: int = 1, is_list: bool = False
    ) -> Question:
        """The answer to one question, or why there is no token for it; an old token is renewed once."""
        call = build_call(account, path, *params, version=version)
        timeout_s = LIST_TIMEOUT_S if is_list else account.seconds("ask_timeout_s", self.caps)
        call = replace(call, timeout_s=timeout_s, limit_bytes=CATALOGUE_LIMIT if is_list else BODY_LIMIT)
        answer, token = yield from self._ask_once(account, call)
        if answer is None or not is_token_refused(answer):
            return answer, token
        account.tokens.drop(audience_of(account))
        again, token = yield from self._ask_once(account, call)
        return again or answer, token

    def _ask_once(self, account: Account, call: HttpCall) -> Question:
        token = yield from self._token(account)
        if not token.value:
            return None, token
        answer = yield with_token(call, token)
        return answer, token

    def _token(self, account: Account) -> Generator[HttpCall, Answer, Token]:
        """The kept token, or a new one. What fails here buys nothing."""
        audience = audience_of(account)
        if kept := account.tokens.get(audience):
            return Token(kept)
        call = build_token_call(account, account.seconds("ask_timeout_s", self.caps))
        answer = yield call
        body = read_object(answer, 200)
        value = json_text(body.get("access_token"))
        if not _TOKEN.fullmatch(value):
            return read_no_token(answer)
        account.tokens.put(audience, value, float(json_amount(body.get("expires_in")) or 0))
        return Token(value)


def hooked_transaction(body: Json) -> Json:
    """The transaction in a webhook: in `data`, in `transaction`, or at the top."""
    return _inner(body, "data") or _inner(body, "transaction") or body


def service_name(account: Account) -> str:
    """`giftcards` or `topups`."""
    return str(account.options.get("service", "giftcards"))


def service_of(account: Account) -> Service:
    """The paths of the account's service."""
    return SERVICES[service_name(account)]


def audience_of(account: Account) -> str:
    """What a token is for: the service's public address, live or sandbox, wherever the account's base URL points."""
    suffix = "-sandbox" if account.options.get("sandbox") else ""
    return f"https://{service_name(account)}{suffix}.reloadly.com"


def hidden(account: Account) -> tuple[str, ...]:
    """What must not stand in a reason."""
    return (*account.secrets.values(), account.login, account.tokens.get(audience_of(account)))


def build_token_call(account: Account, timeout_s: float) -> HttpCall:
    """The call that borrows a token; our credentials are in its body, which is never written down."""
    wanted = {
        "client_id": account.login,
        "client_secret": account.secrets.get("client_secret", ""),
        "grant_type": "client_credentials",
        "audience": audience_of(account),
    }
    base = str(account.options.get("auth_url") or AUTH_URL).rstrip("/")
    return HttpCall("POST", f"{base}/oauth/token", json=dump_json(wanted), timeout_s=timeout_s)


def build_call(account: Account, path: str, *params: tuple[str, str], version: int = 1) -> HttpCall:
    """A GET at the account's service, still without a token."""
    accept = f"application/com.reloadly.{service_name(account)}-v{version}+json"
    return HttpCall("GET", account.base_url.rstrip("/") + path, params, headers=(("Accept", accept),))


def with_token(call: HttpCall, token: Token) -> HttpCall:
    """The call with the token in a header that is marked as a secret."""
    headers = (*call.headers, ("Authorization", f"Bearer {token.value}"))
    return replace(call, headers=headers, secrets=frozenset({"Authorization"}))


def build_order(account: Account, request: PlaceRequest) -> Json:
    """The body of an order. Raises ValueError for a mapping, amount or recipient that cannot be ordered."""
    number, amount = request.product.get("product_id", ""), request.product.get("amount", "")
    if not _NUMBER.fullmatch(number):
        raise ValueError("Reloadly mapping without a numeric product_id")
    if not _AMOUNT.fullmatch(amount):
        raise ValueError("Reloadly mapping without an amount above zero, such as 10 or 10.50")
    if request.quantity != 1:
        raise ValueError("one Reloadly order is one unit")
    build = build_gift_card if service_name(account) == "giftcards" else build_top_up
    return {**build(account, request, Decimal(number), Decimal(amount)), "customIdentifier": request.reference}


def build_gift_card(account: Account, request: PlaceRequest, product: Decimal, price: Decimal) -> Json:
    """The card's fields. What the recipient of an order is to Reloadly says the option `recipient_is`."""
    told: dict[str, object] = {
        "productId": product,
        "quantity": Decimal(1),
        "unitPrice": price,
        "senderName": str(account.options.get("sender_name") or "Order Hub"),
    }
    if account.options.get("recipient_is") == "email":
        told["recipientEmail"] = request.recipient
    if account.options.get("recipient_is") == "user_id":
        told["productAdditionalRequirements"] = {"userId": request.recipient}
    return told


def build_top_up(account: Account, request: PlaceRequest, operator: Decimal, amount: Decimal) -> Json:
    """The top-up's fields; the country is the order's own (`country` among its parameters) or the account's."""
    country = request.params.get("country") or str(account.options.get("country", ""))
    phone = _PHONE.fullmatch(request.recipient)
    if not _COUNTRY.fullmatch(country):
        raise ValueError("a top-up needs the country of the number in two capital letters, such as TR")
    if phone is None:
        raise ValueError("the recipient of a top-up must be a phone number of 5 to 15 digits")
    return {
        "operatorId": operator,
        "amount": amount,
        "useLocalAmount": account.options.get("use_local_amount") is True,
        "recipientPhone": {"countryCode": country, "number": phone.group(1)},
    }


def read_no_token(answer: Answer) -> Token:
    """Why no token came; only explicit words refuse our credentials."""
    if not isinstance(answer, HttpReply):
        return Token("", code=f"token_{answer.reason.value}")
    body = read_object(answer, *range(400, 500))
    code = json_text(body.get("errorCode")) or json_text(body.get("error"))
    if code in LOGIN_REFUSALS:
        return Token("", True, code, json_text(body.get("message")) or json_text(body.get("error_description")) or code)
    return Token("", code=f"token_http_{answer.status}")


def read_place(order: Order, answer: Answer) -> Result:
    """What the answer to an order says: a transaction of ours is acceptance, a row of `REFUSALS` a refusal."""
    if isinstance(answer, NotSent):
        return order.result(Outcome.NOT_SENT, answer.reason.value, answer.detail)
    if told := read_object(answer, 200):
        return read_purchase(order, told)
    return read_refusal(order, answer)


def read_purchase(order: Order, told: Json) -> Result:
    """A 200: without a transaction id, or about another identifier, it says nothing about our order."""
    number = json_text(told.get("transactionId"))
    if not number:
        return order.result(Outcome.UNKNOWN, "no_transaction_id")
    if json_text(told.get("customIdentifier")) not in ("", order.own_ref):
        return order.result(Outcome.UNKNOWN, "another_order")
    told = told if json_text(told.get("status")) else {**told, "status": "PROCESSING"}
    return read_transaction(replace(order, provider_id=number), told)


def read_refusal(order: Order, answer: Answer) -> Result:
    """A 4xx with a listed code bought nothing; everything else may have."""
    body = read_object(answer, *range(400, 500))
    if not isinstance(answer, HttpReply) or not body:
        return order.result(Outcome.UNKNOWN, trouble_of(answer))
    code, text = json_text(body.get("errorCode")), json_text(body.get("message"))
    outcome = Outcome.UNKNOWN if json_text(body.get("transactionId")) else REFUSALS.get(code, Outcome.UNKNOWN)
    result = order.result(outcome, code or f"http_{answer.status}", text)
    return replace(result, duplicate=code == DUPLICATE, retry_after_s=RETRY_AFTER_S.get(outcome))


def read_failed_question(order: Order, answer: Answer | None, token: Token) -> Result:
    """A question without a usable answer: AUTH_ERROR where credentials or token were refused in words, else UNKNOWN."""
    if token.is_refused:
        return order.result(Outcome.AUTH_ERROR, token.code, token.text)
    if answer is None:
        return order.result(Outcome.UNKNOWN, token.code)
    told = read_object(answer, *range(400, 500))
    code = json_text(told.get("errorCode"))
    outcome = Outcome.AUTH_ERROR if REFUSALS.get(code) is Outcome.AUTH_ERROR else Outcome.UNKNOWN
    return order.result(outcome, code or trouble_of(answer), json_text(told.get("message")))


def trouble_of(answer: Answer) -> str:
    """Why an answer says nothing, in a word."""
    if isinstance(answer, HttpReply):
        return "unreadable" if answer.status == 200 else f"http_{answer.status}"
    return answer.reason.value


def is_token_refused(answer: Answer) -> bool:
    """Whether a question failed because its token is old: status 401, or a code that says so."""
    code = json_text(read_object(answer, *range(400, 500)).get("errorCode"))
    is_unauthorized = isinstance(answer, HttpReply) and answer.status == 401
    return is_unauthorized or REFUSALS.get(code) is Outcome.AUTH_ERROR


def is_last(body: Json, page: int) -> bool:
    """Whether a page says that no other follows; one that says nothing about pages is alone."""
    pages = json_amount(body.get("totalPages"))
    return body.get("last") is not False and (pages is None or pages <= page)


def most_certain(rows: Sequence[Json]) -> Json:
    """Of the transactions with our identifier the one to believe; there are two when a race was lost on their side."""
    order = (Outcome.COMPLETED, Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.REJECTED)
    return min(rows, key=lambda row: order.index(STATES.get(json_text(row.get("status")), Outcome.UNKNOWN)))


def read_transaction(order: Order, told: Json) -> Result:
    """What a transaction says. One that is not ours, or has no word for its state that we know, says nothing.

    While a top-up is in progress, its status names no transaction; that alone is believed without a name.
    """
    word = json_text(told.get("status"))
    outcome = STATES.get(word, Outcome.UNKNOWN)
    number = json_text(told.get("transactionId"))
    is_nameless = not number and not json_text(told.get("customIdentifier"))
    if not order.owns(told) and not (is_nameless and order.provider_id and outcome is Outcome.ACCEPTED):
        return order.result(Outcome.UNKNOWN, "another_order")
    text = json_text(told.get("message")) if outcome is Outcome.REJECTED else ""
    code = word if outcome is not Outcome.UNKNOWN else f"status_{word[:40]}"
    return replace(
        order.result(outcome, code, text),
        provider_id=number or order.provider_id,
        cost=read_cost(order.account, told),
        balance_after=read_money(order.account, balance_info(told), "newBalance"),
        codes=read_pin(told) if outcome is Outcome.COMPLETED else (),
    )


def list_fault(body: Json, page: int, found: Mapping[str, Listed], known: int) -> str:
    """Why a list with this page in it is none, in a word; empty where nothing is wrong. `known`: found before it.

    An absent purchase is asked about, so the list must say itself that it is whole: where its pages end, and that as
    many transactions were read as it counts.
    """
    if "" in found:
        return "transaction_without_id"
    if not isinstance(body.get("last"), bool) and json_amount(body.get("totalPages")) is None:
        return "the_list_does_not_say_where_it_ends"
    if not is_last(body, page):
        return "" if len(found) > known else "a_page_tells_nothing_new"
    counted = json_amount(body.get("totalElements"))
    return "" if counted in (None, len(found)) else "another_number_of_transactions_than_it_counts"


def read_listed(account: Account, told: Json) -> Listed:
    """A transaction as a line of the list; its PIN, if it shows one, is left where it is."""
    word = json_text(told.get("status"))
    cost, currency = read_price(account, told)
    return Listed(
        own_ref=json_text(told.get("customIdentifier")),
        provider_id=json_text(told.get("transactionId")),
        word=word,
        outcome=STATES.get(word, Outcome.UNKNOWN),
        cost=cost,
        currency=currency,
        at=read_time(json_text(told.get("transactionCreatedTime") or told.get("transactionDate"))),
    )


def read_price(account: Account, told: Json) -> tuple[Decimal | None, str]:
    """What an order cost, in whatever money it is told: ours first."""
    if (cost := read_cost(account, told)) is not None:
        return cost, account.currency
    cost = json_amount(told.get("amount"))
    return cost, json_text(told.get("currencyCode")) if cost is not None else account.currency


def written(at: datetime) -> str:
    """A moment as the reports want it."""
    return at.astimezone(REPORT_ZONE).strftime(REPORT_TIME)


def read_time(text: str) -> datetime | None:
    """A moment as the reports write it; None for anything else."""
    try:
        return datetime.strptime(text, REPORT_TIME).replace(tzinfo=REPORT_ZONE)
    except ValueError:
        return None


def balance_info(told: Json) -> Json:
    """What the order did to our balance; the schema spells its name in two ways."""
    info = told.get("balanceInfo") or told.get("balaneInfo")
    return info if isinstance(info, dict) else {}


def read_cost(account: Account, told: Json) -> Decimal | None:
    """What the order cost us: what left our balance, or a gift card's total; None in another money than ours."""
    return read_money(account, balance_info(told), "cost") or read_money(account, told, "amount")


def read_money(account: Account, told: Json, name: str) -> Decimal | None:
    """A sum that is in the account's money."""
    return json_amount(told.get(name)) if json_text(told.get("currencyCode")) == account.currency else None


def read_pin(told: Json) -> tuple[Code, ...]:
    """The PIN of an airtime product that has one."""
    detail = told.get("pinDetail")
    if not isinstance(detail, dict) or is_blank_code(value := json_text(detail.get("code"))):
        return ()
    return (Code(value=value, serial=json_text(detail.get("serial"))),)


def read_cards(answer: Answer | None) -> tuple[Code, ...]:
    """The cards of a gift card order, as a list or a single one; none while they are not there yet."""
    told = parse_json(answer.body) if isinstance(answer, HttpReply) and answer.status == 200 else None
    cards = [card for card in (told if isinstance(told, list) else [told]) if isinstance(card, dict)]
    return tuple(code for card in cards if (code := read_card(card)) is not None)


def read_card(card: Json) -> Code | None:
    """One card: its number, else its PIN, else its address is the code."""
    given = {name: json_text(card.get(name)) for name in ("cardNumber", "pinCode", "redemptionUrl")}
    number, pin, url = ("" if is_blank_code(text) else text for text in given.values())
    value = number or pin or url
    return Code(value=value, pin=pin if number else "", url=url) if value else None


def read_products(account: Account, row: Json) -> Iterator[CatalogueItem]:
    """The denominations of a gift card; a range is listed by its least amount."""
    number, name = json_text(row.get("productId")), json_text(row.get("productName"))
    country = json_text(_inner(row, "country").get("isoName"))
    wants_user = _inner(row, "additionalRequirements").get("userIdRequired") is True
    item = CatalogueItem(
        {},
        name,
        json_text(_inner(row, "brand").get("brandName")) or country,
        fields=("user_id",) if wants_user else (),
        gives_code=not wants_user,
    )
    if json_text(row.get("denominationType")) == "RANGE":
        least, most = row.get("minRecipientDenomination"), row.get("maxRecipientDenomination")
        priced: Prices = [(least, row.get("minSenderDenomination"))]
    else:
        most, priced = None, _pairs(row, "fixedRecipientDenominations", "fixedSenderDenominations")
    money = json_text(row.get("senderCurrencyCode")), json_text(row.get("recipientCurrencyCode"))
    yield from _items(account, item, number, priced, most, *money)


def read_operators(account: Account, row: Json) -> Iterator[CatalogueItem]:
    """The amounts of an operator, in its own money where the account orders in local amounts."""
    is_local = account.options.get("use_local_amount") is True
    fixed, least, most = LOCAL_AMOUNTS if is_local else AMOUNTS
    number = json_text(row.get("operatorId")) or json_text(row.get("id"))
    item = CatalogueItem(
        {},
        json_text(row.get("name")),
        json_text(_inner(row, "country").get("isoName")),
        fields=("phone",),
        gives_code=row.get("pin") is True,
    )
    if json_text(row.get("denominationType")) == "RANGE":
        priced: Prices = [(row.get(least), row.get("minAmount"))]
    else:
        priced, most = _pairs(row, fixed, "fixedAmounts"), ""
    money = json_text(row.get("senderCurrencyCode"))
    yield from _items(
        account,
        item,
        number,
        priced,
        row.get(most),
        money,
        json_text(row.get("destinationCurrencyCode")) if is_local else money,
    )


def _items(
    account: Account, item: CatalogueItem, number: str, priced: Prices, most: object, money: str, amount_money: str
) -> Iterator[CatalogueItem]:
    """One item for each amount that can be ordered; its cost is in `money`, its name tells the amount."""
    top = f" to {_plain(most)}" if json_amount(most) else ""
    for amount, cost in priced:
        text, price = _plain(amount), json_amount(cost) or None
        if _NUMBER.fullmatch(number) and _AMOUNT.fullmatch(text):
            name = clean_line(f"{item.name} {text}{top} {amount_money}", hidden(account))
            ids = {"product_id": number, "amount": text}
            price = price if money else None
            yield replace(item, ids=ids, name=name, cost=price, currency=money if price else "")


def _pairs(row: Json, amounts: str, costs: str) -> Prices:
    """The amounts of a product with what each costs us; no costs where the two lists do not fit together."""
    listed, priced = (value if isinstance(value := row.get(name), list) else [] for name in (amounts, costs))
    return list(zip(listed, priced if len(priced) == len(listed) else [None] * len(listed), strict=True))


def _plain(value: object) -> str:
    """An amount as it is ordered: `10` for `10.00000`."""
    amount = json_amount(value)
    return "" if amount is None else f"{amount.normalize():f}"


def _inner(row: Json, name: str) -> Json:
    value = row.get(name)
    return value if isinstance(value, dict) else {}
