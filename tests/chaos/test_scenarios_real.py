"""Failures that really happened to shops like this, against one hub of real processes; the panel's ledger is the judge.

The same stories with every detail, in standing time, are tests/functional/test_scenarios.py.
"""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import permutations
from typing import Any

import pytest
import requests
from celery import Celery

from apps.proof.proxy import FaultProxy
from apps.simulator.client import SimulatorProcess
from apps.simulator.ledger import purchase_rows
from tests.chaos.real_hub import RealHub, wait_for
from tests.chaos.scenario_shop import OPERATOR, POOR_PACKAGE, SHELF_PACKAGE, SPARE_PACKAGE
from tests.servers import PostgresServer, ValkeyServer, free_port

pytestmark = pytest.mark.smoke

WITHIN_S = 40
CHECK = """
import django; django.setup()
from django.core.management import call_command
call_command("check_invariants")
call_command("check_money")
"""
PRICE = 33_950_000
"""Of pubg-60 for the demo's first customer."""


class Theatre:
    """The running hub with everything around it, and the questions that the scenarios ask."""

    def __init__(self, hub: RealHub, panel: SimulatorProcess, database: FaultProxy) -> None:
        self.hub, self.panel, self.database = hub, panel, database
        self._broker = Celery(broker=hub.env["REDIS_URL"], set_as_current=False)
        self.keys: list[str] = json.loads(hub.key)
        self._players = 0

    def player(self, **fate: Any) -> str:
        """A new recipient; the panel's purchases for it have this fate."""
        self._players += 1
        name = f"scene-{self._players:02}"
        if fate:
            self.panel.set_fate(recipient=name, **fate)
        return name

    def place(
        self, player: str, package: str = "pubg-60", *, quantity: int = 1, buyer: int = 0, key: str = ""
    ) -> requests.Response:
        """One order over REST, as it is answered."""
        return requests.post(
            f"{self.hub.url}/api/v1/orders",
            json={"package": package, "quantity": quantity, "fields": {"player_id": player}},
            headers={"Authorization": f"Bearer {self.keys[buyer]}", "Idempotency-Key": key or f"key-{player}"},
            timeout=20,
        )

    def order(self, player: str, package: str = "pubg-60", **how: Any) -> int:
        """The id of an order that was placed."""
        answer = self.place(player, package, **how)
        assert answer.status_code == 201, answer.text
        return int(answer.json()["id"])

    def tell(self, order_id: int, buyer: int = 0) -> dict[str, Any]:
        """The order as its customer sees it."""
        headers = {"Authorization": f"Bearer {self.keys[buyer]}"}
        answer = requests.get(f"{self.hub.url}/api/v1/orders/{order_id}", headers=headers, timeout=20)
        body: dict[str, Any] = answer.json()
        return body

    def codes(self, order_id: int, buyer: int = 0) -> list[str]:
        """The order's codes, revealed."""
        headers = {"Authorization": f"Bearer {self.keys[buyer]}"}
        answer = requests.post(f"{self.hub.url}/api/v1/orders/{order_id}/codes/reveal", headers=headers, timeout=20)
        return [code["value"] for code in answer.json()["codes"]]

    def wait(self, order_id: int, status: str, buyer: int = 0) -> dict[str, Any]:
        """The order when it has this status."""
        wait_for(lambda: self.tell(order_id, buyer)["status"] == status, f"order {order_id} is not {status}", WITHIN_S)
        return self.tell(order_id, buyer)

    def send(self, task: str, *args: int) -> None:
        """One message to the workers, as if anybody had sent it."""
        routes = {"read_balances": "notify", "dispatch_order": "dispatch", "check_order_status": "check"}
        self._broker.send_task(task, args=list(args), queue=routes[task.rpartition(".")[2]])

    def send_strangely(self, task: str, *args: Any, **options: Any) -> None:
        """One message to those who dispatch, as another version of the code may have sent it."""
        self._broker.send_task(task, args=list(args), kwargs=options, queue="dispatch")

    def purchases(self, player: str) -> list[dict[str, Any]]:
        """What the panel really sold to this recipient."""
        return [row for row in purchase_rows(self.panel.truth()) if row["recipient"] == player]

    def transfers(self, order_id: int) -> dict[str, int]:
        """What was moved for the order, in micro-units, by kind."""
        sql = """
            SELECT t.kind, sum(e.amount_micros) FROM wallet_transfer t JOIN wallet_entry e ON e.transfer_id = t.id
            WHERE t.subject_kind = 'order' AND e.amount_micros > 0 AND t.subject_id = %d GROUP BY t.kind
        """
        return {kind: int(amount) for kind, amount in self.hub.query(sql % order_id)}

    def states(self, order_id: int) -> list[str]:
        """The states of the order's attempts."""
        sql = f"SELECT state FROM orders_attempt WHERE order_id = {order_id} ORDER BY id"  # noqa: S608 - ours
        return [state for (state,) in self.hub.query(sql)]

    def check_bought_once(self, order_id: int, player: str) -> None:
        """One purchase; its PIN is with who paid for it, once."""
        (purchase,) = self.purchases(player)
        assert self.codes(order_id) == purchase["pins"]
        assert self.tell(order_id)["held"] is False
        money = self.transfers(order_id)
        assert (money["hold"], money["capture"], "release" in money) == (PRICE, PRICE, False)


