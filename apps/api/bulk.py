"""The endpoint of many orders at once: one JSON document a line, each an order of its own with its own key."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext as _
from ninja import Router
from pydantic import ConfigDict, Field, ValidationError

from apps.accounts.models import Scope
from apps.api import problems
from apps.api.auth import KeyedRequest, needs
from apps.api.bodies import MAX_BYTES, check_texts, load_json
from apps.api.limits import book_more
from apps.api.problems import BULK, RequestInvalid, TooManyLines, Wrong, WrongContentType, as_pointer
from apps.api.schemas import BulkOut, BulkResultOut, NewOrderIn, ProblemOut
from apps.api.telling import tell_order
from apps.common import clock
from apps.orders.services import Created, create_order

router = Router(tags=["orders"])

MEDIA_TYPE = "application/x-ndjson"
MOST_LINES = 100


class BulkLineIn(NewOrderIn):
    """One order to place, with its own idempotency key."""

    model_config = ConfigDict(title="BulkLine")

    idempotency_key: str = Field(description="as the header of a single order")


BODY = {
    "required": True,
    "description": f"1 to {MOST_LINES} lines, {MAX_BYTES} bytes together; each line is one JSON object",
    "content": {MEDIA_TYPE: {"schema": BulkLineIn.model_json_schema()}},
}


@router.post(
    "/orders/bulk",
    auth=needs(Scope.ORDERS),
    response={200: BulkOut, (401, 403, 413, 415, 422, 429, 500): ProblemOut},
    url_name=BULK,
    openapi_extra={"requestBody": BODY},
)
def place_orders(request: KeyedRequest) -> BulkOut:
    """Place up to 100 orders. Each line stands alone: one that is refused leaves the others as they are."""
    if request.content_type != MEDIA_TYPE:
        text = _("send the header `Content-Type: %(type)s` with one JSON object a line")
        raise WrongContentType(text % {"type": MEDIA_TYPE})
    lines = request.body.splitlines()
    if not 1 <= len(lines) <= MOST_LINES:
        raise TooManyLines(_("send 1 to %(most)d lines") % {"most": MOST_LINES})
    book_more(request, request.key, len(lines) - 1, clock.now())
    return BulkOut(results=[place_line(request, number, line) for number, line in enumerate(lines, start=1)])


def place_line(request: KeyedRequest, number: int, line: bytes) -> BulkResultOut:
    """What became of one line; nothing that is wrong with it is raised."""
    key: str | None = None
    try:
        new = read_line(line)
        key = new.idempotency_key
        created = create_order(request.auth.customer, new.as_new_order(), key, clock.now())
    except Exception as error:
        return refused_line(number, key, problems.describe(request, error))
    return placed_line(number, key, created)


def read_line(line: bytes) -> BulkLineIn:
    """The order on one line. Raises a child of `Problem`."""
    document = load_json(line)
    check_texts(document)
    try:
        return BulkLineIn.model_validate(document)
    except ValidationError as error:
        raise RequestInvalid(
            [Wrong(as_pointer(found["loc"]), problems.in_words(found)) for found in error.errors()]
        ) from error


def placed_line(number: int, key: str, created: Created) -> BulkResultOut:
    """The order of one line."""
    order = tell_order(created.order)
    return BulkResultOut(
        line=number, status=201, idempotency_key=key, replayed=created.is_replay, order=order, problem=None
    )


def refused_line(number: int, key: str | None, document: dict[str, Any]) -> BulkResultOut:
    """The problem of one line."""
    told = ProblemOut.model_validate(document)
    return BulkResultOut(line=number, status=told.status, idempotency_key=key, replayed=False, order=None, problem=told)
