"""Which version of the code is running, read once per process."""

from __future__ import annotations

import functools
from pathlib import Path

from django.conf import settings

RELEASE = "1.0"
"""What is shown where the code is no git checkout."""

SHORT = 8


@functools.cache
def running_build() -> str:
    """The first digits of the commit that was checked out when this process first asked, else the release."""
    return _commit(Path(settings.BASE_DIR) / ".git")[:SHORT] or RELEASE


def _commit(folder: Path) -> str:
    """The checked-out commit, read from git's own files; empty when there are none."""
    try:
        head = (folder / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        ref = head.removeprefix("ref: ")
        loose = folder / ref
        return loose.read_text().strip() if loose.exists() else _packed(folder, ref)
    except OSError:
        return ""


def _packed(folder: Path, ref: str) -> str:
    lines = (line.split() for line in (folder / "packed-refs").read_text().splitlines())
    return next((words[0] for words in lines if words[1:] == [ref]), "")
