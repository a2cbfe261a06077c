"""Becoming a member of a shop by a link that an owner has made: once, for a few days, never as an owner."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import QuerySet
from django.utils.translation import gettext as _

from apps.accounts.models import Membership, Tenant, User
from apps.accounts.security_models import Invitation
from apps.common.crypto import hash_api_secret
from apps.journal import audit
from apps.journal.audit import Action

GOOD_FOR = timedelta(days=3)


class InvitationRefused(Exception):
    """Nothing was changed; the text says why."""


def owns(person: User, tenant_id: int) -> bool:
    """Whether this person may invite others into the shop."""
    if not person.is_active:
        return False
    owned = person.memberships.filter(tenant_id=tenant_id, tenant__is_active=True, role=Membership.Role.OWNER)
    return person.is_superuser or owned.exists()


def invite(owner: User, tenant: Tenant, role: str, email: str, now: datetime) -> tuple[Invitation, str]:
    """An invitation and the token of its link, which is told this once. Raises `InvitationRefused`."""
    if not owns(owner, tenant.pk):
        raise InvitationRefused(_("Only an owner of the shop may invite others."))
    if role not in Invitation.Role:
        raise InvitationRefused(_("Choose what the invited person may do: operator or viewer."))
    token = secrets.token_urlsafe(32)
    with transaction.atomic():
        invitation = Invitation.objects.create(
            tenant=tenant,
            role=role,
            email=email,
            token_hash=hash_api_secret(token),
            invited_by=owner,
            created_at=now,
            expires_at=now + GOOD_FOR,
        )
        audit.record(Action.INVITED, invitation, tenant.pk, now, changes={"role": ("", role), "email": ("", email)})
    return invitation, token


def withdraw(invitation: Invitation, now: datetime) -> bool:
    """The link opens nothing any more; False when it was used or withdrawn before."""
    with transaction.atomic():
        if _open(Invitation.objects.filter(pk=invitation.pk)).update(withdrawn_at=now) != 1:
            return False
        audit.record(Action.INVITATION_WITHDRAWN, invitation, invitation.tenant_id, now)
    return True


def waiting(tenant_ids: list[int], now: datetime) -> list[Invitation]:
    """Invitations of these shops that may still be accepted, the newest first."""
    found = _open(Invitation.objects.filter(tenant_id__in=tenant_ids, expires_at__gt=now))
    return list(found.select_related("tenant", "invited_by").order_by("-pk"))


def find(token: str, now: datetime) -> Invitation | None:
    """The invitation behind a link, if it is still good and its owner still one."""
    good = _open(Invitation.objects.filter(token_hash=hash_api_secret(token), expires_at__gt=now))
    found = good.filter(tenant__is_active=True).select_related("tenant", "invited_by").first()
    return found if found is not None and owns(found.invited_by, found.tenant_id) else None


def accept(token: str, person: User, now: datetime) -> Invitation:
    """The person is a member from now on. Raises `InvitationRefused`; of two who click at once one is a member."""
    invitation = find(token, now)
    if invitation is None:
        raise InvitationRefused(_("This invitation was used, withdrawn, or is too old. Ask for another one."))
    with transaction.atomic():
        if Membership.objects.filter(user=person, tenant_id=invitation.tenant_id).exists():
            raise InvitationRefused(_("You are a member of this shop already."))
        won = _open(Invitation.objects.filter(pk=invitation.pk)).update(accepted_at=now, accepted_by=person)
        if won != 1:
            raise InvitationRefused(_("This invitation was used, withdrawn, or is too old. Ask for another one."))
        Membership.objects.create(user=person, tenant_id=invitation.tenant_id, role=invitation.role)
        audit.record(Action.JOINED, invitation, invitation.tenant_id, now, actor=person.get_username())
    return invitation


def _open(found: QuerySet[Invitation]) -> QuerySet[Invitation]:
    return found.filter(accepted_at=None, withdrawn_at=None)
