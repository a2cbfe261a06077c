"""The success criteria of docs/DOCS_INDEX.md, one test each, under their own names."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import redis

from apps.common import broker
from apps.orders import services
from apps.orders.dispatch.trace import STEPS
from apps.orders.models import Attempt, DueCheck, Order, OrderCode, OrderEvent
from apps.orders.tasks import check_order_status
from apps.providers.models import PackageMapping
from celery_app import app
from tests.factories import START, Shop, Stage, due_of, make_shop, pins_of, standing_of, sums_of
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

ROOT = Path(__file__).resolve().parents[2]
QUEUES = "dispatch,check,poll,notify"
BROKER_DATABASE = 9
"""A database of the tests' Valkey that nobody else uses."""
WITHIN_S = 40.0


# --- the processes: an installation of its own on SQLite and Valkey


@dataclass(frozen=True, slots=True)
class Installation:
    """A folder with a database, and the environment that a person's shell would have."""

    folder: Path
    environment: dict[str, str]
    broker_url: str

    def manage(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """One run of manage.py, with what it printed."""
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False, timeout=120
        )

    def ask(self, code: str) -> str:
        """What a line of Python in `manage.py shell` prints: this installation has settings of its own."""
        return self.manage("shell", "--no-imports", "-v", "0", "-c", code).stdout.strip()

    def heartbeats(self) -> list[str]:
        """The loops that were heard of, read past Django from the file."""
        with contextlib.closing(sqlite3.connect(self.folder / "db.sqlite3")) as database:
            return [name for (name,) in database.execute("SELECT name FROM journal_heartbeat ORDER BY name")]

    def forget_heartbeats(self) -> None:
        with contextlib.closing(sqlite3.connect(self.folder / "db.sqlite3", timeout=20)) as database, database:
            database.execute("DELETE FROM journal_heartbeat")

    def log(self, name: str) -> str:
        """What a process printed."""
        return (self.folder / f"{name}.log").read_text(errors="replace")


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory, valkey_url: str) -> Iterator[Installation]:
    """Migrated, with the schedule installed; every interval is set to 1 s, as a person may."""
    folder = tmp_path_factory.mktemp("installation")
    broker_url = f"{valkey_url.rpartition('/')[0]}/{BROKER_DATABASE}"
    redis.Redis.from_url(broker_url).flushdb()
    environment = {
        **os.environ,
        "HUB_DATA_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "REDIS_URL": broker_url,
        "PYTHONWARNINGS": "default",
    }
    made = Installation(folder, environment, broker_url)
    for command in (["migrate", "-v", "0"], ["setup_periodic_task"]):
        done = made.manage(*command)
        assert done.returncode == 0, done.stderr
    made.ask(
        "from django_celery_beat.models import IntervalSchedule, PeriodicTask; "
        "second = IntervalSchedule.objects.create(every=1, period='seconds'); "
        "PeriodicTask.objects.update(interval=second)"
    )
    yield made
    redis.Redis.from_url(broker_url).flushdb()


@pytest.fixture(scope="module")
def worker(installation: Installation) -> Iterator[None]:
    """A real worker in a process of its own."""
    options = ["-P", "threads", "-c", "2", "-Q", QUEUES, "--without-gossip", "--without-mingle"]
    with running(installation, "worker", *options):
        yield


@pytest.fixture
def beat(installation: Installation) -> Iterator[None]:
    """A real beat in a process of its own."""
    with running(installation, "beat", "--pidfile="):
        yield


