"""News that only sets the next time: written for many orders together, it leaves what one by one leaves."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

import pytest
from django.apps import apps as registry
from django.db import connection, models, transaction
from django.test.utils import CaptureQueriesContext

from apps.common import clock
from apps.orders import outcomes, services, unchanged
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order, OrderUnit
from apps.orders.news import News
from apps.providers.actions import Why
from apps.providers.contract import Code, Outcome, Result
from apps.providers.models import Integration
from tests.factories import Shop, Stage, make_integration, make_shop
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.test_polling import teach

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

NUMBER = re.compile(r"(?<=evidence )\d+")
OURS = ("orders", "journal", "wallet", "providers")
RAW = b"OK|1| |islemde"


class Crowd:
    """Copies of one accepted order that was asked about before, each changed in its own way, and news about them."""

    def __init__(self, shop: Shop, pattern: Order) -> None:
        self.shop = shop
        self.order = pattern
        self.attempt = Attempt.objects.get(order=pattern)
        self.unit = OrderUnit.objects.get(order=pattern)
        self.row = DueCheck.objects.get(order=pattern)
        self.news: list[News] = []

    def add(self, outcome: Outcome, change: Callable[[Crowd, dict[str, Any]], None], **news: Any) -> int:
        """One order more; returns its id."""
        made: dict[str, Any] = {
            "order": copy.copy(self.order),
            "unit": copy.copy(self.unit),
            "attempt": copy.copy(self.attempt),
        }
        made |= {"row": copy.copy(self.row), "link": AttemptUnit(holds=True), "said": {}, "told": {}}
        number = len(self.news)
        made["order"].idempotency_key = f"copy-{number}"
        made["attempt"].reference = f"{10**17 + number}"
        change(self, made)
        order, attempt, unit, row = made["order"], made["attempt"], made["unit"], made["row"]
        for one, links in ((order, {}), (unit, {"order": order}), (attempt, {"order": order})):
            save_new(one, **links)
        save_new(made["link"], attempt=attempt, unit=unit)
        save_new(row, order=order, attempt=attempt)
        result = Result(outcome, attempt.reference, **({"raw": RAW} | made["said"]))
        told = {"verb": "status", "fence": row.fence, "send_no": attempt.send_no} | made["told"] | news
        item = News(attempt.pk, order.pk, told.pop("verb"), result, None, clock.now(), **told)
        if not made.get("is_new"):
            DueCheck.objects.filter(pk=row.pk).update(digest=item.class_digest(), same_since=self.row.same_since)
        self.news.append(item)
        return int(order.pk)


def save_new(one: models.Model, **links: Any) -> None:
    one.pk = None
    one._state.adding = True
    for name, value in links.items():
        setattr(one, name, value)
    one.save()


# --- what may be different about an order


def as_ever(crowd: Crowd, made: dict[str, Any]) -> None:
    """Nothing is."""


def is_new(crowd: Crowd, made: dict[str, Any]) -> None:
    made["is_new"], made["row"].digest = True, "before"


def was_claimed_anew(crowd: Crowd, made: dict[str, Any]) -> None:
    made["told"] = {"fence": made["row"].fence - 1}


def waits_for_a_person(crowd: Crowd, made: dict[str, Any]) -> None:
    made["row"].next_at += timedelta(days=1)
    made["told"] = {"fence": made["row"].fence - 1}


def is_past_its_deadline(crowd: Crowd, made: dict[str, Any]) -> None:
    made["order"].deadline_at = clock.now() - timedelta(seconds=1)


def is_in_review(crowd: Crowd, made: dict[str, Any]) -> None:
    made["order"].status, made["order"].reason = "review", "waiting:deadline"


def has_a_reason(crowd: Crowd, made: dict[str, Any]) -> None:
    made["order"].reason = "waiting:something"


def is_told_as_sent(crowd: Crowd, made: dict[str, Any]) -> None:
    made["order"].external_status = "sent"


def failed_once(crowd: Crowd, made: dict[str, Any]) -> None:
    made["attempt"].failed_seen_at = clock.now() - timedelta(seconds=70)


def was_looked_for(crowd: Crowd, made: dict[str, Any]) -> None:
    made["attempt"].not_found, made["attempt"].not_found_since = 1, clock.now() - timedelta(seconds=70)


def is_in_doubt(crowd: Crowd, made: dict[str, Any]) -> None:
    made["attempt"].state, made["row"].kind = "in_doubt", "resolve"
    made["told"] = {"verb": "find"}


def is_delivered_without_code(crowd: Crowd, made: dict[str, Any]) -> None:
    made["attempt"].state, made["row"].kind = "delivered", "code"
    made["attempt"].delivered_at = clock.now() - timedelta(seconds=70)
    made["order"].reason = "waiting:pin"


def let_its_unit_go(crowd: Crowd, made: dict[str, Any]) -> None:
    made["link"].holds = False


def has_a_code(crowd: Crowd, made: dict[str, Any]) -> None:
    made["said"] = {"codes": (Code(f"PIN-{made['attempt'].reference}"),), "raw": RAW}


def tells_a_cost(crowd: Crowd, made: dict[str, Any]) -> None:
    made["attempt"].cost_micros = None
    made["said"] = {"cost": 29, "currency": "TRY", "raw": RAW}


def tells_another_id(crowd: Crowd, made: dict[str, Any]) -> None:
    made["said"] = {"provider_id": "another", "raw": RAW}


def has_no_reference(crowd: Crowd, made: dict[str, Any]) -> None:
    made["order"].provider_referans = ""


def failed_before(crowd: Crowd, made: dict[str, Any]) -> None:
    made["row"].errors = 3


def was_not_asked(crowd: Crowd, made: dict[str, Any]) -> None:
    made["told"] = {"barred": Why.TOO_SOON}


def is_learned(crowd: Crowd, made: dict[str, Any]) -> None:
    made["attempt"].integration = Integration.objects.get(options__polling="learned")
    made["row"].lane = made["attempt"].integration.pk


WAYS = [value for value in list(globals().values()) if getattr(value, "__annotations__", {}).get("crowd") == "Crowd"]
SOME = (Outcome.ACCEPTED, Outcome.UNKNOWN, Outcome.COMPLETED, Outcome.REJECTED)
SILENT = {
    (way.__name__, outcome)
    for way in (as_ever, failed_before, is_learned)
    for outcome in (Outcome.ACCEPTED, Outcome.UNKNOWN)
} | {("failed_once", Outcome.UNKNOWN), ("is_told_as_sent", Outcome.UNKNOWN)}
"""What is written together: an order as ever, in progress or without an answer."""


# --- both ways


NUMBERED = {"id", "evidence_id", "account_id", "transfer_id", "key"}
"""Columns that differ by the numbers of rows that were written anew; sealed ones differ each time."""


def rows() -> dict[str, list[str]]:
    """Every row of ours, but for what tells nothing."""
    found = {}
    for model in [model for app in OURS for model in registry.get_app_config(app).get_models()]:
        columns = [field.attname for field in model._meta.concrete_fields]
        names = [name for name in columns if name not in NUMBERED and not name.startswith("sealed")]
        told = model._default_manager.values(*names)
        found[model.__name__] = sorted(NUMBER.sub("", repr(row)) for row in told)
    return found


def left_by(news: Sequence[News]) -> dict[str, list[str]]:
    """What the tables hold after the news; nothing of it stays."""
    with transaction.atomic():
        outcomes.apply(news)
        found = rows()
        transaction.set_rollback(True)
    return found


def one_by_one(news: Sequence[News], orders: Any, draw: Any) -> list[News]:
    return list(news)


@pytest.fixture
def crowd(stage: Stage) -> Crowd:
    """A shop with an order that was accepted, and asked about twice."""
    shop = make_shop(stage.url)
    teach(shop, 40)
    make_integration(shop.tenant, stage.url, polling="learned")  # type: ignore[arg-type]
    order = stage.order(shop, final="never")
    assert services.try_auto_dispatch(order.pk).said == "accepted"
    attempt, row = Attempt.objects.get(), DueCheck.objects.get()
    for _ in range(2):
        said = Result(Outcome.ACCEPTED, attempt.reference, raw=RAW)
        outcomes.apply([News(attempt.pk, order.pk, "status", said, None, stage.move(60), row.fence, 1)])
    stage.move(200)
    return Crowd(shop, Order.objects.get())


class TestNewsOfManyOrders:
    def test_leaves_what_it_leaves_one_by_one(self, crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
        names = {crowd.add(outcome, way): (way.__name__, outcome) for way in WAYS for outcome in SOME}
        together = left_by(crowd.news)
        with transaction.atomic():
            orders = outcomes.lock_orders({item.order_id for item in crowd.news})
            rest = {item.order_id for item in unchanged.put_off(crowd.news, orders, lambda: 0.5)}
            transaction.set_rollback(True)
        monkeypatch.setattr(unchanged, "put_off", one_by_one)
        assert left_by(crowd.news) == together
        assert {name for pk, name in names.items() if pk not in rest} == SILENT

    def test_takes_as_many_statements_for_many_as_for_one(self, crowd: Crowd) -> None:
        for _ in range(150):
            crowd.add(Outcome.ACCEPTED, as_ever)
        counts = []
        for part in (crowd.news[:1], crowd.news):
            with CaptureQueriesContext(connection) as captured:
                assert outcomes.apply(part) == []
            counts.append(len(captured))
        assert counts[0] == counts[1] <= 12

    def test_about_one_order_twice_is_left_to_the_door(self, crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
        crowd.add(Outcome.ACCEPTED, as_ever)
        twice = [*crowd.news, *crowd.news]
        together = left_by(twice)
        monkeypatch.setattr(unchanged, "put_off", one_by_one)
        assert left_by(twice) == together

    def test_of_a_row_claimed_in_between_is_dropped(self, crowd: Crowd, monkeypatch: pytest.MonkeyPatch) -> None:
        order_id = crowd.add(Outcome.ACCEPTED, as_ever)
        real = unchanged._write

        def overtaken(*args: Any) -> None:
            DueCheck.objects.filter(order=order_id).update(fence=100)
            real(*args)

        monkeypatch.setattr(unchanged, "_write", overtaken)
        before = DueCheck.objects.get(order=order_id)
        outcomes.apply(crowd.news)
        row = DueCheck.objects.get(order=order_id)
        assert (row.fence, row.next_at, row.asked, row.asked_at) == (100, before.next_at, before.asked, clock.now())
