"""What becomes of an attempt in doubt: looked for, sent again where it is safe, proven absent, or left to a person."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from apps.common import checkpoints, clock
from apps.orders import due, monitoring, outcomes, services
from apps.orders.models import Attempt, Case, DueCheck, Evidence, Order, OrderEvent, OrderUnit
from apps.orders.news import News
from apps.orders.states import AttemptState, DueKind, OrderStatus
from apps.orders.verdicts import Plan
from apps.providers import balances, troubles
from apps.providers.contract import Balance, Outcome, Result
from apps.providers.models import PackageMapping
from tests.factories import (
    Shop,
    Stage,
    check_invariants,
    make_shop,
    order_from,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.test_other_kinds import TestAnSmmPanel, bought_by, dialect, place, shop_at

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

A = AttemptState


def client_api_shop(stage: Stage, **options: Any) -> Shop:
    return shop_at(stage, "client_api", {"oyun": "101"}, needs_code=False, price="2", **options)


def reloadly_shop(stage: Stage) -> Shop:
    return shop_at(
        stage,
        "reloadly",
        {"product_id": "120", "amount": "10"},
        needs_code=True,
        service="giftcards",
        auth_url=f"{stage.url}/reloadly",
    )


def placings(stage: Stage, attempt: Attempt) -> int:
    """How often the provider received this purchase."""
    return len([entry for entry in stage.truth("asked") if entry["reference"] == attempt.reference])


class TestOneThatNeverArrived:
    @pytest.mark.parametrize("lost", ["reset_before", "hang_before", "html_before", "empty_before"])
    def test_is_sent_again_under_its_reference_where_that_is_safe(self, stage: Stage, lost: str) -> None:
        """P2: the provider never had it, and would answer a repeat with the first order."""
        order = place(stage, client_api_shop(stage), place=lost)
        monitoring.sweep()
        with dialect(stage, "client_api") as control:
            control.set_fate(recipient=order.user_identifier, complete_after_s=5)
        stage.run_until_quiet()
        attempt = Attempt.objects.get(order=order)
        assert (attempt.state, attempt.send_no) == (A.DELIVERED, 2)
        assert standing_of(order) == ("completed", "completed", "")
        assert len(bought_by(stage, order)) == 1
        assert story_of(order).count("sent_again") == 1
        check_invariants()

    def test_is_proven_absent_where_it_is_not(self, stage: Stage) -> None:
        """P16: two looks that find nothing, a quarter of an hour later, the account answering in between."""
        shop = reloadly_shop(stage)
        with dialect(stage, "reloadly") as control:
            control.next_fate(place="hang_before")
            order = order_from(shop)
            began = clock.now()
            stage.run_until_quiet(for_s=3000)
        attempt, again = Attempt.objects.filter(order=order).order_by("id")
        assert (attempt.state, attempt.send_no, attempt.not_found) == (A.ABSENT, 1, 2)
        caps = shop.integration.caps()
        assert caps.absent_after_s is not None
        quiet_at = attempt.send_deadline_at + timedelta(seconds=caps.place_timeout_s)
        assert attempt.not_found_since is not None
        assert attempt.not_found_since >= quiet_at + timedelta(seconds=caps.absent_after_s)
        assert again.created_at - began < timedelta(seconds=2000)
        assert (again.state, standing_of(order)[0]) == (A.DELIVERED, "completed")
        assert [entry["reference"] for entry in stage.truth("bought")] == [again.reference]
        looks = Evidence.objects.filter(attempt=attempt, verb="find", outcome=Outcome.NOT_FOUND)
        assert looks.filter(at__gte=attempt.not_found_since).count() == 2
        check_invariants()

    def test_stays_in_doubt_where_not_finding_proves_nothing(self, stage: Stage) -> None:
        order = place(
            stage,
            shop_at(
                stage, "znet_tl", {"operator": "turkcell", "tip": "tam", "kontor": "100"}, needs_code=False, price="500"
            ),
            "5321230000",
            place="hang_before",
        )
        stage.run_until_quiet(for_s=7200)
        attempt = Attempt.objects.get(order=order)
        assert (attempt.state, attempt.send_no) == (A.IN_DOUBT, 1)
        assert attempt.not_found > 2
        assert standing_of(order) == ("review", "unknown", "waiting:in_doubt")


class TestOneThatIsHidden:
    def test_is_not_bought_again_by_a_second_send(self, stage: Stage) -> None:
        """P15: the provider does not know it yet; the same reference again finds the first purchase."""
        order = place(stage, client_api_shop(stage), place="accept_then_reset", visible_after_s=600, complete_after_s=5)
        stage.run_until_quiet()
        attempt = Attempt.objects.get(order=order)
        assert attempt.send_no == 2
        assert standing_of(order)[0] == "completed"
        assert len(bought_by(stage, order)) == 1
        check_invariants()

    def test_longer_than_an_absence_takes_is_surplus_when_it_turns_up(self, stage: Stage) -> None:
        """V7: it was bought once more; the first code stays hidden, its cost is a loss, and a person is asked."""
        shop = reloadly_shop(stage)
        with dialect(stage, "reloadly") as control:
            control.next_fate(place="accept_then_reset", visible_after_s=20_000)
            order = order_from(shop)
            stage.run_until_quiet(for_s=3000)
        attempt, again = Attempt.objects.filter(order=order).order_by("id")
        assert (attempt.state, again.state, standing_of(order)[0]) == (A.ABSENT, A.DELIVERED, "completed")
        shown = pins_of(order)
        stage.move(20_000)
        due.plan_attempt(
            attempt, Plan(DueKind.WATCH, clock.now(), 0, 0), fence=None, seen="", now=clock.now(), is_asked=False
        )  # a hint brings the closed attempt back
        monitoring.sweep()
        attempt.refresh_from_db()
        assert (attempt.state, attempt.is_surplus) == (A.DELIVERED, True)
        assert standing_of(order)[0] == "completed"
        assert (len(shown), pins_of(order)) == (1, shown)
        assert Case.objects.get(order=order).reason == Case.Reason.LATE_DELIVERY
        assert sums_of(order)["capture"] == order.price_micros
        check_invariants()


class TestASecondSend:
    def shop_with_a_lost_order(self, stage: Stage, **second: Any) -> tuple[Shop, Any]:
        shop = client_api_shop(stage)
        order = place(stage, shop, place="reset_before")
        monitoring.sweep()
        with dialect(stage, "client_api") as control:
            control.set_fate(recipient=order.user_identifier, **second)
        assert Attempt.objects.get(order=order).state == A.IN_DOUBT
        return shop, order

    def test_waits_for_the_providers_least_gap(self, stage: Stage) -> None:
        shop, order = self.shop_with_a_lost_order(stage)
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        monitoring.sweep()
        attempt = Attempt.objects.get(order=order)
        assert (attempt.not_found, attempt.send_no) == (1, 1)
        [row] = DueCheck.objects.filter(order=order)
        assert row.next_at - clock.now() == timedelta(seconds=shop.integration.caps().resend_min_gap_s)
        stage.move_to(row.next_at)
        monitoring.sweep()
        attempt.refresh_from_db()
        assert attempt.send_no == 2

    def test_that_is_refused_says_nothing_of_the_first(self, stage: Stage) -> None:
        """Its refusal may come before the provider looks whether it has the reference already."""
        _, order = self.shop_with_a_lost_order(stage, place="refuse", refuse_class="product")
        for _ in range(8):
            stage.move_to(DueCheck.objects.get(order=order).next_at)
            monitoring.sweep()
            if Attempt.objects.get(order=order).send_no == 2:
                break
        attempt = Attempt.objects.get(order=order)
        assert (attempt.state, attempt.send_no, attempt.outcome) == (A.IN_DOUBT, 2, Outcome.OUT_OF_STOCK)
        assert sums_of(order) == {"hold": order.price_micros}

    def test_is_made_three_times_at_most_and_then_it_is_proven_absent(self, stage: Stage) -> None:
        _, order = self.shop_with_a_lost_order(stage, place="refuse", refuse_class="product")
        stage.run_until_quiet(for_s=7200)
        attempt, again = Attempt.objects.filter(order=order).order_by("id")
        assert (attempt.state, attempt.send_no, again.state) == (A.ABSENT, 3, A.REFUSED)
        assert standing_of(order)[0] == "rejected"
        check_invariants()

    @pytest.mark.parametrize("trouble", ["paused", "disabled", "overdue", "conflict"])
    def test_is_not_made(self, stage: Stage, trouble: str) -> None:
        shop, order = self.shop_with_a_lost_order(stage)
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        monitoring.sweep()
        now = clock.now()
        if trouble == "paused":
            troubles.pause(shop.integration, Outcome.AUTH_ERROR, now, 600)
        elif trouble == "disabled":
            type(shop.integration).objects.filter(pk=shop.integration.pk).update(is_enabled=False)
        elif trouble == "overdue":
            type(order).objects.filter(pk=order.pk).update(deadline_at=now)
        else:
            type(order).objects.filter(pk=order.pk).update(status=OrderStatus.REVIEW, reason="conflict:rejected")
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        monitoring.sweep()
        attempt = Attempt.objects.get(order=order)
        assert (attempt.send_no, attempt.not_found) == (1, 2)

    def test_is_not_made_when_the_rules_say_so_at_the_last_moment(self, stage: Stage) -> None:
        shop, order = self.shop_with_a_lost_order(stage)
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        monitoring.sweep()
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        [claim] = due.claim_order(order.pk, clock.now(), timedelta(seconds=60))
        troubles.pause(shop.integration, Outcome.AUTH_ERROR, clock.now(), 600)
        assert services.send_again(claim) is None
        assert Attempt.objects.get(order=order).send_no == 1

    def test_is_not_made_by_a_claim_that_was_overtaken(self, stage: Stage) -> None:
        _, order = self.shop_with_a_lost_order(stage)
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        monitoring.sweep()
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        [old] = due.claim_order(order.pk, clock.now(), timedelta(seconds=60))
        [new] = due.claim_order(order.pk, clock.now(), timedelta(seconds=60), is_forced=True)
        assert services.send_again(old) is None
        assert services.send_again(new) is not None

    def test_by_two_at_once_is_made_once(self, stage: Stage) -> None:
        _, order = self.shop_with_a_lost_order(stage)
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        monitoring.sweep()
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        attempt = Attempt.objects.get(order=order)
        [claim] = due.claim_order(order.pk, clock.now(), timedelta(seconds=60))
        before = placings(stage, attempt)
        assert services.send_again(claim) is not None
        assert services.send_again(claim) is None
        assert placings(stage, attempt) == before + 1


class Crash(BaseException):
    """The process is gone: nothing that catches `Exception` can help."""


class TestACrashInASecondSend:
    """C10 and C11 once more: the first send may have bought, the second may have left."""

    @pytest.mark.parametrize(
        "point", ["resend.before_commit", "resend.after_commit", "dispatch.before_first_byte", "dispatch.after_send"]
    )
    @pytest.mark.parametrize("first", ["reset_before", "accept_then_reset"])
    def test_still_buys_once(self, stage: Stage, point: str, first: str) -> None:
        order = place(stage, client_api_shop(stage), place=first, visible_after_s=100)
        monitoring.sweep()
        with dialect(stage, "client_api") as control:
            control.set_fate(recipient=order.user_identifier, complete_after_s=5)
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        monitoring.sweep()
        stage.move_to(DueCheck.objects.get(order=order).next_at)
        [claim] = due.claim_order(order.pk, clock.now(), timedelta(seconds=60))
        checkpoints.set_hook(lambda name: die() if name == point else None)
        with pytest.raises(Crash):
            services.send_again(claim)
        checkpoints.set_hook(None)
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert len(bought_by(stage, order)) == 1
        check_invariants()


def die() -> None:
    """The connection breaks without a commit."""
    connection.close()
    raise Crash


class TestAnAbsence:
    def lose(self, stage: Stage, **switches: Any) -> Order:
        """An order that its panel never got; the shop has taken the panel's "no such record" for a proof."""
        if switches:
            stage.simulator.switch(**switches)
        order = stage.order(make_shop(stage.url, absent_after_s=900), place="reset_before")
        stage.run_until_quiet(for_s=3000)
        return order

    def test_is_believed_from_an_account_that_knows_us_and_tried_once_more(self, stage: Stage) -> None:
        order = self.lose(stage)
        assert [attempt.state for attempt in Attempt.objects.filter(order=order)] == [A.ABSENT, A.ABSENT]
        assert standing_of(order)[0] == "rejected"

    def test_is_not_believed_from_one_that_may_not(self, stage: Stage) -> None:
        order = self.lose(stage, auth_fails_on=["bakiye_kontrol"])
        assert Attempt.objects.get(order=order).state == A.IN_DOUBT
        assert sums_of(order) == {"hold": order.price_micros}


