"""The format of log lines: text for people, or JSON for programs. The loggers are the standard library's.

Our own messages are words and `key=%s`: in JSON each key is a field, and the event is the words. Every line
has the ids bound to its task (see approvals.process.telemetry.bind_ids).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, ExcInfo, Processor, WrappedLogger

from approvals.domain.masking import LIMIT, mask

OURS = ("approvals.", "orchestration.", "config.")
# Extra fields of other loggers. Not Django's `request`: its URL may contain secrets.
KEPT = ("status_code", "action")

_PLACE = re.compile(r"%%|(?:(?P<key>\w+)=)?(?P<form>%[#0 +-]*[\d.]*[a-zA-Z])")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")


def formatter(form: str, *, colors: bool = False) -> dict[str, Any]:
    """Return a formatter for LOGGING: of JSON lines if `form` is `json`, else of text."""
    text = structlog.dev.ConsoleRenderer(
        colors=colors,
        timestamp_key="time",
        pad_event_to=0,
        pad_level=False,
        # Not the default one, which shows the values of variables.
        exception_formatter=_traceback,
    )
    lines = [_with_fields, *_JSON] if form == "json" else [_on_one_line, text]
    return {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": [
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(allow=KEPT),
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="time"),
        ],
        "processors": lines,
        "pass_foreign_args": True,
    }


def _traceback(out: TextIO, error: ExcInfo) -> None:
    written = StringIO()
    structlog.dev.plain_traceback(written, error)
    out.write(_mask_end(written.getvalue()))


def _mask_end(traceback: str) -> str:
    """Mask secrets in the end of a traceback, where the error is; the rest is dropped."""
    return mask(traceback[-LIMIT:])


def _on_one_line(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    """Keep the event on one line, whatever URLs or errors contain."""
    line = _without_origin(line)
    line["event"] = _CONTROL.sub(lambda found: repr(found[0])[1:-1], str(line["event"]))
    return line


def _with_fields(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    record, arguments = line["_record"], line.get("positional_args")
    line = _without_origin(line)
    if record.name.startswith(OURS) and isinstance(arguments, tuple):
        words, fields = _split_fields(str(record.msg), iter(arguments))
        line = {**fields, **line, "event": words}
    return line


def _split_fields(message: str, arguments: Iterator[Any]) -> tuple[str, dict[str, Any]]:
    fields: dict[str, Any] = {}

    def in_place(found: re.Match[str]) -> str:
        if found[0] == "%%":
            return "%"
        value = next(arguments, None)
        if found["key"] is None:
            return str(found["form"] % (value,))
        plain = value is None or isinstance(value, bool | int | float)
        fields[found["key"]] = value if plain else found["form"] % (value,)
        return ""

    words = " ".join(_PLACE.sub(in_place, message).split())
    return re.sub(r" ([:;,.])", r"\1", words), fields


def _without_origin(line: EventDict) -> EventDict:
    return {key: value for key, value in line.items() if key not in _ORIGIN}


def _mask_traceback(logger: WrappedLogger, method: str, line: EventDict) -> EventDict:
    if "exception" in line:
        line["exception"] = _mask_end(str(line["exception"]))
    return line


_ORIGIN = ("_record", "_from_structlog", "positional_args")
_JSON: list[Processor] = [
    structlog.processors.ExceptionRenderer(),
    _mask_traceback,
    structlog.processors.StackInfoRenderer(),
    structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
]
