#!/usr/bin/env python3
"""Keeps the catalogues of the interface: finds every text in code and templates, updates the .po files, compiles .mo.

`--check` writes nothing and fails when a text is missing, untranslated or no longer used, or a .mo file is old.
"""

from __future__ import annotations

import argparse
import ast
import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")

import polib
from django.template import Engine
from django.template.base import Node
from django.templatetags.i18n import BlockTranslateNode, TranslateNode

LOCALE = ROOT / "apps" / "panel" / "locale"
LANGUAGES = {
    "ar": (
        "nplurals=6; plural=n==0 ? 0 : n==1 ? 1 : n==2 ? 2 : "
        "n%100>=3 && n%100<=10 ? 3 : n%100>=11 && n%100<=99 ? 4 : 5;"
    ),
    "tr": "nplurals=2; plural=(n > 1);",
}
"""The languages beside English, with the plural rule of Django's own catalogue."""

SINGLE = {"_", "gettext", "gettext_lazy"}
PLURAL = {"ngettext", "ngettext_lazy"}


@dataclass(frozen=True, slots=True)
class Text:
    """One text of the interface; `plural` is empty where there is one form only."""

    singular: str
    plural: str = ""


@dataclass(slots=True)
class Found:
    """All texts with the files they stand in."""

    places: dict[Text, set[str]] = field(default_factory=dict)

    def add(self, text: Text, path: Path) -> None:
        self.places.setdefault(text, set()).add(path.relative_to(ROOT).as_posix())


def find_texts() -> Found:
    """Every text that the apps mark for translation. Django must be set up."""
    found = Found()
    for path in sorted((ROOT / "apps").rglob("*.py")):
        if "migrations" not in path.parts:
            for text in texts_of_code(path.read_text(encoding="utf-8")):
                found.add(text, path)
    for path in sorted((ROOT / "apps").rglob("templates/**/*.html")):
        for text in texts_of_template(path.read_text(encoding="utf-8")):
            found.add(text, path)
    return found


def texts_of_code(source: str) -> Iterator[Text]:
    """The literal texts given to gettext and its like."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
            continue
        words = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        texts = [word for word in words if isinstance(word, str)]
        if node.func.id in SINGLE and len(texts) == 1:
            yield Text(texts[0])
        elif node.func.id in PLURAL and len(texts) == 2:
            yield Text(texts[0], texts[1])


def texts_of_template(source: str) -> Iterator[Text]:
    """The literal texts of `translate` and `blocktranslate`."""
    for node in nodes_of(source):
        if isinstance(node, TranslateNode):
            yield Text(str(node.filter_expression.var.literal))
        elif isinstance(node, BlockTranslateNode):
            plural = node.render_token_list(node.plural)[0] if node.plural else ""
            yield Text(node.render_token_list(node.singular)[0], plural)


def nodes_of(source: str) -> Iterator[Node]:
    compiled = Engine.get_default().from_string(source)
    for kind in (TranslateNode, BlockTranslateNode):
        yield from compiled.nodelist.get_nodes_by_type(kind)


# --- catalogues


def catalogue_path(language: str) -> Path:
    """The .po file of a language; its .mo lies beside it."""
    return LOCALE / language / "LC_MESSAGES" / "django.po"


def load_catalogue(language: str) -> polib.POFile:
    """The catalogue as it is stored, or an empty one."""
    path = catalogue_path(language)
    return polib.pofile(str(path)) if path.exists() else polib.POFile()


def key_of(entry: polib.POEntry) -> Text:
    return Text(entry.msgid, entry.msgid_plural)


def is_translated(entry: polib.POEntry) -> bool:
    """Every form is there."""
    if "fuzzy" in entry.flags:
        return False
    return all(entry.msgstr_plural.values()) if entry.msgid_plural else bool(entry.msgstr)


def updated(language: str, found: Found) -> polib.POFile:
    """The catalogue with exactly the texts that were found; translations that exist are kept."""
    known = {key_of(entry): entry for entry in load_catalogue(language)}
    catalogue = polib.POFile(wrapwidth=118)
    catalogue.metadata = {
        "Project-Id-Version": "order-hub",
        "MIME-Version": "1.0",
        "Content-Type": "text/plain; charset=UTF-8",
        "Content-Transfer-Encoding": "8bit",
        "Language": language,
        "Plural-Forms": LANGUAGES[language],
    }
    for text, places in sorted(found.places.items(), key=lambda item: (item[0].singular, item[0].plural)):
        catalogue.append(_entry(language, text, known.get(text), places))
    return catalogue


def _entry(language: str, text: Text, old: polib.POEntry | None, places: set[str]) -> polib.POEntry:
    entry = polib.POEntry(msgid=text.singular, occurrences=[(place, "") for place in sorted(places)])
    if "%(" in text.singular:
        entry.flags.append("python-format")
    if text.plural:
        forms = int(LANGUAGES[language].partition("nplurals=")[2].partition(";")[0])
        entry.msgid_plural = text.plural
        entry.msgstr_plural = {n: old.msgstr_plural.get(n, "") if old else "" for n in range(forms)}
    else:
        entry.msgstr = old.msgstr if old else ""
    return entry


def write(language: str, catalogue: polib.POFile) -> None:
    """Store the .po and its .mo."""
    path = catalogue_path(language)
    path.parent.mkdir(parents=True, exist_ok=True)
    catalogue.save(str(path))
    path.with_suffix(".mo").write_bytes(compiled(language))


def compiled(language: str) -> bytes:
    """The stored .po as the bytes of its .mo."""
    return bytes(load_catalogue(language).to_binary())


def problems_of(language: str, found: Found) -> list[str]:
    """What is wrong with the stored catalogue, in words."""
    stored = {key_of(entry): entry for entry in load_catalogue(language)}
    problems = [f"{language}: missing: {text.singular!r}" for text in found.places if text not in stored]
    problems += [f"{language}: no longer used: {text.singular!r}" for text in stored if text not in found.places]
    problems += [f"{language}: not translated: {e.msgid!r}" for e in stored.values() if not is_translated(e)]
    path = catalogue_path(language).with_suffix(".mo")
    if not path.exists() or path.read_bytes() != compiled(language):
        problems.append(f"{language}: {path.name} is not that of the .po file: run scripts/translations.py")
    return problems


def main(argv: Sequence[str]) -> int:
    """Update and compile, or check."""
    parser = argparse.ArgumentParser(
        prog="translations.py", description="Updates or checks the interface's catalogues."
    )
    parser.add_argument("--check", action="store_true", help="write nothing, fail when something is missing")
    arguments = parser.parse_args(argv)
    import django

    django.setup()
    found = find_texts()
    if not arguments.check:
        for language in LANGUAGES:
            write(language, updated(language, found))
    problems = [problem for language in LANGUAGES for problem in problems_of(language, found)]
    for problem in problems:
        print(problem)
    print(f"{len(found.places)} texts in {len(LANGUAGES)} languages, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
