"""Bringing a statement in: read, aligned and kept in one transaction, then mended where it is certain."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.db.models import F, QuerySet
from django.utils.translation import gettext as _

from apps.common.crypto import digest
from apps.common.logs import get_logger
from apps.orders.models import Attempt
from apps.orders.reconciling import aligning, mending
from apps.orders.reconciling.aligning import Alignment, Finding, Period, Purchase
from apps.orders.reconciling.dialects import Dialect, Meaning
from apps.orders.reconciling.lines import Fault, Line, read_lines, span_of
from apps.orders.snapshot import paid_micros
from apps.orders.statement_models import Break, BreakEnd, BreakEvent, BreakKind, Statement, StatementLine
from apps.orders.states import AttemptState
from apps.providers.models import Integration
from apps.providers.registry import has_wire

log = get_logger(__name__)

CHUNK = 900
"""Values in one IN list; SQLite takes no more than about a thousand."""

ROWS = 1000
"""Rows written at once."""

MARGIN = timedelta(days=1)
"""Purchases this long before and after the period are looked at, too."""


class NotReadable(Exception):
    """The file was not taken: `faults` says why. Nothing was written."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = list(faults)
        super().__init__(f"{self.__doc__} {self.faults[0].number}: {self.faults[0].text}")


class Busy(Exception):
    """Another statement of the account was brought in at the same moment. Nothing was written: try again."""


@dataclass(frozen=True, slots=True)
class Brought:
    """A file as it came in: its bytes, how to read them, what time it covers (None: from its lines), and who has it.

    `may_be_empty`: it is a whole list of its time, also where it lists nothing.
    """

    content: bytes
    dialect: Dialect
    period: Period | None
    by: str
    name: str = ""
    may_be_empty: bool = False


@dataclass(slots=True)
class Result:
    """What came of a file. `statement` is None for a preview; `counts` are lines and differences by kind."""

    statement: Statement | None
    period: Period
    is_new: bool
    lines: list[Line] = field(default_factory=list)
    lines_new: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    mended: int = 0

    @property
    def differences(self) -> int:
        """How many differences there are."""
        return sum(self.counts.get(kind, 0) for kind in BreakKind)


def preview(integration: Integration, brought: Brought, now: datetime) -> Result:
    """What the import would find; nothing is written. Raises `NotReadable`."""
    lines, period = _read(integration, brought)
    new = _new_lines(integration, lines)
    found = _align(integration, [line for line, _, _ in new], brought, period, now)
    return Result(None, period, is_new=True, lines=lines, lines_new=len(new), counts=_counts(found))


def import_statement(integration: Integration, brought: Brought, now: datetime) -> Result:
    """Keep the file, its new lines and the differences; then mend what is certain.

    The same file again changes nothing, nor do lines that an earlier file had. Raises `NotReadable` or `Busy`.
    """
    lines, period = _read(integration, brought)
    mark = _mark(brought)
    known = Statement.objects.filter(integration=integration, content_hash=mark).first()
    if known is not None:
        return _seen_before(known, lines, now)
    try:
        with transaction.atomic():
            statement, found, count = _store(integration, brought, mark, lines, period, now)
    except IntegrityError as error:
        raise Busy from error
    mended = mending.mend_all(statement, now)
    counts = _counts(found)
    log.info("statement_imported", statement=statement.pk, account=integration.pk, lines=count, mended=mended, **counts)
    return Result(statement, period, is_new=True, lines=lines, lines_new=count, counts=counts, mended=mended)


def _seen_before(known: Statement, lines: list[Line], now: datetime) -> Result:
    """Nothing is compared again; what a crash left unmended is mended."""
    mended = mending.mend_all(known, now)
    counts = Counter(Break.objects.filter(statement=known).values_list("kind", flat=True))
    period = Period(known.starts_at, known.ends_at)
    return Result(known, period, is_new=False, lines=lines, lines_new=0, counts=dict(counts), mended=mended)


def _read(integration: Integration, brought: Brought) -> tuple[list[Line], Period]:
    if not has_wire(integration.kind):
        raise NotReadable([Fault(0, _("this account has no provider: there is nothing to compare"))])
    reading = read_lines(brought.content, brought.dialect, integration.currency, may_be_empty=brought.may_be_empty)
    if reading.faults:
        raise NotReadable(reading.faults)
    span = span_of(reading.lines)
    if brought.period is not None:
        return reading.lines, brought.period
    if span is None:
        raise NotReadable([Fault(0, _("no line has a time: say which days the file covers"))])
    return reading.lines, Period(*span)


def _mark(brought: Brought) -> str:
    """The same bytes, read in the same way for the same days, have the same mark."""
    days = [at.isoformat() for at in (brought.period.starts_at, brought.period.ends_at)] if brought.period else []
    how = json.dumps([brought.dialect.as_json(), days], sort_keys=True)
    return digest(how.encode() + b"\0" + brought.content)


