"""`python manage.py unlock NAME`: lets somebody sign in again who was locked out."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.db import transaction

from apps.accounts import second_factor, tries
from apps.accounts.models import User
from apps.common import clock
from apps.journal import audit
from apps.journal.audit import Action


class Command(BaseCommand):
    """Gives all tries back; with --second-factor takes a lost telephone's factor away as well."""

    help = "Lets somebody sign in again: gives all tries back. Recorded like every change."

    def add_arguments(self, parser: CommandParser) -> None:
        """Who, and what more."""
        parser.add_argument("name", help="the username")
        parser.add_argument(
            "--second-factor", action="store_true", help="also take the second factor away, for a lost telephone"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Do it, and say what was done."""
        person, now = User.objects.filter(username=options["name"]).first(), clock.now()
        if person is None:
            raise CommandError(f"There is nobody named {options['name']!r}.")
        with transaction.atomic():
            tries.forgive(tries.ACCOUNT, person.get_username())
            tries.forgive(tries.SECOND, str(person.pk))
            if options["second_factor"]:
                second_factor.turn_off(person, now)
            audit.record(Action.UNLOCKED, person, None, now)
        self.stdout.write(f"{person.get_username()} may try again at once.")
