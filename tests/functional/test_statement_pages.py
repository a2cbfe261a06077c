"""The pages of statements: who sees what, who may act, a file from check to decision."""

from __future__ import annotations

from html import unescape
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse

from apps.common import clock
from apps.orders.models import Attempt
from apps.orders.reconciling.dialects import PRESETS
from apps.orders.reconciling.importing import import_statement
from apps.orders.statement_models import Break, Statement
from apps.panel.statement_views import as_initial
from apps.wallet import ledger
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import LANGUAGES, People, browser_of, english, make_person, people
from tests.functional.statements import Row, as_csv, bring, check_books, honest_rows, make_purchases

__all__ = ["committed", "english", "people", "simulator", "stage"]

pytestmark = pytest.mark.both_databases


def url(name: str, *args: Any) -> str:
    return reverse(f"panel:{name}", args=args)


def text_of(answer: object) -> str:
    assert isinstance(answer, HttpResponse)
    assert answer.status_code == 200
    return unescape(answer.content.decode())


def sold(people: People) -> list[Attempt]:
    return make_purchases(people.shop, 9)


def wrong_rows(attempts: list[Attempt]) -> list[Row]:
    """One of them is charged twice."""
    rows = honest_rows(attempts)
    return [*rows, Row(attempts[0].reference, "Y1", "", "31.50", "TRY", attempts[0].created_at)]


def brought(people: People) -> Break:
    """A statement with one difference."""
    rows = wrong_rows(sold(people))
    import_statement(people.shop.integration, bring(rows), clock.now())
    return Break.objects.get()


def upload(browser: Client, people: People, rows: list[Row], act: str, **changed: object) -> Any:
    form = {**as_initial(PRESETS["plain"]), "file": SimpleUploadedFile("march.csv", as_csv(rows)), act: "", **changed}
    form = {name: value for name, value in form.items() if value is not False}
    return browser.post(url("statement_bring", people.shop.integration.pk), form)


class TestWhoMayDoWhat:
    def test_nobody_signed_in_is_sent_to_the_door(self, people: People) -> None:
        row = brought(people)
        pages = [
            url("statements"), url("breaks"), url("statement_bring", people.shop.integration.pk),
            url("provider_statement", row.statement_id), url("break", row.pk), url("break_take", row.pk),
        ]  # fmt: skip
        assert {people.nobody.get(page).status_code for page in pages} == {302}

    def test_a_stranger_sees_nothing_of_it(self, people: People) -> None:
        row = brought(people)
        pages = [
            url("statement_bring", people.shop.integration.pk), url("provider_statement", row.statement_id),
            url("break", row.pk),
        ]  # fmt: skip
        assert {people.stranger.get(page).status_code for page in pages} == {404}
        posts = [url("break_take", row.pk), url("break_decide", row.pk)]
        assert {people.stranger.post(page, {"decision": "left", "reason": "why"}).status_code for page in posts} == {
            404
        }
        for page in ("statements", "breaks"):
            shown = text_of(people.stranger.get(url(page)))
            assert people.shop.integration.name not in shown

    def test_a_viewer_looks_and_does_nothing(self, people: People) -> None:
        row = brought(people)
        assert "Decide" not in text_of(people.viewer.get(url("break", row.pk)))
        posts = [url("break_take", row.pk), url("break_decide", row.pk)]
        told = {"decision": "left", "reason": "why"}
        assert {people.viewer.post(page, told).status_code for page in posts} == {403}
        assert upload(people.viewer, people, [], "keep").status_code == 403
        row.refresh_from_db()
        assert row.closed_at is None


