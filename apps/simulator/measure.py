"""How many requests a second the simulator answers, as it is and in bench mode; load from this process."""

from __future__ import annotations

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from apps.simulator.client import SimulatorProcess

SECONDS = 3.0
CONNECTIONS = 64
LOGIN = {"kod": "demo", "sifre": "demo-secret"}


@dataclass(frozen=True, slots=True)
class Rate:
    """Requests per second by the clock, and per CPU second of the simulator: what one core to itself would answer."""

    per_second: int
    per_cpu_second: int
    cpu_share: float


class Loader(asyncio.Protocol):
    """One client connection that asks again as soon as it is answered."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)  # noqa: S101 (a stream client makes no other)
        self._transport = transport
        transport.write(self._load.next_request())

    def data_received(self, data: bytes) -> None:
        self._rest += data
        head, blank, body = self._rest.partition(b"\r\n\r\n")
        if not blank or len(body) < _length(head):
            return
        self._rest = b""
        self._load.answered += 1
        self._load.has_begun.set()
        if not self._load.is_over:
            self._transport.write(self._load.next_request())


def _length(head: bytes) -> int:
    return int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0])


@dataclass
class Load:
    next_request: Callable[[], bytes]
    answered: int = 0
    is_over: bool = False
    has_begun: asyncio.Event = field(default_factory=asyncio.Event)


def _get(path: str, **params: str) -> bytes:
    return f"GET {path}?{urlencode(LOGIN | params)} HTTP/1.1\r\nHost: simulator\r\n\r\n".encode()


def status_requests() -> Callable[[], bytes]:
    request = _get("/servis/pin_kontrol.php", tahsilat_api_islem_id="123456789012345678")
    return lambda: request


def place_requests() -> Callable[[], bytes]:
    """A new reference each time, so that each is a purchase."""
    blank = "000000000000000000"
    order = {"oyun": "152", "kupur": "60", "referans": blank, "oyuncu_bilgi": "51234567"}
    before, after = _get("/servis/pin_ekle.php", **order).split(blank.encode())
    numbers = iter(range(10**17, 10**18))
    return lambda: before + str(next(numbers)).encode() + after


async def _load(port: int, requests: Callable[[], bytes], seconds: float) -> tuple[int, float]:
    load = Load(requests)
    loop = asyncio.get_running_loop()
    made = [await loop.create_connection(lambda: Loader(load), "127.0.0.1", port) for _ in range(CONNECTIONS)]
    await load.has_begun.wait()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    load.is_over = True
    took = time.perf_counter() - began
    for transport, _ in made:
        transport.close()
    return load.answered, took


async def _cpu_seconds(port: int) -> float:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /_control/cpu HTTP/1.1\r\n\r\n")
    head = await reader.readuntil(b"\r\n\r\n")
    body = await reader.readexactly(_length(head))
    writer.close()
    return float(body)


async def _rate(port: int, requests: Callable[[], bytes], seconds: float) -> Rate:
    before = await _cpu_seconds(port)
    answered, took = await _load(port, requests, seconds)
    used = await _cpu_seconds(port) - before
    return Rate(round(answered / took), round(answered / used), round(used / took, 3))


@contextmanager
def _simulator(bench: str | None) -> Iterator[int]:
    with (
        tempfile.TemporaryDirectory(prefix="simulator-measure-") as folder,
        SimulatorProcess(Path(folder) / "truth.jsonl", balance="1e12", bench=bench) as process,
    ):
        yield process.port


MODES: tuple[tuple[str, str | None, Callable[[], Callable[[], bytes]]], ...] = (
    ("place with ledger", None, place_requests),
    ("status with ledger", None, status_requests),
    ("status in bench mode", "delivered", status_requests),
)


def main(seconds: float = SECONDS) -> int:
    """Print a line of JSON for each mode."""
    for name, bench, requests in MODES:
        with _simulator(bench) as port:
            rate = asyncio.run(_rate(port, requests(), seconds))
        measured = {"per_second": rate.per_second, "per_cpu_second": rate.per_cpu_second, "cpu_share": rate.cpu_share}
        sys.stdout.write(json.dumps({"mode": name, **measured}) + "\n")
    return 0
