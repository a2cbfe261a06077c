"""The careful send: one request over one fresh connection, with a sure word on whether a byte of it left. No retry."""

from __future__ import annotations

import errno
import functools
import io
import logging
import re
import socket
import ssl
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urlencode, urlsplit, urlunsplit

import certifi
import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HeaderParsingError
from urllib3.util.response import assert_header_parsing
from urllib3.util.retry import Retry

from apps.common import egress
from apps.common.egress import Address, EgressForbidden, EgressPolicy, NameNotResolved
from apps.common.wire import (
    BODY_LIMIT,
    Answer,
    HttpCall,
    HttpReply,
    MaybeSent,
    MaybeSentReason,
    NotSent,
    NotSentReason,
)

USER_AGENT = "order-hub/1.0"
RAW_FACTOR = 4
"""Times the body's limit: bytes that are taken from the socket at most, head, chunk marks and body together."""
FIRST_FINAL_STATUS = 200
"""What is below announces another answer, which never came."""

Hook = Callable[[], NotSentReason | None]
Clock = Callable[[], float]

METHOD = re.compile(r"[A-Z]{1,16}")
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE = re.compile(r"[\x21-\x7e\x80-\xff]([\t\x20-\x7e\x80-\xff]*[\x21-\x7e\x80-\xff])?|")
OWN_HEADERS = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding"}
    | {"te", "trailer", "upgrade", "expect", "proxy-authorization"}
)
"""Headers that only the transport sets: they decide where the request goes and where it ends."""

REASON_BY_ERRNO = {
    errno.ECONNREFUSED: NotSentReason.REFUSED,
    errno.ETIMEDOUT: NotSentReason.CONNECT_TIMEOUT,
}
CERTIFICATE_TROUBLE = {
    9: "not valid yet",
    10: "expired",
    18: "self-signed",
    19: "signed by an unknown authority",
    20: "signed by an unknown authority",
    62: "made for another name",
    64: "made for another address",
}


def send_once(
    call: HttpCall,
    *,
    policy: EgressPolicy,
    before_first_byte: Hook | None = None,
    ca_file: str | None = None,
    clock: Clock = time.monotonic,
) -> Answer:
    """Sends `call` at most once and says what is known. Raises nothing that a network, a name or an answer can cause.

    `before_first_byte` runs when the connection stands, directly before the first byte is written: a reason from it,
    or an exception in it, means that nothing is written. `NotSent` is decided by a flag set there, never by an
    exception's type. `ca_file` replaces the usual certificate authorities. The time limit of the call covers the name
    look-up, connecting, TLS, the hook, writing and reading. A redirect is an answer like any other.
    """
    shot = Shot(call, policy, before_first_byte, ca_file, clock)
    try:
        return shot.reply(_perform(shot))
    except Exception as error:
        return shot.verdict(error)
    finally:
        shot.close()


class MalformedCall(Exception):
    """The adapter asked for a request that cannot be written safely."""


class Stop(Exception):
    """Nothing more is done for this call; the shot knows why."""


