"""The REST door beyond placing and reading an order: taking it back, notes, events, many at once, packages, wallet."""

from __future__ import annotations

import ast
import inspect
import json
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from django.db import connection

from apps.accounts.keys import issue_key
from apps.accounts.models import Customer, Tenant
from apps.api.bulk import MOST_LINES
from apps.api.wallet import TOLD_CHANGES
from apps.catalog.models import InputField, Package, PackagePrice
from apps.common import clock
from apps.common.money import Money
from apps.orders import machine, notes
from apps.orders.models import Attempt, AttemptUnit, DueCheck, Order, OrderEvent, OrderNote
from apps.orders.services import try_auto_dispatch
from apps.orders.states import ExternalStatus, OrderStatus
from apps.providers.models import Integration
from apps.wallet import ledger
from tests.factories import Stage, check_invariants, make_customer, make_shop, order_from, sums_of
from tests.functional.test_rest_orders import (
    BALANCE,
    ORDERS,
    PRICE,
    PUBG,
    Rest,
    balance_of,
    completed_order,
    demo_at,
    nothing_written,
    problem,
    pubg_for,
    put,
    read,
    rest,
    standing,
)

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

__all__ = ["rest"]

both_databases = pytest.mark.both_databases


def placed(rest: Rest, player: str = "P0001") -> Order:
    """A new order of the caller."""
    return Order.objects.get(pk=read(rest.order(pubg_for(player), key=f"k-{player}"), 201)["id"])


def cancel(rest: Rest, order: Order) -> Response:
    return rest.post(f"{ORDERS}/{order.pk}/cancel")


def race(*acts: Callable[[], Any]) -> list[Any]:
    """What each returns when all begin at once."""
    start = threading.Barrier(len(acts))

    def run(act: Callable[[], Any]) -> Any:
        try:
            start.wait(60)
            return act()
        finally:
            connection.close()

    with ThreadPoolExecutor(len(acts)) as pool:
        return list(pool.map(run, acts))


class TestCancelling:
    @both_databases
    def test_gives_the_whole_price_back_and_leaves_nothing_to_send(self, rest: Rest, reseller: Customer) -> None:
        order = placed(rest)
        told = read(cancel(rest, order))
        assert (told["status"], told["external_status"], told["held"]) == ("cancelled", "not_sent", False)
        assert balance_of(reseller) == BALANCE
        assert sums_of(order) == {"hold": PRICE, "release": PRICE}
        assert not DueCheck.objects.filter(order=order).exists()
        assert not try_auto_dispatch(order.pk).is_sent
        event = OrderEvent.objects.get(order=order, kind="cancelled_by_customer")
        assert event.actor == rest.key.partition(".")[0]
        check_invariants()

    def test_twice_changes_nothing_more(self, rest: Rest, reseller: Customer) -> None:
        order = placed(rest)
        first = read(cancel(rest, order))
        with nothing_written():
            assert read(cancel(rest, order)) == first
        assert balance_of(reseller) == BALANCE

    @both_databases
    @pytest.mark.parametrize("place", ["accept", "unlisted_text"])
    def test_comes_too_late_once_it_was_sent(self, stage: Stage, place: str) -> None:
        rest = demo_at(stage)
        if place != "accept":
            stage.simulator.set_fate(recipient="CANCEL1", place=place)
        order = placed(rest, "CANCEL1")
        assert try_auto_dispatch(order.pk).is_sent
        with nothing_written():
            assert standing(cancel(rest, order)) == (409, "order_not_cancellable")
        assert sums_of(order) == {"hold": PRICE}

    @both_databases
    def test_is_refused_while_any_attempt_may_have_left(self, stage: Stage) -> None:
        """The order is pending again after a refusal: it was sent once, so it is no longer the customer's alone."""
        rest = demo_at(stage)
        order = placed(rest, "CANCEL2")
        assert try_auto_dispatch(order.pk).is_sent
        Attempt.objects.filter(order=order).update(state="refused")
        AttemptUnit.objects.filter(unit__order=order).update(holds=False)
        Order.objects.filter(pk=order.pk).update(status="pending")
        assert standing(cancel(rest, order)) == (409, "order_not_cancellable")

    @both_databases
    def test_is_possible_after_an_attempt_that_never_left(self, stage: Stage) -> None:
        rest = demo_at(stage)
        Integration.objects.update(base_url="http://127.0.0.1:9")
        order = placed(rest, "CANCEL3")
        try_auto_dispatch(order.pk)
        order.refresh_from_db()
        assert (order.status, Attempt.objects.get().state) == ("pending", "not_sent")
        assert read(cancel(rest, order))["status"] == "cancelled"
        assert balance_of(order.customer) == BALANCE
        check_invariants(stage)

    def test_of_a_foreign_order_finds_none(self, rest: Rest) -> None:
        foreign = order_from(make_shop())
        assert standing(cancel(rest, foreign)) == (404, "order_not_found")
        assert OrderStatus(Order.objects.get(pk=foreign.pk).status) is OrderStatus.PENDING

    @both_databases
    def test_and_sending_at_once_do_only_one_of_both(self, stage: Stage) -> None:
        rest = demo_at(stage)
        for n in range(4):
            order = placed(rest, f"RACE{n}")
            answers = race(partial(try_auto_dispatch, order.pk), partial(cancel, rest, order))
            order.refresh_from_db()
            is_cancelled = order.status == OrderStatus.CANCELLED
            assert answers[1].status_code == (200 if is_cancelled else 409)
            assert len(stage.purchases(order)) == (0 if is_cancelled else 1)


