"""Asks many things at once: runs adapters' generators concurrently inside one call from sync code. Never buys."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Generator, Hashable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.connector import Connection
from yarl import URL

from apps.common import egress
from apps.common.egress import Address, EgressForbidden, EgressPolicy, NameNotResolved
from apps.common.talk import Exchange, TalkFailed, next_step
from apps.common.transport import (
    FIRST_FINAL_STATUS,
    MalformedCall,
    Prepared,
    decode_body,
    prepare,
    tls_context,
    tls_trouble,
)
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

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Lane:
    """What shares one provider's patience: requests at the same time, and seconds between two beginnings."""

    id: Hashable
    concurrency: int = 4
    gap_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Job(Generic[T]):
    """One conversation to hold. The generator runs in the caller's thread and must not wait for anything itself."""

    key: Hashable
    talk: Generator[HttpCall, Answer, T] = field(repr=False)
    policy: EgressPolicy
    lane: Lane


@dataclass(frozen=True, slots=True)
class JobResult(Generic[T]):
    """What one conversation gave: `value`, or `error` when the adapter raised; `exchanges` is the evidence."""

    key: Hashable
    value: T | None
    error: Exception | None
    exchanges: tuple[Exchange, ...]


def ask_many(
    jobs: Sequence[Job[T]], *, concurrency: int, total_timeout_s: float, ca_file: str | None = None
) -> list[JobResult[T]]:
    """Holds all conversations and returns their results in the order of `jobs`.

    At most `concurrency` requests are open, at most `lane.concurrency` of one lane, with `lane.gap_s` between their
    beginnings (lanes of the same id share the limits of the first). Each request has its own fresh connection and is
    sent once. When `total_timeout_s` is over, open requests end as `MaybeSent`, and those that did not begin as
    `NotSent`: each generator comes to its end. Two jobs never harm each other. For asking only, never for placing.
    """
    if not jobs:
        return []
    return asyncio.run(_ask_all(jobs, concurrency, total_timeout_s, ca_file))


async def _ask_all(
    jobs: Sequence[Job[T]], concurrency: int, total_timeout_s: float, ca_file: str | None
) -> list[JobResult[T]]:
    async with AsyncExitStack() as stack:
        round_ = _Round(stack, concurrency, total_timeout_s, ca_file)
        return list(await asyncio.gather(*(round_.hold(job) for job in jobs)))


@dataclass
class _LaneState:
    """The turns of one lane within a round."""

    slots: asyncio.Semaphore
    gate: asyncio.Lock = field(default_factory=asyncio.Lock)
    next_at: float = 0.0


@dataclass
class _Try:
    """What is known about one request while it runs."""

    has_begun: bool = False
    is_connected: bool = False
    begun_at: float = field(default_factory=time.monotonic)
    status: int | None = None
    body: bytearray = field(default_factory=bytearray, repr=False)

    def begin(self) -> None:
        """Its turn has come: the look-up and the connection start now."""
        self.has_begun = True
        self.begun_at = time.monotonic()

    def latency_ms(self) -> int:
        """Milliseconds since its turn came."""
        return round((time.monotonic() - self.begun_at) * 1000)

    def verdict(self, error: Exception) -> Answer:
        """What is known after `error`: whether there was a connection decides, the error only gives the reason."""
        if not self.is_connected:
            reason, detail = _why_not_sent(error) if self.has_begun else (NotSentReason.DEADLINE, "no turn in time")
            return NotSent(reason, detail, self.latency_ms())
        body = bytes(self.body[:BODY_LIMIT])
        return MaybeSent(_why_in_doubt(error), type(error).__name__, self.status, body, self.latency_ms())


_TRY: ContextVar[_Try] = ContextVar("try")
"""The request that the running task is about; each conversation has a task of its own."""


class _NoAnswer(Exception):
    """The answer cannot be used; the argument is the reason."""

    def __init__(self, reason: MaybeSentReason) -> None:
        super().__init__(reason)
        self.reason = reason


