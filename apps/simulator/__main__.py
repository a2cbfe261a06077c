"""Command line of the provider simulator: starts one server and prints where it listens."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

from apps.simulator import bench, measure, selftest
from apps.simulator.clock import Clock
from apps.simulator.dialect import Dialect
from apps.simulator.dialects import DEFAULT, DIALECTS
from apps.simulator.fates import MIXES, FateBook
from apps.simulator.ledger import Ledger
from apps.simulator.server import Server
from apps.simulator.strict import is_loopback
from apps.simulator.world import Account, World, advanced_by


def main() -> int:
    options = _parser().parse_args()
    if options.selftest:
        return selftest.main(options.json)
    if options.measure:
        return measure.main()
    if options.truth is None and not options.bench:
        sys.stderr.write("--truth is needed: the file that the ledger is written to\n")
        return 2
    if not options.allow_remote and not is_loopback(options.host):
        sys.stderr.write("the control API has no password: use a loopback --host, or --allow-remote\n")
        return 2
    asyncio.run(_run(options))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m apps.simulator", description="A provider to buy from in tests.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: any free port; it is printed")
    parser.add_argument("--truth", type=Path, help="the ledger; an existing one is continued")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--mix", choices=sorted(MIXES), default="none")
    parser.add_argument("--dialect", choices=sorted(DIALECTS), default=DEFAULT, help="whose account the next three are")
    parser.add_argument("--login")
    parser.add_argument("--password")
    parser.add_argument("--balance", type=Decimal, help="of a new ledger")
    parser.add_argument("--stop-with-parent", action="store_true", help="stop when standard input ends")
    parser.add_argument("--allow-remote", action="store_true", help="allow a --host that others can reach")
    parser.add_argument(
        "--bench",
        nargs="?",
        const="waiting",
        choices=sorted(bench.STATES),
        help="answer ZNET status questions only, fast",
    )
    parser.add_argument("--delay", type=float, default=0.0, help="seconds before each answer in bench mode")
    parser.add_argument("--measure", action="store_true", help="print requests per second of each mode, and end")
    parser.add_argument("--selftest", action="store_true", help="run each fault against each dialect, and end")
    parser.add_argument("--json", action="store_true", help="of the self-test: print failures and the verdict alone")
    return parser


async def _run(options: argparse.Namespace) -> None:
    stop = asyncio.Event()
    _stop_on_signals(_threadsafe(stop.set))
    if options.stop_with_parent:
        threading.Thread(target=_wait_for_parent, args=(_threadsafe(stop.set),), daemon=True).start()
    if options.bench:
        await _run_bench(options, stop)
    else:
        await _run_world(options, stop)


async def _run_world(options: argparse.Namespace, stop: asyncio.Event) -> None:
    server = _build_server(options)
    _say_port(await server.start(options.host, options.port))
    await stop.wait()
    await server.stop()


async def _run_bench(options: argparse.Namespace, stop: asyncio.Event) -> None:
    server, port = await bench.serve(options.host, options.port, options.bench, options.delay)
    _say_port(port)
    await stop.wait()
    server.close()


def _say_port(port: int) -> None:
    sys.stdout.write(json.dumps({"port": port, "pid": os.getpid()}) + "\n")
    sys.stdout.flush()


def _build_server(options: argparse.Namespace) -> Server:
    truth = Ledger(options.truth)
    entries = truth.entries()
    worlds = {name: _build_world(dialect, options, truth) for name, dialect in DIALECTS.items()}
    for world in worlds.values():
        world.rebuild(entries)
    return Server(worlds, truth, Clock(advanced_by(entries)))


def _build_world(dialect: Dialect, options: argparse.Namespace, truth: Ledger) -> World:
    """A world with the account of its dialect, or with that of the options where they are about this dialect."""
    given = vars(options) if dialect.name == options.dialect else {}
    account = Account(given.get("login") or dialect.login, given.get("password") or dialect.password, dialect.secrets)
    balance = dialect.balance if given.get("balance") is None else given["balance"]
    return World(dialect, account, balance, FateBook(options.seed, options.mix), truth)


def _threadsafe(callback: Callable[[], None]) -> Callable[[], None]:
    loop = asyncio.get_running_loop()

    def call() -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(callback)

    return call


def _stop_on_signals(stop: Callable[[], None]) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop())


def _wait_for_parent(stop: Callable[[], None]) -> None:
    # os.read, not sys.stdin: a thread inside its lock would abort the interpreter at exit.
    while os.read(0, 4096):
        pass
    stop()


if __name__ == "__main__":
    sys.exit(main())
