"""Times in words, the same as clock.js writes, so that pages do not change when their script starts."""

from __future__ import annotations

import math
from datetime import datetime

MINUTE, HOUR, DAY = 60, 3_600, 86_400
JUST_NOW = 45


def time_left(deadline: datetime, now: datetime) -> str:
    """Say how much time is left: `5 min 03 s left`, `Time is up`."""
    seconds = math.ceil((deadline - now).total_seconds())
    if seconds <= 0:
        return "Time is up"
    if seconds < MINUTE:
        return f"{seconds} s left"
    if seconds < HOUR:
        return f"{seconds // MINUTE} min {seconds % MINUTE:02} s left"
    if seconds < DAY:
        return f"{seconds // HOUR} h {seconds % HOUR // MINUTE:02} min left"
    return f"{seconds // DAY} d {seconds % DAY // HOUR} h left"


def time_since(moment: datetime, now: datetime) -> str:
    """Say how long ago something was: `just now`, `5 min ago`, `yesterday`."""
    seconds = (now - moment).total_seconds()
    if seconds < JUST_NOW:
        return "just now"
    if seconds < HOUR:
        return f"{max(1, _round_half_up(seconds / MINUTE))} min ago"
    if seconds < DAY:
        return f"{_round_half_up(seconds / HOUR)} h ago"
    days = _round_half_up(seconds / DAY)
    return "yesterday" if days == 1 else f"{days} days ago"


def _round_half_up(number: float) -> int:
    """Round halves up, as JavaScript does."""
    return math.floor(number + 0.5)
