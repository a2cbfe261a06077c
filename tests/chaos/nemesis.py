"""What goes wrong on purpose: one table of faults, drawn by a seed into a plan, and two hands that carry it out.

One hand harms processes, the other servers and lines, so that two faults may meet.
"""

from __future__ import annotations

import random
import signal
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg2
import redis

from apps.proof.proxy import End, Fault, FaultProxy, Hole, Http, Line
from apps.simulator.client import SimulatorProcess
from tests.chaos.real_hub import RealHub
from tests.servers import PostgresServer, ServerTrouble, ValkeyServer

AIM_FOR_S = 3.0
"""How long a blow waits for a moment in which something is being sent."""
CALM_S = (1.0, 4.0)
"""Seconds between two blows of one hand."""
WEB_PORT_FREE_S = 0.5

Heal = Callable[[], int]
"""Mends what was done; returns how much it hit: requests, connections, pieces of bytes, keys, sends under way."""


@dataclass(slots=True)
class Scene:
    """Everything that can be harmed."""

    hub: RealHub
    postgres: PostgresServer
    valkey: ValkeyServer
    simulator: SimulatorProcess
    database: FaultProxy
    broker: FaultProxy
    provider: FaultProxy
    web_port: int

    def restart(self, name: str) -> None:
        """Start a process that was killed."""
        if name == "web":
            self.hub.launch_web(self.web_port)
        elif name.startswith("worker"):
            self.hub.start_worker(name, children=2)
        elif name.startswith("beat"):
            self.hub.start_beat(name)
        else:
            self.hub.start_poll(name)

    def sending(self) -> int:
        """How many purchases are on their way; 0 when the database does not say."""
        try:
            return int(self.hub.query("SELECT count(*) FROM orders_attempt WHERE state = 'sending'")[0][0])
        except psycopg2.OperationalError:
            return 0

    def aim(self) -> int:
        """Wait for a moment in which something is being sent."""
        deadline = time.monotonic() + AIM_FOR_S
        while not (sending := self.sending()) and time.monotonic() < deadline:
            time.sleep(0.05)
        return sending


Strike = Callable[[Scene, random.Random], Heal]


# --- processes


def kill(*names: str) -> Strike:
    """kill -9 one of these with all its children; it is started again."""

    def strike(scene: Scene, dice: random.Random) -> Heal:
        name = dice.choice(names)
        hit = scene.aim() if name[:4] in ("work", "poll") else 1
        scene.hub.kill(name)

        def heal() -> int:
            scene.restart(name)
            return hit

        return heal

    return strike


def kill_child(scene: Scene, dice: random.Random) -> Heal:
    """kill -9 one child of a worker; the worker starts another one."""
    name = dice.choice(("worker1", "worker2"))
    hit = scene.aim()
    children = scene.hub.children(name)
    scene.hub.kill_one(dice.choice(children)) if children else None
    return lambda: hit if children else 0


def freeze(*names: str) -> Strike:
    """SIGSTOP one of these, as a machine does that is moved: a sender among them wakes up as a zombie."""

    def strike(scene: Scene, dice: random.Random) -> Heal:
        name = dice.choice(names)
        hit = scene.aim() if name[:4] in ("work", "poll") else 1
        scene.hub.signal(name, signal.SIGSTOP)

        def heal() -> int:
            scene.hub.signal(name, signal.SIGCONT)
            return hit

        return heal

    return strike


# --- lines

Harm = Callable[[FaultProxy, random.Random], None]


def on_line(pick: Callable[[Scene], FaultProxy], harm: Harm) -> Strike:
    """Do something to one line; it is hit when bytes, connections or requests met it."""

    def strike(scene: Scene, dice: random.Random) -> Heal:
        line = pick(scene)
        before = line.touched
        harm(line, dice)

        def heal() -> int:
            line.disarm()
            return line.touched - before

        return heal

    return strike


def database(harm: Harm) -> Strike:
    return on_line(lambda scene: scene.database, harm)


def broker(harm: Harm) -> Strike:
    return on_line(lambda scene: scene.broker, harm)


def provider(harm: Harm) -> Strike:
    return on_line(lambda scene: scene.provider, harm)


