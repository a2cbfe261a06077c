"""The seeded proof finds nothing, is the same twice, says when too little went wrong, and misses each guard."""

from __future__ import annotations

import io
import itertools
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from apps.common import checkpoints, clock
from apps.orders.models import Order
from apps.orders.references import draw_reference
from apps.proof import empty, report
from apps.proof.baseline import play_baseline
from apps.proof.faults import FAULTS, Swarm, draw_fate, draw_swarm
from apps.proof.management.commands.prove import seeds_of
from apps.proof.mutants import MUTANTS, try_mutant
from apps.proof.points import FAULTS as POINT_FAULTS
from apps.proof.points import POINTS, PROVIDERS, RESUMERS, Case, cases_of, play_cases
from apps.proof.run import Plan, play
from apps.proof.shrink import shrink
from apps.proof.virtual import VirtualTime
from tests.functional.core_fixtures import committed

__all__ = ["committed"]

MUTANT = {mutant.name: mutant for mutant in MUTANTS}
CALM = Swarm(frozenset())


def tally_of(*seeds: int, orders: int, swarm: Swarm | None = None) -> report.Seeds:
    """These seeds played and added up."""
    tally = report.Seeds()
    for seed in seeds:
        tally.add(report.as_line(play(Plan(seed, orders, swarm)), 1.0))
    return tally


@contextmanager
def a_stranger() -> Iterator[list[datetime]]:
    """A thread that is no part of any play reads the clock, throws dice, and comes by checkpoints; what it read."""
    seen: list[datetime] = []
    is_over = threading.Event()

    def live() -> None:
        while not is_over.wait(0.002):
            seen.append(clock.now())
            draw_reference("digits18")
            checkpoints.checkpoint("create.after_commit")

    thread = threading.Thread(target=live)
    thread.start()
    try:
        yield seen
    finally:
        is_over.set()
        thread.join()


