"""Looks the installation over and says what is wrong and what to do about it."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import BaseCommand

from apps.common import clock
from apps.ops import doctor
from apps.ops.findings import ERROR, Finding


class Command(BaseCommand):
    """Exit code 1 when a finding is an error; warnings alone are fine. Reads, and sends one message to a worker."""

    help = "Looks the installation over: database, broker, loops, orders, money, machine. Exit code 1 on an error."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--json", action="store_true", dest="as_json", help="print one JSON object instead of text")

    def handle(self, *args: Any, as_json: bool, **options: Any) -> None:
        findings = doctor.examine(clock.now())
        is_ok = doctor.is_ok(findings)
        if as_json:
            self.stdout.write(json.dumps({"ok": is_ok, "findings": [asdict(finding) for finding in findings]}))
        else:
            self._tell(findings)
        if not is_ok:
            raise SystemExit(1)

    def _tell(self, findings: list[Finding]) -> None:
        for finding in findings:
            self.stdout.write(f"{finding.level.upper():<8}{finding.check}: {finding.found}")
            self.stdout.write(f"        {finding.remedy}")
        troubles = sum(finding.level == ERROR for finding in findings)
        self.stdout.write(f"{len(doctor.CHECKS)} checks, {troubles} errors, {len(findings) - troubles} warnings.")
