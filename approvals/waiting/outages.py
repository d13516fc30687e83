"""How long-lived work meets trouble: it says so once, waits a little longer each time, and tries again."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

FIRST_PAUSE = 0.1
LONGEST_PAUSE = 5.0

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
    def noticed(self) -> Iterator[None]:
        """Turn the errors that are signs of an outage into Away; without one, all is well again."""
        try:
            yield
        except self._signs as error:
            if not self._away:
                self._away = True
                log.warning("%s away error=%r; trying until it is back", self._what, _first(error))
            raise Away(self._what) from error
        if self._away:
            self._away = False
            log.info("%s back", self._what)


async def keep_running(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work`; when it fails, run it again after a pause that doubles from 0.1 to 5 seconds."""
    pause = FIRST_PAUSE
    loop = asyncio.get_running_loop()
    while True:
        started = loop.time()
        try:
            await work()
        except Away:
            pass
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            log.exception("%s was cancelled by nobody; starting it again", name)
        except Exception:
            log.exception("%s failed; starting it again", name)
        else:
            return
        if loop.time() - started > LONGEST_PAUSE:
            pause = FIRST_PAUSE
        await asyncio.sleep(pause)
        pause = min(2 * pause, LONGEST_PAUSE)


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
