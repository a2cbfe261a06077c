"""Fates: what becomes of a purchase and what its client sees, and how a fate is chosen."""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any

from apps.simulator import strict
from apps.simulator.laws import LAWS, Law

PIN_LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ23456789"


class Place(StrEnum):
    """What happens to the placing request; only the words that begin with accept buy."""

    ACCEPT = "accept"
    ACCEPT_THEN_HANG = "accept_then_hang"
    ACCEPT_THEN_RESET = "accept_then_reset"
    ACCEPT_THEN_500 = "accept_then_500"
    ACCEPT_THEN_HTML = "accept_then_html"
    ACCEPT_THEN_EMPTY = "accept_then_empty"
    ACCEPT_THEN_CUT = "accept_then_cut"
    ACCEPT_THEN_HEADERS = "accept_then_headers"
    ACCEPT_THEN_FLOOD = "accept_then_flood"
    ACCEPT_THEN_DRIP = "accept_then_drip"
    ACCEPT_THEN_CODE_8 = "accept_then_code_8"
    ACCEPT_THEN_RATE_LIMITED = "accept_then_rate_limited"
    ACCEPT_THEN_OTHER_ORDER = "accept_then_other_order"
    REFUSE = "refuse"
    UNLISTED_TEXT = "unlisted_text"
    CODE_8 = "code_8"
    REDIRECT = "redirect"
    HANG_BEFORE = "hang_before"
    RESET_BEFORE = "reset_before"
    ERROR_500_BEFORE = "error_500_before"
    HTML_BEFORE = "html_before"
    EMPTY_BEFORE = "empty_before"
    RATE_LIMITED = "rate_limited"

    @property
    def buys(self) -> bool:
        return self.startswith("accept")


class Final(StrEnum):
    DELIVERED = "delivered"
    PARTIAL = "partial"
    CANCELLED = "cancelled"
    REVERSED = "reversed"
    NEVER = "never"


class RefuseClass(StrEnum):
    BALANCE = "balance"
    PRODUCT = "product"
    AUTH = "auth"
    OTHER = "other"


class BlankForm(StrEnum):
    """How field 3 looks when there is no PIN; NONE forces nothing: a PIN where there is one, else a space."""

    NONE = "none"
    SPACE = "space"
    DASH = "dash"
    SPACED_DASH = "spaced_dash"
    EMPTY = "empty"


class StatusFault(StrEnum):
    ERROR_500 = "500"
    HTML = "html"
    EMPTY = "empty"
    HANG = "hang"
    RESET = "reset"
    CUT = "cut"
    FLOOD = "flood"
    NOT_FOUND = "not_found"
    AUTH_EMPTY = "auth_empty"
    AUTH_TEXT = "auth_text"
    UNKNOWN_WORD = "unknown_word"
    RATE_LIMITED = "rate_limited"
    OTHER_ORDER = "other_order"


class Mangle(StrEnum):
    """What is wrong with the bytes of an answer that is whole as HTTP; the last two only change JSON."""

    TRUNCATED = "truncated"
    BOM = "bom"
    NUL = "nul"
    WRONG_CHARSET = "wrong_charset"
    DUPLICATE_KEY = "duplicate_key"
    NUMBER_AS_TEXT = "number_as_text"


@dataclass(frozen=True, slots=True)
class Fate:
    place: Place = Place.ACCEPT
    refuse_text: str | None = None
    refuse_class: RefuseClass = RefuseClass.BALANCE
    redirect_to: str = "http://127.0.0.1:1/servis/pin_ekle.php"
    error_status: int = 500
    answer_delay_s: float = 0.0
    replays: int = 0  # how often something on the way repeats the placing request by itself
    place_mangle: Mangle | None = None
    status_mangle: Mangle | None = None
    executions: int = 1
    cost: str | None = None
    complete_after_s: float = 0.0
    final: Final = Final.DELIVERED
    delivered: str | None = None  # of a partial end: how much of the ordered quantity
    pin: str | None = None
    pin_blank_form: BlankForm = BlankForm.NONE
    pin_while_waiting: bool = False
    pin_when_cancelled: bool = False
    pin_late_s: float | None = None
    second_pin_after_s: float | None = None
    second_pin: str | None = None
    description: str | None = None
    cancel_text: str | None = None
    cancel_text_in_pin_field: bool = False
    status_faults: tuple[StatusFault, ...] = ()
    status_flip: tuple[str, ...] = ()
    status_lag_s: float = 0.0
    visible_after_s: float = 0.0
    visible_until_s: float | None = None
    flip_to_delivered_after_s: float | None = None
    reverse_after_s: float | None = None


