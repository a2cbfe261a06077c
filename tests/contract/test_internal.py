"""Another shop of this system as a provider: the client API with other options, against the shared contract."""

from __future__ import annotations

from decimal import Decimal

from apps.providers.contract import Account, PlaceRequest
from apps.providers.registry import load_adapter
from tests.contract.suite import AdapterContract
from tests.contract.test_client_api import ClientApiContract


class TestInternal(ClientApiContract, AdapterContract):
    kind = "internal"
    account = Account("https://hub.invalid", "", {"token": "hub_00a1.secret-word-x"}, "TRY")
    request = PlaceRequest("6f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b", {"oyun": "152"}, "5123456789")
    provider_id = "ID_17"
    cost = Decimal("35.00")
    items = 2
    refusing_words = (b"balance", b"not", b"qty", b"field", b"reject", b"key")
    IMPOSSIBLE = {
        **ClientApiContract.IMPOSSIBLE,
        "place.rate_limited": "the door has no limit of its own",
        "ask.unknown_word": "the door tells three words",
    }

    def test_may_send_a_uuid_again_at_any_age(self) -> None:
        assert self.adapter.caps.ref_max_age_s is None

    def test_names_several_orders_with_commas(self) -> None:
        assert self.status_call(2).params == (("orders", "1000000,1000001"),)


class TestWhatDiffers:
    def test_is_data_alone(self) -> None:
        assert type(load_adapter("internal")) is type(load_adapter("client_api"))
