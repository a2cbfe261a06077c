"""The careful send against servers that misbehave: one request at most, and the right word on whether it left."""

from __future__ import annotations

import logging
import os
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.common.egress import LOCAL, EgressPolicy
from apps.common.talk import MAX_CALLS, TalkFailed, drive
from apps.common.transport import send_once
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
from tests.unit import loopback
from tests.unit.loopback import ANSWERS, IN_DOUBT, OK, Peer, Server, answering, closed_port, make_certificate

SECRET = "s3cr3t-9"
PUBLIC_ANY_PORT = EgressPolicy(ports=None)
NAME = "shop.example.com"


def call_to(url: str, timeout_s: float = 0.4, **changes: Any) -> HttpCall:
    """A buying call as ZNET wants it: everything in the query."""
    fields: dict[str, Any] = {
        "method": "GET",
        "url": url,
        "params": (("sifre", SECRET), ("referans", "123456789012345678")),
        "timeout_s": timeout_s,
        "secrets": frozenset({"sifre"}),
    }
    return HttpCall(**{**fields, **changes})


def send(url: str, **options: Any) -> Answer:
    changes = {name: options.pop(name) for name in list(options) if name in HttpCall.__dataclass_fields__}
    return send_once(call_to(url, **changes), policy=options.pop("policy", LOCAL), **options)


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    yield
    loopback.finish_look_ups()
    assert len(os.listdir("/proc/self/fd")) <= files
    assert threading.active_count() <= threads


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the name service says about each name; \"asked\" lists the look-ups."""
    table: dict[str, list[str]] = {"asked": []}
    real = socket.getaddrinfo

    def look_up(host: str, port: int, *args: Any, **options: Any) -> Any:
        if host not in table:
            return real(host, port, *args, **options)
        table["asked"].append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in table[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


class TestNotSent:
    def test_refused(self) -> None:
        answer = send(f"http://127.0.0.1:{closed_port()}/api")
        assert isinstance(answer, NotSent)
        assert (answer.reason, answer.detail) == (NotSentReason.REFUSED, "ECONNREFUSED")

    def test_unknown_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_args: Any, **_options: Any) -> Any:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        answer = send(f"http://{NAME}/api")
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.DNS

    def test_a_hanging_name_service_ends_with_the_calls_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        release, is_over = threading.Event(), threading.Event()

        def hang(*_args: Any, **_options: Any) -> Any:
            assert release.wait(10)
            is_over.set()
            raise socket.gaierror(-3, "Temporary failure")

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        answer = send(f"http://{NAME}/api", timeout_s=0.2)
        assert not is_over.is_set()
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.DNS
        release.set()

    def test_nobody_takes_the_connection(self) -> None:
        """A full backlog: the kernel drops the SYN, so connecting hangs."""
        with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            for filler in (first, second):
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            answer = send(f"http://127.0.0.1:{listener.getsockname()[1]}/api", timeout_s=0.3)
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.CONNECT_TIMEOUT

    @pytest.mark.parametrize(
        "changes",
        [
            {"headers": (("x-a", "b\r\nHost: evil"),)},
            {"headers": (("x-a\r\nx-b", "c"),)},
            {"headers": (("Host", "evil"),)},
            {"headers": (("Transfer-Encoding", "chunked"),)},
            {"method": "GET / HTTP/1.1\r\nX:"},
            {"method": "get"},
            {"form": (("a", "b"),), "json": b"{}"},
        ],
    )
    def test_a_call_that_could_be_read_in_two_ways(self, changes: dict[str, Any]) -> None:
        with Server(answering(OK)) as server:
            answer = send(server.url, **changes)
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.EGRESS
        assert server.peers == []

    @pytest.mark.parametrize("tail", ["/a b", "/a\r\nX: y", "/a#b", "\\@evil"])
    def test_an_address_that_could_be_read_in_two_ways(self, tail: str) -> None:
        with Server(answering(OK)) as server:
            answer = send(f"http://127.0.0.1:{server.port}{tail}")
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.EGRESS
        assert server.peers == []

    def test_no_time_at_all(self) -> None:
        with Server(answering(OK)) as server:
            answer = send(server.url, timeout_s=0)
        assert isinstance(answer, NotSent)
        assert server.peers == []


