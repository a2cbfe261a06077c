"""The pages of wallets and of our money at providers: translate a request, call once, translate back."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo
from urllib.parse import urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db.models import Sum
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.models import Customer, Tenant
from apps.common import clock
from apps.common.money import Money, format_amount
from apps.common.sheets import safe_cell
from apps.orders.models import OrderUnit
from apps.orders.states import UnitStatus
from apps.panel import words
from apps.panel.listing import as_id, read_term
from apps.panel.views import as_file, person_of, zone_of
from apps.providers.models import Integration
from apps.wallet import ledger, people
from apps.wallet.statement import BadPeriod, Period, Statement, StatementLine, load_statement, standing_of, standings

PAGE = 50
LONGEST = 300
"""Lines of a statement on the page; the file has all of them."""

USUAL_PERIOD = timedelta(days=30)


# --- all wallets


@never_cache
@login_required
@require_safe
def wallets(request: HttpRequest) -> HttpResponse:
    """The wallets of the person's shops, what waits for a second person, and the shops' limits."""
    person = person_of(request)
    tenant_ids = person.tenant_ids()
    term = read_term(request.GET)
    own = Customer.objects.filter(tenant_id__in=tenant_ids, name__icontains=term).select_related("tenant")
    page = Paginator(own.order_by("name", "id"), PAGE).get_page(request.GET.get("page"))
    standing = standings(page)
    context = {
        "term": term,
        "page": page,
        "query": urlencode({"q": term}) if term else "",
        "rows": [(customer, standing[customer.pk]) for customer in page],
        "has_shop": bool(tenant_ids),
        "waiting": people.waiting(person, tenant_ids, clock.now()),
        "limits": [(shop, limits_of(shop.pk)) for shop in Tenant.objects.filter(pk__in=tenant_ids).order_by("name")],
        "owned": {tenant_id for tenant_id in tenant_ids if people.may_own(person, tenant_id)},
    }
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/wallets.html", context)


def limits_of(tenant_id: int) -> list[Money]:
    """From which amounts on a shop asks for a second person."""
    limits = people.confirm_limits(tenant_id)
    return [Money(above, currency) for currency, above in limits.items() if above is not None]


@never_cache
@login_required
@require_POST
def set_limit(request: HttpRequest) -> HttpResponse:
    """A shop's limit for one currency; an empty amount takes it away."""
    person = person_of(request)
    tenant_id = own_id(request.POST.get("tenant", ""), person.tenant_ids())
    currency, above = request.POST.get("currency", "").strip().upper(), request.POST.get("above", "").strip()
    told(
        request,
        lambda: people.set_confirm_limit(person, tenant_id, currency, above or None, clock.now()),
        _("The limit is set."),
    )
    return redirect("panel:wallets")


# --- one wallet


@never_cache
@login_required
@require_safe
def wallet(request: HttpRequest, customer_id: int) -> HttpResponse:
    """One wallet: what it has, what can be done to it, and its statement."""
    return wallet_page(request, load_customer(request, customer_id))


def wallet_page(request: HttpRequest, customer: Customer, refused: people.WalletRefused | None = None) -> HttpResponse:
    """The page, with what was refused and what was typed if it comes back from a form."""
    person, zone = person_of(request), zone_of([customer.tenant_id])
    period, bad_period = read_period(request.GET, zone)
    statement = load_statement(customer, period)
    lines = deque(statement.lines, LONGEST + 1)
    is_cut = len(lines) > LONGEST
    context = {
        "customer": customer,
        "standing": standing_of(customer),
        "held": held_of(customer),
        "may_act": person.may_operate(customer.tenant_id),
        "kinds": people.Kind.choices,
        "key": secrets.token_hex(16),
        "typed": request.POST,
        "refused": refused,
        "waiting": people.waiting(person, [customer.tenant_id], clock.now(), customer),
        "period": period,
        "bad_period": bad_period,
        "opening": statement.opening,
        "is_cut": is_cut,
        "lines": [as_row(line) for line in reversed(list(lines)[-LONGEST:])],
        "query": request.GET.urlencode(),
    }
    status = 422 if refused else 400 if bad_period else 200
    with timezone.override(zone):
        return render(request, "panel/wallet.html", context, status=status)


