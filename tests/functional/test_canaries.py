"""Canaries: one day of the hub with secrets unlike anything else, and a search for them wherever they may leak.

Looked through are every line of the log at its most talkative, in the form in which it is written; every exception that
was logged; every answer of every door; every message to the broker and what tasks returned; and each value of each
table, in clear, in Base64 and in hexadecimal digits. Only the answers that are meant to tell a secret do.
"""

from __future__ import annotations

import base64
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pyotp
import pytest
import structlog
from celery import Task
from django.contrib.admin.models import LogEntry
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from apps.accounts import second_factor
from apps.accounts.keys import demand_signatures, issue_key
from apps.accounts.models import Scope, User, every_scope
from apps.common import checkpoints, clock, kept
from apps.common.logs import get_logger, logging_config
from apps.orders import tasks as order_tasks
from apps.orders.models import Evidence, Order, OrderEvent
from apps.orders.sandbox import issue_test_key
from apps.providers.models import Integration
from apps.simulator.client import SimulatorProcess
from apps.webhooks import addresses, delivering, endpoints
from apps.webhooks import tasks as webhook_tasks
from tests.factories import (
    Shop,
    Stage,
    make_shop,
    make_stock_shop,
    new_player,
    order_from,
    standing_of,
)
from tests.functional.core_fixtures import committed, stage
from tests.functional.event_fixtures import got, receiver
from tests.functional.panel_fixtures import english
from tests.functional.test_admin import path_of, save
from tests.functional.test_events import Tls, tls
from tests.functional.test_webhooks import hooked_shop
from tests.unit.loopback import OK, closed_port, hang, reply
from tests.unit.loopback import Server as Peers

__all__ = ["committed", "english", "stage", "tls"]

PLANTED = {
    "bought code": "CNRY-01-BOUGHT-7F3Q",
    "code of the stock": "CNRY-02-STOCK-8G4R",
    "code of a bad file": "CNRY-03-FILE-9H5S",
    "provider's password": "CNRY-04-PANEL-1J6T",
    "changed provider's password": "CNRY-05-NEWPANEL-2K7U",
    "secret of a provider's webhooks": "CNRY-06-HOOKS-3L8V",
    "person's password": "CNRY-07-person-4m9w",
    "mistyped password": "CNRY-08-WRONG-5N1X",
    "somebody's wrong key": "CNRY-09-KEY-6P2Y",
}
"""What is put in; what the hub makes itself is added while the day goes on."""


