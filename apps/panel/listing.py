"""The list of orders: which ones a person sees, by filter, search and page, as rows or as a file."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from datetime import date, datetime, time, timedelta, tzinfo
from urllib.parse import urlencode

from django.db.models import Exists, F, OuterRef, Q, QuerySet, Value
from django.db.models.functions import Upper
from django.utils.translation import gettext as _

from apps.accounts.models import Customer
from apps.common.crypto import code_index
from apps.common.money import Money, format_amount
from apps.common.sheets import safe_cell
from apps.orders.decisions.tags import LONGEST as LONGEST_TAG
from apps.orders.decisions.tags import tags_of
from apps.orders.models import Attempt, DueCheck, Order, OrderCode
from apps.orders.states import SETTLED, DueKind, ExternalStatus, OrderStatus
from apps.orders.tag_models import OrderTag
from apps.panel import words

PAGE = 50
CHUNK = 1000
"""Orders that a file reads at a time."""

OPEN = "open"
LONGEST_TERM = 120
LONGEST_ID = 18
"""Digits: a longer number is a reference, never an order's."""

OPEN_STATUSES = tuple(status for status in OrderStatus if status not in SETTLED)
YES = "1"


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the person asked to see: exactly the query string, so that an address can be given to a colleague.

    `since` and `until` are days of the shop; `hours` shows orders that are older; `unsent`, `no_pin` and
    `sandbox` are "1" or empty; `sandbox` shows the orders of test keys, and no others.
    """

    status: str = ""
    reason: str = ""
    provider: int | None = None
    product: int | None = None
    customer: str = ""
    since: str = ""
    until: str = ""
    hours: int | None = None
    unsent: str = ""
    no_pin: str = ""
    sandbox: str = ""
    tag: str = ""
    term: str = ""
    before: int | None = None

    @classmethod
    def read(cls, query: Mapping[str, str]) -> Wanted:
        """The query string; what makes no sense counts as not given."""
        status, reason = query.get("status", ""), query.get("reason", "")
        return cls(
            status=status if status == OPEN or status in OrderStatus else "",
            reason=reason if reason in words.REASONS else "",
            provider=as_id(query.get("provider", "")),
            product=as_id(query.get("product", "")),
            customer=query.get("customer", "").replace("\x00", "").strip()[:LONGEST_TERM],
            since=day_of(query.get("since", "")),
            until=day_of(query.get("until", "")),
            hours=_hours(query.get("hours", "")),
            unsent=YES if query.get("unsent") == YES else "",
            no_pin=YES if query.get("no_pin") == YES else "",
            sandbox=YES if query.get("sandbox") == YES else "",
            tag=query.get("tag", "").replace("\x00", "").strip()[:LONGEST_TAG],
            term=read_term(query),
            before=as_id(query.get("before", "")),
        )

    def query(self, before: int | None = None) -> str:
        """The query string of this filter, from the order `before` on."""
        parts = {field.name: getattr(self, field.name) for field in fields(self)}
        parts["q"] = parts.pop("term")
        return urlencode({name: value for name, value in {**parts, "before": before}.items() if value})

    @property
    def is_narrowed(self) -> bool:
        """Whether anything but a page was asked for."""
        return replace(self, before=None) != Wanted()


def day_of(text: str) -> str:
    """The day, if it is one on which an order can have been placed."""
    try:
        day = date.fromisoformat(text)
    except ValueError:
        return ""
    return day.isoformat() if text == day.isoformat() and 2000 <= day.year < 3000 else ""


def _hours(text: str) -> int | None:
    hours = as_id(text)
    return hours if hours is not None and hours <= 100_000 else None


@dataclass(frozen=True, slots=True)
class Row:
    """One order as a line of the list.

    `provider` is where it was tried last, `next_at` when something is done about it next. Cost and margin are those
    that were booked; while the order is open, those that are expected.
    """

    order: Order
    reason: str
    money: str = ""
    age: str = ""
    provider: str = ""
    next_at: datetime | None = None
    cost: Money | None = None
    margin: Money | None = None
    is_expected: bool = False
    tags: tuple[str, ...] = ()

    @property
    def is_loss(self) -> bool:
        """Whether it costs more than it brings."""
        return self.margin is not None and self.margin.micros < 0


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of the list, and what is open in all of the person's shops."""

    wanted: Wanted
    rows: list[Row]
    next_query: str
    oldest_open: Row | None
    is_first: bool


def load_listing(tenant_ids: list[int], wanted: Wanted, now: datetime, zone: tzinfo) -> Listing:
    """The newest orders first, one page of them. The same few queries for any page."""
    found = select_orders(tenant_ids, wanted, now, zone).select_related("customer").order_by("-id")
    if wanted.before is not None:
        found = found.filter(pk__lt=wanted.before)
    page = list(found[: PAGE + 1])
    shown = page[:PAGE]
    oldest = Order.objects.filter(tenant_id__in=tenant_ids, status__in=OPEN_STATUSES).order_by("id").first()
    return Listing(
        wanted=wanted,
        rows=load_rows(shown, now),
        next_query=wanted.query(before=shown[-1].pk) if len(page) > PAGE else "",
        oldest_open=as_row(oldest) if oldest else None,
        is_first=wanted.before is None,
    )


