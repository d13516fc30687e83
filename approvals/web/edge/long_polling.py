"""Long polls: answers that are held back until a person has decided, or said something.

A Django view, also an asynchronous one, keeps a thread for as long as its request is inside Django. So a view
whose request is still pending answers 202 at once, and asks by `hold_answer` for that to be held back. Then
the middleware around Django drops the answer and waits: one waiter in the waiting room, no thread, no
database connection, nothing of Django's request. When the request is closed, the first of several is,
somebody has commented on it where that is waited for, patience is over or the token was revoked, it passes
the call through Django a second time, and sends what that answers: who asks, what they may see and what is on
record are looked up afresh. When the client goes away, the wait ends at once.

`FewPasses` lets few such calls into Django at a time, first come, first served: a thousand waits that end
together would otherwise take a thousand threads, and every connection of the pool. It stands further inside
than the middleware that has an account wait for its turn, so that who waits there takes no place here.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass
from uuid import UUID

from django.http import HttpRequest

from approvals.conf import approval_settings
from approvals.exceptions import RateLimited, StillPending, UnknownRequest
from approvals.process.loops import PerLoop
from approvals.waiting.waiting_room import waiting_room
from approvals.web.edge.asgi import Application, Message, Receive, Scope, Send
from approvals.web.edge.limits import Places
from approvals.web.edge.revocations import Revocations, revocations

HOLD = "sayso.hold"
# In the scope of a second pass, which the client has not asked for.
AGAIN = "sayso.again"
# In the scope of both: the task that ends when the client has gone away.
GONE = "sayso.gone"
PENDING = 202

# Of one user, in one server process: each may be for a thousand requests.
MOST_WAITS_FOR_MANY = 20
TOO_MANY = (
    f"You wait {MOST_WAITS_FOR_MANY} times for the first of several requests, which is the most allowed."
)
# Bytes; what is longer can't be a thousand ids, and is not kept for a second pass.
LONGEST_BODY = 128 * 1024
EMPTY: Message = {"type": "http.request", "body": b"", "more_body": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """What the first pass through Django asks to wait for.

    `known` is the last entry of the request's trail that the caller knows, if a comment ends the wait, too.
    `caller` is whose waits for many requests are counted.
    """

    request_ids: tuple[UUID, ...]
    seconds: float
    token_id: UUID | None
    known: int | None = None
    caller: int | None = None


def hold_answer(
    request: HttpRequest,
    *,
    request_id: UUID,
    seconds: float,
    token_id: UUID | None = None,
    known: int | None = None,
) -> None:
    """Hold the view's 202 back until the request is closed, for so many seconds at most.

    With `known`, also until there is a comment after this entry of its trail. A wait by an API token ends
    when that is revoked. Under WSGI and in the second pass nothing is held: the client gets the 202.
    """
    _hold(request, Wait(request_ids=(request_id,), seconds=seconds, token_id=token_id, known=known))


def hold_answer_for_any(
    request: HttpRequest, *, request_ids: Iterable[UUID], seconds: float, token_id: UUID | None, user_id: int
) -> None:
    """Hold the view's 202 back until the first of these requests is closed; for the rest as `hold_answer`.

    The caller gets 429, `rate_limited`, where this user already waits MOST_WAITS_FOR_MANY times.
    """
    wait = Wait(request_ids=tuple(request_ids), seconds=seconds, token_id=token_id, caller=user_id)
    _hold(request, wait)


def _hold(request: HttpRequest, wait: Wait) -> None:
    hold: Hold | None = getattr(request, "scope", {}).get(HOLD)
    if hold is not None:
        hold.wait = wait


@dataclass(slots=True)
class Hold:
    """Carries the view's wish to the middleware: `wait` as asked; `held` once a 202 was held back for it."""

    wait: Wait | None = None
    held: Wait | None = None

    def around(self, send: Send) -> Send:
        async def send_unless_held(message: Message) -> None:
            if message["type"] == "http.response.start" and message["status"] == PENDING:
                self.held = self.wait
            if self.held is None:
                await send(message)

        return send_unless_held


