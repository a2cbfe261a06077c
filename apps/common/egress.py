"""Where a request may go: checks of an address at save time, and look-ups whose results alone are connected to."""

from __future__ import annotations

import functools
import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from urllib.parse import SplitResult, urlsplit

PUBLIC_PORTS = frozenset({80, 443, 8080, 8443})
DEFAULT_PORTS = {"http": 80, "https": 443}

IPAddress = ipaddress.IPv4Address | ipaddress.IPv6Address

ASK_LOCAL = "if it is meant to be in the own network, mark the integration as local"
NUMBER_LABEL = re.compile(r"0x[0-9a-f]*|[0-9]+")
NAME = re.compile(r"(?=.{1,253}\.?$)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*\.?")
FORBIDDEN_CHARACTERS = re.compile(r"[\x00-\x20\x7f\\]")
LOCAL_NAMES = ("localhost", "localdomain", "local", "internal", "intranet", "lan", "home", "home.arpa", "invalid")

NEVER = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",
        "169.254.0.0/16",  # link-local, and the metadata service of most clouds
        "168.63.129.16/32",  # the host agent of one cloud, although the number looks public
        "192.0.0.0/24",
        "192.88.99.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
        "::/128",
        "64:ff9b:1::/48",
        "100::/64",
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
        "fd00:ec2::254/128",  # metadata service
    )
)
"""Not reachable even for a local integration."""

NAT64 = ipaddress.ip_network("64:ff9b::/96")
COMPATIBLE = ipaddress.ip_network("::/96")


class EgressForbidden(Exception):
    """The address may not be contacted; `reason` says what to do about it, without the address itself."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class NameNotResolved(Exception):
    """The name has no address now, or nobody answered in time."""


@dataclass(frozen=True, slots=True)
class EgressPolicy:
    """What may be contacted. `ports` None is any port; `allow_private` opens loopback and private networks."""

    allow_private: bool = False
    ports: frozenset[int] | None = PUBLIC_PORTS
    schemes: frozenset[str] = frozenset({"http", "https"})


PUBLIC = EgressPolicy()
LOCAL = EgressPolicy(allow_private=True, ports=None)


@dataclass(frozen=True, slots=True)
class Address:
    """One checked address: the connection goes to this number, never to the name again."""

    family: socket.AddressFamily
    ip: str
    port: int


def policy_for(*, is_local: bool, extra_ports: Iterable[int] = ()) -> EgressPolicy:
    """The policy of one integration: public with the usual ports and `extra_ports`, or local with any port."""
    return LOCAL if is_local else EgressPolicy(ports=PUBLIC_PORTS | frozenset(extra_ports))


def check_url(url: str, policy: EgressPolicy) -> None:
    """Returns when `url` may be contacted as far as its text tells; raises `EgressForbidden`. No look-up is made."""
    place, _, query = url.partition("?")
    if FORBIDDEN_CHARACTERS.search(query) or "#" in query:
        target(url, policy)
    _check_place(place, policy)


@functools.lru_cache(maxsize=256)
def _check_place(url: str, policy: EgressPolicy) -> None:
    """What is good once is good again: a poller asks thousands of times at the same place."""
    target(url, policy)


def target(url: str, policy: EgressPolicy) -> tuple[str, str, int]:
    """Scheme, ASCII host (no brackets, lower case) and port of a checked `url`; raises `EgressForbidden`."""
    parts = _split(url)
    _check_scheme(parts, policy)
    _check_no_login(parts)
    port = _port(parts, policy)
    host = _ascii_host(parts)
    _check_host(host, policy)
    return parts.scheme, host, port


def resolve(host: str, port: int, policy: EgressPolicy) -> list[Address]:
    """Looks `host` up once and checks every address; raises `EgressForbidden` if one of them may not be contacted.

    Raises `NameNotResolved` when there is no address. The result is what the connection goes to.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NameNotResolved(f"the name has no address ({type(error).__name__})") from None
    addresses = [Address(socket.AddressFamily(family), str(where[0]), port) for family, _, _, _, where in found]
    for address in addresses:
        check_address(address.ip, policy)
    if not addresses:
        raise NameNotResolved("the name has no address")
    return list(dict.fromkeys(addresses))


