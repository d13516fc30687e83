"""How a process ends that has served or worked: at once, whatever its threads wait for."""

from __future__ import annotations

import logging
import os
import sys
import threading
from contextlib import suppress
from typing import NoReturn

from approvals import group_commit

# Seconds for what was handed to the writer before.
LAST_WRITES = 5.0


def leave() -> NoReturn:
    """End this process.

    A request that was inside Django holds a thread, which waits for an event loop that has stopped; so may a
    step that takes too long. Python would wait for such threads, and nobody would start the successor.
    """
    writing = threading.Thread(target=group_commit.close_writer, daemon=True)
    writing.start()
    writing.join(LAST_WRITES)
    logging.shutdown()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # whoever read it may have gone
            stream.flush()
    os._exit(0)
