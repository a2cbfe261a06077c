"""The endpoint of quotes: a price that is promised for some minutes."""

from __future__ import annotations

from ninja import Router, Status

from apps.accounts.models import Scope
from apps.api.auth import KeyedRequest, needs
from apps.api.schemas import NewQuoteIn, ProblemOut, QuoteOut
from apps.common import clock
from apps.common.money import format_amount
from apps.orders.models import Quote
from apps.orders.quotes import make_quote

router = Router(tags=["quotes"])


@router.post(
    "/quotes",
    auth=needs(Scope.READ),
    response={201: QuoteOut, (400, 401, 403, 409, 413, 415, 422, 429, 500): ProblemOut},
    url_name="quotes",
)
def ask_price(request: KeyedRequest, wanted: NewQuoteIn) -> Status[QuoteOut]:
    """Ask for a price that holds for some minutes. It is yours, for this package and quantity, and for one order."""
    quote = make_quote(request.auth.customer, wanted.package, wanted.quantity, clock.now())
    return Status(201, tell_quote(quote))


def tell_quote(quote: Quote) -> QuoteOut:
    """What the customer learns of a quote: never what it is made from."""
    return QuoteOut(
        quote_id=quote.public_id,
        package=quote.package.code,
        quantity=quote.quantity,
        unit_price=format_amount(quote.unit_price_micros),
        price=format_amount(quote.unit_price_micros * quote.quantity),
        currency=quote.currency,
        created_at=quote.created_at,
        expires_at=quote.expires_at,
    )
