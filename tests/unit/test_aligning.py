"""Lines of a statement against purchases, without a database: what is known for certain, and what never is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from apps.orders.reconciling.aligning import DISAGREE, By, Match, Period, Purchase, align, compare
from apps.orders.reconciling.dialects import Meaning
from apps.orders.reconciling.lines import Line
from apps.orders.states import AttemptState

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)
OURS = Purchase(1, "R1", "Z1", "P1", AttemptState.DELIVERED, 100, True, False, "TRY", NOW)
THEIRS = Line(2, "R1", "Z1", "P1", 100, 0, "TRY", NOW, "done", Meaning.BOUGHT)
DAY = Period(NOW - timedelta(hours=12), NOW + timedelta(hours=12))
WINDOW = timedelta(minutes=10)


def found(line: Line, purchase: Purchase, by: By = By.REFERENCE) -> list[tuple[str, str, bool]]:
    return [(str(one.kind), one.note, one.may_mend) for one in compare([line], [Match(purchase, by)])]


class TestAPrice:
    DEARER = replace(THEIRS, micros=110)

    def test_that_was_told_before_is_a_persons(self) -> None:
        assert found(self.DEARER, OURS) == [("price", "", False)]

    def test_that_was_never_told_is_certain(self) -> None:
        assert found(self.DEARER, replace(OURS, is_told=False)) == [("price", "", True)]

    def test_of_a_late_delivery_is_a_persons(self) -> None:
        assert found(self.DEARER, replace(OURS, is_told=False, is_surplus=True)) == [("price", "", False)]

    def test_of_a_weak_match_is_a_persons(self) -> None:
        assert found(self.DEARER, replace(OURS, is_told=False), By.PERSON) == [("price", "", False)]

    @pytest.mark.parametrize(("stated", "is_certain"), [(34, True), (33, False), (300, True), (301, False), (0, False)])
    def test_is_believed_within_a_factor(self, stated: int, is_certain: bool) -> None:
        line = replace(THEIRS, micros=stated)
        assert found(line, replace(OURS, is_told=False)) == [("price", "", is_certain)]


class TestAState:
    @pytest.mark.parametrize("state", AttemptState)
    @pytest.mark.parametrize("meaning", [Meaning.BOUGHT, Meaning.RETURNED, Meaning.PENDING])
    def test_is_certain_only_of_a_purchase_in_doubt(self, state: AttemptState, meaning: Meaning) -> None:
        told = found(replace(THEIRS, meaning=meaning), replace(OURS, state=state))
        assert all(may_mend == (state == AttemptState.IN_DOUBT) for kind, _, may_mend in told if kind == "state")

    def test_that_agrees_is_none(self) -> None:
        for state in ("sending", "accepted", "delivered"):
            assert (Meaning.BOUGHT, state) not in DISAGREE
        assert (Meaning.RETURNED, "freed") not in DISAGREE


class TestALine:
    def test_without_a_purchase_that_came_back_is_no_difference(self) -> None:
        lines = [replace(THEIRS, own_ref="X"), replace(THEIRS, number=3, own_ref="X", meaning=Meaning.RETURNED)]
        result = align([replace(one, provider_id="") for one in lines], [], DAY, NOW, WINDOW)
        assert result.findings == []

    def test_with_another_number_than_ours_is_not_matched_by_its_recipient(self) -> None:
        line = replace(THEIRS, own_ref="", provider_id="Z2")
        assert align([line], [OURS], DAY, NOW, WINDOW).matches == {}

    def test_with_a_number_that_two_purchases_have_is_not_guessed(self) -> None:
        twins = [OURS, replace(OURS, attempt_id=2, reference="R2")]
        assert align([replace(THEIRS, own_ref="")], twins, DAY, NOW, WINDOW).matches == {}

    def test_by_recipient_amount_and_time_is_a_weak_match(self) -> None:
        line = replace(THEIRS, own_ref="", provider_id="", at=NOW + timedelta(minutes=10))
        assert align([line], [OURS], DAY, NOW, WINDOW).matches == {2: Match(OURS, By.PURCHASE)}


class TestAPurchase:
    @pytest.mark.parametrize("state", AttemptState)
    def test_that_is_not_listed_is_asked_about_only_if_we_say_that_it_was_bought(self, state: AttemptState) -> None:
        old = replace(OURS, state=state, at=NOW - timedelta(hours=2))
        kinds = [str(one.kind) for one in align([], [old], DAY, NOW, WINDOW).findings]
        assert kinds == (["missing_there"] if state in ("accepted", "delivered", "partial") else [])

    @pytest.mark.parametrize("hours", [-12, -11.9, -0.9, 12])
    def test_at_the_edge_of_the_period_or_too_young_is_not_asked_about(self, hours: float) -> None:
        edge = replace(OURS, at=NOW + timedelta(hours=hours))
        assert align([], [edge], DAY, NOW, WINDOW).findings == []
