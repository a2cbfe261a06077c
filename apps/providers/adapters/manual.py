"""A person fulfils: the order waits in the queue until somebody enters what was delivered, or refuses."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from apps.providers.contract import (
    Account,
    AskPerson,
    Capabilities,
    Knob,
    LocalTalk,
    Outcome,
    PlaceRequest,
    PollPlan,
    Result,
)

CAPS = Capabilities(
    ref_format="digits18",
    ref_max_len=64,
    ref_max_age_s=None,
    dedup="rejects",  # an attempt settles once
    resend_same_ref_safe=True,
    resend_min_gap_s=0,
    find_by_own_ref=True,
    absent_after_s=None,  # never in doubt: what did not settle was not asked for
    ask_may_create=False,
    query_window_s=None,
    status_batch_max=1,
    list_form="one",
    send_window_s=10,
    place_timeout_s=10,
    ask_timeout_s=10,
    resolve_margin_s=10,
    review_after_s=3600,
    rate_per_s=100,
    burst=16,
    poll=PollPlan(),
    flipping=frozenset(),
    final_after_s=0,
    failed_final_after_s=0,  # a person's refusal counts at once
    quantity="any",
    one_per_target=False,
    webhook="none",
    balance_check=False,
)


class Manual:
    """People of the shop, who buy by hand."""

    kind = "manual"
    label = "By hand"
    caps = CAPS
    secret_fields: tuple[str, ...] = ()
    mapping_fields: tuple[str, ...] = ("oyun",)
    option_fields: Mapping[str, Knob] = MappingProxyType({})

    def fulfil(self, account: Account, request: PlaceRequest) -> LocalTalk:
        """Put it into the queue: accepted, and nobody else may buy it."""
        yield AskPerson()
        return Result(Outcome.ACCEPTED, request.reference)
