"""Shops that buy at each other: each hop buys once, state and PIN travel up, names do not, and loops are refused."""

from __future__ import annotations

import itertools
import threading
import uuid
from collections.abc import Callable
from typing import Any

import pytest
from django.db.models import Sum
from django.test import Client
from pytest_django.live_server_helper import LiveServer

from apps.accounts.keys import issue_key
from apps.common import checkpoints, clock
from apps.common.crypto import hash_hop
from apps.orders import chains, monitoring, services
from apps.orders.models import Attempt, Evidence, Order
from apps.orders.states import AttemptState
from apps.providers.models import Integration, PackageMapping, Route
from apps.wallet.models import Account
from tests.factories import (
    Shop,
    Stage,
    add_route,
    check_invariants,
    make_customer,
    make_integration,
    make_package,
    make_shop,
    make_tenant,
    new_player,
    order_from,
    pins_of,
    standing_of,
    sums_of,
)
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.test_crash_points import Crash, die, hook_at

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

_numbers = itertools.count(1)


class Street:
    """Shops of one installation, and the address at which all of them sell."""

    def __init__(self, url: str) -> None:
        self.url = url

    def connect(self, buyer: Any, seller: Any, *, kind: str = "internal", position: int = 1) -> Route:
        """Let the buyer's package be bought at the seller's door, by a customer of its own there."""
        number = next(_numbers)
        account = make_customer(seller.tenant)
        integration = Integration(
            tenant=buyer.tenant,
            name=f"Neighbour {number}",
            kind=kind,
            base_url=self.url,
            currency="TRY",
            options={"place_timeout_s": 5, "ask_timeout_s": 5, "quantity": "any"},
            is_local=True,
        )
        integration.set_secrets({"token": issue_key(account, clock.now())[1]})
        integration.full_clean()
        integration.save()
        params = {"recipient_name": "player_id"}
        PackageMapping.objects.create(
            package=buyer, integration=integration, oyun=str(seller.pk), params=params, cost_micros=40_000_000
        )
        return Route.objects.create(package=buyer, integration=integration, position=position)

    def packages(self, count: int) -> list[Any]:
        """Packages of as many shops."""
        return [make_package(make_tenant(), price="50.00") for _ in range(count)]


@pytest.fixture
def street(stage: Stage, live_server: LiveServer) -> Street:
    """The shops' common address."""
    return Street(live_server.url)


def sell(package: Any, player: str = "", *, quantity: int = 1) -> Order:
    """An order by a customer of the shop."""
    customer = make_customer(package.tenant)
    shop = Shop(package.tenant, customer, package, None, None)  # type: ignore[arg-type]  # nobody looks at its routes
    return order_from(shop, player or new_player(), quantity=quantity)


def order_of(package: Any) -> Order:
    return Order.objects.get(package=package)


def wallets() -> dict[int, int]:
    """What every customer has."""
    accounts = Account.objects.filter(kind=Account.Kind.CUSTOMER)
    return dict(accounts.values_list("subject_id").annotate(Sum("balance_micros")).order_by())


def place(street: Street, seller: Any, *, player: str = "P001", path: str = "", reference: str = "") -> Any:
    """What the seller's door answers to a buyer of its own who sends this path."""
    key = issue_key(make_customer(seller.tenant), clock.now())[1]
    params: dict[str, Any] = {
        "qty": 1,
        "order_uuid": reference or str(uuid.UUID(int=next(_numbers))),
        "player_id": player,
    }
    headers = {"api-token": key} | ({"X-Order-Path": path} if path else {})
    return Client().get(f"/client/api/newOrder/{seller.pk}/params", params, headers=headers).json()


NOT_HERE = {"status": "ERROR", "code": 110, "message": "not_available"}


