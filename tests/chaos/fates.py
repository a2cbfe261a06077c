"""What becomes of a purchase at its provider, drawn by the seed and by who it is for."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from apps.simulator.client import ControlClient
from tests.chaos.customers import Wish

PLACES: tuple[tuple[int, str], ...] = (
    (60, "accept"),
    (7, "accept_then_hang"),
    (4, "accept_then_reset"),
    (4, "accept_then_500"),
    (2, "accept_then_html"),
    (2, "accept_then_empty"),
    (2, "accept_then_cut"),
    (2, "accept_then_headers"),
    (1, "accept_then_drip"),
    (1, "accept_then_flood"),
    (4, "hang_before"),
    (2, "reset_before"),
    (2, "error_500_before"),
    (1, "html_before"),
    (5, "refuse"),
    (1, "unlisted_text"),
)
"""What happens to the placing request, and how often; the words are the simulator's."""

QUESTIONS = ("500", "html", "empty", "hang", "reset", "cut", "not_found", "unknown_word")
"""What happens to questions about a purchase."""

ACCOUNTS = ("client_api", "znet", "smm_v2", "digiflazz")


NO_REFUSALS = frozenset({"smm_v2"})
"""Where every certain refusal keeps further orders away for a minute or longer, which is more than a run has."""


def draw_fate(dice: random.Random, account: str) -> dict[str, Any]:
    """One purchase's fate as the control API takes it; all is over within half a minute."""
    weights, places = zip(*PLACES, strict=True)
    fate: dict[str, Any] = {"place": dice.choices(places, weights)[0], "refuse_class": "product"}
    if fate["place"] == "refuse" and account in NO_REFUSALS:
        fate["place"] = "accept"
    fate["complete_after_s"] = dice.choice((0.0, dice.uniform(0.5, 6), dice.uniform(3, 20)))
    fate["answer_delay_s"] = dice.choice((0.0, dice.uniform(0.1, 1.5)))
    if dice.random() < 0.08:
        fate["final"] = "cancelled"
    if dice.random() < 0.25:
        fate["status_faults"] = [dice.choice(QUESTIONS) for _ in range(dice.randint(1, 3))]
    if dice.random() < 0.1:
        fate |= {"visible_after_s": dice.uniform(0.5, 5), "status_lag_s": dice.uniform(0.5, 3)}
    if dice.random() < 0.1:
        fate |= {"pin_late_s": dice.uniform(2, 15), "pin_blank_form": dice.choice(("space", "dash", "empty"))}
    return fate


def script(control: ControlClient, seed: int, wishes: Sequence[Wish]) -> None:
    """Tell every account what becomes of its first purchases for each wish; any further one goes well."""
    for account in ACCOUNTS:
        client = control.of(account)
        for wish in wishes:
            dice = random.Random(f"{seed}:fate:{wish.recipient}:{account}")
            client.set_fate(recipient=wish.recipient, times=wish.quantity, **draw_fate(dice, account))
        client.close()
