"""Backups of the whole database in one file, and their way back; the decisions after a restore are in `restored`."""
