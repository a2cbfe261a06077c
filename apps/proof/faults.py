"""What may go wrong in one seed: a random subset of all faults (a swarm), and the dice that draw each of them."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from apps.simulator.fates import BlankForm, Fate, FateBook, Final, Mangle, Place, RefuseClass, StatusFault

FAULTS: Mapping[str, str] = {
    "crash": "a process dies at a checkpoint, or with a request on the wire",
    "commit_unknown": "a commit is done, and its answer is lost",
    "commit_failed": "a commit is not done, and its answer is lost",
    "pause": "a process stops for ten minutes between two transactions (a zombie sender)",
    "nap": "a process stops for up to a minute",
    "lost_message": "the broker loses a message",
    "double_message": "the broker delivers a message twice",
    "late_message": "the broker delivers a message up to an hour late",
    "broker_down": "the broker takes nothing",
    "client_again": "a client sends the same order twice at once",
    "operator": "people ask again and give money back",
    "refused_line": "no connection to the provider",
    "lost_before": "the request is lost on its way",
    "late_arrival": "the request arrives after its sender has given up",
    "repeat": "something on the way sends the request twice",
    "answer_lost": "bought, and no answer, a broken one, a page, or one about something else",
    "silence": "not bought, and no answer or a broken one",
    "refusal": "a certain refusal",
    "odd_words": "a refusal in words that no table lists",
    "spoilt": "answers with spoilt bytes",
    "questions": "questions that fail, or are answered with something else",
    "lag": "a purchase that is not seen for minutes, and states that are old",
    "cancelled": "the provider gives up after it accepted",
    "blank_pin": "delivered, and the PIN comes later",
    "slow": "deliveries that take up to half an hour",
}
"""Every kind of fault, and what it is."""

ANSWER_LOST = (
    Place.ACCEPT_THEN_HANG,
    Place.ACCEPT_THEN_RESET,
    Place.ACCEPT_THEN_500,
    Place.ACCEPT_THEN_HTML,
    Place.ACCEPT_THEN_EMPTY,
    Place.ACCEPT_THEN_CUT,
    Place.ACCEPT_THEN_HEADERS,
    Place.ACCEPT_THEN_FLOOD,
    Place.ACCEPT_THEN_DRIP,
    Place.ACCEPT_THEN_CODE_8,
    Place.ACCEPT_THEN_RATE_LIMITED,
    Place.ACCEPT_THEN_OTHER_ORDER,
)
SILENCE = (
    Place.HANG_BEFORE,
    Place.RESET_BEFORE,
    Place.ERROR_500_BEFORE,
    Place.HTML_BEFORE,
    Place.EMPTY_BEFORE,
    Place.RATE_LIMITED,
    Place.REDIRECT,
)
QUESTION_FAULTS = (
    StatusFault.ERROR_500,
    StatusFault.HTML,
    StatusFault.EMPTY,
    StatusFault.HANG,
    StatusFault.RESET,
    StatusFault.CUT,
    StatusFault.NOT_FOUND,
    StatusFault.AUTH_EMPTY,
    StatusFault.AUTH_TEXT,
    StatusFault.UNKNOWN_WORD,
    StatusFault.RATE_LIMITED,
    StatusFault.OTHER_ORDER,
)
BROKEN_BYTES = (Mangle.TRUNCATED, Mangle.NUL, Mangle.BOM, Mangle.DUPLICATE_KEY)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Swarm:
    """The faults that a seed enables, and how likely each is where it may happen."""

    enabled: frozenset[str]
    weight: float = 1.0

    def has(self, fault: str, chance: float, dice: random.Random) -> bool:
        """Whether this fault happens now; the dice are thrown in any case, so that one fault moves no other."""
        thrown = dice.random()
        return fault in self.enabled and thrown < min(chance * self.weight, 0.9)

    def without(self, fault: str) -> Swarm:
        """The same swarm with one kind of fault less."""
        return replace(self, enabled=self.enabled - {fault})


def draw_swarm(seed: int) -> Swarm:
    """About half of all faults, always the same for a seed; some seeds are rougher than others."""
    dice = random.Random(f"{seed}:swarm")
    enabled = {fault for fault in FAULTS if dice.random() < 0.55}
    return Swarm(frozenset(enabled | {dice.choice(("crash", "answer_lost"))}), weight=dice.choice((0.6, 1.0, 1.0, 1.8)))


class SwarmFates(FateBook):
    """Fates of purchases, drawn by who buys, so that another order's fate does not change with this one's."""

    def __init__(self, seed: int, swarm: Swarm) -> None:
        super().__init__(str(seed), "none")
        self._seed = seed
        self._swarm = swarm
        self._drawn: dict[str, int] = {}
        self._is_nameless = False
        self.always: Fate | None = None

    def without_names(self) -> SwarmFates:
        """For a protocol whose answers do not name the order: nobody could tell one about another order."""
        self._is_nameless = True
        return self

    def calm(self) -> None:
        """From now on purchases go well."""
        self._swarm = Swarm(frozenset())

    def choose(self, reference: str, recipient: str, now: float) -> Fate:
        """The fate of the next fresh purchase for this recipient."""
        if self.always is not None:
            return self.always
        number = self._drawn[recipient] = self._drawn.get(recipient, 0) + 1
        fate = draw_fate(random.Random(f"{self._seed}:fate:{recipient}:{number}"), self._swarm)
        return _about_itself(fate) if self._is_nameless else fate


def _about_itself(fate: Fate) -> Fate:
    faults = tuple(fault for fault in fate.status_faults if fault is not StatusFault.OTHER_ORDER)
    is_other = fate.place is Place.ACCEPT_THEN_OTHER_ORDER
    return replace(fate, status_faults=faults, place=Place.ACCEPT_THEN_RESET if is_other else fate.place)


def draw_fate(dice: random.Random, swarm: Swarm) -> Fate:
    """One purchase's fate under the swarm."""
    quick = dice.choice((0.0, dice.uniform(1, 90), dice.uniform(30, 240)))
    slow = dice.lognormvariate(6.0, 0.7)
    fate = Fate(place=_place(dice, swarm), complete_after_s=min(slow, 1800) if swarm.has("slow", 0.4, dice) else quick)
    fate = replace(fate, refuse_class=_pick(dice, (*RefuseClass, RefuseClass.PRODUCT, RefuseClass.PRODUCT)))
    if swarm.has("cancelled", 0.25, dice):
        fate = replace(fate, final=Final.CANCELLED)
    if swarm.has("questions", 0.5, dice):
        fate = replace(fate, status_faults=tuple(_pick(dice, QUESTION_FAULTS) for _ in range(dice.randint(1, 3))))
    if swarm.has("lag", 0.4, dice):
        fate = replace(fate, visible_after_s=dice.uniform(0, 300), status_lag_s=dice.uniform(0, 120))
    if swarm.has("blank_pin", 0.3, dice):
        forms = (BlankForm.SPACE, BlankForm.DASH, BlankForm.EMPTY)
        fate = replace(fate, pin_late_s=dice.uniform(30, 1200), pin_blank_form=_pick(dice, forms))
    if swarm.has("spoilt", 0.2, dice):
        fate = replace(fate, place_mangle=_pick(dice, BROKEN_BYTES))
    if swarm.has("repeat", 0.2, dice):
        fate = replace(fate, replays=1)
    return fate


def _place(dice: random.Random, swarm: Swarm) -> Place:
    lost, silent = _pick(dice, ANSWER_LOST), _pick(dice, SILENCE)
    odd = _pick(dice, (Place.UNLISTED_TEXT, Place.CODE_8))
    drawn = (
        (swarm.has("answer_lost", 0.25, dice), lost),
        (swarm.has("silence", 0.15, dice), silent),
        (swarm.has("refusal", 0.12, dice), Place.REFUSE),
        (swarm.has("odd_words", 0.08, dice), odd),
    )
    return next((place for is_drawn, place in drawn if is_drawn), Place.ACCEPT)


def _pick(dice: random.Random, options: tuple[T, ...]) -> T:
    return options[dice.randrange(len(options))]
