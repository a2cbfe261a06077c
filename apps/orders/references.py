"""Our references: unguessable, in the form the provider wants, never from a counter, one per attempt."""

from __future__ import annotations

import secrets
import uuid


def draw_reference(ref_format: str) -> str:
    """A new reference: 18 decimal digits, the first not 0, or a uuid4 where the provider wants one."""
    if ref_format == "uuid4":
        return str(uuid.uuid4())
    return str(10**17 + secrets.randbelow(9 * 10**17))
