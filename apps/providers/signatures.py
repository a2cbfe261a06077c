"""Signatures of webhooks and the moments in them, for the adapters that read some. Compared in constant time."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import UTC, datetime

ALGORITHMS = {"sha1": hashlib.sha1, "sha256": hashlib.sha256}

_SECONDS = re.compile(r"[0-9]{1,11}")
_MILLISECONDS = re.compile(r"[0-9]{12,14}")


def is_signed(secret: str, signed: bytes, given: str, algorithm: str) -> bool:
    """Whether `given` is the hex HMAC of `signed`; an empty secret signs nothing."""
    right = hmac.new(secret.encode(), signed, ALGORITHMS[algorithm]).hexdigest()
    return bool(secret) and hmac.compare_digest(right.encode(), given.strip().lower().encode())


def parse_moment(text: str) -> datetime | None:
    """Unix seconds or milliseconds as a time; None for anything else."""
    if _MILLISECONDS.fullmatch(text):
        text = text[:-3]
    if not _SECONDS.fullmatch(text):
        return None
    try:
        return datetime.fromtimestamp(int(text), UTC)
    except (OverflowError, OSError, ValueError):
        return None
