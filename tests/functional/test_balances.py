"""Our money at a provider: what is kept of each answer, who is warned, and when orders stay away."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction

from apps.common import clock
from apps.common.guards import OpenTransaction
from apps.orders.services import try_auto_dispatch
from apps.providers.balances import read_all_balances, read_balances, record_balance
from apps.providers.catalogue_models import AccountWatch, BalanceReading
from apps.providers.contract import Balance
from apps.providers.models import Integration
from tests.factories import NOWHERE, Shop, Stage, make_integration, make_shop, order_from, standing_of

pytestmark = pytest.mark.both_databases


@pytest.fixture
def shop(stage: Stage) -> Shop:
    """A shop at the simulated panel."""
    return make_shop(stage.url)


def told(amount: str | None, *, credit: str | None = None, debt: str | None = None, error: str = "") -> Balance:
    """What an adapter read."""
    parts = [None if part is None else Decimal(part) for part in (amount, credit, debt)]
    return Balance(parts[0], "TRY", credit=parts[1], debt=parts[2], error=error)


def record(account: Integration, amount: str | None, error: str = "") -> BalanceReading:
    return record_balance(account, told(amount, error=error), clock.now())


def rows(account: Integration) -> list[tuple[int | None, str]]:
    """Values and errors in the order in which they came."""
    readings = BalanceReading.objects.filter(integration=account).order_by("pk")
    return list(readings.values_list("amount_micros", "error"))


def is_paused(account: Integration) -> bool:
    account.refresh_from_db()
    return account.is_paused(clock.now())


class TestAReading:
    def test_is_read_from_the_panel(self, shop: Shop) -> None:
        assert read_all_balances() == 1
        reading = BalanceReading.objects.get()
        assert reading.error == ""
        assert reading.amount_micros is not None
        assert reading.amount_micros > 0
        assert (reading.currency, reading.as_of) == ("TRY", clock.now())

    def test_of_zero_is_kept_as_a_zero(self, shop: Shop) -> None:
        """LESSONS C33: zero balances were not saved."""
        record(shop.integration, "0")
        assert rows(shop.integration) == [(0, "")]

    def test_that_failed_is_an_error_and_no_zero(self, shop: Shop, stage: Stage) -> None:
        """LESSONS C33: errors were reported as a balance of 0."""
        stage.simulator.switch(auth_fails_on=["bakiye_kontrol"], bad_password="clone_a")
        read_all_balances()
        assert rows(shop.integration) == [(None, "OK|3|bayikodu yada sifre geçersiz|0.00")]

    def test_of_an_empty_answer_is_an_error(self, shop: Shop, stage: Stage) -> None:
        """LESSONS C34: an empty body on address or login trouble read like nothing."""
        stage.simulator.switch(auth_fails_on=["bakiye_kontrol"])
        read_all_balances()
        assert rows(shop.integration) == [(None, "empty")]

    def test_keeps_credit_and_debt_and_shows_the_difference(self, shop: Shop, stage: Stage) -> None:
        """LESSONS C31: znet has a balance and a debt."""
        stage.simulator.switch(debt="12.50")
        read_all_balances()
        reading = BalanceReading.objects.get()
        assert reading.debt_micros == 12_500_000
        assert reading.amount_micros == (reading.credit_micros or 0) - 12_500_000
        parts = reading.parts()
        assert parts is not None
        assert str(parts[1]) == "12.50 TRY"

    def test_that_is_the_same_moves_its_time_and_another_is_another_row(self, shop: Shop, stage: Stage) -> None:
        began = clock.now()
        record(shop.integration, "5")
        stage.move(300)
        record(shop.integration, "5")
        stage.move(300)
        record(shop.integration, None, "timeout")
        stage.move(300)
        record(shop.integration, "5")
        assert rows(shop.integration) == [(5_000_000, ""), (None, "timeout"), (5_000_000, "")]
        first = BalanceReading.objects.order_by("pk")[0]
        assert (first.since, first.as_of) == (began, began + timedelta(seconds=300))

    def test_is_rounded_to_our_disadvantage(self, shop: Shop) -> None:
        reading = record_balance(
            shop.integration, told("-2.0000001", credit="1.0000009", debt="3.0000001"), clock.now()
        )
        assert (reading.amount_micros, reading.credit_micros, reading.debt_micros) == (-2_000_001, 1_000_000, 3_000_001)

    @pytest.mark.parametrize("amount", ["NaN", "1e30"])
    def test_that_is_impossible_is_an_error(self, shop: Shop, amount: str) -> None:
        assert record(shop.integration, amount).amount_micros is None

    def test_is_a_value_or_an_error_by_a_rule_of_the_database(self, shop: Shop) -> None:
        wrong: list[dict[str, Any]] = [{"amount_micros": 0, "error": "timeout"}, {"amount_micros": None, "error": ""}]
        for facts in wrong:
            with pytest.raises(IntegrityError), transaction.atomic():
                BalanceReading.objects.create(
                    integration=shop.integration, since=clock.now(), as_of=clock.now(), currency="TRY", **facts
                )

    def test_says_what_an_account_lacks_without_asking(self, shop: Shop) -> None:
        shop.integration.set_secrets({})
        shop.integration.save()
        read_all_balances()
        assert rows(shop.integration) == [(None, "the account has no sifre")]

    def test_of_one_dead_account_does_not_hold_up_another(self, shop: Shop) -> None:
        dead = make_integration(shop.tenant, NOWHERE)
        read_all_balances()
        assert rows(dead) == [(None, "refused")]
        assert rows(shop.integration)[0][1] == ""

    def test_uses_no_network_inside_a_transaction(self, shop: Shop) -> None:
        with transaction.atomic(), pytest.raises(OpenTransaction):
            read_balances([shop.integration])

    def test_is_not_taken_of_accounts_that_are_not_used(self, shop: Shop) -> None:
        Integration.objects.update(is_enabled=False)
        assert read_all_balances() == 0


class TestTheThreshold:
    def watch(self, shop: Shop) -> AccountWatch:
        return AccountWatch.objects.get(integration=shop.integration)

    def test_is_crossed_once_each_way(self, shop: Shop, stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
        AccountWatch.objects.create(integration=shop.integration, alert_below_micros=100_000_000)
        record(shop.integration, "100")
        assert self.watch(shop).low_since is None
        fell_at = stage.move(300)
        record(shop.integration, "99.999999")
        assert self.watch(shop).low_since == fell_at
        stage.move(300)
        record(shop.integration, "50")
        assert self.watch(shop).low_since == fell_at
        record(shop.integration, None, "timeout")
        assert self.watch(shop).low_since == fell_at
        record(shop.integration, "100")
        assert self.watch(shop).low_since is None
        said = [
            event
            for record in caplog.records
            for event in ("balance_low", "balance_recovered")
            if event in str(record.msg)
        ]
        assert said == ["balance_low", "balance_recovered"]


class TestAZero:
    def test_is_shown_as_zero_and_keeps_orders_away(self, shop: Shop, stage: Stage) -> None:
        """Scenario 14 of LESSONS: the balance reaches 0 -> shown 0, route paused."""
        record(shop.integration, "0")
        assert is_paused(shop.integration)
        order = order_from(shop)
        try_auto_dispatch(order.pk)
        assert standing_of(order)[2] == "waiting:provider_paused"
        assert stage.purchases() == []

    def test_keeps_them_away_until_the_next_reading_but_one(self, shop: Shop, stage: Stage) -> None:
        record(shop.integration, "0")
        stage.move(599)
        assert is_paused(shop.integration)
        stage.move(1)
        assert not is_paused(shop.integration)

    def test_that_is_over_lets_them_in_at_once(self, shop: Shop, stage: Stage) -> None:
        record(shop.integration, "0")
        stage.move(300)
        record(shop.integration, "1000")
        assert not is_paused(shop.integration)

    def test_by_debt_counts_like_one(self, shop: Shop) -> None:
        record_balance(shop.integration, told("-2.50", credit="10", debt="12.50"), clock.now())
        assert is_paused(shop.integration)

    def test_that_is_an_error_pauses_nothing(self, shop: Shop) -> None:
        record(shop.integration, None, "empty")
        assert not is_paused(shop.integration)

    def test_that_is_over_leaves_a_pause_for_another_reason(self, shop: Shop, stage: Stage) -> None:
        record(shop.integration, "0")
        until = clock.now() + timedelta(hours=1)
        Integration.objects.update(paused_until=until, pause_reason="a person said so")
        stage.move(60)
        record(shop.integration, "1000")
        assert is_paused(shop.integration)
