"""What a receiver's answer means, and when the next try is."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from apps.common.wire import Answer, HttpReply, MaybeSent, MaybeSentReason, NotSent, NotSentReason
from apps.webhooks.ladder import GAPS_S, gap_s, judge, read_retry_after, rest_s

NOW = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


class TestAnAnswer:
    @pytest.mark.parametrize(
        ("answer", "outcome", "status"),
        [
            (HttpReply(200, b""), "taken", 200),
            (HttpReply(204, b""), "taken", 204),
            (HttpReply(299, b""), "taken", 299),
            (HttpReply(301, b""), "redirect", 301),
            (HttpReply(400, b""), "status", 400),
            (HttpReply(410, b""), "gone", 410),
            (HttpReply(500, b""), "status", 500),
            (NotSent(NotSentReason.EGRESS), "forbidden", None),
            (NotSent(NotSentReason.TLS), "tls", None),
            (NotSent(NotSentReason.DNS), "unreachable", None),
            (NotSent(NotSentReason.REFUSED), "unreachable", None),
            (MaybeSent(MaybeSentReason.TIMEOUT), "timeout", None),
            (MaybeSent(MaybeSentReason.RESET), "no_answer", None),
            (MaybeSent(MaybeSentReason.CUT, status=200), "no_answer", 200),
        ],
    )
    def test_is_a_delivery_only_when_it_is_whole_and_says_so(
        self, answer: Answer, outcome: str, status: int | None
    ) -> None:
        heard = judge(answer, NOW)
        assert (heard.outcome, heard.http_status) == (outcome, status)

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("", 0),
            ("0", 0),
            ("90", 90),
            ("999999999", 3600),
            ("-5", 0),
            ("soon", 0),
            ("Mon, 02 Mar 2026 09:02:00 GMT", 120),
            ("Mon, 02 Mar 2026 08:00:00 GMT", 0),
            ("Mon, 02 Mar 2099 08:00:00 GMT", 3600),
        ],
    )
    def test_may_ask_for_patience_up_to_an_hour(self, text: str, seconds: float) -> None:
        assert read_retry_after(text, NOW) == seconds


class TestTheLadder:
    def test_takes_three_days(self) -> None:
        assert (len(GAPS_S) + 1, sum(GAPS_S)) == (12, 71 * 3600 + 42 * 60 + 35)

    def test_spreads_each_gap_by_a_tenth(self) -> None:
        assert [gap_s(1, 0, draw) for draw in (0.0, 0.5)] == [4.5, 5.0]
        assert gap_s(1, 0, 0.999) == pytest.approx(5.5, abs=0.01)

    def test_waits_as_long_as_it_was_asked_to(self) -> None:
        assert [gap_s(1, wait, 0.5) for wait in (0.0, 90.0)] == [5.0, 90.0]

    def test_has_an_end(self) -> None:
        assert [gap_s(tries, 0, 0.5) for tries in (11, 12)] == [72000.0, None]


class TestARest:
    def test_grows_with_the_failures_up_to_a_minute_or_what_was_asked(self) -> None:
        assert [rest_s(failures, 0) for failures in (1, 2, 3, 4, 5, 500)] == [5, 10, 20, 40, 60, 60]
        assert rest_s(1, 600) == 600
