"""`manage.py prove`: play seeded runs of the real code under faults, on a database of its own, and judge them."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from argparse import ArgumentTypeError
from collections.abc import Iterator, Sequence
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from apps.proof import own_database
from apps.proof.report import Tally, as_line, story_lines
from apps.proof.run import Plan, play

INVALID = 2


def seeds_of(text: str) -> range:
    """`3..7` or `5`."""
    found = re.fullmatch(r"(\d{1,9})(?:\.\.(\d{1,9}))?", text)
    if not found or (found[2] and int(found[2]) < int(found[1])):
        raise ArgumentTypeError("give seeds as A..B")
    return range(int(found[1]), int(found[2] or found[1]) + 1)


class Command(BaseCommand):
    """Prints failing stories, then one line of JSON. Exit code 1: something was wrong; 2: too little went wrong."""

    help = "Prove 'never two purchases' by seeded simulations of the real code, on a database of its own."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        """What to play, where, and how much."""
        what = parser.add_mutually_exclusive_group(required=True)
        what.add_argument("--seeds", type=seeds_of, help="play these seeds, as A..B")
        what.add_argument("--seed", type=int, help="play one seed")
        parser.add_argument("--orders", type=int, default=50, help="orders in each seed")
        parser.add_argument("--jobs", type=int, default=1, help="processes, each with a database of its own")
        parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
        parser.add_argument("--trace", action="store_true", help="print every step of the one seed")
        parser.add_argument("--json", action="store_true", help="print one line of JSON at the end")

    def handle(self, *args: Any, **options: Any) -> None:
        """In a child: play here. Else: make a database and let children play."""
        if os.environ.get(own_database.WORKER):
            self._play_here(options)
            return
        tally = Tally()
        began = time.monotonic()
        for told in self._children(options):
            if "trace" in told:
                self.stdout.write(told["trace"])
            else:
                tally.add(told)
                self._tell(told)
        tally.seconds = time.monotonic() - began
        self._close(tally, is_json=options["json"])

    def _play_here(self, options: dict[str, Any]) -> None:
        for seed in _seeds(options):
            began = time.monotonic()
            played = play(Plan(seed, options["orders"]))
            for line in played.trace if options["trace"] else ():
                sys.stdout.write(json.dumps({"trace": line}) + "\n")
            sys.stdout.write(json.dumps(as_line(played, time.monotonic() - began)) + "\n")
            sys.stdout.flush()

    def _children(self, options: dict[str, Any]) -> Iterator[dict[str, Any]]:
        seeds = list(_seeds(options))
        jobs = max(1, min(options["jobs"], len(seeds)))
        with own_database.databases(options["database"], jobs) as environments:
            more = ["--orders", str(options["orders"]), *(["--trace"] if options["trace"] else [])]
            parts = [seeds[len(seeds) * n // jobs : len(seeds) * (n + 1) // jobs] for n in range(jobs)]
            words = [["--seeds", f"{part[0]}..{part[-1]}", *more] for part in parts]
            yield from _merged([own_database.start(*pair) for pair in zip(environments, words, strict=True)])

    def _tell(self, told: dict[str, Any]) -> None:
        for line in story_lines(told):
            self.stdout.write(line)

    def _close(self, tally: Tally, *, is_json: bool) -> None:
        counts = tally.as_dict()
        self.stdout.write(json.dumps(counts) if is_json else "\n".join(f"{k}: {v}" for k, v in counts.items()))
        if tally.is_wrong:
            raise CommandError("the proof found something wrong", returncode=1)
        if reason := tally.why_invalid():
            raise CommandError(f"INVALID, not green: {reason}", returncode=INVALID)


def _seeds(options: dict[str, Any]) -> range:
    return options["seeds"] or range(options["seed"], options["seed"] + 1)


def _merged(children: Sequence[subprocess.Popen[str]]) -> Iterator[dict[str, Any]]:
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


def _read(child: subprocess.Popen[str], lines: queue.Queue[str | None]) -> None:
    for line in child.stdout or ():
        lines.put(line)
    lines.put(None)
