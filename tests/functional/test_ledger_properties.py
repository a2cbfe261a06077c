"""Any sequence of postings keeps the money: found by Hypothesis, through the named postings and through raw legs."""

from __future__ import annotations

import inspect
import itertools
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from django.db.models import Sum
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from apps.accounts.models import Customer, Tenant
from apps.common.money import Money
from apps.wallet import ledger
from apps.wallet.ledger import CASH, FX, REVENUE, LedgerError, Leg, Posting
from apps.wallet.models import Account, Entry, Transfer
from tests.factories import START, make_customer, make_tenant

pytestmark = pytest.mark.both_databases

_runs = itertools.count(1)

CURRENCIES = ("TRY", "USD", "EUR")
WHY: dict[str, Any] = {"reason": "because", "actor": "olga", "now": START}


@dataclass
class World:
    """Two customers with a wallet each, three orders of two units and one attempt; numbers no other run uses."""

    tenant: Tenant
    run: int = field(default_factory=lambda: next(_runs))
    done: set[tuple[object, ...]] = field(default_factory=set)
    customers: list[Customer] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.customers = [make_customer(self.tenant, "0", currency=code) for code in ("TRY", "USD")]

    def order_id(self, n: int) -> int:
        return self.run * 1000 + n

    def unit_id(self, n: int, unit: int) -> int:
        return self.order_id(n) * 10 + unit

    def owner(self, n: int) -> Customer:
        """Orders 0 and 2 are the first customer's, order 1 the second's."""
        return self.customers[n % 2]

    def money(self, n: int, micros: int) -> Money:
        return Money(micros, self.owner(n).currency)

    def post(self, *postings: Posting) -> None:
        ledger.post(self.tenant.pk, postings, START)

    def key(self, name: str) -> str:
        return f"{name}:{self.run}"


Act = Callable[[World, int, int, int, int], object]
"""What is done with (order or customer, unit, amount, another number)."""


def person(act: Callable[..., object], name: str, *, sign: int = 1) -> Act:
    """A posting about a customer; the other number makes its key, so that keys repeat."""

    def run(world: World, n: int, unit: int, micros: int, other: int) -> object:
        customer, money = world.owner(n), world.money(n, sign * micros)
        return act(world.tenant.pk, customer.pk, money, key=world.key(f"{name}:{other}"), **WHY)

    return run


def capture_part(world: World, n: int, unit: int, micros: int, other: int) -> None:
    sold, rest = world.money(n, micros), world.money(n, other)
    owner, ids = world.owner(n).pk, (world.order_id(n), world.unit_id(n, unit))
    world.post(*ledger.capture_part(owner, *ids, sold=sold, rest=rest, reason="part"))


def reverse_sale(world: World, n: int, unit: int, micros: int, other: int) -> None:
    ids, money = (world.order_id(n), world.unit_id(n, unit)), world.money(n, micros)
    world.post(ledger.sale_reversal(world.owner(n).pk, *ids, money, reason="x", actor="olga"))


def top_up(world: World, n: int, unit: int, micros: int, other: int) -> None:
    received, paid = Money(micros, CURRENCIES[n]), Money(other, CURRENCIES[unit])
    ledger.top_up_float(world.tenant.pk, 1, received, paid, key=world.key(f"top:{other}"), **WHY)


def raw(world: World, n: int, unit: int, micros: int, other: int) -> None:
    """Three legs that balance, or do not, in one currency or two, under a key that may be used."""
    source = ledger.customer_purse(world.owner(n).pk) if unit else CASH
    legs = (
        Leg(source, world.money(n, -micros)),
        Leg(FX, world.money(n, micros - other)),
        Leg(REVENUE, Money(other, CURRENCIES[other % 3])),
    )
    world.post(Posting(world.key(f"raw:{other}"), "raw", legs, "test", 1, actor="olga"))


