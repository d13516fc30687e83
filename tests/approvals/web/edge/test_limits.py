"""Allowances and places: what is let through, what is refused, and how little is remembered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.web.edge.limits import Allowance, Allowances, Places, network_of
from tests.effort import effort


class Clock:
    """Stands still until it is told."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@effort()
@given(
    burst=st.integers(1, 20),
    rate=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 5, allow_nan=False), min_size=1, max_size=200),
)
def test_nobody_gets_more_than_the_burst_and_what_has_grown_since(
    burst: int, rate: int, pauses: list[float]
) -> None:
    clock = Clock()
    allowance = Allowance(burst=burst, rate=rate, clock=clock)
    taken = 0
    for pause in pauses:
        clock.now += pause
        taken += allowance.take()
        assert taken <= burst + rate * clock.now + 1e-6


def test_who_waits_as_long_as_told_is_let_through() -> None:
    """Whole seconds, as `Retry-After` says them."""
    clock = Clock()
    allowances = Allowances(burst=3, rate=0.4, clock=clock)
    assert [allowances.take("ada") for _ in range(4)] == [0, 0, 0, 3]
    clock.now += 3
    assert allowances.take("ada") == 0
    assert allowances.take("ada") > 0


def test_each_caller_has_an_allowance_of_its_own() -> None:
    allowances = Allowances(burst=1, rate=1, clock=Clock())
    assert (allowances.take("ada"), allowances.take("ada"), allowances.take("bob")) == (0, 1, 0)


def test_what_is_given_back_can_be_taken_again_and_nothing_more() -> None:
    allowances = Allowances(burst=1, rate=1, clock=Clock())
    allowances.give_back("ada")
    assert allowances.take("ada") == 0
    allowances.give_back("ada")
    allowances.give_back("ada")
    assert [allowances.take("ada") for _ in range(2)] == [0, 1]


def test_a_rate_of_nought_is_no_limit() -> None:
    allowances = Allowances(burst=1, rate=0)
    assert not any(allowances.take("ada") for _ in range(1000))
    assert len(allowances) == 0


def test_millions_of_callers_are_not_remembered() -> None:
    """Who was quiet for longest is forgotten first; who asks all the time is not."""
    allowances = Allowances(burst=5, rate=0.001, remembered=100, clock=Clock())
    refused = 0
    for number in range(10_000):
        assert allowances.take(number) == 0
        if number % 50 == 0:
            refused += allowances.take("loud") > 0
    assert len(allowances) == 100
    assert refused == 195


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "192.0.2.1", True),
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8::1", "2001:db8:0:1::1", False),
        ("fe80::1%eth0", "fe80::2", True),
    ],
)
def test_ipv6_addresses_of_one_network_are_one_caller(one: str, other: str, same: bool) -> None:
    assert (network_of(one) == network_of(other)) is same


def test_an_unknown_address_stays_unknown() -> None:
    assert network_of(None) is None


def test_places_are_taken_given_up_and_forgotten() -> None:
    places = Places(2)
    with places.one("ada") as first, places.one("ada") as second, places.one("bob") as other:
        assert (first, second, other) == (True, True, True)
        with places.one("ada") as third:
            assert not third
        assert len(places) == 2
    assert len(places) == 0
    with places.one("ada") as again:
        assert again


def test_no_most_is_no_limit() -> None:
    places = Places(0)
    with places.one("ada") as first, places.one("ada") as second:
        assert first
        assert second
