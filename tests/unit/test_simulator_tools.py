"""The simulator's tools: self-test, watch page, bench mode, webhooks, several dialects behind one port."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from apps.simulator import hooks, measure
from apps.simulator.client import ROOT, SimulatorFailed, SimulatorProcess
from apps.simulator.clock import Clock
from apps.simulator.dialect import Dialect, Hook, Letter
from apps.simulator.dialects import DIALECTS
from apps.simulator.fates import CHECKS, FateBook, parse_fate
from apps.simulator.hooks import Postman
from apps.simulator.knobs import KNOBS, NOWHERE, Knob, cannot
from apps.simulator.ledger import Ledger, Tail
from apps.simulator.probe import Told, get
from apps.simulator.probes import PROBES
from apps.simulator.rawline import Ended, exchange
from apps.simulator.selftest import RUNS, runs_of
from apps.simulator.selftest.buyers import Mismatch, Shop
from apps.simulator.selftest.cases import CASES, Case, Then, run_case
from apps.simulator.selftest.letters import Received, receiver
from apps.simulator.server import Server
from apps.simulator.wire import Reply
from apps.simulator.world import Account, Ask, Look, World

LOGIN = {"kod": "demo", "sifre": "demo-secret"}
BALANCE = get("/servis/bakiye_kontrol.php", LOGIN)


@pytest.fixture
def simulator(tmp_path: Path) -> Iterator[SimulatorProcess]:
    with SimulatorProcess(tmp_path / "truth.jsonl") as process:
        yield process


class TestSelftest:
    def test_passes_for_every_dialect(self) -> None:
        command = [sys.executable, "-m", "apps.simulator", "--selftest", "--json"]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=240, check=False)
        *failures, verdict = done.stdout.splitlines()
        assert (failures, done.returncode) == ([], 0)
        possible = {run.fault for dialect in DIALECTS.values() for run in runs_of(dialect)}
        assert json.loads(verdict) == {
            "dialects": list(DIALECTS),
            "faults": len(possible),
            "runs": sum(len(runs_of(dialect)) for dialect in DIALECTS.values()),
            "failed": 0,
        }

    @pytest.mark.parametrize(
        ("case", "told"),
        [
            (Case("P3", {"place": "accept_then_500"}), "placing is seen as accepted"),
            (Case("P3", {}, buys=0), "0 purchases in the truth ledger"),
            (Case("V1", {}, then=(Then("waiting"),)), "the order is waiting"),
            (Case("V3", {"pin": "P"}, then=(Then("delivered", pins="none"),)), r"the PINs are \(\)"),
        ],
    )
    def test_notices_what_is_not_as_it_says(self, simulator: SimulatorProcess, case: Case, told: str) -> None:
        shop = Shop(simulator, Tail(simulator.truth_path), DIALECTS["znet"], PROBES["znet"])
        with pytest.raises(Mismatch, match=told):
            run_case(case, shop)

    def test_reads_answers_by_the_document_and_not_by_the_server(self, simulator: SimulatorProcess) -> None:
        odd = replace(PROBES["znet"], read=lambda body: Told("waiting"))
        shop = Shop(simulator, Tail(simulator.truth_path), DIALECTS["znet"], odd)
        with pytest.raises(Mismatch, match="the order is delivered"):
            run_case(CASES[2], shop)


class TestKnobs:
    def test_are_there_for_every_fault_of_providers(self) -> None:
        numbers = {f"P{n}" for n in range(1, 23)} | {f"V{n}" for n in range(1, 12)} | {"X5"}
        assert set(KNOBS) | set(NOWHERE) == numbers
        assert {run.fault for run in RUNS} == set(KNOBS)

    @pytest.mark.parametrize("knob", KNOBS.values(), ids=list(KNOBS))
    def test_turn_what_exists(self, knob: Knob) -> None:
        for field in knob.fate:
            name, _, value = field.partition("=")
            assert name in CHECKS
            if value:
                parse_fate({name: [value] if name == "status_faults" else value})
        switches = {name for dialect in DIALECTS.values() for name in dialect.switches.__dataclass_fields__}
        assert {switch.partition("=")[0] for switch in knob.switches} <= switches
        assert knob.fate or knob.switches

    @pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
    def test_that_a_dialect_cannot_have_say_why(self, dialect: Dialect) -> None:
        assert set(cannot(dialect)) <= set(KNOBS) | set(NOWHERE)
        assert all(len(reason) > 8 for reason in cannot(dialect).values())
        assert dialect.name in PROBES


class TestPage:
    def test_shows_what_was_bought_and_asked(self, simulator: SimulatorProcess) -> None:
        assert "Nobody has asked anything yet" in self.page(simulator)
        order = {"oyun": "152", "kupur": "60", "referans": "77", "oyuncu_bilgi": "<b>me</b>"}
        simulator.next_fate(pin="SECRET-PIN")
        exchange(simulator.port, get("/servis/pin_ekle.php", LOGIN | order), 5.0)
        exchange(simulator.port, get("/servis/pin_kontrol.php", LOGIN | {"tahsilat_api_islem_id": "77"}), 5.0)
        simulator.switch(slow_s=0.01)
        page = self.page(simulator)
        assert "<h2>znet: 99968.50 TRY</h2>" in page
        assert "<td>77</td><td>1</td><td>152 60</td><td>&lt;b&gt;me&lt;/b&gt;</td><td>1</td><td>31.50</td>" in page
        assert "<td>77</td><td>1</td><td>2</td><td>world</td>" in page
        assert "<td>slow_s</td><td>0.01</td>" in page
        assert "SECRET-PIN" not in page
        assert not re.search(r"https?://|<script", page)

    def page(self, simulator: SimulatorProcess) -> str:
        return exchange(simulator.port, get("/_control/", {}), 5.0).body.decode()


class TestControl:
    def test_is_about_the_dialect_that_is_named(self, simulator: SimulatorProcess) -> None:
        with closing(simulator.of("znet_tl")) as airtime:
            airtime.switch(wrong_ip=True)
            assert airtime.call("GET", "switches")["wrong_ip"] is True
        assert "wrong_ip" not in simulator.call("GET", "switches")

    def test_knows_no_other_dialect(self, simulator: SimulatorProcess) -> None:
        with (
            closing(simulator.of("znet_xl")) as nobody,
            pytest.raises(SimulatorFailed, match="unknown dialect: znet_xl"),
        ):
            nobody.orders()

    def test_takes_another_mix(self, simulator: SimulatorProcess) -> None:
        simulator.use_mix("law-F")
        exchange(
            simulator.port, get("/servis/pin_ekle.php", LOGIN | {"oyun": "152", "kupur": "60", "referans": "1"}), 5
        )
        (row,) = simulator.orders()
        assert 600 <= row["fate"]["complete_after_s"] <= 1200
        with pytest.raises(SimulatorFailed, match="mix: must be one of none, demo, law-A"):
            simulator.use_mix("law-Z")

    def test_takes_a_fate_for_some_minutes(self, simulator: SimulatorProcess) -> None:
        simulator.set_spell((1, 2), final="never")
        for reference, seconds in (("1", 60), ("2", 60), ("3", 0)):
            order = {"oyun": "152", "kupur": "60", "referans": reference}
            exchange(simulator.port, get("/servis/pin_ekle.php", LOGIN | order), 5)
            simulator.advance(seconds)
        assert [row["state"] for row in simulator.orders()] == ["delivered", "waiting", "delivered"]

    @pytest.mark.parametrize("minutes", [[2, 1], [1], [1, 1], "1", [-1, 2]])
    def test_refuses_minutes_that_are_none(self, simulator: SimulatorProcess, minutes: object) -> None:
        with pytest.raises(SimulatorFailed, match="minutes: must be"):
            simulator.call("POST", "fates", {"minutes": minutes, "fate": {}})

    def test_refuses_webhooks_where_there_are_none(self, simulator: SimulatorProcess) -> None:
        with pytest.raises(SimulatorFailed, match="znet sends no webhooks"):
            simulator.switch(hook_url="http://127.0.0.1:9/")
        assert simulator.call("GET", "switches")["hook_url"] is None

    def test_can_make_every_answer_slow(self, simulator: SimulatorProcess) -> None:
        simulator.switch(slow_s=30)
        assert exchange(simulator.port, BALANCE, 0.2).ended is Ended.SILENCE


class TestGroupCommit:
    def test_shares_one_fsync_and_answers_after_it(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        happened: list[str] = []
        monkeypatch.setattr(os, "fsync", lambda number: happened.append("fsync"))
        truth = Ledger(tmp_path / "truth.jsonl")
        dialect = DIALECTS["znet"]
        world = World(dialect, Account("demo", "demo-secret"), dialect.balance, FateBook("1", "none"), truth)
        asyncio.run(self.two_at_once(Server({"znet": world}, truth, Clock()), happened))
        in_order = tuple(happened)
        truth.close()
        assert in_order == ("fsync", "answer", "answer")

    async def two_at_once(self, server: Server, happened: list[str]) -> None:
        for reference in ("1", "2"):
            truth = server._worlds["znet"].truth
            truth.record("asked", 1.0, reference=reference)
            server.owe(FakeLine(happened), Reply(), keep_alive=True)  # type: ignore[arg-type]
        await asyncio.sleep(0)


class FakeLine:
    def __init__(self, happened: list[str]) -> None:
        self._happened = happened

    def speak(self, reply: Reply, keep_alive: bool) -> None:
        self._happened.append("answer")


def shouting(look: Look, world: World, letter: Letter) -> Hook:
    """A webhook that tells everything it was given."""
    told = {"state": look.state, "pins": list(look.pins), "secret": letter.secret, "path": letter.path, "at": letter.at}
    return Hook((("X-Dialect", world.dialect.name),), json.dumps(told).encode())


class TestWebhooks:
    NOW = 1_800_000_000.0

    @pytest.fixture
    def world(self, tmp_path: Path) -> Iterator[World]:
        truth = Ledger(tmp_path / "truth.jsonl")
        dialect = replace(DIALECTS["znet"], hook=shouting)
        account = Account("demo", "demo-secret", {"webhook": "right"})
        yield World(dialect, account, dialect.balance, FateBook("1", "none"), truth)
        truth.close()

    def sent(self, world: World, later_s: float = 0.0, **switches: object) -> list[Received]:
        """What arrives when one order is bought now and news is delivered `later_s` seconds later."""
        with receiver() as (url, letters):
            world.switches = replace(world.switches, hook_url=url, **switches)
            ask = Ask("demo", "1", "152", "60")
            world.buy(ask, DIALECTS["znet"].products[0], world.receive(ask, self.NOW, is_ours=True), self.NOW)
            asyncio.run(Postman([world]).deliver(self.NOW + later_s))
            return [letters.get_nowait() for _ in range(letters.qsize())]

    def told(self, letters: list[Received]) -> list[tuple[str, str]]:
        read = [json.loads(letter.body) for letter in letters]
        return [(each["state"], each["secret"]) for each in read]

    def test_tell_of_each_change_in_order(self, world: World) -> None:
        letters = self.sent(world)
        assert self.told(letters) == [("waiting", "right"), ("delivered", "right")]
        assert (letters[0].headers["x-dialect"], json.loads(letters[0].body)["path"]) == ("znet", "/hooks/in")
        assert [entry["state"] for entry in world.truth.entries() if entry["event"] == "hook"] == [
            "waiting",
            "delivered",
        ]

    def test_can_come_twice(self, world: World) -> None:
        states = [state for state, _ in self.told(self.sent(world, hook_times=2))]
        assert states == ["waiting", "waiting", "delivered", "delivered"]

    def test_can_come_in_the_wrong_order(self, world: World) -> None:
        states = [state for state, _ in self.told(self.sent(world, hook_out_of_order=True))]
        assert states == ["delivered", "waiting"]

    def test_can_be_forged(self, world: World) -> None:
        assert {secret for _, secret in self.told(self.sent(world, hook_forged=True))} == {"nobody-knows-this-secret"}

    @pytest.mark.parametrize(("later_s", "count"), [(59, 0), (60, 2)])
    def test_can_be_late(self, world: World, later_s: float, count: int) -> None:
        assert len(self.sent(world, later_s, hook_late_s=60.0)) == count

    def test_are_not_sent_while_they_are_off(self, world: World) -> None:
        assert self.sent(world, hook_times=1) != []
        world.switches = replace(world.switches, hook_url=None)
        ask = Ask("demo", "2", "152", "60")
        world.buy(ask, DIALECTS["znet"].products[0], world.receive(ask, self.NOW, is_ours=True), self.NOW)
        assert len(world.news) == 0

    def test_are_on_the_disk_before_they_leave(self, world: World, monkeypatch: pytest.MonkeyPatch) -> None:
        happened: list[str] = []

        async def post(url: str, hook: Hook) -> None:
            happened.append("post")

        monkeypatch.setattr(os, "fsync", lambda number: happened.append("fsync"))
        monkeypatch.setattr(hooks, "_post", post)
        self.sent(world)
        assert happened == ["fsync", "post", "fsync", "post"]

    def test_survive_a_receiver_that_is_not_there(self, world: World) -> None:
        with socket.create_server(("127.0.0.1", 0)) as closed:
            port = closed.getsockname()[1]
        world.switches = replace(world.switches, hook_url=f"http://127.0.0.1:{port}/")
        ask = Ask("demo", "1", "152", "60")
        world.buy(ask, DIALECTS["znet"].products[0], world.receive(ask, self.NOW, is_ours=True), self.NOW)
        asyncio.run(Postman([world]).deliver(self.NOW))
        assert [entry["event"] for entry in world.truth.entries()].count("hook") == 2


class TestBenchMode:
    @pytest.mark.parametrize(
        ("state", "text"), [("delivered", "OK|2|BENCH-123456|Onaylandı"), ("waiting", "OK|1| |İşlemde")]
    )
    def test_answers_as_the_whole_simulator_does(self, tmp_path: Path, state: str, text: str) -> None:
        question = "/servis/pin_kontrol.php?kod=demo&tahsilat_api_islem_id=123456&sifre=x"
        raw = f"GET {question} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        body = text.encode()
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: text/html; charset=utf-8\r\n"
            f"Content-Length: {len(body)}\r\nConnection: keep-alive\r\n\r\n"
        ).encode()
        with (
            SimulatorProcess(tmp_path / "none", bench=state) as process,
            socket.create_connection(("127.0.0.1", process.port), timeout=5) as line,
        ):
            line.sendall(raw[:30])
            line.sendall(raw[30:] + raw)
            seen = b""
            while len(seen) < 2 * len(head + body):
                seen += line.recv(65536)
        assert seen == 2 * (head + body)
        assert not (tmp_path / "none").exists()

    def test_knows_no_other_page(self, tmp_path: Path) -> None:
        with SimulatorProcess(tmp_path / "none", bench="waiting") as process:
            seen = exchange(process.port, BALANCE, 0.5)
            assert (seen.status, seen.body) == (404, b"")

    def test_is_measured_beside_the_ledger(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert measure.main(seconds=0.2) == 0
        lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        assert [line["mode"] for line in lines] == ["place with ledger", "status with ledger", "status in bench mode"]
        assert all(line["per_second"] > 0 for line in lines)


class TestCommand:
    def test_hands_its_options_on(self, run_manage: Callable[..., subprocess.CompletedProcess[str]]) -> None:
        done = run_manage("simulator", "--mix", "bogus", "--selftest")
        assert done.returncode == 2
        assert "invalid choice: 'bogus'" in done.stderr


@pytest.fixture
def run_manage() -> Callable[..., subprocess.CompletedProcess[str]]:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)

    return run
