"""The pages of reports: what orders brought and cost, where the money is, and whether the books are in balance."""

from __future__ import annotations

from collections.abc import Iterator

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.accounts.models import Tenant
from apps.common.money import Money, format_amount
from apps.common.sheets import safe_cell
from apps.orders import reports
from apps.orders.reports import By
from apps.panel import words
from apps.panel.views import as_file, person_of, zone_of
from apps.panel.wallet_views import read_period

CHOICES = {
    By.DAY: gettext_lazy("by day"),
    By.PROVIDER: gettext_lazy("by provider"),
    By.PACKAGE: gettext_lazy("by package"),
    By.CUSTOMER: gettext_lazy("by customer"),
}


@never_cache
@login_required
@require_safe
def profit(request: HttpRequest) -> HttpResponse:
    """What the shop's orders brought and cost within some days."""
    shops = shops_of(request)
    shop, by = chosen_shop(request, shops), chosen_by(request)
    zone = zone_of([shop.pk])
    period, bad_period = read_period(request.GET, zone)
    lines = reports.profit(shop.pk, by, period)
    context = {
        "shops": shops,
        "shop": shop,
        "by": by,
        "choices": CHOICES.items(),
        "period": period,
        "bad_period": bad_period,
        "lines": lines,
        "totals": reports.totals(lines),
        "query": request.GET.urlencode(),
    }
    with timezone.override(zone):
        return render(request, "panel/report_profit.html", context, status=400 if bad_period else 200)


@never_cache
@login_required
@require_safe
def profit_file(request: HttpRequest) -> HttpResponse:
    """The same as a file."""
    shop, by = chosen_shop(request, shops_of(request)), chosen_by(request)
    period, bad_period = read_period(request.GET, zone_of([shop.pk]))
    if bad_period:
        return HttpResponse(bad_period, status=400, content_type="text/plain; charset=utf-8")
    head = [str(CHOICES[by]), _("Orders"), _("Currency"), _("Sold"), _("Cost"), _("Profit"), _("Cost not known")]
    return as_file(f"profit-{by}.csv", head, file_rows(reports.profit(shop.pk, by, period)))


def file_rows(lines: list[reports.Line]) -> Iterator[list[str]]:
    """The lines with plain numbers; a profit that is not known is an empty cell."""
    for line in lines:
        amounts = [format_amount(money.micros) if money else "" for money in (line.sold, line.cost, line.profit)]
        yield [safe_cell(line.key), str(line.orders), line.currency, *amounts, str(line.unknown)]


@never_cache
@login_required
@require_safe
def money(request: HttpRequest) -> HttpResponse:
    """Stock-taking and trial balance of one shop, as the ledger has them now."""
    shops = shops_of(request)
    shop = chosen_shop(request, shops)
    lines = reports.trial_balance(shop.pk)
    context = {
        "shops": shops,
        "shop": shop,
        "stock": reports.stock_taking(shop.pk),
        "floats": reports.floats(shop.pk),
        "balances": [(words.say(words.PURSES, line.kind), line.money) for line in lines],
        "is_balanced": reports.is_balanced(lines),
    }
    with timezone.override(zone_of([shop.pk])):
        return render(request, "panel/report_money.html", context)


@never_cache
@login_required
@require_safe
def money_file(request: HttpRequest) -> HttpResponse:
    """The trial balance as a file."""
    shop = chosen_shop(request, shops_of(request))
    lines = reports.trial_balance(shop.pk)
    rows = ([words.say(words.PURSES, line.kind), line.money.currency, amount(line.money)] for line in lines)
    head = [_("Account"), _("Currency"), _("Amount")]
    return as_file("trial-balance.csv", head, rows)


def amount(money: Money) -> str:
    """A plain number."""
    return format_amount(money.micros)


def shops_of(request: HttpRequest) -> list[Tenant]:
    """The person's shops, by name. Raises `Http404` when there is none."""
    shops = list(Tenant.objects.filter(pk__in=person_of(request).tenant_ids()).order_by("name", "pk"))
    if not shops:
        raise Http404
    return shops


def chosen_shop(request: HttpRequest, shops: list[Tenant]) -> Tenant:
    """The shop that was asked for, else the first. Raises `Http404` for another person's shop."""
    wanted = request.GET.get("shop", "")
    found = [shop for shop in shops if str(shop.pk) == wanted] if wanted else shops[:1]
    if not found:
        raise Http404
    return found[0]


def chosen_by(request: HttpRequest) -> By:
    """What the lines stand for; days unless something else was asked for. Raises `Http404` for what is not there."""
    try:
        return By(request.GET.get("by") or By.DAY)
    except ValueError as error:
        raise Http404 from error
