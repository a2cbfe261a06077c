"""What the database refuses by itself, whoever writes: sums, uniqueness, state words, append-only tables."""

from __future__ import annotations

from collections.abc import Callable
from datetime import time, timedelta
from typing import Any

import pytest
from django.apps import apps as registry
from django.db import DatabaseError, IntegrityError, connection, transaction
from django.db.models import CheckConstraint, Model, UniqueConstraint

from apps.accounts.models import ApiKey, Customer, Membership, PriceGroup, Tenant, UsedNonce, User
from apps.accounts.security_models import Invitation, RecoveryCode
from apps.accounts.view_models import SavedView
from apps.catalog.models import FxRate, InputField, MarginRule, Package, PackagePrice, Product
from apps.common.money import Money
from apps.journal.models import AlertEpisode, AlertNotice, OutboxEvent, ProviderWebhook
from apps.orders.bulk_models import BulkAction, BulkRow
from apps.orders.models import (
    Approval,
    Attempt,
    AttemptUnit,
    Case,
    DueCheck,
    Evidence,
    Order,
    OrderCode,
    OrderEvent,
    OrderNote,
    OrderUnit,
    PollStatistic,
    Quote,
    UnseenReference,
)
from apps.orders.statement_models import Break, Statement, StatementLine
from apps.orders.states import AttemptState, DueKind, ExternalStatus, OrderStatus, UnitStatus
from apps.orders.tag_models import OrderTag
from apps.providers.catalogue_models import (
    AccountWatch,
    BalanceReading,
    CatalogChange,
    CatalogItem,
    CatalogSync,
)
from apps.providers.models import Integration, PackageMapping, Route, StockCode, StockShelf
from apps.providers.traffic_models import Breaker
from apps.wallet import ledger
from apps.wallet.models import Account, ConfirmLimit, CreditChange, Entry, Transfer, WalletRequest
from apps.webhooks.models import DeliveryTry, WebhookDelivery, WebhookEndpoint
from tests.factories import START, Shop, make_customer, make_integration, make_shop, order_from

pytestmark = [pytest.mark.both_databases, pytest.mark.django_db]

MODELS = tuple(model for model in registry.get_models() if model.__module__.startswith("apps."))


