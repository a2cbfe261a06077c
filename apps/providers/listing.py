"""Fetching a provider's list, one at a time per account, never on the way of an order; it changes no price itself."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Protocol, runtime_checkable

from django.db import IntegrityError, transaction
from django.db.models import F, Q

from apps.common import broker, clock
from apps.common.guards import check_no_transaction
from apps.common.logs import get_logger
from apps.common.talk import TalkFailed, drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall
from apps.providers.accounts import NotReady, open_account
from apps.providers.catalogue_models import (
    DEFAULT_JUMP,
    AccountWatch,
    CatalogChange,
    CatalogItem,
    CatalogSync,
)
from apps.providers.contract import Account, Catalogue, TalkCatalogue
from apps.providers.models import Integration, PackageMapping
from apps.providers.offers import BadOffer, Cost, Difference, Offer, find_differences, key_of, read_offers
from apps.providers.registry import ADAPTERS, load_adapter

log = get_logger(__name__)

State = CatalogSync.State
OPEN = (State.QUEUED, State.RUNNING)
TASK = "apps.providers.tasks.sync_catalogue"
SILENT_FOR = timedelta(minutes=5)
"""A fetch that gave no sign for this long has died; longer than any one request may take."""
FRESH_FOR = timedelta(hours=24)
"""An account's list is fetched again by itself after this time."""
FORGOTTEN_AFTER = timedelta(seconds=30)
"""A fetch that nobody began by then is begun by the periodic task: its message was lost."""
CHUNK = 500
ERROR_LIMIT = 300
SCHEDULE = "schedule"


@runtime_checkable
class Lister(Protocol):
    """An adapter that can say what its provider sells."""

    def catalogue(self, account: Account) -> TalkCatalogue:
        """Everything that the account can buy, or an error; an error is never an empty list."""
        ...


class SyncRunning(Exception):
    """The list of this account is being fetched already."""


class CannotList(Exception):
    """This kind of provider has no list."""


def can_list(integration: Integration) -> bool:
    """Whether the account's protocol has a list."""
    return isinstance(load_adapter(integration.kind), Lister)


# --- wanting one


def request_sync(integration: Integration, wanted_by: str, now: datetime) -> CatalogSync:
    """Queue a fetch and wake a worker. Raises `SyncRunning` while there is one, `CannotList` where there is no list."""
    if not can_list(integration):
        raise CannotList(f"{integration.kind} has no list of what it sells")
    with transaction.atomic():
        end_silent_syncs(now, integration)
        sync = _create(integration, wanted_by, now)
        transaction.on_commit(lambda: wake(sync))
    return sync


def _create(integration: Integration, wanted_by: str, now: datetime) -> CatalogSync:
    try:
        with transaction.atomic():
            return CatalogSync.objects.create(integration=integration, wanted_by=wanted_by, created_at=now, beat_at=now)
    except IntegrityError as error:
        raise SyncRunning from error


def wake(sync: CatalogSync) -> None:
    """Tell the broker; a lost message costs a minute."""
    broker.publish(TASK, [sync.pk])


def end_silent_syncs(now: datetime, integration: Integration | None = None) -> None:
    """A fetch whose worker died makes room for the next one."""
    silent = CatalogSync.objects.filter(state=State.RUNNING, beat_at__lt=now - SILENT_FOR)
    if integration is not None:
        silent = silent.filter(integration=integration)
    silent.update(state=State.FAILED, finished_at=now, error="the worker stopped in the middle of it; try again")


def plan_syncs(now: datetime) -> None:
    """Begin what was forgotten, and queue a fetch for every account in use whose last one is a day old."""
    end_silent_syncs(now)
    for sync in CatalogSync.objects.filter(state=State.QUEUED, created_at__lt=now - FORGOTTEN_AFTER):
        wake(sync)
    recent = CatalogSync.objects.filter(Q(state__in=OPEN) | Q(created_at__gt=now - FRESH_FOR))
    kinds = [kind for kind, adapter in ADAPTERS.items() if isinstance(adapter, Lister)]
    stale = Integration.objects.filter(kind__in=kinds, is_enabled=True, tenant__is_active=True)
    for integration in stale.exclude(pk__in=recent.values("integration_id")).order_by("pk"):
        try:
            request_sync(integration, SCHEDULE, now)
        except SyncRunning:
            continue


# --- doing it


def run_sync(sync_id: int) -> str:
    """Fetch the list and write down what differs; returns the state in which it ended. A second copy does nothing."""
    check_no_transaction()
    sync = _claim(sync_id, clock.now())
    if sync is None:
        return "not_queued"
    try:
        listed = _fetch(sync)
        offers, doubled = _read(sync, listed)
        _store(sync, offers, doubled, clock.now())
    except _Failed as error:
        _fail(sync, str(error))
    except Exception as error:
        log.exception("catalogue_sync_crashed", sync=sync.pk, error=type(error).__name__)
        _fail(sync, f"an error in the hub: {type(error).__name__}")
    sync.refresh_from_db()
    log.info("catalogue_sync_ended", sync=sync.pk, integration=sync.integration_id, state=sync.state, error=sync.error)
    return sync.state


class _Failed(Exception):
    """Nothing is changed; the text says why."""


def _claim(sync_id: int, now: datetime) -> CatalogSync | None:
    queued = CatalogSync.objects.filter(pk=sync_id, state=State.QUEUED)
    if queued.update(state=State.RUNNING, started_at=now, beat_at=now) != 1:
        return None
    return CatalogSync.objects.select_related("integration").get(pk=sync_id)


