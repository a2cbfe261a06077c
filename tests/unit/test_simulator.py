"""The provider simulator over real sockets: what a client sees and what the truth ledger says."""

from __future__ import annotations

import http.client
import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote_plus, urlencode

import pytest

from apps.simulator import ledger as ledger_module
from apps.simulator.client import ROOT, SimulatorFailed, SimulatorProcess
from apps.simulator.fates import CHECKS, Fate, FateBook, Place, StatusFault, fate_as_json, parse_fate
from apps.simulator.ledger import Ledger, read_truth, summary
from apps.simulator.strict import BadValue

LOGIN = {"kod": "demo", "sifre": "demo-secret"}
UC_60 = {"oyun": "152", "kupur": "60"}
DIRECT = {"oyun": "210", "kupur": "100"}
PATIENCE_S = 0.3

_references = itertools.count(700_000_000_001)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path_factory.mktemp("simulator") / "truth.jsonl") as process:
        yield process


@pytest.fixture
def simulator(shared: SimulatorProcess) -> Iterator[SimulatorProcess]:
    defaults = shared.call("GET", "switches")
    yield shared
    shared.switch(**defaults)


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """One with four digits of balance and nothing bought."""
    with SimulatorProcess(tmp_path_factory.mktemp("rich") / "truth.jsonl", balance="1250.50") as process:
        yield process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., SimulatorProcess]]:
    """Start further processes on one ledger; all are stopped at the end."""
    started: list[SimulatorProcess] = []

    def start_one(**options: Any) -> SimulatorProcess:
        started.append(SimulatorProcess(tmp_path / "truth.jsonl", **options))
        return started[-1]

    yield start_one
    for process in started:
        process.stop()


def new_reference() -> str:
    return str(next(_references))


@dataclass(frozen=True)
class Seen:
    status: int
    headers: http.client.HTTPMessage
    body: bytes


def ask(simulator: SimulatorProcess, name: str, params: dict[str, str] | None = None, timeout: float = 5.0) -> Seen:
    """Ask on a connection of its own; raises what http.client raises."""
    path = f"/servis/{name}.php?{urlencode(LOGIN | (params or {}))}"
    with closing(http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=timeout)) as line:
        line.request("GET", path)
        with line.getresponse() as answer:
            return Seen(answer.status, answer.headers, answer.read())


def body(simulator: SimulatorProcess, name: str, **params: str) -> str:
    return ask(simulator, name, params).body.decode()


def place(simulator: SimulatorProcess, reference: str, **params: str) -> str:
    return body(simulator, "pin_ekle", **order(reference, **params))


def order(reference: str, **params: str) -> dict[str, str]:
    return {"referans": reference, "musteri_tel": "5301112233", "oyuncu_bilgi": "51234567", **UC_60, **params}


def check(simulator: SimulatorProcess, reference: str) -> str:
    return body(simulator, "pin_kontrol", tahsilat_api_islem_id=reference)


def place_with(simulator: SimulatorProcess, /, **fate: Any) -> str:
    """Place one order with this fate and return its reference."""
    reference = new_reference()
    simulator.set_fate(reference=reference, **fate)
    place(simulator, reference)
    return reference


def events(simulator: SimulatorProcess, reference: str) -> list[str]:
    return [entry["event"] for entry in read_truth(simulator.truth_path) if entry.get("reference") == reference]


def balance(simulator: SimulatorProcess) -> str:
    return body(simulator, "bakiye_kontrol")


class TestBalance:
    def test_is_ok_and_the_amount(self, start: Callable[..., SimulatorProcess]) -> None:
        assert balance(start(balance="12755.23")) == "OK|12755.23"

    @pytest.mark.parametrize(
        ("form", "text"),
        [
            ("dot", "OK|1250.50"),
            ("comma", "OK|1250,50"),
            ("braces", "OK|{1250.50}"),
            ("tr_thousands", "OK|1.250,50"),
            ("en_thousands", "OK|1,250.5000"),
        ],
    )
    def test_follows_the_number_format(self, rich: SimulatorProcess, form: str, text: str) -> None:
        rich.switch(number_format=form)
        assert balance(rich) == text

    def test_has_a_debt_only_when_switched_on(self, rich: SimulatorProcess) -> None:
        rich.switch(number_format="dot", debt="20")
        assert balance(rich) == "OK|1250.50|20.00"
        rich.switch(debt=None)
        assert balance(rich) == "OK|1250.50"

    def test_falls_when_bought_and_returns_when_cancelled(self, start: Callable[..., SimulatorProcess]) -> None:
        simulator = start(balance="100.00")
        reference = place_with(simulator, complete_after_s=3600, final="cancelled")
        assert balance(simulator) == "OK|68.50"
        simulator.advance(3600)
        assert balance(simulator) == "OK|100.00"
        assert check(simulator, reference) == "OK|3| |İptal Edildi"

    def test_too_low_refuses(self, start: Callable[..., SimulatorProcess]) -> None:
        simulator = start(balance="31.49")
        assert place(simulator, "1") == "3|Bakiye Yetersiz"
        assert events(simulator, "1") == ["asked", "refused"]


