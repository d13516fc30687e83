"""Is there an order? What several did at once must look as if it had been done one after the other.

The search is that for linearizability: an order of all deeds in which each actor's own come as he or she did
them, none comes before one that had ended when it began, and each is answered as it was answered.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar
from uuid import UUID

from approvals.domain.commands import Command
from tests.approvals.properties.model import Reply, World, judge, time_passes

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Deed(Generic[Told]):
    """A command and what was told, from one tick to another of a clock that all share."""

    command: Command
    told: Told
    began: int
    ended: int


def possible_ends(
    world: World,
    lines: Sequence[Sequence[Deed[Told]]],
    soon: frozenset[UUID],
    expected: Callable[[Reply], Told],
) -> Iterator[World]:
    """Each state that such an order leads to; none: what was told contradicts itself.

    A line is what one actor did. The deadlines of the requests in `soon` may pass at any moment, or not yet.
    """
    begin = (world, (0,) * len(lines), soon)
    ahead, seen = [begin], set()
    while ahead:
        world, done, soon = ahead.pop()
        here = (frozenset(world.values()), done, soon)
        if here in seen:
            continue
        seen.add(here)
        following = {
            n: line[at] for n, (line, at) in enumerate(zip(lines, done, strict=True)) if at < len(line)
        }
        if not following:
            yield world
        first_end = min((deed.ended for deed in following.values()), default=0)
        for n, deed in following.items():
            after, reply = judge(world, deed.command)
            if deed.began < first_end and expected(reply) == deed.told:
                ahead.append((after, (*done[:n], done[n] + 1, *done[n + 1 :]), soon))
        ahead += [(time_passes(world, one), done, soon - {one}) for one in soon]
