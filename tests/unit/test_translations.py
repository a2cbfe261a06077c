"""Every text of the interface is there in Arabic and Turkish, with the same placeholders, and compiled."""

from __future__ import annotations

import importlib
import re

import pytest

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
