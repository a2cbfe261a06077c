"""Reloadly as a client speaks it: airtime PINs, placed async and found by our identifier in the report."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping

from apps.simulator.probe import Probe, Told, get, post, read_object

STATES = {"PROCESSING": "waiting", "SUCCESSFUL": "delivered", "FAILED": "cancelled", "REFUNDED": "reversed"}
REFUSALS = frozenset({"INSUFFICIENT_BALANCE", "INVALID_AMOUNT_FOR_OPERATOR", "PHONE_RECENTLY_RECHARGED"})
CREDENTIALS = {"client_id": "demo-client", "client_secret": "demo-secret", "grant_type": "client_credentials"}

_lent: dict[str, str] = {}


def _prepare() -> bytes:
    wish = CREDENTIALS | {"audience": "https://topups-sandbox.reloadly.com"}
    return post("/reloadly/oauth/token", json.dumps(wish).encode(), "application/json")


def _keep(body: bytes) -> None:
    _lent["token"] = json.loads(body)["access_token"]


def _headers() -> dict[str, str]:
    return {"Authorization": f"Bearer {_lent['token']}", "Accept": "application/com.reloadly.topups-v1+json"}


def _place(reference: str, recipient: str, quantity: int) -> bytes:
    phone = {"countryCode": "NG", "number": recipient}
    order = {"operatorId": 732, "amount": 5, "customIdentifier": reference, "recipientPhone": phone}
    return post("/reloadly/topups/topups-async", json.dumps(order).encode(), "application/json", _headers())


def _ask(reference: str, order_id: str) -> bytes:
    return get("/reloadly/topups/topups/reports/transactions", {"customIdentifier": reference}, _headers())


def _read(body: bytes) -> Told:
    """The newest transaction of the page; an empty page has none."""
    content = read_object(body).get("content")
    if not isinstance(content, list):
        return Told("unknown")
    if not content:
        return Told("not_found")
    pin = content[0]["pinDetail"]
    return Told(STATES.get(content[0]["status"], "unknown"), (pin["code"],) if pin else ())


def _is_signed(headers: Mapping[str, str], body: bytes, path: str, secret: str) -> bool:
    signed = body + b":" + headers["x-reloadly-request-timestamp"].encode()
    return headers["x-reloadly-signature"] == hmac.new(secret.encode(), signed, hashlib.sha256).hexdigest()


PROBE = Probe(
    recipient=lambda n: f"+234{n:09d}",
    place=_place,
    ask=_ask,
    is_accepted=lambda body: set(read_object(body)) == {"transactionId"},
    is_refused=lambda body: read_object(body).get("errorCode") in REFUSALS,
    read=_read,
    is_signed=_is_signed,
    prepare=_prepare,
    keep=_keep,
    reads_as={"partial": "delivered"},
    shown=lambda pins: tuple(pins[-1:]),
)
