"""The pages of providers' statements: bringing one in, and what differs from our books."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.models import User
from apps.common import clock
from apps.orders.decisions.refused import DecisionRefused, NotAllowed, NotFound
from apps.orders.reconciling import deciding, importing
from apps.orders.reconciling.aligning import Period
from apps.orders.reconciling.asking import NotListed, Patience, ask_for_statement, can_list
from apps.orders.reconciling.dialects import (
    DELIMITERS,
    FACTS,
    LONGEST_WINDOW_MINUTES,
    PRESETS,
    BadDialect,
    Dialect,
    check_dialect,
    preset_of,
    words_of,
)
from apps.orders.reconciling.importing import Brought, Busy, NotReadable, Result
from apps.orders.reconciling.lines import BYTES_LIMIT, Fault
from apps.orders.statement_models import Break, BreakEnd, BreakKind, Statement
from apps.panel import words
from apps.panel.listing import as_id
from apps.panel.provider_views import paging, start_of
from apps.panel.providing import PAGE
from apps.panel.views import check_may_operate, person_of, zone_of
from apps.providers.models import Integration
from apps.providers.registry import has_wire

OPEN, CLOSED, CLAIMED, ALL = "open", "closed", "claimed", "all"
ASKED_FOR = timedelta(days=31)
"""The most days of a list that is asked for here, and how long a person waits for it; the command waits longer."""
PATIENCE = timedelta(seconds=20)
PLAIN = {"dir": "ltr", "autocomplete": "off", "spellcheck": "false"}


class StatementForm(forms.Form):
    """A file, and how to read it; every field of the dialect can be changed."""

    file = forms.FileField(label=_("File"), max_length=255)
    first = forms.DateField(label=_("First day (empty: from the lines)"), required=False)
    last = forms.DateField(label=_("Last day (empty: from the lines)"), required=False)
    form = forms.ChoiceField(label=_("Form"), choices=[("csv", "CSV"), ("json", "JSON")])
    delimiter = forms.ChoiceField(label=_("Between cells"), required=False)
    decimal = forms.ChoiceField(label=_("Decimal sign"), choices=[(".", "12.50"), (",", "12,50")])
    times = forms.CharField(label=_("Times: iso, unix, or a pattern"), max_length=60)
    zone = forms.CharField(label=_("Time zone of the times"), max_length=64)
    records = forms.CharField(label=_("JSON: path to the list"), max_length=120, required=False)
    words = forms.CharField(label=_("State words and what they mean"), required=False, max_length=4000)
    charges_are_negative = forms.BooleanField(label=_("Purchases are written with a minus"), required=False)
    window_minutes = forms.IntegerField(
        label=_("Minutes between their time and ours, where only the recipient is named"),
        min_value=1,
        max_value=LONGEST_WINDOW_MINUTES,
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["delimiter"] = forms.ChoiceField(
            label=_("Between cells"),
            required=False,
            choices=[(sign, words.say(words.SIGNS, sign)) for sign in DELIMITERS],
        )
        self.fields["words"].widget = forms.Textarea(attrs={"rows": 6, **PLAIN})
        for fact in FACTS:
            label = words.say(words.STATED, fact)
            widget = forms.TextInput(attrs=PLAIN)
            self.fields[f"column_{fact}"] = forms.CharField(
                label=label, max_length=80, required=fact == "amount", widget=widget
            )

    def clean(self) -> dict[str, Any]:
        """Refuse days in the wrong order and a dialect that cannot be meant."""
        typed: dict[str, Any] = super().clean() or {}
        first, last = typed.get("first"), typed.get("last")
        if (first is None) != (last is None) or (first and last and last < first):
            self.add_error("last", _("Give both days, the first one first, or none."))
        if not self.errors:
            try:
                check_dialect(self.dialect())
            except BadDialect as error:
                self.add_error(None, str(error))
        return typed

    def dialect(self) -> Dialect:
        """What was typed. Raises `BadDialect`."""
        typed = self.cleaned_data
        columns = {fact: typed.get(f"column_{fact}", "") for fact in FACTS}
        return Dialect(
            columns={fact: name for fact, name in columns.items() if name},
            words=words_of(typed["words"]),
            form=typed["form"],
            delimiter=typed["delimiter"],
            decimal=typed["decimal"],
            times=typed["times"],
            zone=typed["zone"],
            records=typed["records"],
            charges_are_negative=typed["charges_are_negative"],
            window_minutes=typed["window_minutes"],
        )


class DaysForm(forms.Form):
    """The days for which a provider is asked for its list, up to `today`."""

    first = forms.DateField(label=_("First day"), widget=forms.DateInput(attrs={"type": "date"}))
    last = forms.DateField(label=_("Last day"), widget=forms.DateInput(attrs={"type": "date"}))

    def __init__(self, typed: Any, *, today: date) -> None:
        super().__init__(typed, initial={"first": today - timedelta(days=1), "last": today})
        self.today = today

    def clean(self) -> dict[str, Any]:
        """Refuse days in the wrong order, days to come, and more of them than a page waits for."""
        typed: dict[str, Any] = super().clean() or {}
        first, last = typed.get("first"), typed.get("last")
        if first and last and not (timedelta() <= last - first < ASKED_FOR and last <= self.today):
            self.add_error("last", _("Give the first day first, no more than 31 days, and none after today."))
        return typed


def as_initial(dialect: Dialect) -> dict[str, Any]:
    """A dialect as the form shows it."""
    told = dialect.as_json()
    columns, meanings = told.pop("columns"), told.pop("words")
    lines = "\n".join(f"{word} = {meaning}" for word, meaning in meanings.items())
    return {**told, "words": lines, **{f"column_{fact}": name for fact, name in columns.items()}}


# --- statements


@never_cache
@login_required
@require_safe
def statements(request: HttpRequest) -> HttpResponse:
    """Every statement of the person's shops, the newest first, and the accounts that one can be brought for."""
    person = person_of(request)
    tenant_ids = person.tenant_ids()
    own = Statement.objects.filter(integration__tenant_id__in=tenant_ids).select_related("integration")
    counted = own.annotate(
        found=Count("breaks"), open=Count("breaks", filter=Q(breaks__closed_at__isnull=True))
    ).order_by("-id")
    start = start_of(request)
    context = {
        "rows": counted[start : start + PAGE],
        "accounts": accounts_of(person),
        **paging(start, own.count(), {}),
    }
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/statements.html", context)


