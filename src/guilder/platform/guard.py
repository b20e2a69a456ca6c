"""Where what we are told to ask may lie: never inside.

    target = check_url(url, loopback=False)           # the text of it; Refused says why not
    await check_host(target, look_up)                 # when it is saved: none of its addresses is inside
    connector = guarded_connector(loopback=False)     # when it is sent: the connection is pinned to an address that was checked

A merchant chooses the URL of a webhook and where his channel is, an OpenID provider those of its keys and tokens, and our servers connect to
them: unguarded, that reads cloud metadata and talks to our own database (server-side request forgery).  Three fences, each enough alone for its kind of trick.

    the URL       a strict grammar of our own, so that no two parsers can disagree: https, few ports, no user, no fragment, a host
                  that is a name or a canonical address (not 127.1, 0x7f.1, 2130706433)
    the names     every address that a name resolves to must be public; one that is not refuses the name
    the socket    checked once more at the moment when it is made for an address: what was checked is what is connected to,
                  whatever a name server answers the next time (DNS rebinding)

`loopback` is for webhooks and channels of the environment `test`, and for providers of this machine: http, any port, and addresses of this
machine.  `inside` names networks that the operator has opened (for channels: the setting `channel_networks`): with one, names of the inside,
http and any port pass the first fence, and the other two ask whether the address is public or in one of these.
Networks: IANA's special-purpose registries for IPv4 and IPv6, and what clouds use beside them.
"""

import asyncio
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from guilder.core.errors import Invalid

MAX_URL = 2000
PORTS = frozenset({443, 8443})
LOOK_UP_S = 3.0
KEEP_ALIVE_S = (
    4.0  # less than what usual servers allow (5 s and more): they rarely close a connection that we are about to use
)
NAMES_TTL_S = 10

_URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9.-]+)(?::(?P<port>[0-9]{1,5}))?(?P<rest>[/?][!-~]*)?",
    re.IGNORECASE,
)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")
_INSIDE_NAMES = ("localhost", "local", "internal", "intranet", "lan", "home", "corp", "localdomain", "arpa", "onion")

_INSIDE_V4 = tuple(
    ip_network(n)
    for n in (
        "0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.0.0.0/24", "192.0.2.0/24",
        "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16", "192.175.48.0/24", "198.18.0.0/15",
        "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3",
        "168.63.129.16/32",  # Azure's host agent
    )
)  # fmt: skip
_PUBLIC_V6 = ip_network(
    "2000::/3"
)  # mapped, translated (NAT64), unique-local, link-local, loopback: all of it is outside
_INSIDE_V6 = tuple(ip_network(n) for n in ("2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20"))

Address = IPv4Address | IPv6Address
Networks = tuple[IPv4Network | IPv6Network, ...]
LookUp = Callable[[str, int], Awaitable[Sequence[str]]]


class Refused(OSError):
    """Nothing of ours may go there."""


@dataclass(frozen=True, slots=True)
class Target:
    """A URL that passed the first fence."""

    url: URL
    host: str
    port: int
    loopback: bool
    inside: Networks = ()


def networks(text: str) -> Networks:
    """'10.20.0.0/16, fd12::/48'.  Raises ValueError."""
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())


def is_public(address: Address) -> bool:
    """Whether `address` is out on the internet, as unicast and under no disguise."""
    if isinstance(address, IPv4Address):
        return not any(address in n for n in _INSIDE_V4)
    return address in _PUBLIC_V6 and not any(address in n for n in _INSIDE_V6)


