"""A person gives the money of a delivered order back: once, by whoever may, and nothing that comes later undoes it."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from apps.accounts.models import User
from apps.common import clock
from apps.orders import monitoring
from apps.orders.decisions import refund
from apps.orders.models import Attempt, Order, OrderEvent
from apps.panel.words import EVENTS
from apps.wallet import ledger
from apps.wallet.models import Transfer
from apps.wallet.people import set_confirm_limit
from tests.factories import Stage, check_invariants, make_shop, order_from, standing_of, sums_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import People, english, people, seen_on

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

PRICE = 35_000_000
COST = 31_500_000


def completed(stage: Stage, people: People) -> Order:
    order = stage.order(people.shop)
    stage.run_until_quiet()
    assert standing_of(order)[0] == "completed"
    return order


def url(order: Order) -> str:
    return reverse("panel:order_decide", args=[order.pk, "give_back"])


def decide(browser: Client, order: Order, reason: str) -> HttpResponse:
    """See what it does, then do it."""
    answer = browser.post(url(order), {"reason": reason, "seen": seen_on(browser.get(url(order)))}, follow=True)
    assert isinstance(answer, HttpResponse)
    return answer


class TestGivingBack:
    def test_returns_the_whole_price_once_with_author_and_reason(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        for _ in range(2):
            decide(people.operator, order, "code used before")
        assert standing_of(order) == ("refunded", "completed", "")
        assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST, "sale_reversal": PRICE}
        assert ledger.balance_of(order.customer_id, "TRY").micros == 1000_000_000
        transfer = Transfer.objects.get(kind="sale_reversal")
        assert (transfer.actor, transfer.reason) == ("omar", "code used before")
        event = OrderEvent.objects.filter(order=order).order_by("-id")[0]
        assert (event.kind, event.actor, event.status) == ("refunded", "omar", "refunded")
        check_invariants(stage)

    def test_is_told_on_the_page_of_the_order(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        page = decide(people.operator, order, "code used before").content.decode()
        assert "code used before" in page
        assert str(EVENTS["refunded"]) in page
        assert "Give the money back" not in page

    def test_returns_only_what_was_captured(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop, quantity=2, final="cancelled", times=1)
        stage.run_until_quiet()
        assert standing_of(order)[0] == "partial"
        assert refund(order.pk, "olga", "x", clock.now())
        assert sums_of(order)["sale_reversal"] == PRICE
        assert ledger.balance_of(shop.customer.pk, "TRY").micros == 1000_000_000
        check_invariants(stage)

    def test_has_nothing_to_return_of_an_open_or_rejected_order(self, people: People, stage: Stage) -> None:
        waiting = order_from(people.shop)
        assert not refund(waiting.pk, "olga", "x", clock.now())
        rejected = stage.order(people.shop, place="refuse", refuse_class="product")
        stage.run_until_quiet()
        assert not refund(rejected.pk, "olga", "x", clock.now())
        assert not Transfer.objects.filter(kind="sale_reversal").exists()

    @pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
    def test_needs_a_reason(self, people: People, stage: Stage, reason: str) -> None:
        order = completed(stage, people)
        decide(people.operator, order, reason)
        assert standing_of(order)[0] == "completed"

    def test_above_the_limit_is_not_for_one_person(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        olga = User.objects.get(username="olga")
        set_confirm_limit(olga, order.tenant_id, "TRY", "10", clock.now())
        page = decide(people.operator, order, "x").content.decode()
        assert "This waits for a second person now." in page
        assert standing_of(order)[0] == "completed"

    def test_is_for_operators_of_the_shop(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        form = {"reason": "x"}
        assert people.viewer.post(url(order), form).status_code == 403
        assert people.stranger.post(url(order), form).status_code == 404
        assert people.nobody.post(url(order), form).status_code == 302
        assert standing_of(order)[0] == "completed"
        assert "Give the money back" not in people.viewer.get(reverse("panel:order", args=[order.pk])).content.decode()

    def test_is_not_undone_by_what_is_heard_later(self, people: People, stage: Stage) -> None:
        """The attempt is watched on: the same answer again must not make the order completed."""
        order = completed(stage, people)
        refund(order.pk, "olga", "x", clock.now())
        for _ in range(4):
            stage.move(timedelta(minutes=10).total_seconds())
            monitoring.check_order(order.pk, is_forced=True)
        assert standing_of(order) == ("refunded", "completed", "")
        assert Attempt.objects.get(order=order).state == "delivered"
        check_invariants(stage)


@pytest.mark.postgres
def test_eight_clicks_at_once_give_back_once(people: People, stage: Stage) -> None:
    order = completed(stage, people)
    said: list[bool] = []
    start = threading.Barrier(8)

    def click() -> None:
        start.wait()
        try:
            said.append(refund(order.pk, "olga", "x", clock.now()))
        finally:
            connection.close()

    threads = [threading.Thread(target=click) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(said) == [False] * 7 + [True]
    assert sums_of(order)["sale_reversal"] == PRICE
    check_invariants(stage)
