"""The questions that every provider adapter must answer alike; no provider is named here.

A subclass gives the adapter's kind, an account, a request and the figures in its recorded replies. The replies lie in
`replies/<kind>/<verb>.<situation>[.<variant>][.<status>].txt`, byte for byte as they came; the verb `ask` stands for
`find` and `status`. What each situation means is the same for all adapters and is written in `MEANING`; a situation
that a protocol cannot have stands in its class's `IMPOSSIBLE` with the reason.

`AdapterContract` is for every protocol with a wire; `WithReference`, `WithCodes`, `InBatches`, `WithCatalogue` and
`WithListing` add the questions for those whose capabilities or verbs say so, and the registry's tests compare the two.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from apps.common.wire import Answer, HttpCall, HttpReply, MaybeSent, MaybeSentReason, NotSent, NotSentReason
from apps.providers.contract import (
    CATALOGUE_LIMIT,
    Account,
    Adapter,
    Balance,
    Capabilities,
    Catalogue,
    Code,
    Listing,
    OrderRef,
    Outcome,
    PlaceRequest,
    Result,
    contradictions,
)
from apps.providers.registry import load_wired

REPLIES = Path(__file__).parent / "replies"

MEANING: dict[str, Outcome] = {
    "place.accepted": Outcome.ACCEPTED,
    "place.completed": Outcome.COMPLETED,
    "place.refused_balance": Outcome.INSUFFICIENT_BALANCE,
    "place.refused_product": Outcome.REJECTED,
    "place.refused_stock": Outcome.OUT_OF_STOCK,
    "place.refused_login": Outcome.AUTH_ERROR,
    "place.rate_limited": Outcome.RATE_LIMITED,
    "place.duplicate": Outcome.UNKNOWN,
    "place.temporary": Outcome.UNKNOWN,
    "place.unlisted": Outcome.UNKNOWN,
    "ask.pending": Outcome.ACCEPTED,
    "ask.completed_with_code": Outcome.COMPLETED,
    "ask.completed_without_code": Outcome.COMPLETED,
    "ask.partial": Outcome.PARTIAL,
    "ask.failed": Outcome.REJECTED,
    "ask.reversed": Outcome.REVERSED,
    "ask.unknown_word": Outcome.UNKNOWN,
    "ask.not_found": Outcome.NOT_FOUND,
    "ask.login": Outcome.AUTH_ERROR,
    "ask.question_failed": Outcome.UNKNOWN,
}
"""What the situations of recorded replies are, for every provider."""

BALANCES = ("balance.amount", "balance.failed")
CATALOGUES = ("catalogue.items", "catalogue.failed")
LISTINGS = ("listing.purchases", "listing.failed")
PLACED_AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
LISTED_FROM = PLACED_AT - timedelta(days=2)
CALLS_MAX = 5

REFUSALS = frozenset(
    {Outcome.REJECTED, Outcome.OUT_OF_STOCK, Outcome.INSUFFICIENT_BALANCE, Outcome.AUTH_ERROR, Outcome.RATE_LIMITED}
)
DELIVERIES = frozenset({Outcome.COMPLETED, Outcome.PARTIAL})

PAGE = b"<!DOCTYPE html><html><body>Bak\xc4\xb1m</body></html>"
NO_NEWS: dict[str, HttpReply] = {
    "empty": HttpReply(200, b""),
    "white_space": HttpReply(200, b" \r\n\t "),
    "page": HttpReply(200, PAGE),
    "page_after_spaces": HttpReply(200, b"\r\n  " + PAGE),
    "notice_before_the_answer": HttpReply(200, b"<br />\n<b>Warning</b>: mysqli_connect() in x.php"),
    "error_500": HttpReply(500, b"Internal Server Error"),
    "gateway_502": HttpReply(502, PAGE),
    "busy_503_empty": HttpReply(503, b""),
    "redirect_301": HttpReply(301, b"", {"location": "http://127.0.0.1/"}),
    "redirect_302": HttpReply(302, b"", {"location": "http://127.0.0.1/"}),
    "too_many_429": HttpReply(429, b"", {"retry-after": "5"}),
    "unauthorized_401": HttpReply(401, b""),
    "forbidden_403": HttpReply(403, PAGE),
    "no_such_page_404": HttpReply(404, PAGE),
    "no_content_204": HttpReply(204, b""),
    "garbage": HttpReply(200, bytes(range(256))),
    "zeros": HttpReply(200, bytes(64)),
    "utf_16": HttpReply(200, "OK|2|ABC".encode("utf-16"), {"content-type": "text/html; charset=utf-16"}),
    "strange_charset": HttpReply(200, b"\xff\xfe\x00|", {"content-type": "text/html; charset=unicode_escape"}),
    "long_letters": HttpReply(200, b"A" * 262144),
}
"""Complete answers that say nothing about an order, whatever the protocol."""

T = TypeVar("T")
Talk = Generator[HttpCall, Answer, T]

ANY_ANSWER: st.SearchStrategy[Answer] = st.one_of(
    st.builds(HttpReply, status=st.integers(100, 599), body=st.binary(max_size=200)),
    st.builds(NotSent, reason=st.sampled_from(NotSentReason)),
    st.builds(MaybeSent, reason=st.sampled_from(MaybeSentReason), body=st.binary(max_size=50)),
)
CODES = st.text(st.characters(codec="utf-8", exclude_characters="|", exclude_categories=["C", "Z"]), min_size=2)
PROPERTY = settings(
    max_examples=300, deadline=None, database=None, suppress_health_check=[HealthCheck.differing_executors]
)


def converse(talk: Talk[T], answer: Answer | Callable[[HttpCall], Answer]) -> tuple[T, list[HttpCall]]:
    """Gives `answer` to each call and returns the talk's value with the calls; fails when the talk does not end.

    Where one verb asks about several things, `answer` may be a function that knows the answer to each call.
    """
    calls: list[HttpCall] = []
    try:
        calls.append(next(talk))
        for _ in range(CALLS_MAX):
            calls.append(talk.send(answer(calls[-1]) if callable(answer) else answer))
    except StopIteration as end:
        return end.value, calls
    raise AssertionError(f"still asking after {CALLS_MAX} answers")


def situation_of(path: Path) -> str:
    """`place.accepted` for `place.accepted.comma.txt`."""
    return ".".join(path.name.split(".")[:2])


def load_reply(path: Path) -> HttpReply:
    """The recorded body; the status is 200 unless the last part of the name says another one."""
    last = path.stem.split(".")[-1]
    return HttpReply(int(last) if last.isdecimal() else 200, path.read_bytes())


def recorded(kind: str, *situations: str) -> list[Path]:
    """The recorded replies of a kind, for the given situations (or beginnings of them)."""
    found = sorted((REPLIES / kind).glob("*.*"))
    return [path for path in found if not situations or situation_of(path).startswith(situations)]


def amounts_of(value: Result | Balance) -> Iterator[object]:
    """Every field of a value that holds money or a count."""
    names = {"cost", "balance_after", "delivered", "remains", "amount", "credit", "debt"}
    return (getattr(value, field.name) for field in fields(value) if field.name in names)


class AdapterContract:
    """Shared questions. Parameters named `..._path` are filled with the recorded replies of the subclass's kind."""

    kind: ClassVar[str]
    folder: ClassVar[str] = ""
    """Where the recorded replies lie, for the second contract of a kind that speaks two protocols."""
    account: ClassVar[Account]
    request: ClassVar[PlaceRequest]
    provider_id: ClassVar[str] = ""
    """What the provider calls the order in the recorded replies, where questions need it."""
    cost: ClassVar[Decimal | None]
    """In every `place.accepted` reply; None where the protocol tells no cost there."""
    code: ClassVar[Code] = Code("0012-ABCD-3456")
    """In every `ask.completed_with_code` reply."""
    balance: ClassVar[Decimal]
    """In every `balance.amount` reply."""
    houses: ClassVar[tuple[str, ...]] = ()
    """Addresses beside the account's own that the protocol may talk to, such as the one that lends tokens."""
    refusing_words: ClassVar[tuple[bytes, ...]]
    """Words inside the recorded refusals beside which a provider might repeat what it was sent."""
    IMPOSSIBLE: ClassVar[dict[str, str]] = {}
    """Situations that this protocol cannot have, each with the reason."""

    RECORDED: ClassVar[dict[str, tuple[str, ...]]] = {
        "place_path": ("place.",),
        "accepted_path": ("place.accepted",),
        "refused_path": ("place.refused_",),
        "duplicate_path": ("place.duplicate",),
        "ask_path": ("ask.",),
        "with_code_path": ("ask.completed_with_code",),
        "batch_path": ("ask.pending", "ask.completed", "ask.failed"),
        "without_code_path": ("ask.completed_without_code", "ask.pending", "ask.failed"),
        "failed_path": ("ask.failed",),
        "amount_path": ("balance.amount",),
        "no_amount_path": ("balance.failed",),
        "items_path": ("catalogue.items",),
        "no_items_path": ("catalogue.failed",),
        "purchases_path": ("listing.purchases",),
        "no_purchases_path": ("listing.failed",),
    }

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        for name, situations in self.RECORDED.items():
            if name in metafunc.fixturenames:
                paths = self.recorded(*situations)
                metafunc.parametrize(name, paths, ids=[path.stem for path in paths])

    # Helpers

    def recorded(self, *situations: str) -> list[Path]:
        """The recorded replies of this contract."""
        return recorded(self.folder or self.kind, *situations)

    def repeating(self, body: bytes, secret: bytes) -> bytes:
        """A refusal that repeats a credential among its words."""
        for word in self.refusing_words:
            body = body.replace(word, word + b" " + secret + b" ")
        return body

    @property
    def adapter(self) -> Adapter:
        return load_wired(self.kind)

    @property
    def ref(self) -> OrderRef:
        return OrderRef(self.request.reference, self.provider_id, PLACED_AT, self.request)

    @property
    def has_reference(self) -> bool:
        return self.adapter.caps.ref_format != "none"

    def place(self, answer: Answer) -> Result:
        return converse(self.adapter.place(self.account, self.request), answer)[0]

    def find(self, answer: Answer) -> Result:
        return converse(self.adapter.find(self.account, self.ref), answer)[0]

    def ask(self, answer: Answer) -> Result:
        """By our reference where the protocol takes one, else by the provider's id; no answer is no news."""
        if self.adapter.caps.find_by_own_ref:
            return self.find(answer)
        return self.status(answer) or Result(Outcome.UNKNOWN, self.request.reference, currency=self.account.currency)

    def status(self, answer: Answer) -> Result | None:
        return converse(self.adapter.status(self.account, [self.ref]), answer)[0].get(self.request.reference)

    def money(self, answer: Answer) -> Balance:
        return converse(self.adapter.balance(self.account), answer)[0]

    def calls(self) -> list[HttpCall]:
        """Each call of each verb, when nothing useful is answered."""
        adapter, silent = self.adapter, HttpReply(200, b"")
        return [
            *converse(adapter.place(self.account, self.request), silent)[1],
            *converse(adapter.find(self.account, self.ref), silent)[1],
            *converse(adapter.status(self.account, [self.ref]), silent)[1],
            *converse(adapter.balance(self.account), silent)[1],
        ]

    # The adapter itself

    def test_names_itself_as_registered(self) -> None:
        assert self.adapter.kind == self.kind
        assert self.adapter.label

    def test_asks_for_secrets_that_the_test_account_has(self) -> None:
        assert set(self.adapter.secret_fields) == set(self.account.secrets)

    def test_maps_products_by_the_fields_it_names(self) -> None:
        assert set(self.adapter.mapping_fields) == set(self.request.product)

    def test_does_not_call_a_request_safe_to_repeat_without_a_proof(self) -> None:
        caps: Capabilities = self.adapter.caps
        assert not caps.resend_same_ref_safe or caps.dedup in ("rejects", "returns_original")

    def test_declares_nothing_that_contradicts_itself(self) -> None:
        assert contradictions(self.adapter.caps) == []

    def test_has_a_recorded_reply_for_each_situation(self) -> None:
        lists = CATALOGUES if isinstance(self, WithCatalogue) else ()
        listings = LISTINGS if isinstance(self, WithListing) else ()
        expected = {*MEANING, *BALANCES, *lists, *listings} - set(self.IMPOSSIBLE)
        assert {situation_of(path) for path in self.recorded()} == expected

    def test_says_why_a_situation_is_impossible(self) -> None:
        assert set(self.IMPOSSIBLE) <= {*MEANING, *BALANCES}
        assert all(self.IMPOSSIBLE.values())

    # Calls

    def test_places_with_exactly_one_call(self) -> None:
        assert len(converse(self.adapter.place(self.account, self.request), HttpReply(200, b""))[1]) == 1

    @pytest.mark.parametrize("maybe", list(MaybeSentReason))
    def test_never_places_again_after_silence(self, maybe: MaybeSentReason) -> None:
        assert len(converse(self.adapter.place(self.account, self.request), MaybeSent(maybe))[1]) == 1

    def test_asks_in_the_provider_s_own_house_only(self) -> None:
        houses = [house.rstrip("/") + "/" for house in (self.account.base_url, *self.houses)]
        assert all(call.url.startswith(tuple(houses)) for call in self.calls())

    def test_asks_about_the_order_by_its_own_name(self) -> None:
        name = self.request.reference if self.adapter.caps.find_by_own_ref else self.provider_id
        silent = HttpReply(200, b"")
        asked = converse(self.adapter.status(self.account, [self.ref]), silent)[1]
        assert name in repr((asked[-1].url, asked[-1].params, asked[-1].form, asked[-1].json))

    def test_shows_no_secret_in_a_call_s_text(self) -> None:
        for call in self.calls():
            for secret in self.account.secrets.values():
                assert secret not in repr(call) + call.redacted() + call.url

    def test_marks_each_secret_that_it_sends_as_one(self) -> None:
        for call in self.calls():
            for name, value in (*call.params, *(call.form or ()), *call.headers):
                assert name in call.secrets or value not in self.account.secrets.values()

    def test_waits_as_long_as_its_capabilities_say(self) -> None:
        place, *questions = (call.timeout_s for call in self.calls())
        assert place == self.adapter.caps.place_timeout_s
        assert set(questions) == {self.adapter.caps.ask_timeout_s}

    def test_waits_as_long_as_the_account_says(self) -> None:
        account = replace(self.account, options={"place_timeout_s": 7, "ask_timeout_s": 3.5})
        assert next(self.adapter.place(account, self.request)).timeout_s == 7
        assert next(self.adapter.status(account, [self.ref])).timeout_s == 3.5

    def test_asks_once_about_one_order(self) -> None:
        asked = converse(self.adapter.status(self.account, [self.ref]), HttpReply(200, b""))[1]
        assert len(asked) == 1

    def test_answers_for_no_order_without_a_call(self) -> None:
        assert converse(self.adapter.status(self.account, []), HttpReply(200, b"")) == ({}, [])

    def test_refuses_more_orders_at_once_than_it_can(self) -> None:
        most = self.adapter.caps.status_batch_max
        refs = [replace(self.ref, own_ref=str(number), provider_id=str(number)) for number in range(most + 1)]
        with pytest.raises(ValueError, match="question"):
            next(self.adapter.status(self.account, refs))

    # Nothing, or not everything, was heard

    @pytest.mark.parametrize("reason", list(NotSentReason))
    def test_knows_that_nothing_was_placed(self, reason: NotSentReason) -> None:
        result = self.place(NotSent(reason, "no connection"))
        assert (result.outcome, result.reason_code) == (Outcome.NOT_SENT, reason.value)

    @pytest.mark.parametrize("reason", list(NotSentReason))
    def test_learns_nothing_from_a_question_not_sent(self, reason: NotSentReason) -> None:
        assert self.ask(NotSent(reason)).outcome is Outcome.UNKNOWN
        self.check_no_news(self.status(NotSent(reason)))
        assert self.money(NotSent(reason)).amount is None

    @pytest.mark.parametrize("reason", list(MaybeSentReason))
    def test_does_not_guess_after_silence(self, reason: MaybeSentReason) -> None:
        silence = MaybeSent(reason, status=200, body=self.recorded("place.accepted")[0].read_bytes())
        assert self.place(silence).outcome is Outcome.UNKNOWN
        assert self.ask(silence).outcome is Outcome.UNKNOWN
        self.check_no_news(self.status(silence))
        assert self.money(silence).amount is None

    @pytest.mark.parametrize("name", NO_NEWS)
    def test_is_in_doubt_after_an_answer_that_says_nothing(self, name: str) -> None:
        result = self.place(NO_NEWS[name])
        assert (result.outcome, result.cost, result.codes) == (Outcome.UNKNOWN, None, ())

    @pytest.mark.parametrize("name", NO_NEWS)
    def test_learns_nothing_from_an_answer_that_says_nothing(self, name: str) -> None:
        assert self.ask(NO_NEWS[name]).outcome is Outcome.UNKNOWN
        self.check_no_news(self.status(NO_NEWS[name]))

    @pytest.mark.parametrize("name", NO_NEWS)
    def test_reads_no_balance_from_an_answer_that_says_nothing(self, name: str) -> None:
        balance = self.money(NO_NEWS[name])
        assert (balance.amount, balance.credit, balance.debt) == (None, None, None)
        assert balance.error

    def check_no_news(self, result: Result | None) -> None:
        assert result is None or result.outcome is Outcome.UNKNOWN

    # Placing

    def test_reads_a_placing_answer_by_its_meaning(self, place_path: Path) -> None:
        assert self.place(load_reply(place_path)).outcome is MEANING[situation_of(place_path)]

    def test_reads_the_cost_of_an_accepted_order(self, accepted_path: Path) -> None:
        result = self.place(load_reply(accepted_path))
        assert (result.cost, result.currency) == (self.cost, self.account.currency)

    def test_keeps_the_provider_s_words_of_a_refusal(self, refused_path: Path) -> None:
        result = self.place(load_reply(refused_path))
        assert result.reason
        assert (result.cost, result.codes, result.duplicate) == (None, (), False)

    def test_says_that_a_duplicate_is_one(self, duplicate_path: Path) -> None:
        assert self.place(load_reply(duplicate_path)).duplicate is True

    def test_believes_no_refusal_of_a_broken_answer(self, refused_path: Path) -> None:
        reply = load_reply(refused_path)
        assert self.place(replace(reply, status=502)).outcome is Outcome.UNKNOWN
        assert self.place(replace(reply, status=302)).outcome is Outcome.UNKNOWN
        assert self.place(MaybeSent(MaybeSentReason.CUT, body=reply.body)).outcome is Outcome.UNKNOWN

    def test_repeats_no_credential_that_the_provider_repeats(self, refused_path: Path) -> None:
        reply = load_reply(refused_path)
        secret = next(iter(self.account.secrets.values()))
        reply = replace(reply, body=self.repeating(reply.body, secret.encode()))
        assert secret.encode() in reply.body
        assert secret not in self.place(reply).reason

    # Asking

    def test_reads_an_answer_to_a_question_by_its_meaning(self, ask_path: Path) -> None:
        assert self.ask(load_reply(ask_path)).outcome is MEANING[situation_of(ask_path)]

    def test_says_the_same_by_both_ways_of_asking(self, ask_path: Path) -> None:
        reply = load_reply(ask_path)
        found, listed = self.ask(reply), self.status(reply)
        no_news = (Outcome.UNKNOWN, Outcome.NOT_FOUND, Outcome.AUTH_ERROR)
        assert listed == found or (listed is None and found.outcome in no_news)

    def test_finds_no_code_where_there_is_none(self, without_code_path: Path) -> None:
        assert self.ask(load_reply(without_code_path)).codes == ()

    def test_gives_codes_of_delivered_orders_only(self, ask_path: Path) -> None:
        result = self.ask(load_reply(ask_path))
        assert not result.codes or result.outcome in DELIVERIES

    def test_tells_no_code_in_its_reason(self, ask_path: Path) -> None:
        result = self.ask(load_reply(ask_path))
        assert self.code.value not in result.reason
        assert self.code.value not in repr(result)

    # Money

    def test_reads_the_balance(self, amount_path: Path) -> None:
        balance = self.money(load_reply(amount_path))
        assert (balance.amount, balance.currency, balance.error) == (self.balance, self.account.currency, "")

    def test_reads_credit_and_debt_that_make_the_balance(self, amount_path: Path) -> None:
        balance = self.money(load_reply(amount_path))
        assert balance.credit is not None
        assert balance.credit - (balance.debt or 0) == self.balance

    def test_says_an_error_instead_of_a_zero(self, no_amount_path: Path) -> None:
        balance = self.money(load_reply(no_amount_path))
        assert (balance.amount, balance.credit, balance.debt) == (None, None, None)
        assert balance.error

    # Everything it says

    def test_echoes_reference_and_currency_after_each_recorded_answer(self, place_path: Path) -> None:
        result = self.place(load_reply(place_path))
        assert (result.own_ref, result.currency) == (self.request.reference, self.account.currency)

    def test_echoes_reference_and_currency_after_each_question(self, ask_path: Path) -> None:
        result = self.ask(load_reply(ask_path))
        assert (result.own_ref, result.currency) == (self.request.reference, self.account.currency)

    def test_counts_in_decimals_only(self, place_path: Path) -> None:
        self.check_decimals(self.place(load_reply(place_path)))

    def test_counts_balances_in_decimals_only(self, amount_path: Path) -> None:
        self.check_decimals(self.money(load_reply(amount_path)))

    def check_decimals(self, value: Result | Balance) -> None:
        assert all(amount is None or type(amount) is Decimal for amount in amounts_of(value))

    # Any answer at all

    @given(answer=ANY_ANSWER)
    @PROPERTY
    def test_never_raises_and_never_concludes_from_noise(self, answer: Answer) -> None:
        placed = self.place(answer)
        assert placed.outcome not in REFUSALS | DELIVERIES
        assert (placed.outcome is Outcome.NOT_SENT) == isinstance(answer, NotSent)
        assert self.ask(answer).outcome not in (Outcome.REJECTED, Outcome.COMPLETED, Outcome.NOT_SENT)
        self.status(answer)
        self.check_decimals(self.money(answer))

    @given(data=st.data())
    @PROPERTY
    def test_never_raises_for_a_damaged_answer(self, data: st.DataObject) -> None:
        body = data.draw(st.sampled_from(self.recorded())).read_bytes()
        start, end = sorted((data.draw(st.integers(0, len(body))), data.draw(st.integers(0, len(body)))))
        reply = HttpReply(200, body[:start] + data.draw(st.binary(max_size=8)) + body[end:])
        for value in (self.place(reply), self.ask(reply), self.money(reply)):
            self.check_decimals(value)
        self.status(reply)

    @given(status=st.integers(100, 599).filter(lambda status: status != 200), data=st.data())
    @PROPERTY
    def test_never_delivers_on_a_placing_answer_with_an_odd_status(self, status: int, data: st.DataObject) -> None:
        body = data.draw(st.sampled_from(self.recorded())).read_bytes()
        result = self.place(HttpReply(status, body))
        assert result.outcome not in DELIVERIES
        assert result.codes == ()

    def test_concludes_nothing_from_the_answer_about_another_order(self, batch_path: Path) -> None:
        other = replace(self.ref, own_ref="900000000000000001", provider_id="9999999")
        if self.adapter.caps.status_batch_max > 1:
            found = converse(self.adapter.status(self.account, [other]), load_reply(batch_path))[0]
            assert other.own_ref not in found


