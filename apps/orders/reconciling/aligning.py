"""Which line is about which purchase, and where the two differ. Pure: no clock, no database, one pass over each side.

By our reference, then by the provider's id, then by recipient, amount and time where exactly one purchase and one line
fit each other. What fits more than one is never guessed.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from apps.orders.reconciling.dialects import Meaning
from apps.orders.reconciling.lines import Line
from apps.orders.statement_models import BreakKind
from apps.orders.states import FREEING, AttemptState

A, K, M = AttemptState, BreakKind, Meaning

FAR = timedelta(days=1)
"""A provider's clock and ours may differ by this much; more is a difference."""

SETTLE_GRACE = timedelta(hours=1)
"""A purchase younger than this need not be in a statement yet."""

BELIEVABLE = 3
"""A price this many times another one is never taken over without a person."""

BOUGHT = frozenset({A.ACCEPTED, A.DELIVERED, A.PARTIAL})
"""Attempts that we say the provider has sold us."""

PRICED = BOUGHT | {A.REVERSED}
"""Attempts whose cost is compared."""


class By(StrEnum):
    """How a line was recognised."""

    REFERENCE = "reference"
    PROVIDER_ID = "provider_id"
    PURCHASE = "purchase"  # recipient, amount and time
    PERSON = "person"


SURE = frozenset({By.REFERENCE, By.PROVIDER_ID})
"""Ways that name the purchase itself; the hub mends nothing on any other."""


@dataclass(frozen=True, slots=True)
class Purchase:
    """One attempt as our books have it. `micros`: what it costs us, told or expected; `is_told`: the provider said so.

    `charges`, `returns` and `charged_ids` are what earlier statements have said of it.
    """

    attempt_id: int
    reference: str
    provider_id: str
    target: str
    state: AttemptState
    micros: int | None
    is_told: bool
    is_surplus: bool
    currency: str
    at: datetime
    charges: int = 0
    returns: int = 0
    charged_ids: frozenset[str] = frozenset()
    is_listed: bool = False


@dataclass(frozen=True, slots=True)
class Period:
    """What time a statement covers, both ends included."""

    starts_at: datetime
    ends_at: datetime


@dataclass(frozen=True, slots=True)
class Match:
    """The purchase that a line is about, and how that is known."""

    purchase: Purchase
    by: By


@dataclass(frozen=True, slots=True)
class Finding:
    """One difference: of a line, of a purchase, or of both. `may_mend`: as far as the line goes it is certain."""

    kind: BreakKind
    note: str = ""
    number: int | None = None
    purchase: Purchase | None = None
    expected_micros: int | None = None
    stated_micros: int | None = None
    stated_currency: str = ""
    may_mend: bool = False


@dataclass(slots=True)
class Alignment:
    """Lines by number with their purchases, and the differences. `settled`: attempts charged no more than once now."""

    matches: dict[int, Match] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)


def align(
    lines: Sequence[Line], purchases: Sequence[Purchase], period: Period, now: datetime, window: timedelta
) -> Alignment:
    """Compare new lines with the purchases that they may be about and with those of the period."""
    matches, unsure = match(lines, purchases, window)
    unsure_ids = {one.attempt_id for found in unsure.values() for one in found}
    result = Alignment(matches)
    by_attempt: dict[int, list[Line]] = defaultdict(list)
    for line in lines:
        found = matches.get(line.number)
        result.findings += _of_line(line, found, period, window)
        if found is not None:
            by_attempt[found.purchase.attempt_id].append(line)
    result.findings += _unknown(lines, matches, unsure)
    for group in by_attempt.values():
        known = [matches[line.number] for line in group]
        result.findings += compare(group, known)
        if _net(group, known[0].purchase) <= 1:
            result.settled.append(known[0].purchase.attempt_id)
    result.findings += _unlisted(purchases, set(by_attempt) | unsure_ids, period, now, window)
    return result


# --- which is which


def match(
    lines: Sequence[Line], purchases: Sequence[Purchase], window: timedelta
) -> tuple[dict[int, Match], dict[int, list[Purchase]]]:
    """The match of each line, and the lines that might be about one of several purchases, or share one."""
    by_reference = {purchase.reference: purchase for purchase in purchases}
    by_id = _by_provider_id(purchases)
    matches: dict[int, Match] = {}
    for line in lines:
        if line.own_ref and (own := by_reference.get(line.own_ref)):
            matches[line.number] = Match(own, By.REFERENCE)
        elif line.provider_id and (told := by_id.get(line.provider_id)):
            matches[line.number] = Match(told, By.PROVIDER_ID)
    unsure = _match_by_purchase(lines, purchases, matches, window)
    return matches, unsure


