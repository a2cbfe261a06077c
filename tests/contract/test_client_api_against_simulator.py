"""The client API's adapter against the simulator over real sockets: what it reads follows from the fate, not the text.

The two were written apart from the same document. A fate says what really happened, a table says what its buyer may
know about it, and both must meet, with each clone's side of every disagreement.
"""

from __future__ import annotations

import hashlib
import hmac
import random
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from queue import Queue
from threading import Thread
from typing import Any

import pytest

from apps.common.egress import LOCAL
from apps.common.talk import drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall
from apps.providers.adapters.client_api import CAPS, LIST_FORMS, ClientApi
from apps.providers.contract import Account, Balance, Catalogue, Code, OrderRef, Outcome, PlaceRequest, Result
from apps.providers.options import load_caps
from apps.providers.registry import INTERNAL
from apps.simulator.client import SimulatorProcess
from apps.simulator.dialects.client_api import (
    AfterError,
    ListForm,
    Methods,
    PriceForm,
    RepeatFlag,
    ReplayForm,
    UnknownOrder,
    Vocabulary,
)
from apps.simulator.dialects.client_api_errors import CodeTable, ErrorShape, HttpStatuses
from apps.simulator.fates import BlankForm, Final, Mangle, Place, RefuseClass, StatusFault
from apps.simulator.switches import Batch, Down

DIRECT, WITH_CODES, AMOUNT, LISTED, OFF = ({"oyun": number} for number in ("101", "102", "103", "104", "105"))
DIALECT = "client_api"
PATIENCE_S = 0.3
CALM_S = 5.0
"""For answers that come at once: a busy machine must not look like a silent provider."""

QUIET = frozenset({Place.ACCEPT_THEN_HANG, Place.ACCEPT_THEN_DRIP, Place.ACCEPT_THEN_HEADERS, Place.HANG_BEFORE})
ARABIC = "رقم اللاعب غير صحيح"

BY_PLACE: dict[Place, Outcome] = {
    **dict.fromkeys(Place, Outcome.UNKNOWN),
    Place.ACCEPT: Outcome.COMPLETED,
    Place.REFUSE: Outcome.INSUFFICIENT_BALANCE,
}
BY_REFUSE_CLASS: dict[RefuseClass, Outcome] = {
    RefuseClass.BALANCE: Outcome.INSUFFICIENT_BALANCE,
    RefuseClass.PRODUCT: Outcome.OUT_OF_STOCK,
    RefuseClass.AUTH: Outcome.AUTH_ERROR,
    RefuseClass.OTHER: Outcome.UNKNOWN,
}
BY_FINAL: dict[Final, Outcome] = {
    Final.DELIVERED: Outcome.COMPLETED,
    Final.PARTIAL: Outcome.COMPLETED,  # no word tells a part from the whole, so one unit is bought at a time
    Final.CANCELLED: Outcome.REJECTED,
    Final.REVERSED: Outcome.REJECTED,
    Final.NEVER: Outcome.ACCEPTED,
}
BY_STATUS_FAULT: dict[StatusFault, Outcome] = {
    **dict.fromkeys(StatusFault, Outcome.UNKNOWN),
    StatusFault.AUTH_TEXT: Outcome.AUTH_ERROR,
    StatusFault.NOT_FOUND: Outcome.COMPLETED,  # the next way of writing the list finds it
}
BY_DOWN: dict[Down, Outcome] = {
    **dict.fromkeys(Down, Outcome.UNKNOWN),
    Down.REFUSE: Outcome.NOT_SENT,
}
BY_CODE: dict[str, Outcome] = {
    "100": Outcome.INSUFFICIENT_BALANCE,
    "105": Outcome.OUT_OF_STOCK,
    "106": Outcome.REJECTED,
    "107": Outcome.REJECTED,
    "108": Outcome.AUTH_ERROR,
    "109": Outcome.REJECTED,
    "110": Outcome.OUT_OF_STOCK,
    "111": Outcome.RATE_LIMITED,
    "112": Outcome.REJECTED,
    "113": Outcome.REJECTED,
    "114": Outcome.UNKNOWN,
    "120": Outcome.AUTH_ERROR,
    "121": Outcome.AUTH_ERROR,
    "122": Outcome.AUTH_ERROR,
    "123": Outcome.AUTH_ERROR,
    "130": Outcome.UNKNOWN,
    "500": Outcome.UNKNOWN,
    "999": Outcome.UNKNOWN,
}
BY_MANGLE: dict[Mangle, Outcome] = {
    **dict.fromkeys(Mangle, Outcome.UNKNOWN),
    Mangle.BOM: Outcome.COMPLETED,
    Mangle.NUMBER_AS_TEXT: Outcome.COMPLETED,
}
KNOBS_OF_TABLE: dict[CodeTable, dict[str, str]] = {
    CodeTable.CANONICAL: {},
    CodeTable.WTN: {
        "105": "rejected",
        "106": "out_of_stock",
        "107": "rejected",
        "108": "rejected",
        "109": "rejected",
        "110": "rejected",
    },
    CodeTable.WATAN: {"114": "rejected"},
}
"""The knob `codes` of an account at each clone."""
KNOBS_OF_VOCABULARY: dict[Vocabulary, dict[str, str]] = {
    Vocabulary.DOCUMENT: {},
    Vocabulary.PROCESSING: {"cancelled": "rejected"},
    Vocabulary.PENDING: {"failed": "rejected"},
    Vocabulary.QUEUED: {"failed": "rejected"},
}
"""The knob `words` of an account at each clone."""
ERROR_WORDS = {"BALANCE": "insufficient_balance", "UNAVAILABLE": "out_of_stock", "BAD_TOKEN": "auth_error"}
READ_BY: dict[ListForm, frozenset[str]] = {
    ListForm.BRACKETED: frozenset({"bracketed", "csv"}),
    ListForm.COMMAS_ONLY: frozenset({"csv"}),
    ListForm.JSON: frozenset({"json"}),
}
"""Which knobs `list_form` a shop understands that reads lists so."""

