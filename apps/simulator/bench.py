"""The bench server: ZNET status questions and nothing else, so that a benchmark measures the hub and not the simulator.

No world, no faults, no ledger. A reference is told to be delivered, with a PIN made of it, or to be waiting.
"""

from __future__ import annotations

import asyncio
import time

from apps.simulator import wire
from apps.simulator.wire import Reply

KEY = b"tahsilat_api_islem_id="
STATES: dict[str, tuple[str, str]] = {
    "delivered": ("OK|2|BENCH-", "|Onaylandı"),
    "waiting": ("OK|1| ", "|İşlemde"),
}
CLOCK = b"GET /_control/cpu "


class BenchLine(asyncio.Protocol):
    """One connection: whole heads of GET requests in, one write of all their answers out."""

    def __init__(self, state: str, delay_s: float) -> None:
        self._before, self._after = (part.encode() for part in STATES[state])
        self._shows_reference = state == "delivered"
        self._delay_s = delay_s
        self._rest = b""
        self._heads: dict[int, bytes] = {}

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (a stream server makes no other)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        answers = b"".join([self._answer(request) for request in requests])
        if self._delay_s:
            asyncio.get_running_loop().call_later(self._delay_s, self._transport.write, answers)
        else:
            self._transport.write(answers)

    def _answer(self, request: bytes) -> bytes:
        begin = request.find(KEY)
        if begin < 0:
            return _other(request)
        end = request.find(b" ", begin)
        reference = request[begin + len(KEY) : end].partition(b"&")[0] if self._shows_reference else b""
        body = self._before + reference + self._after
        return self._head(len(body)) + body

    def _head(self, length: int) -> bytes:
        head = self._heads.get(length)
        if head is None:
            head = self._heads[length] = wire.head_bytes(Reply(bytes(length)), keep_alive=True)
        return head


def _other(request: bytes) -> bytes:
    """The CPU seconds of this process, for whoever measures it; or no such page."""
    reply = Reply(repr(time.process_time()).encode()) if request.startswith(CLOCK) else Reply(status=404)
    return wire.head_bytes(reply, keep_alive=True) + reply.body


async def serve(host: str, port: int, state: str, delay_s: float) -> tuple[asyncio.Server, int]:
    """Listen, and return the server and its port."""
    server = await asyncio.get_running_loop().create_server(lambda: BenchLine(state, delay_s), host, port, backlog=1024)
    return server, int(server.sockets[0].getsockname()[1])
