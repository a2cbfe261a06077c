"""The peer of order creation: a Django view that inserts the same rows in one transaction, and does nothing else.

No key is checked, no price looked up, no repeat found, nothing validated, nobody told: what is left is the web server,
Django's shortest way to a view, and the database. Served by gunicorn as `bare:application`.
"""

from __future__ import annotations

import json
import os
import secrets
from typing import Any

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django.setup()

from create import PATTERNS
from django.conf import settings
from django.core.handlers.wsgi import WSGIHandler
from django.db import transaction
from django.db.models import F, Model
from django.http import HttpRequest, JsonResponse
from django.urls import path

from apps.journal.models import OutboxEvent
from apps.orders.models import DueCheck, Order, OrderEvent, OrderUnit
from apps.wallet.models import Account, Entry, Transfer

Values = dict[str, Any]


def values_of(row: Model) -> Values:
    """Its columns, without its id."""
    return {field.attname: getattr(row, field.attname) for field in row._meta.concrete_fields if not field.primary_key}


class Pattern:
    """Everything that the creation of one order has written."""

    def __init__(self, pk: int) -> None:
        self.order = values_of(Order.objects.get(pk=pk))
        self.unit = values_of(OrderUnit.objects.get(order=pk))
        self.due = values_of(DueCheck.objects.get(order=pk))
        self.event = values_of(OrderEvent.objects.get(order=pk))
        self.told = values_of(OutboxEvent.objects.get(subject_kind="order", subject_id=pk))
        held = Transfer.objects.get(subject_kind="order", subject_id=pk)
        self.transfer = values_of(held)
        self.entries = [values_of(entry) for entry in held.entries.order_by("pk")]

    def insert(self) -> int:
        """The same rows once more, for an order of its own; its id."""
        name = secrets.token_hex(12)
        with transaction.atomic():
            order = Order.objects.create(**{**self.order, "idempotency_key": name, "intent": name}).pk
            OrderUnit.objects.create(**{**self.unit, "order_id": order})
            self.hold(order)
            DueCheck.objects.create(**{**self.due, "order_id": order})
            OrderEvent.objects.create(**{**self.event, "order_id": order})
            OutboxEvent.objects.create(**{**self.told, "subject_id": order})
        return int(order)

    def hold(self, order: int) -> None:
        """The money, with the one balance that is stored."""
        transfer = Transfer.objects.create(**{**self.transfer, "key": f"bare:{order}", "subject_id": order})
        Entry.objects.bulk_create(Entry(**{**one, "transfer_id": transfer.pk}) for one in self.entries)
        for one in self.entries:
            wallet = Account.objects.filter(pk=one["account_id"], kind="customer")
            wallet.update(balance_micros=F("balance_micros") + one["amount_micros"])


def insert(request: HttpRequest) -> JsonResponse:
    """The whole view."""
    pattern = patterns[json.loads(request.body)["customer"]]
    return JsonResponse({"id": pattern.insert()}, status=201)


patterns = [Pattern(int(pk)) for pk in os.environ[PATTERNS].split(",")]
urlpatterns = [path("orders", insert), path("livez", lambda _request: JsonResponse({}))]
settings.MIDDLEWARE = []
settings.ROOT_URLCONF = __name__
application = WSGIHandler()
