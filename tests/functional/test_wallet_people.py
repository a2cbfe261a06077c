"""What people do to wallets: alone up to the shop's limit, above it with a second person; and what a statement says."""

from __future__ import annotations

import threading
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from apps.accounts.models import Customer, Tenant, User
from apps.common.money import Money
from apps.wallet import ledger, people
from apps.wallet.models import CreditChange, Transfer, WalletRequest
from apps.wallet.people import (
    AlreadyDecided,
    AskerGone,
    BadWish,
    Expired,
    FloatWish,
    NotAllowed,
    OwnRequest,
    WalletRefused,
    Wish,
)
from apps.wallet.statement import BadPeriod, Period, load_statement, standing_of
from tests.factories import START, check_conservation, make_customer, make_tenant
from tests.functional.core_fixtures import committed
from tests.functional.panel_fixtures import make_person

__all__ = ["committed"]

pytestmark = pytest.mark.both_databases

LATER = START + timedelta(hours=1)


def lira(units: int) -> Money:
    return Money(units * 1_000_000, "TRY")


class Team:
    """A shop whose limit is 1000 TRY, with its people, one customer with 100 TRY, and somebody from elsewhere."""

    def __init__(self) -> None:
        self.tenant: Tenant = make_tenant()
        self.owner = make_person("olga", self.tenant, "owner")
        self.operator = make_person("omar", self.tenant, "operator")
        self.second = make_person("suna", self.tenant, "operator")
        self.viewer = make_person("vera", self.tenant, "viewer")
        self.stranger = make_person("sam", make_tenant(), "owner")
        self.customer: Customer = make_customer(self.tenant, "100")
        people.set_confirm_limit(self.owner, self.tenant.pk, "TRY", "1000", START)

    def ask(
        self, amount: str, kind: str = "deposit", *, by: User | None = None, key: str = "", **said: Any
    ) -> WalletRequest:
        wish = Wish(kind, amount, said.get("reason", "paid by bank"), key or f"{kind}-{amount}-key")
        return people.ask(by or self.operator, said.get("customer", self.customer), wish, said.get("now", START))

    def balance(self) -> Money:
        return standing_of(self.customer).balance


@pytest.fixture
def team(db: None) -> Team:
    return Team()


def decide(person: User, request: WalletRequest, answer: str = "confirm", now: datetime = LATER) -> WalletRequest:
    return people.decide(person, request.pk, is_confirmed=answer == "confirm", now=now)


