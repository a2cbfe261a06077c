"""Structured logs that cannot raise and cannot tell a secret. Configured once per process by `apps.common.apps`."""

from __future__ import annotations

import logging
import logging.config
import re
from collections.abc import Mapping, MutableMapping
from typing import Any

import structlog

from apps.common.wire import REDACTED

SECRET_NAMES = frozenset(
    {
        "password",
        "sifre",
        "secret",
        "secrets",
        "token",
        "api_key",
        "authorization",
        "pin",
        "codes",
        "kod",
        "value",
        "sealed",
    }
)
"""Field names whose values are never logged, whatever they hold."""

SECRET_IN_TEXT = re.compile(r"(?i)\b(sifre|kod|password|token|api[-_]?token|api_key|key|pin|secret)=([^&\s\"']+)")

CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")

SECRET_IN_PATH = re.compile(r"(/hooks/providers/)[^/\s\"']+")


def hide_secrets(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor: blanks secret fields and `name=value` pairs inside texts (URLs in exceptions, mostly)."""
    for name, value in event.items():
        if name.lower() in SECRET_NAMES:
            event[name] = REDACTED
        elif not name.startswith("_"):  # these are structlog's own, and not written
            event[name] = hide_in_value(value)
    return event


def hide_in_value(value: object) -> object:
    """The value, or its `repr` without what looks like a secret: that of a request has the query in it."""
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return hide_in_text(value)
    try:
        written = repr(value)
    except Exception:
        return value  # nothing will be written of it
    hidden = hide_in_text(written)
    return value if hidden == written else hidden


def hide_in_text(text: str) -> str:
    """`text` without the values of secret-looking `name=value` pairs, and without the secret of a webhook's address."""
    pairs = SECRET_IN_TEXT.sub(lambda found: f"{found[1]}={REDACTED}", text)
    return SECRET_IN_PATH.sub(lambda found: f"{found[1]}{REDACTED}", pairs)


def keep_on_one_line(_logger: object, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Structlog processor for the console: what somebody sent begins no line of its own, and moves no cursor.

    The values of fields are quoted by the renderer; the event is not, and libraries put what they were sent into it.
    """
    event["event"] = CONTROL.sub(lambda found: repr(found[0])[1:-1], str(event.get("event", "")))
    return event


SHARED = (
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_log_level,
    structlog.stdlib.add_logger_name,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.format_exc_info,
    hide_secrets,
)


def logging_config(log_format: str, level: str) -> Mapping[str, object]:
    """The `dictConfig` of the standard library's logging; `log_format` is `console` or `json`."""
    renderers: tuple[object, ...] = (
        (structlog.processors.JSONRenderer(ensure_ascii=False),)
        if log_format == "json"
        else (keep_on_one_line, structlog.dev.ConsoleRenderer(colors=False, pad_event_to=28, sort_keys=False))
    )
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            "structured": {
                "()": structlog.stdlib.ProcessorFormatter,
                "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
                "foreign_pre_chain": [structlog.stdlib.ExtraAdder(), *SHARED],
            },
        },
        "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
        "root": {"handlers": ["stderr"], "level": "WARNING"},
        "loggers": {
            "apps": {"level": level},
            "celery": {"level": "WARNING"},
            "kombu": {"level": "ERROR"},
            "django_structlog": {"level": "WARNING"},
            "django.request": {"level": "ERROR"},
        },
    }


def configure(config: Mapping[str, object]) -> None:
    """Apply `config` and point structlog at it; a log line that fails is dropped, never raised."""
    logging.raiseExceptions = False
    logging.config.dictConfig(dict(config))
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *SHARED, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose messages are events with fields: `log.info("order_dispatched", order=1, step=11)`."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger
