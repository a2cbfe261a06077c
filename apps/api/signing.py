"""Signed requests: each is signed over its time, a nonce, its address and its body, and is taken once."""

from __future__ import annotations

import hashlib
import hmac
import re
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction
from django.http import HttpRequest
from django.utils.translation import gettext as _

from apps.accounts.models import ApiKey, UsedNonce
from apps.api.problems import SignatureInvalid
from apps.common.crypto import open_text

WINDOW = timedelta(minutes=5)
"""How far the sender's clock may be from ours."""

_NONCE = re.compile(r"[A-Za-z0-9_-]{16,64}")
_SECONDS = re.compile(r"[0-9]{1,12}")


def check_signature(request: HttpRequest, key: ApiKey, now: datetime) -> None:
    """Raise `SignatureInvalid` where the key demands a signature and this request does not bear one, used once."""
    if not key.sealed_signing_secret:
        return
    told, nonce = request.headers.get("X-Hub-Timestamp", ""), request.headers.get("X-Hub-Nonce", "")
    if not _SECONDS.fullmatch(told) or not _NONCE.fullmatch(nonce):
        raise SignatureInvalid(_("this API key demands signed requests: send X-Hub-Timestamp, -Nonce and -Signature"))
    if abs(int(told) - now.timestamp()) > WINDOW.total_seconds():
        raise SignatureInvalid(_("X-Hub-Timestamp must be the seconds since 1970, at most five minutes off"))
    secret = open_text(key.sealed_signing_secret)
    expected = sign(secret, told, nonce, request.method or "", request.get_full_path(), request.body)
    if not hmac.compare_digest(expected.encode(), request.headers.get("X-Hub-Signature", "").encode()):
        raise SignatureInvalid(_("X-Hub-Signature does not fit this request"))
    _use_up(key, nonce, now)


def sign(secret: str, timestamp: str, nonce: str, method: str, path: str, body: bytes) -> str:
    """HMAC-SHA256, hex, over the five lines time, nonce, method, path with query, SHA-256 of the body (hex)."""
    lines = "\n".join([timestamp, nonce, method, path, hashlib.sha256(body).hexdigest()])
    return hmac.new(secret.encode(), lines.encode(), hashlib.sha256).hexdigest()


def _use_up(key: ApiKey, nonce: str, now: datetime) -> None:
    UsedNonce.objects.filter(key=key, used_at__lt=now - 2 * WINDOW).delete()
    try:
        with transaction.atomic():
            UsedNonce.objects.create(key=key, nonce=nonce, used_at=now)
    except IntegrityError as error:
        raise SignatureInvalid(_("X-Hub-Nonce was used before; take a new one for each request")) from error
