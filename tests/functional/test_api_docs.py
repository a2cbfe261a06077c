"""What docs/API.md shows is what the door does: its examples are run in their order, and the description is current."""

from __future__ import annotations

import json
import re
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from apps.api.management.commands import export_openapi
from apps.api.signing import sign
from apps.webhooks import delivering
from apps.webhooks.endpoints import KINDS
from apps.webhooks.ladder import GAPS_S
from apps.webhooks.models import WebhookEndpoint
from apps.webhooks.publishing import TEST_KIND
from apps.webhooks.signing import headers_of, new_secret, seal_secret
from tests.functional.test_rest_orders import Rest, read, rest, standing

if TYPE_CHECKING:
    from django.test.client import _MonkeyPatchedWSGIResponse as Response

__all__ = ["rest"]

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "API.md").read_text(encoding="utf-8")
EXAMPLE = re.compile(r"^```sh\n(curl .*?)\n# ([0-9]{3})\n```\n\n```json\n(.*?)^```", re.MULTILINE | re.DOTALL)


def run(rest: Rest, command: str) -> Response:
    """One curl command, sent by the test's client."""
    words = iter(shlex.split(command.replace("\\\n", " "))[1:])
    method, body, headers, url = "", b"", {}, ""
    for word in words:
        if word == "-X":
            method = next(words)
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            headers[name] = value
        elif word in ("-d", "--data-binary"):
            body = next(words).encode()
        else:
            assert not url
            url = word
    content_type = headers.pop("Content-Type", "application/json")
    return rest.client.generic(
        method or ("POST" if body else "GET"), url, body, content_type=content_type, headers=headers
    )


def lacking(shown: Any, told: Any, place: str = "") -> list[str]:
    """What of the shown document is not in the one that was told."""
    if isinstance(shown, dict):
        assert isinstance(told, dict), place
        return [found for name, value in shown.items() for found in lacking(value, told.get(name), f"{place}/{name}")]
    if isinstance(shown, list):
        assert isinstance(told, list), place
        pairs = [lacking(one, other, f"{place}/{n}") for n, (one, other) in enumerate(zip(shown, told, strict=True))]
        return [found for pair in pairs for found in pair]
    return [] if shown == told else [f"{place}: {told!r}, not {shown!r}"]


@pytest.mark.both_databases
class TestTheExamples:
    def test_do_what_they_show(self, rest: Rest) -> None:
        order_id, examples = "", EXAMPLE.findall(TEXT)
        assert len(examples) == TEXT.count("```sh\n") == 15
        for command, status, shown in examples:
            sent = command.replace("$HUB", "").replace("$KEY", rest.key).replace("$ORDER", order_id)
            response = run(rest, sent)
            assert response.status_code == int(status), (command, response.content)
            told = json.loads(response.content)
            assert lacking(json.loads(shown), told) == [], command
            if "/orders/" in response.get("Location", ""):
                order_id = str(told["id"])


def shown_python() -> dict[str, Any]:
    """What the document's pieces of Python define."""
    found: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL):
        exec(code, found)  # noqa: S102 - our own document
    return found


class TestTheSignature:
    def test_in_the_document_is_that_of_the_door(self) -> None:
        found = shown_python()
        given = ("secret", "1772442000", "n" * 16, "POST", "/api/v1/orders?a=1", b"{}")
        assert found["signature"](*given) == sign(*given)


class TestTheSignatureOfAnEvent:
    def test_is_verified_by_what_the_document_shows(self) -> None:
        is_ours, at = shown_python()["is_ours"], datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
        old, new, other = new_secret(), new_secret(), new_secret()
        endpoint = WebhookEndpoint(
            sealed_secret=seal_secret(new), sealed_old_secret=seal_secret(old), old_secret_until=at + timedelta(days=1)
        )
        headers, now = dict(headers_of(endpoint, "msg_1", b"{}", at)), at.timestamp()
        assert [is_ours(secret, headers, b"{}", now) for secret in (old, new, other)] == [True, True, False]
        assert not is_ours(new, headers, b"{ }", now)
        assert not is_ours(new, {**headers, "webhook-id": "msg_2"}, b"{}", now)
        assert [is_ours(new, headers, b"{}", now + late) for late in (300, 301)] == [True, False]

    def test_is_on_a_ladder_that_the_document_shows(self) -> None:
        shown = re.findall(
            r"([0-9]+) (s|min|h)\b", TEXT[TEXT.index("after 5 s, 30 s") : TEXT.index("each a tenth more")]
        )
        unit = {"s": 1, "min": 60, "h": 3600}
        assert tuple(float(number) * unit[word] for number, word in shown) == GAPS_S
        assert delivering.TIMEOUT_S == 10

    def test_has_a_line_for_every_kind(self) -> None:
        lines = [line for line in TEXT.splitlines() if line.startswith("| `order.") or line.startswith("| `endpoint.")]
        assert re.findall(r"`((?:order|endpoint)\.[a-z]+)`", "\n".join(lines)) == [*KINDS, TEST_KIND]


class TestTheDescription:
    def test_in_the_repository_is_that_of_the_code(self) -> None:
        call_command("export_openapi", "--check")

    def test_that_is_old_is_found_out(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(export_openapi, "PLACE", tmp_path / "openapi.json")
        with pytest.raises(CommandError, match="not up to date"):
            call_command("export_openapi", "--check")
        call_command("export_openapi")
        call_command("export_openapi", "--check")
        export_openapi.PLACE.write_text(export_openapi.PLACE.read_text().replace("wallet", "purse"))
        with pytest.raises(CommandError, match="not up to date"):
            call_command("export_openapi", "--check")


class TestTheReferencePage:
    def test_shows_every_endpoint_and_document_without_a_script_or_a_foreign_host(self, rest: Rest) -> None:
        response = Rest("").get("/api/v1/docs")
        page = response.content.decode()
        described = read(rest.get("/api/v1/openapi.json"))
        assert response.status_code == 200
        missing = [path for path in described["paths"] if path not in page]
        missing += [name for name in described["components"]["schemas"] if f'id="{name}"' not in page]
        assert missing == []
        assert "<script" not in page
        assert re.findall(r"https?://", page) == []

    def test_is_only_read(self, rest: Rest) -> None:
        assert standing(rest.post("/api/v1/docs")) == (405, "method_not_allowed")
