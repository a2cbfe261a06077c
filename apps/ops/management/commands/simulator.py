"""`manage.py simulator`: a provider to buy from that keeps a truth ledger, as a process of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandParser

ROOT = Path(__file__).resolve().parents[4]
VALUES = ("port", "truth", "seed", "mix", "dialect", "login", "password", "balance", "bench", "delay")
FLAGS = ("selftest", "json", "measure")


class Command(BaseCommand):
    """Hands its options to the simulator and ends with its exit code; the simulator checks their values."""

    help = "Run the provider simulator, its self-test, or a measure of its speed."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: CommandParser) -> None:
        """The options of `python -m apps.simulator`, with a port and a ledger that need not be named."""
        parser.add_argument("--port", type=int, default=8799, help="where it listens on this machine; 0: any free one")
        parser.add_argument(
            "--truth", type=Path, default=settings.DATA_DIR / "simulator.jsonl", help="the truth ledger"
        )
        parser.add_argument("--seed", help="draws fates and PINs")
        parser.add_argument("--mix", help="fates of orders without a script: none, demo, law-A to law-G")
        parser.add_argument("--dialect", help="whose account the next three are")
        parser.add_argument("--login")
        parser.add_argument("--password")
        parser.add_argument("--balance", help="of a new ledger")
        parser.add_argument("--bench", help="answer ZNET status questions only, fast: delivered or waiting")
        parser.add_argument("--delay", help="seconds before each answer in bench mode")
        parser.add_argument("--selftest", action="store_true", help="run each fault against each dialect, and end")
        parser.add_argument("--json", action="store_true", help="of the self-test: only failures and the verdict")
        parser.add_argument("--measure", action="store_true", help="print requests per second of each mode, and end")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run it to its end."""
        raise SystemExit(_run([sys.executable, "-m", "apps.simulator", *_arguments(options)]))


def _arguments(options: dict[str, Any]) -> list[str]:
    values = [f"--{name}={options[name]}" for name in VALUES if options[name] is not None]
    return values + [f"--{name}" for name in FLAGS if options[name]]


def _run(command: list[str]) -> int:
    """Wait for the child, which a Ctrl-C reaches by itself."""
    with subprocess.Popen(command, cwd=ROOT) as process:  # noqa: S603 (our own)
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue
