"""Real processes, beat and the worker killed: the web process tells it, and tells when they are back."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import requests

from apps.journal.loops import BY_NAME
from tests.chaos.real_hub import RealHub, real_hub, wait_for
from tests.servers import free_port


@contextmanager
def inbox() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A server that keeps what is posted to it: its address, and the messages."""
    got: list[dict[str, Any]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def is_silent(hub: RealHub, loop: str) -> bool:
    """Whether an episode about this loop is open."""
    rows = hub.query("SELECT subject FROM journal_alert_episode WHERE rule = 'loop_silent' AND closed_at IS NULL")
    return (loop,) in rows


def has_beaten(hub: RealHub, loop: str) -> bool:
    """Whether it was ever heard of: one that never ran is told by the pages alone."""
    return (BY_NAME[loop].heartbeat,) in hub.query("SELECT name FROM journal_heartbeat WHERE beat_at IS NOT NULL")


def is_well(hub: RealHub) -> bool:
    return requests.get(f"{hub.url}/statusz", timeout=30).status_code == 200


BOTH = ("beat", "worker_process")


@pytest.mark.slow
class TestKilledProcesses:
    def test_are_told_by_the_web_process_and_told_again_when_they_are_back(self, tmp_path: Path) -> None:
        with inbox() as (url, got), real_hub(tmp_path) as (hub, _simulator, _valkey):
            hub.env_of_processes |= {"ALERT_EVERY_S": "5", "ALERT_WEBHOOK_URL": url, "ALERT_WEBHOOK_IS_LOCAL": "true"}
            hub.start_web(free_port())
            hub.start_worker("worker")
            hub.start_beat()
            wait_for(lambda: is_well(hub), "the hub does not become well")
            wait_for(lambda: all(has_beaten(hub, loop) for loop in BOTH), "a process never beat")
            hub.kill("beat")
            hub.kill("worker")
            wait_for(lambda: all(is_silent(hub, loop) for loop in BOTH), "nobody noticed within a minute", 60)
            wait_for(lambda: all((loop, "opened") in said(got) for loop in BOTH), "no message came", 30)
            metrics = requests.get(f"{hub.url}/metrics", timeout=10).text
            hub.start_worker("worker")
            hub.start_beat()
            wait_for(lambda: not any(is_silent(hub, loop) for loop in BOTH), "an episode did not end", 90)
            wait_for(lambda: all((loop, "closed") in said(got) for loop in BOTH), "the end was not told", 30)
            logs = hub.logs()

        for loop in BOTH:
            assert [occasion for about, occasion in said(got) if about == loop] == ["opened", "closed"]
        assert 'hub_alerts_open{rule="loop_silent",severity="critical"} 2.0' in metrics
        assert "watching_failed" not in logs
        assert "demo-secret" not in logs + json.dumps(got)
        assert url not in logs


def said(got: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(one["subject"], one["occasion"]) for one in got if one["rule"] == "loop_silent"]
