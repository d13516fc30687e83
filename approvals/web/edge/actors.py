"""Who acts, and from where: the actor behind an HTTP request or a WebSocket.

`X-Forwarded-For` is a claim. It is believed from its right end, only for as long as the one who made the
claim is a trusted proxy; the leftmost entry, which any client can write, is never taken on trust.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from typing import Any, TypeAlias
from uuid import UUID

from django.http import HttpRequest

from approvals.conf import approval_settings
from approvals.domain.commands import Actor, Channel
from approvals.web.edge.asgi import header_lines

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

USER_AGENT_LIMIT = 400


def actor_of_http(
    request: HttpRequest,
    channel: Channel,
    user_id: int | None = None,
    token_id: UUID | None = None,
    link_id: UUID | None = None,
) -> Actor:
    """Return the actor of a request: who is logged in, or as whom it acts, by which token or link."""
    return Actor(
        user_id=request.user.pk if user_id is None else user_id,
        channel=channel,
        address=address_of_http(request),
        user_agent=request.META.get("HTTP_USER_AGENT", "")[:USER_AGENT_LIMIT],
        token_id=token_id,
        link_id=link_id,
    )


def actor_of_scope(
    scope: Mapping[str, Any], user_id: int, channel: Channel, token_id: UUID | None = None
) -> Actor:
    """Return the actor of a connection: the user as whom it acts, and the token that was shown, if any."""
    return Actor(
        user_id=user_id,
        channel=channel,
        address=address_of_scope(scope),
        user_agent=",".join(header_lines(scope, b"user-agent"))[:USER_AGENT_LIMIT],
        token_id=token_id,
    )


def address_of_http(request: HttpRequest) -> str | None:
    peer, forwarded_for = request.META.get("REMOTE_ADDR", ""), request.META.get("HTTP_X_FORWARDED_FOR", "")
    return client_address(peer, forwarded_for)


def address_of_scope(scope: Mapping[str, Any]) -> str | None:
    """Return the client's IP address of a request or a connection that Django has not seen yet."""
    peer = scope.get("client") or ("", 0)
    return client_address(peer[0], ",".join(header_lines(scope, b"x-forwarded-for")))


def client_address(peer: str, forwarded_for: str) -> str | None:
    """Return the address nearest to the client that a trusted proxy vouches for; None where there is none."""
    nearest = _address(peer)
    claims = [claim.strip() for claim in forwarded_for.split(",")] if forwarded_for else []
    while nearest is not None and claims and _is_trusted(nearest):
        claimed = _address(claims.pop())
        if claimed is None:
            break
        nearest = claimed
    return None if nearest is None else str(nearest)


def is_proxy(peer: str) -> bool:
    """Whether this peer is a trusted proxy, whose `X-Forwarded-` headers count."""
    address = _address(peer)
    return address is not None and _is_trusted(address)


def _is_trusted(address: Address) -> bool:
    networks = (ipaddress.ip_network(entry, strict=False) for entry in approval_settings().trusted_proxies)
    return any(address in network for network in networks)


def _address(text: str) -> Address | None:
    """Parse an address with or without port and brackets; an IPv4-mapped IPv6 address is the IPv4 one."""
    host = text.strip()
    if host.startswith("["):
        host = host[1:].partition("]")[0]
    elif host.count(":") == 1:
        host = host.partition(":")[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address
