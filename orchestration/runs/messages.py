"""What a run says: whole messages, and messages that grow while they are written."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from approvals.domain.payloads import check_text
from orchestration.conf import orchestration_settings
from orchestration.models import StepStatus
from orchestration.runs import call_records
from orchestration.runs.recorder import Recorder

NAME_LIMIT = 100
TEXT_LIMIT = 1_000_000


class MessageWriter:
    """A message that grows: call it with each chunk. Chunks are recorded together, several times a second.

    `write` None: the whole message is on record already, and chunks are dropped.
    """

    def __init__(self, write: Callable[[str], Awaitable[None]] | None, *, text: str = "") -> None:
        self.text = text
        self._more = asyncio.Event()
        self._writing = None if write is None else asyncio.create_task(self._keep_writing(write))

    async def __call__(self, chunk: str) -> None:
        if self._writing is None:
            return
        if self._writing.done():
            self._writing.result()  # it only ends by failing
        self.text += check_text(chunk, "chunk")
        self._more.set()

    async def close(self) -> None:
        """Stop recording chunks; the caller records the end."""
        if self._writing is not None:
            self._writing.cancel()
            await asyncio.wait([self._writing])

    async def _keep_writing(self, write: Callable[[str], Awaitable[None]]) -> None:
        while True:
            await self._more.wait()
            self._more.clear()
            await write(self.text)
            await asyncio.sleep(orchestration_settings().speech_interval)


class Messages:
    """The messages of one execution of a run."""

    def __init__(self, record: Recorder) -> None:
        self._record = record
        self._replay = record.replay

    async def say(self, agent: str, text: str, key: str | None) -> None:
        """Record a whole message."""
        _check_agent_name(agent)
        check_text(text, "text", max_length=TEXT_LIMIT)
        await self._record.admit()
        with self._replay.calling("say", agent, key, text) as call:
            if await self._record.replay_call(call) is None:
                await self._record.write(call_records.record_message, call, agent, text)
                self._replay.remember(call, StepStatus.DONE)

    @asynccontextmanager
    async def writer(self, agent: str, key: str | None) -> AsyncIterator[MessageWriter]:
        """Record a message while it grows."""
        _check_agent_name(agent)
        await self._record.admit()
        with self._replay.calling("speak", agent, key, None) as call:
            recorded = await self._record.replay_call(call)
            if recorded is not None:
                yield MessageWriter(None, text=recorded.result)
                return
            message = await self._record.write(call_records.begin_message, call, agent)
            self._replay.remember(call, StepStatus.STARTED)

        async def extend(text: str) -> None:
            await self._record.write(call_records.extend_message, message, text)

        # The call has its number by now, so other calls can be made while the message grows.
        writer = MessageWriter(extend)
        whole = False
        try:
            yield writer
            whole = True
        finally:
            await writer.close()
            await self._record.write(call_records.end_message, call, message, writer.text, whole=whole)
            if whole:
                self._replay.remember(call, StepStatus.DONE, result=writer.text)


def _check_agent_name(agent: str) -> None:
    check_text(agent, "agent", max_length=NAME_LIMIT, required=True, one_line=True)
