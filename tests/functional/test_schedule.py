"""Beat's schedule: installed where it is missing, and a person's changes stay."""

from __future__ import annotations

import runpy
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError
from django.db import connection
from django_celery_beat.models import CrontabSchedule, IntervalSchedule, PeriodicTask

from apps.journal.models import Heartbeat
from apps.ops import schedule
from apps.ops.schedule import Installed, install_schedule
from apps.ops.tasks import heartbeat
from celery_app import app
from tests.functional.ops_fixtures import run

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

ROOT = Path(__file__).resolve().parents[2]
FIRST = [
    ("check-pending-orders-batch", 5, 5, "poll", True),
    ("deliver-events", 5, 5, "notify", True),
    ("follow-provider-webhooks", 60, 60, "notify", True),
    ("forget-delivered-events", 3600, 3600, "notify", True),
    ("heartbeat", 15, 15, "poll", True),
    ("plan-catalogue-syncs", 60, 60, "notify", True),
    ("read-balances", 300, 300, "notify", True),
    ("refresh-sandboxes", 3600, 3600, "notify", True),
    ("run-bulk-actions", 30, 30, "notify", True),
]


def all_entries(what: str) -> list[Installed]:
    """The same done to every entry."""
    return [Installed(periodic.name, what) for periodic in schedule.SCHEDULE]


def rows() -> list[tuple[str, int, int, str, bool]]:
    """Name, interval in seconds, expiry, queue and switch of every installed row."""
    fields = ("name", "interval__every", "expire_seconds", "queue", "enabled")
    return list(PeriodicTask.objects.filter(interval__period="seconds").order_by("name").values_list(*fields))


def sweep_row() -> PeriodicTask:
    return PeriodicTask.objects.get(name="check-pending-orders-batch")


def disable_sweep() -> None:
    row = sweep_row()
    row.enabled = False
    row.save()


class TestTheTable:
    def test_names_registered_tasks_on_the_queue_that_they_are_routed_to(self) -> None:
        app.loader.import_default_modules()
        for periodic in schedule.SCHEDULE:
            assert periodic.task in app.tasks
            assert app.conf.task_routes[periodic.task] == {"queue": periodic.queue}


class TestInstalling:
    def test_creates_what_is_missing(self) -> None:
        done = install_schedule()
        assert done == all_entries("created")
        assert rows() == FIRST

    def test_again_keeps_everything_and_makes_no_second_interval(self) -> None:
        install_schedule()
        done = install_schedule()
        assert done == all_entries("kept")
        assert rows() == FIRST
        assert IntervalSchedule.objects.count() == len({every for _, every, *_ in FIRST})

    def test_never_overwrites_what_a_person_changed(self) -> None:
        install_schedule()
        row = sweep_row()
        row.enabled = False
        row.interval = IntervalSchedule.objects.create(every=7, period="seconds")
        row.queue = "mine"
        row.expire_seconds = 60
        row.description = "my own words"
        row.save()
        install_schedule()
        assert rows() == [("check-pending-orders-batch", 7, 60, "mine", False), *FIRST[1:]]
        assert sweep_row().description == "my own words"

    def test_with_reset_puts_everything_back(self) -> None:
        install_schedule()
        row = sweep_row()
        row.interval = None
        row.crontab = CrontabSchedule.objects.create()
        row.enabled = False
        row.task = "some.other.task"
        row.args = "[1]"
        row.one_off = True
        row.save()
        done = install_schedule(reset=True)
        assert done == all_entries("reset")
        assert rows() == FIRST
        row = sweep_row()
        assert (row.task, row.args, row.crontab, row.one_off) == (schedule.SWEEP.task, "[]", None, False)

    def test_tells_a_running_beat(self) -> None:
        install_schedule()
        disable_sweep()
        with connection.cursor() as cursor:
            cursor.execute("SELECT COUNT(*) FROM django_celery_beat_periodictasks")
            assert cursor.fetchone() == (1,)