class TestALoop:
    @pytest.mark.parametrize("kinds", [("internal",), ("client_api",)])
    def test_from_a_shop_to_itself_costs_nothing(self, stage: Stage, street: Street, kinds: tuple[str, ...]) -> None:
        self.check_refused(stage, street, kinds)

    @pytest.mark.parametrize(
        "kinds", [("internal", "internal"), ("client_api", "client_api"), ("internal", "client_api")]
    )
    def test_through_another_shop_costs_nothing(self, stage: Stage, street: Street, kinds: tuple[str, ...]) -> None:
        self.check_refused(stage, street, kinds)

    @pytest.mark.parametrize(
        "kinds",
        [
            ("internal", "internal", "internal"),
            ("client_api", "client_api", "client_api"),
            ("internal", "client_api", "internal"),
        ],
    )
    def test_through_two_other_shops_costs_nothing(self, stage: Stage, street: Street, kinds: tuple[str, ...]) -> None:
        self.check_refused(stage, street, kinds)

    def check_refused(self, stage: Stage, street: Street, kinds: tuple[str, ...]) -> None:
        """Each shop buys at the next, the last at the first, by these kinds of account."""
        packages = street.packages(len(kinds))
        for package, seller, kind in zip(packages, [*packages[1:], packages[0]], kinds, strict=True):
            street.connect(package, seller, kind=kind)
        order = sell(packages[0])
        stage.run_until_quiet(for_s=7200)
        assert Order.objects.count() == len(packages)  # one per shop: nobody was sold to twice
        assert {standing_of(each)[0] for each in Order.objects.all()} == {"rejected"}
        assert set(wallets().values()) == {1_000_000_000}
        assert sums_of(order)["release"] == 50_000_000
        last = Attempt.objects.get(order=order_of(packages[-1]))
        assert (last.state, last.outcome) == ("refused", "out_of_stock")
        check_invariants()

    def test_lets_the_next_route_go_on(self, stage: Stage, street: Street) -> None:
        first, second = street.packages(2)
        street.connect(first, second)
        street.connect(second, first)
        add_route(second, make_integration(second.tenant, stage.url), position=2)
        order = sell(first)
        stage.run_until_quiet(for_s=7200)
        assert standing_of(order)[0] == standing_of(order_of(second))[0] == "completed"
        assert pins_of(order) == pins_of(order_of(second)) == [row["pin"] for row in stage.purchases()]
        assert Order.objects.count() == 2
        check_invariants()

    def test_is_seen_in_the_path_and_no_money_is_held(self, stage: Stage, street: Street) -> None:
        shop = make_shop(stage.url)
        other = hash_hop(shop.tenant.pk + 10**6)
        assert place(street, shop.package, path=f"{other},{hash_hop(shop.tenant.pk)}") == NOT_HERE
        assert not Order.objects.exists()
        assert set(wallets().values()) == {1_000_000_000}

    @pytest.mark.parametrize("path", ["x", "A" * 16, "0" * 15, f"{'0' * 16},", f"{'0' * 16};{'1' * 16}"])
    def test_may_hide_in_a_path_that_cannot_be_read(self, stage: Stage, street: Street, path: str) -> None:
        shop = make_shop(stage.url)
        assert place(street, shop.package, path=path) == NOT_HERE
        assert not Order.objects.exists()

    def test_ends_after_eight_shops(self, stage: Stage, street: Street) -> None:
        shop = make_shop(stage.url)
        hops = [f"{number:016x}" for number in range(8)]
        assert place(street, shop.package, path=",".join(hops)) == NOT_HERE
        assert place(street, shop.package, path=", ".join(hops[:7]))["status"] == "OK"
        order = Order.objects.get()
        assert order.chain_path == ",".join(hops[:7])
        assert chains.path_beyond(order) == (*hops[:7], hash_hop(shop.tenant.pk))

    def test_without_a_path_is_known_by_what_this_shop_is_buying(self, stage: Stage, street: Street) -> None:
        shop = make_shop(stage.url)
        stage.simulator.set_fate(recipient="P777", final="never")
        sell(shop.package, "P777")
        monitoring.sweep()
        assert Attempt.objects.get().state == AttemptState.ACCEPTED
        assert place(street, shop.package, player="P777") == NOT_HERE
        assert place(street, shop.package, player="P778")["status"] == "OK"
        stage.move(86400)
        assert place(street, shop.package, player="P777")["status"] == "OK"

    def test_is_no_loop_once_the_purchase_is_over(self, stage: Stage, street: Street) -> None:
        shop = make_shop(stage.url)
        sell(shop.package, "P779")
        stage.run_until_quiet()
        assert place(street, shop.package, player="P779")["status"] == "OK"

    def test_is_not_what_another_order_of_the_same_shop_by_the_same_way_looks_like(
        self, stage: Stage, street: Street
    ) -> None:
        """Two customers of one shop for one player: that shop has looked for repeats and loops of its own."""
        seller = make_shop(stage.url)
        (buyer,) = street.packages(1)
        street.connect(buyer, seller.package)
        stage.simulator.set_fate(recipient="P780", complete_after_s=300)
        first = sell(buyer, "P780")
        monitoring.sweep()
        stage.move(1)
        monitoring.sweep()
        assert Attempt.objects.get(order=order_of(seller.package)).state == AttemptState.ACCEPTED
        orders = [first, sell(buyer, "P780")]
        stage.run_until_quiet()
        assert [standing_of(order)[0] for order in orders] == ["completed", "completed"]
        assert len(stage.purchases()) == 2


