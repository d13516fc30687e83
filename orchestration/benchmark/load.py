"""The load of a scenario: processes that put requests on record, wait in any number, and decide.

The moments of a decision's way are taken from outside: the functions that it passes are wrapped.

    called -> committed -> heard -> read -> resumed

`committed`: the transaction is over and the hint is handed on. `heard`: the hint is in the waiting process.
`read`: the row has been read there. The clock is the machine's monotonic one, the same in all its processes.
"""

from __future__ import annotations

import asyncio
import gc
import resource
from collections.abc import Awaitable, Callable, Collection, Coroutine, Iterable
from contextlib import suppress
from functools import wraps
from itertools import islice
from time import monotonic, monotonic_ns, process_time, thread_time_ns
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib.auth.models import Permission, User

from approvals import deciding, queries
from approvals.database.fields import new_id
from approvals.database.threads import in_database
from approvals.domain.commands import Actor, Channel, Command, OpenRequest
from approvals.domain.lifecycle import Kind, Verdict
from approvals.exceptions import ApprovalError, StillPending
from approvals.gate import wait_for_outcome
from approvals.process import hints
from approvals.process.hints import Hint
from approvals.waiting.waiting_room import waiting_room
from approvals.writer import queue
from approvals.writer.queue import outcome_of_result
from orchestration.benchmark.processes import Remote

SAYSO = "Sayso"

# Seconds between an answer and the next call.
PAUSE = 0.01
# Well below what the writer's queue takes.
AT_ONCE = 5000
# Seconds after the last decision until a wait that nobody has ended counts as lost.
PATIENCE = 60.0
PATIENCE_A_WAIT = 0.002
# The status of a request that was opened and is not on record: whatever its waiter was told is wrong.
MISSING = "missing"
# Nothing falls due while it is measured.
LATER = 86_400.0

Times: TypeAlias = dict[str, int]
"""By request id, in nanoseconds."""
Calls: TypeAlias = list[tuple[int, int]]
"""When each decision was called and committed, in nanoseconds."""


def milliseconds(nanoseconds: float) -> float:
    return nanoseconds / 1e6


def decider() -> Actor:
    """Return the one person who decides, at a socket, what is assigned to nobody."""
    user, created = User.objects.get_or_create(username="decider")
    if created:
        user.user_permissions.add(Permission.objects.get(codename="decide_humanrequest"))
    return Actor(user_id=user.pk, channel=Channel.WEBSOCKET, address="127.0.0.1")


def opening(title: str = "Refund an order", **terms: Any) -> OpenRequest:
    """Return the command that asks for an approval, as a program does."""
    terms = {
        "arguments": {"order": str(new_id()), "amount": "12.40", "currency": "EUR"},
        "timeout": LATER,
        "on_timeout": Verdict.REJECT,
        **terms,
    }
    return OpenRequest(request_id=new_id(), actor=Actor.program(), kind=Kind.APPROVAL, title=title, **terms)


def write(commands: Iterable[Command]) -> None:
    """Pass commands to the product's writer; returns when they are committed."""
    rest = iter(commands)
    while some := list(islice(rest, AT_ONCE)):
        for future in queue.submit_many(some):
            outcome_of_result(future.result())


def open_requests(count: int) -> list[UUID]:
    """Open `count` approvals; return their ids after the commit."""
    commands = [opening() for _ in range(count)]
    write(commands)
    return [command.request_id for command in commands]


def recorded(ids: Iterable[UUID | str]) -> dict[str, str]:
    """Return the status on record of each id, as text; MISSING where there is none."""
    wanted = [UUID(str(id_)) for id_ in ids]
    found = dict.fromkeys(map(str, wanted), MISSING)
    for start in range(0, len(wanted), 1000):
        outcomes = queries.outcomes(wanted[start : start + 1000])
        found |= {str(id_): outcome.status for id_, outcome in outcomes.items()}
    return found


def note_commits() -> Times:
    """Note from now on when the decisions of this process were committed."""
    return _note(hints, "send", lambda topic, ids: ids if topic == "requests" else (), of_result=False)


def note_hints() -> Times:
    """Note from now on when this process heard of what others decided."""
    return _note(Hint, "from_wire", lambda hint: hint.ids if hint.topic == "requests" else ())


def note_reads() -> Times:
    """Note from now on when this process read that a request which is waited for is closed."""
    return _note(queries, "outcomes", lambda found: [id_ for id_, one in found.items() if one.closed])


def _note(owner: Any, name: str, ids_of: Callable[..., Iterable[Any]], *, of_result: bool = True) -> Times:
    """Wrap a function: note the ids of its result as it returns, or those of its arguments as it starts."""
    times: Times = {}
    original = getattr(owner, name)

    def note(*values: Any) -> None:
        times.update(dict.fromkeys(map(str, ids_of(*values)), monotonic_ns()))

    @wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if not of_result:
            note(*arguments)
        result = original(*arguments, **named)
        if of_result:
            note(result)
        return result

    setattr(owner, name, staticmethod(wrapped) if isinstance(owner, type) else wrapped)
    return times


async def usage(seconds: float) -> tuple[float, float]:
    """Return CPU (% of a core, all threads) and wake-ups a second of this process, from now on.

    A wake-up is a thread that had slept and runs again (a voluntary context switch).
    """

    def switches() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw

    cpu, before, started = process_time(), switches(), monotonic()
    await asyncio.sleep(seconds)
    took = monotonic() - started
    return (process_time() - cpu) / took * 100, (switches() - before) / took


