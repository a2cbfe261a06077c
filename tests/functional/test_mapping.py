"""Which item of a provider's list a package is: suggestions in order, a preview, and what is saved."""

from __future__ import annotations

import pytest

from apps.catalog.models import InputField, Package, Product
from apps.common import clock
from apps.common.money import Money
from apps.common.natural import natural_key
from apps.providers.catalogue_models import CatalogItem
from apps.providers.mapping import Concern, ItemChanged, least_quantity, preview_mapping, save_mapping
from apps.providers.models import Integration, PackageMapping
from apps.providers.suggestions import has_same_numbers, is_plausible, suggest
from tests.factories import NOWHERE, make_integration, make_tenant

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

PRICE = Money(35_000_000, "TRY")


@pytest.fixture
def account() -> Integration:
    return make_integration(make_tenant(), NOWHERE)


@pytest.fixture
def package(account: Integration) -> Package:
    """PUBG, 60 UC."""
    product = Product.objects.create(tenant=account.tenant, name="PUBG Mobile")
    InputField.objects.create(product=product, name="player_id", label="Player ID")
    return Package.objects.create(tenant=account.tenant, product=product, code="pubg-60", name="60 UC")


def listed(account: Integration, name: str, kupur: str, cost: int | None = 31_500_000, **facts: object) -> CatalogItem:
    """An item that was approved."""
    given = {"group": "PUBG Mobile", "currency": "" if cost is None else "TRY", **facts}
    return CatalogItem.objects.create(
        integration=account,
        key=f"kupur={kupur}&oyun=152",
        ids={"oyun": "152", "kupur": kupur},
        name=name,
        sort_key=natural_key(name),
        cost_micros=cost,
        seen_at=clock.now(),
        changed_at=clock.now(),
        changed_by="olga",
        **given,
    )


class TestSuggestions:
    def test_take_60_for_no_660_however_alike_the_names_are(self, package: Package, account: Integration) -> None:
        """LESSONS C29: an import matched by substring, "60" inside "660"."""
        listed(account, "PUBG Mobile 660 UC", "660", 31_500_000)
        listed(account, "UC (60)", "60", 31_500_000)
        listed(account, "PUBG Mobile 6 UC", "6", 31_500_000)
        found = suggest(package, account, PRICE)
        assert [(one.item.name, one.has_number) for one in found] == [
            ("UC (60)", True),
            ("PUBG Mobile 6 UC", False),
            ("PUBG Mobile 660 UC", False),
        ]

    def test_put_a_sane_price_before_a_likelier_name(self, package: Package, account: Integration) -> None:
        listed(account, "PUBG Mobile 60 UC", "60", 315_000_000)
        listed(account, "PUBG 60", "61", 31_500_000)
        assert [one.item.name for one in suggest(package, account, PRICE)] == ["PUBG 60", "PUBG Mobile 60 UC"]

    def test_put_a_far_likelier_name_before_a_sane_price(self, package: Package, account: Integration) -> None:
        listed(account, "PUBG Mobile 60 UC", "60", 315_000_000)
        listed(account, "Steam Wallet 60", "61", 31_500_000, group="Steam")
        assert [one.item.name for one in suggest(package, account, PRICE)] == ["PUBG Mobile 60 UC", "Steam Wallet 60"]

    def test_are_by_name_where_numbers_and_prices_are_alike(self, package: Package, account: Integration) -> None:
        listed(account, "Free Fire 60", "1", group="Free Fire")
        listed(account, "PUBG Mobile 60 UC", "2")
        found = suggest(package, account, PRICE)
        assert [one.item.name for one in found] == ["PUBG Mobile 60 UC", "Free Fire 60"]
        assert found[0].likeness > found[1].likeness

    def test_look_at_the_ids_where_a_name_has_no_number(self, package: Package, account: Integration) -> None:
        assert has_same_numbers(package, listed(account, "PUBG UC", "60"))
        assert not has_same_numbers(package, listed(account, "PUBG 660 UC", "600"))

    def test_leave_out_what_is_gone_and_what_was_not_searched_for(self, package: Package, account: Integration) -> None:
        listed(account, "PUBG Mobile 60 UC", "60", is_listed=False)
        listed(account, "PUBG Global 60 UC", "61")
        listed(account, "Steam 60", "62", group="Steam")
        assert [one.item.name for one in suggest(package, account, PRICE, "pubg")] == ["PUBG Global 60 UC"]

    def test_tell_which_package_has_an_item_already(self, package: Package, account: Integration) -> None:
        listed(account, "PUBG Mobile 60 UC", "60")
        other = Package.objects.create(tenant=account.tenant, product=package.product, code="other", name="60 UC v2")
        PackageMapping.objects.create(package=other, integration=account, oyun="152", kupur="60")
        assert suggest(package, account, PRICE)[0].is_taken_by == "PUBG Mobile / 60 UC v2"
        assert suggest(other, account, PRICE)[0].is_taken_by == ""

    @pytest.mark.parametrize(
        ("cost", "verdict"),
        [
            (Money(35_000_000, "TRY"), True),
            (Money(35_000_001, "TRY"), False),
            (Money(7_000_000, "TRY"), True),
            (Money(6_999_999, "TRY"), False),
            (Money(31_500_000, "USD"), None),
            (None, None),
        ],
    )
    def test_compare_prices_of_one_currency_only(self, cost: Money | None, verdict: bool | None) -> None:
        assert is_plausible(cost, PRICE) is verdict


