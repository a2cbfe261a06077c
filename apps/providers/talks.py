"""The plain shapes of a conversation: one question read by one function, and one conversation for each order."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TypeVar

from apps.common.wire import Answer, HttpCall
from apps.providers.contract import Result, Talk, TalkMany

Read = TypeVar("Read")


def ask_once(call: HttpCall, read: Callable[[Answer], Read]) -> Generator[HttpCall, Answer, Read]:
    """Make one call; its answer is what `read` makes of it."""
    answer = yield call
    return read(answer)


def ask_each(talks: Sequence[tuple[str, Talk]]) -> TalkMany:
    """Hold one conversation after the other; the results by the references that stand beside them."""
    results: dict[str, Result] = {}
    for own_ref, talk in talks:
        results[own_ref] = yield from talk
    return results
