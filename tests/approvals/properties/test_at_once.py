"""What several actors do at once, through several writers, is answered as if done in some order."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import replace
from typing import TypeAlias

import pytest
from hypothesis import given, note
from hypothesis import strategies as st

from approvals.domain.commands import Command, Keyed, OpenRequest, Result
from approvals.domain.lifecycle import Outcome
from approvals.writer.queue import Writer
from tests.approvals.properties import model, wishes
from tests.approvals.properties.model import World
from tests.approvals.properties.orders import Deed, possible_ends
from tests.approvals.properties.stage import Company, Stage
from tests.effort import effort

# Making a found example small takes time.
pytestmark = [pytest.mark.django_db, pytest.mark.timeout(900)]

ACTORS = 4
WRITERS = 3
SOON = (0.005, 0.01, 0.02)

Told: TypeAlias = tuple[str, bool, Outcome | None]

# By number, the writer that an actor goes to, and what he or she wants.
Line: TypeAlias = tuple[int, list[Command]]


class Crowd:
    """Threads that act at once, and writers of their own as so many processes have them."""

    def __init__(self) -> None:
        self._ending = ExitStack()
        self._threads = self._ending.enter_context(ThreadPoolExecutor(ACTORS, thread_name_prefix="actor"))
        self.writers = [
            self._ending.enter_context(closing(Writer(capacity=1_000, batch=100))) for _ in range(WRITERS)
        ]
        self._ticks = itertools.count()

    def close(self) -> None:
        self._ending.close()

    def act(self, lines: Sequence[tuple[Writer, Sequence[Command]]]) -> list[list[tuple[Result, int, int]]]:
        """Each line by an actor of its own, all beginning at once: results, from which tick to which."""
        ready = threading.Barrier(len(lines))

        def line(writer: Writer, commands: Sequence[Command]) -> list[tuple[Result, int, int]]:
            ready.wait()
            return [self._done(writer, command) for command in commands]

        return [done.result() for done in [self._threads.submit(line, *one) for one in lines]]

    def _done(self, writer: Writer, command: Command) -> tuple[Result, int, int]:
        began = next(self._ticks)
        (future,) = writer.submit_many([command])
        return future.result(), began, next(self._ticks)


@pytest.fixture
def crowd(stack: object) -> Iterator[Crowd]:
    with closing(Crowd()) as crowd:
        yield crowd


def crowded(command: Command) -> Command:
    """About one of the two requests that everybody is busy with, unless it asks something itself."""
    if isinstance(command, OpenRequest) or isinstance(command.request_id, Keyed):
        return command
    pool = wishes.APPROVALS if command.request_id in wishes.APPROVALS else wishes.CLARIFICATIONS
    return replace(command, request_id=pool[0])


soon = wishes.mostly([*SOON, wishes.FAR], None, 0.0)
approvals = wishes.questions(ids=st.just(wishes.APPROVALS[0]), timeouts=soon)
clarifications = wishes.questions(ids=st.just(wishes.CLARIFICATIONS[0]), timeouts=soon)
lines = st.lists(
    st.tuples(st.integers(0, WRITERS - 1), st.lists(wishes.commands.map(crowded), min_size=1, max_size=4)),
    min_size=2,
    max_size=ACTORS,
)


def all_asking(question: OpenRequest | None, lines: Sequence[Line]) -> list[Line]:
    """Everybody begins by asking the same under one key; some even the very same command, under one id."""
    if question is None:
        return list(lines)
    asked = [replace(question, request_id=one, key="race") for one in wishes.APPROVALS[1:]]
    return [(writer, [asked[n % 2], *line]) for n, (writer, line) in enumerate(lines)]


approvals_by_all = st.none() | wishes.questions(ids=st.just(wishes.APPROVALS[1]))


def test_what_is_done_at_once_is_answered_as_if_done_in_some_order(crowd: Crowd) -> None:
    """One winner, of whom every loser is told; votes count once; what is said twice is harmless."""
    company = Company()

    @effort(40)
    @given(approval=approvals, clarification=clarifications, by_all=approvals_by_all, lines=lines)
    def holds(
        approval: OpenRequest, clarification: OpenRequest, by_all: OpenRequest | None, lines: list[Line]
    ) -> None:
        lines = all_asking(by_all, lines)
        stage = Stage(company)
        world = asked(crowd, stage, [approval, clarification])
        deeds = done_at_once(crowd, stage, lines)
        for at, line in zip(lines, deeds, strict=True):
            note(f"through writer {at[0]}:\n" + "\n".join(described(deed) for deed, _ in line))
        check(stage, world, deeds)

    holds()


def described(deed: Deed[Told]) -> str:
    code, changed, outcome = deed.told
    told = f"{code or ('done' if changed else 'as it was')}, {outcome and outcome.status}"
    return f"  {deed.began}-{deed.ended} {deed.command} -> {told}"


def asked(crowd: Crowd, stage: Stage, questions: Sequence[OpenRequest]) -> World:
    world: World = {}
    for question in questions:
        (future,) = crowd.writers[0].submit_many([stage.real(question)])
        world, reply = model.judge(world, question)
        assert stage.told(future.result()) == stage.expected(reply)
    return world


def done_at_once(crowd: Crowd, stage: Stage, lines: Sequence[Line]) -> list[list[tuple[Deed[Told], Result]]]:
    real = [(crowd.writers[at], [stage.real(command) for command in line]) for at, line in lines]
    return [
        [
            (Deed(command=command, told=stage.told(result), began=began, ended=ended), result)
            for command, (result, began, ended) in zip(commands, done, strict=True)
        ]
        for (_, commands), done in zip(lines, crowd.act(real), strict=True)
    ]


def check(stage: Stage, world: World, deeds: Sequence[Sequence[tuple[Deed[Told], Result]]]) -> None:
    """Some order explains both what was told and what is on record."""
    lines = [[deed for deed, _ in line] for line in deeds]
    soon = frozenset(one.id for one in world.values() if one.asked.timeout in SOON)
    results = [result for line in deeds for _, result in line]
    error = AssertionError("no order of these deeds explains what was told")
    for end in possible_ends(world, lines, soon, stage.expected):
        try:
            stage.check_record(end, results)
        except AssertionError as differs:
            error = differs
        else:
            return
    raise error
