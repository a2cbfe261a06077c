"""How people hear of an alert: the log, e-mail, and a webhook that takes JSON. One try each; the caller tries again."""

from __future__ import annotations

import json
import smtplib
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings
from django.core.mail import EmailMessage
from django.utils import translation
from django.utils.translation import gettext as _

from apps.common import egress
from apps.common.guards import check_no_transaction
from apps.common.logs import get_logger
from apps.common.transport import send_once
from apps.common.wire import HttpCall, HttpReply
from apps.journal.alerts import SEVERITIES, runbook_of, say, severity_of
from apps.journal.models import AlertNotice

log = get_logger(__name__)

TIMEOUT_S = 5.0

Occasion = AlertNotice.Occasion


class NotTold(Exception):
    """The channel did not take the message; the text says why, without its address."""


@dataclass(frozen=True, slots=True)
class Message:
    """One alert in words; `occasion` is opened, reminder or closed."""

    rule: str
    subject: str
    severity: str
    occasion: str
    headline: str
    text: str


def compose(notice: AlertNotice) -> Message:
    """What to say, in the language of ALERT_LANGUAGE."""
    episode = notice.episode
    with translation.override(settings.ALERT_LANGUAGE):
        headline = f"[{_state(notice)}] {say(episode)}"
        since = _("Since %(at)s UTC.") % {"at": f"{episode.opened_at:%Y-%m-%d %H:%M:%S}"}
        what = _("What to do: %(page)s") % {"page": settings.ALERT_DOCS_URL + runbook_of(episode.rule)}
    severity = severity_of(episode.rule)
    return Message(episode.rule, episode.subject, severity, notice.occasion, headline, f"{headline}\n{since}\n{what}")


def _state(notice: AlertNotice) -> str:
    if notice.occasion == Occasion.CLOSED:
        return _("over")
    severity = str(SEVERITIES[severity_of(notice.episode.rule)])
    return _("still: %(severity)s") % {"severity": severity} if notice.occasion == Occasion.REMINDER else severity


# --- the channels


def to_log(message: Message) -> None:
    """One line of the log."""
    tell = log.info if message.occasion == Occasion.CLOSED else log.warning
    tell(
        "alert",
        rule=message.rule,
        subject=message.subject,
        severity=message.severity,
        occasion=message.occasion,
        text=message.headline,
    )


def to_mail(message: Message) -> None:
    """One e-mail to everybody in ALERT_EMAILS. Raises `NotTold`."""
    mail = EmailMessage(message.headline[:150], message.text, to=settings.ALERT_EMAILS)
    try:
        mail.send()
    except (OSError, smtplib.SMTPException) as error:
        raise NotTold(type(error).__name__) from error


def to_webhook(message: Message) -> None:
    """POST the message as JSON to ALERT_WEBHOOK_URL, once, under the rules of every request. Raises `NotTold`.

    `text` is for people, and with `chat_id` what Telegram's sendMessage takes; the rest is for programs.
    """
    body = {
        "text": message.text,
        "rule": message.rule,
        "subject": message.subject,
        "severity": message.severity,
        "occasion": message.occasion,
    }
    if settings.ALERT_WEBHOOK_CHAT_ID:
        body["chat_id"] = settings.ALERT_WEBHOOK_CHAT_ID
    call = HttpCall("POST", settings.ALERT_WEBHOOK_URL, json=json.dumps(body).encode(), timeout_s=TIMEOUT_S)
    answer = send_once(call, policy=egress.policy_for(is_local=settings.ALERT_WEBHOOK_IS_LOCAL))
    if not isinstance(answer, HttpReply):
        raise NotTold(str(answer.reason))
    if not 200 <= answer.status < 300:
        raise NotTold(f"status {answer.status}")


@dataclass(frozen=True, slots=True)
class Channel:
    """One way to people, and whether the settings name somebody at its end."""

    send: Callable[[Message], None]
    is_set: Callable[[], bool]


CHANNELS: dict[str, Channel] = {
    "log": Channel(to_log, lambda: True),
    "mail": Channel(to_mail, lambda: bool(settings.ALERT_EMAILS)),
    "webhook": Channel(to_webhook, lambda: bool(settings.ALERT_WEBHOOK_URL)),
}
"""Every channel by the name that its notices bear."""


def channels_in_use() -> list[str]:
    """The channels that the settings switch on."""
    return [name for name, channel in CHANNELS.items() if channel.is_set()]


def send(notice: AlertNotice) -> None:
    """Say it over its channel, once, outside of any transaction. Raises `NotTold`."""
    check_no_transaction()
    CHANNELS[notice.channel].send(compose(notice))
