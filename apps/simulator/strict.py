"""Checks of JSON values for the control API: an unknown key or a wrong value is said out loud."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Mapping
from decimal import Decimal, InvalidOperation
from enum import StrEnum
from typing import Any
from urllib.parse import urlsplit

Check = Callable[[object], Any]


class BadValue(Exception):
    """The control request holds a key or a value that is not allowed."""


def check_fields(raw: object, checks: Mapping[str, Check], what: str) -> dict[str, Any]:
    """Return the checked values of a JSON object; raises BadValue naming the key and what is allowed."""
    if not isinstance(raw, dict):
        raise BadValue(f"{what} must be an object")
    unknown = sorted(set(raw) - set(checks))
    if unknown:
        raise BadValue(f"unknown key in {what}: {', '.join(unknown)}; allowed: {', '.join(sorted(checks))}")
    return {key: _check_one(key, value, checks[key]) for key, value in raw.items()}


def _check_one(key: str, value: object, check: Check) -> Any:
    try:
        return check(value)
    except (ValueError, InvalidOperation) as error:
        raise BadValue(f"{key}: {error}") from error


def text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be a string")
    return value


def flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError("must be true or false")
    return value


def seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
        raise ValueError("must be a number of seconds, zero or more")
    return float(value)


def count(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError("must be a whole number, one or more")
    return value


def whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise ValueError("must be a whole number, zero or more")
    return value


def number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("must be a number")
    return float(value)


def error_status(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value not in (500, 502, 503, 504):
        raise ValueError("must be 500, 502, 503 or 504")
    return value


def money(value: object) -> str:
    """A decimal as text, such as "31.50"; kept as text."""
    amount = Decimal(text(value))
    if not amount.is_finite():
        raise ValueError("must be a finite decimal")
    return str(value)


def loopback_url(value: object) -> str:
    """A plain http address on this machine: the simulator never calls anybody else."""
    parts = urlsplit(text(value))
    if parts.scheme != "http" or not is_loopback(parts.hostname or "") or not parts.port:
        raise ValueError("must be http://<loopback address>:<port>/<path>")
    return str(value)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def one_of(words: type[StrEnum]) -> Check:
    def check(value: object) -> StrEnum:
        try:
            return words(text(value))
        except ValueError:
            raise ValueError(f"must be one of {', '.join(words)}") from None

    return check


def optional(check: Check) -> Check:
    return lambda value: None if value is None else check(value)


def list_of(check: Check) -> Check:
    def check_all(value: object) -> tuple[Any, ...]:
        if not isinstance(value, list):
            raise ValueError("must be a list")
        return tuple(check(item) for item in value)

    return check_all
