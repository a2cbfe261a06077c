"""The Reloadly dialect over real sockets: tokens, racy identifiers, gift cards in every form, airtime, reports."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from apps.simulator.client import SimulatorProcess
from apps.simulator.probe import get, post
from apps.simulator.rawline import exchange
from apps.simulator.selftest.letters import receiver

CREDENTIALS = {"client_id": "demo-client", "client_secret": "demo-secret", "grant_type": "client_credentials"}
CARD = {"productId": 120, "quantity": 1, "unitPrice": 10, "senderName": "Hub"}

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path_factory.mktemp("reloadly") / "truth.jsonl", dialect="reloadly") as process:
        yield process


@pytest.fixture
def house(shared: SimulatorProcess) -> Iterator[SimulatorProcess]:
    defaults = shared.call("GET", "switches")
    yield shared
    shared.switch(**defaults)


class Answer:
    """Status, headers and JSON of an answer; numbers keep their digits as text."""

    def __init__(self, house: SimulatorProcess, request: bytes) -> None:
        seen = exchange(house.port, request, 10.0)
        self.status, self.text, self.headers = seen.status, seen.body.decode(), seen.headers
        self.json: Any = (
            json.loads(self.text, parse_int=str, parse_float=str) if self.text.startswith(("{", "[")) else None
        )

    @property
    def error(self) -> tuple[int, str]:
        return self.status, self.json["errorCode"]


def lend(house: SimulatorProcess, audience: str = "giftcards", **changes: str) -> Answer:
    wish = CREDENTIALS | {"audience": f"https://{audience}-sandbox.reloadly.com"} | changes
    return Answer(house, post("/oauth/token", json.dumps(wish).encode(), "application/json"))


def headers(house: SimulatorProcess, service: str = "giftcards", version: int = 1) -> dict[str, str]:
    accept = f"application/com.reloadly.{service}-v{version}+json"
    return {"Authorization": f"Bearer {lend(house, service).json['access_token']}", "Accept": accept}


def read(house: SimulatorProcess, path: str, version: int = 1, **params: str) -> Answer:
    return Answer(house, get(path, params, headers(house, path.split("/")[1], version)))


def send(house: SimulatorProcess, path: str, body: dict[str, Any]) -> Answer:
    raw = json.dumps(body).encode()
    return Answer(house, post(path, raw, "application/json", headers(house, path.split("/")[1])))


def identifier() -> str:
    return f"Ref-{next(_numbers):06}"


def order(house: SimulatorProcess, name: str = "", **changes: Any) -> Answer:
    return send(house, "/giftcards/orders", CARD | {"customIdentifier": name or identifier()} | changes)


def order_with(house: SimulatorProcess, /, changes: dict[str, Any] | None = None, **fate: Any) -> tuple[str, Answer]:
    name = identifier()
    house.set_fate(reference=name, **fate)
    return name, order(house, name, **(changes or {}))


def phone() -> str:
    return f"+234{next(_numbers):09d}"


def load(house: SimulatorProcess, path: str = "/topups/topups", **changes: Any) -> Answer:
    body = {"operatorId": 341, "amount": 5, "customIdentifier": identifier(), "recipientPhone": {"number": phone()}}
    return send(house, path, body | changes)


def bought(house: SimulatorProcess, name: str) -> int:
    return [row["reference"] for row in house.orders()].count(name)


class TestAToken:
    def test_is_lent_for_one_service_and_a_time(self, house: SimulatorProcess) -> None:
        lent = lend(house)
        assert (lent.status, lent.json["expires_in"], lent.json["token_type"]) == (200, "86400", "Bearer")
        wrong = {
            "Authorization": f"Bearer {lent.json['access_token']}",
            "Accept": "application/com.reloadly.topups-v1+json",
        }
        assert Answer(house, get("/topups/accounts/balance", {}, wrong)).error == (401, "INVALID_TOKEN")

    @pytest.mark.parametrize(
        ("changes", "error"),
        [
            ({"client_secret": "x"}, (401, "INVALID_CREDENTIALS")),
            ({"grant_type": "password"}, (400, "INVALID_REQUEST")),
            ({"audience": "https://elsewhere.example"}, (400, "INVALID_REQUEST")),
        ],
    )
    def test_is_not_lent_to_everybody(
        self, house: SimulatorProcess, changes: dict[str, str], error: tuple[int, str]
    ) -> None:
        assert lend(house, **changes).error == error

    def test_expires(self, house: SimulatorProcess) -> None:
        old = headers(house)
        assert Answer(house, get("/giftcards/accounts/balance", {}, old)).status == 200
        house.advance(86400)
        assert Answer(house, get("/giftcards/accounts/balance", {}, old)).error == (401, "TOKEN_EXPIRED")
        raw = json.dumps(CARD | {"customIdentifier": (name := identifier())}).encode()
        late = Answer(house, post("/giftcards/orders", raw, "application/json", old))
        assert (late.error, bought(house, name)) == ((401, "TOKEN_EXPIRED"), 0)
        assert read(house, "/giftcards/accounts/balance").status == 200

    def test_needs_the_version_beside_it(self, house: SimulatorProcess) -> None:
        bare = headers(house) | {"Accept": "application/json"}
        assert Answer(house, get("/giftcards/accounts/balance", {}, bare)).error == (406, "NOT_ACCEPTABLE")

    def test_that_is_made_up_buys_nothing(self, house: SimulatorProcess) -> None:
        name = identifier()
        for token in ("x", "giftcards-1-00", "giftcards-nan-00"):
            made_up = headers(house) | {"Authorization": f"Bearer {token}"}
            raw = json.dumps(CARD | {"customIdentifier": name}).encode()
            answer = Answer(house, post("/giftcards/orders", raw, "application/json", made_up))
            assert (answer.error, bought(house, name)) == ((401, "INVALID_TOKEN"), 0)


class TestAnIdentifier:
    def test_is_used_once(self, house: SimulatorProcess) -> None:
        name = identifier()
        assert order(house, name).status == 200
        assert order(house, name).error == (400, "CUSTOM_IDENTIFIER_ALREADY_USED")
        assert bought(house, name) == 1

    def test_is_not_used_up_by_a_refusal(self, house: SimulatorProcess) -> None:
        name = identifier()
        assert order(house, name, unitPrice=11).error == (400, "INVALID_AMOUNT_FOR_OPERATOR")
        assert order(house, name).status == 200

    @pytest.mark.parametrize(("ignores", "count"), [(True, 2), (False, 1)])
    def test_of_two_in_flight_together_buys_twice(self, house: SimulatorProcess, ignores: bool, count: int) -> None:
        house.switch(ignores_overlap=ignores)
        name = identifier()
        house.set_fate(reference=name, answer_delay_s=1)
        threads = [threading.Thread(target=order, args=(house, name)) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert bought(house, name) == count
        found = read(house, "/giftcards/reports/transactions", customIdentifier=name).json
        assert found["totalElements"] == str(count)

    def test_has_at_most_150_characters(self, house: SimulatorProcess) -> None:
        assert order(house, "x" * 151).error == (400, "INVALID_REQUEST")

    def test_is_found_in_any_case(self, house: SimulatorProcess) -> None:
        name, placed = order_with(house)
        found = read(house, "/giftcards/reports/transactions", customIdentifier=name.upper()).json
        assert [row["transactionId"] for row in found["content"]] == [placed.json["transactionId"]]
        assert found["content"][0]["customIdentifier"] == name

    def test_that_nobody_used_finds_an_empty_page(self, house: SimulatorProcess) -> None:
        found = read(house, "/giftcards/reports/transactions", customIdentifier="nobody").json
        assert (found["content"], found["totalElements"]) == ([], "0")


class TestAGiftCard:
    def test_is_told_with_its_money(self, house: SimulatorProcess) -> None:
        told = order(house, quantity=3).json
        assert (told["amount"], told["currencyCode"], told["product"]["quantity"]) == ("30.6", "USD", "3")
        info = told["balanceInfo"]
        assert (info["cost"], info["currencyCode"]) == ("30.6", "USD")
        assert int(told["transactionId"]) > 2**53

    def test_may_cost_five_decimals_within_a_range(self, house: SimulatorProcess) -> None:
        assert order(house, productId=5, unitPrice=7.5).json["amount"] == "8.12362"
        assert order(house, productId=5, unitPrice=501).error == (400, "INVALID_AMOUNT_FOR_OPERATOR")

    def test_may_need_to_know_its_user(self, house: SimulatorProcess) -> None:
        changes: dict[str, Any] = {"productId": 77, "unitPrice": 20}
        assert order(house, **changes).error == (400, "INVALID_REQUEST")
        assert order(house, **changes, productAdditionalRequirements={"userId": "u1"}).status == 200

    def test_may_misspell_the_balance(self, house: SimulatorProcess) -> None:
        house.switch(balance_misspelt=True)
        assert "balaneInfo" in order(house).json

    @pytest.mark.parametrize(
        ("final", "word"), [("delivered", "SUCCESSFUL"), ("cancelled", "FAILED"), ("reversed", "REFUNDED")]
    )
    def test_goes_from_processing_to_its_end(self, house: SimulatorProcess, final: str, word: str) -> None:
        _, placed = order_with(house, complete_after_s=60, final=final)
        path = f"/giftcards/reports/transactions/{placed.json['transactionId']}"
        assert placed.json["status"] == read(house, path).json["status"] == "PROCESSING"
        house.advance(60)
        assert read(house, path).json["status"] == word

    @pytest.mark.parametrize(("form", "status", "body"), [("404", 404, None), ("empty", 200, [])])
    def test_has_no_cards_while_it_is_processing(
        self, house: SimulatorProcess, form: str, status: int, body: Any
    ) -> None:
        house.switch(cards_while_processing=form)
        _, placed = order_with(house, complete_after_s=60)
        answer = read(house, f"/giftcards/orders/transactions/{placed.json['transactionId']}/cards")
        assert answer.status == status
        assert body is None or answer.json == body

    @pytest.mark.parametrize(
        ("form", "version", "card"),
        [
            ("number", 1, {"cardNumber": "CODE-1", "pinCode": None}),
            ("number", 2, {"cardNumber": "CODE-1", "pinCode": None, "redemptionUrl": None}),
            ("number_and_pin", 1, {"cardNumber": "CODE-1", "pinCode": "7012"}),
            ("url", 1, {"cardNumber": "https://redeem.example.invalid/CODE-1", "pinCode": None}),
            (
                "url",
                2,
                {"cardNumber": None, "pinCode": None, "redemptionUrl": "https://redeem.example.invalid/CODE-1"},
            ),
        ],
    )
    def test_is_shown_in_every_form(
        self, house: SimulatorProcess, form: str, version: int, card: dict[str, Any]
    ) -> None:
        house.switch(card_form=form)
        _, placed = order_with(house, pin="CODE-1")
        path = f"/giftcards/orders/transactions/{placed.json['transactionId']}/cards"
        (shown,) = read(house, path, version).json
        if card["pinCode"]:
            card = card | {"pinCode": shown["pinCode"]}
            assert len(shown["pinCode"]) == 4
        assert shown == card

    def test_may_be_an_object_and_a_long_number(self, house: SimulatorProcess) -> None:
        house.switch(single_card_as_object=True, card_number_as_number=True)
        _, placed = order_with(house, pin="9007199254740993123")
        answer = read(house, f"/giftcards/orders/transactions/{placed.json['transactionId']}/cards")
        assert '"cardNumber":9007199254740993123' in answer.text
        assert answer.json["cardNumber"] == "9007199254740993123"

    def test_has_a_code_for_each_unit(self, house: SimulatorProcess) -> None:
        _, placed = order_with(house, {"quantity": 3})
        cards = read(house, f"/giftcards/orders/transactions/{placed.json['transactionId']}/cards").json
        assert len({card["cardNumber"] for card in cards}) == 3

    def test_of_an_unknown_number_is_not_there(self, house: SimulatorProcess) -> None:
        for path in ("/giftcards/reports/transactions/1", "/giftcards/orders/transactions/1/cards"):
            assert read(house, path).error == (404, "TRANSACTION_NOT_FOUND")


class TestAirtime:
    def test_is_loaded_in_our_money_or_theirs(self, house: SimulatorProcess) -> None:
        told = load(house).json
        assert (told["status"], told["requestedAmount"], told["deliveredAmount"]) == ("SUCCESSFUL", "5", "7500")
        assert load(house, amount=7500, useLocalAmount=True).json["requestedAmount"] == "5"

    def test_is_told_by_number_alone_when_it_is_async(self, house: SimulatorProcess) -> None:
        assert set(load(house, "/topups/topups-async").json) == {"transactionId"}

    @pytest.mark.parametrize("inside", [False, True])
    def test_has_a_status_with_its_transaction_once_it_is_done(self, house: SimulatorProcess, inside: bool) -> None:
        house.switch(status_inside=inside)
        name = identifier()
        house.set_fate(reference=name, complete_after_s=60)
        number = load(house, "/topups/topups-async", customIdentifier=name).json["transactionId"]
        path = f"/topups/topups/{number}/status"
        waiting = {"code": None, "message": None, "status": "PROCESSING"}
        assert read(house, path).json == ({"transaction": waiting} if inside else waiting)
        house.advance(60)
        done = read(house, path).json
        assert (done["transaction"] if inside else done)["status"] == "SUCCESSFUL"
        assert done["transaction"]["transactionId"] == number

    def test_may_be_a_pin(self, house: SimulatorProcess) -> None:
        told = load(house, operatorId=732).json
        assert told["pinDetail"]["code"]
        assert load(house).json["pinDetail"] is None

    def test_waits_two_minutes_for_the_same_phone(self, house: SimulatorProcess) -> None:
        number = {"number": phone()}
        assert load(house, recipientPhone=number).status == 200
        assert load(house, recipientPhone=number).error == (400, "PHONE_RECENTLY_RECHARGED")
        house.advance(120)
        assert load(house, recipientPhone=number).status == 200

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"recipientPhone": {"number": "abc"}}, "INVALID_PHONE_NUMBER"),
            ({"amount": 6}, "INVALID_AMOUNT_FOR_OPERATOR"),
            ({"operatorId": 1}, "INVALID_AMOUNT_FOR_OPERATOR"),
        ],
    )
    def test_refuses_for_certain(self, house: SimulatorProcess, changes: dict[str, Any], code: str) -> None:
        assert load(house, **changes).error == (400, code)

    def test_is_not_in_the_report_of_the_cards(self, house: SimulatorProcess) -> None:
        name = identifier()
        load(house, customIdentifier=name)
        found = {
            service: read(house, path, customIdentifier=name).json["totalElements"]
            for service, path in (
                ("giftcards", "/giftcards/reports/transactions"),
                ("topups", "/topups/topups/reports/transactions"),
            )
        }
        assert found == {"giftcards": "0", "topups": "1"}


class TestTheHouse:
    def test_pages_its_report_newest_first(self, house: SimulatorProcess) -> None:
        placed = [order(house).json["transactionId"] for _ in range(3)]
        pages = [read(house, "/giftcards/reports/transactions", size="2", page=str(n)).json for n in (1, 2)]
        assert [row["transactionId"] for page in pages for row in page["content"]][:3] == placed[::-1]
        assert (pages[0]["size"], pages[0]["last"]) == ("2", False)

    def test_reads_times_in_its_own_zone(self, house: SimulatorProcess) -> None:
        placed = order(house).json
        at = placed["transactionCreatedTime"]
        within = {"customIdentifier": placed["customIdentifier"], "startDate": at[:17] + "00"}
        assert read(house, "/giftcards/reports/transactions", **within).json["totalElements"] == "1"
        before = within | {"startDate": "2020-01-01 00:00:00", "endDate": "2020-01-02 00:00:00"}
        assert read(house, "/giftcards/reports/transactions", **before).json["totalElements"] == "0"
        assert read(house, "/giftcards/reports/transactions", startDate="tomorrow").status == 400

    def test_lists_what_it_sells(self, house: SimulatorProcess) -> None:
        listed = {row["productId"]: row for row in read(house, "/giftcards/products").json["content"]}
        assert listed["120"]["fixedRecipientDenominations"] == ["10", "25"]
        assert listed["120"]["fixedSenderDenominations"] == ["10.2", "25.5"]
        assert (listed["5"]["denominationType"], listed["5"]["recipientCurrencyCode"]) == ("RANGE", "EUR")
        assert listed["5"]["minSenderDenomination"] == "5.41575"
        assert listed["77"]["additionalRequirements"] == {"userIdRequired": True}

    def test_says_what_is_left(self, house: SimulatorProcess) -> None:
        before = read(house, "/giftcards/accounts/balance").json
        order(house)
        after = read(house, "/topups/accounts/balance").json
        assert before["currencyCode"] == "USD"
        assert float(before["balance"]) - float(after["balance"]) == pytest.approx(10.2)

    def test_refuses_everything_when_it_is_too_much(self, house: SimulatorProcess) -> None:
        token = headers(house)
        house.switch(rate_limited=True)
        answer = Answer(house, get("/giftcards/accounts/balance", {}, token))
        assert answer.error == (429, "TOO_MANY_REQUESTS")
        limits = {name: answer.headers[f"x-ratelimit-{name}"] for name in ("limit", "remaining", "reset")}
        assert limits == {"limit": "50", "remaining": "0", "reset": "60"}
        name = identifier()
        raw = json.dumps(CARD | {"customIdentifier": name}).encode()
        assert Answer(house, post("/giftcards/orders", raw, "application/json", token)).status == 429
        assert bought(house, name) == 0

    @pytest.mark.parametrize("raw", [b"", b"[]", b"{", b'{"quantity": "many"}', b'{"quantity": 1, "unitPrice": "NaN"}'])
    def test_takes_no_body_that_is_none(self, house: SimulatorProcess, raw: bytes) -> None:
        assert Answer(house, post("/giftcards/orders", raw, "application/json", headers(house))).status == 400

    @pytest.mark.parametrize("where", ["data", "transaction", "top"])
    def test_writes_signed_letters_in_each_form(self, house: SimulatorProcess, where: str) -> None:
        with receiver() as (url, letters):
            house.switch(hook_url=url, hook_fields=where)
            name, placed = order_with(house)
            letter = letters.get(timeout=30)
            house.switch(hook_url=None)
        told = json.loads(letter.body, parse_int=str)
        fields = told if where == "top" else told[where]
        assert (told["type"], fields["transactionId"]) == ("giftcard_transaction.status", placed.json["transactionId"])
        assert fields["customIdentifier"] == name
        moment = letter.headers["x-reloadly-request-timestamp"].encode()
        wanted = hmac.new(b"demo-webhook-secret", letter.body + b":" + moment, hashlib.sha256).hexdigest()
        assert letter.headers["x-reloadly-signature"] == wanted
