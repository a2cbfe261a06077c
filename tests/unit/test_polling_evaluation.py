"""The measurement of the learned policy: its figures at a size that a test can wait for, and its best schedule."""

from __future__ import annotations

import io
import json

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from apps.proof.polling import best_ages, by_ages, by_schedule, cost_of, draws
from apps.simulator.laws import LAWS

ORDERS = 400


@pytest.fixture(scope="module")
def told() -> list[dict[str, float | str]]:
    """What the command prints, line by line."""
    out = io.StringIO()
    call_command("polling", evaluate=True, as_json=True, orders=ORDERS, stdout=out)
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.slow
class TestTheCommand:
    def test_ends_with_the_ratios_that_are_accepted(self, told: list[dict[str, float]]) -> None:
        verdict = told[-1]
        assert verdict.keys() == {
            "worst_to_spec",
            "median_to_spec",
            "worst_to_optimum",
            "worst_to_optimum_dead_zone",
        }
        assert verdict["worst_to_spec"] <= 1.05
        assert verdict["median_to_spec"] <= 0.8
        assert verdict["worst_to_optimum"] <= 1.6
        assert verdict["worst_to_optimum_dead_zone"] <= 2.4

    def test_has_a_line_for_every_law_at_every_price(self, told: list[dict[str, float | str]]) -> None:
        lines = {(line["law"], line["price_s"]) for line in told if "law" in line}
        assert lines == {(law, price_s) for law in LAWS for price_s in (5, 15, 30, 60)}

    def test_finds_the_best_schedule_cheaper_than_the_fixed_one(self, told: list[dict[str, float]]) -> None:
        assert all(line["to_optimum"] > line["to_spec"] for line in told if "law" in line)

    def test_shows_the_first_orders_as_the_schedule_has_them(self, told: list[dict[str, float | str]]) -> None:
        first = next(line for line in told if line.get("name") == "A, orders 0 to 20")
        assert first["learned_s"] == pytest.approx(first["schedule_s"], rel=0.05)


class TestTheCommandsArguments:
    def test_are_enough_orders_to_learn_from(self) -> None:
        with pytest.raises(CommandError, match="at least 100"):
            call_command("polling", evaluate=True, orders=99)


class TestTheBestSchedule:
    def test_of_one_known_moment_asks_once_just_after_it(self) -> None:
        ages = best_ages([100.0] * 50, 15)
        assert len(ages) == 1
        assert 100 <= ages[0] <= 101

    def test_of_the_memoryless_law_keeps_its_gap(self) -> None:
        ages = best_ages(draws(LAWS["C"], 20_000, 1), 30)[:5]
        gaps = [b - a for a, b in zip([0.0, *ages], ages, strict=False)]
        assert all(105 <= gap <= 150 for gap in gaps)  # sqrt(2 x 30 x 300) is 134; less the second order of its theory

    def test_is_no_dearer_than_the_fixed_one(self) -> None:
        ends_s = draws(LAWS["D"], 2000, 3)
        assert cost_of(by_ages(ends_s, best_ages(ends_s, 15)), 15) < cost_of(by_schedule(ends_s), 15)
