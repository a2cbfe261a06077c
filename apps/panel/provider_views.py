"""The pages of provider accounts: balance, diagnosis, the provider's list and its changes. Viewers look, others act."""

from __future__ import annotations

from decimal import Decimal
from urllib.parse import urlencode

from django import forms
from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.accounts.admin_base import AmountField
from apps.common import clock
from apps.common.logs import get_logger
from apps.panel import providing
from apps.panel.hooks import load_hooks
from apps.panel.listing import as_id, read_term
from apps.panel.provider_health import load_health
from apps.panel.views import check_may_operate, live, person_of, zone_of
from apps.providers import approval, breaker, troubles
from apps.providers.approval import Decided
from apps.providers.catalogue_models import AccountWatch, CatalogChange
from apps.providers.diagnosis import diagnose
from apps.providers.listing import CannotList, SyncRunning, request_sync
from apps.providers.models import Integration
from apps.webhooks import addresses

log = get_logger(__name__)


class WatchForm(forms.Form):
    """What a shop wants to be warned of at one account."""

    alert_below = AmountField(
        label=gettext_lazy("Warn when the balance is below"), min_value=Decimal("0.000001"), required=False
    )
    jump_factor = forms.DecimalField(
        label=gettext_lazy("Hold a price that moves by more than this factor"),
        min_value=Decimal("1.01"),
        max_value=Decimal(1000),
        decimal_places=2,
    )


class StopForm(forms.Form):
    """Why new orders are kept away from an account, or are let go there again."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"), max_length=200, widget=forms.TextInput(attrs={"dir": "auto"})
    )


# --- the accounts


@never_cache
@login_required
@require_safe
def providers(request: HttpRequest) -> HttpResponse:
    """The accounts of the person's shops."""
    tenant_ids = person_of(request).tenant_ids()
    with timezone.override(zone_of(tenant_ids)):
        context = {"cards": providing.load_cards(tenant_ids, clock.now())}
        return render(request, "panel/providers.html", context)


@never_cache
@login_required
@require_safe
def provider(request: HttpRequest, account_id: int) -> HttpResponse:
    """One account."""
    return _page(request, load_account(request, account_id))


@never_cache
@login_required
@require_safe
def provider_live(request: HttpRequest, account_id: int) -> HttpResponseBase:
    """The part of the page that changes while a list is fetched; 304 when it has not."""
    account = load_account(request, account_id)
    with timezone.override(zone_of([account.tenant_id])):
        return live(request, "panel/_provider.html", _context(request, account))


def _page(request: HttpRequest, account: Integration, **more: object) -> HttpResponse:
    with timezone.override(zone_of([account.tenant_id])):
        context = {**_context(request, account), "history": providing.load_history(account), **more}
        context.setdefault("form", _watch_form(account))
        context.setdefault("stop_form", StopForm())
        context["health"] = load_health(account, clock.now(), zone_of([account.tenant_id]))
        hooks = load_hooks(account, clock.now())
        context |= {"hooks": hooks, "hook_address": request.build_absolute_uri(hooks.path) if hooks else ""}
        return render(request, "panel/provider.html", context)


def _context(request: HttpRequest, account: Integration) -> dict[str, object]:
    return {
        "card": providing.load_card(account, clock.now()),
        "account": account,
        "may_act": person_of(request).may_operate(account.tenant_id),
    }


def _watch_form(account: Integration) -> WatchForm:
    watch = AccountWatch.objects.filter(integration=account).first() or AccountWatch(integration=account)
    return WatchForm(initial={"alert_below": watch.alert_below_micros, "jump_factor": watch.jump_factor})


@never_cache
@login_required
@require_POST
def provider_watch(request: HttpRequest, account_id: int) -> HttpResponse:
    """Store what the shop wants to be warned of."""
    account = load_own_account(request, account_id)
    form = WatchForm(request.POST)
    if not form.is_valid():
        return _page(request, account, form=form)
    facts = {"alert_below_micros": form.cleaned_data["alert_below"], "jump_factor": form.cleaned_data["jump_factor"]}
    AccountWatch.objects.update_or_create(integration=account, defaults={**facts, "low_since": None})
    messages.success(request, _("Saved."))
    return redirect("panel:provider", account_id=account.pk)


@never_cache
@login_required
@require_POST
def provider_resume(request: HttpRequest, account_id: int) -> HttpResponse:
    """End the account's pause; the orders that wait for it go on at once."""
    account = load_own_account(request, account_id)
    troubles.resume(account)
    log.info("provider_resumed", integration=account.pk, actor=person_of(request).get_username())
    messages.success(request, _("Orders go there again."))
    return redirect("panel:provider", account_id=account.pk)


@never_cache
@login_required
@require_POST
def provider_stop(request: HttpRequest, account_id: int, step: str) -> HttpResponse:
    """Stop new orders to the account, or let them go there again; both with a reason."""
    account, act = load_own_account(request, account_id), STOPS.get(step)
    if act is None:
        raise Http404
    form = StopForm(request.POST)
    if not form.is_valid():
        return _page(request, account, stop_form=form)
    act(account, person_of(request).get_username(), form.cleaned_data["reason"], clock.now())
    messages.success(request, _("No new order goes there.") if step == "stop" else _("Orders go there again."))
    return redirect("panel:provider", account_id=account.pk)


STOPS = {"stop": breaker.trip, "let-go": breaker.close}


@never_cache
@login_required
@require_POST
def provider_diagnose(request: HttpRequest, account_id: int) -> HttpResponse:
    """Try every step between us and the provider, and show what each found."""
    account = load_own_account(request, account_id)
    return _page(request, account, diagnosis=diagnose(account))


