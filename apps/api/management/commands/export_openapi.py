"""Writes the description of the REST API into docs/openapi.json, or checks the one that is there."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from apps.api.urls import describe_api

PLACE = Path(__file__).resolve().parents[4] / "docs" / "openapi.json"


class Command(BaseCommand):
    """`manage.py export_openapi [--check]`."""

    help = "Write docs/openapi.json, the OpenAPI 3.1 description of the REST API."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The options."""
        parser.add_argument("--check", action="store_true", help="write nothing, fail when the file is not up to date")

    def handle(self, *args: Any, **options: Any) -> None:
        """Write or check."""
        text = describe_api()
        if not options["check"]:
            PLACE.write_text(text, encoding="utf-8")
        elif not PLACE.exists() or PLACE.read_text(encoding="utf-8") != text:
            raise CommandError("docs/openapi.json is not up to date: run python manage.py export_openapi")