NOT_READ = dict.fromkeys(RefuseClass, Outcome.UNKNOWN)
SWITCHES: list[tuple[str, object, dict[RefuseClass, Outcome]]] = [
    ("codes", CodeTable.CANONICAL, BY_REFUSE_CLASS),
    ("codes", CodeTable.WTN, {**BY_REFUSE_CLASS, RefuseClass.PRODUCT: Outcome.REJECTED}),
    ("codes", CodeTable.WATAN, BY_REFUSE_CLASS),
    *(("error_shape", shape, NOT_READ if shape is ErrorShape.WORD else BY_REFUSE_CLASS) for shape in ErrorShape),
    *(("http_statuses", statuses, BY_REFUSE_CLASS) for statuses in HttpStatuses),
    *(("after_error", after, BY_REFUSE_CLASS) for after in AfterError),
    *(("price_form", form, BY_REFUSE_CLASS) for form in PriceForm),
    *(("replay_form", form, BY_REFUSE_CLASS) for form in ReplayForm),
    *(("repeat_flag", flag, BY_REFUSE_CLASS) for flag in RepeatFlag),
    *(("vocabulary", words, BY_REFUSE_CLASS) for words in Vocabulary),
    *(("unknown_order", said, BY_REFUSE_CLASS) for said in UnknownOrder),
    ("with_pin", True, BY_REFUSE_CLASS),
    ("flat_content", True, BY_REFUSE_CLASS),
]
"""Each position of each switch, with what a refusal of each class is then to an account without knobs."""


class Shop:
    """A buyer at one simulator: the adapter, the careful transport, and what the simulator knows to be true."""

    def __init__(self, simulator: SimulatorProcess, adapter: ClientApi | None = None) -> None:
        self.simulator = simulator
        self.adapter = adapter or ClientApi()
        self.account = Account(f"{simulator.url}/client_api", "", {"token": "demo-secret"}, "USD")
        self.wait(CALM_S)

    def know(self, **options: object) -> None:
        """Gives the account options that its form takes."""
        load_caps("client_api", options)
        self.account = replace(self.account, options={**self.account.options, **options})

    def forget_token(self) -> None:
        self.account = replace(self.account, secrets={"token": "wrong"})

    def wait(self, patience_s: float) -> None:
        """How long this buyer waits for an answer from now on."""
        options = {**self.account.options, "place_timeout_s": patience_s, "ask_timeout_s": patience_s}
        self.account = replace(self.account, options=options)

    def place(self, request: PlaceRequest) -> Result:
        return drive(self.adapter.place(self.account, request), _send)[0]

    def find(self, request: PlaceRequest, provider_id: str = "") -> Result:
        ref = OrderRef(request.reference, provider_id, request=request)
        return drive(self.adapter.find(self.account, ref), _send)[0]

    def status(self, *requests: PlaceRequest) -> Mapping[str, Result]:
        ids = {row["reference"]: row["order_id"] for row in self.simulator.orders()}
        refs = [OrderRef(each.reference, ids.get(each.reference, ""), request=each) for each in requests]
        return drive(self.adapter.status(self.account, refs), _send)[0]

    def balance(self) -> Balance:
        return drive(self.adapter.balance(self.account), _send)[0]

    def catalogue(self) -> Catalogue:
        return drive(self.adapter.catalogue(self.account), _send)[0]

    def request(self, product: Mapping[str, str] = WITH_CODES, quantity: int = 1, **fate: Any) -> PlaceRequest:
        """A new order that will have this fate once."""
        reference = str(uuid.uuid4())
        self.simulator.set_fate(reference=reference, times=1, **fate)
        return PlaceRequest(reference, product, f"5{uuid.uuid4().int % 10**9:09d}", quantity=quantity)

    def buy(self, product: Mapping[str, str] = WITH_CODES, **fate: Any) -> tuple[PlaceRequest, Result]:
        """Places a new order that has this fate."""
        request = self.request(product, **fate)
        if fate.get("place") in QUIET or "answer_delay_s" in fate:
            self.wait(PATIENCE_S)
        result = self.place(request)
        self.wait(CALM_S)
        return request, result

    def bought(self, request: PlaceRequest) -> list[dict[str, Any]]:
        return [row for row in self.simulator.orders() if row["reference"] == request.reference]

    def codes(self, request: PlaceRequest) -> tuple[Code, ...]:
        """All codes that the shop has given for the order."""
        return tuple(Code(pin) for pin in self.bought(request)[-1]["pins"])


