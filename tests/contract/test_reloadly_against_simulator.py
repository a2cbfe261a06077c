"""The Reloadly adapter against the simulator over real sockets, gift cards and airtime.

The two were written apart from the same document. A fate says what really happened, a table says what its buyer may
know about it, and both must meet, with each side of every question that the document leaves open.
"""

from __future__ import annotations

import hmac
import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from apps.common.egress import LOCAL
from apps.common.talk import drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall
from apps.providers.adapters.reloadly import Reloadly
from apps.providers.contract import (
    Account,
    Balance,
    Catalogue,
    Code,
    Listing,
    OrderRef,
    Outcome,
    PlaceRequest,
    Result,
)
from apps.simulator.client import SimulatorProcess
from apps.simulator.dialects.reloadly import CardForm, CardsWhileProcessing
from apps.simulator.fates import Final, Mangle, Place, RefuseClass, StatusFault
from apps.simulator.selftest.letters import receiver
from apps.simulator.switches import Down
from tests.contract.patience import CALM_S, PATIENCE_S, QUIET, waiting

CARD = {"product_id": "120", "amount": "10"}
USER_CARD = {"product_id": "77", "amount": "20"}
RANGE_CARD = {"product_id": "5", "amount": "12.5"}
TOP_UP = {"product_id": "341", "amount": "5"}
PIN_TOP_UP = {"product_id": "732", "amount": "5"}
DIALECT = "reloadly"
BY_PLACE: dict[Place, Outcome] = {
    **dict.fromkeys(Place, Outcome.UNKNOWN),
    Place.ACCEPT: Outcome.COMPLETED,
    Place.REFUSE: Outcome.INSUFFICIENT_BALANCE,
}
BY_REFUSE_CLASS: dict[RefuseClass, Outcome] = {
    RefuseClass.BALANCE: Outcome.INSUFFICIENT_BALANCE,
    RefuseClass.PRODUCT: Outcome.REJECTED,
    RefuseClass.AUTH: Outcome.AUTH_ERROR,
    RefuseClass.OTHER: Outcome.UNKNOWN,  # "cannot be processed at the moment": the reports are asked
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
    StatusFault.AUTH_TEXT: Outcome.COMPLETED,  # the token is renewed, and the question asked again
}
BY_DOWN: dict[Down, Outcome] = {
    **dict.fromkeys(Down, Outcome.UNKNOWN),
    Down.REFUSE: Outcome.NOT_SENT,
}

_numbers = itertools.count(1)


class Purse:
    """Tokens in a dictionary: as long as the adapter says, by nobody's clock."""

    def __init__(self) -> None:
        self.kept: dict[str, str] = {}
        self.lent: list[tuple[str, float]] = []

    def get(self, name: str) -> str:
        return self.kept.get(name, "")

    def put(self, name: str, token: str, life_s: float) -> None:
        self.kept[name] = token
        self.lent.append((name, life_s))

    def drop(self, name: str) -> None:
        self.kept.pop(name, None)


class Shop:
    """A buyer at one service: the adapter, the careful transport, and what the simulator knows to be true."""

    def __init__(self, simulator: SimulatorProcess, service: str, **options: object) -> None:
        self.simulator = simulator
        self.purse = Purse()
        self.calls: list[HttpCall] = []
        url = f"{simulator.url}/reloadly"
        known = {"service": service, "auth_url": url, "country": "NG", "recipient_is": "email"}
        secrets = {"client_secret": "demo-secret"}
        self.account = Account(f"{url}/{service}", "demo-client", secrets, "USD", known | options, self.purse)
        self.wait(CALM_S)

    def wait(self, patience_s: float) -> None:
        """How long this buyer waits for an answer from now on."""
        self.account = waiting(self.account, patience_s)

    @property
    def is_airtime(self) -> bool:
        return self.account.options["service"] == "topups"

    def send(self, call: HttpCall) -> Answer:
        self.calls.append(call)
        return send_once(call, policy=LOCAL)

    def hurried(self, call: HttpCall) -> Answer:
        """The same, waiting no longer than for a silent provider: a list is asked for with a patience of its own."""
        return self.send(replace(call, timeout_s=PATIENCE_S))

    def place(self, reference: str, product: dict[str, str] | None = None, recipient: str = "") -> Result:
        usual = TOP_UP if self.is_airtime else CARD
        new = f"23480{next(_numbers):08d}" if self.is_airtime else "buyer@example.invalid"
        request = PlaceRequest(reference, product or usual, recipient or new)
        return drive(Reloadly().place(self.account, request), self.send)[0]

    def find(self, reference: str) -> Result:
        return drive(Reloadly().find(self.account, OrderRef(reference)), self.send)[0]

    def status(self, reference: str, provider_id: str) -> Result:
        ref = OrderRef(reference, provider_id)
        return drive(Reloadly().status(self.account, [ref]), self.send)[0][reference]

    def balance(self) -> Balance:
        return drive(Reloadly().balance(self.account), self.send)[0]

    def catalogue(self) -> Catalogue:
        return drive(Reloadly().catalogue(self.account), self.send)[0]

    def listing(self, *references: str) -> Listing:
        """The list of the time in which these were bought."""
        times = [datetime.fromtimestamp(row["bought_at"], UTC) for each in references for row in self.bought(each)]
        begin, end = min(times) - timedelta(seconds=1), max(times) + timedelta(seconds=1)
        return drive(Reloadly().listing(self.account, begin, end), self.send)[0]

    def buy(self, product: dict[str, str] | None = None, **fate: Any) -> tuple[str, Result]:
        """Places a new order that has this fate, with a short patience where the fate is silence."""
        reference = new_reference()
        self.simulator.set_fate(reference=reference, **fate)
        if fate.get("place") in QUIET:
            self.wait(PATIENCE_S)
        result = self.place(reference, product)
        self.wait(CALM_S)
        return reference, result

    def bought(self, reference: str) -> list[dict[str, Any]]:
        """What was really bought under a reference."""
        return [row for row in self.simulator.orders() if row["reference"] == reference]

    def codes(self, reference: str) -> list[str]:
        """All codes that were given for it, by the truth."""
        return [pin for row in self.bought(reference) for pin in row["pins"]]

    def purchase_calls(self) -> list[HttpCall]:
        return [call for call in self.calls if call.method == "POST" and not call.url.endswith("/oauth/token")]

    def token_calls(self) -> list[HttpCall]:
        return [call for call in self.calls if call.url.endswith("/oauth/token")]


