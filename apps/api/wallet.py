"""The endpoints of the caller's wallet: its balance, and what changed it. Reads only."""

from __future__ import annotations

from ninja import Query, Router

from apps.accounts.models import Scope
from apps.api import cursors
from apps.api.auth import KeyedRequest, needs
from apps.api.schemas import ChangeOut, ChangeWord, PageFilter, ProblemOut, StatementPage, WalletOut
from apps.common.money import format_amount
from apps.wallet.statement import Change, latest_changes, standing_of

router = Router(tags=["wallet"])

TOLD_CHANGES: dict[str, ChangeWord] = {
    "deposit": "deposit",
    "withdrawal": "withdrawal",
    "correction": "correction",
    "hold": "order",
    "release": "order_returned",
    "sale_reversal": "refund",
    "late_sale": "late_delivery",
}
"""Every kind of transfer that touches a customer's wallet."""


@router.get(
    "/wallet", auth=needs(Scope.WALLET), response={200: WalletOut, (401, 403, 429, 500): ProblemOut}, url_name="wallet"
)
def show_wallet(request: KeyedRequest) -> WalletOut:
    """What your wallet has, and what you may spend."""
    standing = standing_of(request.auth.customer)
    return WalletOut(
        currency=standing.balance.currency,
        balance=format_amount(standing.balance.micros),
        credit=format_amount(standing.credit.micros),
        available=format_amount(standing.available.micros),
    )


@router.get(
    "/wallet/statement",
    auth=needs(Scope.WALLET),
    response={200: StatementPage, (401, 403, 422, 429, 500): ProblemOut},
    url_name="statement",
)
def list_changes(request: KeyedRequest, wanted: Query[PageFilter]) -> StatementPage:
    """The changes of your balance, newest first, each with the balance after it."""
    customer = request.auth.customer
    before = cursors.decode(wanted.cursor) if wanted.cursor is not None else None
    found = latest_changes(customer, wanted.limit + 1, before)
    page = found[: wanted.limit]
    return StatementPage(
        currency=customer.currency,
        changes=[tell_change(change) for change in page],
        next_cursor=cursors.encode(page[-1].number) if len(found) > len(page) else None,
    )


def tell_change(change: Change) -> ChangeOut:
    """One change without its reason and author, which are the shop's."""
    return ChangeOut(
        id=change.number,
        kind=TOLD_CHANGES[change.kind],
        amount=format_amount(change.money.micros),
        balance=format_amount(change.balance.micros),
        order_id=change.order_id,
        at=change.at,
    )
