"""What the documents say is so: links, commands, steps, states, settings and figures."""

from __future__ import annotations

import argparse
import functools
import inspect
import itertools
import os
import re
import shlex
import subprocess
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from celery.bin.celery import celery
from django.core.management import get_commands, load_command_class

from apps.catalog.models import InputField
from apps.common.backoff import JITTER, error_gap_s, spec_gap_s
from apps.common.tables import BYTES_LIMIT, LINES_LIMIT
from apps.ops import doctor, start
from apps.ops.money_check import WAYS
from apps.ops.schedule import BALANCES
from apps.orders import decisions
from apps.orders.creation import OPEN_FOR
from apps.orders.decisions.approvals import ACTS
from apps.orders.decisions.cases import LONGEST_SNOOZE
from apps.orders.decisions.letting_go import ALONE_AFTER
from apps.orders.dispatch.trace import STEPS
from apps.orders.reconciling.aligning import BELIEVABLE, FAR, SETTLE_GRACE
from apps.orders.reconciling.deciding import CHOICES
from apps.orders.reconciling.dialects import PRESETS, Dialect
from apps.orders.reconciling.lines import BYTES_LIMIT as STATEMENT_BYTES
from apps.orders.reconciling.lines import LINES_LIMIT as STATEMENT_LINES
from apps.orders.routing import FILTERS, LONGEST_WAIT
from apps.orders.statement_models import BreakKind
from apps.orders.states import AttemptState, DueKind, ExternalStatus, OrderStatus
from apps.orders.strategies import STRATEGIES
from apps.orders.verdicts import GIVEN_UP_FOR, PIN_ALARM
from apps.panel import words
from apps.providers.balances import EVERY
from apps.providers.balances import FRESH_FOR as FRESH_BALANCE
from apps.providers.catalogue_models import DEFAULT_JUMP
from apps.providers.listing import FRESH_FOR
from apps.providers.models import REFUSED_FOR
from apps.providers.options import load_caps
from apps.providers.registry import has_wire, kind_choices
from apps.providers.troubles import MAPPING_REFUSALS
from apps.simulator.knobs import KNOBS
from apps.wallet import people

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
MONITORING = (ROOT / "docs" / "README_MONITORING.md").read_text()
INDEX = (ROOT / "docs" / "DOCS_INDEX.md").read_text()
GUIDE = (ROOT / "docs" / "TESTING_GUIDE.md").read_text()

FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"(?<!\\)\[[^\]]*\]\(([^)\s]+)\)")
ENVIRONMENT_OF_OTHERS = {"KEY", "OWNER", "DATABASE", "INSTALLED_APPS", "GET", "POST", "INFO"}
"""Words in capitals that are no variables of ours: those of the examples, Django's own, HTTP's, and levels of logs."""


def names(paths: Iterable[Path]) -> list[str]:
    return [str(path.relative_to(ROOT)) for path in paths]


every_document = pytest.mark.parametrize("document", DOCUMENTS, ids=names(DOCUMENTS))


# --- links


def anchors(text: str) -> list[str]:
    """The anchors that GitHub gives the headings of a document."""
    found: Counter[str] = Counter()
    result = []
    for heading in re.findall(r"^#{1,6} +(.+?)\s*$", FENCE.sub("", text), re.MULTILINE):
        anchor = anchor_of(heading)
        result.append(f"{anchor}-{found[anchor]}" if found[anchor] else anchor)
        found[anchor] += 1
    return result


