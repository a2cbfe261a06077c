"""The ledger: nothing is lost or made, no key is used twice, and nobody spends what is not there."""

from __future__ import annotations

import itertools
import re
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from apps.accounts.models import Customer, Tenant
from apps.common.money import MAX_MICROS, Money, read_amount
from apps.wallet import ledger
from apps.wallet.ledger import (
    CASH,
    HELD,
    LOSS,
    REVENUE,
    BadPosting,
    KeyReused,
    LedgerError,
    Leg,
    NotEnoughMoney,
    Overdrawn,
    Posting,
    WrongWallet,
)
from apps.wallet.models import Account, CreditChange, Entry, Transfer
from apps.wallet.statement import standing_of
from tests.factories import START, check_conservation, make_customer, make_tenant
from tests.functional.core_fixtures import committed

__all__ = ["committed"]

pytestmark = pytest.mark.both_databases

_keys = itertools.count(1)


def lira(units: int) -> Money:
    return Money(units * 1_000_000, "TRY")


def spend(customer: Customer, amount: Money, key: str = "") -> Posting:
    key = key or f"test:{next(_keys)}"
    legs = ledger.move(amount, ledger.customer_purse(customer.pk), HELD)
    return Posting(key, "test", legs, "test", 1, actor="test")


def balance(customer: Customer) -> int:
    return ledger.balance_of(customer.pk, customer.currency).micros


@pytest.fixture
def tenant(db: None) -> Tenant:
    return make_tenant()


@pytest.fixture
def customer(tenant: Tenant) -> Customer:
    return make_customer(tenant, "100")


class TestAPosting:
    def test_moves_money_from_one_purse_to_another(self, customer: Customer) -> None:
        (transfer,) = ledger.post(customer.tenant_id, [spend(customer, lira(30))], START)
        entries = Entry.objects.filter(transfer=transfer).order_by("amount_micros")
        assert [(entry.account.kind, entry.amount_micros) for entry in entries] == [
            ("customer", -30_000_000),
            ("held", 30_000_000),
        ]
        assert balance(customer) == 70_000_000

    def test_repeated_returns_the_first_transfer_and_moves_nothing(self, customer: Customer) -> None:
        posting = spend(customer, lira(30), "same-key")
        first = ledger.post(customer.tenant_id, [posting], START)
        assert ledger.post(customer.tenant_id, [posting], START) == first
        assert ledger.post(customer.tenant_id, [posting, posting], START) == first * 2
        assert balance(customer) == 70_000_000

    @pytest.mark.parametrize("change", ["amount", "source", "target"])
    def test_under_a_used_key_with_other_content_is_refused(self, customer: Customer, change: str) -> None:
        posting = spend(customer, lira(30), "same-key")
        ledger.post(customer.tenant_id, [posting], START)
        other = {
            "amount": spend(customer, lira(31), "same-key"),
            "source": spend(make_customer(customer.tenant), lira(30), "same-key"),
            "target": replace(posting, legs=ledger.move(lira(30), ledger.customer_purse(customer.pk), REVENUE)),
        }[change]
        with pytest.raises(KeyReused, match="same-key"):
            ledger.post(customer.tenant_id, [other], START)
        assert balance(customer) == 70_000_000
        check_conservation()

    @pytest.mark.parametrize("micros", [0, -1])
    def test_of_nothing_is_refused(self, customer: Customer, micros: int) -> None:
        with pytest.raises(LedgerError, match="above zero"):
            ledger.post(customer.tenant_id, [spend(customer, Money(micros, "TRY"))], START)

    def test_that_is_not_covered_leaves_nothing(self, customer: Customer) -> None:
        before = (Transfer.objects.count(), Entry.objects.count(), Account.objects.count())
        with pytest.raises(NotEnoughMoney):
            ledger.post(customer.tenant_id, [spend(customer, Money(100_000_001, "TRY"))], START)
        assert (Transfer.objects.count(), Entry.objects.count(), Account.objects.count()) == before
        assert balance(customer) == 100_000_000

    def test_that_is_not_covered_undoes_those_before_it(self, customer: Customer) -> None:
        with pytest.raises(NotEnoughMoney):
            ledger.post(customer.tenant_id, [spend(customer, lira(60)), spend(customer, lira(60))], START)
        assert balance(customer) == 100_000_000

    def test_may_use_the_last_micro_unit(self, customer: Customer) -> None:
        ledger.post(customer.tenant_id, [spend(customer, lira(100))], START)
        assert balance(customer) == 0

    def test_may_use_the_credit_line_and_not_more(self, tenant: Tenant) -> None:
        customer = make_customer(tenant, "10", credit="5")
        ledger.post(tenant.pk, [spend(customer, lira(15))], START)
        assert balance(customer) == -5_000_000
        with pytest.raises(NotEnoughMoney):
            ledger.post(tenant.pk, [spend(customer, Money(1, "TRY"))], START)

    def test_in_another_currency_does_not_touch_the_wallet(self, customer: Customer) -> None:
        with pytest.raises(WrongWallet, match=r"^currency: customer \d+ has no wallet in USD"):
            ledger.post(customer.tenant_id, [spend(customer, Money(1, "USD"))], START)


