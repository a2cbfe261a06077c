"""The states of orders, units and attempts, and every edge between them: the one table."""

from __future__ import annotations

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _


class OrderStatus(TextChoices):
    """Where an order stands for the customer and the money."""

    PENDING = "pending", _("pending")
    PROCESSING = "processing", _("processing")
    REVIEW = "review", _("in review")
    COMPLETED = "completed", _("completed")
    PARTIAL = "partial", _("partly completed")
    REJECTED = "rejected", _("rejected")
    CANCELLED = "cancelled", _("cancelled")
    REFUNDED = "refunded", _("refunded")


class ExternalStatus(TextChoices):
    """Where the order stands at the provider, in people's words."""

    NOT_SENT = "not_sent", _("not sent")
    SENDING = "sending", _("being sent")
    SENT = "sent", _("sent")
    PROCESSING = "processing", _("in progress there")
    COMPLETED = "completed", _("done there")
    PARTIAL = "partial", _("partly done there")
    FAILED = "failed", _("failed there")
    UNKNOWN = "unknown", _("unknown")
    REVERSED = "reversed", _("reversed there")


class UnitStatus(TextChoices):
    """Where the money of one unit is."""

    HELD = "held", _("held")
    CAPTURED = "captured", _("captured")
    RELEASED = "released", _("released")


class AttemptState(TextChoices):
    """What we know of one purchase attempt."""

    PREPARED = "prepared", _("prepared")
    SENDING = "sending", _("being sent")
    ACCEPTED = "accepted", _("accepted")
    DELIVERED = "delivered", _("delivered")
    PARTIAL = "partial", _("partly delivered")
    FAILED = "failed", _("failed")
    REFUSED = "refused", _("refused")
    NOT_SENT = "not_sent", _("not sent")
    IN_DOUBT = "in_doubt", _("in doubt")
    ABSENT = "absent", _("proven absent")
    ABANDONED = "abandoned", _("abandoned")
    REVERSED = "reversed", _("reversed")


class DueKind(TextChoices):
    """What a due row wants done."""

    DISPATCH = "dispatch", _("send it")
    RESOLVE = "resolve", _("find out")
    CHECK = "check", _("ask its state")
    CODE = "code", _("fetch the PIN")
    WATCH = "watch", _("watch for late news")


S, A = OrderStatus, AttemptState

ORDER_EDGES: dict[OrderStatus, frozenset[OrderStatus]] = {
    S.PENDING: frozenset({S.PROCESSING, S.CANCELLED, S.REVIEW}),
    S.PROCESSING: frozenset({S.PENDING, S.COMPLETED, S.PARTIAL, S.REJECTED, S.REVIEW}),
    S.REVIEW: frozenset({S.PROCESSING, S.COMPLETED, S.PARTIAL, S.REJECTED}),
    S.COMPLETED: frozenset({S.REFUNDED}),
    S.PARTIAL: frozenset({S.REFUNDED}),
    S.REJECTED: frozenset(),
    S.CANCELLED: frozenset(),
    S.REFUNDED: frozenset(),
}

ATTEMPT_EDGES: dict[AttemptState, frozenset[AttemptState]] = {
    A.SENDING: frozenset({A.ACCEPTED, A.DELIVERED, A.PARTIAL, A.FAILED, A.REFUSED, A.NOT_SENT, A.IN_DOUBT}),
    A.NOT_SENT: frozenset({A.PREPARED, A.DELIVERED}),
    A.PREPARED: frozenset({A.SENDING}),
    A.IN_DOUBT: frozenset({A.ACCEPTED, A.DELIVERED, A.PARTIAL, A.FAILED, A.REFUSED, A.ABSENT, A.ABANDONED, A.SENDING}),
    A.ACCEPTED: frozenset({A.DELIVERED, A.PARTIAL, A.FAILED, A.ABANDONED}),
    A.REFUSED: frozenset({A.DELIVERED}),
    A.FAILED: frozenset({A.DELIVERED}),
    A.ABSENT: frozenset({A.DELIVERED}),
    A.ABANDONED: frozenset({A.DELIVERED}),
    A.DELIVERED: frozenset({A.REVERSED}),
    A.PARTIAL: frozenset(),
    A.REVERSED: frozenset(),
}

SETTLED = frozenset({S.COMPLETED, S.PARTIAL, S.REJECTED, S.CANCELLED, S.REFUNDED})
"""Orders with no money held and nothing left to do."""

OPEN_ORDERS = tuple(status for status in OrderStatus if status not in SETTLED)
"""Orders that somebody still works on, in the order of the table; an index holds them alone."""

HOLDING = frozenset({A.PREPARED, A.SENDING, A.ACCEPTED, A.IN_DOUBT, A.DELIVERED, A.PARTIAL, A.REVERSED})
"""Attempts that hold their units: nobody may buy these again."""

FREEING = frozenset({A.REFUSED, A.NOT_SENT, A.ABSENT, A.FAILED, A.ABANDONED})
"""Attempts that let their units go."""

OPEN_ATTEMPTS = frozenset({A.SENDING, A.ACCEPTED, A.IN_DOUBT})
"""Attempts about which the provider has not had its last word."""


class ForbiddenEdge(Exception):
    """A change of state that is not in the table; nothing was written."""


def check_order_edge(old: str, new: str) -> None:
    """Raise `ForbiddenEdge` unless an order may go from `old` to `new` (staying is always allowed)."""
    if old != new and OrderStatus(new) not in ORDER_EDGES[OrderStatus(old)]:
        raise ForbiddenEdge(f"an order cannot go from {old} to {new}")


def check_attempt_edge(old: str, new: str) -> None:
    """Raise `ForbiddenEdge` unless an attempt may go from `old` to `new` (staying is always allowed)."""
    if old != new and AttemptState(new) not in ATTEMPT_EDGES[AttemptState(old)]:
        raise ForbiddenEdge(f"an attempt cannot go from {old} to {new}")
