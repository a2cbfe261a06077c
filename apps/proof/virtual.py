"""Virtual time, seeded dice, and how they take the place of the real ones in the modules of ours that use them.

Only the threads that play see them: whatever else runs in the process keeps the real ones, and moves no virtual clock.
"""

from __future__ import annotations

import functools
import math
import random
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from types import ModuleType
from typing import Any

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
"""When every run begins."""

NOT_OURS_TO_CHANGE = ("apps.proof", "apps.simulator")


_thread = threading.local()


def join_play() -> None:
    """From now on the thread that calls is one of those that play."""
    _thread.plays = True


def leave_play() -> None:
    """From now on it is not."""
    _thread.plays = False


def plays() -> bool:
    """Whether the thread that calls is one of those that play."""
    return getattr(_thread, "plays", False)


class VirtualTime:
    """A clock that stands still until it is moved; each reading is a microsecond later, so that no two are equal."""

    def __init__(self) -> None:
        self._micros = 0

    @property
    def elapsed_s(self) -> float:
        """Virtual seconds since the start."""
        return self._micros / 1_000_000

    def now(self) -> datetime:
        """The virtual time, aware, in UTC."""
        self._micros += 1
        return START + timedelta(microseconds=self._micros)

    def unix(self) -> float:
        """The same in seconds since 1970, as the simulator counts."""
        return self.now().timestamp()

    def monotonic(self) -> float:
        """The same in seconds since the start."""
        self._micros += 1
        return self.elapsed_s

    def advance_to(self, elapsed_s: float) -> None:
        """Let time pass until `elapsed_s` seconds after the start; a moment in the past changes nothing."""
        self._micros = max(self._micros, math.ceil(elapsed_s * 1_000_000))
        self._micros += self.elapsed_s < elapsed_s  # a last bit may be lost on the way


class _Stand:
    """Stands for a module: some of its names are replaced, all others are the module's own."""

    def __init__(self, module: ModuleType, **replaced: Callable[..., Any]) -> None:
        self._module, self._replaced = module, replaced

    def __getattr__(self, name: str) -> Any:
        is_replaced = name in self._replaced and plays()
        return self._replaced[name] if is_replaced else getattr(self._module, name)


class InlinePool:
    """Does what a thread pool is given, at once and in order: here the baton decides who runs beside whom."""

    def __init__(self, *_args: object, **_kwargs: object) -> None:
        pass

    def __enter__(self) -> InlinePool:
        return self

    def __exit__(self, *_exc_info: object) -> None:
        pass

    def map(self, act: Callable[[Any], Any], items: Sequence[Any]) -> list[Any]:
        """The results in order."""
        return [act(item) for item in items]

    def submit(self, act: Callable[..., Any], *args: object) -> Future[Any]:
        """Done already. A crash goes through: the process that is gone waits for nobody."""
        future: Future[Any] = Future()
        try:
            future.set_result(act(*args))
        except Exception as error:
            future.set_exception(error)
        return future


def stand_ins(clock: VirtualTime, dice: random.Random, sleep: Callable[[float], None]) -> list[tuple[object, object]]:
    """Modules of the standard library that read clocks or dice, each with what takes its place."""

    def randbelow(limit: int) -> int:
        return dice.randrange(limit)

    def token_hex(size: int = 16) -> str:
        return f"{dice.getrandbits(8 * size):0{2 * size}x}"

    def uuid4() -> uuid.UUID:
        return uuid.UUID(int=dice.getrandbits(128), version=4)

    import secrets  # noqa: PLC0415 - only to name the module that is replaced

    return [
        (time, _Stand(time, monotonic=clock.monotonic, time=clock.unix, sleep=sleep)),
        (random, _Stand(random, random=dice.random, uniform=dice.uniform, choice=dice.choice)),
        (secrets, _Stand(secrets, randbelow=randbelow, token_hex=token_hex)),
        (uuid, _Stand(uuid, uuid4=uuid4)),
    ]


@contextmanager
def swapped(swaps: Sequence[tuple[object, object]], rooms: Sequence[str] = ("apps.",)) -> Iterator[None]:
    """Meanwhile every module of these rooms that holds one of the objects, under any name, holds its replacement."""
    undo: list[tuple[ModuleType, str, object]] = []
    new_of = {id(old): _for_players(new, old) for old, new in swaps}
    for module in _modules(rooms):
        for name, value in list(vars(module).items()):
            if id(value) in new_of:
                undo.append((module, name, value))
                setattr(module, name, new_of[id(value)])
    try:
        yield
    finally:
        for module, name, value in undo:
            setattr(module, name, value)


def _for_players(new: Any, old: Any) -> Any:
    """What is called is chosen by who calls; a stand-in for a module chooses by itself."""
    if not (callable(new) and callable(old)):
        return new

    @functools.wraps(old, updated=())
    def chosen(*args: Any, **kwargs: Any) -> Any:
        return (new if plays() else old)(*args, **kwargs)

    return chosen


def _modules(rooms: Sequence[str]) -> list[ModuleType]:
    return [
        module
        for name, module in sorted(sys.modules.items())
        if name.startswith(tuple(rooms)) and not name.startswith(NOT_OURS_TO_CHANGE)
    ]
