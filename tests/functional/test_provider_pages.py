"""The pages of providers and of the catalogue: who sees what, who may act, and what each action does."""

from __future__ import annotations

import re
from datetime import UTC
from decimal import Decimal
from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.catalog.models import Package, Product
from apps.common import clock
from apps.journal.models import AuditEntry
from apps.orders import monitoring
from apps.orders.states import AttemptState
from apps.panel.provider_health import KINDS, load_health
from apps.providers.balances import record_balance
from apps.providers.catalogue_models import AccountWatch, BalanceReading, CatalogChange, CatalogItem, CatalogSync
from apps.providers.contract import Balance
from apps.providers.listing import run_sync
from apps.providers.models import Integration, PackageMapping
from tests.factories import Stage, standing_of
from tests.functional.panel_fixtures import LANGUAGES, People, browser_of, english, people

__all__ = ["english", "people"]

pytestmark = [pytest.mark.both_databases, pytest.mark.page]

SIXTY = "kupur=60&oyun=152"


def url(name: str, *args: Any) -> str:
    return reverse(f"panel:{name}", args=args)


def text_of(answer: object) -> str:
    assert isinstance(answer, HttpResponse)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def fetched(people: People, *, approve: bool = True) -> Integration:
    """The account with its list fetched by the button, and approved by the form."""
    account = people.shop.integration
    people.operator.post(url("provider_sync", account.pk))
    run_sync(CatalogSync.objects.get(integration=account, state="queued").pk)
    if approve:
        people.operator.post(url("provider_changes_decide", account.pk), {"decision": "approve", "all": "yes"})
    return account


def looks(account: Integration, package: Package) -> list[str]:
    return [
        url("provider", account.pk),
        url("provider_live", account.pk),
        url("provider_items", account.pk),
        url("provider_changes", account.pk),
        url("mapping", package.pk, account.pk),
    ]


def acts(account: Integration, package: Package) -> list[str]:
    return [
        url("provider_watch", account.pk),
        url("provider_diagnose", account.pk),
        url("provider_sync", account.pk),
        url("provider_changes_decide", account.pk),
        url("provider_change_approve", account.pk, 1),
        url("mapping", package.pk, account.pk),
    ]


GENERAL = ("providers", "catalogue", "sheets")


class TestWhoMayDoWhat:
    def test_nobody_signed_in_is_sent_to_the_door(self, people: People) -> None:
        shop = people.shop
        for path in [*looks(shop.integration, shop.package), *map(url, GENERAL), url("sheet_export", "products")]:
            assert people.nobody.get(path).headers["Location"].startswith("/login/")
        for path in [*acts(shop.integration, shop.package), url("sheet_import")]:
            assert people.nobody.post(path).headers["Location"].startswith("/login/")

    def test_a_viewer_looks_and_does_nothing(self, people: People) -> None:
        shop = people.shop
        for path in [*looks(shop.integration, shop.package), *map(url, GENERAL), url("sheet_export", "products")]:
            assert people.viewer.get(path).status_code == 200
        for path in acts(shop.integration, shop.package):
            assert people.viewer.post(path).status_code == 403
        answer = people.viewer.post(url("sheet_import"), {"sheet": "products", "shop": shop.tenant.pk})
        assert answer.status_code == 403
        assert CatalogSync.objects.count() == 0

    def test_a_viewer_sees_no_button(self, people: People) -> None:
        fetched(people, approve=False)
        own_buttons = r'<header.*?</header>|<form class="filters.*?</form>'
        for path in looks(people.shop.integration, people.shop.package):
            text = text_of(people.viewer.get(path))
            assert "<button" not in re.sub(own_buttons, "", text, flags=re.DOTALL)

    def test_another_shop_s_account_does_not_exist(self, people: People) -> None:
        shop = people.shop
        for path in looks(shop.integration, shop.package):
            assert people.stranger.get(path).status_code == 404
        for path in acts(shop.integration, shop.package):
            assert people.stranger.post(path).status_code == 404
        for form in ({"sheet": "products", "shop": shop.tenant.pk}, {"sheet": "products", "shop": "0"}):
            assert people.stranger.post(url("sheet_import"), form).status_code == 404
        assert people.stranger.get(url("sheet_export", "products"), {"shop": shop.tenant.pk}).status_code == 404

    def test_a_package_of_one_shop_is_not_mapped_at_an_account_of_another(self, people: People) -> None:
        path = url("mapping", people.foreign_shop.package.pk, people.shop.integration.pk)
        assert people.root.get(path).status_code == 404

    def test_lists_hold_the_person_s_shops_only(self, people: People) -> None:
        for name in ("providers", "catalogue"):
            text = text_of(people.owner.get(url(name)))
            assert people.shop.integration.name in text
            assert people.foreign_shop.integration.name not in text

    def test_looking_is_a_get_and_acting_a_post(self, people: People) -> None:
        shop = people.shop
        for path in acts(shop.integration, shop.package)[:-1]:
            assert people.owner.get(path).status_code == 405


