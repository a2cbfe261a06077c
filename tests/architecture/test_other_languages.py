"""README and the summary in other languages say what the English pages say, as far as structure and code can tell."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path

import pytest

from apps.orders.dispatch.trace import STEPS
from apps.orders.states import AttemptState, ExternalStatus, OrderStatus
from tests.architecture.test_docs import FENCE, LINK, table

ROOT = Path(__file__).resolve().parents[2]
ENGLISH = (ROOT / "README.md").read_text()
SUMMARY = (ROOT / "docs" / "SUMMARY_AR.md").read_text()
ORIGINAL = (ROOT / "docs" / "README_IMPLEMENTATION.md").read_text()
MONITORING = (ROOT / "docs" / "README_MONITORING.md").read_text()

in_each_language = pytest.mark.parametrize("language", ["ar", "tr"])


def readme(language: str) -> str:
    return (ROOT / f"README.{language}.md").read_text()


def levels(text: str) -> list[int]:
    """How deep each heading is, from top to bottom."""
    return [len(marks) for marks in re.findall(r"^(#+) ", FENCE.sub("", text), re.MULTILINE)]


def blocks(text: str) -> list[list[str]]:
    """The command blocks, without their comments."""
    return [[re.sub(r"\s+# .*$", "", line) for line in fence.splitlines()] for fence in FENCE.findall(text)]


def sections(text: str) -> list[str]:
    return re.split(r"^#+ .*$", FENCE.sub("", text), flags=re.MULTILINE)[1:]


def code_in(section: str) -> Counter[str]:
    return Counter(re.findall(r"`([^`]+)`", section))


def points(section: str) -> int:
    """Items of lists and rows of tables."""
    return len(re.findall(r"^(?:- |\d+\. |\| )", section, re.MULTILINE))


def targets(section: str) -> list[str]:
    """Where the links lead, whatever language of the README they lead to."""
    return sorted(re.sub(r"README(\.\w\w)?\.md(#\S+)?", "README", link) for link in LINK.findall(section))


def names(text: str, heading: str) -> list[str]:
    return [row[0].strip("`") for row in table(text, heading)]


class TestTheReadme:
    @in_each_language
    def test_has_the_same_sections(self, language: str) -> None:
        assert levels(readme(language)) == levels(ENGLISH)
        assert [points(section) for section in sections(readme(language))] == [*map(points, sections(ENGLISH))]

    @in_each_language
    def test_has_the_same_commands_and_code(self, language: str) -> None:
        assert blocks(readme(language)) == blocks(ENGLISH)
        assert [code_in(section) for section in sections(readme(language))] == [*map(code_in, sections(ENGLISH))]

    @in_each_language
    def test_leads_to_the_same_places(self, language: str) -> None:
        assert [targets(section) for section in sections(readme(language))] == [*map(targets, sections(ENGLISH))]

    def test_is_reached_from_each_language(self) -> None:
        files = {"README.md", "README.ar.md", "README.tr.md"}
        for name in files:
            assert files - {name} <= set(LINK.findall((ROOT / name).read_text()))


class TestTheSummary:
    def test_has_the_sections_of_the_original_first(self) -> None:
        count = len(levels(ORIGINAL))
        assert levels(SUMMARY)[:count] == levels(ORIGINAL)
        theirs, ours = sections(ORIGINAL), sections(SUMMARY)[:count]
        assert [*map(points, ours)] == [*map(points, theirs)]
        assert [*map(targets, ours[1:])] == [*map(targets, theirs[1:])]
        assert [*map(code_in, ours[1:])] == [*map(code_in, theirs[1:])]

    def test_has_the_steps_and_states_of_the_code(self) -> None:
        steps = {int(row[0]): row[1].strip("`") for row in table(SUMMARY, "الخطوات الخمس عشرة")}
        assert steps == STEPS
        assert names(SUMMARY, "الطلب") == OrderStatus.values
        assert names(SUMMARY, "عند المزوّد") == ExternalStatus.values
        assert names(SUMMARY, "محاولة الشراء") == AttemptState.values

    def test_has_the_daily_commands_of_the_quick_start(self) -> None:
        theirs = [first_code(row[1]) for row in table(MONITORING, "Daily commands")]
        assert [first_code(row[1]) for row in table(SUMMARY, "الأوامر اليومية")] == theirs
        assert blocks(SUMMARY) == [block for block in blocks(MONITORING) if ".venv/bin/celery" in str(block)]

    def test_has_only_signs_that_the_quick_start_has(self) -> None:
        theirs = {word for row in table(MONITORING, "What to do when something is wrong") for word in code_in(row[0])}
        ours = [word for row in table(SUMMARY, "ما العمل عند الخلل") for word in code_in(row[0])]
        assert len(ours) >= 15
        assert [word for word in ours if word not in theirs] == []


def first_code(cell: str) -> str:
    return next(iter(code_in(cell)))


class TestTheArabicPages:
    @pytest.mark.parametrize("text", [readme("ar"), SUMMARY], ids=["README.ar.md", "SUMMARY_AR.md"])
    def test_run_from_right_to_left_and_their_commands_do_not(self, text: str) -> None:
        assert text.startswith('<div dir="rtl" lang="ar">\n\n# ')
        assert text.endswith("\n\n</div>\n")
        assert len(re.findall(r'<div dir="ltr">\n\n```\n.*?```\n\n</div>\n', text, re.DOTALL)) == len(
            FENCE.findall(text)
        )
        assert text.count("<div") == text.count("</div>")
