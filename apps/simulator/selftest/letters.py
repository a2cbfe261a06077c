"""Webhooks of the self-test: late, doubled, out of order and forged, received on a raw socket."""

from __future__ import annotations

import contextlib
import queue
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from apps.simulator.selftest.buyers import AFTER_S, LATER_S, PATIENCE_S, Mismatch, Shop, check


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, queue.Queue[Received]]]:
    """A server of one page on a raw socket: its address, and what it was sent."""
    letters: queue.Queue[Received] = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_receive, args=(listening, letters), daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hooks/in", letters


def _receive(listening: socket.socket, letters: queue.Queue[Received]) -> None:
    with contextlib.suppress(OSError):
        while True:
            line, _ = listening.accept()
            with line:
                letters.put(_read_letter(line))
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _read_letter(line: socket.socket) -> Received:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += line.recv(65536)
    head, _, body = raw.partition(b"\r\n\r\n")
    pairs = (each.partition(":") for each in head.decode("latin-1").split("\r\n")[1:])
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers["content-length"]):
        body += line.recv(65536)
    return Received(headers, body)


def webhooks(shop: Shop) -> None:
    """Late, doubled, out of order and forged, each with its signature checked by the document's rule."""
    is_signed = shop.probe.is_signed
    if is_signed is None:
        raise Mismatch("the probe cannot check a signature")
    secret = shop.dialect.secrets["webhook"]
    with receiver() as (url, letters):
        straight = _letters(shop, letters, 2, hook_url=url)
        doubled = _letters(shop, letters, 4, hook_times=2)
        turned = _letters(shop, letters, 2, hook_times=1, hook_out_of_order=True)
        forged = _letters(shop, letters, 2, hook_out_of_order=False, hook_forged=True)
        shop.control.switch(hook_forged=False, hook_late_s=LATER_S)
        shop.order().place()
        early = letters.empty()
        shop.control.advance(AFTER_S)
        late = [letters.get(timeout=PATIENCE_S) for _ in range(2)]
        shop.control.switch(hook_url=None, hook_late_s=0)
    check(early, "nothing before its time", None)
    for each in (*straight, *doubled, *turned, *late):
        check(is_signed(each.headers, each.body, "/hooks/in", secret), "signed as documented", each)
    for each in forged:
        check(not is_signed(each.headers, each.body, "/hooks/in", secret), "a signature that is wrong", each)
    check(len({each.body for each in straight}) == 2, "waiting, then delivered", straight)
    check(doubled[0].body == doubled[1].body, "the same letter twice", doubled)
    told = [hook["state"] for hook in shop.truth() if hook["event"] == "hook"]
    check(told[6:8] == ["delivered", "waiting"], "the news before the older news", told)


def _letters(shop: Shop, letters: queue.Queue[Received], count: int, **switches: Any) -> list[Received]:
    shop.control.switch(**switches)
    shop.order().place()
    return [letters.get(timeout=PATIENCE_S) for _ in range(count)]
