"""The demo's simulator as a child process that never outlives its parent."""

from __future__ import annotations

import json
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import requests

START_WITHIN_S = 30.0
STOP_WITHIN_S = 10.0


class ChildFailed(RuntimeError):
    """The simulator did not start; its own words stand on the console above."""


class SimulatorChild:
    """A running simulator: `url` to buy from, `truth` where its ledger is."""

    def __init__(
        self, truth: Path, *, login: str, password: str, port: int = 0, seed: int = 0, mix: str = "demo"
    ) -> None:
        self.truth = truth
        command = [
            *(sys.executable, "-m", "apps.simulator", "--port", str(port), "--truth", str(truth), "--seed", str(seed)),
            *("--mix", mix, "--login", login, "--password", password, "--stop-with-parent"),
        ]
        root = Path(__file__).resolve().parents[2]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=root)  # noqa: S603
        self.url = f"http://127.0.0.1:{self._read_port()}"

    def _read_port(self) -> int:
        lines: queue.Queue[bytes] = queue.Queue()
        stdout = self._process.stdout
        if stdout is None:
            raise ChildFailed("the simulator has no output")
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=START_WITHIN_S)
        except queue.Empty:
            line = b""
        if not line:
            self.stop()
            raise ChildFailed("the simulated provider did not start; see the lines above")
        return int(json.loads(line)["port"])

    def set_fate(self, recipient: str, fate: dict[str, Any]) -> None:
        """Script what happens to the order for `recipient`."""
        answer = requests.post(f"{self.url}/_control/fates", json={"recipient": recipient, "fate": fate}, timeout=10)
        answer.raise_for_status()

    def stop(self) -> None:
        """End it: its standard input closes, and it stops by itself; else it is told to."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=STOP_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(timeout=STOP_WITHIN_S)
