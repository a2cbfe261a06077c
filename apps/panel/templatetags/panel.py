"""How the pages write references, amounts and times, and what stands on every page: the warning bar and the build."""

from __future__ import annotations

from datetime import datetime

from django import template
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from apps.common import clock
from apps.common.money import Money
from apps.journal.loops import LABELS, SWEEP, silent_loops
from apps.panel.build import running_build
from apps.panel.words import KINDS, TROUBLE, say
from apps.providers.models import Integration

register = template.Library()


@register.filter
def ref(value: object) -> SafeString:
    """A reference, number or code: always written left to right."""
    return format_html('<bdi dir="ltr" class="ref">{}</bdi>', value) if value not in (None, "") else SafeString("")


@register.filter
def amount(money: Money | None) -> SafeString:
    """Money with Latin digits in every language."""
    return format_html('<bdi dir="ltr" class="amount">{}</bdi>', money) if money is not None else SafeString("")


@register.simple_tag
def amount_of(micros: int, currency: str) -> SafeString:
    """Micro-units as money."""
    return amount(Money(micros, currency))


@register.filter
def trouble(error: str) -> str:
    """Why a provider told nothing, in words; what it said itself as it is."""
    return say(TROUBLE, error)


@register.filter
def kind(account: Integration) -> str:
    """What kind of provider it is: our own in words, a protocol by its name."""
    return say({**dict(account._meta.get_field("kind").flatchoices), **KINDS}, account.kind)


@register.filter
def moment(at: datetime | None) -> SafeString:
    """Date and time in the zone of the page, the same in every language."""
    if at is None:
        return SafeString("")
    local = timezone.localtime(at)
    return format_html(
        '<time datetime="{}"><bdi dir="ltr">{}</bdi></time>', at.isoformat(), f"{local:%Y-%m-%d %H:%M:%S}"
    )


@register.simple_tag
def zone_name() -> str:
    """The time zone of the times on the page."""
    return timezone.get_current_timezone_name()


@register.simple_tag
def build() -> str:
    """The running version."""
    return running_build()


@register.inclusion_tag("panel/_banner.html")
def banner() -> dict[str, object]:
    """A warning while nobody sends and asks, or another loop is silent: each with since when, if it ever ran."""
    silent = {loop.name: loop.since for loop in silent_loops(clock.now())}
    is_silent = SWEEP in silent
    beat_at = silent.pop(SWEEP, None)
    others = [{"label": LABELS[name], "since": since} for name, since in silent.items()]
    return {"is_silent": is_silent, "beat_at": beat_at, "others": others}