class WithReference:
    """For protocols that take our reference and find an order by it."""

    def test_sends_our_reference_when_placing_and_asking(self: Any) -> None:
        place = converse(self.adapter.place(self.account, self.request), HttpReply(200, b""))[1][-1]
        find = converse(self.adapter.find(self.account, self.ref), HttpReply(200, b""))[1][-1]
        for call in (place, find):
            assert self.request.reference in repr((call.url, call.params, call.form, call.json))

    def test_sends_different_references_for_different_orders(self: Any) -> None:
        last = "7" if self.request.reference[-1] != "7" else "8"
        other = replace(self.request, reference=self.request.reference[:-1] + last)
        assert next(self.adapter.place(self.account, other)) != next(self.adapter.place(self.account, self.request))

    def test_does_not_pass_our_reference_off_as_the_provider_s_id(self: Any, ask_path: Path) -> None:
        assert self.ask(load_reply(ask_path)).provider_id != self.request.reference


class WithCodes:
    """For protocols that deliver codes."""

    delivered: ClassVar[str]
    """An answer to a question about a delivered order, with `CODE` where its code stands."""

    def reply_with_code(self, value: str) -> HttpReply:
        """The answer for a delivered order with this code; a protocol that escapes codes replaces this method."""
        return HttpReply(200, self.delivered.replace("CODE", value).encode())

    def test_reads_the_code_of_a_delivered_order(self: Any, with_code_path: Path) -> None:
        assert self.ask(load_reply(with_code_path)).codes == (self.code,)

    @pytest.mark.parametrize(
        "value",
        [
            "0000123",
            "7",
            "ABCD-EFGH-IJKL",
            "A" * 400,
            "çğıİöşü-ÇĞÖŞÜ",
            "日本語コード",
            "a b  c",
            "100%",
            "%41%42",
            "AB+CD/EF==",
            "https://example.invalid/r?c=1&d=2",
            "<b>1</b>",
            "null-1",
            "12,50",
            "'\"\\;--",
        ],
    )
    def test_passes_a_code_on_exactly(self: Any, value: str) -> None:
        assert self.ask(self.reply_with_code(value)).codes == (Code(value),)

    @given(value=CODES)
    @PROPERTY
    def test_passes_any_code_on_exactly(self: Any, value: str) -> None:
        codes = self.ask(self.reply_with_code(value)).codes
        assert codes == (Code(value),) or value.strip("+-").casefold() in ("", "null")


