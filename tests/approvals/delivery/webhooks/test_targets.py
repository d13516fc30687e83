"""Where outcomes may be posted: no spelling, redirect or name server gets by the lists."""

from __future__ import annotations

from collections.abc import Sequence
from ipaddress import ip_address

import pytest
from pytest_django import Settings

from approvals import gate
from approvals.delivery.webhooks.targets import (
    Resolve,
    addresses_of,
    check_callback_url,
    check_target,
    is_pattern,
    is_public,
    normalize_host,
)
from approvals.exceptions import InvalidRequest

PUBLIC = ["93.184.216.34", "1.1.1.1", "2606:4700::1111", "64:ff9b::101:101"]
PRIVATE = [
    "127.0.0.1",
    "127.255.255.254",
    "0.0.0.0",
    "10.1.2.3",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "192.0.0.170",
    "192.0.2.1",
    "192.88.99.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:10.0.0.1",
    "64:ff9b::7f00:1",
    "64:ff9b::a00:1",
    "64:ff9b:1::101:101",
    "2002:7f00:1::1",
    "2002:a00:1::",
    "2002:101:101::1",
    "2001:0:101:101::1",
    "2001:db8::1",
    "3fff::1",
    "100::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fec0::1",
    "ff02::1",
    "ff0e::1",
]


def resolving(*addresses: str) -> Resolve:
    async def resolve(host: str, port: int) -> Sequence[str]:
        return addresses

    return resolve


@pytest.fixture(autouse=True)
def lists(settings: Settings) -> None:
    settings.SAYSO_CALLBACK_HOSTS = [
        "hooks.example.org",
        "*.Example.COM",
        "bücher.example",
        "10.0.0.5",
        "8.8.8.8",
    ]
    settings.SAYSO_CALLBACK_NETWORKS = []


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.org",
        "http://hooks.example.org:8443/path?query=1",
        "HTTPS://Hooks.EXAMPLE.org./path",
        "https://a.example.com/",
        "https://a.b.example.com/",
        "https://xn--bcher-kva.example/",
        "https://BÜCHER.example/",
        "https://8.8.8.8/",
        "https://8.8.8.8./",
    ],
)
def test_allowed_hosts_in_any_spelling(url: str) -> None:
    assert check_callback_url(url) == url


def test_no_url_is_no_callback() -> None:
    assert check_callback_url("") == ""


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("hooks.example.org", "begin with"),
        ("/path", "begin with"),
        ("ftp://hooks.example.org/", "begin with"),
        ("file:///etc/passwd", "begin with"),
        ("https:///path", "begin with"),
        (r"http:\\hooks.example.org\x", "begin with"),
        ("https://user@hooks.example.org/", "no user"),
        ("https://hooks.example.org:secret@hooks.example.org/", "no user"),
        ("https://hooks.example.org/#part", "fragment"),
        ("https://hooks.example.org:0/", "port"),
        ("https://hooks.example.org:65536/", "port"),
        ("https://hooks.example.org:http/", "no URL"),
        ("https://[::1/", "no URL"),
        ("https://[::1%25eth0]/", "usual spelling"),
        ("https://[fe80::1%eth0]/", "usual spelling"),
        ("https://0x7f.1/", "usual spelling"),
        ("https://0x7f000001/", "usual spelling"),
        ("https://2130706433/", "usual spelling"),
        ("https://127.1/", "usual spelling"),
        ("https://017700000001/", "usual spelling"),
        ("https://0177.0.0.1/", "no URL"),
        ("https://hooks..example.org/", "usual spelling"),
        ("https://hooks%2eexample.org/", "usual spelling"),
        ("https://ex ample.com/", "usual spelling"),
        ("https://-a.example.com/", "usual spelling"),
        ("https://①②⑦.0.0.1/", "no URL"),
        ("https://example.org/", "none of those"),
        ("https://example.com/", "none of those"),
        ("https://evilexample.com/", "none of those"),
        ("https://hooks.example.org.evil.net/", "none of those"),
        (r"https://hooks.example.org\@evil.net/", "no user"),
        ("https://127.0.0.1/", "none of those"),
        ("https://[::ffff:9.9.9.9]/", "none of those"),
        ("https://10.0.0.5/", "not public"),
        ("https://[::ffff:10.0.0.5]/", "not public"),
    ],
)
def test_what_is_refused_when_asking(url: str, words: str) -> None:
    """Nothing has to be resolved for that; the field is named."""
    with pytest.raises(InvalidRequest, match=words) as refusal:
        check_callback_url(url)
    assert refusal.value.field == "callback_url"