class TestADeposit:
    def test_with_the_same_key_is_made_once(self, customer: Customer) -> None:
        for _ in range(3):
            ledger.deposit(customer.tenant_id, customer.pk, lira(50), key="bank:1", reason="", actor="a", now=START)
        assert balance(customer) == 150_000_000


WHY: dict[str, Any] = {"reason": "because", "actor": "olga", "now": START}


def usd(units: int) -> Money:
    return Money(units * 1_000_000, "USD")


class TestAPostingThatIsWrong:
    @pytest.mark.parametrize(
        ("money", "told"),
        [
            (Money(0, "TRY"), "amount: 0.00 TRY is not above zero"),
            (Money(-1, "TRY"), "amount: -0.000001 TRY is not above zero"),
            (Money(1.5, "TRY"), "amount: must be whole micro-units that fit into 64 bits, never a float"),  # type: ignore[arg-type]
            (Money(True, "TRY"), "amount: must be whole micro-units that fit into 64 bits, never a float"),
            (Money(MAX_MICROS + 1, "TRY"), "amount: must be whole micro-units that fit into 64 bits, never a float"),
            (Money(1, "TL"), "currency: 'TL' is not a currency; write its ISO 4217 code, such as TRY"),
            (Money(1, "try"), "currency: 'try' is not a currency; write its ISO 4217 code, such as TRY"),
            (Money(1, None), "currency: 'None' is not a currency; write its ISO 4217 code, such as TRY"),  # type: ignore[arg-type]
        ],
    )
    def test_names_the_field_and_leaves_nothing(self, customer: Customer, money: Money, told: str) -> None:
        before = counts()
        with pytest.raises(BadPosting) as refused:
            ledger.deposit(customer.tenant_id, customer.pk, money, key="wrong", **WHY)
        assert str(refused.value) == told
        assert counts() == before

    @pytest.mark.parametrize(
        "legs",
        [
            (),
            (Leg(CASH, lira(1)),),
            (Leg(CASH, lira(-1)), Leg(HELD, usd(1))),
            (Leg(CASH, lira(-1)), Leg(HELD, lira(2)), Leg(LOSS, usd(-1))),
            (Leg(CASH, lira(0)), Leg(HELD, lira(0))),
            (Leg(CASH, lira(-1)), Leg(HELD, Money(0, "TRY")), Leg(LOSS, lira(1))),
            (Leg(CASH, lira(-1)), Leg(CASH, lira(-1)), Leg(HELD, lira(2))),
        ],
    )
    def test_does_not_balance(self, tenant: Tenant, legs: ledger.Legs) -> None:
        before = counts()
        with pytest.raises(BadPosting, match=r"^legs: "):
            ledger.post(tenant.pk, [Posting("crooked", "test", legs, "test", 1, actor="olga")], START)
        assert counts() == before

    @pytest.mark.parametrize("key", ["", "k" * 121])
    def test_has_no_key_that_can_be_kept(self, customer: Customer, key: str) -> None:
        with pytest.raises(BadPosting, match=r"^key: must have 1 to 120 characters"):
            ledger.deposit(customer.tenant_id, customer.pk, lira(1), key=key, **WHY)

    def test_names_neither_an_order_nor_an_author(self, customer: Customer) -> None:
        with pytest.raises(BadPosting, match=r"^actor: "):
            ledger.deposit(customer.tenant_id, customer.pk, lira(1), key="x", reason="", actor="", now=START)

    def test_is_for_a_customer_of_another_shop(self, customer: Customer) -> None:
        with pytest.raises(WrongWallet, match="in this shop"):
            ledger.deposit(make_tenant().pk, customer.pk, lira(1), key="x", **WHY)