def held_of(customer: Customer) -> Money:
    """What is set aside for the customer's open orders."""
    held = OrderUnit.objects.filter(order__customer=customer, status=UnitStatus.HELD)
    return Money(held.aggregate(sum=Sum("amount_micros"))["sum"] or 0, customer.currency)


@never_cache
@login_required
@require_POST
def ask(request: HttpRequest, customer_id: int) -> HttpResponse:
    """Deposit, withdraw, correct or set the credit limit, at once or when a second person agrees."""
    customer = load_customer(request, customer_id)
    said = request.POST
    wish = people.Wish(
        said.get("kind", ""), said.get("amount", "").strip(), said.get("reason", ""), said.get("key", "")
    )
    try:
        asked = people.ask(person_of(request), customer, wish, clock.now())
    except people.NotAllowed as refused:
        raise PermissionDenied from refused
    except people.WalletRefused as refused:
        return wallet_page(request, customer, refused)
    if asked.status == people.Status.PENDING:
        messages.info(request, _("This needs a second person. It waits until somebody else confirms it."))
    else:
        messages.success(request, _("Done."))
    return redirect("panel:wallet", customer_id=customer.pk)


@never_cache
@login_required
@require_POST
def decide(request: HttpRequest, request_id: int) -> HttpResponse:
    """Confirm or decline what somebody else asked for."""
    person = person_of(request)
    customer_id = people.customer_of_request(request_id, person.tenant_ids())
    if customer_id is None:
        raise Http404
    is_confirmed = request.POST.get("answer") == "confirm"
    text = _("Confirmed and done.") if is_confirmed else _("Declined. Nothing was moved.")
    told(request, lambda: people.decide(person, request_id, is_confirmed=is_confirmed, now=clock.now()), text)
    return redirect("panel:wallet", customer_id=customer_id)


# --- the statement


@dataclass(frozen=True, slots=True)
class StatementRow:
    """One line of a statement in words."""

    line: StatementLine
    kind: str


def as_row(line: StatementLine) -> StatementRow:
    """The line with its kind as a person reads it."""
    return StatementRow(line, words.say(words.TRANSFERS, line.kind))


def read_period(query: Mapping[str, str], zone: tzinfo) -> tuple[Period, str]:
    """The days that were asked for, and what is wrong with them; without any, the last thirty."""
    usual = Period(clock.now().astimezone(zone).date() - USUAL_PERIOD, None, zone)
    if "from" not in query and "to" not in query:
        return usual, ""
    try:
        return Period(read_day(query.get("from", "")), read_day(query.get("to", "")), zone), ""
    except BadPeriod:
        return usual, _("The last day is before the first.")
    except ValueError:
        return usual, _("Write the days like 2026-03-31.")


def read_day(text: str) -> date | None:
    """The day, or None for an open end. Raises `ValueError`."""
    return date.fromisoformat(text) if text else None


@never_cache
@login_required
@require_safe
def statement_file(request: HttpRequest, customer_id: int) -> HttpResponse:
    """The statement of the chosen days as CSV, all lines, oldest first."""
    customer = load_customer(request, customer_id)
    zone = zone_of([customer.tenant_id])
    period, bad_period = read_period(request.GET, zone)
    if bad_period:
        messages.error(request, bad_period)
        return redirect("panel:wallet", customer_id=customer.pk)
    name = f"wallet-{customer.pk}-{period.first or 'start'}-{period.last or 'now'}.csv"
    with timezone.override(zone):
        return as_file(name, head(), file_rows(load_statement(customer, period)))


def head() -> list[str]:
    """The columns."""
    return [_("Time"), _("Posting"), _("Order"), _("Author"), _("Reason"), _("Amount"), _("Balance"), _("Currency")]