@pytest.fixture(scope="module")
def theatre(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Theatre]:
    """One hub for all scenarios: web, two workers, beat and a resident poll; nothing is left behind."""
    folder = tmp_path_factory.mktemp("scenarios")
    with (
        PostgresServer() as postgres,
        ValkeyServer() as valkey,
        SimulatorProcess(folder / "truth.jsonl") as panel,
        SimulatorProcess(folder / "poor.jsonl", balance="0") as poor,
        FaultProxy("127.0.0.1", postgres.port, speaks_http=False) as database,
    ):
        direct = postgres.create_database(f"hub_{secrets.token_hex(4)}")
        through = {"DATABASE_URL": direct.replace(f":{postgres.port}/", f":{database.port}/")}
        set_up = ["-m", "tests.chaos.scenario_shop", panel.url, poor.url]
        hub = RealHub(folder, direct, valkey.url, set_up, through)
        try:
            for name in ("worker1", "worker2"):
                hub.start_worker(name, children=2)
            hub.start_beat()
            hub.start_poll()
            hub.start_web(free_port())
            yield Theatre(hub, panel, database)
        finally:
            hub.stop(within_s=5)


def _is_well(hub: RealHub) -> bool:
    return requests.get(f"{hub.url}/statusz", timeout=10).status_code == 200


def test_scenario_1_the_panel_accepts_and_its_reply_is_lost(theatre: Theatre) -> None:
    player = theatre.player(place="accept_then_hang")
    order_id = theatre.order(player)
    theatre.wait(order_id, "completed")
    theatre.check_bought_once(order_id, player)


def test_scenario_2_every_worker_dies_between_the_reply_and_the_database(theatre: Theatre) -> None:
    player = theatre.player(answer_delay_s=0.5, complete_after_s=1)
    hub = theatre.hub
    hub.kill("poll")  # so that a worker sends it
    order_id = theatre.order(player)
    wait_for(lambda: theatre.purchases(player), "the panel was not asked")
    theatre.database.clog()  # the reply arrives, and what it says reaches no table
    wait_for(lambda: theatre.database.touched > 0, "nothing was to be written")
    for name in ("worker1", "worker2"):
        hub.kill(name)
    theatre.database.cut()
    theatre.database.disarm()
    assert theatre.states(order_id) == ["sending"]
    for name in ("worker1", "worker2"):
        hub.start_worker(name, children=2)
    hub.start_poll()
    theatre.wait(order_id, "completed")
    theatre.check_bought_once(order_id, player)
    wait_for(lambda: _is_well(hub), "the loops are not up")
    hub.kill("beat")  # for the last scenario: a minute has to pass


