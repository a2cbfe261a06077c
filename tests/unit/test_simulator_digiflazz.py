"""Digiflazz over real sockets: its document, and each side of what the document leaves open."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from typing import Any

import pytest

from apps.simulator.client import SimulatorProcess
from apps.simulator.probe import get, post
from apps.simulator.rawline import exchange

CODES, TOP_UP = "gp50", "xld10"

_numbers = itertools.count(10_000_001)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path_factory.mktemp("digiflazz") / "truth.jsonl", dialect="digiflazz") as process:
        yield process


@pytest.fixture
def seller(shared: SimulatorProcess) -> Iterator[SimulatorProcess]:
    defaults = shared.call("GET", "switches")
    yield shared
    shared.switch(**defaults)


def sign_of(text: str) -> str:
    return hashlib.md5(f"demodemo-secret{text}".encode()).hexdigest()  # noqa: S324 (the protocol's own)


def send(seller: SimulatorProcess, path: str, signed: str, **body: object) -> tuple[int, Any]:
    """The status and what is wrapped in `data`."""
    document = {"username": "demo", "sign": sign_of(signed), **body}
    heard = exchange(seller.port, post(f"/v1/{path}", json.dumps(document).encode(), "application/json"), 5.0)
    return heard.status, json.loads(heard.body)["data"]


def new_order(sku: str = CODES) -> dict[str, str]:
    number = next(_numbers)
    return {"buyer_sku_code": sku, "customer_no": f"0878{number}", "ref_id": f"R-{number}"}


def buy(seller: SimulatorProcess, order: dict[str, str], **more: object) -> Any:
    return send(seller, "transaction", str(order["ref_id"]), **(order | more))[1]


def buy_with(seller: SimulatorProcess, sku: str = CODES, /, **fate: Any) -> tuple[dict[str, str], Any]:
    """Orders once with this fate; the order and the answer."""
    order = new_order(sku)
    seller.set_fate(reference=order["ref_id"], **fate)
    return order, buy(seller, order)


def bought(seller: SimulatorProcess, order: dict[str, str]) -> list[dict[str, Any]]:
    return [row for row in seller.orders() if row["reference"] == order["ref_id"]]


class TestATransaction:
    def test_is_told_with_every_field_of_the_document(self, seller: SimulatorProcess) -> None:
        order = new_order()
        told = buy(seller, order)
        (row,) = bought(seller, order)
        assert told == {
            **order,
            "message": "Transaksi Sukses",
            "status": "Sukses",
            "rc": "00",
            "sn": row["pins"][0],
            "buyer_last_saldo": told["buyer_last_saldo"],
            "price": 51250,
            "tele": "@demo",
            "wa": "081234512345",
        }
        assert type(told["buyer_last_saldo"]) is float

    @pytest.mark.parametrize(
        ("fate", "status", "rc"),
        [
            ({"complete_after_s": 900}, "Pending", "03"),
            ({"final": "never"}, "Pending", "03"),
            ({"final": "delivered"}, "Sukses", "00"),
            ({"final": "cancelled"}, "Gagal", "02"),
            ({"final": "reversed"}, "Gagal", "74"),
        ],
    )
    def test_has_a_word_and_a_code_for_each_state(
        self, seller: SimulatorProcess, fate: dict[str, Any], status: str, rc: str
    ) -> None:
        order, told = buy_with(seller, **fate)
        assert (told["status"], told["rc"]) == (status, rc)
        again = buy(seller, order)
        assert (again["status"], again["rc"], len(bought(seller, order))) == (status, rc, 1)

    def test_may_say_that_its_router_is_in_trouble(self, seller: SimulatorProcess) -> None:
        seller.switch(router_trouble=True)
        _, told = buy_with(seller, complete_after_s=900)
        assert (told["status"], told["rc"]) == ("Pending", "99")

    def test_says_a_word_that_no_document_knows(self, seller: SimulatorProcess) -> None:
        order, _ = buy_with(seller, status_faults=["unknown_word"])
        told = buy(seller, order)
        assert (told["status"], told["rc"]) == ("Diproses", "98")

    def test_of_a_top_up_has_a_serial_number_that_is_no_code(self, seller: SimulatorProcess) -> None:
        order = new_order(TOP_UP)
        told = buy(seller, order)
        (row,) = bought(seller, order)
        assert (told["sn"], row["pins"]) == (row["order_id"], [])

    def test_may_hold_its_code_in_a_slashed_text(self, seller: SimulatorProcess) -> None:
        seller.switch(serial_form="slashed")
        order, told = buy_with(seller, pin="1234-5678")
        assert told["sn"] == "1234-5678/DEMO/R1/900/32,1"
        assert bought(seller, order)[0]["pins"] == ["1234-5678"]

    @pytest.mark.parametrize(("form", "text"), [("dash", "-"), ("space", " "), ("spaced_dash", " - "), ("empty", "")])
    def test_may_have_nothing_for_a_code(self, seller: SimulatorProcess, form: str, text: str) -> None:
        assert buy_with(seller, pin_blank_form=form)[1]["sn"] == text

    def test_says_why_it_failed(self, seller: SimulatorProcess) -> None:
        assert buy_with(seller, final="cancelled", cancel_text="Nomor salah")[1]["message"] == "Nomor salah"


class TestTheSameReferenceAgain:
    def test_tells_the_state_and_sells_nothing(self, seller: SimulatorProcess) -> None:
        order, first = buy_with(seller, complete_after_s=900)
        seller.advance(901)
        assert (first["rc"], buy(seller, order)["rc"], len(bought(seller, order))) == ("03", "00", 1)

    @pytest.mark.parametrize("other", [{"buyer_sku_code": TOP_UP}, {"customer_no": "0878999"}])
    def test_for_something_else_is_not_unique(self, seller: SimulatorProcess, other: dict[str, str]) -> None:
        order, _ = buy_with(seller)
        told = buy(seller, order, **other)
        assert (told["rc"], told["status"], len(bought(seller, order))) == ("49", "Gagal", 1)
        assert {name: told[name] for name in order} == order | other

    def test_for_something_else_may_tell_the_first_order(self, seller: SimulatorProcess) -> None:
        seller.switch(reused="first_order")
        order, first = buy_with(seller)
        told = buy(seller, order, buyer_sku_code=TOP_UP)
        assert (told, len(bought(seller, order))) == (first, 1)

    @pytest.mark.parametrize(("age_s", "purchases"), [(90 * 86400 - 10, 1), (90 * 86400, 2)])
    def test_buys_anew_after_ninety_days(self, seller: SimulatorProcess, age_s: float, purchases: int) -> None:
        order, _ = buy_with(seller)
        seller.advance(age_s)
        buy(seller, order)
        assert len(bought(seller, order)) == purchases

    def test_of_an_order_that_is_not_seen_yet_is_not_found(self, seller: SimulatorProcess) -> None:
        order, _ = buy_with(seller, visible_after_s=60)
        told = buy(seller, order)
        assert (told["rc"], told["ref_id"], len(bought(seller, order))) == ("50", order["ref_id"], 1)

    def test_of_a_refused_order_is_a_new_try(self, seller: SimulatorProcess) -> None:
        order = new_order()
        assert buy(seller, order, max_price=1)["rc"] == "69"
        assert buy(seller, order)["rc"] == "00"


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "rc"),
        [
            ({"username": "else"}, "42"),
            ({"sign": "0" * 32}, "41"),
            ({"sign": 7}, "41"),
            ({"buyer_sku_code": "none"}, "43"),
            ({"max_price": 51249}, "69"),
            ({"max_price": "x"}, "40"),
            ({"customer_no": ""}, "40"),
            ({"customer_no": 878}, "40"),
            ({"commands": "pay-pasca"}, "40"),
        ],
    )
    def test_have_their_code_and_buy_nothing(self, seller: SimulatorProcess, changes: dict[str, Any], rc: str) -> None:
        order = new_order()
        told = buy(seller, order, **changes)
        assert (told["rc"], told["status"], told["ref_id"]) == (rc, "Gagal", order["ref_id"])
        assert bought(seller, order) == []

    def test_a_limit_that_the_price_keeps_is_none(self, seller: SimulatorProcess) -> None:
        assert buy(seller, new_order(), max_price=51250)["rc"] == "00"

    @pytest.mark.parametrize(
        ("refuse_class", "rc"), [("balance", "44"), ("product", "68"), ("auth", "41"), ("other", "49")]
    )
    def test_come_by_fate(self, seller: SimulatorProcess, refuse_class: str, rc: str) -> None:
        order, told = buy_with(seller, place="refuse", refuse_class=refuse_class)
        assert (told["rc"], told["ref_id"], bought(seller, order)) == (rc, order["ref_id"], [])

    def test_may_be_any_text(self, seller: SimulatorProcess) -> None:
        _, told = buy_with(seller, place="refuse", refuse_text="85|Limitasi Transaksi")
        assert (told["rc"], told["message"]) == ("85", "Limitasi Transaksi")

    def test_of_the_same_product_on_one_day_unless_it_is_multi_or_has_the_prefix(
        self, seller: SimulatorProcess
    ) -> None:
        seller.switch(once_a_day=True)
        first, second, third = (new_order(TOP_UP) for _ in range(3))
        assert buy(seller, first)["rc"] == "00"
        assert buy(seller, second, customer_no=first["customer_no"])["rc"] == "63"
        assert buy(seller, third, customer_no=f"2.{first['customer_no']}")["rc"] == "00"
        seller.advance(86400)
        assert buy(seller, second, customer_no=first["customer_no"])["rc"] == "00"
        multi, again = new_order(), new_order()
        assert [buy(seller, multi)["rc"], buy(seller, again, customer_no=multi["customer_no"])["rc"]] == ["00", "00"]

    @pytest.mark.parametrize(("statuses", "status"), [("always_200", 200), ("failed_400", 400)])
    def test_have_the_status_of_the_switch(self, seller: SimulatorProcess, statuses: str, status: int) -> None:
        seller.switch(http_statuses=statuses)
        order = new_order("none")
        assert send(seller, "transaction", str(order["ref_id"]), **order)[0] == status
        failed = new_order()
        seller.set_fate(reference=failed["ref_id"], final="cancelled")
        assert send(seller, "transaction", str(failed["ref_id"]), **failed)[0] == status
        good = new_order()
        assert send(seller, "transaction", str(good["ref_id"]), **good)[0] == 200

    def test_are_whole_requests_only(self, seller: SimulatorProcess) -> None:
        for raw in (get("/v1/transaction", {}), post("/v1/transaction", b"[]", "application/json")):
            assert exchange(seller.port, raw, 5.0).status == 400


class TestTheOtherAddresses:
    def test_the_deposit_is_a_number(self, seller: SimulatorProcess) -> None:
        before = send(seller, "cek-saldo", "depo", cmd="deposit")[1]["deposit"]
        buy(seller, new_order())
        after = send(seller, "cek-saldo", "depo", cmd="deposit")[1]["deposit"]
        assert (type(after), before - after) == (float, 51250)

    def test_the_price_list_tells_products(self, seller: SimulatorProcess) -> None:
        status, rows = send(seller, "price-list", "pricelist", cmd="prepaid")
        assert (status, [row["buyer_sku_code"] for row in rows]) == (200, ["gp50", "pln20", "xld10", "ml86"])
        assert (rows[2]["price"], rows[2]["multi"], rows[2]["start_cut_off"]) == (10500, False, "23:45")

    @pytest.mark.parametrize(
        ("wanted", "skus"),
        [
            ({"code": "ml86"}, ["ml86"]),
            ({"brand": "PLN"}, ["pln20"]),
            ({"category": "Pulsa", "type": "Umum"}, ["xld10"]),
            ({"cmd": "pasca"}, []),
        ],
    )
    def test_the_price_list_tells_some(self, seller: SimulatorProcess, wanted: dict[str, str], skus: list[str]) -> None:
        rows = send(seller, "price-list", "pricelist", **({"cmd": "prepaid"} | wanted))[1]
        assert [row["buyer_sku_code"] for row in rows] == skus

    def test_the_whole_price_list_is_limited(self, seller: SimulatorProcess) -> None:
        seller.switch(list_limited=True)
        assert send(seller, "price-list", "pricelist", cmd="prepaid")[1]["rc"] == "83"
        assert len(send(seller, "price-list", "pricelist", cmd="prepaid", code="ml86")[1]) == 1

    @pytest.mark.parametrize(("path", "signed"), [("cek-saldo", "depo"), ("price-list", "pricelist")])
    def test_want_their_own_sign_and_command(self, seller: SimulatorProcess, path: str, signed: str) -> None:
        assert send(seller, path, "other", cmd="deposit")[1]["rc"] == "41"
        assert send(seller, path, signed, cmd="other")[1]["rc"] == "40"
        assert send(seller, path, signed, username="else")[1]["rc"] == "42"
