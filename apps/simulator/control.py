"""The control API of tests and scripts: fates, switches, time and truth as JSON under /_control/."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from apps.simulator import page, strict
from apps.simulator.clock import Clock
from apps.simulator.dialects import DEFAULT
from apps.simulator.fates import MIXES, Final, fate_as_json, parse_fate
from apps.simulator.ledger import Ledger
from apps.simulator.switches import Down, switches_as_json, turn
from apps.simulator.wire import Reply, Request
from apps.simulator.world import Purchase, World

PREFIX = "/_control/"


class Lines(Protocol):
    """What the control API may do to the server's sockets."""

    def reset_connections(self) -> int: ...

    def apply_down(self, world: World, down: Down | None, for_s: float | None) -> None: ...


class Control:
    def __init__(self, worlds: Mapping[str, World], truth: Ledger, clock: Clock, lines: Lines) -> None:
        self._worlds = worlds
        self._truth_ledger = truth
        self._clock = clock
        self._lines = lines
        self._routes: dict[tuple[str, str], Callable[[World, dict[str, Any]], object]] = {
            ("GET", "ping"): self._ping,
            ("GET", "cpu"): self._cpu,
            ("GET", "orders"): self._orders,
            ("GET", "truth"): self._truth,
            ("GET", "switches"): self._switches,
            ("POST", "fates"): self._set_fate,
            ("POST", "mix"): self._use_mix,
            ("POST", "switches"): self._turn_switches,
            ("POST", "advance"): self._advance,
            ("POST", "finish"): self._finish,
            ("POST", "reset-connections"): self._reset_connections,
        }

    def answer(self, request: Request) -> Reply:
        """Do one control request; `?dialect=` names the world that it is about."""
        if (request.method, request.path) == ("GET", PREFIX):
            return page.show(list(self._worlds.values()), self._clock.now())
        route = self._routes.get((request.method, request.path.removeprefix(PREFIX)))
        if route is None:
            return _json({"error": "no such control request"}, 404)
        try:
            return _json(route(self._world(request.params.get("dialect", DEFAULT)), _read_body(request)))
        except strict.BadValue as error:
            return _json({"error": str(error)}, 400)

    def _world(self, dialect: str) -> World:
        if dialect not in self._worlds:
            raise strict.BadValue(f"unknown dialect: {dialect}; known: {', '.join(sorted(self._worlds))}")
        return self._worlds[dialect]

    def _ping(self, world: World, body: dict[str, Any]) -> object:
        return {"ok": True, "now": self._clock.now()}

    def _cpu(self, world: World, body: dict[str, Any]) -> object:
        """The CPU seconds of this process, for whoever measures it."""
        return time.process_time()

    def _orders(self, world: World, body: dict[str, Any]) -> object:
        return [_order_row(world.dialect.name, purchase) for purchase in world.purchases()]

    def _truth(self, world: World, body: dict[str, Any]) -> object:
        return self._truth_ledger.entries()

    def _switches(self, world: World, body: dict[str, Any]) -> object:
        return switches_as_json(world.switches)

    def _set_fate(self, world: World, body: dict[str, Any]) -> object:
        checked = strict.check_fields(body, FATE_REQUEST, "request")
        targets = [name for name in ("recipient", "reference", "next", "minutes") if name in checked]
        if len(targets) != 1 or "fate" not in checked:
            raise strict.BadValue("give a fate and exactly one of recipient, reference, next, minutes")
        fate, value = checked["fate"], checked[targets[0]]
        if targets == ["next"]:
            world.fates.script_next(fate, value)
        elif targets == ["recipient"]:
            world.fates.script_recipient(value, fate, checked.get("times"))
        elif targets == ["reference"]:
            world.fates.script_reference(value, fate, checked.get("times"))
        else:
            begins_at, ends_at = (self._clock.now() + 60 * minute for minute in value)
            world.fates.script_spell(begins_at, ends_at, fate)
        return {"ok": True, "fate": fate_as_json(fate)}

    def _use_mix(self, world: World, body: dict[str, Any]) -> object:
        mix = strict.check_fields(body, {"mix": strict.text}, "request").get("mix")
        if mix not in MIXES:
            raise strict.BadValue(f"mix: must be one of {', '.join(MIXES)}")
        world.fates.use_mix(mix)
        return {"ok": True, "mix": mix}

    def _turn_switches(self, world: World, body: dict[str, Any]) -> object:
        switches = turn(world.switches, world.dialect.switch_checks, body)
        if switches.hook_url and world.dialect.hook is None:
            raise strict.BadValue(f"hook_url: {world.dialect.name} sends no webhooks")
        world.switches = switches
        if "down" in body:
            self._lines.apply_down(world, world.switches.down, world.switches.down_for_s)
        return switches_as_json(world.switches)

    def _advance(self, world: World, body: dict[str, Any]) -> object:
        seconds = strict.check_fields(body, {"seconds": strict.seconds}, "request").get("seconds", 0.0)
        self._clock.advance(seconds)
        now = self._clock.now()
        self._truth_ledger.record("advanced", now, seconds=seconds)
        for each in self._worlds.values():
            each.settle(now)
        return {"ok": True, "now": now}

    def _finish(self, world: World, body: dict[str, Any]) -> object:
        checked = strict.check_fields(body, FINISH_REQUEST, "request")
        final = checked.get("final", Final.DELIVERED)
        by_id, reference = checked.get("order_id", ""), checked.get("reference", "")
        purchase = world.by_order_id(by_id) if by_id else world.latest_of(reference)
        if purchase is None or final is Final.NEVER:
            raise strict.BadValue("no purchase with this reference, or final is never")
        world.finish(purchase, final, self._clock.now())
        return _order_row(world.dialect.name, purchase)

    def _reset_connections(self, world: World, body: dict[str, Any]) -> object:
        return {"ok": True, "reset": self._lines.reset_connections()}