class TestProductList:
    def test_holds_only_strings(self, simulator: SimulatorProcess) -> None:
        answer = ask(simulator, "pin_listesi")
        listing = json.loads(answer.body)
        assert answer.headers["Content-Type"] == "application/json"
        assert (listing["success"], listing["error"], len(listing["result"])) == (True, None, 7)
        assert listing["result"][0] == {
            "id": "1",
            "adi": "PUBG Mobile 60 UC",
            "aciklama": "PIN kodu ile teslim edilir",
            "oyun_id": "12",
            "oyun_adi": "PUBG Mobile",
            "fiyat": "31.50",
            "kupur": "60",
            "oyun_bilgi_id": "152",
        }

    def test_can_have_numbers_as_prices(self, simulator: SimulatorProcess) -> None:
        simulator.switch(price_as_number=True)
        row = json.loads(body(simulator, "pin_listesi"))["result"][0]
        assert (row["fiyat"], row["para_birimi"]) == (31.5, "TRY")


class TestPlacing:
    def test_answers_cost_and_balance(self, start: Callable[..., SimulatorProcess]) -> None:
        simulator = start()
        assert place(simulator, "1") == "OK|31.50|99968.50"
        assert events(simulator, "1") == ["asked", "bought", "finished"]

    def test_takes_post_too(self, simulator: SimulatorProcess) -> None:
        reference = new_reference()
        form = urlencode(LOGIN | order(reference)).encode()
        head = (
            "POST /servis/pin_ekle.php HTTP/1.0\r\nContent-Type: application/x-www-form-urlencoded\r\n"
            f"Content-Length: {len(form)}\r\n\r\n"
        )
        assert b"\r\n\r\nOK|31.50|" in talk(simulator, head.encode() + form)

    @pytest.mark.parametrize("recipient", ["ض ığ 1", "a&b=c%20+|\r\n", " 5 "])
    def test_keeps_the_recipient_as_it_came(self, simulator: SimulatorProcess, recipient: str) -> None:
        reference = new_reference()
        place(simulator, reference, oyuncu_bilgi=recipient)
        assert [row["recipient"] for row in simulator.orders() if row["reference"] == reference] == [recipient]

    @pytest.mark.parametrize("product", [{"oyun": "999"}, {"kupur": "61"}, {"kupur": ""}, {"oyun": "88"}])
    def test_refuses_an_unknown_pair(self, simulator: SimulatorProcess, product: dict[str, str]) -> None:
        reference = new_reference()
        assert place(simulator, reference, **product) == "3|Kupur Bilgisi Bulunamadı"
        assert events(simulator, reference) == ["asked", "refused"]

    def test_refuses_a_missing_reference(self, simulator: SimulatorProcess) -> None:
        assert place(simulator, "") == "3|Eksik Parametre"

    def test_is_on_the_disk_when_the_answer_arrives(self, start: Callable[..., SimulatorProcess]) -> None:
        simulator = start()
        place(simulator, "1")
        simulator.kill()
        assert events(simulator, "1") == ["asked", "bought", "finished"]

    def test_charges_another_cost_when_its_fate_says_so(self, simulator: SimulatorProcess) -> None:
        simulator.next_fate(cost="33.10")
        assert place(simulator, new_reference()).startswith("OK|33.10|")

    def test_can_execute_twice(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, executions=2)
        entries = [entry for entry in simulator.truth() if entry.get("reference") == reference]
        counted = summary(entries)
        assert (counted["purchases"], counted["double_executions"]) == (2, 1)
        assert len({row["pin"] for row in counted["rows"]}) == 2

    def test_runs_in_parallel(self, start: Callable[..., SimulatorProcess]) -> None:
        simulator = start()
        references = [str(number) for number in range(1, 101)]
        with ThreadPoolExecutor(20) as pool:
            answers = list(pool.map(lambda reference: place(simulator, reference), references))
        counted = summary(read_truth(simulator.truth_path))
        assert all(answer.startswith("OK|31.50|") for answer in answers)
        assert len(set(answers)) == 100
        assert (counted["asked"], counted["purchases"], counted["double_executions"]) == (100, 100, 0)
        assert balance(simulator) == "OK|96850.00"


def outcome(simulator: SimulatorProcess, reference: str, patience_s: float) -> tuple[int, str] | str:
    """What a client with this patience sees: status and text, or the name of what broke."""
    try:
        answer = ask(simulator, "pin_ekle", order(reference), timeout=patience_s)
        return answer.status, answer.body.decode()
    except TimeoutError:
        return "hang"
    except http.client.RemoteDisconnected:
        return "closed"
    except ConnectionResetError:
        return "reset"
    except http.client.IncompleteRead as cut:
        return "cut after " + cut.partial.decode()


