"""Fills the running demo shop, from a process beside it, with one of everything that has a page."""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

import pyotp
import requests
from django.contrib.auth.tokens import default_token_generator
from django.db import transaction
from django.urls import reverse
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode

from apps.accounts import invitations, second_factor
from apps.accounts.models import Customer, Membership, Tenant, User
from apps.accounts.view_models import SavedView
from apps.catalog.models import Package, Product
from apps.common import clock
from apps.orders import decisions
from apps.orders.bulk_models import BulkAction
from apps.orders.decisions import bulk, tags
from apps.orders.models import Approval, Attempt, Case, Evidence, Order
from apps.orders.reconciling.importing import import_statement
from apps.orders.statement_models import Break
from apps.orders.states import SETTLED
from apps.providers.listing import request_sync, run_sync
from apps.providers.models import Integration, Route
from apps.wallet import people
from apps.webhooks import endpoints
from apps.webhooks.models import WebhookDelivery
from tests.browser import between
from tests.factories import (
    NOWHERE,
    Shop,
    add_route,
    make_account,
    make_customer,
    make_integration,
    make_package,
    order_from,
    put_codes,
)
from tests.functional.statements import bring, make_purchases, plant

WITHIN_S = 90.0
LOOK_EVERY_S = 0.2
NEVER_S = 864_000.0
LONG_NAME = "شركة النجوم الذهبية لتجارة بطاقات الألعاب والاتصالات المحدودة"
CODE = "DEMO-{:04}-XKCD-7F3Q"


def main() -> None:
    """Fill it; the last line of the output is what the addresses need."""
    sys.stdout.write(json.dumps(Showcase().fill()) + "\n")


