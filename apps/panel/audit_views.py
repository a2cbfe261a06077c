"""What people changed in the set-up, with each field before and after, and how they signed in: for owners."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, tzinfo
from operator import itemgetter
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.text import capfirst
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.accounts.models import Membership
from apps.accounts.security_models import Invitation
from apps.journal.audit import WATCHED
from apps.journal.models import AuditEntry
from apps.panel import words
from apps.panel.listing import as_id, day_of, midnight
from apps.panel.member_views import check_owner
from apps.panel.views import person_of, zone_of
from apps.webhooks.models import WebhookEndpoint

PAGE = 50


def kinds() -> dict[str, type[Model]]:
    """The tables that entries are about, by the word that is stored."""
    models: list[type[Model]] = [*WATCHED, Invitation, WebhookEndpoint]
    return {str(model._meta.model_name): model for model in models}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person asked to see: exactly the query string."""

    kind: str = ""
    action: str = ""
    actor: str = ""
    since: str = ""
    until: str = ""
    before: int | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Wanted:
        """The query string; what makes no sense counts as not given."""
        kind, action = query.get("kind", ""), query.get("action", "")
        return cls(
            kind=kind if kind in kinds() else "",
            action=action if action in words.RECORDED else "",
            actor=query.get("actor", "").replace("\x00", "").strip()[:150],
            since=day_of(query.get("since", "")),
            until=day_of(query.get("until", "")),
            before=as_id(query.get("before", "")),
        )

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but a page was asked for."""
        return replace(self, before=None) != Wanted()

    def query(self, before: int) -> str:
        """The query string of the page from the entry `before` on."""
        parts = {"kind": self.kind, "action": self.action, "actor": self.actor, "since": self.since}
        return urlencode(
            {name: value for name, value in {**parts, "until": self.until, "before": before}.items() if value}
        )


@dataclass(frozen=True, slots=True)
class Row:
    """One entry in words: each change as (field, before, after)."""

    entry: AuditEntry
    action: str
    kind: str
    changes: list[tuple[str, str, str]]


@never_cache
@login_required
@require_safe
def audit(request: HttpRequest) -> HttpResponse:
    """The newest first."""
    shops, wanted = check_owner(request), Wanted.read(request.GET)
    zone = zone_of(shops)
    found = select_entries(shops, wanted, zone, is_root=person_of(request).is_superuser)
    page = list(found.order_by("-pk")[: PAGE + 1])
    context = {
        "rows": [as_row(entry) for entry in page[:PAGE]],
        "wanted": wanted,
        "older": wanted.query(page[PAGE - 1].pk) if len(page) > PAGE else "",
        "kinds": sorted([(name, kind_in_words(name)) for name in kinds()], key=itemgetter(1)),
        "actions": words.RECORDED.items(),
    }
    with timezone.override(zone):
        return render(request, "panel/audit.html", context)


def select_entries(shops: list[int], wanted: Wanted, zone: tzinfo, *, is_root: bool) -> QuerySet[AuditEntry]:
    """The entries of these shops, and those about signing in of people who belong to no other shop."""
    found = AuditEntry.objects.all()
    if not is_root:
        found = found.filter(
            Q(tenant_id__in=shops) | Q(tenant_id=None, subject_kind="user", subject_id__in=own_people(shops))
        )
    exact = {"subject_kind": wanted.kind, "action": wanted.action, "actor": wanted.actor}
    found = found.filter(**{name: value for name, value in exact.items() if value})
    times: dict[str, datetime | int] = {}
    if wanted.since:
        times["at__gte"] = midnight(wanted.since, zone)
    if wanted.until:
        times["at__lt"] = midnight(wanted.until, zone, days=1)
    if wanted.before is not None:
        times["pk__lt"] = wanted.before
    return found.filter(**times)


def own_people(shops: list[int]) -> list[int]:
    """Members of these shops and of no other: what a person does elsewhere is not this owner's matter."""
    elsewhere = Membership.objects.exclude(tenant__in=shops).values("user_id")
    own = Membership.objects.filter(tenant__in=shops, user__is_superuser=False).exclude(user_id__in=elsewhere)
    return list(own.values_list("user_id", flat=True).distinct())


def as_row(entry: AuditEntry) -> Row:
    """An entry in words."""
    model = kinds().get(entry.subject_kind)
    return Row(
        entry,
        words.say(words.RECORDED, entry.action),
        kind_in_words(entry.subject_kind),
        [(label_of(model, name), sides[0], sides[1]) for name, sides in entry.changes.items()],
    )


def kind_in_words(name: str) -> str:
    """What people call a table."""
    if name in words.RECORDED_TABLES:
        return words.say(words.RECORDED_TABLES, name)
    model = kinds().get(name)
    return str(capfirst(str(model._meta.verbose_name))) if model else name


def label_of(model: type[Model] | None, name: str) -> str:
    """What people call a field."""
    if name in words.RECORDED_FIELDS:
        return words.say(words.RECORDED_FIELDS, name)
    try:
        return capfirst(str(model._meta.get_field(name).verbose_name)) if model else name  # type: ignore[union-attr]
    except FieldDoesNotExist:
        return name.replace("_", " ")
