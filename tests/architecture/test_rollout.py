"""Every migration since the baseline lets the release before work on, or a person has said why it may, or may not."""

from __future__ import annotations

import functools

import pytest
from django.apps import apps
from django.db import migrations, models
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.state import ModelState, ProjectState
from django.db.models import Q

from apps.ops.rollout import EXPLAINED, Key, judge, troubles_of

BASELINE = {
    "accounts": "0004_api_key_rights",
    "catalog": "0004_strategy",
    "journal": "0004_events_for_customers",
    "orders": "0015_reconciliation",
    "providers": "0012_budget_and_breaker",
    "wallet": "0003_people_and_authors",
    "webhooks": "0001_endpoints_and_deliveries",
}
"""The migrations from which on the rule holds. It may move up when nobody comes from there any more."""


@functools.cache
def loader() -> MigrationLoader:
    return MigrationLoader(None)


def baseline() -> set[Key]:
    """Every migration up to the baseline, and all of the libraries, which are pinned and looked at when they move."""
    ours = {key for app, name in BASELINE.items() for key in loader().graph.forwards_plan((app, name))}
    return ours | {key for key in loader().graph.nodes if key[0] not in BASELINE}


class TestEveryMigrationSinceTheBaseline:
    def test_lets_old_code_work_or_is_explained(self) -> None:
        verdicts = judge(loader(), baseline())
        assert len(verdicts) >= 17
        assert {".".join(v.key): v.why for v in verdicts if v.troubles and not v.explained} == {}

    def test_is_explained_where_there_is_something_to_explain(self) -> None:
        in_question = {verdict.key for verdict in judge(loader(), baseline()) if verdict.troubles}
        assert sorted(EXPLAINED) == sorted(in_question)

    def test_is_looked_at_in_every_app_of_ours(self) -> None:
        ours = {config.label for config in apps.get_app_configs() if config.name.startswith("apps.")}
        assert sorted(ours & loader().migrated_apps) == sorted(BASELINE)


def troubles(*operations: Operation) -> list[str]:
    """What is said of a migration of the app `shelf`, which had one table with one column."""
    state = ProjectState()
    state.add_model(ModelState("shelf", "Book", [("title", models.CharField(max_length=9, verbose_name="old"))]))
    migration = type("Migration", (migrations.Migration,), {"operations": operations})("0002_more", "shelf")
    return [text.partition(": ")[2] for text in troubles_of(migration, state)]


class TestARelease:
    @pytest.mark.parametrize(
        "operation",
        [
            migrations.AddField("book", "pages", models.IntegerField(null=True)),
            migrations.AddField("book", "pages", models.IntegerField(default=1, db_default=1)),
            migrations.CreateModel("Author", [("id", models.BigAutoField(primary_key=True))]),
            migrations.AlterField("book", "title", models.CharField("new", max_length=9, default="x", help_text="y")),
            migrations.AlterModelOptions("book", {"verbose_name": "novel"}),
            migrations.SeparateDatabaseAndState(state_operations=[migrations.RemoveField("book", "title")]),
        ],
        ids=lambda operation: operation.describe(),
    )
    def test_may_add_what_fills_itself(self, operation: Operation) -> None:
        assert troubles(operation) == []

    @pytest.mark.parametrize(
        ("operation", "trouble"),
        [
            (
                migrations.AddField("book", "pages", models.IntegerField(default=1)),
                "old code writes no value into it; it needs a db_default, or may be null",
            ),
            (
                migrations.AlterField("book", "title", models.CharField(max_length=8)),
                "the column changes under old code",
            ),
            (
                migrations.AlterField("book", "title", models.CharField(max_length=9, null=True)),
                "the column changes under old code",
            ),
            (migrations.RemoveField("book", "title"), "old code still uses what was there"),
            (migrations.RenameField("book", "title", "name"), "old code still uses what was there"),
            (migrations.RenameModel("Book", "Novel"), "old code still uses what was there"),
            (migrations.DeleteModel("Book"), "old code still uses what was there"),
            (migrations.AlterModelTable("Book", "books"), "old code still uses what was there"),
            (migrations.AlterUniqueTogether("Book", {("title",)}), "old code still uses what was there"),
            (
                migrations.AddIndex("book", models.Index(fields=["title"], name="by_title")),
                "nothing can be written to the table while the index is built",
            ),
            (
                migrations.AddConstraint("book", models.CheckConstraint(condition=~Q(title=""), name="has_title")),
                "old code may write what it refuses, and the table is locked while it is checked",
            ),
            (migrations.RunPython(migrations.RunPython.noop), "what it does cannot be seen"),
            (migrations.RunSQL("SELECT 1"), "what it does cannot be seen"),
            (
                migrations.SeparateDatabaseAndState([migrations.RunSQL("DROP TABLE shelf_book")]),
                "what it does cannot be seen",
            ),
        ],
        ids=lambda value: value.describe() if isinstance(value, Operation) else "",
    )
    def test_is_asked_about_everything_else(self, operation: Operation, trouble: str) -> None:
        assert troubles(operation) == [trouble]

    def test_may_do_everything_to_a_table_that_it_makes(self) -> None:
        column = migrations.AddField("author", "name", models.CharField(max_length=9, default=""))
        index = migrations.AddIndex("author", models.Index(fields=["name"], name="by_name"))
        made = migrations.CreateModel("Author", [("id", models.BigAutoField(primary_key=True))])
        assert troubles(made, column, index) == []
