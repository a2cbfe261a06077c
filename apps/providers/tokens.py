"""Tokens that providers lend: kept in this process, per account and credentials, until a minute before their end."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

RENEW_BEFORE_S = 60.0
"""A token with less life than this is not used any more: a purchase must not meet its end."""

_lock = threading.Lock()
_kept: dict[tuple[str, str], tuple[str, float]] = {}


@dataclass(frozen=True, slots=True)
class ProcessTokens:
    """The tokens of one account with these very credentials; other credentials see none of them."""

    owner: str
    clock: Callable[[], float] = time.monotonic

    def get(self, name: str) -> str:
        """The token, or an empty text when there is none or it is about to end."""
        with _lock:
            token, ends_at = _kept.get((self.owner, name), ("", 0.0))
        return token if self.clock() < ends_at else ""

    def put(self, name: str, token: str, life_s: float) -> None:
        """Keep it until a minute before its end."""
        with _lock:
            _kept[self.owner, name] = (token, self.clock() + life_s - RENEW_BEFORE_S)

    def drop(self, name: str) -> None:
        """Forget it."""
        with _lock:
            _kept.pop((self.owner, name), None)


def tokens_of(integration_id: int, sealed_secrets: str) -> ProcessTokens:
    """The store of one account; changed secrets are another owner, so that no token outlives them."""
    seal = hashlib.sha256(sealed_secrets.encode()).hexdigest()[:16]
    return ProcessTokens(f"{integration_id}:{seal}")
