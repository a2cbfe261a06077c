"""L2: any order of customers, workers, operators, crashes, time and a moody panel; Hypothesis looks for a bad story.

After every step nothing that must always hold is broken. At the end all is healed and drained: nothing is lost, and
what the panel really sold is what we say that we bought.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from hypothesis import HealthCheck, Phase, Verbosity, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from apps.common import checkpoints, clock
from apps.common.checkpoints import CHECKPOINTS
from apps.journal.models import Heartbeat
from apps.ops.invariants import violations
from apps.orders import decisions, monitoring, services
from apps.orders.creation import IdempotencyMismatch, NewOrder, OrderRefused
from apps.orders.models import Attempt, Order
from apps.orders.states import SETTLED
from tests.factories import Stage, add_route, check_invariants, make_integration, make_shop, new_player, pins_of
from tests.functional.core_fixtures import PLAIN_SWITCHES, committed, empty_postgres, empty_sqlite, simulator, stage

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

FATES: tuple[dict[str, Any], ...] = (
    {},
    {"complete_after_s": 150},
    {"place": "accept_then_reset"},
    {"place": "accept_then_500"},
    {"place": "accept_then_html"},
    {"place": "accept_then_cut"},
    {"place": "accept_then_rate_limited"},
    {"place": "refuse", "refuse_class": "product"},
    {"place": "refuse", "refuse_class": "balance"},
    {"place": "unlisted_text"},
    {"place": "reset_before"},
    {"place": "error_500_before"},
    {"visible_after_s": 100, "place": "accept_then_reset"},
    {"status_faults": ["500", "html", "unknown_word"]},
    {"pin_blank_form": "dash", "pin_late_s": 300},
    {"pin_while_waiting": True, "complete_after_s": 100},
    {"second_pin_after_s": 200, "second_pin": "SECOND-PIN-1"},
    {"final": "cancelled"},
    {"final": "cancelled", "pin_when_cancelled": True},
    {"status_lag_s": 120},
    {"reverse_after_s": 4000},
    {"final": "never"},
)
"""What the panel does with the orders of one player."""

GAPS = (1, 29, 60, 300, 3600, 90_000)
"""Seconds that pass at once: to the next check, past a lease, past a deadline."""

QUICK: dict[str, Any] = {"rate_per_s": 1000, "burst": 100}
"""Accounts that may be asked without a pause: real seconds prove nothing here."""

AT_ONCE = 5
"""Orders in one story."""

fates = st.sampled_from(FATES)
numbers = st.integers(0, 30)


class Crash(BaseException):
    """The process is gone: nothing that catches `Exception` can help."""


def die_at(name: str) -> Callable[[str], None]:
    """A hook that kills whoever comes to this checkpoint first, as `kill -9`; the sweep's token stays with the dead."""

    def hook(reached: str) -> None:
        if reached != name:
            return
        checkpoints.set_hook(None)
        if not connection.in_atomic_block:
            Heartbeat.objects.filter(name=monitoring.SWEEP).exclude(holder="").update(holder="dead")
        connection.close()
        raise Crash(name)

    return hook


def empty_the_database() -> None:
    connection.close()
    {"postgresql": empty_postgres, "sqlite": empty_sqlite}[connection.vendor]()
    connection.close()


