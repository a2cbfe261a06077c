"""One decision about many orders: a dry run, then each of them by the same function as alone, in the background.

Only what is safe without looking at each order: nothing here gives up an attempt or decides about a doubt.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import DatabaseError, transaction
from django.db.models import Count, Sum
from django.utils.translation import gettext as _

from apps.accounts.models import Tenant, User
from apps.common import clock
from apps.common.broker import publish
from apps.common.logs import get_logger
from apps.common.money import Money
from apps.orders.bulk_models import BulkAction, BulkRow
from apps.orders.decisions import tags
from apps.orders.decisions.asking import Said, ask_soon, has_open_attempts, is_waiting
from apps.orders.decisions.deciding import Wish, is_alone, load_own, read_reason
from apps.orders.decisions.letting_go import RELEASE, release
from apps.orders.decisions.refused import AlreadyDecided, BadInput, DecisionRefused, NotAllowed, NotPossible
from apps.orders.decisions.reviews import add_note, claim_review
from apps.orders.models import Order
from apps.orders.states import OrderStatus
from apps.wallet import people

log = get_logger(__name__)

TASK = "apps.orders.tasks.run_bulk_actions"
MOST = 1000
"""Orders of one bulk action."""
DRAFT_FOR = timedelta(hours=1)
"""How long a dry run may be started: later it would be about another shop."""
UNDO_FOR = timedelta(days=1)
"""How long after its end what can be taken back is taken back together."""
RUN_FOR = timedelta(seconds=50)

Kind, Status, State = BulkAction.Kind, BulkAction.Status, BulkRow.State


@dataclass(frozen=True, slots=True)
class Done:
    """What came of one order."""

    state: str
    said: str = ""


@dataclass(frozen=True, slots=True)
class Way:
    """How one kind is done: `check` says what money hangs on it or raises, `act` does it for one order."""

    check: Callable[[Order, BulkAction, datetime], Money | None]
    act: Callable[[Order, BulkAction, str, datetime], Done]


# --- the kinds


def _check_open(order: Order, bulk: BulkAction, now: datetime) -> None:
    if not has_open_attempts(order):
        raise NotPossible(_("There is nobody to ask about it."))


def _check_waiting(order: Order, bulk: BulkAction, now: datetime) -> None:
    if not is_waiting(order):
        raise NotPossible(_("Nothing of it waits to be sent."))


def _check_unsent(order: Order, bulk: BulkAction, now: datetime) -> Money:
    if order.status != OrderStatus.PENDING or order.sent_at is not None:
        raise NotPossible(_("It was sent already, or is settled: decide about it alone."))
    return RELEASE.stake(order, Wish(), now)


def _check_in_review(order: Order, bulk: BulkAction, now: datetime) -> None:
    if order.status != OrderStatus.REVIEW:
        raise NotPossible(_("It is not in review."))


def _check_untagged(order: Order, bulk: BulkAction, now: datetime) -> None:
    if bulk.tag in tags.names_on(order):
        raise NotPossible(_("It has this tag already."))
    tags.check_room(order)


def _check_tagged(order: Order, bulk: BulkAction, now: datetime) -> None:
    if bulk.tag not in tags.names_on(order):
        raise NotPossible(_("It does not have this tag."))


def _ask(order: Order, bulk: BulkAction, reason: str, now: datetime) -> Done:
    said = ask_soon(order.pk, bulk.asked_by, reason, now)
    return Done(State.DONE if said is Said.PLANNED else State.REFUSED, said)


def _reject(order: Order, bulk: BulkAction, reason: str, now: datetime) -> Done:
    return Done(State.DONE if release(order.pk, bulk.asked_by, reason, now).is_done else State.WAITS)


def _claim(order: Order, bulk: BulkAction, reason: str, now: datetime) -> Done:
    claim_review(order.pk, bulk.asked_by, reason, now)
    return Done(State.DONE)


def _note(order: Order, bulk: BulkAction, reason: str, now: datetime) -> Done:
    add_note(order.pk, bulk.asked_by, reason, now)
    return Done(State.DONE)


def _tag(order: Order, bulk: BulkAction, reason: str, now: datetime) -> Done:
    tags.add_tag(order.pk, bulk.asked_by, bulk.tag, now, reason)
    return Done(State.DONE)


def _untag(order: Order, bulk: BulkAction, reason: str, now: datetime) -> Done:
    tags.remove_tag(order.pk, bulk.asked_by, bulk.tag, now, reason)
    return Done(State.DONE)


WAYS: Mapping[str, Way] = {
    Kind.ASK: Way(_check_open, _ask),
    Kind.SEND: Way(_check_waiting, _ask),
    Kind.REJECT: Way(_check_unsent, _reject),
    Kind.CLAIM: Way(_check_in_review, _claim),
    Kind.NOTE: Way(lambda order, bulk, now: None, _note),
    Kind.TAG: Way(_check_untagged, _tag),
    Kind.UNTAG: Way(_check_tagged, _untag),
}
"""Every decision that may be made about many orders at once."""

OPPOSITES: Mapping[str, BulkAction.Kind] = {Kind.TAG: Kind.UNTAG, Kind.UNTAG: Kind.TAG}
"""What can be taken back for all of them together, and how."""


# --- the dry run


def draft(
    kind: str,
    tenant: Tenant,
    order_ids: Iterable[int],
    actor: User,
    reason: str,
    query: str,
    now: datetime,
    *,
    tag: str = "",
    undoes: BulkAction | None = None,
) -> BulkAction:
    """Look at each order and write down what could be done and what could not, and why; nothing is done.

    `tag` is looked at where one is put on or taken off. Raises a child of `DecisionRefused`.
    """
    text, wanted = read_reason(reason), list(order_ids)
    _check_may_act(actor, tenant.pk)
    if kind not in WAYS:
        raise BadInput(_("Choose what to do."), "kind")
    named = tags.read_tag(tag) if kind in OPPOSITES else ""
    if len(wanted) > MOST:
        raise BadInput(_("Narrow the filter: at most %(most)d orders at once.") % {"most": MOST}, "kind")
    if not wanted:
        raise BadInput(_("No order of this shop fits the filter."), "kind")
    with transaction.atomic():
        BulkAction.objects.filter(tenant=tenant, status=Status.DRAFT, asked_at__lt=now - DRAFT_FOR).delete()
        asked = {"reason": text[:180], "tag": named, "undoes": undoes, "asked_by": actor, "asked_at": now}
        bulk = BulkAction.objects.create(tenant=tenant, kind=kind, query=query[:1000], **asked)
        orders = Order.objects.filter(tenant=tenant, pk__in=wanted).order_by("pk")
        BulkRow.objects.bulk_create(_draft_row(bulk, order, now) for order in orders)
    return bulk


def _draft_row(bulk: BulkAction, order: Order, now: datetime) -> BulkRow:
    try:
        stake = WAYS[bulk.kind].check(order, bulk, now)
    except DecisionRefused as refused:
        return BulkRow(bulk=bulk, order=order, state=State.EXCLUDED, said=str(refused)[:300])
    micros, currency = (stake.micros, stake.currency) if stake else (None, "")
    return BulkRow(bulk=bulk, order=order, amount_micros=micros, currency=currency)


def totals(bulk: BulkAction) -> list[Money]:
    """The money that hangs on all that would be done, by currency."""
    rows = bulk.rows.exclude(state=State.EXCLUDED).filter(amount_micros__isnull=False)
    sums = rows.values("currency").annotate(sum=Sum("amount_micros")).order_by("currency")
    return [Money(row["sum"], row["currency"]) for row in sums]


def counts(bulk: BulkAction) -> Counter[str]:
    """How many orders are in each state."""
    return Counter(dict(bulk.rows.values_list("state").annotate(n=Count("pk")).order_by()))


def needs_two(bulk: BulkAction) -> bool:
    """Whether what it moves in all is above the shop's limit: many small ones are no way round it."""
    return any(people.is_above_limit(bulk.tenant_id, total) for total in totals(bulk))


