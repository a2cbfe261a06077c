"""The placing call, the same for every dialect: who asks, is it a repeat, what is its fate, what is answered."""

from __future__ import annotations

from dataclasses import replace

from apps.simulator.dialect import Refused
from apps.simulator.fates import Fate, Place, RefuseClass
from apps.simulator.faults import AFTER_BUYING, BEFORE_BUYING, EMPTY, mangled
from apps.simulator.wire import Reply
from apps.simulator.world import Ask, BalanceTooLow, World


def place(ask: Ask, world: World, now: float, *, is_ours: bool) -> Reply:
    """Buy or not, as the fate of this ask says, and answer in the dialect's words; `is_ours`: the login is right."""
    fate = world.receive(ask, now, is_ours)
    reply = _place_once(ask, fate, world, now, is_ours)
    for _ in range(fate.replays):
        reply = _place_once(ask, world.receive(ask, now, is_ours), world, now, is_ours)
    return reply


def _place_once(ask: Ask, fate: Fate, world: World, now: float, is_ours: bool) -> Reply:
    if not is_ours:
        return _refuse(ask, world.words.stranger(world), world, now)
    if world.first_of(ask.reference, now):
        return _repeat(ask, fate, world, now)
    return _place_fresh(ask, fate, world, now)


def _repeat(ask: Ask, fate: Fate, world: World, now: float) -> Reply:
    first = world.view(world.first_of(ask.reference, now), now)
    done, reply = world.words.repeated(first, world)
    world.record_repeat(ask, now, done)
    return _place_fresh(ask, fate, world, now) if world.switches.buys_again else reply


def _place_fresh(ask: Ask, fate: Fate, world: World, now: float) -> Reply:
    reply = _buy(ask, fate, world, now) if fate.place.buys else _not_buy(ask, fate, world, now)
    return mangled(replace(reply, delay_s=fate.answer_delay_s), fate.place_mangle)


def _buy(ask: Ask, fate: Fate, world: World, now: float) -> Reply:
    try:
        purchase = world.buy(ask, world.words.product_of(ask, world), fate, now)
    except Refused as refused:
        return _refuse(ask, refused.text, world, now)
    except BalanceTooLow:
        return _refuse(ask, world.words.refusals[RefuseClass.BALANCE], world, now)
    if fate.place is Place.ACCEPT_THEN_CODE_8:
        return world.words.refuse(world.words.uncertain, world)
    shown = world.other_than(purchase) if fate.place is Place.ACCEPT_THEN_OTHER_ORDER else purchase
    right = world.words.accepted(world.view(shown, now), world)
    return AFTER_BUYING[fate.place](right, fate) if fate.place in AFTER_BUYING else right


def _not_buy(ask: Ask, fate: Fate, world: World, now: float) -> Reply:
    if fate.place in BEFORE_BUYING:
        return BEFORE_BUYING[fate.place](EMPTY, fate)
    return _refuse(ask, _refusal_of(fate, world), world, now)


def _refusal_of(fate: Fate, world: World) -> str:
    words = world.words
    if fate.place is Place.REFUSE:
        return words.refusals[fate.refuse_class] if fate.refuse_text is None else fate.refuse_text
    return {Place.UNLISTED_TEXT: words.unlisted, Place.CODE_8: words.uncertain}[fate.place]


def _refuse(ask: Ask, text: str, world: World, now: float) -> Reply:
    world.record_refused(ask, now, text)
    return world.words.refuse(text, world)
