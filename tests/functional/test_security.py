"""What somebody sends with ill intent: into files, pages and logs, to find out what exists, and by the clock."""

from __future__ import annotations

import ast
import csv
import io
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.test import Client
from django.urls import reverse

from apps.accounts.keys import issue_key
from apps.accounts.models import ApiKey, Customer
from apps.catalog.models import Product
from apps.common import clock
from apps.common.logs import logging_config
from apps.common.sheets import FORMULA_STARTS
from apps.orders.models import Order
from tests.factories import NOWHERE, Shop, make_shop, order_from
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.panel_fixtures import PASSWORD, People, browser_of, make_person, people

__all__ = ["committed", "people", "simulator", "stage"]

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = "<script>alert(1)</script>"
FORMULA = '=HYPERLINK("http://evil.example";"free")'


def rename(shop: Shop, text: str) -> None:
    """Everything of the shop whose name a person or a provider chooses."""
    Product.objects.filter(pk=shop.package.product_id).update(name=text)
    type(shop.package).objects.filter(pk=shop.package.pk).update(name=text)
    Customer.objects.filter(pk=shop.customer.pk).update(name=text)
    type(shop.integration).objects.filter(pk=shop.integration.pk).update(name=text[:40])


class TestFilesForSpreadsheets:
    def pages(self, shop: Shop) -> Iterator[str]:
        yield reverse("panel:orders_file")
        yield reverse("panel:statement", args=[shop.customer.pk])
        yield reverse("panel:profit_file")
        yield from (
            reverse("panel:sheet_export", args=[name]) for name in ("products", "packages", "prices", "mappings")
        )

    @pytest.mark.page
    def test_hold_no_formula_that_somebody_typed(self, people: People) -> None:
        rename(people.shop, FORMULA)
        order_from(people.shop)
        Order.objects.update(user_identifier=FORMULA, client_reference="@SUM(1)")
        shown = 0
        for page in self.pages(people.shop):
            answer = people.owner.get(page, {"days": 30})
            assert answer.status_code == 200, page
            text = b"".join(answer).decode().removeprefix("\ufeff")
            cells = [cell for row in csv.reader(io.StringIO(text)) for cell in row]
            typed = [cell for cell in cells if "HYPERLINK" in cell or "SUM" in cell]
            assert [cell for cell in typed if cell.startswith(FORMULA_STARTS)] == [], page
            shown += len(typed)
        assert shown >= 5


