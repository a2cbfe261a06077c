"""The one way an order comes into being, whatever door it came through."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import IntegrityError, OperationalError, connection, transaction
from django.utils.translation import gettext as _

from apps.accounts.models import Customer
from apps.catalog.models import InputField, Package
from apps.common.checkpoints import checkpoint
from apps.common.money import Money, split_evenly
from apps.orders import chains, due, machine, repeats, wake
from apps.orders.models import Order, OrderUnit, Quote
from apps.orders.offers import check_code, check_number, check_quantity, is_storable, load_offer, load_package
from apps.orders.quotes import check_unused, load_quote
from apps.orders.refusals import (
    BadField,
    BadKey,
    ClientReferenceUsed,
    IdempotencyMismatch,
    InFlight,
    LoopRefused,
    NotEnoughBalance,
    NotSellable,
    OrderRefused,
    RepeatSuspected,
    UnknownPackage,
    UnknownQuote,
    WrongQuantity,
)
from apps.wallet import ledger

__all__ = [
    "BadField",
    "BadKey",
    "ClientReferenceUsed",
    "Created",
    "IdempotencyMismatch",
    "InFlight",
    "LoopRefused",
    "NewOrder",
    "NotEnoughBalance",
    "NotSellable",
    "OrderRefused",
    "RepeatSuspected",
    "UnknownPackage",
    "WrongQuantity",
    "create_order",
]

OPEN_FOR = timedelta(hours=24)
"""After this long without an end an order is a person's question."""

IN_FLIGHT_WAIT = "1s"
"""How long a request waits for another one with its key, which most often is done by then."""

KEY = re.compile(r"[\x21-\x7e]{1,120}")


