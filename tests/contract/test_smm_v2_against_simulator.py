"""The SMM adapter against the simulator over real sockets: what it reads follows from the fate, never from the text.

The two were written apart from the same document. A fate says what really happened, a table says what its buyer may
know about it, and both must meet, with each side of every disagreement between the panels.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from apps.common.egress import LOCAL
from apps.common.talk import drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall
from apps.providers.adapters.smm_v2 import SmmV2
from apps.providers.contract import Account, Balance, Catalogue, OrderRef, Outcome, PlaceRequest, Result
from apps.simulator.client import SimulatorProcess
from apps.simulator.dialects.smm_v2 import Cancelled, ErrorForm, MoneyForm, StartCount, Waiting
from apps.simulator.fates import Final, Mangle, Place, RefuseClass, StatusFault
from apps.simulator.switches import Batch, Down

FOLLOWERS, COMMENTS, LIKES = ({"service": number} for number in ("1", "2", "3"))
DIALECT = "smm_v2"
PATIENCE_S = 0.3
CALM_S = 5.0
"""For answers that come at once: a busy machine must not look like a silent provider."""

QUIET = frozenset({Place.ACCEPT_THEN_HANG, Place.ACCEPT_THEN_DRIP, Place.ACCEPT_THEN_HEADERS, Place.HANG_BEFORE})

BY_PLACE: dict[Place, Outcome] = {
    **dict.fromkeys(Place, Outcome.UNKNOWN),
    Place.ACCEPT: Outcome.ACCEPTED,
    Place.ACCEPT_THEN_OTHER_ORDER: Outcome.ACCEPTED,  # an answer names an id alone: whose it is cannot be seen
    Place.REFUSE: Outcome.INSUFFICIENT_BALANCE,
}
BY_REFUSE_CLASS: dict[RefuseClass, Outcome] = {
    RefuseClass.BALANCE: Outcome.INSUFFICIENT_BALANCE,
    RefuseClass.PRODUCT: Outcome.REJECTED,
    RefuseClass.AUTH: Outcome.AUTH_ERROR,
    RefuseClass.OTHER: Outcome.RATE_LIMITED,
}
BY_FINAL: dict[Final, Outcome] = {
    Final.DELIVERED: Outcome.COMPLETED,
    Final.PARTIAL: Outcome.PARTIAL,
    Final.CANCELLED: Outcome.REJECTED,
    Final.REVERSED: Outcome.REJECTED,
    Final.NEVER: Outcome.ACCEPTED,
}
BY_STATUS_FAULT: dict[StatusFault, Outcome] = {
    **dict.fromkeys(StatusFault, Outcome.UNKNOWN),
    StatusFault.NOT_FOUND: Outcome.NOT_FOUND,
    StatusFault.AUTH_TEXT: Outcome.AUTH_ERROR,
}
BY_DOWN: dict[Down, Outcome] = {
    **dict.fromkeys(Down, Outcome.UNKNOWN),
    Down.REFUSE: Outcome.NOT_SENT,
}
READABLE_MANGLES = (Mangle.BOM, Mangle.NUMBER_AS_TEXT)

_numbers = itertools.count(1)


class Shop:
    """A buyer at one simulator: the adapter, the careful transport, and what the simulator knows to be true."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self.simulator = simulator
        self.adapter = SmmV2()
        self.account = Account(f"{simulator.url}/smm_v2", "", {"key": "demo-key"}, "USD")
        self.wait(CALM_S)

    def wait(self, patience_s: float) -> None:
        """How long this buyer waits for an answer from now on."""
        options = {**self.account.options, "place_timeout_s": patience_s, "ask_timeout_s": patience_s}
        self.account = replace(self.account, options=options)

    def place(self, request: PlaceRequest) -> Result:
        return drive(self.adapter.place(self.account, request), _send)[0]

    def find(self, request: PlaceRequest) -> Result:
        return drive(self.adapter.find(self.account, self.ref(request)), _send)[0]

    def status(self, *requests: PlaceRequest) -> Mapping[str, Result]:
        return drive(self.adapter.status(self.account, list(map(self.ref, requests))), _send)[0]

    def balance(self) -> Balance:
        return drive(self.adapter.balance(self.account), _send)[0]

    def catalogue(self) -> Catalogue:
        return drive(self.adapter.catalogue(self.account), _send)[0]

    def ref(self, request: PlaceRequest) -> OrderRef:
        """The order as its buyer knows it who was told the panel's id."""
        bought = self.bought(request)
        return OrderRef(request.reference, bought[-1]["order_id"] if bought else "", request=request)

    def request(self, product: Mapping[str, str] = LIKES, quantity: int = 1000, **fate: Any) -> PlaceRequest:
        """A new order, for a link of its own that has this fate once."""
        number = next(_numbers)
        link = f"https://social.invalid/p/{number}"
        self.simulator.set_fate(recipient=link, times=1, **fate)
        return PlaceRequest(str(830_000_000_000_000_000 + number), product, link, quantity=quantity)

    def buy(self, product: Mapping[str, str] = LIKES, quantity: int = 1000, **fate: Any) -> tuple[PlaceRequest, Result]:
        """Places a new order that has this fate."""
        request = self.request(product, quantity, **fate)
        if fate.get("place") in QUIET or "answer_delay_s" in fate:
            self.wait(PATIENCE_S)
        result = self.place(request)
        self.wait(CALM_S)
        return request, result

    def bought(self, request: PlaceRequest) -> list[dict[str, Any]]:
        return [row for row in self.simulator.orders() if row["recipient"] == request.recipient]


