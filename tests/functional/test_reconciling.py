"""Statements of providers: every difference found, none invented, what is certain mended, the money right."""

from __future__ import annotations

import contextlib
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db import IntegrityError, transaction
from django.db.models import Model

from apps.accounts.models import User
from apps.common import checkpoints, clock
from apps.common.money import format_amount
from apps.orders import decisions
from apps.orders.models import Attempt, Case, Evidence, Order, OrderUnit
from apps.orders.reconciling import deciding
from apps.orders.reconciling.aligning import Period
from apps.orders.reconciling.importing import Brought, NotReadable, import_statement, preview
from apps.orders.reconciling.mending import mend_all
from apps.orders.services import try_auto_dispatch
from apps.orders.statement_models import Break, BreakEvent, Statement, StatementLine
from apps.wallet import ledger, people
from tests.factories import START, Shop, Stage, at_checkpoint, make_shop, standing_of, story_of
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import make_person
from tests.functional.statements import (
    Row,
    bring,
    check_books,
    found_in,
    honest_rows,
    make_purchases,
    plant,
)

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases


@dataclass(frozen=True, slots=True)
class Desk:
    """A shop with an operator, a viewer, and the owner of another shop."""

    shop: Shop
    omar: User
    vera: User
    sam: User


@pytest.fixture
def desk(stage: Stage) -> Iterator[Desk]:
    shop, other = make_shop(stage.url, needs_code=False, balance="1000000"), make_shop(stage.url)
    yield Desk(
        shop,
        make_person("omar", shop.tenant, "operator"),
        make_person("vera", shop.tenant, "viewer"),
        make_person("sam", other.tenant, "owner"),
    )
    check_books()


def everything() -> list[list[Any]]:
    """All rows that an import may write."""
    tables: tuple[type[Model], ...] = (Statement, StatementLine, Break, BreakEvent, Attempt, Evidence)
    return [list(table._default_manager.order_by("pk").values()) for table in tables]


def brought_in(desk: Desk, rows: list[Row], period: Period | None = None) -> Statement:
    """The file, imported."""
    statement = import_statement(desk.shop.integration, bring(rows, period), clock.now()).statement
    assert statement is not None
    return statement


def the_break(statement: Statement) -> Break:
    """Its only difference."""
    return Break.objects.get(statement=statement)


def decide(desk: Desk, row: Break, end: str, actor: User | None = None, **more: str) -> None:
    deciding.decide_break(row.pk, actor or desk.omar, end, "as agreed with them", clock.now(), **more)


def row_of(attempt: Attempt, **changed: Any) -> Row:
    """How the provider writes this purchase."""
    row = Row(
        attempt.reference, attempt.provider_order_id, "", format_amount(31_500_000), "TRY",
        attempt.created_at + timedelta(seconds=5),
    )  # fmt: skip
    return replace(row, **changed)


def late_line() -> Row:
    """A deposit long after everything, so that the file covers all that came before."""
    return Row("", "D1", "", "1000", "TRY", clock.now() + timedelta(hours=1), "deposit")


def bought(stage: Stage, desk: Desk) -> Attempt:
    """Delivered and paid."""
    order = stage.order(desk.shop)
    try_auto_dispatch(order.pk)
    stage.run_until_quiet()
    return Attempt.objects.get(order=order, state="delivered")


def in_doubt(stage: Stage, desk: Desk) -> Attempt:
    """Sent, and no certain answer came."""
    order = stage.order(desk.shop, place="accept_then_500", visible_after_s=864_000.0)
    assert try_auto_dispatch(order.pk).said == "in_doubt"
    stage.move(120)
    return Attempt.objects.get(order=order)


def refused(stage: Stage, desk: Desk) -> Attempt:
    """Refused for certain, and the money went back."""
    order = stage.order(desk.shop, place="refuse", refuse_class="product", times=1)
    try_auto_dispatch(order.pk)
    return Attempt.objects.get(order=order)


class Died(BaseException):
    """The process ended here."""


def die() -> None:
    raise Died


