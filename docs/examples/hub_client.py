#!/usr/bin/env python3
"""A client of the hub in one file; needs `requests` alone. Copy it into your shop and change what you like.

What it gets right, so that nothing is bought twice: the key of an order is your own number of the sale, every try sends
the same key and the same body, and only an answer of the hub ends them. Whoever hears nothing knows nothing: the order
may exist. Run as a program it places one order, waits for it, and prints its codes.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from typing import Any

import requests

TRIES = 8
TIMEOUT_S = 20.0
LONGEST_WAIT_S = 60.0
OVER = {"completed", "partial", "rejected", "cancelled", "refunded"}
"""What an order is told as when it is over; everything else, doubt included, is told as `pending` or `processing`."""

Document = dict[str, Any]


class Refused(Exception):
    """The hub said no, and nothing was ordered; `problem` is its document, `problem["code"]` says why."""

    def __init__(self, problem: Document) -> None:
        self.problem = problem
        super().__init__(f"{problem['code']}: {problem['detail']}")


class Unheard(Exception):
    """No answer that says what happened. Make the same call again later, never one with a new reference."""


class Hub:
    """One hub, by its address and your key."""

    def __init__(self, url: str, key: str) -> None:
        self.url = url.rstrip("/")
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {key}"

    def place(self, reference: str, package: str, fields: Document, quantity: int = 1) -> Document:
        """Place an order, or find the one that was placed under this reference. Raises `Refused` or `Unheard`.

        `reference` is your own number of this sale (`invoice-1001`): store it before you call.
        """
        body = {"package": package, "quantity": quantity, "fields": fields, "client_reference": reference}
        return self._ask("POST", "/api/v1/orders", json=body, headers={"Idempotency-Key": reference})

    def order(self, order_id: int) -> Document:
        """The order as it is now, without its codes."""
        return self._ask("GET", f"/api/v1/orders/{order_id}")

    def wait(self, order_id: int, for_s: float = 600) -> Document:
        """The order when it is over, or as it is after `for_s` seconds; then ask again later, or take webhooks."""
        ends_at, pause_s = time.monotonic() + for_s, 1.0
        while True:
            order = self.order(order_id)
            if order["status"] in OVER or time.monotonic() + pause_s > ends_at:
                return order
            time.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 30)

    def reveal(self, order_id: int) -> list[Document]:
        """The codes of an order that is completed or partial. Repeat it as often as you like: nothing is used up."""
        codes: list[Document] = self._ask("POST", f"/api/v1/orders/{order_id}/codes/reveal")["codes"]
        return codes

    def _ask(self, method: str, path: str, **request: Any) -> Document:
        """Send the same request until it is answered. Every call of this file may be repeated as it is."""
        for n in range(TRIES):
            try:
                answer = self.session.request(method, self.url + path, timeout=TIMEOUT_S, **request)
                told: Document = answer.json()
            except (requests.ConnectionError, requests.Timeout, ValueError):
                time.sleep(pause_s(n, ""))
                continue
            if answer.ok:
                return told
            if not told.get("retryable"):
                raise Refused(told)
            time.sleep(pause_s(n, answer.headers.get("Retry-After", "")))
        raise Unheard(f"{method} {path}")


def pause_s(n: int, retry_after: str) -> float:
    """Seconds before the next try: what the hub asks for, else twice as long each time, with some chance in it."""
    if retry_after.isdecimal():
        return float(retry_after)
    return min(2.0**n, LONGEST_WAIT_S) * random.uniform(0.5, 1)


def main() -> int:
    """Place one order and print what it became."""
    parser = argparse.ArgumentParser(description="Places one order at the hub of $HUB with the key $KEY.")
    parser.add_argument("reference", help="your own number of this sale, such as invoice-1001")
    parser.add_argument("player", help="who gets it")
    parser.add_argument("--package", default="pubg-60")
    options = parser.parse_args()
    hub = Hub(os.environ["HUB"], os.environ["KEY"])
    try:
        order = hub.wait(hub.place(options.reference, options.package, {"player_id": options.player})["id"])
    except Refused as refused:
        print(refused)
        return 1
    print(f"order {order['id']} is {order['status']}")
    for code in hub.reveal(order["id"]) if order["codes_available"] else []:
        print(f"code: {code['value']}")
    return 0 if order["status"] in ("completed", "partial") else 1


if __name__ == "__main__":
    sys.exit(main())
