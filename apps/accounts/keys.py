"""API keys: issue and replace them, and find the customer behind a presented one, from where and for what it may be."""

from __future__ import annotations

import hmac
import re
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Any

from django.db import transaction

from apps.accounts.models import ApiKey, Customer, Scope
from apps.common import clock
from apps.common.crypto import hash_api_secret, seal_text
from apps.journal import audit
from apps.journal.audit import Action

PREFIX = "hub_"
TEST_PREFIX = "hub_test_"
"""How the key of a sandbox begins, so that people tell it from a live one."""

FORM = re.compile(r"hub_(?:test_)?[0-9a-f]{1,20}\.[A-Za-z0-9_-]{1,100}")
KEY_ID_CHARS = 24
LAST_USED_EVERY = timedelta(minutes=1)

OVERLAP = timedelta(days=1)
"""How long a replaced key still opens beside the new one."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The customer behind a request, and the public id of the key that was presented."""

    customer: Customer
    key_id: str


class AlreadyReplaced(Exception):
    """The key has a successor already, or opens nothing any more; nothing was changed."""


def issue_key(customer: Customer, now: datetime, label: str = "", **rights: Any) -> tuple[ApiKey, str]:
    """A new key for `customer` and its full text `hub_<id>.<secret>`, which is shown this once and never stored.

    That of a sandbox's customer is `hub_test_<id>.<secret>`. `rights` are fields of `ApiKey`; those that are not
    given are the model's.
    """
    prefix = TEST_PREFIX if customer.tenant.is_sandbox else PREFIX
    public_id = f"{prefix}{secrets.token_hex(8)}"[:KEY_ID_CHARS]
    secret = secrets.token_urlsafe(32)
    key = ApiKey.objects.create(
        customer=customer,
        public_id=public_id,
        secret_hash=hash_api_secret(secret),
        label=label,
        created_at=now,
        **rights,
    )
    return key, f"{public_id}.{secret}"


def replace_key(key_id: int, now: datetime) -> tuple[ApiKey, str]:
    """A new key with everything that the old one may; the old one opens for one more day. Raises `AlreadyReplaced`."""
    with transaction.atomic():
        old = ApiKey.objects.select_for_update(of=("self",)).select_related("customer__tenant").get(pk=key_id)
        if old.replaced_by_id is not None or not is_live(old, now):
            raise AlreadyReplaced(old.public_id)
        kept = ("scopes", "allowed_ips", "sealed_signing_secret", "rate_per_s", "burst", "expires_at")
        new, full = issue_key(old.customer, now, old.label, **{name: getattr(old, name) for name in kept})
        ends_at = min(old.expires_at or now + OVERLAP, now + OVERLAP)
        ApiKey.objects.filter(pk=old.pk).update(replaced_by=new, expires_at=ends_at)
        told = {"replaced_by": ("", new.public_id), "expires_at": (iso(old.expires_at), iso(ends_at))}
        audit.record(Action.KEY_REPLACED, old, old.customer.tenant_id, now, changes=told)
    return new, full


def demand_signatures(key: ApiKey) -> str:
    """From now on every request with this key must be signed; the secret to sign with, shown this once."""
    secret = secrets.token_urlsafe(32)
    with transaction.atomic():
        ApiKey.objects.filter(pk=key.pk).update(sealed_signing_secret=seal_text(secret))
        before = audit.MASK if key.sealed_signing_secret else ""
        told = {"signing_secret": (before, audit.MASK)}
        audit.record(Action.SIGNING_DEMANDED, key, key.customer.tenant_id, clock.now(), changes=told)
    return secret


def iso(at: datetime | None) -> str:
    """A time as it is recorded; empty for none."""
    return at.isoformat() if at else ""


def find_caller(presented: str, now: datetime) -> Caller | None:
    """The active customer whose live key was presented, or None: for a door that sees neither address nor signature.

    A key that is bound to either, or may not place orders, opens nothing there.
    """
    key = find_key(presented, now)
    if key is None or key.allowed_ips or key.sealed_signing_secret or Scope.ORDERS not in key.scopes:
        return None
    return Caller(key.customer, key.public_id)


def find_key(presented: str, now: datetime) -> ApiKey | None:
    """The live key that was presented, with its customer and shop, or None. Compares in constant time."""
    if not FORM.fullmatch(presented):
        return None
    public_id, _, secret = presented.partition(".")
    key = ApiKey.objects.select_related("customer__tenant").filter(public_id=public_id).first()
    expected = key.secret_hash if key else "0" * 64
    is_right = hmac.compare_digest(hash_api_secret(secret), expected)
    if key is None or not is_right or not is_live(key, now):
        return None
    if key.last_used_at is None or now - key.last_used_at >= LAST_USED_EVERY:  # else a read stays a read
        ApiKey.objects.filter(pk=key.pk).update(last_used_at=now)
    return key


def is_live(key: ApiKey, now: datetime) -> bool:
    """Whether the key opens anything at this moment."""
    customer = key.customer
    expired = key.expires_at is not None and key.expires_at <= now
    return key.is_active and not expired and customer.is_active and customer.tenant.is_active


def is_test_key(text: str) -> bool:
    """Whether the text is, or holds, the key of a sandbox, or the public id of one."""
    return TEST_PREFIX in text


def may(key: ApiKey, scope: Scope) -> bool:
    """Whether the key has this scope; who may place orders may read them."""
    return scope in key.scopes or (scope == Scope.READ and Scope.ORDERS in key.scopes)


def is_allowed_from(key: ApiKey, address: str) -> bool:
    """Whether the key may be used from this IP address; what is no address is nowhere."""
    if not key.allowed_ips:
        return True
    try:
        found = plain(ip_address(address))
    except ValueError:
        return False
    return any(found in ip_network(str(network), strict=False) for network in key.allowed_ips)


def plain(address: IPv4Address | IPv6Address) -> IPv4Address | IPv6Address:
    """An IPv4 address that came in IPv6 clothes as what it is."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
