"""The pages of wallets: who sees and does what there, in three languages, and the file of a statement."""

from __future__ import annotations

import csv
import io
import re
from datetime import UTC, datetime
from html import unescape

import pytest
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from apps.accounts.models import Customer, Tenant, User
from apps.common.money import Money
from apps.panel.wallet_views import LONGEST
from apps.wallet import ledger, people
from apps.wallet.models import WalletRequest
from apps.wallet.statement import standing_of
from tests.factories import START, Stage, make_customer, order_from
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import LANGUAGES, People, browser_of, english, make_person
from tests.functional.panel_fixtures import people as people_fixture

__all__ = ["committed", "english", "people_fixture", "simulator", "stage"]

pytestmark = [pytest.mark.both_databases, pytest.mark.page]


@pytest.fixture
def team(people_fixture: People) -> People:
    """The people of a shop whose limit is 1000 TRY."""
    olga = User.objects.get(username="olga")
    people.set_confirm_limit(olga, people_fixture.shop.tenant.pk, "TRY", "1000", START)
    return people_fixture


def text_of(answer: object, status: int = 200) -> str:
    assert isinstance(answer, HttpResponse)
    assert answer.status_code == status
    return unescape(answer.content.decode())


def wallet_url(customer: Customer, name: str = "wallet") -> str:
    return reverse(f"panel:{name}", args=[customer.pk])


def fill_in(browser: Client, customer: Customer, **typed: str) -> HttpResponse:
    """Fill in the form of the wallet's page, with the key that the page gave."""
    page = text_of(browser.get(wallet_url(customer)))
    key = re.findall(r'name="key" value="(\w+)"', page)
    form = {"kind": "deposit", "amount": "50", "reason": "paid by bank", "key": key[0] if key else "k" * 8, **typed}
    answer = browser.post(wallet_url(customer, "wallet_ask"), form, follow=True)
    assert isinstance(answer, HttpResponse)
    return answer


def balance(customer: Customer) -> str:
    return str(standing_of(customer).balance)


class TestWhoMay:
    def test_only_the_people_of_a_shop_see_its_wallets(self, team: People) -> None:
        foreign = team.foreign_shop.customer
        assert team.shop.customer.name in text_of(team.viewer.get(reverse("panel:wallets")))
        assert foreign.name not in text_of(team.viewer.get(reverse("panel:wallets")))
        for name in ("wallet", "statement"):
            assert team.owner.get(wallet_url(foreign, name)).status_code == 404
        assert team.owner.post(wallet_url(foreign, "wallet_ask"), {"kind": "deposit"}).status_code == 404

    def test_nobody_without_a_session(self, team: People) -> None:
        for path in (reverse("panel:wallets"), reverse("panel:floats"), wallet_url(team.shop.customer)):
            assert team.nobody.get(path).headers["Location"].partition("?")[0] == "/login/"
        assert team.nobody.post(wallet_url(team.shop.customer, "wallet_ask")).status_code == 302

    def test_a_viewer_looks_and_changes_nothing(self, team: People) -> None:
        customer = team.shop.customer
        page = text_of(team.viewer.get(wallet_url(customer)))
        assert "1000.00 TRY" in page
        assert "Change the wallet" not in page
        assert fill_in(team.viewer, customer).status_code == 403
        assert balance(customer) == "1000.00 TRY"

    def test_a_viewer_and_a_stranger_decide_nothing(self, team: People) -> None:
        fill_in(team.operator, team.shop.customer, amount="5000")
        path = reverse("panel:decide", args=[WalletRequest.objects.get().pk])
        assert team.viewer.post(path, {"answer": "confirm"}).status_code == 403
        assert team.stranger.post(path, {"answer": "confirm"}).status_code == 404
        assert WalletRequest.objects.get().status == "pending"

    def test_only_an_owner_sets_the_limit(self, team: People) -> None:
        form = {"tenant": str(team.shop.tenant.pk), "currency": "try", "above": "25"}
        assert team.operator.post(reverse("panel:set_limit"), form).status_code == 403
        assert team.stranger.post(reverse("panel:set_limit"), form).status_code == 404
        assert "Set the limit" not in text_of(team.operator.get(reverse("panel:wallets")))
        answer = team.owner.post(reverse("panel:set_limit"), form, follow=True)
        assert "A second person must confirm changes above:" in text_of(answer)
        assert people.confirm_limits(team.shop.tenant.pk) == {"TRY": 25_000_000}

    def test_a_get_changes_nothing(self, team: People) -> None:
        for path in (
            wallet_url(team.shop.customer, "wallet_ask"),
            reverse("panel:set_limit"),
            reverse("panel:tell_float"),
        ):
            assert team.owner.get(path).status_code == 405


