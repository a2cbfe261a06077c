"""Every change of the set-up leaves an entry with who, before and after; no secret is in it, and nothing changes it."""

from __future__ import annotations

from datetime import timedelta
from html import unescape

import pytest
from django.db import DatabaseError, transaction
from django.urls import reverse

from apps.accounts.keys import demand_signatures, issue_key, replace_key
from apps.accounts.models import ApiKey, Membership, Tenant, User
from apps.catalog.models import MarginRule, PackagePrice
from apps.common import clock
from apps.journal.audit import WATCHED, Action
from apps.journal.models import AuditEntry
from apps.panel import words
from apps.providers import troubles
from apps.providers.contract import Outcome
from apps.providers.models import Integration, PackageMapping, Route
from tests.factories import START, Stage
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import People, browser_of, english, people

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

SECRET = "another-provider-password"


def latest() -> AuditEntry:
    return AuditEntry.objects.latest("id")


def form_of(account: Integration, **typed: str) -> dict[str, str]:
    """What the set-up page of an account posts."""
    told = {"name": account.name, "base_url": account.base_url, "login": account.login, "currency": account.currency}
    return {**told, "kind": account.kind, "options": "{}", "is_enabled": "on", **typed}


class TestAChange:
    def test_in_the_set_up_is_recorded_with_its_author_and_both_sides(self, people: People) -> None:
        account = people.shop.integration
        path = reverse("admin:providers_integration_change", args=[account.pk])
        answer = people.owner.post(path, form_of(account, name="Another name", secret_sifre=SECRET))
        assert answer.status_code == 302
        entry = AuditEntry.objects.filter(subject_kind="integration").latest("id")
        assert (entry.actor, entry.action, entry.tenant_id) == ("olga", "changed", people.shop.tenant.pk)
        assert entry.address == "127.0.0.1"
        assert entry.changes["name"] == [account.name, "Another name"]
        assert entry.changes["sealed_secrets"] == ["***", "***"]
        assert SECRET not in str(list(AuditEntry.objects.values()))

    def test_on_a_page_of_the_panel_is_recorded_too(self, people: People) -> None:
        account = people.shop.integration
        people.operator.post(
            reverse("panel:provider_watch", args=[account.pk]), {"alert_below": "12.50", "jump_factor": "2"}
        )
        entry = latest()
        assert (entry.actor, entry.action, entry.subject_kind) == ("omar", "created", "accountwatch")
        assert entry.changes["alert_below_micros"] == ["", "12.50"]

    def test_of_a_price_route_mapping_and_member_names_what_it_was(self, people: People) -> None:
        price = PackagePrice.objects.get(package=people.shop.package)
        price.unit_price_micros = 36_000_000
        price.save()
        assert latest().changes == {"unit_price_micros": ["35.00", "36.00"]}
        mapping = PackageMapping.objects.get(package=people.shop.package)
        mapping.kupur = "61"
        mapping.save()
        assert latest().changes == {"kupur": ["60", "61"]}
        Route.objects.filter(package=people.shop.package).first().delete()  # type: ignore[union-attr]
        assert latest().action == "deleted"
        assert latest().changes["integration"][0].endswith(f"(#{people.shop.integration.pk})")
        member = Membership.objects.get(user__username="vera")
        member.role = "operator"
        member.save()
        assert latest().changes == {"role": ["viewer", "operator"]}
        assert latest().tenant_id == people.shop.tenant.pk

    def test_of_a_key_is_recorded_without_the_key(self, people: People) -> None:
        key, full = issue_key(people.shop.customer, clock.now())
        assert latest().changes["secret_hash"] == ["", "***"]
        _new, second = replace_key(key.pk, clock.now())
        assert latest().action == "key_replaced"
        signing = demand_signatures(ApiKey.objects.get(pk=key.pk))
        assert latest().changes == {"signing_secret": ["", "***"]}
        stored = str(list(AuditEntry.objects.values()))
        hashes = ApiKey.objects.values_list("secret_hash", flat=True)
        for secret in (full.partition(".")[2], second.partition(".")[2], signing, *hashes):
            assert secret not in stored

    def test_that_changes_nothing_is_no_entry(self, people: People) -> None:
        before = AuditEntry.objects.count()
        people.shop.tenant.save()
        troubles.pause(people.shop.integration, Outcome.RATE_LIMITED, clock.now())
        assert AuditEntry.objects.count() == before

    def test_that_is_taken_back_leaves_no_entry(self, people: People) -> None:
        before = AuditEntry.objects.count()
        with transaction.atomic():
            Tenant.objects.create(name="Gone", slug="gone")
            transaction.set_rollback(True)
        assert AuditEntry.objects.count() == before


