"""`manage.py check_money`: silent over honest books, loud about every kind of row that was planted past the guards."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from django.core.management import CommandError

from apps.accounts.models import Customer
from apps.common.money import Money
from apps.ops.money_check import check_money
from apps.orders.models import Attempt, Order, OrderUnit
from apps.wallet import ledger
from apps.wallet.models import Account, Entry, Transfer
from tests.factories import START, Shop, Stage, make_customer, make_shop, make_tenant, order_from, standing_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.ops_fixtures import run
from tests.functional.past_the_guards import past_the_guards, sql

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases

PRICE = 35_000_000
COST = 31_500_000


@dataclass(frozen=True, slots=True)
class Business:
    """One shop with an order of each kind, and the rows that the tests tamper with."""

    shop: Shop
    completed: Order
    rejected: Order
    waiting: Order
    other: Customer

    def unit(self, order: Order) -> OrderUnit:
        return OrderUnit.objects.get(order=order)

    def transfer(self, key: str) -> int:
        return Transfer.objects.get(key=key).pk

    def account(self, kind: str) -> int:
        accounts = Account.objects.filter(kind=kind, currency="TRY", tenant=self.shop.tenant)
        return accounts.exclude(kind="customer", subject_id=self.other.pk).get().pk

    def capture(self) -> int:
        return self.transfer(f"capture:unit:{self.unit(self.completed).pk}")

    def plant(self, kind: str, key: str, order: Order, source: str, target: str, micros: int) -> None:
        """A transfer with two entries, as somebody's own SQL would write it; stored balances move along."""
        transfer = Transfer.objects.create(
            tenant=self.shop.tenant, key=key, kind=kind, subject_kind="order", subject_id=order.pk, at=START
        )
        for account, amount in ((self.account(source), -micros), (self.account(target), micros)):
            Entry.objects.create(transfer=transfer, account_id=account, amount_micros=amount)
            sql("UPDATE wallet_account SET balance_micros = balance_micros + %s WHERE id = %s", amount, account)


@pytest.fixture
def business(stage: Stage) -> Business:
    """A completed order, a rejected one, one that waits, and a customer who has none."""
    shop = make_shop(stage.url)
    completed = stage.order(shop)
    rejected = stage.order(shop, place="refuse", refuse_class="product")
    stage.run_until_quiet()
    assert (standing_of(completed)[0], standing_of(rejected)[0]) == ("completed", "rejected")
    why: dict[str, Any] = {"reason": "bank", "actor": "olga", "now": START}
    ledger.top_up_float(shop.tenant.pk, shop.integration.pk, lira(100), lira(100), key="top", **why)
    ledger.set_credit_limit(shop.tenant.pk, shop.customer.pk, lira(10), key="credit", **why)
    return Business(shop, completed, rejected, order_from(shop), make_customer(shop.tenant))


def lira(units: int) -> Money:
    return Money(units * 1_000_000, "TRY")


Plant = Callable[[Business], object]

