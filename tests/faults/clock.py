"""A clock that is wrong: `datetime.now` and `time.time` of this process, for everybody in it."""

from __future__ import annotations

import ctypes
import gc
import time
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any


def shift_clock(seconds: float) -> None:
    """From now on this process is `seconds` ahead. Its monotonic clock goes as before."""
    right_now, right_time, right_nanoseconds = datetime.now, time.time, time.time_ns
    shift = timedelta(seconds=seconds)

    def now(of: type[datetime], tz: tzinfo | None = None) -> datetime:
        return right_now(tz) + shift

    def utcnow(of: type[datetime]) -> datetime:
        return right_now(UTC).replace(tzinfo=None) + shift

    def today(of: type[datetime]) -> datetime:
        return right_now() + shift

    def today_date(of: type[date]) -> date:
        return (right_now() + shift).date()

    time.time = lambda: right_time() + seconds
    time.time_ns = lambda: right_nanoseconds() + int(seconds * 1_000_000_000)
    _replace(datetime, now=classmethod(now), utcnow=classmethod(utcnow), today=classmethod(today))
    _replace(date, today=classmethod(today_date))


def _replace(kind: type, **methods: Any) -> None:
    """Replace methods of a type that is not written in Python, for which there is no assignment."""
    (namespace,) = gc.get_referents(kind.__dict__)
    namespace.update(methods)
    ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))
