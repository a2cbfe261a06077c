"""Alerts from the facts to the message: episodes, the election, each channel once, retries, and the bound in time."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, TypeVar

import pytest
import structlog
from django.core import mail
from django.db import connection
from django_celery_beat.models import PeriodicTask
from pytest_django import Settings

from apps.common import clock, kept
from apps.common.guards import OpenTransaction
from apps.journal import heartbeats
from apps.journal.alerts import CLOSES_AFTER, Found, record
from apps.journal.loops import LOOPS
from apps.journal.models import AlertEpisode, AlertNotice
from apps.ops import alerts, channels
from apps.ops.facts import MONEY_CHECK, load_facts
from apps.orders import monitoring, services
from apps.orders.models import Order
from apps.providers import breaker, stock, troubles
from apps.providers.catalogue_models import AccountWatch
from apps.providers.contract import Outcome
from apps.providers.models import Integration
from tests.factories import START, Stage, make_shop
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.ops_fixtures import let_loops_beat, run

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

T = TypeVar("T")


@pytest.fixture(autouse=True)
def watched(settings: Settings) -> None:
    """Alerts are watched every 5 s, and told to the log alone."""
    settings.ALERT_EVERY_S = 5
    kept.forget_all()


@pytest.fixture
def well(stage: Stage) -> Stage:
    """A hub in which nothing is wrong at the start."""
    let_loops_beat(clock.now())
    return stage


def watch_for(stage: Stage, seconds: float, every_s: float = 5, *, are_well: bool = True) -> None:
    """Rounds of watching for so long; the loops go on beating meanwhile, or do not."""
    for _ in range(int(seconds / every_s)):
        stage.traveller.shift(every_s)
        kept.forget_all()
        if are_well:
            for loop in LOOPS:
                heartbeats.beat(loop.heartbeat, clock.now(), silent=[])
        alerts.watch(clock.now)


def episodes() -> list[tuple[str, str, bool]]:
    """Rule, subject, and whether it is open."""
    rows = AlertEpisode.objects.order_by("pk")
    return [(one.rule, one.subject, one.closed_at is None) for one in rows]


def rules_open() -> list[str]:
    return [rule for rule, _, is_open in episodes() if is_open]


class Hook:
    """A server that takes messages, or refuses them."""

    def __init__(self) -> None:
        self.got: list[dict[str, Any]] = []
        self.status = 200
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if hook.status == 200:
                    hook.got.append(body)
                self.send_response(hook.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args: object) -> None:
                """Quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}/bot-secret-token/sendMessage"
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def hook(settings: Settings) -> Iterator[Hook]:
    """A webhook's server on this machine, named in the settings."""
    server = Hook()
    settings.ALERT_WEBHOOK_URL = server.url
    settings.ALERT_WEBHOOK_IS_LOCAL = True
    yield server
    server.close()


# --- each rule, with a real trouble


def an_open_breaker(shop_account: Integration) -> None:
    for _ in range(breaker.OPENS_AFTER):
        breaker.note(shop_account.pk, [False], clock.now())


