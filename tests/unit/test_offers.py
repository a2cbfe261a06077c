"""What differs between a provider's list and what was approved, and which prices jump."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from apps.common.natural import natural_key
from apps.providers.catalogue_models import CatalogItem
from apps.providers.contract import CatalogueItem
from apps.providers.offers import (
    BadOffer,
    Cost,
    Difference,
    Jump,
    Offer,
    find_differences,
    key_of,
    measure,
    read_offers,
)

FIELDS = ("oyun", "kupur")
SEEN = datetime(2026, 3, 1, tzinfo=UTC)
THREE = Decimal(3)


def line(kupur: str = "60", cost: str | None = "31.50", **facts: Any) -> CatalogueItem:
    """One line of a list."""
    given = {"name": f"PUBG {kupur} UC", "currency": "TRY", "cost": None if cost is None else Decimal(cost), **facts}
    return CatalogueItem(ids={"oyun": "152", "kupur": kupur}, **given)


def offers_of(*lines: CatalogueItem) -> dict[str, Offer]:
    return read_offers(lines, FIELDS, "TRY")[0]


def stored(item: CatalogueItem, *, is_listed: bool = True) -> CatalogItem:
    """The line as if it had been approved."""
    (offer,) = offers_of(item).values()
    return CatalogItem(
        key=offer.key,
        ids=offer.ids,
        sort_key=natural_key(offer.name),
        is_listed=is_listed,
        seen_at=SEEN,
        **offer.facts,
    )


def differences(
    new: list[CatalogueItem], old: list[CatalogItem], mapped: dict[str, Cost] | None = None, factor: Decimal = THREE
) -> list[Difference]:
    return find_differences(offers_of(*new), {item.key: item for item in old}, mapped or {}, factor)


class TestReadingALine:
    def test_knows_an_item_by_the_adapter_s_ids_alone(self) -> None:
        assert key_of({"oyun": "152", "kupur": "60", "note": "x"}, FIELDS) == "kupur=60&oyun=152"
        assert key_of({"oyun": "152", "kupur": ""}, FIELDS) == "oyun=152"

    def test_rounds_a_cost_up_to_a_millionth(self) -> None:
        (offer,) = offers_of(line(cost="0.1234567000000001")).values()
        assert offer.cost == (123_457, "TRY")

    def test_has_no_currency_without_a_cost(self) -> None:
        (offer,) = offers_of(line(cost=None)).values()
        assert offer.cost == (None, "")

    def test_takes_the_dearest_of_lines_with_the_same_ids_and_counts_them(self) -> None:
        offers, doubled = read_offers([line(cost="31"), line(cost="33"), line(cost=None)], FIELDS, "TRY")
        assert ([offer.cost for offer in offers.values()], doubled) == ([(33_000_000, "TRY")], 2)

    @pytest.mark.parametrize(
        ("bad", "text"),
        [
            (CatalogueItem(ids={"note": "1"}, name="A"), "line 2 of the list has no usable ids"),
            (line("9" * 300), "line 2 of the list has no usable ids"),
            (line(cost="-1"), "line 2 of the list has a price below zero"),
            (line(cost="NaN"), "line 2 of the list has an impossible price: it is no number"),
            (line(cost="1e30"), "line 2 of the list has an impossible price: .* is too large"),
        ],
    )
    def test_names_the_line_that_cannot_be_kept(self, bad: CatalogueItem, text: str) -> None:
        with pytest.raises(BadOffer, match=text):
            read_offers([line("1"), bad], FIELDS, "TRY")


class TestAJump:
    @pytest.mark.parametrize(
        ("was", "now_is", "jump"),
        [
            ("31.50", "31.50", Jump(False)),
            ("31.50", "33.00", Jump(False, "+4.8 %")),
            ("10", "30", Jump(False, "+200.0 %")),
            ("10", "30.000001", Jump(True, "+200.0 %")),
            ("30", "10", Jump(False, "-66.7 %")),
            ("30.000001", "10", Jump(True, "-66.7 %")),
            ("31.50", "315", Jump(True, "+900.0 %")),
            ("0", "10", Jump(True)),
            ("10", "0", Jump(True)),
        ],
    )
    def test_is_more_than_the_factor_up_or_down(self, was: str, now_is: str, jump: Jump) -> None:
        def cost(text: str) -> Cost:
            return int(Decimal(text) * 1_000_000), "TRY"

        assert measure(cost(was), cost(now_is), THREE) == jump

    def test_is_every_change_of_the_currency(self) -> None:
        assert measure((31_500_000, "TRY"), (31_500_000, "USD"), THREE) == Jump(True)

    def test_is_a_price_that_is_not_told_any_more_but_none_that_was_not_told_before(self) -> None:
        assert measure((31_500_000, "TRY"), (None, ""), THREE) == Jump(True)
        assert measure((None, ""), (31_500_000, "TRY"), THREE) == Jump(False)

    def test_is_measured_with_the_account_s_own_factor(self) -> None:
        assert measure((10, "TRY"), (15, "TRY"), Decimal("1.4")).is_too_far
        assert not measure((10, "TRY"), (15, "TRY"), Decimal("1.5")).is_too_far


class TestTheDifferences:
    def test_are_none_where_nothing_changed(self) -> None:
        assert differences([line()], [stored(line())]) == []

    def test_name_a_new_item_with_everything_about_it(self) -> None:
        (one,) = differences([line()], [])
        assert (one.kind, one.title, one.old, one.is_quarantined) == ("new", "PUBG 60 UC", {}, False)
        assert (one.new["ids"], one.new["cost_micros"]) == ({"oyun": "152", "kupur": "60"}, 31_500_000)

    def test_name_what_is_gone(self) -> None:
        (one,) = differences([line("120")], [stored(line("120")), stored(line("60"))])
        assert (one.kind, one.title, one.new) == ("gone", "PUBG 60 UC", {})

    def test_name_each_kind_of_change_of_its_own(self) -> None:
        changed = line(cost="33", name="UC 60", available=False, fields=("player_id",))
        found = differences([changed], [stored(line())])
        assert [(one.kind, one.percent) for one in found] == [
            ("price", "+4.8 %"),
            ("name", ""),
            ("availability", ""),
            ("fields", ""),
        ]
        assert (found[0].old, found[0].new) == (
            {"cost_micros": 31_500_000, "currency": "TRY"},
            {"cost_micros": 33_000_000, "currency": "TRY"},
        )

    def test_hold_a_price_ten_times_as_high(self) -> None:
        (one,) = differences([line(cost="315")], [stored(line())])
        assert (one.kind, one.is_quarantined, one.percent) == ("price", True, "+900.0 %")

    def test_measure_an_item_that_comes_back_against_what_it_was(self) -> None:
        (one,) = differences([line(cost="315")], [stored(line(), is_listed=False)])
        assert (one.kind, one.is_quarantined, one.percent) == ("new", True, "+900.0 %")

    def test_measure_a_new_item_against_the_cost_of_its_mappings(self) -> None:
        (one,) = differences([line(cost="315")], [], {"kupur=60&oyun=152": (31_500_000, "TRY")})
        assert (one.kind, one.is_quarantined, one.percent) == ("new", True, "+900.0 %")
        assert one.old == {"cost_micros": 31_500_000, "currency": "TRY"}
