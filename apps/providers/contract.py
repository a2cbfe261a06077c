"""The port between the hub and its providers: verbs without I/O, outcomes, and capabilities as data.

An adapter's verb is a generator: it yields `HttpCall` values, is sent the `Answer` to each, and returns its result.
It imports neither Django nor another adapter, touches no network, and never raises for anything a provider sends.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

from apps.common.wire import Answer, HttpCall


class Outcome(StrEnum):
    """What one answer says about one purchase. Only explicit words of the provider are success or failure."""

    ACCEPTED = "accepted"  # the provider owns it: keep asking
    COMPLETED = "completed"  # final, delivered; codes may follow
    PARTIAL = "partial"  # final, less delivered than ordered
    REJECTED = "rejected"  # final: not delivered, not charged or charged back
    REVERSED = "reversed"  # was completed, undone later: a person decides
    UNKNOWN = "unknown"  # may exist there: ask by our reference only
    NOT_SENT = "not_sent"  # proven: nothing left this machine
    RATE_LIMITED = "rate_limited"  # not created; try again after `retry_after_s`
    OUT_OF_STOCK = "out_of_stock"  # not created; another provider may have it
    INSUFFICIENT_BALANCE = "insufficient_balance"  # not created; our balance there is too low
    AUTH_ERROR = "auth_error"  # not created; our credentials, address or permission
    NOT_FOUND = "not_found"  # look-ups only: the provider does not know the reference


@dataclass(frozen=True, slots=True)
class PollPlan:
    """When to ask, in seconds: first exactly, then base x 2^n up to the cap; `floor_s` is the least gap."""

    first_s: float = 60
    base_s: float = 30
    cap_s: float = 600
    floor_s: float = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a provider can and promises, as data; times are seconds.

    No trait has a default: whoever writes an adapter answers every question, and one that is left out keeps the
    adapter from loading. `contradictions` says which answers cannot be true together.
    """

    # our reference
    ref_format: Literal["digits18", "uuid4", "none"]  # none: the provider takes no reference of ours
    ref_max_len: int
    ref_max_age_s: float | None  # an older reference must not be sent or asked about again; None is never
    dedup: Literal["none", "rejects", "returns_original", "racy", "unproven"]  # what the same reference again does
    resend_same_ref_safe: bool
    resend_min_gap_s: float

    # asking
    find_by_own_ref: bool
    absent_after_s: float | None  # not-found proves absence only after this; None is never
    ask_may_create: bool  # asking is a re-send
    query_window_s: float | None  # how long the provider remembers; None is unknown
    status_batch_max: int
    list_form: Literal["one", "csv", "bracketed", "json"]  # how several orders are named in one question

    # time
    send_window_s: float  # from the attempt's commit to its last possible first byte
    place_timeout_s: float
    ask_timeout_s: float
    resolve_margin_s: float  # added to window + time-out before anyone asks about an attempt in `sending`
    review_after_s: float  # an attempt in doubt this long is shown to a person; asking goes on
    rate_per_s: float  # requests a second that the account may make for long
    burst: int  # requests at the same time
    poll: PollPlan

    # ends
    flipping: frozenset[str]  # attempt states that were seen to change although final
    final_after_s: float  # a state in `flipping` may still change until then
    failed_final_after_s: float  # a failure after acceptance counts from the second agreeing reading this much later

    # the rest
    quantity: Literal["one", "list", "range", "any"]  # units that one purchase may have
    one_per_target: bool  # a second order for a recipient is refused while the first is open
    webhook: Literal["none", "hmac_sha1", "hmac_sha256", "shared_secret", "unsigned"]
    balance_check: bool  # a balance can be read, so that a movement of it may prove a purchase


ABSENCE_MARGIN_S = 600
"""Seconds after the last moment at which a purchase could still arrive, before not-found may prove anything."""


def contradictions(caps: Capabilities) -> list[str]:
    """What of a declaration cannot be true together, in words; empty when it makes sense."""
    return [text for is_wrong, text in _contradictions(caps) if is_wrong]


