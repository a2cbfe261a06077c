"""A provider's own list of what we bought, asked for page by page and written as the file that it would be."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from django.utils.translation import gettext as _

from apps.common import clock
from apps.common.budget import Use
from apps.common.guards import check_no_transaction
from apps.common.logs import get_logger
from apps.common.talk import TalkFailed, drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall
from apps.orders.reconciling.aligning import Period
from apps.orders.reconciling.dialects import Dialect, Meaning
from apps.orders.reconciling.importing import Brought
from apps.providers import budget
from apps.providers.accounts import NotReady, open_account
from apps.providers.contract import Listed, Listing, ListingAdapter, Outcome
from apps.providers.models import Integration
from apps.providers.registry import load_adapter

log = get_logger(__name__)

MEANINGS = {
    Outcome.COMPLETED: Meaning.BOUGHT,
    Outcome.PARTIAL: Meaning.BOUGHT,
    Outcome.ACCEPTED: Meaning.PENDING,
    Outcome.REJECTED: Meaning.RETURNED,
    Outcome.REVERSED: Meaning.RETURNED,
}
"""What the words of a list say, by outcome. A word with any other outcome is a fault of the list, as in a file."""

FACTS = ("own_ref", "provider_id", "amount", "currency", "at", "word")
RECORDS = "purchases"


class NotListed(Exception):
    """The provider did not give a whole list; the text says why. Nothing was written."""


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a list may take in all, and how the time between two of its pages is spent."""

    lasts: timedelta
    pause: Callable[[float], None] = time.sleep


def can_list(integration: Integration) -> bool:
    """Whether the account's protocol lists what was bought in a time."""
    return isinstance(load_adapter(integration.kind), ListingAdapter)


def ask_for_statement(integration: Integration, period: Period, by: str, patience: Patience) -> Brought:
    """Ask the provider for its list of this time, within the account's request budget. Raises `NotListed`.

    A list with one page missing is no list: whatever it leaves out would look like a purchase that is not there.
    """
    check_no_transaction()
    listing = _ask(integration, period, patience)
    if listing.error:
        raise NotListed(_("the provider gave no list: %(error)s") % {"error": listing.error})
    log.info("purchases_listed", account=integration.pk, purchases=len(listing.purchases))
    content = json.dumps({RECORDS: [as_row(one) for one in listing.purchases]}, sort_keys=True)
    name = f"{integration.kind} list"
    return Brought(content.encode(), _dialect_of(listing.purchases), period, by, name, may_be_empty=True)


def _ask(integration: Integration, period: Period, patience: Patience) -> Listing:
    adapter = load_adapter(integration.kind)
    if not isinstance(adapter, ListingAdapter):
        raise NotListed(_("this kind of provider has no list of purchases: bring its statement as a file"))
    policy, until = integration.egress_policy(), clock.now() + patience.lasts

    def send(call: HttpCall) -> Answer:
        left_s = _await_turn(integration, until, patience)
        return send_once(replace(call, timeout_s=min(call.timeout_s, left_s)), policy=policy)

    try:
        talk = adapter.listing(open_account(integration), period.starts_at, period.ends_at)
        return drive(talk, send)[0]
    except (NotReady, TalkFailed) as error:
        raise NotListed(str(error)) from error


def _await_turn(integration: Integration, until: datetime, patience: Patience) -> float:
    """Take one request from the account's budget, and wait for it if need be; returns the seconds that are left."""
    while (now := clock.now()) < until:
        grant = budget.take(integration, Use.ASK, 1, now)
        if grant.count:
            return (until - now).total_seconds()
        if grant.retry_at >= until:
            break
        patience.pause((grant.retry_at - now).total_seconds())
    raise NotListed(_("the list is longer than the time for it: ask for fewer days"))


def _dialect_of(purchases: Sequence[Listed]) -> Dialect:
    """The provider's words as they were read; one that said nothing has no meaning here either."""
    said = {one.word.casefold(): str(MEANINGS[one.outcome]) for one in purchases if one.outcome in MEANINGS}
    return Dialect(columns={name: name for name in FACTS}, words=said, form="json", records=RECORDS)


def as_row(listed: Listed) -> dict[str, str | None]:
    """The purchase as a file has it; what was paid back needs no price."""
    is_returned = MEANINGS.get(listed.outcome) is Meaning.RETURNED
    told = f"{listed.cost:f}" if listed.cost is not None else None
    return {
        "own_ref": listed.own_ref,
        "provider_id": listed.provider_id,
        "amount": "0" if told is None and is_returned else told,
        "currency": listed.currency,
        "at": listed.at.isoformat() if listed.at else None,
        "word": listed.word,
    }
