"""The arithmetic of the benchmarks, and that their machinery measures something."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
RUN = [sys.executable, str(ROOT / "scripts" / "bench" / "run.py")]
sys.path.append(str(ROOT / "scripts" / "bench"))

from create import Heard  # noqa: E402 - a neighbour of the script, not a package
from figures import (  # noqa: E402 - likewise
    Loaded,
    Run,
    arrivals,
    below,
    compare,
    in_turn,
    queueing,
    ratios,
    spread,
)


class TestARun:
    def test_has_a_rate(self) -> None:
        assert Run(checks=900, seconds=4.5).per_s == 200

    @pytest.mark.parametrize(
        ("run", "why"),
        [
            (Run(100, 1.0), ""),
            (Run(99, 1.0), "only 99 checks were made"),
            (Run(0, 0.0), "only 0 checks were made"),
            (Run(5000, 1.0, simulator=0.95), "the simulator used 95% of a core"),
            (Run(5000, 1.0, trouble="7 answers were not the usual one"), "7 answers were not the usual one"),
        ],
    )
    def test_is_worth_nothing_where_the_work_was_not_done(self, run: Run, why: str) -> None:
        assert run.why_invalid() == why


class TestTheRatios:
    def test_are_made_within_each_repetition(self) -> None:
        assert ratios([Run(100, 1), Run(400, 1)], [Run(200, 1), Run(1600, 1)]) == [0.5, 0.25]

    def test_are_told_with_their_spread(self) -> None:
        assert spread([0.25, 1.0, 0.5], 2) == {"median": 0.5, "min": 0.25, "max": 1.0}

    def test_and_rates_stand_in_one_result(self) -> None:
        runs = {"ours": [Run(1000, 2, 1.0), Run(3000, 2, 3.0)], "loop": [Run(1000, 1), Run(3000, 1)]}
        told = compare(runs)
        assert told["valid"] is True
        assert (told["ratio_to_loop"], told["repetitions"]) == (0.5, 2)
        assert told["checks_per_s"] == {
            "ours": {"median": 1000.0, "min": 500.0, "max": 1500.0},
            "loop": {"median": 2000.0, "min": 1000.0, "max": 3000.0},
        }
        assert told["cpu_us_per_check"] == {"ours": 1000}

    def test_of_a_run_that_did_nothing_are_not_valid(self) -> None:
        told = compare({"ours": [Run(5, 2)], "loop": [Run(1000, 1)]})
        assert (told["valid"], told["trouble"]) == (False, ["ours: only 5 checks were made"])

    def test_come_from_turns_there_and_back(self) -> None:
        assert [in_turn(["a", "b", "c"], number) for number in range(2)] == [["a", "b", "c"], ["c", "b", "a"]]


class TestALoad:
    CAPACITY = Run(2000, 2.0)

    def loaded(self, waits: Sequence[float | None] = (0.25,) * 100, **changed: Any) -> Loaded:
        return Loaded(**{"capacity": self.CAPACITY, "offered": 800.0, "waits_s": waits, **changed})

    def test_comes_at_random_and_at_its_rate(self) -> None:
        times = arrivals(200.0, 20_000, seed=3)
        assert (times == sorted(times), times == arrivals(200.0, 20_000, seed=3)) == (True, True)
        assert round(times[-1]) == 100
        gaps = [later - earlier for earlier, later in pairwise(times)]
        assert round(statistics.stdev(gaps) / statistics.mean(gaps), 1) == 1.0

    @pytest.mark.parametrize(("share", "value"), [(0.5, 50), (0.95, 95), (0.99, 99), (1.0, 100), (0.001, 1)])
    def test_is_told_by_the_wait_that_a_share_does_not_exceed(self, share: float, value: int) -> None:
        assert below([*range(100, 0, -1)], share) == value
        assert below([7.0], share) == 7.0

    @pytest.mark.parametrize(
        ("changed", "why"),
        [
            ({}, ""),
            ({"waits_s": [0.1] * 99}, "only 99 checks were made"),
            ({"waits_s": [0.1] * 100 + [None, None]}, "2 of 102 orders were not asked about"),
            ({"waits_s": []}, "only 0 checks were made"),
            ({"capacity": Run(5, 1.0)}, "only 5 checks were made"),
            ({"simulator": 0.95}, "the simulator used 95% of a core"),
        ],
    )
    def test_is_worth_nothing_where_an_order_was_not_asked_about(self, changed: dict[str, Any], why: str) -> None:
        assert self.loaded(**changed).why_invalid() == why

    def test_is_told_with_its_waits(self) -> None:
        slow = self.loaded([0.1] * 98 + [0.5, 4.0], offered=400.0, simulator=0.4)
        told = queueing([self.loaded(), slow, self.loaded()], 0.8)
        assert (told["valid"], told["offered_load"], told["p99_s"], told["orders"]) == (True, 0.8, 0.25, 300)
        assert told["queueing_s"] == {
            "p50": {"median": 0.25, "min": 0.1, "max": 0.25},
            "p95": {"median": 0.25, "min": 0.1, "max": 0.25},
            "p99": {"median": 0.25, "min": 0.25, "max": 0.5},
            "max": {"median": 0.25, "min": 0.25, "max": 4.0},
        }
        assert (told["offered_per_s"], told["simulator_cpu"]) == ({"median": 800.0, "min": 400.0, "max": 800.0}, 0.4)
        assert told["capacity_per_s"] == {"median": 1000.0, "min": 1000.0, "max": 1000.0}

    def test_that_was_lost_is_not_valid(self) -> None:
        told = queueing([self.loaded([None] * 100)], 0.8)
        assert (told["valid"], told["trouble"]) == (False, ["100 of 100 orders were not asked about"])
        assert (told["queueing_s"], "p99_s" in told) == ({}, False)


class TestTheScript:
    def test_refuses_a_workload_that_does_not_exist_and_names_those_that_do(self) -> None:
        done = subprocess.run([*RUN, "--workload", "W9"], capture_output=True, text=True, check=False, timeout=120)
        assert (done.returncode, "invalid choice: 'W9' (choose from 'W1', 'W4', 'W5')" in done.stderr) == (2, True)

    @pytest.mark.slow
    def test_measures_a_little_and_says_so(self) -> None:
        size = ["--orders", "400", "--seconds", "3", "--repetitions", "1", "--growth", "200", "400", "--json"]
        done = subprocess.run([*RUN, *size], capture_output=True, text=True, check=False, timeout=300)
        told = [json.loads(line) for line in done.stdout.splitlines()]
        wanted = [("W1", 0), ("W1", 100), ("W4", None), ("W5", 0), ("W5", 100)]
        assert [(one["workload"], one.get("provider_ms")) for one in told] == wanted
        assert (done.returncode, [one["valid"] for one in told]) == (0, [True] * 5), done.stderr[-2000:]
        assert all(one["p99_s"] > 0 for one in told[3:])
        assert all(one["ratio_to_loop"] > 0 and one["ratio_to_celery"] > 0 for one in told[:2])

    @pytest.mark.slow
    def test_fails_where_too_little_was_done(self) -> None:
        size = ["--workload", "W1", "--orders", "50", "--seconds", "3", "--repetitions", "1", "--json"]
        done = subprocess.run([*RUN, *size], capture_output=True, text=True, check=False, timeout=300)
        told = [json.loads(line)["valid"] for line in done.stdout.splitlines()]
        assert (done.returncode, told) == (1, [False, False])


class TestOrdersThroughHttp:
    def test_have_percentiles_and_cpu_for_each(self) -> None:
        heard = Heard(seconds=2.0, cpu_s=0.5, took_s=[n / 1000 for n in range(101)])
        assert [heard.percentile_ms(percent) for percent in (50, 95, 99)] == [50.0, 95.0, 99.0]
        assert (heard.per_s, round(heard.cpu_ms, 3)) == (50.5, 4.95)

    def test_of_which_there_are_none_have_no_figures(self) -> None:
        assert (Heard().per_s, Heard().cpu_ms, Heard().percentile_ms(99)) == (0.0, 0.0, 0.0)

    @pytest.mark.slow
    def test_are_measured_and_counted(self) -> None:
        command = [
            sys.executable,
            str(ROOT / "scripts" / "bench" / "create.py"),
            "--seconds",
            "1",
            "--repetitions",
            "1",
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
        told = json.loads(done.stdout)
        assert (done.returncode, told["valid"]) == (0, True), (done.stdout, done.stderr[-2000:])
        assert told["ratio_to_bare"]["median"] > 0
        assert told["half_load"]["p99_ms"] > 0