def counts() -> tuple[int, int, int]:
    return Transfer.objects.count(), Entry.objects.count(), Account.objects.count()


class TestPostingsOfPeople:
    def test_take_money_out(self, customer: Customer) -> None:
        ledger.withdrawal(customer.tenant_id, customer.pk, lira(30), key="w", **WHY)
        assert balance(customer) == 70_000_000
        assert legs_of("w") == {("customer", "TRY"): -30_000_000, ("cash", "TRY"): 30_000_000}
        with pytest.raises(NotEnoughMoney):
            ledger.withdrawal(customer.tenant_id, customer.pk, lira(71), key="w2", **WHY)

    def test_correct_a_balance_up_and_down_at_the_shops_expense(self, customer: Customer) -> None:
        ledger.correction(customer.tenant_id, customer.pk, lira(5), key="up", **WHY)
        ledger.correction(customer.tenant_id, customer.pk, lira(-7), key="down", **WHY)
        assert balance(customer) == 98_000_000
        assert legs_of("up") == {("revenue", "TRY"): -5_000_000, ("customer", "TRY"): 5_000_000}
        assert legs_of("down") == {("revenue", "TRY"): 7_000_000, ("customer", "TRY"): -7_000_000}

    def test_change_the_credit_limit_with_their_name(self, customer: Customer) -> None:
        first = ledger.set_credit_limit(customer.tenant_id, customer.pk, lira(50), key="c", **WHY)
        assert ledger.set_credit_limit(customer.tenant_id, customer.pk, lira(50), key="c", **WHY) == first
        change = CreditChange.objects.get(pk=first)
        assert (change.before_micros, change.after_micros, change.actor) == (0, 50_000_000, "olga")
        ledger.withdrawal(customer.tenant_id, customer.pk, lira(140), key="w", **WHY)
        with pytest.raises(NotEnoughMoney, match=r"further below zero than 39\.00 TRY"):
            ledger.set_credit_limit(customer.tenant_id, customer.pk, lira(39), key="c2", **WHY)
        with pytest.raises(KeyReused):
            ledger.set_credit_limit(customer.tenant_id, customer.pk, lira(60), key="c", **WHY)
        with pytest.raises(BadPosting, match=r"^amount: "):
            ledger.set_credit_limit(customer.tenant_id, customer.pk, lira(-1), key="c3", **WHY)
        assert CreditChange.objects.count() == 1
        check_conservation()

    def test_top_up_a_float_in_its_own_currency(self, tenant: Tenant) -> None:
        ledger.top_up_float(tenant.pk, 7, usd(10), usd(10), key="t", **WHY)
        assert ledger.float_of(tenant.pk) == {(7, "USD"): usd(10)}
        with pytest.raises(BadPosting, match=r"^paid: "):
            ledger.top_up_float(tenant.pk, 7, usd(10), usd(11), key="t2", **WHY)

    def test_top_up_a_float_paid_in_another_currency(self, tenant: Tenant) -> None:
        ledger.top_up_float(tenant.pk, 7, usd(10), lira(341), key="t", **WHY)
        assert legs_of("t") == {
            ("cash", "TRY"): -341_000_000,
            ("fx", "TRY"): 341_000_000,
            ("fx", "USD"): -10_000_000,
            ("float", "USD"): 10_000_000,
        }
        lines = ledger.lines_of("integration", 7)
        assert [(line.source, line.target, line.money) for line in lines] == [
            ("cash", "fx", lira(341)),
            ("fx", "float", usd(10)),
        ]
        assert [line.actor for line in lines] == ["olga", "olga"]

    def test_write_off_what_lies_at_a_provider(self, tenant: Tenant) -> None:
        ledger.top_up_float(tenant.pk, 7, usd(10), usd(10), key="t", **WHY)
        ledger.write_off(tenant.pk, 7, usd(4), key="o", **WHY)
        assert ledger.trial_balance(tenant.pk) == {
            ("cash", "USD"): -10_000_000,
            ("float", "USD"): 6_000_000,
            ("loss", "USD"): 4_000_000,
        }


def legs_of(key: str) -> dict[tuple[str, str], int]:
    entries = Entry.objects.filter(transfer__key=key).select_related("account")
    return {(entry.account.kind, entry.account.currency): entry.amount_micros for entry in entries}


