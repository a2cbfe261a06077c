"""No action is ever allowed that could buy twice, give money back for something delivered, or buy without money.

The oracle does not know the rules: it lists what the provider may truly hold behind the facts, and what each action
would do in each of those worlds.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from apps.providers.actions import Action, Facts, Known, Why, allowed, may
from apps.providers.contract import Capabilities, PollPlan, contradictions
from apps.providers.registry import ADAPTERS, load_adapter

DAY = 86_400.0
ZNET = load_adapter("znet").caps

TRAITS: dict[str, tuple[Any, ...]] = {
    "ref_format": ("digits18", "none"),
    "dedup": ("none", "rejects", "racy"),
    "resend_same_ref_safe": (False, True),
    "ref_max_age_s": (None, 90 * DAY),
    "find_by_own_ref": (False, True),
    "absent_after_s": (None, 900.0),
    "ask_may_create": (False, True),
    "query_window_s": (None, 7 * DAY),
    "failed_final_after_s": (0.0, 60.0),
}
CAPS = [
    caps
    for values in itertools.product(*TRAITS.values())
    if not contradictions(
        caps := replace(ZNET, poll=PollPlan(floor_s=60, base_s=60), **dict(zip(TRAITS, values, strict=True)))
    )
]

NOT_FOUND = [
    {"not_found": count, "not_found_span_s": span, "has_good_call_between": good}
    for count, span, good in [(0, 0, False), (1, 0, False), (2, 60, False), (2, 59, True), (2, 60, True)]
]
FAILED = [
    {"failed_readings": count, "failed_span_s": span} for count, span in [(0, 0), (1, 0), (1, 60), (2, 59), (2, 60)]
]


def all_facts() -> Iterator[Facts]:
    """Every combination that makes a difference."""
    ages, idles, quiets = (1.0, 7 * DAY, 90 * DAY, 91 * DAY), (59.0, 60.0), (-1.0, 0.0, 899.0, 900.0)
    flags = (False, True)
    for known in Known:
        readings = NOT_FOUND if known in (Known.IN_DOUBT, Known.SENDING) else FAILED if known is Known.FAILED else [{}]
        for age, idle, quiet, held, holding, named, seen in itertools.product(
            ages, idles, quiets, flags, flags, flags, readings
        ):
            base = Facts(known, age, idle, quiet, is_money_held=held, is_holding=holding, has_provider_id=named)
            yield replace(base, **seen)  # type: ignore[arg-type]  # counts and flags by their names


FACTS = list(all_facts())


def worlds(caps: Capabilities, facts: Facts) -> set[str]:
    """What may be true at the provider: `absent`, `arriving`, `bought`."""
    if facts.known in (Known.NOT_SENT, Known.REFUSED, Known.ABSENT):
        return {"absent"}
    if facts.known in (Known.ACCEPTED, Known.DELIVERED):
        return {"bought"}
    if facts.known is Known.FAILED:
        told_twice = facts.failed_readings >= 2 and facts.failed_span_s >= 60
        is_final = told_twice or (caps.failed_final_after_s == 0 and facts.failed_readings >= 1)
        return {"absent"} if is_final else {"absent", "bought"}
    if facts.known is Known.GIVEN_UP:
        return {"absent"}  # a person took the risk; a late delivery is booked as surplus
    if facts.quiet_s < 0:
        return {"absent", "arriving", "bought"}
    looked_twice = facts.not_found == 2 and facts.not_found_span_s >= 60 and facts.has_good_call_between
    is_gone = caps.absent_after_s is not None and facts.quiet_s >= 900 and looked_twice
    return {"absent"} if is_gone else {"absent", "bought"}


def forgets(caps: Capabilities, facts: Facts) -> bool:
    """Whether the provider may take the reference for a new one."""
    return caps.ref_max_age_s is not None and facts.age_s >= 90 * DAY


def harm(action: Action, caps: Capabilities, facts: Facts, world: str) -> str:
    """What the action would do in this world that must never happen; empty when nothing."""
    match action:
        case Action.FAIL_OVER if world != "absent":
            return "buys the unit a second time elsewhere"
        case Action.RELEASE if world != "absent":
            return "gives back the money of something delivered"
        case Action.RESEND if world == "arriving":
            return "overlaps with the first request"
        case Action.RESEND if world == "bought" and (caps.dedup != "rejects" or forgets(caps, facts)):
            return "buys the same reference twice"
        case Action.RESEND | Action.FAIL_OVER if not facts.is_money_held:
            return "buys without the customer's money"
        case Action.ASK if caps.ask_may_create and forgets(caps, facts):
            return "buys by asking"
        case Action.ASK if caps.ask_may_create and not (facts.is_money_held and facts.is_holding):
            return "buys by asking what nobody pays for"
        case Action.ASK | Action.RESEND if _is_a_hasty_re_send(action, caps, facts):
            return "breaks the provider's least gap between re-sends"
    return ""


def _is_a_hasty_re_send(action: Action, caps: Capabilities, facts: Facts) -> bool:
    is_one = caps.ask_may_create if action is Action.ASK else facts.known is Known.IN_DOUBT
    return is_one and facts.idle_s < 60


class TestAllowedActions:
    def test_the_combinations_are_many(self) -> None:
        assert len(CAPS) > 50
        assert len(FACTS) > 3000

    def test_no_allowed_action_does_harm_in_any_possible_world(self) -> None:
        for caps in CAPS:
            for facts in FACTS:
                for action, why in allowed(caps, facts).items():
                    if why is None:
                        told = [harm(action, caps, facts, world) for world in worlds(caps, facts)]
                        assert not any(told), (action, told, caps, facts)

    def test_something_is_always_allowed_while_it_matters(self) -> None:
        for caps in CAPS:
            for facts in FACTS:
                if facts.is_money_held and facts.is_holding:
                    assert None in allowed(caps, facts).values(), (caps, facts)

    def test_the_worlds_are_not_made_too_many(self) -> None:
        """Each action is allowed somewhere, so that the oracle's silence is no proof of a hub that does nothing."""
        seen = {action for caps in CAPS for facts in FACTS for action in Action if may(action, caps, facts)}
        assert seen == set(Action)


