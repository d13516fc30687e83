"""Keep long-lived tasks running through outages: log once, pause a little longer each time, try again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from approvals.domain.masking import mask

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
# Seconds after which a cancellation counts as swallowed.
SWALLOWED = 1.0

log = logging.getLogger(__name__)


class Away(Exception):
    """The database or the channel layer does not answer. That has been logged."""


class Outage:
    """Logs when something that we need stops answering and when it answers again, not at each try."""

    def __init__(self, what: str, signs: type[Exception]) -> None:
        self._what = what
        self._signs = signs
        self._away = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Turn errors that are signs of an outage into Away; end the outage if there is none."""
        try:
            yield
        except self._signs as error:
            if not self._away:
                self._away = True
                log.warning(
                    "%s does not answer error=%s; trying again until it does", self._what, describe(error)
                )
            raise Away(self._what) from error
        self.end()

    def end(self) -> None:
        """Note that the service answers again, and log the end of the outage."""
        if self._away:
            self._away = False
            log.info("%s answers again", self._what)


async def keep_running(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `work`; when it fails, run it again after a pause that doubles from 0.1 to 5 seconds.

    Each attempt is a task of its own, which tells our own cancellation from one inside.
    """
    pause = FIRST_PAUSE
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        attempt = loop.create_task(work())
        try:
            await asyncio.wait([attempt])
        finally:
            # Repeatedly, because the channel layer's Redis client sometimes swallows a cancellation; after a
            # pause, so that the attempt's own clean-up is not cut off.
            while not attempt.done():
                attempt.cancel()
                await _wait_whatever_happens(attempt, SWALLOWED)
        if _has_succeeded(name, attempt):
            return
        if loop.time() - started > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


async def _wait_whatever_happens(attempt: asyncio.Task[None], seconds: float) -> None:
    """Wait for the attempt, also when we are cancelled once more: nobody else would end it then.

    Called while a first cancellation is on its way, which goes on afterwards.
    """
    loop = asyncio.get_running_loop()
    until = loop.time() + seconds
    while not attempt.done() and (left := until - loop.time()) > 0:
        with suppress(asyncio.CancelledError):
            await asyncio.wait([attempt], timeout=left)


def _has_succeeded(name: str, attempt: asyncio.Task[None]) -> bool:
    if attempt.cancelled():
        log.error("%s was cancelled from inside; starting it again", name)
        return False
    error = attempt.exception()
    if error is not None and not isinstance(error, Away):
        log.error("%s failed; starting it again", name, exc_info=error)
    return error is None


def describe(error: BaseException) -> str:
    """Format an error as one line of its class and text, without secrets."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return mask(f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": "))