def accounts_of(person: User) -> list[Integration]:
    """The accounts with a provider, of the shops in which the person may act."""
    own = Integration.objects.filter(tenant_id__in=person.operated_ids()).order_by("name", "id")
    return [account for account in own if has_wire(account.kind)]


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def bring(request: HttpRequest, account_id: int) -> HttpResponse:
    """Check a file (nothing is written), or keep it with all differences."""
    account = _account_of(request, account_id)
    preset = request.GET.get("preset", "")
    preset = preset if preset in PRESETS else preset_of(account.kind)
    form = StatementForm(request.POST or None, request.FILES or None, initial=as_initial(PRESETS[preset]))
    context: dict[str, object] = {
        "account": account, "form": form, "presets": list(PRESETS), "preset": preset, "can_list": can_list(account)
    }  # fmt: skip
    if request.method == "POST" and form.is_valid():
        upload, by = form.cleaned_data["file"], person_of(request).get_username()
        period, content = _period(account, form), upload.read(BYTES_LIMIT + 1)
        brought = Brought(content, form.dialect(), period, by, upload.name or "")
        return _compared(request, account, brought, "panel/statement_bring.html", context)
    return _shown(request, account, "panel/statement_bring.html", context)


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def ask(request: HttpRequest, account_id: int) -> HttpResponse:
    """Ask the provider for its own list of some days; check it, or keep it with all differences."""
    account = _account_of(request, account_id)
    if not can_list(account):
        raise Http404
    now, template = clock.now(), "panel/statement_ask.html"
    form = DaysForm(request.POST or None, today=now.astimezone(zone_of([account.tenant_id])).date())
    context: dict[str, object] = {"account": account, "form": form}
    if request.method == "POST" and form.is_valid():
        days, by = _days(account, **form.cleaned_data), person_of(request).get_username()
        try:
            brought = ask_for_statement(account, Period(days.starts_at, min(days.ends_at, now)), by, Patience(PATIENCE))
        except NotListed as error:
            context["faults"] = [Fault(0, str(error))]
        else:
            return _compared(request, account, brought, template, context)
    return _shown(request, account, template, context)


