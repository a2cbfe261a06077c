"""docs/INTEGRATE.md is a transcript: its commands run against a hub started as it says, and answer what it shows."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.functional.test_api_docs import lacking

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "INTEGRATE.md").read_text(encoding="utf-8")
STEP = re.compile(r"^```sh\n(.*?)^```\n\n```(json|text)\n(.*?)^```", re.MULTILINE | re.DOTALL)
OVER_WITHIN_S = 60.0


@dataclass(frozen=True, slots=True)
class Running:
    """A hub that was started, and the test key that it printed."""

    url: str
    key: str


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """What `python3 scripts/start.py` starts once it has made its environment, in a folder of its own."""
    data = tmp_path_factory.mktemp("hub")
    own = {"DATABASE_URL": f"sqlite:///{data / 'db.sqlite3'}", "REDIS_URL": "", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "apps.ops.start", "--port", "0", "--data", str(data)]
    with (data / "log").open("wb") as log:
        process = subprocess.Popen(
            command, env={**os.environ, **own}, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
        )
    try:
        yield read_greeting(process)
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)


def read_greeting(process: subprocess.Popen[str]) -> Running:
    """The address and the test key, from the lines that the page speaks of."""
    assert process.stdout is not None
    greeting = ""
    for line in process.stdout:
        greeting += line
        if "Ctrl-C" in line:
            break
    url = re.search(r"http://127\.0\.0\.1:\d+", greeting)
    (named,) = re.findall(r"`(Test key of the [^`]*)`", TEXT)
    key = re.search(rf"^{re.escape(named)}.*: (hub_test_\S+)$", greeting, re.MULTILINE)
    assert url, greeting
    assert key, greeting
    return Running(url[0], key[1])


def run(command: str, hub: Running, order: str) -> str:
    """What a step of the page prints."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    own = {"HUB": hub.url, "KEY": hub.key, "ORDER": order, "PATH": path}
    done = subprocess.run(
        ["sh", "-c", command],
        env={**os.environ, **own},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, (command, done.stdout, done.stderr)
    return done.stdout


def differences(kind: str, shown: str, printed: str) -> list[str]:
    """What of the shown answer is not in the one that came; `...` in a text stands for anything."""
    if kind == "json":
        return lacking(json.loads(shown), json.loads(printed))
    form = ".*".join(re.escape(part) for part in shown.replace('"}]}', "...").split("..."))
    return [] if re.match(form, printed, re.DOTALL) else [printed]


@pytest.mark.smoke
class TestThePage:
    def test_leads_from_nothing_to_a_pin(self, hub: Running) -> None:
        order, steps = "", STEP.findall(TEXT)
        assert len(steps) == TEXT.count("```sh\n") == 13
        for command, kind, shown in steps:
            printed = run(command, hub, order)
            ends_at = time.monotonic() + OVER_WITHIN_S
            while differences(kind, shown, printed) and is_question(command) and time.monotonic() < ends_at:
                printed = run(command, hub, order)
            assert differences(kind, shown, printed) == [], command
            told = json.loads(printed) if kind == "json" else {}
            order = str(told.get("id", order))
            if "codes" in told:
                assert told["codes"][0]["value"].startswith("SANDBOX-")


def is_question(command: str) -> bool:
    """Whether the page says to ask until the order is over."""
    return command.startswith('curl -sS "$HUB/api/v1/orders/$ORDER" ')
