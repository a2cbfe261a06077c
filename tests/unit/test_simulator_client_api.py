"""The client API over real sockets: what its document says, and each clone's side of every disagreement."""

from __future__ import annotations

import itertools
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest

from apps.simulator.client import SimulatorProcess
from apps.simulator.probe import get, post
from apps.simulator.rawline import exchange

TOKEN = {"api-token": "demo-secret"}
DIRECT, CODES, AMOUNT, LISTED, OFF = "101", "102", "103", "104", "105"

_players = itertools.count(10_000_001)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path_factory.mktemp("client") / "truth.jsonl", dialect="client_api") as process:
        yield process


@pytest.fixture
def store(shared: SimulatorProcess) -> Iterator[SimulatorProcess]:
    defaults = shared.call("GET", "switches")
    yield shared
    shared.switch(**defaults)


def send(
    store: SimulatorProcess, path: str, params: dict[str, str], headers: dict[str, str] = TOKEN
) -> tuple[int, Any]:
    heard = exchange(store.port, get(f"/client_api/client/api/{path}", params, headers), 5.0)
    return heard.status, json.loads(heard.body)


def order(store: SimulatorProcess, product: str = DIRECT, **params: str) -> Any:
    """The answer to a new order, which has a uuid and a player of its own unless `params` give others."""
    usual = {"qty": "1", "order_uuid": str(uuid.uuid4()), "playerId": str(next(_players))}
    return send(store, f"newOrder/{product}/params", usual | params)[1]


def order_with(store: SimulatorProcess, product: str = CODES, /, **fate: Any) -> tuple[str, Any]:
    """Orders once with this fate; the uuid and the answer."""
    reference = str(uuid.uuid4())
    store.set_fate(reference=reference, **fate)
    return reference, order(store, product, order_uuid=reference)


def check(store: SimulatorProcess, *references: str) -> list[Any]:
    rows: list[Any] = send(store, "check", {"orders": f"[{','.join(references)}]", "uuid": "1"})[1]["data"]
    return rows


def bought(store: SimulatorProcess, reference: str) -> int:
    return sum(row["reference"] == reference for row in store.orders())


class TestAccount:
    def test_has_a_balance_as_text_with_three_decimals(self, store: SimulatorProcess) -> None:
        status, told = send(store, "profile", {})
        assert (status, set(told)) == (200, {"balance", "email", "towFactor"})
        assert len(told["balance"].partition(".")[2]) == 3

    @pytest.mark.parametrize(("token", "code"), [("", 120), ("wrong", 121)])
    @pytest.mark.parametrize("path", ["profile", "products", "content/0", "check", f"newOrder/{DIRECT}/params"])
    def test_is_closed_without_its_token(self, store: SimulatorProcess, path: str, token: str, code: int) -> None:
        status, told = send(store, path, {"order_uuid": str(uuid.uuid4())}, {"api-token": token} if token else {})
        assert (status, told["status"], told["code"]) == (200, "ERROR", code)


class TestProducts:
    def test_are_a_bare_list(self, store: SimulatorProcess) -> None:
        rows = send(store, "products", {})[1]
        assert [row["id"] for row in rows] == [101, 102, 103, 104, 105]
        assert (rows[0]["price"], rows[0]["params"], rows[0]["qty_values"]) == (0.94536, ["playerId"], None)
        assert [row["qty_values"] for row in rows[1:4]] == [
            {"min": 1, "max": "10"},
            {"min": "100", "max": 15000},
            ["110", "150"],
        ]
        assert [row["product_type"] for row in rows] == ["package", "package", "amount", "amount", "package"]

    def test_may_be_few_and_short(self, store: SimulatorProcess) -> None:
        rows = send(store, "products", {"products_id": "103,101,9", "base": "1"})[1]
        assert rows == [{"id": 101, "name": "PUBG 60 UC"}, {"id": 103, "name": "Followers"}]

    def test_lie_in_categories(self, store: SimulatorProcess) -> None:
        home = send(store, "content/0", {})[1]
        assert ([each["name"] for each in home["categories"]], home["products"]) == (
            ["Games", "PUBG", "Social", "iTunes"],
            [],
        )
        assert [row["id"] for row in send(store, "content/2", {})[1]["products"]] == [101, 105]

    def test_lie_flat_in_one_clone(self, store: SimulatorProcess) -> None:
        store.switch(flat_content=True)
        assert [each["name"] for each in send(store, "content/3", {})[1]][-1] == "Followers"


