"""Every address of the hub against everybody: what belongs to another shop or customer does not exist there.

The addresses come from the table of URLs itself; a new one without a row here fails.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from django.contrib import admin
from django.db.models import Model
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from pytest_django import Settings

from apps.accounts.invitations import GOOD_FOR
from apps.accounts.keys import issue_key
from apps.accounts.models import Scope, Tenant, every_scope
from apps.accounts.security_models import Invitation, SignIn
from apps.accounts.view_models import SavedView
from apps.api.urls import describe_api
from apps.catalog.models import Product
from apps.journal.models import ProviderWebhook
from apps.orders.bulk_models import BulkAction
from apps.orders.models import Approval, Attempt, AttemptUnit, Case, Evidence, Order, OrderUnit
from apps.orders.statement_models import Break, Statement, StatementLine
from apps.providers.catalogue_models import CatalogChange, CatalogSync
from apps.providers.models import Integration
from apps.wallet.models import WalletRequest
from apps.webhooks import endpoints, publishing
from tests.factories import NOWHERE, START, Shop, make_account, make_shop, order_from
from tests.functional.door_buyers import SmmBuyer, ZnetBuyer
from tests.functional.panel_fixtures import browser_of, english, make_person
from tests.functional.test_admin import TABLES, path_of, row_of

__all__ = ["english"]

pytestmark = [pytest.mark.django_db, pytest.mark.page]

PERSONAS = ("nobody", "customer of A", "customer of B", "operator of A", "operator of B")


@dataclass
class Side:
    """One shop with a customer's key, an operator, and one of everything that has an address."""

    name: str
    shop: Shop = field(init=False)
    ids: dict[str, object] = field(init=False)

    def __post_init__(self) -> None:
        self.shop = make_shop(NOWHERE)
        Tenant.objects.filter(pk=self.shop.tenant.pk).update(name=f"Shop of {self.secret}")
        self.order = order_from(self.shop, self.secret)
        self.key = issue_key(self.shop.customer, START, scopes=[*every_scope(), Scope.WEBHOOKS])[1]
        self.operator = make_person(f"operator-{self.name}", self.shop.tenant, "operator")
        self.ids = {"order_id": self.order.pk, "name": "release", **self.new_rows(), **self.rows_of_people()}

    @property
    def secret(self) -> str:
        """What nobody else may read: the recipient of the order."""
        return f"recipient-of-{self.name}"

    def new_attempt(self, integration: Integration, n: int) -> Attempt:
        attempt = Attempt.objects.create(
            order=self.order,
            integration=integration,
            integration_name=integration.name,
            kind=integration.kind,
            state="accepted",
            reference=f"{self.name}-{n}",
            send_deadline_at=START,
            cost_currency="TRY",
            created_at=START,
        )
        unit = OrderUnit.objects.create(order=self.order, n=n, amount_micros=1)
        AttemptUnit.objects.create(attempt=attempt, unit=unit)
        return attempt

    def new_rows(self) -> dict[str, object]:
        """One of everything, by the names that addresses have for them."""
        account, customer = self.shop.integration, self.shop.customer
        attempt = self.new_attempt(account, 11)
        by_hand = self.new_attempt(make_account(self.shop.tenant, "manual"), 12)
        told = {"verb": "place", "request": "", "knowledge": "none", "outcome": "unknown", "at": START}
        money = {"amount_micros": 1, "currency": "TRY", "reason": "why", "status": "pending"}
        asked = {"asked_by": self.operator, "asked_at": START}
        sync = CatalogSync.objects.create(integration=account, created_at=START, beat_at=START, state="done")
        counts = {"lines_read": 1, "lines_new": 1, "imported_by": "x", "imported_at": START, "dialect": {}}
        statement = Statement.objects.create(
            integration=account, starts_at=START, ends_at=START, content_hash="c", **counts
        )
        line = StatementLine.objects.create(
            statement=statement,
            integration=account,
            number=1,
            amount_micros=1,
            currency="TRY",
            meaning="bought",
            fingerprint="f",
        )
        ProviderWebhook.objects.create(
            integration_id=account.pk, received_at=START, body_digest="d", verdict="verified", event_key="e"
        )
        found = {"order": self.order, "attempt": attempt}
        return {
            "evidence_id": Evidence.objects.create(**found, **told).pk,
            "approval_id": Approval.objects.create(order=self.order, action="release", **money, **asked).pk,
            "case_id": Case.objects.create(
                **found, reason="reversal", risk_micros=1, currency="TRY", opened_at=START
            ).pk,
            "request_id": WalletRequest.objects.create(
                tenant=self.shop.tenant,
                customer=customer,
                key=self.name,
                kind="deposit",
                expires_at=START,
                **money,
                **asked,
            ).pk,
            "customer_id": customer.pk,
            "account_id": account.pk,
            "package_id": self.shop.package.pk,
            "content_id": self.shop.package.product_id,
            "attempt_id": by_hand.pk,
            "change_id": CatalogChange.objects.create(integration=account, sync=sync, key="kupur=60", kind="new").pk,
            "statement_id": statement.pk,
            "view_id": SavedView.objects.create(user=self.operator, name="mine", query="status=open").pk,
            "break_id": Break.objects.create(
                integration=account, statement=statement, line=line, kind="price", opened_at=START
            ).pk,
        }

    def rows_of_people(self) -> dict[str, object]:
        """What belongs to somebody of the shop: a browser, an invitation, many orders at once, an endpoint."""
        asked = {"asked_by": self.operator, "asked_at": START}
        wish = endpoints.Wish(f"https://93.184.216.34/{self.secret}", self.secret)
        endpoint, _secret = endpoints.create(self.shop.customer, wish, START)
        bulk = BulkAction.objects.create(
            tenant=self.shop.tenant, kind="note", reason=self.secret, status="running", started_at=START, **asked
        )
        times = {"created_at": START, "expires_at": START + GOOD_FOR}
        invitation = Invitation.objects.create(
            tenant=self.shop.tenant,
            role="viewer",
            email=f"{self.secret}@example.com",
            token_hash=self.name,
            invited_by=self.operator,
            **times,
        )
        browser = SignIn.objects.create(
            user=self.operator, session_key=self.secret, created_at=START, seen_at=START, agent=self.secret
        )
        return {
            "endpoint_id": endpoint.pk,
            "delivery_id": publishing.send_test(endpoint, START).pk,
            "bulk_id": bulk.pk,
            "invitation_id": invitation.pk,
            "sign_in_id": browser.pk,
        }


