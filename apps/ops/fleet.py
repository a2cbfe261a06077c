"""Web, workers and beat as processes of their own: started together, started again when they die, stopped together."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from django.conf import settings
from django.db import Error, connection

from apps.common import clock
from apps.ops import health
from apps.ops.lock_file import LockFile, is_free

ROOT = Path(__file__).resolve().parents[2]
QUEUES = "dispatch,check,poll,notify"
LOOK_EVERY_S = 0.5
ASK_EVERY_S = 5.0
LONGEST_WAIT_S = 30.0
STEADY_AFTER_S = 60.0
STOP_WITHIN_S = 45.0
"""A worker gets 30 s to finish what it holds (soft shutdown)."""
LAST_LINES = 3
ON_WINDOWS = sys.platform == "win32"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Member:
    """One process: its name, which is that of its log file too, and the arguments of Python."""

    name: str
    arguments: tuple[str, ...]


def members(host: str, port: int, workers: int, *, on_windows: bool = ON_WINDOWS) -> list[Member]:
    """In the order of their start; they are stopped the other way round."""
    at = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    gunicorn = ("-m", "gunicorn", "config.wsgi", "--bind", at, "--worker-class", "gthread", "--threads", "8")
    waitress = ("-m", "waitress", f"--listen={at}", "--threads=8", "config.wsgi:application")
    celery = ("-m", "celery", "-A", "celery_app")
    pool = ("--pool", "threads") if on_windows else ()
    return [
        Member("web", waitress if on_windows else gunicorn),
        *(
            Member(f"worker{n}", (*celery, "worker", "-Q", QUEUES, "-n", f"worker{n}@%h", "-l", "INFO", *pool))
            for n in range(1, workers + 1)
        ),
        Member("beat", (*celery, "beat", "-l", "INFO", "--pidfile", "")),
    ]


@dataclass(frozen=True, slots=True)
class Place:
    """Where the processes of one data folder leave their word."""

    data: Path

    @property
    def lock(self) -> Path:
        """Held while anything runs."""
        return self.data / "run" / "lock"

    @property
    def card(self) -> Path:
        """What runs, as JSON."""
        return self.data / "run" / "processes.json"

    @property
    def stop(self) -> Path:
        """Whoever writes it asks for the end."""
        return self.data / "run" / "stop"

    def log_of(self, name: str) -> Path:
        """What a process says."""
        return self.data / "logs" / f"{name}.log"


class Runner:
    """Keeps one process running."""

    def __init__(self, member: Member, place: Place, lock: LockFile, say: Say) -> None:
        self.member = member
        self.restarts = 0
        self._place, self._lock, self._say = place, lock, say
        self._process: subprocess.Popen[bytes] | None = None
        self._started_s = self._start_at_s = 0.0
        self._wait_s = 1.0

    def start(self) -> None:
        """Start it, with its output at the end of its log."""
        path = self._place.log_of(self.member.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own programs
                [sys.executable, *self.member.arguments],
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=not ON_WINDOWS,  # Ctrl-C at the terminal is ours to pass on
                pass_fds=() if ON_WINDOWS else (self._lock.descriptor,),
            )
        self._started_s = time.monotonic()

    def look_after(self) -> bool:
        """Start it again when it has ended, at first after 1 s, later after 30 s; whether it was just started."""
        now_s = time.monotonic()
        if self._process is not None:
            if self._process.poll() is None:
                return False
            self._mourn(now_s)
        if self._process is not None or now_s < self._start_at_s:
            return False
        self.restarts += 1
        self.start()
        return True

    def _mourn(self, now_s: float) -> None:
        code = self._process.returncode if self._process else None
        self._process = None
        if now_s - self._started_s > STEADY_AFTER_S:
            self._wait_s = 1.0
        words = " / ".join(last_lines(self._place.log_of(self.member.name)))
        self._say(f"{self.member.name} ended with code {code}; started again in {self._wait_s:.0f} s. It said: {words}")
        self._start_at_s, self._wait_s = now_s + self._wait_s, min(self._wait_s * 2, LONGEST_WAIT_S)

    def ask_to_end(self) -> None:
        """In good order."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def end(self, deadline_s: float) -> None:
        """Wait for it until then, and end it by force."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(max(deadline_s - time.monotonic(), 0.1))
        if not ON_WINDOWS:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)  # and what it has left behind
        self._process.kill()
        self._process.wait()

    def card(self) -> dict[str, Any]:
        """What `--status` tells."""
        pid = self._process.pid if self._process else None
        return {"name": self.member.name, "pid": pid, "restarts": self.restarts, "arguments": self.member.arguments}


def last_lines(path: Path) -> list[str]:
    """The end of a log."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        file.seek(max(path.stat().st_size - 2000, 0))
        return file.read().decode(errors="replace").strip().splitlines()[-LAST_LINES:]
    return []


