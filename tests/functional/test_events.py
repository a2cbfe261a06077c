"""Events of orders on their way to customers, over real sockets: at least once, signed, and harmless to orders."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from pytest_django import Settings
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from apps.common import clock
from apps.common.guards import OpenTransaction
from apps.journal.loops import last_beats
from apps.journal.models import OutboxEvent
from apps.ops import facts
from apps.orders import machine
from apps.orders.models import Order, OrderCode, OrderEvent
from apps.orders.states import ExternalStatus, OrderStatus
from apps.webhooks import delivering, endpoints, kicks, publishing
from apps.webhooks.delivering import redeliver
from apps.webhooks.endpoints import EndpointRefused, TooManyEndpoints, Wish
from apps.webhooks.models import DeliveryTry, WebhookDelivery, WebhookEndpoint
from apps.webhooks.tasks import deliver_events
from tests.factories import at_checkpoint, check_invariants, make_customer, story_of
from tests.functional.core_fixtures import committed
from tests.functional.event_fixtures import PIN, Desk, Got, desk, got, outcomes, receiver, states
from tests.functional.ops_fixtures import run
from tests.unit.loopback import OK, Peer, hang, make_certificate, reply

__all__ = ["committed", "desk"]

pytestmark = pytest.mark.both_databases

BUSY = reply(b"not now", status=b"503 Busy")
LIFE = ["order.pending", "order.processing", "order.completed"]
"""What is told of an order that is sold from stock."""


Tls = tuple[ssl.SSLContext, str]


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Tls:
    """A self-made certificate for loopback, valid by the machine's clock, and the file to trust it by."""
    return make_certificate(tmp_path_factory.mktemp("tls"), "127.0.0.1")


def verified(secret: str, request: Got) -> dict[str, Any]:
    """What the request says, as the public library for receivers believes it."""
    told: dict[str, Any] = Webhook(secret).verify(request.body, request.headers)
    return told


def events_of(order: Order) -> list[tuple[str, int]]:
    """Kind and version of what lies in the outbox about an order."""
    rows = OutboxEvent.objects.filter(subject_kind="order", subject_id=order.pk).order_by("pk")
    return [(row.kind, row.body["version"]) for row in rows]


class TestAnEvent:
    def test_is_written_once_for_each_status_with_a_growing_version(self, desk: Desk) -> None:
        order = desk.sold()
        assert events_of(order) == list(zip(LIFE, (1, 2, 3), strict=True))
        assert order.version == 3
        check_invariants()

    def test_is_not_there_without_its_change(self, desk: Desk) -> None:
        def fail() -> None:
            raise RuntimeError("the process dies")

        at_checkpoint("create.before_commit", fail)
        with pytest.raises(RuntimeError):
            desk.order()
        assert (Order.objects.count(), OutboxEvent.objects.count()) == (0, 0)

    def test_says_where_the_order_stands_in_the_customers_words(self, desk: Desk) -> None:
        order = desk.order()
        with transaction.atomic():
            machine.change_order(order, OrderStatus.REVIEW, ExternalStatus.UNKNOWN, "waiting:in_doubt", clock.now())
            machine.announce(order, clock.now())
        event = OutboxEvent.objects.latest("pk")
        assert (event.kind, event.customer_id) == ("order.held", desk.shop.customer.pk)
        assert event.body == {
            "order_id": order.pk,
            "version": 2,
            "client_reference": None,
            "status": "processing",
            "external_status": "processing",
            "reason": "in_review",
            "held": True,
            "codes_available": 0,
        }

    def test_is_told_of_in_no_other_order_than_the_row_was_changed(self, desk: Desk) -> None:
        """A version is given once: who read the order before somebody else moved it writes nothing."""
        order = desk.order()
        stale = Order.objects.get(pk=order.pk)
        for status in (OrderStatus.PROCESSING, OrderStatus.PENDING):
            machine.change_order(order, status, ExternalStatus.NOT_SENT, "", clock.now())
        with pytest.raises(machine.Overtaken):
            machine.change_order(stale, OrderStatus.PROCESSING, ExternalStatus.SENDING, "", clock.now())
        assert Order.objects.get(pk=order.pk).version == 3