def resolve_within(host: str, port: int, policy: EgressPolicy, timeout_s: float) -> list[Address]:
    """Like `resolve`, for at most `timeout_s` seconds; raises `NameNotResolved` after that.

    The system's look-up cannot be interrupted: it goes on in a daemon thread until the resolver's own limit.
    """
    done = threading.Event()
    outcome: list[list[Address] | Exception] = []

    def keep(result: list[Address] | Exception) -> None:
        outcome.append(result)
        done.set()

    resolve_in_thread(host, port, policy, keep)
    if not done.wait(timeout_s):
        raise NameNotResolved("the name look-up took too long")
    if isinstance(outcome[0], Exception):
        raise outcome[0]
    return outcome[0]


def resolve_in_thread(
    host: str, port: int, policy: EgressPolicy, then: Callable[[list[Address] | Exception], None]
) -> None:
    """Starts `resolve` in a daemon thread, which calls `then` with the addresses or the exception, and ends."""

    def work() -> None:
        try:
            result: list[Address] | Exception = resolve(host, port, policy)
        except Exception as error:
            result = error
        then(result)

    threading.Thread(target=work, name="name-look-up", daemon=True).start()


def check_address(text: str, policy: EgressPolicy) -> None:
    """Returns when the IP address `text` may be contacted; raises `EgressForbidden`."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise EgressForbidden("the address has an unknown notation; write it in the plain form or use a name") from None
    all_forms = (address, *_embedded(address))
    if any(_is_never_allowed(one) for one in all_forms):
        raise EgressForbidden("the address is link-local, reserved or a metadata service; use the public one")
    if not policy.allow_private and not all(one.is_global for one in all_forms):
        raise EgressForbidden(f"the address is private or loopback; {ASK_LOCAL}")


def _is_never_allowed(address: IPAddress) -> bool:
    return any(address in network for network in NEVER if network.version == address.version)


def _embedded(address: IPAddress) -> list[IPAddress]:
    """IPv4 addresses that travel inside an IPv6 address."""
    if isinstance(address, ipaddress.IPv4Address):
        return []
    found: list[IPAddress | None] = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in NAT64 or (address in COMPATIBLE and int(address) > 1):
        found.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    return [one for one in found if one is not None]


def _split(url: str) -> SplitResult:
    if FORBIDDEN_CHARACTERS.search(url):
        raise EgressForbidden("the address holds white space, a backslash or a control character; write it without")
    try:
        parts = urlsplit(url)
    except ValueError:
        raise EgressForbidden("the address cannot be read; write it as https://name/path") from None
    if parts.fragment:
        raise EgressForbidden("the address holds a # part, which is never sent; remove it")
    return parts


def _check_scheme(parts: SplitResult, policy: EgressPolicy) -> None:
    if parts.scheme not in policy.schemes:
        raise EgressForbidden("the address must begin with " + " or ".join(f"{s}://" for s in sorted(policy.schemes)))


def _check_no_login(parts: SplitResult) -> None:
    if "@" in parts.netloc:
        raise EgressForbidden("the address holds a login before an @ sign; put it into the credential fields")


def _port(parts: SplitResult, policy: EgressPolicy) -> int:
    try:
        port = parts.port if parts.port is not None else DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        raise EgressForbidden("the port is not a number from 1 to 65535") from None
    if port == 0:
        raise EgressForbidden("the port is not a number from 1 to 65535")
    if policy.ports is not None and port not in policy.ports:
        raise EgressForbidden(f"port {port} is not allowed; add it to the integration's extra ports if it is right")
    return port


def _ascii_host(parts: SplitResult) -> str:
    host = parts.hostname or ""
    if not host:
        raise EgressForbidden("the address has no host name; write it as https://name/path")
    if host.isascii():
        return host
    try:
        return host.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise EgressForbidden("the host name cannot be written in ASCII; use its xn-- form") from None


def _check_host(host: str, policy: EgressPolicy) -> None:
    if ":" in host or is_ip_literal(host):
        return check_address(host, policy)
    if NUMBER_LABEL.fullmatch(host.rstrip(".").rpartition(".")[2]):
        raise EgressForbidden("the host is a number in an unusual notation; write four decimal numbers or a name")
    if not NAME.fullmatch(host):
        raise EgressForbidden("the host name holds characters that no host name has")
    if not policy.allow_private and _is_local_name(host.rstrip(".")):
        raise EgressForbidden(f"the host name is a local one; {ASK_LOCAL}")


def is_ip_literal(host: str) -> bool:
    """Whether `host` is an IP address in its plain notation."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _is_local_name(host: str) -> bool:
    return "." not in host or any(host.endswith("." + name) for name in LOCAL_NAMES)
