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

from config.proxies import Forwarded
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
