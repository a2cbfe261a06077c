"""A small client of the simulator for tests and scripts: starts the process and speaks its control API."""

from __future__ import annotations

import http.client
import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

ROOT = Path(__file__).resolve().parents[2]
START_WITHIN_S = 20.0
STOP_WITHIN_S = 10.0
ANSWER_WITHIN_S = 10.0


class SimulatorFailed(Exception):
    """The simulator did not start, or refused a control request."""


class ControlClient:
    """The control API of a running simulator; safe to use from several threads."""

    def __init__(self, host: str, port: int, dialect: str = "znet") -> None:
        self.host = host
        self.port = port
        self.dialect = dialect
        self._lock = threading.Lock()
        # One kept connection: the simulator spares it when it refuses or resets all others.
        self._line = http.client.HTTPConnection(host, port, timeout=ANSWER_WITHIN_S)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def of(self, dialect: str) -> ControlClient:
        """A client of another dialect of the same simulator."""
        return ControlClient(self.host, self.port, dialect)

    def ping(self) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("GET", "ping")
        return answer

    def set_fate(
        self, *, recipient: str | None = None, reference: str | None = None, times: int | None = None, **fate: Any
    ) -> None:
        """Script the orders of one recipient or one reference, for ever or for the next `times` orders."""
        target = {"recipient": recipient, "reference": reference, "times": times}
        self.call("POST", "fates", {"fate": fate, **{key: value for key, value in target.items() if value is not None}})

    def next_fate(self, *, orders: int = 1, **fate: Any) -> None:
        """Queue a fate for the next orders that have no script of their own."""
        self.call("POST", "fates", {"next": orders, "fate": fate})

    def set_spell(self, minutes: tuple[float, float], **fate: Any) -> None:
        """Give every order between two minutes from now, unless it has a script of its own, this fate."""
        self.call("POST", "fates", {"minutes": list(minutes), "fate": fate})

    def use_mix(self, mix: str) -> None:
        self.call("POST", "mix", {"mix": mix})

    def switch(self, **switches: Any) -> dict[str, Any]:
        answer: dict[str, Any] = self.call("POST", "switches", switches)
        return answer

    def advance(self, seconds: float) -> None:
        self.call("POST", "advance", {"seconds": seconds})

    def finish(self, reference: str = "", final: str = "delivered", *, order_id: str = "") -> dict[str, Any]:
        """End the latest purchase of a reference, or the one with the provider's id, at once."""
        target = {"order_id": order_id} if order_id else {"reference": reference}
        answer: dict[str, Any] = self.call("POST", "finish", {**target, "final": final})
        return answer

    def reset_connections(self) -> int:
        return int(self.call("POST", "reset-connections")["reset"])

    def orders(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = self.call("GET", "orders")
        return rows

    def truth(self) -> list[dict[str, Any]]:
        """The whole ledger, of all dialects."""
        entries: list[dict[str, Any]] = self.call("GET", "truth")
        return entries

    def call(self, method: str, name: str, body: dict[str, Any] | None = None) -> Any:
        """Send one control request; raises SimulatorFailed with the simulator's own words when it refuses."""
        with self._lock:
            status, answer = self._exchange(method, name, body)
        if status != 200:
            raise SimulatorFailed(answer.get("error", f"status {status}"))
        return answer

    def close(self) -> None:
        self._line.close()

    def _exchange(self, method: str, name: str, body: dict[str, Any] | None) -> tuple[int, Any]:
        try:
            self._line.request(
                method, f"/_control/{name}?dialect={self.dialect}", json.dumps(body) if body is not None else None
            )
            response = self._line.getresponse()
            return response.status, json.loads(response.read())
        except (OSError, http.client.HTTPException) as error:
            self._line.close()
            raise SimulatorFailed(f"no answer to {method} {name}: {error!r}") from error


class SimulatorProcess(ControlClient):
    """A simulator in a child process that ends with this one; a context manager."""

    def __init__(
        self,
        truth: str | Path,
        *,
        port: int = 0,
        seed: str | int = 1,
        mix: str = "none",
        dialect: str = "znet",
        login: str | None = None,
        password: str | None = None,
        balance: str | None = None,
        bench: str | None = None,
    ) -> None:
        self.truth_path = Path(truth)
        options = {
            "port": port,
            "truth": self.truth_path.resolve(),
            "seed": seed,
            "mix": mix,
            "bench": bench,
            "dialect": dialect,
            "login": login,
            "password": password,
            "balance": balance,
        }
        self.process = _start(options)
        try:
            super().__init__("127.0.0.1", _read_port(self.process), dialect)
        except BaseException:
            _end(self.process)
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    def stop(self) -> int:
        """Ask the process to stop, force it when it does not, and return its exit code."""
        self.close()
        return _end(self.process)

    def kill(self) -> None:
        """End the process without any chance to tidy up."""
        self.close()
        self.process.kill()
        _end(self.process)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()


def _start(options: dict[str, Any]) -> subprocess.Popen[bytes]:
    words = [word for name, value in options.items() if value is not None for word in (f"--{name}", str(value))]
    command = [sys.executable, "-m", "apps.simulator", "--stop-with-parent", *words]
    return subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE)  # noqa: S603 (our own)


def _read_port(process: subprocess.Popen[bytes]) -> int:
    lines: queue.Queue[bytes] = queue.Queue()
    threading.Thread(target=_read_line, args=(process.stdout, lines), daemon=True).start()
    try:
        line = lines.get(timeout=START_WITHIN_S)
    except queue.Empty:
        raise SimulatorFailed(f"not listening after {START_WITHIN_S} s") from None
    if not line:
        raise SimulatorFailed(f"ended with code {process.wait(STOP_WITHIN_S)} before it listened")
    return int(json.loads(line)["port"])


def _read_line(stream: IO[bytes] | None, lines: queue.Queue[bytes]) -> None:
    lines.put(stream.readline() if stream else b"")


def _end(process: subprocess.Popen[bytes]) -> int:
    """Close its standard input, which it takes as the end of its parent; then harder."""
    _close(process.stdin)
    for harder in (process.terminate, process.kill):
        try:
            code = process.wait(STOP_WITHIN_S)
            break
        except subprocess.TimeoutExpired:
            harder()
    else:
        code = process.wait(STOP_WITHIN_S)
    _close(process.stdout)
    return code


def _close(stream: IO[bytes] | None) -> None:
    if stream:
        stream.close()