class TestAUnit:
    """Orders and units are numbers to the ledger; it never sees their tables."""

    def hold(self, customer: Customer, order_id: int = 1, units: int = 10) -> None:
        ledger.hold_order(customer.tenant_id, customer.pk, order_id, lira(units), START)

    def post(self, customer: Customer, *postings: Posting) -> None:
        ledger.post(customer.tenant_id, postings, START)

    def test_is_captured_for_a_part_and_the_rest_goes_back(self, customer: Customer) -> None:
        self.hold(customer)
        parts = ledger.capture_part(customer.pk, 1, 11, sold=lira(6), rest=lira(4), reason="6 of 10")
        self.post(customer, *parts)
        assert ledger.order_sums([1])[1] == {"hold": 10_000_000, "capture": 6_000_000, "release": 4_000_000}
        assert balance(customer) == 94_000_000

    def test_is_captured_once(self, customer: Customer) -> None:
        self.hold(customer, units=20)
        for _ in range(3):
            self.post(customer, ledger.capture_unit(1, 11, lira(10)))
        assert ledger.order_sums([1])[1]["capture"] == 10_000_000

    @pytest.mark.parametrize("first", ["capture", "release"])
    def test_is_not_both_captured_and_released(self, customer: Customer, first: str) -> None:
        self.hold(customer)
        ways = [
            ledger.capture_unit(1, 11, lira(10)),
            ledger.release_unit(customer.pk, 1, 11, lira(10), "refused"),
        ]
        one, other = ways if first == "capture" else ways[::-1]
        self.post(customer, one)
        with pytest.raises(Overdrawn, match=r"^amount: order 1 does not have that much under 'held'"):
            self.post(customer, other)

    def test_takes_nothing_from_the_money_held_for_another_order(self, customer: Customer) -> None:
        self.hold(customer)
        self.hold(customer, order_id=2)
        with pytest.raises(Overdrawn):
            self.post(customer, ledger.capture_unit(1, 11, lira(11)))

    def test_is_given_back_by_a_person_up_to_what_was_captured(self, customer: Customer) -> None:
        self.hold(customer)
        self.post(customer, ledger.capture_unit(1, 11, lira(10)))
        back = ledger.sale_reversal(customer.pk, 1, 11, lira(10), reason="code used before", actor="olga")
        self.post(customer, back)
        self.post(customer, back)
        assert balance(customer) == 100_000_000
        again = ledger.sale_reversal(customer.pk, 1, 12, lira(1), reason="x", actor="olga")
        with pytest.raises(Overdrawn, match="under 'revenue'"):
            self.post(customer, again)

    def test_returns_its_cost_when_the_provider_takes_it_back(self, customer: Customer) -> None:
        self.post(customer, ledger.provider_cost(7, 1, 21, usd(3)))
        self.post(customer, ledger.cost_correction(7, 1, 21, 31, booked=usd(3), actual=usd(2)))
        self.post(customer, *ledger.cost_reversals(7, 1, 21, 32))
        assert ledger.cost_reversals(7, 1, 21, 33) == []
        assert ledger.cost_of_order(1) == 0
        assert ledger.float_of(customer.tenant_id) == {(7, "USD"): usd(0)}

    def test_returns_a_late_cost_out_of_the_loss(self, customer: Customer) -> None:
        self.post(customer, ledger.late_cost(7, 1, 21, 31, usd(3)))
        self.post(customer, *ledger.cost_reversals(7, 1, 21, 32))
        assert legs_of("reversal:attempt:21:evidence:32") == {("loss", "USD"): -3_000_000, ("float", "USD"): 3_000_000}


