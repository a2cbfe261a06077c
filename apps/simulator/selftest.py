"""The self-test: each fault once against each dialect that can have it, over raw sockets.

Every answer is compared with what the provider's document says, by the dialect's probe, and with the truth ledger.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import queue
import socket
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from apps.simulator.client import ControlClient, SimulatorProcess
from apps.simulator.dialect import Dialect
from apps.simulator.dialects import DIALECTS
from apps.simulator.fates import Mangle
from apps.simulator.ledger import purchase_rows
from apps.simulator.probe import Probe, Told
from apps.simulator.probes import PROBES
from apps.simulator.rawline import Ended, Seen, exchange
from apps.simulator.world import State

PATIENCE_S = 10.0
SHORT_S = 0.4
LATER_S = 600.0
AFTER_S = LATER_S + 1
QUIET = (Ended.SILENCE, Ended.SLOW)


class Mismatch(Exception):
    """What was seen is not what the document or the truth ledger says."""


def check(is_right: bool, what: str, found: object) -> None:
    if not is_right:
        raise Mismatch(f"{what}; found {found!r}")


_numbers = itertools.count(1)


class Bench:
    """One dialect of a running simulator, asked as a client would and watched through the control API."""

    def __init__(self, control: ControlClient, dialect: Dialect, probe: Probe) -> None:
        self.control = control
        self.dialect = dialect
        self.probe = probe
        if probe.prepare:
            probe.keep(self.send(probe.prepare()).body)

    def send(self, request: bytes, patience_s: float = PATIENCE_S) -> Seen:
        return exchange(self.control.port, request, patience_s)

    def order(self, quantity: int = 1, **fate: Any) -> Buyer:
        """A new reference and recipient whose purchases have this fate."""
        number = next(_numbers)
        reference = f"{number:08x}-0000-4000-8000-000000000000" if self.probe.wants_uuid else f"{10**11 + number}"
        buyer = Buyer(self, reference, self.probe.recipient(number), quantity)
        self.control.set_fate(recipient=buyer.recipient, **fate)
        return buyer

    def word(self, state: State) -> str:
        return self.dialect.words.states[state]


@dataclass
class Buyer:
    """One order as its client knows it, beside what the truth ledger says of it."""

    bench: Bench
    reference: str
    recipient: str
    quantity: int

    def place(self, patience_s: float = PATIENCE_S) -> Seen:
        return self.bench.send(self.bench.probe.place(self.reference, self.recipient, self.quantity), patience_s)

    def ask_line(self, patience_s: float = PATIENCE_S) -> Seen:
        """Ask about it, after the gap that this provider wants."""
        if self.bench.probe.gap_s:
            self.bench.control.advance(self.bench.probe.gap_s)
        return self.bench.send(self.bench.probe.ask(self.reference, self.order_id), patience_s)

    def ask(self) -> Told:
        seen = self.ask_line()
        check(seen.ended is Ended.WHOLE, "a whole answer", seen)
        return self.bench.probe.read(seen.body)

    def truth(self) -> list[dict[str, Any]]:
        """Its purchases in the truth ledger, the oldest first."""
        rows = purchase_rows(self.bench.control.truth())
        return [row for row in rows if (row["dialect"], row["recipient"]) == (self.bench.dialect.name, self.recipient)]

    @property
    def order_id(self) -> str:
        rows = self.truth()
        return str(rows[-1]["order_id"]) if rows else "0"


# What a client can see of one exchange


Sight = Callable[[Seen, Probe], bool]


def _status(number: int) -> Sight:
    return lambda seen, probe: seen.ended is Ended.WHOLE and seen.status == number


def _ended(*ends: Ended) -> Sight:
    return lambda seen, probe: seen.ended in ends


SIGHTS: dict[str, Sight] = {
    "accepted": lambda seen, probe: seen.ended is Ended.WHOLE and probe.is_accepted(seen.body),
    "refused": lambda seen, probe: seen.ended is Ended.WHOLE and probe.is_refused(seen.body),
    "neither": lambda seen, probe: (
        seen.ended is Ended.WHOLE and not probe.is_accepted(seen.body) and not probe.is_refused(seen.body)
    ),
    "quiet": _ended(*QUIET),
    "reset": _ended(Ended.RESET),
    "cut": _ended(Ended.CUT),
    "flood": _ended(Ended.FLOOD),
    "no connection": _ended(Ended.REFUSED),
    "empty": lambda seen, probe: (seen.ended, seen.status, seen.body) == (Ended.WHOLE, 200, b""),
    "html": lambda seen, probe: seen.status == 200 and seen.body.startswith(b"<!DOCTYPE html>"),
    "redirect": lambda seen, probe: seen.status == 302 and "location" in seen.headers,
    **{str(number): _status(number) for number in (429, 500, 502, 503, 504)},
}

MANGLED: dict[Mangle, Callable[[bytes], bool]] = {
    Mangle.TRUNCATED: lambda body: True,
    Mangle.BOM: lambda body: body.startswith(b"\xef\xbb\xbf"),
    Mangle.NUL: lambda body: b"\0" in body,
    Mangle.WRONG_CHARSET: lambda body: b"\0" in body,
    Mangle.DUPLICATE_KEY: lambda body: not body.startswith(b"{") or b":null," in body,
    Mangle.NUMBER_AS_TEXT: lambda body: True,
}


# The faults that are a fate, a sight of the placing call, a count of purchases, and what questions then find


@dataclass(frozen=True, slots=True)
class Then:
    """One question after placing: after some seconds, a state or a sight of the line; which PINs must be shown."""

    state: str = ""
    sees: str = ""
    after_s: float = 0.0
    pins: str = "given"


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which a fault comes about."""

    fault: str
    fate: Mapping[str, Any]
    sees: str = "accepted"
    buys: int = 1
    then: tuple[Then, ...] = (Then("delivered"),)
    quantity: int = 1
    flips: tuple[State, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.fault} {json.dumps(dict(self.fate), ensure_ascii=True)[:120]}"


