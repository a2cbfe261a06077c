"""The second factor: a code of an authenticator app (TOTP, RFC 6238), or a recovery code; each opens once."""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime

import pyotp
import segno
from django.db import transaction
from django.db.models import Exists, OuterRef

from apps.accounts import tries
from apps.accounts.models import Membership, Tenant, User
from apps.accounts.security_models import RecoveryCode, SecondFactor
from apps.common.crypto import hash_api_secret, open_text, seal_text
from apps.journal import audit
from apps.journal.audit import Action

ISSUER = "Order hub"
DIGITS = 6
DRIFT = 1
"""A code of the half minute before or after counts: clocks differ."""

RECOVERY_CODES = 10
RECOVERY_BYTES = 10
VERIFIED = "second_factor"
"""The mark of a session in which a code was given."""


class WrongCode(Exception):
    """The code is wrong, too old, or was used before."""


class TooManyCodes(Exception):
    """So many codes were tried that none is looked at for a while."""


# --- who has one, who needs one


def is_on(user: User) -> bool:
    """Whether this person signs in with two factors."""
    return SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).exists()


def is_required(user: User) -> bool:
    """Whether a shop that the person acts in demands it; of a superuser any shop may."""
    demanding = Tenant.objects.filter(is_active=True, requires_second_factor=True)
    if user.is_superuser:
        return demanding.exists()
    roles = (Membership.Role.OWNER, Membership.Role.OPERATOR)
    return demanding.filter(memberships__user=user, memberships__role__in=roles).exists()


def standing_of(user: User) -> tuple[bool, bool]:
    """Whether it is on and whether it is required, in one query."""
    own = SecondFactor.objects.filter(user=OuterRef("pk"), confirmed_at__isnull=False)
    demanding = Tenant.objects.filter(is_active=True, requires_second_factor=True)
    if not user.is_superuser:
        roles = (Membership.Role.OWNER, Membership.Role.OPERATOR)
        demanding = demanding.filter(memberships__user=OuterRef("pk"), memberships__role__in=roles)
    asked = User.objects.filter(pk=user.pk).values_list(Exists(own), Exists(demanding)).first()
    return asked or (False, False)


# --- setting it up


def begin(user: User, now: datetime) -> str:
    """The secret that is to be put into the app (base32); the same until its first code was typed."""
    factor, _ = SecondFactor.objects.get_or_create(
        user=user, defaults={"sealed_secret": seal_text(pyotp.random_base32()), "created_at": now}
    )
    return open_text(factor.sealed_secret)


def picture_of(user: User, secret: str) -> str:
    """The QR code of the secret as inline SVG. Keep it out of logs."""
    address = pyotp.TOTP(secret).provisioning_uri(name=user.get_username(), issuer_name=ISSUER)
    return segno.make(address, error="m").svg_inline(scale=5, border=3, light="white")


def turn_on(user: User, typed: str, now: datetime) -> list[str]:
    """Confirm the app by its first code; returns the recovery codes, shown this once. Raises `WrongCode`."""
    _take_try(user, now)
    with transaction.atomic():
        factor = SecondFactor.objects.select_for_update().filter(user=user, confirmed_at=None).first()
        step = _matching_step(factor, typed, now) if factor else None
        if factor is None or step is None:
            raise WrongCode
        SecondFactor.objects.filter(pk=factor.pk).update(confirmed_at=now, last_step=step)
        audit.record(Action.FACTOR_ON, user, None, now, actor=user.get_username())
        codes = _new_codes(user)
    tries.forgive(tries.SECOND, str(user.pk))
    return codes


def turn_off(user: User, now: datetime, *, actor: str | None = None) -> None:
    """The person signs in with the password alone from now on."""
    with transaction.atomic():
        SecondFactor.objects.filter(user=user).delete()
        RecoveryCode.objects.filter(user=user).delete()
        audit.record(Action.FACTOR_OFF, user, None, now, actor=actor)


def renew_codes(user: User, now: datetime) -> list[str]:
    """New recovery codes in place of all earlier ones."""
    with transaction.atomic():
        audit.record(Action.RECOVERY_RENEWED, user, None, now)
        return _new_codes(user)


def codes_left(user: User) -> int:
    """How many recovery codes were not used."""
    return RecoveryCode.objects.filter(user=user, used_at=None).count()


def _new_codes(user: User) -> list[str]:
    codes = [secrets.token_hex(RECOVERY_BYTES) for _ in range(RECOVERY_CODES)]
    RecoveryCode.objects.filter(user=user).delete()
    RecoveryCode.objects.bulk_create(RecoveryCode(user=user, code_hash=hash_api_secret(code)) for code in codes)
    return ["-".join(code[n : n + 5] for n in range(0, len(code), 5)) for code in codes]


# --- using it


def accept(user: User, typed: str, now: datetime) -> None:
    """Take a code of the app or a recovery code. Raises `WrongCode` or `TooManyCodes`."""
    _take_try(user, now)
    if not (_accept_app(user, typed, now) or _accept_recovery(user, typed, now)):
        raise WrongCode
    tries.forgive(tries.SECOND, str(user.pk))


def _take_try(user: User, now: datetime) -> None:
    if not tries.take(tries.SECOND, str(user.pk), now):
        raise TooManyCodes


def _accept_app(user: User, typed: str, now: datetime) -> bool:
    factor = SecondFactor.objects.filter(user=user, confirmed_at__isnull=False).first()
    step = _matching_step(factor, typed, now) if factor else None
    if factor is None or step is None:
        return False
    return SecondFactor.objects.filter(pk=factor.pk, last_step__lt=step).update(last_step=step) == 1


def _matching_step(factor: SecondFactor, typed: str, now: datetime) -> int | None:
    """The half minute whose code was typed. Every candidate is compared, whichever fits."""
    code = typed.replace(" ", "")
    if len(code) != DIGITS or not code.isascii() or not code.isdigit():
        return None
    totp = pyotp.TOTP(open_text(factor.sealed_secret))
    around = totp.timecode(now)
    steps = range(around - DRIFT, around + DRIFT + 1)
    fitting = [step for step in steps if hmac.compare_digest(totp.generate_otp(step), code)]
    return fitting[-1] if fitting else None


def _accept_recovery(user: User, typed: str, now: datetime) -> bool:
    code = typed.strip().replace("-", "").replace(" ", "").lower()
    unused = RecoveryCode.objects.filter(user=user, code_hash=hash_api_secret(code), used_at=None)
    if unused.update(used_at=now) != 1:
        return False
    audit.record(Action.RECOVERY_USED, user, None, now, actor=user.get_username())
    return True
