"""A provider's raw reply as a person may read it: without codes, and without all that may be a code or a secret."""

from __future__ import annotations

import re
import shlex

from apps.common.crypto import open_sealed
from apps.common.logs import hide_in_text
from apps.orders.models import Attempt, Evidence, Order, OrderCode

MASK = "••••"
LONGEST = 20_000
"""Characters of a reply that are shown."""

TOKEN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+/=-]{4,}")
GROUPS = re.compile(r"\d{3,}(?:[ -]\d{2,})+")
DAY = re.compile(r"\d{4}-\d{2}-\d{2}(?:T[\d:.]+Z?)?|\d{2}:\d{2}(?::\d{2})?|\d{1,6}(?:\.\d{1,6})?")


def masked_reply(evidence: Evidence) -> str:
    """The reply with everything masked that could be redeemed; what the order is known by stays readable."""
    text = open_sealed(evidence.sealed_body).decode("utf-8", "replace")[:LONGEST] if evidence.sealed_body else ""
    for secret in _codes_of(evidence.order):
        text = text.replace(secret, MASK)
    known = _names_of(evidence.order)
    text = GROUPS.sub(lambda found: found[0] if DAY.fullmatch(found[0]) else MASK, hide_in_text(text))
    return TOKEN.sub(lambda found: found[0] if _is_plain(found[0], known) else MASK, text)


def _is_plain(token: str, known: set[str]) -> bool:
    """A word, a name of the order, a day or an amount. Everything else with a digit or in capitals may be a code."""
    if token in known or DAY.fullmatch(token):
        return True
    has_digit = any(letter.isdigit() for letter in token)
    return not (has_digit or token.isupper())


def _codes_of(order: Order) -> list[str]:
    """Every part of every code of the order, the longest first."""
    codes = OrderCode.objects.filter(order=order)
    parts = {part for code in codes for name, part in code.reveal().items() if part and name != "expires"}
    return sorted(parts, key=len, reverse=True)


def _names_of(order: Order) -> set[str]:
    """By what the order is known to us and to its providers."""
    attempts = Attempt.objects.filter(order=order).values_list("reference", "provider_order_id")
    own = {order.provider_referans, order.external_order_id, order.user_identifier}
    return own | {name for pair in attempts for name in pair}


# --- as a command


def as_curl(request: str) -> str:
    """The redacted request as a curl command for a shell; a JSON body is not kept, so it is named only."""
    method, _, rest = request.partition(" ")
    address, _, body = rest.partition(" ")
    if not address.startswith(("http://", "https://")):
        return ""
    parts = ["curl", "-sS", "-X", method, shlex.quote(address)]
    if body.startswith("form:"):
        parts += ["--data", shlex.quote(body.removeprefix("form:"))]
    elif body:
        parts += ["-H", "'Content-Type: application/json'", "--data", "@body.json"]
    return " ".join(parts)
