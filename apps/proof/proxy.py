"""A proxy that misbehaves on purpose, between us and a provider, a database or a broker: one thread, one loop.

Bytes can be late, slow, cut, corrupted or never read; HTTP exchanges can be dropped, doubled, swapped or replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import socket
import struct
import threading
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from enum import StrEnum
from types import TracebackType
from typing import Self

LOOPBACK = "127.0.0.1"
CHUNK = 65_536
LET_SWAP_WITHIN_S = 5.0
BOMB = 8 * 1024 * 1024
"""Bytes that a small compressed answer becomes."""

PAGE = b"<html><body><h1>Sign in to this network</h1></body></html>"


class End(StrEnum):
    """What becomes of a connection when the bytes it may carry are written."""

    CLOSE = "close"
    RESET = "reset"
    HALF_CLOSE = "half_close"  # our side says that it is done, and goes on reading for ever
    HANG = "hang"  # nothing more is written, nothing is closed
    SLOW_CLOSE = "slow_close"  # closed after `latency_s` once more


@dataclass(frozen=True, slots=True)
class Line:
    """How bytes go to the client: when the first one, how many at a time, how many in all, and what then.

    `corrupt_at` is the place of a byte that is flipped. `gap_s` after each slice makes a narrow band.
    """

    latency_s: float = 0
    slice_bytes: int = CHUNK
    gap_s: float = 0
    limit_bytes: int | None = None
    corrupt_at: int | None = None
    end: End = End.CLOSE


class Hole(StrEnum):
    """Connections that are taken and lead nowhere."""

    NEVER_READ = "never_read"
    NEVER_ANSWER = "never_answer"  # everything is read, nothing is said
    RESET_ON_REQUEST = "reset_on_request"  # as an idle connection that the other side gave up just now


class Http(StrEnum):
    """What may happen to one whole exchange."""

    DROP_BEFORE_FORWARD = "drop_before_forward"
    DROP_AFTER_FORWARD = "drop_after_forward"
    HANG_AFTER_FORWARD = "hang_after_forward"
    STATUS_AFTER_FORWARD = "status_after_forward"
    DUPLICATE_FORWARD = "duplicate_forward"
    SWAP_ANSWERS = "swap_answers"
    INJECT_HTML = "inject_html"
    REDIRECT_TO = "redirect_to"
    GZIP_BOMB = "gzip_bomb"
    STALE_ANSWER = "stale_answer"
    CLOSE_KEEPALIVE_RACE = "close_keepalive_race"


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of an exchange; `status` and `url` are for those that need them."""

    kind: Http
    status: int = 502
    url: str = ""


@dataclass(slots=True)
class Rule:
    """A fault for the requests whose path contains `match`, `times` times (None: always)."""

    fault: Fault | Line | Hole
    match: str
    times: int | None


@dataclass(slots=True)
class Live:
    """What happens to the bytes of connections that are open already."""

    may_flow: asyncio.Event = field(default_factory=asyncio.Event)
    delay_s: float = 0
    halve: int = 0  # so many of the next answers are cut in the middle


@dataclass(slots=True)
class Exchange:
    """One request on its way, with the client's connection."""

    request: bytes
    path: str
    target: str
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter


