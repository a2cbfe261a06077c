"""All checks of the project, side by side: linters, types, and the tests on PostgreSQL and on SQLite.

Started by `scripts/test.py`, which makes the environment; what the checks demand stands in pyproject.toml. pytest's own
closing line of the PostgreSQL run is the last line printed, on success and on failure.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import NoReturn
from urllib.parse import urlsplit, urlunsplit

import _bootstrap

from tests.servers import ServerTrouble, shared_postgres, shared_valkey

ROOT = _bootstrap.ROOT
PYTHON = sys.executable
NEEDS_OPTION = {"slow": "full", "smoke": "ci", "browser": "ci"}
"""Markers whose tests run only with an option, and which one."""
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
IN_TWO = ("-n", "2", "--dist", "loadfile")
"""The whole suite in two processes, each with a database of its own; a file's tests stay together."""
APART = "smoke or browser"
"""Tests that start real processes: in CI they have a pytest of their own, since they wait more than they compute."""
ONCE_MORE = ("--reruns", "1", "--max-suite-reruns", "3", "--rerun-show-tracebacks")
"""CI shares its machine: a test that fails is run once more, and told with its traceback; a few in a run, no more."""
ONCE = ("tests/proof", "tests/chaos")
"""What must hold at the first try, since it looks for what happens seldom."""
DATABASE_OF_SQLITE = 7
"""The database of Valkey in which no other of these runs writes."""
NO_TESTS_COLLECTED = 5
"""pytest's exit code when the selection is empty."""
NEWS_EVERY_S = 30.0

LINTERS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("ruff check", (PYTHON, "-m", "ruff", "check", "--output-format=concise", ".")),
    ("ruff format", (PYTHON, "-m", "ruff", "format", "--check", "--output-format=concise", ".")),
    ("lint-imports", (str(Path(PYTHON).parent / "lint-imports"), "--no-logo")),
    ("djlint", (PYTHON, "-m", "djlint", "apps", "--lint", "--quiet")),
    ("codespell", (PYTHON, "-m", "codespell_lib")),
    ("bandit", (PYTHON, "-m", "bandit", "-q", "-ll", "-c", "pyproject.toml", "-r", "apps", "config", "scripts")),
    ("secrets", (PYTHON, "scripts/_secrets.py")),
    ("makemigrations", (PYTHON, "manage.py", "makemigrations", "--check", "--dry-run")),
    ("mypy", (PYTHON, "-m", "mypy")),
)


@dataclass(frozen=True)
class Finished:
    """One check that has run: its exit code, all it printed, and how long it took in seconds."""

    name: str
    code: int
    output: str
    took_s: float

    @property
    def is_good(self) -> bool:
        return self.code == 0


# --- running programs


class Runner:
    """Runs programs with their output in a file, tells in one line how each ended, and can end them all."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()

    def run(self, name: str, command: Sequence[str], environment: Mapping[str, str]) -> Finished:
        """Runs one program to its end; gives what it printed."""
        began = time.monotonic()
        path = self.output_of(name)
        with path.open("wb") as output:
            process = self._start(command, environment, output.fileno())
            code = process.wait()
        return Finished(name, code, path.read_text(errors="replace"), time.monotonic() - began)

    def output_of(self, name: str) -> Path:
        """The file that a program of this name writes to."""
        return self._folder / (re.sub(r"\W+", "-", name) + ".out")

    def end_all(self) -> None:
        """Ends what still runs: first as Ctrl-C would, after 10 s by force."""
        with self._lock:
            alive = [process for process in self._processes if process.poll() is None]
            for process in alive:
                _signal_group(process, signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)
            for process in alive:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(10)
                if process.poll() is None:
                    _signal_group(process, signal.SIGTERM if sys.platform == "win32" else signal.SIGKILL)

    def _start(self, command: Sequence[str], environment: Mapping[str, str], output: int) -> subprocess.Popen[bytes]:
        with self._lock:
            process = subprocess.Popen(
                command,
                env=environment,
                cwd=ROOT,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=sys.platform != "win32",
            )
            self._processes.append(process)
        return process


def _signal_group(process: subprocess.Popen[bytes], number: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        if sys.platform == "win32":
            process.send_signal(number)
        else:
            os.killpg(process.pid, number)


def tell(finished: Finished) -> None:
    """Prints one line for a check, and all that it printed when it failed."""
    verdict = "ok  " if finished.is_good else "FAIL"
    text = f"{verdict}  {finished.name:<20} {finished.took_s:6.1f} s"
    if not finished.is_good:
        text += f"\n{finished.output.rstrip()}\n"
    print(text, flush=True)


# --- the environment of the checks


def clean_environment(folder: Path) -> dict[str, str]:
    """The caller's environment with random secrets, its own data folder, SQLite, no broker; `.env` does not count."""
    folder.mkdir()
    settings = {
        "HUB_DATA_DIR": str(folder),
        "DATABASE_URL": f"sqlite:///{folder / 'db.sqlite3'}",
        "REDIS_URL": "",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "DEBUG": "false",
        "PRODUCTION": "false",
        "HUB_STRICT_TESTS": "1",
    }
    return {**os.environ, **_bootstrap.random_secrets(), **settings}


