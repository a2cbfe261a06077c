"""A provider's world without sockets: what is bought, given back and told, and what a restart knows of it."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from apps.simulator import asking, faults
from apps.simulator.dialect import Dialect, Product, Refused, Words
from apps.simulator.dialects import DIALECTS, find_route
from apps.simulator.fates import FateBook, Final, Mangle, RefuseClass, parse_fate
from apps.simulator.laws import LAWS
from apps.simulator.ledger import Ledger, Tail, read_truth, summary
from apps.simulator.placing import place
from apps.simulator.strict import BadValue
from apps.simulator.switches import Batch, Switches, turn
from apps.simulator.wire import BadRequest, Reply, Request
from apps.simulator.world import Account, Ask, BalanceTooLow, State, World

NOON = 1_800_000_000.0
CODES = Product("card", "", Decimal("2.50"))


@dataclass(frozen=True, slots=True)
class LaxSwitches(Switches):
    racy: bool = False
    life_s: float | None = None

    @property
    def is_racy(self) -> bool:
        return self.racy

    @property
    def reference_life_s(self) -> float | None:
        return self.life_s


def _sold(ask: Ask, world: World) -> Product:
    product = world.dialect.find_product(ask.product)
    if product is None:
        raise Refused("unknown product")
    return product


WORDS = Words(
    states={state: state.value for state in State},
    unknown_state="odd",
    refusals={kind: kind.value for kind in RefuseClass},
    unlisted="no",
    uncertain="perhaps",
    stranger=lambda world: "who?",
    bad_login=lambda world: Reply(b"who?"),
    product_of=_sold,
    accepted=lambda look, world: Reply(f"{look.word} {','.join(look.pins)}".strip().encode()),
    refuse=lambda text, world: Reply(text.encode()),
    repeated=lambda first, world: ("original", Reply(b"again")),
)
SHOP = Dialect(
    "shop",
    {},
    WORDS,
    (CODES,),
    "USD",
    Decimal("100.00"),
    switches=LaxSwitches(),
    order_id=lambda number, seed: f"ID-{seed}-{number}",
)


@pytest.fixture
def open_world(tmp_path: Path) -> Iterator[Callable[[], World]]:
    """Open a world on one ledger, again and again, each time as a restart would."""
    ledgers: list[Ledger] = []

    def open_one() -> World:
        for ledger in ledgers:
            ledger.close()
        ledgers[:] = [Ledger(tmp_path / "truth.jsonl")]
        world = World(SHOP, Account("demo", "secret"), SHOP.balance, FateBook("7", "none"), ledgers[0])
        world.rebuild(ledgers[0].entries())
        return world

    yield open_one
    for ledger in ledgers:
        ledger.close()


@pytest.fixture
def world(open_world: Callable[[], World]) -> World:
    return open_world()


_numbers = itertools.count(1)


def an_ask(reference: str = "", quantity: int = 1, **changes: Any) -> Ask:
    return Ask("demo", reference, "card", recipient=f"r{next(_numbers)}", quantity=Decimal(quantity), **changes)


def buy(world: World, ask: Ask, now: float = NOON, **fate: Any) -> Reply:
    world.fates.script_recipient(ask.recipient, parse_fate(fate))
    world.settle(now)
    return place(ask, world, now, is_ours=True)


class TestBuying:
    def test_multiplies_the_cost_and_gives_a_code_for_each_unit(self, world: World) -> None:
        reply = buy(world, an_ask("1", 3))
        word, codes = reply.body.decode().split(" ")
        assert (word, len(set(codes.split(","))), world.balance) == ("delivered", 3, Decimal("92.50"))

    def test_needs_no_reference(self, world: World) -> None:
        buy(world, an_ask())
        buy(world, an_ask())
        assert [each.order_id for each in world.purchases()] == ["ID-7-1", "ID-7-2"]
        assert len({each.planned_pins for each in world.purchases()}) == 2
        assert world.look(NOON, order_id="ID-7-2").state is State.DELIVERED
        assert world.look(NOON, reference="").purchase is None

    def test_refuses_what_costs_more_than_there_is(self, world: World) -> None:
        ask = an_ask("1", 41)
        with pytest.raises(BalanceTooLow):
            world.buy(ask, CODES, world.receive(ask, NOON, is_ours=True), NOON)
        assert buy(world, an_ask("2", 41)).body == b"balance"
        assert list(world.purchases()) == []

    def test_of_a_part_gives_its_codes_and_the_rest_of_the_money(self, world: World) -> None:
        buy(world, an_ask("1", 5), final="partial", delivered="3")
        look = world.look(NOON, reference="1")
        assert (look.state, look.delivered, len(look.pins), look.charged) == (
            State.PARTIAL,
            Decimal(3),
            3,
            Decimal("7.50"),
        )
        assert world.balance == Decimal("92.50")

    def test_can_be_taken_back(self, world: World) -> None:
        buy(world, an_ask("1"), reverse_after_s=60)
        world.settle(NOON + 59)
        assert (world.look(NOON + 59, reference="1").state, world.balance) == (State.DELIVERED, Decimal("97.50"))
        world.settle(NOON + 60)
        look = world.look(NOON + 60, reference="1")
        assert (look.state, look.charged, world.balance) == (State.REVERSED, Decimal(0), Decimal("100.00"))

    def test_of_a_request_that_comes_twice_is_one_with_a_reference_and_two_without(self, world: World) -> None:
        assert buy(world, an_ask("1"), replays=1).body == b"again"
        buy(world, an_ask(), replays=1)
        assert [each.ask.reference for each in world.purchases()] == ["1", "", ""]


class TestReference:
    def test_is_free_again_while_the_first_answer_has_not_left_a_racy_provider(self, world: World) -> None:
        world.switches = LaxSwitches(racy=True)
        ask = an_ask("1")
        buy(world, ask, answer_delay_s=2)
        assert buy(world, ask, NOON + 1, answer_delay_s=2).body.startswith(b"delivered")
        assert buy(world, ask, NOON + 4, answer_delay_s=2).body == b"again"
        assert len(list(world.purchases())) == 2

    def test_that_was_refused_keeps_its_first_refusal_over_a_restart(self, open_world: Callable[[], World]) -> None:
        world, ask = open_world(), an_ask("1", 41)
        assert world.first_refusal("1") is None
        buy(world, ask)
        world.record_refused(ask, NOON + 1, "later words")
        first = world.first_refusal("1")
        assert (first, open_world().first_refusal("1")) == ("balance", first)

    def test_is_forgotten_after_its_life(self, world: World) -> None:
        world.switches = LaxSwitches(life_s=100.0)
        ask = an_ask("1")
        buy(world, ask)
        assert buy(world, ask, NOON + 99).body == b"again"
        assert buy(world, ask, NOON + 100).body.startswith(b"delivered")


class TestLooking:
    def test_can_lag_behind(self, world: World) -> None:
        buy(world, an_ask("1"), status_lag_s=30)
        assert [world.look(NOON + age, reference="1").state for age in (29, 30)] == [State.WAITING, State.DELIVERED]

    def test_can_lose_an_order(self, world: World) -> None:
        buy(world, an_ask("1"), visible_until_s=30)
        assert world.look(NOON + 29, reference="1").purchase is not None
        assert world.look(NOON + 30, reference="1").purchase is None

    def test_can_show_another_order(self, world: World) -> None:
        buy(world, an_ask("1"), status_faults=["other_order"])
        buy(world, an_ask("2"))
        wrong, right = (world.look(NOON, reference="1") for _ in range(2))
        assert (wrong.purchase and wrong.purchase.ask.reference, right.purchase and right.purchase.ask.reference) == (
            "2",
            "1",
        )

    def test_shows_codes_of_a_cancelled_order_when_its_fate_says_so(self, world: World) -> None:
        buy(world, an_ask("1"), final="cancelled", pin_when_cancelled=True, pin="LEFT")
        look = world.look(NOON, reference="1")
        assert (look.state, look.pins, world.balance) == (State.CANCELLED, ("LEFT",), Decimal("100.00"))

    def test_tells_of_a_flip_in_the_state_that_its_word_means(self, world: World) -> None:
        buy(world, an_ask("1"), status_flip=["cancelled", "odd"])
        looks = [world.look(NOON, reference="1") for _ in range(3)]
        assert [(look.word, look.state) for look in looks] == [
            ("cancelled", State.CANCELLED),
            ("odd", None),
            ("delivered", State.DELIVERED),
        ]

    @pytest.mark.parametrize(
        ("batch", "told"),
        [
            (Batch.WHOLE, ["1", "2"]),
            (Batch.SHUFFLED, ["2", "1"]),
            (Batch.MISSING, ["1"]),
            (Batch.EXTRA, ["1", "2", "3"]),
        ],
    )
    def test_of_several_orders_can_go_wrong(self, world: World, batch: Batch, told: list[str]) -> None:
        for reference in ("1", "2", "3"):
            buy(world, an_ask(reference))
        world.switches = replace(world.switches, batch=batch)
        looks = asking.batch([world.look(NOON, reference=each) for each in ("1", "2")], world, NOON)
        assert [look.purchase and look.purchase.ask.reference for look in looks] == told

    def test_names_times_by_a_clock_that_can_be_wrong(self, world: World) -> None:
        world.switches = replace(world.switches, clock_skew_s=-86400.0)
        assert world.told(NOON) == NOON - 86400


class TestRestart:
    def test_knows_everything_again(self, open_world: Callable[[], World]) -> None:
        before = open_world()
        buy(before, an_ask("", 2, extra={"zone": "ş"}), final="partial", delivered="1", status_faults=["500", "html"])
        buy(before, an_ask("R"), complete_after_s=60, pin="LATER", reverse_after_s=10)
        before.look(NOON, order_id="ID-7-1")
        after = open_world()
        assert (after.balance, before.balance) == (Decimal("95.00"), Decimal("95.00"))
        first = after.by_order_id("ID-7-1")
        assert first is not None
        assert (first.ask.quantity, dict(first.ask.extra), first.state) == (Decimal(2), {"zone": "ş"}, State.PARTIAL)
        assert [after.look(NOON, order_id="ID-7-1").fault for _ in range(2)] == ["html", None]
        after.settle(NOON + 60)
        assert after.look(NOON + 60, reference="R").pins == ("LATER",)
        after.settle(NOON + 70)
        assert (after.look(NOON + 70, reference="R").state, after.balance) == (State.REVERSED, Decimal("97.50"))
        buy(after, an_ask())
        assert next(after.newest_first()).order_id == "ID-7-3"

    def test_of_one_world_leaves_the_entries_of_others_alone(self, open_world: Callable[[], World]) -> None:
        before = open_world()
        other = World(replace(SHOP, name="other"), before.account, Decimal(10), before.fates, before.truth)
        buy(other, an_ask("1"))
        assert list(open_world().purchases()) == []

    def test_counts_each_purchase_once_for_the_summary(self, world: World) -> None:
        buy(world, an_ask())
        buy(world, an_ask())
        buy(world, an_ask("1"), executions=2)
        counted = summary(world.truth.entries())
        assert (counted["purchases"], counted["double_executions"], len(counted["rows"])) == (4, 1, 4)


class TestLedgerTail:
    def test_parses_what_is_new_and_leaves_a_torn_line(self, tmp_path: Path) -> None:
        path = tmp_path / "truth.jsonl"
        path.write_bytes(b'{"n":1}\n{"n":2')
        tail = Tail(path)
        assert [entry["n"] for entry in tail.entries()] == [1]
        path.write_bytes(b'{"n":1}\n{"n":2}\n{"n":3}\n')
        assert [entry["n"] for entry in tail.entries()] == [1, 2, 3]
        assert tail.entries() == read_truth(path)


class TestSpell:
    def test_rules_between_its_minutes_for_orders_without_a_script(self) -> None:
        book = FateBook("1", "none")
        book.script_spell(NOON + 60, NOON + 120, parse_fate({"final": "never"}))
        book.script_recipient("known", parse_fate({"final": "partial"}))
        finals = [book.choose("1", "", NOON + age).final for age in (59, 60, 119, 120)]
        assert finals == [Final.DELIVERED, Final.NEVER, Final.NEVER, Final.DELIVERED]
        assert book.choose("1", "known", NOON + 60).final is Final.PARTIAL


BOUNDS: dict[str, tuple[float, float, float]] = {
    "A": (1.0, 60.0, 8.0),
    "B": (5.0, 86400.0, 17.5),
    "C": (0.0, 5000.0, 208.0),
    "D": (3.0, 7200.0, 18.0),
    "E": (20.0, 1e9, 47.6),
    "F": (600.0, 1200.0, 900.0),
    "G": (5.0, 86400.0, 45.5),
}
"""Least, most and median seconds of each law."""


class TestLaw:
    def test_table_knows_all_seven(self) -> None:
        assert set(BOUNDS) == set(LAWS)

    @pytest.mark.parametrize("name", LAWS)
    def test_draws_as_it_is_described_and_the_same_for_a_seed(self, name: str) -> None:
        least, most, median = BOUNDS[name]
        rng = random.Random("1")
        drawn = sorted(LAWS[name](rng) for _ in range(4001))
        assert least <= drawn[0]
        assert drawn[-1] <= most
        assert drawn[2000] == pytest.approx(median, rel=0.12)
        again = FateBook("1", f"law-{name}").choose("55", "", NOON).complete_after_s
        assert again == FateBook("1", f"law-{name}").choose("55", "", NOON).complete_after_s > 0


class TestMangle:
    @pytest.mark.parametrize(
        ("mangle", "body"),
        [
            (Mangle.TRUNCATED, b'{"a":1.50,"'),
            (Mangle.BOM, b'\xef\xbb\xbf{"a":1.50,"b":["x",2]}'),
            (Mangle.NUL, b'{"a":1.50,"\0b":["x",2]}'),
            (Mangle.WRONG_CHARSET, '{"a":1.50,"b":["x",2]}'.encode("utf-16")),
            (Mangle.DUPLICATE_KEY, b'{"a":null,"a":1.50,"b":["x",2]}'),
            (Mangle.NUMBER_AS_TEXT, b'{"a":"1.50","b":["x","2"]}'),
        ],
    )
    def test_spoils_bytes_in_its_way(self, mangle: Mangle, body: bytes) -> None:
        assert faults.mangled(Reply(b'{"a":1.50,"b":["x",2]}'), mangle).body == body

    def test_table_knows_every_one(self) -> None:
        assert set(faults.MANGLES) == set(Mangle)


class TestSwitches:
    @pytest.mark.parametrize(
        "url",
        [
            "https://127.0.0.1:1/x",
            "http://example.org:80/",
            "http://10.0.0.1:1/",
            "http://127.0.0.1/",
            "ftp://[::1]:1/",
        ],
    )
    def test_send_webhooks_to_this_machine_only(self, url: str) -> None:
        with pytest.raises(BadValue, match="hook_url: must be http"):
            turn(Switches(), {}, {"hook_url": url})

    def test_take_a_loopback_address(self) -> None:
        for url in ("http://127.0.0.1:9/x", "http://[::1]:9/x", "http://localhost:9/"):
            assert turn(Switches(), {}, {"hook_url": url}).hook_url == url

    @pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
    def test_of_a_dialect_are_all_checked(self, dialect: Dialect) -> None:
        own = set(dialect.switches.__dataclass_fields__) - set(Switches.__dataclass_fields__)
        assert own == set(dialect.switch_checks)


class TestDialect:
    @pytest.mark.parametrize("dialect", DIALECTS.values(), ids=list(DIALECTS))
    def test_has_words_for_every_state_and_every_refusal(self, dialect: Dialect) -> None:
        assert set(dialect.words.states) == set(State)
        assert set(dialect.words.refusals) == set(RefuseClass)
        assert dialect.words.unknown_state not in dialect.words.states.values()

    def test_is_found_by_its_path_or_by_its_name_before_the_path(self) -> None:
        names = ("/servis/bakiye_kontrol.php", "/znet_tl/servis/bakiye_kontrol.php", "/servis/tl_servis.php")
        routes = [find_route(path) for path in names]
        assert [route and route[0] for route in routes] == ["znet", "znet_tl", "znet_tl"]
        assert find_route("/znet_tl/servis/pin_ekle.php") is None
        assert find_route("/nothing") is None

    def test_can_stand_for_everything_below_a_path(self) -> None:
        def one(request: Request, world: World, now: float) -> Reply:
            return Reply(b"one")

        def two(request: Request, world: World, now: float) -> Reply:
            return Reply(b"two")

        dialect = replace(SHOP, routes={"/a/": one, "/a/b/": two, "/a/exact": one})
        assert [dialect.route(path) for path in ("/a/x", "/a/b/x", "/a/exact", "/b")] == [one, two, one, None]


class TestRequest:
    def test_reads_numbers_of_json_exactly(self) -> None:
        request = Request("POST", "/", {}, body=b'{"price":0.1,"n":3}')
        assert request.read_json() == {"price": Decimal("0.1"), "n": 3}

    @pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"\xff"])
    def test_refuses_what_is_no_json_object(self, body: bytes) -> None:
        with pytest.raises(BadRequest):
            Request("POST", "/", {}, body=body).read_json()