class TestARealTrouble:
    """Each opens one episode, stays one, and closes when it is over."""

    def check(
        self, stage: Stage, rule: str, begin: Callable[[], object], end: Callable[[], object], after_s: float = 0
    ) -> None:
        watch_for(stage, 5)
        before = rules_open()
        begin()
        watch_for(stage, after_s + 10)
        assert [name for name in rules_open() if name not in before] == [rule]
        watch_for(stage, 30)
        assert [name for name, _, _ in episodes()].count(rule) == 1
        end()
        watch_for(stage, CLOSES_AFTER.total_seconds() + 5)
        assert rule not in rules_open()
        assert [name for name, _, _ in episodes()].count(rule) == 1

    def test_of_the_schedule(self, well: Stage) -> None:
        row = PeriodicTask.objects.get(name="heartbeat")
        self.check(well, "schedule_disabled", lambda: switch(row, False), lambda: switch(row, True))

    def test_of_a_provider_that_does_not_answer(self, well: Stage) -> None:
        account = make_shop().integration
        self.check(
            well,
            "breaker_open",
            lambda: an_open_breaker(account),
            lambda: breaker.note(account.pk, [True], clock.now()),
            after_s=120,
        )

    def test_of_a_login_that_was_refused(self, well: Stage) -> None:
        account = make_shop().integration
        self.check(
            well,
            "account_paused",
            lambda: troubles.pause(account, Outcome.AUTH_ERROR, clock.now()),
            lambda: troubles.clear(Integration.objects.get(pk=account.pk)),
            after_s=600,  # the pause itself is over: nobody has mended anything
        )

    def test_of_a_low_balance(self, well: Stage) -> None:
        account = make_shop().integration
        watch = AccountWatch.objects.create(integration=account, alert_below_micros=1)
        rows = AccountWatch.objects.filter(pk=watch.pk)
        begin = lambda: rows.update(low_since=clock.now())  # noqa: E731
        self.check(well, "balance_low", begin, lambda: rows.update(low_since=None))

    def test_of_money_that_does_not_add_up(self, well: Stage) -> None:
        make_shop()
        self.check(
            well,
            "books_wrong",
            lambda: heartbeats.beat(MONEY_CHECK, clock.now(), problems=2),
            lambda: run("check_money"),
        )

    def test_of_orders_that_nobody_sends(self, well: Stage) -> None:
        shop = make_shop(well.url)
        well.order(shop)
        self.check(well, "orders_overdue", lambda: None, monitoring.sweep, after_s=120)

    def test_of_a_purchase_in_doubt(self, well: Stage) -> None:
        order = well.order(make_shop(well.url), place="unlisted_text")
        services.try_auto_dispatch(order.pk)
        well.traveller.shift(1800)
        monitoring.sweep()
        watch_for(well, 5)
        assert "in_doubt_old" in rules_open()

    def test_of_a_review_that_waits(self, well: Stage) -> None:
        order = well.order(make_shop(well.url))
        Order.objects.filter(pk=order.pk).update(status="review", reason="waiting:deadline", updated_at=clock.now())
        well.traveller.shift(4 * 3600)
        watch_for(well, 5)
        assert ("review_waiting", "waiting:deadline", True) in episodes()

    def test_of_words_that_nobody_knows(self, well: Stage) -> None:
        alerts.watch(clock.now)
        order = well.order(make_shop(well.url), status_faults=["unknown_word"], complete_after_s=600)
        services.try_auto_dispatch(order.pk)
        well.move(61)
        monitoring.sweep()
        watch_for(well, 20)
        assert "answers_not_understood" in rules_open()
        watch_for(well, 3700, every_s=100)
        assert "answers_not_understood" not in rules_open()

    def test_of_webhooks_that_stopped(self, well: Stage) -> None:
        account = make_shop().integration
        heartbeats.beat("webhooks", clock.now(), silent=[account.pk])
        well.traveller.shift(5)
        alerts.watch(clock.now)
        assert episodes() == [("webhooks_silent", str(account.pk), True)]

    @pytest.mark.postgres
    def test_of_a_transaction_that_stays_open(self, well: Stage, settings: Settings) -> None:
        import psycopg2

        settings.ALERT_TRANSACTION_AFTER_S = 0
        other = psycopg2.connect(**{**connection.get_connection_params(), "cursor_factory": None})
        try:
            with other.cursor() as cursor:
                cursor.execute("SELECT pg_sleep(0.2)")
            watch_for(well, 5)
            assert rules_open() == ["transaction_long"]
        finally:
            other.close()
        watch_for(well, 40)
        assert rules_open() == []

    def test_of_a_shelf(self, well: Stage) -> None:
        shop = make_shop()
        account = Integration.objects.create(tenant=shop.tenant, name="Shelf", kind=stock.KIND, currency="TRY")
        shop.package.mappings.create(integration=account, oyun="steam-10")
        watch_for(well, 5)
        [(rule, subject, _)] = episodes()
        assert (rule, subject.partition(":")[0]) == ("stock_low", str(account.pk))
        Integration.objects.filter(pk=account.pk).update(is_enabled=False)
        watch_for(well, 40)
        assert rules_open() == []


def switch(row: PeriodicTask, is_on: bool) -> None:
    row.enabled = is_on
    row.save()


# --- how soon


