"""The algorithm that this system replaces, as plainly as it was, behind the same adapters, seeds and faults.

Its reference is made when it is sent, and kept when the answer is read; no answer is a failure, tried again under a new
reference and then elsewhere; a check that finds nothing gives the money back; state and PIN are two writes; only
messages carry an order on. Its tables are kept in memory: every assignment counts as saved.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from django.core.cache import cache

from apps.common.talk import TalkFailed, drive
from apps.orders.references import draw_reference
from apps.proof.empty import empty_database
from apps.proof.faults import draw_swarm
from apps.proof.run import Plan, Run
from apps.proof.shop import Wish
from apps.proof.verdict import GONE, WIRED
from apps.providers.contract import OrderRef, Outcome, PlaceRequest
from apps.providers.registry import load_wired
from apps.simulator.ledger import Entry, purchase_rows

MOST_TRIES = 3
FINDINGS = ("double_purchases", "wrong_refunds", "lost_pins", "lost_references", "forgotten")
ENDED = frozenset({"completed", "refunded"})


@dataclass(slots=True)
class OldOrder:
    """One row of the old order table."""

    wish: Wish
    status: str = "pending"
    kind: str = ""
    route: int = 0
    tries: int = 0
    reference: str = ""
    external_id: str = ""
    pins: list[str] = field(default_factory=list)


def play_baseline(seed: int, orders: int) -> dict[str, Any]:
    """One seed with the old algorithm; the counts of what went wrong."""
    empty_database()
    cache.clear()
    run = OldRun(Plan(seed, orders, draw_swarm(seed)))
    with run.in_place():
        run.go()
        return {"seed": seed, "orders": len(run.rows), **run.judge()}


class OldRun(Run):
    """The same clients, network, broker, crashes and pauses; the old code between them."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan)
        self.rows: dict[str, OldOrder] = {}

    # What the scheduler calls

    def _send(self, wish: Wish) -> None:
        def order() -> None:
            row = self.rows.setdefault(wish.key, OldOrder(wish))
            self.at_point("create.after_commit")
            self._publish(row, self._dispatch, 0)

        def again(error: BaseException) -> None:
            if wish.key not in self.rows:
                self._later(5.0, lambda: self._send(wish))

        self._add(f"client {wish.number}", order, again)

    def _click(self, number: int, act: str) -> None:
        """The old panel's buttons: send again what is pending."""
        row = self.rows.get(f"wish-{number}")
        if row is not None and row.status == "pending":
            self._add(f"operator order {number}", lambda: self._dispatch(row))

    def _next_sweep(self) -> float | None:
        return None

    def at_purchase(self, entry: Entry, sent_at: float) -> None:
        """Nothing was written before: there is nothing to look for."""

    def _publish(self, row: OldOrder, act: Any, countdown: float) -> None:
        """A message to a worker, under the broker's faults."""
        dice, swarm = self.message_dice, self.swarm
        is_lost = swarm.has("lost_message", 0.25, dice) or swarm.has("broker_down", 0.2, dice)
        copies = 2 if swarm.has("double_message", 0.25, dice) else 1
        late_s = dice.uniform(0, 3600) if swarm.has("late_message", 0.15, dice) else dice.uniform(0, 1)
        for _ in range(0 if is_lost else copies):
            self._later(countdown + late_s, lambda: self._add(f"{act.__name__} {row.wish.number}", lambda: act(row)))

    # The old code

    def _dispatch(self, row: OldOrder) -> None:
        if row.status != "pending" or row.external_id:
            return
        kind, ids = row.wish.ware.routes[row.route]
        if kind not in WIRED:
            row.route += 1
            self._dispatch(row)
            return
        adapter, account = load_wired(kind), self.shop.accounts[kind].account()
        reference = draw_reference(adapter.caps.ref_format)
        request = PlaceRequest(reference, ids, row.wish.recipient)
        self.at_point("dispatch.after_commit")
        try:
            result, _ = drive(adapter.place(account, request), self.line.send_once)
        except TalkFailed:
            result = None
        self.at_point("dispatch.after_send")
        if result is not None and result.outcome in (Outcome.ACCEPTED, Outcome.COMPLETED):
            row.kind, row.reference, row.external_id = kind, reference, result.provider_id
            self.at_point("settle.after_commit")
            row.status = "sent"
            self._publish(row, self._check, 60)
            return
        self._failed(row, is_refused=result is not None and result.outcome is not Outcome.UNKNOWN)

    def _failed(self, row: OldOrder, *, is_refused: bool) -> None:
        """Try again, then elsewhere, then give the money back."""
        row.tries += 1
        if not is_refused and row.tries < MOST_TRIES:
            self._publish(row, self._dispatch, 5)
        elif row.route + 1 < len(row.wish.ware.routes):
            row.route, row.tries = row.route + 1, 0
            self._publish(row, self._dispatch, 0)
        else:
            row.status = "refunded"

    def _check(self, row: OldOrder) -> None:
        if row.status != "sent":
            return
        adapter, account = load_wired(row.kind), self.shop.accounts[row.kind].account()
        _, ids = row.wish.ware.routes[row.route]
        request = PlaceRequest(row.reference, ids, row.wish.recipient)
        ref = OrderRef(row.reference, row.external_id, None, request)
        try:
            results, _ = drive(adapter.status(account, [ref]), self.line.send_once)
        except TalkFailed:
            results = {}
        self.at_point("ask.after_answers")
        self._apply(row, results)

    def _apply(self, row: OldOrder, results: Mapping[str, Any]) -> None:
        result = results.get(row.reference)
        outcome = result.outcome if result is not None else Outcome.UNKNOWN
        if result is not None and outcome is Outcome.COMPLETED:
            row.status = "completed"
            self.at_point("apply.after_commit")
            row.pins = [code.value for code in result.codes]
        elif outcome in (Outcome.NOT_FOUND, Outcome.REJECTED, Outcome.OUT_OF_STOCK):
            row.status = "refunded"
        else:
            row.tries += 1
            self._publish(row, self._check, min(30 * 2.0**row.tries, 600))

    # The judge

    def judge(self) -> dict[str, int]:
        """The old tables joined with the providers' truth."""
        counts = dict.fromkeys(FINDINGS, 0)
        by_recipient = {row.wish.recipient: row for row in self.rows.values()}
        bought: dict[str, Decimal] = defaultdict(Decimal)
        for sold in purchase_rows(self.line.truth.all):
            row = by_recipient[sold["recipient"]]
            if sold["state"] in GONE:
                continue
            bought[sold["recipient"]] += Decimal(sold["quantity"]) / (10 if sold["dialect"] == "smm_v2" else 1)
            counts["wrong_refunds"] += row.status == "refunded"
            counts["lost_references"] += (
                sold["order_id"] != row.external_id and (sold["reference"] or "?") != row.reference
            )
            counts["lost_pins"] += row.wish.ware.needs_code and not set(sold["pins"]) <= set(row.pins)
        counts["double_purchases"] = sum(packs > 1 for packs in bought.values())
        counts["forgotten"] = sum(row.status not in ENDED for row in self.rows.values())
        counts["forgotten"] += len(self.wishes) - len(self.rows)
        return counts
