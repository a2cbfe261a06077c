"""Traces tell which route, task and query took how long, and never a secret."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from celery import Celery
from django.db import connection
from django.test import Client
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from structlog.testing import capture_logs

from apps.common import spans, tracing
from apps.orders.tasks import dispatch_order
from tests.functional.core_fixtures import committed

__all__ = ["committed"]

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

CANARY = "canary-4711"


@contextmanager
def followed(exporter: SpanExporter) -> Iterator[None]:
    """Inside, every span goes to the exporter."""
    spans.follow(SimpleSpanProcessor(exporter))
    try:
        yield
    finally:
        spans.unfollow()


@pytest.fixture
def seen() -> Iterator[InMemorySpanExporter]:
    """What leaves this process meanwhile."""
    exporter = InMemorySpanExporter()
    with followed(spans.Discreet(exporter)):
        yield exporter


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """A server that takes whatever is posted: its address, and the paths and bodies that came."""
    received = []

    class Taking(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            received.append((self.path, body))
            self.send_response(200)
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Taking) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}", received
        server.shutdown()


def apply_failing(secret: str) -> None:
    """A task that fails with a secret in its argument and in its error."""

    @Celery(set_as_current=False).task(name="tests.fail")
    def fail(pin: str) -> None:
        raise ValueError(pin)

    fail.apply(args=(secret,))


def names(exporter: InMemorySpanExporter) -> list[str]:
    return [span.name for span in exporter.get_finished_spans()]


class TestTraces:
    def test_name_the_route_and_the_task(self, seen: InMemorySpanExporter) -> None:
        Client().get("/api/v1/orders")
        dispatch_order.apply(args=(12345678,))
        request, task = seen.get_finished_spans()
        assert (request.name, task.name) == ("GET api/v1/orders", "run/apps.orders.tasks.dispatch_order")
        assert request.resource.attributes["service.name"] == "order-hub"
        assert (request.attributes or {})["http.status_code"] == 401

    def test_tell_no_address_no_argument_and_no_error(self, seen: InMemorySpanExporter) -> None:
        Client().get(f"/hooks/{CANARY}/?pin={CANARY}", headers={"authorization": f"Bearer {CANARY}"})
        Client().post(f"/api/v1/orders?x={CANARY}", {"player": CANARY}, content_type="application/json")
        apply_failing(CANARY)
        assert len(names(seen)) == 3
        assert CANARY not in "\n".join(span.to_json() for span in seen.get_finished_spans())

    def test_would_tell_them_without_the_filter(self) -> None:
        exporter = InMemorySpanExporter()
        with followed(exporter):
            Client().get(f"/hooks/{CANARY}/?pin={CANARY}")
            apply_failing(CANARY)
        told = [CANARY in span.to_json() for span in exporter.get_finished_spans()]
        assert told == [True, True]

    @pytest.mark.postgres
    def test_name_a_query_and_hide_it(self, committed: None, seen: InMemorySpanExporter) -> None:
        connection.close()
        with connection.cursor() as cursor:
            cursor.execute(f"SELECT '{CANARY}', %s", [CANARY])
        connection.close()
        told = [span for span in seen.get_finished_spans() if span.name == "SELECT"]
        assert (told[-1].attributes or {})["db.system"] == "postgresql"
        assert CANARY not in "\n".join(span.to_json() for span in seen.get_finished_spans())

    def test_reach_the_collector(self, collector: tuple[str, list[tuple[str, bytes]]]) -> None:
        address, received = collector
        provider = spans.send_to(f"{address}/")
        try:
            Client().get(f"/api/v1/orders?pin={CANARY}")
        finally:
            spans.unfollow()
            provider.shutdown()
        ((path, body),) = received
        assert (path, b"GET api/v1/orders" in body, CANARY.encode() in body) == ("/v1/traces", True, False)


class TestAProcessWithoutAnEndpoint:
    def test_imports_nothing_of_it(self) -> None:
        program = "import config.wsgi, celery_app, sys; print('opentelemetry' in sys.modules)"
        answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert answer.stdout.strip() == "False"

    def test_without_the_packages_says_so_and_goes_on(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
        with capture_logs() as logs:
            tracing.start("http://127.0.0.1:9")
        assert logs == [{"event": "traces_not_installed", "install": "requirements-otel.txt", "log_level": "warning"}]
