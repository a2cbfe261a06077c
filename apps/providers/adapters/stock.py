"""Our own stock of codes: a shelf (the mapping's `oyun`) gives as many as are wanted, or none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from apps.providers.contract import (
    Account,
    Capabilities,
    CodesTaken,
    Knob,
    LocalTalk,
    Outcome,
    PlaceRequest,
    PollPlan,
    Result,
    TakeCodes,
)

CAPS = Capabilities(
    ref_format="digits18",
    ref_max_len=64,
    ref_max_age_s=None,
    dedup="rejects",  # an attempt settles once
    resend_same_ref_safe=True,
    resend_min_gap_s=0,
    find_by_own_ref=True,
    absent_after_s=None,  # never in doubt: what did not settle was not taken
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
    failed_final_after_s=0,
    quantity="any",
    one_per_target=False,
    webhook="none",
    balance_check=False,
)


class Stock:
    """Codes that we bought before and keep."""

    kind = "stock"
    label = "Own stock"
    caps = CAPS
    secret_fields: tuple[str, ...] = ()
    mapping_fields: tuple[str, ...] = ("oyun",)
    option_fields: Mapping[str, Knob] = MappingProxyType({})

    def fulfil(self, account: Account, request: PlaceRequest) -> LocalTalk:
        """Take the codes: delivered, at what they cost us; or nothing was taken and another route may have them."""
        answer = yield TakeCodes(request.product.get("oyun", ""), request.quantity)
        if isinstance(answer, CodesTaken):
            return Result(
                Outcome.COMPLETED, request.reference, cost=answer.cost, currency=account.currency, codes=answer.codes
            )
        return Result(Outcome.OUT_OF_STOCK, request.reference, reason_code="shelf_too_empty")
