"""The client API against the shared contract, and what only this protocol has: its calls, its knobs, its shapes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Any, ClassVar

import pytest

from apps.common.wire import HttpCall, HttpReply
from apps.providers.adapters.client_api import CODES, STATES, ClientApi
from apps.providers.contract import Account, CatalogueItem, Code, OrderRef, Outcome, PlaceRequest, PollPlan, Result
from apps.providers.options import BadOption, load_caps
from tests.contract.suite import (
    REPLIES,
    AdapterContract,
    InBatches,
    WithCatalogue,
    WithCodes,
    WithReference,
    converse,
    load_reply,
    recorded,
    situation_of,
)

SHOP_ID = "ID_9fffb0d849a45215"


def told_order(**fields: object) -> dict[str, object]:
    """An order in an answer of `check`, with other fields where they are given."""
    order = {"order_id": SHOP_ID, "quantity": 1, "price": "1.2604800000000000", "status": "wait", "replay_api": None}
    return {**order, **fields}


def told(*orders: dict[str, object]) -> HttpReply:
    return HttpReply(200, json.dumps({"status": "OK", "data": orders}).encode())


class ClientApiContract(WithReference, WithCodes, InBatches, WithCatalogue):
    """What both kinds of this protocol have in common."""

    account: ClassVar[Account] = Account("https://shop.invalid", "", {"token": "t0ken-word-x"}, "USD")
    request: ClassVar[PlaceRequest] = PlaceRequest(
        "6f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b", {"oyun": "152"}, "5123456789"
    )
    provider_id: ClassVar[str] = SHOP_ID
    cost: ClassVar[Decimal | None] = Decimal("1.26048")
    balance: ClassVar[Decimal] = Decimal("8788.683")
    items: ClassVar[int] = 3
    refusing_words: ClassVar[tuple[bytes, ...]] = (b"token", b"balance", b"not_", b"quantity")
    IMPOSSIBLE: ClassVar[dict[str, str]] = {
        "ask.partial": "an order is accepted or rejected as a whole",
        "ask.reversed": "there is no word for it",
    }

    def reply_with_code(self, value: str) -> HttpReply:
        return told(told_order(order_id=self.provider_id, status="accept", replay_api=[value]))

    def batch_reply(self, refs: Sequence[OrderRef]) -> HttpReply:
        return told(*(told_order(order_id=ref.provider_id) for ref in refs))

    def find_call(self: Any) -> HttpCall:
        call: HttpCall = next(self.adapter.find(self.account, self.ref))
        return call

    def status_call(self: Any, count: int) -> HttpCall:
        call: HttpCall = next(self.adapter.status(self.account, self.refs(count)))
        return call

    def test_asks_about_one_order_by_the_uuid(self: Any) -> None:
        assert self.find_call().params[1] == ("uuid", "1")
        assert self.request.reference in self.find_call().params[0][1]

    def test_does_not_find_an_order_only_when_no_form_of_the_list_finds_it(self: Any) -> None:
        nothing = load_reply(recorded(self.kind, "ask.not_found")[0])
        result, calls = converse(self.adapter.find(self.account, self.ref), nothing)
        ref = self.request.reference
        assert result.outcome is Outcome.NOT_FOUND
        assert {call.params[0][1] for call in calls} == {f"[{ref}]", ref, f'["{ref}"]'}
        assert len(calls) == 3

    @pytest.mark.parametrize("form", ["bracketed", "csv", "json"])
    def test_tries_every_form_whichever_an_account_names(self: Any, form: str) -> None:
        account = replace(self.account, options={"list_form": form})
        nothing = load_reply(recorded(self.kind, "ask.not_found")[0])
        calls = converse(self.adapter.find(account, self.ref), nothing)[1]
        ref = self.request.reference
        assert sorted(call.params[0][1] for call in calls) == sorted([f"[{ref}]", ref, f'["{ref}"]'])

    @pytest.mark.parametrize("name", ["qty", "order_uuid"])
    def test_lets_no_field_stand_for_a_parameter_of_its_own(self: Any, name: str) -> None:
        request = replace(self.request, params={name: "7"})
        with pytest.raises(ValueError, match="the same name"):
            next(self.adapter.place(self.account, request))

    def test_adopts_an_order_that_another_form_of_the_list_finds(self: Any) -> None:
        talk = self.adapter.find(self.account, self.ref)
        next(talk)
        talk.send(load_reply(recorded(self.kind, "ask.not_found")[0]))
        with pytest.raises(StopIteration) as end:
            talk.send(load_reply(recorded(self.kind, "ask.pending")[0]))
        assert end.value.value.outcome is Outcome.ACCEPTED

    def test_learns_nothing_from_one_question_that_finds_nothing(self: Any) -> None:
        nothing = load_reply(recorded(self.kind, "ask.not_found")[0])
        found, calls = converse(self.adapter.status(self.account, [self.ref]), nothing)
        assert (found, len(calls)) == ({}, 1)

    def test_needs_a_uuid_and_a_careful_gap(self: Any) -> None:
        caps = self.adapter.caps
        assert (caps.ref_format, caps.ref_max_len, caps.resend_min_gap_s) == ("uuid4", 36, 60)
        assert (caps.dedup, caps.resend_same_ref_safe, caps.find_by_own_ref) == ("returns_original", True, True)

    def test_trusts_not_found_after_the_grace_only(self: Any) -> None:
        caps = self.adapter.caps
        assert (caps.absent_after_s, caps.ask_may_create, caps.query_window_s) == (900, False, None)

    def test_buys_one_unit_at_a_time_and_asks_for_fifty(self: Any) -> None:
        caps = self.adapter.caps
        assert (caps.quantity, caps.status_batch_max, caps.poll) == ("one", 50, PollPlan(60, 30, 600, 10))

    def test_is_told_nothing_unasked_and_sees_no_end_turn(self: Any) -> None:
        caps = self.adapter.caps
        assert (caps.webhook, caps.flipping, caps.final_after_s) == ("none", frozenset(), 0)
        assert caps.balance_check is True

    def test_tells_codes_of_an_order_that_was_done_at_once(self: Any) -> None:
        for path in recorded(self.kind, "place.completed"):
            result = self.place(load_reply(path))
            assert (result.codes, result.cost) == ((self.code,), self.cost)

    def test_knows_the_shop_s_name_of_an_order(self: Any) -> None:
        for path in recorded(self.kind, "place.accepted", "ask.completed"):
            ask = self.place if situation_of(path).startswith("place") else self.find
            assert ask(load_reply(path)).provider_id == self.provider_id


class TestClientApi(ClientApiContract, AdapterContract):
    kind = "client_api"

    def test_waits_a_minute_after_the_limit(self) -> None:
        limited = recorded(self.kind, "place.rate_limited")[0]
        assert self.place(load_reply(limited)).retry_after_s == 60

    def test_does_not_send_a_uuid_again_after_a_day(self) -> None:
        assert self.adapter.caps.ref_max_age_s == 86400

    def test_names_several_orders_in_brackets(self) -> None:
        assert self.find_call().params[0] == ("orders", f"[{self.request.reference}]")
        assert self.status_call(2).params == (("orders", "[1000000,1000001]"),)

    @pytest.mark.parametrize("field", ["reused", "marked_duplicate"])
    def test_says_that_the_uuid_existed(self, field: str) -> None:
        assert self.place(load_reply(REPLIES / self.kind / f"place.accepted.{field}.txt")).duplicate is True

    def test_has_a_recorded_refusal_for_each_code(self) -> None:
        bodies = b"".join(path.read_bytes() for path in recorded(self.kind, "place.refused", "place.rate"))
        assert [code for code in CODES if f'"code":{code}'.encode() not in bodies] == []

    def test_has_a_recorded_answer_for_each_status(self) -> None:
        bodies = b"".join(path.read_bytes() for path in recorded(self.kind, "ask."))
        assert [word for word in STATES if f'"status":"{word}"'.encode() not in bodies] == []


CLIENT_API = ClientApi()
ACCOUNT, REQUEST = TestClientApi.account, TestClientApi.request
REF = OrderRef(REQUEST.reference, SHOP_ID, request=REQUEST)


def place(body: object, status: int = 200, **options: object) -> Result:
    reply = HttpReply(status, json.dumps(body).encode())
    return converse(CLIENT_API.place(replace(ACCOUNT, options=options), REQUEST), reply)[0]


def find(*orders: dict[str, object], **options: object) -> Result:
    return converse(CLIENT_API.find(replace(ACCOUNT, options=options), REF), told(*orders))[0]


def place_call(request: PlaceRequest = REQUEST, **options: object) -> HttpCall:
    return next(CLIENT_API.place(replace(ACCOUNT, options=options), request))


class TestCalls:
    def test_place_sends_the_document_s_parameters(self) -> None:
        call = place_call()
        assert (call.method, call.url) == ("GET", "https://shop.invalid/client/api/newOrder/152/params")
        assert call.params == (("qty", "1"), ("order_uuid", REQUEST.reference), ("playerId", "5123456789"))

    def test_place_may_be_a_form(self) -> None:
        call = place_call(method="POST")
        assert (call.method, call.params) == ("POST", ())
        assert call.form == (("qty", "1"), ("order_uuid", REQUEST.reference), ("playerId", "5123456789"))

    def test_the_token_is_hidden(self) -> None:
        assert ("api-token", "t0ken-word-x") in place_call().headers
        assert "api-token" in place_call().secrets

    def test_an_address_with_its_path_is_the_same(self) -> None:
        account = replace(ACCOUNT, base_url="https://shop.invalid/client/api/")
        assert next(CLIENT_API.balance(account)).url == "https://shop.invalid/client/api/profile"

    @pytest.mark.parametrize(("form", "text"), [("csv", "1,2"), ("bracketed", "[1,2]"), ("json", '["1","2"]')])
    def test_a_list_has_the_shop_s_form(self, form: str, text: str) -> None:
        refs = [replace(REF, own_ref=name, provider_id=name) for name in ("1", "2")]
        call = next(CLIENT_API.status(replace(ACCOUNT, options={"list_form": form}), refs))
        assert call.params == (("orders", text),)

    def test_of_several_orders_those_with_an_id_are_asked_about(self) -> None:
        refs = [replace(REF, own_ref=name, provider_id=name) for name in ("1", "")]
        assert next(CLIENT_API.status(ACCOUNT, refs)).params == (("orders", "[1]"),)
        assert converse(CLIENT_API.status(ACCOUNT, refs[1:] * 2), HttpReply(200, b"")) == ({}, [])

    def test_fields_go_by_the_names_of_the_mapping(self) -> None:
        product = {
            "oyun": "7",
            "quantity": "60",
            "recipient_name": "أدخل معرف اللاعب",
            "extra_field_name": "zone",
            "name_of_mail": "e-mail",
        }
        request = PlaceRequest("u", product, "51", "eu", {"mail": "a@b.invalid", "note": "hi"}, quantity=2)
        assert place_call(request).params == (
            ("qty", "120"),
            ("order_uuid", "u"),
            ("أدخل معرف اللاعب", "51"),
            ("zone", "eu"),
            ("e-mail", "a@b.invalid"),
            ("note", "hi"),
        )

    @pytest.mark.parametrize(
        ("product", "extra", "params", "text"),
        [
            ({}, "", {}, "plain product id"),
            ({"oyun": "1/../2"}, "", {}, "plain product id"),
            ({"oyun": "1", "quantity": "0"}, "", {}, "whole number"),
            ({"oyun": "1", "quantity": "1.5"}, "", {}, "whole number"),
            ({"oyun": "1"}, "zone 7", {}, "extra_field_name"),
            ({"oyun": "1"}, "", {"playerId": "other"}, "same name"),
            ({"oyun": "1"}, "", {"qty": "9"}, "same name"),
            ({"oyun": "1", "recipient_name": "order_uuid"}, "", {}, "same name"),
        ],
    )
    def test_what_cannot_be_said_is_refused_before_any_call(
        self, product: dict[str, str], extra: str, params: dict[str, str], text: str
    ) -> None:
        with pytest.raises(ValueError, match=text):
            CLIENT_API.place(ACCOUNT, PlaceRequest("u", product, "51", extra, params))


class TestCodes:
    def test_an_account_may_give_a_code_another_meaning(self) -> None:
        error = {"status": "ERROR", "code": 105, "message": "product missing"}
        assert place(error).outcome is Outcome.OUT_OF_STOCK
        assert place(error, codes={"105": "rejected"}).outcome is Outcome.REJECTED
        assert place(error, codes={"105": "unknown"}).outcome is Outcome.UNKNOWN
        assert place(error, codes={"106": "unknown"}).outcome is Outcome.OUT_OF_STOCK

    def test_a_word_may_be_a_code(self) -> None:
        error = {"error": "NO_MONEY", "message": "top up"}
        assert place(error, 404).outcome is Outcome.UNKNOWN
        assert place(error, 404, codes={"NO_MONEY": "insufficient_balance"}).outcome is Outcome.INSUFFICIENT_BALANCE

    def test_not_found_is_an_answer_to_questions_only(self) -> None:
        options: dict[str, object] = {"codes": {"NOT_FOUND": "not_found"}}
        account, body = replace(ACCOUNT, options=options), b'{"error":"NOT_FOUND"}'
        assert converse(CLIENT_API.find(account, REF), HttpReply(404, body))[0].outcome is Outcome.NOT_FOUND
        assert place({"error": "NOT_FOUND"}, 404, **options).outcome is Outcome.UNKNOWN

    def test_an_account_may_add_words(self) -> None:
        assert find(told_order(status="done"), words={"done": "completed"}).outcome is Outcome.COMPLETED
        assert find(told_order(status="failed"), words={"failed": "rejected"}).outcome is Outcome.REJECTED
        assert find(told_order(status="accept"), words={"accept": "unknown"}).outcome is Outcome.UNKNOWN

    @pytest.mark.parametrize(
        "options", [{"codes": {"105": "completed"}}, {"codes": {"105": ""}}, {"words": {"x": "y"}}]
    )
    def test_a_table_with_an_unknown_word_is_refused(self, options: dict[str, object]) -> None:
        with pytest.raises(BadOption, match="must be one of"):
            load_caps("client_api", options)

    def test_a_table_of_known_words_is_taken(self) -> None:
        options: dict[str, object] = {"codes": {"105": "rejected"}, "words": {"done": "completed"}, "quantity": "any"}
        assert load_caps("client_api", options).quantity == "any"

    @pytest.mark.parametrize("status", [200, 400, 401, 403, 404, 422, 499])
    def test_a_refusal_counts_with_these_statuses(self, status: int) -> None:
        assert place({"code": 100, "message": "x"}, status).outcome is Outcome.INSUFFICIENT_BALANCE

    @pytest.mark.parametrize("status", [201, 202, 302, 399, 500, 503, 529])
    def test_a_refusal_does_not_count_with_others(self, status: int) -> None:
        assert place({"code": 100, "message": "x"}, status).outcome is Outcome.UNKNOWN

    @pytest.mark.parametrize(
        ("body", "text"),
        [
            ({"code": 100, "message": "Low t0ken-word-x\n balance"}, "Low *** balance"),
            ({"code": 100, "msg": "low"}, "low"),
            ({"code": 100, "msg": {"status": "low", "more": "top up", "n": [1]}}, "low top up"),
        ],
    )
    def test_the_shop_s_words_are_kept(self, body: dict[str, object], text: str) -> None:
        assert (place(body).reason, place(body).reason_code) == (text, "100")


class TestOrders:
    def test_every_leaf_is_a_code_in_the_shop_s_order(self) -> None:
        replay = [{"replay": ["A1", {"replay": "B2"}]}, "C3", None, {"other": "D4"}, 550012345678901234567890, True]
        codes = find(told_order(status="accept", replay_api=replay)).codes
        assert codes == (Code("A1"), Code("B2"), Code("C3"), Code("550012345678901234567890"))

    def test_a_sentence_of_a_rejected_order_is_its_reason(self) -> None:
        result = find(told_order(status="reject", replay_api=["player not found", "0012-ABCD", "Kod 123456"]))
        assert (result.reason, result.codes, result.cost) == ("player not found", (), None)
        assert find(told_order(status="reject", replay_api=["0012-ABCD"])).reason == "reject"

    @pytest.mark.parametrize("price", ["1.2604800000000000", "1.260480"])
    def test_a_price_is_exact_as_text_and_as_number(self, price: str) -> None:
        row = json.dumps(told_order()).replace('"1.2604800000000000"', price)
        for told_price in (row, row.replace(price, f'"{price}"')):
            reply = HttpReply(200, f'{{"status":"OK","data":[{told_price}]}}'.encode())
            assert converse(CLIENT_API.find(ACCOUNT, REF), reply)[0].cost == Decimal("1.26048")

    @pytest.mark.parametrize(
        "data", [{"playerId": "512 345-67 89"}, {"playerId": 5123456789}, {"other": "x"}, [], None]
    )
    def test_an_order_told_alike_is_the_same(self, data: object) -> None:
        assert find(told_order(data=data)).outcome is Outcome.ACCEPTED

    @pytest.mark.parametrize(
        "fields", [{"data": {"playerId": "1"}}, {"quantity": 1.5}, {"quantity": "11"}, {"product_id": 2}]
    )
    def test_an_order_told_otherwise_is_another(self, fields: dict[str, object]) -> None:
        result = find(told_order(status="accept", replay_api=["A1"], **fields))
        assert (result.outcome, result.duplicate, result.codes) == (Outcome.UNKNOWN, True, ())

    @pytest.mark.parametrize("named", [None, "", "a,b", "x" * 61, ["ID"]])
    def test_an_order_without_a_plain_id_is_unknown(self, named: object) -> None:
        ref = replace(REF, provider_id="")
        result = converse(CLIENT_API.find(ACCOUNT, ref), told(told_order(order_id=named)))[0]
        assert (result.outcome, result.reason_code, result.provider_id) == (Outcome.UNKNOWN, "no_order_id", "")

    def test_an_order_told_twice_says_nothing(self) -> None:
        refs = [REF, replace(REF, own_ref="2", provider_id="ID_2")]
        found = converse(
            CLIENT_API.status(ACCOUNT, refs), told(told_order(), told_order(), told_order(order_id="ID_2"))
        )
        assert set(found[0]) == {"2"}
        assert find(told_order(), told_order()).outcome is Outcome.UNKNOWN
        unnamed = replace(REF, provider_id="")
        both = told(told_order(), told_order(order_id="ID_2"))
        assert converse(CLIENT_API.find(ACCOUNT, unnamed), both)[0].outcome is Outcome.UNKNOWN

    def test_a_wrong_token_is_told_of_every_order(self) -> None:
        refs = [REF, replace(REF, own_ref="2", provider_id="ID_2")]
        found = converse(CLIENT_API.status(ACCOUNT, refs), HttpReply(401, b'{"code":121,"message":"wrong"}'))[0]
        assert {ref: result.outcome for ref, result in found.items()} == {
            REF.own_ref: Outcome.AUTH_ERROR,
            "2": Outcome.AUTH_ERROR,
        }


ITEMS = converse(CLIENT_API.catalogue(ACCOUNT), load_reply(REPLIES / "client_api" / "catalogue.items.txt"))[0].items


class TestProducts:
    def test_a_package_is_read(self) -> None:
        assert ITEMS[0] == CatalogueItem(
            {"oyun": "152"}, "PUBG 60 UC", "PUBG", Decimal("1.26048"), "USD", fields=("playerId",)
        )

    def test_a_list_of_quantities_is_read(self) -> None:
        assert (ITEMS[1].quantity, ITEMS[1].quantity_values, ITEMS[1].available) == ("list", (110, 150), False)
        assert (ITEMS[1].quantity_min, ITEMS[1].quantity_max) == (110, 150)

    def test_a_range_is_read(self) -> None:
        assert (ITEMS[2].quantity, ITEMS[2].quantity_min, ITEMS[2].quantity_max) == ("range", 1, 15000)
        assert ITEMS[2].fields == ("أدخل معرف اللاعب",)

    @pytest.mark.parametrize("told_values", [[], ["1.5"], {"min": 5, "max": 1}, {"min": 1}, "12", 5, [0]])
    def test_an_odd_rule_is_any_quantity(self, told_values: object) -> None:
        row = json.dumps([{"id": 1, "name": "x", "qty_values": told_values}]).encode()
        assert converse(CLIENT_API.catalogue(ACCOUNT), HttpReply(200, row))[0].items[0].quantity == "any"