def new_reference() -> str:
    return str(830_000_000_000_000_000 + next(_numbers))


@pytest.fixture
def cards(world: SimulatorProcess) -> Shop:
    return Shop(world, "giftcards")


@pytest.fixture
def airtime(world: SimulatorProcess) -> Shop:
    return Shop(world, "topups")


@pytest.fixture(params=["giftcards", "topups"])
def shop(world: SimulatorProcess, request: pytest.FixtureRequest) -> Shop:
    return Shop(world, request.param)


class TestTables:
    def test_cover_everything_that_the_simulator_can_do(self) -> None:
        assert set(BY_REFUSE_CLASS) == set(RefuseClass)
        assert set(BY_FINAL) == set(Final)


class TestPlacing:
    @pytest.mark.parametrize("place", Place)
    def test_says_no_more_than_is_known_and_a_question_finds_the_truth(self, shop: Shop, place: Place) -> None:
        shop.buy()
        reference, result = shop.buy(place=place)
        assert (result.outcome, result.own_ref) == (BY_PLACE[place], reference)
        assert len(shop.bought(reference)) == int(place.buys)
        found = shop.find(reference)
        assert found.outcome is (Outcome.COMPLETED if place.buys else Outcome.NOT_FOUND)

    @pytest.mark.parametrize("refuse_class", RefuseClass)
    def test_reads_a_refusal_s_class(self, shop: Shop, refuse_class: RefuseClass) -> None:
        reference, result = shop.buy(place="refuse", refuse_class=refuse_class)
        assert (result.outcome, shop.bought(reference)) == (BY_REFUSE_CLASS[refuse_class], [])

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_failure_of_the_server_refuses_nothing(self, shop: Shop, status: int) -> None:
        reference, result = shop.buy(place="accept_then_500", error_status=status)
        assert (result.outcome, shop.find(reference).outcome) == (Outcome.UNKNOWN, Outcome.COMPLETED)

    @pytest.mark.parametrize("mangle", Mangle)
    def test_never_refuses_on_spoilt_bytes(self, shop: Shop, mangle: Mangle) -> None:
        reference, result = shop.buy(place_mangle=mangle)
        assert result.outcome in (Outcome.COMPLETED, Outcome.UNKNOWN)
        assert shop.find(reference).outcome is Outcome.COMPLETED

    def test_an_order_bought_twice_is_never_refused(self, shop: Shop) -> None:
        reference, result = shop.buy(executions=2)
        assert (result.outcome, len(shop.bought(reference))) == (Outcome.COMPLETED, 2)
        assert shop.find(reference).outcome is Outcome.COMPLETED

    def test_a_limited_order_may_be_asked_about_and_is_not_there(self, shop: Shop) -> None:
        shop.simulator.switch(rate_limited=True)
        reference, result = shop.buy()
        assert (result.outcome, shop.bought(reference)) == (Outcome.UNKNOWN, [])
        assert shop.find(reference).outcome is Outcome.UNKNOWN
        shop.simulator.switch(rate_limited=False)
        assert shop.find(reference).outcome is Outcome.NOT_FOUND

    @pytest.mark.parametrize(
        ("product", "outcome"),
        [
            ({"product_id": "120", "amount": "11"}, Outcome.REJECTED),
            ({"product_id": "121", "amount": "10"}, Outcome.REJECTED),
            (USER_CARD, Outcome.UNKNOWN),  # refused with a code that no document lists
        ],
    )
    def test_what_is_not_sold_is_not_bought(self, cards: Shop, product: dict[str, str], outcome: Outcome) -> None:
        reference, result = cards.buy(product)
        assert (result.outcome, cards.bought(reference)) == (outcome, [])

    def test_a_recipient_may_be_a_player(self, world: SimulatorProcess) -> None:
        shop = Shop(world, "giftcards", recipient_is="user_id")
        reference, result = shop.buy(USER_CARD)
        assert (result.outcome, len(shop.bought(reference))) == (Outcome.COMPLETED, 1)

    @pytest.mark.parametrize("is_on", [True, False])
    def test_one_phone_is_recharged_once_in_two_minutes(self, airtime: Shop, is_on: bool) -> None:
        airtime.simulator.switch(recharge_rule=is_on)
        phone = f"23490{next(_numbers):08d}"
        references = [new_reference() for _ in range(3)]
        airtime.place(references[0], recipient=phone)
        again = airtime.place(references[1], recipient=phone)
        wanted = (Outcome.RATE_LIMITED, 120.0) if is_on else (Outcome.COMPLETED, None)
        assert (again.outcome, again.retry_after_s) == wanted
        assert len(airtime.bought(references[1])) == int(not is_on)
        airtime.simulator.advance(Reloadly.caps.resend_min_gap_s)
        assert airtime.place(references[2], recipient=phone).outcome is Outcome.COMPLETED

    def test_a_local_amount_is_what_was_asked_for(self, world: SimulatorProcess) -> None:
        shop = Shop(world, "topups", use_local_amount=True)
        reference, result = shop.buy({"product_id": "341", "amount": "7500"})
        assert (result.outcome, result.cost) == (Outcome.COMPLETED, Decimal("5"))
        assert [row["cost"] for row in shop.bought(reference)] == ["5"]