def _send(call: HttpCall) -> Answer:
    return send_once(call, policy=LOCAL)


@pytest.fixture
def shop(world: SimulatorProcess) -> Shop:
    return Shop(world)


class TestTables:
    def test_cover_everything_that_the_simulator_can_do(self) -> None:
        assert set(BY_REFUSE_CLASS) == set(RefuseClass)
        assert set(BY_FINAL) == set(Final)
        assert set(KNOBS_OF_TABLE) == set(CodeTable)
        assert set(KNOBS_OF_VOCABULARY) == set(Vocabulary)
        assert set(READ_BY) == set(ListForm)


class TestPlacing:
    @pytest.mark.parametrize("place", Place)
    def test_says_no_more_than_is_known(self, shop: Shop, place: Place) -> None:
        shop.buy()
        request, result = shop.buy(place=place)
        assert (result.outcome, result.own_ref) == (BY_PLACE[place], request.reference)
        assert bool(shop.bought(request)) is place.buys
        found = shop.find(request, result.provider_id)
        assert found.outcome is (Outcome.COMPLETED if place.buys else Outcome.NOT_FOUND)
        assert found.codes == (shop.codes(request) if place.buys else ())

    @pytest.mark.parametrize("shape", ErrorShape)
    @pytest.mark.parametrize("statuses", HttpStatuses)
    def test_never_calls_a_bought_order_refused(self, shop: Shop, statuses: HttpStatuses, shape: ErrorShape) -> None:
        shop.simulator.switch(http_statuses=statuses, error_shape=shape)
        for place in (Place.ACCEPT_THEN_CODE_8, Place.ACCEPT_THEN_500, Place.ACCEPT_THEN_RATE_LIMITED):
            for status in (500, 502, 503, 504):
                _, result = shop.buy(place=place, error_status=status)
                assert result.outcome is Outcome.UNKNOWN

    @pytest.mark.parametrize("code", BY_CODE)
    @pytest.mark.parametrize("statuses", HttpStatuses)
    def test_reads_each_number_of_the_document(self, shop: Shop, statuses: HttpStatuses, code: str) -> None:
        shop.simulator.switch(http_statuses=statuses)
        for shape in set(ErrorShape) - {ErrorShape.WORD}:
            shop.simulator.switch(error_shape=shape)
            request, result = shop.buy(place="refuse", refuse_text=f"{code}|{ARABIC}")
            assert (result.outcome, result.reason_code, result.reason) == (BY_CODE[code], code, ARABIC)
            assert shop.bought(request) == []
            assert result.retry_after_s == (60 if code == "111" else None)

    @pytest.mark.parametrize("table", CodeTable)
    @pytest.mark.parametrize("refuse_class", RefuseClass)
    def test_reads_a_clone_s_numbers_by_its_table(
        self, shop: Shop, refuse_class: RefuseClass, table: CodeTable
    ) -> None:
        shop.simulator.switch(codes=table)
        shop.know(codes=KNOBS_OF_TABLE[table])
        _, result = shop.buy(place="refuse", refuse_class=refuse_class)
        assert result.outcome is BY_REFUSE_CLASS[refuse_class]

    @pytest.mark.parametrize("table", CodeTable)
    def test_reads_what_a_clone_refuses_by_its_table(self, shop: Shop, table: CodeTable) -> None:
        shop.simulator.switch(codes=table)
        shop.know(codes=KNOBS_OF_TABLE[table])
        asked = {
            "no product": shop.request({"oyun": "999"}),
            "off": shop.request(OFF),
            "one only": shop.request(DIRECT, quantity=2),
            "too many": shop.request(WITH_CODES, quantity=11),
            "too few": shop.request(AMOUNT),
        }
        told = {name: shop.place(request).outcome for name, request in asked.items()}
        assert told == {**dict.fromkeys(asked, Outcome.REJECTED), "off": Outcome.OUT_OF_STOCK}
        assert not any(map(shop.bought, asked.values()))

    @pytest.mark.parametrize("refuse_class", RefuseClass)
    def test_reads_words_in_the_place_of_numbers(self, shop: Shop, refuse_class: RefuseClass) -> None:
        shop.simulator.switch(error_shape="word")
        assert shop.buy(place="refuse", refuse_class=refuse_class)[1].outcome is Outcome.UNKNOWN
        shop.know(codes=ERROR_WORDS)
        assert shop.buy(place="refuse", refuse_class=refuse_class)[1].outcome is BY_REFUSE_CLASS[refuse_class]

    def test_a_field_that_the_product_wants_under_another_name_buys_nothing(self, shop: Shop) -> None:
        request = shop.request({**DIRECT, "recipient_name": "player"})
        assert shop.place(request).outcome is Outcome.UNKNOWN
        assert shop.bought(request) == []

    @pytest.mark.parametrize("mangle", Mangle)
    def test_spoilt_bytes_refuse_nothing(self, shop: Shop, mangle: Mangle) -> None:
        request, result = shop.buy(place_mangle=mangle)
        assert result.outcome is BY_MANGLE[mangle]
        assert result.codes == (shop.codes(request) if result.outcome is Outcome.COMPLETED else ())

    def test_is_in_doubt_after_an_answer_that_comes_too_late(self, shop: Shop) -> None:
        request, result = shop.buy(answer_delay_s=30)
        assert result.outcome is Outcome.UNKNOWN
        assert shop.find(request).codes == shop.codes(request) != ()

    @pytest.mark.parametrize("method", ["GET", "POST"])
    @pytest.mark.parametrize("methods", Methods)
    def test_buys_by_the_methods_that_a_shop_takes(self, shop: Shop, methods: Methods, method: str) -> None:
        shop.simulator.switch(methods=methods)
        shop.know(method=method)
        request, result = shop.buy()
        is_taken = methods in (Methods.ANY, method.lower())
        assert result.outcome is (Outcome.COMPLETED if is_taken else Outcome.UNKNOWN)
        assert len(shop.bought(request)) == is_taken

    def test_adopts_no_id_from_an_answer_about_another_order(self, shop: Shop) -> None:
        shop.buy()
        request, result = shop.buy(place="accept_then_other_order")
        assert (result.outcome, result.reason_code, result.provider_id) == (Outcome.UNKNOWN, "another_order", "")
        assert shop.find(request, result.provider_id).codes == shop.codes(request) != ()