class InBatches:
    """For protocols that answer about several orders in one question."""

    def batch_reply(self, refs: Sequence[OrderRef]) -> HttpReply:
        """An answer that says of each of these orders, in this order, that it is in progress."""
        raise AssertionError("a protocol with batches writes its answer here")

    def refs(self: Any, count: int) -> list[OrderRef]:
        """Orders whose names are all different; a protocol with names of another form replaces this method."""
        return [
            replace(self.ref, own_ref=str(10**17 + number), provider_id=str(10**6 + number)) for number in range(count)
        ]

    def ask_many(self: Any, refs: Sequence[OrderRef], answer: Answer) -> tuple[Mapping[str, Result], list[HttpCall]]:
        found, calls = converse(self.adapter.status(self.account, refs), answer)
        return found, calls

    def test_asks_about_as_many_as_it_can_in_one_call(self: Any) -> None:
        refs = self.refs(self.adapter.caps.status_batch_max)
        found, calls = self.ask_many(refs, self.batch_reply(refs))
        assert len(calls) == 1
        assert {ref: result.outcome for ref, result in found.items()} == dict.fromkeys(
            [ref.own_ref for ref in refs], Outcome.ACCEPTED
        )

    def test_gives_each_answer_to_its_own_order(self: Any) -> None:
        refs = self.refs(5)
        found, _ = self.ask_many(refs, self.batch_reply(refs[::-1]))
        assert all(result.own_ref == own_ref for own_ref, result in found.items())
        assert len(found) == 5

    def test_learns_nothing_about_an_order_that_is_missing(self: Any) -> None:
        refs = self.refs(3)
        assert set(self.ask_many(refs, self.batch_reply(refs[:2]))[0]) == {ref.own_ref for ref in refs[:2]}

    def test_ignores_orders_that_it_did_not_ask_about(self: Any) -> None:
        refs = self.refs(3)
        assert set(self.ask_many(refs[:1], self.batch_reply(refs))[0]) == {refs[0].own_ref}

    def test_keeps_of_the_answer_what_is_about_the_order(self: Any) -> None:
        refs = self.refs(3)
        raws = [result.raw for result in self.ask_many(refs, self.batch_reply(refs))[0].values()]
        assert all(raws)
        assert len(set(raws)) == len(refs)

    @pytest.mark.parametrize("name", NO_NEWS)
    def test_learns_nothing_about_many_from_an_answer_that_says_nothing(self: Any, name: str) -> None:
        found, _ = self.ask_many(self.refs(3), NO_NEWS[name])
        assert {result.outcome for result in found.values()} <= {Outcome.UNKNOWN}


