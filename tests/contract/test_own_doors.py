"""Our own doors as providers, against the shared contract: the replies are those that the doors really give.

That they are is shown in `tests/functional/test_own_doors`, over a real socket.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal

from apps.common.wire import HttpReply
from apps.providers.contract import Account, OrderRef, PlaceRequest
from tests.contract.suite import AdapterContract, InBatches, WithCatalogue, WithCodes, WithReference

KEY_ID, KEY = "hub_00a1", "hub_00a1.secret-word-x"
NO_COMPLETED = "a door takes an order first; delivery is told when it is asked about"
NO_LIMIT = "the door has no limit of its own"
THREE_STATES = "the door tells the states of its document and no other"
NO_REVERSAL = "there is no word for it"


class TestZnetDoor(WithReference, WithCodes, WithCatalogue, AdapterContract):
    kind = "znet"
    folder = "znet_door"
    account = Account("https://hub.invalid", KEY_ID, {"sifre": KEY}, "TRY")
    request = PlaceRequest("100000000000000042", {"oyun": "7600151", "kupur": "7600152"}, "OWN001")
    cost = Decimal("35.00")
    balance = Decimal("1000.00")
    items = 1
    delivered = "OK|2|CODE|Yüklendi"
    IMPOSSIBLE = {
        "place.completed": NO_COMPLETED,
        "place.rate_limited": NO_LIMIT,
        "ask.partial": "an order has one unit",
        "ask.reversed": NO_REVERSAL,
        "ask.unknown_word": THREE_STATES,
        "ask.login": "a login that fails is answered by silence, so that nobody reads it as a cancelled order",
    }

    def repeating(self, body: bytes, secret: bytes) -> bytes:
        return body.replace(b" ", b" " + secret + b" ") + b" " + secret


class TestZnetTlDoor(WithReference, WithCatalogue, AdapterContract):
    kind = "znet_tl"
    folder = "znet_tl_door"
    account = TestZnetDoor.account
    request = PlaceRequest("100000000000000042", {"operator": "turkcell", "tip": "tam", "kontor": "100"}, "5320000042")
    cost = Decimal("35.00")
    balance = Decimal("1000.00")
    items = 1
    IMPOSSIBLE = {
        "place.completed": NO_COMPLETED,
        "place.rate_limited": NO_LIMIT,
        "ask.completed_with_code": "airtime has no code",
        "ask.partial": "an order has one unit",
        "ask.reversed": NO_REVERSAL,
        "ask.unknown_word": THREE_STATES,
        "ask.login": TestZnetDoor.IMPOSSIBLE["ask.login"],
    }

    def repeating(self, body: bytes, secret: bytes) -> bytes:
        head = body.removesuffix(b"|0.00")
        return head.replace(b" ", b" " + secret + b" ") + b" " + secret + body[len(head) :]


class TestSmmDoor(InBatches, WithCatalogue, AdapterContract):
    kind = "smm_v2"
    folder = "smm_v2_door"
    account = Account("https://hub.invalid", "", {"key": KEY}, "TRY")
    request = PlaceRequest("100000000000000042", {"service": "7600152"}, "OWN003", quantity=2)
    provider_id = "7623501"
    cost = None
    balance = Decimal("1000.00")
    refusing_words = (b"not", b"nvalid", b"available")
    items = 1
    IMPOSSIBLE = {
        "place.completed": NO_COMPLETED,
        "place.rate_limited": NO_LIMIT,
        "place.refused_stock": "the protocol has no word for it: what cannot be had now is refused as a product",
        "ask.completed_with_code": "nothing that is sold there has a code",
        "ask.reversed": NO_REVERSAL,
        "ask.unknown_word": THREE_STATES,
    }

    def batch_reply(self, refs: Sequence[OrderRef]) -> HttpReply:
        told = {"charge": "70.00", "start_count": None, "status": "In progress", "currency": "TRY"}
        states = {ref.provider_id: {**told, "remains": ref.provider_id} for ref in refs}
        return HttpReply(200, json.dumps(states).encode())
