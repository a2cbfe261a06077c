"""One seed: clients, workers, a sweep and people act on the real code, one at a time, until all is healed."""

from __future__ import annotations

import heapq
import logging
import math
import random
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from django.core.cache import cache
from django.db import connection
from django.db.models import Max, Min
from django.test.utils import override_settings

from apps.common import broker, checkpoints, clock, multiplex, transport
from apps.orders import decisions, monitoring, tasks
from apps.orders.creation import create_order
from apps.orders.models import DueCheck
from apps.orders.states import DueKind
from apps.proof import verdict
from apps.proof.baton import Actor, Baton, Job, Killed, lose_next_commit
from apps.proof.empty import empty_database
from apps.proof.faults import Swarm, draw_swarm
from apps.proof.line import Line
from apps.proof.shop import WARES, Shop, Wish, open_shop
from apps.proof.verdict import LONGEST_GAP, Verdict
from apps.proof.virtual import START, InlinePool, VirtualTime, join_play, leave_play, plays, stand_ins, swapped
from apps.providers.models import REFUSED_FOR, PackageMapping
from apps.simulator.ledger import Entry

TICK_S = 5.0
"""Beat asks for a sweep this often; a run only plays the ticks at which something is due."""

ARRIVE_WITHIN_S = 600.0
CHAOS_AFTER_S = 1500.0
"""Seconds for which faults go on after the last client came."""

QUIET_AFTER_S = 2600.0
"""Seconds from the last thing that happens at a provider until everybody knows: a few questions at the longest gap."""

PAUSE_S = 600.0
TOKEN_S = 30.0
"""When another sweep is tried after one that found the token taken."""

MOST_TURNS = 100_000


@dataclass(frozen=True, slots=True)
class Plan:
    """What to play: the same plan is the same run, byte for byte. `left_out` are wishes that nobody has."""

    seed: int
    orders: int = 50
    swarm: Swarm | None = None
    left_out: frozenset[int] = frozenset()

    def drawn(self) -> Swarm:
        """The faults of this run."""
        return self.swarm or draw_swarm(self.seed)


@dataclass(slots=True)
class Counts:
    """What went wrong on purpose."""

    crashes: int = 0
    commits: int = 0
    pauses: int = 0
    messages: int = 0
    operators: int = 0


@dataclass(frozen=True, slots=True)
class Played:
    """One run that is over: what was found, what was done to it, and its trace."""

    plan: Plan
    verdict: Verdict
    counts: Counts
    line_faults: int
    errors: list[str] = field(repr=False)
    trace: list[str] = field(repr=False)


def play(plan: Plan) -> Played:
    """Play one seed on the configured database, which is emptied first; raises `NotOurs` for one that is in use."""
    empty_database()
    cache.clear()
    run = Run(plan)
    with run.in_place():
        run.go()
        return Played(plan, verdict.judge(run.facts()), run.counts, run.line.faults, run.baton.errors, run.trace)


