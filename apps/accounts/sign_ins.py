"""Who is signed in where: a row for each browser, told by Django's own signals, and its end on demand."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib.auth.signals import user_logged_in, user_logged_out, user_login_failed
from django.contrib.sessions.backends.base import SessionBase
from django.contrib.sessions.models import Session
from django.db import transaction
from django.db.models import Exists, OuterRef
from django.http import HttpRequest
from django.utils.dateparse import parse_datetime

from apps.accounts.models import User
from apps.accounts.security_models import SignIn
from apps.common import clock
from apps.common.addresses import address_of
from apps.common.logs import get_logger
from apps.journal import audit
from apps.journal.audit import Action

log = get_logger(__name__)

SEEN = "seen_at"
SEEN_EVERY = timedelta(minutes=5)
"""How exactly it is known when a browser was last here."""


@dataclass(frozen=True, slots=True)
class OpenSession:
    """One browser in which the person is signed in."""

    sign_in: SignIn
    is_this: bool


# --- the rows


def listen() -> None:
    """From now on, for each sign-in and its end."""
    user_logged_in.connect(_note_in, dispatch_uid="sign_ins")
    user_logged_out.connect(_note_out, dispatch_uid="sign_ins")
    user_login_failed.connect(_note_failed, dispatch_uid="sign_ins")


def _note_in(sender: Any, request: HttpRequest, user: User, **signal: Any) -> None:
    now = clock.now()
    if request.session.session_key is None:  # another person's session was thrown away: the new one has no key yet
        request.session.save()
    request.session[SEEN] = now.isoformat()
    facts = {"user": user, "created_at": now, "seen_at": now, **_browser_of(request)}
    SignIn.objects.update_or_create(session_key=request.session.session_key or "", defaults=facts)
    _forget_dead(user)
    audit.record(Action.SIGNED_IN, user, None, now, actor=user.get_username())


def _forget_dead(user: User) -> None:
    """Rows of sessions that were thrown away, as expired ones are."""
    alive = Session.objects.filter(session_key=OuterRef("session_key"))
    SignIn.objects.filter(~Exists(alive), user=user).delete()


def _note_out(sender: Any, request: HttpRequest, user: User | None, **signal: Any) -> None:
    SignIn.objects.filter(session_key=request.session.session_key or "").delete()
    if user is not None:
        audit.record(Action.SIGNED_OUT, user, None, clock.now(), actor=user.get_username())


def _note_failed(sender: Any, credentials: dict[str, Any], request: HttpRequest | None = None, **signal: Any) -> None:
    """A failure of a person whom we know is part of that person's history; of other names only the log tells."""
    name = str(credentials.get("username", ""))
    found = User.objects.filter(username=name).first()
    if found is not None:
        audit.record(Action.SIGN_IN_FAILED, found, None, clock.now(), actor="")
    log.warning("sign_in_failed", address=address_of(request) if request is not None else "")


def _browser_of(request: HttpRequest) -> dict[str, str]:
    return {"address": address_of(request)[:45], "agent": request.headers.get("User-Agent", "")[:200]}


def note_seen(request: HttpRequest, user: User, now: datetime) -> None:
    """The browser is here: written at most every five minutes."""
    seen_at = parse_datetime(str(request.session.get(SEEN, "")) or "-")
    if seen_at is not None and now - seen_at < SEEN_EVERY:
        return
    request.session[SEEN] = now.isoformat()
    key = request.session.session_key
    if key:
        facts = {"user": user, "seen_at": now, **_browser_of(request)}
        SignIn.objects.update_or_create(session_key=key, defaults=facts, create_defaults={**facts, "created_at": now})


def moved(old_key: str | None, session: SessionBase) -> None:
    """The session got another key, as after a new password: it is the same browser."""
    SignIn.objects.filter(session_key=old_key or "").update(session_key=session.session_key or "")


# --- looking at them, ending them


def open_sessions(user: User, this_key: str | None, now: datetime) -> list[OpenSession]:
    """The browsers in which the person is signed in, this one first, then the latest."""
    rows = list(SignIn.objects.filter(user=user).order_by("-seen_at", "-pk"))
    alive = Session.objects.filter(session_key__in=[row.session_key for row in rows], expire_date__gt=now)
    keys = set(alive.values_list("session_key", flat=True))
    found = [OpenSession(row, row.session_key == this_key) for row in rows if row.session_key in keys]
    return sorted(found, key=lambda one: not one.is_this)


def end(user: User, sign_in_id: int, now: datetime) -> bool:
    """Sign the person out in one browser; False where this is none of the person's."""
    with transaction.atomic():
        row = SignIn.objects.filter(user=user, pk=sign_in_id).first()
        if row is None:
            return False
        _end([row], user, now)
    return True


def end_others(user: User, this_key: str | None, now: datetime) -> int:
    """Sign the person out in every browser but this one; returns in how many."""
    with transaction.atomic():
        rows = list(SignIn.objects.filter(user=user).exclude(session_key=this_key or ""))
        _end(rows, user, now)
    return len(rows)


def _end(rows: list[SignIn], user: User, now: datetime) -> None:
    Session.objects.filter(session_key__in=[row.session_key for row in rows]).delete()
    SignIn.objects.filter(pk__in=[row.pk for row in rows]).delete()
    if rows:
        audit.record(Action.SESSION_ENDED, user, None, now, changes={"browsers": (str(len(rows)), "0")})
