"""Failures that really happened to shops like this, end to end; what the simulated panel really did is the judge."""

from __future__ import annotations

import contextlib
import threading
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.db.models import F

from apps.catalog.models import FxRate, PackagePrice
from apps.common import checkpoints, clock
from apps.common.money import Money, to_micros
from apps.orders import monitoring, services
from apps.orders.creation import NewOrder
from apps.orders.decisions import refund
from apps.orders.models import Attempt, Case, Order, OrderEvent
from apps.wallet import ledger
from tests.factories import (
    START,
    Shop,
    Stage,
    add_route,
    at_checkpoint,
    check_against_truth,
    check_conservation,
    check_invariants,
    due_of,
    make_customer,
    make_impatient_shop,
    make_integration,
    make_shop,
    new_player,
    order_from,
    pins_of,
    standing_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

both_databases = pytest.mark.both_databases

PRICE = 35_000_000
COST = 31_500_000


class Crash(BaseException):
    """The process is gone: nothing that catches `Exception` can help."""


def crash_at(name: str) -> None:
    """Kill the process at this checkpoint: its connection breaks, nothing more is written."""

    def die() -> None:
        checkpoints.set_hook(None)
        connection.close()
        raise Crash(name)

    at_checkpoint(name, die)


def check_one_purchase(stage: Stage, order: Order) -> None:
    """The panel was asked once, sold once, and its PIN is with the customer who paid for it."""
    assert [entry["event"] for entry in stage.truth() if entry["event"] in ("asked", "bought")] == ["asked", "bought"]
    assert pins_of(order) == stage.purchases()[0]["pins"]
    assert standing_of(order) == ("completed", "completed", "")
    assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST}
    check_invariants(stage)


@both_databases
@pytest.mark.parametrize("lost", ["accept_then_hang", "accept_then_reset", "accept_then_empty"])
def test_scenario_1_the_panel_accepts_and_its_reply_is_lost(stage: Stage, lost: str) -> None:
    shop = make_impatient_shop(stage.url)
    add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
    order = stage.order(shop, place=lost)
    stage.run_until_quiet()
    check_one_purchase(stage, order)


@both_databases
def test_scenario_2_the_worker_dies_between_the_reply_and_the_database(stage: Stage) -> None:
    order = stage.order(make_shop(stage.url))
    crash_at("dispatch.after_send")
    with pytest.raises(Crash):
        services.try_auto_dispatch(order.pk)
    assert len(stage.purchases()) == 1
    assert standing_of(order) == ("processing", "sending", "")
    order.refresh_from_db()
    assert order.provider_referans == ""
    stage.run_until_quiet()
    order.refresh_from_db()
    assert order.provider_referans == stage.purchases()[0]["reference"]
    check_one_purchase(stage, order)


@both_databases
@pytest.mark.parametrize("at", ["dispatch.before_first_byte", "dispatch.after_send"])
def test_scenario_3_two_workers_and_an_operators_click_interleaved(stage: Stage, at: str) -> None:
    order = stage.order(make_shop(stage.url))
    said: list[object] = []

    def interfere() -> None:
        checkpoints.set_hook(None)
        said.append(services.try_auto_dispatch(order.pk).said)
        said.append(monitoring.check_order(order.pk, is_forced=True))

    at_checkpoint(at, interfere)
    services.try_auto_dispatch(order.pk)
    assert said == ["dispatched_already", []]
    stage.run_until_quiet()
    check_one_purchase(stage, order)


@pytest.mark.postgres
def test_scenario_3_two_workers_and_an_operators_click_at_the_same_time(stage: Stage) -> None:
    order = stage.order(make_shop(stage.url))
    errors: list[Exception] = []
    start = threading.Barrier(6)
    meeting = threading.Barrier(2)

    def wait_for_a_rival() -> None:
        """Whoever is about to commit an attempt gives a second one 0.3 s to come just as far."""
        with contextlib.suppress(threading.BrokenBarrierError):
            meeting.wait(0.3)

    at_checkpoint("dispatch.before_commit", wait_for_a_rival)

    def run(work: Any) -> None:
        start.wait()
        try:
            work()
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    click = [lambda: monitoring.check_order(order.pk, is_forced=True)]
    dispatch = [lambda: services.try_auto_dispatch(order.pk)]
    works: list[Any] = dispatch * 3 + click * 2 + [monitoring.sweep]
    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    stage.run_until_quiet()
    check_one_purchase(stage, order)


