"""Every page of the panel in three languages, light and dark, on a phone and on a desk, as pictures in one folder.

Started by `scripts/screenshots.py`. The hub is the embedded default in a temporary folder, with one of
everything.
"""

from __future__ import annotations

import argparse
import itertools
import os
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import _bootstrap

sys.path.insert(0, str(_bootstrap.ROOT))

import django
from playwright.sync_api import Browser, Page, ViewportSize

from tests.browser import running

SCHEMES = ("light", "dark")
FOLDER = _bootstrap.ROOT / "var" / "screenshots"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line, checked; what is not narrowed is photographed in every way."""
    parser = argparse.ArgumentParser(prog="scripts/screenshots.py", description="Photographs every page of the panel.")
    parser.add_argument("--to", type=Path, default=FOLDER, metavar="DIR", help="where to (var/screenshots)")
    parser.add_argument("--language", nargs="+", choices=sorted(running.DIRECTIONS), default=sorted(running.DIRECTIONS))
    parser.add_argument("--width", nargs="+", choices=sorted(running.WIDTHS), default=sorted(running.WIDTHS))
    parser.add_argument("--scheme", nargs="+", choices=SCHEMES, default=SCHEMES)
    parser.add_argument("--page", nargs="+", metavar="NAME", default=(), help="only these pages, by their URL's name")
    return parser.parse_args(arguments)


def prepare(data: Path) -> None:
    """Settings of their own for the hub and for the reading of addresses; `.env` does not count."""
    own = {"HUB_DATA_DIR": str(data), "DATABASE_URL": f"sqlite:///{data / 'db.sqlite3'}", "REDIS_URL": ""}
    os.environ.update({**_bootstrap.random_secrets(), **own, "PRODUCTION": "false", "ALLOWED_HOSTS": "127.0.0.1"})
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()


def photograph(browser: Browser, hub: running.Running, ids: dict[str, object], options: argparse.Namespace) -> int:
    """Every page in every way that was asked for; how many pictures there are."""
    from tests.browser import addresses, between  # they read the table of URLs, which needs Django

    count = 0
    for language, width, scheme in itertools.product(options.language, options.width, options.scheme):
        columns, rows = running.WIDTHS[width]
        view = ViewportSize(width=columns, height=rows)
        context = browser.new_context(locale=language, viewport=view, color_scheme=scheme)
        camera = Camera(context.new_page(), options.to / f"{language}-{width}-{scheme}", options.page)
        if any(map(camera.is_wanted, between.PAGES)):
            between.walk(camera.page, hub.url, ids, camera.take)
        camera.visit(hub.url, addresses.paths_outside(ids))
        running.sign_in(camera.page, hub.url, hub.password)
        camera.visit(hub.url, addresses.paths(ids))
        context.close()
        count += camera.taken
        print(f"{camera.folder}: done", flush=True)
    return count


@dataclass
class Camera:
    """Takes the pages that the browser is led to, of those that were asked for, into a folder; counts them."""

    page: Page
    folder: Path
    only: Sequence[str]
    taken: int = 0

    def is_wanted(self, name: str) -> bool:
        """Whether the page was asked for."""
        return not self.only or name in self.only

    def visit(self, url: str, pages: Iterable[tuple[str, str]]) -> None:
        """Open each of these pages, and take it."""
        for name, path in pages:
            if self.is_wanted(name):
                self.page.goto(url + path)
                self.take(name)

    def take(self, name: str) -> None:
        """One picture of the page that is open, as long as it is."""
        if self.is_wanted(name):
            self.page.screenshot(path=self.folder / f"{name}.png", full_page=True)
            self.taken += 1


def main() -> int:
    """Start the hub, fill it, photograph it."""
    options = parse(sys.argv[1:])
    with tempfile.TemporaryDirectory(prefix="order-hub-pictures-") as temporary:
        prepare(Path(temporary))
        with running.running_hub(Path(temporary)) as hub, running.chromium() as browser:
            count = photograph(browser, hub, running.fill(hub), options)
    print(f"{count} pictures in {options.to}")
    return 0 if count else 1


if __name__ == "__main__":
    sys.exit(main())
