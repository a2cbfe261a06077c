"""Statements as providers write them: columns, amounts, times and words by a dialect; faults without their contents."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from apps.orders.reconciling.dialects import (
    PRESETS,
    BadDialect,
    Dialect,
    Meaning,
    check_dialect,
    preset_of,
    read_dialect,
    words_of,
)
from apps.orders.reconciling.lines import Line, read_lines
from apps.providers.registry import kind_choices

PLAIN = PRESETS["plain"]
HEAD = b"reference,provider_id,target,amount,currency,time,state,fee\n"
DOTTED = Dialect(
    columns={"own_ref": "ref", "amount": "tutar", "at": "tarih"},
    delimiter=";", decimal=",", times="%d.%m.%Y %H:%M", zone="Europe/Istanbul",
)  # fmt: skip


def only(content: bytes, dialect: Dialect = PLAIN) -> Line:
    reading = read_lines(content, dialect, "TRY")
    assert reading.faults == []
    (line,) = reading.lines
    return line


def faults(content: bytes, dialect: Dialect = PLAIN) -> list[tuple[int, str]]:
    return [(fault.number, fault.text) for fault in read_lines(content, dialect, "TRY").faults]


class TestALine:
    def test_is_read_by_its_columns(self) -> None:
        line = only(HEAD + b'R1,Z1,P1,"1,250.50",usd,2026-03-02T09:00:00+03:00,Completed,0.25\n')
        assert line == Line(
            2, "R1", "Z1", "P1", 1_250_500_000, 250_000, "USD", datetime(2026, 3, 2, 6, tzinfo=UTC), "Completed",
            Meaning.BOUGHT,
        )  # fmt: skip

    def test_may_have_a_decimal_comma_and_a_zone_of_the_dialect(self) -> None:
        line = only(b"ref;tutar;tarih\nR1;1.250,50;02.03.2026 09:00\n", DOTTED)
        assert (line.micros, line.at, line.currency) == (1_250_500_000, datetime(2026, 3, 2, 6, tzinfo=UTC), "TRY")

    def test_below_zero_is_money_that_came_back(self) -> None:
        assert only(HEAD + b"R1,,,-12,,,completed,\n").meaning is Meaning.RETURNED

    def test_below_zero_is_a_purchase_where_the_dialect_says_so(self) -> None:
        line = only(HEAD + b"R1,,,-12,,,completed,\n", replace(PLAIN, charges_are_negative=True))
        assert (line.meaning, line.micros) == (Meaning.BOUGHT, 12_000_000)

    def test_may_come_from_json_by_paths(self) -> None:
        told = {"data": {"rows": [{"id": 7, "price": {"value": 12.10}, "when": 1772442000}]}}
        dialect = Dialect(
            columns={"provider_id": "id", "amount": "price.value", "at": "when"},
            form="json", records="data.rows", times="unix",
        )  # fmt: skip
        line = only(json.dumps(told).encode(), dialect)
        assert (line.provider_id, line.micros, line.at) == ("7", 12_100_000, datetime(2026, 3, 2, 9, tzinfo=UTC))

    @pytest.mark.parametrize(
        "cells",
        [
            b"R1,,,12.5.1,,,completed,", b"R1,,,,,,completed,", b"R1,,,1e5,,,completed,",
            b"R1,,,1.0000001,,,completed,", b"R1,,,12,???,,completed,", b"R1,,,12,,yesterday,completed,",
            b",,,12,,,completed,", b",,P1,12,,,completed,",
            b"R1,,,\"1,2\",,,completed,", b"R1,,,nan,,,completed,",
        ],
    )  # fmt: skip
    def test_that_cannot_be_read_is_a_fault_and_is_not_guessed(self, cells: bytes) -> None:
        reading = read_lines(HEAD + cells + b"\n", PLAIN, "TRY")
        assert (reading.lines, [fault.number for fault in reading.faults]) == ([], [2])

    @pytest.mark.parametrize(
        "at",
        [
            "2026-03-02T24:00:01", "2026-02-30T09:00:00", "2026-03-02T09:00:60", "0000-00-00 00:00:00",
            "2026-03-02T25:61:00+03:00", "99999-01-01T00:00:00",
        ],
    )  # fmt: skip
    def test_at_a_time_that_there_is_not_is_a_fault(self, at: str) -> None:
        assert [number for number, _ in faults(HEAD + f"R1,,,12,,{at},completed,\n".encode())] == [2]

    @pytest.mark.parametrize(
        ("seconds", "at"),
        [
            ("2147483648", datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC)),
            ("4102444800000", datetime(2100, 1, 1, tzinfo=UTC)),
        ],
    )
    def test_may_be_after_the_end_of_32_bits(self, seconds: str, at: datetime) -> None:
        assert only(HEAD + f"R1,,,12,,{seconds},completed,\n".encode(), replace(PLAIN, times="unix")).at == at

    @pytest.mark.parametrize("seconds", ["1e400", "-1e18", "999999999999999999", "nan"])
    def test_outside_all_calendars_is_a_fault(self, seconds: str) -> None:
        cells = HEAD + f"R1,,,12,,{seconds},completed,\n".encode()
        assert [number for number, _ in faults(cells, replace(PLAIN, times="unix"))] == [2]

    def test_with_a_word_that_nobody_explained_is_a_fault(self) -> None:
        ((number, text),) = faults(HEAD + b"R1,,,12,,,stuck,\n")
        assert (number, "stuck" in text) == (2, True)


class TestAFault:
    def test_never_repeats_what_may_be_a_code(self) -> None:
        dialect = Dialect(columns={"own_ref": "reference", "amount": "pin"})
        assert "4711" not in str(faults(b"reference,pin\nR1,PIN-4711\n", dialect))

    def test_shows_no_word_of_a_column_that_holds_something_else(self) -> None:
        rows = b"".join(b"R%d,,,1,,,PIN-%d,\n" % (number, number) for number in range(30))
        told = faults(HEAD + rows)
        assert ([number for number, _ in told], "PIN" in str(told)) == ([0], False)

    @pytest.mark.parametrize("content", [b"", b"a,b\n1,2\n", HEAD, HEAD + b"1,2\n", b"\xff\xfe", HEAD + b'"R1,,,1\n'])
    def test_of_the_whole_file_is_told_once(self, content: bytes) -> None:
        assert [number for number, _ in faults(content)] == [0]

    @pytest.mark.parametrize("content", [b"[", b"{}", b'{"data": [1]}', b'{"data": [{"price": NaN}]}', b"[" * 100_000])
    def test_of_json_is_told_once(self, content: bytes) -> None:
        assert [number for number, _ in faults(content, PRESETS["client_api"])] == [0]


class TestADialect:
    @pytest.mark.parametrize("name", PRESETS)
    def test_that_is_a_preset_makes_sense(self, name: str) -> None:
        check_dialect(PRESETS[name])
        assert read_dialect(json.dumps(PRESETS[name].as_json())) == PRESETS[name]

    def test_is_there_for_every_kind(self) -> None:
        assert {preset_of(kind) for kind, _ in kind_choices()} == set(PRESETS)

    def test_may_be_a_preset_with_changes(self) -> None:
        dialect = read_dialect('{"preset": "znet", "zone": "UTC", "words": {"TAMAM": "bought"}}')
        assert (dialect.zone, dialect.words, dialect.decimal) == ("UTC", {"tamam": "bought"}, ",")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"columns": {"own_ref": "a"}}, {"columns": {"amount": "a"}}, {"columns": {"amount": "a", "target": "b"}},
            {"columns": {"amount": "a", "own_ref": "b", "pin": "c"}}, {"preset": "nobody"},
            {"preset": "plain", "zone": "Moon"},
            {"preset": "plain", "times": "whenever"}, {"preset": "plain", "window_minutes": 0}, {"nothing": 1}, {},
            {"preset": "plain", "words": {"ok": "maybe"}},
            {"columns": {"amount": "a", "own_ref": "b"}, "words": {"x": "bought"}},
        ],
    )  # fmt: skip
    def test_that_cannot_be_meant_is_refused(self, wrong: dict[str, Any]) -> None:
        with pytest.raises(BadDialect):
            read_dialect(json.dumps(wrong))

    def test_has_its_words_written_in_lines(self) -> None:
        assert words_of("Completed = bought\n\nIn Progress=pending") == {
            "completed": "bought",
            "in progress": "pending",
        }
        with pytest.raises(BadDialect):
            words_of("Completed: bought")
