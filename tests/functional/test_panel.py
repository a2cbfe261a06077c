"""The operator pages: who sees what, what an order's page explains, and the two things that can be done there."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from apps.accounts.models import Tenant, User
from apps.common import clock
from apps.journal import heartbeats
from apps.orders.creation import OPEN_FOR
from apps.orders.decisions import Said, ask_again
from apps.orders.dispatch.trace import STEPS
from apps.orders.evidence import store_codes
from apps.orders.models import Attempt, Order, OrderCode, OrderEvent
from apps.orders.monitoring import SWEEP, check_order
from apps.orders.services import try_auto_dispatch
from apps.panel import build, words
from apps.panel.listing import PAGE
from apps.providers.contract import Code
from apps.providers.models import Integration
from tests.factories import Shop, Stage, check_invariants, make_shop, order_from, pins_of, standing_of, story_of
from tests.functional.panel_fixtures import LANGUAGES, PASSWORD, People, browser_of, english, make_person, people

__all__ = ["english", "people"]

pytestmark = [pytest.mark.both_databases, pytest.mark.page]


def page(browser: Client, order: Order) -> str:
    """The order's page as text."""
    return text_of(browser.get(url("order", order)))


def text_of(answer: object) -> str:
    assert isinstance(answer, HttpResponse)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def url(name: str, order: Order) -> str:
    return reverse(f"panel:{name}", args=[order.pk])


def completed(stage: Stage, shop: Shop) -> Order:
    """An order whose PIN has arrived."""
    order = stage.order(shop)
    stage.run_until_quiet()
    assert standing_of(order)[0] == "completed"
    return order


def in_doubt(stage: Stage, shop: Shop, **fate: Any) -> Order:
    """An order that was bought, with an answer that never came back in a readable form."""
    order = stage.order(shop, place="accept_then_500", **fate)
    try_auto_dispatch(order.pk)
    assert standing_of(order) == ("processing", "unknown", "")
    return order


class TestSigningIn:
    def test_is_needed_for_every_page(self, people: People) -> None:
        order = order_from(people.shop)
        for path in (
            reverse("panel:orders"),
            reverse("panel:orders_live"),
            url("order", order),
            url("order_live", order),
        ):
            answer = people.nobody.get(path)
            assert (answer.status_code, answer.headers["Location"].partition("?")[0]) == (302, "/login/")
        for name in ("ask", "reveal"):
            assert people.nobody.post(url(name, order)).status_code == 302
        assert story_of(order) == ["created"]

    def test_leads_to_the_page_that_was_wanted(self, people: People) -> None:
        form = {"username": "olga", "password": PASSWORD, "next": "/?status=open"}
        assert people.nobody.post("/login/", form).headers["Location"] == "/?status=open"

    def test_does_not_lead_to_another_site(self, people: People) -> None:
        form = {"username": "olga", "password": PASSWORD, "next": "https://example.org/"}
        assert people.nobody.post("/login/", form).headers["Location"] == "/"

    def test_refuses_a_wrong_password_in_words(self, people: People) -> None:
        answer = people.nobody.post("/login/", {"username": "olga", "password": "wrong"})
        assert answer.status_code == 422
        assert "Name and password do not fit together" in answer.content.decode()

    def test_ends_by_a_post_only(self, people: People) -> None:
        assert people.owner.get("/logout/").status_code == 405
        assert people.owner.post("/logout/").status_code == 302
        assert people.owner.get("/").status_code == 302

    def test_of_somebody_without_a_shop_shows_nothing(self, people: People) -> None:
        order_from(people.shop)
        text = text_of(browser_of(make_person("newcomer")).get("/"))
        assert "You belong to no shop yet" in text
        assert "#" + str(Order.objects.get().pk) not in text