@dataclass
class World:
    """Two shops and everybody who may knock."""

    a: Side
    b: Side

    def clients(self) -> dict[str, Client]:
        """A browser or a machine for each persona; a machine's key is in every place where a door looks for one."""
        return {
            "nobody": Client(),
            "customer of A": machine(self.a.key),
            "customer of B": machine(self.b.key),
            "operator of A": browser_of(self.a.operator),
            "operator of B": browser_of(self.b.operator),
        }

    def statuses(self, method: str, path: str, body: bytes = b"", *, is_owners_turn: bool) -> str:
        """What each persona is answered at an address of shop A; `-` for whoever may really do it, and does not."""
        told = []
        for persona, client in self.clients().items():
            if persona.endswith("of A") and not is_owners_turn:
                told.append("-")
                continue
            response: Any = client.generic(method, path, body, "application/json")
            text = response.getvalue() if response.streaming else response.content
            foreign = self.a.secret if persona.endswith("of B") else self.b.secret
            assert foreign.encode() not in text, (persona, path)
            told.append(str(response.status_code))
        return " ".join(told)


def machine(key: str) -> Client:
    """A client that presents the key as every kind of door wants it in a header."""
    return Client(headers={"authorization": f"Bearer {key}", "api-token": key, "x-api-key": key})


@pytest.fixture
def world(settings: Settings) -> World:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    settings.REDIS_URL = ""
    return World(Side("a"), Side("b"))


# --- the addresses


def addresses() -> Iterator[tuple[str, URLPattern]]:
    """Every URL by `namespace:name`, or by its pattern where it has no name."""
    return walk(get_resolver(), "", "")


