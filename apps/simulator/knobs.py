"""The faults of providers, by their numbers in the project's fault catalogue, and the knobs that bring each about."""

from __future__ import annotations

from collections.abc import Mapping

from apps.simulator.dialect import Dialect

KNOBS: dict[str, tuple[str, str]] = {
    "P1": ("no connection", "switch down=refuse"),
    "P2": ("silence before the purchase", "fate place=hang_before, reset_before"),
    "P3": ("bought, and no answer in time", "fate place=accept_then_hang, answer_delay_s; status_faults=hang"),
    "P4": (
        "5xx, and requests repeated on the way",
        "fate place=accept_then_500, error_status, replays; status_faults=500",
    ),
    "P5": ("the same reference again", "place twice; the dialect's switch repeat_policy"),
    "P6": ("429", "fate place=rate_limited, accept_then_rate_limited; status_faults=rate_limited"),
    "P7": (
        "refused, in listed words or in others",
        "fate place=refuse, refuse_class, refuse_text; unlisted_text; code_8",
    ),
    "P8": (
        "a page or nothing instead of an answer",
        "fate place=accept_then_html, accept_then_empty; status_faults=html",
    ),
    "P9": ("a redirect", "fate place=redirect, redirect_to"),
    "P10": ("an answer without an end", "fate place=accept_then_flood, accept_then_drip; status_faults=flood"),
    "P11": ("spoilt bytes", "fate place_mangle, status_mangle"),
    "P12": ("an answer about another order", "fate place=accept_then_other_order; status_faults=other_order"),
    "P13": ("cut off in the middle", "fate place=accept_then_cut, accept_then_headers; status_faults=cut, reset"),
    "P15": ("not found though bought", "fate visible_after_s"),
    "P16": ("lost for good", "fate visible_until_s"),
    "P17": ("bought twice for one request", "fate executions"),
    "P18": ("a clock that is wrong", "switch clock_skew_s"),
    "P19": ("a brown-out", "switch down, down_for_s, slow_s"),
    "P20": ("dead for hours", "switch down=hang"),
    "P21": ("an old state", "fate status_lag_s"),
    "P22": ("a batch with orders missing, turned or added", "switch batch"),
    "V1": ("back from a final state", "fate status_flip"),
    "V2": ("a word that nobody knows", "fate status_faults=unknown_word"),
    "V3": ("delivered without its PIN", "fate pin_blank_form, pin_late_s"),
    "V4": ("a PIN before its time", "fate pin_while_waiting"),
    "V5": ("a second PIN", "fate second_pin, second_pin_after_s"),
    "V6": ("a part of what was ordered", "fate final=partial, delivered"),
    "V7": ("delivered after a cancellation", "fate flip_to_delivered_after_s"),
    "V8": ("taken back after delivery", "fate reverse_after_s"),
    "V9": ("cancelled, with a PIN", "fate pin_when_cancelled"),
    "V10": ("another cost", "fate cost"),
    "V11": ("a PIN with anything in it", "fate pin"),
    "X5": (
        "webhooks late, doubled, out of order, forged",
        "switch hook_url, hook_late_s, hook_times, hook_out_of_order, hook_forged",
    ),
}
"""What each is, and which fields of a fate and which switches do it."""

NOWHERE = {"P14": "the simulator speaks plain HTTP; certificates are for the transport's own tests"}
"""What no dialect can have here, and why."""


def cannot(dialect: Dialect) -> Mapping[str, str]:
    """The faults that a dialect cannot have, each with its reason."""
    return {**NOWHERE, **dialect.cannot, **({} if dialect.hook else {"X5": "it sends no webhooks"})}
