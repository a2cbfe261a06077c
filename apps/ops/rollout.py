"""Which migrations may run while processes of the release before still work, and why not the others.

Old code names the columns that it knows: it survives a table, a column that fills itself and wider rules, and nothing
that is taken away, renamed or demanded. What cannot be seen from an operation is explained in EXPLAINED by a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from enum import StrEnum

from django.db.migrations import (
    AddConstraint,
    AddField,
    AddIndex,
    AlterField,
    AlterModelManagers,
    AlterModelOptions,
    AlterModelTableComment,
    CreateModel,
    Migration,
    RunPython,
    RunSQL,
    SeparateDatabaseAndState,
)
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ProjectState
from django.db.models import Field

Key = tuple[str, str]
"""The app and the name of a migration."""


class When(StrEnum):
    """When a migration may run."""

    BESIDE = "beside"
    """While the release before works."""
    STOPPED = "stopped"
    """After the last process of the release before has ended."""


@dataclass(frozen=True, slots=True)
class Explained:
    """What a person has found out about a migration whose operations do not tell it."""

    when: When
    why: str


EXPLAINED: dict[Key, Explained] = {
    ("journal", "0005_audit"): Explained(When.BESIDE, "triggers on a table that it makes itself"),
    ("orders", "0016_statement_guards"): Explained(
        When.BESIDE, "triggers that refuse what the release before never did: changing what a provider stated"
    ),
    ("orders", "0018_order_note"): Explained(When.BESIDE, "triggers on a table that it makes itself"),
    ("orders", "0019_list_indexes"): Explained(
        When.STOPPED, "no order can be written while seven indexes of orders and attempts are built"
    ),
    ("orders", "0023_evidence_resealed"): Explained(When.BESIDE, "the new trigger allows more than the old one"),
    ("orders", "0026_bulk_tags"): Explained(
        When.BESIDE,
        "the new rules about bulk actions allow all that the release before writes: its kinds, without a tag",
    ),
    ("wallet", "0004_balanced_and_frozen"): Explained(
        When.BESIDE, "triggers that refuse what the release before never did: one side of a transfer without the other"
    ),
    ("webhooks", "0002_delivery_taken"): Explained(
        When.STOPPED, "no delivery can be written while an index of deliveries is built"
    ),
}
"""The migrations that need a person's word, for as long as somebody may come from a release before them."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether one migration may run beside the release before: `troubles` are what its operations could break."""

    key: Key
    troubles: tuple[str, ...]
    explained: Explained | None

    @property
    def needs_a_stop(self) -> bool:
        """Nothing of the release before may run: an operation could break it, and nobody has said that it does not."""
        return bool(self.troubles) and (self.explained is None or self.explained.when == When.STOPPED)

    @property
    def why(self) -> str:
        """The person's word, else what the operations could break."""
        return self.explained.why if self.explained else "; ".join(self.troubles)


def judge(loader: MigrationLoader, applied: AbstractSet[Key]) -> list[Verdict]:
    """The verdict on each migration that is not applied, in the order in which they run."""
    state = ProjectState()
    verdicts = []
    for key in in_order(loader):
        troubles = tuple(troubles_of(loader.graph.nodes[key], state))  # moves the state on
        if key not in applied:
            verdicts.append(Verdict(key, troubles, EXPLAINED.get(key)))
    return verdicts


def in_order(loader: MigrationLoader) -> list[Key]:
    """Every migration of every app, each after those that it depends on."""
    plans = (loader.graph.forwards_plan(leaf) for leaf in loader.graph.leaf_nodes())
    return list(dict.fromkeys(key for plan in plans for key in plan))


def troubles_of(migration: Migration, state: ProjectState) -> Iterator[str]:
    """What the operations could break; moves `state` from before the migration to after it."""
    made: set[str] = set()
    for operation in migration.operations:
        for part in _in_the_database(operation):
            if trouble := _trouble_of(part, migration.app_label, state, made):
                yield f"{part.describe()}: {trouble}"
            if isinstance(part, CreateModel):
                made.add(part.name_lower)
        operation.state_forwards(migration.app_label, state)


def _in_the_database(operation: Operation) -> list[Operation]:
    if isinstance(operation, SeparateDatabaseAndState):
        return [part for inner in operation.database_operations for part in _in_the_database(inner)]
    return [operation]


def _trouble_of(operation: Operation, app: str, state: ProjectState, made: set[str]) -> str:
    """What old code could not survive; empty where nothing is left to ask. What is not known is refused."""
    if getattr(operation, "model_name_lower", "") in made or isinstance(operation, HARMLESS):
        return ""
    for kind, find in QUESTIONS.items():
        if isinstance(operation, kind):
            return find(operation, app, state)
    return "old code still uses what was there"


HARMLESS = (CreateModel, AlterModelOptions, AlterModelManagers, AlterModelTableComment)
"""Old code knows nothing of these; neither does it of anything else about a table that the same migration makes."""


def _of_new_column(operation: AddField, _app: str, _state: ProjectState) -> str:
    field = operation.field
    fills_itself = field.null or field.has_db_default() or field.generated or field.many_to_many
    return "" if fills_itself else "old code writes no value into it; it needs a db_default, or may be null"


def _of_changed_column(operation: AlterField, app: str, state: ProjectState) -> str:
    before = state.models[app, operation.model_name_lower].fields[operation.name]
    return "" if _stored(before) == _stored(operation.field) else "the column changes under old code"


def _stored(field: Field[object, object]) -> tuple[object, ...]:
    """What of a field the database knows."""
    _, path, args, options = field.deconstruct()
    told = {name: value for name, value in options.items() if name not in (*field.non_db_attrs, "default")}
    return path, args, told


QUESTIONS: dict[type[Operation], Callable[..., str]] = {
    AddField: _of_new_column,
    AlterField: _of_changed_column,
    AddIndex: lambda *_: "nothing can be written to the table while the index is built",
    AddConstraint: lambda *_: "old code may write what it refuses, and the table is locked while it is checked",
    RunPython: lambda *_: "what it does cannot be seen",
    RunSQL: lambda *_: "what it does cannot be seen",
}
"""What to ask of an operation that may be harmless, by its kind."""
