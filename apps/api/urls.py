"""The API as a whole, and its URLs: every answer under them, also an error, passes through `door`."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponseNotAllowed
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path, re_path
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_GET
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.schema import OpenAPISchema

from apps.accounts.models import Scope
from apps.api import problems
from apps.api.auth import needs
from apps.api.bodies import StrictParser, check_size
from apps.api.bulk import router as bulk
from apps.api.limits import tell_limits
from apps.api.notes import router as notes
from apps.api.orders import router as orders
from apps.api.packages import router as packages
from apps.api.quotes import router as quotes
from apps.api.reference import show_reference
from apps.api.wallet import router as wallet
from apps.api.webhook_endpoints import router as webhook_endpoints

View = Callable[..., HttpResponseBase]


class OrderApi(NinjaAPI):
    """The framework with problem documents described as what they are."""

    def get_openapi_schema(
        self, *, path_prefix: str | None = None, path_params: dict[str, Any] | None = None
    ) -> OpenAPISchema:
        """OpenAPI 3.1; the media type of every error is `application/problem+json`."""
        schema = super().get_openapi_schema(path_prefix=path_prefix, path_params=path_params)
        operations = (operation for methods in schema["paths"].values() for operation in methods.values())
        for operation in operations:
            for status, response in operation["responses"].items():
                if status >= 400:
                    response["content"] = {problems.MEDIA_TYPE: response["content"]["application/json"]}
        return schema


api = OrderApi(
    title="Order hub",
    version="1",
    description="Order digital goods, watch them, and collect their codes.",
    urls_namespace="api",
    docs_url=None,
    auth=needs(Scope.ORDERS),
    parser=StrictParser(),
)
for router in (packages, quotes, orders, bulk, notes, wallet, webhook_endpoints):
    api.add_router("", router)
for kind in (Exception, Http404, HttpError, ValidationError):
    api.add_exception_handler(kind, problems.answer)  # type: ignore[arg-type]  # it hands over instances, never classes


def door(view: View) -> View:
    """Refuse what is too large before `view` reads it, tell every error as a problem, and let no one keep a copy.

    Exempt from CSRF checks: no cookie opens anything here.
    """

    @csrf_exempt
    @functools.wraps(view)
    def answer(request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        try:
            check_size(request)
            response = view(request, *args, **kwargs)
        except Exception as error:
            response = problems.answer(request, error)
        if isinstance(response, HttpResponseNotAllowed):
            response = problems.forbid_method(request, response)
        tell_limits(request, response)
        response["Cache-Control"] = "no-store"
        return response

    return answer


def describe_api() -> str:
    """The OpenAPI description as it is kept in docs/openapi.json."""
    return json.dumps(api.get_openapi_schema(), indent=2, ensure_ascii=False) + "\n"


@require_GET
def reference(request: HttpRequest) -> HttpResponseBase:
    """The description for people."""
    return show_reference(request, api.get_openapi_schema())


def nothing_here(request: HttpRequest) -> HttpResponseBase:
    """Whatever address the API does not have."""
    raise Http404


app_name = "api"
urlpatterns: list[URLPattern] = [
    path("", door(nothing_here), name="api-root"),
    *(
        URLPattern(route.pattern, door(route.callback), route.default_args, route.name)
        for route in api.urls[0]
        if isinstance(route, URLPattern)
    ),
    path("docs", door(reference), name="reference"),
    re_path("", door(nothing_here)),
]
