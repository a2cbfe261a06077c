"""Quotes: a price promised to one customer for one package and quantity, for some minutes and one order."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from apps.accounts.models import Customer
from apps.catalog.models import Package
from apps.common.logs import get_logger
from apps.orders.models import Order, Quote
from apps.orders.offers import check_code, check_number, check_quantity, load_offer, load_package
from apps.orders.refusals import QuoteExpired, QuoteMismatch, QuoteUsed, UnknownQuote

log = get_logger(__name__)

KEPT_FOR = timedelta(days=1)
"""How long a quote that nobody used is still told apart from one that never was."""


def make_quote(customer: Customer, code: str, quantity: int, now: datetime) -> Quote:
    """Promise today's price for the shop's quote time. Moves no money. Raises a child of `OrderRefused`."""
    check_code(code)
    check_number(quantity)
    package = load_package(customer, code)
    check_quantity(package, quantity)
    quote = _promise(customer, package, quantity, now)
    quote.save()
    Quote.objects.filter(customer=customer, order__isnull=True, expires_at__lt=now - KEPT_FOR).delete()
    log.info("quote_made", quote=quote.public_id, customer=customer.pk, package=package.code, quantity=quantity)
    return quote


def _promise(customer: Customer, package: Package, quantity: int, now: datetime) -> Quote:
    offer = load_offer(customer, package, quantity, None, now)
    cost = offer.way.cost
    return Quote(
        tenant_id=customer.tenant_id,
        customer=customer,
        package=package,
        public_id=f"q_{secrets.token_urlsafe(18)}",
        quantity=quantity,
        unit_price_micros=offer.unit_price_micros,
        currency=offer.currency,
        unit_cost_micros=cost.micros if cost else None,
        cost_rate=cost.conversion.first if cost else None,
        cost_rate_via=cost.conversion.second if cost else None,
        created_at=now,
        expires_at=now + timedelta(minutes=package.tenant.quote_minutes),
    )


def load_quote(
    customer: Customer, public_id: str, package: Package, quantity: int, now: datetime, key: str = ""
) -> Quote:
    """The customer's quote for exactly this, not over, and unused but by the order with this idempotency key.

    Raises a child of `OrderRefused`.
    """
    quote = Quote.objects.filter(customer=customer, public_id=public_id).first()
    if quote is None:
        text = _("there is no quote '%(quote)s'; ask for one with POST /api/v1/quotes")
        raise UnknownQuote(text % {"quote": public_id}, "/quote_id")
    promised = (quote.package_id, quote.quantity, quote.currency)
    if promised != (package.pk, quantity, customer.currency):
        raise QuoteMismatch(
            _("this quote is for another package or quantity; order exactly what was quoted"), "/quote_id"
        )
    check_unused(customer, public_id, key)
    if now >= quote.expires_at:
        text = _("this quote was good until %(until)s; ask for a new one")
        raise QuoteExpired(text % {"until": f"{quote.expires_at:%Y-%m-%dT%H:%M:%SZ}"}, "/quote_id")
    return quote


def check_unused(customer: Customer, public_id: str, key: str = "") -> None:
    """Raise `QuoteUsed` when an order was placed with this quote, another than the one with this idempotency key."""
    orders = Order.objects.filter(customer=customer, quote__public_id=public_id)
    used = orders.exclude(idempotency_key=key).first()
    if used is not None:
        text = _("order %(order)d was placed with this quote; ask for a new one")
        raise QuoteUsed(text % {"order": used.pk}, "/quote_id")
