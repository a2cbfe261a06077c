"""World switches: the ways in which providers of one family differ, and whether this one is down.

What is here every dialect has; a dialect adds its own in a subclass and a table of checks beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from apps.simulator import strict


class Down(StrEnum):
    HTML = "html"
    EMPTY = "empty"
    HANG = "hang"
    REFUSE = "refuse"  # closes the listening socket, which all dialects of this process share


class Batch(StrEnum):
    """What is wrong with an answer about several orders."""

    WHOLE = "whole"
    SHUFFLED = "shuffled"
    MISSING = "missing"  # the last one is left out
    EXTRA = "extra"  # one more that nobody asked about


@dataclass(frozen=True, slots=True)
class Switches:
    down: Down | None = None
    down_for_s: float | None = None
    slow_s: float = 0.0  # before every answer
    clock_skew_s: float = 0.0  # of every time that an answer names
    batch: Batch = Batch.WHOLE
    hook_url: str | None = None
    hook_late_s: float = 0.0
    hook_times: int = 1
    hook_out_of_order: bool = False
    hook_forged: bool = False

    @property
    def buys_again(self) -> bool:
        """Whether a reference that was bought already buys once more."""
        return False

    @property
    def is_racy(self) -> bool:
        """Whether a reference counts as used only after the first answer has left."""
        return False

    @property
    def reference_life_s(self) -> float | None:
        """After how many seconds a used reference is forgotten and buys anew."""
        return None


CHECKS: dict[str, strict.Check] = {
    "down": strict.optional(strict.one_of(Down)),
    "down_for_s": strict.optional(strict.seconds),
    "slow_s": strict.seconds,
    "clock_skew_s": strict.number,
    "batch": strict.one_of(Batch),
    "hook_url": strict.optional(strict.loopback_url),
    "hook_late_s": strict.seconds,
    "hook_times": strict.count,
    "hook_out_of_order": strict.flag,
    "hook_forged": strict.flag,
}


def turn(switches: Switches, checks: Mapping[str, strict.Check], raw: object) -> Switches:
    """Apply a JSON object of changes; a new `down` without `down_for_s` lasts until it is set to null."""
    changes = strict.check_fields(raw, CHECKS | dict(checks), "switches")
    if "down" in changes:
        changes.setdefault("down_for_s", None)
    return replace(switches, **changes)


def switches_as_json(switches: Switches) -> dict[str, Any]:
    return asdict(switches)