class TestLanguages:
    @pytest.mark.parametrize("language", LANGUAGES)
    def test_turn_every_page(self, people: People, stage: Stage, language: str) -> None:
        account = fetched(people, approve=False)
        browser = browser_of(User.objects.get(username="olga"), language)
        pages = [*looks(account, people.shop.package), *map(url, GENERAL)]
        direction = "rtl" if language == "ar" else "ltr"
        for path in pages:
            text = text_of(browser.get(path))
            assert path.endswith("/live/") or f'<html lang="{language}" dir="{direction}">' in text
            assert re.search("[\u0660-\u0669\u06f0-\u06f9]", text) is None

    def test_leave_amounts_and_ids_left_to_right(self, people: People) -> None:
        account = fetched(people)
        text = text_of(browser_of(User.objects.get(username="olga"), "ar").get(url("provider_items", account.pk)))
        assert '<bdi dir="ltr" class="amount">31.50 TRY</bdi>' in text
        assert f'<bdi dir="ltr" class="ref">{SIXTY}</bdi>' in text


class TestTheBalance:
    def say(self, people: People, amount: str | None, error: str = "") -> str:
        told = Balance(None if amount is None else Decimal(amount), "TRY", error=error)
        record_balance(people.shop.integration, told, clock.now())
        return text_of(people.owner.get(url("provider", people.shop.integration.pk)))

    def test_of_zero_is_shown_as_zero_and_the_account_as_paused(self, people: People) -> None:
        """LESSONS C33 and scenario 14."""
        text = self.say(people, "0")
        assert '<bdi dir="ltr" class="amount">0.00 TRY</bdi>' in text
        assert "our balance there is too low" in text

    def test_that_could_not_be_read_is_shown_with_the_last_value_and_its_time(
        self, people: People, stage: Stage
    ) -> None:
        """LESSONS C33: value, time and error are three things."""
        self.say(people, "12.50")
        stage.move(60)
        text = self.say(people, None, "timeout")
        assert '<bdi dir="ltr" class="amount">12.50 TRY</bdi>' in text
        assert "no answer in time" in text
        assert "0.00 TRY" not in text

    def test_of_a_simulator_is_never_shown_as_real_money(self, people: People) -> None:
        """LESSONS C32: a simulated balance was shown as real."""
        assert "test money" in self.say(people, "12.50")
        assert "test system" in text_of(people.owner.get(url("providers")))
        Integration.objects.update(is_local=False)
        text = self.say(people, "12.50")
        assert "test money" not in text
        Integration.objects.update(base_url="https://sandbox.provider.example")
        assert "test money" in self.say(people, "12.50")

    def test_shows_credit_and_debt_beside_the_difference(self, people: People, stage: Stage) -> None:
        """LESSONS C31."""
        stage.simulator.switch(debt="2.50")
        people.operator.post(url("provider_diagnose", people.shop.integration.pk))
        text = text_of(people.owner.get(url("provider", people.shop.integration.pk)))
        assert re.search(r'debt\s*<bdi dir="ltr" class="amount">2.50 TRY</bdi>', text)

    def test_warns_below_what_the_shop_set(self, people: People) -> None:
        account = people.shop.integration
        form = {"alert_below": "100.50", "jump_factor": "2.5"}
        assert people.operator.post(url("provider_watch", account.pk), form).status_code == 302
        watch = AccountWatch.objects.get(integration=account)
        assert (watch.alert_below_micros, str(watch.jump_factor)) == (100_500_000, "2.50")
        assert "low since" not in self.say(people, "100.50")
        assert "low since" in self.say(people, "100.49")

    @pytest.mark.parametrize(("name", "value"), [("jump_factor", "1"), ("jump_factor", ""), ("alert_below", "-1")])
    def test_refuses_limits_that_make_no_sense(self, people: People, name: str, value: str) -> None:
        form = {"alert_below": "5", "jump_factor": "3", name: value}
        text = text_of(people.operator.post(url("provider_watch", people.shop.integration.pk), form))
        assert 'class="message error"' in text
        assert AccountWatch.objects.count() == 0


