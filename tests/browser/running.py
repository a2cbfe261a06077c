"""A hub as a newcomer starts it, in a folder of its own, and a browser that looks at it."""

from __future__ import annotations

import json
import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 120.0
"""Seconds that a busy machine may take for what takes a few."""
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
DIRECTIONS = {"en": "ltr", "ar": "rtl", "tr": "ltr"}


@dataclass(frozen=True, slots=True)
class Running:
    """A running hub: where it is, what its first operator and its first customer sign in with, and its environment."""

    url: str
    password: str
    key: str
    env: dict[str, str]


@contextmanager
def running_hub(data: Path) -> Iterator[Running]:
    """The embedded default with its demo shop, its data in this folder, until the end."""
    database = f"sqlite:///{data / 'db.sqlite3'}"
    own = {"DATABASE_URL": database, "HUB_DATA_DIR": str(data), "REDIS_URL": "", "EVENTS_TO_LOCAL": "true"}
    env = {**os.environ, **own, "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "apps.ops.start", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        yield Running(*_read_greeting(process), env)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WITHIN_S)
        if process.stdout is not None:
            process.stdout.close()


def _read_lines(process: subprocess.Popen[str]) -> Iterator[str]:
    """What the process says, until it is silent for too long."""
    lines: queue.Queue[str] = queue.Queue()
    stdout = process.stdout
    assert stdout is not None

    def pass_on() -> None:
        for line in stdout:
            lines.put(line)

    threading.Thread(target=pass_on, daemon=True).start()
    while True:
        yield lines.get(timeout=WITHIN_S)


def _read_greeting(process: subprocess.Popen[str]) -> tuple[str, str, str]:
    """Address, password and key, as they are told to the newcomer."""
    said = ""
    for line in _read_lines(process):
        said += line
        if "Ctrl-C" in line:
            break
    found = [re.search(pattern, said) for pattern in (r"(http://\S+)/ ", r"password (\S+)", r"(hub_\S+)")]
    url, password, key = (match[1] for match in found if match)
    return url, password, key


def fill(hub: Running) -> dict[str, object]:
    """Put one of everything that has a page into the hub; the ids and tokens of the addresses by their names."""
    act = "from tests.browser import showcase; showcase.main()"
    command = [sys.executable, "manage.py", "shell", "--no-imports", "--verbosity", "0", "--command", act]
    done = subprocess.run(command, env=hub.env, cwd=ROOT, stdout=subprocess.PIPE, check=True, text=True)
    found: dict[str, object] = json.loads(done.stdout.splitlines()[-1])
    return found


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium without a window."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    assert program, "this needs Chromium: `apt-get install chromium`"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        running.close()


def sign_in(page: Page, url: str, password: str) -> None:
    """As the hub's first operator."""
    page.context.set_default_timeout(1000 * WITHIN_S)
    page.goto(f"{url}/")
    page.fill("input[name=username]", "operator")
    page.fill("input[name=password]", password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{url}/")
