"""The airtime adapter against the simulator over real sockets: what it reads follows from the fate, never the text.

The two were written apart from the same document. A fate says what really happened, a table says what its buyer may
know about it, and both must meet, with each side of every disagreement between the panels.
"""

from __future__ import annotations

import itertools
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from apps.common.egress import LOCAL
from apps.common.talk import drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall
from apps.providers.adapters.znet_tl import ZnetTl
from apps.providers.contract import Account, Balance, Catalogue, OrderRef, Outcome, PlaceRequest, Result
from apps.simulator.client import SimulatorProcess
from apps.simulator.dialects.znet_text import BadPassword, Encoding, NumberFormat
from apps.simulator.dialects.znet_tl import RepeatPolicy, UnknownReference
from apps.simulator.fates import Final, Mangle, Place, RefuseClass, StatusFault
from apps.simulator.switches import Down

PACKAGE = {"operator": "vodafone", "tip": "tam", "kontor": "50"}
INQUIRY = {"operator": "vodafone", "tip": "ses", "kontor": "5001"}
DIALECT = "znet_tl"
PATIENCE_S = 0.3
CALM_S = 5.0
"""For answers that come at once: a busy machine must not look like a silent provider."""

QUIET = frozenset({Place.ACCEPT_THEN_HANG, Place.ACCEPT_THEN_DRIP, Place.ACCEPT_THEN_HEADERS, Place.HANG_BEFORE})

BY_PLACE: dict[Place, Outcome] = {
    **dict.fromkeys(Place, Outcome.UNKNOWN),
    Place.ACCEPT: Outcome.ACCEPTED,
    Place.ACCEPT_THEN_OTHER_ORDER: Outcome.ACCEPTED,  # an answer names no order
    Place.REFUSE: Outcome.INSUFFICIENT_BALANCE,
}
BY_REFUSE_CLASS: dict[RefuseClass, Outcome] = {
    RefuseClass.BALANCE: Outcome.INSUFFICIENT_BALANCE,
    RefuseClass.PRODUCT: Outcome.REJECTED,
    RefuseClass.AUTH: Outcome.AUTH_ERROR,
    RefuseClass.OTHER: Outcome.UNKNOWN,
}
BY_FINAL: dict[Final, Outcome] = {
    Final.DELIVERED: Outcome.COMPLETED,
    Final.PARTIAL: Outcome.COMPLETED,
    Final.CANCELLED: Outcome.REJECTED,
    Final.REVERSED: Outcome.REJECTED,
    Final.NEVER: Outcome.ACCEPTED,
}
BY_STATUS_FAULT: dict[StatusFault, Outcome] = {
    **dict.fromkeys(StatusFault, Outcome.UNKNOWN),
    StatusFault.NOT_FOUND: Outcome.NOT_FOUND,
    StatusFault.AUTH_TEXT: Outcome.AUTH_ERROR,
    StatusFault.OTHER_ORDER: Outcome.COMPLETED,  # an answer names no order
}
BY_UNKNOWN_REFERENCE: dict[UnknownReference, Outcome] = {
    UnknownReference.CLONE_A: Outcome.UNKNOWN,
    UnknownReference.CLONE_B: Outcome.NOT_FOUND,
}
BY_REPEAT: dict[RepeatPolicy, tuple[Outcome, bool]] = {
    RepeatPolicy.DOCUMENT: (Outcome.UNKNOWN, True),
    RepeatPolicy.CLONE_A: (Outcome.UNKNOWN, True),
    RepeatPolicy.CLONE_B: (Outcome.ACCEPTED, False),
}
BY_DOWN: dict[Down, Outcome] = {
    **dict.fromkeys(Down, Outcome.UNKNOWN),
    Down.REFUSE: Outcome.NOT_SENT,
}

_numbers = itertools.count(1)