class TestTheSameReference:
    """Capabilities `dedup`, `resend_same_ref_safe`, `ask_may_create` and `find_by_own_ref`, by the truth."""

    @pytest.mark.parametrize("ignores_overlap", [True, False])
    def test_is_bought_once_after_an_answer(self, shop: Shop, ignores_overlap: bool) -> None:
        shop.simulator.switch(ignores_overlap=ignores_overlap)
        reference, _ = shop.buy()
        again = shop.place(reference)
        assert (again.outcome, again.duplicate) == (Outcome.UNKNOWN, True)
        assert len(shop.bought(reference)) == 1

    @pytest.mark.parametrize(("ignores_overlap", "times"), [(True, 2), (False, 1)])
    def test_is_bought_twice_while_the_first_is_on_its_way(self, shop: Shop, ignores_overlap: bool, times: int) -> None:
        shop.simulator.switch(ignores_overlap=ignores_overlap)
        reference = new_reference()
        shop.simulator.set_fate(reference=reference, answer_delay_s=30, times=1)
        shop.wait(PATIENCE_S)
        assert shop.place(reference).outcome is Outcome.UNKNOWN
        shop.wait(CALM_S)
        shop.place(reference)
        assert len(shop.bought(reference)) == times
        assert (Reloadly.caps.dedup, Reloadly.caps.resend_same_ref_safe) == ("racy", False)

    def test_is_not_used_up_by_a_refusal(self, shop: Shop) -> None:
        reference = new_reference()
        shop.simulator.set_fate(reference=reference, place="refuse", times=1)
        assert shop.place(reference).outcome is Outcome.INSUFFICIENT_BALANCE
        assert shop.place(reference).outcome is Outcome.COMPLETED
        assert len(shop.bought(reference)) == 1

    def test_buys_nothing_when_it_is_asked_about(self, shop: Shop) -> None:
        reference = new_reference()
        assert shop.find(reference).outcome is Outcome.NOT_FOUND
        assert (shop.bought(reference), Reloadly.caps.ask_may_create) == ([], False)

    def test_is_found_by_its_own_name_of_any_age(self, shop: Shop) -> None:
        reference, _ = shop.buy()
        shop.simulator.advance(400 * 86400)
        assert shop.find(reference).outcome is Outcome.COMPLETED
        assert (Reloadly.caps.find_by_own_ref, Reloadly.caps.ref_max_age_s) == (True, None)

    @pytest.mark.parametrize("names_more", [0, 1])
    def test_may_be_as_long_as_the_capabilities_say(self, shop: Shop, names_more: int) -> None:
        reference = f"{new_reference()}{'7' * (Reloadly.caps.ref_max_len - 18 + names_more)}"
        shop.place(reference)
        assert len(shop.bought(reference)) == int(not names_more)

    def test_in_another_case_is_another_order(self, shop: Shop) -> None:
        """The reports match in any case; what they show is ours to the letter, or it is not."""
        name = f"ref-{new_reference()}-a"
        shop.place(name.upper())
        assert shop.find(name).outcome is Outcome.NOT_FOUND
        assert shop.find(name.upper()).outcome is Outcome.COMPLETED

    def test_is_found_on_the_second_page_of_the_reports(self, shop: Shop) -> None:
        tail = new_reference()
        shop.place(f"abcdef{tail}")
        for number in range(1, 52):
            shop.place(in_another_case("abcdef", number) + tail)
        found = shop.find(f"abcdef{tail}")
        assert (found.outcome, found.own_ref) == (Outcome.COMPLETED, f"abcdef{tail}")
        assert [dict(call.params).get("page") for call in shop.calls if "/reports/" in call.url][-2:] == ["1", "2"]


