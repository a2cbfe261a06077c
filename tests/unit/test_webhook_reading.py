"""What adapters read from webhooks, and what a silence of them is: nothing here touches a database."""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.orders.silence import LAST, LEAST, LOOK_BACK, MISSED_IN_A_ROW, Habit, denser, judge
from apps.providers.contract import Account, Hook, HookCall, HookedAdapter, LocalAdapter, Outcome, PollPlan, Trust
from apps.providers.registry import ADAPTERS, load_adapter, secret_names
from apps.providers.signatures import is_signed, parse_moment
from apps.webhooks.reading import VERDICTS, is_kept

SECRET = "a webhook's secret"
PATH = "/hooks/providers/7-abc/"
AT = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
MOMENT = str(int(AT.timestamp()))
HOOKED = sorted(kind for kind, adapter in ADAPTERS.items() if isinstance(adapter, HookedAdapter))


def mac(text: bytes, algorithm: str = "sha256", secret: str = SECRET) -> str:
    return hmac.new(secret.encode(), text, algorithm).hexdigest()


def digiflazz(body: bytes) -> dict[str, str]:
    return {"x-hub-signature": "sha1=" + mac(body, "sha1")}


def reloadly(body: bytes) -> dict[str, str]:
    signed = body + b":" + MOMENT.encode()
    return {"x-reloadly-signature": mac(signed), "x-reloadly-request-timestamp": MOMENT}


def client_api(body: bytes) -> dict[str, str]:
    signed = f"POST\n{PATH}\n{MOMENT}\nn1\n{hashlib.sha256(body).hexdigest()}"
    return {
        "x-webhook-signature": mac(signed.encode()),
        "x-webhook-timestamp": MOMENT,
        "x-webhook-nonce": "n1",
    }


SIGNERS: Mapping[str, Callable[[bytes], dict[str, str]]] = {
    "digiflazz": digiflazz,
    "reloadly": reloadly,
    "client_api": client_api,
    "internal": client_api,
}
BODIES: Mapping[str, dict[str, Any]] = {
    "digiflazz": {"data": {"ref_id": "123", "rc": "00", "status": "Sukses", "sn": "1"}},
    "reloadly": {"data": {"customIdentifier": "123", "transactionId": 77, "status": "SUCCESSFUL"}},
    "client_api": {"order_id": "ID_77", "order_uuid": "123", "status": "accept"},
    "internal": {"order_id": "ID_77", "order_uuid": "123", "status": "accept"},
}


def read(kind: str, body: bytes, headers: Mapping[str, str], secret: str = SECRET, **options: Any) -> Hook:
    adapter = load_adapter(kind)
    assert isinstance(adapter, HookedAdapter)
    account = Account("https://x.invalid", secrets={"webhook_secret": secret} if secret else {}, options=options)
    return adapter.parse_webhook(account, HookCall(PATH, headers, body))


def body_of(kind: str) -> bytes:
    return json.dumps(BODIES[kind]).encode()


class TestEachKind:
    def test_has_a_signer_here(self) -> None:
        assert sorted(SIGNERS) == sorted(BODIES) == HOOKED

    def test_without_webhooks_declares_none(self) -> None:
        others = [adapter for kind, adapter in ADAPTERS.items() if kind not in HOOKED]
        assert {adapter.caps.webhook for adapter in others} == {"none"}
        assert [secret_names(adapter) == adapter.secret_fields for adapter in others] == [True] * len(others)
        assert not any(isinstance(ADAPTERS[kind], LocalAdapter) for kind in HOOKED)

    @pytest.mark.parametrize("kind", HOOKED)
    def test_reads_what_is_signed(self, kind: str) -> None:
        hook = read(kind, body_of(kind), SIGNERS[kind](body_of(kind)))
        assert (hook.trust, hook.own_ref, hook.says) == (Trust.VERIFIED, "123", Outcome.COMPLETED)
        assert hook.sent_at == (None if kind == "digiflazz" else AT)
        assert "webhook_secret" in secret_names(load_adapter(kind))

    @pytest.mark.parametrize("kind", HOOKED)
    def test_believes_no_other_body(self, kind: str) -> None:
        assert read(kind, body_of(kind) + b" ", SIGNERS[kind](body_of(kind))) == Hook(Trust.FORGED)

    @pytest.mark.parametrize("kind", HOOKED)
    def test_believes_no_other_header(self, kind: str) -> None:
        headers = SIGNERS[kind](body_of(kind))
        for name in headers:
            for wrong in ({**headers, name: headers[name] + "0"}, {**headers, name: ""}, {}):
                assert read(kind, body_of(kind), wrong) == Hook(Trust.FORGED)

    @pytest.mark.parametrize("kind", HOOKED)
    def test_without_a_secret_believes_nothing(self, kind: str) -> None:
        body = body_of(kind)
        empty = {"x-hub-signature": "sha1=" + mac(body, "sha1", "")}
        assert read(kind, body, empty | SIGNERS[kind](body), "") == Hook(Trust.NO_KEY)

    @pytest.mark.parametrize("kind", HOOKED)
    @pytest.mark.parametrize("body", [b"", b"[]", b"{}", b"null", b'{"data": 1}', b"\xff", b'{"a": 1, "a": 2}'])
    def test_calls_what_names_no_order_unreadable(self, kind: str, body: bytes) -> None:
        assert read(kind, body, SIGNERS[kind](body)) == Hook(Trust.UNREADABLE)

    @pytest.mark.parametrize("kind", HOOKED)
    @given(body=st.binary(max_size=80), text=st.text(max_size=40))
    def test_never_raises(self, kind: str, body: bytes, text: str) -> None:
        names = SIGNERS[kind](body)
        assert read(kind, body, dict.fromkeys(names, text)).trust is Trust.FORGED
        assert read(kind, body, names).trust in (Trust.VERIFIED, Trust.UNREADABLE)


