"""How long the contract tests' buyers wait for an answer of the simulator."""

from __future__ import annotations

from dataclasses import replace

from apps.providers.contract import Account
from apps.simulator.fates import Place

PATIENCE_S = 0.3
CALM_S = 5.0
"""For answers that come at once: a busy machine must not look like a silent provider."""

QUIET = frozenset({Place.ACCEPT_THEN_HANG, Place.ACCEPT_THEN_DRIP, Place.ACCEPT_THEN_HEADERS, Place.HANG_BEFORE})
"""What a simulator does that leaves its buyer without an answer."""


def waiting(account: Account, patience_s: float) -> Account:
    """The account of a buyer who waits so long for an answer."""
    options = {**account.options, "place_timeout_s": patience_s, "ask_timeout_s": patience_s}
    return replace(account, options=options)
