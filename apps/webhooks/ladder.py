"""What an answer of a receiver means, and when to try again: pure functions. `draw` is a random number in [0, 1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from apps.common.backoff import with_jitter
from apps.common.wire import Answer, HttpReply, MaybeSent, MaybeSentReason, NotSent, NotSentReason
from apps.webhooks.models import DeliveryTry

Outcome = DeliveryTry.Outcome

MINUTE_S, HOUR_S = 60.0, 3600.0

GAPS_S = (
    5.0,
    30.0,
    2 * MINUTE_S,
    10 * MINUTE_S,
    30 * MINUTE_S,
    2 * HOUR_S,
    5 * HOUR_S,
    10 * HOUR_S,
    14 * HOUR_S,
    20 * HOUR_S,
    20 * HOUR_S,
)
"""Seconds between two tries: twelve of them within three days. After the last one the delivery is given up."""

LONGEST_RETRY_AFTER_S = HOUR_S
"""What a receiver asks for beyond this is not granted: its clock or its mind may be wrong."""

LONGEST_REST_S = MINUTE_S

PAUSES_AFTER = timedelta(days=3)
"""An endpoint that took nothing for so long is paused."""

GONE = 410
REDIRECTS = range(300, 400)
TAKEN = range(200, 300)

UNREACHED: dict[NotSentReason, DeliveryTry.Outcome] = {
    NotSentReason.EGRESS: Outcome.FORBIDDEN,
    NotSentReason.TLS: Outcome.TLS,
}
"""Why nothing was sent, where it is not simply that there was no connection."""


@dataclass(frozen=True, slots=True)
class Heard:
    """What became of one try. `detail` names no address. `retry_after_s`: how long the receiver asks us to wait."""

    outcome: DeliveryTry.Outcome
    latency_ms: int
    http_status: int | None = None
    detail: str = ""
    body: bytes = b""
    retry_after_s: float = 0.0


def judge(answer: Answer, now: datetime) -> Heard:
    """Only a complete answer with a status from 200 to 299 is a delivery; whatever else it is, it is tried again."""
    match answer:
        case HttpReply():
            wait_s = read_retry_after(answer.headers.get("retry-after", ""), now)
            return Heard(
                _by_status(answer.status), answer.latency_ms, answer.status, body=answer.body, retry_after_s=wait_s
            )
        case NotSent():
            outcome = UNREACHED.get(answer.reason, Outcome.UNREACHABLE)
            return Heard(outcome, answer.latency_ms, detail=answer.detail)
        case MaybeSent():
            is_late = answer.reason is MaybeSentReason.TIMEOUT
            outcome = Outcome.TIMEOUT if is_late else Outcome.NO_ANSWER
            return Heard(outcome, answer.latency_ms, answer.status, str(answer.reason))


def _by_status(status: int) -> DeliveryTry.Outcome:
    if status in TAKEN:
        return Outcome.TAKEN
    if status in REDIRECTS:
        return Outcome.REDIRECT
    return Outcome.GONE if status == GONE else Outcome.STATUS


def read_retry_after(text: str, now: datetime) -> float:
    """The seconds of a Retry-After header, a number or a date; 0 for none that can be read, an hour at most."""
    try:
        wait_s = float(text) if text.isascii() and text.isdecimal() else _until(text, now)
    except (TypeError, ValueError, OverflowError):
        return 0.0
    return min(max(wait_s, 0.0), LONGEST_RETRY_AFTER_S)


def _until(text: str, now: datetime) -> float:
    at = parsedate_to_datetime(text)
    return ((at if at.tzinfo else at.replace(tzinfo=UTC)) - now).total_seconds()


def gap_s(tries: int, retry_after_s: float, draw: float) -> float | None:
    """Seconds until the next try after `tries` have failed, never sooner than the receiver asks; None: given up."""
    if tries > len(GAPS_S):
        return None
    return with_jitter(GAPS_S[tries - 1], draw, floor_s=retry_after_s)


def rest_s(failures: int, retry_after_s: float) -> float:
    """Seconds for which nothing at all goes to an endpoint after so many failures in a row."""
    return max(min(5.0 * 2.0 ** min(failures - 1, 10), LONGEST_REST_S), retry_after_s)
