"""`manage.py backup` and `restore`: what was saved comes back to the last micro-unit, and nothing is bought again."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import stat
import sys
import zipfile
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from cryptography.fernet import Fernet
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings

from apps.common import clock
from apps.journal import heartbeats
from apps.ops.backups import books, restoring
from apps.ops.backups.archive import DUMP, MANIFEST
from apps.ops.backups.books import Ledger, sum_ledger
from apps.ops.backups.making import back_up
from apps.ops.backups.restoring import restore
from apps.ops.backups.troubles import BackupTrouble, BadBackup, NoBackup, NoRestore
from apps.ops.health import unapplied_migrations
from apps.orders import services
from apps.orders.models import Order
from apps.orders.restored import Restored
from tests.factories import NOWHERE, Shop, Stage, check_invariants, make_shop, order_from, pins_of, standing_of
from tests.functional.backup_fixtures import bound_to_empty, programs
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.ops_fixtures import run

__all__ = ["committed", "programs", "simulator", "stage"]

pytestmark = [pytest.mark.both_databases, pytest.mark.usefixtures("programs")]

HELD = ("review", "not_sent", "waiting:restored")
SAVED = ("completed", "rejected", "processing", "doubtful", "waiting")
"""The orders of the drill that are in the backup, by where they stood."""


def bring_back(path: Path, *, replace: str = "", has_other_keys: bool = False) -> restoring.Done:
    return restore(
        path,
        replace=replace,
        has_other_keys=has_other_keys,
        closed_within=timedelta(hours=24),
        now=clock.now(),
    )


def place_orders(stage: Stage, shop: Shop) -> dict[str, Order]:
    """One order for each of SAVED."""
    orders = {
        "completed": stage.order(shop, complete_after_s=5),
        "rejected": stage.order(shop, place="refuse", refuse_class="product"),
    }
    stage.run_until_quiet()
    orders["processing"] = stage.order(shop, complete_after_s=300)
    orders["doubtful"] = stage.order(shop, place="accept_then_reset", complete_after_s=300)
    for name in ("processing", "doubtful"):
        services.try_auto_dispatch(orders[name].pk)
    orders["waiting"] = stage.order(shop, complete_after_s=5)
    return orders


def bought(stage: Stage) -> list[str]:
    """Every purchase that the panel made, by our reference."""
    return sorted(entry["reference"] for entry in stage.truth("bought"))


@pytest.fixture
def saved(committed: None, tmp_path: Path) -> Path:
    """A backup of a shop with an order that waits."""
    order_from(make_shop(NOWHERE))
    return back_up(tmp_path / "shop.backup", clock.now())[0]


class TestTheDrill:
    def test_brings_money_back_and_buys_nothing_again(self, stage: Stage, tmp_path: Path) -> None:
        shop = make_shop(stage.url)
        orders = place_orders(stage, shop)
        pins, sums = pins_of(orders["completed"]), sum_ledger()
        assert pins
        path, _ = back_up(tmp_path, clock.now())

        services.try_auto_dispatch(orders["waiting"].pk)
        later = stage.order(shop, complete_after_s=5)
        stage.run_until_quiet()
        purchases = bought(stage)
        assert len(purchases) == 5
        assert sum_ledger() != sums

        with bound_to_empty(tmp_path):
            done = bring_back(path)
            assert (done.migrated, done.restored.marked, done.restored.for_people) == (0, 3, 1)
            assert sum_ledger() == sums
            check_invariants()
            assert pins_of(orders["completed"]) == pins
            assert standing_of(orders["waiting"]) == HELD
            assert not Order.objects.filter(pk=later.pk).exists()

            stage.run_until_quiet()
            assert bought(stage) == purchases
            assert {name: standing_of(orders[name])[0] for name in SAVED} == {
                "completed": "completed",
                "rejected": "rejected",
                "processing": "completed",
                "doubtful": "completed",
                "waiting": "review",
            }
            check_invariants()
            assert order_from(shop).pk > later.pk + 1000  # its number is nobody else's

    def test_is_the_same_by_the_commands(self, saved: Path, tmp_path: Path) -> None:
        sums = sum_ledger()
        told = json.loads(run("backup", str(tmp_path / "again.backup"), "--json"))
        with bound_to_empty(tmp_path):
            assert json.loads(run("restore", told["file"], "--check", "--json"))["sha256"] == told["sha256"]
            assert connection.introspection.table_names() == []
            assert json.loads(run("restore", told["file"], "--json"))["marked"] == 1
            assert sum_ledger() == sums
            assert "is not empty" in refusal_of("restore", told["file"])


def refusal_of(*command: str) -> str:
    with pytest.raises(CommandError) as refused:
        run(*command)
    return str(refused.value)


class TestABackup:
    def test_is_of_one_moment(self, committed: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is written between the count and the copy is in neither."""

        def count_then_write() -> books.Contents:
            counted = books.count_contents()
            with a_second_connection() as other:
                row = "(session_key, session_data, expire_date) VALUES ('late', 'data', '2030-01-01 00:00:00')"
                other.cursor().execute("INSERT INTO django_session " + row)
                other.commit()
            return counted

        monkeypatch.setattr("apps.ops.backups.making.count_contents", count_then_write)
        path, _ = back_up(tmp_path, clock.now())
        assert Session.objects.count() == 1
        with bound_to_empty(tmp_path):
            bring_back(path)
            assert Session.objects.count() == 0

    def test_in_a_folder_is_named_by_its_time(self, saved: Path, stage: Stage, tmp_path: Path) -> None:
        path, manifest = back_up(tmp_path, clock.now())
        assert path == tmp_path / "orderhub-20260302T090000Z.backup"
        assert manifest.made_at == "2026-03-02T09:00:00+00:00"

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows has no file modes")
    def test_is_readable_by_its_owner_alone(self, saved: Path) -> None:
        assert stat.S_IMODE(saved.stat().st_mode) == 0o600

    def test_never_overwrites_a_file(self, saved: Path) -> None:
        before = saved.read_bytes()
        with pytest.raises(NoBackup, match="exists already"):
            back_up(saved, clock.now())
        assert saved.read_bytes() == before

    def test_without_its_folder_is_refused(self, committed: None, tmp_path: Path) -> None:
        with pytest.raises(NoBackup, match="there is no folder"):
            back_up(tmp_path / "nowhere" / "file", clock.now())

    @pytest.mark.skipif(sys.platform == "win32", reason="Windows cannot limit the length of files")
    def test_leaves_nothing_when_the_disk_is_full(self, committed: None, tmp_path: Path) -> None:
        make_shop(NOWHERE)
        with small_files(20_000), pytest.raises(NoBackup):
            back_up(tmp_path / "shop.backup", clock.now())
        assert list(tmp_path.iterdir()) == []

    def test_gives_no_key_and_no_password_away(self, saved: Path) -> None:
        with zipfile.ZipFile(saved) as archive:
            told = archive.read(MANIFEST).decode()
        keys = [os.environ["CODE_INDEX_KEY"], os.environ["API_KEY_PEPPER"], os.environ["FIELD_KEYS"].partition(":")[2]]
        assert [key for key in (*keys, password() or keys[0]) if key in told] == []


