"""The chaos run: real processes on real servers under load, while faults strike; then everything is counted again."""

from __future__ import annotations

import argparse
import contextlib
import json
import secrets
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

from apps.proof.proxy import FaultProxy
from apps.simulator.client import SimulatorProcess
from tests.chaos import fates
from tests.chaos.customers import Customers, Wish, draw_wishes
from tests.chaos.nemesis import LINE_FAULTS, PROCESS_FAULTS, Blow, Hand, Scene, Toll, draw_plan
from tests.chaos.real_hub import ROOT, RealHub, wait_for
from tests.servers import PostgresServer, ServerTrouble, ValkeyServer, free_port

LOOK_EVERY_S = 3.0
DRAIN_WITHIN_S = 240.0
STOP_WITHIN_S = 8.0
NEWS_EVERY_S = 30.0
OPEN = "SELECT count(*) FROM product_orders WHERE status IN ('pending', 'processing')"
DOUBTS = "SELECT reference FROM orders_attempt WHERE state = 'in_doubt' AND kind IN ('client_api', 'znet', 'digiflazz')"


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed says: who wants what and when, and what goes wrong when."""

    seed: int
    for_s: float
    wishes: list[Wish]
    on_processes: list[Blow]
    on_lines: list[Blow]


def draw(seed: int, minutes: float, per_minute: float) -> Plan:
    """Always the same for the same arguments; customers begin with the faults and end with them."""
    for_s = minutes * 60
    return Plan(
        seed,
        for_s,
        draw_wishes(seed, for_s, per_minute),
        draw_plan(seed, for_s, PROCESS_FAULTS, "processes"),
        draw_plan(seed, for_s, LINE_FAULTS, "lines"),
    )


@dataclass(slots=True)
class Story:
    """What the run has seen besides the database."""

    tolls: dict[str, Toll] = field(default_factory=dict)
    said: Counter[str] = field(default_factory=Counter)
    ended_alone: Counter[str] = field(default_factory=Counter)
    looks: int = 0
    broken: list[dict[str, Any]] = field(default_factory=list)
    mismatches: list[str] = field(default_factory=list)
    drained_s: float | None = None


# --- the run


def play(plan: Plan, folder: Path, tell: Callable[[str], None]) -> dict[str, Any]:
    """Do it all in `folder`; returns what is printed. Nothing that was started is left."""
    began = time.monotonic()
    story = Story()
    with stage(folder, plan, tell) as scene:
        fates.script(scene.simulator, plan.seed, plan.wishes)
        customers = Customers(plan.wishes, json.loads(scene.hub.key), lambda: scene.hub.url)
        with watched(scene.hub, story):
            harm(scene, plan, customers, story, tell)
            tell("healed; waiting until nothing is open")
            story.drained_s = drain(scene, customers)
        customers.stop()
        story.said = customers.said
        story.mismatches = [f"wish {wish.number} became {wish.ids}" for wish in plan.wishes if len(wish.ids) > 1]
        scene.hub.stop(STOP_WITHIN_S)
        verdict = judged(scene, plan, folder)
    return told(plan, story, verdict, time.monotonic() - began)


@contextlib.contextmanager
def stage(folder: Path, plan: Plan, tell: Callable[[str], None]) -> Iterator[Scene]:
    """Servers, lines, provider and processes, all up and answering."""
    with contextlib.ExitStack() as stack:
        postgres = stack.enter_context(PostgresServer(durable=True))
        valkey = stack.enter_context(ValkeyServer())
        simulator = stack.enter_context(SimulatorProcess(truth=folder / "truth.jsonl", seed=plan.seed))
        database = stack.enter_context(FaultProxy("127.0.0.1", postgres.port, speaks_http=False))
        broker = stack.enter_context(FaultProxy("127.0.0.1", valkey.port, speaks_http=False))
        provider = stack.enter_context(FaultProxy(simulator.host, simulator.port))
        direct = postgres.create_database(f"chaos_{secrets.token_hex(4)}")
        through = {
            "DATABASE_URL": direct.replace(f":{postgres.port}/", f":{database.port}/"),
            "REDIS_URL": f"redis://127.0.0.1:{broker.port}/0",
        }
        hub = RealHub(folder, direct, valkey.url, ["-m", "tests.chaos.open_shop", provider.url], through)
        stack.callback(hub.stop, STOP_WITHIN_S)
        scene = Scene(hub, postgres, valkey, simulator, database, broker, provider, free_port())
        for name in ("worker1", "worker2", "beat1", "beat2", "poll", "web"):
            scene.restart(name)
        wait_for(hub.is_ready, "the web server does not answer")
        tell(f"everything is up in {folder}, PostgreSQL {postgres.pid}, Valkey {valkey.pid}")
        yield scene


def harm(scene: Scene, plan: Plan, customers: Customers, story: Story, tell: Callable[[str], None]) -> None:
    """Customers order and faults strike, until the plan is over; what was done is mended in any case."""
    hands = [
        Hand(scene, plan.on_processes, PROCESS_FAULTS, tell),
        Hand(scene, plan.on_lines, LINE_FAULTS, tell),
    ]
    customers.start()
    try:
        for hand in hands:
            hand.start()
        ends_at = time.monotonic() + plan.for_s
        while time.monotonic() < ends_at:
            revive(scene, story, tell)
            time.sleep(0.5)
    finally:
        for hand in hands:
            hand.stop()
            story.tolls |= hand.tolls
    revive(scene, story, tell)


def revive(scene: Scene, story: Story, tell: Callable[[str], None]) -> None:
    """Start again what ended by itself, as a supervisor does; it is counted."""
    for name, process in list(scene.hub.processes.items()):
        if process.poll() is not None and scene.hub.processes.get(name) is process:
            story.ended_alone[name] += 1
            tell(f"{name} has ended by itself with {process.returncode}")
            scene.restart(name)


def drain(scene: Scene, customers: Customers) -> float | None:
    """Wait until every wish is an order and every order is settled or a person's; how long it took, None: too long."""
    began = time.monotonic()
    while time.monotonic() - began < DRAIN_WITHIN_S:
        if customers.is_idle() and not scene.hub.query(OPEN)[0][0] and not _known_there(scene):
            return time.monotonic() - began
        time.sleep(1)
    return None