class TestPages:
    @pytest.mark.page
    def test_show_markup_as_text(self, people: People) -> None:
        rename(people.shop, SCRIPT)
        order = order_from(people.shop)
        Order.objects.update(user_identifier=SCRIPT, client_reference=SCRIPT)
        shown = 0
        for page in (reverse("panel:orders"), reverse("panel:order", args=[order.pk])):
            text = people.owner.get(page).content.decode()
            assert SCRIPT not in text
            shown += text.count("&lt;script&gt;")
        assert shown >= 3

    def test_let_the_browser_run_nothing_from_elsewhere(self, db: None) -> None:
        policy = Client().get("/login/")["Content-Security-Policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy.partition("script-src")[2].partition(";")[0]


class TestLogs:
    @pytest.mark.parametrize("log_format", ["console", "json"])
    def test_keep_on_one_line_what_was_sent(self, log_format: str) -> None:
        """A line break begins no line that looks like ours, and an escape moves no cursor."""
        config = logging_config(log_format, "INFO")
        options = dict(config["formatters"]["structured"])  # type: ignore[index] # a dictConfig
        formatter = options.pop("()")(**options)
        sent = "x\n2026-03-02T09:00:00Z [info     ] order_refunded\r\x1b[2J\u2028y"
        record = logging.LogRecord("django.security", logging.ERROR, "", 0, "Invalid host: %s", (sent,), None)
        line = formatter.format(record)
        assert "order_refunded" in line
        assert not {"\n", "\r", "\x1b"} & set(line)


class TestWhatExists:
    @pytest.fixture
    def shops(self, committed: None) -> tuple[Shop, Shop]:
        return make_shop(NOWHERE), make_shop(NOWHERE)

    @pytest.mark.both_databases
    def test_elsewhere_is_answered_like_nothing(self, shops: tuple[Shop, Shop]) -> None:
        mine, other = shops
        theirs = order_from(other)
        _, key = issue_key(mine.customer, clock.now())
        bodies = []
        for number in (theirs.pk, theirs.pk + 777):
            for method, path in (("get", ""), ("post", "/cancel"), ("post", "/codes/reveal")):
                answer = getattr(Client(), method)(
                    f"/api/v1/orders/{number}{path}", headers={"authorization": f"Bearer {key}"}
                )
                bodies.append((answer.status_code, without_chance(answer.content.decode())))
        assert bodies[:3] == bodies[3:]
        assert {status for status, _ in bodies} == {404}

    @pytest.mark.both_databases
    def test_of_keys_is_not_told_by_what_is_wrong_with_one(self, shops: tuple[Shop, Shop]) -> None:
        stored, key = issue_key(shops[0].customer, clock.now())
        name = key.partition(".")[0]
        wrong = [f"{name}.wrong", "nobody.wrong", "rubbish", ""]
        answers = [self.ask(presented) for presented in wrong[:3]]
        ApiKey.objects.filter(pk=stored.pk).update(is_active=False)
        answers.append(self.ask(key))
        assert len(set(answers)) == 1
        assert answers[0][0] == 401

    def ask(self, key: str) -> tuple[int, str]:
        answer = Client().get("/api/v1/orders", headers={"authorization": f"Bearer {key}"})
        return answer.status_code, without_chance(answer.content.decode())

    def test_of_people_is_not_told_by_the_answer_to_a_wrong_password(self, db: None) -> None:
        make_person("olga", make_shop(NOWHERE).tenant)
        pages = []
        for name in ("olga", "nobody-here"):
            answer = browser_of(None).post("/login/", {"username": name, "password": PASSWORD + "x"})
            pages.append((answer.status_code, without_chance(answer.content.decode().replace(name, "NAME"))))
        assert pages[0] == pages[1]


def without_chance(body: str) -> str:
    """An answer without what differs each time: the id of the request, the token of the form."""
    return re.sub(r'"request_id": "[^"]+"|csrfmiddlewaretoken" value="[^"]+"', "", body)


SECRET_WORDS = ("secret", "token", "signature", "digest", "pepper", "password", "mac", "hmac")
PLAIN_COMPARISONS = {
    "apps/ops/backups/archive.py _digest(archive) != manifest.sha256",  # a checksum, written beside what it is of
    "apps/ops/backups/restoring.py manifest.keys.get('API_KEY_PEPPER') == hash_api_secret(MARK)",  # at our own console
    "apps/orders/due.py row.digest == seen",  # whether an answer has changed
    "apps/orders/standings.py row.digest != news.class_digest()",
}
"""Comparisons of such names by `==` in which nobody guesses a secret."""


class TestSecrets:
    def test_are_never_compared_by_a_clock_that_can_be_read(self) -> None:
        """`==` ends at the first byte that differs: who measures it guesses byte by byte."""
        found = {place for path in sorted((ROOT / "apps").rglob("*.py")) for place in comparisons(path)}
        assert found == PLAIN_COMPARISONS


def comparisons(path: Path) -> Iterator[str]:
    """Where two values of which one is named as a secret are compared by `==` or `!=`."""
    if {"migrations", "simulator"} & set(path.parts):
        return
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Compare) or not isinstance(node.ops[0], ast.Eq | ast.NotEq):
            continue
        sides = [node.left, *node.comparators]
        if any(isinstance(side, ast.Constant) for side in sides):
            continue
        names = [part for side in sides for part in last_name(side).split("_")]
        if set(names) & set(SECRET_WORDS):
            yield f"{path.relative_to(ROOT)} {ast.unparse(node)}"


def last_name(node: ast.expr) -> str:
    """The name by which a value is known: that of a variable, an attribute or a function."""
    while isinstance(node, ast.Call):
        node = node.func
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""