def test_scenario_3_two_workers_a_sweep_and_an_operators_clicks(theatre: Theatre) -> None:
    player = theatre.player(answer_delay_s=1.5)
    order_id = theatre.order(player)
    operator = sign_in(theatre.hub)
    for _ in range(4):
        theatre.send("apps.orders.tasks.dispatch_order", order_id)
        theatre.send("apps.orders.tasks.check_order_status", order_id)
    with ThreadPoolExecutor(3) as pool:
        clicks = [pool.submit(click, operator, f"{theatre.hub.url}/orders/{order_id}/ask/") for _ in range(3)]
        assert [done.result().status_code for done in clicks] == [200, 200, 200]
    theatre.wait(order_id, "completed")
    theatre.check_bought_once(order_id, player)
    assert len([entry for entry in theatre.panel.truth() if entry["event"] == "asked" and player in str(entry)]) == 1


def test_scenario_4_status_answers_are_rubbish_and_nothing_is_given_back(theatre: Theatre) -> None:
    players = [theatre.player(status_faults=list(faults)) for faults in permutations(("500", "empty", "html"), 2)]
    ids = [theatre.order(player) for player in players]
    for order_id, player in zip(ids, players, strict=True):
        wait_for(lambda: theatre.purchases(player), "it was not sent")  # noqa: B023 - asked at once
        assert theatre.tell(order_id)["held"] is True
    for order_id, player in zip(ids, players, strict=True):
        theatre.wait(order_id, "completed")
        theatre.check_bought_once(order_id, player)
    asked = Counter(entry["reference"] for entry in theatre.panel.truth() if entry["event"] == "checked")
    assert all(asked[theatre.purchases(player)[0]["reference"]] >= 3 for player in players)


def test_scenario_5_a_refusal_gives_the_money_back_or_goes_to_the_next_route(theatre: Theatre) -> None:
    refused = theatre.player(place="refuse", refuse_class="product")
    again = theatre.player(place="refuse", refuse_class="product", times=1)
    back, sold = theatre.order(refused), theatre.order(again, SPARE_PACKAGE)
    assert theatre.wait(back, "rejected")["held"] is False
    assert theatre.transfers(back) == {"hold": PRICE, "release": PRICE}
    theatre.wait(sold, "completed")
    assert theatre.states(sold) == ["refused", "delivered"]
    assert (len(theatre.purchases(refused)), len(theatre.purchases(again))) == (0, 1)


def test_scenario_6_a_long_pin_and_three_pins(theatre: Theatre) -> None:
    pin = "-".join(f"{number:03}" for number in range(100))[:399]
    long, three = theatre.player(pin=pin), theatre.player()
    of_one, of_three = theatre.order(long), theatre.order(three, quantity=3)
    theatre.wait(of_one, "completed")
    theatre.wait(of_three, "completed")
    assert theatre.codes(of_one) == [pin]
    assert sorted(theatre.codes(of_three)) == sorted(row["pin"] for row in theatre.purchases(three))
    assert len(set(theatre.codes(of_three))) == 3


def test_scenario_7_a_delivery_after_the_refund_is_told_and_kept_hidden(theatre: Theatre) -> None:
    player = theatre.player(final="cancelled")
    order_id = theatre.order(player)
    theatre.wait(order_id, "rejected")
    theatre.panel.finish(theatre.purchases(player)[0]["reference"], "delivered")
    case = f"SELECT reason FROM orders_case WHERE order_id = {order_id}"  # noqa: S608 - a number of ours
    wait_for(lambda: theatre.hub.query(case), "nobody is told", WITHIN_S)
    assert theatre.hub.query(case) == [("late_delivery",)]
    hidden = f"SELECT is_quarantined FROM orders_code WHERE order_id = {order_id}"  # noqa: S608 - a number of ours
    assert theatre.hub.query(hidden) == [(True,)]
    assert theatre.tell(order_id)["status"] == "rejected"
    assert theatre.transfers(order_id).keys() == {"hold", "release", "late_cost"}


def test_scenario_8_the_client_repeats_the_order_five_times_at_once(theatre: Theatre) -> None:
    player = theatre.player()
    with ThreadPoolExecutor(5) as clients:
        answers = list(clients.map(lambda _: theatre.place(player), range(5)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.json()["id"] for answer in answers}) == 1
    order_id = int(answers[0].json()["id"])
    theatre.wait(order_id, "completed")
    theatre.check_bought_once(order_id, player)


