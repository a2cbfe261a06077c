"""The shared questions catch something: for each of them there is a broken adapter that fails it."""

from __future__ import annotations

import inspect
import itertools
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any

import pytest

from apps.common.wire import Answer, HttpCall, HttpReply
from apps.providers.contract import (
    Account,
    Adapter,
    Capabilities,
    Code,
    OrderRef,
    Outcome,
    PlaceRequest,
    Result,
)
from tests.contract.example_adapter import Example
from tests.contract.suite import (
    AdapterContract,
    InBatches,
    WithCatalogue,
    WithCodes,
    WithReference,
    converse,
    recorded,
)
from tests.contract.test_example import TestExample as ExampleContract

Change = Callable[[Any], Any]
Talk = Generator[HttpCall, Answer, Any]
CAPS = Example.caps


def same(value: Any) -> Any:
    """Nothing is broken here."""
    return value


@dataclass
class Broken:
    """The example with one fault: in its calls, in an answer that it hears, or in what it makes of it."""

    call: Change = same
    hears: Change = same
    placed: Change = same
    found: Change = same
    listed: Change = same
    money: Change = same
    items: Change = same
    again: bool = False
    most: int = CAPS.status_batch_max
    kind: str = Example.kind
    label: str = Example.label
    caps: Capabilities = CAPS
    secret_fields: tuple[str, ...] = Example.secret_fields
    mapping_fields: tuple[str, ...] = Example.mapping_fields
    option_fields: Any = field(default_factory=dict)

    @property
    def whole(self) -> Example:
        """The adapter that is broken here."""
        whole = Example()
        whole.caps = replace(self.caps, status_batch_max=self.most)
        return whole

    def twist(self, talk: Talk, result: Change) -> Talk:
        try:
            step = next(talk)
            while True:
                answer = yield self.call(step)
                if self.again:
                    answer = yield self.call(step)
                step = talk.send(self.hears(answer))
        except StopIteration as end:
            return result(end.value)

    def place(self, account: Account, request: PlaceRequest) -> Talk:
        return self.twist(self.whole.place(account, request), self.placed)

    def status(self, account: Account, refs: Sequence[OrderRef]) -> Talk:
        return self.twist(self.whole.status(account, refs), self.listed)

    def find(self, account: Account, ref: OrderRef) -> Talk:
        return self.twist(self.whole.find(account, ref), self.found)

    def balance(self, account: Account) -> Talk:
        return self.twist(self.whole.balance(account), self.money)

    def catalogue(self, account: Account) -> Talk:
        return self.twist(self.whole.catalogue(account), self.items)


# --- faults


def outcome(word: Outcome) -> Change:
    return lambda result: replace(result, outcome=word)


def when(word: Outcome, change: Change) -> Change:
    return lambda result: change(result) if result.outcome is word else result


def believing(body: bytes) -> Change:
    """Hears this body whenever it hears nothing that it can use."""

    def hear(answer: Answer) -> Answer:
        is_example = isinstance(answer, HttpReply) and answer.body.startswith(b"{") and answer.status in (200, 400)
        return answer if is_example else HttpReply(200, body)

    return hear


def each(change: Change) -> Change:
    return lambda results: {name: change(result) for name, result in results.items()}


def with_secret(result: Result) -> Result:
    return replace(result, reason=result.reason + " k3y-word-x")


def invented(results: Mapping[str, Result]) -> Mapping[str, Result]:
    return {**results, "x": Result(Outcome.UNKNOWN, "x"), "900000000000000001": Result(Outcome.COMPLETED, "x")}


def shifted(results: Mapping[str, Result]) -> Mapping[str, Result]:
    names = list(results)
    return dict(zip(names, [results[name] for name in names[1:] + names[:1]], strict=True))


def raises(value: Any) -> Any:
    raise KeyError(value)


OPEN = b'{"ref":"100000000000000042","state":"open"}'
DONE = b'{"ref":"100000000000000042","state":"done","code":"X"}'
ORDERS = b'{"orders":[%s]}'
CODE = (Code("0012-ABCD-3456"),)
NO_CREDIT: Change = lambda money: replace(money, credit=Decimal(1) if money.credit is not None else None)  # noqa: E731

