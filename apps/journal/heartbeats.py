"""Heartbeats of loops, and the token that lets one copy of a loop run at a time."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.db.models import Q

from apps.journal.models import Heartbeat


def beat(name: str, now: datetime, **detail: object) -> None:
    """Record that the loop `name` is alive at `now`, with a few facts of the run."""
    Heartbeat.objects.update_or_create(name=name, defaults={"beat_at": now, "detail": detail})


def take_token(name: str, now: datetime, held_for: timedelta, own: str = "") -> str:
    """A token for the loop `name` if nobody holds one, else an empty text. It lapses by itself after `held_for`.

    `own`: the caller's token from before, which it could not give back, and which it takes again.
    """
    Heartbeat.objects.get_or_create(name=name)
    token = own or secrets.token_hex(8)
    free = Q(held_until__isnull=True) | Q(held_until__lte=now) | Q(holder=token)
    took = Heartbeat.objects.filter(free, name=name).update(holder=token, held_until=now + held_for, beat_at=now)
    return token if took == 1 else ""


def keep_token(name: str, token: str, now: datetime, held_for: timedelta) -> bool:
    """Hold the token longer and beat; False when somebody else has taken it meanwhile."""
    return Heartbeat.objects.filter(name=name, holder=token).update(held_until=now + held_for, beat_at=now) == 1


def give_back_token(name: str, token: str, now: datetime, **detail: object) -> None:
    """Let the next copy run at once."""
    Heartbeat.objects.filter(name=name, holder=token).update(holder="", held_until=None, beat_at=now, detail=detail)
