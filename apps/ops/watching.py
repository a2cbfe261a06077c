"""The threads that every long-lived process runs beside its work: its heartbeat, and the watching for alerts.

They are started by name: in a web process by `config.wsgi`, in workers and beat by Celery's signals, in `manage.py
poll` by its own word. A management command or a test that does nothing of the kind has none.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import partial

from celery.signals import beat_init, worker_ready, worker_shutting_down
from django.conf import settings
from django.db import Error, close_old_connections, connections

from apps.common import clock, processes
from apps.common.logs import get_logger
from apps.journal import heartbeats
from apps.journal.loops import BY_NAME, WORKER_PROCESS
from apps.ops import alerts

log = get_logger(__name__)

FIRST_ROUND_S = 20.0
"""A hub that was switched off for a night gets so long to show that it is well again."""

STOP_WITHIN_S = 2.0


class Ticker:
    """Calls `work` every `every_s` seconds in a thread of its own, which a fork stops and starts again."""

    def __init__(self, name: str, every_s: float, work: Callable[[], object], first_s: float = 0.0) -> None:
        self._name, self._every_s, self._work, self._first_s = name, every_s, work, first_s
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Run in the background; a second start does nothing."""
        if self._thread is None:
            self._stop = threading.Event()
            self._thread = threading.Thread(target=self._run, args=(self._stop,), name=self._name, daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end and wait a little for it."""
        thread, self._thread = self._thread, None
        self._stop.set()
        if thread is not None and thread is not threading.current_thread():
            thread.join(STOP_WITHIN_S)

    def _run(self, stop: threading.Event) -> None:
        wait_s = self._first_s
        while not stop.wait(wait_s):
            self.tick()
            wait_s = self._every_s
        connections.close_all()  # a fork must not inherit it

    def tick(self) -> None:
        """Once; what goes wrong is told and tried again next time."""
        try:
            close_old_connections()
            self._work()
        except Error as error:
            log.warning("watching_failed", thread=self._name, error=type(error).__name__)
        except Exception as error:
            log.exception("watching_failed", thread=self._name, error=type(error).__name__)


class Watch:
    """The tickers of one process. `in_children`: a process that is forked off watches, too."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._tickers: dict[str, Ticker] = {}
        self._in_children = False
        self._minds_forks = False

    def start(self, *, beats_as: str = "", in_children: bool = False) -> None:
        """Begin to watch, and to beat as the loop `beats_as`. What has begun already goes on."""
        with self._lock:
            self._in_children = self._in_children or in_children
            if beats_as and beats_as not in self._tickers:
                loop = BY_NAME[beats_as]
                self._tickers[beats_as] = Ticker(f"beats-as-{beats_as}", loop.every_s, partial(beat_as, loop.heartbeat))
            if settings.ALERT_EVERY_S and "alerts" not in self._tickers:
                self._tickers["alerts"] = Ticker("alerts", settings.ALERT_EVERY_S, watch, FIRST_ROUND_S)
            self._mind_forks()
            for ticker in self._tickers.values():
                ticker.start()

    def stop(self, beats_as: str | None = None) -> None:
        """End everything, or beat no more as this loop."""
        with self._lock:
            names = list(self._tickers) if beats_as is None else [name for name in [beats_as] if name in self._tickers]
            for name in names:
                self._tickers.pop(name).stop()

    def names(self) -> set[str]:
        """What runs."""
        return set(self._tickers)

    def _mind_forks(self) -> None:
        """No thread of ours is in the middle of anything, and no connection is open, while the process forks."""
        if self._minds_forks or not hasattr(os, "register_at_fork"):
            return
        self._minds_forks = True
        os.register_at_fork(before=self._pause, after_in_parent=self._resume, after_in_child=self._after_fork)

    def _pause(self) -> None:
        for ticker in list(self._tickers.values()):
            ticker.stop()

    def _resume(self) -> None:
        for ticker in list(self._tickers.values()):
            ticker.start()

    def _after_fork(self) -> None:
        self._lock = threading.Lock()
        if self._in_children:
            self._resume()
        else:
            self._tickers = {}


def beat_as(heartbeat: str) -> None:
    """This process is alive."""
    heartbeats.beat(heartbeat, clock.now())


def watch() -> None:
    """One round of the alerts, by whichever process comes first."""
    alerts.watch(clock.now)


_watch = Watch()
start = _watch.start
stop = _watch.stop


def listen() -> None:
    """Start with the workers, beat and resident processes of this project."""
    worker_ready.connect(_on_worker_ready, dispatch_uid="watching")
    worker_shutting_down.connect(_on_worker_stopping, dispatch_uid="watching")
    beat_init.connect(_on_start, dispatch_uid="watching")
    processes.started.connect(_on_start, dispatch_uid="watching")


def _on_worker_ready(**kwargs: object) -> None:
    start(beats_as=WORKER_PROCESS)


def _on_worker_stopping(**kwargs: object) -> None:
    stop(beats_as=WORKER_PROCESS)


def _on_start(**kwargs: object) -> None:
    start()