@dataclass
class Shot:
    """The state of one send: its clock, its socket, the flag, what was read, and the first trouble met."""

    call: HttpCall
    policy: EgressPolicy
    hook: Hook | None
    ca_file: str | None
    clock: Clock
    begin: float = field(init=False)
    has_begun: bool = False
    """The flag. False is the proof that no byte of the request was handed to the socket."""

    has_dialed: bool = False
    is_at_end: bool = False
    line: socket.socket | None = None
    raw: bytearray = field(default_factory=bytearray, repr=False)
    taken: int = 0
    status: int | None = None
    body: bytearray = field(default_factory=bytearray, repr=False)
    not_sent: tuple[NotSentReason, str] | None = None
    maybe_sent: MaybeSentReason | None = None

    def __post_init__(self) -> None:
        self.begin = self.clock()

    def remaining(self) -> float:
        """Seconds left of the call's time; raises `TimeoutError` when there are none."""
        left = self.begin + self.call.timeout_s - self.clock()
        if not left > 0:
            raise TimeoutError("the call's time is over")
        return left

    def latency_ms(self) -> int:
        """Milliseconds since the beginning."""
        return round((self.clock() - self.begin) * 1000)

    def refuse(self, reason: NotSentReason, detail: str) -> Stop:
        """The exception to raise when nothing is going to be sent, for this reason."""
        self.not_sent = (reason, detail)
        return Stop(detail)

    def doubt(self, reason: MaybeSentReason) -> Stop:
        """The exception to raise when there will be no complete answer, for this reason."""
        self.maybe_sent = self.maybe_sent or reason
        return Stop(reason)

    def open_gate(self) -> None:
        """Called before each write. The first time it asks the hook, looks at the clock, and then sets the flag."""
        if self.has_begun:
            return
        reason = self._ask_hook()
        if reason is not None:
            raise self.refuse(reason, "stopped directly before the first byte")
        try:
            self.remaining()
        except TimeoutError:
            raise self.refuse(NotSentReason.CONNECT_TIMEOUT, "the time was over before the first byte") from None
        self.has_begun = True

    def _ask_hook(self) -> NotSentReason | None:
        if self.hook is None:
            return None
        try:
            return self.hook()
        except Exception as error:
            text = f"the check before the first byte raised {type(error).__name__}"
            raise self.refuse(NotSentReason.DEADLINE, text) from None

    def verdict(self, error: Exception) -> Answer:
        """What is known after `error`: only the flag decides between `NotSent` and `MaybeSent`."""
        if not self.has_begun:
            reason, detail = self.not_sent or (NotSentReason.UNREACHABLE, type(error).__name__)
            return NotSent(reason, detail, self.latency_ms())
        reason_in_doubt = self.maybe_sent or self._guess()
        body = bytes(self.body) or (b"" if self.status else bytes(self.raw))
        detail = "" if isinstance(error, Stop) else type(error).__name__
        return MaybeSent(reason_in_doubt, detail, self.status, body[:BODY_LIMIT], self.latency_ms())

    def _guess(self) -> MaybeSentReason:
        is_http = b"HTTP/".startswith(self.raw[:5]) or self.raw.startswith(b"HTTP/")
        return MaybeSentReason.CUT if self.is_at_end and is_http else MaybeSentReason.PROTOCOL

    def reply(self, raw: Reading) -> HttpReply:
        """The complete answer, with its body decoded; raises `Stop` when it cannot be decoded."""
        body = decode_body(bytes(self.body), raw.headers.get("content-encoding", ""), self.call.limit_bytes)
        if isinstance(body, MaybeSentReason):
            raise self.doubt(body)
        return HttpReply(raw.status, body, MappingProxyType(dict(raw.headers)), self.latency_ms())

    def hold(self, sock: socket.socket) -> None:
        """Takes over `sock`, instead of the one it wraps or replaces."""
        self.close()
        self.line = sock

    def close(self) -> None:
        """Ends the connection for good; nothing of it is kept for a later call."""
        if self.line is not None:
            self.line.close()
            self.line = None


@dataclass(frozen=True)
class Reading:
    """Status and headers of an answer whose body was read to its end."""

    status: int
    headers: Mapping[str, str]


def _perform(shot: Shot) -> Reading:
    """Checks, connects, writes and reads; raises when there is no complete answer."""
    try:
        request = prepare(shot.call)
        scheme, host, port = egress.target(request.url, shot.policy)
        addresses = egress.resolve_within(host, port, shot.policy, shot.remaining())
    except (MalformedCall, EgressForbidden) as error:
        raise shot.refuse(NotSentReason.EGRESS, str(error)) from None
    except (NameNotResolved, TimeoutError) as error:
        raise shot.refuse(NotSentReason.DNS, str(error)) from None
    pool = _pool(shot, scheme, host, port, addresses)
    with pool, _OneShotAdapter(pool) as adapter:
        response = adapter.send(request.as_requests(), stream=True, timeout=shot.call.timeout_s)
        return _read(shot, response)


