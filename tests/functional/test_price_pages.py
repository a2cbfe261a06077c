"""The set-up pages of prices, groups, margin rules and rates: what they refuse and how, and what a package lacks."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apps.accounts.models import PriceGroup, Tenant
from apps.catalog.models import FxRate, MarginRule, Package, PackagePrice
from apps.common import clock
from apps.providers.models import PackageMapping
from tests.factories import START, add_route, make_package
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import People, english, people
from tests.functional.test_admin import errors_of, path_of, save

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = [pytest.mark.both_databases, pytest.mark.page]


def in_two_boxes(name: str, at: Any) -> dict[str, str]:
    """A date and time as the page's two boxes take it."""
    return {f"{name}_0": f"{at:%Y-%m-%d}", f"{name}_1": f"{at:%H:%M:%S}"} if at else {f"{name}_0": "", f"{name}_1": ""}


class TestThePricesOfAPackage:
    def change(self, people: People, **changed: Any) -> Any:
        return save(people.owner, path_of(Package, "change", people.shop.package.pk), **changed)

    def row(self, n: int, price: str, begin: Any = None, end: Any = None, **more: Any) -> dict[str, Any]:
        fields = {"currency": "TRY", "unit_price_micros": price, "from_quantity": "1", **more}
        named = {f"prices-{n}-{name}": value for name, value in fields.items()}
        return named | in_two_boxes(f"prices-{n}-valid_from", begin) | in_two_boxes(f"prices-{n}-valid_until", end)

    def prices(self, people: People) -> list[tuple[int, Any, Any]]:
        rows = PackagePrice.objects.filter(package=people.shop.package).order_by("id")
        return list(rows.values_list("unit_price_micros", "valid_from", "valid_until"))

    def test_end_and_begin_on_one_page(self, people: People) -> None:
        change_at = START + timedelta(days=1)
        rows = {"prices-TOTAL_FORMS": 2, **self.row(1, "36", change_at)}
        assert self.change(people, **rows, **in_two_boxes("prices-0-valid_until", change_at)).status_code == 302
        assert self.prices(people) == [(35_000_000, None, change_at), (36_000_000, change_at, None)]

    def test_are_replaced_on_one_page(self, people: People) -> None:
        rows = {"prices-TOTAL_FORMS": 2, "prices-0-DELETE": "on", **self.row(1, "36")}
        assert self.change(people, **rows).status_code == 302
        assert self.prices(people) == [(36_000_000, None, None)]

    def test_do_not_overlap(self, people: People) -> None:
        before = self.prices(people)
        rows = {"prices-TOTAL_FORMS": 2, **self.row(1, "36", START)}
        assert "overlaps with another price" in errors_of(self.change(people, **rows))
        assert self.prices(people) == before

    def test_that_move_together_say_which_ends_first(self, people: People) -> None:
        """The first is saved first: while the second is still stored as it was, the first may not reach into it."""
        noon, evening = START + timedelta(hours=3), START + timedelta(hours=9)
        PackagePrice.objects.update(valid_until=noon)
        later = PackagePrice.objects.create(
            package=people.shop.package, currency="TRY", unit_price_micros=1_000_000, valid_from=noon
        )
        answer = self.change(
            people, **in_two_boxes("prices-0-valid_until", evening), **in_two_boxes("prices-1-valid_from", evening)
        )
        assert "end that one first" in errors_of(answer)
        assert self.change(people, **in_two_boxes("prices-1-valid_from", evening)).status_code == 302
        assert self.change(people, **in_two_boxes("prices-0-valid_until", evening)).status_code == 302
        later.refresh_from_db()
        assert later.valid_from == evening

    def test_have_tiers(self, people: People) -> None:
        rows = {"prices-TOTAL_FORMS": 2, **self.row(1, "34", from_quantity="3")}
        assert self.change(people, **rows).status_code == 302
        assert list(people.shop.package.prices.order_by("id").values_list("from_quantity", flat=True)) == [1, 3]

    @pytest.mark.parametrize("quantity", ["0", "-1", "1001", "1.5", "many"])
    def test_refuse_a_tier_that_is_no_quantity(self, people: People, quantity: str) -> None:
        assert errors_of(self.change(people, **{"prices-0-from_quantity": quantity}))

    @pytest.mark.parametrize("currency", ["ABC", "TR", "T1Y"])
    def test_refuse_an_unknown_currency(self, people: People, currency: str) -> None:
        assert "such as TRY" in errors_of(self.change(people, **{"prices-0-currency": currency}))

    def test_end_after_they_begin(self, people: People) -> None:
        answer = self.change(
            people, **in_two_boxes("prices-0-valid_from", START), **in_two_boxes("prices-0-valid_until", START)
        )
        assert "the end must come after the beginning" in errors_of(answer)

    def test_on_a_page_of_their_own_do_not_overlap_either(self, people: People) -> None:
        answer = save(
            people.owner,
            path_of(PackagePrice, "add"),
            package=people.shop.package.pk,
            currency="try",
            unit_price_micros="36",
        )
        assert "overlaps with another price" in errors_of(answer)
        answer = save(
            people.owner,
            path_of(PackagePrice, "add"),
            package=people.shop.package.pk,
            currency="usd",
            unit_price_micros="1.25",
        )
        assert answer.status_code == 302
        assert PackagePrice.objects.get(currency="USD").unit_price_micros == 1_250_000