HTML_PAGE = "<!DOCTYPE html><html><head><title>Bakım</title></head><body>Sistem bakımdadır.</body></html>"
PAGE_500 = "<html><body><h1>500 Internal Server Error</h1></body></html>"

EXPECTED: dict[Place, tuple[int, str] | str] = {
    Place.ACCEPT: (200, "OK|0.00|"),
    Place.ACCEPT_THEN_HANG: "hang",
    Place.ACCEPT_THEN_RESET: "reset",
    Place.ACCEPT_THEN_500: (500, PAGE_500),
    Place.ACCEPT_THEN_HTML: (200, HTML_PAGE),
    Place.ACCEPT_THEN_EMPTY: (200, ""),
    Place.ACCEPT_THEN_CUT: "cut after OK|0.00|",
    Place.ACCEPT_THEN_HEADERS: "cut after ",
    Place.ACCEPT_THEN_FLOOD: (200, "flood"),
    Place.ACCEPT_THEN_DRIP: "hang",
    Place.ACCEPT_THEN_CODE_8: (200, "8|Bağlantı Hatası"),
    Place.ACCEPT_THEN_RATE_LIMITED: (429, "too many requests"),
    Place.ACCEPT_THEN_OTHER_ORDER: (200, "OK|"),
    Place.REFUSE: (200, "3|Bakiye Yetersiz"),
    Place.UNLISTED_TEXT: (200, "3|Talebiniz alınamadı, lütfen bayinizle görüşünüz"),
    Place.CODE_8: (200, "8|Bağlantı Hatası"),
    Place.REDIRECT: (302, ""),
    Place.HANG_BEFORE: "hang",
    Place.RESET_BEFORE: "reset",
    Place.ERROR_500_BEFORE: (500, PAGE_500),
    Place.HTML_BEFORE: (200, HTML_PAGE),
    Place.EMPTY_BEFORE: (200, ""),
    Place.RATE_LIMITED: (429, "too many requests"),
}


class TestPlaceFate:
    def test_table_knows_every_one(self) -> None:
        assert set(EXPECTED) == set(Place)

    @pytest.mark.parametrize("fate", [each for each in Place if each != "accept_then_flood"])
    def test_decides_what_is_seen_and_what_is_bought(self, simulator: SimulatorProcess, fate: Place) -> None:
        reference = new_reference()
        simulator.set_fate(reference=reference, place=fate, cost="0.00")
        expected = EXPECTED[fate]
        seen = outcome(simulator, reference, PATIENCE_S if expected == "hang" else 5.0)
        if fate in (Place.ACCEPT, Place.ACCEPT_THEN_OTHER_ORDER):
            assert seen[1].startswith(expected[1])
        elif fate is Place.ACCEPT_THEN_CUT:
            assert str(seen) in ("cut after OK|0.00|", "cut after OK|0.00|9")
        else:
            assert seen == expected
        assert ("bought" in events(simulator, reference)) == fate.startswith("accept")

    def test_can_flood(self, simulator: SimulatorProcess) -> None:
        reference = new_reference()
        simulator.set_fate(reference=reference, place="accept_then_flood")
        with closing(http.client.HTTPConnection("127.0.0.1", simulator.port, timeout=5)) as line:
            line.request("GET", f"/servis/pin_ekle.php?{urlencode(LOGIN | order(reference))}")
            with line.getresponse() as answer:
                assert answer.read(1_000_000) == b"x" * 1_000_000
        assert "bought" in events(simulator, reference)

    @pytest.mark.parametrize(
        ("kind", "text"),
        [
            ("balance", "3|Bakiye Yetersiz"),
            ("product", "3|Aktif Stok Bulunamadı"),
            ("auth", "3|Bayi kodu veya şifre hatalı"),
            ("other", "3|Sistemsel hata. Tekrar deneyiniz."),
        ],
    )
    def test_refuses_in_the_words_of_its_class(self, simulator: SimulatorProcess, kind: str, text: str) -> None:
        simulator.next_fate(place="refuse", refuse_class=kind)
        assert place(simulator, new_reference()) == text

    def test_refuses_in_its_own_words(self, simulator: SimulatorProcess) -> None:
        simulator.next_fate(place="refuse", refuse_text="17|Yetki Yetersiz! Yukleme")
        assert place(simulator, new_reference()) == "17|Yetki Yetersiz! Yukleme"

    def test_redirects_to_where_it_is_told(self, simulator: SimulatorProcess) -> None:
        simulator.next_fate(place="redirect", redirect_to="http://127.0.0.1:9/x")
        assert ask(simulator, "pin_ekle", order(new_reference())).headers["Location"] == "http://127.0.0.1:9/x"

    def test_buys_before_a_late_answer(self, simulator: SimulatorProcess) -> None:
        reference = new_reference()
        simulator.set_fate(reference=reference, answer_delay_s=30)
        assert outcome(simulator, reference, PATIENCE_S) == "hang"
        assert check(simulator, reference).startswith("OK|2|")