class TestMaybeSent:
    @pytest.mark.parametrize("behaviour", IN_DOUBT)
    def test_without_a_complete_answer(self, behaviour: str) -> None:
        play, reasons = IN_DOUBT[behaviour]
        with Server(play) as server:
            answer = send(server.url)
            server.settle()
        assert isinstance(answer, MaybeSent), answer
        assert answer.reason in reasons
        assert (len(server.peers), server.requests) == (1, 1)
        assert len(answer.body) <= BODY_LIMIT
        assert SECRET not in repr(answer)

    def test_a_write_that_fails_at_once(self) -> None:
        """The connection is dead before the first byte is handed to the socket: still no proof of anything."""
        with Server(loopback.reset_unread) as server:

            def wait_for_the_reset() -> NotSentReason | None:
                server.may_reset.set()
                assert server.has_peer.wait(5)
                assert server.peers[0].is_played.wait(5)
                return None

            answer = send(server.url, before_first_byte=wait_for_the_reset, timeout_s=5)
            server.settle()
        assert isinstance(answer, MaybeSent)
        assert answer.reason is MaybeSentReason.RESET
        assert len(server.peers) == 1

    def test_interim_answers_without_end_are_too_much(self) -> None:
        with Server(IN_DOUBT["continue without end"][0]) as server:
            answer = send(server.url, timeout_s=20)
        assert isinstance(answer, MaybeSent)
        assert answer.reason is MaybeSentReason.TOO_LARGE

    def test_keeps_what_was_read(self) -> None:
        with Server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK|12")) as server:
            answer = send(server.url)
        assert isinstance(answer, MaybeSent)
        assert (answer.status, answer.body) == (200, b"OK|12")

    def test_keeps_what_was_read_of_a_half_head(self) -> None:
        with Server(answering(b"<html>OK|1")) as server:
            answer = send(server.url)
        assert isinstance(answer, MaybeSent)
        assert (answer.status, answer.body) == (None, b"<html>OK|1")

    def test_a_server_that_never_reads_a_long_body(self) -> None:
        def sleep(peer: Peer) -> None:
            peer.server.stopping.wait(10)

        with Server(sleep) as server:
            answer = send(server.url, method="POST", json=b"x" * 32_000_000)
            server.stopping.set()
        assert isinstance(answer, MaybeSent)
        assert answer.reason is MaybeSentReason.TIMEOUT


class TestReply:
    @pytest.mark.parametrize("behaviour", ANSWERS)
    def test_complete(self, behaviour: str) -> None:
        play, status, body = ANSWERS[behaviour]
        with Server(play) as server:
            answer = send(server.url, timeout_s=3)
            server.settle()
        assert isinstance(answer, HttpReply), answer
        assert (answer.status, answer.body) == (status, body)
        assert (len(server.peers), server.requests) == (1, 1)

    def test_header_names_are_lower_case_and_repeated_ones_joined(self) -> None:
        with Server(answering(loopback.reply(b"", b"X-One: a", b"X-ONE: B"))) as server:
            answer = send(server.url)
        assert isinstance(answer, HttpReply)
        assert dict(answer.headers) == {"content-length": "0", "x-one": "a, B"}

    @pytest.mark.parametrize("status", [b"301 Moved", b"302 Found", b"303 See", b"307 Again", b"308 Moved"])
    def test_a_redirect_is_not_followed(self, status: bytes) -> None:
        with Server(answering(OK)) as other:
            there = b"Location: " + other.url.encode()
            with Server(answering(loopback.reply(b"away", there, status=status))) as server:
                answer = send(server.url)
                server.settle()
            other.settle()
        assert isinstance(answer, HttpReply)
        assert (answer.status, answer.body) == (int(status[:3]), b"away")
        assert (server.requests, other.peers) == (1, [])

    def test_a_redirect_with_a_huge_body_keeps_the_limit(self) -> None:
        head = loopback.HUGE.replace(b"200 OK", b"302 Found\r\nLocation: /")
        with Server(loopback.pouring(head, b"x" * 65536)) as server:
            answer = send(server.url)
        assert isinstance(answer, MaybeSent)
        assert answer.reason is MaybeSentReason.TOO_LARGE

    def test_each_send_has_its_own_connection(self) -> None:
        """Servers that offer keep-alive and close it in silence cannot lose or repeat the next request."""
        with Server(answering(OK)) as server:
            answers = [send(server.url) for _ in range(3)]
            server.settle()
        assert [type(answer) for answer in answers] == [HttpReply] * 3
        assert (len(server.peers), server.requests) == (3, 3)


