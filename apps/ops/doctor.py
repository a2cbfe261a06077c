"""What may be wrong with an installation, one check each, with the remedy. Reads, and sends one message to a worker."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import Error, connection
from django.db.migrations import RunPython
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.state import StateApps
from django.db.models import Exists, OuterRef

from apps.catalog.models import Package
from apps.common import triggers
from apps.common.crypto import CannotOpen
from apps.ops import health, schedule, surroundings
from apps.ops.findings import ERROR, WARNING, Check, Finding, some
from apps.orders import local
from apps.orders.models import Attempt, DueCheck, Order
from apps.orders.sellable import look_at, missing_for_sale
from apps.orders.states import OPEN_ATTEMPTS, OrderStatus
from apps.providers import stock
from apps.providers.models import Integration
from apps.providers.registry import load_adapter, missing_secrets
from apps.wallet import ledger


def examine(now: datetime) -> list[Finding]:
    """Run every check. After an error of a gate (no database, no tables) the rest could only repeat it."""
    findings: list[Finding] = []
    for check in CHECKS:
        found = _run(check, now)
        findings += found
        if check in GATES and any(finding.level == ERROR for finding in found):
            break
    return findings


def _run(check: Check, now: datetime) -> list[Finding]:
    """A check that cannot be carried out is a finding, and does not hide the others."""
    try:
        return check(now)
    except Error as error:
        return [Finding(check.__name__, ERROR, f"the database refused: {_first_line(error)}", DATABASE_REMEDY)]
    except Exception as error:
        found = f"the check failed: {type(error).__name__}: {_first_line(error)}"
        return [Finding(check.__name__, ERROR, found, "report this")]


def is_ok(findings: Sequence[Finding]) -> bool:
    """Warnings are allowed."""
    return all(finding.level != ERROR for finding in findings)


# --- the database


READ_ONLY_REMEDY = "point DATABASE_URL at the primary server; after a restore that was cut off, run it again"
DATABASE_REMEDY = "look at DATABASE_URL, and whether the server runs and lets this user in"


def database(now: datetime) -> list[Finding]:
    """It answers, and takes writes."""
    connection.ensure_connection()
    if health.is_read_only():
        return [Finding("database", ERROR, "it is read-only", READ_ONLY_REMEDY)]
    return []


def migrations(now: datetime) -> list[Finding]:
    """All migrations of the code are applied."""
    missing = health.unapplied_migrations()
    if not missing:
        return []
    return [Finding("migrations", ERROR, f"not applied: {some(missing)}", "run `python manage.py migrate`")]


def append_only(now: datetime) -> list[Finding]:
    """The triggers that guard the story, the evidence and the ledger are there and switched on."""
    missing = sorted(set(wanted_triggers()) - triggers.installed(connection))
    if not missing:
        return []
    remedy = (
        "something remade or altered these tables: find out what, then make the triggers again "
        "(the statements are in the append-only migrations)"
    )
    return [Finding("append_only", ERROR, f"triggers are missing: {some(missing)}", remedy)]


def wanted_triggers() -> list[str]:
    """The names that the migrations give, read from the statements that they would run."""
    editor = connection.schema_editor(collect_sql=True, atomic=False)
    for migration in MigrationLoader(None).disk_migrations.values():
        for operation in migration.operations:
            if isinstance(operation, RunPython) and operation.code.__module__ == triggers.__name__:
                operation.code(StateApps([], {}), editor)
    return [
        name
        for statement in editor.collected_sql
        for name in re.findall(r"^CREATE (?:CONSTRAINT )?TRIGGER (\w+)", statement)
    ]


SAFE_SETTINGS: dict[str, dict[str, tuple[frozenset[str], str]]] = {
    "sqlite": {
        "PRAGMA journal_mode": (frozenset({"wal"}), "let config/settings.py set journal_mode=WAL"),
        "PRAGMA synchronous": (frozenset({"2", "3"}), "let config/settings.py set synchronous=FULL"),
    },
    "postgresql": {
        "SHOW synchronous_commit": (
            frozenset({"on", "local", "remote_write", "remote_apply"}),
            "set synchronous_commit=on for this server, database and user",
        ),
        "SHOW fsync": (frozenset({"on"}), "set fsync=on in postgresql.conf and restart the server"),
    },
}
"""By database: the question, the answers with which a commit survives a power cut, and what to do about others."""


def durability(now: datetime) -> list[Finding]:
    """A commit survives a power cut: the attempt written before a purchase must not get lost after it."""
    findings = []
    for question, (safe, remedy) in SAFE_SETTINGS[connection.vendor].items():
        with connection.cursor() as cursor:
            cursor.execute(question)
            answer = str(cursor.fetchone()[0])
        if answer not in safe:
            found = f"{question.split()[-1]} is {answer}: a power cut could forget a purchase that was made"
            findings.append(Finding("durability", ERROR, found, remedy))
    return findings


QUEUE_SETTINGS = "migrations_sql/queue_settings.sql"

LONG_TRANSACTION = timedelta(minutes=5)
SLOWEST_NAP_S = 60


def queue_upkeep(now: datetime) -> list[Finding]:
    """PostgreSQL cleans the queue up early, and no transaction keeps it from doing so. SQLite needs none of it."""
    if connection.vendor != "postgresql":
        return []
    found = [*_server_settings(), *_table_settings(), *_long_transactions()]
    return [Finding("queue_upkeep", WARNING, trouble, remedy) for trouble, remedy in found]


def _server_settings() -> Iterator[tuple[str, str]]:
    names = ("autovacuum", "autovacuum_naptime", "idle_in_transaction_session_timeout", "track_counts")
    with connection.cursor() as cursor:
        cursor.execute("SELECT name, setting FROM pg_settings WHERE name = ANY(%s)", [list(names)])
        told = dict(cursor.fetchall())
    for name in ("autovacuum", "track_counts"):
        if told[name] != "on":
            yield f"{name} is off: the queue grows and slows down", f"set {name}=on in postgresql.conf and reload"
    if int(told["autovacuum_naptime"]) > SLOWEST_NAP_S:
        nap = f"autovacuum_naptime is {told['autovacuum_naptime']} s: the queue is cleaned up too seldom"
        yield nap, "run ALTER SYSTEM SET autovacuum_naptime = '15s', then SELECT pg_reload_conf()"
    if told["idle_in_transaction_session_timeout"] == "0":
        idle = "a process that hangs in a transaction holds its locks for ever"
        yield idle, "run ALTER DATABASE ... SET idle_in_transaction_session_timeout = '30s'"


def _table_settings() -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE oid = 'orders_due_check'::regclass")
        told = set(cursor.fetchone()[0] or ())
    missing = sorted(wanted_of_queue() - told)
    if missing:
        yield f"the queue's table lacks {some(missing)}", f"run {QUEUE_SETTINGS} as the owner of the table"


def wanted_of_queue() -> set[str]:
    """The settings of the queue's table, each as PostgreSQL tells it: `name=value`."""
    text = (settings.BASE_DIR / QUEUE_SETTINGS).read_text(encoding="utf-8")
    found = re.search(r"^ALTER TABLE orders_due_check SET \((.*)\);$", text, flags=re.MULTILINE)
    return {part.replace(" ", "") for part in found[1].split(", ")} if found else set()