# --- starting, confirming, cancelling


def start(bulk_id: int, actor: User, now: datetime) -> BulkAction:
    """Begin, or wait for a second person where as much money hangs on it. Raises a child of `DecisionRefused`."""
    with transaction.atomic():
        bulk = _load(bulk_id, actor)
        if bulk.asked_by_id != actor.pk:
            raise NotAllowed(_("Who made the dry run starts it. Make one of your own."))
        if bulk.status != Status.DRAFT or now - bulk.asked_at > DRAFT_FOR:
            raise AlreadyDecided(_("This dry run was started already, or is too old. Make a new one."))
        if not bulk.rows.filter(state=State.PENDING).exists():
            raise NotPossible(_("There is no order about which this could be done."))
        if not needs_two(bulk):
            return _begin(bulk, now)
        if is_alone(actor, bulk.tenant_id):
            raise NotPossible(_("So much money needs two people, and you are the only one: decide about each alone."))
        bulk.status = Status.WAITING
        bulk.save()
    return bulk


def confirm(bulk_id: int, actor: User, now: datetime) -> BulkAction:
    """The second person agrees: it begins. Raises a child of `DecisionRefused`."""
    with transaction.atomic():
        bulk = _load(bulk_id, actor)
        if bulk.status != Status.WAITING:
            raise AlreadyDecided(_("This was decided already."))
        if bulk.asked_by_id == actor.pk:
            raise NotAllowed(_("Somebody else must confirm what you asked for."))
        if not bulk.asked_by.may_operate(bulk.tenant_id):
            raise NotPossible(_("Who asked for this has no right to it any more. Decline it."))
        bulk.confirmed_by = actor
        return _begin(bulk, now)


