"""The chaos run: its plan and its verdict, and a short one from end to end."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from apps.proof.proxy import FaultProxy
from tests.chaos import run
from tests.chaos.nemesis import LINE_FAULTS, PROCESS_FAULTS, Blow, Hand, Row, Scene, Toll
from tests.chaos.real_hub import ROOT
from tests.servers import ValkeyServer

FINDINGS = ("double_purchases", "wrong_refunds", "lost_pins", "forgotten", "money_unexplained", "orphans")
CLEAN: dict[str, Any] = {
    "orders": 1,
    "purchases": 1,
    "statuses": {"completed": 1},
    "in_doubt": {"znet": 1},
    "resolved_without_person": {"znet": 1},
    "wrong": {kind: [] for kind in FINDINGS},
    "unwritten": [],
    "not_adopted": [],
    "late_sends": 0,
    "broken": [],
    "secrets": 0,
}
"""What the judge says of a run in which nothing is wrong."""


def story(**changes: Any) -> run.Story:
    """A run that hit something and was looked at."""
    usual = {"tolls": {"kill_web": Toll(done=2, hit=2)}, "looks": 3, "drained_s": 1.0}
    return run.Story(**{**usual, **changes})


def result_of(seen: run.Story, **verdict: Any) -> dict[str, Any]:
    return run.told(run.draw(1, 0.1, 60), seen, {**CLEAN, **verdict}, 1.0)


class TestAPlan:
    def test_is_drawn_by_its_seed_alone(self) -> None:
        assert run.draw(5, 2, 60) == run.draw(5, 2, 60)
        assert run.draw(5, 2, 60).on_lines != run.draw(6, 2, 60).on_lines

    def test_has_every_fault_when_it_is_long_enough(self) -> None:
        plan = run.draw(1, 10, 60)
        assert {blow.name for blow in plan.on_processes} == set(PROCESS_FAULTS)
        assert {blow.name for blow in plan.on_lines} == set(LINE_FAULTS)

    def test_has_wishes_at_the_wanted_rate_and_some_that_are_said_again(self) -> None:
        wishes = run.draw(1, 10, 60).wishes
        assert 500 < len(wishes) < 700
        assert 100 < sum(bool(wish.again) for wish in wishes) < 250
        assert len({wish.key for wish in wishes}) == len(wishes)


class TestAVerdict:
    def test_of_a_clean_run_has_no_problem_and_is_valid(self) -> None:
        result = result_of(story())
        assert (result["problems"], result["invalid"]) == ([], "")
        assert result["faults"] == {"kill_web": {"done": 2, "hit": 2}}

    @pytest.mark.parametrize("kind", sorted(CLEAN["wrong"]))
    def test_of_anything_wrong_is_a_problem(self, kind: str) -> None:
        result = result_of(story(), wrong={**CLEAN["wrong"], kind: ["something"]})
        assert result["problems"] == ["something"]

    @pytest.mark.parametrize("kind", ["unwritten", "not_adopted", "broken"])
    def test_of_a_purchase_that_cannot_be_is_a_problem(self, kind: str) -> None:
        assert result_of(story(), **{kind: ["something"]})["problems"] == ["something"]

    def test_counts_what_was_seen_on_the_way(self) -> None:
        broken = [{"name": "unit_held_twice", "count": 2}]
        result = result_of(story(broken=broken, mismatches=["wish 1 became {1, 2}"], drained_s=None), secrets=1)
        assert (result["invariant_violations"], result["double_purchases"], result["secrets_in_logs"]) == (1, 1, 1)
        assert len(result["problems"]) == 4

    def test_of_a_run_in_which_too_little_happened_is_invalid(self) -> None:
        missed = story(tolls={"kill_web": Toll(done=3, hit=1)})
        assert result_of(missed)["invalid"] == "only 1 of 3 faults met anything"
        assert result_of(story(tolls={}))["invalid"] == "only 0 of 0 faults met anything"
        assert result_of(story(), in_doubt={})["invalid"] == "nothing was ever in doubt"
        assert result_of(story(looks=0))["invalid"] == "the invariants were never asked"


class TestAHand:
    def test_tells_what_it_could_not_do_and_goes_on(self) -> None:
        def fail(scene: Scene, dice: object) -> Any:
            raise RuntimeError("no such process")

        table = {"broken": Row(1, (0, 0), fail), "whole": Row(1, (0, 0), lambda scene, dice: lambda: 7)}
        blows = [Blow(0, "broken", 0, "1"), Blow(0, "whole", 0, "2")]
        said: list[str] = []
        hand = Hand(None, blows, table, said.append)  # type: ignore[arg-type]
        hand.start()
        hand.join(30)
        assert hand.tolls["broken"].failed == ["RuntimeError: no such process"]
        assert (hand.tolls["broken"].hit, hand.tolls["whole"].hit) == (0, 1)
        assert len(said) == 2


class TestALineWithOpenConnections:
    def test_is_cut_clogged_and_halved(self) -> None:
        with ValkeyServer() as valkey, FaultProxy("127.0.0.1", valkey.port, speaks_http=False) as line:
            client = redis.Redis(port=line.port, socket_timeout=20, retry=Retry(NoBackoff(), 0))
            first = client.client_id()
            line.cut()
            with contextlib.suppress(redis.ConnectionError):  # unless it sees in time that its connection is gone
                client.ping()
            assert client.client_id() != first
            line.halve(1)
            with pytest.raises(redis.ConnectionError):
                client.set("a", "2")
            line.disarm()
            assert client.get("a") == b"2"  # done, and its answer lost
            line.clog()
            answers: list[object] = []
            waiting = threading.Thread(target=lambda: answers.append(client.get("a")))
            waiting.start()
            waiting.join(0.3)
            assert answers == []
            line.disarm()
            waiting.join(20)
            assert answers == [b"2"]
            assert line.touched == 3
            client.close()


@pytest.mark.smoke
@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes the Linux way")
class TestAShortRun:
    def test_finds_nothing_wrong_and_leaves_nothing_behind(self) -> None:
        done = subprocess.run(
            [sys.executable, "scripts/chaos.py", "--minutes", "0.35", "--seed", "7", "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=420,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        result = json.loads(done.stdout.splitlines()[-1])
        assert result["orders"] == result["wishes"] > 10
        assert sum(toll["hit"] for toll in result["faults"].values()) >= 5
        assert not left_behind(done.stderr)

    @pytest.mark.slow
    def test_that_is_interrupted_leaves_nothing_behind(self) -> None:
        command = [sys.executable, "scripts/chaos.py", "--minutes", "5", "--seed", "7", "--json"]
        chaos = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        assert chaos.stderr is not None
        up = chaos.stderr.readline()
        chaos.send_signal(signal.SIGINT)
        _, said = chaos.communicate(timeout=120)
        assert chaos.returncode == 128 + signal.SIGINT
        assert not left_behind(up + said)


def left_behind(said: str) -> list[str]:
    """Processes of a run that still live: those with its folder in their arguments or environment, and its servers."""
    up = re.search(r"everything is up in (\S+), PostgreSQL (\d+), Valkey (\d+)", said)
    assert up is not None, said
    folder, *servers = up.groups()
    alive = [path for path in Path("/proc").glob("[0-9]*") if folder.encode() in words_of(path)]
    return [path.name for path in alive] + [pid for pid in servers if b"order-hub" in words_of(Path("/proc", pid))]


def words_of(process: Path) -> bytes:
    """Arguments and environment; nothing of one that has ended, or that is somebody else's."""
    with contextlib.suppress(OSError):
        return (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
    return b""
