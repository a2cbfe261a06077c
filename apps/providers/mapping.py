"""Mapping a package to an item of a provider's list: what would be stored and demanded, seen before it is saved."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from django.db import transaction

from apps.catalog.models import InputField, Package
from apps.common.logs import get_logger
from apps.common.money import Money
from apps.providers.catalogue_models import CatalogItem
from apps.providers.models import Integration, PackageMapping
from apps.providers.offers import key_of
from apps.providers.registry import has_wire, load_adapter
from apps.providers.suggestions import has_same_numbers, is_plausible

log = get_logger(__name__)


class Concern(StrEnum):
    """What a person should look at before mapping; none of them forbids it."""

    NUMBER = "number"  # the item's name has another number than the package's
    PRICE = "price"  # the cost does not fit the price
    CURRENCY = "currency"  # the cost is in another currency than the account
    NO_COST = "no_cost"  # the provider tells no cost
    UNAVAILABLE = "unavailable"  # not available there now
    QUANTITY = "quantity"  # the package may be bought in smaller quantities than the item
    CODE = "code"  # one delivers a PIN, the other does not
    FIELDS = "fields"  # the provider demands what the product does not ask for


class ItemChanged(Exception):
    """The item is not any more as it was shown."""


@dataclass(frozen=True, slots=True)
class Demand:
    """One thing that the provider wants to know of a buyer, and whether the product asks for it."""

    name: str
    is_asked: bool


@dataclass(frozen=True, slots=True)
class Preview:
    """What a mapping would hold. `cost_micros` is None where no cost in the account's currency is known."""

    item: CatalogItem
    oyun: str
    kupur: str
    params: dict[str, str]
    cost_micros: int | None
    demands: tuple[Demand, ...]
    concerns: tuple[Concern, ...]


def preview_mapping(package: Package, integration: Integration, item: CatalogItem, price: Money | None) -> Preview:
    """What would be stored for this package, and everything about it that should make a person look twice."""
    ids = {name: str(value) for name, value in item.ids.items()}
    rest = {name: value for name, value in ids.items() if name not in ("oyun", "kupur")}
    is_own_money = item.cost_micros is not None and item.currency == integration.currency
    demands = _demands(package, item)
    return Preview(
        item=item,
        oyun=ids.get("oyun") or next(iter(ids.values()), ""),
        kupur=ids.get("kupur", ""),
        params={**_kept_params(package, integration), **rest},
        cost_micros=item.cost_micros if is_own_money else None,
        demands=demands,
        concerns=tuple(_concerns(package, integration, item, price, demands)),
    )


def _kept_params(package: Package, integration: Integration) -> dict[str, str]:
    """Further parameters of the present mapping; the ids of its present item are none of them."""
    mapping = PackageMapping.objects.filter(package=package, integration=integration).first()
    ids = load_adapter(integration.kind).mapping_fields
    return {name: value for name, value in mapping.params.items() if name not in ids} if mapping else {}


def _demands(package: Package, item: CatalogItem) -> tuple[Demand, ...]:
    asked = set(InputField.objects.filter(product=package.product).values_list("name", flat=True))
    return tuple(Demand(name, name in asked) for name in map(str, item.fields))


def _concerns(
    package: Package, integration: Integration, item: CatalogItem, price: Money | None, demands: tuple[Demand, ...]
) -> list[Concern]:
    is_foreign = item.cost_micros is not None and item.currency != integration.currency
    found = {
        Concern.NUMBER: not has_same_numbers(package, item),
        Concern.PRICE: is_plausible(item.cost(), price) is False,
        Concern.CURRENCY: is_foreign,
        Concern.NO_COST: item.cost_micros is None,
        Concern.UNAVAILABLE: not item.is_available,
        Concern.QUANTITY: least_quantity(package) < item.quantity_min,
        Concern.CODE: item.gives_code is not None and item.gives_code != package.product.needs_code,
        Concern.FIELDS: not all(demand.is_asked for demand in demands),
    }
    return [concern for concern, is_there in found.items() if is_there]


def load_items(mapped: Iterable[tuple[Integration, PackageMapping]]) -> dict[int, CatalogItem]:
    """What is approved of the providers' lists for these mappings, by the mapping's id: one query for all of them."""
    keys = {
        mapping.pk: (account.pk, key_of(mapping.product(), load_adapter(account.kind).mapping_fields))
        for account, mapping in mapped
        if has_wire(account.kind)
    }
    if not keys:
        return {}
    accounts, texts = zip(*keys.values(), strict=True)
    items = CatalogItem.objects.filter(integration__in=set(accounts), key__in=set(texts))
    found = {(item.integration_id, item.key): item for item in items}
    return {pk: found[key] for pk, key in keys.items() if key in found}


def least_quantity(package: Package) -> int:
    """The smallest quantity that a buyer may order."""
    least = {
        Package.QuantityKind.ONE: 1,
        Package.QuantityKind.LIST: min(package.quantity_values, default=1),
        Package.QuantityKind.RANGE: package.quantity_min,
    }
    return int(least[Package.QuantityKind(package.quantity_kind)])


def save_mapping(shown: Preview, package: Package, integration: Integration, actor: str) -> PackageMapping:
    """Store what was shown. Raises `ItemChanged` when the item is another now, `ValidationError` for what lacks."""
    with transaction.atomic():
        item = CatalogItem.objects.select_for_update().get(pk=shown.item.pk)
        if not item.is_listed or item.changed_at != shown.item.changed_at:
            raise ItemChanged
        found = PackageMapping.objects.filter(package=package, integration=integration).first()
        mapping = found or PackageMapping(package=package, integration=integration)
        mapping.oyun, mapping.kupur, mapping.params = shown.oyun, shown.kupur, shown.params
        mapping.cost_micros = shown.cost_micros
        mapping.full_clean()
        mapping.save()
    log.info("mapping_saved", mapping=mapping.pk, package=package.pk, item=item.pk, actor=actor)
    return mapping
