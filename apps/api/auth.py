"""Who is calling: an API key in one of two headers, and nothing else; cookies and tenant headers are not looked at."""

from __future__ import annotations

from django.http import HttpRequest
from ninja.security import APIKeyHeader, HttpBearer

from apps.accounts.keys import Caller, find_caller
from apps.common import clock


class KeyedRequest(HttpRequest):
    """A request whose key was found."""

    auth: Caller


class BearerKey(HttpBearer):
    """`Authorization: Bearer hub_<id>.<secret>`."""

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        """The caller behind the key, or None."""
        return find_caller(token.strip(), clock.now())


class HeaderKey(APIKeyHeader):
    """`X-Api-Key: hub_<id>.<secret>`."""

    param_name = "X-Api-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        """The caller behind the key, or None."""
        return find_caller(key.strip(), clock.now()) if key else None