class Life(RuleBasedStateMachine):
    """One shop with two accounts at the same panel, and everybody who does something to its orders."""

    stage: Stage
    """Of the test that runs this; a new one begins with every story."""

    @initialize(fates=st.lists(fates, min_size=3, max_size=3), quantity=st.integers(1, 2))
    def open_the_shop(self, fates: list[dict[str, Any]], quantity: int) -> None:
        """With three orders that wait, so that no story is about nothing."""
        empty_the_database()
        self.stage = Stage(type(self).stage.traveller, type(self).stage.simulator)
        self.stage.simulator.switch(**PLAIN_SWITCHES)
        self.shop = make_shop(self.stage.url, balance="100000", **QUICK)
        add_route(self.shop.package, make_integration(self.shop.tenant, self.stage.url, **QUICK), position=2)
        self.wishes: list[NewOrder] = []
        for fate in fates:
            self.create(fate, quantity, "")

    # customers

    @precondition(lambda self: len(self.wishes) < AT_ONCE)
    @rule(fate=fates, quantity=st.integers(1, 2), name=st.sampled_from(["", "create.after_commit"]))
    def create(self, fate: dict[str, Any], quantity: int, name: str) -> None:
        player = new_player()
        self.stage.simulator.set_fate(recipient=player, **fate)
        self.wishes.append(NewOrder(self.shop.package.code, quantity, {"player_id": player}))
        self.dying_at(name, lambda: self.wish(len(self.wishes) - 1))

    @rule(number=numbers)
    def create_again(self, number: int) -> None:
        """M8: the same key and body is the same order."""
        if self.wishes:
            number %= len(self.wishes)
            assert self.wish(number).pk == self.wish(number).pk

    @rule(number=numbers)
    def create_another_under_the_same_key(self, number: int) -> None:
        """M8: the same key and another body is refused."""
        if self.wishes:
            number %= len(self.wishes)
            self.wish(number)
            other = NewOrder(self.shop.package.code, 1, {"player_id": new_player()})
            with pytest.raises(IdempotencyMismatch):
                services.create_order(self.shop.customer, other, f"key-{number}", clock.now())

    def wish(self, number: int) -> Order:
        return services.create_order(self.shop.customer, self.wishes[number], f"key-{number}", clock.now()).order

    # workers

    @rule(number=numbers, name=st.sampled_from(["", *sorted(CHECKPOINTS)]))
    def dispatch(self, number: int, name: str) -> None:
        if order := self.order(number):
            self.dying_at(name, lambda: services.try_auto_dispatch(order.pk))

    @rule(number=numbers, name=st.sampled_from(["", *sorted(CHECKPOINTS)]), is_forced=st.booleans())
    def check(self, number: int, name: str, is_forced: bool) -> None:
        if order := self.order(number):
            self.dying_at(name, lambda: monitoring.check_order(order.pk, is_forced=is_forced))

    @rule(name=st.sampled_from(["", *sorted(CHECKPOINTS)]))
    def sweep(self, name: str) -> None:
        self.dying_at(name, monitoring.sweep)

    def dying_at(self, name: str, act: Callable[[], object]) -> None:
        """Do it; where the checkpoint is passed, whoever does it dies there."""
        checkpoints.set_hook(die_at(name) if name else None)
        try:
            act()
        except Crash:
            pass
        finally:
            checkpoints.set_hook(None)

    # time, people, the panel

    @rule(seconds=st.sampled_from(GAPS))
    def let_time_pass(self, seconds: int) -> None:
        self.stage.move(seconds)

    @rule(number=numbers)
    def ask_again(self, number: int) -> None:
        if order := self.order(number):
            decisions.ask_again(order.pk, "olga", clock.now())

    @rule(number=numbers)
    def refund(self, number: int) -> None:
        """M3: any number of clicks."""
        if order := self.order(number):
            decisions.refund(order.pk, "olga", "goodwill", clock.now())
            assert not decisions.refund(order.pk, "olga", "goodwill", clock.now())

    @rule(down=st.sampled_from(["refuse", None, None]))
    def turn_the_panel(self, down: str | None) -> None:
        self.stage.simulator.switch(down=down)

    def order(self, number: int) -> Order | None:
        orders = list(Order.objects.order_by("id"))
        return orders[number % len(orders)] if orders else None

    # what must hold

    @invariant()
    def nothing_is_broken(self) -> None:
        assert violations(connection) == []

    def teardown(self) -> None:
        """Heal, drain, and look what is left."""
        if not hasattr(self, "wishes"):
            return
        checkpoints.set_hook(None)
        self.stage.simulator.switch(down=None)
        self.drain()
        for wish in self.wishes:
            self.stage.simulator.set_fate(recipient=wish.fields["player_id"])  # what was refused may be bought now
        for row in self.stage.purchases():
            if row["state"] == "waiting":
                self.stage.simulator.finish(row["reference"])
        for number in range(len(self.wishes)):
            try:
                self.wish(number)
            except OrderRefused:  # never created, and the wallet or the shop says no by now
                continue
        self.drain()
        check_invariants(self.stage)
        asked = Counter(entry["reference"] for entry in self.stage.truth("asked"))
        assert [reference for reference, times in asked.items() if times > 1] == []  # one place, one request
        self.check_nothing_is_lost()

    def drain(self) -> None:
        """Sweep past every lease of the dead, for half an hour."""
        self.stage.move(monitoring.TOKEN_FOR.total_seconds())
        self.stage.run_until_quiet(for_s=1800)

    def check_nothing_is_lost(self) -> None:
        """Whoever is not served yet is in a person's queue; every code of a settled order is with its customer."""
        for order in Order.objects.all():
            assert order.status in (*SETTLED, "review"), f"{order.pk}: {order.status} {order.reason}"
        given = {row["reference"]: row["pins"] for row in self.stage.purchases()}
        for attempt in Attempt.objects.filter(state="delivered", is_surplus=False).select_related("order"):
            if attempt.closed_at is not None:
                assert set(given[attempt.reference]) & set(pins_of(attempt.order))


def run(stage: Stage, examples: int, steps: int) -> None:
    """Try that many stories; the same ones every time."""
    story = type("Story", (Life,), {"stage": stage})
    chosen = settings(
        max_examples=examples,
        stateful_step_count=steps,
        derandomize=True,
        database=None,
        deadline=None,
        phases=(Phase.generate, Phase.shrink),
        verbosity=Verbosity.normal,
        suppress_health_check=list(HealthCheck),
    )
    run_state_machine_as_test(story, settings=chosen)


def test_no_short_story_breaks_anything(stage: Stage) -> None:
    run(stage, examples=8 if connection.vendor == "postgresql" else 3, steps=20)


@pytest.mark.slow
def test_no_long_story_breaks_anything(stage: Stage) -> None:
    run(stage, examples=300, steps=50)
