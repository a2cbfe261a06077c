"""Run with the hub's settings: the demo shop with what the scenarios need more; the last line is what they are told."""

from __future__ import annotations

import json
import sys

import django

OPTIONS: dict[str, object] = {
    "poll_first_s": 0.5,
    "poll_base_s": 0.5,
    "poll_cap_s": 3,
    "poll_floor_s": 0.3,
    "send_window_s": 4,
    "place_timeout_s": 2,
    "failed_final_after_s": 1,
    "final_after_s": 300,
}
"""Of the panel's account, over the demo's: in more of a hurry."""

OPERATOR = ("olga", "olga-of-the-scenarios")
SHELF_PACKAGE, SPARE_PACKAGE, POOR_PACKAGE = "steam-100", "steam-50", "freefire-310"


def main(panel_url: str, poor_url: str) -> None:
    """Make it all."""
    from django.core.management import call_command

    from apps.accounts.keys import issue_key
    from apps.accounts.models import Customer
    from apps.catalog.models import Package
    from apps.common import clock
    from apps.ops import demo
    from apps.ops.schedule import install_schedule
    from apps.providers import stock_files
    from apps.providers.models import Integration, PackageMapping, Route

    call_command("migrate", verbosity=0)
    install_schedule()
    now = clock.now()
    tenant = demo.load_demo(panel_url, now)
    demo.add_operator(*OPERATOR, tenant)
    panel = Integration.objects.get(tenant=tenant)
    panel.options = {**panel.options, **OPTIONS}
    panel.full_clean()
    panel.save()

    def add_account(name: str, url: str, kind: str = "znet") -> Integration:
        account = Integration(tenant=tenant, name=name, kind=kind, currency="TRY", options={})
        if url:
            account.base_url, account.login, account.options, account.is_local = url, demo.LOGIN, panel.options, True
            account.set_secrets({"sifre": demo.PASSWORD})
        account.full_clean()
        account.save()
        return account

    def add_route(package_code: str, account: Integration, position: int, oyun: str = "") -> None:
        package = Package.objects.get(tenant=tenant, code=package_code)
        first = PackageMapping.objects.get(package=package, integration=panel)
        cost = first.cost_micros if account.kind == "znet" else None
        ids = {"oyun": oyun or first.oyun, "kupur": "" if oyun else first.kupur, "cost_micros": cost}
        PackageMapping.objects.create(package=package, integration=account, **ids)
        Route.objects.filter(package=package, integration=panel).update(position=3 - position)
        Route.objects.create(package=package, integration=account, position=position)

    add_route(SPARE_PACKAGE, add_account("Second panel", panel_url), 2)
    add_route(POOR_PACKAGE, add_account("Poor panel", poor_url), 1)
    shelf = add_account("Own stock", "", kind="stock")
    add_route(SHELF_PACKAGE, shelf, 1, oyun="shelf")
    reading = stock_files.read_file(
        b"code,cost,expires\nTHE-LAST-CODE,90,\n",
        tenant_id=tenant.pk,
        usual_cost_micros=None,
        delivered=lambda indexes: set(),
        today=now.date(),
    )
    stock_files.store(shelf, "shelf", "scenarios", reading.lines, now)
    keys = [issue_key(customer, now, label="scenarios")[1] for customer in Customer.objects.order_by("id")]
    sys.stdout.write(json.dumps(keys) + "\n")


if __name__ == "__main__":
    django.setup()
    main(*sys.argv[1:])
