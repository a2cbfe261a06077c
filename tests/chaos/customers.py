"""Customers over REST who do not wait for each other, repeat themselves, and never give a wish up."""

from __future__ import annotations

import queue
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import requests

WARES = (
    ("client-card", 1),
    ("client-topup", 1),
    ("znet-pin", 1),
    ("znet-only", 2),
    ("smm", 1),
    ("smm-then-client", 1),
    ("digiflazz", 1),
    ("digi-then-znet", 1),
    ("stock-then-znet", 2),
)
"""Packages of the proof's shop, and the most that is ordered of each at once."""

THREADS = 8
TIMEOUT_S = 8
PAUSE_S = 1.0
AGAIN_AT_ONCE = 0.15
AGAIN_LATER = 0.15


@dataclass(slots=True)
class Wish:
    """One thing that somebody wants: the same under the same key, however often it is said."""

    number: int
    at_s: float
    package: str
    quantity: int
    customer: int
    again: tuple[float, ...]  # when it is said once more, though an answer may have come
    ids: set[int] = field(default_factory=set)
    refused: str = ""

    @property
    def recipient(self) -> str:
        """Who it is for: nobody else's."""
        return f"P{self.number:06}"

    @property
    def key(self) -> str:
        """The idempotency key."""
        return f"wish-{self.number}"


def draw_wishes(seed: int, for_s: float, per_minute: float) -> list[Wish]:
    """Who wants what and when, by the seed alone: arrivals as of a Poisson process."""
    dice = random.Random(f"{seed}:wishes")
    wishes: list[Wish] = []
    at_s = dice.expovariate(per_minute / 60)
    while at_s < for_s:
        package, most = dice.choice(WARES)
        again = [at_s] if dice.random() < AGAIN_AT_ONCE else []
        again += [at_s + dice.uniform(1, 10)] if dice.random() < AGAIN_LATER else []
        quantity, customer = dice.randint(1, most), dice.randrange(3)
        wishes.append(Wish(len(wishes), at_s, package, quantity, customer, tuple(again)))
        at_s += dice.expovariate(per_minute / 60)
    return wishes


class Customers:
    """Says every wish at its time, and again until it is known to be an order."""

    def __init__(self, wishes: Sequence[Wish], keys: Sequence[str], url: Callable[[], str]) -> None:
        self.wishes, self._keys, self._url = wishes, keys, url
        self.said: Counter[str] = Counter()
        """What came back, by status or name of the error, counted."""
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._due: queue.PriorityQueue[tuple[float, int, int]] = queue.PriorityQueue()
        self._threads = [threading.Thread(target=self._serve, daemon=True) for _ in range(THREADS)]
        self._began = time.monotonic()

    def start(self) -> None:
        """Time zero of the wishes is now."""
        self._began = time.monotonic()
        for wish in self.wishes:
            for number, at_s in enumerate((wish.at_s, *wish.again)):
                self._due.put((at_s, wish.number, number))
        for thread in self._threads:
            thread.start()

    def open_wishes(self) -> list[Wish]:
        """Those that are no order yet, as far as their customer knows."""
        return [wish for wish in self.wishes if not wish.ids and not wish.refused]

    def is_idle(self) -> bool:
        """Whether nothing is left to say."""
        return self._due.empty() and not self.open_wishes()

    def stop(self) -> None:
        """Fall silent."""
        self._stop.set()
        for thread in self._threads:
            if thread.is_alive():
                thread.join(2 * TIMEOUT_S)

    def _serve(self) -> None:
        session = requests.Session()
        session.trust_env = False
        while not self._stop.is_set():
            try:
                at_s, index, number = self._due.get(timeout=0.5)
            except queue.Empty:
                continue
            if self._stop.wait(max(at_s - (time.monotonic() - self._began), 0)):
                return
            if not self._say(session, self.wishes[index]):
                self._due.put((time.monotonic() - self._began + PAUSE_S, index, number))

    def _say(self, session: requests.Session, wish: Wish) -> bool:
        """Whether an answer came that ends this saying."""
        headers = {"Authorization": f"Bearer {self._keys[wish.customer]}", "Idempotency-Key": wish.key}
        body: Mapping[str, object] = {
            "package": wish.package,
            "quantity": wish.quantity,
            "fields": {"player_id": wish.recipient},
        }
        try:
            answer = session.post(f"{self._url()}/api/v1/orders", json=body, headers=headers, timeout=TIMEOUT_S)
        except requests.RequestException as error:
            return self._note(type(error).__name__, ends=False)
        if answer.status_code == 201:
            with self._lock:
                wish.ids.add(int(answer.json()["id"]))
            return self._note("201 again" if answer.headers.get("Idempotent-Replayed") else "201", ends=True)
        if answer.status_code in (400, 401, 402, 404, 409, 422) and not answer.json().get("retryable"):
            wish.refused = answer.text
            return self._note(str(answer.status_code), ends=True)
        return self._note(str(answer.status_code), ends=False)

    def _note(self, word: str, *, ends: bool) -> bool:
        with self._lock:
            self.said[word] += 1
        return ends