class TestTheCommand:
    def test_installs_and_says_so(self) -> None:
        assert run("setup_periodic_task").splitlines() == [
            "check-pending-orders-batch: created.",
            "heartbeat: created.",
            "read-balances: created.",
            "plan-catalogue-syncs: created.",
            "follow-provider-webhooks: created.",
            "deliver-events: created.",
            "forget-delivered-events: created.",
            "refresh-sandboxes: created.",
            "run-bulk-actions: created.",
            "name                        runs                queue   enabled  last run (written every 3 minutes)",
            "check-pending-orders-batch  every 5 seconds     poll    yes      never",
            "deliver-events              every 5 seconds     notify  yes      never",
            "follow-provider-webhooks    every 60 seconds    notify  yes      never",
            "forget-delivered-events     every 3600 seconds  notify  yes      never",
            "heartbeat                   every 15 seconds    poll    yes      never",
            "plan-catalogue-syncs        every 60 seconds    notify  yes      never",
            "read-balances               every 300 seconds   notify  yes      never",
            "refresh-sandboxes           every 3600 seconds  notify  yes      never",
            "run-bulk-actions            every 30 seconds    notify  yes      never",
        ]

    def test_shows_without_installing(self) -> None:
        assert (
            run("setup_periodic_task", "--show") == "name  runs  queue  enabled  last run (written every 3 minutes)\n"
        )
        assert rows() == []

    def test_shows_the_last_run_and_the_switch(self) -> None:
        install_schedule()
        last = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
        PeriodicTask.objects.filter(name="heartbeat").update(last_run_at=last)
        disable_sweep()
        assert run("setup_periodic_task", "--show").splitlines()[1:] == [
            "check-pending-orders-batch  every 5 seconds     poll    NO       never",
            "deliver-events              every 5 seconds     notify  yes      never",
            "follow-provider-webhooks    every 60 seconds    notify  yes      never",
            "forget-delivered-events     every 3600 seconds  notify  yes      never",
            "heartbeat                   every 15 seconds    poll    yes      2026-01-02 03:04:05 UTC",
            "plan-catalogue-syncs        every 60 seconds    notify  yes      never",
            "read-balances               every 300 seconds   notify  yes      never",
            "refresh-sandboxes           every 3600 seconds  notify  yes      never",
            "run-bulk-actions            every 30 seconds    notify  yes      never",
        ]

    def test_reports_the_same_task_under_another_name_and_leaves_it(self) -> None:
        install_schedule()
        interval = IntervalSchedule.objects.get(every=5)
        PeriodicTask.objects.create(name="my sweep", task=schedule.SWEEP.task, interval=interval)
        assert run("setup_periodic_task", "--reset").splitlines()[-1] == (
            "my sweep runs apps.orders.tasks.check_pending_orders_batch a second time. That does no harm, "
            "but wastes work: delete it in the admin if nobody needs it."
        )
        assert PeriodicTask.objects.filter(name="my sweep").exists()

    def test_without_tables_names_the_remedy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from django.db import ProgrammingError

        def no_table(reset: bool) -> None:
            raise ProgrammingError('relation "django_celery_beat_periodictask" does not exist')

        monkeypatch.setattr(schedule, "install_schedule", no_table)
        with pytest.raises(CommandError, match=r"\(ProgrammingError\)\. Run `python manage\.py migrate` first\.$"):
            run("setup_periodic_task")


class TestTheHeartbeat:
    def test_writes_when_the_worker_ran_it(self) -> None:
        before = datetime.now(UTC)
        heartbeat()
        beat_at = Heartbeat.objects.get(name="worker").beat_at
        assert beat_at is not None
        assert before <= beat_at <= datetime.now(UTC)


@pytest.mark.parametrize("name", ["setup_periodic_task", "add_provider_referans"])
def test_the_script_prepares_and_becomes_the_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[object] = []
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import _bootstrap

    monkeypatch.setattr(_bootstrap, "ensure_environment", lambda dev: done.append(("environment", dev)))
    monkeypatch.setattr(_bootstrap, "ensure_env_file", lambda root: done.append(("env file", root)))
    monkeypatch.setattr(_bootstrap, "run", done.append)
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "--show"])
    runpy.run_path(str(ROOT / "scripts" / f"{name}.py"), run_name="__main__")
    assert done == [("environment", False), ("env file", ROOT), [str(ROOT / "manage.py"), name, "--show"]]
