"""The pages on which people decide: a form with a reason that says what it will do, requests of others, and cases."""

from __future__ import annotations

from datetime import datetime

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables
from django.views.decorators.http import require_http_methods, require_safe

from apps.common import clock
from apps.common.money import Money
from apps.orders import decisions
from apps.orders.decisions import Alone, BadInput, DecisionRefused
from apps.orders.decisions.deciding import Control
from apps.orders.decisions.foresight import Foreseen
from apps.orders.models import Approval, Attempt, Case
from apps.panel import deciding, words
from apps.panel.deciding import AnyForm, Call, HandForm, Kind, Subject
from apps.panel.listing import as_id
from apps.panel.review import in_review, load_groups, load_rows
from apps.panel.views import check_may_operate, load_order, person_of, zone_of

LONGEST_LIST = 200
"""Requests or cases on one page, oldest first."""

# --- one decision


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@sensitive_post_parameters()
@sensitive_variables()
def decide(request: HttpRequest, order_id: int, name: str) -> HttpResponse:
    """One decision: says what it will do, and does it when that has been seen and a reason is given."""
    subject = load_subject(request, order_id, name)
    check_may_operate(request, subject.order.tenant_id)
    with timezone.override(zone_of([subject.order.tenant_id])):
        if request.method == "POST":
            return _answer(request, subject)
        return _offer(request, subject)


def load_subject(request: HttpRequest, order_id: int, name: str) -> Subject:
    """What the address names; 404 where there is no such decision, or the order has no such attempt or case."""
    kind, order = deciding.KINDS.get(name), load_order(request, order_id)
    choice = request.GET.get("choice", "")
    if kind is None or choice not in kind.choices:
        raise Http404
    attempt, case = as_id(request.GET.get("attempt", "")), as_id(request.GET.get("case", ""))
    found = Subject(
        name,
        order,
        choice,
        Attempt.objects.select_related("integration").filter(order=order, pk=attempt).first() if attempt else None,
        Case.objects.select_related("attempt", "owner").filter(order=order, pk=case).first() if case else None,
    )
    is_missing = (attempt and found.attempt is None) or (case and found.case is None)
    if is_missing or (kind.about and getattr(found, kind.about) is None):
        raise Http404
    return found


def _offer(request: HttpRequest, subject: Subject) -> HttpResponse:
    """The empty form; with what it will do, where that does not depend on what is typed."""
    kind = deciding.KINDS[subject.name]
    if kind.is_plain or kind.form is not deciding.ReasonForm:
        return _page(request, subject, kind.form(subject=subject))
    form = deciding.ReasonForm(subject=subject)
    try:
        foreseen = deciding.foresee_call(Call(subject, person_of(request), clock.now(), {}))
    except BadInput as refused:
        if kind.takes_entry:
            return _page(request, subject, HandForm(subject=subject))
        return _page(request, subject, None, refused=str(refused))
    except DecisionRefused as refused:
        return _page(request, subject, None, refused=str(refused))
    return _page(request, subject, form, foreseen)


def _answer(request: HttpRequest, subject: Subject) -> HttpResponse:
    """Do it if what it does is what was seen; else show that first."""
    form = _read_form(request, subject)
    if not form.is_valid():
        return _page(request, subject, form, status=422)
    call = _as_call(request, subject, form, clock.now())
    if deciding.KINDS[subject.name].is_plain:
        return _decide(request, form, call)
    try:
        foreseen = deciding.foresee_call(call)
    except DecisionRefused as refused:
        return _refused(request, subject, form, refused)
    seen = request.POST.get("seen", "")
    if seen != foreseen.fingerprint:
        return _page(request, subject, form, foreseen, is_changed=bool(seen))
    return _decide(request, form, call, foreseen)


def _read_form(request: HttpRequest, subject: Subject) -> AnyForm:
    kind = deciding.KINDS[subject.name]
    is_typed = kind.takes_entry and "cost" in request.POST
    return HandForm(request.POST, subject=subject) if is_typed else kind.form(request.POST, subject=subject)