CHECKS: dict[str, strict.Check] = {
    "place": strict.one_of(Place),
    "refuse_text": strict.optional(strict.text),
    "refuse_class": strict.one_of(RefuseClass),
    "redirect_to": strict.text,
    "error_status": strict.error_status,
    "answer_delay_s": strict.seconds,
    "replays": strict.whole,
    "place_mangle": strict.optional(strict.one_of(Mangle)),
    "status_mangle": strict.optional(strict.one_of(Mangle)),
    "executions": strict.count,
    "cost": strict.optional(strict.money),
    "complete_after_s": strict.seconds,
    "final": strict.one_of(Final),
    "delivered": strict.optional(strict.money),
    "pin": strict.optional(strict.text),
    "pin_blank_form": strict.one_of(BlankForm),
    "pin_while_waiting": strict.flag,
    "pin_when_cancelled": strict.flag,
    "pin_late_s": strict.optional(strict.seconds),
    "second_pin_after_s": strict.optional(strict.seconds),
    "second_pin": strict.optional(strict.text),
    "description": strict.optional(strict.text),
    "cancel_text": strict.optional(strict.text),
    "cancel_text_in_pin_field": strict.flag,
    "status_faults": strict.list_of(strict.one_of(StatusFault)),
    "status_flip": strict.list_of(strict.text),
    "status_lag_s": strict.seconds,
    "visible_after_s": strict.seconds,
    "visible_until_s": strict.optional(strict.seconds),
    "flip_to_delivered_after_s": strict.optional(strict.seconds),
    "reverse_after_s": strict.optional(strict.seconds),
}

PLAIN = Fate()


def parse_fate(raw: object) -> Fate:
    """Build a fate from a JSON object; raises BadValue for an unknown key or a wrong value."""
    return Fate(**strict.check_fields(raw, CHECKS, "fate"))


DEFAULTS: tuple[tuple[str, object], ...] = tuple((item.name, item.default) for item in fields(Fate))


def fate_as_json(fate: Fate) -> dict[str, Any]:
    """Only what differs from the plain fate, so that `parse_fate` gives the same fate back."""
    if fate is PLAIN:
        return {}
    changed = {name: getattr(fate, name) for name, default in DEFAULTS if getattr(fate, name) != default}
    return {name: list(value) if isinstance(value, tuple) else value for name, value in changed.items()}


def make_pin(seed: str) -> str:
    """Sixteen characters in groups of four, always the same for the same seed."""
    letters = "".join(PIN_LETTERS[byte % len(PIN_LETTERS)] for byte in hashlib.blake2b(seed.encode()).digest()[:16])
    return "-".join(letters[start : start + 4] for start in range(0, 16, 4))


def plain_mix(rng: random.Random) -> Fate:
    return PLAIN


def demo_mix(rng: random.Random) -> Fate:
    """Mostly a PIN after 2 to 8 seconds; rare refusals and rare purchases whose answer never comes."""
    share = rng.random()
    if share < 0.02:
        return Fate(place=Place.REFUSE, refuse_class=RefuseClass.PRODUCT)
    if share < 0.04:
        return Fate(place=Place.ACCEPT_THEN_HANG, complete_after_s=rng.uniform(2, 8))
    if share < 0.20:
        return PLAIN
    if share < 0.30:
        return Fate(complete_after_s=rng.uniform(15, 40))
    return Fate(complete_after_s=rng.uniform(2, 8))


def _by_law(law: Law) -> Callable[[random.Random], Fate]:
    return lambda rng: Fate(complete_after_s=law(rng))


MIXES: dict[str, Callable[[random.Random], Fate]] = {
    "none": plain_mix,
    "demo": demo_mix,
    **{f"law-{name}": _by_law(law) for name, law in LAWS.items()},
}


@dataclass(slots=True)
class Script:
    fate: Fate
    times_left: int | None  # None: for ever


@dataclass(frozen=True, slots=True)
class Spell:
    """A stretch of time in which every order without a script of its own gets one fate."""

    begins_at: float
    ends_at: float
    fate: Fate


class FateBook:
    """The scripts that control requests have set, and the mix for everything else."""

    def __init__(self, seed: str, mix: str) -> None:
        self.seed = seed
        self._mix = MIXES[mix]
        self._spells: list[Spell] = []
        self._by_recipient: dict[str, Script] = {}
        self._by_reference: dict[str, Script] = {}
        self._next: deque[Script] = deque()

    def script_recipient(self, recipient: str, fate: Fate, times: int | None = None) -> None:
        self._by_recipient[recipient] = Script(fate, times)

    def script_reference(self, reference: str, fate: Fate, times: int | None = None) -> None:
        self._by_reference[reference] = Script(fate, times)

    def script_next(self, fate: Fate, times: int = 1) -> None:
        self._next.append(Script(fate, times))

    def script_spell(self, begins_at: float, ends_at: float, fate: Fate) -> None:
        self._spells.append(Spell(begins_at, ends_at, fate))

    def use_mix(self, mix: str) -> None:
        self._mix = MIXES[mix]

    def choose(self, reference: str, recipient: str, now: float) -> Fate:
        """The recipient's script, else the reference's, the spell's, the next of the queue, the mix."""
        for scripts, key in ((self._by_recipient, recipient), (self._by_reference, reference)):
            if key in scripts:
                return _use(scripts, key)
        spell = next((spell for spell in reversed(self._spells) if spell.begins_at <= now < spell.ends_at), None)
        if spell:
            return spell.fate
        if self._next:
            return self._take_next()
        return self._mix(random.Random(f"{self.seed}:{reference}"))

    def pin_for(self, key: str) -> str:
        return make_pin(f"{self.seed}:{key}")

    def _take_next(self) -> Fate:
        script = self._next[0]
        if _is_used_up(script):
            self._next.popleft()
        return script.fate


def _use(scripts: dict[str, Script], key: str) -> Fate:
    script = scripts[key]
    if _is_used_up(script):
        del scripts[key]
    return script.fate


def _is_used_up(script: Script) -> bool:
    if script.times_left is not None:
        script.times_left -= 1
    return script.times_left == 0