class TestTheBalanceOfAnSmmPanel:
    """It has no reference to ask by: what is left is whether our money there moved, which a person may weigh."""

    LINK = "https://example.invalid/lost"

    def lose(self, stage: Stage, lost: str, *also: str) -> tuple[Order, list[str]]:
        """An order without an answer between two readings of the balance; the links of others bought meanwhile."""
        shop = TestAnSmmPanel().shop(stage)
        balances.read_balances([shop.integration])
        order = place(stage, shop, self.LINK, place=lost)
        monitoring.sweep()
        for number, fate in enumerate(also):  # one after the other: a refusal pauses the account for those behind it
            place(stage, shop, f"{self.LINK}/{number}", place=fate)
            monitoring.sweep()
        stage.move(120)
        monitoring.sweep()
        balances.read_balances([shop.integration])
        stage.run_until_quiet(for_s=3600)
        assert standing_of(order) == ("review", "unknown", "waiting:no_name")
        return order, [kind for kind in story_of(order) if kind.startswith("balance_")]

    def test_that_fell_by_the_cost_speaks_for_a_purchase(self, stage: Stage) -> None:
        order, told = self.lose(stage, "accept_then_reset")
        assert told == ["balance_fits_purchase"]
        assert sums_of(order) == {"hold": order.price_micros}
        [event] = OrderEvent.objects.filter(order=order, kind="balance_fits_purchase")
        assert event.data["before_micros"] - event.data["after_micros"] == event.data["expected_micros"] == 900_000

    def test_that_did_not_move_speaks_against_one(self, stage: Stage) -> None:
        assert self.lose(stage, "reset_before")[1] == ["balance_fits_none"]

    def test_is_cleared_of_what_others_bought_meanwhile(self, stage: Stage) -> None:
        assert self.lose(stage, "accept_then_reset", "accept", "accept")[1] == ["balance_fits_purchase"]
        assert self.lose(stage, "reset_before", "accept", "refuse")[1] == ["balance_fits_none"]

    def test_says_nothing_beside_another_in_doubt(self, stage: Stage) -> None:
        assert self.lose(stage, "accept_then_reset", "reset_before")[1] == ["balance_says_nothing"]

    def test_says_nothing_when_money_was_added(self, stage: Stage) -> None:
        shop = TestAnSmmPanel().shop(stage)
        balances.read_balances([shop.integration])
        order = place(stage, shop, self.LINK, place="accept_then_reset")
        monitoring.sweep()
        stage.move(120)
        balances.record_balance(shop.integration, Balance(Decimal("123456"), "USD"), clock.now())
        stage.run_until_quiet(for_s=3600)
        assert [kind for kind in story_of(order) if kind.startswith("balance_")] == ["balance_says_nothing"]


