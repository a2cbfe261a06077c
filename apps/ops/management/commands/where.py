"""`manage.py where ORDER|PACKAGE`: where it would go, and why, without doing it."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.core.serializers.json import DjangoJSONEncoder

from apps.catalog.models import Package
from apps.common import clock
from apps.ops import where
from apps.ops.where import Answer, Verdict


class Command(BaseCommand):
    """Prints every route with what speaks against it, and where the order would go. Writes nothing, sends nothing."""

    help = "Say where an order, or an order for a package, would go now, and why; nothing is sent or changed."

    def add_arguments(self, parser: CommandParser) -> None:
        """The order's number or the package's code; for a package also for whom."""
        parser.add_argument("subject", metavar="ORDER|PACKAGE", help="the number of an order or the code of a package")
        parser.add_argument("--customer", type=int, metavar="ID", help="with a package: for this customer")
        parser.add_argument("--shop", default="", metavar="NAME", help="the shop's short name, where several are meant")
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object instead of text")

    def handle(self, *args: Any, **options: Any) -> None:
        """Ask, and tell."""
        try:
            answer = self._ask(options)
        except where.NotFound as error:
            raise CommandError(str(error)) from error
        if options["as_json"]:
            told = {**asdict(answer), "picked": answer.picked.route if answer.picked else None}
            self.stdout.write(json.dumps(told, cls=DjangoJSONEncoder))
        else:
            self._tell(answer)

    def _ask(self, options: dict[str, Any]) -> Answer:
        now, subject = clock.now(), where.load_subject(options["subject"], options["shop"])
        if not isinstance(subject, Package):
            return where.where_order(subject, now)
        number = options["customer"]
        return where.where_package(subject, where.load_customer(subject, number) if number else None, now)

    def _tell(self, answer: Answer) -> None:
        self.stdout.write(" · ".join(filter(None, [answer.about, answer.standing, f"strategy {answer.strategy}"])))
        for note in answer.notes:
            self.stdout.write(f"  note: {note}")
        for number, verdict in enumerate(answer.verdicts, start=1):
            self.stdout.write(f"  {number}. {_line(verdict, is_picked=verdict is answer.picked)}")
        picked = answer.picked
        ids = ", ".join(f"{name}={value}" for name, value in picked.product.items()) if picked else ""
        self.stdout.write(
            f"would go to {picked.provider}: {picked.units} unit(s) of {ids}" if picked else "would not go anywhere now"
        )


def _line(verdict: Verdict, *, is_picked: bool) -> str:
    word = "PICKED" if is_picked else verdict.reason or "open"
    facts = [
        f"position {verdict.position}",
        f"weight {verdict.weight}",
        f"group {verdict.price_group}" if verdict.price_group else "",
        f"costs {verdict.unit_cost}" if verdict.unit_cost else "cost not known",
        f"until {verdict.retry_at:%Y-%m-%d %H:%M:%S} UTC" if verdict.retry_at else "",
    ]
    return f"{verdict.provider}: {word} ({', '.join(filter(None, facts))})"
