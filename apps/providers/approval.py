"""The one door through which a change of a provider's list takes effect: item, costs of mappings, who and when."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction

from apps.common.logs import get_logger
from apps.common.natural import natural_key
from apps.providers.catalogue_models import CatalogChange, CatalogItem
from apps.providers.listing import mappings_by_key
from apps.providers.models import Integration, PackageMapping
from apps.providers.offers import FACTS, Facts, facts_of

log = get_logger(__name__)

Kind, State = CatalogChange.Kind, CatalogChange.State


@dataclass(slots=True)
class Decided:
    """What came of a decision: how many took effect, wait for one of their own, or were overtaken."""

    done: int = 0
    quarantined: int = 0
    overtaken: int = 0


def approve_many(integration: Integration, change_ids: Sequence[int], actor: str, now: datetime) -> Decided:
    """Let these pending changes take effect, all in one transaction. Price jumps among them stay where they are."""
    with transaction.atomic():
        found = _lock_pending(integration, change_ids)
        calm = [change for change in found if not change.is_quarantined]
        decided = _approve(integration, calm, actor, now)
    decided.quarantined = len(found) - len(calm)
    decided.overtaken += len(set(change_ids)) - len(found)
    return decided


def approve_one(integration: Integration, change_id: int, actor: str, now: datetime) -> Decided:
    """Let one pending change take effect, a price jump too: its percentage was shown beside the button."""
    with transaction.atomic():
        found = _lock_pending(integration, [change_id])
        decided = _approve(integration, found, actor, now)
    decided.overtaken += 1 - len(found)
    return decided


def decline_many(integration: Integration, change_ids: Sequence[int], actor: str, now: datetime) -> Decided:
    """Leave everything as it is; the same change is not asked about again."""
    with transaction.atomic():
        found = _lock_pending(integration, change_ids)
        CatalogChange.objects.filter(pk__in=[change.pk for change in found]).update(
            state=State.DECLINED, decided_by=actor, decided_at=now
        )
    return Decided(done=len(found), overtaken=len(set(change_ids)) - len(found))


def _lock_pending(integration: Integration, change_ids: Sequence[int]) -> list[CatalogChange]:
    rows = CatalogChange.objects.select_for_update().filter(integration=integration, state=State.PENDING)
    return list(rows.filter(pk__in=change_ids).order_by("pk"))


def _approve(integration: Integration, changes: Sequence[CatalogChange], actor: str, now: datetime) -> Decided:
    """Work every change out on the items as they are, then write items, costs of mappings and decisions."""
    keys = [change.key for change in changes]
    rows = CatalogItem.objects.select_for_update().filter(integration=integration, key__in=keys).order_by("pk")
    items = {item.key: item for item in rows}
    for change in changes:
        item = _changed(change, items.get(change.key), now)
        if item is None:
            change.state = State.SUPERSEDED
            continue
        item.changed_by, item.changed_at = actor, now
        items[change.key] = item
        change.state, change.decided_by, change.decided_at = State.APPROVED, actor, now
    done = [change for change in changes if change.state == State.APPROVED]
    _write_items([items[key] for key in dict.fromkeys(change.key for change in done)])
    _carry_costs(integration, [items[change.key] for change in done if change.kind in (Kind.PRICE, Kind.NEW)])
    CatalogChange.objects.bulk_update(changes, ["state", "decided_by", "decided_at"], batch_size=200)
    log.info("catalogue_changes_approved", integration=integration.pk, actor=actor, count=len(done))
    return Decided(done=len(done), overtaken=len(changes) - len(done))


def _changed(change: CatalogChange, item: CatalogItem | None, now: datetime) -> CatalogItem | None:
    """The item with the change on it; None where it is not any more what the change was found against."""
    if change.kind == Kind.NEW:
        return _listed(change, item, now) if item is None or not item.is_listed else None
    if item is None or not item.is_listed:
        return None
    if change.kind == Kind.GONE:
        return _with_facts(item, {"is_listed": False})
    return _with_facts(item, change.new) if facts_of(item, FACTS[change.kind]) == change.old else None


def _listed(change: CatalogChange, item: CatalogItem | None, now: datetime) -> CatalogItem:
    facts = dict(change.new)
    ids = facts.pop("ids")
    item = item or CatalogItem(integration_id=change.integration_id, key=change.key, ids=ids)
    return _with_facts(item, {**facts, "is_listed": True, "seen_at": now})


def _with_facts(item: CatalogItem, facts: Facts) -> CatalogItem:
    for name, value in facts.items():
        setattr(item, name, value)
    item.sort_key = natural_key(item.name)
    return item


def _write_items(items: Sequence[CatalogItem]) -> None:
    fresh = [item for item in items if item._state.adding]
    known = [item for item in items if not item._state.adding]
    CatalogItem.objects.bulk_create(fresh, batch_size=500)
    for item in known:
        item.save()


def _carry_costs(integration: Integration, items: Sequence[CatalogItem]) -> None:
    """Approved prices are what mappings to the items expect to pay.

    A price that the provider does not tell any more, or tells in another currency than the account's, leaves the last
    known cost: a number without its own currency would be a wrong one.
    """
    mappings = mappings_by_key(integration) if items else {}
    for item in items:
        if item.cost_micros is None or item.currency != integration.currency:
            continue
        for mapping in mappings.get(item.key, []):
            PackageMapping.objects.filter(pk=mapping.pk).update(cost_micros=item.cost_micros)
            log.info("mapping_cost_set", mapping=mapping.pk, old=mapping.cost_micros, new=item.cost_micros)
