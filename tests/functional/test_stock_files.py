"""CSV files of codes: each fault is told by its line and without the code; a file is stored whole or not at all."""

from __future__ import annotations

from datetime import date

import pytest
from django.utils import translation

from apps.common.crypto import open_text
from apps.orders.evidence import delivered_before
from apps.orders.services import try_auto_dispatch
from apps.providers import stock_files
from apps.providers.models import StockCode
from apps.providers.stock_files import ChangedMeanwhile, Reading
from tests.factories import START, Shop, Stage, make_account, make_stock_shop, order_from
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases
TODAY = START.date()
HEADING = "the first line must name the columns: code, and if wanted serial, pin, cost, expires"


@pytest.fixture
def shop(stage: Stage) -> Shop:
    return make_stock_shop("STOCKED-1")


def read(shop: Shop, content: str | bytes, *, usual: int | None = 30_000_000) -> Reading:
    raw = content.encode() if isinstance(content, str) else content
    tenant_id = shop.tenant.pk
    return stock_files.read_file(
        raw,
        tenant_id=tenant_id,
        usual_cost_micros=usual,
        delivered=lambda indexes: delivered_before(tenant_id, indexes),
        today=TODAY,
    )


def faults_of(shop: Shop, content: str | bytes, **kwargs: int | None) -> list[tuple[int, str]]:
    with translation.override("en"):
        return [(fault.line, str(fault.text)) for fault in read(shop, content, **kwargs).faults]


class TestAFile:
    def test_is_read_with_every_column(self, shop: Shop) -> None:
        reading = read(shop, "code,serial,pin,cost,expires\n A-1 ,S1,0042,12.50,2027-01-31\nA-2,,,,\n")
        first, second = reading.lines
        assert reading.faults == ()
        assert (first.number, first.code, first.serial, first.pin) == (2, "A-1", "S1", "0042")
        assert (first.cost_micros, first.expires_on) == (12_500_000, date(2027, 1, 31))
        assert (second.number, second.cost_micros, second.expires_on) == (3, 30_000_000, None)
        assert reading.cost_micros == 42_500_000

    @pytest.mark.parametrize(
        "content",
        ["cost;code\r\n1.5;A\r\n", "\ufeffcode,cost\nA,1.5\n", "Code\tCost\nA\t1.5\n", 'code,cost\n"A","1.5"\n\n\n'],
    )
    def test_may_be_written_by_any_spreadsheet(self, shop: Shop, content: str) -> None:
        reading = read(shop, content)
        assert [(line.code, line.cost_micros) for line in reading.lines] == [("A", 1_500_000)]
        assert reading.faults == ()

    @pytest.mark.parametrize("code", ["=1+1", "+90", "-5", "@SUM(A1)", "0012", "1e5", 'a"b'])
    def test_is_taken_literally(self, shop: Shop, code: str) -> None:
        cell = '"' + code.replace('"', '""') + '"'
        reading = read(shop, f"code\n{cell}\n")
        stock_files.store(shop.integration, "uc-60", "b", reading.lines, START)
        assert open_text(StockCode.objects.latest("id").sealed) == code

    @pytest.mark.parametrize(
        ("content", "line", "text"),
        [
            (b"code\n\xff\xfe", 0, "the file is not UTF-8: save it as “CSV UTF-8”"),
            (b"code\n" + b"A" * (2 * 1024 * 1024), 0, "the file is larger than 2 MiB: split it"),
            ("", 1, HEADING),
            ("SECRET\n", 1, HEADING),
            (
                "code,code\nA,B\n",
                1,
                HEADING,
            ),
            ("code\nA,SECRET\n", 2, "this line has more cells than there are columns"),
            ('code\n"SECRET"x\n', 2, "this line cannot be read: look at its quotation marks"),
            ("code,cost\n,1\n", 2, "there is no code"),
            ("code\nA\n" + "S" * 501, 3, "a cell is longer than 500 characters"),
            ('code\n"SEC\nRET"\n', 3, "a line break or an invisible character stands inside a cell"),
            ("code,cost\nSECRET,abc\n", 2, "the cost must be a number such as 12.50"),
            ('code,cost\nSECRET,"12,50"\n', 2, "the cost must be a number such as 12.50"),
            ("code,cost\nSECRET,-1\n", 2, "the cost must be a number such as 12.50"),
            ("code,expires\nSECRET,31.01.2027\n", 2, "the expiry must be a date such as 2027-01-31"),
            ("code,expires\nSECRET,2026-03-01\n", 2, "it has expired already"),
            ("code\nSECRET\nB\nSECRET\n", 4, "the same code as in line 2"),
            ("code\nSTOCKED-1\n", 2, "this code is in stock already, or was"),
        ],
    )
    def test_with_a_fault_is_told_by_line(self, shop: Shop, content: str | bytes, line: int, text: str) -> None:
        assert faults_of(shop, content) == [(line, text)]

    def test_needs_a_cost_for_every_code(self, shop: Shop) -> None:
        assert faults_of(shop, "code\nA\n", usual=None) == [(2, "the cost must be a number such as 12.50")]

    def test_tells_all_its_faults_at_once_in_order(self, shop: Shop) -> None:
        told = faults_of(shop, "code,cost\nA,x\nB,1\nB,1\nSTOCKED-1,1\n")
        assert [line for line, _ in told] == [2, 4, 5]

    def test_with_a_code_that_a_customer_has_is_refused(self, shop: Shop) -> None:
        try_auto_dispatch(order_from(shop).pk)
        told = faults_of(shop, "code\nSTOCKED-1\n")
        assert told == [
            (2, "this code is in stock already, or was"),
            (2, "this code was delivered to a customer already"),
        ]

    def test_may_hold_codes_of_another_shop(self, shop: Shop) -> None:
        assert faults_of(make_stock_shop(), "code\nSTOCKED-1\n") == []

    def test_may_have_a_number_twice_with_different_pins(self, shop: Shop) -> None:
        assert faults_of(shop, "code,pin\nA,1\nA,2\n") == []

    def test_with_too_many_codes_is_refused(self, shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(stock_files, "MOST_CODES", 2)
        assert faults_of(shop, "code\nA\nB\n") == []
        assert faults_of(shop, "code\nA\nB\nC\n") == [(0, "there are more than 20000 codes: split the file")]


class TestStoring:
    def test_seals_every_part(self, shop: Shop) -> None:
        reading = read(shop, "code,serial,pin\nNEW-1,S1,P1\n")
        stock_files.store(shop.integration, "uc-60", "march", reading.lines, START)
        code = StockCode.objects.latest("id")
        assert [open_text(text) for text in (code.sealed, code.sealed_serial, code.sealed_pin)] == ["NEW-1", "S1", "P1"]
        assert (code.shelf, code.batch, code.added_at, code.tenant_id) == ("uc-60", "march", START, shop.tenant.pk)
        assert "NEW-1" not in repr(reading)

    def test_is_all_or_nothing(self, shop: Shop) -> None:
        reading = read(shop, "code\nNEW-1\nNEW-2\n")
        stock_files.store(make_account(shop.tenant, "stock"), "x", "", reading.lines[1:], START)
        with pytest.raises(ChangedMeanwhile) as told:
            stock_files.store(shop.integration, "uc-60", "", reading.lines, START)
        assert "NEW" not in str(told.value)
        assert told.value.__suppress_context__
        assert StockCode.objects.count() == 2
