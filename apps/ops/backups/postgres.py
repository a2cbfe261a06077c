"""PostgreSQL into a dump and back, by pg_dump and pg_restore; the password goes through their environment alone."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.db import Error, connection, transaction
from django.db.backends.postgresql.client import DatabaseClient

from apps.ops.backups.archive import CHUNK, HashedStream, Manifest
from apps.ops.backups.troubles import BackupTrouble, NoBackup, NoRestore

SCHEMA = "public"
ASIDE = "before_restore_"
OTHER_SESSIONS = """
    SELECT coalesce(nullif(application_name, ''), usename), count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend' GROUP BY 1
"""
LEFT_ASIDE = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s) ORDER BY 1"
WRITES_ALL_THE_SAME = "-c default_transaction_read_only=off"


@dataclass(frozen=True, slots=True)
class Postgres:
    """The database that the connection is bound to."""

    is_packed: bool = True

    def name(self) -> str:
        """As `--replace` must say it."""
        return str(connection.settings_dict["NAME"])

    def versions(self) -> tuple[int, int]:
        """The server's major version and pg_dump's. Raises `NoBackup` where pg_dump is missing or too old."""
        server = server_version()
        tool = tool_version("pg_dump", NoBackup)
        if tool < server:
            raise NoBackup(
                f"pg_dump is of PostgreSQL {tool}, the server of {server}: install postgresql-client-{server} "
                "and put its folder first in PATH"
            )
        return server, tool

    def dump(self, out: HashedStream, folder: Path) -> None:
        """Write what this transaction sees, however long it takes and whatever is written meanwhile."""
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL idle_in_transaction_session_timeout = 0")
            cursor.execute("SELECT pg_export_snapshot()")
            snapshot = str(cursor.fetchone()[0])
        options = ("--format=custom", f"--schema={SCHEMA}", f"--snapshot={snapshot}")
        with _program("pg_dump", *options, trouble=NoBackup) as process:
            while chunk := _pipe(process.stdout).read(CHUNK):
                out.write(chunk)

    def check_fits(self, manifest: Manifest) -> None:
        """Raises `NoRestore` where server or pg_restore are older than those that the backup was made with."""
        server, tool = server_version(), tool_version("pg_restore", NoRestore)
        if server < manifest.server:
            raise NoRestore(
                f"the backup is of PostgreSQL {manifest.server}, this server is {server}: use a newer server"
            )
        if tool < manifest.tool:
            raise NoRestore(
                f"the backup is by pg_dump {manifest.tool}, pg_restore here is {tool}: "
                f"install postgresql-client-{manifest.tool} and put its folder first in PATH"
            )

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """An empty schema to load into; when the block fails, what was there before is there again.

        Meanwhile the database is read-only for everybody else: nothing can be bought from books that are not marked
        yet, not even when this process is killed in the middle.
        """
        _check_alone()
        try:
            _execute("SET default_transaction_read_only = off")
            _execute(f"ALTER DATABASE {_quoted(self.name())} SET default_transaction_read_only = on")
            aside = _put_aside()
        except Error as error:
            raise NoRestore(_not_owner(error)) from error
        try:
            yield
        except BaseException:
            _put_back(aside)
            _open_again(self.name())
            raise
        _drop_what_was_put_aside()
        _open_again(self.name())

    def load(self, dump: IO[bytes]) -> None:
        """Bring the dump into the empty schema, in one transaction. Raises `NoRestore`."""
        options = ("--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", f"--schema={SCHEMA}")
        environment = {"PGOPTIONS": f"{os.environ.get('PGOPTIONS', '')} {WRITES_ALL_THE_SAME}"}
        with (
            _program("pg_restore", *options, trouble=NoRestore, environment=environment) as process,
            contextlib.suppress(BrokenPipeError),  # it ended early: its exit code and its words tell why
        ):
            shutil.copyfileobj(dump, _pipe(process.stdin), CHUNK)


def server_version() -> int:
    """The major version of the server."""
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_version_num")
        return int(cursor.fetchone()[0]) // 10_000


def tool_version(name: str, trouble: type[BackupTrouble]) -> int:
    """The major version of a program of PostgreSQL on PATH; raises `trouble` where there is none."""
    path = _find(name, trouble)
    told = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S603
    found = re.search(r"\(PostgreSQL\) (\d+)", told)
    if found is None:
        raise trouble(f"{path} does not say its version: is it PostgreSQL's?")
    return int(found[1])


def _find(name: str, trouble: type[BackupTrouble]) -> str:
    path = shutil.which(name)
    if path is None:
        raise trouble(
            f"{name} is not on PATH: install PostgreSQL's client programs "
            f"(Debian: apt-get install postgresql-client; Windows: the folder bin of PostgreSQL)"
        )
    return path


@contextlib.contextmanager
def _program(
    name: str, *options: str, trouble: type[BackupTrouble], environment: Mapping[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Runs a program of PostgreSQL against our database; raises `trouble` with its words when it fails."""
    words, login = DatabaseClient.settings_to_cmd_args_env(connection.settings_dict, [])
    command = [_find(name, trouble), *words[1:-1], "--no-password", f"--dbname={words[-1]}", *options]
    variables = {**os.environ, **(login or {}), **(environment or {})}
    with tempfile.TemporaryFile() as said:
        process = subprocess.Popen(  # noqa: S603 - a program of PostgreSQL, with our own settings
            command, env=variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=said
        )
        try:
            yield process
        except BaseException:
            process.kill()
            raise
        finally:
            process.communicate()
        if process.returncode:
            said.seek(0)
            raise trouble(f"{name} failed: {_last_words(said.read())}")


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise ValueError("the program was started without this pipe")
    return pipe


def _last_words(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return " / ".join(lines[-3:]) or "it said nothing"


def _check_alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute(OTHER_SESSIONS)
        others = [f"{name} ({count})" for name, count in cursor.fetchall()]
    if others:
        raise NoRestore(f"others are connected to this database: {', '.join(others)}. Stop everything that uses it")


def _put_aside() -> str:
    aside = f"{ASIDE}{secrets.token_hex(4)}"
    with transaction.atomic():
        _execute(f"ALTER SCHEMA {SCHEMA} RENAME TO {aside}")
        _execute(f"CREATE SCHEMA {SCHEMA}")
    return aside


def _put_back(aside: str) -> None:
    with transaction.atomic():
        _execute(f"DROP SCHEMA {SCHEMA} CASCADE")
        _execute(f"ALTER SCHEMA {aside} RENAME TO {SCHEMA}")


def _drop_what_was_put_aside() -> None:
    with connection.cursor() as cursor:
        cursor.execute(LEFT_ASIDE, [ASIDE])
        for (name,) in cursor.fetchall():
            _execute(f"DROP SCHEMA {_quoted(name)} CASCADE")


def _open_again(name: str) -> None:
    _execute(f"ALTER DATABASE {_quoted(name)} RESET default_transaction_read_only")
    _execute("RESET default_transaction_read_only")


def _not_owner(error: Error) -> str:
    reason = str(error).strip().splitlines()[0]
    return f"{reason}. The database user must own the database and its schema public: ALTER DATABASE ... OWNER TO ..."


def _execute(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def _quoted(name: str) -> str:
    return connection.ops.quote_name(name)
