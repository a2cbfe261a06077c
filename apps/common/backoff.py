"""When to ask again: pure functions of a plan, a count and a random number in [0, 1)."""

from __future__ import annotations

JITTER = 0.1


def spec_gap_s(tries: int, *, base_s: float = 30, cap_s: float = 600) -> float:
    """Seconds to wait after answer `tries` (0 is the first) changed nothing: base x 2^tries up to `cap_s`."""
    return float(min(base_s * 2.0 ** min(tries, 30), cap_s))


def with_jitter(gap_s: float, draw: float, *, floor_s: float = 0) -> float:
    """`gap_s` spread by +-10 %, never below the provider's minimum gap."""
    return max(gap_s * (1 - JITTER + 2 * JITTER * draw), floor_s)


def error_gap_s(errors: int, draw: float, *, floor_s: float = 0) -> float:
    """Seconds until a question that failed is put again: half to all of 5 x 2^errors, at most 120; its own schedule."""
    return max((0.5 + 0.5 * draw) * min(5 * 2.0 ** min(errors, 30), 120), floor_s)
