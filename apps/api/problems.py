"""What a caller reads when a request is not served: one table of answers, and one shape (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import structlog
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from ninja.errors import AuthenticationError, HttpError, ValidationError

from apps.common.logs import get_logger
from apps.orders import refusals

log = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
ORDERS, BULK = "orders", "bulk"
"""The URL names under which orders are placed."""


class Problem(Exception):
    """The request cannot be served as it is."""

    code = "problem"

    def __init__(self, detail: str, pointer: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.pointer = pointer


class KeyMissing(Problem):
    """No API key was sent."""

    code = "key_missing"


class KeyInvalid(Problem):
    """The API key is wrong, switched off or expired."""

    code = "key_invalid"


class NothingHere(Problem):
    """There is nothing at this address."""

    code = "not_found"


class OrderNotFound(Problem):
    """This customer has no order with this id."""

    code = "order_not_found"


class MethodNotAllowed(Problem):
    """This address does not take this method."""

    code = "method_not_allowed"


class BodyTooLarge(Problem):
    """The body is larger than this API reads."""

    code = "body_too_large"


class WrongContentType(Problem):
    """The body is not announced as JSON."""

    code = "content_type_unsupported"


class BadJson(Problem):
    """The body is not one JSON document in UTF-8."""

    code = "json_invalid"


class BadText(Problem):
    """A text holds characters that cannot be stored."""

    code = "text_invalid"


class BadCursor(Problem):
    """The cursor did not come from this API."""

    code = "cursor_invalid"


class CodesNotReady(Problem):
    """The order has no codes to show yet, or no longer."""

    code = "codes_not_ready"


class IdempotencyInFlight(Problem):
    """Another request with this Idempotency-Key is still being served."""

    code = "idempotency_in_flight"


class ScopeMissing(Problem):
    """The API key may not do this."""

    code = "scope_missing"


class AddressNotAllowed(Problem):
    """The API key may not be used from this address."""

    code = "address_not_allowed"


class SignatureInvalid(Problem):
    """The API key demands signed requests, and this one is not signed, or not rightly."""

    code = "signature_invalid"


class TooManyRequests(Problem):
    """More requests came than this API key, or its shop, may send."""

    code = "too_many_requests"

    def __init__(self, detail: str, retry_after_s: int) -> None:
        super().__init__(detail)
        self.retry_after_s = retry_after_s


class OrderNotCancellable(Problem):
    """The order was sent already, or is over."""

    code = "order_not_cancellable"


class NotesFull(Problem):
    """The order takes no more notes."""

    code = "notes_full"


class EndpointNotFound(Problem):
    """This customer has no webhook endpoint with this id."""

    code = "endpoint_not_found"


class DeliveryNotFound(Problem):
    """This webhook endpoint has no delivery with this id."""

    code = "delivery_not_found"


class EndpointInvalid(Problem):
    """The webhook endpoint cannot be as it was asked for."""

    code = "endpoint_invalid"


class EndpointsFull(Problem):
    """There are as many webhook endpoints as one customer may have."""

    code = "endpoints_full"


class TooManyLines(Problem):
    """The body has more lines than one request may have, or none."""

    code = "lines_not_allowed"


@dataclass(frozen=True, slots=True)
class Wrong:
    """One thing to mend: a JSON pointer into the body, or `?name` for a query parameter, and what to do."""

    pointer: str
    detail: str


class RequestInvalid(Problem):
    """The request does not have the form that the API describes."""

    code = "request_invalid"

    def __init__(self, wrongs: Sequence[Wrong]) -> None:
        super().__init__(_("mend what `errors` names and send it again"))
        self.wrongs = tuple(wrongs)


@dataclass(frozen=True, slots=True)
class Answer:
    """The HTTP status, whether and after how many seconds the same request may be served, and what is told instead.

    `may_have_moved`: money may have moved for the order that was asked for.
    """

    status: int
    is_retryable: bool = False
    detail: str | Promise = ""
    retry_after_s: int = 0
    may_have_moved: bool = False


ANSWERS: dict[type[Exception], Answer] = {
    refusals.BadKey: Answer(400),
    refusals.IdempotencyMismatch: Answer(422),
    refusals.ClientReferenceUsed: Answer(409),
    refusals.RepeatSuspected: Answer(409),
    refusals.LoopRefused: Answer(409),
    refusals.UnknownPackage: Answer(422),
    refusals.NotSellable: Answer(
        409,
        is_retryable=True,
        # the core's words name suppliers
        detail=gettext_lazy("this package cannot be delivered at the moment; send it again later"),
        retry_after_s=60,
    ),
    refusals.PriceUnderRevision: Answer(
        409,
        is_retryable=True,
        # what it costs us stays inside
        detail=gettext_lazy("the price of this package is being revised; send it again later"),
        retry_after_s=60,
    ),
    refusals.UnknownQuote: Answer(422),
    refusals.QuoteMismatch: Answer(422),
    refusals.QuoteExpired: Answer(409),
    refusals.QuoteUsed: Answer(409),
    refusals.QuoteWithdrawn: Answer(
        409,
        detail=gettext_lazy(
            "this quote no longer holds, because the cost of the package has changed; ask for a new one"
        ),
    ),
    refusals.WrongQuantity: Answer(422),
    refusals.BadField: Answer(422),
    refusals.NotEnoughBalance: Answer(402),
    KeyMissing: Answer(401),
    KeyInvalid: Answer(401),
    NothingHere: Answer(404),
    OrderNotFound: Answer(404),
    MethodNotAllowed: Answer(405),
    CodesNotReady: Answer(409, is_retryable=True, retry_after_s=15),
    IdempotencyInFlight: Answer(409, is_retryable=True, retry_after_s=1, may_have_moved=True),
    SignatureInvalid: Answer(401),
    ScopeMissing: Answer(403),
    AddressNotAllowed: Answer(403),
    TooManyRequests: Answer(429, is_retryable=True),
    OrderNotCancellable: Answer(409),
    NotesFull: Answer(409),
    EndpointNotFound: Answer(404),
    DeliveryNotFound: Answer(404),
    EndpointInvalid: Answer(422),
    EndpointsFull: Answer(409),
    TooManyLines: Answer(422),
    BodyTooLarge: Answer(413),
    WrongContentType: Answer(415),
    BadJson: Answer(400),
    BadText: Answer(422),
    BadCursor: Answer(422),
    RequestInvalid: Answer(422),
}
"""Every refusal with its status. None of them wrote anything; another request may have, where one is in flight."""

BROKEN = Answer(500, is_retryable=True, retry_after_s=5)
"""Something broke here."""


def answer(request: HttpRequest, error: Exception) -> HttpResponse:
    """The response to `error`: its problem document, with the headers that belong to it."""
    refusal = _as_refusal(request, error)
    document = describe(request, refusal)
    response = JsonResponse(document, status=document["status"], content_type=MEDIA_TYPE)
    wait_s = getattr(refusal, "retry_after_s", 0) or ANSWERS.get(type(refusal), BROKEN).retry_after_s
    if wait_s:
        response["Retry-After"] = str(wait_s)
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        is_wrong = ', error="invalid_token"' if isinstance(refusal, KeyInvalid) else ""
        response["WWW-Authenticate"] = f'Bearer realm="order hub"{is_wrong}'
    return response


def describe(request: HttpRequest, error: Exception) -> dict[str, Any]:
    """The problem document for `error`; one that is not in the table is logged and told as a 500."""
    error = _as_refusal(request, error)
    if isinstance(error, Problem | refusals.OrderRefused) and type(error) in ANSWERS:
        return _refuse(error, ANSWERS[type(error)])
    log.error("api_failed", path=request.path, method=request.method, error=type(error).__name__, exc_info=error)
    return _fail(request)


def _as_refusal(request: HttpRequest, error: Exception) -> Exception:
    """The framework's own exceptions in our words; others as they are."""
    match error:
        case AuthenticationError() if is_key_presented(request):
            return KeyInvalid(_("this API key is wrong, switched off or expired; issue a new one in the panel"))
        case AuthenticationError():
            return KeyMissing(_("send your API key as `Authorization: Bearer hub_...` or as `X-Api-Key: hub_...`"))
        case ValidationError():
            return RequestInvalid([_as_wrong(found["loc"], in_words(found)) for found in error.errors])
        case HttpError(__cause__=Problem() as cause):
            return cause
        case HttpError(status_code=400):
            return BadJson(_("send one JSON object in UTF-8"))
        case refusals.InFlight():
            return IdempotencyInFlight(_("wait a moment and repeat it with the same Idempotency-Key and body"))
        case Http404():
            return NothingHere(_("check the address against /api/v1/openapi.json"))
        case _:
            return error


