"""What a check of the doctor says; no check lives here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

ERROR, WARNING = "error", "warning"

NAMED = 5
"""How many ids or names a finding lists."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: which check says so, how bad it is, what was found, what to do."""

    check: str
    level: str
    found: str
    remedy: str


Check = Callable[[datetime], list[Finding]]


def some(names: Sequence[object]) -> str:
    """The first few of a list, and how many more there are."""
    text = ", ".join(map(str, names[:NAMED]))
    return text if len(names) <= NAMED else f"{text} and {len(names) - NAMED} more"
