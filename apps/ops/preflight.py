"""What must be there before web, worker and beat run as processes of their own: a sentence for each thing missing."""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import redis
from django.conf import settings
from django.db import OperationalError, connection

from apps.ops import health

ANSWER_WITHIN_S = 3.0
START_REDIS = (
    "Linux: sudo systemctl start redis-server; with Docker, on Windows too: docker run -d -p 6379:6379 valkey/valkey"
)


def missing(host: str, port: int) -> list[str]:
    """Everything that keeps the hub from starting, in words for a person."""
    return [*database_troubles(), *redis_troubles(settings.REDIS_URL), *port_troubles(host, port)]


# --- the database


def database_troubles() -> Iterator[str]:
    """PostgreSQL answers, lets us in, and lets us do what we must."""
    if connection.vendor != "postgresql":
        yield (
            "DATABASE_URL names no PostgreSQL: set it in .env, for example "
            "DATABASE_URL=postgresql://hub:password@127.0.0.1:5432/hub, or start without --production"
        )
        return
    try:
        connection.ensure_connection()
    except OperationalError as error:
        yield _why_not_connected(str(error))
        return
    yield from _rights()


def _why_not_connected(said: str) -> str:
    at = connection.settings_dict
    user, name, place = at["USER"], at["NAME"], f"{at['HOST'] or 'localhost'}:{at['PORT'] or 5432}"
    if "authentication failed" in said or "no password supplied" in said or "no pg_hba.conf entry" in said:
        return f"PostgreSQL at {place} does not let the user {user} in: mend user and password in DATABASE_URL"
    if "does not exist" in said:
        return f"PostgreSQL at {place} has no database {name} or no user {user}: createdb -O {user} {name}"
    return f"PostgreSQL does not answer at {place}: start it, or mend DATABASE_URL"


def _rights() -> Iterator[str]:
    user = connection.settings_dict["USER"]
    if not health.unapplied_migrations():
        if not _ask(
            "SELECT has_table_privilege('product_orders', 'INSERT') AND has_table_privilege('product_orders', 'UPDATE')"
        ):
            yield f"the database user {user} may not write the tables: GRANT ... ON ALL TABLES, or use their owner"
        return
    if not _ask("SELECT has_schema_privilege(current_user, 'public', 'CREATE')"):
        yield f"the database user {user} may not make tables: GRANT CREATE ON SCHEMA public TO {user}, as its owner"
    owner = _ask(
        "SELECT min(tableowner) FROM pg_tables "
        "WHERE schemaname = 'public' AND NOT pg_has_role(current_user, tableowner, 'USAGE')"
    )
    if owner:
        yield (
            f"migrations are missing, and the tables belong to {owner}, not to {user}: run `python manage.py migrate` "
            "once with the owner in DATABASE_URL (docs/TESTING_GUIDE.md, Permission)"
        )


def _ask(question: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(question)
        return cursor.fetchone()[0]


# --- Redis and the port


def redis_troubles(url: str) -> Iterator[str]:
    """Redis or Valkey answers, and lets us in."""
    if not url:
        yield f"REDIS_URL is not set: REDIS_URL=redis://127.0.0.1:6379/0 in .env, and start Redis ({START_REDIS})"
        return
    try:
        place = f"{urlsplit(url).hostname}:{urlsplit(url).port or 6379}"
        client = redis.Redis.from_url(url, socket_connect_timeout=ANSWER_WITHIN_S, socket_timeout=ANSWER_WITHIN_S)
    except ValueError:
        yield "REDIS_URL is no address: it looks like redis://:password@127.0.0.1:6379/0"
        return
    with closing(client):
        try:
            client.ping()
        except redis.AuthenticationError:
            yield f"Redis at {place} does not let us in: mend the password in REDIS_URL"
        except redis.RedisError:
            yield f"Redis is not running at {place}: start it ({START_REDIS}), or mend REDIS_URL"


def port_troubles(host: str, port: int) -> Iterator[str]:
    """Nobody else listens where the web server will."""
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET) as probe:
            if sys.platform != "win32":
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, port))
    except OSError as error:
        yield f"port {port} of {host} is taken ({error.strerror}): stop the other program, or choose --port"