class TestTheWallet:
    def test_takes_a_deposit_and_says_so(self, team: People) -> None:
        page = text_of(fill_in(team.operator, team.shop.customer, amount="50.25"))
        assert "Done." in page
        assert '<bdi dir="ltr" class="amount">1050.25 TRY</bdi>' in page
        assert "paid by bank" in page
        assert "omar" in page

    def test_takes_a_form_once(self, team: People) -> None:
        for _ in range(2):
            fill_in(team.operator, team.shop.customer, key="the-same-form")
        assert balance(team.shop.customer) == "1050.00 TRY"

    @pytest.mark.parametrize(
        ("typed", "told"),
        [
            ({"amount": "1,5"}, "Write an amount above zero like 12.50; in TRY it has at most 2 decimals."),
            ({"amount": "965.01", "kind": "withdrawal"}, "The balance and the credit of this wallet do not cover"),
            ({"reason": " "}, "Give a reason of at most 200 characters, in one line."),
            ({"kind": "gift"}, "Choose what to do."),
            ({"amount": ""}, "Write an amount above zero"),
        ],
    )
    def test_refuses_what_is_wrong_and_keeps_what_was_typed(
        self, team: People, typed: dict[str, str], told: str
    ) -> None:
        order_from(team.shop)
        page = text_of(fill_in(team.operator, team.shop.customer, **{"amount": "77", "reason": "why so", **typed}), 422)
        assert told in page
        assert 'aria-invalid="true"' in page
        assert f'value="{typed.get("amount", "77")}"' in page
        assert f'value="{typed.get("reason", "why so")}"' in page
        assert balance(team.shop.customer) == "965.00 TRY"

    def test_shows_debt_credit_and_what_is_held(self, team: People) -> None:
        customer = team.shop.customer
        fill_in(team.owner, customer, kind="credit", amount="500")
        order_from(team.shop)
        fill_in(team.owner, customer, kind="withdrawal", amount="999")
        page = text_of(team.viewer.get(wallet_url(customer)))
        figures = re.findall(r'<dd[^>]*><bdi dir="ltr" class="amount">([^<]+)</bdi></dd>', page)
        assert figures == ["-34.00 TRY", "500.00 TRY", "466.00 TRY", "35.00 TRY"]

    def test_links_an_order_to_its_story(self, team: People) -> None:
        order = order_from(team.shop)
        page = text_of(team.viewer.get(wallet_url(team.shop.customer)))
        assert reverse("panel:order", args=[order.pk]) in page
        assert wallet_url(team.shop.customer) in text_of(team.viewer.get(reverse("panel:order", args=[order.pk])))

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_is_there_in_every_language(self, team: People, language: str) -> None:
        browser = browser_of(User.objects.get(username="olga"), language)
        fill_in(team.operator, team.shop.customer, amount="5000")
        direction = "rtl" if language == "ar" else "ltr"
        for path in (reverse("panel:wallets"), wallet_url(team.shop.customer), reverse("panel:floats")):
            page = text_of(browser.get(path))
            assert f'<html lang="{language}" dir="{direction}">' in page
        title = {"en": "Wallets", "ar": "المحافظ", "tr": "Cüzdanlar"}[language]
        assert f"<h1>{title}</h1>" in text_of(browser.get(reverse("panel:wallets")))