def _by_provider_id(purchases: Sequence[Purchase]) -> dict[str, Purchase]:
    """Purchases by an id that exactly one of them has."""
    times = Counter(purchase.provider_id for purchase in purchases)
    return {one.provider_id: one for one in purchases if one.provider_id and times[one.provider_id] == 1}


def _match_by_purchase(
    lines: Sequence[Line], purchases: Sequence[Purchase], matches: dict[int, Match], window: timedelta
) -> dict[int, list[Purchase]]:
    """Add the pairs that fit each other and nothing else; returns what each line left over might be about."""
    taken = {found.purchase.attempt_id for found in matches.values()}
    free: dict[Hashable, list[Purchase]] = defaultdict(list)
    for purchase in purchases:
        if purchase.attempt_id not in taken and not purchase.is_listed and purchase.target:
            free[_folded(purchase.target), purchase.micros, purchase.currency].append(purchase)
    fits: dict[int, list[Purchase]] = {}
    for line in lines:
        if line.number in matches or line.own_ref or not line.target or line.at is None or line.meaning is M.FEE:
            continue
        near = free.get((_folded(line.target), line.micros, line.currency), [])
        fits[line.number] = [one for one in near if _may_be(line, one, window)]
    wanted = Counter(one.attempt_id for found in fits.values() for one in found)
    for number, found in fits.items():
        if len(found) == 1 and wanted[found[0].attempt_id] == 1:
            matches[number] = Match(found[0], By.PURCHASE)
    return {number: found for number, found in fits.items() if found and number not in matches}


def _may_be(line: Line, purchase: Purchase, window: timedelta) -> bool:
    is_other = bool(line.provider_id and purchase.provider_id)  # two ids that differ: matching by id came first
    return not is_other and line.at is not None and abs(line.at - purchase.at) <= window


def _folded(target: str) -> str:
    return target.strip().casefold()


# --- what differs


def _of_line(line: Line, found: Match | None, period: Period, window: timedelta) -> Iterator[Finding]:
    """What can be said of a line by itself: fees, and its time."""
    purchase = found.purchase if found else None
    fee = line.micros if line.meaning is M.FEE else line.fee_micros
    if fee:
        yield Finding(K.FEE, "", line.number, purchase, None, fee, line.currency)
    if line.at is None or line.meaning is M.OTHER:
        return
    if not period.starts_at - window <= line.at <= period.ends_at + window:
        yield Finding(K.TIME, "outside_period", line.number, purchase, stated_micros=None)
    elif purchase is not None and abs(line.at - purchase.at) > FAR and line.meaning is M.BOUGHT:
        yield Finding(K.TIME, "far_from_ours", line.number, purchase)


def _unknown(lines: Sequence[Line], matches: Mapping[int, Match], unsure: Mapping[int, object]) -> Iterator[Finding]:
    """Charges of which we know nothing, but for those that came back in the same statement."""
    back: Counter[str] = Counter()
    unknown = [line for line in lines if line.number not in matches]
    for line in unknown:
        if line.meaning is M.RETURNED:
            back[line.own_ref or line.provider_id] += 1
    for line in unknown:
        name = line.own_ref or line.provider_id
        if line.meaning not in (M.BOUGHT, M.PENDING):
            continue
        if name and back[name]:
            back[name] -= 1
            continue
        note = "ambiguous" if line.number in unsure else ""
        yield Finding(K.MISSING_HERE, note, line.number, None, None, line.micros, line.currency)


def _unlisted(
    purchases: Sequence[Purchase], listed: set[int], period: Period, now: datetime, window: timedelta
) -> Iterator[Finding]:
    """What we say we bought, well inside the period and old enough, and no statement lists. It proves nothing."""
    starts_at, ends_at = period.starts_at + window, min(period.ends_at - window, now - SETTLE_GRACE)
    for one in purchases:
        if one.state not in BOUGHT or one.is_listed or one.attempt_id in listed:
            continue
        if starts_at <= one.at <= ends_at:
            yield Finding(K.MISSING_THERE, "", None, one, one.micros, None)