def walk(resolver: URLResolver, prefix: str, namespace: str) -> Iterator[tuple[str, URLPattern]]:
    for found in resolver.url_patterns:
        if isinstance(found, URLResolver):
            inner = f"{namespace}{found.namespace}:" if found.namespace else namespace
            yield from walk(found, prefix + str(found.pattern), inner)
        else:
            yield f"{namespace}{found.name or prefix + str(found.pattern)}", found


OPEN = "200 200 200 200 200"
NOTHING = "404 404 404 404 404"
NO_METHOD = "405 405 405 405 405"
PAGE = "302 302 302 200 200"
OWN_PAGE = "302 302 302 200 404"
NO_SUCH_METHOD = "302 302 302 405 405"
OWN_ACT = "302 - 302 - 404"
NO_OWN_ACT = "302 - 302 - 405"
AWAY = "302 302 302 302 302"
FOR_OWNERS = "302 302 302 403 403"
NO_FACTOR = "302 302 302 404 404"
KEYED = "401 200 200 401 401"
KEYED_OWN = "401 200 404 401 401"
KEYED_ACT = "401 - 404 - 401"
NO_KEYED_ACT = "405 - 405 - 405"

ROWS: Mapping[str, tuple[str, str]] = {
    "api:api-root": (NOTHING, NOTHING),
    "api:openapi-json": (OPEN, OPEN),
    "api:packages": (KEYED, NO_METHOD),
    "api:quotes": (NO_METHOD, "401 422 422 401 401"),
    "api:orders": (KEYED, "401 422 422 401 401"),
    "api:order": (KEYED_OWN, NO_KEYED_ACT),
    "api:reveal": (NO_METHOD, KEYED_ACT),
    "api:cancel": (NO_METHOD, KEYED_ACT),
    "api:bulk": (NO_METHOD, "401 415 415 401 401"),
    "api:notes": (KEYED_OWN, KEYED_ACT),
    "api:events": (KEYED_OWN, NO_KEYED_ACT),
    "api:wallet": (KEYED, NO_METHOD),
    "api:statement": (KEYED, NO_METHOD),
    "api:reference": (OPEN, NO_METHOD),
    "client_api:profile": (OPEN, OPEN),
    "client_api:products": (OPEN, OPEN),
    "client_api:content": (OPEN, "200 - 200 - 200"),
    "client_api:new-order": (OPEN, "200 - 200 - 200"),
    "client_api:check": (OPEN, OPEN),
    "znet_door:bakiye_kontrol": (OPEN, OPEN),
    "znet_door:pin_listesi": (OPEN, OPEN),
    "znet_door:pin_ekle": (OPEN, OPEN),
    "znet_door:pin_kontrol": (OPEN, OPEN),
    "znet_door:paket_listesi": (OPEN, OPEN),
    "znet_door:tl_servis": (OPEN, OPEN),
    "znet_door:tl_kontrol": (OPEN, OPEN),
    "smm_door:door": (OPEN, OPEN),
    "api:endpoints": (KEYED, "401 422 422 401 401"),
    "api:endpoint": (KEYED_OWN, NO_KEYED_ACT),
    "api:endpoint-secret": (NO_METHOD, KEYED_ACT),
    "api:endpoint-test": (NO_METHOD, KEYED_ACT),
    "api:endpoint-deliveries": (KEYED_OWN, NO_KEYED_ACT),
    "api:endpoint-delivery": (KEYED_OWN, NO_KEYED_ACT),
    "api:endpoint-resend": (NO_METHOD, KEYED_ACT),
    "webhooks:provider": (NO_METHOD, NOTHING),
    "set_language": (AWAY, AWAY),
    "ops:livez": (OPEN, NO_METHOD),
    "ops:readyz": (OPEN, NO_METHOD),
    "ops:statusz": ("503 503 503 503 503", NO_METHOD),
    "ops:metrics": (OPEN, NO_METHOD),
    "panel:login": ("200 200 200 302 302", "422 422 422 302 302"),
    "panel:logout": (NO_METHOD, AWAY),
    "panel:second_factor": (AWAY, AWAY),
    "panel:second_factor_set_up": (PAGE, PAGE),
    "panel:password_forgotten": (OPEN, OPEN),
    "panel:password_new": (OPEN, OPEN),
    "panel:join": (NOTHING, NOTHING),
    "panel:account": (PAGE, NO_SUCH_METHOD),
    "panel:password": (PAGE, PAGE),
    "panel:mail": (PAGE, PAGE),
    "panel:recovery": (NO_FACTOR, NO_FACTOR),
    "panel:second_factor_off": (NO_FACTOR, NO_FACTOR),
    "panel:sessions_end": (NO_SUCH_METHOD, AWAY),
    "panel:session_end": (NO_SUCH_METHOD, OWN_ACT),
    "panel:audit": (FOR_OWNERS, NO_SUCH_METHOD),
    "panel:members": (FOR_OWNERS, FOR_OWNERS),
    "panel:withdraw": (NO_SUCH_METHOD, "302 - 302 - 403"),
    "panel:bulk_actions": (PAGE, NO_SUCH_METHOD),
    "panel:bulk_new": (PAGE, PAGE),
    "panel:bulk": (OWN_PAGE, NO_OWN_ACT),
    "panel:bulk_live": (OWN_PAGE, NO_OWN_ACT),
    "panel:bulk_decide": (NO_SUCH_METHOD, OWN_ACT),
    "panel:orders": (PAGE, NO_SUCH_METHOD),
    "panel:alerts": (PAGE, NO_SUCH_METHOD),
    "panel:orders_live": (PAGE, NO_SUCH_METHOD),
    "panel:orders_file": (PAGE, NO_SUCH_METHOD),
    "panel:order_new": (PAGE, PAGE),
    "panel:order": (OWN_PAGE, NO_OWN_ACT),
    "panel:order_live": (OWN_PAGE, NO_OWN_ACT),
    "panel:ask": (NO_SUCH_METHOD, OWN_ACT),
    "panel:reveal": (OWN_PAGE, OWN_ACT),
    "panel:reply": (OWN_PAGE, OWN_ACT),
    "panel:order_decide": (OWN_PAGE, OWN_ACT),
    "panel:tag": (NO_SUCH_METHOD, OWN_ACT),
    "panel:view_save": (NO_SUCH_METHOD, "302 302 302 302 302"),
    "panel:view_remove": (NO_SUCH_METHOD, OWN_ACT),
    "panel:dashboard": (PAGE, NO_SUCH_METHOD),
    "panel:dashboard_live": (PAGE, NO_SUCH_METHOD),
    "panel:review": (PAGE, NO_SUCH_METHOD),
    "panel:approvals": (PAGE, NO_SUCH_METHOD),
    "panel:approval": (OWN_PAGE, OWN_ACT),
    "panel:cases": (PAGE, NO_SUCH_METHOD),
    "panel:case": (OWN_PAGE, NO_OWN_ACT),
    "panel:wallets": (PAGE, NO_SUCH_METHOD),
    "panel:set_limit": (NO_SUCH_METHOD, "302 302 302 404 404"),
    "panel:decide": (NO_SUCH_METHOD, OWN_ACT),
    "panel:wallet": (OWN_PAGE, NO_OWN_ACT),
    "panel:wallet_ask": (NO_SUCH_METHOD, OWN_ACT),
    "panel:statement": (OWN_PAGE, NO_OWN_ACT),
    "panel:floats": (PAGE, NO_SUCH_METHOD),
    "panel:tell_float": (NO_SUCH_METHOD, "302 302 302 404 404"),
    "panel:profit": (PAGE, NO_SUCH_METHOD),
    "panel:profit_file": (PAGE, NO_SUCH_METHOD),
    "panel:report_money": (PAGE, NO_SUCH_METHOD),
    "panel:report_money_file": (PAGE, NO_SUCH_METHOD),
    "panel:providers": (PAGE, NO_SUCH_METHOD),
    "panel:provider": (OWN_PAGE, NO_OWN_ACT),
    "panel:provider_live": (OWN_PAGE, NO_OWN_ACT),
    "panel:provider_watch": (NO_SUCH_METHOD, OWN_ACT),
    "panel:provider_resume": (NO_SUCH_METHOD, OWN_ACT),
    "panel:provider_stop": (NO_SUCH_METHOD, OWN_ACT),
    "panel:provider_diagnose": (NO_SUCH_METHOD, OWN_ACT),
    "panel:provider_hook_rotate": (NO_SUCH_METHOD, OWN_ACT),
    "panel:provider_sync": (NO_SUCH_METHOD, OWN_ACT),
    "panel:provider_items": (OWN_PAGE, NO_OWN_ACT),
    "panel:provider_changes": (OWN_PAGE, NO_OWN_ACT),
    "panel:provider_changes_decide": (NO_SUCH_METHOD, OWN_ACT),
    "panel:provider_change_approve": (NO_SUCH_METHOD, OWN_ACT),
    "panel:catalogue": (PAGE, NO_SUCH_METHOD),
    "panel:mapping": (OWN_PAGE, OWN_ACT),
    "panel:sheets": (PAGE, NO_SUCH_METHOD),
    "panel:sheet_import": (NO_SUCH_METHOD, "302 302 302 404 404"),
    "panel:sheet_export": (PAGE, NO_SUCH_METHOD),
    "panel:tasks": (PAGE, NO_SUCH_METHOD),
    "panel:task": (OWN_PAGE, NO_OWN_ACT),
    "panel:task_claim": (NO_SUCH_METHOD, OWN_ACT),
    "panel:task_deliver": (NO_SUCH_METHOD, OWN_ACT),
    "panel:task_refuse": (NO_SUCH_METHOD, OWN_ACT),
    "panel:stock": (PAGE, NO_SUCH_METHOD),
    "panel:stock_threshold": (NO_SUCH_METHOD, AWAY),
    "panel:stock_import": (PAGE, "302 302 302 403 403"),
    "panel:statements": (PAGE, NO_SUCH_METHOD),
    "panel:statement_bring": (OWN_PAGE, OWN_ACT),
    "panel:statement_ask": ("302 302 302 404 404", OWN_ACT),
    "panel:provider_statement": (OWN_PAGE, NO_OWN_ACT),
    "panel:webhooks": (PAGE, NO_SUCH_METHOD),
    "panel:webhook": (OWN_PAGE, NO_OWN_ACT),
    "panel:webhook_resend": (NO_SUCH_METHOD, OWN_ACT),
    "panel:webhook_endpoint_new": (FOR_OWNERS, FOR_OWNERS),
    "panel:webhook_endpoint_delete": (NO_SUCH_METHOD, "302 - 302 - 403"),
    "panel:webhook_resume": (NO_SUCH_METHOD, OWN_ACT),
    "panel:breaks": (PAGE, NO_SUCH_METHOD),
    "panel:break": (OWN_PAGE, NO_OWN_ACT),
    "panel:break_take": (NO_SUCH_METHOD, OWN_ACT),
    "panel:break_decide": (NO_SUCH_METHOD, OWN_ACT),
}
"""For each address what GET and POST answer to nobody, customer A, customer B, operator A and operator B.

An address with an id is that of something of shop A. A key opens no page: 302 leads to the sign-in page. The doors for
other shops' software say everything with 200: what they tell whom is asked below.
"""

