"""What the doctor looks at around the hub: the schema, the broker, the clocks, disk, files, the way to providers."""

from __future__ import annotations

import os
import re
import shutil
import stat
import threading
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import redis
from django.apps import apps
from django.conf import settings
from django.core.checks import Tags, run_checks
from django.db import connection
from django.db.migrations.loader import MigrationLoader
from django.db.models import Model

from apps.common import broker, clock
from apps.common.reach import reach
from apps.journal import loops
from apps.ops.findings import ERROR, WARNING, Finding, some
from apps.ops.preflight import ANSWER_WITHIN_S, redis_troubles
from apps.ops.tasks import heartbeat
from apps.providers.models import Integration
from apps.providers.registry import has_wire

# --- the schema


def schema(now: datetime) -> list[Finding]:
    """Every table, column, index and constraint of the models is there, and no migration is of newer code."""
    findings = []
    if missing := sorted(_missing_parts()):
        remedy = (
            "somebody changed the database by hand: compare with `python manage.py sqlmigrate`, and put it back "
            "(migrations_sql/ has what may be run by hand)"
        )
        findings.append(Finding("schema", ERROR, f"not in the database: {some(missing)}", remedy))
    if newer := _unknown_migrations():
        found = f"the database was migrated by newer code: {some(newer)}"
        findings.append(Finding("schema", ERROR, found, "update the code of this machine before it writes anything"))
    return findings


NAMES: dict[str, str] = {
    "postgresql": (
        "SELECT conname FROM pg_constraint WHERE connamespace = current_schema()::regnamespace "
        "UNION SELECT indexname FROM pg_indexes WHERE schemaname = current_schema()"
    ),
    "sqlite": "SELECT sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL",
}
"""By database: where the names of its indexes and constraints stand; SQLite has them in the SQL of tables."""


def _missing_parts() -> Iterator[str]:
    with connection.cursor() as cursor:
        tables = set(connection.introspection.table_names(cursor))
        cursor.execute(NAMES[connection.vendor])
        names = {name for (text,) in cursor.fetchall() for name in re.findall(r"\w+", text)}
        for model in apps.get_models(include_auto_created=True):
            table = model._meta.db_table
            if not model.__module__.startswith("apps.") or not model._meta.managed:
                continue
            if table not in tables:
                yield table
                continue
            cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)} LIMIT 0")  # noqa: S608 - a quoted name
            columns = {column[0] for column in cursor.description}
            yield from (f"{table}.{name}" for name in _columns(model) - columns)
            yield from _names(model) - names


def _columns(model: type[Model]) -> set[str]:
    return {str(field.column) for field in model._meta.local_concrete_fields}


def _names(model: type[Model]) -> set[str]:
    return {part.name for part in (*model._meta.indexes, *model._meta.constraints)}


def _unknown_migrations() -> list[str]:
    loader = MigrationLoader(connection)
    own = {config.label for config in apps.get_app_configs() if config.name.startswith("apps.")}
    applied = {(app, name) for app, name in loader.applied_migrations if app in own}
    return sorted(f"{app}.{name}" for app, name in applied - set(loader.disk_migrations))


# --- the broker

CANARY_WITHIN_S = 5.0


def redis_server(now: datetime) -> list[Finding]:
    """Redis answers, keeps what it holds over a restart, and throws nothing away."""
    if not settings.REDIS_URL:
        return []  # one process: the broker is its memory
    for sentence in redis_troubles(settings.REDIS_URL):
        found, _, remedy = sentence.partition(": ")
        return [Finding("redis_server", ERROR, found, remedy)]
    return [Finding("redis_server", WARNING, found, remedy) for found, remedy in _redis_settings()]


def _redis_settings() -> Iterator[tuple[str, str]]:
    options = {"socket_connect_timeout": ANSWER_WITHIN_S, "socket_timeout": ANSWER_WITHIN_S}
    with closing(redis.Redis.from_url(settings.REDIS_URL, **options)) as client:
        told = {**client.info("persistence"), **client.info("memory")}
    if not told.get("aof_enabled"):
        yield (
            "appendonly is off: a restart forgets the messages that wait (orders go on from the database, but later)",
            "set `appendonly yes` in redis.conf, or run CONFIG SET appendonly yes",
        )
    if (policy := told.get("maxmemory_policy", "noeviction")) != "noeviction":
        yield (
            f"maxmemory-policy is {policy}: when memory is short, messages are thrown away",
            "set `maxmemory-policy noeviction` in redis.conf, or run CONFIG SET maxmemory-policy noeviction",
        )


