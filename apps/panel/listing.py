"""The list of orders: which ones a person sees, by filter, search and page."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from django.db.models import Q, QuerySet

from apps.orders.models import Attempt, Order
from apps.orders.states import SETTLED, OrderStatus
from apps.panel import words

PAGE = 50
OPEN = "open"
LONGEST_TERM = 120
LONGEST_ID = 18
"""Digits: a longer number is a reference, never an order's."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person asked to see."""

    status: str = ""
    term: str = ""
    before: int | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Wanted:
        """The query string; what makes no sense counts as not given."""
        status, before = query.get("status", ""), query.get("before", "")
        return cls(
            status=status if status == OPEN or status in OrderStatus else "",
            term=read_term(query),
            before=as_id(before),
        )

    def query(self, before: int | None = None) -> str:
        """The query string of this filter, from the order `before` on."""
        parts = {"status": self.status, "q": self.term, "before": before}
        return urlencode({name: value for name, value in parts.items() if value})


@dataclass(frozen=True, slots=True)
class Row:
    """One order as a line of the list."""

    order: Order
    reason: str


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the list, and what is open in all of the person's shops."""

    wanted: Wanted
    rows: list[Row]
    next_query: str
    oldest_open: Row | None
    is_first: bool


def load_listing(tenant_ids: list[int], wanted: Wanted) -> Listing:
    """The newest orders first, one page of them."""
    own = Order.objects.filter(tenant_id__in=tenant_ids)
    found = _search(_by_status(own, wanted.status), wanted.term).select_related("customer").order_by("-id")
    if wanted.before is not None:
        found = found.filter(pk__lt=wanted.before)
    page = list(found[: PAGE + 1])
    shown = page[:PAGE]
    oldest = own.exclude(status__in=SETTLED).order_by("id").first()
    return Listing(
        wanted=wanted,
        rows=[as_row(order) for order in shown],
        next_query=wanted.query(before=shown[-1].pk) if len(page) > PAGE else "",
        oldest_open=as_row(oldest) if oldest else None,
        is_first=wanted.before is None,
    )


def as_row(order: Order) -> Row:
    """The order with its reason in words; a settled order needs none."""
    return Row(order, words.say(words.REASONS, order.reason) if order.reason else "")


def _by_status(orders: QuerySet[Order], status: str) -> QuerySet[Order]:
    if status == OPEN:
        return orders.exclude(status__in=SETTLED)
    return orders.filter(status=status) if status else orders


def _search(orders: QuerySet[Order], term: str) -> QuerySet[Order]:
    """By number, recipient, and every reference that anybody has for the order."""
    if not term:
        return orders
    attempts = Attempt.objects.filter(Q(reference__contains=term) | Q(provider_order_id__contains=term))
    found = (
        Q(user_identifier__icontains=term)
        | Q(client_reference__icontains=term)
        | Q(provider_referans__contains=term)
        | Q(external_order_id__icontains=term)
        | Q(pk__in=attempts.values("order_id"))
    )
    number = as_id(term.removeprefix("#"))
    return orders.filter(found | Q(pk=number)) if number else orders.filter(found)


def read_term(query: Mapping[str, str]) -> str:
    """What a person searches for."""
    return query.get("q", "").replace("\x00", "").strip()[:LONGEST_TERM]


def as_id(text: str) -> int | None:
    """The number of a row, which is above zero; None for everything else."""
    is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_ID
    return int(text) or None if is_number else None