class TestOrders:
    def test_of_codes_are_accepted_at_once(self, store: SimulatorProcess) -> None:
        reference, told = order_with(store)
        data = told["data"]
        (truth,) = [row for row in store.orders() if row["reference"] == reference]
        assert (told["status"], data["status"], data["price"]) == ("OK", "accept", 5.1)
        assert data["order_id"] == truth["order_id"]
        assert data["order_id"].startswith("ID_")
        assert data["replay_api"] == [{"replay": [truth["pins"][0]]}]

    def test_may_wait_and_repeat_their_parameters(self, store: SimulatorProcess) -> None:
        store.next_fate(complete_after_s=60)
        data = order(store, playerId="5000")["data"]
        assert (data["status"], data["data"], data["replay_api"]) == ("wait", {"playerId": "5000"}, None)

    def test_of_an_amount_cost_their_price_for_each_unit(self, store: SimulatorProcess) -> None:
        told = order(store, AMOUNT, qty="1000", **{"أدخل رقم اللاعب": "77"})
        assert told["data"]["price"] == 1.26048

    @pytest.mark.parametrize(
        ("product", "params", "code"),
        [
            ("999", {}, 109),
            (OFF, {}, 110),
            (DIRECT, {"qty": "2"}, 106),
            (DIRECT, {"qty": "x"}, 106),
            (LISTED, {"qty": "120"}, 106),
            (CODES, {"qty": "0"}, 112),
            (CODES, {"qty": "-1"}, 112),
            (CODES, {"qty": "11"}, 113),
            (CODES, {"qty": "Infinity"}, 112),
            (DIRECT, {"playerId": ""}, 114),
            (DIRECT, {"order_uuid": ""}, 114),
            (DIRECT, {"order_uuid": "100000000000000042"}, 114),
        ],
    )
    def test_that_cannot_be_are_refused(
        self, store: SimulatorProcess, product: str, params: dict[str, str], code: int
    ) -> None:
        before = len(store.orders())
        told = order(store, product, **params)
        assert (told["status"], told["code"], len(store.orders())) == ("ERROR", code, before)

    @pytest.mark.parametrize(
        ("refuse_class", "code"), [("balance", 100), ("product", 110), ("auth", 121), ("other", 114)]
    )
    def test_are_refused_by_fate(self, store: SimulatorProcess, refuse_class: str, code: int) -> None:
        assert order_with(store, place="refuse", refuse_class=refuse_class)[1]["code"] == code

    def test_are_refused_in_the_words_of_a_test(self, store: SimulatorProcess) -> None:
        told = order_with(store, place="refuse", refuse_text="111|Try again after 1 minute")[1]
        assert told == {"status": "ERROR", "code": 111, "message": "Try again after 1 minute"}

    def test_under_one_uuid_are_one_order(self, store: SimulatorProcess) -> None:
        reference, first = order_with(store)
        assert order(store, DIRECT, order_uuid=reference) == first
        assert bought(store, reference) == 1

    @pytest.mark.parametrize("flag", ["reused", "duplicate"])
    def test_that_are_repeated_are_marked_by_clones(self, store: SimulatorProcess, flag: str) -> None:
        store.switch(repeat_flag=flag)
        reference, first = order_with(store)
        assert flag not in first["data"]
        assert order(store, CODES, order_uuid=reference)["data"][flag] is True

    @pytest.mark.parametrize(("after_error", "status"), [("reusable", "OK"), ("burnt", "ERROR")])
    def test_may_have_the_uuid_of_an_error_or_not(self, store: SimulatorProcess, after_error: str, status: str) -> None:
        store.switch(after_error=after_error)
        reference = str(uuid.uuid4())
        assert order(store, DIRECT, qty="2", order_uuid=reference)["code"] == 106
        assert order(store, DIRECT, order_uuid=reference)["status"] == status
        assert bought(store, reference) == (status == "OK")

    @pytest.mark.parametrize(("methods", "statuses"), [("any", (200, 200)), ("get", (200, 405)), ("post", (405, 200))])
    def test_come_by_the_methods_of_the_clone(
        self, store: SimulatorProcess, methods: str, statuses: tuple[int, int]
    ) -> None:
        store.switch(methods=methods)
        path, form = f"/client_api/client/api/newOrder/{DIRECT}/params", "application/x-www-form-urlencoded"
        params = f"qty=1&playerId=7&order_uuid={uuid.uuid4()}"
        heard = (
            exchange(store.port, get(f"{path}?{params}", {}, TOKEN), 5.0),
            exchange(store.port, post(path, params.encode(), form, TOKEN), 5.0),
        )
        assert tuple(each.status for each in heard) == statuses


