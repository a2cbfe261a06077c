"""Run with the hub's settings: makes its tables, its schedule and the proof's shop, and prints the buyers' keys."""

from __future__ import annotations

import json
import sys

import django

OPTIONS: dict[str, object] = {
    "poll_first_s": 1,
    "poll_base_s": 1,
    "poll_cap_s": 8,
    "poll_floor_s": 0.5,
    "send_window_s": 4,
    "place_timeout_s": 3,
    "ask_timeout_s": 3,
    "resolve_margin_s": 1,
    "failed_final_after_s": 1,
    "review_after_s": 20,
    "resend_min_gap_s": 0.5,
    "rate_per_s": 50,
    "burst": 50,
}
"""Of every account: the same code in a hurry."""


def main(provider_url: str) -> None:
    """Make it all."""
    from django.core.management import call_command

    from apps.accounts.keys import issue_key
    from apps.common import clock
    from apps.ops.schedule import install_schedule
    from apps.proof.shop import open_shop

    call_command("migrate", verbosity=0)
    install_schedule()
    shop = open_shop(provider_url, OPTIONS)
    for account in shop.accounts.values():
        account.caps()  # raises for options that cannot be
    keys = [issue_key(customer, clock.now(), label="chaos")[1] for customer in shop.customers]
    sys.stdout.write(json.dumps(keys) + "\n")


if __name__ == "__main__":
    django.setup()
    main(sys.argv[1])
