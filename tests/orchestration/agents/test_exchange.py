"""One HTTP exchange keeps to its limits and to the request that it was given."""

from collections.abc import Mapping

import httpx
import pytest

from orchestration.agents.exchange import Answer, Exchange, exchange
from tests.orchestration.agents.web_server import WebServer


async def ask(
    url: str,
    method: str = "GET",
    *,
    headers: Mapping[str, str] | None = None,
    body: str | None = None,
    seconds: float = 30,
    limit: int = 1000,
) -> Answer:
    request = Exchange(method=method, url=url, headers=headers or {}, body=body)
    return await exchange(request, seconds=seconds, limit=limit)


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
    with pytest.raises(httpx.UnsupportedProtocol):
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
