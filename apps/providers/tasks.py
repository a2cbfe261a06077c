"""The Celery tasks of the providers: a list that is fetched, lists that are due, and balances."""

from __future__ import annotations

from celery import shared_task

from apps.common import clock
from apps.providers import balances, listing


@shared_task(name=listing.TASK, ignore_result=False, track_started=True, soft_time_limit=1740, time_limit=1800)
def sync_catalogue(sync_id: int) -> str:
    """Fetch one account's list; the result (how it ended) is kept for whoever looks."""
    return listing.run_sync(sync_id)


@shared_task(name="apps.providers.tasks.plan_syncs")
def plan_syncs() -> None:
    """Queue the lists that are a day old, and begin those whose message was lost."""
    listing.plan_syncs(clock.now())


@shared_task(name="apps.providers.tasks.read_balances")
def read_balances() -> None:
    """Read our money at every account in use."""
    balances.read_all_balances()
