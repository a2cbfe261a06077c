"""An SMM panel over real sockets, each side of every disagreement between panels."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import pytest

from apps.simulator.client import SimulatorProcess
from apps.simulator.dialects.smm_v2 import Cancelled, MoneyForm, StartCount, Waiting
from apps.simulator.probe import get, post
from apps.simulator.rawline import exchange

FORM = "application/x-www-form-urlencoded"
_links = itertools.count(1)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path_factory.mktemp("smm") / "truth.jsonl", dialect="smm_v2") as process:
        yield process


@pytest.fixture
def panel(shared: SimulatorProcess) -> Iterator[SimulatorProcess]:
    defaults = shared.call("GET", "switches")
    yield shared
    shared.switch(**defaults)


def send(panel: SimulatorProcess, action: str, /, agent: str = "python", **fields: str) -> bytes:
    form = urlencode({"key": "demo-key", "action": action} | fields).encode()
    return exchange(panel.port, post("/api/v2", form, FORM, {"User-Agent": agent}), 5.0).body


def ask(panel: SimulatorProcess, action: str, **fields: str) -> Any:
    return json.loads(send(panel, action, **fields))


def link() -> str:
    return f"https://example.invalid/{next(_links)}"


def add(panel: SimulatorProcess, /, quantity: str = "100", **fate: Any) -> str:
    """One order with this fate; returns its number."""
    to = link()
    panel.set_fate(recipient=to, **fate)
    return str(ask(panel, "add", service="1", link=to, quantity=quantity)["order"])


class TestOrders:
    def test_get_a_number_and_cost_the_rate_of_a_thousand(self, panel: SimulatorProcess) -> None:
        before = Decimal(ask(panel, "balance")["balance"])
        assert add(panel).isdigit()
        assert before - Decimal(ask(panel, "balance")["balance"]) == Decimal("0.09")

    def test_are_two_when_sent_twice(self, panel: SimulatorProcess) -> None:
        fields = {"service": "1", "link": link(), "quantity": "5"}
        assert ask(panel, "add", **fields) != ask(panel, "add", **fields)

    def test_of_comments_count_their_lines(self, panel: SimulatorProcess) -> None:
        before = Decimal(ask(panel, "balance")["balance"])
        ask(panel, "add", service="2", link=link(), comments="one\ntwo\n\nthree")
        assert before - Decimal(ask(panel, "balance")["balance"]) == Decimal("0.024")

    @pytest.mark.parametrize(
        ("fields", "key", "sentence"),
        [
            ({"service": "9"}, "neworder.error.service_not_found", "error.incorrect_service_id"),
            ({"link": ""}, "neworder.error.invalid_link", "Invalid link"),
            ({"quantity": "10001"}, "neworder.error.invalid_quantity", "Quantity is less than minimal or more"),
            ({"quantity": "-1"}, "neworder.error.invalid_quantity", "Quantity is less than minimal or more"),
            ({"quantity": "١"}, "neworder.error.invalid_quantity", "Quantity is less than minimal or more"),
            ({"key": "wrong"}, "Invalid API key", "Invalid API key"),
        ],
    )
    def test_are_refused_in_both_forms(
        self, panel: SimulatorProcess, fields: dict[str, str], key: str, sentence: str
    ) -> None:
        order = {"service": "1", "link": link(), "quantity": "5"} | fields
        bought = len(panel.orders())
        assert ask(panel, "add", **order) == {"error": key}
        panel.switch(error_form="sentences")
        assert ask(panel, "add", **order)["error"].startswith(sentence)
        assert len(panel.orders()) == bought

    def test_are_one_per_link_where_the_panel_says_so(self, panel: SimulatorProcess) -> None:
        panel.switch(one_order_per_link=True)
        fields = {"service": "1", "link": link(), "quantity": "5"}
        panel.set_fate(recipient=fields["link"], final="never")
        number = str(ask(panel, "add", **fields)["order"])
        assert ask(panel, "add", **fields) == {"error": "neworder.error.link_duplicate"}
        panel.finish(order_id=number)
        assert "order" in ask(panel, "add", **fields)

    def test_may_be_numbered_in_text(self, panel: SimulatorProcess) -> None:
        panel.switch(order_as_text=True)
        assert isinstance(ask(panel, "add", service="1", link=link(), quantity="5")["order"], str)

    def test_are_taken_by_post_only(self, panel: SimulatorProcess) -> None:
        bought = len(panel.orders())
        order = {"key": "demo-key", "action": "add", "service": "1", "link": link(), "quantity": "5"}
        answer = exchange(panel.port, get("/api/v2", order), 5.0).body
        assert json.loads(answer) == {"error": "Incorrect request"}
        assert len(panel.orders()) == bought


class TestStates:
    def test_of_a_partial_order_name_what_remains_and_what_is_kept(self, panel: SimulatorProcess) -> None:
        told = ask(panel, "status", order=add(panel, final="partial", delivered="40"))
        assert (told["status"], told["remains"], told["charge"]) == ("Partial", "60", "0.036")

    @pytest.mark.parametrize("spelling", Cancelled)
    def test_of_a_cancelled_order_are_spelt_as_the_panel_does(
        self, panel: SimulatorProcess, spelling: Cancelled
    ) -> None:
        panel.switch(cancelled=spelling)
        told = ask(panel, "status", order=add(panel, final="cancelled"))
        assert (told["status"], told["remains"], told["charge"]) == (spelling, "100", "0")

    @pytest.mark.parametrize("spelling", Waiting)
    def test_of_an_order_in_work_are_spelt_as_the_panel_does(self, panel: SimulatorProcess, spelling: Waiting) -> None:
        panel.switch(waiting=spelling)
        assert ask(panel, "status", order=add(panel, final="never"))["status"] == spelling

    @pytest.mark.parametrize(("form", "told"), [("text", str), ("null", type(None)), ("empty", str)])
    def test_may_have_no_start_count(self, panel: SimulatorProcess, form: StartCount, told: type) -> None:
        panel.switch(start_count=form)
        count = ask(panel, "status", order=add(panel))["start_count"]
        assert isinstance(count, told)
        assert (count == "") is (form == "empty")

    @pytest.mark.parametrize(
        ("form", "charge"), [("text", '"0.09"'), ("number", "0.09"), ("long_text", '"0.0900000000"')]
    )
    def test_tell_money_in_every_form(self, panel: SimulatorProcess, form: MoneyForm, charge: str) -> None:
        panel.switch(money_form=form)
        assert f'"charge":{charge},'.encode() in send(panel, "status", order=add(panel))

    def test_of_many_are_keyed_by_number_each_error_with_its_own(self, panel: SimulatorProcess) -> None:
        first, second = add(panel), add(panel, final="never")
        told = ask(panel, "status", orders=f"{second},999, {first},{first}")
        assert list(told) == [second, "999", first]
        assert told["999"] == {"error": "Incorrect order ID"}
        assert (told[first]["status"], told[second]["status"]) == ("Completed", "In progress")

    def test_are_told_for_a_hundred_at_most(self, panel: SimulatorProcess) -> None:
        assert len(ask(panel, "status", orders=",".join(map(str, range(150))))) == 100

    def test_of_an_unknown_order_are_an_error(self, panel: SimulatorProcess) -> None:
        assert ask(panel, "status", order="1") == {"error": "Incorrect order ID"}


class TestTheRest:
    def test_lists_services_with_rates_in_text(self, panel: SimulatorProcess) -> None:
        listed = ask(panel, "services")
        assert [(row["service"], row["rate"], row["min"], row["max"]) for row in listed] == [
            (1, "0.90", "1", "10000"),
            (2, "8", "1", "1500"),
            (3, "0.27819", "100", "500000"),
        ]

    def test_cancels_what_is_in_work_and_gives_the_money_back(self, panel: SimulatorProcess) -> None:
        before = ask(panel, "balance")
        waiting = add(panel, final="never")
        done = add(panel, cost="0")
        assert ask(panel, "cancel", orders=f"{waiting},{done},7") == [
            {"order": int(waiting), "cancel": 1},
            {"order": int(done), "cancel": {"error": "Order cannot be cancelled"}},
            {"order": "7", "cancel": {"error": "Incorrect order ID"}},
        ]
        assert ask(panel, "balance") == before

    def test_shows_programs_a_page_behind_a_shield(self, panel: SimulatorProcess) -> None:
        panel.switch(html_shield=True)
        bought = len(panel.orders())
        assert send(panel, "add", service="1", link=link(), quantity="5").startswith(b"<!DOCTYPE html>")
        assert len(panel.orders()) == bought
        assert b'"currency":"USD"' in send(panel, "balance", "Mozilla/5.0")

    @pytest.mark.parametrize("action", ["", "refill", "nonsense"])
    def test_says_that_an_action_is_unknown(self, panel: SimulatorProcess, action: str) -> None:
        assert ask(panel, action) == {"error": "Incorrect request"}

    @pytest.mark.parametrize("action", ["services", "status", "balance", "cancel"])
    def test_tells_a_stranger_nothing(self, panel: SimulatorProcess, action: str) -> None:
        assert ask(panel, action, key="wrong") == {"error": "Invalid API key"}
