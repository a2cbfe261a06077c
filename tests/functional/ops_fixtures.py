"""Fixtures of the tests about running the hub: a browser, a command's output, and beating loops."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import Client

from apps.common import kept
from apps.journal import heartbeats, loops
from apps.ops import schedule

Run = Callable[..., str]


@pytest.fixture
def web() -> Client:
    """A browser without a session; nothing is remembered of earlier tests."""
    kept.forget_all()
    return Client()


def run(name: str, *arguments: str) -> str:
    """What a management command prints."""
    said = StringIO()
    call_command(name, *arguments, stdout=said)
    return said.getvalue()


def let_loops_beat(at: datetime) -> None:
    """As if the schedule were installed, and every loop had run at `at`."""
    schedule.install_schedule()
    for loop in loops.LOOPS:
        heartbeats.beat(loop.heartbeat, at)
