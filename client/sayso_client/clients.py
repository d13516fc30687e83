"""The client that blocks and the one that is awaited."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import wraps
from types import TracebackType
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, Unpack, overload

import httpx

from sayso_client.answers import Asked, Outcome
from sayso_client.errors import NotSetUp
from sayso_client.exchange import Call, Pause, Reply, Step
from sayso_client.operations import Operations, timeout_of
from sayso_client.questions import ApprovalTerms, Assignees, QuestionTerms

P = ParamSpec("P")
T = TypeVar("T")


class operation(Generic[P, T]):  # noqa: N801  a decorator
    """A method that is written once, as a call: `Sayso` runs it, `AsyncSayso` returns what is awaited."""

    def __init__(self, make: Callable[Concatenate[Any, P], Call[T]]) -> None:
        self._make = make
        self.__doc__ = make.__doc__

    @overload
    def __get__(self, client: Sayso, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, client: AsyncSayso, owner: type) -> Callable[P, Awaitable[T]]: ...
    @overload
    def __get__(self, client: None, owner: type) -> Callable[..., Any]: ...
    def __get__(self, client: Any, owner: type) -> Any:
        if client is None:
            return self._make

        @wraps(self._make)
        def run(*arguments: P.args, **named: P.kwargs) -> Any:
            return client._run(self._make(client, *arguments, **named))

        return run


class _Client:
    """What both clients do."""

    def __init__(self, url: str | None, token: str | None, give_up_after: float | None) -> None:
        self._url = _given(url, "SAYSO_URL", "address").rstrip("/")
        self._token = _given(token, "SAYSO_TOKEN", "token")
        self._operations = Operations(give_up_after)

    @operation
    def approve(
        self,
        title: str,
        *,
        key: str,
        patience: float | None = None,
        on_wait: Callable[[Asked], object] | None = None,
        **terms: Unpack[ApprovalTerms],
    ) -> Call[Outcome]:
        """Ask people to approve an exact action, and wait for the outcome.

        The same `key` finds the same request, also after a restart: `KeyConflict` where it was another
        question. `arguments` is the action: a mapping, a dataclass or a pydantic model; the outcome's are of
        the same types. StillPending after `patience` seconds: the request stays open. `on_wait(request)` is
        called once it is open, if nobody has decided yet.
        """
        return self._operations.ask_and_wait(
            "approval", title, key, terms, patience=patience, on_wait=on_wait
        )

    @operation
    def ask(
        self,
        title: str,
        *,
        key: str,
        patience: float | None = None,
        on_wait: Callable[[Asked], object] | None = None,
        **terms: Unpack[QuestionTerms],
    ) -> Call[Outcome]:
        """Ask people for an answer, and wait for it: text, one of `choices`, or data that fits `schema`."""
        return self._operations.ask_and_wait(
            "clarification", title, key, terms, patience=patience, on_wait=on_wait
        )

    @operation
    def wait(self, request_id: str, *, patience: float | None = None) -> Call[Outcome]:
        """Wait until this request is closed; StillPending after `patience` seconds."""
        return self._operations.wait(request_id, patience)

    @operation
    def wait_all(self, ids: Iterable[str]) -> Call[list[Outcome]]:
        """Wait until all of these are closed; return their outcomes in order. It is one wait there."""
        return self._operations.wait_all(ids)

    @operation
    def get(self, request_id: str) -> Call[Asked]:
        """Return the request as it is now."""
        return self._operations.get(request_id)

    @operation
    def decide(
        self,
        request_id: str,
        decision: str,
        *,
        comment: str = "",
        arguments: Mapping[str, Any] | None = None,
        answer: str | None = None,
    ) -> Call[Outcome]:
        """Say `approve` or `reject`, or `respond` with an `answer`, a text, where the request takes one.

        With a quorum it may still be pending then. Repeating is safe. `Decided` where another decision was
        first. Needs the scope `decide`, as `answer` and `reassign` do.
        """
        body: dict[str, Any] = {"decision": decision, "comment": comment}
        if arguments is not None:
            body["arguments"] = dict(arguments)
        if answer is not None:
            body["answer"] = answer
        return self._operations.act(request_id, "decision", body)

    @operation
    def answer(self, request_id: str, answer: Any, *, comment: str = "") -> Call[Outcome]:
        """Answer a question. Repeating is safe."""
        return self._operations.act(request_id, "answer", {"answer": answer, "comment": comment})

    @operation
    def withdraw(self, request_id: str, reason: str = "") -> Call[Outcome]:
        """Take back what you have asked; whoever waits for it is told. Repeating is safe."""
        return self._operations.act(request_id, "withdraw", {"reason": reason})

    @operation
    def withdraw_all(self, origin: Mapping[str, str], reason: str = "") -> Call[int]:
        """Take back all that you have asked with this origin (`{"kind": …, "id": …}`); return their number.

        For the start of a program whose last process has died: what that asked, nobody waits for any more.
        """
        return self._operations.withdraw_all(origin, reason)

    @operation
    def reassign(self, request_id: str, to: Assignees, *, reason: str = "") -> Call[Outcome]:
        """Let others decide: usernames, or `{"users": […], "groups": […]}`."""
        named = to if isinstance(to, Mapping) else {"users": [to] if isinstance(to, str) else to}
        body = {name: list(names) for name, names in named.items()}
        return self._operations.act(request_id, "reassign", {**body, "reason": reason})

    def _request(self, send: Any) -> dict[str, Any]:
        return {
            "method": send.method,
            "url": f"{self._url}/api/v1{send.path}",
            "params": dict(send.params),
            "json": send.json,
            "headers": {"Authorization": f"Bearer {self._token}"},
            "timeout": timeout_of(send),
        }


class Sayso(_Client):
    """Ask people, and wait for them.

    `url` is the address of the installation, without `/api/v1`, and `token` an API token; both may come from
    the environment, as SAYSO_URL and SAYSO_TOKEN (`NotSetUp` where there is none). `http` is a client of your
    own, which is not closed here. While the server is away, calls try again: for `give_up_after` seconds
    (then `Unreachable`), or without end. Refusals are `Problem`s. From any thread.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        http: httpx.Client | None = None,
        give_up_after: float | None = None,
    ) -> None:
        super().__init__(url, token, give_up_after)
        self._own = http is None
        self._http = http or httpx.Client(limits=_LIMITS)

    def open_approval(self, title: str, *, key: str, **terms: Unpack[ApprovalTerms]) -> Request:
        """Ask as `approve` does, without waiting."""
        return self._opened("approval", title, key, terms)

    def open_question(self, title: str, *, key: str, **terms: Unpack[QuestionTerms]) -> Request:
        """Ask as `ask` does, without waiting."""
        return self._opened("clarification", title, key, terms)

    def requests(self, **filters: str) -> Iterator[Request]:
        """Give the requests that you may see, newest first; `filters` are those of GET /requests."""
        cursor = None
        while True:
            page, cursor = self._run(self._operations.page(filters, cursor))
            yield from (Request(**_parts(asked), client=self) for asked in page)
            if cursor is None:
                return

    def close(self) -> None:
        """Close the connections."""
        if self._own:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _opened(self, kind: str, title: str, key: str, terms: Mapping[str, Any]) -> Request:
        asked = self._run(self._operations.open(kind, title, key, terms))
        return Request(**_parts(asked), client=self, sent=terms.get("arguments"))

    def _run(self, call: Call[T]) -> T:
        reply: Reply = None
        try:
            while True:
                reply = self._do(call.send(reply))
        except StopIteration as end:
            result: T = end.value
            return result

    def _do(self, step: Step) -> Reply:
        if isinstance(step, Pause):
            time.sleep(step.seconds)
            return None
        try:
            return self._http.request(**self._request(step))
        except httpx.TransportError as error:
            return error