class Ears(logging.Handler):
    """Hears every line as it is written, and the words of every exception behind one."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        form = dict(logging_config("json", "DEBUG")["formatters"]["structured"])  # type: ignore[index]  # plain objects
        del form["()"]
        self.setFormatter(structlog.stdlib.ProcessorFormatter(**form))
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        while error is not None:
            self.lines += [str(error), repr(error)]
            error = error.__cause__ or error.__context__
        self.lines.append(self.format(record))


@dataclass
class Recorder(Client):
    """A browser or a machine whose every answer is kept with its address."""

    said: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(raise_request_exception=False)

    def request(self, **request: Any) -> Any:
        response = super().request(**request)
        assert isinstance(response, HttpResponse)
        self.said.append((request["PATH_INFO"], response.content.decode() + str(response.headers)))
        return response


@dataclass
class Day:
    """Everybody who does something, and what they know that nobody else may."""

    stage: Stage
    ears: Ears
    client: Recorder = field(default_factory=Recorder)
    secrets: dict[str, str] = field(default_factory=lambda: dict(PLANTED))
    told: list[str] = field(default_factory=list)

    # --- machines

    def buyer(self, shop: Shop) -> dict[str, str]:
        """The headers of a machine of the shop's customer, with a key that may do everything."""
        name = f"key {len(self.secrets)}"
        full = issue_key(shop.customer, clock.now(), scopes=[*every_scope(), Scope.WEBHOOKS])[1]
        self.secrets[name] = full.partition(".")[2]
        return {"authorization": f"Bearer {full}", "api-token": full}

    def buy(self, shop: Shop, headers: dict[str, str], player: str) -> Order:
        """An order over REST, with everything that can be asked about it."""
        body = {"package": shop.package.code, "fields": {"player_id": player}}
        made = self.client.post(
            "/api/v1/orders", body, "application/json", headers={**headers, "idempotency-key": player}
        )
        order = Order.objects.get(pk=made.json()["id"])
        for path in ("", "/events", "/notes"):
            self.client.get(f"/api/v1/orders/{order.pk}{path}", headers=headers)
        return order

    def ask_wrongly(self, shop: Shop, headers: dict[str, str]) -> None:
        """Every kind of problem, also with secrets where none belongs, and with a hub that breaks down."""
        key, wrong = headers["api-token"], PLANTED["somebody's wrong key"]
        post = "/api/v1/orders"
        for more in ({}, {"idempotency-key": "k"}, {"authorization": f"Bearer hub_00.{wrong}"}):
            for body in ("{", '{"package": "nothing"}', "[1]"):
                self.client.post(post, body, "application/json", headers={**headers, **more})
        for path in (
            f"/api/v1/nothing?key={wrong}",
            f"/api/v1/orders?api_key={wrong}&token={key}",
            f"/nothing?pin={wrong}",
        ):
            self.client.get(path, headers=headers)
        for sifre in (key, wrong):
            login = {"kod": key.partition(".")[0], "sifre": sifre}
            for name in ("bakiye_kontrol", "pin_listesi", "pin_ekle"):
                self.client.get(f"/servis/{name}.php", login)
            self.client.post("/api/v2", {"key": sifre, "action": "nothing"})
            self.client.get("/client/api/profile", headers={"api-token": sifre})
            self.client.get(
                f"/client/api/newOrder/{shop.package.pk}/params", {"qty": "x"}, headers={"api-token": sifre}
            )
        self.break_down(shop, headers)

    def break_down(self, shop: Shop, headers: dict[str, str]) -> None:
        """A 500 at every door, behind a commit."""
        checkpoints.set_hook(_fail)
        order = {"package": shop.package.code, "fields": {"player_id": new_player()}}
        self.client.post(
            "/api/v1/orders", order, "application/json", headers={**headers, "idempotency-key": new_player()}
        )
        key = headers["api-token"]
        params: dict[str, Any] = {
            "kod": key.partition(".")[0],
            "sifre": key,
            "oyun": shop.package.product_id,
            "kupur": shop.package.pk,
        }
        place = {**params, "referans": "9001", "oyuncu_bilgi": new_player(), "musteri_tel": "1"}
        self.client.get("/servis/pin_ekle.php", place)
        params = {"qty": "1", "order_uuid": "6f1c2b3a-4d5e-4f60-8a7b-9c0d1e2f3a4b", "player_id": new_player()}
        self.client.get(f"/client/api/newOrder/{shop.package.pk}/params", params, headers=headers)
        checkpoints.set_hook(None)

    # --- people

    def work_at_the_panel(self, shop: Shop, stock: Shop, order: Order) -> None:
        """Sign in, look at everything about an order, change an account, put codes on a shelf."""
        User.objects.create_superuser("root", password=PLANTED["person's password"])
        for typed in ("mistyped password", "person's password"):
            self.client.post(reverse("panel:login"), {"username": "root", "password": PLANTED[typed]})
        for name in ("orders", "audit", "webhooks", "members", "account", "stock"):
            assert self.client.get(reverse(f"panel:{name}")).status_code == 200
        self.client.get(reverse("panel:order", args=[order.pk]))
        self.client.get(reverse("panel:provider", args=[shop.integration.pk]))
        for evidence in Evidence.objects.filter(order=order):
            self.client.post(reverse("panel:reply", args=[order.pk, evidence.pk]), {"reason": "what was said"})
        path = path_of(Integration, "change", shop.integration.pk)
        assert save(self.client, path, secret_sifre=PLANTED["changed provider's password"]).status_code == 302
        save(self.client, path, secret_sifre=PLANTED["mistyped password"], options="{")
        self.client.get(path_of(Integration, "history", shop.integration.pk))
        self.put_codes(stock, f"code,cost\n{PLANTED['code of a bad file']},nothing\n")
        self.put_codes(stock, f"code,cost\n{PLANTED['code of the stock']},30.00\n")

    def put_codes(self, stock: Shop, content: str) -> None:
        """A file of codes through the page."""
        file = SimpleUploadedFile("codes.csv", content.encode())
        typed = {"account": stock.integration.pk, "shelf": "uc-60", "batch": "march", "file": file, "store": ""}
        self.client.post(reverse("panel:stock_import"), typed)

    def make_second_factor(self) -> None:
        """The person's app and recovery codes."""
        root = User.objects.get(username="root")
        secret = second_factor.begin(root, clock.now())
        codes = second_factor.turn_on(root, pyotp.TOTP(secret).at(clock.now()), clock.now())
        self.secrets |= {"second factor": secret, "recovery code": codes[0]}

    # --- the hub itself

    def run_task(self, task: Task[Any, Any], *args: object) -> None:
        """A task as a worker runs it; what it was called with and what it returned is kept."""
        done = task.apply(args=args)
        self.told.append(f"{args} {done.result} {done.traceback}")

    def run_hub(self) -> None:
        """The tasks of every order, and the sweep."""
        for order in Order.objects.order_by("pk"):
            self.run_task(order_tasks.dispatch_order, order.pk, order.tenant_id)
            self.run_task(order_tasks.check_order_status, order.pk, order.tenant_id)
        self.run_task(order_tasks.check_pending_orders_batch)

    def send_events(self, stock: Shop, tls: Tls) -> None:
        """Two endpoints, one of which gets codes and repeats them in what it answers; both fail at first."""
        context, ca_file = tls
        echo = reply(f"thanks for {PLANTED['code of the stock']}".encode())
        with receiver(reply(b"", status=b"500 Oops"), echo, tls=context) as codes, receiver(OK) as plain:
            for server, wants_codes in ((codes, True), (plain, False)):
                url = server.url.replace("http:", "https:") if wants_codes else server.url
                wish = endpoints.Wish(url, with_codes=wants_codes)
                endpoint, secret = endpoints.create(stock.customer, wish, clock.now())
                again = endpoints.rotate_secret(endpoint, clock.now()).secret
                self.secrets |= {f"secret {endpoint.pk}": secret[6:], f"new secret {endpoint.pk}": again[6:]}
            order = order_from(stock)
            self.run_task(order_tasks.dispatch_order, order.pk, order.tenant_id)
            for _ in range(4):
                self.told.append(str(delivering.run(clock.now, senders=1, ca_file=ca_file)))
                self.stage.move(60)
            self.run_task(webhook_tasks.deliver_events)
            assert PLANTED["code of the stock"].encode() in codes.received
            assert PLANTED["code of the stock"].encode() not in plain.received
            assert len(got(plain)) == 3

    def take_webhooks(self, shop: Shop) -> None:
        """What providers post, right, forged, and to an address that is nobody's."""
        account = shop.integration
        self.secrets["address of webhooks"] = addresses.token_of(account).partition("-")[2]
        account.set_secrets({**account.account().secrets, "webhook_secret": PLANTED["secret of a provider's webhooks"]})
        account.save()
        for body in (b'{"data": {"ref_id": "1", "rc": "00"}}', b"{"):
            self.client.post(
                addresses.path_of(account), body, "application/json", headers={"x-hub-signature": "sha1=00"}
            )
        self.run_task(webhook_tasks.follow_provider_webhooks)

    # --- the search

    def hits(self) -> set[tuple[str, str]]:
        """Each secret that was found, and where."""
        lines = [("the log", line) for line in self.ears.lines]
        messages = [("a task", text) for text in (*self.told, str(self.stage.messages))]
        places = [*lines, *messages, *self.client.said, *dump()]
        return {(name, place) for place, text in places for name, secret in self.secrets.items() if is_in(secret, text)}