@contextlib.contextmanager
def running(installation: Installation, *arguments: str) -> Iterator[None]:
    """A Celery program until the end of the block; it shares nothing with others but the database and Valkey."""
    command = [sys.executable, "-m", "celery", "-A", "celery_app", *arguments]
    with (installation.folder / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=installation.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(what: Callable[[], bool]) -> bool:
    """Whether it comes true within 40 s."""
    deadline = time.monotonic() + WITHIN_S
    while time.monotonic() < deadline:
        if what():
            return True
        time.sleep(0.1)
    return what()


def test_django_starts_without_errors(installation: Installation) -> None:
    checked = installation.manage("check", "--database", "default", "--fail-level", "WARNING")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "no issues" in checked.stdout
    assert installation.manage("makemigrations", "--check", "--dry-run").returncode == 0
    pages = installation.ask(
        "from django.test import Client; browser = Client(headers={'host': 'localhost'}); "
        "print([browser.get(page).status_code for page in ('/livez', '/readyz')])"
    )
    assert pages == "[200, 200]"


def test_celery_worker_connects_to_redis(installation: Installation, worker: None) -> None:
    with redis.Redis.from_url(installation.broker_url) as client:
        assert wait_for(lambda: any(line["cmd"] == "brpop" for line in client.client_list())), installation.log(
            "worker"
        )
        assert "worker" not in installation.heartbeats()
        # A message that is put into Redis here is run by that worker there.
        installation.ask("from apps.ops.tasks import heartbeat; heartbeat.apply_async(queue='poll')")
    assert wait_for(lambda: "worker" in installation.heartbeats()), installation.log("worker")


def test_celery_beat_schedules_periodic_tasks(installation: Installation, worker: None, beat: None) -> None:
    installation.forget_heartbeats()
    wanted = {"beat", "check_pending_orders_batch", "worker"}
    have_come = wait_for(lambda: wanted <= set(installation.heartbeats()))
    assert have_come, installation.log("beat") + installation.log("worker")


# --- an order


@pytest.fixture
def shop(stage: Stage) -> Shop:
    """A shop with the ZNET protocol's own schedule."""
    return make_shop(stage.url)


def logged_steps(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    """The lines of the dispatch steps, as fields."""
    lines = [record.msg for record in caplog.records if isinstance(record.msg, dict)]
    about = ("event", "level", "logger", "timestamp")
    return [{k: v for k, v in line.items() if k not in about} for line in lines if line["event"] == "dispatch_step"]


def test_creating_order_shows_15_steps_in_logs(stage: Stage, shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="apps")
    order = stage.order(shop)
    services.try_auto_dispatch(order.pk, shop.tenant.pk)
    attempt = Attempt.objects.get(order=order)
    row = DueCheck.objects.get(order=order)
    story = OrderEvent.objects.get(order=order, attempt=attempt)
    order.refresh_from_db()
    found: dict[int, dict[str, Any]] = {
        1: {"status": "pending"},
        2: {"tenant": order.tenant_id},
        3: {"free_units": 1, "fence": row.fence},
        4: {"routes": 1, "price_group": ""},
        5: {
            "route": attempt.route_id,
            "provider": attempt.integration_name,
            "strategy": "priority",
            "passed_over": [],
        },
        6: {"mapping": PackageMapping.objects.get(package=shop.package).pk},
        7: {"integration": attempt.integration_id, "provider": attempt.integration_name},
        8: {"kind": attempt.kind},
        9: {"units": 1, "recipient_given": True},
        10: {"attempt": attempt.pk, "reference": attempt.reference, "send_no": attempt.send_no},
        12: {"outcome": attempt.outcome, "provider_referans": order.provider_referans},
        13: {"attempt_state": attempt.state, "status": order.status, "reason": order.reason},
        14: {"said": story.kind},
        15: {"kind": row.kind, "next_at": row.next_at.isoformat()},
    }
    lines = logged_steps(caplog)
    sent = lines[10]
    assert 0 <= sent.pop("latency_ms") < 3000
    found[11] = {"knowledge": "answered"}
    assert lines == [{"step": f"{n}/15", "name": name, "order": order.pk, **found[n]} for n, name in STEPS.items()]
    assert [purchase["reference"] for purchase in stage.purchases()] == [attempt.reference]


def test_task_is_scheduled_after_60_seconds(stage: Stage, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    published: list[tuple[str, list[int], float | None]] = []

    def send_task(name: str, args: list[int], countdown: float | None = None, **options: Any) -> None:
        published.append((name, args, countdown))

    monkeypatch.setattr(app, "send_task", send_task)
    monkeypatch.setattr("apps.orders.wake.publish", broker.publish)
    broker.wake_up()
    order = stage.order(shop)
    services.try_auto_dispatch(order.pk, shop.tenant.pk)
    assert due_of(order) == [("check", START + timedelta(seconds=60))]
    ids = [order.pk, shop.tenant.pk]
    assert published == [
        ("apps.orders.tasks.dispatch_order", ids, None),
        ("apps.orders.tasks.check_order_status", ids, 60.0),
    ]


@pytest.fixture
def sent(stage: Stage, shop: Shop) -> Order:
    """An order that was sent and is ready at the provider after 30 s."""
    order = stage.order(shop, complete_after_s=30)
    services.try_auto_dispatch(order.pk, shop.tenant.pk)
    order.refresh_from_db()
    return order


def check(stage: Stage, order: Order) -> None:
    """The task that the worker runs when the 60 s are over."""
    stage.move(60)
    check_order_status(order.pk, order.tenant_id)


def test_status_is_checked_from_provider(stage: Stage, sent: Order) -> None:
    check_order_status(sent.pk, sent.tenant_id)
    assert stage.truth("checked") == []  # not before it is due
    check(stage, sent)
    assert [entry["reference"] for entry in stage.truth("checked")] == [sent.provider_referans]


def test_database_is_updated_with_status(stage: Stage, shop: Shop, sent: Order) -> None:
    cancelled = stage.order(shop, final="cancelled", complete_after_s=30)
    services.try_auto_dispatch(cancelled.pk, shop.tenant.pk)
    assert standing_of(sent) == standing_of(cancelled) == ("processing", "sent", "")
    check(stage, sent)
    check_order_status(cancelled.pk, shop.tenant.pk)
    assert standing_of(sent) == ("completed", "completed", "")
    assert sums_of(sent)["capture"] == sent.price_micros
    assert standing_of(cancelled) == ("processing", "processing", "")  # a failure counts from the second reading
    stage.run_until_quiet()
    assert standing_of(cancelled)[:2] == ("rejected", "failed")
    assert sums_of(cancelled)["release"] == cancelled.price_micros


def test_pin_code_is_saved_when_ready(stage: Stage, sent: Order) -> None:
    assert pins_of(sent) == []
    check(stage, sent)
    (purchase,) = stage.purchases(sent)
    assert pins_of(sent) == [purchase["pin"]]
    stored = OrderCode.objects.get(order=sent)
    assert purchase["pin"] not in stored.sealed