class TestFateChoice:
    def test_goes_by_recipient_then_reference_then_queue(self, simulator: SimulatorProcess) -> None:
        reference = new_reference()
        simulator.set_fate(recipient="R1", times=1, place="refuse", refuse_text="3|recipient")
        simulator.set_fate(reference=reference, times=1, place="refuse", refuse_text="3|reference")
        simulator.next_fate(place="refuse", refuse_text="3|next")
        answers = [place(simulator, reference, oyuncu_bilgi="R1") for _ in range(4)]
        assert answers[:3] == ["3|recipient", "3|reference", "3|next"]
        assert answers[3].startswith("OK|31.50|")

    def test_of_a_queue_can_be_for_several_orders(self, simulator: SimulatorProcess) -> None:
        simulator.next_fate(orders=2, place="refuse")
        answers = [place(simulator, new_reference()) for _ in range(3)]
        assert [answer[:2] for answer in answers] == ["3|", "3|", "OK"]

    def test_falls_back_to_the_phone_as_recipient(self, simulator: SimulatorProcess) -> None:
        simulator.set_fate(recipient="5309999999", place="refuse", refuse_text="3|phone")
        assert place(simulator, new_reference(), oyuncu_bilgi="", musteri_tel="5309999999") == "3|phone"

    def test_by_mix_is_the_same_for_the_same_seed(self) -> None:
        one, same, other = (FateBook(seed, "demo") for seed in ("1", "1", "2"))
        references = [str(number) for number in range(300)]
        drawn = [one.choose(reference, "", 0.0) for reference in references]
        assert drawn == [same.choose(reference, "", 0.0) for reference in references]
        assert drawn != [other.choose(reference, "", 0.0) for reference in references]
        assert {fate.place for fate in drawn} == {Place.ACCEPT, Place.REFUSE, Place.ACCEPT_THEN_HANG}


class TestFateText:
    def test_survives_a_round_trip(self) -> None:
        fate = Fate(place=Place.ACCEPT_THEN_CUT, status_faults=(StatusFault.HTML,), status_flip=("3", "1"), pin="a|b")
        assert parse_fate(json.loads(json.dumps(fate_as_json(fate)))) == fate

    def test_checks_every_field(self) -> None:
        assert set(CHECKS) == set(Fate.__dataclass_fields__)

    def test_names_what_is_allowed(self, simulator: SimulatorProcess) -> None:
        with pytest.raises(SimulatorFailed, match=r"unknown key in fate: plce; allowed: answer_delay_s, .*, place, "):
            simulator.next_fate(plce="refuse")

    @pytest.mark.parametrize(
        "raw",
        [
            {"place": "perhaps"},
            {"answer_delay_s": -1},
            {"answer_delay_s": "1"},
            {"executions": 0},
            {"cost": "free"},
            {"pin": 5},
            {"pin_while_waiting": 1},
            {"status_faults": ["unheard"]},
            {"status_faults": "500"},
            [],
        ],
    )
    def test_refuses_a_wrong_value(self, raw: object) -> None:
        with pytest.raises(BadValue):
            parse_fate(raw)


