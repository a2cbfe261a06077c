"""An integration's capabilities: its protocol's, with the few figures that may differ per account."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from apps.providers.contract import Capabilities, PollPlan
from apps.providers.registry import load_adapter

CAPS_OPTIONS = (
    "send_window_s",
    "place_timeout_s",
    "ask_timeout_s",
    "resolve_margin_s",
    "review_after_s",
    "failed_final_after_s",
    "final_after_s",
)
POLL_OPTIONS = tuple(f"poll_{field.name}" for field in fields(PollPlan))
LEAST_S = 0.05


class BadOption(ValueError):
    """An option of a provider account that is unknown or not a number of seconds."""


def load_caps(kind: str, options: Mapping[str, object]) -> Capabilities:
    """What an account of `kind` can, after its `options`. Raises `BadOption`, which lists the known ones."""
    adapter = load_adapter(kind)
    own = set(getattr(adapter, "option_fields", ()))
    known = {*CAPS_OPTIONS, *POLL_OPTIONS, *own}
    unknown = sorted(set(options) - known)
    if unknown:
        raise BadOption(f"unknown option {unknown[0]!r}; known are {', '.join(sorted(known))}")
    seconds: dict[str, Any] = {name: _seconds(name, value) for name, value in options.items() if name not in own}
    poll = {name.removeprefix("poll_"): seconds[name] for name in POLL_OPTIONS if name in seconds}
    changed = {name: seconds[name] for name in CAPS_OPTIONS if name in seconds}
    return replace(adapter.caps, poll=replace(adapter.caps.poll, **poll), **changed)


def _seconds(name: str, value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not LEAST_S <= value <= 30 * 86400:
        raise BadOption(f"option {name!r} must be a number of seconds from {LEAST_S} to 2592000")
    return float(value)
