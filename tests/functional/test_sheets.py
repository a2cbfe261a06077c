"""Files in and out: all lines or none, every fault by its line, and what goes out comes in again unchanged."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.utils import translation

from apps.accounts.models import PriceGroup, Tenant
from apps.catalog.models import InputField, Package, PackagePrice, Product
from apps.catalog.sheets import Imported, export_sheet, import_sheet
from apps.providers.models import PackageMapping
from apps.providers.sheets import SHEETS
from tests.factories import NOWHERE, Shop, add_route, make_integration, make_shop

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]


@pytest.fixture(autouse=True)
def english() -> None:
    translation.activate("en")


@pytest.fixture
def shop() -> Shop:
    """A shop with one package, mapped at 31.50 TRY and sold at 35.00 TRY."""
    return make_shop(NOWHERE)


def bring(name: str, shop: Tenant, text: str, *, is_dry: bool = False) -> Imported:
    return import_sheet(SHEETS[name], shop, text.encode(), is_dry=is_dry)


def faults(imported: Imported) -> list[tuple[int, str, str]]:
    return [(fault.line, fault.column, fault.text) for fault in imported.faults]


PRODUCTS = "name,name_ar,name_tr,needs_code,image_url,active\n"
PACKAGES = "code,product,name,quantity_kind,quantity_min,quantity_max,quantity_values,image_url,active\n"
PRICES = "package,price_group,currency,from_quantity,valid_from,valid_until,price\n"
MAPPINGS = "package,account,oyun,kupur,params,cost\n"


class TestAnEmptyShop:
    def test_is_filled_by_the_files_in_their_order(self, shop: Shop) -> None:
        account = make_integration(shop.tenant, NOWHERE)
        PriceGroup.objects.create(tenant=shop.tenant, name="Resellers")
        files = {
            "products": PRODUCTS + "PUBG,ببجي,PUBG,yes,https://img.example/p.png,yes\n",
            "fields": (
                "product,name,label,label_ar,label_tr,kind,target,pattern,required,position\n"
                "PUBG,player_id,Player ID,,,digits,user_identifier,,yes,1\n"
            ),
            "packages": PACKAGES + "pubg-60,PUBG,60 UC,list,1,1,1 5 10,,yes\n",
            "prices": PRICES + "pubg-60,,TRY,,,,35.00\npubg-60,Resellers,TRY,10,2026-01-01T00:00:00+03:00,,34.5\n",
            "mappings": MAPPINGS + f'pubg-60,{account.name},152,60,"{{""region"": ""tr""}}",31.5\n',
        }
        assert list(files) == list(SHEETS)
        for name, text in files.items():
            imported = bring(name, shop.tenant, text)
            assert (faults(imported), imported.is_written) == ([], True)
        package = Package.objects.get(code="pubg-60")
        assert (package.quantity_kind, package.quantity_values) == ("list", [1, 5, 10])
        assert (package.product.name_ar, package.product.image_url) == ("ببجي", "https://img.example/p.png")
        assert package.product.fields.get().kind == InputField.Kind.DIGITS
        assert sorted(package.prices.values_list("unit_price_micros", flat=True)) == [34_500_000, 35_000_000]
        mapping = PackageMapping.objects.get(package=package)
        assert (mapping.oyun, mapping.kupur, mapping.params) == ("152", "60", {"region": "tr"})
        assert mapping.cost_micros == 31_500_000


class TestADryRun:
    def test_counts_and_changes_nothing(self, shop: Shop) -> None:
        code = shop.package.code
        text = PRICES + f"{code},,TRY,,,,40\n{code},,USD,,,,2\n"
        imported = bring("prices", shop.tenant, text, is_dry=True)
        assert (dict(imported.counts), imported.is_written, faults(imported)) == (
            {"changed": 1, "created": 1},
            False,
            [],
        )
        assert [price.unit_price_micros for price in PackagePrice.objects.all()] == [35_000_000]

    def test_lists_every_fault_by_line(self, shop: Shop) -> None:
        code = shop.package.code
        text = (
            PRICES
            + f"{code},,TRY,,,,40\nnothing,,TRY,,,,1\n{code},,XYZ,,,,1\n{code},,TRY,,,,0\n"
            + f"{code},Gold,TRY,,,,1\n{code},,EUR,,,,-1\n{code},,TRY,,,,41\n"
        )
        assert faults(bring("prices", shop.tenant, text, is_dry=True)) == [
            (3, "package", "there is no package with this code"),
            (4, "currency", "not a known currency: write its three letters, such as TRY"),
            (5, "package", "the same as line 2"),
            (6, "price_group", "there is no price group of this name"),
            (7, "price", "an amount is not below zero"),
            (8, "package", "the same as line 2"),
        ]

    def test_finds_what_only_the_tables_know(self, shop: Shop) -> None:
        product = shop.package.product.name
        text = (
            PACKAGES
            + f"a,{product},A,range,5,1,,,yes\nb,{product},B,list,1,1,,,yes\nc,{product},C,one,1,1,,http://x.example/a.png,yes\n"
        )
        found = faults(bring("packages", shop.tenant, text, is_dry=True))
        assert [(line, column) for line, column, _ in found] == [(2, ""), (3, "quantity_values"), (4, "image_url")]

    def test_names_an_id_that_the_provider_needs(self, shop: Shop) -> None:
        text = MAPPINGS + f"{shop.package.code},{shop.integration.name},152,,,1\n"
        assert faults(bring("mappings", shop.tenant, text)) == [(2, "kupur", "this provider needs kupur")]


class TestAllOrNothing:
    def test_one_wrong_line_keeps_every_other_out(self, shop: Shop) -> None:
        imported = bring("products", shop.tenant, PRODUCTS + "New,,,yes,,yes\nBad,,,perhaps,,yes\n")
        assert (imported.is_written, faults(imported)) == (False, [(3, "needs_code", "write yes or no")])
        assert not Product.objects.filter(name="New").exists()

    def test_lines_that_are_not_in_the_file_stay(self, shop: Shop) -> None:
        before = Product.objects.filter(tenant=shop.tenant).count()
        bring("products", shop.tenant, PRODUCTS + "New,,,yes,,yes\n")
        assert Product.objects.filter(tenant=shop.tenant).count() == before + 1

    def test_two_prices_for_the_same_buyer_at_the_same_time_are_refused(self, shop: Shop) -> None:
        text = f"{PRICES}{shop.package.code},,TRY,1,2026-01-01T00:00:00+00:00,,30\n"
        assert faults(bring("prices", shop.tenant, text)) == [
            (2, "", "contradicts another row: look whether the same thing is there already")
        ]

    def test_a_package_stays_with_its_product(self, shop: Shop) -> None:
        Product.objects.create(tenant=shop.tenant, name="Other")
        text = PACKAGES + f"{shop.package.code},Other,60 UC,one,1,1,,,yes\n"
        assert faults(bring("packages", shop.tenant, text)) == [
            (2, "product", "the package of this code belongs to another product")
        ]

    def test_nothing_of_another_shop_is_found_or_changed(self, shop: Shop) -> None:
        other = make_shop(NOWHERE)
        code, account = shop.package.code, shop.integration.name
        assert faults(bring("prices", other.tenant, f"{PRICES}{code},,TRY,,,,1\n"))[0][1] == "package"
        assert faults(bring("mappings", other.tenant, f"{MAPPINGS}{other.package.code},{account},1,1,,1\n")) == [
            (2, "account", "there is no provider account of this name")
        ]
        assert PackagePrice.objects.get(package=shop.package).unit_price_micros == 35_000_000


class TestExport:
    @pytest.mark.parametrize("name", SHEETS)
    def test_comes_in_again_unchanged(self, shop: Shop, name: str) -> None:
        add_route(shop.package, make_integration(shop.tenant, NOWHERE), position=2, cost=None)
        begins = datetime(2026, 1, 31, 9, 0, 0, 123, tzinfo=UTC)
        PackagePrice.objects.create(
            package=shop.package, currency="USD", unit_price_micros=1, from_quantity=5, valid_from=begins
        )
        Product.objects.create(tenant=shop.tenant, name="=HYPERLINK(1)", name_tr="'quoted", needs_code=False)
        text = export_sheet(SHEETS[name], shop.tenant)
        imported = import_sheet(SHEETS[name], shop.tenant, text, is_dry=False)
        assert faults(imported) == []
        assert list(imported.counts) == ["same"]

    def test_holds_no_formula(self, shop: Shop) -> None:
        Product.objects.create(tenant=shop.tenant, name="=1+1")
        assert b"\n'=1+1," in export_sheet(SHEETS["products"], shop.tenant)

    def test_is_in_natural_order(self, shop: Shop) -> None:
        """LESSONS C30: 120, 180, 325, 60."""
        for number in (325, 120, 180):
            Package.objects.create(
                tenant=shop.tenant, product=shop.package.product, code=f"p-{number}", name=f"{number} UC"
            )
        lines = export_sheet(SHEETS["packages"], shop.tenant).decode("utf-8-sig").splitlines()[1:]
        assert [line.split(",")[2] for line in lines] == ["60 UC", "120 UC", "180 UC", "325 UC"]

    def test_tells_nothing_of_another_shop(self, shop: Shop) -> None:
        other = make_shop(NOWHERE)
        for sheet in SHEETS.values():
            text = export_sheet(sheet, shop.tenant).decode()
            assert other.package.code not in text
            assert other.package.product.name not in text