def is_key_presented(request: HttpRequest) -> bool:
    """Whether the request carries something in a place where an API key belongs."""
    scheme, _, presented = request.headers.get("Authorization", "").partition(" ")
    return bool(request.headers.get("X-Api-Key") or (scheme.lower() == "bearer" and presented.strip()))


WORDS: dict[str, str | Promise] = {
    "missing": gettext_lazy("this is required"),
    "extra_forbidden": gettext_lazy("this name is not known here"),
    "string_type": gettext_lazy("this must be a text"),
    "string_too_short": gettext_lazy("this must have at least %(min_length)d characters"),
    "string_too_long": gettext_lazy("this must have at most %(max_length)d characters"),
    "int_type": gettext_lazy("this must be a whole number"),
    "int_parsing": gettext_lazy("this must be a whole number"),
    "int_parsing_size": gettext_lazy("this must be a whole number"),
    "greater_than_equal": gettext_lazy("this must be at least %(ge)s"),
    "less_than_equal": gettext_lazy("this must be at most %(le)s"),
    "literal_error": gettext_lazy("this must be one of %(expected)s"),
    "dict_type": gettext_lazy("this must be an object"),
    "model_type": gettext_lazy("this must be an object"),
    "model_attributes_type": gettext_lazy("this must be an object"),
    "list_type": gettext_lazy("this must be a list"),
    "bool_type": gettext_lazy("this must be true or false"),
    "datetime_from_date_parsing": gettext_lazy("this must be a time such as 2026-03-02T09:00:00Z"),
    "datetime_parsing": gettext_lazy("this must be a time such as 2026-03-02T09:00:00Z"),
    "timezone_aware": gettext_lazy("this must be a time such as 2026-03-02T09:00:00Z"),
    "unprintable": gettext_lazy("use printable characters only"),
}
"""What is wrong with one value, by the framework's name for it; the framework's own English for all others."""


