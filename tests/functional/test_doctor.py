"""`manage.py doctor`: each trouble is found, named and given its remedy; a healthy installation has none."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography.fernet import Fernet
from django.core.management.base import SystemCheckError
from django.db import OperationalError, connection
from django.db.migrations.loader import MigrationLoader
from django.test import override_settings
from django_celery_beat.models import IntervalSchedule, PeriodicTask

from apps.catalog.models import PackagePrice
from apps.common import clock
from apps.common.triggers import installed
from apps.journal.models import Heartbeat
from apps.ops import doctor, health, schedule
from apps.ops.findings import ERROR, WARNING, Finding
from apps.orders import services
from apps.orders.models import DueCheck
from apps.providers.models import Integration
from apps.wallet.models import Account
from tests.factories import NOWHERE, Stage, make_shop, order_from
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.ops_fixtures import let_loops_beat, run

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

OF_THIS_MACHINE = {"durability", "web_settings", "clocks", "disk", "way_out", "deployment"}
"""Checks of the test server's, the tests' and this machine's own settings and clocks; no panel is behind NOWHERE."""


@pytest.fixture(autouse=True)
def without_redis() -> Iterator[None]:
    """As one process; the tests about Redis name their own."""
    with override_settings(REDIS_URL=""):
        yield


def findings() -> list[Finding]:
    """What the doctor finds, but for the settings of the machine that the tests run on."""
    return [finding for finding in doctor.examine(clock.now()) if finding.check not in OF_THIS_MACHINE]


def found() -> list[tuple[str, str, str]]:
    return [(finding.check, finding.level, finding.found) for finding in findings()]


@pytest.fixture
def healthy(db: None) -> None:
    """A shop that sells, and loops that beat."""
    make_shop(NOWHERE)
    let_loops_beat(clock.now())


@pytest.mark.usefixtures("healthy")
class TestAHealthyInstallation:
    def test_has_no_finding(self) -> None:
        assert findings() == []

    def test_with_an_open_order_has_none_either(self) -> None:
        order_from(make_shop(NOWHERE))
        assert findings() == []


