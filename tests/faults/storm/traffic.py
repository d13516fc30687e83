"""Who asks: programs that start errands, so that enough are open, and programs that wait themselves."""

from __future__ import annotations

import asyncio
import random
from collections import Counter, defaultdict
from itertools import count

from tests.faults.ledger import Ledger
from tests.faults.storm.api import Api
from tests.faults.storm.clock import passes
from tests.faults.storm.errands import ASKER, ORCHESTRATION, Errand, errand, errand_of, program
from tests.faults.storm.installation import Installation

# How many start errands side by side, and how many wait by themselves.
STARTERS, PROGRAMS = 10, 30
LONG_POLL = 20.0
# How often a program that has died asks the same again.
FORGETFUL = 0.1
# Seconds between two looks at which runs might be resumed.
RESUMING = 5.0


class Traffic:
    """Starts what is started. `over`: from then on nothing new."""

    def __init__(
        self,
        installation: Installation,
        api: Api,
        ledger: Ledger,
        *,
        seed: int,
        thinking: float,
        open_at_once: int,
    ) -> None:
        self.over = asyncio.Event()
        self.counts = Counter[str]()
        self.surprises: list[str] = []
        self.started: dict[str, str] = {}
        self.asked: dict[str, str] = {}
        self.cancelled: set[str] = set()
        self.resumed: set[str] = set()
        # When each sleep that was seen was to end, by run and key: one moment, whatever breaks.
        self.asleep: dict[tuple[str, str], set[float]] = defaultdict(set)
        self.open_runs = self.open_requests = self.most_open = 0
        self._installation, self._api, self._ledger = installation, api, ledger
        self._seed, self._thinking, self._wanted = seed, thinking, open_at_once
        self._room = asyncio.Event()
        self._numbers = count()
        self._programs = count()
        self._cancelling: asyncio.TaskGroup | None = None
        self._dice = random.Random()  # who repeats what is no part of the plan

    async def flow(self) -> None:
        """Until everything that was started has been asked, and every waiting program was told."""
        async with asyncio.TaskGroup() as self._cancelling, asyncio.TaskGroup() as busy:
            for _ in range(STARTERS):
                busy.create_task(self._start_errands())
            for _ in range(PROGRAMS):
                busy.create_task(self._be_a_program())
            busy.create_task(self._resume_runs())

    async def enough(self, patience: float) -> None:
        """Return once about as many runs are open as shall be. TimeoutError after so many seconds."""
        async with asyncio.timeout(patience):
            while self.open_runs < 0.9 * self._wanted:
                await passes(1.0)

    async def count(self) -> None:
        """Until cancelled: how much is open, as the database has it."""
        while True:
            if (still_open := await self._installation.still_open()) is not None:
                self.open_runs, self.open_requests = still_open
                self.most_open = max(self.most_open, self.open_runs)
                self._room.set() if self.open_runs < self._wanted else self._room.clear()
            for run_id, key, end in await self._installation.asleep():
                self.asleep[run_id, key].add(end)
            await passes(1.0)

    async def _start_errands(self) -> None:
        while not self.over.is_set():
            if not self._room.is_set():
                await passes(0.5, unless=self.over)
                continue
            await self._start(errand(self._seed, next(self._numbers), thinking=self._thinking))

    async def _start(self, one: Errand) -> None:
        body = {"orchestration": ORCHESTRATION, "input": one.as_input(), "key": one.key}
        for _ in range(2 if self._dice.random() < FORGETFUL else 1):
            reply = await self._api.call(ASKER, "POST", "/runs", body=body)
            if not reply.is_success:
                self.surprises.append(f"{one.name} was not started: {reply.text}")
                return
            self._one_id(self.started, one.key, reply.json()["id"])
        self._ledger.started(ASKER, self.started[one.key])
        if one.cancelled_after is not None and self._cancelling is not None:
            self._cancelling.create_task(self._cancel(one, one.cancelled_after))

    async def _cancel(self, one: Errand, after: float) -> None:
        await passes(after, unless=self.over)
        run_id = self.started[one.key]
        reply = await self._api.call(ASKER, "POST", f"/runs/{run_id}/cancel", body={})
        if reply.is_success:
            self.cancelled.add(run_id)
            self.counts["runs cancelled"] += 1
        elif reply.json()["code"] != "already_finished":
            self.surprises.append(f"{one.name} was not cancelled: {reply.text}")

    async def _resume_runs(self) -> None:
        while not self.over.is_set():
            await passes(RESUMING, unless=self.over)
            for run_id, key in await self._installation.ended_badly():
                if run_id not in self.resumed and errand_of(key, self._seed, thinking=self._thinking).resumed:
                    await self._resume(run_id, key)

    async def _resume(self, run_id: str, key: str) -> None:
        reply = await self._api.call(ASKER, "POST", f"/runs/{run_id}/resume", body={})
        if reply.is_success:
            self.resumed.add(run_id)
            self.counts["runs resumed"] += 1
        else:
            self.surprises.append(f"{key} was not resumed: {reply.text}")

    async def _be_a_program(self) -> None:
        while not self.over.is_set():
            await self._ask_and_wait(program(self._seed, next(self._programs), thinking=self._thinking))

    async def _ask_and_wait(self, one: Errand) -> None:
        """As docs/api.md says: ask by a key, wait; whatever happens, do both again."""
        [question] = one.questions
        asked = False
        while True:
            if not asked or self._dice.random() < FORGETFUL:
                reply = await self._api.call(ASKER, "POST", "/requests", body=question.as_body(one.key))
                if not reply.is_success:
                    self.surprises.append(f"{one.name} was not asked: {reply.text}")
                    return
                self._one_id(self.asked, one.key, reply.json()["id"])
                self._ledger.asked(ASKER, self.asked[one.key])
                asked = True
            request_id = self.asked[one.key]
            reply = await self._api.call(ASKER, "GET", f"/requests/{request_id}/outcome", wait=LONG_POLL)
            if reply.status_code == 200:
                self._ledger.waited(one.name, request_id, reply.json())
                self.counts["programs told"] += 1
                return
            if reply.status_code != 202:
                self.surprises.append(f"{one.name} may not wait: {reply.text}")
                return

    def _one_id(self, ids: dict[str, str], key: str, id_: str) -> None:
        """The same key, the same thing."""
        if ids.setdefault(key, id_) != id_:
            self.surprises.append(f"the key {key} was for {ids[key]}, then for {id_}")
