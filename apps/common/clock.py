"""The one place where the wall clock is read; everything below the top edge gets `now` as an argument."""

from datetime import UTC, datetime


def now() -> datetime:
    """The current time, aware, in UTC."""
    return datetime.now(UTC)
