"""The trace of one dispatch: fifteen numbered steps, each logged with what it found, kept for the order's story."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from apps.common.logs import get_logger

log = get_logger(__name__)

STEPS: dict[int, str] = {
    1: "lock_order",
    2: "check_tenant",
    3: "check_not_dispatched",
    4: "load_routes",
    5: "pick_route",
    6: "load_mapping",
    7: "load_integration",
    8: "bind_adapter",
    9: "build_request",
    10: "record_attempt",
    11: "send_request",
    12: "read_answer",
    13: "apply_outcome",
    14: "write_story",
    15: "schedule_check",
}
"""The steps of `try_auto_dispatch`, by number. The docs and the panel read this table."""

Found = str | int | bool | list[dict[str, str | int | None]] | None

PICK = 5
"""The step whose decision is told apart: the route, and every one that was passed over."""


@dataclass(slots=True)
class Trace:
    """What each step found, in order. Holds ids, names and words; no PIN, no credential, no recipient."""

    order_id: int
    steps: list[dict[str, object]] = field(default_factory=list)

    def add(self, n: int, **found: Found) -> None:
        """Record that step `n` is done, and log it."""
        self.steps.append({"n": n, "name": STEPS[n], **found})
        log.info("dispatch_step", step=f"{n}/{len(STEPS)}", name=STEPS[n], order=self.order_id, **found)


def decision_of(steps: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The step that picked a route, None where the trace did not come so far. The oldest stories tell it in one text,
    without a strategy: that is none, either."""
    return next((step for step in steps if step["n"] == PICK and "strategy" in step), None)


def reasons_of(steps: Sequence[Mapping[str, Any]]) -> list[tuple[int, str]]:
    """Which routes a trace passed over, and why, without the times that move."""
    decision = decision_of(steps)
    return [(one["route"], one["reason"]) for one in decision["passed_over"]] if decision else []