class Showcase:
    """The demo shop with its two operators; every method adds one thing and gives what its address needs."""

    def __init__(self) -> None:
        self.tenant = Tenant.objects.get(slug="demo")
        self.panel = Integration.objects.get(tenant=self.tenant, kind="znet")
        self.owner = User.objects.get(username="operator")
        self.operator = User.objects.create_user("leyla", "leyla@shop.example", "long-enough-for-a-demo", is_staff=True)
        Membership.objects.create(user=self.operator, tenant=self.tenant, role="operator")
        self.customer = Customer.objects.filter(tenant=self.tenant).order_by("id")[0]

    def fill(self) -> dict[str, object]:
        """Everything, in the order in which it needs each other."""
        Integration.objects.filter(pk=self.panel.pk).update(options={**self.panel.options, "review_after_s": 86_400})
        self.add_endpoint()
        return {
            **self.add_orders(),
            **self.add_local_kinds(),
            **self.add_statement(),
            **self.add_requests(),
            **self.add_bulk_actions(),
            **self.add_guarded(),
            "token": invitations.invite(self.owner, self.tenant, "viewer", "new@shop.example", clock.now())[1],
            "account_id": self.fetched_panel().pk,
            "package_id": Package.objects.get(tenant=self.tenant, code="pubg-60").pk,
            "customer_id": self.customer.pk,
            "delivery_id": wait_for(WebhookDelivery.objects.order_by("pk").first).pk,
        }

    # --- orders

    def add_orders(self) -> dict[str, object]:
        """One of every fate, each as far as it comes; one of them in review, with a note and a case."""
        lost: dict[str, Any] = {"place": "accept_then_500", "visible_after_s": NEVER_S}
        made = {
            "order_done": self.order("pubg-60", quantity=2, complete_after_s=0),
            "order_refused": self.order("pubg-325", place="refuse", refuse_class="product"),
            "order_in_doubt": self.order("steam-100", **lost),
            "order_open": self.order("freefire-310", complete_after_s=NEVER_S),
            "order_without_route": self.order_without_route(),
        }
        other = self.order("steam-50", complete_after_s=0)
        wait_for(
            lambda: Order.objects.filter(pk__in=[made["order_done"].pk, other.pk], status="completed").count() == 2
        )
        wait_for(lambda: Attempt.objects.filter(order=made["order_in_doubt"], state="in_doubt").exists())
        wait_for(lambda: Order.objects.filter(pk=made["order_refused"].pk, status__in=[*SETTLED, "review"]).exists())
        Order.objects.filter(pk=made["order_in_doubt"].pk).update(deadline_at=clock.now())
        wait_for(lambda: Order.objects.filter(pk=made["order_in_doubt"].pk, status="review").exists())
        decisions.add_note(made["order_done"].pk, self.operator, "العميل اتصل وسأل عن طلبه (call 14:02)", clock.now())
        tags.add_tag(made["order_done"].pk, self.operator, "geri aranacak / معاودة الاتصال", clock.now())
        SavedView.objects.create(user=self.owner, name="Açık siparişler", query="status=open")
        done = made["order_done"]
        evidence = Evidence.objects.filter(order=done).exclude(body_digest="").order_by("pk")[0]
        ids: dict[str, object] = {name: order.pk for name, order in made.items()}
        return {**ids, "order_id": done.pk, "evidence_id": evidence.pk, "case_id": self.add_case(other).pk}

    def order(self, code: str, *, quantity: int = 1, **fate: Any) -> Order:
        """One order, whose purchase the simulated panel treats like this."""
        package = Package.objects.get(tenant=self.tenant, code=code)
        player = f"player-{code}"
        control = f"{self.panel.base_url}/_control/fates"
        requests.post(control, json={"recipient": player, "fate": fate}, timeout=10).raise_for_status()
        shop = Shop(self.tenant, self.customer, package, self.panel, Route.objects.filter(package=package)[0])
        return order_from(shop, player, quantity=quantity)

    def order_without_route(self) -> Order:
        """An order whose only account was switched off as soon as it was placed."""
        account = make_account(self.tenant, "manual")
        package = make_package(self.tenant)
        route = add_route(package, account, product=("60 UC", ""), cost=None)
        with transaction.atomic():  # the hub sees both at once
            order = order_from(Shop(self.tenant, self.customer, package, account, route), "player-closed")
            Integration.objects.filter(pk=account.pk).update(is_enabled=False, name="Closed desk")
        return order

    def add_case(self, order: Order) -> Case:
        """A question about a settled order."""
        attempt = Attempt.objects.get(order=order)
        asked = {"reason": "second_code", "risk_micros": order.price_micros, "currency": order.currency}
        return Case.objects.create(order=order, attempt=attempt, opened_at=clock.now(), **asked)

    # --- what the shop fulfils itself

    def add_local_kinds(self) -> dict[str, object]:
        """A shelf with few codes, and a task for a person."""
        shelf, by_hand = make_account(self.tenant, "stock"), make_account(self.tenant, "manual")
        put_codes(shelf, *map(CODE.format, range(3)), expires=f"{clock.now():%Y-12-31}")
        self.sell_by(shelf, "Own shelf", "uc-60")
        task = self.sell_by(by_hand, "Night desk", "60 UC")
        return {"attempt_id": wait_for(Attempt.objects.filter(order=task).first).pk}

    def sell_by(self, account: Integration, name: str, product: str) -> Order:
        """One order of a package that only this account fulfils."""
        Integration.objects.filter(pk=account.pk).update(name=name)
        package = make_package(self.tenant)
        Product.objects.filter(pk=package.product_id).update(name=f"Gift card ({name})")
        route = add_route(package, account, product=(product, ""), cost=None)
        return order_from(Shop(self.tenant, self.customer, package, account, route), f"player-{account.pk}")

    # --- money and statements

    def add_statement(self) -> dict[str, object]:
        """A shop's purchases of five days, and the provider's statement with every kind of difference."""
        account = make_integration(self.tenant, NOWHERE)
        Integration.objects.filter(pk=account.pk).update(name="Old panel")
        package = make_package(self.tenant)
        route = add_route(package, account)
        shop = Shop(self.tenant, make_customer(self.tenant, "5000"), package, account, route)
        Customer.objects.filter(pk=shop.customer.pk).update(name=LONG_NAME)
        brought = bring(plant(make_purchases(shop, 60), 1).rows, by="leyla")
        import_statement(account, brought, clock.now())
        found = Break.objects.order_by("pk")[0]
        return {"statement_id": found.statement_id, "break_id": found.pk}

    def add_requests(self) -> dict[str, object]:
        """A deposit and a refund that wait for a second person."""
        people.set_confirm_limit(self.owner, self.tenant.pk, "TRY", "50", clock.now())
        wish = people.Wish("deposit", "900", "havale geldi / bank transfer seen", "showcase")
        people.ask(self.operator, self.customer, wish, clock.now())
        done = Order.objects.get(status="completed", user_identifier="player-pubg-60")
        decisions.give_back(done.pk, self.operator, "the codes were used already", clock.now())
        return {"approval_id": Approval.objects.get(order=done).pk, "name": "give_back"}

    def add_bulk_actions(self) -> dict[str, object]:
        """One that was done, and a dry run."""
        orders = list(Order.objects.filter(tenant=self.tenant).order_by("pk").values_list("pk", flat=True)[:6])
        done = self.bulk("note", orders)
        bulk.start(done.pk, self.owner, clock.now())
        wait_for(lambda: BulkAction.objects.filter(pk=done.pk, status="done").exists())
        return {"bulk_id": self.bulk("ask", orders).pk}

    def bulk(self, kind: str, orders: list[int]) -> BulkAction:
        """A dry run."""
        return bulk.draft(kind, self.tenant, orders, self.owner, "looked at by telephone", "status=open", clock.now())

    # --- people

    def add_guarded(self) -> dict[str, object]:
        """Somebody whose second factor is on, with a recovery code, and a mailed link for a new password."""
        person = User.objects.create_user(between.NAME, "zeynep@shop.example", between.PASSWORD)
        Membership.objects.create(user=person, tenant=self.tenant, role="viewer")
        now = clock.now()
        totp = pyotp.TOTP(second_factor.begin(person, now))
        codes = second_factor.turn_on(person, totp.at(now), now)
        uid, token = urlsafe_base64_encode(force_bytes(self.operator.pk)), default_token_generator
        link = reverse("panel:password_new", args=[uid, token.make_token(self.operator)])
        return {"recovery_code": codes[0], "password_link": link}

    # --- doors

    def add_endpoint(self) -> None:
        """A customer's endpoint behind which nobody listens."""
        endpoints.create(self.customer, endpoints.Wish("http://127.0.0.1:9/hooks", "Till"), clock.now())

    def fetched_panel(self) -> Integration:
        """The simulated panel with the list that it sells, waiting for somebody's approval."""
        run_sync(request_sync(self.panel, "leyla", clock.now()).pk)
        return self.panel


def wait_for(look: Any) -> Any:
    """What `look` gives, as soon as it gives anything. Raises `TimeoutError`."""
    pause = threading.Event()
    for _ in range(int(WITHIN_S / LOOK_EVERY_S)):
        if found := look():
            return found
        pause.wait(LOOK_EVERY_S)
    raise TimeoutError("the hub did not come so far")
