"""What `start.py --production` says before anything runs: one sentence for each thing that is missing."""

from __future__ import annotations

import contextlib
import platform
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.db import connection

from apps.ops import preflight, start
from apps.ops.machine import why_not_imported
from tests.functional.backup_fixtures import bound_to_empty
from tests.functional.core_fixtures import committed
from tests.servers import free_port

__all__ = ["committed"]


def database_troubles() -> list[str]:
    return list(preflight.database_troubles())


@contextlib.contextmanager
def bound(**changes: object) -> Iterator[None]:
    """The connection made anew with other settings, and afterwards with the old ones."""
    before = {name: connection.settings_dict[name] for name in changes}
    connection.close()
    connection.settings_dict.update(changes)
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict.update(before)


@contextlib.contextmanager
def as_role(name: str, *grants: str) -> Iterator[None]:
    """As a user of the database who may do these things and nothing else."""
    with connection.cursor() as cursor:
        for statement in (f"CREATE ROLE {name}", *grants, f"SET ROLE {name}"):
            cursor.execute(statement)
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            for statement in ("RESET ROLE", f"DROP OWNED BY {name}", f"DROP ROLE {name}"):
                cursor.execute(statement)


@pytest.mark.postgres
class TestTheDatabase:
    def test_that_is_ready_lacks_nothing(self, committed: None) -> None:
        assert database_troubles() == []

    def test_that_does_not_run_is_named_with_its_place(self, committed: None) -> None:
        port = free_port()
        with bound(HOST="127.0.0.1", PORT=port):
            assert database_troubles() == [
                f"PostgreSQL does not answer at 127.0.0.1:{port}: start it, or mend DATABASE_URL"
            ]

    def test_with_another_password_is_said_without_it(self, committed: None) -> None:
        with bound(PASSWORD="guessed-wrong"):
            (trouble,) = database_troubles()
        assert trouble.endswith("let the user postgres in: mend user and password in DATABASE_URL")
        assert "guessed-wrong" not in trouble

    def test_that_does_not_exist_is_made_by_one_command(self, committed: None) -> None:
        with bound(NAME="nowhere"):
            (trouble,) = database_troubles()
        assert trouble.endswith("has no database nowhere or no user postgres: createdb -O postgres nowhere")

    def test_that_may_not_be_written_is_told(self, committed: None) -> None:
        grants = ["GRANT USAGE ON SCHEMA public TO guest", "GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest"]
        with as_role("guest", *grants):
            assert [trouble.partition(":")[0] for trouble in database_troubles()] == [
                "the database user postgres may not write the tables"
            ]

    def test_that_is_empty_must_let_us_make_tables(self, committed: None, tmp_path: Path) -> None:
        with bound_to_empty(tmp_path), as_role("guest"):
            (trouble,) = database_troubles()
        assert trouble.startswith("the database user postgres may not make tables: GRANT CREATE ON SCHEMA public")

    def test_whose_tables_are_anothers_must_be_migrated_by_their_owner(self, committed: None, tmp_path: Path) -> None:
        with bound_to_empty(tmp_path):
            with connection.cursor() as cursor:
                cursor.execute("CREATE TABLE product_orders (id bigint)")
            with as_role("guest", "GRANT CREATE ON SCHEMA public TO guest"):
                (trouble,) = database_troubles()
        assert trouble.startswith("migrations are missing, and the tables belong to postgres")


class TestSqlite:
    def test_is_refused_for_several_processes(self, db: None) -> None:
        if connection.vendor == "postgresql":
            pytest.skip("this run is on PostgreSQL")
        (trouble,) = database_troubles()
        assert trouble.startswith("DATABASE_URL names no PostgreSQL: set it in .env")


class TestRedis:
    def test_that_answers_lacks_nothing(self, valkey_url: str) -> None:
        assert list(preflight.redis_troubles(valkey_url)) == []

    def test_that_does_not_run_is_named_with_its_place_and_how_to_start_it(self) -> None:
        port = free_port()
        (trouble,) = preflight.redis_troubles(f"redis://127.0.0.1:{port}/0")
        assert trouble.startswith(f"Redis is not running at 127.0.0.1:{port}: start it (Linux: sudo systemctl start")

    def test_with_another_password_is_said_without_it(self, valkey_url: str) -> None:
        (trouble,) = preflight.redis_troubles(f"redis://nobody:guessed@{urlsplit(valkey_url).netloc}/0")
        assert trouble.endswith("does not let us in: mend the password in REDIS_URL")
        assert "guessed" not in trouble

    @pytest.mark.parametrize(
        ("url", "trouble"),
        [("", "REDIS_URL is not set"), ("127.0.0.1:6379", "REDIS_URL is no"), ("redis://a:b/", "REDIS_URL is no")],
    )
    def test_without_an_address_is_told(self, url: str, trouble: str) -> None:
        (told,) = preflight.redis_troubles(url)
        assert told.startswith(trouble)


class TestThePort:
    def test_that_is_taken_is_told(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as other:
            port = other.getsockname()[1]
            (trouble,) = preflight.port_troubles("127.0.0.1", port)
        assert trouble.startswith(f"port {port} of 127.0.0.1 is taken")
        assert list(preflight.port_troubles("127.0.0.1", port)) == []


class TestThePackages:
    def test_that_are_missing_are_named_with_the_remedy(self) -> None:
        told = why_not_imported(ModuleNotFoundError("No module named 'celery'"))
        assert told.startswith("A package cannot be imported (No module named 'celery'). Delete the folder")
        assert "ARM64" not in told

    def test_on_arm64_windows_need_another_python(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(sys, "platform", "win32")
        monkeypatch.setattr(platform, "machine", lambda: "ARM64")
        assert "--architecture x64" in why_not_imported(ImportError("DLL load failed"))


class TestTheCommandLine:
    def test_understands_powershell(self) -> None:
        arguments = start.read_arguments(["-Production", "-Port", "8010", "--workers", "2"])
        assert (arguments.production, arguments.port, arguments.workers) == (True, 8010, 2)

    @pytest.mark.parametrize("words", [["--workers", "0"], ["--port", "70000"]])
    def test_refuses_what_makes_no_sense(self, words: list[str]) -> None:
        with pytest.raises(SystemExit):
            start.read_arguments(words)

    def test_of_windows_starts_what_runs_there(self) -> None:
        from apps.ops import fleet

        there = {member.name: member.arguments for member in fleet.members("127.0.0.1", 8000, 2, on_windows=True)}
        assert list(there) == ["web", "worker1", "worker2", "beat"]
        assert there["web"][1] == "waitress"
        assert there["worker2"][-2:] == ("--pool", "threads")