def _as_call(request: HttpRequest, subject: Subject, form: AnyForm, now: datetime) -> Call:
    entry = form.entry() if isinstance(form, HandForm) else None
    password = request.POST.get("password", "")
    alone = Alone(password, request.POST.get("amount", "")) if password else None
    return Call(subject, person_of(request), now, form.cleaned_data, entry, alone)


def _decide(request: HttpRequest, form: AnyForm, call: Call, foreseen: Foreseen | None = None) -> HttpResponse:
    kind: Kind = deciding.KINDS[call.subject.name]
    try:
        decided = kind.make(call)
    except DecisionRefused as refused:
        return _refused(request, call.subject, form, refused, foreseen)
    if decided is not None and not decided.is_done:
        messages.info(request, _("This waits for a second person now. Nothing has moved."))
    else:
        messages.success(request, _("Done."))
    return redirect("panel:order", order_id=call.subject.order.pk)


def _refused(
    request: HttpRequest,
    subject: Subject,
    form: AnyForm,
    refused: DecisionRefused,
    foreseen: Foreseen | None = None,
) -> HttpResponse:
    """The form again, with what is to be mended beside its field."""
    if foreseen is not None and foreseen.control is Control.SINGLE:
        form.ask_alone()
    if isinstance(refused, BadInput):
        field = f"code_{refused.unit}" if refused.unit else refused.field.removesuffix("_missing")
        form.add_error(field if field in form.fields else None, str(refused))
        return _page(request, subject, form, foreseen, status=422)
    return _page(request, subject, form, foreseen, refused=str(refused), status=422)


def _page(
    request: HttpRequest,
    subject: Subject,
    form: AnyForm | None,
    foreseen: Foreseen | None = None,
    *,
    refused: str = "",
    is_changed: bool = False,
    status: int = 200,
) -> HttpResponse:
    if form is not None and foreseen is not None and foreseen.control is Control.SINGLE:
        form.ask_alone()
    told = deciding.tell(foreseen) if foreseen else None
    context = {
        "subject": subject,
        "order": subject.order,
        "form": form,
        "title": words.say(deciding.TITLES, subject.key),
        "effect": words.say(deciding.EFFECTS, subject.key),
        "told": told,
        "currency": deciding.currency_of(subject),
        "refused": refused,
        "is_changed": is_changed,
        "is_last": told is not None or deciding.KINDS[subject.name].is_plain,
    }
    return render(request, "panel/decision.html", context, status=status)


# --- the review queue


@never_cache
@login_required
@require_safe
def review(request: HttpRequest) -> HttpResponse:
    """The orders that a person must look at, by reason, oldest first; those that rest only where they are asked for."""
    tenant_ids, reason = person_of(request).tenant_ids(), request.GET.get("reason", "").replace("\x00", "")
    now, is_resting = clock.now(), request.GET.get("resting") == "1"
    found = in_review(tenant_ids, now, is_resting=is_resting)
    context = {
        "groups": load_groups(found),
        "rows": load_rows(found, reason),
        "reason": reason,
        "is_resting": is_resting,
        "operated": set(person_of(request).operated_ids()),
        "resting": in_review(tenant_ids, now, is_resting=True).count(),
    }
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/review.html", context)


# --- what waits for a second person


@never_cache
@login_required
@require_safe
def approvals(request: HttpRequest) -> HttpResponse:
    """Every decision that waits for a second person, oldest first."""
    person = person_of(request)
    tenant_ids = person.tenant_ids()
    rows = waiting_approvals(tenant_ids)[:LONGEST_LIST]
    operated = set(person.operated_ids())
    shown = [(row, deciding.approval_title(row), Money(row.amount_micros, row.currency)) for row in rows]
    context = {"rows": shown, "operated": operated}
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/approvals.html", context)