class TestASecondPerson:
    def test_finds_what_waits_and_confirms_it(self, team: People) -> None:
        page = text_of(fill_in(team.operator, team.shop.customer, amount="5000"))
        assert "This needs a second person." in page
        assert "Somebody else decides" in page
        assert 'value="confirm"' not in page
        listed = text_of(team.owner.get(reverse("panel:wallets")))
        assert 'value="confirm"' in listed
        path = reverse("panel:decide", args=[WalletRequest.objects.get().pk])
        assert "Confirmed and done." in text_of(team.owner.post(path, {"answer": "confirm"}, follow=True))
        assert balance(team.shop.customer) == "6000.00 TRY"

    def test_declines_it(self, team: People) -> None:
        fill_in(team.operator, team.shop.customer, amount="5000")
        path = reverse("panel:decide", args=[WalletRequest.objects.get().pk])
        assert "Declined. Nothing was moved." in text_of(team.owner.post(path, {"answer": "decline"}, follow=True))
        assert "decided already" in text_of(team.root.post(path, {"answer": "confirm"}, follow=True))
        assert balance(team.shop.customer) == "1000.00 TRY"

    def test_is_not_oneself(self, team: People) -> None:
        fill_in(team.operator, team.shop.customer, amount="5000")
        path = reverse("panel:decide", args=[WalletRequest.objects.get().pk])
        assert "Somebody else must decide" in text_of(team.operator.post(path, {"answer": "confirm"}, follow=True))
        assert balance(team.shop.customer) == "1000.00 TRY"


class TestTheStatement:
    @pytest.fixture
    def customer(self, team: People) -> Customer:
        Tenant.objects.filter(pk=team.shop.tenant.pk).update(timezone="Europe/Istanbul")
        customer = make_customer(team.shop.tenant, "0")
        for n, reason in enumerate(["=1+1", "+90 532", "-5", "@sum", "plain, with comma"]):
            ledger.deposit(
                customer.tenant_id,
                customer.pk,
                Money(1_000_000, "TRY"),
                key=f"statement:{customer.pk}:{n}",
                reason=reason,
                actor="omar",
                now=datetime(2026, 2, 1 + n, 21, 30, tzinfo=UTC),
            )
        return customer

    def test_is_a_file_that_a_spreadsheet_opens_rightly(self, team: People, customer: Customer) -> None:
        answer = team.viewer.get(wallet_url(customer, "statement") + "?from=2026-02-03&to=2026-02-06")
        assert answer.headers["Content-Type"] == "text/csv; charset=utf-8"
        name = f"wallet-{customer.pk}-2026-02-03-2026-02-06.csv"
        assert answer.headers["Content-Disposition"] == f'attachment; filename="{name}"'
        content = answer.content
        assert content.startswith(b"\xef\xbb\xbf")
        rows = list(csv.reader(io.StringIO(content.decode("utf-8-sig"))))
        assert rows[0] == ["Time", "Posting", "Order", "Author", "Reason", "Amount", "Balance", "Currency"]
        assert rows[1] == ["", "Balance before", "", "", "", "", "1.00", "TRY"]
        assert [row[4] for row in rows[2:]] == ["'+90 532", "'-5", "'@sum", "plain, with comma"]
        assert rows[2] == ["2026-02-03 00:30:00", "deposit", "", "omar", "'+90 532", "1.00", "2.00", "TRY"]

    def test_has_amounts_as_numbers_also_below_zero(self, team: People, customer: Customer) -> None:
        ledger.withdrawal(
            customer.tenant_id, customer.pk, Money(2_000_000, "TRY"), key="w", reason="=x", actor="@a", now=START
        )
        answer = team.viewer.get(wallet_url(customer, "statement") + "?from=2026-03-01")
        rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"))))
        assert rows[-1][3:7] == ["'@a", "'=x", "-2.00", "3.00"]

    def test_is_filtered_by_the_days_of_the_shop(self, team: People, customer: Customer) -> None:
        page = text_of(team.viewer.get(wallet_url(customer) + "?from=2026-02-03&to=2026-02-03"))
        assert "+90 532" in page
        assert "2026-02-03 00:30:00" in page
        assert "=1+1" not in page
        assert "@sum" not in page

    @pytest.mark.parametrize(
        ("query", "told"),
        [
            ("from=03.02.2026", "Write the days like 2026-03-31."),
            ("from=2026-02-30", "Write the days like 2026-03-31."),
            ("from=2026-02-03&to=2026-02-01", "The last day is before the first."),
        ],
    )
    def test_says_what_is_wrong_with_the_days(self, team: People, customer: Customer, query: str, told: str) -> None:
        assert told in text_of(team.viewer.get(f"{wallet_url(customer)}?{query}"), 400)
        answer = team.viewer.get(f"{wallet_url(customer, 'statement')}?{query}", follow=True)
        assert told in text_of(answer)

    def test_shows_the_newest_lines_and_says_that_there_are_more(self, team: People) -> None:
        customer = make_customer(team.shop.tenant, "0")
        purse = ledger.customer_purse(customer.pk)
        ledger.post(
            customer.tenant_id,
            [
                ledger.Posting(
                    f"many:{n}", "deposit", ledger.move(Money(n, "TRY"), ledger.CASH, purse), "x", 1, f"no {n}.", "omar"
                )
                for n in range(1, LONGEST + 2)
            ],
            START,
        )
        page = text_of(team.viewer.get(wallet_url(customer) + "?from=2026-03-01"))
        assert "Only the newest lines are shown." in page
        assert f"no {LONGEST + 1}." in page
        assert "no 1." not in page
        assert "no 2." in page


