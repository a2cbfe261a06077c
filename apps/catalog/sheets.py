"""The catalogue as CSV: products, their input fields, packages and prices, each a file of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import IntegrityError, models, transaction
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from apps.accounts.models import PriceGroup, Tenant
from apps.catalog.models import InputField, Package, PackagePrice, Product
from apps.common.natural import natural_key
from apps.common.tables import (
    BadCell,
    Column,
    Fault,
    Line,
    amount_text,
    one_of,
    read_currency,
    read_flag,
    read_micros,
    read_moment,
    read_table,
    read_whole,
    read_wholes,
    write_table,
)

Values = Mapping[str, Any]


class BadLine(Exception):
    """A line that cannot be stored: the column it is about, and words."""

    def __init__(self, column: str, text: str) -> None:
        super().__init__(text)
        self.column = column


@dataclass(frozen=True, slots=True)
class Sheet:
    """One kind of file: its columns, what makes a line unique, how rows are told, and how one line is stored."""

    name: str
    label: str | Promise
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    rows: Callable[[Tenant], Iterator[Values]]
    store: Callable[[Tenant, Values], str]


@dataclass(slots=True)
class Imported:
    """What a file did, or would do: lines by what came of each (created, changed, same), or every fault in it."""

    counts: Counter[str] = field(default_factory=Counter)
    faults: list[Fault] = field(default_factory=list)
    is_written: bool = False


def export_sheet(sheet: Sheet, tenant: Tenant) -> bytes:
    """The shop's rows as a file that can be imported again."""
    return write_table(sheet.columns, sheet.rows(tenant))


def import_sheet(sheet: Sheet, tenant: Tenant, data: bytes, *, is_dry: bool) -> Imported:
    """Store all lines of a file, or none: with a fault in any line, or on a dry run, nothing is changed."""
    table = read_table(data, sheet.columns, sheet.key)
    imported = Imported(faults=table.faults)
    with transaction.atomic():
        for line in table.lines:
            _store_line(sheet, tenant, line, imported)
        if imported.faults or is_dry:
            transaction.set_rollback(True)
    imported.faults.sort(key=lambda fault: fault.line)
    imported.is_written = not (imported.faults or is_dry)
    return imported


def _store_line(sheet: Sheet, tenant: Tenant, line: Line, imported: Imported) -> None:
    try:
        with transaction.atomic():
            imported.counts[sheet.store(tenant, line.values)] += 1
    except BadLine as error:
        imported.faults.append(Fault(line.number, error.column, str(error)))
    except ValidationError as error:
        imported.faults += _faults_of(line, error)
    except IntegrityError:
        text = _("contradicts another row: look whether the same thing is there already")
        imported.faults.append(Fault(line.number, "", text))


def _faults_of(line: Line, error: ValidationError) -> Iterator[Fault]:
    by_field = error.message_dict if hasattr(error, "error_dict") else {NON_FIELD_ERRORS: error.messages}
    for name, texts in by_field.items():
        column = name if name in line.values else ""
        yield from (Fault(line.number, column, text) for text in texts)


def put(row: models.Model, values: Values) -> str:
    """Write the values that differ; says whether the row was `created`, `changed` or the `same`."""
    is_new = row.pk is None
    changed = [name for name, value in values.items() if getattr(row, name) != value]
    if not is_new and not changed:
        return "same"
    for name in changed:
        setattr(row, name, values[name])
    row.full_clean()
    row.save()
    return "created" if is_new else "changed"


# --- what can be found by its name in a file


def product_of(tenant: Tenant, name: str, column: str = "product") -> Product:
    """The product of this name. Raises `BadLine`."""
    found = Product.objects.filter(tenant=tenant, name=name).first()
    if found is None:
        raise BadLine(column, _("there is no product of this name"))
    return found


def package_of(tenant: Tenant, code: str, column: str = "package") -> Package:
    """The package of this code. Raises `BadLine`."""
    found = Package.objects.select_related("product").filter(tenant=tenant, code=code).first()
    if found is None:
        raise BadLine(column, _("there is no package with this code"))
    return found


def in_natural_order(rows: models.QuerySet[Any], names: Sequence[str]) -> list[Any]:
    """Rows by the natural order of some of their texts."""

    def order(row: Any) -> list[str]:
        return [natural_key(str(_reach(row, name))) for name in names]

    return sorted(rows, key=order)


def _reach(row: Any, path: str) -> Any:
    for name in path.split("__"):
        row = getattr(row, name)
    return row


# --- the sheets

PRODUCT_TEXTS = ("name_ar", "name_tr", "image_url")


def product_rows(tenant: Tenant) -> Iterator[Values]:
    """Products by name."""
    for row in in_natural_order(Product.objects.filter(tenant=tenant), ["name"]):
        texts = {name: getattr(row, name) for name in ("name", *PRODUCT_TEXTS)}
        yield {**texts, "needs_code": row.needs_code, "active": row.is_active}


def store_product(tenant: Tenant, values: Values) -> str:
    """Create or change the product of this name."""
    found = Product.objects.filter(tenant=tenant, name=values["name"]).first()
    texts = {name: values[name] for name in ("name", *PRODUCT_TEXTS)}
    facts = {**texts, "needs_code": values["needs_code"], "is_active": values["active"]}
    return put(found or Product(tenant=tenant), facts)


FIELD_FACTS = ("name", "label", "label_ar", "label_tr", "kind", "target", "pattern", "required", "position")