NOTHING = (Then("not_found"),)


def _lost(fault: str, place: str, sees: str, **fate: Any) -> Case:
    """Bought, and the client does not learn it from the answer."""
    return Case(fault, {"place": place, **fate}, sees)


def _before(fault: str, place: str, sees: str, **fate: Any) -> Case:
    """Not bought, and the client cannot know it from the answer."""
    return Case(fault, {"place": place, **fate}, sees, 0, NOTHING)


def _asked(fault: str, status_fault: str, sees: str) -> Case:
    """A status question that fails, and the next one that does not."""
    return Case(fault, {"status_faults": [status_fault]}, then=(Then(sees=sees), Then("delivered")))


CASES: tuple[Case, ...] = (
    _before("P2", "hang_before", "quiet"),
    _before("P2", "reset_before", "reset"),
    _lost("P3", "accept_then_hang", "quiet"),
    Case("P3", {"answer_delay_s": 30}, "quiet"),
    _asked("P3", "hang", "quiet"),
    *(_lost("P4", "accept_then_500", str(number), error_status=number) for number in (500, 502, 503, 504)),
    _before("P4", "error_500_before", "503", error_status=503),
    _asked("P4", "500", "500"),
    _before("P6", "rate_limited", "429"),
    _lost("P6", "accept_then_rate_limited", "429"),
    _asked("P6", "rate_limited", "429"),
    _before("P7", "refuse", "refused", refuse_class="balance"),
    _before("P7", "refuse", "refused", refuse_class="product"),
    _before("P7", "unlisted_text", "neither"),
    _before("P7", "code_8", "neither"),
    _lost("P7", "accept_then_code_8", "neither"),
    _lost("P8", "accept_then_html", "html"),
    _lost("P8", "accept_then_empty", "empty"),
    _before("P8", "html_before", "html"),
    _before("P8", "empty_before", "empty"),
    _asked("P8", "html", "html"),
    _asked("P8", "empty", "empty"),
    _before("P9", "redirect", "redirect"),
    _lost("P10", "accept_then_flood", "flood"),
    _lost("P10", "accept_then_drip", "quiet"),
    _asked("P10", "flood", "flood"),
    _lost("P13", "accept_then_cut", "cut"),
    _lost("P13", "accept_then_headers", "cut"),
    _lost("P13", "accept_then_reset", "reset"),
    _asked("P13", "cut", "cut"),
    _asked("P13", "reset", "reset"),
    Case("P15", {"visible_after_s": LATER_S}, then=(*NOTHING, Then("delivered", after_s=AFTER_S))),
    Case("P16", {"visible_until_s": LATER_S}, then=(Then("delivered"), Then("not_found", after_s=AFTER_S))),
    Case("P17", {"executions": 2}, buys=2),
    Case("P21", {"status_lag_s": LATER_S}, then=(Then("waiting"), Then("delivered", after_s=AFTER_S))),
    Case(
        "V1",
        {},
        flips=(State.DELIVERED, State.WAITING),
        then=(Then("delivered"), Then("waiting", pins="any"), Then("delivered")),
    ),
    Case("V2", {"status_faults": ["unknown_word"]}, then=(Then("unknown", pins="any"), Then("delivered"))),
    *(
        Case("V3", {"pin_blank_form": form}, then=(Then("delivered", pins="none"),))
        for form in ("space", "dash", "spaced_dash", "empty")
    ),
    Case(
        "V3",
        {"pin_blank_form": "dash", "pin_late_s": LATER_S},
        then=(Then("delivered", pins="none"), Then("delivered", after_s=AFTER_S)),
    ),
    Case(
        "V4",
        {"pin_while_waiting": True, "complete_after_s": LATER_S, "pin": "EARLY"},
        then=(Then("waiting", pins="EARLY"), Then("delivered", after_s=AFTER_S)),
    ),
    Case(
        "V5",
        {"pin": "ONE", "second_pin": "TWO", "second_pin_after_s": LATER_S},
        then=(Then("delivered"), Then("delivered", after_s=AFTER_S)),
    ),
    Case("V6", {"final": "partial", "delivered": "3"}, then=(Then("partial"),), quantity=5),
    Case(
        "V7",
        {"final": "cancelled", "flip_to_delivered_after_s": LATER_S},
        then=(Then("cancelled", pins="any"), Then("delivered", after_s=AFTER_S)),
    ),
    Case(
        "V8",
        {"reverse_after_s": LATER_S},
        then=(Then("delivered"), Then("reversed", after_s=AFTER_S, pins="any")),
    ),
    Case("V9", {"final": "cancelled", "pin_when_cancelled": True}, then=(Then("cancelled"),)),
    *(Case("V11", {"pin": pin}) for pin in ("0|07;%+&=", "000123", "رمز-ضغط", "ığüş", "9" * 4096)),
)


