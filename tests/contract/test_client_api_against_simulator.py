"""The client API's adapter against the simulator over real sockets, with each switch of the dialect in each position.

The two were written apart from the same document. A switch says how one clone differs, a table here what its buyer may
know then; the truth ledger says what was bought and which codes were given.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from apps.common.egress import LOCAL
from apps.common.talk import drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall
from apps.providers.adapters.client_api import ClientApi
from apps.providers.contract import Account, Code, OrderRef, Outcome, PlaceRequest, Result
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
from apps.simulator.fates import Place, RefuseClass, StatusFault

ADAPTER = ClientApi()
CODES, DIRECT = "102", "101"
PATIENCE_S = 0.3

REFUSED: dict[RefuseClass, Outcome] = {
    RefuseClass.BALANCE: Outcome.INSUFFICIENT_BALANCE,
    RefuseClass.PRODUCT: Outcome.OUT_OF_STOCK,
    RefuseClass.AUTH: Outcome.AUTH_ERROR,
    RefuseClass.OTHER: Outcome.UNKNOWN,
}
NOT_READ = dict.fromkeys(RefuseClass, Outcome.UNKNOWN)

SWITCHES: list[tuple[str, object, dict[RefuseClass, Outcome]]] = [
    ("codes", CodeTable.CANONICAL, REFUSED),
    ("codes", CodeTable.WTN, {**REFUSED, RefuseClass.PRODUCT: Outcome.REJECTED}),
    ("codes", CodeTable.WATAN, REFUSED),
    *(("error_shape", shape, NOT_READ if shape is ErrorShape.WORD else REFUSED) for shape in ErrorShape),
    *(("http_statuses", statuses, REFUSED) for statuses in HttpStatuses),
    *(("after_error", after, REFUSED) for after in AfterError),
    *(("price_form", form, REFUSED) for form in PriceForm),
    *(("replay_form", form, REFUSED) for form in ReplayForm),
    *(("repeat_flag", flag, REFUSED) for flag in RepeatFlag),
    *(("vocabulary", words, REFUSED) for words in Vocabulary),
    *(("unknown_order", said, REFUSED) for said in UnknownOrder),
    ("with_pin", True, REFUSED),
    ("flat_content", True, REFUSED),
]
"""Each position of each switch, with what a refusal of each class is then. A refusal in words alone is not read."""

BOUGHT_UNHEARD = [
    Place.ACCEPT_THEN_HANG,
    Place.ACCEPT_THEN_RESET,
    Place.ACCEPT_THEN_500,
    Place.ACCEPT_THEN_HTML,
    Place.ACCEPT_THEN_EMPTY,
    Place.ACCEPT_THEN_CUT,
    Place.ACCEPT_THEN_HEADERS,
    Place.ACCEPT_THEN_CODE_8,
    Place.ACCEPT_THEN_RATE_LIMITED,
]
NOT_BOUGHT = [
    Place.HANG_BEFORE,
    Place.RESET_BEFORE,
    Place.ERROR_500_BEFORE,
    Place.HTML_BEFORE,
    Place.EMPTY_BEFORE,
    Place.REDIRECT,
    Place.CODE_8,
    Place.UNLISTED_TEXT,
]
BROKEN_QUESTIONS = [
    StatusFault.ERROR_500,
    StatusFault.HTML,
    StatusFault.EMPTY,
    StatusFault.HANG,
    StatusFault.RESET,
    StatusFault.CUT,
    StatusFault.UNKNOWN_WORD,
]


def _send(call: HttpCall) -> Answer:
    return send_once(call, policy=LOCAL)


class Shop:
    """A buyer at one simulator."""

    def __init__(self, simulator: SimulatorProcess) -> None:
        self.simulator = simulator
        options = {"place_timeout_s": PATIENCE_S, "ask_timeout_s": PATIENCE_S}
        self.account = Account(simulator.url, "", {"token": "demo-secret"}, "USD", options)

    def with_options(self, **options: object) -> Shop:
        other = Shop(self.simulator)
        other.account = replace(self.account, options={**self.account.options, **options})
        return other

    def place(self, request: PlaceRequest) -> Result:
        return drive(ADAPTER.place(self.account, request), _send)[0]

    def find(self, request: PlaceRequest) -> Result:
        return drive(ADAPTER.find(self.account, OrderRef(request.reference, request=request)), _send)[0]

    def status(self, *orders: tuple[PlaceRequest, Result]) -> dict[str, Result]:
        refs = [OrderRef(asked.reference, placed.provider_id, request=asked) for asked, placed in orders]
        return dict(drive(ADAPTER.status(self.account, refs), _send)[0])

    def buy(self, product: str = CODES, /, quantity: int = 1, **fate: Any) -> tuple[PlaceRequest, Result]:
        """Places a new order that has this fate."""
        request = PlaceRequest(str(uuid.uuid4()), {"oyun": product}, "5123456789", quantity=quantity)
        if fate:
            self.simulator.set_fate(reference=request.reference, **fate)
        return request, self.place(request)

    def truth(self, request: PlaceRequest) -> list[dict[str, Any]]:
        return [row for row in self.simulator.orders() if row["reference"] == request.reference]

    def codes(self, request: PlaceRequest) -> tuple[Code, ...]:
        """The codes that the simulator has given."""
        return tuple(Code(pin) for pin in self.truth(request)[-1]["pins"])


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path_factory.mktemp("store") / "truth.jsonl", dialect="client_api") as process:
        yield process


@pytest.fixture
def shop(shared: SimulatorProcess) -> Iterator[Shop]:
    defaults = shared.call("GET", "switches")
    yield Shop(shared)
    shared.switch(**defaults)


@pytest.mark.parametrize(("name", "value", "refused"), SWITCHES)
class TestWithEachSwitch:
    def test_what_was_bought_is_known_with_its_codes_and_cost(
        self, shop: Shop, name: str, value: object, refused: object
    ) -> None:
        shop.simulator.switch(**{name: value})
        request, placed = shop.buy()
        found = shop.find(request)
        for result in (placed, found):
            assert (result.outcome, result.cost) == (Outcome.COMPLETED, Decimal("5.1"))
            assert result.codes == shop.codes(request) != ()

    def test_what_waits_is_in_progress_and_what_failed_is_never_delivered(
        self, shop: Shop, name: str, value: object, refused: object
    ) -> None:
        shop.simulator.switch(**{name: value})
        waiting, placed = shop.buy(complete_after_s=900)
        assert (placed.outcome, shop.find(waiting).outcome) == (Outcome.ACCEPTED, Outcome.ACCEPTED)
        failed, _ = shop.buy(final="cancelled", cancel_text="player not found")
        is_listed = name != "vocabulary" or value is Vocabulary.DOCUMENT
        result = shop.find(failed)
        assert result.outcome is (Outcome.REJECTED if is_listed else Outcome.UNKNOWN)
        assert (result.codes, result.reason) == ((), "player not found" if is_listed else "")

    def test_a_refusal_is_one_only_where_it_is_listed(
        self, shop: Shop, name: str, value: object, refused: dict[RefuseClass, Outcome]
    ) -> None:
        shop.simulator.switch(**{name: value})
        said = {each: shop.buy(place="refuse", refuse_class=each) for each in RefuseClass}
        assert {each: result.outcome for each, (_, result) in said.items()} == refused
        assert [shop.truth(request) for request, _ in said.values()] == [[]] * len(said)

    def test_the_same_uuid_again_buys_nothing(self, shop: Shop, name: str, value: object, refused: object) -> None:
        shop.simulator.switch(**{name: value})
        request, first = shop.buy()
        again = shop.place(request)
        assert (again.outcome, again.provider_id, again.codes) == (first.outcome, first.provider_id, first.codes)
        assert len(shop.truth(request)) == 1
        assert again.duplicate is (value in (RepeatFlag.REUSED, RepeatFlag.DUPLICATE))

    def test_several_orders_are_told_apart(self, shop: Shop, name: str, value: object, refused: object) -> None:
        shop.simulator.switch(**{name: value})
        done, waiting = shop.buy(), shop.buy(complete_after_s=900)
        told = shop.status(done, waiting, (replace(done[0], reference="x"), replace(done[1], provider_id="ID_0")))
        assert {reference: result.outcome for reference, result in told.items()} == {
            done[0].reference: Outcome.COMPLETED,
            waiting[0].reference: Outcome.ACCEPTED,
        }

    def test_the_wallet_and_the_shelf_are_read(self, shop: Shop, name: str, value: object, refused: object) -> None:
        shop.simulator.switch(**{name: value})
        balance = drive(ADAPTER.balance(shop.account), _send)[0].amount
        shop.buy()
        assert balance is not None
        assert drive(ADAPTER.balance(shop.account), _send)[0].amount == balance - Decimal("5.1")
        items = drive(ADAPTER.catalogue(shop.account), _send)[0].items
        assert [(item.ids["oyun"], item.quantity, item.available) for item in items] == [
            ("101", "one", True),
            ("102", "range", True),
            ("103", "range", True),
            ("104", "list", True),
            ("105", "one", False),
        ]


class TestLists:
    @pytest.mark.parametrize("written", ["bracketed", "csv", "json"])
    @pytest.mark.parametrize("read", ListForm)
    def test_an_order_is_found_whatever_form_the_account_says(self, shop: Shop, written: str, read: ListForm) -> None:
        shop.simulator.switch(list_form=read)
        request, placed = shop.buy()
        assert shop.with_options(list_form=written).find(request).provider_id == placed.provider_id

    @pytest.mark.parametrize(
        ("read", "written"), [(ListForm.BRACKETED, "bracketed"), (ListForm.COMMAS_ONLY, "csv"), (ListForm.JSON, "json")]
    )
    def test_several_are_told_in_the_shop_s_own_form(self, shop: Shop, read: ListForm, written: str) -> None:
        shop.simulator.switch(list_form=read)
        orders = [shop.buy() for _ in range(3)]
        assert len(shop.with_options(list_form=written).status(*orders)) == 3

    @pytest.mark.parametrize("batch", ["shuffled", "missing", "extra"])
    def test_an_odd_answer_gives_nobody_another_s_order(self, shop: Shop, batch: str) -> None:
        shop.buy()
        orders = [shop.buy() for _ in range(3)]
        shop.simulator.switch(batch=batch)
        told = shop.status(*orders)
        assert len(told) == (2 if batch == "missing" else 3)
        assert all(told[asked.reference].codes == shop.codes(asked) for asked, _ in orders if asked.reference in told)

    def test_a_cut_off_answer_says_nothing_about_the_rest(self, shop: Shop) -> None:
        shop.simulator.switch(check_cap=2)
        orders = [shop.buy() for _ in range(3)]
        assert list(shop.status(*orders)) == [asked.reference for asked, _ in orders[:2]]

    @pytest.mark.parametrize(
        ("said", "outcome"), [(UnknownOrder.LEFT_OUT, Outcome.NOT_FOUND), (UnknownOrder.ERROR, Outcome.UNKNOWN)]
    )
    def test_an_order_that_is_not_there(self, shop: Shop, said: UnknownOrder, outcome: Outcome) -> None:
        shop.simulator.switch(unknown_order=said)
        assert shop.find(PlaceRequest(str(uuid.uuid4()), {"oyun": CODES}, "5123456789")).outcome is outcome


class TestFaults:
    @pytest.mark.parametrize("place", BOUGHT_UNHEARD)
    def test_what_was_bought_unheard_is_in_doubt_and_found(self, shop: Shop, place: Place) -> None:
        request, placed = shop.buy(place=place)
        assert (placed.outcome, placed.codes, len(shop.truth(request))) == (Outcome.UNKNOWN, (), 1)
        found = shop.find(request)
        assert (found.outcome, found.codes) == (Outcome.COMPLETED, shop.codes(request))

    @pytest.mark.parametrize("place", NOT_BOUGHT)
    def test_what_was_not_bought_is_in_doubt_and_not_found(self, shop: Shop, place: Place) -> None:
        request, placed = shop.buy(place=place)
        assert (placed.outcome, shop.truth(request)) == (Outcome.UNKNOWN, [])
        assert shop.find(request).outcome is Outcome.NOT_FOUND

    def test_the_answer_about_another_order_is_noticed_by_its_recipient(self, shop: Shop) -> None:
        other = PlaceRequest(str(uuid.uuid4()), {"oyun": DIRECT}, "5998887766")
        shop.place(other)
        _, placed = shop.buy(DIRECT, place="accept_then_other_order")
        assert (placed.outcome, placed.duplicate) == (Outcome.UNKNOWN, True)

    @pytest.mark.parametrize("fault", BROKEN_QUESTIONS)
    def test_a_broken_question_says_nothing(self, shop: Shop, fault: StatusFault) -> None:
        request, _ = shop.buy(status_faults=[fault])
        result = shop.find(request)
        assert (result.outcome, result.codes) == (Outcome.UNKNOWN, ())
        assert shop.find(request).outcome is Outcome.COMPLETED

    @pytest.mark.parametrize(("pin", "quantity"), [("0|07;%+&=", 1), ("000123", 1), ("رمز-ضغط", 1), ("ığüş", 1)])
    def test_a_code_is_passed_on_exactly(self, shop: Shop, pin: str, quantity: int) -> None:
        request, placed = shop.buy(pin=pin)
        assert placed.codes == shop.find(request).codes == (Code(pin),)

    def test_three_units_have_three_codes(self, shop: Shop) -> None:
        request, placed = shop.buy(quantity=3)
        assert placed.codes == shop.codes(request)
        assert (len(placed.codes), placed.cost) == (3, Decimal("15.3"))

    def test_a_code_shown_too_early_or_left_behind_is_none(self, shop: Shop) -> None:
        early, _ = shop.buy(pin="EARLY-1", pin_while_waiting=True, complete_after_s=900)
        left, _ = shop.buy(pin="LEFT-1", final="cancelled", pin_when_cancelled=True)
        assert (shop.find(early).codes, shop.find(left).codes) == ((), ())

    @pytest.mark.parametrize("form", ["space", "dash", "spaced_dash", "empty"])
    def test_a_blank_form_is_no_code(self, shop: Shop, form: str) -> None:
        request, _ = shop.buy(pin_blank_form=form)
        assert (shop.find(request).outcome, shop.find(request).codes) == (Outcome.COMPLETED, ())


@pytest.mark.parametrize(
    ("taken", "method", "outcome"),
    [
        (Methods.GET, "GET", Outcome.COMPLETED),
        (Methods.POST, "POST", Outcome.COMPLETED),
        (Methods.ANY, "POST", Outcome.COMPLETED),
        (Methods.GET, "POST", Outcome.UNKNOWN),
        (Methods.POST, "GET", Outcome.UNKNOWN),
    ],
)
def test_an_order_goes_by_the_account_s_method(shop: Shop, taken: Methods, method: str, outcome: Outcome) -> None:
    shop.simulator.switch(methods=taken)
    request, placed = shop.with_options(method=method).buy()
    assert (placed.outcome, len(shop.truth(request))) == (outcome, 1 if outcome is Outcome.COMPLETED else 0)
