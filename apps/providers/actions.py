"""What may be done about one purchase, from what its provider can, what is known of it and how old it is. Pure.

Every rule that decides between buying again, asking, letting the money go and calling a person stands here once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from apps.providers.contract import Capabilities

SECOND_LOOK_S = 60.0
"""Seconds between the two typed not-found answers that may prove an absence."""

MOST_SENDS = 3
"""Times that one purchase is sent under its reference at most; then only asking and people are left."""


class Action(StrEnum):
    """What the hub, or a person through it, might do about an attempt."""

    RESEND = "resend"  # the same purchase again, under the same reference
    ASK = "ask"  # ask the provider what became of it
    FAIL_OVER = "fail_over"  # buy the same units elsewhere
    RELEASE = "release"  # give the customer's money back
    WAIT = "wait"  # leave it alone until its next time
    PERSON = "person"  # put it before a person


class Known(StrEnum):
    """The last thing that is certain about an attempt."""

    SENDING = "sending"  # its request may be on the wire at this moment
    NOT_SENT = "not_sent"  # proof that no byte of it left
    IN_DOUBT = "in_doubt"  # it may exist there
    ACCEPTED = "accepted"  # the provider owns it
    REFUSED = "refused"  # a row of the refusal table: nothing was bought
    FAILED = "failed"  # the provider calls it failed after having accepted it
    ABSENT = "absent"  # proven not to exist there
    DELIVERED = "delivered"  # done there, wholly or in part
    GIVEN_UP = "given_up"  # a person stopped waiting


class Why(StrEnum):
    """Why an action is forbidden."""

    IN_FLIGHT = "in_flight"  # the request may still arrive
    EXISTS = "exists"  # the provider has it
    MAY_EXIST = "may_exist"  # nothing proves that the provider does not have it
    NOT_PROVEN_SAFE = "not_proven_safe"  # the same reference again may buy a second time
    SENT_OFTEN = "sent_often"  # more of the same will not tell us more
    TOO_SOON = "too_soon"  # the least gap between two requests is not over
    REFERENCE_TOO_OLD = "reference_too_old"  # the provider may have forgotten it, and would buy again
    WINDOW_OVER = "window_over"  # the provider does not remember orders of this age
    NO_NAME = "no_name"  # there is neither a reference nor an id to ask by
    MAY_BUY = "may_buy"  # asking may buy there, and the money or the unit is not held any more
    NO_MONEY = "no_money"  # the customer's money is not held any more
    ENDED = "ended"  # it is over; there is nothing left to do this for
    NOT_FINAL = "not_final"  # the failure may still turn into a delivery
    NOT_NEEDED = "not_needed"  # the hub itself knows what to do


UNASKABLE = frozenset({Why.NO_NAME, Why.WINDOW_OVER, Why.REFERENCE_TOO_OLD, Why.MAY_BUY})
"""Objections against asking that time does not lift: an attempt with one of them is a person's question."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of one attempt. Times are seconds; `quiet_s` counts from the last moment at which the request
    could still have arrived and is below zero before it, `idle_s` from the last request that named the attempt."""

    known: Known
    age_s: float
    idle_s: float
    quiet_s: float
    is_money_held: bool
    is_holding: bool
    has_provider_id: bool = False
    not_found: int = 0
    not_found_span_s: float = 0
    has_good_call_between: bool = False
    failed_readings: int = 0
    failed_span_s: float = 0
    sends: int = 1


def allowed(caps: Capabilities, facts: Facts) -> dict[Action, Why | None]:
    """Every action with the reason that forbids it, None where it is allowed."""
    return {action: next(rule(caps, facts), None) for action, rule in RULES.items()}


def may(action: Action, caps: Capabilities, facts: Facts) -> bool:
    """Whether one action is allowed."""
    return next(RULES[action](caps, facts), None) is None


def is_absence_proven(caps: Capabilities, facts: Facts) -> bool:
    """Two typed not-found answers with a good call between them, after the time that the provider's caps demand."""
    return (
        caps.absent_after_s is not None
        and facts.quiet_s >= caps.absent_after_s
        and facts.not_found >= 2
        and facts.not_found_span_s >= SECOND_LOOK_S
        and facts.has_good_call_between
    )


def is_failure_final(caps: Capabilities, readings: int, span_s: float) -> bool:
    """Readings that agree for as long as a failure could still turn; one is enough where it never turns."""
    return readings >= (2 if caps.failed_final_after_s else 1) and span_s >= caps.failed_final_after_s