class TestTheBound:
    """A killed process is told within 20 s of its end, whenever it dies and whenever the others look."""

    @pytest.mark.parametrize("loop", ["beat", "worker_process"])
    @pytest.mark.parametrize("beats_at", [0.0, 1.0, 4.9])
    @pytest.mark.parametrize("looks_at", [0.0, 2.5, 4.9])
    def test_of_a_killed_process_is_twenty_seconds(
        self, well: Stage, loop: str, beats_at: float, looks_at: float
    ) -> None:
        last_beat = clock.now() + timedelta(seconds=beats_at)
        killed_at = last_beat + timedelta(seconds=0.1)
        others = [one.heartbeat for one in LOOPS if one.name != loop]
        opened_at = self.first_seen(well, [loop], others, last_beat, looks_at)
        assert timedelta(seconds=14) <= opened_at - killed_at <= timedelta(seconds=20)

    @pytest.mark.parametrize("loop", ["sweep", "worker"])
    def test_of_a_loop_that_hangs_in_a_living_process_is_its_limit_and_one_round(self, well: Stage, loop: str) -> None:
        last_beat = clock.now() + timedelta(seconds=1)
        others = [one.heartbeat for one in LOOPS if one.name != loop]
        opened_at = self.first_seen(well, [loop], others, last_beat, 2.5)
        assert opened_at - last_beat <= timedelta(seconds=65)

    def first_seen(
        self, stage: Stage, names: list[str], others: list[str], last_beat: datetime, looks_at: float
    ) -> datetime:
        """When the alert opens: these loops beat last at `last_beat`, the others go on, and someone looks every 5 s."""
        for name in names:
            heartbeats.beat(next(loop.heartbeat for loop in LOOPS if loop.name == name), last_beat)
        stage.traveller.shift(looks_at)
        while not rules_open() and clock.now() < START + timedelta(seconds=120):
            stage.traveller.shift(5)
            for heartbeat in others:
                heartbeats.beat(heartbeat, clock.now())
            alerts.watch(clock.now)
        return AlertEpisode.objects.get().opened_at

    def test_holds_when_the_elected_process_dies_too(self, well: Stage) -> None:
        alerts.watch(clock.now)  # by the process that dies now, together with beat
        died_at = clock.now()
        well.traveller.shift(1)
        assert alerts.watch(clock.now) is False  # the others find its token
        while not rules_open():
            well.traveller.shift(1)
            for loop in LOOPS:
                if loop.name != "beat":
                    heartbeats.beat(loop.heartbeat, clock.now())
            alerts.watch(clock.now)
        assert clock.now() - died_at <= timedelta(seconds=20)


# --- one of many


class TestTheElection:
    def test_lets_one_process_look_in_each_round(self, well: Stage) -> None:
        assert [alerts.watch(clock.now) for _ in range(3)] == [True, False, False]
        well.traveller.shift(4)
        assert alerts.watch(clock.now) is False
        well.traveller.shift(1)
        assert [alerts.watch(clock.now) for _ in range(2)] == [True, False]

    def test_of_eight_at_once_elects_one(self, well: Stage) -> None:
        assert sum(at_once(8, lambda: alerts.watch(clock.now))) == 1

    def test_that_fails_opens_an_episode_once_all_the_same(self, well: Stage) -> None:
        found = [Found("books_wrong", "", {"count": 1})]
        at_once(8, lambda: record(found, {"books_wrong"}, ["log"], clock.now()))
        assert episodes() == [("books_wrong", "", True)]
        assert AlertNotice.objects.count() == 1

    def test_that_fails_says_a_message_once_all_the_same(self, well: Stage, hook: Hook) -> None:
        record([Found("books_wrong", "", {"count": 1})], {"books_wrong"}, ["webhook"], clock.now())
        at_once(8, lambda: alerts.tell(clock.now))
        assert len(hook.got) == 1


def at_once(count: int, work: Callable[[], T]) -> list[T]:
    """The same in so many threads, which begin together."""
    gate = threading.Barrier(count)

    def one(_number: int) -> T:
        try:
            gate.wait()
            return work()
        finally:
            connection.close()

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


# --- episodes


class TestAnEpisode:
    def test_that_comes_back_within_half_a_minute_is_the_same(self, well: Stage) -> None:
        found = [Found("books_wrong", "", {"count": 1})]
        looked = {"books_wrong"}
        record(found, looked, ["log"], clock.now())
        well.traveller.shift(29)
        record([], looked, ["log"], clock.now())
        record(found, looked, ["log"], clock.now())
        well.traveller.shift(29)
        record([], looked, ["log"], clock.now())
        assert episodes() == [("books_wrong", "", True)]
        well.traveller.shift(1)
        record([], looked, ["log"], clock.now())
        assert episodes() == [("books_wrong", "", False)]
        record(found, looked, ["log"], clock.now())
        assert episodes() == [("books_wrong", "", False), ("books_wrong", "", True)]

    def test_of_a_rule_that_failed_stays_as_it_is(self, well: Stage) -> None:
        record([Found("books_wrong", "", {"count": 1})], {"books_wrong"}, ["log"], clock.now())
        well.traveller.shift(3600)
        record([], {"loop_silent"}, ["log"], clock.now())
        assert rules_open() == ["books_wrong"]

    def test_shows_its_latest_numbers(self, well: Stage) -> None:
        record([Found("books_wrong", "", {"count": 1})], {"books_wrong"}, ["log"], clock.now())
        record([Found("books_wrong", "", {"count": 5})], {"books_wrong"}, ["log"], clock.now())
        assert AlertEpisode.objects.get().values == {"count": 5}


