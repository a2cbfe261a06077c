"""The file of a backup: a zip with the database's dump and `manifest.json`, which says what must come out of it."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO

from apps.ops.backups.books import Ledger
from apps.ops.backups.troubles import BadBackup, NoBackup

FORMAT = 1
DUMP, MANIFEST = "database.dump", "manifest.json"
CHUNK = 1 << 20
LARGEST_MANIFEST = 16 << 20


@dataclass(frozen=True, slots=True)
class Manifest:
    """What stands beside the dump.

    `server` and `tool` are the major versions of PostgreSQL and of its pg_dump (0 with SQLite); `sha256` is the dump's.
    `keys` shows which keys the data belong to, without giving any away.
    """

    format: int
    made_at: str
    vendor: str
    server: int
    tool: int
    sha256: str
    migrations: list[str]
    rows: dict[str, int]
    ledger: Ledger
    keys: dict[str, str]


class HashedStream:
    """Passes bytes on to a file and keeps their SHA-256."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()

    def write(self, data: bytes) -> None:
        """Pass on."""
        self._file.write(data)
        self._digest.update(data)

    def sha256(self) -> str:
        """Of all that was written, in hex."""
        return self._digest.hexdigest()


Fill = Callable[[HashedStream], Manifest]
"""Writes the dump and returns its manifest."""


def write_archive(path: Path, fill: Fill, *, is_packed: bool) -> Manifest:
    """Make the file, readable by its owner alone; it appears under its name whole, or not at all.

    `is_packed`: the dump is compressed already. Raises `NoBackup`.
    """
    part = path.with_name(path.name + ".part")
    if path.exists():
        raise NoBackup(f"{path} exists already: choose another name")
    try:
        manifest = _write_part(part, fill, is_packed=is_packed)
        os.replace(part, path)
        sync_folder(path.parent)
    except OSError as error:
        raise NoBackup(f"{path} cannot be written: {error.strerror or error}. Nothing of it is left") from error
    finally:
        part.unlink(missing_ok=True)
    return manifest


def _write_part(part: Path, fill: Fill, *, is_packed: bool) -> Manifest:
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    compression = zipfile.ZIP_STORED if is_packed else zipfile.ZIP_DEFLATED
    with os.fdopen(descriptor, "w+b") as file:
        with zipfile.ZipFile(file, "w", compression) as archive:
            with archive.open(DUMP, "w", force_zip64=True) as member:
                manifest = fill(HashedStream(member))
            archive.writestr(MANIFEST, json.dumps(asdict(manifest), indent=1))
        file.flush()
        os.fsync(file.fileno())
    return manifest


def sync_folder(folder: Path) -> None:
    """A new name in a folder survives a power cut; Windows keeps it without being asked."""
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_archive(path: Path) -> Manifest:
    """The manifest of a backup whose dump is, byte for byte, what was written. Raises `BadBackup`."""
    with _opened(path) as archive:
        manifest = _read_manifest(archive, path)
        if _digest(archive) != manifest.sha256:
            raise BadBackup(f"{path} is damaged: the dump has another checksum than when it was made")
    return manifest


@contextlib.contextmanager
def open_dump(path: Path) -> Iterator[IO[bytes]]:
    """The dump as a stream. Raises `BadBackup`."""
    with _opened(path) as archive, archive.open(DUMP) as member:
        yield member


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield archive
    except FileNotFoundError as error:
        raise BadBackup(f"there is no file {path}") from error
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise BadBackup(f"{path} is damaged, or no backup of a hub ({error})") from error


def _read_manifest(archive: zipfile.ZipFile, path: Path) -> Manifest:
    try:
        told = json.loads(archive.open(MANIFEST).read(LARGEST_MANIFEST))
        archive.getinfo(DUMP)
        if told["format"] != FORMAT:
            raise BadBackup(
                f"{path} has form {told['format']}, this code reads form {FORMAT}: use the code that made it"
            )
        return Manifest(**told)
    except (KeyError, TypeError, ValueError) as error:
        raise BadBackup(f"{path} is no backup of a hub: its {MANIFEST} cannot be read") from error


def _digest(archive: zipfile.ZipFile) -> str:
    digest = hashlib.sha256()
    with archive.open(DUMP) as member:
        while chunk := member.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()
