"""Links that are followed from elsewhere begin with SAYSO_URL, whatever is being answered meanwhile."""

from __future__ import annotations

import pytest
from django.test.utils import override_script_prefix
from hypothesis import given
from hypothesis import strategies as some
from pytest_django import Settings

from approvals import links

ADDRESSES = ["https://sayso.example.com", "https://example.com/sayso", "http://[::1]:8000/a/b"]


@pytest.mark.parametrize("address", ADDRESSES)
@pytest.mark.parametrize("slash", ["", "/"])
def test_a_link_is_the_address_and_the_pages_path(settings: Settings, address: str, slash: str) -> None:
    settings.SAYSO_URL = address + slash
    assert links.fault_of(settings.SAYSO_URL) is None
    with override_script_prefix("/behind/another/"):
        assert links.link_to("login") == f"{address}/accounts/login/"
        assert links.path_to("login") == "/accounts/login/"
    assert links.link_to("inbox") == links.address_of("inbox") == f"{address}/"


def test_without_the_address_no_link_is_made(settings: Settings) -> None:
    settings.SAYSO_URL = ""
    assert not links.are_set_up()
    with pytest.raises(RuntimeError, match="SAYSO_URL"):
        links.link_to("login")
    assert links.address_of("runs") == "/runs/"


@given(some.text())
def test_whatever_the_address_is_it_is_judged(text: str) -> None:
    assert links.fault_of(f"sayso:{text}") is not None
    fault = links.fault_of(f"https://{text}")
    assert fault is None or fault
