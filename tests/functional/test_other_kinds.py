"""Orders through the other protocols, from creation to PIN, at the simulator's dialects and over real sockets."""

from __future__ import annotations

import contextlib
import uuid
from datetime import timedelta
from typing import Any

import pytest

from apps.catalog.models import InputField
from apps.common import clock
from apps.common.money import to_micros
from apps.orders import due, monitoring
from apps.orders.models import Attempt, DueCheck, Evidence, Order, OrderCode
from apps.orders.questions import load_questions
from apps.orders.states import DueKind
from apps.providers.models import Integration, PackageMapping, Route
from apps.simulator.client import ControlClient
from tests.factories import (
    FAST_OPTIONS,
    Shop,
    Stage,
    check_invariants,
    make_customer,
    make_package,
    make_tenant,
    new_player,
    order_from,
    pins_of,
    standing_of,
    story_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

ACCOUNTS: dict[str, dict[str, Any]] = {
    "client_api": {"secrets": {"token": "demo-secret"}, "currency": "USD"},
    "smm_v2": {"secrets": {"key": "demo-key"}, "currency": "USD"},
    "reloadly": {
        "path": "/giftcards",
        "login": "demo-client",
        "secrets": {"client_secret": "demo-secret"},
        "currency": "USD",
    },
    "digiflazz": {"path": "/v1", "login": "demo", "secrets": {"api_key": "demo-secret"}, "currency": "IDR"},
    "znet_tl": {"login": "demo", "secrets": {"sifre": "demo-secret"}, "currency": "TRY"},
}
"""How the hub signs in to each dialect's own account."""


def shop_at(
    stage: Stage,
    kind: str,
    ids: dict[str, str],
    *,
    needs_code: bool,
    price: str = "50",
    cost: str = "1",
    **options: Any,
) -> Shop:
    """A shop whose one package is bought at the dialect of this kind, in the dialect's currency."""
    account = ACCOUNTS[kind]
    currency = account["currency"]
    tenant = make_tenant(currency=currency)
    package = make_package(tenant, needs_code=needs_code, price=price, currency=currency)
    InputField.objects.filter(product=package.product).update(pattern="")
    integration = Integration(
        tenant=tenant,
        name=kind,
        kind=kind,
        base_url=f"{stage.url}/{kind}{account.get('path', '')}",
        login=account.get("login", ""),
        currency=currency,
        options={**FAST_OPTIONS, **options},
        is_local=True,
    )
    integration.set_secrets(account["secrets"])
    integration.full_clean()
    integration.save()
    params = {name: value for name, value in ids.items() if name not in ("oyun", "kupur")}
    PackageMapping.objects.create(
        package=package,
        integration=integration,
        oyun=next(iter(ids.values())),
        params=params,
        cost_micros=to_micros(cost),
    )
    route = Route.objects.create(package=package, integration=integration)
    return Shop(tenant, make_customer(tenant, "1000", currency=currency), package, integration, route)


def dialect(stage: Stage, kind: str) -> contextlib.closing[ControlClient]:
    """The control of one dialect, closed when it was used."""
    return contextlib.closing(stage.simulator.of(kind))


def place(stage: Stage, shop: Shop, player: str = "", **fate: Any) -> Order:
    """An order whose purchase at the shop's dialect has this fate."""
    player = player or new_player()
    if fate:
        with dialect(stage, shop.integration.kind) as control:
            control.set_fate(recipient=player, **fate)
    return order_from(shop, player)


def bought_by(stage: Stage, order: Order) -> list[dict[str, Any]]:
    """What the provider sold for this order's recipient."""
    return [entry for entry in stage.truth("bought") if entry["recipient"] == order.user_identifier]


class TestClientApi:
    CARD = {"oyun": "102"}
    TOP_UP = {"oyun": "101"}

    def test_a_card_is_there_with_the_answer(self, stage: Stage) -> None:
        shop = shop_at(stage, "client_api", self.CARD, needs_code=True)
        with dialect(stage, "client_api") as control:
            control.next_fate(pin="CARD-0001-ABCD")
        order = order_from(shop)
        monitoring.sweep()
        assert standing_of(order) == ("completed", "completed", "")
        assert pins_of(order) == ["CARD-0001-ABCD"]
        assert uuid.UUID(order.provider_referans).version == 4
        assert order.external_order_id.startswith("ID_")
        check_invariants()

    def test_what_waits_is_asked_about_in_one_question(self, stage: Stage) -> None:
        shop = shop_at(stage, "client_api", self.TOP_UP, needs_code=False, price="2")
        orders = [place(stage, shop, complete_after_s=30) for _ in range(7)]
        monitoring.sweep()
        stage.move(60)
        claims = due.claim_lane(shop.integration.pk, clock.now(), timedelta(seconds=1), 50)
        batches = monitoring.batched(load_questions(claims, clock.now()))
        assert [len(batch.questions) for batch in batches] == [7]
        stage.move(2)
        monitoring.sweep()
        assert {standing_of(order)[0] for order in orders} == {"completed"}
        kept = Evidence.objects.filter(verb="status")
        assert kept.count() == 7
        assert len(set(kept.values_list("body_digest", flat=True))) == 7  # each keeps its own part of the answer
        check_invariants()

    def test_a_lost_reply_is_found_by_our_uuid(self, stage: Stage) -> None:
        shop = shop_at(stage, "client_api", self.TOP_UP, needs_code=False, price="2")
        order = place(stage, shop, place="accept_then_reset", complete_after_s=5)
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        assert len(bought_by(stage, order)) == 1
        check_invariants()

    def test_a_refusal_gives_the_money_back_at_once(self, stage: Stage) -> None:
        shop = shop_at(stage, "client_api", self.TOP_UP, needs_code=False, price="2")
        order = place(stage, shop, place="refuse", refuse_class="product")
        monitoring.sweep()
        assert standing_of(order)[0] == "rejected"
        assert sums_of(order) == {"hold": 2_000_000, "release": 2_000_000}
        assert bought_by(stage, order) == []


class TestAnSmmPanel:
    FOLLOWERS = {"service": "1"}

    def shop(self, stage: Stage) -> Shop:
        return shop_at(stage, "smm_v2", {**self.FOLLOWERS, "quantity": "1000"}, needs_code=False, price="2", cost="0.9")

    def test_is_known_by_the_panel_s_own_number(self, stage: Stage) -> None:
        order = place(stage, self.shop(stage), "https://example.invalid/a", complete_after_s=30)
        stage.run_until_quiet()
        assert standing_of(order) == ("completed", "completed", "")
        [bought] = bought_by(stage, order)
        assert order.provider_referans == order.external_order_id == bought["order_id"]
        check_invariants()

    def test_a_lost_reply_is_a_persons_question_and_never_bought_again(self, stage: Stage) -> None:
        """There is no reference to ask by: the money stays held, and a person is reminded once a day."""
        order = place(stage, self.shop(stage), "https://example.invalid/b", place="accept_then_reset")
        stage.run_until_quiet(for_s=3600)
        assert standing_of(order) == ("review", "unknown", "waiting:no_name")
        assert sums_of(order) == {"hold": 2_000_000}
        row = DueCheck.objects.get(order=order)
        assert (row.kind, row.asked) == (DueKind.RESOLVE, 1)  # the one that was asked is the answer to the purchase
        assert row.next_at - clock.now() > timedelta(hours=20)
        stage.run_until_quiet(for_s=3 * 86400)
        assert story_of(order).count("not_asked") == 1
        assert len(bought_by(stage, order)) == 1
        assert stage.questions() == 0

    def test_a_part_is_a_persons_question_with_the_money_held(self, stage: Stage) -> None:
        order = place(stage, self.shop(stage), "https://example.invalid/c", final="partial", delivered="843")
        stage.run_until_quiet(for_s=3600)
        assert standing_of(order) == ("review", "sent", "conflict:partial")
        assert sums_of(order) == {"hold": 2_000_000}


class TestReloadly:
    def test_a_gift_card_has_number_pin_and_address(self, stage: Stage) -> None:
        shop = shop_at(
            stage,
            "reloadly",
            {"product_id": "120", "amount": "10"},
            needs_code=True,
            service="giftcards",
            auth_url=f"{stage.url}/reloadly",
        )
        with dialect(stage, "reloadly") as control:
            control.switch(card_form="number_and_pin")
            control.next_fate(pin="6034932528052640")
            order = order_from(shop)
            stage.run_until_quiet()
            control.switch(card_form="number")
        assert standing_of(order) == ("completed", "completed", "")
        [code] = OrderCode.objects.filter(order=order)
        shown = code.reveal()
        assert (shown["value"], len(shown["pin"]) > 0) == ("6034932528052640", True)
        assert shown["pin"] not in code.sealed_pin
        assert Attempt.objects.get(order=order).cost_micros == 10_200_000
        check_invariants()


class TestAirtime:
    def test_is_loaded_and_watched_until_the_end(self, stage: Stage) -> None:
        shop = shop_at(
            stage,
            "znet_tl",
            {"operator": "turkcell", "tip": "tam", "kontor": "100"},
            needs_code=False,
            price="500",
        )
        order = place(stage, shop, "5321234567", complete_after_s=20)
        stage.run_until_quiet()
        assert standing_of(order)[:2] == ("completed", "completed")
        assert len(bought_by(stage, order)) == 1
        check_invariants()
