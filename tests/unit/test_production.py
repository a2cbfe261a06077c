"""PRODUCTION=true: what the settings refuse, what they switch on, and what every answer tells the browser."""

from __future__ import annotations

import base64
import re
import runpy
import secrets
from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import call_command
from django.test import Client, override_settings

ROOT = Path(__file__).resolve().parents[2]
OF_THE_WEB = ("SECURE_", "SESSION_COOKIE_", "CSRF_COOKIE_", "ALLOWED_HOSTS", "DEBUG", "SECRET_KEY", "SILENCED_", "X_FR")


@pytest.fixture
def good(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """The environment of a hub that may start; each test spoils one thing."""
    values = {
        "PRODUCTION": "true",
        "PRODUCTION_ALLOWS": "",
        "DATABASE_URL": "postgresql://hub:hub@127.0.0.1/hub",
        "REDIS_URL": "redis://127.0.0.1:6379/0",
        "ALLOWED_HOSTS": "hub.example.com",
        "DEBUG": "false",
        "TRUSTED_PROXIES": "1",
        "SECRET_KEY": secrets.token_urlsafe(48),
        "FIELD_KEYS": f"k1:{base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()}",
        "CODE_INDEX_KEY": secrets.token_hex(32),
        "API_KEY_PEPPER": secrets.token_hex(32),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    for name in ("SECURE_COOKIES", "LOG_FORMAT", "HSTS_SECONDS"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


def load() -> dict[str, Any]:
    """The settings as a fresh process would have them."""
    return runpy.run_path(str(ROOT / "config" / "settings.py"))


class TestProduction:
    @pytest.mark.parametrize(
        ("name", "value", "says"),
        [
            ("DEBUG", "true", "DEBUG is on"),
            ("ALLOWED_HOSTS", "*", "ALLOWED_HOSTS is empty or has a wildcard"),
            ("ALLOWED_HOSTS", "hub.example.com,.example.com", "ALLOWED_HOSTS is empty or has a wildcard"),
            ("ALLOWED_HOSTS", "", "ALLOWED_HOSTS is empty or has a wildcard"),
            ("DATABASE_URL", "sqlite:////nowhere/db.sqlite3", "the database is SQLite"),
            ("REDIS_URL", "", "the broker is in memory"),
            ("SECURE_COOKIES", "false", "SECURE_COOKIES is off"),
            ("SECRET_KEY", "django-insecure-" + "Ab3-xY" * 8, "SECRET_KEY can be guessed"),
            ("SECRET_KEY", "short", "SECRET_KEY can be guessed"),
            ("FIELD_KEYS", f"k1:{base64.urlsafe_b64encode(bytes(32)).decode()}", "FIELD_KEYS can be guessed"),
            ("CODE_INDEX_KEY", "00" * 32, "CODE_INDEX_KEY can be guessed"),
            ("API_KEY_PEPPER", "change-me", "API_KEY_PEPPER can be guessed"),
            ("PRODUCTION_ALLOWS", "debug", "PRODUCTION_ALLOWS names 'debug'"),
        ],
    )
    def test_refuses_one_thing_and_says_which(self, good: pytest.MonkeyPatch, name: str, value: str, says: str) -> None:
        good.setenv(name, value)
        with pytest.raises(ImproperlyConfigured) as refused:
            load()
        sentences = str(refused.value).splitlines()
        assert sentences[0] == "PRODUCTION=true refuses to start:"
        assert [sentence.startswith(f"- {says}") for sentence in sentences[1:]] == [True]

    def test_refuses_one_value_for_two_keys(self, good: pytest.MonkeyPatch) -> None:
        value = secrets.token_hex(32)
        good.setenv("CODE_INDEX_KEY", value)
        good.setenv("API_KEY_PEPPER", value)
        with pytest.raises(ImproperlyConfigured, match="two keys are the same"):
            load()

    def test_tells_everything_at_once(self, good: pytest.MonkeyPatch) -> None:
        good.setenv("DEBUG", "true")
        good.setenv("REDIS_URL", "")
        with pytest.raises(ImproperlyConfigured) as refused:
            load()
        assert len(str(refused.value).splitlines()) == 3

    def test_starts_on_one_machine_when_told_so(self, good: pytest.MonkeyPatch) -> None:
        good.setenv("DATABASE_URL", "sqlite:////nowhere/db.sqlite3")
        good.setenv("REDIS_URL", "")
        good.setenv("PRODUCTION_ALLOWS", "sqlite,memory-broker,http")
        settings = load()
        assert (settings["SECURE_COOKIES"], "SECURE_SSL_REDIRECT" in settings) == (False, False)

    def test_is_clean_for_djangos_own_check(self, good: pytest.MonkeyPatch) -> None:
        web = {name: value for name, value in load().items() if name.startswith(OF_THE_WEB)}
        with override_settings(**web):
            call_command("check", deploy=True, tags=["security"], fail_level="WARNING")

    def test_believes_a_proxy_only_where_there_is_one(self, good: pytest.MonkeyPatch) -> None:
        assert load()["SECURE_PROXY_SSL_HEADER"] == ("HTTP_X_FORWARDED_PROTO", "https")
        good.setenv("TRUSTED_PROXIES", "0")
        assert "SECURE_PROXY_SSL_HEADER" not in load()

    def test_sends_pages_to_https_and_leaves_probes_alone(self, good: pytest.MonkeyPatch) -> None:
        web = {name: value for name, value in load().items() if name.startswith(OF_THE_WEB)}
        with override_settings(**web):
            browser = Client(headers={"host": "hub.example.com"})
            page, probe = browser.get("/login/"), browser.get("/livez")
        assert (page.status_code, page["Location"]) == (301, "https://hub.example.com/login/")
        assert probe.status_code == 200


class TestTheSettingsOfADesk:
    def test_refuse_nothing_and_redirect_nowhere(self, good: pytest.MonkeyPatch) -> None:
        for name, value in {"PRODUCTION": "false", "REDIS_URL": "", "DEBUG": "true"}.items():
            good.setenv(name, value)
        settings = load()
        assert (settings["SECURE_COOKIES"], "SECURE_SSL_REDIRECT" in settings) == (False, False)


class TestEveryAnswer:
    @pytest.mark.parametrize("path", ["/livez", "/api/v1/nothing"])
    def test_forbids_scripts_of_others_frames_and_devices(self, path: str) -> None:
        answer = Client().get(path)
        policy = answer["Content-Security-Policy"].split("; ")
        assert {"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'"} <= set(policy)
        assert not any("unsafe" in part for part in policy)
        assert "camera=()" in answer["Permissions-Policy"]

    def test_is_what_our_pages_keep_to(self) -> None:
        inline = re.compile(r"<style|\sstyle=|\son[a-z]+=|<script(?![^>]*\ssrc=)|javascript:")
        pages = sorted((ROOT / "apps").glob("*/templates/**/*.html"))
        assert [page.name for page in pages if inline.search(page.read_text())] == []
        assert len(pages) > 20