class TestMoneyAtProviders:
    def tell(self, browser: Client, team: People, **typed: str) -> HttpResponse:
        form = {
            "integration": str(team.shop.integration.pk),
            "kind": "top_up",
            "amount": "100",
            "currency": "usd",
            "paid": "3410",
            "paid_currency": "TRY",
            "reason": "bank 17",
            "key": "k" * 10,
            **typed,
        }
        answer = browser.post(reverse("panel:tell_float"), form, follow=True)
        assert isinstance(answer, HttpResponse)
        return answer

    def test_is_told_and_shown(self, team: People) -> None:
        self.tell(team.operator, team)
        assert "100.00 USD" in text_of(self.tell(team.operator, team))
        page = text_of(self.tell(team.operator, team, kind="write_off", amount="0.5", key="l" * 10))
        assert "99.50 USD" in page

    def test_is_refused_in_words(self, team: People) -> None:
        page = text_of(self.tell(team.operator, team, amount="-1"), 422)
        assert "Write an amount above zero" in page
        assert ledger.float_of(team.shop.tenant.pk) == {}

    def test_is_nobody_elses(self, team: People) -> None:
        assert self.tell(team.viewer, team).status_code == 403
        assert self.tell(team.stranger, team).status_code == 404
        assert team.shop.integration.name not in text_of(team.stranger.get(reverse("panel:floats")))


def test_the_list_is_searched_and_turned_over(team: People, stage: Stage) -> None:
    for n in range(60):
        Customer.objects.create(tenant=team.shop.tenant, name=f"Buyer {n:02}", currency="TRY")
    first = text_of(team.viewer.get(reverse("panel:wallets") + "?q=buyer"))
    assert ("Buyer 49" in first, "Buyer 50" in first) == (True, False)
    second = text_of(team.viewer.get(reverse("panel:wallets") + "?q=buyer&page=2"))
    assert ("Buyer 49" in second, "Buyer 59" in second) == (False, True)
    assert "No customer fits." in text_of(team.viewer.get(reverse("panel:wallets") + "?q=nobody"))
    newcomer = browser_of(make_person("newcomer"))
    assert "You belong to no shop yet" in text_of(newcomer.get(reverse("panel:wallets")))
