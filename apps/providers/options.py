"""An integration's capabilities: its protocol's, with what may differ per account, and its protocol's own knobs."""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from apps.providers.contract import Capabilities, Knob, PollPlan, contradictions
from apps.providers.registry import load_adapter

SECONDS_OPTIONS = (
    "send_window_s",
    "place_timeout_s",
    "ask_timeout_s",
    "resolve_margin_s",
    "review_after_s",
    "absent_after_s",
    "resend_min_gap_s",
    "failed_final_after_s",
    "final_after_s",
    "price_s",
)
COUNT_OPTIONS = ("status_batch_max", "burst")
FLAG_OPTIONS = ("one_per_target",)
RATE_OPTIONS = ("rate_per_s",)
POLL_OPTIONS = tuple(f"poll_{field.name}" for field in fields(PollPlan))
POLLING = Knob("choice", ("spec", "learned"))
CAPS_FIELDS = frozenset(field.name for field in fields(Capabilities))
LEAST_S = 0.05
MOST_COUNT = 1000
MOST_RATE = 100_000
TEXT_LIMIT = 200


class BadOption(ValueError):
    """An option of a provider account that is unknown, of the wrong form, or contradicts the others."""


def load_caps(kind: str, options: Mapping[str, object]) -> Capabilities:
    """What an account of `kind` can, after its `options`. Raises `BadOption`, which lists the known ones."""
    return _load_caps(kind, load_adapter(kind).caps, json.dumps(options))


@functools.lru_cache(maxsize=256)
def _load_caps(kind: str, own: Capabilities, told: str) -> Capabilities:
    """The same, worked out once: a poller asks for it several times for each order."""
    adapter = load_adapter(kind)
    options: dict[str, object] = json.loads(told)
    checked: dict[str, Any] = {name: _checked(name, value, adapter.option_fields) for name, value in options.items()}
    poll = {name.removeprefix("poll_"): checked[name] for name in POLL_OPTIONS if name in checked}
    changed = {name: value for name, value in checked.items() if name in CAPS_FIELDS}
    caps = replace(own, poll=replace(own.poll, **poll), **changed)
    for text in contradictions(caps):
        raise BadOption(f"these options cannot be true together: {text}")
    return caps


@dataclass(frozen=True, slots=True)
class Asking:
    """When an account's orders are asked about: by the fixed schedule, or sooner where `learned` finds it worth it.

    `price_s`: a question is worth its request if it shows the end this many seconds sooner.
    """

    policy: str = "spec"
    price_s: float = 15.0


def load_asking(options: Mapping[str, object]) -> Asking:
    """The options `polling` and `price_s` of an account. Raises `BadOption` for what they must not be."""
    names = {"polling": "policy", "price_s": "price_s"}
    given: dict[str, Any] = {names[name]: _checked(name, options[name], {}) for name in names if name in options}
    return Asking(**given)


def _checked(name: str, value: object, knobs: Mapping[str, Knob]) -> object:
    if name in knobs:
        return _knob(name, value, knobs[name])
    if name in (*SECONDS_OPTIONS, *POLL_OPTIONS):
        return _number(name, value, "seconds", 30 * 86400)
    if name == "polling":
        return _knob(name, value, POLLING)
    if name in RATE_OPTIONS:
        return _number(name, value, "requests a second", MOST_RATE)
    if name in COUNT_OPTIONS:
        return _count(name, value)
    if name in FLAG_OPTIONS:
        return _knob(name, value, Knob("flag"))
    known = sorted({*SECONDS_OPTIONS, *POLL_OPTIONS, *RATE_OPTIONS, *COUNT_OPTIONS, *FLAG_OPTIONS, "polling", *knobs})
    raise BadOption(f"unknown option {name!r}; known are {', '.join(known)}")


def _number(name: str, value: object, unit: str, most: int) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not LEAST_S <= value <= most:
        raise BadOption(f"option {name!r} must be a number of {unit} from {LEAST_S} to {most}")
    return float(value)


def _count(name: str, value: object) -> int:
    if type(value) is not int or not 1 <= value <= MOST_COUNT:
        raise BadOption(f"option {name!r} must be a whole number from 1 to {MOST_COUNT}")
    return value


def _knob(name: str, value: object, knob: Knob) -> object:
    if knob.form == "flag" and type(value) is bool:
        return value
    if knob.form == "choice" and value in knob.choices:
        return value
    if knob.form == "text" and _is_text(value):
        return value
    if knob.form == "table" and isinstance(value, dict) and all(map(_is_text, (*value, *value.values()))):
        _check_words(name, value, knob)
        return value
    wanted = {
        "flag": "true or false",
        "choice": f"one of {', '.join(knob.choices)}",
        "text": f"a text of at most {TEXT_LIMIT} printable characters",
        "table": "an object of short texts",
    }
    raise BadOption(f"option {name!r} must be {wanted[knob.form]}")


def _check_words(name: str, table: Mapping[str, str], knob: Knob) -> None:
    unknown = [row for row, word in table.items() if knob.choices and word not in knob.choices]
    if unknown:
        raise BadOption(f"option {name!r}: row {unknown[0]!r} must be one of {', '.join(knob.choices)}")


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= TEXT_LIMIT and value.isprintable()
