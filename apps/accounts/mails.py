"""The mails about signing in: a link for a new password, and an invitation. A worker sends them.

A page that asks for a link takes the same time whoever asks: whether there is such a person is found out here.
"""

from __future__ import annotations

from datetime import datetime

from django.contrib.auth.tokens import default_token_generator
from django.core.mail import send_mail
from django.urls import reverse
from django.utils import translation
from django.utils.encoding import force_bytes
from django.utils.http import urlsafe_base64_encode
from django.utils.translation import gettext as _

from apps.accounts import tries
from apps.accounts.models import User
from apps.common.broker import publish
from apps.common.logs import get_logger

log = get_logger(__name__)

SEND_RESET = "apps.accounts.tasks.send_reset"
SEND_INVITATION = "apps.accounts.tasks.send_invitation"
LATE_S = 900
"""A mail that no worker has taken by then is thrown away: who waits for it has asked again."""


def ask_for_reset(email: str, address: str, base: str, language: str, now: datetime) -> None:
    """Have a link for a new password sent, if somebody has this e-mail; nobody learns whether. `base`: our address."""
    if tries.take(tries.ADDRESS, address, now) and tries.take(tries.MAIL, email, now):
        publish(SEND_RESET, [email, base, language], expires=LATE_S)


def send_reset(email: str, base: str, language: str) -> int:
    """Mail a link to everybody who may sign in and has this e-mail; returns to how many."""
    people = [
        person
        for person in User.objects.filter(email__iexact=email, is_active=True).exclude(email="")
        if person.has_usable_password()
    ]
    for person in people:
        with translation.override(language):
            send_mail(_("A new password for the order hub"), _reset_text(person, base), None, [person.email])
    log.info("reset_mailed", people=len(people))
    return len(people)


def _reset_text(person: User, base: str) -> str:
    uid = urlsafe_base64_encode(force_bytes(person.pk))
    path = reverse("panel:password_new", args=[uid, default_token_generator.make_token(person)])
    text = _(
        "Somebody, you we hope, asked for a new password for %(name)s.\n\n"
        "Within one hour you may choose it here:\n%(link)s\n\n"
        "If it was not you, do nothing: the old password stays."
    )
    return text % {"name": person.get_username(), "link": base + path}


def mail_invitation(email: str, shop: str, link: str, language: str) -> bool:
    """Have the link of an invitation sent; False when the broker did not take it."""
    return publish(SEND_INVITATION, [email, shop, link, language], expires=LATE_S)


def send_invitation(email: str, shop: str, link: str, language: str) -> None:
    """Mail the link."""
    with translation.override(language):
        subject = " ".join((_("An invitation to %(shop)s") % {"shop": shop}).split())
        send_mail(subject, _invitation_text(shop, link), None, [email])


def _invitation_text(shop: str, link: str) -> str:
    text = _("You may work in the order hub for %(shop)s.\n\nThe link is good once, for three days:\n%(link)s")
    return text % {"shop": shop, "link": link}
