"""The decision over one attempt, for every standing and every answer: nothing unsafe, nothing forgotten."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.orders.news import News, Verb
from apps.orders.states import ATTEMPT_EDGES, FREEING, HOLDING, AttemptState, DueKind
from apps.orders.verdicts import PIN_ALARM, REFUSALS, Plan, Standing, Verdict, decide
from apps.providers.actions import UNASKABLE, Facts, Known, Why
from apps.providers.contract import Capabilities, Code, Outcome, PollPlan, Result
from apps.providers.options import load_caps
from apps.providers.registry import load_adapter

A = AttemptState

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
CREATED = NOW - timedelta(minutes=5)
DEADLINE = CREATED + timedelta(hours=24)
PIN = (Code("AAAA-BBBB"),)

CAPS = replace(
    load_adapter("znet").caps,
    dedup="unproven",
    final_after_s=43_200,
    flipping=frozenset({"failed"}),
    failed_final_after_s=60,
    poll=PollPlan(first_s=60, base_s=30, cap_s=600, floor_s=10),
)

PLAIN = Standing(
    state=A.ACCEPTED,
    send_no=1,
    needs_code=True,
    codes=0,
    units=1,
    order_in_review=False,
    order_deadline_at=DEADLINE,
    created_at=CREATED,
    doubt_since=None,
    failed_seen_at=None,
    delivered_at=None,
    closed_at=None,
    tries=0,
    errors=0,
    caps=CAPS,
    facts=Facts(Known.IN_DOUBT, 300.0, 60.0, 250.0, is_money_held=True, is_holding=True),
    send_deadline_at=CREATED + timedelta(seconds=20),
)

VERBS: tuple[Verb, ...] = ("place", "find", "status")
NEVER_LIVING = {A.PREPARED, A.NOT_SENT}
"""`prepared` begins and ends inside one transaction; `not_sent` has no due row, so nobody asks about it."""


def news(
    outcome: Outcome,
    verb: Verb = "status",
    *,
    at: datetime = NOW,
    codes: tuple[Code, ...] = (),
    send_no: int = 1,
    retry_after_s: float | None = None,
    duplicate: bool = False,
) -> News:
    result = Result(outcome, "ref", codes=codes, retry_after_s=retry_after_s, duplicate=duplicate)
    return News(1, 1, verb, result, None, at, 0, send_no)


def answered(standing: Standing, outcome: Outcome, verb: Verb = "status", *, draw: float = 0.5, **more: Any) -> Verdict:
    return decide(standing, news(outcome, verb, **more), draw)


def every_case() -> Iterator[tuple[Standing, News]]:
    """Every state x outcome x verb x needs_code x has_code x code in the answer x earlier failure x age x send."""
    axes = itertools.product(
        AttemptState,
        Outcome,
        VERBS,
        (True, False),
        (True, False),
        ((), PIN),
        (None, NOW - timedelta(seconds=59), NOW - timedelta(seconds=60)),
        (NOW, DEADLINE),
        (1, 2),
    )
    for state, outcome, verb, needs_code, has_code, codes, failed_seen_at, at, send_no in axes:
        late = at - NOW
        standing = replace(
            PLAIN,
            state=state,
            needs_code=needs_code,
            codes=int(has_code),
            send_no=send_no,
            failed_seen_at=failed_seen_at + late if failed_seen_at else None,
            doubt_since=CREATED if state is A.IN_DOUBT else None,
            delivered_at=CREATED if state is A.DELIVERED else None,
            closed_at=CREATED if state in FREEING else None,
        )
        yield standing, news(outcome, verb, at=at, codes=codes)


Decided = tuple[Standing, News, Verdict]


@functools.cache
def all_decided() -> list[Decided]:
    return [(standing, item, decide(standing, item, 0.5)) for standing, item in every_case()]


def decided() -> list[Decided]:
    """Those that can happen."""
    return [case for case in all_decided() if case[0].state not in NEVER_LIVING]


def is_moved(standing: Standing, verdict: Verdict, state: AttemptState) -> bool:
    return verdict.state is state and standing.state is not state


class TestEveryDecision:
    def test_is_one_of_forty_thousand(self) -> None:
        assert len(all_decided()) == 12 * 12 * 3 * 2 * 2 * 2 * 3 * 2 * 2

    def test_follows_an_edge_of_the_table(self) -> None:
        wrong = {
            (str(standing.state), str(item.result.outcome), item.verb, str(verdict.state))
            for standing, item, verdict in decided()
            if verdict.state is not standing.state and verdict.state not in ATTEMPT_EDGES[standing.state]
        }
        assert wrong == set()

    @pytest.mark.parametrize("state", sorted(NEVER_LIVING))
    def test_follows_an_edge_even_where_no_news_should_come(self, state: AttemptState) -> None:
        wrong = {
            (item.verb, str(item.result.outcome), str(verdict.state))
            for standing, item, verdict in all_decided()
            if standing.state is state and verdict.state is not state and verdict.state not in ATTEMPT_EDGES[state]
        }
        assert wrong == set()

    def test_takes_nothing_unknown_for_a_refusal_a_failure_or_an_absence(self) -> None:
        wrong = [
            (standing.state, item.verb)
            for standing, item, verdict in all_decided()
            if item.result.outcome is Outcome.UNKNOWN
            and verdict.state in FREEING
            and verdict.state is not standing.state
        ]
        assert wrong == []

    def test_frees_a_unit_only_on_words_that_say_so(self) -> None:
        freed = {
            (item.verb == "place", str(standing.state), str(item.result.outcome), str(verdict.state))
            for standing, item, verdict in decided()
            if standing.state in HOLDING and verdict.state in FREEING
        }
        refusals = ("rejected", "out_of_stock", "insufficient_balance", "auth_error", "rate_limited")
        by_place = {(True, state, word, "refused") for state in ("sending", "in_doubt") for word in refusals}
        proven = {(True, "sending", "not_sent", "not_sent"), (True, "in_doubt", "not_sent", "absent")}
        failures = ("rejected", "out_of_stock", "insufficient_balance")
        by_question = {
            (False, state, word, "failed") for state in ("sending", "in_doubt", "accepted") for word in failures
        }
        assert freed == by_place | proven | by_question

    def test_is_not_made_by_a_clock(self) -> None:
        """Whatever the time: an answer without information leaves the state, but for the sender that fell silent."""
        for standing, item, verdict in decided():
            if item.result.outcome in (Outcome.UNKNOWN, Outcome.NOT_FOUND) and item.verb != "place":
                expected = A.IN_DOUBT if standing.state is A.SENDING else standing.state
                assert verdict.state is expected or item.result.codes

    def test_fails_only_on_the_second_agreeing_reading_a_minute_later(self) -> None:
        for standing, item, verdict in all_decided():
            if is_moved(standing, verdict, A.FAILED):
                assert standing.failed_seen_at is not None
                assert item.at - standing.failed_seen_at >= timedelta(seconds=60)
                assert item.verb != "place"
                assert item.result.codes == ()

    def test_never_frees_what_came_with_a_code(self) -> None:
        for standing, item, verdict in decided():
            if item.result.codes and item.result.outcome is not Outcome.NOT_SENT and standing.state in HOLDING:
                assert verdict.state in HOLDING

    def test_never_takes_back_a_delivery(self) -> None:
        for standing, _, verdict in all_decided():
            if standing.state in (A.DELIVERED, A.REVERSED, A.PARTIAL):
                assert verdict.state is standing.state

    def test_plans_the_next_look_for_every_open_state(self) -> None:
        for standing, item, verdict in decided():
            owes_code = standing.needs_code and not (standing.has_code or item.result.codes)
            is_open = verdict.state in (A.SENDING, A.IN_DOUBT, A.ACCEPTED) or (
                verdict.state is A.DELIVERED and owes_code and not verdict.is_late
            )
            assert not is_open or verdict.plan is not None, (standing.state, item.result.outcome, item.verb)

    def test_plans_nothing_only_for_a_closed_state(self) -> None:
        closed = {(verdict.state, item.at) for _, item, verdict in decided() if verdict.plan is None}
        final = (A.REFUSED, A.NOT_SENT, A.ABSENT, A.DELIVERED, A.PARTIAL, A.REVERSED)
        # A failure can flip here: it is watched, and closed when its window of twelve hours is over.
        # What a person gave up is watched longer than these cases last.
        assert closed == {(state, at) for state in final for at in (NOW, DEADLINE)} | {(A.FAILED, DEADLINE)}

    def test_plans_never_sooner_than_the_providers_least_gap(self) -> None:
        for _, item, verdict in decided():
            if verdict.plan is not None:
                assert verdict.plan.at - item.at >= timedelta(seconds=CAPS.poll.floor_s)

    def test_plans_at_most_the_cap_ahead(self) -> None:
        for _, item, verdict in decided():
            if verdict.plan is not None and verdict.state is not A.ABANDONED:
                assert verdict.plan.at - item.at <= timedelta(seconds=600)

    def test_keeps_every_code_it_was_given(self) -> None:
        for standing, item, verdict in decided():
            if (
                item.result.codes
                and item.verb != "place"
                and item.result.outcome
                not in (
                    Outcome.UNKNOWN,
                    Outcome.AUTH_ERROR,
                    Outcome.RATE_LIMITED,
                    Outcome.NOT_SENT,
                    Outcome.NOT_FOUND,
                )
            ):
                assert verdict.codes == PIN, (standing.state, item.result.outcome)

    def test_reviews_only_with_a_known_word(self) -> None:
        words = {verdict.review for _, _, verdict in all_decided()}
        conflicts = {word for word in words if word.startswith("conflict:")}
        assert words - conflicts == {"", "waiting:in_doubt", "waiting:deadline", "waiting:pin"}
        assert "conflict:partial" in conflicts
        assert all(len(word) <= 120 for word in words)


class TestAPlaceAnswer:
    def sending(self, outcome: Outcome, **more: Any) -> Verdict:
        return answered(replace(PLAIN, state=A.SENDING), outcome, "place", **more)

    def test_that_accepts_is_checked_after_exactly_a_minute_whatever_the_dice_say(self) -> None:
        for draw in (0.0, 0.5, 0.999):
            verdict = self.sending(Outcome.ACCEPTED, draw=draw)
            assert (verdict.state, verdict.said) == (A.ACCEPTED, "accepted")
            assert verdict.plan == Plan(DueKind.CHECK, NOW + timedelta(seconds=60), 0, 0)

    @pytest.mark.parametrize(
        "outcome",
        [
            Outcome.REJECTED,
            Outcome.OUT_OF_STOCK,
            Outcome.INSUFFICIENT_BALANCE,
            Outcome.AUTH_ERROR,
            Outcome.RATE_LIMITED,
        ],
    )
    def test_that_refuses_for_certain_frees_the_unit(self, outcome: Outcome) -> None:
        verdict = self.sending(outcome)
        assert (verdict.state, verdict.said, verdict.plan) == (A.REFUSED, "refused", None)

    def test_that_says_nothing_is_in_doubt_until_it_is_asked(self) -> None:
        fresh = replace(PLAIN, state=A.SENDING, created_at=NOW)
        verdict = answered(fresh, Outcome.UNKNOWN, "place")
        assert (verdict.state, verdict.said, verdict.review) == (A.IN_DOUBT, "in_doubt", "")
        assert verdict.plan == Plan(DueKind.RESOLVE, NOW + timedelta(seconds=10), 0, 0)

    def test_that_proves_nothing_left_is_not_sent(self) -> None:
        verdict = self.sending(Outcome.NOT_SENT)
        assert (verdict.state, verdict.said, verdict.plan) == (A.NOT_SENT, "not_sent", None)

    def test_that_proves_nothing_left_is_an_absence_unless_a_question_may_have_bought_it_meanwhile(self) -> None:
        doubtful = replace(PLAIN, state=A.IN_DOUBT, doubt_since=NOW)
        assert answered(doubtful, Outcome.NOT_SENT, "place").state == A.ABSENT
        verdict = answered(replace(doubtful, caps=load_caps("digiflazz", {})), Outcome.NOT_SENT, "place")
        assert (verdict.state, verdict.said) == (A.IN_DOUBT, "in_doubt")
        assert verdict.plan is not None

    @pytest.mark.parametrize(("after_s", "state"), [(79, A.NOT_SENT), (80, A.IN_DOUBT), (600, A.IN_DOUBT)])
    def test_that_proves_nothing_left_comes_too_late_where_asking_may_buy(
        self, after_s: int, state: AttemptState
    ) -> None:
        """80 s after the commit the first question may be on the wire, while the attempt is still `sending`."""
        began = replace(
            PLAIN, state=A.SENDING, created_at=NOW - timedelta(seconds=after_s), caps=load_caps("digiflazz", {})
        )
        assert answered(began, Outcome.NOT_SENT, "place").state == state

    def test_that_refuses_comes_too_late_there_as_well(self) -> None:
        began = replace(PLAIN, state=A.SENDING, created_at=NOW - timedelta(seconds=80), caps=load_caps("digiflazz", {}))
        assert answered(began, Outcome.REJECTED, "place").state is A.IN_DOUBT

    def test_that_delivers_at_once_is_delivered_with_its_code(self) -> None:
        verdict = self.sending(Outcome.COMPLETED, codes=PIN)
        assert (verdict.state, verdict.said, verdict.codes, verdict.plan) == (A.DELIVERED, "delivered", PIN, None)

    def test_that_refuses_with_a_code_in_it_is_a_conflict(self) -> None:
        verdict = self.sending(Outcome.REJECTED, codes=PIN)
        assert (verdict.state, verdict.said, verdict.review) == (A.IN_DOUBT, "conflict", "conflict:rejected")
        assert verdict.codes == PIN

    @pytest.mark.parametrize("outcome", [Outcome.PARTIAL, Outcome.REVERSED])
    def test_that_needs_a_person_is_a_conflict(self, outcome: Outcome) -> None:
        verdict = self.sending(outcome)
        assert (verdict.state, verdict.review) == (A.IN_DOUBT, f"conflict:{outcome}")

    def test_that_comes_after_the_order_was_found_changes_nothing(self) -> None:
        for outcome in (Outcome.REJECTED, Outcome.UNKNOWN, Outcome.NOT_SENT, Outcome.INSUFFICIENT_BALANCE):
            verdict = answered(PLAIN, outcome, "place")
            assert (verdict.state, verdict.said) == (A.ACCEPTED, "unchanged")

    def test_of_an_older_send_cannot_refuse_the_newer_one(self) -> None:
        newer = replace(PLAIN, state=A.SENDING, send_no=2)
        for outcome in (Outcome.REJECTED, Outcome.NOT_SENT, Outcome.AUTH_ERROR, Outcome.UNKNOWN):
            verdict = answered(newer, outcome, "place", send_no=1)
            assert (verdict.state, verdict.said) == (A.SENDING, "unchanged")

    def test_of_an_older_send_that_accepted_is_believed(self) -> None:
        newer = replace(PLAIN, state=A.SENDING, send_no=2)
        assert answered(newer, Outcome.ACCEPTED, "place", send_no=1).state is A.ACCEPTED


class TestAQuestionAboutAnAttemptInDoubt:
    STANDING = replace(PLAIN, state=A.IN_DOUBT, doubt_since=NOW)

    def test_that_finds_it_adopts_its_state(self) -> None:
        assert answered(self.STANDING, Outcome.ACCEPTED, "find").state is A.ACCEPTED
        assert answered(self.STANDING, Outcome.COMPLETED, "find", codes=PIN).state is A.DELIVERED

    def test_that_does_not_find_it_proves_nothing(self) -> None:
        verdict = answered(self.STANDING, Outcome.NOT_FOUND, "find")
        assert (verdict.state, verdict.said, verdict.review) == (A.IN_DOUBT, "not_found", "")

    def test_that_does_not_find_it_for_a_quarter_of_an_hour_calls_a_person(self) -> None:
        old = replace(self.STANDING, doubt_since=NOW - timedelta(seconds=900))
        assert answered(old, Outcome.NOT_FOUND, "find").review == "waiting:in_doubt"
        young = replace(self.STANDING, doubt_since=NOW - timedelta(seconds=899))
        assert answered(young, Outcome.NOT_FOUND, "find").review == ""

    def test_that_fails_for_a_quarter_of_an_hour_calls_a_person_too(self) -> None:
        old = replace(self.STANDING, doubt_since=NOW - timedelta(seconds=900))
        assert answered(old, Outcome.UNKNOWN, "find").review == "waiting:in_doubt"

    def test_that_finds_it_failed_once_frees_nothing(self) -> None:
        verdict = answered(self.STANDING, Outcome.REJECTED, "find")
        assert (verdict.state, verdict.said, verdict.failed_seen_at) == (A.ACCEPTED, "failed_once", NOW)


class TestAQuestionThatFailed:
    @pytest.mark.parametrize("outcome", [Outcome.UNKNOWN, Outcome.AUTH_ERROR, Outcome.RATE_LIMITED, Outcome.NOT_SENT])
    def test_has_a_back_off_of_its_own_and_advances_nothing(self, outcome: Outcome) -> None:
        verdict = answered(replace(PLAIN, tries=3, errors=2), outcome)
        # 5 s x 2^2, three quarters of it with the dice in the middle
        assert verdict.plan == Plan(DueKind.CHECK, NOW + timedelta(seconds=15), 3, 3)
        assert (verdict.said, verdict.informs) == ("no_information", False)

    def test_keeps_the_first_failed_reading(self) -> None:
        seen = NOW - timedelta(seconds=30)
        assert answered(replace(PLAIN, failed_seen_at=seen), Outcome.UNKNOWN).failed_seen_at == seen

    def test_waits_as_long_as_the_provider_asks(self) -> None:
        verdict = answered(PLAIN, Outcome.RATE_LIMITED, retry_after_s=45)
        assert verdict.plan is not None
        assert verdict.plan.at == NOW + timedelta(seconds=45)

    def test_never_asks_sooner_than_the_least_gap_because_of_a_hint(self) -> None:
        verdict = answered(PLAIN, Outcome.RATE_LIMITED, retry_after_s=0.5)
        assert verdict.plan is not None
        assert verdict.plan.at == NOW + timedelta(seconds=10)

    def test_never_waits_longer_than_the_cap_because_of_a_hint(self) -> None:
        verdict = answered(PLAIN, Outcome.RATE_LIMITED, retry_after_s=86_400)
        assert verdict.plan is not None
        assert verdict.plan.at == NOW + timedelta(seconds=600)

    def test_of_a_sender_that_fell_silent_puts_it_in_doubt(self) -> None:
        assert answered(replace(PLAIN, state=A.SENDING), Outcome.UNKNOWN, "find").state is A.IN_DOUBT

    def test_not_found_after_acceptance_is_no_information_either(self) -> None:
        verdict = answered(PLAIN, Outcome.NOT_FOUND)
        assert (verdict.state, verdict.said, verdict.review) == (A.ACCEPTED, "no_information", "")


class TestAFailureAfterAcceptance:
    def test_is_asked_again_when_the_minute_is_over(self) -> None:
        verdict = answered(PLAIN, Outcome.REJECTED)
        assert (verdict.state, verdict.said, verdict.failed_seen_at) == (A.ACCEPTED, "failed_once", NOW)
        assert verdict.plan == Plan(DueKind.CHECK, NOW + timedelta(seconds=60), 0, 0)

    def test_read_again_too_soon_waits_for_the_rest_of_the_minute(self) -> None:
        seen = NOW - timedelta(seconds=40)
        verdict = answered(replace(PLAIN, failed_seen_at=seen), Outcome.REJECTED)
        assert (verdict.said, verdict.failed_seen_at) == ("failed_once", seen)
        assert verdict.plan is not None
        assert verdict.plan.at == NOW + timedelta(seconds=20)

    def test_read_twice_is_final_and_watched(self) -> None:
        verdict = answered(replace(PLAIN, failed_seen_at=NOW - timedelta(seconds=60)), Outcome.REJECTED)
        assert (verdict.state, verdict.said) == (A.FAILED, "failed")
        assert verdict.plan is not None
        assert (verdict.plan.kind, verdict.plan.at) == (DueKind.WATCH, NOW + timedelta(seconds=600))

    def test_contradicted_in_between_counts_from_the_beginning(self) -> None:
        standing = replace(PLAIN, failed_seen_at=NOW - timedelta(seconds=30))
        assert answered(standing, Outcome.ACCEPTED).failed_seen_at is None

    def test_with_a_code_in_it_is_a_conflict(self) -> None:
        verdict = answered(replace(PLAIN, failed_seen_at=NOW - timedelta(hours=1)), Outcome.REJECTED, codes=PIN)
        assert (verdict.state, verdict.review, verdict.codes) == (A.ACCEPTED, "conflict:rejected", PIN)

    def test_is_watched_until_its_window_is_over(self) -> None:
        closed = replace(PLAIN, state=A.FAILED, closed_at=NOW - timedelta(seconds=43_200 - 600))
        assert answered(closed, Outcome.REJECTED).plan is not None
        over = replace(closed, closed_at=NOW - timedelta(seconds=43_200 - 599))
        assert answered(over, Outcome.REJECTED).plan is None


class TestADeliveryWithoutItsPin:
    def test_is_asked_for_the_pin(self) -> None:
        verdict = answered(replace(PLAIN, tries=4), Outcome.COMPLETED)
        assert (verdict.state, verdict.said, verdict.codes) == (A.DELIVERED, "delivered_without_code", ())
        assert verdict.plan == Plan(DueKind.CODE, NOW + timedelta(seconds=30), 1, 0)

    def test_of_a_product_without_pins_is_a_delivery(self) -> None:
        verdict = answered(replace(PLAIN, needs_code=False), Outcome.COMPLETED)
        assert (verdict.said, verdict.plan) == ("delivered", None)

    def test_is_overdue_after_a_quarter_of_an_hour(self) -> None:
        standing = replace(PLAIN, state=A.DELIVERED, delivered_at=NOW - PIN_ALARM)
        assert answered(standing, Outcome.COMPLETED).pin_overdue
        younger = replace(standing, delivered_at=NOW - PIN_ALARM + timedelta(microseconds=1))
        assert not answered(younger, Outcome.COMPLETED).pin_overdue

    def test_is_whole_when_the_pin_comes(self) -> None:
        verdict = answered(replace(PLAIN, state=A.DELIVERED, delivered_at=CREATED), Outcome.COMPLETED, codes=PIN)
        assert (verdict.state, verdict.said, verdict.codes, verdict.plan) == (A.DELIVERED, "code_arrived", PIN, None)

    def test_that_is_called_failed_afterwards_is_a_conflict(self) -> None:
        verdict = answered(replace(PLAIN, state=A.DELIVERED, delivered_at=CREATED), Outcome.REJECTED)
        assert (verdict.state, verdict.review) == (A.DELIVERED, "conflict:failed_after_delivery")


class TestADelivery:
    STANDING = replace(PLAIN, state=A.DELIVERED, codes=1, delivered_at=CREATED)

    @pytest.mark.parametrize("outcome", [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.NOT_FOUND, Outcome.OUT_OF_STOCK])
    def test_absorbs_a_regression(self, outcome: Outcome) -> None:
        verdict = answered(self.STANDING, outcome)
        assert (verdict.state, verdict.is_reversed, verdict.review) == (A.DELIVERED, False, "")

    def test_is_reversed_only_by_that_word(self) -> None:
        assert {outcome for outcome in Outcome if answered(self.STANDING, outcome).is_reversed} == {Outcome.REVERSED}

    def test_keeps_a_second_code(self) -> None:
        verdict = answered(self.STANDING, Outcome.COMPLETED, codes=PIN)
        assert (verdict.said, verdict.codes) == ("code_arrived", PIN)


class TestALateDelivery:
    @pytest.mark.parametrize("state", sorted(FREEING - NEVER_LIVING))
    def test_is_surplus(self, state: AttemptState) -> None:
        verdict = answered(replace(PLAIN, state=state, closed_at=CREATED), Outcome.COMPLETED, codes=PIN)
        assert (verdict.state, verdict.is_late, verdict.codes, verdict.plan) == (A.DELIVERED, True, PIN, None)

    @pytest.mark.parametrize("state", sorted(FREEING - NEVER_LIVING))
    def test_is_not_seen_in_anything_else(self, state: AttemptState) -> None:
        closed = replace(PLAIN, state=state, closed_at=CREATED)
        others = set(Outcome) - {Outcome.COMPLETED, Outcome.PARTIAL}
        assert {answered(closed, outcome).state for outcome in others} == {state}


class TestTheDeadline:
    def test_makes_an_open_attempt_a_persons_question(self) -> None:
        assert answered(PLAIN, Outcome.ACCEPTED, at=DEADLINE).review == "waiting:deadline"
        assert answered(PLAIN, Outcome.ACCEPTED, at=DEADLINE - timedelta(microseconds=1)).review == ""

    def test_makes_a_missing_pin_a_persons_question(self) -> None:
        standing = replace(PLAIN, state=A.DELIVERED, delivered_at=CREATED)
        assert answered(standing, Outcome.COMPLETED, at=DEADLINE).review == "waiting:pin"

    def test_leaves_what_is_settled_alone(self) -> None:
        whole = replace(PLAIN, state=A.DELIVERED, codes=1)
        assert answered(whole, Outcome.COMPLETED, at=DEADLINE).review == ""
        assert answered(PLAIN, Outcome.COMPLETED, at=DEADLINE, codes=PIN).review == ""

    def test_changes_no_state(self) -> None:
        assert answered(PLAIN, Outcome.ACCEPTED, at=DEADLINE + timedelta(days=30)).state is A.ACCEPTED

    def test_goes_on_asking_at_the_cap(self) -> None:
        verdict = answered(replace(PLAIN, order_in_review=True), Outcome.ACCEPTED, at=DEADLINE)
        assert verdict.plan is not None
        assert verdict.plan.at == DEADLINE + timedelta(seconds=600)


class TestTheSchedule:
    def test_is_thirty_seconds_times_two_to_the_n_up_to_ten_minutes(self) -> None:
        gaps = []
        for tries in range(8):
            plan = answered(replace(PLAIN, tries=tries), Outcome.ACCEPTED).plan
            assert plan is not None
            assert plan.tries == tries + 1
            gaps.append((plan.at - NOW).total_seconds())
        assert gaps == [30, 60, 120, 240, 480, 600, 600, 600]

    def test_spreads_by_a_tenth(self) -> None:
        gaps = []
        for draw in (0.0, 1.0):
            plan = answered(PLAIN, Outcome.ACCEPTED, draw=draw).plan
            assert plan is not None
            gaps.append((plan.at - NOW).total_seconds())
        assert gaps == [27, 33]

    def test_forgets_the_errors_after_an_answer(self) -> None:
        plan = answered(replace(PLAIN, errors=5), Outcome.ACCEPTED).plan
        assert plan is not None
        assert plan.errors == 0


class TestAQuestionThatMustNotBePut:
    def barred(self, state: AttemptState, why: Why, **changes: object) -> Verdict:
        standing = replace(PLAIN, state=state, tries=3, errors=1, **changes)  # type: ignore[arg-type]
        return decide(standing, replace(news(Outcome.UNKNOWN), barred=why), 0.5)

    @pytest.mark.parametrize("why", sorted(UNASKABLE))
    @pytest.mark.parametrize("state", [A.IN_DOUBT, A.ACCEPTED, A.SENDING])
    def test_for_good_makes_it_a_persons_question_with_a_daily_reminder(self, state: AttemptState, why: Why) -> None:
        verdict = self.barred(state, why)
        after = A.IN_DOUBT if state is A.SENDING else state
        kind = DueKind.CHECK if state is A.ACCEPTED else DueKind.RESOLVE
        assert (verdict.state, verdict.said, verdict.review) == (after, "not_asked", f"waiting:{why}")
        gap = timedelta(days=1) if state is A.ACCEPTED else timedelta(minutes=10)
        assert verdict.plan == Plan(kind, NOW + gap, 3, 1)

    def test_in_doubt_for_some_minutes_waits_a_day_too(self) -> None:
        old = CREATED - timedelta(minutes=10)
        verdict = self.barred(A.IN_DOUBT, Why.NO_NAME, send_deadline_at=old)
        assert verdict.plan == Plan(DueKind.RESOLVE, NOW + timedelta(days=1), 3, 1)

    def test_yet_waits_for_the_provider_s_pause(self) -> None:
        verdict = self.barred(A.IN_DOUBT, Why.TOO_SOON)
        assert (verdict.said, verdict.review) == ("not_asked", "")
        assert verdict.plan == Plan(DueKind.RESOLVE, NOW + timedelta(seconds=60), 3, 1)

    def test_about_a_missing_pin_keeps_the_money(self) -> None:
        verdict = self.barred(A.DELIVERED, Why.WINDOW_OVER, delivered_at=CREATED)
        assert (verdict.state, verdict.review) == (A.DELIVERED, "waiting:window_over")
        assert verdict.plan == Plan(DueKind.CODE, NOW + timedelta(days=1), 3, 1)

    @pytest.mark.parametrize("state", [A.FAILED, A.REFUSED, A.ABSENT, A.ABANDONED])
    @pytest.mark.parametrize("why", Why)
    def test_about_something_over_closes_it(self, state: AttemptState, why: Why) -> None:
        verdict = self.barred(state, why)
        assert (verdict.state, verdict.said, verdict.plan, verdict.review) == (state, "unchanged", None, "")

    @pytest.mark.parametrize("why", Why)
    @pytest.mark.parametrize("state", [A.IN_DOUBT, A.ACCEPTED])
    def test_never_lets_a_unit_go(self, state: AttemptState, why: Why) -> None:
        assert self.barred(state, why).state in HOLDING


class TestSeveralUnits:
    TWO = replace(PLAIN, units=2)

    def test_are_delivered_with_a_code_each(self) -> None:
        both = (Code("AAAA"), Code("BBBB"))
        assert decide(self.TWO, news(Outcome.COMPLETED, codes=both), 0.5).said == "delivered"

    @pytest.mark.parametrize("codes", [(Code("AAAA"),), (Code("AAAA"), Code("AAAA"))])
    def test_with_a_code_too_few_wait_for_it(self, codes: tuple[Code, ...]) -> None:
        verdict = decide(self.TWO, news(Outcome.COMPLETED, codes=codes), 0.5)
        assert (verdict.said, verdict.codes) == ("delivered_without_code", codes)
        assert verdict.plan is not None
        assert verdict.plan.kind is DueKind.CODE

    def test_are_not_complete_when_the_first_code_is_told_again(self) -> None:
        one = replace(self.TWO, state=A.DELIVERED, codes=1, delivered_at=NOW)
        again = decide(one, news(Outcome.COMPLETED, codes=(Code("AAAA"),)), 0.5)
        assert (again.said, again.codes) == ("code_missing", (Code("AAAA"),))
        assert again.plan is not None

    def test_are_complete_with_all_codes_in_one_answer(self) -> None:
        one = replace(self.TWO, state=A.DELIVERED, codes=1, delivered_at=NOW)
        assert decide(one, news(Outcome.COMPLETED, codes=(Code("AAAA"), Code("BBBB"))), 0.5).said == "code_arrived"

    def test_are_complete_once_all_are_stored(self) -> None:
        stored = replace(self.TWO, state=A.DELIVERED, codes=2, delivered_at=NOW)
        assert decide(stored, news(Outcome.COMPLETED), 0.5).said == "unchanged"


class TestASureFailure:
    def test_counts_at_once_where_it_never_turns(self) -> None:
        sure = replace(PLAIN, caps=replace(CAPS, failed_final_after_s=0))
        assert decide(sure, news(Outcome.REJECTED), 0.5).state is A.FAILED
        assert decide(PLAIN, news(Outcome.REJECTED), 0.5).state is A.ACCEPTED


PROVES_ABSENCE = replace(CAPS, absent_after_s=900.0)
SENDS_AGAIN = replace(CAPS, dedup="returns_original", resend_same_ref_safe=True, resend_min_gap_s=60)
QUIET_AT = CREATED + timedelta(seconds=20 + CAPS.place_timeout_s)
PROVES_AT = QUIET_AT + timedelta(seconds=900)


def lost(caps: Capabilities, at: datetime, **changes: Any) -> Standing:
    """An attempt in doubt, as it is at a moment."""
    facts = replace(
        PLAIN.facts, age_s=(at - CREATED).total_seconds(), quiet_s=(at - QUIET_AT).total_seconds(), idle_s=0.0
    )
    return replace(PLAIN, state=A.IN_DOUBT, doubt_since=CREATED, caps=caps, facts=facts, **changes)


def not_found(standing: Standing, at: datetime, *, is_account_good: bool = True) -> Verdict:
    return decide(standing, replace(news(Outcome.NOT_FOUND, "find", at=at), is_account_good=is_account_good), 0.5)


class TestALookThatFindsNothing:
    def test_does_not_count_while_the_request_may_still_arrive(self) -> None:
        at = QUIET_AT - timedelta(seconds=1)
        verdict = not_found(lost(PROVES_ABSENCE, at), at)
        assert (verdict.state, verdict.not_found, verdict.not_found_since) == (A.IN_DOUBT, 0, None)

    def test_does_not_count_for_a_send_that_came_after_the_question(self) -> None:
        verdict = not_found(lost(PROVES_ABSENCE, PROVES_AT, send_no=2), PROVES_AT)
        assert (verdict.state, verdict.not_found) == (A.IN_DOUBT, 0)

    def test_counts_from_then_on(self) -> None:
        verdict = not_found(lost(CAPS, QUIET_AT), QUIET_AT)
        assert (verdict.state, verdict.not_found, verdict.not_found_since) == (A.IN_DOUBT, 1, QUIET_AT)

    def test_counts_anew_from_when_it_can_prove_something(self) -> None:
        early = {"not_found": 7, "not_found_since": PROVES_AT - timedelta(seconds=1)}
        verdict = not_found(lost(PROVES_ABSENCE, PROVES_AT, **early), PROVES_AT)
        assert (verdict.state, verdict.not_found, verdict.not_found_since) == (A.IN_DOUBT, 1, PROVES_AT)

    def test_proves_an_absence_with_the_second_one_a_minute_later(self) -> None:
        at = PROVES_AT + timedelta(seconds=60)
        verdict = not_found(lost(PROVES_ABSENCE, at, not_found=1, not_found_since=PROVES_AT), at)
        assert (verdict.state, verdict.said, verdict.plan) == (A.ABSENT, "absent", None)

    def test_proves_nothing_sooner(self) -> None:
        at = PROVES_AT + timedelta(seconds=59)
        assert not_found(lost(PROVES_ABSENCE, at, not_found=1, not_found_since=PROVES_AT), at).state is A.IN_DOUBT

    def test_proves_nothing_where_the_account_may_not_be_known_any_more(self) -> None:
        at = PROVES_AT + timedelta(seconds=60)
        standing = lost(PROVES_ABSENCE, at, not_found=1, not_found_since=PROVES_AT)
        assert not_found(standing, at, is_account_good=False).state is A.IN_DOUBT

    def test_proves_nothing_where_it_never_does(self) -> None:
        at = PROVES_AT + timedelta(days=3)
        verdict = not_found(lost(CAPS, at, not_found=99, not_found_since=QUIET_AT), at)
        assert (verdict.state, verdict.not_found, verdict.review) == (A.IN_DOUBT, 100, "waiting:in_doubt")

    def test_is_remembered_through_a_question_that_failed(self) -> None:
        standing = lost(PROVES_ABSENCE, PROVES_AT, not_found=1, not_found_since=PROVES_AT)
        verdict = decide(standing, news(Outcome.UNKNOWN, "find", at=PROVES_AT), 0.5)
        assert (verdict.not_found, verdict.not_found_since) == (1, PROVES_AT)

    def test_is_followed_by_one_just_when_it_can_prove_something(self) -> None:
        at = PROVES_AT - timedelta(seconds=200)
        plan = not_found(lost(PROVES_ABSENCE, at, tries=9), at).plan
        assert plan is not None
        assert plan.at == PROVES_AT

    def test_is_followed_by_the_second_one_after_a_minute(self) -> None:
        plan = not_found(lost(PROVES_ABSENCE, PROVES_AT, tries=9), PROVES_AT).plan
        assert plan is not None
        assert plan.at == PROVES_AT + timedelta(seconds=60)

    def test_is_followed_by_a_send_when_the_least_gap_is_over(self) -> None:
        plan = not_found(lost(SENDS_AGAIN, QUIET_AT, tries=9), QUIET_AT).plan
        assert plan is not None
        assert plan.at == QUIET_AT + timedelta(seconds=60)

    def test_is_followed_by_the_schedule_where_asking_is_a_send_of_its_own(self) -> None:
        caps = replace(SENDS_AGAIN, ask_may_create=True, ref_max_age_s=86_400.0)
        plan = not_found(lost(caps, QUIET_AT, tries=9), QUIET_AT).plan
        assert plan is not None
        assert plan.at == QUIET_AT + timedelta(seconds=600)


class TestTheAnswerToASecondSend:
    @pytest.mark.parametrize("outcome", [*sorted(REFUSALS), Outcome.NOT_SENT, Outcome.UNKNOWN])
    def test_says_nothing_of_the_first_when_it_is_no(self, outcome: Outcome) -> None:
        standing = replace(PLAIN, state=A.SENDING, is_resend=True, send_no=2, doubt_since=CREATED)
        verdict = answered(standing, outcome, "place", send_no=2)
        assert (verdict.state, verdict.said) == (A.IN_DOUBT, "in_doubt")
        assert verdict.plan is not None

    def test_is_adopted_when_it_is_yes(self) -> None:
        standing = replace(PLAIN, state=A.SENDING, is_resend=True, send_no=2, doubt_since=CREATED)
        assert answered(standing, Outcome.ACCEPTED, "place", send_no=2).state is A.ACCEPTED
        assert answered(standing, Outcome.COMPLETED, "place", send_no=2, codes=PIN).state is A.DELIVERED

    def test_of_one_that_never_left_is_a_refusal_like_any_other(self) -> None:
        rearmed = replace(PLAIN, state=A.SENDING, send_no=2)
        assert answered(rearmed, Outcome.REJECTED, "place", send_no=2).state is A.REFUSED


def told_parts(standing: Standing, delivered: int, remains: int, at: datetime = NOW, **more: Any) -> Verdict:
    result = Result(Outcome.PARTIAL, "ref", delivered=Decimal(delivered), remains=Decimal(remains), **more)
    return decide(standing, News(1, 1, "status", result, None, at, 0, 1), 0.5)


class TestAPartDelivery:
    FIVE = replace(PLAIN, needs_code=False, units=5)

    def test_is_read_twice_before_it_counts(self) -> None:
        verdict = told_parts(self.FIVE, 3, 2)
        assert (verdict.state, verdict.said, verdict.delivered_units) == (A.ACCEPTED, "partial_once", 3)
        assert verdict.failed_seen_at == NOW
        assert verdict.plan == Plan(DueKind.CHECK, NOW + timedelta(seconds=60), 0, 0)

    def test_counts_when_both_readings_agree(self) -> None:
        standing = replace(self.FIVE, delivered_units=3, failed_seen_at=NOW - timedelta(seconds=60))
        verdict = told_parts(standing, 3, 2)
        assert (verdict.state, verdict.said, verdict.delivered_units) == (A.PARTIAL, "partial", 3)

    @pytest.mark.parametrize("first", [2, None])
    def test_begins_again_when_they_do_not(self, first: int | None) -> None:
        standing = replace(self.FIVE, delivered_units=first, failed_seen_at=NOW - timedelta(seconds=60))
        verdict = told_parts(standing, 3, 2)
        assert (verdict.state, verdict.delivered_units, verdict.failed_seen_at) == (A.ACCEPTED, 3, NOW)

    def test_is_no_first_reading_of_a_failure(self) -> None:
        standing = replace(self.FIVE, delivered_units=3, failed_seen_at=NOW - timedelta(seconds=60))
        verdict = answered(standing, Outcome.REJECTED)
        assert (verdict.state, verdict.failed_seen_at, verdict.delivered_units) == (A.ACCEPTED, NOW, None)

    def test_counts_the_panel_s_units_by_the_order_s(self) -> None:
        assert told_parts(self.FIVE, 3000, 2000).delivered_units == 3

    def test_of_all_is_a_delivery_and_of_nothing_a_failure(self) -> None:
        assert told_parts(self.FIVE, 5, 0).state is A.DELIVERED
        assert told_parts(self.FIVE, 0, 5).said == "failed_once"

    @pytest.mark.parametrize(("delivered", "remains"), [(2500, 2500), (1, 6), (0, 0)])
    def test_that_is_no_whole_unit_is_a_person_s(self, delivered: int, remains: int) -> None:
        verdict = told_parts(self.FIVE, delivered, remains)
        assert (verdict.state, verdict.review) == (A.ACCEPTED, "conflict:partial")

    def test_of_codes_is_as_many_units_as_codes(self) -> None:
        codes = tuple(Code(f"AAAA-{n}") for n in range(3))
        standing = replace(self.FIVE, needs_code=True)
        told = decide(standing, news(Outcome.PARTIAL, codes=codes), 0.5)
        assert (told.said, told.delivered_units, told.codes) == ("partial_once", 3, codes)
        assert told_parts(standing, 4, 1, codes=codes).review == "conflict:partial"

    def test_is_not_touched_any_more(self) -> None:
        standing = replace(self.FIVE, state=A.PARTIAL, delivered_units=3)
        verdict = answered(standing, Outcome.REJECTED)
        assert (verdict.state, verdict.delivered_units) == (A.PARTIAL, 3)


class TestWhatAPersonGaveUp:
    @pytest.mark.parametrize(
        ("window_s", "last"),
        [(None, NOW + timedelta(days=30)), (7 * 86400, CREATED + timedelta(days=7))],
        ids=["a provider that never forgets", "one that forgets after a week"],
    )
    def test_is_watched_at_the_cap_while_the_provider_remembers_it(
        self, window_s: float | None, last: datetime
    ) -> None:
        caps = replace(CAPS, flipping=frozenset(), query_window_s=window_s)
        standing = replace(PLAIN, state=A.ABANDONED, closed_at=NOW, caps=caps)
        gap = timedelta(seconds=600)
        assert answered(standing, Outcome.NOT_FOUND, at=last - gap).plan == Plan(DueKind.WATCH, last, 1, 0)
        second = timedelta(seconds=1)
        assert answered(standing, Outcome.NOT_FOUND, at=last - gap + second).plan is None

    def test_is_asked_about_again_when_a_question_failed(self) -> None:
        standing = replace(PLAIN, state=A.ABANDONED, closed_at=NOW, caps=replace(CAPS, flipping=frozenset()))
        plan = answered(standing, Outcome.UNKNOWN).plan
        assert plan is not None
        assert plan.kind is DueKind.WATCH

    def test_is_surplus_when_it_comes_after_all(self) -> None:
        verdict = answered(replace(PLAIN, state=A.ABANDONED, closed_at=NOW), Outcome.COMPLETED, codes=PIN)
        assert (verdict.state, verdict.is_late, verdict.codes) == (A.DELIVERED, True, PIN)
