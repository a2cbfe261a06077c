"""Questions about attempts: how each is put, and whether it may be put at all."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.common.talk import Exchange
from apps.orders.due import Claim
from apps.orders.models import Attempt, AttemptUnit, DueCheck
from apps.orders.news import News, Verb
from apps.orders.purchase import purchase
from apps.orders.states import AttemptState, UnitStatus
from apps.providers.actions import Action, Facts, Known, Why, allowed
from apps.providers.contract import Capabilities, OrderRef, Outcome, Result
from apps.providers.models import Integration

A = AttemptState

KNOWN: dict[AttemptState, Known] = {
    A.PREPARED: Known.NOT_SENT,
    A.SENDING: Known.SENDING,
    A.NOT_SENT: Known.NOT_SENT,
    A.IN_DOUBT: Known.IN_DOUBT,
    A.ACCEPTED: Known.ACCEPTED,
    A.REFUSED: Known.REFUSED,
    A.FAILED: Known.FAILED,
    A.ABSENT: Known.ABSENT,
    A.ABANDONED: Known.GIVEN_UP,
    A.DELIVERED: Known.DELIVERED,
    A.PARTIAL: Known.DELIVERED,
    A.REVERSED: Known.DELIVERED,
}
"""What each state of an attempt says for certain."""


FIELDS = (
    "order", "integration", "kind", "reference", "product", "state", "send_no", "send_deadline_at",
    "provider_order_id", "created_at", "answered_at", "failed_seen_at", "not_found", "not_found_since",
    *(f"order__{name}" for name in ("tenant", "user_identifier", "extra_field", "params", "chain_path")),
    *(f"order__{name}" for name in ("deadline_at", "reason")),
)  # fmt: skip
"""What a question reads of an attempt and its order; a field that is not here costs a query for each question."""


@dataclass(frozen=True, slots=True)
class Question:
    """A claimed attempt with the verb to ask by. `why_not`: it must not be asked about, for this reason.

    `is_resend`: it was not found, and the safe thing is to send it again. `wants_proof`: not finding it may prove that
    it is not there, so the account must first show that it still knows us.
    """

    claim: Claim
    attempt: Attempt
    verb: Verb
    why_not: Why | None
    units: int
    is_resend: bool = False
    wants_proof: bool = False

    def ref(self) -> OrderRef:
        """How the provider knows the order, and what it was asked for."""
        attempt = self.attempt
        asked = purchase(attempt, attempt.order, self.units)
        return OrderRef(attempt.reference, attempt.provider_order_id, attempt.created_at, asked)

    def news(
        self,
        result: Result,
        exchange: Exchange | None,
        now: datetime,
        barred: Why | None = None,
        *,
        is_account_good: bool = False,
    ) -> News:
        """What came back, as news of this attempt."""
        attempt = self.attempt
        return News(
            attempt_id=attempt.pk,
            order_id=attempt.order_id,
            verb=self.verb,
            result=result,
            exchange=exchange,
            at=now,
            fence=self.claim.fence,
            send_no=attempt.send_no,
            barred=barred,
            is_account_good=is_account_good,
        )


def not_asked(question: Question, now: datetime) -> News:
    """The news that the question was not put, and why."""
    result = Result(Outcome.UNKNOWN, question.attempt.reference, reason_code=f"not_asked_{question.why_not}")
    return question.news(result, None, now, barred=question.why_not)


def load_questions(claims: Sequence[Claim], now: datetime) -> list[Question]:
    """The claimed attempts with their accounts, how to ask about each, and whether that is allowed."""
    ids = [claim.attempt_id for claim in claims]
    attempts = Attempt.objects.select_related("order").only(*FIELDS).in_bulk(ids)
    share_accounts(attempts.values())
    units: dict[int, list[tuple[bool, str]]] = {attempt_id: [] for attempt_id in ids}
    for attempt_id, holds, status in AttemptUnit.objects.filter(attempt__in=ids).values_list(
        "attempt_id", "holds", "unit__status"
    ):
        units[attempt_id].append((holds, status))
    return [_question(claim, attempts[claim.attempt_id], units[claim.attempt_id], now) for claim in claims]


def share_accounts(attempts: Iterable[Attempt]) -> None:
    """Give the attempts their accounts, of which there are few: attempts of one account have the same object."""
    found = list(attempts)
    accounts = Integration.objects.in_bulk({attempt.integration_id for attempt in found})
    for attempt in found:
        attempt.integration = accounts[attempt.integration_id]


def _question(claim: Claim, attempt: Attempt, units: list[tuple[bool, str]], now: datetime) -> Question:
    verb: Verb = "find" if attempt.state in (A.SENDING, A.IN_DOUBT) else "status"
    caps = attempt.integration.caps()
    facts = facts_of(attempt, caps, *holding(units), claim.asked_at, now)
    told = allowed(caps, facts)
    return Question(
        claim,
        attempt,
        verb,
        told[Action.ASK],
        len(units),
        is_resend=told[Action.RESEND] is None and is_sent_again(attempt, caps, now),
        wants_proof=verb == "find" and caps.absent_after_s is not None and facts.quiet_s >= caps.absent_after_s,
    )


def is_sent_again(attempt: Attempt, caps: Capabilities, now: datetime) -> bool:
    """Whether an attempt in doubt that was not found is sent again, if that is safe: not where asking does the same,
    and only while the order is waited for and the account takes purchases."""
    integration, order = attempt.integration, attempt.order
    is_lost = attempt.state == A.IN_DOUBT and attempt.not_found > 0 and not caps.ask_may_create
    is_waited_for = now < order.deadline_at and not order.reason.startswith("conflict:")
    return is_lost and is_waited_for and integration.is_enabled and not integration.is_paused(now)


def load_facts(attempt: Attempt, caps: Capabilities, now: datetime) -> Facts:
    """What is known of one attempt, for whoever wants to know what may be done about it."""
    units = list(AttemptUnit.objects.filter(attempt=attempt).values_list("holds", "unit__status"))
    asked_at = DueCheck.objects.filter(attempt=attempt).values_list("asked_at", flat=True).first()
    return facts_of(attempt, caps, *holding(units), asked_at, now)


def holding(units: Sequence[tuple[bool, str]]) -> tuple[bool, bool]:
    """Whether the attempt holds a unit, and whether the money of one that it holds is still held."""
    held = [status for holds, status in units if holds]
    return bool(held), UnitStatus.HELD in held


def facts_of(
    attempt: Attempt,
    caps: Capabilities,
    is_holding: bool,
    is_money_held: bool,
    asked_at: datetime | None,
    now: datetime,
) -> Facts:
    """What is known of an attempt, as the rules of actions want it; `caps` are its account's."""
    last_arrival_at = attempt.send_deadline_at + timedelta(seconds=caps.place_timeout_s)
    is_back = attempt.state != A.SENDING and attempt.answered_at is not None
    quiet_since = min(last_arrival_at, attempt.answered_at) if is_back and attempt.answered_at else last_arrival_at
    is_failed = attempt.state == A.FAILED  # it got there by a second reading that agreed
    idle_since = max(asked_at or attempt.created_at, attempt.answered_at or attempt.created_at)
    return Facts(
        known=KNOWN[AttemptState(attempt.state)],
        age_s=(now - attempt.created_at).total_seconds(),
        idle_s=(now - idle_since).total_seconds(),
        quiet_s=(now - quiet_since).total_seconds(),
        is_money_held=is_money_held,
        is_holding=is_holding,
        has_provider_id=bool(attempt.provider_order_id),
        failed_readings=2 if is_failed else 1 if attempt.failed_seen_at else 0,
        failed_span_s=seconds_since(attempt.failed_seen_at, now),
        not_found=attempt.not_found,
        not_found_span_s=seconds_since(attempt.not_found_since, now),
        sends=attempt.send_no,
    )


def seconds_since(at: datetime | None, now: datetime) -> float:
    """How long ago that was; zero when it never was."""
    return (now - at).total_seconds() if at else 0
