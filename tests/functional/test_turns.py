"""Turn by turn an account is asked: nothing twice, nothing lost where the turns end, and nobody waits for another."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Condition, Event, Thread
from urllib.parse import parse_qs, urlsplit

import pytest

from apps.common import checkpoints, clock
from apps.orders import monitoring
from apps.orders.models import DueCheck
from apps.providers.models import Integration
from tests.factories import START, Shop, at_checkpoint, fill_lane, make_shop, order_from
from tests.functional.core_fixtures import committed

__all__ = ["committed"]

pytestmark = pytest.mark.both_databases

BURST, DUE = 50, 40
PATIENCE_S = 10.0
ANSWER = b"OK|1| |islemde"


class Panel:
    """A panel that says of every order that it is being worked on, when `may_answer` lets it."""

    def __init__(self, may_answer: Callable[[], bool] = lambda: True) -> None:
        self.asked: Counter[str] = Counter()
        self.open = self.most_open = 0
        self.changed = Condition()
        self.is_patient = True
        panel = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                panel.hold(parse_qs(urlsplit(self.path).query)["tahsilat_api_islem_id"][0], may_answer)
                self.send_response(200)
                self.send_header("content-length", str(len(ANSWER)))
                self.end_headers()
                self.wfile.write(ANSWER)

            def log_message(self, format: str, *args: object) -> None:
                """Silent."""

        class Server(ThreadingHTTPServer):
            request_queue_size = 100

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        Thread(target=self.server.serve_forever, daemon=True).start()

    def hold(self, reference: str, may_answer: Callable[[], bool]) -> None:
        """Wait for leave to answer; a panel that waited in vain remembers it."""
        with self.changed:
            self.asked[reference] += 1
            self.open += 1
            self.most_open = max(self.most_open, self.open)
            self.changed.notify_all()
            self.is_patient &= self.changed.wait_for(may_answer, PATIENCE_S)
            self.open -= 1


@pytest.fixture
def panels(committed: None) -> Iterator[Callable[..., Panel]]:
    made: list[Panel] = []

    def make(may_answer: Callable[[], bool] = lambda: True) -> Panel:
        made.append(Panel(may_answer))
        return made[-1]

    yield make
    checkpoints.set_hook(None)
    for panel in made:
        panel.server.shutdown()
        panel.server.server_close()


def lane_of(panel: Panel, due: int, rate_per_s: float = 10_000) -> Integration:
    """An account at the panel with so many purchases that are due."""
    shop: Shop = make_shop(panel.url, burst=BURST, rate_per_s=rate_per_s, ask_timeout_s=2 * PATIENCE_S)
    fill_lane(order_from(shop), shop.integration, due)
    DueCheck.objects.filter(kind="dispatch").delete()
    return shop.integration


def drain(lane: Integration, stop: Event | None = None) -> int:
    return monitoring.drain(lane.pk, clock.now() + timedelta(minutes=1), stop or Event()).asked


def standing(lane: Integration) -> Counter[tuple[int, int]]:
    """How often the rows of the lane were claimed and asked about."""
    return Counter(DueCheck.objects.filter(lane=lane.pk).values_list("fence", "asked"))


class TestTurns:
    def test_ask_about_each_order_once_with_no_more_requests_open_than_the_burst(
        self, panels: Callable[..., Panel]
    ) -> None:
        panel = panels()
        lane = lane_of(panel, 150)
        assert drain(lane) == 150
        assert panel.most_open <= BURST
        assert (len(panel.asked), set(panel.asked.values())) == (150, {1})
        assert standing(lane) == {(1, 1): 150}

    def test_that_are_told_to_stop_apply_what_they_have_asked_and_leave_the_rest_due(
        self, panels: Callable[..., Panel]
    ) -> None:
        stop = Event()
        panel = panels(lambda: stop.set() is None)  # type: ignore[func-returns-value]
        lane = lane_of(panel, 150)
        asked = drain(lane, stop)
        assert 0 < asked <= BURST
        assert (len(panel.asked), set(panel.asked.values())) == (asked, {1})
        assert standing(lane) == {(1, 1): asked, (0, 0): 150 - asked}
        assert set(DueCheck.objects.filter(fence=0).values_list("next_at", flat=True)) == {START}

    def test_that_break_off_keep_what_was_applied_and_leave_the_rest_to_its_lease(
        self, panels: Callable[..., Panel]
    ) -> None:
        panel = panels()
        lane = lane_of(panel, 150)
        turns: list[str] = []

        def break_off() -> None:
            turns.append("turn")
            if len(turns) == 2:
                raise RuntimeError("gone")

        at_checkpoint("ask.after_answers", break_off)
        with pytest.raises(RuntimeError, match="gone"):
            drain(lane)
        told = standing(lane)
        assert 0 < told[1, 1] <= BURST
        assert 0 < told[1, 0] <= BURST
        assert told[0, 0] == 150 - told[1, 1] - told[1, 0]
        lost = DueCheck.objects.filter(lane=lane.pk, fence=1, asked=0)
        assert min(lost.values_list("next_at", flat=True)) > clock.now()

    def test_of_a_silent_account_hold_up_nobody_elses(self, panels: Callable[..., Panel]) -> None:
        quick = panels()
        silent = panels(lambda: sum(quick.asked.values()) >= DUE)
        slow_lane, quick_lane = lane_of(silent, DUE), lane_of(quick, DUE)
        waking = Thread(target=wake_when, args=(silent, lambda: sum(quick.asked.values()) >= DUE))
        waking.start()
        assert monitoring.sweep(run_for=timedelta(seconds=1)).asked == 2 * DUE
        waking.join()
        assert silent.is_patient
        assert standing(slow_lane) == standing(quick_lane) == {(1, 1): DUE}


def wake_when(panel: Panel, is_so: Callable[[], bool]) -> None:
    """Let the panel look again whenever something may have changed, until `is_so` or it lost its patience."""
    while panel.is_patient and not is_so():
        with panel.changed:
            panel.changed.wait(0.02)
            panel.changed.notify_all()
    with panel.changed:
        panel.changed.notify_all()
