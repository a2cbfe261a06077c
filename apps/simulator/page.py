"""The page to watch a simulator: balances, switches, last purchases and questions; plain HTML without scripts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from itertools import islice

from apps.simulator.switches import switches_as_json
from apps.simulator.wire import Reply
from apps.simulator.world import World

RELOAD_S = 2
LAST = 30

STYLE = (
    "body{font:14px/1.5 system-ui,sans-serif;margin:1.5rem;color:#1b1f24;background:#fff}"
    "h1{font-size:1.3rem}h2{font-size:1.1rem;margin-top:2rem;border-top:1px solid #d0d7de;padding-top:1rem}"
    "table{border-collapse:collapse;margin:.5rem 0 1rem}th,td{text-align:left;padding:.15rem .8rem .15rem 0}"
    "th{color:#57606a;font-weight:600}td{font-variant-numeric:tabular-nums}"
    "@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}h2{border-color:#30363d}th{color:#8b949e}}"
)

Rows = Iterable[Sequence[object]]


def show(worlds: Sequence[World], now: float) -> Reply:
    """One section for each dialect that somebody has used, then the names of the others."""
    used = [world for world in worlds if world.is_used]
    unused = [world.dialect.name for world in worlds if not world.is_used]
    body = "".join(_section(world) for world in used) or "<p>Nobody has asked anything yet.</p>"
    rest = f"<p>Not used yet: {escape(', '.join(unused))}</p>" if unused else ""
    page = (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><meta http-equiv="refresh" content="{RELOAD_S}">'
        f"<title>Provider simulator</title><style>{STYLE}</style></head>"
        f"<body><h1>Provider simulator, {_clock(now)}</h1>{body}{rest}</body></html>"
    )
    return Reply(page.encode())


def _section(world: World) -> str:
    plain = switches_as_json(world.dialect.switches)
    switches = switches_as_json(world.switches)
    turned = [(name, value) for name, value in switches.items() if value != plain[name]]
    return (
        f"<h2>{escape(world.dialect.name)}: {world.balance} {escape(world.dialect.currency)}</h2>"
        + _table(("switch", "turned to"), turned, "All switches are as they come.")
        + _table(PURCHASE_HEAD, _purchases(world), "Nothing was bought.")
        + _table(("time", "reference", "provider's id", "told", "because of"), _questions(world), "Nothing was asked.")
    )


PURCHASE_HEAD = ("bought", "reference", "provider's id", "product", "recipient", "quantity", "cost", "state", "PINs")


def _purchases(world: World) -> list[tuple[object, ...]]:
    newest = islice(world.newest_first(), LAST)
    return [
        (
            _clock(each.bought_at),
            each.ask.reference,
            each.order_id,
            f"{each.ask.product} {each.ask.kupur}",
            each.ask.recipient,
            each.ask.quantity,
            each.cost,
            each.state,
            len(each.pins_given),
        )
        for each in newest
    ]


def _questions(world: World) -> list[tuple[object, ...]]:
    return [
        (_clock(each.at), each.reference, each.order_id, each.told, each.by) for each in reversed(world.last_questions)
    ]


def _table(head: Sequence[str], rows: Rows, nothing: str) -> str:
    lines = "".join(f"<tr>{''.join(f'<td>{escape(str(cell))}</td>' for cell in row)}</tr>" for row in rows)
    if not lines:
        return f"<p>{escape(nothing)}</p>"
    return f"<table><tr>{''.join(f'<th>{escape(name)}</th>' for name in head)}</tr>{lines}</table>"


def _clock(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%S UTC")
