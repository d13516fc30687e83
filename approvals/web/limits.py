"""How much one connection may ask of this process before it is slowed, and then closed."""

from __future__ import annotations

import time
from collections.abc import Callable


class Allowance:
    """A token bucket: `burst` at once, `rate` a second in the long run."""

    __slots__ = ("_burst", "_clock", "_left", "_rate", "_seen")

    def __init__(self, *, burst: float, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._burst = self._left = burst
        self._rate = rate
        self._clock = clock
        self._seen = clock()

    def take(self, cost: float = 1.0) -> bool:
        """Whether that much was left; if it was, it is spent."""
        now = self._clock()
        self._left = min(self._burst, self._left + (now - self._seen) * self._rate)
        self._seen = now
        if cost > self._left:
            return False
        self._left -= cost
        return True
