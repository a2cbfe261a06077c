"""HTTP messages as values: what a client asked and what it shall see. No sockets here."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from http import HTTPStatus
from typing import Any
from urllib.parse import parse_qsl, unquote

MAX_FIELDS = 200


class BadRequest(Exception):
    """The bytes are no HTTP/1.x request that this server understands."""


class Ending(StrEnum):
    """What happens on the socket after the delay of a reply."""

    KEEP = "keep"  # the whole answer; the connection stays open
    CUT = "cut"  # headers and half of the body, then a normal close
    HEADERS_ONLY = "headers_only"  # headers that promise a body, then a normal close
    FLOOD = "flood"  # a chunked body of 256 MiB
    DRIP = "drip"  # the whole answer, one byte a second
    RESET = "reset"  # no answer at all, RST
    HANG = "hang"  # no answer at all, until the client gives up


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    path: str
    params: dict[str, str]  # query and form fields, the form winning
    headers: dict[str, str] = field(default_factory=dict)  # names in lower case
    body: bytes = b""
    keep_alive: bool = True

    def read_json(self) -> dict[str, Any]:
        """The body as a JSON object with its numbers as Decimal; raises BadRequest."""
        try:
            value = json.loads(self.body, parse_float=Decimal)
        except ValueError as error:
            raise BadRequest(str(error)) from error
        if not isinstance(value, dict):
            raise BadRequest("the body is no JSON object")
        return value


@dataclass(frozen=True, slots=True)
class Head:
    method: str
    path: str
    query: str
    headers: dict[str, str]
    keep_alive: bool
    body_length: int


@dataclass(frozen=True, slots=True)
class Reply:
    body: bytes = b""
    status: int = 200
    content_type: str = "text/html; charset=utf-8"
    headers: tuple[tuple[str, str], ...] = ()
    delay_s: float = 0.0
    ending: Ending = Ending.KEEP


def read_head(raw: bytes) -> Head:
    """Read the bytes up to and including the blank line; raises BadRequest."""
    lines = raw.decode("latin-1").split("\r\n")
    words = lines[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest("request line")
    path, _, query = words[1].partition("?")
    headers = dict(_split_header(line) for line in lines[1:] if line)
    return Head(words[0], unquote(path), query, headers, _keeps_alive(words[2], headers), _body_length(headers))


def build_request(head: Head, body: bytes) -> Request:
    """Join query and form fields into one mapping, the form winning, as the panels' routers do."""
    fields = read_fields(head.query)
    if body and head.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        fields.update(read_fields(body.decode("latin-1")))
    return Request(head.method, head.path, fields, head.headers, body, head.keep_alive)


def read_fields(encoded: str) -> dict[str, str]:
    """Decode `a=1&b=2` as UTF-8; raises BadRequest when there are too many fields."""
    try:
        return dict(parse_qsl(encoded, keep_blank_values=True, errors="replace", max_num_fields=MAX_FIELDS))
    except ValueError as error:
        raise BadRequest(str(error)) from error


def head_bytes(reply: Reply, keep_alive: bool, is_chunked: bool = False) -> bytes:
    """The status line and headers; Content-Length is always that of the whole body, cut or not."""
    length = "Transfer-Encoding: chunked" if is_chunked else f"Content-Length: {len(reply.body)}"
    lines = [
        f"HTTP/1.1 {reply.status} {HTTPStatus(reply.status).phrase}",
        f"Content-Type: {reply.content_type}",
        length,
        f"Connection: {'keep-alive' if keep_alive else 'close'}",
        *(f"{name}: {value}" for name, value in reply.headers),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1")


def _split_header(line: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    if not colon:
        raise BadRequest("header line")
    return name.strip().lower(), value.strip()


def _keeps_alive(version: str, headers: dict[str, str]) -> bool:
    wish = headers.get("connection", "").lower()
    return wish == "keep-alive" if version == "HTTP/1.0" else wish != "close"


def _body_length(headers: dict[str, str]) -> int:
    if "transfer-encoding" in headers:
        raise BadRequest("chunked bodies are not read here")
    length = headers.get("content-length", "0")
    if not length.isascii() or not length.isdigit():
        raise BadRequest("content length")
    return int(length)
