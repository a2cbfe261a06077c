"""The port between the hub and its providers: verbs without I/O, outcomes, and capabilities as data.

An adapter's verb is a generator: it yields `HttpCall` values, is sent the `Answer` to each, and returns its result.
It imports neither Django nor another adapter, touches no network, and never raises for anything a provider sends.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import Literal, Protocol

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


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a provider can and promises, as data. Times are seconds. Defaults are the careful ones."""

    dedup: Literal["none", "rejects", "returns_original", "racy", "unproven"]
    resend_same_ref_safe: bool = False
    resend_min_gap_s: float = 0
    ref_max_age_s: float | None = None
    find_by_own_ref: bool = True
    status_batch_max: int = 1
    ref_format: Literal["digits18", "uuid4", "text"] = "digits18"
    send_window_s: float = 20  # from the attempt's commit to its last possible first byte
    place_timeout_s: float = 30
    ask_timeout_s: float = 20
    resolve_margin_s: float = 10  # added to window + time-out before anyone asks about an attempt in `sending`
    review_after_s: float = 900  # an attempt in doubt this long is shown to a person; asking goes on
    absent_after_s: float | None = None  # not-found proves absence only after this; None is never
    ask_may_create: bool = False  # asking is a re-send
    final_after_s: float = 0  # a state in `flipping` may still change until then
    flipping: frozenset[str] = frozenset()  # attempt states that were seen to change although final
    failed_final_after_s: float = (
        60  # a failure after acceptance counts from the second agreeing reading this much later
    )
    query_window_s: float | None = None  # how long the provider remembers
    poll: PollPlan = PollPlan()
    webhook: Literal["none", "hmac_sha1", "hmac_sha256", "shared_secret", "unsigned"] = "none"
    quantity: Literal["one", "list", "range", "any"] = "one"


@dataclass(frozen=True, slots=True)
class Account:
    """One account at one provider, as an adapter needs it. Never logged: its repr shows no secret."""

    base_url: str
    login: str = field(default="", repr=False)
    secrets: Mapping[str, str] = field(default_factory=dict, repr=False)
    currency: str = ""
    options: Mapping[str, object] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class PlaceRequest:
    """One purchase to place. `product` holds the provider's ids stored in the mapping (ZNET: `oyun`, `kupur`)."""

    reference: str
    product: Mapping[str, str]
    recipient: str
    extra_field: str = ""
    params: Mapping[str, str] = field(default_factory=dict)
    quantity: int = 1


@dataclass(frozen=True, slots=True)
class OrderRef:
    """How an order placed earlier is named at the provider."""

    own_ref: str
    provider_id: str = ""
    placed_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Code:
    """One delivered secret, byte for byte as the provider gave it (outer white space removed)."""

    value: str = field(repr=False)
    serial: str = field(default="", repr=False)
    url: str = field(default="", repr=False)
    expires: date | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What an adapter read from one answer. `reason` is the provider's own words, without secrets and codes."""

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


@dataclass(frozen=True, slots=True)
class Balance:
    """What is left at the provider: `amount` is credit minus debt; `error` is set when nothing could be read."""

    amount: Decimal | None
    currency: str
    credit: Decimal | None = None
    debt: Decimal | None = None
    error: str = ""


Talk = Generator[HttpCall, Answer, Result]
TalkMany = Generator[HttpCall, Answer, Mapping[str, Result]]
TalkBalance = Generator[HttpCall, Answer, Balance]


class Adapter(Protocol):
    """One protocol. Attributes are read by the registry, the admin's forms, the docs and the contract suite."""

    kind: str
    label: str
    caps: Capabilities
    secret_fields: tuple[str, ...]
    mapping_fields: tuple[str, ...]

    def place(self, account: Account, request: PlaceRequest) -> Talk:
        """Exactly one purchase try: yields at most one call that can buy."""
        ...

    def status(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        """States by own reference, for at most `caps.status_batch_max` orders; a missing key is no information."""
        ...

    def find(self, account: Account, ref: OrderRef) -> Talk:
        """Looks one order up by our reference: its state, NOT_FOUND, or UNKNOWN when the question failed."""
        ...

    def balance(self, account: Account) -> TalkBalance:
        """Our money there. An error is an error, never a zero."""
        ...
