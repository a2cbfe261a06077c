"""Requests made up from docs/openapi.json, against the application: it never breaks, nor says what is not described."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.core import signals
from django.core.wsgi import get_wsgi_application
from django.db import close_old_connections
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from pytest_django import Settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from apps.accounts.keys import issue_key
from tests.factories import START, Shop, make_shop, order_from

pytestmark = pytest.mark.django_db

DESCRIPTION = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
APPLICATION = get_wsgi_application()
SCHEMA = schemathesis.openapi.from_path(str(DESCRIPTION))
SCHEMA.app = APPLICATION
OPERATIONS = {found.ok().label: found.ok() for found in SCHEMA.get_all_operations() if isinstance(found, Ok)}
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
FEW, MANY = 12, 400
"""Requests for each operation, in each of the two modes."""


@pytest.fixture
def shop(settings: Settings) -> Iterator[Shop]:
    """A shop; the end of a request leaves the test's own connection to the database open, as Django's client does."""
    settings.REDIS_URL = ""
    ends = (signals.request_started, signals.request_finished)
    for signal in ends:
        signal.disconnect(close_old_connections)
    yield make_shop()
    for signal in ends:
        signal.connect(close_old_connections)


@schemathesis.serializer("application/x-ndjson")
def as_lines(context: object, value: Any) -> bytes:
    """What was made up for one line, or for many."""
    lines = value if isinstance(value, list) else [value]
    return b"\n".join(json.dumps(line).encode() for line in lines)


def send(case: Case[Any], key: str, known: dict[str, Any]) -> None:
    """One request, with what really exists in place of what was made up where `known` says so; then its answer."""
    if "order_id" in case.path_parameters and "order_id" in known:
        case.path_parameters["order_id"] = known["order_id"]
    if isinstance(case.body, dict) and isinstance(case.body.get("package"), str):
        case.body.update({name: known[name] for name in ("package", "fields") if name in known})
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    response = case.call(base_url="http://localhost", headers=headers, app=APPLICATION)
    case.validate_response(response, checks=CHECKS)


def try_out(label: str, shop: Shop, examples: int) -> None:
    """So many good and so many bad requests for one operation, with a key and without."""
    order = order_from(shop)
    exists = {"order_id": order.pk, "package": shop.package.code, "fields": {"player_id": "P00042"}}
    key = issue_key(shop.customer, START, rate_per_s=10_000, burst=30_000)[1]
    operation = OPERATIONS[label]
    for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE):

        @settings(
            max_examples=examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(
            case=operation.as_strategy(generation_mode=mode),
            key=st.sampled_from([key, key, key, ""]),
            known=st.sampled_from([exists, exists, {}]),
        )
        def requests(case: Case[Any], key: str, known: dict[str, Any]) -> None:
            send(case, key, known)

        requests()


@pytest.mark.parametrize("label", OPERATIONS)
class TestTheDescription:
    def test_tells_every_answer(self, label: str, shop: Shop) -> None:
        try_out(label, shop, FEW)

    @pytest.mark.slow
    def test_tells_every_answer_to_many_requests(self, label: str, shop: Shop) -> None:
        try_out(label, shop, MANY)