class TestAPriceGroup:
    def test_refuses_to_go_round_in_a_circle(self, people: People) -> None:
        top = PriceGroup.objects.create(tenant=people.shop.tenant, name="top")
        below = PriceGroup.objects.create(tenant=people.shop.tenant, name="below", parent=top)
        answer = save(people.owner, path_of(PriceGroup, "change", top.pk), parent=below.pk)
        assert "below leads back to this group: price groups cannot go round in a circle" in errors_of(answer)
        top.refresh_from_db()
        assert top.parent is None

    def test_does_not_offer_groups_of_another_shop(self, people: People) -> None:
        foreign = PriceGroup.objects.create(tenant=people.foreign_shop.tenant, name="foreign")
        answer = save(people.owner, path_of(PriceGroup, "add"), name="own", parent=foreign.pk)
        assert "not one of the available choices" in errors_of(answer)


class TestAnExchangeRate:
    def add(self, people: People, **changed: Any) -> Any:
        fields = {"from_currency": "usd", "to_currency": "TRY", "rate": "41.25", "source": "the bank", **changed}
        return save(people.owner, path_of(FxRate, "add"), **fields)

    def test_is_valid_from_now_on(self, people: People) -> None:
        assert self.add(people).status_code == 302
        rate = FxRate.objects.get()
        assert (rate.from_currency, rate.rate, rate.valid_from) == ("USD", Decimal("41.25"), START)
        assert rate.created_at == clock.now()

    @pytest.mark.parametrize("rate", ["0", "-41", "0.000000001", "12345678", "much", "NaN", "41,25"])
    def test_refuses_what_is_no_rate(self, people: People, rate: str) -> None:
        assert "id_rate_error" in errors_of(self.add(people, rate=rate))
        assert FxRate.objects.count() == 0

    @pytest.mark.parametrize("rate", ["0", "-41"])
    def test_says_that_it_is_above_zero(self, people: People, rate: str) -> None:
        assert "a rate is above zero" in errors_of(self.add(people, rate=rate))

    def test_is_between_two_known_currencies(self, people: People) -> None:
        assert "a rate is between two currencies" in errors_of(self.add(people, from_currency="TRY"))
        assert "not a known currency" in errors_of(self.add(people, from_currency="ABC"))

    def test_can_only_be_ended(self, people: People) -> None:
        self.add(people)
        rate = FxRate.objects.get()
        page = path_of(FxRate, "change", rate.pk)
        answer = save(people.owner, page, rate="1", **in_two_boxes("valid_until", START + timedelta(days=1)))
        assert answer.status_code == 302
        rate.refresh_from_db()
        assert (rate.rate, rate.valid_until) == (Decimal("41.25"), START + timedelta(days=1))
        assert people.owner.post(path_of(FxRate, "delete", rate.pk), {"post": "yes"}).status_code == 403


class TestAMarginRule:
    def add(self, people: People, **changed: Any) -> Any:
        return save(people.owner, path_of(MarginRule, "add"), currency="TRY", **changed)

    def test_is_written_as_amounts(self, people: People) -> None:
        assert self.add(people, percent="12.5", step_micros="0.25").status_code == 302
        rule = MarginRule.objects.get()
        assert (rule.percent, rule.amount_micros, rule.step_micros) == (Decimal("12.5"), 0, 250_000)

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"percent": "-1"}, "id_percent_error"),
            ({"percent": "1.00001"}, "id_percent_error"),
            ({"amount_micros": "-1", "kind": "amount"}, "id_amount_micros_error"),
            ({"amount_micros": "1.0000001", "kind": "amount"}, "id_amount_micros_error"),
            ({"step_micros": "0"}, "id_step_micros_error"),
            ({"percent": "5", "amount_micros": "1"}, "a rule has a percent or an amount"),
            ({"currency": "XYZ"}, "not a known currency"),
        ],
    )
    def test_says_what_is_wrong(self, people: People, fields: dict[str, str], words: str) -> None:
        assert words in errors_of(save(people.owner, path_of(MarginRule, "add"), **{"currency": "TRY", **fields}))
        assert MarginRule.objects.count() == 0

    def test_exists_once_per_scope_and_currency(self, people: People) -> None:
        self.add(people)
        assert "the shop has a margin rule for everything in this currency already" in errors_of(self.add(people))
        assert self.add(people, package=people.shop.package.pk).status_code == 302
        again = self.add(people, package=people.shop.package.pk)
        assert "this package has a margin rule in this currency already" in errors_of(again)


class TestAShop:
    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("loss_guard_percent", "-1"),
            ("loss_guard_percent", "101"),
            ("rate_max_age_hours", "0"),
            ("quote_minutes", "0"),
        ],
    )
    def test_refuses_a_limit_that_makes_no_sense(self, people: People, field: str, value: str) -> None:
        page = path_of(Tenant, "change", people.shop.tenant.pk)
        assert f"id_{field}_error" in errors_of(save(people.owner, page, **{field: value}))

    def test_has_a_known_currency(self, people: People) -> None:
        page = path_of(Tenant, "change", people.shop.tenant.pk)
        assert "ISO 4217 code" in errors_of(save(people.owner, page, currency="ABC"))


class TestWhatAPackageLacks:
    def text(self, people: People, path: str) -> str:
        return str(people.owner.get(path).content.decode())

    def test_stands_in_the_list_and_on_the_page(self, people: People) -> None:
        page = path_of(Package, "change", people.shop.package.pk)
        assert '<td class="field-on_sale">yes</td>' in self.text(people, path_of(Package, "changelist"))
        assert "<div>yes</div>" in self.text(people, page)
        PackageMapping.objects.update(cost_micros=35_000_001)
        words = f"the cost at {people.shop.integration} is above the price in TRY by more than the shop allows"
        for path in (path_of(Package, "changelist"), page):
            assert words in self.text(people, path)

    def test_costs_the_list_no_query_per_package(self, people: People) -> None:
        counts = []
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                self.text(people, path_of(Package, "changelist"))
            counts.append(len(queries))
            for _ in range(5):
                add_route(make_package(people.shop.tenant), people.shop.integration)
        assert counts[0] == counts[1]
