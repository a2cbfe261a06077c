"""The pages in a real browser, served by the hub as a newcomer starts it: three languages, two widths, no error."""

from __future__ import annotations

import os
import queue
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
from playwright.sync_api import Browser, Page, sync_playwright

ROOT = Path(__file__).resolve().parents[2]
WITHIN_S = 60.0
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--disable-background-networking", "--disable-sync"]
WIDTHS = {"desktop": (1280, 900), "phone": (390, 844)}
DIRECTIONS = {"en": "ltr", "ar": "rtl", "tr": "ltr"}
PAGES = (
    "/",
    "/orders/{order}/",
    "/orders/{order}/decide/give_back/",
    "/orders/{order}/codes/",
    "/orders/new/?customer=1&package=1",
    "/dashboard/",
    "/review/",
    "/requests/",
    "/cases/",
    "/wallets/",
    "/wallets/1/",
    "/provider-money/",
    "/providers/",
    "/providers/1/",
    "/providers/1/items/",
    "/providers/1/changes/",
    "/catalogue/",
    "/catalogue/1/at/1/",
    "/catalogue/files/",
    "/account/",
    "/account/password/",
    "/login/second/set-up/",
    "/members/",
    "/changes/",
    "/bulk/",
    "/bulk/new/?status=open",
)
"""Every kind of page; the demo's first account and package have the number 1."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A running hub: where it is, who may sign in, and two orders that have their PIN."""

    url: str
    password: str
    order_id: int
    other_id: int


def read_lines(process: subprocess.Popen[str]) -> Iterator[str]:
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


def read_greeting(process: subprocess.Popen[str]) -> tuple[str, str, str]:
    """Address, password and key, as they are told to the newcomer."""
    said = ""
    for line in read_lines(process):
        said += line
        if "Ctrl-C" in line:
            break
    found = [re.search(pattern, said) for pattern in (r"(http://\S+)/ ", r"password (\S+)", r"(hub_\S+)")]
    url, password, key = (match[1] for match in found if match)
    return url, password, key


def order_with_pin(url: str, key: str, player: str = "browser") -> int:
    """Place orders until one is completed: the demo's provider refuses one now and then."""
    for n in range(5):
        order_id, status = settled_order(url, key, f"{player}-{n}")
        if status == "completed":
            return order_id
    raise AssertionError("five orders in a row were refused")


