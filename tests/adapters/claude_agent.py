"""An agent of the Claude Agent SDK: Claude Code itself, with a scripted model that is served over HTTP."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import claude_agent_sdk
from claude_agent_sdk import ClaudeAgentOptions, ClaudeSDKClient, create_sdk_mcp_server, tool
from sayso_client import AsyncSayso
from sayso_client.claude import can_use_tool

from orchestration.benchmark.installation import DIES_WITH_PARENT

TOOL = "mcp__payments__refund"


def turn(*orders: int) -> list[dict[str, Any]]:
    """A turn of the model that pays for these orders. Its calls are always named alike."""
    return [
        {"type": "tool_use", "id": f"call-{number}", "name": TOOL, "input": {"order": order, "amount": 5}}
        for number, order in enumerate(orders, 1)
    ]


class Model(BaseHTTPRequestHandler):
    """Says one turn after the other, and then what it was told of its last calls."""

    server: Served

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        blocks = self.server.turns.pop(0) if self.server.turns else _repeat(body)
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        usage = {"input_tokens": 1, "output_tokens": 1}
        message = {"id": "m", "type": "message", "role": "assistant", "model": body["model"], "content": []}
        self._event("message_start", message={**message, "stop_reason": None, "usage": usage})
        for index, block in enumerate(blocks):
            self._block(index, block)
        reason = "tool_use" if blocks[0]["type"] == "tool_use" else "end_turn"
        self._event("message_delta", delta={"stop_reason": reason}, usage=usage)
        self._event("message_stop")

    def _block(self, index: int, block: dict[str, Any]) -> None:
        if block["type"] == "text":
            start, delta = {**block, "text": ""}, {"type": "text_delta", "text": block["text"]}
        else:
            start = {**block, "input": {}}
            delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
        self._event("content_block_start", index=index, content_block=start)
        self._event("content_block_delta", index=index, delta=delta)
        self._event("content_block_stop", index=index)

    def _event(self, kind: str, **data: Any) -> None:
        self.wfile.write(f"event: {kind}\ndata: {json.dumps({'type': kind, **data})}\n\n".encode())

    def log_message(self, *_: Any) -> None:
        """Without a word."""


class Served(ThreadingHTTPServer):
    turns: list[list[dict[str, Any]]]


def _repeat(body: dict[str, Any]) -> list[dict[str, Any]]:
    blocks = [
        block for one in body["messages"] if isinstance(one["content"], list) for block in one["content"]
    ]
    told = [block["content"] for block in blocks if block["type"] == "tool_result"]
    texts = [one if isinstance(one, str) else one[0]["text"] for one in told]
    return [{"type": "text", "text": " | ".join(texts) or "Nothing."}]


@contextmanager
def scripted(*turns: list[dict[str, Any]], folder: Path) -> Iterator[dict[str, str]]:
    """A model that says these turns; the environment in which Claude Code uses it, without settings."""
    with Served(("127.0.0.1", 0), Model) as server:
        server.turns = list(turns)
        thread = Thread(target=server.serve_forever, name="model", daemon=True)
        thread.start()
        yield {
            "ANTHROPIC_BASE_URL": f"http://127.0.0.1:{server.server_port}",
            "ANTHROPIC_API_KEY": "scripted",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CONFIG_DIR": str(folder),
            "HOME": str(folder),
        }
        server.shutdown()
        thread.join()


@tool("refund", "Pay an order back", {"order": int, "amount": int})
async def refund(arguments: dict[str, Any]) -> dict[str, Any]:
    text = f"paid {arguments['amount']} for {arguments['order']}"
    print(text, flush=True)
    return {"content": [{"type": "text", "text": text}]}


def client(asks: Any, environment: dict[str, str]) -> ClaudeSDKClient:
    """Claude Code, which ends with the agent, however that ends."""
    program = Path(environment["HOME"]) / "claude"
    bundled = Path(claude_agent_sdk.__file__).parent / "_bundled" / "claude"
    program.write_text(f'#!/bin/sh\nexec {" ".join(DIES_WITH_PARENT)} {bundled} "$@"\n')
    program.chmod(0o700)
    options = ClaudeAgentOptions(
        cli_path=program,
        mcp_servers={"payments": create_sdk_mcp_server("payments", tools=[refund])},
        can_use_tool=asks,
        env=environment,
        cwd=environment["HOME"],
        setting_sources=[],
        tools=[],
    )
    return ClaudeSDKClient(options)


async def run(asks: Any, environment: dict[str, str]) -> str:
    """Run an agent to its end; what it says at the end."""
    async with client(asks, environment) as claude:
        await claude.query("Pay.")
        messages = [message async for message in claude.receive_response()]
    return str(messages[-1].result)


async def main(folder: str) -> None:
    with scripted(turn(1, 2), folder=Path(folder)) as environment:
        async with AsyncSayso() as sayso:
            print(await run(can_use_tool(sayso, run="run-1"), environment), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