def _send(call: HttpCall) -> Answer:
    return send_once(call, policy=LOCAL)


@pytest.fixture
def shop(world: SimulatorProcess) -> Shop:
    return Shop(world)


class TestTables:
    def test_cover_everything_that_the_simulator_can_do(self) -> None:
        assert set(BY_REFUSE_CLASS) == set(RefuseClass)
        assert set(BY_FINAL) == set(Final)


class TestPlacing:
    @pytest.mark.parametrize("form", ErrorForm)
    @pytest.mark.parametrize("place", Place)
    def test_says_no_more_than_is_known(self, shop: Shop, place: Place, form: ErrorForm) -> None:
        shop.simulator.switch(error_form=form)
        request, result = shop.buy(place=place)
        assert (result.outcome, result.own_ref) == (BY_PLACE[place], request.reference)
        assert len(shop.bought(request)) == place.buys
        if place.buys:
            assert shop.find(request).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("as_text", [False, True])
    def test_is_told_the_panel_s_id(self, shop: Shop, as_text: bool) -> None:
        shop.simulator.switch(order_as_text=as_text)
        request, result = shop.buy()
        assert result.provider_id == shop.bought(request)[0]["order_id"]

    @pytest.mark.parametrize("form", ErrorForm)
    @pytest.mark.parametrize("refuse_class", RefuseClass)
    def test_reads_a_refusal_s_class(self, shop: Shop, refuse_class: RefuseClass, form: ErrorForm) -> None:
        shop.simulator.switch(error_form=form)
        request, result = shop.buy(place="refuse", refuse_class=refuse_class)
        assert result.outcome is BY_REFUSE_CLASS[refuse_class]
        assert shop.bought(request) == []

    @pytest.mark.parametrize("quantity", [99, 500_001])
    def test_a_wrong_quantity_is_refused(self, shop: Shop, quantity: int) -> None:
        request, result = shop.buy(LIKES, quantity)
        assert (result.outcome, shop.bought(request)) == (Outcome.REJECTED, [])

    @pytest.mark.parametrize(
        "text", ["Not enough funds, try again later", "Invalid link: not enough funds", "Order placed"]
    )
    def test_a_text_of_two_minds_is_in_doubt(self, shop: Shop, text: str) -> None:
        assert shop.buy(place="refuse", refuse_text=text)[1].outcome is Outcome.UNKNOWN

    def test_a_sentence_that_is_not_listed_is_in_doubt(self, shop: Shop) -> None:
        shop.simulator.switch(error_form="sentences")
        request, result = shop.buy(LIKES, 99)
        assert (result.outcome, shop.bought(request)) == (Outcome.UNKNOWN, [])
        assert result.reason == "Quantity is less than minimal or more than maximal"

    @pytest.mark.parametrize("form", ErrorForm)
    def test_a_missing_service_is_refused(self, shop: Shop, form: ErrorForm) -> None:
        shop.simulator.switch(error_form=form)
        request, result = shop.buy({"service": "99"})
        assert (result.outcome, shop.bought(request)) == (Outcome.REJECTED, [])

    @pytest.mark.parametrize("form", ErrorForm)
    def test_a_link_in_work_may_be_our_own_order(self, shop: Shop, form: ErrorForm) -> None:
        shop.simulator.switch(one_order_per_link=True, error_form=form)
        request, _ = shop.buy(final=Final.NEVER)
        again = shop.place(request)
        assert (again.outcome, again.duplicate) == (Outcome.UNKNOWN, True)
        assert len(shop.bought(request)) == 1

    @pytest.mark.parametrize("mangle", Mangle)
    def test_spoilt_bytes_refuse_nothing(self, shop: Shop, mangle: Mangle) -> None:
        request, result = shop.buy(place_mangle=mangle)
        is_read = mangle in READABLE_MANGLES
        assert result.outcome is (Outcome.ACCEPTED if is_read else Outcome.UNKNOWN)
        assert result.provider_id == (shop.bought(request)[0]["order_id"] if is_read else "")

    def test_is_in_doubt_after_an_answer_that_comes_too_late(self, shop: Shop) -> None:
        request, result = shop.buy(answer_delay_s=30)
        assert (result.outcome, len(shop.bought(request))) == (Outcome.UNKNOWN, 1)

    @pytest.mark.parametrize("agent", ["", "Mozilla/5.0 (X11; Linux x86_64)"])
    def test_a_shield_against_programs_lets_the_account_s_agent_in(self, shop: Shop, agent: str) -> None:
        shop.simulator.switch(html_shield=True)
        shop.account = replace(shop.account, options={**shop.account.options, "user_agent": agent})
        request, result = shop.buy()
        assert result.outcome is (Outcome.ACCEPTED if agent else Outcome.UNKNOWN)
        assert len(shop.bought(request)) == bool(agent)
        assert (shop.balance().amount is None) is not bool(agent)

    def test_sends_what_the_buyer_said(self, shop: Shop) -> None:
        request = replace(shop.request(COMMENTS, 2), params={"comments": "güzel\nرائع"})
        assert shop.place(request).outcome is Outcome.ACCEPTED
        (row,) = shop.bought(request)
        assert (row["quantity"], row["extra"]) == ("2", {"comments": "güzel\nرائع"})


