"""The budget's arithmetic: what is granted, what is kept for placing, what holds, debts and wrong clocks do."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import combinations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.common.budget import (
    DEBT_US,
    FAR_US,
    REST_S,
    SECOND_US,
    Draw,
    Drawn,
    Limits,
    RedundantStore,
    Spent,
    StoreUnreachable,
    Use,
    as_us,
    from_us,
    withdraw,
)

NOW = as_us(datetime(2026, 3, 2, 9, 0, tzinfo=UTC))
TEN = Limits.of(10, 10)


class Pot:
    """A budget in this process, drawn from by the pure function; it may be out of reach."""

    def __init__(self) -> None:
        self.spent = Spent()
        self.is_reachable = True
        self.calls = 0

    def draw(self, account: int, limits: Limits, draw: Draw) -> Drawn:
        self.calls += 1
        if not self.is_reachable:
            raise StoreUnreachable("gone")
        self.spent, drawn = withdraw(self.spent, limits, draw)
        return drawn

    def take(self, use: Use, n: int, after_s: float = 0, limits: Limits = TEN) -> int:
        return self.draw(1, limits, Draw(use, n, NOW + round(after_s * SECOND_US))).count


class TestLimits:
    @pytest.mark.parametrize(
        ("rate", "burst", "expected"),
        [
            (5, 4, Limits(200_000, 4, 250_000, 3)),
            (1, 1, Limits(1_000_000, 1, 1_250_000, 1)),
            (10, 10, Limits(100_000, 10, 125_000, 8)),
            (3, 2, Limits(333_334, 2, 416_668, 1)),  # never faster than the rate
        ],
    )
    def test_keep_a_fifth_for_placing(self, rate: float, burst: int, expected: Limits) -> None:
        assert Limits.of(rate, burst) == expected


class TestADraw:
    def test_grants_the_burst_at_once_and_then_the_rate(self) -> None:
        pot = Pot()
        assert [pot.take(Use.PLACE, 99, after) for after in (0, 0, 0.099, 0.1, 0.35, 0.4, 10)] == [
            10,
            0,
            0,
            1,
            2,
            1,
            10,
        ]

    def test_leaves_a_fifth_of_the_burst_for_placing(self) -> None:
        pot = Pot()
        assert [pot.take(Use.ASK, 99), pot.take(Use.ASK, 1), pot.take(Use.PLACE, 99)] == [8, 0, 2]

    def test_leaves_a_fifth_of_the_rate_for_placing(self) -> None:
        pot = Pot()
        pot.take(Use.ASK, 99)
        pot.take(Use.PLACE, 99)
        asked = placed = 0
        for tick in range(1, 1001):
            asked += pot.take(Use.ASK, 99, tick * 0.1)
            placed += pot.take(Use.PLACE, 99, tick * 0.1)
        assert (asked, placed) == (800, 200)

    def test_lets_placing_have_all_where_nobody_asks(self) -> None:
        pot = Pot()
        assert sum(pot.take(Use.PLACE, 99, tick * 0.1) for tick in range(1001)) == 1010

    def test_lets_one_question_go_where_only_one_request_may(self) -> None:
        one = Limits.of(1, 1)
        pot = Pot()
        assert [pot.take(Use.ASK, 5, after, one) for after in (0, 1, 1.25, 2.5)] == [1, 0, 1, 1]

    def test_says_when_the_next_may_go(self) -> None:
        spent, _ = withdraw(Spent(), TEN, Draw(Use.ASK, 8, NOW))
        _, ask = withdraw(spent, TEN, Draw(Use.ASK, 1, NOW + 50_000))
        _, place = withdraw(spent, TEN, Draw(Use.PLACE, 0, NOW + 50_000))
        assert (ask, place) == (Drawn(0, NOW + 125_000), Drawn(0, NOW + 50_000))

    def test_that_is_forced_is_a_debt_that_later_ones_wait_for(self) -> None:
        pot = Pot()
        assert pot.draw(1, TEN, Draw(Use.PLACE, 15, NOW, is_forced=True)).count == 15
        assert [pot.take(Use.PLACE, 1, after) for after in (0.5, 0.6)] == [0, 1]

    def test_that_is_forced_runs_up_no_endless_debt(self) -> None:
        pot = Pot()
        pot.draw(1, TEN, Draw(Use.PLACE, 1_000_000, NOW, is_forced=True))
        assert pot.spent.all_us == NOW + 10 * TEN.gap_us + DEBT_US

    def test_heals_what_a_clock_far_ahead_has_written(self) -> None:
        pot = Pot()
        hour = 3600 * SECOND_US
        pot.spent = Spent(NOW + hour, NOW + hour)
        assert [pot.take(Use.PLACE, 99, after) for after in (0, 0.05, 0.1)] == [1, 0, 1]
        pot.spent = Spent(NOW + 10 * TEN.gap_us + FAR_US, 0)
        assert pot.take(Use.PLACE, 99) == 0

    @settings(max_examples=300, deadline=None)
    @given(
        rate=st.sampled_from([0.05, 0.5, 1, 3, 5, 7.5, 100]),
        burst=st.integers(1, 20),
        draws=st.lists(
            st.tuples(st.sampled_from(Use), st.integers(1, 9), st.integers(0, 20_000_000)), min_size=1, max_size=40
        ),
    )
    def test_never_grants_more_than_rate_and_burst_in_any_window(
        self, rate: float, burst: int, draws: list[tuple[Use, int, int]]
    ) -> None:
        """Whatever the order of the callers' clocks."""
        limits, pot = Limits.of(rate, burst), Pot()
        granted: list[tuple[Use, int]] = []
        for use, n, at in draws:
            granted += [(use, at)] * pot.draw(1, limits, Draw(use, n, NOW + at)).count
        check_windows([at for _, at in granted], limits.gap_us, limits.burst)
        check_windows([at for use, at in granted if use is Use.ASK], limits.ask_gap_us, limits.ask_burst)


