"""Connections: HTTP/1.1 in, answers out as their endings say. What is owed leaves only when the server says so."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Callable, Coroutine
from typing import Protocol

from apps.simulator import wire
from apps.simulator.wire import Ending, Reply, Request

MAX_HEAD = 64 * 1024
MAX_BODY = 4 * 1024 * 1024
DRIP_EVERY_S = 1.0
FLOOD_CHUNK = b"x" * 65536
FLOOD_CHUNKS = 4096
# struct linger is two ints, on Windows two shorts: on, zero seconds; close() then sends RST.
LINGER_ZERO = struct.pack("hh" if os.name == "nt" else "ii", 1, 0)

BAD_REQUEST = Reply(b"bad request", 400, "text/plain")


class Desk(Protocol):
    """What a connection needs of its server."""

    def opened(self, line: Line) -> None: ...

    def closed(self, line: Line) -> None: ...

    def answer(self, line: Line, request: Request) -> Reply: ...

    def owe(self, line: Line, reply: Reply, keep_alive: bool) -> None: ...


class Line(asyncio.Protocol):
    """One connection; it reads on only after a slow or broken answer is over."""

    def __init__(self, desk: Desk) -> None:
        self.is_control = False
        self._desk = desk
        self._buffer = bytearray()
        self._owed = 0
        self._is_busy = False
        self._is_at_end = False
        self._may_write = asyncio.Event()
        self._may_write.set()
        self._slow: asyncio.Task[None] | None = None

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (a stream server makes no other)
        self._transport = transport
        self._desk.opened(self)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._is_busy:
            self._read()

    def eof_received(self) -> bool:
        """A client may close its half and still wait for what it is owed; not for what never comes."""
        self._is_at_end = True
        return self._owed > 0

    def connection_lost(self, error: Exception | None) -> None:
        self._desk.closed(self)
        self._may_write.set()
        if self._slow:
            self._slow.cancel()

    def pause_writing(self) -> None:
        self._may_write.clear()

    def resume_writing(self) -> None:
        self._may_write.set()

    # Requests

    def _read(self) -> None:
        try:
            while not self._is_busy and (request := self._next_request()):
                reply = self._desk.answer(self, request)
                self._owe(reply, request.keep_alive)
        except wire.BadRequest:
            self._owe(BAD_REQUEST, keep_alive=False)

    def _next_request(self) -> Request | None:
        """Take one whole request from the buffer; None: there is none yet."""
        end = self._buffer.find(b"\r\n\r\n") + 4
        if end < 4:
            if len(self._buffer) > MAX_HEAD:
                raise wire.BadRequest("head too long")
            return None
        head = wire.read_head(bytes(self._buffer[:end]))
        if head.body_length > MAX_BODY:
            raise wire.BadRequest("body too long")
        if len(self._buffer) < end + head.body_length:
            return None
        body = bytes(self._buffer[end : end + head.body_length])
        del self._buffer[: end + head.body_length]
        return wire.build_request(head, body)

    def _owe(self, reply: Reply, keep_alive: bool) -> None:
        self._is_busy = not keep_alive or reply.delay_s > 0 or reply.ending is not Ending.KEEP
        self._owed += 1
        self._desk.owe(self, reply, keep_alive)

    # Answers

    def speak(self, reply: Reply, keep_alive: bool) -> None:
        """Send what is owed; a plain answer at once, any other in a task of its own."""
        if reply.delay_s or reply.ending is not Ending.KEEP:
            self._slow = asyncio.get_running_loop().create_task(self._speak_slowly(reply, keep_alive))
        else:
            self._transport.write(wire.head_bytes(reply, keep_alive) + reply.body)
            self._settle(keep_alive)

    def reset(self) -> None:
        """End with a reset instead of a close."""
        socket_ = self._transport.get_extra_info("socket")
        if socket_ is not None and socket_.fileno() != -1:
            socket_.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_ZERO)
        self._transport.abort()

    def close(self) -> None:
        self._transport.close()

    def _settle(self, keep_alive: bool) -> None:
        """One debt is paid: close, or go on with what has arrived meanwhile."""
        self._owed -= 1
        if not keep_alive or (self._is_at_end and not self._owed):
            self._transport.close()
        elif self._is_busy:
            self._is_busy = False
            self._read()

    async def _speak_slowly(self, reply: Reply, keep_alive: bool) -> None:
        if reply.delay_s:
            await asyncio.sleep(reply.delay_s)
        if await ENDINGS[reply.ending](self, reply, keep_alive):
            self._settle(keep_alive)
        else:
            self._transport.close()

    async def _write(self, data: bytes) -> None:
        await self._may_write.wait()
        self._transport.write(data)

    async def keep(self, reply: Reply, keep_alive: bool) -> bool:
        await self._write(wire.head_bytes(reply, keep_alive) + reply.body)
        return True

    async def cut(self, reply: Reply, keep_alive: bool) -> bool:
        await self._write(wire.head_bytes(reply, keep_alive) + reply.body[: len(reply.body) // 2])
        return False

    async def headers_only(self, reply: Reply, keep_alive: bool) -> bool:
        await self._write(wire.head_bytes(reply, keep_alive))
        return False

    async def flood(self, reply: Reply, keep_alive: bool) -> bool:
        """An endless chunked body, up to a size that no client should read."""
        chunk = f"{len(FLOOD_CHUNK):x}".encode() + b"\r\n" + FLOOD_CHUNK + b"\r\n"
        await self._write(wire.head_bytes(reply, keep_alive, is_chunked=True))
        for _ in range(FLOOD_CHUNKS):
            await self._write(chunk)
        return False

    async def drip(self, reply: Reply, keep_alive: bool) -> bool:
        """The right answer, one byte at a time."""
        await self._write(wire.head_bytes(reply, keep_alive))
        for byte in reply.body:
            await asyncio.sleep(DRIP_EVERY_S)
            await self._write(bytes([byte]))
        return True

    async def break_off(self, reply: Reply, keep_alive: bool) -> bool:
        self.reset()
        return False

    async def hang(self, reply: Reply, keep_alive: bool) -> bool:
        """Say nothing for ever: the client ends this, and the task with it."""
        self._owed = 0
        if not self._is_at_end:
            await asyncio.Event().wait()
        return False


ENDINGS: dict[Ending, Callable[[Line, Reply, bool], Coroutine[None, None, bool]]] = {
    Ending.KEEP: Line.keep,
    Ending.CUT: Line.cut,
    Ending.HEADERS_ONLY: Line.headers_only,
    Ending.FLOOD: Line.flood,
    Ending.DRIP: Line.drip,
    Ending.RESET: Line.break_off,
    Ending.HANG: Line.hang,
}
"""How each ending is spoken; the word that comes back says whether the connection may live on."""