class TestNotes:
    @both_databases
    def test_are_kept_in_their_order_and_told_to_operators(self, rest: Rest) -> None:
        order = placed(rest)
        first = read(rest.post(f"{ORDERS}/{order.pk}/notes", {"text": "لطفا hızlı 🎮"}), 201)
        second = read(rest.post(f"{ORDERS}/{order.pk}/notes", {"text": "thanks"}), 201)
        assert first["text"] == "لطفا hızlı 🎮"
        assert read(rest.get(f"{ORDERS}/{order.pk}/notes")) == {"notes": [first, second]}
        assert [event.data["why"] for event in OrderEvent.objects.filter(kind="note_written").order_by("pk")] == [
            first["text"],
            "thanks",
        ]

    @pytest.mark.parametrize("text", ["", "a" * 501, "two\nlines", "a\u202eb", 5, None])
    def test_that_cannot_be_kept_are_refused(self, rest: Rest, text: object) -> None:
        order = placed(rest)
        with nothing_written():
            response = rest.post(f"{ORDERS}/{order.pk}/notes", {"text": text})
        assert standing(response) == (422, "request_invalid")

    def test_end_at_their_number(self, rest: Rest) -> None:
        order = placed(rest)
        OrderNote.objects.bulk_create(
            OrderNote(order=order, text=f"{n}", actor="x", created_at=clock.now()) for n in range(notes.MOST)
        )
        with nothing_written():
            response = rest.post(f"{ORDERS}/{order.pk}/notes", {"text": "one more"})
        assert standing(response) == (409, "notes_full")

    def test_of_a_foreign_order_are_nobodys(self, rest: Rest) -> None:
        foreign = order_from(make_shop())
        assert standing(rest.post(f"{ORDERS}/{foreign.pk}/notes", {"text": "x"})) == (404, "order_not_found")
        assert standing(rest.get(f"{ORDERS}/{foreign.pk}/notes")) == (404, "order_not_found")
        assert not OrderNote.objects.exists()

    @both_databases
    def test_stay_as_they_were_written(self, rest: Rest) -> None:
        from django.db import DatabaseError, transaction

        read(rest.post(f"{ORDERS}/{placed(rest).pk}/notes", {"text": "as it was"}), 201)
        with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
            OrderNote.objects.update(text="changed")


def events_of(rest: Rest, order: Order) -> list[tuple[str, str]]:
    told = read(rest.get(f"{ORDERS}/{order.pk}/events"))["events"]
    return [(event["event"], event["status"]) for event in told]