class TestAWish:
    @pytest.mark.parametrize(
        ("kind", "amount", "balance", "actor"),
        [
            ("deposit", "50.25", 150_250_000, "omar"),
            ("withdrawal", "30", 70_000_000, "omar"),
            ("correction_up", "0.000001", 100_000_001, "omar"),
            ("correction_down", "0.1001", 99_899_900, "omar"),
        ],
    )
    def test_up_to_the_limit_is_done_at_once(
        self, team: Team, kind: str, amount: str, balance: int, actor: str
    ) -> None:
        request = team.ask(amount, kind)
        assert (request.status, request.decided_by) == ("done", None)
        assert team.balance() == Money(balance, "TRY")
        transfer = Transfer.objects.get(key=f"request:{request.key}")
        assert (transfer.actor, transfer.reason) == (actor, "paid by bank")
        check_conservation()

    def test_of_exactly_the_limit_needs_nobody_else(self, team: Team) -> None:
        assert team.ask("1000").status == "done"
        assert team.ask("1000.01").status == "pending"

    def test_repeated_is_the_same_wish(self, team: Team) -> None:
        assert team.ask("50").pk == team.ask("50").pk
        assert team.balance() == lira(150)

    @pytest.mark.parametrize("change", ["amount", "kind", "customer", "person"])
    def test_under_the_key_of_another_is_refused(self, team: Team, change: str) -> None:
        team.ask("50", key="the-same-key")
        changes: dict[str, dict[str, Any]] = {
            "amount": {"amount": "51"},
            "kind": {"kind": "withdrawal"},
            "customer": {"customer": make_customer(team.tenant)},
            "person": {"by": team.second},
        }
        with pytest.raises(BadWish) as refused:
            team.ask(**{"amount": "50", "key": "the-same-key", **changes[change]})
        assert refused.value.field == "key"
        assert team.balance() == lira(150)

    @pytest.mark.parametrize(
        ("field", "said"),
        [
            ("amount", {"amount": "0"}),
            ("amount", {"amount": "-5"}),
            ("amount", {"amount": "1.005"}),
            ("amount", {"amount": "1,50"}),
            ("amount", {"amount": "NaN"}),
            ("amount", {"amount": ""}),
            ("amount", {"amount": "1e20"}),
            ("amount", {"amount": 12.5}),
            ("amount", {"amount": "0.0000001", "kind": "correction_up"}),
            ("amount", {"amount": "100.01", "kind": "withdrawal"}),
            ("amount", {"amount": "-1", "kind": "credit"}),
            ("kind", {"amount": "5", "kind": "gift"}),
            ("reason", {"amount": "5", "reason": "  "}),
            ("reason", {"amount": "5", "reason": "x" * 201}),
            ("reason", {"amount": "5", "reason": "two\nlines"}),
            ("key", {"amount": "5", "key": "short"}),
        ],
    )
    def test_that_is_wrong_names_the_field_and_leaves_nothing(
        self, team: Team, field: str, said: dict[str, Any]
    ) -> None:
        before = Transfer.objects.count()
        with pytest.raises(BadWish) as refused:
            team.ask(**said)
        assert refused.value.field == field
        assert (Transfer.objects.count(), WalletRequest.objects.count()) == (before, 0)
        assert team.balance() == lira(100)

    def test_in_a_currency_without_decimals_is_whole(self, team: Team) -> None:
        buyer = make_customer(team.tenant, "0", currency="JPY")
        with pytest.raises(BadWish, match="in JPY it has at most 0 decimals"):
            team.ask("5.5", customer=buyer)

    def test_of_a_viewer_or_a_stranger_is_refused(self, team: Team) -> None:
        for person in (team.viewer, team.stranger):
            with pytest.raises(NotAllowed):
                team.ask("5", by=person)
        assert WalletRequest.objects.count() == 0


class TestACreditLimit:
    def test_is_set_with_its_author_and_lets_the_wallet_go_below_zero(self, team: Team) -> None:
        team.ask("500", "credit", reason="old customer")
        change = CreditChange.objects.get()
        assert (change.before_micros, change.after_micros, change.actor) == (0, 500_000_000, "omar")
        assert team.ask("600", "withdrawal").status == "done"
        assert standing_of(team.customer).available == lira(0)

    def test_is_taken_away_by_a_zero(self, team: Team) -> None:
        team.ask("500", "credit")
        team.ask("0", "credit")
        assert standing_of(team.customer).credit == lira(0)

    def test_needs_a_second_person_by_what_is_added(self, team: Team) -> None:
        assert team.ask("900", "credit").status == "done"
        assert team.ask("1900", "credit").status == "done"
        request = team.ask("2901", "credit")
        assert (request.status, standing_of(team.customer).credit) == ("pending", lira(1900))
        decide(team.second, request)
        assert standing_of(team.customer).credit == lira(2901)
        assert CreditChange.objects.order_by("-id")[0].actor == "omar + suna"

    def test_is_not_lowered_below_the_debt(self, team: Team) -> None:
        team.ask("500", "credit")
        team.ask("600", "withdrawal")
        with pytest.raises(BadWish) as refused:
            team.ask("499", "credit")
        assert refused.value.field == "amount"
        check_conservation()


