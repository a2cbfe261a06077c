"""Orders and all that is known of them. State is written by `apps.orders.machine` alone."""

from __future__ import annotations

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Upper
from django.utils.translation import gettext_lazy as _

from apps.accounts.models import Customer, Tenant, User
from apps.catalog.models import FxRate, Package
from apps.common.crypto import open_text
from apps.orders import (  # noqa: F401 - Django looks for tables in this module
    bulk_models,
    review_models,
    statement_models,
    tag_models,
)
from apps.orders.states import AttemptState, DueKind, ExternalStatus, OrderStatus, UnitStatus
from apps.providers.models import Integration, Route


class Quote(models.Model):
    """A price that was promised to one customer for one package and quantity, until it expires or is used once."""

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="+")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="quotes")
    package = models.ForeignKey(Package, on_delete=models.CASCADE, related_name="+")
    public_id = models.CharField(max_length=40, unique=True)
    quantity = models.PositiveIntegerField()
    unit_price_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    unit_cost_micros = models.BigIntegerField(null=True, blank=True)
    cost_rate = models.ForeignKey(FxRate, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    cost_rate_via = models.ForeignKey(FxRate, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    created_at = models.DateTimeField()
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "orders_quote"
        verbose_name = _("quote")
        verbose_name_plural = _("quotes")
        constraints = [
            models.CheckConstraint(
                condition=Q(quantity__gte=1, unit_price_micros__gt=0), name="quote_price_and_quantity_above_zero"
            ),
            models.CheckConstraint(condition=Q(expires_at__gt=F("created_at")), name="quote_expires_after_creation"),
        ]

    def __str__(self) -> str:
        return self.public_id


class Order(models.Model):
    """One sale: who buys what for whom, at a price frozen at creation, and what it brought and cost in the end.

    `captured_micros`, `cost_micros` and `expected_cost_micros` are in the order's currency and written where money
    moves; a cost of None was paid but is not known. `cost_rate` and `cost_rate_via` converted the latest cost.
    """

    tenant = models.ForeignKey(Tenant, on_delete=models.PROTECT, related_name="orders")
    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="orders")
    package = models.ForeignKey(Package, on_delete=models.PROTECT, related_name="orders")
    product_name = models.CharField(max_length=120)
    package_name = models.CharField(max_length=120)
    needs_code = models.BooleanField()
    quantity = models.PositiveIntegerField()
    user_identifier = models.CharField(max_length=200, blank=True, default="")
    extra_field = models.CharField(max_length=200, blank=True, default="")
    params = models.JSONField(default=dict, blank=True)
    unit_price_micros = models.BigIntegerField()
    price_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    # One quote, one order: the second of two orders at once is refused here.
    quote = models.OneToOneField(Quote, on_delete=models.PROTECT, null=True, blank=True, related_name="order")
    captured_micros = models.BigIntegerField(default=0)
    expected_cost_micros = models.BigIntegerField(null=True, default=0)
    cost_micros = models.BigIntegerField(null=True, default=0)
    cost_rate = models.ForeignKey(FxRate, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    cost_rate_via = models.ForeignKey(FxRate, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    status = models.CharField(max_length=12, choices=OrderStatus, default=OrderStatus.PENDING)
    external_status = models.CharField(max_length=12, choices=ExternalStatus, default=ExternalStatus.NOT_SENT)
    reason = models.CharField(max_length=120, blank=True, default="")
    # Grows with every change of the status, so that whoever is told of two can tell which is newer.
    version = models.PositiveIntegerField(default=1, db_default=1)
    # Where a person sends it next, once; the routes of the package stay what they are.
    next_route = models.ForeignKey(Route, on_delete=models.SET_NULL, null=True, related_name="+", db_index=False)
    # It stood open when the books came back from a backup: its free units may have been bought after that was taken.
    is_restored = models.BooleanField(default=False, db_default=False)
    # `provider_referans` is added by 0001_add_provider_referans.
    provider_referans = models.CharField(max_length=64, blank=True, default="", db_default="")
    external_order_id = models.CharField(max_length=120, blank=True, default="")
    client_reference = models.CharField(max_length=120, null=True, blank=True)
    idempotency_key = models.CharField(max_length=120)
    request_hash = models.CharField(max_length=64)
    # What is bought for whom, as a fingerprint; empty where the order names nobody. `repeat` is the buyer's counter.
    intent = models.CharField(max_length=32, blank=True, default="", db_default="")
    repeat = models.PositiveSmallIntegerField(default=0, db_default=0)
    # The shops before this one as hashes with commas; the buyer's own name for the purchase; and the attempt that
    # makes it, where that is one of this installation. A tenant sees none of them.
    chain_path = models.CharField(max_length=160, blank=True, default="", db_default="")
    parent_reference = models.CharField(max_length=64, blank=True, default="", db_default="")
    parent_attempt = models.ForeignKey(
        "Attempt", on_delete=models.PROTECT, null=True, blank=True, related_name="children", db_index=False
    )
    created_at = models.DateTimeField()
    sent_at = models.DateTimeField(null=True, blank=True)
    settled_at = models.DateTimeField(null=True, blank=True)
    deadline_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        db_table = "product_orders"
        verbose_name = _("order")
        verbose_name_plural = _("orders")
        indexes = [
            models.Index(fields=["provider_referans"], name="idx_orders_provider_referans"),
            models.Index(fields=["tenant", "-id"], name="idx_orders_by_tenant"),
            models.Index(fields=["customer", "-id"], name="idx_orders_by_customer"),
            models.Index(fields=["tenant", "settled_at"], name="idx_orders_by_settling"),
            models.Index(fields=["intent", "created_at"], condition=~Q(intent=""), name="idx_orders_by_intent"),
            models.Index(
                fields=["parent_attempt"], condition=Q(parent_attempt__isnull=False), name="idx_orders_by_parent"
            ),
            # Watched every few seconds: it must not read what was sold in all the years.
            models.Index(
                fields=["status", "updated_at"],
                condition=Q(status__in=["pending", "processing", "review"]),
                name="idx_orders_open",
            ),
            # What people filter and search by: few orders are anything but completed, and every name is asked in full.
            models.Index(
                fields=["tenant", "status", "-id"], condition=~Q(status="completed"), name="idx_orders_not_completed"
            ),
            models.Index(fields=["tenant", "created_at"], name="idx_orders_by_creation"),
            models.Index(Upper("user_identifier"), condition=~Q(user_identifier=""), name="idx_orders_by_recipient"),
            models.Index(
                Upper("external_order_id"), condition=~Q(external_order_id=""), name="idx_orders_by_provider_id"
            ),
            models.Index(
                Upper("client_reference"), condition=Q(client_reference__isnull=False), name="idx_orders_by_client_ref"
            ),
        ]
        constraints = [
            # One key, one order, for ever: a repeated request finds the first order.
            models.UniqueConstraint(fields=["customer", "idempotency_key"], name="order_once_per_key"),
            models.UniqueConstraint(fields=["customer", "client_reference"], name="order_once_per_client_reference"),
            # 'PENDING' beside 'pending' once hid orders from the poller.
            models.CheckConstraint(condition=Q(status__in=OrderStatus.values), name="order_status_known"),
            models.CheckConstraint(
                condition=Q(external_status__in=ExternalStatus.values), name="order_external_status_known"
            ),
            models.CheckConstraint(
                condition=Q(
                    quantity__gte=1, unit_price_micros__gt=0, price_micros=F("unit_price_micros") * F("quantity")
                ),
                name="order_price_is_unit_price_times_quantity",
            ),
            models.CheckConstraint(condition=~Q(status="review", reason=""), name="order_review_has_a_reason"),
            models.CheckConstraint(
                condition=Q(captured_micros__gte=0, captured_micros__lte=F("price_micros")),
                name="order_captured_within_price",
            ),
            models.CheckConstraint(
                condition=Q(cost_micros__isnull=True) | Q(cost_micros__gte=0), name="order_cost_not_negative"
            ),
        ]

    def __str__(self) -> str:
        return f"#{self.pk}"

    @property
    def profit_micros(self) -> int | None:
        """What the order brought less what it cost, signed, in its currency; None while a cost is not known."""
        return None if self.cost_micros is None else self.captured_micros - self.cost_micros

    @property
    def cost_difference_micros(self) -> int | None:
        """How much more than expected was paid; None where either is not known."""
        if self.cost_micros is None or self.expected_cost_micros is None:
            return None
        return self.cost_micros - self.expected_cost_micros

    def free_units(self) -> models.QuerySet[OrderUnit]:
        """Units whose money is held and which no attempt holds: what may still be bought, in their order."""
        held = AttemptUnit.objects.filter(unit__order=self, holds=True).values("unit_id")
        return OrderUnit.objects.filter(order=self, status=UnitStatus.HELD).exclude(pk__in=held).order_by("n")


class OrderUnit(models.Model):
    """One unit of an order's quantity with its share of the price."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="units")
    n = models.PositiveIntegerField()
    amount_micros = models.BigIntegerField()
    status = models.CharField(max_length=8, choices=UnitStatus, default=UnitStatus.HELD)

    class Meta:
        db_table = "orders_unit"
        constraints = [
            models.UniqueConstraint(fields=["order", "n"], name="unit_once_per_number"),
            models.CheckConstraint(condition=Q(amount_micros__gt=0), name="unit_amount_positive"),
            models.CheckConstraint(condition=Q(status__in=UnitStatus.values), name="unit_status_known"),
        ]

    def __str__(self) -> str:
        return f"{self.order_id}/{self.n}"


class Attempt(models.Model):
    """One try to buy at one provider account: written, with its reference, before the request leaves."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="attempts")
    integration = models.ForeignKey(Integration, on_delete=models.PROTECT, related_name="+")
    route = models.ForeignKey(Route, on_delete=models.SET_NULL, null=True, related_name="+")
    integration_name = models.CharField(max_length=120)
    kind = models.CharField(max_length=32)
    reference = models.CharField(max_length=64, unique=True)
    product = models.JSONField(default=dict)
    state = models.CharField(max_length=10, choices=AttemptState, default=AttemptState.SENDING)
    outcome = models.CharField(max_length=24, blank=True, default="")
    reason_code = models.CharField(max_length=60, blank=True, default="")
    reason = models.CharField(max_length=300, blank=True, default="")
    send_no = models.PositiveIntegerField(default=1)
    send_deadline_at = models.DateTimeField()
    expected_cost_micros = models.BigIntegerField(null=True, blank=True)
    cost_micros = models.BigIntegerField(null=True, blank=True)
    cost_currency = models.CharField(max_length=3)
    sale_cost_micros = models.BigIntegerField(null=True, blank=True)  # the same in the order's currency, for reports
    # How its cost becomes the order's currency, frozen before the send; none where both are the same.
    cost_rate = models.ForeignKey(FxRate, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    cost_rate_via = models.ForeignKey(FxRate, on_delete=models.PROTECT, null=True, related_name="+", db_index=False)
    provider_order_id = models.CharField(max_length=120, blank=True, default="")
    created_at = models.DateTimeField()
    answered_at = models.DateTimeField(null=True, blank=True)
    doubt_since = models.DateTimeField(null=True, blank=True)
    failed_seen_at = models.DateTimeField(null=True, blank=True)
    # Typed not-found answers that count towards an absence, and the first of them; a re-send begins anew.
    not_found = models.PositiveIntegerField(default=0)
    not_found_since = models.DateTimeField(null=True, blank=True)
    resent_at = models.DateTimeField(null=True, blank=True)
    # Of a part delivery: how many of its units, by number, the provider calls delivered.
    delivered_units = models.PositiveIntegerField(null=True, blank=True)
    delivered_at = models.DateTimeField(null=True, blank=True)
    is_surplus = models.BooleanField(default=False)
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "orders_attempt"
        indexes = [
            # An id that another purchase has already is not believed: see `outcomes.disown`.
            models.Index(
                fields=["integration", "provider_order_id"],
                condition=~Q(provider_order_id=""),
                name="attempt_by_provider_id",
            ),
            models.Index(fields=["doubt_since"], condition=Q(state="in_doubt"), name="attempt_in_doubt"),
            models.Index(fields=["integration", "order"], name="attempt_by_account"),
            models.Index(
                Upper("provider_order_id"), condition=~Q(provider_order_id=""), name="attempt_by_any_provider_id"
            ),
        ]
        constraints = [
            models.UniqueConstraint(fields=["integration", "reference"], name="attempt_reference_once_per_account"),
            models.CheckConstraint(condition=Q(state__in=AttemptState.values), name="attempt_state_known"),
            models.CheckConstraint(condition=~Q(reference=""), name="attempt_has_a_reference"),
        ]

    def __str__(self) -> str:
        return self.reference


class AttemptUnit(models.Model):
    """Which units an attempt buys. While it `holds` a unit, no other attempt may."""

    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, related_name="attempt_units")
    unit = models.ForeignKey(OrderUnit, on_delete=models.PROTECT, related_name="attempt_units")
    holds = models.BooleanField(default=True)

    class Meta:
        db_table = "orders_attempt_unit"
        constraints = [
            # The sentence that sells this product: a unit is bought by one attempt at a time, and never after delivery.
            models.UniqueConstraint(fields=["unit"], condition=Q(holds=True), name="unit_held_by_one_attempt"),
            models.UniqueConstraint(fields=["attempt", "unit"], name="attempt_unit_once"),
        ]

    def __str__(self) -> str:
        return f"{self.attempt_id}:{self.unit_id}"


class DueCheck(models.Model):
    """The queue of record: one narrow row per thing to do, with the time it is due. The lease is `next_at` itself."""

    # Found by its attempt, or by `due_dispatch_once_per_order`: an index more would be a tenth of the queue.
    order = models.ForeignKey(
        Order, on_delete=models.CASCADE, related_name="due_rows", db_constraint=False, db_index=False
    )
    attempt = models.OneToOneField(
        Attempt, on_delete=models.CASCADE, null=True, related_name="due_row", db_constraint=False
    )
    lane = models.BigIntegerField(default=0)
    kind = models.CharField(max_length=8, choices=DueKind)
    next_at = models.DateTimeField()
    tries = models.PositiveIntegerField(default=0)
    errors = models.PositiveIntegerField(default=0)
    fence = models.BigIntegerField(default=0)
    asked_at = models.DateTimeField(null=True)
    asked = models.PositiveIntegerField(default=0)
    digest = models.CharField(max_length=16, default="")
    same_since = models.DateTimeField(null=True)

    class Meta:
        db_table = "orders_due_check"
        indexes = [
            models.Index(fields=["lane", "next_at"], name="due_by_lane"),
            # The oldest look-ups of a lane, however many checks are older.
            models.Index(fields=["lane", "next_at"], condition=Q(kind="resolve"), name="due_lookups_by_lane"),
        ]
        constraints = [
            models.UniqueConstraint(fields=["order"], condition=Q(kind="dispatch"), name="due_dispatch_once_per_order"),
            models.CheckConstraint(condition=Q(kind__in=DueKind.values), name="due_kind_known"),
            models.CheckConstraint(
                condition=Q(kind="dispatch", attempt__isnull=True) | (~Q(kind="dispatch") & Q(attempt__isnull=False)),
                name="due_dispatch_has_no_attempt",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.order_id} at {self.next_at:%H:%M:%S}"


class PollStatistic(models.Model):
    """What was learned of how long orders take, for one product at one integration; 0 stands for all of them.

    `bins` has a pair of numbers for each bin of age: completions and seconds at risk, both fading. `pressure` and
    `together` make the price of a question, on the row of a whole integration.
    """

    integration_id = models.BigIntegerField()
    product_id = models.BigIntegerField()
    bins = models.JSONField(default=list)
    completions = models.PositiveIntegerField(default=0)
    asked = models.FloatField(default=0)
    lag_s = models.FloatField(default=0)
    pressure = models.FloatField(default=1)
    together = models.FloatField(default=1)
    priced_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "orders_poll_statistic"
        constraints = [models.UniqueConstraint(fields=["integration_id", "product_id"], name="poll_statistic_once")]

    def __str__(self) -> str:
        return f"integration {self.integration_id}, product {self.product_id}"


class Evidence(models.Model):
    """What was asked and what came back, byte for byte (encrypted), before anyone interprets it. Append-only."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="evidence")
    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, related_name="evidence")
    verb = models.CharField(max_length=10)
    send_no = models.PositiveIntegerField(default=0)
    request = models.TextField()
    knowledge = models.CharField(max_length=10)
    http_status = models.PositiveIntegerField(null=True)
    detail = models.CharField(max_length=120, blank=True, default="")
    outcome = models.CharField(max_length=24)
    sealed_body = models.TextField(blank=True, default="")
    body_digest = models.CharField(max_length=64, blank=True, default="")
    latency_ms = models.PositiveIntegerField(default=0)
    at = models.DateTimeField()

    class Meta:
        db_table = "orders_evidence"
        verbose_name_plural = "evidence"

    def __str__(self) -> str:
        return f"{self.verb} {self.attempt_id} {self.outcome}"


class OrderCode(models.Model):
    """One delivered code, never changed. `is_quarantined`: its delivery is not paid, nobody sees it."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="codes")
    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, related_name="codes")
    sealed = models.TextField()
    sealed_serial = models.TextField(blank=True, default="")
    sealed_pin = models.TextField(blank=True, default="", db_default="")
    sealed_url = models.TextField(blank=True, default="", db_default="")
    expires_on = models.DateField(null=True, blank=True)
    blind_index = models.CharField(max_length=64, db_index=True)
    is_quarantined = models.BooleanField(default=False)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "orders_code"
        constraints = [models.UniqueConstraint(fields=["attempt", "blind_index"], name="code_once_per_attempt")]

    def __str__(self) -> str:
        return f"code {self.pk}"

    def reveal(self) -> dict[str, str]:
        """The code in clear: `value`, `serial`, `pin`, `url` and the ISO date of `expires`, each empty where there is
        none. The caller records who looked."""
        sealed = {"value": self.sealed, "serial": self.sealed_serial, "pin": self.sealed_pin, "url": self.sealed_url}
        expires = self.expires_on.isoformat() if self.expires_on else ""
        return {**{name: open_text(text) if text else "" for name, text in sealed.items()}, "expires": expires}


class OrderEvent(models.Model):
    """One line of an order's story: what changed, why, and where it stood afterwards. Append-only."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="events")
    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, null=True, related_name="+")
    evidence = models.ForeignKey(Evidence, on_delete=models.PROTECT, null=True, related_name="+")
    kind = models.CharField(max_length=40)
    cause = models.CharField(max_length=40)
    actor = models.CharField(max_length=80, blank=True, default="")
    status = models.CharField(max_length=12)
    external_status = models.CharField(max_length=12)
    reason = models.CharField(max_length=120, blank=True, default="")
    data = models.JSONField(default=dict)
    at = models.DateTimeField()

    class Meta:
        db_table = "orders_event"

    def __str__(self) -> str:
        return f"{self.kind} {self.order_id}"


class OrderNote(models.Model):
    """One note of the customer's own about an order, and the key it was written with. Append-only."""

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="notes")
    text = models.CharField(max_length=500)
    actor = models.CharField(max_length=80)
    created_at = models.DateTimeField()

    class Meta:
        db_table = "orders_note"
        constraints = [models.CheckConstraint(condition=~Q(text=""), name="note_says_something")]

    def __str__(self) -> str:
        return f"note {self.pk} of {self.order_id}"


class Case(models.Model):
    """A question about an order that money hangs on and a person must answer; the order's status stays what it is."""

    class Reason(models.TextChoices):
        LATE_DELIVERY = "late_delivery", _("delivered after the money went back")
        SECOND_CODE = "second_code", _("a second, different PIN")
        CODE_SOLD_TWICE = "code_sold_twice", _("this PIN was delivered before")
        REVERSAL = "reversal", _("reversed by the provider")

    class Resolution(models.TextChoices):
        CHARGED = "charged", _("the customer paid again")
        GIVEN_BACK = "given_back", _("the customer got the money back")
        CODES_RELEASED = "codes_released", _("the codes were let out of quarantine")
        LEFT = "left", _("left as it is")

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="cases")
    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=20, choices=Reason)
    risk_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    owner = models.ForeignKey(User, on_delete=models.SET_NULL, null=True, blank=True, related_name="+")
    opened_at = models.DateTimeField()
    snoozed_until = models.DateTimeField(null=True, blank=True)
    closed_at = models.DateTimeField(null=True, blank=True)
    closed_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, blank=True, related_name="+")
    resolution = models.CharField(max_length=16, choices=Resolution, blank=True, default="")
    close_reason = models.CharField(max_length=200, blank=True, default="")

    class Meta:
        db_table = "orders_case"
        constraints = [
            models.UniqueConstraint(fields=["attempt", "reason"], name="case_once_per_attempt_and_reason"),
            # Nothing that money hangs on is closed without a name, a reason and what was decided.
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True, closed_by__isnull=True, resolution="", close_reason="")
                | (Q(closed_at__isnull=False, closed_by__isnull=False) & ~Q(close_reason="") & ~Q(resolution="")),
                name="case_closed_by_somebody_for_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reason} {self.order_id}"