class World:
    """One order with everything that can hang on it."""

    def __init__(self) -> None:
        self.shop: Shop = make_shop()
        self.order = order_from(self.shop, quantity=2)
        self.units = list(OrderUnit.objects.filter(order=self.order).order_by("n"))
        self.attempt = self.new_attempt("123456789012345678")
        self.link = AttemptUnit.objects.create(attempt=self.attempt, unit=self.units[0])
        self.due = DueCheck.objects.create(
            order=self.order, attempt=self.attempt, lane=self.shop.integration.pk, kind="check", next_at=START
        )
        self.evidence = Evidence.objects.create(
            order=self.order,
            attempt=self.attempt,
            verb="place",
            request="",
            knowledge="none",
            outcome="unknown",
            at=START,
        )
        self.code = OrderCode.objects.create(
            order=self.order, attempt=self.attempt, sealed="k1$x", blind_index="i", created_at=START
        )
        self.case = Case.objects.create(
            order=self.order, attempt=self.attempt, reason="reversal", risk_micros=1, currency="TRY", opened_at=START
        )

        customer, author = self.shop.customer, User.objects.create(username="author")
        ledger.set_credit_limit(
            customer.tenant_id, customer.pk, Money(1, "TRY"), key="credit", reason="", actor="author", now=START
        )
        self.limit = ConfirmLimit.objects.create(
            tenant=self.shop.tenant, currency="TRY", above_micros=1, actor="author", at=START
        )
        self.request = WalletRequest.objects.create(
            tenant=self.shop.tenant,
            customer=customer,
            key="request",
            kind="deposit",
            amount_micros=1,
            currency="TRY",
            reason="paid",
            status="pending",
            asked_by=author,
            asked_at=START,
            expires_at=START,
        )

        self.approval = self.new_approval()

    def new_tag(self, name: str) -> OrderTag:
        """A tag on the order."""
        return OrderTag.objects.create(order=self.order, name=name, actor="omar", created_at=START)

    def new_view(self, query: str = "status=open") -> SavedView:
        """A view that somebody keeps."""
        return SavedView.objects.create(user=self.request.asked_by, name="mine", query=query)

    def new_approval(self) -> Approval:
        """One person has asked for a second one."""
        return Approval.objects.create(
            order=self.order,
            action="release",
            amount_micros=1,
            currency="TRY",
            reason="why",
            status="pending",
            asked_by=self.request.asked_by,
            asked_at=START,
        )

    def new_attempt(self, reference: str, **fields: Any) -> Attempt:
        return Attempt.objects.create(
            **{
                "order": self.order,
                "integration": self.shop.integration,
                "integration_name": "Panel",
                "kind": "znet",
                "reference": reference,
                "send_deadline_at": START,
                "cost_currency": "TRY",
                "created_at": START,
                **fields,
            }
        )

    def new_order(self, **fields: Any) -> Order:
        return Order.objects.create(
            **{
                "tenant": self.shop.tenant,
                "customer": self.shop.customer,
                "package": self.shop.package,
                "product_name": "P",
                "package_name": "P",
                "needs_code": True,
                "quantity": 1,
                "unit_price_micros": 1,
                "price_micros": 1,
                "currency": "TRY",
                "idempotency_key": "another",
                "request_hash": "x",
                "created_at": START,
                "updated_at": START,
                "deadline_at": START,
                **fields,
            }
        )

    def new_rule(self, **fields: Any) -> MarginRule:
        return MarginRule.objects.create(**{"tenant": self.shop.tenant, "currency": "TRY", **fields})

    def new_rate(self, **fields: Any) -> FxRate:
        return FxRate.objects.create(
            **{
                "tenant": self.shop.tenant,
                "from_currency": "USD",
                "to_currency": "TRY",
                "rate": 41,
                "source": "test",
                "valid_from": START,
                **fields,
            }
        )

    def new_quote(self, **fields: Any) -> Quote:
        return Quote.objects.create(
            **{
                "tenant": self.shop.tenant,
                "customer": self.shop.customer,
                "package": self.shop.package,
                "public_id": "q",
                "quantity": 1,
                "unit_price_micros": 1,
                "currency": "TRY",
                "created_at": START,
                "expires_at": START + timedelta(minutes=1),
                **fields,
            }
        )

    def new_item(self, **facts: Any) -> CatalogItem:
        """One thing that the account sells."""
        given = {"name": "60", "cost_micros": 1, "currency": "TRY", "seen_at": START, "changed_at": START, **facts}
        return CatalogItem.objects.create(integration=self.shop.integration, key="kupur=60", **given)

    def new_sync(self, **facts: Any) -> CatalogSync:
        """One fetch of the account's list."""
        return CatalogSync.objects.create(
            integration=self.shop.integration, created_at=START, beat_at=START, **{"state": "done", **facts}
        )

    def new_change(self, **facts: Any) -> CatalogChange:
        """One difference that a fetch found."""
        given = {"key": "kupur=60", "kind": "new", **facts}
        return CatalogChange.objects.create(integration=self.shop.integration, sync=self.new_sync(), **given)

    def new_reading(self, **facts: Any) -> BalanceReading:
        """One answer about our money at the account."""
        return BalanceReading.objects.create(
            integration=self.shop.integration, since=START, as_of=START, currency="TRY", **facts
        )

    def new_key(self, **fields: Any) -> ApiKey:
        given = {"public_id": "k", "secret_hash": "h", "created_at": START, **fields}
        return ApiKey.objects.create(customer=self.shop.customer, **given)

    def new_hook(self, **fields: Any) -> ProviderWebhook:
        """One message from the provider that is its own."""
        given = {"received_at": START, "body_digest": "d", "verdict": "verified", "event_key": "e", **fields}
        return ProviderWebhook.objects.create(integration_id=self.shop.integration.pk, **given)

    def new_webhook(self, **fields: Any) -> WebhookEndpoint:
        """A place of the customer's for events."""
        given = {"url": "https://hooks.example.com/", "sealed_secret": "k1$x", "created_at": START, **fields}
        return WebhookEndpoint.objects.create(customer=self.shop.customer, **given)

    def new_delivery(self, endpoint: WebhookEndpoint, name: str = "a", **fields: Any) -> WebhookDelivery:
        """The first event of the order on its way there."""
        event = OutboxEvent.objects.filter(subject_kind="order", subject_id=self.order.pk).earliest("pk")
        given = {"message_id": name, "next_at": START, "created_at": START, **fields}
        return WebhookDelivery.objects.create(endpoint=endpoint, event=event, **given)

    def new_statement(self, **fields: Any) -> Statement:
        """One file of the account."""
        given = {"starts_at": START, "ends_at": START, "content_hash": "c", "dialect": {}, **fields}
        counts = {"lines_read": 1, "lines_new": 1, "imported_by": "olga", "imported_at": START}
        return Statement.objects.create(integration=self.shop.integration, **counts, **given)

    def new_line(self, **fields: Any) -> StatementLine:
        """One line of such a file; which file it is plays no part."""
        file = Statement.objects.first() or self.new_statement()
        given = {"number": 1, "amount_micros": 1, "currency": "TRY", "meaning": "bought", "fingerprint": "f", **fields}
        return StatementLine.objects.create(statement=file, integration=self.shop.integration, **given)

    def new_break(self, **fields: Any) -> Break:
        """One open difference about a line."""
        line = fields.pop("line") if "line" in fields else StatementLine.objects.first() or self.new_line()
        file = Statement.objects.first() or self.new_statement()
        given = {"statement": file, "line": line, "kind": "price", "opened_at": START, **fields}
        return Break.objects.create(integration=self.shop.integration, **given)

    def new_invitation(self, **fields: Any) -> Invitation:
        """A link into the shop."""
        times = {"created_at": START, "expires_at": START + timedelta(days=1)}
        given = {"role": "viewer", "token_hash": "t", "invited_by": self.request.asked_by, **times, **fields}
        return Invitation.objects.create(tenant=self.shop.tenant, **given)

    def new_bulk(self, **fields: Any) -> BulkAction:
        """A decision about many orders."""
        given = {"kind": "note", "reason": "why", "asked_by": self.request.asked_by, "asked_at": START, **fields}
        return BulkAction.objects.create(tenant=self.shop.tenant, **given)

    def new_bulk_row(self, **fields: Any) -> BulkRow:
        """One order of such a decision."""
        return BulkRow.objects.create(bulk=BulkAction.objects.first() or self.new_bulk(), order=self.order, **fields)