class TestStatus:
    def test_goes_from_waiting_to_a_pin(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, complete_after_s=60, pin="ABCD-1234")
        assert check(simulator, reference) == "OK|1| |İşlemde"
        simulator.advance(61)
        assert check(simulator, reference) == "OK|2|ABCD-1234|Onaylandı"

    def test_can_stay_waiting_for_ever(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, final="never")
        simulator.advance(86400)
        assert check(simulator, reference) == "OK|1| |İşlemde"

    @pytest.mark.parametrize(
        ("form", "text"),
        [
            ("space", "OK|2| |Onaylandı"),
            ("dash", "OK|2|-|Onaylandı"),
            ("spaced_dash", "OK|2| - |Onaylandı"),
            ("empty", "OK|2||Onaylandı"),
        ],
    )
    def test_has_a_blank_pin_in_each_form(self, simulator: SimulatorProcess, form: str, text: str) -> None:
        assert check(simulator, place_with(simulator, pin_blank_form=form)) == text

    def test_of_a_direct_top_up_has_a_space(self, simulator: SimulatorProcess) -> None:
        reference = new_reference()
        place(simulator, reference, **DIRECT)
        assert check(simulator, reference) == "OK|2| |Onaylandı"

    def test_keeps_a_long_pin_byte_for_byte(self, simulator: SimulatorProcess) -> None:
        pin = ('0|07;%+&=\t ض-ığ"\\ ' * 40)[:400]
        assert check(simulator, place_with(simulator, pin=pin)) == f"OK|2|{pin}|Onaylandı"

    def test_keeps_separators_in_the_description(self, simulator: SimulatorProcess) -> None:
        assert check(simulator, place_with(simulator, pin="P", description="a|b||c|")) == "OK|2|P|a|b||c|"

    def test_gives_a_late_pin_after_a_blank_one(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, pin="LATE", pin_late_s=50, pin_blank_form="dash")
        assert check(simulator, reference) == "OK|2|-|Onaylandı"
        simulator.advance(51)
        assert check(simulator, reference) == "OK|2|LATE|Onaylandı"

    def test_gives_a_second_pin(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, pin="ONE", second_pin="TWO", second_pin_after_s=50)
        assert check(simulator, reference) == "OK|2|ONE|Onaylandı"
        simulator.advance(51)
        assert check(simulator, reference) == "OK|2|TWO|Onaylandı"
        row = summary(simulator.truth())["rows"][-1]
        assert (row["pin"], row["pins"]) == ("ONE", ["ONE", "TWO"])

    def test_can_show_the_pin_while_waiting(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, pin="EARLY", pin_while_waiting=True, complete_after_s=60)
        assert check(simulator, reference) == "OK|1|EARLY|İşlemde"

    def test_can_have_the_reason_in_the_pin_field(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, final="cancelled", cancel_text="Hatalı oyuncu", cancel_text_in_pin_field=True)
        assert check(simulator, reference) == "OK|3|Hatalı oyuncu|"

    def test_can_be_cancelled_without_a_word(self, simulator: SimulatorProcess) -> None:
        assert check(simulator, place_with(simulator, final="cancelled", cancel_text="")) == "OK|3| |"

    def test_flips_before_the_truth(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, pin="P", status_flip=["3", "1", "4"])
        answers = [check(simulator, reference) for _ in range(4)]
        assert answers == ["OK|3| |İptal Edildi", "OK|1| |İşlemde", "OK|4| |İşlemde", "OK|2|P|Onaylandı"]

    def test_can_turn_from_cancelled_to_delivered(self, start: Callable[..., SimulatorProcess]) -> None:
        simulator = start(balance="100.00")
        reference = place_with(simulator, final="cancelled", flip_to_delivered_after_s=50, pin="P")
        assert check(simulator, reference) == "OK|3| |İptal Edildi"
        assert balance(simulator) == "OK|100.00"
        simulator.advance(51)
        assert check(simulator, reference) == "OK|2|P|Onaylandı"
        assert balance(simulator) == "OK|68.50"

    def test_is_not_found_until_it_is_visible(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, visible_after_s=30, pin="P")
        assert "bought" in events(simulator, reference)
        assert check(simulator, reference) == "3|Bu referansla işlem yok"
        simulator.advance(31)
        assert check(simulator, reference) == "OK|2|P|Onaylandı"

    def test_answers_faults_one_by_one(self, simulator: SimulatorProcess) -> None:
        faults = ["500", "html", "empty", "not_found", "auth_empty", "auth_text", "unknown_word"]
        reference = place_with(simulator, pin="P", status_faults=faults)
        assert [check(simulator, reference) for _ in range(8)] == [
            PAGE_500,
            HTML_PAGE,
            "",
            "3|Bu referansla işlem yok",
            "",
            "3|Bayi kodu veya şifre hatalı",
            "OK|7| |Sorgulanıyor",
            "OK|2|P|Onaylandı",
        ]

    def test_can_break_the_connection(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, pin="P", status_faults=["reset", "cut", "hang"])
        with pytest.raises(ConnectionResetError, match="reset by peer"):
            check(simulator, reference)
        with pytest.raises(http.client.IncompleteRead):
            check(simulator, reference)
        with pytest.raises(TimeoutError):
            ask(simulator, "pin_kontrol", {"tahsilat_api_islem_id": reference}, timeout=PATIENCE_S)
        assert check(simulator, reference) == "OK|2|P|Onaylandı"

    def test_faults_hold_for_what_was_never_bought(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, place="refuse", status_faults=["500"])
        assert [check(simulator, reference) for _ in range(2)] == [PAGE_500, "3|Bu referansla işlem yok"]

    @pytest.mark.parametrize(
        ("form", "text"),
        [
            ("empty", ""),
            ("3|", "3|Bu referansla işlem yok"),
            ("3:", "3:Bu referansla işlem yok:0"),
            ("OK|3|", "OK|3|Bu referansla işlem yok|"),
        ],
    )
    def test_of_an_unknown_reference_has_each_form(self, simulator: SimulatorProcess, form: str, text: str) -> None:
        simulator.switch(unknown_reference=form)
        assert check(simulator, "404") == text

    def test_says_in_the_ledger_what_was_told(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, status_faults=["500"], status_flip=["1"])
        for _ in range(3):
            check(simulator, reference)
        checked = [entry for entry in simulator.truth() if entry["event"] == "checked"]
        told = [(entry["told"], entry["by"]) for entry in checked if entry["reference"] == reference]
        assert told == [("500", "fault"), ("1", "flip"), ("2", "world")]


