"""Ends what is held for an API token when that is revoked: waits of HTTP requests, and sockets.

Followers of the topic `tokens` in the waiting room learn of a revocation by a hint, within milliseconds in
every process; the re-check finds those whose hint was lost.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from functools import lru_cache
from uuid import UUID

from django.db import Error as DatabaseError

from approvals.database.threads import in_database
from approvals.waiting.followers import Follower
from approvals.waiting.outages import Outage
from approvals.waiting.registry import Registry
from approvals.waiting.waiting_room import WaitingRoom, waiting_room
from approvals.web.edge import tokens

# Tokens that were revoked are remembered, up to this many, for waits that begin at that moment.
REMEMBERED = 10_000


def follow_revocations(room: WaitingRoom, follower: Follower) -> None:
    """Tell `follower` the ids of tokens that were revoked, until `room.unfollow(tokens.TOPIC, …)`."""
    room.set_topic_source(tokens.TOPIC, tokens.revoked_since)
    room.follow(tokens.TOPIC, follower)


class Revocations:
    """Wakes the waits of revoked tokens: one follower a process, and one future a wait."""

    def __init__(self) -> None:
        self._watched: Registry[None] = Registry()
        self._remembered: dict[UUID, None] = {}
        self._database = Outage("database", DatabaseError)

    @contextmanager
    def over(self, token_id: UUID | None) -> Iterator[asyncio.Future[None]]:
        """Give a future that is done once this token is revoked or invalid; without a token, never.

        Also if it was revoked shortly before, as long as this object existed when the token was last valid.
        """
        if token_id is None:
            yield asyncio.get_running_loop().create_future()
            return
        revoked = self._watched.register(token_id)
        try:
            if token_id in self._remembered:
                self._watched.wake({token_id: None})
            yield revoked
        finally:
            self._watched.deregister(revoked, token_id)

    # For the waiting room, whose loop may be another

    async def look(self, ids: frozenset[UUID]) -> None:
        # In this order: who registers meanwhile is either found among the watched, or finds it remembered.
        for token_id in ids:
            self._remembered[token_id] = None
        for token_id in list(self._remembered)[: max(0, len(self._remembered) - REMEMBERED)]:
            del self._remembered[token_id]
        await self._check(self._watched.waited_for(ids))

    async def look_everywhere(self) -> None:
        await self._check(self._watched.ids())

    async def _check(self, token_ids: Collection[UUID]) -> None:
        if not token_ids:
            return
        with self._database.watch():
            holding = await in_database(tokens.owners, token_ids)
        self._watched.wake({token_id: None for token_id in token_ids if token_id not in holding})


def revocations() -> Revocations:
    """Return the process's revocations, which are followed from the first call on."""
    return _follow_in(waiting_room())


@lru_cache(maxsize=1)
def _follow_in(room: WaitingRoom) -> Revocations:
    revocations = Revocations()
    follow_revocations(room, revocations)
    return revocations