class TestPromises:
    def test_the_same_order_again_buys_again(self, shop: Shop) -> None:
        request, first = shop.buy()
        again = shop.place(request)
        assert (first.outcome, again.outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
        assert len(shop.bought(request)) == 2
        caps = shop.adapter.caps
        assert (caps.dedup, caps.resend_same_ref_safe, caps.ask_may_create) == ("none", False, False)

    def test_the_panel_hears_no_reference(self, shop: Shop) -> None:
        request, _ = shop.buy()
        (row,) = shop.bought(request)
        assert row["reference"] == ""
        assert request.reference not in str(row)
        assert (shop.adapter.caps.ref_format, shop.adapter.caps.ref_max_len) == ("none", 0)

    def test_nothing_is_found_without_the_panel_s_id(self, shop: Shop) -> None:
        request, _ = shop.buy()
        found, exchanges = drive(shop.adapter.find(shop.account, OrderRef(request.reference, request=request)), _send)
        assert (found.outcome, exchanges) == (Outcome.UNKNOWN, [])
        assert shop.adapter.caps.find_by_own_ref is False

    def test_a_hundred_are_answered_in_one_question(self, shop: Shop) -> None:
        requests = [shop.buy()[0] for _ in range(101)]
        rows = {row["recipient"]: row["order_id"] for row in shop.simulator.orders()}
        refs = [OrderRef(each.reference, rows[each.recipient], request=each) for each in requests]
        more = SmmV2()
        more.caps = replace(more.caps, status_batch_max=101)
        told = drive(more.status(shop.account, refs), _send)[0]
        assert shop.adapter.caps.status_batch_max == 100
        assert set(told) == {request.reference for request in requests[:100]}
        assert {result.outcome for result in told.values()} == {Outcome.COMPLETED}
        with pytest.raises(ValueError, match="about 100 orders"):
            shop.adapter.status(shop.account, refs)

    @pytest.mark.parametrize("quantity", [1, 7, 10_000])
    def test_one_order_takes_any_quantity_of_the_service(self, shop: Shop, quantity: int) -> None:
        request, result = shop.buy(FOLLOWERS, quantity)
        assert result.outcome is Outcome.ACCEPTED
        assert shop.bought(request)[0]["quantity"] == str(quantity)
        assert shop.adapter.caps.quantity == "any"

    @pytest.mark.parametrize("form", MoneyForm)
    def test_the_balance_falls_by_the_cost(self, shop: Shop, form: MoneyForm) -> None:
        shop.simulator.switch(money_form=form)
        before = shop.balance().amount
        request, _ = shop.buy()
        after = shop.balance().amount
        assert before is not None
        assert after is not None
        assert before - after == shop.find(request).cost == Decimal("0.27819")
        assert (shop.adapter.caps.balance_check, shop.adapter.caps.webhook) == (True, "none")


class TestBatches:
    @pytest.mark.parametrize("batch", Batch)
    def test_an_answer_in_another_order_or_with_others_is_matched_by_ids(self, shop: Shop, batch: Batch) -> None:
        shop.buy()
        requests = [shop.buy(final=final)[0] for final in (Final.DELIVERED, Final.CANCELLED, Final.NEVER)]
        shop.simulator.switch(batch=batch)
        told = {reference: result.outcome for reference, result in shop.status(*requests).items()}
        outcomes = [Outcome.COMPLETED, Outcome.REJECTED, Outcome.ACCEPTED]
        wanted = {request.reference: outcome for request, outcome in zip(requests, outcomes, strict=True)}
        if batch is Batch.MISSING:
            del wanted[requests[2].reference]
        assert told == wanted

    @pytest.mark.parametrize("batch", [Batch.WHOLE, Batch.SHUFFLED])
    def test_a_missing_order_is_told_beside_the_others(self, shop: Shop, batch: Batch) -> None:
        hidden, shown = shop.buy(visible_after_s=60)[0], shop.buy()[0]
        shop.simulator.switch(batch=batch)
        told = {reference: result.outcome for reference, result in shop.status(hidden, shown).items()}
        assert told == {hidden.reference: Outcome.NOT_FOUND, shown.reference: Outcome.COMPLETED}

    @pytest.mark.parametrize("fault", [StatusFault.CUT, StatusFault.HTML, StatusFault.RATE_LIMITED, StatusFault.FLOOD])
    def test_one_broken_answer_is_no_news_of_any(self, shop: Shop, fault: StatusFault) -> None:
        requests = [shop.buy()[0], shop.buy(status_faults=[fault])[0]]
        assert {result.outcome for result in shop.status(*requests).values()} == {Outcome.UNKNOWN}


class TestAsking:
    @pytest.mark.parametrize("cancelled", Cancelled)
    @pytest.mark.parametrize("final", Final)
    def test_reads_the_end_of_an_order(self, shop: Shop, final: Final, cancelled: Cancelled) -> None:
        shop.simulator.switch(cancelled=cancelled)
        request, _ = shop.buy(final=final, delivered="400")
        found = shop.find(request)
        assert (found.outcome, found.codes) == (BY_FINAL[final], ())
        assert shop.status(request) == {request.reference: found}

    @pytest.mark.parametrize("waiting", Waiting)
    @pytest.mark.parametrize("start_count", StartCount)
    def test_a_waiting_order_is_accepted_and_has_no_cost(
        self, shop: Shop, start_count: StartCount, waiting: Waiting
    ) -> None:
        shop.simulator.switch(waiting=waiting, start_count=start_count)
        request, _ = shop.buy(complete_after_s=60)
        found = shop.find(request)
        assert (found.outcome, found.cost) == (Outcome.ACCEPTED, None)
        shop.simulator.advance(60)
        assert shop.find(request).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("fault", StatusFault)
    def test_a_failed_question_is_no_news(self, shop: Shop, fault: StatusFault) -> None:
        shop.buy()
        request, _ = shop.buy(status_faults=[fault])
        shop.wait(PATIENCE_S if fault is StatusFault.HANG else CALM_S)
        assert shop.find(request).outcome is BY_STATUS_FAULT[fault]
        shop.wait(CALM_S)
        assert shop.find(request).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("mangle", Mangle)
    def test_spoilt_bytes_are_no_news(self, shop: Shop, mangle: Mangle) -> None:
        request, _ = shop.buy(status_mangle=mangle)
        assert shop.find(request).outcome is (Outcome.COMPLETED if mangle in READABLE_MANGLES else Outcome.UNKNOWN)

    def test_reads_each_flip_as_it_comes(self, shop: Shop) -> None:
        request, _ = shop.buy(status_flip=["Pending", "Fail", "Canceled", "Processing", "Complete", "IN PROGRESS"])
        seen = [shop.find(request).outcome for _ in range(7)]
        assert seen == [
            Outcome.ACCEPTED,
            Outcome.UNKNOWN,
            Outcome.REJECTED,
            Outcome.ACCEPTED,
            Outcome.UNKNOWN,
            Outcome.ACCEPTED,
            Outcome.COMPLETED,
        ]

    def test_an_end_may_be_taken_back(self, shop: Shop) -> None:
        cancelled, _ = shop.buy(final="cancelled", flip_to_delivered_after_s=600)
        delivered, _ = shop.buy(reverse_after_s=600)
        assert [shop.find(each).outcome for each in (cancelled, delivered)] == [Outcome.REJECTED, Outcome.COMPLETED]
        shop.simulator.advance(600)
        assert [shop.find(each).outcome for each in (cancelled, delivered)] == [Outcome.COMPLETED, Outcome.REJECTED]

    def test_an_old_state_is_not_final(self, shop: Shop) -> None:
        request, _ = shop.buy(status_lag_s=60)
        assert shop.find(request).outcome is Outcome.ACCEPTED
        shop.simulator.advance(60)
        assert shop.find(request).outcome is Outcome.COMPLETED

    def test_a_hidden_order_is_found_later_and_a_lost_one_no_more(self, shop: Shop) -> None:
        request, _ = shop.buy(visible_after_s=30, visible_until_s=90)
        seen = [shop.find(request).outcome]
        for _ in range(2):
            shop.simulator.advance(45)
            seen.append(shop.find(request).outcome)
        assert seen == [Outcome.NOT_FOUND, Outcome.COMPLETED, Outcome.NOT_FOUND]


class TestMoney:
    @pytest.mark.parametrize("form", MoneyForm)
    @pytest.mark.parametrize("cost", ["0.27819", "12", "0.000012", "1234.5"])
    def test_reads_a_cost_exactly(self, shop: Shop, cost: str, form: MoneyForm) -> None:
        shop.simulator.switch(money_form=form)
        request, _ = shop.buy(cost=cost)
        assert shop.find(request).cost == Decimal(cost)

    @pytest.mark.parametrize("form", MoneyForm)
    @pytest.mark.parametrize(("delivered", "charge"), [("0", "0"), ("843", "0.843"), ("999", "0.999")])
    def test_a_part_is_charged_and_counted_exactly(
        self, shop: Shop, delivered: str, charge: str, form: MoneyForm
    ) -> None:
        shop.simulator.switch(money_form=form)
        request, _ = shop.buy(final="partial", delivered=delivered, cost="1")
        found = shop.find(request)
        assert (found.outcome, found.cost) == (Outcome.PARTIAL, Decimal(charge))
        assert (found.delivered, found.remains) == (Decimal(delivered), 1000 - Decimal(delivered))

    def test_a_cancelled_order_cost_nothing(self, shop: Shop) -> None:
        before = shop.balance().amount
        request, _ = shop.buy(final="cancelled")
        assert (shop.find(request).cost, shop.balance().amount) == (None, before)


class TestCatalogue:
    def test_is_what_the_panel_sells(self, shop: Shop) -> None:
        told = {
            item.ids["service"]: (item.name, item.group, item.cost, item.currency, item.quantity_min, item.quantity_max)
            for item in shop.catalogue().items
        }
        assert told == {
            "1": ("Followers", "Instagram", Decimal("0.0009"), "USD", 1, 10_000),
            "2": ("Comments", "Instagram", Decimal("0.008"), "USD", 1, 1_500),
            "3": ("Likes", "Instagram", Decimal("0.00027819"), "USD", 100, 500_000),
        }

    def test_what_is_listed_is_paid(self, shop: Shop) -> None:
        for item in shop.catalogue().items:
            request, _ = shop.buy(dict(item.ids), item.quantity_max)
            assert item.cost is not None
            assert shop.find(request).cost == item.cost * item.quantity_max


class TestLogin:
    @pytest.mark.parametrize("form", ErrorForm)
    def test_a_bad_key_is_no_news_and_no_balance(self, shop: Shop, form: ErrorForm) -> None:
        shop.simulator.switch(error_form=form)
        request, _ = shop.buy()
        shop.account = replace(shop.account, secrets={"key": "wrong"})
        fresh = shop.request()
        assert shop.place(fresh).outcome is Outcome.AUTH_ERROR
        assert shop.bought(fresh) == []
        assert shop.find(request).outcome is Outcome.AUTH_ERROR
        assert (shop.balance().amount, shop.balance().error) == (None, "Invalid API key")
        assert (shop.catalogue().items, shop.catalogue().error) == ((), "Invalid API key")


class TestDown:
    @pytest.mark.parametrize("down", Down)
    def test_a_panel_that_is_down_says_nothing(self, shop: Shop, down: Down) -> None:
        request, _ = shop.buy()
        shop.simulator.switch(down=down)
        shop.wait(PATIENCE_S if down is Down.HANG else CALM_S)
        assert shop.place(shop.request()).outcome is BY_DOWN[down]
        assert shop.find(request).outcome is Outcome.UNKNOWN
        assert shop.balance().amount is None


class TestMixtures:
    @pytest.mark.parametrize("seed", range(60))
    def test_fates_and_switches_together_change_no_meaning(self, shop: Shop, seed: int) -> None:
        rng = random.Random(seed)
        shop.simulator.switch(
            error_form=rng.choice(list(ErrorForm)),
            cancelled=rng.choice(list(Cancelled)),
            waiting=rng.choice(list(Waiting)),
            start_count=rng.choice(list(StartCount)),
            money_form=rng.choice(list(MoneyForm)),
            order_as_text=rng.random() < 0.5,
        )
        place = rng.choice([place for place in Place if not place.endswith(("hang", "hang_before", "drip"))])
        final, delivered = rng.choice(list(Final)), rng.randrange(1000)
        request, result = shop.buy(place=place, final=final, delivered=str(delivered), cost="2.5")
        assert result.outcome is BY_PLACE[place]
        assert len(shop.bought(request)) == place.buys
        if place.buys:
            found = shop.find(request)
            charged = {Final.DELIVERED: Decimal("2.5"), Final.PARTIAL: Decimal("2.5") * delivered / 1000}
            assert (found.outcome, found.cost) == (BY_FINAL[final], charged.get(final))