def _read(shot: Shot, response: requests.Response) -> Reading:
    """Reads the body piece by piece within limit and time; raises unless the answer is complete."""
    shot.status = response.status_code
    headers = {name.lower(): value for name, value in response.raw.headers.itermerged()}
    _check_head(shot, response.raw, headers)
    while piece := response.raw.read1(16384, decode_content=False):
        shot.body += piece
        if len(shot.body) > shot.call.limit_bytes:
            raise shot.doubt(MaybeSentReason.TOO_LARGE)
    return Reading(response.status_code, headers)


def _check_head(shot: Shot, raw: Any, headers: Mapping[str, str]) -> None:
    """Raises unless the head is whole and says without doubt where the body ends."""
    if shot.is_at_end:
        raise shot.doubt(MaybeSentReason.CUT)
    try:
        assert_header_parsing(raw._original_response.msg)
    except (HeaderParsingError, TypeError):
        raise shot.doubt(MaybeSentReason.PROTOCOL) from None
    if raw.status < FIRST_FINAL_STATUS or not _is_length_clear(headers):
        raise shot.doubt(MaybeSentReason.PROTOCOL)


def _is_length_clear(headers: Mapping[str, str]) -> bool:
    lengths = {one.strip() for one in headers.get("content-length", "").split(",")}
    coding = headers.get("transfer-encoding", "chunked").strip().lower()
    return len(lengths) == 1 and all(one.isdecimal() or one == "" for one in lengths) and coding == "chunked"


@dataclass(frozen=True)
class Prepared:
    """A request as it will be written: the whole address with its query, all own headers, and the body."""

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)

    def as_requests(self) -> requests.PreparedRequest:
        """The same for requests, without a session: no cookie, no netrc, no proxy, no redirect."""
        return requests.Request(self.method, self.url, headers=dict(self.headers), data=self.body).prepare()


def prepare(call: HttpCall) -> Prepared:
    """Writes `call` out; raises `MalformedCall` when a part of it could change the meaning of the rest."""
    if not METHOD.fullmatch(call.method):
        raise MalformedCall("the method is not a plain word in capital letters")
    if call.form is not None and call.json is not None:
        raise MalformedCall("the request has two bodies")
    headers = {"user-agent": USER_AGENT, "accept": "*/*", **_body_type(call), **_own_headers(call)}
    headers |= {"accept-encoding": "identity", "connection": "close"}
    return Prepared(call.method, full_url(call), headers, _body(call))


def full_url(call: HttpCall) -> str:
    """The address with the encoded query. It may hold secrets: never write it down."""
    try:
        before, own_query, after = _written(call.url)
        query = "&".join(filter(None, [own_query, urlencode(call.params)]))
    except ValueError:
        raise MalformedCall("the address cannot be read") from None
    return before + (f"?{query}" if query else "") + after


@functools.lru_cache(maxsize=256)
def _written(url: str) -> tuple[str, str, str]:
    """An address encoded, in three parts: before its query, the query, and after. Thousands of calls have the same."""
    parts = urlsplit(url)
    query = quote(parts.query, safe="%&=+,;:@/?!$'()*~._-")
    if egress.FORBIDDEN_CHARACTERS.search(url):
        raise MalformedCall("the address holds white space, a backslash or a control character")
    path = quote(parts.path or "/", safe="%/:@!$&'()*+,;=~._-")
    before = urlunsplit((parts.scheme, _ascii_netloc(parts.netloc), path, "", ""))
    return before, query, f"#{parts.fragment}" if parts.fragment else ""


def _ascii_netloc(netloc: str) -> str:
    if netloc.isascii():
        return netloc
    try:
        return netloc.encode("idna").decode("ascii")
    except UnicodeError:
        raise MalformedCall("the host name cannot be written in ASCII") from None


def _own_headers(call: HttpCall) -> dict[str, str]:
    for name, value in call.headers:
        if not HEADER_NAME.fullmatch(name) or not HEADER_VALUE.fullmatch(value):
            raise MalformedCall("a header holds a line break or another character that is not allowed")
        if name.lower() in OWN_HEADERS:
            raise MalformedCall("a header is given that only the transport sets")
    return {name.lower(): value for name, value in call.headers}


