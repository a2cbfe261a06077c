"""The airtime half of a ZNET panel over real sockets, each clone's side of every disagreement."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest

from apps.simulator.client import SimulatorProcess
from apps.simulator.probe import get
from apps.simulator.rawline import exchange

LOGIN = {"bayi_kodu": "demo", "sifre": "demo-secret"}
PACKAGE = {"operator": "vodafone", "tip": "tam", "kontor": "50"}
TAKEN = "OK|1|Talebiniz İşleme Alınmıştır.|47.25"
CLONE_A = "OK|3|bayikodu yada sifre  geçersiz|0.00"
CLONE_B = "OK|3|bayikodu yada şifre geçersiz|0.00"

_numbers = itertools.count(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path_factory.mktemp("airtime") / "truth.jsonl", dialect="znet_tl") as process:
        yield process


@pytest.fixture
def panel(shared: SimulatorProcess) -> Iterator[SimulatorProcess]:
    defaults = shared.call("GET", "switches")
    yield shared
    shared.switch(**defaults)


def ask(panel: SimulatorProcess, name: str, **params: str) -> str:
    request = get(f"/znet_tl/servis/{name}.php", LOGIN | params)
    return exchange(panel.port, request, 5.0).body.decode()


def phone() -> str:
    return f"5{next(_numbers):09d}"


def load(panel: SimulatorProcess, reference: str, **params: str) -> str:
    return ask(panel, "tl_servis", **{**PACKAGE, "gsmno": phone(), "tekilnumara": reference, **params})


def load_with(panel: SimulatorProcess, /, params: dict[str, str] | None = None, **fate: Any) -> str:
    """Load once with this fate; returns the reference."""
    reference = f"9{next(_numbers):011d}"
    panel.set_fate(reference=reference, **fate)
    load(panel, reference, **(params or {}))
    return reference


def check(panel: SimulatorProcess, reference: str) -> str:
    return ask(panel, "tl_kontrol", tekilnumara=reference)


class TestPlacing:
    def test_is_taken_with_the_cost(self, panel: SimulatorProcess) -> None:
        assert load(panel, "1001") == TAKEN

    def test_takes_post_and_any_case(self, panel: SimulatorProcess) -> None:
        form = urlencode(
            LOGIN | {"operator": "VODAFONE", "tip": "Ses", "kontor": "515.00", "gsmno": phone(), "tekilnumara": "1002"}
        ).encode()
        head = (
            "POST /servis/tl_servis.php HTTP/1.1\r\nConnection: close\r\n"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(form)}\r\n\r\n"
        )
        seen = exchange(panel.port, head.encode() + form, 5.0)
        assert seen.body.decode() == "OK|1|Talebiniz İşleme Alınmıştır.|1250.00"

    @pytest.mark.parametrize("gsmno", ["", "530111223", "4301112233", "53011122334", "٥301112233"])
    def test_refuses_what_is_no_number(self, panel: SimulatorProcess, gsmno: str) -> None:
        assert load(panel, "1003", gsmno=gsmno) == "OK|3|Eksik Parametre|0.00"

    def test_refuses_an_unknown_package(self, panel: SimulatorProcess) -> None:
        assert load(panel, "1004", kontor="51") == "OK|3|Aktif Kontor Miktarı Bulunamadı.|0.00"

    def test_refuses_the_same_number_and_amount_for_ten_minutes(self, panel: SimulatorProcess) -> None:
        number = phone()
        assert load(panel, "1005", gsmno=number) == TAKEN
        refused = "OK|3|Aynı Numaraya Aynı Miktarda 10 Dakika İçinde İşlem Gerçekleşti|0.00"
        assert load(panel, "1006", gsmno=number) == refused
        assert load(panel, "1007", gsmno=number, operator="turkcell", kontor="100").startswith("OK|1|")
        panel.advance(600)
        assert load(panel, "1008", gsmno=number) == TAKEN

    def test_does_not_count_a_cancelled_one_for_that(self, panel: SimulatorProcess) -> None:
        number = phone()
        load_with(panel, {"gsmno": number}, final="cancelled")
        assert load(panel, "1009", gsmno=number) == TAKEN

    @pytest.mark.parametrize(
        ("policy", "text"),
        [
            ("document", "OK|8|Bu İşlem Daha Önce Gönderildi|0.00"),
            ("clone_a", "OK|3|Tekil numara çakışması.|0.00"),
            ("clone_b", TAKEN),
        ],
    )
    def test_again_with_one_reference_has_each_answer_and_buys_once(
        self, panel: SimulatorProcess, policy: str, text: str
    ) -> None:
        panel.switch(repeat_policy=policy)
        reference = load_with(panel)
        assert load(panel, reference) == text
        assert [row["reference"] for row in panel.orders()].count(reference) == 1


class TestStatus:
    def test_goes_from_2_to_1(self, panel: SimulatorProcess) -> None:
        reference = load_with(panel, complete_after_s=60)
        assert check(panel, reference) == "2:islemde:47.25"
        panel.advance(60)
        assert check(panel, reference) == "1:olumlu_islem:47.25"

    def test_can_name_the_operators_own_number(self, panel: SimulatorProcess) -> None:
        panel.switch(success_names_operator=True)
        reference = load_with(panel)
        order_id = next(row["order_id"] for row in panel.orders() if row["reference"] == reference)
        assert check(panel, reference) == f"1:Ref.No={order_id}_Abone=AYSE:47.25"

    @pytest.mark.parametrize(
        ("switches", "text"),
        [
            ({}, "3:Hat kapalı"),
            ({"cancel_has_cost": True}, "3:Hat kapalı:0"),
            ({"cancel_falls_through": True}, "3:Hat kapalı2:islemde:"),
        ],
    )
    def test_of_a_cancelled_one_has_each_form(
        self, panel: SimulatorProcess, switches: dict[str, bool], text: str
    ) -> None:
        panel.switch(**switches)
        assert check(panel, load_with(panel, final="cancelled", cancel_text="Hat kapalı")) == text

    def test_of_an_inquiry_is_a_cancellation_with_advice(self, panel: SimulatorProcess) -> None:
        reference = load_with(panel, {"tip": "ses", "kontor": "5001"})
        assert check(panel, reference) == "3:Ses paketi yok. Tavsiye= ,12,34,:"

    @pytest.mark.parametrize(("clone", "text"), [("clone_a", ""), ("clone_b", "3:Bu referansla işlem yok:0")])
    def test_of_an_unknown_reference_has_each_form(self, panel: SimulatorProcess, clone: str, text: str) -> None:
        panel.switch(unknown_reference=clone)
        assert check(panel, "404") == text

    def test_can_be_in_a_word_that_nobody_knows(self, panel: SimulatorProcess) -> None:
        assert check(panel, load_with(panel, status_faults=["unknown_word"])) == "6:sorgulaniyor:0"


class TestLogin:
    @pytest.mark.parametrize(
        ("form", "on_place", "on_status", "on_balance"),
        [
            ("document", CLONE_B, CLONE_B, ""),
            ("clone_a", CLONE_A, CLONE_A, CLONE_A),
            ("clone_b", CLONE_B, "3:Hatalı bayi kodu veya şifre:0", CLONE_B),
        ],
    )
    def test_error_has_each_form(
        self, panel: SimulatorProcess, form: str, on_place: str, on_status: str, on_balance: str
    ) -> None:
        panel.switch(bad_password=form)
        assert load(panel, "2001", sifre="wrong") == on_place
        assert ask(panel, "tl_kontrol", tekilnumara="1", sifre="wrong") == on_status
        assert ask(panel, "bakiye_kontrol", kod="demo", sifre="wrong") == on_balance

    @pytest.mark.parametrize(
        ("form", "answers"),
        [
            ("document", ["", ""]),
            ("clone_a", ["", ""]),
            ("clone_b", [CLONE_B, "3:Hatalı bayi kodu veya şifre:0"]),
        ],
    )
    def test_of_a_disabled_dealer_is_silent_or_a_wrong_password(
        self, panel: SimulatorProcess, form: str, answers: list[str]
    ) -> None:
        panel.switch(dealer_disabled=True, bad_password=form)
        assert [load(panel, "2002"), check(panel, "1")] == answers

    def test_from_a_wrong_address_is_told_everywhere(self, panel: SimulatorProcess) -> None:
        panel.switch(wrong_ip=True)
        assert {load(panel, "2003"), check(panel, "1"), ask(panel, "paket_listesi")} == {"OK|3|ip geçersiz|0.00"}


class TestLists:
    def test_of_packages_end_each_record_with_a_caret(self, panel: SimulatorProcess) -> None:
        records = ask(panel, "paket_listesi").split("^")
        assert records[0] == "Turkcell|Tam|100|95.50|100 TL|"
        assert (len(records), records[-1]) == (7, "")

    def test_can_have_line_feeds_and_thousands(self, panel: SimulatorProcess) -> None:
        panel.switch(line_feeds=True, number_format="en_thousands")
        assert "Vodafone|Ses|515|1,250.0000|Yıllık Ses|^\r\n" in ask(panel, "paket_listesi")

    def test_of_the_balance_is_that_of_this_half(self, panel: SimulatorProcess) -> None:
        before = ask(panel, "bakiye_kontrol", kod="demo")
        pin = {"kod": "demo", "sifre": "demo-secret", "oyun": "152", "kupur": "60", "referans": "1"}
        assert exchange(panel.port, get("/servis/pin_ekle.php", pin), 5.0).body.startswith(b"OK|31.50|")
        assert ask(panel, "bakiye_kontrol", kod="demo") == before
        load(panel, "3001")
        assert ask(panel, "bakiye_kontrol", kod="demo") != before
