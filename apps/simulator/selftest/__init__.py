"""The self-test: each fault once against each dialect that can have it, over raw sockets.

Every answer is compared with what the provider's document says, by the dialect's probe, and with the truth ledger.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

from apps.simulator.client import SimulatorProcess
from apps.simulator.dialect import Dialect
from apps.simulator.dialects import DIALECTS
from apps.simulator.knobs import cannot
from apps.simulator.ledger import Tail
from apps.simulator.probes import PROBES
from apps.simulator.selftest import letters, scenes
from apps.simulator.selftest.buyers import Shop
from apps.simulator.selftest.cases import CASES, run_case


@dataclass(frozen=True, slots=True)
class Run:
    fault: str
    name: str
    do: Callable[[Shop], None]


def _runs() -> tuple[Run, ...]:
    special: tuple[tuple[str, Callable[[Shop], None]], ...] = (
        ("P1", scenes.connection_refused),
        ("P4", scenes.replayed_on_the_way),
        ("P5", scenes.same_reference_again),
        ("P11", scenes.mangled),
        ("P12", scenes.about_another_order),
        ("P18", scenes.wrong_clock),
        ("P19", scenes.brown_out),
        ("P20", scenes.dead_for_hours),
        ("P22", scenes.odd_batches),
        ("V10", scenes.another_cost),
        ("X5", letters.webhooks),
    )
    cases = (Run(case.fault, case.name, partial(run_case, case)) for case in CASES)
    return (*cases, *(Run(fault, do.__name__, do) for fault, do in special))


RUNS = _runs()


@dataclass
class Verdict:
    dialects: list[str] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    runs: int = 0
    failures: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        counts = {"faults": len(self.faults), "runs": self.runs, "failed": len(self.failures)}
        return json.dumps({"dialects": self.dialects, **counts}, separators=(",", ":"))


def run_all(tell: Callable[[str], None]) -> Verdict:
    """Run every fault against every registered dialect on a simulator of its own; `tell` gets a line per failure."""
    verdict = Verdict()
    with (
        tempfile.TemporaryDirectory(prefix="simulator-selftest-") as folder,
        SimulatorProcess(Path(folder) / "truth.jsonl") as process,
    ):
        for name, dialect in DIALECTS.items():
            verdict.dialects.append(name)
            for failure in _run_dialect(process, dialect, verdict):
                verdict.failures.append(failure)
                tell(failure)
    return verdict


def _run_dialect(process: SimulatorProcess, dialect: Dialect, verdict: Verdict) -> Iterator[str]:
    if dialect.name not in PROBES:
        yield f"{dialect.name}: no probe"
        return
    with contextlib.closing(process.of(dialect.name)) as control:
        defaults = control.call("GET", "switches")
        shop = Shop(control, Tail(process.truth_path), dialect, PROBES[dialect.name])
        for run in runs_of(dialect):
            verdict.runs += 1
            verdict.faults.add(run.fault)
            try:
                run.do(shop)
            except Exception as error:  # whatever breaks is this run's failure, and the others still run
                yield f"{dialect.name}: {run.name}: {type(error).__name__}: {error}"
            control.switch(**defaults)


def runs_of(dialect: Dialect) -> list[Run]:
    """The runs of all faults that a dialect can have."""
    impossible = cannot(dialect)
    return [run for run in RUNS if run.fault not in impossible]


def main(as_json: bool) -> int:
    """Print each failure, what each dialect cannot have, and last the verdict; returns the exit code."""
    verdict = run_all(lambda failure: _say(f"FAILED {failure}"))
    if not as_json:
        for name in verdict.dialects:
            for fault, reason in sorted(cannot(DIALECTS[name]).items()):
                _say(f"{name} cannot have {fault}: {reason}")
    _say(verdict.as_json())
    return 1 if verdict.failures else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