def in_another_case(letters: str, number: int) -> str:
    """The letters, large where the number has a bit."""
    return "".join(letter.upper() if number >> place & 1 else letter for place, letter in enumerate(letters))


class TestAsking:
    @pytest.mark.parametrize("final", Final)
    @pytest.mark.parametrize("status_inside", [True, False])
    def test_reads_the_end_of_an_order(self, shop: Shop, final: Final, status_inside: bool) -> None:
        shop.simulator.switch(status_inside=status_inside)
        reference, placed = shop.buy(final=final)
        found = shop.find(reference)
        asked = shop.status(reference, found.provider_id)
        assert (found.outcome, asked.outcome, asked.codes) == (BY_FINAL[final], BY_FINAL[final], found.codes)
        # A top-up on its way is told without its transaction, and so without its cost.
        is_told = final is not Final.NEVER or not shop.is_airtime
        assert (asked.cost, asked.balance_after) == ((found.cost, found.balance_after) if is_told else (None, None))
        assert found.provider_id == placed.provider_id == shop.bought(reference)[0]["order_id"]

    @pytest.mark.parametrize("status_inside", [True, False])
    def test_waits_until_it_is_done(self, shop: Shop, status_inside: bool) -> None:
        shop.simulator.switch(status_inside=status_inside)
        reference, placed = shop.buy(complete_after_s=60)
        asked = shop.status(reference, placed.provider_id)
        assert (placed.outcome, asked.outcome, asked.codes) == (Outcome.ACCEPTED, Outcome.ACCEPTED, ())
        assert shop.find(reference).outcome is Outcome.ACCEPTED
        shop.simulator.advance(60)
        assert shop.status(reference, placed.provider_id).outcome is Outcome.COMPLETED
        assert shop.find(reference).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("fault", StatusFault)
    def test_a_failed_search_is_no_news(self, shop: Shop, fault: StatusFault) -> None:
        shop.buy()
        reference, _ = shop.buy(status_faults=[fault])
        if fault is StatusFault.HANG:
            shop.wait(PATIENCE_S)
        assert shop.find(reference).outcome is BY_STATUS_FAULT[fault]
        shop.wait(CALM_S)
        assert shop.find(reference).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("fault", StatusFault)
    def test_a_failed_question_by_number_is_no_news(self, shop: Shop, fault: StatusFault) -> None:
        shop.buy()
        reference, placed = shop.buy(status_faults=[fault])
        if fault is StatusFault.HANG:
            shop.wait(PATIENCE_S)
        wanted = Outcome.UNKNOWN if fault is StatusFault.NOT_FOUND else BY_STATUS_FAULT[fault]
        assert shop.status(reference, placed.provider_id).outcome is wanted
        shop.wait(CALM_S)
        assert shop.status(reference, placed.provider_id).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("mangle", Mangle)
    def test_spoilt_bytes_never_end_an_order(self, shop: Shop, mangle: Mangle) -> None:
        reference, placed = shop.buy(complete_after_s=60, status_mangle=mangle)
        for result in (shop.find(reference), shop.status(reference, placed.provider_id)):
            assert (result.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN), result.codes) == (True, ())

    def test_reads_each_flip_as_it_comes(self, shop: Shop) -> None:
        reference, _ = shop.buy(complete_after_s=3600, status_flip=["PROCESSING", "FAILED", "REFUNDED", "successful"])
        seen = [shop.find(reference).outcome for _ in range(4)]
        assert seen == [Outcome.ACCEPTED, Outcome.REJECTED, Outcome.REJECTED, Outcome.UNKNOWN]

    def test_a_failed_order_may_be_delivered_later(self, shop: Shop) -> None:
        reference, _ = shop.buy(final="cancelled", flip_to_delivered_after_s=600)
        assert shop.find(reference).outcome is Outcome.REJECTED
        shop.simulator.advance(600)
        assert shop.find(reference).outcome is Outcome.COMPLETED

    def test_a_delivered_order_may_be_taken_back(self, shop: Shop) -> None:
        reference, _ = shop.buy(reverse_after_s=600)
        assert shop.find(reference).outcome is Outcome.COMPLETED
        shop.simulator.advance(600)
        found = shop.find(reference)
        assert (found.outcome, found.codes) == (Outcome.REJECTED, ())

    def test_an_old_state_is_read_as_it_is_told(self, shop: Shop) -> None:
        reference, _ = shop.buy(status_lag_s=30)
        assert shop.find(reference).outcome is Outcome.ACCEPTED
        shop.simulator.advance(30)
        assert shop.find(reference).outcome is Outcome.COMPLETED

    def test_a_hidden_order_is_found_later(self, shop: Shop) -> None:
        reference, placed = shop.buy(visible_after_s=30)
        assert shop.find(reference).outcome is Outcome.NOT_FOUND
        assert shop.status(reference, placed.provider_id).outcome is Outcome.UNKNOWN
        shop.simulator.advance(30)
        assert shop.find(reference).outcome is Outcome.COMPLETED

    def test_never_asks_about_two_orders_at_once(self, shop: Shop) -> None:
        refs = [OrderRef(new_reference()), OrderRef(new_reference())]
        with pytest.raises(ValueError, match="one order per question"):
            Reloadly().status(shop.account, refs)


