"""What proxies say is believed from those that are trusted, and from nobody else."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as some
from pytest_django import Settings

from approvals.web.edge.proxies import Forwarded
from config.asgi import application
from tests.config.test_deployment import block
from tests.patience import patience
from tests.processes import Process, free_port
from tests.stacks import Stack

PROXY, STRANGER = "10.0.0.1", "192.0.2.7"


@pytest.fixture(autouse=True)
def trusted(settings: Settings) -> None:
    settings.SAYSO_TRUSTED_PROXIES = ["10.0.0.0/8"]


async def seen(peer: str | None, *headers: tuple[bytes, bytes], **scope: Any) -> dict[str, Any]:
    """The scope that the application gets."""
    passed_on: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        passed_on.append(scope)

    asked = {
        "type": "http",
        "scheme": "http",
        "path": "/runs/",
        "root_path": "",
        "client": None if peer is None else (peer, 4711),
        "headers": list(headers),
    }
    await Forwarded(application)(asked | scope, None, None)  # type: ignore[arg-type]  # nothing is said
    (found,) = passed_on
    return dict(found)


async def scheme(peer: str | None, *values: str, kind: str = "http") -> str:
    headers = [(b"x-forwarded-proto", value.encode()) for value in values]
    found = await seen(peer, *headers, type=kind, scheme="ws" if kind == "websocket" else "http")
    return str(found["scheme"])


class TestScheme:
    async def test_a_trusted_proxy_says_how_the_client_came(self) -> None:
        assert await scheme(PROXY, "https") == "https"
        assert await scheme(PROXY, "HTTPS ") == "https"
        assert await scheme(PROXY, "http") == "http"
        assert await scheme(PROXY, "https", kind="websocket") == "wss"

    async def test_of_several_claims_the_proxys_own_is_the_last(self) -> None:
        assert await scheme(PROXY, "https, http") == "http"
        assert await scheme(PROXY, "https", "http") == "http"

    async def test_what_is_no_scheme_says_nothing(self) -> None:
        assert await scheme(PROXY, "gopher") == "http"
        assert await scheme(PROXY) == "http"

    @pytest.mark.parametrize("peer", [STRANGER, "127.0.0.1", None])
    async def test_nobody_else_is_believed(self, peer: str | None) -> None:
        assert await scheme(peer, "https") == "http"
        assert await scheme(peer, "https", kind="websocket") == "ws"


class TestPrefix:
    """As FORCE_SCRIPT_NAME, a trusted proxy or the server says; paths may have it or not."""

    @pytest.mark.parametrize("path", ["/tools/desk/runs/", "/runs/"])
    @pytest.mark.parametrize("kind", ["http", "websocket"])
    async def test_the_path_is_whole_however_it_is_told(
        self, settings: Settings, path: str, kind: str
    ) -> None:
        said = (b"x-forwarded-prefix", b"/tools/desk/")
        by_header = await seen(PROXY, said, path=path, type=kind)
        by_server = await seen(STRANGER, path=path, root_path="/tools/desk", type=kind)
        settings.FORCE_SCRIPT_NAME = "/tools/desk"
        by_setting = await seen(STRANGER, path=path, root_path="/else", type=kind)
        for found in (by_header, by_server, by_setting):
            assert (found["root_path"], found["path"]) == ("/tools/desk", "/tools/desk/runs/")

    async def test_what_only_begins_like_the_prefix_is_not_below_it(self, settings: Settings) -> None:
        settings.FORCE_SCRIPT_NAME = "/run"
        assert (await seen(STRANGER))["path"] == "/run/runs/"
        assert (await seen(STRANGER, path="/run"))["path"] == "/run"

    @pytest.mark.parametrize("peer", [STRANGER, "127.0.0.1", None])
    async def test_no_stranger_chooses_one(self, peer: str | None) -> None:
        found = await seen(peer, (b"x-forwarded-prefix", b"/tools"))
        assert (found["root_path"], found["path"]) == ("", "/runs/")

    @pytest.mark.parametrize(
        "prefix", [b"//example.org", b"tools", b"/a b", b"/..", b"/\xe4", b"/a//b", b"/?a"]
    )
    async def test_what_is_no_prefix_is_none(self, prefix: bytes) -> None:
        assert (await seen(PROXY, (b"x-forwarded-prefix", prefix)))["root_path"] == ""

    @pytest.mark.one_stack
    async def test_refusals_outside_of_django_know_it(self, settings: Settings, stack: object) -> None:
        """Which of them are problems for programs, and where their pages lead."""
        settings.SAYSO_ADDRESS_RATE_LIMIT = 0.1
        settings.FORCE_SCRIPT_NAME = "/tools/desk"
        asked = httpx.ASGITransport(application, client=(STRANGER, 4711))
        async with httpx.AsyncClient(transport=asked, base_url="http://localhost") as client:
            await client.get("/tools/desk/accounts/login/")
            page = await client.get("/tools/desk/runs/")
            problem = await client.get("/tools/desk/api/v1/requests")
        assert (page.status_code, 'href="/tools/desk/"' in page.text) == (429, True)
        assert (problem.status_code, problem.json()["code"]) == (429, "rate_limited")


@pytest.mark.processes
@pytest.mark.one_stack
def test_behind_uvicorn_nobody_on_this_computer_chooses_an_address(stack: Stack) -> None:
    """Started as docs/deployment.md says, and without a trusted proxy, all of them are one address."""
    port = str(free_port())
    words = block("uvicorn").split()
    command = [sys.executable, "-m", *words[words.index("uvicorn") :], "--host", "127.0.0.1", "--port", port]
    environment = stack.environment | {"SAYSO_ADDRESS_RATE_LIMIT": "1"}
    with Process(command, environment=environment, name="uvicorn") as server:
        server.output.wait_for("Uvicorn running", patience())
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=patience()) as client:
            answers = [
                client.get("/healthz/live", headers={"X-Forwarded-For": f"198.51.100.{number}"}).status_code
                for number in range(60)
            ]
    assert 429 in answers


@given(some.lists(some.tuples(some.sampled_from([b"x-forwarded-proto", b"forwarded"]), some.binary())))
def test_whatever_a_stranger_says_changes_nothing(headers: list[tuple[bytes, bytes]]) -> None:
    found = asyncio.run(seen(STRANGER, *headers))
    assert (found["scheme"], found["path"], found["root_path"]) == ("http", "/runs/", "")