class TestHandingOn:
    def test_reaches_every_endpoint_that_wants_the_kind(self, desk: Desk) -> None:
        every, _ = desk.endpoint("http://127.0.0.1:9/all")
        ends, _ = desk.endpoint("http://127.0.0.1:9/ends", kinds=["order.completed", "order.rejected"])
        foreign, _ = desk.endpoint("http://127.0.0.1:9/foreign", make_customer(desk.shop.tenant))
        desk.sold()
        assert publishing.publish(clock.now()) == 3
        assert [kind for kind, _, _ in states(every)] == LIFE
        assert [kind for kind, _, _ in states(ends)] == ["order.completed"]
        assert states(foreign) == []
        assert publishing.publish(clock.now()) == 0

    def test_goes_on_where_a_crash_left_it(self, desk: Desk) -> None:
        endpoint, _ = desk.endpoint("http://127.0.0.1:9/")
        desk.order()

        with suppress(RuntimeError), transaction.atomic():
            publishing.publish(clock.now())
            raise RuntimeError("the process dies before its commit")
        assert states(endpoint) == []
        publishing.publish(clock.now())
        assert states(endpoint) == [("order.pending", "waiting", 0)]

    def test_leaves_out_what_happened_before_the_endpoint_was_there(self, desk: Desk) -> None:
        desk.order()
        desk.move(1)
        endpoint, _ = desk.endpoint("http://127.0.0.1:9/")
        publishing.publish(clock.now())
        assert states(endpoint) == []

    def test_takes_one_batch_after_the_other(self, desk: Desk) -> None:
        endpoint, _ = desk.endpoint("http://127.0.0.1:9/")
        desk.sold()
        assert [publishing.publish(clock.now(), batch=2) for _ in range(3)] == [2, 1, 0]
        assert len(states(endpoint)) == 3