class TestCards:
    @pytest.mark.parametrize("as_object", [True, False])
    @pytest.mark.parametrize("form", CardForm)
    @pytest.mark.parametrize("pin", ["0000123", "A" * 400, "a b  c", "100%", "%41", "AB+CD/EF==", "a&b?d#e", "İĞş-ığ"])
    def test_passes_a_card_on_exactly(self, cards: Shop, form: CardForm, as_object: bool, pin: str) -> None:
        cards.simulator.switch(card_form=form, single_card_as_object=as_object)
        reference, placed = cards.buy(pin=pin)
        (code,) = cards.find(reference).codes
        address = f"https://redeem.example.invalid/{pin}"
        wanted = Code(address, url=address) if form is CardForm.URL else Code(pin, pin=code.pin)
        assert code == wanted
        assert (len(code.pin), code.pin.isdigit()) == ((4, True) if form is CardForm.NUMBER_AND_PIN else (0, False))
        assert cards.status(reference, placed.provider_id).codes == (code,)

    @pytest.mark.parametrize("pin", ["9007199254740993", "12345678901234567890123456789", "0"])
    def test_a_card_number_that_is_a_number_keeps_every_digit(self, cards: Shop, pin: str) -> None:
        cards.simulator.switch(card_number_as_number=True)
        reference, _ = cards.buy(pin=pin)
        assert [code.value for code in cards.find(reference).codes] == [pin]

    @pytest.mark.parametrize("while_processing", CardsWhileProcessing)
    def test_a_card_may_come_later_than_its_order(self, cards: Shop, while_processing: CardsWhileProcessing) -> None:
        cards.simulator.switch(cards_while_processing=while_processing)
        reference, _ = cards.buy(pin_late_s=100)
        early = cards.find(reference)
        assert (early.outcome, early.codes) == (Outcome.COMPLETED, ())
        cards.simulator.advance(100)
        assert [code.value for code in cards.find(reference).codes] == cards.codes(reference) != []

    def test_a_second_card_is_read_as_well(self, cards: Shop) -> None:
        reference, _ = cards.buy(second_pin_after_s=100)
        assert len(cards.find(reference).codes) == 1
        cards.simulator.advance(100)
        assert [code.value for code in cards.find(reference).codes] == cards.codes(reference)
        assert len(cards.codes(reference)) == 2

    def test_no_card_is_read_before_the_order_is_done(self, cards: Shop) -> None:
        reference, _ = cards.buy(complete_after_s=60, pin_while_waiting=True)
        assert cards.find(reference).codes == ()
        cards.simulator.advance(60)
        assert [code.value for code in cards.find(reference).codes] == cards.codes(reference) != []

    def test_no_card_is_read_of_a_failed_order(self, cards: Shop) -> None:
        reference, _ = cards.buy(final="cancelled", pin_when_cancelled=True)
        found = cards.find(reference)
        assert (found.outcome, found.codes) == (Outcome.REJECTED, ())

    @pytest.mark.parametrize(
        "trouble", [{"down": "html"}, {"down": "empty"}, {"down": "refuse"}, {"rate_limited": True}]
    )
    def test_cards_that_cannot_be_read_leave_the_order_done(self, cards: Shop, trouble: dict[str, Any]) -> None:
        """The search is answered, the question about the cards is not: delivered, and its codes come later."""
        reference, _ = cards.buy()

        def send(call: HttpCall) -> Answer:
            cards.simulator.switch(**trouble if call.url.endswith("/cards") else {})
            return cards.send(call)

        result = drive(Reloadly().find(cards.account, OrderRef(reference)), send)[0]
        assert (result.outcome, result.codes) == (Outcome.COMPLETED, ())