def load_rows(orders: list[Order], now: datetime) -> list[Row]:
    """These orders with where they were tried last, what happens next and their tags; three queries."""
    attempts = Attempt.objects.filter(order__in=orders).order_by("id").values_list("order_id", "integration_name")
    providers = dict(attempts)
    dues = DueCheck.objects.filter(order__in=orders).exclude(kind=DueKind.WATCH).order_by("-next_at")
    next_at = dict(dues.values_list("order_id", "next_at"))
    tags = {pk: tuple(tag.name for tag in found) for pk, found in tags_of(orders).items()}
    rows = (_full_row(order, providers.get(order.pk, ""), next_at.get(order.pk), now) for order in orders)
    return [replace(row, tags=tags.get(row.order.pk, ())) for row in rows]


def _full_row(order: Order, provider: str, next_at: datetime | None, now: datetime) -> Row:
    is_open = order.status not in SETTLED
    cost, margin = (_expected(order) if is_open else _booked(order)) if provider or not is_open else (None, None)
    return replace(
        as_row(order),
        money=words.say(words.MONEY_PILLS, order.status),
        age=age_of(order, now),
        provider=provider,
        next_at=next_at if is_open else None,
        cost=cost,
        margin=margin,
        is_expected=is_open,
    )


def _booked(order: Order) -> tuple[Money | None, Money | None]:
    profit = order.profit_micros
    if order.cost_micros is None or profit is None:
        return None, None
    return Money(order.cost_micros, order.currency), Money(profit, order.currency)


def _expected(order: Order) -> tuple[Money | None, Money | None]:
    if not order.expected_cost_micros:
        return None, None
    margin = order.price_micros - order.expected_cost_micros
    return Money(order.expected_cost_micros, order.currency), Money(margin, order.currency)


def age_of(order: Order, now: datetime) -> str:
    """How long it has been open, or how long it took, in full minutes: "3 d 4 h"."""
    seconds = int(((order.settled_at or now) - order.created_at).total_seconds())
    days, hours, minutes = seconds // 86_400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return _("%(days)d d %(hours)d h") % {"days": days, "hours": hours}
    if hours:
        return _("%(hours)d h %(minutes)d min") % {"hours": hours, "minutes": minutes}
    return _("%(minutes)d min") % {"minutes": max(minutes, 0)}


def as_row(order: Order) -> Row:
    """The order with its reason in words; a settled order needs none."""
    return Row(order, words.say(words.REASONS, order.reason) if order.reason else "")


def neighbours(order: Order, found: QuerySet[Order]) -> tuple[int | None, int | None]:
    """The numbers of the newer and the older order beside this one in the list."""
    newer = found.filter(pk__gt=order.pk).order_by("id").values_list("pk", flat=True).first()
    older = found.filter(pk__lt=order.pk).order_by("-id").values_list("pk", flat=True).first()
    return newer, older


# --- which orders


def select_orders(tenant_ids: list[int], wanted: Wanted, now: datetime, zone: tzinfo) -> QuerySet[Order]:
    """All orders of these shops that were asked for, on every page."""
    found = _search(_by_status(Order.objects.filter(tenant_id__in=tenant_ids), wanted.status), wanted.term)
    if wanted.reason:
        found = found.filter(status__in=OPEN_STATUSES, reason=wanted.reason)
    if wanted.unsent:
        found = found.filter(status__in=OPEN_STATUSES, sent_at=None)
    if wanted.no_pin:
        found = _without_pin(found)
    if wanted.provider is not None:
        found = found.filter(pk__in=Attempt.objects.filter(integration_id=wanted.provider).values("order_id"))
    if wanted.product is not None:
        found = found.filter(package__product_id=wanted.product)
    if wanted.tag:
        found = found.filter(pk__in=OrderTag.objects.filter(name=wanted.tag).values("order_id"))
    if wanted.customer:
        named = Customer.objects.filter(tenant_id__in=tenant_ids, name__icontains=wanted.customer)
        found = found.filter(customer_id__in=named.values("pk"))
    return found.filter(**_times(wanted, now, zone))


def _by_status(orders: QuerySet[Order], status: str) -> QuerySet[Order]:
    if status == OPEN:
        return orders.filter(status__in=OPEN_STATUSES)
    return orders.filter(status=status) if status else orders


