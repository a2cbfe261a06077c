"""Named points around commits, sends and publishes where a proof may crash or pause the process; else no-op."""

from __future__ import annotations

from collections.abc import Callable

CHECKPOINTS = frozenset(
    {
        "dispatch.before_commit",
        "dispatch.after_commit",
        "dispatch.before_first_byte",
        "dispatch.after_send",
        "resend.before_commit",
        "resend.after_commit",
        "settle.before_commit",
        "settle.after_commit",
        "ask.after_claim",
        "ask.before_first_byte",
        "ask.after_answers",
        "apply.before_commit",
        "apply.after_commit",
        "create.before_commit",
        "create.after_commit",
        "wake.before_publish",
        "hook.after_store",
    }
)

_hook: Callable[[str], None] | None = None


def set_hook(hook: Callable[[str], None] | None) -> None:
    """Call `hook(name)` at every checkpoint from now on; None takes it away."""
    global _hook  # noqa: PLW0603 - one process, one proof
    _hook = hook


def checkpoint(name: str) -> None:
    """Mark a place where the process may die. Raises `KeyError` for a name that is not in `CHECKPOINTS`."""
    if name not in CHECKPOINTS:
        raise KeyError(name)
    if _hook is not None:
        _hook(name)