FAULTS: dict[str, Any] = {
    "names_itself_as_registered": Broken(kind="other"),
    "asks_for_secrets_that_the_test_account_has": Broken(secret_fields=("key", "pin")),
    "maps_products_by_the_fields_it_names": Broken(mapping_fields=("sku", "size")),
    "does_not_call_a_request_safe_to_repeat_without_a_proof": Broken(caps=replace(CAPS, dedup="racy")),
    "declares_nothing_that_contradicts_itself": Broken(caps=replace(CAPS, rate_per_s=0)),
    "has_a_recorded_reply_for_each_situation": {"IMPOSSIBLE": {}},
    "says_why_a_situation_is_impossible": {"IMPOSSIBLE": {"ask.reversed": ""}},
    "places_with_exactly_one_call": Broken(again=True),
    "never_places_again_after_silence": Broken(again=True),
    "asks_in_the_provider_s_own_house_only": Broken(call=lambda call: replace(call, url="http://other.invalid/")),
    "asks_about_the_order_by_its_own_name": Broken(call=lambda call: replace(call, params=())),
    "shows_no_secret_in_a_call_s_text": Broken(call=lambda call: replace(call, url=call.url + "?k3y-word-x")),
    "marks_each_secret_that_it_sends_as_one": Broken(call=lambda call: replace(call, secrets=frozenset())),
    "waits_as_long_as_its_capabilities_say": Broken(call=lambda call: replace(call, timeout_s=1)),
    "waits_as_long_as_the_account_says": Broken(call=lambda call: replace(call, timeout_s=30)),
    "asks_once_about_one_order": Broken(again=True),
    "answers_for_no_order_without_a_call": Broken(listed=invented),
    "refuses_more_orders_at_once_than_it_can": Broken(most=1000),
    "knows_that_nothing_was_placed": Broken(placed=when(Outcome.NOT_SENT, outcome(Outcome.UNKNOWN))),
    "learns_nothing_from_a_question_not_sent": Broken(found=when(Outcome.UNKNOWN, outcome(Outcome.NOT_FOUND))),
    "does_not_guess_after_silence": Broken(hears=believing(OPEN)),
    "is_in_doubt_after_an_answer_that_says_nothing": Broken(hears=believing(OPEN)),
    "learns_nothing_from_an_answer_that_says_nothing": Broken(hears=believing(b'{"orders":[]}')),
    "reads_no_balance_from_an_answer_that_says_nothing": Broken(hears=believing(b'{"left":0}')),
    "reads_a_placing_answer_by_its_meaning": Broken(placed=when(Outcome.REJECTED, outcome(Outcome.OUT_OF_STOCK))),
    "reads_the_cost_of_an_accepted_order": Broken(placed=lambda result: replace(result, cost=None)),
    "keeps_the_provider_s_words_of_a_refusal": Broken(placed=lambda result: replace(result, reason="")),
    "says_that_a_duplicate_is_one": Broken(placed=lambda result: replace(result, duplicate=False)),
    "believes_no_refusal_of_a_broken_answer": Broken(
        hears=lambda answer: replace(answer, status=400) if getattr(answer, "status", 0) == 502 else answer
    ),
    "repeats_no_credential_that_the_provider_repeats": Broken(placed=with_secret),
    "reads_an_answer_to_a_question_by_its_meaning": Broken(found=when(Outcome.REJECTED, outcome(Outcome.ACCEPTED))),
    "says_the_same_by_both_ways_of_asking": Broken(listed=each(lambda result: replace(result, cost=Decimal(1)))),
    "finds_no_code_where_there_is_none": Broken(found=lambda result: replace(result, codes=CODE)),
    "gives_codes_of_delivered_orders_only": Broken(found=lambda result: replace(result, codes=CODE)),
    "tells_no_code_in_its_reason": Broken(found=lambda result: replace(result, reason=CODE[0].value)),
    "reads_the_balance": Broken(money=lambda money: replace(money, currency="USD")),
    "reads_credit_and_debt_that_make_the_balance": Broken(money=NO_CREDIT),
    "says_an_error_instead_of_a_zero": Broken(money=lambda money: replace(money, amount=money.amount or Decimal(0))),
    "echoes_reference_and_currency_after_each_recorded_answer": Broken(
        placed=lambda result: replace(result, currency="USD")
    ),
    "echoes_reference_and_currency_after_each_question": Broken(found=lambda result: replace(result, own_ref="1")),
    "counts_in_decimals_only": Broken(placed=lambda result: replace(result, cost=result.cost and float(result.cost))),
    "counts_balances_in_decimals_only": Broken(money=lambda money: replace(money, credit=money.credit and 1.5)),
    "never_raises_and_never_concludes_from_noise": Broken(placed=when(Outcome.UNKNOWN, outcome(Outcome.REJECTED))),
    "never_raises_for_a_damaged_answer": Broken(placed=when(Outcome.UNKNOWN, raises)),
    "never_delivers_on_a_placing_answer_with_an_odd_status": Broken(
        hears=lambda answer: replace(answer, status=200) if getattr(answer, "status", 0) >= 100 else answer
    ),
    "concludes_nothing_from_the_answer_about_another_order": Broken(listed=invented),
    "sends_our_reference_when_placing_and_asking": Broken(call=lambda call: replace(call, json=b"{}", params=())),
    "sends_different_references_for_different_orders": Broken(call=lambda call: replace(call, json=b"{}")),
    "does_not_pass_our_reference_off_as_the_provider_s_id": Broken(
        found=lambda result: replace(result, provider_id=result.own_ref)
    ),
    "reads_the_code_of_a_delivered_order": Broken(found=lambda result: replace(result, codes=())),
    "passes_a_code_on_exactly": Broken(
        found=lambda result: replace(result, codes=tuple(Code(code.value.lstrip("0")) for code in result.codes))
    ),
    "passes_any_code_on_exactly": Broken(
        found=lambda result: replace(result, codes=tuple(Code(code.value.upper()) for code in result.codes))
    ),
    "asks_about_as_many_as_it_can_in_one_call": Broken(listed=lambda results: dict(list(results.items())[:-1])),
    "gives_each_answer_to_its_own_order": Broken(listed=shifted),
    "learns_nothing_about_an_order_that_is_missing": Broken(listed=invented),
    "ignores_orders_that_it_did_not_ask_about": Broken(listed=invented),
    "keeps_of_the_answer_what_is_about_the_order": Broken(listed=each(lambda result: replace(result, raw=b"{}"))),
    "learns_nothing_about_many_from_an_answer_that_says_nothing": Broken(listed=invented),
    "lists_what_can_be_mapped": Broken(items=lambda listed: replace(listed, items=listed.items[1:])),
    "names_each_thing_once": Broken(items=lambda listed: replace(listed, items=listed.items * 2)),
    "tells_costs_in_decimals_of_the_account_s_money": Broken(
        items=lambda listed: replace(listed, items=tuple(replace(item, cost=Decimal(0)) for item in listed.items))
    ),
    "says_an_error_instead_of_an_empty_list": Broken(items=lambda listed: replace(listed, error="")),
    "lists_nothing_from_an_answer_that_says_nothing": Broken(items=lambda listed: replace(listed, error="")),
    "lists_nothing_without_an_answer": Broken(items=lambda listed: replace(listed, error="")),
    "never_raises_for_a_list": Broken(items=lambda listed: listed if listed.items else raises(listed)),
    "may_read_a_long_list": Broken(call=lambda call: replace(call, limit_bytes=1)),
}
"""For each question a fault that it must notice: a broken adapter, or a contract class that lacks something."""