# --- reading our side


def _align(
    integration: Integration, lines: Sequence[Line], brought: Brought, period: Period, now: datetime
) -> Alignment:
    window = timedelta(minutes=brought.dialect.window_minutes)
    purchases = load_purchases(integration, lines, period)
    found = aligning.align(lines, purchases, period, now, window)
    found.findings = _without_told(integration, found.findings, lines)
    return found


def load_purchases(integration: Integration, lines: Sequence[Line], period: Period) -> list[Purchase]:
    """The attempts that the lines name, and all around the period, with what earlier statements said of them."""
    own = Attempt.objects.filter(integration=integration).annotate(target=F("order__user_identifier")).only(*NEEDED)
    around = own.filter(created_at__range=(period.starts_at - MARGIN, period.ends_at + MARGIN))
    found: dict[int, Attempt] = {attempt.pk: attempt for attempt in around.iterator(ROWS)}
    for name, named in (("reference", "own_ref"), ("provider_order_id", "provider_id")):
        known = {getattr(attempt, name) for attempt in found.values()}
        for rows in _chunks(own, name, {getattr(line, named) for line in lines} - known - {""}):
            found.update((attempt.pk, attempt) for attempt in rows)
    told = told_before(found)
    return [as_purchase(attempt, told.get(attempt.pk, ())) for attempt in found.values()]


NEEDED = (
    "id", "kind", "reference", "provider_order_id", "state", "cost_micros", "expected_cost_micros", "cost_currency",
    "created_at", "is_surplus", "delivered_units",
)  # fmt: skip


def _chunks(rows: QuerySet[Attempt], name: str, values: set[str]) -> Iterator[QuerySet[Attempt]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), CHUNK):
        yield rows.filter(**{f"{name}__in": ordered[start : start + CHUNK]})


Told = tuple[str, str]
"""Meaning and provider's id of an earlier line."""


def told_before(attempt_ids: Iterable[int]) -> dict[int, list[Told]]:
    """What earlier lines said of each of these attempts, oldest first."""
    told: dict[int, list[Told]] = defaultdict(list)
    ordered = sorted(attempt_ids)
    for start in range(0, len(ordered), CHUNK):
        rows = StatementLine.objects.filter(attempt_id__in=ordered[start : start + CHUNK]).order_by("id")
        for attempt_id, meaning, provider_id in rows.values_list("attempt_id", "meaning", "provider_id"):
            told[attempt_id or 0].append((meaning, provider_id))
    return told


def as_purchase(attempt: Attempt, told: Sequence[Told]) -> Purchase:
    """The attempt for the comparison; `told` are the earlier lines about it. It needs the annotation `target`."""
    charged = [provider_id for meaning, provider_id in told if meaning == Meaning.BOUGHT]
    again = sum(name != "" and name in charged[:place] for place, name in enumerate(charged))
    return Purchase(
        attempt_id=attempt.pk,
        reference=attempt.reference,
        provider_id=attempt.provider_order_id,
        target=getattr(attempt, "target", ""),
        state=AttemptState(attempt.state),
        micros=paid_micros(attempt),
        is_told=attempt.cost_micros is not None,
        is_surplus=attempt.is_surplus,
        currency=attempt.cost_currency,
        at=attempt.created_at,
        charges=len(charged) - again,
        returns=sum(meaning == Meaning.RETURNED for meaning, _ in told),
        charged_ids=frozenset(charged) - {""},
        is_listed=any(meaning not in (Meaning.FEE, Meaning.OTHER) for meaning, _ in told),
    )


# --- what is new


Fresh = tuple[Line, str, int]
"""A line, its fingerprint, and which of the equal lines of its file it is."""


def _new_lines(integration: Integration, lines: Sequence[Line]) -> list[Fresh]:
    """The lines that no earlier statement of the account has."""
    seen: Counter[str] = Counter()
    fresh: list[Fresh] = []
    for line in lines:
        mark = _fingerprint(line)
        seen[mark] += 1
        fresh.append((line, mark, seen[mark]))
    known: set[tuple[str, int]] = set()
    ordered = sorted(seen)
    for start in range(0, len(ordered), CHUNK):
        rows = StatementLine.objects.filter(integration=integration, fingerprint__in=ordered[start : start + CHUNK])
        known.update(rows.values_list("fingerprint", "nth"))
    return [(line, mark, nth) for line, mark, nth in fresh if (mark, nth) not in known]


def _fingerprint(line: Line) -> str:
    facts = [getattr(line, name) for name in ("own_ref", "provider_id", "target", "micros", "fee_micros", "currency")]
    told = json.dumps([*facts, line.meaning, line.at.isoformat() if line.at else ""])
    return digest(told.encode())[:32]


