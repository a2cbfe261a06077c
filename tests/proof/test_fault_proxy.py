"""L5: the real dispatch and the real questions through a proxy that misbehaves; the panel's own ledger is the judge."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from django.db import connection

from apps.orders import monitoring, services
from apps.orders.models import Attempt, Evidence, Order
from apps.proof.proxy import HTTP_FAULTS, End, Fault, FaultProxy, Hole, Http, Line
from apps.simulator.client import SimulatorProcess
from tests.factories import Shop, Stage, check_invariants, make_shop, pins_of, standing_of, sums_of
from tests.functional.core_fixtures import committed, simulator, stage

__all__ = ["committed", "simulator", "stage"]

PLACE = "/servis/pin_ekle.php"
ASK = "/servis/pin_kontrol.php"
PRICE = 35_000_000
COST = 31_500_000

OTHER_HOST = Fault(Http.REDIRECT_TO, url="http://127.0.0.1:9/elsewhere")
BYTES_ARE_LATE = Line(latency_s=0.2)
ONE_BYTE_AT_A_TIME = Line(slice_bytes=1)
NARROW_BAND = Line(slice_bytes=16, gap_s=0.01)
CUT = Line(limit_bytes=60)
CUT_BY_RESET = Line(limit_bytes=60, end=End.RESET)
CUT_AND_HALF_CLOSED = Line(limit_bytes=60, end=End.HALF_CLOSE)
CUT_AND_HUNG = Line(limit_bytes=60, end=End.HANG)
CLOSED_SLOWLY = Line(latency_s=0.1, end=End.SLOW_CLOSE)
ONE_WRONG_BYTE = Line(corrupt_at=9)

Armed = Fault | Line | Hole | Http

PLACING: dict[str, tuple[Armed, str, bool]] = {
    "P2 reset before it is passed on": (Http.DROP_BEFORE_FORWARD, "in_doubt", False),
    "P2 a connection that was given up just now": (Http.CLOSE_KEEPALIVE_RACE, "in_doubt", False),
    "P2 accepted and never read": (Hole.NEVER_READ, "in_doubt", False),
    "P2 read and never answered": (Hole.NEVER_ANSWER, "in_doubt", False),
    "P3 reset after it was bought": (Http.DROP_AFTER_FORWARD, "in_doubt", True),
    "P3 silence after it was bought": (Http.HANG_AFTER_FORWARD, "in_doubt", True),
    "P4 500 after it was bought": (Fault(Http.STATUS_AFTER_FORWARD, status=500), "in_doubt", True),
    "P4 502 after it was bought": (Fault(Http.STATUS_AFTER_FORWARD, status=502), "in_doubt", True),
    "P4 504 after it was bought": (Fault(Http.STATUS_AFTER_FORWARD, status=504), "in_doubt", True),
    "P4 a gateway that sends it twice by itself": (Http.DUPLICATE_FORWARD, "accepted", True),
    "P6 429 after it was bought": (Fault(Http.STATUS_AFTER_FORWARD, status=429), "in_doubt", True),
    "P8 a captive portal's page": (Http.INJECT_HTML, "in_doubt", True),
    "P9 a redirect to another host": (OTHER_HOST, "in_doubt", True),
    "P10 a small answer that unpacks to eight megabytes": (Http.GZIP_BOMB, "in_doubt", True),
    "P10 one byte at a time": (ONE_BYTE_AT_A_TIME, "accepted", True),
    "P11 one wrong byte": (ONE_WRONG_BYTE, "in_doubt", True),
    "P13 cut in the middle": (CUT, "in_doubt", True),
    "P13 reset in the middle": (CUT_BY_RESET, "in_doubt", True),
    "P13 half closed in the middle": (CUT_AND_HALF_CLOSED, "in_doubt", True),
    "P13 hung in the middle": (CUT_AND_HUNG, "in_doubt", True),
    "late": (BYTES_ARE_LATE, "accepted", True),
    "slow": (NARROW_BAND, "accepted", True),
    "closed slowly": (CLOSED_SLOWLY, "accepted", True),
    "an answer of before, of which there is none": (Http.STALE_ANSWER, "accepted", True),
}
"""What happens to the purchase, the state that follows (PROOF 2.2), and whether the panel really bought."""

ASKING: dict[str, Armed] = {
    "P2 reset before it is passed on": Http.DROP_BEFORE_FORWARD,
    "P3 reset after it was answered": Http.DROP_AFTER_FORWARD,
    "P3 silence": Http.HANG_AFTER_FORWARD,
    "P4 500": Fault(Http.STATUS_AFTER_FORWARD, status=500),
    "P6 429": Fault(Http.STATUS_AFTER_FORWARD, status=429),
    "P8 a captive portal's page": Http.INJECT_HTML,
    "P9 a redirect to another host": OTHER_HOST,
    "P10 a small answer that unpacks to eight megabytes": Http.GZIP_BOMB,
    "P11 one wrong byte": ONE_WRONG_BYTE,
    "P13 cut in the middle": CUT,
    "P13 hung in the middle": CUT_AND_HUNG,
    "P21 the answer of the first time": Http.STALE_ANSWER,
    "asked twice by a gateway": Http.DUPLICATE_FORWARD,
    "one byte at a time": ONE_BYTE_AT_A_TIME,
}
"""What happens to the first questions about an order."""


@pytest.fixture
def proxy(simulator: SimulatorProcess) -> Iterator[FaultProxy]:
    """Between the hub and the simulated panel."""
    with FaultProxy(simulator.host, simulator.port) as between:
        yield between


def hasty_shop(proxy: FaultProxy) -> Shop:
    """A shop behind the proxy that waits a second for anything."""
    return make_shop(proxy.url, place_timeout_s=1, ask_timeout_s=1)


def dispatched(stage: Stage, proxy: FaultProxy, fault: Armed) -> Order:
    """An order whose one purchase met the fault; afterwards the line is good again."""
    order = stage.order(hasty_shop(proxy))
    proxy.arm(fault)
    assert services.try_auto_dispatch(order.pk).is_sent
    proxy.disarm()
    return order


def check_delivered(stage: Stage, order: Order) -> None:
    assert standing_of(order) == ("completed", "completed", "")
    assert [row["pins"] for row in stage.purchases(order)] == [pins_of(order)]
    assert sums_of(order) == {"hold": PRICE, "capture": PRICE, "cost": COST}
    check_invariants(stage)


class TestAPurchase:
    @pytest.mark.parametrize("name", list(PLACING))
    def test_through_a_bad_line_is_one_request_and_one_purchase(
        self, stage: Stage, proxy: FaultProxy, name: str
    ) -> None:
        """P1 to P13, C11b, C11c, C11d: what is not known is in doubt, is asked for, and is never bought again."""
        fault, state, was_bought = PLACING[name]
        order = dispatched(stage, proxy, fault)
        assert len(proxy.paths) == 1
        assert Attempt.objects.get(order=order).state == state
        assert len(stage.purchases()) == int(was_bought)
        place = Evidence.objects.get(order=order, verb="place")
        assert (place.outcome, place.send_no) == ("accepted" if state == "accepted" else "unknown", 1)
        stage.run_until_quiet()
        assert proxy.paths.count(PLACE) + proxy.paths.count("") == 1
        if was_bought:
            check_delivered(stage, order)
        else:
            assert standing_of(order) == ("review", "unknown", "waiting:in_doubt")
            assert sums_of(order) == {"hold": PRICE}
            assert stage.purchases() == []
            check_invariants(stage)

    def test_that_no_connection_carries_is_not_sent_and_goes_later(self, stage: Stage, proxy: FaultProxy) -> None:
        """P1: refused before any byte: proven not sent, sent again under the same reference."""
        shop = hasty_shop(proxy)
        order = stage.order(shop)
        stage.simulator.switch(down="refuse")
        direct = make_shop(stage.url)
        unsent = stage.order(direct)
        services.try_auto_dispatch(unsent.pk)
        stage.simulator.switch(down=None)
        assert Attempt.objects.get(order=unsent).state == "not_sent"
        stage.run_until_quiet()
        for one in (order, unsent):
            check_delivered(stage, one)
        assert proxy.paths.count(PLACE) == 1

    def test_whose_answer_is_swapped_with_anothers_is_bought_once_each(self, stage: Stage, proxy: FaultProxy) -> None:
        """P12: the answers of two purchases change places; each order still gets its own code."""
        shop = hasty_shop(proxy)
        orders = [stage.order(shop) for _ in range(2)]
        proxy.arm(Http.SWAP_ANSWERS, times=2)

        def dispatch(order: Order) -> None:
            try:
                services.try_auto_dispatch(order.pk)
            finally:
                connection.close()

        threads = [threading.Thread(target=dispatch, args=(order,)) for order in orders]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert proxy.paths.count(PLACE) == 2
        stage.run_until_quiet()
        for order in orders:
            check_delivered(stage, order)

    def test_is_not_sent_again_after_a_redirect(self, stage: Stage, proxy: FaultProxy) -> None:
        """P9, X3: the place a redirect names gets no request, so no credential either."""
        with FaultProxy(stage.simulator.host, stage.simulator.port) as elsewhere:
            proxy.arm(Fault(Http.REDIRECT_TO, url=f"{elsewhere.url}{PLACE}"))
            order = stage.order(hasty_shop(proxy))
            services.try_auto_dispatch(order.pk)
            assert (proxy.paths, elsewhere.paths) == ([PLACE], [])


class TestPlainBytes:
    """The same proxy in front of what is no HTTP for it: bytes both ways."""

    @pytest.fixture
    def wire(self, simulator: SimulatorProcess) -> Iterator[FaultProxy]:
        with FaultProxy(simulator.host, simulator.port, speaks_http=False) as between:
            yield between

    def test_are_carried_as_they_are(self, stage: Stage, wire: FaultProxy) -> None:
        order = stage.order(hasty_shop(wire))
        stage.run_until_quiet()
        check_delivered(stage, order)

    @pytest.mark.parametrize("fault", [CUT_BY_RESET, CUT, Hole.NEVER_ANSWER])
    def test_that_stop_leave_the_purchase_in_doubt(self, stage: Stage, wire: FaultProxy, fault: Armed) -> None:
        """P13, C11b: whatever was cut, nothing is bought again."""
        order = dispatched(stage, wire, fault)
        assert Attempt.objects.get(order=order).state == "in_doubt"
        stage.run_until_quiet()
        assert len(stage.truth("asked")) == len(stage.purchases()) == int(isinstance(fault, Line))
        if isinstance(fault, Line):
            check_delivered(stage, order)
        else:
            assert standing_of(order) == ("review", "unknown", "waiting:in_doubt")


class TestAQuestion:
    @pytest.mark.parametrize("name", list(ASKING))
    def test_through_a_bad_line_changes_nothing_until_it_is_answered(
        self, stage: Stage, proxy: FaultProxy, name: str
    ) -> None:
        """No information is no news: no refund, no second purchase, and the code when the line is good again."""
        order = stage.order(hasty_shop(proxy))
        proxy.arm(ASKING[name], match=ASK, times=3)
        services.try_auto_dispatch(order.pk)
        assert Attempt.objects.get(order=order).state == "accepted"
        for _ in range(3):
            stage.move(60)
            monitoring.sweep()
            assert standing_of(order)[0] in ("processing", "completed")
            assert "release" not in sums_of(order)
        stage.run_until_quiet()
        assert proxy.paths.count(PLACE) == 1
        check_delivered(stage, order)


class TestTheProxy:
    def test_keeps_every_fault_in_its_table(self) -> None:
        assert set(HTTP_FAULTS) == set(Http)

    def test_meets_a_purchase_with_each_of_its_faults(self) -> None:
        armed = [fault for fault, _, _ in PLACING.values()]
        kinds = {fault.kind if isinstance(fault, Fault) else fault for fault in armed if not isinstance(fault, Line)}
        assert kinds | {Http.SWAP_ANSWERS, Hole.RESET_ON_REQUEST} == {*Http, *Hole}
