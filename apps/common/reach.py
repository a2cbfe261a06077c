"""Whether a provider's address can be reached at all: a connection that is opened and closed, without a request."""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass

from apps.common import egress
from apps.common.egress import Address, EgressForbidden, EgressPolicy, NameNotResolved


@dataclass(frozen=True, slots=True)
class Reached:
    """Where the connection went and from which address of ours; `trouble` says why there was none."""

    local_address: str = ""
    remote_address: str = ""
    took_ms: int = 0
    trouble: str = ""


def reach(url: str, policy: EgressPolicy, timeout_s: float) -> Reached:
    """Open and close one connection, under the same rules as every request; raises nothing a network can cause."""
    began = time.monotonic()
    try:
        _, host, port = egress.target(url, policy)
        addresses = egress.resolve_within(host, port, policy, timeout_s)
        return _connect(addresses[0], began, timeout_s)
    except (EgressForbidden, NameNotResolved) as error:
        return Reached(trouble=str(error), took_ms=_ms_since(began))
    except TimeoutError:
        return Reached(trouble="no connection in time", took_ms=_ms_since(began))
    except OSError as error:
        return Reached(trouble=error.strerror or type(error).__name__, took_ms=_ms_since(began))


def _connect(address: Address, began: float, timeout_s: float) -> Reached:
    with socket.socket(address.family, socket.SOCK_STREAM) as sock:
        sock.settimeout(max(timeout_s - (time.monotonic() - began), 0.1))
        sock.connect((address.ip, address.port))
        return Reached(sock.getsockname()[0], address.ip, _ms_since(began))


def _ms_since(began: float) -> int:
    return round((time.monotonic() - began) * 1000)
