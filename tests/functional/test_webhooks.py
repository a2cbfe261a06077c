"""Webhooks of providers, posted by the simulator over real sockets or by hand: each is stored and makes us ask."""

from __future__ import annotations

import hashlib
import hmac
import json
import threading
from collections.abc import Iterator
from datetime import UTC, timedelta
from typing import Any

import pytest
import time_machine
from django.core.signals import request_finished
from django.db import IntegrityError, transaction
from django.test import Client
from django.urls import reverse
from pytest_django.live_server_helper import LiveServer

from apps.common import checkpoints, clock
from apps.common.crypto import open_sealed
from apps.common.logs import hide_in_text
from apps.common.wire import BODY_LIMIT
from apps.journal.models import ProviderWebhook
from apps.orders import due, hints, monitoring, silence
from apps.orders.models import Attempt, DueCheck, Evidence, Order
from apps.orders.silence import Habit
from apps.orders.states import AttemptState, DueKind
from apps.orders.verdicts import Plan
from apps.panel.hooks import load_hooks
from apps.providers.models import Integration
from apps.simulator.world import advanced_by
from apps.webhooks import reading, views
from apps.webhooks.addresses import path_of, rotate
from apps.webhooks.tasks import follow_provider_webhooks
from tests.factories import Shop, Stage, at_checkpoint, check_invariants, make_shop, new_player, order_from, standing_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import People, english, people
from tests.functional.test_other_kinds import ACCOUNTS, dialect, shop_at

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

SECRET = "demo-webhook-secret"
IDS: dict[str, dict[str, str]] = {
    "digiflazz": {"buyer_sku_code": "xld10"},
    "reloadly": {"product_id": "120", "amount": "10"},
    "client_api": {"oyun": "101"},
}


def hooked_shop(stage: Stage, kind: str, **options: Any) -> Shop:
    """A shop whose one provider account sends webhooks that we can verify."""
    if kind == "reloadly":
        options |= {"service": "giftcards", "auth_url": f"{stage.url}/reloadly"}
    if kind == "client_api":
        options = {"webhook": "hmac_sha256", **options}
    shop = shop_at(stage, kind, IDS[kind], needs_code=kind == "reloadly", price="20", **options)
    shop.integration.set_secrets({**ACCOUNTS[kind]["secrets"], "webhook_secret": SECRET})
    shop.integration.save()
    return shop


def hooks(shop: Shop) -> list[ProviderWebhook]:
    """What was stored for the shop's account, oldest first."""
    return list(ProviderWebhook.objects.filter(integration_id=shop.integration.pk).order_by("pk"))


def ends(shop: Shop) -> list[tuple[str, str]]:
    """Verdict and effect of each."""
    return [(row.verdict, row.effect) for row in hooks(shop)]


def body_about(reference: str, rc: str = "00", **more: Any) -> bytes:
    """What Digiflazz posts about a purchase."""
    return json.dumps({"data": {"ref_id": reference, "rc": rc, "status": "Sukses", **more}}).encode()


def sign(body: bytes, secret: str = SECRET) -> str:
    """Its header."""
    return "sha1=" + hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()


def post(shop: Shop, body: bytes, secret: str = SECRET, **headers: str) -> int:
    """A webhook of Digiflazz, posted to the account's address; the status that it was answered with."""
    given = {"X-Hub-Signature": sign(body, secret), "X-Digiflazz-Event": "update", **headers}
    response = Client().post(path_of(shop.integration), body, content_type="application/json", headers=given)
    assert response.content == b""
    return int(response.status_code)


def next_at(order: Order) -> Any:
    return DueCheck.objects.get(order=order).next_at


def reference_of(order: Order) -> str:
    return Attempt.objects.get(order=order).reference


def buy(stage: Stage, shop: Shop, **fate: Any) -> Order:
    """An order of the shop whose purchase has this fate."""
    with dialect(stage, shop.integration.kind) as control:
        control.next_fate(**fate)
    return order_from(shop, new_player())


def waiting_order(stage: Stage, shop: Shop, **fate: Any) -> Order:
    """An order that the provider has, and will end when it is told to."""
    order = buy(stage, shop, **({"complete_after_s": 100_000} | fate))
    monitoring.sweep()
    assert Attempt.objects.get(order=order).state == AttemptState.ACCEPTED
    return order