@pytest.fixture
def world() -> World:
    return World()


def new_credit_change(world: World, **fields: Any) -> CreditChange:
    values = {"before_micros": 1, "after_micros": 2, "reason": "", "actor": "author", "at": START, **fields}
    account = Account.objects.get(kind="customer", subject_id=world.shop.customer.pk)
    return CreditChange.objects.create(account=account, key="another", **values)


def routes_of_a_group(w: World, positions: tuple[int, ...], integration: Integration | None) -> None:
    group = PriceGroup.objects.create(tenant=w.shop.tenant, name="VIP")
    for position in positions:
        mode = "manual" if integration is None else "auto"
        Route.objects.create(
            package=w.shop.package, price_group=group, position=position, mode=mode, integration=integration
        )


def new_episode() -> AlertEpisode:
    return AlertEpisode.objects.create(rule="loop_silent", subject="sweep", opened_at=START, last_seen_at=START)


def new_notice(episode: AlertEpisode, **fields: Any) -> AlertNotice:
    given = {"channel": "log", "occasion": "opened", "next_at": START, **fields}
    return AlertNotice.objects.create(episode=episode, **given)


def new_stock_code(world: World, **fields: Any) -> StockCode:
    values = {"shelf": "s", "sealed": "k1$x", "blind_index": "i", "cost_micros": 1, "added_at": START, **fields}
    return StockCode.objects.create(tenant=world.shop.tenant, integration=world.shop.integration, **values)


def change(model: type[Model], pk: int, **fields: Any) -> None:
    """An UPDATE as anybody's SQL could say it, past `save` and `clean`."""
    model._default_manager.filter(pk=pk).update(**fields)


Refused = Callable[[World], object]