class _Round:
    """One run of `ask_many`: its slots, its lanes, its deadline, and a session for each policy."""

    def __init__(self, stack: AsyncExitStack, concurrency: int, total_timeout_s: float, ca_file: str | None) -> None:
        self._stack = stack
        self._slots = asyncio.Semaphore(concurrency)
        self._ca_file = ca_file
        self._begin = time.monotonic()
        self._deadline = asyncio.get_running_loop().time() + total_timeout_s
        self._lanes: dict[Hashable, _LaneState] = {}
        self._sessions: dict[EgressPolicy, aiohttp.ClientSession] = {}

    async def hold(self, job: Job[T]) -> JobResult[T]:
        """Holds one conversation to its end; raises nothing."""
        exchanges: list[Exchange] = []
        try:
            step = next_step(job.talk, exchanges)
            while isinstance(step, HttpCall):
                exchanges.append(await self._exchange(job, step))
                step = next_step(job.talk, exchanges)
        except Exception as error:
            return JobResult(job.key, None, error, tuple(exchanges))
        return JobResult(job.key, step.value, None, tuple(exchanges))

    async def _exchange(self, job: Job[T], call: HttpCall) -> Exchange:
        attempt = _Try()
        _TRY.set(attempt)
        try:
            async with asyncio.timeout_at(self._deadline) as limit, self._turn(job.lane):
                attempt.begin()
                limit.reschedule(min(self._deadline, asyncio.get_running_loop().time() + call.timeout_s))
                answer: Answer = await self._ask(call, job.policy, attempt)
        except Exception as error:
            answer = attempt.verdict(error)
        return Exchange(call, answer, attempt.begun_at - self._begin)

    @asynccontextmanager
    async def _turn(self, lane: Lane) -> AsyncIterator[None]:
        """Waits for a place in the lane, for the lane's gap, and then for one of the round's slots."""
        state = self._lanes.get(lane.id)
        if state is None:
            state = self._lanes[lane.id] = _LaneState(asyncio.Semaphore(lane.concurrency))
        async with state.slots:
            async with state.gate:
                if lane.gap_s:
                    await asyncio.sleep(max(0.0, state.next_at - time.monotonic()))
                await self._slots.acquire()
                state.next_at = time.monotonic() + lane.gap_s
            try:
                yield
            finally:
                self._slots.release()

    async def _ask(self, call: HttpCall, policy: EgressPolicy, attempt: _Try) -> HttpReply:
        """Sends one request and reads its whole answer; raises when there is none."""
        request = prepare(call)
        egress.check_url(request.url, policy)
        async with self._open(request, policy) as response:
            attempt.status = response.status
            await _read(response, attempt, call.limit_bytes)
            headers = _headers(response)
        body = decode_body(bytes(attempt.body), headers.get("content-encoding", ""), call.limit_bytes)
        if isinstance(body, MaybeSentReason):
            raise _NoAnswer(body)
        return HttpReply(response.status, body, MappingProxyType(headers), attempt.latency_ms())

    def _open(self, request: Prepared, policy: EgressPolicy) -> Any:
        return self._session(policy).request(
            request.method,
            URL(request.url, encoded=True),
            headers=request.headers,
            data=request.body,
            allow_redirects=False,
            ssl=tls_context(self._ca_file),
        )

    def _session(self, policy: EgressPolicy) -> aiohttp.ClientSession:
        if policy not in self._sessions:
            self._sessions[policy] = _new_session(policy)
            self._stack.push_async_exit(self._sessions[policy])
        return self._sessions[policy]


def _new_session(policy: EgressPolicy) -> aiohttp.ClientSession:
    """A session without cookies, proxies, netrc, own time-outs, reuse of connections, or a second try.

    Connections are not reused: bytes that a server sends after an answer would be read as the next order's answer.
    """
    session = aiohttp.ClientSession(
        connector=_NotingConnector(resolver=_CheckedResolver(policy), force_close=True, limit=0),
        cookie_jar=aiohttp.DummyCookieJar(),
        timeout=aiohttp.ClientTimeout(total=None, connect=None, sock_connect=None, sock_read=None),
        trust_env=False,
        auto_decompress=False,
    )
    session._retry_connection = False  # aiohttp repeats a GET whose connection was closed; there is no public switch
    return session