def settled_order(url: str, key: str, player: str) -> tuple[int, str]:
    """Place one order and wait for its end."""
    headers = {"Authorization": f"Bearer {key}", "Idempotency-Key": player}
    body = {"package": "pubg-60", "quantity": 1, "fields": {"player_id": player}}
    order_id = int(requests.post(f"{url}/api/v1/orders", json=body, headers=headers, timeout=30).json()["id"])
    pause = threading.Event()
    for _ in range(int(2 * WITHIN_S / 0.2)):
        status = str(requests.get(f"{url}/api/v1/orders/{order_id}", headers=headers, timeout=30).json()["status"])
        if status in ("completed", "rejected"):
            return order_id, status
        pause.wait(0.2)
    raise AssertionError("the order was not settled")


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    data = tmp_path_factory.mktemp("hub")
    env = {**os.environ, "DATABASE_URL": f"sqlite:///{data / 'db.sqlite3'}", "REDIS_URL": "", "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "apps.ops.start", "--port", "0", "--data", str(data)]
    process = subprocess.Popen(command, env=env, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        url, password, key = read_greeting(process)
        yield Hub(url, password, order_with_pin(url, key), order_with_pin(url, key, "another"))
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(WITHIN_S)
        if process.stdout is not None:
            process.stdout.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "these tests need Chromium: `apt-get install chromium`"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield running
        running.close()


def sign_in(page: Page, hub: Hub) -> None:
    page.goto(f"{hub.url}/")
    page.fill("input[name=username]", "operator")
    page.fill("input[name=password]", hub.password)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{hub.url}/")


def is_too_wide(page: Page) -> bool:
    return bool(page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"))


@pytest.mark.browser
class TestTheProviderPage:
    def test_shows_how_the_list_is_fetched_and_what_waits(self, hub: Hub, browser: Browser) -> None:
        context = browser.new_context(locale="en")
        page = context.new_page()
        sign_in(page, hub)
        page.goto(f"{hub.url}/providers/1/")
        page.get_by_role("button", name="Fetch the list now").click()
        page.locator(".sync.done").wait_for()
        page.goto(f"{hub.url}/providers/1/changes/")
        page.get_by_label("all of this kind").check()
        page.get_by_role("button", name="Approve what is ticked").click()
        assert "7 changes were decided." in page.inner_text("body")
        page.goto(f"{hub.url}/catalogue/1/at/1/")
        page.get_by_role("link", name="PUBG Mobile 60 UC").click()
        page.get_by_role("button", name="Save the mapping").click()
        assert "The mapping was saved." in page.inner_text("body")
        context.close()

    def test_shows_what_a_diagnosis_found(self, hub: Hub, browser: Browser) -> None:
        context = browser.new_context(locale="en")
        page = context.new_page()
        sign_in(page, hub)
        page.goto(f"{hub.url}/providers/1/")
        page.get_by_role("button", name="Diagnose now").click()
        page.locator(".diagnosis").wait_for()
        assert "127.0.0.1" in page.inner_text(".diagnosis")
        context.close()


@pytest.mark.browser
@pytest.mark.parametrize("width", sorted(WIDTHS))
@pytest.mark.parametrize("language", sorted(DIRECTIONS))
class TestThePages:
    def test_show_in_every_language_and_width(
        self, hub: Hub, browser: Browser, language: str, width: str, tmp_path: Path
    ) -> None:
        columns, rows = WIDTHS[width]
        context = browser.new_context(locale=language, viewport={"width": columns, "height": rows})
        page = context.new_page()
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))
        sign_in(page, hub)
        for n, address in enumerate(PAGES):
            page.goto(hub.url + address.format(order=hub.order_id))
            assert (page.locator("html").get_attribute("dir") or "ltr") == DIRECTIONS[language]
            assert page.locator("html").get_attribute("lang") == language
            assert page.locator("h1").is_visible()
            assert not is_too_wide(page)
            page.screenshot(path=tmp_path / f"{language}-{width}-{n}.png", full_page=True)
        assert troubles == []
        context.close()


@pytest.mark.browser
class TestTheOrderPage:
    def test_shows_fifteen_steps_and_the_pin_only_when_asked(self, hub: Hub, browser: Browser) -> None:
        context = browser.new_context(locale="en")
        page = context.new_page()
        sign_in(page, hub)
        page.goto(f"{hub.url}/orders/{hub.order_id}/")
        assert "Schedule the next check" in page.inner_text("body")
        pin = re.compile(r"\b[A-Z0-9]{4}(?:-[A-Z0-9]{4}){3}\b")
        assert not pin.search(page.content())
        page.get_by_role("link", name="Show the codes once").click()
        page.get_by_label("Reason").fill("the customer lost the mail")
        page.get_by_role("button", name="Show the codes once").click()
        page.wait_for_load_state("networkidle")
        assert pin.search(page.inner_text("body"))
        context.close()

    def test_is_brought_up_to_date_by_itself_and_keeps_what_is_open(self, hub: Hub, browser: Browser) -> None:
        context = browser.new_context(locale="en")
        page = context.new_page()
        sign_in(page, hub)
        page.goto(f"{hub.url}/orders/new/?customer=1&package=1")
        page.get_by_label("Player").fill("live-1")
        page.get_by_role("button", name="Place the order").click()
        page.get_by_text("The order was placed.").wait_for()
        page.locator(".standing.completed, .standing.rejected").wait_for()
        assert page.locator("[data-pulse]").is_hidden()
        assert page.locator("[data-live] form").count() == 0
        context.close()


@pytest.mark.browser
class TestADecision:
    def test_is_shown_first_and_then_made_by_the_keyboard_alone(self, hub: Hub, browser: Browser) -> None:
        context = browser.new_context(locale="en")
        page = context.new_page()
        sign_in(page, hub)
        page.goto(f"{hub.url}/orders/{hub.order_id}/")
        page.get_by_role("link", name="Give the money back").press("Enter")
        page.locator(".foreseen .badge.refunded").wait_for()
        assert "given back to the customer" in page.inner_text(".foreseen")
        page.get_by_label("Reason").fill("goodwill")
        page.keyboard.press("Enter")
        page.locator(".standing.refunded").wait_for()
        assert "goodwill" in page.inner_text("body")
        context.close()


@pytest.mark.browser
class TestManyOrdersAtOnce:
    def test_are_shown_first_and_then_decided_in_the_background(self, hub: Hub, browser: Browser) -> None:
        context = browser.new_context(locale="en")
        page = context.new_page()
        sign_in(page, hub)
        page.goto(f"{hub.url}/?q={hub.order_id}")
        page.get_by_role("link", name="Act on all of these").click()
        assert "lets 1 order through" in page.inner_text("body")
        page.get_by_label("Write a note").check()
        page.get_by_label("Reason").fill("looked at by telephone")
        page.get_by_role("button", name="Dry run").click()
        page.get_by_text("Nothing was done yet.").wait_for()
        page.get_by_role("button", name="Do it").click()
        page.locator(".standing-head .badge.completed").wait_for(timeout=1000 * WITHIN_S)
        page.goto(f"{hub.url}/orders/{hub.order_id}/")
        assert "looked at by telephone" in page.inner_text("body")
        context.close()

    def test_decided_by_two_operators_at_the_same_moment_are_decided_once(self, hub: Hub, browser: Browser) -> None:
        contexts = [browser.new_context(locale="en") for _ in range(2)]
        pages = [context.new_page() for context in contexts]
        for page in pages:
            sign_in(page, hub)
            page.goto(f"{hub.url}/orders/{hub.other_id}/decide/give_back/")
            page.get_by_label("Reason").fill("both at once")
        for page in pages:
            page.get_by_role("button", name="Do it").click()
        pages[0].locator(".standing.refunded").wait_for()
        pages[1].get_by_role("alert").wait_for()
        for context in contexts:
            context.close()
