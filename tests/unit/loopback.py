"""Small servers on loopback that behave badly on purpose, and the table of what is known after each behaviour."""

from __future__ import annotations

import datetime
import gzip
import ipaddress
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from apps.common.wire import BODY_LIMIT, MaybeSentReason

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nOK"


class Server:
    """Listens on loopback, counts what arrives, and plays `play` on each connection. Use it as a context manager."""

    def __init__(
        self,
        play: Callable[[Peer], None],
        *,
        address: tuple[str, int] = ("127.0.0.1", 0),
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.play, self.tls = play, tls
        self.listener = socket.create_server(address, backlog=64)
        self.host, self.port = self.listener.getsockname()[:2]
        self.peers: list[Peer] = []
        self.names: list[str | None] = []
        self.last_origin: tuple[str, int] | None = None
        self.has_peer, self.may_reset = threading.Event(), threading.Event()
        self.stopping = threading.Event()
        self.settled = threading.Event()
        self.threads: list[threading.Thread] = []
        if tls is not None:
            tls.sni_callback = lambda _sock, name, _context: self.names.append(name)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}/api"

    @property
    def received(self) -> bytes:
        """All request bytes that arrived on all connections."""
        return b"".join(bytes(peer.received) for peer in self.peers)

    @property
    def requests(self) -> int:
        return self.received.count(b" HTTP/1.1\r\n")

    def __enter__(self) -> Server:
        self._start(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.settle()
        self.stopping.set()
        for peer in self.peers:
            peer.drop()
        self.listener.close()
        for thread in self.threads:
            thread.join(5)
            assert not thread.is_alive()

    def settle(self) -> None:
        """Returns when each connection begun before has been accepted and counted."""
        if self.settled.is_set():
            return
        with socket.socket() as last:
            last.bind((self.host, 0))
            self.last_origin = last.getsockname()
            last.connect((self.host, self.port))
            assert self.settled.wait(5)
        for peer in self.peers:
            assert peer.is_played.wait(5), "the client let the connection open"

    def _start(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work, daemon=True)
        self.threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self.settled.is_set():
            sock, origin = self.listener.accept()
            if origin == self.last_origin:
                sock.close()
                self.settled.set()
                return
            peer = Peer(self, sock)
            self.peers.append(peer)
            self.has_peer.set()
            self._start(peer.run)


class Peer:
    """One accepted connection."""

    def __init__(self, server: Server, sock: socket.socket) -> None:
        self.server, self.sock = server, sock
        self.received = bytearray()
        self.is_played = threading.Event()

    def run(self) -> None:
        self.sock.settimeout(None)
        with suppress(OSError):
            if self.server.tls is not None:
                self.sock = self.server.tls.wrap_socket(self.sock, server_side=True)
            self.server.play(self)
        with suppress(OSError):
            self.sock.close()
        self.is_played.set()

    def drop(self) -> None:
        with suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def read_request(self) -> bytes:
        """Reads one request with its body and returns it; fewer bytes when the client leaves."""
        start = len(self.received)
        while not _is_whole(bytes(self.received[start:])):
            if not self._take():
                break
        return bytes(self.received[start:])

    def wait_gone(self) -> None:
        """Reads until the client leaves."""
        with suppress(OSError):
            while self._take():
                pass

    def _take(self) -> bool:
        piece = self.sock.recv(65536)
        self.received += piece
        return bool(piece)

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def pour(self, piece: bytes, pause_s: float = 0.0) -> None:
        """Sends `piece` again and again until the client leaves; with a pause for a few seconds at most."""
        for _ in range(100 if pause_s else 1_000_000):
            if self.server.stopping.wait(pause_s):
                return
            self.sock.sendall(piece)

    def reset(self) -> None:
        """Ends the connection with RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()


def _is_whole(request: bytes) -> bool:
    head, mark, body = request.partition(b"\r\n\r\n")
    length = next((int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0)
    return bool(mark) and len(body) >= length


def answering(*replies: bytes) -> Callable[[Peer], None]:
    """Reads a request, gives the n-th of `replies` on the n-th connection (later ones get the last), closes."""

    def play(peer: Peer) -> None:
        number = peer.server.peers.index(peer)
        if peer.read_request():
            peer.send(replies[min(number, len(replies) - 1)])

    return play


def reply(body: bytes, *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """A well-formed answer."""
    lines = [b"HTTP/1.1 " + status, b"Content-Length: %d" % len(body), *headers]
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def hang(peer: Peer) -> None:
    peer.read_request()
    peer.wait_gone()


def hang_after(data: bytes) -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)
        peer.wait_gone()

    return play


def reset_unread(peer: Peer) -> None:
    """Ends the connection as soon as the client stands at its gate (`may_reset`), without reading."""
    peer.server.may_reset.wait(5)
    peer.reset()


def reset_after(data: bytes) -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        peer.read_request()
        peer.send(data)
        peer.reset()

    return play


def pouring(head: bytes, piece: bytes, pause_s: float = 0.0) -> Callable[[Peer], None]:
    def play(peer: Peer) -> None:
        peer.read_request()
        with suppress(OSError):
            peer.send(head)
        peer.pour(piece, pause_s)

    return play


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(bytes(64 * BODY_LIMIT))
HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 10000000000\r\n\r\n"
CLOSED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"
GZIP = b"Content-Encoding: gzip"

M = MaybeSentReason
IN_DOUBT: dict[str, tuple[Callable[[Peer], None], set[MaybeSentReason]]] = {
    "hang": (hang, {M.TIMEOUT}),
    "silent close": (answering(b""), {M.CUT}),
    "reset after reading": (reset_after(b""), {M.RESET}),
    "half status line": (answering(b"HTTP/1.1 20"), {M.CUT, M.PROTOCOL}),
    "half header": (answering(b"HTTP/1.1 200 OK\r\nContent-Le"), {M.CUT}),
    "header without end": (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"), {M.CUT}),
    "half header, then hang": (hang_after(b"HTTP/1.1 200 OK\r\nContent-Le"), {M.TIMEOUT}),
    "half body": (answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK|12"), {M.CUT}),
    "half body, then hang": (hang_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK|12"), {M.TIMEOUT}),
    "half body, then reset": (reset_after(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK|12"), {M.RESET, M.CUT}),
    "half chunk": (answering(CHUNKED + b"9\r\nOK|12"), {M.CUT}),
    "chunks without end": (answering(CHUNKED + b"5\r\nOK|12\r\n"), {M.CUT}),
    "dribbled head": (pouring(b"HTTP/1.1 200 OK\r\nX: ", b"x", 0.02), {M.TIMEOUT}),
    "dribbled body": (pouring(b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n", b"x", 0.02), {M.TIMEOUT}),
    "dribbled body without length": (pouring(CLOSED, b"x", 0.02), {M.TIMEOUT}),
    "huge body": (pouring(HUGE, b"x" * 65536), {M.TOO_LARGE}),
    "huge body without length": (pouring(CLOSED, b"x" * 65536), {M.TOO_LARGE}),
    "endless chunks": (pouring(CHUNKED, b"400\r\n" + b"x" * 1024 + b"\r\n"), {M.TOO_LARGE}),
    "endless tiny chunks": (pouring(CHUNKED, b"1\r\nx\r\n" * 4096), {M.TOO_LARGE, M.TIMEOUT}),
    "endless header": (pouring(b"HTTP/1.1 200 OK\r\nX: ", b"x" * 65536), {M.PROTOCOL, M.TOO_LARGE}),
    "endless headers": (pouring(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n" * 4096), {M.PROTOCOL, M.TOO_LARGE}),
    "one byte over the limit": (answering(reply(b"x" * (BODY_LIMIT + 1))), {M.TOO_LARGE}),
    "gzip bomb": (answering(reply(BOMB, GZIP)), {M.TOO_LARGE}),
    "cut gzip": (answering(reply(gzip.compress(b"OK|12.50")[:-9], GZIP)), {M.CUT}),
    "broken gzip": (answering(reply(b"OK|12.50", GZIP)), {M.PROTOCOL}),
    "unknown encoding": (answering(reply(b"OK|12.50", b"Content-Encoding: br")), {M.PROTOCOL}),
    "not http": (answering(b"220 mail ready\r\n"), {M.PROTOCOL}),
    "http 0.9": (answering(b"<html>OK|1|2.50</html>"), {M.PROTOCOL, M.CUT}),
    "two lengths": (
        answering(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 9\r\n\r\nOK|12.500"),
        {M.PROTOCOL},
    ),
    "strange length": (answering(b"HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nOK"), {M.PROTOCOL}),
    "early hints only": (answering(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"), {M.PROTOCOL, M.CUT}),
    "continue without end": (pouring(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 999), {M.TOO_LARGE, M.TIMEOUT}),
}
"""Behaviours that give no complete answer: each reads one whole request first."""

ANSWERS: dict[str, tuple[Callable[[Peer], None], int, bytes]] = {
    "plain": (answering(OK), 200, b"OK"),
    "answer, then extra": (answering(OK + b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nOTHER"), 200, b"OK"),
    "answer, then hang": (hang_after(OK), 200, b"OK"),
    "until close": (answering(CLOSED + b"OK|1"), 200, b"OK|1"),
    "chunked": (answering(CHUNKED + b"2\r\nOK\r\n2\r\n|1\r\n0\r\n\r\n"), 200, b"OK|1"),
    "gzip though identity was asked": (answering(reply(gzip.compress(b"OK|12.50"), GZIP)), 200, b"OK|12.50"),
    "just at the limit": (answering(reply(b"x" * BODY_LIMIT)), 200, b"x" * BODY_LIMIT),
    "server error": (answering(reply(b"oops", b"Retry-After: 0", status=b"503 Busy")), 503, b"oops"),
    "too many": (answering(reply(b"", b"Retry-After: 0", status=b"429 Slow")), 429, b""),
    "no content": (answering(b"HTTP/1.1 204 No Content\r\n\r\n"), 204, b""),
    "odd status": (answering(reply(b"?", status=b"299 Odd")), 299, b"?"),
    "log-in asked": (answering(reply(b"", b"WWW-Authenticate: Basic", status=b"401 No")), 401, b""),
    "continue first": (answering(b"HTTP/1.1 100 Continue\r\n\r\n" + OK), 200, b"OK"),
}
"""Behaviours that give a complete answer."""


def make_certificate(folder: Path, *names: str, expired: bool = False) -> tuple[ssl.SSLContext, str]:
    """A server context with a self-signed certificate for `names`, and the file to trust it by."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "loopback")])
    end = datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=-1 if expired else 1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - datetime.timedelta(days=3))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([_general_name(one) for one in names]), critical=False)
        .sign(key, hashes.SHA256())
    )
    plain = serialization.NoEncryption()
    private = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, plain)
    public = certificate.public_bytes(serialization.Encoding.PEM)
    (folder / "both.pem").write_bytes(private + public)
    (folder / "public.pem").write_bytes(public)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "both.pem")
    return context, str(folder / "public.pem")


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def finish_look_ups() -> None:
    """Waits for the threads that looked names up: they end a moment after their answer was taken."""
    for thread in threading.enumerate():
        if thread.name == "name-look-up":
            thread.join(5)


def closed_port() -> int:
    """A port on loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    return port
