"""Webhooks out: late, doubled, out of order or badly signed, to one configured loopback address and nowhere else."""

from __future__ import annotations

import asyncio
import contextlib
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from apps.simulator.dialect import Hook, Letter
from apps.simulator.world import Moment, Purchase, State, World

ANSWER_WITHIN_S = 5.0
WRONG_SECRET = "nobody-knows-this-secret"  # noqa: S105 (it is wrong on purpose)


@dataclass(order=True, slots=True)
class Waiting:
    """One piece of news that goes out when its time has come."""

    due_at: float
    number: int
    world: World = field(compare=False)
    purchase: Purchase = field(compare=False)
    moment: Moment = field(compare=False)


class Postman:
    """Takes the news of the worlds and sends each once or more often; what waits is lost with the process."""

    def __init__(self, worlds: Iterable[World]) -> None:
        self._worlds = list(worlds)
        self._queue: list[Waiting] = []
        self._held: dict[tuple[str, str], Moment] = {}
        self._count = 0

    async def deliver(self, now: float) -> None:
        """Send everything that is due, one after the other."""
        for world in self._worlds:
            while world.news:
                self._take(world, *world.news.popleft())
        while self._queue and self._queue[0].due_at <= now:
            await self._send(heapq.heappop(self._queue), now)

    def _take(self, world: World, purchase: Purchase, moment: Moment) -> None:
        key = (world.dialect.name, purchase.order_id)
        if world.switches.hook_out_of_order and moment.state is State.WAITING:
            self._held[key] = moment
            return
        self._plan(world, purchase, moment)
        if key in self._held:
            self._plan(world, purchase, self._held.pop(key), after=moment)

    def _plan(self, world: World, purchase: Purchase, moment: Moment, after: Moment | None = None) -> None:
        due_at = (after or moment).at + world.switches.hook_late_s
        for _ in range(world.switches.hook_times):
            self._count += 1
            heapq.heappush(self._queue, Waiting(due_at, self._count, world, purchase, moment))

    async def _send(self, waiting: Waiting, now: float) -> None:
        world, switches = waiting.world, waiting.world.switches
        if world.dialect.hook is None or not switches.hook_url:
            return
        world.record_hook(waiting.purchase, waiting.moment, now, is_forged=switches.hook_forged)
        world.truth.sync()
        secret = WRONG_SECRET if switches.hook_forged else world.account.secrets["webhook"]
        letter = Letter(now, urlsplit(switches.hook_url).path or "/", secret)
        hook = world.dialect.hook(world.view_of(waiting.purchase, waiting.moment), world, letter)
        with contextlib.suppress(OSError, TimeoutError):
            await asyncio.wait_for(_post(switches.hook_url, hook), ANSWER_WITHIN_S)


async def _post(url: str, hook: Hook) -> None:
    """Post and wait for the first bytes of the answer, whatever it is."""
    parts = urlsplit(url)
    reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
    try:
        writer.write(_request(parts.netloc, parts.path or "/", hook))
        await writer.drain()
        await reader.read(1024)
    finally:
        writer.close()


def _request(host: str, path: str, hook: Hook) -> bytes:
    lines = [
        f"POST {path} HTTP/1.1",
        f"Host: {host}",
        "Content-Type: application/json",
        f"Content-Length: {len(hook.body)}",
        "Connection: close",
        *(f"{name}: {value}" for name, value in hook.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + hook.body
