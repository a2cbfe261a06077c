"""Triggers that keep rows append-only, frozen, balanced or apart, written once for SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from django.db import migrations
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps


class Rule(Protocol):
    """A rule that a database keeps by a trigger."""

    def create(self, vendor: str) -> list[str]:
        """The statements that make the trigger."""

    def drop(self, vendor: str) -> list[str]:
        """The statements that take it away."""


@dataclass(frozen=True, slots=True)
class Forbid:
    """Refuse UPDATE or DELETE on a table, always or where `when` (an SQL condition on OLD and NEW) holds."""

    table: str
    action: str
    text: str
    when: str = ""

    @property
    def name(self) -> str:
        """The trigger's name."""
        return f"{self.table}_forbid_{self.action.lower()}"

    def create(self, vendor: str) -> list[str]:
        """The statements that make the trigger."""
        when = f" WHEN ({self.when})" if self.when else ""
        if vendor == "sqlite":
            return [
                f"CREATE TRIGGER {self.name} BEFORE {self.action} ON {self.table} FOR EACH ROW{when} "
                f"BEGIN SELECT RAISE(ABORT, '{self.text}'); END"
            ]
        return [
            f"CREATE OR REPLACE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN RAISE EXCEPTION '{self.text}' USING ERRCODE = 'integrity_constraint_violation'; END $$",
            f"CREATE TRIGGER {self.name} BEFORE {self.action} ON {self.table} FOR EACH ROW{when} "
            f"EXECUTE FUNCTION {self.name}()",
        ]

    def drop(self, vendor: str) -> list[str]:
        """The statements that take it away."""
        if vendor == "sqlite":
            return [f"DROP TRIGGER {self.name}"]
        return [f"DROP TRIGGER {self.name} ON {self.table}", f"DROP FUNCTION {self.name}()"]


@dataclass(frozen=True, slots=True)
class AtCommit:
    """Refuse a commit after which `broken`, a query about the inserted row NEW, finds anything. PostgreSQL alone."""

    name: str
    table: str
    broken: str
    text: str

    def create(self, vendor: str) -> list[str]:
        """The statements that make the deferred constraint trigger."""
        if vendor == "sqlite":
            return []
        return [
            # A plan that was made while the table was small, and scans it, would be kept while the table grows.
            f"CREATE OR REPLACE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql SET enable_seqscan = off "
            f"AS $$ BEGIN IF EXISTS ({self.broken}) THEN RAISE EXCEPTION '{self.text}' "
            "USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NULL; END $$",
            f"CREATE CONSTRAINT TRIGGER {self.name} AFTER INSERT ON {self.table} "
            f"DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION {self.name}()",
        ]

    def drop(self, vendor: str) -> list[str]:
        """The statements that take it away."""
        if vendor == "sqlite":
            return []
        return [f"DROP TRIGGER {self.name} ON {self.table}", f"DROP FUNCTION {self.name}()"]


@dataclass(frozen=True, slots=True)
class Exclude:
    """Refuse a row for which another row of the table fits `clash` (an SQL condition on `other` and NEW).

    On PostgreSQL the row of `lock_table` that NEW's `lock_column` names is locked first, so that two writers see each
    other; SQLite has one writer at a time.
    """

    table: str
    name: str
    text: str
    clash: str
    lock_table: str
    lock_column: str

    def _found(self) -> str:
        return f"EXISTS (SELECT 1 FROM {self.table} AS other WHERE other.id <> NEW.id AND {self.clash})"  # noqa: S608

    def create(self, vendor: str) -> list[str]:
        """The statements that make the triggers."""
        if vendor == "sqlite":
            return [
                f"CREATE TRIGGER {self.name}_{action.lower()} AFTER {action} ON {self.table} FOR EACH ROW "
                f"WHEN {self._found()} BEGIN SELECT RAISE(ABORT, '{self.text}'); END"
                for action in ("INSERT", "UPDATE")
            ]
        return [
            f"CREATE OR REPLACE FUNCTION {self.name}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
            f"PERFORM 1 FROM {self.lock_table} WHERE id = NEW.{self.lock_column} FOR NO KEY UPDATE; "
            f"IF {self._found()} THEN RAISE EXCEPTION '{self.text}' "
            f"USING ERRCODE = 'integrity_constraint_violation'; END IF; RETURN NULL; END $$",
            *(
                f"CREATE TRIGGER {self.name}_{action.lower()} AFTER {action} ON {self.table} FOR EACH ROW "
                f"EXECUTE FUNCTION {self.name}()"
                for action in ("INSERT", "UPDATE")
            ),
        ]

    def drop(self, vendor: str) -> list[str]:
        """The statements that take them away."""
        names = [f"{self.name}_{action}" for action in ("insert", "update")]
        if vendor == "sqlite":
            return [f"DROP TRIGGER {name}" for name in names]
        return [*(f"DROP TRIGGER {name} ON {self.table}" for name in names), f"DROP FUNCTION {self.name}()"]


def append_only(table: str) -> list[Forbid]:
    """No update and no delete, ever."""
    return [Forbid(table, action, f"{table} is append-only") for action in ("UPDATE", "DELETE")]


def installed(connection: BaseDatabaseWrapper) -> set[str]:
    """The names of the triggers that the database has switched on."""
    if connection.vendor == "postgresql":
        sql = "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal AND tgenabled IN ('O', 'A')"
    else:
        sql = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return {str(name) for (name,) in cursor.fetchall()}


def restore(rules: Sequence[Forbid]) -> migrations.RunPython:
    """A migration operation that makes those of the triggers that are gone: SQLite drops them when it remakes a table.

    Put it behind every operation that alters such a table, and in front for the way back.
    """

    def make(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        missing = [rule for rule in rules if rule.name not in installed(editor.connection)]
        _run(editor, [statement for rule in missing for statement in rule.create(editor.connection.vendor)])

    return migrations.RunPython(make, make)


def install(rules: Sequence[Rule]) -> migrations.RunPython:
    """A migration operation that makes the triggers, and takes them away when reversed."""

    def forwards(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        _run(editor, [statement for rule in rules for statement in rule.create(editor.connection.vendor)])

    def backwards(_apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
        _run(editor, [statement for rule in rules for statement in rule.drop(editor.connection.vendor)])

    return migrations.RunPython(forwards, backwards)


def _run(editor: BaseDatabaseSchemaEditor, statements: Sequence[str]) -> None:
    for statement in statements:
        editor.execute(statement, params=None)