class TestEvents:
    @both_databases
    def test_tell_the_way_of_an_order_and_no_supplier(self, stage: Stage) -> None:
        rest = demo_at(stage)
        order = completed_order(stage, rest, "EVENTS1")
        rest.reveal(order.pk)
        assert events_of(rest, order) == [
            ("created", "pending"),
            ("status_changed", "processing"),
            ("status_changed", "completed"),
            ("codes_revealed", "completed"),
        ]
        body = rest.get(f"{ORDERS}/{order.pk}/events").content.decode()
        hidden = [Integration.objects.get().name, Attempt.objects.get().reference, "znet", "evidence", "reason"]
        assert [word for word in hidden if word in body] == []

    def test_do_not_tell_what_the_shops_people_do(self, rest: Rest) -> None:
        order = placed(rest)
        machine.record_story(order, "codes_revealed", "panel", clock.now(), actor="omar", data={"codes": 1})
        machine.record_story(order, "dispatch_refused", "dispatch", clock.now(), data={"why": "provider_paused"})
        assert events_of(rest, order) == [("created", "pending")]

    def test_call_a_review_processing(self, rest: Rest) -> None:
        order = placed(rest)
        put(order, OrderStatus.REVIEW, ExternalStatus.UNKNOWN, "waiting:in_doubt")
        machine.record_story(order, "in_doubt", "place", clock.now())
        assert events_of(rest, order)[-1] == ("status_changed", "processing")


def bulk(rest: Rest, *lines: object) -> Response:
    body = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    return rest.post(f"{ORDERS}/bulk", body, content_type="application/x-ndjson")


def line_for(player: str, **more: object) -> dict[str, object]:
    return {**pubg_for(player), "idempotency_key": f"bulk-{player}", **more}