def run_case(case: Case, bench: Bench) -> None:
    buyer = bench.order(case.quantity, status_flip=[bench.word(state) for state in case.flips], **case.fate)
    seen = buyer.place(SHORT_S if case.sees == "quiet" else PATIENCE_S)
    check(SIGHTS[case.sees](seen, bench.probe), f"placing is seen as {case.sees}", _short(seen))
    bought = buyer.truth()
    check(len(bought) == case.buys, f"{case.buys} purchases in the truth ledger", bought)
    for then in case.then:
        _follow(then, buyer)
    _check_money(buyer)


def _follow(then: Then, buyer: Buyer) -> None:
    bench = buyer.bench
    if then.state == "not_found" and bench.probe.asks_may_buy:
        return
    if then.after_s:
        bench.control.advance(then.after_s)
    if then.sees:
        seen = buyer.ask_line(SHORT_S if then.sees == "quiet" else PATIENCE_S)
        check(SIGHTS[then.sees](seen, bench.probe), f"the question is seen as {then.sees}", _short(seen))
        return
    told = buyer.ask()
    check(told.state == bench.probe.reads_as.get(then.state, then.state), f"the order is {then.state}", told)
    if bench.probe.gives_codes and then.pins != "any":
        wanted = _wanted_pins(then, buyer)
        check(told.pins == wanted, f"the PINs are {wanted!r}", told)