@never_cache
@login_required
@require_POST
def provider_sync(request: HttpRequest, account_id: int) -> HttpResponse:
    """Have the provider's list fetched by a worker; the page shows how far it is."""
    account = load_own_account(request, account_id)
    try:
        request_sync(account, person_of(request).get_username(), clock.now())
    except SyncRunning:
        messages.info(request, _("The list is being fetched already."))
    except CannotList:
        messages.error(request, _("This kind of provider has no list."))
    return redirect("panel:provider", account_id=account.pk)


@never_cache
@login_required
@require_POST
def provider_hook_rotate(request: HttpRequest, account_id: int) -> HttpResponse:
    """Give the account another address for webhooks; the old one is unknown from now on."""
    account = load_own_account(request, account_id)
    addresses.rotate(account)
    messages.success(request, _("The account has a new address: put it into the provider's settings."))
    return redirect("panel:provider", account_id=account.pk)


# --- the provider's list


@never_cache
@login_required
@require_safe
def provider_items(request: HttpRequest, account_id: int) -> HttpResponse:
    """What was approved of the provider's list."""
    account = load_account(request, account_id)
    term, start = read_term(request.GET), start_of(request)
    items, count = providing.load_items(account, term, start)
    with timezone.override(zone_of([account.tenant_id])):
        context = {"account": account, "items": items, "term": term, **paging(start, count, {"q": term})}
        return render(request, "panel/provider_items.html", context)


@never_cache
@login_required
@require_safe
def provider_changes(request: HttpRequest, account_id: int) -> HttpResponse:
    """What differs between the provider's list and what was approved."""
    account = load_account(request, account_id)
    kind, state, start = request.GET.get("kind", ""), request.GET.get("state", ""), start_of(request)
    kind = kind if kind in CatalogChange.Kind else ""
    state = state if state in CatalogChange.State else CatalogChange.State.PENDING
    rows, count = providing.load_changes(account, state, kind, start)
    with timezone.override(zone_of([account.tenant_id])):
        context = {
            "account": account,
            "rows": rows,
            "kinds": [("", _("Every kind")), *CatalogChange.Kind.choices],
            "states": CatalogChange.State.choices,
            "kind": kind,
            "state": state,
            "is_open": state == CatalogChange.State.PENDING,
            "may_act": person_of(request).may_operate(account.tenant_id),
            **paging(start, count, {"kind": kind, "state": state}),
        }
        return render(request, "panel/provider_changes.html", context)


@never_cache
@login_required
@require_POST
def provider_changes_decide(request: HttpRequest, account_id: int) -> HttpResponse:
    """Approve or decline the ticked changes together; price jumps among them stay."""
    account = load_own_account(request, account_id)
    ids = [pk for value in request.POST.getlist("change") if (pk := as_id(value))]
    if request.POST.get("all"):
        ids = list(_pending(account, request.POST.get("kind", "")))
    decide = DECISIONS.get(request.POST.get("decision", ""))
    if decide is None:
        raise Http404
    _tell(request, decide(account, ids, person_of(request).get_username(), clock.now()))
    return redirect("panel:provider_changes", account_id=account.pk)


DECISIONS = {"approve": approval.approve_many, "decline": approval.decline_many}


def _pending(account: Integration, kind: str) -> list[int]:
    rows = CatalogChange.objects.filter(integration=account, state=CatalogChange.State.PENDING)
    return list((rows.filter(kind=kind) if kind else rows).values_list("pk", flat=True))


@never_cache
@login_required
@require_POST
def provider_change_approve(request: HttpRequest, account_id: int, change_id: int) -> HttpResponse:
    """Approve one change, a price jump too: its percentage stands beside the button."""
    account = load_own_account(request, account_id)
    _tell(request, approval.approve_one(account, change_id, person_of(request).get_username(), clock.now()))
    return redirect("panel:provider_changes", account_id=account.pk)


def _tell(request: HttpRequest, decided: Decided) -> None:
    if decided.done:
        text = ngettext("%(count)s change was decided.", "%(count)s changes were decided.", decided.done)
        messages.success(request, text % {"count": decided.done})
    if decided.quarantined:
        text = ngettext(
            "%(count)s price jump waits for an approval of its own.",
            "%(count)s price jumps wait for approvals of their own.",
            decided.quarantined,
        )
        messages.warning(request, text % {"count": decided.quarantined})
    if decided.overtaken or not (decided.done or decided.quarantined):
        messages.info(request, _("Nothing was done about changes that are not waiting any more."))


# --- what the pages share


def load_account(request: HttpRequest, account_id: int) -> Integration:
    """The account, if it belongs to one of the person's shops; else 404, as if it did not exist."""
    own = Integration.objects.filter(tenant_id__in=person_of(request).tenant_ids())
    found = own.select_related("tenant").filter(pk=account_id).first()
    if found is None:
        raise Http404
    return found


def load_own_account(request: HttpRequest, account_id: int) -> Integration:
    """The same for somebody who may act. Raises `PermissionDenied` for a viewer."""
    account = load_account(request, account_id)
    check_may_operate(request, account.tenant_id)
    return account


def start_of(request: HttpRequest) -> int:
    """From which row on a page is shown; what makes no sense counts as the first."""
    text = request.GET.get("start", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 9 else 0


def paging(start: int, count: int, query: dict[str, str]) -> dict[str, object]:
    """Where the page stands among all rows, and the query strings of its neighbours."""
    size = providing.PAGE
    return {
        "count": count,
        "first": min(start + 1, count),
        "last": min(start + size, count),
        "earlier": urlencode({**query, "start": max(start - size, 0)}) if start else "",
        "later": urlencode({**query, "start": start + size}) if start + size < count else "",
    }
