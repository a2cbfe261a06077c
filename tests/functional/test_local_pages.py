"""The pages of people who fulfil by hand and of the own stock: who may do what, what is told, what is never shown."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from apps.ops import doctor
from apps.orders.models import Attempt, Order
from apps.orders.services import try_auto_dispatch
from apps.providers.models import Integration, StockCode, StockShelf
from tests.factories import (
    START,
    Shop,
    Stage,
    add_route,
    make_account,
    make_manual_shop,
    make_package,
    make_stock_shop,
    order_from,
    pins_of,
    put_codes,
    standing_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import LANGUAGES, browser_of, english, make_person

__all__ = ["committed", "english", "simulator", "stage"]

pytestmark = [pytest.mark.both_databases, pytest.mark.page]

FILE = "code,cost\nNEW-1,12.50\nNEW-2,13\n"


def text_of(answer: object) -> str:
    assert isinstance(answer, HttpResponse)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


class Desk:
    """A shop with its people, and one order that waits for them."""

    def __init__(self, shop: Shop) -> None:
        self.shop = shop
        self.operator = browser_of(make_person("omar", shop.tenant, "operator"))
        self.owner = browser_of(make_person("olga", shop.tenant, "owner"))
        self.viewer = browser_of(make_person("vera", shop.tenant, "viewer"))
        self.stranger = browser_of(make_person("sam", make_manual_shop().tenant, "owner"))

    def order(self, *, quantity: int = 1) -> Order:
        order = order_from(self.shop, quantity=quantity)
        try_auto_dispatch(order.pk)
        return order


def url(name: str, order: Order) -> str:
    return reverse(f"panel:{name}", args=[Attempt.objects.get(order=order).pk])


def claim(browser: Client, order: Order, holder: str = "") -> Any:
    return browser.post(url("task_claim", order), {"holder": holder}, follow=True)


@pytest.fixture
def desk(stage: Stage) -> Desk:
    return Desk(make_manual_shop())


class TestTheQueue:
    def test_lists_what_waits_and_who_works_on_it(self, desk: Desk) -> None:
        assert "No order waits for a person." in text_of(desk.operator.get(reverse("panel:tasks")))
        order = desk.order(quantity=2)
        page = text_of(desk.operator.get(reverse("panel:tasks")))
        assert f"#{order.pk}" in page
        assert order.user_identifier in page
        assert "nobody yet" in page
        claim(desk.operator, order)
        assert "omar" in text_of(desk.owner.get(reverse("panel:tasks")))

    def test_shows_nothing_to_others(self, desk: Desk) -> None:
        order = desk.order()
        assert f"#{order.pk}" not in text_of(desk.stranger.get(reverse("panel:tasks")))
        assert desk.stranger.get(url("task", order)).status_code == 404
        assert claim(desk.stranger, order).status_code == 404

    def test_lets_a_viewer_look_only(self, desk: Desk) -> None:
        order = desk.order()
        page = text_of(desk.viewer.get(url("task", order)))
        assert "I work on it" not in page
        for name in ("task_claim", "task_deliver", "task_refuse"):
            assert desk.viewer.post(url(name, order), {"reason": "x"}).status_code == 403

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_is_there_in_every_language(self, desk: Desk, language: str) -> None:
        order = desk.order()
        browser = browser_of(make_person("lena", desk.shop.tenant, "owner"), language)
        claim(browser, order)
        for path in (reverse("panel:tasks"), url("task", order), reverse("panel:stock"), reverse("panel:stock_import")):
            assert f'<html lang="{language}"' in text_of(browser.get(path))


class TestAnOrderByHand:
    def test_is_delivered_by_who_took_it(self, desk: Desk) -> None:
        order = desk.order(quantity=2)
        assert "Deliver to the customer" not in text_of(desk.operator.get(url("task", order)))
        assert "Deliver to the customer" in text_of(claim(desk.operator, order))
        typed = {
            "code_1": " H-1 ",
            "serial_1": "S1",
            "code_2": "H-2",
            "serial_2": "",
            "proof": "receipt",
            "cost": "61.5",
        }
        answer = desk.operator.post(url("task_deliver", order), typed)
        assert answer.headers["Location"] == reverse("panel:order", args=[order.pk])
        assert pins_of(order) == ["H-1", "H-2"]
        assert sums_of(order)["cost"] == 61_500_000
        page = text_of(desk.operator.get(reverse("panel:order", args=[order.pk])))
        assert "A person works on it" in page
        assert "a person's entry" in page
        assert "H-1" not in page

    def test_tells_the_second_person(self, desk: Desk) -> None:
        order = desk.order()
        claim(desk.operator, order)
        assert "omar works on this order. Nothing was changed." in text_of(claim(desk.owner, order))
        typed = {"code_1": "H-1", "proof": "", "cost": "1"}
        told = text_of(desk.owner.post(url("task_deliver", order), typed, follow=True))
        assert "omar works on this order. Nothing was changed." in told
        desk.operator.post(url("task_deliver", order), typed)
        late = text_of(desk.owner.post(url("task_deliver", order), {**typed, "code_1": "H-2"}, follow=True))
        assert "Somebody has answered this order already. Nothing was changed." in late
        assert pins_of(order) == ["H-1"]

    def test_is_taken_over_on_purpose(self, desk: Desk) -> None:
        order = desk.order()
        claim(desk.operator, order)
        assert "Take it over" in text_of(desk.owner.get(url("task", order)))
        assert "Deliver to the customer" in text_of(claim(desk.owner, order, "omar"))

    def test_needs_to_be_taken_first(self, desk: Desk) -> None:
        order = desk.order()
        told = text_of(desk.operator.post(url("task_refuse", order), {"reason": "no"}, follow=True))
        assert "Take the order first. Nothing was changed." in told

    @pytest.mark.parametrize(
        ("typed", "text"),
        [
            ({"code_1": "", "cost": "1"}, "This field is required."),
            ({"code_1": "A", "code_2": "B"}, "This field is required."),
            ({"code_1": "A", "code_2": "B", "cost": "-1"}, "greater than or equal to 0"),
            ({"code_1": "A", "code_2": "A", "cost": "1"}, "another unit has this code already"),
            ({"code_1": "A", "code_2": "B", "cost": "1", "proof": "see B"}, "the proof repeats this code"),
        ],
    )
    def test_says_what_is_wrong_with_an_entry(self, desk: Desk, typed: dict[str, str], text: str) -> None:
        order = desk.order(quantity=2)
        claim(desk.operator, order)
        assert text in text_of(desk.operator.post(url("task_deliver", order), typed))
        assert pins_of(order) == []

    def test_is_refused_with_a_reason(self, desk: Desk) -> None:
        order = desk.order()
        claim(desk.operator, order)
        assert "This field is required." in text_of(desk.operator.post(url("task_refuse", order), {"reason": " "}))
        desk.operator.post(url("task_refuse", order), {"reason": "sold out"})
        assert standing_of(order)[0] == "rejected"
        assert "sold out" in text_of(desk.viewer.get(reverse("panel:order", args=[order.pk])))


@pytest.fixture
def storehouse(stage: Stage) -> Desk:
    return Desk(make_stock_shop("OLD-1"))


def send_file(browser: Client, account: Integration, content: str | bytes = FILE, act: str = "store") -> Any:
    raw = content.encode() if isinstance(content, str) else content
    typed = {
        "account": account.pk,
        "shelf": "uc-60",
        "batch": "march",
        "file": SimpleUploadedFile("c.csv", raw),
        act: "",
    }
    return browser.post(reverse("panel:stock_import"), typed, follow=True)


class TestTheStock:
    def test_shows_how_full_each_shelf_is(self, storehouse: Desk) -> None:
        page = text_of(storehouse.viewer.get(reverse("panel:stock")))
        assert "uc-60" in page
        assert ">low<" in page
        assert "Add codes" not in page
        assert "uc-60" not in text_of(storehouse.stranger.get(reverse("panel:stock")))

    def test_warns_on_the_list_of_orders_while_a_shelf_is_low(self, storehouse: Desk) -> None:
        warning = "Own stock is low:"
        assert warning in text_of(storehouse.viewer.get(reverse("panel:orders")))
        assert warning not in text_of(storehouse.stranger.get(reverse("panel:orders")))
        self.set_threshold(storehouse, storehouse.operator, "0")
        assert warning not in text_of(storehouse.viewer.get(reverse("panel:orders")))

    def set_threshold(self, desk: Desk, browser: Client, low_at: str) -> Any:
        typed = {"account": desk.shop.integration.pk, "shelf": "uc-60", "low_at": low_at}
        return browser.post(reverse("panel:stock_threshold"), typed, follow=True)

    def test_keeps_a_threshold_for_each_shelf(self, storehouse: Desk) -> None:
        self.set_threshold(storehouse, storehouse.operator, "12")
        assert StockShelf.objects.get().low_at == 12
        assert "whole number" in text_of(self.set_threshold(storehouse, storehouse.operator, "-1"))
        for browser in (storehouse.viewer, storehouse.stranger):
            assert self.set_threshold(storehouse, browser, "1").status_code == 404
        assert StockShelf.objects.get().low_at == 12

    def test_is_told_by_the_doctor(self, storehouse: Desk) -> None:
        account = storehouse.shop.integration
        add_route(make_package(storehouse.shop.tenant), account, product=("empty", ""))
        put_codes(account, "E1", expires="2026-03-02")
        put_codes(account, *(f"N{n}" for n in range(6)), shelf="full")
        found = [finding.found for finding in doctor.stock_shelves(START)]
        assert found == [
            f"shelf empty of {account.name} is empty",
            f"shelf uc-60 of {account.name} is low: 2 left",
            f"shelf uc-60 of {account.name} has codes that end within 30 days: 1",
        ]
        assert {finding.level for finding in doctor.stock_shelves(START)} == {"warning"}


class TestAFileOfCodes:
    def test_is_only_checked_at_first(self, storehouse: Desk) -> None:
        page = text_of(send_file(storehouse.operator, storehouse.shop.integration, act="check"))
        assert "No fault. Nothing was stored yet." in page
        assert "25.50 TRY" in page
        assert StockCode.objects.count() == 1

    def test_is_stored_whole(self, storehouse: Desk) -> None:
        page = text_of(send_file(storehouse.operator, storehouse.shop.integration))
        assert "2 codes are on the shelf uc-60." in page
        assert list(StockCode.objects.filter(batch="march").values_list("cost_micros", flat=True)) == [
            12_500_000,
            13_000_000,
        ]

    def test_with_a_fault_is_not_stored_at_all_and_shows_no_code(self, storehouse: Desk) -> None:
        page = text_of(send_file(storehouse.operator, storehouse.shop.integration, FILE + "OLD-1,1\nNEW-1,1\n"))
        assert "Nothing was stored. Mend these lines and check again." in page
        assert "this code is in stock already, or was" in page
        assert "the same code as in line 2" in page
        assert not {"OLD-1", "NEW-1", "NEW-2"} & set(page.replace("<", " ").replace(">", " ").split())
        assert StockCode.objects.count() == 1

    def test_goes_only_to_shelves_of_ones_own(self, storehouse: Desk) -> None:
        account = storehouse.shop.integration
        assert send_file(storehouse.viewer, account).status_code == 403
        make_account(Integration.objects.exclude(tenant=account.tenant)[0].tenant, "stock")
        assert "Select a valid choice" in text_of(send_file(storehouse.stranger, account))
        assert StockCode.objects.count() == 1

    def test_needs_somebody_who_is_signed_in(self, storehouse: Desk) -> None:
        nobody = browser_of(None)
        for name in ("tasks", "stock", "stock_import"):
            assert nobody.get(reverse(f"panel:{name}")).status_code == 302


class TestAnAccountWithoutAWire:
    def add(self, desk: Desk, **changes: str) -> Any:
        typed = {"tenant": desk.shop.tenant.pk, "name": "Shelf room", "kind": "stock", "currency": "TRY"}
        typed |= {"options": "{}", "is_enabled": "on", "base_url": "", "login": "", **changes}
        return desk.owner.post(reverse("admin:providers_integration_add"), typed)

    def test_is_made_without_address_login_and_secrets(self, storehouse: Desk) -> None:
        answer = self.add(storehouse)
        assert answer.status_code == 302, answer.content.decode()
        account = Integration.objects.get(name="Shelf room")
        assert (account.kind, account.base_url, account.sealed_secrets) == ("stock", "", "")

    def test_has_no_address_and_no_login(self, storehouse: Desk) -> None:
        page = text_of(self.add(storehouse, base_url="https://example.org", login="x"))
        assert page.count("this kind is fulfilled here: leave it empty") == 2

    def test_is_the_only_one_without_an_address(self, storehouse: Desk) -> None:
        text_of(self.add(storehouse, kind="znet"))
        assert not Integration.objects.filter(name="Shelf room").exists()
