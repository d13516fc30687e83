"""Form fields for dates and times, which browsers send without a time zone and JSON Schema wants with one.

Beside the browser's own input is a choice of the zone: UTC or, where scripts run, the reader's own. A date
and time are sent on in UTC; a time of day keeps the offset that was chosen.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, time, tzinfo
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django import forms
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.domain.schemas.patterns import Pattern
from approvals.web.pages.json_values import ABSENT

_OFFSET = re.compile(r"[+-](\d{2}):(\d{2})", re.ASCII)
_CLOCK = r"\d{2}:\d{2}(?::\d{2}(?:\.\d{1,3})?)?"
_ZONE = r"Z|[+-]\d{2}:\d{2}"
_DAY_AND_TIME = re.compile(rf"(\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK})({_ZONE})?", re.ASCII | re.IGNORECASE)
_TIME_OF_DAY = re.compile(rf"({_CLOCK})({_ZONE})?", re.ASCII | re.IGNORECASE)
NO_ZONE = ("", "No time zone")


@dataclass(frozen=True, slots=True)
class TypedMoment:
    """The content of the two inputs: the local time as text, and the zone's name."""

    local: str
    zone: str


class MomentWidget(forms.MultiWidget):
    """The browser's input for a date and time, and beside it the time zone."""

    def __init__(self, kind: str, zones: Iterable[tuple[str, str]], attrs: dict[str, str]) -> None:
        self.zones = dict(zones)
        offered = list(self.zones.items())
        inputs: list[forms.Widget] = [forms.TextInput(attrs={"type": kind, "step": "any"})]
        if len(offered) > 1 or "" not in self.zones:
            inputs.append(forms.Select(choices=offered, attrs={"aria-label": "Time zone", **attrs}))
        super().__init__(inputs)
        self.widgets_names = ["", "@zone"][: len(inputs)]

    def decompress(self, value: Any) -> list[str]:
        parts = [value.local, value.zone] if isinstance(value, TypedMoment) else ["", next(iter(self.zones))]
        return parts[: len(self.widgets)]

    def get_context(self, name: str, value: Any, attrs: Any) -> dict[str, Any]:
        """Add the zone that was sent to the choices: only the reader's browser may have known it."""
        sent = value[1] if isinstance(value, list) and len(value) > 1 else ""
        if sent and isinstance(zones := self.widgets[-1], forms.Select):
            others = [one for one in self.zones.items() if one[0] != sent]
            zones.choices = [(sent, self.zones.get(sent, sent)), *others]
        return super().get_context(name, value, attrs)

    def render(self, name: str, value: Any, attrs: Any = None, renderer: Any = None) -> SafeString:
        return format_html('<span class="moment">{}</span>', super().render(name, value, attrs, renderer))

    def id_for_label(self, id_: str) -> str:
        return f"{id_}_0"


