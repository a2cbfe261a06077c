"""Shows what asking costs at each provider account, or measures the learned policy against seven completion laws."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.orders.polling import learning
from apps.proof import polling

LEAST_ORDERS = 100


class Command(BaseCommand):
    """With --evaluate it reads no database; without, it writes nothing."""

    help = "Price of questions against lag for each provider account; --evaluate measures the policy in a simulation."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--evaluate", action="store_true", help="replay seven completion laws")
        parser.add_argument("--orders", type=int, default=20_000, help="orders for each law (default 20000)")
        parser.add_argument("--json", action="store_true", dest="as_json", help="one JSON object on each line")

    def handle(self, *args: Any, evaluate: bool, orders: int, as_json: bool, **options: Any) -> None:
        if orders < LEAST_ORDERS:
            raise CommandError(f"--orders must be at least {LEAST_ORDERS}")
        if evaluate:
            self._evaluate(orders, as_json)
        else:
            self._report(as_json)

    def _evaluate(self, orders: int, as_json: bool) -> None:
        lines = []
        for line in polling.table(orders):
            lines.append(line)
            self.stdout.write(json.dumps(polling.as_json(line)) if as_json else polling.in_words(line))
        for stretch in polling.stretches(orders):
            self.stdout.write(json.dumps(polling.as_json(stretch)) if as_json else polling.in_words(stretch))
        self.stdout.write(json.dumps(polling.verdict(lines)))

    def _report(self, as_json: bool) -> None:
        balances = list(learning.balances())
        for balance in balances:
            self.stdout.write(json.dumps(_as_json(balance)) if as_json else _in_words(balance))
        if not balances and not as_json:
            self.stdout.write("Nothing learned yet: no order that was asked about has ended.")


def _as_json(balance: learning.Balance) -> dict[str, object]:
    return {
        "integration": balance.integration.name,
        "policy": balance.policy,
        "completions": balance.completions,
        "price_s": round(balance.price_s, 2),
        "asked": round(balance.asked, 2),
        "paid_s": round(balance.paid_s, 1),
        "lag_s": round(balance.lag_s, 1),
        "balanced": balance.is_balanced,
    }


def _in_words(balance: learning.Balance) -> str:
    judged = "balanced" if balance.is_balanced else "out of balance"
    return (
        f"{balance.integration.name} ({balance.policy}): {balance.completions} completions; lately {balance.asked:.1f} "
        f"questions x {balance.price_s:g} s = {balance.paid_s:.0f} s against {balance.lag_s:.0f} s of lag: {judged}"
    )
