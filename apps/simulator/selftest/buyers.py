"""A buyer of the self-test: one order as its client knows it, beside what the truth ledger says of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from apps.simulator.client import ControlClient
from apps.simulator.dialect import Dialect
from apps.simulator.ledger import Entry, Tail, purchase_rows
from apps.simulator.probe import Probe, Told
from apps.simulator.rawline import Ended, Seen, exchange
from apps.simulator.world import State

PATIENCE_S = 10.0
SHORT_S = 0.2
LATER_S = 600.0
AFTER_S = LATER_S + 1
QUIET = (Ended.SILENCE, Ended.SLOW)


class Mismatch(Exception):
    """What was seen is not what the document or the truth ledger says."""


def check(is_right: bool, what: str, found: object) -> None:
    if not is_right:
        raise Mismatch(f"{what}; found {found!r}")


_numbers = itertools.count(1)


class Shop:
    """One dialect of a running simulator, asked as a client would and watched through the control API."""

    def __init__(self, control: ControlClient, ledger: Tail, dialect: Dialect, probe: Probe) -> None:
        self.control = control
        self._ledger = ledger
        self.dialect = dialect
        self.probe = probe
        if probe.prepare:
            probe.keep(self.send(probe.prepare()).body)

    def send(self, request: bytes, patience_s: float = PATIENCE_S) -> Seen:
        return exchange(self.control.port, request, patience_s)

    def truth(self) -> list[Entry]:
        """The whole ledger; the ping makes sure that what was sent before it has been read."""
        self.control.ping()
        return self._ledger.entries()

    def order(self, quantity: int = 1, **fate: Any) -> Buyer:
        """A new reference and recipient whose purchases have this fate."""
        number = next(_numbers)
        reference = f"{number:08x}-0000-4000-8000-000000000000" if self.probe.wants_uuid else f"{10**11 + number}"
        buyer = Buyer(self, reference, self.probe.recipient(number), quantity)
        self.control.set_fate(recipient=buyer.recipient, **fate)
        return buyer

    def word(self, state: State) -> str:
        return self.dialect.words.states[state]


@dataclass
class Buyer:
    """One order as its client knows it, beside what the truth ledger says of it."""

    shop: Shop
    reference: str
    recipient: str
    quantity: int

    def place(self, patience_s: float = PATIENCE_S) -> Seen:
        return self.shop.send(self.shop.probe.place(self.reference, self.recipient, self.quantity), patience_s)

    def ask_line(self, patience_s: float = PATIENCE_S) -> Seen:
        """Ask about it."""
        return self.shop.send(self.shop.probe.ask(self.reference, self.order_id), patience_s)

    def ask(self) -> Told:
        seen = self.ask_line()
        check(seen.ended is Ended.WHOLE, "a whole answer", seen)
        return self.shop.probe.read(seen.body)

    def truth(self) -> list[dict[str, Any]]:
        """Its purchases in the truth ledger, the oldest first."""
        rows = purchase_rows(self.shop.truth())
        return [row for row in rows if (row["dialect"], row["recipient"]) == (self.shop.dialect.name, self.recipient)]

    @property
    def order_id(self) -> str:
        rows = self.truth()
        return str(rows[-1]["order_id"]) if rows else "0"


Sight = Callable[[Seen, Probe], bool]


def _status(number: int) -> Sight:
    return lambda seen, probe: seen.ended is Ended.WHOLE and seen.status == number


def _ended(*ends: Ended) -> Sight:
    return lambda seen, probe: seen.ended in ends


SIGHTS: dict[str, Sight] = {
    "accepted": lambda seen, probe: seen.ended is Ended.WHOLE and probe.is_accepted(seen.body),
    "refused": lambda seen, probe: seen.ended is Ended.WHOLE and probe.is_refused(seen.body),
    "neither": lambda seen, probe: (
        seen.ended is Ended.WHOLE and not probe.is_accepted(seen.body) and not probe.is_refused(seen.body)
    ),
    "quiet": _ended(*QUIET),
    "reset": _ended(Ended.RESET),
    "cut": _ended(Ended.CUT),
    "flood": _ended(Ended.FLOOD),
    "no connection": _ended(Ended.REFUSED),
    "empty": lambda seen, probe: (seen.ended, seen.status, seen.body) == (Ended.WHOLE, 200, b""),
    "html": lambda seen, probe: seen.status == 200 and seen.body.startswith(b"<!DOCTYPE html>"),
    "redirect": lambda seen, probe: seen.status == 302 and "location" in seen.headers,
    **{str(number): _status(number) for number in (429, 500, 502, 503, 504)},
}


def short(seen: Seen) -> tuple[object, ...]:
    """A sight in a few words, for a message."""
    return seen.ended, seen.status, seen.body[:200]