def in_words(found: Mapping[str, Any]) -> str:
    """One mistake that validation found, in the language of the request."""
    text = WORDS.get(found["type"])
    return str(text) % found.get("ctx", {}) if text is not None else str(found["msg"])


def _as_wrong(loc: Sequence[str | int], message: str) -> Wrong:
    """The framework's place of a mistake as a pointer: `("body", "new", "fields", "a")` is `/fields/a`."""
    source, *path = map(str, loc)
    if source == "body":
        return Wrong(as_pointer(path[1:]), message)
    return Wrong("?" + ".".join(path), message)


def as_pointer(path: Sequence[str | int]) -> str:
    """A JSON pointer (RFC 6901), each part cut at 40 characters."""
    parts = (str(part)[:40].replace("~", "~0").replace("/", "~1") for part in path)
    return "".join(f"/{part}" for part in parts)


def _refuse(refusal: Problem | refusals.OrderRefused, told: Answer) -> dict[str, Any]:
    detail = str(told.detail) or refusal.detail
    if isinstance(refusal, refusals.OrderRefused):
        log.info("order_refused", refusal=refusal.code, detail=refusal.detail)
    if isinstance(refusal, RequestInvalid):
        wrongs = refusal.wrongs
    else:
        wrongs = (Wrong(refusal.pointer, detail),) if refusal.pointer else ()
    title = (refusal.__doc__ or "").partition("\n")[0]
    more = {"order_id": refusal.order_id} if isinstance(refusal, refusals.RepeatSuspected) else {}
    return _render(told, refusal.code, title, detail, wrongs, more)


def _fail(request: HttpRequest) -> dict[str, Any]:
    """Something broke here. Whether an order was placed before it did is not known, and is told so."""
    match = request.resolver_match
    places_order = request.method == "POST" and match is not None and match.url_name in (ORDERS, BULK)
    detail = (
        _("repeat it with the same Idempotency-Key and body: that finds the order if there is one, else it places it")
        if places_order
        else _("repeat it later; if it stays, tell the shop the request_id")
    )
    return _render(BROKEN, "internal_error", "Something broke here.", detail, (), may_have_moved=places_order)


def forbid_method(request: HttpRequest, refused: HttpResponseNotAllowed) -> HttpResponse:
    """The framework's 405 as a problem, with its list of allowed methods."""
    response = answer(request, MethodNotAllowed(_("this address takes %(methods)s") % {"methods": refused["Allow"]}))
    response["Allow"] = refused["Allow"]
    return response


def _render(
    told: Answer,
    code: str,
    title: str,
    detail: str,
    wrongs: Sequence[Wrong],
    more: Mapping[str, object] = MappingProxyType({}),
    *,
    may_have_moved: bool = False,
) -> dict[str, Any]:
    return {
        "type": f"urn:order-hub:problem:{code}",
        "title": title,
        "status": told.status,
        "code": code,
        "detail": detail,
        "errors": [{"pointer": wrong.pointer, "detail": wrong.detail} for wrong in wrongs],
        "request_id": str(structlog.contextvars.get_contextvars().get("request_id", ""))[:64],
        "retryable": told.is_retryable,
        "money_may_have_moved": may_have_moved or told.may_have_moved,
        **more,
    }
