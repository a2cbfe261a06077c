"""The server: finds the dialect of a request, and lets answers leave only when what they tell of is on the disk."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Coroutine, Mapping
from dataclasses import replace

from apps.simulator import control, wire
from apps.simulator.clock import Clock
from apps.simulator.dialect import Endpoint
from apps.simulator.dialects import find_route
from apps.simulator.faults import DOWN, NO_SUCH_PAGE
from apps.simulator.hooks import Postman
from apps.simulator.ledger import Ledger
from apps.simulator.lines import BAD_REQUEST, Line
from apps.simulator.switches import Down
from apps.simulator.wire import Reply, Request
from apps.simulator.world import World

BACKLOG = 1024
SETTLE_EVERY_S = 0.25
POST_EVERY_S = 0.05


class Server:
    def __init__(self, worlds: Mapping[str, World], truth: Ledger, clock: Clock) -> None:
        self._worlds = worlds
        self._truth = truth
        self._clock = clock
        self._postman = Postman(worlds.values())
        self._control = control.Control(worlds, truth, clock, self)
        self._lines: set[Line] = set()
        self._owed: list[tuple[Line, Reply, bool]] = []
        self._address = ("", 0)
        self._listening: asyncio.Server | None = None
        self._reserved: socket.socket | None = None
        self._lift: asyncio.TimerHandle | None = None
        self._chores: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> int:
        """Listen and return the port."""
        await self._listen(_bind(host, port))
        self._start_chore(self._settle_for_ever())
        self._start_chore(self._post_for_ever())
        return self._address[1]

    async def stop(self) -> None:
        """Close everything in this event loop; what was recorded is on the disk when this returns."""
        self._close_listener()
        self._pay()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for line in list(self._lines):
            line.close()
        self._truth.close()

    # What the connections need

    def opened(self, line: Line) -> None:
        self._lines.add(line)

    def closed(self, line: Line) -> None:
        self._lines.discard(line)

    def answer(self, line: Line, request: Request) -> Reply:
        line.is_control = request.path.startswith(control.PREFIX)
        if line.is_control:
            self._settle()
            return self._control.answer(request)
        route = find_route(request.path)
        if route is None:
            return NO_SUCH_PAGE
        world, now = self._worlds[route[0]], self._clock.now()
        world.settle(now)
        return DOWN[world.switches.down] if world.switches.down else _call(route[1], request, world, now)

    def owe(self, line: Line, reply: Reply, keep_alive: bool) -> None:
        """Keep an answer until all requests of this turn of the loop are written down; they share one fsync."""
        if not self._owed:
            asyncio.get_running_loop().call_soon(self._pay)
        self._owed.append((line, reply, keep_alive))

    def _pay(self) -> None:
        self._truth.sync()
        owed, self._owed = self._owed, []
        for line, reply, keep_alive in owed:
            line.speak(reply, keep_alive)

    # Time

    def _settle(self) -> None:
        now = self._clock.now()
        for world in self._worlds.values():
            world.settle(now)

    async def _settle_for_ever(self) -> None:
        while True:
            await asyncio.sleep(SETTLE_EVERY_S)
            self._settle()
            self._truth.sync()
            self._truth.flush()

    async def _post_for_ever(self) -> None:
        while True:
            await asyncio.sleep(POST_EVERY_S)
            await self._postman.deliver(self._clock.now())

    # What the control API does to the sockets; its own connections are spared.

    def reset_connections(self) -> int:
        doomed = {line for line in self._lines if not line.is_control}
        for line in doomed:
            line.reset()
        self._lines -= doomed
        return len(doomed)

    def apply_down(self, world: World, down: Down | None, for_s: float | None) -> None:
        """Open or close the listening socket; real seconds, because a closed one cannot be told of others."""
        if self._lift:
            self._lift.cancel()
        if down is Down.REFUSE:
            self._refuse_connections()
        else:
            self._listen_again()
        if down and for_s is not None:
            self._lift = asyncio.get_running_loop().call_later(for_s, self._lift_down, world)

    def _lift_down(self, world: World) -> None:
        world.switches = replace(world.switches, down=None, down_for_s=None)
        self.apply_down(world, None, None)

    def _refuse_connections(self) -> None:
        self.reset_connections()
        if self._reserved is None:
            self._close_listener()
            self._reserved = _bind(*self._address)  # bound, not listening: refused, and nobody else takes the port

    def _listen_again(self) -> None:
        if self._reserved:
            reserved, self._reserved = self._reserved, None
            reserved.listen(BACKLOG)  # at once: who is told that it is up may connect before the chore runs
            self._start_chore(self._listen(reserved))

    async def _listen(self, bound: socket.socket) -> None:
        self._address = bound.getsockname()[:2]
        loop = asyncio.get_running_loop()
        self._listening = await loop.create_server(lambda: Line(self), sock=bound, backlog=BACKLOG)

    def _close_listener(self) -> None:
        if self._reserved:
            self._reserved.close()
            self._reserved = None
        if self._listening:
            self._listening.close()
            self._listening = None

    def _start_chore(self, chore: Coroutine[None, None, None]) -> None:
        task = asyncio.create_task(chore)
        self._chores.add(task)
        task.add_done_callback(self._chores.discard)


def _call(endpoint: Endpoint, request: Request, world: World, now: float) -> Reply:
    try:
        reply = endpoint(request, world, now)
    except wire.BadRequest:
        return BAD_REQUEST
    return replace(reply, delay_s=reply.delay_s + world.switches.slow_s) if world.switches.slow_s else reply


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    if os.name != "nt":  # on Windows the option would let two processes share the port
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    bound.setblocking(False)
    return bound
