"""The thread of the test, for the synchronous steps of its runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import TypeVar

from asgiref.sync import sync_to_async

T = TypeVar("T")


class CallersThread(Executor):
    """Has steps performed on the thread that runs the test, whose connection to the database they share."""

    def submit(self, function: Callable[..., T], /, *args: object, **kwargs: object) -> Future[T]:
        """Perform the step there; call it on the event loop."""
        performed = sync_to_async(function, thread_sensitive=True)(*args, **kwargs)
        return asyncio.run_coroutine_threadsafe(performed, asyncio.get_running_loop())
