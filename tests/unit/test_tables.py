"""CSV files: every fault by its line, and nothing in a written file that a spreadsheet would run."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from django.utils import translation
from hypothesis import given
from hypothesis import strategies as st

from apps.common.tables import (
    LINES_LIMIT,
    BadCell,
    Column,
    Table,
    one_of,
    read_currency,
    read_flag,
    read_micros,
    read_moment,
    read_table,
    read_wholes,
    write_table,
)

COLUMNS = (
    Column("code", needs_value=True),
    Column("price", read_micros),
    Column("currency", read_currency),
    Column("active", read_flag),
)


@pytest.fixture(autouse=True)
def english() -> None:
    translation.activate("en")


def read(text: str | bytes) -> Table:
    return read_table(text if isinstance(text, bytes) else text.encode(), COLUMNS, ("code",))


def faults(text: str | bytes) -> list[tuple[int, str, str]]:
    return [(fault.line, fault.column, fault.text) for fault in read(text).faults]


HEAD = "code,price,currency,active\n"


class TestReading:
    def test_gives_lines_with_their_numbers_in_any_order_of_columns(self) -> None:
        table = read("price,code,active,currency\n\n12.5,a,yes,try\n,b,NO,USD\n")
        assert [(line.number, dict(line.values)) for line in table.lines] == [
            (3, {"price": 12_500_000, "code": "a", "active": True, "currency": "TRY"}),
            (4, {"price": None, "code": "b", "active": False, "currency": "USD"}),
        ]
        assert table.faults == []

    def test_takes_semicolons_as_turkish_spreadsheets_write_them_and_a_byte_order_mark(self) -> None:
        table = read(b"\xef\xbb\xbf" + b"code;price;currency;active\r\na;12.5;TRY;yes\r\n")
        assert [line.values["code"] for line in table.lines] == ["a"]

    def test_lists_every_fault_by_line(self) -> None:
        text = (
            HEAD
            + "a,1.1234567,TRY,yes\nb,-1,XYZ,maybe\n=1+1,1,TRY,yes\nc,1,TRY\n,1,TRY,yes\nd,12,TRY,yes\nd,13,TRY,no\n"
        )
        assert faults(text) == [
            (2, "price", "more than 6 decimals"),
            (3, "price", "an amount is not below zero"),
            (3, "currency", "not a known currency: write its three letters, such as TRY"),
            (3, "active", "write yes or no"),
            (4, "code", "begins like a formula: put an apostrophe (') in front if it is meant so"),
            (5, "", "3 cells instead of 4"),
            (6, "code", "this cell is empty"),
            (8, "code", "the same as line 7"),
        ]

    @pytest.mark.parametrize("text", ["12,50", "1.250,50", "1e3", "NaN", "Infinity", "0x10", "١٢"])
    def test_reads_no_amount_that_is_not_plainly_one(self, text: str) -> None:
        assert faults(f'{HEAD}a,"{text}",TRY,yes\n') == [
            (2, "price", "no amount: write it with a point and without grouping, such as 1250.50")
        ]

    def test_counts_lines_as_an_editor_does(self) -> None:
        assert faults(HEAD + '"a\nb",1,TRY,yes\nc,x,TRY,yes\n') == [
            (2, "code", "holds a line break or an unprintable character"),
            (4, "price", "no amount: write it with a point and without grouping, such as 1250.50"),
        ]

    def test_says_in_which_line_the_encoding_breaks(self) -> None:
        assert faults(HEAD.encode() + b"a,1,TRY,yes\n\xfe\xfd,1,TRY,yes\n") == [
            (3, "", "this is not UTF-8: save the file as “CSV UTF-8”")
        ]

    def test_names_columns_that_are_missing_unknown_or_there_twice(self) -> None:
        assert faults("code,code,active,colour\n") == [
            (1, "code", "this column is there twice"),
            (1, "price", "this column is missing"),
            (1, "currency", "this column is missing"),
            (1, "colour", "this column is not known; the columns are: code, price, currency, active"),
        ]
        assert faults(b"")[0] == (1, "code", "this column is missing")

    def test_stops_at_a_limit_of_lines_and_bytes(self) -> None:
        many = HEAD + "".join(f"c{n},1,TRY,yes\n" for n in range(LINES_LIMIT + 1))
        assert faults(many) == [(LINES_LIMIT + 2, "", "more than 5000 lines: split the file")]
        assert faults(b"x" * (2 * 1024 * 1024 + 1)) == [(1, "", "the file is larger than 2 MB: split it")]

    def test_does_not_stumble_over_a_broken_quote(self) -> None:
        assert read(HEAD + '"a,1,TRY,yes\n').lines == []
        assert len(faults(HEAD + '"a,1,TRY,yes\n')) == 1

    def test_reads_choices_and_lists(self) -> None:
        assert one_of(["one", "list"])("") == "one"
        assert read_wholes("1 5 10") == [1, 5, 10]


class TestAMoment:
    def test_has_a_zone(self) -> None:
        assert read_moment("2026-01-31T09:00:00+03:00") == datetime(2026, 1, 31, 6, 0, tzinfo=UTC)
        assert read_moment("") is None
        for text in ("2026-01-31T09:00:00", "yesterday"):
            with pytest.raises(BadCell, match="write date, time and zone"):
                read_moment(text)


class TestWriting:
    def test_leaves_no_formula(self) -> None:
        columns = (Column("name"),)
        written = write_table(columns, [{"name": "=HYPERLINK(1)"}, {"name": "@x"}, {"name": "+1"}, {"name": "-1"}])
        assert written.decode("utf-8-sig").splitlines() == ["name", "'=HYPERLINK(1)", "'@x", "'+1", "'-1"]

    @given(texts=st.lists(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1), max_size=5))
    def test_can_be_read_back_as_it_was(self, texts: list[str]) -> None:
        columns = (Column("number"), Column("name"))
        rows = [{"number": str(n), "name": text} for n, text in enumerate(texts)]
        table = read_table(write_table(columns, rows), columns, ("number",))
        assert table.faults == []
        assert [dict(line.values) for line in table.lines] == rows
