"""Secrets at rest can be opened by their key alone, and no log line tells one."""

from __future__ import annotations

import base64
import logging
import secrets
from collections.abc import Callable
from typing import Any

import pytest
import structlog
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils.log import log_response
from hypothesis import given
from hypothesis import strategies as st
from pytest_django import Settings

from apps.common.crypto import CannotOpen, blind_index, digest, hash_api_secret, open_sealed, open_text, seal, seal_text
from apps.common.logs import SECRET_NAMES, get_logger, hide_in_text, hide_secrets, logging_config


def new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()


class TestASealedValue:
    @given(st.binary(max_size=500))
    def test_opens_to_the_same_bytes(self, plain: bytes) -> None:
        assert open_sealed(seal(plain)) == plain

    @given(st.text(max_size=500).filter(lambda text: "\ud800" not in text))
    def test_opens_to_the_same_text(self, text: str) -> None:
        try:
            sealed = seal_text(text)
        except UnicodeEncodeError:
            return
        assert open_text(sealed) == text

    def test_names_its_key_and_hides_its_content(self) -> None:
        sealed = seal_text("AAAA-BBBB")
        assert sealed.startswith("k1$")
        assert "AAAA-BBBB" not in sealed

    def test_is_another_each_time(self) -> None:
        assert seal(b"same") != seal(b"same")

    def test_still_opens_after_a_new_key_was_put_in_front(self, settings: Settings) -> None:
        sealed = seal(b"old")
        settings.FIELD_KEYS = f"k2:{new_key()},{settings.FIELD_KEYS}"
        assert open_sealed(sealed) == b"old"
        assert seal(b"new").startswith("k2$")

    def test_does_not_open_when_its_key_is_gone(self, settings: Settings) -> None:
        sealed = seal(b"old")
        settings.FIELD_KEYS = f"k2:{new_key()}"
        with pytest.raises(CannotOpen, match="no key named 'k1'"):
            open_sealed(sealed)

    def test_does_not_open_with_another_key_of_the_same_name(self, settings: Settings) -> None:
        sealed = seal(b"old")
        settings.FIELD_KEYS = f"k1:{new_key()}"
        with pytest.raises(CannotOpen, match="'k1' does not open"):
            open_sealed(sealed)

    def test_does_not_open_when_it_was_changed(self) -> None:
        sealed = seal(b"old")
        with pytest.raises(CannotOpen):
            open_sealed(sealed[:-4] + ("AAA=" if sealed[-4:] != "AAA=" else "BBB="))

    @pytest.mark.parametrize("keys", ["", " , ", "k1:too-short", "no colon"])
    def test_needs_readable_keys(self, settings: Settings, keys: str) -> None:
        settings.FIELD_KEYS = keys
        with pytest.raises(ImproperlyConfigured, match="FIELD_KEYS"):
            seal(b"x")


class TestAHash:
    @pytest.mark.parametrize("hasher", [blind_index, hash_api_secret])
    def test_is_the_same_for_the_same_value_and_sixty_four_digits_long(self, hasher: Callable[[str], str]) -> None:
        assert hasher("A") == hasher("A") != hasher("B")
        assert len(hasher("A")) == 64

    def test_of_a_code_depends_on_its_own_key_alone(self, settings: Settings) -> None:
        before = blind_index("A"), hash_api_secret("A")
        settings.CODE_INDEX_KEY = secrets.token_hex(32)
        assert blind_index("A") != before[0]
        assert hash_api_secret("A") == before[1]

    def test_of_raw_bytes_is_sha_256(self) -> None:
        assert digest(b"") == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"

    def test_is_made_with_three_different_keys(self) -> None:
        assert len({blind_index("A"), hash_api_secret("A"), digest(b"A")}) == 3


class TestALogLine:
    @pytest.mark.parametrize("name", sorted(SECRET_NAMES))
    def test_blanks_a_secret_field_whatever_it_holds(self, name: str) -> None:
        event = hide_secrets(None, "info", {name: ["AAAA-BBBB"], name.upper(): "AAAA-BBBB"})
        assert event == {name: "***", name.upper(): "***"}

    @pytest.mark.parametrize(
        ("text", "expected"),
        [
            ("GET /pin_ekle.php?kod=demo&sifre=geheim&referans=1", "GET /pin_ekle.php?kod=***&sifre=***&referans=1"),
            ("Max retries: /x?api_key=abc123 (Caused by)", "Max retries: /x?api_key=*** (Caused by)"),
            ("TOKEN=abc", "TOKEN=***"),
            ("nothing to hide", "nothing to hide"),
        ],
    )
    def test_blanks_secrets_inside_a_text(self, text: str, expected: str) -> None:
        assert hide_in_text(text) == expected

    def test_blanks_secrets_in_what_an_object_says_of_itself(self) -> None:
        request = RequestFactory().get("/servis/pin_ekle.php?kod=demo&sifre=CANARY-78")
        event = hide_secrets(None, "error", {"request": request, "list": ["pin=CANARY-79"], "_record": request})
        assert event == {
            "request": "<WSGIRequest: GET '/servis/pin_ekle.php?kod=***&sifre=***'>",
            "list": "['pin=***']",
            "_record": request,
        }

    def test_of_an_error_has_no_query_with_a_password(self, caplog: pytest.LogCaptureFixture) -> None:
        form = dict(logging_config("json", "INFO")["formatters"]["structured"])  # type: ignore[index]  # plain objects
        del form["()"]
        caplog.handler.setFormatter(structlog.stdlib.ProcessorFormatter(**form))
        request = RequestFactory().get("/servis/pin_ekle.php?kod=demo&sifre=CANARY-78")
        log_response("Internal Server Error: %s", request.path, response=HttpResponse(status=500), request=request)
        assert "/servis/pin_ekle.php?kod=***" in caplog.text
        assert "CANARY-78" not in caplog.text

    def test_keeps_what_is_no_secret(self) -> None:
        event: dict[str, Any] = {"order": 1, "step": "10/15", "reference": "123"}
        assert hide_secrets(None, "info", dict(event)) == event

    def test_of_an_exception_hides_the_password_in_its_address(self, caplog: pytest.LogCaptureFixture) -> None:
        try:
            raise OSError("http://panel/servis/pin_ekle.php?kod=demo&sifre=CANARY-77")
        except OSError:
            get_logger("apps.tests").exception("send_failed")
        assert "send_failed" in caplog.text
        assert "CANARY-77" not in caplog.text

    def test_never_raises(self, capsys: pytest.CaptureFixture[str]) -> None:
        class Broken:
            def __repr__(self) -> str:
                raise RuntimeError("no words")

        get_logger("apps.tests").info("odd", value_of=Broken(), text="\ud800 şüß مرحبا")
        assert logging.raiseExceptions is False
