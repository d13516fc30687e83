"""Waiting for what rings no bell: a test looks again and again, at first at every turn, then now and then.

What it waits for needs the processor, too.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable

# Looks without a pause: what only has to get its turn is seen at once.
AT_ONCE = 100
# Seconds between two later looks.
PAUSE = 0.005

_NEVER = threading.Event()


async def until(condition: Callable[[], object]) -> None:
    """Give everything else its turn until the condition holds."""
    for look in itertools.count():
        if condition():
            return
        await asyncio.sleep(0 if look < AT_ONCE else PAUSE)


async def until_seen(look: Callable[[], Awaitable[object]]) -> None:
    """Look into a page, a database or a server until what is found there is true."""
    while not await look():  # noqa: ASYNC110  it is looked for where no event of this loop is set
        await asyncio.sleep(PAUSE)


def blocked_until(condition: Callable[[], object]) -> None:
    """Block this thread, and nothing else, until the condition holds."""
    while not condition():
        _NEVER.wait(PAUSE)
