"""What the doctor finds around the hub, each trouble real, and ten at once, each by its name and with its remedy."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
import redis
import time_machine
from cryptography.fernet import Fernet
from django.db import connection
from django.db.migrations.recorder import MigrationRecorder
from django.test import override_settings
from django_celery_beat.models import PeriodicTask

from apps.catalog.models import PackagePrice
from apps.common import broker, clock
from apps.ops import doctor, surroundings
from apps.ops.findings import ERROR, WARNING, Finding
from apps.orders.models import DueCheck
from apps.providers.models import Integration
from apps.wallet.models import Account
from tests.factories import NOWHERE, make_shop, order_from
from tests.functional.core_fixtures import committed
from tests.functional.ops_fixtures import let_loops_beat
from tests.servers import ValkeyServer, free_port

__all__ = ["committed"]

pytestmark = pytest.mark.both_databases


def told(findings: list[Finding]) -> list[tuple[str, str]]:
    """Level and sentence; every finding has its remedy."""
    assert all(finding.remedy for finding in findings)
    return [(finding.level, finding.found) for finding in findings]


class TestTheSchema:
    def test_of_the_migrations_is_that_of_the_models(self, db: None) -> None:
        assert surroundings.schema(clock.now()) == []

    def test_without_an_index_is_an_error(self, db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DROP INDEX idx_orders_provider_referans")
        assert told(surroundings.schema(clock.now())) == [(ERROR, "not in the database: idx_orders_provider_referans")]

    @pytest.mark.postgres
    def test_without_a_column_or_a_table_is_an_error(self, db: None) -> None:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE orders_case DROP COLUMN owner_id CASCADE")
            cursor.execute("ALTER TABLE orders_note RENAME TO orders_notes")
        assert told(surroundings.schema(clock.now())) == [
            (ERROR, "not in the database: orders_case.owner_id, orders_note")
        ]

    def test_of_newer_code_is_an_error(self, db: None) -> None:
        MigrationRecorder(connection).record_applied("orders", "9999_of_tomorrow")
        sentence = "the database was migrated by newer code: orders.9999_of_tomorrow"
        assert told(surroundings.schema(clock.now())) == [(ERROR, sentence)]


@pytest.fixture(scope="module")
def own_valkey() -> Iterator[str]:
    """A server whose settings a test may change."""
    with ValkeyServer(durable=True) as server:
        yield server.url


class TestRedis:
    def test_that_keeps_everything_is_good(self, own_valkey: str) -> None:
        with override_settings(REDIS_URL=own_valkey):
            assert surroundings.redis_server(clock.now()) == []

    def test_is_not_missed_by_a_single_process(self) -> None:
        with override_settings(REDIS_URL=""):
            assert surroundings.redis_server(clock.now()) == surroundings.round_trip(clock.now()) == []

    def test_that_does_not_answer_is_an_error(self) -> None:
        port = free_port()
        with override_settings(REDIS_URL=f"redis://127.0.0.1:{port}/0"):
            (finding,) = surroundings.redis_server(clock.now())
        assert (finding.level, finding.found) == (ERROR, f"Redis is not running at 127.0.0.1:{port}")
        assert finding.remedy.startswith("start it (Linux: sudo systemctl start redis-server")

    def test_that_forgets_or_throws_away_is_a_warning(self, own_valkey: str) -> None:
        client = redis.Redis.from_url(own_valkey)
        client.config_set("appendonly", "no")
        client.config_set("maxmemory-policy", "allkeys-lru")
        client.close()
        with override_settings(REDIS_URL=own_valkey):
            findings = told(surroundings.redis_server(clock.now()))
        assert [level for level, _ in findings] == [WARNING, WARNING]
        assert [sentence.partition(":")[0] for _, sentence in findings] == [
            "appendonly is off",
            "maxmemory-policy is allkeys-lru",
        ]


class TestTheRoundTrip:
    @pytest.fixture(autouse=True)
    def rested(self, committed: None, valkey_url: str) -> Iterator[None]:
        """A broker that the producers try at once, empty before and after."""
        broker.wake_up()
        with override_settings(REDIS_URL=valkey_url), redis.Redis.from_url(valkey_url) as client:
            client.delete("poll")
            yield
            client.delete("poll")
        broker.wake_up()

    def test_without_a_worker_is_a_warning(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(surroundings, "CANARY_WITHIN_S", 1)
        (finding,) = surroundings.round_trip(clock.now())
        assert (finding.level, finding.found) == (
            WARNING,
            "a message to the queue `poll` was not worked on within 1 s",
        )

    def test_without_a_broker_is_an_error(self) -> None:
        with override_settings(REDIS_URL=f"redis://127.0.0.1:{free_port()}/0"):
            (finding,) = surroundings.round_trip(clock.now())
        assert (finding.level, finding.found[:27]) == (ERROR, "the broker took no message ")


class TestTheClocks:
    @pytest.mark.postgres
    def test_that_are_apart_are_an_error(self, db: None) -> None:
        assert surroundings.clocks(clock.now()) == []
        with time_machine.travel(clock.now() + timedelta(seconds=30), tick=False):
            ((level, sentence),) = told(surroundings.clocks(clock.now()))
        assert (level, sentence[:47]) == (ERROR, "this machine and the database server are 30 s a")


class TestTheDisk:
    @pytest.mark.parametrize(("name", "level"), [("LEAST_FREE_BYTES", ERROR), ("LOW_FREE_BYTES", WARNING)])
    def test_that_is_nearly_full_is_told(self, name: str, level: str, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(surroundings, "LEAST_FREE_BYTES", 0)
        monkeypatch.setattr(surroundings, "LOW_FREE_BYTES", 1 << 60)
        monkeypatch.setattr(surroundings, name, 1 << 60)
        assert [finding.level for finding in surroundings.disk(clock.now())] == [level]

    def test_with_room_is_good(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(surroundings, "LOW_FREE_BYTES", 1)
        assert surroundings.disk(clock.now()) == []


class TestFiles:
    def test_that_others_may_read_or_write_are_a_warning(self, tmp_path: Path) -> None:
        data = tmp_path / "data"
        data.mkdir(mode=0o750)
        for path in (tmp_path / ".env", data / "db.sqlite3"):
            path.touch(mode=0o600)
        with override_settings(BASE_DIR=tmp_path, DATA_DIR=data):
            assert surroundings.files(clock.now()) == []
            (tmp_path / ".env").chmod(0o644)
            (data / "db.sqlite3").chmod(0o640)
            data.chmod(0o700)  # nobody else comes so far as the database
            assert [finding.remedy for finding in surroundings.files(clock.now())] == [f"chmod 600 {tmp_path / '.env'}"]
            data.chmod(0o777)
            assert [(finding.found, finding.remedy) for finding in surroundings.files(clock.now())] == [
                (f"{tmp_path / '.env'}: other users of this machine may read it", f"chmod 600 {tmp_path / '.env'}"),
                (f"{data / 'db.sqlite3'}: other users of this machine may read it", f"chmod 600 {data / 'db.sqlite3'}"),
                (f"{data}: other users of this machine may change it", f"chmod 750 {data}"),
            ]


class TestTheWayOut:
    def test_to_a_provider_that_listens_is_good(self, db: None) -> None:
        with socket.create_server(("127.0.0.1", 0)) as panel:
            make_shop(f"http://127.0.0.1:{panel.getsockname()[1]}")
            assert surroundings.way_out(clock.now()) == []

    def test_to_one_that_does_not_is_a_warning(self, db: None) -> None:
        shop = make_shop(f"http://127.0.0.1:{free_port()}")
        sentence = f"no connection to provider account {shop.integration.name}: Connection refused"
        assert told(surroundings.way_out(clock.now())) == [(WARNING, sentence)]
        Integration.objects.update(is_enabled=False)
        assert surroundings.way_out(clock.now()) == []


class TestTheDeployment:
    def test_that_others_reach_should_be_in_production(self) -> None:
        with override_settings(PRODUCTION=False, ALLOWED_HOSTS=["hub.example.com"]):
            ((level, sentence),) = told(surroundings.deployment(clock.now()))
        assert (level, sentence[:49]) == (WARNING, "other hosts may open the pages, and PRODUCTION is")
        with override_settings(PRODUCTION=False, ALLOWED_HOSTS=["localhost"]):
            assert surroundings.deployment(clock.now()) == []

    def test_in_production_is_what_django_says(self) -> None:
        with override_settings(PRODUCTION=True, SECURE_HSTS_SECONDS=0, SECURE_SSL_REDIRECT=True):
            names = [sentence.partition(":")[0] for _, sentence in told(surroundings.deployment(clock.now()))]
        assert "security.W004" in names
        assert "security.W008" not in names


class TestTenFaultsAtOnce:
    def test_are_each_found_by_name_with_a_remedy(
        self, db: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        order_from(make_shop(NOWHERE))
        let_loops_beat(clock.now() - timedelta(seconds=300))
        with connection.cursor() as cursor:
            on_table = " ON orders_event" if connection.vendor == "postgresql" else ""
            cursor.execute(f"DROP TRIGGER orders_event_forbid_update{on_table}")
            cursor.execute("DROP INDEX idx_orders_provider_referans")
        PeriodicTask.objects.filter(name="heartbeat").delete()
        DueCheck.objects.all().delete()
        Account.objects.filter(kind=Account.Kind.CUSTOMER).update(balance_micros=1)
        Integration.objects.update(paused_until=clock.now() + timedelta(hours=1), pause_reason="balance")
        PackagePrice.objects.all().delete()
        tmp_path.chmod(0o777)
        monkeypatch.setattr(surroundings, "LEAST_FREE_BYTES", 1 << 60)
        monkeypatch.setattr(surroundings, "LOW_FREE_BYTES", 1 << 60)
        planted = {
            "append_only": "orders_event_forbid_update",
            "schema": "idx_orders_provider_referans",
            "redis_server": "Redis is not running",
            "beat_schedule": "heartbeat is not installed",
            "loops": "beat has been silent",
            "nothing_forgotten": "nobody will look at",
            "money": "the ledger disagrees",
            "field_keys": "no key opens the secrets",
            "provider_accounts": "is paused until",
            "way_out": "no connection to provider account",
            "packages": "there is no price",
            "disk": "are free in",
            "files": "may change it",
            "web_settings": "DEBUG is on",
        }
        own = {
            "REDIS_URL": f"redis://127.0.0.1:{free_port()}/0",
            "FIELD_KEYS": f"k1:{Fernet.generate_key().decode()}",
            "DATA_DIR": tmp_path,
            "DEBUG": True,
        }
        with override_settings(**own):
            findings = doctor.examine(clock.now())
        assert [finding for finding in findings if not finding.remedy or finding.remedy == "report this"] == []
        assert {
            check: words
            for check, words in planted.items()
            if not any(finding.check == check and words in finding.found for finding in findings)
        } == {}