def run(place: Place, fleet: Sequence[Member], say: Say) -> int:
    """Everything until Ctrl-C, SIGTERM or `--stop`; returns the exit code (2: it runs already)."""
    lock = LockFile(place.lock)
    if not lock.take():
        say(f"The hub of {place.data} runs already: see --status, or end it with --stop.")
        lock.close()
        return 2
    place.stop.unlink(missing_ok=True)
    runners = [Runner(member, place, lock, say) for member in fleet]
    ended = threading.Event()
    try:
        with _ended_by_signals(ended):
            _keep_running(runners, place, ended, say)
    finally:
        say("Stopping: open orders go on at the next start.")
        stop_all(runners)
        place.card.unlink(missing_ok=True)
        lock.close()
    say("Stopped.")
    return 0


@contextlib.contextmanager
def _ended_by_signals(ended: threading.Event) -> Iterator[None]:
    def leave(number: int, frame: FrameType | None) -> None:
        ended.set()

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _keep_running(runners: Sequence[Runner], place: Place, ended: threading.Event, say: Say) -> None:
    for runner in runners:
        runner.start()
    write_card(place, runners)
    names = ", ".join(runner.member.name for runner in runners)
    say(f"Running: {names}. Their logs are in {place.data / 'logs'}; Ctrl-C or --stop ends everything.")
    silences = Silences(say)
    while not ended.wait(LOOK_EVERY_S) and not place.stop.exists():
        started = [runner.look_after() for runner in runners]
        if any(started):
            write_card(place, runners)
        silences.look()


def stop_all(runners: Sequence[Runner]) -> None:
    """Beat first, so that nothing new begins; then workers; the web last."""
    deadline_s = time.monotonic() + STOP_WITHIN_S
    for runner in reversed(runners):
        runner.ask_to_end()
    for runner in reversed(runners):
        runner.end(deadline_s)


def write_card(place: Place, runners: Sequence[Runner]) -> None:
    """Whole or not at all: `--status` may read it at any moment."""
    fresh = place.card.with_suffix(".new")
    told = {"supervisor": os.getpid(), "members": [runner.card() for runner in runners]}
    fresh.write_text(json.dumps(told), encoding="utf-8")
    os.replace(fresh, place.card)


class Silences:
    """Tells when a loop falls silent, and when all is well again; the processes may live and do nothing."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._next_s = time.monotonic() + settings.LOOP_SILENT_AFTER_S
        self._told = False

    def look(self) -> None:
        """Ask the database every few seconds."""
        if time.monotonic() < self._next_s:
            return
        self._next_s = time.monotonic() + ASK_EVERY_S
        problems = loop_problems()
        if problems and not self._told:
            self._say(f"NOT WELL: {'; '.join(problems)}. `python manage.py doctor` says what helps.")
        if self._told and not problems:
            self._say("All loops are heard of again.")
        self._told = bool(problems)


def loop_problems() -> list[str]:
    """What is wrong with the loops, in words; also that nobody can know."""
    try:
        return health.judge(health.measure_loops(clock.now()))
    except Error as error:
        return [f"the database cannot be read ({type(error).__name__})"]
    finally:
        connection.close()


# --- from another terminal


def status(place: Place, say: Say) -> int:
    """What runs, and whether the loops are heard of; 0 only when everything is well."""
    if is_free(place.lock):
        say(f"Nothing runs in {place.data}.")
        return 1
    card = read_card(place)
    for member in card["members"]:
        again = f", started again {member['restarts']} times" if member["restarts"] else ""
        say(f"{member['name']}: process {member['pid'] or 'none, waits to be started again'}{again}")
    problems = loop_problems()
    for problem in problems:
        say(f"NOT WELL: {problem}")
    if not is_alive(card["supervisor"]):
        problems = [*problems, "orphans"]
        say("NOT WELL: who started them is gone, and nobody starts them again: --stop, then start anew.")
    return 1 if problems else 0


def stop(place: Place, say: Say) -> int:
    """Ask for the end and wait for it; 1 when something still runs then."""
    if is_free(place.lock):
        say(f"Nothing runs in {place.data}.")
        return 0
    place.stop.touch()
    card = read_card(place)
    if not is_alive(card["supervisor"]):
        _end_orphans(card["members"])
    deadline_s = time.monotonic() + STOP_WITHIN_S + 15
    pause = threading.Event()
    while not is_free(place.lock):
        if time.monotonic() > deadline_s:
            say(f"Something still runs in {place.data}: see --status.")
            return 1
        pause.wait(LOOK_EVERY_S)
    place.stop.unlink(missing_ok=True)
    place.card.unlink(missing_ok=True)
    say("Stopped.")
    return 0


def read_card(place: Place) -> dict[str, Any]:
    """What `write_card` wrote; nothing while the start has not come so far."""
    try:
        card: dict[str, Any] = json.loads(place.card.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"supervisor": os.getpid(), "members": []}
    return card


def is_alive(pid: int) -> bool:
    """Whether such a process exists. Windows would end it if it were asked this way: there it counts as alive."""
    if ON_WINDOWS:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end_orphans(members: Sequence[dict[str, Any]]) -> None:
    """End the processes whose command is still the one that was started under that number."""
    for member in reversed(members):
        if member["pid"] and " ".join(member["arguments"]).strip() in _command_of(member["pid"]):
            with contextlib.suppress(ProcessLookupError):
                os.kill(member["pid"], signal.SIGTERM)


def _command_of(pid: int) -> str:
    listed = subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True, check=False)  # noqa: S603, S607
    return listed.stdout