def _body_type(call: HttpCall) -> dict[str, str]:
    if call.form is not None:
        return {"content-type": "application/x-www-form-urlencoded"}
    return {"content-type": "application/json"} if call.json is not None else {}


def _body(call: HttpCall) -> bytes | None:
    return urlencode(call.form).encode("ascii") if call.form is not None else call.json


def decode_body(body: bytes, encoding: str, limit: int = BODY_LIMIT) -> bytes | MaybeSentReason:
    """The body without gzip or deflate, although none was asked for; a reason when it is broken, cut or too large."""
    kind = encoding.strip().lower()
    if kind in ("", "identity") or not body:
        return body
    if kind not in ("gzip", "x-gzip", "deflate"):
        return MaybeSentReason.PROTOCOL
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)
    try:
        plain = unpacker.decompress(body, limit + 1)
    except zlib.error:
        return MaybeSentReason.PROTOCOL
    if len(plain) > limit:
        return MaybeSentReason.TOO_LARGE
    return plain if unpacker.eof else MaybeSentReason.CUT


class _Reader(io.RawIOBase):
    """Reads from the socket until the call's time or the limit of raw bytes is over, and keeps what came."""

    def __init__(self, shot: Shot, sock: socket.socket) -> None:
        self._shot = shot
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fills `buffer` with what is there; each wait is at most the rest of the call's time."""
        shot = self._shot
        if shot.taken > RAW_FACTOR * shot.call.limit_bytes:
            raise shot.doubt(MaybeSentReason.TOO_LARGE)
        with _named_trouble(shot):
            self._sock.settimeout(shot.remaining())
            count = self._sock.recv_into(buffer)
        shot.taken += count
        shot.is_at_end = count == 0
        shot.raw += bytes(buffer[: min(count, BODY_LIMIT - len(shot.raw))])
        return count


class _Line:
    """What http.client sees as its socket: every write passes the gate, every wait ends with the call's time."""

    def __init__(self, shot: Shot, sock: socket.socket) -> None:
        self._shot = shot
        self._sock = sock

    def sendall(self, data: bytes) -> None:
        """Writes all of `data`; the first call of a shot asks the gate, and sets the flag, before anything else."""
        self._shot.open_gate()
        left = memoryview(data)
        with _named_trouble(self._shot):
            while left:
                self._sock.settimeout(self._shot.remaining())
                left = left[self._sock.send(left) :]

    def makefile(self, mode: str) -> io.BufferedReader:
        """The reading side."""
        return io.BufferedReader(_Reader(self._shot, self._sock))

    def settimeout(self, value: float | None) -> None:
        """Ignored: the call's total time rules each wait."""

    def shutdown(self, how: int) -> None:
        """Ignored: the shot closes the real socket."""

    def close(self) -> None:
        """Ignored: the shot closes the real socket, when the answer was read."""


class _OneShotConnection:
    """The part that both connection classes share: one connection to a checked address, never a second one."""

    def __init__(self, shot: Shot, addresses: list[Address], **options: Any) -> None:
        super().__init__(**options)
        self._shot = shot
        self._addresses = addresses

    def _dial(self) -> socket.socket:
        """Connects to the first address that takes the connection, each with its share of the time left."""
        if self._shot.has_dialed:
            raise Stop("a second connection is never made")
        self._shot.has_dialed = True
        trouble = OSError("the name has no address")
        for left in range(len(self._addresses), 0, -1):
            try:
                return self._dial_one(self._addresses[-left], self._shot.remaining() / left)
            except OSError as error:
                trouble = error
        raise self._shot.refuse(*_why_unreachable(trouble))

    def _dial_one(self, address: Address, timeout_s: float) -> socket.socket:
        sock = socket.socket(address.family, socket.SOCK_STREAM)
        self._shot.hold(sock)
        sock.settimeout(timeout_s)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.connect((address.ip, address.port))
        return sock


class _PlainConnection(_OneShotConnection, HTTPConnection):
    def connect(self) -> None:
        """Connects to a checked address."""
        self.sock = _Line(self._shot, self._dial())