class Waits:
    """Tasks that each wait for one id by `wait`; what each was told, and when it was resumed."""

    def __init__(self, wait: Callable[[str], Coroutine[Any, Any, str]]) -> None:
        self._wait = wait
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self.told: list[tuple[str, str]] = []
        self.resumed: Times = {}

    def __len__(self) -> int:
        return len(self._tasks)

    async def begin(self, ids: list[str]) -> float:
        """Begin to wait for each. Returns the microseconds of this thread's CPU time that one took."""
        started = thread_time_ns()
        self._tasks |= {id_: asyncio.create_task(self._keep(id_)) for id_ in ids}
        await asyncio.sleep(0)  # one turn of the loop, in which each task runs until it waits
        return (thread_time_ns() - started) / 1000 / len(ids)

    def pending(self) -> int:
        return sum(not task.done() for task in self._tasks.values())

    async def finish(self, ids: Collection[str] | None = None) -> None:
        """Wait until these are over, or lost; by default all.

        One after the other, the last first: what waited for all at once would be called at the end of each.
        """
        waits = list(self._tasks.values()) if ids is None else [self._tasks[id_] for id_ in ids]
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE + len(waits) * PATIENCE_A_WAIT):
                for task in reversed(waits):
                    if not task.done():
                        await asyncio.wait([task])

    async def cancel(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        self._tasks.clear()

    async def _keep(self, id_: str) -> None:
        with suppress(StillPending):
            status = await self._wait(id_)
            self.resumed[id_] = monotonic_ns()
            self.told.append((id_, status))


class Requests(Remote):
    """Puts requests on record and reads the record; has no waiting room of its own."""

    async def open(self, count: int) -> list[str]:
        return [str(id_) for id_ in await in_database(open_requests, count)]

    async def open_closed(self) -> str:
        """Open a request, approve it, and return its id."""
        (id_,) = await self.open(1)
        await deciding.adecide(await in_database(decider), id_, "approve")
        return id_

    async def recorded(self, ids: list[str]) -> dict[str, str]:
        return await in_database(recorded, ids)


async def outcome_of(id_: str) -> str:
    """Wait for a request as programs do; returns its status."""
    return (await wait_for_outcome(id_)).status


class Waiter(Requests):
    """Waits for any number of requests in this process's waiting room."""

    async def begin(self) -> None:
        self._waits = Waits(outcome_of)
        await waiting_room().start()

    async def wait(self, ids: list[str]) -> float:
        """Begin to wait for each. Returns the microseconds of the loop's thread that one took."""
        gc.collect()
        took = await self._waits.begin(ids)
        if len(waiting_room()) < self._waits.pending():
            raise RuntimeError("a wait ended before anything was decided, or never began")
        return took

    async def settle(self, closed: str) -> None:
        """Return when the row of every wait so far has been read.

        Rows are read in the order in which their waits began, and the request `closed` is closed.
        """
        await wait_for_outcome(closed)

    async def idle(self, seconds: float) -> tuple[float, float]:
        return await usage(seconds)

    async def start_clock(self) -> None:
        """Count the cost of resumptions from here."""
        gc.collect()
        self._thread_time = thread_time_ns()

    async def released(self) -> float:
        """When all are over, return the microseconds of the loop's thread that one took."""
        await self._waits.finish()
        return (thread_time_ns() - self._thread_time) / 1000 / len(self._waits)

    async def told(self, ids: list[str] | None = None) -> list[tuple[str, str]]:
        """Return what every wait so far was told, (id, status), once these (None: all) are over or lost."""
        await self._waits.finish(ids)
        return self._waits.told

    async def resumed(self, ids: list[str]) -> list[int | None]:
        """Return when the wait for each was resumed, in nanoseconds."""
        return [self._waits.resumed.get(id_) for id_ in ids]


class Decider(Requests):
    """Decides as a server does: with a waiting room, which passes the hints on."""

    async def begin(self) -> None:
        self.actor = await in_database(decider)
        await waiting_room().start()
        self.commits = note_commits()
        self.ways: dict[str, Callable[[str], Awaitable[int]]] = {SAYSO: self._decide}

    async def decide(self, ids: list[str], way: str = SAYSO, callers: int = 1, pause: float = PAUSE) -> Calls:
        """Have a number of callers decide, each one request at a time, with a pause before it."""
        calls: dict[str, tuple[int, int]] = {}
        decide, rest = self.ways[way], iter(ids)

        async def call() -> None:
            for id_ in rest:
                if pause:
                    await asyncio.sleep(pause)
                called = monotonic_ns()
                calls[id_] = called, await decide(id_)

        async with asyncio.TaskGroup() as group:
            for _ in range(callers):
                group.create_task(call())
        return [calls[id_] for id_ in ids]

    async def _decide(self, id_: str) -> int:
        """Decide by Sayso; returns when that was committed."""
        await deciding.adecide(self.actor, id_, "approve")
        return self.commits[id_]

    async def decide_all(self, ids: list[str]) -> None:
        """Decide many in each call."""
        for start in range(0, len(ids), AT_ONCE):
            some = [(id_, "approve") for id_ in ids[start : start + AT_ONCE]]
            for result in await deciding.adecide_many(self.actor, some):
                if isinstance(result, ApprovalError):
                    raise result
