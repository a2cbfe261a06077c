"""The diagnosis of one provider account: each step with what it found."""

from __future__ import annotations

import socket
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from apps.common.egress import policy_for
from apps.common.reach import reach
from apps.common.wire import HttpReply
from apps.providers.catalogue_models import BalanceReading
from apps.providers.diagnosis import diagnose, skew_of
from tests.factories import NOWHERE, Shop, Stage, make_shop

pytestmark = pytest.mark.both_databases

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@pytest.fixture
def shop(stage: Stage) -> Shop:
    """A shop at the simulated panel."""
    return make_shop(stage.url)


class TestAHealthyAccount:
    def test_shows_every_step(self, shop: Shop) -> None:
        found = diagnose(shop.integration)
        assert (found.reached.trouble, found.reached.local_address, found.reached.remote_address) == (
            "",
            "127.0.0.1",
            "127.0.0.1",
        )
        assert found.is_authenticated is True
        assert found.balance is not None
        assert found.balance.amount is not None
        assert found.balance.amount > Decimal(0)
        assert found.catalogue is not None
        assert len(found.catalogue.items) == 7
        assert found.sample[0] == "PUBG Mobile 60 UC"

    def test_keeps_the_balance_as_a_reading(self, shop: Shop) -> None:
        diagnose(shop.integration)
        assert BalanceReading.objects.get().error == ""


class TestTrouble:
    def test_with_the_network_ends_there(self, stage: Stage) -> None:
        found = diagnose(make_shop(NOWHERE).integration)
        assert (found.reached.trouble, found.is_authenticated, found.balance) == ("Connection refused", None, None)

    def test_with_login_or_address_is_named_although_the_answer_is_empty(self, shop: Shop, stage: Stage) -> None:
        """LESSONS C34: reachability, outgoing address, authentication, sample call."""
        stage.simulator.switch(auth_fails_on=["bakiye_kontrol", "pin_listesi"])
        found = diagnose(shop.integration)
        assert (found.is_authenticated, found.is_silent) == (False, True)
        assert found.reached.local_address == "127.0.0.1"
        assert found.catalogue is not None
        assert found.catalogue.error == "Bayi kodu veya şifre hatalı"

    def test_with_one_verb_alone_is_no_trouble_with_the_login(self, shop: Shop, stage: Stage) -> None:
        stage.simulator.switch(auth_fails_on=["pin_listesi"])
        assert diagnose(shop.integration).is_authenticated is True

    def test_with_missing_secrets_asks_nothing(self, shop: Shop) -> None:
        shop.integration.set_secrets({})
        found = diagnose(shop.integration)
        assert (found.missing, found.is_authenticated, found.balance) == (("sifre",), None, None)


class TestTheClock:
    @pytest.mark.parametrize(
        ("header", "skew"),
        [
            ("Mon, 02 Mar 2026 12:00:00 GMT", timedelta(0)),
            ("Mon, 02 Mar 2026 12:05:30 GMT", timedelta(seconds=330)),
            ("Mon, 02 Mar 2026 13:59:00 +0200", timedelta(seconds=-60)),
            ("yesterday", None),
            ("", None),
        ],
    )
    def test_of_the_provider_is_compared_with_ours(self, header: str, skew: timedelta | None) -> None:
        assert skew_of(HttpReply(200, b"", {"date": header}), NOON) == skew


class TestReaching:
    def test_refuses_private_addresses_where_a_request_would(self) -> None:
        trouble = reach("http://127.0.0.1:80", policy_for(is_local=False), 1).trouble
        assert trouble != ""
        assert "refused" not in trouble

    def test_tells_of_silence_without_waiting_for_ever(self) -> None:
        with socket.socket() as full:
            full.bind(("127.0.0.1", 0))
            full.listen(0)
            port = full.getsockname()[1]
            waiting = [socket.socket() for _ in range(4)]
            for one in waiting:
                one.setblocking(False)
                one.connect_ex(("127.0.0.1", port))
            found = reach(f"http://127.0.0.1:{port}", policy_for(is_local=True), 0.3)
            for one in waiting:
                one.close()
        assert found.trouble == "no connection in time"