class TestRequest:
    def written(self, **changes: Any) -> bytes:
        with Server(answering(OK)) as server:
            assert isinstance(send(server.url, **changes), HttpReply)
        return server.received.replace(b"127.0.0.1:%d" % server.port, b"HOST")

    def test_bytes_of_a_get(self) -> None:
        assert self.written(params=(("a", "x\r\ny&z=ğ"),)) == (
            b"GET /api?a=x%0D%0Ay%26z%3D%C4%9F HTTP/1.1\r\nHost: HOST\r\nuser-agent: order-hub/1.0\r\n"
            b"accept: */*\r\naccept-encoding: identity\r\nconnection: close\r\n\r\n"
        )

    def test_bytes_of_a_form(self) -> None:
        head, _, body = self.written(method="POST", params=(), form=(("key", SECRET), ("q", "a b\r\n"))).partition(
            b"\r\n\r\n"
        )
        assert head.startswith(b"POST /api HTTP/1.1\r\n")
        assert b"content-type: application/x-www-form-urlencoded\r\n" in head
        assert body == b"key=s3cr3t-9&q=a+b%0D%0A"

    def test_bytes_of_json(self) -> None:
        head, _, body = self.written(
            method="POST", params=(), json=b'{"a":1}', headers=(("Authorization", "Bearer x"),)
        ).partition(b"\r\n\r\n")
        assert b"content-type: application/json\r\n" in head
        assert b"authorization: Bearer x\r\n" in head
        assert body == b'{"a":1}'

    def test_a_query_in_the_address_stays(self) -> None:
        with Server(answering(OK)) as server:
            send(server.url + "/ü.php?fixed=1%2F", params=(("a", "b"),))
        assert server.received.startswith(b"GET /api/%C3%BC.php?fixed=1%2F&a=b HTTP/1.1\r\n")

    def test_the_environment_has_no_say(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        (tmp_path / "netrc").write_text("machine 127.0.0.1 login other password other\n")
        monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
        with Server(answering(OK)) as proxy:
            for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
            written = self.written()
            proxy.settle()
        assert proxy.peers == []
        assert b"authorization" not in written.lower()


class TestHook:
    @pytest.mark.parametrize("reason", [NotSentReason.DEADLINE, NotSentReason.SUPERSEDED])
    def test_a_reason_prevents_the_write(self, reason: NotSentReason) -> None:
        with Server(loopback.hang) as server:
            answer = send(server.url, before_first_byte=lambda: reason)
            server.settle()
        assert isinstance(answer, NotSent)
        assert answer.reason is reason
        assert (len(server.peers), server.received) == (1, b"")

    def test_an_exception_prevents_the_write(self) -> None:
        def fail() -> NotSentReason | None:
            raise RuntimeError(SECRET)

        with Server(loopback.hang) as server:
            answer = send(server.url, before_first_byte=fail)
            server.settle()
        assert isinstance(answer, NotSent)
        assert answer.detail == "the check before the first byte raised RuntimeError"
        assert server.received == b""

    def test_is_asked_once_when_the_connection_stands_and_nothing_is_written(self) -> None:
        seen: list[bytes] = []
        with Server(answering(OK)) as server:

            def look() -> NotSentReason | None:
                assert server.has_peer.wait(5)
                seen.append(server.received)
                return None

            answer = send(server.url, method="POST", json=b"{}", before_first_byte=look, timeout_s=5)
        assert isinstance(answer, HttpReply)
        assert seen == [b""]

    def test_time_that_passes_in_it_counts(self) -> None:
        now = [0.0]

        def slow() -> NotSentReason | None:
            now[0] = 99.0
            return None

        with Server(loopback.hang) as server:
            answer = send(server.url, before_first_byte=slow, clock=lambda: now[0], timeout_s=30)
            server.settle()
        assert isinstance(answer, NotSent)
        assert (server.received, answer.latency_ms) == (b"", 99_000)

    def test_is_not_asked_without_a_connection(self) -> None:
        asked: list[int] = []
        send(f"http://127.0.0.1:{closed_port()}/", before_first_byte=lambda: asked.append(1))
        assert asked == []


class TestPin:
    def test_the_name_is_looked_up_once(self, names: dict[str, list[str]]) -> None:
        """DNS rebinding: the second answer of the name service is never seen."""
        with Server(answering(OK)) as good, Server(answering(OK), address=("127.0.0.2", good.port)) as evil:
            names[NAME] = ["127.0.0.1"]
            answer = send(f"http://{NAME}:{good.port}/", before_first_byte=lambda: names.update({NAME: ["127.0.0.2"]}))
            good.settle()
            evil.settle()
        assert isinstance(answer, HttpReply)
        assert (names["asked"], good.requests, evil.peers) == ([NAME], 1, [])
        assert b"\r\nHost: %s:%d\r\n" % (NAME.encode(), good.port) in good.received

    @pytest.mark.parametrize("addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"]])
    def test_each_address_is_checked(self, names: dict[str, list[str]], addresses: list[str]) -> None:
        names[NAME] = addresses
        with Server(answering(OK)) as server:
            answer = send(f"http://{NAME}:{server.port}/", policy=PUBLIC_ANY_PORT)
            server.settle()
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.EGRESS
        assert server.peers == []

    def test_a_number_is_checked_too(self) -> None:
        with Server(answering(OK)) as server:
            answer = send(server.url, policy=PUBLIC_ANY_PORT)
            server.settle()
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.EGRESS
        assert server.peers == []

    def test_the_second_address_is_tried_when_the_first_refuses(self, names: dict[str, list[str]]) -> None:
        names[NAME] = ["127.0.0.2", "127.0.0.1"]
        with Server(answering(OK)) as server:
            answer = send(f"http://{NAME}:{server.port}/")
            server.settle()
        assert isinstance(answer, HttpReply)
        assert (len(server.peers), server.requests) == (1, 1)


