"""Followers are told which ids of a topic have changed, in whatever process.

Each follower has a task of its own, so that a slow one delays nobody else. Ids that come while it is busy are
collected; after an error it is told to look everywhere.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from contextvars import Context
from threading import Lock
from typing import Protocol
from uuid import UUID

from approvals.waiting.outages import keep_running
from approvals.waiting.set_queue import SetQueue

IDS_A_LOOK = 1000
EVERYWHERE = None


class Follower(Protocol):
    """Is called on the room's loop, one call at a time. Ids may come several times: be idempotent."""

    async def look(self, ids: frozenset[UUID]) -> None: ...

    async def look_everywhere(self) -> None: ...


class Followers:
    """All followers, which are called while `run` runs. Call the other methods from any thread."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._followed: list[tuple[str, Follower]] = []
        self._followings: list[_Following] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._tasks: asyncio.TaskGroup | None = None

    def follow(self, topic: str, follower: Follower) -> None:
        with self._lock:
            self._followed.append((topic, follower))
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._begin, self._following(topic, follower, self._loop))

    def unfollow(self, topic: str, follower: Follower) -> None:
        with self._lock:
            self._followed = [each for each in self._followed if each != (topic, follower)]
            for following in list(self._followings):
                if (following.topic, following.follower) == (topic, follower):
                    self._followings.remove(following)
                    following.end()

    def tell(self, topic: str, ids: Iterable[UUID]) -> None:
        with self._lock:
            for following in self._followings:
                if following.topic == topic:
                    following.places.put(ids)

    def tell_everywhere(self) -> None:
        with self._lock:
            for following in self._followings:
                following.places.put([EVERYWHERE])

    async def run(self) -> None:
        """Serve the followers until cancelled."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.TaskGroup() as self._tasks:
                with self._lock:
                    self._loop = loop
                    beginning = [self._following(*each, loop) for each in self._followed]
                for following in beginning:
                    self._begin(following)
                await loop.create_future()
        finally:
            with self._lock:
                self._loop = self._tasks = None
                self._followings.clear()

    def _following(self, topic: str, follower: Follower, loop: asyncio.AbstractEventLoop) -> _Following:
        following = _Following(topic, follower, loop)
        self._followings.append(following)
        return following

    def _begin(self, following: _Following) -> None:
        if self._tasks is not None:
            looking = keep_running(f"follower {following.follower!r}", following.run)
            # A clean context: the task outlives the caller of `follow`.
            self._tasks.create_task(looking, context=Context())


class _Following:
    """One follower of one topic, and the ids that it has yet to look at."""

    def __init__(self, topic: str, follower: Follower, loop: asyncio.AbstractEventLoop) -> None:
        self.topic = topic
        self.follower = follower
        self.places: SetQueue[UUID | None] = SetQueue(loop)
        self._ended = False

    def end(self) -> None:
        """Call the follower no more; a call under way is not interrupted."""
        self._ended = True
        self.places.put([EVERYWHERE])

    async def run(self) -> None:
        while True:
            places = await self.places.take(IDS_A_LOOK)
            if self._ended:
                return
            try:
                await self._look(places)
            except BaseException:
                self.places.put([EVERYWHERE])
                raise

    async def _look(self, places: list[UUID | None]) -> None:
        ids = frozenset(place for place in places if place is not None)
        if len(ids) < len(places):
            await self.follower.look_everywhere()
        if ids:
            await self.follower.look(ids)
