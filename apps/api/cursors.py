"""Cursors of lists: the last row seen, in a form that callers hand back and do not build."""

from __future__ import annotations

import base64
import re

from django.utils.translation import gettext as _

from apps.api.problems import BadCursor

FORM = re.compile(r"before:([1-9][0-9]{0,17})")


def encode(row_id: int) -> str:
    """The cursor of the rows after this one in a list."""
    return base64.urlsafe_b64encode(f"before:{row_id}".encode()).rstrip(b"=").decode()


def decode(cursor: str) -> int:
    """The row id in `cursor`. Raises `BadCursor` for anything that `encode` would not have written."""
    padding = "=" * (-len(cursor) % 4)
    try:
        found = FORM.fullmatch(base64.urlsafe_b64decode(cursor + padding).decode("ascii"))
    except ValueError:
        found = None
    if found is None or encode(int(found[1])) != cursor:
        raise BadCursor(_("send the next_cursor of an earlier answer as it was, or none for the first page"), "?cursor")
    return int(found[1])
