"""How a process ends that has served or worked: at once, whatever its threads wait for."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from approvals.writer import queue

# Seconds for what was handed to the writer before.
LAST_WRITES = 5.0


def exit_process(status: int = 0) -> NoReturn:
    """End this process, with what was handed to the writer on record.

    A request that was inside Django holds a thread, which waits for an event loop that has stopped; so may a
    step that takes too long. Python would wait for such threads, and nobody would start the successor.
    """
    writing = threading.Thread(target=queue.close_writer, daemon=True)
    writing.start()
    writing.join(LAST_WRITES)
    exit_at_once(status)


def exit_at_once(status: int) -> NoReturn:
    """End this process without another moment for what it was doing."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it may have gone
            stream.flush()
    os._exit(status)