class WithCatalogue:
    """For protocols that list what they sell."""

    items: ClassVar[int]
    """How many things every `catalogue.items` reply lists."""

    def list_all(self: Any, answer: Answer) -> Catalogue:
        listed: Catalogue = converse(self.adapter.catalogue(self.account), answer)[0]
        return listed

    def test_lists_what_can_be_mapped(self: Any, items_path: Path) -> None:
        listed = self.list_all(load_reply(items_path))
        assert listed.error == ""
        assert len(listed.items) == self.items
        for item in listed.items:
            assert set(self.adapter.mapping_fields) <= set(item.ids)
            assert all(item.ids.values())
            assert item.name

    def test_names_each_thing_once(self: Any, items_path: Path) -> None:
        ids = [tuple(sorted(item.ids.items())) for item in self.list_all(load_reply(items_path)).items]
        assert len(set(ids)) == len(ids)

    def test_tells_costs_in_decimals_of_the_account_s_money(self: Any, items_path: Path) -> None:
        for item in self.list_all(load_reply(items_path)).items:
            assert item.cost is None or (type(item.cost) is Decimal and item.cost > 0 and item.currency)

    def test_says_an_error_instead_of_an_empty_list(self: Any, no_items_path: Path) -> None:
        listed = self.list_all(load_reply(no_items_path))
        assert listed.items == ()
        assert listed.error

    @pytest.mark.parametrize("name", NO_NEWS)
    def test_lists_nothing_from_an_answer_that_says_nothing(self: Any, name: str) -> None:
        listed = self.list_all(NO_NEWS[name])
        assert listed.items == ()
        assert listed.error

    @pytest.mark.parametrize("answer", [NotSent(NotSentReason.DNS), MaybeSent(MaybeSentReason.TIMEOUT)])
    def test_lists_nothing_without_an_answer(self: Any, answer: Answer) -> None:
        listed = self.list_all(answer)
        assert listed.items == ()
        assert listed.error

    @given(answer=ANY_ANSWER)
    @PROPERTY
    def test_never_raises_for_a_list(self: Any, answer: Answer) -> None:
        self.list_all(answer)

    def test_may_read_a_long_list(self: Any) -> None:
        call = next(self.adapter.catalogue(self.account))
        assert call.limit_bytes == CATALOGUE_LIMIT


