"""Web, worker and beat as threads of one process: the whole hub on one machine with nothing installed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

from celery import beat
from celery.worker import WorkController, state
from django.core.wsgi import get_wsgi_application
from waitress.server import create_server

from apps.common.logs import get_logger
from apps.ops import watching
from celery_app import app

log = get_logger(__name__)

QUEUES = ("dispatch", "check", "poll", "notify")
WEB_THREADS = 8
WORKER_THREADS = 8
JOIN_WITHIN_S = 30.0


class PortTaken(RuntimeError):
    """Another program listens on the port already."""


class Embedded:
    """Starts the three threads, and stops them cleanly. One per process."""

    def __init__(self, port: int) -> None:
        try:
            self._web = create_server(
                get_wsgi_application(), host="127.0.0.1", port=port, threads=WEB_THREADS, ident="orderhub"
            )
        except OSError as error:
            raise PortTaken(f"port {port} is taken: stop the other program or choose another with --port") from error
        self._worker = WorkController(
            app=app,
            pool_cls="threads",
            concurrency=WORKER_THREADS,
            queues=",".join(QUEUES),
            hostname="worker@embedded",
            without_heartbeat=True,
            without_mingle=True,
            without_gossip=True,
            quiet=True,
        )
        self._beat = beat.Service(app, max_interval=1, scheduler_cls=app.conf.beat_scheduler)
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        """Where the pages and the API are."""
        return f"http://127.0.0.1:{self._web.effective_port}"

    def start(self) -> None:
        """Run web, worker and beat in the background."""
        state.should_stop = None
        for name, run in (("web", self._web.run), ("worker", self._worker.start), ("beat", self._beat.start)):
            thread = threading.Thread(target=_guard(name, run), name=name, daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Stop watching and beat, let the worker finish what it holds, close the web server."""
        watching.stop()
        self._beat.stop(wait=False)
        state.should_stop = 0  # type: ignore[assignment] # the stubs know only None; 0 is a clean exit
        self._web.close()
        for thread in reversed(self._threads):
            thread.join(JOIN_WITHIN_S)


def _guard(name: str, run: Callable[[], Any]) -> Callable[[], None]:
    """A thread that dies says so; the due rows and the status page tell the rest."""

    def guarded() -> None:
        try:
            run()
        except SystemExit:
            return
        except Exception as error:
            if name != "web" or not isinstance(error, OSError):
                log.exception("thread_died", thread=name, error=type(error).__name__)

    return guarded
