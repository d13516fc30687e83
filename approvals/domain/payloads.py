"""What may be recorded: text, JSON and durations, checked where they come in. Pure, without Django.

Databases, browsers and RFC 8785 disagree about U+0000, lone surrogates, NaN and large numbers, so they are
refused at the edge, naming the spot (`arguments.items[3].name`). What is accepted has one canonical text, and
what is read from that text has the same: `canonical(json.loads(canonical(value))) == canonical(value)`.
"""

from __future__ import annotations

import datetime
import decimal
import hashlib
import json
import math
import unicodedata
import uuid
from collections.abc import Callable, Iterable, Sequence
from json.encoder import encode_basestring
from typing import Any

import orjson
import rfc8785

from approvals.domain.characters import skeleton
from approvals.exceptions import ApprovalError, InvalidRequest

BYTES_LIMIT = 1_048_576
DEPTH_LIMIT = 64
LARGEST_INTEGER = 2**53 - 1
# From here on RFC 8785 writes an exponent. Below, floats are written as whole numbers, and read back as such.
WRITTEN_WITH_EXPONENT = 10**21
LONGEST_DURATION = 100 * 365.25 * 24 * 60 * 60  # a hundred years, in seconds


class FlawError(Exception):
    """A rule that a value breaks, and where; edges turn it into the error of their kind."""

    def __init__(self, rule: str, path: Iterable[str | int] = ()) -> None:
        super().__init__(rule)
        self.rule = rule
        self.path = tuple(path)

    def as_error(self, field: str, error: type[ApprovalError]) -> ApprovalError:
        where = spot(field, self.path)
        return error(f"{where} {self.rule}.", field=where)


def check_text(
    value: object,
    field: str,
    *,
    max_length: int | None = None,
    required: bool = False,
    one_line: bool = False,
    seen: bool = False,
    error: type[ApprovalError] = InvalidRequest,
) -> str:
    """Return the text itself, unchanged, or raise `error`, which names the field and the rule.

    `one_line` also refuses control characters; `required` refuses blanks, and `seen` what consists of
    invisible characters alone.
    """
    try:
        text = _text(value)
    except FlawError as flaw:
        raise flaw.as_error(field, error) from None
    rule = ""
    if required and not text.strip():
        rule = "must not be empty"
    elif max_length is not None and len(text) > max_length:
        rule = f"must have at most {max_length:,} characters, not {len(text):,}"
    elif one_line and any(unicodedata.category(character) in {"Cc", "Zl", "Zp"} for character in text):
        rule = "must be one line without control characters"
    elif seen and not skeleton(text):
        rule = "must have a character that can be seen"
    if rule:
        raise FlawError(rule).as_error(field, error)
    return text


def check_json(
    value: object,
    field: str,
    *,
    max_bytes: int = BYTES_LIMIT,
    max_depth: int = DEPTH_LIMIT,
    stable: bool = True,
    error: type[ApprovalError] = InvalidRequest,
) -> Any:
    """Return an equal copy in plain JSON types that shares nothing with `value`; tuples become lists.

    `max_bytes` counts the compact JSON text in UTF-8. It bounds the work and `max_depth` the stack, whatever
    comes in: cycles and shared references are refused for their depth or size. `stable=False` accepts floats
    that RFC 8785 writes as integers beyond the safe ones (from 2**53 to below 10**21), for what is never put
    on a trail, or is looked at again before it is.
    """
    try:
        return _Copy(max_bytes, max_depth, stable=stable).of(value)
    except FlawError as flaw:
        raise flaw.as_error(field, error) from None


def seconds(value: object, field: str, *, none_allowed: bool, zero_allowed: bool = True) -> float | None:
    """Return a duration (a number or a timedelta) in seconds: from zero, at once, to a hundred years."""
    if value is None and none_allowed:
        return None
    if isinstance(value, datetime.timedelta):
        value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise FlawError(f"must be a number of seconds, not {_type_name(value)}").as_error(
            field, InvalidRequest
        )
    if not 0 <= value <= LONGEST_DURATION:
        raise FlawError("must be between 0 seconds and 100 years").as_error(field, InvalidRequest)
    if not value and not zero_allowed:
        raise FlawError("must be above 0 seconds").as_error(field, InvalidRequest)
    return float(value)


def canonical(value: Any) -> str:
    """Return the RFC 8785 text of checked JSON, equal for equal values in any program, on any database."""
    return canonical_plain(value) if _is_plain(value) else rfc8785.dumps(value).decode()


def _is_plain(value: Any) -> bool:
    """Whether a compiled encoder writes what RFC 8785 asks for, which it does a hundred times faster.

    They differ in how numbers with a fraction look and in the order of names beyond ASCII.
    """
    if value is None or isinstance(value, str):
        return True
    if isinstance(value, dict):
        for name, child in value.items():
            # Most children are texts or nothing: a call for each would take longer than the encoding.
            if not name.isascii() or not (child is None or isinstance(child, str) or _is_plain(child)):
                return False
        return True
    if isinstance(value, list):
        return all(map(_is_plain, value))
    return isinstance(value, int) and -LARGEST_INTEGER <= value <= LARGEST_INTEGER


def read_canonical(text: str) -> Any:
    """Return what a canonical text says.

    Whole numbers beyond the safe ones are the floats that RFC 8785 so writes. Trails have them from the
    time when they were accepted. Raises ValueError, or RecursionError, where it is not JSON.
    """
    return json.loads(text, parse_int=_whole_number)


