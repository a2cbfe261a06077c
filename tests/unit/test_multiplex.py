"""Asking many at once: neighbours do not harm each other, limits hold, and each question leaves once."""

from __future__ import annotations

import itertools
import logging
import os
import socket
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

from apps.common.egress import LOCAL, PUBLIC, EgressPolicy
from apps.common.multiplex import Job, JobResult, Lane, ask_many
from apps.common.talk import MAX_CALLS, Exchange, TalkFailed
from apps.common.wire import Answer, HttpCall, HttpReply, MaybeSent, MaybeSentReason, NotSent, NotSentReason
from tests.unit import loopback
from tests.unit.loopback import ANSWERS, IN_DOUBT, OK, Peer, Server, answering, closed_port, make_certificate

SECRET = "s3cr3t-9"
NAME = "shop.example.com"
Talk = Generator[HttpCall, Answer, Answer]


def call_to(url: str, timeout_s: float = 0.4, **changes: Any) -> HttpCall:
    fields: dict[str, Any] = {"method": "GET", "url": url, "timeout_s": timeout_s}
    secret = {"params": (("sifre", SECRET), ("referans", "12345")), "secrets": frozenset({"sifre"})}
    return HttpCall(**{**fields, **secret, **changes})


def one_question(call: HttpCall) -> Talk:
    answer = yield call
    return answer


def job(call: HttpCall, key: int = 0, policy: EgressPolicy = LOCAL, lane: Lane = Lane("a")) -> Job[Answer]:  # noqa: B008
    return Job(key, one_question(call), policy, lane)


def ask(url: str, *, policy: EgressPolicy = LOCAL, ca_file: str | None = None, **changes: Any) -> Answer:
    """One question alone."""
    jobs = [job(call_to(url, **changes), policy=policy)]
    result = ask_many(jobs, concurrency=2, total_timeout_s=20, ca_file=ca_file)[0]
    assert result.error is None
    assert result.value is not None
    assert [one.answer for one in result.exchanges] == [result.value]
    return result.value


@pytest.fixture(autouse=True)
def _nothing_left_behind() -> Iterator[None]:
    files, threads = len(os.listdir("/proc/self/fd")), threading.active_count()
    yield
    loopback.finish_look_ups()
    assert len(os.listdir("/proc/self/fd")) <= files
    assert threading.active_count() <= threads


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """What the name service says about each name; "asked" lists the look-ups."""
    table: dict[str, list[str]] = {"asked": []}

    def look_up(host: str, port: int, *_args: Any, **_options: Any) -> Any:
        table["asked"].append(host)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (ip, port)) for ip in table[host]]

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return table