class TestAChain:
    def build(self, stage: Stage, street: Street, count: int = 3, **options: float) -> list[Any]:
        """Shops that each buy at the next one; the last one buys at the simulated panel."""
        packages = street.packages(count)
        for buyer, seller in itertools.pairwise(packages):
            street.connect(buyer, seller)
        add_route(packages[-1], make_integration(packages[-1].tenant, stage.url, **options))
        return packages

    def test_keeps_its_links_in_columns_of_their_own(self, stage: Stage, street: Street) -> None:
        first, second, third = self.build(stage, street)
        sell(first)
        stage.run_until_quiet()
        parent, child, grandchild = map(order_of, (first, second, third))
        hops = [hash_hop(package.tenant_id) for package in (first, second)]
        assert [order.chain_path for order in (parent, child, grandchild)] == ["", hops[0], ",".join(hops)]
        attempts = {order.pk: Attempt.objects.get(order=order) for order in (parent, child, grandchild)}
        assert [order.parent_attempt for order in (parent, child, grandchild)] == [
            None,
            attempts[parent.pk],
            attempts[child.pk],
        ]
        assert (parent.parent_reference, child.parent_reference) == ("", attempts[parent.pk].reference)
        assert parent.external_order_id == f"ID_{child.pk}"
        assert child.external_order_id == attempts[child.pk].provider_order_id == f"ID_{grandchild.pk}"

    def test_has_no_link_to_an_attempt_whose_account_has_another_key(self, stage: Stage, street: Street) -> None:
        first, second = self.build(stage, street, 2)
        order = sell(first, "P900")
        seen: list[Any] = []

        def forge() -> None:
            if threading.current_thread() is threading.main_thread() and not seen:
                reference = Attempt.objects.get(order=order).reference
                seen.append(place(street, second, player="P901", reference=reference))

        checkpoints.set_hook(lambda name: forge() if name == "dispatch.after_commit" else None)
        services.try_auto_dispatch(order.pk)
        stage.run_until_quiet()
        forged = Order.objects.get(package=second, user_identifier="P901")
        real = Order.objects.get(package=second, user_identifier="P900")
        assert seen[0]["status"] == "OK"
        assert (forged.parent_attempt, real.parent_attempt) == (None, Attempt.objects.get(order=order))

    def test_gives_the_pin_up_byte_for_byte(self, stage: Stage, street: Street) -> None:
        packages = self.build(stage, street)
        player, pin = new_player(), "aB-09 çŞ/#&+%20=\"'<é>"
        stage.simulator.set_fate(recipient=player, pin=pin, complete_after_s=90)
        order = sell(packages[0], player)
        stage.run_until_quiet()
        assert [pins_of(order_of(package)) for package in packages] == [[pin]] * 3
        assert standing_of(order) == ("completed", "completed", "")
        assert len(stage.purchases()) == 1
        check_invariants()

    def test_gives_the_money_back_all_the_way_when_the_last_one_fails(self, stage: Stage, street: Street) -> None:
        packages = self.build(stage, street)
        player = new_player()
        stage.simulator.set_fate(recipient=player, final="cancelled")
        sell(packages[0], player)
        stage.run_until_quiet(for_s=3 * 86400)
        assert [standing_of(order_of(package))[0] for package in packages] == ["rejected"] * 3
        assert set(wallets().values()) == {1_000_000_000}
        check_invariants()

    def test_tells_doubt_as_work_in_progress_all_the_way(self, stage: Stage, street: Street) -> None:
        packages = self.build(stage, street)
        player = new_player()
        stage.simulator.set_fate(recipient=player, place="accept_then_500", visible_after_s=10**6)
        sell(packages[0], player)
        stage.run_until_quiet()
        attempts = [Attempt.objects.get(order=order_of(package)) for package in packages]
        assert [attempt.state for attempt in attempts] == ["accepted", "accepted", "in_doubt"]
        assert [standing_of(order_of(package))[0] for package in packages] == ["processing", "processing", "review"]
        assert [sums_of(order_of(package)) for package in packages] == [{"hold": 50_000_000}] * 3

    FATES: tuple[dict[str, Any], ...] = (
        {"complete_after_s": 600},
        {},
        {"final": "cancelled"},
        {"place": "refuse", "refuse_class": "balance"},
        {"place": "refuse", "refuse_class": "product"},
        {"place": "accept_then_500", "visible_after_s": 10**6},
    )

    @pytest.mark.parametrize("fate", FATES)
    def test_names_no_supplier_to_its_buyer(self, stage: Stage, street: Street, fate: dict[str, Any]) -> None:
        first, second = self.build(stage, street, 2)
        Integration.objects.filter(tenant=second.tenant).update(name="CANARY-SUPPLIER")
        player = new_player()
        stage.simulator.set_fate(recipient=player, **fate)
        sell(first, player)
        stage.run_until_quiet(for_s=300)
        answers = [self.answers_of(second, order_of(first))]
        stage.run_until_quiet(for_s=3600)
        told = "\n".join([*answers, self.answers_of(second, order_of(first)), self.evidence_of(order_of(first))])
        assert f"ID_{order_of(second).pk}" in told
        for canary in self.canaries_of(order_of(second)):
            assert canary not in told

    def answers_of(self, seller: Any, parent: Order) -> str:
        """Everything that the seller's door tells the buyer now."""
        token = Attempt.objects.get(order=parent).integration.account().secrets["token"]
        reference = Attempt.objects.get(order=parent).reference
        again = {"qty": 1, "order_uuid": reference, "player_id": parent.user_identifier}
        addresses: list[tuple[str, dict[str, Any]]] = [
            ("profile", {}),
            ("products", {}),
            ("content/0", {}),
            (f"content/{seller.product_id}", {}),
            ("check", {"orders": f"[{reference}]", "uuid": 1}),
            ("check", {"orders": f"[{parent.external_order_id}]"}),
            (f"newOrder/{seller.pk}/params", again),
            (f"newOrder/{seller.pk}/params", {**again, "order_uuid": str(uuid.uuid4()), "qty": 9}),
        ]
        headers = {"api-token": token}
        replies = [Client().get(f"/client/api/{path}", params, headers=headers) for path, params in addresses]
        return "\n".join(f"{dict(reply.items())} {reply.content.decode()}" for reply in replies)

    def evidence_of(self, parent: Order) -> str:
        """What the buyer keeps of the seller's answers."""
        attempt = Attempt.objects.get(order=parent)
        told = Evidence.objects.filter(order=parent).values_list("detail", flat=True)
        return "\n".join([attempt.reason, attempt.reason_code, attempt.provider_order_id, *told])

    def canaries_of(self, child: Order) -> set[str]:
        """Whatever would tell who supplies the seller, what it costs there, and what was said about it."""
        attempts = Attempt.objects.select_related("integration").filter(order=child)
        supplier = attempts[0].integration
        told = {text for each in attempts for text in (each.reference, each.provider_order_id, each.reason)}
        told |= {supplier.name, supplier.base_url}
        return {canary for canary in told | {"31.5", "CANARY", supplier.login + ":", "znet"} if canary}


