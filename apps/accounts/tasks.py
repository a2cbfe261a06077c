"""The Celery tasks of the accounts: mails, and what is not needed any more."""

from __future__ import annotations

from celery import shared_task

from apps.accounts import mails


@shared_task(name=mails.SEND_RESET)
def send_reset(email: str, base: str, language: str) -> None:
    """Mail a link for a new password to whoever has this e-mail."""
    mails.send_reset(email, base, language)


@shared_task(name=mails.SEND_INVITATION)
def send_invitation(email: str, shop: str, link: str, language: str) -> None:
    """Mail the link of an invitation."""
    mails.send_invitation(email, shop, link, language)
