"""What an order brought and cost: rates frozen before the send, the snapshot on its row, and nothing of today's."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import Tenant
from apps.catalog.models import FxRate, PackagePrice
from apps.common import clock
from apps.orders import outcomes, refusals, services
from apps.orders.decisions import refund
from apps.orders.models import Attempt, Order, OrderEvent
from apps.orders.news import News
from apps.panel.story import load_story
from apps.providers.contract import Outcome, Result
from apps.providers.models import Integration, PackageMapping
from apps.wallet import ledger
from tests.factories import (
    Shop,
    Stage,
    add_route,
    check_invariants,
    due_of,
    make_customer,
    make_integration,
    make_shop,
    order_from,
    standing_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.test_prices import make_rate

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

PRICE = 35_000_000
COST = 31_500_000


def buys_in_dollars(stage: Stage, rate: str = "40") -> Shop:
    """A shop that sells for 35.00 TRY what costs it 0.80 USD; the panel's own figures are taken as dollars."""
    shop = make_shop(stage.url, needs_code=False)
    Integration.objects.filter(pk=shop.integration.pk).update(currency="USD")
    shop.integration.refresh_from_db()
    PackageMapping.objects.filter(package=shop.package).update(cost_micros=800_000)
    if rate:
        make_rate(shop.tenant, rate)
    return shop


def snapshot_of(order: Order) -> dict[str, int | None]:
    order.refresh_from_db()
    return {
        "captured": order.captured_micros,
        "expected": order.expected_cost_micros,
        "cost": order.cost_micros,
        "profit": order.profit_micros,
    }


class TestTheSnapshot:
    def test_is_zero_until_money_moves(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        assert snapshot_of(order) == {"captured": 0, "expected": 0, "cost": 0, "profit": 0}

    def test_is_what_was_charged_and_what_was_paid(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url))
        stage.run_until_quiet()
        assert snapshot_of(order) == {"captured": PRICE, "expected": COST, "cost": COST, "profit": PRICE - COST}
        check_invariants(stage)

    def test_tells_the_difference_when_the_provider_names_another_cost(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), cost="33.25")
        stage.run_until_quiet()
        assert snapshot_of(order) == {
            "captured": PRICE,
            "expected": COST,
            "cost": 33_250_000,
            "profit": 1_750_000,
        }
        assert order.cost_difference_micros == 1_750_000
        check_invariants(stage)

    def test_of_a_part_counts_what_was_delivered(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), quantity=3, final="cancelled", times=1)
        stage.run_until_quiet()
        assert standing_of(order)[0] == "partial"
        assert snapshot_of(order) == {
            "captured": 2 * PRICE,
            "expected": 2 * COST,
            "cost": 2 * COST,
            "profit": 2 * (PRICE - COST),
        }
        check_invariants(stage)

    def test_of_a_rejected_order_is_zero(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), place="refuse", refuse_class="product")
        stage.run_until_quiet()
        assert standing_of(order)[0] == "rejected"
        assert snapshot_of(order) == {"captured": 0, "expected": 0, "cost": 0, "profit": 0}

    def test_without_a_known_cost_knows_no_profit(self, stage: Stage) -> None:
        shop = make_shop(stage.url, needs_code=False)
        PackageMapping.objects.update(cost_micros=None)
        order = order_from(shop)
        services.try_auto_dispatch(order.pk)
        Attempt.objects.update(cost_micros=None)
        stage.run_until_quiet()
        assert snapshot_of(order) == {"captured": PRICE, "expected": None, "cost": None, "profit": None}

    def test_of_a_refunded_order_is_what_it_cost_us(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop)
        stage.run_until_quiet()
        assert refund(order.pk, "olga", "complaint", clock.now())
        assert snapshot_of(order) == {"captured": 0, "expected": COST, "cost": COST, "profit": -COST}
        assert ledger.balance_of(shop.customer.pk, "TRY").micros == 1_000_000_000

    def test_is_read_without_the_ledger(self, stage: Stage) -> None:
        stage.order(make_shop(stage.url))
        stage.run_until_quiet()
        with CaptureQueriesContext(connection) as queries:
            rows = list(Order.objects.values_list("captured_micros", "cost_micros", "currency"))
        assert rows == [(PRICE, COST, "TRY")]
        assert len(queries) == 1


