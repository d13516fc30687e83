"""One HTTP exchange keeps to its limits and to the request that it was given."""

from collections.abc import Mapping, Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from approvals.delivery.webhooks.connections import Connections
from approvals.delivery.webhooks.targets import Reach
from approvals.exceptions import InvalidRequest
from orchestration.agents.http_client import Answer, Exchange, _follow_redirect, exchange, target_of
from tests.effort import effort
from tests.orchestration.agents.web_server import WebServer

LOOPBACK = ["127.0.0.0/8"]
PRIVATE = ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "::1", "fd00::1", "::ffff:127.0.0.1"]


def reach(*hosts: str, networks: Sequence[str] = LOOPBACK) -> Reach:
    return Reach(field="arguments.url", setting="SAYSO_HTTP", hosts=hosts, networks=networks)


async def ask(
    url: str,
    method: str = "GET",
    *,
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
    seconds: float = 30,
    limit: int = 1000,
    within: Reach | None = None,
    connections: Connections | None = None,
) -> Answer:
    request = Exchange(method=method, url=url, headers=headers or {}, body=body)
    within = within or reach("127.0.0.1")
    return await exchange(request, reach=within, seconds=seconds, limit=limit, connections=connections)


async def test_the_answer_comes_back(server: WebServer) -> None:
    assert await ask(server.url) == Answer(status=200, reason="OK", text="hello")


async def test_the_request_is_sent_as_given(server: WebServer) -> None:
    await ask(f"{server.url}/things?a=1", "PUT", headers={"X-Kind": "test"}, body="über")
    (asked,) = server.asked
    assert (asked.method, asked.path, asked.body.decode()) == ("PUT", "/things?a=1", "über")
    assert asked.headers["X-Kind"] == "test"


async def test_redirects_are_followed_up_to_five(server: WebServer) -> None:
    assert (await ask(f"{server.url}/redirect/5")).text == "arrived"
    with pytest.raises(httpx.TooManyRedirects):
        await ask(f"{server.url}/redirect/6")


async def test_a_redirect_to_another_protocol_is_refused(server: WebServer) -> None:
    with pytest.raises(InvalidRequest, match=r"redirect to ftp://127.0.0.1 .*must begin with https:// or"):
        await ask(f"{server.url}/elsewhere")


@pytest.mark.parametrize(("method", "headers"), [("POST", {}), ("GET", {"X-Api-Key": "secret"})])
async def test_a_redirect_that_would_change_or_leak_the_request_is_not_followed(
    server: WebServer, method: str, headers: dict[str, str]
) -> None:
    """What was approved went to one address; another address is another request."""
    answer = await ask(f"{server.url}/redirect/1", method, headers=headers)
    assert (answer.status, answer.location) == (302, "/redirect/0")
    assert server.paths == [f"{method} /redirect/1"]


async def test_a_long_answer_is_cut(server: WebServer) -> None:
    answer = await ask(f"{server.url}/bytes/100000", limit=10)
    assert answer.text == "x" * 10 + "\n[… the rest is left out …]"


@pytest.mark.parametrize(
    ("charset", "text"),
    [("latin-1", "café\ufffd"), ("nonsense", "caf\ufffd\ufffd"), ("base64", "caf\ufffd\ufffd")],
)
async def test_an_answer_is_always_text(server: WebServer, charset: str, text: str) -> None:
    assert (await ask(f"{server.url}/charset/{charset}")).text == text


async def test_an_answer_that_never_comes_is_not_waited_for(server: WebServer) -> None:
    with pytest.raises((TimeoutError, httpx.TimeoutException)):
        await ask(f"{server.url}/never", seconds=0.2)