def password() -> str:
    return str(connection.settings_dict["PASSWORD"])


def database_url() -> str:
    """The address of the database that the tests are bound to."""
    at = connection.settings_dict
    if connection.vendor == "sqlite":
        return f"sqlite:///{at['NAME']}"
    return f"postgresql://{at['USER']}:{at['PASSWORD']}@{at['HOST']}:{at['PORT']}/{at['NAME']}"


@contextlib.contextmanager
def small_files(limit: int) -> Iterator[None]:
    """Meanwhile no file of this process may become longer, as on a disk that is full."""
    import resource  # Windows has none

    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.postgres
class TestThePrograms:
    @pytest.fixture
    def bin(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        """A folder that is all of PATH."""
        folder = tmp_path / "bin"
        folder.mkdir()
        monkeypatch.setenv("PATH", str(folder))
        return folder

    def test_that_are_missing_are_named(self, saved: Path, bin: Path, tmp_path: Path) -> None:
        with pytest.raises(NoBackup, match=r"^pg_dump is not on PATH: install PostgreSQL's client programs"):
            back_up(tmp_path, clock.now())
        with bound_to_empty(tmp_path), pytest.raises(NoRestore, match=r"^pg_restore is not on PATH"):
            bring_back(saved)

    def test_that_are_too_old_are_refused(self, saved: Path, bin: Path, tmp_path: Path) -> None:
        for name in ("pg_dump", "pg_restore"):
            put_program(bin / name, f"echo '{name} (PostgreSQL) 9.6.1'")
        with pytest.raises(NoBackup, match=r"^pg_dump is of PostgreSQL 9, the server of \d+: install"):
            back_up(tmp_path, clock.now())
        with bound_to_empty(tmp_path), pytest.raises(NoRestore, match=r"pg_restore here is 9: install"):
            bring_back(saved)

    def test_that_fail_are_quoted(self, saved: Path, bin: Path, tmp_path: Path) -> None:
        put_program(
            bin / "pg_dump", "[ \"$1\" = --version ] && echo '(PostgreSQL) 99.1' || { echo no luck >&2; exit 3; }"
        )
        with pytest.raises(NoBackup, match=r"^pg_dump failed: no luck$"):
            back_up(tmp_path / "failed.backup", clock.now())
        assert sorted(path.name for path in tmp_path.iterdir()) == ["bin", "shop.backup"]

    def test_never_see_the_password_in_their_arguments(self, saved: Path, bin: Path, tmp_path: Path) -> None:
        put_program(bin / "pg_dump", f"echo \"$@\" >> {tmp_path}/words; echo '(PostgreSQL) 99.1'")
        back_up(tmp_path / "other.backup", clock.now())
        words = (tmp_path / "words").read_text()
        assert "--format=custom" in words
        assert password() not in words


def put_program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


class TestADamagedFile:
    def test_with_another_byte_is_refused(self, saved: Path, tmp_path: Path) -> None:
        data = bytearray(saved.read_bytes())
        data[len(data) // 3] ^= 1
        saved.write_bytes(data)
        with pytest.raises(BadBackup, match="is damaged"):
            bring_back(saved)

    def test_that_was_cut_off_is_refused(self, saved: Path) -> None:
        saved.write_bytes(saved.read_bytes()[:-2000])
        with pytest.raises(BadBackup, match="is damaged, or no backup of a hub"):
            bring_back(saved)

    def test_with_another_dump_is_refused(self, saved: Path) -> None:
        rewrite(saved, dump=b"another")
        with pytest.raises(BadBackup, match="another checksum than when it was made"):
            bring_back(saved)

    @pytest.mark.parametrize("manifest", ["rubbish", "{}", '{"format": 1}', "[]"])
    def test_without_its_manifest_is_refused(self, saved: Path, manifest: str) -> None:
        rewrite(saved, manifest=manifest)
        with pytest.raises(BadBackup, match=r"its manifest\.json cannot be read"):
            bring_back(saved)

    def test_that_is_not_there_is_refused(self, committed: None, tmp_path: Path) -> None:
        with pytest.raises(BadBackup, match="there is no file"):
            bring_back(tmp_path / "none")


def rewrite(path: Path, *, dump: bytes | None = None, manifest: str | None = None, **changes: object) -> None:
    """The same backup with another dump, or with something else in its manifest."""
    with zipfile.ZipFile(path) as archive:
        old_dump, told = archive.read(DUMP), json.loads(archive.read(MANIFEST))
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(DUMP, old_dump if dump is None else dump)
        archive.writestr(MANIFEST, json.dumps({**told, **changes}) if manifest is None else manifest)


class TestABackupOfElsewhere:
    def test_of_another_database_is_refused(self, saved: Path) -> None:
        rewrite(saved, vendor="oracle")
        with pytest.raises(BadBackup, match="the backup is of oracle, DATABASE_URL names"):
            bring_back(saved)

    def test_of_another_form_is_refused(self, saved: Path) -> None:
        rewrite(saved, format=2)
        with pytest.raises(BadBackup, match="has form 2, this code reads form 1"):
            bring_back(saved)

    @pytest.mark.postgres
    def test_of_a_newer_server_is_refused(self, saved: Path, tmp_path: Path) -> None:
        rewrite(saved, server=99)
        with bound_to_empty(tmp_path), pytest.raises(NoRestore, match="the backup is of PostgreSQL 99"):
            bring_back(saved)

    def test_of_newer_code_is_refused(self, committed: None, tmp_path: Path) -> None:
        recorder = MigrationRecorder(connection)
        recorder.record_applied("orders", "9999_of_tomorrow")
        try:
            path, _ = back_up(tmp_path, clock.now())
        finally:
            recorder.record_unapplied("orders", "9999_of_tomorrow")
        with bound_to_empty(tmp_path), pytest.raises(BadBackup, match="newer code, which has orders"):
            bring_back(path)

    def test_of_older_code_is_migrated(self, saved: Path, tmp_path: Path) -> None:
        with bound_to_empty(tmp_path):
            bring_back(saved)
            call_command("migrate", "webhooks", "zero", verbosity=0)
            lacking = len(unapplied_migrations())
            assert lacking > 0
            old, _ = back_up(tmp_path / "old.backup", clock.now())
            with bound_to_empty(tmp_path):
                assert bring_back(old).migrated == lacking
                assert unapplied_migrations() == []
                check_invariants()

    def test_of_other_keys_is_refused_unless_they_are_lost(self, saved: Path, tmp_path: Path) -> None:
        others = {
            "FIELD_KEYS": f"k1:{Fernet.generate_key().decode()}",
            "CODE_INDEX_KEY": "ab" * 32,
            "API_KEY_PEPPER": "cd" * 32,
        }
        for name, key in others.items():
            with override_settings(**{name: key}), pytest.raises(BadBackup, match=f"other keys: {name}. Put the .env"):
                bring_back(saved)
        with bound_to_empty(tmp_path), override_settings(**others):
            assert bring_back(saved, has_other_keys=True).restored.marked == 1

    def test_of_rotated_keys_is_restored(self, saved: Path, tmp_path: Path) -> None:
        keys = f"k9:{Fernet.generate_key().decode()},{os.environ['FIELD_KEYS']}"
        with bound_to_empty(tmp_path), override_settings(FIELD_KEYS=keys):
            assert bring_back(saved).restored.marked == 1


class TestTheTarget:
    @pytest.fixture
    def full(self, saved: Path, tmp_path: Path) -> Iterator[str]:
        """The connection leads to a database that holds the shop already, with a second customer's money."""
        with bound_to_empty(tmp_path) as name:
            bring_back(saved)
            make_shop(NOWHERE)
            yield name

    def test_that_is_not_empty_must_be_named(self, saved: Path, full: str) -> None:
        before = sum_ledger()
        with pytest.raises(NoRestore, match=f"the database {full} is not empty"):
            bring_back(saved)
        with pytest.raises(NoRestore, match=f"--replace names other, and DATABASE_URL names {full}"):
            bring_back(saved, replace="other")
        assert sum_ledger() == before
        bring_back(saved, replace=full)
        assert len(sum_ledger()) == len(before) - 1
        check_invariants()

    def test_is_what_it_was_when_the_dump_cannot_be_loaded(self, saved: Path, full: str) -> None:
        before = sum_ledger()
        self.replace_the_dump(saved, b"PGDMP no more")
        with pytest.raises(NoRestore, match=r"failed|no database"):
            bring_back(saved, replace=full)
        self.is_as_before(before)

    def test_is_what_it_was_when_something_else_comes_back(self, saved: Path, full: str) -> None:
        before = sum_ledger()
        with zipfile.ZipFile(saved) as archive:
            rows = json.loads(archive.read(MANIFEST))["rows"]
        rewrite(saved, rows={**rows, "product_orders": 7})
        with pytest.raises(NoRestore, match=r"\(rows\): product_orders: 7 in the backup, 1 restored"):
            bring_back(saved, replace=full)
        self.is_as_before(before)

    def test_is_what_it_was_when_the_money_is_another(self, saved: Path, full: str) -> None:
        before = sum_ledger()
        rewrite(saved, ledger={"1": {"customer TRY": 1}})
        with pytest.raises(NoRestore, match=r"what came back is not what was saved \(ledger\)"):
            bring_back(saved, replace=full)
        self.is_as_before(before)

    def test_is_left_alone_while_a_loop_is_at_work(self, saved: Path, full: str) -> None:
        heartbeats.beat("beat", clock.now())
        with pytest.raises(NoRestore, match="still at work"):
            bring_back(saved, replace=full)

    def test_is_left_alone_while_somebody_is_connected(self, saved: Path, full: str) -> None:
        with a_second_connection(), pytest.raises(NoRestore, match=r"others are connected|is in use"):
            bring_back(saved, replace=full)

    @pytest.mark.postgres
    def test_takes_no_writes_from_others_before_it_is_safe(
        self, saved: Path, full: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A restore that is killed before the orders are marked leaves books that nobody can buy from."""
        answers = []

        def look(*args: object) -> object:
            with a_second_connection() as other, other.cursor() as cursor:
                cursor.execute("SHOW transaction_read_only")
                answers.append(cursor.fetchone()[0])
            return Restored(0, 0, 0, ())

        monkeypatch.setattr(restoring, "after_restore", look)
        bring_back(saved, replace=full)
        with a_second_connection() as other, other.cursor() as cursor:
            cursor.execute("SHOW transaction_read_only")
            answers.append(cursor.fetchone()[0])
        assert answers == ["on", "off"]

    @pytest.mark.postgres
    def test_of_another_owner_is_refused_with_the_remedy(self, saved: Path, full: str) -> None:
        before = sum_ledger()
        with connection.cursor() as cursor:
            cursor.execute("CREATE ROLE drill_guest")
            cursor.execute("GRANT USAGE ON SCHEMA public TO drill_guest")
            cursor.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO drill_guest")
            cursor.execute("SET ROLE drill_guest")
        try:
            with pytest.raises(NoRestore, match=r"must be owner of database .* must own the database"):
                bring_back(saved, replace=full)
        finally:
            with connection.cursor() as cursor:
                cursor.execute("RESET ROLE")
                cursor.execute("DROP OWNED BY drill_guest")
                cursor.execute("DROP ROLE drill_guest")
        self.is_as_before(before)

    def replace_the_dump(self, path: Path, dump: bytes) -> None:
        rewrite(path, dump=dump, sha256=hashlib.sha256(dump).hexdigest())

    def is_as_before(self, ledger: Ledger) -> None:
        assert sum_ledger() == ledger
        make_shop(NOWHERE)  # it takes writes


def a_second_connection() -> Any:
    """Another session at the database that the tests are bound to."""
    if connection.vendor == "postgresql":
        return contextlib.closing(psycopg2.connect(database_url()))
    other = sqlite3.connect(connection.settings_dict["NAME"])
    other.execute("SELECT count(*) FROM product_orders").fetchone()
    return contextlib.closing(other)


class TestTroubles:
    def test_are_one_sentence_at_the_console(self, committed: None, tmp_path: Path) -> None:
        assert "there is no file" in refusal_of("restore", str(tmp_path / "none"))
        assert issubclass(NoBackup, BackupTrouble)
        assert "there is no folder" in refusal_of("backup", str(tmp_path / "a" / "b"))