class TestASecondPerson:
    def test_confirms_and_it_is_done_in_both_names(self, team: Team) -> None:
        request = team.ask("5000")
        assert team.balance() == lira(100)
        assert decide(team.second, request).status == "done"
        assert team.balance() == lira(5100)
        assert Transfer.objects.get(key=f"request:{request.key}").actor == "omar + suna"
        check_conservation()

    def test_declines_and_nothing_moves(self, team: Team) -> None:
        request = team.ask("5000")
        assert decide(team.second, request, "decline").status == "declined"
        assert team.balance() == lira(100)
        check_conservation()

    def test_is_not_the_one_who_asked(self, team: Team) -> None:
        request = team.ask("5000", by=team.owner)
        for answer in ("confirm", "decline"):
            with pytest.raises(OwnRequest):
                decide(team.owner, request, answer)
        assert team.balance() == lira(100)

    def test_has_the_right_to_operate_in_this_shop(self, team: Team) -> None:
        request = team.ask("5000")
        for person in (team.viewer, team.stranger):
            with pytest.raises(NotAllowed):
                decide(person, request)
        assert team.balance() == lira(100)

    def test_may_click_twice(self, team: Team) -> None:
        request = team.ask("5000")
        for _ in range(3):
            assert decide(team.second, request).status == "done"
        assert team.balance() == lira(5100)

    @pytest.mark.parametrize("first", ["confirm", "decline"])
    def test_does_not_decide_what_is_decided(self, team: Team, first: str) -> None:
        request = team.ask("5000")
        decide(team.second, request, first)
        other = "decline" if first == "confirm" else "confirm"
        for person, answer in ((team.owner, first), (team.owner, other), (team.second, other)):
            with pytest.raises(AlreadyDecided):
                decide(person, request, answer)
        assert team.balance() == (lira(5100) if first == "confirm" else lira(100))

    def test_does_not_decide_what_has_expired(self, team: Team) -> None:
        request = team.ask("5000")
        with pytest.raises(Expired):
            decide(team.second, request, now=START + people.OPEN_FOR)
        assert people.waiting(team.second, [team.tenant.pk], START + people.OPEN_FOR) == []
        assert decide(team.second, request, now=START + people.OPEN_FOR - timedelta(seconds=1)).status == "done"

    def test_does_not_confirm_for_somebody_who_was_dismissed(self, team: Team) -> None:
        request = team.ask("5000")
        team.operator.memberships.all().delete()
        with pytest.raises(AskerGone):
            decide(team.second, request)
        assert team.balance() == lira(100)
        assert decide(team.second, request, "decline").status == "declined"

    def test_leaves_it_waiting_when_the_money_is_not_there(self, team: Team) -> None:
        request = team.ask("5000", "withdrawal")
        with pytest.raises(BadWish):
            decide(team.second, request)
        request.refresh_from_db()
        assert (request.status, request.decided_by, team.balance()) == ("pending", None, lira(100))

    def test_sees_what_waits_and_what_is_for_others(self, team: Team) -> None:
        team.ask("5000")
        assert [item.may_decide for item in people.waiting(team.second, [team.tenant.pk], LATER)] == [True]
        assert [item.may_decide for item in people.waiting(team.operator, [team.tenant.pk], LATER)] == [False]
        assert [item.may_decide for item in people.waiting(team.viewer, [team.tenant.pk], LATER)] == [False]


