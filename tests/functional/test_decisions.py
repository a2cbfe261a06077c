"""What people decide about orders: each does what it says, once, by who may, and the money agrees afterwards."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from django.db import connection

from apps.accounts.models import User
from apps.common import clock
from apps.journal.models import OutboxEvent
from apps.ops.money_check import check_money
from apps.orders import decisions, manual, monitoring, outcomes
from apps.orders.decisions import (
    Alone,
    AlreadyAsked,
    AlreadyDecided,
    BadInput,
    CodeKnown,
    DecisionRefused,
    Entry,
    NotAllowed,
    NotCovered,
    NotFound,
    NotPossible,
    SecondPersonNeeded,
    TooEarly,
)
from apps.orders.decisions.approvals import ACTS
from apps.orders.models import Approval, Attempt, AttemptUnit, Case, Evidence, Order, OrderCode, OrderEvent
from apps.orders.news import News
from apps.orders.services import try_auto_dispatch
from apps.panel.words import EVENTS
from apps.providers.contract import Code, Outcome, Result
from apps.providers.models import Integration
from apps.wallet import ledger, people
from apps.wallet.models import Transfer
from tests.factories import (
    Shop,
    Stage,
    add_route,
    check_invariants,
    due_of,
    iter_units,
    make_account,
    make_integration,
    make_shop,
    order_from,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import PASSWORD, english, make_person

__all__ = ["committed", "english", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

PRICE = 35_000_000
COST = 31_500_000
HAND = Entry((Code("HAND-1"),), "receipt 17", 29_500_000)
NO_CODE = Entry((), "receipt 17", 29_500_000)


@dataclass(frozen=True, slots=True)
class Crew:
    """A shop with two people who may decide, one who may not, and the owner of another shop."""

    shop: Shop
    olga: User
    omar: User
    vera: User
    sam: User


@pytest.fixture
def crew(stage: Stage) -> Iterator[Crew]:
    shop, other = make_shop(stage.url), make_shop(stage.url)
    yield Crew(
        shop,
        make_person("olga", shop.tenant, "owner"),
        make_person("omar", shop.tenant, "operator"),
        make_person("vera", shop.tenant, "viewer"),
        make_person("sam", other.tenant, "owner"),
    )
    assert check_money().problems == []


def limit(crew: Crew, above: str) -> None:
    """From this amount on two people decide."""
    people.set_confirm_limit(crew.olga, crew.shop.tenant.pk, "TRY", above, clock.now())


def second_route(stage: Stage, shop: Shop, **account: Any) -> Integration:
    """Another account at the same panel, as the second route of the package."""
    integration = make_integration(shop.tenant, stage.url)
    Integration.objects.filter(pk=integration.pk).update(**account)
    add_route(shop.package, integration, position=2)
    return integration


def waiting_after_refusal(stage: Stage, crew: Crew) -> Order:
    """Refused once for certain; the second route is paused, so the units are free and wait."""
    second_route(stage, crew.shop, paused_until=clock.now() + timedelta(hours=20))
    order = stage.order(crew.shop, place="refuse", refuse_class="product", times=1)
    try_auto_dispatch(order.pk)
    return order


def in_doubt(stage: Stage, shop: Shop, *, quantity: int = 1, **fate: Any) -> Order:
    """Sent, and no certain answer came; the panel does not show it for ten days."""
    given = {"place": "accept_then_500", "visible_after_s": 864_000.0, **fate}
    order = stage.order(shop, quantity=quantity, **given)
    assert try_auto_dispatch(order.pk).said == "in_doubt"
    stage.move(120)
    return order


def attempt_of(order: Order) -> Attempt:
    """The order's first attempt."""
    return Attempt.objects.filter(order=order).order_by("id")[0]


def last_event(order: Order) -> OrderEvent:
    return OrderEvent.objects.filter(order=order).latest("id")


def stop(crew: Crew, order: Order, then: str = "release", actor: User | None = None, **more: Any) -> decisions.Decided:
    return decisions.stop_waiting(
        order.pk,
        actor or crew.omar,
        "they do not answer",
        clock.now(),
        attempt_id=attempt_of(order).pk,
        then=then,
        **more,
    )


def confirmed(crew: Crew, decided: decisions.Decided) -> Approval:
    """Asked by omar, confirmed by olga."""
    assert decided.approval is not None
    return decisions.confirm(decided.approval.pk, crew.olga, clock.now())


def watch(stage: Stage, order: Order, seconds: float) -> None:
    """Go on, and ask whenever something is due."""
    ends_at = clock.now() + timedelta(seconds=seconds)
    while due_of(order) and due_of(order)[0][1] <= ends_at:
        stage.move_to(due_of(order)[0][1])
        monitoring.sweep()


def hear(order: Order, outcome: Outcome, *values: str) -> None:
    """The panel says this of the order's first attempt."""
    attempt = attempt_of(order)
    said = Result(outcome, attempt.reference, codes=tuple(Code(value) for value in values))
    outcomes.apply([News(attempt.pk, attempt.order_id, "status", said, None, clock.now(), 0, attempt.send_no)])


# --- who


class TestAnybody:
    CALLS: dict[str, Callable[[Order, User], object]] = {
        "release": lambda o, who: decisions.release(o.pk, who, "why", clock.now()),
        "stop_waiting": lambda o, who: decisions.stop_waiting(
            o.pk, who, "why", clock.now(), attempt_id=0, then="release"
        ),
        "deliver_by_hand": lambda o, who: decisions.deliver_by_hand(o.pk, who, "why", clock.now(), entry=HAND),
        "send_elsewhere": lambda o, who: decisions.send_elsewhere(o.pk, who, "why", clock.now(), route_id=0),
        "accept_late": lambda o, who: decisions.accept_late(o.pk, who, "why", clock.now(), case_id=0),
        "reverse": lambda o, who: decisions.reverse(o.pk, who, "why", clock.now(), case_id=0),
        "release_codes": lambda o, who: decisions.release_codes(o.pk, who, "why", clock.now(), case_id=0),
        "resolve": lambda o, who: decisions.resolve(o.pk, who, "why", clock.now(), attempt_id=0, truth="open"),
        "give_back": lambda o, who: decisions.give_back(o.pk, who, "why", clock.now()),
        "assign_review": lambda o, who: decisions.assign_review(o.pk, who, "why", clock.now(), to=who),
        "snooze_review": lambda o, who: decisions.snooze_review(o.pk, who, "why", clock.now(), until=clock.now()),
        "claim_case": lambda o, who: decisions.claim_case(o.pk, who, "why", clock.now(), case_id=0),
        "assign_case": lambda o, who: decisions.assign_case(o.pk, who, "why", clock.now(), case_id=0, to=who),
        "snooze_case": lambda o, who: decisions.snooze_case(
            o.pk, who, "why", clock.now(), case_id=0, until=clock.now()
        ),
        "close_case": lambda o, who: decisions.close_case(o.pk, who, "why", clock.now(), case_id=0),
    }

    @pytest.mark.parametrize("name", CALLS)
    def test_who_looks_or_has_another_shop_decides_nothing(self, crew: Crew, name: str) -> None:
        order = order_from(crew.shop)
        with pytest.raises(NotAllowed):
            self.CALLS[name](order, crew.vera)
        with pytest.raises(NotFound):
            self.CALLS[name](order, crew.sam)
        User.objects.filter(pk=crew.omar.pk).update(is_active=False)
        with pytest.raises(NotFound):
            self.CALLS[name](order, User.objects.get(pk=crew.omar.pk))
        assert story_of(order) == ["created"]

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 201, "two\nlines"])
    def test_must_give_a_reason(self, crew: Crew, reason: str) -> None:
        order = order_from(crew.shop)
        with pytest.raises(BadInput) as refused:
            decisions.release(order.pk, crew.omar, reason, clock.now())
        assert refused.value.field == "reason"
        assert sums_of(order) == {"hold": PRICE}

    def test_finds_every_decision_that_may_wait_in_the_table(self) -> None:
        assert set(ACTS) == set(Approval.Action)