def reverse_cost(world: World, n: int, unit: int, micros: int, other: int) -> None:
    postings = ledger.cost_reversals(1, world.order_id(n), world.order_id(n), other)
    world.post(*postings)


ACTS: dict[str, Act] = {
    "deposit": person(ledger.deposit, "deposit"),
    "withdrawal": person(ledger.withdrawal, "withdrawal"),
    "correction up": person(ledger.correction, "up"),
    "correction down": person(ledger.correction, "down", sign=-1),
    "credit": person(ledger.set_credit_limit, "credit"),
    "hold": lambda w, n, unit, micros, other: ledger.hold_order(
        w.tenant.pk, w.owner(n).pk, w.order_id(n), w.money(n, micros), START
    ),
    "capture": lambda w, n, unit, micros, other: w.post(
        ledger.capture_unit(w.order_id(n), w.unit_id(n, unit), w.money(n, micros))
    ),
    "release": lambda w, n, unit, micros, other: w.post(
        ledger.release_unit(w.owner(n).pk, w.order_id(n), w.unit_id(n, unit), w.money(n, micros), "refused")
    ),
    "capture part": capture_part,
    "sale reversal": reverse_sale,
    "cost": lambda w, n, unit, micros, other: w.post(
        ledger.provider_cost(1, w.order_id(n), w.order_id(n), Money(micros, "EUR"))
    ),
    "cost correction": lambda w, n, unit, micros, other: w.post(
        ledger.cost_correction(
            1, w.order_id(n), w.order_id(n), other, booked=Money(micros, "EUR"), actual=Money(other, "EUR")
        )
    ),
    "late cost": lambda w, n, unit, micros, other: w.post(
        ledger.late_cost(1, w.order_id(n), w.order_id(n), other, Money(micros, "EUR"))
    ),
    "late sale": lambda w, n, unit, micros, other: w.post(
        ledger.late_sale(w.owner(n).pk, w.order_id(n), w.unit_id(n, unit), other, w.money(n, micros), actor="ayse")
    ),
    "cost reversal": reverse_cost,
    "top up": top_up,
    "write off": lambda w, n, unit, micros, other: ledger.write_off(
        w.tenant.pk, 1, Money(micros, "EUR"), key=w.key(f"off:{other}"), **WHY
    ),
    "raw": raw,
}

steps = st.lists(
    st.tuples(
        st.sampled_from(sorted(ACTS)),
        st.integers(0, 2),
        st.integers(0, 1),
        st.one_of(st.integers(-1, 12), st.sampled_from([5, 5, 10])),
        st.sampled_from([0, 1, 5, 7]),
    ),
    min_size=1,
    max_size=40,
)
one_life = st.tuples(st.integers(0, 2), st.integers(1, 9), st.integers(1, 9))
"""A deposit, a hold, and what becomes of it, so that every kind of posting is reached often."""


class TestAnySequenceOfPostings:
    @example(
        lives=[(0, 3, 4)],
        sequence=[
            ("raw", 0, 0, 3, 5),
            ("raw", 0, 1, 1, 7),
            ("credit", 0, 0, 9, 0),
            ("withdrawal", 0, 0, 10, 5),
            ("credit", 0, 0, 1, 1),
        ],
    )
    @given(lives=st.lists(one_life, max_size=3), sequence=steps)
    @settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
    def test_keeps_every_sum_every_limit_and_every_once(
        self, db: None, lives: list[tuple[int, int, int]], sequence: list[tuple[str, int, int, int, int]]
    ) -> None:
        world = World(make_tenant())
        begun = [step for n, first, second in lives for step in life(n, first, second)]
        for name, n, unit, micros, other in [*begun, *sequence]:
            before = snapshot(world)
            try:
                ACTS[name](world, n, unit, micros, other)
            except LedgerError:
                assert snapshot(world) == before
        check_sums(world)
        check_wallets(world)
        check_once(world)
        check_orders(world)
        assert ledger.recount().problems() == []


