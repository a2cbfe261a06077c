"""The truth ledger: append-only JSON lines that say what the provider really did, whatever a client saw."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Entry = dict[str, Any]

LAZY_EVENTS = frozenset({"checked"})
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
KEPT = (
    *("dialect", "order_id", "reference", "execution"),
    *("account", "product", "kupur", "recipient", "quantity", "cost"),
)


class Ledger:
    """Writes entries; `sync` must be called before anything that a client can see."""

    def __init__(self, path: Path) -> None:
        _drop_torn_line(path)
        self._path = path
        self._count = len(read_truth(path))
        self._file = path.open("ab")
        self._owes_sync = False
        self._owes_flush = False

    def record(self, event: str, at: float, **fields: Any) -> None:
        """Append one entry to the buffer; every event but the lazy ones then makes `sync` wait for the disk."""
        self._count += 1
        entry = {"n": self._count, "at": round(at, 6), "event": event, **fields}
        self._file.write(_encode(entry).encode() + b"\n")
        self._owes_flush = True
        if event not in LAZY_EVENTS:
            self._owes_sync = True

    def sync(self) -> None:
        """Return when all entries but the lazy ones are on the disk."""
        if self._owes_sync:
            self.flush()
            os.fsync(self._file.fileno())
            self._owes_sync = False

    def flush(self) -> None:
        """Make the lazy entries visible to readers of the file."""
        if self._owes_flush:
            self._file.flush()
            self._owes_flush = False

    def entries(self) -> list[Entry]:
        self.flush()
        return read_truth(self._path)

    def close(self) -> None:
        self._owes_sync = True
        self.sync()
        self._file.close()


def read_truth(path: str | Path) -> list[Entry]:
    """All entries in order; a last line without its line feed was never finished and is left out."""
    try:
        raw = Path(path).read_bytes()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in raw.split(b"\n")[:-1]]


class Tail:
    """Reads a ledger that grows: each call parses only what is new."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._offset = 0
        self._entries: list[Entry] = []

    def entries(self) -> list[Entry]:
        """All whole entries so far, in order; the lazy ones come a moment late."""
        with self._path.open("rb") as file:
            file.seek(self._offset)
            whole = file.read().rpartition(b"\n")[0]
        if whole:
            self._offset += len(whole) + 1
            self._entries += [json.loads(line) for line in whole.split(b"\n")]
        return self._entries


def summary(entries: Iterable[Entry]) -> dict[str, Any]:
    """Count the events and fold them into one row per purchase.

    `double_executions` counts the `bought` events beyond the first of a reference; whether two references stood
    for one wish is for the caller to judge from the rows.
    """
    events = list(entries)
    counts = Counter(str(entry["event"]) for entry in events)
    rows = purchase_rows(events)
    return {
        "asked": counts["asked"],
        "purchases": counts["bought"],
        "refused": counts["refused"],
        "repeats": counts["repeat"],
        "checked": counts["checked"],
        "double_executions": sum(row["execution"] > 1 for row in rows),
        "rows": rows,
    }


def purchase_rows(entries: Iterable[Entry]) -> list[Entry]:
    """One row per `bought` event, with the state and the PINs that later entries gave it."""
    rows: dict[tuple[str, str], Entry] = {}
    for entry in entries:
        if entry["event"] == "bought":
            rows[entry["dialect"], entry["order_id"]] = _new_row(entry)
        elif entry["event"] == "finished":
            _finish_row(rows[entry["dialect"], entry["order_id"]], entry)
    return list(rows.values())


def _new_row(entry: Entry) -> Entry:
    return {name: entry[name] for name in KEPT} | {
        "charged": entry["cost"],
        "state": "waiting",
        "pin": None,
        "pins": [],
        "bought_at": entry["at"],
        "finished_at": None,
    }


def _finish_row(row: Entry, entry: Entry) -> None:
    row["state"] = entry["state"]
    row["charged"] = entry["charged"]
    row["finished_at"] = entry["at"]
    row["pins"] += [pin for pin in entry["pins"] if pin not in row["pins"]]
    row["pin"] = row["pins"][0] if row["pins"] else None


def _drop_torn_line(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        file.seek(0)
        file.truncate(file.read().rfind(b"\n") + 1)