# --- release


def release(crew: Crew, order: Order) -> decisions.Decided:
    return decisions.release(order.pk, crew.omar, "customer asked", clock.now())


class TestReleasing:
    def test_cancels_an_order_that_was_never_sent(self, crew: Crew, stage: Stage) -> None:
        order = order_from(crew.shop)
        assert release(crew, order).is_done
        assert standing_of(order) == ("cancelled", "not_sent", "")
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        assert ledger.balance_of(order.customer_id, "TRY").micros == 1000_000_000
        assert due_of(order) == []
        told = last_event(order)
        assert (told.kind, told.actor, told.data["why"], told.data["control"]) == (
            "cancelled",
            "omar",
            "customer asked",
            "one",
        )
        assert Transfer.objects.get(kind="release").actor == "omar"
        assert list(OutboxEvent.objects.order_by("id").values_list("kind", flat=True))[-1] == "order.cancelled"
        stage.run_until_quiet()
        assert stage.truth("asked") == []
        check_invariants(stage)

    def test_rests_on_the_certain_refusal_of_what_was_sent(self, crew: Crew, stage: Stage) -> None:
        order = waiting_after_refusal(stage, crew)
        assert standing_of(order)[:2] == ("pending", "failed")
        release(crew, order)
        assert standing_of(order) == ("cancelled", "failed", "")
        evidence = Evidence.objects.get(verb="person")
        assert (evidence.outcome, evidence.detail, evidence.attempt) == ("released", "omar", attempt_of(order))
        assert f"evidence {evidence.pk}" in Transfer.objects.get(kind="release").reason
        check_invariants(stage)

    def test_gives_back_the_free_units_alone(self, crew: Crew, stage: Stage) -> None:
        second_route(stage, crew.shop, paused_until=clock.now() + timedelta(hours=20))
        order = stage.order(crew.shop, quantity=2)
        try_auto_dispatch(order.pk)
        stage.simulator.set_fate(recipient=order.user_identifier, place="refuse", refuse_class="product", times=1)
        stage.run_until_quiet(for_s=600)
        assert sums_of(order) == {"hold": 2 * PRICE, "capture": PRICE, "cost": COST}
        release(crew, order)
        assert standing_of(order)[0] == "partial"
        assert sorted(status for _, status in iter_units(order)) == ["captured", "released"]
        check_invariants(stage)

    def test_rejects_an_order_that_waited_past_its_deadline(self, crew: Crew, stage: Stage) -> None:
        order = waiting_after_refusal(stage, crew)
        stage.move(25 * 3600)
        monitoring.sweep()
        assert standing_of(order)[::2] == ("review", "waiting:deadline")
        release(crew, order)
        assert standing_of(order)[0] == "rejected"
        check_invariants(stage)

    @pytest.mark.parametrize(
        "fate",
        [
            {"final": "never"},
            {"place": "accept_then_500", "visible_after_s": 864_000.0},
            {"pin_late_s": 864_000.0},
        ],
        ids=["accepted", "in doubt", "waiting for its pin"],
    )
    def test_is_refused_while_an_attempt_holds_the_unit(self, crew: Crew, stage: Stage, fate: dict[str, Any]) -> None:
        """M2."""
        order = stage.order(crew.shop, **fate)
        monitoring.sweep()
        watch(stage, order, 300)
        before = (standing_of(order), sums_of(order))
        with pytest.raises(NotPossible):
            release(crew, order)
        assert (standing_of(order), sums_of(order)) == before

    def test_waits_for_a_failure_that_may_still_turn(self, crew: Crew, stage: Stage) -> None:
        second_route(stage, crew.shop, paused_until=clock.now() + timedelta(hours=20))
        order = stage.order(crew.shop, final="cancelled")
        try_auto_dispatch(order.pk)
        watch(stage, order, 300)
        assert (standing_of(order)[0], attempt_of(order).state) == ("pending", "failed")
        options = crew.shop.integration.options | {"failed_final_after_s": 3600}
        Integration.objects.filter(pk=crew.shop.integration.pk).update(options=options)
        with pytest.raises(NotPossible):
            release(crew, order)
        stage.move(3600)
        assert release(crew, order).is_done

    def test_twice_gives_back_once(self, crew: Crew) -> None:
        order = order_from(crew.shop)
        release(crew, order)
        with pytest.raises(NotPossible):
            release(crew, order)
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}


# --- stop waiting


