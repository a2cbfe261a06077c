"""The SMM API of version 2 against the shared contract, and what only this protocol has: texts, words and parts."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apps.common.wire import HttpCall, HttpReply, MaybeSent, MaybeSentReason
from apps.providers.adapters.smm_v2 import SERVICE_UNKNOWN, SmmV2
from apps.providers.contract import Account, CatalogueItem, OrderRef, Outcome, PlaceRequest, PollPlan, Result
from tests.contract.suite import (
    AdapterContract,
    InBatches,
    WithCatalogue,
    converse,
    load_reply,
    recorded,
)


class TestSmmV2(InBatches, WithCatalogue, AdapterContract):
    kind = "smm_v2"
    account = Account("https://panel.invalid", "", {"key": "k3y-9f1c"}, "USD")
    request = PlaceRequest("100000000000000042", {"service": "1"}, "https://example.invalid/p/1", quantity=1000)
    provider_id = "23501"
    cost = None
    balance = Decimal("100.84292")
    refusing_words = (b"not", b"ot enough", b"nvalid", b"ncorrect", b"nsufficient", b"uantity")
    items = 3
    IMPOSSIBLE = {
        "place.completed": "an order is taken first and worked on later",
        "place.refused_stock": "a service has no stock, and no text for one is known",
        "ask.completed_with_code": "nothing that is sold there has a code",
        "ask.reversed": "there is no word for it: `Refunded` is a cancelled order",
    }

    def batch_reply(self, refs: Sequence[OrderRef]) -> HttpReply:
        states = {ref.provider_id: {"charge": "0.1", "status": "In progress", "remains": "9"} for ref in refs}
        for ref in refs:
            states[ref.provider_id]["start_count"] = ref.provider_id
        return HttpReply(200, json.dumps(states).encode())

    def test_promises_nothing_about_an_order_without_an_answer(self) -> None:
        caps = SMM.caps
        assert (caps.ref_format, caps.ref_max_len, caps.dedup) == ("none", 0, "none")
        assert (caps.find_by_own_ref, caps.resend_same_ref_safe, caps.ask_may_create) == (False, False, False)
        assert (caps.absent_after_s, caps.query_window_s, caps.ref_max_age_s) == (None, None, None)

    def test_asks_slowly_about_a_hundred_at_once(self) -> None:
        caps = SMM.caps
        assert (caps.status_batch_max, caps.list_form) == (100, "csv")
        assert (caps.poll, caps.rate_per_s, caps.burst) == (PollPlan(60, 60, 600, 60), 1, 1)

    def test_waits_for_a_second_reading_of_a_failure(self) -> None:
        caps = SMM.caps
        assert (caps.failed_final_after_s, caps.final_after_s, caps.flipping) == (60, 0, frozenset())
        assert (caps.send_window_s, caps.place_timeout_s, caps.ask_timeout_s, caps.resolve_margin_s) == (20, 60, 30, 10)
        assert (caps.review_after_s, caps.resend_min_gap_s) == (300, 0)

    def test_sells_any_quantity_and_tells_the_balance(self) -> None:
        assert (SMM.caps.quantity, SMM.caps.webhook, SMM.caps.balance_check) == ("any", "none", True)

    @pytest.mark.parametrize(
        "name",
        ["comments", "usernames", "hashtags", "hashtag", "username", "media", "answer_number", "groups", "keywords"],
    )
    def test_passes_on_what_a_buyer_writes(self, name: str) -> None:
        assert form_of(replace(REQUEST, params={name: "text"}))[name] == "text"

    @pytest.mark.parametrize(
        "name",
        [
            "runs",
            "interval",
            "country",
            "device",
            "type_of_traffic",
            "min",
            "max",
            "posts",
            "old_posts",
            "delay",
            "expiry",
        ],
    )
    def test_takes_what_multiplies_a_purchase_from_the_mapping_alone(self, name: str) -> None:
        assert name not in form_of(replace(REQUEST, params={name: "9"}))
        assert form_of(replace(REQUEST, product={"service": "1", name: "9"}))[name] == "9"

    @pytest.mark.parametrize("name", ["comments", "usernames"])
    def test_buys_no_more_lines_than_units(self, name: str) -> None:
        two = replace(REQUEST, quantity=2, params={name: "one\ntwo"})
        assert form_of(two)[name] == "one\ntwo"
        with pytest.raises(ValueError, match=f"more lines in {name} than units"):
            SMM.place(ACCOUNT, replace(two, params={name: "one\ntwo\r\nthree"}))


SMM = SmmV2()
ACCOUNT, REQUEST = TestSmmV2.account, TestSmmV2.request
REF = OrderRef(REQUEST.reference, "23501", None, REQUEST)


def place(body: str, request: PlaceRequest = REQUEST) -> Result:
    return converse(SMM.place(ACCOUNT, request), HttpReply(200, body.encode()))[0]


def ask(body: str, ref: OrderRef = REF) -> Result:
    return converse(SMM.find(ACCOUNT, ref), HttpReply(200, body.encode()))[0]


def form_of(request: PlaceRequest, account: Account = ACCOUNT) -> dict[str, str]:
    call = next(SMM.place(account, request))
    assert call.form is not None
    return dict(call.form)


each_recorded_refusal = pytest.mark.parametrize(
    "path", recorded("smm_v2", "place.refused_", "place.rate_limited"), ids=lambda path: path.stem
)
each_recorded_doubt = pytest.mark.parametrize(
    "path", recorded("smm_v2", "place.temporary", "place.unlisted"), ids=lambda path: path.stem
)


class TestCalls:
    def test_are_forms_to_one_address(self) -> None:
        call = next(SMM.place(ACCOUNT, REQUEST))
        assert (call.method, call.url, call.params) == ("POST", "https://panel.invalid/api/v2", ())
        assert call.form == (
            ("key", "k3y-9f1c"),
            ("action", "add"),
            ("service", "1"),
            ("link", "https://example.invalid/p/1"),
            ("quantity", "1000"),
        )

    def test_ask_by_the_panel_s_ids_with_commas_between(self) -> None:
        refs = [OrderRef("1", "23501"), OrderRef("2", ""), OrderRef("3", "23502")]
        call = next(SMM.status(ACCOUNT, refs))
        assert call.form == (("key", "k3y-9f1c"), ("action", "status"), ("orders", "23501,23502"))

    def test_ask_for_balance_and_services(self) -> None:
        calls: list[HttpCall] = [next(SMM.balance(ACCOUNT)), next(SMM.catalogue(ACCOUNT))]
        assert [call.form for call in calls] == [
            (("key", "k3y-9f1c"), ("action", "balance")),
            (("key", "k3y-9f1c"), ("action", "services")),
        ]
        assert calls[1].timeout_s == 60

    @pytest.mark.parametrize("base", ["https://p.invalid", "https://p.invalid/", "https://p.invalid/api/v2"])
    def test_take_the_address_with_or_without_its_path(self, base: str) -> None:
        assert next(SMM.balance(replace(ACCOUNT, base_url=base))).url == "https://p.invalid/api/v2"

    def test_hide_the_key(self) -> None:
        redacted = next(SMM.balance(ACCOUNT)).redacted()
        assert redacted == "POST https://panel.invalid/api/v2 form:key=***&action=balance"

    def test_name_a_browser_where_the_account_says_one(self) -> None:
        account = replace(ACCOUNT, options={"user_agent": "Mozilla/5.0"})
        assert next(SMM.balance(account)).headers == (("User-Agent", "Mozilla/5.0"),)
        assert next(SMM.balance(ACCOUNT)).headers == ()


class TestOrders:
    def test_count_in_the_panel_s_units(self) -> None:
        request = replace(REQUEST, product={"service": "1", "quantity": "500"}, quantity=3)
        assert form_of(request)["quantity"] == "1500"

    @pytest.mark.parametrize("each", ["", "0", "-5", "1.5", "01", "x", "1000000000", "²"])
    def test_with_an_odd_quantity_are_refused_before_any_call(self, each: str) -> None:
        with pytest.raises(ValueError, match="no whole number"):
            SMM.place(ACCOUNT, replace(REQUEST, product={"service": "1", "quantity": each}))

    def test_of_nothing_are_refused_before_any_call(self) -> None:
        with pytest.raises(ValueError, match="no whole number"):
            SMM.place(ACCOUNT, replace(REQUEST, quantity=0))

    def test_without_a_service_or_a_link_are_refused_before_any_call(self) -> None:
        with pytest.raises(ValueError, match="without service"):
            SMM.place(ACCOUNT, replace(REQUEST, product={"oyun": "1"}))
        with pytest.raises(ValueError, match="without a link"):
            SMM.place(ACCOUNT, replace(REQUEST, recipient=""))

    def test_pass_on_nothing_else(self) -> None:
        odd = {"key": "x", "action": "cancel", "service": "9", "quantity": "9", "link": "x", "note": "x", "runs": "99"}
        assert form_of(replace(REQUEST, params=odd)) == form_of(REQUEST)
        product = {"service": "1", "oyun": "1", "kupur": "2", "note": "x"}
        assert form_of(replace(REQUEST, product=product)) == form_of(REQUEST)

    def test_prefer_what_the_mapping_fixes(self) -> None:
        request = replace(REQUEST, product={"service": "1", "hashtag": "ours"}, params={"hashtag": "theirs"})
        assert form_of(request)["hashtag"] == "ours"


class TestPlaceAnswers:
    def test_keep_the_panel_s_id(self) -> None:
        assert place('{"order":23501}').provider_id == "23501"

    def test_keep_the_id_of_an_answer_that_contradicts_itself(self) -> None:
        result = place('{"order":23501,"error":"Not enough funds"}')
        assert (result.outcome, result.provider_id, result.reason) == (Outcome.UNKNOWN, "23501", "Not enough funds")

    @each_recorded_refusal
    def test_name_a_refusal_by_its_outcome(self, path: Path) -> None:
        result = converse(SMM.place(ACCOUNT, REQUEST), load_reply(path))[0]
        is_unknown = "service" in result.reason.lower()
        assert result.reason_code == (SERVICE_UNKNOWN if is_unknown else result.outcome.value)
        assert result.provider_id == ""

    @each_recorded_doubt
    def test_speak_of_no_earlier_order_in_a_doubt(self, path: Path) -> None:
        assert converse(SMM.place(ACCOUNT, REQUEST), load_reply(path))[0].duplicate is False

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
    def test_with_another_status_are_no_refusal(self, status: int) -> None:
        reply = HttpReply(status, b'{"error":"Not enough funds on balance"}')
        result = converse(SMM.place(ACCOUNT, REQUEST), reply)[0]
        assert (result.outcome, result.reason_code) == (Outcome.UNKNOWN, f"http_{status}")

    def test_that_are_too_long_are_no_refusal(self) -> None:
        text = "not enough funds".rjust(500, "x").replace("xnot", " not")
        assert place(json.dumps({"error": text})).outcome is Outcome.INSUFFICIENT_BALANCE
        assert place(json.dumps({"error": "x" + text})).outcome is Outcome.UNKNOWN

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ("", "not_json"),
            ("<html>", "not_json"),
            ("[]", "no_object"),
            ("{}", "unlisted"),
            ('{"order":"x"}', "unlisted"),
        ],
    )
    def test_say_in_a_word_why_nothing_is_known(self, body: str, code: str) -> None:
        assert place(body).reason_code == code


class TestStates:
    def test_have_their_word_as_code(self) -> None:
        result = ask('{"23501":{"status":"In progress","charge":"0.1"}}')
        assert (result.reason_code, result.reason, result.cost) == ("in progress", "In progress", None)

    @pytest.mark.parametrize("path", recorded("smm_v2", "ask.partial"), ids=lambda path: path.stem)
    def test_tell_what_was_and_was_not_delivered(self, path: Path) -> None:
        result = converse(SMM.find(ACCOUNT, REF), load_reply(path))[0]
        assert (result.delivered, result.remains, result.cost) == (Decimal(843), Decimal(157), Decimal("0.27819"))

    def test_count_parts_in_the_panel_s_units(self) -> None:
        request = replace(REQUEST, product={"service": "1", "quantity": "500"}, quantity=3)
        result = ask('{"23501":{"status":"Partial","remains":"157"}}', replace(REF, request=request))
        assert (result.delivered, result.remains) == (Decimal(1343), Decimal(157))

    @pytest.mark.parametrize("remains", ['"1001"', '"-1"', '""', "null", '"x"'])
    def test_tell_no_parts_that_cannot_be(self, remains: str) -> None:
        result = ask(f'{{"23501":{{"status":"Partial","charge":"0.1","remains":{remains}}}}}')
        assert (result.outcome, result.delivered, result.remains) == (Outcome.PARTIAL, None, None)

    def test_tell_no_parts_of_an_order_that_is_not_known(self) -> None:
        result = ask('{"23501":{"status":"Partial","remains":"1"}}', replace(REF, request=None))
        assert (result.outcome, result.delivered, result.remains) == (Outcome.PARTIAL, None, None)

    def test_tell_the_final_charge_of_a_finished_order_alone(self) -> None:
        said = '{{"23501":{{"status":"{}","charge":"0.27819","remains":"0","currency":"{}"}}}}'
        assert ask(said.format("Completed", "USD")).cost == Decimal("0.27819")
        assert ask(said.format("Completed", "EUR")).cost is None
        assert ask(said.format("Canceled", "USD")).cost is None
        assert ask(said.format("Completed", "USD")).delivered is None

    def test_keep_of_the_answer_what_is_about_the_order(self) -> None:
        assert ask('{"23501": {"status": "Pending", "charge": 0.10}, "2": {}}').raw == (
            b'{"status":"Pending","charge":0.10}'
        )

    def test_of_several_orders_differ(self) -> None:
        refs = [OrderRef(str(number), str(number)) for number in (1, 2, 3)]
        body = b'{"1":{"status":"Completed"},"2":{"error":"Incorrect order ID"},"3":{"status":"Canceled"}}'
        found = converse(SMM.status(ACCOUNT, refs), HttpReply(200, body))[0]
        assert {ref: result.outcome for ref, result in found.items()} == {
            "1": Outcome.COMPLETED,
            "2": Outcome.NOT_FOUND,
            "3": Outcome.REJECTED,
        }

    def test_repeat_the_panel_s_id(self) -> None:
        assert ask('{"23501":{"status":"Pending"}}').provider_id == "23501"

    def test_are_not_asked_for_without_an_id(self) -> None:
        nameless = OrderRef(REQUEST.reference)
        assert converse(SMM.status(ACCOUNT, [nameless]), HttpReply(200, b"")) == ({}, [])
        found, calls = converse(SMM.find(ACCOUNT, nameless), HttpReply(200, b""))
        assert (found.outcome, found.reason_code, calls) == (Outcome.UNKNOWN, "no_answer", [])

    def test_of_a_lost_question_are_unknown_with_the_reason(self) -> None:
        found = converse(SMM.status(ACCOUNT, [REF]), MaybeSent(MaybeSentReason.TIMEOUT))[0][REF.own_ref]
        assert (found.outcome, found.reason_code, found.raw) == (Outcome.UNKNOWN, "timeout", b"")

    def test_of_an_answer_that_is_an_error_are_unknown_with_its_words(self) -> None:
        found = ask('{"error":"Down for k3y-9f1c"}')
        assert (found.outcome, found.reason_code, found.reason) == (Outcome.UNKNOWN, "error", "Down for ***")


class TestServices:
    def test_are_read_whole(self) -> None:
        listed = converse(SMM.catalogue(ACCOUNT), load_reply(recorded("smm_v2", "catalogue.items")[0]))[0]
        shared: dict[str, Any] = {"gives_code": False}
        assert listed.items == (
            CatalogueItem(
                {"service": "1"},
                "Followers",
                "First Category",
                Decimal("0.00090"),
                "USD",
                quantity="range",
                quantity_min=50,
                quantity_max=10000,
                **shared,
            ),
            CatalogueItem(
                {"service": "2"},
                "Comments",
                "Second Category",
                Decimal("0.008"),
                "USD",
                quantity="range",
                quantity_min=10,
                quantity_max=1500,
                **shared,
            ),
            CatalogueItem({"service": "3"}, "Free likes", "Second Category", quantity="any", **shared),
        )

    def test_have_the_rate_of_a_thousand_units(self) -> None:
        listed = converse(SMM.catalogue(ACCOUNT), load_reply(recorded("smm_v2", "catalogue.items")[0]))[0]
        cost = listed.items[0].cost
        assert cost is not None
        assert cost * 1000 == Decimal("0.90")

    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b'{"error":"Invalid API key k3y-9f1c"}', "Invalid API key ***"),
            (b"[]", "no_usable_row"),
            (b"7", "no_list"),
            (b"", "not_json"),
        ],
    )
    def test_say_why_there_are_none(self, body: bytes, error: str) -> None:
        assert converse(SMM.catalogue(ACCOUNT), HttpReply(200, body))[0].error == error


class TestBalances:
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b'{"error":"Invalid API key k3y-9f1c"}', "Invalid API key ***"),
            (b'{"balance":"1","currency":"EUR"}', "another_currency"),
            (b'{"balance":""}', "no_amount"),
            (b"[]", "no_object"),
        ],
    )
    def test_say_why_there_is_none(self, body: bytes, error: str) -> None:
        balance = converse(SMM.balance(ACCOUNT), HttpReply(200, body))[0]
        assert (balance.amount, balance.error) == (None, error)
