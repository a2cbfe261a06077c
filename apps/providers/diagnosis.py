"""What is wrong between us and one provider account: every step of the way looked at, with the words of each."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

from apps.common import clock
from apps.common.crypto import CannotOpen
from apps.common.guards import check_no_transaction
from apps.common.reach import Reached, reach
from apps.common.talk import TalkFailed, drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall, HttpReply
from apps.providers.balances import failed, has_balance, record_balance
from apps.providers.contract import Account, Balance, Catalogue
from apps.providers.listing import Lister
from apps.providers.models import Integration
from apps.providers.registry import load_adapter, load_wired, missing_secrets

LONGEST_S = 10.0
"""A person waits for the answer: no step takes longer than this."""
SAMPLE = 5

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """What each step found; a step that was not taken is None. `skew` is the provider's clock less ours."""

    at: datetime
    reached: Reached
    missing: tuple[str, ...] = ()
    balance: Balance | None = None
    skew: timedelta | None = None
    answered_in_ms: int | None = None
    catalogue: Catalogue | None = None
    has_more: bool = False

    @property
    def is_authenticated(self) -> bool | None:
        """Whether the provider let us in, where it was asked anything."""
        answers = [bool(part.error) for part in (self.balance, self.catalogue) if part is not None]
        return not all(answers) if answers else None

    @property
    def is_silent(self) -> bool:
        """The provider answered with nothing at all: panels do that when login, permission or address do not fit."""
        return any(part is not None and part.error == "empty" for part in (self.balance, self.catalogue))

    @property
    def skew_s(self) -> str:
        """The difference of the clocks in seconds, with its sign."""
        return "" if self.skew is None else f"{self.skew.total_seconds():+.0f}"

    @property
    def sample(self) -> list[str]:
        """The first names of the list."""
        return [item.name for item in self.catalogue.items[:SAMPLE]] if self.catalogue else []


def diagnose(integration: Integration) -> Diagnosis:
    """Connect, ask for the balance and for the list, outside of any transaction; the balance is kept as a reading."""
    check_no_transaction()
    at = clock.now()
    reached = reach(integration.base_url, integration.egress_policy(), LONGEST_S)
    try:
        account = integration.account()
    except CannotOpen:
        return Diagnosis(at, reached, ("FIELD_KEYS",))
    missing = tuple(missing_secrets(load_adapter(integration.kind), account))
    if reached.trouble or missing:
        return Diagnosis(at, reached, missing)
    return _ask(integration, account, Diagnosis(at, reached))


def _ask(integration: Integration, account: Account, so_far: Diagnosis) -> Diagnosis:
    adapter, line = load_wired(integration.kind), _Line(integration)
    if has_balance(integration):
        balance = _heard(adapter.balance(account), line.send) or failed("no_answer")
        record_balance(integration, balance, clock.now())
        so_far = replace(so_far, balance=balance, skew=line.skew, answered_in_ms=line.took_ms)
    if isinstance(adapter, Lister):
        first = _FirstPage(line.send)
        listed = _heard(adapter.catalogue(account), first.send)
        so_far = replace(
            so_far,
            catalogue=None if first.has_more else listed or Catalogue((), "no_answer"),
            has_more=first.has_more,
            skew=line.skew,
            answered_in_ms=line.took_ms,
        )
    return so_far


class _Line:
    """Sends like everybody else, with less patience, and notes the provider's clock."""

    def __init__(self, integration: Integration) -> None:
        self._policy = integration.egress_policy()
        self.skew: timedelta | None = None
        self.took_ms: int | None = None

    def send(self, call: HttpCall) -> Answer:
        """One request."""
        answer = send_once(replace(call, timeout_s=min(call.timeout_s, LONGEST_S)), policy=self._policy)
        self.took_ms = answer.latency_ms
        if isinstance(answer, HttpReply) and (skew := skew_of(answer, clock.now())) is not None:
            self.skew = skew
        return answer


class _Enough(Exception):
    """A long list: its first page is all that a diagnosis needs."""


class _FirstPage:
    """Lets one request pass; a list that goes on is a list that answers."""

    def __init__(self, send: Callable[[HttpCall], Answer]) -> None:
        self._send = send
        self._sent = 0
        self.has_more = False

    def send(self, call: HttpCall) -> Answer:
        """The first request, and no other."""
        self._sent += 1
        if self._sent > 2:  # a provider may want a token before its first page
            self.has_more = True
            raise _Enough
        return self._send(call)


def _heard(talk: Generator[HttpCall, Answer, T], send: Callable[[HttpCall], Answer]) -> T | None:
    try:
        return drive(talk, send)[0]
    except (TalkFailed, _Enough):
        return None


def skew_of(reply: HttpReply, now: datetime) -> timedelta | None:
    """How far the provider's clock is ahead of ours, to a second; None where it tells no time."""
    try:
        told = parsedate_to_datetime(reply.headers.get("date", ""))
    except (TypeError, ValueError, IndexError):
        return None
    told = told if told.tzinfo else told.replace(tzinfo=UTC)
    return timedelta(seconds=round((told - now).total_seconds()))
