"""The contract for people who fulfil by hand."""

from __future__ import annotations

from apps.providers.contract import AskPerson, Outcome, PersonAsked
from tests.contract.local_suite import LocalContract


class TestManual(LocalContract):
    kind = "manual"
    call = AskPerson()
    answers = {PersonAsked(): Outcome.ACCEPTED}
