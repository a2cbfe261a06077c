"""Reloadly against the shared contract, as gift cards and as airtime, and what only it has: tokens, pages, cards."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar

import pytest

from apps.common.talk import drive
from apps.common.wire import Answer, HttpCall, HttpReply, MaybeSent, MaybeSentReason, NotSent, NotSentReason
from apps.providers.adapters.reloadly import REPORT_LIST_PAGES, Reloadly
from apps.providers.contract import Account, Catalogue, Code, Listing, OrderRef, Outcome, PlaceRequest, Result
from tests.contract.suite import (
    REPLIES,
    AdapterContract,
    WithCatalogue,
    WithCodes,
    WithListing,
    WithReference,
    converse,
    load_reply,
    recorded,
    situation_of,
)

RECORDED = REPLIES / "reloadly"
CARD_FILES = {path.name.split(".")[0]: path for path in (RECORDED / "cards").iterdir()}
REFERENCE = "100000000000000042"
NUMBER = "9007199254740993"


class Kept:
    """A store that always has a token, whatever is put or dropped."""

    def get(self, name: str) -> str:
        return "t0ken-of-" + name.split("//")[1]

    def put(self, name: str, token: str, life_s: float) -> None:
        raise AssertionError("a kept token is not asked for again")

    def drop(self, name: str) -> None:
        """It is there again at once."""


class Shelf:
    """A store in a dict that remembers what was done with it."""

    def __init__(self, **tokens: str) -> None:
        self.tokens = {f"https://{name}.reloadly.com": token for name, token in tokens.items()}
        self.lives: dict[str, float] = {}

    def get(self, name: str) -> str:
        return self.tokens.get(name, "")

    def put(self, name: str, token: str, life_s: float) -> None:
        self.tokens[name], self.lives[name] = token, life_s

    def drop(self, name: str) -> None:
        self.tokens.pop(name, None)


def cards_of(call: HttpCall) -> HttpReply:
    """The recorded cards of the transaction that is asked about; none for a number that nobody recorded."""
    path = CARD_FILES.get(call.url.split("/")[-2])
    return load_reply(path) if path else HttpReply(404, b"")


class ReloadlyContract:
    """What both services share."""

    kind = "reloadly"
    balance = Decimal("1250.5")
    houses: ClassVar[tuple[str, ...]] = ("https://auth.reloadly.com",)
    cards: HttpReply | None = None
    paths: ClassVar[tuple[str, ...]]
    listed: ClassVar[tuple[tuple[str, str, Outcome], ...]] = (
        (REFERENCE, NUMBER, Outcome.COMPLETED),
        ("100000000000000043", "9007199254740995", Outcome.REJECTED),
        ("", "9007199254740997", Outcome.ACCEPTED),
    )
    IMPOSSIBLE: ClassVar[dict[str, str]] = {
        "ask.partial": "an order is one card or one top-up",
        "ask.reversed": "REFUNDED is the word for an order that failed, too",
    }

    def repeating(self, body: bytes, secret: bytes) -> bytes:
        return body.replace(b'"message": "', b'"message": "' + secret + b" ")

    def told(self, answer: Answer) -> Callable[[HttpCall], Answer]:
        """The cards have an address of their own."""
        return lambda call: (self.cards or cards_of(call)) if call.url.endswith("/cards") else answer

    def find(self: Any, answer: Answer) -> Result:
        result: Result = converse(self.adapter.find(self.account, self.ref), self.told(answer))[0]
        return result

    def status(self: Any, answer: Answer) -> Result | None:
        results = converse(self.adapter.status(self.account, [self.ref]), self.told(answer))[0]
        result: Result | None = results.get(self.request.reference)
        return result

    def test_talks_to_the_addresses_of_its_service(self: Any) -> None:
        empty, base = HttpReply(200, b""), self.account.base_url
        by_number = OrderRef(REFERENCE, NUMBER)
        talks = (
            self.adapter.place(self.account, self.request),
            self.adapter.find(self.account, self.ref),
            self.adapter.status(self.account, [by_number]),
            self.adapter.catalogue(self.account),
        )
        assert [converse(talk, empty)[1][0].url.removeprefix(base) for talk in talks] == list(self.paths)

    def test_says_when_a_refused_order_may_be_tried_again(self: Any, refused_path: Path) -> None:
        waits = {Outcome.AUTH_ERROR: 1, Outcome.RATE_LIMITED: 120}
        result = self.place(load_reply(refused_path))
        assert result.retry_after_s == waits.get(result.outcome)

    def test_says_when_a_number_may_be_loaded_again(self: Any) -> None:
        assert self.place(load_reply(RECORDED / "place.rate_limited.400.txt")).retry_after_s == 120

    @pytest.mark.parametrize("path", sorted((RECORDED / "token").glob("refused*")), ids=lambda path: path.stem)
    def test_tells_refused_credentials_from_any_other_trouble_with_a_token(self: Any, path: Path) -> None:
        account = replace(self.account, tokens=Shelf())
        result, calls = converse(self.adapter.place(account, self.request), load_reply(path))
        assert (result.outcome, len(calls)) == (Outcome.AUTH_ERROR, 1)
        assert result.reason


class TestReloadly(ReloadlyContract, WithReference, WithCodes, WithCatalogue, WithListing, AdapterContract):
    account = Account("https://giftcards.invalid", "client-5301", {"client_secret": "s3cret-word-x"}, "USD", {}, Kept())
    request = PlaceRequest(REFERENCE, {"product_id": "4", "amount": "25"}, "someone")
    cost = Decimal("26.18")
    code = Code("0012-ABCD-3456", pin="0099", url="https://cards.invalid/r?c=1&d=2")
    items = 4
    paths = ("/orders", "/reports/transactions", f"/reports/transactions/{NUMBER}", "/products")

    def reply_with_code(self, value: str) -> HttpReply:
        self.cards = HttpReply(200, json.dumps([{"cardNumber": value, "pinCode": None}]).encode())
        return load_reply(RECORDED / "ask.completed_with_code.txt")

    def test_promises_no_more_than_the_document(self) -> None:
        """Two requests in flight with one identifier are both executed; the report proves absence after the grace."""
        caps = self.adapter.caps
        assert (caps.ref_format, caps.ref_max_len, caps.ref_max_age_s) == ("digits18", 150, None)
        assert (caps.dedup, caps.resend_same_ref_safe) == ("racy", False)
        assert (caps.find_by_own_ref, caps.absent_after_s, caps.ask_may_create) == (True, 900, False)
        assert (caps.query_window_s, caps.status_batch_max, caps.list_form) == (None, 1, "one")
        assert (caps.webhook, caps.balance_check, caps.quantity) == ("hmac_sha256", True, "one")
        assert (caps.place_timeout_s, caps.poll.floor_s, caps.resend_min_gap_s) == (90, 10, 120)
        assert (caps.flipping, caps.final_after_s) == (frozenset(), 0)


class TestReloadlyAirtime(ReloadlyContract, WithReference, WithCodes, WithCatalogue, WithListing, AdapterContract):
    folder = "reloadly_topups"
    account = Account(
        "https://topups.invalid",
        "client-5301",
        {"client_secret": "s3cret-word-x"},
        "USD",
        {"service": "topups", "country": "TR"},
        Kept(),
    )
    request = PlaceRequest(REFERENCE, {"product_id": "1246", "amount": "4.1"}, "+905123456789")
    cost = Decimal("9.8")
    code = Code("0012-ABCD-3456", serial="558111")
    items = 3
    paths = ("/topups", "/topups/reports/transactions", f"/topups/{NUMBER}/status", "/operators")

    @pytest.mark.parametrize(
        ("is_local", "amounts"),
        [
            (False, [("4.1", "Turkcell Turkey 4.1 USD"), ("8.2", ""), ("0.18", "Airtel Niger PIN 0.18 to 90 USD")]),
            (True, [("100", "Turkcell Turkey 100 TRY"), ("200", ""), ("100", "Airtel Niger PIN 100 to 50000 XOF")]),
        ],
    )
    def test_lists_each_amount_of_an_operator(self, is_local: bool, amounts: list[tuple[str, str]]) -> None:
        account = replace(self.account, options={**self.account.options, "use_local_amount": is_local})
        reply = load_reply(REPLIES / "reloadly_topups" / "catalogue.items.txt")
        items = converse(Reloadly().catalogue(account), reply)[0].items
        assert [item.ids["amount"] for item in items] == [amount for amount, _ in amounts]
        assert all(name in item.name for item, (_, name) in zip(items, amounts, strict=True))
        assert [(item.cost, item.currency) for item in items] == [
            (Decimal("4.1"), "USD"),
            (Decimal("8.2"), "USD"),
            (Decimal("0.18"), "USD"),
        ]

    def reply_with_code(self, value: str) -> HttpReply:
        row = {"transactionId": 7, "customIdentifier": REFERENCE, "status": "SUCCESSFUL", "pinDetail": {"code": value}}
        return HttpReply(200, json.dumps({"content": [row]}).encode())


RELOADLY = Reloadly()
CARDS, TOPUPS = TestReloadly, TestReloadlyAirtime


def shelf_account(of: type[TestReloadly] | type[TestReloadlyAirtime] = TestReloadly, **tokens: str) -> Account:
    return replace(of.account, tokens=Shelf(**tokens))


def told(body: object, status: int = 200) -> HttpReply:
    return HttpReply(status, json.dumps(body).encode())


def row(**changes: object) -> dict[str, object]:
    return {"transactionId": 1002, "customIdentifier": REFERENCE, "status": "SUCCESSFUL"} | changes


def scripted(*answers: Answer) -> Callable[[HttpCall], Answer]:
    """These answers, one after the other."""
    rest = list(answers)
    return lambda call: rest.pop(0)


LENT = load_reply(RECORDED / "token" / "lent.txt")
EXPIRED = load_reply(RECORDED / "ask.login.401.txt")


class TestTheToken:
    def test_is_borrowed_before_the_order_and_kept(self) -> None:
        account = shelf_account()
        accepted = load_reply(RECORDED / "place.accepted.txt")
        result, (lend, order) = converse(RELOADLY.place(account, CARDS.request), scripted(LENT, accepted))
        assert (lend.method, lend.url) == ("POST", "https://auth.reloadly.com/oauth/token")
        assert json.loads(lend.json or b"") == {
            "client_id": "client-5301",
            "client_secret": "s3cret-word-x",
            "grant_type": "client_credentials",
            "audience": "https://giftcards.reloadly.com",
        }
        assert ("Authorization", "Bearer eyJhbGciOi.t0ken-new.x") in order.headers
        assert (result.outcome, result.provider_id) == (Outcome.ACCEPTED, NUMBER)
        store = account.tokens
        assert isinstance(store, Shelf)
        assert store.lives == {"https://giftcards.reloadly.com": 5184000}

    @pytest.mark.parametrize("service", ["giftcards", "topups"])
    @pytest.mark.parametrize("sandbox", [True, False])
    def test_is_for_the_service_and_the_side_of_the_account(self, service: str, sandbox: bool) -> None:
        options = {"service": service, "sandbox": sandbox, "auth_url": "http://auth.invalid/x/"}
        account = replace(CARDS.account, tokens=Shelf(), options=options)
        call = next(RELOADLY.balance(account))
        assert call.url == "http://auth.invalid/x/oauth/token"
        wanted = f"https://{service}{'-sandbox' if sandbox else ''}.reloadly.com"
        assert json.loads(call.json or b"")["audience"] == wanted

    @pytest.mark.parametrize(
        ("answer", "code"),
        [
            (NotSent(NotSentReason.DNS), "token_dns"),
            (MaybeSent(MaybeSentReason.TIMEOUT), "token_timeout"),
            (HttpReply(500, b""), "token_http_500"),
            (HttpReply(200, b"<html>"), "token_http_200"),
            (told({"errorCode": "SOMETHING_NEW"}, 401), "token_http_401"),
            (told({"errorCode": "INVALID_CREDENTIALS"}, 502), "token_http_502"),
            (told({"access_token": "two words"}), "token_http_200"),
            (told({"access_token": "a\r\nX-Y: 1"}), "token_http_200"),
        ],
    )
    def test_that_does_not_come_proves_that_nothing_was_bought(self, answer: Answer, code: str) -> None:
        result, calls = converse(RELOADLY.place(shelf_account(), CARDS.request), answer)
        assert (result.outcome, result.reason_code, len(calls)) == (Outcome.NOT_SENT, code, 1)
        found, calls = converse(RELOADLY.find(shelf_account(), OrderRef(REFERENCE)), answer)
        assert (found.outcome, found.reason_code, len(calls)) == (Outcome.UNKNOWN, code, 1)
        assert converse(RELOADLY.balance(shelf_account()), answer)[0].error == code

    def test_that_is_old_refuses_an_order_which_is_not_sent_again(self) -> None:
        account = shelf_account(giftcards="old")
        result, calls = converse(RELOADLY.place(account, CARDS.request), EXPIRED)
        assert (result.outcome, result.retry_after_s, len(calls)) == (Outcome.AUTH_ERROR, 1, 1)
        assert account.tokens.get("https://giftcards.reloadly.com") == ""

    @pytest.mark.parametrize("refused", [EXPIRED, HttpReply(401, b""), told({"errorCode": "INVALID_TOKEN"}, 400)])
    def test_that_is_old_is_renewed_once_for_a_question(self, refused: HttpReply) -> None:
        account = shelf_account(giftcards="old")
        pending = load_reply(RECORDED / "ask.pending.txt")
        talk = RELOADLY.find(account, OrderRef(REFERENCE))
        result, calls = converse(talk, scripted(refused, LENT, pending))
        assert (result.outcome, len(calls)) == (Outcome.ACCEPTED, 3)
        talk = RELOADLY.find(shelf_account(giftcards="old"), OrderRef(REFERENCE))
        result, calls = converse(talk, scripted(refused, LENT, refused))
        assert len(calls) == 3
        assert result.outcome is (Outcome.AUTH_ERROR if refused.body else Outcome.UNKNOWN)

    def test_that_is_refused_in_words_stops_questions(self) -> None:
        refused = load_reply(RECORDED / "token" / "refused.401.txt")
        result, _ = converse(RELOADLY.find(shelf_account(), OrderRef(REFERENCE)), refused)
        assert (result.outcome, result.reason_code) == (Outcome.AUTH_ERROR, "INVALID_CREDENTIALS")

    def test_is_never_written_down(self) -> None:
        call = next(RELOADLY.balance(CARDS.account))
        assert "t0ken" not in call.redacted() + repr(call)
        said = told({"errorCode": "INVALID_TOKEN", "message": "t0ken-of-giftcards.reloadly.com is old"}, 401)
        assert converse(RELOADLY.place(CARDS.account, CARDS.request), said)[0].reason == "*** is old"


class TestOrders:
    def body(self, account: Account, request: PlaceRequest) -> object:
        return json.loads(next(RELOADLY.place(account, request)).json or b"", parse_float=Decimal)

    def test_a_gift_card(self) -> None:
        call = next(RELOADLY.place(CARDS.account, CARDS.request))
        assert (call.method, call.url) == ("POST", "https://giftcards.invalid/orders")
        assert ("Accept", "application/com.reloadly.giftcards-v1+json") in call.headers
        assert self.body(CARDS.account, CARDS.request) == {
            "productId": 4,
            "quantity": 1,
            "unitPrice": 25,
            "senderName": "Order Hub",
            "customIdentifier": REFERENCE,
        }

    @pytest.mark.parametrize(
        ("what", "field"),
        [
            ("email", {"recipientEmail": "someone"}),
            ("user_id", {"productAdditionalRequirements": {"userId": "someone"}}),
            ("nothing", {}),
        ],
    )
    def test_a_gift_card_for_a_recipient(self, what: str, field: dict[str, object]) -> None:
        account = replace(CARDS.account, options={"recipient_is": what, "sender_name": "Shop"})
        body = self.body(account, replace(CARDS.request, product={"product_id": "4", "amount": "0.10"}))
        assert (
            body
            == {
                "productId": 4,
                "quantity": 1,
                "unitPrice": Decimal("0.10"),
                "senderName": "Shop",
                "customIdentifier": REFERENCE,
            }
            | field
        )

    @pytest.mark.parametrize("is_local", [True, False])
    def test_a_top_up(self, is_local: bool) -> None:
        account = replace(TOPUPS.account, options={**TOPUPS.account.options, "use_local_amount": is_local})
        assert next(RELOADLY.place(account, TOPUPS.request)).url == "https://topups.invalid/topups"
        assert self.body(account, replace(TOPUPS.request, params={"country": "NE"})) == {
            "operatorId": 1246,
            "amount": Decimal("4.1"),
            "useLocalAmount": is_local,
            "recipientPhone": {"countryCode": "NE", "number": "905123456789"},
            "customIdentifier": REFERENCE,
        }

    @pytest.mark.parametrize(
        ("product", "match"),
        [
            ({"product_id": "", "amount": "5"}, "product_id"),
            ({"product_id": "4x", "amount": "5"}, "product_id"),
            ({"product_id": "4", "amount": "0.00"}, "amount"),
            ({"product_id": "4", "amount": "5,5"}, "amount"),
            ({"product_id": "4", "amount": "-5"}, "amount"),
            ({"product_id": "4"}, "amount"),
        ],
    )
    def test_a_mapping_that_cannot_be_ordered_is_refused_before_any_call(
        self, product: dict[str, str], match: str
    ) -> None:
        with pytest.raises(ValueError, match=match):
            RELOADLY.place(CARDS.account, replace(CARDS.request, product=product))

    def test_two_units_are_refused_before_any_call(self) -> None:
        with pytest.raises(ValueError, match="one unit"):
            RELOADLY.place(CARDS.account, replace(CARDS.request, quantity=2))

    @pytest.mark.parametrize("number", ["", "123", "90 512", "abc", "1" * 16])
    def test_a_top_up_of_no_phone_number_is_refused_before_any_call(self, number: str) -> None:
        with pytest.raises(ValueError, match="phone number"):
            RELOADLY.place(TOPUPS.account, replace(TOPUPS.request, recipient=number))

    @pytest.mark.parametrize("country", ["", "tr", "TUR"])
    def test_a_top_up_without_a_country_is_refused_before_any_call(self, country: str) -> None:
        account = replace(TOPUPS.account, options={"service": "topups", "country": country})
        with pytest.raises(ValueError, match="country"):
            RELOADLY.place(account, TOPUPS.request)


class TestAnswersToOrders:
    def place(self, body: object, status: int = 200) -> Result:
        return converse(RELOADLY.place(CARDS.account, CARDS.request), told(body, status))[0]

    @pytest.mark.parametrize("word", ["FAILED", "REFUNDED"])
    def test_a_transaction_that_failed_at_once_is_a_refusal(self, word: str) -> None:
        result = self.place(row(status=word, message="The brand refused"))
        assert (result.outcome, result.reason_code, result.reason) == (Outcome.REJECTED, word, "The brand refused")

    def test_a_transaction_of_another_identifier_is_nothing(self) -> None:
        result = self.place(row(customIdentifier="100000000000000043"))
        assert (result.outcome, result.reason_code, result.provider_id) == (Outcome.UNKNOWN, "another_order", "")

    def test_a_transaction_without_its_number_is_in_doubt(self) -> None:
        assert self.place(row(transactionId=None)).reason_code == "no_transaction_id"

    def test_a_cost_in_another_money_is_none(self) -> None:
        assert self.place(row(amount=5, currencyCode="EUR", status="PROCESSING")).cost is None

    def test_the_balance_afterwards_is_read(self) -> None:
        info = {"newBalance": 1250.5, "cost": 26.18, "currencyCode": "USD"}
        assert self.place(row(balaneInfo=info)).balance_after == Decimal("1250.5")


class TestQuestions:
    def find(self, *answers: Answer) -> tuple[Result, list[HttpCall]]:
        return converse(RELOADLY.find(CARDS.account, OrderRef(REFERENCE)), scripted(*answers))

    def test_look_through_the_reports_by_our_reference(self) -> None:
        call = next(RELOADLY.find(TOPUPS.account, OrderRef(REFERENCE)))
        assert call.url == "https://topups.invalid/topups/reports/transactions"
        assert call.params == (("customIdentifier", REFERENCE), ("size", "50"), ("page", "1"))

    def test_turn_pages_until_the_order_is_found(self) -> None:
        other = {"content": [row(customIdentifier="9")], "totalPages": 2}
        result, calls = self.find(told(other), told({"content": [row(status="PROCESSING")]}))
        assert (result.outcome, calls[1].params[2]) == (Outcome.ACCEPTED, ("page", "2"))

    def test_find_nothing_only_when_every_page_was_read(self) -> None:
        first, last = told({"content": [], "totalPages": 2}), told({"content": [], "totalPages": 2})
        assert self.find(first, last)[0].outcome is Outcome.NOT_FOUND
        assert self.find(first, HttpReply(500, b""))[0].outcome is Outcome.UNKNOWN
        endless = told({"content": [row(customIdentifier="9")], "last": False})
        result, calls = self.find(endless, endless, endless)
        assert (result.outcome, result.reason_code, len(calls)) == (Outcome.UNKNOWN, "too_many_pages", 3)

    def test_a_page_of_other_names_is_no_answer_to_the_search(self) -> None:
        """The reports match the identifier in any case of letters, and in nothing else."""
        other = told({"content": [row(customIdentifier="9")], "totalPages": 2})
        result, calls = self.find(other, told({"content": [], "totalPages": 2}))
        assert (result.outcome, result.reason_code, len(calls)) == (Outcome.UNKNOWN, "other_transactions", 2)
        namesake = told({"content": [row(customIdentifier="REF-1")]})
        assert (
            converse(RELOADLY.find(CARDS.account, OrderRef("ref-1")), scripted(namesake))[0].outcome
            is Outcome.NOT_FOUND
        )

    def test_ask_for_the_cards_of_a_delivered_order_in_their_second_version(self) -> None:
        result, (_, cards) = self.find(told({"content": [row()]}), told([{"cardNumber": "AB", "pinCode": "CD"}]))
        assert cards.url == "https://giftcards.invalid/orders/transactions/1002/cards"
        assert ("Accept", "application/com.reloadly.giftcards-v2+json") in cards.headers
        assert result.codes == (Code("AB", pin="CD"),)

    @pytest.mark.parametrize(
        ("card", "code"),
        [
            ({"cardNumber": 6120200345149064001122}, Code("6120200345149064001122")),
            ({"cardNumber": None, "pinCode": "0042"}, Code("0042")),
            ({"redemptionUrl": "https://a.invalid/"}, Code("https://a.invalid/", url="https://a.invalid/")),
            ({"cardNumber": "A", "pinCode": "-", "redemptionUrl": "u"}, Code("A", url="u")),
        ],
    )
    def test_read_what_a_card_has(self, card: object, code: Code) -> None:
        assert self.find(told({"content": [row()]}), told(card))[0].codes == (code,)

    @pytest.mark.parametrize("answer", [HttpReply(404, b""), HttpReply(500, b""), NotSent(NotSentReason.DNS)])
    def test_give_no_codes_where_the_cards_are_not_told(self, answer: Answer) -> None:
        result, _ = self.find(told({"content": [row()]}), answer)
        assert (result.outcome, result.codes) == (Outcome.COMPLETED, ())

    def test_give_all_cards_of_an_order(self) -> None:
        result, _ = self.find(told({"content": [row()]}), told([{"cardNumber": "A"}, 7, {"cardNumber": "B"}]))
        assert result.codes == (Code("A"), Code("B"))


class TestQuestionsByNumber:
    def ask(self, of: type[TestReloadly] | type[TestReloadlyAirtime], body: object, status: int = 200) -> Result:
        ref = OrderRef(REFERENCE, "1002")
        return converse(RELOADLY.status(of.account, [ref]), scripted(told(body, status), told([])))[0][REFERENCE]

    def test_name_the_transaction(self) -> None:
        asked = [next(RELOADLY.status(of.account, [OrderRef(REFERENCE, NUMBER)])).url for of in (CARDS, TOPUPS)]
        assert asked == [
            f"https://giftcards.invalid/reports/transactions/{NUMBER}",
            f"https://topups.invalid/topups/{NUMBER}/status",
        ]

    def test_never_put_an_odd_number_into_an_address(self) -> None:
        call = next(RELOADLY.status(CARDS.account, [OrderRef(REFERENCE, "../balance")]))
        assert call.url == "https://giftcards.invalid/reports/transactions"

    def test_read_a_top_up_in_both_forms(self) -> None:
        inner = {"code": "SUCCESSFUL", "status": "SUCCESSFUL", "transaction": row()}
        newer = {"code": None, "transaction": row()}
        assert [self.ask(TOPUPS, body).outcome for body in (inner, newer)] == [Outcome.COMPLETED] * 2

    def test_believe_a_nameless_top_up_only_while_it_is_in_progress(self) -> None:
        outcomes = [self.ask(TOPUPS, {"status": word}).outcome for word in ("PROCESSING", "SUCCESSFUL", "FAILED")]
        assert outcomes == [Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.UNKNOWN]

    @pytest.mark.parametrize("changes", [{"customIdentifier": "9"}, {"transactionId": 1003}])
    def test_discard_the_answer_about_another_order(self, changes: dict[str, object]) -> None:
        for word in ("PROCESSING", "SUCCESSFUL", "FAILED"):
            result = self.ask(CARDS, row(status=word, **changes))
            assert (result.outcome, result.codes) == (Outcome.UNKNOWN, ())

    def test_say_nothing_where_the_transaction_is_not_there(self) -> None:
        assert self.ask(CARDS, {"errorCode": "TRANSACTION_NOT_FOUND"}, 404).outcome is Outcome.UNKNOWN


class TestTheList:
    def listed(self, of: type[TestReloadly] | type[TestReloadlyAirtime], *answers: Answer, **options: Any) -> Catalogue:
        account = replace(of.account, options={**of.account.options, **options})
        return converse(RELOADLY.catalogue(account), scripted(*answers))[0]

    def test_has_each_denomination_of_a_gift_card(self) -> None:
        items = self.listed(CARDS, load_reply(RECORDED / "catalogue.items.txt")).items
        assert [(*item.ids.values(), item.name, item.cost, item.fields, item.gives_code) for item in items] == [
            ("4", "25", "Amazon Spain 25 EUR", Decimal("26.18"), (), True),
            ("4", "50", "Amazon Spain 50 EUR", Decimal("52.36"), (), True),
            ("10", "4.99", "Free Fire 4.99 USD", None, ("user_id",), False),
            ("5", "2", "App Store US 2 to 200 USD", Decimal("2.0"), (), True),
        ]

    def test_is_read_to_its_last_page_or_not_at_all(self) -> None:
        first = told(
            {"content": [{"productId": 1, "productName": "A", "fixedRecipientDenominations": [5]}], "last": False}
        )
        second = told(
            {"content": [{"productId": 2, "productName": "B", "fixedRecipientDenominations": [5]}], "last": True}
        )
        assert len(self.listed(CARDS, first, second).items) == 2
        assert self.listed(CARDS, first, HttpReply(500, b"")) == Catalogue((), "http_500")


class TestTheListOfPurchases:
    BEGIN, END = datetime(2026, 2, 28, 9, tzinfo=UTC), datetime(2026, 3, 2, 9, tzinfo=UTC)

    def listed(self, *pages: Answer) -> Listing:
        return converse(RELOADLY.listing(CARDS.account, self.BEGIN, self.END), scripted(*pages))[0]

    def page(self, *numbers: int, **more: object) -> HttpReply:
        rows = [{"transactionId": number, "status": "SUCCESSFUL"} for number in numbers]
        return told({"content": rows, "last": True, **more})

    def test_is_asked_for_by_their_own_clock(self) -> None:
        call = next(RELOADLY.listing(CARDS.account, self.BEGIN, self.END))
        wanted = {"startDate": "2026-02-28 05:00:00", "endDate": "2026-03-02 05:00:00", "size": "200", "page": "1"}
        assert (call.url.rpartition("/reports")[2], dict(call.params)) == ("/transactions", wanted)

    def test_is_read_to_its_last_page_or_not_at_all(self) -> None:
        first, second = self.page(1, 2, last=False, totalElements=3), self.page(3, totalElements=3)
        assert [one.provider_id for one in self.listed(first, second).purchases] == ["1", "2", "3"]
        assert self.listed(first, HttpReply(500, b"")) == Listing((), "http_500")

    def test_names_a_purchase_once_that_moved_to_the_next_page(self) -> None:
        pages = self.page(1, 2, last=False, totalElements=3), self.page(2, 3, totalElements=3)
        assert [one.provider_id for one in self.listed(*pages).purchases] == ["1", "2", "3"]

    def test_is_none_where_it_holds_less_than_it_counts(self) -> None:
        fault = "another_number_of_transactions_than_it_counts"
        assert self.listed(self.page(1, 2, totalElements=3)) == Listing((), fault)

    def test_is_none_where_it_does_not_end(self) -> None:
        numbers = itertools.count(1)
        talk = RELOADLY.listing(CARDS.account, self.BEGIN, self.END)
        listing, exchanges = drive(talk, lambda call: self.page(next(numbers), last=False))
        assert (listing, len(exchanges)) == (Listing((), "too_many_pages"), REPORT_LIST_PAGES)

    def test_may_be_empty_when_it_says_so(self) -> None:
        assert self.listed(self.page(totalElements=0)) == Listing(())

    def test_keeps_a_price_in_another_money_as_it_is(self) -> None:
        row = {"transactionId": 1, "status": "SUCCESSFUL", "amount": 12.5, "currencyCode": "EUR"}
        (one,) = self.listed(told({"content": [row], "last": True})).purchases
        assert (one.cost, one.currency) == (Decimal("12.5"), "EUR")

    def test_keeps_a_word_that_nobody_knows(self) -> None:
        (one,) = self.listed(told({"content": [{"transactionId": 1, "status": "ON_HOLD"}], "last": True})).purchases
        assert (one.word, one.outcome, one.cost, one.at) == ("ON_HOLD", Outcome.UNKNOWN, None, None)


class TestRecordedReplies:
    @pytest.mark.parametrize("path", recorded("reloadly", "place.", "ask."), ids=lambda path: path.stem)
    def test_numbers_beyond_what_a_float_holds_stay_exact(self, path: Path) -> None:
        known = {NUMBER, "1002", "2001", "2002", "2003", "2004", "7", ""}
        if situation_of(path).startswith("place."):
            assert converse(RELOADLY.place(CARDS.account, CARDS.request), load_reply(path))[0].provider_id in known