class TestTheDiagnosis:
    def test_shows_every_step(self, people: People) -> None:
        text = text_of(people.operator.post(url("provider_diagnose", people.shop.integration.pk)))
        assert '<bdi dir="ltr" class="ref">127.0.0.1</bdi>' in text
        assert "PUBG Mobile 60 UC" in text
        assert BalanceReading.objects.count() == 1

    def test_explains_an_empty_answer(self, people: People, stage: Stage) -> None:
        """LESSONS C34."""
        stage.simulator.switch(auth_fails_on=["bakiye_kontrol", "pin_listesi"])
        text = text_of(people.operator.post(url("provider_diagnose", people.shop.integration.pk)))
        assert "The provider answered with nothing at all." in text


class TestTheList:
    def test_is_fetched_by_a_button_with_progress(self, people: People) -> None:
        account = people.shop.integration
        people.operator.post(url("provider_sync", account.pk))
        sync = CatalogSync.objects.get()
        assert (sync.state, sync.wanted_by) == ("queued", "omar")
        text = text_of(people.operator.get(url("provider_live", account.pk)))
        assert "<progress" in text
        assert "disabled" in text
        assert "is being fetched already" in text_of(people.owner.post(url("provider_sync", account.pk), follow=True))
        run_sync(sync.pk)
        text = text_of(people.operator.get(url("provider_live", account.pk)))
        assert "<progress" not in text
        assert CatalogChange.objects.count() == 7

    def test_costs_nothing_to_watch_while_nothing_changes(self, people: People) -> None:
        path = url("provider_live", people.shop.integration.pk)
        etag = people.viewer.get(path).headers["ETag"]
        assert people.viewer.get(path, headers={"if-none-match": etag}).status_code == 304

    def test_that_failed_says_why(self, people: People, stage: Stage) -> None:
        stage.simulator.switch(down="empty")
        fetched(people, approve=False)
        text = text_of(people.owner.get(url("provider", people.shop.integration.pk)))
        assert "the answer was empty" in text
        assert "Nothing was changed." in text

    def test_is_searched_and_in_natural_order(self, people: People) -> None:
        """LESSONS C30."""
        account = fetched(people)
        text = text_of(people.viewer.get(url("provider_items", account.pk), {"q": "pubg"}))
        assert re.findall(r"PUBG Mobile (\d+) UC", text) == ["60", "325", "660"]
        assert "Steam" not in text