ANYWHERE = (
    "dispatch.before_commit",
    "dispatch.after_commit",
    "dispatch.before_first_byte",
    "dispatch.after_send",
    "settle.before_commit",
    "settle.after_commit",
    "ask.after_claim",
    "ask.after_answers",
    "apply.before_commit",
    "apply.after_commit",
)
SENT_NOTHING = {"dispatch.after_commit", "dispatch.before_first_byte"}
"""Who dies here has asked nobody. At the seller's panel a person decides then; the buyer's hub sends it once more."""


class TestACrash:
    @pytest.mark.parametrize(
        ("name", "time"), [(name, n) for name in ANYWHERE for n in (1, 2) if n == 1 or name not in SENT_NOTHING]
    )
    def test_of_a_worker_between_the_hops_buys_once_at_each(
        self, stage: Stage, street: Street, name: str, time: int
    ) -> None:
        order, seller = self.start(stage, street)
        in_worker(hook_at(name, time, die))
        with pytest.raises(Crash):
            self.work(stage)
        checkpoints.set_hook(None)
        stage.move(monitoring.TOKEN_FOR.total_seconds())
        stage.run_until_quiet(for_s=6 * 3600)
        self.check_once(stage, order, seller)

    @pytest.mark.parametrize("name", ["create.before_commit", "create.after_commit"])
    def test_of_the_seller_s_door_buys_once_at_each(self, stage: Stage, street: Street, name: str) -> None:
        order, seller = self.start(stage, street)
        seen: list[str] = []

        def fail(reached: str) -> None:
            if reached == name and not seen:
                seen.append(reached)
                raise RuntimeError("the database went away")

        checkpoints.set_hook(fail)
        monitoring.sweep()
        assert (seen, Attempt.objects.get(order=order).state) == ([name], "in_doubt")
        stage.run_until_quiet(for_s=6 * 3600)
        self.check_once(stage, order, seller)

    def start(self, stage: Stage, street: Street) -> tuple[Order, Any]:
        buyer, seller = street.packages(2)
        street.connect(buyer, seller)
        add_route(seller, make_integration(seller.tenant, stage.url))
        return sell(buyer), seller

    def work(self, stage: Stage) -> None:
        for _ in range(8):
            monitoring.sweep()
            stage.move(60)

    def check_once(self, stage: Stage, order: Order, seller: Any) -> None:
        """One order and one purchase at each hop, the PIN at both, and the money of each where it belongs."""
        assert Order.objects.count() == 2
        child = order_of(seller)
        assert (standing_of(order)[0], standing_of(child)[0]) == ("completed", "completed")
        assert pins_of(order) == pins_of(child) == [row["pin"] for row in stage.purchases()]
        assert sums_of(order)["capture"] == sums_of(child)["capture"] == 50_000_000
        check_invariants()


def in_worker(hook: Callable[[str], None]) -> None:
    """Let the hook see the points that this thread and the sweep's own pass, and not those of the server's threads."""
    worker = threading.current_thread()

    def is_worker() -> bool:
        here = threading.current_thread()
        return here is worker or here.name.startswith(("lane", "dispatch", "ask", "resend"))

    checkpoints.set_hook(lambda name: hook(name) if is_worker() else None)
