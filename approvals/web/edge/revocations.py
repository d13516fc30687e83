"""Tokens that are revoked while something is held for them: waits of HTTP requests, and sockets.

Whoever holds something follows the topic `tokens` in the waiting room: a hint ends it within milliseconds in
every process, and the re-check finds what a lost hint was about.
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
from approvals.waiting.room import WaitingRoom, waiting_room
from approvals.web.edge import tokens

# Tokens that were revoked are remembered, up to this many, for waits that begin at that moment.
REMEMBERED = 10_000


def follow_revocations(room: WaitingRoom, follower: Follower) -> None:
    """Tell `follower` the ids of tokens that were revoked, until `room.unfollow(tokens.TOPIC, …)`."""
    room.set_topic_source(tokens.TOPIC, tokens.revoked_since)
    room.follow(tokens.TOPIC, follower)


class Revocations:
    """One follower a process, whatever the number of waits: each is one future in a dictionary."""

    def __init__(self) -> None:
        self._watched: Registry[None] = Registry()
        self._remembered: dict[UUID, None] = {}
        self._database = Outage("database", DatabaseError)

    @contextmanager
    def over(self, token_id: UUID | None) -> Iterator[asyncio.Future[None]]:
        """A future that is done when this token is found not to hold any more; without a token, never.

        Also for what was heard before, as long as this object existed when the token last held.
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
            self._watched.deregister(token_id, revoked)

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
    return _followed_in(waiting_room())


@lru_cache(maxsize=1)
def _followed_in(room: WaitingRoom) -> Revocations:
    revocations = Revocations()
    follow_revocations(room, revocations)
    return revocations
