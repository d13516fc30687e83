"""The schedule, performed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.faults.storm.clock import passes
from tests.faults.storm.installation import Installation, now
from tests.faults.storm.schedule import Fault, Kind
from tests.servers import PostgresServer, RedisServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Happened:
    """A fault, when it began, and when everything was as before (seconds since the epoch)."""

    fault: Fault
    began: float
    over: float

    def deserted_until(self, takeover: float) -> float:
        """When the runs of the part that was broken are executed by somebody again."""
        return max(self.over, self.began + takeover) if "-" in self.fault.target else self.over


class Weather:
    """Does what the schedule says, each in its second, whatever else is still broken."""

    def __init__(self, installation: Installation, plan: Sequence[Fault], say: Callable[[str], None]) -> None:
        self.happened: list[Happened] = []
        self._installation = installation
        self._plan = plan
        self._say = say

    async def blow(self, began: float) -> None:
        """Return when the last fault is over."""
        async with asyncio.TaskGroup() as faults:
            for fault in self._plan:
                faults.create_task(self._in_time(fault, began))

    async def _in_time(self, fault: Fault, began: float) -> None:
        await passes(began + fault.second - now())
        start = now()
        self._say(str(fault))
        await self._perform(fault)
        self.happened.append(Happened(fault=fault, began=start, over=now()))

    async def _perform(self, fault: Fault) -> None:
        if (part := self._installation.parts.get(fault.target)) is None:
            redis = fault.target == "redis"
            await self._break(self._installation.redis if redis else self._installation.postgres, fault)
        elif fault.kind is Kind.KILL:
            await part.kill(fault.lasts)
        elif fault.kind is Kind.RESTART:
            await part.restart()
        else:
            await part.freeze(fault.lasts)

    async def _break(self, server: RedisServer | PostgresServer, fault: Fault) -> None:
        operate = self._installation.operate
        if fault.kind in (Kind.FLUSH, Kind.CUT):
            await operate(server.flush)
            return
        harm, mend = (server.stop, server.start) if fault.kind is Kind.KILL else (server.freeze, server.thaw)
        await operate(harm)
        await passes(fault.lasts)
        await operate(mend)
