"""The process dies, or the database does, at every named point in the life of an order, and all heals by itself."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from django.db import OperationalError, connection, connections

from apps.common import checkpoints, clock
from apps.common.checkpoints import CHECKPOINTS
from apps.journal.models import Heartbeat
from apps.orders import monitoring, services
from apps.orders.creation import NewOrder
from apps.orders.models import Attempt, Evidence, Order, OrderEvent
from apps.providers.models import Integration
from tests.factories import (
    Shop,
    Stage,
    check_invariants,
    make_shop,
    new_player,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

PRICE = 35_000_000
COST = 31_500_000

ELSEWHERE = frozenset({"ask.before_first_byte", "resend.before_commit", "resend.after_commit", "hook.after_store"})
"""Points of orders at other protocols: where asking may buy, a lost purchase is sent again, a provider calls us."""

ONE_LIFE = (
    ("create.before_commit", 1),
    ("wake.before_publish", 1),
    ("create.after_commit", 1),
    ("dispatch.before_commit", 1),
    ("dispatch.after_commit", 1),
    ("dispatch.before_first_byte", 1),
    ("dispatch.after_send", 1),
    ("settle.before_commit", 1),
    ("wake.before_publish", 2),
    ("settle.after_commit", 1),
    ("ask.after_claim", 1),
    ("ask.after_answers", 1),
    ("apply.before_commit", 1),
    ("apply.after_commit", 1),
)
"""Every point that an order of one unit passes, in order, and the how-manieth time."""

NEVER_SENT = {"dispatch.after_commit", "dispatch.before_first_byte"}
"""Who dies here has written the attempt and sent nothing. ZNET never proves an absence: a person decides."""


class Crash(BaseException):
    """The process is gone: nothing that catches `Exception` can help."""


class Life:
    """One customer's wish, carried out by a client and workers who start again whenever they died."""

    def __init__(self, stage: Stage, *, quantity: int = 1) -> None:
        self.stage = stage
        self.shop: Shop = make_shop(stage.url)
        self.wish = NewOrder(self.shop.package.code, quantity, {"player_id": new_player()})

    def begin(self) -> None:
        """The client orders, a worker sweeps, a minute later again; dies where the hook says so."""
        services.create_order(self.shop.customer, self.wish, "one-wish", clock.now())
        monitoring.sweep()
        self.stage.move(60)
        monitoring.sweep()

    def heal(self) -> Order:
        """The client repeats what got no answer; sweeps go on, past every lease of the dead, until nothing is due."""
        checkpoints.set_hook(None)
        created = services.create_order(self.shop.customer, self.wish, "one-wish", clock.now())
        self.stage.move(monitoring.TOKEN_FOR.total_seconds())
        self.stage.run_until_quiet(for_s=3600)
        return created.order


def hook_at(name: str, time: int, act: Callable[[], None]) -> Callable[[str], None]:
    """A hook that acts when `name` is reached for the `time`-th time."""
    reached: Counter[str] = Counter()

    def hook(seen: str) -> None:
        reached[seen] += 1
        if (seen, reached[seen]) == (name, time):
            act()

    return hook


def die() -> None:
    """As `kill -9`: the connection breaks without a commit, and whoever swept keeps the token in the grave."""
    sweeping = Heartbeat.objects.filter(name=monitoring.SWEEP).exclude(holder="").first()
    if sweeping is not None and not connection.in_atomic_block:
        Heartbeat.objects.filter(pk=sweeping.pk).update(holder="dead")  # the `finally` of the dead gives nothing back
    connection.close()
    raise Crash


def check_whole(stage: Stage, order: Order, quantity: int = 1) -> None:
    """Exactly one purchase per unit, every PIN stored, the money where it belongs."""
    assert len(stage.truth("asked")) == len(stage.purchases()) == quantity
    assert sorted(pins_of(order)) == sorted(row["pin"] for row in stage.purchases())
    assert standing_of(order) == ("completed", "completed", "")
    assert sums_of(order) == {"hold": quantity * PRICE, "capture": quantity * PRICE, "cost": quantity * COST}
    check_invariants(stage)


