"""Actors that run one at a time: what one that dies leaves behind for the others."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.db import OperationalError, transaction

from apps.accounts.models import Tenant
from apps.proof.baton import Actor, Baton, Job, lose_next_commit
from tests.factories import make_tenant
from tests.functional.core_fixtures import committed

__all__ = ["committed"]

TRIES = 30
"""The server needs a moment to notice a broken connection; in one of so many tries it is looked at before."""


@pytest.fixture
def actor(committed: None) -> Iterator[Actor]:
    make_tenant()
    baton = Baton(actors=1)
    yield baton.actors[0]
    baton.end()


def is_free() -> bool:
    with transaction.atomic():
        return len(Tenant.objects.select_for_update(skip_locked=True)) == 1


@pytest.mark.postgres
class TestARowThatWasLocked:
    def test_is_free_as_soon_as_its_process_is_gone(self, actor: Actor) -> None:
        def hold() -> None:
            with transaction.atomic():
                Tenant.objects.select_for_update().get()
                actor.die()

        for _ in range(TRIES):
            actor.job = Job("hold", hold)
            actor.go_on()
            assert is_free()

    def test_is_free_and_as_it_was_after_a_commit_that_never_came(self, actor: Actor) -> None:
        def rename() -> None:
            with transaction.atomic():
                Tenant.objects.update(name="Renamed")
                lose_next_commit(was_done=False)

        for _ in range(TRIES):
            actor.job = Job("rename", rename)
            actor.go_on()
            assert isinstance(actor.died, OperationalError)
            assert is_free()
        assert Tenant.objects.exclude(name="Renamed").exists()
