"""A backup while everything runs: one moment's view of the database, with what must come out of it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from django.db import connection

from apps.common.crypto import blind_index, hash_api_secret, seal_text
from apps.common.logs import get_logger
from apps.ops.backups.archive import FORMAT, HashedStream, Manifest, write_archive
from apps.ops.backups.books import count_contents, sum_ledger
from apps.ops.backups.engines import engine
from apps.ops.backups.troubles import NoBackup
from apps.ops.money_check import one_moment

log = get_logger(__name__)

MARK = "backup"
"""The text by which a restore knows whether the keys are those of the backup."""


def back_up(target: Path, now: datetime) -> tuple[Path, Manifest]:
    """Write everything that is in the database at this moment to a file, or into a folder under a name with the time.

    Raises `NoBackup`, and leaves no file then.
    """
    path = name_file(target, now)
    if not path.parent.is_dir():
        raise NoBackup(f"there is no folder {path.parent}")
    versions = engine().versions()
    with one_moment():
        manifest = write_archive(path, lambda out: _fill(out, path.parent, versions, now), is_packed=engine().is_packed)
    log.info("backup_made", tables=len(manifest.rows), rows=sum(manifest.rows.values()))
    return path, manifest


def name_file(target: Path, now: datetime) -> Path:
    """A folder gets a file of its own name: `orderhub-20260302T090000Z.backup`."""
    if not target.is_dir():
        return target
    return target / f"orderhub-{now.astimezone(UTC):%Y%m%dT%H%M%SZ}.backup"


def _fill(out: HashedStream, folder: Path, versions: tuple[int, int], now: datetime) -> Manifest:
    contents = count_contents()
    engine().dump(out, folder)
    return Manifest(
        format=FORMAT,
        made_at=now.isoformat(timespec="seconds"),
        vendor=connection.vendor,
        server=versions[0],
        tool=versions[1],
        sha256=out.sha256(),
        migrations=contents.migrations,
        rows=contents.rows,
        ledger=sum_ledger(),
        keys=marks(),
    )


def marks() -> dict[str, str]:
    """One fixed text under each key that the data need; none of the keys can be told from it."""
    return {
        "FIELD_KEYS": seal_text(MARK),
        "CODE_INDEX_KEY": blind_index(MARK),
        "API_KEY_PEPPER": hash_api_secret(MARK),
    }
