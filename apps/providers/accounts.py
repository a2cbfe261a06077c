"""An account opened for a question that is no purchase: its balance, or its list."""

from __future__ import annotations

from apps.common.crypto import CannotOpen
from apps.providers.contract import Account
from apps.providers.models import Integration
from apps.providers.registry import load_adapter, missing_secrets


class NotReady(Exception):
    """Nothing can be asked at this account; the text says why."""


def open_account(integration: Integration) -> Account:
    """The account with its secrets. Raises `NotReady` where they cannot be opened, or one of them is missing."""
    try:
        account = integration.account()
    except CannotOpen as error:
        raise NotReady(str(error)) from error
    if missing := missing_secrets(load_adapter(integration.kind), account):
        raise NotReady(f"the account has no {missing[0]}")
    return account
