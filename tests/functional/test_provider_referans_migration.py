"""`provider_referans` comes by migration, by SQL file or by script: the same column, in any order, repeatedly."""

from __future__ import annotations

import contextlib
import itertools
import secrets
import shutil
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.executor import MigrationExecutor
from pytest_django import DjangoDbBlocker

from apps.orders import referans_column

pytestmark = pytest.mark.both_databases

ALIAS = "throw_away"
BEFORE = "0001_initial"
AFTER = "0001_add_provider_referans"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker) -> Iterator[str]:
    """The name of a database of 0001_initial, without the column, that the tests copy."""
    name = new_name(tmp_path_factory.mktemp("template"))
    with django_db_blocker.unblock(), made_database(name) as connection:
        migrate_to(BEFORE)
        insert_order(connection)
        connection.close()
        yield name


@pytest.fixture
def database(template: str, tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    """A copy of the template: the orders' tables of 0001_initial with one order."""
    with django_db_blocker.unblock(), made_database(new_name(tmp_path), template) as connection:
        yield connection


@pytest.fixture
def empty_database(tmp_path: Path, django_db_blocker: DjangoDbBlocker) -> Iterator[BaseDatabaseWrapper]:
    with django_db_blocker.unblock(), made_database(new_name(tmp_path)) as connection:
        yield connection


def new_name(folder: Path) -> str:
    """A database name on the suite's server, or a file of SQLite."""
    return f"throw_away_{secrets.token_hex(6)}" if is_postgres() else str(folder / "db.sqlite3")


def is_postgres() -> bool:
    return connections["default"].vendor == "postgresql"


@contextlib.contextmanager
def made_database(name: str, template: str = "") -> Iterator[BaseDatabaseWrapper]:
    """A database under the alias `throw_away`, gone afterwards; of the kind that the suite runs on."""
    if is_postgres():
        on_server(f'CREATE DATABASE "{name}"' + (f' TEMPLATE "{template}"' if template else ""))
    elif template:
        shutil.copy(template, name)
    forget_connection()  # whoever looks at all connections has made one for the database before
    connections.databases[ALIAS] = {**connections.databases["default"], "NAME": name}
    try:
        yield connections[ALIAS]
    finally:
        forget_connection()
        connections.databases.pop(ALIAS, None)
        if is_postgres():
            on_server(f'DROP DATABASE "{name}" WITH (FORCE)')


def forget_connection() -> None:
    """Close the alias, so that its next use reads its configuration again."""
    if any(connection.alias == ALIAS for connection in connections.all(initialized_only=True)):
        connections[ALIAS].close()
        del connections[ALIAS]


def on_server(statement: str) -> None:
    """Run a statement that PostgreSQL allows in no transaction, on the suite's server."""
    import psycopg2

    config = settings.DATABASES["default"]
    server = psycopg2.connect(
        host=config["HOST"], port=config["PORT"], user=config["USER"], password=config["PASSWORD"], dbname="postgres"
    )
    try:
        server.autocommit = True
        with server.cursor() as cursor:
            cursor.execute(statement)
    finally:
        server.close()


def migrate_to(name: str) -> None:
    call_command("migrate", "orders", name, database=ALIAS, verbosity=0)


def by_migration() -> None:
    migrate_to(AFTER)


def by_script() -> str:
    said = StringIO()
    call_command("add_provider_referans", database=ALIAS, stdout=said)
    return said.getvalue()


def by_sql_file() -> None:
    """As a person runs it: on PostgreSQL the file, on SQLite the same two statements of the script."""
    referans_column.add_what_is_missing(connections[ALIAS])


def schema(connection: BaseDatabaseWrapper) -> tuple[Any, ...]:
    """All that the database tells of the column and of every index on it."""
    with connection.cursor() as cursor:
        columns = connection.introspection.get_table_description(cursor, "product_orders")
        constraints = connection.introspection.get_constraints(cursor, "product_orders")
        described = [tuple(column) for column in columns if column.name == "provider_referans"]
        indexes = {name: info for name, info in constraints.items() if "provider_referans" in (info["columns"] or [])}
        order = [column.name for column in columns]
        if connection.vendor == "postgresql":
            cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'idx_orders_provider_referans'")
            indexes["definition"] = cursor.fetchall()
    return described, indexes, order


def insert_order(connection: BaseDatabaseWrapper) -> None:
    """One order as it was written before there was the column, by the models of that time."""
    models = MigrationExecutor(connection).loader.project_state(("orders", BEFORE)).apps

    def make(label: str, **values: object) -> Any:
        return models.get_model(label).objects.using(ALIAS).create(**values)

    now = datetime(2026, 1, 1, tzinfo=UTC)
    tenant = make("accounts.Tenant", name="Shop", slug="shop")
    product = make("catalog.Product", tenant=tenant, name="Game")
    make(
        "orders.Order",
        tenant=tenant,
        customer=make("accounts.Customer", tenant=tenant, name="Buyer", currency="TRY"),
        package=make("catalog.Package", tenant=tenant, product=product, code="game-60", name="60"),
        product_name="Game",
        package_name="60",
        needs_code=True,
        quantity=1,
        unit_price_micros=1,
        price_micros=1,
        currency="TRY",
        idempotency_key="before",
        request_hash="0",
        created_at=now,
        updated_at=now,
        deadline_at=now,
    )


def drop_column(connection: BaseDatabaseWrapper) -> None:
    """Back to the template's schema, however the column came: the reversed migration has not run for the other ways."""
    with connection.cursor() as cursor:
        cursor.execute("DROP INDEX IF EXISTS idx_orders_provider_referans")
        if "provider_referans" in schema(connection)[2]:
            cursor.execute("ALTER TABLE product_orders DROP COLUMN provider_referans")


def referanses(connection: BaseDatabaseWrapper) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT provider_referans FROM product_orders")
        return [row[0] for row in cursor.fetchall()]


WAYS: dict[str, Callable[[], object]] = {"migration": by_migration, "script": by_script, "sql": by_sql_file}


class TestTheColumn:
    def test_is_the_same_by_migration_by_script_and_by_sql(self, database: BaseDatabaseWrapper) -> None:
        found = []
        for way in WAYS.values():
            way()
            found.append(schema(database))
            migrate_to(BEFORE)
            drop_column(database)
        described, indexes, _ = found[0]
        assert len(described) == 1
        assert indexes["idx_orders_provider_referans"]["columns"] == ["provider_referans"]
        assert found[1] == found[0]
        assert found[2] == found[0]

    @pytest.mark.parametrize("order", list(itertools.permutations(WAYS, 2)), ids="-".join)
    def test_survives_each_order_of_running_both_twice(
        self, database: BaseDatabaseWrapper, order: tuple[str, str]
    ) -> None:
        WAYS[order[0]]()
        expected = schema(database)
        for name in (*order, *order):
            WAYS[name]()
        migrate_to("0002_append_only")
        assert schema(database) == expected
        assert referanses(database) == [""]
        assert referans_column.inspect(database) == referans_column.WANTED

    def test_stays_where_a_person_added_the_column_but_not_the_index(self, database: BaseDatabaseWrapper) -> None:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE product_orders ADD COLUMN provider_referans varchar(64) DEFAULT '' NOT NULL")
        assert by_script() == (
            "Column provider_referans: varchar(64) NOT NULL DEFAULT ''. Index idx_orders_provider_referans: missing.\n"
            "Added what was missing.\n"
            "product_orders.provider_referans and its index are as they should be.\n"
        )


class TestTheScript:
    def test_says_what_it_found_and_did(self, database: BaseDatabaseWrapper) -> None:
        assert by_script().splitlines()[:2] == [
            "Column provider_referans: missing. Index idx_orders_provider_referans: missing.",
            "Added what was missing.",
        ]
        assert by_script().splitlines() == [
            "Column provider_referans: varchar(64) NOT NULL DEFAULT ''. Index idx_orders_provider_referans: there.",
            "product_orders.provider_referans and its index are as they should be.",
        ]

    def test_names_the_remedy_when_there_is_no_table(self, empty_database: BaseDatabaseWrapper) -> None:
        with pytest.raises(CommandError, match=r"no table product_orders .* Run `python manage\.py migrate`"):
            by_script()

    def test_leaves_a_column_of_another_shape_and_says_so(self, database: BaseDatabaseWrapper) -> None:
        with database.cursor() as cursor:
            cursor.execute("ALTER TABLE product_orders ADD COLUMN provider_referans varchar(255)")
        with pytest.raises(CommandError, match=r"Found: provider_referans varchar\(255\) NULL DEFAULT none"):
            by_script()

    @pytest.mark.postgres
    def test_sends_a_user_without_the_right_to_the_owner(self, database: BaseDatabaseWrapper) -> None:
        guest = f"guest_{secrets.token_hex(4)}"
        owner = connections.databases[ALIAS]
        with database.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {guest} LOGIN PASSWORD 'guest'")
            cursor.execute(f"GRANT SELECT ON product_orders TO {guest}")
        forget_connection()
        connections.databases[ALIAS] = {**owner, "USER": guest, "PASSWORD": "guest"}
        try:
            with pytest.raises(CommandError) as refused:
                by_script()
        finally:
            forget_connection()
            connections.databases[ALIAS] = owner
            with connections[ALIAS].cursor() as cursor:
                cursor.execute(f"DROP OWNED BY {guest}")
                cursor.execute(f"DROP ROLE {guest}")
        assert refused.value.returncode == 1
        assert str(refused.value) == (
            "Permission error: must be owner of table product_orders. Run the SQL as the owner "
            f"({owner['USER']}): psql -U {owner['USER']} -d DATABASE -v ON_ERROR_STOP=1 "
            "-f migrations_sql/migration_provider_referans.sql"
        )

    def test_names_the_remedy_when_the_file_may_not_be_written(
        self, database: BaseDatabaseWrapper, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if database.vendor != "sqlite":
            pytest.skip("only SQLite is a file")
        with database.cursor() as cursor:
            cursor.execute("PRAGMA query_only = ON")
        with pytest.raises(CommandError, match=r"^Permission error: attempt to write a readonly database\. Give this"):
            by_script()
