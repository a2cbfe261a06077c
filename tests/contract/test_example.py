"""The adapter that docs/adding-a-provider.md builds, against the shared contract."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

from apps.common.wire import HttpReply
from apps.providers.contract import Account, Adapter, OrderRef, PlaceRequest
from tests.contract import example_adapter
from tests.contract.example_adapter import Example
from tests.contract.suite import AdapterContract, InBatches, WithCatalogue, WithCodes, WithReference


class TestExample(WithReference, WithCodes, InBatches, WithCatalogue, AdapterContract):
    kind = "example"
    account = Account("http://shop.invalid", "", {"key": "k3y-word-x"}, "TRY")
    request = PlaceRequest("100000000000000042", {"sku": "P60"}, "5123456789")
    cost = Decimal("31.50")
    balance = Decimal("1250.50")
    items = 2
    refusing_words = (b"balance", b"such", b"left", b"known", b"many")
    IMPOSSIBLE = {
        "ask.partial": "an order has one code",
        "ask.reversed": "there is no word for it",
    }

    @property
    def adapter(self) -> Adapter:
        return Example()

    def reply_with_code(self, value: str) -> HttpReply:
        order = {"ref": self.request.reference, "state": "done", "code": value}
        return HttpReply(200, json.dumps({"orders": [order]}).encode())

    def batch_reply(self, refs: Sequence[OrderRef]) -> HttpReply:
        return HttpReply(200, json.dumps({"orders": [{"ref": ref.own_ref, "state": "open"} for ref in refs]}).encode())


def test_takes_fewer_than_eighty_lines() -> None:
    lines = Path(example_adapter.__file__).read_text(encoding="utf-8").splitlines()
    assert len([line for line in lines if line.strip()]) < 80
