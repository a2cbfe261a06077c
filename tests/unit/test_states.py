"""The table of states says what the design says, and nothing else is allowed."""

from __future__ import annotations

import itertools

import pytest

from apps.orders.states import (
    ATTEMPT_EDGES,
    FREEING,
    HOLDING,
    OPEN_ATTEMPTS,
    ORDER_EDGES,
    SETTLED,
    AttemptState,
    DueKind,
    ForbiddenEdge,
    OrderStatus,
    check_attempt_edge,
    check_order_edge,
)

ORDER_DESIGN = """
pending -> processing cancelled review
processing -> pending completed partial rejected review
review -> processing completed partial rejected
completed -> refunded
partial -> refunded
rejected ->
cancelled ->
refunded ->
"""

ATTEMPT_DESIGN = """
sending -> accepted delivered partial failed refused not_sent in_doubt
not_sent -> prepared delivered
prepared -> sending
in_doubt -> accepted delivered partial failed refused absent abandoned sending
accepted -> delivered partial failed abandoned
refused -> delivered
failed -> delivered
absent -> delivered
abandoned -> delivered
delivered -> reversed
partial ->
reversed ->
"""


def parse(design: str) -> dict[str, set[str]]:
    lines = (line.partition("->") for line in design.strip().splitlines())
    return {old.strip(): set(new.split()) for old, _, new in lines}


def as_words(
    edges: dict[OrderStatus, frozenset[OrderStatus]] | dict[AttemptState, frozenset[AttemptState]],
) -> dict[str, set[str]]:
    return {str(old): {str(new) for new in news} for old, news in edges.items()}


class TestOrderEdges:
    def test_are_those_of_the_design(self) -> None:
        assert as_words(ORDER_EDGES) == parse(ORDER_DESIGN)

    @pytest.mark.parametrize(("old", "new"), list(itertools.product(OrderStatus, OrderStatus)))
    def test_are_the_only_moves(self, old: OrderStatus, new: OrderStatus) -> None:
        if old == new or new in ORDER_EDGES[old]:
            check_order_edge(old, new)
        else:
            with pytest.raises(ForbiddenEdge, match=f"an order cannot go from {old} to {new}"):
                check_order_edge(old, new)

    def test_leave_a_settled_order_only_by_a_persons_refund(self) -> None:
        exits = set().union(*(ORDER_EDGES[status] for status in SETTLED))
        assert exits == {OrderStatus.REFUNDED}

    def test_cancel_only_what_was_never_sent(self) -> None:
        assert [old for old, news in ORDER_EDGES.items() if OrderStatus.CANCELLED in news] == [OrderStatus.PENDING]


class TestAttemptEdges:
    def test_are_those_of_the_design(self) -> None:
        assert as_words(ATTEMPT_EDGES) == parse(ATTEMPT_DESIGN)

    @pytest.mark.parametrize(("old", "new"), list(itertools.product(AttemptState, AttemptState)))
    def test_are_the_only_moves(self, old: AttemptState, new: AttemptState) -> None:
        if old == new or new in ATTEMPT_EDGES[old]:
            check_attempt_edge(old, new)
        else:
            with pytest.raises(ForbiddenEdge, match=f"an attempt cannot go from {old} to {new}"):
                check_attempt_edge(old, new)

    def test_never_free_a_delivered_unit(self) -> None:
        assert ATTEMPT_EDGES[AttemptState.DELIVERED] & FREEING == frozenset()

    def test_take_a_freed_unit_back_only_by_re_arming(self) -> None:
        taken = {(old, new) for old in FREEING for new in ATTEMPT_EDGES[old] & HOLDING}
        late = {(old, AttemptState.DELIVERED) for old in FREEING}
        assert taken == {(AttemptState.NOT_SENT, AttemptState.PREPARED), *late}


class TestTheSets:
    def test_of_holding_and_freeing_are_all_states_apart(self) -> None:
        assert frozenset(AttemptState) == HOLDING | FREEING
        assert frozenset() == HOLDING & FREEING

    def test_of_open_attempts_hold(self) -> None:
        assert OPEN_ATTEMPTS < HOLDING

    def test_of_settled_orders_are_those_without_held_money(self) -> None:
        open_ones = {OrderStatus.PENDING, OrderStatus.PROCESSING, OrderStatus.REVIEW}
        assert frozenset(OrderStatus) - SETTLED == open_ones


class TestTheWords:
    @pytest.mark.parametrize("word", [*OrderStatus.values, *AttemptState.values, *DueKind.values])
    def test_are_lower_case_and_fit_their_columns(self, word: str) -> None:
        assert word == word.lower()
        assert len(word) <= 12