PLANTED: dict[str, tuple[Plant, str]] = {
    "an entry that was changed": (
        lambda b: sql("UPDATE wallet_entry SET amount_micros = 1 WHERE transfer_id = %s", b.capture()),
        "transfer capture:unit:{completed_unit} does not sum to zero",
    ),
    "an entry that was taken out": (
        lambda b: sql("DELETE FROM wallet_entry WHERE transfer_id = %s AND amount_micros < 0", b.capture()),
        "transfer capture:unit:{completed_unit} does not sum to zero",
    ),
    "a transfer without entries": (
        lambda b: sql("DELETE FROM wallet_entry WHERE transfer_id = %s", b.capture()),
        "transfer capture:unit:{completed_unit} does not sum to zero",
    ),
    "a balance changed by hand": (
        lambda b: sql("UPDATE wallet_account SET balance_micros = 7 WHERE kind = 'customer'"),
        "the stored balance of customer TRY customer:{customer} is not the sum of its entries",
    ),
    "a wallet below its limit": (
        lambda b: sql("UPDATE wallet_account SET balance_micros = -10000001 WHERE kind = 'customer'"),
        "customer TRY customer:{customer} is below its credit limit",
    ),
    "a credit limit raised by hand": (
        lambda b: sql("UPDATE wallet_account SET limit_micros = 99000000 WHERE kind = 'customer'"),
        "the credit limit of customer TRY customer:{customer} was decided by nobody",
    ),
    "a house account with a balance": (
        lambda b: sql("UPDATE wallet_account SET balance_micros = 5 WHERE kind = 'held'"),
        "held TRY :0 is a house account and stores a balance",
    ),
    "an account turned into another currency": (
        lambda b: sql("UPDATE wallet_account SET currency = 'USD' WHERE id = %s", b.account("revenue")),
        "transfer capture:unit:{completed_unit} does not sum to zero",
    ),
    "an account in no known currency": (
        lambda b: sql("UPDATE wallet_account SET currency = 'TL' WHERE id = %s", b.account("revenue")),
        "revenue TL :0 is in no known currency",
    ),
    "a second wallet of one customer": (
        lambda b: sql(
            "INSERT INTO wallet_account (tenant_id, kind, currency, subject_kind, subject_id, balance_micros, "
            "limit_micros) VALUES (%s, 'customer', 'USD', 'customer', %s, 0, 0)",
            b.shop.tenant.pk,
            b.shop.customer.pk,
        ),
        "customer USD customer:{customer} belongs to no customer of its shop in this currency",
    ),
    "a release that takes from the wallet": (
        lambda b: b.plant("release", f"release:unit:{b.unit(b.waiting).pk}", b.waiting, "customer", "held", PRICE),
        "order {waiting}: transfer release:unit:{waiting_unit} (release) goes from customer to held",
    ),
    "a second capture under another key": (
        lambda b: b.plant("capture", "capture:unit:again", b.completed, "held", "revenue", PRICE),
        "order {completed}: transfer capture:unit:again (capture) is about nothing of this order",
    ),
    "a capture of a unit that is still held": (
        lambda b: b.plant("capture", f"capture:unit:{b.unit(b.waiting).pk}", b.waiting, "held", "revenue", PRICE),
        "order {waiting}: unit 1 is held, but 35000000 were captured and 0 released",
    ),
    "a release beside the capture": (
        lambda b: b.plant("release", f"release:unit:{b.unit(b.completed).pk}", b.completed, "held", "customer", PRICE),
        "order {completed}: unit 1 is captured, but 35000000 were captured and 35000000 released",
    ),
    "a unit released without the ledger": (
        lambda b: sql("UPDATE orders_unit SET status = 'released' WHERE order_id = %s", b.waiting.pk),
        "order {waiting}: unit 1 is released, but 0 were captured and 0 released",
    ),
    "a unit whose amount was changed": (
        lambda b: sql("UPDATE orders_unit SET amount_micros = 1 WHERE order_id = %s", b.completed.pk),
        "order {completed}: unit 1 is captured, but 35000000 were captured and 0 released",
    ),
    "a hold for another price": (
        lambda b: sql(
            "UPDATE product_orders SET price_micros = 70000000, unit_price_micros = 70000000 WHERE id = %s",
            b.completed.pk,
        ),
        "order {completed}: 35000000 micro-units were held for a price of 70000000",
    ),
    "an order completed without a capture": (
        lambda b: sql("UPDATE product_orders SET status = 'completed' WHERE id = %s", b.waiting.pk),
        "order {waiting}: it is completed, but 0 were captured, 0 released and 0 given back",
    ),
    "an order rejected although it was paid": (
        lambda b: sql("UPDATE product_orders SET status = 'rejected' WHERE id = %s", b.completed.pk),
        "order {completed}: it is rejected, but 35000000 were captured, 0 released and 0 given back",
    ),
    "a settled order that is open again": (
        lambda b: sql("UPDATE product_orders SET status = 'processing' WHERE id = %s", b.completed.pk),
        "order {completed}: it is processing, but 35000000 were captured, 0 released and 0 given back",
    ),
    "money given back without a refund": (
        lambda b: b.plant(
            "sale_reversal", f"reversal:unit:{b.unit(b.completed).pk}", b.completed, "revenue", "customer", PRICE
        ),
        "order {completed}: 35000000 were given back, but it is completed",
    ),
    "a late delivery charged at another price": (
        lambda b: b.plant(
            "late_sale", f"late:unit:{b.unit(b.rejected).pk}:evidence:1", b.rejected, "customer", "revenue", 1
        ),
        "order {rejected}: 1 were charged for unit 1 after 35000000 had gone back",
    ),
    "more given back than captured": (
        lambda b: b.plant(
            "sale_reversal", f"reversal:unit:{b.unit(b.completed).pk}", b.completed, "revenue", "customer", PRICE + 1
        ),
        "order {completed}: more of unit 1 was given back than captured",
    ),
    "a cost that the attempt does not know": (
        lambda b: sql("UPDATE orders_attempt SET cost_micros = 1 WHERE order_id = %s", b.completed.pk),
        "order {completed}: attempt {attempt} (delivered) should have cost {{('cost', 'TRY'): 1}}, "
        "booked is {{('cost', 'TRY'): 31500000}}",
    ),
    "a cost in another currency": (
        lambda b: sql("UPDATE orders_attempt SET cost_currency = 'USD' WHERE order_id = %s", b.completed.pk),
        "order {completed}: attempt {attempt} (delivered) should have cost {{('cost', 'USD'): 31500000}}, "
        "booked is {{('cost', 'TRY'): 31500000}}",
    ),
    "a cost of a refused attempt": (
        lambda b: b.plant(
            "cost", f"cost:attempt:{Attempt.objects.get(order=b.rejected).pk}", b.rejected, "float", "cost", COST
        ),
        "order {rejected}: attempt {refused} (refused) should have cost {{}}, booked is {{('cost', 'TRY'): 31500000}}",
    ),
    "money of an order that is not there": (
        lambda b: sql("UPDATE wallet_transfer SET subject_id = 987654 WHERE id = %s", b.capture()),
        "there is money of order 987654, which does not exist",
    ),
    "money of another order": (
        lambda b: sql("UPDATE wallet_transfer SET subject_id = %s WHERE id = %s", b.waiting.pk, b.capture()),
        "order {waiting}: transfer capture:unit:{completed_unit} (capture) is about nothing of this order",
    ),
    "an entry without a transfer": (
        lambda b: sql("UPDATE wallet_entry SET transfer_id = 987654 WHERE id = %s", lone_entry()),
        "entry {lone} has no transfer",
    ),
    "an entry without an account": (
        lambda b: sql("UPDATE wallet_entry SET account_id = 987654 WHERE id = %s", lone_entry()),
        "entry {lone} has no account",
    ),
    "an entry in another shop": (
        lambda b: sql("UPDATE wallet_account SET tenant_id = %s WHERE kind = 'cash'", make_tenant().pk),
        "entry {lone} is in another shop than its transfer",
    ),
    "a float at nobody's provider account": (
        lambda b: sql("UPDATE wallet_account SET subject_id = 987654 WHERE kind = 'float'"),
        "shop {shop} has a float at provider account 987654, which it does not have",
    ),
    "a change without a name": (
        lambda b: sql("UPDATE wallet_transfer SET actor = '' WHERE key = 'top'"),
        "transfer top names neither an order nor an author",
    ),
    "the hold of another customer's wallet": (
        lambda b: sql(
            "UPDATE wallet_entry SET account_id = %s WHERE amount_micros < 0 AND transfer_id = %s",
            Account.objects.get(kind="customer", subject_id=b.other.pk).pk,
            b.transfer(f"hold:order:{b.waiting.pk}"),
        ),
        "order {waiting}: transfer hold:order:{waiting} is of the wallet of customer {other}",
    ),
}

