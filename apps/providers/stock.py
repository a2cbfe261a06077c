"""Our own stock: codes are taken from a shelf, all that are wanted or none, and shelves are counted and watched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from django.db import connection, transaction
from django.db.models import Count, F, Q, QuerySet

from apps.common.crypto import open_text
from apps.common.logs import get_logger
from apps.common.money import to_decimal
from apps.providers.contract import Code, CodesTaken, NothingLeft
from apps.providers.models import Integration, PackageMapping, StockCode, StockShelf

log = get_logger(__name__)

KIND = "stock"
LOW_AT = 5
"""A shelf without a threshold of its own counts as low at this many codes."""

SOON = timedelta(days=30)
"""Codes whose last day is this near are told as expiring soon."""

CHUNK = 500
"""Rows of one query."""

NOTHING = (0, 0, 0)
"""Left, ending and expired of a shelf that never had a code."""


class TakenMeanwhile(Exception):
    """A code that was locked for us was taken all the same; nothing of this transaction may be kept."""


# --- taking


def take(
    integration_id: int, shelf: str, count: int, *, attempt_id: int, today: date, now: datetime
) -> CodesTaken | NothingLeft:
    """Mark `count` codes of the shelf as taken by the attempt and return them, or take none.

    The caller's transaction decides: with it the codes are taken, without it they were never touched.
    """
    codes = _lock(_sellable(integration_id, shelf, today), count)
    if len(codes) < count:
        return NothingLeft()
    ids = [code.pk for code in codes]
    if StockCode.objects.filter(pk__in=ids, taken_at=None).update(taken_at=now, taken_by=attempt_id) != count:
        raise TakenMeanwhile(f"shelf of account {integration_id}")
    _warn_if_low(integration_id, shelf, today)
    return CodesTaken(tuple(map(_opened, codes)), to_decimal(sum(code.cost_micros for code in codes)))


def _sellable(integration_id: int, shelf: str, today: date) -> QuerySet[StockCode]:
    """What may be sold from a shelf: not taken, not expired; what ends soonest first, then what is oldest."""
    unexpired = Q(expires_on=None) | Q(expires_on__gte=today)
    codes = StockCode.objects.filter(unexpired, integration_id=integration_id, shelf=shelf, taken_at=None)
    return codes.order_by(F("expires_on").asc(nulls_last=True), "id")


def _lock(codes: QuerySet[StockCode], count: int) -> list[StockCode]:
    """The first `count` codes, locked; fewer only where there are no more.

    First past those that others are taking. When that finds too few, two buyers may have locked half of what each
    wants: let go, and wait in line for what the others leave.
    """
    if not connection.features.has_select_for_update_skip_locked:
        return list(codes[:count])
    with transaction.atomic():
        free = list(codes.select_for_update(skip_locked=True)[:count])
        if len(free) == count:
            return free
        transaction.set_rollback(True)
    return list(codes.select_for_update()[:count])


def _opened(code: StockCode) -> Code:
    return Code(
        open_text(code.sealed),
        serial=open_text(code.sealed_serial) if code.sealed_serial else "",
        pin=open_text(code.sealed_pin) if code.sealed_pin else "",
        expires=code.expires_on,
    )


def _warn_if_low(integration_id: int, shelf: str, today: date) -> None:
    left = count_on_shelf(integration_id, shelf, today)
    if left <= low_at(integration_id, shelf):
        log.warning("stock_low", integration=integration_id, shelf=shelf, left=left)


# --- counting


def known_in_stock(tenant_id: int, indexes: Sequence[str]) -> set[str]:
    """Which of these blind indexes belong to a code that the shop has, or had, in stock."""
    found: set[str] = set()
    for start in range(0, len(indexes), CHUNK):
        known = StockCode.objects.filter(tenant_id=tenant_id, blind_index__in=indexes[start : start + CHUNK])
        found.update(known.values_list("blind_index", flat=True))
    return found


def count_on_shelf(integration_id: int, shelf: str, today: date) -> int:
    """How many codes of the shelf can be sold today."""
    return _sellable(integration_id, shelf, today).count()


def low_at(integration_id: int, shelf: str) -> int:
    """The number of codes at which the shelf counts as low."""
    own = StockShelf.objects.filter(integration_id=integration_id, name=shelf).values_list("low_at", flat=True).first()
    return LOW_AT if own is None else own


def set_low_at(integration: Integration, shelf: str, threshold: int) -> None:
    """Remember from which number on the shelf counts as low."""
    StockShelf.objects.update_or_create(integration=integration, name=shelf, defaults={"low_at": threshold})


@dataclass(frozen=True, slots=True)
class Shelf:
    """One shelf as it stands: what can be sold, what of it ends soon, what lies there expired."""

    integration: Integration
    name: str
    left: int
    ending: int
    expired: int
    low_at: int
    is_mapped: bool

    @property
    def is_empty(self) -> bool:
        """A package is to come from it, and nothing is there."""
        return self.is_mapped and self.left == 0

    @property
    def is_low(self) -> bool:
        """A package is to come from it, and its threshold is reached."""
        return self.is_mapped and self.left <= self.low_at


def load_shelves(integrations: Sequence[Integration], today: date) -> list[Shelf]:
    """Every shelf of these accounts that a package is mapped to or a code was ever put on, by name."""
    counted = _counts(integrations, today)
    thresholds = {
        (row.integration_id, row.name): row.low_at for row in StockShelf.objects.filter(integration__in=integrations)
    }
    mappings = PackageMapping.objects.filter(integration__in=integrations)
    mapped = set(mappings.values_list("integration_id", "oyun"))
    accounts = {integration.pk: integration for integration in integrations}
    return [
        Shelf(accounts[key[0]], key[1], *counted.get(key, NOTHING), thresholds.get(key, LOW_AT), key in mapped)
        for key in sorted({*counted, *mapped})
    ]


def _counts(integrations: Sequence[Integration], today: date) -> dict[tuple[int, str], tuple[int, int, int]]:
    is_here = Q(taken_at=None)
    is_good = is_here & (Q(expires_on=None) | Q(expires_on__gte=today))
    rows = (
        StockCode.objects.filter(integration__in=integrations)
        .values_list("integration_id", "shelf")
        .annotate(
            left=Count("id", filter=is_good),
            ending=Count("id", filter=is_good & Q(expires_on__lte=today + SOON)),
            expired=Count("id", filter=is_here & Q(expires_on__lt=today)),
        )
        .order_by()
    )
    return {(account, shelf): (left, ending, expired) for account, shelf, left, ending, expired in rows}
