"""The physical limit: a bare aiohttp loop in a process of its own that asks the simulator and keeps nothing.

    python scripts/bench/loop.py URL COUNT CONCURRENCY SECONDS fresh|kept

`fresh` opens a connection for each question, as the poller must: an answer of ZNET does not say which order it is
about, so a kept connection could give one order's answer to the next. `kept` reuses its connections.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from contextlib import suppress

import aiohttp

FIRST = 100_000_000_000_000_000
PATIENCE_S = 5.0
"""Thousands of new connections a second use every port again within seconds; now and then one is lost with that."""


def main(argv: Sequence[str]) -> int:
    """Ask, and print how often in how many seconds, and with how much CPU."""
    url, count, concurrency, seconds, kind = argv
    began, busy = time.perf_counter(), time.process_time()
    asked = asyncio.run(ask_all(url, int(count), int(concurrency), float(seconds), is_kept=kind == "kept"))
    took = time.perf_counter() - began
    print(json.dumps({"checks": asked, "seconds": took, "cpu_s": time.process_time() - busy}))
    return 0


async def ask_all(url: str, count: int, concurrency: int, seconds: float, *, is_kept: bool) -> int:
    """Ask `count` times, so many at a time, for `seconds` at most; returns how many answers came."""
    address = f"{url}/servis/tahsilat_kontrol.php?bayi_kodu=demo&sifre=demo-secret&tahsilat_api_islem_id="
    numbers, ends_at, answers = iter(range(count)), time.perf_counter() + seconds, 0

    async def ask(session: aiohttp.ClientSession) -> None:
        nonlocal answers
        for number in numbers:
            if time.perf_counter() > ends_at:
                return
            with suppress(TimeoutError):
                async with session.get(f"{address}{FIRST + number}") as answer:
                    answer.raise_for_status()
                    await answer.read()
                    answers += 1

    connector = aiohttp.TCPConnector(limit=0, force_close=not is_kept)
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session:
        await asyncio.gather(*(ask(session) for _ in range(concurrency)))
    return answers


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
