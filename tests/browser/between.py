"""Pages between two steps: half a signing in, a second factor that is on, and a mailed link."""

from __future__ import annotations

from collections.abc import Callable

from playwright.sync_api import Page

NAME, PASSWORD = "zeynep", "long-enough-for-a-demo"
"""Somebody of the demo shop whose second factor is on; `recovery_code` of the ids lets her in, once."""

PAGES = ("second_factor", "second_factor_off", "recovery", "recovery_codes", "password_new")
"""What is looked at on the way."""


def walk(page: Page, url: str, ids: dict[str, object], look: Callable[[str], None]) -> None:
    """Go through all of them, `look` at each by its name, and be nobody again; a new recovery code is in the ids."""
    _sign_in_half(page, url)
    look("second_factor")
    page.fill("input[name=code]", str(ids["recovery_code"]))
    page.press("input[name=code]", "Enter")
    page.wait_for_url(f"{url}/")
    page.goto(f"{url}/account/second-factor/off/")
    look("second_factor_off")
    page.goto(f"{url}/account/recovery/")
    look("recovery")
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.locator(".reveal li").first.wait_for()
    ids["recovery_code"] = page.locator(".reveal li").first.inner_text()
    look("recovery_codes")
    page.context.clear_cookies()
    page.goto(f"{url}{ids['password_link']}")
    look("password_new")
    page.context.clear_cookies()


def _sign_in_half(page: Page, url: str) -> None:
    page.goto(f"{url}/login/")
    page.fill("input[name=username]", NAME)
    page.fill("input[name=password]", PASSWORD)
    page.press("input[name=password]", "Enter")
    page.wait_for_url(f"{url}/login/second/")
