"""What traces hold, and what they never do. Imported only where the packages of requirements-otel.txt are installed."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.celery import CeleryInstrumentor
from opentelemetry.instrumentation.django import DjangoInstrumentor
from opentelemetry.instrumentation.psycopg2 import Psycopg2Instrumentor
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

SERVICE = "order-hub"

TOLD = frozenset(
    {
        "celery.action",
        "celery.state",
        "celery.task_name",
        "db.name",
        "db.system",
        "http.method",
        "http.request.method",
        "http.response.status_code",
        "http.route",
        "http.scheme",
        "http.status_code",
        "messaging.destination",
        "messaging.message.id",
        "messaging.message_id",
        "url.scheme",
    }
)
"""The only attributes that leave the process: addresses, SQL, arguments and errors may hold a secret or a PIN."""

INSTRUMENTORS = (DjangoInstrumentor, CeleryInstrumentor, Psycopg2Instrumentor)
"""Not `requests`: it would write a header of its own into purchases, whose bytes are ours alone."""


class Discreet(SpanExporter):
    """Hands on what may be told of each span to the exporter behind it."""

    def __init__(self, behind: SpanExporter) -> None:
        self.behind = behind

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them without what is not in `TOLD`, without events (errors are among them) and without messages."""
        return self.behind.export([discreet(span) for span in spans])

    def shutdown(self) -> None:
        """End the exporter behind."""
        self.behind.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what the exporter behind holds back."""
        return self.behind.force_flush(timeout_millis)


def discreet(span: ReadableSpan) -> ReadableSpan:
    """The span with its name, its times and what `TOLD` allows."""
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes={name: value for name, value in (span.attributes or {}).items() if name in TOLD},
        kind=span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=span.instrumentation_scope,
    )


def send_to(endpoint: str) -> TracerProvider:
    """Follow this process's requests, tasks and queries, and send them in batches from a thread."""
    address = f"{endpoint.rstrip('/')}/v1/traces"
    return follow(BatchSpanProcessor(Discreet(OTLPSpanExporter(endpoint=address))))


def follow(processor: SpanProcessor) -> TracerProvider:
    """Hand every span of this process to the processor; who shuts the provider down waits for what is on its way."""
    provider = TracerProvider(resource=Resource.create({"service.name": SERVICE}))
    provider.add_span_processor(processor)
    for instrumentor in INSTRUMENTORS:
        instrumentor().instrument(tracer_provider=provider)
    return provider


def unfollow() -> None:
    """Leave everything as it was before `follow`."""
    for instrumentor in INSTRUMENTORS:
        instrumentor().uninstrument()
