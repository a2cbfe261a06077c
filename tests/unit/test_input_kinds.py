"""What a value of each kind of input field looks like."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from apps.catalog.models import IS_HTTPS, SHAPES, InputField


def objection(kind: str, value: str, pattern: str = "") -> str:
    return InputField(name="x", kind=kind, pattern=pattern).objection(value)


class TestKinds:
    def test_all_have_a_shape(self) -> None:
        assert set(SHAPES) == set(InputField.Kind)

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            ("text", "anything at all, çğ"),
            ("digits", "0012345"),
            ("phone", "+905321234567"),
            ("phone", "05321234567"),
            ("email", "a.b+c@mail.example.org"),
            ("player_id", "Ab_9.#-"),
        ],
    )
    def test_take_what_fits(self, kind: str, value: str) -> None:
        assert objection(kind, value) == ""

    @pytest.mark.parametrize(
        ("kind", "value", "says"),
        [
            ("digits", "12a", "must be digits only"),
            ("digits", "١٢٣", "must be digits only"),
            ("phone", "12345", "must be a phone number: 7 to 15 digits, with a + in front or without"),
            ("phone", "532 123 45 67", "must be a phone number: 7 to 15 digits, with a + in front or without"),
            ("email", "a@b", "must be an e-mail address"),
            ("email", "a@b..org", "must be an e-mail address"),
            ("player_id", "a b", "must be a player's id: letters, digits and _ . # - only"),
        ],
    )
    def test_object_to_what_does_not(self, kind: str, value: str, says: str) -> None:
        assert objection(kind, value) == says

    def test_ask_the_field_s_own_pattern_too(self) -> None:
        assert objection("digits", "123", r"5\d*") == r"does not match 5\d*"
        assert objection("digits", "523", r"5\d*") == ""


class TestAPicture:
    @pytest.mark.parametrize(
        "url", ["http://x.example/a.png", "https://", "https:///a", "javascript:alert(1)", "https://x y", "https://x\n"]
    )
    def test_is_an_https_address_and_nothing_else(self, url: str) -> None:
        with pytest.raises(ValidationError):
            IS_HTTPS(url)
        IS_HTTPS("https://x.example/a.png?size=2")