def test_scenario_9_two_customers_and_one_code_left(theatre: Theatre) -> None:
    players = [theatre.player(), theatre.player()]
    with ThreadPoolExecutor(2) as customers:
        ids = list(customers.map(lambda n: theatre.order(players[n], SHELF_PACKAGE, buyer=n), range(2)))
    for n, order_id in enumerate(ids):
        theatre.wait(order_id, "completed", buyer=n)
    codes = [theatre.codes(order_id, buyer=n) for n, order_id in enumerate(ids)]
    bought = [row["pin"] for player in players for row in theatre.purchases(player)]
    assert sorted(codes) == sorted([["THE-LAST-CODE"], bought])


def test_messages_of_another_version_are_dropped_and_harm_nothing(theatre: Theatre) -> None:
    """W12: an unknown task, another signature, another type; the workers go on, and the order is bought once."""
    theatre.hub.kill("poll")  # so that a worker sends it
    player = theatre.player()
    dispatch = "apps.orders.tasks.dispatch_order"
    for _ in range(4):  # more than there are children
        theatre.send_strangely("apps.orders.tasks.buy_order", 1)
        theatre.send_strangely(dispatch)
        theatre.send_strangely(dispatch, "one", 1)
        theatre.send_strangely(dispatch, 10**9, tenant_id=1, priority="high")
    order_id = theatre.order(player)
    theatre.send_strangely(dispatch, order_id)  # as before it named the shop
    theatre.send_strangely(dispatch, str(order_id))
    wait_for(lambda: theatre.purchases(player), "no worker sends any more")
    theatre.hub.start_poll()
    theatre.wait(order_id, "completed")
    theatre.check_bought_once(order_id, player)


def test_scenario_14_a_balance_of_zero_is_shown_and_keeps_orders_away(theatre: Theatre) -> None:
    read = (
        "import django; django.setup()\nfrom celery_app import app\napp.send_task('apps.providers.tasks.read_balances')"
    )
    theatre.hub.run(["-c", read])
    balance = (
        "SELECT b.amount_micros FROM providers_balance_reading b "
        "JOIN providers_integration i ON i.id = b.integration_id WHERE i.name = 'Poor panel'"
    )
    wait_for(lambda: theatre.hub.query(balance), "the balance was not read", WITHIN_S)
    assert {value for (value,) in theatre.hub.query(balance)} == {0}
    player = theatre.player()
    order_id = theatre.order(player, POOR_PACKAGE)
    theatre.wait(order_id, "completed")
    assert theatre.states(order_id) == ["delivered"]
    assert len(theatre.purchases(player)) == 1


def test_everything_that_was_bought_is_accounted_for(theatre: Theatre) -> None:
    theatre.hub.run(["-c", CHECK])
    pins = {pin for row in purchase_rows(theatre.panel.truth()) for pin in row["pins"]}
    logs = theatre.hub.logs()
    assert not [pin for pin in pins if pin in logs]
    assert not [key for key in (*theatre.keys, OPERATOR[1], "demo-secret") if key in logs]


def test_scenario_12_a_scheduler_that_stopped_is_told_within_a_minute(theatre: Theatre) -> None:
    def problems() -> list[str]:
        answer = requests.get(f"{theatre.hub.url}/statusz", timeout=10)
        return list(answer.json()["problems"]) if answer.status_code == 503 else []

    wait_for(problems, "a beat that was killed is not missed", 75)
    assert any(problem.startswith("beat has been silent for") for problem in problems())
    assert not any(problem.startswith("sweep") for problem in problems())  # the resident poll goes on


def sign_in(hub: RealHub) -> requests.Session:
    """An operator's browser."""
    browser = requests.Session()
    page = browser.get(f"{hub.url}/login/", timeout=20)
    form = {"username": OPERATOR[0], "password": OPERATOR[1], "csrfmiddlewaretoken": token_in(page.text)}
    answer = browser.post(f"{hub.url}/login/", data=form, timeout=20)
    assert "sessionid" in browser.cookies, answer.status_code
    return browser


def click(browser: requests.Session, url: str) -> requests.Response:
    """One press of a button of the panel."""
    return browser.post(url, data={"csrfmiddlewaretoken": browser.cookies["csrftoken"]}, timeout=20)


def token_in(page: str) -> str:
    """The token of the first form of a page."""
    found = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', page)
    assert found is not None
    return found[1]
