"""What one line of a provider's list says, and what differs from what was approved. Pure: reads and writes nothing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Any
from urllib.parse import urlencode

from apps.common.money import MICRO, BadAmount, format_amount, to_decimal, to_micros
from apps.common.natural import natural_key
from apps.providers.catalogue_models import CatalogChange, CatalogItem
from apps.providers.contract import CatalogueItem

Kind = CatalogChange.Kind
Facts = dict[str, Any]
Cost = tuple[int | None, str]
"""Micro-units and currency; no number where the provider tells none."""

KEY_LIMIT = 300
TEXT_LIMIT = 200

PRICE_FACTS = ("cost_micros", "currency")
FACTS: Mapping[str, tuple[str, ...]] = {
    Kind.PRICE: PRICE_FACTS,
    Kind.NAME: ("name", "group"),
    Kind.AVAILABILITY: ("is_available",),
    Kind.FIELDS: ("quantity_kind", "quantity_min", "quantity_max", "quantity_values", "fields", "gives_code"),
}
"""What of an item each kind of change is about; everything but its ids, which make another item."""
ALL_FACTS = tuple(name for names in FACTS.values() for name in names)


class BadOffer(ValueError):
    """A line of the list that cannot be kept: it lacks an id, or something in it is too long or too large."""


@dataclass(frozen=True, slots=True)
class Offer:
    """One line of the list as it would be stored."""

    key: str
    ids: dict[str, str]
    facts: Facts

    @property
    def name(self) -> str:
        """What the provider calls it."""
        return str(self.facts["name"])

    @property
    def cost(self) -> Cost:
        """What it costs there."""
        return self.facts["cost_micros"], self.facts["currency"]


def key_of(ids: Mapping[str, str], fields: Iterable[str]) -> str:
    """The ids that name an item, as one text. `fields` are the adapter's mapping fields; an empty one says nothing."""
    return urlencode(sorted((name, ids[name]) for name in fields if ids.get(name)))


def read_offers(items: Sequence[CatalogueItem], fields: Sequence[str], currency: str) -> tuple[dict[str, Offer], int]:
    """The offers by key, and how many lines named one that was there already: of those the dearest counts.

    Raises `BadOffer`, which names the line.
    """
    offers: dict[str, Offer] = {}
    doubled = 0
    for number, item in enumerate(items, start=1):
        offer = _read_offer(number, item, fields, currency)
        twin = offers.get(offer.key)
        doubled += twin is not None
        if twin is None or (offer.cost[0] or 0) > (twin.cost[0] or 0):
            offers[offer.key] = offer
    return offers, doubled


def _read_offer(number: int, item: CatalogueItem, fields: Sequence[str], currency: str) -> Offer:
    key = key_of(item.ids, fields)
    if not key or len(key) > KEY_LIMIT:
        raise BadOffer(f"line {number} of the list has no usable ids")
    try:
        micros = None if item.cost is None else dear_micros(item.cost)
    except BadAmount as error:
        raise BadOffer(f"line {number} of the list has an impossible price: {error}") from error
    if micros is not None and micros < 0:
        raise BadOffer(f"line {number} of the list has a price below zero")
    return Offer(
        key=key,
        ids={name: item.ids[name] for name in fields if item.ids.get(name)},
        facts={
            "cost_micros": micros,
            "currency": "" if micros is None else (item.currency or currency).upper()[:3],
            "name": (item.name or key)[:TEXT_LIMIT],
            "group": item.group[:TEXT_LIMIT],
            "is_available": item.available,
            "quantity_kind": item.quantity,
            "quantity_min": item.quantity_min,
            "quantity_max": item.quantity_max,
            "quantity_values": list(item.quantity_values),
            "fields": list(item.fields),
            "gives_code": item.gives_code,
        },
    )


def dear_micros(amount: Decimal) -> int:
    """A cost in micro-units, rounded up where the provider writes more than six decimals: never cheaper than it is."""
    if not amount.is_finite():
        raise BadAmount("it is no number")
    return to_micros((amount * MICRO).to_integral_value(ROUND_CEILING) / MICRO)


# --- what differs


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing that is not as it was approved."""

    key: str
    title: str
    kind: str
    old: Facts = field(default_factory=dict)
    new: Facts = field(default_factory=dict)
    is_quarantined: bool = False
    percent: str = ""

    @property
    def sort_key(self) -> str:
        """Differences are shown in the natural order of their names."""
        return natural_key(self.title)


def facts_of(item: CatalogItem, names: Sequence[str] = ALL_FACTS) -> Facts:
    """What was approved."""
    return {name: getattr(item, name) for name in names}


def find_differences(
    offers: Mapping[str, Offer],
    items: Mapping[str, CatalogItem],
    mapped_costs: Mapping[str, Cost],
    factor: Decimal,
) -> list[Difference]:
    """Everything in the provider's list that is not as approved, and everything approved that is not in it any more.

    `mapped_costs` are the costs that mappings hold, by key: a new item is measured against them.
    """
    found: list[Difference] = []
    for key, offer in offers.items():
        item = items.get(key)
        if item is not None and item.is_listed:
            found += _changed(offer, item, factor)
        else:
            known = (item.cost_micros, item.currency) if item is not None else (None, "")
            found.append(_new(offer, known if known[0] is not None else mapped_costs.get(key, known), factor))
    gone = (item for key, item in items.items() if item.is_listed and key not in offers)
    found += [Difference(item.key, item.name, Kind.GONE, {"seen_at": item.seen_at.isoformat()}) for item in gone]
    return found


def _changed(offer: Offer, item: CatalogItem, factor: Decimal) -> Iterator[Difference]:
    for kind, names in FACTS.items():
        old, new = facts_of(item, names), {name: offer.facts[name] for name in names}
        if old == new:
            continue
        jump = measure((item.cost_micros, item.currency), offer.cost, factor) if kind == Kind.PRICE else NO_JUMP
        yield Difference(offer.key, item.name, kind, old, new, jump.is_too_far, jump.percent)


def _new(offer: Offer, known: Cost, factor: Decimal) -> Difference:
    jump = measure(known, offer.cost, factor)
    old = {} if known[0] is None else dict(zip(PRICE_FACTS, known, strict=True))
    new = {**offer.facts, "ids": offer.ids}
    return Difference(offer.key, offer.name, Kind.NEW, old, new, jump.is_too_far, jump.percent)


@dataclass(frozen=True, slots=True)
class Jump:
    """How far a price moved: whether too far to pass with others, and the percentage where there is one."""

    is_too_far: bool
    percent: str = ""


NO_JUMP = Jump(is_too_far=False)


def measure(old: Cost, new: Cost, factor: Decimal) -> Jump:
    """A price that was unknown cannot jump; one that is unknown now, in another money, or zero on one side, does."""
    (was, was_in), (now_is, now_in) = old, new
    if was is None or old == new:
        return NO_JUMP
    if now_is is None or was_in != now_in or was == 0 or now_is == 0:
        return Jump(is_too_far=True)
    is_too_far = now_is > was * factor or was > now_is * factor
    return Jump(is_too_far, percent_of(was, now_is))


def percent_of(was: int, now_is: int) -> str:
    """The change with its sign and one decimal: `+900.0 %`, `-70.0 %`."""
    return f"{to_decimal(now_is - was) * 100 / to_decimal(was):+.1f} %"


def cost_text(facts: Mapping[str, Any]) -> str:
    """The price among some facts as text; empty where there is none."""
    micros = facts.get("cost_micros")
    return "" if micros is None else f"{format_amount(micros)} {facts.get('currency', '')}"
