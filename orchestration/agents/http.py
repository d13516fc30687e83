"""The agent `http`: make one HTTP request; all but GET and HEAD need approval."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any, Self

import httpx
from pydantic import AfterValidator, Field, JsonValue, model_validator

from approvals.exceptions import InvalidRequest
from orchestration.agents.arguments import Arguments, check_with
from orchestration.agents.http_client import Exchange, exchange, target_of
from orchestration.agents.proxy_agent import title_of
from orchestration.catalog import agent
from orchestration.exceptions import NotAllowed, StepFailed
from orchestration.policies import allowlists
from orchestration.runs.run import Run

SAFE_METHODS = ("GET", "HEAD")
KEY_HEADER = "idempotency-key"
# These headers could send the checked request to another host, or hide a second request in it.
FRAMING = {"host", "content-length", "transfer-encoding", "connection", "upgrade"}


def _web_address(text: str) -> str:
    try:
        url = httpx.URL(text)
    except httpx.InvalidURL as error:
        raise ValueError(f"is not an address: {error}") from error
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError("must be an address that begins with http:// or https://")
    if url.userinfo:
        raise ValueError("must have no user or password; a header can carry them")
    return text


def _own_headers(headers: dict[str, str]) -> dict[str, str]:
    for name in headers:
        if name.lower() in FRAMING:
            raise ValueError(f"{name} is set by the connection itself")
    return headers


class Request(Arguments):
    """A request. `body` is sent as it is; `timeout` in seconds for everything, `answer_limit` in bytes."""

    actions = (*SAFE_METHODS, "POST", "PUT", "PATCH", "DELETE")

    url: Annotated[str, AfterValidator(_web_address)]
    headers: Annotated[dict[str, str], AfterValidator(_own_headers)] = {}
    json_body: Annotated[JsonValue, Field(alias="json")] = None
    body: str | None = None
    timeout: Annotated[float, Field(gt=0, le=600)] = 30.0
    answer_limit: Annotated[int, Field(ge=0, le=262_144)] = 65_536

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        if self.json_body is not None and self.body is not None:
            raise ValueError("give json or body, not both")
        return self

    def check_here(self) -> None:
        """Raise NotAllowed for a URL out of reach, as far as is known without resolving its host."""
        with _refuse_as_not_allowed():
            target_of(self.url, allowlists.http_reach())


@agent(
    "http", description="Makes an HTTP request. Anything but GET and HEAD asks for approval of that request."
)
@check_with(Request)
async def http(run: Run, action: str, arguments: dict[str, Any]) -> str:
    """Make the request and return status and text of the answer; the step fails on a status of 400 or more.

    The host must be in `SAYSO_HTTP_HOSTS`, and its address public, or in one of `SAYSO_HTTP_NETWORKS`.

    An interrupted request is repeated if it is a GET or HEAD, or has the header `Idempotency-Key`; otherwise
    a person is asked whether it was received.

    Step: `{"agent": "http", "action": "GET", "arguments": {"url": "https://example.org/status"}}`
    """
    asked = Request.read(action, arguments)
    request = _exchange(action, asked)
    if action not in SAFE_METHODS:
        await run.approve(title_of(f"{action} {asked.url}"), arguments=asdict(request))
    answer = await run.step(
        action,
        _send,
        asdict(request),
        asked.timeout,
        asked.answer_limit,
        idempotent=_may_be_repeated(request),
    )
    text = f"{answer['status']} {answer['reason']} {answer['location']}".rstrip() + f"\n\n{answer['text']}"
    await run.say("http", text.strip())
    if answer["status"] >= 400:
        raise StepFailed(f"{action} {asked.url} was answered with {text[:1000].strip()}")
    return text.strip()


def _may_be_repeated(request: Exchange) -> bool:
    """Tell whether repeating is safe: by the method, or by a key by which the server recognizes it."""
    return request.method in SAFE_METHODS or any(name.lower() == KEY_HEADER for name in request.headers)


def _exchange(method: str, asked: Request) -> Exchange:
    headers, body = asked.headers, asked.body
    if asked.json_body is not None:
        headers = {"Content-Type": "application/json", **headers}
        body = json.dumps(asked.json_body, ensure_ascii=False)
    return Exchange(method=method, url=asked.url, headers=headers, body=body)


async def _send(request: dict[str, Any], seconds: float, limit: int) -> dict[str, Any]:
    with _refuse_as_not_allowed():
        answer = await exchange(
            Exchange(**request), reach=allowlists.http_reach(), seconds=seconds, limit=limit
        )
    return asdict(answer)


@contextmanager
def _refuse_as_not_allowed() -> Iterator[None]:
    """Turn InvalidRequest, for what is out of reach, into NotAllowed."""
    try:
        yield
    except InvalidRequest as error:
        raise NotAllowed(error.detail, field=error.field) from None
