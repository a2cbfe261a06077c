"""Looks for keys and passwords in the files of the project: only their kind and place are printed, never they."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NOT_OURS = {".git", ".venv", "var", "node_modules", "__pycache__", "vendor"}
PRIVATE = {".env"}
"""What start.py writes and git ignores; it is there to hold secrets."""
LARGEST_BYTES = 2 << 20

KINDS: Mapping[str, re.Pattern[str]] = {
    "private key": re.compile(r"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----\s*[A-Za-z0-9+/]{20}"),
    "encryption key of FIELD_KEYS": re.compile(r"\bk\d+:[A-Za-z0-9_-]{43}="),
    "secret of this project": re.compile(
        r"\b(?:SECRET_KEY|CODE_INDEX_KEY|API_KEY_PEPPER|METRICS_TOKEN|EMAIL_HOST_PASSWORD)=['\"]?[A-Za-z0-9_+/-]{16,}"
    ),
    "access key of AWS": re.compile(r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"),
    "token of GitHub": re.compile(r"\b(?:gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{60,})"),
    "token of GitLab": re.compile(r"\bglpat-[A-Za-z0-9_-]{20}"),
    "token of Slack": re.compile(r"\bxox[abprs]-[A-Za-z0-9-]{20,}"),
    "key of Stripe": re.compile(r"\b[rs]k_live_[A-Za-z0-9]{20,}"),
    "token of a Telegram bot": re.compile(r"\b\d{8,10}:AA[A-Za-z0-9_-]{33}\b"),
    "key of Google": re.compile(r"\bAIza[A-Za-z0-9_-]{35}\b"),
}
"""What is never in a repository, by the shape that it has."""


def scan(root: Path) -> list[str]:
    """`path:line: kind` of everything that looks like a secret in the text files below `root`."""
    return [f"{path.relative_to(root)}:{line}: {kind}" for path in _files(root) for line, kind in _found_in(path)]


def _files(root: Path) -> Iterator[Path]:
    for path in sorted(root.iterdir()):
        if path.name in NOT_OURS or path.name in PRIVATE or path.name.endswith("_cache") or path.is_symlink():
            continue
        if path.is_dir():
            yield from _files(path)
        elif path.is_file() and path.stat().st_size <= LARGEST_BYTES:
            yield path


def _found_in(path: Path) -> Iterator[tuple[int, str]]:
    text = path.read_bytes().decode("utf-8", errors="replace")
    for kind, pattern in KINDS.items():
        for match in pattern.finditer(text):
            yield text.count("\n", 0, match.start()) + 1, kind


def main() -> int:
    """Prints every place; 1 when there is one."""
    places = scan(ROOT)
    for place in places:
        print(f"{place}: take it out, and change it: it is in the history for good")
    return 1 if places else 0


if __name__ == "__main__":
    sys.exit(main())