class _TlsConnection(_OneShotConnection, HTTPSConnection):
    def connect(self) -> None:
        """Connects to a checked address and makes sure that it is the named host."""
        raw = self._dial()
        try:
            self.sock = _Line(self._shot, self._wrap(raw))
        except (OSError, ValueError) as error:
            raise self._shot.refuse(*_why_no_tls(error)) from None
        self.is_verified = True

    def _wrap(self, raw: socket.socket) -> ssl.SSLSocket:
        """The handshake, within the call's time. A cut answer is not taken for a whole one (`suppress_ragged_eofs`)."""
        tls = tls_context(self._shot.ca_file).wrap_socket(
            raw, server_hostname=self.host, do_handshake_on_connect=False, suppress_ragged_eofs=False
        )
        self._shot.hold(tls)
        tls.settimeout(self._shot.remaining())
        tls.do_handshake()
        return tls


@functools.lru_cache(maxsize=8)
def tls_context(ca_file: str | None = None) -> ssl.SSLContext:
    """TLS 1.2 or later, with certificate and name checked; nothing of it is read from the environment."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(ca_file or certifi.where())
    return context


def _why_unreachable(error: OSError) -> tuple[NotSentReason, str]:
    if isinstance(error, TimeoutError):
        return NotSentReason.CONNECT_TIMEOUT, "no connection in time"
    name = errno.errorcode.get(error.errno or 0, type(error).__name__)
    return REASON_BY_ERRNO.get(error.errno or 0, NotSentReason.UNREACHABLE), name


def _why_no_tls(error: OSError | ValueError) -> tuple[NotSentReason, str]:
    if isinstance(error, TimeoutError):
        return NotSentReason.CONNECT_TIMEOUT, "no TLS handshake in time"
    return NotSentReason.TLS, tls_trouble(error)


def tls_trouble(error: Exception) -> str:
    """Why the handshake failed, in words that name no host."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return "the certificate is " + CERTIFICATE_TROUBLE.get(error.verify_code, "not accepted")
    reason = getattr(error, "reason", None)
    return reason if isinstance(reason, str) else type(error).__name__


@contextmanager
def _named_trouble(shot: Shot) -> Iterator[None]:
    """Notes what a socket said before the libraries above wrap it."""
    try:
        yield
    except TimeoutError:
        raise shot.doubt(MaybeSentReason.TIMEOUT) from None
    except ssl.SSLEOFError:
        raise shot.doubt(MaybeSentReason.CUT) from None
    except OSError:
        raise shot.doubt(MaybeSentReason.RESET) from None


def _pool(shot: Shot, scheme: str, host: str, port: int, addresses: list[Address]) -> HTTPConnectionPool:
    """A pool for this shot alone, whose only connection goes to `addresses` while speaking to `host`."""
    pool = HTTPSConnectionPool(host, port) if scheme == "https" else HTTPConnectionPool(host, port)
    kind = _TlsConnection if scheme == "https" else _PlainConnection
    pool.ConnectionCls = functools.partial(kind, shot, addresses)  # type: ignore[assignment]
    return pool


class _OneShotAdapter(HTTPAdapter):
    """Sends over the pool it was given; nothing is retried."""

    def __init__(self, pool: HTTPConnectionPool) -> None:
        super().__init__(max_retries=Retry(total=False, redirect=False, respect_retry_after_header=False))
        self._pool = pool

    def get_connection_with_tls_context(self, *args: Any, **options: Any) -> HTTPConnectionPool:
        """The shot's own pool: no proxy, no look-up of another one."""
        return self._pool

    def cert_verify(self, *args: Any, **options: Any) -> None:
        """Nothing: the connection class checks the certificate, without a way to switch it off."""

    def __enter__(self) -> _OneShotAdapter:
        return self

    def __exit__(self, *args: object) -> None:
        self.close()


def _is_never_logged(record: logging.LogRecord) -> bool:
    """False for every record: urllib3 writes whole addresses, with the credentials that some providers want in them."""
    return False


for _name in ("urllib3.connectionpool", "urllib3.connection", "urllib3.response"):
    logging.getLogger(_name).addFilter(_is_never_logged)
