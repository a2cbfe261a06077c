"""Reading what was sent: JSON in UTF-8, small, shallow, and with texts that every database can store."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NoReturn

from django.http import HttpRequest
from django.utils.datastructures import MultiValueDict
from django.utils.translation import gettext as _
from ninja.parser import Parser

from apps.api.problems import BadJson, BadText, BodyTooLarge, WrongContentType, as_pointer

MAX_BYTES = 64 * 1024
MAX_DEPTH = 8
"""Levels of JSON; the deepest body of this API has two."""

Path = tuple[str | int, ...]


class StrictParser(Parser):
    """Hands over a body or a query only when it is one that can be stored as it was read."""

    def parse_body(self, request: HttpRequest) -> dict[str, Any]:
        """The JSON document. Raises a child of `Problem`."""
        if request.content_type != "application/json":
            raise WrongContentType(_("send the header `Content-Type: application/json` with a JSON body"))
        document: dict[str, Any] = load_json(request.body)
        check_texts(document)
        return document

    def parse_querydict(
        self, data: MultiValueDict[str, Any], list_fields: list[str], request: HttpRequest
    ) -> dict[str, Any]:
        """The query's parameters by name. Raises `BadText`."""
        query = super().parse_querydict(data, list_fields, request)
        check_texts(query)
        return query


def check_size(request: HttpRequest) -> None:
    """Raise `BodyTooLarge` before a byte of a large body is read."""
    announced = request.headers.get("Content-Length", "")
    if announced.isdecimal() and int(announced[:20]) > MAX_BYTES:
        raise BodyTooLarge(_("send at most %(most)d bytes") % {"most": MAX_BYTES})


def load_json(body: bytes) -> Any:
    """The document in `body`. Raises `BadJson` for all that two readers could read differently."""
    try:
        return json.loads(body.decode("utf-8"), object_pairs_hook=_as_object, parse_constant=_refuse_constant)
    except BadJson:
        raise
    except RecursionError as error:
        raise _too_deep() from error
    except ValueError as error:
        text = _("send one JSON object in UTF-8; reading it failed: %(error)s")
        raise BadJson(text % {"error": str(error)[:120]}) from error


def _as_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise BadJson(_("send each name of an object once"))
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise BadJson(_("%(word)s is not JSON") % {"word": name})


def _too_deep() -> BadJson:
    return BadJson(_("send at most %(most)d levels of objects and lists") % {"most": MAX_DEPTH})


def check_texts(document: Any) -> None:
    """Raise `BadText` for a NUL or half a surrogate pair anywhere, names included; `BadJson` for too many levels."""
    for path, text in _texts(document):
        if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            pointer = as_pointer(path).encode("ascii", "backslashreplace").decode().replace("\0", "\\x00")
            raise BadText(_("send text without NUL characters and without lone surrogates"), pointer)


def _texts(document: Any) -> Iterator[tuple[Path, str]]:
    """Every text and every name of the document with its path; without recursion, which a sender could exhaust."""
    waiting: list[tuple[Path, Any]] = [((), document)]
    while waiting:
        path, found = waiting.pop()
        if len(path) > MAX_DEPTH:
            raise _too_deep()
        if isinstance(found, str):
            yield path, found
        elif isinstance(found, dict):
            yield from (((*path, name), name) for name in found)
            waiting += [((*path, name), value) for name, value in found.items()]
        elif isinstance(found, list):
            waiting += [((*path, index), value) for index, value in enumerate(found)]
