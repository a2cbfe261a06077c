"""SMM panels that speak the API of version 2 (`POST /api/v2`): form calls with `key` and `action`, JSON answers.

The panels take no reference of ours: an order whose answer was lost cannot be found, and is never sent again. Orders
are asked about by the panel's own ids, up to a hundred at once. Errors are free text, so `REFUSALS` is the table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from types import MappingProxyType

from apps.common.wire import Answer, HttpCall, HttpReply, NotSent
from apps.providers.contract import (
    CATALOGUE_LIMIT,
    Account,
    Balance,
    Capabilities,
    Catalogue,
    CatalogueItem,
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
from apps.providers.parsing import TEXT_LIMIT, clean_line, dump_json, fold_turkish, json_amount, json_text, parse_json
from apps.providers.talks import ask_once

REFUSALS: tuple[tuple[str, Outcome], ...] = (
    ("not enough funds", Outcome.INSUFFICIENT_BALANCE),
    ("not enough balance", Outcome.INSUFFICIENT_BALANCE),
    ("insufficient funds", Outcome.INSUFFICIENT_BALANCE),
    ("insufficient balance", Outcome.INSUFFICIENT_BALANCE),
    ("invalid link", Outcome.REJECTED),
    ("incorrect link", Outcome.REJECTED),
    ("invalid quantity", Outcome.REJECTED),
    ("incorrect quantity", Outcome.REJECTED),
    ("quantity less than", Outcome.REJECTED),
    ("quantity more than", Outcome.REJECTED),
    ("minimum quantity", Outcome.REJECTED),
    ("maximum quantity", Outcome.REJECTED),
    ("min quantity", Outcome.REJECTED),
    ("max quantity", Outcome.REJECTED),
    ("service not found", Outcome.REJECTED),
    ("incorrect service id", Outcome.REJECTED),
    ("invalid service id", Outcome.REJECTED),
    ("invalid api key", Outcome.AUTH_ERROR),
    ("incorrect api key", Outcome.AUTH_ERROR),
    ("invalid key", Outcome.AUTH_ERROR),
    ("too many orders", Outcome.RATE_LIMITED),
)
"""What a refused order is, by the words of its text (`words_of`: `neworder.error.not_enough_funds` has them too).
Texts of one outcome are a refusal, of two outcomes none. Seen on panels, or the same said with another word."""

UNKNOWN_SERVICES: tuple[str, ...] = ("service not found", "incorrect service id", "invalid service id")
SERVICE_UNKNOWN = "service_unknown"
"""The reason code of a refusal whose text says one of these: the mapping names nothing on the panel."""

DUPLICATES: tuple[str, ...] = ("duplicate", "active order", "already")
"""Words of a text that speaks of an earlier order for the same link, which may be ours: never a refusal."""

DOUBTS: tuple[str, ...] = (
    "try again",
    "temporarily",
    "temporary",
    "timeout",
    "timed out",
    "maintenance",
    "internal",
    "server",
    "connection",
    "busy",
    "wait",
    "in progress",
    "processing",
    "success",
    "accepted",
    "created",
    "placed",
)
"""Words of a passing trouble, or of something that was done after all: a text with one is never a refusal."""

STATUSES: Mapping[str, Outcome] = {
    "pending": Outcome.ACCEPTED,
    "in progress": Outcome.ACCEPTED,
    "processing": Outcome.ACCEPTED,
    "completed": Outcome.COMPLETED,
    "partial": Outcome.PARTIAL,
    "canceled": Outcome.REJECTED,
    "cancelled": Outcome.REJECTED,
    "refunded": Outcome.REJECTED,
}
"""What an order's status means; another word says nothing."""

NO_SUCH_ORDER = "incorrect order id"
"""What is said about an id that the panel does not know."""

BUYER_PARAMS: tuple[str, ...] = (
    "comments",
    "usernames",
    "hashtags",
    "hashtag",
    "username",
    "media",
    "answer_number",
    "groups",
    "keywords",
)
"""Parameters of `add` that a buyer may fill in, or the mapping may fix."""

SHOP_PARAMS: tuple[str, ...] = (
    "runs",
    "interval",
    "country",
    "device",
    "type_of_traffic",
    "min",
    "max",
    "posts",
    "old_posts",
    "delay",
    "expiry",
)
"""Parameters of `add` that only the mapping may set: several of them multiply what is bought."""

LISTED_BY_LINE: tuple[str, ...] = ("comments", "usernames")
"""Parameters whose lines the panels count as units, so that they must not be more than the units that were sold."""