BODIES = {"api:notes": b'{"text": "mine"}'}
"""What must be sent for an address to look at its id at all."""

OTHER_METHODS: Mapping[str, Mapping[str, str]] = {
    "api:endpoint": {"PATCH": KEYED_ACT, "DELETE": KEYED_ACT},
}
"""The same for what an address of the API answers to further methods, which are those of its description."""

ADMIN_ROWS: Mapping[str, tuple[str, str]] = {
    "changelist": (PAGE, PAGE),
    "add": ("302 302 302 403 403", "302 302 302 403 403"),
    "change": (OWN_PAGE, OWN_ACT),
    "delete": ("302 302 302 403 404", OWN_ACT),
    "history": (OWN_PAGE, OWN_ACT),
}
"""The same for the set-up page of every table that belongs to a shop."""

FOR_SUPERUSERS = {"accounts.User", "django_celery_beat", "django_celery_results"}
"""Tables, and applications, whose set-up pages nobody else may open."""

WITHOUT_ROWS = {"admin:index", "admin:login", "admin:logout", "admin:password_change", "admin:password_change_done"}
WITHOUT_ROWS |= {"admin:autocomplete", "admin:jsi18n", "admin:view_on_site", "admin:app_list"}
"""Django's own pages around the tables; what the search while typing finds is asked in `test_admin`."""