def _wanted_pins(then: Then, buyer: Buyer) -> tuple[str, ...]:
    if then.pins not in ("given", "none"):
        return (then.pins,)
    is_shown = then.pins == "given" and then.state in ("delivered", "partial", "cancelled")
    return buyer.bench.probe.shown(buyer.truth()[-1]["pins"]) if is_shown else ()


def _check_money(buyer: Buyer) -> None:
    """What the ledger says is charged follows from the state in which it says the purchase is."""
    for row in buyer.truth():
        cost, charged = Decimal(row["cost"]), Decimal(row["charged"])
        share = {"cancelled": Decimal(0), "reversed": Decimal(0), "partial": Decimal(3) / Decimal(5)}
        check(charged == cost * share.get(row["state"], Decimal(1)), "the charge follows the state", row)


def _short(seen: Seen) -> tuple[object, ...]:
    return seen.ended, seen.status, seen.body[:200]


# The faults that need more than a fate


def connection_refused(bench: Bench) -> None:
    buyer = bench.order()
    bench.control.switch(down="refuse")
    check(buyer.place().ended is Ended.REFUSED, "no connection", None)
    bench.control.switch(down=None)
    check(buyer.truth() == [], "nothing bought", buyer.truth())
    check(SIGHTS["accepted"](buyer.place(), bench.probe), "accepted when it is up again", None)


def replayed_on_the_way(bench: Bench) -> None:
    """The same request twice: one purchase where the provider knows our reference, two where it has none."""
    buyer = bench.order(replays=1)
    buyer.place()
    wanted = 1 if bench.probe.has_reference else 2
    check(len(buyer.truth()) == wanted, f"{wanted} purchases", buyer.truth())


def same_reference_again(bench: Bench) -> None:
    buyer = bench.order()
    first = buyer.place()
    check(SIGHTS["accepted"](first, bench.probe), "accepted", _short(first))
    if bench.probe.gap_s:
        bench.control.advance(bench.probe.gap_s)
    again = buyer.place()
    check(again.ended is Ended.WHOLE, "an answer to the repeat", _short(again))
    check(len(buyer.truth()) == 1, "one purchase", buyer.truth())
    entries = [entry for entry in bench.control.truth() if entry.get("reference") == buyer.reference]
    check("repeat" in [entry["event"] for entry in entries], "a repeat in the ledger", entries)


def mangled(bench: Bench) -> None:
    for mangle in Mangle:
        buyer = bench.order(place_mangle=mangle, status_mangle=mangle)
        seen = (buyer.place(), buyer.ask_line())
        check(len(buyer.truth()) == 1, "one purchase", buyer.truth())
        for each in seen:
            check(each.ended is Ended.WHOLE and MANGLED[mangle](each.body), f"bytes spoilt: {mangle}", each.body[:200])


def about_another_order(bench: Bench) -> None:
    """The answer about an order is, byte for byte, the one about another."""
    buyer = bench.order(status_faults=["other_order"])
    buyer.place()
    other = bench.order(pin="NOT-YOURS")
    other.place()
    wrong, right = buyer.ask_line(), other.ask_line()
    check(wrong.body == right.body, "the other order's answer", (wrong.body, right.body))
    mixed = bench.order(place="accept_then_other_order")
    mixed.place()
    check(len(mixed.truth()) == 1, "one purchase", mixed.truth())