class TestPinsOfAirtime:
    @pytest.mark.parametrize("pin", ["0000123", "A" * 400, "a b  c", "9007199254740993", "AB+CD/EF==", "İĞş-ığ"])
    def test_passes_a_pin_on_exactly(self, airtime: Shop, pin: str) -> None:
        reference, placed = airtime.buy(PIN_TOP_UP, pin=pin)
        wanted = (Code(pin, serial=f"S{placed.provider_id[-6:]}"),)
        assert (placed.codes, airtime.find(reference).codes) == (wanted, wanted)
        assert airtime.status(reference, placed.provider_id).codes == wanted

    def test_a_pin_before_the_end_and_after_a_failure_is_no_code(self, airtime: Shop) -> None:
        early, placed = airtime.buy(PIN_TOP_UP, complete_after_s=60, pin_while_waiting=True)
        failed, refused = airtime.buy(PIN_TOP_UP, final="cancelled", pin_when_cancelled=True)
        assert (placed.codes, airtime.find(early).codes) == ((), ())
        assert (refused.codes, airtime.find(failed).codes) == ((), ())
        airtime.simulator.advance(60)
        assert [code.value for code in airtime.find(early).codes] == airtime.codes(early) != []

    def test_a_late_pin_comes_later(self, airtime: Shop) -> None:
        reference, _ = airtime.buy(PIN_TOP_UP, pin_late_s=100)
        assert airtime.find(reference).codes == ()
        airtime.simulator.advance(100)
        assert [code.value for code in airtime.find(reference).codes] == airtime.codes(reference) != []

    def test_an_ordinary_top_up_gives_none(self, airtime: Shop) -> None:
        reference, placed = airtime.buy()
        assert (placed.codes, airtime.find(reference).codes, airtime.codes(reference)) == ((), (), [])


class TestTokens:
    def test_one_is_borrowed_for_many_calls_and_for_one_service(self, shop: Shop) -> None:
        for _ in range(3):
            shop.find(shop.buy()[0])
        service = str(shop.account.options["service"])
        assert shop.purse.lent == [(f"https://{service}.reloadly.com", 86400.0)]
        other = Shop(shop.simulator, "topups" if service == "giftcards" else "giftcards")
        other.purse.kept = {
            f"https://{other.account.options['service']}.reloadly.com": next(iter(shop.purse.kept.values()))
        }
        assert other.place(new_reference()).outcome is Outcome.AUTH_ERROR

    def test_an_expired_one_is_renewed_for_a_question(self, shop: Shop) -> None:
        reference, _ = shop.buy()
        shop.simulator.advance(86400)
        assert shop.find(reference).outcome is Outcome.COMPLETED
        assert len(shop.token_calls()) == 2

    def test_an_expired_one_ends_an_order_with_one_call_and_no_purchase(self, shop: Shop) -> None:
        shop.buy()
        shop.simulator.advance(86400)
        before = len(shop.purchase_calls())
        reference = new_reference()
        result = shop.place(reference)
        assert (result.outcome, result.retry_after_s, shop.bought(reference)) == (Outcome.AUTH_ERROR, 1, [])
        assert len(shop.purchase_calls()) - before == 1
        assert shop.place(reference).outcome is Outcome.COMPLETED
        assert len(shop.bought(reference)) == 1

    def test_one_that_is_never_taken_is_renewed_once(self, shop: Shop) -> None:
        reference, _ = shop.buy()
        shop.simulator.switch(token_life_s=0)
        shop.purse.kept.clear()
        asked = len(shop.calls)
        assert shop.find(reference).outcome is Outcome.AUTH_ERROR
        assert [call.method for call in shop.calls[asked:]] == ["POST", "GET", "POST", "GET"]
        asked = len(shop.calls)
        unbought = new_reference()
        assert (shop.place(unbought).outcome, shop.bought(unbought)) == (Outcome.AUTH_ERROR, [])
        assert len(shop.purchase_calls()) == 2

    def test_wrong_credentials_buy_nothing_and_say_nothing_of_an_order(self, shop: Shop) -> None:
        reference, _ = shop.buy()
        shop.purse.kept.clear()
        shop.account = replace(shop.account, secrets={"client_secret": "wrong"})
        before = len(shop.purchase_calls())
        assert shop.place(new_reference()).outcome is Outcome.AUTH_ERROR
        assert shop.find(reference).outcome is Outcome.AUTH_ERROR
        assert (shop.balance().amount, bool(shop.balance().error)) == (None, True)
        assert (shop.catalogue().items, bool(shop.catalogue().error)) == ((), True)
        assert len(shop.purchase_calls()) == before


