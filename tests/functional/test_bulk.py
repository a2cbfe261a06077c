"""One decision about many orders: a dry run first, each order as alone, resumable, cancelled in the middle, for two."""

from __future__ import annotations

from functools import partial
from html import unescape
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.models import Membership, User
from apps.common import clock
from apps.orders import decisions, monitoring
from apps.orders.bulk_models import BulkAction, BulkRow
from apps.orders.decisions import bulk, tags
from apps.orders.models import Approval, Order, OrderEvent
from apps.orders.services import try_auto_dispatch
from apps.orders.tasks import run_bulk_actions
from apps.panel import words
from apps.wallet.people import set_confirm_limit
from tests.factories import Stage, check_invariants, order_from, standing_of, story_of, sums_of
from tests.functional.at_once import run_at_once
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import LANGUAGES, People, browser_of, english, make_person, people

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

PRICE = 35_000_000


def person(name: str) -> User:
    return User.objects.get(username=name)


def dry_run(people: People, kind: str, *, filter: str = "", browser: Client | None = None, tag: str = "") -> BulkAction:
    """What the page makes of the filter."""
    typed = {"kind": kind, "reason": "the panel is gone", "tenant": people.shop.tenant.pk, "tag": tag}
    answer = (browser or people.operator).post(f"{reverse('panel:bulk_new')}?{filter}", typed)
    assert answer.status_code == 302, answer.content.decode()
    return BulkAction.objects.latest("id")


def step(browser: Client, found: BulkAction, name: str) -> str:
    """Press a button of its page; the status afterwards."""
    answer = browser.post(reverse("panel:bulk_decide", args=[found.pk, name]))
    assert answer.status_code == 302
    found.refresh_from_db()
    return found.status


def done(people: People, found: BulkAction, browser: Client | None = None) -> None:
    """Start it and let a worker end it."""
    assert step(browser or people.operator, found, "start") == "running"
    run_bulk_actions()
    found.refresh_from_db()
    assert found.status == "done"


def taken_back(browser: Client, found: BulkAction) -> BulkAction:
    """The dry run to which the button leads."""
    answer = browser.post(reverse("panel:bulk_decide", args=[found.pk, "undo"]))
    back = BulkAction.objects.latest("id")
    assert answer.headers["Location"] == reverse("panel:bulk", args=[back.pk])
    return back


def rows(found: BulkAction) -> list[tuple[int, str]]:
    return list(found.rows.order_by("pk").values_list("order_id", "state"))


def page(browser: Client, found: BulkAction) -> str:
    answer = browser.get(reverse("panel:bulk", args=[found.pk]))
    assert answer.status_code == 200
    return unescape(answer.content.decode())


class TestTheTable:
    def test_has_every_kind_and_nothing_that_needs_a_look(self) -> None:
        assert set(bulk.WAYS) == set(BulkAction.Kind) == {"ask", "send", "reject", "claim", "note", "tag", "untag"}
        assert set(words.ANSWERS) == set(decisions.Said)