class TestReach:
    """Only what is listed is reached, whatever a name resolves to, and wherever an answer redirects to."""

    async def test_a_host_that_is_not_listed_is_not_asked(self, server: WebServer) -> None:
        with pytest.raises(InvalidRequest, match="SAYSO_HTTP_HOSTS") as refused:
            await ask(server.url, within=reach("example.org"))
        assert (refused.value.field, server.asked) == ("arguments.url", [])

    @pytest.mark.parametrize("address", PRIVATE)
    async def test_a_listed_name_that_resolves_to_a_private_address_is_not_asked(
        self, server: WebServer, address: str
    ) -> None:
        """Nor is one that has a public address beside it: either might be connected to."""
        port = server.url.rpartition(":")[2]
        for addresses in ([address], ["93.184.216.34", address]):
            with pytest.raises(InvalidRequest, match="SAYSO_HTTP_NETWORKS"):
                await ask(
                    f"http://inside.example.org:{port}/",
                    within=reach("*.example.org", networks=[]),
                    connections=Connections(resolve=Names(addresses)),
                )
        assert server.asked == []

    async def test_a_name_is_resolved_once_and_connected_to_by_the_address_that_was_checked(
        self, server: WebServer
    ) -> None:
        """A second look could find another address."""
        names = Names(["127.0.0.1"], ["10.0.0.1"])
        url = f"http://inside.example.org:{server.url.rpartition(':')[2]}/"
        answer = await ask(url, within=reach("inside.example.org"), connections=Connections(resolve=names))
        assert (answer.text, len(names.asked)) == ("hello", 1)
        assert server.asked[0].headers["Host"] == url.removeprefix("http://").rstrip("/")

    async def test_each_redirect_is_checked_anew(self, server: WebServer) -> None:
        """By name and by address: the first host is listed, the next one is not, or is somewhere else."""
        port = server.url.rpartition(":")[2]
        start = f"http://first.example.org:{port}/to?http://next.example.org:{port}/secret"
        for within, setting in (
            (reach("first.example.org"), "SAYSO_HTTP_HOSTS"),
            (reach("*.example.org", networks=["127.0.0.1/32"]), "SAYSO_HTTP_NETWORKS"),
        ):
            names = Names(["127.0.0.1"], ["127.0.0.2"])
            with pytest.raises(InvalidRequest, match=setting):
                await ask(start, within=within, connections=Connections(resolve=names))
        assert {asked.path.partition("?")[0] for asked in server.asked} == {"/to"}

    async def test_proxies_of_the_environment_are_not_asked(
        self, server: WebServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """They would resolve the name anew."""
        monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
        monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
        assert (await ask(server.url)).text == "hello"

    @effort(300)
    @given(
        st.sampled_from(["", "/", "//", "http://", "https://", "HTTPS:", "\\\\", "ftp://", "https:/"]),
        st.sampled_from(["", "ana:pw@", "inside.example.org@", "%40"]),
        st.sampled_from(
            [
                "inside.example.org",
                "INSIDE.example.org.",
                "evil.example",
                "127.0.0.1",
                "2130706433",
                "[::1]",
                "",
            ]
        ),
        st.text(":/?#@\\ .a0é\0", max_size=8),
    )
    def test_no_redirect_leads_out_of_reach(self, scheme: str, user: str, host: str, rest: str) -> None:
        """However its address is written; and none leaves TLS."""
        start = target_of("https://inside.example.org/a/b", reach("inside.example.org"))
        try:
            target = _follow_redirect(start, f"{scheme}{user}{host}{rest}")
        except (InvalidRequest, httpx.InvalidURL):
            return
        assert (target.url.scheme, target.host, target.url.userinfo) == ("https", "inside.example.org", b"")

    @effort()
    @given(st.ip_addresses(v=4).filter(lambda address: not address.is_global))
    async def test_no_private_address_is_reached_by_a_listed_name(self, address: object) -> None:
        with pytest.raises(InvalidRequest, match="SAYSO_HTTP_NETWORKS"):
            await ask(
                "http://inside.example.org/",
                within=reach("*.example.org", networks=[]),
                connections=Connections(resolve=Names([str(address)])),
            )


class Names:
    """A resolver that says something else each time, the last thing again and again."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self._answers[min(len(self.asked), len(self._answers)) - 1]
