"""The status question, the same for every dialect: the right answer, or what its fate puts in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from apps.simulator.fates import StatusFault
from apps.simulator.faults import ON_STATUS, mangled
from apps.simulator.wire import Reply
from apps.simulator.world import Look, World


def answer(looks: Sequence[Look], world: World, tell: Callable[[], Reply]) -> Reply:
    """The dialect's telling of the looks, unless one of them has a fault that breaks the whole answer."""
    for look in looks:
        if look.fault is StatusFault.AUTH_TEXT:
            return world.words.bad_login(world)
        if look.fault in ON_STATUS:
            return ON_STATUS[look.fault](tell(), look.fate)
    return mangled(tell(), next((look.fate.status_mangle for look in looks if look.fate.status_mangle), None))