class AsyncSayso(_Client):
    """Ask people, and await them; as `Sayso`, whose methods are awaited here. On one event loop."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        http: httpx.AsyncClient | None = None,
        give_up_after: float | None = None,
    ) -> None:
        super().__init__(url, token, give_up_after)
        self._own = http is None
        self._http = http or httpx.AsyncClient(limits=_LIMITS)

    async def open_approval(self, title: str, *, key: str, **terms: Unpack[ApprovalTerms]) -> AsyncRequest:
        """Ask as `approve` does, without waiting."""
        return await self._opened("approval", title, key, terms)

    async def open_question(self, title: str, *, key: str, **terms: Unpack[QuestionTerms]) -> AsyncRequest:
        """Ask as `ask` does, without waiting."""
        return await self._opened("clarification", title, key, terms)

    async def requests(self, **filters: str) -> AsyncIterator[AsyncRequest]:
        """Give the requests that you may see, newest first; `filters` are those of GET /requests."""
        cursor = None
        while True:
            page, cursor = await self._run(self._operations.page(filters, cursor))
            for asked in page:
                yield AsyncRequest(**_parts(asked), client=self)
            if cursor is None:
                return

    async def aclose(self) -> None:
        """Close the connections."""
        if self._own:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _opened(self, kind: str, title: str, key: str, terms: Mapping[str, Any]) -> AsyncRequest:
        asked = await self._run(self._operations.open(kind, title, key, terms))
        return AsyncRequest(**_parts(asked), client=self, sent=terms.get("arguments"))

    async def _run(self, call: Call[T]) -> T:
        reply: Reply = None
        try:
            while True:
                reply = await self._do(call.send(reply))
        except StopIteration as end:
            result: T = end.value
            return result

    async def _do(self, step: Step) -> Reply:
        if isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
            return None
        try:
            return await self._http.request(**self._request(step))
        except httpx.TransportError as error:
            return error


@dataclass(frozen=True, slots=True, kw_only=True)
class Request(Asked):
    """A request that a `Sayso` has asked or found."""

    client: Sayso = field(repr=False, compare=False)
    sent: Any = field(default=None, repr=False, compare=False)

    def wait(self, *, patience: float | None = None) -> Outcome:
        """Wait until it is closed; StillPending after `patience` seconds."""
        call = self.client._operations.wait_for(self, self.sent, patience)
        return self.client._run(call)

    def withdraw(self, reason: str = "") -> Outcome:
        """Take it back."""
        return self.client.withdraw(self.id, reason)


@dataclass(frozen=True, slots=True, kw_only=True)
class AsyncRequest(Asked):
    """A request that an `AsyncSayso` has asked or found."""

    client: AsyncSayso = field(repr=False, compare=False)
    sent: Any = field(default=None, repr=False, compare=False)

    async def wait(self, *, patience: float | None = None) -> Outcome:
        """Wait until it is closed; StillPending after `patience` seconds."""
        call = self.client._operations.wait_for(self, self.sent, patience)
        return await self.client._run(call)

    async def withdraw(self, reason: str = "") -> Outcome:
        """Take it back."""
        return await self.client.withdraw(self.id, reason)


# A wait is a connection of its own: as many as a program likes.
_LIMITS = httpx.Limits(max_connections=None, max_keepalive_connections=20)


def _parts(asked: Asked) -> dict[str, Any]:
    return {name: getattr(asked, name) for name in ("id", "kind", "title", "status", "url", "raw")}


def _given(value: str | None, variable: str, what: str) -> str:
    given = value or os.environ.get(variable)
    if not given:
        raise NotSetUp(f"No {what} of a Sayso server: give it, or set {variable}.")
    return given
