"""Quotes: one customer, one package and quantity, some minutes, one order at exactly the price that was promised."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from pytest_django import DjangoAssertNumQueries

from apps.accounts.keys import issue_key
from apps.accounts.models import Customer, Tenant
from apps.catalog.models import MarginRule, Package, PackagePrice
from apps.common import clock
from apps.common.money import Money
from apps.orders import refusals
from apps.orders.creation import Created, NewOrder, create_order
from apps.orders.models import Order, Quote
from apps.orders.quotes import make_quote
from apps.providers.models import Integration, PackageMapping
from apps.wallet import ledger
from tests.factories import Shop, Stage, make_customer, make_shop
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.test_prices import make_rate
from tests.functional.test_rest_orders import Rest, problem, read, standing

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

QUOTES = "/api/v1/quotes"


@pytest.fixture
def shop(stage: Stage) -> Shop:
    return make_shop()


def quote_of(shop: Shop, quantity: int = 1, customer: Customer | None = None) -> Quote:
    return make_quote(customer or shop.customer, shop.package.code, quantity, clock.now())


def use(
    shop: Shop, quote: Quote, *, quantity: int | None = None, key: str = "k-1", customer: Customer | None = None
) -> Created:
    new = NewOrder(shop.package.code, quantity or quote.quantity, {"player_id": f"P-{key}"}, quote_id=quote.public_id)
    return create_order(customer or shop.customer, new, key, clock.now())


def double_the_prices() -> None:
    PackagePrice.objects.update(unit_price_micros=70_000_000)


class TestAnOrderWithAQuote:
    def test_costs_exactly_what_was_quoted(self, shop: Shop) -> None:
        quote = quote_of(shop, 3)
        double_the_prices()
        order = use(shop, quote).order
        assert (order.unit_price_micros, order.price_micros, order.quote) == (35_000_000, 105_000_000, quote)
        assert ledger.balance_of(shop.customer.pk, "TRY").micros == 895_000_000

    def test_is_found_again_by_its_key_when_the_quote_is_over(self, stage: Stage, shop: Shop) -> None:
        quote = quote_of(shop)
        first = use(shop, quote).order
        stage.move(3600)
        again = use(shop, quote)
        assert (again.order, again.is_replay) == (first, True)

    def test_under_the_key_of_an_order_without_it_is_another_content(self, shop: Shop) -> None:
        create_order(shop.customer, NewOrder(shop.package.code, 1, {"player_id": "P0001"}), "k-1", clock.now())
        with pytest.raises(refusals.IdempotencyMismatch):
            use(shop, quote_of(shop))

    def test_costs_two_statements_more(self, shop: Shop, django_assert_num_queries: DjangoAssertNumQueries) -> None:
        use(shop, quote_of(shop))
        quote = quote_of(shop)
        customer = Customer.objects.select_related("tenant").get(pk=shop.customer.pk)
        with django_assert_num_queries(28 + (connection.vendor == "postgresql")):
            use(shop, quote, key="counted", customer=customer)


class TestAQuote:
    def test_is_used_once(self, shop: Shop) -> None:
        quote = quote_of(shop)
        first = use(shop, quote).order
        with pytest.raises(refusals.QuoteUsed, match=f"order {first.pk} was placed with this quote"):
            use(shop, quote, key="k-2")
        assert Order.objects.count() == 1

    def test_that_its_own_repeated_request_has_used_meanwhile_finds_the_order(self, shop: Shop) -> None:
        """The other request commits between this one's look at the key and its look at the quote."""
        quote = quote_of(shop)
        faster: list[Order | None] = []

        def be_faster(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
            if not faster and 'FROM "orders_quote"' in sql:
                faster.append(None)
                faster[0] = use(shop, quote).order
            return execute(sql, params, many, context)

        with connection.execute_wrapper(be_faster):
            late = use(shop, quote)
        assert (late.order, late.is_replay) == (faster[0], True)
        assert Order.objects.count() == 1

    def test_is_free_again_when_the_order_was_not_written(self, shop: Shop) -> None:
        quote = quote_of(shop)
        PackagePrice.objects.update(unit_price_micros=1)
        ledger.hold_order(shop.tenant.pk, shop.customer.pk, 10**9, Money(990_000_000, "TRY"), clock.now())
        with pytest.raises(refusals.NotEnoughBalance):
            use(shop, quote)
        ledger.deposit(
            shop.tenant.pk,
            shop.customer.pk,
            Money(100_000_000, "TRY"),
            key="d",
            reason="test",
            actor="t",
            now=clock.now(),
        )
        assert use(shop, quote).order.unit_price_micros == 35_000_000

    def test_is_used_once_although_both_orders_found_it_unused(
        self, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The unique column decides; whoever is second is told what happened."""
        quote = quote_of(shop)
        monkeypatch.setattr("apps.orders.quotes.check_unused", lambda *args: None)
        first = use(shop, quote).order
        with pytest.raises(refusals.QuoteUsed, match=f"order {first.pk} was placed"):
            use(shop, quote, key="k-2")
        assert (Order.objects.count(), ledger.balance_of(shop.customer.pk, "TRY").micros) == (1, 965_000_000)

    def test_holds_for_the_shops_minutes(self, stage: Stage, shop: Shop) -> None:
        Tenant.objects.filter(pk=shop.tenant.pk).update(quote_minutes=5)
        quote, late = quote_of(shop), quote_of(shop)
        assert quote.expires_at == clock.now() + timedelta(minutes=5)
        stage.move(299.999)
        assert use(shop, quote).order.pk
        stage.move(0.001)
        with pytest.raises(refusals.QuoteExpired, match="this quote was good until 2026-03-02T09:05:00Z"):
            use(shop, late, key="k-2")

    def test_of_another_customer_is_unknown(self, shop: Shop) -> None:
        other = make_customer(shop.tenant)
        with pytest.raises(refusals.UnknownQuote):
            use(shop, quote_of(shop), customer=other)
        assert Order.objects.count() == 0

    def test_is_for_its_package_and_quantity(self, shop: Shop) -> None:
        quote = quote_of(shop, 2)
        with pytest.raises(refusals.QuoteMismatch):
            use(shop, quote, quantity=3)
        PackagePrice.objects.create(
            package=(twin := Package.objects.get(pk=shop.package.pk)), currency="USD", unit_price_micros=1
        )
        twin.pk, twin.code = None, "twin"
        twin.save()
        for model in (PackageMapping, PackagePrice):
            for row in model.objects.filter(package=shop.package):
                row.pk, row.package = None, twin
                row.save()
        new = NewOrder("twin", 2, {"player_id": "P0001"}, quote_id=quote.public_id)
        with pytest.raises(refusals.QuoteMismatch):
            create_order(shop.customer, new, "k-1", clock.now())
        assert use(shop, quote).order.quantity == 2

    def test_is_withdrawn_when_the_cost_has_moved_past_the_loss_guard(self, shop: Shop) -> None:
        quote = quote_of(shop)
        PackageMapping.objects.update(cost_micros=35_000_000)
        double_the_prices()
        PackageMapping.objects.update(cost_micros=35_000_001)
        with pytest.raises(refusals.QuoteWithdrawn, match="is above the price in TRY"):
            use(shop, quote)
        Tenant.objects.filter(pk=shop.tenant.pk).update(loss_guard_percent=Decimal(1))
        assert use(shop, quote).order.unit_price_micros == 35_000_000

    def test_is_withdrawn_when_the_rate_has_moved(self, stage: Stage, shop: Shop) -> None:
        Integration.objects.update(currency="USD")
        PackageMapping.objects.update(cost_micros=800_000)
        rate = make_rate(shop.tenant, "40")
        quote = quote_of(shop)
        assert (quote.unit_cost_micros, quote.cost_rate, quote.cost_rate_via) == (32_000_000, rate, None)
        stage.move(1)
        make_rate(shop.tenant, "44")
        with pytest.raises(refusals.QuoteWithdrawn):
            use(shop, quote)

    def test_is_not_given_for_what_cannot_be_sold(self, shop: Shop) -> None:
        for wrong, refusal in (
            (("none", 1), refusals.UnknownPackage),
            ((shop.package.code, 6), refusals.WrongQuantity),
        ):
            with pytest.raises(refusal):
                make_quote(shop.customer, *wrong, clock.now())
        PackageMapping.objects.update(cost_micros=35_000_001)
        with pytest.raises(refusals.PriceUnderRevision):
            quote_of(shop)
        PackagePrice.objects.all().delete()
        with pytest.raises(refusals.NotSellable):
            quote_of(shop)
        assert Quote.objects.count() == 0

    def test_holds_a_price_made_by_a_margin_rule(self, shop: Shop) -> None:
        PackagePrice.objects.all().delete()
        MarginRule.objects.create(tenant=shop.tenant, currency="TRY", percent=Decimal(10))
        quote = quote_of(shop)
        PackageMapping.objects.update(cost_micros=34_000_000)
        assert use(shop, quote).order.unit_price_micros == 34_650_000

    def test_that_nobody_used_is_forgotten_a_day_after_its_end(self, stage: Stage, shop: Shop) -> None:
        unused, used = quote_of(shop), quote_of(shop)
        use(shop, used)
        stage.move(86400 + 600)
        quote_of(shop)
        assert Quote.objects.filter(pk=unused.pk).exists()
        stage.move(1)
        quote_of(shop)
        assert not Quote.objects.filter(pk=unused.pk).exists()
        assert Quote.objects.filter(pk=used.pk).exists()


@pytest.mark.postgres
def test_two_orders_with_one_quote_at_once_one_wins(committed: None) -> None:
    shop = make_shop()
    for round_no in range(5):
        quote = quote_of(shop)
        met = threading.Barrier(4, timeout=20)

        def place(n: int, quote: Quote = quote, met: threading.Barrier = met, round_no: int = round_no) -> str:
            try:
                met.wait()
                return str(use(shop, quote, key=f"k-{round_no}-{n}").order.pk)
            except refusals.QuoteUsed:
                return "used"
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            said = list(pool.map(place, range(4)))
        assert sorted(word == "used" for word in said) == [False, True, True, True]
        assert Order.objects.filter(quote=quote).count() == 1
    assert ledger.balance_of(shop.customer.pk, "TRY").micros == 1_000_000_000 - 5 * 35_000_000


class TestTheDoor:
    @pytest.fixture
    def rest(self, shop: Shop) -> Rest:
        return Rest(issue_key(shop.customer, clock.now())[1])

    def body(self, shop: Shop, **more: Any) -> dict[str, Any]:
        return {"package": shop.package.code, "fields": {"player_id": "P0001"}, **more}

    def test_gives_a_quote_and_takes_it_once(self, stage: Stage, shop: Shop, rest: Rest) -> None:
        told = read(rest.post(QUOTES, {"package": shop.package.code, "quantity": 2}), 201)
        quote_id = told.pop("quote_id")
        assert told == {
            "package": shop.package.code,
            "quantity": 2,
            "unit_price": "35.00",
            "price": "70.00",
            "currency": "TRY",
            "created_at": "2026-03-02T09:00:00Z",
            "expires_at": "2026-03-02T09:10:00Z",
        }
        double_the_prices()
        order = read(rest.order(self.body(shop, quantity=2, quote_id=quote_id)), 201)
        assert (order["price"], order["quote_id"]) == ("70.00", quote_id)
        assert read(rest.get(f"/api/v1/orders/{order['id']}"))["quote_id"] == quote_id
        used = rest.order(self.body(shop, quantity=2, quote_id=quote_id), key="k-2")
        assert standing(used) == (409, "quote_used")
        assert problem(used)["errors"][0]["pointer"] == "/quote_id"
        stage.move(601)
        late = read(rest.post(QUOTES, {"package": shop.package.code}), 201)["quote_id"]
        stage.move(600)
        expired = rest.order(self.body(shop, quote_id=late), key="k-3")
        assert standing(expired) == (409, "quote_expired")
        assert problem(expired)["retryable"] is False

    def test_does_not_tell_what_the_goods_cost_us(self, shop: Shop, rest: Rest) -> None:
        quote_id = read(rest.post(QUOTES, {"package": shop.package.code}), 201)["quote_id"]
        PackageMapping.objects.update(cost_micros=36_123_456)
        for answer, expected in (
            (rest.order(self.body(shop, quote_id=quote_id)), (409, "quote_withdrawn")),
            (rest.post(QUOTES, {"package": shop.package.code}), (409, "price_under_revision")),
        ):
            assert standing(answer) == expected
            assert shop.integration.name.encode() not in answer.content
            assert b"36.12" not in answer.content

    @pytest.mark.parametrize(
        ("body", "expected", "pointer"),
        [
            ({"package": "none"}, (422, "package_unknown"), "/package"),
            ({"package": "x" * 61}, (422, "package_unknown"), "/package"),
            ({"package": 5}, (422, "request_invalid"), "/package"),
            ({"quantity": 0}, (422, "quantity_not_allowed"), "/quantity"),
            ({"quantity": 6}, (422, "quantity_not_allowed"), "/quantity"),
            ({"quantity": 1.5}, (422, "request_invalid"), "/quantity"),
            ({"price": "1.00"}, (422, "request_invalid"), "/price"),
        ],
    )
    def test_says_what_to_mend(
        self, shop: Shop, rest: Rest, body: dict[str, Any], expected: tuple[int, str], pointer: str
    ) -> None:
        answer = rest.post(QUOTES, {"package": shop.package.code, **body})
        assert standing(answer) == expected
        assert problem(answer)["errors"][0]["pointer"] == pointer
        assert Quote.objects.count() == 0

    def test_needs_a_key(self, shop: Shop) -> None:
        assert standing(Rest("").post(QUOTES, {"package": shop.package.code})) == (401, "key_missing")
