"""The contract for the sandbox, and every fate that a recipient can ask for."""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from apps.providers.adapters.sandbox import DELIVERED, FATES, WITH_CODE, Fate, Sandbox, fate_of
from apps.providers.contract import AskedLocalAdapter, LocalCall, Outcome, PersonAsked, PlaceRequest, Result
from tests.contract.local_suite import LocalContract

CODES = {"oyun": WITH_CODE}


class TestSandbox(LocalContract):
    kind = "sandbox"
    answers = {PersonAsked(): Outcome.COMPLETED}

    @property
    def calls(self) -> list[LocalCall]:
        """There is nothing to do."""
        return []

    def told(self, ending: str, age_s: float | None = None, **changes: object) -> Result:
        """What is said of an order for this recipient, when it is placed or later."""
        request = replace(self.request, recipient=f"player-{ending}", **changes)  # type: ignore[arg-type]
        if age_s is None:
            return self.fulfil(PersonAsked(), recipient=f"player-{ending}", **changes)
        assert isinstance(self.adapter, AskedLocalAdapter)
        return self.adapter.answer(self.account, request, age_s)

    @pytest.mark.parametrize(("ending", "fate"), FATES.items())
    def test_says_at_first_and_later_what_the_fate_says(self, ending: str, fate: Fate) -> None:
        assert self.told(ending).outcome is self.told(ending, 0).outcome is fate.at_first
        assert self.told(ending, fate.after_s - 0.1).outcome is fate.at_first
        assert self.told(ending, fate.after_s).outcome is (fate.later or fate.at_first)

    def test_gives_a_code_of_its_own_for_each_unit(self) -> None:
        codes = [code.value for code in self.told("1", product=CODES).codes]
        assert codes == ["SANDBOX-123456789012345678-1", "SANDBOX-123456789012345678-2"]

    def test_gives_no_code_where_the_product_has_none(self) -> None:
        assert self.told("1", product={"oyun": "no-code"}).codes == ()

    def test_delivers_half_of_the_units(self) -> None:
        told = self.told("9005", product=CODES, quantity=5)
        assert (told.delivered, told.remains, len(told.codes)) == (Decimal(2), Decimal(3), 2)

    def test_refuses_a_half_of_one_unit(self) -> None:
        assert self.told("9005", quantity=1).outcome is Outcome.REJECTED

    def test_gives_the_code_later(self) -> None:
        assert self.told("9009", product=CODES).codes == self.told("9009", 89, product=CODES).codes == ()
        assert len(self.told("9009", 90, product=CODES).codes) == 2


class TestTheRecipient:
    @pytest.mark.parametrize(
        ("request_", "fate"),
        [
            (PlaceRequest("1", CODES, "55512349003"), "9003"),
            (PlaceRequest("1", CODES, "buyer9003@example.com"), "9003"),
            (PlaceRequest("1", CODES, "https://example.com/9003/"), "9003"),
            (PlaceRequest("1", CODES, "9003 1"), ""),
            (PlaceRequest("1", CODES, "P-1", extra_field="9003"), ""),
            (PlaceRequest("1", CODES, "", extra_field="9003"), "9003"),
            (PlaceRequest("1", CODES, "", params={"server": "eu-9003"}), "9003"),
            (PlaceRequest("1", CODES, ""), ""),
        ],
    )
    def test_names_its_fate_by_the_last_four_digits(self, request_: PlaceRequest, fate: str) -> None:
        assert fate_of(request_) is FATES.get(fate, DELIVERED)

    def test_is_asked_for_nothing_else(self) -> None:
        assert not Sandbox.option_fields


class TestTheDocuments:
    def test_have_every_fate_with_its_time(self) -> None:
        docs = Path(__file__).parents[2] / "docs"
        page, api = ((docs / name).read_text() for name in ("providers/sandbox.md", "API.md"))
        rows = dict(re.findall(r"^\| `([0-9]{4})` \| (.*) \|$", page, re.MULTILINE))
        assert list(rows) == list(FATES)
        for ending, fate in FATES.items():
            assert (f"after {fate.after_s:g} s" in rows[ending]) is (fate.later is not None), ending
            (cell,) = re.findall(rf"\| `{ending}` \| ([^|]*) \|", api)
            assert (f"after {fate.after_s:g} s" in cell) is (fate.later is not None), ending