class TestChanges:
    def jump(self, people: People) -> tuple[Integration, CatalogChange, CatalogChange]:
        """One calm change and one price jump."""
        account = fetched(people)
        CatalogItem.objects.filter(key=SIXTY).update(cost_micros=3_150_000)
        CatalogItem.objects.filter(key="kupur=325&oyun=152").update(name="old name")
        run_sync(self.queued(people, account))
        found = CatalogChange.objects.filter(state="pending")
        return account, found.get(kind="name"), found.get(kind="price")

    def queued(self, people: People, account: Integration) -> int:
        people.operator.post(url("provider_sync", account.pk))
        return CatalogSync.objects.get(state="queued").pk

    def state_of(self, change: CatalogChange) -> str:
        change.refresh_from_db()
        return change.state

    def test_show_old_new_and_the_percentage(self, people: People) -> None:
        account, _, jump = self.jump(people)
        text = text_of(people.viewer.get(url("provider_changes", account.pk)))
        assert "3.15 TRY" in text
        assert "31.50 TRY" in text
        assert jump.percent == "+900.0 %"
        assert jump.percent in text

    def test_are_approved_together_but_for_jumps(self, people: People) -> None:
        account, calm, jump = self.jump(people)
        form = {"decision": "approve", "change": [calm.pk, jump.pk]}
        answer = people.operator.post(url("provider_changes_decide", account.pk), form, follow=True)
        assert (self.state_of(calm), self.state_of(jump)) == ("approved", "pending")
        assert "1 price jump waits for an approval of its own." in text_of(answer)

    def test_all_of_them_leave_jumps_too(self, people: People) -> None:
        account, calm, jump = self.jump(people)
        people.operator.post(url("provider_changes_decide", account.pk), {"decision": "approve", "all": "yes"})
        assert (self.state_of(calm), self.state_of(jump)) == ("approved", "pending")

    def test_a_jump_is_approved_by_its_own_button(self, people: People) -> None:
        account, _, jump = self.jump(people)
        people.operator.post(url("provider_change_approve", account.pk, jump.pk))
        jump.refresh_from_db()
        assert (jump.state, jump.decided_by) == ("approved", "omar")
        assert PackageMapping.objects.get(package=people.shop.package).cost_micros == 31_500_000

    def test_are_declined(self, people: People) -> None:
        account, calm, jump = self.jump(people)
        form = {"decision": "decline", "change": [calm.pk, jump.pk]}
        people.operator.post(url("provider_changes_decide", account.pk), form)
        assert (self.state_of(calm), self.state_of(jump)) == ("declined", "declined")
        assert "old name" in text_of(people.viewer.get(url("provider_changes", account.pk), {"state": "declined"}))

    @pytest.mark.parametrize("change", ["9" * 5000, "9" * 19, "²", "x", "0"])
    def test_of_no_number_are_nothing(self, people: People, change: str) -> None:
        path = url("provider_changes_decide", people.shop.integration.pk)
        answer = people.operator.post(path, {"decision": "approve", "change": change}, follow=True)
        assert "Nothing was done about changes that are not waiting any more." in text_of(answer)

    @pytest.mark.parametrize("form", [{"decision": "burn"}, {}])
    def test_are_not_decided_by_other_words(self, people: People, form: dict[str, str]) -> None:
        assert people.operator.post(url("provider_changes_decide", people.shop.integration.pk), form).status_code == 404


class TestMapping:
    def test_goes_from_suggestion_over_preview_to_the_mapping(self, people: People) -> None:
        account = fetched(people)
        package, path = people.shop.package, url("mapping", people.shop.package.pk, account.pk)
        PackageMapping.objects.all().delete()
        text = text_of(people.operator.get(path))
        item = CatalogItem.objects.get(key=SIXTY)
        assert text.index("PUBG Mobile 60 UC") < text.index("PUBG Mobile 660 UC")
        shown = text_of(people.operator.get(path, {"item": item.pk}))
        assert "This would be stored" in shown
        assert PackageMapping.objects.count() == 0
        form = {name: self.hidden(shown, name) for name in ("item", "seen")}
        assert people.operator.post(path, form).headers["Location"] == url("catalogue")
        mapping = PackageMapping.objects.get()
        assert (mapping.package, mapping.oyun, mapping.kupur, mapping.cost_micros) == (package, "152", "60", 31_500_000)

    def hidden(self, text: str, name: str) -> str:
        found = re.search(rf'name="{name}" value="([^"]*)"', text)
        assert found
        return found.group(1)

    def test_is_not_saved_when_the_item_changed_since_it_was_shown(self, people: People, stage: Stage) -> None:
        account = fetched(people)
        path = url("mapping", people.shop.package.pk, account.pk)
        item = CatalogItem.objects.get(key="kupur=325&oyun=152")
        shown = text_of(people.operator.get(path, {"item": item.pk}))
        form = {name: self.hidden(shown, name) for name in ("item", "seen")}
        CatalogItem.objects.update(cost_micros=1, changed_at=stage.move(1))
        assert "has changed since you looked" in text_of(people.operator.post(path, form, follow=True))
        assert PackageMapping.objects.get(package=people.shop.package).kupur == "60"

    @pytest.mark.parametrize("item", ["", "x", "999999", "²"])
    def test_of_no_item_does_not_exist(self, people: People, item: str) -> None:
        path = url("mapping", people.shop.package.pk, people.shop.integration.pk)
        assert people.operator.post(path, {"item": item}).status_code == 404

    def test_warns_of_another_number(self, people: People) -> None:
        account = fetched(people)
        item = CatalogItem.objects.get(key="kupur=660&oyun=152")
        text = text_of(people.operator.get(url("mapping", people.shop.package.pk, account.pk), {"item": item.pk}))
        assert "The number in its name is another one than the package's." in text