class TestAPartDelivery:
    def shop(self, stage: Stage) -> Shop:
        shop = TestAnSmmPanel().shop(stage)
        mapping = PackageMapping.objects.get(package=shop.package)
        mapping.params, mapping.cost_micros = {**mapping.params, "quantity": "100"}, 90_000
        mapping.save()
        type(shop.package).objects.filter(pk=shop.package.pk).update(quantity_kind="range", quantity_max=100)
        shop.package.refresh_from_db()
        return shop

    def test_takes_and_gives_back_by_unit(self, stage: Stage) -> None:
        """V6: three of five hundreds came; three are paid, two go back, nothing is bought again."""
        shop = self.shop(stage)
        link = "https://example.invalid/five"
        with dialect(stage, "smm_v2") as control:
            control.set_fate(recipient=link, final="partial", delivered="300", complete_after_s=10)
        order = order_from(shop, link, quantity=5)
        monitoring.sweep()
        attempt = Attempt.objects.get(order=order)
        full = Result(Outcome.ACCEPTED, attempt.reference, cost=Decimal("0.45"))  # what the panel charged at first
        outcomes.apply([News(attempt.pk, order.pk, "status", full, None, clock.now(), -1, 1)])
        stage.run_until_quiet()
        attempt.refresh_from_db()
        assert (attempt.state, attempt.delivered_units) == (A.PARTIAL, 3)
        units = OrderUnit.objects.filter(order=order).order_by("n").values_list("status", flat=True)
        assert list(units) == ["captured"] * 3 + ["released"] * 2
        assert standing_of(order) == ("partial", "partial", "")
        sums = sums_of(order)
        assert (sums["capture"], sums["release"]) == (3 * order.unit_price_micros, 2 * order.unit_price_micros)
        assert attempt.attempt_units.filter(holds=True).count() == 5
        assert OrderEvent.objects.filter(order=order, kind="partial_once").count() == 1
        assert len(bought_by(stage, order)) == 1
        order.refresh_from_db()
        assert order.captured_micros == 3 * order.unit_price_micros
        assert (attempt.cost_micros, order.cost_micros, order.expected_cost_micros) == (270_000, 270_000, 270_000)
        check_invariants()
