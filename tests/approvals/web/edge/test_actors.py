"""The address on record is one that somebody trusted vouches for, never what a client claims."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import RequestFactory

from approvals.domain.commands import Actor, Channel
from approvals.web.edge.actors import actor_of_http, actor_of_scope, client_address


class Person:
    pk = 7


@pytest.mark.parametrize(
    ("peer", "claims", "address"),
    [
        ("203.0.113.9", "", "203.0.113.9"),
        ("203.0.113.9", "198.51.100.1", "203.0.113.9"),
        ("10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1", "198.51.100.1"),
        ("10.0.0.1", "1.1.1.1, 198.51.100.1, 10.9.9.9", "198.51.100.1"),
        ("10.0.0.1", "10.1.1.1, 10.2.2.2", "10.1.1.1"),
        ("10.0.0.1", "nonsense", "10.0.0.1"),
        ("10.0.0.1", "1.1.1.1, nonsense, 10.3.3.3", "10.3.3.3"),
        ("10.0.0.1", "198.51.100.1:4711", "198.51.100.1"),
        ("10.0.0.1", "[2001:db8::1]:4711", "2001:db8::1"),
        ("::ffff:10.0.0.1", "198.51.100.1", "198.51.100.1"),
        ("2001:db8::5", "198.51.100.1", "2001:db8::5"),
        ("", "198.51.100.1", None),
        ("unix:", "198.51.100.1", None),
    ],
)
def test_claims_count_as_far_as_trusted_proxies_make_them(
    settings: Any, peer: str, claims: str, address: str | None
) -> None:
    settings.SAYSO_TRUSTED_PROXIES = ["10.0.0.0/8"]
    assert client_address(peer, claims) == address


def test_without_trusted_proxies_only_the_peer_counts(settings: Any) -> None:
    settings.SAYSO_TRUSTED_PROXIES = []
    assert client_address("127.0.0.1", "198.51.100.1") == "127.0.0.1"


def test_a_request_and_a_connection_give_the_same_actor(settings: Any) -> None:
    """Several header lines count as one, in order; a user agent of any length fits."""
    settings.SAYSO_TRUSTED_PROXIES = ["10.0.0.1"]
    request = RequestFactory().get(
        "/",
        REMOTE_ADDR="10.0.0.1",
        HTTP_X_FORWARDED_FOR="1.1.1.1,198.51.100.1",
        HTTP_USER_AGENT="Firefox " * 100,
    )
    request.user = Person()  # type: ignore[assignment]
    scope = {
        "client": ("10.0.0.1", 4711),
        "headers": [
            (b"x-forwarded-for", b"1.1.1.1"),
            (b"user-agent", b"Firefox " * 100),
            (b"x-forwarded-for", b"198.51.100.1"),
        ],
    }
    expected = Actor(
        user_id=7, channel=Channel.PAGE, address="198.51.100.1", user_agent=("Firefox " * 100)[:400]
    )
    assert actor_of_http(request, Channel.PAGE) == expected
    assert actor_of_scope(scope, 7, Channel.PAGE) == expected


def test_a_connection_without_a_peer_has_no_address() -> None:
    assert actor_of_scope({"client": None}, 7, Channel.WEBSOCKET).address is None