class TestOneQuestion:
    @pytest.mark.parametrize("behaviour", ANSWERS)
    def test_complete(self, behaviour: str) -> None:
        play, status, body = ANSWERS[behaviour]
        with Server(play) as server:
            answer = ask(server.url, timeout_s=3)
            server.settle()
        assert isinstance(answer, HttpReply), answer
        assert (answer.status, answer.body) == (status, body)
        assert (len(server.peers), server.requests) == (1, 1)

    @pytest.mark.parametrize("behaviour", IN_DOUBT)
    def test_without_a_complete_answer(self, behaviour: str) -> None:
        play, reasons = IN_DOUBT[behaviour]
        with Server(play) as server:
            answer = ask(server.url, timeout_s=1.5)
            server.settle()
        assert isinstance(answer, MaybeSent), answer
        assert answer.reason in reasons
        assert (len(server.peers), server.requests) == (1, 1)
        assert SECRET not in repr(answer)

    def test_reset_before_a_byte_was_read(self) -> None:
        """The kernel may report it while connecting already, or only after the write."""
        with Server(loopback.reset_unread) as server:
            server.may_reset.set()
            answer = ask(server.url)
            server.settle()
        assert isinstance(answer, NotSent | MaybeSent)
        assert (len(server.peers), server.received) == (1, b"")

    def test_keeps_what_was_read(self) -> None:
        with Server(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nOK|12")) as server:
            answer = ask(server.url)
        assert isinstance(answer, MaybeSent)
        assert (answer.status, answer.body) == (200, b"OK|12")

    def test_a_redirect_is_not_followed(self) -> None:
        with Server(answering(OK)) as other:
            there = b"Location: " + other.url.encode()
            with Server(answering(loopback.reply(b"away", there, status=b"302 Found"))) as server:
                answer = ask(server.url)
                server.settle()
            other.settle()
        assert isinstance(answer, HttpReply)
        assert (answer.status, server.requests, other.peers) == (302, 1, [])

    def test_refused(self) -> None:
        answer = ask(f"http://127.0.0.1:{closed_port()}/")
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.REFUSED

    def test_unknown_name(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*_args: Any, **_options: Any) -> Any:
            raise socket.gaierror(-2, "Name or service not known")

        monkeypatch.setattr(socket, "getaddrinfo", fail)
        answer = ask(f"http://{NAME}/")
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.DNS

    def test_a_hanging_name_service_ends_with_the_calls_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        release, is_over = threading.Event(), threading.Event()

        def hang(*_args: Any, **_options: Any) -> Any:
            assert release.wait(10)
            is_over.set()
            raise socket.gaierror(-3, "Temporary failure")

        monkeypatch.setattr(socket, "getaddrinfo", hang)
        answer = ask(f"http://{NAME}/", timeout_s=0.2)
        assert not is_over.is_set()
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.CONNECT_TIMEOUT
        release.set()

    def test_a_private_number(self) -> None:
        with Server(answering(OK)) as server:
            answer = ask(server.url, policy=EgressPolicy(ports=None))
            server.settle()
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.EGRESS
        assert server.peers == []

    def test_a_name_with_one_private_address(self, names: dict[str, list[str]]) -> None:
        names[NAME] = ["8.8.8.8", "127.0.0.1"]
        with Server(answering(OK)) as server:
            answer = ask(f"http://{NAME}:{server.port}/", policy=EgressPolicy(ports=None))
            server.settle()
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.EGRESS
        assert server.peers == []

    def test_the_name_stays_in_the_host_header(self, names: dict[str, list[str]]) -> None:
        names[NAME] = ["127.0.0.1"]
        with Server(answering(OK)) as server:
            assert isinstance(ask(f"http://{NAME}:{server.port}/"), HttpReply)
        assert names["asked"] == [NAME]
        assert b"Host: %s:%d\r\n" % (NAME.encode(), server.port) in server.received

    def test_a_header_with_a_line_break(self) -> None:
        answer = ask("http://127.0.0.1:1/", headers=(("x-a", "b\r\nX: y"),))
        assert isinstance(answer, NotSent)
        assert answer.reason is NotSentReason.EGRESS

    def test_a_form(self) -> None:
        with Server(answering(OK)) as server:
            ask(server.url, method="POST", params=(), form=(("key", "a b&c"), ("action", "status")))
        head, _, body = server.received.partition(b"\r\n\r\n")
        assert b"\r\ncontent-type: application/x-www-form-urlencoded" in head.lower()
        assert b"\r\naccept-encoding: identity" in head.lower()
        assert body == b"key=a+b%26c&action=status"

    def test_no_cookie_and_no_proxy(self, monkeypatch: pytest.MonkeyPatch) -> None:
        with Server(answering(OK)) as proxy:
            monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.port}")
            with Server(answering(loopback.reply(b"", b"Set-Cookie: a=b; Path=/"))) as server:
                two = [job(call_to(server.url), key, lane=Lane("a", concurrency=1)) for key in range(2)]
                ask_many(two, concurrency=1, total_timeout_s=5)
                server.settle()
            proxy.settle()
        assert (server.requests, proxy.peers) == (2, [])
        assert b"cookie" not in server.received.lower()

    def test_self_signed(self, tmp_path: Path) -> None:
        context, ca_file = make_certificate(tmp_path, "127.0.0.1")
        with Server(answering(OK), tls=context) as server:
            url = f"https://127.0.0.1:{server.port}/"
            refused, answer = ask(url, timeout_s=3), ask(url, timeout_s=3, ca_file=ca_file)
            server.settle()
        assert isinstance(refused, NotSent)
        assert (refused.reason, refused.detail) == (NotSentReason.TLS, "the certificate is self-signed")
        assert isinstance(answer, HttpReply)
        assert server.requests == 1

    @pytest.mark.parametrize("behaviour", ["hang", "half header", "http 0.9", "two lengths"])
    def test_nothing_is_logged(self, behaviour: str, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.DEBUG)
        with Server(IN_DOUBT[behaviour][0]) as server:
            ask(server.url, headers=(("x-key", SECRET),))
        assert SECRET not in caplog.text
        assert "referans" not in caplog.text


