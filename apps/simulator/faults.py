"""Faults of the line that every dialect can have: pages instead of answers, silence, broken answers."""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable
from dataclasses import replace

from apps.simulator.fates import Fate, Mangle, Place, StatusFault
from apps.simulator.switches import Down
from apps.simulator.wire import Ending, Reply

HTML_PAGE = "<!DOCTYPE html><html><head><title>Bakım</title></head><body>Sistem bakımdadır.</body></html>".encode()
HTML_200 = Reply(HTML_PAGE)
ERROR_500 = Reply(b"<html><body><h1>500 Internal Server Error</h1></body></html>", 500)
ERROR_503 = Reply(HTML_PAGE, 503)
TOO_MANY = Reply(b"too many requests", 429, "text/plain", (("Retry-After", "60"),))
NO_SUCH_PAGE = Reply(b"<html><body><h1>404 Not Found</h1></body></html>", 404)
EMPTY = Reply()
HANG = Reply(ending=Ending.HANG)
RESET = Reply(ending=Ending.RESET)

DOWN: dict[Down, Reply] = {Down.HTML: ERROR_503, Down.EMPTY: EMPTY, Down.HANG: HANG, Down.REFUSE: RESET}

Break = Callable[[Reply, Fate], Reply]
"""From the right answer to what leaves instead of it."""


def _ends(ending: Ending) -> Break:
    return lambda right, fate: replace(right, ending=ending)


def _instead(reply: Reply) -> Break:
    return lambda right, fate: reply


def _error(right: Reply, fate: Fate) -> Reply:
    return replace(ERROR_500, status=fate.error_status)


AFTER_BUYING: dict[Place, Break] = {
    Place.ACCEPT: lambda right, fate: right,
    Place.ACCEPT_THEN_HANG: _instead(HANG),
    Place.ACCEPT_THEN_RESET: _instead(RESET),
    Place.ACCEPT_THEN_500: _error,
    Place.ACCEPT_THEN_HTML: _instead(HTML_200),
    Place.ACCEPT_THEN_EMPTY: _instead(EMPTY),
    Place.ACCEPT_THEN_CUT: _ends(Ending.CUT),
    Place.ACCEPT_THEN_HEADERS: _ends(Ending.HEADERS_ONLY),
    Place.ACCEPT_THEN_FLOOD: _ends(Ending.FLOOD),
    Place.ACCEPT_THEN_DRIP: _ends(Ending.DRIP),
    Place.ACCEPT_THEN_RATE_LIMITED: _instead(TOO_MANY),
}

BEFORE_BUYING: dict[Place, Break] = {
    Place.HANG_BEFORE: _instead(HANG),
    Place.RESET_BEFORE: _instead(RESET),
    Place.ERROR_500_BEFORE: _error,
    Place.HTML_BEFORE: _instead(HTML_200),
    Place.EMPTY_BEFORE: _instead(EMPTY),
    Place.RATE_LIMITED: _instead(TOO_MANY),
    Place.REDIRECT: lambda right, fate: Reply(status=302, headers=(("Location", fate.redirect_to),)),
}

ON_STATUS: dict[StatusFault, Break] = {
    StatusFault.ERROR_500: _error,
    StatusFault.HTML: _instead(HTML_200),
    StatusFault.EMPTY: _instead(EMPTY),
    StatusFault.HANG: _instead(HANG),
    StatusFault.RESET: _instead(RESET),
    StatusFault.CUT: _ends(Ending.CUT),
    StatusFault.FLOOD: _ends(Ending.FLOOD),
    StatusFault.AUTH_EMPTY: _instead(EMPTY),
    StatusFault.RATE_LIMITED: _instead(TOO_MANY),
}
"""Faults that break a whole answer; those of words (not found, a bad login, an unknown state) are the dialect's."""


def mangled(reply: Reply, mangle: Mangle | None) -> Reply:
    """The same answer with its bytes spoilt; what only JSON can have leaves other answers as they are."""
    return replace(reply, body=MANGLES[mangle](reply.body)) if mangle else reply


def _duplicate_key(body: bytes) -> bytes:
    first = re.match(rb'\{("[^"]*"):', body)
    return b"{" + first[1] + b":null," + body[1:] if first else body


MANGLES: dict[Mangle, Callable[[bytes], bytes]] = {
    Mangle.TRUNCATED: lambda body: body[: len(body) // 2],
    Mangle.BOM: lambda body: codecs.BOM_UTF8 + body,
    Mangle.NUL: lambda body: body[: len(body) // 2] + b"\0" + body[len(body) // 2 :],
    Mangle.WRONG_CHARSET: lambda body: body.decode("utf-8", "replace").encode("utf-16"),
    Mangle.DUPLICATE_KEY: _duplicate_key,
    Mangle.NUMBER_AS_TEXT: lambda body: re.sub(rb"(?<=[:,\[])(-?\d+(?:\.\d+)?)(?=[,}\]])", rb'"\1"', body),
}
