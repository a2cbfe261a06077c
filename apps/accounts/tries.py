"""How often somebody may try to sign in: by account and by address, atomic, without a Redis.

A try is spent before the password is looked at, so that a hundred at once are not a hundred guesses; a right one gives
it back. A name that does not exist is counted like one that does.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import F, Value
from django.db.models.functions import Greatest

from apps.accounts.security_models import SignInBudget
from apps.common.budget import SECOND_US, as_us
from apps.common.crypto import blind_index


@dataclass(frozen=True, slots=True)
class Limit:
    """So many tries at once, and one more each `every_s` seconds."""

    name: str
    burst: int
    every_s: int


ACCOUNT = Limit("account", burst=10, every_s=90)
ADDRESS = Limit("address", burst=50, every_s=20)
SECOND = Limit("second", burst=5, every_s=180)
MAIL = Limit("mail", burst=5, every_s=600)
"""Passwords for one name, anything from one address, codes of one person, and mails to one address."""

FORGET_AFTER = timedelta(days=1)


def take(limit: Limit, subject: str, now: datetime) -> bool:
    """Spend one try; False when there is none left. One conditional update: of many at once no more than fit win."""
    row, now_us, gap_us = _key(limit, subject), as_us(now), limit.every_s * SECOND_US
    SignInBudget.objects.bulk_create([SignInBudget(pk=row)], ignore_conflicts=True)
    fitting = SignInBudget.objects.filter(pk=row, spent_us__lte=now_us + (limit.burst - 1) * gap_us)
    return fitting.update(spent_us=Greatest(F("spent_us"), Value(now_us)) + gap_us) == 1


def give_back(limit: Limit, subject: str) -> None:
    """The try was a right one: it does not count."""
    SignInBudget.objects.filter(pk=_key(limit, subject)).update(spent_us=F("spent_us") - limit.every_s * SECOND_US)


def forgive(limit: Limit, subject: str) -> None:
    """All tries are there again. The row stays: whoever tries at this moment has seen it, and spends from it."""
    SignInBudget.objects.filter(pk=_key(limit, subject)).update(spent_us=0)


def forget_old(now: datetime) -> None:
    """Delete the rows that limit nothing any more."""
    SignInBudget.objects.filter(spent_us__lt=as_us(now - FORGET_AFTER)).delete()


def _key(limit: Limit, subject: str) -> str:
    return blind_index(f"{limit.name}\x1f{subject.strip().casefold()}")