class TestRepeat:
    @pytest.mark.parametrize(
        ("policy", "text", "purchases"),
        [
            ("original", "OK|0.00|", 1),
            ("refuse_3", "3|Bu İşlem Daha Önce Gönderildi", 1),
            ("code_8", "8|Bu İşlem Daha Önce Gönderildi", 1),
            ("buys_again", "OK|0.00|", 2),
        ],
    )
    def test_follows_the_policy(self, simulator: SimulatorProcess, policy: str, text: str, purchases: int) -> None:
        simulator.switch(repeat_policy=policy)
        reference = place_with(simulator, cost="0.00")
        assert place(simulator, reference).startswith(text)
        noted = [entry for entry in simulator.truth() if entry.get("reference") == reference]
        assert [entry["done"] for entry in noted if entry["event"] == "repeat"] == [policy]
        assert summary(noted)["purchases"] == purchases

    def test_of_a_refused_order_is_a_new_order(self, simulator: SimulatorProcess) -> None:
        reference = new_reference()
        simulator.set_fate(reference=reference, times=1, place="refuse")
        assert place(simulator, reference) == "3|Bakiye Yetersiz"
        assert place(simulator, reference).startswith("OK|31.50|")


CLONE_A = "OK|3|bayikodu yada sifre  geçersiz|0.00"


class TestBadPassword:
    @pytest.mark.parametrize(
        ("form", "on_balance", "on_place", "on_status"),
        [
            ("document", "", "3|Bayi kodu veya şifre hatalı", "3|Bayi kodu veya şifre hatalı"),
            ("clone_a", CLONE_A, CLONE_A, CLONE_A),
            (
                "clone_b",
                "OK|3|bayikodu yada şifre geçersiz|0.00",
                "OK|3|bayikodu yada şifre geçersiz|0.00",
                "3:Hatalı bayi kodu veya şifre:0",
            ),
        ],
    )
    def test_has_each_form(
        self, simulator: SimulatorProcess, form: str, on_balance: str, on_place: str, on_status: str
    ) -> None:
        simulator.switch(bad_password=form)
        reference = new_reference()
        wrong = {"sifre": "wrong"}
        assert body(simulator, "bakiye_kontrol", **wrong) == on_balance
        assert body(simulator, "pin_ekle", **order(reference), **wrong) == on_place
        assert body(simulator, "pin_kontrol", tahsilat_api_islem_id=reference, **wrong) == on_status
        assert events(simulator, reference) == ["asked", "refused"]

    def test_fails_the_product_list_in_json(self, simulator: SimulatorProcess) -> None:
        listing = json.loads(body(simulator, "pin_listesi", sifre="wrong"))
        assert listing == {"success": False, "result": None, "error": "Bayi kodu veya şifre hatalı"}

    def test_can_be_told_of_a_right_one_on_status_only(self, simulator: SimulatorProcess) -> None:
        simulator.switch(auth_fails_on=["pin_kontrol"])
        assert balance(simulator).startswith("OK|")
        assert check(simulator, "1") == "3|Bayi kodu veya şifre hatalı"

    def test_uses_up_no_script(self, simulator: SimulatorProcess) -> None:
        simulator.next_fate(place="refuse", refuse_text="3|kept")
        place(simulator, new_reference(), sifre="wrong")
        assert place(simulator, new_reference()) == "3|kept"


class TestEncoding:
    @pytest.mark.parametrize(
        ("encoding", "content_type", "raw"),
        [
            ("utf-8", "text/html; charset=utf-8", "OK|2|A B|Onaylandı".encode()),
            ("utf-8-no-charset", "text/html", "OK|2|A B|Onaylandı".encode()),
            ("cp1254", "text/html; charset=windows-1254", "OK|2|A B|Onaylandı".encode("cp1254")),
            ("cp1254-no-charset", "text/html", "OK|2|A B|Onaylandı".encode("cp1254")),
            ("urlencoded", "text/html; charset=utf-8", b"OK|2|A+B|Onayland%C4%B1"),
        ],
    )
    def test_has_exactly_these_bytes(
        self, simulator: SimulatorProcess, encoding: str, content_type: str, raw: bytes
    ) -> None:
        reference = place_with(simulator, pin="A B")
        simulator.switch(encoding=encoding)
        answer = ask(simulator, "pin_kontrol", {"tahsilat_api_islem_id": reference})
        assert (answer.headers["Content-Type"], answer.body) == (content_type, raw)

    def test_keeps_a_separator_of_a_urlencoded_pin(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, pin="a|b+c%d")
        simulator.switch(encoding="urlencoded")
        assert unquote_plus(check(simulator, reference).split("|")[2]) == "a|b+c%d"


