"""End a server or worker at once, even if its threads still wait for something."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from approvals.writer import queue

# Seconds for submitted writes to be committed.
LAST_WRITES = 5.0


def exit_process(status: int = 0) -> NoReturn:
    """End this process after its submitted writes are on record.

    A request that was inside Django, or a long step, may hold a thread that waits for a stopped event loop.
    Python would wait for such threads, and the process would not end.
    """
    writing = threading.Thread(target=queue.close_writer, daemon=True)
    writing.start()
    writing.join(LAST_WRITES)
    exit_at_once(status)


def exit_at_once(status: int) -> NoReturn:
    """End this process without waiting for anything."""
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader may be gone
            stream.flush()
    os._exit(status)
