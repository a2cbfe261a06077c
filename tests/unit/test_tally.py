"""The fold over the units of an order: what is captured, released, and what the order is called then."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.orders.states import FREEING, HOLDING, SETTLED, AttemptState, OrderStatus, UnitStatus
from apps.orders.tally import Outlook, Tally, UnitFacts, tally

A, S, U = AttemptState, OrderStatus, UnitStatus
AT = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
NEXT = Outlook(is_exhausted=False, retry_at=AT, reason="waiting:next_route")
EXHAUSTED = Outlook(is_exhausted=True, retry_at=AT, reason="waiting:no_route")

holders = st.one_of(st.none(), st.sampled_from(sorted(HOLDING)))


@st.composite
def unit_lists(draw: st.DrawFn) -> list[UnitFacts]:
    """Up to five units as the database can hold them: captured ones are held by a delivery, released ones by nobody."""
    return [draw(unit_facts(number)) for number in range(1, draw(st.integers(1, 5)) + 1)]


@st.composite
def unit_facts(draw: st.DrawFn, number: int) -> UnitFacts:
    status = draw(st.sampled_from(UnitStatus))
    is_short = status is not U.CAPTURED and draw(st.booleans())
    released = A.PARTIAL if is_short else None
    held = A.PARTIAL if is_short else draw(holders)
    holder = {U.HELD: held, U.CAPTURED: A.DELIVERED, U.RELEASED: released}[status]
    return UnitFacts(number, status, holder, holder is not None and draw(st.booleans()), is_short)


outlooks = st.builds(
    Outlook,
    is_exhausted=st.booleans(),
    retry_at=st.just(AT),
    reason=st.sampled_from(["waiting:next_route", "waiting:no_route"]),
)
reviews = st.sampled_from(["", "waiting:in_doubt", "waiting:deadline", "waiting:pin", "conflict:partial"])


def fold(
    units: Sequence[UnitFacts],
    *,
    needs_code: bool = True,
    outlook: Outlook | None = None,
    review: str = "",
    status: OrderStatus = S.PROCESSING,
    reason: str = "",
    is_restored: bool = False,
) -> Tally:
    return tally(
        units,
        needs_code=needs_code,
        now_status=status,
        now_reason=reason,
        review=review,
        outlook=outlook,
        is_restored=is_restored,
    )


def unit(
    holder: AttemptState | None, *, status: UnitStatus = U.HELD, has_code: bool = False, number: int = 1
) -> UnitFacts:
    return UnitFacts(number, status, holder, has_code)


def after(units: Sequence[UnitFacts], folded: Tally) -> list[UnitStatus]:
    moved = dict.fromkeys(folded.capture, U.CAPTURED) | dict.fromkeys(folded.release, U.RELEASED)
    return [moved.get(unit.id, unit.status) for unit in units]


class TestAFold:
    @given(unit_lists(), st.booleans(), outlooks, reviews)
    def test_captures_only_what_is_delivered_with_its_code(
        self, units: list[UnitFacts], needs_code: bool, outlook: Outlook, review: str
    ) -> None:
        by_id = {unit.id: unit for unit in units}
        for number in fold(units, needs_code=needs_code, outlook=outlook, review=review).capture:
            assert by_id[number].status is U.HELD
            assert by_id[number].holder in (A.DELIVERED, A.PARTIAL)
            assert not by_id[number].is_short
            assert by_id[number].holder_has_code or not needs_code

    @given(unit_lists(), st.booleans(), outlooks, reviews)
    def test_releases_only_what_is_free_when_no_route_is_left_and_what_a_part_delivery_leaves_out(
        self, units: list[UnitFacts], needs_code: bool, outlook: Outlook, review: str
    ) -> None:
        by_id = {unit.id: unit for unit in units}
        folded = fold(units, needs_code=needs_code, outlook=outlook, review=review)
        for number in folded.release:
            assert by_id[number].status is U.HELD
            assert by_id[number].is_short or (by_id[number].holder is None and outlook.is_exhausted)

    @given(unit_lists(), st.booleans(), reviews)
    def test_releases_nothing_else_without_an_outlook(
        self, units: list[UnitFacts], needs_code: bool, review: str
    ) -> None:
        short = tuple(unit.id for unit in units if unit.is_short and unit.status is U.HELD)
        released = fold(units, needs_code=needs_code, review=review).release
        assert released == (() if review.startswith("conflict:") else short)

    @given(unit_lists(), st.booleans(), outlooks)
    def test_of_a_conflict_moves_no_money_and_sends_nothing(
        self, units: list[UnitFacts], needs_code: bool, outlook: Outlook
    ) -> None:
        frozen = Tally((), (), S.REVIEW, "conflict:partial", None)
        assert fold(units, needs_code=needs_code, outlook=outlook, review="conflict:partial") == frozen
        standing = fold(units, needs_code=needs_code, outlook=outlook, status=S.REVIEW, reason="conflict:partial")
        assert standing == frozen

    @given(unit_lists(), st.booleans(), outlooks, reviews)
    def test_settles_exactly_when_no_unit_is_held_any_more(
        self, units: list[UnitFacts], needs_code: bool, outlook: Outlook, review: str
    ) -> None:
        folded = fold(units, needs_code=needs_code, outlook=outlook, review=review)
        kinds = set(after(units, folded))
        if folded.status in SETTLED:
            assert U.HELD not in kinds
            words = {S.COMPLETED: {U.CAPTURED}, S.REJECTED: {U.RELEASED}, S.PARTIAL: {U.CAPTURED, U.RELEASED}}
            assert kinds == words[folded.status]
            assert (folded.reason, folded.dispatch_at) == ("", None)
        elif not folded.reason.startswith("conflict:"):
            assert U.HELD in kinds

    @given(unit_lists(), st.booleans(), outlooks, reviews)
    def test_is_pending_only_while_nothing_is_held_by_an_attempt(
        self, units: list[UnitFacts], needs_code: bool, outlook: Outlook, review: str
    ) -> None:
        folded = fold(units, needs_code=needs_code, outlook=outlook, review=review)
        if folded.status is S.PENDING:
            assert all(unit.holder is None for unit in units)
            assert folded.dispatch_at == AT

    @given(unit_lists(), st.booleans(), outlooks, reviews)
    def test_in_review_has_a_reason_and_sends_nothing(
        self, units: list[UnitFacts], needs_code: bool, outlook: Outlook, review: str
    ) -> None:
        folded = fold(units, needs_code=needs_code, outlook=outlook, review=review)
        if folded.status is S.REVIEW:
            assert (folded.reason, folded.dispatch_at) == (review, None)

    @given(unit_lists(), st.booleans(), outlooks)
    def test_plans_the_next_dispatch_for_every_free_unit_that_stays_held(
        self, units: list[UnitFacts], needs_code: bool, outlook: Outlook
    ) -> None:
        folded = fold(units, needs_code=needs_code, outlook=outlook)
        stays_free = any(
            unit.status is U.HELD and unit.holder is None and unit.id not in folded.release for unit in units
        )
        assert (folded.dispatch_at is not None) == stays_free

    @given(unit_lists(), st.booleans(), outlooks)
    def test_done_again_moves_nothing_more(self, units: list[UnitFacts], needs_code: bool, outlook: Outlook) -> None:
        folded = fold(units, needs_code=needs_code, outlook=outlook)
        moved = [
            UnitFacts(unit.id, status, unit.holder, unit.holder_has_code, unit.is_short)
            for unit, status in zip(units, after(units, folded), strict=True)
        ]
        again = fold(moved, needs_code=needs_code, outlook=outlook)
        assert (again.capture, again.release, again.status) == ((), (), folded.status)


class TestOneUnit:
    @pytest.mark.parametrize("holder", sorted(HOLDING - {A.DELIVERED}))
    def test_under_way_is_processing(self, holder: AttemptState) -> None:
        assert fold([unit(holder)]) == Tally((), (), S.PROCESSING, "", None)

    def test_delivered_with_its_code_is_completed(self) -> None:
        assert fold([unit(A.DELIVERED, has_code=True)]) == Tally((1,), (), S.COMPLETED, "", None)

    def test_delivered_without_its_code_waits_for_the_pin(self) -> None:
        assert fold([unit(A.DELIVERED)]) == Tally((), (), S.PROCESSING, "waiting:pin", None)

    def test_delivered_without_a_code_that_nobody_needs_is_completed(self) -> None:
        assert fold([unit(A.DELIVERED)], needs_code=False) == Tally((1,), (), S.COMPLETED, "", None)

    def test_that_is_free_goes_to_the_next_route(self) -> None:
        assert fold([unit(None)], outlook=NEXT) == Tally((), (), S.PENDING, "waiting:next_route", AT)

    def test_that_is_free_with_no_route_left_is_rejected(self) -> None:
        assert fold([unit(None)], outlook=EXHAUSTED) == Tally((), (1,), S.REJECTED, "", None)


class TestThreeUnits:
    UNITS = (unit(A.DELIVERED, has_code=True, number=1), unit(A.ACCEPTED, number=2), unit(None, number=3))

    def test_are_settled_one_by_one(self) -> None:
        assert fold(self.UNITS, outlook=NEXT) == Tally((1,), (), S.PROCESSING, "waiting:next_route", AT)

    def test_release_the_last_while_one_is_under_way(self) -> None:
        assert fold(self.UNITS, outlook=EXHAUSTED) == Tally((1,), (3,), S.PROCESSING, "", None)

    def test_are_partly_completed_when_one_was_let_go(self) -> None:
        units = (unit(A.DELIVERED, status=U.CAPTURED, number=1), unit(None, number=2))
        assert fold(units, outlook=EXHAUSTED) == Tally((), (2,), S.PARTIAL, "", None)

    def test_keep_the_review_of_one_while_another_is_delivered(self) -> None:
        folded = fold(self.UNITS[:2], review="waiting:in_doubt")
        assert folded == Tally((1,), (), S.REVIEW, "waiting:in_doubt", None)


def test_no_unit_is_freed_by_a_holding_state() -> None:
    assert HOLDING.isdisjoint(FREEING)


class TestARefundedOrder:
    @given(unit_lists(), reviews)
    def test_stays_refunded_whatever_is_heard(self, units: list[UnitFacts], review: str) -> None:
        assert fold(units, status=S.REFUNDED, review=review) == Tally((), (), S.REFUNDED, "", None)
