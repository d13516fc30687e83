"""A timer whose sleep can be ended early. asyncio only."""

from __future__ import annotations

import asyncio


class Timer:
    """`sleep` in one task of `loop`; `wake`, from any thread, ends this sleep or else the next one."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._rung = asyncio.Event()

    def wake(self) -> None:
        """End this sleep, or else the next one. Call it from any thread."""
        self._loop.call_soon_threadsafe(self._rung.set)

    async def sleep(self, seconds: float) -> None:
        """Sleep for so many seconds, or until `wake` is called."""
        timer = self._loop.call_later(seconds, self._rung.set)
        try:
            await self._rung.wait()
        finally:
            timer.cancel()
        self._rung.clear()
