"""How soon people are told what was asked of them, and what that costs those who decide meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from time import perf_counter

from django.conf import settings
from django.contrib.auth.models import User

from approvals import deciding
from approvals.database.threads import in_database
from approvals.domain.commands import Actor
from approvals.models import Notification, NotificationStatus, Watch
from orchestration.benchmark.child import PRODUCT
from orchestration.benchmark.load import AT_ONCE, Requests, opening, write
from orchestration.benchmark.mailbox import Mailbox
from orchestration.benchmark.processes import Environment
from orchestration.benchmark.report import Check, Report, Samples, Scenario

# No more than 200 messages to one of them, whatever the size: those go one by one.
PEOPLE = 1_000
ROUNDS = 5
# Decided in each round, by so many callers at once.
DECISIONS, CALLERS = 1000, 64
UNTOLD, TOLD = "nobody is told", "people are told"
# Seconds until what was not told counts as lost; and between two looks at what is left to do.
PATIENCE = 120.0
PAUSE = 0.1
GOAL = 10_000 / 60


class Asker(Requests):
    """Asks people who have addresses, and decides as the installation's own code."""

    async def begin(self) -> None:
        self._people = await in_database(self._make_people)

    async def ask(self, count: int, kind: str) -> list[str]:
        """Open so many requests, each for one person, with or without having them told."""
        settings.SAYSO_NOTIFY = "on" if kind == TOLD else "off"
        return await in_database(self._ask, count)

    async def decide(self, ids: list[str]) -> float:
        """Decide them, several at once; returns how many a second that were."""
        rest, started = iter(ids), perf_counter()

        async def call() -> None:
            for id_ in rest:
                await deciding.adecide(Actor.program(), id_, "approve")

        async with asyncio.TaskGroup() as group:
            for _ in range(CALLERS):
                group.create_task(call())
        return len(ids) / (perf_counter() - started)

    async def finish(self) -> None:
        """Return when nothing is left to be told."""
        async with asyncio.timeout(PATIENCE):
            while await in_database(self._is_busy):  # noqa: ASYNC110  other processes do it
                await asyncio.sleep(PAUSE)

    def _make_people(self) -> list[int]:
        people = [User(username=f"person-{n}", email=f"person-{n}@example.org") for n in range(PEOPLE)]
        return [person.pk for person in User.objects.bulk_create(people)]

    def _ask(self, count: int) -> list[str]:
        commands = [opening(user_ids=(self._people[n % PEOPLE],)) for n in range(count)]
        for start in range(0, count, AT_ONCE):
            write(commands[start : start + AT_ONCE])
        return [str(command.request_id) for command in commands]

    def _is_busy(self) -> bool:
        waiting = Notification.objects.filter(status=NotificationStatus.WAITING)
        return waiting.exists() or Watch.objects.filter(due_at__isnull=False, reminders=0, told_to=0).exists()


async def measure(env: Environment, sizes: Sequence[int]) -> Report:
    """Measure how many openings a second people are told by mail, and decisions meanwhile.

    One server process, daphne as `manage.py serve` runs it, tells people; a mail server in a second takes
    every message at once; a third process opens N requests for 1,000 people, one person each, and decides.
    First N are opened, and the time is taken until the mail server has a message about each. Then, in rounds
    and in changing order: 1,000 requests are opened, and at once decided by 64 callers, with people being
    told and without; the ratio is of the rates of a round.
    """
    mailbox = await env.start(Mailbox)
    asker = await env.start(Asker)
    port = await mailbox.port()
    await env.serve(
        PRODUCT,
        SAYSO_NOTIFY="on",
        SAYSO_URL="http://127.0.0.1",
        EMAIL_URL=f"smtp://127.0.0.1:{port}",
    )
    count = sizes[-1]
    started = perf_counter()
    ids = await asker.ask(count, TOLD)
    opened = perf_counter() - started
    told = await mailbox.await_messages(count, PATIENCE)
    seconds = perf_counter() - started
    await asker.finish()
    rates = Samples()
    for _, kind in env.turns([UNTOLD, TOLD], env.rounds(ROUNDS)):
        rates[kind].append(await asker.decide(await asker.ask(DECISIONS, kind)))
        await asker.finish()
    check = Check(
        waits=count,
        resolved=sum(id_ in told for id_ in ids),
        lost=tuple(id_ for id_ in ids if id_ not in told),
        doubled=tuple(id_ for id_ in ids if told.get(id_, 0) > 1),
    )
    report = Report(check, "Here a wait is a person who is to be told: by one message, not by two.")
    report.table(
        f"{count:,} openings told to {PEOPLE} people by one server",
        "; opened after|s; told after|s; told a second",
        [("Sayso", opened, seconds, count / seconds)],
    )
    ratio = rates.ratio(TOLD, UNTOLD)
    report.table(
        f"Decisions a second, {CALLERS} at once, right after they were opened",
        "; a second; × without",
        [(UNTOLD, rates.median(UNTOLD), "1"), (TOLD, rates.median(TOLD), str(ratio))],
    )
    report.at_least("openings told a second: 10,000 within 60 s", GOAL, count / seconds, unit="a second")
    report.at_least("decisions a second while people are told, × without", 0.9, ratio.median)
    return report


TELLING = Scenario(
    "telling", measure, unit="openings", sizes=(1_000,), most=100_000, memory=(400_000_000, 2_000)
)