class TestDown:
    def test_answers_html_or_nothing(self, simulator: SimulatorProcess) -> None:
        simulator.switch(down="html")
        answer = ask(simulator, "bakiye_kontrol")
        assert (answer.status, answer.body.decode()) == (503, HTML_PAGE)
        simulator.switch(down="empty")
        assert balance(simulator) == ""

    def test_can_hang(self, simulator: SimulatorProcess) -> None:
        simulator.switch(down="hang")
        with pytest.raises(TimeoutError):
            ask(simulator, "bakiye_kontrol", timeout=PATIENCE_S)

    def test_can_refuse_connections_until_told_otherwise(self, simulator: SimulatorProcess) -> None:
        simulator.switch(down="refuse")
        with pytest.raises(ConnectionRefusedError):
            balance(simulator)
        simulator.switch(down=None)
        assert balance(simulator).startswith("OK|")

    def test_ends_by_itself(self, simulator: SimulatorProcess) -> None:
        simulator.switch(down="hang", down_for_s=0.8)
        with pytest.raises(TimeoutError):
            ask(simulator, "bakiye_kontrol", timeout=0.1)
        answers = (try_balance(simulator) for _ in range(50))
        assert next(answer for answer in answers if answer is not None).startswith("OK|")


def try_balance(simulator: SimulatorProcess) -> str | None:
    try:
        return ask(simulator, "bakiye_kontrol", timeout=0.1).body.decode()
    except TimeoutError:
        return None


class TestConnection:
    def test_is_kept_alive(self, simulator: SimulatorProcess) -> None:
        question = f"GET /servis/bakiye_kontrol.php?{urlencode(LOGIN)} HTTP/1.{{}}\r\n\r\n"
        assert talk(simulator, (question.format(1) * 2 + question.format(0)).encode()).count(b"\r\n\r\nOK|") == 3

    def test_answers_exactly_these_bytes(self, start: Callable[..., SimulatorProcess]) -> None:
        simulator = start(balance="5.00")
        raw = f"GET /servis/bakiye_kontrol.php?{urlencode(LOGIN)} HTTP/1.0\r\n\r\n".encode()
        assert talk(simulator, raw) == (
            b"HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
            b"Content-Length: 7\r\nConnection: close\r\n\r\nOK|5.00"
        )

    @pytest.mark.parametrize(
        "raw",
        [
            b"nonsense\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon\r\n\r\n",
            b"POST /servis/pin_ekle.php HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
            b"POST /servis/pin_ekle.php HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
        ],
    )
    def test_refuses_what_is_no_request(self, simulator: SimulatorProcess, raw: bytes) -> None:
        assert talk(simulator, raw).startswith(b"HTTP/1.1 400 Bad Request\r\n")

    def test_knows_no_other_page(self, simulator: SimulatorProcess) -> None:
        assert ask(simulator, "fatura_ekle").status == 404

    def test_can_be_reset_for_everyone_but_control(self, simulator: SimulatorProcess) -> None:
        simulator.reset_connections()
        with socket.create_connection(("127.0.0.1", simulator.port), timeout=5) as line:
            line.sendall(f"GET /servis/bakiye_kontrol.php?{urlencode(LOGIN)} HTTP/1.1\r\n\r\n".encode())
            assert line.recv(65536).startswith(b"HTTP/1.1 200 OK")
            assert simulator.reset_connections() == 1
            assert simulator.ping()["ok"]
            with pytest.raises(ConnectionResetError):
                line.recv(1)


def talk(simulator: SimulatorProcess, raw: bytes) -> bytes:
    """Send raw bytes and read until the other side closes."""
    with socket.create_connection(("127.0.0.1", simulator.port), timeout=5) as line:
        line.sendall(raw)
        return b"".join(iter(lambda: line.recv(65536), b""))


