"""The threads beside the work: once per process, over a fork, after an error; and the heartbeat of beat."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery
from django.conf import settings as django_settings
from django.core.management import call_command
from django.db import OperationalError
from pytest_django import Settings

from apps.common import clock, processes
from apps.journal import heartbeats
from apps.journal.loops import BEAT, BY_NAME, WORKER_PROCESS
from apps.journal.models import Heartbeat
from apps.ops import beating, schedule, watching
from apps.ops.beating import BeatingScheduler
from apps.ops.watching import Ticker, Watch
from tests.functional.core_fixtures import committed
from tests.functional.ops_fixtures import let_loops_beat

__all__ = ["committed"]

ROOT = Path(__file__).resolve().parents[2]


class TestATicker:
    def test_goes_on_after_an_error(self) -> None:
        came, twice = [], threading.Event()

        def work() -> None:
            came.append(1)
            if len(came) == 1:
                raise RuntimeError("once")
            twice.set()

        ticker = Ticker("test", 0.01, work)
        ticker.start()
        assert twice.wait(30)
        ticker.stop()

    def test_that_is_stopped_works_no_more_and_can_be_started_again(self) -> None:
        came = threading.Event()
        ticker = Ticker("test", 0.01, came.set)
        ticker.start()
        assert came.wait(30)
        ticker.stop()
        assert not [thread for thread in threading.enumerate() if thread.name == "test"]
        came.clear()
        ticker.start()
        assert came.wait(30)
        ticker.stop()


class TestTheWatch:
    def test_runs_each_thread_once_however_often_it_is_started(self, settings: Settings) -> None:
        settings.ALERT_EVERY_S = 5
        watch = Watch()
        try:
            for _ in range(3):
                watch.start()
            assert watch.names() == {"alerts"}
            assert len([thread for thread in threading.enumerate() if thread.name == "alerts"]) == 1
        finally:
            watch.stop()

    def test_watches_for_nothing_where_the_setting_says_so(self, settings: Settings) -> None:
        settings.ALERT_EVERY_S = 0
        watch = Watch()
        watch.start()
        assert watch.names() == set()

    def test_is_started_by_the_resident_poll_and_by_no_other_command(
        self, committed: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        started: list[dict[str, Any]] = []
        monkeypatch.setattr(watching, "start", lambda **options: started.append(options))
        call_command("check_invariants")
        assert started == []
        call_command("poll", "--seconds", "0.01")
        assert started == [{}]

    def test_listens_to_the_resident_processes(self) -> None:
        assert processes.started.has_listeners()


FORKS = """
import os, sys, threading, time
import django
django.setup()
from apps.ops import watching
from apps.ops.watching import Ticker

watch = watching.Watch()
done = threading.Event()
real, watching.watch = watching.watch, done.set
watching.FIRST_ROUND_S = 0.05
watch.start(in_children=sys.argv[1] == "web")
assert done.wait(30)
child = os.fork()
done.clear() if child else None
names = [thread.name for thread in threading.enumerate()]
again = threading.Event()
if child == 0:
    # The child of a web server watches by itself; the child of a worker does not.
    os._exit(0 if ("alerts" in names) == (sys.argv[1] == "web") else 1)
assert "alerts" in names, names
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
watch.stop()
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.parametrize("kind", ["web", "worker"])
def test_a_fork_has_the_threads_that_it_should(kind: str, tmp_path: Path) -> None:
    environment = {**os.environ, "ALERT_EVERY_S": "1", "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", FORKS, kind],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout.strip()) == (0, "fine"), done.stderr


@pytest.mark.both_databases
class TestTheHeartbeatOfBeat:
    def tick(self) -> tuple[BeatingScheduler, Any]:
        """One tick of the real scheduler, whose messages go nowhere."""
        app = Celery("test", broker="memory://", set_as_current=False)
        scheduler = BeatingScheduler(app=app, lazy=True)
        return scheduler, scheduler.tick()

    def test_is_written_by_a_tick(self, committed: None) -> None:
        schedule.install_schedule()
        _, wait_s = self.tick()
        at = Heartbeat.objects.get(name=BY_NAME[BEAT].heartbeat).beat_at
        assert at is not None
        assert clock.now() - at < timedelta(minutes=1)
        assert 0 <= wait_s <= BY_NAME[BEAT].every_s

    def test_is_written_seldom_enough(self, committed: None) -> None:
        scheduler, _ = self.tick()
        Heartbeat.objects.all().delete()
        scheduler.tick()
        assert not Heartbeat.objects.exists()

    def test_that_cannot_be_written_does_not_stop_beat(self, committed: None, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(name: str, now: object) -> None:
            raise OperationalError

        monkeypatch.setattr(heartbeats, "beat", refuse)
        self.tick()

    def test_is_that_of_the_scheduler_in_the_settings(self) -> None:
        path = f"{beating.__name__}:{BeatingScheduler.__name__}"
        assert path == django_settings.CELERY_BEAT_SCHEDULER


@pytest.mark.both_databases
def test_a_worker_that_stops_beats_no_more(committed: None, settings: Settings) -> None:
    settings.ALERT_EVERY_S = 0
    let_loops_beat(clock.now())
    watch = Watch()
    watch.start(beats_as=WORKER_PROCESS)
    assert watch.names() == {WORKER_PROCESS}
    watch.stop(beats_as=WORKER_PROCESS)
    assert watch.names() == set()
