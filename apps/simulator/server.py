"""A small HTTP/1.1 server on raw sockets, so that it can break an answer at any byte."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, replace

from apps.simulator import control, wire
from apps.simulator.clock import Clock
from apps.simulator.dialect import Endpoint
from apps.simulator.dialects import find_route
from apps.simulator.faults import DOWN, NO_SUCH_PAGE
from apps.simulator.hooks import Postman
from apps.simulator.ledger import Ledger
from apps.simulator.switches import Down
from apps.simulator.wire import Ending, Reply, Request
from apps.simulator.world import World

MAX_HEAD = 64 * 1024
MAX_BODY = 4 * 1024 * 1024
BACKLOG = 1024
SETTLE_EVERY_S = 0.25
POST_EVERY_S = 0.05
DRIP_EVERY_S = 1.0
FLOOD_CHUNK = b"x" * 65536
FLOOD_CHUNKS = 4096
# struct linger is two ints, on Windows two shorts: on, zero seconds; close() then sends RST.
LINGER_ZERO = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)

BAD_REQUEST = Reply(b"bad request", 400, "text/plain")


@dataclass(eq=False, slots=True)
class Connection:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    is_control: bool = False


class Server:
    def __init__(self, worlds: Mapping[str, World], truth: Ledger, clock: Clock) -> None:
        self._worlds = worlds
        self._truth = truth
        self._clock = clock
        self._postman = Postman(worlds.values())
        self._control = control.Control(worlds, truth, clock, self)
        self._connections: set[Connection] = set()
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
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._truth.close()

    # Connections

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(reader, writer)
        self._connections.add(connection)
        try:
            while await self._exchange(connection):
                pass
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client went away, or sent what no client sends
        except asyncio.CancelledError:
            pass  # by stop only; Python 3.11 logs a cancelled handler as an error
        finally:
            self._connections.discard(connection)
            writer.close()

    async def _exchange(self, connection: Connection) -> bool:
        """Answer one request; returns whether the connection lives on."""
        try:
            request = await _read_request(connection.reader)
        except wire.BadRequest:
            return await _speak(connection, BAD_REQUEST, keep_alive=False)
        connection.is_control = request.path.startswith(control.PREFIX)
        reply = self._answer(request)
        self._truth.sync()
        return await _speak(connection, reply, request.keep_alive)

    def _answer(self, request: Request) -> Reply:
        if request.path.startswith(control.PREFIX):
            self._settle()
            return self._control.answer(request)
        route = find_route(request.path)
        if route is None:
            return NO_SUCH_PAGE
        world, now = self._worlds[route[0]], self._clock.now()
        world.settle(now)
        return DOWN[world.switches.down] if world.switches.down else self._call(route[1], request, world, now)

    def _call(self, endpoint: Endpoint, request: Request, world: World, now: float) -> Reply:
        try:
            reply = endpoint(request, world, now)
            return replace(reply, delay_s=reply.delay_s + world.switches.slow_s) if world.switches.slow_s else reply
        except wire.BadRequest:
            return BAD_REQUEST

    def _settle(self) -> None:
        for world in self._worlds.values():
            world.settle(self._clock.now())

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
        doomed = {connection for connection in self._connections if not connection.is_control}
        for connection in doomed:
            _reset(connection.writer)
        self._connections -= doomed
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
        self._listening = await asyncio.start_server(self._serve, sock=bound, limit=MAX_HEAD, backlog=BACKLOG)

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


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    if os.name != "nt":  # on Windows the option would let two processes share the port
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    bound.bind((host, port))
    bound.setblocking(False)
    return bound


async def _read_request(reader: asyncio.StreamReader) -> Request:
    head = wire.read_head(await reader.readuntil(b"\r\n\r\n"))
    if head.body_length > MAX_BODY:
        raise wire.BadRequest("body too long")
    body = await reader.readexactly(head.body_length) if head.body_length else b""
    return wire.build_request(head, body)


async def _speak(connection: Connection, reply: Reply, keep_alive: bool) -> bool:
    if reply.delay_s:
        await asyncio.sleep(reply.delay_s)
    return await ENDINGS[reply.ending](connection, reply, keep_alive)


async def _keep(connection: Connection, reply: Reply, keep_alive: bool) -> bool:
    connection.writer.write(wire.head_bytes(reply, keep_alive) + reply.body)
    await connection.writer.drain()
    return keep_alive


async def _cut(connection: Connection, reply: Reply, keep_alive: bool) -> bool:
    connection.writer.write(wire.head_bytes(reply, keep_alive) + reply.body[: len(reply.body) // 2])
    await connection.writer.drain()
    return False


async def _headers_only(connection: Connection, reply: Reply, keep_alive: bool) -> bool:
    connection.writer.write(wire.head_bytes(reply, keep_alive))
    await connection.writer.drain()
    return False


async def _flood(connection: Connection, reply: Reply, keep_alive: bool) -> bool:
    """An endless chunked body, up to a size that no client should read."""
    chunk = f"{len(FLOOD_CHUNK):x}".encode() + b"\r\n" + FLOOD_CHUNK + b"\r\n"
    connection.writer.write(wire.head_bytes(reply, keep_alive, is_chunked=True))
    for _ in range(FLOOD_CHUNKS):
        connection.writer.write(chunk)
        await connection.writer.drain()
    return False


async def _drip(connection: Connection, reply: Reply, keep_alive: bool) -> bool:
    """The right answer, one byte at a time."""
    connection.writer.write(wire.head_bytes(reply, keep_alive))
    for byte in reply.body:
        await asyncio.sleep(DRIP_EVERY_S)
        connection.writer.write(bytes([byte]))
        await connection.writer.drain()
    return keep_alive


async def _reset_now(connection: Connection, reply: Reply, keep_alive: bool) -> bool:
    _reset(connection.writer)
    return False


async def _hang(connection: Connection, reply: Reply, keep_alive: bool) -> bool:
    while await connection.reader.read(MAX_HEAD):
        pass
    return False


def _reset(writer: asyncio.StreamWriter) -> None:
    line = writer.get_extra_info("socket")
    if line is not None and line.fileno() != -1:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
    writer.transport.abort()


Speaker = Callable[[Connection, Reply, bool], Coroutine[None, None, bool]]

ENDINGS: dict[Ending, Speaker] = {
    Ending.KEEP: _keep,
    Ending.CUT: _cut,
    Ending.HEADERS_ONLY: _headers_only,
    Ending.FLOOD: _flood,
    Ending.DRIP: _drip,
    Ending.RESET: _reset_now,
    Ending.HANG: _hang,
}