def wrong_clock(bench: Bench) -> None:
    buyer = bench.order()
    buyer.place()
    answers = []
    for skew in (0, 86400, -86400):
        bench.control.switch(clock_skew_s=skew)
        answers.append(buyer.ask_line().body)
    check(len(set(answers)) == 3, "three different times", answers)


def brown_out(bench: Bench) -> None:
    buyer = bench.order()
    buyer.place()
    bench.control.switch(down="html")
    check(buyer.ask_line().status == 503, "503 while it is down", None)
    bench.control.switch(down="empty")
    check(buyer.ask_line().body == b"", "nothing while it is down", None)
    bench.control.switch(down=None)
    check(buyer.ask().state == "delivered", "the truth when it is up again", None)


def dead_for_hours(bench: Bench) -> None:
    buyers = [bench.order() for _ in range(5)]
    for buyer in buyers:
        buyer.place()
    bench.control.switch(down="hang")
    check(buyers[0].ask_line(SHORT_S).ended is Ended.SILENCE, "silence", None)
    bench.control.advance(6 * 3600)
    bench.control.switch(down=None)
    check([buyer.ask().state for buyer in buyers] == ["delivered"] * 5, "all five delivered", None)


def odd_batches(bench: Bench) -> None:
    probe = bench.probe
    if probe.ask_many is None or probe.read_many is None:
        raise Mismatch("the probe cannot ask about several orders")
    buyers = [bench.order() for _ in range(4)]
    for buyer in buyers:
        buyer.place()
    *asked, last, extra = [buyer.reference if probe.has_reference else buyer.order_id for buyer in buyers]
    pairs = [(buyer.reference, buyer.order_id) for buyer in buyers[:3]]
    wanted = {
        "whole": [*asked, last],
        "shuffled": [last, *asked[::-1]],
        "missing": asked,
        "extra": [*asked, last, extra],
    }
    for batch, names in wanted.items():
        bench.control.switch(batch=batch)
        told = probe.read_many(bench.send(probe.ask_many(pairs)).body)
        check(told == names, f"a batch that is {batch}", told)


def another_cost(bench: Bench) -> None:
    buyer = bench.order(cost="7")
    buyer.place()
    entries = [entry for entry in bench.control.truth() if entry["event"] == "bought"]
    check(Decimal(entries[-1]["cost"]) == 7, "the cost of its fate", entries[-1])
    check(Decimal(buyer.truth()[-1]["charged"]) == 7, "charged as it cost", buyer.truth())


# Webhooks


@dataclass
class Received:
    headers: dict[str, str]
    body: bytes


@contextlib.contextmanager
def receiver() -> Iterator[tuple[str, queue.Queue[Received]]]:
    """A server of one page on a raw socket: its address, and what it was sent."""
    letters: queue.Queue[Received] = queue.Queue()
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_receive, args=(listening, letters), daemon=True).start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/hooks/in", letters


def _receive(listening: socket.socket, letters: queue.Queue[Received]) -> None:
    with contextlib.suppress(OSError):
        while True:
            line, _ = listening.accept()
            with line:
                letters.put(_read_letter(line))
                line.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


def _read_letter(line: socket.socket) -> Received:
    raw = b""
    while b"\r\n\r\n" not in raw:
        raw += line.recv(65536)
    head, _, body = raw.partition(b"\r\n\r\n")
    pairs = (each.partition(":") for each in head.decode("latin-1").split("\r\n")[1:])
    headers = {name.lower(): value.strip() for name, _, value in pairs}
    while len(body) < int(headers["content-length"]):
        body += line.recv(65536)
    return Received(headers, body)