REFUSED: dict[str, Refused] = {
    # orders
    "order_once_per_key": lambda w: w.new_order(idempotency_key=w.order.idempotency_key),
    "order_once_per_client_reference": lambda w: [
        w.new_order(idempotency_key=key, client_reference="mine") for key in ("a", "b")
    ],
    "order_status_known": lambda w: change(Order, w.order.pk, status="PENDING"),
    "order_external_status_known": lambda w: change(Order, w.order.pk, external_status="done"),
    "order_price_is_unit_price_times_quantity": lambda w: change(Order, w.order.pk, price_micros=69_999_999),
    "order_captured_within_price": lambda w: change(Order, w.order.pk, captured_micros=w.order.price_micros + 1),
    "order_cost_not_negative": lambda w: change(Order, w.order.pk, cost_micros=-1),
    "quote_price_and_quantity_above_zero": lambda w: w.new_quote(unit_price_micros=0),
    "quote_expires_after_creation": lambda w: w.new_quote(expires_at=START),
    "order_review_has_a_reason": lambda w: change(Order, w.order.pk, status="review", reason=""),
    "unit_once_per_number": lambda w: OrderUnit.objects.create(order=w.order, n=1, amount_micros=1),
    "unit_amount_positive": lambda w: change(OrderUnit, w.units[0].pk, amount_micros=0),
    "unit_status_known": lambda w: change(OrderUnit, w.units[0].pk, status="HELD"),
    "attempt_reference_once_per_account": lambda w: w.new_attempt(w.attempt.reference),
    "attempt_state_known": lambda w: change(Attempt, w.attempt.pk, state="unknown"),
    "attempt_has_a_reference": lambda w: change(Attempt, w.attempt.pk, reference=""),
    "unit_held_by_one_attempt": lambda w: AttemptUnit.objects.create(
        attempt=w.new_attempt("223456789012345678"), unit=w.units[0]
    ),
    "attempt_unit_once": lambda w: AttemptUnit.objects.create(attempt=w.attempt, unit=w.units[0], holds=False),
    "due_dispatch_once_per_order": lambda w: DueCheck.objects.create(order=w.order, kind="dispatch", next_at=START),
    "due_kind_known": lambda w: change(DueCheck, w.due.pk, kind="poll"),
    "due_dispatch_has_no_attempt": lambda w: DueCheck.objects.filter(order=w.order, kind="dispatch").update(
        kind="check"
    ),
    "code_once_per_attempt": lambda w: OrderCode.objects.create(
        order=w.order, attempt=w.attempt, sealed="k1$y", blind_index="i", created_at=START
    ),
    "case_once_per_attempt_and_reason": lambda w: Case.objects.create(
        order=w.order, attempt=w.attempt, reason="reversal", risk_micros=2, currency="TRY", opened_at=START
    ),
    "case_closed_by_somebody_for_a_reason": lambda w: change(Case, w.case.pk, closed_at=START),
    "approval_one_pending_per_action": lambda w: w.new_approval(),
    "approval_status_known": lambda w: change(
        Approval, w.approval.pk, status="open", decided_by=w.request.asked_by, decided_at=START
    ),
    "approval_has_a_reason": lambda w: change(Approval, w.approval.pk, reason=""),
    "approval_done_by_another": lambda w: change(
        Approval, w.approval.pk, status="done", decided_by=w.request.asked_by, decided_at=START
    ),
    "approval_pending_is_undecided": lambda w: change(Approval, w.approval.pk, decided_at=START),
    # providers
    "integration_name_once_per_shop": lambda w: change(
        Integration, make_integration(w.shop.tenant, w.shop.integration.base_url).pk, name=w.shop.integration.name
    ),
    "mapping_once_per_package_and_account": lambda w: PackageMapping.objects.create(
        package=w.shop.package, integration=w.shop.integration, oyun="1"
    ),
    "mapping_has_a_product_id": lambda w: PackageMapping.objects.update(oyun=""),
    "mapping_cost_not_negative": lambda w: PackageMapping.objects.update(cost_micros=-1),
    "route_position_once_per_package": lambda w: Route.objects.create(
        package=w.shop.package, position=1, mode="manual"
    ),
    "route_once_per_package_and_account": lambda w: Route.objects.create(
        package=w.shop.package, position=2, integration=w.shop.integration
    ),
    "route_position_once_per_package_and_group": lambda w: routes_of_a_group(w, (1, 1), integration=None),
    "route_once_per_package_account_and_group": lambda w: routes_of_a_group(w, (1, 2), integration=w.shop.integration),
    "route_weight_sane": lambda w: change(Route, w.shop.route.pk, weight=0),
    "route_hours_begin_and_end": lambda w: change(Route, w.shop.route.pk, opens_at=time(9)),
    "route_auto_has_account_manual_has_none": lambda w: change(Route, w.shop.route.pk, mode="manual"),
    "stock_code_once_per_shop": lambda w: [new_stock_code(w, shelf=shelf) for shelf in ("a", "b")],
    "stock_code_has_a_shelf": lambda w: new_stock_code(w, shelf=""),
    "stock_cost_not_negative": lambda w: new_stock_code(w, cost_micros=-1),
    "stock_taken_by_an_attempt": lambda w: new_stock_code(w, taken_at=START),
    "shelf_once_per_account": lambda w: [
        StockShelf.objects.create(integration=w.shop.integration, name="s", low_at=1) for _ in range(2)
    ],
    # wallet
    "account_once_per_subject": lambda w: Account.objects.create(tenant=w.shop.tenant, kind="held", currency="TRY"),
    "account_one_wallet_per_customer": lambda w: Account.objects.create(
        tenant=w.shop.tenant,
        kind="customer",
        currency="USD",
        subject_kind="customer",
        subject_id=w.shop.customer.pk,
        balance_micros=0,
    ),
    "account_only_customers_store_a_balance": lambda w: Account.objects.filter(kind="held").update(balance_micros=0),
    "account_not_below_limit": lambda w: Account.objects.filter(kind="customer").update(balance_micros=-2),
    "account_limit_not_negative": lambda w: Account.objects.filter(kind="customer").update(limit_micros=-1),
    "entry_is_not_zero": lambda w: Entry.objects.create(
        transfer=Transfer.objects.all()[0], account=Account.objects.all()[0], amount_micros=0
    ),
    "transfer_names_an_order_or_an_author": lambda w: Transfer.objects.create(
        tenant=w.shop.tenant, key="nameless", kind="deposit", subject_kind="customer", subject_id=1, at=START
    ),
    "credit_not_negative": lambda w: new_credit_change(w, after_micros=-1),
    "credit_change_names_its_author": lambda w: new_credit_change(w, actor=""),
    "confirm_limit_not_negative": lambda w: ConfirmLimit.objects.create(
        tenant=w.shop.tenant, currency="TRY", above_micros=-1, actor="author", at=START
    ),
    "confirm_limit_names_its_author": lambda w: ConfirmLimit.objects.create(
        tenant=w.shop.tenant, currency="TRY", above_micros=1, actor="", at=START
    ),
    "wallet_request_status_known": lambda w: change(WalletRequest, w.request.pk, status="open"),
    "wallet_request_amount_positive": lambda w: change(WalletRequest, w.request.pk, amount_micros=0),
    "wallet_request_has_a_reason": lambda w: change(WalletRequest, w.request.pk, reason=""),
    "wallet_request_decided_by_another": lambda w: change(
        WalletRequest, w.request.pk, status="done", decided_by=w.request.asked_by, decided_at=START
    ),
    "wallet_request_pending_is_undecided": lambda w: change(WalletRequest, w.request.pk, decided_at=START),
    # catalog
    "product_name_once_per_shop": lambda w: Product.objects.create(
        tenant=w.shop.tenant, name=w.shop.package.product.name
    ),
    "input_field_name_once_per_product": lambda w: InputField.objects.create(
        product=w.shop.package.product, name="player_id", label="x", target="param"
    ),
    "input_field_target_once_per_product": lambda w: InputField.objects.create(
        product=w.shop.package.product, name="other", label="x"
    ),
    "input_field_kind_known": lambda w: InputField.objects.update(kind="colour"),
    "input_field_target_known": lambda w: InputField.objects.update(target="elsewhere"),
    "package_code_once_per_shop": lambda w: Package.objects.create(
        tenant=w.shop.tenant, product=w.shop.package.product, code=w.shop.package.code, name="x"
    ),
    "package_quantity_kind_known": lambda w: Package.objects.update(quantity_kind="many"),
    "package_strategy_known": lambda w: Package.objects.update(strategy="dearest"),
    "package_quantity_range_sane": lambda w: Package.objects.update(quantity_min=6),
    "price_is_positive": lambda w: PackagePrice.objects.update(unit_price_micros=0),
    "price_from_quantity_sane": lambda w: PackagePrice.objects.update(from_quantity=0),
    "price_ends_after_it_begins": lambda w: PackagePrice.objects.update(valid_from=START, valid_until=START),
    "margin_rule_once_per_package_and_currency": lambda w: [w.new_rule(package=w.shop.package) for _ in range(2)],
    "margin_rule_once_per_product_and_currency": lambda w: [
        w.new_rule(product=w.shop.package.product) for _ in range(2)
    ],
    "margin_rule_once_per_shop_and_currency": lambda w: [w.new_rule() for _ in range(2)],
    "margin_rule_has_one_scope": lambda w: w.new_rule(package=w.shop.package, product=w.shop.package.product),
    "margin_rule_is_percent_or_amount": lambda w: w.new_rule(percent=1, amount_micros=1),
    "margin_rule_step_above_zero": lambda w: w.new_rule(step_micros=0),
    "fx_rate_once_per_moment": lambda w: [w.new_rate() for _ in range(2)],
    "fx_rate_above_zero": lambda w: w.new_rate(rate=0),
    "fx_rate_between_two_currencies": lambda w: w.new_rate(to_currency="USD"),
    "fx_rate_ends_after_it_begins": lambda w: w.new_rate(valid_until=START),
    # what a provider sells, and our money there
    "catalog_item_once_per_account": lambda w: [w.new_item() for _ in range(2)],
    "catalog_item_cost_not_negative": lambda w: w.new_item(cost_micros=-1),
    "catalog_item_cost_has_a_currency": lambda w: w.new_item(currency=""),
    "catalog_sync_one_at_a_time": lambda w: [w.new_sync(state=state) for state in ("queued", "running")],
    "catalog_sync_state_known": lambda w: w.new_sync(state="lost"),
    "catalog_sync_failed_says_why": lambda w: w.new_sync(state="failed"),
    "catalog_change_pending_once": lambda w: [w.new_change() for _ in range(2)],
    "catalog_change_kind_known": lambda w: w.new_change(kind="colour"),
    "catalog_change_state_known": lambda w: w.new_change(state="maybe", decided_by="a", decided_at=START),
    "catalog_change_decision_has_a_name": lambda w: w.new_change(state="approved", decided_at=START),
    "account_watch_factor_above_one": lambda w: AccountWatch.objects.create(
        integration=w.shop.integration, jump_factor=1
    ),
    "account_watch_threshold_positive": lambda w: AccountWatch.objects.create(
        integration=w.shop.integration, alert_below_micros=0
    ),
    "balance_reading_is_a_value_or_an_error": lambda w: w.new_reading(amount_micros=0, error="timeout"),
    "balance_reading_error_has_no_parts": lambda w: w.new_reading(credit_micros=1, error="timeout"),
    # accounts
    "shop_loss_guard_sane": lambda w: Tenant.objects.update(loss_guard_percent=-1),
    "shop_rate_age_above_zero": lambda w: Tenant.objects.update(rate_max_age_hours=0),
    "shop_quote_time_above_zero": lambda w: Tenant.objects.update(quote_minutes=0),
    "shop_api_rate_above_zero": lambda w: Tenant.objects.update(api_burst=0),
    "price_group_is_not_its_own_parent": lambda w: change(
        PriceGroup, pk := PriceGroup.objects.create(tenant=w.shop.tenant, name="G").pk, parent_id=pk
    ),
    "membership_once_per_shop": lambda w: [
        Membership.objects.create(user=User.objects.get_or_create(username="u")[0], tenant=w.shop.tenant)
        for _ in range(2)
    ],
    "membership_role_known": lambda w: Membership.objects.create(
        user=User.objects.create(username="u"), tenant=w.shop.tenant, role="king"
    ),
    "price_group_name_once_per_shop": lambda w: [
        PriceGroup.objects.create(tenant=w.shop.tenant, name="G") for _ in range(2)
    ],
    "customer_name_once_per_shop": lambda w: Customer.objects.create(tenant=w.shop.tenant, name=w.shop.customer.name),
    "api_key_expires_after_creation": lambda w: ApiKey.objects.create(
        customer=w.shop.customer, public_id="k", secret_hash="h", created_at=START, expires_at=START
    ),
    "api_key_rate_above_zero": lambda w: w.new_key(burst=0),
    "nonce_once_per_key": lambda w: [
        UsedNonce.objects.create(key=ApiKey.objects.first() or w.new_key(), nonce="n", used_at=START) for _ in range(2)
    ],
    "recovery_code_once_per_person": lambda w: [
        RecoveryCode.objects.create(user=w.request.asked_by, code_hash="h") for _ in range(2)
    ],
    "invitation_role_known": lambda w: w.new_invitation(role="owner"),
    "invitation_expires": lambda w: w.new_invitation(expires_at=START),
    "invitation_accepted_or_withdrawn": lambda w: w.new_invitation(accepted_at=START, withdrawn_at=START),
    # many orders at once
    "bulk_status_known": lambda w: w.new_bulk(status="open"),
    "bulk_kind_known": lambda w: w.new_bulk(kind="refund"),
    "bulk_tag_where_one_belongs": lambda w: w.new_bulk(kind="tag"),
    "bulk_has_a_reason": lambda w: w.new_bulk(reason=""),
    "bulk_confirmed_by_another": lambda w: w.new_bulk(confirmed_by=w.request.asked_by),
    "bulk_ended_has_a_time": lambda w: w.new_bulk(status="done"),
    "bulk_row_once_per_order": lambda w: [w.new_bulk_row() for _ in range(2)],
    "bulk_row_state_known": lambda w: w.new_bulk_row(state="maybe", at=START),
    "bulk_row_result_has_a_time": lambda w: w.new_bulk_row(state="done"),
    # journal
    "hook_event_once_per_account": lambda w: [w.new_hook() for _ in range(2)],
    "hook_effect_known": lambda w: w.new_hook(effect="believed"),
    "hook_untrusted_has_no_subject": lambda w: w.new_hook(verdict="forged", event_key="", attempt_id=w.attempt.pk),
    "alert_open_once": lambda w: [new_episode() for _ in range(2)],
    "alert_notice_once": lambda w: [new_notice(episode) for episode in [new_episode()] * 2],
    "alert_notice_occasion_known": lambda w: new_notice(new_episode(), occasion="often"),
    # webhooks
    "endpoint_codes_only_over_https": lambda w: w.new_webhook(with_codes=True, url="http://hooks.example.com/"),
    "endpoint_paused_for_a_reason": lambda w: w.new_webhook(paused_at=START),
    "delivery_once_per_endpoint": lambda w: [
        w.new_delivery(endpoint, name) for endpoint in [w.new_webhook()] for name in "ab"
    ],
    "delivery_ended_or_waiting": lambda w: w.new_delivery(w.new_webhook(), state="dead"),
    "try_taken_with_2xx": lambda w: DeliveryTry.objects.create(
        delivery=w.new_delivery(w.new_webhook()), at=START, outcome="taken", http_status=302
    ),
    # statements, notes and references
    "statement_once_per_content": lambda w: [w.new_statement() for _ in range(2)],
    "statement_ends_after_start": lambda w: w.new_statement(ends_at=START - timedelta(seconds=1)),
    "statement_line_once": lambda w: [w.new_line() for _ in range(2)],
    "statement_line_matched_by_something": lambda w: w.new_line(attempt=w.attempt),
    "break_kind_known": lambda w: w.new_break(kind="weather"),
    "break_once_per_line_and_kind": lambda w: [w.new_break() for _ in range(2)],
    "break_once_per_unlisted_attempt": lambda w: [w.new_break(line=None, attempt=w.attempt) for _ in range(2)],
    "break_is_about_something": lambda w: w.new_break(line=None),
    "break_closed_by_somebody_for_a_reason": lambda w: w.new_break(closed_at=START, decision="lost"),
    "poll_statistic_once": lambda w: [PollStatistic.objects.create(integration_id=1, product_id=0) for _ in range(2)],
    "tag_once_per_order": lambda w: [w.new_tag("vip") for _ in range(2)],
    "tag_says_something": lambda w: w.new_tag(""),
    "saved_view_once_per_person": lambda w: [w.new_view() for _ in range(2)],
    "saved_view_says_something": lambda w: w.new_view(query=""),
    "note_says_something": lambda w: OrderNote.objects.create(order=w.order, text="", actor="key", created_at=START),
    "unseen_reference_once_per_customer": lambda w: [
        UnseenReference.objects.create(customer=w.shop.customer, reference="r", asked_at=START) for _ in range(2)
    ],
    "unseen_reference_closed_after_the_question": lambda w: UnseenReference.objects.create(
        customer=w.shop.customer, reference="r", asked_at=START, closed_at=START
    ),
    # providers' traffic
    "breaker_open_has_a_probe": lambda w: Breaker.objects.create(integration=w.shop.integration, opened_at=START),
}