class HoldingAnswers:
    """ASGI middleware: holds answers to requests whose path ends with one of `endings`, by method.

    The body of a GET request means nothing; that of another is passed on twice.
    """

    def __init__(self, application: Application, *, endings: Mapping[str, tuple[str, ...]]) -> None:
        self._application = application
        self._endings = endings
        self._waits_for_many = PerLoop(lambda: Places(MOST_WAITS_FOR_MANY))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].endswith(self._endings.get(scope["method"], ())):
            await self._application(scope, receive, send)
            return
        body, whole = ([EMPTY], True) if scope["method"] == "GET" else await _read_body(receive)
        if not whole:
            await self._application(scope, _replay(body, receive), send)
            return
        # Followed before the token is looked at: no revocation falls between that and the wait.
        watch = revocations()
        gone = asyncio.create_task(_until_gone(receive))
        try:
            hold = Hold()
            await self._pass({**scope, HOLD: hold}, body, hold.around(send), gone)
            if hold.held:
                with self._place_for(hold.held) as has_place:
                    if not has_place:
                        raise RateLimited(TOO_MANY, retry_after=1)
                    await _wait(hold.held, gone, watch)
                await self._pass({**scope, AGAIN: True}, body, send, gone)
        finally:
            gone.cancel()

    def _place_for(self, wait: Wait) -> AbstractContextManager[bool]:
        return nullcontext(True) if wait.caller is None else self._waits_for_many().one(wait.caller)

    async def _pass(
        self, scope: Scope, body: Sequence[Message], send: Send, gone: asyncio.Task[None]
    ) -> None:
        """Call Django in a task of its own, whose context variables do not stay in ours."""
        if not gone.done():
            await asyncio.create_task(self._application({**scope, GONE: gone}, _receive_once(body), send))
            # Django swallows a cancellation that comes while it ends: nothing may begin to wait after that.
            if (task := asyncio.current_task()) and task.cancelling():
                raise asyncio.CancelledError


class FewPasses:
    """ASGI middleware around Django: lets in few calls of held answers at a time."""

    def __init__(self, application: Application) -> None:
        self._application = application
        self._turns = PerLoop(lambda: asyncio.Semaphore(approval_settings().database_threads))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        gone: asyncio.Task[None] | None = scope.get(GONE)
        if gone is None:
            await self._application(scope, receive, send)
            return
        async with self._turns():
            if not gone.done():
                await self._application(scope, receive, send)


async def _read_body(receive: Receive) -> tuple[list[Message], bool]:
    """Return the messages of a body, and whether they are all of it.

    They are not where it is longer than LONGEST_BODY, or the client has gone.
    """
    messages: list[Message] = []
    while sum(len(message.get("body", b"")) for message in messages) <= LONGEST_BODY:
        messages.append(message := await receive())
        if not message.get("more_body"):
            return messages, message["type"] == "http.request"
    return messages, False


def _replay(messages: Sequence[Message], receive: Receive) -> Receive:
    """Make an application receive these again, and then what follows."""
    left = deque(messages)

    async def receive_again() -> Message:
        return left.popleft() if left else await receive()

    return receive_again


def _receive_once(body: Sequence[Message]) -> Receive:
    """Make Django receive a body.

    Django is not told of a client that goes away: it would only abandon its thread, and a pass is short.
    """
    left = deque(body)

    async def receive() -> Message:
        return left.popleft() if left else await asyncio.get_running_loop().create_future()

    return receive


async def _until_gone(receive: Receive) -> None:
    """Return once the client has gone. One task a call: a `receive` that is cancelled may lose messages."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _wait(wait: Wait, gone: asyncio.Task[None], watch: Revocations) -> None:
    """Return once the answer may have changed, or the client has gone."""
    with watch.over(wait.token_id) as revoked:
        waiting = asyncio.create_task(_until_changed(wait))
        try:
            await asyncio.wait([waiting, gone, revoked], return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
        if waiting.done():
            waiting.result()


async def _until_changed(wait: Wait) -> None:
    # Whether it is known, and whether it is still pending, is for the second pass to say.
    if wait.known is not None:
        await waiting_room().wait_for_comment(wait.request_ids[0], wait.known, wait.seconds)
        return
    if wait.caller is not None:
        await waiting_room().wait_for_any(wait.request_ids, wait.seconds)
        return
    with suppress(StillPending, UnknownRequest):
        await waiting_room().wait(wait.request_ids[0], wait.seconds)
