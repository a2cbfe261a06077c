"""Telling the broker: a wake-up that may get lost, costs at most a moment, and never raises."""

from __future__ import annotations

import contextlib
import functools
import threading
import time
from collections.abc import Sequence
from typing import Any

from celery import current_app
from django.conf import settings
from kombu import Connection, pools

from apps.common.logs import get_logger

log = get_logger(__name__)

TIMEOUT_S = 0.25
REST_S = 5.0
"""After a publish failed, the broker is left alone this long: the due rows do the work meanwhile."""

_lock = threading.Lock()
_rests_until = 0.0


def publish(task: str, args: Sequence[Any], *, countdown: float = 0, expires: float | None = None) -> bool:
    """Send one Celery message by task name; returns whether the broker took it. Never raises, never waits long."""
    if _is_resting():
        return False
    try:
        with pools.producers[_producer_connection()].acquire(block=True, timeout=TIMEOUT_S) as producer:
            current_app.send_task(
                task, args=list(args), countdown=countdown or None, expires=expires, producer=producer, retry=False
            )
    except Exception as error:
        _rest()
        log.warning("broker_unreachable", task=task, error=type(error).__name__)
        return False
    return True


def _producer_connection() -> Connection:
    """A connection of the producers' own: short time-outs and no retry, unlike the consumers'."""
    return _redis_connection(settings.REDIS_URL) if settings.REDIS_URL else current_app.connection_for_write()


@functools.lru_cache(maxsize=4)
def _redis_connection(url: str) -> Connection:
    options = {
        "socket_connect_timeout": TIMEOUT_S,
        "socket_timeout": TIMEOUT_S,
        "retry_on_timeout": False,
        "max_retries": 0,
    }
    return Connection(url, connect_timeout=TIMEOUT_S, transport_options=options)


def _is_resting() -> bool:
    return time.monotonic() < _rests_until


def _rest() -> None:
    global _rests_until  # noqa: PLW0603 - one breaker per process
    _rests_until = time.monotonic() + REST_S
    if settings.REDIS_URL:
        with contextlib.suppress(Exception):  # closing what is broken may fail; the rest has begun, and that counts
            _forget_connections()


def _forget_connections() -> None:
    """Close the pools and drop them: a closed pool refuses for ever, so the next publish must get a new one."""
    connection = _producer_connection()
    with _lock:
        for group in (pools.producers, pools.connections):
            group[connection].force_close_all()
            del group[connection]


def wake_up() -> None:
    """Forget an earlier failure: the next publish tries the broker again."""
    global _rests_until  # noqa: PLW0603 - one breaker per process
    _rests_until = 0.0
