"""The list of orders with filters and file, the first page of a day, one order's extras, placing one by hand."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from decimal import Decimal
from html import unescape
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import URLPattern, get_resolver, reverse

from apps.accounts.models import Customer, User
from apps.common import clock
from apps.common.crypto import seal
from apps.orders.decisions.tags import add_tag
from apps.orders.models import Attempt, Evidence, Order, OrderEvent
from apps.orders.services import try_auto_dispatch
from apps.panel import today
from apps.panel.listing import PAGE, Wanted, select_orders
from apps.panel.replies import as_curl, masked_reply
from apps.providers.balances import record_balance
from apps.providers.catalogue_models import AccountWatch
from apps.providers.contract import Balance
from apps.providers.models import Integration
from tests.factories import (
    Stage,
    check_invariants,
    make_customer,
    order_from,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import LANGUAGES, People, browser_of, english, make_person, people

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

PRICE = 35_000_000


def text_of(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def rows_of(browser: Client, query: str) -> list[int]:
    """The numbers of the orders on the page, in their order."""
    return [int(number) for number in re.findall(r'class="id" href="/orders/(\d+)/', text_of(browser, f"/?{query}"))]


def queries_of(browser: Client, path: str) -> int:
    with CaptureQueriesContext(connection) as found:
        assert browser.get(path).status_code == 200
    return len(found)


def completed(stage: Stage, people: People) -> Order:
    order = stage.order(people.shop)
    stage.run_until_quiet()
    assert standing_of(order)[0] == "completed"
    order.refresh_from_db()
    return order


def file_of(browser: Client, query: str = "") -> list[list[str]]:
    text = browser.get(f"/orders.csv?{query}").getvalue().decode()
    assert text.startswith("\ufeff")
    return list(csv.reader(io.StringIO(text.removeprefix("\ufeff"))))


class TestTheFilters:
    def test_each_narrow_the_list(self, people: People, stage: Stage) -> None:
        done = completed(stage, people)
        waiting = order_from(people.shop)
        Order.objects.filter(pk=waiting.pk).update(
            reason="waiting:no_route", created_at=clock.now() - timedelta(hours=30)
        )
        other = Customer.objects.create(tenant=people.shop.tenant, name="Another buyer")
        Order.objects.filter(pk=waiting.pk).update(customer=other)
        today_ = f"{clock.now():%Y-%m-%d}"
        account = Attempt.objects.get(order=done).integration_id
        product = people.shop.package.product_id
        for query, shown in (
            ("reason=waiting:no_route", [waiting.pk]),
            ("unsent=1", [waiting.pk]),
            ("hours=24", [waiting.pk]),
            (f"provider={account}", [done.pk]),
            (f"provider={account + 1000}", []),
            (f"product={product}", [waiting.pk, done.pk]),
            (f"product={product + 1000}", []),
            ("customer=another", [waiting.pk]),
            (f"since={today_}", [done.pk]),
            (f"until={today_}&hours=24", [waiting.pk]),
            ("no_pin=1", []),
            ("status=open&unsent=1&customer=another&hours=24", [waiting.pk]),
        ):
            assert rows_of(people.owner, query) == shown, query

    def test_find_an_order_whose_pin_has_not_come(self, people: People, stage: Stage) -> None:
        order = stage.order(people.shop, pin_late_s=600.0)
        try_auto_dispatch(order.pk)
        Order.objects.filter(pk=order.pk).update(external_status="completed", reason="waiting:pin")
        assert rows_of(people.owner, "no_pin=1") == [order.pk]

    @pytest.mark.parametrize(
        "query",
        [
            "since=31.12.2026",
            "hours=-1",
            "hours=999999999999",
            "provider=x",
            "reason=nonsense",
            "until=9999-12-31",
            "since=0001-01-01",
        ],
    )
    def test_survive_nonsense(self, people: People, query: str) -> None:
        order = order_from(people.shop)
        assert rows_of(people.owner, query) == [order.pk]

    def test_are_the_address_of_the_page(self) -> None:
        given = {
            "status": "open",
            "reason": "waiting:pin",
            "provider": "3",
            "product": "4",
            "customer": "ann",
            "since": "2026-01-02",
            "until": "2026-01-03",
            "hours": "5",
            "unsent": "1",
            "no_pin": "1",
            "q": "x y",
        }
        wanted = Wanted.read(given)
        assert Wanted.read(QueryDict(wanted.query()).dict()) == wanted
        assert QueryDict(wanted.query()).dict() == given


class TestTheSearch:
    def test_finds_an_order_by_its_pin(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        order_from(people.shop)
        [pin] = pins_of(order)
        assert rows_of(people.owner, f"q={pin}") == [order.pk]
        assert rows_of(people.stranger, f"q={pin}") == []

    def test_finds_it_by_the_providers_number_of_any_attempt(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        Attempt.objects.filter(order=order).update(provider_order_id="Prov-77")
        assert rows_of(people.owner, "q=prov-77") == [order.pk]


class TestTheRows:
    def test_say_where_money_and_goods_are(self, people: People, stage: Stage) -> None:
        completed(stage, people)
        text = text_of(people.owner, "/")
        for said in ("paid", "done there", "31.50 TRY", "3.50 TRY"):
            assert said in text

    def test_show_a_loss_with_its_sign(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        Order.objects.filter(pk=order.pk).update(cost_micros=40_000_000)
        text = text_of(people.owner, "/")
        assert "-5.00 TRY" in text
        assert "debt" in text

    def test_cost_as_many_queries_for_a_full_page_as_for_one(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        one = queries_of(people.owner, "/")
        copies(order, PAGE + 5)
        assert len(rows_of(people.owner, "")) == PAGE
        assert queries_of(people.owner, "/") == one


def copies(order: Order, count: int) -> None:
    """More orders like this one, each with an attempt."""
    fields = {field.attname: getattr(order, field.attname) for field in Order._meta.concrete_fields}
    rows = [Order(**{**fields, "id": None, "idempotency_key": f"copy-{n}"}) for n in range(count)]
    attempt = Attempt.objects.filter(order=order).first()
    assert attempt is not None
    told = {field.attname: getattr(attempt, field.attname) for field in Attempt._meta.concrete_fields}
    made = Order.objects.bulk_create(rows)
    Attempt.objects.bulk_create(
        Attempt(**{**told, "id": None, "order_id": row.pk, "reference": f"copy-{row.pk}"}) for row in made
    )


class TestTheFile:
    def test_has_every_order_and_no_formula(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        copies(order, PAGE + 5)
        evil = order_from(people.shop)
        Order.objects.filter(pk=evil.pk).update(user_identifier="=HYPERLINK(1)")
        head, *lines = file_of(people.owner)
        assert len(lines) == PAGE + 7
        assert lines[0][0] == str(evil.pk)
        assert "'=HYPERLINK(1)" in lines[0]
        assert "=HYPERLINK(1)" not in lines[0]
        told = dict(zip(head, lines[-1], strict=True))
        assert (told["Number"], told["Price"], told["Cost"], told["Profit"]) == (
            str(order.pk),
            "35.00",
            "31.50",
            "3.50",
        )
        assert pins_of(order)[0] not in str(lines)

    def test_has_the_tags_of_each_order(self, people: People) -> None:
        tagged, other = order_from(people.shop), order_from(people.shop)
        for name in ("vip", "=late"):
            add_tag(tagged.pk, User.objects.get(username="olga"), name, clock.now())
        head, *lines = file_of(people.owner)
        assert [(line[0], line[head.index("Tags")]) for line in lines] == [
            (str(other.pk), ""),
            (str(tagged.pk), "'=late, vip"),
        ]

    def test_follows_the_filters_and_the_shop(self, people: People, stage: Stage) -> None:
        done, waiting = completed(stage, people), order_from(people.shop)
        assert [line[0] for line in file_of(people.owner, "status=open")[1:]] == [str(waiting.pk)]
        assert [line[0] for line in file_of(people.owner, "status=completed")[1:]] == [str(done.pk)]
        assert file_of(people.stranger)[1:] == []
        assert people.nobody.get("/orders.csv").status_code == 302


MANY = 20_000


def many(order: Order) -> None:
    """As many completed orders, one every ten minutes before this one, each with its attempt; and what the planner
    wants to know of them."""
    columns = [field.column or "" for field in Order._meta.concrete_fields if field.column != "id"]
    own = {
        "idempotency_key": "'many-' || n",
        "provider_referans": "'ref-' || n",
        "user_identifier": "'player-' || n",
        "external_order_id": "'ext-' || n",
        "client_reference": "'mine-' || n",
        "created_at": "created_at - n * interval '10 minutes'",
        "status": "'completed'",
    }
    given = ", ".join(own.get(column, column) for column in columns)
    told = [field.column or "" for field in Attempt._meta.concrete_fields if field.column not in ("id", "order_id")]
    theirs = {"reference": "'ref-' || o.id", "provider_order_id": "'prov-' || o.id"}
    attempts = ", ".join(theirs.get(column, f"a.{column}") for column in told)
    with connection.cursor() as cursor:
        cursor.execute(
            f"INSERT INTO product_orders ({', '.join(columns)}) SELECT {given} "  # noqa: S608
            f"FROM product_orders, generate_series(1, {MANY}) n WHERE id = {order.pk}"
        )
        cursor.execute(
            f"INSERT INTO orders_attempt (order_id, {', '.join(told)}) SELECT o.id, {attempts} "  # noqa: S608
            f"FROM product_orders o, orders_attempt a WHERE a.order_id = {order.pk} AND o.id <> {order.pk}"
        )
        cursor.execute("ANALYZE product_orders, orders_attempt")


@pytest.mark.postgres
def test_every_question_of_the_list_uses_an_index(people: People, stage: Stage) -> None:
    """Asked of many orders, none of these reads the table: so the time does not grow with the number of orders."""
    order = completed(stage, people)
    many(order)
    waiting = order_from(people.shop)
    Order.objects.filter(pk=waiting.pk).update(status="review", reason="waiting:deadline")
    day = f"{clock.now() - timedelta(days=60):%Y-%m-%d}"
    for query, index in (
        ({"q": "ref-77"}, "idx_orders_provider_referans"),
        ({"q": "player-77"}, "idx_orders_by_recipient"),
        ({"q": "ext-77"}, "idx_orders_by_provider_id"),
        ({"q": "mine-77"}, "idx_orders_by_client_ref"),
        ({"q": "prov-77"}, "attempt_by_any_provider_id"),
        ({"status": "review"}, "idx_orders_"),
        ({"status": "rejected"}, "idx_orders_"),
        ({"status": "open", "unsent": "1"}, "idx_orders_"),
        ({"reason": "waiting:deadline"}, "idx_orders_"),
        ({"no_pin": "1"}, "idx_orders_"),
        ({"since": day, "until": day}, "idx_orders_by_creation"),
        ({}, "Index Scan"),
    ):
        found = select_orders([people.shop.tenant.pk], Wanted.read(query), clock.now(), ZoneInfo("UTC"))
        plan = found.order_by("-id")[: PAGE + 1].explain()
        assert index in plan, (query, plan)
        assert "Seq Scan on product_orders" not in plan, (query, plan)
        assert "Seq Scan on orders_attempt" not in plan, (query, plan)


class TestTheFirstPageOfADay:
    def test_says_what_needs_a_person(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop, quantity=2)
        Order.objects.filter(pk=order.pk).update(status="review", reason="waiting:deadline")
        account = people.shop.integration
        Integration.objects.filter(pk=account.pk).update(
            paused_until=clock.now() + timedelta(hours=1), pause_reason="balance_too_low"
        )
        text = text_of(people.viewer, reverse("panel:dashboard"))
        for said in ("Open past its deadline", "70.00 TRY", "is paused:", account.name):
            assert said in text

    def test_says_how_long_a_low_balance_lasts(self, people: People, stage: Stage) -> None:
        completed(stage, people)
        account = people.shop.integration
        AccountWatch.objects.update_or_create(integration=account, defaults={"alert_below_micros": 100_000_000})
        record_balance(account, Balance(Decimal(63), "TRY"), clock.now())
        [low] = today.load_low_balances([people.shop.tenant.pk], clock.now())
        assert (low.account, low.balance.micros, low.hours_left) == (account, 63_000_000, 48)
        assert "63.00 TRY" in text_of(people.owner, reverse("panel:dashboard"))

    def test_counts_today_and_each_provider(self, people: People, stage: Stage) -> None:
        completed(stage, people)
        refused = stage.order(people.shop, place="refuse", refuse_class="product")
        stage.run_until_quiet()
        assert standing_of(refused)[0] == "rejected"
        tenant_ids, now = [people.shop.tenant.pk], clock.now()
        [provider] = today.load_providers(tenant_ids, now)
        assert (provider.ended, provider.delivered, provider.percent) == (2, 1, 50)
        day = today.load_day(tenant_ids, now, ZoneInfo("UTC"))
        assert (day.orders, [(word, count) for word, _, count in day.by_status]) == (
            2,
            [("completed", 1), ("rejected", 1)],
        )
        [(brought, margin, sold)] = day.margins
        assert (brought.micros, margin.micros, sold) == (PRICE, 3_500_000, 1)
        assert provider.spark
        assert "<polyline" in text_of(people.owner, reverse("panel:dashboard"))

    def test_costs_the_same_for_many_as_for_few(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        path = reverse("panel:dashboard")
        watched(people, "First")
        one = queries_of(people.owner, path)
        copies(order, 30)
        for n in range(3):
            watched(people, f"More {n}")
        assert queries_of(people.owner, path) == one

    def test_is_each_shops_own_and_costs_304(self, people: People, stage: Stage) -> None:
        completed(stage, people)
        assert "No order yet today." in text_of(people.stranger, reverse("panel:dashboard"))
        path = reverse("panel:dashboard_live")
        first = people.owner.get(path)
        assert people.owner.get(path, headers={"if-none-match": first.headers["ETag"]}).status_code == 304

    def test_draws_the_highest_hour_at_the_top(self) -> None:
        assert today.spark_of([0, 0]) == ""
        assert today.spark_of([0, 2, 1]) == "0.0,26.0 60.0,2.0 120.0,14.0"

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_is_there_in_every_language(self, people: People, language: str) -> None:
        browser = browser_of(make_person(f"p-{language}", people.shop.tenant), language)
        for name in ("dashboard", "order_new", "review", "orders"):
            assert f'lang="{language}"' in text_of(browser, reverse(f"panel:{name}"))


def watched(people: People, name: str) -> None:
    """An account with less money than it should have."""
    account = Integration.objects.create(tenant=people.shop.tenant, name=name, kind="manual", currency="TRY")
    AccountWatch.objects.create(integration=account, alert_below_micros=5)
    record_balance(account, Balance(Decimal(0), "TRY"), clock.now())


class TestOneOrder:
    def test_has_the_ones_beside_it_in_the_list(self, people: People) -> None:
        one, foreign, two, three = (
            order_from(people.shop),
            order_from(people.foreign_shop),
            order_from(people.shop),
            order_from(people.shop),
        )
        Order.objects.filter(pk=three.pk).update(reason="waiting:no_route")
        text = text_of(people.owner, reverse("panel:order", args=[two.pk]))
        assert f'rel="prev" href="/orders/{three.pk}/"' in text
        assert f'rel="next" href="/orders/{one.pk}/"' in text
        assert f"/orders/{foreign.pk}/" not in text
        narrowed = text_of(people.owner, reverse("panel:order", args=[two.pk]) + "?reason=waiting:no_route")
        assert f'rel="prev" href="/orders/{three.pk}/?reason=waiting%3Ano_route"' in narrowed
        assert 'rel="next"' not in narrowed

    def test_keeps_notes_with_their_author(self, people: People) -> None:
        order = order_from(people.shop)
        path = reverse("panel:order_decide", args=[order.pk, "add_note"])
        assert people.operator.post(path, {"reason": "customer called twice"}).status_code == 302
        text = text_of(people.viewer, reverse("panel:order", args=[order.pk]))
        assert "customer called twice" in text
        assert "omar" in text
        assert standing_of(order)[0] == "pending"

    def test_says_why_the_next_check_is_when_it_is(self, people: People) -> None:
        order = order_from(people.shop)
        assert "It waits to be sent" in text_of(people.viewer, reverse("panel:order", args=[order.pk]))

    def test_gives_its_requests_as_commands_without_secrets(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        text = text_of(people.viewer, reverse("panel:order", args=[order.pk]))
        assert 'data-copy="curl -sS -X ' in text
        evidence = Evidence.objects.filter(order=order, verb="place").get()
        assert "***" in as_curl(evidence.request)
        assert people.shop.integration.login == "" or "sifre=***" in evidence.request

    def test_writes_a_command_that_a_shell_reads_as_it_is(self) -> None:
        assert as_curl("GET http://a.example/x?k=***&n='1'") == (
            "curl -sS -X GET " + "'http://a.example/x?k=***&n='\"'\"'1'\"'\"''"
        )
        assert as_curl("POST http://a.example/ form:a=1") == "curl -sS -X POST http://a.example/ --data a=1"
        assert as_curl("POST http://a.example/ json:12 bytes").endswith("--data @body.json")
        assert as_curl("") == ""


class TestAReply:
    def path(self, order: Order) -> str:
        evidence = Evidence.objects.filter(order=order).exclude(sealed_body="").order_by("-id")[0]
        return reverse("panel:reply", args=[order.pk, evidence.pk])

    def test_is_shown_masked_for_a_reason_that_is_told(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        [pin] = pins_of(order)
        path = self.path(order)
        assert "••••" not in text_of(people.operator, path)
        answer = people.operator.post(path, {"reason": "the provider asks"})
        text = unescape(answer.content.decode())
        assert pin not in text
        assert "••••" in text
        event = OrderEvent.objects.get(order=order, kind="reply_seen")
        assert (event.actor, event.data["why"]) == ("omar", "the provider asks")

    def test_masks_what_may_be_a_code_even_if_nobody_has_read_it(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        evidence = Evidence.objects.filter(order=order).exclude(sealed_body="")[0]
        said = f'{{"ref":"{order.provider_referans}","x":"ZZTOP-4411-ABCD","y":"1234 5678 9012","at":"2026-03-02"}}'
        said += '{"w":"ABCDEFGHIJ"}'
        evidence.sealed_body = seal(said.encode())
        text = masked_reply(evidence)
        assert order.provider_referans in text
        assert "2026-03-02" in text
        for secret in ("ZZTOP", "4411", "1234", "9012", "ABCDEFGHIJ"):
            assert secret not in text

    def test_is_not_for_others(self, people: People, stage: Stage) -> None:
        order, other = completed(stage, people), completed(stage, people)
        path = self.path(order)
        for browser, status in ((people.viewer, 403), (people.stranger, 404), (people.nobody, 302)):
            assert browser.post(path, {"reason": "x"}).status_code == status
        assert people.owner.post(path, {"reason": " "}).status_code == 422
        assert people.owner.get(self.path(other).replace(f"/{other.pk}/", f"/{order.pk}/", 1)).status_code == 404
        assert "reply_seen" not in story_of(order)


class TestPlacingAnOrder:
    def path(self, people: People) -> str:
        shop = people.shop
        return reverse("panel:order_new") + f"?customer={shop.customer.pk}&package={shop.package.pk}"

    def form(self, people: People, text: str, **typed: Any) -> dict[str, Any]:
        """The form as a person fills it in."""
        hidden = dict(re.findall(r'name="(key|seen)" value="(\w+)"', text))
        return {**hidden, "quantity": "1", "field_player_id": "hand-77", **typed}

    def test_goes_through_the_one_door_and_names_who_did_it(self, people: People, stage: Stage) -> None:
        path = self.path(people)
        text = text_of(people.operator, path)
        assert "35.00 TRY" in text
        form = self.form(people, text)
        for _ in range(2):
            assert people.operator.post(path, form).status_code == 302
        order = Order.objects.get(customer=people.shop.customer)
        assert (order.user_identifier, order.quantity) == ("hand-77", 1)
        assert sums_of(order) == {"hold": PRICE}
        assert OrderEvent.objects.get(order=order, kind="placed_by_hand").actor == "omar"
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        check_invariants(stage)

    def test_says_what_is_wrong_beside_its_field(self, people: People) -> None:
        path = self.path(people)
        form = self.form(people, text_of(people.operator, path))
        answer = people.operator.post(path, {**form, "field_player_id": "??"})
        assert answer.status_code == 422
        assert "This does not look as it must." in unescape(answer.content.decode())
        assert people.operator.post(path, {**form, "quantity": "0"}).status_code == 422
        assert not Order.objects.exists()

    def test_twice_for_one_recipient_is_confirmed_first(self, people: People) -> None:
        path = self.path(people)
        for typed, status in (({}, 302), ({}, 422), ({"is_again": "on"}, 302)):
            form = self.form(people, text_of(people.operator, path), **typed)
            assert people.operator.post(path, form).status_code == status
        assert Order.objects.count() == 2

    def test_at_another_price_is_shown_again(self, people: People) -> None:
        path = self.path(people)
        form = self.form(people, text_of(people.operator, path), seen="1")
        answer = people.operator.post(path, form)
        assert answer.status_code == 409
        assert "The price has changed" in unescape(answer.content.decode())
        assert not Order.objects.exists()

    def test_without_money_is_refused(self, people: People) -> None:
        poor = make_customer(people.shop.tenant, "1")
        path = reverse("panel:order_new") + f"?customer={poor.pk}&package={people.shop.package.pk}"
        answer = people.operator.post(path, self.form(people, text_of(people.operator, path)))
        assert answer.status_code == 422
        assert "does not cover the price" in unescape(answer.content.decode())

    def test_is_for_operators_of_the_shop(self, people: People) -> None:
        path = self.path(people)
        assert people.viewer.get(path).status_code == 404
        assert people.stranger.get(path).status_code == 404
        assert people.nobody.get(path).status_code == 302
        mixed = reverse("panel:order_new") + f"?customer={people.foreign_shop.customer.pk}&package=1"
        assert people.owner.get(mixed).status_code == 404
        assert people.viewer.get(reverse("panel:order_new")).status_code == 200
        assert people.shop.customer.name not in text_of(people.stranger, reverse("panel:order_new"))


class TestForeignNumbers:
    """Every address of the panel that names something by its number is 404 for somebody of another shop."""

    def addresses(self, people: People, order: Order) -> dict[str, list[Any]]:
        """A number that exists, of the right kind, for every address that takes one."""
        account, package = people.shop.integration.pk, people.shop.package.pk
        evidence = Evidence.objects.filter(order=order).first()
        attempt = Attempt.objects.filter(order=order).first()
        assert evidence is not None
        assert attempt is not None
        given: dict[str, Any] = {
            "order_id": order.pk,
            "evidence_id": evidence.pk,
            "attempt_id": attempt.pk,
            "approval_id": 1,
            "case_id": 1,
            "customer_id": people.shop.customer.pk,
            "request_id": 1,
            "account_id": account,
            "change_id": 1,
            "package_id": package,
            "name": "release",
        }
        found: dict[str, list[Any]] = {}
        for pattern in get_resolver("apps.panel.urls").url_patterns:
            wanted = pattern.pattern.converters
            if isinstance(pattern, URLPattern) and any(name.endswith("_id") for name in wanted):
                found[pattern.name or ""] = [given.get(name, 1) for name in wanted]
        return found

    def test_do_not_exist(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        before = (story_of(order), Order.objects.count())
        found = self.addresses(people, order)
        assert len(found) > 20
        for name, args in found.items():
            path = reverse(f"panel:{name}", args=args)
            statuses = {people.stranger.get(path).status_code, people.stranger.post(path, {"reason": "x"}).status_code}
            assert statuses <= {404, 405}, name
            assert statuses != {405}, name
            assert people.nobody.get(path).status_code in (302, 405), name
        assert (story_of(order), Order.objects.count()) == before


def test_answers_are_never_kept_by_a_browser(people: People) -> None:
    for name in ("dashboard", "review", "approvals", "cases", "order_new", "orders_file"):
        answer = people.owner.get(reverse(f"panel:{name}"))
        assert "no-store" in answer.headers["Cache-Control"]
