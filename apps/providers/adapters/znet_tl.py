"""The airtime part of the ZNET reseller panels (`/servis/tl_*.php`): GET requests, answers as text.

An order is answered `OK|code|text|cost`, a question `state:text:cost`, the list of packages in records that end in
`^`. The number 1 is "taken" for an order and "loaded" for a question, and on some panels a failed login or an unknown
reference looks like a cancelled order (`3:...`), so only the texts tell them apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType

from apps.common.wire import Answer, HttpCall, HttpReply, NotSent
from apps.providers.contract import (
    CATALOGUE_LIMIT,
    Account,
    Capabilities,
    Catalogue,
    CatalogueItem,
    Knob,
    OrderRef,
    Outcome,
    PlaceRequest,
    PollPlan,
    Result,
    Talk,
    TalkBalance,
    TalkCatalogue,
    TalkMany,
)
from apps.providers.parsing import decode_url
from apps.providers.talks import ask_each, ask_once
from apps.providers.znet_texts import (
    REFUSALS,
    Order,
    TextClass,
    build_get,
    classify,
    clean_reason,
    each_once,
    prose_only,
    read_amount,
    read_balance,
    read_text,
    split_ok,
)

ORDER_CALL, QUESTION_CALL, BALANCE_CALL, LIST_CALL = "tl_servis", "tl_kontrol", "bakiye_kontrol", "paket_listesi"
TAKEN, REFUSED, SENT_BEFORE = "1", "3", "8"
"""Codes of an order's answer. Any other code says nothing."""

LOADED, IN_PROGRESS, CANCELLED = "1", "2", "3"
"""States of an order."""

NO_CANCELLATION = frozenset({TextClass.TEMPORARY, TextClass.DUPLICATE, TextClass.OPENED})
"""Texts beside state 3 with which the order may be alive: a trouble of the panel, or another state in the same body."""

LIST_TIMEOUT_S = 60.0

_PHONE = re.compile(r"5[0-9]{9}")
_STATE = re.compile(r"([0-9]{1,2})\s*:(.*)", re.DOTALL)
_NUMBERED = re.compile(r"([0-9]{1,4})\s*\|(.*)", re.DOTALL)
_SECOND_STATE = re.compile(r"[0-9]\s*:\s*[^\W\d_]")


class ZnetTl:
    """ZNET airtime: loads one amount on one telephone number per request, and asks for it by our own reference."""

    kind: str = "znet_tl"
    label: str = "ZNET (airtime)"
    caps: Capabilities = Capabilities(
        ref_format="digits18",
        ref_max_len=30,
        ref_max_age_s=None,
        dedup="unproven",
        resend_same_ref_safe=False,
        resend_min_gap_s=60,
        find_by_own_ref=True,
        absent_after_s=None,
        ask_may_create=False,
        query_window_s=None,
        status_batch_max=1,
        list_form="one",
        send_window_s=20,
        place_timeout_s=30,
        ask_timeout_s=20,
        resolve_margin_s=10,
        review_after_s=900,
        rate_per_s=5,
        burst=4,
        poll=PollPlan(first_s=60, base_s=30, cap_s=600, floor_s=10),
        flipping=frozenset({"failed"}),
        final_after_s=43200,
        failed_final_after_s=60,
        quantity="one",
        one_per_target=False,
        webhook="none",
        balance_check=True,
    )
    secret_fields: tuple[str, ...] = ("sifre",)
    mapping_fields: tuple[str, ...] = ("operator", "tip", "kontor")
    option_fields: Mapping[str, Knob] = MappingProxyType(
        {"dedup": Knob("choice", ("unproven", "rejects", "returns_original")), "resend_same_ref_safe": Knob("flag")}
    )

    def place(self, account: Account, request: PlaceRequest) -> Talk:
        """Loads one amount. Raises ValueError at once, before any call, for a request that this protocol cannot say."""
        call = build_place_call(self.caps, account, request)
        return ask_once(call, partial(read_place, Order(account, request.reference)))

    def status(self, account: Account, refs: Sequence[OrderRef]) -> TalkMany:
        """The state of one order. Raises ValueError for more than one."""
        if len(refs) > self.caps.status_batch_max:
            raise ValueError("ZNET answers one order per question")
        return ask_each([(ref.own_ref, self.find(account, ref)) for ref in refs])

    def find(self, account: Account, ref: OrderRef) -> Talk:
        """The state of one order by our reference."""
        call = build_call(self.caps, account, QUESTION_CALL, ("tekilnumara", ref.own_ref))
        return ask_once(call, partial(read_state, Order(account, ref.own_ref)))

    def balance(self, account: Account) -> TalkBalance:
        """Our credit there less our debt."""
        return ask_once(build_call(self.caps, account, BALANCE_CALL), partial(read_balance, account))

    def catalogue(self, account: Account) -> TalkCatalogue:
        """Every package of the panel's list, each once."""
        call = build_call(self.caps, account, LIST_CALL)
        call = replace(call, timeout_s=LIST_TIMEOUT_S, limit_bytes=CATALOGUE_LIMIT)
        return ask_once(call, partial(read_list, account))


def build_place_call(caps: Capabilities, account: Account, request: PlaceRequest) -> HttpCall:
    """The one call that buys. The recipient is a Turkish mobile number: ten digits, the first a 5."""
    ids = [(name, request.product.get(name, "")) for name in ("operator", "tip", "kontor")]
    if missing := [name for name, value in ids if not value]:
        raise ValueError(f"ZNET airtime mapping without {', '.join(missing)}")
    if request.quantity != 1:
        raise ValueError("ZNET sells one unit per order")
    if not _PHONE.fullmatch(request.recipient):
        raise ValueError("the recipient must be a mobile number of ten digits that begins with 5")
    return build_call(caps, account, ORDER_CALL, *ids, ("gsmno", request.recipient), ("tekilnumara", request.reference))