class TestADelivery:
    def test_is_signed_so_that_the_public_library_believes_it(self, desk: Desk) -> None:
        with receiver() as server:
            endpoint, secret = desk.endpoint(server.url)
            order = desk.sold()
            assert desk.run().tries == 3
        requests = got(server)
        told = [verified(secret, request) for request in requests]
        assert [(one["type"], one["data"]["version"]) for one in told] == list(zip(LIFE, (1, 2, 3), strict=True))
        assert told[2]["data"] == {
            "order_id": order.pk,
            "version": 3,
            "client_reference": None,
            "status": "completed",
            "external_status": "completed",
            "reason": None,
            "held": False,
            "codes_available": 1,
        }
        assert told[2]["timestamp"] == clock.now().isoformat()
        assert len({request.headers["webhook-id"] for request in requests}) == 3
        assert requests[0].headers["content-type"] == "application/json"
        assert states(endpoint) == [(kind, "delivered", 1) for kind in LIFE]

    def test_is_not_believed_when_one_byte_was_changed(self, desk: Desk) -> None:
        with receiver() as server:
            _, secret = desk.endpoint(server.url)
            desk.order()
            desk.run()
        (request,) = got(server)
        with pytest.raises(WebhookVerificationError):
            verified(secret, Got(request.headers, request.body.replace(b"pending", b"Pending")))

    def test_whose_first_try_fails_comes_again_under_its_name(self, desk: Desk) -> None:
        with receiver(BUSY, OK) as server:
            endpoint, secret = desk.endpoint(server.url)
            desk.order()
            desk.run()
            assert states(endpoint) == [("order.pending", "waiting", 1)]
            assert WebhookDelivery.objects.get().next_at == clock.now() + timedelta(seconds=5)
            desk.move(4.9)
            assert desk.run().tries == 0
            desk.move(0.1)
            assert desk.run().tries == 1
        first, second = got(server)
        assert verified(secret, second) == json.loads(first.body)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert int(second.headers["webhook-timestamp"]) - int(first.headers["webhook-timestamp"]) == 5
        assert outcomes(endpoint) == [("status", 503), ("taken", 200)]
        assert DeliveryTry.objects.earliest("pk").excerpt == "not now"
        assert (WebhookEndpoint.objects.get().failures, WebhookEndpoint.objects.get().failing_since) == (0, None)

    def test_to_a_slow_receiver_is_given_up_and_tried_again(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(delivering, "TIMEOUT_S", 0.2)
        with receiver(play=hang) as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            desk.run()
        assert outcomes(endpoint) == [("timeout", None)]
        assert states(endpoint) == [("order.pending", "waiting", 1)]

    def test_to_a_slow_receiver_holds_up_no_other(self, desk: Desk) -> None:
        """The slow one answers only after the other has got its event: one after the other would never end well."""
        other_got_it = threading.Event()

        def wait_for_the_other(peer: Peer) -> None:
            peer.read_request()
            if other_got_it.wait(5):
                peer.send(OK)

        def take(peer: Peer) -> None:
            peer.read_request()
            other_got_it.set()
            peer.send(OK)

        with receiver(play=wait_for_the_other) as slow, receiver(play=take) as fast:
            first, _ = desk.endpoint(slow.url)
            second, _ = desk.endpoint(fast.url)
            desk.order()
            assert desk.run(senders=2).tries == 2
        assert outcomes(first) == outcomes(second) == [("taken", 200)]

    def test_does_not_follow_a_redirect(self, desk: Desk) -> None:
        with receiver() as elsewhere:
            moved = reply(b"", b"Location: " + elsewhere.url.encode(), status=b"307 Moved")
            with receiver(moved) as server:
                endpoint, _ = desk.endpoint(server.url)
                desk.order()
                desk.run()
            elsewhere.settle()
            assert elsewhere.received == b""
        assert outcomes(endpoint) == [("redirect", 307)]
        assert states(endpoint) == [("order.pending", "waiting", 1)]

    def test_goes_to_no_private_address(self, desk: Desk, settings: Settings) -> None:
        with receiver() as server:
            endpoint, _ = desk.endpoint(server.url.replace("http:", "https:"))
            desk.order()
            settings.EVENTS_TO_LOCAL = False
            desk.run()
            server.settle()
            assert [bytes(peer.received) for peer in server.peers] == []
        assert outcomes(endpoint) == [("forbidden", None)]

    def test_goes_to_no_name_that_has_become_a_private_address(
        self, desk: Desk, settings: Settings, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings.EVENTS_TO_LOCAL = False
        endpoint, _ = desk.endpoint("https://hooks.example.com/in")
        found = (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("10.0.0.7", 443))
        monkeypatch.setattr("apps.common.egress.socket.getaddrinfo", lambda *args, **kwargs: [found])
        desk.order()
        desk.run()
        assert outcomes(endpoint) == [("forbidden", None)]

    def test_needs_a_certificate_that_is_accepted(self, desk: Desk, tls: Tls) -> None:
        context, ca_file = tls
        with receiver(tls=context) as server:
            endpoint, secret = desk.endpoint(server.url.replace("http:", "https:"))
            desk.order()
            desk.run()
            assert outcomes(endpoint) == [("tls", None)]
            assert DeliveryTry.objects.get().detail == "the certificate is self-signed"
            assert got(server) == []
            desk.move(5)
            desk.run(ca_file=ca_file)
        assert outcomes(endpoint) == [("tls", None), ("taken", 200)]
        assert verified(secret, got(server)[0])["type"] == "order.pending"

    def test_under_way_while_the_secret_is_changed_is_believed_with_both(self, desk: Desk) -> None:
        with receiver(BUSY, OK, OK) as server:
            endpoint, old = desk.endpoint(server.url)
            desk.order()
            desk.run()
            new = endpoints.rotate_secret(endpoint, clock.now()).secret
            desk.move(5)
            desk.run()
            retried = got(server)[1]
            assert verified(old, retried) == verified(new, retried)
            assert retried.headers["webhook-signature"].count("v1,") == 2
            desk.move(24 * 3600)
            desk.order()
            desk.run()
            last = got(server)[2]
            assert verified(new, last)["type"] == "order.pending"
            with pytest.raises(WebhookVerificationError):
                verified(old, last)
        stored = WebhookEndpoint.objects.get()
        assert old not in stored.sealed_secret + stored.sealed_old_secret
        assert new not in stored.sealed_secret + stored.sealed_old_secret

    def test_that_a_dead_process_began_is_made_by_another(self, desk: Desk) -> None:
        with receiver() as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            publishing.publish(clock.now())
            claimed = delivering.claim_endpoint(clock.now())
            assert claimed == endpoint
            delivery = delivering.claim_delivery(endpoint, clock.now())
            assert delivery is not None
            delivering.send(delivery, clock.now(), None)
            assert desk.run().tries == 0
            desk.move(60)
            assert desk.run().tries == 1
            first, second = got(server)
        assert first.headers["webhook-id"] == second.headers["webhook-id"]
        assert states(endpoint) == [("order.pending", "delivered", 2)]

    def test_is_made_once_by_many_runs_at_once(self, desk: Desk) -> None:
        with receiver() as server:
            endpoint, _ = desk.endpoint(server.url)
            for _ in range(4):
                desk.order()
            publishing.publish(clock.now())

            def work() -> None:
                try:
                    desk.run()
                finally:
                    connection.close()

            threads = [threading.Thread(target=work) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join(30)
            desk.run()
        assert len(got(server)) == 4
        assert states(endpoint) == [("order.pending", "delivered", 1)] * 4

    def test_is_never_sent_inside_a_transaction(self, desk: Desk) -> None:
        with transaction.atomic(), pytest.raises(OpenTransaction):
            desk.run()

    def test_that_one_event_spoils_holds_up_no_other_for_long(self, desk: Desk) -> None:
        with receiver(BUSY, OK) as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            desk.order()
            assert desk.run().tries == 1
            desk.move(5)
            assert desk.run().tries == 2
        assert outcomes(endpoint) == [("status", 503), ("taken", 200), ("taken", 200)]


class TestAnOrder:
    def test_is_what_it_is_whatever_becomes_of_its_events(self, desk: Desk) -> None:
        endpoint, _ = desk.endpoint("http://127.0.0.1:9/")
        order = desk.sold()
        desk.run()
        assert outcomes(endpoint) == [("unreachable", None)]
        assert Order.objects.get().status == "completed"
        assert story_of(order) == story_of(Order.objects.get())
        check_invariants()

    def test_is_committed_when_nobody_can_be_woken_up(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        desk.endpoint("http://127.0.0.1:9/")
        monkeypatch.setattr("apps.webhooks.kicks.publish", lambda *args, **kwargs: 1 / 0)
        assert desk.order().status == "pending"
        assert OutboxEvent.objects.count() == 1


class TestWakingUp:
    def test_takes_one_message_for_what_happens_together(self, desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(kicks, "TOGETHER_S", 60.0)
        desk.endpoint("http://127.0.0.1:9/")
        desk.sold()
        assert desk.messages == [(kicks.TASK, 60.0)]
        monkeypatch.setattr(kicks, "_quiet_until", 0.0)
        desk.order()
        assert len(desk.messages) == 2

    def test_is_nobodys_business_without_an_endpoint(self, desk: Desk) -> None:
        desk.endpoint("http://127.0.0.1:9/", make_customer(desk.shop.tenant))
        desk.order()
        assert desk.messages == []

    def test_is_not_needed(self, desk: Desk) -> None:
        with receiver() as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            desk.messages.clear()
            deliver_events()
        assert states(endpoint) == [("order.pending", "delivered", 1)]


class TestAnEndpointThatTakesNothing:
    def test_gets_twelve_tries_in_three_days_and_is_paused(self, desk: Desk) -> None:
        with receiver(BUSY) as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            began = clock.now()
            publishing.publish(began)
            while (delivery := WebhookDelivery.objects.get()).state == "waiting":
                desk.move((delivery.next_at - clock.now()).total_seconds())
                assert desk.run().tries == 1
        assert len(got(server)) == 12
        assert states(endpoint) == [("order.pending", "dead", 12)]
        assert 71 * 3600 < (clock.now() - began).total_seconds() < 73 * 3600

    def test_is_paused_after_three_days_and_collects_what_happens(self, desk: Desk) -> None:
        with receiver(BUSY, BUSY, OK) as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            desk.run()
            desk.move(3 * 24 * 3600)
            desk.run()
            endpoint.refresh_from_db()
            assert (endpoint.pause, endpoint.paused_at) == ("failing", clock.now())
            desk.order()
            desk.move(24 * 3600)
            assert desk.run().tries == 0
            assert [state for _, state, _ in states(endpoint)] == ["waiting", "waiting"]
            endpoints.resume(endpoint)
            assert desk.run().tries == 2
        assert [state for _, state, _ in states(endpoint)] == ["delivered", "delivered"]

    def test_is_paused_at_once_when_it_says_that_it_is_gone(self, desk: Desk) -> None:
        with receiver(reply(b"", status=b"410 Gone")) as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            desk.run()
        endpoint.refresh_from_db()
        assert (outcomes(endpoint), endpoint.pause) == ([("gone", 410)], "gone")

    def test_is_left_alone_as_long_as_it_asks(self, desk: Desk) -> None:
        with receiver(reply(b"", b"Retry-After: 90", status=b"429 Slow"), OK) as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            desk.order()
            desk.run()
            desk.move(89)
            assert desk.run().tries == 0
            desk.move(1)
            assert desk.run().tries == 2
        assert [state for _, state, _ in states(endpoint)] == ["delivered", "delivered"]

    def test_by_hand_is_sent_nothing(self, desk: Desk) -> None:
        with receiver() as server:
            endpoint, _ = desk.endpoint(server.url)
            endpoints.pause(endpoint, WebhookEndpoint.Pause.BY_HAND, clock.now())
            desk.order()
            assert desk.run().tries == 0
            endpoints.resume(endpoint)
            assert desk.run().tries == 1
        assert len(got(server)) == 1

    def test_and_was_deleted_gets_nothing_more(self, desk: Desk) -> None:
        with receiver(BUSY) as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            desk.run()
            endpoints.delete(endpoint, clock.now())
            desk.order()
            desk.move(3600)
            assert desk.run().tries == 0
        assert states(endpoint) == [("order.pending", "dead", 1)]
        assert endpoints.live_endpoints(desk.shop.customer) == []


class TestADeadLetter:
    def test_is_sent_again_from_the_beginning_of_the_ladder(self, desk: Desk) -> None:
        with receiver(BUSY, BUSY, OK) as server:
            endpoint, _ = desk.endpoint(server.url)
            desk.order()
            publishing.publish(clock.now())
            WebhookDelivery.objects.update(tries=11)
            desk.run()
            dead = WebhookDelivery.objects.get()
            assert (dead.state, dead.ended_at) == ("dead", clock.now())
            desk.move(60)
            assert desk.run().tries == 0
            redeliver(dead, clock.now())
            desk.run()
            assert states(endpoint) == [("order.pending", "waiting", 1)]
            desk.move(10)
            desk.run()
        assert states(endpoint) == [("order.pending", "delivered", 2)]
        assert len({request.headers["webhook-id"] for request in got(server)}) == 1
        assert desk.messages[-1] == (kicks.TASK, kicks.TOGETHER_S)


class TestACode:
    def test_is_in_no_event_that_did_not_ask_for_it(self, desk: Desk, tls: Tls) -> None:
        context, ca_file = tls
        with receiver(tls=context) as server:
            desk.endpoint(server.url.replace("http:", "https:"))
            order = desk.sold()
            desk.run(ca_file=ca_file)
        assert len(got(server)) == 3
        assert PIN.encode() not in server.received
        assert "codes_revealed" not in story_of(order)

    def test_goes_over_https_to_who_asked_and_the_story_says_so_once(self, desk: Desk, tls: Tls) -> None:
        context, ca_file = tls
        echo = reply(b"thanks for CANARY-7F3Q-PIN-0")
        with receiver(OK, OK, reply(b"CANARY-7F3Q-PIN-0?", status=b"500 Oops"), echo, tls=context) as server:
            endpoint, secret = desk.endpoint(server.url.replace("http:", "https:"), with_codes=True)
            order = desk.sold()
            desk.run(ca_file=ca_file)
            desk.move(5)
            desk.run(ca_file=ca_file)
        told = [verified(secret, request)["data"].get("codes") for request in got(server)[:3]]
        shown = [{"value": f"{PIN}-0", "serial": "", "pin": "", "url": "", "expires": ""}]
        assert told == [None, None, shown]
        seen = OrderEvent.objects.get(order=order, kind="codes_revealed")
        assert (seen.cause, seen.actor, seen.data) == ("event", f"endpoint {endpoint.pk}", {"codes": 1})
        assert states(endpoint)[2] == ("order.completed", "delivered", 2)
        assert list(DeliveryTry.objects.order_by("pk").values_list("excerpt", flat=True)) == [""] * 4

    def test_is_written_into_the_story_for_each_endpoint_that_got_it(self, desk: Desk, tls: Tls) -> None:
        context, ca_file = tls
        with receiver(tls=context) as server:
            url = server.url.replace("http:", "https:")
            wanted = [desk.endpoint(url, with_codes=True, kinds=["order.completed"])[0] for _ in range(2)]
            order = desk.sold()
            desk.run(ca_file=ca_file)
        seen = OrderEvent.objects.filter(order=order, kind="codes_revealed").values_list("actor", flat=True)
        assert sorted(seen) == sorted(f"endpoint {one.pk}" for one in wanted)

    def test_is_in_clear_in_no_table_and_in_no_line_of_the_log(
        self, desk: Desk, tls: Tls, caplog: pytest.LogCaptureFixture
    ) -> None:
        context, ca_file = tls
        with receiver(reply(f"{PIN}-0".encode()), tls=context) as server:
            desk.endpoint(server.url.replace("http:", "https:"), with_codes=True)
            desk.sold()
            desk.run(ca_file=ca_file)
            assert PIN.encode() in server.received
        rows = [OutboxEvent.objects.values(), WebhookDelivery.objects.values(), DeliveryTry.objects.values()]
        assert PIN not in str([list(row) for row in rows])
        assert PIN not in caplog.text

    def test_in_quarantine_or_of_an_order_that_was_given_back_is_never_sent(self, desk: Desk, tls: Tls) -> None:
        context, ca_file = tls
        with receiver(tls=context) as server:
            desk.endpoint(server.url.replace("http:", "https:"), with_codes=True, kinds=["order.completed"])
            OrderCode.objects.filter(order=desk.sold()).update(is_quarantined=True)
            Order.objects.filter(pk=desk.sold().pk).update(status="refunded")
            desk.run(ca_file=ca_file)
        assert [request.told()["type"] for request in got(server)] == ["order.completed"] * 2
        assert PIN.encode() not in server.received

    def test_is_refused_to_an_address_without_https(self, desk: Desk) -> None:
        with pytest.raises(EndpointRefused) as refused:
            desk.endpoint("http://127.0.0.1:9/", with_codes=True)
        assert refused.value.name == "with_codes"


class TestAnEndpoint:
    @pytest.mark.parametrize(
        "url",
        [
            "http://hooks.example.com/",
            "https://127.0.0.1/",
            "https://10.1.2.3/",
            "https://[::1]/",
            "https://internal/",
            "https://a:b@hooks.example.com/",
            "https://hooks.example.com:22/",
            "ftp://hooks.example.com/",
            "x",
            "https://hooks.example.com/" + "a" * 500,
        ],
    )
    def test_is_refused_where_nothing_may_be_sent(self, desk: Desk, settings: Settings, url: str) -> None:
        settings.EVENTS_TO_LOCAL = False
        with pytest.raises(EndpointRefused) as refused:
            desk.endpoint(url)
        assert (refused.value.name, WebhookEndpoint.objects.count()) == ("url", 0)

    def test_is_refused_for_a_kind_that_nobody_sends(self, desk: Desk) -> None:
        with pytest.raises(EndpointRefused) as refused:
            desk.endpoint("http://127.0.0.1:9/", kinds=["order.review"])
        assert refused.value.name == "kinds"

    def test_is_one_of_ten(self, desk: Desk) -> None:
        first, _ = desk.endpoint("http://127.0.0.1:9/")
        for _ in range(endpoints.MOST - 1):
            desk.endpoint("http://127.0.0.1:9/")
        with pytest.raises(TooManyEndpoints):
            desk.endpoint("http://127.0.0.1:9/")
        endpoints.delete(first, clock.now())
        desk.endpoint("http://127.0.0.1:9/")

    def test_changes_as_a_whole(self, desk: Desk) -> None:
        endpoint, _ = desk.endpoint("http://127.0.0.1:9/")
        endpoints.change(endpoint, Wish("https://127.0.0.1:9/", "two", ["order.held"], with_codes=True))
        told = (endpoint.url, endpoint.description, endpoint.kinds, endpoint.with_codes)
        assert told == ("https://127.0.0.1:9/", "two", ["order.held"], True)

    def test_can_be_tried_with_an_event_of_its_own(self, desk: Desk) -> None:
        with receiver() as server:
            endpoint, secret = desk.endpoint(server.url, kinds=["order.completed"])
            other, _ = desk.endpoint(server.url)
            publishing.send_test(endpoint, clock.now())
            desk.run()
        (request,) = got(server)
        told = verified(secret, request)
        assert (told["type"], told["data"]) == ("endpoint.test", {"endpoint_id": endpoint.pk})
        assert states(other) == []


class TestTheWatch:
    def test_counts_what_is_late_and_not_what_waits_for_a_failing_endpoint(self, desk: Desk) -> None:
        with receiver(BUSY) as server:
            desk.endpoint(server.url)
            desk.order()
            assert facts.late_events(desk.move(30)) == facts.Waiting(1, 30.0)
            publishing.publish(clock.now())
            assert facts.late_events(desk.move(10)) == facts.Waiting(1, 10.0)
            desk.run()
        assert facts.late_events(desk.move(3600)) == facts.NOBODY

    def test_tells_of_an_endpoint_that_the_hub_has_paused_until_it_is_served_again(self, desk: Desk) -> None:
        endpoint, _ = desk.endpoint("http://127.0.0.1:9/")
        endpoints.pause(endpoint, WebhookEndpoint.Pause.BY_HAND, clock.now())
        assert facts.paused_endpoints() == ()
        endpoints.resume(endpoint)
        endpoints.pause(endpoint, WebhookEndpoint.Pause.GONE, clock.now())
        customer = desk.shop.customer
        assert facts.paused_endpoints() == (facts.EndpointFacts(endpoint.pk, customer.tenant_id, customer.pk),)
        endpoints.delete(endpoint, clock.now())
        assert facts.paused_endpoints() == ()

    def test_hears_the_loop(self, desk: Desk) -> None:
        assert run("deliver_events") == "handed on: 0, tries: 0\n"
        assert last_beats()["events"] == clock.now()