def constraint_names() -> list[str]:
    named = (CheckConstraint, UniqueConstraint)
    return sorted(rule.name for model in MODELS for rule in model._meta.constraints if isinstance(rule, named))


class TestTheDatabase:
    def test_is_tried_against_every_constraint(self) -> None:
        assert sorted(REFUSED) == constraint_names()

    @pytest.mark.parametrize("name", sorted(REFUSED))
    def test_refuses_what_the_constraint_forbids(self, world: World, name: str) -> None:
        with pytest.raises(IntegrityError) as caught, transaction.atomic():
            REFUSED[name](world)
        check_named(name, str(caught.value))

    @pytest.mark.parametrize("status", OrderStatus)
    def test_knows_every_status_word(self, world: World, status: OrderStatus) -> None:
        change(Order, world.order.pk, status=status, reason="waiting:deadline")

    @pytest.mark.parametrize("word", ExternalStatus)
    def test_knows_every_external_status_word(self, world: World, word: ExternalStatus) -> None:
        change(Order, world.order.pk, external_status=word)

    def test_knows_every_state_unit_and_kind_word(self, world: World) -> None:
        for state in AttemptState:
            change(Attempt, world.attempt.pk, state=state)
        for status in UnitStatus:
            change(OrderUnit, world.units[0].pk, status=status)
        for kind in set(DueKind) - {DueKind.DISPATCH}:
            change(DueCheck, world.due.pk, kind=kind)