def check_a_persons_question(stage: Stage, order: Order) -> None:
    """Nothing was sent, nothing is known, the money is held, and the order is in somebody's queue."""
    assert stage.truth("asked") == []
    assert standing_of(order) == ("review", "unknown", "waiting:in_doubt")
    assert sums_of(order) == {"hold": PRICE}
    check_invariants(stage)


class TestACrash:
    def test_is_tried_at_every_point_that_has_a_name(self, stage: Stage) -> None:
        reached: Counter[str] = Counter()
        passed: list[tuple[str, int]] = []

        def note(name: str) -> None:
            reached[name] += 1
            passed.append((name, reached[name]))

        checkpoints.set_hook(note)
        life = Life(stage)
        life.begin()
        checkpoints.set_hook(None)
        assert tuple(passed) == ONE_LIFE
        assert {name for name, _ in ONE_LIFE} == CHECKPOINTS - ELSEWHERE
        check_whole(stage, Order.objects.get())

    @pytest.mark.parametrize(("name", "time"), ONE_LIFE)
    def test_heals_by_itself(self, stage: Stage, name: str, time: int) -> None:
        life = Life(stage)
        checkpoints.set_hook(hook_at(name, time, die))
        with pytest.raises(Crash):
            life.begin()
        order = life.heal()
        if name in NEVER_SENT:
            check_a_persons_question(stage, order)
        else:
            check_whole(stage, order)
        assert Order.objects.count() == 1

    @pytest.mark.parametrize("time", [1, 2])
    @pytest.mark.parametrize(
        "name", ["dispatch.before_commit", "dispatch.after_send", "settle.before_commit", "settle.after_commit"]
    )
    def test_between_two_units_heals_by_itself(self, stage: Stage, name: str, time: int) -> None:
        life = Life(stage, quantity=2)
        checkpoints.set_hook(hook_at(name, time, die))
        with pytest.raises(Crash):
            life.begin()
        check_whole(stage, life.heal(), quantity=2)

    def test_after_crash_after_crash_heals_by_itself(self, stage: Stage) -> None:
        """Every worker that takes the order over dies in its turn."""
        life = Life(stage)
        deaths = 0
        for name in ("create.after_commit", "dispatch.before_commit", "settle.before_commit", "ask.after_answers"):
            checkpoints.set_hook(hook_at(name, 1, die))
            with pytest.raises(Crash):
                life.begin()
            deaths += 1
            checkpoints.set_hook(None)
            stage.move(100)
        assert deaths == 4
        check_whole(stage, life.heal())

    def test_leaves_the_sweeps_token_to_nobody_for_a_minute(self, stage: Stage) -> None:
        life = Life(stage)
        checkpoints.set_hook(hook_at("dispatch.after_commit", 1, die))
        with pytest.raises(Crash):
            life.begin()
        checkpoints.set_hook(None)
        assert not monitoring.sweep().ran
        stage.move(monitoring.TOKEN_FOR.total_seconds())
        assert monitoring.sweep().ran


COMMITS = ("create.before_commit", "dispatch.before_commit", "settle.before_commit", "apply.before_commit")


@pytest.fixture
def next_commit(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[bool], None]]:
    """Makes the next commit of any thread fail for its caller: after it was done (True), or instead of it (False)."""
    armed: list[bool] = []
    wrapper = cast("Any", type(connections["default"]))
    real = wrapper._commit

    def commit(line: Any) -> None:
        if not armed:
            real(line)
            return
        if armed.pop():
            real(line)
        line.close()
        raise OperationalError("server closed the connection unexpectedly")

    monkeypatch.setattr(wrapper, "_commit", commit)
    yield armed.append
    assert armed == []


