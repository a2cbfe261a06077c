"""A lock on a file, which the system frees when the last process that holds it has ended, however it ends."""

from __future__ import annotations

import os
import sys
from pathlib import Path


class LockFile:
    """One holder at a time; on Linux and macOS processes that inherit `descriptor` hold it, too."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)

    def take(self) -> bool:
        """Whether nobody else held it; then we do."""
        try:
            if sys.platform == "win32":
                import msvcrt  # noqa: PLC0415 - only there

                msvcrt.locking(self.descriptor, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl  # noqa: PLC0415 - not on Windows

                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let it go, as far as we hold it."""
        os.close(self.descriptor)


def is_free(path: Path) -> bool:
    """Whether nobody holds the lock at this moment."""
    lock = LockFile(path)
    try:
        return lock.take()
    finally:
        lock.close()