def life(n: int, first: int, second: int) -> list[tuple[str, int, int, int, int]]:
    """An order of two units with everything that can happen to it, most of it twice."""
    return [
        ("deposit", n, 0, first + second, 1000 + n * 10 + first),
        ("hold", n, 0, first + second, 0),
        ("hold", n, 0, first + second, 0),
        ("capture", n, 0, first, 0),
        ("capture", n, 0, first, 0),
        ("capture", n, 0, second, 0),
        ("release", n, 1, second, 0),
        ("capture", n, 1, second, 0),
        ("release", n, 0, first, 0),
        ("sale reversal", n, 0, first, 0),
        ("sale reversal", n, 0, first, 0),
        ("cost", n, 0, first, 0),
        ("cost reversal", n, 0, 1, 1),
        ("cost reversal", n, 0, 1, 5),
        ("withdrawal", n, 0, first, 1000 + second),
    ]


def snapshot(world: World) -> tuple[object, ...]:
    """Every entry, balance and limit of the shop, counted."""
    entries = Entry.objects.filter(account__tenant=world.tenant)
    wallets = Account.objects.filter(tenant=world.tenant, kind="customer").order_by("id")
    transfers = Transfer.objects.filter(tenant=world.tenant).count()
    return transfers, entries.count(), tuple(wallets.values_list("balance_micros", "limit_micros"))


def check_sums(world: World) -> None:
    """Zero in each currency, for every transfer and for the whole shop."""
    entries = Entry.objects.filter(account__tenant=world.tenant)
    rows = entries.values("transfer", "account__currency").annotate(sum=Sum("amount_micros"))
    assert {row["sum"] for row in rows} <= {0}
    by_currency: dict[str, int] = defaultdict(int)
    for (_, currency), micros in ledger.trial_balance(world.tenant.pk).items():
        by_currency[currency] += micros
    assert set(by_currency.values()) <= {0}


def check_wallets(world: World) -> None:
    """The stored balance is the sum of the entries, and not below the limit; one wallet per customer."""
    wallets = Account.objects.filter(tenant=world.tenant, kind="customer").annotate(sum=Sum("entries__amount_micros"))
    for wallet in wallets:
        assert wallet.balance_micros == (wallet.sum or 0)
        assert (wallet.balance_micros or 0) >= -wallet.limit_micros
    assert len({wallet.subject_id for wallet in wallets}) == len(wallets)


def check_once(world: World) -> None:
    """At most one hold per order; one capture, release and reversal per unit, of which there are two."""
    for n in range(3):
        about = Transfer.objects.filter(subject_kind="order", subject_id=world.order_id(n))
        kinds = list(about.values_list("kind", flat=True))
        assert kinds.count("hold") <= 1
        assert kinds.count("cost") <= 1
        for kind in ("capture", "release", "sale_reversal"):
            units = list(about.filter(kind=kind).values_list("key", flat=True))
            assert len(units) == len({key.split(":")[2] for key in units}) <= 2


def check_orders(world: World) -> None:
    """No more leaves an order's money than was put there."""
    for n in range(3):
        sums = ledger.order_sums([world.order_id(n)])[world.order_id(n)]
        moved = defaultdict(int, sums)
        assert moved["capture"] + moved["release"] <= moved["hold"]
        assert moved["sale_reversal"] <= moved["capture"]
        assert ledger.cost_of_order(world.order_id(n)) >= 0


def test_every_named_posting_takes_part() -> None:
    """A new posting of the ledger belongs into ACTS."""
    made = {"Posting", "list[Posting]"}
    public = [
        (name, function.__annotations__)
        for name, function in inspect.getmembers(ledger, inspect.isfunction)
        if not name.startswith("_")
    ]
    posting = [name for name, types in public if "now" in types or types.get("return") in made]
    text = Path(__file__).read_text(encoding="utf-8")
    assert len(posting) > 15
    assert [name for name in posting if f"ledger.{name}" not in text] == []