def _without_pin(orders: QuerySet[Order]) -> QuerySet[Order]:
    """Open orders that the provider calls done, and no code has come."""
    codes = OrderCode.objects.filter(order=OuterRef("pk"), is_quarantined=False)
    done = (ExternalStatus.COMPLETED, ExternalStatus.PARTIAL)
    waiting = orders.filter(status__in=OPEN_STATUSES, needs_code=True, external_status__in=done)
    return waiting.filter(~Exists(codes))


def _times(wanted: Wanted, now: datetime, zone: tzinfo) -> dict[str, datetime]:
    found: dict[str, datetime] = {}
    if wanted.since:
        found["created_at__gte"] = midnight(wanted.since, zone)
    if wanted.until:
        found["created_at__lt"] = midnight(wanted.until, zone, days=1)
    if wanted.hours is not None:
        found["created_at__lte"] = now - timedelta(hours=wanted.hours)
    return found


def midnight(day: str, zone: tzinfo, days: int = 0) -> datetime:
    """The beginning of the day, or of one so many days later, in the shop's time zone."""
    return datetime.combine(date.fromisoformat(day) + timedelta(days=days), time(), tzinfo=zone)


def _search(orders: QuerySet[Order], term: str) -> QuerySet[Order]:
    """By number, recipient, PIN, and every reference that anybody has for the order; each in full, in any case."""
    if not term:
        return orders
    upper = Upper(Value(term))  # by the database on both sides, which has its own mind about letters
    own = Order.objects.order_by()
    found = (
        own.filter(provider_referans=term)
        .values("pk")
        .union(
            _named(own.exclude(user_identifier=""), "user_identifier", upper).values("pk"),
            _named(own.exclude(external_order_id=""), "external_order_id", upper).values("pk"),
            _named(own.filter(client_reference__isnull=False), "client_reference", upper).values("pk"),
            Attempt.objects.order_by().filter(reference=term).values("order_id"),
            _attempts_named(upper).values("order_id"),
            OrderCode.objects.order_by().filter(blind_index=code_index(term, "")).values("order_id"),
        )
    )
    number = as_id(term.removeprefix("#"))
    is_found = Q(pk__in=found) | Q(pk=number) if number else Q(pk__in=found)
    return orders.filter(is_found)


def _named(orders: QuerySet[Order], column: str, upper: Upper) -> QuerySet[Order]:
    return orders.annotate(upper=Upper(F(column))).filter(upper=upper)


def _attempts_named(upper: Upper) -> QuerySet[Attempt]:
    named = Attempt.objects.order_by().exclude(provider_order_id="")
    return named.annotate(upper=Upper("provider_order_id")).filter(upper=upper)


def read_term(query: Mapping[str, str]) -> str:
    """What a person searches for."""
    return query.get("q", "").replace("\x00", "").strip()[:LONGEST_TERM]


def as_id(text: str) -> int | None:
    """The number of a row, which is above zero; None for everything else."""
    is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_ID
    return int(text) or None if is_number else None


# --- as a file


def file_head() -> list[str]:
    """The columns."""
    return [
        _("Number"),
        _("Created"),
        _("Settled"),
        _("Status"),
        _("At the provider"),
        _("Reason"),
        _("Product"),
        _("Package"),
        _("Quantity"),
        _("Recipient"),
        _("Customer"),
        _("The customer's reference"),
        _("Our reference at the provider"),
        _("The provider's number"),
        _("Provider"),
        _("Price"),
        _("Brought"),
        _("Cost"),
        _("Profit"),
        _("Currency"),
        _("Tags"),
    ]


def file_rows(found: QuerySet[Order], zone: tzinfo) -> Iterator[list[str]]:
    """Every order that was asked for, newest first, read in portions: texts are no formulas, amounts plain numbers."""
    orders = found.select_related("customer").prefetch_related("attempts", "tags").order_by("-id")
    for order in orders.iterator(chunk_size=CHUNK):
        yield _file_row(order, zone)


def _file_row(order: Order, zone: tzinfo) -> list[str]:
    tried = [attempt.integration_name for attempt in sorted(order.attempts.all(), key=lambda one: one.pk)]
    texts = [
        order.product_name,
        order.package_name,
        str(order.quantity),
        order.user_identifier,
        order.customer.name,
        order.client_reference or "",
        order.provider_referans,
        order.external_order_id,
        tried[-1] if tried else "",
    ]
    amounts = (order.price_micros, order.captured_micros, order.cost_micros, order.profit_micros)
    return [
        str(order.pk),
        *_clock((order.created_at, order.settled_at), zone),
        order.status,
        order.external_status,
        order.reason,
        *map(safe_cell, texts),
        *("" if micros is None else format_amount(micros) for micros in amounts),
        order.currency,
        safe_cell(", ".join(sorted(tag.name for tag in order.tags.all()))),
    ]


def _clock(times: Iterable[datetime | None], zone: tzinfo) -> list[str]:
    return [f"{at.astimezone(zone):%Y-%m-%d %H:%M:%S}" if at else "" for at in times]
