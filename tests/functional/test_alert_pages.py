"""The page of alerts and the red bar: who sees what, in three languages, and no markup of others."""

from __future__ import annotations

from html import unescape

import pytest
from django.test import Client

from apps.common import clock
from apps.journal import heartbeats
from apps.journal.alerts import Found, record
from apps.journal.loops import BY_NAME, LOOPS
from apps.journal.models import AlertEpisode
from apps.orders.monitoring import SWEEP
from tests.factories import Stage
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.ops_fixtures import let_loops_beat
from tests.functional.panel_fixtures import People, browser_of, english, make_person, people

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = pytest.mark.both_databases


def page(browser: Client, path: str = "/alerts/") -> str:
    answer = browser.get(path)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def open_alerts(*found: Found) -> None:
    record(found, {one.rule for one in found}, [], clock.now())


def paused(people: People, *, foreign: bool = False) -> Found:
    """A trouble of one shop's account."""
    shop = people.foreign_shop if foreign else people.shop
    return Found("account_paused", str(shop.integration.pk), {"account": 7, "kind": "znet"}, shop.tenant.pk)


class TestThePage:
    def test_needs_somebody_signed_in(self, people: People) -> None:
        assert people.nobody.get("/alerts/").status_code == 302
        assert people.viewer.post("/alerts/").status_code == 405

    def test_is_empty_where_nothing_is_wrong(self, people: People) -> None:
        assert "Nothing is wrong now." in page(people.viewer)

    def test_tells_what_is_wrong_since_when_and_what_to_do(self, people: People, stage: Stage) -> None:
        open_alerts(Found("loop_silent", "beat", {"loop": "beat", "seconds": 20.0}))
        text = page(people.viewer)
        assert "“schedule (Celery Beat)” has not been heard of for 20 s." in text
        assert "2026-03-02" in text
        assert "docs/ALERTS.md#loop_silent" in text
        assert "nobody was told yet" in text

    def test_keeps_what_is_over(self, people: People, stage: Stage) -> None:
        open_alerts(paused(people))
        stage.traveller.shift(60)
        record([], {"account_paused"}, [], clock.now())
        text = page(people.viewer)
        assert "Nothing is wrong now." in text
        assert "Lately over" in text
        assert "takes no orders because of our balance or login there" in text

    def test_shows_nobody_the_troubles_of_another_shop(self, people: People) -> None:
        open_alerts(paused(people, foreign=True))
        assert "takes no orders" not in page(people.owner)
        assert "takes no orders" in page(people.stranger)
        assert "takes no orders" in page(people.root)

    def test_shows_what_counts_over_all_shops_to_who_sees_all_shops(self, people: People) -> None:
        open_alerts(Found("in_doubt_old", "", {"count": 3, "seconds": 2000.0}))
        assert "Purchases in doubt: 3" not in page(people.owner)
        assert "Purchases in doubt: 3" in page(people.root)
        people.foreign_shop.tenant.is_active = False
        people.foreign_shop.tenant.save()
        assert "Purchases in doubt: 3" in page(people.owner)

    @pytest.mark.parametrize(("language", "title"), [("en", "Alerts"), ("ar", "التنبيهات"), ("tr", "Uyarılar")])
    def test_speaks_three_languages(self, people: People, language: str, title: str) -> None:
        open_alerts(paused(people))
        browser = browser_of(make_person(f"p-{language}", people.shop.tenant), language)
        text = page(browser)
        assert f"<h1>{title}</h1>" in text
        assert ("takes no orders" in text) is (language == "en")
        assert ('dir="rtl"' in text) is (language == "ar")

    def test_escapes_what_others_named(self, people: People) -> None:
        values = {"shelf": "<script>alert(1)</script>", "account": 7, "count": 0}
        open_alerts(Found("stock_low", "7:abc", values, people.shop.tenant.pk))
        assert b"<script>alert(1)" not in people.viewer.get("/alerts/").content

    def test_shows_an_episode_of_a_newer_version_by_its_name(self, people: People) -> None:
        AlertEpisode.objects.create(rule="newer", subject="x", opened_at=clock.now(), last_seen_at=clock.now())
        assert "newer x" in page(people.root)


class TestTheBar:
    STOPPED = "A part of the hub has stopped."

    def test_is_not_there_while_all_loops_run(self, people: People) -> None:
        let_loops_beat(clock.now())
        assert 'class="banner"' not in page(people.viewer)

    @pytest.mark.parametrize("name", [loop.name for loop in LOOPS if loop.heartbeat != SWEEP])
    def test_tells_each_loop_that_is_silent_since_when(self, people: People, stage: Stage, name: str) -> None:
        let_loops_beat(clock.now())
        stage.traveller.shift(BY_NAME[name].silent_after_s() + 1)
        for loop in LOOPS:
            if loop.name != name:
                heartbeats.beat(loop.heartbeat, clock.now())
        for path in ("/", "/alerts/", "/providers/", "/wallets/"):
            text = page(people.viewer, path)
            assert self.STOPPED in text
            assert "last heard of at" in text
            assert text.count('class="silent"') == 1
            assert "2026-03-02T09:00:00" in text

    def test_names_the_sweep_first_and_the_others_with_it(self, people: People, stage: Stage) -> None:
        let_loops_beat(clock.now())
        stage.traveller.shift(61)
        text = page(people.viewer)
        assert "Nobody is sending and asking." in text
        assert text.count('class="silent"') == 4
        assert self.STOPPED not in text
