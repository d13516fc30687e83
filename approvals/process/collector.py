"""Python's garbage collector in a process of Sayso's own, which has many waits that live long.

References that are counted free nearly everything at once. The collector looks for cycles, and stops every
thread while it does; by default it goes through all objects whenever those that outlived two collections have
grown by a quarter. With 100,000 waits these are more than a million objects, which takes longer than most
decisions, and what a storm of outcomes holds for a moment looks like growth.
"""

from __future__ import annotations

import gc
from functools import cache
from typing import Final

# How many new objects there are until they are gone through. How often that is until those that outlived it
# are gone through, too: 30,000 at most, in some 10 ms; among them are large texts of requests that were just
# served. And how often that is until all are.
THRESHOLDS: Final = (5_000, 5, 50)


def tune() -> None:
    """Collect new objects in large sets, all objects seldom, and loaded code never.

    It is for processes that are Sayso's own; others are told of it in docs/deployment.md. Call it when the
    code is loaded. Cycles that nothing refers to stay for about 1,250,000 new objects.
    """
    _spare_what_is_loaded()
    gc.set_threshold(*THRESHOLDS)


@cache
def _spare_what_is_loaded() -> None:
    gc.collect()
    gc.freeze()