class TestExactness:
    @pytest.mark.parametrize("times", [1_000, pytest.param(10_000, marks=pytest.mark.slow)])
    def test_many_times_a_thousand_and_first_of_a_tenth_is_as_many_tenths(self, committed: None, times: int) -> None:
        """A database that sums decimals as binary floats says 1000.99999999998."""
        tenant = make_tenant()
        customer = make_customer(tenant, "0")
        purse = ledger.customer_purse(customer.pk)
        share = read_amount("0.1001", "TRY")
        postings = [
            Posting(f"share:{n}", "test", ledger.move(share, CASH, purse), "test", n, actor="olga")
            for n in range(times)
        ]
        for start in range(0, len(postings), 500):
            ledger.post(tenant.pk, postings[start : start + 500], START)
        total = 100_100 * times
        assert balance(customer) == total
        assert ledger.balance_of(customer.pk, "TRY") == Money(total, "TRY")
        assert ledger.trial_balance(tenant.pk) == {("cash", "TRY"): -total, ("customer", "TRY"): total}

    def test_three_currencies_whose_rates_change_leave_nothing_unexplained(self, tenant: Tenant) -> None:
        """Sold in three currencies, bought in USD with a float that is paid for in TRY, at another rate each time."""
        buyers = {currency: make_customer(tenant, "1000", currency=currency) for currency in ("TRY", "USD", "EUR")}
        rates = itertools.cycle([341_234_567, 352_000_001, 298_765_433])
        for n, (currency, buyer) in enumerate(buyers.items(), start=1):
            price = Money(33_333_333 * n, currency)
            ledger.top_up_float(tenant.pk, 7, usd(10), Money(next(rates), "TRY"), key=f"t:{n}", **WHY)
            ledger.hold_order(tenant.pk, buyer.pk, n, price, START)
            ledger.top_up_float(tenant.pk, 7, usd(10), Money(next(rates), "TRY"), key=f"u:{n}", **WHY)
            sold = ledger.capture_unit(n, n, price)
            ledger.post(tenant.pk, [sold, ledger.provider_cost(7, n, n, Money(9_123_456, "USD"))], START)
            ledger.top_up_float(tenant.pk, 7, usd(10), Money(next(rates), "TRY"), key=f"v:{n}", **WHY)
            back = ledger.sale_reversal(buyer.pk, n, n, price, reason="reversed there", actor="olga")
            ledger.post(tenant.pk, [back, *ledger.cost_reversals(7, n, n, n)], START)
        assert {currency: balance(buyer) for currency, buyer in buyers.items()} == dict.fromkeys(buyers, 1000_000_000)
        books = ledger.trial_balance(tenant.pk)
        paid = 3 * (341_234_567 + 352_000_001 + 298_765_433)
        assert books["fx", "TRY"] == paid
        assert books["fx", "USD"] == -90_000_000
        assert books["float", "USD"] == 90_000_000
        assert {kind: books[kind, "USD"] for kind in ("cost", "revenue", "held")} == {
            "cost": 0,
            "revenue": 0,
            "held": 0,
        }
        for currency in buyers:
            assert sum(micros for (_, code), micros in books.items() if code == currency) == 0
        assert ledger.recount().problems() == []


class TestLessons:
    def test_one_posting_function_writes_balances(self) -> None:
        """LESSONS F52: the wallet was updated by two code paths."""
        apps = Path(__file__).resolve().parents[2] / "apps"
        writes = r"balance_micros=F\(|limit_micros=|\b(Entry|Transfer)\.objects\.(bulk_|get_or_)?create"
        found = {
            path.relative_to(apps).as_posix()
            for path in apps.rglob("*.py")
            if "migrations" not in path.parts and re.search(writes, path.read_text(encoding="utf-8"))
        }
        assert found == {"wallet/books.py", "wallet/ledger.py"}
        books = (apps / "wallet" / "books.py").read_text(encoding="utf-8")
        assert re.findall(r"\.(?:update|create|bulk_create|save|delete)\(", books) == []

    def test_a_customer_has_one_wallet(self, customer: Customer) -> None:
        """LESSONS F53: two wallets per user."""
        with pytest.raises(WrongWallet):
            ledger.deposit(customer.tenant_id, customer.pk, usd(1), key="x", **WHY)
        with pytest.raises(IntegrityError), transaction.atomic():
            Account.objects.create(
                tenant=customer.tenant,
                kind="customer",
                currency="USD",
                subject_kind="customer",
                subject_id=customer.pk,
                balance_micros=0,
            )

    def test_a_refund_never_takes_money(self, customer: Customer) -> None:
        """LESSONS F54: wallet debited instead of refunded. A negative amount does not turn a posting around."""
        ledger.hold_order(customer.tenant_id, customer.pk, 1, lira(10), START)
        with pytest.raises(BadPosting, match="not above zero"):
            ledger.release_unit(customer.pk, 1, 11, lira(-10), "refused")
        with pytest.raises(BadPosting, match="not above zero"):
            ledger.sale_reversal(customer.pk, 1, 11, lira(-10), reason="x", actor="olga")
        ledger.post(customer.tenant_id, [ledger.release_unit(customer.pk, 1, 11, lira(10), "refused")], START)
        assert balance(customer) == 100_000_000

    def test_a_cost_stays_in_its_own_currency(self, customer: Customer) -> None:
        """LESSONS F55: a cost in TRY was taken as USD. There is no amount without its currency, and no default."""
        ledger.post(customer.tenant_id, [ledger.provider_cost(7, 1, 21, usd(3))], START)
        ledger.post(customer.tenant_id, [ledger.provider_cost(8, 1, 22, lira(90))], START)
        books = ledger.trial_balance(customer.tenant_id)
        assert (books["cost", "USD"], books["cost", "TRY"]) == (3_000_000, 90_000_000)
        with pytest.raises(TypeError, match="currency"):
            Money(1)  # type: ignore[call-arg]

    def test_balance_and_debt_are_two_figures(self, tenant: Tenant) -> None:
        """LESSONS C31: credit and debt are stored apart, and the net is shown."""
        buyer = make_customer(tenant, "10", credit="50")
        ledger.withdrawal(tenant.pk, buyer.pk, lira(30), key="w", **WHY)
        standing = standing_of(buyer)
        assert (standing.balance, standing.credit, standing.available) == (lira(-20), lira(50), lira(30))


