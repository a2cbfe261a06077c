"""Makes a complete environment for the tests before Django reads it, and the fixtures that belong to no app.

pytest-django would load settings named in pyproject.toml before this file runs, and with them the developer's `.env`;
so the settings are named here. What `scripts/test.py` or the caller has set in the environment stays.
"""

import atexit
import base64
import functools
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import django
import pytest
import redis
from django.conf import settings

from tests.servers import shared_valkey


def temporary_data_folder() -> str:
    """A folder that disappears with this process."""
    folder = tempfile.mkdtemp(prefix="order-hub-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def complete_environment() -> None:
    """Gives every variable that the settings read a value; one that is set stays, one in `.env` does not count."""
    if not os.environ.get("HUB_DATA_DIR"):
        os.environ["HUB_DATA_DIR"] = temporary_data_folder()
    sqlite = f"sqlite:///{Path(os.environ['HUB_DATA_DIR']).resolve() / 'db.sqlite3'}"
    defaults = {
        "DJANGO_SETTINGS_MODULE": "config.settings",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_KEYS": f"k1:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}",
        "CODE_INDEX_KEY": secrets.token_hex(32),
        "API_KEY_PEPPER": secrets.token_hex(32),
        "DATABASE_URL": os.environ.get("TEST_DATABASE_URL") or sqlite,
        "REDIS_URL": "",
        "ALLOWED_HOSTS": "localhost,127.0.0.1,[::1]",
        "CSRF_TRUSTED_ORIGINS": "",
        "SECURE_COOKIES": "false",
        "DEBUG": "false",
        "PRODUCTION": "false",
        "LOG_FORMAT": "console",
        "LOG_LEVEL": "INFO",
        "ALERT_EVERY_S": "0",
    }
    for name, value in defaults.items():
        os.environ.setdefault(name, value)


def be_apart(worker: str) -> None:
    """One of several test processes has a data folder and a database of Valkey of its own."""
    folder = Path(os.environ["HUB_DATA_DIR"]) / worker
    folder.mkdir(exist_ok=True)
    os.environ["HUB_DATA_DIR"] = str(folder)
    for name in ("REDIS_URL", "TEST_REDIS_URL"):
        if os.environ.get(name):
            parts = urlsplit(os.environ[name])
            database = int(parts.path.strip("/") or 0) + 1 + int(worker.removeprefix("gw"))
            os.environ[name] = urlunsplit(parts._replace(path=f"/{database}"))


complete_environment()
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    be_apart(worker)
django.setup()
# Hashing a password is slow on purpose; a second of it in every test that signs somebody in is no test of anything.
settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """A test marked `postgres` is skipped on SQLite by a plain pytest; scripts/test.py counts that as a failure."""
    from django.db import connection

    if item.get_closest_marker("postgres") is None or connection.vendor == "postgresql":
        return
    if os.environ.get("HUB_STRICT_TESTS"):
        pytest.fail("this test needs PostgreSQL and runs on SQLite", pytrace=False)
    pytest.skip("needs PostgreSQL: set TEST_DATABASE_URL, or run scripts/test.py")


@pytest.fixture(autouse=True)
def _rates_begin_anew(request: pytest.FixtureRequest) -> None:
    """How often somebody asked is kept by the numbers of rows, and a later test may find the same numbers again."""
    from apps.api.limits import REDIS_KEY
    from apps.common.budget_redis import KEY

    url = settings.REDIS_URL or os.environ.get("TEST_REDIS_URL")
    if url and not {"db", "transactional_db"}.isdisjoint(request.fixturenames):
        client = valkey_of(url)
        every = (key.format(account="*") for key in (REDIS_KEY, KEY))
        if kept := [name for pattern in every for name in client.scan_iter(pattern, 1000)]:
            client.delete(*kept)


@functools.cache
def valkey_of(url: str) -> redis.Redis:
    """A client that this process keeps."""
    return redis.Redis.from_url(url)


@pytest.fixture(scope="session")
def valkey_url() -> Iterator[str]:
    """The address of a Valkey that all tests of this run share; clean up what you write."""
    with shared_valkey() as url:
        yield url