class TestTheLimitOfAShop:
    def test_is_none_at_first(self, team: Team) -> None:
        buyer = make_customer(make_tenant())
        other = make_person("otto", buyer.tenant, "operator")
        assert people.confirm_limits(buyer.tenant_id) == {}
        assert team.ask("1000000", by=other, customer=buyer).status == "done"

    def test_holds_for_every_amount_in_another_currency(self, team: Team) -> None:
        buyer = make_customer(team.tenant, "0", currency="USD")
        assert team.ask("0.01", customer=buyer).status == "pending"

    def test_is_lifted_by_an_owner(self, team: Team) -> None:
        people.set_confirm_limit(team.owner, team.tenant.pk, "TRY", None, LATER)
        assert people.confirm_limits(team.tenant.pk) == {"TRY": None}
        assert team.ask("5000").status == "done"

    @pytest.mark.parametrize(
        ("currency", "above", "field"), [("TL", "5", "currency"), ("TRY", "x", "above"), ("TRY", "-1", "above")]
    )
    def test_that_is_wrong_names_the_field(self, team: Team, currency: str, above: str, field: str) -> None:
        with pytest.raises(BadWish) as refused:
            people.set_confirm_limit(team.owner, team.tenant.pk, currency, above, LATER)
        assert refused.value.field == field
        assert people.confirm_limits(team.tenant.pk) == {"TRY": 1000_000_000}

    def test_is_set_by_owners_alone(self, team: Team) -> None:
        for person in (team.operator, team.viewer, team.stranger):
            with pytest.raises(NotAllowed):
                people.set_confirm_limit(person, team.tenant.pk, "TRY", None, LATER)