def webhooks(bench: Bench) -> None:
    """Late, doubled, out of order and forged, each with its signature checked by the document's rule."""
    is_signed = bench.probe.is_signed
    if is_signed is None:
        raise Mismatch("the probe cannot check a signature")
    secret = bench.dialect.secrets["webhook"]
    with receiver() as (url, letters):
        straight = _letters(bench, letters, 2, hook_url=url)
        doubled = _letters(bench, letters, 4, hook_times=2)
        turned = _letters(bench, letters, 2, hook_times=1, hook_out_of_order=True)
        forged = _letters(bench, letters, 2, hook_out_of_order=False, hook_forged=True)
        bench.control.switch(hook_forged=False, hook_late_s=LATER_S)
        bench.order().place()
        early = letters.empty()
        bench.control.advance(AFTER_S)
        late = [letters.get(timeout=PATIENCE_S) for _ in range(2)]
        bench.control.switch(hook_url=None, hook_late_s=0)
    check(early, "nothing before its time", None)
    for each in (*straight, *doubled, *turned, *late):
        check(is_signed(each.headers, each.body, "/hooks/in", secret), "signed as documented", each)
    for each in forged:
        check(not is_signed(each.headers, each.body, "/hooks/in", secret), "a signature that is wrong", each)
    check(len({each.body for each in straight}) == 2, "waiting, then delivered", straight)
    check(doubled[0].body == doubled[1].body, "the same letter twice", doubled)
    told = [hook["state"] for hook in bench.control.truth() if hook["event"] == "hook"]
    check(told[6:8] == ["delivered", "waiting"], "the news before the older news", told)


def _letters(bench: Bench, letters: queue.Queue[Received], count: int, **switches: Any) -> list[Received]:
    bench.control.switch(**switches)
    bench.order().place()
    return [letters.get(timeout=PATIENCE_S) for _ in range(count)]


@dataclass(frozen=True, slots=True)
class Run:
    fault: str
    name: str
    do: Callable[[Bench], None]


def _runs() -> tuple[Run, ...]:
    special: tuple[tuple[str, Callable[[Bench], None]], ...] = (
        ("P1", connection_refused),
        ("P4", replayed_on_the_way),
        ("P5", same_reference_again),
        ("P11", mangled),
        ("P12", about_another_order),
        ("P18", wrong_clock),
        ("P19", brown_out),
        ("P20", dead_for_hours),
        ("P22", odd_batches),
        ("V10", another_cost),
        ("X5", webhooks),
    )
    cases = (Run(case.fault, case.name, partial(run_case, case)) for case in CASES)
    return (*cases, *(Run(fault, do.__name__, do) for fault, do in special))


RUNS = _runs()
NOWHERE = {"P14": "the simulator speaks plain HTTP; certificates are for the transport's own tests"}
"""A fault of PROOF that no dialect can have here, and why."""


@dataclass
class Verdict:
    dialects: list[str] = field(default_factory=list)
    faults: set[str] = field(default_factory=set)
    runs: int = 0
    failures: list[str] = field(default_factory=list)

    def as_json(self) -> str:
        counts = {"faults": len(self.faults), "runs": self.runs, "failed": len(self.failures)}
        return json.dumps({"dialects": self.dialects, **counts}, separators=(",", ":"))


def cannot(dialect: Dialect) -> Mapping[str, str]:
    """The faults that a dialect cannot have, each with its reason."""
    return {**NOWHERE, **dialect.cannot, **({} if dialect.hook else {"X5": "it sends no webhooks"})}


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
        bench = Bench(control, dialect, PROBES[dialect.name])
        for run in RUNS:
            if run.fault in cannot(dialect):
                continue
            verdict.runs += 1
            verdict.faults.add(run.fault)
            try:
                run.do(bench)
            except Exception as error:
                yield f"{dialect.name}: {run.name}: {type(error).__name__}: {error}"
            control.switch(**defaults)


def main(as_json: bool) -> int:
    """Print each failure, what each dialect cannot have, and last the verdict; returns the exit code."""
    verdict = run_all(lambda failure: _say(f"FAILED {failure}"))
    if not as_json:
        for name in verdict.dialects:
            for fault, reason in cannot(DIALECTS[name]).items():
                _say(f"{name} cannot have {fault}: {reason}")
    _say(verdict.as_json())
    return 1 if verdict.failures else 0


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
