"""Where a request comes from."""

from __future__ import annotations

from django.conf import settings
from django.http import HttpRequest


def address_of(request: HttpRequest) -> str:
    """The client's IP address: as our own proxies tell it, as many as TRUSTED_PROXIES says, else the peer's."""
    hops = settings.TRUSTED_PROXIES
    told = [part.strip() for part in request.headers.get("X-Forwarded-For", "").split(",")]
    return told[-hops] if 0 < hops <= len(told) and told[-hops] else str(request.META.get("REMOTE_ADDR", ""))