class TestErrors:
    @pytest.mark.parametrize(
        ("shape", "status", "body"),
        [
            ("message", 200, {"status": "ERROR", "code": 110, "message": "not_available"}),
            ("msg_object", 200, {"status": "ERROR", "code": 110, "msg": {"status": "not_available"}}),
            ("msg_text", 200, {"status": "ERROR", "code": 110, "msg": "not_available"}),
            ("no_status", 200, {"code": 110, "message": "not_available"}),
            ("lower_case", 400, {"status": "error", "code": 110, "message": "not_available"}),
            ("word", 200, {"error": "UNAVAILABLE", "message": "not_available"}),
        ],
    )
    def test_have_the_shape_of_the_clone(self, store: SimulatorProcess, shape: str, status: int, body: Any) -> None:
        store.switch(error_shape=shape)
        told = send(store, f"newOrder/{OFF}/params", {"order_uuid": str(uuid.uuid4()), "playerId": "1"})
        assert told == (status, body)

    @pytest.mark.parametrize(
        ("codes", "numbers"),
        [
            ("canonical", [109, 110, 106, 114, 114]),
            ("wtn", [105, 106, 109, 107, 114]),
            ("watan", [109, 110, 106, 114, 500]),
        ],
    )
    def test_have_the_numbers_of_the_clone(self, store: SimulatorProcess, codes: str, numbers: list[int]) -> None:
        store.switch(codes=codes)
        told = [
            order(store, "999"),
            order(store, OFF),
            order(store, DIRECT, qty="2"),
            order(store, DIRECT, order_uuid="x"),
            order_with(store, place="refuse", refuse_class="other")[1],
        ]
        assert [each["code"] for each in told] == numbers

    def test_may_come_with_a_status_that_fits(self, store: SimulatorProcess) -> None:
        store.switch(http_statuses="fitting")
        good = {"order_uuid": str(uuid.uuid4()), "playerId": "1"}
        assert [
            send(store, "profile", {}, {})[0],
            send(store, "profile", {}, {"api-token": "wrong"})[0],
            send(store, "newOrder/999/params", good)[0],
            send(store, f"newOrder/{OFF}/params", good)[0],
            send(store, f"newOrder/{DIRECT}/params", good | {"playerId": ""})[0],
        ] == [401, 403, 404, 400, 422]