class TestMoney:
    @pytest.mark.parametrize("misspelt", [True, False])
    @pytest.mark.parametrize("cost", ["1234.56789", "0.00001", "10.2"])
    def test_reads_cost_and_balance_exactly(self, shop: Shop, cost: str, misspelt: bool) -> None:
        shop.simulator.switch(balance_misspelt=misspelt)
        before = shop.balance().amount
        assert before is not None
        reference, placed = shop.buy(cost=cost)
        found = shop.find(reference)
        assert (placed.cost, found.cost, found.currency) == (Decimal(cost), Decimal(cost), "USD")
        after = before - Decimal(cost)
        assert shop.balance() == Balance(after, "USD", credit=after)
        assert (placed.balance_after, found.balance_after) == (after, after)
        assert Reloadly.caps.balance_check

    def test_a_range_costs_its_rate(self, cards: Shop) -> None:
        reference, result = cards.buy(RANGE_CARD)
        assert (result.cost, cards.bought(reference)[0]["cost"]) == (Decimal("13.53938"), "13.53938")

    def test_an_order_is_one_unit(self, shop: Shop) -> None:
        request = PlaceRequest(new_reference(), CARD, "23480000000", quantity=2)
        with pytest.raises(ValueError, match="one unit"):
            Reloadly().place(shop.account, request)
        assert Reloadly.caps.quantity == "one"

    def test_a_balance_in_another_money_is_none(self, shop: Shop) -> None:
        shop.account = replace(shop.account, currency="EUR")
        reference, placed = shop.buy()
        assert (placed.cost, placed.balance_after, shop.find(reference).cost) == (None, None, None)
        assert (shop.balance().amount, shop.balance().error) == (None, "the balance is in USD")


class TestCatalogue:
    def test_is_what_the_provider_sells(self, cards: Shop) -> None:
        listed = cards.catalogue()
        told = {tuple(item.ids.values()): (item.cost, item.currency, item.fields) for item in listed.items}
        assert (listed.error, told) == (
            "",
            {
                ("120", "10"): (Decimal("10.20"), "USD", ()),
                ("120", "25"): (Decimal("25.5"), "USD", ()),
                ("5", "5"): (Decimal("5.41575"), "USD", ()),
                ("77", "20"): (Decimal("19.4"), "USD", ("user_id",)),
            },
        )

    def test_everything_listed_can_be_bought_at_its_price(self, world: SimulatorProcess) -> None:
        shop = Shop(world, "giftcards", recipient_is="user_id")
        for item in shop.catalogue().items:
            _, result = shop.buy(dict(item.ids))
            assert (result.outcome, result.cost) == (Outcome.COMPLETED, item.cost)

    def test_a_list_that_is_not_there_is_an_error(self, airtime: Shop) -> None:
        """The simulator keeps no list of operators."""
        assert (airtime.catalogue().items, bool(airtime.catalogue().error)) == ((), True)


