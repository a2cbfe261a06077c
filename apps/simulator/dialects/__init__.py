"""The dialects by the path under which each one answers."""

from __future__ import annotations

from collections.abc import Callable

from apps.simulator.dialects import znet
from apps.simulator.wire import Reply, Request
from apps.simulator.world import World

Answer = Callable[[Request, World, float], Reply]

DIALECTS: tuple[tuple[str, Answer], ...] = (("/servis/", znet.answer),)


def get_dialect(path: str) -> Answer | None:
    return next((answer for prefix, answer in DIALECTS if path.startswith(prefix)), None)
