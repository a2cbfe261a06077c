"""Fetching a provider's list from the simulated panel, and letting its changes take effect."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection, transaction

from apps.accounts.models import Tenant
from apps.common import clock
from apps.common.guards import OpenTransaction
from apps.orders.models import Attempt
from apps.orders.services import try_auto_dispatch
from apps.providers import approval, listing
from apps.providers.approval import Decided
from apps.providers.catalogue_models import AccountWatch, CatalogChange, CatalogItem, CatalogSync
from apps.providers.contract import Catalogue
from apps.providers.listing import CannotList, SyncRunning, plan_syncs, request_sync, run_sync
from apps.providers.models import Integration, PackageMapping
from apps.providers.offers import find_differences, read_offers
from celery_app import app
from tests.factories import Shop, Stage, make_integration, make_shop, make_tenant, order_from

pytestmark = [pytest.mark.both_databases, pytest.mark.page]

SIXTY = "kupur=60&oyun=152"
LISTED = 7
"""Rows of the simulated panel's list."""


@pytest.fixture
def shop(stage: Stage) -> Shop:
    """A shop whose one package is the panel's 60 UC at 31.50 TRY."""
    return make_shop(stage.url)


@pytest.fixture(autouse=True)
def messages(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, list[int]]]:
    """What the broker was told."""
    told: list[tuple[str, list[int]]] = []
    monkeypatch.setattr("apps.common.broker.publish", lambda task, args: told.append((task, list(args))))
    return told


def fetch(account: Integration) -> CatalogSync:
    """Ask for the list and fetch it at once."""
    sync = request_sync(account, "olga", clock.now())
    run_sync(sync.pk)
    sync.refresh_from_db()
    return sync


def pending(account: Integration, **wanted: Any) -> list[CatalogChange]:
    return list(CatalogChange.objects.filter(integration=account, state="pending", **wanted).order_by("sort_key", "pk"))


def approve_all(account: Integration) -> Decided:
    ids = [change.pk for change in pending(account)]
    return approval.approve_many(account, ids, "olga", clock.now())


def approved(account: Integration) -> None:
    """The whole list, fetched and approved."""
    fetch(account)
    assert approve_all(account) == Decided(done=LISTED)


def pretend_cost(account: Integration, micros: int, key: str = SIXTY) -> None:
    """As if another cost had been approved before: the panel's own list cannot change."""
    CatalogItem.objects.filter(integration=account, key=key).update(cost_micros=micros)
    PackageMapping.objects.filter(integration=account).update(cost_micros=micros)


def cost_of_mapping(shop: Shop) -> int | None:
    return PackageMapping.objects.get(package=shop.package).cost_micros


