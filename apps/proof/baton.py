"""Actors that run one at a time: each is a thread with a database connection of its own, and waits for the baton.

An actor hands the baton back only between transactions, so that no actor ever waits for another's lock, and a replay
with the same dice is the same run. A crash is a `BaseException` with the connection closed before it.
"""

from __future__ import annotations

import contextlib
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, DatabaseError, OperationalError, connection, connections

from apps.proof.virtual import join_play


class Killed(BaseException):
    """The process is gone: nothing that catches `Exception` can help, nothing that it still tries reaches anybody."""


@dataclass(slots=True)
class Job:
    """Something that one process does. `lost` is told when the process died over it, or it raised."""

    name: str
    act: Callable[[], Any]
    lost: Callable[[BaseException], None] | None = None


class Actor:
    """One process of the hub."""

    def __init__(self, number: int, baton: Baton) -> None:
        self.number = number
        self.job: Job | None = None
        self.wakes_at: float = 0.0
        self.is_sleeping = False
        self.died: BaseException | None = None
        self.is_doomed = False
        self.is_dead = False
        self.is_holding = False
        self.errand: Callable[[], None] | None = None
        self._baton = baton
        self._go = threading.Semaphore(0)
        self._is_ended = False
        self._thread = threading.Thread(target=self._live, name=f"actor-{number}", daemon=True)
        self._thread.start()

    # In the scheduler's thread

    def go_on(self) -> None:
        """Give the baton to this actor and wait until it comes back."""
        self._turn()
        while self.errand is not None:
            errand, self.errand = self.errand, None
            errand()
            if self.is_holding:
                self._turn()

    def _turn(self) -> None:
        self._baton.current = self
        self._go.release()
        self._baton.back.acquire()
        self._baton.current = None

    def end(self) -> None:
        """End the thread; a job that is not over is killed."""
        self.is_doomed = self.job is not None
        self._is_ended = True
        while self._thread.is_alive():
            self._baton.current = self
            self._go.release()
            self._thread.join(0.05)

    # In the actor's own thread

    def hand_back(self) -> None:
        """Let others run until the scheduler chooses this actor again."""
        self._baton.back.release()
        self._go.acquire()
        if self.is_doomed:
            self.die()

    def die(self) -> None:
        """As `kill -9`: the connection breaks without a commit, and no new one is made for whatever still runs."""
        self.is_dead = True
        cut_off()
        connection.connect = _refuse  # type: ignore[method-assign]
        raise Killed

    def _live(self) -> None:
        join_play()
        while True:
            self._go.acquire()
            if self._is_ended and self.job is None:
                break
            self._work()
            if self._is_ended:
                break
            self._baton.back.release()
        connection.close()

    def _work(self) -> None:
        job, self.died = self.job, None
        try:
            if job is not None:
                job.act()
        except Killed as death:
            self.died = death
        except Exception as error:
            self.died = error
            self._baton.errors.append("".join(traceback.format_exception(error)))
        self._rise()
        self.job = None

    def _rise(self) -> None:
        """A process that starts anew knows nothing of the faults of the last one."""
        own = connections[DEFAULT_DB_ALIAS]
        if self.is_dead:
            own.close()
        self.is_dead = False
        for name in ("connect", "_commit"):
            vars(own).pop(name, None)


def _refuse() -> None:
    raise Killed


class Baton:
    """Who may run, and the one who does."""

    def __init__(self, actors: int) -> None:
        self.current: Actor | None = None
        self.back = threading.Semaphore(0)
        self.errors: list[str] = []
        self.actors = [Actor(number, self) for number in range(1, actors + 1)]

    def idle(self) -> list[Actor]:
        """Actors without a job, and not between two lives."""
        return [actor for actor in self.actors if actor.job is None and not actor.is_sleeping]

    def ready(self) -> list[Actor]:
        """Actors in the middle of a job that could go on at once."""
        return [actor for actor in self.actors if actor.job is not None and not actor.is_sleeping]

    def wake(self, now_s: float) -> None:
        """End the sleep of every actor whose time has come."""
        for actor in self.actors:
            if actor.is_sleeping and actor.wakes_at <= now_s:
                actor.is_sleeping = False

    def next_wake(self) -> float | None:
        """When the first sleeping actor wakes."""
        return min((actor.wakes_at for actor in self.actors if actor.is_sleeping), default=None)

    def end(self) -> None:
        """End every actor's thread and connection."""
        for actor in self.actors:
            actor.end()

    # For whoever runs now

    def step(self, errand: Callable[[], None] | None = None) -> None:
        """Between two transactions: others may run now. `errand` is done by the scheduler, over its own connection."""
        if self.current is not None and not self.current.is_dead:
            self.current.errand, self.current.is_holding = errand, connection.in_atomic_block
            if errand is not None or not self.current.is_holding:  # nobody runs beside somebody who holds locks
                self.current.hand_back()
        elif errand is not None:
            errand()

    def sleep_until(self, at_s: float) -> None:
        """The one who runs goes on at this virtual time, at the earliest."""
        if self.current is not None and not self.current.is_dead and not connection.in_atomic_block:
            self.current.wakes_at, self.current.is_sleeping = at_s, True
            self.current.hand_back()


def cut_off() -> None:
    """Close the connection as a process that is gone does, whatever it had begun undone.

    The server undoes it when it notices, a moment later by the real clock; for the same run each time it must be undone
    before anybody else looks, or who skips locked rows skips these, or does not.
    """
    if connection.connection is not None:
        with contextlib.suppress(DatabaseError):  # of a connection that is broken already nothing is left to undo
            connection._rollback()  # type: ignore[attr-defined]
    connection.close()


def lose_next_commit(*, was_done: bool) -> None:
    """The next commit of this connection fails for its caller: after it was done, or instead of it."""
    commit = connection._commit  # type: ignore[attr-defined]

    def failing() -> None:
        del connection._commit  # type: ignore[attr-defined]
        if was_done:
            commit()
        cut_off()
        raise OperationalError("server closed the connection unexpectedly")

    connection._commit = failing  # type: ignore[attr-defined]