class TestLanguages:
    @pytest.mark.parametrize(("language", "direction"), [("en", "ltr"), ("ar", "rtl"), ("tr", "ltr")])
    def test_turn_every_page(self, people: People, stage: Stage, language: str, direction: str) -> None:
        order = completed(stage, people.shop)
        browser = browser_of(User.objects.get(username="olga"), language)
        for path in ("/", url("order", order), "/orders/999999/"):
            assert f'<html lang="{language}" dir="{direction}">' in unescape(browser.get(path).content.decode())

    def test_are_switched_by_a_post(self, people: People) -> None:
        answer = people.owner.post("/i18n/setlang/", {"language": "ar", "next": "/"})
        assert (answer.status_code, answer.headers["Location"]) == (302, "/")
        assert 'dir="rtl"' in text_of(people.owner.get("/"))

    def test_say_status_and_reason_in_arabic_and_turkish(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people.shop)
        told = {"ar": "موضع شك: لم يصل رد قاطع.", "tr": "Belirsiz: kesin bir yanıt gelmedi."}
        for language, sentence in told.items():
            assert sentence in page(browser_of(User.objects.get(username="olga"), language), order)

    def test_leave_amounts_and_references_as_they_are(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        text = page(browser_of(User.objects.get(username="olga"), "ar"), order)
        assert '<bdi dir="ltr" class="amount">35.00 TRY</bdi>' in text
        assert f'<bdi dir="ltr" class="ref">{order.provider_referans}</bdi>' in text


class TestTheList:
    def test_shows_the_orders_of_the_persons_shops_only(self, people: People) -> None:
        own, foreign = order_from(people.shop), order_from(people.foreign_shop)
        text = text_of(people.viewer.get("/"))
        assert url("order", own) in text
        assert url("order", foreign) not in text
        assert foreign.user_identifier not in text

    def test_shows_a_superuser_everything(self, people: People) -> None:
        orders = [order_from(people.shop), order_from(people.foreign_shop)]
        text = text_of(people.root.get("/"))
        assert all(url("order", order) in text for order in orders)

    def test_forgets_the_orders_of_a_shop_that_was_switched_off(self, people: People) -> None:
        order = order_from(people.shop)
        Tenant.objects.filter(pk=people.shop.tenant.pk).update(is_active=False)
        assert url("order", order) not in text_of(people.owner.get("/"))
        assert people.owner.get(url("order", order)).status_code == 404

    def test_names_the_oldest_open_order_with_its_reason(self, people: People, stage: Stage) -> None:
        completed(stage, people.shop)
        Integration.objects.update(paused_until=clock.now() + timedelta(hours=1))
        waiting = order_from(people.shop)
        try_auto_dispatch(waiting.pk)
        hint = text_of(people.owner.get("/")).partition('<p class="hint">')[2].partition("</p>")[0]
        assert f"#{waiting.pk}" in hint
        assert "the provider account is paused" in hint

    def test_filters_by_status(self, people: People, stage: Stage) -> None:
        done, waiting = completed(stage, people.shop), order_from(people.shop)
        for status, shown in (("completed", done), ("open", waiting), ("pending", waiting)):
            rows = rows_of(people.owner, f"status={status}")
            assert rows == [shown.pk]
        assert rows_of(people.owner, "status=nonsense") == [waiting.pk, done.pk]

    def test_finds_an_order_by_everything_it_is_known_by(self, people: People) -> None:
        order, _ = order_from(people.shop), order_from(people.shop)
        Order.objects.filter(pk=order.pk).update(
            provider_referans="123456789012345678", external_order_id="EXT-77", client_reference="Shop/2026/5"
        )
        Attempt.objects.create(
            order=order,
            integration=people.shop.integration,
            integration_name="Panel",
            kind="znet",
            reference="876543210987654321",
            send_deadline_at=clock.now(),
            cost_currency="TRY",
            created_at=clock.now(),
        )
        for term in (
            f"%23{order.pk}",
            order.user_identifier.lower(),
            "123456789012345678",
            "876543210987654321",
            "ext-77",
            "shop/2026/5",
        ):
            assert rows_of(people.owner, f"q={term}") == [order.pk]

    def test_finds_an_order_by_its_bare_number(self, people: People) -> None:
        order = order_from(people.shop)
        assert order.pk in rows_of(people.owner, f"q={order.pk}")

    @pytest.mark.parametrize("term", ["%00", "99999999999999999999999999", "%25", "'--", "%F0%9F%8E%AE", "-1"])
    def test_survives_any_search(self, people: People, term: str) -> None:
        order_from(people.shop)
        rows_of(people.owner, f"q={term}&before={term}")

    def test_pages_by_number(self, people: People) -> None:
        first = order_from(people.shop)
        template = Order.objects.get(pk=first.pk)
        Order.objects.bulk_create(_copy(template, n) for n in range(PAGE))
        newest = rows_of(people.owner, "")
        oldest_shown = newest[-1]
        assert len(newest) == PAGE
        assert f"before={oldest_shown}" in text_of(people.owner.get("/"))
        assert rows_of(people.owner, f"before={oldest_shown}") == [first.pk]

    def test_says_so_when_nothing_fits(self, people: People) -> None:
        assert "No order fits." in text_of(people.owner.get("/?q=nothing-like-it"))


def _copy(template: Order, n: int) -> Order:
    fields = {field.attname: getattr(template, field.attname) for field in Order._meta.concrete_fields}
    return Order(**{**fields, "id": None, "idempotency_key": f"copy-{n}", "client_reference": None})


def rows_of(browser: Client, query: str) -> list[int]:
    """The numbers of the orders on the page, in their order."""
    body = text_of(browser.get(f"/?{query}")).partition("<tbody>")[2]
    return [int(part.partition("/")[0]) for part in body.split('class="id" href="/orders/')[1:]]


class TestLivePart:
    def test_of_the_list_costs_304_while_nothing_changes(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop)
        heartbeats.beat(SWEEP, clock.now())
        first = people.owner.get("/live/")
        again = people.owner.get("/live/", headers={"if-none-match": first.headers["ETag"]})
        assert (first.status_code, again.status_code, again.content) == (200, 304, b"")
        try_auto_dispatch(order.pk)
        changed = people.owner.get("/live/", headers={"if-none-match": first.headers["ETag"]})
        assert changed.status_code == 200

    def test_of_an_order_costs_304_while_nothing_changes(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people.shop)
        first = people.owner.get(url("order_live", order))
        headers = {"if-none-match": first.headers["ETag"]}
        assert people.owner.get(url("order_live", order), headers=headers).status_code == 304
        stage.run_until_quiet()
        assert people.owner.get(url("order_live", order), headers=headers).status_code == 200

    def test_says_when_it_may_stop(self, people: People, stage: Stage) -> None:
        open_order, done = order_from(people.shop), completed(stage, people.shop)
        Order.objects.filter(pk=open_order.pk).update(status="processing")
        assert "data-live-done" not in page(people.owner, open_order)
        assert "data-live-done" in page(people.owner, done)

    def test_differs_by_language(self, people: People) -> None:
        order = order_from(people.shop)
        olga = User.objects.get(username="olga")
        tags = {browser_of(olga, language).get(url("order_live", order)).headers["ETag"] for language in LANGUAGES}
        assert len(tags) == 3

    def test_is_never_stored(self, people: People) -> None:
        assert "no-store" in people.owner.get("/live/").headers["Cache-Control"]


class TestTheStory:
    def test_lists_the_fifteen_steps_with_what_each_found(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        text = page(people.owner, order)
        assert text.count('<li class="done">') == 15
        for name in STEPS.values():
            assert str(words.STEP_NAMES[name]) in text
        reference = Attempt.objects.get(order=order).reference
        assert f'<span class="fact-label">reference</span> <bdi>{reference}</bdi>' in text

    def test_of_a_refused_dispatch_ends_at_step_five(self, people: People) -> None:
        Integration.objects.update(paused_until=clock.now() + timedelta(hours=1))
        order = order_from(people.shop)
        try_auto_dispatch(order.pk)
        text = page(people.owner, order)
        assert (text.count('<li class="done">'), text.count('<li class="skipped">')) == (5, 10)
        assert f"{people.shop.integration.name}: account paused" in text
        assert "Next try to send:" in text

    def test_says_how_often_it_was_asked_and_when_next(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people.shop, visible_after_s=9999)
        for _ in range(3):
            row = order.due_rows.get()
            stage.move_to(row.next_at)
            check_order(order.pk)
        next_at = order.due_rows.get().next_at
        assert f"Asked by reference 3 times; next question at {next_at:%H:%M:%S}." in page(people.owner, order)

    def test_shows_times_in_the_shops_time_zone(self, people: People, stage: Stage) -> None:
        Tenant.objects.filter(pk=people.shop.tenant.pk).update(timezone="Europe/Istanbul")
        text = page(people.owner, order_from(people.shop))
        assert "2026-03-02 12:00:00" in text
        assert "Europe/Istanbul" in text

    def test_survives_a_time_zone_that_does_not_exist(self, people: People) -> None:
        Tenant.objects.filter(pk=people.shop.tenant.pk).update(timezone="Nowhere/City")
        assert "2026-03-02 09:00:00" in page(people.owner, order_from(people.shop))

    def test_shows_the_money_per_unit_and_every_posting(self, people: People, stage: Stage) -> None:
        order = stage.order(people.shop, quantity=3)
        stage.run_until_quiet()
        text = page(people.owner, order)
        assert '<dt>captured</dt><dd><bdi dir="ltr" class="amount">105.00 TRY</bdi></dd>' in text
        assert text.count("<td>captured</td>") == 3 + 3  # the units, and the ledger's lines
        assert "customer's wallet" in text

    def test_escapes_the_providers_words(self, people: People, stage: Stage) -> None:
        order = stage.order(people.shop, final="cancelled", cancel_text="<script>alert(1)</script>")
        stage.run_until_quiet()
        raw = people.owner.get(url("order", order)).content.decode()
        assert "<script>alert" not in raw
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in raw

    def test_escapes_what_a_buyer_typed(self, people: People) -> None:
        order = order_from(people.shop)
        Order.objects.filter(pk=order.pk).update(user_identifier='"><img src=x onerror=alert(1)>')
        for path in ("/", url("order", order), "/live/?q=%22%3E%3Cimg%20src=x"):
            assert b"<img" not in people.owner.get(path).content

    def test_shows_the_redacted_request_and_not_the_raw_answer(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        text = page(people.owner, order)
        assert "kod=***" in text
        assert "demo-secret" not in text
        assert all(pin not in text for pin in pins_of(order))

    def test_names_its_cases(self, people: People, stage: Stage) -> None:
        order = stage.order(people.shop, final="cancelled", flip_to_delivered_after_s=300)
        stage.run_until_quiet()
        stage.move(3600)
        stage.run_until_quiet()
        text = page(people.owner, order)
        assert "delivered after the money went back" in text
        assert "in quarantine: shown to nobody" in text


class TestAForeignOrder:
    def test_does_not_exist(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        before = story_of(order)
        for path in (url("order", order), url("order_live", order)):
            assert people.stranger.get(path).status_code == 404
        for name in ("ask", "reveal"):
            assert people.stranger.post(url(name, order)).status_code == 404
        assert story_of(order) == before

    def test_looks_like_one_that_never_was(self, people: People) -> None:
        order = order_from(people.shop)
        answers = [people.stranger.get(path).content for path in (url("order", order), "/orders/99999999/")]
        assert _without_tokens(answers[0]) == _without_tokens(answers[1])

    def test_is_not_found_by_search(self, people: People) -> None:
        order = order_from(people.shop)
        assert rows_of(people.stranger, f"q={order.user_identifier}") == []


def _without_tokens(content: bytes) -> list[str]:
    return [line for line in content.decode().splitlines() if "csrfmiddlewaretoken" not in line]


class TestRoles:
    def test_let_a_viewer_look_but_not_act(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        before = story_of(order)
        text = page(people.viewer, order)
        assert "Ask again now" not in text
        assert "Show the codes once" not in text
        for name in ("ask", "reveal"):
            assert people.viewer.post(url(name, order)).status_code == 403
        assert story_of(order) == before

    @pytest.mark.parametrize("role", ["owner", "operator"])
    def test_let_owners_and_operators_act(self, people: People, stage: Stage, role: str) -> None:
        order = completed(stage, people.shop)
        browser: Client = getattr(people, role)
        assert "Show the codes once" in page(browser, order)
        assert browser.post(url("reveal", order), {"reason": "the customer asked"}).status_code == 200

    def test_are_asked_again_at_every_click(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        User.objects.get(username="omar").memberships.update(role="viewer")
        assert people.operator.post(url("reveal", order)).status_code == 403

    def test_do_not_replace_the_csrf_token(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(User.objects.get(username="olga"))
        for name in ("ask", "reveal"):
            assert strict.post(url(name, order)).status_code == 403
        assert "codes_revealed" not in story_of(order)

    def test_do_not_make_a_get_do_anything(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        assert people.owner.get(url("ask", order)).status_code == 405
        [pin] = pins_of(order)
        assert pin not in text_of(people.owner.get(url("reveal", order)))
        assert "codes_revealed" not in story_of(order)


class TestCodes:
    def test_are_masked_everywhere(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        [pin] = pins_of(order)
        for path in ("/", "/live/", url("order", order), url("order_live", order)):
            text = text_of(people.owner.get(path))
            assert pin not in text
        assert "••••" in page(people.owner, order)

    def test_are_shown_once_and_it_is_told_who_looked(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        [pin] = pins_of(order)
        answer = people.operator.post(url("reveal", order), {"reason": "lost the mail"})
        assert f'<bdi dir="ltr" class="ref">{pin}</bdi>' in text_of(answer)
        assert "no-store" in answer.headers["Cache-Control"]
        event = OrderEvent.objects.get(order=order, kind="codes_revealed")
        assert (event.cause, event.actor, event.data) == (
            "panel",
            "omar",
            {"codes": 1, "why": "lost the mail"},
        )
        after = page(people.operator, order)
        assert pin not in after
        assert "Codes were shown" in after
        assert "omar" in after
        assert "lost the mail" in after

    def test_can_be_copied_and_printed_once_they_are_shown(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        [pin] = pins_of(order)
        before = text_of(people.operator.get(url("reveal", order)))
        assert [word in before for word in ("data-copy", "data-print")] == [False, False]
        shown = text_of(people.operator.post(url("reveal", order), {"reason": "on paper"}))
        assert f'data-copy="{pin}"' in shown
        assert "data-print" in shown
        assert "Copy all" not in shown

    def test_are_copied_all_together_with_what_belongs_to_each(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        [pin] = pins_of(order)
        more = Code("VALUE-2", serial="SERIAL-2", pin="PIN-2")
        store_codes(Attempt.objects.get(order=order), (more,), is_quarantined=False, now=clock.now())
        shown = people.operator.post(url("reveal", order), {"reason": "two of them"}).content.decode()
        assert f'data-copy="{pin}\nVALUE-2\tSERIAL-2\tPIN-2"' in shown

    @pytest.mark.parametrize("reason", ["", "   ", "x" * 201])
    def test_are_not_shown_without_a_reason(self, people: People, stage: Stage, reason: str) -> None:
        order = completed(stage, people.shop)
        [pin] = pins_of(order)
        answer = people.operator.post(url("reveal", order), {"reason": reason})
        assert answer.status_code == 422
        assert pin not in answer.content.decode()
        assert "codes_revealed" not in story_of(order)

    def test_in_quarantine_are_shown_to_nobody(self, people: People, stage: Stage) -> None:
        order = stage.order(people.shop, final="cancelled", flip_to_delivered_after_s=300)
        stage.run_until_quiet()
        stage.move(3600)
        check_order(order.pk, is_forced=True)
        code = OrderCode.objects.get(order=order)
        assert code.is_quarantined
        assert "Show the codes once" not in page(people.owner, order)
        text = text_of(people.owner.post(url("reveal", order), {"reason": "x"}))
        assert code.reveal()["value"] not in text
        assert "codes_revealed" not in story_of(order)


class TestAskingAgain:
    def test_finds_out_about_an_order_in_doubt(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people.shop)
        answer = people.operator.post(url("ask", order), follow=True)
        assert "The provider was asked and answered: done." in text_of(answer)
        assert standing_of(order)[0] == "completed"
        event = OrderEvent.objects.get(order=order, kind="asked_again")
        assert (event.cause, event.actor) == ("panel", "omar")
        assert len(stage.purchases(order)) == 1
        check_invariants(stage)

    def test_sends_a_waiting_order_when_the_trouble_is_over(self, people: People, stage: Stage) -> None:
        Integration.objects.update(paused_until=clock.now() + timedelta(hours=1))
        order = stage.order(people.shop)
        try_auto_dispatch(order.pk)
        assert standing_of(order) == ("pending", "not_sent", "waiting:provider_paused")
        Integration.objects.update(paused_until=None)
        answer = people.owner.post(url("ask", order), follow=True)
        assert "Sent now. What came back:" in text_of(answer)
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        assert len(stage.purchases(order)) == 1
        check_invariants(stage)

    def test_leaves_an_order_waiting_while_the_trouble_lasts(self, people: People, stage: Stage) -> None:
        Integration.objects.update(paused_until=clock.now() + timedelta(hours=1))
        order = stage.order(people.shop)
        try_auto_dispatch(order.pk)
        answer = people.owner.post(url("ask", order), follow=True)
        assert "Not sent. Waits: the provider account is paused" in text_of(answer)
        assert standing_of(order) == ("pending", "not_sent", "waiting:provider_paused")
        assert order.due_rows.get().kind == "dispatch"
        assert stage.purchases(order) == []

    def test_sends_an_order_past_its_deadline_when_a_person_wants_it(self, people: People, stage: Stage) -> None:
        Integration.objects.update(paused_until=clock.now() + timedelta(days=3))
        order = stage.order(people.shop)
        stage.move(25 * 3600)
        try_auto_dispatch(order.pk)
        assert standing_of(order) == ("review", "not_sent", "waiting:deadline")
        Integration.objects.update(paused_until=None)
        text_of(people.owner.post(url("ask", order), follow=True))
        order.refresh_from_db()
        assert order.deadline_at == clock.now() + OPEN_FOR
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        assert len(stage.purchases(order)) == 1
        check_invariants(stage)

    def test_gives_the_order_back_to_the_review_when_it_did_not_help(self, people: People, stage: Stage) -> None:
        Integration.objects.update(paused_until=clock.now() + timedelta(days=3))
        order = stage.order(people.shop)
        stage.move(25 * 3600)
        try_auto_dispatch(order.pk)
        people.owner.post(url("ask", order))
        assert standing_of(order)[0] == "pending"
        stage.move(OPEN_FOR.total_seconds() + 3 * 24 * 3600)
        try_auto_dispatch(order.pk)
        assert standing_of(order) == ("review", "not_sent", "waiting:deadline")
        check_invariants(stage)

    def test_does_nothing_about_a_settled_order(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        before = story_of(order)
        answer = people.owner.post(url("ask", order), follow=True)
        assert "There is nothing to send and nothing to ask" in text_of(answer)
        assert story_of(order) == before

    def test_takes_two_clicks_for_one(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people.shop, visible_after_s=9999)
        asked = stage.questions()
        people.owner.post(url("ask", order))
        answer = people.operator.post(url("ask", order), follow=True)
        assert "The provider was asked a moment ago." in text_of(answer)
        assert stage.questions() - asked == 1
        assert story_of(order).count("asked_again") == 1
        stage.move(11)
        people.operator.post(url("ask", order))
        assert story_of(order).count("asked_again") == 2

    def test_leaves_a_request_alone_that_is_on_its_way(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people.shop)
        Attempt.objects.filter(order=order).update(state="sending")
        order.due_rows.update(next_at=clock.now() + timedelta(seconds=30))
        assert ask_again(order.pk, "olga", clock.now()).said is Said.BEING_SENT
        assert "asked_again" not in story_of(order)

    def test_beside_two_workers_buys_once(self, people: People, stage: Stage) -> None:
        order = stage.order(people.shop)
        start = threading.Barrier(3)
        click = url("ask", order)

        def run(act: object) -> None:
            assert callable(act)
            start.wait(30)
            try:
                act()
            finally:
                connection.close()

        workers = [lambda: try_auto_dispatch(order.pk), lambda: try_auto_dispatch(order.pk)]
        with ThreadPoolExecutor(3) as pool:
            list(pool.map(run, [*workers, lambda: people.operator.post(click)]))
        stage.run_until_quiet()
        assert standing_of(order)[0] == "completed"
        assert len(stage.purchases(order)) == 1
        assert Attempt.objects.filter(order=order).count() == 1
        check_invariants(stage)

    def test_has_an_answer_in_words_for_all_that_can_come_of_it(self) -> None:
        for said in Said:
            assert words.answer_in_words(said, "completed")
        assert set(words.ANSWERS) == set(Said)


class TestTheWarningBar:
    BAR = "Nobody is sending and asking."

    def test_appears_when_the_loop_never_ran(self, people: People) -> None:
        assert self.BAR in text_of(people.viewer.get("/"))
        assert "has never run" in text_of(people.viewer.get("/"))

    def test_appears_within_a_minute_of_silence_on_every_page(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop)
        heartbeats.beat(SWEEP, clock.now())
        paths = ("/", "/live/", url("order", order), url("order_live", order))
        assert [self.BAR in text_of(people.viewer.get(path)) for path in paths] == [False] * 4
        stage.move(61)
        assert [self.BAR in text_of(people.viewer.get(path)) for path in paths] == [True] * 4
        assert self.BAR in unescape(people.viewer.get("/nothing-here/").content.decode())

    def test_is_not_shown_to_strangers(self, people: People) -> None:
        assert self.BAR not in text_of(people.nobody.get("/login/"))


class TestTheFooter:
    def test_names_the_running_build(self, people: People) -> None:
        assert build.running_build() in text_of(people.owner.get("/"))

    def test_reads_the_commit_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        build.running_build()
        monkeypatch.setattr(build, "_commit", lambda folder: pytest.fail("read again"))
        build.running_build()


class TestErrorPages:
    def test_speak_the_persons_language(self, people: People, stage: Stage) -> None:
        order = completed(stage, people.shop)
        vera = browser_of(User.objects.get(username="vera"), "tr")
        forbidden, missing = vera.post(url("ask", order)), vera.get("/nothing-here/")
        assert (forbidden.status_code, missing.status_code) == (403, 404)
        assert "Rolünüz buna izin vermiyor." in unescape(forbidden.content.decode())
        assert "Burada bir şey yok" in unescape(missing.content.decode())

    def test_of_a_crash_needs_nothing_to_work(self, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
        def crash(*_: object) -> None:
            raise RuntimeError("crash")

        monkeypatch.setattr("apps.panel.views.load_listing", crash)
        browser = browser_of(User.objects.get(username="olga"), "ar")
        browser.raise_request_exception = False
        answer = browser.get("/")
        assert answer.status_code == 500
        assert 'dir="rtl"' in answer.content.decode()


class TestTwoShopsOfOnePerson:
    def test_are_one_list(self, people: People, stage: Stage) -> None:
        other = make_shop(stage.url)
        olga = User.objects.get(username="olga")
        olga.memberships.create(tenant=other.tenant, role="viewer")
        own, second = order_from(people.shop), order_from(other)
        assert rows_of(people.owner, "") == [second.pk, own.pk]
        assert people.owner.post(url("ask", second)).status_code == 403
