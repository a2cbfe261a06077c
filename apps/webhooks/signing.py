"""Secrets of endpoints and the headers of a signed event, after the Standard Webhooks specification (v1)."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from datetime import datetime

from apps.common.crypto import open_text, seal_text
from apps.webhooks.models import WebhookEndpoint

PREFIX = "whsec_"
SECRET_BYTES = 32


def new_secret() -> str:
    """A secret as customers get it: `whsec_` and 32 random bytes in Base64."""
    return PREFIX + base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()


def seal_secret(secret: str) -> str:
    """Its stored form."""
    return seal_text(secret)


def live_secrets(endpoint: WebhookEndpoint, now: datetime) -> list[str]:
    """The secrets that sign now, the newest first: two for some time after the secret was changed."""
    sealed = [endpoint.sealed_secret]
    if endpoint.old_secret_until is not None and now < endpoint.old_secret_until:
        sealed.append(endpoint.sealed_old_secret)
    return [open_text(text) for text in sealed]


def headers_of(endpoint: WebhookEndpoint, message_id: str, body: bytes, now: datetime) -> tuple[tuple[str, str], ...]:
    """`webhook-id`, `webhook-timestamp` (seconds since 1970) and `webhook-signature`, one signature for each secret."""
    timestamp = str(int(now.timestamp()))
    signatures = [sign(secret, message_id, timestamp, body) for secret in live_secrets(endpoint, now)]
    return (
        ("webhook-id", message_id),
        ("webhook-timestamp", timestamp),
        ("webhook-signature", " ".join(signatures)),
    )


def sign(secret: str, message_id: str, timestamp: str, body: bytes) -> str:
    """`v1,` and the HMAC-SHA256 of `id.timestamp.body` in Base64."""
    key = base64.b64decode(secret.removeprefix(PREFIX))
    mac = hmac.new(key, f"{message_id}.{timestamp}.".encode() + body, hashlib.sha256)
    return "v1," + base64.b64encode(mac.digest()).decode()
