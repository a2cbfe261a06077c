"""The network of a run: calls go into the simulator's dialects as bytes, and come back, or not, as replies."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, Protocol, TypeVar
from urllib.parse import urlsplit

from apps.common.multiplex import Job, JobResult
from apps.common.talk import Exchange, next_step
from apps.common.transport import prepare
from apps.common.wire import Answer, HttpCall, HttpReply, MaybeSent, MaybeSentReason, NotSent, NotSentReason
from apps.proof.baton import Baton
from apps.proof.faults import Swarm, SwarmFates
from apps.proof.virtual import VirtualTime
from apps.simulator import wire
from apps.simulator.dialects import DIALECTS, find_route
from apps.simulator.ledger import Entry, Ledger
from apps.simulator.wire import Ending, Reply
from apps.simulator.world import Account, World

T = TypeVar("T")

HOST = "http://127.0.0.1:9"
NO_REPEATS = frozenset({"smm_v2"})
"""Dialects without a reference: a request that is repeated on the way buys twice there, and no buyer can help it."""

NAMELESS = frozenset({"znet", "smm_v2"})
"""Dialects whose answers do not say which order they are about."""

MaybeHook = Callable[[], NotSentReason | None] | None


class Truth(Ledger):
    """The simulator's ledger, kept in memory."""

    def __init__(self) -> None:
        self.all: list[Entry] = []

    def record(self, event: str, at: float, **fields: Any) -> None:
        """Append one entry."""
        self.all.append({"n": len(self.all) + 1, "at": round(at, 6), "event": event, **fields})

    def entries(self) -> list[Entry]:
        """All of them, in order."""
        return self.all


class Witness(Protocol):
    """Who is told of the run's events."""

    def at_point(self, name: str) -> None:
        """A point where a process may die or stop."""

    def at_purchase(self, entry: Entry, sent_at: float) -> None:
        """A placing request that arrived, and the virtual second at which its first byte left."""


class Line:
    """One network with one world for each dialect behind it."""

    def __init__(self, seed: int, swarm: Swarm, clock: VirtualTime, baton: Baton, witness: Witness) -> None:
        self.swarm = swarm
        self.truth = Truth()
        self.fates = {name: self._fates(name, seed, swarm) for name in DIALECTS}
        self.later: Callable[[float, Callable[[], object]], None] = lambda seconds, act: None
        self.faults = 0
        self._clock = clock
        self._baton = baton
        self._witness = witness
        self._dice = random.Random(f"{seed}:line")
        self.worlds = {name: self._world(name) for name in DIALECTS}

    def _world(self, name: str) -> World:
        dialect = DIALECTS[name]
        account = Account(dialect.login, dialect.password, dialect.secrets)
        return World(dialect, account, dialect.balance * 1000, self.fates[name], self.truth)

    @staticmethod
    def _fates(name: str, seed: int, swarm: Swarm) -> SwarmFates:
        fates = SwarmFates(seed, swarm.without("repeat") if name in NO_REPEATS else swarm)
        return fates.without_names() if name in NAMELESS else fates

    # What stands in for the transport and the multiplexer

    def send_once(self, call: HttpCall, *, before_first_byte: MaybeHook = None, **_kwargs: object) -> Answer:
        """The careful send: proof that nothing left, an answer, or doubt."""
        self._baton.step()
        if self._happens("refused_line", 0.08):
            return NotSent(NotSentReason.REFUSED, "ECONNREFUSED")
        stopped = _ask(before_first_byte)
        if stopped is not None:
            return stopped
        answer, took_s = self._exchange(call, self._clock.elapsed_s)
        self._wait(took_s)
        self._witness.at_point("line.answered")
        return answer

    def ask_many(self, jobs: Sequence[Job[T]], **_kwargs: object) -> list[JobResult[T]]:
        """Many conversations; they take as long as the slowest."""
        results, longest_s = [], 0.0
        for job in jobs:
            result, took_s = self._hold(job)
            results.append(result)
            longest_s = max(longest_s, took_s)
        self._wait(longest_s)
        return results

    def _hold(self, job: Job[T]) -> tuple[JobResult[T], float]:
        exchanges: list[Exchange] = []
        total_s = 0.0
        try:
            step = next_step(job.talk, exchanges)
            while isinstance(step, HttpCall):
                self._baton.step()
                answer, took_s = self._ask_once(step)
                total_s += took_s
                exchanges.append(Exchange(step, answer, 0.0))
                step = next_step(job.talk, exchanges)
        except Exception as error:
            return JobResult(job.key, None, error, tuple(exchanges)), total_s
        return JobResult(job.key, step.value, None, tuple(exchanges)), total_s

    def _ask_once(self, call: HttpCall) -> tuple[Answer, float]:
        if self._happens("refused_line", 0.05):
            return NotSent(NotSentReason.REFUSED, "ECONNREFUSED"), 0.0
        return self._exchange(call, self._clock.elapsed_s)

    # The wire

    def _exchange(self, call: HttpCall, sent_at: float) -> tuple[Answer, float]:
        """What comes of a request whose first byte may be written, and after how many seconds its sender knows."""
        if self._happens("lost_before", 0.05):
            return _timed_out(), call.timeout_s
        if self._happens("late_arrival", 0.05):
            after_s = call.timeout_s * self._dice.random()
            self.later(after_s, lambda: self._forward(call, sent_at))
            self._witness.at_point("line.written")
            return _timed_out(), call.timeout_s
        self._witness.at_point("line.written")
        reply = self._forward(call, sent_at)
        return _as_answer(reply, call)

    def _forward(self, call: HttpCall, sent_at: float) -> Reply:
        """The provider gets the request, now."""
        request = wire.build_request(*_head_and_body(call))
        route = find_route(request.path)
        if route is None:
            return Reply(b"no such page", 404)
        name, endpoint = route
        world, now = self.worlds[name], self._clock.unix()
        world.settle(now)
        seen = len(self.truth.all)
        reply = _answered(endpoint, request, world, now)
        for entry in self.truth.all[seen:]:
            if entry["event"] == "asked":
                self._witness.at_purchase(entry, sent_at)
        return reply

    def _wait(self, seconds: float) -> None:
        self._baton.sleep_until(self._clock.elapsed_s + seconds)

    def _happens(self, fault: str, chance: float) -> bool:
        happens = self.swarm.has(fault, chance, self._dice)
        self.faults += happens
        return happens

    def settle(self) -> None:
        """Let everything happen at the providers that is due."""
        for world in self.worlds.values():
            world.settle(self._clock.unix())

    def heal(self) -> None:
        """From now on every request arrives and every answer comes back, and new purchases go well."""
        self.swarm = Swarm(frozenset())
        for fates in self.fates.values():
            fates.calm()


