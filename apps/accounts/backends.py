"""The one door for passwords: whoever checks one, on whatever page, spends a try."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest

from apps.accounts import tries
from apps.accounts.models import User
from apps.common import clock
from apps.common.addresses import address_of


class LimitedBackend(ModelBackend):
    """Django's own check of name and password, a limited number of times for each name and each address."""

    def authenticate(
        self, request: HttpRequest | None, username: str | None = None, password: str | None = None, **kwargs: Any
    ) -> Any:
        """The person, or None. No try left: nothing is checked, and no other backend is asked (`PermissionDenied`)."""
        if username is None or password is None:
            return None
        now, address = clock.now(), address_of(request) if request is not None else ""
        if address and not tries.take(tries.ADDRESS, address, now):
            raise PermissionDenied
        if not tries.take(tries.ACCOUNT, username, now):
            raise PermissionDenied
        found = super().authenticate(request, username=username, password=password, **kwargs)
        if isinstance(found, User):
            tries.forgive(tries.ACCOUNT, username)
            tries.forget_old(now)
            if address:
                tries.give_back(tries.ADDRESS, address)
        return found