@pytest.fixture
def shop(stage: Stage) -> Shop:
    """One at Digiflazz, where asking is a second purchase request: the most careful kind."""
    return hooked_shop(stage, "digiflazz")


class Arrivals:
    """Counts the requests that the server has finished, so that a test can wait for one without a clock."""

    def __init__(self) -> None:
        self._done = threading.Semaphore(0)

    def note(self, **kwargs: Any) -> None:
        self._done.release()

    def wait(self, count: int) -> None:
        for _ in range(count):
            assert self._done.acquire(timeout=20)


@pytest.fixture
def arrivals() -> Iterator[Arrivals]:
    counter = Arrivals()
    request_finished.connect(counter.note)
    yield counter
    request_finished.disconnect(counter.note)


QUIET = {"hook_url": None, "hook_late_s": 0, "hook_times": 1, "hook_out_of_order": False, "hook_forged": False}


class TestTheSimulatorsWebhooks:
    """Over real sockets, each kind signed as its document says."""

    @pytest.fixture(autouse=True)
    def of_today(self, stage: Stage) -> None:
        """The simulator signs with its own time, so the hub lives in it, too."""
        ahead_s = advanced_by(stage.simulator.truth())
        stage.traveller.move_to(time_machine.escape_hatch.datetime.datetime.now(UTC) + timedelta(seconds=ahead_s))

    def run(
        self, stage: Stage, live_server: LiveServer, arrivals: Arrivals, kind: str, count: int, **switches: Any
    ) -> tuple[Shop, Order]:
        """One order that ends after 300 s, with the webhooks about it; the hub is in the middle of its schedule."""
        shop = hooked_shop(stage, kind)
        with dialect(stage, kind) as control:
            control.switch(**{**QUIET, "hook_url": live_server.url + path_of(shop.integration), **switches})
            try:
                order = buy(stage, shop, complete_after_s=300)
                monitoring.sweep()
                stage.move(200)
                monitoring.sweep()
                DueCheck.objects.filter(order=order).update(next_at=clock.now() + timedelta(seconds=600))
                stage.move(101)
                arrivals.wait(count)
            finally:
                control.switch(**QUIET)
        return shop, order

    @pytest.mark.parametrize("kind", ["digiflazz", "reloadly", "client_api"])
    def test_end_an_order_at_once(self, stage: Stage, live_server: LiveServer, arrivals: Arrivals, kind: str) -> None:
        shop, order = self.run(stage, live_server, arrivals, kind, 2)
        rows = hooks(shop)
        assert {row.verdict for row in rows} == {"verified"}
        assert (rows[-1].effect, rows[-1].says, rows[-1].order_id) == ("asked", "completed", order.pk)
        assert standing_of(order)[0] == "processing"  # it says completed, and nobody believes it
        assert next_at(order) <= clock.now() + timedelta(seconds=1)
        stage.move(1)
        monitoring.sweep()
        assert standing_of(order) == ("completed", "completed", "")
        check_invariants()

    @pytest.mark.parametrize("kind", ["digiflazz", "reloadly", "client_api"])
    def test_that_are_forged_do_nothing(
        self, stage: Stage, live_server: LiveServer, arrivals: Arrivals, kind: str
    ) -> None:
        shop, order = self.run(stage, live_server, arrivals, kind, 2, hook_forged=True)
        assert ends(shop) == [("forged", "none")] * 2
        assert next_at(order) > clock.now() + timedelta(seconds=400)

    def test_that_come_twice_ask_once(self, stage: Stage, live_server: LiveServer, arrivals: Arrivals) -> None:
        shop, _ = self.run(stage, live_server, arrivals, "digiflazz", 4, hook_times=2)
        assert sorted(row.effect for row in hooks(shop)).count("repeated") == 2

    def test_may_come_in_any_order(self, stage: Stage, live_server: LiveServer, arrivals: Arrivals) -> None:
        shop, order = self.run(stage, live_server, arrivals, "reloadly", 2, hook_out_of_order=True)
        assert [row.says for row in hooks(shop)] == ["completed", "accepted"]
        stage.move(10)
        monitoring.sweep()
        assert standing_of(order)[0] == "completed"
        check_invariants()


