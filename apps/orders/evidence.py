"""Raw answers, kept encrypted before anyone interprets them, and the codes read from them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from apps.common.crypto import code_index, digest, seal, seal_text
from apps.common.wire import BODY_LIMIT, HttpReply, MaybeSent, NotSent
from apps.orders.models import Attempt, Evidence, OrderCode
from apps.orders.news import News, body_of, knowledge_of
from apps.providers.contract import Code

CHUNK = 500
"""Indexes that are looked up in one query."""


def record_evidence(attempt: Attempt, news: News) -> Evidence:
    """Append what was asked (redacted) and what came back (sealed, at most 256 KiB)."""
    body = (news.result.raw or body_of(news.exchange))[:BODY_LIMIT]
    answer = news.exchange.answer if news.exchange else None
    return Evidence.objects.create(
        order_id=attempt.order_id,
        attempt=attempt,
        verb=news.verb,
        send_no=news.send_no,
        request=news.exchange.request if news.exchange else "",
        knowledge=knowledge_of(news.exchange),
        http_status=answer.status if isinstance(answer, HttpReply | MaybeSent) else None,
        detail=str(answer.reason)[:120] if isinstance(answer, NotSent | MaybeSent) else "",
        outcome=news.result.outcome,
        sealed_body=seal(body) if body else "",
        body_digest=digest(body) if body else "",
        latency_ms=answer.latency_ms if answer else 0,
        at=news.at,
    )


def store_codes(attempt: Attempt, codes: tuple[Code, ...], *, is_quarantined: bool, now: datetime) -> list[OrderCode]:
    """Append the codes that this attempt does not have yet and return them; what is stored is never overwritten."""
    if not codes:
        return []
    known = set(OrderCode.objects.filter(attempt=attempt).values_list("blind_index", flat=True))
    fresh = {index_of(code): code for code in codes}
    return [
        OrderCode.objects.create(
            order_id=attempt.order_id,
            attempt=attempt,
            sealed=seal_text(code.value),
            sealed_serial=_seal_part(code.serial),
            sealed_pin=_seal_part(code.pin),
            sealed_url=_seal_part(code.url),
            expires_on=code.expires,
            blind_index=index,
            is_quarantined=is_quarantined,
            created_at=now,
        )
        for index, code in fresh.items()
        if index not in known
    ]


def _seal_part(text: str) -> str:
    return seal_text(text) if text else ""


def index_of(code: Code) -> str:
    """The blind index of a code."""
    return code_index(code.value, code.pin)


def was_sold_before(codes: list[OrderCode]) -> bool:
    """Whether any of these codes was delivered by another attempt already."""
    return any(
        OrderCode.objects.filter(blind_index=code.blind_index).exclude(attempt_id=code.attempt_id).exists()
        for code in codes
    )


def delivered_before(tenant_id: int, indexes: Sequence[str]) -> set[str]:
    """Which of these blind indexes belong to a code that an order of the shop has."""
    found: set[str] = set()
    for start in range(0, len(indexes), CHUNK):
        known = OrderCode.objects.filter(order__tenant_id=tenant_id, blind_index__in=indexes[start : start + CHUNK])
        found.update(known.values_list("blind_index", flat=True))
    return found