class TestADryRun:
    def test_does_nothing_and_says_what_it_is_about_and_what_not_and_why(self, people: People, stage: Stage) -> None:
        waiting = [order_from(people.shop) for _ in range(3)]
        sent = stage.order(people.shop, place="accept_then_500", visible_after_s=864_000.0)
        try_auto_dispatch(sent.pk)
        found = dry_run(people, "reject")
        assert rows(found) == [*((order.pk, "pending") for order in waiting), (sent.pk, "excluded")]
        text = page(people.operator, found)
        assert "105.00 TRY" in text
        assert "It was sent already, or is settled: decide about it alone." in text
        assert [standing_of(order)[0] for order in waiting] == ["pending"] * 3
        assert run_bulk_actions() is None
        assert [story_of(order) for order in waiting] == [["created"]] * 3

    def test_takes_every_order_of_the_filter_and_no_other(self, people: People, stage: Stage) -> None:
        wanted, other = order_from(people.shop, "wanted-one"), order_from(people.shop)
        found = dry_run(people, "reject", filter="q=wanted-one")
        assert rows(found) == [(wanted.pk, "pending")]
        assert other.pk not in dict(rows(found))

    def test_is_about_one_shop(self, people: People) -> None:
        own, foreign = order_from(people.shop), order_from(people.foreign_shop)
        found = dry_run(people, "note", browser=people.root)
        assert [pk for pk, _ in rows(found)] == [own.pk]
        assert foreign.pk not in dict(rows(found))

    def test_refuses_more_than_it_can_look_at(self, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(bulk, "MOST", 1)
        for _ in range(2):
            order_from(people.shop)
        typed = {"kind": "note", "reason": "x", "tenant": people.shop.tenant.pk}
        answer = people.operator.post(reverse("panel:bulk_new"), typed)
        assert answer.status_code == 422
        assert "at most 1 orders at once" in answer.content.decode()
        assert not BulkAction.objects.exists()

    def test_is_started_once_within_the_hour_by_who_made_it(self, people: People, stage: Stage) -> None:
        order_from(people.shop)
        old, fresh = dry_run(people, "note"), dry_run(people, "note")
        assert people.owner.get(reverse("panel:bulk", args=[fresh.pk])).status_code == 404
        with pytest.raises(decisions.NotAllowed):
            bulk.start(fresh.pk, person("olga"), clock.now())
        stage.move(3601)
        assert step(people.operator, old, "start") == "draft"
        newest = dry_run(people, "note")
        assert step(people.operator, newest, "start") == "running"
        assert not BulkAction.objects.filter(pk=old.pk).exists()
        with pytest.raises(decisions.AlreadyDecided):
            bulk.start(newest.pk, person("omar"), clock.now())


class TestRunning:
    def test_does_with_each_order_what_is_done_with_one(self, people: People, stage: Stage) -> None:
        orders = [order_from(people.shop) for _ in range(3)]
        found = dry_run(people, "reject")
        assert step(people.operator, found, "start") == "running"
        run_bulk_actions()
        found.refresh_from_db()
        assert found.status == "done"
        assert rows(found) == [(order.pk, "done") for order in orders]
        for order in orders:
            assert standing_of(order)[0] == "cancelled"
            assert sums_of(order) == {"hold": PRICE, "release": PRICE}
            told = OrderEvent.objects.filter(order=order).latest("id")
            assert (told.actor, told.data["why"]) == ("omar", f"the panel is gone (#{found.pk})")
        check_invariants(stage)

    def test_looks_at_each_order_again(self, people: People, stage: Stage) -> None:
        sent, waiting = stage.order(people.shop), order_from(people.shop)
        found = dry_run(people, "reject")
        step(people.operator, found, "start")
        try_auto_dispatch(sent.pk)
        run_bulk_actions()
        assert rows(found) == [(sent.pk, "refused"), (waiting.pk, "done")]
        assert standing_of(sent)[0] == "processing"
        assert len(stage.purchases(sent)) == 1
        check_invariants(stage)

    def test_leaves_an_order_that_was_sent_since_the_dry_run_for_a_decision_of_its_own(
        self, people: People, stage: Stage
    ) -> None:
        """The provider refused it, so its money could be given back; but somebody must look at it first."""
        order = stage.order(people.shop, place="refuse", refuse_class="balance")
        found = dry_run(people, "reject")
        try_auto_dispatch(order.pk)
        step(people.operator, found, "start")
        run_bulk_actions()
        row = found.rows.get()
        assert (row.state, row.said) == ("refused", "It was sent already, or is settled: decide about it alone.")
        assert (standing_of(order)[0], sums_of(order)) == ("pending", {"hold": PRICE})

    def test_goes_on_where_it_was_interrupted_and_decides_nothing_twice(self, people: People, stage: Stage) -> None:
        orders = [order_from(people.shop) for _ in range(3)]
        found = dry_run(people, "reject")
        step(people.operator, found, "start")
        assert bulk.do_next(found.pk, clock.now())
        run_bulk_actions()
        run_bulk_actions()
        assert rows(found) == [(order.pk, "done") for order in orders]
        assert [sums_of(order) for order in orders] == [{"hold": PRICE, "release": PRICE}] * 3

    def test_of_two_workers_decides_each_order_once(self, people: People, stage: Stage) -> None:
        orders = [order_from(people.shop) for _ in range(4)]
        found = dry_run(people, "note")
        step(people.operator, found, "start")
        run_at_once([bulk.run_all, bulk.run_all])
        assert rows(found) == [(order.pk, "done") for order in orders]
        assert [story_of(order) for order in orders] == [["created", "noted"]] * 4

    def test_is_cancelled_in_the_middle(self, people: People, stage: Stage) -> None:
        orders = [order_from(people.shop) for _ in range(3)]
        found = dry_run(people, "reject")
        step(people.operator, found, "start")
        bulk.do_next(found.pk, clock.now())
        assert step(people.owner, found, "cancel") == "cancelled"
        run_bulk_actions()
        assert rows(found) == list(zip([order.pk for order in orders], ["done", "pending", "pending"], strict=True))
        assert [standing_of(order)[0] for order in orders] == ["cancelled", "pending", "pending"]
        assert "olga" in page(people.operator, found)

    def test_stops_when_who_asked_has_no_right_any_more(self, people: People) -> None:
        order = order_from(people.shop)
        found = dry_run(people, "reject")
        step(people.operator, found, "start")
        Membership.objects.filter(user__username="omar").update(role="viewer")
        run_bulk_actions()
        assert rows(found) == [(order.pk, "refused")]
        assert standing_of(order)[0] == "pending"

    def test_writes_an_error_of_the_hub_down_and_goes_on(self, people: People, monkeypatch: pytest.MonkeyPatch) -> None:
        bad, good = order_from(people.shop), order_from(people.shop)
        found = dry_run(people, "note")
        step(people.operator, found, "start")

        def act(order: Order, *rest: Any) -> bulk.Done:
            if order.pk == bad.pk:
                raise ZeroDivisionError
            return bulk.Done("done")

        monkeypatch.setitem(bulk.WAYS, "note", bulk.Way(lambda order, bulk, now: None, act))
        run_bulk_actions()
        assert rows(found) == [(bad.pk, "refused"), (good.pk, "done")]
        assert "ZeroDivisionError" in BulkRow.objects.get(order=bad).said


class TestAskingAndSending:
    def test_makes_what_is_open_due_and_leaves_the_asking_to_the_loops(self, people: People, stage: Stage) -> None:
        orders = [stage.order(people.shop, complete_after_s=30) for _ in range(2)]
        monitoring.sweep()
        stage.move(31)
        asked = stage.questions()
        found = dry_run(people, "ask", filter="status=processing")
        step(people.operator, found, "start")
        run_bulk_actions()
        assert stage.questions() == asked
        monitoring.sweep()
        assert [standing_of(order)[0] for order in orders] == ["completed"] * 2
        assert story_of(orders[0]).count("asked_again") == 1
        check_invariants(stage)

    def test_sends_what_waits_once(self, people: People, stage: Stage) -> None:
        orders = [order_from(people.shop) for _ in range(2)]
        found = dry_run(people, "send")
        step(people.operator, found, "start")
        run_bulk_actions()
        monitoring.sweep()
        monitoring.sweep()
        assert [len(stage.purchases(order)) for order in orders] == [1, 1]

    def test_asks_nobody_about_what_is_closed(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop)
        decisions.release(order.pk, person("omar"), "x", clock.now())
        assert rows(dry_run(people, "ask")) == [(order.pk, "excluded")]
        assert rows(dry_run(people, "send")) == [(order.pk, "excluded")]


class TestTags:
    def test_are_put_on_where_they_are_not_yet_and_the_story_has_the_reason(self, people: People) -> None:
        fresh, tagged, full = (order_from(people.shop) for _ in range(3))
        tags.add_tag(tagged.pk, person("olga"), "vip", clock.now())
        for n in range(tags.MOST):
            tags.add_tag(full.pk, person("olga"), f"t{n}", clock.now())
        found = dry_run(people, "tag", tag=" vip ")
        assert rows(found) == [(fresh.pk, "pending"), (tagged.pk, "excluded"), (full.pk, "excluded")]
        assert "It has this tag already." in page(people.operator, found)
        assert tags.names_on(fresh) == set()
        done(people, found)
        assert (tags.names_on(fresh), tags.names_on(tagged)) == ({"vip"}, {"vip"})
        told = OrderEvent.objects.get(order=fresh, kind="tagged")
        assert (told.actor, told.data) == ("omar", {"why": f"vip: the panel is gone (#{found.pk})"})

    def test_are_taken_off_where_they_are(self, people: People) -> None:
        tagged, other = order_from(people.shop), order_from(people.shop)
        tags.add_tag(tagged.pk, person("olga"), "vip", clock.now())
        found = dry_run(people, "untag", tag="vip")
        assert rows(found) == [(tagged.pk, "pending"), (other.pk, "excluded")]
        done(people, found)
        assert tags.names_on(tagged) == set()
        assert story_of(tagged) == ["created", "tagged", "untagged"]

    @pytest.mark.parametrize("tag", ["", "  ", "x" * 41])
    def test_need_a_name(self, people: People, tag: str) -> None:
        order_from(people.shop)
        typed = {"kind": "tag", "reason": "x", "tenant": people.shop.tenant.pk, "tag": tag}
        assert people.operator.post(reverse("panel:bulk_new"), typed).status_code == 422
        assert not BulkAction.objects.exists()

    def test_are_left_alone_by_everything_else(self, people: People) -> None:
        order_from(people.shop)
        assert dry_run(people, "note", tag="vip").tag == ""


class TestTakingBack:
    def test_undoes_what_was_changed_and_nothing_else(self, people: People) -> None:
        fresh, before, since = (order_from(people.shop) for _ in range(3))
        tags.add_tag(before.pk, person("olga"), "vip", clock.now())
        found = dry_run(people, "tag", tag="vip")
        done(people, found)
        tags.remove_tag(since.pk, person("olga"), "vip", clock.now())
        assert "Take back what was done" in page(people.operator, found)
        back = taken_back(people.owner, found)
        assert (back.kind, back.tag, back.undoes, back.status) == ("untag", "vip", found, "draft")
        assert rows(back) == [(fresh.pk, "pending"), (since.pk, "excluded")]
        assert tags.names_on(fresh) == {"vip"}
        done(people, back, people.owner)
        assert [tags.names_on(order) for order in (fresh, before, since)] == [set(), {"vip"}, set()]
        assert f"/bulk/{found.pk}/" in page(people.owner, back)

    def test_goes_both_ways_and_includes_what_was_cancelled_in_the_middle(self, people: People) -> None:
        orders = [order_from(people.shop) for _ in range(2)]
        for order in orders:
            tags.add_tag(order.pk, person("olga"), "vip", clock.now())
        found = dry_run(people, "untag", tag="vip")
        step(people.operator, found, "start")
        bulk.do_next(found.pk, clock.now())
        step(people.operator, found, "cancel")
        done(people, taken_back(people.operator, found))
        assert [tags.names_on(order) for order in orders] == [{"vip"}, {"vip"}]

    def test_is_possible_for_a_day_after_the_end(self, people: People, stage: Stage) -> None:
        order_from(people.shop)
        found = dry_run(people, "tag", tag="vip")
        step(people.operator, found, "undo")
        done(people, found)
        stage.move(24 * 3600)
        assert bulk.can_undo(found, clock.now())
        stage.move(1)
        step(people.operator, found, "undo")
        assert BulkAction.objects.count() == 1
        assert "cannot be taken back for all of them together" in page(people.operator, found)

    @pytest.mark.parametrize("kind", ["reject", "note", "send"])
    def test_is_not_offered_for_what_stays(self, people: People, kind: str) -> None:
        order_from(people.shop)
        found = dry_run(people, kind)
        done(people, found)
        text = page(people.operator, found)
        assert "cannot be taken back for all of them together" in text
        assert "Take back what was done" not in text
        step(people.operator, found, "undo")
        assert BulkAction.objects.count() == 1


class TestTwoPeople:
    def test_are_needed_where_all_together_is_above_the_limit(self, people: People, stage: Stage) -> None:
        orders = [order_from(people.shop) for _ in range(3)]
        set_confirm_limit(person("olga"), people.shop.tenant.pk, "TRY", "100", clock.now())
        found = dry_run(people, "reject")
        assert "This needs two people" in page(people.operator, found)
        assert step(people.operator, found, "start") == "waiting"
        run_bulk_actions()
        assert step(people.operator, found, "confirm") == "waiting"
        assert [standing_of(order)[0] for order in orders] == ["pending"] * 3
        assert step(people.owner, found, "confirm") == "running"
        run_bulk_actions()
        assert [standing_of(order)[0] for order in orders] == ["cancelled"] * 3
        check_invariants(stage)

    def test_decide_about_an_order_that_is_above_the_limit_itself(self, people: People) -> None:
        small, big = order_from(people.shop), order_from(people.shop, quantity=3)
        set_confirm_limit(person("olga"), people.shop.tenant.pk, "TRY", "100", clock.now())
        found = dry_run(people, "reject")
        step(people.operator, found, "start")
        step(people.owner, found, "confirm")
        run_bulk_actions()
        assert rows(found) == [(small.pk, "done"), (big.pk, "waits")]
        assert Approval.objects.get(order=big).status == "pending"
        assert sums_of(big) == {"hold": 3 * PRICE}

    def test_cannot_be_one_alone(self, people: People) -> None:
        for _ in range(3):
            order_from(people.shop)
        set_confirm_limit(person("olga"), people.shop.tenant.pk, "TRY", "100", clock.now())
        Membership.objects.filter(user__username="omar").delete()
        found = dry_run(people, "reject", browser=people.owner)
        assert step(people.owner, found, "start") == "draft"

    def test_of_whom_the_first_has_lost_the_right_do_nothing(self, people: People) -> None:
        for _ in range(3):
            order_from(people.shop)
        set_confirm_limit(person("olga"), people.shop.tenant.pk, "TRY", "100", clock.now())
        found = dry_run(people, "reject")
        step(people.operator, found, "start")
        Membership.objects.filter(user__username="omar").update(role="viewer")
        assert step(people.owner, found, "confirm") == "waiting"


class TestWhoMay:
    def test_is_an_operator_of_the_shop(self, people: People) -> None:
        order_from(people.shop)
        found = dry_run(people, "note")
        step(people.operator, found, "start")
        paths = {
            reverse("panel:bulk", args=[found.pk]): (200, 404, 302),
            reverse("panel:bulk_live", args=[found.pk]): (200, 404, 302),
            reverse("panel:bulk_actions"): (200, 200, 302),
            reverse("panel:bulk_new"): (403, 200, 302),
        }
        for path, statuses in paths.items():
            for browser, status in zip((people.viewer, people.stranger, people.nobody), statuses, strict=True):
                assert browser.get(path).status_code == status, path
            for browser in (people.owner, people.operator, people.root):
                assert browser.get(path).status_code == 200, path
        for name in bulk_steps():
            path = reverse("panel:bulk_decide", args=[found.pk, name])
            for browser, status in ((people.viewer, 403), (people.stranger, 404), (people.nobody, 302)):
                assert browser.post(path).status_code == status
        assert f"#{found.pk}" not in people.stranger.get(reverse("panel:bulk_actions")).content.decode()
        typed = {"kind": "note", "reason": "x", "tenant": people.shop.tenant.pk}
        assert people.viewer.post(reverse("panel:bulk_new"), typed).status_code == 403
        assert people.stranger.post(reverse("panel:bulk_new"), typed).status_code == 422

    def test_does_not_include_a_viewer_who_calls_the_function(self, people: People) -> None:
        order = order_from(people.shop)
        with pytest.raises(decisions.NotAllowed):
            bulk.draft("note", people.shop.tenant, [order.pk], person("vera"), "x", "", clock.now())

    def test_a_person_of_two_shops_acts_only_where_they_may(self, people: People) -> None:
        uli = make_person("uli", people.shop.tenant, "operator")
        Membership.objects.create(user=uli, tenant=people.foreign_shop.tenant, role="viewer")
        order_from(people.foreign_shop)
        typed = {"kind": "note", "reason": "x", "tenant": people.foreign_shop.tenant.pk}
        assert browser_of(uli).post(reverse("panel:bulk_new"), typed).status_code == 422

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_reads_it_in_every_language(self, people: People, language: str) -> None:
        order_from(people.shop)
        browser = browser_of(person("omar"), language)
        found = dry_run(people, "reject", browser=browser)
        assert f'lang="{language}"' in page(browser, found)


class TestTwoOperatorsAtOnce:
    def test_of_one_order_one_wins_and_the_other_is_told(self, people: People, stage: Stage) -> None:
        order = order_from(people.shop)
        names, now = ("olga", "omar"), clock.now()

        def decide(name: str) -> str:
            try:
                decisions.release(order.pk, person(name), "at once", now)
            except decisions.DecisionRefused as refused:
                return str(refused)
            return "done"

        said = sorted(run_at_once([partial(decide, name) for name in names]))
        assert said == ["No money of this order is held any more: there is nothing to decide.", "done"]
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        check_invariants(stage)


def bulk_steps() -> list[str]:
    return ["start", "confirm", "cancel", "undo"]