class MomentField(forms.Field):
    """A date and time, or with `daily` a time of day, as RFC 3339 text that fits `pattern`."""

    def __init__(self, *, daily: bool, pattern: Pattern | None, value: Any = ABSENT, **options: Any) -> None:
        self.daily = daily
        self.pattern = pattern
        self.value = value
        typed = self._split(value) if isinstance(value, str) else None
        zones = [("UTC", "UTC")]
        if daily:
            zones.append(NO_ZONE)
        if typed and typed.zone not in dict(zones):
            zones.insert(0, (typed.zone, f"UTC{typed.zone}") if typed.zone else NO_ZONE)
        if pattern is not None and daily and not pattern.found_in("09:30:00Z"):
            zones = [NO_ZONE]
        own = {} if typed else {"data-zone": "offset" if daily else "name"}
        widget = MomentWidget("time" if daily else "datetime-local", zones, own)
        super().__init__(widget=widget, **options)
        self.initial: Any = typed

    @classmethod
    def can_hold(cls, value: str, *, daily: bool) -> bool:
        """Tell whether the inputs can show this text and send it back."""
        found = (_TIME_OF_DAY if daily else _DAY_AND_TIME).fullmatch(value)
        try:
            return found is not None and bool(_parse_local(found[1], daily=daily))
        except ValueError:
            return False

    def clean(self, value: Any) -> Any:
        parts = [*(value or []), "", ""]
        local = str(parts[0] or "").strip()
        if not local:
            super().clean("")
            return ABSENT
        typed = TypedMoment(local, str(parts[1] or "") if len(self.widget.widgets) > 1 else "")
        return self.value if self._is_unchanged(typed) else self._compose(typed)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare the local times; another zone alone is no change."""
        return str((data or [""])[0] or "") != (initial.local if isinstance(initial, TypedMoment) else "")

    def _split(self, value: str) -> TypedMoment | None:
        found = (_TIME_OF_DAY if self.daily else _DAY_AND_TIME).fullmatch(value)
        if found is None:
            return None
        zone = (found[2] or "").upper()
        return TypedMoment(found[1].upper().replace(" ", "T"), "UTC" if zone == "Z" else zone)

    def _is_unchanged(self, typed: TypedMoment) -> bool:
        """Compare times, not texts: browsers leave out seconds that are zero."""
        if self.initial is None or typed.zone != self.initial.zone:
            return False
        try:
            return _parse_local(typed.local, daily=self.daily) == _parse_local(
                self.initial.local, daily=self.daily
            )
        except ValueError:
            return False

    def _compose(self, typed: TypedMoment) -> str:
        try:
            local = _parse_local(typed.local, daily=self.daily)
        except ValueError:
            kind = "a time of day" if self.daily else "a date and time"
            raise ValidationError(f"{self.label} must be {kind}.", code="invalid") from None
        texts = (
            self._time_texts(local, typed) if isinstance(local, time) else self._instant_texts(local, typed)
        )
        if self.pattern is not None:
            return next((text for text in texts if self.pattern.found_in(text)), texts[0])
        return texts[0]

    def _time_texts(self, local: time, typed: TypedMoment) -> list[str]:
        zone = "Z" if typed.zone == "UTC" else typed.zone
        if zone not in ("", "Z") and not _OFFSET.fullmatch(zone):
            raise self._unknown_zone()
        clocks = _clock_texts(local)
        return [f"{clock}{zone}" for clock in clocks] + clocks

    def _instant_texts(self, local: datetime, typed: TypedMoment) -> list[str]:
        if not typed.zone:
            return [f"{local.date()}T{clock}" for clock in _clock_texts(local.time())]
        instant, zone = self._instant(local, typed.zone)
        return [f"{instant.date()}T{clock}{zone}" for clock in _clock_texts(instant.time())]

    def _instant(self, local: datetime, name: str) -> tuple[datetime, str]:
        if offset := _OFFSET.fullmatch(name):
            if int(offset[1]) > 23 or int(offset[2]) > 59:
                raise self._unknown_zone()
            return local, name
        zone = self._zone(name)
        try:
            first, second = (local.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
            if first.astimezone(zone).replace(tzinfo=None) != local:
                raise ValidationError(
                    f"{self.label} does not exist in {name}: the clocks go forward then.", code="invalid"
                )
        except OverflowError:
            raise ValidationError(f"{self.label} is out of range.", code="invalid") from None
        if first != second:
            raise ValidationError(
                f"{self.label} occurs twice in {name}, because the clocks go back then: give it in UTC.",
                code="invalid",
            )
        return first, "Z"

    def _zone(self, name: str) -> tzinfo:
        try:
            return UTC if name == "UTC" else ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise self._unknown_zone() from None

    def _unknown_zone(self) -> ValidationError:
        return ValidationError(f"{self.label} needs a known time zone.", code="invalid")


def _parse_local(text: str, *, daily: bool) -> datetime | time:
    if daily:
        return time.fromisoformat(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        raise ValueError(text)
    return moment


def _clock_texts(moment: time) -> list[str]:
    """List the ways to write a time of day, the usual one first."""
    plain = moment.strftime("%H:%M:%S")
    if moment.microsecond:
        exact = f"{plain}.{moment.microsecond:06}"
        return [exact.rstrip("0"), exact[:-3]]
    return [plain, f"{plain}.000", *([plain[:-3]] if not moment.second else [])]
