"""When to ask by what was learned: never later than the fixed schedule, the same as it at first, and for its price."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.orders.news import News
from apps.orders.polling.hazard import BINS, EDGES_S, FORGETTING, LAST_S, Hazard, Observation, Statistics
from apps.orders.polling.policy import Learned, Wait, leash_at, pressure_after, price_of, schedule_ages
from apps.orders.states import AttemptState, DueKind
from apps.orders.verdicts import Standing, decide
from apps.providers.actions import Facts, Known
from apps.providers.contract import Outcome, PollPlan, Result
from apps.providers.registry import load_adapter

PLAN = PollPlan()
ZNET = PollPlan(first_s=60, base_s=30, cap_s=600, floor_s=10)
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)

ages = st.floats(0, LAST_S)
draws = st.floats(0, 1, exclude_max=True)
prices = st.floats(0.5, 600)


@st.composite
def observations(draw: st.DrawFn) -> Observation:
    after_s = draw(ages)
    return Observation(after_s, after_s + draw(st.floats(0, 3600)), draw(st.integers(1, 50)))


@st.composite
def statistics(draw: st.DrawFn) -> Statistics:
    """Anything that may have been learned, from nothing to sixty completions."""
    seen = Statistics()
    for observation in draw(st.lists(observations(), max_size=6)):
        for _ in range(draw(st.integers(1, 10))):
            seen = seen.with_one(observation)
    return seen


@st.composite
def plans(draw: st.DrawFn) -> PollPlan:
    """Plans as accounts may have them: the least gap fits twice into the shortest wait, as everywhere here."""
    floor_s = draw(st.floats(0.5, 15))
    base_s = draw(st.floats(2 * floor_s, 60))
    return PollPlan(draw(st.floats(base_s, 120)), base_s, draw(st.floats(base_s, 900)), floor_s)


def learned_from(ends_s: list[float], gap_s: float = 4) -> Statistics:
    """What is learned of orders that are asked about every few seconds."""
    seen = Statistics()
    for end_s in ends_s:
        asked = int(end_s // gap_s)
        seen = seen.with_one(Observation(asked * gap_s, (asked + 1) * gap_s, asked + 1))
    return seen


QUICK = learned_from([random.Random(n).uniform(5, 15) for n in range(300)])
"""A provider that is done within a quarter of a minute."""


class TestTheBins:
    def test_are_forty_eight_from_two_seconds_to_a_day(self) -> None:
        assert (len(EDGES_S), EDGES_S[0], EDGES_S[-1]) == (BINS + 1, 0, LAST_S)
        ratios = [b / a for a, b in pairwise(EDGES_S[1:])]
        assert max(ratios) - min(ratios) < 1e-9
        assert EDGES_S[1] / ratios[0] == pytest.approx(2)


class TestLearning:
    def test_spreads_a_completion_between_two_answers(self) -> None:
        seen = Statistics().with_one(Observation(10, 30))
        assert sum(seen.events) == pytest.approx(1)
        assert sum(seen.exposure_s) == pytest.approx(20)
        assert all((share > 0) == (EDGES_S[n + 1] > 10 and EDGES_S[n] < 30) for n, share in enumerate(seen.events))

    def test_keeps_an_exact_point_exact(self) -> None:
        seen = Statistics().with_one(Observation(20, 20))
        assert [share for share in seen.events if share] == [1]
        assert sum(seen.exposure_s) == pytest.approx(20)
        assert seen.lag_s == 0

    @given(observations())
    def test_counts_one_event_and_half_the_gap_as_lag(self, observation: Observation) -> None:
        seen = Statistics().with_one(observation)
        assert seen.weight == pytest.approx(1)
        assert seen.completions == 1
        assert seen.asked == observation.asked
        assert min(seen.events) >= 0
        assert min(seen.exposure_s) >= 0

    def test_forgets(self) -> None:
        seen = Statistics()
        for _ in range(3000):
            seen = seen.with_one(Observation(100, 110))
        assert seen.completions == 3000
        assert seen.weight == pytest.approx(1 / (1 - FORGETTING), rel=1e-3)

    def test_believes_a_slow_provider_that_is_quick_again(self) -> None:
        seen = Statistics()
        for _ in range(2000):
            seen = seen.with_one(Observation(1590, 2190))
        assert Learned(seen, PLAN, 15).wait(0).gap_s == 60
        for _ in range(600):
            seen = seen.with_one(Observation(0, 60))
        assert Learned(seen, PLAN, 15).wait(0).gap_s < 60


class TestTheHazard:
    def test_is_the_prior_where_nothing_was_seen(self) -> None:
        hazard = Hazard(Statistics(), lambda age_s: 0.01)
        assert hazard.mean(10, 5000) == pytest.approx(0.01)
        assert hazard.share_pending(100) == pytest.approx(0.3679, rel=1e-3)

    def test_is_that_of_the_completions_where_many_were_seen(self) -> None:
        rng = random.Random(5)
        hazard = Hazard(learned_from([rng.expovariate(1 / 50) for _ in range(2000)]), lambda age_s: 0.0001)
        assert hazard.mean(10, 60) == pytest.approx(1 / 50, rel=0.2)


class TestTheSchedule:
    def test_is_the_fixed_one(self) -> None:
        assert schedule_ages(ZNET)[:8] == (60, 90, 150, 270, 510, 990, 1590, 2190)

    @given(plans(), st.floats(0, 10 * LAST_S))
    def test_holds_every_age_between_two_of_its_checks(self, plan: PollPlan, age_s: float) -> None:
        leash = leash_at(plan, age_s)
        assert leash.start_s - 0.001 <= age_s < leash.end_s
        assert leash.end_s - leash.start_s <= max(plan.first_s, plan.cap_s) + 1e-6


def walk(policy: Learned, dice: random.Random, end_s: float) -> list[float]:
    """Ages at which one order is asked about, until `end_s` is seen."""
    asked = [0.0]
    while asked[-1] < end_s:
        asked.append(asked[-1] + policy.wait(asked[-1]).seconds(dice.random()))
    return asked[1:]


class TestTheLeash:
    @given(statistics(), plans(), prices, st.randoms(use_true_random=False), st.floats(0.01, 20_000))
    def test_shows_no_end_later_than_the_schedule(
        self, seen: Statistics, plan: PollPlan, price_s: float, dice: random.Random, end_s: float
    ) -> None:
        seen_at = walk(Learned(seen, plan, price_s), dice, end_s)[-1]
        by_schedule = next(age_s for age_s in schedule_ages(plan) if age_s >= end_s)
        assert seen_at <= by_schedule + 1e-6

    @given(statistics(), plans(), prices, ages, draws)
    def test_keeps_the_least_gap(
        self, seen: Statistics, plan: PollPlan, price_s: float, age_s: float, draw: float
    ) -> None:
        assert Learned(seen, plan, price_s).wait(age_s).seconds(draw) >= plan.floor_s

    def test_is_held_by_the_jitter_too(self) -> None:
        wait = Wait(gap_s=28, most_s=30, floor_s=1, passed=1)
        assert wait.seconds(0.99) == 30
        assert wait.seconds(0.0) == pytest.approx(25.2)

    def test_asks_at_its_end_rather_than_twice_within_the_least_gap(self) -> None:
        assert Wait(gap_s=25, most_s=30, floor_s=10, passed=1).seconds(0.5) == 30

    def test_at_its_end_has_no_jitter(self) -> None:
        assert {Wait(gap_s=30, most_s=30, floor_s=1, passed=1).seconds(draw) for draw in (0.0, 0.3, 0.9)} == {30}


class TestTheChoice:
    @given(st.sampled_from([PLAN, ZNET, PollPlan(60, 60, 600, 60)]), prices)
    def test_without_completions_is_the_schedule_of_every_kind(self, plan: PollPlan, price_s: float) -> None:
        policy = Learned(Statistics(), plan, price_s)
        checks = (0.0, *schedule_ages(plan)[:12])
        assert [policy.wait(a).gap_s for a in checks[:-1]] == [b - a for a, b in pairwise(checks)]

    def test_follows_what_was_learned(self) -> None:
        assert 10 <= Learned(QUICK, ZNET, 15).wait(0).gap_s <= 20

    def test_asks_less_for_a_higher_price(self) -> None:
        def questions(price_s: float) -> int:
            return len(
                walk(
                    Learned(learned_from([300.0 * n / 50 for n in range(1, 100)]), PLAN, price_s),
                    random.Random(1),
                    1500,
                )
            )

        assert questions(2) > questions(15) > questions(600)

    def test_counts_the_checks_of_the_schedule_that_have_passed(self) -> None:
        policy = Learned(QUICK, ZNET, 15)
        assert [policy.wait(age_s).passed for age_s in (0, 20, 60, 75, 90, 150)] == [0, 0, 1, 1, 2, 3]


class TestThePrice:
    def test_is_shared_by_orders_asked_about_together(self) -> None:
        assert price_of(15, 1, 50) == pytest.approx(0.3)
        assert price_of(15, 4, 0) == 60

    @pytest.mark.parametrize(
        ("pressure", "demand", "after"),
        [(1, 1.5, 2.25), (1, 0.5, 1), (2.25, 1, 2.25), (4, 0.75, 2.25), (1, 50, 4), (8, 0, 2), (1e6, 9, 1e6)],
    )
    def test_goes_with_the_square_of_what_is_asked_too_much(self, pressure: float, demand: float, after: float) -> None:
        assert pressure_after(pressure, demand, 1) == pytest.approx(after)


STANDING = Standing(
    state=AttemptState.ACCEPTED,
    send_no=1,
    needs_code=False,
    codes=0,
    units=1,
    order_in_review=False,
    order_deadline_at=NOW + timedelta(days=1),
    created_at=NOW,
    doubt_since=None,
    failed_seen_at=None,
    delivered_at=None,
    closed_at=None,
    tries=1,
    errors=0,
    caps=replace(load_adapter("znet").caps, poll=ZNET),
    facts=Facts(Known.ACCEPTED, 60.0, 0.0, 10.0, is_money_held=True, is_holding=True),
    send_deadline_at=NOW,
)
WAIT = Wait(gap_s=12, most_s=30, floor_s=10, passed=1)


def due_in(standing: Standing, outcome: Outcome, verb: str = "status") -> tuple[float, int, DueKind]:
    """Seconds, tries and kind of what is planned after this answer, with the dice in the middle."""
    news = News(1, 1, verb, Result(outcome, "ref"), None, NOW, 0, 1)  # type: ignore[arg-type]  # a verb of the test
    plan = decide(standing, news, 0.5).plan
    assert plan is not None
    return (plan.at - NOW).total_seconds(), plan.tries, plan.kind


class TestTheVerdict:
    def test_waits_as_was_learned_after_an_answer(self) -> None:
        assert due_in(replace(STANDING, wait=WAIT), Outcome.ACCEPTED) == (12, 1, DueKind.CHECK)
        assert due_in(STANDING, Outcome.ACCEPTED) == (60, 2, DueKind.CHECK)

    def test_waits_as_was_learned_after_the_purchase(self) -> None:
        sending = replace(STANDING, state=AttemptState.SENDING, tries=0)
        first = replace(WAIT, most_s=60, passed=0)
        assert due_in(replace(sending, wait=first), Outcome.ACCEPTED, "place") == (12, 0, DueKind.CHECK)
        assert due_in(sending, Outcome.ACCEPTED, "place") == (60, 0, DueKind.CHECK)

    def test_does_not_go_on_where_a_question_told_nothing(self) -> None:
        seconds, tries, kind = due_in(replace(STANDING, wait=WAIT), Outcome.UNKNOWN)
        assert (seconds, tries, kind) == (10, 1, DueKind.CHECK)

    def test_fetches_a_missing_code_by_the_schedule(self) -> None:
        delivered = replace(STANDING, state=AttemptState.DELIVERED, needs_code=True, delivered_at=NOW, wait=WAIT)
        assert due_in(delivered, Outcome.ACCEPTED) == (60, 2, DueKind.CODE)

    def test_goes_on_at_the_cap_in_review(self) -> None:
        assert due_in(replace(STANDING, wait=WAIT, order_in_review=True), Outcome.ACCEPTED)[0] == 600
