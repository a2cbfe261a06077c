"""What was learnt about one attempt: the answer as an outcome, and the exchange it came from."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from apps.common.crypto import digest
from apps.common.talk import Exchange
from apps.common.wire import HttpReply, MaybeSent, NotSent
from apps.providers.actions import Why
from apps.providers.contract import Outcome, Result

Verb = Literal["place", "find", "status", "person", "statement"]

NO_INFORMATION = frozenset({Outcome.UNKNOWN, Outcome.AUTH_ERROR, Outcome.RATE_LIMITED, Outcome.NOT_SENT})
"""Outcomes of a question that say nothing about the order: the question failed."""


@dataclass(frozen=True, slots=True)
class News:
    """One answer about one attempt. `fence` is the due row's when it was claimed: only its holder may reschedule.

    `barred`: the question was not put, for this reason. `actor`: the person who says so. `is_account_good`: right
    before, the account answered another question as one that knows us does.
    """

    attempt_id: int
    order_id: int
    verb: Verb
    result: Result
    exchange: Exchange | None
    at: datetime
    fence: int
    send_no: int
    barred: Why | None = None
    actor: str = ""
    is_account_good: bool = False

    def class_digest(self) -> str:
        """Eleven letters, 64 bits, that change when the class of the answer or its bytes change."""
        told = f"{self.result.outcome}:{self.barred or ''}:".encode()
        eight = bytes.fromhex(digest(told + (self.result.raw or body_of(self.exchange)))[:16])
        return urlsafe_b64encode(eight).decode().rstrip("=")


def knowledge_of(exchange: Exchange | None) -> str:
    """`answered`, `not_sent`, `maybe_sent`, or `none` when nothing was asked."""
    match exchange.answer if exchange else None:
        case HttpReply():
            return "answered"
        case NotSent():
            return "not_sent"
        case MaybeSent():
            return "maybe_sent"
        case _:
            return "none"


def body_of(exchange: Exchange | None) -> bytes:
    """The raw bytes that came back, empty when none did."""
    answer = exchange.answer if exchange else None
    return answer.body if isinstance(answer, HttpReply | MaybeSent) else b""
