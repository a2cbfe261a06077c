"""What travels between an adapter and a transport: calls, replies, and what is known without one. No I/O here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from urllib.parse import urlencode

REDACTED = "***"
BODY_LIMIT = 256 * 1024
"""Bytes of an answer that are read at most, unless the call says more; what is longer counts as unreadable."""


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One request that an adapter asks for. The transport sends it at most once: no retry, no redirect.

    `params` is the query, `form` a url-encoded body, `json` a body already encoded; at most one body is given.
    `secrets` names the parameters (query or form) and headers whose values are never written down.
    `timeout_s` is the total time in seconds from the first connection try to the last byte of the answer.
    `limit_bytes` is the longest body that is read; only lists of products need more than the usual limit.
    """

    method: str
    url: str
    params: tuple[tuple[str, str], ...] = ()
    form: tuple[tuple[str, str], ...] | None = None
    json: bytes | None = field(default=None, repr=False)
    headers: tuple[tuple[str, str], ...] = ()
    timeout_s: float = 30.0
    secrets: frozenset[str] = frozenset()
    limit_bytes: int = BODY_LIMIT

    def __repr__(self) -> str:
        return f"HttpCall({self.redacted()!r})"

    def redacted(self) -> str:
        """The request as one line of text with every secret value replaced by three asterisks."""
        query = urlencode(self._hide(self.params), safe="*")
        line = f"{self.method} {self.url}" + (f"?{query}" if query else "")
        if self.form is not None:
            line += " form:" + urlencode(self._hide(self.form), safe="*")
        if self.json is not None:
            line += f" json:{len(self.json)} bytes"
        return line

    def _hide(self, pairs: tuple[tuple[str, str], ...]) -> list[tuple[str, str]]:
        return [(name, REDACTED if name in self.secrets else value) for name, value in pairs]


@dataclass(frozen=True, slots=True)
class HttpReply:
    """A complete answer: status, headers (names in lower case), raw body, and how long it took."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}), repr=False)
    latency_ms: int = 0


class NotSentReason(StrEnum):
    """Why it is certain that no byte of the request left."""

    DNS = "dns"
    REFUSED = "refused"
    CONNECT_TIMEOUT = "connect_timeout"
    TLS = "tls"
    UNREACHABLE = "unreachable"
    EGRESS = "egress_forbidden"
    DEADLINE = "send_deadline_passed"
    SUPERSEDED = "attempt_superseded"
    BREAKER = "breaker_open"


class MaybeSentReason(StrEnum):
    """Why there is no answer although at least one byte of the request may have left."""

    TIMEOUT = "timeout"
    RESET = "reset"
    CUT = "answer_cut"
    TOO_LARGE = "answer_too_large"
    PROTOCOL = "not_http"


@dataclass(frozen=True, slots=True)
class NotSent:
    """Proof that the request was never sent. `detail` holds no URL, no parameter, no secret."""

    reason: NotSentReason
    detail: str = ""
    latency_ms: int = 0


@dataclass(frozen=True, slots=True)
class MaybeSent:
    """The request may have arrived; there is no complete answer. `body` is what was read of it, for the record."""

    reason: MaybeSentReason
    detail: str = ""
    status: int | None = None
    body: bytes = field(default=b"", repr=False)
    latency_ms: int = 0


Answer = HttpReply | NotSent | MaybeSent
"""What a transport gives back for one call."""
