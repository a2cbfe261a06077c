"""`scripts/start.py` ends up here: the hub on this machine with a demo shop, or the self-check of the main job."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import django
from django.core.management import call_command

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
    arguments = parser.parse_args(argv)
    if arguments.port is not None and not 0 <= arguments.port <= 65535:
        parser.error("--port must be a number from 0 to 65535")
    return arguments


def say(text: str = "") -> None:
    """One line for the person at the console; a console that cannot show a letter shows a question mark."""
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding) + "\n")
    sys.stdout.flush()


def prepare(data: Path) -> None:
    """Point the settings at `data`, start Django and bring the database up to date."""
    data.mkdir(parents=True, exist_ok=True)
    os.environ["HUB_DATA_DIR"] = str(data)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
    django.setup()
    call_command("migrate", verbosity=0)
    from apps.ops.schedule import install_schedule  # noqa: PLC0415 - models exist only after Django is set up

    install_schedule()


def main(argv: Sequence[str]) -> int:
    """Run what the command line asks for; returns the exit code."""
    arguments = read_arguments(argv)
    if arguments.check:
        return run_check(arguments)
    prepare((arguments.data or ROOT / "var").resolve())
    from apps.ops import hub  # noqa: PLC0415 - models exist only after Django is set up

    return hub.run(8000 if arguments.port is None else arguments.port, with_demo=not arguments.no_demo, say=say)


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