def build_call(caps: Capabilities, account: Account, name: str, *params: tuple[str, str]) -> HttpCall:
    """A call of this half of the panel, with the time-out of its kind.

    The login is `bayi_kodu` on the addresses of airtime and `kod` on that of the balance.
    """
    login = "kod" if name == BALANCE_CALL else "bayi_kodu"
    timeout_s = account.seconds("place_timeout_s" if name == ORDER_CALL else "ask_timeout_s", caps)
    return build_get(account, name, login, timeout_s, *params)


def read_place(order: Order, answer: Answer) -> Result:
    """What an answer of `tl_servis` says: `OK|1|` alone is acceptance, a text with a row of `REFUSALS` a refusal."""
    if isinstance(answer, NotSent):
        return order.result(Outcome.NOT_SENT, answer.reason.value, answer.detail)
    text, trouble = read_text(answer)
    if trouble:
        return order.result(Outcome.UNKNOWN, trouble)
    if (fields := split_ok(text)) is None:
        return order.result(Outcome.UNKNOWN, "unlisted", decode_url(text))
    code, said, cost = (*(decode_url(field.strip(" |")) for field in fields), "", "")[:3]
    if code == TAKEN:
        return replace(order.result(Outcome.ACCEPTED, code, said), cost=read_amount(cost))
    return _read_refusal(order, code, said, cost)


def _read_refusal(order: Order, code: str, said: str, cost: str) -> Result:
    """Code 3 with a refusing text and no price is a refusal. Every other code may stand for an order that exists."""
    classes = classify(said)
    is_refused = code == REFUSED and (not cost or read_amount(cost) == 0)
    outcome = REFUSALS.get(classes, Outcome.UNKNOWN) if is_refused else Outcome.UNKNOWN
    is_duplicate = code == SENT_BEFORE or TextClass.DUPLICATE in classes
    return order.result(outcome, code[:20], said, duplicate=is_duplicate)


def read_state(order: Order, answer: Answer) -> Result:
    """What an answer of `tl_kontrol` says; UNKNOWN whenever the question itself failed."""
    text, trouble = read_text(answer)
    if trouble:
        return order.result(Outcome.UNKNOWN, trouble)
    if (fields := split_ok(text)) is not None:
        return _read_failed_question(order, fields[0].strip()[:20], " ".join(map(decode_url, fields[1:2])))
    if numbered := _NUMBERED.fullmatch(text):
        return _read_failed_question(order, numbered.group(1), decode_url(numbered.group(2).strip(" |")))
    if state := _STATE.fullmatch(text):
        return _read_state(order, state.group(1), decode_url(state.group(2).strip()))
    return order.result(Outcome.UNKNOWN, "unlisted", prose_only(text))


def _read_state(order: Order, state: str, rest: str) -> Result:
    said, colon, last = rest.rpartition(":")
    cost = read_amount(last) if colon else None
    said = said if colon and (cost is not None or not last.strip()) else rest
    if state == CANCELLED:
        return _read_cancelled(order, said.strip())
    outcome = {LOADED: Outcome.COMPLETED, IN_PROGRESS: Outcome.ACCEPTED}.get(state, Outcome.UNKNOWN)
    code = f"state_{state}" if outcome is Outcome.UNKNOWN else state
    return replace(order.result(outcome, code, said.strip()), cost=cost or None)


def _read_cancelled(order: Order, said: str) -> Result:
    """State 3. Panels print login errors, "no such order" and even a second state here.

    Believing those would refund orders that are alive.
    """
    if _SECOND_STATE.search(said):
        return order.result(Outcome.UNKNOWN, "two_states", said)
    classes = classify(said)
    if classes & {TextClass.LOGIN, TextClass.NO_RECORD, *NO_CANCELLATION}:
        return _read_failed_question(order, CANCELLED, said)
    return order.result(Outcome.REJECTED, CANCELLED, said)


def _read_failed_question(order: Order, code: str, said: str) -> Result:
    classes = classify(said)
    if classes & NO_CANCELLATION:
        return order.result(Outcome.UNKNOWN, code, prose_only(said))
    if TextClass.LOGIN in classes:
        return order.result(Outcome.AUTH_ERROR, code, said)
    outcome = Outcome.NOT_FOUND if TextClass.NO_RECORD in classes else Outcome.UNKNOWN
    return order.result(outcome, code, prose_only(said))


def read_list(account: Account, answer: Answer) -> Catalogue:
    """What `paket_listesi` lists: records `operator|type|kupur|price|name|` that end in `^`.

    An answer without any usable record is an error.
    """
    text, trouble = read_text(answer) if isinstance(answer, HttpReply) else ("", answer.reason.value)
    if trouble:
        return Catalogue((), trouble)
    if split_ok(text) is not None:
        return Catalogue((), clean_reason(text, account))
    found = each_once(filter(None, (_read_package(account, record) for record in text.split("^"))))
    return Catalogue(found, "" if found else clean_reason(text, account) or "no_usable_record")


def _read_package(account: Account, record: str) -> CatalogueItem | None:
    fields = [decode_url(field.strip()) for field in record.strip().split("|")]
    if len(fields) < 5 or not all(fields[:3]):
        return None
    operator, kind, kontor, price, name, *_ = fields
    cost = read_amount(price) or None
    return CatalogueItem(
        ids={"operator": operator.lower(), "tip": kind.lower(), "kontor": kontor.removesuffix(".00")},
        name=clean_reason(name, account) or f"{operator} {kind} {kontor}",
        group=operator,
        cost=cost,
        currency=account.currency if cost else "",
        fields=("phone",),
        gives_code=False,
    )
