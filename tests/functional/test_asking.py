"""A provider's own list as a statement: asked within the budget, whole or not at all, compared like a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from decimal import Decimal
from html import unescape
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import transaction
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from apps.common import clock
from apps.common.guards import OpenTransaction
from apps.orders.models import Attempt
from apps.orders.reconciling.aligning import Period
from apps.orders.reconciling.asking import NotListed, Patience, as_row, ask_for_statement
from apps.orders.reconciling.importing import NotReadable, Result, import_statement
from apps.orders.services import try_auto_dispatch
from apps.orders.statement_models import Break, Statement, StatementLine
from apps.providers.contract import Listed, Outcome
from apps.simulator.client import ControlClient
from tests.factories import Shop, Stage, make_shop, order_from
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import LANGUAGES, browser_of, english, make_person
from tests.functional.statements import check_books
from tests.functional.test_ladder import reloadly_shop

__all__ = ["committed", "english", "simulator", "stage"]

pytestmark = pytest.mark.both_databases


@dataclass
class Desk:
    """A shop at the simulated Reloadly, whose clock says what the hub's says; what other tests bought is days old."""

    stage: Stage
    shop: Shop
    control: ControlClient
    pauses: list[float] = field(default_factory=list)

    def buy(self, **fate: Any) -> Attempt:
        """One order, sent at once."""
        if fate:
            self.control.next_fate(**fate)
        order = order_from(self.shop)
        try_auto_dispatch(order.pk)
        return Attempt.objects.get(order=order)

    def pause(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.stage.move(seconds)

    def period(self) -> Period:
        return Period(clock.now() - timedelta(days=1), clock.now())

    def ask(self, lasts_s: float = 600) -> Result:
        """The list of the last day, kept. A purchase is older than the grace by then."""
        self.stage.move(3700)
        patience = Patience(timedelta(seconds=lasts_s), self.pause)
        brought = ask_for_statement(self.shop.integration, self.period(), "omar", patience)
        return import_statement(self.shop.integration, brought, clock.now())

    def limit(self, **options: float) -> None:
        """Another request budget for the account."""
        self.shop.integration.options |= options
        self.shop.integration.save()


@pytest.fixture
def desk(stage: Stage) -> Iterator[Desk]:
    control = stage.simulator.of("reloadly")
    switches = control.call("GET", "switches")
    apart = clock.now().timestamp() - control.call("POST", "advance", {"seconds": 3 * 86400})["now"]
    control.switch(clock_skew_s=round(apart))
    yield Desk(stage, reloadly_shop(stage), control)
    control.switch(**switches)
    control.close()
    check_books()


def kinds() -> list[tuple[str, str, int | None]]:
    """Every difference."""
    return list(Break.objects.order_by("kind").values_list("kind", "note", "attempt_id"))


class TestAList:
    @pytest.mark.parametrize("most_per_page", [200, 1])
    def test_that_agrees_shows_nothing(self, desk: Desk, most_per_page: int) -> None:
        desk.control.switch(most_per_page=most_per_page)
        attempts = [desk.buy(), desk.buy(), desk.buy(final="cancelled")]
        result = desk.ask()
        assert (result.lines_new, result.differences, result.is_new) == (3, 0, True)
        lines = StatementLine.objects.order_by("attempt_id").values_list("attempt_id", "matched_by", "word", "meaning")
        assert list(lines) == [
            (attempts[0].pk, "reference", "SUCCESSFUL", "bought"),
            (attempts[1].pk, "reference", "SUCCESSFUL", "bought"),
            (attempts[2].pk, "reference", "FAILED", "returned"),
        ]
        statement = Statement.objects.get()
        assert (statement.imported_by, statement.file_name) == ("omar", "reloadly list")

    def test_is_compared_like_a_file(self, desk: Desk) -> None:
        twice, unlisted = desk.buy(executions=2), desk.buy(visible_after_s=864_000)
        desk.ask()
        assert kinds() == [("doubled", "another_id", twice.pk), ("missing_there", "", unlisted.pk)]

    def test_takes_a_purchase_in_doubt_over_that_it_names(self, desk: Desk) -> None:
        attempt = desk.buy(place="accept_then_500", complete_after_s=864_000)
        assert attempt.state == "in_doubt"
        assert desk.ask().mended == 1
        attempt.refresh_from_db()
        assert (attempt.state, attempt.closed_at) == ("accepted", None)

    def test_proves_nothing_of_a_purchase_in_doubt_that_it_lacks(self, desk: Desk) -> None:
        attempt = desk.buy(place="accept_then_500", visible_after_s=864_000)
        desk.buy()
        assert (desk.ask().mended, kinds()) == (0, [])
        attempt.refresh_from_db()
        assert attempt.state == "in_doubt"

    def test_of_a_time_without_a_purchase_is_a_statement_too(self, desk: Desk) -> None:
        hidden = desk.buy(visible_after_s=864_000)
        assert (desk.ask().lines_new, kinds()) == (0, [("missing_there", "", hidden.pk)])

    def test_asked_for_again_changes_nothing(self, desk: Desk) -> None:
        desk.buy(executions=2)
        desk.buy(visible_after_s=864_000)
        desk.ask()
        before = kinds()
        again = desk.ask()
        assert (again.lines_new, again.mended, kinds()) == (0, 0, before)

    def test_with_a_word_that_nobody_knows_is_refused(self, desk: Desk) -> None:
        desk.buy(status_faults=["unknown_word"])
        with pytest.raises(NotReadable, match="ON_HOLD"):
            desk.ask()
        assert not Statement.objects.exists()


class TestALine:
    def test_of_a_purchase_that_was_not_charged_needs_no_price(self) -> None:
        failed = Listed("1", "T1", "FAILED", Outcome.REJECTED, None, "USD", None)
        assert as_row(failed) == {
            "own_ref": "1", "provider_id": "T1", "amount": "0", "currency": "USD", "at": None, "word": "FAILED"
        }  # fmt: skip
        sold, costly = replace(failed, outcome=Outcome.COMPLETED), replace(failed, cost=Decimal("0.00001"))
        assert (as_row(sold)["amount"], as_row(costly)["amount"]) == (None, "0.00001")


class TestHalfAList:
    @pytest.mark.parametrize(
        ("trouble", "text"),
        [
            ({"report_stops_early": True, "most_per_page": 1}, "another_number_of_transactions"),
            ({"rate_limited": True}, "Too many requests"),
            ({"down": "html"}, "unreadable|http"),
        ],
    )
    def test_is_none(self, desk: Desk, trouble: dict[str, Any], text: str) -> None:
        desk.buy()
        desk.buy()
        desk.control.switch(**trouble)
        with pytest.raises(NotListed, match=text):
            desk.ask()
        assert [row.objects.exists() for row in (Statement, StatementLine, Break)] == [False, False, False]

    def test_is_none_where_its_last_page_is_missing(self, desk: Desk) -> None:
        """The provider goes down between two pages."""
        desk.control.switch(most_per_page=1)
        desk.limit(rate_per_s=1, burst=1)
        desk.buy()
        desk.stage.move(10)
        desk.buy()
        desk.stage.move(3700)

        def go_down(seconds: float) -> None:
            desk.pause(seconds)
            desk.control.switch(down="html")

        with pytest.raises(NotListed, match="no list"):
            ask_for_statement(desk.shop.integration, desk.period(), "omar", Patience(timedelta(hours=1), go_down))
        assert desk.pauses == [1.25]


class TestTheBudget:
    def test_is_kept_between_two_pages(self, desk: Desk) -> None:
        """One request a second, of which four fifths are for questions."""
        desk.control.switch(most_per_page=1)
        desk.limit(rate_per_s=1, burst=1)
        for _ in range(3):
            desk.buy()
            desk.stage.move(10)
        assert desk.ask().lines_new == 3
        assert desk.pauses == [1.25, 1.25]

    def test_is_not_waited_for_beyond_the_time_for_the_list(self, desk: Desk) -> None:
        desk.control.switch(most_per_page=1)
        desk.limit(rate_per_s=1, burst=1)
        for _ in range(3):
            desk.buy()
            desk.stage.move(10)
        with pytest.raises(NotListed, match="fewer days"):
            desk.ask(lasts_s=2)
        assert (desk.pauses, Statement.objects.exists()) == ([1.25], False)

    def test_leaves_no_page_more_time_than_is_left(self, desk: Desk) -> None:
        desk.buy()
        desk.control.switch(slow_s=2)
        with pytest.raises(NotListed, match="timeout"):
            desk.ask(lasts_s=0.3)

    def test_is_not_spent_inside_a_transaction(self, desk: Desk) -> None:
        with pytest.raises(OpenTransaction), transaction.atomic():
            ask_for_statement(desk.shop.integration, desk.period(), "omar", Patience(timedelta(1)))


class TestAnAccount:
    def test_of_a_kind_without_a_list_is_not_asked(self, stage: Stage, desk: Desk) -> None:
        znet = make_shop(stage.url).integration
        with pytest.raises(NotListed, match="as a file"):
            ask_for_statement(znet, desk.period(), "omar", Patience(timedelta(1)))

    def test_without_credentials_says_so(self, desk: Desk) -> None:
        desk.shop.integration.set_secrets({})
        desk.shop.integration.save()
        with pytest.raises(NotListed, match="client_secret"):
            ask_for_statement(desk.shop.integration, desk.period(), "omar", Patience(timedelta(1)))


class TestTheCommand:
    def told(self, desk: Desk, *options: str) -> dict[str, Any]:
        said = StringIO()
        call_command("reconcile", "--ask", str(desk.shop.integration.pk), "--json", *options, stdout=said)
        told: dict[str, Any] = json.loads(said.getvalue())
        return told

    def test_asks_for_the_last_two_days(self, desk: Desk) -> None:
        desk.buy(executions=2)
        now = desk.stage.move(2 * 86400 - 60)
        told = self.told(desk)
        assert (told["lines"], told["by_kind"]) == (2, {"matched": 2, "doubled": 1})
        assert (told["from"], told["to"]) == ((now - timedelta(days=2)).isoformat(), now.isoformat())

    def test_asks_for_the_time_that_is_named(self, desk: Desk) -> None:
        began = clock.now()
        desk.buy()
        desk.stage.move(86400)
        since = began - timedelta(minutes=1)  # the panel's clock runs by itself between two orders to it
        period = [f"--since={since.isoformat()}", f"--until={(began + timedelta(hours=1)).isoformat()}"]
        assert self.told(desk, *period)["lines"] == 1
        later = [f"--since={(began + timedelta(hours=2)).isoformat()}", "--dry-run"]
        assert self.told(desk, *later)["lines"] == 0
        assert Statement.objects.count() == 1

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            (["statement.csv", "--ask", "1"], "leave out the file"),
            (["--ask", "1", "--dialect", "plain"], "leave out the file"),
            (["--integration", "1"], "Name the file"),
            (["--ask", "1", "--until", "2026-03-01T00:00:00"], "with their zone"),
            (["--ask", "999"], "no provider account 999"),
            (["statement.csv", "--ask", "1", "--integration", "1"], "not allowed with"),
            (["statement.csv"], "one of the arguments"),
        ],
    )
    def test_says_what_it_needs(self, desk: Desk, options: list[str], text: str) -> None:
        options = [str(desk.shop.integration.pk) if option == "1" else option for option in options]
        with pytest.raises(CommandError, match=text):
            call_command("reconcile", *options)

    def test_keeps_nothing_without_a_list(self, desk: Desk) -> None:
        desk.control.switch(down="html")
        with pytest.raises(CommandError, match=r"Nothing was kept\. the provider gave no list"):
            self.told(desk)
        assert not Statement.objects.exists()


