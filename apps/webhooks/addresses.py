"""The address of a provider account's webhooks: it holds a secret of its own, made from one number and a key.

Nothing of it is stored; one more in `Integration.hook_version` makes another address and closes the old one.
"""

from __future__ import annotations

import hmac
import re

from django.db.models.functions import Coalesce
from django.urls import reverse

from apps.common.crypto import hash_api_secret
from apps.providers.models import Integration
from apps.providers.registry import UnknownKind, has_webhooks

FORM = re.compile(r"([0-9]{1,18})-([0-9a-f]{40})")


def token_of(integration: Integration) -> str:
    """The part of the address that nobody can guess."""
    mac = hash_api_secret(f"webhook address:{integration.pk}:{integration.hook_version or 0}")
    return f"{integration.pk}-{mac[:40]}"


def path_of(integration: Integration) -> str:
    """Where the provider posts to, without the host."""
    return reverse("webhooks:provider", args=[token_of(integration)])


def find_account(token: str) -> Integration | None:
    """The account whose address this is and which takes webhooks. Compares in constant time."""
    form = FORM.fullmatch(token)
    if form is None:
        return None
    known = Integration.objects.filter(pk=int(form[1])).first()
    expected = token_of(known or Integration(pk=0))
    is_right = hmac.compare_digest(expected.encode(), token.encode())
    return known if known is not None and is_right and takes_webhooks(known) else None


def takes_webhooks(integration: Integration) -> bool:
    """Whether its protocol has webhooks and its options do not say that this provider sends none."""
    try:
        return has_webhooks(integration.kind) and integration.caps().webhook != "none"
    except UnknownKind:
        return False


def rotate(integration: Integration) -> None:
    """Give the account another address; the old one is unknown from now on."""
    Integration.objects.filter(pk=integration.pk).update(hook_version=Coalesce("hook_version", 0) + 1)
    integration.refresh_from_db(fields=["hook_version"])