def _contradictions(caps: Capabilities) -> Iterator[tuple[bool, str]]:
    proven = caps.dedup in ("rejects", "returns_original")
    last_arrival_s = caps.send_window_s + caps.place_timeout_s + ABSENCE_MARGIN_S
    absent_s = caps.absent_after_s
    yield caps.resend_same_ref_safe and not proven, "a re-send is safe only where the duplicate behaviour is proven"
    yield caps.ref_format == "none" and caps.dedup != "none", "without a reference there is no duplicate behaviour"
    yield caps.ref_format == "none" and caps.find_by_own_ref, "without a reference nothing is found by it"
    yield caps.ref_format == "digits18" and caps.ref_max_len < 18, "18 digits do not fit the longest reference"
    yield caps.ref_format == "uuid4" and caps.ref_max_len < 36, "a uuid4 does not fit the longest reference"
    yield absent_s is not None and not caps.find_by_own_ref, "absence is proven by a look-up only"
    yield absent_s is not None and caps.ask_may_create, "where asking may buy, not-found proves nothing"
    yield (
        absent_s is not None and not caps.balance_check,
        "absence needs a balance to read, as a sign of a good login",
    )
    yield absent_s is not None and absent_s < last_arrival_s, f"absence is proven after {last_arrival_s:g} s at least"
    yield caps.ask_may_create and not caps.resend_same_ref_safe, "asking is a re-send there, so it must be safe"
    yield caps.ask_may_create and caps.ref_max_age_s is None, "asking is a re-send there, so references must age"
    yield caps.ask_may_create and caps.status_batch_max != 1, "a re-send is one order at a time"
    yield caps.poll.floor_s < caps.resend_min_gap_s and caps.ask_may_create, "questions come sooner than re-sends may"
    yield caps.status_batch_max < 1 or caps.burst < 1, "at least one order in a question, one question at a time"
    yield (caps.status_batch_max > 1) != (caps.list_form != "one"), "several orders in one question need a list form"
    yield caps.rate_per_s <= 0, "a rate is above zero"
    yield bool(caps.flipping) != (caps.final_after_s > 0), "states that flip need the time for which they may"
    yield not 0 < caps.poll.floor_s <= caps.poll.base_s <= caps.poll.cap_s, "floor, base and cap rise"


class TokenStore(Protocol):
    """Where an adapter keeps a token that the provider lends for a while; the clock is the store's."""

    def get(self, name: str) -> str:
        """The token, or an empty text when there is none or it is about to end."""
        ...

    def put(self, name: str, token: str, life_s: float) -> None:
        """Keep `token` for at most `life_s` seconds."""
        ...

    def drop(self, name: str) -> None:
        """Forget it: the provider does not take it any more."""
        ...


class NoTokens:
    """A store that keeps nothing: every conversation asks for a token of its own."""

    def get(self, name: str) -> str:
        """Never one."""
        return ""

    def put(self, name: str, token: str, life_s: float) -> None:
        """Forgotten at once."""

    def drop(self, name: str) -> None:
        """Nothing to forget."""