def _fail(reached: str) -> None:
    if reached == "create.after_commit":
        raise RuntimeError("the database is away")


def is_in(secret: str, text: str) -> bool:
    """Whether the text tells the secret, in clear or in a spelling that hides nothing."""
    raw = secret.encode()
    return any(each in text for each in (secret, raw.hex(), base64.b64encode(raw).decode().rstrip("=")))


def dump() -> Iterator[tuple[str, str]]:
    """Every row of every table."""
    with connection.cursor() as cursor:
        for table in connection.introspection.table_names(cursor):
            cursor.execute(f'SELECT * FROM "{table}"')  # noqa: S608 - the database's own names
            for row in cursor.fetchall():
                yield table, " ".join(map(as_text, row))


def as_text(value: object) -> str:
    """A value of the database."""
    return bytes(value).decode("latin-1") if isinstance(value, memoryview | bytes) else str(value)


@pytest.fixture(scope="module")
def simulator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SimulatorProcess]:
    """A panel with a password of its own."""
    place = tmp_path_factory.mktemp("truth") / "truth.jsonl"
    with SimulatorProcess(place, login="demo", password=PLANTED["provider's password"]) as process:
        yield process


@pytest.fixture
def day(stage: Stage, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Day]:
    """A hub that talks as much as it can, to somebody who listens."""
    settings.EVENTS_TO_LOCAL = True
    kept.forget_all()
    monkeypatch.setattr(
        "apps.webhooks.kicks.publish", lambda *args, **kwargs: stage.messages.append((str(args), [], 0))
    )
    ears = Ears()
    names = ("", "apps", "celery", "kombu", "django", "django.request", "django_structlog", "urllib3", "asyncio")
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.DEBUG)
    loggers[0].addHandler(ears)
    try:
        yield Day(stage, ears)
    finally:
        loggers[0].removeHandler(ears)
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        kept.forget_all()


FATES: tuple[dict[str, Any], ...] = (
    {},
    {"place": "accept_then_500"},
    {"place": "refuse", "refuse_class": "balance"},
    {"place": "refuse", "refuse_class": "auth"},
    {"final": "cancelled"},
)
"""What becomes of the purchases at the panel that works."""


