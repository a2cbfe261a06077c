"""Names in the order that people expect, and the numbers in them."""

from __future__ import annotations

import random

import pytest

from apps.common.natural import natural_key, numbers_in


class TestTheOrder:
    def test_is_by_number_where_text_would_be_120_180_325_60(self) -> None:
        """LESSONS C30."""
        names = ["60 UC", "120 UC", "180 UC", "325 UC", "1,000 UC", "8100 UC"]
        mixed = random.Random(30).sample(names, len(names))
        assert sorted(names) != names
        assert sorted(mixed, key=natural_key) == names

    def test_does_not_mind_capitals_accents_and_the_turkish_i(self) -> None:
        assert natural_key("ELMAS  Çölü") == natural_key("elmas çölü") == natural_key("Elmas COLU")
        assert natural_key("ALTIN") == natural_key("altın")

    def test_goes_word_by_word_first(self) -> None:
        names = ["Free Fire 310", "PUBG 60", "PUBG 120"]
        assert sorted(["PUBG 120", "PUBG 60", "Free Fire 310"], key=natural_key) == names


class TestTheNumbers:
    @pytest.mark.parametrize(
        ("name", "numbers"),
        [
            ("60 UC", {"60"}),
            ("PUBG Mobile 660 UC", {"660"}),
            ("UC60", {"60"}),
            ("1,000 UC", {"1000"}),
            ("1,0000 UC", {"1", "0"}),
            ("060 UC + 6 bonus", {"60", "6"}),
            ("no number", set()),
        ],
    )
    def test_are_whole_ones(self, name: str, numbers: set[str]) -> None:
        assert numbers_in(name) == numbers
