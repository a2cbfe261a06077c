"""`manage.py rotate_keys`: every sealed column, row by row, beside others who write; what cannot be opened is told."""

from __future__ import annotations

import base64
import secrets

import pytest
from django.core.management import CommandError
from django.db import DatabaseError, transaction
from pytest_django import Settings

from apps.common.crypto import open_text
from apps.ops import rotation
from apps.orders import services
from apps.orders.models import Evidence, OrderCode
from apps.providers.models import Integration, StockCode
from tests.factories import NOWHERE, Stage, make_shop, make_stock_shop
from tests.functional.core_fixtures import committed, simulator, stage
from tests.functional.ops_fixtures import run

__all__ = ["committed", "simulator", "stage"]

pytestmark = pytest.mark.both_databases


def new_key(name: str) -> str:
    return f"{name}:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}"


@pytest.fixture
def second_key(db: None, settings: Settings) -> str:
    """Two keys, of which the older one sealed everything; gives FIELD_KEYS with the newer one alone."""
    newer = new_key("k2")
    make_shop(NOWHERE)
    make_stock_shop("AAAA-1", "AAAA-2", "AAAA-3")
    settings.FIELD_KEYS = f"{newer},{settings.FIELD_KEYS}"
    return newer


class TestTheTables:
    def test_are_all_that_hold_something_sealed(self) -> None:
        assert {table.name: table.columns for table in rotation.sealed_tables()} == {
            "accounts_api_key": ("sealed_signing_secret",),
            "accounts_second_factor": ("sealed_secret",),
            "journal_provider_webhook": ("sealed_body", "sealed_call"),
            "orders_approval": ("sealed_entry",),
            "orders_code": ("sealed", "sealed_serial", "sealed_pin", "sealed_url"),
            "orders_evidence": ("sealed_body",),
            "providers_integration": ("sealed_secrets",),
            "providers_stock_code": ("sealed", "sealed_serial", "sealed_pin"),
            "webhooks_endpoint": ("sealed_secret", "sealed_old_secret"),
        }


class TestRotating:
    def test_makes_the_older_key_unnecessary(self, second_key: str, settings: Settings) -> None:
        before = Integration.objects.get(kind="znet").account().secrets
        said = run("rotate_keys", "--batch", "2")
        assert "providers_stock_code: 3 rewritten, 0 changed meanwhile" in said
        settings.FIELD_KEYS = second_key
        codes = StockCode.objects.order_by("pk").values_list("sealed", flat=True)
        assert [open_text(sealed) for sealed in codes] == ["AAAA-1", "AAAA-2", "AAAA-3"]
        assert Integration.objects.get(kind="znet").account().secrets == before != {}

    def test_again_finds_nothing_to_do(self, second_key: str) -> None:
        run("rotate_keys")
        before = list(StockCode.objects.order_by("pk").values_list("sealed", flat=True))
        assert "providers_stock_code: 0 rewritten, 0 changed meanwhile" in run("rotate_keys")
        assert list(StockCode.objects.order_by("pk").values_list("sealed", flat=True)) == before

    def test_only_counts_when_asked_to(self, second_key: str) -> None:
        with pytest.raises(CommandError, match="providers_stock_code 3"):
            run("rotate_keys", "--check")
        run("rotate_keys")
        assert run("rotate_keys", "--check").startswith("Everything is sealed under the first key")

    def test_never_overwrites_what_was_typed_meanwhile(self, second_key: str, monkeypatch: pytest.MonkeyPatch) -> None:
        account = Integration.objects.get(kind="znet")

        def open_while_somebody_types(sealed: str) -> bytes:
            account.set_secrets({"sifre": "typed-meanwhile"})
            account.save()
            return b"{}"

        monkeypatch.setattr(rotation, "open_sealed", open_while_somebody_types)
        (table,) = (table for table in rotation.sealed_tables() if table.model is Integration)
        done = rotation.rotate(table)
        account.refresh_from_db()
        assert (done.rewritten, done.overtaken) == (0, 1)
        assert "typed-meanwhile" in open_text(account.sealed_secrets)

    def test_tells_what_no_key_opens_and_goes_on(self, second_key: str) -> None:
        first = StockCode.objects.order_by("pk").first()
        assert first is not None
        StockCode.objects.filter(pk=first.pk).update(sealed="lost$rubbish")
        with pytest.raises(CommandError, match="still need an older key: providers_stock_code 1"):
            run("rotate_keys")
        sealed = StockCode.objects.exclude(pk=first.pk).values_list("sealed", flat=True)
        assert [text.startswith("k2$") for text in sealed] == [True, True]


class TestEvidence:
    def test_and_delivered_codes_are_sealed_again_and_otherwise_frozen(self, stage: Stage, settings: Settings) -> None:
        order = stage.order(make_shop(stage.url))
        services.try_auto_dispatch(order.pk)
        stage.run_until_quiet()
        told = OrderCode.objects.get().reveal()
        older, newer = settings.FIELD_KEYS, new_key("k2")
        settings.FIELD_KEYS = f"{newer},{older}"
        run("rotate_keys")
        settings.FIELD_KEYS = newer
        assert OrderCode.objects.get().reveal() == told
        proof = Evidence.objects.exclude(sealed_body="").first()
        assert proof is not None
        assert proof.sealed_body.startswith("k2$")
        for change in ({"outcome": "other"}, {"http_status": 418}, {"sealed_body": ""}):
            with pytest.raises(DatabaseError, match="append-only"), transaction.atomic():
                Evidence.objects.filter(pk=proof.pk).update(**change)