def _account_of(request: HttpRequest, account_id: int) -> Integration:
    """The account with a provider, of a shop in which the person may act; 404 for one that the person cannot see."""
    account = Integration.objects.filter(pk=account_id, tenant_id__in=person_of(request).tenant_ids()).first()
    if account is None or not has_wire(account.kind):
        raise Http404
    check_may_operate(request, account.tenant_id)
    return account


def _shown(request: HttpRequest, account: Integration, template: str, context: dict[str, object]) -> HttpResponse:
    with timezone.override(zone_of([account.tenant_id])):
        return render(request, template, context)


def _compared(
    request: HttpRequest, account: Integration, brought: Brought, template: str, context: dict[str, object]
) -> HttpResponse:
    """What was brought, kept or only checked as the button says; `template` and `context` are those of its page."""
    act = importing.import_statement if "keep" in request.POST else importing.preview
    found = _take(request, account, brought, act, context)
    if found is not None and found.statement is not None:
        return redirect("panel:provider_statement", statement_id=found.statement.pk)
    context["found"] = found
    context["kinds"] = [] if found is None else _kinds(found.counts)
    return _shown(request, account, template, context)


Act = Callable[[Integration, Brought, datetime], Result]


def _take(
    request: HttpRequest, account: Integration, brought: Brought, act: Act, context: dict[str, object]
) -> Result | None:
    try:
        found = act(account, brought, clock.now())
    except NotReadable as error:
        context["faults"] = error.faults
        return None
    except Busy:
        messages.warning(request, _("Another statement of this account was brought in a moment ago. Try again."))
        return None
    if found.statement is not None and not found.is_new:
        messages.info(request, _("This file was here before. Nothing was changed."))
    elif found.statement is not None:
        messages.success(request, _("The statement is kept."))
    return found


def _period(account: Integration, form: StatementForm) -> Period | None:
    first, last = form.cleaned_data["first"], form.cleaned_data["last"]
    return None if first is None or last is None else _days(account, first, last)


def _days(account: Integration, first: date, last: date) -> Period:
    """Whole days of the shop."""
    zone = zone_of([account.tenant_id])
    ends_at = _midnight(last + timedelta(days=1)).replace(tzinfo=zone) - timedelta(microseconds=1)
    return Period(_midnight(first).replace(tzinfo=zone), ends_at)


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min)


def _kinds(counts: dict[str, int]) -> list[tuple[object, int]]:
    return [(kind.label, counts[kind]) for kind in BreakKind if counts.get(kind)]


@never_cache
@login_required
@require_safe
def statement(request: HttpRequest, statement_id: int) -> HttpResponse:
    """One statement: what it covers, how much of it agrees, and its differences."""
    own = Statement.objects.filter(integration__tenant_id__in=person_of(request).tenant_ids())
    found = own.select_related("integration").filter(pk=statement_id).first()
    if found is None:
        raise Http404
    start = start_of(request)
    rows = _with_facts(found.breaks.all())
    context = {
        "statement": found,
        "agreed": found.lines.filter(breaks__isnull=True).exclude(attempt=None).count(),
        "rows": [as_row(row) for row in rows[start : start + PAGE]],
        **paging(start, rows.count(), {}),
    }
    with timezone.override(zone_of([found.integration.tenant_id])):
        return render(request, "panel/statement.html", context)


# --- differences


