"""What a conversation tells about its account, whatever it says about an order: it answers, it is slow, it is full."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.common.budget import Use
from apps.common.talk import Exchange
from apps.common.wire import Answer, HttpReply, NotSent, NotSentReason
from apps.providers import breaker, budget
from apps.providers.contract import Outcome, Result
from apps.providers.models import Integration

TOO_MANY = 429
FIRST_SERVER_ERROR = 500
TOO_MANY_S = 10.0
"""How long an account that asked us to slow down, without saying for how long, is left alone."""

OUR_OWN = frozenset({NotSentReason.EGRESS, NotSentReason.DEADLINE, NotSentReason.SUPERSEDED, NotSentReason.BREAKER})
"""Reasons for which we sent nothing that say nothing about the provider."""


@dataclass(frozen=True, slots=True)
class Heard:
    """One conversation: its last exchange, how many requests it took, and what the adapter read."""

    exchange: Exchange | None
    calls: int
    results: tuple[Result, ...] = ()


def note(integration: Integration, heard: Sequence[Heard], use: Use, now: datetime) -> None:
    """Tell breaker and budget what these conversations met. The first request of each was granted before."""
    told = [is_answer(one.exchange.answer) for one in heard if one.exchange]
    breaker.note(integration.pk, [is_answered for is_answered in told if is_answered is not None], now)
    extra = sum(max(one.calls - 1, 0) for one in heard)
    if extra:
        budget.book(integration, use, extra, now)
    wait_s = max((_wait_s(one) for one in heard), default=0)
    if wait_s:
        budget.hold(integration, now + timedelta(seconds=wait_s), now)


def is_answer(answer: Answer) -> bool | None:
    """True for an answer of any kind, False for none or a server's error, None where the provider had no part in it."""
    if isinstance(answer, HttpReply):
        return answer.status < FIRST_SERVER_ERROR
    return None if isinstance(answer, NotSent) and answer.reason in OUR_OWN else False


def _wait_s(heard: Heard) -> float:
    """For how long the provider wants to be left alone; 0 when it does not say so."""
    answer = heard.exchange.answer if heard.exchange else None
    hints = [result.retry_after_s or 0 for result in heard.results]
    is_refused = any(result.outcome is Outcome.RATE_LIMITED for result in heard.results)
    if isinstance(answer, HttpReply) and answer.status == TOO_MANY:
        hints.append(_seconds(answer.headers.get("retry-after", "")))
        is_refused = True
    return max(hints, default=0) or (TOO_MANY_S if is_refused else 0)


def _seconds(text: str) -> float:
    """A Retry-After of whole seconds; a date, or anything else, is no hint."""
    return float(text) if text.isascii() and text.isdigit() and len(text) < 7 else 0
