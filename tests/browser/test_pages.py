"""The pages in a real browser, served by the hub as a newcomer starts it: three languages, two widths, no error."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

import pytest
import requests
from playwright.sync_api import Browser, Page, ViewportSize

from apps.panel.urls import urlpatterns
from tests.browser import addresses, between, looking, running
from tests.browser.running import DIRECTIONS, WIDTHS, WITHIN_S

TERMS = re.compile(r"\b(API|CSV|HTTP|JSON|PIN|UTF|ZNET|code|curl|iso|kupur|oyun|provider_referans|unix)\b")
"""What Arabic texts name in Latin letters."""

PIN = re.compile(r"\b[A-Z0-9]{4}(?:-[A-Z0-9]{4}){3}\b")
"""A PIN of the demo's provider."""


@dataclass(frozen=True, slots=True)
class Hub:
    """A running hub: where it is, who may sign in, two orders that have their PIN, and what its addresses need."""

    url: str
    password: str
    order_id: int
    other_id: int
    ids: dict[str, object]


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
    with running.running_hub(tmp_path_factory.mktemp("hub")) as hub:
        orders = order_with_pin(hub.url, hub.key), order_with_pin(hub.url, hub.key, "another")
        yield Hub(hub.url, hub.password, *orders, running.fill(hub))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with running.chromium() as browser:
        yield browser


def sign_in(page: Page, hub: Hub) -> None:
    running.sign_in(page, hub.url, hub.password)


def visit(page: Page, hub: Hub, look: Callable[[str], None]) -> None:
    """Every page that there is, for who is signed in, for who is not and on the way; `look` at each by its name."""
    between.walk(page, hub.url, hub.ids, look)
    for name, path in addresses.paths_outside(hub.ids):
        page.goto(hub.url + path)
        look(name)
    sign_in(page, hub)
    for name, path in addresses.paths(hub.ids):
        answer = page.goto(hub.url + path)
        assert answer is not None
        assert answer.status == 200, path
        look(name)


class TestTheTableOfPages:
    def test_has_every_address_of_the_panel(self) -> None:
        named = {*addresses.PAGES, *addresses.PAGES_OUTSIDE, *addresses.NOT_SHOWN, *addresses.BETWEEN}
        assert named == {pattern.name for pattern in urlpatterns}


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


QUICK = {("ar", "phone"), ("tr", "phone")}
"""From right to left, and the longest words, where there is the least room; the others run with --full."""


@pytest.mark.browser
@pytest.mark.parametrize(
    ("language", "width"),
    [
        pytest.param(language, width, marks=() if (language, width) in QUICK else pytest.mark.slow)
        for language in sorted(DIRECTIONS)
        for width in sorted(WIDTHS)
    ],
)
class TestThePages:
    def test_fit_in_every_language_and_width(self, hub: Hub, browser: Browser, language: str, width: str) -> None:
        """Nothing is cut off, outside its box or left untranslated, and the browser reports no error."""
        columns, rows = WIDTHS[width]
        context = browser.new_context(locale=language, viewport=ViewportSize(width=columns, height=rows))
        page = context.new_page()
        troubles: list[str] = []
        page.on("console", lambda message: troubles.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: troubles.append(str(error)))

        def look(name: str) -> None:
            assert (page.locator("html").get_attribute("dir") or "ltr") == DIRECTIONS[language]
            assert page.locator("html").get_attribute("lang") == language
            assert page.locator("h1").is_visible()
            found = [*looking.misfits(page), *looking.wrong_digits(page)]
            found += looking.left_in_latin(page, TERMS) if language == "ar" else []
            troubles.extend(f"{name}: {one}" for one in found)

        visit(page, hub, look)
        assert troubles == []
        context.close()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("language", "width", "scheme"),
    [("ar", "phone", "dark"), pytest.param("en", "desktop", "light", marks=pytest.mark.slow)],
)
class TestEverybody:
    def test_can_use_every_page(
        self, hub: Hub, browser: Browser, language: str, width: str, scheme: Literal["light", "dark"]
    ) -> None:
        """axe-core finds nothing serious: names, contrast, keyboard, structure."""
        columns, rows = WIDTHS[width]
        view = ViewportSize(width=columns, height=rows)
        context = browser.new_context(locale=language, viewport=view, color_scheme=scheme)
        page = context.new_page()
        troubles: list[str] = []
        visit(page, hub, lambda name: troubles.extend(f"{name}: {one}" for one in looking.barriers(page)))
        assert troubles == []
        context.close()