def waiting_approvals(tenant_ids: list[int]) -> QuerySet[Approval]:
    """The requests of these shops that nobody has decided."""
    found = Approval.objects.filter(order__tenant_id__in=tenant_ids, status=Approval.Status.PENDING)
    return found.select_related("order", "order__customer", "asked_by").order_by("id")


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def approval(request: HttpRequest, approval_id: int) -> HttpResponse:
    """One request with what confirming it does; a post confirms or declines it."""
    person = person_of(request)
    own = Approval.objects.filter(order__tenant_id__in=person.tenant_ids(), pk=approval_id)
    found = own.select_related("order", "order__customer", "attempt", "asked_by", "decided_by").first()
    if found is None:
        raise Http404
    if request.method == "POST":
        return _settle(request, found)
    with timezone.override(zone_of([found.order.tenant_id])):
        return _approval_page(request, found)


def _settle(request: HttpRequest, found: Approval) -> HttpResponse:
    check_may_operate(request, found.order.tenant_id)
    is_confirmed = request.POST.get("answer") == "confirm"
    act = decisions.confirm if is_confirmed else decisions.decline
    try:
        act(found.pk, person_of(request), clock.now())
    except DecisionRefused as refused:
        messages.error(request, str(refused))
        return redirect("panel:approval", approval_id=found.pk)
    messages.success(request, _("Confirmed and done.") if is_confirmed else _("Declined. Nothing was moved."))
    return redirect("panel:order", order_id=found.order_id)


def _approval_page(request: HttpRequest, found: Approval) -> HttpResponse:
    person, told, refused = person_of(request), None, ""
    may_act = person.may_operate(found.order.tenant_id)
    if may_act and found.status == Approval.Status.PENDING:
        try:
            told = deciding.tell(deciding.foresee_approval(found, person, clock.now()))
        except DecisionRefused as error:
            refused = str(error)
    context = {
        "approval": found,
        "order": found.order,
        "title": deciding.approval_title(found),
        "stake": Money(found.amount_micros, found.currency),
        "told": told,
        "refused": refused,
        "may_act": may_act,
        "is_own": found.asked_by_id == person.pk,
        "is_pending": found.status == Approval.Status.PENDING,
    }
    return render(request, "panel/approval.html", context)


# --- cases


@never_cache
@login_required
@require_safe
def cases(request: HttpRequest) -> HttpResponse:
    """The open cases of the person's shops, oldest first; those that rest are at the end."""
    tenant_ids, now = person_of(request).tenant_ids(), clock.now()
    found = list(open_cases(tenant_ids)[:LONGEST_LIST])
    resting = [case for case in found if case.snoozed_until is not None and case.snoozed_until > now]
    awake = [case for case in found if case not in resting]
    context = {"awake": with_risk(awake), "resting": with_risk(resting)}
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/cases.html", context)


def open_cases(tenant_ids: list[int]) -> QuerySet[Case]:
    """The cases of these shops that are not closed."""
    found = Case.objects.filter(order__tenant_id__in=tenant_ids, closed_at=None)
    return found.select_related("order", "order__customer", "attempt", "owner").order_by("opened_at", "id")


def with_risk(found: list[Case]) -> list[tuple[Case, Money]]:
    """Each case with the money at risk."""
    return [(case, Money(case.risk_micros, case.currency)) for case in found]


@never_cache
@login_required
@require_safe
def case(request: HttpRequest, case_id: int) -> HttpResponse:
    """One case: what is asked, what may be decided, and what was."""
    person = person_of(request)
    own = Case.objects.filter(order__tenant_id__in=person.tenant_ids(), pk=case_id)
    found = own.select_related("order", "order__customer", "attempt", "owner", "closed_by").first()
    if found is None:
        raise Http404
    may_act = person.may_operate(found.order.tenant_id)
    every = deciding.open_decisions(found.order, clock.now()) if may_act and found.closed_at is None else []
    context = {
        "case": found,
        "order": found.order,
        "risk": Money(found.risk_micros, found.currency),
        "decisions": [one for one in every if one.found.case is not None and one.found.case.pk == found.pk],
    }
    with timezone.override(zone_of([found.order.tenant_id])):
        return render(request, "panel/case.html", context)
