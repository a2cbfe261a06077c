"""The Digiflazz adapter against the simulator over real sockets: the identical purchase again is its only question.

The two were written apart from the same document. A fate says what really happened, a table says what its buyer may
know about it, and both must meet, with each side of every question that the document leaves open.
"""

from __future__ import annotations

import hmac
import itertools
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from apps.common.egress import LOCAL
from apps.common.talk import drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall
from apps.providers.adapters.digiflazz import RCS, Digiflazz
from apps.providers.contract import Account, Balance, Catalogue, Code, OrderRef, Outcome, PlaceRequest, Result
from apps.simulator.client import SimulatorProcess
from apps.simulator.dialects.digiflazz import REMEMBERED_S, HttpStatuses, Reused, SerialForm
from apps.simulator.fates import BlankForm, Final, Mangle, Place, RefuseClass, StatusFault
from apps.simulator.selftest.letters import receiver
from apps.simulator.switches import Down
from tests.contract.patience import CALM_S, PATIENCE_S, QUIET, waiting

VOUCHER = {"buyer_sku_code": "gp50", "sn": "code"}
TOP_UP = {"buyer_sku_code": "xld10"}
DIALECT = "digiflazz"
BY_PLACE: dict[Place, Outcome] = {
    **dict.fromkeys(Place, Outcome.UNKNOWN),
    Place.ACCEPT: Outcome.COMPLETED,
    Place.REFUSE: Outcome.INSUFFICIENT_BALANCE,
}
BY_REFUSE_CLASS: dict[RefuseClass, Outcome] = {
    RefuseClass.BALANCE: Outcome.INSUFFICIENT_BALANCE,
    RefuseClass.PRODUCT: Outcome.OUT_OF_STOCK,
    RefuseClass.AUTH: Outcome.AUTH_ERROR,
    RefuseClass.OTHER: Outcome.UNKNOWN,  # "not unique": an earlier purchase may exist
}
BY_FINAL: dict[Final, Outcome] = {
    Final.DELIVERED: Outcome.COMPLETED,
    Final.PARTIAL: Outcome.COMPLETED,
    Final.CANCELLED: Outcome.REJECTED,
    Final.REVERSED: Outcome.REVERSED,
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
BY_RC: dict[Outcome, tuple[str, ...]] = {
    Outcome.REJECTED: (
        *("01", "02", "40", "43", "47", "51", "52", "54", "57", "59"),
        *("60", "63", "64", "65", "70", "72", "73", "84", "87"),
    ),
    Outcome.AUTH_ERROR: ("41", "42", "45", "80", "81", "82", "88"),
    Outcome.INSUFFICIENT_BALANCE: ("44", "61"),
    Outcome.OUT_OF_STOCK: ("53", "55", "56", "58", "62", "66", "67", "68", "69", "71"),
    Outcome.REVERSED: ("74",),
    Outcome.RATE_LIMITED: ("83", "85", "86"),
    Outcome.UNKNOWN: ("49", "50", "97", "98", "04", "0", "000"),
}
"""What the document's table says of a purchase that failed with a code; a code that is not in it says nothing."""

_numbers = itertools.count(1)


class Shop:
    """A buyer at one simulator: the adapter, the careful transport, and what the simulator knows to be true."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self.simulator = simulator
        url = f"{simulator.url}/digiflazz/v1"
        self.account = Account(url, "demo", {"api_key": "demo-secret"}, "IDR")
        self.wait(CALM_S)

    def wait(self, patience_s: float) -> None:
        """How long this buyer waits for an answer from now on."""
        self.account = waiting(self.account, patience_s)

    def place(self, request: PlaceRequest) -> Result:
        return drive(Digiflazz().place(self.account, request), _send)[0]

    def find(self, request: PlaceRequest) -> Result:
        return drive(Digiflazz().find(self.account, ref_of(request)), _send)[0]

    def status(self, request: PlaceRequest) -> Result:
        return drive(Digiflazz().status(self.account, [ref_of(request)]), _send)[0][request.reference]

    def balance(self) -> Balance:
        return drive(Digiflazz().balance(self.account), _send)[0]

    def catalogue(self) -> Catalogue:
        return drive(Digiflazz().catalogue(self.account), _send)[0]

    def buy(
        self, product: dict[str, str] = VOUCHER, times: int | None = None, **fate: Any
    ) -> tuple[PlaceRequest, Result]:
        """Places a new order that has this fate, with a short patience where the fate is silence."""
        request = new_request(product)
        self.simulator.set_fate(reference=request.reference, times=times, **fate)
        if fate.get("place") in QUIET:
            self.wait(PATIENCE_S)
        result = self.place(request)
        self.wait(CALM_S)
        return request, result

    def bought(self, request: PlaceRequest) -> list[dict[str, Any]]:
        """What was really bought under a reference."""
        return [row for row in self.simulator.orders() if row["reference"] == request.reference]

    def newest_code(self, request: PlaceRequest) -> tuple[Code, ...]:
        """The code that was given last, by the truth."""
        return tuple(Code(pin) for pin in self.bought(request)[-1]["pins"][-1:])


def ref_of(request: PlaceRequest) -> OrderRef:
    return OrderRef(request.reference, request=request)


def new_request(product: dict[str, str] = VOUCHER) -> PlaceRequest:
    number = next(_numbers)
    return PlaceRequest(str(840_000_000_000_000_000 + number), product, f"0878{number:08d}")


def _send(call: HttpCall) -> Answer:
    return send_once(call, policy=LOCAL)


@pytest.fixture
def plain(world: SimulatorProcess) -> Shop:
    return Shop(world)


@pytest.fixture(params=HttpStatuses)
def shop(plain: Shop, request: pytest.FixtureRequest) -> Shop:
    """With each of the two ways in which a failure may come over HTTP."""
    plain.simulator.switch(http_statuses=request.param)
    return plain


class TestTables:
    def test_cover_everything_that_the_simulator_can_do(self) -> None:
        assert set(BY_REFUSE_CLASS) == set(RefuseClass)
        assert set(BY_FINAL) == set(Final)

    def test_cover_every_code_of_the_document(self) -> None:
        assert set(RCS) - set(itertools.chain.from_iterable(BY_RC.values())) == {"00", "03", "99"}


class TestPlacing:
    @pytest.mark.parametrize("place", Place)
    def test_says_no_more_than_is_known(self, shop: Shop, place: Place) -> None:
        shop.buy()
        request, result = shop.buy(place=place)
        assert (result.outcome, result.own_ref) == (BY_PLACE[place], request.reference)
        assert result.codes == (shop.newest_code(request) if place is Place.ACCEPT else ())
        assert len(shop.bought(request)) == int(place.buys)

    @pytest.mark.parametrize("place", Place)
    def test_a_question_afterwards_leaves_one_purchase(self, shop: Shop, place: Place) -> None:
        """It finds what was bought, and buys what was not: that is what `ask_may_create` warns of."""
        shop.buy()
        request, _ = shop.buy(place=place, times=1)
        found = shop.find(request)
        assert (found.outcome, found.codes) == (Outcome.COMPLETED, shop.newest_code(request))
        assert len(shop.bought(request)) == 1
        assert Digiflazz.caps.ask_may_create

    @pytest.mark.parametrize("refuse_class", RefuseClass)
    def test_reads_a_refusal_s_class(self, shop: Shop, refuse_class: RefuseClass) -> None:
        request, result = shop.buy(place="refuse", refuse_class=refuse_class)
        assert (result.outcome, shop.bought(request)) == (BY_REFUSE_CLASS[refuse_class], [])
        assert result.duplicate == (refuse_class is RefuseClass.OTHER)

    @pytest.mark.parametrize(("outcome", "rc"), [(outcome, rc) for outcome, rcs in BY_RC.items() for rc in rcs])
    def test_reads_every_code_of_a_failure(self, shop: Shop, outcome: Outcome, rc: str) -> None:
        _, result = shop.buy(place="refuse", refuse_text=f"{rc}|Transaksi gagal")
        assert (result.outcome, result.reason, result.codes) == (outcome, "Transaksi gagal", ())

    @pytest.mark.parametrize("rc", ["00", "03", "99"])
    def test_a_good_code_with_a_word_of_failure_says_nothing(self, shop: Shop, rc: str) -> None:
        request, result = shop.buy(place="refuse", refuse_text=f"{rc}|Transaksi")
        assert (result.outcome, shop.bought(request)) == (Outcome.UNKNOWN, [])

    @pytest.mark.parametrize("status", [500, 502, 503, 504])
    def test_a_failure_of_the_server_refuses_nothing(self, shop: Shop, status: int) -> None:
        request, result = shop.buy(place="accept_then_500", error_status=status)
        assert (result.outcome, shop.find(request).outcome) == (Outcome.UNKNOWN, Outcome.COMPLETED)

    @pytest.mark.parametrize("mangle", Mangle)
    def test_never_refuses_on_spoilt_bytes(self, shop: Shop, mangle: Mangle) -> None:
        request, result = shop.buy(place_mangle=mangle)
        assert result.outcome in (Outcome.COMPLETED, Outcome.UNKNOWN)
        assert result.codes in ((), shop.newest_code(request))

    def test_is_in_doubt_after_an_answer_that_comes_too_late(self, shop: Shop) -> None:
        shop.wait(PATIENCE_S)
        request, result = shop.buy(answer_delay_s=30)
        assert (result.outcome, len(shop.bought(request))) == (Outcome.UNKNOWN, 1)
        assert shop.find(request).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize(("limit", "outcome"), [("51250", Outcome.COMPLETED), ("51249", Outcome.OUT_OF_STOCK)])
    def test_never_pays_more_than_the_mapping_allows(self, shop: Shop, limit: str, outcome: Outcome) -> None:
        request, result = shop.buy({**VOUCHER, "max_price": limit})
        assert (result.outcome, len(shop.bought(request))) == (outcome, int(outcome is Outcome.COMPLETED))

    def test_what_is_not_sold_is_not_bought(self, shop: Shop) -> None:
        request, result = shop.buy({"buyer_sku_code": "gp51"})
        assert (result.outcome, shop.bought(request)) == (Outcome.REJECTED, [])

    @pytest.mark.parametrize("once_a_day", [True, False])
    def test_a_product_may_be_sold_once_a_day_to_a_customer(self, shop: Shop, once_a_day: bool) -> None:
        shop.simulator.switch(once_a_day=once_a_day)
        first, _ = shop.buy(TOP_UP)
        second = replace(new_request(TOP_UP), recipient=first.recipient)
        wanted = Outcome.REJECTED if once_a_day else Outcome.COMPLETED
        assert (shop.place(second).outcome, len(shop.bought(second))) == (wanted, int(not once_a_day))
        assert shop.find(first).outcome is Outcome.COMPLETED


class TestTheSameReference:
    """Capabilities `dedup`, `resend_same_ref_safe`, `ref_max_age_s` and `ref_max_len`, by the truth."""

    def test_is_answered_with_the_first_order_and_bought_once(self, shop: Shop) -> None:
        request, first = shop.buy(complete_after_s=60)
        assert (first.outcome, shop.place(request).outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
        shop.simulator.advance(60)
        again = shop.place(request)
        assert (again.outcome, again.codes) == (Outcome.COMPLETED, shop.newest_code(request))
        assert len(shop.bought(request)) == 1
        assert (Digiflazz.caps.dedup, Digiflazz.caps.resend_same_ref_safe) == ("returns_original", True)

    def test_is_bought_once_until_the_adapter_may_not_ask_any_more(self, shop: Shop) -> None:
        request, _ = shop.buy()
        assert Digiflazz.caps.ref_max_age_s is not None
        shop.simulator.advance(Digiflazz.caps.ref_max_age_s)
        assert shop.find(request).outcome is Outcome.COMPLETED
        assert len(shop.bought(request)) == 1

    def test_is_bought_again_by_a_question_after_ninety_days(self, shop: Shop) -> None:
        """Why a reference has an age there: the capabilities forbid this question, with days to spare."""
        request, _ = shop.buy()
        shop.simulator.advance(REMEMBERED_S)
        shop.find(request)
        assert len(shop.bought(request)) == 2
        assert (Digiflazz.caps.ref_max_age_s or 0) < REMEMBERED_S

    def test_is_asked_about_once_in_a_minute_at_most(self) -> None:
        caps = Digiflazz.caps
        assert (caps.resend_min_gap_s, caps.poll.first_s, caps.poll.base_s, caps.poll.floor_s) == (60, 60, 60, 60)

    @pytest.mark.parametrize("change", [{"recipient": "08780"}, {"product": TOP_UP}])
    @pytest.mark.parametrize("reused", Reused)
    def test_for_another_thing_is_neither_bought_nor_refused(
        self, shop: Shop, reused: Reused, change: dict[str, Any]
    ) -> None:
        shop.simulator.switch(reused=reused)
        request, _ = shop.buy(final="never")
        other = shop.place(replace(request, **change))
        wanted = (Outcome.UNKNOWN, True) if reused is Reused.RC_49 else (Outcome.ACCEPTED, False)
        assert ((other.outcome, other.duplicate), len(shop.bought(request))) == (wanted, 1)

    @pytest.mark.parametrize("request_of", [None, "other"])
    def test_is_never_asked_about_without_the_identical_purchase(self, plain: Shop, request_of: str | None) -> None:
        request, other = new_request(), new_request()
        with pytest.raises(ValueError, match="identical purchase"):
            Digiflazz().find(plain.account, OrderRef(request.reference, request=other if request_of else None))

    def test_may_be_as_long_as_the_capabilities_say(self, shop: Shop) -> None:
        request, _ = shop.buy()
        assert (len(request.reference), Digiflazz.caps.ref_format) == (Digiflazz.caps.ref_max_len, "digits18")
        assert shop.find(request).own_ref == request.reference

    def test_after_a_failed_purchase_buys_nothing_any_more(self, shop: Shop) -> None:
        request, first = shop.buy(final="cancelled")
        again = shop.place(request)
        assert (first.outcome, again.outcome, len(shop.bought(request))) == (Outcome.REJECTED, Outcome.REJECTED, 1)


class TestAsking:
    @pytest.mark.parametrize("final", Final)
    def test_reads_the_end_of_an_order(self, shop: Shop, final: Final) -> None:
        request, _ = shop.buy(final=final, complete_after_s=60)
        assert shop.find(request).outcome is Outcome.ACCEPTED
        shop.simulator.advance(60)
        found = shop.find(request)
        is_good = found.outcome is Outcome.COMPLETED
        assert (found.outcome, found.codes) == (BY_FINAL[final], shop.newest_code(request) if is_good else ())
        assert shop.status(request) == found
        assert len(shop.bought(request)) == 1

    def test_waits_through_trouble_on_their_side(self, shop: Shop) -> None:
        shop.simulator.switch(router_trouble=True)
        request, placed = shop.buy(complete_after_s=60)
        assert (placed.outcome, placed.reason_code) == (Outcome.ACCEPTED, "99")
        assert shop.find(request).outcome is Outcome.ACCEPTED
        shop.simulator.advance(60)
        assert shop.find(request).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("fault", StatusFault)
    def test_a_failed_question_is_no_news(self, shop: Shop, fault: StatusFault) -> None:
        shop.buy()
        request, _ = shop.buy(status_faults=[fault])
        if fault is StatusFault.HANG:
            shop.wait(PATIENCE_S)
        assert shop.find(request).outcome is BY_STATUS_FAULT[fault]
        shop.wait(CALM_S)
        assert shop.find(request).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("mangle", Mangle)
    def test_spoilt_bytes_never_end_an_order(self, shop: Shop, mangle: Mangle) -> None:
        request, _ = shop.buy(complete_after_s=60, status_mangle=mangle)
        asked = shop.find(request)
        assert (asked.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN), asked.codes) == (True, ())

    def test_reads_each_flip_as_it_comes(self, shop: Shop) -> None:
        request, _ = shop.buy(complete_after_s=3600, status_flip=["03", "02", "74", "98", "99", "00"])
        seen = [shop.find(request).outcome for _ in range(6)]
        assert seen == [
            Outcome.ACCEPTED,
            Outcome.REJECTED,
            Outcome.REVERSED,
            Outcome.UNKNOWN,
            Outcome.ACCEPTED,
            Outcome.COMPLETED,
        ]

    def test_a_failed_order_may_be_delivered_later(self, shop: Shop) -> None:
        request, placed = shop.buy(final="cancelled", flip_to_delivered_after_s=600)
        assert placed.outcome is Outcome.REJECTED
        shop.simulator.advance(600)
        found = shop.find(request)
        assert (found.outcome, found.codes) == (Outcome.COMPLETED, shop.newest_code(request))

    def test_a_delivered_order_may_be_taken_back(self, shop: Shop) -> None:
        request, placed = shop.buy(reverse_after_s=600)
        assert placed.outcome is Outcome.COMPLETED
        shop.simulator.advance(600)
        assert (shop.find(request).outcome, shop.find(request).codes) == (Outcome.REVERSED, ())

    def test_an_old_state_is_read_as_it_is_told(self, shop: Shop) -> None:
        request, _ = shop.buy(status_lag_s=30)
        assert shop.find(request).outcome is Outcome.ACCEPTED
        shop.simulator.advance(30)
        assert shop.find(request).outcome is Outcome.COMPLETED

    def test_a_hidden_order_is_never_absent(self, shop: Shop) -> None:
        request, _ = shop.buy(visible_after_s=30)
        assert shop.find(request).outcome is Outcome.NOT_FOUND
        assert (Digiflazz.caps.absent_after_s, len(shop.bought(request))) == (None, 1)
        shop.simulator.advance(30)
        assert shop.find(request).outcome is Outcome.COMPLETED

    def test_never_asks_about_two_orders_at_once(self, plain: Shop) -> None:
        with pytest.raises(ValueError, match="one order in one question"):
            Digiflazz().status(plain.account, [ref_of(new_request()), ref_of(new_request())])

    def test_reads_why_an_order_failed(self, shop: Shop) -> None:
        request, placed = shop.buy(final="cancelled", cancel_text="Nomor salah")
        found = shop.find(request)
        assert [(each.outcome, each.reason) for each in (placed, found)] == [(Outcome.REJECTED, "Nomor salah")] * 2


class TestCodes:
    @pytest.mark.parametrize("pin", ["0000123", "A" * 400, "a b  c", "100%", "%41", "AB+CD/EF==", "a&b?d#e", "İĞş-ığ"])
    def test_are_passed_on_exactly(self, shop: Shop, pin: str) -> None:
        request, placed = shop.buy(pin=pin)
        assert (placed.codes, shop.find(request).codes) == ((Code(pin),), (Code(pin),))

    def test_keep_the_whole_text_of_a_token(self, shop: Shop) -> None:
        """How the parts of the slashed text are told apart is nowhere written: it goes on as it is."""
        shop.simulator.switch(serial_form=SerialForm.SLASHED)
        request, placed = shop.buy({"buyer_sku_code": "pln20", "sn": "code"}, pin="1234-5678-9012-3456-7890")
        wanted = (Code("1234-5678-9012-3456-7890/DEMO/R1/900/32,1"),)
        assert (placed.codes, shop.find(request).codes) == (wanted, wanted)

    @pytest.mark.parametrize("blank", [form for form in BlankForm if form != BlankForm.NONE])
    def test_are_none_while_the_field_is_blank(self, shop: Shop, blank: BlankForm) -> None:
        request, placed = shop.buy(pin_late_s=100, pin_blank_form=blank)
        assert (placed.outcome, placed.codes, shop.find(request).codes) == (Outcome.COMPLETED, (), ())
        shop.simulator.advance(100)
        assert shop.find(request).codes == shop.newest_code(request) != ()

    def test_are_none_before_the_end_and_after_a_failure(self, shop: Shop) -> None:
        early, waiting = shop.buy(complete_after_s=60, pin_while_waiting=True)
        failed, refused = shop.buy(final="cancelled", pin_when_cancelled=True)
        assert (waiting.outcome, waiting.codes, shop.find(early).codes) == (Outcome.ACCEPTED, (), ())
        assert (refused.outcome, refused.codes, shop.find(failed).codes) == (Outcome.REJECTED, (), ())
        shop.simulator.advance(60)
        assert shop.find(early).codes == shop.newest_code(early) != ()

    def test_are_read_again_when_a_second_one_comes(self, shop: Shop) -> None:
        request, placed = shop.buy(second_pin_after_s=100)
        shop.simulator.advance(100)
        assert shop.find(request).codes == shop.newest_code(request) != placed.codes

    def test_are_none_where_the_field_is_a_receipt(self, shop: Shop) -> None:
        request, placed = shop.buy(TOP_UP)
        assert (placed.outcome, placed.codes, shop.find(request).codes) == (Outcome.COMPLETED, (), ())
        assert shop.bought(request)[0]["pins"] == []


class TestMoney:
    @pytest.mark.parametrize("cost", ["51250", "1", "12345678"])
    def test_reads_cost_and_balance_exactly(self, shop: Shop, cost: str) -> None:
        before = shop.balance().amount
        assert before is not None
        request, placed = shop.buy(cost=cost)
        assert shop.bought(request)[0]["cost"] == cost
        paid = Decimal(cost)
        assert (placed.cost, placed.currency, placed.balance_after) == (paid, "IDR", before - paid)
        assert shop.find(request).cost == paid
        assert shop.balance() == Balance(before - paid, "IDR", credit=before - paid)
        assert Digiflazz.caps.balance_check

    def test_an_order_is_one_unit_in_rupiah(self, plain: Shop) -> None:
        with pytest.raises(ValueError, match="one unit"):
            Digiflazz().place(plain.account, replace(new_request(), quantity=2))
        with pytest.raises(ValueError, match="IDR"):
            Digiflazz().place(replace(plain.account, currency="USD"), new_request())
        assert Digiflazz.caps.quantity == "one"


class TestCatalogue:
    def test_is_what_the_provider_sells(self, shop: Shop) -> None:
        listed = shop.catalogue()
        told = {item.ids["buyer_sku_code"]: (item.cost, item.currency, item.gives_code) for item in listed.items}
        assert (listed.error, told) == (
            "",
            {
                "gp50": (Decimal(51250), "IDR", True),
                "pln20": (Decimal(20150), "IDR", True),
                "xld10": (Decimal(10500), "IDR", None),
                "ml86": (Decimal(19800), "IDR", None),
            },
        )
        assert all(item.available for item in listed.items)

    def test_everything_listed_can_be_bought_at_its_price(self, shop: Shop) -> None:
        for item in shop.catalogue().items:
            _, result = shop.buy(dict(item.ids))
            assert (result.outcome, result.cost) == (Outcome.COMPLETED, item.cost)

    def test_a_list_that_was_asked_for_too_often_is_an_error(self, shop: Shop) -> None:
        shop.simulator.switch(list_limited=True)
        assert (shop.catalogue().items, shop.catalogue().error[:2]) == ((), "83")


class TestLogin:
    @pytest.mark.parametrize("change", [{"login": "stranger"}, {"secrets": {"api_key": "wrong"}}])
    def test_wrong_credentials_buy_nothing_and_say_nothing_of_an_order(
        self, shop: Shop, change: dict[str, Any]
    ) -> None:
        request, _ = shop.buy()
        right, shop.account = shop.account, replace(shop.account, **change)
        unbought = new_request()
        assert (shop.place(unbought).outcome, shop.bought(unbought)) == (Outcome.AUTH_ERROR, [])
        assert shop.find(request).outcome is Outcome.AUTH_ERROR
        assert (shop.balance().amount, bool(shop.balance().error)) == (None, True)
        assert (shop.catalogue().items, bool(shop.catalogue().error)) == ((), True)
        shop.account = right
        assert (shop.find(request).outcome, len(shop.bought(request))) == (Outcome.COMPLETED, 1)


class TestWebhooks:
    def test_are_signed_as_the_capabilities_say(self, shop: Shop) -> None:
        with receiver() as (url, letters):
            shop.simulator.switch(hook_url=url)
            shop.buy()
            letter = letters.get(timeout=30)
            shop.simulator.switch(hook_url=None)
        assert Digiflazz.caps.webhook == "hmac_sha1"
        algorithm = Digiflazz.caps.webhook.removeprefix("hmac_")
        wanted = hmac.new(b"demo-webhook-secret", letter.body, algorithm).hexdigest()
        assert letter.headers["x-hub-signature"] == f"{algorithm}={wanted}"


class TestDown:
    @pytest.mark.parametrize("down", Down)
    def test_a_provider_that_is_down_says_nothing(self, plain: Shop, down: Down) -> None:
        request, _ = plain.buy()
        plain.simulator.switch(down=down)
        plain.wait(PATIENCE_S if down is Down.HANG else CALM_S)
        assert plain.place(new_request()).outcome is BY_DOWN[down]
        assert plain.find(request).outcome is Outcome.UNKNOWN
        assert (plain.balance().amount, bool(plain.balance().error)) == (None, True)


class TestMixtures:
    @pytest.mark.parametrize("seed", range(60))
    def test_fates_and_switches_together_change_no_meaning(self, shop: Shop, seed: int) -> None:
        rng = random.Random(seed)
        shop.simulator.switch(
            reused=rng.choice(list(Reused)),
            router_trouble=rng.random() < 0.5,
            once_a_day=rng.random() < 0.5,
        )
        place = rng.choice([place for place in Place if place not in QUIET])
        final = rng.choice(list(Final))
        request, result = shop.buy(
            place=place,
            final=final,
            times=1,
            pin=rng.choice([None, "0000123", "12345678901234567890", "ab cd"]),
            pin_while_waiting=rng.random() < 0.5,
            pin_when_cancelled=rng.random() < 0.5,
            description=rng.choice([None, "", "tamam|bitti|"]),
        )
        assert result.outcome is (BY_FINAL[final] if place is Place.ACCEPT else BY_PLACE[place])
        found = shop.find(request)
        # What was not bought is bought by the question, with no fate of its own.
        wanted = BY_FINAL[final] if place.buys else Outcome.COMPLETED
        assert (found.outcome, len(shop.bought(request))) == (wanted, 1)
        assert found.codes == (shop.newest_code(request) if wanted is Outcome.COMPLETED else ())