def _known_there(scene: Scene) -> bool:
    """Whether something is in doubt that its provider has ended and would tell."""
    doubts = {row[0] for row in scene.hub.query(DOUBTS)}
    if not doubts:
        return False
    ended = {entry["order_id"] for entry in scene.simulator.truth() if entry["event"] == "finished"}
    bought = [entry for entry in scene.simulator.truth() if entry["event"] == "bought"]
    return any(entry["reference"] in doubts and entry["order_id"] in ended for entry in bought)


@contextlib.contextmanager
def watched(hub: RealHub, story: Story) -> Iterator[None]:
    """Ask the invariants every few seconds, straight from the database, in a process of their own."""
    command = [sys.executable, "-m", "tests.chaos.watch", str(LOOK_EVERY_S)]
    watcher = subprocess.Popen(
        command, env=hub.env, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
    )
    reader = threading.Thread(target=_read_looks, args=(watcher, story), daemon=True)
    reader.start()
    try:
        yield
    finally:
        watcher.kill()
        watcher.wait()
        reader.join(10)


def _read_looks(watcher: subprocess.Popen[str], story: Story) -> None:
    assert watcher.stdout is not None
    with watcher.stdout as lines:
        for line in lines:
            story.looks += 1
            story.broken += json.loads(line)["broken"]


def judged(scene: Scene, plan: Plan, folder: Path) -> dict[str, Any]:
    """The verdict on database and providers, by a process with the hub's settings."""
    wishes = folder / "wishes.json"
    wishes.write_text(json.dumps([{**asdict(wish), "ids": sorted(wish.ids)} for wish in plan.wishes]))
    scene.simulator.truth()  # so that all of it is written
    said = scene.hub.run(["-m", "tests.chaos.judge", str(scene.simulator.truth_path), str(wishes), str(folder)])
    verdict: dict[str, Any] = json.loads(said.splitlines()[-1])
    return verdict


# --- what is told


