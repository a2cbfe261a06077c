"""Why an order or a quote is refused: one class for each thing that a caller can do about it."""

from __future__ import annotations

from django.utils.translation import gettext as _


class OrderRefused(Exception):
    """The order was not created: nothing was written, no money moved, the key is still free."""

    code = "order_refused"

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer


class BadKey(OrderRefused):
    """The Idempotency-Key is missing or not 1 to 120 visible ASCII characters."""

    code = "idempotency_key_invalid"


class IdempotencyMismatch(OrderRefused):
    """This Idempotency-Key belongs to an order with another content."""

    code = "idempotency_mismatch"


class InFlight(Exception):
    """Another request with this Idempotency-Key is being served, and may place the order yet."""


class ClientReferenceUsed(OrderRefused):
    """Another order of this customer has this client_reference."""

    code = "client_reference_used"


class RepeatSuspected(OrderRefused):
    """The same was ordered for the same recipient a short while ago."""

    code = "repeat_suspected"

    def __init__(self, order_id: int, next_repeat: int) -> None:
        text = _(
            "order %(order)d is the same for the same recipient; to order it again, send `repeat: %(repeat)d` "
            "(how many of the same you have wanted so far)"
        )
        super().__init__(text % {"order": order_id, "repeat": next_repeat}, "/repeat")
        self.order_id = order_id
        self.next_repeat = next_repeat


class LoopRefused(OrderRefused):
    """The order has been here before: this shop would sell to itself through others."""

    code = "order_loop"


class UnknownPackage(OrderRefused):
    """No package with this code is sold in this shop."""

    code = "package_unknown"


class NotSellable(OrderRefused):
    """The package cannot be delivered at the moment."""

    code = "package_not_sellable"


class WrongQuantity(OrderRefused):
    """The package's quantity rule does not allow this many."""

    code = "quantity_not_allowed"


class BadField(OrderRefused):
    """An input field is missing, unknown, or does not look as it must."""

    code = "field_invalid"


class NotEnoughBalance(OrderRefused):
    """The wallet does not cover the price."""

    code = "balance_not_enough"


class PriceUnderRevision(OrderRefused):
    """The price of the package does not cover its cost at the moment."""

    code = "price_under_revision"


class UnknownQuote(OrderRefused):
    """This customer has no quote with this id."""

    code = "quote_unknown"


class QuoteMismatch(OrderRefused):
    """The quote is for another package or quantity."""

    code = "quote_mismatch"


class QuoteExpired(OrderRefused):
    """The quote is over."""

    code = "quote_expired"


class QuoteUsed(OrderRefused):
    """Another order was placed with this quote."""

    code = "quote_used"


class QuoteWithdrawn(OrderRefused):
    """The quoted price no longer covers the cost of the package."""

    code = "quote_withdrawn"