def check_named(name: str, text: str) -> None:
    """The refusal is that of this constraint: all but SQLite's unique ones, which name the columns, tell its name."""
    if connection.vendor == "postgresql" or "UNIQUE" not in text:
        # A reference is unique in the installation as well, and that index is asked first.
        assert name in text or (name == "attempt_reference_once_per_account" and "reference" in text)


class TestAHeldUnit:
    def test_goes_to_another_attempt_when_it_was_let_go(self, world: World) -> None:
        change(AttemptUnit, world.link.pk, holds=False)
        second = world.new_attempt("223456789012345678")
        AttemptUnit.objects.create(attempt=second, unit=world.units[0])
        with (
            pytest.raises(IntegrityError, match=r"unit_held_by_one_attempt|attempt_unit\.unit_id"),
            transaction.atomic(),
        ):
            change(AttemptUnit, world.link.pk, holds=True)

    def test_is_not_shared_with_an_attempt_of_another_account(self, world: World) -> None:
        other = make_integration(world.shop.tenant, "http://127.0.0.1:9")
        second = world.new_attempt("223456789012345678", integration=other)
        with pytest.raises(IntegrityError), transaction.atomic():
            AttemptUnit.objects.create(attempt=second, unit=world.units[0])


class TestAReference:
    def test_is_unique_across_accounts(self, world: World) -> None:
        other = make_integration(world.shop.tenant, "http://127.0.0.1:9")
        with pytest.raises(IntegrityError), transaction.atomic():
            world.new_attempt(world.attempt.reference, integration=other)