class TestManyOrders:
    @both_databases
    def test_stand_alone_line_by_line(self, rest: Rest, reseller: Customer) -> None:
        response = bulk(
            rest,
            line_for("B001"),
            b"{not json",
            line_for("B002", quantity=6),
            line_for("B003", pack="x"),
            pubg_for("B004"),
            line_for("B005", idempotency_key="two words"),
            b'{"package": "pubg\\u0000", "idempotency_key": "k"}',
            line_for("B006"),
            line_for("B001"),
        )
        results = read(response)["results"]
        told = [(one["line"], one["status"], (one["problem"] or {}).get("code"), one["replayed"]) for one in results]
        assert told == [
            (1, 201, None, False),
            (2, 400, "json_invalid", False),
            (3, 422, "quantity_not_allowed", False),
            (4, 422, "request_invalid", False),
            (5, 422, "request_invalid", False),
            (6, 400, "idempotency_key_invalid", False),
            (7, 422, "text_invalid", False),
            (8, 201, None, False),
            (9, 201, None, True),
        ]
        assert results[8]["order"]["id"] == results[0]["order"]["id"]
        assert results[3]["problem"]["errors"][0]["pointer"] == "/pack"
        assert results[4]["problem"]["errors"][0]["pointer"] == "/idempotency_key"
        assert (Order.objects.count(), balance_of(reseller)) == (2, BALANCE - 2 * PRICE)

    def test_that_break_here_may_have_moved_money_and_spoil_no_other(
        self, rest: Rest, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from apps.common import checkpoints

        crashes = iter([True, False])

        def crash(name: str) -> None:
            if name == "create.after_commit" and next(crashes):
                raise RuntimeError("crash")

        checkpoints.set_hook(crash)
        try:
            results = read(bulk(rest, line_for("B001"), line_for("B002")))["results"]
        finally:
            checkpoints.set_hook(None)
        assert [one["status"] for one in results] == [500, 201]
        assert results[0]["problem"]["money_may_have_moved"] is True
        assert results[0]["idempotency_key"] == "bulk-B001"
        assert read(bulk(rest, line_for("B001")))["results"][0]["replayed"] is True

    def test_have_a_bounded_number(self, rest: Rest) -> None:
        with nothing_written():
            assert standing(bulk(rest, *[b"{}"] * (MOST_LINES + 1))) == (422, "lines_not_allowed")
            empty = rest.client.post(
                f"{ORDERS}/bulk",
                headers={"Authorization": f"Bearer {rest.key}"},
                CONTENT_TYPE="application/x-ndjson",
                CONTENT_LENGTH="0",
            )
            assert standing(empty) == (422, "lines_not_allowed")

    def test_are_announced_as_lines(self, rest: Rest) -> None:
        with nothing_written():
            response = rest.post(f"{ORDERS}/bulk", line_for("B001"))
        assert standing(response) == (415, "content_type_unsupported")

    def test_have_a_bounded_size(self, rest: Rest) -> None:
        assert standing(bulk(rest, b" " * (64 * 1024 + 1))) == (413, "body_too_large")


def packages(rest: Rest, query: str = "", **headers: str) -> dict[str, dict[str, Any]]:
    told = read(rest.get(f"/api/v1/packages{query}", **headers))
    return {one["package"]: one for one in told["packages"]}


class TestPackages:
    @both_databases
    def test_have_the_callers_prices_and_their_fields(self, rest: Rest) -> None:
        told = packages(rest)["pubg-60"]
        field = InputField.objects.get(product__packages__code="pubg-60")
        assert told == {
            "package": "pubg-60",
            "name": "60 UC",
            "product_name": "PUBG Mobile UC",
            "needs_code": True,
            "available": True,
            "currency": "TRY",
            "prices": [{"from_quantity": 1, "unit_price": "33.95"}],
            "quantity": {"least": 1, "most": 5, "values": None},
            "fields": [
                {
                    "name": "player_id",
                    "label": field.label,
                    "kind": field.kind,
                    "pattern": field.pattern or None,
                    "required": True,
                }
            ],
            "image_url": None,
        }

    def test_cost_exactly_what_an_order_costs(self, rest: Rest) -> None:
        package = Package.objects.get(code="pubg-60")
        group = Customer.objects.get(name="Demo Reseller").price_group
        PackagePrice.objects.create(
            package=package, price_group=group, currency="TRY", unit_price_micros=33_000_000, from_quantity=3
        )
        prices = packages(rest)["pubg-60"]["prices"]
        assert prices == [{"from_quantity": 1, "unit_price": "33.95"}, {"from_quantity": 3, "unit_price": "33.00"}]
        assert read(rest.order({**PUBG, "quantity": 3}), 201)["unit_price"] == "33.00"

    def test_that_cannot_be_had_say_so_without_a_reason(self, rest: Rest) -> None:
        Integration.objects.update(is_enabled=False)
        response = rest.get("/api/v1/packages")
        told = read(response)["packages"]
        assert {one["available"] for one in told} == {False}
        assert b"ZNET" not in response.content
        assert told[0]["prices"]

    def test_have_their_labels_in_the_callers_language(self, rest: Rest) -> None:
        field = packages(rest, accept_language="ar")["pubg-60"]["fields"][0]
        assert field["label"] == InputField.objects.get(product__packages__code="pubg-60").label_ar

    @both_databases
    def test_come_in_pages(self, rest: Rest) -> None:
        whole = list(packages(rest))
        seen, cursor = [], ""
        while True:
            page = read(rest.get(f"/api/v1/packages?limit=1{cursor}"))
            seen += [one["package"] for one in page["packages"]]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == whole
        assert len(whole) > 1

    def test_are_those_of_the_callers_shop_that_are_on_sale(self, rest: Rest) -> None:
        foreign = make_shop()
        Package.objects.filter(code="pubg-60").update(is_active=False)
        told = packages(rest)
        assert foreign.package.code not in told
        assert "pubg-60" not in told


class TestTheWallet:
    @both_databases
    def test_has_a_balance_and_every_change_of_it(self, rest: Rest, reseller: Customer) -> None:
        kept, returned = placed(rest, "W001"), placed(rest, "W002")
        cancel(rest, returned)
        assert read(rest.get("/api/v1/wallet")) == {
            "currency": "TRY",
            "balance": "99966.05",
            "credit": "0.00",
            "available": "99966.05",
        }
        page = read(rest.get("/api/v1/wallet/statement"))
        told = [(one["kind"], one["amount"], one["balance"], one["order_id"]) for one in page["changes"]]
        assert told == [
            ("order_returned", "33.95", "99966.05", returned.pk),
            ("order", "-33.95", "99932.10", returned.pk),
            ("order", "-33.95", "99966.05", kept.pk),
            ("deposit", "100000.00", "100000.00", None),
        ]
        assert (page["currency"], page["next_cursor"]) == ("TRY", None)

    @both_databases
    def test_is_told_in_pages_that_agree_with_the_whole(self, rest: Rest) -> None:
        for n in range(3):
            placed(rest, f"W01{n}")
        whole = read(rest.get("/api/v1/wallet/statement"))["changes"]
        seen, cursor = [], ""
        while True:
            page = read(rest.get(f"/api/v1/wallet/statement?limit=2{cursor}"))
            seen += page["changes"]
            if page["next_cursor"] is None:
                break
            cursor = f"&cursor={page['next_cursor']}"
        assert seen == whole
        assert len(whole) == 4

    def test_below_zero_says_so(self, demo: Tenant) -> None:
        customer = make_customer(demo, "0", credit="50")
        rest = Rest(issue_key(customer, clock.now())[1])
        assert read(rest.get("/api/v1/wallet/statement"))["changes"] == []
        read(rest.order(), 201)
        told = read(rest.get("/api/v1/wallet"))
        assert (told["balance"], told["credit"], told["available"]) == ("-35.00", "50.00", "15.00")

    def test_keeps_the_shops_reasons_and_people_inside(self, rest: Rest, reseller: Customer) -> None:
        money = Money(1_000_000, "TRY")
        arguments: dict[str, Any] = {"key": "c-1", "reason": "SECRET-WHY", "actor": "omar", "now": clock.now()}
        ledger.correction(reseller.tenant_id, reseller.pk, money, **arguments)
        body = rest.get("/api/v1/wallet/statement").content
        assert b"correction" in body
        assert b"SECRET-WHY" not in body
        assert b"omar" not in body

    def test_has_a_word_for_every_transfer_that_touches_one(self) -> None:
        functions = [node for node in ast.parse(inspect.getsource(ledger)).body if isinstance(node, ast.FunctionDef)]
        touching = [node for node in functions if "customer_purse(" in ast.unparse(node)]
        calls = [call for node in touching for call in ast.walk(node) if isinstance(call, ast.Call)]
        postings = [call for call in calls if ast.unparse(call.func) == "Posting"]
        assert {ast.literal_eval(call.args[1]) for call in postings} == set(TOLD_CHANGES)


class TestMoreFilters:
    @both_databases
    def test_find_a_package_and_a_time(self, rest: Rest) -> None:
        order = placed(rest)
        at = order.created_at
        later = (at + timedelta(seconds=1)).isoformat().replace("+00:00", "Z")
        exactly = at.isoformat().replace("+00:00", "Z")

        def found(query: str) -> list[int]:
            return [one["id"] for one in read(rest.get(f"{ORDERS}?{query}"))["orders"]]

        assert found("package=pubg-60") == [order.pk]
        assert found("package=pubg-61") == []
        assert found(f"created_from={exactly}") == [order.pk]
        assert found(f"created_from={later}") == []
        assert found(f"created_before={exactly}") == []
        assert found(f"created_before={later}") == [order.pk]

    @both_databases
    @pytest.mark.parametrize(
        "query",
        [
            "created_from=2026-01-01T00:00:00",
            "created_from=0001-01-01T00:00:00%2B14:00",
            "created_before=9999-12-31T23:59:59-14:00",
            "created_before=yesterday",
            "package=",
        ],
    )
    def test_refuse_what_is_no_time(self, rest: Rest, query: str) -> None:
        response = rest.get(f"{ORDERS}?{query}")
        assert standing(response) == (422, "request_invalid")
        assert problem(response)["errors"][0]["pointer"] == "?" + query.partition("=")[0]
