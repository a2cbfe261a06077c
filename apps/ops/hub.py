"""The hub on this machine: web, worker and beat in one process, with a demo shop and its simulated provider."""

from __future__ import annotations

import itertools
import secrets
import threading
from collections.abc import Callable

import requests
from django.conf import settings

from apps.accounts.models import Tenant, User
from apps.common import clock
from apps.ops import demo
from apps.ops.child import SimulatorChild
from apps.ops.embedded import Embedded, PortTaken
from apps.providers.models import Integration

DEMO_EVERY_S = 25.0

Say = Callable[[str], None]


def run(port: int, *, with_demo: bool, say: Say) -> int:
    """Everything until Ctrl-C; returns the exit code (2: the port is taken)."""
    try:
        hub = Embedded(port)
    except PortTaken as error:
        say(str(error))
        return 2
    simulator = _start_simulator() if with_demo else None
    tenant = demo.load_demo(simulator.url, clock.now()) if simulator else None
    key = demo.issue_demo_key(tenant, clock.now()) if tenant else ""
    _greet_operator(tenant, say)
    test_key = demo.issue_demo_test_key(tenant, clock.now()) if tenant else ""
    hub.start()
    _greet(hub.url, key, test_key, say)
    stop = threading.Event()
    if key:
        threading.Thread(target=_place_demo_orders, args=(hub.url, key, stop, say), daemon=True).start()
    try:
        while not stop.wait(3600):
            continue
    except KeyboardInterrupt:
        say("Stopping: open orders go on at the next start.")
    finally:
        stop.set()
        hub.stop()
        if simulator is not None:
            simulator.stop()
    say("Stopped.")
    return 0


def _start_simulator() -> SimulatorChild:
    """The simulated panel, on the port that the demo shop knows if it was there before."""
    known = Integration.objects.filter(tenant__slug=demo.SLUG, is_local=True).first()
    port = int(known.base_url.rpartition(":")[2]) if known else 0
    return SimulatorChild(settings.DATA_DIR / "truth.jsonl", login=demo.LOGIN, password=demo.PASSWORD, port=port)


def _greet_operator(tenant: Tenant | None, say: Say) -> None:
    if User.objects.exists():
        return
    password = secrets.token_urlsafe(12)
    demo.add_operator("operator", password, tenant)
    say(f"First operator: name operator, password {password}  (shown this once)")


def _greet(url: str, key: str, test_key: str, say: Say) -> None:
    say(f"Orders and their stories: {url}/   Set-up: {url}/admin/   State of the loops: {url}/statusz")
    if not key:
        say("An empty shop: add a provider account, products and customers under Set-up.")
        return
    say(f"Demo API key (shown this once, a new one at each start): {key}")
    say(f"Test key of the demo shop's sandbox (likewise; docs/INTEGRATE.md): {test_key}")
    say("An order of your own:")
    say(f"  curl -s -X POST {url}/api/v1/orders -H 'Authorization: Bearer {key}' \\")
    say("    -H 'Idempotency-Key: my-first-order' -H 'Content-Type: application/json' \\")
    say('    -d \'{"package": "pubg-60", "quantity": 1, "fields": {"player_id": "player-1"}}\'')
    say("A demo order is placed now and then. Ctrl-C stops everything.")


def _place_demo_orders(url: str, key: str, stop: threading.Event, say: Say) -> None:
    """A customer who orders through the same door as everybody."""
    codes = [item.code for goods in demo.DEMO for item in goods.items]
    for n in itertools.count():
        if stop.wait(2.0 if n == 0 else DEMO_EVERY_S):
            return
        body = {
            "package": secrets.choice(codes),
            "quantity": 1,
            "fields": {"player_id": f"demo-{secrets.token_hex(4)}"},
        }
        headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": secrets.token_hex(12)}
        try:
            requests.post(f"{url}/api/v1/orders", json=body, headers=headers, timeout=20)
        except requests.RequestException as error:
            say(f"The demo order could not be placed: {type(error).__name__}")