def is_allowed(text: str, *, loopback: bool, inside: Networks = ()) -> bool:
    """Whether a connection to the address `text` may be made."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    if is_public(address) or (loopback and address.is_loopback and getattr(address, "ipv4_mapped", None) is None):
        return True
    return any(address.version == network.version and address in network for network in inside)


@lru_cache(maxsize=4096)
def check_url(url: str, *, loopback: bool, inside: Networks = ()) -> Target:
    """The first fence: the URL's own text.  Raises Refused."""
    match = _URL.fullmatch(url) if len(url) <= MAX_URL else None
    if match is None:
        raise Refused(
            "The URL must be absolute and plain: https, a host, a path; no user, no fragment, no blanks, ASCII only."
        )
    scheme, host, rest = match["scheme"].lower(), match["host"].lower(), match["rest"] or ""
    if "#" in rest or "\\" in rest:
        raise Refused("The URL must have no fragment and no backslash.")
    port = int(match["port"] or (443 if scheme == "https" else 80))
    strict = not loopback and not inside
    if strict and scheme != "https":
        raise Refused("The URL must begin with https://.")
    if not 0 < port < 65536 or (strict and port not in PORTS):
        raise Refused(f"The port {port} is not allowed; use {' or '.join(map(str, sorted(PORTS)))}.")
    _check_name(host, loopback, inside)
    made = URL(f"{scheme}://{host}:{port}{rest}", encoded=True)
    if made.raw_host != host.strip("[]") or made.port != port or made.user is not None:
        raise Refused("The URL can be read in two ways.")
    return Target(made, host.strip("[]"), port, loopback, inside)


def _check_name(host: str, loopback: bool, inside: Networks) -> None:
    if host.startswith("[") or host.replace(".", "").isdigit():
        if not is_allowed(host.strip("[]"), loopback=loopback, inside=inside):
            raise Refused(f"{host} is no public address.")
        return
    labels = host.split(".")
    if loopback and host == "localhost":
        return
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused(f"{host} is no host name.")
    if inside and not labels[-1].isdigit():
        return
    if len(labels) < 2 or labels[-1] in _INSIDE_NAMES or not labels[-1][0].isalpha():
        raise Refused(f"{host} is no public host name.")


async def look_up(host: str, port: int) -> list[str]:
    """The addresses of `host`, from the system's resolver.  Raises OSError.

    In threads of its own: a name server that is slow to answer for one merchant holds up nobody else.
    """
    found = await asyncio.get_running_loop().run_in_executor(
        _threads(), lambda: socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    )
    return list(dict.fromkeys(str(info[4][0]) for info in found))


@lru_cache(maxsize=1)
def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(32, thread_name_prefix="names")


async def check_host(target: Target, look_up: LookUp = look_up, *, param: str = "url") -> None:
    """The second fence when an endpoint is saved.  Raises Invalid if the host is inside.

    A name that nobody knows (yet) passes: it is looked up again at each sending.
    """
    try:
        async with asyncio.timeout(LOOK_UP_S):
            addresses = await look_up(target.host, target.port)
    except (OSError, UnicodeError, TimeoutError):
        return
    if not all(is_allowed(a, loopback=target.loopback, inside=target.inside) for a in addresses):
        raise Invalid(f"{target.host} is not on the public internet.", code="url_invalid", param=param)


class _Names(AbstractResolver):
    """The second fence when a webhook is sent: a name with any address inside has no address at all."""

    def __init__(self, look_up: LookUp, *, loopback: bool, inside: Networks) -> None:
        self._look_up = look_up
        self._loopback = loopback
        self._inside = inside

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        addresses = await self._look_up(host, port)
        if not addresses or not all(is_allowed(a, loopback=self._loopback, inside=self._inside) for a in addresses):
            raise Refused(f"{host} is not on the public internet.")
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in addresses
        ]

    async def close(self) -> None:
        """Nothing is held open."""


def guarded_connector(
    *, loopback: bool, look_up: LookUp = look_up, inside: Networks = (), per_host: int = 0
) -> aiohttp.TCPConnector:
    """Connections that lead outside only.  What it refuses raises an aiohttp.ClientConnectorError around Refused."""

    def make_socket(info: Any) -> socket.socket:
        family, kind, proto, _, address = info
        if not is_allowed(address[0], loopback=loopback, inside=inside):
            raise Refused(f"{address[0]} is no public address.")
        return socket.socket(family, kind, proto)

    return aiohttp.TCPConnector(
        limit=0,  # who sends keeps count
        limit_per_host=per_host,
        resolver=_Names(look_up, loopback=loopback, inside=inside),
        ttl_dns_cache=NAMES_TTL_S,
        keepalive_timeout=KEEP_ALIVE_S,
        socket_factory=make_socket,
    )
