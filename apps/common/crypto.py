"""Secrets at rest: sealed texts that name their key, a blind index for codes, and hashes of API keys."""

from __future__ import annotations

import functools
import hashlib
import hmac

from cryptography.fernet import Fernet, InvalidToken
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured


class CannotOpen(RuntimeError):
    """A sealed value whose key is missing or wrong. Put the old key back into FIELD_KEYS, after the new one."""


@functools.lru_cache(maxsize=4)
def _keys(setting: str) -> dict[str, Fernet]:
    pairs = (part.strip().partition(":") for part in setting.split(",") if part.strip())
    try:
        keys = {key_id: Fernet(key.encode()) for key_id, _, key in pairs}
    except ValueError as error:
        raise ImproperlyConfigured("FIELD_KEYS must look like `k2:<fernet key>,k1:<older fernet key>`") from error
    if not keys:
        raise ImproperlyConfigured("FIELD_KEYS holds no key")
    return keys


def first_key_id() -> str:
    """The id of the key that seals: the first of FIELD_KEYS."""
    return next(iter(_keys(settings.FIELD_KEYS)))


def seal(plain: bytes) -> str:
    """`plain` encrypted with the first key of FIELD_KEYS, as `key-id$token`."""
    key_id, fernet = next(iter(_keys(settings.FIELD_KEYS).items()))
    return f"{key_id}${fernet.encrypt(plain).decode()}"


def open_sealed(sealed: str) -> bytes:
    """What `seal` was given. Raises `CannotOpen`."""
    key_id, _, token = sealed.partition("$")
    fernet = _keys(settings.FIELD_KEYS).get(key_id)
    if fernet is None:
        raise CannotOpen(f"no key named {key_id!r} in FIELD_KEYS")
    try:
        return fernet.decrypt(token.encode())
    except InvalidToken as error:
        raise CannotOpen(f"the key {key_id!r} does not open this value") from error


def seal_text(text: str) -> str:
    """`seal` for text."""
    return seal(text.encode())


def open_text(sealed: str) -> str:
    """`open_sealed` for text."""
    return open_sealed(sealed).decode()


def blind_index(value: str) -> str:
    """A keyed hash (64 hex digits) by which equal codes can be found without opening any."""
    return hmac.new(bytes.fromhex(settings.CODE_INDEX_KEY), value.encode(), hashlib.sha256).hexdigest()


def code_index(value: str, pin: str) -> str:
    """The blind index of a delivered or stored code; the PIN of a card counts with its number."""
    return blind_index(f"{value}\x1f{pin}" if pin else value)


def hash_api_secret(secret: str) -> str:
    """The stored form of an API key's secret: HMAC-SHA256 under API_KEY_PEPPER, hex."""
    return hmac.new(bytes.fromhex(settings.API_KEY_PEPPER), secret.encode(), hashlib.sha256).hexdigest()


def hash_hop(tenant_id: int) -> str:
    """One shop of this installation in the path of an order, 16 hex digits: tells others nothing, and us our own."""
    return _hop(settings.API_KEY_PEPPER, tenant_id)


@functools.lru_cache(maxsize=1024)
def _hop(pepper: str, tenant_id: int) -> str:
    return hmac.new(bytes.fromhex(pepper), f"hop:{tenant_id}".encode(), hashlib.sha256).hexdigest()[:16]


def digest(data: bytes) -> str:
    """SHA-256 of `data`, hex: tells two raw answers apart."""
    return hashlib.sha256(data).hexdigest()