def _fetch(sync: CatalogSync) -> Catalogue:
    """The whole conversation, with a sign of life after every answer."""
    adapter = load_adapter(sync.integration.kind)
    try:
        account = open_account(sync.integration)
    except NotReady as error:
        raise _Failed(str(error)) from error
    if not isinstance(adapter, Lister):
        raise _Failed(f"{sync.integration.kind} has no list of what it sells")
    policy = sync.integration.egress_policy()

    def send(call: HttpCall) -> Answer:
        answer = send_once(call, policy=policy)
        _beat(sync, clock.now())
        return answer

    try:
        listed, _ = drive(adapter.catalogue(account), send)
    except TalkFailed as error:
        raise _Failed(str(error)) from error
    if listed.error:
        raise _Failed(listed.error)
    if not listed.items:
        raise _Failed("the provider's list is empty")
    return listed


def _beat(sync: CatalogSync, now: datetime) -> None:
    CatalogSync.objects.filter(pk=sync.pk, state=State.RUNNING).update(beat_at=now, pages=F("pages") + 1)


def _read(sync: CatalogSync, listed: Catalogue) -> tuple[dict[str, Offer], int]:
    fields = load_adapter(sync.integration.kind).mapping_fields
    try:
        return read_offers(listed.items, fields, sync.integration.currency)
    except BadOffer as error:
        raise _Failed(str(error)) from error


def _fail(sync: CatalogSync, error: str) -> None:
    CatalogSync.objects.filter(pk=sync.pk, state=State.RUNNING).update(
        state=State.FAILED, finished_at=clock.now(), error=error[:ERROR_LIMIT] or "it failed without a word"
    )


def _store(sync: CatalogSync, offers: Mapping[str, Offer], doubled: int, now: datetime) -> None:
    """Write down the differences and the end of the fetch, in one transaction; items and mappings stay as they are.

    A copy that was taken for dead writes nothing: another one may have been at work since.
    """
    with transaction.atomic():
        counts = _write_changes(sync, offers, now)
        running = CatalogSync.objects.filter(pk=sync.pk, state=State.RUNNING)
        facts = {"found": len(offers), "doubled": doubled, "counts": counts}
        if running.update(state=State.DONE, finished_at=now, **facts) != 1:
            raise _Failed("another fetch has taken its place")


def _write_changes(sync: CatalogSync, offers: Mapping[str, Offer], now: datetime) -> dict[str, int]:
    """Pending changes that still hold stay; others are overtaken; what a person declined is not asked again."""
    integration = sync.integration
    mine = CatalogChange.objects.filter(integration=integration)
    pending = {(row.key, row.kind): row for row in mine.filter(state="pending")}
    items = {item.key: item for item in CatalogItem.objects.filter(integration=integration)}
    found = find_differences(offers, items, mapped_costs(integration), jump_factor(integration))
    _note_seen(items, offers, now)
    declined = {(row.key, row.kind): row for row in mine.filter(state="declined").order_by("decided_at", "pk")}
    asked = [one for one in found if not _is_answered(one, declined.get((one.key, one.kind)))]
    keep = {row.pk for one in asked if (row := pending.get((one.key, one.kind))) and _is_same(one, row)}
    overtaken = [row.pk for row in pending.values() if row.pk not in keep]
    for chunk in _chunks(overtaken):
        mine.filter(pk__in=chunk, state="pending").update(state="superseded")
    fresh = [one for one in asked if not ((row := pending.get((one.key, one.kind))) and row.pk in keep)]
    CatalogChange.objects.bulk_create([_as_row(one, sync) for one in fresh], batch_size=CHUNK)
    return dict(Counter(one.kind for one in asked))


def _note_seen(items: Mapping[str, CatalogItem], offers: Mapping[str, Offer], now: datetime) -> None:
    seen = [item.pk for key, item in items.items() if item.is_listed and key in offers]
    for chunk in _chunks(seen):
        CatalogItem.objects.filter(pk__in=chunk).update(seen_at=now)


def _is_answered(one: Difference, declined: CatalogChange | None) -> bool:
    """A person said no to this very thing before."""
    if declined is None:
        return False
    if one.kind == CatalogChange.Kind.NEW:
        return bool(one.new["name"] == declined.new["name"])
    return _is_same(one, declined)


def _is_same(one: Difference, row: CatalogChange) -> bool:
    return one.new == row.new and one.old == row.old and one.is_quarantined == row.is_quarantined


def _as_row(one: Difference, sync: CatalogSync) -> CatalogChange:
    return CatalogChange(
        integration=sync.integration,
        sync=sync,
        key=one.key,
        title=one.title,
        sort_key=one.sort_key,
        kind=one.kind,
        old=one.old,
        new=one.new,
        is_quarantined=one.is_quarantined,
        percent=one.percent,
    )


def _chunks(ids: list[int]) -> list[list[int]]:
    return [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]


# --- what a list is measured against


def mappings_by_key(integration: Integration) -> dict[str, list[PackageMapping]]:
    """The account's mappings by the item they lead to."""
    fields = load_adapter(integration.kind).mapping_fields
    found: dict[str, list[PackageMapping]] = {}
    for mapping in PackageMapping.objects.filter(integration=integration).order_by("pk"):
        found.setdefault(key_of(mapping.product(), fields), []).append(mapping)
    return found


def mapped_costs(integration: Integration) -> dict[str, Cost]:
    """The cost that mappings hold for each item, the highest where they differ."""
    return {
        key: (max(costs), integration.currency)
        for key, mappings in mappings_by_key(integration).items()
        if (costs := [mapping.cost_micros for mapping in mappings if mapping.cost_micros is not None])
    }


def jump_factor(integration: Integration) -> Decimal:
    """How many times a price may rise or fall before it is approved alone."""
    watch = AccountWatch.objects.filter(integration=integration).first()
    return watch.jump_factor if watch else DEFAULT_JUMP