def _ask(hook: MaybeHook) -> NotSent | None:
    """As the real transport: a reason, or an exception, means that no byte is written."""
    if hook is None:
        return None
    try:
        reason = hook()
    except Exception as error:
        return NotSent(NotSentReason.DEADLINE, f"the check before the first byte raised {type(error).__name__}")
    return None if reason is None else NotSent(reason, "stopped directly before the first byte")


def _head_and_body(call: HttpCall) -> tuple[wire.Head, bytes]:
    """The request as it stands on the wire, read back by the simulator."""
    prepared = prepare(call)
    parts = urlsplit(prepared.url)
    body = prepared.body or b""
    target = f"{parts.path}?{parts.query}" if parts.query else parts.path
    headers = {**prepared.headers, "host": parts.netloc, "content-length": str(len(body))}
    lines = [f"{prepared.method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return wire.read_head(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")), body


def _answered(endpoint: Any, request: wire.Request, world: World, now: float) -> Reply:
    try:
        reply: Reply = endpoint(request, world, now)
    except wire.BadRequest:
        return Reply(b"bad request", 400, "text/plain")
    return reply


def _timed_out(status: int | None = None, body: bytes = b"") -> MaybeSent:
    return MaybeSent(MaybeSentReason.TIMEOUT, "", status, body)


def _as_answer(reply: Reply, call: HttpCall) -> tuple[Answer, float]:
    """What the sender sees of a reply, and after how long."""
    if reply.ending is Ending.HANG or reply.delay_s >= call.timeout_s:
        return _timed_out(), call.timeout_s
    if reply.ending is Ending.DRIP and len(reply.body) >= call.timeout_s:
        return _timed_out(reply.status, reply.body[: int(call.timeout_s)]), call.timeout_s
    if reply.ending is Ending.RESET:
        return MaybeSent(MaybeSentReason.RESET), reply.delay_s
    if reply.ending is Ending.FLOOD:
        return MaybeSent(MaybeSentReason.TOO_LARGE, "", reply.status), reply.delay_s
    if reply.ending in (Ending.CUT, Ending.HEADERS_ONLY):
        half = reply.body[: len(reply.body) // 2] if reply.ending is Ending.CUT else b""
        return MaybeSent(MaybeSentReason.CUT, "", reply.status, half), reply.delay_s
    headers = {"content-type": reply.content_type} | {name.lower(): value for name, value in reply.headers}
    return HttpReply(reply.status, reply.body, MappingProxyType(headers)), reply.delay_s + 0.2