def with_servers(database: str, broker: str) -> dict[str, str]:
    """What names a PostgreSQL and a Valkey to the tests."""
    return {"DATABASE_URL": database, "TEST_DATABASE_URL": database, "REDIS_URL": broker, "TEST_REDIS_URL": broker}


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turns the signals that end a program into an ordinary exit, so that servers and folders are cleaned up."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        print(f"Ended by {signal.Signals(number).name}; cleaning up.", file=sys.stderr, flush=True)
        raise SystemExit(128 + number)

    posix_only = [] if sys.platform == "win32" else [signal.SIGHUP]
    numbers = [signal.SIGINT, signal.SIGTERM, *posix_only]
    before = {number: signal.signal(number, leave) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


# --- the checks


def run_linters(runner: Runner, environment: Mapping[str, str]) -> list[Finished]:
    """Runs the linters one after the other and tells each result at once."""
    results = []
    for name, command in LINTERS:
        results.append(judge_linter(runner.run(name, command, environment)))
        tell(results[-1])
    return results


def judge_linter(finished: Finished) -> Finished:
    """djlint calls it an error when no template exists yet; nothing to check is good."""
    if finished.name == "djlint" and not any((ROOT / "apps").glob("*/templates/**/*.html")):
        return Finished(finished.name, 0, finished.output, finished.took_s)
    return finished


def selection(options: argparse.Namespace) -> str:
    """pytest's marker expression: everything but what needs an option that was not given."""
    return " and ".join(f"not {marker}" for marker, option in NEEDS_OPTION.items() if not getattr(options, option))


def selection_on_postgres(options: argparse.Namespace) -> str:
    """The same without what has a pytest of its own in CI; a caller who chooses the tests has one pytest."""
    return both(selection(options), f"not ({APART})" if is_split(options) else "")


def is_split(options: argparse.Namespace) -> bool:
    return options.ci and not options.pytest


def both(*expressions: str) -> str:
    """One marker expression of those that say anything."""
    return " and ".join(filter(None, expressions))


def selection_on_sqlite(options: argparse.Namespace) -> str:
    """What is marked `both_databases`; pages only when everything is run, or when the caller has chosen the tests."""
    pages = "" if options.full or options.pytest else "not page"
    return both("both_databases and not postgres", pages, selection(options))


def tries(options: argparse.Namespace) -> list[str]:
    """pytest's options for how often a test is tried: once, but in CI."""
    if not options.ci:
        return []
    return [*ONCE_MORE, *(f"--rerun-exclude-path={folder}" for folder in ONCE)]


def pytest_command(expression: str, *arguments: str) -> list[str]:
    color = "--color=yes" if sys.stdout.isatty() else "--color=no"
    return [PYTHON, "-m", "pytest", color, "-m", expression, *arguments]


def run_on_postgres(runner: Runner, environment: Mapping[str, str], options: argparse.Namespace) -> Finished:
    """The whole suite on PostgreSQL."""
    command = pytest_command(selection_on_postgres(options), *tries(options), *(options.pytest or IN_TWO))
    return require_tests(runner.run("pytest (PostgreSQL)", command, environment))


def run_apart(runner: Runner, environment: Mapping[str, str], options: argparse.Namespace) -> Finished:
    """The tests that start real processes, on PostgreSQL, too."""
    own_cache = ("-o", "cache_dir=.pytest_cache/processes")
    command = pytest_command(both(f"({APART})", selection(options)), *own_cache, *tries(options))
    return require_tests(runner.run("pytest (processes)", command, environment))


def run_on_sqlite(runner: Runner, environment: Mapping[str, str], options: argparse.Namespace, broker: str) -> Finished:
    """The tests marked `both_databases` on SQLite; the caller's own selection may leave none of them."""
    own_cache = ("-o", "cache_dir=.pytest_cache/sqlite")
    command = pytest_command(selection_on_sqlite(options), *own_cache, *tries(options), *options.pytest)
    own_broker = urlunsplit(urlsplit(broker)._replace(path=f"/{DATABASE_OF_SQLITE}"))
    finished = runner.run("pytest (SQLite)", command, {**environment, "TEST_REDIS_URL": own_broker})
    if options.pytest and finished.code == NO_TESTS_COLLECTED:
        return Finished(finished.name, 0, finished.output, finished.took_s)
    return require_tests(finished)


def require_tests(finished: Finished) -> Finished:
    """A run whose closing line counts no executed test is a failure."""
    executed = re.findall(r"(\d+) (?:passed|failed|errors?|xfailed|xpassed)", closing_line(finished))
    if finished.is_good and not any(int(count) for count in executed):
        return Finished(finished.name, NO_TESTS_COLLECTED, finished.output, finished.took_s)
    return finished


def closing_line(finished: Finished) -> str:
    return finished.output.rstrip().rpartition("\n")[2]


def check_browser(options: argparse.Namespace) -> list[Finished]:
    """A missing browser is one clear failure before the tests that need it fail."""
    if not options.ci or any(map(shutil.which, BROWSERS)):
        return []
    sentence = "The browser tests need Chromium; install it, for example with: sudo apt-get install chromium"
    missing = Finished("chromium", 1, sentence, 0.0)
    tell(missing)
    return [missing]


# --- the run


def run_checks(options: argparse.Namespace, runner: Runner, folder: Path) -> int:
    """Runs everything; prints the results; gives the exit code."""
    results = check_browser(options)
    with (
        shared_postgres() as database,
        shared_valkey() as broker,
        ThreadPoolExecutor() as pool,
        contextlib.ExitStack() as cleanup,
    ):
        cleanup.callback(runner.end_all)  # before the pool waits for its threads
        servers = with_servers(database, broker)
        postgres = pool.submit(run_on_postgres, runner, clean_environment(folder / "postgres") | servers, options)
        others = [pool.submit(run_on_sqlite, runner, clean_environment(folder / "sqlite"), options, broker)]
        if is_split(options):
            others += [pool.submit(run_apart, runner, clean_environment(folder / "processes") | servers, options)]
        if not options.fast:
            results += run_linters(runner, clean_environment(folder / "linters"))
        await_with_news(postgres, runner.output_of("pytest (PostgreSQL)"))
        return report(results, *(run.result() for run in others), postgres.result())


def await_with_news(run: Future[Finished], output: Path) -> None:
    """Waits for the long run; every 30 s one line says how far it is."""
    began = time.monotonic()
    while not run.done():
        with contextlib.suppress(TimeoutError):
            run.result(NEWS_EVERY_S)
            return
        percent = re.findall(r"\[ *(\d+%)\]", output.read_text(errors="replace"))
        how_far = f"{percent[-1] if percent else 'starting'}, {time.monotonic() - began:.0f} s"
        print(f"...   pytest (PostgreSQL)   {how_far}", flush=True)


def report(results: list[Finished], *tests: Finished) -> int:
    """Prints the tests' output and which checks failed; pytest's closing line of the last run comes last."""
    *others, postgres = tests
    printed = [run.output.rstrip() for run in others] + [postgres.output.rstrip().rpartition("\n")[0]]
    print("\n" + "\n\n".join(printed))
    everything = [*results, *tests]
    for run in tests:
        print(f"{'ok  ' if run.is_good else 'FAIL'}  {run.name:<20} {run.took_s:6.1f} s")
        if run.code == NO_TESTS_COLLECTED:
            print(f"{run.name}: no test was executed, which counts as a failure.")
    failed = [finished.name for finished in everything if not finished.is_good]
    print(f"Failed: {', '.join(failed)}." if failed else f"All {len(everything)} checks passed.")
    print(closing_line(postgres), flush=True)
    return 1 if failed else 0


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options; what follows `--` goes to pytest."""
    own, separator, rest = list(arguments), False, list[str]()
    if "--" in own:
        separator = True
        own, rest = own[: own.index("--")], own[own.index("--") + 1 :]
    parser = argparse.ArgumentParser(
        prog="scripts/test.py",
        description="Checks the whole project: linters, types, tests on PostgreSQL and on SQLite.",
        epilog="What follows -- goes to pytest, for example: scripts/test.py --fast -- tests/unit -k money",
    )
    parser.add_argument("--fast", action="store_true", help="skip linters and types")
    parser.add_argument("--full", action="store_true", help="also the tests marked slow")
    parser.add_argument("--ci", action="store_true", help="also the tests marked smoke and browser")
    options = parser.parse_args(own)
    options.pytest = rest if separator else []
    return options


def main() -> int:
    """Runs the checks in a temporary folder and leaves nothing behind."""
    options = parse(sys.argv[1:])
    with ended_by_signals(), tempfile.TemporaryDirectory(prefix="order-hub-checks-") as folder:
        runner = Runner(Path(folder))
        try:
            return run_checks(options, runner, Path(folder))
        except ServerTrouble as trouble:
            print(f"FAIL  {trouble}", file=sys.stderr)
            return 1


if __name__ == "__main__":
    sys.exit(main())