class TestStoppingToWait:
    def test_needs_two_and_then_gives_the_money_back(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        asked = stop(crew, order)
        assert not asked.is_done
        assert attempt_of(order).state == "in_doubt"
        assert sums_of(order) == {"hold": PRICE}
        assert confirmed(crew, asked).status == "done"
        assert standing_of(order) == ("rejected", "unknown", "")
        assert attempt_of(order).state == "abandoned"
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        assert due_of(order) == [("watch", clock.now() + timedelta(seconds=600))]
        told = last_event(order)
        assert (told.kind, told.actor, told.data["control"]) == ("stopped_waiting", "omar + olga", "two")
        assert told.evidence is not None
        assert (told.evidence.verb, told.evidence.outcome) == ("person", "abandoned")
        check_invariants()

    def test_is_not_confirmed_by_who_asked_or_who_only_looks(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        approval = stop(crew, order).approval
        assert approval is not None
        for person, error in ((crew.omar, SecondPersonNeeded), (crew.vera, NotAllowed), (crew.sam, NotFound)):
            with pytest.raises(error):
                decisions.confirm(approval.pk, person, clock.now())
        assert attempt_of(order).state == "in_doubt"

    def test_confirmed_twice_is_done_once(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        asked = stop(crew, order)
        confirmed(crew, asked)
        confirmed(crew, asked)
        root = User.objects.create_superuser("root", password=PASSWORD)
        with pytest.raises(AlreadyDecided):
            decisions.confirm(asked.approval.pk if asked.approval else 0, root, clock.now())
        assert story_of(order).count("stopped_waiting") == 1

    def test_declined_changes_nothing(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        asked = stop(crew, order)
        assert asked.approval is not None
        decisions.decline(asked.approval.pk, crew.olga, clock.now())
        with pytest.raises(AlreadyDecided):
            decisions.confirm(asked.approval.pk, crew.olga, clock.now())
        assert attempt_of(order).state == "in_doubt"
        assert last_event(order).kind == "approval_declined"
        again = stop(crew, order)
        assert again.approval is not None
        decisions.decline(again.approval.pk, crew.omar, clock.now())  # taken back by who asked

    def test_is_asked_for_once_at_a_time(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        asked = stop(crew, order)
        with pytest.raises(AlreadyAsked) as refused:
            stop(crew, order, actor=crew.olga)
        assert refused.value.approval == asked.approval

    def test_is_not_confirmed_when_the_provider_has_answered_meanwhile(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop, visible_after_s=300.0)
        asked = stop(crew, order)
        watch(stage, order, 900)
        assert standing_of(order)[0] == "completed"
        with pytest.raises(NotPossible):
            confirmed(crew, asked)
        assert asked.approval is not None
        asked.approval.refresh_from_db()
        assert asked.approval.status == "pending"
        check_invariants(stage)

    def test_is_not_confirmed_for_who_has_lost_the_right(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        asked = stop(crew, order)
        crew.omar.memberships.update(role="viewer")
        with pytest.raises(NotPossible):
            confirmed(crew, asked)

    def test_is_not_confirmed_for_another_amount(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        asked = stop(crew, order)
        Approval.objects.update(amount_micros=1)
        with pytest.raises(NotPossible):
            confirmed(crew, asked)

    def test_lets_the_next_route_buy(self, crew: Crew, stage: Stage) -> None:
        second_route(stage, crew.shop)
        order = in_doubt(stage, crew.shop, times=1)
        confirmed(crew, stop(crew, order, "next_route"))
        assert standing_of(order)[::2] == ("pending", "waiting:next_route")
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        assert Attempt.objects.filter(order=order).count() == 2
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST}

    def test_gives_an_old_order_a_day_for_the_next_route(self, crew: Crew, stage: Stage) -> None:
        second_route(stage, crew.shop)
        order = in_doubt(stage, crew.shop, times=1)
        watch(stage, order, 26 * 3600)
        assert standing_of(order)[0] == "review"
        confirmed(crew, stop(crew, order, "next_route"))
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"

    def test_finds_no_next_route_where_there_is_none(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        with pytest.raises(NotPossible):
            stop(crew, order, "next_route")

    def test_is_for_open_attempts_that_are_not_on_their_way(self, crew: Crew, stage: Stage) -> None:
        fresh = stage.order(crew.shop, place="accept_then_500")
        try_auto_dispatch(fresh.pk)
        Attempt.objects.filter(order=fresh).update(answered_at=None)
        with pytest.raises(NotPossible):
            stop(crew, fresh)
        done = stage.order(crew.shop)
        stage.run_until_quiet()
        with pytest.raises(NotPossible):
            stop(crew, done)
        with pytest.raises(BadInput):
            stop(crew, done, "burn")

    def test_is_not_for_a_delivery_that_waits_for_its_pin(self, crew: Crew, stage: Stage) -> None:
        order = stage.order(crew.shop, pin_late_s=864_000.0)
        monitoring.sweep()
        watch(stage, order, 300)
        with pytest.raises(NotPossible):
            stop(crew, order)

    def test_is_not_for_what_a_person_works_on_by_hand(self, crew: Crew, stage: Stage) -> None:
        limit(crew, "10")
        order = order_from(crew.shop)
        by_hand(crew, order)
        stage.move(60)
        with pytest.raises(NotPossible):
            stop(crew, order)

    def test_is_about_an_attempt_of_its_own_order(self, crew: Crew, stage: Stage) -> None:
        order, other = in_doubt(stage, crew.shop), in_doubt(stage, crew.shop)
        with pytest.raises(NotFound):
            decisions.stop_waiting(
                order.pk, crew.omar, "x", clock.now(), attempt_id=attempt_of(other).pk, then="release"
            )

    def test_keeps_an_order_in_review_while_another_attempt_is_in_doubt(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop, quantity=2)
        monitoring.sweep()
        watch(stage, order, 3 * 3600)
        assert standing_of(order)[::2] == ("review", "waiting:in_doubt")
        assert Attempt.objects.filter(order=order, state="in_doubt").count() == 2
        confirmed(crew, stop(crew, order))
        assert standing_of(order)[::2] == ("review", "waiting:in_doubt")
        assert sums_of(order) == {"hold": 2 * PRICE, "release": PRICE}
        check_invariants()


class TestADeliveryAfterAll:
    """V7: what comes after a person has given it up is surplus."""

    def given_up(self, crew: Crew, stage: Stage, **fate: Any) -> Order:
        order = in_doubt(stage, crew.shop, **{"visible_after_s": 7200.0, **fate})
        confirmed(crew, stop(crew, order))
        return order

    def test_is_asked_for_at_the_cap_and_quarantined(self, crew: Crew, stage: Stage) -> None:
        order = self.given_up(crew, stage, pin="TOO-LATE")
        questions = stage.questions()
        watch(stage, order, 3600)
        assert stage.questions() - questions == 6
        watch(stage, order, 7200)
        attempt = attempt_of(order)
        assert (attempt.state, attempt.is_surplus) == ("delivered", True)
        assert [code.is_quarantined for code in OrderCode.objects.filter(order=order)] == [True]
        assert pins_of(order) == []
        assert sums_of(order) == {"hold": PRICE, "release": PRICE, "late_cost": COST}
        assert Case.objects.get(order=order).reason == "late_delivery"
        assert standing_of(order)[0] == "rejected"
        check_invariants(stage)

    def test_beside_what_the_next_route_bought_costs_us_and_not_the_customer(self, crew: Crew, stage: Stage) -> None:
        second_route(stage, crew.shop)
        order = in_doubt(stage, crew.shop, times=1, visible_after_s=7200.0, pin="TOO-LATE")
        confirmed(crew, stop(crew, order, "next_route"))
        watch(stage, order, 10800)
        assert standing_of(order)[0] == "completed"
        assert "TOO-LATE" not in pins_of(order)
        assert len(pins_of(order)) == 1
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST, "late_cost": COST}
        check_invariants(stage)

    def test_is_waited_for_until_the_provider_forgets(self, crew: Crew, stage: Stage) -> None:
        order = self.given_up(crew, stage, visible_after_s=8_640_000.0)
        stage.move(30 * 86400 - 1200)
        monitoring.sweep()
        assert [kind for kind, _ in due_of(order)] == ["watch"]
        watch(stage, order, 3600)
        assert due_of(order) == []
        assert attempt_of(order).state == "abandoned"


class TestTheOnlyPersonOfAShop:
    @pytest.fixture
    def alone(self, crew: Crew) -> Crew:
        crew.omar.memberships.all().delete()
        return crew

    def doubt(self, crew: Crew, stage: Stage, hours: int = 25) -> Order:
        order = in_doubt(stage, crew.shop)
        stage.move(hours * 3600)
        return order

    def test_stops_waiting_with_password_and_amount(self, alone: Crew, stage: Stage) -> None:
        order = self.doubt(alone, stage)
        assert stop(alone, order, actor=alone.olga, alone=Alone(PASSWORD, "35")).is_done
        assert attempt_of(order).state == "abandoned"
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        approval = Approval.objects.get()
        assert (approval.is_single, approval.status, approval.decided_by) == (True, "done", alone.olga)
        assert last_event(order).data["control"] == "single"

    def test_waits_a_day_first(self, alone: Crew, stage: Stage) -> None:
        order = self.doubt(alone, stage, hours=23)
        with pytest.raises(TooEarly):
            stop(alone, order, actor=alone.olga, alone=Alone(PASSWORD, "35"))
        stage.move(3600)
        assert stop(alone, order, actor=alone.olga, alone=Alone(PASSWORD, "35")).is_done

    @pytest.mark.parametrize(
        ("proof", "error"),
        [
            (None, SecondPersonNeeded),
            (Alone("wrong", "35"), BadInput),
            (Alone(PASSWORD, "34.99"), BadInput),
            (Alone(PASSWORD, ""), BadInput),
        ],
    )
    def test_must_prove_it(self, alone: Crew, stage: Stage, proof: Alone | None, error: type[DecisionRefused]) -> None:
        order = self.doubt(alone, stage)
        with pytest.raises(error):
            stop(alone, order, actor=alone.olga, alone=proof)
        assert attempt_of(order).state == "in_doubt"
        assert not Approval.objects.exists()

    def test_must_be_its_owner(self, alone: Crew, stage: Stage) -> None:
        alone.olga.memberships.update(role="operator")
        order = self.doubt(alone, stage)
        with pytest.raises(NotAllowed):
            stop(alone, order, actor=alone.olga, alone=Alone(PASSWORD, "35"))

    def test_is_not_one_of_two(self, crew: Crew, stage: Stage) -> None:
        order = self.doubt(crew, stage)
        with pytest.raises(SecondPersonNeeded):
            stop(crew, order, actor=crew.olga, alone=Alone(PASSWORD, "35"))
        assert attempt_of(order).state == "in_doubt"

    def test_counts_nobody_who_cannot_sign_in(self, crew: Crew, stage: Stage) -> None:
        order = self.doubt(crew, stage)
        User.objects.filter(pk=crew.omar.pk).update(is_active=False)
        assert stop(crew, order, actor=crew.olga, alone=Alone(PASSWORD, "35.00")).is_done

    def test_decides_alone_above_the_limit_without_waiting(self, alone: Crew) -> None:
        limit(alone, "10")
        order = order_from(alone.shop)
        with pytest.raises(SecondPersonNeeded):
            decisions.release(order.pk, alone.olga, "why", clock.now())
        assert decisions.release(order.pk, alone.olga, "why", clock.now(), alone=Alone(PASSWORD, "35")).is_done
        assert standing_of(order)[0] == "cancelled"


# --- by hand


def by_hand(crew: Crew, order: Order, entry: Entry = HAND, attempt: Attempt | None = None) -> decisions.Decided:
    return decisions.deliver_by_hand(
        order.pk, crew.omar, "bought in town", clock.now(), entry=entry, attempt_id=attempt.pk if attempt else None
    )


class TestDeliveringByHand:
    def test_delivers_what_was_never_sent(self, crew: Crew, stage: Stage) -> None:
        order = order_from(crew.shop)
        assert by_hand(crew, order).is_done
        assert standing_of(order) == ("completed", "completed", "")
        assert pins_of(order) == ["HAND-1"]
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": 29_500_000}
        account = Integration.objects.get(kind="manual")
        assert (account.name, account.tenant, account.currency) == ("By hand", crew.shop.tenant, "TRY")
        assert due_of(order) == []
        told = OrderEvent.objects.filter(order=order, cause="person").order_by("id")
        assert list(told.values_list("kind", "actor")) == [("taken_by_hand", "omar"), ("delivered", "omar")]
        assert told[1].data["provider_words"] == "receipt 17"
        assert "HAND-1" not in str(list(OrderEvent.objects.values_list("data", flat=True)))
        stage.run_until_quiet()
        assert stage.truth("asked") == []  # M9
        check_invariants()

    def test_uses_the_account_that_is_there_for_every_free_unit(self, crew: Crew, stage: Stage) -> None:
        account = make_account(crew.shop.tenant, "manual")
        order = order_from(crew.shop, quantity=2)
        by_hand(crew, order, Entry((Code("HAND-1"), Code("HAND-2")), "", 1))
        attempt = Attempt.objects.get(order=order)
        assert (attempt.integration, AttemptUnit.objects.filter(attempt=attempt).count()) == (account, 2)
        assert standing_of(order)[0] == "completed"

    def test_makes_its_account_beside_another_of_that_name(self, crew: Crew) -> None:
        Integration.objects.filter(pk=crew.shop.integration.pk).update(name="By hand")
        by_hand(crew, order_from(crew.shop))
        assert Integration.objects.get(kind="manual").name == "By hand TRY"

    def test_tells_what_the_provider_said_by_telephone(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        by_hand(crew, order, attempt=attempt_of(order))
        assert standing_of(order) == ("completed", "completed", "")
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": 29_500_000}
        assert Evidence.objects.get(verb="person").outcome == "completed"
        assert Attempt.objects.filter(order=order).count() == 1
        check_invariants()

    def test_brings_the_pin_that_never_came(self, crew: Crew, stage: Stage) -> None:
        order = stage.order(crew.shop, pin_late_s=864_000.0)
        monitoring.sweep()
        watch(stage, order, 300)
        assert standing_of(order)[::2] == ("processing", "waiting:pin")
        by_hand(crew, order, attempt=attempt_of(order))
        assert standing_of(order)[0] == "completed"
        assert pins_of(order) == ["HAND-1"]
        check_invariants()

    @pytest.mark.parametrize(
        ("entry", "field", "unit"),
        [
            (Entry((), "", 0), "codes_missing", 0),
            (Entry((Code("A"),), "", 0), "codes_missing", 0),
            (Entry((Code("A"), Code(" ")), "", 0), "codes_missing", 2),
            (Entry((Code("A"), Code("A")), "", 0), "code_twice", 2),
            (Entry((Code("A1"), Code("B1")), "saw B1", 0), "code_in_proof", 2),
            (Entry((Code("A"), Code("B")), "", -1), "cost_negative", 0),
            (Entry((Code("A"), Code("B")), "x" * 301, 0), "text_too_long", 0),
        ],
    )
    def test_must_be_entered_in_full(self, crew: Crew, entry: Entry, field: str, unit: int) -> None:
        order = order_from(crew.shop, quantity=2)
        with pytest.raises(BadInput) as refused:
            by_hand(crew, order, entry)
        assert (refused.value.field, refused.value.unit) == (field, unit)
        assert story_of(order) == ["created"]

    def test_needs_a_proof_where_there_are_no_codes(self, stage: Stage, crew: Crew) -> None:
        shop = make_shop(stage.url, needs_code=False)
        ann = make_person("ann", shop.tenant)
        order = order_from(shop)
        with pytest.raises(BadInput) as refused:
            decisions.deliver_by_hand(order.pk, ann, "why", clock.now(), entry=Entry())
        assert refused.value.field == "proof_missing"
        decisions.deliver_by_hand(order.pk, ann, "why", clock.now(), entry=NO_CODE)
        assert standing_of(order)[0] == "completed"

    def test_asks_before_a_code_is_sold_again(self, crew: Crew) -> None:
        by_hand(crew, order_from(crew.shop))
        order = order_from(crew.shop)
        with pytest.raises(CodeKnown):
            by_hand(crew, order)
        assert sums_of(order) == {"hold": PRICE}
        by_hand(crew, order, Entry(HAND.codes, "", 0, is_known_fine=True))
        assert standing_of(order)[0] == "completed"
        case = Case.objects.get(order=order)
        assert case.reason == "code_sold_twice"
        with pytest.raises(NotPossible):  # it asks something else
            decisions.reverse(order.pk, crew.omar, "x", clock.now(), case_id=case.pk)
        decisions.close_case(order.pk, crew.omar, "on purpose", clock.now(), case_id=case.pk)

    def test_is_refused_where_nothing_is_free_or_held(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        with pytest.raises(NotPossible):
            by_hand(crew, order)  # the provider may have bought it
        done = stage.order(crew.shop)
        stage.run_until_quiet(for_s=600)
        with pytest.raises(NotPossible):
            by_hand(crew, done, attempt=attempt_of(done))
        assert pins_of(done) != ["HAND-1"]


class TestAHandDeliveryAboveTheLimit:
    def asked(self, crew: Crew) -> tuple[Order, Approval]:
        limit(crew, "10")
        order = order_from(crew.shop)
        approval = by_hand(crew, order).approval
        assert approval is not None
        return order, approval

    def test_is_held_until_a_second_person_confirms(self, crew: Crew, stage: Stage) -> None:
        order, approval = self.asked(crew)
        assert standing_of(order) == ("processing", "sent", "")
        assert try_auto_dispatch(order.pk).said == "dispatched_already"
        monitoring.sweep()
        assert stage.truth("asked") == []  # M9
        assert "HAND-1" not in approval.sealed_entry
        assert sums_of(order) == {"hold": PRICE}
        check_invariants()
        decisions.confirm(approval.pk, crew.olga, clock.now())
        assert pins_of(order) == ["HAND-1"]
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": 29_500_000}
        assert last_event(order).actor == "omar + olga"
        check_invariants()

    def test_is_in_nobodys_queue_until_it_is_declined(self, crew: Crew) -> None:
        order, approval = self.asked(crew)
        assert manual.load_tasks([crew.shop.tenant.pk]) == []
        decisions.decline(approval.pk, crew.olga, clock.now())
        assert [task.order for task in manual.load_tasks([crew.shop.tenant.pk])] == [order]
        assert standing_of(order)[0] == "processing"

    def test_keeps_every_part_of_a_code(self, crew: Crew) -> None:
        limit(crew, "10")
        order = order_from(crew.shop)
        code = Code("C", "serial", "pin", "https://x.test/1", clock.now().date())
        approval = by_hand(crew, order, Entry((code,), "", 0)).approval
        assert approval is not None
        decisions.confirm(approval.pk, crew.olga, clock.now())
        assert OrderCode.objects.get(order=order).reveal() == {
            "value": "C",
            "serial": "serial",
            "pin": "pin",
            "url": "https://x.test/1",
            "expires": clock.now().date().isoformat(),
        }


# --- elsewhere


def send(crew: Crew, order: Order, route_id: int) -> None:
    decisions.send_elsewhere(order.pk, crew.omar, "their list was wrong", clock.now(), route_id=route_id)


class TestSendingElsewhere:
    def test_takes_the_route_that_was_named_and_leaves_the_routes_alone(self, crew: Crew, stage: Stage) -> None:
        other = second_route(stage, crew.shop)
        order = order_from(crew.shop)
        route = crew.shop.package.routes.get(integration=other)
        before = list(crew.shop.package.routes.values())
        send(crew, order, route.pk)
        monitoring.sweep()
        attempt = attempt_of(order)
        assert (attempt.integration, attempt.route) == (other, route)
        order.refresh_from_db()
        assert order.next_route is None
        assert list(crew.shop.package.routes.values()) == before
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        check_invariants(stage)

    def test_tries_again_what_was_refused_once_and_no_more(self, crew: Crew, stage: Stage) -> None:
        order = waiting_after_refusal(stage, crew)
        stage.simulator.set_fate(recipient=order.user_identifier, place="refuse", refuse_class="product", times=1)
        send(crew, order, crew.shop.route.pk)
        for _ in range(5):
            monitoring.sweep()
            stage.move(61)
        assert Attempt.objects.filter(order=order, integration=crew.shop.integration).count() == 2
        assert standing_of(order)[0] == "pending"
        send(crew, order, crew.shop.route.pk)
        stage.run_until_quiet(for_s=600)
        assert standing_of(order)[0] == "completed"
        check_invariants(stage)

    def test_lets_an_order_past_its_deadline_go(self, crew: Crew, stage: Stage) -> None:
        order = waiting_after_refusal(stage, crew)
        stage.move(25 * 3600)
        monitoring.sweep()
        assert standing_of(order)[0] == "review"
        send(crew, order, crew.shop.route.pk)
        stage.run_until_quiet(for_s=600)
        assert standing_of(order)[0] == "completed"
        check_invariants(stage)

    def test_waits_while_the_account_is_paused(self, crew: Crew, stage: Stage) -> None:
        other = second_route(stage, crew.shop, paused_until=clock.now() + timedelta(hours=1))
        order = order_from(crew.shop)
        send(crew, order, crew.shop.package.routes.get(integration=other).pk)
        monitoring.sweep()
        assert standing_of(order)[::2] == ("pending", "waiting:provider_paused")
        stage.move(3700)
        monitoring.sweep()
        assert attempt_of(order).integration == other

    def test_is_refused_while_the_provider_may_have_bought_it(self, crew: Crew, stage: Stage) -> None:
        second_route(stage, crew.shop)
        order = in_doubt(stage, crew.shop)
        with pytest.raises(NotPossible):
            send(crew, order, crew.shop.route.pk)
        assert Attempt.objects.filter(order=order).count() == 1

    @pytest.mark.parametrize("fault", ["unknown", "foreign", "off", "account off", "unmapped", "loss"])
    def test_names_a_route_that_can_take_it(self, crew: Crew, stage: Stage, fault: str) -> None:
        route, order = crew.shop.route, order_from(crew.shop)
        route_id = {"unknown": 0, "foreign": make_shop(stage.url).route.pk}.get(fault, route.pk)
        if fault == "off":
            crew.shop.package.routes.update(is_enabled=False)
        if fault == "account off":
            crew.shop.package.tenant.integrations.update(is_enabled=False)
        if fault == "unmapped":
            crew.shop.package.mappings.all().delete()
        if fault == "loss":
            crew.shop.package.mappings.update(cost_micros=PRICE + 1)
        with pytest.raises(BadInput if fault in ("unknown", "foreign", "off") else NotPossible) as refused:
            send(crew, order, route_id)
        assert ("loss guard" in str(refused.value)) == (fault == "loss")
        order.refresh_from_db()
        assert order.next_route is None


# --- cases


def late(crew: Crew, stage: Stage, **fate: Any) -> tuple[Order, Case]:
    """Failed for certain, released, and delivered afterwards."""
    order = stage.order(crew.shop, final="cancelled", flip_to_delivered_after_s=1000, pin="TOO-LATE", **fate)
    monitoring.sweep()
    watch(stage, order, 3000)
    return order, Case.objects.get(order=order, reason="late_delivery")


def accept(crew: Crew, order: Order, case: Case) -> decisions.Decided:
    return decisions.accept_late(order.pk, crew.omar, "she wants it", clock.now(), case_id=case.pk)


class TestALateDelivery:
    def test_is_charged_and_its_code_shown(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        assert pins_of(order) == []
        accept(crew, order, case)
        assert pins_of(order) == ["TOO-LATE"]
        assert sums_of(order) == {"hold": PRICE, "release": PRICE, "late_cost": COST, "late_sale": PRICE}
        assert ledger.balance_of(order.customer_id, "TRY").micros == 965_000_000
        assert standing_of(order)[0] == "rejected"
        case.refresh_from_db()
        assert (case.resolution, case.closed_by, case.close_reason) == ("charged", crew.omar, "she wants it")
        delivery = OrderEvent.objects.get(order=order, kind="late_delivery")
        assert f":evidence:{delivery.evidence_id}" in Transfer.objects.get(kind="late_sale").key
        check_invariants(stage)

    def test_is_charged_once(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        accept(crew, order, case)
        with pytest.raises(AlreadyDecided):
            accept(crew, order, case)
        assert sums_of(order)["late_sale"] == PRICE

    def test_is_not_charged_to_an_empty_wallet(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        ledger.withdrawal(
            order.tenant_id,
            order.customer_id,
            ledger.balance_of(order.customer_id, "TRY"),
            key="empty",
            reason="x",
            actor="x",
            now=clock.now(),
        )
        with pytest.raises(NotCovered):
            accept(crew, order, case)
        case.refresh_from_db()
        assert (case.closed_at, pins_of(order)) == (None, [])

    def test_is_not_charged_beside_what_another_route_brought(self, crew: Crew, stage: Stage) -> None:
        second_route(stage, crew.shop)
        order, case = late(crew, stage, times=1)
        assert standing_of(order)[0] == "completed"
        with pytest.raises(NotPossible):
            accept(crew, order, case)
        decisions.close_case(order.pk, crew.omar, "our loss", clock.now(), case_id=case.pk)
        assert pins_of(order) != ["TOO-LATE"]

    def test_written_off_keeps_its_code_hidden(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        decisions.close_case(order.pk, crew.omar, "our loss", clock.now(), case_id=case.pk)
        case.refresh_from_db()
        assert (case.resolution, case.closed_by, case.close_reason) == ("left", crew.omar, "our loss")
        assert pins_of(order) == []
        with pytest.raises(AlreadyDecided):
            accept(crew, order, case)

    def test_whose_code_has_not_come_is_not_charged(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        confirmed(crew, stop(crew, order))
        hear(order, Outcome.COMPLETED)
        case = Case.objects.get(order=order)
        with pytest.raises(NotPossible):
            accept(crew, order, case)
        assert "late_sale" not in sums_of(order)

    def test_above_the_limit_is_charged_by_two(self, crew: Crew, stage: Stage) -> None:
        limit(crew, "10")
        order, case = late(crew, stage)
        asked = accept(crew, order, case)
        assert (asked.is_done, pins_of(order)) == (False, [])
        confirmed(crew, asked)
        case.refresh_from_db()
        assert (pins_of(order), case.closed_by) == (["TOO-LATE"], crew.olga)

    def test_shows_a_further_code_when_a_person_says_so(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        hear(order, Outcome.COMPLETED, "EVEN-LATER")
        second = Case.objects.get(order=order, reason="second_code")
        with pytest.raises(NotPossible):  # not paid yet
            decisions.release_codes(order.pk, crew.omar, "why", clock.now(), case_id=second.pk)
        accept(crew, order, case)
        assert sorted(pins_of(order)) == ["EVEN-LATER", "TOO-LATE"]
        decisions.close_case(order.pk, crew.omar, "both were shown", clock.now(), case_id=second.pk)

    def test_shows_a_code_that_came_after_it_was_paid(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        accept(crew, order, case)
        hear(order, Outcome.COMPLETED, "EVEN-LATER")
        second = Case.objects.get(order=order, reason="second_code")
        assert pins_of(order) == ["TOO-LATE"]
        decisions.release_codes(order.pk, crew.omar, "a spare", clock.now(), case_id=second.pk)
        assert pins_of(order) == ["TOO-LATE", "EVEN-LATER"]
        second.refresh_from_db()
        assert second.resolution == "codes_released"


class TestAReversal:
    def reversed_order(self, crew: Crew, stage: Stage, quantity: int = 1) -> tuple[Order, Case]:
        order = stage.order(crew.shop, quantity=quantity)
        stage.run_until_quiet(for_s=600)
        hear(order, Outcome.REVERSED)
        return order, Case.objects.get(order=order, reason="reversal")

    def test_gives_the_customer_the_money_back_once(self, crew: Crew, stage: Stage) -> None:
        order, case = self.reversed_order(crew, stage)
        assert standing_of(order)[0] == "completed"
        decisions.reverse(order.pk, crew.omar, "they took it back", clock.now(), case_id=case.pk)
        assert standing_of(order)[0] == "refunded"
        assert sums_of(order)["sale_reversal"] == PRICE
        with pytest.raises(AlreadyDecided):
            decisions.reverse(order.pk, crew.omar, "again", clock.now(), case_id=case.pk)
        assert not decisions.refund(order.pk, "olga", "x", clock.now())
        check_invariants()

    def test_of_one_unit_leaves_the_other_sold(self, crew: Crew, stage: Stage) -> None:
        order, case = self.reversed_order(crew, stage, quantity=2)
        decisions.reverse(order.pk, crew.omar, "one came back", clock.now(), case_id=case.pk)
        assert standing_of(order)[0] == "completed"
        order.refresh_from_db()
        assert order.captured_micros == PRICE
        assert check_money().problems == []
        assert decisions.refund(order.pk, "olga", "the rest too", clock.now())
        assert standing_of(order)[0] == "refunded"
        assert sums_of(order)["sale_reversal"] == 2 * PRICE
        order.refresh_from_db()
        assert order.captured_micros == 0

    def test_can_stay_with_the_shop(self, crew: Crew, stage: Stage) -> None:
        order, case = self.reversed_order(crew, stage)
        decisions.close_case(order.pk, crew.omar, "the code was used", clock.now(), case_id=case.pk)
        assert standing_of(order)[0] == "completed"
        assert "sale_reversal" not in sums_of(order)

    def test_after_a_refund_has_nothing_to_give(self, crew: Crew, stage: Stage) -> None:
        order, case = self.reversed_order(crew, stage)
        decisions.give_back(order.pk, crew.omar, "x", clock.now())
        with pytest.raises(NotPossible):
            decisions.reverse(order.pk, crew.omar, "x", clock.now(), case_id=case.pk)
        assert sums_of(order)["sale_reversal"] == PRICE

    def test_is_asked_by_its_own_case(self, crew: Crew, stage: Stage) -> None:
        order, case = self.reversed_order(crew, stage)
        with pytest.raises(NotPossible):
            accept(crew, order, case)
        with pytest.raises(NotFound):
            decisions.reverse(order_from(crew.shop).pk, crew.omar, "x", clock.now(), case_id=case.pk)


class TestACase:
    def test_is_claimed_by_one(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        for _ in range(2):
            decisions.claim_case(order.pk, crew.omar, "mine", clock.now(), case_id=case.pk)
        with pytest.raises(AlreadyDecided):
            decisions.claim_case(order.pk, crew.olga, "mine", clock.now(), case_id=case.pk)
        case.refresh_from_db()
        assert case.owner == crew.omar
        assert story_of(order).count("case_claimed") == 1

    def test_is_assigned_to_somebody_who_may_act(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        for person in (crew.vera, crew.sam):
            with pytest.raises(BadInput):
                decisions.assign_case(order.pk, crew.omar, "yours", clock.now(), case_id=case.pk, to=person)
        decisions.assign_case(order.pk, crew.omar, "yours", clock.now(), case_id=case.pk, to=crew.olga)
        case.refresh_from_db()
        assert case.owner == crew.olga
        assert last_event(order).data == {"case": "late_delivery", "why": "yours", "to": "olga"}

    @pytest.mark.parametrize(("days", "is_fine"), [(0, False), (1, True), (90, True), (91, False)])
    def test_rests_until_a_day_in_the_next_ninety(self, crew: Crew, stage: Stage, days: int, is_fine: bool) -> None:
        order, case = late(crew, stage)
        until = clock.now() + timedelta(days=days)
        try:
            decisions.snooze_case(order.pk, crew.omar, "later", clock.now(), case_id=case.pk, until=until)
        except BadInput:
            assert not is_fine
        case.refresh_from_db()
        assert case.snoozed_until == (until if is_fine else None)

    def test_closed_is_not_touched_again(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        decisions.close_case(order.pk, crew.omar, "done", clock.now(), case_id=case.pk)
        told = len(story_of(order))
        now = clock.now()
        with pytest.raises(AlreadyDecided):
            decisions.close_case(order.pk, crew.olga, "done", now, case_id=case.pk)
        with pytest.raises(AlreadyDecided):
            decisions.claim_case(order.pk, crew.olga, "mine", now, case_id=case.pk)
        with pytest.raises(AlreadyDecided):
            decisions.assign_case(order.pk, crew.olga, "yours", now, case_id=case.pk, to=crew.omar)
        with pytest.raises(AlreadyDecided):
            decisions.snooze_case(order.pk, crew.olga, "x", now, case_id=case.pk, until=now + timedelta(days=1))
        assert len(story_of(order)) == told


# --- contradictions


class TestAContradiction:
    def frozen(self, crew: Crew, stage: Stage) -> Order:
        """V9: cancelled, and yet a PIN came."""
        order = stage.order(crew.shop, final="never")
        try_auto_dispatch(order.pk)
        hear(order, Outcome.REJECTED, "ODD-1")
        assert standing_of(order)[::2] == ("review", "conflict:rejected")
        return order

    def resolve(self, crew: Crew, order: Order, truth: str, entry: Entry | None = None) -> decisions.Decided:
        return decisions.resolve(
            order.pk,
            crew.omar,
            "I called them",
            clock.now(),
            attempt_id=attempt_of(order).pk,
            truth=truth,
            entry=entry,
        )

    def test_that_was_delivered_is_captured_with_its_code(self, crew: Crew, stage: Stage) -> None:
        order = self.frozen(crew, stage)
        self.resolve(crew, order, "delivered")
        assert standing_of(order)[::2] == ("completed", "")
        assert pins_of(order) == ["ODD-1"]
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST}
        told = OrderEvent.objects.get(order=order, kind="conflict_resolved")
        assert (told.actor, told.data["truth"], told.data["why"]) == ("omar", "delivered", "I called them")
        assert told.evidence is not None
        assert told.evidence.verb == "person"
        kinds = list(OutboxEvent.objects.order_by("id").values_list("kind", flat=True))
        assert kinds[-2:] == ["order.held", "order.completed"]

    def test_that_was_not_delivered_is_released_and_its_code_hidden(self, crew: Crew, stage: Stage) -> None:
        order = self.frozen(crew, stage)
        self.resolve(crew, order, "not_delivered")
        assert standing_of(order) == ("rejected", "failed", "")
        assert pins_of(order) == []
        assert attempt_of(order).state == "failed"
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        assert due_of(order) == [("watch", clock.now() + timedelta(seconds=600))]  # ZNET's failures may turn
        check_invariants()

    def test_is_not_released_after_its_code_was_seen(self, crew: Crew, stage: Stage) -> None:
        order = self.frozen(crew, stage)
        decisions.reveal_codes(order, "omar", "panel", clock.now())
        with pytest.raises(NotPossible):
            self.resolve(crew, order, "not_delivered")
        assert sums_of(order) == {"hold": PRICE}

    def test_that_is_open_is_asked_about_again(self, crew: Crew, stage: Stage) -> None:
        order = self.frozen(crew, stage)
        self.resolve(crew, order, "open")
        assert standing_of(order)[::2] == ("processing", "")
        assert due_of(order) == [("check", clock.now())]
        check_invariants()

    def test_without_its_code_needs_one(self, crew: Crew, stage: Stage) -> None:
        order = stage.order(crew.shop, final="partial", delivered="1")
        Order.objects.filter(pk=order.pk).update(needs_code=True)
        try_auto_dispatch(order.pk)
        hear(order, Outcome.PARTIAL)
        assert standing_of(order)[::2] == ("review", "conflict:partial")
        with pytest.raises(BadInput):
            self.resolve(crew, order, "delivered")
        self.resolve(crew, order, "delivered", HAND)
        assert (standing_of(order)[0], pins_of(order)) == ("completed", ["HAND-1"])

    def test_after_a_delivery_takes_the_cost_back(self, crew: Crew, stage: Stage) -> None:
        order = stage.order(crew.shop, pin_late_s=864_000.0)
        monitoring.sweep()
        watch(stage, order, 120)
        assert sums_of(order) == {"hold": PRICE, "cost": COST}
        hear(order, Outcome.REVERSED)
        assert standing_of(order)[::2] == ("review", "conflict:failed_after_delivery")
        self.resolve(crew, order, "not_delivered")
        assert standing_of(order)[0] == "rejected"
        assert attempt_of(order).state == "reversed"
        assert sums_of(order) == {"hold": PRICE, "release": PRICE, "cost": COST, "cost_reversal": COST}
        check_invariants()

    def test_above_the_limit_is_settled_by_two(self, crew: Crew, stage: Stage) -> None:
        limit(crew, "10")
        order = self.frozen(crew, stage)
        asked = self.resolve(crew, order, "not_delivered")
        assert standing_of(order)[0] == "review"
        confirmed(crew, asked)
        assert standing_of(order)[0] == "rejected"
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}

    def test_is_the_only_thing_to_be_settled_there(self, crew: Crew, stage: Stage) -> None:
        order = self.frozen(crew, stage)
        with pytest.raises(NotPossible):
            release(crew, order)
        with pytest.raises(NotPossible):
            stop(crew, order)
        with pytest.raises(NotPossible):
            by_hand(crew, order, attempt=attempt_of(order))
        with pytest.raises(BadInput):
            self.resolve(crew, order, "maybe")
        calm = order_from(crew.shop)
        with pytest.raises(NotPossible):
            decisions.resolve(calm.pk, crew.omar, "x", clock.now(), attempt_id=0, truth="open")


# --- the limit


class TestAboveTheLimit:
    def test_a_release_waits_for_two(self, crew: Crew) -> None:
        limit(crew, "34.99")
        order = order_from(crew.shop)
        asked = release(crew, order)
        assert (asked.is_done, standing_of(order)[0]) == (False, "pending")
        assert last_event(order).data == {"why": "customer asked", "action": "release", "amount": "35.00 TRY"}
        confirmed(crew, asked)
        assert standing_of(order)[0] == "cancelled"
        assert Transfer.objects.get(kind="release").actor == "omar + olga"

    def test_one_person_is_enough_up_to_it(self, crew: Crew) -> None:
        limit(crew, "35")
        assert release(crew, order_from(crew.shop)).is_done

    def test_a_refund_waits_for_two(self, crew: Crew, stage: Stage) -> None:
        limit(crew, "10")
        order = stage.order(crew.shop)
        stage.run_until_quiet(for_s=600)
        with pytest.raises(SecondPersonNeeded):
            decisions.refund(order.pk, "olga", "x", clock.now())
        asked = decisions.give_back(order.pk, crew.omar, "x", clock.now())
        assert standing_of(order)[0] == "completed"
        confirmed(crew, asked)
        assert standing_of(order)[0] == "refunded"
        check_invariants(stage)

    def test_a_reversal_waits_for_two(self, crew: Crew, stage: Stage) -> None:
        limit(crew, "10")
        order = stage.order(crew.shop)
        stage.run_until_quiet(for_s=600)
        hear(order, Outcome.REVERSED)
        case = Case.objects.get(order=order)
        asked = decisions.reverse(order.pk, crew.omar, "x", clock.now(), case_id=case.pk)
        assert standing_of(order)[0] == "completed"
        confirmed(crew, asked)
        assert standing_of(order)[0] == "refunded"


class TestTheStory:
    def test_has_words_for_all_that_people_decide(self) -> None:
        kinds = (
            "released cancelled stopped_waiting sent_elsewhere taken_by_hand conflict_resolved late_accepted "
            "reversal_given_back codes_released case_claimed case_assigned case_snoozed case_closed approval_asked "
            "approval_declined refunded"
        )
        assert set(kinds.split()) <= set(EVENTS)


# --- at once


def at_once(acts: list[Callable[[], object]]) -> list[object]:
    """Every act in a thread of its own, all starting together; what each returned, or the error it raised."""
    said: list[object] = []
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], object]) -> None:
        start.wait(30)
        try:
            said.append(act())
        except DecisionRefused as refused:
            said.append(type(refused))
        finally:
            connection.close()

    threads = [threading.Thread(target=run, args=(act,)) for act in acts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(said) == len(acts)
    return said


@pytest.mark.postgres
class TestAtOnce:
    """M1, M3: one effect, whoever clicks how often."""

    def test_eight_releases_give_back_once(self, crew: Crew) -> None:
        order = order_from(crew.shop)
        said = at_once([lambda: release(crew, order)] * 8)
        assert said.count(NotPossible) == 7
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        check_invariants()

    def test_a_release_and_a_dispatch_do_not_both_happen(self, crew: Crew, stage: Stage) -> None:
        for _ in range(6):
            order = stage.order(crew.shop)
            at_once([partial(release, crew, order), partial(try_auto_dispatch, order.pk)])
            is_bought = bool(stage.purchases(order))
            assert (sums_of(order).get("release", 0) == 0) == is_bought
        stage.run_until_quiet()
        check_invariants(stage)

    def test_two_confirmations_are_one(self, crew: Crew, stage: Stage) -> None:
        order = in_doubt(stage, crew.shop)
        asked = stop(crew, order).approval
        assert asked is not None
        others = [crew.olga, make_person("otto", crew.shop.tenant, "operator")] * 3
        said = at_once([partial(decisions.confirm, asked.pk, who, clock.now()) for who in others])
        assert said.count(AlreadyDecided) == 3
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        assert story_of(order).count("stopped_waiting") == 1
        check_invariants()

    def test_six_hand_deliveries_and_a_dispatch_deliver_once(self, crew: Crew, stage: Stage) -> None:
        order = stage.order(crew.shop)
        acts: list[Callable[[], object]] = [
            partial(by_hand, crew, order, Entry((Code(f"H-{n}"),), "", 1)) for n in range(6)
        ]
        at_once([*acts, lambda: try_auto_dispatch(order.pk)])
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        assert len(pins_of(order)) == 1
        assert AttemptUnit.objects.filter(unit__order=order, holds=True).count() == 1
        check_invariants()

    def test_a_person_and_the_checker_capture_once(self, crew: Crew, stage: Stage) -> None:
        order = stage.order(crew.shop)
        try_auto_dispatch(order.pk)
        stage.move(60)
        attempt = attempt_of(order)
        at_once([lambda: by_hand(crew, order, attempt=attempt), lambda: monitoring.check_order(order.pk)])
        assert sums_of(order)["capture"] == PRICE
        assert standing_of(order)[0] == "completed"

    def test_eight_charges_are_one(self, crew: Crew, stage: Stage) -> None:
        order, case = late(crew, stage)
        said = at_once([lambda: accept(crew, order, case)] * 8)
        assert said.count(AlreadyDecided) == 7
        assert sums_of(order)["late_sale"] == PRICE
        check_invariants(stage)
