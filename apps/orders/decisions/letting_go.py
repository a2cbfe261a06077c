"""Giving the money of units back that nobody holds, and no longer waiting for a provider that does not answer."""

from __future__ import annotations

from datetime import datetime, timedelta
from enum import StrEnum

from django.utils.translation import gettext as _

from apps.accounts.models import User
from apps.common.money import Money
from apps.orders import due, machine, routing
from apps.orders.decisions.deciding import (
    Act,
    Action,
    Alone,
    Decided,
    Signed,
    Wish,
    decide,
    load_attempt,
    testify,
)
from apps.orders.decisions.folding import (
    check_no_conflict,
    fold,
    load_free,
    release_units,
    sum_of,
)
from apps.orders.decisions.refused import BadInput, NotPossible
from apps.orders.models import Attempt, Order, OrderUnit
from apps.orders.questions import load_facts
from apps.orders.states import AttemptState, DueKind, OrderStatus, UnitStatus
from apps.orders.verdicts import Plan
from apps.providers import actions
from apps.providers.registry import has_wire

A = AttemptState

ALONE_AFTER = timedelta(hours=24)
"""How long after an attempt went into doubt the only person of a shop may give it up."""


class Then(StrEnum):
    """What happens to the units of an attempt that is given up."""

    RELEASE = "release"  # the customer gets the money back
    NEXT_ROUTE = "next_route"  # they are bought elsewhere


# --- release


def release(order_id: int, actor: User, reason: str, now: datetime, *, alone: Alone | None = None) -> Decided:
    """Give the customer the held money of every free unit back: certain refusals, or never sent (then: cancelled).

    Raises a child of `DecisionRefused`; while an attempt holds the units it is `NotPossible`.
    """
    return decide(RELEASE, order_id, actor, reason, now, Wish(), alone)


def _stake_release(order: Order, wish: Wish, now: datetime) -> Money:
    return sum_of(load_free(order, actions.Action.RELEASE, now), order)


def _release(order: Order, wish: Wish, signed: Signed, now: datetime) -> None:
    units = load_free(order, actions.Action.RELEASE, now)
    latest = Attempt.objects.filter(order=order, attempt_units__unit__in=units).order_by("id").last()
    evidence = testify(latest, "released", signed, now) if latest else None
    rests_on = f"a person, evidence {evidence.pk}" if evidence else "a person, before it was sent"
    release_units(order, units, signed, rests_on, now)
    fold(order, now)
    kind = "cancelled" if order.status == OrderStatus.CANCELLED else "released"
    facts = signed.facts(units=len(units))
    machine.record_story(order, kind, "person", now, attempt=latest, evidence=evidence, actor=signed.name, data=facts)


RELEASE = Act(Action.RELEASE, _stake_release, _release)


# --- stop waiting


def stop_waiting(
    order_id: int,
    actor: User,
    reason: str,
    now: datetime,
    *,
    attempt_id: int,
    then: str,
    alone: Alone | None = None,
) -> Decided:
    """Give an attempt up that the provider says nothing certain about; always two people, or the only one of a shop.

    Its units are free: their money goes back, or the next route buys them. The provider is asked on, and a delivery
    that comes later is surplus. Raises a child of `DecisionRefused`.
    """
    if then not in Then.__members__.values():
        raise BadInput(_("Choose what happens then: the money goes back, or the next route buys."), "then")
    return decide(STOP_WAITING, order_id, actor, reason, now, Wish(attempt_id=attempt_id, choice=then), alone)


def _stake_stop(order: Order, wish: Wish, now: datetime) -> Money:
    attempt = load_attempt(order, wish.attempt_id)
    check_no_conflict(order)
    if attempt.state not in (A.IN_DOUBT, A.ACCEPTED):
        raise NotPossible(
            _("Nobody waits for this attempt any more, or it is being sent. Load the order's page again.")
        )
    if not has_wire(attempt.kind):
        raise NotPossible(_("A person works on this attempt: refuse it in the list of orders by hand."))
    if load_facts(attempt, attempt.integration.caps(), now).quiet_s < 0:
        raise NotPossible(_("The request may still be on its way. Wait a moment, and decide again."))
    units = _held_by(attempt)
    if not units:
        raise NotPossible(_("No money of this attempt is held any more: there is nothing to decide."))
    if wish.choice == Then.NEXT_ROUTE:
        _check_next_route(order, attempt, now)
    return sum_of(units, order)


def _held_by(attempt: Attempt) -> list[OrderUnit]:
    held = OrderUnit.objects.filter(attempt_units__attempt=attempt, attempt_units__holds=True, status=UnitStatus.HELD)
    return list(held.order_by("n"))


def _check_next_route(order: Order, attempt: Attempt, now: datetime) -> None:
    """Another route may buy it, now or later."""
    others = [route for route in routing.load_routes(order) if route.integration_id != attempt.integration_id]
    if not others or routing.survey(order, others, now).outlook().is_exhausted:
        raise NotPossible(_("The package has no other route that could buy it: add one, or let the money go back."))


def _stop(order: Order, wish: Wish, signed: Signed, now: datetime) -> None:
    attempt = load_attempt(order, wish.attempt_id)
    units = _held_by(attempt)
    evidence = testify(attempt, "abandoned", signed, now)
    machine.change_attempt(attempt, A.ABANDONED, closed_at=now)
    first = now + timedelta(seconds=attempt.integration.caps().poll.cap_s)
    due.plan_attempt(attempt, Plan(DueKind.WATCH, first, 0, 0), fence=None, seen="", now=now, is_asked=False)
    if wish.choice == Then.RELEASE:
        release_units(order, units, signed, f"attempt {attempt.pk} abandoned, evidence {evidence.pk}", now)
    fold(order, now)
    machine.record_story(
        order,
        "stopped_waiting",
        "person",
        now,
        attempt=attempt,
        evidence=evidence,
        actor=signed.name,
        data=signed.facts(then=wish.choice, units=len(units)),
    )


def _alone_from(order: Order, wish: Wish) -> datetime:
    attempt = load_attempt(order, wish.attempt_id)
    return (attempt.doubt_since or attempt.created_at) + ALONE_AFTER


STOP_WAITING = Act(Action.STOP_WAITING, _stake_stop, _stop, is_always_two=True, alone_from=_alone_from)
