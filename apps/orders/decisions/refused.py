"""Why a decision of a person was not carried out: one error for each thing that the person can do about it."""

from __future__ import annotations

from apps.orders.models import Approval


class DecisionRefused(Exception):
    """A decision that was not carried out: nothing was written, no money moved. The text says what to do."""


class NotFound(DecisionRefused):
    """There is no such order, attempt, case or request in the shops of this person."""


class NotAllowed(DecisionRefused):
    """The person has no right to decide this in this shop."""


class BadInput(DecisionRefused):
    """What was entered cannot be right. `field` names it; `unit` is the unit it is about (0: none)."""

    def __init__(self, detail: str, field: str, unit: int = 0) -> None:
        super().__init__(detail)
        self.field = field
        self.unit = unit


class NotPossible(DecisionRefused):
    """The order does not stand where this could be done; the text names what can be done instead."""


class CodeKnown(BadInput):
    """A code was delivered or is on a shelf already: it must be confirmed."""


class NotCovered(DecisionRefused):
    """The customer's balance and credit do not cover what would be charged."""


class SecondPersonNeeded(DecisionRefused):
    """One person may not do this; the text says who else must, or how the only person of a shop proves it."""


class TooEarly(DecisionRefused):
    """The only person of a shop may do this later."""


class AlreadyAsked(DecisionRefused):
    """The same waits for a second person already: confirm or decline `approval`."""

    def __init__(self, detail: str, approval: Approval) -> None:
        super().__init__(detail)
        self.approval = approval


class AlreadyDecided(DecisionRefused):
    """Somebody else has decided this."""
