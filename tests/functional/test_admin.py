"""The set-up pages: another shop's rows are neither seen, chosen nor changed; errors are readable; secrets stay in."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import CheckConstraint, Model, UniqueConstraint
from django.test import Client
from django.urls import reverse

from apps.accounts.admin_base import ReadableForm, TenantAdmin
from apps.accounts.keys import find_caller, find_key, issue_key
from apps.accounts.models import ApiKey, Customer, Membership, PriceGroup, Tenant, User
from apps.catalog.models import FxRate, InputField, MarginRule, Package, PackagePrice, Product
from apps.common import clock
from apps.common.crypto import open_text, seal_text
from apps.providers.models import Integration, PackageMapping, Route
from tests.factories import START, Shop, add_route, make_integration, make_package, make_tenant, order_from
from tests.functional.panel_fixtures import People, browser_of, english, make_person, people

__all__ = ["english", "people"]

pytestmark = [pytest.mark.both_databases, pytest.mark.page]

TABLES: tuple[type[Model], ...] = (
    Tenant,
    Membership,
    PriceGroup,
    Customer,
    ApiKey,
    Product,
    Package,
    PackagePrice,
    MarginRule,
    FxRate,
    Integration,
    PackageMapping,
    Route,
)
"""Everything that is set up per shop."""


def path_of(model: type[Model], page: str, *args: object) -> str:
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}", args=args)


def row_of(model: type[Model], shop: Shop) -> Any:
    """One row of the shop; made when there is none."""
    rows: dict[type[Model], Any] = {
        Tenant: lambda: shop.tenant,
        Membership: lambda: Membership.objects.filter(tenant=shop.tenant).first(),
        PriceGroup: lambda: PriceGroup.objects.get_or_create(tenant=shop.tenant, name=f"Group {shop.tenant.pk}")[0],
        Customer: lambda: shop.customer,
        ApiKey: lambda: ApiKey.objects.get_or_create(
            customer=shop.customer, public_id=f"hub_{shop.tenant.pk}", created_at="2026-01-01T00:00Z"
        )[0],
        Product: lambda: shop.package.product,
        Package: lambda: shop.package,
        PackagePrice: shop.package.prices.get,
        MarginRule: lambda: MarginRule.objects.get_or_create(tenant=shop.tenant, currency="TRY")[0],
        FxRate: lambda: FxRate.objects.get_or_create(
            tenant=shop.tenant, from_currency="USD", to_currency="TRY", rate=41, source="test", valid_from=START
        )[0],
        Integration: lambda: shop.integration,
        PackageMapping: lambda: PackageMapping.objects.get(package=shop.package),
        Route: lambda: shop.route,
    }
    return rows[model]()


def form_of(browser: Client, path: str) -> dict[str, Any]:
    """What a browser would send from this page if nothing were changed."""
    answer = browser.get(path)
    assert answer.status_code == 200
    context = answer.context
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    data = {}
    for form in forms:
        for field in form:
            value = field.value()
            if "SplitDateTime" in type(field.field).__name__:  # date and time, in two boxes
                parts = field.field.widget.decompress(value)
                data.update({f"{field.html_name}_{n}": part or "" for n, part in enumerate(parts)})
            elif isinstance(value, bool):
                data.update({field.html_name: "on"} if value else {})
            elif value is not None:
                data[field.html_name] = value
    return data


def save(browser: Client, path: str, **changed: Any) -> Any:
    """Open the page, change some fields and save it."""
    data = form_of(browser, path)
    data.update({name: value for name, value in changed.items() if value is not None})
    for name in [name for name, value in changed.items() if value is None]:
        data.pop(name, None)
    return browser.post(path, data)


def errors_of(answer: Any) -> str:
    """What the page complains about."""
    assert answer.status_code == 200, answer.headers
    return " ".join(
        unescape(part) for part in re.findall(r'<ul class="errorlist.*?</ul>', answer.content.decode(), re.S)
    )


class TestAForeignRow:
    @pytest.mark.parametrize("model", TABLES)
    def test_does_not_exist(self, people: People, model: type[Model]) -> None:
        row = row_of(model, people.foreign_shop)
        for page in ("change", "delete", "history"):
            assert people.owner.get(path_of(model, page, row.pk)).status_code == 404
        for page in ("change", "delete"):
            assert people.owner.post(path_of(model, page, row.pk), {"post": "yes"}).status_code in (403, 404)
        assert model._default_manager.filter(pk=row.pk).exists()

    @pytest.mark.parametrize("model", TABLES)
    def test_is_in_no_list(self, people: People, model: type[Model]) -> None:
        own, foreign = row_of(model, people.shop), row_of(model, people.foreign_shop)
        answer = people.owner.get(path_of(model, "changelist"))
        found = {row.pk for row in answer.context["cl"].result_list}
        assert own.pk in found
        assert foreign.pk not in found
        assert people.foreign_shop.tenant.name not in answer.content.decode()

    @pytest.mark.parametrize("model", TABLES)
    def test_is_not_deleted_in_bulk(self, people: People, model: type[Model]) -> None:
        foreign = row_of(model, people.foreign_shop)
        data = {"action": "delete_selected", "_selected_action": [foreign.pk], "post": "yes"}
        people.owner.post(path_of(model, "changelist"), data)
        assert model._default_manager.filter(pk=foreign.pk).exists()

    @pytest.mark.parametrize("model", [model for model in TABLES if model is not Tenant])
    def test_is_no_choice_of_a_form(self, people: People, model: type[Model]) -> None:
        for table in TABLES:
            row_of(table, people.foreign_shop)
        answer = people.owner.get(path_of(model, "add"))
        forms = [answer.context["adminform"].form]
        forms += [inline.formset.empty_form for inline in answer.context["inline_admin_formsets"]]
        fields = [field for form in forms for name, field in form.fields.items() if name != "id"]
        querysets = [field.queryset for field in fields if getattr(field, "queryset", None) is not None]
        own_tenant = people.shop.tenant.pk
        for queryset in querysets:
            assert {tenant_of(row) for row in queryset} <= {own_tenant}

    def test_is_not_accepted_when_it_is_sent_all_the_same(self, people: People) -> None:
        data = {"tenant": people.foreign_shop.tenant.pk, "name": "Mine", "currency": "TRY", "is_active": "on"}
        answer = people.owner.post(path_of(Customer, "add"), data)
        assert "Select a valid choice" in errors_of(answer)
        assert not Customer.objects.filter(name="Mine").exists()

    def test_is_not_offered_while_typing(self, people: People) -> None:
        path = reverse("admin:autocomplete")
        asked = {"app_label": "accounts", "model_name": "apikey", "field_name": "customer", "term": "Customer"}
        found = json.loads(people.owner.get(path, asked).content)["results"]
        assert [row["id"] for row in found] == [str(people.shop.customer.pk)]

    def test_is_no_filter(self, people: People) -> None:
        answer = people.owner.get(path_of(Customer, "changelist"), {"shop": people.foreign_shop.tenant.pk})
        assert list(answer.context["cl"].result_list) == [people.shop.customer]

    @pytest.mark.parametrize("model", TABLES)
    def test_is_there_for_a_superuser(self, people: People, model: type[Model]) -> None:
        row = row_of(model, people.foreign_shop)
        assert people.root.get(path_of(model, "change", row.pk)).status_code == 200


def tenant_of(row: Any) -> int:
    if isinstance(row, Tenant):
        return row.pk
    if isinstance(row, User):
        return row.memberships.get().tenant_id
    return int(row.tenant_id)


class TestRoles:
    @pytest.mark.parametrize("model", TABLES)
    @pytest.mark.parametrize("role", ["operator", "viewer"])
    def test_other_than_owner_look_and_do_not_touch(self, people: People, role: str, model: type[Model]) -> None:
        browser: Client = getattr(people, role)
        row = row_of(model, people.shop)
        assert browser.get(path_of(model, "changelist")).status_code == 200
        page = browser.get(path_of(model, "change", row.pk))
        assert page.status_code == 200
        assert 'name="_save"' not in page.content.decode()
        assert browser.post(path_of(model, "change", row.pk), {"name": "changed"}).status_code == 403
        assert browser.get(path_of(model, "add")).status_code == 403
        assert browser.post(path_of(model, "delete", row.pk), {"post": "yes"}).status_code == 403

    def test_count_in_their_own_shop_only(self, people: People) -> None:
        olga = User.objects.get(username="olga")
        Membership.objects.create(user=olga, tenant=people.foreign_shop.tenant, role="viewer")
        foreign = row_of(Customer, people.foreign_shop)
        assert people.owner.get(path_of(Customer, "change", foreign.pk)).status_code == 200
        assert people.owner.post(path_of(Customer, "change", foreign.pk), {"name": "x"}).status_code == 403
        choices = people.owner.get(path_of(Customer, "add")).context["adminform"].form.fields["tenant"].queryset
        assert [tenant.pk for tenant in choices] == [people.shop.tenant.pk]

    def test_of_people_without_staff_status_end_at_the_door(self, people: People) -> None:
        browser = browser_of(make_person("outside", people.shop.tenant, "owner", is_staff=False))
        assert browser.get(reverse("admin:index")).status_code == 302

    def test_leave_people_and_new_shops_to_superusers(self, people: People) -> None:
        for path in (path_of(User, "changelist"), path_of(User, "add"), path_of(Tenant, "add")):
            assert people.owner.get(path).status_code == 403
            assert people.root.get(path).status_code == 200

    def test_do_not_let_an_owner_switch_the_shop_off(self, people: People) -> None:
        save(
            people.owner, path_of(Tenant, "change", people.shop.tenant.pk), name="Renamed", is_active=None, slug="other"
        )
        stored = Tenant.objects.get(pk=people.shop.tenant.pk)
        assert (stored.name, stored.is_active, stored.slug) == ("Renamed", True, people.shop.tenant.slug)


class TestEveryPage:
    @pytest.mark.parametrize("language", ["en", "ar", "tr"])
    def test_opens_in_every_language(self, people: People, language: str) -> None:
        browser = browser_of(User.objects.get(username="root"), language)
        for model, page in admin.site._registry.items():
            for name in ("changelist", "add"):
                if name == "add" and not page.has_add_permission(browser.get("/admin/").wsgi_request):
                    continue
                assert browser.get(path_of(model, name)).status_code == 200

    def test_of_a_table_with_a_shop_is_built_on_the_base(self) -> None:
        for model in TABLES:
            assert isinstance(admin.site.get_model_admin(model), TenantAdmin)

    def test_of_orders_does_not_exist(self) -> None:
        assert {model._meta.app_label for model in admin.site._registry} & {"orders", "wallet", "journal"} == set()

    def test_has_words_for_every_constraint(self) -> None:
        for model, form in forms_of_set_up():
            for constraint in model._meta.constraints:
                if has_readable_message(constraint) or constraint.name in COVERED_BY_CHOICES:
                    continue
                assert constraint.name in form.constraint_words


COVERED_BY_CHOICES = {
    "membership_role_known",
    "input_field_kind_known",
    "input_field_target_known",
    "package_quantity_kind_known",
    "package_strategy_known",
}
"""Rules that a drop-down list cannot break."""


def has_readable_message(constraint: object) -> bool:
    """A uniqueness rule without a condition is said by Django with the names of its fields."""
    assert isinstance(constraint, UniqueConstraint | CheckConstraint)
    return isinstance(constraint, UniqueConstraint) and constraint.condition is None


def forms_of_set_up() -> list[tuple[type[Model], type[ReadableForm]]]:
    pages = [admin.site.get_model_admin(model) for model in TABLES]
    inlines = [inline for page in pages for inline in page.inlines]
    package_page: Any = admin.site.get_model_admin(Package)
    inlines += package_page.get_inlines(None, object())
    holders: list[Any] = [*pages, *inlines]
    return [(holder.model, holder.form) for holder in holders]


class TestAnIntegration:
    def change(self, people: People, **changed: Any) -> Any:
        return save(people.owner, path_of(Integration, "change", people.shop.integration.pk), **changed)

    def stored(self, people: People) -> Integration:
        return Integration.objects.get(pk=people.shop.integration.pk)

    def test_never_shows_its_secrets(self, people: People) -> None:
        for browser in (people.root, people.owner, people.operator, people.viewer):
            for page in ("change", "history"):
                text = browser.get(path_of(Integration, page, people.shop.integration.pk)).content.decode()
                assert "demo-secret" not in text
                assert people.shop.integration.sealed_secrets not in text

    def test_does_not_repeat_a_typed_secret_beside_an_error(self, people: People) -> None:
        answer = self.change(people, secret_sifre="typed-just-now", options="{")
        assert "JSON" in errors_of(answer)
        assert "typed-just-now" not in answer.content.decode()

    def test_keeps_a_secret_that_is_left_empty(self, people: People) -> None:
        assert self.change(people, name="Renamed").status_code == 302
        assert self.stored(people).name == "Renamed"
        assert self.stored(people).account().secrets == {"sifre": "demo-secret"}

    def test_replaces_a_secret_that_is_typed(self, people: People) -> None:
        assert self.change(people, secret_sifre=" new secret ").status_code == 302
        assert self.stored(people).account().secrets == {"sifre": " new secret "}

    def test_takes_no_test_key_for_a_secret(self, people: People) -> None:
        key = "hub_test_0123456789abcdef.secret-of-a-sandbox"
        answer = self.change(people, secret_sifre=f" {key}")
        assert "this is a test key" in errors_of(answer)
        assert "secret-of-a-sandbox" not in answer.content.decode()
        assert self.stored(people).account().secrets == {"sifre": "demo-secret"}

    def test_calls_a_test_key_missing_that_is_stored_all_the_same(self, people: People) -> None:
        Integration.objects.update(sealed_secrets=seal_text('{"sifre": "hub_test_00.x"}'))
        path = path_of(Integration, "change", people.shop.integration.pk)
        assert "sifre: missing" in people.owner.get(path).content.decode()

    def test_says_that_a_secret_is_missing(self, people: People) -> None:
        Integration.objects.update(sealed_secrets="")
        path = path_of(Integration, "change", people.shop.integration.pk)
        assert "sifre: missing" in people.owner.get(path).content.decode()
        answer = people.owner.post(path, form_of(people.owner, path), follow=True)
        assert "Missing: sifre" in answer.content.decode()

    def test_accepts_new_secrets_when_the_old_key_is_gone(self, people: People) -> None:
        Integration.objects.update(sealed_secrets="lost$token")
        assert self.change(people, secret_sifre="again").status_code == 302
        assert self.stored(people).account().secrets == {"sifre": "again"}

    def test_keeps_its_identity_after_the_first_purchase(self, people: People) -> None:
        Integration.objects.update(in_use_since=clock.now())
        before = self.stored(people)
        answer = self.change(people, kind="other", base_url="https://example.org", login="other", currency="USD")
        assert answer.status_code == 302
        after = self.stored(people)
        names = ("kind", "base_url", "login", "currency")
        assert [getattr(after, name) for name in names] == [getattr(before, name) for name in names]

    def test_is_made_local_by_a_superuser_only(self, people: People) -> None:
        Integration.objects.update(is_local=False, base_url="https://example.org")
        assert self.change(people, is_local="on").status_code == 302
        assert self.stored(people).is_local is False
        path = path_of(Integration, "change", people.shop.integration.pk)
        assert save(people.root, path, is_local="on").status_code == 302
        assert self.stored(people).is_local is True

    def test_refuses_a_private_address_in_words(self, people: People) -> None:
        Integration.objects.update(is_local=False, base_url="https://example.org")
        answer = self.change(people, base_url="http://10.0.0.1/")
        assert "mark the integration as local" in errors_of(answer)

    def test_says_a_frozen_address_that_is_refused_now_without_a_crash(self, people: People) -> None:
        Integration.objects.update(in_use_since=clock.now(), is_local=False)
        assert "is not allowed" in errors_of(self.change(people, name="Renamed"))

    def test_refuses_an_unknown_option_in_words(self, people: People) -> None:
        answer = self.change(people, options='{"poll_first": 5}')
        assert "unknown option 'poll_first'; known are" in errors_of(answer)

    @pytest.mark.parametrize("options", ["[1]", '"text"', "5"])
    def test_refuses_options_that_are_no_names_with_values(self, people: People, options: str) -> None:
        assert "names with values" in errors_of(self.change(people, options=options))

    def test_takes_no_options_for_an_empty_list_of_them(self, people: People) -> None:
        assert self.change(people, options="").status_code == 302
        assert self.stored(people).options == {}

    def test_is_added_with_its_secret(self, people: People) -> None:
        answer = save(
            people.owner,
            path_of(Integration, "add"),
            tenant=people.shop.tenant.pk,
            name="Second",
            kind="znet",
            base_url="https://panel.example.org",
            login="905550000000",
            currency="try",
            secret_sifre="s3",
            options="{}",
        )
        assert answer.status_code == 302
        added = Integration.objects.get(name="Second")
        assert (added.account().secrets, added.currency, added.is_local) == ({"sifre": "s3"}, "TRY", False)

    def test_is_not_pointed_elsewhere_by_its_shop(self, people: People) -> None:
        self.change(people, tenant=people.foreign_shop.tenant.pk)
        assert self.stored(people).tenant_id == people.shop.tenant.pk

    def test_is_not_deleted_once_orders_depend_on_it(self, people: People) -> None:
        order_from(people.shop)
        path = path_of(Integration, "delete", people.shop.integration.pk)
        people.owner.post(path, {"post": "yes"})
        assert Integration.objects.filter(pk=people.shop.integration.pk).exists()


class TestAnApiKey:
    def test_is_shown_once_and_works(self, people: People) -> None:
        path = path_of(ApiKey, "add")
        data = form_of(people.owner, path) | {"customer": people.shop.customer.pk, "label": "shop"}
        text = unescape(people.owner.post(path_of(ApiKey, "add"), data, follow=True).content.decode())
        full = re.search(r"hub_[0-9a-f]{16}\.[\w-]+", text)
        assert full
        found = find_caller(full[0], clock.now())
        assert found is not None
        assert found.customer == people.shop.customer
        key = ApiKey.objects.get(customer=people.shop.customer)
        secret = full[0].partition(".")[2]
        for page in ("change", "history"):
            again = people.owner.get(path_of(ApiKey, page, key.pk)).content.decode()
            assert secret not in again
            assert key.secret_hash not in again

    def test_is_switched_off(self, people: People) -> None:
        key = row_of(ApiKey, people.shop)
        assert save(people.owner, path_of(ApiKey, "change", key.pk), is_active=None).status_code == 302
        key.refresh_from_db()
        assert (key.is_active, key.public_id) == (False, f"hub_{people.shop.tenant.pk}")

    def test_does_not_begin_expired(self, people: People) -> None:
        data = {"customer": people.shop.customer.pk, "expires_at_0": "2020-01-01", "expires_at_1": "00:00"}
        assert "this time is over" in errors_of(people.owner.post(path_of(ApiKey, "add"), data))

    def test_gets_a_successor_that_is_shown_once(self, people: People) -> None:
        old, full = issue_key(people.shop.customer, clock.now(), scopes=["read"])
        data = {"action": "replace", "_selected_action": [old.pk]}
        text = unescape(people.owner.post(path_of(ApiKey, "changelist"), data, follow=True).content.decode())
        shown = re.findall(r"hub_[0-9a-f]{16}\.[\w-]+", text)
        assert len(shown) == 1
        assert shown != [full]
        new = find_key(shown[0], clock.now())
        assert new is not None
        assert (new.scopes, new.customer) == (["read"], people.shop.customer)
        again = unescape(people.owner.post(path_of(ApiKey, "changelist"), data, follow=True).content.decode())
        assert f"{old.public_id[1:]} was replaced before" in again  # a message begins with a capital letter
        assert ApiKey.objects.count() == 2

    def test_gets_a_signing_secret_that_is_shown_once(self, people: People) -> None:
        key, _ = issue_key(people.shop.customer, clock.now())
        data = {"action": "sign", "_selected_action": [key.pk]}
        text = unescape(people.owner.post(path_of(ApiKey, "changelist"), data, follow=True).content.decode())
        key.refresh_from_db()
        secret = open_text(key.sealed_signing_secret)
        assert f"signing secret of {key.public_id} now, it is never shown again: {secret}" in text
        assert secret not in people.owner.get(path_of(ApiKey, "change", key.pk)).content.decode()

    @pytest.mark.parametrize("action", ["replace", "sign"])
    def test_of_another_shop_stays_as_it_is(self, people: People, action: str) -> None:
        foreign, _ = issue_key(people.foreign_shop.customer, clock.now())
        data = {"action": action, "_selected_action": [foreign.pk]}
        people.owner.post(path_of(ApiKey, "changelist"), data, follow=True)
        foreign.refresh_from_db()
        assert (foreign.replaced_by, foreign.sealed_signing_secret, ApiKey.objects.count()) == (None, "", 1)

    @pytest.mark.parametrize("action", ["replace", "sign"])
    def test_is_not_changed_by_one_who_may_only_look(self, people: People, action: str) -> None:
        key, _ = issue_key(people.shop.customer, clock.now())
        data = {"action": action, "_selected_action": [key.pk]}
        people.viewer.post(path_of(ApiKey, "changelist"), data, follow=True)
        key.refresh_from_db()
        assert (key.replaced_by, key.sealed_signing_secret, ApiKey.objects.count()) == (None, "", 1)

    @pytest.mark.parametrize(
        ("name", "value"),
        [("scopes", '["all"]'), ("scopes", "[]"), ("allowed_ips", '["here"]'), ("rate_per_s", "0"), ("burst", "0")],
    )
    def test_takes_no_right_that_is_none(self, people: People, name: str, value: str) -> None:
        key, _ = issue_key(people.shop.customer, clock.now())
        assert errors_of(save(people.owner, path_of(ApiKey, "change", key.pk), **{name: value}))

    def test_is_not_moved_to_another_customer(self, people: People) -> None:
        key = row_of(ApiKey, people.shop)
        other = Customer.objects.create(tenant=people.shop.tenant, name="Other")
        save(people.owner, path_of(ApiKey, "change", key.pk), customer=other.pk, secret_hash="0" * 64)
        key.refresh_from_db()
        assert (key.customer, key.secret_hash) == (people.shop.customer, "")


class TestAPackage:
    def change(self, people: People, **changed: Any) -> Any:
        return save(people.owner, path_of(Package, "change", people.shop.package.pk), **changed)

    def row(self, prefix: str, n: int, **fields: Any) -> dict[str, Any]:
        """One more row of an inline table."""
        return {f"{prefix}-TOTAL_FORMS": n + 1, **{f"{prefix}-{n}-{name}": value for name, value in fields.items()}}

    def test_takes_a_price_as_an_amount(self, people: People) -> None:
        answer = self.change(people, **{"prices-0-unit_price_micros": "12.5"})
        assert answer.status_code == 302
        assert PackagePrice.objects.get(package=people.shop.package).unit_price_micros == 12_500_000

    @pytest.mark.parametrize("amount", ["0", "-1", "1.0000001", "12,50", "much", "9e30", "NaN"])
    def test_refuses_a_price_that_is_no_amount(self, people: People, amount: str) -> None:
        assert errors_of(self.change(people, **{"prices-0-unit_price_micros": amount}))

    def test_shows_amounts_with_latin_digits_in_arabic(self, people: People) -> None:
        browser = browser_of(User.objects.get(username="olga"), "ar")
        text = browser.get(path_of(Package, "change", people.shop.package.pk)).content.decode()
        assert 'value="35.00"' in text
        assert 'value="31.50"' in text

    def test_is_saved_unchanged_from_every_language(self, people: People) -> None:
        package = people.shop.package
        before = list(PackagePrice.objects.filter(package=package).values())
        for language in ("ar", "tr"):
            browser = browser_of(User.objects.get(username="olga"), language)
            assert save(browser, path_of(Package, "change", package.pk)).status_code == 302
        assert list(PackagePrice.objects.filter(package=package).values()) == before

    def test_has_one_price_for_everybody_per_currency(self, people: People) -> None:
        answer = self.change(people, **self.row("prices", 1, currency="TRY", unit_price_micros="1", price_group=""))
        assert "overlaps with another price" in errors_of(answer)
        two = self.row("prices", 1, currency="USD", unit_price_micros="1") | self.row(
            "prices", 2, currency="USD", unit_price_micros="2"
        )
        assert "overlaps with another price" in errors_of(self.change(people, **two))

    def test_is_mapped_and_routed_on_one_page(self, people: People) -> None:
        second = make_integration(people.shop.tenant, "http://127.0.0.1:9")
        rows = self.row("mappings", 1, integration=second.pk, oyun="9", kupur="1", params="{}", cost_micros="2.25")
        rows |= self.row("routes", 1, integration=second.pk, position=2, mode="auto", is_enabled="on")
        assert self.change(people, **rows).status_code == 302
        assert PackageMapping.objects.get(integration=second).cost_micros == 2_250_000
        assert Route.objects.get(integration=second).position == 2

    def test_is_not_routed_twice_to_one_account(self, people: People) -> None:
        second = make_integration(people.shop.tenant, "http://127.0.0.1:9")
        rows = self.row("mappings", 1, integration=second.pk, oyun="9", kupur="1", params="{}")
        for n in (1, 2):
            rows |= self.row("routes", n, integration=second.pk, position=n + 1, mode="auto", is_enabled="on")
        assert "leads to this provider account" in self.change(people, **rows).content.decode()

    @pytest.mark.parametrize("group", ["", "VIP"])
    def test_has_one_route_at_each_position_of_a_price_group(self, people: People, group: str) -> None:
        vip = PriceGroup.objects.create(tenant=people.shop.tenant, name="VIP")
        rows: dict[str, Any] = {}
        for n in (1, 2):
            rows |= self.row(
                "routes", n, integration="", position=7, mode="manual", price_group=vip.pk if group else ""
            )
        assert "has this position" in self.change(people, **rows).content.decode()
        rows["routes-2-price_group"] = "" if group else vip.pk
        assert self.change(people, **rows).status_code == 302
        assert Route.objects.filter(package=people.shop.package, position=7).count() == 2

    def test_is_not_routed_for_a_price_group_of_another_shop(self, people: People) -> None:
        foreign = PriceGroup.objects.create(tenant=make_tenant(), name="VIP")
        row = self.row("routes", 1, integration="", position=2, mode="manual", price_group=foreign.pk)
        assert "Select a valid choice" in errors_of(self.change(people, **row))

    def test_has_both_opening_times_or_none(self, people: People) -> None:
        row = self.row("routes", 1, integration="", position=2, mode="manual", opens_at="09:00")
        assert "write both times" in errors_of(self.change(people, **row))

    def test_is_not_routed_to_an_account_that_it_is_not_mapped_to(self, people: People) -> None:
        second = make_integration(people.shop.tenant, "http://127.0.0.1:9")
        row = self.row("routes", 1, integration=second.pk, position=2, mode="auto", is_enabled="on")
        assert "map the package to this provider account first" in errors_of(self.change(people, **row))

    def test_needs_an_account_for_an_automatic_route(self, people: People) -> None:
        row = self.row("routes", 1, integration="", position=2, mode="auto", is_enabled="on")
        assert "an automatic route needs a provider account" in errors_of(self.change(people, **row))

    def test_needs_every_id_of_the_protocol(self, people: People) -> None:
        assert "this provider needs kupur" in errors_of(self.change(people, **{"mappings-0-kupur": ""}))

    @pytest.mark.parametrize("params", ["[1]", '"text"', "5"])
    def test_refuses_parameters_that_are_no_names_with_values(self, people: People, params: str) -> None:
        assert "names with values" in errors_of(self.change(people, **{"mappings-0-params": params}))

    def test_takes_empty_boxes_for_nothing(self, people: People) -> None:
        assert self.change(people, quantity_values="", **{"mappings-0-params": ""}).status_code == 302
        people.shop.package.refresh_from_db()
        assert people.shop.package.quantity_values == []
        assert people.shop.package.mappings.get().params == {}

    def test_says_a_row_that_was_left_half_empty(self, people: People) -> None:
        row = self.row("mappings", 1, integration="", oyun="9", kupur="1", params="{}")
        assert "This field is required." in errors_of(self.change(people, **row))

    def test_says_a_quantity_rule_that_makes_no_sense(self, people: People) -> None:
        answer = self.change(people, quantity_min=5, quantity_max=2)
        assert "the most is not below it" in errors_of(answer)
        answer = self.change(people, quantity_kind="list", quantity_values="[]")
        assert "a list of whole numbers from 1 to 1000" in errors_of(answer)

    def test_belongs_to_the_shop_of_its_product(self, people: People) -> None:
        olga = User.objects.get(username="olga")
        Membership.objects.create(user=olga, tenant=people.foreign_shop.tenant, role="owner")
        answer = self.change(people, product=people.foreign_shop.package.product.pk)
        assert "this product belongs to another shop" in errors_of(answer)

    def test_is_added_with_a_price_and_a_mapping(self, people: People) -> None:
        rows = self.row("prices", 0, currency="TRY", unit_price_micros="10") | self.row(
            "mappings", 0, integration=people.shop.integration.pk, oyun="1", kupur="2", params="{}"
        )
        answer = save(
            people.owner,
            path_of(Package, "add"),
            tenant=people.shop.tenant.pk,
            product=people.shop.package.product.pk,
            code="new",
            name="New",
            **rows,
        )
        assert answer.status_code == 302
        added = Package.objects.get(code="new")
        assert (added.prices.count(), added.mappings.count(), added.routes.count()) == (1, 1, 0)


class TestAProduct:
    def test_has_one_recipient_field(self, people: People) -> None:
        product = people.shop.package.product
        rows = {
            "fields-TOTAL_FORMS": 2,
            "fields-1-name": "second",
            "fields-1-label": "Second",
            "fields-1-target": "user_identifier",
            "fields-1-position": 1,
        }
        answer = save(people.owner, path_of(Product, "change", product.pk), **rows)
        assert "only one field may go there" in errors_of(answer)
        assert InputField.objects.filter(product=product).count() == 1

    def test_says_a_pattern_that_is_no_regular_expression(self, people: People) -> None:
        path = path_of(Product, "change", people.shop.package.product.pk)
        assert "not a regular expression" in errors_of(save(people.owner, path, **{"fields-0-pattern": "["}))


class TestAStandaloneRoute:
    def test_left_without_a_package_is_an_error_and_no_crash(self, people: People) -> None:
        data = {"package": "", "position": 1, "mode": "auto", "integration": people.shop.integration.pk}
        assert "This field is required." in errors_of(people.owner.post(path_of(Route, "add"), data))

    def test_is_added(self, people: People) -> None:
        package = make_package(people.shop.tenant)
        add_route(package, people.shop.integration)
        data = {"package": package.pk, "position": 2, "mode": "manual", "integration": "", "is_enabled": "on"}
        assert people.owner.post(path_of(Route, "add"), data).status_code == 302
        assert Route.objects.get(package=package, position=2).mode == "manual"


class TestAMembership:
    def test_is_given_to_people_of_the_own_shops_only(self, people: People) -> None:
        sam = User.objects.get(username="sam")
        data = {"user": sam.pk, "tenant": people.shop.tenant.pk, "role": "viewer"}
        assert "Select a valid choice" in errors_of(people.owner.post(path_of(Membership, "add"), data))
        assert people.root.post(path_of(Membership, "add"), data).status_code == 302

    def test_changes_its_role_and_nothing_else(self, people: People) -> None:
        membership = Membership.objects.get(user__username="vera")
        path = path_of(Membership, "change", membership.pk)
        save(people.owner, path, role="operator", tenant=people.foreign_shop.tenant.pk)
        membership.refresh_from_db()
        assert (membership.role, membership.tenant_id) == ("operator", people.shop.tenant.pk)


class TestAShop:
    def test_has_a_time_zone_that_exists(self, people: People) -> None:
        path = path_of(Tenant, "change", people.shop.tenant.pk)
        assert "write it like Europe/Istanbul" in errors_of(save(people.owner, path, timezone="Istanbul/Europe"))
        assert save(people.owner, path, timezone="Europe/Istanbul").status_code == 302

    @pytest.mark.parametrize("currency", ["TL", "12A", "€€€"])
    def test_has_a_currency_of_three_letters(self, people: People, currency: str) -> None:
        path = path_of(Tenant, "change", people.shop.tenant.pk)
        assert "ISO 4217" in errors_of(save(people.owner, path, currency=currency))


class TestACustomer:
    def test_has_a_price_group_of_the_own_shop(self, people: People) -> None:
        olga = User.objects.get(username="olga")
        Membership.objects.create(user=olga, tenant=people.foreign_shop.tenant, role="owner")
        foreign = row_of(PriceGroup, people.foreign_shop)
        path = path_of(Customer, "change", people.shop.customer.pk)
        assert "belongs to another shop" in errors_of(save(people.owner, path, price_group=foreign.pk))

    def test_keeps_the_currency_of_the_wallet(self, people: People) -> None:
        save(people.owner, path_of(Customer, "change", people.shop.customer.pk), currency="USD")
        assert Customer.objects.get(pk=people.shop.customer.pk).currency == "TRY"


class TestAnAmountField:
    @pytest.mark.parametrize(("typed", "micros"), [("1", 1_000_000), ("0.000001", 1), (" 12.50 ", 12_500_000)])
    def test_reads_an_amount_exactly(self, typed: str, micros: int) -> None:
        from apps.accounts.admin_base import AmountField

        assert AmountField(min_value=Decimal(0)).clean(typed) == micros
