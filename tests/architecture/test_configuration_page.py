"""docs/CONFIGURATION.md has every setting that the code reads, with its default, and every option of an account."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from apps.providers import options

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "CONFIGURATION.md").read_text()
SETTINGS = ast.parse((ROOT / "config" / "settings.py").read_text())
SAMPLE = (ROOT / ".env.example").read_text()

COMPUTED = {
    "HUB_DATA_DIR": "`var`",
    "DATABASE_URL": "SQLite in `HUB_DATA_DIR`",
    "SECURE_COOKIES": "as `PRODUCTION`",
    "LOG_FORMAT": "`console`, with `PRODUCTION` `json`",
}
"""Defaults that follow from others, in the page's words."""


def rows(columns: int) -> list[list[str]]:
    """The rows of every table of so many columns whose first cell is a name, without that cell's backticks."""
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in PAGE.splitlines() if line[:3] == "| `"]
    return [[row[0].strip("`"), *row[1:]] for row in cells if len(row) == columns]


def written(default: object) -> str:
    """A default as the page writes it."""
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    if isinstance(default, list):
        default = ",".join(default)
    return f"`{default}`" if default != "" else "empty"


def read_by_settings() -> dict[str, str]:
    """Every variable that config/settings.py reads, with its default in the page's words."""
    found = {}
    for call in (node for node in ast.walk(SETTINGS) if isinstance(node, ast.Call)):
        match call:
            case ast.Call(func=ast.Name("required"), args=[ast.Constant(str(name))]):
                found[name] = "none"
            case ast.Call(func=ast.Attribute(ast.Name("env")), args=[ast.Constant(str(name))], keywords=[given]):
                found[name] = COMPUTED[name] if name in COMPUTED else written(ast.literal_eval(given.value))
    return found


def read_by_scripts() -> dict[str, str]:
    """The variables of the sample file below the line about scripts, with the defaults given there."""
    lines = SAMPLE.partition("# --- scripts only")[2]
    return {name: written(default) for name, default in re.findall(r"^#([A-Z_]+)=(.*)$", lines, re.MULTILINE)}


class TestTheSettings:
    def test_are_those_of_the_code_with_their_defaults(self) -> None:
        settings = read_by_settings()
        assert len(settings) > 35
        assert {row[0]: row[1] for row in rows(4)} == settings | read_by_scripts()

    def test_stand_once_each_and_say_what_they_mean(self) -> None:
        names = [row[0] for row in rows(4)]
        assert len(names) == len(set(names))
        assert [row[0] for row in rows(4) if not row[2]] == []

    def test_are_in_the_sample_file(self) -> None:
        assert {row[0] for row in rows(4)} == set(re.findall(r"^#?([A-Z_]+)=", SAMPLE, re.MULTILINE))


class TestTheOptionsOfAnAccount:
    def test_are_those_that_every_protocol_knows(self) -> None:
        kinds = (options.SECONDS_OPTIONS, options.POLL_OPTIONS, options.RATE_OPTIONS, options.COUNT_OPTIONS)
        known = {name for kind in kinds for name in kind} | {*options.FLAG_OPTIONS, "polling"}
        assert {row[0] for row in rows(2)} == known