def _long_transactions() -> Iterator[tuple[str, str]]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid, usename, now() - xact_start FROM pg_stat_activity "
            "WHERE datname = current_database() AND now() - xact_start > %s * interval '1 second' ORDER BY xact_start",
            [LONG_TRANSACTION.total_seconds()],
        )
        rows = cursor.fetchall()
    for pid, user, age in rows:
        minutes = int(age.total_seconds() // 60)
        found = f"a transaction of {user} has been open for {minutes} minutes: nothing is cleaned up meanwhile"
        yield found, f"if it does nothing any more, run SELECT pg_terminate_backend({pid})"


# --- the loops


def beat_schedule(now: datetime) -> list[Finding]:
    """Beat's table has our entries, switched on, and once."""
    entries = schedule.load_entries()
    rows = {entry.name: entry for entry in entries}
    findings = []
    for periodic in schedule.SCHEDULE:
        row = rows.get(periodic.name)
        if row is None:
            remedy = "run `python manage.py setup_periodic_task`"
            findings.append(Finding("beat_schedule", ERROR, f"{periodic.name} is not installed", remedy))
        elif not row.is_enabled or row.task != periodic.task:
            remedy = "switch it on in the admin, or run `python manage.py setup_periodic_task --reset`"
            findings.append(
                Finding("beat_schedule", ERROR, f"{periodic.name} is disabled or runs another task", remedy)
            )
    for twin in schedule.duplicates(entries):
        found = f"{twin.name} runs {twin.task} a second time"
        findings.append(Finding("beat_schedule", WARNING, found, "delete it in the admin if nobody needs it"))
    return findings


def loops(now: datetime) -> list[Finding]:
    """Sweep, worker and beat were heard of within the last minute."""
    ages = health.measure_loops(now)
    never = all(age is None for age in ages.ages.values())
    remedy = "start the hub (`python3 scripts/start.py`), or a worker and a beat; README_MONITORING.md has the commands"
    if never:
        return [Finding("loops", WARNING, "nothing has ever run", remedy)]
    return [Finding("loops", ERROR, problem, remedy) for problem in health.silences(ages)]


# --- orders and money


def nothing_forgotten(now: datetime) -> list[Finding]:
    """Every open order has a due row or is in review, and so has every attempt that the provider may still answer."""
    waiting = (OrderStatus.PENDING, OrderStatus.PROCESSING)
    orders = Order.objects.filter(status__in=waiting)
    forgotten = orders.exclude(Exists(DueCheck.objects.filter(order=OuterRef("pk"))))
    silent = Attempt.objects.filter(state__in=OPEN_ATTEMPTS, closed_at=None, order__status__in=waiting)
    silent = silent.exclude(Exists(DueCheck.objects.filter(attempt=OuterRef("pk"))))
    remedy = "this must never happen: keep the logs, and report it with the story of the order"
    findings = []
    if ids := [f"#{pk}" for pk in forgotten.order_by("pk").values_list("pk", flat=True)]:
        findings.append(
            Finding("nothing_forgotten", ERROR, f"open orders that nobody will look at: {some(ids)}", remedy)
        )
    if ids := [f"#{pk}" for pk in silent.order_by("order_id").values_list("order_id", flat=True)]:
        findings.append(
            Finding("nothing_forgotten", ERROR, f"attempts that nobody will ask about: {some(ids)}", remedy)
        )
    return findings


def money(now: datetime) -> list[Finding]:
    """The ledger recomputed from its entries agrees with itself."""
    problems = ledger.recount().problems()
    remedy = "stop selling, keep a copy of the database and run `python manage.py check_money`"
    return [Finding("money", ERROR, f"the ledger disagrees: {some(problems)}", remedy)] if problems else []


# --- set-up


def packages(now: datetime) -> list[Finding]:
    """Each package that is on sale can be delivered."""
    on_sale = Package.objects.select_related("product", "tenant").filter(is_active=True, product__is_active=True)
    packages = list(on_sale.filter(tenant__is_active=True, tenant__sandbox_of=None).order_by("pk"))
    findings = []
    for sale in look_at(packages, now):
        missing = missing_for_sale(sale)
        blocking = [found for found in missing if found.is_blocking]
        if missing:
            trouble = "cannot be sold" if blocking else "is not complete"
            found = f"package {sale.package.code} {trouble}: {'; '.join(map(str, blocking or missing))}"
            findings.append(Finding("packages", WARNING, found, "complete it in the admin, or take it off sale"))
    return findings


def provider_accounts(now: datetime) -> list[Finding]:
    """Each enabled provider account has its secrets and is not paused."""
    findings = []
    for integration in Integration.objects.filter(is_enabled=True).order_by("pk"):
        if lacking := _lacking_secrets(integration):
            found = f"provider account {integration.name} has no {', '.join(lacking)}"
            findings.append(Finding("provider_accounts", WARNING, found, "enter it in the admin"))
        if integration.is_paused(now):
            found = (
                f"provider account {integration.name} is paused until {integration.paused_until:%Y-%m-%d %H:%M} UTC"
                f" ({integration.pause_reason})"
            )
            remedy = "mend the reason there; orders wait and go by themselves afterwards"
            findings.append(Finding("provider_accounts", WARNING, found, remedy))
    return findings


def _lacking_secrets(integration: Integration) -> list[str]:
    try:
        return missing_secrets(load_adapter(integration.kind), integration.account())
    except (CannotOpen, ImproperlyConfigured):
        return []  # `field_keys` tells it


def stock_shelves(now: datetime) -> list[Finding]:
    """Each shelf that a package comes from holds enough codes, and none that end soon."""
    return [
        Finding("stock_shelves", WARNING, f"shelf {shelf.name} of {shelf.integration.name} {trouble}", remedy)
        for shelf in local.load_shelves(Integration.objects.filter(is_enabled=True), now)
        for trouble, remedy in _troubles_of(shelf)
    ]


def _troubles_of(shelf: stock.Shelf) -> Iterator[tuple[str, str]]:
    if shelf.is_empty:
        yield "is empty", "add codes on the page “Own stock”"
    elif shelf.is_low:
        yield f"is low: {shelf.left} left", "add codes on the page “Own stock”"
    if shelf.ending:
        yield f"has codes that end within 30 days: {shelf.ending}", "sell them first, or return them"
    if shelf.expired:
        yield f"has expired codes: {shelf.expired}", "they are never sold: return them"


def field_keys(now: datetime) -> list[Finding]:
    """FIELD_KEYS opens what is stored."""
    try:
        closed = health.unreadable_secrets()
    except ImproperlyConfigured as error:
        return [Finding("field_keys", ERROR, str(error), "put back the .env that belongs to this database")]
    if not closed:
        return []
    found = f"no key opens the secrets of provider account {some(closed)}"
    return [Finding("field_keys", ERROR, found, "put the old key back into FIELD_KEYS, after the new one")]


def web_settings(now: datetime) -> list[Finding]:
    """Settings that are right on a desk and wrong on the internet."""
    findings = []
    if settings.DEBUG:
        found = "DEBUG is on: error pages show source code and settings"
        findings.append(Finding("web_settings", WARNING, found, "take DEBUG out of .env"))
    if set(settings.ALLOWED_HOSTS) <= {"localhost", "127.0.0.1", "[::1]"}:
        found = "only this machine may open the pages"
        findings.append(Finding("web_settings", WARNING, found, "name the host in ALLOWED_HOSTS if others shall"))
    if "*" in settings.ALLOWED_HOSTS:
        found = "any host name is answered"
        findings.append(Finding("web_settings", WARNING, found, "name the hosts in ALLOWED_HOSTS"))
    return findings


CHECKS: tuple[Check, ...] = (
    database,
    migrations,
    surroundings.schema,
    append_only,
    durability,
    queue_upkeep,
    surroundings.redis_server,
    surroundings.round_trip,
    beat_schedule,
    loops,
    surroundings.clocks,
    nothing_forgotten,
    money,
    field_keys,
    provider_accounts,
    surroundings.way_out,
    packages,
    stock_shelves,
    surroundings.disk,
    surroundings.files,
    web_settings,
    surroundings.deployment,
)
"""All checks, in the order of their answers."""

GATES: tuple[Check, ...] = (database, migrations)
"""Without these nothing else can be asked."""


def _first_line(error: Exception) -> str:
    return next(_lines(str(error)), type(error).__name__)


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())
