"""The demo shop for tests that come through a door: its customers, and a key of the first one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from apps.accounts.models import Customer, Tenant
from apps.common import broker, clock
from apps.ops.demo import issue_demo_key, load_demo
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

NOWHERE = "http://127.0.0.1:9"
"""A panel for tests that send nothing."""


@pytest.fixture
def rested_broker() -> Iterator[None]:
    """The broker's breaker closed before and after: one test's dead broker is nobody else's."""
    broker.wake_up()
    yield
    broker.wake_up()


@pytest.fixture
def demo(committed: None, rested_broker: None) -> Tenant:
    """The demo shop, whose panel nobody can reach."""
    return load_demo(NOWHERE, clock.now())


@pytest.fixture
def reseller(demo: Tenant) -> Customer:
    """The demo shop's first customer, with 100000 TRY."""
    return Customer.objects.get(tenant=demo, name="Demo Reseller")


@pytest.fixture
def api_key(demo: Tenant, reseller: Customer) -> str:
    """A live key of the reseller in full."""
    return issue_demo_key(demo, clock.now())
