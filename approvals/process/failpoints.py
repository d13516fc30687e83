"""Places where a process under test dies, freezes, dawdles or fails, on demand.

What happens where is the setting `SAYSO_FAILPOINTS`, a mapping of names to actions. Nothing but the settings
of the fault tests has it: no environment of an installation can set it off.
"""

from __future__ import annotations

import logging
import os
import signal
import time

from django.conf import settings

log = logging.getLogger(__name__)


class Reached(RuntimeError):
    """What the action "raise" raises."""


def reach(name: str) -> None:
    """Say that execution has come to the place of this name. Without the setting this does nothing.

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