class TestAVerifiedWebhook:
    def test_makes_its_order_due_now(self, stage: Stage, shop: Shop) -> None:
        order = waiting_order(stage, shop)
        stage.move(61)
        monitoring.sweep()
        stage.move(62)
        monitoring.sweep()
        stage.move(63)  # the next question would come a minute later
        row = DueCheck.objects.get(order=order)
        stage.messages.clear()
        DueCheck.objects.filter(pk=row.pk).update(next_at=clock.now() + timedelta(seconds=500))
        assert post(shop, body_about(reference_of(order))) == 202
        after = DueCheck.objects.get(order=order)
        assert (after.next_at, after.fence) == (clock.now(), row.fence + 1)
        assert stage.messages == [("apps.orders.tasks.check_order_status", [order.pk, shop.tenant.pk], 0)]

    def test_keeps_the_providers_least_gap(self, stage: Stage, shop: Shop) -> None:
        order = waiting_order(stage, shop)
        asked_at = clock.now()
        DueCheck.objects.update(next_at=asked_at + timedelta(seconds=600))
        stage.move(7)
        post(shop, body_about(reference_of(order)))
        assert next_at(order) == asked_at + timedelta(seconds=60)

    def test_asks_at_most_every_five_seconds(self, stage: Stage) -> None:
        shop = hooked_shop(stage, "reloadly", poll_floor_s=1)
        order = waiting_order(stage, shop)
        stage.move(30)
        attempt = Attempt.objects.get(order=order)
        row = ProviderWebhook(integration_id=shop.integration.pk, verdict="verified", received_at=clock.now())
        assert hints.next_question(attempt, row, clock.now()) == clock.now()
        ProviderWebhook.objects.create(
            integration_id=shop.integration.pk,
            verdict="verified",
            effect="asked",
            received_at=clock.now(),
            matched_at=clock.now(),
            order_id=order.pk,
        )
        stage.move(2)
        assert hints.next_question(attempt, row, clock.now()) == clock.now() + timedelta(seconds=3)
        row.verdict = "unsigned"
        assert hints.next_question(attempt, row, clock.now()) == clock.now() + timedelta(seconds=58)

    def test_never_sets_a_state(self, stage: Stage, shop: Shop) -> None:
        order = waiting_order(stage, shop)
        before = Evidence.objects.filter(order=order).count()
        post(shop, body_about(reference_of(order), sn="FAKE-PIN"))
        assert standing_of(order)[0] == "processing"
        assert Evidence.objects.filter(order=order).count() == before

    def test_for_another_shops_order_finds_nothing(self, stage: Stage, shop: Shop) -> None:
        order = waiting_order(stage, shop)
        stranger = hooked_shop(stage, "digiflazz")
        due_at = next_at(order)
        stage.move(1)
        post(stranger, body_about(reference_of(order)))
        assert ends(stranger) == [("verified", "waiting")]
        assert hooks(stranger)[0].attempt_id is None
        assert next_at(order) == due_at
        stage.move(86_400)
        hints.match_waiting(clock.now())
        assert ends(stranger) == [("verified", "unmatched")]

    def test_reopens_a_closed_attempt(self, stage: Stage) -> None:
        shop = hooked_shop(stage, "reloadly")
        order = buy(stage, shop, complete_after_s=0)
        stage.run_until_quiet()
        assert not DueCheck.objects.filter(order=order).exists()
        attempt = Attempt.objects.get(order=order)
        hook = ProviderWebhook(
            integration_id=shop.integration.pk,
            reference=attempt.reference,
            verdict="verified",
            received_at=clock.now(),
        )
        with transaction.atomic():
            hints.follow(hook, clock.now())
        assert hook.effect == "reopened"
        assert DueCheck.objects.get(order=order).kind == DueKind.WATCH
        stage.run_until_quiet()
        stage.move(700)
        monitoring.sweep()
        assert not DueCheck.objects.filter(order=order).exists()
        assert standing_of(order)[0] == "completed"
        check_invariants()

    def test_repeated_asks_once(self, stage: Stage, shop: Shop) -> None:
        order = waiting_order(stage, shop)
        body = body_about(reference_of(order))
        assert [post(shop, body), post(shop, body, **{"X-Digiflazz-Event": "create"})] == [202, 202]
        assert ends(shop) == [("verified", "asked"), ("verified", "repeated")]

    def test_that_names_an_old_time_is_stale(self, stage: Stage) -> None:
        shop = hooked_shop(stage, "reloadly")
        order = waiting_order(stage, shop)
        body = json.dumps({"data": {"customIdentifier": reference_of(order), "status": "SUCCESSFUL"}}).encode()
        for late_s in (301, -301, 300):
            moment = f"{clock.now().timestamp() - late_s:.0f}"
            signature = hmac.new(SECRET.encode(), body + b":" + moment.encode(), hashlib.sha256).hexdigest()
            given = {"X-Reloadly-Signature": signature, "X-Reloadly-Request-Timestamp": moment}
            Client().post(path_of(shop.integration), body, content_type="application/json", headers=given)
        assert ends(shop) == [("stale", "none"), ("stale", "none"), ("verified", "asked")]


