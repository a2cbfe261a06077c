"""Files for spreadsheets: readable letters, and nothing that runs."""

from __future__ import annotations

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.common.sheets import csv_lines, safe_cell


class TestACell:
    @pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠", " =", "  +"])
    def test_that_begins_like_a_formula_is_text(self, start: str) -> None:
        assert safe_cell(f"{start}1+1") == f"'{start}1+1"

    @pytest.mark.parametrize("text", ["", "bank 17", "a=b", "مرحبا", "1-2", "'=1"])
    def test_that_is_plain_stays_as_it_is(self, text: str) -> None:
        assert safe_cell(text) == text


@given(st.lists(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="\r\x00")), min_size=1), min_size=1))
def test_a_file_begins_with_the_mark_and_says_what_it_was_given(rows: list[list[str]]) -> None:
    text = "".join(csv_lines(["Zeit", "سبب"], rows))
    assert text.startswith("\ufeffZeit,سبب\r\n")
    read = list(csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline="")))
    assert read[1:] == rows
