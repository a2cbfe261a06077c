"""The faults of providers, by their numbers in the project's fault catalogue, and the knobs that bring each about."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from apps.simulator.dialect import Dialect


@dataclass(frozen=True, slots=True)
class Knob:
    """What a fault is, and which fields of a fate and which switches bring it about."""

    what: str
    fate: tuple[str, ...] = ()
    switches: tuple[str, ...] = ()


KNOBS: dict[str, Knob] = {
    "P1": Knob("no connection", switches=("down=refuse",)),
    "P2": Knob("silence before the purchase", fate=("place=hang_before", "place=reset_before")),
    "P3": Knob(
        "bought, and no answer in time", fate=("place=accept_then_hang", "answer_delay_s", "status_faults=hang")
    ),
    "P4": Knob(
        "5xx, and requests repeated on the way",
        fate=("place=accept_then_500", "place=error_500_before", "error_status", "replays", "status_faults=500"),
    ),
    "P5": Knob("the same reference again", switches=("repeat_policy",)),
    "P6": Knob("429", fate=("place=rate_limited", "place=accept_then_rate_limited", "status_faults=rate_limited")),
    "P7": Knob(
        "refused, in listed words or in others",
        fate=(
            "place=refuse",
            "refuse_class",
            "refuse_text",
            "place=unlisted_text",
            "place=code_8",
            "place=accept_then_code_8",
        ),
    ),
    "P8": Knob(
        "a page or nothing instead of an answer",
        fate=(
            "place=accept_then_html",
            "place=html_before",
            "place=accept_then_empty",
            "place=empty_before",
            "status_faults=html",
        ),
    ),
    "P9": Knob("a redirect", fate=("place=redirect", "redirect_to")),
    "P10": Knob(
        "an answer without an end", fate=("place=accept_then_flood", "place=accept_then_drip", "status_faults=flood")
    ),
    "P11": Knob("spoilt bytes", fate=("place_mangle", "status_mangle")),
    "P12": Knob("an answer about another order", fate=("place=accept_then_other_order", "status_faults=other_order")),
    "P13": Knob(
        "cut off in the middle",
        fate=("place=accept_then_cut", "place=accept_then_headers", "place=accept_then_reset", "status_faults=cut"),
    ),
    "P15": Knob("not found though bought", fate=("visible_after_s",)),
    "P16": Knob("lost for good", fate=("visible_until_s",)),
    "P17": Knob("bought twice for one request", fate=("executions",)),
    "P18": Knob("a clock that is wrong", switches=("clock_skew_s",)),
    "P19": Knob("a brown-out", switches=("down=html", "down=empty", "down_for_s", "slow_s")),
    "P20": Knob("dead for hours", switches=("down=hang",)),
    "P21": Knob("an old state", fate=("status_lag_s",)),
    "P22": Knob("a batch with orders missing, turned or added", switches=("batch",)),
    "V1": Knob("back from a final state", fate=("status_flip",)),
    "V2": Knob("a word that nobody knows", fate=("status_faults=unknown_word",)),
    "V3": Knob("delivered without its PIN", fate=("pin_blank_form", "pin_late_s")),
    "V4": Knob("a PIN before its time", fate=("pin_while_waiting",)),
    "V5": Knob("a second PIN", fate=("second_pin", "second_pin_after_s")),
    "V6": Knob("a part of what was ordered", fate=("final=partial", "delivered")),
    "V7": Knob("delivered after a cancellation", fate=("final=cancelled", "flip_to_delivered_after_s")),
    "V8": Knob("taken back after delivery", fate=("reverse_after_s",)),
    "V9": Knob("cancelled, with a PIN", fate=("final=cancelled", "pin_when_cancelled")),
    "V10": Knob("another cost", fate=("cost",)),
    "V11": Knob("a PIN with anything in it", fate=("pin",)),
    "X5": Knob(
        "webhooks late, doubled, out of order, forged",
        switches=("hook_url", "hook_late_s", "hook_times", "hook_out_of_order", "hook_forged"),
    ),
}

NOWHERE = {"P14": "the simulator speaks plain HTTP; certificates are for the transport's own tests"}
"""What no dialect can have here, and why."""


def cannot(dialect: Dialect) -> Mapping[str, str]:
    """The faults that a dialect cannot have, each with its reason."""
    return {**NOWHERE, **dialect.cannot, **({} if dialect.hook else {"X5": "it sends no webhooks"})}
