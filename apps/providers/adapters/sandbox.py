"""The sandbox: what becomes of a purchase stands in its recipient, and nothing leaves this process."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType

from apps.providers.contract import (
    Account,
    Capabilities,
    Code,
    Knob,
    LocalTalk,
    Outcome,
    PlaceRequest,
    PollPlan,
    Result,
)

WITH_CODE = "code"
"""What the mapping of a product with PINs says (`oyun`); every other product delivers without one."""

CAPS = Capabilities(
    ref_format="digits18",
    ref_max_len=64,
    ref_max_age_s=None,
    dedup="rejects",  # an attempt settles once
    resend_same_ref_safe=True,
    resend_min_gap_s=0,
    find_by_own_ref=True,
    absent_after_s=None,
    ask_may_create=False,
    query_window_s=None,
    status_batch_max=1,
    list_form="one",
    send_window_s=10,
    place_timeout_s=10,
    ask_timeout_s=10,
    resolve_margin_s=10,
    review_after_s=900,
    rate_per_s=100,
    burst=16,
    poll=PollPlan(first_s=10, base_s=10, cap_s=60, floor_s=5),
    flipping=frozenset(),
    final_after_s=0,
    failed_final_after_s=0,
    quantity="any",
    one_per_target=False,
    webhook="none",
    balance_check=False,
)


@dataclass(frozen=True, slots=True)
class Fate:
    """What is said at first, and what from `after_s` seconds on (None: never anything else).

    `is_code_late`: what is delivered at first comes without its codes, and later with them.
    """

    at_first: Outcome
    later: Outcome | None = None
    after_s: float = 90
    is_code_late: bool = False

    def at(self, age_s: float) -> Outcome:
        """What is said about a purchase of this age."""
        return self.later if self.later is not None and age_s >= self.after_s else self.at_first


DELIVERED = Fate(Outcome.COMPLETED)

FATES: Mapping[str, Fate] = MappingProxyType(
    {
        "9001": Fate(Outcome.ACCEPTED, Outcome.COMPLETED),
        "9002": Fate(Outcome.ACCEPTED, Outcome.COMPLETED, after_s=600),
        "9003": Fate(Outcome.REJECTED),
        "9004": Fate(Outcome.ACCEPTED, Outcome.REJECTED),
        "9005": Fate(Outcome.PARTIAL),
        "9006": Fate(Outcome.UNKNOWN, Outcome.COMPLETED),
        "9007": Fate(Outcome.UNKNOWN, Outcome.REJECTED),
        "9008": Fate(Outcome.UNKNOWN),
        "9009": Fate(Outcome.COMPLETED, Outcome.COMPLETED, is_code_late=True),
        "9010": Fate(Outcome.ACCEPTED),
    }
)
"""By the last four digits of the recipient; everything else is delivered at once."""


class Sandbox:
    """Pretended purchases of test keys. No account of it is made by hand: a shop's sandbox has its own."""

    kind = "sandbox"
    label = "Sandbox"
    caps = CAPS
    secret_fields: tuple[str, ...] = ()
    mapping_fields: tuple[str, ...] = ("oyun",)
    option_fields: Mapping[str, Knob] = MappingProxyType({})

    def fulfil(self, account: Account, request: PlaceRequest) -> LocalTalk:
        """Say what the recipient's fate says at first; there is nothing to do for it."""
        yield from ()
        return _tell(account, request, age_s=0)

    def answer(self, account: Account, request: PlaceRequest, age_s: float) -> Result:
        """Say what the recipient's fate says of a purchase that is so many seconds old."""
        return _tell(account, request, age_s)


def fate_of(request: PlaceRequest) -> Fate:
    """The fate that the recipient asks for, or the other fields where the product has no recipient."""
    named = request.recipient or "".join([request.extra_field, *request.params.values()])
    return FATES.get("".join(re.findall(r"[0-9]", named))[-4:], DELIVERED)


def _tell(account: Account, request: PlaceRequest, age_s: float) -> Result:
    fate = fate_of(request)
    outcome, done = _done(fate.at(age_s), request.quantity)
    if outcome is Outcome.UNKNOWN:
        return Result(outcome, request.reference, reason_code="sandbox_unknown")
    if outcome is Outcome.REJECTED:
        return Result(outcome, request.reference, reason_code="sandbox_refused", reason="the recipient asks for it")
    has_codes = request.product.get("oyun") == WITH_CODE and not (fate.is_code_late and age_s < fate.after_s)
    return Result(
        outcome,
        request.reference,
        cost=Decimal(0) if done else None,
        currency=account.currency if done else "",
        delivered=Decimal(done),
        remains=Decimal(request.quantity - done),
        codes=tuple(_code(request.reference, number) for number in range(1, done + 1)) if has_codes else (),
    )


def _done(outcome: Outcome, quantity: int) -> tuple[Outcome, int]:
    """The outcome, and how many units it delivers: of a part half of them, of a single unit nothing."""
    if outcome is Outcome.PARTIAL and quantity == 1:
        return Outcome.REJECTED, 0
    return outcome, {Outcome.COMPLETED: quantity, Outcome.PARTIAL: quantity // 2}.get(outcome, 0)


def _code(reference: str, number: int) -> Code:
    """A code that can be told from a real one, and is given once."""
    return Code(f"SANDBOX-{reference}-{number}")
