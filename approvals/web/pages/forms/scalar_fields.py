"""The form field for a JSON string or number."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from django import forms

from approvals.domain.payloads import FlawError
from approvals.domain.schemas.patterns import Pattern
from approvals.web.pages.forms.datetime_fields import MomentField
from approvals.web.pages.forms.fields import DECIMAL, DecimalField, NumberField, TextValueField
from approvals.web.pages.forms.schema_reader import NoFieldError, Rule
from approvals.web.pages.json_values import ABSENT, is_number

SCALARS = frozenset({"string", "integer", "number", "decimal"})
INPUT_TYPES = {"date": "date", "email": "email", "uri": "url"}
HINTS = {"duration": "For instance PT1H30M for 1 hour 30 minutes, or P2D for 2 days."}
LONG_TEXT = 200

# Zod from 4.3 on says only by these patterns that a text is a time without a zone.
_ZOD_TIME = r"^(?:[01]\d|2[0-3]):[0-5]\d"
_ZOD_DAY = r"^(?:(?:\d\d[2468][048]|\d\d[13579][26]|\d\d0[48]|[02468][048]00|[13579][26]00)-02-29|"
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
# Keyword: the input's attribute, how to round to a whole number, and what to add if the bound itself is out.
_BOUNDS: dict[str, tuple[str, Callable[[float], int], int]] = {
    "minimum": ("min", math.ceil, 0),
    "exclusiveMinimum": ("min", math.ceil, 1),
    "maximum": ("max", math.floor, 0),
    "exclusiveMaximum": ("max", math.floor, -1),
}
_LINE_ENDS = re.compile(r"[\r\n]")


def hint_of(rule: Rule) -> str:
    """Return the schema's description, or else how its format is written."""
    return rule.description or HINTS.get(str(rule.schema.get("format", "")), "")


def scalar_field(rule: Rule, start: Any, *, label: str, required: bool) -> forms.Field:
    """Make the field for a rule with a type of SCALARS. Raises NoFieldError if it could not hold `start`."""
    make = _text_field if rule.type == "string" else _number_field
    return make(rule, start, {"label": label, "required": required})


def _number_field(rule: Rule, start: Any, options: dict[str, Any]) -> forms.Field:
    if start is not ABSENT:
        is_text = rule.type == "decimal" and isinstance(start, str) and DECIMAL.fullmatch(start)
        if not (is_number(start) or is_text) or (rule.type == "integer" and not isinstance(start, int)):
            raise NoFieldError
        options["initial"] = start
    if rule.type == "decimal":
        widget = forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"})
        return DecimalField(rule.schema, widget=widget, **options)
    return NumberField(whole=rule.type == "integer", widget=_number_input(rule), **options)


def _number_input(rule: Rule) -> forms.NumberInput:
    """Make an input with bounds. Whole numbers get whole bounds: browsers count steps from the lower one."""
    whole = rule.type == "integer"
    attributes: dict[str, Any] = {"step": "1" if whole else "any"}
    for keyword, (end, nearest, beyond) in _BOUNDS.items():
        limit = rule.schema.get(keyword)
        if not is_number(limit) or not math.isfinite(limit):
            continue
        attributes[end] = nearest(limit) + (beyond if nearest(limit) == limit else 0) if whole else limit
    return forms.NumberInput(attrs=attributes)


def _text_field(rule: Rule, start: Any, options: dict[str, Any]) -> forms.Field:
    if start is not ABSENT and not isinstance(start, str):
        raise NoFieldError
    kind = _format(rule)
    if kind in {"date-time", "time"}:
        daily = kind == "time"
        if not isinstance(start, str) or start == "" or MomentField.can_hold(start, daily=daily):
            return MomentField(daily=daily, pattern=_pattern(rule), value=start or ABSENT, **options)
    if start is not ABSENT:
        options["initial"] = start
    longest = rule.schema.get("maxLength")
    is_long = isinstance(longest, int) and longest > LONG_TEXT and kind != "uri"
    if is_long or (isinstance(start, str) and _LINE_ENDS.search(start)):
        return TextValueField(widget=forms.Textarea(attrs={"rows": 4}), **options)
    attributes = {"type": _input_type(kind, start)}
    if isinstance(longest, int) and not isinstance(longest, bool):
        attributes["maxlength"] = str(longest)
    return TextValueField(widget=forms.TextInput(attrs=attributes), **options)


def _format(rule: Rule) -> str:
    """Return the format that a rule names, or that its pattern shows; empty if neither does."""
    kind, pattern = str(rule.schema.get("format", "")), str(rule.schema.get("pattern", ""))
    if kind:
        return kind
    if pattern.startswith(_ZOD_TIME):
        return "time"
    return "date-time" if pattern.startswith(_ZOD_DAY) and "T(?:" in pattern else ""


def _input_type(kind: str, start: Any) -> str:
    """Return the type of a text input: the format's own, unless that would change what `start` holds."""
    if isinstance(start, str) and start and (start != start.strip() or not start.isprintable()):
        return "text"
    if kind == "date" and isinstance(start, str) and not _DATE.fullmatch(start):
        return "text"
    return INPUT_TYPES.get(kind, "text")


def _pattern(rule: Rule) -> Pattern | None:
    text = rule.schema.get("pattern")
    try:
        return Pattern(text) if isinstance(text, str) else None
    except FlawError:
        return None
