"""Every page of the panel by the name of its URL: what its address needs, and who sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from django.urls import reverse

from apps.panel.urls import urlpatterns

PAGES: Mapping[str, str] = {
    "account": "",
    "alerts": "",
    "approval": "",
    "approvals": "",
    "audit": "",
    "break": "",
    "breaks": "",
    "bulk": "",
    "bulk_actions": "",
    "bulk_new": "status=open",
    "case": "",
    "cases": "",
    "catalogue": "",
    "dashboard": "",
    "floats": "",
    "mail": "",
    "mapping": "",
    "members": "",
    "order": "",
    "order_decide": "",
    "order_new": "customer=1&package=1",
    "orders": "hours=0&customer=demo",
    "password": "",
    "profit": "",
    "provider": "",
    "provider_changes": "",
    "provider_items": "",
    "provider_statement": "",
    "providers": "",
    "reply": "",
    "report_money": "",
    "reveal": "",
    "review": "",
    "second_factor_set_up": "",
    "sheets": "",
    "statement_bring": "",
    "statements": "",
    "stock": "",
    "stock_import": "",
    "task": "",
    "tasks": "",
    "wallet": "",
    "wallets": "",
    "webhook": "",
    "webhook_endpoint_new": "",
    "webhooks": "",
}
"""What somebody who is signed in may open, with the query of its address."""

PAGES_OUTSIDE: Mapping[str, str] = {"login": "", "password_forgotten": "", "join": ""}
"""What somebody sees who is not signed in."""

ORDERS = ("order_done", "order_refused", "order_in_doubt", "order_open", "order_without_route")
"""Orders of every kind whose page is looked at, too, by the names of their ids."""

NOT_SHOWN = {
    "ask", "bulk_decide", "bulk_live", "break_decide", "break_take", "dashboard_live", "decide", "logout", "order_live",
    "orders_file", "orders_live", "profit_file", "provider_change_approve", "provider_changes_decide",
    "provider_diagnose", "provider_hook_rotate", "provider_live", "provider_resume", "provider_stop", "provider_sync",
    "provider_watch", "report_money_file", "session_end", "sessions_end", "set_limit", "sheet_export", "sheet_import",
    "statement", "statement_ask", "stock_threshold", "tag", "task_claim", "task_deliver", "task_refuse", "tell_float",
    "view_remove", "view_save", "wallet_ask", "webhook_endpoint_delete", "webhook_resend", "webhook_resume", "withdraw",
}  # fmt: skip
"""Buttons, files, and parts of pages."""

BETWEEN = {"second_factor", "password_new", "recovery", "second_factor_off"}
"""Pages between two steps, which `between` goes through."""


def path_of(name: str, ids: dict[str, object]) -> str:
    """The address of a page, with the ids that it needs."""
    query = {**PAGES, **PAGES_OUTSIDE}[name]
    return reverse(f"panel:{name}", kwargs=ids) + (f"?{query}" if query else "")


def paths(ids: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Name and address of every page for who is signed in; of orders several."""
    for name in PAGES:
        yield name, path_of(name, needed(name, ids))
    for name in ORDERS:
        yield name, path_of("order", {"order_id": ids[name]})


def paths_outside(ids: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Name and address of every page for who is not."""
    for name in PAGES_OUTSIDE:
        yield name, path_of(name, needed(name, ids))


def needed(name: str, ids: Mapping[str, object]) -> dict[str, object]:
    """Those of the ids that the address has a place for."""
    return {one: ids[one] for one in converters()[name] if one in ids}


def converters() -> dict[str, list[str]]:
    """What each address of the panel has a place for, by its name."""
    return {str(pattern.name): list(pattern.pattern.converters) for pattern in urlpatterns}
