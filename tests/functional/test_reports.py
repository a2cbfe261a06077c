"""Reports: one date basis, one shop, one currency a line, and never a profit that is only half known."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.accounts.models import Tenant
from apps.common.money import Money
from apps.orders import reports
from apps.orders.models import Attempt, Order
from apps.orders.reports import By, Line
from apps.wallet import ledger
from apps.wallet.statement import Period
from tests.factories import (
    START,
    Shop,
    Stage,
    add_route,
    make_customer,
    make_integration,
    make_shop,
    new_player,
    order_from,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import LANGUAGES, People, browser_of, english, make_person
from tests.functional.panel_fixtures import people as people_fixture

__all__ = ["committed", "english", "people_fixture", "simulator", "stage"]

pytestmark = [pytest.mark.both_databases, pytest.mark.page]

PRICE, COST = 35_000_000, 31_500_000
ALWAYS = Period(None, None, ZoneInfo("UTC"))


def delivered(stage: Stage, shop: Shop, *, quantity: int = 1, **fate: Any) -> Order:
    """An order that is settled as its fate says."""
    order = stage.order(shop, quantity=quantity, **fate)
    stage.run_until_quiet()
    order.refresh_from_db()
    return order


def lines(shop: Shop, by: By = By.DAY, period: Period = ALWAYS) -> list[Line]:
    return reports.profit(shop.tenant.pk, by, period)


class TestProfit:
    def test_is_what_was_captured_less_what_was_paid(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        delivered(stage, shop)
        delivered(stage, shop, quantity=2)
        [line] = lines(shop, By.PACKAGE)
        assert line == Line(shop.package.code, "TRY", 2, 3 * PRICE, 3 * COST, 0)
        assert (str(line.sold), str(line.cost), str(line.profit)) == ("105.00 TRY", "94.50 TRY", "10.50 TRY")

    def test_shows_a_loss_below_zero(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        delivered(stage, shop, cost="40.00")
        [line] = lines(shop)
        assert str(line.profit) == "-5.00 TRY"

    def test_leaves_out_what_moved_no_money(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        delivered(stage, shop, place="refuse", refuse_class="product")
        stage.order(shop, final="never")
        assert lines(shop) == []

    def test_is_not_told_while_a_cost_is_not_known(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        delivered(stage, shop)
        unknown = delivered(stage, shop)
        Order.objects.filter(pk=unknown.pk).update(cost_micros=None)
        Attempt.objects.filter(order=unknown).update(sale_cost_micros=None)
        for by in By:
            [line] = lines(shop, by)
            assert (line.orders, line.unknown, line.cost_micros, line.profit) == (2, 1, COST, None)

    def test_counts_and_sums_by_the_day_of_settling_lessons_f56(self, stage: Stage) -> None:
        """Created at 23:59 of one day in the shop's zone, settled on the next: both count and sum are on the next."""
        stage.move_to(datetime(2026, 3, 2, 20, 59, 30, tzinfo=UTC))
        shop = make_shop(stage.url)
        Tenant.objects.filter(pk=shop.tenant.pk).update(timezone="Europe/Istanbul")
        order = delivered(stage, shop)
        zone = ZoneInfo("Europe/Istanbul")
        assert order.created_at.astimezone(zone).date() == date(2026, 3, 2)
        assert order.settled_at is not None
        assert order.settled_at.astimezone(zone).date() == date(2026, 3, 3)
        whole = Period(None, None, zone)
        assert lines(shop, By.DAY, whole) == [Line("2026-03-03", "TRY", 1, PRICE, COST, 0)]
        assert lines(shop, By.DAY, Period(date(2026, 3, 2), date(2026, 3, 2), zone)) == []
        assert len(lines(shop, By.DAY, Period(date(2026, 3, 3), date(2026, 3, 3), zone))) == 1

    @pytest.mark.parametrize("by", By)
    def test_is_of_one_shop_lessons_f57(self, stage: Stage, by: By) -> None:
        """A report once listed the users of all tenants."""
        shop, other = make_shop(stage.url), make_shop(stage.url)
        delivered(stage, shop)
        delivered(stage, other)
        delivered(stage, other)
        assert [line.orders for line in lines(shop, by)] == [1]
        assert [line.orders for line in lines(other, by)] == [2]

    def test_has_a_line_for_each_customer_and_package_by_name(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        second = make_customer(shop.tenant)
        delivered(stage, shop)
        order_from(shop, customer=second)
        order_from(shop, customer=second)
        stage.run_until_quiet()
        assert [(line.key, line.orders) for line in lines(shop, By.CUSTOMER)] == sorted(
            [(shop.customer.name, 1), (second.name, 2)]
        )

    def test_by_provider_gives_each_account_the_units_that_it_delivered(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        second = make_integration(shop.tenant, stage.url)
        add_route(shop.package, second, position=2)
        player = new_player()
        stage.simulator.set_fate(recipient=player, times=1)
        stage.simulator.set_fate(recipient=player, place="refuse", refuse_class="product", times=1)
        order = order_from(shop, player, quantity=2)
        stage.simulator.set_fate(recipient=player)
        stage.run_until_quiet()
        assert order.units.filter(status="captured").count() == 2
        found = {line.key: (line.orders, line.sold_micros, line.cost_micros) for line in lines(shop, By.PROVIDER)}
        assert sum(sold for _, sold, _ in found.values()) == 2 * PRICE
        assert sum(cost for _, _, cost in found.values()) == 2 * COST

    def test_adds_no_two_currencies(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        delivered(stage, shop)
        Order.objects.filter(tenant=shop.tenant).update(currency="TRY")
        both = [*lines(shop), Line("2026-03-02", "USD", 1, 5_000_000, 4_000_000, 0)]
        assert [(line.currency, line.sold_micros) for line in reports.totals(both)] == [
            ("TRY", PRICE),
            ("USD", 5_000_000),
        ]
        assert reports.totals([*both, Line("x", "USD", 1, 1, 0, 1)])[1].profit is None

    @pytest.mark.parametrize("by", By)
    def test_asks_the_same_number_of_questions_for_any_number_of_orders(self, stage: Stage, by: By) -> None:
        shop = make_shop(stage.url)
        counts = []
        for _ in range(2):
            delivered(stage, shop)
            with CaptureQueriesContext(connection) as queries:
                lines(shop, by)
            counts.append(len(queries))
        assert counts[0] == counts[1] <= 3


class TestWhereTheMoneyIs:
    def test_is_told_from_the_ledger(self, stage: Stage) -> None:
        shop = make_shop(stage.url, balance="100")
        delivered(stage, shop)
        stage.order(shop, final="never")
        stock = reports.stock_taking(shop.tenant.pk)
        assert [(one.currency, str(one.wallets), str(one.held), str(one.floats)) for one in stock] == [
            ("TRY", "30.00 TRY", "35.00 TRY", "-31.50 TRY")
        ]
        assert str(stock[0].covered) == "-96.50 TRY"
        assert [(one.name, str(one.money)) for one in reports.floats(shop.tenant.pk)] == [
            (shop.integration.name, "-31.50 TRY")
        ]

    def test_the_trial_balance_sums_to_zero(self, stage: Stage) -> None:
        shop = make_shop(stage.url, balance="100")
        delivered(stage, shop)
        balances = reports.trial_balance(shop.tenant.pk)
        assert {one.kind: str(one.money) for one in balances} == {
            "cash": "-100.00 TRY",
            "cost": "31.50 TRY",
            "customer": "65.00 TRY",
            "float": "-31.50 TRY",
            "held": "0.00 TRY",
            "revenue": "35.00 TRY",
        }
        assert reports.is_balanced(balances)
        assert not reports.is_balanced(balances[1:])

    def test_is_of_one_shop(self, stage: Stage) -> None:
        shop, other = make_shop(stage.url, balance="100"), make_shop(stage.url, balance="7")
        assert str(reports.stock_taking(shop.tenant.pk)[0].wallets) == "100.00 TRY"
        assert str(reports.stock_taking(other.tenant.pk)[0].wallets) == "7.00 TRY"


def text_of(answer: Any, status: int = 200) -> str:
    assert answer.status_code == status
    content = b"".join(answer.streaming_content) if answer.streaming else answer.content
    return unescape(content.decode())


class TestThePages:
    URLS = ("profit", "profit_file", "report_money", "report_money_file")

    @pytest.mark.parametrize("name", URLS)
    def test_are_for_the_people_of_the_shop(self, people_fixture: People, name: str) -> None:
        path = reverse(f"panel:{name}")
        assert people_fixture.nobody.get(path).status_code == 302
        for browser in (people_fixture.owner, people_fixture.operator, people_fixture.viewer):
            assert browser.get(path).status_code == 200
            assert browser.get(f"{path}?shop={people_fixture.foreign_shop.tenant.pk}").status_code == 404
            assert browser.get(f"{path}?shop=nonsense").status_code == 404
        lonely = browser_of(make_person("lonely"))
        assert lonely.get(path).status_code == 404

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_show_the_figures_in_every_language(self, people_fixture: People, stage: Stage, language: str) -> None:
        delivered(stage, people_fixture.shop)
        browser: Client = people_fixture.owner
        page = text_of(browser.get(reverse("panel:profit"), {"by": "package"}, headers={"accept-language": language}))
        assert people_fixture.shop.package.code in page
        assert "35.00" in page
        assert "3.50" in page
        page = text_of(browser.get(reverse("panel:report_money"), headers={"accept-language": language}))
        assert "965.00" in page
        assert "-31.50" in page

    def test_refuse_days_that_are_none(self, people_fixture: People) -> None:
        path = reverse("panel:profit")
        assert people_fixture.owner.get(path, {"from": "yesterday"}).status_code == 400
        assert people_fixture.owner.get(reverse("panel:profit_file"), {"from": "2026-13-01"}).status_code == 400
        assert people_fixture.owner.get(path, {"by": "moon"}).status_code == 404

    def test_the_file_has_plain_numbers_and_no_formula(self, people_fixture: People, stage: Stage) -> None:
        shop = people_fixture.shop
        type(shop.customer).objects.filter(pk=shop.customer.pk).update(name="=HYPERLINK(1)")
        delivered(stage, shop)
        answer = people_fixture.owner.get(reverse("panel:profit_file"), {"by": "customer"})
        rows = list(csv.reader(io.StringIO(text_of(answer).removeprefix("\ufeff"))))
        assert rows[1] == ["'=HYPERLINK(1)", "1", "TRY", "35.00", "31.50", "3.50", "0"]
        answer = people_fixture.owner.get(reverse("panel:report_money_file"))
        rows = list(csv.reader(io.StringIO(text_of(answer).removeprefix("\ufeff"))))
        assert ["sales", "TRY", "35.00"] in rows

    def test_an_operator_of_two_shops_chooses_one(self, people_fixture: People, stage: Stage) -> None:
        ledger.deposit(
            people_fixture.foreign_shop.tenant.pk,
            people_fixture.foreign_shop.customer.pk,
            Money(5_000_000, "TRY"),
            key="extra",
            reason="test",
            actor="test",
            now=START,
        )
        root: Client = people_fixture.root
        page = text_of(root.get(reverse("panel:report_money"), {"shop": people_fixture.foreign_shop.tenant.pk}))
        assert "1005.00" in page
        assert people_fixture.shop.tenant.name in page