class TestAnEntry:
    def test_stays_as_it_is(self, people: People) -> None:
        MarginRule.objects.create(tenant=people.shop.tenant, currency="TRY")
        entry = latest()
        for change in (
            lambda: AuditEntry.objects.filter(pk=entry.pk).update(actor="somebody else"),
            lambda: AuditEntry.objects.filter(pk=entry.pk).delete(),
        ):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                change()
        assert latest() == entry

    def test_has_words_for_everything_that_is_recorded(self) -> None:
        assert set(words.RECORDED) == set(Action)
        assert {model.__name__ for model in WATCHED} >= {
            "ApiKey",
            "Integration",
            "Membership",
            "PackageMapping",
            "PackagePrice",
            "Route",
            "Tenant",
            "User",
        }


class TestThePage:
    def page(self, people: People, query: str = "", who: str = "owner") -> str:
        answer = getattr(people, who).get(f"{reverse('panel:audit')}?{query}")
        assert answer.status_code == 200
        return unescape(answer.content.decode())

    def test_shows_the_own_shop_alone(self, people: People) -> None:
        for shop in (people.shop, people.foreign_shop):
            shop.integration.name = f"Renamed {shop.tenant.name}"
            shop.integration.save()
        assert f"Renamed {people.shop.tenant.name}" in self.page(people)
        assert f"Renamed {people.foreign_shop.tenant.name}" not in self.page(people)
        assert f"Renamed {people.foreign_shop.tenant.name}" in self.page(people, who="root")

    def test_shows_how_members_sign_in_but_not_what_they_do_in_other_shops(self, people: People) -> None:
        for name in ("omar", "sam"):
            browser_of(User.objects.get(username=name))
        text = self.page(people, "action=signed_in")
        assert "omar" in text
        assert "sam" not in text
        Membership.objects.create(
            user=User.objects.get(username="omar"), tenant=people.foreign_shop.tenant, role="viewer"
        )
        assert "omar" not in self.page(people, "action=signed_in")

    def test_is_filtered_by_kind_action_person_and_day(self, people: People, stage: Stage) -> None:
        people.shop.integration.name = "First name"
        people.shop.integration.save()
        stage.move(timedelta(days=1).total_seconds())
        people.owner.post(reverse("panel:provider_watch", args=[people.shop.integration.pk]), {"jump_factor": "3"})
        today = f"{START + timedelta(days=1):%Y-%m-%d}"
        for query, is_first in (
            ("kind=integration", True),
            ("kind=accountwatch", False),
            ("actor=olga&action=created", False),
            (f"since={today}", False),
            (f"until={START:%Y-%m-%d}", True),
            ("kind=nonsense&action=nonsense&since=nonsense", True),
        ):
            found = '<bdi class="ref">First name</bdi>' in self.page(people, query)
            assert found is is_first, query

    def test_goes_on_to_older_entries(self, people: People) -> None:
        for n in range(60):
            people.shop.integration.name = f"Name {n:02}"
            people.shop.integration.save()
        first = self.page(people, "kind=integration")
        assert "Name 59" in first
        assert "Name 00" not in first
        before = AuditEntry.objects.filter(subject_kind="integration").order_by("-id")[49].pk
        assert f"before={before}" in first
        assert "Name 05" in self.page(people, f"kind=integration&before={before}")
