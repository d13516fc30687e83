"""Which URLs may be requested: those of hosts that the installation allows, at public or allowed addresses.

A URL is checked twice. When it is given, for outcomes or to an agent, it is checked as far as possible
without resolving its host. When it is requested, the host is resolved once, all its addresses are checked,
and the connection is made to one of these, whatever the name resolves to later or elsewhere. A redirect is
checked in the same way.

Any port is allowed. Hosts are compared in one spelling (lower case, IDNA, no trailing dot); numbers that only
some programs read as an address are refused.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TypeAlias

import httpx

from approvals.conf import approval_settings
from approvals.domain.payloads import check_text
from approvals.domain.request_terms import URL_LIMIT
from approvals.exceptions import InvalidRequest

HOST_LIMIT = 253

Address: TypeAlias = IPv4Address | IPv6Address
Network: TypeAlias = IPv4Network | IPv6Network
Resolve: TypeAlias = Callable[[str, int], Awaitable[Sequence[str]]]

_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
# A last label that resolvers read as a number, in any base.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")

# Not public, though `ipaddress` of some supported Python says so.
_SPECIAL = [
    ip_network(each)
    for each in (
        "192.0.0.0/24",
        "192.88.99.0/24",
        "2001::/23",
        "2001:db8::/32",
        "2002::/16",  # 6to4, which may lead into any IPv4 network
        "3fff::/20",
        "2620:4f:8000::/48",
    )
]
_UNICAST = IPv6Network("2000::/3")
_NAT64 = IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reach:
    """Which hosts may be requested.

    `field` and `setting` are for the errors: "SAYSO_CALLBACK" stands for `SAYSO_CALLBACK_HOSTS` and
    `SAYSO_CALLBACK_NETWORKS`.
    """

    field: str
    setting: str
    hosts: Sequence[str] | None
    """Names, addresses, and `*.example.org` for any host below it; None: any host."""
    networks: Sequence[str] | None
    """Networks that are allowed although they are not public; None: any."""

    def refusal(self, rule: str) -> InvalidRequest:
        return InvalidRequest(f"{self.field} {rule}.", field=self.field)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A URL that may be requested, as far as can be told without resolving its host."""

    reach: Reach
    url: httpx.URL
    host: str
    address: Address | None
    """The host, if it is an address."""

    @property
    def port(self) -> int:
        return self.url.port or (443 if self.url.scheme == "https" else 80)

    @property
    def netloc(self) -> str:
        """The host and port for the Host header."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.url.port is None else f"{host}:{self.url.port}"

    def at(self, address: Address) -> httpx.URL:
        """Return the URL with this address in place of the host."""
        return self.url.copy_with(host=str(address))


def check_callback_url(value: object) -> str:
    """Return the URL if outcomes may be posted there, or ""; InvalidRequest names the rule it breaks."""
    text = check_text(value, "callback_url", max_length=URL_LIMIT, one_line=True)
    if text:
        check_target(text)
    return text


def callback_reach() -> Reach:
    """Return the hosts and networks that outcomes may be posted to."""
    configured = approval_settings()
    return Reach(
        field="callback_url",
        setting="SAYSO_CALLBACK",
        hosts=configured.callback_hosts,
        networks=configured.callback_networks,
    )


def destination_reach() -> Reach:
    """Return where people and groups may be told by webhook: where outcomes may be posted to."""
    return replace(callback_reach(), field="address")


def check_target(text: str, reach: Reach | None = None) -> Target:
    """Parse and check a URL without resolving its host; InvalidRequest if it may not be requested.

    `reach` is by default that of outcomes.
    """
    reach = reach or callback_reach()
    try:
        url = httpx.URL(text)
    except (httpx.InvalidURL, ValueError) as error:
        raise reach.refusal(f"is no URL: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise reach.refusal("must begin with https:// or http:// and name a host")
    if url.userinfo or url.fragment:
        raise reach.refusal("must have no user, password or fragment")
    if url.port is not None and not 1 <= url.port <= 65_535:
        raise reach.refusal("must have a port between 1 and 65535")
    host = normalize_host(url.raw_host.decode("ascii"))
    if host is None:
        raise reach.refusal("must name its host by a name, or by an address in the usual spelling")
    if reach.hosts is not None and not any(_matches(pattern, host) for pattern in reach.hosts):
        raise reach.refusal(
            f"has a host that is none of those the installation allows ({reach.setting}_HOSTS)"
        )
    target = Target(reach=reach, url=url, host=host, address=_as_address(host))
    if target.address is not None:
        check_address(target.address, reach)
    return target


async def addresses_of(target: Target, resolve: Resolve) -> list[Address]:
    """Resolve the target's host; InvalidRequest if one of its addresses may not be requested.

    OSError if the host has no address.
    """
    if target.address is not None:
        return [target.address]
    found = await resolve(target.host, target.port)
    addresses = list(dict.fromkeys(_plain(ip_address(each)) for each in found))
    if not addresses:
        raise OSError(f"{target.host} has no address")
    for address in addresses:
        check_address(address, target.reach)
    return addresses


def check_address(address: Address, reach: Reach) -> None:
    """Raise InvalidRequest unless the address is public or in one of the networks."""
    if reach.networks is None or is_public(address):
        return
    allowed = (parse_network(each) for each in reach.networks)
    if not any(network and address in network for network in allowed):
        raise reach.refusal(
            f"has an address that is not public, and not allowed either ({reach.setting}_NETWORKS)"
        )


def is_public(address: Address) -> bool:
    """Whether this is a public address of the internet, and embeds no other kind."""
    address = _plain(address)
    if address.is_multicast or not address.is_global or any(address in each for each in _SPECIAL):
        return False
    if isinstance(address, IPv4Address):
        return True
    if address in _NAT64:
        return is_public(IPv4Address(int(address) & 0xFFFF_FFFF))
    return address in _UNICAST


def parse_network(text: str) -> Network | None:
    """Parse a network; None for other text, which allows nothing and which `manage.py check` reports."""
    try:
        return ip_network(text)
    except ValueError:
        return None


def normalize_host(host: str) -> str | None:
    """Return the host name or address in its one spelling; None for what is neither."""
    host = host.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    if not host.isascii():
        try:
            host = httpx.URL(f"http://{host}/").raw_host.decode("ascii")
        except httpx.InvalidURL:
            return None
    address = _as_address(host)
    if address is not None:
        return str(address)
    labels = host.split(".")
    named = len(host) <= HOST_LIMIT and all(_LABEL.fullmatch(label) for label in labels)
    return host if named and not _NUMBER.fullmatch(labels[-1]) else None


def is_pattern(text: str) -> bool:
    """Whether this can stand in a list of hosts: a host, or `*.` and a name."""
    host = normalize_host(text.removeprefix("*."))
    return host is not None and not (text.startswith("*.") and _as_address(host) is not None)


def _matches(pattern: str, host: str) -> bool:
    """Whether the host matches; `*.example.org` stands for every host below example.org."""
    if not is_pattern(pattern):
        return False
    named = normalize_host(pattern.removeprefix("*."))
    return host.endswith(f".{named}") if pattern.startswith("*.") else host == named


def _as_address(host: str) -> Address | None:
    """Parse an address; None if it names a zone, which is an interface of this computer."""
    try:
        return None if "%" in host else _plain(ip_address(host))
    except ValueError:
        return None


def _plain(address: Address) -> Address:
    """Convert an IPv4-mapped IPv6 address to IPv4, by which the connection is made."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address