FIXED: Mapping[str, Mapping[str, str]] = {
    "panel:sheet_export": {"name": "packages"},
    "panel:bulk_decide": {"step": "start"},
    "panel:provider_stop": {"step": "stop"},
    "panel:password_new": {"uidb64": "MQ", "token": "nobody-knows-it"},
    "panel:join": {"token": "nobody-knows-it"},
    "webhooks:provider": {"token": "nobody-knows-it"},
}
"""Parts of addresses that are no shop's."""


def path_for(name: str, pattern: URLPattern, side: Side) -> str:
    """The address with the ids of one shop; KeyError for an id that nobody knows here."""
    ids = {**side.ids, **FIXED.get(name, {})}
    return reverse(name, kwargs={one: ids[one] for one in pattern.pattern.converters})


def is_catch_all(name: str) -> bool:
    """Whether it has no name: it answers whatever no other address does."""
    return name == "^api(?:/|$)" or name.rpartition(":")[2] in ("api/v1/", "client/api/", "servis/") or "admin/" in name


class TestTheTable:
    def test_has_a_row_for_every_address(self) -> None:
        named = {name for name, _ in addresses() if not is_catch_all(name)}
        tables = {f"admin:{model._meta.app_label}_{model._meta.model_name}" for model in admin.site._registry}
        pages = {f"{table}_{page}" for table in tables for page in ADMIN_ROWS}
        own_user_page = {"admin:auth_user_password_change"}
        assert named == set(ROWS) | pages | WITHOUT_ROWS | own_user_page

    def test_has_every_further_method_of_the_api(self) -> None:
        methods = {
            (method.upper(), re.sub(r"{\w+}", "1", path))
            for path, operations in json.loads(describe_api())["paths"].items()
            for method in operations
        }
        patterns, ids = dict(addresses()), dict.fromkeys(("endpoint_id", "delivery_id", "order_id"), 1)
        known = {
            (method, reverse(name, kwargs={one: ids[one] for one in patterns[name].pattern.converters}))
            for name, methods in OTHER_METHODS.items()
            for method in methods
        }
        assert {(method, path) for method, path in methods if method not in ("GET", "POST")} == known

    def test_has_every_table_of_the_set_up(self) -> None:
        others = [model for model in admin.site._registry if model not in TABLES]
        labels = {model._meta.label for model in others}
        assert {label for label in labels if not {label, label.partition(".")[0]} & FOR_SUPERUSERS} == set()