class TestTheListOfPurchases:
    FATES: tuple[dict[str, Any], ...] = (
        {},
        {"final": "cancelled"},
        {"complete_after_s": 3600},
        {"cost": "12.5"},
        {"reverse_after_s": 0},
    )
    OUTCOMES = (Outcome.COMPLETED, Outcome.REJECTED, Outcome.ACCEPTED, Outcome.COMPLETED, Outcome.REJECTED)

    def buy_some(self, shop: Shop) -> list[str]:
        """One purchase of each fate, with nothing else bought shortly before."""
        shop.simulator.advance(60)
        return [shop.buy(**fate)[0] for fate in self.FATES]

    @pytest.mark.parametrize("most_per_page", [200, 2, 1])
    def test_is_what_was_bought_in_a_time_whatever_fits_a_page(self, shop: Shop, most_per_page: int) -> None:
        shop.simulator.switch(most_per_page=most_per_page)
        references = self.buy_some(shop)
        listing = shop.listing(*references)
        told = {one.own_ref: (one.provider_id, one.outcome, one.cost, one.at) for one in listing.purchases}
        rows = [row for reference in references for row in shop.bought(reference)]
        assert (listing.error, len(listing.purchases)) == ("", len(references))
        assert told == {
            row["reference"]: (
                row["order_id"], outcome, Decimal(row["cost"]), datetime.fromtimestamp(int(row["bought_at"]), UTC)
            )
            for row, outcome in zip(rows, self.OUTCOMES, strict=True)
        }  # fmt: skip

    def test_holds_one_service_and_one_time(self, cards: Shop) -> None:
        references = self.buy_some(cards)
        airtime = Shop(cards.simulator, "topups")
        other, _ = airtime.buy()
        later, _ = cards.buy()
        assert {one.own_ref for one in cards.listing(*references).purchases} >= set(references)
        assert {one.own_ref for one in airtime.listing(other).purchases}.isdisjoint({*references, later})

    def test_that_stops_early_is_none(self, shop: Shop) -> None:
        references = self.buy_some(shop)
        shop.simulator.switch(report_stops_early=True, most_per_page=2)
        fault = "another_number_of_transactions_than_it_counts"
        assert shop.listing(*references) == Listing((), fault)
        shop.simulator.switch(report_stops_early=False)
        assert len(shop.listing(*references).purchases) == len(references)

    @pytest.mark.parametrize("trouble", [{"rate_limited": True}, {"token_life_s": 0}, *({"down": one} for one in Down)])
    def test_that_is_not_told_is_none(self, shop: Shop, trouble: dict[str, Any]) -> None:
        reference, _ = shop.buy()
        shop.simulator.switch(**trouble)
        listing = drive(Reloadly().listing(shop.account, *self.around(shop, reference)), shop.hurried)[0]
        assert (listing.purchases, bool(listing.error)) == ((), True)

    def around(self, shop: Shop, reference: str) -> tuple[datetime, datetime]:
        at = datetime.fromtimestamp(shop.bought(reference)[0]["bought_at"], UTC)
        return at - timedelta(seconds=1), at + timedelta(seconds=1)


class TestWebhooks:
    def test_are_signed_as_the_capabilities_say(self, shop: Shop) -> None:
        with receiver() as (url, letters):
            shop.simulator.switch(hook_url=url)
            shop.buy()
            letter = letters.get(timeout=30)
            shop.simulator.switch(hook_url=None)
        assert Reloadly.caps.webhook == "hmac_sha256"
        signed = letter.body + b":" + letter.headers["x-reloadly-request-timestamp"].encode()
        wanted = hmac.new(b"demo-webhook-secret", signed, Reloadly.caps.webhook.removeprefix("hmac_")).hexdigest()
        assert letter.headers["x-reloadly-signature"] == wanted


class TestDown:
    @pytest.mark.parametrize("down", Down)
    def test_a_provider_that_is_down_says_nothing(self, shop: Shop, down: Down) -> None:
        reference, placed = shop.buy()
        shop.simulator.switch(down=down)
        shop.wait(PATIENCE_S if down is Down.HANG else CALM_S)
        assert shop.place(new_reference()).outcome is BY_DOWN[down]
        assert shop.find(reference).outcome is Outcome.UNKNOWN
        assert shop.status(reference, placed.provider_id).outcome is Outcome.UNKNOWN
        assert (shop.balance().amount, bool(shop.balance().error)) == (None, True)

    @pytest.mark.parametrize("down", Down)
    def test_without_a_token_nothing_is_sent(self, shop: Shop, down: Down) -> None:
        shop.simulator.switch(down=down)
        shop.wait(PATIENCE_S if down is Down.HANG else CALM_S)
        assert shop.place(new_reference()).outcome is Outcome.NOT_SENT
        assert shop.purchase_calls() == []


class TestMixtures:
    @pytest.mark.parametrize("seed", range(60))
    def test_fates_and_switches_together_change_no_meaning(self, shop: Shop, seed: int) -> None:
        rng = random.Random(seed)
        shop.simulator.switch(
            cards_while_processing=rng.choice(list(CardsWhileProcessing)),
            card_form=rng.choice([CardForm.NUMBER, CardForm.NUMBER_AND_PIN]),
            single_card_as_object=rng.random() < 0.5,
            card_number_as_number=rng.random() < 0.5,
            balance_misspelt=rng.random() < 0.5,
            status_inside=rng.random() < 0.5,
        )
        place = rng.choice([place for place in Place if place not in QUIET])
        final = rng.choice(list(Final))
        reference, result = shop.buy(
            PIN_TOP_UP if shop.is_airtime else CARD,
            place=place,
            final=final,
            pin=rng.choice([None, "0000123", "12345678901234567890", "ab cd"]),
            pin_while_waiting=rng.random() < 0.5,
            pin_when_cancelled=rng.random() < 0.5,
        )
        assert result.outcome in (BY_PLACE[place], BY_FINAL[final] if place.buys else Outcome.UNKNOWN)
        found = shop.find(reference)
        assert found.outcome is (BY_FINAL[final] if place.buys else Outcome.NOT_FOUND)
        shown = shop.codes(reference) if found.outcome is Outcome.COMPLETED else []
        assert [code.value for code in found.codes] == shown
