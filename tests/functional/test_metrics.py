"""`/metrics`: who may read it, what it tells of a real shop, and that no name and no secret is in it."""

from __future__ import annotations

import contextlib
import importlib
import json
import re
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from django.db import OperationalError, connection
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from apps.common import clock, kept
from apps.journal import heartbeats
from apps.journal.alerts import KINDS
from apps.ops import answers, metrics
from apps.ops.answers import SETTLES_AFTER
from apps.ops.facts import MONEY_CHECK
from apps.orders import monitoring, services
from apps.orders.models import Attempt, Evidence, Order
from apps.panel.words import REASONS
from apps.providers import breaker
from tests.factories import Stage, make_shop
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.ops_fixtures import let_loops_beat, web

__all__ = ["committed", "simulator", "stage", "web"]

pytestmark = pytest.mark.both_databases

DOCS = Path(__file__).resolve().parents[2] / "docs"
yaml: Any = importlib.import_module("yaml")  # it has no types


def scrape() -> dict[str, Metric]:
    """The families by name, as Prometheus would read them now."""
    kept.forget_all()
    text = metrics.exposition(clock.now()).decode()
    return {family.name: family for family in text_string_to_metric_families(text)}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float | None:
    """One sample's value; None when it is not there."""
    for family in families.values():
        for one in family.samples:
            if one.name == sample and one.labels == labels:
                return float(one.value)
    return None


@pytest.mark.django_db
class TestReading:
    def test_is_for_this_machine_where_no_token_is_set(self, web: Client) -> None:
        assert web.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 200
        assert web.get("/metrics", REMOTE_ADDR="::1").status_code == 200
        assert web.get("/metrics", REMOTE_ADDR="10.0.0.7").status_code == 403

    @pytest.mark.parametrize("header", ["X-Forwarded-For", "X-Real-Ip", "Forwarded"])
    def test_is_not_for_whom_a_proxy_on_this_machine_lets_in(self, web: Client, header: str) -> None:
        assert web.get("/metrics", REMOTE_ADDR="127.0.0.1", headers={header: "127.0.0.1"}).status_code == 403

    @override_settings(METRICS_TOKEN="long-token")
    def test_is_for_the_token_alone_where_one_is_set(self, web: Client) -> None:
        assert (
            web.get("/metrics", headers={"Authorization": "Bearer long-token"}, REMOTE_ADDR="10.0.0.7").status_code
            == 200
        )
        assert web.get("/metrics", headers={"Authorization": "Bearer other"}).status_code == 401
        assert web.get("/metrics", headers={"Authorization": "Bearer "}).status_code == 401
        assert web.get("/metrics", REMOTE_ADDR="127.0.0.1").status_code == 401

    def test_is_text_that_nobody_keeps(self, web: Client) -> None:
        answer = web.get("/metrics")
        assert answer.headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert "no-store" in answer.headers["Cache-Control"]
        assert web.post("/metrics").status_code == 405

    def test_asks_the_database_at_most_every_five_seconds(self, web: Client) -> None:
        now = clock.now()
        first = metrics.exposition(now)
        with CaptureQueriesContext(connection) as queries:
            assert metrics.exposition(now + timedelta(seconds=4.9)) == first
        assert len(queries) == 0
        with CaptureQueriesContext(connection) as queries:
            metrics.exposition(now + timedelta(seconds=5))
        assert 0 < len(queries) <= 25

    def test_tells_when_the_database_is_gone(self, web: Client, monkeypatch: pytest.MonkeyPatch) -> None:
        def refuse(now: object) -> None:
            raise OperationalError("secret-host")

        monkeypatch.setattr(metrics, "load_facts", refuse)
        families = scrape()
        assert value(families, "hub_database_up") == 0
        assert set(families) == {"hub_build_info", "hub_database_up"}


