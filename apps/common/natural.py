"""Names in the order that people expect: 60 before 120 before 325, whatever stands around the numbers."""

from __future__ import annotations

import re
import unicodedata

KEY_LIMIT = 500
DIGITS = 12
"""Whole numbers are padded to this many digits; longer ones keep their own length."""

_NUMBER = re.compile(r"[0-9]{1,3}(?:,[0-9]{3})+(?![0-9])|[0-9]+")


def natural_key(text: str) -> str:
    """A text by which plain comparison orders names naturally; accents and capitals do not count."""
    return _NUMBER.sub(lambda found: _digits(found).zfill(DIGITS), fold(text))[:KEY_LIMIT]


def numbers_in(text: str) -> frozenset[str]:
    """The whole numbers of a name, without grouping and leading zeros: `1,000 UC` has 1000 and nothing else."""
    return frozenset(_digits(found).lstrip("0") or "0" for found in _NUMBER.finditer(text))


def fold(text: str) -> str:
    """`text` for comparing: small letters without marks, every Turkish i alike, white space as one space."""
    letters = unicodedata.normalize("NFKD", text)
    bare = "".join(letter for letter in letters if not unicodedata.combining(letter))
    return " ".join(bare.replace("ı", "i").casefold().split())


def _digits(found: re.Match[str]) -> str:
    return found.group().replace(",", "")
