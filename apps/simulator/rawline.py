"""One HTTP exchange on a raw socket of its own, and how it ended; repairs nothing and follows nothing."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from enum import StrEnum

ENOUGH = 1_000_000


class Ended(StrEnum):
    WHOLE = "whole"
    SILENCE = "silence"  # nothing came in time
    SLOW = "slow"  # some came in time, not all
    CUT = "cut"  # closed before it was all there
    RESET = "reset"
    REFUSED = "refused"  # no connection
    FLOOD = "flood"  # more than anybody should read


@dataclass(frozen=True, slots=True)
class Seen:
    ended: Ended
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def exchange(port: int, request: bytes, patience_s: float) -> Seen:
    """Send one request to a port of this machine and read until it closes, or until patience or the limit is over."""
    raw = bytearray()
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=patience_s) as line:
            line.sendall(request)
            while chunk := line.recv(65536):
                raw += chunk
                if len(raw) > ENOUGH:
                    return _seen(raw, Ended.FLOOD)
    except ConnectionRefusedError:
        return Seen(Ended.REFUSED)
    except ConnectionResetError:
        return Seen(Ended.RESET)
    except TimeoutError:
        return _seen(raw, Ended.SLOW if raw else Ended.SILENCE)
    return _seen(raw, None)


def _seen(raw: bytearray, ended: Ended | None) -> Seen:
    head, _, body = bytes(raw).partition(b"\r\n\r\n")
    if not head:
        return Seen(ended or Ended.CUT)
    first, *lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    is_whole = len(body) == int(headers.get("content-length", len(body)))
    return Seen(ended or (Ended.WHOLE if is_whole else Ended.CUT), int(first.split(" ")[1]), headers, body)
