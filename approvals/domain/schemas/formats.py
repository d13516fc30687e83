"""Check the formats that are asserted, in time linear in the text; others are annotations."""

from __future__ import annotations

import re
from datetime import datetime, time
from urllib.parse import urlsplit

from jsonschema import FormatChecker

FORMATS = FormatChecker(formats=("date", "ipv4", "ipv6", "uuid"))

_CLOCK = r"\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?"
_ZONE = r"Z|[+-]\d{2}:\d{2}"
# RFC 3339, but for what producers call by its names and then forbid by a pattern: zod leaves the seconds out
# where only minutes are wanted, and up to 4.1 the offset of a time of day.
_TIME_OF_DAY = re.compile(rf"{_CLOCK}({_ZONE})?", re.ASCII)
_RFC3339_DATE_TIME = re.compile(rf"\d{{4}}-\d{{2}}-\d{{2}}[T ]{_CLOCK}({_ZONE})", re.ASCII)


@FORMATS.checks("date-time", raises=ValueError)
def is_date_time(value: object) -> bool:
    """Tell whether a text is a date and time as RFC 3339 has it, with or without seconds."""
    if not isinstance(value, str):
        return True
    text = str.__str__(value).upper()
    return bool(_RFC3339_DATE_TIME.fullmatch(text) and datetime.fromisoformat(text))


@FORMATS.checks("time", raises=ValueError)
def is_time(value: object) -> bool:
    """Tell whether a text is a time of day, with or without seconds and offset."""
    if not isinstance(value, str):
        return True
    text = str.__str__(value).upper()
    return bool(_TIME_OF_DAY.fullmatch(text)) and time.fromisoformat(text) is not None


@FORMATS.checks("email")
def is_email(value: object) -> bool:
    """Tell whether a text is something before and after an `@`, without white space."""
    if not isinstance(value, str):
        return True
    local, _, domain = value.rpartition("@")
    return bool(local and domain) and not any(character.isspace() for character in value)


@FORMATS.checks("uri", raises=ValueError)
def is_uri(value: object) -> bool:
    """Tell whether a text is an absolute URI: a scheme, and a host or path."""
    if not isinstance(value, str):
        return True
    parts = urlsplit(value)
    return bool(parts.scheme and (parts.netloc or parts.path)) and value.isprintable() and " " not in value