@pytest.mark.parametrize(("name", "value", "refused"), SWITCHES)
class TestWithEachSwitch:
    def test_what_was_bought_is_known_with_its_codes_and_cost(
        self, shop: Shop, name: str, value: object, refused: object
    ) -> None:
        shop.simulator.switch(**{name: value})
        before = shop.balance().amount
        request, placed = shop.buy()
        for result in (placed, shop.find(request)):
            assert (result.outcome, result.cost) == (Outcome.COMPLETED, Decimal("5.1"))
            assert result.codes == shop.codes(request) != ()
        assert before is not None
        assert shop.balance().amount == before - Decimal("5.1")

    def test_what_waits_is_in_progress_and_what_failed_is_never_delivered(
        self, shop: Shop, name: str, value: object, refused: object
    ) -> None:
        shop.simulator.switch(**{name: value})
        waiting, placed = shop.buy(complete_after_s=900)
        assert (placed.outcome, shop.find(waiting).outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
        failed, _ = shop.buy(final="cancelled", cancel_text=ARABIC)
        is_listed = name != "vocabulary" or value is Vocabulary.DOCUMENT
        result = shop.find(failed)
        assert result.outcome is (Outcome.REJECTED if is_listed else Outcome.UNKNOWN)
        assert (result.codes, result.reason) == ((), ARABIC if is_listed else "")

    def test_a_refusal_is_one_only_where_it_is_listed(
        self, shop: Shop, name: str, value: object, refused: dict[RefuseClass, Outcome]
    ) -> None:
        shop.simulator.switch(**{name: value})
        said = {each: shop.buy(place="refuse", refuse_class=each) for each in RefuseClass}
        assert {each: result.outcome for each, (_, result) in said.items()} == refused
        assert not any(shop.bought(request) for request, _ in said.values())

    def test_the_same_uuid_again_buys_nothing(self, shop: Shop, name: str, value: object, refused: object) -> None:
        shop.simulator.switch(**{name: value})
        request, first = shop.buy()
        assert shop.place(request) == replace(first, duplicate=value in (RepeatFlag.REUSED, RepeatFlag.DUPLICATE))
        assert len(shop.bought(request)) == 1

    def test_several_orders_are_told_apart(self, shop: Shop, name: str, value: object, refused: object) -> None:
        shop.simulator.switch(**{name: value})
        done, waiting = shop.buy()[0], shop.buy(complete_after_s=900)[0]
        told = {reference: result.outcome for reference, result in shop.status(done, waiting).items()}
        assert told == {done.reference: Outcome.COMPLETED, waiting.reference: Outcome.ACCEPTED}


class TestPromises:
    @pytest.mark.parametrize("place", Place)
    def test_the_same_uuid_again_never_buys_twice(self, shop: Shop, place: Place) -> None:
        shop.buy()
        request, _ = shop.buy(place=place)
        again = shop.place(request)
        (row,) = shop.bought(request)
        assert (again.outcome, again.provider_id) == (Outcome.COMPLETED, row["order_id"])
        assert again.codes == shop.codes(request)
        assert (CAPS.dedup, CAPS.resend_same_ref_safe) == ("returns_original", True)

    def test_a_request_repeated_on_the_way_buys_once(self, shop: Shop) -> None:
        request, result = shop.buy(replays=2)
        assert (result.outcome, len(shop.bought(request))) == (Outcome.COMPLETED, 1)

    @pytest.mark.parametrize("after_error", AfterError)
    def test_a_refused_uuid_may_be_burnt(self, shop: Shop, after_error: AfterError) -> None:
        shop.simulator.switch(after_error=after_error)
        request, _ = shop.buy(place="refuse")
        is_burnt = after_error is AfterError.BURNT
        assert shop.place(request).outcome is (Outcome.INSUFFICIENT_BALANCE if is_burnt else Outcome.COMPLETED)
        assert len(shop.bought(request)) == (not is_burnt)

    def test_a_uuid_of_another_order_is_not_taken_for_this_one(self, shop: Shop) -> None:
        request, _ = shop.buy()
        again = shop.place(replace(request, recipient="5999999999"))
        assert (again.outcome, again.duplicate, again.codes) == (Outcome.UNKNOWN, True, ())
        assert len(shop.bought(request)) == 1

    def test_references_must_be_uuids_of_36_letters(self, shop: Shop) -> None:
        assert (CAPS.ref_format, CAPS.ref_max_len) == ("uuid4", 36)
        for reference in ("810000000000000001", str(uuid.uuid1()), str(uuid.uuid4()) + "0"):
            request = replace(shop.request(), reference=reference)
            assert shop.place(request).outcome is Outcome.UNKNOWN
            assert shop.bought(request) == []

    def test_asking_buys_nothing(self, shop: Shop) -> None:
        assert (CAPS.find_by_own_ref, CAPS.ask_may_create) == (True, False)
        request = shop.request()
        assert shop.find(request).outcome is Outcome.NOT_FOUND
        assert shop.bought(request) == []

    def test_every_product_sells_one_unit_and_not_every_one_sells_more(self, shop: Shop) -> None:
        assert CAPS.quantity == "one"
        outcomes = [shop.place(shop.request(DIRECT, quantity=units)).outcome for units in (1, 2)]
        assert outcomes == [Outcome.COMPLETED, Outcome.REJECTED]

    @pytest.mark.parametrize("unknown", UnknownOrder)
    def test_at_most_fifty_are_answered_in_one_question(
        self, simulator: SimulatorProcess, unknown: UnknownOrder
    ) -> None:
        shop = Shop(simulator, ClientApi(caps=replace(CAPS, status_batch_max=51)))
        simulator.switch(check_cap=50, unknown_order=unknown)
        requests = [shop.buy()[0] for _ in range(51)]
        told = shop.status(*requests)
        simulator.switch(check_cap=None, unknown_order="left_out")
        assert CAPS.status_batch_max == 50
        assert set(told) == {request.reference for request in requests[:50]}
        assert {result.outcome for result in told.values()} == {Outcome.COMPLETED}
        with pytest.raises(ValueError, match="at most 50"):
            Shop(simulator).status(*requests)

    def test_the_balance_falls_by_the_cost(self, shop: Shop) -> None:
        assert CAPS.balance_check is True
        before = shop.balance().amount
        _, result = shop.buy(cost="12.345")
        after = shop.balance().amount
        assert before is not None
        assert (result.cost, after) == (Decimal("12.345"), before - Decimal("12.345"))


class TestLists:
    @pytest.mark.parametrize("form", LIST_FORMS)
    @pytest.mark.parametrize("read_as", ListForm)
    def test_one_order_is_found_however_a_shop_reads_lists(self, shop: Shop, read_as: ListForm, form: str) -> None:
        shop.simulator.switch(list_form=read_as)
        shop.know(list_form=form)
        request, _ = shop.buy()
        assert shop.find(request).codes == shop.codes(request) != ()

    @pytest.mark.parametrize("form", LIST_FORMS)
    @pytest.mark.parametrize("read_as", ListForm)
    def test_several_are_answered_with_the_right_knob_only(self, shop: Shop, read_as: ListForm, form: str) -> None:
        shop.simulator.switch(list_form=read_as)
        shop.know(list_form=form)
        requests = [shop.buy()[0] for _ in range(2)]
        told = {reference: result.codes for reference, result in shop.status(*requests).items()}
        wanted = {request.reference: shop.codes(request) for request in requests}
        assert told == (wanted if form in READ_BY[read_as] else {})

    @pytest.mark.parametrize("read_as", ListForm)
    def test_another_shop_of_this_system_is_asked_with_commas(
        self, simulator: SimulatorProcess, read_as: ListForm
    ) -> None:
        shop = Shop(simulator, ClientApi("internal", "", INTERNAL))
        simulator.switch(list_form=read_as)
        requests = [shop.buy()[0] for _ in range(2)]
        told, found = shop.status(*requests), shop.find(requests[0])
        simulator.switch(list_form="bracketed")
        assert INTERNAL.list_form == "csv"
        assert len(told) == (2 if "csv" in READ_BY[read_as] else 0)
        assert found.codes == shop.codes(requests[0]) != ()

    @pytest.mark.parametrize("batch", Batch)
    def test_an_answer_in_another_order_or_with_others_is_matched_by_ids(self, shop: Shop, batch: Batch) -> None:
        shop.buy()
        requests = [shop.buy(final=final)[0] for final in (Final.DELIVERED, Final.CANCELLED, Final.NEVER)]
        shop.simulator.switch(batch=batch)
        told = {reference: (each.outcome, each.codes) for reference, each in shop.status(*requests).items()}
        wanted = {
            requests[0].reference: (Outcome.COMPLETED, shop.codes(requests[0])),
            requests[1].reference: (Outcome.REJECTED, ()),
            requests[2].reference: (Outcome.ACCEPTED, ()),
        }
        if batch is Batch.MISSING:
            del wanted[requests[2].reference]
        assert told == wanted

    @pytest.mark.parametrize("batch", Batch)
    def test_one_order_among_others_is_never_guessed(self, shop: Shop, batch: Batch) -> None:
        shop.buy(final=Final.CANCELLED)
        request, _ = shop.buy()
        shop.simulator.switch(batch=batch)
        wanted = {Batch.MISSING: Outcome.NOT_FOUND, Batch.EXTRA: Outcome.UNKNOWN}.get(batch, Outcome.COMPLETED)
        assert shop.find(request).outcome is wanted

    @pytest.mark.parametrize("unknown", UnknownOrder)
    def test_a_missing_order_has_no_state_among_others(self, shop: Shop, unknown: UnknownOrder) -> None:
        shop.simulator.switch(unknown_order=unknown)
        request, _ = shop.buy()
        hidden, _ = shop.buy(visible_after_s=60)
        assert set(shop.status(request, hidden)) == {request.reference}


class TestAsking:
    @pytest.mark.parametrize("vocabulary", Vocabulary)
    @pytest.mark.parametrize("final", Final)
    def test_reads_the_end_of_an_order(self, shop: Shop, final: Final, vocabulary: Vocabulary) -> None:
        shop.simulator.switch(vocabulary=vocabulary)
        request, _ = shop.buy(final=final)
        is_unlisted = BY_FINAL[final] is Outcome.REJECTED and vocabulary is not Vocabulary.DOCUMENT
        assert shop.find(request).outcome is (Outcome.UNKNOWN if is_unlisted else BY_FINAL[final])
        shop.know(words=KNOBS_OF_VOCABULARY[vocabulary])
        found = shop.find(request)
        is_done = BY_FINAL[final] is Outcome.COMPLETED
        assert (found.outcome, found.codes) == (BY_FINAL[final], shop.codes(request) if is_done else ())
        assert shop.status(request) == {request.reference: found}

    @pytest.mark.parametrize("with_pin", [False, True])
    @pytest.mark.parametrize("form", ReplayForm)
    @pytest.mark.parametrize(
        "pin", ["0000123", "0|07;%+&=", "A" * 400, "a b  c", "100%", "%41%42", 'AB+"C\\D"', "İĞÜ رمز", "[1,2]"]
    )
    def test_passes_a_code_on_exactly(self, shop: Shop, pin: str, form: ReplayForm, with_pin: bool) -> None:
        shop.simulator.switch(replay_form=form, with_pin=with_pin)
        request, placed = shop.buy(pin=pin)
        assert placed.codes == shop.find(request).codes == (Code(pin),)

    def test_passes_all_codes_of_an_order_on(self, shop: Shop) -> None:
        request = shop.request(quantity=3)
        assert shop.place(request).codes == shop.find(request).codes == shop.codes(request)
        assert len(set(shop.codes(request))) == 3

    @pytest.mark.parametrize("blank", BlankForm)
    @pytest.mark.parametrize("form", ReplayForm)
    def test_a_blank_form_is_no_code(self, shop: Shop, form: ReplayForm, blank: BlankForm) -> None:
        shop.simulator.switch(replay_form=form, with_pin=True)
        request, placed = shop.buy(DIRECT, pin_blank_form=blank)
        assert (placed.outcome, placed.codes) == (Outcome.COMPLETED, ())
        assert shop.find(request).codes == ()

    def test_a_pin_shown_while_waiting_is_no_code(self, shop: Shop) -> None:
        request, placed = shop.buy(complete_after_s=60, pin_while_waiting=True)
        assert (placed.outcome, placed.codes, shop.find(request).codes) == (Outcome.ACCEPTED, (), ())
        shop.simulator.advance(60)
        assert shop.find(request).codes == shop.codes(request) != ()

    def test_a_late_and_a_second_pin_come_later(self, shop: Shop) -> None:
        request, placed = shop.buy(pin_late_s=100, second_pin_after_s=200)
        assert (placed.outcome, placed.codes) == (Outcome.COMPLETED, ())
        for seconds, count in ((100, 1), (100, 2)):
            shop.simulator.advance(seconds)
            assert shop.find(request).codes == shop.codes(request)
            assert len(shop.codes(request)) == count

    def test_reads_why_an_order_was_rejected_and_no_code_from_it(self, shop: Shop) -> None:
        request, placed = shop.buy(final="cancelled", cancel_text=ARABIC, pin_when_cancelled=True)
        assert (placed.outcome, placed.reason, placed.codes) == (Outcome.REJECTED, ARABIC, ())
        assert (shop.find(request).reason, shop.find(request).codes) == (ARABIC, ())
        assert len(shop.codes(request)) == 1

    def test_a_message_beside_a_code_hides_no_code(self, shop: Shop) -> None:
        request, placed = shop.buy(description="Thank you")
        assert placed.codes == (*shop.codes(request), Code("Thank you"))

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
        assert shop.find(request).outcome is BY_MANGLE[mangle]
        for result in shop.status(request, shop.buy()[0]).values():
            assert result.outcome is BY_MANGLE[mangle]

    def test_an_order_that_every_question_misses_is_not_found(self, shop: Shop) -> None:
        request, _ = shop.buy(status_faults=["not_found"] * 3)
        assert shop.find(request).outcome is Outcome.NOT_FOUND
        assert shop.find(request).outcome is Outcome.COMPLETED

    def test_reads_each_flip_as_it_comes(self, shop: Shop) -> None:
        request, _ = shop.buy(status_flip=["wait", "reject", "hold", "accept", "Accept", "failed"])
        seen = [shop.find(request).outcome for _ in range(7)]
        assert seen == [
            Outcome.ACCEPTED,
            Outcome.REJECTED,
            Outcome.UNKNOWN,
            Outcome.COMPLETED,
            Outcome.COMPLETED,
            Outcome.UNKNOWN,
            Outcome.COMPLETED,
        ]

    def test_an_end_may_be_taken_back(self, shop: Shop) -> None:
        cancelled, _ = shop.buy(final="cancelled", flip_to_delivered_after_s=600)
        delivered, _ = shop.buy(reverse_after_s=600)
        assert shop.find(cancelled).outcome is Outcome.REJECTED
        assert shop.find(delivered).outcome is Outcome.COMPLETED
        shop.simulator.advance(600)
        assert shop.find(cancelled).codes == shop.codes(cancelled) != ()
        assert shop.find(delivered).outcome is Outcome.REJECTED

    def test_an_old_state_is_not_final(self, shop: Shop) -> None:
        request, _ = shop.buy(status_lag_s=60)
        assert shop.find(request).outcome is Outcome.ACCEPTED
        shop.simulator.advance(60)
        assert shop.find(request).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("shape", ErrorShape)
    @pytest.mark.parametrize("unknown", UnknownOrder)
    def test_a_hidden_order_is_found_later(self, shop: Shop, unknown: UnknownOrder, shape: ErrorShape) -> None:
        shop.simulator.switch(unknown_order=unknown, error_shape=shape)
        request, _ = shop.buy(visible_after_s=30)
        is_error = unknown is UnknownOrder.ERROR
        assert shop.find(request).outcome is (Outcome.UNKNOWN if is_error else Outcome.NOT_FOUND)
        shop.know(codes={"114": "not_found", "NO_ORDER": "not_found"})
        assert shop.find(request).outcome is Outcome.NOT_FOUND
        shop.simulator.advance(30)
        assert shop.find(request).outcome is Outcome.COMPLETED

    def test_a_clock_that_is_wrong_changes_nothing(self, shop: Shop) -> None:
        request, placed = shop.buy()
        shop.simulator.switch(clock_skew_s=-86400)
        assert replace(shop.find(request), raw=b"") == placed


class TestMoney:
    @pytest.mark.parametrize("cost", ["5.10", "1.26048", "0.00001234", "1234.5", "0"])
    @pytest.mark.parametrize("form", PriceForm)
    def test_reads_a_cost_exactly(self, shop: Shop, form: PriceForm, cost: str) -> None:
        shop.simulator.switch(price_form=form)
        request, placed = shop.buy(cost=cost)
        assert placed.cost == shop.find(request).cost == Decimal(cost)
        assert shop.bought(request)[0]["cost"] == cost

    def test_a_price_for_one_unit_is_paid_for_all(self, shop: Shop) -> None:
        product = {**AMOUNT, "quantity": "250", "recipient_name": "أدخل رقم اللاعب"}
        request, placed = shop.buy(product)
        assert (placed.cost, shop.bought(request)[0]["quantity"]) == (Decimal("0.315120"), "250")

    def test_a_rejected_order_cost_nothing(self, shop: Shop) -> None:
        before = shop.balance().amount
        _, placed = shop.buy(final="cancelled")
        assert (placed.cost, shop.balance().amount) == (None, before)


class TestCatalogue:
    @pytest.mark.parametrize("flat", [False, True])
    def test_is_what_the_shop_sells(self, shop: Shop, flat: bool) -> None:
        shop.simulator.switch(flat_content=flat)
        told = {
            item.ids["oyun"]: (
                item.name,
                item.group,
                item.cost,
                item.currency,
                item.available,
                item.fields,
                (item.quantity, item.quantity_min, item.quantity_max, item.quantity_values),
            )
            for item in shop.catalogue().items
        }
        cost = Decimal
        player, one = ("playerId",), ("one", 1, 1, ())
        assert told == {
            "101": ("PUBG 60 UC", "PUBG", cost("0.94536"), "USD", True, player, one),
            "102": ("iTunes 5 USD", "iTunes", cost("5.1"), "USD", True, (), ("range", 1, 10, ())),
            "103": (
                "Followers",
                "Social",
                cost("0.00126048"),
                "USD",
                True,
                ("أدخل رقم اللاعب",),
                ("range", 100, 15000, ()),
            ),
            "104": ("Coins", "Games", cost("0.0114"), "USD", True, player, ("list", 110, 150, (110, 150))),
            "105": ("PUBG 325 UC", "PUBG", cost("4.65"), "USD", False, player, one),
        }

    @pytest.mark.parametrize("product", [LISTED, WITH_CODES, DIRECT], ids=["listed", "range", "one"])
    def test_what_is_listed_is_paid(self, shop: Shop, product: Mapping[str, str]) -> None:
        item = next(each for each in shop.catalogue().items if each.ids == product)
        assert item.cost is not None
        _, placed = shop.buy({**product, "quantity": str(item.quantity_max)})
        assert (placed.outcome, placed.cost) == (Outcome.COMPLETED, item.cost * item.quantity_max)


class TestLogin:
    @pytest.mark.parametrize("statuses", HttpStatuses)
    @pytest.mark.parametrize("shape", ErrorShape)
    def test_a_bad_token_is_no_news_and_no_balance(self, shop: Shop, shape: ErrorShape, statuses: HttpStatuses) -> None:
        request, _ = shop.buy()
        shop.simulator.switch(error_shape=shape, http_statuses=statuses)
        shop.know(codes=ERROR_WORDS)
        shop.forget_token()
        fresh = shop.request()
        assert shop.place(fresh).outcome is Outcome.AUTH_ERROR
        assert shop.bought(fresh) == []
        assert shop.find(request).outcome is Outcome.AUTH_ERROR
        assert (shop.balance().amount, shop.catalogue().items) == (None, ())
        assert shop.balance().error
        assert shop.catalogue().error


class TestDown:
    @pytest.mark.parametrize("down", Down)
    def test_a_shop_that_is_down_says_nothing(self, shop: Shop, down: Down) -> None:
        request, _ = shop.buy()
        shop.simulator.switch(down=down)
        shop.wait(PATIENCE_S if down is Down.HANG else CALM_S)
        assert shop.place(shop.request()).outcome is BY_DOWN[down]
        assert shop.find(request).outcome is Outcome.UNKNOWN
        assert shop.balance().amount is None

    @pytest.mark.parametrize("down", [Down.HTML, Down.EMPTY, Down.REFUSE])
    def test_a_shop_that_is_down_has_no_empty_catalogue(self, shop: Shop, down: Down) -> None:
        shop.simulator.switch(down=down)
        assert shop.catalogue().items == ()
        assert shop.catalogue().error


Letters = Queue[tuple[str, Mapping[str, str], bytes]]


@contextmanager
def mailbox() -> Iterator[tuple[str, Letters]]:
    """An address on this machine that takes webhooks, and what has come."""
    letters: Letters = Queue()

    class Door(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            letters.put((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:
            """Nothing: a test reads the letters."""

    with HTTPServer(("127.0.0.1", 0), Door) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/hook", letters
        server.shutdown()


class TestWebhooks:
    def test_the_family_sends_none(self, shop: Shop) -> None:
        request, _ = shop.buy()
        assert CAPS.webhook == "none"
        assert not [each for each in shop.simulator.truth() if each["event"] == "hook"]
        assert shop.find(request).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize("is_forged", [False, True])
    def test_the_clone_that_has_them_signs_time_nonce_and_body(self, shop: Shop, is_forged: bool) -> None:
        with mailbox() as (url, letters):
            shop.simulator.switch(hook_url=url, hook_forged=is_forged)
            shop.buy(final=Final.NEVER)
            path, headers, body = letters.get(timeout=10)
            shop.simulator.switch(hook_url=None)
        stamped = (headers["x-webhook-timestamp"], headers["x-webhook-nonce"], hashlib.sha256(body).hexdigest())
        signed = "\n".join(("POST", path, *stamped))
        wanted = hmac.new(b"demo-webhook-secret", signed.encode(), hashlib.sha256).hexdigest()
        assert (headers["x-webhook-signature"] == wanted) is not is_forged
        assert headers["x-webhook-signature-version"] == "v1"


class TestMixtures:
    @pytest.mark.parametrize("seed", range(60))
    def test_fates_and_switches_together_change_no_meaning(self, shop: Shop, seed: int) -> None:
        rng = random.Random(seed)
        vocabulary, unknown = rng.choice(list(Vocabulary)), rng.choice(list(UnknownOrder))
        shop.simulator.switch(
            vocabulary=vocabulary,
            unknown_order=unknown,
            error_shape=rng.choice([shape for shape in ErrorShape if shape is not ErrorShape.WORD]),
            http_statuses=rng.choice(list(HttpStatuses)),
            price_form=rng.choice(list(PriceForm)),
            replay_form=rng.choice(list(ReplayForm)),
            repeat_flag=rng.choice(list(RepeatFlag)),
            list_form=rng.choice(list(ListForm)),
            with_pin=rng.random() < 0.5,
        )
        shop.know(words=KNOBS_OF_VOCABULARY[vocabulary], codes={"114": "not_found"})
        place = rng.choice([place for place in Place if not place.endswith(("hang", "hang_before", "drip"))])
        final = rng.choice(list(Final))
        request, result = shop.buy(
            place=place,
            final=final,
            cancel_text=rng.choice([None, "", ARABIC]),
            pin_when_cancelled=rng.random() < 0.5,
            pin_while_waiting=rng.random() < 0.5,
        )
        assert result.outcome is (BY_FINAL[final] if place is Place.ACCEPT else BY_PLACE[place])
        found = shop.find(request)
        assert found.outcome is (BY_FINAL[final] if place.buys else Outcome.NOT_FOUND)
        is_done = found.outcome is Outcome.COMPLETED
        assert found.codes == (shop.codes(request) if is_done else ())
        assert found.cost == (Decimal("5.1") if place.buys and found.outcome is not Outcome.REJECTED else None)
