"""Who is calling: an API key in one of two headers, and nothing else; cookies and tenant headers are not looked at."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.utils.translation import gettext as _
from ninja.security import APIKeyHeader, HttpBearer

from apps.accounts.keys import Caller, find_key, is_allowed_from, may
from apps.accounts.models import ApiKey, Scope
from apps.api.limits import take_turn
from apps.api.problems import AddressNotAllowed, ScopeMissing
from apps.api.signing import check_signature
from apps.common import clock
from apps.common.addresses import address_of


class KeyedRequest(HttpRequest):
    """A request whose key was found."""

    auth: Caller
    key: ApiKey


class BearerKey(HttpBearer):
    """`Authorization: Bearer hub_<id>.<secret>`."""

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, token: str) -> Caller | None:
        """The caller behind the key, or None."""
        return admit(request, token.strip(), self.scope)


class HeaderKey(APIKeyHeader):
    """`X-Api-Key: hub_<id>.<secret>`."""

    param_name = "X-Api-Key"

    def __init__(self, scope: Scope) -> None:
        super().__init__()
        self.scope = scope

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        """The caller behind the key, or None."""
        return admit(request, key.strip(), self.scope) if key else None


def needs(scope: Scope) -> list[Any]:
    """What opens an endpoint: a key with this scope, in either header."""
    return [BearerKey(scope), HeaderKey(scope)]


def admit(request: HttpRequest, presented: str, scope: Scope) -> Caller | None:
    """The caller behind a live key that may do this, from here, now; None for a key that opens nothing.

    Raises `AddressNotAllowed`, `TooManyRequests`, `SignatureInvalid` or `ScopeMissing`.
    """
    now = clock.now()
    key = find_key(presented, now)
    if key is None:
        return None
    if not is_allowed_from(key, address_of(request)):
        raise AddressNotAllowed(_("this API key may not be used from your address; ask the shop to allow it"))
    take_turn(request, key, now)
    check_signature(request, key, now)
    if not may(key, scope):
        raise ScopeMissing(_("this API key lacks the scope '%(scope)s'") % {"scope": scope.value})
    request.key = key  # type: ignore[attr-defined]  # for what is counted per key
    return Caller(key.customer, key.public_id)
