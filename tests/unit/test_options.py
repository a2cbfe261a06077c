"""Options of provider accounts: what they may change, and what is said about the rest."""

from __future__ import annotations

import pytest

from apps.providers.options import Asking, BadOption, load_asking, load_caps
from apps.providers.tokens import ProcessTokens, tokens_of


class TestLoadCaps:
    def test_changes_what_is_named(self) -> None:
        options = {"place_timeout_s": 7, "poll_floor_s": 3, "rate_per_s": 0.5, "burst": 2}
        caps = load_caps("znet", options)
        assert (caps.place_timeout_s, caps.poll.floor_s, caps.rate_per_s, caps.burst) == (7, 3, 0.5, 2)
        assert caps.ask_timeout_s == load_caps("znet", {}).ask_timeout_s

    def test_a_knob_named_like_a_capability_sets_it(self) -> None:
        caps = load_caps("znet", {"dedup": "returns_original", "resend_same_ref_safe": True})
        assert (caps.dedup, caps.resend_same_ref_safe) == ("returns_original", True)

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"speed": 3}, "unknown option 'speed'; known are absent_after_s, ask_timeout_s, burst"),
            ({"place_timeout_s": "30"}, "'place_timeout_s' must be a number of seconds from 0.05 to 2592000"),
            ({"place_timeout_s": 0}, "'place_timeout_s' must be a number of seconds"),
            ({"place_timeout_s": True}, "'place_timeout_s' must be a number of seconds"),
            ({"rate_per_s": 0}, "'rate_per_s' must be a number of requests a second"),
            ({"burst": 1.5}, "'burst' must be a whole number from 1 to 1000"),
            ({"burst": True}, "'burst' must be a whole number from 1 to 1000"),
            ({"dedup": "perhaps"}, "'dedup' must be one of unproven, rejects, returns_original"),
            ({"dedup": []}, "'dedup' must be one of"),
            ({"resend_same_ref_safe": 1}, "'resend_same_ref_safe' must be true or false"),
            ({"resend_same_ref_safe": True}, "cannot be true together: a re-send is safe only where"),
            ({"polling": "clever"}, "'polling' must be one of spec, learned"),
            ({"price_s": 0}, "'price_s' must be a number of seconds"),
            ({"absent_after_s": 60}, "cannot be true together: absence is proven after 650 s at least"),
        ],
    )
    def test_says_what_is_wrong(self, options: dict[str, object], text: str) -> None:
        with pytest.raises(BadOption, match=text):
            load_caps("znet", options)


class TestLoadAsking:
    def test_is_the_fixed_schedule_unless_an_account_says_otherwise(self) -> None:
        assert load_asking({"poll_floor_s": 3}) == Asking("spec", 15)
        assert load_asking({"polling": "learned", "price_s": 5}) == Asking("learned", 5)


class TestTokens:
    def test_are_used_until_a_minute_before_their_end(self) -> None:
        now = [1000.0]
        store = ProcessTokens("test:until", lambda: now[0])
        store.put("access", "abc", 3600)
        now[0] += 3539
        assert store.get("access") == "abc"
        now[0] += 1
        assert store.get("access") == ""

    def test_can_be_forgotten(self) -> None:
        store = ProcessTokens("test:forgotten", lambda: 0.0)
        store.put("access", "abc", 3600)
        store.drop("access")
        store.drop("access")
        assert store.get("access") == ""

    def test_belong_to_an_account_and_its_secrets(self) -> None:
        tokens_of(1, "sealed").put("access", "abc", 3600)
        assert tokens_of(1, "sealed").get("access") == "abc"
        assert tokens_of(1, "other").get("access") == ""
        assert tokens_of(2, "sealed").get("access") == ""
