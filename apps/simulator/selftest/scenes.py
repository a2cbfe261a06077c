"""The faults that need more than a fate: outages, repeats, wrong orders, batches, clocks."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from apps.simulator.fates import Mangle
from apps.simulator.rawline import Ended
from apps.simulator.selftest.buyers import SHORT_S, SIGHTS, Mismatch, Shop, check, short

MANGLED: dict[Mangle, Callable[[bytes], bool]] = {
    Mangle.TRUNCATED: lambda body: True,
    Mangle.BOM: lambda body: body.startswith(b"\xef\xbb\xbf"),
    Mangle.NUL: lambda body: b"\0" in body,
    Mangle.WRONG_CHARSET: lambda body: b"\0" in body,
    Mangle.DUPLICATE_KEY: lambda body: not body.startswith(b"{") or b":null," in body,
    Mangle.NUMBER_AS_TEXT: lambda body: True,
}


def connection_refused(shop: Shop) -> None:
    buyer = shop.order()
    shop.control.switch(down="refuse")
    check(buyer.place().ended is Ended.REFUSED, "no connection", None)
    shop.control.switch(down=None)
    check(buyer.truth() == [], "nothing bought", buyer.truth())
    check(SIGHTS["accepted"](buyer.place(), shop.probe), "accepted when it is up again", None)


def replayed_on_the_way(shop: Shop) -> None:
    """The same request twice: one purchase where the provider knows our reference, two where it has none."""
    buyer = shop.order(replays=1)
    buyer.place()
    asked = [entry for entry in shop.truth() if entry["event"] == "asked" and entry["recipient"] == buyer.recipient]
    check(len(asked) == 2, "asked twice", asked)
    wanted = 1 if shop.probe.has_reference else 2
    check(len(buyer.truth()) == wanted, f"{wanted} purchases", buyer.truth())


def same_reference_again(shop: Shop) -> None:
    buyer = shop.order()
    first = buyer.place()
    check(SIGHTS["accepted"](first, shop.probe), "accepted", short(first))
    again = buyer.place()
    check(again.ended is Ended.WHOLE, "an answer to the repeat", short(again))
    check(len(buyer.truth()) == 1, "one purchase", buyer.truth())
    entries = [entry for entry in shop.truth() if entry.get("reference") == buyer.reference]
    check("repeat" in [entry["event"] for entry in entries], "a repeat in the ledger", entries)


def mangled(shop: Shop) -> None:
    for mangle in Mangle:
        buyer = shop.order(place_mangle=mangle, status_mangle=mangle)
        seen = (buyer.place(), buyer.ask_line())
        check(len(buyer.truth()) == 1, "one purchase", buyer.truth())
        for each in seen:
            check(each.ended is Ended.WHOLE and MANGLED[mangle](each.body), f"bytes spoilt: {mangle}", each.body[:200])


def about_another_order(shop: Shop) -> None:
    """The answer about an order is, byte for byte, the one about another."""
    buyer = shop.order(status_faults=["other_order"])
    buyer.place()
    other = shop.order(pin="NOT-YOURS")
    other.place()
    wrong, right = buyer.ask_line(), other.ask_line()
    check(wrong.body == right.body, "the other order's answer", (wrong.body, right.body))
    mixed = shop.order(place="accept_then_other_order")
    mixed.place()
    check(len(mixed.truth()) == 1, "one purchase", mixed.truth())


def wrong_clock(shop: Shop) -> None:
    buyer = shop.order()
    buyer.place()
    answers = []
    for skew in (0, 86400, -86400):
        shop.control.switch(clock_skew_s=skew)
        answers.append(buyer.ask_line().body)
    check(len(set(answers)) == 3, "three different times", answers)


def brown_out(shop: Shop) -> None:
    buyer = shop.order()
    buyer.place()
    shop.control.switch(down="html")
    check(buyer.ask_line().status == 503, "503 while it is down", None)
    shop.control.switch(down="empty")
    check(buyer.ask_line().body == b"", "nothing while it is down", None)
    shop.control.switch(down=None)
    check(buyer.ask().state == "delivered", "the truth when it is up again", None)


def dead_for_hours(shop: Shop) -> None:
    buyers = [shop.order() for _ in range(5)]
    for buyer in buyers:
        buyer.place()
    shop.control.switch(down="hang")
    check(buyers[0].ask_line(SHORT_S).ended is Ended.SILENCE, "silence", None)
    shop.control.advance(6 * 3600)
    shop.control.switch(down=None)
    check([buyer.ask().state for buyer in buyers] == ["delivered"] * 5, "all five delivered", None)


def odd_batches(shop: Shop) -> None:
    probe = shop.probe
    if probe.ask_many is None or probe.read_many is None:
        raise Mismatch("the probe cannot ask about several orders")
    buyers = [shop.order() for _ in range(4)]
    for buyer in buyers:
        buyer.place()
    *asked, last, extra = [buyer.reference if probe.has_reference else buyer.order_id for buyer in buyers]
    pairs = [(buyer.reference, buyer.order_id) for buyer in buyers[:3]]
    wanted = {
        "whole": [*asked, last],
        "shuffled": [last, *asked[::-1]],
        "missing": asked,
        "extra": [*asked, last, extra],
    }
    for batch, names in wanted.items():
        shop.control.switch(batch=batch)
        told = probe.read_many(shop.send(probe.ask_many(pairs)).body)
        check(told == names, f"a batch that is {batch}", told)


def another_cost(shop: Shop) -> None:
    buyer = shop.order(cost="7")
    buyer.place()
    entries = [entry for entry in shop.truth() if entry["event"] == "bought"]
    check(Decimal(entries[-1]["cost"]) == 7, "the cost of its fate", entries[-1])
    check(Decimal(buyer.truth()[-1]["charged"]) == 7, "charged as it cost", buyer.truth())
