"""Our own adapters at our own doors, over a real socket: every reply that the contract suite reads is really given.

The replies in `tests/contract/replies/*_door` are those of the doors, byte for byte; `tests/contract/test_own_doors`
asks the adapters about them. Here each one is provoked, and read on the way by the adapter itself.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pytest_django.live_server_helper import LiveServer

from apps.accounts.keys import issue_key
from apps.api import smm_door
from apps.catalog.models import Product
from apps.common import clock
from apps.common.egress import LOCAL
from apps.common.talk import drive
from apps.common.transport import send_once
from apps.common.wire import Answer, HttpCall, HttpReply
from apps.orders import unseen
from apps.orders.models import Order
from apps.providers.contract import Account, OrderRef, PlaceRequest, Result
from apps.providers.models import Integration
from apps.providers.registry import load_adapter
from tests.contract.suite import MEANING, load_reply, recorded, situation_of
from tests.factories import Shop, Stage, make_customer, make_shop, new_player
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.door_buyers import ids_of, key_of, make_airtime_shop

__all__ = ["committed", "simulator", "stage"]

REFERENCE = "100000000000000042"
PIN = "0012-ABCD-3456"
KINDS = ("znet", "znet_tl", "smm_v2")
RECIPIENTS = {"znet": "OWN001", "znet_tl": "5320000042", "smm_v2": "OWN003"}
ORDER_TOKEN, PACKAGE_TOKEN, PRODUCT_TOKEN, NAME_TOKEN = b"7623501", b"7600152", b"7600151", b"Product 76"
"""What stands in the recorded replies for the numbers that the database gives."""


@dataclass
class Counter:
    """A seller, and an account of one kind at its door behind a socket."""

    stage: Stage
    kind: str
    seller: Shop
    account: Account
    patch: pytest.MonkeyPatch
    heard: list[HttpReply] = field(default_factory=list)
    placed: Result | None = None

    def send(self, call: HttpCall) -> Answer:
        answer = send_once(call, policy=LOCAL)
        assert isinstance(answer, HttpReply)
        self.heard.append(answer)
        return answer

    def drive(self, verb: str, *args: object) -> Any:
        return drive(getattr(load_adapter(self.kind), verb)(self.account, *args), self.send)[0]

    @property
    def request(self) -> PlaceRequest:
        quantity = 2 if self.kind == "smm_v2" else 1
        ids = ids_of(self.kind, self.seller.package)
        return PlaceRequest(REFERENCE, ids, RECIPIENTS[self.kind], quantity=quantity)

    def place(self, **changes: Any) -> Result:
        placed: Result = self.drive("place", replace(self.request, **changes))
        self.placed = self.placed or placed
        return placed

    def find(self, reference: str = REFERENCE) -> Result:
        provider_id = self.placed.provider_id if self.placed else "7623501"
        found: Result = self.drive("find", OrderRef(reference, provider_id, request=self.request))
        return found

    def fate(self, **fate: Any) -> None:
        self.stage.simulator.set_fate(recipient=RECIPIENTS[self.kind], **fate)

    def log_in(self, key: str) -> None:
        login = key.partition(".")[0] if self.kind.startswith("znet") else ""
        name = "key" if self.kind == "smm_v2" else "sifre"
        self.account = replace(self.account, login=login, secrets={name: key})

    def be_poor(self) -> None:
        customer = make_customer(self.seller.tenant, "1")
        self.log_in(issue_key(customer, clock.now())[1])

    def break_down(self) -> None:
        def away(*_: object) -> None:
            raise RuntimeError("the database is away")

        for module, name in (
            (unseen, "create_order"),
            (unseen, "is_absent"),
            (smm_door, "create_order"),
            (smm_door, "find_orders"),
        ):
            self.patch.setattr(module, name, away)

    def finish(self, **fate: Any) -> Result:
        """The order, placed and over by this fate, as it is told then."""
        self.fate(**fate)
        self.place()
        self.stage.run_until_quiet()
        return self.find()


@pytest.fixture
def counter(request: pytest.FixtureRequest, stage: Stage, live_server: LiveServer) -> Counter:
    kind = request.getfixturevalue("kind")
    patch = request.getfixturevalue("monkeypatch")
    airtime = kind == "znet_tl"
    seller = make_airtime_shop(stage.url) if airtime else make_shop(stage.url, needs_code=kind == "znet")
    counter = Counter(stage, kind, seller, Account(live_server.url, "", {}, "TRY"), patch)
    counter.log_in(key_of(seller))
    counter.fate(final="delivered")
    return counter


Scene = Callable[[Counter], object]


def again(*, first: dict[str, Any] | None = None, **changes: Any) -> Scene:
    """An order, and then one more that differs so."""
    return lambda counter: (counter.place(**(first or {})), counter.place(**changes))[1]


def poor(counter: Counter) -> Result:
    counter.be_poor()
    return counter.place()


def out_of_stock(counter: Counter) -> Result:
    Integration.objects.update(is_enabled=False)
    return counter.place()


def strange(verb: str, *args: Any) -> Scene:
    """Whatever is said to a key that nobody has."""

    def act(counter: Counter) -> object:
        counter.log_in("hub_00.nope")
        return getattr(counter, verb)(*args) if verb in ("place", "find") else counter.drive(verb)

    return act


def broken(verb: str) -> Scene:
    """Whatever is said when something breaks here."""

    def act(counter: Counter) -> object:
        counter.break_down()
        return getattr(counter, verb)()

    return act


def pending(counter: Counter) -> Result:
    counter.place()
    return counter.find()


def closed(counter: Counter) -> Result:
    counter.find()
    counter.stage.move(unseen.IN_FLIGHT_FOR.total_seconds() + 1)
    return counter.find()


def ordered_when_closed(counter: Counter) -> Result:
    closed(counter)
    return counter.place()


def without_pin(counter: Counter) -> Result:
    Product.objects.update(needs_code=False)
    return counter.finish(pin_blank_form="space")


def part(counter: Counter) -> Result:
    counter.stage.simulator.next_fate(final="delivered")
    counter.stage.simulator.next_fate(final="cancelled")
    counter.place(recipient=new_player())
    counter.stage.run_until_quiet()
    return counter.find()


EVERY: dict[str, Scene] = {
    "place.accepted": lambda counter: counter.place(),
    "place.refused_balance": poor,
    "place.refused_login": strange("place"),
    "place.temporary.500": broken("place"),
    "ask.pending": pending,
    "ask.failed": lambda counter: counter.finish(final="cancelled"),
    "ask.question_failed.500": broken("find"),
    "balance.amount": lambda counter: counter.drive("balance"),
    "balance.failed": strange("balance"),
    "catalogue.items": lambda counter: counter.drive("catalogue"),
    "catalogue.failed": strange("catalogue"),
}
WITH_REFERENCE: dict[str, Scene] = {
    "place.refused_stock": out_of_stock,
    "place.refused_product.closed": ordered_when_closed,
    "place.unlisted": lambda counter: counter.place(reference="a b"),
    "ask.pending.unseen": lambda counter: counter.find(),
    "ask.not_found": closed,
    "ask.question_failed.login": strange("find"),
}
SCENES: dict[str, dict[str, Scene]] = {
    "znet": {
        **EVERY,
        **WITH_REFERENCE,
        "place.accepted.repeated": again(),
        "place.refused_product": lambda counter: counter.place(product={"oyun": "1", "kupur": "1"}),
        "place.refused_product.field": lambda counter: counter.place(recipient="?"),
        "place.refused_product.repeated": again(reference="43"),
        "place.duplicate": again(recipient="OWN999"),
        "ask.completed_with_code": lambda counter: counter.finish(pin=PIN),
        "ask.completed_without_code": without_pin,
    },
    "znet_tl": {
        **EVERY,
        **WITH_REFERENCE,
        "place.refused_product": lambda counter: counter.place(product={**counter.request.product, "kontor": "9"}),
        "place.duplicate": again(),
        "place.duplicate.another_number": again(recipient="5320000043"),
        "place.duplicate.same_number": again(reference="43"),
        "ask.completed_without_code": lambda counter: counter.finish(final="delivered"),
    },
    "smm_v2": {
        **EVERY,
        "place.refused_product": lambda counter: counter.place(product={"service": "999999999"}),
        "place.refused_product.link": lambda counter: counter.place(recipient="?"),
        "place.refused_product.quantity": lambda counter: counter.place(quantity=9),
        "place.refused_product.not_now": out_of_stock,
        "place.duplicate": again(),
        "place.unlisted": lambda counter: counter.place(recipient="x" * 70_000),
        "ask.completed_without_code": lambda counter: counter.finish(final="delivered"),
        "ask.partial": part,
        "ask.not_found": lambda counter: counter.find(),
        "ask.login": strange("find"),
    },
}
"""How each recorded reply comes about."""

RECORDED = [(kind, path) for kind in KINDS for path in recorded(f"{kind}_door")]


def in_numbers(counter: Counter, body: bytes) -> bytes:
    """A recorded reply with the numbers of this database."""
    package = counter.seller.package
    order = Order.objects.order_by("pk").first()
    numbers = {
        PACKAGE_TOKEN: package.pk,
        PRODUCT_TOKEN: package.product_id,
        ORDER_TOKEN: order.pk if order else 7623501,
    }
    for token, number in numbers.items():
        body = body.replace(token, str(number).encode())
    return body.replace(NAME_TOKEN, package.product.name.encode())


class TestTheRecordedReplies:
    @pytest.mark.parametrize(("kind", "path"), RECORDED, ids=[f"{kind}-{path.stem}" for kind, path in RECORDED])
    def test_are_given_by_the_door_and_read_as_they_are_meant(self, kind: str, path: Path, counter: Counter) -> None:
        told = SCENES[kind][path.stem](counter)
        reply = load_reply(path)
        assert (counter.heard[-1].status, counter.heard[-1].body) == (reply.status, in_numbers(counter, reply.body))
        meant = MEANING.get(situation_of(path))
        assert meant is None or (isinstance(told, Result) and told.outcome is meant)

    @pytest.mark.parametrize("kind", KINDS)
    def test_are_those_that_have_a_scene(self, kind: str) -> None:
        assert {path.stem for path in recorded(f"{kind}_door")} == set(SCENES[kind])
