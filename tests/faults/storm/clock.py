"""How the storm keeps its pace: time that passes, or an event that comes first."""

from __future__ import annotations

import asyncio


async def passes(seconds: float, unless: asyncio.Event | None = None) -> bool:
    """Return after so many seconds; True: the event came first."""
    event = unless or asyncio.Event()
    try:
        async with asyncio.timeout(max(0.0, seconds)):
            await event.wait()
    except TimeoutError:
        return False
    return True
