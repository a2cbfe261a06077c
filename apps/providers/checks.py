"""Django's start-up check of the provider kinds: a declaration that contradicts itself keeps the hub from starting."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, register

from apps.providers.contract import Kind, contradictions
from apps.providers.registry import ADAPTERS


@register()
def kinds_are_declared(app_configs: Sequence[AppConfig] | None, **kwargs: Any) -> list[CheckMessage]:
    """Every kind is registered under its own name, with a label and capabilities that can be true together."""
    return [
        Error(f"Provider kind {kind!r}: {fault}.", hint="Mend the adapter's declaration.", id="providers.E001")
        for kind, adapter in ADAPTERS.items()
        for fault in faults_of(kind, adapter)
    ]


def faults_of(kind: str, adapter: Kind) -> Iterator[str]:
    """What is wrong with one declaration."""
    if adapter.kind != kind:
        yield f"it calls itself {adapter.kind!r}"
    if not adapter.label:
        yield "it has no label"
    yield from contradictions(adapter.caps)
