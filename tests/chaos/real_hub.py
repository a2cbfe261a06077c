"""The hub as real processes on servers of its own: gunicorn, Celery workers, beat, simulator; killed by their id."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg2
import requests

from apps.simulator.client import SimulatorProcess
from tests.servers import PostgresServer, ValkeyServer

ROOT = Path(__file__).resolve().parents[2]
READY_WITHIN_S = 60.0
STOP_WITHIN_S = 30.0

SET_UP = """
import sys, django; django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
from apps.common import clock
from apps.ops import demo
from apps.ops.schedule import install_schedule
install_schedule()
print(demo.issue_demo_key(demo.load_demo(sys.argv[1], clock.now()), clock.now()))
"""


class RealHub:
    """Starts and stops the processes; asks their database directly."""

    def __init__(self, folder: Path, database_url: str, redis_url: str, simulator_url: str) -> None:
        self.folder = folder
        self.database_url = database_url
        own = {"DATABASE_URL": database_url, "REDIS_URL": redis_url, "HUB_DATA_DIR": str(folder), "LOG_FORMAT": "json"}
        self.env = {**os.environ, **own, "DJANGO_SETTINGS_MODULE": "config.settings", "PYTHONUNBUFFERED": "1"}
        self.key = self.run(["-c", SET_UP, simulator_url]).strip().splitlines()[-1]
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.url = ""

    def run(self, arguments: list[str], *, ok: tuple[int, ...] = (0,)) -> str:
        """Run Python in the hub's environment to its end and return what it printed."""
        done = subprocess.run(
            [sys.executable, *arguments],
            env=self.env,
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode in ok, done.stdout + done.stderr
        return done.stdout

    def start(self, name: str, *arguments: str) -> None:
        """Start one process, in a group of its own, with its output in a file."""
        log = (self.folder / f"{name}.log").open("ab")
        self.processes[name] = subprocess.Popen(
            [sys.executable, "-m", *arguments], env=self.env, cwd=ROOT, stdout=log, stderr=log, start_new_session=True
        )
        log.close()

    def start_web(self, port: int) -> None:
        """gunicorn with one process and four threads; returns when it answers."""
        self.url = f"http://127.0.0.1:{port}"
        self.start(
            "web", "gunicorn", "config.wsgi:application", "-b", f"127.0.0.1:{port}", "-k", "gthread", "--threads", "4"
        )
        wait_for(self._is_ready, "the web server does not answer")

    def start_worker(self, name: str) -> None:
        """One Celery worker for all queues, prefork with four processes."""
        queues = "dispatch,check,poll,notify"
        self.start(
            name, "celery", "-A", "celery_app", "worker", "-Q", queues, "-c", "4", "-n", f"{name}@%h", "-l", "WARNING"
        )

    def start_beat(self) -> None:
        """One beat with the schedule in the database."""
        self.start(
            "beat", "celery", "-A", "celery_app", "beat", "-l", "WARNING", "--pidfile", "", "--max-interval", "1"
        )

    def kill(self, name: str) -> None:
        """SIGKILL the process with all its children, and wait until they are gone."""
        process = self.processes.pop(name)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_WITHIN_S)

    def stop(self) -> None:
        """End everything that was started."""
        for process in self.processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for name, process in list(self.processes.items()):
            try:
                process.wait(STOP_WITHIN_S)
            except subprocess.TimeoutExpired:
                self.kill(name)

    def order(self, player: str, package: str = "pubg-60") -> int:
        """Place one order over HTTP and return its id."""
        answer = requests.post(
            f"{self.url}/api/v1/orders",
            json={"package": package, "quantity": 1, "fields": {"player_id": player}},
            headers={"Authorization": f"Bearer {self.key}", "Idempotency-Key": f"key-{player}"},
            timeout=30,
        )
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the hub's database."""
        with contextlib.closing(psycopg2.connect(self.database_url)) as connection, connection.cursor() as cursor:
            cursor.execute(sql)
            return list(cursor.fetchall())

    def recount(self, truth: Path) -> tuple[dict[str, Any], list[str]]:
        """The counts and disagreements that `manage.py recount` finds."""
        lines = self.run(["manage.py", "recount", str(truth)], ok=(0, 1)).splitlines()
        counts: dict[str, Any] = json.loads(lines[-1])
        return counts, lines[:-1]

    def logs(self) -> str:
        """Everything the processes wrote, for secrets to be searched and failures to be read."""
        return "\n".join(path.read_text(errors="replace") for path in sorted(self.folder.glob("*.log")))

    def _is_ready(self) -> bool:
        try:
            return requests.get(f"{self.url}/livez", timeout=5).status_code == 200
        except (requests.ConnectionError, requests.Timeout):
            return False


def wait_for(is_so: Any, otherwise: str, within_s: float = READY_WITHIN_S) -> None:
    """Look again and again until `is_so()`; fail with `otherwise` when the time is up."""
    pause = threading.Event()
    for _ in range(int(within_s / 0.1)):
        if is_so():
            return
        pause.wait(0.1)
    raise AssertionError(otherwise)


@contextlib.contextmanager
def real_hub(folder: Path) -> Iterator[tuple[RealHub, SimulatorProcess, ValkeyServer]]:
    """A hub with a PostgreSQL, a Valkey and a simulator of its own; nothing is left behind."""
    with (
        PostgresServer() as postgres,
        ValkeyServer() as valkey,
        SimulatorProcess(truth=folder / "truth.jsonl", login="demo", password="demo-secret") as simulator,
    ):
        database = postgres.create_database(f"hub_{secrets.token_hex(4)}")
        hub = RealHub(folder, database, valkey.url, simulator.url)
        try:
            yield hub, simulator, valkey
        finally:
            hub.stop()
