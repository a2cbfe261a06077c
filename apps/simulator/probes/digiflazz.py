"""Digiflazz as a client speaks it: the same post places an order and, again, asks for it."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any

from apps.simulator.probe import Probe, Told, post, read_object

USERNAME, KEY = "demo", "demo-secret"
STATES = {"00": "delivered", "03": "waiting", "99": "waiting", "01": "cancelled", "02": "cancelled", "74": "reversed"}
REFUSALS = frozenset({"40", "41", "42", "43", "44", "45", "53", "55", "61", "63", "66", "68", "69"})

_customers: dict[str, str] = {}


def _place(reference: str, recipient: str, quantity: int) -> bytes:
    _customers[reference] = recipient
    sign = hashlib.md5(f"{USERNAME}{KEY}{reference}".encode()).hexdigest()  # noqa: S324 (the protocol's own)
    order = {"username": USERNAME, "buyer_sku_code": "gp50", "customer_no": recipient, "ref_id": reference}
    body = json.dumps(order | {"sign": sign}).encode()
    return post("/digiflazz/v1/transaction", body, "application/json")


def _ask(reference: str, order_id: str) -> bytes:
    return _place(reference, _customers[reference], 1)


def _data(body: bytes) -> dict[str, Any]:
    data = read_object(body).get("data")
    return data if isinstance(data, dict) else {}


def _read(body: bytes) -> Told:
    """`rc` decides; a blank or a dash in `sn` is no code."""
    data = _data(body)
    if data.get("rc") == "50":
        return Told("not_found")
    serial = data.get("sn", "")
    return Told(STATES.get(data.get("rc", ""), "unknown"), (serial,) if serial.strip(" -") else ())


def _is_signed(headers: Mapping[str, str], body: bytes, path: str, secret: str) -> bool:
    wanted = hmac.new(secret.encode(), body, hashlib.sha1).hexdigest()
    return hmac.compare_digest(headers.get("x-hub-signature", ""), f"sha1={wanted}")


PROBE = Probe(
    recipient=lambda n: f"0878{n:08d}",
    place=_place,
    ask=_ask,
    is_accepted=lambda body: _data(body).get("rc") in STATES,
    is_refused=lambda body: _data(body).get("rc") in REFUSALS,
    read=_read,
    is_signed=_is_signed,
    reads_as={"partial": "delivered"},
    shown=lambda pins: tuple(pins[-1:]),
    asks_may_buy=True,
)
