"""Which pages may open a socket: this site's own and the trusted ones, nobody else's."""

from __future__ import annotations

import pytest
from pytest_django import Settings

from approvals.web.edge.socket_origins import is_own_page


@pytest.fixture(autouse=True)
def site(settings: Settings) -> None:
    settings.ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]", ".example.com"]
    settings.CSRF_TRUSTED_ORIGINS = ["https://sayso.example.org", "https://*.partner.test"]


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://localhost:8000", "localhost:8000"),
        ("http://LOCALHOST:8000", "localhost:8000"),
        ("http://127.0.0.1", "127.0.0.1"),
        ("http://[::1]:8000", "[::1]:8000"),
        ("http://sayso.example.com", "sayso.example.com"),
        ("https://sayso.example.org", "127.0.0.1:8000"),
        ("https://desk.partner.test", "127.0.0.1:8000"),
    ],
)
def test_own_and_trusted_pages_may(origin: str, host: str) -> None:
    """The page and the socket are of one site, or somebody has vouched for the page."""
    assert is_own_page([origin], [host])


def test_while_it_is_developed_a_project_without_names_is_this_computers(settings: Settings) -> None:
    """As Django has it for pages."""
    settings.ALLOWED_HOSTS, settings.DEBUG = [], True
    assert is_own_page(["http://127.0.0.1:8000"], ["127.0.0.1:8000"])
    assert not is_own_page(["http://evil.test"], ["evil.test"])
    settings.DEBUG = False
    assert not is_own_page(["http://127.0.0.1:8000"], ["127.0.0.1:8000"])


@pytest.mark.parametrize(
    ("origin", "host"),
    [
        ("http://evil.test", "localhost:8000"),
        ("http://localhost:9000", "localhost:8000"),
        ("http://localhost", "localhost:8000"),
        ("http://evil.test", "evil.test"),
        ("null", "localhost:8000"),
        ("", "localhost:8000"),
        ("*", "localhost:8000"),
        ("file://localhost:8000", "localhost:8000"),
        ("http://", ""),
        ("http://[::1", "[::1"),
        ("http://sayso.example.org", "127.0.0.1:8000"),
        ("https://sayso.example.org:444", "127.0.0.1:8000"),
        ("https://partner.test.evil.test", "127.0.0.1:8000"),
        ("http://localhost:8000@evil.test", "localhost:8000"),
    ],
)
def test_foreign_pages_may_not(origin: str, host: str) -> None:
    """Neither other hosts, ports and schemes, nor what only looks alike."""
    assert not is_own_page([origin], [host])


def test_without_an_origin_nobody_may() -> None:
    """Programs have no cookies to protect, and a route of their own."""
    assert not is_own_page([], ["localhost:8000"])
    assert not is_own_page(["http://localhost:8000", "http://evil.test"], ["localhost:8000"])
    assert not is_own_page(["http://localhost:8000"], ["localhost:8000", "evil.test"])


def test_any_allowed_host_is_not_any_origin(settings: Settings) -> None:
    """`*` among the allowed hosts leaves the comparison of page and socket in force."""
    settings.ALLOWED_HOSTS = ["*"]
    assert is_own_page(["http://anything.test"], ["anything.test"])
    assert not is_own_page(["http://evil.test"], ["anything.test"])


def test_behind_tls_a_page_without_it_may_not(settings: Settings) -> None:
    """Anybody on the way can write such a page."""
    settings.SESSION_COOKIE_SECURE = True
    assert is_own_page(["https://sayso.example.com"], ["sayso.example.com"])
    assert not is_own_page(["http://sayso.example.com"], ["sayso.example.com"])