@never_cache
@login_required
@require_safe
def breaks(request: HttpRequest) -> HttpResponse:
    """The differences of the person's shops: open ones first asked for, by kind, account and person."""
    person = person_of(request)
    tenant_ids = person.tenant_ids()
    wanted = {name: request.GET.get(name, "") for name in ("kind", "state", "account", "mine")}
    wanted["state"] = wanted["state"] if wanted["state"] in (CLOSED, CLAIMED, ALL) else OPEN
    rows = _wanted(_with_facts(Break.objects.filter(integration__tenant_id__in=tenant_ids)), wanted, person)
    start = start_of(request)
    context = {
        "rows": [as_row(row) for row in rows[start : start + PAGE]],
        "wanted": wanted,
        "kinds": BreakKind.choices,
        "states": [(OPEN, _("open")), (CLOSED, _("closed")), (CLAIMED, BreakEnd.CLAIMED.label), (ALL, _("all"))],
        "accounts": Integration.objects.filter(tenant_id__in=tenant_ids).order_by("name"),
        **paging(start, rows.count(), {name: value for name, value in wanted.items() if value}),
    }
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/breaks.html", context)


def _with_facts(rows: QuerySet[Break]) -> QuerySet[Break]:
    return rows.select_related("integration", "statement", "line", "attempt", "owner").order_by("-id")


def _wanted(rows: QuerySet[Break], wanted: dict[str, str], person: User) -> QuerySet[Break]:
    if wanted["state"] == CLAIMED:
        rows = rows.filter(decision=BreakEnd.CLAIMED)
    elif wanted["state"] != ALL:
        rows = rows.filter(closed_at__isnull=wanted["state"] == OPEN)
    if wanted["kind"] in BreakKind:
        rows = rows.filter(kind=wanted["kind"])
    if account_id := as_id(wanted["account"]):
        rows = rows.filter(integration_id=account_id)
    return rows.filter(owner=person) if wanted["mine"] else rows


def as_row(row: Break) -> dict[str, object]:
    """The difference with its word in the reader's language."""
    return {"row": row, "note": words.say(words.BREAK_NOTES, row.note) if row.note else ""}


@never_cache
@login_required
@require_safe
def difference(request: HttpRequest, break_id: int) -> HttpResponse:
    """One difference: both sides of it, its story, and what each decision would do."""
    own = Break.objects.filter(integration__tenant_id__in=person_of(request).tenant_ids())
    row = _with_facts(own).select_related("attempt__order", "attempt__integration", "closed_by").filter(pk=break_id)
    found = row.first()
    if found is None:
        raise Http404
    context = {
        **as_row(found),
        "offers": [] if found.closed_at else deciding.offers(found, clock.now()),
        "ends": dict(BreakEnd.choices),
        "may_act": person_of(request).may_operate(found.integration.tenant_id),
        "linked_end": BreakEnd.LINKED,
        "story": [(event, words.say(words.BREAK_EVENTS, event.kind)) for event in found.events.order_by("id")],
        "is_mine": found.owner_id == person_of(request).pk,
    }
    with timezone.override(zone_of([found.integration.tenant_id])):
        return render(request, "panel/break.html", context)


@never_cache
@login_required
@require_POST
def take(request: HttpRequest, break_id: int) -> HttpResponse:
    """Work on it from now on."""
    return _told(request, break_id, lambda: deciding.take_break(break_id, person_of(request), clock.now()), "")


@never_cache
@login_required
@require_POST
def decide(request: HttpRequest, break_id: int) -> HttpResponse:
    """Close it in one of the ways that its page offers."""
    said = request.POST
    end, reason, reference = (said.get(name, "") for name in ("decision", "reason", "reference"))
    return _told(
        request,
        break_id,
        lambda: deciding.decide_break(
            break_id, person_of(request), end, reason, clock.now(), reference=reference.replace("\x00", "")[:120]
        ),
        gettext("Decided. The difference is closed."),
    )


def _told(request: HttpRequest, break_id: int, act: Callable[[], object], text: str) -> HttpResponse:
    try:
        act()
    except NotFound as refused:
        raise Http404 from refused
    except NotAllowed as refused:
        raise PermissionDenied from refused
    except DecisionRefused as refused:
        messages.error(request, str(refused))
    else:
        if text:
            messages.success(request, text)
    return redirect("panel:break", break_id=break_id)