class TestReloadly:
    @pytest.mark.parametrize("where", ["data", "transaction", ""])
    def test_puts_its_transaction_in_three_places(self, where: str) -> None:
        told = BODIES["reloadly"]["data"]
        body = json.dumps({where: told} if where else told).encode()
        assert read("reloadly", body, reloadly(body)).provider_id == "77"


class TestTheClientApi:
    def test_signs_the_path(self) -> None:
        adapter = load_adapter("client_api")
        assert isinstance(adapter, HookedAdapter)
        body, account = body_of("client_api"), Account("https://x.invalid", secrets={"webhook_secret": SECRET})
        call = HookCall("/hooks/providers/8-abc/", client_api(body), body)
        assert adapter.parse_webhook(account, call) == Hook(Trust.FORGED)

    def test_reads_without_a_signature_where_the_account_says_so(self) -> None:
        hook = read("client_api", body_of("client_api"), {}, "", webhook="unsigned")
        assert (hook.trust, hook.provider_id, hook.sent_at) == (Trust.UNSIGNED, "ID_77", None)


class TestASignature:
    def test_of_an_empty_secret_is_none(self) -> None:
        assert is_signed(SECRET, b"x", mac(b"x").upper(), "sha256")
        assert not is_signed("", b"x", mac(b"x", secret=""), "sha256")

    @pytest.mark.parametrize("text", ["", "-1", "1.5", "abc", "1" * 30, "٣٣٣"])
    def test_has_no_other_moment(self, text: str) -> None:
        assert parse_moment(text) is None

    def test_may_count_in_milliseconds(self) -> None:
        assert parse_moment(MOMENT + "123") == parse_moment(MOMENT) == AT


class TestTrust:
    def test_has_a_verdict_each(self) -> None:
        assert set(VERDICTS) == set(Trust)

    def test_keeps_no_header_of_a_proxy(self) -> None:
        names = ["x-hub-signature", "user-agent", "cookie", "authorization", "x-forwarded-for", "x-real-ip"]
        assert [name for name in names if is_kept(name)] == ["x-hub-signature", "user-agent"]


class TestASilence:
    def test_is_three_missed_in_a_row_after_nine_in_ten(self) -> None:
        good = [True] * 18 + [False] * 2
        assert judge(good) is Habit.RELIABLE
        assert judge([False] * 2 + good) is Habit.UNKNOWN  # 18 of 22: below nine in ten, and no silence
        assert judge([False] * MISSED_IN_A_ROW + good) is Habit.SILENT
        assert judge([True, *[False] * 9, *[True] * 40]) is Habit.UNKNOWN

    def test_needs_twenty_to_be_one(self) -> None:
        assert judge([False] * 3 + [True] * (LEAST - 1)) is Habit.UNKNOWN
        assert judge([]) is Habit.UNKNOWN

    def test_looks_at_fifty_before_it(self) -> None:
        assert judge([False] * 3 + [True] * LAST + [False] * 50) is Habit.SILENT

    def test_ends_when_they_are_gone_for_good(self) -> None:
        assert judge(([False] * (LOOK_BACK - LEAST) + [True] * LEAST)[:LOOK_BACK]) is Habit.SILENT
        assert judge([False] * LOOK_BACK) is Habit.UNKNOWN

    @given(
        wait_s=st.integers(0, 600),
        age_s=st.integers(0, 600),
        base_s=st.integers(1, 300),
        floor_s=st.integers(1, 300),
    )
    def test_makes_the_gap_shorter_and_never_below_the_floor(
        self, wait_s: int, age_s: int, base_s: int, floor_s: int
    ) -> None:
        asked_at, next_at = AT - timedelta(seconds=age_s), AT + timedelta(seconds=wait_s)
        at = denser(next_at, asked_at, PollPlan(60, base_s, 600, floor_s), AT)
        assert AT <= at <= next_at
        assert at == next_at or at - asked_at >= timedelta(seconds=floor_s)
        assert at - asked_at <= timedelta(seconds=max(base_s, floor_s, age_s))
