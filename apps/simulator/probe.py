"""How the self-test speaks a dialect: requests as bytes, answers read by the provider's document, not by our server."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode


@dataclass(frozen=True, slots=True)
class Told:
    """What an answer to a status question says: a state, or `unknown` (no word of the document) or `not_found`."""

    state: str
    pins: tuple[str, ...] = ()


def _as_they_are(pins: Sequence[str]) -> tuple[str, ...]:
    return tuple(pins)


@dataclass(frozen=True, slots=True)
class Probe:
    """One dialect as a client speaks it. Every request is whole HTTP/1.1 bytes with `Connection: close`."""

    recipient: Callable[[int], str]  # the n-th one, each of them allowed
    place: Callable[[str, str, int], bytes]  # our reference, recipient, quantity
    ask: Callable[[str, str], bytes]  # our reference, the provider's id
    is_accepted: Callable[[bytes], bool]  # the body of a placing answer
    is_refused: Callable[[bytes], bool]  # a refusal that the document lists, so that nothing was bought
    read: Callable[[bytes], Told]  # the body of a status answer
    ask_many: Callable[[Sequence[tuple[str, str]]], bytes] | None = None  # (reference, id) of several orders
    read_many: Callable[[bytes], list[str]] | None = None  # the reference, or else the id, of each, as told
    # whether a webhook is signed as documented: headers (lower case), body, path, secret
    is_signed: Callable[[Mapping[str, str], bytes, str, str], bool] | None = None
    prepare: Callable[[], bytes] | None = None  # a request to send first; its answer goes to `keep`
    keep: Callable[[bytes], None] = lambda body: None
    reads_as: Mapping[str, str] = field(default_factory=dict)  # states that the dialect has no word of its own for
    shown: Callable[[Sequence[str]], tuple[str, ...]] = _as_they_are  # which of the given PINs an answer shows
    gives_codes: bool = True
    has_reference: bool = True
    wants_uuid: bool = False  # our references are UUIDs, not digits
    asks_may_buy: bool = False  # a question about an order that is not there places it


def read_object(body: bytes) -> dict[str, Any]:
    """A body as a JSON object; empty where it is none."""
    try:
        told = json.loads(body)
    except ValueError:
        return {}
    return told if isinstance(told, dict) else {}


def get(path: str, params: Mapping[str, str], headers: Mapping[str, str] | None = None) -> bytes:
    """A GET request."""
    return _request("GET", f"{path}?{urlencode(params)}" if params else path, headers or {}, b"")


def post(path: str, body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> bytes:
    """A POST request with this body."""
    return _request("POST", path, {"Content-Type": content_type, **(headers or {})}, body)


def _request(method: str, target: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "Host: 127.0.0.1", "Connection: close"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