@both_databases
def test_scenario_4_status_answers_are_rubbish_for_an_hour(stage: Stage) -> None:
    order = stage.order(make_shop(stage.url), status_faults=["500", "empty", "html"] * 20)
    services.try_auto_dispatch(order.pk)
    while clock.now() < START + timedelta(hours=1):
        stage.move_to(due_of(order)[0][1])
        monitoring.sweep()
        assert standing_of(order) == ("processing", "sent", "")
        assert sums_of(order) == {"hold": PRICE}
    stage.run_until_quiet()
    check_one_purchase(stage, order)


@both_databases
def test_scenario_5_a_refusal_gives_the_money_back_at_once(stage: Stage) -> None:
    shop = make_shop(stage.url)
    order = stage.order(shop, place="refuse", refuse_class="product")
    monitoring.sweep()
    assert clock.now() == START
    assert standing_of(order) == ("rejected", "failed", "")
    assert ledger.balance_of(shop.customer.pk, "TRY") == Money(1000_000_000, "TRY")
    check_invariants(stage)


@both_databases
def test_scenario_5_a_refusal_goes_to_the_next_route_at_once(stage: Stage) -> None:
    shop = make_shop(stage.url)
    add_route(shop.package, make_integration(shop.tenant, stage.url), position=2)
    order = stage.order(shop, place="refuse", refuse_class="product", times=1)
    monitoring.sweep()
    assert clock.now() == START
    assert standing_of(order) == ("processing", "sent", "")
    stage.run_until_quiet()
    assert standing_of(order) == ("completed", "completed", "")
    assert len(stage.purchases()) == 1
    check_invariants(stage)


@both_databases
def test_scenario_6_a_pin_of_four_hundred_characters(stage: Stage) -> None:
    pin = "-".join(f"{number:03}" for number in range(100))[:400]
    order = stage.order(make_shop(stage.url), pin=pin)
    stage.run_until_quiet()
    assert pins_of(order) == [pin]
    assert len(pins_of(order)[0]) == 399
    check_one_purchase(stage, order)


@both_databases
def test_scenario_6_three_pins_of_one_order(stage: Stage) -> None:
    order = stage.order(make_shop(stage.url), quantity=3)
    stage.run_until_quiet()
    assert sorted(pins_of(order)) == sorted(row["pin"] for row in stage.purchases())
    assert len(set(pins_of(order))) == 3
    check_invariants(stage)


@both_databases
def test_scenario_7_a_delivery_after_the_refund_is_told_and_kept_hidden(stage: Stage) -> None:
    shop = make_shop(stage.url)
    order = stage.order(shop, final="cancelled", flip_to_delivered_after_s=1800, pin="HIDDEN")
    stage.run_until_quiet()
    assert standing_of(order) == ("rejected", "failed", "")
    for _ in range(4):
        stage.move(600)
        monitoring.sweep()
    assert pins_of(order) == []
    assert [code.is_quarantined for code in order.codes.all()] == [True]
    assert Case.objects.get(order=order).reason == "late_delivery"
    assert sums_of(order) == {"hold": PRICE, "release": PRICE, "late_cost": COST}
    assert ledger.balance_of(shop.customer.pk, "TRY") == Money(1000_000_000, "TRY")
    check_invariants(stage)


@both_databases
def test_scenario_8_the_client_repeats_the_order_five_times(stage: Stage) -> None:
    shop = make_shop(stage.url)
    new = NewOrder(shop.package.code, 1, {"player_id": new_player()})
    made = [services.create_order(shop.customer, new, "one-wish", clock.now()) for _ in range(5)]
    assert [created.is_replay for created in made] == [False, True, True, True, True]
    assert len({created.order.pk for created in made}) == 1
    assert ledger.balance_of(shop.customer.pk, "TRY") == Money(965_000_000, "TRY")
    stage.run_until_quiet()
    assert services.create_order(shop.customer, new, "one-wish", clock.now()).is_replay
    check_one_purchase(stage, made[0].order)


