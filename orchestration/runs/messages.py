"""A message that grows while it is spoken. Chunks are written together, a few times a second at most."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from approvals.domain.payloads import checked_text
from orchestration.conf import orchestration_settings


class MessageWriter:
    """Call it with each chunk. `write` None: nothing is written, the record has the message already."""

    def __init__(self, write: Callable[[str], Awaitable[None]] | None, *, text: str = "") -> None:
        self.text = text
        self._write = write
        self._more = asyncio.Event()
        self._writing = None if write is None else asyncio.create_task(self._keep_writing(write))

    async def __call__(self, chunk: str) -> None:
        if self._writing is None:
            return
        if self._writing.done():
            self._writing.result()  # it only ends by failing
        self.text += checked_text(chunk, "chunk")
        self._more.set()

    async def close(self) -> None:
        """Stop writing; whoever spoke writes the end."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    async def _keep_writing(self, write: Callable[[str], Awaitable[None]]) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            await write(self.text)
            await asyncio.sleep(orchestration_settings().speech_interval)