class TestAFile:
    def test_is_checked_without_being_kept(self, people: People) -> None:
        page = text_of(upload(people.operator, people, wrong_rows(sold(people)), "check"))
        assert "Nothing was kept yet" in page
        assert "charged twice" in page
        assert not Statement.objects.exists()

    def test_is_kept_once(self, people: People) -> None:
        rows = wrong_rows(sold(people))
        upload(people.operator, people, rows, "keep")
        answer = upload(people.operator, people, rows, "keep")
        statement = Statement.objects.get()
        assert answer["Location"] == url("provider_statement", statement.pk)
        assert (statement.imported_by, statement.lines_new) == ("omar", 10)
        page = text_of(people.operator.get(answer["Location"]))
        assert "This file was here before" in page
        assert "charged twice" in page

    def test_that_cannot_be_read_says_why(self, people: People) -> None:
        rows = [Row("1", "", "", "twelve", "TRY", clock.now())]
        assert "an amount is not in this way of writing" in text_of(upload(people.operator, people, rows, "keep"))
        assert not Statement.objects.exists()

    def test_may_be_read_in_another_way(self, people: People) -> None:
        (one, *_) = sold(people)
        rows = [Row(one.reference, "", "", "31.50", "TRY", one.created_at, "sold")]
        assert "is no state word" in text_of(upload(people.operator, people, rows, "keep"))
        upload(people.operator, people, rows, "keep", words="sold = bought")
        assert Statement.objects.get().lines.get().attempt == one

    def test_covers_the_days_that_are_named(self, people: People) -> None:
        (one, *_) = sold(people)
        rows = [Row(one.reference, "", "", "31.50", "TRY", one.created_at)]
        assert "Give both days" in text_of(upload(people.operator, people, rows, "keep", first="2026-02-20"))
        upload(people.operator, people, rows, "keep", first="2026-02-20", last="2026-03-02")
        assert Break.objects.filter(kind="missing_there").count() == 8

    def test_with_a_senseless_dialect_is_refused(self, people: People) -> None:
        page = text_of(upload(people.operator, people, wrong_rows(sold(people)), "keep", zone="Moon"))
        assert "not a time zone" in page


class TestADifference:
    def test_is_found_by_its_filters(self, people: People) -> None:
        brought(people)
        queries = ("", "?kind=price", "?kind=doubled", "?state=closed", "?state=all", "?account=999", "?mine=yes")
        shown = {query: text_of(people.operator.get(url("breaks") + query)) for query in queries}
        found = [query for query, page in shown.items() if "No difference is here." not in page]
        assert found == ["", "?kind=doubled", "?state=all"]

    def test_says_what_each_decision_would_do_and_does_it(self, people: People) -> None:
        row = brought(people)
        page = text_of(people.operator.get(url("break", row.pk)))
        assert "The stated amount leaves our money at the provider and is a loss." in page
        people.operator.post(url("break_take", row.pk))
        people.operator.post(url("break_decide", row.pk), {"decision": "lost", "reason": "they keep it"})
        row.refresh_from_db()
        assert (row.decision, str(row.owner)) == ("lost", "omar")
        assert ledger.trial_balance(people.shop.tenant.pk)["loss", "TRY"] == 31_500_000
        page = text_of(people.operator.get(url("break", row.pk)))
        assert "they keep it" in page
        assert 'name="decision"' not in page
        check_books()

    def test_says_why_it_was_not_decided(self, people: People) -> None:
        row = brought(people)
        answer = people.operator.post(url("break_decide", row.pk), {"decision": "lost", "reason": ""}, follow=True)
        assert "Give a reason" in text_of(answer)
        row.refresh_from_db()
        assert row.closed_at is None

    @pytest.mark.parametrize("language", LANGUAGES)
    def test_is_shown_in_every_language(self, people: People, language: str) -> None:
        row = brought(people)
        browser = browser_of(make_person(f"poly-{language}", people.shop.tenant, "owner"), language)
        pages = [
            url("statements"), url("breaks"), url("statement_bring", people.shop.integration.pk),
            url("provider_statement", row.statement_id), url("break", row.pk),
        ]  # fmt: skip
        for page in pages:
            assert f'lang="{language}"' in text_of(browser.get(page))
