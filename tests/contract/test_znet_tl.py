"""ZNET airtime against the shared contract, and what only this protocol has: its numbers, its false cancellations."""

from __future__ import annotations

from decimal import Decimal

import pytest

from apps.common.wire import HttpReply, MaybeSent, MaybeSentReason
from apps.providers.adapters.znet_tl import ZnetTl
from apps.providers.contract import Account, Catalogue, OrderRef, Outcome, PlaceRequest, Result
from tests.contract.suite import REPLIES, AdapterContract, WithCatalogue, WithReference, converse, load_reply


class TestZnetTl(WithReference, WithCatalogue, AdapterContract):
    kind = "znet_tl"
    account = Account("http://panel.invalid", "dealer-5301", {"sifre": "p4ss-word-x"}, "TRY")
    request = PlaceRequest("100000000000000042", {"operator": "turkcell", "tip": "tam", "kontor": "100"}, "5123456789")
    cost = Decimal("5.50")
    balance = Decimal("1250.50")
    items = 3
    refusing_words = (b"hatal", b"ersiz", b"Bulunamad", b"yok", b"YETERS")
    IMPOSSIBLE = {
        "place.completed": "code 1 is taken for processing; loading is told by tl_kontrol alone",
        "place.rate_limited": "the panels publish no limit and have no word for it",
        "ask.completed_with_code": "airtime is loaded on a number and has no code",
        "ask.partial": "an order has one unit",
        "ask.reversed": "there is no state for it",
    }

    def repeating(self, body: bytes, secret: bytes) -> bytes:
        head, bar, rest = body.rpartition(b"|") if body.endswith(b"|0.00") else (body, b"", b"")
        return head.replace(b" ", b" " + secret + b" ") + b" " + secret + bar + rest

    def test_promises_no_more_than_the_document(self) -> None:
        """Three servers answer the same reference in three ways; nothing proves absence; there is no push."""
        caps = self.adapter.caps
        assert (caps.ref_format, caps.ref_max_len, caps.ref_max_age_s) == ("digits18", 30, None)
        assert (caps.dedup, caps.resend_same_ref_safe, caps.resend_min_gap_s) == ("unproven", False, 60)
        assert (caps.find_by_own_ref, caps.absent_after_s, caps.ask_may_create) == (True, None, False)
        assert (caps.query_window_s, caps.status_batch_max, caps.list_form) == (None, 1, "one")
        assert (caps.webhook, caps.balance_check, caps.quantity) == ("none", True, "one")
        assert (caps.flipping, caps.final_after_s, caps.poll.floor_s) == (frozenset({"failed"}), 43200, 10)


TL = ZnetTl()
ACCOUNT, REQUEST = TestZnetTl.account, TestZnetTl.request


def place(text: str) -> Result:
    return converse(TL.place(ACCOUNT, REQUEST), HttpReply(200, text.encode()))[0]


def ask(text: str) -> Result:
    return converse(TL.find(ACCOUNT, OrderRef(REQUEST.reference)), HttpReply(200, text.encode()))[0]


def listed(name: str) -> Catalogue:
    return converse(TL.catalogue(ACCOUNT), load_reply(REPLIES / "znet_tl" / f"catalogue.{name}.txt"))[0]


class TestCalls:
    def test_place_sends_the_airtime_parameters(self) -> None:
        call = next(TL.place(ACCOUNT, REQUEST))
        assert (call.method, call.url) == ("GET", "http://panel.invalid/servis/tl_servis.php")
        assert call.params == (
            ("bayi_kodu", "dealer-5301"),
            ("sifre", "p4ss-word-x"),
            ("operator", "turkcell"),
            ("tip", "tam"),
            ("kontor", "100"),
            ("gsmno", "5123456789"),
            ("tekilnumara", "100000000000000042"),
        )

    def test_question_balance_and_list_name_the_dealer_as_their_address_wants(self) -> None:
        find, balance = next(TL.find(ACCOUNT, OrderRef("42"))), next(TL.balance(ACCOUNT))
        assert find.url == "http://panel.invalid/servis/tl_kontrol.php"
        assert [name for name, _ in find.params] == ["bayi_kodu", "sifre", "tekilnumara"]
        assert balance.redacted() == "GET http://panel.invalid/servis/bakiye_kontrol.php?kod=***&sifre=***"
        assert next(TL.catalogue(ACCOUNT)).redacted().endswith("paket_listesi.php?bayi_kodu=***&sifre=***")

    @pytest.mark.parametrize("missing", ["operator", "tip", "kontor"])
    def test_a_mapping_without_its_ids_is_refused_before_any_call(self, missing: str) -> None:
        with pytest.raises(ValueError, match=f"mapping without {missing}"):
            TL.place(ACCOUNT, PlaceRequest("1", {**REQUEST.product, missing: ""}, "5123456789"))

    @pytest.mark.parametrize("number", ["", "4123456789", "512345678", "51234567890", "05123456789", "512345678٣"])
    def test_a_number_that_is_no_mobile_one_is_refused_before_any_call(self, number: str) -> None:
        with pytest.raises(ValueError, match="ten digits that begins with 5"):
            TL.place(ACCOUNT, PlaceRequest("1", REQUEST.product, number))

    def test_two_units_are_refused_before_any_call(self) -> None:
        with pytest.raises(ValueError, match="one unit"):
            TL.place(ACCOUNT, PlaceRequest("1", REQUEST.product, "5123456789", quantity=2))