class TestAnEarlyWebhook:
    def test_waits_for_the_answer_and_is_matched_with_it(self, stage: Stage, shop: Shop) -> None:
        order = buy(stage, shop, complete_after_s=100_000)
        at_checkpoint("dispatch.after_send", lambda: post(shop, body_about(reference_of(order))))
        monitoring.sweep()
        assert ends(shop) == [("verified", "asked")]
        assert hooks(shop)[0].matched_at == clock.now()

    def test_waits_while_the_request_is_on_its_way(self, stage: Stage, shop: Shop) -> None:
        order = buy(stage, shop, complete_after_s=100_000)
        seen: list[Any] = []

        def act() -> None:
            row = DueCheck.objects.get(order=order)
            post(shop, body_about(reference_of(order)))
            after = DueCheck.objects.get(order=order)
            seen.append(((row.next_at, row.fence) == (after.next_at, after.fence), ends(shop)))

        at_checkpoint("dispatch.after_send", act)
        monitoring.sweep()
        assert seen == [(True, [("verified", "waiting")])]

    def test_is_found_by_the_sweep_when_the_worker_died(self, stage: Stage, shop: Shop) -> None:
        """X5 + C12: it says completed between request and answer, then the process is gone."""
        order = buy(stage, shop, complete_after_s=0)

        def die() -> None:
            post(shop, body_about(reference_of(order)))
            raise SystemExit

        at_checkpoint("dispatch.after_send", die)
        with pytest.raises(SystemExit):
            monitoring.sweep()
        checkpoints.set_hook(None)
        assert ends(shop) == [("verified", "waiting")]
        stage.run_until_quiet()
        follow_provider_webhooks()
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        assert len(stage.truth("bought")) == 1
        check_invariants()

    def test_named_by_the_providers_id_alone_is_matched_when_that_is_known(self, stage: Stage) -> None:
        shop = hooked_shop(stage, "client_api", webhook="unsigned")
        order = waiting_order(stage, shop)
        provider_id = Attempt.objects.get(order=order).provider_order_id
        stage.move(30)
        path, body = path_of(shop.integration), json.dumps({"order_id": provider_id, "status": "accept"}).encode()
        assert Client().post(path, body, content_type="application/json").status_code == 202
        assert ends(shop) == [("unsigned", "asked")]


