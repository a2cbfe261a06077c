"""Prices in the database: groups, validity, margin rules, rates, and whether a package can be sold."""

from __future__ import annotations

import threading
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.utils import translation
from pytest_django import DjangoAssertNumQueries

from apps.accounts.models import CircularGroups, Customer, PriceGroup, Tenant
from apps.catalog.models import FxRate, MarginRule, Package, PackagePrice
from apps.catalog.prices import groups_of
from apps.catalog.rates import NoRate, Rates, StaleRate
from apps.common import clock
from apps.common.money import BadAmount, to_micros
from apps.orders import refusals
from apps.orders.creation import NewOrder, create_order
from apps.orders.models import Order
from apps.orders.sellable import WORDS, Finding, Missing, can_be_sold, look_at, missing_for_sale
from apps.providers.models import Integration, PackageMapping, Route
from tests.factories import START, Shop, Stage, add_route, make_customer, make_integration, make_shop, order_from
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]


def make_group(shop: Shop, name: str, parent: PriceGroup | None = None) -> PriceGroup:
    return PriceGroup.objects.create(tenant=shop.tenant, name=name, parent=parent)


def make_price(shop: Shop, price: str, **fields: Any) -> PackagePrice:
    return PackagePrice.objects.create(
        **{"package": shop.package, "currency": "TRY", "unit_price_micros": to_micros(price), **fields}
    )


def make_rate(
    tenant: Tenant, rate: str, one: str = "USD", other: str = "TRY", *, at: datetime | None = None, **fields: Any
) -> FxRate:
    return FxRate.objects.create(
        tenant=tenant,
        from_currency=one,
        to_currency=other,
        rate=Decimal(rate),
        source="test",
        valid_from=at or clock.now(),
        **fields,
    )


def make_rule(shop: Shop, **fields: Any) -> MarginRule:
    return MarginRule.objects.create(**{"tenant": shop.tenant, "currency": "TRY", **fields})


def missing_of(package: Package) -> list[Finding]:
    (sale,) = look_at([package], clock.now())
    return missing_for_sale(sale)


def codes_of(package: Package) -> list[str]:
    return [str(found.code) for found in missing_of(package)]


@pytest.fixture
def shop() -> Shop:
    return make_shop()


class TestAPriceGroup:
    def test_has_the_prices_of_its_parents(self, shop: Shop) -> None:
        wholesale = make_group(shop, "wholesale")
        gold = make_group(shop, "gold", make_group(shop, "silver", wholesale))
        make_price(shop, "33.00", price_group=wholesale)
        Customer.objects.filter(pk=shop.customer.pk).update(price_group=gold)
        shop.customer.refresh_from_db()
        assert groups_of(shop.customer) == [gold.pk, gold.parent_id, wholesale.pk, None]
        assert order_from(shop).unit_price_micros == 33_000_000

    def test_refuses_to_go_round_in_a_circle(self, shop: Shop) -> None:
        top = make_group(shop, "top")
        below = make_group(shop, "below", make_group(shop, "middle", top))
        top.parent = below
        with pytest.raises(CircularGroups):
            top.save()
        with pytest.raises(ValidationError) as refused:
            top.full_clean()
        sentence = "below leads back to this group: price groups cannot go round in a circle"
        assert refused.value.message_dict == {"parent": [sentence]}
        assert PriceGroup.objects.get(pk=top.pk).parent is None

    def test_refuses_to_be_its_own_parent(self, shop: Shop) -> None:
        group = make_group(shop, "group")
        group.parent = group
        with pytest.raises(CircularGroups):
            group.save()

    def test_refuses_a_parent_of_another_shop(self, shop: Shop) -> None:
        foreign = make_group(make_shop(), "foreign")
        with pytest.raises(ValidationError, match="another shop"):
            make_group(shop, "own", foreign)

    def test_that_was_made_circular_behind_our_back_still_ends(self, shop: Shop) -> None:
        one = make_group(shop, "one")
        two = make_group(shop, "two", one)
        PriceGroup.objects.filter(pk=one.pk).update(parent=two)
        Customer.objects.filter(pk=shop.customer.pk).update(price_group=one)
        shop.customer.refresh_from_db()
        assert groups_of(shop.customer) == [one.pk, two.pk, None]