class TestAStatement:
    @pytest.mark.parametrize(("count", "each"), [(1500, 10), pytest.param(10_000, 25, marks=pytest.mark.slow)])
    def test_shows_every_planted_difference_and_no_other(self, desk: Desk, count: int, each: int) -> None:
        attempts = make_purchases(desk.shop, count, untold=count // 2)
        book = plant(attempts, each)
        result = import_statement(desk.shop.integration, bring(book.rows), clock.now())
        assert result.statement is not None
        assert found_in(result.statement.pk) == book.planted
        assert (len(book.planted), result.mended) == (8 * each, book.mended)

    def test_that_agrees_shows_nothing(self, desk: Desk) -> None:
        rows = honest_rows(make_purchases(desk.shop, 60))
        assert brought_in(desk, rows).lines_new == 60
        assert not Break.objects.exists()
        assert not StatementLine.objects.filter(attempt=None).exists()

    def test_brought_twice_changes_nothing(self, desk: Desk) -> None:
        book = plant(make_purchases(desk.shop, 300, untold=150), 3)
        first = brought_in(desk, book.rows)
        before = everything()
        again = import_statement(desk.shop.integration, bring(book.rows, None), clock.now())
        assert (again.statement, again.is_new, again.lines_new) == (first, False, 0)
        assert everything() == before

    def test_that_overlaps_an_earlier_one_brings_only_its_own_lines(self, desk: Desk) -> None:
        rows = honest_rows(make_purchases(desk.shop, 90))
        wrong = [replace(row, amount="31.75") if place == 30 else row for place, row in enumerate(rows)]
        brought_in(desk, wrong[:60])
        before = everything()[4]
        assert brought_in(desk, wrong[30:]).lines_new == 30
        assert list(Break.objects.values_list("kind", flat=True)) == ["price"]
        assert everything()[4] == before
        assert StatementLine.objects.count() == 90

    def test_is_only_looked_at_in_a_preview(self, desk: Desk) -> None:
        book = plant(make_purchases(desk.shop, 300), 3)
        before = everything()
        result = preview(desk.shop.integration, bring(book.rows), clock.now())
        assert (result.differences, result.statement) == (24, None)
        assert everything() == before

    def test_is_kept_without_what_its_dialect_does_not_name(self, desk: Desk) -> None:
        (attempt,) = make_purchases(desk.shop, 1)
        content = bring(honest_rows([attempt])).content.replace(b"fee\r\n", b"fee,pin\r\n")
        content = content.replace(b"completed,\r\n", b"completed,,PIN-4711-0815\r\n")
        assert b"PIN-4711-0815" in content
        brought = bring([])
        import_statement(desk.shop.integration, Brought(content, brought.dialect, brought.period, "omar"), clock.now())
        assert "PIN-4711-0815" not in json.dumps(everything(), default=str)

    def test_that_was_stated_cannot_be_changed(self, desk: Desk) -> None:
        brought_in(desk, honest_rows(make_purchases(desk.shop, 1)))
        with pytest.raises(IntegrityError), transaction.atomic():
            StatementLine.objects.update(amount_micros=1)
        with pytest.raises(IntegrityError), transaction.atomic():
            Statement.objects.all().delete()

    def test_of_an_account_without_a_provider_is_refused(self, desk: Desk) -> None:
        (attempt,) = make_purchases(desk.shop, 1)
        desk.shop.integration.kind = "stock"
        with pytest.raises(NotReadable, match="no provider"):
            import_statement(desk.shop.integration, bring([row_of(attempt)]), clock.now())

    def test_leaves_purchases_at_other_accounts_alone(self, stage: Stage, desk: Desk) -> None:
        other = make_shop(stage.url, needs_code=False)
        (attempt,) = make_purchases(desk.shop, 1)
        result = import_statement(other.integration, bring([row_of(attempt)]), clock.now())
        assert result.counts == {"matched": 0, "missing_here": 1}


class TestMatching:
    def test_never_guesses_between_two_purchases(self, desk: Desk) -> None:
        one, two = make_purchases(desk.shop, 2)
        Order.objects.filter(pk=two.order_id).update(user_identifier=one.order.user_identifier)
        Attempt.objects.filter(pk=two.pk).update(created_at=one.created_at + timedelta(minutes=2))
        row = Row("", "", one.order.user_identifier, "31.50", "TRY", one.created_at)
        brought_in(desk, [row], Period(START - timedelta(days=7), START))
        assert list(Break.objects.values_list("kind", "note")) == [("missing_here", "ambiguous")]

    def test_never_guesses_where_a_foreign_reference_is_named(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        row = Row("987654321098765432", "", one.order.user_identifier, "31.50", "TRY", one.created_at)
        brought_in(desk, [row])
        assert StatementLine.objects.get().attempt is None

    def test_looks_no_further_than_the_window(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        at = one.created_at + timedelta(minutes=11)
        brought_in(desk, [Row("", "", one.order.user_identifier, "31.50", "TRY", at)])
        assert StatementLine.objects.get().attempt is None

    def test_asks_about_no_purchase_that_is_younger_than_the_grace(self, stage: Stage, desk: Desk) -> None:
        attempt = bought(stage, desk)
        assert clock.now() - attempt.created_at < timedelta(hours=1)
        period = Period(START - timedelta(days=1), START + timedelta(days=1))
        brought_in(desk, [late_line()], period)
        assert not Break.objects.exists()
        stage.move(3600)
        brought_in(desk, [late_line()], period)
        assert the_break(Statement.objects.latest("id")).kind == "missing_there"

    def test_closes_a_missing_purchase_that_a_later_statement_lists(self, stage: Stage, desk: Desk) -> None:
        attempt = bought(stage, desk)
        stage.move(3700)
        period = Period(START - timedelta(days=1), START + timedelta(days=1))
        row = the_break(brought_in(desk, [late_line()], period))
        brought_in(desk, [row_of(attempt)])
        row.refresh_from_db()
        assert (row.decision, row.closed_by) == ("settled_there", None)

    def test_knows_a_second_charge_that_came_back(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        twice = [row_of(one), row_of(one, provider_id="Y1")]
        row = the_break(brought_in(desk, twice))
        assert row.kind == "doubled"
        brought_in(desk, [row_of(one, provider_id="Y1", amount="-31.50")])
        row.refresh_from_db()
        assert (row.decision, Break.objects.count()) == ("settled_there", 1)

    def test_sees_that_one_request_was_executed_twice(self, stage: Stage, desk: Desk) -> None:
        """P17: the provider's own list of what it sold us."""
        order = stage.order(desk.shop, executions=2)
        try_auto_dispatch(order.pk)
        stage.run_until_quiet()
        attempt = Attempt.objects.get(order=order)
        sold = stage.purchases(order)
        assert len(sold) == 2
        rows = [row_of(attempt, provider_id=row["order_id"], amount=row["charged"]) for row in sold]
        row = the_break(brought_in(desk, rows))
        assert (row.kind, row.attempt) == ("doubled", attempt)
        assert standing_of(order) == ("completed", "completed", "")

    def test_sees_a_second_charge_in_another_statement(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        brought_in(desk, [row_of(one)])
        again = the_break(brought_in(desk, [row_of(one, provider_id="Y1")]))
        assert (again.kind, again.note) == ("doubled", "another_id")

    def test_takes_the_same_charge_with_another_state_for_the_same(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        brought_in(desk, [row_of(one, state="pending")])
        brought_in(desk, [row_of(one)])
        brought_in(desk, [row_of(one, time=one.created_at + timedelta(seconds=9))])
        assert not Break.objects.exists()


class TestWhatIsCertain:
    def test_a_purchase_in_doubt_that_is_listed_exists(self, stage: Stage, desk: Desk) -> None:
        attempt = in_doubt(stage, desk)
        row = the_break(brought_in(desk, [row_of(attempt, provider_id="Z77")]))
        attempt.refresh_from_db()
        assert (row.kind, row.note, row.decision) == ("state", "bought_there", "repaired")
        assert (attempt.state, attempt.provider_order_id, attempt.cost_micros) == ("accepted", "Z77", 31_500_000)
        assert story_of(attempt.order)[-2:] == ["in_progress", "difference_mended"]
        assert OrderUnit.objects.get(order=attempt.order).status == "held"

    def test_a_purchase_in_doubt_that_is_refused_gives_the_money_back_by_the_rules(
        self, stage: Stage, desk: Desk
    ) -> None:
        attempt = in_doubt(stage, desk)
        final_s = desk.shop.integration.caps().failed_final_after_s
        row = the_break(brought_in(desk, [row_of(attempt, state="refunded"), late_line()]))
        attempt.refresh_from_db()
        assert row.decision == "repaired"
        assert (attempt.state, standing_of(attempt.order)[0]) == (
            ("failed", "rejected") if final_s == 0 else ("accepted", "processing")
        )

    def test_a_refusal_says_nothing_of_a_purchase_that_may_have_come_later(self, stage: Stage, desk: Desk) -> None:
        attempt = in_doubt(stage, desk)
        row = the_break(brought_in(desk, [row_of(attempt, state="refunded")]))
        attempt.refresh_from_db()
        assert (attempt.state, row.closed_at, row.is_certain) == ("in_doubt", None, False)

    def test_a_refusal_of_a_purchase_that_was_sent_again_is_a_persons(self, stage: Stage, desk: Desk) -> None:
        attempt = in_doubt(stage, desk)
        Attempt.objects.filter(pk=attempt.pk).update(resent_at=clock.now())
        row = the_break(brought_in(desk, [row_of(attempt, state="refunded"), late_line()]))
        attempt.refresh_from_db()
        assert (attempt.state, row.closed_at) == ("in_doubt", None)
        with pytest.raises(decisions.NotPossible):
            decide(desk, row, "believed")

    def test_a_refusal_above_the_limit_of_one_person_is_a_persons(self, stage: Stage, desk: Desk) -> None:
        owner = make_person("olga", desk.shop.tenant, "owner")
        people.set_confirm_limit(owner, desk.shop.tenant.pk, "TRY", "10", clock.now())
        attempt = in_doubt(stage, desk)
        row = the_break(brought_in(desk, [row_of(attempt, state="refunded"), late_line()]))
        attempt.refresh_from_db()
        assert (attempt.state, row.closed_at) == ("in_doubt", None)
        with pytest.raises(decisions.NotPossible):
            decide(desk, row, "believed")

    def test_absence_of_a_purchase_in_doubt_says_nothing(self, stage: Stage, desk: Desk) -> None:
        attempt = in_doubt(stage, desk)
        stage.move(7200)
        brought_in(desk, [late_line()], Period(START - timedelta(days=1), START + timedelta(days=1)))
        attempt.refresh_from_db()
        assert (attempt.state, Break.objects.count()) == ("in_doubt", 0)

    def test_a_weak_match_mends_nothing(self, stage: Stage, desk: Desk) -> None:
        attempt = in_doubt(stage, desk)
        row = row_of(attempt, reference="", provider_id="", target=attempt.order.user_identifier)
        found = the_break(brought_in(desk, [row]))
        attempt.refresh_from_db()
        assert (attempt.state, found.kind, found.closed_at) == ("in_doubt", "state", None)

    def test_a_price_that_was_never_told_is_booked(self, desk: Desk) -> None:
        told, untold = make_purchases(desk.shop, 2, untold=1)[::-1]
        brought_in(desk, [row_of(untold, amount="31.75"), row_of(told, amount="31.75")])
        ends = dict(Break.objects.values_list("attempt_id", "decision"))
        assert ends == {untold.pk: "repaired", told.pk: ""}
        assert ledger.cost_of_order(untold.order_id) == 31_750_000
        assert Order.objects.get(pk=untold.order_id).cost_micros == 31_750_000
        assert ledger.cost_of_order(told.order_id) == 31_500_000

    @pytest.mark.parametrize("amount", ["94.51", "10.49", "0"])
    def test_a_price_that_nobody_would_believe_is_a_persons(self, desk: Desk, amount: str) -> None:
        (untold,) = make_purchases(desk.shop, 1, untold=1)
        row = the_break(brought_in(desk, [row_of(untold, amount=amount)]))
        assert (row.kind, row.closed_at) == ("price", None)
        assert ledger.cost_of_order(untold.order_id) == 31_500_000

    def test_is_mended_once(self, desk: Desk) -> None:
        (untold,) = make_purchases(desk.shop, 1, untold=1)
        statement = brought_in(desk, [row_of(untold, amount="31.75")])
        assert mend_all(statement, clock.now()) == 0
        assert Evidence.objects.filter(attempt=untold, verb="statement").count() == 1

    def test_is_not_mended_once_the_provider_has_told_a_price(self, desk: Desk) -> None:
        (told,) = make_purchases(desk.shop, 1)
        statement = brought_in(desk, [row_of(told, amount="31.75")])
        Break.objects.update(is_certain=True)  # as if the price had been told between comparing and mending
        assert (mend_all(statement, clock.now()), the_break(statement).is_certain) == (0, False)
        assert ledger.cost_of_order(told.order_id) == 31_500_000

    def test_is_mended_by_the_same_file_after_a_crash(self, stage: Stage, desk: Desk) -> None:
        attempt = in_doubt(stage, desk)
        at_checkpoint("apply.before_commit", die)
        with pytest.raises(Died):
            brought_in(desk, [row_of(attempt)])
        checkpoints.set_hook(None)
        attempt.refresh_from_db()
        assert (attempt.state, Break.objects.get().closed_at) == ("in_doubt", None)
        again = import_statement(desk.shop.integration, bring([row_of(attempt)], None), clock.now())
        attempt.refresh_from_db()
        assert (again.is_new, again.mended, attempt.state) == (False, 1, "accepted")


class TestADecision:
    def test_books_an_accepted_price(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        row = the_break(brought_in(desk, [row_of(one, amount="32.00")]))
        decide(desk, row, "accepted")
        row.refresh_from_db()
        assert (row.decision, row.closed_by, row.close_reason) == ("accepted", desk.omar, "as agreed with them")
        assert ledger.cost_of_order(one.order_id) == 32_000_000
        assert Order.objects.get(pk=one.order_id).cost_micros == 32_000_000
        assert story_of(one.order)[-1] == "difference_decided"

    @pytest.mark.parametrize("end", ["claimed", "left"])
    def test_may_book_nothing(self, desk: Desk, end: str) -> None:
        (one,) = make_purchases(desk.shop, 1)
        decide(desk, the_break(brought_in(desk, [row_of(one, amount="32.00")])), end)
        assert ledger.cost_of_order(one.order_id) == 31_500_000

    def test_writes_off_what_was_charged_twice(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        row = the_break(brought_in(desk, [row_of(one), row_of(one, provider_id="Y1")]))
        decide(desk, row, "lost")
        assert ledger.trial_balance(desk.shop.tenant.pk)["loss", "TRY"] == 31_500_000

    def test_writes_off_a_fee_and_an_unknown_purchase(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        unknown = Row("987654321098765432", "", "", "12", "TRY", one.created_at)
        brought_in(desk, [row_of(one, fee="0.50"), unknown])
        for row in Break.objects.all():
            decide(desk, row, "lost")
        assert ledger.trial_balance(desk.shop.tenant.pk)["loss", "TRY"] == 12_500_000

    def test_links_a_line_and_asks_what_differs_then(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        row = the_break(brought_in(desk, [Row("777", "", "", "33", "TRY", one.created_at)]))
        with pytest.raises(decisions.BadInput):
            decide(desk, row, "linked", reference="nothing")
        decide(desk, row, "linked", reference=one.reference)
        assert StatementLine.objects.get().attempt == one
        assert list(Break.objects.order_by("id").values_list("kind", "decision")) == [
            ("missing_here", "linked"),
            ("price", ""),
        ]

    def test_takes_a_reversal_over(self, stage: Stage, desk: Desk) -> None:
        attempt = bought(stage, desk)
        row = the_break(brought_in(desk, [row_of(attempt, state="refunded")]))
        decide(desk, row, "believed")
        attempt.refresh_from_db()
        assert (attempt.state, Case.objects.get().reason) == ("reversed", "reversal")
        assert ledger.cost_of_order(attempt.order_id) == 0

    def test_takes_a_late_delivery_over_as_a_loss(self, stage: Stage, desk: Desk) -> None:
        attempt = refused(stage, desk)
        row = the_break(brought_in(desk, [row_of(attempt)]))
        assert (row.note, row.is_certain) == ("bought_there", False)
        decide(desk, row, "believed")
        attempt.refresh_from_db()
        assert (attempt.state, attempt.is_surplus) == ("delivered", True)
        assert Case.objects.get().reason == "late_delivery"
        assert ledger.trial_balance(desk.shop.tenant.pk)["loss", "TRY"] == 31_500_000

    def test_corrects_the_price_of_a_loss(self, stage: Stage, desk: Desk) -> None:
        attempt = refused(stage, desk)
        decide(desk, the_break(brought_in(desk, [row_of(attempt, provider_id="Z1")])), "believed")
        dearer = the_break(brought_in(desk, [row_of(attempt, provider_id="Z1", amount="30.00")]))
        decide(desk, dearer, "accepted")
        assert ledger.trial_balance(desk.shop.tenant.pk)["loss", "TRY"] == 30_000_000

    def test_is_made_once(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        row = the_break(brought_in(desk, [row_of(one, amount="32.00")]))
        decide(desk, row, "accepted")
        with pytest.raises(decisions.AlreadyDecided):
            decide(desk, row, "left")

    def test_is_not_made_by_a_viewer_or_another_shop(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        row = the_break(brought_in(desk, [row_of(one, amount="32.00")]))
        with pytest.raises(decisions.NotAllowed):
            decide(desk, row, "left", desk.vera)
        with pytest.raises(decisions.NotFound):
            decide(desk, row, "left", desk.sam)
        with pytest.raises(decisions.NotFound):
            deciding.take_break(row.pk, desk.sam, clock.now())

    def test_fits_the_kind_of_difference(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        row = the_break(brought_in(desk, [row_of(one, amount="32.00")]))
        with pytest.raises(decisions.BadInput):
            decide(desk, row, "lost")

    def test_needs_nobody_who_works_on_it_but_says_who_does(self, desk: Desk) -> None:
        (one,) = make_purchases(desk.shop, 1)
        row = the_break(brought_in(desk, [row_of(one, amount="32.00")]))
        deciding.take_break(row.pk, desk.omar, clock.now())
        row.refresh_from_db()
        assert row.owner == desk.omar
        assert list(row.events.order_by("id").values_list("kind", "actor")) == [("opened", ""), ("taken", "omar")]


class TestTheCommand:
    def test_tells_what_it_found(self, desk: Desk, tmp_path: Path) -> None:
        book = plant(make_purchases(desk.shop, 300), 3)
        file = tmp_path / "march.csv"
        file.write_bytes(book.content())
        period = [f"--from={(START - timedelta(days=7)).isoformat()}", f"--to={START.isoformat()}"]
        said = StringIO()
        options = ["--integration", str(desk.shop.integration.pk), "--dialect", "plain", "--json", *period]
        call_command("reconcile", str(file), *options, stdout=said)
        told = json.loads(said.getvalue())
        assert (told["lines"], told["is_new"], told["differences"]) == (len(book.rows), True, 24)
        assert {kind: told["by_kind"][kind] for kind in ("price", "fee")} == {"price": 3, "fee": 3}

    def test_keeps_nothing_of_a_file_that_it_cannot_read(self, desk: Desk, tmp_path: Path) -> None:
        file = tmp_path / "march.csv"
        file.write_bytes(b"reference;amount\r\n1;2\r\n")
        with pytest.raises(CommandError, match="must be there once"):
            call_command("reconcile", str(file), "--integration", str(desk.shop.integration.pk), "--dialect", "plain")
        assert not Statement.objects.exists()


class TestTheBooks:
    """After any statement and any decisions: `desk` checks money and invariants when the test ends."""

    @pytest.mark.parametrize("seed", [1, 2])
    def test_stay_right_whatever_is_stated_and_decided(self, stage: Stage, desk: Desk, seed: int) -> None:
        dice = random.Random(seed)
        attempts = [*make_purchases(desk.shop, 12, untold=4), *(one(stage, desk) for one in (in_doubt, refused) * 3)]
        attempts.append(bought(stage, desk))
        stage.move(3700)
        for _ in range(2):
            rows = [as_stated(dice, attempt) for attempt in attempts for _ in range(dice.choice((0, 1, 1, 2)))]
            brought_in(desk, [*rows, late_line()], Period(START - timedelta(days=7), clock.now()))
            before = everything()
            import_again = bring([*rows, late_line()], Period(START - timedelta(days=7), clock.now()))
            import_statement(desk.shop.integration, import_again, clock.now())
            assert everything() == before
            for row in Break.objects.filter(closed_at=None).order_by("id"):
                decide_somehow(desk, row, dice)
            check_books()
            stage.move(60)


def as_stated(dice: random.Random, attempt: Attempt) -> Row:
    """Some way in which the provider may write this purchase."""
    return row_of(
        attempt,
        reference=dice.choice((attempt.reference, attempt.reference, "")),
        provider_id=dice.choice((attempt.provider_order_id or f"N{attempt.pk}", f"Y{dice.randrange(5)}{attempt.pk}")),
        amount=dice.choice(("31.50", "31.50", "33.00", "-31.50", "400", "0")),
        currency=dice.choice(("TRY", "TRY", "TRY", "USD")),
        state=dice.choice(("completed", "completed", "refunded", "pending")),
        fee=dice.choice(("", "", "0.50")),
    )


def decide_somehow(desk: Desk, row: Break, dice: random.Random) -> None:
    """One of the decisions that the page offers; what is refused changes nothing."""
    offered = [offer.end for offer in deciding.offers(row, clock.now()) if not offer.why_not]
    reference = Attempt.objects.order_by("id").values_list("reference", flat=True)[dice.randrange(5)]
    with contextlib.suppress(decisions.DecisionRefused):
        decide(desk, row, dice.choice(offered), reference=reference)