def questions() -> Iterator[str]:
    """Every shared question, without the `test_` in front."""
    for suite in (AdapterContract, WithReference, WithCodes, InBatches, WithCatalogue):
        yield from (name.removeprefix("test_") for name in vars(suite) if name.startswith("test_"))


def contract_with(fault: Any) -> AdapterContract:
    """The example's contract, asking the broken adapter."""
    attributes = {"adapter": fault} if isinstance(fault, Broken) else fault
    made: AdapterContract = type("BrokenContract", (ExampleContract,), attributes)()
    return made


def arguments_of(question: str) -> Iterator[dict[str, Any]]:
    """Every set of arguments that pytest would ask this question with."""
    function = getattr(ExampleContract, f"test_{question}")
    axes: dict[str, list[Any]] = {
        mark.args[0]: list(mark.args[1]) for mark in getattr(function, "pytestmark", []) if mark.name == "parametrize"
    }
    paths = {name: recorded("example", *ExampleContract.RECORDED[name]) for name in ExampleContract.RECORDED}
    axes |= {name: paths[name] for name in inspect.signature(function).parameters if name in paths}
    for values in itertools.product(*axes.values()):
        yield dict(zip(axes, values, strict=True))


def is_property(question: str) -> bool:
    """Whether it draws its own arguments; those take long, and the example's own run asks them."""
    return hasattr(getattr(ExampleContract, f"test_{question}"), "hypothesis")


def is_noticed(question: str, fault: Any) -> bool:
    """Whether the question fails with at least one of its arguments."""
    contract = contract_with(fault)
    for arguments in arguments_of(question):
        try:
            getattr(contract, f"test_{question}")(**arguments)
        except (Exception, pytest.fail.Exception):
            return True
    return False


class TestTheQuestions:
    def test_have_a_broken_adapter_each(self) -> None:
        assert set(FAULTS) == set(questions())
        assert len(FAULTS) >= 24

    @pytest.mark.parametrize("question", FAULTS)
    def test_notice_their_fault(self, question: str) -> None:
        assert is_noticed(question, FAULTS[question])

    @pytest.mark.parametrize("question", [name for name in FAULTS if not is_property(name)])
    def test_find_nothing_wrong_with_the_whole_adapter(self, question: str) -> None:
        assert not is_noticed(question, Broken())

    def test_the_harness_changes_nothing_by_itself(self) -> None:
        broken: Adapter = Broken()
        answer = HttpReply(200, DONE)
        account, request = ExampleContract.account, ExampleContract.request
        assert converse(broken.place(account, request), answer) == converse(Example().place(account, request), answer)
