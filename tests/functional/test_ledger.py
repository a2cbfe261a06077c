"""The ledger: nothing is lost or made, no key is used twice, and nobody spends what is not there."""

from __future__ import annotations

import itertools
import threading
from collections import defaultdict

import pytest
from django.db import connection
from django.db.models import Sum
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.accounts.models import Customer, Tenant
from apps.common.money import Money
from apps.wallet import ledger
from apps.wallet.ledger import CASH, COST, HELD, LOSS, REVENUE, KeyReused, LedgerError, NotEnoughMoney, Posting, Purse
from apps.wallet.models import Account, Entry, Transfer
from tests.factories import START, check_conservation, make_customer, make_tenant
from tests.functional.core_fixtures import committed

__all__ = ["committed"]

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


class TestTheRecount:
    def test_finds_a_balance_that_was_changed_by_hand(self, customer: Customer) -> None:
        account = Account.objects.get(kind="customer", subject_id=customer.pk)
        Account.objects.filter(pk=account.pk).update(balance_micros=1)
        assert ledger.recount().wrong_balances == [str(account)]

    def test_finds_a_transfer_with_one_side(self, customer: Customer) -> None:
        (transfer,) = ledger.post(customer.tenant_id, [spend(customer, lira(1), "lame")], START)
        Entry.objects.create(
            transfer_id=transfer, account=Account.objects.get(kind="held", currency="TRY"), amount_micros=5
        )
        assert ledger.recount().unbalanced == ["lame"]

    def test_finds_a_transfer_without_entries(self, tenant: Tenant) -> None:
        Transfer.objects.create(tenant=tenant, key="hollow", kind="test", subject_kind="t", subject_id=1, at=START)
        assert ledger.recount().unbalanced == ["hollow"]


HOUSE = (HELD, REVENUE, CASH, COST, LOSS)
moves = st.lists(
    st.tuples(
        st.integers(0, 6),
        st.integers(0, 6),
        st.integers(-1, 400),
        st.sampled_from(["TRY", "USD"]),
        st.integers(0, 12),
    ),
    min_size=1,
    max_size=25,
)


class TestAnySequenceOfPostings:
    @given(moves, st.integers(1, 3))
    @settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
    def test_keeps_every_sum_and_every_limit(
        self, tenant: Tenant, sequence: list[tuple[int, int, int, str, int]], batch: int
    ) -> None:
        """Two wallets and the house purses; among the postings are repeated keys, empty wallets and amounts of zero."""
        run = next(_keys)
        buyers = [make_customer(tenant, "0"), make_customer(tenant, "0", credit="0.0001")]
        purses: list[Purse] = [*(ledger.customer_purse(buyer.pk) for buyer in buyers), *HOUSE]
        Account.objects.filter(subject_kind="customer").update(limit_micros=100)
        postings = [
            Posting(f"run:{run}:{key}", "any", Money(micros, currency), purses[source], purses[target], "test", run)
            for source, target, micros, currency, key in sequence
        ]
        for chunk in itertools.batched(postings, batch) if hasattr(itertools, "batched") else _chunks(postings, batch):
            before = _balances()
            try:
                ledger.post(tenant.pk, list(chunk), START)
            except LedgerError:
                assert _balances() == before
        check_conservation()
        by_currency = Entry.objects.values("account__currency").annotate(sum=Sum("amount_micros"))
        assert {row["sum"] for row in by_currency} <= {0}
        for account in Account.objects.filter(kind="customer"):
            assert account.balance_micros is not None
            assert account.balance_micros >= -account.limit_micros


def _chunks(postings: list[Posting], size: int) -> list[tuple[Posting, ...]]:
    return [tuple(postings[start : start + size]) for start in range(0, len(postings), size)]


def _balances() -> dict[int, int]:
    sums: dict[int, int] = defaultdict(int)
    for row in Entry.objects.values("account_id").annotate(sum=Sum("amount_micros")):
        sums[row["account_id"]] = row["sum"]
    return dict(sums)


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
                posting = Posting(
                    f"first:{buyer.pk}", "test", lira(1), ledger.customer_purse(buyer.pk), LOSS, "test", buyer.pk
                )
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
                    ledger.post(tenant.pk, [Posting(key, "test", lira(1), *purses, "test", 1)], START)
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
