"""Reading text and amounts: exact values, and no exception for any input."""

from __future__ import annotations

import time
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.providers.parsing import (
    CHARSETS,
    decode_text,
    decode_url,
    decode_url_field,
    dump_json,
    fold_turkish,
    is_blank_code,
    is_html,
    json_amount,
    json_text,
    parse_amount,
    parse_json,
)

PROPERTY = settings(max_examples=500, deadline=None, database=None)


class TestParseAmount:
    @pytest.mark.parametrize(
        ("text", "amount"),
        [
            ("12.50", "12.50"),
            ("12,50", "12.50"),
            ("{12.50}", "12.50"),
            ("{ 12,50 }", "12.50"),
            ("1.250,50", "1250.50"),
            ("1,250.0000", "1250.0000"),
            ("1.250", "1.250"),
            ("1,250", "1.250"),
            ("1.234.567", "1234567"),
            ("1,234,567.8", "1234567.8"),
            ("1.234.567,89", "1234567.89"),
            ("0", "0"),
            ("0.00", "0.00"),
            (".5000", ".5000"),
            (" 7 \n", "7"),
            ("0012", "12"),
            ("0.1234567890123456", "0.1234567890123456"),
            ("999999999999.99", "999999999999.99"),
        ],
    )
    def test_reads_the_forms_that_occur(self, text: str, amount: str) -> None:
        assert str(parse_amount(text)) == str(Decimal(amount))

    @pytest.mark.parametrize(
        "text",
        [
            "",
            " ",
            "-5",
            "-0.01",
            "+5",
            "NaN",
            "Infinity",
            "inf",
            "1e5",
            "0x10",
            "1_000",
            "12.",
            ".",
            ",",
            "{}",
            "12.50 TL",
            "1 250,50",
            "1.25,50",
            "1.2500,50",
            "1,25,000",
            "1.250,500.00",
            "1,250.500,00",
            "12..50",
            "12,,50",
            "1234567890123",
            "1.234.567.890.123",
            "0.12345678901234567",
            "9" * 100_000,
            "1" + ".111" * 50_000,
            "١٢",
            "1२.50",
            "²",
            "abc",
            "OK",
            "None",
            "null",
            "true",
        ],
    )
    def test_reads_nothing_else(self, text: str) -> None:
        assert parse_amount(text) is None

    @given(amount=st.decimals(0, 10**12 - 1, places=2))
    @PROPERTY
    def test_reads_back_every_form_of_an_amount(self, amount: Decimal) -> None:
        dots = f"{amount:,.2f}"
        comma = dots.translate(str.maketrans(",.", ".,"))
        for text in (f"{amount:.2f}", f"{amount:.2f}".replace(".", ","), dots, comma, f"{{{dots}}}"):
            assert parse_amount(text) == amount

    @given(text=st.text())
    @PROPERTY
    def test_gives_a_sum_of_money_or_none_for_any_text(self, text: str) -> None:
        amount = parse_amount(text)
        assert amount is None or (type(amount) is Decimal and amount.is_finite() and 0 <= amount < 10**12)

    @given(text=st.from_regex(r"[{}.,0-9+-]{0,20}", fullmatch=True))
    @PROPERTY
    def test_gives_a_sum_of_money_or_none_for_any_digits(self, text: str) -> None:
        amount = parse_amount(text)
        assert amount is None or (type(amount) is Decimal and 0 <= amount < 10**12)


