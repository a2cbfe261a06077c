"""What a dialect is: one provider protocol as data and a few functions that the common flow calls."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from apps.simulator.strict import Check
from apps.simulator.switches import Switches

if TYPE_CHECKING:
    from apps.simulator.fates import RefuseClass
    from apps.simulator.wire import Reply, Request
    from apps.simulator.world import Ask, Look, State, World

Endpoint = Callable[["Request", "World", float], "Reply"]


class Refused(Exception):
    """The provider will not sell this; its text is in the dialect's own notation and goes to the truth ledger."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


@dataclass(frozen=True, slots=True)
class Product:
    """What is sold; `product` and, where a protocol names a product by two ids, `kupur` are what a buyer sends."""

    product: str
    kupur: str
    cost: Decimal  # of one unit
    gives_codes: bool = True
    row: Mapping[str, Any] = field(default_factory=dict)  # as the dialect lists it


@dataclass(frozen=True, slots=True)
class Words:
    """How a dialect says what the common flow has decided."""

    states: Mapping[State, str]  # every state of a purchase in the provider's own word
    unknown_state: str  # a word that no document knows
    refusals: Mapping[RefuseClass, str]  # the text of each certain refusal
    unlisted: str  # a refusal in words that no table lists
    uncertain: str  # an answer to placing that is neither yes nor no
    stranger: Callable[[World], str]  # the refusal of a wrong login on the placing call
    bad_login: Callable[[World], Reply]  # the same on a status question
    product_of: Callable[[Ask, World], Product]  # raises Refused for an ask that cannot be bought
    accepted: Callable[[Look, World], Reply]
    refuse: Callable[[str, World], Reply]  # a refusal's text as an answer
    repeated: Callable[[Look, World], tuple[str, Reply]]  # the same reference again: the policy's name, the answer


@dataclass(frozen=True, slots=True)
class Letter:
    """What a webhook is made for: its moment, the path it goes to, and the secret that it is signed with."""

    at: float
    path: str
    secret: str


@dataclass(frozen=True, slots=True)
class Hook:
    """One webhook, signed: headers besides the usual ones, and the body."""

    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class Dialect:
    """One provider protocol; `routes` are paths, those that end in a slash stand for everything below them."""

    name: str
    routes: Mapping[str, Endpoint]
    words: Words
    products: tuple[Product, ...]
    currency: str
    balance: Decimal
    password: str = "demo-secret"  # noqa: S105 (the simulator's own default, no secret)
    login: str = "demo"
    secrets: Mapping[str, str] = field(default_factory=dict)
    switches: Switches = field(default_factory=Switches)
    switch_checks: Mapping[str, Check] = field(default_factory=dict)
    order_id: Callable[[int, str], str] = lambda number, seed: str(number)
    hook: Callable[[Look, World, Letter], Hook] | None = None
    cannot: Mapping[str, str] = field(default_factory=dict)  # a fault of PROOF that cannot exist here, and why

    def find_product(self, product: str, kupur: str = "") -> Product | None:
        return next((item for item in self.products if (item.product, item.kupur) == (product, kupur)), None)

    def route(self, path: str) -> Endpoint | None:
        """The endpoint of exactly this path, else the one of the longest prefix that ends in a slash."""
        if path in self.routes:
            return self.routes[path]
        prefixes = [prefix for prefix in self.routes if prefix.endswith("/") and path.startswith(prefix)]
        return self.routes[max(prefixes, key=len)] if prefixes else None
