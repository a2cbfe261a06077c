"""Traces for OpenTelemetry, where an endpoint is named and its packages are installed; else nothing is imported."""

from __future__ import annotations

import importlib
import importlib.util

import structlog

log = structlog.get_logger(__name__)

INSTALLED_BY = "requirements-otel.txt"


def start(endpoint: str) -> None:
    """Begin to send traces to `endpoint`, an OTLP address; call it in each process, before it makes its handlers.

    Without an endpoint nothing is imported; without the packages it says so in the log, and the process goes on.
    """
    if not endpoint:
        return
    if importlib.util.find_spec("opentelemetry") is None:
        log.warning("traces_not_installed", install=INSTALLED_BY)
        return
    importlib.import_module("apps.common.spans").send_to(endpoint)