UNGUARDED = (
    ("wallet_account", "account_not_below_limit"),
    ("wallet_account", "account_only_customers_store_a_balance"),
    ("wallet_account", "account_one_wallet_per_customer"),
    ("wallet_transfer", "transfer_names_an_order_or_an_author"),
)


def lone_entry() -> int:
    """The side of a deposit that came from outside."""
    return Entry.objects.filter(account__kind="cash", transfer__kind="deposit").order_by("id")[0].pk


def names_of(business: Business) -> dict[str, object]:
    """What the expected sentences call by number."""
    return {
        "completed": business.completed.pk,
        "rejected": business.rejected.pk,
        "waiting": business.waiting.pk,
        "completed_unit": business.unit(business.completed).pk,
        "waiting_unit": business.unit(business.waiting).pk,
        "customer": business.shop.customer.pk,
        "other": business.other.pk,
        "lone": lone_entry(),
        "attempt": Attempt.objects.get(order=business.completed).pk,
        "refused": Attempt.objects.get(order=business.rejected).pk,
        "shop": business.shop.tenant.pk,
    }


class TestTheCheck:
    def test_finds_nothing_in_honest_books(self, business: Business) -> None:
        check = check_money()
        assert check.problems == []
        counts = {"orders": 3, "accounts": Account.objects.count(), "entries": Entry.objects.count(), "unexplained": 0}
        assert check.as_dict() == counts

    @pytest.mark.parametrize("name", sorted(PLANTED))
    def test_finds(self, business: Business, name: str) -> None:
        plant, sentence = PLANTED[name]
        expected = sentence.format(**names_of(business))
        with past_the_guards(*UNGUARDED):
            plant(business)
            assert expected in check_money().problems
        assert check_money().problems == []


class TestTheCommand:
    def test_ends_with_one_line_of_json(self, business: Business) -> None:
        last = run("check_money", "--json").splitlines()[-1]
        assert list(json.loads(last))[:4] == ["orders", "accounts", "entries", "unexplained"]
        assert json.loads(last)["unexplained"] == 0
        assert json.loads(last)["entries"] > 0

    def test_says_the_counts_to_people(self, business: Business) -> None:
        assert run("check_money").startswith("3 orders, ")

    def test_fails_loudly(self, business: Business) -> None:
        with past_the_guards():
            sql("UPDATE wallet_account SET balance_micros = 7 WHERE kind = 'customer'")
            with pytest.raises(CommandError, match="the money does not add up: 2 disagreements") as failed:
                run("check_money", "--json")
        assert failed.value.returncode == 1