def file_rows(statement: Statement) -> list[list[str]]:
    """The opening balance and every line; texts are kept from being formulas, amounts are plain numbers."""
    opening = ["", _("Balance before"), "", "", "", "", format_amount(statement.opening.micros)]
    return [
        [*opening, statement.opening.currency],
        *(file_row(as_row(line)) for line in statement.lines),
    ]


def file_row(row: StatementRow) -> list[str]:
    """One line of the file."""
    line = row.line
    texts = [row.kind, str(line.order_id or ""), line.actor, line.reason]
    amounts = [format_amount(line.money.micros), format_amount(line.balance.micros), line.money.currency]
    return [f"{timezone.localtime(line.at):%Y-%m-%d %H:%M:%S}", *map(safe_cell, texts), *amounts]


# --- our money at providers


@never_cache
@login_required
@require_safe
def floats(request: HttpRequest) -> HttpResponse:
    """What lies at each provider account by the ledger, and the forms to tell of more and of less."""
    return floats_page(request)


def floats_page(request: HttpRequest, refused: people.WalletRefused | None = None) -> HttpResponse:
    """The page, with what was refused and what was typed if it comes back from a form."""
    person = person_of(request)
    tenant_ids = person.tenant_ids()
    integrations = Integration.objects.filter(tenant_id__in=tenant_ids).select_related("tenant").order_by("name", "id")
    operated = set(person.operated_ids())
    moneys: dict[int, list[Money]] = {}
    for tenant_id in tenant_ids:
        for (integration_id, _currency), money in sorted(ledger.float_of(tenant_id).items()):
            moneys.setdefault(integration_id, []).append(money)
    context = {
        "rows": [(item, moneys.get(item.pk, []), item.tenant_id in operated) for item in integrations],
        "may_act": bool(operated),
        "key": secrets.token_hex(16),
        "typed": request.POST,
        "refused": refused,
    }
    with timezone.override(zone_of(tenant_ids)):
        return render(request, "panel/wallet_floats.html", context, status=422 if refused else 200)


@never_cache
@login_required
@require_POST
def tell_float(request: HttpRequest) -> HttpResponse:
    """Money was sent to a provider, or is lost there."""
    person = person_of(request)
    said = {name: str(value).strip() for name, value in request.POST.items()}
    integrations = Integration.objects.filter(tenant_id__in=person.tenant_ids())
    known = dict(integrations.values_list("pk", "tenant_id"))
    integration_id = own_id(said.get("integration", ""), list(known))
    wish = people.FloatWish(
        integration_id=integration_id,
        amount=said.get("amount", ""),
        currency=said.get("currency", "").upper(),
        reason=said.get("reason", ""),
        key=said.get("key", ""),
        paid=said.get("paid", ""),
        paid_currency=said.get("paid_currency", "").upper(),
    )
    act = people.write_off if said.get("kind") == "write_off" else people.top_up
    try:
        act(person, known[integration_id], wish, clock.now())
    except people.NotAllowed as refused:
        raise PermissionDenied from refused
    except people.WalletRefused as refused:
        return floats_page(request, refused)
    messages.success(request, _("Done."))
    return redirect("panel:floats")


# --- what these pages share


def load_customer(request: HttpRequest, customer_id: int) -> Customer:
    """The customer, if of one of the person's shops; else 404, as if there were none."""
    own = Customer.objects.filter(tenant_id__in=person_of(request).tenant_ids())
    found = own.select_related("tenant").filter(pk=customer_id).first()
    if found is None:
        raise Http404
    return found


def own_id(text: str, allowed: list[int]) -> int:
    """The number, if it is one of those; else 404."""
    found = as_id(text)
    if found is None or found not in allowed:
        raise Http404
    return found


def told(request: HttpRequest, act: Callable[[], object], text: str) -> None:
    """Do it, and say `text`, or why not. Raises `PermissionDenied`."""
    try:
        act()
    except people.NotAllowed as refused:
        raise PermissionDenied from refused
    except people.WalletRefused as refused:
        messages.error(request, refused.detail)
    else:
        messages.success(request, text)