class TestARawRow:
    def test_outlives_a_crash_and_is_read_by_the_sweep(self, stage: Stage, shop: Shop) -> None:
        order = waiting_order(stage, shop)

        def die() -> None:
            raise SystemExit

        at_checkpoint("hook.after_store", die)
        with pytest.raises(SystemExit):
            post(shop, body_about(reference_of(order)))
        checkpoints.set_hook(None)
        assert ends(shop) == [("unverified", "")]
        follow_provider_webhooks()
        assert ends(shop) == [("unverified", "")]  # whoever stored it may still be reading it
        stage.move(11)
        follow_provider_webhooks()
        assert ends(shop) == [("verified", "asked")]

    def test_is_committed_before_it_is_read(self, stage: Stage, shop: Shop) -> None:
        seen: list[Any] = []
        at_checkpoint(
            "hook.after_store", lambda: seen.append((ends(shop), transaction.get_connection().in_atomic_block))
        )
        post(shop, b"no json at all")
        assert seen == [([("unverified", "")], False)]

    def test_holds_the_bytes_sealed_and_shows_no_signature(self, stage: Stage, shop: Shop) -> None:
        body = body_about("1")
        post(shop, body, **{"X-Forwarded-For": "203.0.113.7", "Cookie": "a=b"})
        [row] = hooks(shop)
        assert open_sealed(row.sealed_body) == body
        assert body.decode() not in row.sealed_body
        assert row.headers == {
            "content-type": "application/json",
            "x-hub-signature": "***",
            "x-digiflazz-event": "update",
        }
        assert (row.remote_addr, row.body_digest) == ("127.0.0.1", hashlib.sha256(body).hexdigest())

    def test_without_trust_names_nothing(self, stage: Stage, shop: Shop) -> None:
        order = waiting_order(stage, shop)
        post(shop, body_about(reference_of(order)), "another secret")
        [row] = hooks(shop)
        assert (row.verdict, row.event_key, row.reference, row.attempt_id) == ("forged", "", "", None)
        row.event_key = "x"
        with pytest.raises(IntegrityError), transaction.atomic():
            row.save()
        post(shop, body_about(reference_of(order)))  # the forged one has not used the event up
        assert ends(shop)[1] == ("verified", "asked")

    def test_of_an_account_without_a_secret_does_nothing(self, stage: Stage, shop: Shop) -> None:
        shop.integration.set_secrets({"api_key": "demo-secret"})
        shop.integration.save()
        assert post(shop, body_about("1"), "") == 202
        assert ends(shop) == [("no_key", "none")]

    def test_that_cannot_be_read_is_tried_again(
        self, stage: Stage, shop: Shop, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        post(shop, b"[]")
        assert ends(shop) == [("unreadable", "none")]
        row = hooks(shop)[0]
        ProviderWebhook.objects.filter(pk=row.pk).update(effect="", verdict="unverified", sealed_body="gone$x")
        stage.move(60)
        assert reading.read_left(clock.now()) == 1


class TestTheDoor:
    def test_knows_no_address_but_the_accounts_own(self, stage: Stage, shop: Shop) -> None:
        path = path_of(shop.integration)
        other = make_shop(stage.url).integration  # ZNET has no webhooks
        for wrong in (path[:-2] + "0/", "/hooks/providers/1/", path_of(other), f"/hooks/providers/0-{'0' * 40}/"):
            if wrong != path:
                assert Client().post(wrong, b"{}", content_type="application/json").status_code == 404
        assert ProviderWebhook.objects.count() == 0
        rotate(shop.integration)
        assert Client().post(path, b"{}", content_type="application/json").status_code == 404
        assert post(shop, b"{}") == 202

    @pytest.mark.parametrize("method", ["get", "put", "delete", "head"])
    def test_takes_posts_alone(self, stage: Stage, shop: Shop, method: str) -> None:
        response = getattr(Client(), method)(path_of(shop.integration))
        assert (response.status_code, response["Allow"]) == (405, "POST")

    def test_takes_256_kib_and_not_a_byte_more(self, stage: Stage, shop: Shop) -> None:
        assert post(shop, b" " * BODY_LIMIT) == 202
        assert post(shop, b" " * (BODY_LIMIT + 1)) == 413
        assert len(hooks(shop)) == 1

    def test_has_a_limit_for_each_address(self, stage: Stage, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(views, "RATE", 2)
        assert [post(shop, b"{}") for _ in range(3)] == [202, 202, 429]
        assert post(hooked_shop(stage, "digiflazz"), b"{}") == 202
        stage.move(60)
        assert post(shop, b"{}") == 202

    def test_keeps_its_secret_out_of_logs(self, shop: Shop) -> None:
        path = path_of(shop.integration)
        assert hide_in_text(f"POST {path} failed") == "POST /hooks/providers/***/ failed"


class TestTheGap:
    def test_counts_from_a_question_whose_schedule_was_dropped(self, stage: Stage, shop: Shop) -> None:
        """Where asking may buy, two questions must lie a minute apart, whoever bumps the fence between."""
        order = waiting_order(stage, shop)
        stage.move(61)
        claims = due.claim_order(order.pk, clock.now(), timedelta(seconds=80), is_forced=True)
        DueCheck.objects.filter(order=order).update(fence=99)
        stage.move(1)
        attempt = Attempt.objects.get(order=order)
        assert not due.plan_attempt(
            attempt,
            some_plan(),
            fence=claims[0].fence,
            seen="x",
            now=clock.now(),
        )
        assert DueCheck.objects.get(order=order).asked_at == clock.now()

    def test_leaves_a_question_that_may_buy_alone(self, stage: Stage, shop: Shop) -> None:
        order = waiting_order(stage, shop)
        stage.move(61)
        due.claim_order(order.pk, clock.now(), due.lease_of(shop.integration), is_forced=True)
        fence = DueCheck.objects.get(order=order).fence
        post(shop, body_about(reference_of(order)))
        assert ends(shop) == [("verified", "waiting")]
        assert DueCheck.objects.get(order=order).fence == fence


def some_plan() -> Plan:
    """Any next time."""
    return Plan(DueKind.CHECK, clock.now() + timedelta(seconds=60), 1, 0)


class TestASilence:
    def complete(self, stage: Stage, shop: Shop, count: int, *, told: bool) -> None:
        """Orders that ended, with or without a webhook that told it before we saw it."""
        for _ in range(count):
            order = order_from(shop, new_player())
            monitoring.sweep()
            attempt = Attempt.objects.get(order=order)
            assert attempt.delivered_at is not None
            if told:
                ProviderWebhook.objects.create(
                    integration_id=shop.integration.pk,
                    verdict="verified",
                    says="completed",
                    effect="asked",
                    received_at=attempt.delivered_at,
                    attempt_id=attempt.pk,
                    order_id=order.pk,
                )
            stage.move(1)

    def test_makes_open_orders_due_sooner_and_ends_by_itself(self, stage: Stage) -> None:
        shop = hooked_shop(stage, "client_api")
        self.complete(stage, shop, 20, told=True)
        assert silence.habit_of(shop.integration) is Habit.RELIABLE
        self.complete(stage, shop, 3, told=False)
        assert silence.habit_of(shop.integration) is Habit.SILENT
        order = waiting_order(stage, shop)
        asked_at = clock.now()
        DueCheck.objects.filter(order=order).update(next_at=asked_at + timedelta(seconds=600))
        stage.move(5)
        follow_provider_webhooks()
        assert next_at(order) == asked_at + timedelta(seconds=30)
        self.complete(stage, shop, 1, told=True)
        assert silence.habit_of(shop.integration) is Habit.UNKNOWN  # 21 of 24: it has to earn its name again

    def test_changes_nothing_where_webhooks_never_came(self, stage: Stage) -> None:
        shop = hooked_shop(stage, "client_api")
        self.complete(stage, shop, 3, told=False)
        order = waiting_order(stage, shop)
        DueCheck.objects.filter(order=order).update(next_at=clock.now() + timedelta(seconds=600))
        follow_provider_webhooks()
        assert next_at(order) == clock.now() + timedelta(seconds=600)


def test_an_address_belongs_to_its_account_alone(stage: Stage, shop: Shop) -> None:
    again = Integration.objects.get(pk=shop.integration.pk)
    assert path_of(again) == path_of(shop.integration)
    assert path_of(hooked_shop(stage, "digiflazz").integration) != path_of(again)


class TestTheAccountsPage:
    """The people of a shop whose account is at Digiflazz."""

    @pytest.fixture
    def hooked(self, people: People) -> Integration:
        account = people.shop.integration
        Integration.objects.filter(pk=account.pk).update(kind="digiflazz", currency="IDR", options={})
        account.refresh_from_db()
        return account

    def test_shows_the_address_to_those_who_act(self, people: People, hooked: Integration) -> None:
        page = reverse("panel:provider", args=[hooked.pk])
        shown = f"http://testserver{path_of(hooked)}"
        assert shown in people.operator.get(page).content.decode()
        text = people.viewer.get(page).content.decode()
        assert (shown in text, "Webhooks" in text) == (False, True)

    def test_counts_calls_by_verdict(self, people: People, hooked: Integration) -> None:
        Client().post(path_of(hooked), b"{}", content_type="application/json")
        card = load_hooks(hooked, clock.now())
        assert card is not None
        assert (card.counts, card.is_silent) == ([("no secret to verify it", "no_key", 1)], False)
        text = people.operator.get(reverse("panel:provider", args=[hooked.pk])).content.decode()
        assert "no secret to verify it" in text

    def test_makes_another_address_for_those_who_act(self, people: People, hooked: Integration) -> None:
        old = path_of(hooked)
        rotating = reverse("panel:provider_hook_rotate", args=[hooked.pk])
        assert people.viewer.post(rotating).status_code == 403
        hooked.refresh_from_db()
        assert path_of(hooked) == old
        assert people.operator.post(rotating).status_code == 302
        hooked.refresh_from_db()
        assert path_of(hooked) != old

    def test_of_a_provider_without_webhooks_says_nothing(self, people: People) -> None:
        page = people.operator.get(reverse("panel:provider", args=[people.shop.integration.pk]))
        assert "hooks-title" not in page.content.decode()
