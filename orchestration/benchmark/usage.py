"""What this process uses while nothing happens in it: CPU time, and how often it wakes."""

from __future__ import annotations

import asyncio
import resource
from time import monotonic, process_time


class Usage:
    """CPU time is that of all threads of the process; a wake-up is a thread that had slept and runs again
    (a voluntary context switch)."""

    async def over(self, seconds: float) -> tuple[float, float]:
        """CPU (% of a core) and wake-ups a second, over so many seconds from now."""
        cpu, switches, started = process_time(), _switches(), monotonic()
        await asyncio.sleep(seconds)
        took = monotonic() - started
        return (process_time() - cpu) / took * 100, (_switches() - switches) / took


def _switches() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_nvcsw