def told(plan: Plan, story: Story, verdict: dict[str, Any], seconds: float) -> dict[str, Any]:
    """The counts, with everything wrong in words under `problems`."""
    wrong = verdict["wrong"]
    refused = [f"wish {wish.number} was refused: {wish.refused}" for wish in plan.wishes if wish.refused]
    lost = [*wrong["forgotten"], *wrong["orphans"], *verdict["not_adopted"], *refused]
    broken = [f"{found['name']}: {found['count']} rows" for found in story.broken]
    result: dict[str, Any] = {
        "seed": plan.seed,
        "orders": verdict["orders"],
        "wishes": len(plan.wishes),
        "purchases": verdict["purchases"],
        "double_purchases": len(wrong["double_purchases"]) + len(story.mismatches),
        "lost": len(lost),
        "pins_lost": len(wrong["lost_pins"]),
        "wrong_refunds": len(wrong["wrong_refunds"]),
        "money_unexplained": len(wrong["money_unexplained"]),
        "invariant_violations": len(broken) + len(verdict["broken"]),
        "unwritten_sends": len(verdict["unwritten"]),
        "secrets_in_logs": verdict["secrets"],
        "in_review": verdict["statuses"].get("review", 0),
        "statuses": verdict["statuses"],
        "in_doubt": sum(verdict["in_doubt"].values()),
        "resolved_without_person": sum(verdict["resolved_without_person"].values()),
        "late_sends": verdict["late_sends"],
        "invariant_looks": story.looks,
        "answers": dict(sorted(story.said.items())),
        "ended_alone": dict(story.ended_alone),
        "faults": {name: {"done": toll.done, "hit": toll.hit} for name, toll in sorted(story.tolls.items())},
        "drained_s": None if story.drained_s is None else round(story.drained_s, 1),
        "seconds": round(seconds, 1),
    }
    texts = [text for kind in wrong.values() for text in kind]
    texts += [*story.mismatches, *verdict["not_adopted"], *refused, *broken, *verdict["broken"], *verdict["unwritten"]]
    texts += [f"{name}: {text}" for name, toll in story.tolls.items() for text in toll.failed]
    texts += ["PINs or credentials stand in the logs"] if verdict["secrets"] else []
    texts += ["something is still open, long after all was healed"] if story.drained_s is None else []
    return result | {"problems": texts, "invalid": why_invalid(story, verdict)}


def why_invalid(story: Story, verdict: dict[str, Any]) -> str:
    """Why a clean result says nothing; empty when it does say something."""
    done, hit = (sum(getattr(toll, name) for toll in story.tolls.values()) for name in ("done", "hit"))
    if not hit or 2 * hit < done:
        return f"only {hit} of {done} faults met anything"
    if not sum(verdict["in_doubt"].values()):
        return "nothing was ever in doubt"
    if not story.looks:
        return "the invariants were never asked"
    return ""


# --- the command


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="scripts/chaos.py",
        description="Real processes on servers of their own, faults on purpose, and everything counted again.",
    )
    parser.add_argument("--minutes", type=float, default=3.0, help="how long faults strike (default: 3)")
    parser.add_argument("--seed", type=int, default=1, help="draws orders, fates and faults (default: 1)")
    parser.add_argument("--orders-per-minute", type=float, default=60.0, help="how often customers order (default: 60)")
    parser.add_argument("--plan", action="store_true", help="print the faults of the seed, and end")
    parser.add_argument("--keep", type=Path, help="a new folder for logs and ledgers, which stays")
    parser.add_argument("--json", action="store_true", help="print one line of JSON last")
    options = parser.parse_args(arguments)
    if options.minutes <= 0 or options.orders_per_minute <= 0:
        parser.error("--minutes and --orders-per-minute are above zero")
    return options


@contextlib.contextmanager
def ended_by_signals() -> Iterator[None]:
    """Turn the signals that end a program into an ordinary exit, so that everything is cleaned up."""

    def leave(number: int, frame: FrameType | None) -> NoReturn:
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def place_for(keep: Path | None) -> Iterator[Path]:
    """A temporary folder, or the one to keep."""
    if keep is not None:
        keep.mkdir(parents=True)
        yield keep.resolve()
        return
    with tempfile.TemporaryDirectory(prefix="order-hub-chaos-") as folder:
        yield Path(folder)


def say(text: str) -> None:
    """Tell a person; standard output stays free for the result."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main(arguments: Sequence[str]) -> int:
    """Play one seed. Returns the exit code: 0 when nothing is wrong and enough went wrong on purpose, else 1."""
    options = parse(arguments)
    plan = draw(options.seed, options.minutes, options.orders_per_minute)
    if options.plan:
        for blow in sorted((*plan.on_processes, *plan.on_lines), key=lambda blow: blow.at_s):
            sys.stdout.write(f"{blow.at_s:6.1f} s  {blow.name} for {blow.lasts_s:.1f} s\n")
        return 0
    with ended_by_signals(), place_for(options.keep) as folder:
        try:
            result = play(plan, folder, say)
        except ServerTrouble as trouble:
            say(str(trouble))
            return 1
    for problem in result["problems"]:
        say(f"NOT RIGHT: {problem}")
    if result["invalid"]:
        say(f"INVALID: {result['invalid']}")
    sys.stdout.write((json.dumps(result) if options.json else sentence(result)) + "\n")
    return 1 if result["problems"] or result["invalid"] else 0


def sentence(result: dict[str, Any]) -> str:
    """The result for a person."""
    return (
        "{orders} orders, {purchases} purchases; double: {double_purchases}, lost: {lost}, PINs lost: {pins_lost}, "
        "unexplained money: {money_unexplained}, broken invariants: {invariant_violations}, in review: {in_review}"
    ).format(**result)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
