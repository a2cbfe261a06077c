"""The pages of what is sold: packages, what each is called at a provider, and the files that people edit."""

from __future__ import annotations

from datetime import datetime

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.accounts.models import Tenant
from apps.catalog.models import Package
from apps.catalog.sheets import Sheet, export_sheet, import_sheet
from apps.common import clock
from apps.common.money import Money
from apps.common.tables import BYTES_LIMIT
from apps.panel import providing, words
from apps.panel.listing import as_id, read_term
from apps.panel.provider_views import load_account, paging, start_of
from apps.panel.views import check_may_operate, person_of, zone_of
from apps.providers.catalogue_models import CatalogItem
from apps.providers.mapping import ItemChanged, Preview, preview_mapping, save_mapping
from apps.providers.models import Integration, PackageMapping
from apps.providers.sheets import SHEETS
from apps.providers.suggestions import suggest

SHOWN_FAULTS = 500


@never_cache
@login_required
@require_safe
def catalogue(request: HttpRequest) -> HttpResponse:
    """Everything the person's shops sell."""
    term, start = read_term(request.GET), start_of(request)
    rows, count = providing.load_packages(person_of(request).tenant_ids(), term, start, clock.now())
    return render(request, "panel/catalogue.html", {"rows": rows, "term": term, **paging(start, count, {"q": term})})


# --- mapping


@never_cache
@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def mapping(request: HttpRequest, package_id: int, account_id: int) -> HttpResponse:
    """Which item of the provider's list a package is: suggestions, then a preview, then it is saved."""
    package, account = _load_pair(request, package_id, account_id)
    if request.method == "POST":
        return _save(request, package, account)
    return _mapping_page(request, package, account)


def _load_pair(request: HttpRequest, package_id: int, account_id: int) -> tuple[Package, Integration]:
    account = load_account(request, account_id)
    own = Package.objects.filter(tenant_id=account.tenant_id)
    package = own.select_related("product").filter(pk=package_id).first()
    if package is None:
        raise Http404
    return package, account


def _mapping_page(request: HttpRequest, package: Package, account: Integration) -> HttpResponse:
    term = read_term(request.GET)
    price = providing.general_price(package, account.currency, clock.now())
    shown = _preview(package, account, request.GET.get("item", ""), price)
    context = {
        "package": package,
        "account": account,
        "price": price,
        "term": term,
        "suggestions": suggest(package, account, price, term),
        "preview": shown,
        "concerns": [words.say(words.CONCERNS, concern) for concern in shown.concerns] if shown else [],
        "present": PackageMapping.objects.filter(package=package, integration=account).first(),
        "may_act": person_of(request).may_operate(account.tenant_id),
    }
    with timezone.override(zone_of([account.tenant_id])):
        return render(request, "panel/catalogue_mapping.html", context)


def _preview(package: Package, account: Integration, item_id: str, price: Money | None) -> Preview | None:
    pk = as_id(item_id)
    item = CatalogItem.objects.filter(integration=account, is_listed=True, pk=pk).first() if pk else None
    return preview_mapping(package, account, item, price) if item else None


def _save(request: HttpRequest, package: Package, account: Integration) -> HttpResponse:
    check_may_operate(request, account.tenant_id)
    price = providing.general_price(package, account.currency, clock.now())
    shown = _preview(package, account, request.POST.get("item", ""), price)
    if shown is None:
        raise Http404
    try:
        if shown.item.changed_at != _moment(request.POST.get("seen", "")):
            raise ItemChanged
        save_mapping(shown, package, account, person_of(request).get_username())
    except ItemChanged:
        messages.warning(request, _("The item has changed since you looked. Nothing was saved: look again."))
        return redirect(f"{request.path}?item={shown.item.pk}")
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
        return redirect(f"{request.path}?item={shown.item.pk}")
    messages.success(request, _("The mapping was saved."))
    return redirect("panel:catalogue")


def _moment(text: str) -> datetime | None:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        return None


# --- files


@never_cache
@login_required
@require_safe
def sheets(request: HttpRequest) -> HttpResponse:
    """The files that can be taken out and brought in."""
    return _sheets_page(request)


def _sheets_page(request: HttpRequest, **more: object) -> HttpResponse:
    person = person_of(request)
    shops = list(Tenant.objects.filter(pk__in=person.tenant_ids()).order_by("name"))
    context = {"sheets": SHEETS.values(), "shops": shops, "own_ids": person.operated_ids(), **more}
    return render(request, "panel/catalogue_sheets.html", context)


@never_cache
@login_required
@require_safe
def sheet_export(request: HttpRequest, name: str) -> HttpResponse:
    """One file of one shop."""
    sheet, shop = _load_sheet(name), _load_shop(request, request.GET.get("shop", ""))
    response = HttpResponse(export_sheet(sheet, shop), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{shop.slug}-{sheet.name}.csv"'
    return response


@never_cache
@login_required
@require_POST
def sheet_import(request: HttpRequest) -> HttpResponse:
    """Check a file, or check it and store all of it; with one fault nothing is stored."""
    sheet, shop = _load_sheet(request.POST.get("sheet", "")), _load_shop(request, request.POST.get("shop", ""))
    check_may_operate(request, shop.pk)
    upload = request.FILES.get("file")
    if upload is None or isinstance(upload, list):
        messages.error(request, _("Choose a file first."))
        return redirect("panel:sheets")
    imported = import_sheet(sheet, shop, upload.read(BYTES_LIMIT + 1), is_dry=request.POST.get("act") != "import")
    context = {"imported": imported, "faults": imported.faults[:SHOWN_FAULTS], "sheet": sheet, "shop": shop}
    return _sheets_page(request, **context)


def _load_sheet(name: str) -> Sheet:
    if name not in SHEETS:
        raise Http404
    return SHEETS[name]


def _load_shop(request: HttpRequest, shop_id: str) -> Tenant:
    """A shop of the person's, or 404; without a number the only one."""
    own = Tenant.objects.filter(pk__in=person_of(request).tenant_ids())
    is_number = shop_id.isascii() and shop_id.isdigit()
    found = own.filter(pk=as_id(shop_id) or 0) if is_number else own
    shop = found.first() if found.count() == 1 else None
    if shop is None:
        raise Http404
    return shop
