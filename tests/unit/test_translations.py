"""Every text of the interface is there in Arabic and Turkish, and every word of the hub has its sentence."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import get_args

import pytest

from apps.orders.dispatch.trace import STEPS
from apps.orders.news import Verb, knowledge_of
from apps.orders.states import OrderStatus
from apps.panel import words
from apps.providers.actions import UNASKABLE, Action, Why
from apps.providers.contract import Outcome
from apps.wallet.models import Account

APPS = Path(__file__).resolve().parents[2] / "apps"

translations = importlib.import_module("scripts.translations")  # a script, not a package: types stay with its own check
PLACEHOLDER = re.compile(r"%\([a-z_]+\)[sd]|%%")


def placeholders(text: str) -> set[str]:
    return set(PLACEHOLDER.findall(text))


@pytest.mark.parametrize("language", sorted(translations.LANGUAGES))
class TestACatalogue:
    def test_has_every_text_translated_and_compiled(self, language: str) -> None:
        found = translations.find_texts()
        assert len(found.places) > 300
        assert translations.problems_of(language, found) == []

    def test_keeps_the_placeholders_of_every_text(self, language: str) -> None:
        for entry in translations.load_catalogue(language):
            forms = list(entry.msgstr_plural.values()) if entry.msgid_plural else [entry.msgstr]
            known = placeholders(entry.msgid) | placeholders(entry.msgid_plural)
            # A form for exactly one or two may say the number in words.
            assert placeholders(forms[-1]) == known, entry.msgid
            assert all(placeholders(form) <= known for form in forms), entry.msgid

    def test_writes_digits_in_latin(self, language: str) -> None:
        texts = "".join(entry.msgstr for entry in translations.load_catalogue(language))
        assert re.findall("[\u0660-\u0669\u06f0-\u06f9]", texts) == []


# --- the hub's own words


def calls(function: str, *, room: str = "orders") -> list[ast.Call]:
    """Every call of a function or class of this name in one room's code."""
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in sorted((APPS / room).rglob("*.py"))]
    nodes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [node for node in nodes if getattr(node.func, "id", getattr(node.func, "attr", "")) == function]


def texts_at(position: int, found: list[ast.Call]) -> set[str]:
    """The literal texts at one place of the calls' arguments; both branches of a condition count."""
    arguments = [call.args[position] for call in found if len(call.args) > position]
    branches = [[node.body, node.orelse] if isinstance(node, ast.IfExp) else [node] for node in arguments]
    constants = [node for nodes in branches for node in nodes if isinstance(node, ast.Constant)]
    return {node.value for node in constants if isinstance(node.value, str)}


def reasons_in_code() -> set[str]:
    """What the code of the orders can write into an order's reason."""
    sources = [path.read_text(encoding="utf-8") for path in sorted((APPS / "orders").rglob("*.py"))]
    written = {found for source in sources for found in re.findall(r'"((?:waiting|conflict):[a-z_]+)"', source)}
    refused = {reason for reason in texts_at(0, calls("DispatchRefused")) if ":" not in reason}
    waiting = {
        reason
        for call in calls("Passed")
        if not any(keyword.arg == "kind" for keyword in call.keywords)
        for reason in texts_at(1, [call])
    }
    contradicted = {f"conflict:{outcome}" for outcome in Outcome}
    unasked = {f"waiting:{why}" for why in UNASKABLE}
    return written | {f"waiting:{reason}" for reason in refused | waiting | {"no_route"}} | contradicted | unasked


class TestTheTableOfReasons:
    def test_has_a_sentence_for_every_reason_and_no_other(self) -> None:
        assert set(words.REASONS) == reasons_in_code()

    def test_has_words_for_every_route_passed_over(self) -> None:
        tried = {f"tried_{state}" for state in ("refused", "failed", "absent", "abandoned")}
        assert set(words.PASSED_OVER) == texts_at(1, calls("Passed")) | tried


class TestTheTablesOfWords:
    def test_name_every_step(self) -> None:
        assert set(words.STEP_NAMES) == set(STEPS.values())

    def test_name_every_action_and_objection(self) -> None:
        assert set(words.ACTIONS) == set(Action)
        assert set(words.WHY_NOT) == set(Why)

    def test_name_every_outcome_and_status(self) -> None:
        assert set(words.OUTCOMES) == set(Outcome)
        assert set(words.STATUS_SENTENCES) == set(OrderStatus)

    def test_name_every_event(self) -> None:
        told = (
            texts_at(1, calls("Verdict"))
            | texts_at(1, calls("record_story"))
            | texts_at(1, calls("record_story", room="api"))
        )
        assert told <= set(words.EVENTS)

    def test_name_every_cause(self) -> None:
        told = texts_at(2, calls("record_story")) | texts_at(2, calls("record_story", room="api"))
        assert told | set(get_args(Verb)) <= set(words.CAUSES)

    def test_name_every_fact_of_a_step(self) -> None:
        facts = {keyword.arg for call in calls("add") for keyword in call.keywords if keyword.arg}
        assert facts | {"kind", "next_at"} == set(words.FACTS)

    def test_name_every_posting_and_purse(self) -> None:
        kinds = texts_at(1, calls("Posting", room="wallet"))
        assert kinds <= set(words.TRANSFERS)
        assert set(words.PURSES) == set(Account.Kind)

    def test_name_every_kind_of_knowledge(self) -> None:
        source = inspect.getsource(knowledge_of)
        assert set(words.KNOWLEDGE) == set(re.findall(r'return "(\w+)"', source)) | {"local"}
