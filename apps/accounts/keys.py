"""API keys: issue one, and find the customer behind a presented one."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from apps.accounts.models import ApiKey, Customer
from apps.common.crypto import hash_api_secret

PREFIX = "hub_"
FORM = re.compile(r"hub_[0-9a-f]{1,20}\.[A-Za-z0-9_-]{1,100}")
LAST_USED_EVERY = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class Caller:
    """The customer behind a request, and the public id of the key that was presented."""

    customer: Customer
    key_id: str


def issue_key(customer: Customer, now: datetime, label: str = "") -> tuple[ApiKey, str]:
    """A new key for `customer` and its full text `hub_<id>.<secret>`, which is shown this once and never stored."""
    public_id = PREFIX + secrets.token_hex(8)
    secret = secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        customer=customer, public_id=public_id, secret_hash=hash_api_secret(secret), label=label, created_at=now
    )
    return key, f"{public_id}.{secret}"


def find_caller(presented: str, now: datetime) -> Caller | None:
    """The active customer whose live key was presented, or None. Compares in constant time."""
    if not FORM.fullmatch(presented):
        return None
    public_id, _, secret = presented.partition(".")
    key = ApiKey.objects.select_related("customer__tenant").filter(public_id=public_id).first()
    expected = key.secret_hash if key else "0" * 64
    is_right = hmac.compare_digest(hash_api_secret(secret), expected)
    if key is None or not is_right or not _is_live(key, now):
        return None
    if key.last_used_at is None or now - key.last_used_at >= LAST_USED_EVERY:  # else a read stays a read
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return Caller(key.customer, key.public_id)


def _is_live(key: ApiKey, now: datetime) -> bool:
    customer = key.customer
    expired = key.expires_at is not None and key.expires_at <= now
    return key.is_active and not expired and customer.is_active and customer.tenant.is_active