def check_windows(times: list[int], gap_us: int, burst: int) -> None:
    """At most one request per gap and the burst, between any two of them."""
    for (i, first), (j, last) in combinations(enumerate(sorted(times)), 2):
        assert j - i + 1 <= (last - first) / gap_us + burst


class Watch:
    """A stop watch that is set by hand."""

    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


class TestARedundantStore:
    def build(self) -> tuple[RedundantStore, Pot, Pot, Watch]:
        first, second, watch = Pot(), Pot(), Watch()
        return RedundantStore(first, second, watch), first, second, watch

    def take(self, store: RedundantStore, after_s: float) -> int:
        return store.draw(1, TEN, Draw(Use.PLACE, 99, NOW + round(after_s * SECOND_US))).count

    def test_uses_the_first_while_it_answers(self) -> None:
        store, _, second, _ = self.build()
        assert [self.take(store, 0), self.take(store, 0.2)] == [10, 2]
        assert second.calls == 0

    def test_goes_on_with_an_empty_second_when_the_first_is_gone(self) -> None:
        store, first, _, _ = self.build()
        self.take(store, 0)
        first.is_reachable = False
        assert [self.take(store, after) for after in (0.05, 0.14, 0.15, 0.25)] == [0, 0, 1, 1]

    def test_leaves_the_first_alone_for_a_while(self) -> None:
        store, first, _, watch = self.build()
        first.is_reachable = False
        for watch.s in (0, 1, REST_S - 0.01):
            self.take(store, watch.s)
        assert first.calls == 1
        watch.s = REST_S
        self.take(store, watch.s)
        assert first.calls == 2

    def test_comes_back_to_an_empty_first(self) -> None:
        store, first, second, watch = self.build()
        first.is_reachable = False
        for watch.s in (0, 4.9):
            self.take(store, watch.s)
        first.is_reachable, watch.s, seen = True, 5.0, second.calls
        assert [self.take(store, after) for after in (5.0, 5.1, 5.3)] == [0, 1, 2]
        assert second.calls == seen


def test_a_time_survives_the_way_there_and_back() -> None:
    at = datetime(2026, 3, 2, 9, 0, 0, 123_457, tzinfo=UTC)
    assert from_us(as_us(at)) == at