IN_DOUBT = Facts(Known.IN_DOUBT, 1000.0, 600.0, 900.0, is_money_held=True, is_holding=True)
DIGIFLAZZ_LIKE = replace(
    ZNET,
    dedup="returns_original",
    resend_same_ref_safe=True,
    ask_may_create=True,
    ref_max_age_s=90 * DAY,
    poll=PollPlan(floor_s=60, base_s=60),
)
WITHOUT_REFERENCE = replace(ZNET, ref_format="none", dedup="none", find_by_own_ref=False)
PROVES_ABSENCE = replace(ZNET, absent_after_s=900.0)


class TestKnownStories:
    @pytest.mark.parametrize("known", Known)
    def test_a_digiflazz_order_of_91_days_is_never_asked_about(self, known: Known) -> None:
        old = replace(IN_DOUBT, known=known, age_s=91 * DAY)
        assert may(Action.ASK, DIGIFLAZZ_LIKE, old) is False
        assert may(Action.RESEND, DIGIFLAZZ_LIKE, old) is False

    def test_it_is_asked_about_while_it_is_young(self) -> None:
        assert may(Action.ASK, DIGIFLAZZ_LIKE, replace(IN_DOUBT, age_s=89 * DAY)) is True
        assert allowed(DIGIFLAZZ_LIKE, replace(IN_DOUBT, idle_s=59))[Action.ASK] is Why.TOO_SOON
        assert allowed(DIGIFLAZZ_LIKE, replace(IN_DOUBT, is_holding=False))[Action.ASK] is Why.MAY_BUY
        assert allowed(DIGIFLAZZ_LIKE, replace(IN_DOUBT, is_money_held=False))[Action.ASK] is Why.MAY_BUY

    def test_an_order_without_a_reference_is_never_sent_again(self) -> None:
        assert allowed(WITHOUT_REFERENCE, IN_DOUBT)[Action.RESEND] is Why.NOT_PROVEN_SAFE
        assert allowed(WITHOUT_REFERENCE, IN_DOUBT)[Action.ASK] is Why.NO_NAME
        assert may(Action.PERSON, WITHOUT_REFERENCE, IN_DOUBT) is True
        assert may(Action.ASK, WITHOUT_REFERENCE, replace(IN_DOUBT, has_provider_id=True)) is True

    def test_not_found_proves_nothing_before_the_grace(self) -> None:
        twice = replace(IN_DOUBT, not_found=2, not_found_span_s=60, has_good_call_between=True)
        assert allowed(PROVES_ABSENCE, replace(twice, quiet_s=899))[Action.RELEASE] is Why.MAY_EXIST
        assert allowed(PROVES_ABSENCE, replace(twice, quiet_s=-1))[Action.RELEASE] is Why.IN_FLIGHT
        assert allowed(PROVES_ABSENCE, replace(twice, not_found=1))[Action.RELEASE] is Why.MAY_EXIST
        assert allowed(PROVES_ABSENCE, replace(twice, has_good_call_between=False))[Action.RELEASE] is Why.MAY_EXIST
        assert allowed(ZNET, twice)[Action.RELEASE] is Why.MAY_EXIST
        assert may(Action.RELEASE, PROVES_ABSENCE, twice) is True

    @pytest.mark.parametrize("kind", ADAPTERS)
    def test_no_kind_lets_go_of_what_it_accepted(self, kind: str) -> None:
        accepted = replace(IN_DOUBT, known=Known.ACCEPTED, has_provider_id=True)
        told = allowed(ADAPTERS[kind].caps, accepted)
        assert (told[Action.RELEASE], told[Action.FAIL_OVER]) == (Why.EXISTS, Why.EXISTS)
        assert told[Action.RESEND] is Why.EXISTS

    def test_what_may_be_on_the_wire_is_left_alone(self) -> None:
        flying = replace(IN_DOUBT, known=Known.SENDING, quiet_s=-1.0)
        told = allowed(ZNET, flying)
        assert (told[Action.ASK], told[Action.PERSON], told[Action.WAIT]) == (Why.IN_FLIGHT, Why.IN_FLIGHT, None)
        assert may(Action.ASK, ZNET, replace(flying, quiet_s=0.0)) is True

    def test_money_that_is_gone_cannot_be_given_back_again(self) -> None:
        refused = replace(IN_DOUBT, known=Known.REFUSED, is_money_held=False)
        assert allowed(ZNET, refused)[Action.RELEASE] is Why.ENDED
        assert may(Action.RELEASE, ZNET, replace(refused, is_money_held=True)) is True

    @pytest.mark.parametrize("known", [Known.REFUSED, Known.ABSENT, Known.GIVEN_UP, Known.DELIVERED])
    def test_what_is_over_is_not_waited_for(self, known: Known) -> None:
        told = allowed(ZNET, replace(IN_DOUBT, known=known))
        assert told[Action.WAIT] is Why.ENDED
        assert told[Action.PERSON] is (None if known is Known.DELIVERED else Why.NOT_NEEDED)

    def test_nobody_is_asked_about_what_never_left(self) -> None:
        unsent = replace(IN_DOUBT, known=Known.NOT_SENT)
        told = allowed(ZNET, unsent)
        assert (told[Action.ASK], told[Action.WAIT], told[Action.RESEND]) == (Why.ENDED, Why.ENDED, None)

    def test_a_first_failure_is_not_final(self) -> None:
        once = replace(IN_DOUBT, known=Known.FAILED, failed_readings=1, failed_span_s=60)
        assert allowed(ZNET, once)[Action.FAIL_OVER] is Why.NOT_FINAL
        assert may(Action.FAIL_OVER, replace(ZNET, failed_final_after_s=0), once) is True
        assert may(Action.FAIL_OVER, ZNET, replace(once, failed_readings=2)) is True

    def test_an_order_past_the_provider_s_memory_is_a_person_s(self) -> None:
        caps = replace(ZNET, query_window_s=7 * DAY)
        told = allowed(caps, replace(IN_DOUBT, age_s=7 * DAY))
        assert (told[Action.ASK], told[Action.WAIT], told[Action.PERSON]) == (Why.WINDOW_OVER, Why.WINDOW_OVER, None)
