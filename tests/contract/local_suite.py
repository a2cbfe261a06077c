"""The questions that every kind without a wire must answer alike; no kind is named here.

A subclass gives the kind, the call that it makes, the answers that it can get with what each means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

import pytest

from apps.providers.contract import (
    Account,
    LocalAdapter,
    LocalAnswer,
    LocalCall,
    Outcome,
    PlaceRequest,
    Result,
    contradictions,
)
from apps.providers.models import IDENTITY, Integration
from apps.providers.options import BadOption, load_caps
from apps.providers.registry import has_wire, load_adapter, missing_ids, missing_secrets

ENDS = frozenset({Outcome.ACCEPTED, Outcome.COMPLETED, Outcome.OUT_OF_STOCK})
"""What a kind that is never in doubt may say."""

CALLS_MAX = 5


def converse(adapter: LocalAdapter, account: Account, request: PlaceRequest, answer: Any) -> tuple[Result, list[Any]]:
    """Gives `answer` to each call and returns the result with the calls; fails when the talk does not end."""
    talk = adapter.fulfil(account, request)
    calls: list[LocalCall] = []
    try:
        calls.append(next(talk))
        for _ in range(CALLS_MAX):
            calls.append(talk.send(answer))
    except StopIteration as end:
        return end.value, calls
    raise AssertionError(f"still asking after {CALLS_MAX} answers")


class LocalContract:
    """Shared questions."""

    kind: ClassVar[str]
    account: ClassVar[Account] = Account(base_url="", currency="TRY")
    request: ClassVar[PlaceRequest] = PlaceRequest("123456789012345678", {"oyun": "shelf-1"}, "player-1", quantity=2)
    call: ClassVar[LocalCall]
    """What `request` makes it ask for."""
    answers: ClassVar[Mapping[LocalAnswer, Outcome]]
    """Every answer to `call` that can come, with what it means."""

    @property
    def calls(self) -> list[LocalCall]:
        return [self.call]

    @property
    def adapter(self) -> LocalAdapter:
        adapter = load_adapter(self.kind)
        assert isinstance(adapter, LocalAdapter)
        return adapter

    def fulfil(self, answer: LocalAnswer, **changes: Any) -> Result:
        return converse(self.adapter, self.account, replace(self.request, **changes), answer)[0]

    def results(self) -> list[Result]:
        return [self.fulfil(answer) for answer in self.answers]

    def test_has_no_wire(self) -> None:
        assert not has_wire(self.kind)

    def test_has_no_verb_that_would_use_one(self) -> None:
        assert not [verb for verb in ("place", "status", "find", "balance", "catalogue") if hasattr(self.adapter, verb)]

    def test_has_a_label(self) -> None:
        assert self.adapter.label

    def test_declares_nothing_that_cannot_be_true_together(self) -> None:
        assert contradictions(self.adapter.caps) == []

    def test_promises_what_holds_where_nobody_else_is_asked(self) -> None:
        caps = self.adapter.caps
        assert (caps.ref_format, caps.ref_max_len, caps.ref_max_age_s) == ("digits18", 64, None)
        assert (caps.dedup, caps.resend_same_ref_safe, caps.resend_min_gap_s) == ("rejects", True, 0)
        assert (caps.absent_after_s, caps.query_window_s) == (None, None)
        assert (caps.webhook, caps.balance_check) == ("none", False)

    def test_needs_no_secrets(self) -> None:
        assert missing_secrets(self.adapter, self.account) == []

    def test_needs_to_know_what_to_give(self) -> None:
        assert missing_ids(self.adapter, {}) == ["oyun"]
        assert missing_ids(self.adapter, self.request.product) == []

    def test_does_nothing_before_it_settles(self) -> None:
        self.adapter.fulfil(self.account, self.request)  # nobody has asked it for its first call

    def test_makes_exactly_one_call(self) -> None:
        for answer in self.answers:
            assert converse(self.adapter, self.account, self.request, answer)[1] == self.calls

    def test_makes_its_call_again_for_another_order(self) -> None:
        answer = next(iter(self.answers))
        talks = [converse(self.adapter, self.account, self.request, answer) for _ in range(2)]
        assert [calls for _, calls in talks] == [self.calls, self.calls]

    def test_reads_every_answer_as_what_it_means(self) -> None:
        assert [result.outcome for result in self.results()] == list(self.answers.values())

    def test_is_never_in_doubt(self) -> None:
        assert {result.outcome for result in self.results()} <= ENDS

    def test_has_an_answer_that_fulfils_or_waits(self) -> None:
        assert {Outcome.ACCEPTED, Outcome.COMPLETED} & set(self.answers.values())

    def test_speaks_of_our_reference(self) -> None:
        assert {result.own_ref for result in self.results()} == {self.request.reference}

    def test_keeps_references_apart(self) -> None:
        answer = next(iter(self.answers))
        assert self.fulfil(answer, reference="9" * 18).own_ref == "9" * 18

    def test_has_no_number_of_somebody_else(self) -> None:
        assert {result.provider_id for result in self.results()} == {""}

    def test_gives_codes_only_when_it_is_done(self) -> None:
        for result in self.results():
            assert bool(result.codes) <= (result.outcome is Outcome.COMPLETED)

    def test_tells_a_cost_only_when_it_is_done(self) -> None:
        for result in self.results():
            assert (result.cost is not None) <= (result.outcome is Outcome.COMPLETED)
            assert result.currency == (self.account.currency if result.cost is not None else "")

    def test_does_not_tell_its_buyer(self) -> None:
        for result in self.results():
            assert self.request.recipient not in repr(result)

    def test_takes_as_many_units_as_are_wanted(self) -> None:
        assert self.adapter.caps.quantity == "any"

    def test_does_not_flip(self) -> None:
        assert (self.adapter.caps.flipping, self.adapter.caps.final_after_s) == (frozenset(), 0)

    def test_lets_the_first_reading_of_a_failure_count(self) -> None:
        assert self.adapter.caps.failed_final_after_s == 0

    def test_never_buys_by_being_asked(self) -> None:
        assert not self.adapter.caps.ask_may_create
        assert self.adapter.caps.find_by_own_ref

    def test_has_no_options_of_its_own(self) -> None:
        assert dict(self.adapter.option_fields) == {}
        with pytest.raises(BadOption, match="unknown option 'base_url'"):
            load_caps(self.kind, {"base_url": "x"})

    def test_makes_an_account_without_address_login_and_secrets(self) -> None:
        account = Integration(kind=self.kind, currency="TRY")
        assert [getattr(account, name) for name in IDENTITY] == [self.kind, "", ""]
        assert account.account() == replace(self.account, tokens=account.account().tokens)