def cut(line: FaultProxy, dice: random.Random) -> None:
    line.cut()


def clog(line: FaultProxy, dice: random.Random) -> None:
    line.clog()


def slow(line: FaultProxy, dice: random.Random) -> None:
    line.slow(dice.uniform(0.01, 0.05))


def halve(line: FaultProxy, dice: random.Random) -> None:
    line.halve(dice.randint(1, 3))


def armed(fault: Fault | Line | Hole | Http) -> Harm:
    return lambda line, dice: line.arm(fault, times=dice.randint(1, 4))


def brown_out(scene: Scene, dice: random.Random) -> Heal:
    """One provider answers with pages, with nothing, or not at all."""
    sick = scene.simulator.of(dice.choice(("client_api", "znet", "smm_v2", "digiflazz")))
    before = len(scene.provider.forwarded)
    sick.switch(down=dice.choice(("html", "empty", "hang")))

    def heal() -> int:
        sick.switch(down=None)
        sick.close()
        return sum(path.startswith(f"/{sick.dialect}/") for path in scene.provider.forwarded[before:])

    return heal


# --- servers


def restart_postgres(number: signal.Signals) -> Strike:
    """PostgreSQL told to end: SIGINT cuts its connections in good order, SIGQUIT leaves at once and recovers later."""

    def strike(scene: Scene, dice: random.Random) -> Heal:
        hit = _backends(scene)
        scene.postgres.end(number)

        def heal() -> int:
            _start(scene.postgres)
            return hit

        return heal

    return strike


def _backends(scene: Scene) -> int:
    try:
        return len(scene.hub.query("SELECT 1 FROM pg_stat_activity WHERE datname = current_database()")) - 1
    except psycopg2.OperationalError:
        return 0


def flush(scene: Scene, dice: random.Random) -> Heal:
    """FLUSHALL: every message and every budget kept there is gone."""
    keys = _count_keys(scene)
    redis.Redis.from_url(scene.valkey.url).flushall()
    return lambda: keys


def kill_valkey(scene: Scene, dice: random.Random) -> Heal:
    """Valkey killed; it comes back empty."""
    keys = _count_keys(scene)
    scene.valkey.kill()

    def heal() -> int:
        _start(scene.valkey)
        return keys

    return heal


def _count_keys(scene: Scene) -> int:
    return int(redis.Redis.from_url(scene.valkey.url).dbsize())


def _start(server: PostgresServer | ValkeyServer) -> None:
    try:
        server.start()
    except ServerTrouble:  # the children of the old one may need longer than one try
        server.start()


