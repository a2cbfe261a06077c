"""The ZNET adapter against the simulator over real sockets: what it reads follows from the fate, never from the text.

The two were written apart from the same document. Here a fate says what really happened to an order, a table says what
its buyer may know about it then, and both must meet.
"""

from __future__ import annotations

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
from apps.providers.adapters.znet import Znet
from apps.providers.contract import Account, Balance, Code, OrderRef, Outcome, PlaceRequest, Result
from apps.simulator.client import SimulatorProcess
from apps.simulator.dialects.znet import Endpoint, RepeatPolicy, UnknownReference
from apps.simulator.dialects.znet_text import BadPassword, Encoding, NumberFormat
from apps.simulator.fates import BlankForm, Final, Place, RefuseClass, StatusFault
from apps.simulator.switches import Down

PIN_PRODUCT = {"oyun": "152", "kupur": "60"}
DIRECT_PRODUCT = {"oyun": "210", "kupur": "100"}
DIALECT = "znet"
PATIENCE_S = 0.3
CALM_S = 5.0
"""For answers that come at once: a busy machine must not look like a silent provider."""

QUIET = frozenset({Place.ACCEPT_THEN_HANG, Place.ACCEPT_THEN_DRIP, Place.ACCEPT_THEN_HEADERS, Place.HANG_BEFORE})
TURKISH = "Oyuncu ağa bağlı değil, şifresi çözülemedi (İĞÜŞÖÇ ığüşöç)"

BY_PLACE: dict[Place, Outcome] = {
    Place.ACCEPT: Outcome.ACCEPTED,
    Place.ACCEPT_THEN_HANG: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_RESET: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_500: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_HTML: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_EMPTY: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_CUT: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_HEADERS: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_CODE_8: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_FLOOD: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_DRIP: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_RATE_LIMITED: Outcome.UNKNOWN,
    Place.ACCEPT_THEN_OTHER_ORDER: Outcome.ACCEPTED,
    Place.REFUSE: Outcome.INSUFFICIENT_BALANCE,
    Place.UNLISTED_TEXT: Outcome.UNKNOWN,
    Place.CODE_8: Outcome.UNKNOWN,
    Place.REDIRECT: Outcome.UNKNOWN,
    Place.HANG_BEFORE: Outcome.UNKNOWN,
    Place.RESET_BEFORE: Outcome.UNKNOWN,
    Place.ERROR_500_BEFORE: Outcome.UNKNOWN,
    Place.HTML_BEFORE: Outcome.UNKNOWN,
    Place.EMPTY_BEFORE: Outcome.UNKNOWN,
    Place.RATE_LIMITED: Outcome.UNKNOWN,
}
BY_REFUSE_CLASS: dict[RefuseClass, Outcome] = {
    RefuseClass.BALANCE: Outcome.INSUFFICIENT_BALANCE,
    RefuseClass.PRODUCT: Outcome.OUT_OF_STOCK,
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
    StatusFault.ERROR_500: Outcome.UNKNOWN,
    StatusFault.HTML: Outcome.UNKNOWN,
    StatusFault.EMPTY: Outcome.UNKNOWN,
    StatusFault.HANG: Outcome.UNKNOWN,
    StatusFault.RESET: Outcome.UNKNOWN,
    StatusFault.CUT: Outcome.UNKNOWN,
    StatusFault.NOT_FOUND: Outcome.NOT_FOUND,
    StatusFault.AUTH_EMPTY: Outcome.UNKNOWN,
    StatusFault.AUTH_TEXT: Outcome.AUTH_ERROR,
    StatusFault.UNKNOWN_WORD: Outcome.UNKNOWN,
    StatusFault.FLOOD: Outcome.UNKNOWN,
    StatusFault.RATE_LIMITED: Outcome.UNKNOWN,
}
BY_UNKNOWN_REFERENCE: dict[UnknownReference, Outcome] = {
    UnknownReference.EMPTY: Outcome.UNKNOWN,
    UnknownReference.CODE_3: Outcome.NOT_FOUND,
    UnknownReference.COLON: Outcome.UNKNOWN,
    UnknownReference.OK_3: Outcome.NOT_FOUND,
}
BY_REPEAT: dict[RepeatPolicy, tuple[Outcome, bool]] = {
    RepeatPolicy.ORIGINAL: (Outcome.ACCEPTED, False),
    RepeatPolicy.REFUSE_3: (Outcome.UNKNOWN, True),
    RepeatPolicy.CODE_8: (Outcome.UNKNOWN, True),
    RepeatPolicy.BUYS_AGAIN: (Outcome.ACCEPTED, False),
}
BY_BAD_PASSWORD: dict[BadPassword, tuple[Outcome, Outcome]] = {
    BadPassword.DOCUMENT: (Outcome.AUTH_ERROR, Outcome.AUTH_ERROR),
    BadPassword.CLONE_A: (Outcome.AUTH_ERROR, Outcome.AUTH_ERROR),
    BadPassword.CLONE_B: (Outcome.AUTH_ERROR, Outcome.UNKNOWN),
}
"""What placing and asking say; `3:...` is the airtime form, which the PIN addresses are not known to speak."""
BY_DOWN: dict[Down, Outcome] = {
    Down.HTML: Outcome.UNKNOWN,
    Down.EMPTY: Outcome.UNKNOWN,
    Down.HANG: Outcome.UNKNOWN,
    Down.REFUSE: Outcome.NOT_SENT,
}