@pytest.mark.postgres
class TestSecondPersonsAtOnce:
    def test_one_wins(self, committed: None) -> None:
        """Eight clicks of four people, half of them declining: the money moves once or not at all."""
        team = Team()
        others = [make_person(f"person-{n}", team.tenant, "operator") for n in range(4)]
        request = team.ask("5000")
        said: list[tuple[str, str]] = []
        start = threading.Barrier(8)

        def click(person: User, answer: str) -> None:
            start.wait()
            try:
                said.append((answer, decide(person, request, answer).status))
            except WalletRefused as refused:
                said.append((answer, type(refused).__name__))
            finally:
                connection.close()

        clicks = [(person, answer) for n, person in enumerate(others) for answer in [("confirm", "decline")[n % 2]] * 2]
        threads = [threading.Thread(target=click, args=pair) for pair in clicks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        request.refresh_from_db()
        assert sorted(word for _, word in said) == ["AlreadyDecided"] * 6 + [request.status] * 2
        assert team.balance() == (lira(5100) if request.status == "done" else lira(100))
        check_conservation()

    def test_and_the_same_form_sent_eight_times_is_one_wish(self, committed: None) -> None:
        team = Team()
        ids: list[int] = []
        start = threading.Barrier(8)

        def send() -> None:
            start.wait()
            try:
                ids.append(team.ask("50").pk)
            finally:
                connection.close()

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
        assert (len(ids), len(set(ids)), team.balance()) == (8, 1, lira(150))
        check_conservation()


class TestMoneyAtAProvider:
    def wish(self, **said: str) -> FloatWish:
        wish = FloatWish(integration_id=7, amount="10", currency="USD", reason="bank", key="k" * 8)
        return replace(wish, **said)  # type: ignore[arg-type]  # all but the id are texts

    def test_is_sent_once_per_form(self, team: Team) -> None:
        wish = self.wish(paid="341.50", paid_currency="TRY")
        assert people.top_up(team.operator, team.tenant.pk, wish, START) == people.top_up(
            team.operator, team.tenant.pk, wish, LATER
        )
        books = ledger.trial_balance(team.tenant.pk)
        assert (books["float", "USD"], books["fx", "TRY"]) == (10_000_000, 341_500_000)

    def test_is_written_off(self, team: Team) -> None:
        people.top_up(team.operator, team.tenant.pk, self.wish(), START)
        people.write_off(team.operator, team.tenant.pk, self.wish(amount="0.0005", key="l" * 8), START)
        assert ledger.trial_balance(team.tenant.pk)["loss", "USD"] == 500

    @pytest.mark.parametrize(
        ("field", "said"),
        [
            ("amount", {"amount": "0"}),
            ("amount", {"amount": "1.005"}),
            ("currency", {"currency": "USDT"}),
            ("paid", {"paid": "-1", "paid_currency": "TRY"}),
            ("paid", {"paid": "11"}),
            ("currency", {"paid": "11", "paid_currency": "TL"}),
            ("reason", {"reason": ""}),
            ("key", {"key": "x"}),
        ],
    )
    def test_that_is_told_wrongly_names_the_field(self, team: Team, field: str, said: dict[str, str]) -> None:
        with pytest.raises(BadWish) as refused:
            people.top_up(team.operator, team.tenant.pk, self.wish(**said), START)
        assert refused.value.field == field
        assert ledger.float_of(team.tenant.pk) == {}

    def test_is_told_by_operators_alone(self, team: Team) -> None:
        for act in (people.top_up, people.write_off):
            for person in (team.viewer, team.stranger):
                with pytest.raises(NotAllowed):
                    act(person, team.tenant.pk, self.wish(), START)


ISTANBUL = ZoneInfo("Europe/Istanbul")


class TestAStatement:
    def deposit(self, team: Team, amount: int, at: datetime) -> None:
        key = f"deposit:{at.isoformat()}"
        ledger.deposit(team.tenant.pk, team.customer.pk, lira(amount), key=key, reason="bank", actor="omar", now=at)

    def lines(self, team: Team, first: date | None = None, last: date | None = None) -> list[tuple[int, int]]:
        statement = load_statement(team.customer, Period(first, last, ISTANBUL))
        return [(line.money.micros // 10**6, line.balance.micros // 10**6) for line in statement.lines]

    def test_names_the_order_or_the_author_of_every_change(self, team: Team) -> None:
        at = datetime(2027, 5, 10, 10, 0, tzinfo=UTC)
        ledger.hold_order(team.tenant.pk, team.customer.pk, 5, lira(30), at)
        release = ledger.release_unit(team.customer.pk, 5, 9, lira(10), "refused there")
        ledger.post(team.tenant.pk, [ledger.capture_unit(5, 8, lira(20)), release], at)
        self.deposit(team, 50, at + timedelta(hours=1))
        lines = list(load_statement(team.customer, Period(at.date(), None, ISTANBUL)).lines)
        assert [(line.kind, line.order_id, line.actor, line.reason) for line in lines] == [
            ("hold", 5, "", ""),
            ("release", 5, "", "refused there"),
            ("deposit", None, "omar", "bank"),
        ]
        assert [line.balance for line in lines] == [lira(70), lira(80), lira(130)]

    def test_goes_by_the_days_of_the_shop(self, team: Team) -> None:
        """Midnight in Istanbul is 21:00 UTC of the day before."""
        before, first, last, after = (
            datetime(2027, 5, 9, 20, 59, 59, 999999, tzinfo=UTC),
            datetime(2027, 5, 9, 21, 0, tzinfo=UTC),
            datetime(2027, 5, 10, 20, 59, 59, 999999, tzinfo=UTC),
            datetime(2027, 5, 10, 21, 0, tzinfo=UTC),
        )
        for amount, at in enumerate((before, first, last, after), start=1):
            self.deposit(team, amount, at)
        day = date(2027, 5, 10)
        assert self.lines(team, day, day) == [(2, 103), (3, 106)]
        assert self.lines(team, last=day)[-1] == (3, 106)
        assert self.lines(team, first=date(2027, 5, 11)) == [(4, 110)]
        assert load_statement(team.customer, Period(day, day, ISTANBUL)).opening == lira(101)

    def test_ends_with_the_balance(self, team: Team) -> None:
        for n in range(1, 6):
            self.deposit(team, n, START + timedelta(minutes=n))
        assert self.lines(team)[-1][1] == team.balance().micros // 10**6 == 115

    def test_of_days_the_wrong_way_round_is_refused(self) -> None:
        with pytest.raises(BadPeriod, match=r"^to: "):
            Period(date(2026, 3, 2), date(2026, 3, 1), ISTANBUL)
