"""`/livez`, `/readyz`, `/statusz`: what turns them red, and that they tell nobody's secrets."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import time_machine
from cryptography.fernet import Fernet
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.test import Client, override_settings
from django_celery_beat.models import PeriodicTask

from apps.common import clock
from apps.journal import heartbeats
from apps.journal.loops import BY_NAME, LOOPS
from apps.journal.models import Heartbeat
from apps.ops import health, schedule
from apps.ops.health import Loops, judge
from apps.orders import monitoring, services
from tests.factories import START, Stage, make_integration, make_shop, make_tenant
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.ops_fixtures import let_loops_beat, web

__all__ = ["committed", "simulator", "stage", "web"]

pytestmark = pytest.mark.both_databases


def get(web: Client, path: str) -> tuple[int, dict[str, Any]]:
    answer = web.get(path)
    assert "no-store" in answer.headers["Cache-Control"]
    return answer.status_code, json.loads(answer.content)


def loops_with(*, dispatch: float | None = 1.0, is_sweep_enabled: bool = True, **ages: float | None) -> Loops:
    """All loops heard of a second ago, but for these."""
    return Loops({loop.name: 1.0 for loop in LOOPS} | ages, dispatch, is_sweep_enabled)


class TestJudging:
    @pytest.mark.parametrize(
        ("loops", "problems"),
        [
            (loops_with(), []),
            (loops_with(sweep=60.0, worker=60.0, beat=60.0, webhooks=120.0, dispatch=60.0), []),
            (loops_with(sweep=60.1), ["sweep has been silent for 60 s"]),
            (loops_with(worker=75.0), ["worker has been silent for 75 s"]),
            (loops_with(beat=3600.0), ["beat has been silent for 3600 s"]),
            (loops_with(worker_process=61.0), ["worker_process has been silent for 61 s"]),
            (loops_with(webhooks=121.0), ["webhooks has been silent for 121 s"]),
            (loops_with(dispatch=61.0), ["an order has been waiting 61 s to be sent"]),
            (loops_with(sweep=None, beat=None), ["sweep has never run", "beat has never run"]),
            (loops_with(worker_process=None, webhooks=None, dispatch=None), []),
            (
                loops_with(is_sweep_enabled=False),
                ["check-pending-orders-batch is missing or disabled in the schedule"],
            ),
        ],
    )
    def test_allows_a_minute_of_silence_and_no_disabled_sweep(self, loops: Loops, problems: list[str]) -> None:
        assert judge(loops) == problems

    def test_is_as_patient_as_the_setting_says(self) -> None:
        with override_settings(LOOP_SILENT_AFTER_S=90):
            assert judge(loops_with(sweep=90.0, dispatch=90.0, webhooks=150.0)) == []
            assert judge(loops_with(sweep=91.0)) == ["sweep has been silent for 91 s"]


class TestLivez:
    def test_answers_without_a_database(self, web: Client) -> None:
        assert get(web, "/livez") == (200, {"ok": True})

    def test_takes_no_post(self, web: Client) -> None:
        assert web.post("/livez").status_code == 405


@pytest.mark.django_db
class TestReadyz:
    def test_is_green_when_orders_can_be_taken(self, web: Client) -> None:
        make_integration(make_tenant(), "http://127.0.0.1:9")
        assert get(web, "/readyz") == (200, {"ok": True, "problems": []})

    def test_is_red_while_a_migration_is_missing(self, web: Client) -> None:
        [(app, name)] = MigrationLoader(None).graph.leaf_nodes("orders")
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = %s AND name = %s", [app, name])
        problem = f"1 migrations are not applied, the first is orders.{name}: run `manage.py migrate`"
        assert get(web, "/readyz") == (503, {"ok": False, "problems": [problem]})

    def test_is_red_when_the_keys_do_not_open_the_stored_secrets(self, web: Client) -> None:
        make_integration(make_tenant(), "http://127.0.0.1:9")
        problem = "FIELD_KEYS does not open the secrets of 1 provider accounts: put the old key back"
        with override_settings(FIELD_KEYS=f"k1:{Fernet.generate_key().decode()}"):
            assert get(web, "/readyz") == (503, {"ok": False, "problems": [problem]})

    def test_is_red_when_the_keys_are_no_keys(self, web: Client) -> None:
        with override_settings(FIELD_KEYS="k1:rubbish"):
            code, answer = get(web, "/readyz")
        assert (code, answer["problems"][0].partition(":")[0]) == (503, "FIELD_KEYS cannot be used")

    def test_is_red_when_the_database_takes_no_writes(self, web: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "is_read_only", lambda: True)
        problem = "the database is read-only: point DATABASE_URL at the primary server"
        assert get(web, "/readyz") == (503, {"ok": False, "problems": [problem]})

    def test_keeps_a_good_answer_about_tables_and_keys_for_ten_seconds(
        self, web: Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        asked: list[str] = []

        def ask(what: str) -> list[str]:
            asked.append(what)
            return []

        monkeypatch.setattr(health, "unapplied_migrations", lambda: ask("migrations"))
        monkeypatch.setattr(health, "unreadable_secrets", lambda: ask("secrets"))
        with time_machine.travel(START, tick=False) as traveller:
            for second in (0, 4, 9.9, 10):
                traveller.move_to(START + timedelta(seconds=second))
                assert get(web, "/readyz")[0] == 200
        assert asked == ["migrations", "secrets"] * 2

    def test_does_not_keep_a_bad_answer(self, web: Client) -> None:
        make_integration(make_tenant(), "http://127.0.0.1:9")
        with override_settings(FIELD_KEYS=f"k1:{Fernet.generate_key().decode()}"):
            assert get(web, "/readyz")[0] == 503
        assert get(web, "/readyz")[0] == 200

    def test_asks_the_database_each_time(self, web: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        assert get(web, "/readyz")[0] == 200
        monkeypatch.setattr(health, "is_read_only", lambda: True)
        assert get(web, "/readyz")[0] == 503

    @pytest.mark.postgres
    def test_notices_a_standby_server(self) -> None:
        assert health.is_read_only() is False
        with connection.cursor() as cursor:
            cursor.execute("SET TRANSACTION READ ONLY")
        assert health.is_read_only() is True

    def test_is_red_when_the_database_is_gone(self, web: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> None:
            raise OperationalError("secret-host refused the connection of user secret-name")

        monkeypatch.setattr(connection, "ensure_connection", refuse)
        problem = "the database does not answer (OperationalError): look at DATABASE_URL and the server"
        assert get(web, "/readyz") == (503, {"ok": False, "problems": [problem]})


@pytest.mark.django_db
class TestStatusz:
    def test_is_green_when_all_loops_beat(self, web: Client) -> None:
        let_loops_beat(clock.now())
        code, answer = get(web, "/statusz")
        assert (code, answer["ok"], answer["problems"]) == (200, True, [])
        assert set(answer["seconds_since"]) == {*BY_NAME, "dispatch"}

    def test_is_red_before_anything_ever_ran(self, web: Client) -> None:
        code, answer = get(web, "/statusz")
        assert code == 503
        assert answer["problems"] == [
            "check-pending-orders-batch is missing or disabled in the schedule",
            "sweep has never run",
            "worker has never run",
            "beat has never run",
        ]

    def test_is_red_when_a_person_disabled_the_sweep(self, web: Client) -> None:
        let_loops_beat(clock.now())
        row = PeriodicTask.objects.get(name=schedule.SWEEP.name)
        row.enabled = False
        row.save()
        code, answer = get(web, "/statusz")
        problem = "check-pending-orders-batch is missing or disabled in the schedule"
        assert (code, answer["problems"]) == (503, [problem])

    def test_takes_the_sweep_under_another_name_for_the_sweep(self) -> None:
        let_loops_beat(clock.now())
        PeriodicTask.objects.filter(name=schedule.SWEEP.name).update(name="renamed")
        assert health.status(clock.now())["ok"] is True

    def test_counts_the_silence_of_each_loop(self) -> None:
        now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        schedule.install_schedule()
        heartbeats.beat(monitoring.SWEEP, now - timedelta(seconds=7))
        heartbeats.beat("worker", now - timedelta(seconds=90))
        heartbeats.beat("beat", now - timedelta(seconds=20))
        status = health.status(now)
        assert status["seconds_since"] == {
            "sweep": 7.0,
            "worker": 90.0,
            "beat": 20.0,
            "worker_process": None,
            "webhooks": None,
            "events": None,
            "dispatch": 0.0,
        }
        assert status["problems"] == ["worker has been silent for 90 s"]

    def test_is_red_when_the_database_cannot_be_read(self, web: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(now: datetime) -> Loops:
            raise OperationalError("secret-host")

        monkeypatch.setattr(health, "measure_loops", refuse)
        expected = {"ok": False, "problems": ["the database cannot be read (OperationalError)"]}
        assert get(web, "/statusz") == (503, expected)


class TestTheWork:
    def test_is_all_zero_in_an_empty_shop(self, stage: Stage) -> None:
        assert health.status(clock.now())["work"] == {
            "due_rows": 0,
            "due_now": 0,
            "oldest_due_s": None,
            "oldest_unchecked_s": None,
            "open_orders": 0,
            "in_review": 0,
            "in_doubt": 0,
        }

    def test_counts_what_waits_and_how_long(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        sent, doubted = stage.order(shop), stage.order(shop, place="unlisted_text")
        services.try_auto_dispatch(sent.pk)
        services.try_auto_dispatch(doubted.pk)
        stage.traveller.shift(15)
        stage.order(shop)
        stage.traveller.shift(55)  # the answer in doubt was due 10 s after its purchase
        work = health.measure_work(clock.now())
        assert (work.due_rows, work.due_now, work.open_orders, work.in_review, work.in_doubt) == (3, 3, 3, 0, 1)
        assert work.oldest_unchecked_s == 70.0
        assert clock.now() == START + timedelta(seconds=70)
        assert work.oldest_due_s == 60.0

    def test_starts_anew_with_every_look(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url), complete_after_s=3600)
        services.try_auto_dispatch(order.pk)
        stage.move(61)
        monitoring.sweep()
        stage.move(5)
        assert health.measure_work(clock.now()).oldest_unchecked_s == 5.0

    def test_counts_what_a_person_must_look_at(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url, review_after_s=60), place="unlisted_text")
        services.try_auto_dispatch(order.pk)
        stage.run_until_quiet(600)
        order.refresh_from_db()
        assert (order.status, health.measure_work(clock.now()).in_review) == ("review", 1)

    def test_tells_nothing_of_any_shop(self, stage: Stage, web: Client) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop)
        services.try_auto_dispatch(order.pk)
        order.refresh_from_db()
        heartbeats.beat("worker", clock.now(), note="private")
        text = web.get("/statusz").content.decode()
        told = (shop.tenant.name, shop.customer.name, order.user_identifier, order.provider_referans, "private")
        assert [word for word in told if word in text] == []


def test_the_sweep_leaves_its_heartbeat(committed: None) -> None:
    monitoring.sweep()
    assert list(Heartbeat.objects.values_list("name", flat=True)) == ["check_pending_orders_batch"]
