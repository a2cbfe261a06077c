"""docs/IMPLEMENTATION_COMPLETE.md, the full reference: each of its tables is what the code says."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from django.apps import apps
from django.conf import settings
from django.core.management import get_commands
from django.urls import get_resolver

from apps.api.urls import api
from apps.journal.loops import LOOPS
from apps.ops.schedule import SCHEDULE
from apps.ops.urls import urlpatterns as health
from apps.orders.dispatch import steps
from apps.orders.dispatch.trace import STEPS
from apps.orders.states import ATTEMPT_EDGES, FREEING, HOLDING, ORDER_EDGES, AttemptState, OrderStatus
from apps.panel.urls import urlpatterns as pages
from apps.panel.words import REASONS
from apps.providers.contract import Outcome
from celery_app import app as celery
from tests.architecture.test_docs import table

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "IMPLEMENTATION_COMPLETE.md").read_text()


def quoted(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def names(heading: str) -> list[str]:
    """The first name of each row of the table under a heading."""
    return [quoted(row[0])[0] for row in table(PAGE, heading)]


class TestTheRooms:
    def test_are_the_layers_from_top_to_bottom(self) -> None:
        contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        (rooms,) = (contract for contract in contracts if contract["id"] == "rooms")
        layers = [room for layer in rooms["layers"] for room in layer.split(" | ")]
        assert names("The rooms") == [*layers, *rooms["exhaustive_ignores"]]


class TestTheSteps:
    rows = table(PAGE, "The fifteen steps in code")

    def test_are_those_of_the_code(self) -> None:
        assert {int(row[0]): quoted(row[1])[0] for row in self.rows} == STEPS
        assert [name for name in STEPS.values() if not callable(getattr(steps, name))] == []

    def test_have_their_regions(self) -> None:
        assert [row[2] for row in self.rows] == ["decide"] * 10 + ["send"] + ["settle"] * 4


class TestTheStates:
    def test_have_every_edge_of_an_order(self) -> None:
        told = {quoted(row[0])[0]: set(quoted(row[1])) for row in table(PAGE, "Edges of an order")}
        assert told == {str(state): {str(end) for end in ends} for state, ends in ORDER_EDGES.items()}
        assert list(told) == [*ORDER_EDGES] == OrderStatus.values

    def test_have_every_edge_of_an_attempt(self) -> None:
        told = {quoted(row[0])[0]: set(quoted(row[1])) for row in table(PAGE, "Edges of an attempt")}
        assert told == {str(state): {str(end) for end in ends} for state, ends in ATTEMPT_EDGES.items()}
        assert list(told) == AttemptState.values

    def test_that_hold_units_are_those_of_the_code(self) -> None:
        holding, freeing = (set(quoted(row[0])) for row in table(PAGE, "Which attempts hold a unit"))
        assert holding == {str(state) for state in HOLDING}
        assert freeing == {str(state) for state in FREEING}

    def test_have_every_outcome_and_every_reason(self) -> None:
        assert names("What an answer may say") == [str(outcome) for outcome in Outcome]
        told = {quoted(row[0])[0]: row[1] for row in table(PAGE, "Reasons of an order")}
        assert told == {reason: str(words) for reason, words in REASONS.items()}


class TestTheTables:
    def test_are_those_of_our_models(self) -> None:
        told = {quoted(row[0])[0]: row[1] for row in table(PAGE, "Tables")}
        ours = (model for model in apps.get_models() if model.__module__.startswith("apps."))
        assert told == {model._meta.db_table: model.__name__ for model in ours}


class TestTheTasks:
    rows = table(PAGE, "Tasks")

    def test_are_those_of_celery_with_their_queues(self) -> None:
        celery.loader.import_default_modules()
        ours = [name for name in celery.tasks if name.startswith("apps.")]
        queues = {
            name: settings.CELERY_TASK_ROUTES.get(name, {"queue": settings.CELERY_TASK_DEFAULT_QUEUE}) for name in ours
        }
        assert {quoted(row[0])[0]: quoted(row[1])[0] for row in self.rows} == {
            name: route["queue"] for name, route in queues.items()
        }

    def test_are_sent_by_beat_when_they_say_so(self) -> None:
        told = {quoted(row[0])[0]: row[2] for row in self.rows if row[2].startswith("every")}
        assert told == {periodic.task: f"every {periodic.every_s} s" for periodic in SCHEDULE}
        assert [row[0] for row in self.rows if not row[2]] == []

    def test_write_heartbeats_where_there_are_loops(self) -> None:
        told = {quoted(row[0])[0]: (row[1], row[2]) for row in table(PAGE, "Loops")}
        assert told == {loop.name: (f"{loop.every_s} s", "yes" if loop.must_run else "no") for loop in LOOPS}


class TestTheCommands:
    def test_are_all_of_ours(self) -> None:
        ours = sorted(name for name, app in get_commands().items() if str(app).startswith("apps."))
        assert names("Commands") == ours


class TestTheAddresses:
    def test_of_rest_are_those_of_its_description(self) -> None:
        described = [
            f"{verb.upper()} {path.removeprefix('/api/v1')}"
            for path, verbs in api.get_openapi_schema()["paths"].items()
            for verb in verbs
        ]
        assert sorted(names("REST")) == sorted(described)

    def test_of_other_doors_are_those_of_the_code(self) -> None:
        others = {"admin/login/", "admin/", "api/v1/", "i18n/", "", "^api(?:/|$)"}
        told = {str(door.pattern) for door in get_resolver().url_patterns} - others
        assert set(names("Other languages, webhooks, health")) == told | {str(page.pattern) for page in health}

    def test_of_pages_begin_as_the_panels_do(self) -> None:
        assert set(names("Pages for people")) == {first_part(str(page.pattern)) for page in pages}

    def test_of_sql_are_all_files(self) -> None:
        files = {row[0].partition("](")[0].strip("[") for row in table(PAGE, "SQL")}
        assert files == {path.name for path in (ROOT / "migrations_sql").glob("*.sql")}


def first_part(pattern: str) -> str:
    first, slash, _ = pattern.partition("/")
    return f"/{first}{slash}"