class TestAClientReference:
    def test_may_be_missing_on_many_orders(self, world: World) -> None:
        world.new_order(idempotency_key="a")
        world.new_order(idempotency_key="b")

    def test_of_another_customer_is_another(self, world: World) -> None:
        world.new_order(idempotency_key="a", client_reference="mine")
        world.new_order(idempotency_key="a", client_reference="mine", customer=make_customer(world.shop.tenant))


APPEND_ONLY = (
    "orders_event",
    "orders_evidence",
    "wallet_transfer",
    "wallet_entry",
    "wallet_credit_change",
    "wallet_confirm_limit",
)


def sql(statement: str, *params: Any) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return int(cursor.rowcount)


def first_id(table: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT max(id) FROM {table}")  # noqa: S608 - our own names
        return int(cursor.fetchone()[0])


class TestAnAppendOnlyTable:
    @pytest.mark.parametrize("table", APPEND_ONLY)
    def test_refuses_an_update(self, world: World, table: str) -> None:
        row = first_id(table)
        with pytest.raises(DatabaseError, match=f"{table} is append-only"), transaction.atomic():
            sql(f"UPDATE {table} SET id = -id WHERE id = %s", row)  # noqa: S608

    @pytest.mark.parametrize("table", [*APPEND_ONLY, "orders_code"])
    def test_refuses_a_deletion(self, world: World, table: str) -> None:
        row = first_id(table)
        with pytest.raises(DatabaseError, match=f"{table} is append-only"), transaction.atomic():
            sql(f"DELETE FROM {table} WHERE id = %s", row)  # noqa: S608

    @pytest.mark.parametrize("table", APPEND_ONLY)
    def test_refuses_a_deletion_of_everything(self, world: World, table: str) -> None:
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            sql(f"DELETE FROM {table}")  # noqa: S608

    def test_refuses_the_orm_too(self, world: World) -> None:
        with pytest.raises(DatabaseError), transaction.atomic():
            OrderEvent.objects.update(kind="nothing")
        with pytest.raises(DatabaseError), transaction.atomic():
            world.evidence.delete()


class TestAnAccountOfTheLedger:
    @pytest.mark.parametrize(
        ("column", "value"),
        [("kind", "revenue"), ("currency", "USD"), ("subject_kind", "x"), ("subject_id", 7)],
    )
    def test_never_changes_what_it_is(self, world: World, column: str, value: object) -> None:
        held = Account.objects.get(kind="held", tenant=world.shop.tenant)
        with pytest.raises(DatabaseError, match="an account never changes what it is"), transaction.atomic():
            sql(f"UPDATE wallet_account SET {column} = %s WHERE id = %s", value, held.pk)  # noqa: S608

    def test_never_goes_to_another_shop(self, world: World) -> None:
        other = make_shop().tenant
        held = Account.objects.get(kind="held", tenant=world.shop.tenant)
        with pytest.raises(DatabaseError, match="an account never changes what it is"), transaction.atomic():
            change(Account, held.pk, tenant=other)


class TestAStoredCode:
    @pytest.mark.parametrize("column", ["blind_index", "order_id", "attempt_id", "created_at"])
    def test_never_changes_what_it_is(self, world: World, column: str) -> None:
        other_order = order_from(world.shop)
        values: dict[str, Any] = {
            "blind_index": "j",
            "order_id": other_order.pk,
            "attempt_id": world.new_attempt("223456789012345678").pk,
            "created_at": START + timedelta(days=1),
        }
        with pytest.raises(DatabaseError, match="append-only but for its ciphertext"), transaction.atomic():
            sql(f"UPDATE orders_code SET {column} = %s WHERE id = %s", values[column], world.code.pk)  # noqa: S608

    def test_may_leave_quarantine_or_be_put_there(self, world: World) -> None:
        for value in (True, False):
            assert sql("UPDATE orders_code SET is_quarantined = %s WHERE id = %s", value, world.code.pk) == 1

    def test_may_be_sealed_again_with_a_new_key(self, world: World) -> None:
        statement = "UPDATE orders_code SET sealed = %s, sealed_serial = %s WHERE id = %s"
        assert sql(statement, "k2$z", "k2$s", world.code.pk) == 1


class TestAnAccountThatWasUsed:
    @pytest.mark.parametrize("column", ["kind", "base_url", "login"])
    def test_keeps_its_identity(self, world: World, column: str) -> None:
        change(Integration, world.shop.integration.pk, in_use_since=START)
        with pytest.raises(DatabaseError, match="frozen after the first purchase"), transaction.atomic():
            sql(f"UPDATE providers_integration SET {column} = 'other' WHERE id = %s", world.shop.integration.pk)  # noqa: S608

    def test_may_get_new_secrets_and_be_disabled(self, world: World) -> None:
        change(Integration, world.shop.integration.pk, in_use_since=START)
        change(Integration, world.shop.integration.pk, sealed_secrets="k1$new", is_enabled=False, name="Old panel")

    def test_is_free_to_change_before_its_first_purchase(self, world: World) -> None:
        change(Integration, world.shop.integration.pk, base_url="http://127.0.0.1:8")

    def test_cannot_be_made_unused_again_to_change_it(self, world: World) -> None:
        change(Integration, world.shop.integration.pk, in_use_since=START)
        with pytest.raises(DatabaseError), transaction.atomic():
            change(Integration, world.shop.integration.pk, in_use_since=None, base_url="http://127.0.0.1:8")

    def test_is_never_unused_again(self, world: World) -> None:
        change(Integration, world.shop.integration.pk, in_use_since=START)
        with pytest.raises(DatabaseError), transaction.atomic():
            change(Integration, world.shop.integration.pk, in_use_since=None)
