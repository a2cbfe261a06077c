"""The status question, the same for every dialect: the right answer, or what its fate puts in its place."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from apps.simulator.fates import StatusFault
from apps.simulator.faults import ON_STATUS, mangled
from apps.simulator.switches import Batch
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


def batch(looks: Sequence[Look], world: World, now: float) -> list[Look]:
    """The looks of one question about several orders, as the switch `batch` lets them be told."""
    return BATCHES[world.switches.batch](list(looks), world, now)


def _with_extra(looks: list[Look], world: World, now: float) -> list[Look]:
    asked = {look.purchase.order_id for look in looks if look.purchase}
    other = next((each for each in world.newest_first() if each.order_id not in asked), None)
    return [*looks, world.view(other, now)] if other else looks


BATCHES: dict[Batch, Callable[[list[Look], World, float], list[Look]]] = {
    Batch.WHOLE: lambda looks, world, now: looks,
    Batch.SHUFFLED: lambda looks, world, now: looks[::-1],
    Batch.MISSING: lambda looks, world, now: looks[:-1],
    Batch.EXTRA: _with_extra,
}