@dataclass(frozen=True, slots=True)
class NewOrder:
    """What a buyer asks for. `fields` are the product's input fields by name.

    `repeat` is how many of the same the buyer has wanted so far, where the same again is meant; `origin` says how the
    order came, where the buyer may be a shop itself.
    """

    package: str
    quantity: int = 1
    fields: Mapping[str, str] = field(default_factory=dict)
    client_reference: str | None = None
    quote_id: str | None = None
    repeat: int = 0
    origin: chains.Origin | None = None

    def content_hash(self) -> str:
        """SHA-256 of the content, hex: tells a repeat from another order under the same key."""
        content = [self.package, self.quantity, sorted(self.fields.items()), self.client_reference]
        if self.quote_id is not None:  # what was hashed before there were quotes keeps its hash
            content.append(self.quote_id)
        if self.repeat:
            content.append(self.repeat)
        return hashlib.sha256(json.dumps(content, ensure_ascii=False).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Created:
    """The order, and whether it was there before."""

    order: Order
    is_replay: bool


def create_order(customer: Customer, new: NewOrder, idempotency_key: str, now: datetime) -> Created:
    """Create the order with its money held and its dispatch due, or return the first order of a repeated key.

    Raises a child of `OrderRefused` that says what to do; then nothing was written. `InFlight`: another request with
    this key is not done yet.
    """
    if not KEY.fullmatch(idempotency_key):
        raise BadKey(
            _("send an Idempotency-Key header of 1 to 120 visible ASCII characters, one per order you mean to place")
        )
    _check_form(new)
    first = _find_first(customer, new, idempotency_key)
    if first is not None:
        return Created(first, is_replay=True)
    package = load_package(customer, new.package)
    check_quantity(package, new.quantity)
    targets = _check_fields(package, new.fields)
    intent = repeats.fingerprint(package, new.quantity, targets)
    if new.origin is not None:
        chains.check_no_loop(customer, new.origin, intent, new.repeat, now)
    quote = None
    if new.quote_id is not None:
        quote = load_quote(customer, new.quote_id, package, new.quantity, now, idempotency_key)
    unit_price = load_offer(customer, package, new.quantity, quote, now).unit_price_micros
    try:
        order = _write(customer, package, new, {**targets, "intent": intent}, quote, unit_price, idempotency_key, now)
    except IntegrityError:
        return _lost_race(customer, new, idempotency_key)
    checkpoint("create.after_commit")
    return Created(order, is_replay=False)


def _check_form(new: NewOrder) -> None:
    """What every door must give: whole numbers, and texts that can be stored."""
    check_number(new.quantity)
    check_code(new.package)
    repeats.check_counter(new.repeat)
    if new.quote_id is not None and not is_storable(new.quote_id, 40):
        raise UnknownQuote(_("quote_id must be the id of a quote, at most 40 printable characters"), "/quote_id")
    if new.client_reference is not None and not is_storable(new.client_reference, 120):
        raise BadField(_("client_reference must be at most 120 printable characters"), "/client_reference")
    for name, value in new.fields.items():
        if not is_storable(name, 60) or not isinstance(value, str):
            raise BadField(_("fields must be names with texts"), "/fields")


def _find_first(customer: Customer, new: NewOrder, key: str) -> Order | None:
    first = Order.objects.filter(customer=customer, idempotency_key=key).first()
    if first is not None and first.request_hash != new.content_hash():
        text = _("this Idempotency-Key belongs to order %(order)d with another content; use a new key for a new order")
        raise IdempotencyMismatch(text % {"order": first.pk})
    return first


def _check_fields(package: Package, given: Mapping[str, str]) -> dict[str, str | dict[str, str]]:
    """The given fields by where they go on the order."""
    known = {known.name: known for known in package.product.fields.all()}
    for name in given:
        if name not in known:
            text = _("field '%(field)s' is not known for this product; its fields are: %(names)s")
            told = {"field": name[:40], "names": ", ".join(known) or "-"}
            raise BadField(text % told, f"/fields/{name[:40]}")
    params: dict[str, str] = {}
    targets: dict[str, str | dict[str, str]] = {"params": params}
    for name, wanted in known.items():
        value = given.get(name, "").strip()
        _check_value(wanted, value)
        if not value:
            continue
        if wanted.target == InputField.Target.PARAM:
            params[name] = value
        else:
            targets[wanted.target] = value
    return targets


def _check_value(wanted: InputField, value: str) -> None:
    pointer = f"/fields/{wanted.name}"
    told = {"field": wanted.name, "label": wanted.label}
    if wanted.required and not value:
        raise BadField(_("field '%(field)s' (%(label)s) is required") % told, pointer)
    if len(value) > 200 or not value.isprintable():
        raise BadField(_("field '%(field)s' must be at most 200 printable characters") % told, pointer)
    if value and (objection := wanted.objection(value)):
        text = _("field '%(field)s' (%(label)s) %(objection)s")
        raise BadField(text % {**told, "objection": objection}, pointer)


def _write(
    customer: Customer,
    package: Package,
    new: NewOrder,
    columns: Mapping[str, Any],
    quote: Quote | None,
    unit_price: int,
    key: str,
    now: datetime,
) -> Order:
    price = unit_price * new.quantity
    with transaction.atomic():
        _claim_key(customer, key)
        if new.origin is None or not new.origin.path:  # a shop that tells its path has looked for repeats itself
            repeats.check_no_repeat(customer, columns["intent"], new.repeat, key, now)
        order = Order.objects.create(
            tenant_id=customer.tenant_id,
            customer=customer,
            package=package,
            product_name=package.product.name,
            package_name=package.name,
            needs_code=package.product.needs_code,
            quantity=new.quantity,
            unit_price_micros=unit_price,
            price_micros=price,
            currency=customer.currency,
            quote=quote,
            client_reference=new.client_reference or None,
            idempotency_key=key,
            request_hash=new.content_hash(),
            created_at=now,
            updated_at=now,
            deadline_at=now + OPEN_FOR,
            repeat=new.repeat,
            **columns,
            **chains.columns_of(new.origin),
        )
        amounts = enumerate(split_evenly(price, new.quantity), start=1)
        OrderUnit.objects.bulk_create(OrderUnit(order=order, n=n, amount_micros=amount) for n, amount in amounts)
        _hold(order, Money(price, customer.currency), now)
        due.begin_dispatch(order, now)
        machine.record_story(order, "created", "create", now, data={"quantity": new.quantity})
        machine.announce(order, now)
        wake.dispatch_on_commit(order.pk, order.tenant_id)
        checkpoint("create.before_commit")
    return order


def _claim_key(customer: Customer, key: str) -> None:
    """Be the only one with this key until the transaction ends. Raises `InFlight` where another is for too long.

    SQLite has one writer at a time, who has its turn before this is asked.
    """
    if connection.vendor != "postgresql":
        return
    number = int.from_bytes(hashlib.sha256(f"{customer.pk}:{key}".encode()).digest()[:8], "big", signed=True)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [number])
        if cursor.fetchone()[0]:
            return
        cursor.execute("SELECT set_config('lock_timeout', %s, true)", [IN_FLIGHT_WAIT])
        try:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [number])
        except OperationalError as error:
            raise InFlight from error
        cursor.execute("SET LOCAL lock_timeout TO DEFAULT")


def _hold(order: Order, price: Money, now: datetime) -> None:
    try:
        ledger.hold_order(order.tenant_id, order.customer_id, order.pk, price, now)
    except ledger.NotEnoughMoney as error:
        balance = ledger.balance_of(order.customer_id, price.currency)
        text = _("the order costs %(price)s, the wallet has %(balance)s; add money and send it again")
        raise NotEnoughBalance(text % {"price": price, "balance": balance}) from error


def _lost_race(customer: Customer, new: NewOrder, key: str) -> Created:
    """A unique rule refused the insert: the same key was faster, the client reference is taken, or the quote used."""
    first = _find_first(customer, new, key)
    if first is not None:
        return Created(first, is_replay=True)
    taken = Order.objects.filter(customer=customer, client_reference=new.client_reference).first()
    if new.client_reference and taken is not None:
        text = _("order %(order)d has this client_reference already")
        raise ClientReferenceUsed(text % {"order": taken.pk}, "/client_reference")
    if new.quote_id is not None:
        check_unused(customer, new.quote_id)
    raise RuntimeError("the order could not be written for a reason that is not a repeated key")