class TestAPreview:
    def test_shows_what_would_be_stored_and_demanded(self, package: Package, account: Integration) -> None:
        item = listed(account, "PUBG Mobile 60 UC", "60", fields=["player_id", "zone"])
        shown = preview_mapping(package, account, item, PRICE)
        assert (shown.oyun, shown.kupur, shown.params, shown.cost_micros) == ("152", "60", {}, 31_500_000)
        assert [(demand.name, demand.is_asked) for demand in shown.demands] == [("player_id", True), ("zone", False)]
        assert shown.concerns == (Concern.FIELDS,)
        assert PackageMapping.objects.count() == 0

    @pytest.mark.parametrize(
        ("facts", "concern"),
        [
            ({"name": "PUBG Mobile 660 UC", "kupur": "660"}, Concern.NUMBER),
            ({"cost": 315_000_000}, Concern.PRICE),
            ({"currency": "USD"}, Concern.CURRENCY),
            ({"cost": None}, Concern.NO_COST),
            ({"is_available": False}, Concern.UNAVAILABLE),
            ({"quantity_kind": "range", "quantity_min": 100, "quantity_max": 1000}, Concern.QUANTITY),
            ({"gives_code": False}, Concern.CODE),
        ],
    )
    def test_names_what_a_person_should_look_at(
        self, package: Package, account: Integration, facts: dict[str, object], concern: Concern
    ) -> None:
        item = listed(account, **{"name": "PUBG Mobile 60 UC", "kupur": "60", **facts})  # type: ignore[arg-type]
        assert preview_mapping(package, account, item, PRICE).concerns == (concern,)

    def test_keeps_further_parameters_and_takes_no_cost_in_another_currency(
        self, package: Package, account: Integration
    ) -> None:
        """LESSONS C29: a cost in USD was saved though the account is in TRY."""
        PackageMapping.objects.create(package=package, integration=account, oyun="1", params={"region": "tr"})
        shown = preview_mapping(package, account, listed(account, "60 UC", "60", currency="USD"), PRICE)
        assert (shown.params, shown.cost_micros) == ({"region": "tr"}, None)


class TestTheLeastQuantity:
    @pytest.mark.parametrize(("kind", "least"), [("one", 1), ("list", 5), ("range", 3)])
    def test_is_that_of_the_package_s_rule(self, kind: str, least: int) -> None:
        package = Package(quantity_kind=kind, quantity_values=[10, 5], quantity_min=3, quantity_max=9)
        assert least_quantity(package) == least


class TestSaving:
    def test_stores_what_was_shown(self, package: Package, account: Integration) -> None:
        shown = preview_mapping(package, account, listed(account, "PUBG Mobile 60 UC", "60"), PRICE)
        save_mapping(shown, package, account, "olga")
        mapping = PackageMapping.objects.get()
        assert (mapping.oyun, mapping.kupur, mapping.cost_micros) == ("152", "60", 31_500_000)
        assert mapping.product() == {"oyun": "152", "kupur": "60"}

    def test_refuses_an_item_that_changed_meanwhile(self, package: Package, account: Integration) -> None:
        item = listed(account, "PUBG Mobile 60 UC", "60")
        shown = preview_mapping(package, account, item, PRICE)
        CatalogItem.objects.update(cost_micros=99_000_000, changed_at=clock.now())
        with pytest.raises(ItemChanged):
            save_mapping(shown, package, account, "olga")
        CatalogItem.objects.update(changed_at=item.changed_at, is_listed=False)
        with pytest.raises(ItemChanged):
            save_mapping(shown, package, account, "olga")
        assert PackageMapping.objects.count() == 0
