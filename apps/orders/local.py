"""Kinds without a wire: what their talks ask for is done inside the transaction that settles the attempt.

Taking and settling are one commit, so such an attempt is never in doubt: one that is still `sending` took nothing.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.db.models import QuerySet

from apps.accounts.models import Tenant
from apps.orders.models import Attempt
from apps.orders.news import News
from apps.orders.purchase import purchase
from apps.orders.questions import Question, seconds_since
from apps.orders.states import AttemptState
from apps.providers import stock
from apps.providers.contract import (
    AskedLocalAdapter,
    AskPerson,
    LocalAnswer,
    LocalCall,
    LocalTalk,
    Outcome,
    PersonAsked,
    Result,
    TakeCodes,
)
from apps.providers.models import Integration
from apps.providers.registry import load_adapter
from apps.providers.stock import Shelf


def settle(talk: LocalTalk, attempt: Attempt, tenant: Tenant, now: datetime) -> Result:
    """Do what the talk asks for, under the order's lock of the caller's transaction, and return its result.

    Only while the attempt is still `sending` with this send number: one that was overtaken has done nothing.
    """
    is_mine = Attempt.objects.filter(pk=attempt.pk, state=AttemptState.SENDING, send_no=attempt.send_no)
    if not is_mine.exists():
        return not_settled(attempt, "superseded")
    try:
        call = next(talk)
        while True:
            call = talk.send(_do(call, attempt, tenant, now))
    except StopIteration as end:
        result: Result = end.value
        return result


def not_settled(attempt: Attempt, reason_code: str = "not_settled") -> Result:
    """Nothing was taken and nobody was asked."""
    return Result(Outcome.NOT_SENT, attempt.reference, reason_code=reason_code)


def answer(question: Question, now: datetime) -> News:
    """What is known of an attempt without asking anybody: it never settled, its kind knows, or a person is on it."""
    attempt = question.attempt
    if attempt.state == AttemptState.SENDING:
        return replace(question.news(not_settled(attempt), None, now), verb="place")
    adapter = load_adapter(attempt.kind)
    if isinstance(adapter, AskedLocalAdapter):
        asked = purchase(attempt, attempt.order, question.units)
        told = adapter.answer(attempt.integration.account(), asked, seconds_since(attempt.created_at, now))
        return question.news(told, None, now)
    return question.news(Result(Outcome.ACCEPTED, attempt.reference), None, now)


def local_time(tenant: Tenant, now: datetime) -> datetime:
    """The same moment in the shop's time zone; as it is where the shop's time zone is none."""
    try:
        return now.astimezone(ZoneInfo(tenant.timezone))
    except (KeyError, ValueError, OSError):
        return now


def today_in(tenant: Tenant, now: datetime) -> date:
    """The shop's day; UTC's where its time zone is none."""
    return local_time(tenant, now).date()


def load_shelves(accounts: QuerySet[Integration], now: datetime) -> list[Shelf]:
    """Every shelf of those of the accounts that are stock; each counts the days of its shop."""
    found = list(accounts.select_related("tenant").filter(kind=stock.KIND).order_by("name", "id"))
    place = {account.pk: number for number, account in enumerate(found)}
    by_day: dict[date, list[Integration]] = {}
    for account in found:
        by_day.setdefault(today_in(account.tenant, now), []).append(account)
    shelves = [shelf for day, those in by_day.items() for shelf in stock.load_shelves(those, day)]
    return sorted(shelves, key=lambda shelf: place[shelf.integration.pk])


def _do(call: LocalCall, attempt: Attempt, tenant: Tenant, now: datetime) -> LocalAnswer:
    match call:
        case TakeCodes(shelf, count):
            today = today_in(tenant, now)
            return stock.take(attempt.integration_id, shelf, count, attempt_id=attempt.pk, today=today, now=now)
        case AskPerson():
            return PersonAsked()  # the accepted attempt itself is the place in the queue