class _NotingConnector(aiohttp.TCPConnector):
    """Notes on the request of this moment that it has a connection: from then on bytes may leave.

    A trace of aiohttp's would tell the same, and cost a tenth of the whole request.
    """

    async def connect(self, *args: Any, **options: Any) -> Connection:
        """A connection for the request that this task is about."""
        connection = await super().connect(*args, **options)
        _TRY.get().is_connected = True
        return connection


async def _read(response: aiohttp.ClientResponse, attempt: _Try, limit: int) -> None:
    """Reads the body into `attempt` within the limit; closes the connection when it is too long."""
    if response.status < FIRST_FINAL_STATUS:
        raise _NoAnswer(MaybeSentReason.PROTOCOL)
    async for piece in response.content.iter_any():
        attempt.body += piece
        if len(attempt.body) > limit:
            response.close()
            raise _NoAnswer(MaybeSentReason.TOO_LARGE)


def _headers(response: aiohttp.ClientResponse) -> dict[str, str]:
    told: dict[str, str] = {}
    for name, value in response.headers.items():
        key = name.lower()
        told[key] = f"{told[key]}, {value}" if key in told else value
    return told


class _CheckedResolver(AbstractResolver):
    """Looks names up in a thread of its own and lets through only what the policy allows."""

    def __init__(self, policy: EgressPolicy) -> None:
        self._policy = policy

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """The addresses of `host`, all of them checked; raises `EgressForbidden` or `NameNotResolved`."""
        loop = asyncio.get_running_loop()
        found: asyncio.Future[list[Address]] = loop.create_future()

        def hand_over(result: list[Address] | Exception) -> None:
            with suppress(RuntimeError):  # the round is over and nobody waits for the name any more
                loop.call_soon_threadsafe(_settle, found, result)

        egress.resolve_in_thread(host, port, self._policy, hand_over)
        return [_as_result(host, address) for address in await found]

    async def close(self) -> None:
        """Nothing to close."""


def _settle(future: asyncio.Future[list[Address]], result: list[Address] | Exception) -> None:
    if future.done():
        return
    if isinstance(result, Exception):
        future.set_exception(result)
    else:
        future.set_result(result)


def _as_result(host: str, address: Address) -> ResolveResult:
    flags = socket.AI_NUMERICHOST | socket.AI_NUMERICSERV
    return ResolveResult(hostname=host, host=address.ip, port=address.port, family=address.family, proto=0, flags=flags)


def _why_not_sent(error: Exception) -> tuple[NotSentReason, str]:
    if isinstance(error, EgressForbidden | MalformedCall):
        return NotSentReason.EGRESS, str(error)
    if isinstance(error, NameNotResolved):
        return NotSentReason.DNS, str(error)
    if isinstance(error, TimeoutError):
        return NotSentReason.CONNECT_TIMEOUT, "no connection in time"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return NotSentReason.TLS, tls_trouble(error.certificate_error)
    if isinstance(error, aiohttp.ClientSSLError):
        return NotSentReason.TLS, tls_trouble(error.os_error)
    if isinstance(error, aiohttp.ClientConnectorError) and isinstance(error.os_error, ConnectionRefusedError):
        return NotSentReason.REFUSED, "ECONNREFUSED"
    return NotSentReason.UNREACHABLE, type(error).__name__


def _why_in_doubt(error: Exception) -> MaybeSentReason:
    if isinstance(error, _NoAnswer):
        return error.reason
    if isinstance(error, TimeoutError):
        return MaybeSentReason.TIMEOUT
    if isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientPayloadError):
        return MaybeSentReason.CUT
    if isinstance(error, OSError | aiohttp.ClientConnectionError):
        return MaybeSentReason.RESET
    return MaybeSentReason.PROTOCOL


__all__ = ["Job", "JobResult", "Lane", "TalkFailed", "ask_many"]
