"""docs/GLOSSARY.md speaks the panel's Arabic and Turkish, and its names of the code exist."""

from __future__ import annotations

import re
from pathlib import Path

import polib
import pytest
from django.apps import apps

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "GLOSSARY.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line.startswith("| ")]
WORDS = {row[0]: {"ar": row[1], "tr": row[2]} for row in ROWS if row[0] != "word"}


def small(text: str) -> str:
    """The same with a small letter at its beginning, the Turkish one for a Turkish I."""
    return text[:1].replace("İ", "i").lower() + text[1:]


class TestTheWords:
    @pytest.mark.parametrize("language", ["ar", "tr"])
    def test_are_translated_as_in_the_panel(self, language: str) -> None:
        catalogue = polib.pofile(str(ROOT / f"apps/panel/locale/{language}/LC_MESSAGES/django.po"))
        panel = {small(entry.msgid): small(entry.msgstr) for entry in catalogue}
        known = {word: told[language] for word, told in WORDS.items() if word in panel}
        assert len(known) >= 25
        assert known == {word: panel[word] for word in known}

    def test_stand_once_each_with_all_that_belongs_to_them(self) -> None:
        rows = [row for row in ROWS if row[0] != "word"]
        assert len(rows) == len(WORDS)
        assert [row[0] for row in rows if len(row) != 4 or not all(row)] == []

    def test_of_the_code_are_models(self) -> None:
        models = {model.__name__ for model in apps.get_models()}
        assert set(re.findall(r"`([A-Z]\w+)` in the code", PAGE)) <= models