class TestACommit:
    @pytest.mark.parametrize(("name", "was_done"), list(itertools.product(COMMITS, [True, False])))
    def test_whose_answer_is_lost_heals_by_itself(
        self, stage: Stage, next_commit: Callable[[bool], None], name: str, was_done: bool
    ) -> None:
        life = Life(stage)
        checkpoints.set_hook(hook_at(name, 1, lambda: next_commit(was_done)))
        try:
            life.begin()
        except OperationalError:
            assert name == "create.before_commit"  # the client is told; everybody else goes on
        order = life.heal()
        if name == "dispatch.before_commit" and was_done:
            check_a_persons_question(stage, order)  # written, and never sent by anybody
        else:
            check_whole(stage, order)
        assert Order.objects.count() == 1

    def test_of_the_attempt_that_fails_sends_nothing(self, stage: Stage, next_commit: Callable[[bool], None]) -> None:
        life = Life(stage)
        order = services.create_order(life.shop.customer, life.wish, "one-wish", clock.now()).order
        checkpoints.set_hook(hook_at("dispatch.before_commit", 1, lambda: next_commit(False)))
        assert services.try_auto_dispatch(order.pk).said == "internal_error"
        assert stage.truth("asked") == []
        assert Attempt.objects.count() == 0
        assert standing_of(order) == ("pending", "not_sent", "waiting:internal_error")


@pytest.mark.postgres
class TestASettlementWithoutItsConnection:
    @pytest.mark.parametrize("name", ["dispatch.after_send", "settle.before_commit"])
    def test_is_done_on_another_one(self, stage: Stage, name: str) -> None:
        life = Life(stage)
        order = services.create_order(life.shop.customer, life.wish, "one-wish", clock.now()).order
        checkpoints.set_hook(hook_at(name, 1, connection.connection.close))
        assert services.try_auto_dispatch(order.pk).said == "accepted"
        checkpoints.set_hook(None)
        assert Attempt.objects.get(order=order).state == "accepted"
        told = [event.data["steps"] for event in OrderEvent.objects.filter(order=order) if "steps" in event.data]
        assert [[step["n"] for step in steps] for steps in told] == [list(range(1, 16))]
        stage.run_until_quiet()
        check_whole(stage, order)

    def test_is_not_done_again_where_it_was_done(self, stage: Stage) -> None:
        life = Life(stage)
        order = services.create_order(life.shop.customer, life.wish, "one-wish", clock.now()).order
        checkpoints.set_hook(hook_at("settle.after_commit", 1, lose_what_was_committed))
        assert services.try_auto_dispatch(order.pk).said == "set_aside"
        checkpoints.set_hook(None)
        assert Attempt.objects.get(order=order).state == "accepted"
        assert len([kind for kind in story_of(order) if kind != "created"]) == 1
        stage.run_until_quiet()
        check_whole(stage, order)


def lose_what_was_committed() -> None:
    """The commit was done, and the connection breaks before its answer is there."""
    connection.close()
    raise OperationalError("server closed the connection unexpectedly")


class TestASettlementThatFails:
    def fail(self, stage: Stage) -> Order:
        life = Life(stage)
        order = services.create_order(life.shop.customer, life.wish, "one-wish", clock.now()).order

        def break_down() -> None:
            raise RuntimeError("a column is missing")

        checkpoints.set_hook(hook_at("settle.before_commit", 1, break_down))
        assert services.try_auto_dispatch(order.pk).said == "set_aside"
        checkpoints.set_hook(None)
        return order

    def test_keeps_the_raw_answer_and_nothing_half(self, stage: Stage) -> None:
        order = self.fail(stage)
        assert [(row.verb, row.outcome) for row in Evidence.objects.filter(order=order)] == [("place", "accepted")]
        assert Attempt.objects.get(order=order).state == "sending"
        assert standing_of(order) == ("processing", "sending", "")
        assert story_of(order) == ["created"]
        assert sums_of(order) == {"hold": PRICE}

    def test_is_found_out_by_asking(self, stage: Stage) -> None:
        order = self.fail(stage)
        stage.run_until_quiet()
        order.refresh_from_db()
        assert order.provider_referans == Attempt.objects.get(order=order).reference
        check_whole(stage, order)

    def test_buys_nothing_again_although_the_route_is_still_open(self, stage: Stage) -> None:
        order = self.fail(stage)
        Integration.objects.update(paused_until=None)
        for _ in range(3):
            assert services.try_auto_dispatch(order.pk).said == "dispatched_already"
        assert len(stage.truth("asked")) == 1
