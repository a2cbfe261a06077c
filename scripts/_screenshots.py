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
from collections.abc import Iterable, Mapping, Sequence
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


def photograph(browser: Browser, hub: running.Running, ids: Mapping[str, object], options: argparse.Namespace) -> int:
    """Every page in every way that was asked for; how many pictures there are."""
    from tests.browser import addresses  # it reads the table of URLs, which needs Django

    count = 0
    for language, width, scheme in itertools.product(options.language, options.width, options.scheme):
        columns, rows = running.WIDTHS[width]
        view = ViewportSize(width=columns, height=rows)
        context = browser.new_context(locale=language, viewport=view, color_scheme=scheme)
        page, folder = context.new_page(), options.to / f"{language}-{width}-{scheme}"
        count += take(page, hub, addresses.paths_outside(ids), folder, options.page)
        running.sign_in(page, hub.url, hub.password)
        count += take(page, hub, addresses.paths(ids), folder, options.page)
        context.close()
        print(f"{folder}: done", flush=True)
    return count


def take(page: Page, hub: running.Running, pages: Iterable[tuple[str, str]], folder: Path, only: Sequence[str]) -> int:
    """One picture of each of these pages, as long as the page is; how many there are."""
    wanted = [(name, path) for name, path in pages if not only or name in only]
    for name, path in wanted:
        page.goto(hub.url + path)
        page.screenshot(path=folder / f"{name}.png", full_page=True)
    return len(wanted)


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