# --- writing


def _store(
    integration: Integration, brought: Brought, mark: str, lines: Sequence[Line], period: Period, now: datetime
) -> tuple[Statement, Alignment, int]:
    new = _new_lines(integration, lines)
    found = _align(integration, [line for line, _, _ in new], brought, period, now)
    statement = Statement.objects.create(
        integration=integration,
        starts_at=period.starts_at,
        ends_at=period.ends_at,
        content_hash=mark,
        file_name=brought.name[:120],
        dialect=brought.dialect.as_json(),
        lines_read=len(lines),
        lines_new=len(new),
        imported_by=brought.by[:80],
        imported_at=now,
    )
    stored = StatementLine.objects.bulk_create(
        (_as_row(statement, line, fingerprint, nth, found) for line, fingerprint, nth in new), batch_size=ROWS
    )
    _settle(integration, found, now)
    _open(statement, found.findings, {row.number: row for row in stored}, now)
    return statement, found, len(new)


def _as_row(statement: Statement, line: Line, fingerprint: str, nth: int, found: Alignment) -> StatementLine:
    known = found.matches.get(line.number)
    return StatementLine(
        statement=statement,
        integration_id=statement.integration_id,
        number=line.number,
        own_ref=line.own_ref,
        provider_id=line.provider_id,
        target=line.target,
        amount_micros=line.micros,
        fee_micros=line.fee_micros,
        currency=line.currency,
        at=line.at,
        word=line.word,
        meaning=line.meaning,
        fingerprint=fingerprint,
        nth=nth,
        attempt_id=known.purchase.attempt_id if known else None,
        matched_by=known.by if known else "",
    )


def _without_told(integration: Integration, findings: list[Finding], lines: Sequence[Line]) -> list[Finding]:
    """Without what was asked before: an unlisted purchase, and an unknown one by the provider's id for it."""
    ids = {line.number: line.provider_id for line in lines}
    asked = Break.objects.filter(integration=integration)
    unlisted = set(asked.filter(kind=BreakKind.MISSING_THERE).values_list("attempt_id", flat=True))
    unknown = asked.filter(kind=BreakKind.MISSING_HERE).exclude(line__provider_id="")
    unknown_ids = set(unknown.values_list("line__provider_id", flat=True))
    return [
        one
        for one in findings
        if not (one.kind == BreakKind.MISSING_THERE and one.purchase and one.purchase.attempt_id in unlisted)
        and not (one.kind == BreakKind.MISSING_HERE and ids.get(one.number or 0, "") in unknown_ids)
    ]


def _settle(integration: Integration, found: Alignment, now: datetime) -> None:
    """Close what this statement answers: a purchase is listed after all, a second charge has come back."""
    listed = {known.purchase.attempt_id for known in found.matches.values()}
    once = set(found.settled)
    waiting = Break.objects.filter(
        integration=integration, closed_at=None, kind__in=(BreakKind.MISSING_THERE, BreakKind.DOUBLED)
    )
    answered = [
        row.pk for row in waiting if row.attempt_id in (listed if row.kind == BreakKind.MISSING_THERE else once)
    ]
    for start in range(0, len(answered), CHUNK):
        some = answered[start : start + CHUNK]
        Break.objects.filter(pk__in=some, closed_at=None).update(closed_at=now, decision=BreakEnd.SETTLED_THERE)
    BreakEvent.objects.bulk_create(
        (BreakEvent(difference_id=pk, kind=BreakEnd.SETTLED_THERE, at=now) for pk in answered), batch_size=ROWS
    )


def _open(statement: Statement, findings: Sequence[Finding], rows: Mapping[int, StatementLine], now: datetime) -> None:
    opened = Break.objects.bulk_create(
        (as_break(statement, one, rows.get(one.number or 0), now) for one in findings), batch_size=ROWS
    )
    BreakEvent.objects.bulk_create(
        (BreakEvent(difference=one, kind="opened", at=now) for one in opened), batch_size=ROWS
    )


def as_break(statement: Statement, finding: Finding, line: StatementLine | None, now: datetime) -> Break:
    """The finding as a row, not yet stored."""
    purchase = finding.purchase
    return Break(
        integration_id=statement.integration_id,
        statement=statement,
        line=line,
        attempt_id=purchase.attempt_id if purchase else None,
        kind=finding.kind,
        note=finding.note,
        expected_micros=finding.expected_micros,
        expected_currency=purchase.currency if purchase else "",
        stated_micros=finding.stated_micros,
        stated_currency=finding.stated_currency,
        is_certain=finding.may_mend,
        opened_at=now,
    )


def _counts(found: Alignment) -> dict[str, int]:
    counts = Counter(str(one.kind) for one in found.findings)
    return {"matched": len(found.matches), **dict(sorted(counts.items()))}