class Approval(models.Model):
    """One decision that a single person may not take: asked by one, decided by another.

    `is_single`: the only person of the shop decided it alone, after signing in again.
    """

    class Action(models.TextChoices):
        RELEASE = "release", _("give the money back")
        STOP_WAITING = "stop_waiting", _("stop waiting for the provider")
        DELIVER = "deliver", _("deliver by hand")
        RESOLVE = "resolve", _("settle a contradiction")
        ACCEPT_LATE = "accept_late", _("charge for a late delivery")
        REVERSE = "reverse", _("give back what the provider took back")
        GIVE_BACK = "give_back", _("give back the money of a delivered order")

    class Status(models.TextChoices):
        PENDING = "pending", _("waits for a second person")
        DONE = "done", _("done")
        DECLINED = "declined", _("declined")

    order = models.ForeignKey(Order, on_delete=models.PROTECT, related_name="approvals")
    attempt = models.ForeignKey(Attempt, on_delete=models.PROTECT, null=True, related_name="approvals")
    case = models.ForeignKey(Case, on_delete=models.PROTECT, null=True, related_name="+")
    action = models.CharField(max_length=16, choices=Action)
    choice = models.CharField(max_length=16, blank=True, default="")
    sealed_entry = models.TextField(blank=True, default="")
    amount_micros = models.BigIntegerField()
    currency = models.CharField(max_length=3)
    reason = models.CharField(max_length=200)
    status = models.CharField(max_length=8, choices=Status)
    is_single = models.BooleanField(default=False)
    asked_by = models.ForeignKey(User, on_delete=models.PROTECT, related_name="+")
    asked_at = models.DateTimeField()
    decided_by = models.ForeignKey(User, on_delete=models.PROTECT, null=True, related_name="+")
    decided_at = models.DateTimeField(null=True)

    class Meta:
        db_table = "orders_approval"
        constraints = [
            models.UniqueConstraint(
                fields=["order", "action"], condition=Q(status="pending"), name="approval_one_pending_per_action"
            ),
            models.CheckConstraint(
                condition=Q(status__in=["pending", "done", "declined"]), name="approval_status_known"
            ),
            models.CheckConstraint(condition=~Q(reason=""), name="approval_has_a_reason"),
            # Four eyes are two people's, but for the only person of a shop; everybody may take a request back.
            models.CheckConstraint(
                condition=~Q(status="done") | Q(is_single=True) | ~Q(decided_by=F("asked_by")),
                name="approval_done_by_another",
            ),
            models.CheckConstraint(
                condition=Q(status="pending", decided_by__isnull=True, decided_at__isnull=True)
                | (Q(decided_by__isnull=False, decided_at__isnull=False) & ~Q(status="pending")),
                name="approval_pending_is_undecided",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.order_id}: {self.status}"


class UnseenReference(models.Model):
    """A reference that a buyer asked about before any order had it, and since when none may have it any more."""

    customer = models.ForeignKey(Customer, on_delete=models.PROTECT, related_name="+")
    reference = models.CharField(max_length=120)
    asked_at = models.DateTimeField()
    closed_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "orders_unseen_reference"
        constraints = [
            models.UniqueConstraint(fields=["customer", "reference"], name="unseen_reference_once_per_customer"),
            # What was closed before it was asked about was told as absent without the time to arrive.
            models.CheckConstraint(
                condition=Q(closed_at__isnull=True) | Q(closed_at__gt=F("asked_at")),
                name="unseen_reference_closed_after_the_question",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.customer_id}: {self.reference}"
