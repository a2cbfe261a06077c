"""`manage.py reconcile`: compare what a provider says it sold us, in a file or in its own list, with our books."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.common import clock
from apps.orders.reconciling.aligning import Period
from apps.orders.reconciling.asking import NotListed, Patience, ask_for_statement
from apps.orders.reconciling.dialects import PRESETS, BadDialect, Dialect, preset_of, read_dialect
from apps.orders.reconciling.importing import Brought, Busy, NotReadable, Result, import_statement, preview
from apps.orders.reconciling.lines import BYTES_LIMIT
from apps.providers.models import Integration

ASKED_FOR = timedelta(days=2)
"""What time a list is asked for where none is named: a daily run overlaps the one before."""

PATIENCE = timedelta(minutes=15)
"""How long all pages of a list may take."""


class Command(BaseCommand):
    """Reads the statement, keeps it with every difference, mends what is certain, and says what it found."""

    help = "Compare a provider's statement (CSV, JSON, or asked from the provider) with our purchases at one account."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Which file of which account, how to read it, and what time it covers."""
        parser.add_argument("file", type=Path, nargs="?", help="the statement; none where the provider is asked")
        account = parser.add_mutually_exclusive_group(required=True)
        account.add_argument("--integration", type=int, help="number of the provider account that the file is of")
        account.add_argument("--ask", type=int, metavar="INTEGRATION", help="ask this provider account for its list")
        parser.add_argument(
            "--dialect", default="", help=f"a JSON file, or one of: {', '.join(PRESETS)} (default: that of the kind)"
        )
        parser.add_argument(
            "--from", "--since", dest="start", default="", help="first moment that it covers, with its zone"
        )
        parser.add_argument("--to", "--until", dest="end", default="", help="last moment that it covers, with its zone")
        parser.add_argument("--dry-run", action="store_true", help="only say what would be found")
        parser.add_argument("--json", action="store_true", help="print the result as one line of JSON")

    def handle(self, *args: Any, **options: Any) -> None:
        """Read, compare, print; exit code 1 for a statement that cannot be taken."""
        number = options["integration"] if options["ask"] is None else options["ask"]
        account = Integration.objects.filter(pk=number).first()
        if account is None:
            raise CommandError(f"There is no provider account {number}.")
        _check_source(options)
        act = preview if options["dry_run"] else import_statement
        try:
            brought = _listed(account, options) if options["file"] is None else _brought(account, options)
            result = act(account, brought, clock.now())
        except NotReadable as error:
            told = [f"line {fault.number}: {fault.text}" if fault.number else fault.text for fault in error.faults]
            raise CommandError("Nothing was kept.\n" + "\n".join(told)) from error
        except (BadDialect, Busy, NotListed, OSError, ValueError) as error:
            raise CommandError(f"Nothing was kept. {error.__doc__ if isinstance(error, Busy) else error}") from error
        self.stdout.write(json.dumps(as_told(result)) if options["json"] else in_words(result))


def _check_source(options: dict[str, Any]) -> None:
    """Raise `CommandError` unless there is either a file or an account to ask."""
    is_asked = options["ask"] is not None
    if is_asked and (options["file"] is not None or options["dialect"]):
        raise CommandError("--ask brings the statement itself: leave out the file and its dialect.")
    if not is_asked and options["file"] is None:
        raise CommandError("Name the file, or ask the provider for its list with --ask.")


def _brought(account: Integration, options: dict[str, Any]) -> Brought:
    path: Path = options["file"]
    with path.open("rb") as file:
        content = file.read(BYTES_LIMIT + 1)
    period = _period(options["start"], options["end"]) if options["start"] or options["end"] else None
    return Brought(content, _dialect(account, options["dialect"]), period, "manage.py", path.name)


def _listed(account: Integration, options: dict[str, Any]) -> Brought:
    """The provider's list until now, or of the time that is named."""
    end = options["end"] or clock.now().isoformat()
    start = options["start"] or (datetime.fromisoformat(end) - ASKED_FOR).isoformat()
    return ask_for_statement(account, _period(start, end), "manage.py", Patience(PATIENCE))


def _dialect(account: Integration, named: str) -> Dialect:
    name = named or preset_of(account.kind)
    return PRESETS[name] if name in PRESETS else read_dialect(Path(name).read_text("utf-8"))


def _period(start: str, end: str) -> Period:
    period = Period(datetime.fromisoformat(start), datetime.fromisoformat(end))
    if period.starts_at.tzinfo is None or period.ends_at.tzinfo is None or period.ends_at < period.starts_at:
        raise ValueError("Write both times with their zone, the first one first: 2026-03-01T00:00:00+03:00")
    return period


def as_told(result: Result) -> dict[str, Any]:
    """The result as plain values."""
    return {
        "statement": result.statement.pk if result.statement else None,
        "is_new": result.is_new,
        "from": result.period.starts_at.isoformat(),
        "to": result.period.ends_at.isoformat(),
        "lines": len(result.lines),
        "lines_new": result.lines_new,
        "differences": result.differences,
        "mended": result.mended,
        "by_kind": result.counts,
    }


def in_words(result: Result) -> str:
    """The result as a person reads it."""
    told = as_told(result)
    kinds = ", ".join(f"{name} {count}" for name, count in result.counts.items()) or "nothing"
    known = "" if result.is_new else " This file was here before: nothing was compared again."
    return (
        f"{told['lines']} lines, {told['lines_new']} of them new. {kinds}; mended by itself: {told['mended']}.{known}"
    )
