"""How long-lived work meets trouble: it says so once, waits a little longer each time, and tries again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from approvals.domain.masking import mask

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0
# Seconds after which a cancellation was swallowed.
SWALLOWED = 1.0

log = logging.getLogger(__name__)


class Away(Exception):
    """Something we need is away. It has been logged."""


class Outage:
    """Whether something we need is away: logged when it begins and when it is over, not at each try."""

    def __init__(self, what: str, signs: type[Exception]) -> None:
        self._what = what
        self._signs = signs
        self._away = False

    @contextmanager
    def watch(self) -> Iterator[None]:
        """Turn the errors that are signs of an outage into Away; without one, it is over."""
        try:
            yield
        except self._signs as error:
            if not self._away:
                self._away = True
                log.warning("%s away error=%s; trying until it is back", self._what, describe(error))
            raise Away(self._what) from error
        self.end()

    def end(self) -> None:
        """It answers."""
        if self._away:
            self._away = False
            log.info("%s back", self._what)


async def keep_running(name: str, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run `work`; when it fails, run it again after a pause that doubles from 0.1 to 5 seconds.

    Each attempt is a task of its own: whether we were cancelled, or something inside, can be told apart then.
    """
    pause = FIRST_PAUSE
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        attempt = loop.create_task(work())
        try:
            await asyncio.wait([attempt])
        finally:
            # Again and again: the channel layer's Redis client swallows a cancellation now and then. Not at
            # once: what the attempt does in its end shall not be cut off.
            while not attempt.done():
                attempt.cancel()
                await asyncio.wait([attempt], timeout=SWALLOWED)
        if _has_succeeded(name, attempt):
            return
        if loop.time() - started > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _has_succeeded(name: str, attempt: asyncio.Task[None]) -> bool:
    if attempt.cancelled():
        log.error("%s was cancelled by nobody; starting it again", name)
        return False
    error = attempt.exception()
    if error is not None and not isinstance(error, Away):
        log.error("%s failed; starting it again", name, exc_info=error)
    return error is None


def describe(error: BaseException) -> str:
    """An error in one line, without secrets. Not its `repr`: some say less than their text, and a timeout has
    no text."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return mask(f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": "))
