"""Why there is no backup, or no restore; each text says what to do."""

from __future__ import annotations


class BackupTrouble(RuntimeError):
    """Nothing was done: what was begun is taken back."""


class NoBackup(BackupTrouble):
    """The backup could not be made; no file is left."""


class BadBackup(BackupTrouble):
    """The file is no backup of a hub, is damaged, or does not belong to this installation."""


class NoRestore(BackupTrouble):
    """The database could not be restored; it is what it was."""