class TestCheck:
    def test_tells_a_row_for_each_order(self, store: SimulatorProcess) -> None:
        reference, told = order_with(store)
        (row,) = check(store, reference)
        assert set(row) == {
            "order_id", "quantity", "data", "created_at", "product_name", "price", "status", "replay_api",
        }  # fmt: skip
        assert (row["order_id"], row["price"], row["status"]) == (
            told["data"]["order_id"],
            "5.1000000000000000",
            "accept",
        )
        assert row["replay_api"] == told["data"]["replay_api"][0]["replay"]
        assert len(row["created_at"]) == 19

    def test_knows_orders_by_both_names(self, store: SimulatorProcess) -> None:
        first, second = order_with(store)[1]["data"], order_with(store)[1]["data"]
        rows = send(store, "check", {"orders": f"[{first['order_id']},{second['order_id']}]"})[1]["data"]
        assert [row["order_id"] for row in rows] == [first["order_id"], second["order_id"]]
        assert send(store, "check", {"orders": f"[{first['order_id']}]", "uuid": "1"})[1]["data"] == []

    @pytest.mark.parametrize(
        ("form", "heard"),
        [("bracketed", [3, 3, 0]), ("commas_only", [1, 3, 0]), ("json", [0, 0, 3])],
    )
    def test_reads_lists_as_the_clone_does(self, store: SimulatorProcess, form: str, heard: list[int]) -> None:
        store.switch(list_form=form)
        names = [order_with(store)[0] for _ in range(3)]
        asked = [f"[{','.join(names)}]", ",".join(names), json.dumps(names)]
        told = [send(store, "check", {"orders": orders, "uuid": "1"})[1]["data"] for orders in asked]
        assert [len(rows) for rows in told] == heard

    def test_ignores_what_is_over_its_cap(self, store: SimulatorProcess) -> None:
        names = [order_with(store)[0] for _ in range(3)]
        assert len(check(store, *names)) == 3
        store.switch(check_cap=2)
        assert len(check(store, *names)) == 2

    @pytest.mark.parametrize(("batch", "count"), [("shuffled", 3), ("missing", 2), ("extra", 4)])
    def test_keeps_no_promise_about_order_and_number(self, store: SimulatorProcess, batch: str, count: int) -> None:
        names = [order_with(store)[0] for _ in range(4)][:3]
        whole = [row["order_id"] for row in check(store, *names)]
        store.switch(batch=batch)
        told = [row["order_id"] for row in check(store, *names)]
        assert len(told) == count
        assert told != whole

    def test_leaves_out_an_unknown_order_or_calls_it_an_error(self, store: SimulatorProcess) -> None:
        asked = {"orders": f"[{uuid.uuid4()}]", "uuid": "1"}
        assert send(store, "check", asked)[1] == {"status": "OK", "data": []}
        store.switch(unknown_order="error")
        assert send(store, "check", asked)[1]["status"] == "ERROR"

    @pytest.mark.parametrize(
        ("vocabulary", "words"),
        [
            ("document", ["wait", "accept", "reject"]),
            ("processing", ["processing", "completed", "cancelled"]),
            ("pending", ["pending", "success", "failed"]),
            ("queued", ["queued", "completed", "failed"]),
        ],
    )
    def test_speaks_the_words_of_the_clone(self, store: SimulatorProcess, vocabulary: str, words: list[str]) -> None:
        store.switch(vocabulary=vocabulary)
        fates: list[dict[str, Any]] = [{"final": "never"}, {}, {"final": "cancelled"}]
        told = [check(store, order_with(store, **fate)[0])[0]["status"] for fate in fates]
        assert told == words

    def test_may_say_a_word_that_nobody_knows(self, store: SimulatorProcess) -> None:
        reference, _ = order_with(store, status_faults=["unknown_word"])
        assert check(store, reference)[0]["status"] == "hold"

    @pytest.mark.parametrize(
        ("form", "prices"),
        [
            ("document", (5.1, "5.1000000000000000")),
            ("number", (5.1, 5.1)),
            ("text", ("5.1000000000000000", "5.1000000000000000")),
        ],
    )
    def test_tells_prices_as_the_clone_does(
        self, store: SimulatorProcess, form: str, prices: tuple[object, object]
    ) -> None:
        store.switch(price_form=form)
        reference, told = order_with(store)
        assert (told["data"]["price"], check(store, reference)[0]["price"]) == prices

    def test_tells_codes_nested_or_flat(self, store: SimulatorProcess) -> None:
        store.switch(replay_form="nested")
        reference, told = order_with(store, pin="AB-1")
        assert told["data"]["replay_api"] == check(store, reference)[0]["replay_api"] == [{"replay": ["AB-1"]}]
        store.switch(replay_form="flat")
        assert order(store, CODES, order_uuid=reference)["data"]["replay_api"] == ["AB-1"]

    def test_tells_several_codes_and_messages_alike(self, store: SimulatorProcess) -> None:
        reference = str(uuid.uuid4())
        store.set_fate(reference=reference, description="Thank you")
        order(store, CODES, qty="3", order_uuid=reference)
        leaves = check(store, reference)[0]["replay_api"]
        assert (len(leaves), leaves[-1]) == (4, "Thank you")

    def test_tells_why_an_order_was_rejected(self, store: SimulatorProcess) -> None:
        reference, _ = order_with(store, final="cancelled", cancel_text="Wrong player")
        row = check(store, reference)[0]
        assert (row["status"], row["replay_api"]) == ("reject", ["Wrong player"])

    @pytest.mark.parametrize(
        ("blank", "replay"),
        [("none", None), ("space", [" "]), ("dash", ["-"]), ("spaced_dash", [" - "]), ("empty", [""])],
    )
    def test_tells_that_there_is_no_code_in_every_form(
        self, store: SimulatorProcess, blank: str, replay: list[str] | None
    ) -> None:
        reference = str(uuid.uuid4())
        store.set_fate(reference=reference, pin_blank_form=blank)
        order(store, DIRECT, order_uuid=reference)
        assert check(store, reference)[0]["replay_api"] == replay

    def test_has_a_field_for_the_pin_in_clones(self, store: SimulatorProcess) -> None:
        store.switch(with_pin=True)
        reference, told = order_with(store, pin="AB-1")
        assert (told["data"]["pin"], check(store, reference)[0]["pin"]) == ("AB-1", "AB-1")

    def test_hides_a_code_until_the_end_unless_its_fate_says_so(self, store: SimulatorProcess) -> None:
        hidden, _ = order_with(store, final="never", pin="AB-1")
        shown, _ = order_with(store, final="never", pin="AB-2", pin_while_waiting=True)
        assert [row["replay_api"] for row in check(store, hidden, shown)] == [None, ["AB-2"]]