@pytest.mark.slow
@pytest.mark.both_databases
class TestOneDay:
    def test_tells_its_secrets_to_nobody_who_has_not_asked_for_them(self, day: Day, tls: Tls) -> None:
        shop, stock = make_shop(day.stage.url), make_stock_shop()
        shop.integration.set_secrets({"sifre": PLANTED["provider's password"]})
        shop.integration.save()
        headers = day.buyer(shop)
        order = self.buy_everything(day, shop, headers)
        self.buy_where_nobody_answers(day)
        day.ask_wrongly(shop, headers)
        day.work_at_the_panel(shop, stock, order)
        day.send_events(stock, tls)
        day.take_webhooks(hooked_shop(day.stage, "digiflazz"))
        day.make_second_factor()
        day.run_hub()
        self.refuse_a_test_key(day, shop)
        day.secrets["signing secret"] = demand_signatures(shop.customer.api_keys.get())
        assert LogEntry.objects.exists()
        assert day.hits() == set()
        assert self.ask_for_the_code(day, shop, order) == {
            ("bought code", f"/api/v1/orders/{order.pk}/codes/reveal"),
            ("bought code", "/servis/pin_kontrol.php"),
            ("bought code", f"/orders/{order.pk}/codes/"),
        }

    def buy_everything(self, day: Day, shop: Shop, headers: dict[str, str]) -> Order:
        """One order for each fate; that of the first is delivered with the code."""
        orders = []
        for fate in FATES:
            player = new_player()
            day.stage.simulator.set_fate(recipient=player, pin=PLANTED["bought code"], **fate)
            orders.append(day.buy(shop, headers, player))
            day.run_task(order_tasks.dispatch_order, orders[-1].pk, shop.tenant.pk)
        day.stage.run_until_quiet()
        assert standing_of(orders[0]) == ("completed", "completed", "")
        return orders[0]

    def buy_where_nobody_answers(self, day: Day) -> None:
        """At a closed port, at one that hangs, and at one that answers with its own request."""
        with Peers(hang) as silent, receiver(reply(b"<html>&sifre=", status=b"500 Oops")) as broken:
            for url in (f"http://127.0.0.1:{closed_port()}", silent.url, broken.url):
                shop = make_shop(url, place_timeout_s=0.2, ask_timeout_s=0.2)
                shop.integration.set_secrets({"sifre": PLANTED["provider's password"]})
                shop.integration.save()
                order = order_from(shop)
                day.run_task(order_tasks.dispatch_order, order.pk, shop.tenant.pk)
                day.stage.move(120)
                day.run_task(order_tasks.check_order_status, order.pk, shop.tenant.pk)

    def refuse_a_test_key(self, day: Day, shop: Shop) -> None:
        """The words of a refusal do not repeat what was typed."""
        full = issue_test_key(shop.customer, clock.now())[1]
        day.secrets["test key"] = full.partition(".")[2]
        with pytest.raises(ValidationError) as refused:
            shop.integration.set_secrets({"sifre": full})
        day.told.append(repr(refused.value))

    def ask_for_the_code(self, day: Day, shop: Shop, order: Order) -> set[tuple[str, str]]:
        """Who asks is told: the customer's machine at two doors, and a person."""
        asker = issue_key(shop.customer, clock.now())[1]
        day.client.post(f"/api/v1/orders/{order.pk}/codes/reveal", headers={"authorization": f"Bearer {asker}"})
        params = {"kod": asker.partition(".")[0], "sifre": asker, "tahsilat_api_islem_id": order.idempotency_key}
        day.client.get("/servis/pin_kontrol.php", params)
        day.client.force_login(User.objects.create_superuser("asker", password=PLANTED["person's password"]))
        day.client.post(reverse("panel:reveal", args=[order.pk]), {"reason": "the customer asks"})
        return day.hits()


class TestTheSearch:
    def test_finds_what_is_told_anywhere(self, day: Day) -> None:
        secret = PLANTED["bought code"]
        order = order_from(make_shop(day.stage.url))
        last = OrderEvent.objects.filter(order=order).latest("id")
        OrderEvent.objects.create(**{**_columns(last), "data": {"x": secret.encode().hex()}})
        get_logger("apps.tests").debug("told", what=f"<{secret}>")
        try:
            raise OSError(secret)
        except OSError:
            logging.getLogger("urllib3").debug("failed", exc_info=True)
        day.told.append(base64.b64encode(secret.encode()).decode())
        day.client.get("/nothing")
        day.client.said.append(("/nothing", secret))
        places = {"the log", "a task", "/nothing", OrderEvent._meta.db_table}
        assert day.hits() == {("bought code", place) for place in places}


def _columns(event: OrderEvent) -> dict[str, Any]:
    names = [column.attname for column in event._meta.concrete_fields if not column.primary_key]
    return {name: getattr(event, name) for name in names}
