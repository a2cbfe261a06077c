"""`start.py --production` with real processes: web, worker and beat, started again, looked at, stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from tests.chaos.real_hub import wait_for
from tests.servers import PostgresServer, ValkeyServer, free_port

ROOT = Path(__file__).resolve().parents[2]

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="signals of Linux and macOS")]


class Started:
    """One hub in a folder of its own, run by the command line alone."""

    def __init__(self, folder: Path, database: str, broker: str) -> None:
        self.folder = folder
        self.port = free_port()
        own = {"DATABASE_URL": database, "REDIS_URL": broker, "HUB_DATA_DIR": str(folder), "PYTHONUNBUFFERED": "1"}
        self.env = {**os.environ, **own, "LOOP_SILENT_AFTER_S": "60"}
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "apps.ops.start", "--data", str(self.folder), *options]

    def start(self) -> subprocess.Popen[bytes]:
        with (self.folder / "said").open("ab") as said:
            command = self.command("--production", "--port", str(self.port))
            self.process = subprocess.Popen(
                command, env=self.env, cwd=ROOT, stdout=said, stderr=said, start_new_session=True
            )
        wait_for(self.is_up, "the hub does not start", 120)
        return self.process

    def run(self, *options: str) -> tuple[int, str]:
        """Another terminal: exit code and what was printed."""
        done = subprocess.run(
            self.command(*options), env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def doctor(self) -> set[str]:
        """The checks that found something; the round trip is by a worker of ours."""
        command = [sys.executable, "manage.py", "doctor", "--json"]
        done = subprocess.run(command, env=self.env, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
        return {finding["check"] for finding in json.loads(done.stdout)["findings"]}

    def pids(self) -> dict[str, int]:
        card = json.loads((self.folder / "run" / "processes.json").read_text())
        return {member["name"]: member["pid"] for member in card["members"]}

    def is_up(self) -> bool:
        """The web answers, and every loop was heard of."""
        try:
            return requests.get(f"http://127.0.0.1:{self.port}/statusz", timeout=5).status_code == 200
        except requests.RequestException:
            return False

    def close(self) -> None:
        self.run("--stop")
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@pytest.fixture(scope="module")
def servers() -> Iterator[tuple[str, str]]:
    """A database, which the first start migrates, and a broker."""
    with PostgresServer() as postgres, ValkeyServer() as valkey:
        yield postgres.create_database("hub"), valkey.url


@pytest.fixture
def started(tmp_path: Path, servers: tuple[str, str]) -> Iterator[Started]:
    hub = Started(tmp_path, *servers)
    try:
        yield hub
    finally:
        hub.close()


def is_running(pid: int) -> bool:
    """Whether the process is there and not only waited for."""
    return (
        Path(f"/proc/{pid}/stat").exists()
        and Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    )


class TestTheProcesses:
    def test_are_started_again_looked_at_and_stopped(self, started: Started) -> None:
        assert started.run("--status")[0] == 1
        supervisor = started.start()
        before = started.pids()
        assert list(before) == ["web", "worker1", "beat"]
        code, told = started.run("--status")
        assert (code, told.count("process")) == (0, 3), told
        assert "runs already" in started.run("--production", "--port", str(free_port()))[1]
        assert {"round_trip", "loops", "schema", "database"} & started.doctor() == set()

        os.kill(before["worker1"], signal.SIGKILL)
        wait_for(lambda: started.pids()["worker1"] not in (before["worker1"], None), "it is not started again")
        assert "worker1 ended with code -9; started again in 1 s" in (started.folder / "said").read_text()
        assert "started again 1 times" in started.run("--status")[1]

        pids = list(started.pids().values())
        assert started.run("--stop") == (0, "Stopped.\n")
        assert supervisor.wait(30) == 0
        assert not any(map(is_running, pids))
        assert started.run("--stop")[0] == 0

    def test_that_lost_their_supervisor_are_found_and_stopped(self, started: Started) -> None:
        supervisor = started.start()
        supervisor.kill()
        supervisor.wait()
        pids = list(started.pids().values())
        assert all(map(is_running, pids))
        code, told = started.run("--status")
        assert code == 1
        assert "who started them is gone" in told
        assert "runs already" in started.run("--production", "--port", str(free_port()))[1]
        assert started.run("--stop") == (0, "Stopped.\n")
        assert not any(map(is_running, pids))

    def test_are_not_started_when_something_is_missing(self, started: Started) -> None:
        started.env["REDIS_URL"] = f"redis://127.0.0.1:{free_port()}/0"
        code, told = started.run("--production", "--port", str(started.port))
        assert code == 2
        assert [line[:33] for line in told.splitlines()] == ["MISSING: Redis is not running at "]
        assert not (started.folder / "run").exists()
