"""The rules of the alerts, on made-up facts: what each finds, from when on, and what it says in each language."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django.utils import translation

from apps.journal.alerts import KINDS, Found, duration, runbook_of, say
from apps.journal.loops import LABELS, LOOPS
from apps.journal.models import AlertEpisode
from apps.ops import alerts
from apps.ops.alert_rules import RULES, Limits
from apps.ops.answers import Totals
from apps.ops.facts import NOBODY, AccountFacts, EndpointFacts, Facts, MoneyFacts, ShelfFacts, Waiting
from apps.orders.states import DueKind
from apps.providers.breaker import State

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LIMITS = Limits()

WELL = Facts(
    now=NOW,
    loops={loop.name: 1.0 for loop in LOOPS},
    due=dict.fromkeys(DueKind.values, NOBODY),
    open_orders={},
    in_doubt=NOBODY,
    at_risk={},
    reviews={},
    accounts=(AccountFacts(7, 3, "znet", State.CLOSED, None, False, False, None, False),),
    low_shelves=(),
    transaction_s=0.0,
    disabled=(),
    money=MoneyFacts(0, 60),
    events=NOBODY,
    paused_endpoints=(),
    totals=Totals(),
)


def account(**changes: Any) -> tuple[AccountFacts, ...]:
    return (replace(WELL.accounts[0], **changes),)


ACCOUNT = {"account": 7, "kind": "znet"}
SHELF = ShelfFacts(7, 3, "abc", "steam-10", 2)

TROUBLES: dict[str, tuple[dict[str, Any], dict[str, Any], Found]] = {
    "loop_silent": (
        {"loops": {**WELL.loops, "beat": 15.0}},
        {"loops": {**WELL.loops, "beat": 15.1}},
        Found("loop_silent", "beat", {"loop": "beat", "seconds": 15.1}),
    ),
    "orders_overdue": (
        {"due": {**WELL.due, "check": Waiting(4, 120.0)}},
        {"due": {**WELL.due, "check": Waiting(4, 120.1)}},
        Found("orders_overdue", "check", {"count": 4, "seconds": 120.1}),
    ),
    "in_doubt_old": (
        {"in_doubt": Waiting(2, 1800.0)},
        {"in_doubt": Waiting(2, 1800.1)},
        Found("in_doubt_old", "", {"count": 2, "seconds": 1800.1}),
    ),
    "review_waiting": (
        {"reviews": {"waiting:deadline": Waiting(1, 14400.0)}},
        {"reviews": {"waiting:deadline": Waiting(1, 14400.1)}},
        Found("review_waiting", "waiting:deadline", {"count": 1, "reason": "waiting:deadline", "seconds": 14400.1}),
    ),
    "breaker_open": (
        {"accounts": account(breaker=State.OPEN, open_s=120.0)},
        {"accounts": account(breaker=State.OPEN, open_s=120.1)},
        Found("breaker_open", "7", {**ACCOUNT, "seconds": 120.1}, 3),
    ),
    "account_paused": (
        {"accounts": account(is_paused=False)},
        {"accounts": account(is_paused=True)},
        Found("account_paused", "7", ACCOUNT, 3),
    ),
    "balance_low": (
        {"accounts": account(is_low=False)},
        {"accounts": account(is_low=True)},
        Found("balance_low", "7", ACCOUNT, 3),
    ),
    "answers_not_understood": (
        {"accounts": account(odd_s=3600.0)},
        {"accounts": account(odd_s=3599.9)},
        Found("answers_not_understood", "7", ACCOUNT, 3),
    ),
    "webhooks_silent": (
        {"accounts": account(is_hook_silent=False)},
        {"accounts": account(is_hook_silent=True)},
        Found("webhooks_silent", "7", ACCOUNT, 3),
    ),
    "books_wrong": (
        {"money": None},
        {"money": MoneyFacts(2, 60)},
        Found("books_wrong", "", {"count": 2}),
    ),
    "transaction_long": (
        {"transaction_s": 60.0},
        {"transaction_s": 60.1},
        Found("transaction_long", "", {"seconds": 60.1}),
    ),
    "schedule_disabled": (
        {"disabled": ()},
        {"disabled": ("heartbeat",)},
        Found("schedule_disabled", "heartbeat", {"task": "heartbeat"}),
    ),
    "stock_low": (
        {"low_shelves": ()},
        {"low_shelves": (SHELF,)},
        Found("stock_low", "7:abc", {"shelf": "steam-10", "account": 7, "count": 2}, 3),
    ),
    "events_late": (
        {"events": Waiting(4, 300.0)},
        {"events": Waiting(4, 300.1)},
        Found("events_late", "", {"count": 4, "seconds": 300.1}),
    ),
    "endpoint_paused": (
        {"paused_endpoints": ()},
        {"paused_endpoints": (EndpointFacts(5, 3, 9),)},
        Found("endpoint_paused", "5", {"endpoint": 5, "customer": 9}, 3),
    ),
}
"""By rule: facts that are just well enough, facts that are not, and what is found then."""


def found_in(facts: Facts) -> list[Found]:
    return alerts.apply_rules(facts, LIMITS)[0]


class TestTheTables:
    def test_have_the_same_names(self) -> None:
        assert [rule.__name__ for rule in RULES] == list(KINDS) == list(TROUBLES)

    def test_have_words_for_every_loop(self) -> None:
        assert {loop.name for loop in LOOPS} <= set(LABELS)

    def test_have_a_heading_in_the_runbook_for_every_rule(self) -> None:
        page = Path(__file__).resolve().parents[2] / "docs" / "ALERTS.md"
        headings = re.findall(r"^### (\w+)$", page.read_text("utf-8"), re.MULTILINE)
        assert headings == list(KINDS)
        assert runbook_of("loop_silent") == "docs/ALERTS.md#loop_silent"


class TestARule:
    def test_finds_nothing_where_all_is_well(self) -> None:
        assert found_in(WELL) == []

    @pytest.mark.parametrize("name", TROUBLES)
    def test_finds_its_trouble_from_its_limit_on(self, name: str) -> None:
        well, ill, found = TROUBLES[name]
        assert found_in(replace(WELL, **well)) == []
        assert found_in(replace(WELL, **ill)) == [found]

    @pytest.mark.parametrize(
        ("loop", "limit"), [("sweep", 60), ("worker", 60), ("beat", 15), ("worker_process", 15), ("webhooks", 120)]
    )
    def test_of_silence_knows_how_long_each_loop_may_be_silent(self, loop: str, limit: float) -> None:
        assert found_in(replace(WELL, loops={**WELL.loops, loop: limit})) == []
        assert [one.subject for one in found_in(replace(WELL, loops={**WELL.loops, loop: limit + 0.1}))] == [loop]

    def test_of_silence_says_nothing_of_a_loop_that_never_ran(self) -> None:
        assert found_in(replace(WELL, loops=dict.fromkeys(WELL.loops))) == []

    def test_of_overdue_orders_lets_late_news_wait(self) -> None:
        assert found_in(replace(WELL, due={**WELL.due, "watch": Waiting(4, 9999.0)})) == []

    def test_that_fails_hides_no_other_and_says_so(self) -> None:
        broken = replace(WELL, due=None, transaction_s=61.0)  # type: ignore[arg-type]
        found, looked_at = alerts.apply_rules(broken, LIMITS)
        assert [one.rule for one in found] == ["transaction_long"]
        assert set(KINDS) - looked_at == {"orders_overdue"}


class TestASentence:
    @pytest.mark.parametrize("language", ["en", "ar", "tr"])
    @pytest.mark.parametrize("name", TROUBLES)
    def test_has_a_place_for_every_value(self, name: str, language: str) -> None:
        found = TROUBLES[name][2]
        episode = AlertEpisode(rule=found.rule, subject=found.subject, values=found.values)
        with translation.override(language):
            text = say(episode)
        assert "%(" not in text
        for key, value in found.values.items():
            if key not in ("loop", "seconds"):
                assert str(value) in text

    def test_reads_as_a_person_would_say_it(self) -> None:
        values = {"loop": "beat", "seconds": 20.0}
        episode = AlertEpisode(rule="loop_silent", subject="beat", values=values)
        with translation.override("en"):
            expected = "“schedule (Celery Beat)” has not been heard of for 20 s. Orders wait until it runs again."
            assert say(episode) == expected

    def test_of_a_newer_version_is_told_by_its_names(self) -> None:
        assert say(AlertEpisode(rule="not_known", subject="x", values={})) == "not_known x"

    @pytest.mark.parametrize(
        ("seconds", "text"),
        [(0, "0 s"), (119.4, "119 s"), (120, "2 min"), (7199, "120 min"), (7200, "2 h"), (172_800, "2 d")],
    )
    def test_tells_times_in_whole_units(self, seconds: float, text: str) -> None:
        assert duration(seconds) == text