class TestTls:
    def url(self, server: Server, host: str = NAME) -> str:
        return f"https://{host}:{server.port}/api"

    def test_a_trusted_name(self, tmp_path: Path, names: dict[str, list[str]]) -> None:
        names[NAME] = ["127.0.0.1"]
        context, ca_file = make_certificate(tmp_path, NAME)
        with Server(answering(OK), tls=context) as server:
            answer = send(self.url(server), ca_file=ca_file, timeout_s=3)
            server.settle()
        assert isinstance(answer, HttpReply)
        assert (server.names, len(server.peers), server.requests) == ([NAME], 1, 1)
        assert b"\r\nHost: %s:%d\r\n" % (NAME.encode(), server.port) in server.received

    def test_a_trusted_number(self, tmp_path: Path) -> None:
        context, ca_file = make_certificate(tmp_path, "127.0.0.1")
        with Server(answering(OK), tls=context) as server:
            answer = send(self.url(server, "127.0.0.1"), ca_file=ca_file, timeout_s=3)
        assert isinstance(answer, HttpReply)

    @pytest.mark.parametrize(
        ("name", "is_expired", "is_trusted", "detail"),
        [
            (NAME, False, False, "the certificate is self-signed"),
            (NAME, True, True, "the certificate is expired"),
            ("other.example.com", False, True, "the certificate is made for another name"),
        ],
    )
    def test_a_certificate_that_is_not_accepted(
        self, tmp_path: Path, names: dict[str, list[str]], name: str, is_expired: bool, is_trusted: bool, detail: str
    ) -> None:
        names[NAME] = ["127.0.0.1"]
        context, ca_file = make_certificate(tmp_path, name, expired=is_expired)
        with Server(answering(OK), tls=context) as server:
            answer = send(self.url(server), ca_file=ca_file if is_trusted else None, timeout_s=3)
            server.settle()
        assert isinstance(answer, NotSent)
        assert (answer.reason, answer.detail) == (NotSentReason.TLS, detail)
        assert (len(server.peers), server.received) == (1, b"")

    def test_old_protocol_versions(self, tmp_path: Path, names: dict[str, list[str]]) -> None:
        names[NAME] = ["127.0.0.1"]
        context, ca_file = make_certificate(tmp_path, NAME)
        context.set_ciphers("ALL:@SECLEVEL=0")
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
        with Server(answering(OK), tls=context) as server:
            answer = send(self.url(server), ca_file=ca_file, timeout_s=3)
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.TLS
        assert server.received == b""

    def test_a_server_that_does_not_speak_it(self) -> None:
        with Server(lambda peer: peer.send(b"220 mail ready\r\n")) as server:
            answer = send(self.url(server, "127.0.0.1"))
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.TLS

    def test_a_handshake_that_hangs(self) -> None:
        with Server(loopback.hang) as server:
            answer = send(self.url(server, "127.0.0.1"), timeout_s=0.3)
            server.settle()
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.CONNECT_TIMEOUT
        assert len(server.peers) == 1
        assert SECRET.encode() not in server.received

    def test_the_hook_prevents_the_write_after_the_handshake(self, tmp_path: Path) -> None:
        context, ca_file = make_certificate(tmp_path, "127.0.0.1")
        with Server(loopback.hang, tls=context) as server:
            answer = send(
                self.url(server, "127.0.0.1"),
                ca_file=ca_file,
                timeout_s=3,
                before_first_byte=lambda: NotSentReason.SUPERSEDED,
            )
            server.settle()
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.SUPERSEDED
        assert (len(server.peers), server.received) == (1, b"")

    @pytest.mark.parametrize("behaviour", ["hang", "half body", "dribbled body", "endless chunks", "silent close"])
    def test_without_a_complete_answer(self, tmp_path: Path, behaviour: str) -> None:
        play, reasons = IN_DOUBT[behaviour]
        context, ca_file = make_certificate(tmp_path, "127.0.0.1")
        with Server(play, tls=context) as server:
            answer = send(self.url(server, "127.0.0.1"), ca_file=ca_file, timeout_s=0.6)
            server.settle()
        assert isinstance(answer, MaybeSent)
        assert answer.reason in reasons
        assert (len(server.peers), server.requests) == (1, 1)

    def test_an_end_without_goodbye_is_a_cut(self, tmp_path: Path) -> None:
        """An answer that lasts until the connection closes may have been shortened by anyone on the way."""
        context, ca_file = make_certificate(tmp_path, "127.0.0.1")
        with Server(answering(loopback.CLOSED + b"OK|1"), tls=context) as server:
            answer = send(self.url(server, "127.0.0.1"), ca_file=ca_file, timeout_s=3)
        assert isinstance(answer, MaybeSent)
        assert (answer.reason, answer.body) == (MaybeSentReason.CUT, b"OK|1")