class TestTheNumbers:
    def test_of_orders_are_those_of_the_queue(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        stage.order(shop)
        doubted = stage.order(shop, place="unlisted_text")
        services.try_auto_dispatch(doubted.pk)
        stage.traveller.shift(70)
        told = scrape()
        assert value(told, "hub_due_rows", kind="dispatch") == 1
        assert value(told, "hub_due_oldest_seconds", kind="dispatch") == 70
        assert value(told, "hub_due_rows", kind="resolve") == 1
        assert value(told, "hub_due_rows", kind="check") == 0
        assert value(told, "hub_open_orders", status="pending") == 1
        assert value(told, "hub_open_orders", status="processing") == 1
        assert value(told, "hub_in_doubt") == 1
        assert value(told, "hub_in_doubt_oldest_seconds") == 70
        assert value(told, "hub_in_doubt_money", currency="TRY") == 35

    def test_of_reviews_are_told_by_reason(self, stage: Stage) -> None:
        order = stage.order(make_shop(stage.url, review_after_s=60), place="unlisted_text")
        services.try_auto_dispatch(order.pk)
        stage.run_until_quiet(600)
        told = scrape()
        assert value(told, "hub_review_orders", reason="waiting:in_doubt") == 1
        order.refresh_from_db()
        age = (clock.now() - order.updated_at).total_seconds()
        assert value(told, "hub_review_oldest_seconds", reason="waiting:in_doubt") == age

    def test_of_a_reason_that_is_in_no_table_are_put_together(self, stage: Stage) -> None:
        order = stage.order(make_shop())
        Order.objects.filter(pk=order.pk).update(status="review", reason="player-1 wrote this")
        told = scrape()
        reasons = {sample.labels["reason"] for sample in told["hub_review_orders"].samples}
        assert reasons == {"other"}
        assert reasons <= {*REASONS, "other"}

    def test_of_accounts_are_told_by_number(self, stage: Stage) -> None:
        account = make_shop().integration
        for _ in range(breaker.OPENS_AFTER):
            breaker.note(account.pk, [False], clock.now())
        labels = {"account": str(account.pk), "kind": "znet"}
        assert value(scrape(), "hub_breaker_state", **labels) == 2
        stage.traveller.shift(15)
        assert value(scrape(), "hub_breaker_state", **labels) == 1
        breaker.note(account.pk, [True], clock.now())
        assert value(scrape(), "hub_breaker_state", **labels) == 0

    def test_of_accounts_stop_at_two_hundred(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(metrics, "MOST_ACCOUNTS", 2)
        for _ in range(3):
            make_shop()
        assert len(scrape()["hub_breaker_state"].samples) == 2

    def test_of_loops_and_the_last_recount_are_ages(self, stage: Stage) -> None:
        let_loops_beat(clock.now())
        heartbeats.beat(MONEY_CHECK, clock.now(), problems=3)
        stage.traveller.shift(9)
        told = scrape()
        assert value(told, "hub_loop_silent_seconds", loop="beat") == 9
        assert value(told, "hub_schedule_disabled") == 0
        assert value(told, "hub_money_problems") == 3
        assert value(told, "hub_money_checked_seconds") == 9

    def test_of_the_last_sweep_is_the_longest_wait_for_a_question(self, stage: Stage) -> None:
        assert value(scrape(), "hub_asked_late_seconds") is None
        order = stage.order(make_shop(stage.url), complete_after_s=3600)
        services.try_auto_dispatch(order.pk)
        stage.move(65)  # the first question is due after 60 s
        monitoring.sweep()
        assert value(scrape(), "hub_asked_late_seconds") == 5.0

    @pytest.mark.postgres
    def test_of_a_transaction_that_stays_open_is_its_age(self, stage: Stage) -> None:
        with second_connection() as cursor:
            cursor.execute("SELECT 1")
            age = value(scrape(), "hub_oldest_transaction_seconds")
        assert age is not None
        assert value(scrape(), "hub_oldest_transaction_seconds") == 0


@contextlib.contextmanager
def second_connection() -> Iterator[Any]:
    """A transaction beside that of the test, open until the end of the block."""
    other = psycopg2.connect(**{**connection.get_connection_params(), "cursor_factory": None})
    try:
        with other.cursor() as cursor:
            yield cursor
    finally:
        other.close()


class TestTheAnswers:
    def test_are_counted_once_when_they_are_settled(self, stage: Stage) -> None:
        answers.count_new(clock.now())
        shop = make_shop(stage.url)
        for order in (stage.order(shop), stage.order(shop), stage.order(shop, place="unlisted_text")):
            services.try_auto_dispatch(order.pk)
        answers.count_new(clock.now())
        assert value(scrape(), "hub_provider_answers_total", kind="znet", verb="place", outcome="accepted") is None
        stage.traveller.shift(SETTLES_AFTER.total_seconds())
        for _ in range(2):
            answers.count_new(clock.now())
        told = scrape()
        assert value(told, "hub_provider_answers_total", kind="znet", verb="place", outcome="accepted") == 2
        assert value(told, "hub_provider_answers_total", kind="znet", verb="place", outcome="unknown") == 1
        assert value(told, "hub_provider_latency_seconds_count", kind="znet", verb="place") == 3
        assert value(told, "hub_provider_latency_seconds_bucket", kind="znet", verb="place", le="+Inf") == 3
        sums = sum(Evidence.objects.values_list("latency_ms", flat=True)) / 1000
        assert value(told, "hub_provider_latency_seconds_sum", kind="znet", verb="place") == pytest.approx(sums)

    def test_of_before_are_not_counted(self, stage: Stage) -> None:
        services.try_auto_dispatch(stage.order(make_shop(stage.url)).pk)
        stage.traveller.shift(60)
        answers.count_new(clock.now())
        assert dict(answers.load_totals().answers) == {}

    def test_never_become_fewer_when_two_count_at_once(self, stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
        answers.count_new(clock.now())
        shop = make_shop(stage.url)
        services.try_auto_dispatch(stage.order(shop).pk)
        stage.traveller.shift(60)
        settled = answers._settled

        def overtaken(after_id: int, now: datetime) -> list[Evidence]:
            found = settled(after_id, now)
            monkeypatch.setattr(answers, "_settled", settled)
            services.try_auto_dispatch(stage.order(shop).pk)
            stage.traveller.shift(60)
            answers.count_new(clock.now())  # somebody else, who sees more
            return found

        monkeypatch.setattr(answers, "_settled", overtaken)
        answers.count_new(clock.now())
        assert sum(answers.load_totals().answers.values()) == 2

    def test_that_mean_nothing_are_noted_for_their_account(self, stage: Stage) -> None:
        answers.count_new(clock.now())
        shop = make_shop(stage.url)
        order = stage.order(shop, status_faults=["unknown_word"], complete_after_s=600)
        services.try_auto_dispatch(order.pk)
        stage.move(61)
        monitoring.sweep()
        asked_at = clock.now()
        stage.traveller.shift(60)
        answers.count_new(clock.now())
        assert answers.load_totals().odd == {shop.integration.pk: asked_at.timestamp()}

    def test_survive_being_stored(self, stage: Stage) -> None:
        totals = answers.Totals(7, {("znet", "place", "accepted"): 3}, {("znet", "place"): [1] * 12}, {4: 5.5})
        assert answers.Totals.read(json.loads(json.dumps(totals.stored()))) == totals


class TestTheText:
    def test_holds_no_name_no_code_and_no_secret(self, stage: Stage) -> None:
        shop = make_shop(stage.url)
        order = stage.order(shop)
        doubted = stage.order(shop, place="unlisted_text")
        services.try_auto_dispatch(doubted.pk)
        stage.run_until_quiet(600)
        order.refresh_from_db()
        kept.forget_all()
        text = metrics.exposition(clock.now()).decode()
        attempt = Attempt.objects.filter(order=order).get()
        secrets = (
            shop.tenant.name,
            shop.tenant.slug,
            shop.customer.name,
            shop.package.code,
            shop.integration.name,
            order.user_identifier,
            attempt.reference,
            "demo-secret",
            *stage.purchases(order)[0]["pins"],
        )
        assert [word for word in secrets if word in text] == []

    def test_has_labels_of_fixed_tables_alone(self, stage: Stage) -> None:
        labels = {label for family in scrape().values() for sample in family.samples for label in sample.labels}
        known = {"loop", "kind", "status", "currency", "reason", "account", "verb", "outcome", "le", "rule", "severity"}
        assert labels <= known | {"version", "python", "database"}


# --- the examples in docs/


def names_in(expression: str) -> set[str]:
    """The metrics that an expression reads."""
    return set(re.findall(r"\bhub_[a-z_]+\b", expression))


def exported() -> set[str]:
    """Every name that a scrape of a busy hub can give, with the endings that Prometheus sees."""
    source = (Path(metrics.__file__)).read_text("utf-8")
    names = set(re.findall(r'"(hub_[a-z_]+)"', source))
    endings = {"hub_provider_answers": ("_total",), "hub_provider_latency_seconds": ("_bucket", "_sum", "_count")}
    return {name + end for name in names for end in endings.get(name, ("",))}


class TestTheExamples:
    rules = yaml.safe_load((DOCS / "prometheus-rules.yml").read_text("utf-8"))
    board = json.loads((DOCS / "grafana-board.json").read_text("utf-8"))

    def test_of_rules_read_metrics_that_exist(self) -> None:
        rules = [rule for group in self.rules["groups"] for rule in group["rules"]]
        used = {name for rule in rules for name in names_in(rule["expr"])}
        assert len(rules) >= 8
        assert used - exported() == set()
        assert all({"alert", "expr", "labels", "annotations"} <= set(rule) for rule in rules)

    def test_of_rules_say_what_to_do(self) -> None:
        links = [rule["annotations"]["runbook_url"] for group in self.rules["groups"] for rule in group["rules"]]
        pages = {link.partition("#")[0] for link in links}
        headings = [
            (page, heading.lower().replace(" ", "-"))
            for page in pages
            for heading in re.findall(r"^#+ (.+)$", (DOCS.parent / page).read_text("utf-8"), re.MULTILINE)
        ]
        assert set(links) - {f"{page}#{heading}" for page, heading in headings} == set()
        told = {link.removeprefix("docs/ALERTS.md#") for link in links}
        assert set(KINDS) - told == {"balance_low", "answers_not_understood", "webhooks_silent"}

    def test_of_the_board_read_metrics_that_exist(self) -> None:
        targets = [target for panel in self.board["panels"] for target in panel.get("targets", ())]
        used = {name for target in targets for name in names_in(target["expr"])}
        assert len(self.board["panels"]) >= 8
        assert used - exported() == set()

    def test_use_every_metric(self) -> None:
        text = (DOCS / "prometheus-rules.yml").read_text("utf-8") + (DOCS / "grafana-board.json").read_text("utf-8")
        assert exported() - names_in(text) == set()

    def test_are_exported_by_a_busy_hub(self, stage: Stage) -> None:
        """What the source names is what a scrape gives, once there is something to tell."""
        let_loops_beat(clock.now())
        heartbeats.beat(MONEY_CHECK, clock.now(), problems=0)
        families = set(scrape())
        assert {name for name in families if not name.startswith("hub_")} == set()
        expected = {re.sub("_(total|bucket|sum|count)$", "", name) for name in exported()}
        assert expected - families == set()
