"""Figures out of samples: percentiles, and how two contenders compare over rounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median


def percentile(samples: Sequence[float], share: float) -> float:
    """The sample below which `share` (0 to 1) of them lie; the nearest one that there is."""
    ordered = sorted(samples)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


@dataclass(frozen=True, slots=True, kw_only=True)
class Ratio:
    """How many times the other's figure: the median of the rounds, and their range."""

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, rounds: Sequence[float], others: Sequence[float]) -> Ratio:
        """Each round's figure beside the other's of the same round."""
        ratios = [one / other for one, other in zip(rounds, others, strict=True) if other]
        return cls(median=median(ratios), least=min(ratios), most=max(ratios))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.least:.2f}-{self.most:.2f})"


def in_turns(contenders: Sequence[str], round_number: int) -> Sequence[str]:
    """The contenders in this round's order: each comes first, and after each other, equally often."""
    turn = round_number % len(contenders)
    turned = [*contenders[turn:], *contenders[:turn]]
    return turned if round_number // len(contenders) % 2 == 0 else turned[::-1]


def milliseconds(nanoseconds: float) -> float:
    return nanoseconds / 1e6