class Shop:
    """A buyer at one simulator: the adapter, the careful transport, and what the simulator knows to be true."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self.simulator = simulator
        self.account = Account(f"{simulator.url}/znet_tl", "demo", {"sifre": "demo-secret"}, "TRY")
        self.wait(CALM_S)

    def wait(self, patience_s: float) -> None:
        """How long this buyer waits for an answer from now on."""
        options = {**self.account.options, "place_timeout_s": patience_s, "ask_timeout_s": patience_s}
        self.account = replace(self.account, options=options)

    def place(self, reference: str, product: dict[str, str] = PACKAGE, phone: str = "") -> Result:
        request = PlaceRequest(reference, product, phone or f"5{next(_numbers):09d}")
        return drive(ZnetTl().place(self.account, request), _send)[0]

    def find(self, reference: str) -> Result:
        return drive(ZnetTl().find(self.account, OrderRef(reference)), _send)[0]

    def status(self, reference: str) -> Result:
        return drive(ZnetTl().status(self.account, [OrderRef(reference)]), _send)[0][reference]

    def balance(self) -> Balance:
        return drive(ZnetTl().balance(self.account), _send)[0]

    def catalogue(self) -> Catalogue:
        return drive(ZnetTl().catalogue(self.account), _send)[0]

    def buy(self, product: dict[str, str] = PACKAGE, **fate: Any) -> tuple[str, Result]:
        """Places a new order that has this fate."""
        reference = new_reference()
        self.simulator.set_fate(reference=reference, **fate)
        if fate.get("place") in QUIET or "answer_delay_s" in fate:
            self.wait(PATIENCE_S)
        result = self.place(reference, product)
        self.wait(CALM_S)
        return reference, result


def new_reference() -> str:
    return str(820_000_000_000_000_000 + next(_numbers))


def _send(call: HttpCall) -> Answer:
    return send_once(call, policy=LOCAL)


@pytest.fixture
def shop(world: SimulatorProcess) -> Shop:
    return Shop(world)


class TestTables:
    def test_cover_everything_that_the_simulator_can_do(self) -> None:
        assert set(BY_REFUSE_CLASS) == set(RefuseClass)
        assert set(BY_FINAL) == set(Final)
        assert set(BY_UNKNOWN_REFERENCE) == set(UnknownReference)
        assert set(BY_REPEAT) == set(RepeatPolicy)


class TestPlacing:
    @pytest.mark.parametrize("place", Place)
    def test_says_no_more_than_is_known(self, shop: Shop, place: Place) -> None:
        reference, result = shop.buy(place=place)
        assert (result.outcome, result.own_ref) == (BY_PLACE[place], reference)
        assert shop.find(reference).outcome is (Outcome.COMPLETED if place.buys else Outcome.NOT_FOUND)

    @pytest.mark.parametrize("refuse_class", RefuseClass)
    def test_reads_a_refusal_s_class(self, shop: Shop, refuse_class: RefuseClass) -> None:
        _, result = shop.buy(place="refuse", refuse_class=refuse_class)
        assert result.outcome is BY_REFUSE_CLASS[refuse_class]

    @pytest.mark.parametrize("encoding", Encoding)
    @pytest.mark.parametrize("policy", RepeatPolicy)
    def test_a_repeated_reference_is_never_refused(self, shop: Shop, policy: RepeatPolicy, encoding: Encoding) -> None:
        shop.simulator.switch(repeat_policy=policy, encoding=encoding)
        reference, _ = shop.buy()
        again = shop.place(reference)
        assert (again.outcome, again.duplicate) == BY_REPEAT[policy]

    @pytest.mark.parametrize("is_on", [True, False])
    def test_the_same_number_within_ten_minutes_may_be_the_same_order(self, shop: Shop, is_on: bool) -> None:
        shop.simulator.switch(ten_minute_rule=is_on)
        phone = f"5{next(_numbers):09d}"
        assert shop.place(new_reference(), phone=phone).outcome is Outcome.ACCEPTED
        again = shop.place(new_reference(), phone=phone)
        assert (again.outcome, again.duplicate) == ((Outcome.UNKNOWN, True) if is_on else (Outcome.ACCEPTED, False))
        shop.simulator.advance(600)
        assert shop.place(new_reference(), phone=phone).outcome is Outcome.ACCEPTED

    def test_an_amount_that_is_not_sold_is_refused(self, shop: Shop) -> None:
        assert shop.buy({**PACKAGE, "kontor": "51"})[1].outcome is Outcome.REJECTED

    @pytest.mark.parametrize("mangle", Mangle)
    def test_never_refuses_on_spoilt_bytes(self, shop: Shop, mangle: Mangle) -> None:
        _, result = shop.buy(place_mangle=mangle)
        assert result.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)


class TestAsking:
    @pytest.mark.parametrize("names_operator", [True, False])
    @pytest.mark.parametrize("cancel_has_cost", [True, False])
    @pytest.mark.parametrize("final", Final)
    def test_reads_the_end_of_an_order(
        self, shop: Shop, final: Final, cancel_has_cost: bool, names_operator: bool
    ) -> None:
        shop.simulator.switch(cancel_has_cost=cancel_has_cost, success_names_operator=names_operator)
        reference, _ = shop.buy(final=final)
        found = shop.find(reference)
        assert (found.outcome, found.codes) == (BY_FINAL[final], ())
        assert shop.status(reference) == found

    @pytest.mark.parametrize("encoding", Encoding)
    @pytest.mark.parametrize("text", ["", "Numara faturalı hat", "Ağda değil (İĞÜŞÖÇ ığüşöç)"])
    def test_reads_why_an_order_was_cancelled(self, shop: Shop, text: str, encoding: Encoding) -> None:
        shop.simulator.switch(encoding=encoding)
        reference, _ = shop.buy(final="cancelled", cancel_text=text)
        assert (shop.find(reference).outcome, shop.find(reference).reason) == (Outcome.REJECTED, text)

    def test_believes_no_cancellation_that_falls_through_to_another_state(self, shop: Shop) -> None:
        shop.simulator.switch(cancel_falls_through=True)
        reference, _ = shop.buy(final="cancelled")
        assert shop.find(reference).outcome is Outcome.UNKNOWN

    def test_an_inquiry_is_answered_by_its_cancellation(self, shop: Shop) -> None:
        reference, placed = shop.buy(INQUIRY)
        assert placed.outcome is Outcome.ACCEPTED
        found = shop.find(reference)
        assert (found.outcome, found.reason) == (Outcome.REJECTED, "Ses paketi yok. Tavsiye= ,12,34,")

    @pytest.mark.parametrize("fault", StatusFault)
    def test_a_failed_question_is_no_news(self, shop: Shop, fault: StatusFault) -> None:
        shop.buy()
        reference, _ = shop.buy(status_faults=[fault])
        shop.wait(PATIENCE_S if fault is StatusFault.HANG else CALM_S)
        assert shop.find(reference).outcome is BY_STATUS_FAULT[fault]
        shop.wait(CALM_S)
        assert shop.find(reference).outcome is Outcome.COMPLETED

    def test_reads_each_flip_as_it_comes(self, shop: Shop) -> None:
        reference, _ = shop.buy(status_flip=["2", "3", "9", "1"])
        seen = [shop.find(reference).outcome for _ in range(4)]
        assert seen == [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.UNKNOWN, Outcome.COMPLETED]

    @pytest.mark.parametrize("unknown", UnknownReference)
    def test_a_hidden_order_is_found_later(self, shop: Shop, unknown: UnknownReference) -> None:
        shop.simulator.switch(unknown_reference=unknown)
        reference, _ = shop.buy(visible_after_s=30)
        assert shop.find(reference).outcome is BY_UNKNOWN_REFERENCE[unknown]
        shop.simulator.advance(30)
        assert shop.find(reference).outcome is Outcome.COMPLETED


class TestMoney:
    @pytest.mark.parametrize("number_format", NumberFormat)
    def test_reads_cost_and_balance_exactly(self, shop: Shop, number_format: NumberFormat) -> None:
        shop.simulator.switch(number_format=number_format, debt="1250.50")
        reference, result = shop.buy(cost="1234.56")
        assert (result.cost, shop.find(reference).cost) == (Decimal("1234.56"), Decimal("1234.56"))
        balance = shop.balance()
        assert (balance.debt, balance.error) == (Decimal("1250.50"), "")

    @pytest.mark.parametrize("number_format", NumberFormat)
    @pytest.mark.parametrize("line_feeds", [True, False])
    def test_reads_the_packages(self, shop: Shop, line_feeds: bool, number_format: NumberFormat) -> None:
        shop.simulator.switch(line_feeds=line_feeds, number_format=number_format)
        told = {tuple(item.ids.values()): item.cost for item in shop.catalogue().items}
        assert told == {
            ("turkcell", "tam", "100"): Decimal("95.50"),
            ("turkcell", "3gcep", "8401"): Decimal("210.00"),
            ("vodafone", "tam", "50"): Decimal("47.25"),
            ("vodafone", "ses", "515"): Decimal("1250.00"),
            ("vodafone", "ses", "5001"): None,
            ("avea", "sms", "1000"): Decimal("18.40"),
        }


class TestLogin:
    @pytest.mark.parametrize("encoding", Encoding)
    @pytest.mark.parametrize("form", BadPassword)
    def test_a_bad_password_is_no_news_and_no_balance(self, shop: Shop, form: BadPassword, encoding: Encoding) -> None:
        reference, _ = shop.buy()
        shop.simulator.switch(bad_password=form, encoding=encoding)
        shop.account = replace(shop.account, secrets={"sifre": "wrong"})
        assert shop.place(new_reference()).outcome is Outcome.AUTH_ERROR
        assert shop.find(reference).outcome is Outcome.AUTH_ERROR
        assert (shop.balance().amount, shop.catalogue().items) == (None, ())
        assert shop.catalogue().error

    @pytest.mark.parametrize("form", BadPassword)
    def test_a_wrong_address_is_no_news(self, shop: Shop, form: BadPassword) -> None:
        reference, _ = shop.buy()
        shop.simulator.switch(bad_password=form, wrong_ip=True)
        assert shop.place(new_reference()).outcome is Outcome.AUTH_ERROR
        assert shop.find(reference).outcome is Outcome.AUTH_ERROR

    @pytest.mark.parametrize("form", BadPassword)
    def test_a_disabled_dealer_is_no_news(self, shop: Shop, form: BadPassword) -> None:
        reference, _ = shop.buy()
        shop.simulator.switch(bad_password=form, dealer_disabled=True)
        wanted = Outcome.AUTH_ERROR if form is BadPassword.CLONE_B else Outcome.UNKNOWN
        assert shop.place(new_reference()).outcome is wanted
        assert shop.find(reference).outcome is wanted


class TestDown:
    @pytest.mark.parametrize("down", Down)
    def test_a_panel_that_is_down_says_nothing(self, shop: Shop, down: Down) -> None:
        reference, _ = shop.buy()
        shop.simulator.switch(down=down)
        shop.wait(PATIENCE_S if down is Down.HANG else CALM_S)
        assert shop.place(new_reference()).outcome is BY_DOWN[down]
        assert shop.find(reference).outcome is Outcome.UNKNOWN
        assert shop.balance().amount is None