class TestConversation:
    def test_goes_on_after_each_answer(self) -> None:
        def talk(url: str) -> Generator[HttpCall, Answer, list[bytes]]:
            bodies = []
            for _ in range(3):
                answer = yield call_to(url)
                assert isinstance(answer, HttpReply)
                bodies.append(answer.body)
            return bodies

        with Server(answering(*(loopback.reply(body) for body in (b"1", b"2", b"3")))) as server:
            result = ask_many([Job("k", talk(server.url), LOCAL, Lane("a"))], concurrency=1, total_timeout_s=5)[0]
        assert (result.key, result.value, result.error) == ("k", [b"1", b"2", b"3"], None)
        assert [type(one) for one in result.exchanges] == [Exchange] * 3
        assert result.exchanges[0].request == f"GET {server.url}?sifre=***&referans=12345"
        assert SECRET not in repr(result)

    def test_bytes_after_an_answer_are_never_the_next_answer(self) -> None:
        """Keep-alive desync: the rest of one answer would be read as another order's answer."""
        extra = loopback.reply(b"OTHER")

        def play(peer: Peer) -> None:
            while peer.read_request():
                peer.send(loopback.reply(b"MINE"))
                peer.server.stopping.wait(0.05)
                peer.send(extra)

        with Server(play) as server:
            jobs = [job(call_to(server.url, timeout_s=3), key, lane=Lane("a", 1, 0.1)) for key in range(3)]
            results = ask_many(jobs, concurrency=1, total_timeout_s=10)
            server.settle()
        assert [one.value.body for one in results if isinstance(one.value, HttpReply)] == [b"MINE"] * 3

    def test_a_server_that_closes_in_silence_costs_nothing(self) -> None:
        with Server(answering(OK)) as server:
            jobs = [job(call_to(server.url, timeout_s=3), key, lane=Lane("a", 1)) for key in range(5)]
            results = ask_many(jobs, concurrency=1, total_timeout_s=10)
            server.settle()
        assert [type(one.value) for one in results] == [HttpReply] * 5
        assert (len(server.peers), server.requests) == (5, 5)


class TestNeighbours:
    def results(self, *talks: Any) -> list[JobResult[Any]]:
        jobs = [Job(key, talk, LOCAL, Lane(key)) for key, talk in enumerate(talks)]
        return ask_many(jobs, concurrency=8, total_timeout_s=5)

    def test_a_generator_that_raises_harms_only_itself(self) -> None:
        def broken(url: str) -> Talk:
            yield call_to(url)
            raise KeyError(SECRET)

        with Server(answering(OK)) as server:
            bad, good = self.results(broken(server.url), one_question(call_to(server.url)))
        assert isinstance(bad.error, TalkFailed)
        assert isinstance(bad.error.__cause__, KeyError)
        assert [type(one.answer) for one in bad.exchanges] == [HttpReply]
        assert isinstance(good.value, HttpReply)

    def test_a_generator_that_yields_something_else(self) -> None:
        def strange() -> Any:
            yield "GET /"

        (bad,) = self.results(strange())
        assert str(bad.error) == "the adapter asked for a str, which is no call"

    def test_a_generator_that_never_ends(self) -> None:
        def endless() -> Any:
            while True:
                yield call_to("ftp://a.example.com/")

        (bad,) = self.results(endless())
        assert isinstance(bad.error, TalkFailed)
        assert len(bad.exchanges) == MAX_CALLS

    def test_a_call_made_of_wrong_types(self) -> None:
        (bad,) = self.results(one_question(HttpCall("GET", "http://127.0.0.1:1/", params=7)))  # type: ignore[arg-type]
        assert bad.value is None or isinstance(bad.value, NotSent)

    def test_a_hanging_server_does_not_hold_the_others(self) -> None:
        with Server(loopback.hang) as slow, Server(answering(OK)) as quick:
            urls = [slow.url, *[quick.url] * 5]
            results = self.results(*(one_question(call_to(url, timeout_s=0.5)) for url in urls))
        assert isinstance(results[0].value, MaybeSent)
        assert [type(one.value) for one in results[1:]] == [HttpReply] * 5
        slow_end = results[0].exchanges[0].answer.latency_ms
        assert all(one.exchanges[0].answer.latency_ms < slow_end for one in results[1:])

    def test_results_come_in_the_order_of_the_jobs(self) -> None:
        with Server(answering(OK)) as server:
            jobs = [job(call_to(server.url), key) for key in (3, 1, 2)]
            assert [one.key for one in ask_many(jobs, concurrency=3, total_timeout_s=5)] == [3, 1, 2]

    def test_nothing_to_do(self) -> None:
        assert ask_many([], concurrency=1, total_timeout_s=1) == []


