"""The faults that are a fate: what the placing client sees, how much is bought, and what questions then find."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from apps.simulator.selftest.buyers import AFTER_S, LATER_S, PATIENCE_S, SHORT_S, SIGHTS, Buyer, Shop, check, short
from apps.simulator.world import State


@dataclass(frozen=True, slots=True)
class Then:
    """One question after placing: after some seconds, a state or a sight of the line; which PINs must be shown."""

    state: str = ""
    sees: str = ""
    after_s: float = 0.0
    pins: str = "given"


@dataclass(frozen=True, slots=True)
class Case:
    """One way in which a fault comes about."""

    fault: str
    fate: Mapping[str, Any]
    sees: str = "accepted"
    buys: int = 1
    then: tuple[Then, ...] = (Then("delivered"),)
    quantity: int = 1
    flips: tuple[State, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.fault} {json.dumps(dict(self.fate), ensure_ascii=True)[:120]}"


NOTHING = (Then("not_found"),)


def _lost(fault: str, place: str, sees: str, **fate: Any) -> Case:
    """Bought, and the client does not learn it from the answer."""
    return Case(fault, {"place": place, **fate}, sees)


def _before(fault: str, place: str, sees: str, **fate: Any) -> Case:
    """Not bought, and the client cannot know it from the answer."""
    return Case(fault, {"place": place, **fate}, sees, 0, NOTHING)


def _asked(fault: str, status_fault: str, sees: str) -> Case:
    """A status question that fails, and the next one that does not."""
    return Case(fault, {"status_faults": [status_fault]}, then=(Then(sees=sees), Then("delivered")))


CASES: tuple[Case, ...] = (
    _before("P2", "hang_before", "quiet"),
    _before("P2", "reset_before", "reset"),
    _lost("P3", "accept_then_hang", "quiet"),
    Case("P3", {"answer_delay_s": 30}, "quiet"),
    _asked("P3", "hang", "quiet"),
    *(_lost("P4", "accept_then_500", str(number), error_status=number) for number in (500, 502, 503, 504)),
    _before("P4", "error_500_before", "503", error_status=503),
    _asked("P4", "500", "500"),
    _before("P6", "rate_limited", "429"),
    _lost("P6", "accept_then_rate_limited", "429"),
    _asked("P6", "rate_limited", "429"),
    _before("P7", "refuse", "refused", refuse_class="balance"),
    _before("P7", "refuse", "refused", refuse_class="product"),
    _before("P7", "unlisted_text", "neither"),
    _before("P7", "code_8", "neither"),
    _lost("P7", "accept_then_code_8", "neither"),
    _lost("P8", "accept_then_html", "html"),
    _lost("P8", "accept_then_empty", "empty"),
    _before("P8", "html_before", "html"),
    _before("P8", "empty_before", "empty"),
    _asked("P8", "html", "html"),
    _asked("P8", "empty", "empty"),
    _before("P9", "redirect", "redirect"),
    _lost("P10", "accept_then_flood", "flood"),
    _lost("P10", "accept_then_drip", "quiet"),
    _asked("P10", "flood", "flood"),
    _lost("P13", "accept_then_cut", "cut"),
    _lost("P13", "accept_then_headers", "cut"),
    _lost("P13", "accept_then_reset", "reset"),
    _asked("P13", "cut", "cut"),
    _asked("P13", "reset", "reset"),
    Case("P15", {"visible_after_s": LATER_S}, then=(*NOTHING, Then("delivered", after_s=AFTER_S))),
    Case("P16", {"visible_until_s": LATER_S}, then=(Then("delivered"), Then("not_found", after_s=AFTER_S))),
    Case("P17", {"executions": 2}, buys=2),
    Case("P21", {"status_lag_s": LATER_S}, then=(Then("waiting"), Then("delivered", after_s=AFTER_S))),
    Case(
        "V1",
        {},
        flips=(State.DELIVERED, State.WAITING),
        then=(Then("delivered"), Then("waiting", pins="any"), Then("delivered")),
    ),
    Case("V2", {"status_faults": ["unknown_word"]}, then=(Then("unknown", pins="any"), Then("delivered"))),
    *(
        Case("V3", {"pin_blank_form": form}, then=(Then("delivered", pins="none"),))
        for form in ("space", "dash", "spaced_dash", "empty")
    ),
    Case(
        "V3",
        {"pin_blank_form": "dash", "pin_late_s": LATER_S},
        then=(Then("delivered", pins="none"), Then("delivered", after_s=AFTER_S)),
    ),
    Case(
        "V4",
        {"pin_while_waiting": True, "complete_after_s": LATER_S, "pin": "EARLY"},
        then=(Then("waiting", pins="EARLY"), Then("delivered", after_s=AFTER_S)),
    ),
    Case(
        "V5",
        {"pin": "ONE", "second_pin": "TWO", "second_pin_after_s": LATER_S},
        then=(Then("delivered"), Then("delivered", after_s=AFTER_S)),
    ),
    Case("V6", {"final": "partial", "delivered": "3"}, then=(Then("partial"),), quantity=5),
    Case(
        "V7",
        {"final": "cancelled", "flip_to_delivered_after_s": LATER_S},
        then=(Then("cancelled", pins="any"), Then("delivered", after_s=AFTER_S)),
    ),
    Case(
        "V8",
        {"reverse_after_s": LATER_S},
        then=(Then("delivered"), Then("reversed", after_s=AFTER_S, pins="any")),
    ),
    Case("V9", {"final": "cancelled", "pin_when_cancelled": True}, then=(Then("cancelled"),)),
    *(Case("V11", {"pin": pin}) for pin in ("0|07;%+&=", "000123", "رمز-ضغط", "ığüş", "9" * 4096)),
)


def run_case(case: Case, shop: Shop) -> None:
    buyer = shop.order(case.quantity, status_flip=[shop.word(state) for state in case.flips], **case.fate)
    seen = buyer.place(SHORT_S if case.sees == "quiet" else PATIENCE_S)
    check(SIGHTS[case.sees](seen, shop.probe), f"placing is seen as {case.sees}", short(seen))
    bought = buyer.truth()
    check(len(bought) == case.buys, f"{case.buys} purchases in the truth ledger", bought)
    for then in case.then:
        _follow(then, buyer)
    _check_money(buyer)


def _follow(then: Then, buyer: Buyer) -> None:
    shop = buyer.shop
    if then.state == "not_found" and shop.probe.asks_may_buy:
        return
    if then.after_s:
        shop.control.advance(then.after_s)
    if then.sees:
        seen = buyer.ask_line(SHORT_S if then.sees == "quiet" else PATIENCE_S)
        check(SIGHTS[then.sees](seen, shop.probe), f"the question is seen as {then.sees}", short(seen))
        return
    told = buyer.ask()
    check(told.state == shop.probe.reads_as.get(then.state, then.state), f"the order is {then.state}", told)
    if shop.probe.gives_codes and then.pins != "any":
        wanted = _wanted_pins(then, buyer)
        check(told.pins == wanted, f"the PINs are {wanted!r}", told)


def _wanted_pins(then: Then, buyer: Buyer) -> tuple[str, ...]:
    if then.pins not in ("given", "none"):
        return (then.pins,)
    is_shown = then.pins == "given" and then.state in ("delivered", "partial", "cancelled")
    return buyer.shop.probe.shown(buyer.truth()[-1]["pins"]) if is_shown else ()


def _check_money(buyer: Buyer) -> None:
    """What the ledger says is charged follows from the state in which it says the purchase is."""
    for row in buyer.truth():
        cost, charged = Decimal(row["cost"]), Decimal(row["charged"])
        share = {"cancelled": Decimal(0), "reversed": Decimal(0), "partial": Decimal(3) / Decimal(5)}
        check(charged == cost * share.get(row["state"], Decimal(1)), "the charge follows the state", row)