def field_rows(tenant: Tenant) -> Iterator[Values]:
    """Input fields by product and place."""
    fields = InputField.objects.filter(product__tenant=tenant).select_related("product")
    for row in in_natural_order(fields, ["product__name", "position", "pk"]):
        yield {"product": row.product.name, **{name: getattr(row, name) for name in FIELD_FACTS}}


def store_field(tenant: Tenant, values: Values) -> str:
    """Create or change the product's field of this name."""
    product = product_of(tenant, values["product"])
    found = InputField.objects.filter(product=product, name=values["name"]).first()
    return put(found or InputField(product=product), {name: values[name] for name in FIELD_FACTS})


PACKAGE_FACTS = ("code", "name", "quantity_kind", "quantity_min", "quantity_max", "quantity_values", "image_url")


def package_rows(tenant: Tenant) -> Iterator[Values]:
    """Packages by product and name."""
    packages = Package.objects.filter(tenant=tenant).select_related("product")
    for row in in_natural_order(packages, ["product__name", "name"]):
        facts = {name: getattr(row, name) for name in PACKAGE_FACTS}
        yield {"product": row.product.name, **facts, "active": row.is_active}


def store_package(tenant: Tenant, values: Values) -> str:
    """Create or change the package of this code; it stays with its product."""
    product = product_of(tenant, values["product"])
    found = Package.objects.filter(tenant=tenant, code=values["code"]).first()
    if found is not None and found.product_id != product.pk:
        raise BadLine("product", _("the package of this code belongs to another product"))
    facts = {**{name: values[name] for name in PACKAGE_FACTS}, "is_active": values["active"]}
    return put(found or Package(tenant=tenant, product=product), facts)


def price_rows(tenant: Tenant) -> Iterator[Values]:
    """Prices by package, group and tier."""
    prices = PackagePrice.objects.filter(package__tenant=tenant).select_related("package__product", "price_group")
    names = ["package__product__name", "package__name", "currency", "from_quantity", "pk"]
    for row in in_natural_order(prices, names):
        yield {
            "package": row.package.code,
            "price_group": row.price_group.name if row.price_group else "",
            "currency": row.currency,
            "from_quantity": row.from_quantity,
            "valid_from": row.valid_from,
            "valid_until": row.valid_until,
            "price": amount_text(row.unit_price_micros),
        }


def store_price(tenant: Tenant, values: Values) -> str:
    """Create or change the price of this package for this group, in this currency, from this quantity and time on."""
    slot = {
        "package": package_of(tenant, values["package"]),
        "price_group": _group_of(tenant, values["price_group"]),
        "currency": values["currency"],
        "from_quantity": values["from_quantity"],
        "valid_from": values["valid_from"],
    }
    if not values["price"]:
        raise BadLine("price", _("a price is above zero"))
    found = PackagePrice.objects.filter(**slot).first()
    facts = {"unit_price_micros": values["price"], "valid_until": values["valid_until"]}
    return put(found or PackagePrice(**slot), facts)


def _group_of(tenant: Tenant, name: str) -> PriceGroup | None:
    if not name:
        return None
    found = PriceGroup.objects.filter(tenant=tenant, name=name).first()
    if found is None:
        raise BadLine("price_group", _("there is no price group of this name"))
    return found


def read_slug(text: str) -> str:
    """A short name as codes are: letters, digits, hyphens and underscores."""
    if not text.replace("-", "").replace("_", "").isalnum() or not text.isascii():
        raise BadCell(_("letters, digits, - and _ only"))
    return text


PRODUCTS = Sheet(
    name="products",
    label=gettext_lazy("products"),
    columns=(
        Column("name", needs_value=True),
        Column("name_ar"),
        Column("name_tr"),
        Column("needs_code", read_flag),
        Column("image_url"),
        Column("active", read_flag),
    ),
    key=("name",),
    rows=product_rows,
    store=store_product,
)
FIELDS = Sheet(
    name="fields",
    label=gettext_lazy("input fields"),
    columns=(
        Column("product", needs_value=True),
        Column("name", read_slug),
        Column("label", needs_value=True),
        Column("label_ar"),
        Column("label_tr"),
        Column("kind", one_of(InputField.Kind.values)),
        Column("target", one_of(InputField.Target.values)),
        Column("pattern"),
        Column("required", read_flag),
        Column("position", read_whole),
    ),
    key=("product", "name"),
    rows=field_rows,
    store=store_field,
)
PACKAGES = Sheet(
    name="packages",
    label=gettext_lazy("packages"),
    columns=(
        Column("code", read_slug),
        Column("product", needs_value=True),
        Column("name", needs_value=True),
        Column("quantity_kind", one_of(Package.QuantityKind.values)),
        Column("quantity_min", read_whole),
        Column("quantity_max", read_whole),
        Column("quantity_values", read_wholes),
        Column("image_url"),
        Column("active", read_flag),
    ),
    key=("code",),
    rows=package_rows,
    store=store_package,
)
PRICES = Sheet(
    name="prices",
    label=gettext_lazy("prices"),
    columns=(
        Column("package", read_slug),
        Column("price_group"),
        Column("currency", read_currency),
        Column("from_quantity", read_whole),
        Column("valid_from", read_moment),
        Column("valid_until", read_moment),
        Column("price", read_micros, needs_value=True),
    ),
    key=("package", "price_group", "currency", "from_quantity", "valid_from"),
    rows=price_rows,
    store=store_price,
)
