"""The simulator's clock: real time plus whatever a test has advanced."""

from __future__ import annotations

import time


class Clock:
    def __init__(self, offset_s: float = 0.0) -> None:
        self._offset_s = offset_s

    def now(self) -> float:
        """Unix seconds, shifted."""
        return time.time() + self._offset_s

    def advance(self, seconds: float) -> None:
        self._offset_s += seconds
