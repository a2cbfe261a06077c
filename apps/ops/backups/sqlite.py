"""An SQLite file into a dump and back: a copy by SQLite's own backup, and a new file that takes the old one's name."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from django.db import connection

from apps.ops.backups.archive import CHUNK, HashedStream, Manifest, sync_folder
from apps.ops.backups.troubles import NoBackup, NoRestore

BESIDE = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a file while it is open."""


@dataclass(frozen=True, slots=True)
class Sqlite:
    """The file that the connection is bound to."""

    is_packed: bool = False

    def name(self) -> str:
        """As `--replace` must say it."""
        return _file().name

    def versions(self) -> tuple[int, int]:
        """Every SQLite reads the files of every other."""
        return 0, 0

    def dump(self, out: HashedStream, folder: Path) -> None:
        """Write what this transaction sees, while others go on; the copy stands in `folder` meanwhile."""
        with tempfile.TemporaryDirectory(dir=folder, prefix=".backup-") as scratch:
            copy = Path(scratch) / "copy.sqlite3"
            try:
                _copy_to(copy)
            except sqlite3.Error as error:
                raise NoBackup(f"the copy of {_file()} failed: {error}. Is there room in {folder}?") from error
            with copy.open("rb") as file:
                while chunk := file.read(CHUNK):
                    out.write(chunk)

    def check_fits(self, manifest: Manifest) -> None:
        """Nothing to object."""

    @contextlib.contextmanager
    def restoring(self) -> Iterator[None]:
        """The connection is bound to a new file, which replaces the old one when the block is over, and only then."""
        target = _file()
        part = target.with_name(target.name + ".restoring")
        connection.close()
        with _locked(target) as lock:
            connection.settings_dict["NAME"] = str(part)
            try:
                yield
                connection.close()
                lock.close()
                _put_in_place(part, target)
            finally:
                connection.close()
                connection.settings_dict["NAME"] = str(target)
                _remove(part)

    def load(self, dump: IO[bytes]) -> None:
        """Bring the dump into the new file. Raises `NoRestore`."""
        part = _file()
        try:
            with part.open("wb") as file:
                shutil.copyfileobj(dump, file, CHUNK)
            _check_whole(part)
        except OSError as error:
            raise NoRestore(f"{part} cannot be written: {error.strerror or error}") from error


def _file() -> Path:
    return Path(connection.settings_dict["NAME"])


def _copy_to(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as copy:
        connection.connection.backup(copy)
        copy.execute("PRAGMA journal_mode=DELETE")


@contextlib.contextmanager
def _locked(target: Path) -> Iterator[sqlite3.Connection]:
    """Nobody else has the file open, and nobody can read or write it until the lock is closed."""
    with contextlib.closing(sqlite3.connect(target, timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("PRAGMA journal_mode=DELETE")  # refused while anybody else has it open
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise NoRestore(f"{target} is in use ({error}). Stop everything that uses it") from error
        yield lock


def _check_whole(path: Path) -> None:
    with contextlib.closing(sqlite3.connect(path)) as file:
        try:
            (answer,) = file.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            raise NoRestore(f"the dump is no database: {error}") from error
    if answer != "ok":
        raise NoRestore(f"the dump is a damaged database: {answer}")


def _put_in_place(part: Path, target: Path) -> None:
    descriptor = os.open(part, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(part, target)
    sync_folder(target.parent)


def _remove(part: Path) -> None:
    for suffix in ("", *BESIDE):
        part.with_name(part.name + suffix).unlink(missing_ok=True)