@pytest.mark.postgres
class TestEightSpendersAtOnce:
    def spend_all(self, tenant: Tenant, customer: Customer, tries: int, amount: Money) -> tuple[int, int]:
        """How many of 8 x `tries` postings went through, and how many found too little."""
        done: list[bool] = []
        start = threading.Barrier(8)

        def work() -> None:
            start.wait()
            try:
                for _ in range(tries):
                    try:
                        ledger.post(tenant.pk, [spend(customer, amount)], START)
                        done.append(True)
                    except NotEnoughMoney:
                        done.append(False)
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        return done.count(True), done.count(False)

    def test_never_go_below_the_limit(self, committed: None) -> None:
        tenant = make_tenant()
        customer = make_customer(tenant, "100", credit="5")
        # 105 lira buy fifteen times seven
        assert self.spend_all(tenant, customer, 5, lira(7)) == (15, 25)
        assert balance(customer) == -5_000_000
        check_conservation()

    def test_use_one_key_once(self, committed: None) -> None:
        tenant = make_tenant()
        customer = make_customer(tenant, "100")
        ids: list[int] = []
        start = threading.Barrier(8)

        def work() -> None:
            start.wait()
            try:
                ids.extend(ledger.post(tenant.pk, [spend(customer, lira(7), "one-key")], START))
            finally:
                connection.close()

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert len(ids) == 8
        assert len(set(ids)) == 1
        assert balance(customer) == 93_000_000
        check_conservation()

    def test_make_the_first_account_of_a_purse_once(self, committed: None) -> None:
        tenant = make_tenant()
        buyers = [make_customer(tenant, "10") for _ in range(8)]
        start = threading.Barrier(8)

        def work(buyer: Customer) -> None:
            start.wait()
            try:
                legs = ledger.move(lira(1), ledger.customer_purse(buyer.pk), LOSS)
                posting = Posting(f"first:{buyer.pk}", "test", legs, "test", buyer.pk, actor="test")
                ledger.post(tenant.pk, [posting], START)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=(buyer,)) for buyer in buyers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert Account.objects.filter(kind="loss").count() == 1
        assert [balance(buyer) for buyer in buyers] == [9_000_000] * 8
        check_conservation()

    def test_cross_over_without_a_deadlock(self, committed: None) -> None:
        """A pays B while B pays A: accounts are locked in id order."""
        tenant = make_tenant()
        a, b = make_customer(tenant, "1000"), make_customer(tenant, "1000")
        errors: list[Exception] = []
        start = threading.Barrier(8)

        def work(source: Customer, target: Customer) -> None:
            start.wait()
            try:
                for _ in range(5):
                    key = f"cross:{next(_keys)}"
                    purses = ledger.customer_purse(source.pk), ledger.customer_purse(target.pk)
                    legs = ledger.move(lira(1), *purses)
                    ledger.post(tenant.pk, [Posting(key, "test", legs, "test", 1, actor="test")], START)
            except Exception as error:
                errors.append(error)
            finally:
                connection.close()

        threads = [threading.Thread(target=work, args=pair) for pair in [(a, b), (b, a)] * 4]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert errors == []
        assert balance(a) + balance(b) == 2000_000_000
        check_conservation()