class TestSeeds:
    @pytest.mark.postgres
    def test_find_nothing_wrong(self, committed: None) -> None:
        tally = tally_of(1, 2, 3, 4, 5, orders=20)
        counts = tally.as_dict(1.0)
        assert tally.failed == []
        assert counts["orders"] == 100
        assert tally.why_invalid() == ""
        assert tally.answerable.total() > 20
        assert tally.answered.total() >= 0.95 * tally.answerable.total()

    @pytest.mark.both_databases
    def test_find_nothing_wrong_with_fewer_orders_either(self, committed: None) -> None:
        tally = tally_of(6, 12, orders=8)
        assert tally.failed == []

    @pytest.mark.both_databases
    def test_are_the_same_twice(self, committed: None) -> None:
        first, second = (play(Plan(4, 5)) for _ in range(2))
        assert "\n".join(first.trace).encode() == "\n".join(second.trace).encode()
        assert len(first.trace) > 100
        assert play(Plan(5, 1)).trace != first.trace

    def test_are_the_same_whatever_else_runs_in_the_process(self, committed: None) -> None:
        quiet = play(Plan(4, 2)).trace
        with a_stranger() as seen:
            assert play(Plan(4, 2)).trace == quiet
        assert len(seen) > 10
        assert all(abs(at - datetime.now(UTC)) < timedelta(hours=1) for at in seen)

    def test_wait_until_ids_that_a_provider_refused_are_tried_again(
        self, committed: None, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Seed 40 with 50 orders came to rest before the hour was over, and called what waited for it forgotten."""
        monkeypatch.setattr("apps.proof.run.QUIET_AFTER_S", 900.0)
        played = play(Plan(4, 4, Swarm(frozenset({"refusal"}), weight=4)))
        assert played.verdict.is_good
        assert played.verdict.by_status == {"completed": 4}

    def test_in_which_too_little_goes_wrong_are_invalid(self, committed: None) -> None:
        tally = tally_of(1, orders=4, swarm=CALM)
        assert tally.failed == []
        assert tally.why_invalid() == (
            "too little went wrong: 0 crashes (at least 1 are needed), 0 attempts in doubt (at least 1 are needed)"
        )

    def test_leave_clock_hook_and_logs_as_they_were(self, committed: None) -> None:
        before = clock.now
        play(Plan(1, 1, CALM))
        assert clock.now is before
        assert checkpoints._hook is None
        assert abs(clock.now() - Order.objects.get().created_at) > timedelta(days=1)


class TestADatabaseInUse:
    def test_is_never_emptied(self, committed: None, monkeypatch: pytest.MonkeyPatch) -> None:
        with monkeypatch.context() as patch:
            patch.setitem(connection.settings_dict, "NAME", "hub")
            with pytest.raises(empty.NotOurs):
                play(Plan(1, 1))


class TestASwarm:
    def test_is_a_part_of_all_faults_and_differs_from_seed_to_seed(self) -> None:
        swarms = [draw_swarm(seed).enabled for seed in range(50)]
        assert all(swarm < set(FAULTS) for swarm in swarms)
        assert len(set(swarms)) > 40
        assert frozenset().union(*swarms) == set(FAULTS)
        assert draw_swarm(7) == draw_swarm(7)

    def test_throws_the_same_dice_whatever_is_enabled(self) -> None:
        dice = [random.Random(1), random.Random(1)]
        draw_fate(dice[0], Swarm(frozenset(FAULTS)))
        for _ in range(3):
            CALM.has("crash", 1.0, dice[1])
        assert [CALM.has("crash", 1.0, one) for one in dice] == [False, False]

    def test_without_faults_draws_purchases_that_go_well(self) -> None:
        fates = [draw_fate(random.Random(number), CALM) for number in range(20)]
        assert {fate.place for fate in fates} == {"accept"}
        assert {fate.final for fate in fates} == {"delivered"}


class TestVirtualTime:
    def test_reaches_every_moment_that_it_is_moved_to(self) -> None:
        time = VirtualTime()
        moments = sorted(random.Random(1).uniform(0, 5000) for _ in range(3000))
        for at_s in itertools.accumulate([*moments[:100], *([0.2] * 3000)]):
            time.advance_to(at_s)
            assert time.elapsed_s >= at_s

    def test_never_shows_the_same_time_twice(self) -> None:
        time = VirtualTime()
        assert time.now() < time.now()


@pytest.mark.postgres
class TestAGuardThatIsOff:
    @pytest.mark.parametrize(
        ("name", "finding"),
        [
            ("reference_at_send", "orphans"),
            ("new_reference", "double_purchases"),
            ("no_check_row", "forgotten"),
        ],
    )
    def test_is_missed_within_two_seeds(self, committed: None, name: str, finding: str) -> None:
        result = try_mutant(MUTANT[name], most_seeds=2)
        assert result.is_killed
        assert finding in result.findings

    def test_is_in_place_again_afterwards(self, committed: None) -> None:
        try_mutant(MUTANT["no_dispatch_row"], most_seeds=1)
        assert tally_of(1, orders=5).failed == []

    def test_is_told_in_a_smaller_story(self, committed: None) -> None:
        with MUTANT["no_dispatch_row"].off():
            failed = play(Plan(1, 8, Swarm(frozenset({"broker_down", "refusal"}), weight=3)))
            assert failed.verdict.wrong["forgotten"]
            story = shrink(failed)
        assert story[0] == "smallest: 1 of 8 orders, faults none"
        assert any("nothing is due" in line for line in story)

    def test_counts_among_at_least_fifteen_that_are_tried(self) -> None:
        assert len(MUTANT) == len(MUTANTS) >= 15


class TestCrashPoints:
    def test_are_every_checkpoint_and_both_sides_of_the_wire(self) -> None:
        assert set(POINTS) == checkpoints.CHECKPOINTS | {"line.written", "line.answered"}
        cases = list(cases_of("dedupes", "sweep"))
        assert {case.point for case in cases if case.fault == "crash"} == set(POINTS)
        assert {case.fault for case in cases} == set(POINT_FAULTS)

    @pytest.mark.parametrize("provider", PROVIDERS)
    @pytest.mark.postgres
    def test_heal_by_a_sweep(self, committed: None, provider: str) -> None:
        points = ("dispatch.after_commit", "dispatch.after_send", "settle.before_commit", "line.written")
        found = play_cases([Case(point, "crash", "sweep", provider) for point in points])
        assert (found.cases, found.reached, found.wrong) == (4, 4, [])

    @pytest.mark.parametrize("resumer", RESUMERS)
    @pytest.mark.both_databases
    def test_at_which_a_sender_sleeps_are_not_forgotten(self, committed: None, resumer: str) -> None:
        """It comes back with the id of an order that nobody could ask about: it is asked about soon, not tomorrow."""
        found = play_cases([Case("dispatch.after_send", "pause", resumer, "neither")])
        assert (found.reached, found.wrong) == (1, [])
        assert dict(found.ends) == {"completed, 1 bought": 1}


@pytest.mark.postgres
class TestTheOldAlgorithm:
    def test_buys_twice_under_the_same_seeds(self, committed: None) -> None:
        counts = [play_baseline(seed, 20) for seed in (1, 2, 3)]
        assert sum(each["double_purchases"] for each in counts) > 0
        assert sum(each["lost_references"] for each in counts) > 0
        assert sum(each["wrong_refunds"] for each in counts) > 0


class TestTheCommand:
    @pytest.fixture(autouse=True)
    def _a_parent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("HUB_PROVE_WORKER", raising=False)

    @pytest.mark.parametrize(("text", "seeds"), [("3..5", [3, 4, 5]), ("7", [7])])
    def test_reads_seeds(self, text: str, seeds: list[int]) -> None:
        assert list(seeds_of(text)) == seeds

    def test_traces_one_seed_alone(self) -> None:
        with pytest.raises(CommandError, match="--trace is for one seed"):
            call_command("prove", "--seeds", "1..2", "--trace")

    @pytest.mark.slow
    def test_plays_on_a_database_of_its_own(self) -> None:
        out = io.StringIO()
        words = ("--seeds", "2..3", "--orders", "10", "--jobs", "2", "--database", "sqlite", "--json")
        call_command("prove", *words, stdout=out)
        counts = json.loads(out.getvalue().splitlines()[-1])
        assert (counts["seeds"], counts["orders"], counts["failed_seeds"]) == (2, 20, [])

    @pytest.mark.slow
    def test_ends_with_2_where_too_little_went_wrong(self) -> None:
        with pytest.raises(CommandError, match="INVALID, not green") as failure:
            call_command("prove", "--seed", "1", "--orders", "1", "--database", "sqlite", stdout=io.StringIO())
        assert failure.value.returncode == 2

    @pytest.mark.slow
    def test_replays_a_seed_byte_by_byte_in_another_process(self) -> None:
        traces = []
        for _ in range(2):
            out = io.StringIO()
            call_command("prove", "--seed", "2", "--orders", "10", "--trace", stdout=out)
            traces.append(out.getvalue().splitlines()[:-1])
        assert traces[0] == traces[1]
        assert len(traces[0]) > 100