@dataclass(slots=True)
class Swap:
    """An answer that waits for another one to be swapped with."""

    answer: bytes
    other: asyncio.Future[bytes] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class FaultProxy:
    """A context manager; `url` is where it listens. Faults are armed and disarmed from any thread, between requests."""

    def __init__(self, host: str, port: int, *, speaks_http: bool = True) -> None:
        self.there = (host, port)
        self.speaks_http = speaks_http
        self.port = 0
        self.paths: list[str] = []
        """The path of every request that arrived, in order; its query, which has credentials, is not kept."""
        self.forwarded: list[str] = []
        """The path of every request that was passed on."""
        self.touched = 0
        """How often a fault met something: a request, a piece of bytes, an open connection."""
        self._rules: list[Rule] = []
        self._live = Live()
        self._answers: dict[str, bytes] = {}
        self._swap: Swap | None = None
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()
        self._thread = threading.Thread(target=self._run, name="fault-proxy", daemon=True)
        self._started = threading.Event()

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://{LOOPBACK}:{self.port}"

    def arm(self, fault: Fault | Line | Hole | Http, *, match: str = "", times: int | None = None) -> None:
        """From now on do this to matching requests; the rule armed last counts."""
        self._rules.insert(0, Rule(Fault(fault) if isinstance(fault, Http) else fault, match, times))

    def disarm(self) -> None:
        """Behave from now on; what was held back flows on."""
        self._rules.clear()
        self._live.delay_s, self._live.halve = 0, 0
        self._in_loop(self._live.may_flow.set)

    def cut(self) -> None:
        """Reset every connection that is open now, on both sides."""
        self._in_loop(self._cut)

    def clog(self) -> None:
        """Let no byte pass in any direction, on open and new connections, until `disarm`."""
        self._in_loop(self._live.may_flow.clear)

    def slow(self, delay_s: float) -> None:
        """Hold back every piece of bytes so long."""
        self._live.delay_s = delay_s

    def halve(self, times: int) -> None:
        """Cut the next answers in the middle, and reset their connections: what was asked for has been done."""
        self._live.halve = times

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        self._in_loop(self._live.may_flow.set)
        return self

    def _in_loop(self, call: Callable[[], None]) -> None:
        """Do it in the thread of the proxy, and return when it is done."""

        async def done() -> None:
            call()

        asyncio.run_coroutine_threadsafe(done(), self._loop).result(LET_SWAP_WITHIN_S)

    def _cut(self) -> None:
        self.touched += len(self._tasks)
        for task in self._tasks:
            task.cancel()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    # --- the thread

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._take, LOOPBACK, 0))
        self.port = server.sockets[0].getsockname()[1]
        self._started.set()
        self._loop.run_forever()
        server.close()
        for task in self._tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*self._tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a server's callback runs in a task
        self._tasks.add(task)
        try:
            await (self._exchange(reader, writer) if self.speaks_http else self._pump_both(reader, writer))
        except (OSError, asyncio.IncompleteReadError, asyncio.CancelledError):
            reset(writer)
        finally:
            self._tasks.discard(task)
            writer.close()

    def _fault_for(self, path: str) -> Fault | Line | Hole | None:
        for rule in self._rules:
            if rule.match in path and rule.times != 0:
                rule.times = None if rule.times is None else rule.times - 1
                self.touched += 1
                return rule.fault
        return None

    # --- one HTTP exchange

    async def _exchange(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if any(rule.fault is Hole.NEVER_READ for rule in self._rules):
            self.paths.append("")
            await asyncio.Event().wait()
        request = await read_request(reader)
        target = request.split(b" ", 2)[1].decode("latin-1")
        exchange = Exchange(request, target.split("?")[0], target, reader, writer)
        self.paths.append(exchange.path)
        fault = self._fault_for(exchange.path)
        if isinstance(fault, Fault):
            await HTTP_FAULTS[fault.kind](self, exchange, fault)
        elif isinstance(fault, Hole):
            await fall_into(fault, exchange.writer)
        else:
            await say(writer, await self.forward(exchange), fault or Line())

    async def forward(self, exchange: Exchange) -> bytes:
        """Pass the request on over a fresh connection and return the whole answer; it is remembered."""
        self.forwarded.append(exchange.path)
        reader, writer = await asyncio.open_connection(*self.there)
        try:
            writer.write(exchange.request)
            await writer.drain()
            answer = await read_answer(reader)
        finally:
            writer.close()
        self._answers.setdefault(exchange.target, answer)
        return answer

    def first_answer(self, exchange: Exchange) -> bytes | None:
        """What was answered when the same thing was asked for the first time."""
        return self._answers.get(exchange.target)

    async def swap(self, answer: bytes) -> bytes:
        """The answer of the other request that is swapped; our own when no other comes in time."""
        if self._swap is not None and not self._swap.other.done():
            waiting, self._swap = self._swap, None
            waiting.other.set_result(answer)
            return waiting.answer
        mine = self._swap = Swap(answer)
        with contextlib.suppress(TimeoutError):
            return await asyncio.wait_for(mine.other, LET_SWAP_WITHIN_S)
        return answer

    # --- plain bytes, for a database or a broker

    async def _pump_both(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.paths.append("")
        fault = self._fault_for("")
        if isinstance(fault, Hole):
            await fall_into(fault, writer)
            return
        line = fault if isinstance(fault, Line) else Line()
        there, back = await asyncio.open_connection(*self.there)
        try:
            async with asyncio.TaskGroup() as both:
                both.create_task(pump(reader, back, Line(), self._hold_back))
                both.create_task(pump(there, writer, line, self._spoil))
        except* OSError:
            reset(writer)
        finally:
            back.close()

    async def _hold_back(self, data: bytes) -> bytes:
        """One piece of bytes, as late as it has to be."""
        self.touched += bool(self._live.delay_s or not self._live.may_flow.is_set())
        await asyncio.sleep(self._live.delay_s)
        await self._live.may_flow.wait()
        return data

    async def _spoil(self, data: bytes) -> bytes:
        """One piece of an answer. Raises `Halved` for what is left of one that is to be cut."""
        data = await self._hold_back(data)
        if self._live.halve and len(data) > 1:
            self._live.halve -= 1
            self.touched += 1
            raise Halved(data[: len(data) // 2])
        return data


# --- bytes


async def read_request(reader: asyncio.StreamReader) -> bytes:
    """One whole request, its head asking to close the connection behind it."""
    head = await reader.readuntil(b"\r\n\r\n")
    lines = [line for line in head[:-4].split(b"\r\n") if not line.lower().startswith(b"connection:")]
    length = next((int(line.split(b":")[1]) for line in lines if line.lower().startswith(b"content-length:")), 0)
    body = await reader.readexactly(length)
    return b"\r\n".join([*lines, b"Connection: close"]) + b"\r\n\r\n" + body


async def read_answer(reader: asyncio.StreamReader) -> bytes:
    """Everything until the other side closes."""
    return await reader.read(-1)


async def say(writer: asyncio.StreamWriter, data: bytes, line: Line) -> None:
    """Write `data` the way of the line, and end it."""
    if line.corrupt_at is not None and line.corrupt_at < len(data):
        at = line.corrupt_at
        data = data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]
    await asyncio.sleep(line.latency_s)
    data = data if line.limit_bytes is None else data[: line.limit_bytes]
    for start in range(0, len(data), line.slice_bytes):
        writer.write(data[start : start + line.slice_bytes])
        await writer.drain()
        await asyncio.sleep(line.gap_s)
    await finish(writer, line)


async def finish(writer: asyncio.StreamWriter, line: Line) -> None:
    """End a connection in the way of the line."""
    if line.end is End.RESET:
        reset(writer)
    elif line.end is End.HALF_CLOSE:
        writer.write_eof()
        await asyncio.Event().wait()
    elif line.end is End.HANG:
        await asyncio.Event().wait()
    elif line.end is End.SLOW_CLOSE:
        await asyncio.sleep(line.latency_s)


class Halved(ConnectionError):
    """An answer that is cut here; the argument is what still goes out."""


async def pump(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    line: Line,
    spoil: Callable[[bytes], Awaitable[bytes]],
) -> None:
    """Carry bytes one way until they end; the limit counts all of them."""
    await asyncio.sleep(line.latency_s)
    left = line.limit_bytes
    while data := await reader.read(min(CHUNK, line.slice_bytes)):
        data = data if left is None else data[:left]
        try:
            writer.write(await spoil(data))
        except Halved as halved:
            writer.write(halved.args[0])
            raise
        await writer.drain()
        left = None if left is None else left - len(data)
        if left == 0:
            await finish(writer, line)
            raise ConnectionResetError
        await asyncio.sleep(line.gap_s)
    with contextlib.suppress(OSError):
        writer.write_eof()


async def fall_into(hole: Hole, writer: asyncio.StreamWriter) -> None:
    """Take the request and lead nowhere."""
    if hole is Hole.RESET_ON_REQUEST:
        reset(writer)
        return
    await asyncio.Event().wait()


def reset(writer: asyncio.StreamWriter) -> None:
    """End the connection with RST instead of FIN."""
    line = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


# --- whole exchanges


def answer_of(status: int, body: bytes, *headers: str) -> bytes:
    """A complete answer."""
    head = [f"HTTP/1.1 {status} Said by the proxy", f"Content-Length: {len(body)}", "Connection: close", *headers]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


async def _drop_before(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    reset(exchange.writer)


async def _drop_after(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    await proxy.forward(exchange)
    reset(exchange.writer)


async def _hang_after(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    await proxy.forward(exchange)
    await asyncio.Event().wait()


async def _status_after(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    await proxy.forward(exchange)
    await say(exchange.writer, answer_of(fault.status, b"Bad Gateway"), Line())


async def _duplicate(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    """As a gateway that tries again by itself: the first answer is lost."""
    await proxy.forward(exchange)
    await say(exchange.writer, await proxy.forward(exchange), Line())


async def _swap(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    await say(exchange.writer, await proxy.swap(await proxy.forward(exchange)), Line())


async def _inject_html(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    await proxy.forward(exchange)
    await say(exchange.writer, answer_of(200, PAGE, "Content-Type: text/html"), Line())


async def _redirect(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    await proxy.forward(exchange)
    await say(exchange.writer, answer_of(302, b"", f"Location: {fault.url}"), Line())


async def _gzip_bomb(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    await proxy.forward(exchange)
    await say(exchange.writer, answer_of(200, gzip.compress(bytes(BOMB)), "Content-Encoding: gzip"), Line())


async def _stale(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    old = proxy.first_answer(exchange)
    await say(exchange.writer, old if old is not None else await proxy.forward(exchange), Line())


async def _race(proxy: FaultProxy, exchange: Exchange, fault: Fault) -> None:
    await fall_into(Hole.RESET_ON_REQUEST, exchange.writer)


HTTP_FAULTS: dict[Http, Callable[[FaultProxy, Exchange, Fault], Awaitable[None]]] = {
    Http.DROP_BEFORE_FORWARD: _drop_before,
    Http.DROP_AFTER_FORWARD: _drop_after,
    Http.HANG_AFTER_FORWARD: _hang_after,
    Http.STATUS_AFTER_FORWARD: _status_after,
    Http.DUPLICATE_FORWARD: _duplicate,
    Http.SWAP_ANSWERS: _swap,
    Http.INJECT_HTML: _inject_html,
    Http.REDIRECT_TO: _redirect,
    Http.GZIP_BOMB: _gzip_bomb,
    Http.STALE_ANSWER: _stale,
    Http.CLOSE_KEEPALIVE_RACE: _race,
}
"""What is done for each fault of an exchange."""
