"""The control API of tests and scripts: fates, switches, time and truth as JSON under /_control/."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Protocol

from apps.simulator import strict
from apps.simulator.clock import Clock
from apps.simulator.fates import Final, fate_as_json, parse_fate
from apps.simulator.switches import Down, switches_as_json, turn
from apps.simulator.wire import Reply, Request
from apps.simulator.world import Purchase, World

PREFIX = "/_control/"


class Lines(Protocol):
    """What the control API may do to the server's sockets."""

    def reset_connections(self) -> int: ...

    def apply_down(self, down: Down | None, for_s: float | None) -> None: ...


class Control:
    def __init__(self, world: World, clock: Clock, lines: Lines) -> None:
        self._world = world
        self._clock = clock
        self._lines = lines
        self._routes: dict[tuple[str, str], Callable[[dict[str, Any]], object]] = {
            ("GET", "ping"): self._ping,
            ("GET", "orders"): self._orders,
            ("GET", "truth"): self._truth,
            ("GET", "switches"): self._switches,
            ("POST", "fates"): self._set_fate,
            ("POST", "switches"): self._turn_switches,
            ("POST", "advance"): self._advance,
            ("POST", "finish"): self._finish,
            ("POST", "reset-connections"): self._reset_connections,
        }

    def answer(self, request: Request) -> Reply:
        route = self._routes.get((request.method, request.path.removeprefix(PREFIX)))
        if route is None:
            return _json({"error": "no such control request"}, 404)
        try:
            return _json(route(_read_body(request)))
        except strict.BadValue as error:
            return _json({"error": str(error)}, 400)

    def _ping(self, body: dict[str, Any]) -> object:
        return {"ok": True, "now": self._clock.now()}

    def _orders(self, body: dict[str, Any]) -> object:
        return [_order_row(purchase) for purchase in self._world.purchases()]

    def _truth(self, body: dict[str, Any]) -> object:
        return self._world.truth.entries()

    def _switches(self, body: dict[str, Any]) -> object:
        return switches_as_json(self._world.switches)

    def _set_fate(self, body: dict[str, Any]) -> object:
        checked = strict.check_fields(body, FATE_REQUEST, "request")
        targets = [name for name in ("recipient", "reference", "next") if name in checked]
        if len(targets) != 1 or "fate" not in checked:
            raise strict.BadValue("give a fate and exactly one of recipient, reference, next")
        fate = checked["fate"]
        if targets == ["next"]:
            self._world.fates.script_next(fate, checked["next"])
        elif targets == ["recipient"]:
            self._world.fates.script_recipient(checked["recipient"], fate, checked.get("times"))
        else:
            self._world.fates.script_reference(checked["reference"], fate, checked.get("times"))
        return {"ok": True, "fate": fate_as_json(fate)}

    def _turn_switches(self, body: dict[str, Any]) -> object:
        self._world.switches = turn(self._world.switches, body)
        if "down" in body:
            self._lines.apply_down(self._world.switches.down, self._world.switches.down_for_s)
        return switches_as_json(self._world.switches)

    def _advance(self, body: dict[str, Any]) -> object:
        seconds = strict.check_fields(body, {"seconds": strict.seconds}, "request").get("seconds", 0.0)
        self._clock.advance(seconds)
        now = self._clock.now()
        self._world.truth.record("advanced", now, seconds=seconds)
        self._world.settle(now)
        return {"ok": True, "now": now}

    def _finish(self, body: dict[str, Any]) -> object:
        checked = strict.check_fields(body, FINISH_REQUEST, "request")
        final = checked.get("final", Final.DELIVERED)
        purchase = self._world.finish(checked.get("reference", ""), final, self._clock.now())
        if purchase is None:
            raise strict.BadValue("no purchase with this reference, or final is never")
        return _order_row(purchase)

    def _reset_connections(self, body: dict[str, Any]) -> object:
        return {"ok": True, "reset": self._lines.reset_connections()}


def _next_times(value: object) -> int:
    """`next` is how many coming orders the fate is for; true means one."""
    return 1 if value is True else strict.count(value)


FATE_REQUEST: dict[str, strict.Check] = {
    "recipient": strict.text,
    "reference": strict.text,
    "next": _next_times,
    "times": strict.optional(strict.count),
    "fate": parse_fate,
}

FINISH_REQUEST: dict[str, strict.Check] = {"reference": strict.text, "final": strict.one_of(Final)}


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


def _order_row(purchase: Purchase) -> dict[str, Any]:
    ask = purchase.ask
    return {
        "reference": ask.reference,
        "execution": purchase.execution,
        "account": ask.account,
        "product": ask.product,
        "kupur": ask.kupur,
        "recipient": ask.recipient,
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
