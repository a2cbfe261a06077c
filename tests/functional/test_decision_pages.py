"""Every decision as a form: it says what it will do first, does just that, and is for who may decide in this shop."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from html import unescape
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from apps.accounts.models import Membership, Tenant, User
from apps.common import clock
from apps.orders import decisions
from apps.orders.decisions import deciding as deciding_module
from apps.orders.models import Approval, Attempt, Case, Order, OrderCode, OrderEvent
from apps.orders.services import try_auto_dispatch
from apps.panel import deciding
from apps.providers.models import Integration
from apps.wallet.models import Transfer
from apps.wallet.people import set_confirm_limit
from tests.factories import (
    Stage,
    add_route,
    check_invariants,
    make_integration,
    order_from,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import (
    LANGUAGES,
    PASSWORD,
    People,
    browser_of,
    english,
    make_person,
    people,
    seen_on,
)

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

PRICE = 35_000_000


def address(order: Order, name: str, **query: object) -> str:
    """The page of one decision."""
    path = reverse("panel:order_decide", args=[order.pk, name])
    return path + "?" + "&".join(f"{key}={value}" for key, value in query.items())


def text_of(browser: Client, path: str) -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def decide(browser: Client, path: str, **typed: object) -> int:
    """Look at what it will do, and do it; the status of the last answer."""
    form = {"reason": "the customer asked", **typed}
    seen = seen_on(browser.get(path))
    return browser.post(path, {**form, "seen": seen}).status_code


def in_doubt(stage: Stage, people: People) -> Order:
    order = stage.order(people.shop, place="accept_then_500", visible_after_s=864_000.0)
    assert try_auto_dispatch(order.pk).said == "in_doubt"
    stage.move(120)
    return order


def attempt_of(order: Order) -> Attempt:
    return Attempt.objects.filter(order=order).order_by("id")[0]


def completed(stage: Stage, people: People) -> Order:
    order = stage.order(people.shop)
    stage.run_until_quiet()
    assert standing_of(order)[0] == "completed"
    return order


def late_case(stage: Stage, people: People) -> Case:
    """Released after a failure, delivered afterwards."""
    order = stage.order(people.shop, final="cancelled", flip_to_delivered_after_s=300)
    stage.run_until_quiet()
    stage.move(3600)
    decisions.ask_again(order.pk, "omar", clock.now())
    return Case.objects.get(order=order)


class TestTheTable:
    def test_has_every_decision_of_the_core(self) -> None:
        core = {name for name in decisions.__all__ if name.islower()}
        buttons = {
            "ask_again",
            "record_reply_seen",
            "reveal_codes",
            "reveal_codes_once",
            "refund",
            "confirm",
            "decline",
        }
        assert set(deciding.KINDS) == core - buttons | {"tell_again"}

    def test_has_words_for_each_of_them(self) -> None:
        keys = {
            f"{name}:{choice}" if choice else name for name, kind in deciding.KINDS.items() for choice in kind.choices
        }
        assert set(deciding.TITLES) == set(deciding.EFFECTS) == keys
        assert set(deciding.CONTROLS) == set(deciding_module.Control)


class TestWhoMayDecide:
    @pytest.mark.parametrize("name", sorted(deciding.KINDS))
    def test_is_an_operator_of_the_shop(self, people: People, stage: Stage, name: str) -> None:
        case = late_case(stage, people)
        order, kind = case.order, deciding.KINDS[name]
        about = {"case": {"case": case.pk}, "attempt": {"attempt": case.attempt_id}}.get(kind.about, {})
        path = address(order, name, choice=kind.choices[0], **about)
        before = (story_of(order), standing_of(order), Transfer.objects.count())
        for browser, status in ((people.viewer, 403), (people.stranger, 404), (people.nobody, 302)):
            assert browser.get(path).status_code == status
            assert browser.post(path, {"reason": "x"}).status_code == status
        for browser in (people.owner, people.operator, people.root):
            assert browser.get(path).status_code == 200
        assert (story_of(order), standing_of(order), Transfer.objects.count()) == before

    @pytest.mark.parametrize("query", ["attempt=1000000", "case=1000000", "choice=nonsense"])
    def test_does_not_reach_what_the_order_has_not(self, people: People, query: str) -> None:
        order = order_from(people.shop)
        path = reverse("panel:order_decide", args=[order.pk, "release"])
        assert people.owner.get(f"{path}?{query}").status_code == 404
        assert people.owner.get(reverse("panel:order_decide", args=[order.pk, "nonsense"])).status_code == 404

    def test_needs_the_csrf_token(self, people: People) -> None:
        order = order_from(people.shop)
        strict = Client(enforce_csrf_checks=True)
        strict.force_login(User.objects.get(username="olga"))
        assert strict.post(address(order, "release"), {"reason": "x"}).status_code == 403
        assert story_of(order) == ["created"]


class TestADecision:
    def test_says_what_it_will_do_and_has_done_nothing_yet(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop)
        text = text_of(people.operator, address(order, "release"))
        for said in ("pending", "cancelled", "35.00 TRY", "released", "held for open orders", "You decide this."):
            assert said in text
        assert standing_of(order)[0] == "pending"
        assert sums_of(order) == {"hold": PRICE}
        assert story_of(order) == ["created"]
        check_invariants(stage)

    def test_does_what_it_has_said(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop)
        assert decide(people.operator, address(order, "release")) == 302
        assert standing_of(order)[0] == "cancelled"
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        told = OrderEvent.objects.filter(order=order).latest("id")
        assert (told.actor, told.data["why"]) == ("omar", "the customer asked")
        check_invariants(stage)

    def test_is_not_made_before_it_was_seen(self, people: People) -> None:
        order = order_from(people.shop)
        answer = people.operator.post(address(order, "release"), {"reason": "x"})
        assert answer.status_code == 200
        assert seen_on(answer)
        assert standing_of(order)[0] == "pending"

    def test_that_would_do_something_else_by_now_is_shown_again(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop, quantity=2)
        path = address(order, "release")
        seen = seen_on(people.operator.get(path))
        set_confirm_limit(User.objects.get(username="olga"), order.tenant_id, "TRY", "10", clock.now())
        answer = people.operator.post(path, {"reason": "x", "seen": seen})
        text = unescape(answer.content.decode())
        assert "Something has changed since you saw it." in text
        assert "This needs two people" in text
        assert sums_of(order) == {"hold": 2 * PRICE}
        assert not Approval.objects.exists()

    @pytest.mark.parametrize("reason", ["", "x" * 201])
    def test_needs_a_reason(self, people: People, reason: str) -> None:
        order = order_from(people.shop)
        assert decide(people.operator, address(order, "release"), reason=reason) == 422
        assert standing_of(order)[0] == "pending"

    def test_that_is_not_possible_says_why(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people)
        text = text_of(people.operator, address(order, "release"))
        assert "The provider may have bought it." in text
        assert 'name="seen"' not in text

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_is_there_in_every_language(self, people: People, language: str) -> None:
        order = order_from(people.shop)
        text = text_of(browser_of(User.objects.get(username="olga"), language), address(order, "release"))
        assert f'lang="{language}"' in text
        assert '<bdi dir="ltr" class="amount">35.00 TRY</bdi>' in text


class TestTheOrdersPage:
    def test_offers_what_can_be_decided_and_says_why_the_rest_cannot(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people)
        text = text_of(people.operator, reverse("panel:order", args=[order.pk]))
        attempt = attempt_of(order)
        assert address(order, "stop_waiting", choice="release", attempt=attempt.pk) in text
        assert address(order, "deliver_by_hand", attempt=attempt.pk) in text
        assert address(order, "release").rstrip("?") not in text
        assert "The provider may have bought it. Deliver it by hand" in text

    def test_offers_a_viewer_nothing(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people)
        text = text_of(people.viewer, reverse("panel:order", args=[order.pk]))
        assert "What you can decide" not in text
        assert "/decide/" not in text


class TestDeliveringByHand:
    def test_asks_first_and_keeps_what_was_typed(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop)
        path = address(order, "deliver_by_hand")
        assert 'name="code_1"' in text_of(people.operator, path)
        typed = {"reason": "bought elsewhere", "code_1": "HAND-1", "proof": "receipt 17", "cost": "29.50"}
        answer = people.operator.post(path, typed)
        shown = unescape(answer.content.decode())
        assert 'value="HAND-1"' in shown
        assert "29.50 TRY" in shown
        assert standing_of(order)[0] == "pending"
        assert people.operator.post(path, {**typed, "seen": seen_on(answer)}).status_code == 302
        assert standing_of(order)[0] == "completed"
        assert pins_of(order) == ["HAND-1"]
        check_invariants()

    def test_blames_the_field(self, people: People) -> None:
        order = order_from(people.shop)
        path = address(order, "deliver_by_hand")
        typed = {"reason": "x", "code_1": "HAND-1", "proof": "the code is HAND-1", "cost": "29.50"}
        answer = people.operator.post(path, typed)
        assert answer.status_code == 422
        assert "Do not write a code into the proof" in unescape(answer.content.decode())
        assert not OrderCode.objects.exists()


class TestSendingElsewhere:
    def test_names_the_route_and_sends_by_it(self, people: People, stage: Stage) -> None:
        other = make_integration(people.shop.tenant, stage.url)
        Integration.objects.filter(pk=other.pk).update(name="Second panel")
        route = add_route(people.shop.package, other, position=2)
        order = stage.order(people.shop)
        path = address(order, "send_elsewhere")
        assert "Second panel" in text_of(people.operator, path)
        answer = people.operator.post(path, {"reason": "cheaper today", "route": route.pk})
        people.operator.post(path, {"reason": "cheaper today", "route": route.pk, "seen": seen_on(answer)})
        stage.run_until_quiet()
        assert attempt_of(order).integration_id == other.pk
        assert Attempt.objects.filter(order=order).count() == 1


class TestTwoPeople:
    def test_ask_and_confirm(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people)
        path = address(order, "stop_waiting", choice="release", attempt=attempt_of(order).pk)
        assert "This needs two people" in text_of(people.operator, path)
        assert decide(people.operator, path) == 302
        approval = Approval.objects.get()
        assert standing_of(order)[0] == "processing"
        page = reverse("panel:approval", args=[approval.pk])
        assert page in text_of(people.owner, reverse("panel:order", args=[order.pk]))
        assert page in text_of(people.owner, reverse("panel:approvals"))
        own = text_of(people.operator, page)
        assert 'value="confirm"' not in own
        people.operator.post(page, {"answer": "confirm"})
        assert standing_of(order)[0] == "processing"
        text = text_of(people.owner, page)
        assert "the customer asked" in text
        assert "35.00 TRY" in text
        assert 'value="confirm"' in text
        assert people.owner.post(page, {"answer": "confirm"}).status_code == 302
        assert standing_of(order)[0] == "rejected"
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        assert page not in text_of(people.owner, reverse("panel:approvals"))
        check_invariants()

    def test_ask_and_decline(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people)
        decide(people.operator, address(order, "stop_waiting", choice="release", attempt=attempt_of(order).pk))
        page = reverse("panel:approval", args=[Approval.objects.get().pk])
        assert people.operator.post(page, {"answer": "decline"}).status_code == 302
        assert Approval.objects.get().status == "declined"
        assert standing_of(order)[0] == "processing"
        assert "omar" in text_of(people.owner, page)

    def test_are_of_the_shop(self, people: People, stage: Stage) -> None:
        order = in_doubt(stage, people)
        decide(people.operator, address(order, "stop_waiting", choice="release", attempt=attempt_of(order).pk))
        page = reverse("panel:approval", args=[Approval.objects.get().pk])
        for browser, status in ((people.viewer, 403), (people.stranger, 404), (people.nobody, 302)):
            assert browser.post(page, {"answer": "confirm"}).status_code == status
        assert people.stranger.get(page).status_code == 404
        text = text_of(people.viewer, page)
        assert 'name="answer"' not in text
        assert page not in text_of(people.stranger, reverse("panel:approvals"))
        assert Approval.objects.get().status == "pending"

    def test_are_one_where_there_is_one(self, people: People, stage: Stage) -> None:
        Membership.objects.filter(tenant=people.shop.tenant).exclude(user__username="olga").delete()
        order = in_doubt(stage, people)
        stage.move(timedelta(hours=25).total_seconds())
        path = address(order, "stop_waiting", choice="release", attempt=attempt_of(order).pk)
        text = text_of(people.owner, path)
        assert 'name="password"' in text
        assert "you are the only one" in text
        assert decide(people.owner, path) == 422
        assert decide(people.owner, path, password="wrong", amount="35") == 422
        assert decide(people.owner, path, password=PASSWORD, amount="34") == 422
        assert standing_of(order)[0] in ("processing", "review")
        assert decide(people.owner, path, password=PASSWORD, amount="35.00") == 302
        assert standing_of(order)[0] == "rejected"
        assert Approval.objects.get().is_single


class TestGivingBack:
    def test_says_what_goes_back_and_is_gone_afterwards(self, people: People, stage: Stage) -> None:
        order = completed(stage, people)
        assert decide(people.operator, address(order, "give_back")) == 302
        assert standing_of(order)[0] == "refunded"
        assert sums_of(order)["sale_reversal"] == PRICE
        assert "There is nothing to give back." in text_of(people.operator, address(order, "give_back"))


class TestCases:
    def test_are_listed_and_worked_on(self, people: People, stage: Stage) -> None:
        case = late_case(stage, people)
        page = reverse("panel:case", args=[case.pk])
        assert page in text_of(people.operator, reverse("panel:cases"))
        assert "Charge the customer for the late delivery" in text_of(people.operator, page)
        claim = address(case.order, "claim_case", case=case.pk)
        assert people.operator.post(claim, {"reason": "mine"}).status_code == 302
        assert "omar" in text_of(people.viewer, page)
        assign = address(case.order, "assign_case", case=case.pk)
        olga, sam = User.objects.get(username="olga"), User.objects.get(username="sam")
        assert people.operator.post(assign, {"reason": "yours", "to": sam.pk}).status_code == 422
        assert people.operator.post(assign, {"reason": "yours", "to": olga.pk}).status_code == 302
        case.refresh_from_db()
        assert case.owner == olga

    def test_rest_and_close(self, people: People, stage: Stage) -> None:
        case = late_case(stage, people)
        snooze = address(case.order, "snooze_case", case=case.pk)
        day = clock.now() + timedelta(days=2)
        late = clock.now() + timedelta(days=91)
        assert people.operator.post(snooze, {"reason": "x", "until": f"{late:%Y-%m-%dT%H:%M}"}).status_code == 422
        assert people.operator.post(snooze, {"reason": "x", "until": f"{day:%Y-%m-%dT%H:%M}"}).status_code == 302
        assert "These rest" in text_of(people.operator, reverse("panel:cases"))
        assert decide(people.operator, address(case.order, "close_case", case=case.pk)) == 302
        case.refresh_from_db()
        assert case.resolution == "left"
        assert reverse("panel:case", args=[case.pk]) not in text_of(people.operator, reverse("panel:cases"))
        assert "/decide/" not in text_of(people.operator, reverse("panel:case", args=[case.pk]))

    def test_charge_the_customer(self, people: People, stage: Stage) -> None:
        case = late_case(stage, people)
        path = address(case.order, "accept_late", case=case.pk)
        text = text_of(people.operator, path)
        assert "late delivery charged" in text
        assert "The case is closed." in text
        assert decide(people.operator, path) == 302
        assert sums_of(case.order)["late_sale"] == PRICE
        check_invariants(stage)

    def test_of_another_shop_do_not_exist(self, people: People, stage: Stage) -> None:
        page = reverse("panel:case", args=[late_case(stage, people).pk])
        assert people.stranger.get(page).status_code == 404
        assert page not in text_of(people.stranger, reverse("panel:cases"))
        assert people.nobody.get(page).status_code == 302


class TestTheReviewQueue:
    def test_has_the_orders_by_reason_with_the_money_at_risk(self, people: People, stage: Stage) -> None:
        old = in_doubt(stage, people)
        new = order_from(people.shop, quantity=2)
        Order.objects.filter(pk=old.pk).update(status="review", reason="waiting:in_doubt")
        Order.objects.filter(pk=new.pk).update(status="review", reason="waiting:deadline")
        text = text_of(people.operator, reverse("panel:review"))
        assert rows_of(text) == [old.pk, new.pk]
        assert "70.00 TRY" in text
        only = text_of(people.operator, reverse("panel:review") + "?reason=waiting:deadline")
        assert rows_of(only) == [new.pk]

    def test_says_who_works_on_it_until_it_leaves(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop)
        Order.objects.filter(pk=order.pk).update(status="review", reason="waiting:deadline")
        assert people.operator.post(address(order, "claim_review"), {"reason": "mine"}).status_code == 302
        assert people.operator.post(address(order, "claim_review"), {"reason": "again"}).status_code == 302
        assert story_of(order).count("review_claimed") == 1
        assert "<bdi>omar</bdi>" in text_of(people.viewer, reverse("panel:review"))
        assert people.owner.post(address(order, "claim_review"), {"reason": "mine now"}).status_code == 302
        assert "<bdi>omar</bdi>" not in text_of(people.viewer, reverse("panel:review"))
        OrderEvent.objects.create(
            order=order, kind="accepted", cause="status", status="processing", external_status="sent", at=clock.now()
        )
        assert "<bdi>olga</bdi>" not in text_of(people.viewer, reverse("panel:review"))

    def test_says_who_was_given_it(self, people: People) -> None:
        order = in_review(people)
        path, ids = address(order, "assign_review"), dict(User.objects.values_list("username", "pk"))
        assert people.operator.post(path, {"reason": "yours", "to": ids["sam"]}).status_code == 422
        assert people.operator.post(path, {"reason": "yours", "to": ids["olga"]}).status_code == 302
        event = OrderEvent.objects.get(order=order, kind="review_assigned")
        assert (event.actor, event.data) == ("omar", {"why": "yours", "to": "olga"})
        assert "<bdi>olga</bdi>" in text_of(people.viewer, reverse("panel:review"))
        assert "was given to somebody: <bdi>olga</bdi>" in text_of(
            people.viewer, reverse("panel:order", args=[order.pk])
        )

    @pytest.mark.parametrize(
        ("typed", "until"),
        [
            ({"rest": "hour"}, "2026-03-02T13:00:00+03:00"),
            ({"rest": "morning"}, "2026-03-03T09:00:00+03:00"),
            ({"rest": "", "until": "2026-03-05T18:15"}, "2026-03-05T18:15:00+03:00"),
        ],
    )
    def test_lets_an_order_rest_until_its_time_in_the_zone_of_the_shop(
        self, people: People, stage: Stage, typed: dict[str, str], until: str
    ) -> None:
        Tenant.objects.filter(pk=people.shop.tenant.pk).update(timezone="Europe/Istanbul")
        order = in_review(people)
        assert people.operator.post(address(order, "snooze_review"), {"reason": "x", **typed}).status_code == 302
        ends_at = datetime.fromisoformat(until)
        event = OrderEvent.objects.get(order=order, kind="review_snoozed")
        assert datetime.fromisoformat(event.data["until"]) == ends_at
        assert queue(people) == ([], [order.pk])
        stage.move_to(ends_at - timedelta(seconds=1))
        assert queue(people) == ([], [order.pk])
        assert "reason=waiting" not in text_of(people.operator, reverse("panel:dashboard"))
        stage.move_to(ends_at)
        assert queue(people) == ([order.pk], [])
        assert "reason=waiting" in text_of(people.operator, reverse("panel:dashboard"))

    def test_lets_nothing_rest_without_a_time_or_for_too_long(self, people: People) -> None:
        order, late = in_review(people), clock.now() + timedelta(days=91)
        for until in ("", "yesterday", "2020-01-01T10:00", f"{late:%Y-%m-%dT%H:%M}"):
            answer = people.operator.post(address(order, "snooze_review"), {"reason": "x", "rest": "", "until": until})
            assert answer.status_code == 422
        assert queue(people) == ([order.pk], [])

    @pytest.mark.parametrize("news", [{"reason": "conflict:failed"}, {"version": 7}])
    def test_has_an_order_again_when_there_is_other_news(self, people: People, news: dict[str, Any]) -> None:
        order, other = in_review(people), in_review(people)
        assert people.operator.post(address(order, "snooze_review"), {"reason": "x", "rest": "hour"}).status_code == 302
        text = text_of(people.viewer, reverse("panel:review"))
        assert rows_of(text) == [other.pk]
        assert "Show those that rest" in text
        Order.objects.filter(pk=order.pk).update(**news)
        assert queue(people) == ([order.pk, other.pk], [])

    def test_is_each_shops_own(self, people: People) -> None:
        order = order_from(people.shop)
        Order.objects.filter(pk=order.pk).update(status="review", reason="waiting:deadline")
        assert "No order is in review." in text_of(people.stranger, reverse("panel:review"))
        assert people.nobody.get(reverse("panel:review")).status_code == 302

    def test_costs_the_same_for_many_as_for_one(self, people: People) -> None:
        counts = []
        for _ in range(2):
            for _ in range(3):
                order = order_from(people.shop)
                Order.objects.filter(pk=order.pk).update(status="review", reason="waiting:deadline")
            counts.append(queries_of(people.operator, reverse("panel:review")))
        assert counts[0] == counts[1]


def in_review(people: People) -> Order:
    """An order that a person must look at."""
    order = order_from(people.shop)
    Order.objects.filter(pk=order.pk).update(status="review", reason="waiting:deadline")
    return order


def queue(people: People) -> tuple[list[int], list[int]]:
    """The orders in the queue, and those that rest."""
    pages = [text_of(people.operator, reverse("panel:review") + query) for query in ("", "?resting=1")]
    return rows_of(pages[0]), rows_of(pages[1])


def rows_of(text: str) -> list[int]:
    """The numbers of the orders in the list, in their order."""
    return [int(number) for number in re.findall(r'class="id" href="/orders/(\d+)/"', text)]


def queries_of(browser: Client, path: str) -> int:
    """How many queries a page takes."""
    with CaptureQueriesContext(connection) as found:
        assert browser.get(path).status_code == 200
    return len(found)


def test_a_stranger_without_a_shop_sees_empty_queues(people: People) -> None:
    browser = browser_of(make_person("newcomer"))
    for name in ("review", "approvals", "cases"):
        assert browser.get(reverse(f"panel:{name}")).status_code == 200