# --- the table


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of fault: how often it is drawn, how many seconds it lasts, and what it does."""

    weight: int
    lasts_s: tuple[float, float]
    strike: Strike


PROCESS_FAULTS: dict[str, Row] = {
    "kill_worker": Row(5, (0, 3), kill("worker1", "worker2")),
    "kill_child": Row(3, (0, 0), kill_child),
    "kill_poll": Row(3, (0, 4), kill("poll")),
    "kill_web": Row(2, (0, 2), kill("web")),
    "kill_beat": Row(1, (0, 5), kill("beat1", "beat2")),
    "freeze_worker": Row(4, (3, 14), freeze("worker1", "worker2")),
    "freeze_poll": Row(3, (3, 14), freeze("poll")),
    "freeze_web": Row(1, (2, 5), freeze("web")),
}

LINE_FAULTS: dict[str, Row] = {
    "database_cut": Row(3, (0, 0), database(cut)),
    "database_clogged": Row(2, (2, 6), database(clog)),
    "database_slow": Row(1, (3, 6), database(slow)),
    "database_answer_halved": Row(5, (2, 4), database(halve)),
    "postgres_restart": Row(1, (0, 1), restart_postgres(signal.SIGINT)),
    "postgres_crash": Row(2, (0, 1), restart_postgres(signal.SIGQUIT)),
    "broker_cut": Row(1, (0, 0), broker(cut)),
    "broker_clogged": Row(2, (3, 8), broker(clog)),
    "broker_slow": Row(1, (3, 6), broker(slow)),
    "broker_answer_halved": Row(1, (2, 4), broker(halve)),
    "valkey_flushed": Row(2, (0, 0), flush),
    "valkey_killed": Row(2, (0, 6), kill_valkey),
    "request_lost": Row(2, (3, 6), provider(armed(Http.DROP_BEFORE_FORWARD))),
    "answer_lost": Row(3, (3, 6), provider(armed(Http.DROP_AFTER_FORWARD))),
    "answer_hangs": Row(2, (3, 6), provider(armed(Http.HANG_AFTER_FORWARD))),
    "answer_halved": Row(2, (3, 6), provider(armed(Line(limit_bytes=70, end=End.RESET)))),
    "answer_is_502": Row(2, (3, 6), provider(armed(Fault(Http.STATUS_AFTER_FORWARD, status=502)))),
    "answer_is_a_page": Row(1, (3, 6), provider(armed(Http.INJECT_HTML))),
    "answer_late": Row(1, (3, 6), provider(armed(Line(latency_s=2)))),
    "provider_silent": Row(2, (3, 6), provider(armed(Hole.NEVER_ANSWER))),
    "provider_cut": Row(1, (0, 0), provider(cut)),
    "brown_out": Row(2, (3, 8), brown_out),
}


# --- the plan


@dataclass(frozen=True, slots=True)
class Blow:
    """One planned fault: seconds from the beginning, its name, how long it lasts, and the dice of its details."""

    at_s: float
    name: str
    lasts_s: float
    dice: str


def draw_plan(seed: int, for_s: float, table: dict[str, Row], hand: str) -> list[Blow]:
    """What one hand does in so many seconds, by the seed alone: the whole table, shuffled, before any comes again."""
    dice = random.Random(f"{seed}:{hand}")
    blows: list[Blow] = []
    heap: list[str] = []
    at_s = dice.uniform(*CALM_S)
    while at_s < for_s:
        heap = heap or _shuffled(dice, table)
        name = heap.pop()
        lasts_s = dice.uniform(*table[name].lasts_s)
        blows.append(Blow(at_s, name, lasts_s, f"{seed}:{hand}:{len(blows)}"))
        at_s += lasts_s + dice.uniform(*CALM_S)
    return blows


def _shuffled(dice: random.Random, table: dict[str, Row]) -> list[str]:
    """Every name as often as its weight says, in an order in which heavy ones tend to come early and late."""
    heap = [name for name, row in table.items() for _ in range(row.weight)]
    dice.shuffle(heap)
    return heap


@dataclass(slots=True)
class Toll:
    """How often a fault was done, how often it met something, and what could not be done."""

    done: int = 0
    hit: int = 0
    failed: list[str] = field(default_factory=list)


class Hand(threading.Thread):
    """Carries out one plan; whatever happens, what was done is mended."""

    def __init__(self, scene: Scene, blows: Sequence[Blow], table: dict[str, Row], tell: Callable[[str], None]) -> None:
        super().__init__(daemon=True)
        self.tolls: dict[str, Toll] = {}
        self._scene, self._blows, self._table, self._tell = scene, blows, table, tell
        self._over = threading.Event()
        self._began = time.monotonic()

    def run(self) -> None:
        """Every blow at its time; one that comes late because the one before took long is done at once."""
        self._began = time.monotonic()
        for blow in self._blows:
            if self._over.wait(max(blow.at_s - (time.monotonic() - self._began), 0)):
                return
            self._strike(blow)

    def stop(self) -> None:
        """No further blow; returns when the last one is mended."""
        self._over.set()
        if self.ident is not None:
            self.join(120)

    def _strike(self, blow: Blow) -> None:
        toll = self.tolls.setdefault(blow.name, Toll())
        toll.done += 1
        try:
            heal = self._table[blow.name].strike(self._scene, random.Random(blow.dice))
            self._over.wait(blow.lasts_s)
            hit = heal()
        except Exception as error:  # a fault that cannot be done is told at the end; the others go on
            toll.failed.append(f"{type(error).__name__}: {error}")
            self._tell(f"{blow.name} failed: {toll.failed[-1]}")
            return
        toll.hit += hit > 0
        self._tell(f"{time.monotonic() - self._began:6.1f} s  {blow.name} for {blow.lasts_s:.1f} s, met {hit}")