class TestDecodeText:
    @pytest.mark.parametrize(
        ("body", "content_type", "text"),
        [
            ("şifre".encode(), "", "şifre"),
            ("şifre".encode(), "text/html; charset=UTF-8", "şifre"),
            ("şifre".encode("cp1254"), "", "şifre"),
            ("şifre".encode("cp1254"), "text/html; charset=windows-1254", "şifre"),
            ("şifre".encode("cp1254"), "text/html; charset=utf-8", "şifre"),
            ("şifre".encode("iso-8859-9"), 'text/html; charset="ISO-8859-9"', "şifre"),
            ("Ã¼".encode("cp1252"), "text/html; charset=iso-8859-1", "Ã¼"),
            ("şifre".encode(), "text/html; charset=no-such-thing", "şifre"),
            ("şifre".encode(), "text/html; charset=idna", "şifre"),
            (b"\\x41", "text/html; charset=unicode_escape", "\\x41"),
            (b"\xef\xbb\xbf OK|1 \r\n", "", "OK|1"),
            (b"\xef\xbb\xbf\xef\xbb\xbfOK", "", "OK"),
            (b"", "", ""),
            (b"\x81", "", None),
            (b"a\x9d\xff", "text/html; charset=utf-8", None),
        ],
    )
    def test_reads_header_then_utf_8_then_cp1254(self, body: bytes, content_type: str, text: str | None) -> None:
        assert decode_text(body, content_type) == text

    @pytest.mark.parametrize("name", CHARSETS)
    def test_believes_each_charset_that_it_knows(self, name: str) -> None:
        letters = {"utf-8": "П", "cp1254": "ĞŸ", "cp1252": "ÐŸ"}[CHARSETS[name]]
        assert decode_text(b"\xd0\x9f", f"text/html; charset={name}") == letters

    def test_knows_the_charsets_of_turkish_panels(self) -> None:
        known = "utf-8 utf8 windows-1254 cp1254 iso-8859-9 latin5 windows-1252 iso-8859-1 latin1"
        assert sorted(CHARSETS) == sorted(known.split())

    def test_takes_no_letter_for_a_mark(self) -> None:
        assert decode_text(b"qOK") == "qOK"

    @given(body=st.binary(), content_type=st.text())
    @PROPERTY
    def test_never_raises_and_never_replaces(self, body: bytes, content_type: str) -> None:
        text = decode_text(body, content_type)
        assert text is None or "\ufffd" not in text or "\ufffd".encode() in body

    @given(text=st.text(st.characters(codec="utf-8")))
    @PROPERTY
    def test_reads_utf_8_exactly(self, text: str) -> None:
        assert decode_text(text.encode()) == text.lstrip("\ufeff").strip()


class TestDecodeUrl:
    @pytest.mark.parametrize(
        ("text", "decoded"),
        [
            ("Y%C3%BCklendi+-ONAYLANDI", "Yüklendi -ONAYLANDI"),
            ("OK%7C2%7CAB%2BC", "OK|2|AB+C"),
            ("y%FCklendi", "yüklendi"),
            ("100% tamam", "100% tamam"),
            ("100%", "100%"),
            ("%41 %42", "%41 %42"),
            ("%4", "%4"),
            ("ü%41", "ü%41"),
            ("a+b", "a+b"),
            ("%81", "%81"),
            ("", ""),
        ],
    )
    def test_decodes_only_what_looks_encoded(self, text: str, decoded: str) -> None:
        assert decode_url(text) == decoded

    def test_decodes_a_known_field_by_its_plus(self) -> None:
        assert decode_url_field("a+b") == "a b"

    def test_takes_no_long_time(self) -> None:
        start = time.perf_counter()
        decode_url("%41" * 80_000 + " ")
        is_html("x" * 250_000)
        is_html("<" * 250_000)
        assert time.perf_counter() - start < 0.5


class TestIsHtml:
    @pytest.mark.parametrize(
        "text",
        [
            "<html>",
            "<!DOCTYPE html>",
            " \n<br />",
            "<?xml version='1.0'?>",
            "Hata <BODY class=x>",
            "OK|1\n<html lang=tr>",
        ],
    )
    def test_knows_a_page(self, text: str) -> None:
        assert is_html(text)

    @pytest.mark.parametrize("text", ["", "OK|12.50|3", "OK|2|<b>1</b>|", "OK|1||5 < 7", "OK|2|<header>|"])
    def test_knows_an_answer(self, text: str) -> None:
        assert not is_html(text)


class TestIsBlankCode:
    @pytest.mark.parametrize("text", ["", " ", "\t\n", "-", " - ", "null", "NULL", " Null "])
    def test_knows_the_blank_forms(self, text: str) -> None:
        assert is_blank_code(text)

    @pytest.mark.parametrize("text", ["0", "--", "- -", "nullx", "yok", "A-", "–"])
    def test_takes_everything_else_for_a_code(self, text: str) -> None:
        assert not is_blank_code(text)


