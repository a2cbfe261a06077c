"""The way back: a backup into an empty or named database, whole or not at all, and safe before anybody can use it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from django.core.management import call_command
from django.db import connection
from django.db.migrations.loader import MigrationLoader

from apps.common.crypto import CannotOpen, blind_index, hash_api_secret, open_text
from apps.common.logs import get_logger
from apps.journal.models import Heartbeat
from apps.ops import health
from apps.ops.backups.archive import Manifest, open_dump, read_archive
from apps.ops.backups.books import count_contents, differences, sum_ledger
from apps.ops.backups.engines import engine
from apps.ops.backups.making import MARK
from apps.ops.backups.troubles import BadBackup, NoRestore
from apps.ops.restored import jump_numbers, loops_at_work
from apps.orders.restored import Restored, after_restore

log = get_logger(__name__)

SHOWN = 5


@dataclass(frozen=True, slots=True)
class Done:
    """A restored database: what the backup was, how many migrations it lacked, and what was made safe."""

    manifest: Manifest
    migrated: int
    restored: Restored


def check_backup(path: Path, *, has_other_keys: bool) -> Manifest:
    """Read the whole file and say whether it could be restored by this code with these keys. Raises `BadBackup`."""
    manifest = read_archive(path)
    _check_vendor(manifest)
    _check_migrations(manifest)
    if not has_other_keys:
        _check_keys(manifest)
    return manifest


def restore(path: Path, *, replace: str, has_other_keys: bool, closed_within: timedelta, now: datetime) -> Done:
    """Load the backup, compare it with its manifest, migrate, and do what `after_restore` does, all or nothing.

    `replace` names the database whose contents are given up; empty for one that has none. Raises `BadBackup` or
    `NoRestore`, and the database is what it was.
    """
    manifest = check_backup(path, has_other_keys=has_other_keys)
    engine().check_fits(manifest)
    _check_target(replace, now)
    with engine().restoring():
        with open_dump(path) as dump:
            engine().load(dump)
        _check_contents(manifest)
        migrated = _migrate()
        _check_same("ledger", manifest.ledger, sum_ledger())
        jump_numbers()
        restored = after_restore(now, closed_within)
    log.warning("backup_restored", made_at=manifest.made_at, migrated=migrated)
    return Done(manifest, migrated, restored)


def _check_vendor(manifest: Manifest) -> None:
    if manifest.vendor != connection.vendor:
        raise BadBackup(f"the backup is of {manifest.vendor}, DATABASE_URL names {connection.vendor}")


def _check_migrations(manifest: Manifest) -> None:
    """Code that is older than the backup would write what it does not understand."""
    known = {f"{app}.{name}" for app, name in MigrationLoader(None).disk_migrations}
    if unknown := sorted(set(manifest.migrations) - known):
        raise BadBackup(f"the backup was made by newer code, which has {_some(unknown)}: restore with that code")


def _check_keys(manifest: Manifest) -> None:
    """What is sealed in the backup opens, codes are found again, and API keys go on to work."""
    same = {
        "FIELD_KEYS": _opens(manifest.keys.get("FIELD_KEYS", "")),
        "CODE_INDEX_KEY": manifest.keys.get("CODE_INDEX_KEY") == blind_index(MARK),
        "API_KEY_PEPPER": manifest.keys.get("API_KEY_PEPPER") == hash_api_secret(MARK),
    }
    if others := [name for name, is_same in same.items() if not is_same]:
        raise BadBackup(
            f"the backup was made with other keys: {', '.join(others)}. Put the .env that belongs to it in place; "
            "if it is lost for good, --other-keys restores what can be read without it"
        )


def _opens(sealed: str) -> bool:
    try:
        return open_text(sealed) == MARK
    except CannotOpen:
        return False


def _check_target(replace: str, now: datetime) -> None:
    name, tables = engine().name(), connection.introspection.table_names()
    if replace and replace != name:
        raise NoRestore(f"--replace names {replace}, and DATABASE_URL names {name}: nothing was touched")
    if tables and not replace:
        raise NoRestore(
            f"the database {name} is not empty: make an empty one and name it in DATABASE_URL, "
            f"or give up all that is in it with --replace {name}"
        )
    if Heartbeat._meta.db_table in tables and (at_work := loops_at_work(now)):
        raise NoRestore(f"still at work: {', '.join(at_work)}. Stop web, workers, beat and pollers, and wait a minute")


def _check_contents(manifest: Manifest) -> None:
    contents = count_contents()
    _check_same("rows", manifest.rows, contents.rows)
    _check_same("migrations", dict.fromkeys(manifest.migrations, 1), dict.fromkeys(contents.migrations, 1))


def _check_same(what: str, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
    if wrong := list(differences(expected, found)):
        raise NoRestore(f"what came back is not what was saved ({what}): {_some(wrong)}")


def _migrate() -> int:
    missing = health.unapplied_migrations()
    if missing:
        call_command("migrate", verbosity=0, interactive=False)
    return len(missing)


def _some(names: Iterable[str]) -> str:
    listed = list(names)
    return ", ".join(listed[:SHOWN]) + (f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else "")