class TestControl:
    def test_shows_the_orders(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, pin="P", complete_after_s=60)
        row = next(row for row in simulator.orders() if row["reference"] == reference)
        assert (row["state"], row["pin"], row["cost"], row["recipient"]) == ("waiting", None, "31.50", "51234567")

    def test_finishes_an_order_either_way(self, simulator: SimulatorProcess) -> None:
        reference = place_with(simulator, pin="P", final="never")
        assert simulator.finish(reference)["pin"] == "P"
        assert check(simulator, reference) == "OK|2|P|Onaylandı"
        assert simulator.finish(reference, "cancelled")["state"] == "cancelled"
        assert check(simulator, reference) == "OK|3| |İptal Edildi"

    @pytest.mark.parametrize(
        ("name", "request_body"),
        [
            ("fates", {"fate": {}}),
            ("fates", {"fate": {}, "next": True, "reference": "1"}),
            ("fates", {"next": True}),
            ("switches", {"repeat_policy": "sometimes"}),
            ("switches", {"colour": "red"}),
            ("advance", {"seconds": -5}),
            ("finish", {"reference": "nobody", "final": "delivered"}),
        ],
    )
    def test_refuses_out_loud(self, simulator: SimulatorProcess, name: str, request_body: dict[str, Any]) -> None:
        with pytest.raises(SimulatorFailed, match=r"^(unknown key|give a fate|no purchase|[a-z_]+: must be)"):
            simulator.call("POST", name, request_body)

    def test_refuses_what_is_no_json(self, simulator: SimulatorProcess) -> None:
        raw = b"POST /_control/fates HTTP/1.0\r\nContent-Length: 1\r\n\r\n{"
        assert talk(simulator, raw).startswith(b"HTTP/1.1 400 ")

    def test_is_not_offered_to_other_machines(self, tmp_path: Path) -> None:
        command = [sys.executable, "-m", "apps.simulator", "--truth", str(tmp_path / "t"), "--host", "0.0.0.0"]
        ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=10, check=False)
        assert (ended.returncode, ended.stdout) == (2, "")
        assert "loopback" in ended.stderr


class TestLedger:
    def test_syncs_all_but_status_questions(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        synced: list[int] = []
        monkeypatch.setattr(os, "fsync", synced.append)
        truth = Ledger(tmp_path / "truth.jsonl")
        truth.record("checked", 1.0, reference="1")
        truth.sync()
        assert synced == []
        truth.record("bought", 1.0, reference="1")
        truth.sync()
        truth.sync()
        assert len(synced) == 1
        truth.close()

    def test_forgets_a_torn_last_line(self, tmp_path: Path) -> None:
        path = tmp_path / "truth.jsonl"
        path.write_bytes(b'{"n":1,"at":1.0,"event":"asked"}\n{"n":2,"at":1.0,"ev')
        assert [entry["n"] for entry in read_truth(path)] == [1]
        truth = Ledger(path)
        truth.record("asked", 2.0)
        truth.close()
        assert [entry["n"] for entry in read_truth(path)] == [1, 2]

    def test_of_nobody_is_empty(self, tmp_path: Path) -> None:
        assert ledger_module.summary(read_truth(tmp_path / "none")) == {
            "asked": 0,
            "purchases": 0,
            "refused": 0,
            "repeats": 0,
            "checked": 0,
            "double_executions": 0,
            "rows": [],
        }

    def test_summary_has_a_row_per_purchase(self, start: Callable[..., SimulatorProcess]) -> None:
        simulator = start()
        place_with(simulator, pin="P")
        row = summary(read_truth(simulator.truth_path))["rows"][0]
        wanted = {"product": "152", "kupur": "60", "recipient": "51234567", "cost": "31.50", "pin": "P"}
        assert {key: row[key] for key in wanted} == wanted
        assert (row["state"], row["bought_at"]) == ("delivered", row["finished_at"])


class TestRestart:
    def test_knows_the_old_world(self, start: Callable[..., SimulatorProcess]) -> None:
        before = start(balance="1000.00")
        delivered = place_with(before, pin="DONE")
        waiting = place_with(before, pin="LATER", complete_after_s=100, second_pin_after_s=10, second_pin="TWO")
        cancelled = place_with(before, final="cancelled")
        faulty = place_with(before, pin="F", status_faults=["500", "html"])
        check(before, faulty)
        before.advance(50)
        assert before.stop() == 0
        after = start()
        assert balance(after) == "OK|905.50"
        assert [check(after, reference) for reference in (delivered, waiting, cancelled)] == [
            "OK|2|DONE|Onaylandı",
            "OK|1| |İşlemde",
            "OK|3| |İptal Edildi",
        ]
        assert [check(after, faulty) for _ in range(2)] == [HTML_PAGE, "OK|2|F|Onaylandı"]
        after.advance(51)
        assert check(after, waiting) == "OK|2|LATER|Onaylandı"
        after.advance(10)
        assert check(after, waiting) == "OK|2|TWO|Onaylandı"
        assert place(after, delivered) == "OK|31.50|968.50"

    def test_after_a_kill_numbers_go_on(self, start: Callable[..., SimulatorProcess]) -> None:
        before = start()
        place(before, "1")
        before.kill()
        after = start()
        place(after, "2")
        numbers = [entry["n"] for entry in after.truth()]
        assert numbers == list(range(1, len(numbers) + 1))
        assert [row["reference"] for row in after.orders()] == ["1", "2"]


class TestProcess:
    def test_ends_with_its_standard_input(self, start: Callable[..., SimulatorProcess]) -> None:
        process = start().process
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(5) == 0

    @pytest.mark.skipif(os.name == "nt", reason="Windows has no polite signal")
    def test_ends_cleanly_on_a_signal(self, start: Callable[..., SimulatorProcess]) -> None:
        process = start().process
        process.terminate()
        assert process.wait(5) == 0
