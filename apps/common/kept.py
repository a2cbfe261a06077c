"""A value that is loaded now and then and kept for some seconds, by each process for itself."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Generic, TypeVar

T = TypeVar("T")

_all: list[Kept[object]] = []


class Kept(Generic[T]):
    """What `load(now)` returned, for `keep_for`; `is_worth_keeping` may say that a value is only good once."""

    def __init__(
        self,
        load: Callable[[datetime], T],
        keep_for: timedelta,
        is_worth_keeping: Callable[[T], bool] = lambda value: True,
    ) -> None:
        self._load, self._keep_for, self._is_worth_keeping = load, keep_for, is_worth_keeping
        self._lock = threading.Lock()
        self._kept: tuple[datetime, T] | None = None
        _all.append(self)  # type: ignore[arg-type] # forgetting asks for no type

    def get(self, now: datetime) -> T:
        """The value, loaded anew when it is too old; one caller loads, the others wait for it."""
        with self._lock:
            if self._kept is not None and timedelta(0) <= now - self._kept[0] < self._keep_for:
                return self._kept[1]
            value = self._load(now)
            self._kept = (now, value) if self._is_worth_keeping(value) else None
            return value

    def forget(self) -> None:
        """Load anew next time."""
        self._kept = None


def forget_all() -> None:
    """Forget every kept value of this process."""
    for kept in _all:
        kept.forget()