class TestFetching:
    def test_finds_everything_and_changes_nothing(self, shop: Shop) -> None:
        sync = fetch(shop.integration)
        assert (sync.state, sync.found, sync.doubled, sync.counts, sync.error) == (
            "done",
            LISTED,
            0,
            {"new": LISTED},
            "",
        )
        assert (sync.wanted_by, sync.pages) == ("olga", 1)
        assert CatalogItem.objects.count() == 0
        assert cost_of_mapping(shop) == 31_500_000
        assert [change.title for change in pending(shop.integration)] == [
            "Free Fire 100 Elmas",
            "Free Fire 310 Elmas",
            "PUBG Mobile 60 UC",
            "PUBG Mobile 325 UC",
            "PUBG Mobile 660 UC",
            "Steam Cüzdan Kodu 50 TL",
            "Steam Cüzdan Kodu 100 TL",
        ]

    def test_again_asks_about_nothing_twice(self, shop: Shop) -> None:
        fetch(shop.integration)
        first = [change.pk for change in pending(shop.integration)]
        fetch(shop.integration)
        assert [change.pk for change in pending(shop.integration)] == first

    def test_notes_when_an_item_was_last_seen(self, shop: Shop, stage: Stage) -> None:
        approved(shop.integration)
        later = stage.move(3600)
        sync = fetch(shop.integration)
        assert (sync.counts, pending(shop.integration)) == ({}, [])
        assert set(CatalogItem.objects.values_list("seen_at", flat=True)) == {later}

    @pytest.mark.parametrize(
        ("switches", "error"),
        [
            ({"auth_fails_on": ["pin_listesi"]}, "Bayi kodu veya şifre hatalı"),
            ({"auth_fails_on": ["pin_listesi"], "bad_password": "clone_a"}, "OK|3|bayikodu yada sifre geçersiz|0.00"),
            ({"down": "html"}, "http_503"),
            ({"down": "empty"}, "empty"),
            ({"down": "refuse"}, "refused"),
        ],
    )
    def test_that_fails_changes_nothing_and_says_why(
        self, shop: Shop, stage: Stage, switches: dict[str, Any], error: str
    ) -> None:
        approved(shop.integration)
        before = list(CatalogItem.objects.order_by("pk").values())
        stage.simulator.switch(**switches)
        sync = fetch(shop.integration)
        assert (sync.state, sync.error, sync.counts) == ("failed", error, {})
        assert pending(shop.integration) == []
        assert list(CatalogItem.objects.order_by("pk").values()) == before

    def test_without_secrets_says_so(self, shop: Shop) -> None:
        shop.integration.set_secrets({})
        shop.integration.save()
        sync = fetch(shop.integration)
        assert (sync.state, sync.error) == ("failed", "the account has no sifre")

    def test_of_an_empty_list_fails_and_nothing_is_gone(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        approved(shop.integration)
        monkeypatch.setattr("apps.providers.listing.drive", lambda talk, send: (Catalogue(()), []))
        sync = fetch(shop.integration)
        assert (sync.state, sync.error) == ("failed", "the provider's list is empty")
        assert pending(shop.integration) == []

    def test_that_crashes_ends_as_failed(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("apps.providers.listing.read_offers", lambda *args: 1 / 0)
        sync = fetch(shop.integration)
        assert (sync.state, sync.error) == ("failed", "an error in the hub: ZeroDivisionError")

    def test_uses_no_network_inside_a_transaction(self, shop: Shop) -> None:
        sync = request_sync(shop.integration, "olga", clock.now())
        with transaction.atomic(), pytest.raises(OpenTransaction):
            run_sync(sync.pk)

    def test_is_never_on_the_way_of_an_order(self, shop: Shop, stage: Stage) -> None:
        """LESSONS C25: the list is broken, and the order goes."""
        stage.simulator.switch(auth_fails_on=["pin_listesi"])
        order = order_from(shop)
        assert try_auto_dispatch(order.pk).is_sent
        assert Attempt.objects.get(order=order).state == "accepted"
        assert CatalogSync.objects.count() == 0


class TestOneAtATime:
    def test_is_told_to_a_worker_after_commit(self, shop: Shop, messages: list[tuple[str, list[int]]]) -> None:
        with transaction.atomic():
            sync = request_sync(shop.integration, "olga", clock.now())
            assert messages == []
        assert messages == [("apps.providers.tasks.sync_catalogue", [sync.pk])]

    def test_is_refused_while_one_waits_or_runs(self, shop: Shop) -> None:
        sync = request_sync(shop.integration, "olga", clock.now())
        for state in ("queued", "running"):
            CatalogSync.objects.filter(pk=sync.pk).update(state=state)
            with pytest.raises(SyncRunning):
                request_sync(shop.integration, "omar", clock.now())
        assert CatalogSync.objects.count() == 1

    def test_holds_for_clicks_at_the_same_moment(self, shop: Shop) -> None:
        gate = threading.Barrier(4)

        def click(_: int) -> str:
            try:
                gate.wait()
                request_sync(shop.integration, "olga", clock.now())
                return "queued"
            except SyncRunning:
                return "running"
            finally:
                connection.close()

        with ThreadPoolExecutor(4) as pool:
            said = sorted(pool.map(click, range(4)))
        assert said == ["queued", "running", "running", "running"]

    def test_does_not_hold_for_another_account(self, shop: Shop, stage: Stage) -> None:
        request_sync(shop.integration, "olga", clock.now())
        request_sync(make_integration(shop.tenant, stage.url), "olga", clock.now())

    def test_a_second_copy_of_the_message_does_nothing(self, shop: Shop) -> None:
        sync = fetch(shop.integration)
        assert run_sync(sync.pk) == "not_queued"
        assert len(pending(shop.integration)) == LISTED

    def test_a_dead_worker_s_fetch_makes_room_after_five_minutes(self, shop: Shop, stage: Stage) -> None:
        dead = request_sync(shop.integration, "olga", clock.now())
        CatalogSync.objects.filter(pk=dead.pk).update(state="running")
        stage.move(300)
        with pytest.raises(SyncRunning):
            request_sync(shop.integration, "olga", clock.now())
        stage.move(1)
        assert fetch(shop.integration).state == "done"
        dead.refresh_from_db()
        assert (dead.state, dead.error) == ("failed", "the worker stopped in the middle of it; try again")

    def test_a_copy_taken_for_dead_writes_nothing(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:

        def overtaken(*args: Any) -> Any:
            CatalogSync.objects.update(state="queued")
            return read_offers(*args)

        monkeypatch.setattr("apps.providers.listing.read_offers", overtaken)
        assert fetch(shop.integration).state == "queued"
        assert CatalogChange.objects.count() == 0

    def test_a_kind_without_a_list_is_refused(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("apps.providers.listing.load_adapter", lambda kind: object())
        with pytest.raises(CannotList):
            request_sync(shop.integration, "olga", clock.now())

    def test_keeps_its_result_for_whoever_looks(self) -> None:
        app.loader.import_default_modules()
        assert app.tasks["apps.providers.tasks.sync_catalogue"].ignore_result is False
        assert app.conf.result_backend == "django-db"


class TestThePlan:
    def test_queues_a_list_that_is_a_day_old(self, shop: Shop, stage: Stage, messages: list[Any]) -> None:
        plan_syncs(clock.now())
        first = CatalogSync.objects.get()
        assert (first.state, first.wanted_by, messages) == ("queued", "schedule", [(listing.TASK, [first.pk])])
        run_sync(first.pk)
        plan_syncs(stage.move(86399))
        assert CatalogSync.objects.count() == 1
        plan_syncs(stage.move(1))
        assert CatalogSync.objects.count() == 2

    def test_begins_what_was_forgotten(self, shop: Shop, stage: Stage, messages: list[Any]) -> None:
        sync = request_sync(shop.integration, "olga", clock.now())
        messages.clear()
        plan_syncs(stage.move(30))
        assert messages == []
        plan_syncs(stage.move(1))
        assert messages == [(listing.TASK, [sync.pk])]

    def test_leaves_accounts_alone_that_are_not_used(self, shop: Shop) -> None:
        Integration.objects.update(is_enabled=False)
        plan_syncs(clock.now())
        Integration.objects.update(is_enabled=True)
        Tenant.objects.update(is_active=False)
        plan_syncs(clock.now())
        assert CatalogSync.objects.count() == 0


class TestApproving:
    def test_makes_items_with_who_and_when(self, shop: Shop) -> None:
        approved(shop.integration)
        item = CatalogItem.objects.get(key=SIXTY)
        assert (item.name, item.group, item.ids) == ("PUBG Mobile 60 UC", "PUBG Mobile", {"oyun": "152", "kupur": "60"})
        assert (item.cost_micros, item.currency, item.is_listed) == (31_500_000, "TRY", True)
        assert (item.changed_by, item.changed_at) == ("olga", clock.now())
        change = CatalogChange.objects.get(key=SIXTY)
        assert (change.state, change.decided_by, change.decided_at) == ("approved", "olga", clock.now())

    def test_lists_them_in_natural_order(self, shop: Shop) -> None:
        """LESSONS C30, of what a provider sells."""
        approved(shop.integration)
        names = CatalogItem.objects.filter(group="PUBG Mobile").order_by("sort_key").values_list("name", flat=True)
        assert list(names) == ["PUBG Mobile 60 UC", "PUBG Mobile 325 UC", "PUBG Mobile 660 UC"]

    def test_of_a_price_moves_item_and_mappings_together(self, shop: Shop) -> None:
        approved(shop.integration)
        pretend_cost(shop.integration, 30_000_000)
        fetch(shop.integration)
        (change,) = pending(shop.integration)
        assert (change.kind, change.percent, change.is_quarantined) == ("price", "+5.0 %", False)
        assert cost_of_mapping(shop) == 30_000_000
        assert approve_all(shop.integration) == Decided(done=1)
        assert CatalogItem.objects.get(key=SIXTY).cost_micros == 31_500_000
        assert cost_of_mapping(shop) == 31_500_000

    def test_of_another_item_s_price_leaves_the_mapping_alone(self, shop: Shop) -> None:
        approved(shop.integration)
        CatalogItem.objects.filter(key="kupur=325&oyun=152").update(cost_micros=140_000_000)
        fetch(shop.integration)
        approve_all(shop.integration)
        assert cost_of_mapping(shop) == 31_500_000

    def test_keeps_a_price_jump_back_until_it_is_approved_alone(self, shop: Shop) -> None:
        approved(shop.integration)
        pretend_cost(shop.integration, 3_150_000)
        fetch(shop.integration)
        (change,) = pending(shop.integration)
        assert (change.is_quarantined, change.percent) == (True, "+900.0 %")
        assert approve_all(shop.integration) == Decided(quarantined=1)
        assert cost_of_mapping(shop) == 3_150_000
        assert CatalogItem.objects.get(key=SIXTY).cost_micros == 3_150_000
        assert approval.approve_one(shop.integration, change.pk, "olga", clock.now()) == Decided(done=1)
        assert cost_of_mapping(shop) == 31_500_000

    def test_measures_jumps_by_the_account_s_own_limit(self, shop: Shop) -> None:
        approved(shop.integration)
        pretend_cost(shop.integration, 30_000_000)
        AccountWatch.objects.create(integration=shop.integration, jump_factor=Decimal("1.04"))
        fetch(shop.integration)
        assert [change.is_quarantined for change in pending(shop.integration)] == [True]

    def test_takes_no_number_of_another_currency_for_a_cost(self, shop: Shop) -> None:
        """LESSONS C29: a cost in USD was saved as if it were TRY."""
        approved(shop.integration)
        PackageMapping.objects.update(cost_micros=30_000_000)
        Integration.objects.filter(pk=shop.integration.pk).update(currency="USD")
        shop.integration.refresh_from_db()
        CatalogItem.objects.filter(key=SIXTY).update(cost_micros=1)
        CatalogChange.objects.create(
            integration=shop.integration,
            sync=CatalogSync.objects.get(),
            key=SIXTY,
            title="60",
            sort_key="60",
            kind="price",
            old={"cost_micros": 1, "currency": "TRY"},
            new={"cost_micros": 31_500_000, "currency": "TRY"},
        )
        assert approve_all(shop.integration) == Decided(done=1)
        assert CatalogItem.objects.get(key=SIXTY).cost_micros == 31_500_000
        assert cost_of_mapping(shop) == 30_000_000

    def test_of_what_is_gone_keeps_the_item_and_the_mapping(self, shop: Shop) -> None:
        approved(shop.integration)
        CatalogItem.objects.filter(key=SIXTY).update(key="kupur=61&oyun=152")
        fetch(shop.integration)
        kinds = {change.kind: change for change in pending(shop.integration)}
        assert set(kinds) == {"new", "gone"}
        approve_all(shop.integration)
        assert not CatalogItem.objects.get(key="kupur=61&oyun=152").is_listed
        assert PackageMapping.objects.count() == 1

    def test_twice_at_once_does_it_once(self, shop: Shop) -> None:
        fetch(shop.integration)
        ids = [change.pk for change in pending(shop.integration)]
        gate = threading.Barrier(2)

        def click(actor: str) -> int:
            try:
                gate.wait()
                return approval.approve_many(shop.integration, ids, actor, clock.now()).done
            finally:
                connection.close()

        with ThreadPoolExecutor(2) as pool:
            assert sorted(pool.map(click, ["olga", "omar"])) == [0, LISTED]
        assert CatalogItem.objects.count() == LISTED

    def test_of_what_was_found_against_an_older_state_does_nothing(self, shop: Shop) -> None:
        approved(shop.integration)
        pretend_cost(shop.integration, 30_000_000)
        fetch(shop.integration)
        pretend_cost(shop.integration, 29_000_000)
        assert approve_all(shop.integration) == Decided(overtaken=1)
        assert cost_of_mapping(shop) == 29_000_000
        assert [change.state for change in CatalogChange.objects.filter(kind="price")] == ["superseded"]

    def test_reaches_no_other_account_s_changes(self, shop: Shop, stage: Stage) -> None:
        other = make_integration(make_tenant(), stage.url)
        fetch(other)
        ids = [change.pk for change in pending(other)]
        assert approval.approve_many(shop.integration, ids, "olga", clock.now()) == Decided(overtaken=LISTED)
        assert approval.decline_many(shop.integration, ids, "olga", clock.now()) == Decided(overtaken=LISTED)
        assert approval.approve_one(shop.integration, ids[0], "olga", clock.now()) == Decided(overtaken=1)
        assert len(pending(other)) == LISTED

    def test_while_the_list_is_fetched_stays_approved(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        approved(shop.integration)
        pretend_cost(shop.integration, 30_000_000)
        fetch(shop.integration)
        pretend_cost(shop.integration, 29_000_000)

        def approve_meanwhile(*args: Any) -> Any:
            CatalogChange.objects.filter(kind="price").update(
                state="approved", decided_by="omar", decided_at=clock.now()
            )
            return find_differences(*args)

        monkeypatch.setattr("apps.providers.listing.find_differences", approve_meanwhile)
        fetch(shop.integration)
        states = CatalogChange.objects.filter(kind="price").order_by("pk").values_list("state", flat=True)
        assert list(states) == ["approved", "pending"]


class TestDeclining:
    def test_leaves_everything_and_is_not_asked_again(self, shop: Shop) -> None:
        approved(shop.integration)
        pretend_cost(shop.integration, 3_150_000)
        fetch(shop.integration)
        (change,) = pending(shop.integration)
        assert approval.decline_many(shop.integration, [change.pk], "olga", clock.now()) == Decided(done=1)
        fetch(shop.integration)
        assert pending(shop.integration) == []
        assert cost_of_mapping(shop) == 3_150_000

    def test_of_one_price_says_nothing_about_the_next(self, shop: Shop) -> None:
        approved(shop.integration)
        pretend_cost(shop.integration, 3_150_000)
        fetch(shop.integration)
        approval.decline_many(shop.integration, [pending(shop.integration)[0].pk], "olga", clock.now())
        pretend_cost(shop.integration, 3_000_000)
        fetch(shop.integration)
        assert [change.old["cost_micros"] for change in pending(shop.integration)] == [3_000_000]

    def test_a_change_that_is_not_so_any_more_is_overtaken(self, shop: Shop) -> None:
        approved(shop.integration)
        pretend_cost(shop.integration, 30_000_000)
        fetch(shop.integration)
        pretend_cost(shop.integration, 31_500_000)
        fetch(shop.integration)
        assert [change.state for change in CatalogChange.objects.filter(kind="price")] == ["superseded"]