@dataclass(frozen=True, slots=True)
class Knob:
    """One option of an account that only its protocol knows: how this panel differs from its family.

    A `flag` is true or false, a `choice` one of `choices`, a `text` a short text, a `table` an object of short texts,
    which are among `choices` where there are any.
    One that is named like a capability sets that capability.
    """

    form: Literal["flag", "choice", "text", "table"]
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Account:
    """One account at one provider, as an adapter needs it. Never logged: its repr shows no secret."""

    base_url: str
    login: str = field(default="", repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    currency: str = ""
    options: Mapping[str, object] = field(default_factory=dict, repr=False)
    tokens: TokenStore = field(default_factory=NoTokens, repr=False)

    def seconds(self, name: str, caps: Capabilities) -> float:
        """A time of the capabilities, or the account's own where its options give one."""
        value = self.options.get(name, getattr(caps, name))
        return float(value) if isinstance(value, int | float) else float(getattr(caps, name))


@dataclass(frozen=True, slots=True)
class PlaceRequest:
    """One purchase to place. `product` holds the provider's ids stored in the mapping (ZNET: `oyun`, `kupur`).

    `path` names the shops that the order has passed, ours last, each by a hash; only a protocol that has a place for it
    sends it.
    """

    reference: str
    product: Mapping[str, str]
    recipient: str
    extra_field: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    quantity: int = 1
    path: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OrderRef:
    """How an order placed earlier is named at the provider, and what was asked for when it was placed."""

    own_ref: str
    provider_id: str = ""
    placed_at: datetime | None = None
    request: PlaceRequest | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """One delivered secret, byte for byte as the provider gave it (outer white space removed)."""

    value: str = field(repr=False)
    serial: str = field(default="", repr=False)
    pin: str = field(default="", repr=False)
    url: str = field(default="", repr=False)
    expires: date | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What an adapter read from one answer. `reason` is the provider's own words, without secrets and codes.

    `raw` is the part of an answer about several orders that is about this one; empty means the whole answer.
    """

    outcome: Outcome
    own_ref: str
    provider_id: str = ""
    cost: Decimal | None = None
    currency: str = ""
    balance_after: Decimal | None = None
    delivered: Decimal | None = None
    remains: Decimal | None = None
    codes: tuple[Code, ...] = field(default=(), repr=False)
    duplicate: bool = False
    reason_code: str = ""
    reason: str = ""
    retry_after_s: float | None = None
    raw: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left at the provider: `amount` is credit minus debt; `error` is set when nothing could be read."""

    amount: Decimal | None
    currency: str
    credit: Decimal | None = None
    debt: Decimal | None = None
    error: str = ""


@dataclass(frozen=True, slots=True)
class CatalogueItem:
    """One thing that a provider sells. `ids` are what a mapping to it needs, by the adapter's `mapping_fields`.

    `cost` is for one unit; None where it is not told. `fields` names what the provider wants to know of a buyer.
    """

    ids: Mapping[str, str]
    name: str
    group: str = ""
    cost: Decimal | None = None
    currency: str = ""
    available: bool = True
    quantity: Literal["one", "list", "range", "any"] = "one"
    quantity_min: int = 1
    quantity_max: int = 1
    quantity_values: tuple[int, ...] = ()
    fields: tuple[str, ...] = ()
    gives_code: bool | None = None


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All that an account can buy, or the `error` for which nothing was read; an error is never an empty list."""

    items: tuple[CatalogueItem, ...]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Listed:
    """One purchase in the provider's own list, with the `word` for its state and what that word says.

    `cost` is in `currency`; None where it is not told. `at` is None where the time cannot be read.
    """

    own_ref: str
    provider_id: str
    word: str
    outcome: Outcome
    cost: Decimal | None
    currency: str
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Listing:
    """All that was bought in a time, or the `error` for which nothing was read; an error is never an empty list."""

    purchases: tuple[Listed, ...]
    error: str = ""


CATALOGUE_LIMIT = 16 * 1024 * 1024
"""Bytes of a product list that are read at most."""


@dataclass(frozen=True, slots=True)
class TakeCodes:
    """Take `count` codes from our own shelf, or none."""

    shelf: str
    count: int


@dataclass(frozen=True, slots=True)
class AskPerson:
    """Put the order into the queue of the people who fulfil it."""


@dataclass(frozen=True, slots=True)
class CodesTaken:
    """The codes, and what all of them together cost us."""

    codes: tuple[Code, ...] = field(repr=False)
    cost: Decimal


@dataclass(frozen=True, slots=True)
class NothingLeft:
    """The shelf does not hold that many; nothing was taken."""


@dataclass(frozen=True, slots=True)
class PersonAsked:
    """It is in the queue."""


LocalCall = TakeCodes | AskPerson
LocalAnswer = CodesTaken | NothingLeft | PersonAsked
LocalTalk = Generator[LocalCall, LocalAnswer, Result]
"""What a kind without a wire yields: run inside the transaction that settles the attempt, so it is never in doubt."""

WEBHOOK_SECRET = "webhook_secret"  # noqa: S105 - the name of one
"""The secret by which an account's webhooks are signed: no purchase needs it."""


class Trust(StrEnum):
    """How far a webhook may be believed to come from its provider. Even then it only makes us ask."""

    VERIFIED = "verified"  # signed with the account's secret
    UNSIGNED = "unsigned"  # this provider signs nothing
    FORGED = "forged"  # the signature is missing or wrong
    NO_KEY = "no_key"  # the account has no secret to verify it with
    UNREADABLE = "unreadable"  # from the provider, but it is no message that the protocol knows


@dataclass(frozen=True, slots=True)
class HookCall:
    """One webhook as it came in. `path` is what was posted to, header names are in lower case."""

    path: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Hook:
    """What a webhook says: which order it is about, and when it was sent where the signature covers that.

    `says` is what it claims, UNKNOWN where that is not clear: nobody believes it, but it shows whether the provider
    told an end before we saw it ourselves.
    """

    trust: Trust
    own_ref: str = ""
    provider_id: str = ""
    sent_at: datetime | None = None
    says: Outcome = Outcome.UNKNOWN


Talk = Generator[HttpCall, Answer, Result]
TalkMany = Generator[HttpCall, Answer, Mapping[str, Result]]
TalkBalance = Generator[HttpCall, Answer, Balance]
TalkCatalogue = Generator[HttpCall, Answer, Catalogue]
TalkListing = Generator[HttpCall, Answer, Listing]


class Kind(Protocol):
    """What every kind declares. Read by the registry, the admin's forms, the docs and the contract suites."""

    kind: str
    label: str
    caps: Capabilities
    secret_fields: tuple[str, ...]
    mapping_fields: tuple[str, ...]
    option_fields: Mapping[str, Knob]


@runtime_checkable
class LocalAdapter(Kind, Protocol):
    """A kind without a wire: its one verb yields what is to be done here, inside the transaction that settles.

    Nothing is asked about it later, so it has no other verb, and no address, login or secrets.
    """

    def fulfil(self, account: Account, request: PlaceRequest) -> LocalTalk:
        """Exactly one try to fulfil: yields at most one call."""
        ...


@runtime_checkable
class AskedLocalAdapter(LocalAdapter, Protocol):
    """A kind without a wire that knows more of a purchase later: it is asked when the attempt's row is due."""

    def answer(self, account: Account, request: PlaceRequest, age_s: float) -> Result:
        """What became of a purchase that was made `age_s` seconds ago."""
        ...


class Adapter(Kind, Protocol):
    """One protocol of a provider with a wire."""

    def place(self, account: Account, request: PlaceRequest) -> Talk:
        """Exactly one purchase try: yields at most one call that can buy."""
        ...

    def status(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        """States by own reference, for at most `caps.status_batch_max` orders; a missing key is no information.

        One question for all of them. Raises ValueError at once for more than that.
        """
        ...

    def find(self, account: Account, ref: OrderRef) -> Talk:
        """Looks one order up by our reference: its state, NOT_FOUND, or UNKNOWN when the question failed."""
        ...

    def balance(self, account: Account) -> TalkBalance:
        """Our money there. An error is an error, never a zero."""
        ...


@runtime_checkable
class HookedAdapter(Kind, Protocol):
    """A kind whose provider can send webhooks; `caps.webhook` of the account says how they are signed."""

    def parse_webhook(self, account: Account, call: HookCall) -> Hook:
        """Verifies a webhook and reads what it is about. Never raises, whatever was posted."""
        ...


@runtime_checkable
class ListingAdapter(Kind, Protocol):
    """A kind whose provider lists what was bought in a time."""

    def listing(self, account: Account, starts_at: datetime, ends_at: datetime) -> TalkListing:
        """Every purchase from `starts_at` to `ends_at`, both included, whoever made it; all of them or an error."""
        ...
