"""What a program with an MCP client does: start `sayso-mcp`, call tools, and read what they say."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import httpx
import psutil
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import create_mcp_http_client, streamable_http_client

from tests.patience import patience
from tests.processes import PROJECT, Process, Server, bare_environment, free_port

COMMAND = [sys.executable, "-m", "sayso_client.mcp_command"]

Connect = Callable[..., AbstractAsyncContextManager[Client]]


def environment_of(server: Server, **more: str) -> dict[str, str]:
    return bare_environment() | {"SAYSO_URL": server.url, "PYTHONPATH": str(PROJECT / "client")} | more


def connector(server: Server, token: str) -> Connect:
    """What starts `sayso-mcp` with arguments, and connects a client with options to it over stdio."""

    @asynccontextmanager
    async def connect(
        *arguments: str, mode: str = "auto", options: Mapping[str, Any] | None = None, **environment: str
    ) -> AsyncIterator[Client]:
        command, *first = COMMAND
        variables = environment_of(server, SAYSO_TOKEN=token, **environment)
        started = StdioServerParameters(command=command, args=[*first, *arguments], env=variables)
        async with Client(started, mode=mode, **options or {}) as client:
            yield client

    return connect


@asynccontextmanager
async def over_http(server: Server, *arguments: str, **environment: str) -> AsyncIterator[str]:
    """Serve over HTTP; the address."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/mcp"
    command = [*COMMAND, "--http", str(port), *arguments]
    with (
        Process(command, environment=environment_of(server, **environment), name="sayso-mcp") as process,
        httpx.Client() as http,
    ):
        while not _answers(http, url):
            process.wait_briefly(0.05)
        yield url


def _answers(http: httpx.Client, url: str) -> bool:
    try:
        http.get(url)
    except httpx.TransportError:
        return False
    return True


@asynccontextmanager
async def connected(
    url: str, headers: dict[str, str], mode: str = "auto", options: Mapping[str, Any] | None = None
) -> AsyncIterator[Client]:
    """A client that sends these headers with each message."""
    async with (
        create_mcp_http_client(headers) as http,
        Client(streamable_http_client(url, http_client=http), mode=mode, **options or {}) as client,
    ):
        yield client


async def begin(
    client: Client, tool: str, *, meta: Any = None, **arguments: Any
) -> tuple[asyncio.Task[Any], str]:
    """Call a tool, and wait until somebody is asked: the call that goes on, and the request's id."""
    told: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def note(progress: float, total: float | None, message: str | None) -> None:
        if not told.done():
            told.set_result(message or "")

    call = asyncio.create_task(client.call_tool(tool, arguments, progress_callback=note, meta=meta))
    await asyncio.wait({call, told}, return_when=asyncio.FIRST_COMPLETED, timeout=patience())
    assert told.done(), call
    return call, told.result().rpartition("/requests/")[2].strip("/")


def said(result: Any) -> Any:
    """What a model reads of a result: one block of text, here JSON."""
    (block,) = result.content
    assert not result.is_error, block.text
    return json.loads(block.text)


async def answer(client: Client, tool: str, **arguments: Any) -> Any:
    return said(await client.call_tool(tool, arguments))


async def problem(client: Client, tool: str, **arguments: Any) -> str:
    result = await client.call_tool(tool, arguments)
    assert result.is_error
    return str(result.content[0].text)


def children(command: Sequence[str]) -> list[psutil.Process]:
    """The processes of this test that were started by a command which begins like this."""
    started = psutil.Process().children(recursive=True)
    return [child for child in started if child.cmdline()[: len(command)] == [*command]]