def anchor_of(heading: str) -> str:
    """Lower case; letters, marks, digits, `_` and `-` stay, spaces become `-`, everything else goes, emoji too."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "").replace("*", "").lower()
    kept = (c for c in text if c in " -_" or unicodedata.category(c)[0] in "LMN")
    return "".join(kept).replace(" ", "-")


def dead_links(document: Path) -> list[str]:
    """The relative links whose file or heading is not there."""
    dead = []
    for link in LINK.findall(FENCE.sub("", document.read_text())):
        path, _, anchor = link.partition("#")
        if re.match(r"[a-z]+:", link):
            continue
        target = (document.parent / path).resolve() if path else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    return dead


class TestLinks:
    @every_document
    def test_lead_somewhere(self, document: Path) -> None:
        assert dead_links(document) == []

    @pytest.mark.parametrize(
        ("heading", "anchor"),
        [
            ("🔍 استكشاف الأخطاء الشائعة", "-استكشاف-الأخطاء-الشائعة"),
            ("📊 What's Implemented", "-whats-implemented"),
            ("Step 1: the self-check", "step-1-the-self-check"),
            ("`/readyz` and *more*", "readyz-and-more"),
        ],
    )
    def test_are_resolved_as_github_does(self, heading: str, anchor: str) -> None:
        assert anchor_of(heading) == anchor

    def test_of_the_index_keep_the_names_that_people_know(self) -> None:
        known = (
            "README_MONITORING.md",
            "TESTING_GUIDE.md",
            "README_IMPLEMENTATION.md",
            "IMPLEMENTATION_COMPLETE.md",
            "SUMMARY_AR.md",
            "CHANGELOG_MONITORING.md",
            "MONITORING_IMPLEMENTATION_PLAN.md",
            "QUICK_START_NEXT_CHAT.md",
            "migration_provider_referans.sql",
            "setup_periodic_task.py",
            "start_monitoring.ps1",
            "TESTING_GUIDE.md#-استكشاف-الأخطاء-الشائعة",
            "IMPLEMENTATION_COMPLETE.md#-استكشاف-الأخطاء",
        )
        links = LINK.findall(INDEX)
        assert [name for name in known if not any(link.endswith(name) for link in links)] == []

    def test_of_the_index_reach_every_document(self) -> None:
        seen, left = {ROOT / "docs" / "DOCS_INDEX.md"}, [ROOT / "docs" / "DOCS_INDEX.md"]
        while left:
            page = left.pop()
            links = (link.partition("#")[0] for link in LINK.findall(FENCE.sub("", page.read_text())))
            found = {(page.parent / link).resolve() for link in links if link.endswith(".md") and ":" not in link}
            left += found - seen
            seen |= found
        assert [document.name for document in DOCUMENTS if document not in seen] == []

    def test_of_the_index_wait_for_no_document(self) -> None:
        assert "*Coming" not in INDEX

    def test_of_the_tree_name_what_is_there(self) -> None:
        (tree,) = re.findall(r"## 📂 Documentation Structure\s+```\n(.*?)```", INDEX, re.DOTALL)
        files = [line.partition("←")[0].strip("│├─└ \n") for line in tree.splitlines()]
        existing = {name for _, folders, names in our_folders() for name in (*folders, *names)}
        assert [name for name in files if Path(name).name not in existing] == []


def our_folders() -> Iterator[tuple[str, list[str], list[str]]]:
    """The tree without what git, the environment and the tools keep in folders whose names begin with a dot."""
    for place, folders, names in os.walk(ROOT):
        folders[:] = [name for name in folders if not name.startswith(".")]
        yield place, folders, names


# --- commands


HANDED_OVER = {
    "test.py": "_checks.py",
    "mutate_tables.py": "_mutants.py",
    "screenshots.py": "_screenshots.py",
    "chaos.py": str(Path("..", "tests", "chaos", "run.py")),
}
"""Scripts that only make the environment, or know more than a parser, and the one that reads their arguments."""


def script_options(name: str) -> set[str]:
    """The options of a script of ours, asked from the parser that reads them."""
    if name == "start.py":
        return options_of(start.read_arguments)
    if name in HANDED_OVER or "/" in name:
        return helped_options(HANDED_OVER.get(name, name))
    return command_options(name.removesuffix(".py"))


def options_of(read: Callable[[list[str]], object]) -> set[str]:
    """The options of the parser inside `read`, caught in the act."""
    seen: set[str] = set()

    def note(parser: argparse.ArgumentParser, *args: object, **kwargs: object) -> argparse.Namespace:
        seen.update(option for action in parser._actions for option in action.option_strings)
        raise SystemExit

    original = argparse.ArgumentParser.parse_args
    argparse.ArgumentParser.parse_args = note  # type: ignore[method-assign, assignment]
    try:
        with pytest.raises(SystemExit):
            read([])
    finally:
        argparse.ArgumentParser.parse_args = original  # type: ignore[method-assign]
    return seen


@functools.cache
def helped_options(name: str) -> set[str]:
    """The options that a script lists with --help."""
    command = [sys.executable, str(ROOT / "scripts" / name), "--help"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}  # as _bootstrap.py starts it
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120, env=environment)
    return set(re.findall(r"(?<![\w-])--?[a-z][a-z-]*", done.stdout))


def command_options(name: str) -> set[str]:
    app = get_commands()[name]
    parser = load_command_class(str(app), name).create_parser("manage.py", name)
    return {option for action in parser._actions for option in action.option_strings}


def celery_options(name: str) -> set[str]:
    return {
        option for parameter in celery.commands[name].params for option in (*parameter.opts, *parameter.secondary_opts)
    }


def commands_in(text: str) -> list[list[str]]:
    """The command lines in fences and in inline code, split into words, without comments."""
    fenced = [line for fence in FENCE.findall(text) for line in fence.replace("\\\n", " ").splitlines()[1:-1]]
    inline = re.findall(r"`([^`\n]+)`", FENCE.sub("", text))
    return [shlex.split(line, comments=True) for line in [*fenced, *inline] if is_ours(line)]


def is_ours(line: str) -> bool:
    return bool(
        re.match(r"^\S*(python3?|celery)\s|^manage\.py \w|^(setup_periodic_task|start\.py|test\.py) -", line.strip())
    )


def problem_with(words: list[str]) -> str:
    """Why this command would not run; empty when it would."""
    if Path(words[0]).name.startswith("python"):
        words = words[1:]
    program = words[0].replace("\\", "/").rpartition("scripts/")[2] if "scripts" in words[0] else Path(words[0]).name
    arguments = words[1 : words.index("--")] if "--" in words else words[1:]
    if program == "celery":
        name = next(word for word in arguments if word in ("worker", "beat"))
        known = celery_options(name) | {"-A"}
    elif program == "manage.py":
        name, arguments = arguments[0], arguments[1:]
        if name not in get_commands():
            return f"no command {name}"
        known = command_options(name)
    elif program == "setup_periodic_task":
        known = command_options(program)
    elif words[0].startswith("docs/examples/"):
        known = helped_options(str(Path("..", words[0])))
    elif (ROOT / "scripts" / program).exists():
        known = script_options(program)
    else:
        return f"no script {program}"
    given = {word.partition("=")[0] for word in arguments if word.startswith("-")}
    return ", ".join(sorted(given - known))


class TestCommands:
    @every_document
    def test_exist_with_their_options(self, document: Path) -> None:
        problems = {" ".join(words): problem_with(words) for words in commands_in(document.read_text())}
        assert {command: problem for command, problem in problems.items() if problem} == {}

    def test_are_found_in_the_documents(self) -> None:
        assert len(commands_in(MONITORING)) >= 15
        assert ["python", "manage.py", "setup_periodic_task", "--show"] in commands_in(MONITORING)
        assert problem_with(["python3", "scripts/start.py", "--bogus"]) == "--bogus"
        assert problem_with(["python", "manage.py", "bogus"]) == "no command bogus"

    def test_of_the_start_are_told_with_every_option(self) -> None:
        told = re.findall(r"^\| `(--[a-z-]+)", MONITORING, re.MULTILINE)
        assert set(told) == options_of(start.read_arguments) - {"-h", "--help"}

    def test_name_paths_that_exist(self) -> None:
        for document in DOCUMENTS:
            text = document.read_text()
            for path in re.findall(r"(?<![\w./])((?:scripts|tests|apps|config|migrations_sql)[/\\][\w./\\]+\w)", text):
                assert (ROOT / path.replace("\\", "/")).exists(), (document.name, path)


# --- what the code defines


def table(text: str, heading: str) -> list[list[str]]:
    """The rows of the first table under a heading, cell by cell, without the head."""
    section = re.split(rf"^#+ {re.escape(heading)}$", text, flags=re.MULTILINE)[1]
    lines = [line for line in re.split(r"^#+ ", section, flags=re.MULTILINE)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def first_cells(heading: str) -> list[str]:
    return [row[0].strip("`") for row in table(MONITORING, heading)]


class TestTheTables:
    def test_of_the_fifteen_steps_is_that_of_the_code(self) -> None:
        rows = table(MONITORING, "The fifteen steps")
        assert {int(row[0]): row[1].strip("`") for row in rows} == STEPS
        assert all(row[2] for row in rows)

    def test_of_the_states_are_those_of_the_code(self) -> None:
        assert first_cells("Order") == OrderStatus.values
        assert first_cells("At the provider") == ExternalStatus.values
        assert first_cells("Purchase attempt") == AttemptState.values
        assert first_cells("What a due row wants") == DueKind.values

    def test_of_the_doctor_has_every_check(self) -> None:
        assert first_cells("What the doctor looks at") == [check.__name__ for check in doctor.CHECKS]

    def test_of_troubles_name_reasons_that_the_code_gives(self) -> None:
        source = "".join(path.read_text() for path in (ROOT / "apps" / "orders").rglob("*.py"))
        reasons = re.findall(r"`(?:waiting|conflict):([a-z_]+)`", MONITORING)
        assert len(reasons) >= 5
        assert [reason for reason in reasons if reason not in source] == []

    def test_of_the_success_criteria_are_tests_of_the_same_name(self) -> None:
        section = INDEX.partition("## 🎯 Success Criteria")[2].partition("\n---")[0]
        criteria = re.findall(r"^- ✅ (.+)$", section, re.MULTILINE)
        tests = (ROOT / "tests" / "functional" / "test_success_criteria.py").read_text()
        wanted = [f"def test_{criterion.lower().replace(' ', '_')}(" for criterion in criteria]
        assert len(wanted) == 8
        assert [name for name in wanted if name not in tests] == []


class TestTheSimulatorPage:
    page = (ROOT / "docs" / "simulator.md").read_text()

    def test_lists_every_fault_with_its_knobs(self) -> None:
        rows = re.findall(r"^\| ([PVX]\d+) \| (.*?) \| (.*?) \| (.*?) \|$", self.page, re.MULTILINE)
        told = {fault: (what, quoted(fate), quoted(switches)) for fault, what, fate, switches in rows}
        assert told == {fault: (knob.what, knob.fate, knob.switches) for fault, knob in KNOBS.items()}

    def test_names_every_event_of_the_ledger(self) -> None:
        source = "".join(path.read_text() for path in (ROOT / "apps" / "simulator").glob("*.py"))
        events = set(re.findall(r'record\(\s*"([a-z]+)"', source))
        sentence = self.page.partition("One line of JSON for each thing that happened: ")[2].partition(". It")[0]
        assert set(quoted(sentence)) == events


def quoted(cell: str) -> tuple[str, ...]:
    """What stands in backticks."""
    return tuple(re.findall(r"`([^`]+)`", cell))


class TestTheFigures:
    def test_of_when_the_hub_asks_are_those_of_znet(self) -> None:
        plan = load_caps("znet", {}).poll
        assert (plan.first_s, plan.base_s, plan.cap_s, plan.floor_s) == (60, 30, 600, 10)
        gaps = [spec_gap_s(n, base_s=plan.base_s, cap_s=plan.cap_s) for n in range(6)]
        assert gaps == [30, 60, 120, 240, 480, 600]
        section = MONITORING.partition("## When the hub asks")[2].partition("\n## ")[0]
        for text in (
            "**60 s**",
            "30 s × 2ⁿ",
            "30, 60, 120, 240,\n480",
            "**600 s**",
            "every 10 s",
            "±10 %",
            "120 s",
            "24 h",
        ):
            assert text in section
        assert (JITTER, error_gap_s(30, 0.999999) <= 120, OPEN_FOR.total_seconds()) == (0.1, True, 24 * 3600)

    def test_of_reviews_and_alarms_are_those_of_the_code(self) -> None:
        assert load_caps("znet", {}).review_after_s == 15 * 60
        assert PIN_ALARM.total_seconds() == 15 * 60
        assert MONITORING.count("15 minutes") == 2

    def test_of_the_catalogue_are_those_of_the_code(self) -> None:
        text = (ROOT / "docs" / "CATALOGUE.md").read_text()
        assert [row[0].strip("`") for row in table(text, "Input fields")] == InputField.Kind.values
        for told in ("24 hours old", "factor of 3", "at most 5000 lines and 2 MB", "every 5 minutes", "for 10 minutes"):
            assert told in text
        assert (timedelta(hours=24), Decimal(3)) == (FRESH_FOR, DEFAULT_JUMP)
        assert (LINES_LIMIT, BYTES_LIMIT) == (5000, 2 * 1024 * 1024)
        assert (EVERY, BALANCES.every_s, 2 * EVERY) == (timedelta(minutes=5), 300, timedelta(minutes=10))

    def test_of_the_providers_are_listed(self) -> None:
        labels = [str(label) for kind, label in kind_choices() if has_wire(kind)]
        readme = " ".join((ROOT / "README.md").read_text().split())
        assert f"Provider protocols so far: {', '.join(labels)}; beside them own stock and work by hand." in readme


class TestSettings:
    documented = frozenset(re.findall(r"^#?([A-Z_]+)=", (ROOT / ".env.example").read_text(), re.MULTILINE))

    @every_document
    def test_that_are_named_exist(self, document: Path) -> None:
        named = set(re.findall(r"`([A-Z][A-Z_]{2,})`", document.read_text()))
        assert named - self.documented - ENVIRONMENT_OF_OTHERS == set()


# --- tone


class TestTheTone:
    @every_document
    def test_promises_nothing_that_nobody_can_know(self, document: Path) -> None:
        boasts = r"100 ?%|production[- ]ready|bullet-?proof|never fails|guaranteed|military|enterprise-grade|blazing"
        assert re.findall(boasts, document.read_text(), re.IGNORECASE) == []

    def test_is_spoken_in_arabic_for_every_trouble(self) -> None:
        section = GUIDE.partition("## 🔍 استكشاف الأخطاء الشائعة")[2]
        troubles = re.split(r"^### ", section, flags=re.MULTILINE)[1:]
        assert [trouble.splitlines()[0] for trouble in troubles][:4] == ["Redis", "Permission", "Beat", "Import errors"]
        assert [trouble.splitlines()[0] for trouble in troubles if "**بالعربية:**" not in trouble] == []


class TestTheDecisionsPage:
    text = (ROOT / "docs" / "DECISIONS.md").read_text()

    def test_names_every_decision_and_who_may(self) -> None:
        rows = {row[0].strip("`"): row[3] for row in table(self.text, "The decisions")}
        functions = {name for name in decisions.__all__ if name.islower()}
        assert set(rows) == functions
        actions = {"deliver": "deliver_by_hand"}
        two = {actions.get(action, action): act.is_always_two for action, act in ACTS.items()}
        assert {name for name, who in rows.items() if who == "always two"} == {name for name in two if two[name]}
        assert {name for name, who in rows.items() if who.endswith("two above the limit")} == {
            name for name in two if not two[name]
        }

    def test_tells_the_times_of_the_code(self) -> None:
        assert ALONE_AFTER.total_seconds() == 24 * 3600
        assert LONGEST_SNOOZE.days == 90
        assert GIVEN_UP_FOR.days == 30
        for text in ("24 hours after the attempt", "at most 90 days", "asked for 30 days"):
            assert text in self.text


class TestTheMoneyPage:
    text = (ROOT / "docs" / "README_MONEY.md").read_text()

    def test_names_every_account_and_posting(self) -> None:
        accounts = [row[0].strip("`") for row in table(self.text, "Where money can be")]
        assert accounts == list(words.PURSES)
        postings = {
            row[0].strip("`"): (row[1].strip("`"), row[2].strip("`")) for row in table(self.text, "What moves it")
        }
        assert set(postings) == set(words.TRANSFERS)
        assert {kind: way for kind, way in postings.items() if kind in WAYS} == {kind: WAYS[kind][0] for kind in WAYS}

    def test_tells_how_long_a_request_waits(self) -> None:
        assert people.OPEN_FOR.total_seconds() == 24 * 3600
        assert "waits 24 hours" in self.text


class TestTheReconciliationPage:
    text = (ROOT / "docs" / "RECONCILIATION.md").read_text()

    def test_names_every_kind_field_and_preset(self) -> None:
        assert [row[0].strip("`") for row in table(self.text, "The kinds")] == BreakKind.values
        fields = [row[0].strip("`") for row in table(self.text, "The dialect")]
        assert set(fields) == set(Dialect.__dataclass_fields__)
        (presets,) = re.findall(r"^Presets: (.+)$", self.text, re.MULTILINE)
        assert re.findall(r"`(\w+)`", presets) == list(PRESETS)

    def test_names_every_decision_with_its_kinds(self) -> None:
        told = {row[0].strip("`"): row[1] for row in table(self.text, "The decisions")}
        assert list(told) == [str(end) for end in CHOICES]
        for end, kinds in told.items():
            named = set(re.findall(r"`(\w+)`", kinds))
            wanted = set(BreakKind.values) - named if kinds.startswith("all") else named
            assert wanted == {str(kind) for kind in CHOICES[end].kinds}

    def test_tells_the_figures_of_the_code(self) -> None:
        figures = ("older than 1 hour", "more than 1 day from", "more than 3 times", "100000 lines and 16 MB")
        assert [figure for figure in figures if figure not in self.text] == []
        assert (timedelta(hours=1), timedelta(days=1), 3) == (SETTLE_GRACE, FAR, BELIEVABLE)
        assert (STATEMENT_LINES, STATEMENT_BYTES) == (100_000, 16 * 1024 * 1024)


class TestTheDecisionsAboutTheDesign:
    PAGES = tuple(sorted((ROOT / "docs" / "adr").glob("0*.md")))

    def test_are_listed_by_number_and_name(self) -> None:
        listed = re.findall(
            r"^(\d+)\. \[(.+)\]\((.+)\)$", (ROOT / "docs" / "adr" / "README.md").read_text(), re.MULTILINE
        )
        assert [(f"# {number}. {name}", file) for number, name, file in listed] == [
            (page.read_text().splitlines()[0], page.name) for page in self.PAGES
        ]
        assert [int(page.name[:4]) for page in self.PAGES] == list(range(1, len(self.PAGES) + 1))

    @pytest.mark.parametrize("page", PAGES, ids=names(PAGES))
    def test_have_three_parts(self, page: Path) -> None:
        assert re.findall(r"^\*\*(\w+)\.\*\*", page.read_text(), re.MULTILINE) == [
            "Situation",
            "Decision",
            "Consequence",
        ]


# --- routing


class TestTheRouting:
    DOCUMENT = (ROOT / "docs" / "ROUTING.md").read_text()

    def rows(self, header: str) -> list[list[str]]:
        """The cells of the table under this header, without the header."""
        lines = self.DOCUMENT.partition(f"\n| {header} |")[2].splitlines()[2:]
        table = itertools.takewhile(lambda line: line.startswith("|"), lines)
        return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]

    def test_has_every_filter_in_its_order(self) -> None:
        told = [filter_name.strip("`") for filter_name, *_ in self.rows("filter")]
        assert told == [check.__name__.lstrip("_") for check in FILTERS]

    def test_names_what_each_filter_says(self) -> None:
        told = {row[0].strip("`"): set(re.findall(r"`(\w+)`", row[1])) for row in self.rows("filter")}
        tried = {f"tried_{state}" for state in ("refused", "failed", "absent", "abandoned")}
        for check in FILTERS:
            said = set(re.findall(r'Passed\([^"]*"(\w+)"', inspect.getsource(check))) or tried
            assert told[check.__name__.lstrip("_")] == said

    def test_has_every_strategy(self) -> None:
        assert [name.strip("`") for name, _ in self.rows("strategy of the package")] == [str(one) for one in STRATEGIES]

    def test_has_every_kind_that_can_tell_a_wrong_mapping(self) -> None:
        assert {kind.strip("`") for kind, _ in self.rows("kind")} == set(MAPPING_REFUSALS)

    def test_gives_the_right_times(self) -> None:
        assert f"not older than {FRESH_BALANCE.total_seconds() / 60:.0f} minutes" in self.DOCUMENT
        assert f"every {LONGEST_WAIT.total_seconds() / 60:.0f} minutes at least" in self.DOCUMENT
        assert timedelta(hours=1) == REFUSED_FOR
