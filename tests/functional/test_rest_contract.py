"""The contract of the REST door: languages, waiting times, requests in flight, and every wrong address."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import time_machine
from django.db import connection
from django.test.utils import CaptureQueriesContext
from pytest_django import Settings

from apps.api import problems
from apps.common import clock
from apps.orders.models import Order
from apps.wallet.models import Transfer
from tests.factories import standing_still
from tests.functional.test_rest_orders import (
    ORDERS,
    PUBG,
    Rest,
    disable_provider,
    nothing_written,
    problem,
    pubg_for,
    read,
    rest,
    standing,
)

__all__ = ["rest"]

both_databases = pytest.mark.both_databases

MOST_STATEMENTS = 32
"""What a new order may cost: the key, four for the limits (none with a Redis), the order; PostgreSQL locks its key."""


class TestALanguage:
    @pytest.mark.parametrize(
        ("language", "begins"),
        [("ar", "يجب أن تكون quantity"), ("tr", "'pubg-60' paketi için"), ("de", "quantity must")],
    )
    def test_is_that_of_the_caller_in_the_detail_alone(self, rest: Rest, language: str, begins: str) -> None:
        english = problem(rest.order({**PUBG, "quantity": 6}))
        told = problem(rest.order({**PUBG, "quantity": 6}, accept_language=language))
        assert told["detail"].startswith(begins)
        assert told["errors"][0]["detail"] == told["detail"]
        stable = ("type", "title", "status", "code", "retryable")
        assert [told[name] for name in stable] == [english[name] for name in stable]

    def test_is_that_of_the_caller_for_mistakes_of_form(self, rest: Rest) -> None:
        told = problem(rest.order({"package": 1, "more": 1}, accept_language="tr"))
        assert [(one["pointer"], one["detail"]) for one in told["errors"]] == [
            ("/package", "bu bir metin olmalı"),
            ("/more", "bu ad burada bilinmiyor"),
        ]

    def test_has_no_refusal_in_english_alone(self) -> None:
        """Every text that is raised for a caller goes through the catalogue."""
        apps = Path(problems.__file__).parents[1]
        files = [apps / "orders" / name for name in ("creation.py", "offers.py", "quotes.py", "repeats.py")]
        files += [path for path in (apps / "api").glob("*.py") if not path.name.startswith("client_api")]
        raised = {"BadText", "NotSellable", "PriceUnderRevision", "QuoteWithdrawn"}
        kinds = {kind.__name__ for kind in problems.ANSWERS} - raised
        plain = []
        for path in files:
            for call in ast.walk(ast.parse(path.read_text())):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") in kinds and call.args:
                    first = call.args[0]
                    if isinstance(first, ast.JoinedStr | ast.Constant):
                        plain.append(f"{path.name}:{call.lineno}")
        assert plain == []


class TestWaiting:
    @both_databases
    def test_for_a_package_is_told(self, rest: Rest) -> None:
        disable_provider()
        response = rest.order()
        assert (standing(response), response["Retry-After"]) == ((409, "package_not_sellable"), "60")

    def test_is_told_with_every_refusal_that_may_be_repeated(self) -> None:
        silent = [
            kind.__name__
            for kind, told in problems.ANSWERS.items()
            if told.is_retryable and not told.retry_after_s and kind is not problems.TooManyRequests
        ]
        assert silent == []
        assert [kind.__name__ for kind, told in problems.ANSWERS.items() if told.may_have_moved] == [
            "IdempotencyInFlight"
        ]

    def test_after_a_breakdown_is_told(self, rest: Rest, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("apps.api.orders.tell_orders", lambda orders: 1 / 0)
        assert rest.get()["Retry-After"] == "5"


@pytest.mark.postgres
class TestARequestInFlight:
    """Real threads on PostgreSQL: the first stands still before its commit while the second comes."""

    def test_is_told_to_the_second_which_writes_nothing(self, rest: Rest) -> None:
        with standing_still(lambda: Rest(rest.key).order()) as first:
            second = rest.order()
            other = rest.order({"package": "pubg-60", "fields": {"player_id": "P0001"}}, key="k-1")
            told = problem(second)
            assert standing(second) == standing(other) == (409, "idempotency_in_flight")
            assert (told["retryable"], told["money_may_have_moved"], second["Retry-After"]) == (True, True, "1")
        assert read(first[0], 201)["id"] == Order.objects.get().pk
        repeated = rest.order()
        assert (read(repeated, 201)["id"], repeated["Idempotent-Replayed"]) == (Order.objects.get().pk, "true")
        assert Transfer.objects.filter(kind="hold").count() == 1


class TestAClientReference:
    @both_databases
    def test_is_taken_for_ever_also_by_an_order_that_was_cancelled(self, rest: Rest) -> None:
        first = read(rest.order({**PUBG, "client_reference": "invoice-7"}), 201)
        read(rest.post(f"{ORDERS}/{first['id']}/cancel"))
        with nothing_written():
            response = rest.order({**pubg_for("P0002"), "client_reference": "invoice-7"}, key="k-2")
        assert standing(response) == (409, "client_reference_used")


class TestAWrongAddress:
    @pytest.mark.parametrize("path", ["/api", "/api/", "/api/v2/orders", "/api/v1", "/api/nothing?x=1"])
    def test_anywhere_under_the_api_is_a_problem(self, rest: Rest, path: str) -> None:
        for response in (rest.get(path), rest.post(path)):
            if path == "/api/v1" and response.status_code == 301:
                continue
            assert standing(response) == (404, "not_found")


class TestANewOrder:
    @both_databases
    def test_costs_no_more_statements_than_it_must(self, rest: Rest, settings: Settings) -> None:
        settings.REDIS_URL = ""
        with time_machine.travel(clock.now(), tick=False):  # what is kept for seconds is kept, on a busy machine, too
            rest.order(pubg_for("WARM01"), key="warm")
            with CaptureQueriesContext(connection) as asked:
                read(rest.order(pubg_for("WARM02"), key="counted"), 201)
        assert len(asked) == MOST_STATEMENTS + (connection.vendor == "postgresql")