class TestFoldTurkish:
    @pytest.mark.parametrize(
        ("text", "folded"),
        [
            ("ŞİFRE GEÇERSİZ", "sifre gecersiz"),
            ("şıfre  geçersiz", "sifre gecersiz"),
            ("Bağlantı\tÖnce ÜRÜN", "baglanti once urun"),
            ("I İ ı i", "i i i i"),
            ("i\u0307p", "ip"),
        ],
    )
    def test_makes_every_i_and_mark_alike(self, text: str, folded: str) -> None:
        assert fold_turkish(text) == folded

    @given(text=st.text())
    @PROPERTY
    def test_is_stable(self, text: str) -> None:
        assert fold_turkish(fold_turkish(text)) == fold_turkish(text)


class TestParseJson:
    def test_reads_numbers_as_they_are_written(self) -> None:
        told = parse_json(b'{"a": 0.27819000000000001, "b": [23501, "x", true, null], "c": 1E-7}')
        assert told == {
            "a": Decimal("0.27819000000000001"),
            "b": [Decimal(23501), "x", True, None],
            "c": Decimal("0.0000001"),
        }

    def test_tolerates_a_byte_order_mark_and_white_space(self) -> None:
        assert parse_json('\ufeff {"a": "ş"} \r\n'.encode()) == {"a": "ş"}

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"null",
            b"<html>",
            b'{"a": 1',
            b'{"a": 1} {"b": 2}',
            b'{"a": NaN}',
            b"[Infinity]",
            b"-Infinity",
            b'{"a": 1, "a": 1}',
            b'[{"a": {"b": 1, "b": 2}}]',
            b"{'a': 1}",
            b'{"a": "\xff"}',
            '{"a": 1}'.encode("utf-16"),
            b'{"a": "x\ny"}',
            b'["\\u0000"]',
            b'["a\\\\\\u0000"]',
            b'["\\ud83d"]',
            b'{"\\uDE00": 1}',
            b"[" * 100_000,
            b"1E99999999999999999999999",
        ],
    )
    def test_reads_nothing_that_is_not_exactly_one_value(self, body: bytes) -> None:
        assert parse_json(body) is None

    def test_reads_a_backslash_before_letters_that_are_no_escape(self) -> None:
        assert parse_json(b'["\\\\u0000"]') == ["\\u0000"]

    def test_reads_whole_surrogate_pairs(self) -> None:
        assert parse_json(b'["\\ud83d\\ude00"]') == ["\U0001f600"]

    @given(body=st.binary(max_size=40))
    @PROPERTY
    def test_never_raises(self, body: bytes) -> None:
        parse_json(body)


class TestDumpJson:
    @pytest.mark.parametrize(
        "body",
        [b'{"status":"Partial","remains":"157","charge":0.278190}', b'[1,{"a":[true,null,"\xc5\x9f"]},[]]', b"{}"],
    )
    def test_writes_what_was_read_byte_for_byte(self, body: bytes) -> None:
        assert dump_json(parse_json(body)) == body


class TestJsonText:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (" 23501 ", "23501"),
            (Decimal(23501), "23501"),
            (Decimal("12345678901234567890123"), "12345678901234567890123"),
            (Decimal("1.5"), ""),
            (Decimal("1E+5"), ""),
            (True, ""),
            (None, ""),
            ([], ""),
            ({}, ""),
        ],
    )
    def test_is_a_text_or_a_whole_number(self, value: object, text: str) -> None:
        assert json_text(value) == text


class TestJsonAmount:
    @pytest.mark.parametrize(
        ("value", "amount"),
        [
            ("100.84292", "100.84292"),
            (Decimal("0.0000001"), "0.0000001"),
            (Decimal("0.27819000000000001"), "0.27819000000000001"),
            (Decimal("999999999999"), "999999999999"),
            (Decimal("-0.0"), "0.0"),
        ],
    )
    def test_is_exact(self, value: object, amount: str) -> None:
        assert str(json_amount(value)) == str(Decimal(amount))

    @pytest.mark.parametrize(
        "value",
        [
            Decimal(-1),
            Decimal("1E+12"),
            Decimal("1E-31"),
            Decimal("0." + "1" * 31),
            Decimal("1E+999999"),
            "",
            "-1",
            "x",
            True,
            None,
            [],
        ],
    )
    def test_is_nothing_else(self, value: object) -> None:
        assert json_amount(value) is None