class TestSecrets:
    @pytest.mark.parametrize("behaviour", ["hang", "half header", "http 0.9", "two lengths", "endless headers"])
    def test_nothing_is_logged_or_shown(self, behaviour: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        for name in ("urllib3", "urllib3.connectionpool", "urllib3.connection", "requests"):
            caplog.set_level(logging.DEBUG, logger=name)
        with Server(IN_DOUBT[behaviour][0]) as server:
            answer = send(server.url, method="POST", form=(("sifre", SECRET),), headers=(("x-key", SECRET),))
        assert SECRET not in repr(answer) + str(answer) + caplog.text
        assert "referans" not in caplog.text
        assert str(server.port) not in repr(answer)


class TestClassification:
    def test_an_unknown_exception_before_the_flag_is_not_sent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_args: Any) -> Any:
            raise TimeoutError("read timed out")

        monkeypatch.setattr("apps.common.transport._pool", fail)
        answer = send(f"http://127.0.0.1:{closed_port()}/")
        assert isinstance(answer, NotSent)

    @pytest.mark.parametrize(
        "error", [ConnectionRefusedError(), socket.gaierror(-2), ssl.SSLError(1, "x"), KeyError("x")]
    )
    def test_any_exception_after_the_flag_is_maybe_sent(
        self, monkeypatch: pytest.MonkeyPatch, error: Exception
    ) -> None:
        """Even one that sounds as if there never was a connection."""

        def fail(*_args: Any) -> Any:
            raise error

        monkeypatch.setattr("apps.common.transport._read", fail)
        with Server(answering(OK)) as server:
            answer = send(server.url)
            server.settle()
        assert isinstance(answer, MaybeSent)
        assert server.requests == 1


class TestDrive:
    def test_gives_the_value_and_the_exchanges(self) -> None:
        def talk() -> Any:
            first = yield call_to("http://a.example/1")
            second = yield call_to("http://a.example/2")
            return (first.status, second.status)

        replies = iter([HttpReply(200, b""), HttpReply(404, b"")])
        clock = iter([10.0, 11.0, 13.5])
        value, exchanges = drive(talk(), lambda _call: next(replies), clock=lambda: next(clock))
        assert value == (200, 404)
        assert [one.started_s for one in exchanges] == [1.0, 3.5]
        assert exchanges[1].request == "GET http://a.example/2?sifre=***&referans=123456789012345678"

    def test_a_generator_that_raises_keeps_its_exchanges(self) -> None:
        def talk() -> Any:
            yield call_to("http://a.example/1")
            raise KeyError(SECRET)

        with pytest.raises(TalkFailed) as failure:
            drive(talk(), lambda _call: MaybeSent(MaybeSentReason.CUT))
        assert [type(one.answer) for one in failure.value.exchanges] == [MaybeSent]
        assert str(failure.value) == "the adapter raised KeyError"

    @pytest.mark.parametrize("calls", [["GET"], [call_to("http://a.example/")] * (MAX_CALLS + 1)])
    def test_a_generator_that_misbehaves(self, calls: list[Any]) -> None:
        def talk() -> Any:
            yield from calls

        with pytest.raises(TalkFailed):
            drive(talk(), lambda _call: HttpReply(200, b""))