def compare(lines: Sequence[Line], found: Sequence[Match]) -> Iterator[Finding]:
    """All lines about one purchase against it: charged once, in the same state, for the same price."""
    purchase = found[0].purchase
    charges = [line for line in lines if _is_new_charge(line, purchase)]
    net = _net(lines, purchase)
    extra = max(net - 1, 0)
    doubled = charges[-extra:] if extra else []
    for line in doubled:
        other = line.provider_id and purchase.provider_id not in ("", line.provider_id)
        note = "another_id" if other else ""
        yield Finding(K.DOUBLED, note, line.number, purchase, purchase.micros, line.micros, line.currency)
    yield from _compare_state(lines, found, net)
    for line, known in zip(lines, found, strict=True):
        if line.meaning is M.BOUGHT and line not in doubled and purchase.state in PRICED:
            yield from _compare_price(line, known)


def _is_new_charge(line: Line, purchase: Purchase) -> bool:
    """Whether the line charges once more, or tells again of a charge that an earlier statement has."""
    is_told_again = purchase.charges > 0 and line.provider_id != "" and line.provider_id in purchase.charged_ids
    return line.meaning is M.BOUGHT and not is_told_again


def _net(lines: Sequence[Line], purchase: Purchase) -> int:
    """How often the purchase is charged in the end, by all statements together."""
    charges = purchase.charges + sum(_is_new_charge(line, purchase) for line in lines)
    return charges - purchase.returns - sum(line.meaning is M.RETURNED for line in lines)


def _compare_state(lines: Sequence[Line], found: Sequence[Match], net: int) -> Iterator[Finding]:
    """The last word of the lines against our state, told of the line that says it."""
    telling = [(line, known) for line, known in zip(lines, found, strict=True) if line.meaning not in (M.FEE, M.OTHER)]
    if not telling:
        return
    line, known = telling[-1]
    purchase = known.purchase
    said = _said([one.meaning for one, _ in telling], net)
    if (note := DISAGREE.get((said, _standing(purchase.state)))) is None:
        return
    may_mend = purchase.state == A.IN_DOUBT and known.by in SURE
    yield Finding(K.STATE, note, line.number, purchase, purchase.micros, line.micros, line.currency, may_mend=may_mend)


def _said(meanings: Sequence[Meaning], net: int) -> Meaning:
    if M.RETURNED in meanings and net <= 0:
        return M.RETURNED
    return M.PENDING if set(meanings) == {M.PENDING} else M.BOUGHT


def _standing(state: AttemptState) -> str:
    if state in FREEING or state == A.PREPARED:
        return "freed"
    return {A.IN_DOUBT: "in_doubt", A.REVERSED: "reversed", A.SENDING: "sending", A.ACCEPTED: "accepted"}.get(
        state, "delivered"
    )


DISAGREE: Mapping[tuple[Meaning, str], str] = {
    (M.BOUGHT, "in_doubt"): "bought_there",
    (M.BOUGHT, "freed"): "bought_there",
    (M.BOUGHT, "reversed"): "bought_there",
    (M.PENDING, "in_doubt"): "pending_there",
    (M.PENDING, "freed"): "pending_there",
    (M.RETURNED, "in_doubt"): "returned_there",
    (M.RETURNED, "accepted"): "returned_there",
    (M.RETURNED, "delivered"): "returned_there",
}
"""What they say against what we know: a pair that is not here agrees, or says nothing yet."""


def _compare_price(line: Line, known: Match) -> Iterator[Finding]:
    purchase = known.purchase
    told = (line.number, purchase, purchase.micros, line.micros, line.currency)
    if line.currency != purchase.currency:
        yield Finding(K.CURRENCY, "", *told)
    elif line.micros != purchase.micros:
        may_mend = known.by in SURE and not (purchase.is_told or purchase.is_surplus)
        yield Finding(K.PRICE, "", *told, may_mend=may_mend and is_believable(line.micros, purchase.micros))


def is_believable(stated: int, expected: int | None) -> bool:
    """Whether a price may be taken over: above zero and not many times the other, as a wrong column would be."""
    if stated <= 0 or not expected:
        return stated > 0
    ratio = Decimal(stated) / Decimal(expected)
    return Decimal(1) / BELIEVABLE <= ratio <= BELIEVABLE
