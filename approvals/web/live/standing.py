"""Who stands for whom: when that begins or ends, the inboxes of those who stand for others change at once.

A hint says that a delegation was made or ended somewhere; a timer rings when one begins or runs out by
itself. What has changed is found by comparing who stands for whom with what was known before: hints that come
twice, late or for nothing find no difference. Each round of the regular check looks as well, so that the
timer need not reach further.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Set
from typing import Any
from uuid import UUID

from approvals.database.threads import in_database
from approvals.web.live import inbox_reads


class Standing:
    """Follows delegations for a hub, on whose loop it lives. It calls `ring`, on any loop, when it is due."""

    def __init__(self, loop: asyncio.AbstractEventLoop, ring: Callable[[], Any], *, reach: float) -> None:
        self.due = False
        self._loop, self._ring, self._reach = loop, ring, reach
        self._known: Mapping[int, Set[int]] | None = None
        self._timer: asyncio.TimerHandle | None = None

    # For the waiting room, whose loop may be another

    async def look(self, ids: frozenset[UUID]) -> None:
        self.look_soon()

    async def look_everywhere(self) -> None:
        self.look_soon()

    def look_soon(self) -> None:
        """Have the hub ask who stands for whom, before it reads anything else."""
        self.due = True
        self._ring()

    async def changed(self) -> frozenset[int]:
        """Return the users who stand for others than when this was asked before; the first time nobody."""
        self.due = False
        known, seconds = await in_database(inbox_reads.standing)
        before, self._known = self._known, known
        self._set_timer(seconds)
        if before is None:
            return frozenset()
        return frozenset(
            user_id for user_id in before.keys() | known.keys() if before.get(user_id) != known.get(user_id)
        )

    def begin(self) -> None:
        """Look before the first seat is read: what changes later is then a change."""
        self._known, self.due = None, True

    def end(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _set_timer(self, seconds: float | None) -> None:
        self.end()
        if seconds is not None and seconds < self._reach:
            self._timer = self._loop.call_later(max(0.0, seconds), self.look_soon)