def _next_times(value: object) -> int:
    """`next` is how many coming orders the fate is for; true means one."""
    return 1 if value is True else strict.count(value)


def _minutes(value: object) -> tuple[float, ...]:
    """From which to which minute, counted from the request on."""
    pair: tuple[float, ...] = strict.list_of(strict.seconds)(value)
    if len(pair) != 2 or pair[0] >= pair[1]:
        raise ValueError("must be a list of two numbers, the first one smaller")
    return pair


FATE_REQUEST: dict[str, strict.Check] = {
    "recipient": strict.text,
    "reference": strict.text,
    "next": _next_times,
    "minutes": _minutes,
    "times": strict.optional(strict.count),
    "fate": parse_fate,
}

FINISH_REQUEST: dict[str, strict.Check] = {
    "reference": strict.text,
    "order_id": strict.text,
    "final": strict.one_of(Final),
}


def _read_body(request: Request) -> dict[str, Any]:
    if not request.body:
        return {}
    try:
        body = json.loads(request.body)
    except ValueError as error:
        raise strict.BadValue(f"no JSON: {error}") from error
    if not isinstance(body, dict):
        raise strict.BadValue("the body must be an object")
    return body


def _order_row(dialect: str, purchase: Purchase) -> dict[str, Any]:
    ask = purchase.ask
    return {
        "dialect": dialect,
        "order_id": purchase.order_id,
        "reference": ask.reference,
        "execution": purchase.execution,
        "account": ask.account,
        "product": ask.product,
        "kupur": ask.kupur,
        "recipient": ask.recipient,
        "quantity": str(ask.quantity),
        "extra": dict(ask.extra),
        "cost": str(purchase.cost),
        "state": purchase.state,
        "pin": purchase.pins_given[0] if purchase.pins_given else None,
        "pins": purchase.pins_given,
        "bought_at": purchase.bought_at,
        "finished_at": purchase.finished_at or None,
        "fate": fate_as_json(purchase.fate),
    }


def _json(value: object, status: int = 200) -> Reply:
    return Reply(json.dumps(value, ensure_ascii=False).encode(), status, "application/json; charset=utf-8")
