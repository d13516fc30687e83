"""Places in the code where fault tests kill, stop, pause or fail a process.

The setting `SAYSO_FAILPOINTS` maps names of places to actions. Only the settings of the fault tests have it:
no environment variable of an installation can set it.
"""

from __future__ import annotations

import logging
import os
import signal
import time

from django.conf import settings

log = logging.getLogger(__name__)


class Reached(RuntimeError):
    """Raised by the action "raise"."""


def reach(name: str) -> None:
    """Run the action of this place, if the setting has one.

    "kill" and "stop" send SIGKILL and SIGSTOP to this process, "pause:SECONDS" blocks this thread, "raise"
    raises Reached.
    """
    actions = getattr(settings, "SAYSO_FAILPOINTS", None)
    if actions and (action := actions.get(name)):
        log.warning("failpoint reached name=%s action=%s", name, action)
        _act(name, action)


def _act(name: str, action: str) -> None:
    kind, _, seconds = action.partition(":")
    match kind:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "stop":
            os.kill(os.getpid(), signal.SIGSTOP)
        case "pause":
            time.sleep(float(seconds))
        case "raise":
            raise Reached(name)
        case _:
            raise ValueError(f"SAYSO_FAILPOINTS: {name!r} has no action {action!r}")