class WithListing:
    """For protocols that list what was bought. What is not listed is asked about: half a list must be none."""

    listed: ClassVar[tuple[tuple[str, str, Outcome], ...]]
    """Our reference, the provider's id and the outcome of each line in every `listing.purchases` reply."""

    def list_bought(self: Any, answer: Answer) -> Listing:
        listing: Listing = converse(self.adapter.listing(self.account, LISTED_FROM, PLACED_AT), answer)[0]
        return listing

    def test_lists_what_was_bought(self: Any, purchases_path: Path) -> None:
        listing = self.list_bought(load_reply(purchases_path))
        assert listing.error == ""
        assert tuple((one.own_ref, one.provider_id, one.outcome) for one in listing.purchases) == self.listed

    def test_lists_money_in_decimals_and_times_with_a_zone(self: Any, purchases_path: Path) -> None:
        for one in self.list_bought(load_reply(purchases_path)).purchases:
            assert type(one.cost) is Decimal
            assert (one.currency, one.word) == (self.account.currency, one.word.strip())
            assert (one.at, bool(one.word)) == (PLACED_AT + timedelta(seconds=1), True)

    def test_lists_no_code(self: Any, purchases_path: Path) -> None:
        assert self.code.value not in repr(self.list_bought(load_reply(purchases_path)))

    def test_says_an_error_instead_of_half_a_list(self: Any, no_purchases_path: Path) -> None:
        listing = self.list_bought(load_reply(no_purchases_path))
        assert (listing.purchases, bool(listing.error)) == ((), True)

    @pytest.mark.parametrize("name", NO_NEWS)
    def test_lists_no_purchase_from_an_answer_that_says_nothing(self: Any, name: str) -> None:
        listing = self.list_bought(NO_NEWS[name])
        assert (listing.purchases, bool(listing.error)) == ((), True)

    @pytest.mark.parametrize("answer", [NotSent(NotSentReason.DNS), MaybeSent(MaybeSentReason.TIMEOUT)])
    def test_lists_no_purchase_without_an_answer(self: Any, answer: Answer) -> None:
        listing = self.list_bought(answer)
        assert (listing.purchases, bool(listing.error)) == ((), True)

    @given(answer=ANY_ANSWER)
    @PROPERTY
    def test_never_raises_for_a_list_of_purchases(self: Any, answer: Answer) -> None:
        assert self.list_bought(answer).error

    def test_asks_for_the_list_without_showing_a_secret(self: Any) -> None:
        call = next(self.adapter.listing(self.account, LISTED_FROM, PLACED_AT))
        assert (call.method, call.limit_bytes) == ("GET", CATALOGUE_LIMIT)
        assert not [secret for secret in self.account.secrets.values() if secret in call.redacted()]
