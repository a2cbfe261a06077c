"""The table of provider kinds: one line per protocol, from which forms, docs and tests derive theirs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import cast

from apps.accounts.keys import is_test_key
from apps.providers.adapters.client_api import CAPS, ClientApi
from apps.providers.adapters.digiflazz import Digiflazz
from apps.providers.adapters.manual import Manual
from apps.providers.adapters.reloadly import Reloadly
from apps.providers.adapters.sandbox import Sandbox
from apps.providers.adapters.smm_v2 import SmmV2
from apps.providers.adapters.stock import Stock
from apps.providers.adapters.znet import Znet
from apps.providers.adapters.znet_tl import ZnetTl
from apps.providers.contract import WEBHOOK_SECRET, Account, Adapter, HookedAdapter, Kind, LocalAdapter

INTERNAL = replace(CAPS, ref_max_age_s=None, list_form="csv")
"""The client API as this system itself sells by it: it never forgets a reference."""

ADAPTERS: dict[str, Adapter | LocalAdapter] = {
    "znet": Znet(),
    "znet_tl": ZnetTl(),
    "client_api": ClientApi(),
    "smm_v2": SmmV2(),
    "digiflazz": Digiflazz(),
    "reloadly": Reloadly(),
    "internal": ClientApi("internal", "Another shop of this system", INTERNAL, carries_path=True),
    "stock": Stock(),
    "manual": Manual(),
    "sandbox": Sandbox(),
}

SANDBOX = Sandbox.kind
"""The kind that pretends: for the sandbox of a shop, which nothing else is for."""


class UnknownKind(LookupError):
    """No adapter is registered for this kind of provider."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f"{self.__doc__} Asked for {kind!r}; there are: {', '.join(sorted(ADAPTERS))}.")


class NoWire(LookupError):
    """This kind is fulfilled here: there is nobody to ask and nothing to sign in to."""


def load_adapter(kind: str) -> Adapter | LocalAdapter:
    """The adapter of a kind. Raises UnknownKind, whose text names the kinds that exist."""
    try:
        return ADAPTERS[kind]
    except KeyError:
        raise UnknownKind(kind) from None


def load_wired(kind: str) -> Adapter:
    """The adapter of a kind that is asked over a wire. Raises UnknownKind, or NoWire for one that is not."""
    adapter = load_adapter(kind)
    if _is_local(adapter):
        raise NoWire(kind)
    return cast(Adapter, adapter)


def has_wire(kind: str) -> bool:
    """Whether purchases of this kind leave the machine; raises UnknownKind."""
    return not _is_local(load_adapter(kind))


def _is_local(adapter: Adapter | LocalAdapter) -> bool:
    """Looked at once for each class: comparing with a protocol takes longer than all else of a lookup."""
    known = _LOCAL.get(type(adapter))
    if known is None:
        known = _LOCAL[type(adapter)] = isinstance(adapter, LocalAdapter)
    return known


_LOCAL: dict[type, bool] = {}


def missing_secrets(adapter: Kind, account: Account) -> list[str]:
    """The secrets that the protocol needs and the account lacks. The key of a sandbox is none: it buys nothing real."""
    stored = account.secrets
    return [name for name in adapter.secret_fields if not stored.get(name) or is_test_key(stored[name])]


def secret_names(adapter: Kind) -> tuple[str, ...]:
    """Every secret that an account of the kind may have: those that it needs, and the one of its webhooks."""
    return (*adapter.secret_fields, *((WEBHOOK_SECRET,) if isinstance(adapter, HookedAdapter) else ()))


def has_webhooks(kind: str) -> bool:
    """Whether providers of this kind can send webhooks; an account's options may still say that it does not."""
    return isinstance(load_adapter(kind), HookedAdapter)


def missing_ids(adapter: Kind, product: Mapping[str, str]) -> list[str]:
    """The provider's ids that the protocol needs and the mapping lacks."""
    return [name for name in adapter.mapping_fields if not product.get(name)]


def kind_choices() -> list[tuple[str, str]]:
    """Kind and label of every adapter that an account may be made of, for the choices of a form field."""
    return [(kind, adapter.label) for kind, adapter in ADAPTERS.items() if kind != SANDBOX]
