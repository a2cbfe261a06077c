"""Runs one adapter's conversation, a generator of calls, over any send function and keeps what was said."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Generic, TypeVar

from apps.common.wire import Answer, HttpCall

T = TypeVar("T")

MAX_CALLS = 200
"""Calls of one conversation; more is a generator that does not end."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One call and what came back; `started_s` counts from the conversation's begin."""

    call: HttpCall
    answer: Answer
    started_s: float

    @property
    def request(self) -> str:
        """The call as it may be written down, redacted: most answers are the one before, and never are."""
        return self.call.redacted()


class TalkFailed(Exception):
    """The adapter raised or misbehaved; the cause is the exception's cause, `exchanges` is what was said before."""

    def __init__(self, exchanges: list[Exchange], reason: str) -> None:
        super().__init__(reason)
        self.exchanges = exchanges


@dataclass(frozen=True, slots=True)
class Ended(Generic[T]):
    """The conversation is over, and this is its value."""

    value: T


def drive(
    talk: Generator[HttpCall, Answer, T],
    send: Callable[[HttpCall], Answer],
    *,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[T, list[Exchange]]:
    """Runs `talk` to its end, one call after another, and returns its value with all exchanges.

    Raises `TalkFailed` when the generator raises, yields no call, or does not end. What `send` raises goes through.
    """
    begin = clock()
    exchanges: list[Exchange] = []
    step = next_step(talk, exchanges)
    while isinstance(step, HttpCall):
        started = clock() - begin
        exchanges.append(Exchange(step, send(step), started))
        step = next_step(talk, exchanges)
    return step.value, exchanges


def next_step(talk: Generator[HttpCall, Answer, T], exchanges: list[Exchange]) -> HttpCall | Ended[T]:
    """Gives `talk` the last answer (if there is one) and returns its next call or its end; raises `TalkFailed`."""
    try:
        call: object = talk.send(exchanges[-1].answer) if exchanges else next(talk)
    except StopIteration as end:
        return Ended(end.value)
    except Exception as error:
        raise TalkFailed(exchanges, f"the adapter raised {type(error).__name__}") from error
    if not isinstance(call, HttpCall):
        raise TalkFailed(exchanges, f"the adapter asked for a {type(call).__name__}, which is no call")
    if len(exchanges) >= MAX_CALLS:
        raise TalkFailed(exchanges, f"the adapter made more than {MAX_CALLS} calls")
    return call