_references = itertools.count(810_000_000_000_000_001)


class Shop:
    """A buyer at one simulator: the adapter, the careful transport, and what the simulator knows to be true."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self.simulator = simulator
        self.account = Account(simulator.url, "demo", {"sifre": "demo-secret"}, "TRY")
        self.wait(CALM_S)

    def wait(self, patience_s: float) -> None:
        """How long this buyer waits for an answer from now on."""
        options = {**self.account.options, "place_timeout_s": patience_s, "ask_timeout_s": patience_s}
        self.account = replace(self.account, options=options)

    def place(self, reference: str, product: dict[str, str] = PIN_PRODUCT) -> Result:
        request = PlaceRequest(reference, product, "5123456789")
        return drive(Znet().place(self.account, request), _send)[0]

    def find(self, reference: str) -> Result:
        return drive(Znet().find(self.account, OrderRef(reference)), _send)[0]

    def status(self, reference: str) -> Result:
        return drive(Znet().status(self.account, [OrderRef(reference)]), _send)[0][reference]

    def balance(self) -> Balance:
        return drive(Znet().balance(self.account), _send)[0]

    def buy(self, product: dict[str, str] = PIN_PRODUCT, **fate: Any) -> tuple[str, Result]:
        """Places a new order that has this fate."""
        reference = str(next(_references))
        self.simulator.set_fate(reference=reference, **fate)
        if fate.get("place") in QUIET or "answer_delay_s" in fate:
            self.wait(PATIENCE_S)
        result = self.place(reference, product)
        self.wait(CALM_S)
        return reference, result

    def truth(self, reference: str) -> dict[str, Any]:
        return next(row for row in self.simulator.orders() if row["reference"] == reference)

    def codes(self, reference: str) -> tuple[Code, ...]:
        """The code that the simulator shows last."""
        return tuple(Code(pin) for pin in self.truth(reference)["pins"][-1:])


def _send(call: HttpCall) -> Answer:
    return send_once(call, policy=LOCAL)


@pytest.fixture
def shop(world: SimulatorProcess) -> Shop:
    return Shop(world)


class TestTables:
    def test_cover_everything_that_the_simulator_can_do(self) -> None:
        assert set(BY_PLACE) == set(Place)
        assert set(BY_REFUSE_CLASS) == set(RefuseClass)
        assert set(BY_FINAL) == set(Final)
        # A panel's answer names no order: that it is about another one cannot be seen.
        assert set(BY_STATUS_FAULT) == set(StatusFault) - {StatusFault.OTHER_ORDER}
        assert set(BY_UNKNOWN_REFERENCE) == set(UnknownReference)
        assert set(BY_REPEAT) == set(RepeatPolicy)
        assert set(BY_BAD_PASSWORD) == set(BadPassword)
        assert set(BY_DOWN) == set(Down)


class TestPlacing:
    @pytest.mark.parametrize("place", Place)
    def test_says_no_more_than_is_known(self, shop: Shop, place: Place) -> None:
        reference, result = shop.buy(place=place)
        assert (result.outcome, result.own_ref, result.codes) == (BY_PLACE[place], reference, ())

    @pytest.mark.parametrize("place", Place)
    def test_a_question_afterwards_finds_what_really_happened(self, shop: Shop, place: Place) -> None:
        reference, _ = shop.buy(place=place)
        found = shop.find(reference)
        assert found.outcome is (Outcome.COMPLETED if place.buys else Outcome.NOT_FOUND)
        assert found.codes == (shop.codes(reference) if place.buys else ())

    @pytest.mark.parametrize("place", [place for place in Place if place.buys])
    def test_never_calls_a_bought_order_refused(self, shop: Shop, place: Place) -> None:
        _, result = shop.buy(place=place, executions=2)
        assert result.outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)

    @pytest.mark.parametrize("refuse_class", RefuseClass)
    def test_reads_a_refusal_s_class(self, shop: Shop, refuse_class: RefuseClass) -> None:
        _, result = shop.buy(place="refuse", refuse_class=refuse_class)
        assert result.outcome is BY_REFUSE_CLASS[refuse_class]

    def test_is_in_doubt_after_an_answer_that_comes_too_late(self, shop: Shop) -> None:
        reference, result = shop.buy(answer_delay_s=30)
        assert result.outcome is Outcome.UNKNOWN
        assert shop.find(reference).outcome is Outcome.COMPLETED

    def test_a_missing_product_is_refused(self, shop: Shop) -> None:
        _, result = shop.buy({"oyun": "152", "kupur": "61"})
        assert result.outcome is Outcome.REJECTED

    @pytest.mark.parametrize("policy", RepeatPolicy)
    def test_a_repeated_reference_is_never_refused(self, shop: Shop, policy: RepeatPolicy) -> None:
        shop.simulator.switch(repeat_policy=policy)
        reference, _ = shop.buy()
        again = shop.place(reference)
        assert (again.outcome, again.duplicate) == BY_REPEAT[policy]


class TestAsking:
    @pytest.mark.parametrize("final", Final)
    def test_reads_the_end_of_an_order(self, shop: Shop, final: Final) -> None:
        reference, _ = shop.buy(final=final)
        found = shop.find(reference)
        assert (found.outcome, found.codes) == (BY_FINAL[final], shop.codes(reference))
        assert shop.status(reference) == found

    def test_a_pin_shown_while_waiting_is_no_code(self, shop: Shop) -> None:
        reference, _ = shop.buy(complete_after_s=60, pin_while_waiting=True)
        waiting = shop.find(reference)
        assert (waiting.outcome, waiting.codes) == (Outcome.ACCEPTED, ())
        shop.simulator.advance(60)
        assert shop.find(reference).codes == shop.codes(reference) != ()

    @pytest.mark.parametrize("encoding", Encoding)
    @pytest.mark.parametrize("blank", BlankForm)
    def test_a_blank_form_is_no_code(self, shop: Shop, blank: BlankForm, encoding: Encoding) -> None:
        shop.simulator.switch(encoding=encoding)
        reference, _ = shop.buy(DIRECT_PRODUCT, pin_blank_form=blank)
        found = shop.find(reference)
        assert (found.outcome, found.codes, found.reason) == (Outcome.COMPLETED, (), "Onaylandı")

    def test_a_late_pin_comes_later(self, shop: Shop) -> None:
        reference, _ = shop.buy(pin_late_s=100, pin_blank_form="spaced_dash")
        assert shop.find(reference).codes == ()
        shop.simulator.advance(100)
        assert shop.find(reference).codes == shop.codes(reference) != ()

    def test_a_second_pin_is_read_as_well(self, shop: Shop) -> None:
        reference, _ = shop.buy(second_pin_after_s=100)
        first = shop.find(reference).codes
        shop.simulator.advance(100)
        assert shop.find(reference).codes == shop.codes(reference) != first

    @pytest.mark.parametrize("in_pin_field", [False, True])
    @pytest.mark.parametrize("blank", BlankForm)
    def test_reads_why_an_order_was_cancelled(self, shop: Shop, blank: BlankForm, in_pin_field: bool) -> None:
        text = "Oyuncu numarası yok"
        reference, _ = shop.buy(
            final="cancelled", cancel_text=text, cancel_text_in_pin_field=in_pin_field, pin_blank_form=blank
        )
        found = shop.find(reference)
        assert (found.outcome, found.reason, found.codes) == (Outcome.REJECTED, text, ())

    def test_an_order_may_be_cancelled_without_a_word(self, shop: Shop) -> None:
        reference, _ = shop.buy(final="cancelled", cancel_text="")
        assert (shop.find(reference).outcome, shop.find(reference).reason) == (Outcome.REJECTED, "")

    @pytest.mark.parametrize("fault", BY_STATUS_FAULT)
    def test_a_failed_question_is_no_news(self, shop: Shop, fault: StatusFault) -> None:
        reference, _ = shop.buy(status_faults=[fault])
        shop.wait(PATIENCE_S if fault is StatusFault.HANG else CALM_S)
        assert shop.find(reference).outcome is BY_STATUS_FAULT[fault]
        shop.wait(CALM_S)
        assert shop.find(reference).outcome is Outcome.COMPLETED

    def test_reads_each_flip_as_it_comes(self, shop: Shop) -> None:
        reference, _ = shop.buy(status_flip=["1", "3", "9", "2"])
        seen = [shop.find(reference).outcome for _ in range(5)]
        assert seen == [
            Outcome.ACCEPTED,
            Outcome.REJECTED,
            Outcome.UNKNOWN,
            Outcome.COMPLETED,
            Outcome.COMPLETED,
        ]

    def test_a_cancelled_order_may_be_delivered_later(self, shop: Shop) -> None:
        reference, _ = shop.buy(final="cancelled", flip_to_delivered_after_s=600)
        assert shop.find(reference).outcome is Outcome.REJECTED
        shop.simulator.advance(600)
        found = shop.find(reference)
        assert (found.outcome, found.codes) == (Outcome.COMPLETED, shop.codes(reference))

    @pytest.mark.parametrize("unknown", UnknownReference)
    def test_a_hidden_order_is_not_found_and_found_later(self, shop: Shop, unknown: UnknownReference) -> None:
        shop.simulator.switch(unknown_reference=unknown)
        reference, _ = shop.buy(visible_after_s=30)
        assert shop.find(reference).outcome is BY_UNKNOWN_REFERENCE[unknown]
        shop.simulator.advance(30)
        assert shop.find(reference).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("pin", ["0000123", "A" * 400, "a b  c", "100%", "%41%42", "AB+CD/EF==", "a&b=c?d#e"])
    @pytest.mark.parametrize("encoding", Encoding)
    def test_passes_a_code_on_exactly(self, shop: Shop, encoding: Encoding, pin: str) -> None:
        shop.simulator.switch(encoding=encoding)
        reference, _ = shop.buy(pin=pin)
        assert shop.find(reference).codes == (Code(pin),)

    @pytest.mark.parametrize("encoding", Encoding)
    def test_passes_turkish_letters_on_exactly(self, shop: Shop, encoding: Encoding) -> None:
        shop.simulator.switch(encoding=encoding)
        reference, _ = shop.buy(pin="İĞÜŞÖÇ-ığüşöç", description=f"{TURKISH} | 100")
        found = shop.find(reference)
        assert (found.codes, found.reason) == ((Code("İĞÜŞÖÇ-ığüşöç"),), f"{TURKISH} | 100")


class TestMoney:
    @pytest.mark.parametrize("number_format", NumberFormat)
    def test_reads_cost_and_balance_exactly(self, shop: Shop, number_format: NumberFormat) -> None:
        shop.simulator.switch(number_format=number_format)
        reference, result = shop.buy(cost="1234.56")
        assert (result.cost, shop.truth(reference)["cost"]) == (Decimal("1234.56"), "1234.56")
        assert result.balance_after == shop.balance().amount

    @pytest.mark.parametrize("number_format", NumberFormat)
    def test_takes_the_debt_off(self, shop: Shop, number_format: NumberFormat) -> None:
        credit = shop.balance().amount
        assert credit is not None
        shop.simulator.switch(number_format=number_format, debt="1250.50")
        debt = Decimal("1250.50")
        assert shop.balance() == Balance(credit - debt, "TRY", credit=credit, debt=debt)

    @pytest.mark.parametrize("encoding", Encoding)
    def test_reads_a_balance_in_every_encoding(self, shop: Shop, encoding: Encoding) -> None:
        before = shop.balance()
        shop.simulator.switch(encoding=encoding)
        assert shop.balance() == before


class TestLogin:
    @pytest.mark.parametrize("form", BadPassword)
    @pytest.mark.parametrize("encoding", Encoding)
    def test_a_bad_password_is_no_news_about_an_order(self, shop: Shop, form: BadPassword, encoding: Encoding) -> None:
        shop.simulator.switch(bad_password=form, encoding=encoding)
        reference, _ = shop.buy()
        shop.account = replace(shop.account, secrets={"sifre": "wrong"})
        placed, asked = BY_BAD_PASSWORD[form]
        assert shop.place(str(next(_references))).outcome is placed
        assert shop.find(reference).outcome is asked

    @pytest.mark.parametrize("form", BadPassword)
    def test_a_bad_password_is_no_balance(self, shop: Shop, form: BadPassword) -> None:
        shop.simulator.switch(bad_password=form)
        shop.account = replace(shop.account, secrets={"sifre": "wrong"})
        balance = shop.balance()
        assert balance.amount is None
        assert balance.error

    @pytest.mark.parametrize("endpoint", [Endpoint.BALANCE, Endpoint.PLACE, Endpoint.STATUS])
    def test_a_login_may_fail_on_one_address_only(self, shop: Shop, endpoint: Endpoint) -> None:
        reference, _ = shop.buy()
        shop.simulator.switch(auth_fails_on=[endpoint], bad_password="clone_a")
        assert (shop.balance().amount is None) == (endpoint is Endpoint.BALANCE)
        assert (shop.place(str(next(_references))).outcome is Outcome.AUTH_ERROR) == (endpoint is Endpoint.PLACE)
        assert (shop.find(reference).outcome is Outcome.AUTH_ERROR) == (endpoint is Endpoint.STATUS)


class TestDown:
    @pytest.mark.parametrize("down", Down)
    def test_a_panel_that_is_down_says_nothing(self, shop: Shop, down: Down) -> None:
        reference, _ = shop.buy()
        shop.simulator.switch(down=down)
        shop.wait(PATIENCE_S if down is Down.HANG else CALM_S)
        assert shop.place(str(next(_references))).outcome is BY_DOWN[down]
        assert shop.find(reference).outcome is Outcome.UNKNOWN
        assert shop.balance().amount is None


class TestMixtures:
    @pytest.mark.parametrize("seed", range(60))
    def test_fates_and_switches_together_change_no_meaning(self, shop: Shop, seed: int) -> None:
        rng = random.Random(seed)
        unknown = rng.choice(list(UnknownReference))
        shop.simulator.switch(
            unknown_reference=unknown,
            number_format=rng.choice(list(NumberFormat)),
            encoding=rng.choice(list(Encoding)),
            repeat_policy=rng.choice(list(RepeatPolicy)),
        )
        place = rng.choice([place for place in Place if not place.endswith(("hang", "hang_before", "drip"))])
        final = rng.choice(list(Final))
        reference, result = shop.buy(
            place=place,
            final=final,
            pin_blank_form=rng.choice(list(BlankForm)),
            cancel_text=rng.choice([None, "", "Oyuncu yok", TURKISH]),
            cancel_text_in_pin_field=rng.random() < 0.5,
            description=rng.choice([None, "", "tamam|bitti|"]),
        )
        assert result.outcome is BY_PLACE[place]
        found = shop.find(reference)
        assert found.outcome is (BY_FINAL[final] if place.buys else BY_UNKNOWN_REFERENCE[unknown])
        assert found.codes == (shop.codes(reference) if place.buys else ())