def round_trip(now: datetime) -> list[Finding]:
    """A message of ours comes to a worker, and what the worker writes comes to the database."""
    if not settings.REDIS_URL:
        return []
    before = loops.last_beats()[loops.WORKER]
    if not broker.publish(heartbeat.name, [], expires=CANARY_WITHIN_S):
        found = "the broker took no message within a quarter of a second"
        return [Finding("round_trip", ERROR, found, "look at REDIS_URL, and whether Redis is up and not overloaded")]
    pause = threading.Event()
    for _ in range(int(CANARY_WITHIN_S * 10)):
        if loops.last_beats()[loops.WORKER] != before:
            return []
        pause.wait(0.1)
    found = f"a message to the queue `poll` was not worked on within {CANARY_WITHIN_S:.0f} s"
    remedy = (
        "start a worker for it (`celery -A celery_app worker -Q dispatch,check,poll,notify`); if one runs, it is busy"
    )
    return [Finding("round_trip", WARNING, found, remedy)]


# --- the machine

CLOCKS_APART = timedelta(seconds=2)
LEAST_FREE_BYTES = 200 << 20
LOW_FREE_BYTES = 1 << 30


def clocks(now: datetime) -> list[Finding]:
    """This machine and the server of the database have the same time."""
    if connection.vendor != "postgresql":
        return []
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        apart = abs(cursor.fetchone()[0] - clock.now())
    if apart <= CLOCKS_APART:
        return []
    found = (
        f"this machine and the database server are {apart.total_seconds():.0f} s apart: orders are asked at wrong times"
    )
    return [Finding("clocks", ERROR, found, "let NTP set both clocks, for example: sudo timedatectl set-ntp true")]


def disk(now: datetime) -> list[Finding]:
    """There is room in the data folder."""
    free = shutil.disk_usage(settings.DATA_DIR).free
    if free >= LOW_FREE_BYTES:
        return []
    level = ERROR if free < LEAST_FREE_BYTES else WARNING
    found = f"{free >> 20} MiB are free in {settings.DATA_DIR}"
    return [Finding("disk", level, found, "make room: a full disk stops logs, SQLite and backups")]


def files(now: datetime) -> list[Finding]:
    """Nobody else reads the keys, and nobody else writes where the hub writes."""
    if os.name == "nt":
        return []  # Windows has no file modes
    data = Path(settings.DATA_DIR)
    private = [settings.BASE_DIR / ".env", *([data / "db.sqlite3"] if _is_open(data, 0o011) else [])]
    return [
        *(_too_open(path, stat.S_IRWXG | stat.S_IRWXO, "600") for path in private if _is_open(path, 0o077)),
        *(_too_open(path, stat.S_IWOTH, "750") for path in [data] if _is_open(path, 0o002)),
    ]


def _is_open(path: Path, bits: int) -> bool:
    return path.exists() and bool(path.stat().st_mode & bits)


def _too_open(path: Path, bits: int, mode: str) -> Finding:
    what = "change it" if bits == stat.S_IWOTH else "read it"
    return Finding("files", WARNING, f"{path}: other users of this machine may {what}", f"chmod {mode} {path}")


def way_out(now: datetime) -> list[Finding]:
    """A connection to each provider opens, under the rules of every request; nothing is asked."""
    findings = []
    for integration in Integration.objects.filter(is_enabled=True, tenant__is_active=True).order_by("pk"):
        if not has_wire(integration.kind):
            continue
        reached = reach(integration.base_url, integration.egress_policy(), ANSWER_WITHIN_S)
        if reached.trouble:
            found = f"no connection to provider account {integration.name}: {reached.trouble}"
            remedy = "look at its address and at this machine's firewall; some providers let only listed addresses in"
            findings.append(Finding("way_out", WARNING, found, remedy))
    return findings


def deployment(now: datetime) -> list[Finding]:
    """In production Django's own `check --deploy` has nothing to say; and what others may open is in production."""
    if settings.PRODUCTION:
        said = run_checks(tags=[Tags.security], include_deployment_checks=True)
        return [
            Finding("deployment", WARNING, f"{message.id}: {message.msg}", message.hint or "see `check --deploy`")
            for message in said
            if not message.is_silenced()
        ]
    if set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}:
        return []
    found = (
        "other hosts may open the pages, and PRODUCTION is not true: unsafe settings are not refused, HTTPS is not kept"
    )
    return [Finding("deployment", WARNING, found, "set PRODUCTION=true in .env; SECURITY.md says what it asks for")]
