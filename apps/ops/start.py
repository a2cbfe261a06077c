"""`scripts/start.py` ends up here: the hub in one process, its self-check, or the hub as processes of their own."""

from __future__ import annotations

import argparse
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from apps.ops.machine import why_not_imported

ROOT = Path(__file__).resolve().parents[2]


def read_arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The command line, checked."""
    parser = argparse.ArgumentParser(
        prog="start.py",
        description="Runs the order hub on this machine: web pages, REST, worker and schedule in one process.",
    )
    parser.add_argument(
        "--port", type=int, default=None, help="port of the web server (default 8000; with --check any free one)"
    )
    parser.add_argument(
        "--data", type=Path, default=None, metavar="DIR", help="where the database and logs are kept (default var/)"
    )
    parser.add_argument("--no-demo", action="store_true", help="an empty shop: no demo goods, no simulated provider")
    parser.add_argument(
        "--check",
        action="store_true",
        help="place 20 orders with every fate in a temporary folder, recount them, and exit",
    )
    parser.add_argument(
        "--seed", type=int, default=1, metavar="N", help="what the fates of --check are drawn from (default 1)"
    )
    parser.add_argument(
        "--production",
        action="store_true",
        help="web, worker and beat as processes of their own, on the servers of DATABASE_URL and REDIS_URL",
    )
    parser.add_argument("--host", default="127.0.0.1", help="with --production: where to listen (default 127.0.0.1)")
    parser.add_argument(
        "--workers", type=int, default=1, metavar="N", help="with --production: how many Celery workers (default 1)"
    )
    parser.add_argument("--status", action="store_true", help="what of --production runs, and whether all is well")
    parser.add_argument("--stop", action="store_true", help="end what --production has started")
    arguments = parser.parse_args([as_typed(word) for word in argv])
    if arguments.workers < 1:
        parser.error("--workers must be at least 1")
    if arguments.port is not None and not 0 <= arguments.port <= 65535:
        parser.error("--port must be a number from 0 to 65535")
    return arguments


def as_typed(word: str) -> str:
    """PowerShell's `-Production` is our `--production`."""
    return f"-{word.lower()}" if re.fullmatch(r"-[A-Z][A-Za-z-]+", word) else word


def say(text: str = "") -> None:
    """One line for the person at the console; a console that cannot show a letter shows a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()


def set_up(data: Path) -> None:
    """Point the settings at `data` and start Django; wrong settings or packages end the program with a word."""
    data.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.environ["HUB_DATA_DIR"] = str(data)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    try:
        import django  # noqa: PLC0415 - a broken environment gets a sentence
        from django.core.exceptions import ImproperlyConfigured  # noqa: PLC0415 - as above
    except ImportError as error:
        sys.exit(why_not_imported(error))
    try:
        django.setup()
    except ImproperlyConfigured as error:
        sys.exit(str(error))
    except ImportError as error:
        sys.exit(why_not_imported(error))


def prepare(data: Path) -> None:
    """Start Django and bring the database up to date."""
    set_up(data)
    from django.core.management import call_command  # noqa: PLC0415 - after Django is set up

    call_command("migrate", verbosity=0)
    from apps.ops.schedule import install_schedule  # noqa: PLC0415 - models exist only after Django is set up

    install_schedule()


def main(argv: Sequence[str]) -> int:
    """Run what the command line asks for; returns the exit code."""
    arguments = read_arguments(argv)
    if arguments.check:
        return run_check(arguments)
    data = (arguments.data or ROOT / "var").resolve()
    port = 8000 if arguments.port is None else arguments.port
    if arguments.status or arguments.stop:
        return look_at_processes(arguments, data)
    if arguments.production:
        return run_processes(arguments, data, port)
    prepare(data)
    from apps.ops import hub  # noqa: PLC0415 - models exist only after Django is set up

    return hub.run(port, with_demo=not arguments.no_demo, say=say)


# --- processes of their own


def look_at_processes(arguments: argparse.Namespace, data: Path) -> int:
    """`--status` or `--stop`."""
    set_up(data)
    from apps.ops import fleet  # noqa: PLC0415 - as above

    place = fleet.Place(data)
    return fleet.stop(place, say) if arguments.stop else fleet.status(place, say)


def run_processes(arguments: argparse.Namespace, data: Path, port: int) -> int:
    """`--production`: first everything that is missing, each with its remedy; then the processes (2: not started)."""
    set_up(data)
    from django.conf import settings  # noqa: PLC0415 - as above

    from apps.ops import fleet, preflight  # noqa: PLC0415 - as above

    if missing := preflight.missing(arguments.host, port):
        for sentence in missing:
            say(f"MISSING: {sentence}")
        return 2
    prepare(data)
    if not settings.PRODUCTION:
        say("PRODUCTION is not true in .env: pages are served without HTTPS. Set it before the hub is on the internet.")
    say(f"Web pages: http://{arguments.host}:{port}/   State of the loops: http://{arguments.host}:{port}/statusz")
    return fleet.run(fleet.Place(data), fleet.members(arguments.host, port, arguments.workers), say)


# --- the self-check


def run_check(arguments: argparse.Namespace) -> int:
    """The main job on the embedded default in a folder of its own; prints one JSON line last."""
    with tempfile.TemporaryDirectory(prefix="orderhub-check-") as temporary:
        data = (arguments.data or Path(temporary)).resolve()
        if (data / "db.sqlite3").exists() or (data / "truth.jsonl").exists():
            say(f"{data} holds an earlier check: choose an empty folder with --data")
            return 2
        # The check is about the embedded default, whatever the installation is set to.
        os.environ.update(DATABASE_URL=f"sqlite:///{data / 'db.sqlite3'}", REDIS_URL="", PRODUCTION="false")
        os.environ.setdefault("LOG_LEVEL", "WARNING")
        prepare(data)
        from apps.ops import check  # noqa: PLC0415 - as above

        return check.run(data, port=arguments.port or 0, seed=arguments.seed, say=say)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