# --- messages


def open_books() -> None:
    record([Found("books_wrong", "", {"count": 1})], {"books_wrong"}, channels.channels_in_use(), clock.now())


def close_books(stage: Stage) -> None:
    stage.traveller.shift(30)
    record([], {"books_wrong"}, channels.channels_in_use(), clock.now())


class TestAMessage:
    def test_is_told_once_over_each_channel_when_it_opens_and_when_it_is_over(
        self, well: Stage, hook: Hook, settings: Settings
    ) -> None:
        settings.ALERT_EMAILS = ["ops@example.com"]
        with structlog.testing.capture_logs() as logs:
            for _ in range(3):
                open_books()
                alerts.tell(clock.now)
            close_books(well)
            for _ in range(3):
                alerts.tell(clock.now)
        assert [line["occasion"] for line in logs if line["event"] == "alert"] == ["opened", "closed"]
        assert [one["occasion"] for one in hook.got] == ["opened", "closed"]
        assert [one.subject for one in mail.outbox] == [
            "[critical] The money does not add up. Disagreements: 1.",
            "[over] The money does not add up. Disagreements: 1.",
        ]
        assert mail.outbox[0].to == ["ops@example.com"]
        assert AlertNotice.objects.filter(told_at=None).count() == 0
        assert AlertEpisode.objects.get().notified_at == START

    def test_has_what_telegram_wants_and_where_to_read_on(self, well: Stage, hook: Hook, settings: Settings) -> None:
        settings.ALERT_WEBHOOK_CHAT_ID = "-100200"
        settings.ALERT_DOCS_URL = "https://git.example.com/hub/"
        open_books()
        alerts.tell(clock.now)
        assert hook.got == [
            {
                "chat_id": "-100200",
                "text": (
                    "[critical] The money does not add up. Disagreements: 1.\nSince 2026-03-02 09:00:00 UTC.\n"
                    "What to do: https://git.example.com/hub/docs/ALERTS.md#books_wrong"
                ),
                "rule": "books_wrong",
                "subject": "",
                "severity": "critical",
                "occasion": "opened",
            }
        ]

    @pytest.mark.parametrize(("language", "word"), [("ar", "حرج"), ("tr", "kritik")])
    def test_is_in_the_language_of_the_setting(
        self, well: Stage, hook: Hook, settings: Settings, language: str, word: str
    ) -> None:
        settings.ALERT_LANGUAGE = language
        open_books()
        alerts.tell(clock.now)
        assert hook.got[0]["text"].startswith(f"[{word}]")

    def test_that_a_channel_does_not_take_is_sent_again_until_it_does(self, well: Stage, hook: Hook) -> None:
        hook.status = 500
        open_books()
        tried_at = []
        for _ in range(90):
            if AlertNotice.objects.filter(channel="webhook", told_at=None, next_at__lte=clock.now()).exists():
                tried_at.append((clock.now() - START).total_seconds())
            alerts.tell(clock.now)
            well.traveller.shift(5)
        assert tried_at == [0, 15, 45, 105, 225]
        notice = AlertNotice.objects.get(channel="webhook")
        assert (notice.told_at, notice.failures) == (None, 5)
        hook.status = 200
        well.traveller.shift(600)
        alerts.tell(clock.now)
        alerts.tell(clock.now)
        assert len(hook.got) == 1
        notice.refresh_from_db()
        assert notice.told_at == clock.now()

    def test_of_the_end_waits_for_that_of_the_beginning(self, well: Stage, hook: Hook) -> None:
        hook.status = 500
        open_books()
        alerts.tell(clock.now)
        close_books(well)
        alerts.tell(clock.now)
        hook.status = 200
        for _ in range(20):
            well.traveller.shift(30)
            alerts.tell(clock.now)
        assert [one["occasion"] for one in hook.got] == ["opened", "closed"]

    def test_that_one_channel_does_not_take_reaches_the_others(
        self, well: Stage, hook: Hook, settings: Settings
    ) -> None:
        settings.ALERT_EMAILS = ["ops@example.com"]
        hook.status = 500
        open_books()
        alerts.tell(clock.now)
        assert len(mail.outbox) == 1
        told = AlertNotice.objects.filter(told_at__isnull=False).values_list("channel", flat=True)
        assert sorted(told) == ["log", "mail"]

    def test_of_a_mail_server_that_is_away_is_kept(self, well: Stage, settings: Settings) -> None:
        settings.EMAIL_BACKEND = "django.core.mail.backends.smtp.EmailBackend"
        settings.EMAIL_HOST, settings.EMAIL_PORT = "127.0.0.1", 9
        settings.ALERT_EMAILS = ["ops@example.com"]
        open_books()
        with structlog.testing.capture_logs() as logs:
            alerts.tell(clock.now)
        [line] = [line for line in logs if line["event"] == "alert_not_told"]
        assert (line["channel"], line["why"]) == ("mail", "ConnectionRefusedError")
        assert AlertNotice.objects.get(channel="mail").told_at is None

    def test_is_never_sent_to_this_machine_unless_the_settings_say_so(
        self, well: Stage, hook: Hook, settings: Settings
    ) -> None:
        settings.ALERT_WEBHOOK_IS_LOCAL = False
        open_books()
        with structlog.testing.capture_logs() as logs:
            alerts.tell(clock.now)
        assert hook.got == []
        [line] = [line for line in logs if line["event"] == "alert_not_told"]
        assert line["why"] == "egress_forbidden"

    def test_is_never_sent_within_a_transaction(self, well: Stage, hook: Hook) -> None:
        from django.db import transaction

        open_books()
        with transaction.atomic(), pytest.raises(OpenTransaction):
            channels.send(AlertNotice.objects.get(channel="webhook"))

    def test_of_something_critical_is_repeated_every_day(self, well: Stage, hook: Hook) -> None:
        for _ in range(50):
            open_books()
            alerts.tell(clock.now)
            well.traveller.shift(3600)
        assert [one["occasion"] for one in hook.got] == ["opened", "reminder", "reminder"]
        assert hook.got[1]["text"].startswith("[still: critical]")

    def test_of_a_warning_is_not_repeated(self, well: Stage, hook: Hook) -> None:
        for _ in range(50):
            record([Found("transaction_long", "", {"seconds": 61})], {"transaction_long"}, ["webhook"], clock.now())
            alerts.tell(clock.now)
            well.traveller.shift(3600)
        assert [one["occasion"] for one in hook.got] == ["opened"]

    def test_of_an_episode_that_has_long_been_over_is_dropped(self, well: Stage, hook: Hook) -> None:
        hook.status = 500
        open_books()
        close_books(well)
        well.traveller.shift(25 * 3600)
        hook.status = 200
        for _ in range(3):
            alerts.tell(clock.now)
        assert [one["occasion"] for one in hook.got] == []
        assert not AlertNotice.objects.filter(channel="webhook").exists()

    def test_tells_no_name_no_code_and_no_secret(self, well: Stage, hook: Hook, settings: Settings) -> None:
        settings.ALERT_EMAILS = ["ops@example.com"]
        shop = make_shop(well.url)
        order = well.order(shop, place="unlisted_text")
        services.try_auto_dispatch(order.pk)
        an_open_breaker(shop.integration)
        troubles.pause(shop.integration, Outcome.AUTH_ERROR, clock.now())
        well.traveller.shift(5 * 3600)
        with structlog.testing.capture_logs() as logs:
            hook.status = 500
            watch_for(well, 5)
            hook.status = 200
            watch_for(well, 60)
        order.refresh_from_db()
        said = json.dumps([hook.got, [one.body for one in mail.outbox], list(map(str, logs))])
        assert {"breaker_open", "account_paused", "in_doubt_old"} <= {one["rule"] for one in hook.got}
        assert "alert_not_told" in said
        secrets = (
            shop.tenant.name,
            shop.customer.name,
            shop.integration.name,
            order.user_identifier,
            order.provider_referans or "no reference",
            "demo-secret",
            "bot-secret-token",
            "ops@example.com",
        )
        assert [word for word in secrets if word in said] == []


def test_the_facts_are_read_with_few_queries(well: Stage, django_assert_max_num_queries: Any) -> None:
    for _ in range(3):
        make_shop()
    kept.forget_all()
    with django_assert_max_num_queries(20):
        load_facts(clock.now())


def test_nobody_watches_in_a_test_or_a_command(well: Stage) -> None:
    from apps.ops import watching

    run("check_money")
    assert watching._watch.names() == set()
    assert not [thread for thread in threading.enumerate() if thread.name == "alerts"]
