"""The one table of dialects; add a line here and the server, the control API and the self-test know it."""

from __future__ import annotations

from apps.simulator.dialect import Dialect, Endpoint
from apps.simulator.dialects import (
    client_api,
    digiflazz,
    reloadly,
    smm_v2,
    znet,
    znet_tl,
)

ALL = (
    znet.DIALECT,
    znet_tl.DIALECT,
    client_api.DIALECT,
    smm_v2.DIALECT,
    reloadly.DIALECT,
    digiflazz.DIALECT,
)
DIALECTS: dict[str, Dialect] = {each.name: each for each in ALL}
DEFAULT = znet.DIALECT.name


def find_route(path: str) -> tuple[str, Endpoint] | None:
    """The dialect and endpoint of a path; `/<dialect>/...` names the dialect where two share a path."""
    first, _, rest = path.removeprefix("/").partition("/")
    if first in DIALECTS:
        endpoint = DIALECTS[first].route(f"/{rest}")
        return (first, endpoint) if endpoint else None
    found = ((name, dialect.route(path)) for name, dialect in DIALECTS.items())
    return next(((name, endpoint) for name, endpoint in found if endpoint), None)