@pytest.mark.slow
class TestEveryAddress:
    def test_answers_each_persona_as_its_row_says(self, world: World) -> None:
        wrong = {}
        for name, pattern in addresses():
            if name not in ROWS:
                continue
            path, body = path_for(name, pattern, world.a), BODIES.get(name, b"")
            is_owned = bool(set(pattern.pattern.converters) & set(world.a.ids)) and name != "panel:sheet_export"
            told = (
                world.statuses("GET", path, body, is_owners_turn=True),
                world.statuses("POST", path, body, is_owners_turn=not is_owned),
            )
            wrong.update({name: told} if told != ROWS[name] else {})
        assert wrong == {}

    def test_answers_further_methods_as_its_row_says(self, world: World) -> None:
        patterns, told = dict(addresses()), {}
        for name, methods in OTHER_METHODS.items():
            path = path_for(name, patterns[name], world.a)
            told[name] = {method: world.statuses(method, path, b"{}", is_owners_turn=False) for method in methods}
        assert told == OTHER_METHODS

    def test_of_an_owner_has_nothing_of_another_owners(self, world: World) -> None:
        """Pages that no operator may see at all."""
        owner = browser_of(make_person("owner-b", world.b.shop.tenant, "owner"))
        for name, one in (("withdraw", "invitation_id"), ("webhook_endpoint_delete", "endpoint_id")):
            assert owner.post(reverse(f"panel:{name}", args=[world.a.ids[one]])).status_code == 404
        told = b"".join(owner.get(reverse(f"panel:{name}")).content for name in ("members", "audit", "webhooks"))
        assert world.b.secret.encode() in told
        assert world.a.secret.encode() not in told

    @pytest.mark.parametrize("model", TABLES)
    def test_of_the_set_up_answers_as_its_row_says(self, world: World, model: type[Model]) -> None:
        row = row_of(model, world.a.shop)
        told = {}
        for page in ADMIN_ROWS:
            args = [] if page in ("changelist", "add") else [row.pk]
            path = path_of(model, page, *args)
            told[page] = (
                world.statuses("GET", path, is_owners_turn=True),
                world.statuses("POST", path, is_owners_turn=not args),
            )
        assert told == ADMIN_ROWS

    def test_of_a_superuser_is_no_operators(self, world: World) -> None:
        others = [model for model in admin.site._registry if model not in TABLES]
        told = {world.statuses("GET", path_of(model, "changelist"), is_owners_turn=True) for model in others}
        assert told == {"302 302 302 403 403"}