class Run:
    """The scheduler of one seed; also who draws the faults at checkpoints, and the broker."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.swarm = plan.drawn()
        self.clock = VirtualTime()
        self.dice = random.Random(f"{plan.seed}:turns")
        self.fault_dice = random.Random(f"{plan.seed}:points")
        self.message_dice = random.Random(f"{plan.seed}:messages")
        self.baton = Baton(actors=2 + plan.seed % 3)
        self.line = Line(plan.seed, self.swarm, self.clock, self.baton, self)
        self.line.later = self._later
        self.counts = Counts()
        self.trace: list[str] = []
        self.early: list[str] = []
        self.is_calm = False
        self._events: list[tuple[float, int, Callable[[], object]]] = []
        self._numbers = 0
        self._jobs: list[Job] = []
        self._sweep_at = 0.0
        self._is_sweeping = 0
        self._no_sweep_before = 0.0
        self._waiting_wishes = 0
        self.shop: Shop
        self.wishes: list[Wish] = []

    # The whole

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Virtual time, dice, network, broker and checkpoints in place of the real ones; silent logs."""
        inner_dice = random.Random(f"{self.plan.seed}:inner")
        swaps = [
            (transport.send_once, self.line.send_once),
            (multiplex.ask_many, self.line.ask_many),
            (broker.publish, self.publish),
            (clock.now, self.clock.now),
        ]
        rooms = ("apps.orders", "apps.providers", "apps.journal", "apps.wallet")
        with ExitStack() as stack:
            join_play()
            stack.callback(leave_play)
            stack.enter_context(swapped(swaps))
            stack.enter_context(swapped([*stand_ins(self.clock, inner_dice, self.sleep), *_threads()], rooms))
            stack.enter_context(override_settings(REDIS_URL=""))  # the budgets are kept in the proof's own database
            stack.callback(checkpoints.set_hook, None)
            stack.callback(logging.disable, logging.root.manager.disable)
            logging.disable(logging.CRITICAL)
            self.shop = open_shop()
            checkpoints.set_hook(self.at_point)
            stack.callback(self.baton.end)
            yield

    def go(self) -> None:
        """Play until it is healed and quiet."""
        self._plan_clients()
        self._plan_people()
        self._at(ARRIVE_WITHIN_S + CHAOS_AFTER_S, self._heal)
        for _ in range(MOST_TURNS):
            if not self._turn():
                break
        else:
            self.early.append("the run does not come to rest")
        self.line.settle()

    def facts(self) -> verdict.Facts:
        """What the judge needs."""
        wishes = [wish for wish in self.wishes if wish.number not in self.plan.left_out]
        return verdict.Facts(wishes, self.line.truth.all, self.early, self.clock.now(), self.line.worlds)

    # One turn

    def _turn(self) -> bool:
        """One actor does one step, or time goes on; False when there is nothing left to happen."""
        self._do_events()
        self.baton.wake(self.clock.elapsed_s)
        self._hand_out()
        ready = self.baton.ready()
        if ready:
            self._step(ready[self.dice.randrange(len(ready))])
            return True
        return self._pass_time()

    def _hand_out(self) -> None:
        idle = self.baton.idle()
        while self._jobs and idle:
            actor = idle.pop(self.dice.randrange(len(idle)))
            actor.job = self._jobs.pop(self.dice.randrange(len(self._jobs)))
            self.note(f"begins {actor.job.name}", actor)

    def _step(self, actor: Actor) -> None:
        job = actor.job
        actor.go_on()
        if actor.job is not None or job is None:
            return
        if actor.died is not None:
            self.note(f"{job.name} ended by {type(actor.died).__name__}", actor)
            if job.lost is not None:
                job.lost(actor.died)
        if isinstance(actor.died, Killed):
            actor.is_sleeping, actor.wakes_at = True, self.clock.elapsed_s + self.dice.uniform(1, 20)

    def _pass_time(self) -> bool:
        """Move to the next thing that happens."""
        coming = [at for at in (self._next_event(), self.baton.next_wake(), self._next_sweep()) if at is not None]
        if not coming:
            return False
        self.clock.advance_to(min(coming))
        if self._sweep_at and self._sweep_at <= self.clock.elapsed_s:
            self._sweep_at = 0.0
            self._jobs.append(self._sweep_job())
        return True

    def _next_event(self) -> float | None:
        return self._events[0][0] if self._events else None

    def _next_sweep(self) -> float | None:
        """The tick of beat at which something is due; none when nothing more is expected."""
        if self._is_sweeping and not self._are_sweeps_asleep():
            return None
        due = DueCheck.objects.all() if not self.is_calm else DueCheck.objects.exclude(kind=DueKind.WATCH)
        next_at = due.aggregate(first=Min("next_at"))["first"]
        if next_at is None:
            return None
        at_s = max((next_at - START).total_seconds(), self.clock.elapsed_s + 0.001, self._no_sweep_before)
        if self.is_calm and at_s > self._rest_at() and at_s > self._mappings_tried_at():
            return None
        self._sweep_at = math.ceil(at_s / TICK_S) * TICK_S
        return self._sweep_at

    def _are_sweeps_asleep(self) -> bool:
        sweeps = [actor for actor in self.baton.actors if actor.job is not None and actor.job.name == "sweep"]
        return len(sweeps) == self._is_sweeping and all(actor.is_sleeping for actor in sweeps)

    def _rest_at(self) -> float:
        """Until when somebody still learns something new."""
        steps = [
            step for world in self.line.worlds.values() for each in world.purchases() if (step := each.next_step())
        ]
        last = max((at for at, _ in steps), default=0.0) - START.timestamp()
        done = [each.finished_at for world in self.line.worlds.values() for each in world.purchases()]
        latest = max(last, max(done, default=0.0) - START.timestamp(), ARRIVE_WITHIN_S + CHAOS_AFTER_S)
        return latest + QUIET_AFTER_S

    def _mappings_tried_at(self) -> float:
        """Until when ids that a provider refused are tried again: what waits for them is not forgotten before."""
        refused_at = PackageMapping.objects.aggregate(last=Max("refused_at"))["last"]
        return (refused_at + REFUSED_FOR + LONGEST_GAP - START).total_seconds() if refused_at else 0.0

    # Events

    def _at(self, at_s: float, act: Callable[[], object]) -> None:
        self._numbers += 1
        heapq.heappush(self._events, (at_s, self._numbers, act))

    def _later(self, seconds: float, act: Callable[[], object]) -> None:
        self._at(self.clock.elapsed_s + seconds, act)

    def _do_events(self) -> None:
        while self._events and self._events[0][0] <= self.clock.elapsed_s:
            heapq.heappop(self._events)[2]()

    def _add(self, name: str, act: Callable[[], Any], lost: Callable[[BaseException], None] | None = None) -> None:
        self._jobs.append(Job(name, act, lost))

    def _heal(self) -> None:
        self.note("everything is healed")
        self.is_calm = True
        self.swarm = Swarm(frozenset())
        self.line.heal()

    # Clients

    def _plan_clients(self) -> None:
        dice = random.Random(f"{self.plan.seed}:clients")
        for number in range(1, self.plan.orders + 1):
            ware = WARES[dice.randrange(len(WARES))]
            customer = self.shop.customers[dice.randrange(len(self.shop.customers))]
            wish = Wish(number, ware, customer, dice.randint(1, ware.most))
            self.wishes.append(wish)
            at_s = dice.uniform(0, ARRIVE_WITHIN_S)
            self._at(at_s, lambda wish=wish: self._send(wish))  # type: ignore[misc]
            if self.swarm.has("client_again", 0.3, dice):
                self._at(at_s + dice.choice((0.0, 0.0, 5.0)), lambda wish=wish: self._send(wish))  # type: ignore[misc]

    def _send(self, wish: Wish) -> None:
        if wish.number in self.plan.left_out:
            return

        def order() -> None:
            wish.order_id = create_order(wish.customer, wish.new_order(), wish.key, clock.now()).order.pk

        def again(error: BaseException) -> None:
            wish.tries += 1
            self._later(5.0 * wish.tries, lambda: self._send(wish))

        self._add(f"client {wish.number}", order, again)

    # People

    def _plan_people(self) -> None:
        dice = random.Random(f"{self.plan.seed}:people")
        for _ in range(self.plan.orders // 3):
            at_s = dice.uniform(30, ARRIVE_WITHIN_S + CHAOS_AFTER_S)
            if self.swarm.has("operator", 0.9, dice):
                number, act = dice.randint(1, self.plan.orders), dice.choice(("ask", "ask", "ask", "refund"))
                self._at(at_s, lambda number=number, act=act: self._click(number, act))  # type: ignore[misc]

    def _click(self, number: int, act: str) -> None:
        order_id = self.wishes[number - 1].order_id
        if order_id is None:
            return
        self.counts.operators += 1
        clicks = {
            "ask": lambda: decisions.ask_again(order_id, "operator", clock.now()),
            "refund": lambda: decisions.refund(order_id, "operator", "asked for", clock.now()),
        }
        self._add(f"operator {act} order {order_id}", clicks[act])

    # The sweep and the broker

    def _sweep_job(self) -> Job:
        self._is_sweeping += 1

        def over(error: BaseException | None = None) -> None:
            self._is_sweeping -= 1

        def sweep() -> None:
            if not monitoring.sweep().ran:
                self._no_sweep_before = self.clock.elapsed_s + TOKEN_S
            over()

        return Job("sweep", sweep, over)

    def publish(self, task: str, args: list[Any], *, countdown: float = 0, expires: float | None = None) -> bool:
        """The broker: may lose a message, deliver it twice or late, or take nothing."""
        dice, swarm = self.message_dice, self.swarm
        name = f"{task.rpartition('.')[2]} order {args[0]}"
        thrown = [
            ("down", swarm.has("broker_down", 0.2, dice)),
            ("lost", swarm.has("lost_message", 0.25, dice)),
            ("twice", swarm.has("double_message", 0.25, dice)),
            ("late", swarm.has("late_message", 0.15, dice)),
        ]
        what = next((word for word, happens in thrown if happens), "")
        self.counts.messages += bool(what)
        self.note(f"message {name} {what}".rstrip())
        if what in ("down", "lost"):
            return what == "lost"
        late_s = dice.uniform(0, 3600) if what == "late" else dice.uniform(0, 1)
        dies_at = math.inf if expires is None else self.clock.elapsed_s + expires
        for copy in range(2 if what == "twice" else 1):
            at_s = self.clock.elapsed_s + countdown + late_s + copy * dice.choice((0.0, 30.0))
            if at_s <= dies_at:
                self._message(task, args, at_s - self.clock.elapsed_s)
        return True

    def _message(self, task: str, args: list[Any], after_s: float) -> None:
        """A worker gets this message so many seconds from now."""
        name = f"{task.rpartition('.')[2]} order {args[0]}"
        self._later(after_s, lambda: self._add(name, lambda: _run_task(task, args)))

    def sleep(self, seconds: float) -> None:
        """Whoever runs goes on so many virtual seconds later."""
        self.baton.sleep_until(self.clock.elapsed_s + seconds)

    # Points

    def note(self, text: str, actor: Actor | None = None) -> None:
        """One line of the trace."""
        who = actor or self.baton.current
        self.trace.append(f"{self.clock.elapsed_s:12.6f}  {f'actor {who.number}' if who else 'world':<8}  {text}")

    def at_point(self, name: str) -> None:
        """A checkpoint was reached: the process may die or stop here, or let others go on."""
        actor = self.baton.current
        if actor is None or actor.is_dead or not plays():
            return
        is_inside = connection.in_atomic_block
        fault = self._draw(name, is_inside=is_inside)
        self.note(f"{name}{f': {fault}' if fault else ''}")
        if fault == "crash":
            self.counts.crashes += 1
            actor.die()
        if fault in ("commit_unknown", "commit_failed"):
            self.counts.commits += 1
            lose_next_commit(was_done=fault == "commit_unknown")
        if fault in ("pause", "nap"):
            self.counts.pauses += 1
            self.baton.sleep_until(self.clock.elapsed_s + (PAUSE_S if fault == "pause" else 60 * self.dice.random()))
        elif not is_inside:
            self.baton.step()

    def _draw(self, name: str, *, is_inside: bool) -> str:
        """The fault of this point, if any."""
        dice, swarm = self.fault_dice, self.swarm
        has_commit = is_inside and name.endswith("before_commit")
        may_stop = not is_inside and not name.startswith("line.")
        drawn = (
            ("crash", swarm.has("crash", 0.025, dice)),
            ("commit_unknown", swarm.has("commit_unknown", 0.06, dice) and has_commit),
            ("commit_failed", swarm.has("commit_failed", 0.04, dice) and has_commit),
            ("pause", swarm.has("pause", 0.02, dice) and may_stop),
            ("nap", swarm.has("nap", 0.05, dice) and may_stop),
        )
        return next((fault for fault, happens in drawn if happens), "")

    def at_purchase(self, entry: Entry, sent_at: float) -> None:
        """A placing request has arrived: over another connection, its attempt must be there, and be allowed to send."""
        self.note(
            f"{entry['dialect']} is asked to sell to {entry['recipient']} under {entry['reference'] or 'no name'}"
        )
        errand = self._check_written(entry, sent_at)
        if self.baton.current is None:
            errand()
        else:
            self.baton.step(errand)

    def _check_written(self, entry: Entry, sent_at: float) -> Callable[[], None]:
        def check() -> None:
            found = verdict.check_written(entry, START + timedelta(seconds=sent_at))
            if found:
                self.early.append(found)
                self.note(f"WRONG: {found}")

        return check


def _run_task(task: str, args: list[Any]) -> None:
    getattr(tasks, task.rpartition(".")[2]).run(*args)


class _KeptConnection:
    """The actor's own connection, which real code may close at the end of a thread: here the thread goes on."""

    def __getattr__(self, name: str) -> Any:
        return getattr(connection, name)

    def close(self) -> None:
        """The baton's actors keep theirs."""
        if not plays():
            connection.close()


def _threads() -> list[tuple[object, object]]:
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - only to name what is replaced

    return [(ThreadPoolExecutor, InlinePool), (connection, _KeptConnection())]