def parse_object(text: str, read: Callable[[str], Any] = read_canonical) -> dict[str, Any] | None:
    """Return the JSON object that a text is; None where it is none, for somebody may have altered it."""
    try:
        value = read(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _whole_number(digits: str) -> int | float:
    number = int(digits)
    return float(number) if LARGEST_INTEGER < abs(number) < WRITTEN_WITH_EXPONENT else number


def canonical_plain(value: Any) -> str:
    """As `canonical`, for values that are known to have ASCII names and no fractions: none is looked at."""
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS).decode()


def digest(text: str) -> str:
    """SHA-256 of the text's UTF-8, in hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


def spot(field: str, path: Iterable[str | int]) -> str:
    """Where in a field: `arguments.items[3].name`; keys that are no names are quoted and cut short."""
    return field + "".join(_step(step) for step in path)


def shorten(text: str, limit: int = 40) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"


class _Copy:
    """One pass over a value: copies, counts bytes, remembers where it is."""

    def __init__(self, max_bytes: int, max_depth: int, *, stable: bool) -> None:
        self._max_bytes = max_bytes
        self._max_depth = max_depth
        self._stable = stable
        self._bytes = 0
        self._path: list[str | int] = []

    def of(self, value: object) -> Any:
        try:
            return self._copy(value)
        except FlawError as flaw:
            raise FlawError(flaw.rule, [*self._path, *flaw.path]) from None

    def _copy(self, value: object) -> Any:
        if value is None or isinstance(value, bool):
            self._count(4 if value is not False else 5)
            return value
        if isinstance(value, str):
            return self._string(value)
        if isinstance(value, int | float):
            return self._number(value)
        if isinstance(value, list | tuple):
            return self._array(value)
        if isinstance(value, dict):
            return self._object(value)
        raise FlawError(f"is {_type_name(value)}, which is not JSON: {_advice(value)}")

    def _array(self, value: Sequence[object]) -> list[Any]:
        self._enter()
        copy = []
        for index, child in enumerate(value):
            self._count(1 if index else 0)
            self._path.append(index)
            copy.append(self._copy(child))
            self._path.pop()
        return copy

    def _object(self, value: dict[object, object]) -> dict[str, Any]:
        self._enter()
        copy: dict[str, Any] = {}
        for name, child in value.items():
            key = self._key(name)
            self._count(2 if copy else 1)
            self._path.append(key)
            copy[key] = self._copy(child)
            self._path.pop()
        return copy

    def _enter(self) -> None:
        if len(self._path) >= self._max_depth:
            raise FlawError(f"is nested deeper than {self._max_depth} levels")
        self._count(2)

    def _key(self, name: object) -> str:
        if not isinstance(name, str):
            raise FlawError(f"has a key that is {_type_name(name)}: keys must be strings")
        try:
            key = _text(name)
        except FlawError as flaw:
            raise FlawError(f"is a key that {flaw.rule}", [name]) from None
        self._count(_size(key))
        return key

    def _string(self, value: str) -> str:
        text = _text(value)
        self._count(_size(text))
        return text

    def _number(self, value: int | float) -> int | float:
        number = _integer(value) if isinstance(value, int) else _float(value, stable=self._stable)
        self._count(len(repr(number)))
        return number

    def _count(self, size: int) -> None:
        self._bytes += size
        if self._bytes > self._max_bytes:
            raise self._too_large()

    def _too_large(self) -> FlawError:
        self._path.clear()
        return FlawError(f"is larger than {self._max_bytes:,} bytes")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise FlawError(f"must be text, not {_type_name(value)}")
    if "\0" in value:
        raise FlawError("contains U+0000, which cannot be recorded")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise FlawError("contains a lone surrogate, which is not Unicode text") from None
    return str.__str__(value)


def _size(text: str) -> int:
    return len(encode_basestring(text).encode())


def _integer(value: int) -> int:
    if abs(value) > LARGEST_INTEGER:
        raise FlawError("is an integer beyond ±(2**53-1), which JSON cannot carry: send it as a string")
    return int(value)


def _float(value: float, *, stable: bool) -> float:
    if not math.isfinite(value):
        raise FlawError("is not a finite number")
    if stable and LARGEST_INTEGER < abs(value) < WRITTEN_WITH_EXPONENT:
        raise FlawError(
            "is a number from 2**53 to below 10**21, which is recorded as an integer that JSON cannot carry:"
            " send it as a string"
        )
    return float(value)


def _type_name(value: object) -> str:
    return "nothing" if value is None else type(value).__name__


def _advice(value: object) -> str:
    if isinstance(value, set | frozenset):
        return "send a list"
    if isinstance(value, datetime.date | datetime.time | datetime.timedelta | decimal.Decimal | uuid.UUID):
        return "send it as a string"
    return "send strings, numbers, booleans, lists and dicts"


def is_plain_name(name: str) -> bool:
    """Tell whether a name needs no quotes in a path. Since Python 3.13 identifiers may hide characters."""
    return name.isidentifier() and name.isprintable()


def _step(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    if is_plain_name(step.removeprefix("$")):
        return f".{shorten(step)}"
    return f"[{json.dumps(shorten(step))}]"
