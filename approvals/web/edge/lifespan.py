"""Starts and stops what a process does beside serving, with whichever server it is.

Servers with the lifespan protocol say when. Daphne has none: there it starts and stops with Twisted's
reactor. Nothing depends on a clean shutdown.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import sys
from collections.abc import Awaitable, Callable
from typing import Any

from approvals.web.edge.asgi import Application, Message, Receive, Scope, Send

log = logging.getLogger(__name__)


class Lifespan:
    """ASGI application for the lifespan protocol. A stop takes `patience()` seconds at most.

    `project` is an application with a lifespan of its own, if any: it begins before ours and ends after it.
    """

    project: Application | None = None

    def __init__(
        self,
        start: Callable[[], Awaitable[object]],
        stop: Callable[[], Awaitable[object]],
        *,
        patience: Callable[[], float],
    ) -> None:
        self._begin = start
        self._end = stop
        self._patience = patience
        self._starting: set[asyncio.Task[Any]] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        theirs = _Projects(self.project, scope)
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                answer = await theirs.answer_to(message)
                if answer["type"] == "lifespan.startup.complete":
                    await self._begin()
                await send(answer)
            elif message["type"] == "lifespan.shutdown":
                await self._stop()
                await send(await theirs.answer_to(message))
                return

    def start_with_reactor(self) -> None:
        """Start and stop with the reactor of daphne, if there is one in this process."""
        reactor: Any = sys.modules.get("twisted.internet.reactor")
        if reactor is None or not hasattr(reactor, "_asyncioEventloop"):
            return
        # One turn after "running", when asyncio's loop runs as well.
        reactor.callWhenRunning(reactor.callLater, 0, self._start)
        reactor.addSystemEventTrigger("before", "shutdown", self._stop_with_reactor)

    def _start(self) -> None:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._begin_here(), context=contextvars.Context())
        self._starting.add(task)
        task.add_done_callback(self._log_failed_start)

    async def _begin_here(self) -> None:
        await self._begin()

    def _log_failed_start(self, task: asyncio.Task[Any]) -> None:
        self._starting.discard(task)
        if not task.cancelled() and (error := task.exception()):
            log.critical("runtime did not start", exc_info=error)

    def _stop_with_reactor(self) -> Any:
        from twisted.internet.defer import Deferred

        return Deferred.fromFuture(asyncio.ensure_future(self._stop()))

    async def _stop(self) -> None:
        patience = self._patience()
        try:
            async with asyncio.timeout(patience):
                await self._end()
        except TimeoutError:
            log.warning("runtime did not stop within %s s", patience)


class _Projects:
    """The lifespan of the project's application, told what the server tells us.

    One that raises or returns does not take part (any more), which is no error:
    https://asgi.readthedocs.io/en/latest/specs/lifespan.html#scope
    """

    def __init__(self, application: Application | None, scope: Scope) -> None:
        self._messages: asyncio.Queue[Message] = asyncio.Queue()
        self._answers: asyncio.Queue[Message | None] = asyncio.Queue()
        self._takes_part = application is not None
        if application is not None:
            self._task = asyncio.ensure_future(self._serve(application, scope))

    async def answer_to(self, message: Message) -> Message:
        if self._takes_part:
            self._messages.put_nowait(message)
            answer = await self._answers.get()
            if answer is not None:
                return answer
            self._takes_part = False
        return {"type": f"{message['type']}.complete"}

    async def _serve(self, application: Application, scope: Scope) -> None:
        try:
            await application(scope, self._messages.get, self._answers.put)
        except Exception as error:  # noqa: BLE001  by the specification any means that it takes no part
            log.info("the project's application has no lifespan: %r", error)
        finally:
            self._answers.put_nowait(None)
