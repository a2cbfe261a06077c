"""An SMM panel as a client speaks it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from urllib.parse import urlencode

from apps.simulator.probe import Probe, Told, post

STATES = {
    "Pending": "waiting",
    "In progress": "waiting",
    "Processing": "waiting",
    "Completed": "delivered",
    "Partial": "partial",
    "Canceled": "cancelled",
}


def _send(action: str, **fields: str) -> bytes:
    form = urlencode({"key": "demo-key", "action": action, **fields}).encode()
    return post("/smm_v2/api/v2", form, "application/x-www-form-urlencoded")


def _read(body: bytes) -> Told:
    told = json.loads(body)
    if told.get("error") == "Incorrect order ID":
        return Told("not_found")
    return Told(STATES.get(told.get("status"), "unknown"))


def _ask_many(pairs: Sequence[tuple[str, str]]) -> bytes:
    return _send("status", orders=",".join(order for _, order in pairs))


def _error(body: bytes) -> str:
    return str(json.loads(body).get("error", "")) if body.startswith(b"{") else ""


PROBE = Probe(
    recipient=lambda n: f"https://example.invalid/p/{n}",
    place=lambda reference, link, quantity: _send("add", service="1", link=link, quantity=str(quantity)),
    ask=lambda reference, order: _send("status", order=order),
    is_accepted=lambda body: body.startswith(b'{"order":'),
    is_refused=lambda body: (
        _error(body) in ("neworder.error.not_enough_funds", "neworder.error.service_not_found", "Invalid API key")
    ),
    read=_read,
    ask_many=_ask_many,
    read_many=lambda body: list(json.loads(body)),
    reads_as={"reversed": "cancelled"},
    gives_codes=False,
    has_reference=False,
)
