"""Run with the hub's settings when all is quiet: its tables joined with what the providers really did."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import django

if TYPE_CHECKING:
    from apps.orders.models import Attempt
    from apps.proof.verdict import Books, Verdict


def main(truth: Path, wishes: Path, logs: Path) -> None:
    """Print the verdict as one line of JSON."""
    from django.db import connection

    from apps.common import clock
    from apps.ops.invariants import violations
    from apps.proof.shop import WARES, Wish
    from apps.proof.verdict import Books, Facts, judge
    from apps.simulator.ledger import read_truth

    wares = {ware.name: ware for ware in WARES}
    told = [
        Wish(row["number"], wares[row["package"]], None, row["quantity"])  # type: ignore[arg-type]
        for row in json.loads(wishes.read_text())
    ]
    facts = Facts(told, read_truth(truth), (), clock.now(), {})
    verdict, books = judge(facts), Books(facts)
    result = {
        "orders": verdict.orders,
        "purchases": verdict.purchases,
        "statuses": verdict.by_status,
        "in_doubt": verdict.in_doubt,
        "resolved_without_person": verdict.resolved,
        "wrong": {kind: list(texts) for kind, texts in verdict.wrong.items()},
        "unwritten": _unwritten(books),
        "not_adopted": _not_adopted(books, verdict),
        "late_sends": _late_sends(books),
        "broken": [line for found in violations(connection) for line in found.lines()],
        "secrets": _secrets_in(logs, books),
    }
    sys.stdout.write(json.dumps(result, default=str) + "\n")


def _attempts_of_rows(books: Books) -> list[tuple[dict[str, Any], Attempt]]:
    """Purchases whose attempt is known by its reference, where a question is no purchase."""
    pairs = [(row, books.by_reference.get(row["reference"])) for row in books.rows if row["reference"]]
    return [(row, each) for row, each in pairs if each and not each.integration.caps().ask_may_create]


def _unwritten(books: Books) -> list[str]:
    """I2: purchases that arrived before their attempt was written."""
    return [
        f"attempt {attempt.pk} was written after its purchase"
        for row, attempt in _attempts_of_rows(books)
        if _at(row["bought_at"]) < attempt.created_at
    ]


def _late_sends(books: Books) -> int:
    """I4, as far as it can be seen from outside: purchases that arrived when even a slow line had no time left."""
    slack_s = 5.0
    return sum(
        (_at(row["bought_at"]) - attempt.send_deadline_at).total_seconds()
        > attempt.integration.caps().place_timeout_s + slack_s
        for row, attempt in _attempts_of_rows(books)
    )


def _not_adopted(books: Books, verdict: Verdict) -> list[str]:
    """I12: attempts in doubt though their provider has ended the purchase and can be asked for it by our reference."""
    return [
        f"attempt {attempt.pk} of order {attempt.order_id} is in doubt, and {row['dialect']} has it as {row['state']}"
        for row, attempt in _attempts_of_rows(books)
        if attempt.state == "in_doubt" and row["state"] != "waiting" and attempt.integration.caps().find_by_own_ref
    ]


def _at(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _secrets_in(folder: Path, books: Books) -> int:
    """How many PINs and credentials stand in the logs."""
    logs = "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("*.log")))
    pins = {pin for row in books.rows for pin in row["pins"]}
    return sum(secret in logs for secret in {*pins, "demo-secret", "demo-key"} if len(secret) >= 6)


if __name__ == "__main__":
    django.setup()
    main(*map(Path, sys.argv[1:]))