class TestPlaceAnswers:
    @pytest.mark.parametrize("code", ["0", "2", "4", "5", "8", "9", "33", "", "03"])
    def test_a_refusing_text_beside_another_code_is_no_refusal(self, code: str) -> None:
        result = place(f"OK|{code}|Bakiye Yetersiz|0.00")
        assert (result.outcome, result.duplicate) == (Outcome.UNKNOWN, code == "8")

    def test_the_same_number_within_ten_minutes_may_be_our_own_order(self) -> None:
        result = place("OK|3|Aynı Numaraya Aynı Miktarda 10 Dakika İçinde İşlem Gerçekleşti|0.00")
        assert (result.outcome, result.duplicate) == (Outcome.UNKNOWN, True)

    def test_a_refusal_that_names_a_price_is_none(self) -> None:
        assert place("OK|3|Bakiye Yetersiz|0,00").outcome is Outcome.INSUFFICIENT_BALANCE
        assert place("OK|3|Bakiye Yetersiz|5.50").outcome is Outcome.UNKNOWN

    def test_number_and_words_are_kept(self) -> None:
        result = place("OK|3| Yetki \n Yetersiz! Yukleme |0.00")
        assert (result.reason_code, result.reason) == ("3", "Yetki Yetersiz! Yukleme")

    def test_an_accepted_order_without_a_readable_cost_is_accepted(self) -> None:
        result = place("OK|1|Talebiniz İşleme Alınmıştır.|?")
        assert (result.outcome, result.cost) == (Outcome.ACCEPTED, None)


class TestStateAnswers:
    def test_one_means_loaded_here(self) -> None:
        result = ask("1:Ref.No=88120451_Abone=AYSE:5.50")
        assert (result.outcome, result.cost) == (Outcome.COMPLETED, Decimal("5.50"))
        assert result.reason == "Ref.No=88120451_Abone=AYSE"

    def test_a_cancelled_order_says_why(self) -> None:
        assert ask("3:Numara faturalı hat:0").reason == "Numara faturalı hat"
        assert ask("3:saat 12:30 kapalı").reason == "saat 12:30 kapalı"

    @pytest.mark.parametrize("text", ["3:iptal2:islemde:", "3:iptal 2 : islemde:5.50", "3:2:islemde:"])
    def test_two_states_in_one_body_are_no_cancellation(self, text: str) -> None:
        assert (ask(text).outcome, ask(text).reason_code) == (Outcome.UNKNOWN, "two_states")

    def test_a_login_text_among_others_is_no_cancellation(self) -> None:
        assert ask("3:Şifre hatalı veya bakiye yetersiz:0").outcome is Outcome.AUTH_ERROR
        assert ask("3:Sistem hatası, şifre hatalı:0").outcome is Outcome.UNKNOWN

    @pytest.mark.parametrize("text", ["4:x", "22:x", "0:", "x:1", ":", "1", "1|x"])
    def test_any_other_state_is_unknown(self, text: str) -> None:
        assert ask(text).outcome is Outcome.UNKNOWN

    def test_a_cut_answer_is_no_state(self) -> None:
        cut = MaybeSent(MaybeSentReason.CUT, status=200, body=b"3:iptal")
        assert converse(TL.find(ACCOUNT, OrderRef("42")), cut)[0].reason_code == "answer_cut"


class TestTheList:
    def test_is_read_the_same_in_both_forms(self) -> None:
        assert listed("items") == listed("items.line_feeds")
        told = [(tuple(item.ids.values()), item.name, item.group, item.cost) for item in listed("items").items]
        assert told == [
            (("turkcell", "tam", "100"), "100 TL", "Turkcell", Decimal("95.50")),
            (("vodafone", "ses", "515"), "Yıllık Ses", "Vodafone", Decimal("1250.0000")),
            (("avea", "sms", "1000"), "1000 SMS", "Avea", Decimal("18.40")),
        ]

    def test_takes_the_dearer_of_two_and_no_price_for_a_zero(self) -> None:
        told = [(item.name, item.cost, item.currency) for item in listed("items.doubled").items]
        assert told == [
            ("100 TL", Decimal("95.50"), "TRY"),
            ("Yıllık Ses", None, ""),
            ("Avea Sms 1000", Decimal("18.40"), "TRY"),
        ]

    def test_is_no_list_when_the_login_fails(self) -> None:
        assert listed("failed").error == "OK|3|bayikodu yada sifre geçersiz|0.00"
