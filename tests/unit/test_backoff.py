"""When to ask again: the gaps, their spread, and the limits that no dice may break."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from apps.common.backoff import error_gap_s, spec_gap_s, with_jitter

counts = st.integers(0, 10_000)
draws = st.floats(0, 1, exclude_max=True)
gaps = st.floats(0.05, 3600)


class TestTheSchedule:
    def test_is_thirty_seconds_times_two_to_the_n_up_to_ten_minutes(self) -> None:
        assert [spec_gap_s(tries) for tries in range(8)] == [30, 60, 120, 240, 480, 600, 600, 600]

    @given(counts)
    def test_never_leaves_its_bounds(self, tries: int) -> None:
        assert 30 <= spec_gap_s(tries) <= 600

    def test_follows_the_accounts_figures(self) -> None:
        assert [spec_gap_s(tries, base_s=2, cap_s=20) for tries in range(5)] == [2, 4, 8, 16, 20]

    def test_does_not_overflow(self) -> None:
        assert spec_gap_s(10**9) == 600


class TestTheSpread:
    def test_is_a_tenth_to_either_side(self) -> None:
        assert [round(with_jitter(100, draw), 9) for draw in (0.0, 0.25, 0.5, 0.75, 1.0)] == [90, 95, 100, 105, 110]

    @given(gaps, draws, st.floats(0, 60))
    def test_never_goes_below_the_providers_gap(self, gap: float, draw: float, floor: float) -> None:
        assert with_jitter(gap, draw, floor_s=floor) >= floor

    @given(gaps, draws)
    def test_never_goes_further_than_a_tenth(self, gap: float, draw: float) -> None:
        assert gap * 0.899 <= with_jitter(gap, draw) <= gap * 1.101


class TestTheBackOffOfAFailedQuestion:
    def test_doubles_from_five_seconds_to_two_minutes(self) -> None:
        assert [error_gap_s(errors, 1.0) for errors in range(7)] == [5, 10, 20, 40, 80, 120, 120]

    def test_starts_at_half_of_it(self) -> None:
        assert [error_gap_s(errors, 0.0) for errors in range(7)] == [2.5, 5, 10, 20, 40, 60, 60]

    @given(counts, draws, st.floats(0, 60))
    def test_never_leaves_its_bounds(self, errors: int, draw: float, floor: float) -> None:
        gap = error_gap_s(errors, draw, floor_s=floor)
        assert max(2.5, floor) <= gap <= max(120, floor)
