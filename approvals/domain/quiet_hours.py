"""When somebody wants to hear nothing: hours of each night, and whole days, on the clock of their zone. Pure.

The hours are wall time: they begin and end when the clocks where the person lives show it, whatever daylight
saving time does in between. An end that the clocks skip is the moment at which they go on, unless that is
quiet itself: where a whole day is skipped, the night ends with the next morning that there is.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import cache
from zoneinfo import ZoneInfo, available_timezones

LONGEST_ZONE_NAME = 64
DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
MIDNIGHT = time(0)


def is_zone(name: str) -> bool:
    """Tell whether this is the name of an IANA time zone that is known here."""
    return name in _known_zones()


def zone_called(name: str) -> tzinfo:
    """Return the IANA time zone of this name; UTC for "" and for one that is not known here."""
    return ZoneInfo(name) if is_zone(name) else UTC


@dataclass(frozen=True, slots=True, kw_only=True)
class QuietHours:
    """Quiet from `begins` to `ends`, past midnight where the end is earlier, and on whole `days` (0: Monday).

    Without both times, or with the same, only the days are quiet. One day at least must not be quiet.
    `urgent_breaks`: what would be too late afterwards is heard of at once. `digest_at`: when what
    happened in a day comes together; None: each by itself.
    """

    zone: tzinfo
    begins: time | None = None
    ends: time | None = None
    days: Collection[int] = field(default_factory=frozenset)
    urgent_breaks: bool = False
    digest_at: time | None = None

    def due_at(self, moment: datetime, deadline: datetime | None) -> datetime:
        """Return when to tell something that happened at this moment and has this deadline."""
        end = self.end(moment)
        return moment if self._is_too_late(end, deadline) else end

    def digest(self, moment: datetime, deadline: datetime | None) -> datetime | None:
        """Return when the digest comes that has what happened at this moment; None: it is told alone."""
        if self.digest_at is None:
            return None
        at = self.end(self._next(moment.astimezone(self.zone), self.digest_at))
        return None if self._is_too_late(at, deadline) else at

    def _is_too_late(self, moment: datetime, deadline: datetime | None) -> bool:
        return self.urgent_breaks and deadline is not None and deadline <= moment

    def end(self, moment: datetime) -> datetime:
        """Return the first moment from this one on that is not quiet, in UTC: itself, where it is not."""
        while (following := self._end_of_stretch(moment)) is not None:
            moment = following
        return moment.astimezone(UTC)

    def _end_of_stretch(self, moment: datetime) -> datetime | None:
        """Return when the day or the hours end that this moment is in; None: it is in neither."""
        here = moment.astimezone(self.zone)
        if here.weekday() in self.days:
            return self._next(here, MIDNIGHT)
        if self.begins is None or self.ends is None or self.begins == self.ends:
            return None
        now = here.time()
        if self.begins < self.ends:
            quiet = self.begins <= now < self.ends
        else:
            quiet = now >= self.begins or now < self.ends
        return self._next(here, self.ends) if quiet else None

    def _next(self, here: datetime, wall: time) -> datetime:
        """Return the first moment after this one at which the clocks show that time, or skip it."""
        for day in (here.date(), here.date() + timedelta(days=1), here.date() + timedelta(days=2)):
            for fold in (0, 1):
                if (moment := self._moment(day, wall, fold)) > here:
                    return moment
        raise ValueError(f"no clock shows {wall} after {here}")

    def _moment(self, day: date, wall: time, fold: int) -> datetime:
        """Return when the clocks show that time on that day; where they skip it, when they go on."""
        shown = datetime.combine(day, wall, self.zone).replace(fold=fold)
        moment = shown.astimezone(UTC)
        if moment.astimezone(self.zone).replace(tzinfo=None) == shown.replace(tzinfo=None):
            return moment
        before = shown.replace(fold=1).astimezone(UTC)
        after = shown.replace(fold=0).astimezone(UTC)
        while after - before > timedelta(microseconds=1):
            between = before + (after - before) / 2
            if between.astimezone(self.zone).utcoffset() == before.astimezone(self.zone).utcoffset():
                before = between
            else:
                after = between
        return after


@cache
def _known_zones() -> Collection[str]:
    return available_timezones()
