"""What people change in the set-up and how they sign in: one place that records it, without any secret.

A table is watched field by field: whoever saves or deletes a row, on whatever page, leaves an entry. What is written by
an UPDATE past `save` tells itself with `record`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from enum import StrEnum
from typing import Any

from django.db.models import ForeignKey, Model
from django.db.models.signals import post_delete, post_save, pre_save

from apps.common import clock
from apps.common.money import format_amount
from apps.journal.models import AuditEntry

MASK = "***"
"""What stands in the place of every secret."""

LONGEST_VALUE = 500
"""Characters of a value that are kept."""


class Action(StrEnum):
    """What was done."""

    CREATED = "created"
    CHANGED = "changed"
    DELETED = "deleted"
    SIGNED_IN = "signed_in"
    SIGN_IN_FAILED = "sign_in_failed"
    SIGNED_OUT = "signed_out"
    SESSION_ENDED = "session_ended"
    PASSWORD_CHANGED = "password_changed"  # noqa: S105 - a word
    PASSWORD_RESET = "password_reset"  # noqa: S105 - a word
    FACTOR_ON = "factor_on"
    FACTOR_OFF = "factor_off"
    RECOVERY_USED = "recovery_used"
    RECOVERY_RENEWED = "recovery_renewed"
    UNLOCKED = "unlocked"
    INVITED = "invited"
    INVITATION_WITHDRAWN = "invitation_withdrawn"
    JOINED = "joined"
    KEY_REPLACED = "key_replaced"
    SIGNING_DEMANDED = "signing_demanded"
    BREAKER_TRIPPED = "breaker_tripped"
    BREAKER_CLOSED = "breaker_closed"


Changes = Mapping[str, tuple[str, str]]
"""Each field that differs, with its value before and after."""


# --- who


@dataclass(frozen=True, slots=True)
class Author:
    """Who acts at this moment, and from which address; `name` is asked for only when something is recorded."""

    name: Callable[[], str]
    address: str = ""


_author: ContextVar[Author | None] = ContextVar("audit_author", default=None)


@contextmanager
def acting_as(author: Author) -> Iterator[None]:
    """What is recorded meanwhile is this author's."""
    token = _author.set(author)
    try:
        yield
    finally:
        _author.reset(token)


# --- recording


def record(
    action: Action,
    subject: Model,
    tenant_id: int | None,
    now: datetime,
    *,
    changes: Changes | None = None,
    actor: str | None = None,
) -> None:
    """Append one entry. `actor` is the person of the request where it is not given, nobody in a command."""
    author = _author.get()
    stored = subject._meta.model._default_manager.filter(pk=subject.pk).first()  # typed as the database types it
    name = actor if actor is not None else (author.name() if author else "")
    AuditEntry.objects.create(
        tenant_id=tenant_id,
        at=now,
        actor=name[:150],
        action=action,
        subject_kind=subject._meta.model_name or "",
        subject_id=subject.pk,
        subject=str(stored or subject)[:200],
        changes={field: list(sides) for field, sides in (changes or {}).items()},
        address=author.address[:45] if author else "",
    )


# --- watching tables


@dataclass(frozen=True, slots=True)
class Watched:
    """A table whose changes are recorded: the shop of a row, the fields that count, and those that are secrets."""

    model: type[Model]
    tenant_of: Callable[[Any], int | None]
    fields: tuple[str, ...]
    secrets: tuple[str, ...] = ()

    def state_of(self, row: Model) -> dict[str, Any]:
        """What the fields hold, foreign keys as ids."""
        return {name: getattr(row, row._meta.get_field(name).attname) for name in (*self.fields, *self.secrets)}  # type: ignore[union-attr]

    def tell(self, row: Model, name: str, value: Any) -> str:
        """A value as people read it; a secret is only there or not."""
        if name in self.secrets:
            return MASK if value else ""
        field = row._meta.get_field(name)
        if isinstance(field, ForeignKey) and value is not None:
            related = field.related_model._default_manager.filter(pk=value).first()
            return f"{related or ''} (#{value})"[:LONGEST_VALUE]
        if name.endswith("_micros") and value is not None:
            return format_amount(value)
        return _as_text(value)[:LONGEST_VALUE]


WATCHED: dict[type[Model], Watched] = {}
"""Every table that is watched."""

_BEFORE = "_audit_before"


def watch(
    model: type[Model],
    tenant_of: Callable[[Any], int | None],
    fields: tuple[str, ...],
    secrets: tuple[str, ...] = (),
) -> None:
    """From now on every saved or deleted row of this table leaves an entry when one of these fields differs."""
    WATCHED[model] = Watched(model, tenant_of, fields, secrets)
    name = f"audit:{model._meta.label}"
    pre_save.connect(_note_before, sender=model, dispatch_uid=name)
    post_save.connect(_tell_saved, sender=model, dispatch_uid=name)
    post_delete.connect(_tell_deleted, sender=model, dispatch_uid=name)


def _note_before(sender: type[Model], instance: Model, raw: bool = False, **signal: Any) -> None:
    if raw:
        return
    stored = sender._default_manager.filter(pk=instance.pk).first() if instance.pk is not None else None
    setattr(instance, _BEFORE, WATCHED[sender].state_of(stored) if stored is not None else None)


def _tell_saved(sender: type[Model], instance: Model, raw: bool = False, **signal: Any) -> None:
    if raw:
        return
    before = getattr(instance, _BEFORE, None)
    action = Action.CREATED if before is None else Action.CHANGED
    _tell(WATCHED[sender], action, instance, before or {}, WATCHED[sender].state_of(instance))


def _tell_deleted(sender: type[Model], instance: Model, **signal: Any) -> None:
    _tell(WATCHED[sender], Action.DELETED, instance, WATCHED[sender].state_of(instance), {})


def _tell(watched: Watched, action: Action, row: Model, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
    changes = {
        name: (watched.tell(row, name, before.get(name)), watched.tell(row, name, after.get(name)))
        for name in (*watched.fields, *watched.secrets)
        if before.get(name) != after.get(name)
    }
    if changes or action is not Action.CHANGED:
        record(action, row, watched.tenant_of(row), clock.now(), changes=changes)


def _as_text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    return f"{value:f}" if isinstance(value, Decimal) else str(value)