class TestAnotherCurrency:
    def test_is_converted_by_the_rate_frozen_before_the_send(self, stage: Stage) -> None:
        shop = buys_in_dollars(stage)
        order = stage.order(shop, cost="0.85")
        services.try_auto_dispatch(order.pk)
        frozen_rate = Attempt.objects.get().cost_rate
        assert frozen_rate is not None
        stage.move(10)
        make_rate(shop.tenant, "80")
        stage.run_until_quiet()
        assert snapshot_of(order) == {
            "captured": PRICE,
            "expected": 32_000_000,
            "cost": 34_000_000,
            "profit": 1_000_000,
        }
        assert (order.cost_rate, order.cost_rate_via) == (frozen_rate, None)
        assert ledger.booked_cost(Attempt.objects.get().pk) == 850_000  # in the currency it was paid in

    def test_by_way_of_the_shops_currency_keeps_both_rows(self, stage: Stage) -> None:
        shop = buys_in_dollars(stage)
        euro = make_rate(shop.tenant, "44", "EUR")
        PackagePrice.objects.create(package=shop.package, currency="EUR", unit_price_micros=900_000)
        order = order_from(shop, customer=make_customer(shop.tenant, currency="EUR"))
        stage.simulator.set_fate(recipient=order.user_identifier, cost="0.80")
        stage.run_until_quiet()
        assert snapshot_of(order)["cost"] == 727_273  # 0.80 * 40 / 44 = 0.7272727...
        assert order.cost_rate is not None
        assert (order.cost_rate.from_currency, order.cost_rate_via) == ("USD", euro)

    def test_without_a_rate_is_not_sold(self, stage: Stage) -> None:
        shop = buys_in_dollars(stage, rate="")
        with pytest.raises(refusals.NotSellable, match="there is no exchange rate from USD to TRY"):
            order_from(shop)
        assert Order.objects.count() == 0

    @pytest.mark.parametrize(("age", "reason"), [("over", "waiting:rate_missing"), ("old", "waiting:rate_stale")])
    def test_whose_rate_is_gone_before_the_dispatch_waits_for_one(self, stage: Stage, age: str, reason: str) -> None:
        shop = buys_in_dollars(stage)
        order = order_from(shop)
        if age == "over":
            FxRate.objects.update(valid_until=clock.now() + timedelta(hours=1))
            stage.move(3600)
        else:
            Tenant.objects.update(rate_max_age_hours=1)
            stage.move(3600)
        services.try_auto_dispatch(order.pk)
        assert standing_of(order) == ("pending", "not_sent", reason)
        assert due_of(order) == [("dispatch", clock.now() + timedelta(seconds=60))]
        assert stage.purchases() == []
        make_rate(shop.tenant, "41")
        stage.simulator.set_fate(recipient=order.user_identifier, cost="0.80")
        stage.run_until_quiet()
        assert snapshot_of(order)["cost"] == 32_800_000

    def test_is_told_in_the_story_when_no_route_has_a_rate(self, stage: Stage) -> None:
        shop = buys_in_dollars(stage)
        order = order_from(shop)
        Tenant.objects.update(rate_max_age_hours=1)
        stage.move(3600)
        services.try_auto_dispatch(order.pk)
        told = OrderEvent.objects.get(order=order, kind="dispatch_refused")
        assert told.data["why"] == f"route {shop.route.pk}: rate_stale"

    def test_of_the_providers_answer_is_not_taken_for_the_accounts(self, stage: Stage) -> None:
        """LESSONS F55: a cost in TRY was taken for USD. What is told in another currency stays evidence."""
        order = stage.order(make_shop(stage.url, needs_code=False), final="never")
        services.try_auto_dispatch(order.pk)
        attempt = Attempt.objects.get()
        Attempt.objects.update(cost_micros=None)
        result = Result(Outcome.COMPLETED, attempt.reference, cost=Decimal("1.23"), currency="USD")
        outcomes.apply([News(attempt.pk, order.pk, "status", result, None, clock.now(), 1, attempt.send_no)])
        assert snapshot_of(order) == {"captured": PRICE, "expected": COST, "cost": COST, "profit": PRICE - COST}
        attempt.refresh_from_db()
        assert (attempt.cost_micros, attempt.cost_currency) == (None, "TRY")


