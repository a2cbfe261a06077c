"""What a customer can buy now and for how much: the package, its quantity rule, and a price that covers its cost."""

from __future__ import annotations

from datetime import datetime

from django.utils.translation import gettext as _

from apps.accounts.models import Customer
from apps.catalog.models import MAX_QUANTITY, Package
from apps.catalog.prices import groups_of
from apps.common.money import MAX_MICROS
from apps.orders.models import Quote
from apps.orders.refusals import NotSellable, PriceUnderRevision, QuoteWithdrawn, UnknownPackage, WrongQuantity
from apps.orders.sellable import CannotSell, Offer, SoldAtLoss, look_at, make_offer


def check_code(package: object) -> None:
    """Raise `UnknownPackage` for what cannot be the code of a package."""
    if not is_storable(package, 60):
        raise UnknownPackage(_("package must be the code of a package, at most 60 printable characters"), "/package")


def check_number(quantity: object) -> None:
    """Raise `WrongQuantity` for what no package may be ordered in."""
    if type(quantity) is not int or not 1 <= quantity <= MAX_QUANTITY:
        text = _("quantity must be a whole number from 1 to %(most)d")
        raise WrongQuantity(text % {"most": MAX_QUANTITY}, "/quantity")


def is_storable(text: object, limit: int) -> bool:
    """Whether something is a text of at most `limit` printable characters."""
    return isinstance(text, str) and len(text) <= limit and text.isprintable()


def load_package(customer: Customer, code: str) -> Package:
    """The package on sale in the customer's shop. Raises `UnknownPackage`."""
    packages = Package.objects.select_related("product", "tenant").filter(is_active=True, product__is_active=True)
    package = packages.filter(tenant_id=customer.tenant_id, code=code).first()
    if package is None:
        raise UnknownPackage(_("there is no package '%(package)s' on sale") % {"package": code[:60]}, "/package")
    return package


def check_quantity(package: Package, quantity: int) -> None:
    """Raise `WrongQuantity` for what the package's quantity rule does not allow."""
    if not package.allows(quantity):
        text = _("quantity must be %(rule)s for package '%(package)s'")
        raise WrongQuantity(text % {"rule": package.quantity_rule(), "package": package.code}, "/quantity")


def load_offer(customer: Customer, package: Package, quantity: int, quote: Quote | None, now: datetime) -> Offer:
    """The price for this customer, what was quoted or else what it is now, and the way to buy it.

    Raises `NotSellable` and `WrongQuantity`; where the price does not cover the cost `QuoteWithdrawn` with a quote,
    `PriceUnderRevision` without one.
    """
    promised_micros = quote.unit_price_micros if quote is not None else None
    (sale,) = look_at([package], now)
    try:
        offer = make_offer(sale, customer.currency, groups_of(customer), quantity, promised_micros)
    except SoldAtLoss as loss:
        if quote is not None:
            raise QuoteWithdrawn(f"quote {quote.public_id} is withdrawn: {loss}", "/quote_id") from loss
        raise PriceUnderRevision(f"package {package.code!r} is not sold: {loss}", "/package") from loss
    except CannotSell as error:
        raise NotSellable(f"package {package.code!r} cannot be delivered now: {error}", "/package") from error
    if offer.unit_price_micros * quantity > MAX_MICROS:
        raise WrongQuantity(_("the price of this quantity is too large"), "/quantity")
    return offer