@pytest.mark.parametrize(
    "value", [None, 4711, ["https://hooks.example.org"], "https://hooks.example.org/\n", "x" * 2001]
)
def test_what_is_no_line_of_text_is_refused(value: object) -> None:
    with pytest.raises(InvalidRequest):
        check_callback_url(value)


@pytest.mark.one_stack
@pytest.mark.django_db
def test_nothing_is_opened_that_could_not_be_posted() -> None:
    with pytest.raises(InvalidRequest, match="none of those"):
        gate.open_approval("Refund", callback_url="https://evil.example.net/")


def test_without_hosts_nothing_is_allowed(settings: Settings) -> None:
    settings.SAYSO_CALLBACK_HOSTS = []
    with pytest.raises(InvalidRequest):
        check_callback_url("https://hooks.example.org/")


@pytest.mark.parametrize(
    "pattern", ["*", "*.", "**", "*.10.0.0.1", "https://a.example.org", "a.example.org:443", "a/b", ""]
)
def test_patterns_that_mean_nothing_allow_nothing(settings: Settings, pattern: str) -> None:
    settings.SAYSO_CALLBACK_HOSTS = [pattern]
    assert not is_pattern(pattern)
    with pytest.raises(InvalidRequest):
        check_target("https://a.example.org/")


def test_a_pattern_is_of_names_not_of_numbers(settings: Settings) -> None:
    settings.SAYSO_CALLBACK_HOSTS = ["*.0.0.5"]
    with pytest.raises(InvalidRequest):
        check_target("https://10.0.0.5/")


def test_addresses_may_be_listed_in_any_spelling(settings: Settings) -> None:
    settings.SAYSO_CALLBACK_HOSTS = ["[2606:4700:0:0:0:0:0:1111]", "::ffff:8.8.8.8"]
    assert check_target("https://[2606:4700::1111]:8443/").netloc == "[2606:4700::1111]:8443"
    assert check_target("https://8.8.8.8/").netloc == "8.8.8.8"


def test_a_host_has_one_spelling() -> None:
    assert normalize_host("Hooks.Example.org.") == "hooks.example.org"
    assert normalize_host("BÜCHER.example") == "xn--bcher-kva.example"
    assert normalize_host("[::1]") == "::1"
    assert normalize_host("::FFFF:1.2.3.4") == "1.2.3.4"
    assert normalize_host("a" * 64 + ".org") is None
    assert normalize_host("a." * 130 + "org") is None
    assert normalize_host("\N{SNOWMAN}\N{SNOWMAN}.") is None


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses(address: str) -> None:
    assert is_public(ip_address(address))


@pytest.mark.parametrize("address", PRIVATE)
async def test_a_name_of_a_private_address_is_refused(address: str) -> None:
    """Even among public ones: any of them might be connected to."""
    target = check_target("https://hooks.example.org/")
    for addresses in ([address], [*PUBLIC, address], [address, *PUBLIC]):
        with pytest.raises(InvalidRequest, match="not public"):
            await addresses_of(target, resolving(*addresses))


async def test_all_public_addresses_of_a_name_may_be_connected_to() -> None:
    target = check_target("https://hooks.example.org/")
    found = await addresses_of(target, resolving(*PUBLIC, PUBLIC[0]))
    assert [str(each) for each in found] == PUBLIC


async def test_allowed_networks_are_reached(settings: Settings) -> None:
    """Also by their addresses in IPv6's spelling; what is outside is not."""
    settings.SAYSO_CALLBACK_NETWORKS = ["10.0.0.0/29", "fd00::/64", "nonsense"]
    target = check_target("https://hooks.example.org/")
    found = await addresses_of(target, resolving("::ffff:10.0.0.1", "fd00::1"))
    assert [str(each) for each in found] == ["10.0.0.1", "fd00::1"]
    assert check_target("https://10.0.0.5/").address
    for other in ("10.0.0.8", "fd00:0:0:1::1", "2002:a00:1::1"):
        with pytest.raises(InvalidRequest):
            await addresses_of(target, resolving(other))


async def test_a_name_without_addresses_is_an_error_of_the_network() -> None:
    with pytest.raises(OSError, match="no address"):
        await addresses_of(check_target("https://hooks.example.org/"), resolving())


async def test_an_address_is_not_resolved() -> None:
    async def never(host: str, port: int) -> Sequence[str]:
        raise AssertionError(host)

    (address,) = await addresses_of(check_target("https://8.8.8.8/"), never)
    assert str(address) == "8.8.8.8"
