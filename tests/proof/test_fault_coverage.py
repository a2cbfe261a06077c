"""The table of faults is whole: every id is there once, every named test exists, every reason is a sentence."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

from apps.simulator.knobs import KNOBS, NOWHERE
from tests.proof.fault_coverage import COVERAGE, Cover

ROOT = Path(__file__).resolve().parents[2]

CRASH_POINTS = (
    *("C1", "C2", "C3", "C4", "C5", "C6", "C9", "C10a", "C10b", "C11a", "C11b", "C11c", "C11d"),
    *("C12", "C13a", "C13b", "C13c", "C14", "C15", "C16", "C17", "C18"),
)
IDS = [
    *CRASH_POINTS,
    *(
        f"{letter}{number}"
        for letter, last in {"P": 22, "V": 11, "W": 15, "B": 9, "M": 11, "R": 5, "X": 10, "Z": 5}.items()
        for number in range(1, last + 1)
    ),
]


@cache
def names_in(path: str) -> frozenset[str]:
    """`test_x` and `Class::test_x` of a file, read and not run."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    found = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    for owner in tree.body:
        if isinstance(owner, ast.ClassDef):
            found |= {f"{owner.name}::{node.name}" for node in owner.body if isinstance(node, ast.FunctionDef)}
    return frozenset(found)


def is_there(test: str) -> bool:
    path, _, name = test.partition("::")
    return (ROOT / path).is_file() and name.split("::")[-1].startswith("test_") and name in names_in(path)


def is_sentence(reason: str) -> bool:
    said = reason.removeprefix("not yet: ")
    return reason.endswith(".") and len(said.split()) >= 6 and (said != reason or said[0].isupper())


def test_every_fault_is_there_exactly_once() -> None:
    source = (ROOT / "tests/proof/fault_coverage.py").read_text("utf-8")
    assert list(COVERAGE) == IDS
    assert [fault for fault in IDS if source.count(f'\n    "{fault}": ') != 1] == []


@pytest.mark.parametrize("fault", IDS)
def test_of_a_fault_each_named_test_exists(fault: str) -> None:
    cover: Cover = COVERAGE[fault]
    if isinstance(cover, str):
        assert is_sentence(cover)
    else:
        assert cover
        assert [test for test in cover if not is_there(test)] == []


def test_every_knob_of_the_simulator_is_a_known_fault() -> None:
    assert set(KNOBS) | set(NOWHERE) <= set(IDS)


@pytest.mark.parametrize(
    ("test", "exists"),
    [
        ("tests/proof/test_fault_coverage.py::test_every_fault_is_there_exactly_once", True),
        ("tests/proof/test_fault_coverage.py::is_there", False),
        ("tests/proof/test_fault_coverage.py::test_that_was_renamed", False),
        ("tests/proof/test_no_such_file.py::test_anything", False),
    ],
)
def test_a_test_that_is_gone_is_noticed(test: str, exists: bool) -> None:
    assert is_there(test) is exists


@pytest.mark.parametrize("reason", ["", "todo", "not yet: later.", "cannot be tested for some reason or other."])
def test_a_word_is_no_reason(reason: str) -> None:
    assert not is_sentence(reason)