class TestTheLossGuardAtDispatch:
    def test_passes_a_route_over_whose_cost_has_risen(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = order_from(shop)
        PackageMapping.objects.update(cost_micros=PRICE + 1)
        services.try_auto_dispatch(order.pk)
        assert standing_of(order) == ("pending", "not_sent", "waiting:cost_above_price")
        assert stage.purchases() == []
        second = add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
        stage.run_until_quiet()
        assert Attempt.objects.get(order=order).route == second
        check_invariants(stage)


class TestProof:
    def test_m6_three_currencies_and_a_rate_that_changes_mid_flight(self, stage: Stage) -> None:
        """PROOF M6: bought in USD, sold in EUR, kept in TRY; every transfer still sums to zero per currency."""
        shop = buys_in_dollars(stage)
        make_rate(shop.tenant, "43.33333333", "EUR")
        PackagePrice.objects.create(package=shop.package, currency="EUR", unit_price_micros=1_000_001)
        order = order_from(shop, quantity=3, customer=make_customer(shop.tenant, currency="EUR"))
        stage.simulator.set_fate(recipient=order.user_identifier, cost="0.8")
        services.try_auto_dispatch(order.pk)
        stage.move(1)
        make_rate(shop.tenant, "90")
        make_rate(shop.tenant, "10", "EUR")
        stage.simulator.set_fate(recipient=order.user_identifier, cost="0.8")
        Tenant.objects.update(loss_guard_percent=100)
        PackageMapping.objects.update(cost_micros=100_000)
        stage.run_until_quiet()
        order.refresh_from_db()
        assert order.status == "completed"
        one, two, three = Attempt.objects.order_by("id")
        assert one.cost_rate != two.cost_rate == three.cost_rate
        # 0.8 * 40 / 43.33333333 is 0.738462 rounded up; 0.8 * 90 / 10 is 7.2, twice
        assert snapshot_of(order)["cost"] == 738_462 + 2 * 7_200_000
        assert order.captured_micros == order.price_micros == 3_000_003
        assert ledger.recount().unbalanced == []

    def test_m7_a_price_edited_between_creation_and_dispatch_changes_nothing(self, stage: Stage) -> None:
        """PROOF M7: the price on the order is the one it was sold at."""
        order = order_from(make_shop(stage.url))
        PackagePrice.objects.update(unit_price_micros=99_000_000)
        stage.run_until_quiet()
        order.refresh_from_db()
        assert (order.unit_price_micros, order.price_micros, order.captured_micros) == (PRICE, PRICE, PRICE)
        check_invariants(stage)


def test_scenario_10_the_rate_changes_between_charge_and_refund(stage: Stage) -> None:
    """LESSONS scenario 10: what goes back to the wallet is what was held, to the micro-unit, whatever the rate is."""
    shop = buys_in_dollars(stage)
    customer = make_customer(shop.tenant, "100.000001", currency="EUR")
    make_rate(shop.tenant, "44", "EUR")
    PackagePrice.objects.create(package=shop.package, currency="EUR", unit_price_micros=1_234_567)
    order = order_from(shop, quantity=3, customer=customer)
    assert ledger.balance_of(customer.pk, "EUR").micros == 100_000_001 - 3_703_701
    stage.simulator.set_fate(recipient=order.user_identifier, final="cancelled")
    services.try_auto_dispatch(order.pk)
    stage.move(1)
    make_rate(shop.tenant, "39.99999999")
    make_rate(shop.tenant, "37.00000001", "EUR")
    stage.run_until_quiet()
    assert standing_of(order)[0] == "rejected"
    assert sums_of(order) == {"hold": 3_703_701, "release": 3_703_701}
    assert ledger.balance_of(customer.pk, "EUR").micros == 100_000_001


class TestLessons:
    def test_f55_a_cost_has_its_currency_and_is_never_read_as_another(self, stage: Stage) -> None:
        """LESSONS F55: the same figure in USD and in TRY are two costs."""
        lira, dollar = make_shop(stage.url), buys_in_dollars(stage)
        PackageMapping.objects.filter(package=dollar.package).update(cost_micros=COST)  # 31.50 USD, not TRY
        assert order_from(lira).pk
        with pytest.raises(refusals.PriceUnderRevision):
            order_from(dollar)

    def test_f58_the_cost_is_what_was_really_paid(self, stage: Stage) -> None:
        """LESSONS F58: from the attempt; not the list price, not the group's price, not zero."""
        shop = make_shop(stage.url)
        order = stage.order(shop, cost="30.12")
        stage.run_until_quiet()
        PackageMapping.objects.update(cost_micros=1)
        PackagePrice.objects.update(unit_price_micros=2)
        assert snapshot_of(order)["cost"] == 30_120_000
        assert Attempt.objects.get().cost_micros == 30_120_000

    @pytest.mark.parametrize(("cost", "profit"), [("30.5", "4.50 TRY"), ("36.75", "-1.75 TRY")])
    def test_f59_the_page_gets_final_signed_decimals(self, stage: Stage, cost: str, profit: str) -> None:
        """LESSONS F59: the sign and the decimals of a profit are made here, once."""
        order = stage.order(make_shop(stage.url), cost=cost)
        stage.run_until_quiet()
        order.refresh_from_db()
        told = {amount.label: str(amount.money) for amount in load_story(order, clock.now()).result}
        assert told["Profit"] == profit
        assert told["Brought"] == "35.00 TRY"
