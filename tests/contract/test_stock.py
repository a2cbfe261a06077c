"""The contract for our own stock."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

from apps.providers.contract import Code, CodesTaken, NothingLeft, Outcome, TakeCodes
from tests.contract.local_suite import LocalContract

CODES = (Code("ABCD-1", serial="77"), Code("ABCD-2", pin="0042", expires=date(2027, 1, 31)))
TAKEN = CodesTaken(CODES, Decimal("61.50"))


class TestStock(LocalContract):
    kind = "stock"
    call = TakeCodes("shelf-1", 2)
    answers = {TAKEN: Outcome.COMPLETED, NothingLeft(): Outcome.OUT_OF_STOCK}

    def test_passes_codes_and_cost_on_exactly(self) -> None:
        result = self.fulfil(TAKEN)
        assert (result.codes, result.cost, result.currency) == (CODES, Decimal("61.50"), "TRY")

    def test_says_why_it_gives_nothing(self) -> None:
        assert self.fulfil(NothingLeft()).reason_code == "shelf_too_empty"
