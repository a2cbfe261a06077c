"""Digiflazz against the shared contract, and what only this protocol has: its codes, and questions that may buy."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apps.common.wire import HttpCall, HttpReply, NotSent, NotSentReason
from apps.providers.adapters.digiflazz import Digiflazz
from apps.providers.contract import Account, CatalogueItem, Code, OrderRef, Outcome, PlaceRequest, PollPlan, Result
from tests.contract.suite import (
    AdapterContract,
    WithCatalogue,
    WithCodes,
    WithReference,
    converse,
    load_reply,
    recorded,
)

KEY = "dev-9f1c-k3y"


class TestDigiflazz(WithReference, WithCodes, WithCatalogue, AdapterContract):
    kind = "digiflazz"
    account = Account("https://api.invalid/v1", "buyer-5301", {"api_key": KEY}, "IDR", {"sn": "code"})
    request = PlaceRequest("100000000000000042", {"buyer_sku_code": "xld10"}, "087800001230")
    cost = Decimal(10500)
    balance = Decimal("1250500.5")
    refusing_words = (b'"message":"',)
    items = 5
    IMPOSSIBLE = {"ask.partial": "an order has one unit"}

    def reply_with_code(self, value: str) -> HttpReply:
        return reply(rc="00", status="Sukses", sn=value)

    def test_knows_that_asking_may_buy(self) -> None:
        caps = DIGIFLAZZ.caps
        assert (caps.ask_may_create, caps.resend_same_ref_safe, caps.dedup) == (True, True, "returns_original")
        assert (caps.resend_min_gap_s, caps.poll) == (60, PollPlan(60, 60, 600, 60))
        assert (caps.absent_after_s, caps.query_window_s, caps.find_by_own_ref) == (None, None, True)

    def test_lets_no_reference_become_ninety_days_old(self) -> None:
        age_s = DIGIFLAZZ.caps.ref_max_age_s
        assert age_s is not None
        assert (age_s, age_s + 5 * 86400) == (85 * 86400, 90 * 86400)

    def test_asks_about_one_order_at_a_time(self) -> None:
        caps = DIGIFLAZZ.caps
        assert (caps.status_batch_max, caps.list_form, caps.rate_per_s, caps.burst) == (1, "one", 2, 4)
        assert (caps.ref_format, caps.ref_max_len, caps.quantity) == ("digits18", 18, "one")

    def test_waits_for_a_second_reading_of_a_failure(self) -> None:
        caps = DIGIFLAZZ.caps
        assert (caps.failed_final_after_s, caps.final_after_s, caps.flipping) == (60, 0, frozenset())
        assert (caps.send_window_s, caps.place_timeout_s, caps.ask_timeout_s, caps.resolve_margin_s) == (20, 60, 30, 10)
        assert (caps.review_after_s, caps.webhook, caps.balance_check) == (900, "hmac_sha1", True)

    @pytest.mark.parametrize(
        ("option", "mapped", "codes"),
        [
            (None, None, ()),
            ("receipt", None, ()),
            ("code", None, (Code("AB-1"),)),
            (None, "code", (Code("AB-1"),)),
            ("receipt", "code", (Code("AB-1"),)),
            ("code", "receipt", ()),
        ],
    )
    def test_gives_a_code_only_where_mapping_or_account_say_so(
        self, option: str | None, mapped: str | None, codes: tuple[Code, ...]
    ) -> None:
        product = dict(REQUEST.product) | ({"sn": mapped} if mapped else {})
        ref = replace(REF, request=replace(REQUEST, product=product))
        account = replace(ACCOUNT, options={"sn": option} if option else {})
        assert find(reply(rc="00", status="Sukses", sn="AB-1"), ref, account).codes == codes

    def test_reads_the_price_list_whole(self) -> None:
        listed = converse(DIGIFLAZZ.catalogue(ACCOUNT), load_reply(recorded("digiflazz", "catalogue.items")[0]))[0]
        assert listed.items == (
            CatalogueItem({"buyer_sku_code": "xld10"}, "XL 10.000", "Pulsa / XL", Decimal(10500), "IDR"),
            CatalogueItem(
                {"buyer_sku_code": "gp20"},
                "Google Play Rp 20.000",
                "Voucher / GOOGLE PLAY INDONESIA",
                Decimal(20250),
                "IDR",
                gives_code=True,
            ),
            CatalogueItem(
                {"buyer_sku_code": "pln20"},
                "PLN 20.000",
                "PLN / PLN",
                Decimal(20100),
                "IDR",
                available=False,
                gives_code=True,
            ),
            CatalogueItem(
                {"buyer_sku_code": "ml86"},
                "Mobile Legends 86 Diamond",
                "Games / MOBILE LEGENDS",
                Decimal("19850.5"),
                "IDR",
                available=False,
            ),
            CatalogueItem({"buyer_sku_code": "off1"}, "XL 5.000", "Pulsa / XL", available=False),
        )


DIGIFLAZZ = Digiflazz()
ACCOUNT, REQUEST = TestDigiflazz.account, TestDigiflazz.request
REF = OrderRef(REQUEST.reference, "", None, REQUEST)


def reply(status_code: int = 200, **changes: str | int | None) -> HttpReply:
    data = {"ref_id": REQUEST.reference, "rc": "03", "status": "Pending", "message": "Transaksi Pending", **changes}
    told = {name: value for name, value in data.items() if value is not None}
    return HttpReply(status_code, json.dumps({"data": told}, ensure_ascii=False).encode())


def place(answer: HttpReply, request: PlaceRequest = REQUEST) -> Result:
    return converse(DIGIFLAZZ.place(ACCOUNT, request), answer)[0]


def find(answer: HttpReply, ref: OrderRef = REF, account: Account = ACCOUNT) -> Result:
    return converse(DIGIFLAZZ.find(account, ref), answer)[0]


def body_of(call: HttpCall) -> Any:
    assert call.json is not None
    return json.loads(call.json)


def md5(text: str) -> str:
    return hashlib.md5(text.encode(), usedforsecurity=False).hexdigest()


class TestCalls:
    def test_place_sends_the_signed_purchase(self) -> None:
        call = next(DIGIFLAZZ.place(ACCOUNT, REQUEST))
        assert (call.method, call.url, call.params, call.form) == (
            "POST",
            "https://api.invalid/v1/transaction",
            (),
            None,
        )
        assert body_of(call) == {
            "username": "buyer-5301",
            "buyer_sku_code": "xld10",
            "customer_no": "087800001230",
            "ref_id": "100000000000000042",
            "sign": md5("buyer-5301" + KEY + "100000000000000042"),
        }

    def test_a_question_is_the_identical_purchase(self) -> None:
        product = {"buyer_sku_code": "xld10", "separator": ".", "max_price": "11000", "sn": "receipt"}
        request = replace(REQUEST, product=product, extra_field="7", params={"note": "x"})
        placed = next(DIGIFLAZZ.place(ACCOUNT, request))
        ref = OrderRef(request.reference, "", None, request)
        assert next(DIGIFLAZZ.find(ACCOUNT, ref)).json == placed.json
        assert next(DIGIFLAZZ.status(ACCOUNT, [ref])).json == placed.json

    def test_balance_and_list_have_signatures_of_their_own(self) -> None:
        calls = [next(DIGIFLAZZ.balance(ACCOUNT)), next(DIGIFLAZZ.catalogue(ACCOUNT))]
        assert [call.url for call in calls] == ["https://api.invalid/v1/cek-saldo", "https://api.invalid/v1/price-list"]
        assert [body_of(call) for call in calls] == [
            {"cmd": "deposit", "username": "buyer-5301", "sign": md5("buyer-5301" + KEY + "depo")},
            {"cmd": "prepaid", "username": "buyer-5301", "sign": md5("buyer-5301" + KEY + "pricelist")},
        ]
        assert calls[1].timeout_s == 60

    def test_show_no_body(self) -> None:
        call = next(DIGIFLAZZ.place(ACCOUNT, REQUEST))
        assert call.json is not None
        assert call.redacted() == f"POST https://api.invalid/v1/transaction json:{len(call.json)} bytes"

    @pytest.mark.parametrize(
        ("separator", "extra", "number"),
        [("", "2001", "123452001"), (".", "2001", "12345.2001"), (".", "", "12345"), (None, "2001", "123452001")],
    )
    def test_join_the_extra_field_as_the_mapping_says(self, separator: str | None, extra: str, number: str) -> None:
        product = dict(REQUEST.product) | ({} if separator is None else {"separator": separator})
        request = replace(REQUEST, recipient="12345", extra_field=extra, product=product)
        assert body_of(next(DIGIFLAZZ.place(ACCOUNT, request)))["customer_no"] == number

    def test_refuse_a_dearer_price_where_the_mapping_says_one(self) -> None:
        request = replace(REQUEST, product={"buyer_sku_code": "xld10", "max_price": "11000"})
        assert body_of(next(DIGIFLAZZ.place(ACCOUNT, request)))["max_price"] == 11000


class TestImpossibleOrders:
    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"product": {"oyun": "xld10"}}, "without buyer_sku_code"),
            ({"product": {"buyer_sku_code": "x", "max_price": "1.5"}}, "max_price"),
            ({"product": {"buyer_sku_code": "x", "max_price": "²"}}, "max_price"),
            ({"product": {"buyer_sku_code": "x", "sn": "pin"}}, "neither code nor receipt"),
            ({"quantity": 2}, "one unit"),
            ({"recipient": ""}, "without a customer number"),
        ],
    )
    def test_are_refused_before_any_call(self, changes: dict[str, Any], text: str) -> None:
        request = replace(REQUEST, **changes)
        with pytest.raises(ValueError, match=text):
            DIGIFLAZZ.place(ACCOUNT, request)
        with pytest.raises(ValueError, match=text):
            DIGIFLAZZ.find(ACCOUNT, replace(REF, request=request))

    @pytest.mark.parametrize("currency", ["", "USD", "idr"])
    def test_an_account_in_another_currency_buys_nothing(self, currency: str) -> None:
        with pytest.raises(ValueError, match="IDR"):
            DIGIFLAZZ.place(replace(ACCOUNT, currency=currency), REQUEST)

    @pytest.mark.parametrize("request_of_it", [None, replace(REQUEST, reference="100000000000000043")])
    def test_a_question_without_its_own_purchase_is_not_asked(self, request_of_it: PlaceRequest | None) -> None:
        ref = replace(REF, request=request_of_it)
        with pytest.raises(ValueError, match="identical purchase"):
            DIGIFLAZZ.find(ACCOUNT, ref)
        with pytest.raises(ValueError, match="identical purchase"):
            DIGIFLAZZ.status(ACCOUNT, [ref])


class TestCodes:
    def test_keep_the_number_and_words_of_a_refusal(self) -> None:
        result = place(reply(rc="54", status="Gagal", message="Nomor Tujuan\n Salah"))
        assert (result.reason_code, result.reason) == ("54", "Nomor Tujuan Salah")

    @pytest.mark.parametrize(("rc", "wait_s"), [("83", 300), ("85", 60), ("86", 60), ("44", None)])
    def test_say_how_long_to_wait(self, rc: str, wait_s: float | None) -> None:
        assert place(reply(rc=rc, status="Gagal")).retry_after_s == wait_s

    @pytest.mark.parametrize("path", recorded("digiflazz", "place.rate_limited"), ids=lambda path: path.stem)
    def test_say_how_long_to_wait_in_each_recorded_limit(self, path: Path) -> None:
        answer = load_reply(path)
        assert place(answer).retry_after_s == (300 if b'"83"' in answer.body else 60)

    def test_a_limit_has_used_the_reference_up(self) -> None:
        limited = reply(rc="85", status="Gagal")
        assert (find(limited).outcome, find(limited).retry_after_s) == (Outcome.REJECTED, None)

    def test_a_refund_in_the_first_answer_is_told(self) -> None:
        assert place(reply(rc="74", status="Gagal")).outcome is Outcome.REVERSED

    def test_a_missing_transaction_is_no_answer_to_a_purchase(self) -> None:
        missing = reply(rc="50", status="Gagal")
        assert (place(missing).outcome, find(missing).outcome) == (Outcome.UNKNOWN, Outcome.NOT_FOUND)

    def test_a_reference_that_is_not_unique_is_an_earlier_purchase(self) -> None:
        clash = reply(rc="49", status="Gagal")
        assert [(result.outcome, result.duplicate) for result in (place(clash), find(clash))] == [
            (Outcome.UNKNOWN, True),
            (Outcome.UNKNOWN, True),
        ]

    def test_no_other_code_speaks_of_an_earlier_purchase(self) -> None:
        assert [place(reply(rc=rc, status="Gagal")).duplicate for rc in ("44", "50", "02", "85")] == [False] * 4

    @pytest.mark.parametrize("rc", ["44", "02", "41", "49"])
    @pytest.mark.parametrize("status", [201, 204, 301, 500, 502, 503])
    def test_of_a_broken_answer_are_not_read(self, rc: str, status: int) -> None:
        result = place(reply(status, rc=rc, status="Gagal"))
        assert (result.outcome, result.reason_code) == (Outcome.UNKNOWN, f"http_{status}")

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
    def test_of_a_refusing_answer_are_read(self, status: int) -> None:
        assert place(reply(status, rc="44", status="Gagal")).outcome is Outcome.INSUFFICIENT_BALANCE

    def test_without_a_reference_are_read_only_where_nothing_was_formed(self) -> None:
        assert place(reply(ref_id=None, rc="41", status="Gagal")).outcome is Outcome.AUTH_ERROR
        assert place(reply(ref_id=None, rc="44", status=None)).outcome is Outcome.INSUFFICIENT_BALANCE
        assert place(reply(ref_id=None, rc="54", status="Gagal")).reason_code == "another_order"

    @pytest.mark.parametrize(
        ("changes", "code"),
        [
            ({"rc": "48"}, "unlisted"),
            ({"rc": None}, "unlisted"),
            ({"rc": "00"}, "contradiction"),
            ({"status": "Sukses"}, "contradiction"),
            ({"ref_id": "9"}, "another_order"),
        ],
    )
    def test_are_doubted_with_a_word_for_the_reason(self, changes: dict[str, Any], code: str) -> None:
        assert place(reply(**changes)).reason_code == code
        assert find(reply(**changes)).reason_code == code

    def test_a_question_not_sent_is_no_answer(self) -> None:
        result = converse(DIGIFLAZZ.find(ACCOUNT, REF), NotSent(NotSentReason.DNS))[0]
        assert (result.outcome, result.reason_code) == (Outcome.UNKNOWN, "dns")

    @pytest.mark.parametrize(("body", "code"), [(b"", "not_json"), (b"[]", "not_json"), (b"{}", "no_data")])
    def test_are_missed_with_a_word_for_the_reason(self, body: bytes, code: str) -> None:
        assert place(HttpReply(200, body)).reason_code == code


class TestGoods:
    def test_have_a_price_and_leave_a_balance(self) -> None:
        result = place(reply(rc="00", status="Sukses", price=10500, buyer_last_saldo=979500))
        assert (result.outcome, result.cost, result.balance_after) == (
            Outcome.COMPLETED,
            Decimal(10500),
            Decimal(979500),
        )

    def test_give_their_code_with_the_first_answer(self) -> None:
        answer = load_reply(recorded("digiflazz", "place.completed")[0])
        assert place(answer).codes == (Code("0012-ABCD-3456"),)

    def test_tell_a_receipt_nowhere_because_it_might_be_a_code(self) -> None:
        account = replace(ACCOUNT, options={})
        result = find(reply(rc="00", status="Sukses", sn="AB-1", message="SN AB-1"), account=account)
        assert (result.codes, result.reason) == ((), "SN ***")

    def test_keep_an_electricity_token_whole(self) -> None:
        sn = "1234-5678-9012-3456-7890/BUDI SANTOSO/R1/1300VA/13,5"
        assert find(reply(rc="00", status="Sukses", sn=sn)).codes == (Code(sn),)

    def test_read_a_code_of_digits_that_came_as_a_number(self) -> None:
        assert find(reply(rc="00", status="Sukses", sn=12345678901234567890)).codes == (Code("12345678901234567890"),)

    def test_hide_credentials_in_words(self) -> None:
        assert place(reply(rc="41", status="Gagal", message=f"buyer-5301 {KEY}")).reason == "*** ***"


class TestBalances:
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b'{"data":{"rc":"41","message":"Signature tidak valid"}}', "41 Signature tidak valid"),
            (b'{"data":{}}', "no_amount"),
            (b'{"data":[]}', "no_data"),
            (b"x", "not_json"),
        ],
    )
    def test_say_why_there_is_none(self, body: bytes, error: str) -> None:
        balance = converse(DIGIFLAZZ.balance(ACCOUNT), HttpReply(200, body))[0]
        assert (balance.amount, balance.error) == (None, error)


class TestPriceList:
    @pytest.mark.parametrize(
        ("body", "error"),
        [
            (b'{"data":{"rc":"83","message":"limitasi buyer-5301"}}', "83 limitasi ***"),
            (b'{"data":[]}', "no_usable_row"),
            (b'{"data":7}', "no_list"),
            (b"", "not_json"),
        ],
    )
    def test_says_why_there_is_none(self, body: bytes, error: str) -> None:
        assert converse(DIGIFLAZZ.catalogue(ACCOUNT), HttpReply(200, body))[0].error == error