class TestAPrice:
    def test_counts_from_its_beginning_until_before_its_end(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        change_at = START + timedelta(hours=1)
        PackagePrice.objects.filter(package=shop.package).update(valid_until=change_at)
        make_price(shop, "36.00", valid_from=change_at)
        stage.move_to(change_at - timedelta(microseconds=1))
        assert order_from(shop).unit_price_micros == 35_000_000
        stage.move_to(change_at)
        assert order_from(shop).unit_price_micros == 36_000_000

    def test_of_a_tier_counts_from_its_quantity(self, shop: Shop) -> None:
        make_price(shop, "32.00", from_quantity=3)
        assert [order_from(shop, quantity=n).price_micros for n in (2, 3)] == [70_000_000, 96_000_000]

    @pytest.mark.parametrize(
        ("first", "second"),
        [
            ((None, None), (None, None)),
            ((None, 2), (1, None)),
            ((1, 3), (2, 4)),
            ((1, 4), (2, 3)),
            ((2, None), (None, 3)),
        ],
    )
    def test_refuses_to_overlap_with_another(self, shop: Shop, first: tuple[Any, Any], second: tuple[Any, Any]) -> None:
        group = make_group(shop, "g")
        ends = [
            {"valid_from": begin and START + timedelta(days=begin), "valid_until": end and START + timedelta(days=end)}
            for begin, end in (first, second)
        ]
        make_price(shop, "1", price_group=group, **ends[0])
        with pytest.raises(DatabaseError, match="two prices for the same buyer"), transaction.atomic():
            make_price(shop, "2", price_group=group, **ends[1])
        apart = make_price(shop, "2", price_group=group, from_quantity=2, **ends[1])
        with pytest.raises(DatabaseError, match="two prices for the same buyer"), transaction.atomic():
            PackagePrice.objects.filter(pk=apart.pk).update(from_quantity=1)

    def test_may_follow_another_at_once(self, shop: Shop) -> None:
        PackagePrice.objects.filter(package=shop.package).update(valid_until=START)
        assert make_price(shop, "36.00", valid_from=START).pk

    def test_is_no_float_and_has_at_most_six_decimals(self) -> None:
        for wrong in (35.0, "35.0000001", "1e400", "NaN", "12,50"):
            with pytest.raises(BadAmount):
                to_micros(wrong)  # type: ignore[arg-type]  # a float is the mistake

    @pytest.mark.parametrize("currency", ["ABC", "TR", "lira", ""])
    def test_is_in_a_known_currency(self, shop: Shop, currency: str) -> None:
        with pytest.raises(ValidationError) as refused:
            PackagePrice(package=shop.package, currency=currency, unit_price_micros=1).full_clean()
        assert list(refused.value.message_dict) == ["currency"]


@pytest.mark.postgres
class TestTwoPricesAtOnce:
    @pytest.mark.django_db(transaction=True)
    def test_one_of_them_is_refused(self, committed: None) -> None:
        shop = make_shop()
        PackagePrice.objects.filter(package=shop.package).delete()
        met, outcomes = threading.Barrier(2, timeout=10), []

        def save() -> None:
            try:
                with transaction.atomic():
                    met.wait()
                    make_price(shop, "36.00")
                outcomes.append("saved")
            except DatabaseError:
                outcomes.append("refused")
            finally:
                connection.close()

        threads = [threading.Thread(target=save) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=20)
        assert sorted(outcomes) == ["refused", "saved"]


class TestAMarginRule:
    def test_makes_the_price_where_none_is_set(self, shop: Shop) -> None:
        PackagePrice.objects.filter(package=shop.package).delete()
        make_rule(shop, percent=Decimal(20))
        assert order_from(shop).unit_price_micros == 37_800_000
        make_rule(shop, product=shop.package.product, percent=Decimal(10))
        assert order_from(shop).unit_price_micros == 34_650_000
        make_rule(shop, package=shop.package, kind="amount", amount_micros=1_000_000, step_micros=500_000)
        assert order_from(shop).unit_price_micros == 32_500_000

    def test_gives_way_to_a_price_that_is_set(self, shop: Shop) -> None:
        make_rule(shop, package=shop.package, percent=Decimal(1))
        assert order_from(shop).unit_price_micros == 35_000_000

    def test_makes_no_price_of_a_cost_that_is_not_known(self, shop: Shop) -> None:
        PackagePrice.objects.filter(package=shop.package).delete()
        PackageMapping.objects.filter(package=shop.package).update(cost_micros=None)
        make_rule(shop, percent=Decimal(20))
        with pytest.raises(refusals.NotSellable, match="there is no price in TRY"):
            order_from(shop)

    def test_takes_the_cost_in_the_currency_of_the_sale(self, shop: Shop) -> None:
        make_rate(shop.tenant, "40")
        make_rule(shop, currency="USD", percent=Decimal(10))
        customer = make_customer(shop.tenant, currency="USD")
        assert order_from(shop, customer=customer).unit_price_micros == 870_000  # 31.50 / 40 * 1.1 = 0.86625

    def test_is_for_a_product_or_a_package_of_its_own_shop(self, shop: Shop) -> None:
        foreign = make_shop()
        with pytest.raises(ValidationError, match="another shop"):
            MarginRule(tenant=shop.tenant, package=foreign.package, currency="TRY").full_clean()
        with pytest.raises(ValidationError, match="not both"):
            MarginRule(
                tenant=shop.tenant, package=shop.package, product=shop.package.product, currency="TRY"
            ).full_clean()


class TestTheRates:
    def test_find_the_newest_row_in_either_direction(self, shop: Shop) -> None:
        now = clock.now()
        make_rate(shop.tenant, "40", at=now - timedelta(hours=2))
        newest = make_rate(shop.tenant, "0.025", "TRY", "USD", at=now - timedelta(hours=1))
        make_rate(shop.tenant, "50", at=now + timedelta(seconds=1))
        found = Rates(shop.tenant, now).find("USD", "TRY")
        assert found.rates == (newest,)
        assert found.convert_up(1_000_000) == 40_000_000

    def test_go_by_way_of_the_shops_currency(self, shop: Shop) -> None:
        dollar, euro = make_rate(shop.tenant, "40"), make_rate(shop.tenant, "44", "EUR")
        found = Rates(shop.tenant, clock.now()).find("USD", "EUR")
        assert (found.first, found.second) == (dollar, euro)
        assert found.convert_up(1_100_000) == 1_000_000

    def test_of_other_shops_do_not_count(self, shop: Shop) -> None:
        make_rate(make_shop().tenant, "40")
        with pytest.raises(NoRate, match="no exchange rate from USD to TRY"):
            Rates(shop.tenant, clock.now()).find("USD", "TRY")

    def test_that_are_too_old_or_over_convert_nothing(self, shop: Shop) -> None:
        now = clock.now()
        make_rate(shop.tenant, "40", at=now - timedelta(hours=24))
        with pytest.raises(StaleRate, match="too old to convert with"):
            Rates(shop.tenant, now).find("TRY", "USD")
        assert Rates(shop.tenant, now - timedelta(seconds=1)).find("TRY", "USD").target == "USD"
        Tenant.objects.filter(pk=shop.tenant.pk).update(rate_max_age_hours=48)
        shop.tenant.refresh_from_db()
        assert Rates(shop.tenant, now).find("TRY", "USD").target == "USD"
        FxRate.objects.update(valid_until=now)
        with pytest.raises(NoRate):
            Rates(shop.tenant, now).find("TRY", "USD")

    def test_are_history_and_never_change(self, shop: Shop) -> None:
        rate = make_rate(shop.tenant, "40")
        for change in (lambda: FxRate.objects.update(rate=41), lambda: FxRate.objects.filter(pk=rate.pk).delete()):
            with pytest.raises(DatabaseError), transaction.atomic():
                change()
        FxRate.objects.update(valid_until=rate.valid_from + timedelta(days=1))

    @pytest.mark.parametrize("rate", ["0", "-1"])
    def test_are_above_zero(self, shop: Shop, rate: str) -> None:
        with pytest.raises(IntegrityError), transaction.atomic():
            make_rate(shop.tenant, rate)

    @pytest.mark.parametrize("rate", ["0.00000001", "9999999.99999999", "41.12345678", "1234567.12345678"])
    def test_keep_every_decimal(self, shop: Shop, rate: str) -> None:
        assert FxRate.objects.get(pk=make_rate(shop.tenant, rate).pk).rate == Decimal(rate)


class TestTheLossGuard:
    def test_blocks_an_order_whose_cost_is_above_its_price(self, shop: Shop) -> None:
        PackageMapping.objects.filter(package=shop.package).update(cost_micros=35_000_001)
        with pytest.raises(refusals.PriceUnderRevision, match="is above the price in TRY by more than the shop allows"):
            order_from(shop)
        assert Order.objects.count() == 0

    def test_lets_the_shop_allow_a_loss(self, shop: Shop) -> None:
        Tenant.objects.filter(pk=shop.tenant.pk).update(loss_guard_percent=Decimal("10"))
        PackageMapping.objects.filter(package=shop.package).update(cost_micros=38_500_000)
        assert order_from(shop).price_micros == 35_000_000
        PackageMapping.objects.filter(package=shop.package).update(cost_micros=38_500_001)
        with pytest.raises(refusals.PriceUnderRevision):
            order_from(shop)

    def test_lets_an_order_pass_whose_cost_is_not_known(self, shop: Shop) -> None:
        PackageMapping.objects.filter(package=shop.package).update(cost_micros=None)
        assert order_from(shop).pk

    def test_lets_an_order_pass_that_another_route_can_buy(self, shop: Shop) -> None:
        PackageMapping.objects.filter(package=shop.package).update(cost_micros=99_000_000)
        add_route(shop.package, make_integration(shop.tenant, "http://127.0.0.1:9"), position=2)
        assert order_from(shop).pk


class TestAPackage:
    def test_that_can_be_sold_lacks_nothing(self, shop: Shop) -> None:
        assert missing_of(shop.package) == []

    def test_says_what_it_lacks(self, shop: Shop) -> None:
        account, package = shop.integration, shop.package
        steps: list[tuple[Any, list[str]]] = [
            (lambda: PackageMapping.objects.update(cost_micros=35_000_001), ["cost_above_price"]),
            (lambda: make_price(shop, "36", price_group=make_group(shop, "g")), ["cost_above_some_prices"]),
            (lambda: PackageMapping.objects.update(cost_micros=None), ["cost_missing"]),
            (PackagePrice.objects.all().delete, ["cost_missing", "price_missing"]),
            (lambda: PackageMapping.objects.update(kupur=""), ["mapping_incomplete", "cost_missing", "price_missing"]),
            (PackageMapping.objects.all().delete, ["mapping_missing", "price_missing"]),
            (
                lambda: Integration.objects.filter(pk=account.pk).update(sealed_secrets=""),
                ["credential_missing", "mapping_missing", "price_missing"],
            ),
            (
                lambda: Integration.objects.filter(pk=account.pk).update(is_enabled=False, sealed_secrets="k9$x"),
                ["account_disabled", "credentials_unreadable", "mapping_missing", "price_missing"],
            ),
            (Route.objects.all().delete, ["route_missing"]),
        ]
        for change, codes in steps:
            change()
            assert codes_of(package) == codes
            assert can_be_sold(missing_of(package)) is (set(codes) <= {"cost_missing", "cost_above_some_prices"})

    def test_lacks_an_exchange_rate(self, shop: Shop) -> None:
        Integration.objects.filter(pk=shop.integration.pk).update(currency="USD")
        PackageMapping.objects.update(cost_micros=1)
        assert codes_of(shop.package) == ["rate_missing"]
        make_rate(shop.tenant, "41", at=clock.now() - timedelta(hours=25))
        assert codes_of(shop.package) == ["rate_stale"]
        make_rate(shop.tenant, "41")
        assert codes_of(shop.package) == []

    @pytest.mark.parametrize(
        ("language", "words"),
        [
            ("en", "there is no price in TRY"),
            ("ar", "لا يوجد سعر بعملة TRY"),
            ("tr", "TRY için fiyat yok"),
        ],
    )
    def test_says_it_in_three_languages(self, shop: Shop, language: str, words: str) -> None:
        PackagePrice.objects.all().delete()
        with translation.override(language):
            assert [str(found) for found in missing_of(shop.package)] == [words]

    def test_has_words_for_everything_that_can_be_missing(self) -> None:
        assert set(WORDS) == set(Missing)

    def test_is_looked_at_with_as_few_queries_as_many_are(
        self, shop: Shop, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        for _ in range(3):
            make_shop()
        packages = list(Package.objects.select_related("tenant"))
        with django_assert_num_queries(
            4 + 4
        ):  # routes, mappings, items, prices; the margin rules of each of four shops
            assert [missing_for_sale(sale) for sale in look_at(packages, clock.now())] == [[]] * 4


class TestCreatingAnOrder:
    @pytest.mark.parametrize(("has_group", "statements"), [(False, 26), (True, 27)])
    def test_costs_this_many_statements(
        self, shop: Shop, has_group: bool, statements: int, django_assert_num_queries: DjangoAssertNumQueries
    ) -> None:
        order_from(shop)  # the house accounts exist from the first order on
        if has_group:
            group = make_group(shop, "g")
            make_price(shop, "34", price_group=group)
            Customer.objects.filter(pk=shop.customer.pk).update(price_group=group)
        customer = Customer.objects.select_related("tenant").get(pk=shop.customer.pk)
        new = NewOrder(shop.package.code, 1, {"player_id": "P900001"})
        with django_assert_num_queries(statements + (connection.vendor == "postgresql")):  # it locks the key
            create_order(customer, new, "counted", clock.now())