@pytest.mark.django_db
class TestTheGates:
    def test_stop_at_a_database_that_does_not_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse() -> None:
            raise OperationalError("connection refused\n  is the server running?")

        monkeypatch.setattr(connection, "ensure_connection", refuse)
        assert found() == [("database", ERROR, "the database refused: connection refused")]

    def test_stop_at_a_read_only_database(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(health, "is_read_only", lambda: True)
        assert found() == [("database", ERROR, "it is read-only")]

    def test_stop_at_missing_migrations(self) -> None:
        [(app, name)] = MigrationLoader(None).graph.leaf_nodes("orders")
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM django_migrations WHERE app = %s AND name = %s", [app, name])
        assert found() == [("migrations", ERROR, f"not applied: orders.{name}")]


@pytest.mark.usefixtures("healthy")
class TestTheDatabase:
    def test_has_every_trigger_of_the_migrations(self) -> None:
        at_commit = {"wallet_entry_sums_to_zero", "wallet_transfer_has_entries"}
        assert set(doctor.wanted_triggers()) == (at_commit if connection.vendor == "postgresql" else set()) | {
            "catalog_fx_rate_forbid_delete",
            "catalog_fx_rate_forbid_update",
            "catalog_package_price_no_overlap_insert",
            "catalog_package_price_no_overlap_update",
            "journal_audit_entry_forbid_delete",
            "journal_audit_entry_forbid_update",
            "orders_break_event_forbid_delete",
            "orders_break_event_forbid_update",
            "orders_break_forbid_delete",
            "orders_code_forbid_delete",
            "orders_code_forbid_update",
            "orders_event_forbid_delete",
            "orders_event_forbid_update",
            "orders_evidence_forbid_delete",
            "orders_evidence_forbid_update",
            "orders_note_forbid_delete",
            "orders_note_forbid_update",
            "orders_statement_forbid_delete",
            "orders_statement_forbid_update",
            "orders_statement_line_forbid_delete",
            "orders_statement_line_forbid_update",
            "providers_integration_forbid_update",
            "providers_stock_code_forbid_delete",
            "providers_stock_code_forbid_update",
            "wallet_account_forbid_update",
            "wallet_confirm_limit_forbid_delete",
            "wallet_confirm_limit_forbid_update",
            "wallet_credit_change_forbid_delete",
            "wallet_credit_change_forbid_update",
            "wallet_entry_forbid_delete",
            "wallet_entry_forbid_update",
            "wallet_transfer_forbid_delete",
            "wallet_transfer_forbid_update",
        }
        assert set(doctor.wanted_triggers()) <= installed(connection)

    def test_without_a_trigger_is_an_error(self) -> None:
        with connection.cursor() as cursor:
            on_table = " ON orders_event" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER orders_event_forbid_update{on_table}")
        assert found() == [("append_only", ERROR, "triggers are missing: orders_event_forbid_update")]

    @pytest.mark.postgres
    def test_with_a_trigger_switched_off_is_an_error(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE orders_event DISABLE TRIGGER orders_event_forbid_update")
        assert found() == [("append_only", ERROR, "triggers are missing: orders_event_forbid_update")]


class TestDurability:
    question = "PRAGMA synchronous = 1" if connection.vendor == "sqlite" else "SET synchronous_commit = off"
    answer = "synchronous is 1" if connection.vendor == "sqlite" else "synchronous_commit is off"

    def test_of_a_commit_that_waits_for_nothing_is_an_error(self, committed: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute(self.question)
        try:
            answers = [finding.found for finding in doctor.durability(clock.now())]
        finally:
            connection.close()
        assert f"{self.answer}: a power cut could forget a purchase that was made" in answers

    def test_of_the_settings_that_are_shipped_is_good(self, committed: None) -> None:
        if connection.vendor != "sqlite":
            pytest.skip("a PostgreSQL server has its own settings")
        assert doctor.durability(clock.now()) == []

    @pytest.mark.postgres
    def test_of_a_commit_that_waits_for_the_disk_is_good(self, db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL synchronous_commit = on")
        answers = [finding.found for finding in doctor.durability(clock.now())]
        assert [answer for answer in answers if answer.startswith("synchronous_commit")] == []

    def test_is_asked_by_djangos_own_check(self, committed: None) -> None:
        assert "no issues" in run("check", "--database", "default")
        if connection.vendor != "sqlite":
            return
        with connection.cursor() as cursor:
            cursor.execute(self.question)
        try:
            with pytest.raises(SystemCheckError, match=r"\(ops\.E001\)"):
                run("check", "--database", "default")
        finally:
            connection.close()


@pytest.mark.usefixtures("healthy")
class TestTheSchedule:
    def test_that_is_missing_is_an_error(self) -> None:
        PeriodicTask.objects.filter(name="heartbeat").delete()
        assert found() == [("beat_schedule", ERROR, "heartbeat is not installed")]

    def test_that_is_disabled_is_an_error(self) -> None:
        PeriodicTask.objects.filter(name=schedule.SWEEP.name).update(enabled=False)
        sentence = "check-pending-orders-batch is disabled or runs another task"
        assert found() == [("beat_schedule", ERROR, sentence)]

    def test_that_runs_a_task_twice_is_a_warning(self) -> None:
        interval = IntervalSchedule.objects.get(every=5)
        PeriodicTask.objects.create(name="mine", task=schedule.SWEEP.task, interval=interval)
        assert found() == [("beat_schedule", WARNING, f"mine runs {schedule.SWEEP.task} a second time")]


@pytest.mark.usefixtures("healthy")
class TestTheLoops:
    def test_that_never_ran_are_a_warning(self) -> None:
        Heartbeat.objects.all().delete()
        assert found() == [("loops", WARNING, "nothing has ever run")]

    def test_that_fell_silent_are_an_error(self) -> None:
        late = clock.now() + timedelta(seconds=100)
        problems = [finding.found for finding in doctor.loops(late)]
        assert [problem.partition(" has been silent for ")[0] for problem in problems] == [
            "sweep",
            "worker",
            "beat",
            "worker_process",
            "events",
        ]


class TestOrders:
    def test_that_nobody_will_look_at_are_an_error(self, healthy: None) -> None:
        order = order_from(make_shop(NOWHERE))
        DueCheck.objects.all().delete()
        assert found() == [("nothing_forgotten", ERROR, f"open orders that nobody will look at: #{order.pk}")]

    def test_whose_attempt_nobody_will_ask_about_are_an_error(self, stage: Stage) -> None:
        let_loops_beat(clock.now())
        order = stage.order(make_shop(stage.url), quantity=2)
        services.try_auto_dispatch(order.pk)
        DueCheck.objects.filter(attempt__isnull=False).delete()
        assert found() == [("nothing_forgotten", ERROR, f"attempts that nobody will ask about: #{order.pk}")]

    def test_that_are_settled_need_no_due_row(self, stage: Stage) -> None:
        let_loops_beat(clock.now())
        order = stage.order(make_shop(stage.url))
        stage.run_until_quiet()
        DueCheck.objects.all().delete()
        let_loops_beat(clock.now())
        order.refresh_from_db()
        assert order.status == "completed"
        assert found() == []


@pytest.mark.usefixtures("healthy")
class TestMoney:
    def test_that_does_not_add_up_is_an_error(self) -> None:
        account = Account.objects.get(kind=Account.Kind.CUSTOMER)
        Account.objects.filter(pk=account.pk).update(balance_micros=1)
        sentence = f"the stored balance of {account} is not the sum of its entries"
        assert found() == [("money", ERROR, f"the ledger disagrees: {sentence}")]


@pytest.mark.usefixtures("healthy")
class TestTheSetUp:
    def test_of_a_package_without_a_price_is_a_warning(self) -> None:
        price = PackagePrice.objects.select_related("package").get()
        price.delete()
        sentence = f"package {price.package.code} cannot be sold: there is no price in TRY"
        assert found() == [("packages", WARNING, sentence)]

    def test_of_an_account_without_its_password_is_a_warning(self) -> None:
        Integration.objects.update(sealed_secrets="")
        name = Integration.objects.get().name
        assert ("provider_accounts", WARNING, f"provider account {name} has no sifre") in found()

    def test_of_a_paused_account_is_a_warning(self) -> None:
        until = clock.now() + timedelta(hours=1)
        Integration.objects.update(paused_until=until, pause_reason="balance")
        name = Integration.objects.get().name
        sentence = f"provider account {name} is paused until {until:%Y-%m-%d %H:%M} UTC (balance)"
        assert found() == [("provider_accounts", WARNING, sentence)]

    def test_with_keys_that_do_not_fit_is_an_error(self) -> None:
        pk = Integration.objects.get().pk
        with override_settings(FIELD_KEYS=f"k1:{Fernet.generate_key().decode()}"):
            assert ("field_keys", ERROR, f"no key opens the secrets of provider account {pk}") in found()

    def test_with_keys_that_are_none_is_an_error(self) -> None:
        with override_settings(FIELD_KEYS="rubbish"):
            assert [finding.level for finding in doctor.field_keys(clock.now())] == [ERROR]

    def test_for_a_desk_is_a_warning(self) -> None:
        with override_settings(DEBUG=True, ALLOWED_HOSTS=["localhost"]):
            answers = doctor.web_settings(clock.now())
        assert [answer.level for answer in answers] == [WARNING, WARNING]
        with override_settings(DEBUG=False, ALLOWED_HOSTS=["hub.example.com"]):
            assert doctor.web_settings(clock.now()) == []
        with override_settings(DEBUG=False, ALLOWED_HOSTS=["*"]):
            assert [answer.found for answer in doctor.web_settings(clock.now())] == ["any host name is answered"]


@pytest.mark.usefixtures("healthy")
class TestTheCommand:
    @pytest.fixture(autouse=True)
    def of_no_machine(self, monkeypatch: pytest.MonkeyPatch) -> None:
        checks = tuple(check for check in doctor.CHECKS if check.__name__ not in OF_THIS_MACHINE)
        monkeypatch.setattr(doctor, "CHECKS", checks)

    def test_says_that_all_is_well(self) -> None:
        assert run("doctor") == "16 checks, 0 errors, 0 warnings.\n"
        assert json.loads(run("doctor", "--json")) == {"ok": True, "findings": []}

    def test_is_content_with_warnings(self) -> None:
        PackagePrice.objects.all().delete()
        assert run("doctor").endswith("16 checks, 0 errors, 1 warnings.\n")

    def test_ends_with_one_after_an_error(self, capsys: pytest.CaptureFixture[str]) -> None:
        PeriodicTask.objects.filter(name="heartbeat").delete()
        with pytest.raises(SystemExit) as ended:
            run("doctor", "--json")
        assert ended.value.code == 1

    def test_tells_check_level_and_remedy(self) -> None:
        PackagePrice.objects.all().delete()
        answer = json.loads(run("doctor", "--json"))
        assert answer["ok"] is True
        assert [sorted(finding) for finding in answer["findings"]] == [["check", "found", "level", "remedy"]]

    def test_survives_a_check_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def broken(now: object) -> list[Finding]:
            raise KeyError("unheard of")

        monkeypatch.setattr(doctor, "CHECKS", (broken, doctor.money))
        assert found() == [("broken", ERROR, "the check failed: KeyError: 'unheard of'")]