class Counting:
    """A server's play that counts how many requests are open together."""

    def __init__(self, expected: int) -> None:
        self.lock, self.open, self.peak = threading.Lock(), 0, 0
        self.expected, self.is_full = expected, threading.Event()

    def __call__(self, peer: Peer) -> None:
        if not peer.read_request():
            return
        with self.lock:
            self.open += 1
            self.peak = max(self.peak, self.open)
            if self.open > self.expected:
                self.is_full.set()
        self.is_full.wait(0.05)  # time for one too many to arrive
        with self.lock:
            self.open -= 1
        peer.send(OK)


class TestLimits:
    @pytest.mark.parametrize(("concurrency", "lane", "peak"), [(8, 2, 2), (3, 8, 3), (8, 1, 1)])
    def test_open_requests(self, concurrency: int, lane: int, peak: int) -> None:
        play = Counting(peak)
        with Server(play) as server:
            jobs = [job(call_to(server.url, timeout_s=5), key, lane=Lane("a", lane)) for key in range(8)]
            results = ask_many(jobs, concurrency=concurrency, total_timeout_s=10)
        assert [type(one.value) for one in results] == [HttpReply] * 8
        assert play.peak == peak

    def test_a_full_lane_leaves_the_slots_to_others(self) -> None:
        with Server(loopback.hang) as slow, Server(answering(OK)) as quick:
            stuck = [job(call_to(slow.url, timeout_s=0.3), key, lane=Lane("slow", 1)) for key in range(3)]
            free = [job(call_to(quick.url), key, lane=Lane("quick", 1)) for key in range(3)]
            results = ask_many([*stuck, *free], concurrency=2, total_timeout_s=5)
        assert [type(one.value) for one in results] == [MaybeSent] * 3 + [HttpReply] * 3
        assert max(one.exchanges[0].started_s for one in results[3:]) < results[1].exchanges[0].started_s

    def test_the_gap_between_two_beginnings(self) -> None:
        with Server(answering(OK)) as server:
            jobs = [job(call_to(server.url), key, lane=Lane("a", 4, gap_s=0.05)) for key in range(4)]
            results = ask_many(jobs, concurrency=4, total_timeout_s=5)
        begun = sorted(one.exchanges[0].started_s for one in results)
        assert all(later - sooner >= 0.049 for sooner, later in itertools.pairwise(begun))

    def test_the_gap_holds_although_the_slots_were_full(self) -> None:
        with Server(loopback.hang) as slow, Server(answering(OK)) as server:
            first = job(call_to(slow.url, timeout_s=0.3), lane=Lane("slow"))
            jobs = [job(call_to(server.url), key, lane=Lane("a", 4, gap_s=0.1)) for key in range(3)]
            results = ask_many([first, *jobs], concurrency=1, total_timeout_s=5)
        begun = sorted(one.exchanges[0].started_s for one in results[1:])
        assert all(later - sooner >= 0.099 for sooner, later in itertools.pairwise(begun))

    def test_the_total_time_ends_what_is_open_and_what_waits(self) -> None:
        with Server(loopback.hang) as server:
            jobs = [job(call_to(server.url, timeout_s=3), key, lane=Lane("a", 1)) for key in range(4)]
            results = ask_many(jobs, concurrency=4, total_timeout_s=0.3)
            server.settle()
        open_one, *waiting = [one.value for one in results]
        assert isinstance(open_one, MaybeSent)
        assert open_one.reason is MaybeSentReason.TIMEOUT
        assert [one.reason for one in waiting if isinstance(one, NotSent)] == [NotSentReason.DEADLINE] * 3
        assert server.requests == 1

    def test_policies_are_kept_apart(self) -> None:
        with Server(answering(OK)) as server:
            jobs = [job(call_to(server.url), key, policy) for key, policy in enumerate((LOCAL, PUBLIC, LOCAL))]
            results = ask_many(jobs, concurrency=1, total_timeout_s=5)
            server.settle()
        assert [type(one.value) for one in results] == [HttpReply, NotSent, HttpReply]
        assert server.requests == 2
