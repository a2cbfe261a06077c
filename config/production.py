"""What a hub in production refuses to start with, each refusal with its remedy. Pure: the values come as arguments."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

ALLOWANCES = ("sqlite", "memory-broker", "http")
"""What PRODUCTION_ALLOWS may name; nothing allows DEBUG, any host name, or keys that can be guessed."""

KEY_BYTES = 32
LEAST_DISTINCT = 12
"""Of 32 random bytes about 30 are distinct; fewer than this many were typed by a person."""
SHORTEST_SECRET_KEY = 50


@dataclass(frozen=True, slots=True)
class Chosen:
    """The settings that production looks at."""

    is_debug: bool
    allowed_hosts: Sequence[str]
    has_sqlite: bool
    has_broker: bool
    has_secure_cookies: bool
    keys: Mapping[str, str]


def refusals(chosen: Chosen, allowed: Collection[str]) -> list[str]:
    """Why this hub must not start, in words for a person; empty when it may."""
    return [*_unknown(allowed), *_settings(chosen, allowed), *_keys(chosen.keys)]


def _unknown(allowed: Collection[str]) -> Iterator[str]:
    for name in allowed:
        if name not in ALLOWANCES:
            yield f"PRODUCTION_ALLOWS names {name!r}: it may name {', '.join(ALLOWANCES)}"


def _settings(chosen: Chosen, allowed: Collection[str]) -> Iterator[str]:
    if chosen.is_debug:
        yield "DEBUG is on: take it out of .env"
    if not chosen.allowed_hosts or any(host.startswith(("*", ".")) for host in chosen.allowed_hosts):
        yield "ALLOWED_HOSTS is empty or has a wildcard: name each host"
    if chosen.has_sqlite and "sqlite" not in allowed:
        yield "the database is SQLite: set DATABASE_URL to PostgreSQL, or PRODUCTION_ALLOWS=sqlite"
    if not chosen.has_broker and "memory-broker" not in allowed:
        yield "the broker is in memory: set REDIS_URL, or PRODUCTION_ALLOWS=memory-broker for a single process"
    if not chosen.has_secure_cookies and "http" not in allowed:
        yield "SECURE_COOKIES is off: take it out of .env, or PRODUCTION_ALLOWS=http in a closed network"


def _keys(keys: Mapping[str, str]) -> Iterator[str]:
    for name, value in keys.items():
        parts = value.split(",") if name == "FIELD_KEYS" else [value]
        if any(_is_weak(name, part.strip()) for part in parts if part.strip()):
            yield f"{name} can be guessed or is malformed: let `python3 scripts/start.py` write a random one"
    if len(set(keys.values())) < len(keys):
        yield "two keys are the same: each needs a value of its own"


def _is_weak(name: str, value: str) -> bool:
    if name == "SECRET_KEY":
        is_default = value.startswith("django-insecure-")
        return is_default or len(value) < SHORTEST_SECRET_KEY or len(set(value)) < LEAST_DISTINCT
    try:
        key = base64.urlsafe_b64decode(value.partition(":")[2]) if name == "FIELD_KEYS" else bytes.fromhex(value)
    except (binascii.Error, ValueError):
        return True
    return len(key) != KEY_BYTES or len(set(key)) < LEAST_DISTINCT
