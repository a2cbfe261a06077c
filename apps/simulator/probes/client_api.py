"""The client API as a client speaks it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from apps.simulator.probe import Probe, Told, get, read_object

TOKEN = {"api-token": "demo-secret"}
STATES = {"wait": "waiting", "accept": "delivered", "reject": "cancelled"}
REFUSALS = frozenset({100, 105, 106, 107, 109, 110, 112, 113, 120, 121, 122, 123})


BLANKS = frozenset({"", "-"})

_references: dict[str, str] = {}


def _place(reference: str, recipient: str, quantity: int) -> bytes:
    _references[recipient] = reference
    order = {"qty": str(quantity), "order_uuid": reference, "note": recipient}
    return get("/client_api/client/api/newOrder/102/params", order, TOKEN)


def _ask(reference: str, order_id: str) -> bytes:
    return get("/client_api/client/api/check", {"orders": f"[{reference}]", "uuid": "1"}, TOKEN)


def _ask_many(names: Sequence[tuple[str, str]]) -> bytes:
    orders = ",".join(order_id for _, order_id in names)
    return get("/client_api/client/api/check", {"orders": f"[{orders}]"}, TOKEN)


def _is_accepted(body: bytes) -> bool:
    told = read_object(body)
    return told.get("status") == "OK" and bool(told["data"].get("order_id"))


def _read(body: bytes) -> Told:
    """A list of orders; a leaf of `replay_api` is a code, or words for people."""
    told = read_object(body)
    if told.get("status") != "OK":
        return Told("unknown")
    if not told["data"]:
        return Told("not_found")
    row = told["data"][0]
    codes = tuple(leaf for leaf in row["replay_api"] or () if leaf.strip() not in BLANKS)
    return Told(STATES.get(row["status"], "unknown"), codes)


def _read_many(body: bytes) -> list[str]:
    """Our references; no answer names one, so an order is known by what it repeats of its parameters."""
    return [_references[row["data"]["note"]] for row in read_object(body)["data"]]


def _is_signed(headers: Mapping[str, str], body: bytes, path: str, secret: str) -> bool:
    sent_at, nonce = headers.get("x-webhook-timestamp", ""), headers.get("x-webhook-nonce", "")
    signed = "\n".join(("POST", path, sent_at, nonce, hashlib.sha256(body).hexdigest()))
    wanted = hmac.new(secret.encode(), signed.encode(), hashlib.sha256).hexdigest()
    return hmac.compare_digest(headers.get("x-webhook-signature", ""), wanted)


PROBE = Probe(
    recipient=lambda n: f"5{n:07d}",
    place=_place,
    ask=_ask,
    is_accepted=_is_accepted,
    is_refused=lambda body: read_object(body).get("code") in REFUSALS,
    read=_read,
    ask_many=_ask_many,
    read_many=_read_many,
    is_signed=_is_signed,
    reads_as={"reversed": "cancelled", "partial": "delivered"},
    wants_uuid=True,
)