class TestTheCatalogue:
    def test_shows_packages_in_natural_order_with_price_and_mapping(self, people: People) -> None:
        """LESSONS C30."""
        shop = people.shop
        for number in (325, 120):
            Package.objects.create(
                tenant=shop.tenant, product=shop.package.product, code=f"p{number}", name=f"{number} UC"
            )
        text = text_of(people.viewer.get(url("catalogue")))
        assert re.findall(r"<bdi>(\d+) UC</bdi>", text) == ["60", "120", "325"]
        assert '<bdi dir="ltr" class="amount">35.00 TRY</bdi>' in text
        assert '<bdi dir="ltr" class="ref">152 60</bdi>' in text
        assert "there is no enabled route" in text

    def test_is_searched_and_paged(self, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("apps.panel.providing.PAGE", 2)
        shop = people.shop
        for number in (325, 120):
            Package.objects.create(
                tenant=shop.tenant, product=shop.package.product, code=f"p{number}", name=f"{number} UC"
            )
        first = text_of(people.viewer.get(url("catalogue")))
        assert re.findall(r"<bdi>(\d+) UC</bdi>", first) == ["60", "120"]
        assert 'href="?q=&start=2"' in first
        assert re.findall(r"<bdi>(\d+) UC</bdi>", text_of(people.viewer.get(url("catalogue"), {"start": "2"}))) == [
            "325"
        ]
        assert re.findall(r"<bdi>(\d+) UC</bdi>", text_of(people.viewer.get(url("catalogue"), {"q": "P12"}))) == ["120"]
        assert "No package fits." in text_of(people.viewer.get(url("catalogue"), {"q": "nothing"}))

    def test_shows_a_picture_where_there_is_one(self, people: People) -> None:
        Product.objects.filter(pk=people.shop.package.product_id).update(image_url="https://img.example/a.png?x=1&y=2")
        answer = people.viewer.get(url("catalogue"))
        assert b'src="https://img.example/a.png?x=1&amp;y=2"' in answer.content


class TestFiles:
    def send(self, browser: Client, people: People, text: str, act: str) -> str:
        upload = SimpleUploadedFile("products.csv", text.encode(), content_type="text/csv")
        form = {"sheet": "products", "shop": people.shop.tenant.pk, "file": upload, "act": act}
        return text_of(browser.post(url("sheet_import"), form))

    HEAD = "name,name_ar,name_tr,needs_code,image_url,active\n"

    def test_are_checked_first_and_brought_in_then(self, people: People) -> None:
        text = self.HEAD + "New,,,yes,,yes\n"
        assert "this was a check" in self.send(people.operator, people, text, "check")
        assert not Product.objects.filter(name="New").exists()
        assert "The file was brought in." in self.send(people.operator, people, text, "import")
        assert Product.objects.get(name="New").tenant == people.shop.tenant

    def test_show_every_fault_with_its_line(self, people: People) -> None:
        text = self.send(people.operator, people, self.HEAD + "New,,,perhaps,,yes\n,,,yes,,no\n", "import")
        assert "2 faults: nothing was changed." in text
        assert re.findall(r'<bdi dir="ltr">(\d+)</bdi></td>', text) == ["2", "3"]

    def test_without_a_file_say_so(self, people: People) -> None:
        form = {"sheet": "products", "shop": people.shop.tenant.pk}
        assert "Choose a file first." in text_of(people.operator.post(url("sheet_import"), form, follow=True))

    @pytest.mark.parametrize("shop", ["9" * 5000, "9" * 19, "0"])
    def test_of_no_shop_do_not_exist(self, people: People, shop: str) -> None:
        assert people.operator.post(url("sheet_import"), {"sheet": "products", "shop": shop}).status_code == 404
        assert people.operator.get(url("sheet_export", "products"), {"shop": shop[:2000]}).status_code == 404

    def test_are_taken_out_under_the_shop_s_name(self, people: People) -> None:
        answer = people.viewer.get(url("sheet_export", "mappings"))
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{people.shop.tenant.slug}-mappings.csv"'
        assert people.shop.package.code.encode() in answer.content
        assert people.viewer.get(url("sheet_export", "secrets")).status_code == 404

    def test_of_two_shops_need_to_be_told_which(self, people: People) -> None:
        assert people.root.get(url("sheet_export", "products")).status_code == 404
        assert people.root.get(url("sheet_export", "products"), {"shop": people.shop.tenant.pk}).status_code == 200


class TestAStoppedAccount:
    def step(self, people: People, who: str, step: str, **typed: str) -> int:
        answer = getattr(people, who).post(url("provider_stop", people.shop.integration.pk, step), typed)
        assert isinstance(answer, HttpResponse)
        return answer.status_code

    def test_gets_no_new_order_until_a_person_lets_it(self, people: People, stage: Stage) -> None:
        assert self.step(people, "operator", "stop", reason="their telephone is dead") == 302
        order = stage.order(people.shop)
        stage.run_until_quiet(600)
        assert standing_of(order) == ("pending", "not_sent", "waiting:provider_stopped")
        assert stage.purchases(order) == []
        page = text_of(people.viewer.get(url("provider", people.shop.integration.pk)))
        assert "their telephone is dead" in page
        assert self.step(people, "owner", "let-go", reason="they answer") == 302
        stage.run_until_quiet()
        assert len(stage.purchases(order)) == 1
        told = AuditEntry.objects.filter(action__startswith="breaker").order_by("id")
        assert [(one.action, one.actor, one.changes["reason"][1]) for one in told] == [
            ("breaker_tripped", "omar", "their telephone is dead"),
            ("breaker_closed", "olga", "they answer"),
        ]

    def test_is_stopped_with_a_reason_by_who_may(self, people: People) -> None:
        assert self.step(people, "operator", "stop") == 200
        assert self.step(people, "operator", "nonsense", reason="x") == 404
        for who, status in (("viewer", 403), ("stranger", 404), ("nobody", 302)):
            assert self.step(people, who, "stop", reason="x") == status
        assert not AuditEntry.objects.filter(action="breaker_tripped").exists()

    def test_is_asked_about_its_open_orders_all_the_same(self, people: People, stage: Stage) -> None:
        order = stage.order(people.shop, complete_after_s=30)
        monitoring.sweep()
        self.step(people, "operator", "stop", reason="x")
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"


class TestTheHealth:
    def test_counts_every_state_once(self) -> None:
        counted = [state for states in KINDS.values() for state in states]
        assert sorted(counted) == sorted(AttemptState)

    def test_tells_the_days_and_what_cannot_be_sold(self, people: People, stage: Stage) -> None:
        stage.order(people.shop)
        stage.run_until_quiet()
        health = load_health(people.shop.integration, clock.now(), UTC)
        assert [(day.counts, day.percent) for day in health.days] == [({"delivered": 1}, 100)]
        assert health.coverage.unsold == []
        people.shop.package.prices.all().delete()
        health = load_health(people.shop.integration, clock.now(), UTC)
        assert [one.package for one in health.coverage.unsold] == [people.shop.package]