def _why_not_resend(caps: Capabilities, facts: Facts) -> Iterator[Why]:
    if facts.known not in (Known.NOT_SENT, Known.IN_DOUBT):
        yield _standing(facts)
    if facts.known is Known.IN_DOUBT and not caps.resend_same_ref_safe:
        yield Why.NOT_PROVEN_SAFE
    if facts.known is Known.IN_DOUBT and facts.sends >= MOST_SENDS:
        yield Why.SENT_OFTEN
    if facts.known is Known.IN_DOUBT and facts.quiet_s < 0:
        yield Why.IN_FLIGHT
    if not facts.is_money_held or (facts.known is Known.IN_DOUBT and not facts.is_holding):
        yield Why.NO_MONEY
    if facts.known is Known.IN_DOUBT and facts.idle_s < caps.resend_min_gap_s:
        yield Why.TOO_SOON
    if caps.ref_max_age_s is not None and facts.age_s >= caps.ref_max_age_s:
        yield Why.REFERENCE_TOO_OLD


def _why_not_ask(caps: Capabilities, facts: Facts) -> Iterator[Why]:
    if facts.known is Known.NOT_SENT:
        yield Why.ENDED
    if facts.known is Known.SENDING and facts.quiet_s < 0:
        yield Why.IN_FLIGHT
    if not (caps.find_by_own_ref or facts.has_provider_id):
        yield Why.NO_NAME
    if caps.query_window_s is not None and facts.age_s >= caps.query_window_s:
        yield Why.WINDOW_OVER
    if caps.ask_may_create:
        yield from _why_not_ask_by_buying(caps, facts)


def _why_not_ask_by_buying(caps: Capabilities, facts: Facts) -> Iterator[Why]:
    if caps.ref_max_age_s is None or facts.age_s >= caps.ref_max_age_s:
        yield Why.REFERENCE_TOO_OLD
    if not (facts.is_money_held and facts.is_holding):
        yield Why.MAY_BUY
    if facts.idle_s < caps.resend_min_gap_s:
        yield Why.TOO_SOON


def _why_not_fail_over(caps: Capabilities, facts: Facts) -> Iterator[Why]:
    if not facts.is_money_held:
        yield Why.NO_MONEY
    yield from _why_not_let_go(caps, facts)


def _why_not_release(caps: Capabilities, facts: Facts) -> Iterator[Why]:
    if not facts.is_money_held:
        yield Why.ENDED
    yield from _why_not_let_go(caps, facts)


def _why_not_let_go(caps: Capabilities, facts: Facts) -> Iterator[Why]:
    """Letting a unit go needs certainty that nothing was bought, or a person's decision."""
    if facts.known in (Known.NOT_SENT, Known.REFUSED, Known.ABSENT, Known.GIVEN_UP):
        return
    if facts.known is Known.FAILED and not is_failure_final(caps, facts.failed_readings, facts.failed_span_s):
        yield Why.NOT_FINAL
    if facts.known in (Known.SENDING, Known.IN_DOUBT) and not is_absence_proven(caps, facts):
        yield Why.IN_FLIGHT if facts.quiet_s < 0 else Why.MAY_EXIST
    if facts.known in (Known.ACCEPTED, Known.DELIVERED):
        yield Why.EXISTS


def _why_not_wait(caps: Capabilities, facts: Facts) -> Iterator[Why]:
    if facts.known not in (Known.SENDING, Known.IN_DOUBT, Known.ACCEPTED, Known.FAILED):
        yield Why.ENDED
    if facts.known is not Known.SENDING:
        yield from (why for why in _why_not_ask(caps, facts) if why is not Why.TOO_SOON)


def _why_not_person(caps: Capabilities, facts: Facts) -> Iterator[Why]:
    if facts.known in (Known.SENDING, Known.NOT_SENT, Known.REFUSED, Known.ABSENT, Known.GIVEN_UP):
        yield Why.IN_FLIGHT if facts.known is Known.SENDING else Why.NOT_NEEDED


def _standing(facts: Facts) -> Why:
    if facts.known is Known.SENDING:
        return Why.IN_FLIGHT
    return Why.EXISTS if facts.known in (Known.ACCEPTED, Known.DELIVERED) else Why.ENDED


Rule = Callable[[Capabilities, Facts], Iterator[Why]]

RULES: Mapping[Action, Rule] = {
    Action.RESEND: _why_not_resend,
    Action.ASK: _why_not_ask,
    Action.FAIL_OVER: _why_not_fail_over,
    Action.RELEASE: _why_not_release,
    Action.WAIT: _why_not_wait,
    Action.PERSON: _why_not_person,
}
"""For each action the objections against it, the first of which is told."""