class TestThePage:
    @staticmethod
    def url(name: str, account_id: int) -> str:
        return reverse(f"panel:{name}", args=[account_id])

    def operator(self, desk: Desk) -> Client:
        return browser_of(make_person("omar", desk.shop.tenant, "operator"))

    def post(
        self, browser: Client, desk: Desk, button: str, first: str = "2026-03-01", last: str = "2026-03-02"
    ) -> Any:
        desk.stage.move(3700)
        return browser.post(
            self.url("statement_ask", desk.shop.integration.pk), {"first": first, "last": last, button: ""}
        )

    @staticmethod
    def text_of(answer: object) -> str:
        assert isinstance(answer, HttpResponse)
        assert answer.status_code == 200
        return unescape(answer.content.decode())

    def test_is_led_to_where_the_provider_can_be_asked(self, stage: Stage, desk: Desk) -> None:
        operator, znet = self.operator(desk), make_shop(stage.url)
        page = self.text_of(operator.get(self.url("statement_bring", desk.shop.integration.pk)))
        assert self.url("statement_ask", desk.shop.integration.pk) in page
        other = browser_of(make_person("zoe", znet.tenant, "operator"))
        assert "Ask the provider" not in self.text_of(other.get(self.url("statement_bring", znet.integration.pk)))
        assert other.get(self.url("statement_ask", znet.integration.pk)).status_code == 404

    def test_belongs_to_those_who_act_in_the_shop(self, stage: Stage, desk: Desk) -> None:
        page = self.url("statement_ask", desk.shop.integration.pk)
        viewer = browser_of(make_person("vera", desk.shop.tenant, "viewer"))
        stranger = browser_of(make_person("sam", make_shop(stage.url).tenant, "owner"))
        days = {"first": "2026-03-01", "last": "2026-03-02", "keep": ""}
        asked = len(stage.truth("asked"))
        for browser, status in ((viewer, 403), (stranger, 404), (browser_of(None), 302)):
            assert (browser.get(page).status_code, browser.post(page, days).status_code) == (status, status)
        assert (Statement.objects.exists(), len(stage.truth("asked"))) == (False, asked)

    def test_checks_and_keeps(self, desk: Desk) -> None:
        operator = self.operator(desk)
        desk.buy(executions=2)
        page = self.text_of(self.post(operator, desk, "check"))
        assert ("Nothing was kept yet" in page, "charged twice" in page) == (True, True)
        assert not Statement.objects.exists()
        answer = self.post(operator, desk, "keep")
        statement = Statement.objects.get()
        assert answer["Location"] == self.url("provider_statement", statement.pk)
        assert (statement.imported_by, statement.lines_new, statement.ends_at) == ("omar", 2, clock.now())

    def test_says_why_there_is_no_list(self, desk: Desk) -> None:
        desk.control.switch(down="html")
        page = self.text_of(self.post(self.operator(desk), desk, "keep"))
        assert "the provider gave no list" in page
        assert not Statement.objects.exists()

    @pytest.mark.parametrize(
        ("first", "last"), [("2026-03-02", "2026-03-01"), ("2026-03-01", "2026-03-03"), ("2026-01-01", "2026-03-02")]
    )
    def test_asks_for_no_days_that_it_cannot_mean(self, desk: Desk, first: str, last: str) -> None:
        page = self.text_of(self.post(self.operator(desk), desk, "keep", first, last))
        assert "Give the first day first" in page
        assert not Statement.objects.exists()

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_is_shown_in_every_language(self, desk: Desk, language: str) -> None:
        browser = browser_of(make_person("omar", desk.shop.tenant, "operator"), language)
        page = self.text_of(browser.get(self.url("statement_ask", desk.shop.integration.pk)))
        assert ("The provider is asked for everything" in page) is (language == "en")
