"""How many requests may go to an account now, and when the next may: the generic cell rate algorithm, pure.

Times are whole microseconds since 1970. In any window of w seconds at most rate x w + burst requests are granted, of
which asking gets four fifths. Where the numbers are kept is a `Store`; `budget_redis` has one, the database another.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from math import ceil
from typing import Protocol

from apps.common.logs import get_logger

log = get_logger(__name__)

SECOND_US = 1_000_000
DEBT_US = 600 * SECOND_US
"""How far beyond an empty bucket a hold or a debt may reach."""
FAR_US = DEBT_US + 60 * SECOND_US
"""What lies further ahead than this was written by a clock that was wrong: the bucket starts anew, with one request."""
REST_S = 5.0
"""A store that failed is left alone this long; the other one does its work meanwhile."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Use(StrEnum):
    """What a request is for."""

    PLACE = "place"  # may use the whole budget
    ASK = "ask"  # may use four fifths of it


@dataclass(frozen=True, slots=True)
class Limits:
    """Microseconds per request and requests at once: of everything together, and of asking."""

    gap_us: int
    burst: int
    ask_gap_us: int
    ask_burst: int

    @classmethod
    def of(cls, rate_per_s: float, burst: int) -> Limits:
        """The limits of an account; a fifth is kept for placing, but one question at a time may always go."""
        gap_us = ceil(SECOND_US / rate_per_s)
        return cls(gap_us, burst, ceil(gap_us * 5 / 4), max(burst * 4 // 5, 1))


@dataclass(frozen=True, slots=True)
class Spent:
    """When all that was granted will be earned again: of everything together, and of asking."""

    all_us: int = 0
    ask_us: int = 0


@dataclass(frozen=True, slots=True)
class Draw:
    """One withdrawal: `n` requests at `now_us`, as many of them as there are, or all of them where `is_forced`.

    The bucket counts as empty at `emptied_us`.
    """

    use: Use
    n: int
    now_us: int
    emptied_us: int = 0
    is_forced: bool = False

    def emptied(self, at_us: int) -> Draw:
        """The same, with the bucket empty at `at_us` too."""
        return replace(self, emptied_us=max(self.emptied_us, at_us))


@dataclass(frozen=True, slots=True)
class Drawn:
    """How many were granted, when one more may go, and how many more may go at once."""

    count: int
    retry_us: int
    left: int = field(default=0, compare=False)


class Store(Protocol):
    """Where the budgets of all accounts are kept; what it grants, it grants once, to whoever shares it."""

    def draw(self, account: int, limits: Limits, draw: Draw) -> Drawn:
        """Withdraw from the account's budget; raises `StoreUnreachable`."""
        ...


class StoreUnreachable(Exception):
    """The store does not answer, or not in time; whether it granted anything is unknown."""


def withdraw(spent: Spent, limits: Limits, draw: Draw) -> tuple[Spent, Drawn]:
    """What is spent after the withdrawal, and what it granted."""
    all_us = _begin(spent.all_us, limits.gap_us, limits.burst, draw)
    ask_us = _begin(spent.ask_us, limits.ask_gap_us, limits.ask_burst, draw)
    is_ask = draw.use is Use.ASK
    free = (draw.now_us + limits.burst * limits.gap_us - all_us) // limits.gap_us
    if is_ask:
        free = min(free, (draw.now_us + limits.ask_burst * limits.ask_gap_us - ask_us) // limits.ask_gap_us)
    count = draw.n if draw.is_forced else max(min(draw.n, free), 0)
    all_us = _end(all_us, limits.gap_us, limits.burst, count, draw)
    ask_us = _end(ask_us, limits.ask_gap_us, limits.ask_burst, count, draw) if is_ask else ask_us
    retry_us = max(all_us - (limits.burst - 1) * limits.gap_us, draw.now_us)
    if is_ask:
        retry_us = max(retry_us, ask_us - (limits.ask_burst - 1) * limits.ask_gap_us)
    return Spent(all_us, ask_us), Drawn(count, retry_us, max(free - count, 0))


def _begin(spent_us: int, gap_us: int, burst: int, draw: Draw) -> int:
    full_us = burst * gap_us
    if spent_us > draw.now_us + full_us + FAR_US:
        spent_us = draw.now_us + full_us - gap_us
    return max(spent_us, draw.now_us, draw.emptied_us + full_us if draw.emptied_us else 0)


def _end(spent_us: int, gap_us: int, burst: int, count: int, draw: Draw) -> int:
    return max(spent_us, min(spent_us + count * gap_us, draw.now_us + burst * gap_us + DEBT_US))


def is_kept(draw: Draw, drawn: Drawn) -> bool:
    """Whether the withdrawal changed anything that must be written down."""
    return drawn.count > 0 or draw.is_forced


class RedundantStore:
    """One store while it answers, else another. At every change the bucket counts as empty: two never add up."""

    def __init__(self, first: Store, second: Store, clock: Callable[[], float] = time.monotonic) -> None:
        self._first, self._second, self._clock = first, second, clock
        self._rests_until = float("-inf")
        self._is_away = False
        self._emptied_us = 0

    def draw(self, account: int, limits: Limits, draw: Draw) -> Drawn:
        """Withdraw from the first store; from the second at once, and for a few seconds more, when it fails."""
        if self._clock() >= self._rests_until:
            emptied_us = draw.now_us if self._is_away else self._emptied_us
            try:
                drawn = self._first.draw(account, limits, draw.emptied(emptied_us))
            except StoreUnreachable as error:
                self._leave(draw.now_us, error)
            else:
                self._is_away, self._emptied_us = False, emptied_us
                return drawn
        return self._second.draw(account, limits, draw.emptied(self._emptied_us))

    def _leave(self, now_us: int, error: StoreUnreachable) -> None:
        self._rests_until = self._clock() + REST_S
        if not self._is_away:
            self._is_away, self._emptied_us = True, now_us
            log.warning("budget_store_unreachable", error=str(error))


def as_us(at: datetime) -> int:
    """A time as whole microseconds, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


def from_us(us: int) -> datetime:
    """The same, back."""
    return _EPOCH + timedelta(microseconds=us)
