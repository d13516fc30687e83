"""One storm from its first asking to the report."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from tests.faults import ledger as ledgers
from tests.faults.ledger import Ledger
from tests.faults.storm import records, report
from tests.faults.storm.api import Api
from tests.faults.storm.audit import audit, from_the_ice
from tests.faults.storm.clock import passes
from tests.faults.storm.errands import errand_of, question_of
from tests.faults.storm.faults import Weather
from tests.faults.storm.installation import DID_NOT_STOP, ENDED_BY_ITSELF, Installation, now
from tests.faults.storm.known import Known
from tests.faults.storm.letters import Mailboxes
from tests.faults.storm.people import People
from tests.faults.storm.population import set_up
from tests.faults.storm.schedule import Fault
from tests.faults.storm.traffic import Traffic
from tests.mail_server import mail_server

# Runs open at once, for each minute of a storm, and at most; seconds that people think, likewise.
OPEN_A_MINUTE, MOST_OPEN = 400, 2500
THINKING_A_MINUTE, LONGEST_THINKING = 20.0, 240.0
# Seconds, for each minute of the storm, that may pass before it until so many are open.
FILLING_A_MINUTE = 15.0
# Seconds for which what somebody is told is claimed, where a storm does not say otherwise.
LONGEST_CLAIM = 60.0
# When nothing breaks any more, everything comes to its end; something does at least every so many seconds.
SETTLING = 120.0
PROGRESS = 15.0


class Storm:
    """`rage()` says whether everything is as it should be."""

    def __init__(
        self,
        folder: Path,
        plan: Sequence[Fault],
        *,
        seed: int,
        minutes: float,
        engine: str,
        parts: Sequence[str],
        recheck: float,
        lease: float,
        claim: float | None,
        open_at_once: int | None,
        allowance: float,
    ) -> None:
        self._plan, self._seed, self._minutes = plan, seed, minutes
        self._parts = parts
        # Seconds in which deadlines take effect and waits end, where nothing is broken.
        self._bound = recheck + allowance
        # Within two leases somebody else executes what a dead process did: within a minute, by default.
        self._takeover = max(2 * lease, claim or LONGEST_CLAIM)
        self._open = open_at_once or round(min(MOST_OPEN, OPEN_A_MINUTE * minutes))
        self._thinking = min(LONGEST_THINKING, THINKING_A_MINUTE * minutes)
        self._folder = folder
        self._installation = Installation(folder, engine=engine, recheck=recheck, lease=lease, claim=claim)
        self._began = now()
        self._calm = self._rest = 0.0
        self._unsettled: tuple[tuple[int, int] | None, int | None] | None = None

    def rage(self) -> bool:
        with mail_server() as mail:
            self._mailboxes = Mailboxes(mail)
            return self._rage(mail.url)

    def _rage(self, mail: str) -> bool:
        installation = self._installation
        installation.start_databases(mail)
        try:
            tokens = set_up(installation.environment)
            installation.set_up_parts(self._parts)
            self._ledger = Ledger(installation.ledger)
            asyncio.run(self._blow(tokens))
            sound = self._verdict()
        except BaseException:
            self._say(f"interrupted; logs are in {self._folder}")
            raise
        finally:
            installation.remove_databases()
        if sound:
            shutil.rmtree(self._folder)
        else:
            self._say(f"logs are kept in {self._folder}")
        return sound

    def _say(self, text: str) -> None:
        print(f"[{now() - self._began:6.1f}] {text}", flush=True)

    # While it lasts

    async def _blow(self, tokens: dict[str, str]) -> None:
        installation = self._installation
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(part.keep_running()) for part in installation.parts.values()]
            try:
                for part in installation.parts.values():
                    await part.ready()
                await self._with_people(tokens)
            finally:
                for task in running:
                    task.cancel()

    async def _with_people(self, tokens: dict[str, str]) -> None:
        installation, seed, thinking = self._installation, self._seed, self._thinking
        api = self._api = Api([server.url for server in installation.servers], tokens)
        people = self._people = People(api, self._mailboxes, self._ledger, seed=seed, thinking=thinking)
        traffic = self._traffic = Traffic(
            installation, api, self._ledger, seed=seed, thinking=thinking, open_at_once=self._open
        )
        self._weather = Weather(installation, self._plan, self._say)
        async with asyncio.TaskGroup() as tasks:
            living = tasks.create_task(people.live())
            helping = [tasks.create_task(traffic.count()), tasks.create_task(self._show_progress())]
            flowing = tasks.create_task(traffic.flow())
            try:
                with suppress(TimeoutError):
                    await traffic.enough(FILLING_A_MINUTE * self._minutes)
                self._began = now()
                self._say(f"runs open {traffic.open_runs}; now things break")
                await asyncio.gather(self._weather.blow(self._began), passes(self._minutes * 60))
                self._calm = now()
                self._say("nothing breaks any more, nothing new is asked, everybody hurries")
                traffic.over.set()
                people.hurry.set()
                await self._settle(flowing)
            finally:
                for task in (living, flowing, *helping):
                    task.cancel()
        await api.close()

    async def _settle(self, flowing: asyncio.Task[None]) -> None:
        """Until nothing is open any more."""
        moved = now()
        while now() < moved + SETTLING:
            installation = self._installation
            left = (await installation.still_open(), await installation.still_to_tell())
            if left == ((0, 0), 0) and flowing.done():
                self._unsettled = None
                break
            if left != self._unsettled:
                self._unsettled, moved = left, now()
            await passes(0.5)
        self._rest = now()
        # What was told last is on its way.
        await passes(2.0)

    async def _show_progress(self) -> None:
        while True:
            await passes(PROGRESS)
            traffic, people = self._traffic, self._people
            self._say(
                f"runs {len(traffic.started)}, of which open {traffic.open_runs}; requests open"
                f" {traffic.open_requests}; programs {len(traffic.asked)};"
                f" decisions told {people.counts['decisions told']}; API calls {self._api.requests}"
            )

    # Afterwards

    def _verdict(self) -> bool:
        """Hold everything against everything, print what was counted and found."""
        self._say("audit")
        weather, traffic, people = self._weather, self._traffic, self._people
        parts = self._installation.parts.values()
        notes = list(self._ledger.notes())
        rows = records.read(self._installation.url)
        thaws = [thaw for part in parts for thaw in part.thaws]
        icy = from_the_ice(notes, rows, thaws)
        known = Known(
            notes=[note for note in notes if note not in icy],
            errands={
                run_id: errand_of(key, self._seed, thinking=self._thinking)
                for key, run_id in traffic.started.items()
            },
            programs=traffic.asked,
            cancelled=traffic.cancelled,
            resumed=traffic.resumed,
            asleep=traffic.asleep,
            newest=self._installation.newest_known(),
            questions={
                row.title: question
                for row in rows.requests.values()
                if (question := question_of(row.title, self._seed, thinking=self._thinking))
            },
            letters=self._mailboxes.letters(),
            broken=[(each.began, each.over) for each in weather.happened],
            deserted=[(each.began, each.deserted_until(self._takeover)) for each in weather.happened],
        )
        findings = audit(known, rows, bound=self._bound)
        told = ledgers.audit(self._as_ledger(known), self._installation.url)
        return report.show(
            told,
            findings,
            surprises=[*people.surprises, *traffic.surprises, *self._unsettled_things(), *self._bad_ends()],
            faults=Counter(
                f"{each.fault.kind} {each.fault.target.rstrip('-12')}" for each in weather.happened
            ),
            ends={part.name: part.ends for part in parts},
            counts=people.counts + traffic.counts,
            troubles=self._api.troubles,
            letters=len(known.letters),
            figures={
                "effects of calls from before a process was frozen": len(icy),
                "API calls": self._api.requests,
                "most runs open at once": traffic.most_open,
                "seconds from the last fault to everybody's rest": round(self._rest - self._calm, 1),
            },
        )

    def _unsettled_things(self) -> list[str]:
        if self._unsettled is None:
            return []
        still_open, to_tell = self._unsettled
        what = f"runs and requests open: {still_open}; to be told: {to_tell}"
        return [f"lost: nothing has moved for {SETTLING:.0f} s; {what}"]

    def _bad_ends(self) -> list[str]:
        return [
            f"{part.name} {end} {part.ends[end]} times"
            for part in self._installation.parts.values()
            for end in (ENDED_BY_ITSELF, DID_NOT_STOP)
            if part.ends[end]
        ]

    def _as_ledger(self, known: Known) -> Ledger:
        clean = self._folder / "audited.jsonl"
        with clean.open("w", encoding="utf-8") as file:
            file.writelines(json.dumps(note) + "\n" for note in known.notes)
        return Ledger(clean)