API_PATH = "/api/v2"
LIST_TIMEOUT_S = 60.0
PER_THOUSAND = 3

_ID = re.compile(r"[1-9][0-9]{0,19}")
_WORD = re.compile(r"[a-z0-9]+")
_QUANTITY = re.compile(r"[1-9][0-9]{0,8}")


@dataclass(frozen=True, slots=True)
class Order:
    """The order an answer is about; makes results that carry its reference and the account's currency."""

    account: Account
    ref: OrderRef

    def result(self, outcome: Outcome, code: str = "", text: str = "", *, duplicate: bool = False) -> Result:
        """An outcome with a word for its reason and the panel's own words, these without secrets."""
        return Result(
            outcome=outcome,
            own_ref=self.ref.own_ref,
            provider_id=self.ref.provider_id,
            currency=self.account.currency,
            reason_code=code,
            reason=clean_reason(text, self.account),
            duplicate=duplicate,
        )


class SmmV2:
    """SMM panels: likes, followers, views and comments for a link, ordered in the panel's own units."""

    kind: str = "smm_v2"
    label: str = "SMM panel (API v2)"
    caps: Capabilities = Capabilities(
        ref_format="none",
        ref_max_len=0,
        ref_max_age_s=None,
        dedup="none",
        resend_same_ref_safe=False,
        resend_min_gap_s=0,
        find_by_own_ref=False,
        absent_after_s=None,
        ask_may_create=False,
        query_window_s=None,
        status_batch_max=100,
        list_form="csv",
        send_window_s=20,
        place_timeout_s=60,
        ask_timeout_s=30,
        resolve_margin_s=10,
        review_after_s=300,
        rate_per_s=1,
        burst=1,
        poll=PollPlan(first_s=60, base_s=60, cap_s=600, floor_s=60),
        flipping=frozenset(),
        final_after_s=0,
        failed_final_after_s=60,
        quantity="any",
        one_per_target=True,
        webhook="none",
        balance_check=True,
    )
    secret_fields: tuple[str, ...] = ("key",)
    mapping_fields: tuple[str, ...] = ("service",)
    option_fields: Mapping[str, Knob] = MappingProxyType({"user_agent": Knob("text")})

    def place(self, account: Account, request: PlaceRequest) -> Talk:
        """Orders once. Raises ValueError at once, before any call, for a request that this protocol cannot say."""
        call = build_call(account, "add", account.seconds("place_timeout_s", self.caps), *order_params(request))
        return ask_once(call, partial(read_place, Order(account, OrderRef(request.reference))))

    def status(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        """States by the panel's ids, in one question; an order without an id has no state."""
        if len(refs) > self.caps.status_batch_max:
            raise ValueError(f"an SMM panel answers about {self.caps.status_batch_max} orders in one question")
        return self._status(account, [Order(account, ref) for ref in refs if ref.provider_id])

    def _status(self, account: Account, orders: Sequence[Order]) -> TalkMany:
        if not orders:
            return {}
        ids = ("orders", ",".join(order.ref.provider_id for order in orders))
        answer = yield build_call(account, "status", account.seconds("ask_timeout_s", self.caps), ids)
        return read_states(orders, answer)

    def find(self, account: Account, ref: OrderRef) -> Talk:
        """The state of an order whose id is known; nothing can be found by our reference."""
        found = yield from self.status(account, [ref])
        return found.get(ref.own_ref) or Order(account, ref).result(Outcome.UNKNOWN, "no_answer")

    def balance(self, account: Account) -> TalkBalance:
        """Our money there."""
        answer = yield build_call(account, "balance", account.seconds("ask_timeout_s", self.caps))
        return read_balance(account, answer)

    def catalogue(self, account: Account) -> TalkCatalogue:
        """Every service of the panel."""
        call = build_call(account, "services", LIST_TIMEOUT_S)
        answer = yield replace(call, limit_bytes=CATALOGUE_LIMIT)
        return read_services(account, answer)


def order_params(request: PlaceRequest) -> Iterator[tuple[str, str]]:
    """The parameters of `add`. The mapping's own win over the buyer's."""
    quantity = ordered_quantity(request)
    given = {**{name: request.params.get(name, "") for name in BUYER_PARAMS}, **_fixed_params(request.product)}
    _check_request(request, quantity, given)
    yield from (("service", request.product["service"]), ("link", request.recipient), ("quantity", str(quantity)))
    yield from ((name, value) for name, value in given.items() if value)


def _fixed_params(product: Mapping[str, str]) -> dict[str, str]:
    return {name: product[name] for name in (*BUYER_PARAMS, *SHOP_PARAMS) if product.get(name)}


def _check_request(request: PlaceRequest, quantity: int | None, given: Mapping[str, str]) -> None:
    if not request.product.get("service"):
        raise ValueError("SMM mapping without service")
    if quantity is None:
        raise ValueError("SMM quantity is no whole number from 1: see the mapping's parameter quantity")
    if not request.recipient:
        raise ValueError("SMM order without a link")
    too_long = [name for name in LISTED_BY_LINE if len(given.get(name, "").splitlines()) > quantity]
    if too_long:
        raise ValueError(f"SMM order with more lines in {too_long[0]} than units")


def ordered_quantity(request: PlaceRequest) -> int | None:
    """Units as the panel counts them: ours times the mapping's `quantity` (1 without it); None when that is odd."""
    each = request.product.get("quantity", "1")
    return request.quantity * int(each) if _QUANTITY.fullmatch(each) and request.quantity > 0 else None


def build_call(account: Account, action: str, timeout_s: float, *params: tuple[str, str]) -> HttpCall:
    """A form call to the panel's one address; the key is marked as a secret."""
    agent = account.options.get("user_agent")
    return HttpCall(
        method="POST",
        url=account.base_url.rstrip("/").removesuffix(API_PATH) + API_PATH,
        form=(("key", account.secrets.get("key", "")), ("action", action), *params),
        headers=(("User-Agent", agent),) if isinstance(agent, str) and agent else (),
        timeout_s=timeout_s,
        secrets=frozenset({"key"}),
    )


def read_place(order: Order, answer: Answer) -> Result:
    """What an answer of `add` says. Only an order's id is acceptance, only a row of `REFUSALS` is a refusal."""
    if isinstance(answer, NotSent):
        return order.result(Outcome.NOT_SENT, answer.reason.value, answer.detail)
    told, trouble = read_object(answer)
    if trouble:
        return order.result(Outcome.UNKNOWN, trouble)
    number, error = json_text(told.get("order")), told.get("error")
    taken = replace(order, ref=replace(order.ref, provider_id=number if _ID.fullmatch(number) else ""))
    if error and number:
        return taken.result(Outcome.UNKNOWN, "order_and_error", json_text(error))
    if error:
        return _read_refusal(order, json_text(error))
    return taken.result(Outcome.ACCEPTED) if taken.ref.provider_id else order.result(Outcome.UNKNOWN, "unlisted")


def _read_refusal(order: Order, text: str) -> Result:
    outcome = classify(text)
    code = "unlisted" if outcome is Outcome.UNKNOWN else outcome.value
    if outcome is Outcome.REJECTED and has_words(text, UNKNOWN_SERVICES):
        code = SERVICE_UNKNOWN
    return order.result(outcome, code, text, duplicate=has_words(text, DUPLICATES))


def read_states(orders: Sequence[Order], answer: Answer) -> dict[str, Result]:
    """What an answer to a question says of each order, by our reference; an order that is not named is missing."""
    told, trouble = read_object(answer)
    error = json_text(told.get("error"))
    if trouble or error:
        outcome = Outcome.AUTH_ERROR if classify(error) is Outcome.AUTH_ERROR else Outcome.UNKNOWN
        return {order.ref.own_ref: order.result(outcome, trouble or "error", error) for order in orders}
    return {
        order.ref.own_ref: replace(_read_state(order, entry), raw=dump_json(entry))
        for order in orders
        if isinstance(entry := told.get(order.ref.provider_id), Mapping)
    }


def _read_state(order: Order, entry: Mapping[str, object]) -> Result:
    if error := json_text(entry.get("error")):
        is_missing = words_of(error) == NO_SUCH_ORDER
        return order.result(Outcome.NOT_FOUND if is_missing else Outcome.UNKNOWN, "error", error)
    word = json_text(entry.get("status"))
    outcome = STATUSES.get(words_of(word), Outcome.UNKNOWN)
    result = order.result(outcome, words_of(word)[:40], word)
    if outcome not in (Outcome.COMPLETED, Outcome.PARTIAL):
        return result
    delivered, remains = _read_parts(order.ref.request, entry) if outcome is Outcome.PARTIAL else (None, None)
    return replace(result, cost=_read_charge(order.account, entry), delivered=delivered, remains=remains)


def _read_parts(
    request: PlaceRequest | None, entry: Mapping[str, object]
) -> tuple[Decimal, Decimal] | tuple[None, None]:
    """What was and was not delivered, in the panel's units; nothing when it does not fit what was ordered."""
    remains = json_amount(entry.get("remains"))
    ordered = ordered_quantity(request) if request else None
    if remains is None or ordered is None or remains > ordered:
        return None, None
    return ordered - remains, remains


def _read_charge(account: Account, entry: Mapping[str, object]) -> Decimal | None:
    """What the order cost in the end; nothing when it is told in another money than the account's."""
    return json_amount(entry.get("charge")) if is_own_money(account, entry) else None


def is_own_money(account: Account, told: Mapping[str, object]) -> bool:
    """Whether an amount is in the account's currency; without a word it is."""
    return json_text(told.get("currency")).upper() in ("", account.currency.upper())


def read_balance(account: Account, answer: Answer) -> Balance:
    """Our credit there; an error text, another currency or anything else is an error."""
    told, trouble = read_object(answer)
    amount = json_amount(told.get("balance"))
    if trouble or amount is None or told.get("error"):
        said = clean_reason(json_text(told.get("error")), account)
        return Balance(None, account.currency, error=trouble or said or "no_amount")
    if not is_own_money(account, told):
        return Balance(None, account.currency, error="another_currency")
    return Balance(amount, account.currency, credit=amount)


def read_services(account: Account, answer: Answer) -> Catalogue:
    """What `services` lists, each service once; an error, or a list without a usable row, is an error."""
    told, trouble = read_json(answer)
    if trouble or not isinstance(told, list):
        error = json_text(told.get("error")) if isinstance(told, Mapping) else ""
        return Catalogue((), trouble or clean_reason(error, account) or "no_list")
    found = {item.ids["service"]: item for row in told if (item := _read_service(account, row))}
    return Catalogue(tuple(found.values()), "" if found else "no_usable_row")


def _read_service(account: Account, row: object) -> CatalogueItem | None:
    told = row if isinstance(row, Mapping) else {}
    service, name = json_text(told.get("service")), json_text(told.get("name"))
    if not _ID.fullmatch(service) or not name:
        return None
    rate = json_amount(told.get("rate"))
    least, most = (json_text(told.get(bound)) for bound in ("min", "max"))
    has_bounds = _QUANTITY.fullmatch(least) and _QUANTITY.fullmatch(most)
    return CatalogueItem(
        ids={"service": service},
        name=name,
        group=json_text(told.get("category")),
        cost=rate.scaleb(-PER_THOUSAND) if rate else None,
        currency=account.currency if rate else "",
        quantity="range" if has_bounds else "any",
        quantity_min=int(least) if has_bounds else 1,
        quantity_max=int(most) if has_bounds else 1,
        gives_code=False,
    )


def read_json(answer: Answer) -> tuple[object, str]:
    """The value of a complete answer with status 200, or a word for why there is none."""
    if not isinstance(answer, HttpReply):
        return None, answer.reason.value
    if answer.status != 200:
        return None, f"http_{answer.status}"
    told = parse_json(answer.body)
    return told, "" if told is not None else "not_json"


def read_object(answer: Answer) -> tuple[Mapping[str, object], str]:
    """The same where only an object makes sense; it is empty when there is none."""
    told, trouble = read_json(answer)
    return (told, "") if isinstance(told, Mapping) else ({}, trouble or "no_object")


def classify(text: str) -> Outcome:
    """What a refusing text is; UNKNOWN when it is unlisted, contradicts itself, or sounds like doubt."""
    outcomes = {outcome for phrase, outcome in REFUSALS if has_words(text, (phrase,))}
    is_doubtful = has_words(text, (*DOUBTS, *DUPLICATES)) or len(text) > TEXT_LIMIT
    return outcomes.pop() if len(outcomes) == 1 and not is_doubtful else Outcome.UNKNOWN


def has_words(text: str, phrases: Sequence[str]) -> bool:
    """Whether a text has one of these phrases, as whole words."""
    words = f" {words_of(text)} "
    return any(f" {phrase} " in words for phrase in phrases)


def words_of(text: str) -> str:
    """The words of a text in small letters with one space between: its dots and lines do not matter."""
    return " ".join(_WORD.findall(fold_turkish(text[: TEXT_LIMIT + 1])))


def clean_reason(text: str, account: Account) -> str:
    """The panel's words as one short line without our key, which some panels repeat."""
    return clean_line(text, account.secrets.values())
