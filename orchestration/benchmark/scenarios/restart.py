"""How soon after its start a process waits again for everything that is pending."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from time import monotonic_ns, process_time

from approvals.database.threads import in_database
from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.waiting.waiting_room import waiting_room
from orchestration.benchmark import baseline
from orchestration.benchmark.load import SAYSO, Decider, Requests, Waiter
from orchestration.benchmark.processes import Environment, Remote
from orchestration.benchmark.report import Check, Ratio, Report, Scenario

FLOOR = "plain SELECT"

ROUNDS = 3
SAMPLE = 500


class Returning(Waiter):
    """A process that has just started: it waits for all that is pending, as its programs did before."""

    async def begin(self) -> None:
        await super().begin()
        self._serving = monotonic_ns()

    async def reattach(self, closed: str) -> tuple[int, list[int], float]:
        """Wait again for everything; once each row has been read, no decision of before can be missed.

        Returns the number of waits; the moments (nanoseconds) at which it served, knew the ids, had
        registered its waits, and had read all rows; and the seconds of CPU time since it served.
        """
        cpu, moments = process_time(), [self._serving]
        ids = await in_database(_pending)
        moments.append(monotonic_ns())
        await self._waits.begin(ids)
        moments.append(monotonic_ns())
        await self.settle(closed)
        moments.append(monotonic_ns())
        return len(waiting_room()), moments, process_time() - cpu


class Reader(Remote):
    """Reads the same rows at once, by the bare driver."""

    async def read(self) -> tuple[int, float]:
        """Return how many rows there are, and the seconds it took."""
        gc.collect()
        return await in_database(_read)


def _read() -> tuple[int, float]:
    driver = baseline.open_driver()
    started = monotonic_ns()
    rows = driver.execute(
        "SELECT id, status, deadline, arguments FROM approvals_humanrequest WHERE status = 'pending'"
    ).fetchall()
    took = (monotonic_ns() - started) / 1e9
    driver.close()
    return len(rows), took


def _pending() -> list[str]:
    """Return what the process's programs wait for; they have it from their own record."""
    pending = HumanRequest.objects.filter(status=Status.PENDING).order_by("id")
    return [str(pk) for pk in pending.values_list("pk", flat=True)]


async def measure(env: Environment, sizes: Sequence[int]) -> Report:
    """Measure how soon a process that starts waits again for all that is pending.

    N requests are pending, the process that waited for them is gone. Three times a fresh process starts,
    reads the ids of what is pending and waits for each (gate.wait_for_outcome), as the programs of a server
    do after its restart; asking again under the same key ends in the same wait, after one more write. A wait
    counts as re-attached when its row has been read after it was registered: what was decided meanwhile is
    known then. The start of the interpreter and Django's imports are counted apart, since they do not grow
    with the waits. Beside it, in turns, in a process that is already there: one plain SELECT of the same rows
    by the bare driver. Then a sample of up to some 500 is decided by another process, and each of those waits
    must be told what is on record.
    """
    (count,) = sizes
    requests = await env.start(Requests)
    closed, ids = await requests.open_closed(), await requests.open(count)
    await env.stop(requests)
    reader = await env.start(Reader)
    started: list[Returning] = []
    steps: list[list[float]] = []
    reads: list[float] = []
    for _, contender in env.turns([SAYSO, FLOOR], env.rounds(ROUNDS)):
        if contender == FLOOR:
            rows, seconds = await reader.read()
            reads.append(seconds)
        else:
            if started:
                await env.stop(started[-1])
            began = monotonic_ns()
            started.append(await env.start(Returning))
            rows, moments, cpu = await started[-1].reattach(closed)
            took = [(after - before) / 1e9 for before, after in pairwise([began, *moments])]
            steps.append([*took, sum(took), count / sum(took[1:]), cpu])
        if rows != count:
            raise RuntimeError(f"{contender}: {rows} are pending, not {count}")
    decider = await env.start(Decider, beside=started[-1])
    sample = ids[:: max(1, count // SAMPLE)]
    await decider.decide_all(sample)
    check = Check.of(await started[-1].told(sample), await decider.recorded(sample))
    return _report(check, count, steps, reads)


def _report(check: Check, count: int, steps: Sequence[Sequence[float]], reads: Sequence[float]) -> Report:
    sayso, read = [median(step) for step in zip(*steps, strict=True)], median(reads)
    ratio = Ratio.of([sum(took[1:4]) for took in steps], reads)
    report = Report(
        check, f"From the process's start, imports included: {count / sayso[4]:,.0f} waits a second."
    )
    report.table(
        f"A process starts while {count:,} requests are pending",
        "; start to serving|s; ids read|s; registered|s; all looked at|s; start to re-attached|s"
        "; waits, once serving|1/s; CPU, once serving|s; serving to re-attached, × SELECT",
        [(SAYSO, *sayso, str(ratio)), (FLOOR, None, read, None, None, None, count / read, None, "1")],
    )
    goal = f"{count:,} pending waits re-attached after a restart, once the process serves"
    report.at_least(goal, 20_000, sayso[5], "waits a second")
    return report


RESTART = Scenario(
    "restart", measure, unit="pending waits", sizes=(5_000,), most=100_000, memory=(400_000_000, 12_000)
)