def cancel(bulk_id: int, actor: User, now: datetime) -> BulkAction:
    """Do nothing about the orders that are left. What was done stays. Raises a child of `DecisionRefused`."""
    with transaction.atomic():
        bulk = _load(bulk_id, actor)
        if bulk.status in (Status.DONE, Status.CANCELLED):
            raise AlreadyDecided(_("There is nothing left to cancel."))
        _end(bulk, Status.CANCELLED, now, actor)
    return bulk


def undo(bulk_id: int, actor: User, now: datetime) -> BulkAction:
    """A dry run that takes back what this action did, for those orders alone. Raises a child of `DecisionRefused`."""
    with transaction.atomic():
        bulk = _load(bulk_id, actor)
        if not can_undo(bulk, now):
            raise NotPossible(_("This cannot be taken back for all of them together: decide about each order."))
        done = bulk.rows.filter(state=State.DONE).values_list("order_id", flat=True)
        reason = _("Taking back #%(number)d") % {"number": bulk.pk}
        kind = OPPOSITES[bulk.kind]
        return draft(kind, bulk.tenant, done, actor, reason, bulk.query, now, tag=bulk.tag, undoes=bulk)


def can_undo(bulk: BulkAction, now: datetime) -> bool:
    """Whether it has ended within a day, with something done that can be taken back."""
    is_fresh = bulk.ended_at is not None and now - bulk.ended_at <= UNDO_FOR
    return is_fresh and bulk.kind in OPPOSITES and bulk.rows.filter(state=State.DONE).exists()


def _begin(bulk: BulkAction, now: datetime) -> BulkAction:
    bulk.status, bulk.started_at = Status.RUNNING, now
    bulk.save()
    log.info("bulk_started", bulk=bulk.pk, kind=bulk.kind, actor=bulk.asked_by_id)
    transaction.on_commit(lambda: publish(TASK, []))
    return bulk


def _end(bulk: BulkAction, status: str, now: datetime, actor: User | None = None) -> None:
    bulk.status, bulk.ended_at, bulk.ended_by = status, now, actor
    bulk.save()
    log.info("bulk_ended", bulk=bulk.pk, status=status)


def _load(bulk_id: int, actor: User) -> BulkAction:
    """The action, locked. Raises `NotAllowed`."""
    bulk = BulkAction.objects.select_for_update(of=("self",)).select_related("asked_by", "tenant").get(pk=bulk_id)
    _check_may_act(actor, bulk.tenant_id)
    return bulk


def _check_may_act(actor: User, tenant_id: int) -> None:
    if not actor.may_operate(tenant_id):
        raise NotAllowed(_("You may look at this shop's orders, but not decide about them. Ask an operator."))


# --- running


def run_all() -> int:
    """Go on with every action that runs, for 50 seconds at most; how many orders were looked at. Safe to run twice."""
    ends_at, done = clock.now() + RUN_FOR, 0
    for bulk_id in BulkAction.objects.filter(status=Status.RUNNING).order_by("pk").values_list("pk", flat=True):
        while clock.now() < ends_at and do_next(bulk_id, clock.now()):
            done += 1
    return done


def do_next(bulk_id: int, now: datetime) -> bool:
    """Decide about the next order that is left; False when there is none, or the action was cancelled.

    Decision and result are one transaction: after a crash an order was decided and says so, or neither.
    """
    with transaction.atomic():
        found = BulkAction.objects.select_for_update(of=("self",)).select_related("asked_by")
        bulk = found.filter(pk=bulk_id, status=Status.RUNNING).first()
        if bulk is None:
            return False
        row = bulk.rows.filter(state=State.PENDING).order_by("pk").first()
        if row is None:
            _end(bulk, Status.DONE, now)
            return False
        done = _done(bulk, row, now)
        bulk.rows.filter(pk=row.pk, state=State.PENDING).update(state=done.state, said=done.said[:300], at=now)
    return True


def _done(bulk: BulkAction, row: BulkRow, now: datetime) -> Done:
    """The order as it is now, checked again under its lock, and decided."""
    way, reason = WAYS[bulk.kind], f"{bulk.reason} (#{bulk.pk})"
    try:
        with transaction.atomic():
            order = load_own(row.order_id, bulk.asked_by)
            way.check(order, bulk, now)
            return way.act(order, bulk, reason, now)
    except DecisionRefused as refused:
        return Done(State.REFUSED, str(refused))
    except DatabaseError:  # nothing can be written down either: it is tried again
        raise
    except Exception as error:
        log.exception("bulk_row_failed", bulk=bulk.pk, order=row.order_id, error=type(error).__name__)
        return Done(State.REFUSED, _("An error in the hub: %(error)s") % {"error": type(error).__name__})
