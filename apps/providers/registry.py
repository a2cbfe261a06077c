"""The table of provider kinds: one line per protocol, from which forms, docs and tests derive theirs."""

from __future__ import annotations

from collections.abc import Mapping

from apps.providers.adapters.digiflazz import Digiflazz
from apps.providers.adapters.smm_v2 import SmmV2
from apps.providers.adapters.znet import Znet
from apps.providers.contract import Account, Adapter

ADAPTERS: dict[str, Adapter] = {
    "znet": Znet(),
    "smm_v2": SmmV2(),
    "digiflazz": Digiflazz(),
}


class UnknownKind(LookupError):
    """No adapter is registered for this kind of provider."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        super().__init__(f"{self.__doc__} Asked for {kind!r}; there are: {', '.join(sorted(ADAPTERS))}.")


def load_adapter(kind: str) -> Adapter:
    """The adapter of a kind. Raises UnknownKind, whose text names the kinds that exist."""
    try:
        return ADAPTERS[kind]
    except KeyError:
        raise UnknownKind(kind) from None


def missing_secrets(adapter: Adapter, account: Account) -> list[str]:
    """The secrets that the protocol needs and the account lacks."""
    return [name for name in adapter.secret_fields if not account.secrets.get(name)]


def missing_ids(adapter: Adapter, product: Mapping[str, str]) -> list[str]:
    """The provider's ids that the protocol needs and the mapping lacks."""
    return [name for name in adapter.mapping_fields if not product.get(name)]


def kind_choices() -> list[tuple[str, str]]:
    """Kind and label of every adapter, for the choices of a form field."""
    return [(kind, adapter.label) for kind, adapter in ADAPTERS.items()]