@pytest.mark.postgres
def test_scenario_8_the_client_repeats_the_order_five_times_at_once(stage: Stage) -> None:
    shop = make_shop(stage.url)
    new = NewOrder(shop.package.code, 1, {"player_id": new_player()})
    made: list[services.Created] = []
    start = threading.Barrier(5)

    def repeat() -> None:
        start.wait()
        try:
            made.append(services.create_order(shop.customer, new, "one-wish", clock.now()))
        finally:
            connection.close()

    threads = [threading.Thread(target=repeat) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(created.is_replay for created in made) == [False, True, True, True, True]
    assert ledger.balance_of(shop.customer.pk, "TRY") == Money(965_000_000, "TRY")
    stage.run_until_quiet()
    check_one_purchase(stage, Order.objects.get())


@both_databases
def test_scenario_10_rates_change_between_charge_and_refund_and_the_wallet_is_exact(stage: Stage) -> None:
    """Three shops sell in three currencies; rates and prices move between hold, capture and refund."""
    for n, currency in enumerate(("TRY", "USD", "EUR")):
        shop = make_shop(stage.url)
        prices = PackagePrice.objects.filter(package=shop.package)
        prices.update(currency=currency, unit_price_micros=33_333_333 + n)
        for other, rate in (("USD", "34.123456"), ("EUR", "37.654321")):
            set_rate(shop, other, rate)
        buyer = make_customer(shop.tenant, "1000", currency=currency)
        order = order_from(shop, customer=buyer, quantity=3)
        stage.move(1)
        change_rates(shop, "341.234567", "a")
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        stage.move(1)
        change_rates(shop, "298.765433", "b")
        assert ledger.balance_of(buyer.pk, currency) == Money(1000_000_000 - 3 * (33_333_333 + n), currency)
        assert refund(order.pk, "olga", "used before", clock.now())
        assert ledger.balance_of(buyer.pk, currency) == Money(1000_000_000, currency)
        books = ledger.trial_balance(shop.tenant.pk)
        assert (books["held", currency], books["revenue", currency]) == (0, 0)
        assert books["cost", "TRY"] == 3 * COST
        assert (books["fx", "USD"], books["fx", "TRY"]) == (640_000_000, -20_000_000)
    check_conservation()
    check_against_truth(stage)


def set_rate(shop: Shop, currency: str, rate: str) -> None:
    """From now on one unit of `currency` is this much TRY."""
    FxRate.objects.create(
        tenant=shop.tenant,
        from_currency=currency,
        to_currency="TRY",
        rate=Decimal(rate),
        source="test",
        valid_from=clock.now(),
    )


def change_rates(shop: Shop, paid: str, key: str) -> None:
    """The price doubles, and the next money for the provider is bought with USD at another rate."""
    PackagePrice.objects.filter(package=shop.package).update(unit_price_micros=F("unit_price_micros") * 2)
    for other in ("USD", "EUR"):
        set_rate(shop, other, paid)
    ledger.top_up_float(
        shop.tenant.pk,
        shop.integration.pk,
        Money(10_000_000, "TRY"),
        Money(to_micros(paid), "USD"),
        key=f"{shop.tenant.pk}:{key}",
        reason="bank",
        actor="olga",
        now=clock.now(),
    )


@both_databases
def test_scenario_11_an_unknown_status_word_decides_nothing(stage: Stage) -> None:
    order = stage.order(make_shop(stage.url), status_faults=["unknown_word"] * 5)
    services.try_auto_dispatch(order.pk)
    for _ in range(5):
        stage.move_to(due_of(order)[0][1])
        monitoring.sweep()
        assert Attempt.objects.get(order=order).state == "accepted"
        assert standing_of(order) == ("processing", "sent", "")
        assert sums_of(order) == {"hold": PRICE}
    flagged = OrderEvent.objects.filter(order=order, kind="no_information")
    assert [(event.data["outcome"], event.data["provider_words"]) for event in flagged] == [("unknown", "Sorgulanıyor")]
    stage.run_until_quiet()
    check_one_purchase(stage, order)
