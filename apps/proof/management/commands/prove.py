"""`manage.py prove`: play seeded runs of the real code under faults, on a database of its own, and judge them."""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from argparse import SUPPRESS, ArgumentTypeError
from collections.abc import Iterator, Sequence
from types import FrameType
from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.proof import own_database, report
from apps.proof.baseline import play_baseline
from apps.proof.mutants import MUTANTS, try_mutant
from apps.proof.points import PROVIDERS, RESUMERS, play_group
from apps.proof.run import Plan, play
from apps.proof.shrink import shrink

INVALID = 2

Told = dict[str, Any]


def seeds_of(text: str) -> range:
    """`3..7` or `5`."""
    found = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", text)
    if not found or (found[2] and int(found[2]) < int(found[1])):
        raise ArgumentTypeError("give seeds as A..B")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


class Command(BaseCommand):
    """Prints failing stories, then the counts. Exit code 1: something was wrong; 2: too little went wrong."""

    help = "Prove 'never two purchases' by seeded simulations of the real code, on a database of its own."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """What to play, where, and how much."""
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--seeds", type=seeds_of, help="play these seeds, as A..B")
        what.add_argument("--seed", type=int, help="play one seed")
        what.add_argument("--crash-points", action="store_true", help="every checkpoint with every fault")
        what.add_argument("--mutants", action="store_true", help="switch every guard off in turn; each must be missed")
        what.add_argument("--baseline", type=seeds_of, nargs="?", const="1..20", help="the old algorithm, same seeds")
        parser.add_argument("--orders", type=int, default=50, help="orders in each seed")
        parser.add_argument("--jobs", type=int, default=1, help="processes, each with a database of its own")
        parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
        parser.add_argument("--trace", action="store_true", help="print every step of the one seed")
        parser.add_argument("--json", action="store_true", help="print one line of JSON at the end")
        parser.add_argument("--only", default="", help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        """In a child: play here. Else: make a database and let children play."""
        if options["trace"] and options["seed"] is None:
            raise CommandError("--trace is for one seed: give it with --seed")
        name = next(name for name in MODES if options[name] is not None and options[name] is not False)
        mode = MODES[name]
        if os.environ.get(own_database.WORKER):
            for part in options["only"].split(","):
                for told in mode.play(part, options):
                    sys.stdout.write(json.dumps(told) + "\n")
                    sys.stdout.flush()
            return
        signal.signal(signal.SIGTERM, _leave)  # the servers and children of this run end with it
        began = time.monotonic()
        tally = mode.tally()
        for told in self._children(name, mode.parts(options), options):
            if "trace" in told:
                self.stdout.write(told["trace"])
                continue
            tally.add(told)
            for line in tally.lines(told):
                self.stdout.write(line)
        self._close(tally, time.monotonic() - began, is_json=options["json"])

    def _children(self, name: str, parts: Sequence[str], options: dict[str, Any]) -> Iterator[Told]:
        jobs = max(1, min(options["jobs"], len(parts)))
        with own_database.databases(options["database"], jobs) as environments:
            more = ["--orders", str(options["orders"]), *(["--trace"] if options["trace"] else [])]
            words = [[*MODES[name].words, *more, "--only", ",".join(parts[n::jobs])] for n in range(jobs)]
            yield from _merged([own_database.start(*pair) for pair in zip(environments, words, strict=True)])

    def _close(self, tally: report.Tally, seconds: float, *, is_json: bool) -> None:
        counts = tally.as_dict(seconds)
        self.stdout.write(json.dumps(counts) if is_json else "\n".join(f"{k}: {v}" for k, v in counts.items()))
        if tally.is_wrong:
            raise CommandError("the proof found something wrong: it is told above", returncode=1)
        if reason := tally.why_invalid():
            raise CommandError(f"INVALID, not green: {reason}", returncode=INVALID)


class Seeds:
    """Seeded runs."""

    words = ("--seed", "0")
    tally: type[report.Tally] = report.Seeds

    def parts(self, options: dict[str, Any]) -> list[str]:
        """What can be played apart."""
        return [str(seed) for seed in options["seeds"] or [options["seed"]]]

    def play(self, part: str, options: dict[str, Any]) -> Iterator[Told]:
        """Play one of them here; a failing one is told smaller."""
        began = time.monotonic()
        plan = Plan(int(part), options["orders"])
        played = play(plan)
        if options["trace"]:
            yield from ({"trace": line} for line in played.trace)
        told = report.as_line(played, time.monotonic() - began)
        if not played.verdict.is_good and not options["trace"]:
            told["story"] = shrink(played)
        yield told


class CrashPoints:
    """Every checkpoint with every fault."""

    words = ("--crash-points",)
    tally: type[report.Tally] = report.CrashPoints

    def parts(self, options: dict[str, Any]) -> list[str]:
        """What can be played apart."""
        return [f"{provider}/{resumer}" for provider in PROVIDERS for resumer in RESUMERS]

    def play(self, part: str, options: dict[str, Any]) -> Iterator[Told]:
        """Play one group here."""
        provider, _, resumer = part.partition("/")
        found = play_group(provider, resumer)
        yield found.as_line(provider, resumer)


class Mutants:
    """Every guard off in turn."""

    words = ("--mutants",)
    tally: type[report.Tally] = report.Mutants

    def parts(self, options: dict[str, Any]) -> list[str]:
        """What can be played apart."""
        return [mutant.name for mutant in MUTANTS]

    def play(self, part: str, options: dict[str, Any]) -> Iterator[Told]:
        """Try one of them here."""
        result = try_mutant(next(mutant for mutant in MUTANTS if mutant.name == part))
        yield result.as_line()


class Baseline:
    """The old algorithm under the same seeds."""

    words = ("--baseline", "0")
    tally: type[report.Tally] = report.Baseline

    def parts(self, options: dict[str, Any]) -> list[str]:
        """What can be played apart."""
        return [str(seed) for seed in options["baseline"]]

    def play(self, part: str, options: dict[str, Any]) -> Iterator[Told]:
        """Play one seed here."""
        yield play_baseline(int(part), options["orders"])


MODES: dict[str, Seeds | CrashPoints | Mutants | Baseline] = {
    "seeds": Seeds(),
    "seed": Seeds(),
    "crash_points": CrashPoints(),
    "mutants": Mutants(),
    "baseline": Baseline(),
}


def _leave(number: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)


def _merged(children: Sequence[subprocess.Popen[str]]) -> Iterator[Told]:
    """The answers of all children as they come; raises `CommandError` when one ends badly."""
    lines: queue.Queue[str | None] = queue.Queue()
    for child in children:
        threading.Thread(target=_read, args=(child, lines), daemon=True).start()
    try:
        open_ones = len(children)
        while open_ones:
            line = lines.get()
            if line is None:
                open_ones -= 1
            else:
                yield json.loads(line)
        if any(child.wait() for child in children):
            raise CommandError("a process of the proof ended badly; what it said stands above")
    finally:
        for child in children:
            child.kill()
            child.wait()
            if child.stdout:
                child.stdout.close()


def _read(child: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    for line in child.stdout or ():
        lines.put(line)
    lines.put(None)
