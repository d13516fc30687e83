"""How long a test waits for something that must happen: only a hang runs out of it, never a busy machine."""

from __future__ import annotations

import os


def patience(seconds: float = 30.0) -> float:
    """`seconds` where every process has a processor to itself; as much longer as they queue for one now.

    Ask for it when the waiting begins: the load is that of the last minute.
    """
    queueing = os.getloadavg()[0] / len(os.sched_getaffinity(0))
    return seconds * (1.0 + queueing)
