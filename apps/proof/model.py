"""The protocol of one unit as a small machine, tried in every order of events: an explicit-state model checker.

Two senders, one asker, a person, the clock, the network and one provider move one at a time; any process may die, one
may sleep, requests get lost or arrive twice. Each guard of the real code can be switched off, to see what it prevents.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final, NamedTuple

EDGES: Final[dict[str, frozenset[str]]] = {
    "sending": frozenset({"accepted", "delivered", "refused", "not_sent", "in_doubt"}),
    "not_sent": frozenset({"prepared", "delivered"}),
    "prepared": frozenset({"sending"}),
    "in_doubt": frozenset({"accepted", "delivered", "failed", "refused", "absent", "abandoned", "sending"}),
    "accepted": frozenset({"delivered", "failed", "abandoned"}),
    "refused": frozenset({"delivered"}),
    "failed": frozenset({"delivered"}),
    "absent": frozenset({"delivered"}),
    "abandoned": frozenset({"delivered"}),
    "delivered": frozenset(),
}
"""I5: where an attempt may go. A part of the real table: one unit is never delivered in part, reversals are no race."""

FREEING: Final = frozenset({"refused", "not_sent", "absent", "failed", "abandoned"})

GUARDS: Final[dict[str, str]] = {
    "write_ahead": "the attempt is committed before the request leaves",
    "one_holder": "a unit is held by one attempt, by a unique index",
    "money_still_held": "an attempt is written only while the money of its unit is held",
    "check_before_first_byte": "a sender that slept too long or was overtaken does not write",
    "silence_is_doubt": "no answer means that nobody knows",
    "unlisted_is_doubt": "an answer that is no listed refusal means that nobody knows",
    "not_sent_needs_proof": "not sent is said only when no byte left",
    "earlier_sends_count": "a send that did not leave says nothing of the one before it",
    "duplicate_is_proof": "a duplicate error proves that the purchase exists",
    "absence_waits": "not found proves an absence only after the provider's time",
    "absence_of_this_send": "not found says nothing of a send that came after the question",
    "failure_read_twice": "a failure counts from the second reading that agrees",
    "resend_only_if_deduped": "only where the provider knows the reference again is it sent again",
    "resend_same_reference": "and under the same reference",
    "state_guard": "what has ended is not changed by old news",
    "capture_once": "a unit is captured once, by its status",
    "code_before_capture": "a product with codes is paid when its code is there",
    "code_with_state": "code, state and money are one transaction",
    "late_is_surplus": "a delivery after its unit was let go takes nothing back",
    "reject_needs_free_unit": "a person gives money back only for a unit that no attempt holds",
    "no_release_by_clock": "no time that passes gives money back",
}
"""Every guard that can be switched off, and what it says."""


class Attempt(NamedTuple):
    """Our row of one attempt, and behind it what the provider knows of its reference.

    `late`: send deadline and time-out are over. `old`: so is the provider's time for an absence. `wire`: requests on
    their way. `fate`: what the provider will say; `wobbly` reads as failed and may still end well. `may_have_left`: a
    send before the latest one was in doubt.
    """

    state: str
    holds: bool = True
    send_no: int = 1
    late: bool = False
    old: bool = False
    wire: int = 0
    bought: int = 0
    fate: str = ""
    has_code: bool = False
    failed_once: bool = False
    given_up: bool = False
    may_have_left: bool = False


class Process(NamedTuple):
    """A sender or the asker: where it stands, about which attempt and send, and the answer in its hands."""

    at: str = "idle"
    attempt: int = -1
    send_no: int = 0
    answer: str = ""


class World(NamedTuple):
    """Everything there is, at one moment."""

    kind: str
    attempts: tuple[Attempt, ...] = ()
    senders: tuple[Process, Process] = (Process(), Process())
    asker: Process = Process()
    money: str = "held"
    captures: int = 0
    releases: int = 0
    crashes: int = 0
    pauses: int = 0


Step = tuple[str, World, str]
"""What happened, the world after it, and the invariant that the step itself breaks ('' for none)."""

KINDS: Final = ("asks", "dedupes", "neither")
"""Providers: one that is asked by our reference, one that knows it again when it comes twice, one that does neither."""

IDLE = Process()


@dataclass(slots=True)
class Report:
    """What an exploration found: `broken` is '' when everything held, else `story` is a shortest way there."""

    states: int = 0
    broken: str = ""
    story: list[str] = field(default_factory=list)
    edges: set[tuple[str, str]] = field(default_factory=set)
    is_complete: bool = True


@dataclass(frozen=True, slots=True)
class Model:
    """The machine with some guards switched off, and how much may go wrong in one run."""

    off: frozenset[str] = frozenset()
    kinds: tuple[str, ...] = KINDS
    attempts: int = 2
    sends: int = 2
    crashes: int = 1
    pauses: int = 1
    edges: set[tuple[str, str]] = field(default_factory=set)

    def on(self, guard: str) -> bool:
        """Whether the guard is in place. Raises `KeyError` for one that does not exist."""
        return GUARDS[guard] != "" and guard not in self.off

    def explore(self, limit: int = 2_000_000) -> Report:
        """Every reachable world, breadth first, until one breaks an invariant or `limit` worlds were seen."""
        starts = [World(kind, crashes=self.crashes, pauses=self.pauses) for kind in self.kinds]
        came: dict[World, tuple[World | None, str]] = {
            world: (None, f"a provider that {world.kind}") for world in starts
        }
        queue = deque(starts)
        while queue:
            world = queue.popleft()
            for label, after, broken in self.steps(world):
                if after in came and not broken:
                    continue
                came.setdefault(after, (world, label))
                if breaks := broken or broken_in(after):
                    return Report(len(came), breaks, [*_story(came, world), label], self.edges)
                queue.append(after)
            if len(came) > limit:
                return Report(len(came), edges=self.edges, is_complete=False)
        return Report(len(came), edges=self.edges)

    def steps(self, world: World) -> Iterator[Step]:
        """All that may happen next."""
        for index in (0, 1):
            yield from self._sender(world, index)
        yield from self._asker(world)
        yield from self._person(world)
        for index in range(len(world.attempts)):
            yield from self._provider(world, index)
            yield from self._clock(world, index)

    # what a sender does: choose, commit (step 10), check, write (step 11), settle (steps 12 to 15)

    def _sender(self, world: World, index: int) -> Iterator[Step]:
        me, name = world.senders[index], f"sender {index + 1}"
        if me.at == "idle":
            yield from self._begin(world, index, name)
            return
        if world.crashes:
            yield f"{name} dies", _sender_at(world._replace(crashes=world.crashes - 1), index, IDLE), ""
        if me.at == "chosen":
            yield from self._commit(world, index, name)
            return
        attempt = world.attempts[me.attempt]
        if me.at == "ready":
            is_mine = attempt.state == "sending" and attempt.send_no == me.send_no and not attempt.late
            if is_mine or not self.on("check_before_first_byte"):
                yield f"{name} may write", _sender_at(world, index, me._replace(at="armed")), ""
            else:
                yield self._settle(world, index, "not_sent", f"{name} wakes up and does not write")
        elif me.at == "armed":
            forbidden = attempt.late or attempt.state == "absent" or attempt.send_no != me.send_no
            for copies in (1, 2) if world.kind == "dedupes" else (1,):
                sent = _attempt_at(world, me.attempt, attempt._replace(wire=attempt.wire + copies))
                after = _sender_at(sent, index, me._replace(at="waiting"))
                yield f"{name} writes the request", after, "I4" if forbidden else ""
            yield self._settle(world, index, "not_sent", f"{name} cannot connect")
        elif me.at == "waiting":
            for answer in _answers(attempt):
                yield f"{name} reads: {answer}", _sender_at(world, index, me._replace(at="told", answer=answer)), ""
        else:
            yield self._settle(world, index, me.answer, f"{name} settles: {me.answer}")
            if not self.on("code_with_state") and world.crashes and me.answer == "done":
                half = self._settle(world, index, "done", f"{name} dies between state and code", with_code=False)
                yield half[0], half[1]._replace(crashes=world.crashes - 1), half[2]

    def _begin(self, world: World, index: int, name: str) -> Iterator[Step]:
        is_free = world.money == "held" and not any(attempt.holds for attempt in world.attempts)
        if is_free and len(world.attempts) < self.attempts:
            yield f"{name} sees a free unit", _sender_at(world, index, Process("chosen")), ""
        for number, attempt in enumerate(world.attempts):
            may_resend = world.kind == "dedupes" or not self.on("resend_only_if_deduped")
            if attempt.state == "not_sent" and is_free and attempt.send_no < self.sends:
                again, broken = self._move(attempt, "prepared")
                again, worse = self._move(again, "sending")
                yield self._send_again(world, index, number, again, f"{name} sends what never left", broken or worse)
            elif attempt.state == "in_doubt" and attempt.late and may_resend and attempt.send_no < self.sends:
                if self.on("resend_same_reference"):
                    again, broken = self._move(attempt, "sending")
                    yield self._send_again(world, index, number, again, f"{name} sends the same again", broken)
                elif len(world.attempts) < self.attempts:
                    more = world._replace(attempts=(*world.attempts, Attempt("sending", holds=False)))
                    ready = Process("ready", len(world.attempts), 1)
                    yield f"{name} sends under another reference", _sender_at(more, index, ready), ""

    def _send_again(self, world: World, index: int, number: int, attempt: Attempt, label: str, broken: str) -> Step:
        was_in_doubt = world.attempts[number].state == "in_doubt"
        again = attempt._replace(holds=True, send_no=attempt.send_no + 1, late=False, old=False)
        again = again._replace(may_have_left=attempt.may_have_left or was_in_doubt)
        return (
            label,
            _sender_at(_attempt_at(world, number, again), index, Process("ready", number, again.send_no)),
            broken,
        )

    def _commit(self, world: World, index: int, name: str) -> Iterator[Step]:
        is_taken = self.on("one_holder") and any(attempt.holds for attempt in world.attempts)
        is_over = self.on("money_still_held") and world.money != "held"
        if is_taken or is_over or len(world.attempts) >= self.attempts:
            yield f"{name} was overtaken", _sender_at(world, index, IDLE), ""
            return
        is_written = self.on("write_ahead")
        new = Attempt("sending") if is_written else Attempt("unwritten", holds=False)
        place = Process("ready" if is_written else "armed", len(world.attempts), 1)
        yield (
            f"{name} commits an attempt",
            _sender_at(world._replace(attempts=(*world.attempts, new)), index, place),
            "",
        )

    def _settle(self, world: World, index: int, answer: str, label: str, *, with_code: bool = True) -> Step:
        me = world.senders[index]
        after, broken = self._hear_place(_sender_at(world, index, IDLE), me, answer, with_code=with_code)
        return label, after, broken

    def _hear_place(self, world: World, me: Process, answer: str, *, with_code: bool) -> tuple[World, str]:
        """The answer to the purchase; one of an earlier send is news only when it says that something exists."""
        attempt = world.attempts[me.attempt]
        if attempt.state == "unwritten":
            attempt = attempt._replace(state="sending", holds=True)
            world = _attempt_at(world, me.attempt, attempt)
        if attempt.state not in ("sending", "in_doubt") or attempt.send_no != me.send_no:
            return self._hear(world, me, answer) if answer in ("open", "done") else (world, "")
        became = {
            "refused": "refused",
            "not_sent": "not_sent" if attempt.state == "sending" else "absent",
            "open": "accepted",
            "done": "delivered",
            "silence": "in_doubt" if self.on("silence_is_doubt") else "refused",
            "error": "in_doubt" if self.on("unlisted_is_doubt") else "refused",
            "duplicate": "in_doubt" if self.on("duplicate_is_proof") else "refused",
        }[answer]
        if answer == "silence" and not self.on("not_sent_needs_proof"):
            became = "not_sent" if attempt.state == "sending" else "absent"
        if answer == "not_sent" and attempt.may_have_left and self.on("earlier_sends_count"):
            became = "in_doubt"
        moved, broken = self._move(attempt, became)
        return self._fold(_attempt_at(world, me.attempt, moved), me.attempt, answer, with_code=with_code), broken

    # what the asker does: read what the provider says now, and apply it whenever it gets to it

    def _asker(self, world: World) -> Iterator[Step]:
        me = world.asker
        if me.at == "told":
            after, broken = self._hear(world._replace(asker=IDLE), me, me.answer)
            yield f"the asker applies: {me.answer}", after, broken
            if world.crashes:
                yield "the asker dies", world._replace(asker=IDLE, crashes=world.crashes - 1), ""
            return
        for number, attempt in enumerate(world.attempts):
            if attempt.state in ("unwritten", "prepared") or (attempt.state == "sending" and not attempt.late):
                continue
            for answer in self._readings(world.kind, attempt):
                asker = Process("told", number, attempt.send_no, answer)
                yield f"the asker reads of attempt {number + 1}: {answer}", world._replace(asker=asker), ""

    def _readings(self, kind: str, attempt: Attempt) -> Iterator[str]:
        """What the provider may say: the truth, something older, or that it does not know it yet."""
        if attempt.state == "sending":
            yield "no information"
        if kind != "asks" and attempt.state in ("sending", "in_doubt"):
            return
        if not attempt.bought or (attempt.fate == "open" and not attempt.old):
            yield "absent for long" if attempt.old and not attempt.bought else "absent"
        if attempt.bought:
            yield {"open": "open", "wobbly": "failed early", "failed": "failed", "done": "done"}[attempt.fate]
        if attempt.fate == "done":
            yield "open"
            if not attempt.has_code:
                yield "done without code"

    def _hear(self, world: World, me: Process, answer: str) -> tuple[World, str]:
        """News of an attempt, by its state when the news is applied."""
        attempt = world.attempts[me.attempt]
        if answer.startswith("absent") and me.send_no != attempt.send_no and self.on("absence_of_this_send"):
            answer = "no information"
        became = self._became(attempt, answer)
        if answer.startswith("failed") and attempt.state in ("in_doubt", "accepted", "sending"):
            attempt = attempt._replace(failed_once=True)
        moved, broken = self._move(attempt, became)
        return self._fold(_attempt_at(world, me.attempt, moved), me.attempt, answer), broken

    def _became(self, attempt: Attempt, answer: str) -> str:
        is_open = attempt.state in ("sending", "in_doubt", "accepted")
        if answer.startswith("done"):
            return "delivered"
        if not is_open and (self.on("state_guard") or attempt.state != "delivered"):
            return attempt.state
        if answer.startswith("failed"):
            is_final = (answer == "failed" and attempt.failed_once) or not self.on("failure_read_twice")
            return "failed" if is_final and attempt.state != "sending" else "accepted"
        if answer == "open":
            return "accepted"
        is_absent = answer == "absent for long" or (answer == "absent" and not self.on("absence_waits"))
        if is_absent and attempt.state == "in_doubt":
            return "absent"
        return "in_doubt" if attempt.state == "sending" else attempt.state

    # what a person, the clock and the provider do

    def _person(self, world: World) -> Iterator[Step]:
        if world.money != "held":
            return
        holders = [attempt for attempt in world.attempts if attempt.holds]
        is_asked_for = bool(holders) and not self.on("reject_needs_free_unit")
        is_overdue = any(a.state == "in_doubt" and a.old for a in holders) and not self.on("no_release_by_clock")
        if not holders or is_asked_for or is_overdue:
            label = "the clock" if is_overdue else "a person or the last route"
            yield f"{label} gives the money back", world._replace(money="released", releases=world.releases + 1), ""
        for number, attempt in enumerate(world.attempts):
            if (
                attempt.state in ("in_doubt", "accepted")
                and attempt.late
                and not any(a.given_up for a in world.attempts)
            ):
                moved, broken = self._move(attempt._replace(given_up=True), "abandoned")
                yield f"two people give up attempt {number + 1}", _attempt_at(world, number, moved), broken

    def _clock(self, world: World, number: int) -> Iterator[Step]:
        """Time passes where nobody is at work, or where whoever is has fallen asleep; nobody does while armed."""
        attempt = world.attempts[number]
        busy = [sender.at for sender in world.senders if sender.attempt == number and sender.at != "idle"]
        if not attempt.late and "armed" not in busy:
            after = _attempt_at(world, number, attempt._replace(late=True))
            if not busy:
                yield f"attempt {number + 1} is past its deadline", after, ""
            elif world.pauses:
                yield (
                    f"attempt {number + 1} is past its deadline while its sender sleeps",
                    after._replace(pauses=world.pauses - 1),
                    "",
                )
        elif attempt.late and not attempt.old and not attempt.wire:
            yield f"attempt {number + 1} is old", _attempt_at(world, number, attempt._replace(old=True)), ""

    def _provider(self, world: World, number: int) -> Iterator[Step]:
        attempt, name = world.attempts[number], f"attempt {number + 1}"
        if attempt.wire:
            there = attempt._replace(wire=attempt.wire - 1)
            yield f"the request of {name} is lost", _attempt_at(world, number, there), ""
            if not attempt.fate:
                bought = there._replace(bought=1, fate="open")
                yield f"the provider buys {name}", _attempt_at(world, number, bought), ""
                yield f"the provider refuses {name}", _attempt_at(world, number, there._replace(fate="refused")), ""
            elif world.kind == "dedupes" or attempt.fate == "refused":
                yield f"the provider knows {name} again", _attempt_at(world, number, there), ""
            else:
                again = there._replace(bought=attempt.bought + 1)
                yield f"the provider buys {name} again", _attempt_at(world, number, again), ""
        ends = {"open": ("done", "wobbly", "failed"), "wobbly": ("done", "failed")}
        for fate in ends.get(attempt.fate, ()):
            yield f"{name} is {fate} there", _attempt_at(world, number, attempt._replace(fate=fate)), ""

    # the one door: states by the table, then the money

    def _move(self, attempt: Attempt, state: str) -> tuple[Attempt, str]:
        if state == attempt.state:
            return attempt, ""
        self.edges.add((attempt.state, state))
        broken = "" if state in EDGES[attempt.state] else "I5"
        is_freed = state in FREEING
        takes_back = attempt.state in FREEING and state == "delivered" and not self.on("late_is_surplus")
        return attempt._replace(state=state, holds=(attempt.holds and not is_freed) or takes_back), broken

    def _fold(self, world: World, number: int, answer: str, *, with_code: bool = True) -> World:
        attempt = world.attempts[number]
        if answer == "done" and not attempt.has_code and with_code:
            attempt = attempt._replace(has_code=True)
            world = _attempt_at(world, number, attempt)
        is_paid = attempt.holds and attempt.state == "delivered"
        is_ready = attempt.has_code or not with_code or not self.on("code_before_capture")
        is_due = world.money == "held" or (not self.on("capture_once") and answer.startswith("done"))
        if is_paid and is_ready and (is_due or not self.on("late_is_surplus")) and world.captures < 2:
            return world._replace(money="captured", captures=world.captures + 1) if is_due else world
        return world


def _answers(attempt: Attempt) -> Iterator[str]:
    """What a waiting sender may read: nothing, an error page, or what the provider did."""
    yield "silence"
    yield "error"
    if attempt.wire:
        return
    if attempt.fate == "refused":
        yield "refused"
    elif attempt.bought and attempt.send_no > 1:
        yield "duplicate"
    elif attempt.bought:
        yield "done" if attempt.fate == "done" else "open"


def _attempt_at(world: World, number: int, attempt: Attempt) -> World:
    return world._replace(attempts=(*world.attempts[:number], attempt, *world.attempts[number + 1 :]))


def _sender_at(world: World, index: int, sender: Process) -> World:
    """Senders are alike: which is which does not make another world."""
    other = world.senders[1 - index]
    return world._replace(senders=(min(sender, other), max(sender, other)))


def broken_in(world: World) -> str:
    """The invariant that this world breaks, '' for none."""
    return next((name for name, is_broken in INVARIANTS.items() if is_broken(world)), "")


def _is_bought(attempt: Attempt) -> bool:
    return attempt.bought > 0 and attempt.fate in ("open", "wobbly", "done")


INVARIANTS: Final[dict[str, Callable[[World], bool]]] = {
    "I1": lambda w: (
        sum(_is_bought(a) and not a.given_up for a in w.attempts) > 1 or any(a.bought > 1 for a in w.attempts)
    ),
    "I2": lambda w: any(a.bought and a.state == "unwritten" for a in w.attempts),
    "I3": lambda w: sum(a.holds for a in w.attempts) > 1,
    "I6": lambda w: w.money == "captured" and not any(a.has_code for a in w.attempts),
    "I7": lambda w: w.money == "released" and any(a.fate == "done" and not a.given_up for a in w.attempts),
    "I8": lambda w: w.captures + w.releases > 1,
    "I9": lambda w: (w.money == "held") != (w.captures + w.releases == 0),
}
"""What every world must satisfy; I4 and I5 are about steps."""


def _story(came: dict[World, tuple[World | None, str]], world: World) -> list[str]:
    told = []
    here: World | None = world
    while here is not None:
        here, label = came[here]
        told.append(label)
    return told[::-1]
