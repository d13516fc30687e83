"""What breaks when: a pure function of the seed and the minutes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What is done to a part."""

    KILL = "kill"
    FREEZE = "freeze"
    RESTART = "restart"
    CUT = "cut"
    FLUSH = "flush"


# Each round has every one of these once, in an order of its own, and how long it may last (seconds): down,
# frozen. A restart is SIGTERM; who is killed or told to stop is started again like a service would be.
SERVERS, WORKERS = ("server-1", "server-2"), ("worker-1", "worker-2")
DECK: Sequence[tuple[Kind, str, tuple[float, float]]] = (
    (Kind.KILL, "server-1", (0, 8)),
    (Kind.KILL, "server-2", (0, 8)),
    (Kind.KILL, "worker-1", (0, 20)),
    (Kind.KILL, "worker-2", (0, 20)),
    (Kind.FREEZE, "server", (3, 15)),
    (Kind.FREEZE, "worker", (3, 20)),
    # Past every lease and heartbeat: it comes back when others have taken over.
    (Kind.FREEZE, "worker", (40, 50)),
    (Kind.RESTART, "server", (0, 0)),
    (Kind.RESTART, "worker", (0, 0)),
    (Kind.KILL, "redis", (1, 10)),
    (Kind.FREEZE, "redis", (3, 12)),
    (Kind.FLUSH, "redis", (0, 0)),
    (Kind.CUT, "postgres", (0, 0)),
    (Kind.CUT, "postgres", (0, 0)),
    (Kind.KILL, "postgres", (5, 20)),
    (Kind.FREEZE, "postgres", (2, 10)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """At this second, this happens to that part, and lasts so long."""

    second: float
    kind: Kind
    target: str
    lasts: float = 0.0

    def __str__(self) -> str:
        lasts = f" for {self.lasts:.1f} s" if self.lasts else ""
        return f"{self.second:7.1f}  {self.kind} {self.target}{lasts}"


def schedule(seed: int, minutes: float, *, parts: Sequence[str] = (*SERVERS, *WORKERS)) -> list[Fault]:
    """The faults of a storm, in order. What was broken is left alone until it has been mended a while."""
    length = minutes * 60
    # A short storm has short faults, or it would be nothing but one of them.
    scale = min(1.0, minutes / 3)
    spacing = max(0.3, scale)
    pace = random.Random(f"{seed} pace")
    faults: list[Fault] = []
    mended = dict.fromkeys([*parts, "redis", "postgres"], 0.0)
    second = length * 0.1
    for kind, target, lasts in _dealt(random.Random(f"{seed} deck"), parts):
        # Drawn for every card, so that one more part does not change all that follows.
        gap, share = pace.uniform(0.3, 1.7), pace.random()
        duration = round((lasts[0] + share * (lasts[1] - lasts[0])) * scale, 1)
        second = max(second, mended[target])
        if second + duration > length:
            break
        faults.append(Fault(second=round(second, 1), kind=kind, target=target, lasts=duration))
        mended[target] = second + duration + 15 * spacing
        second += 8 * spacing * gap
    return sorted(faults, key=lambda fault: fault.second)


def _dealt(deal: random.Random, parts: Sequence[str]) -> Iterator[tuple[Kind, str, tuple[float, float]]]:
    while True:
        for kind, target, lasts in deal.sample(DECK, len(DECK)):
            named = target
            if target in ("server", "worker"):
                named = deal.choice([f"{target}-1", f"{target}-2"])
            if named in parts or target in ("redis", "postgres"):
                yield kind, named, lasts