class TestADialect:
    """Doors that say everything with 200: a key finds what is its customer's, in each door's own words."""

    def order_of_a(self, world: World) -> Order:
        Order.objects.filter(pk=world.a.order.pk).update(idempotency_key="77")
        return world.a.order

    def test_of_the_client_api_knows_no_foreign_order_or_package(self, world: World) -> None:
        order = self.order_of_a(world)
        told = {}
        for side in (world.a, world.b):
            client = machine(side.key)
            check = client.get("/client/api/check", {"orders": f"[{order.pk}]"}).json()
            params = {"qty": "1", "order_uuid": f"00000000-0000-4000-8000-00000000000{side.name}", "player_id": "P42"}
            new = client.get(f"/client/api/newOrder/{world.a.shop.package.pk}/params", params).json()
            told[side.name] = (len(check.get("data", [])), new["status"])
        assert told == {"a": (1, "OK"), "b": (0, "ERROR")}

    def test_of_znet_knows_no_foreign_reference_or_package(self, world: World) -> None:
        """What is not known is told as in progress there; the order of A is cancelled."""
        Order.objects.filter(pk=self.order_of_a(world).pk).update(status="cancelled")
        told = {}
        for side in (world.a, world.b):
            buyer = ZnetBuyer(world.a.shop, side.key)
            told[side.name] = (buyer.check("77")[:5], buyer.place("78")[:3])
        assert told["a"] == ("OK|3|", "OK|")
        assert told["b"][0] == "OK|1|"
        assert told["b"][1] != "OK|"

    def test_of_smm_knows_no_foreign_order_or_service(self, world: World) -> None:
        Product.objects.update(needs_code=False)
        order = self.order_of_a(world)
        told = {}
        for side in (world.a, world.b):
            buyer = SmmBuyer(world.a.shop, side.key)
            told[side.name] = (sorted(buyer.post("status", order=order.pk)), sorted(buyer.add()))
        assert told["b"] == (["error"], ["error"])
        assert told["a"][1] == ["order"]
        assert "status" in told["a"][0]

    def test_of_anybody_without_a_key_says_nothing(self, world: World) -> None:
        order = self.order_of_a(world)
        assert Client().get("/client/api/check", {"orders": f"[{order.pk}]"}).json()["status"] == "ERROR"
        assert sorted(SmmBuyer(world.a.shop, "").post("status", order=order.pk)) == ["error"]
        assert not ZnetBuyer(world.a.shop, "").check("77").startswith("OK")