@pytest.mark.browser
class TestTheMeasure:
    """What the measures are worth: a page with each fault is found out."""

    @pytest.mark.parametrize(
        ("body", "found"),
        [
            ('<div style="inline-size: 3rem; white-space: nowrap">much too long</div>', "wider than its box"),
            ('<p style="overflow: hidden; inline-size: 3rem; white-space: nowrap"><b>too long</b></p>', "cut off by"),
            ('<p style="position: relative; left: 95vw">off the edge</p>', "off the page"),
            ('<input value="longer than this" style="inline-size: 3rem">', "longer than its field"),
            ('<select style="inline-size: 3rem"><option>longer than this</option></select>', "longer than its field"),
        ],
    )
    def test_finds_text_that_does_not_fit(self, browser: Browser, body: str, found: str) -> None:
        page = browser.new_page()
        page.set_content(f"<main><p>fits</p>{body}</main>")
        assert found in " ".join(looking.misfits(page))
        page.set_content('<main><p>fits</p><div style="overflow: auto; inline-size: 3rem">can be scrolled</div></main>')
        assert looking.misfits(page) == []
        page.close()

    def test_finds_foreign_words_digits_and_barriers(self, browser: Browser) -> None:
        page = browser.new_page()
        page.set_content("<main><p>طلب pending ٣</p><p>رمز PIN</p><bdi>name</bdi><input></main>")
        assert looking.left_in_latin(page, TERMS) == ["طلب pending ٣"]
        assert looking.wrong_digits(page) == ["٣"]
        assert "label" in {one.partition(":")[0] for one in looking.barriers(page)}
        page.close()


@pytest.mark.browser
class TestTheOrderPage:
    def test_shows_fifteen_steps_and_the_pin_only_when_asked(self, hub: Hub, browser: Browser) -> None:
        context = browser.new_context(locale="en")
        page = context.new_page()
        sign_in(page, hub)
        page.goto(f"{hub.url}/orders/{hub.order_id}/")
        assert "Schedule the next check" in page.inner_text("body")
        assert not PIN.search(page.content())
        page.get_by_role("link", name="Show the codes once").click()
        page.get_by_label("Reason").fill("the customer lost the mail")
        page.get_by_role("button", name="Show the codes once").click()
        page.wait_for_load_state("networkidle")
        assert PIN.search(page.inner_text("body"))
        context.close()

    @pytest.mark.parametrize("language", sorted(DIRECTIONS))
    def test_is_brought_up_to_date_by_itself_until_its_pin_can_be_seen(
        self, hub: Hub, browser: Browser, language: str
    ) -> None:
        """From the form to the PIN without loading a page anew; an order that the provider refuses is placed again."""
        context = browser.new_context(locale=language)
        page = context.new_page()
        sign_in(page, hub)
        for n in range(5):
            page.goto(f"{hub.url}/orders/new/?customer=1&package=1")
            page.locator("input[name=field_player_id]").fill(f"live-{language}-{n}")
            page.locator("main button.primary").click()
            page.locator(".message.success").wait_for()
            page.locator(".standing.completed, .standing.rejected").wait_for()
            assert page.locator("[data-pulse]").is_hidden()
            assert page.locator("[data-live] form").count() == 0
            if page.locator(".standing.completed").count():
                break
        assert page.locator(".codes li").inner_text().startswith("••••")
        page.locator("a[href$='/codes/']").click()
        page.locator("input[name=reason]").fill("live")
        page.locator("main button.primary").click()
        code = page.locator(".clear-code bdi").first
        assert PIN.fullmatch(code.inner_text())
        assert (code.get_attribute("dir"), page.locator("html").get_attribute("lang")) == ("ltr", language)
        assert page.locator("html").get_attribute("dir") == DIRECTIONS[language]
        context.close()

    def test_prints_the_codes_and_nothing_else(self, hub: Hub, browser: Browser) -> None:
        context = browser.new_context(locale="ar", color_scheme="dark")
        page = context.new_page()
        sign_in(page, hub)
        page.goto(f"{hub.url}/orders/{hub.order_id}/codes/")
        page.locator("input[name=reason]").fill("on paper")
        page.locator("main button.primary").click()
        page.locator("[data-print]").wait_for()
        page.evaluate("window.print = () => { document.title = 'printed'; }")
        page.locator("[data-print]").click()
        page.emulate_media(media="print")
        assert page.title() == "printed"
        seen = [
            page.locator(part).first.is_visible() for part in (".clear-code bdi", ".facts", ".top", ".foot", "button")
        ]
        assert seen == [True, True, False, False, False]
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
