"""Form fields for one JSON value each: text, numbers, options, check boxes, any JSON; which one a rule gets.

An empty field cleans to ABSENT. A value that comes back as it was shown stays exactly as it was.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal, InvalidOperation
from typing import Any

from django import forms
from django.core.exceptions import ValidationError

from approvals.domain.payloads import FlawError
from approvals.domain.schemas.patterns import Pattern
from approvals.web.pages.forms.datetime_fields import MomentField
from approvals.web.pages.forms.schema_reader import NoFieldError, Option, Rule, Schema
from approvals.web.pages.json_values import ABSENT, is_number, refuse_constant, same

FEW_OPTIONS = 5
EMPTY: Any = ABSENT
JSON_AREA = {"class": "json", "rows": 6, "spellcheck": "false", "autocomplete": "off"}

DECIMAL = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)", re.ASCII)
BOUNDS = {
    "minimum": (Decimal.__ge__, "at least"),
    "exclusiveMinimum": (Decimal.__gt__, "more than"),
    "maximum": (Decimal.__le__, "at most"),
    "exclusiveMaximum": (Decimal.__lt__, "less than"),
}

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


class TextField(forms.CharField):
    """Text as it was typed, except that line ends become newline characters."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"strip": False, **options})

    def to_python(self, value: Any) -> Any:
        return with_plain_line_ends(str(super().to_python(value)))


class TextValueField(TextField):
    """A JSON string."""

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if isinstance(self.initial, str) and text == with_plain_line_ends(self.initial):
            return self.initial if text else ABSENT
        return text or ABSENT


class NumberField(forms.Field):
    """A JSON number: an integer stays one, whatever its size."""

    def __init__(self, *, whole: bool, **options: Any) -> None:
        super().__init__(**options)
        self.whole = whole

    def to_python(self, value: Any) -> Any:
        text = str(value or "").strip()
        if not text:
            return ""
        try:
            return parse_number(text, whole=self.whole)
        except (ValueError, OverflowError):
            kind = "a whole number" if self.whole else "a number"
            raise ValidationError(f"{self.label} must be {kind}.", code="invalid") from None

    def clean(self, value: Any) -> Any:
        number = super().clean(value)
        return ABSENT if number == "" else number


class DecimalField(forms.CharField):
    """A decimal number that keeps its digits: a JSON string, or a number where it was one.

    The bounds are checked here, because a schema does not apply them to strings.
    """

    def __init__(self, rule: Schema, **options: Any) -> None:
        super().__init__(**options)
        self.rule = rule

    def to_python(self, value: Any) -> Any:
        text = str(super().to_python(value)).strip()
        if text and not DECIMAL.fullmatch(text):
            raise ValidationError(f"{self.label} must be a number such as 1240.50.", code="invalid")
        return text

    def validate(self, value: Any) -> None:
        super().validate(value)
        if not value:
            return
        number = Decimal(value)
        for keyword, (fits, words) in BOUNDS.items():
            limit = self.rule.get(keyword)
            if is_number(limit) and not fits(number, Decimal(str(limit))):
                raise ValidationError(f"{self.label} must be {words} {limit}.", code="invalid")
        step = self.rule.get("multipleOf")
        if is_number(step) and not _is_multiple(number, Decimal(str(step))):
            raise ValidationError(f"{self.label} must be a multiple of {step}.", code="invalid")

    def clean(self, value: Any) -> Any:
        text = super().clean(value)
        if not text:
            return ABSENT
        return parse_number(text, whole=False) if is_number(self.initial) else text

    def has_changed(self, initial: Any, data: Any) -> bool:
        return ("" if initial is None else str(initial)) != str(data or "")


class JSONValueField(forms.Field):
    """A text area for one JSON value, which starts from `value`. NaN and infinities are refused."""

    def __init__(self, *, value: Any = ABSENT, **options: Any) -> None:
        shown = None if value is ABSENT else as_json(value)
        super().__init__(**{"widget": forms.Textarea(attrs=JSON_AREA), "initial": shown, **options})

    def to_python(self, value: Any) -> Any:
        text = str(value or "").strip()
        if not text:
            return ABSENT
        try:
            return json.loads(text, parse_constant=refuse_constant)
        except json.JSONDecodeError as error:
            place = f"line {error.lineno}, column {error.colno}"
            message = f"{self.label} is not JSON: {error.msg} ({place})."
            raise ValidationError(message, code="invalid") from None
        except (ValueError, RecursionError):
            message = f"{self.label} is nested too deeply, or has numbers that JSON does not allow."
            raise ValidationError(message, code="invalid") from None

    def validate(self, value: Any) -> None:
        if value is ABSENT and self.required:
            raise ValidationError(self.error_messages["required"], code="required")

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool((initial or "") != (data or ""))


class OptionField(forms.TypedChoiceField):
    """One of several JSON values: radio buttons for up to `few`, else a menu."""

    def __init__(
        self,
        options: Sequence[Option],
        *,
        required: bool = True,
        few: int = FEW_OPTIONS,
        value: Any = ABSENT,
        none: str = "None of these",
        **more: Any,
    ) -> None:
        self.values = options_by_name(options)
        choices = [(name, option.label) for name, option in self.values.items()]
        as_buttons = len(choices) <= few
        if not required:
            choices.insert(0, ("", none if as_buttons else "—"))
        elif not as_buttons:
            choices.insert(0, ("", "Choose one"))
        super().__init__(
            choices=choices,
            coerce=lambda name: self.values[name].value,
            empty_value=EMPTY,
            required=required,
            widget=forms.RadioSelect if as_buttons else forms.Select,
            initial=name_of(value, self.values),
            **more,
        )


class TicksField(forms.TypedMultipleChoiceField):
    """Any number of several JSON values, as check boxes. `values` are ticked first, and keep their order."""

    def __init__(self, options: Sequence[Option], *, values: Sequence[Any] = (), **more: Any) -> None:
        self.values = options_by_name(options)
        super().__init__(
            choices=[(name, option.label) for name, option in self.values.items()],
            coerce=lambda name: self.values[name].value,
            empty_value=EMPTY,
            widget=forms.CheckboxSelectMultiple,
            initial=[name_of(value, self.values) for value in values],
            **more,
        )
        self._first = list(values)

    def clean(self, value: Any) -> Any:
        picked = super().clean(value)
        if picked is ABSENT:
            return ABSENT
        before = [one for one in self._first if _among(one, picked)]
        return before + [one for one in picked if not _among(one, before)]


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


def options_by_name(options: Sequence[Option]) -> dict[str, Option]:
    """Map the names that a form sends to options: their texts, or numbers if texts are not unique."""
    names = [one.value if isinstance(one.value, str) else json.dumps(one.value) for one in options]
    if len(set(names)) < len(names) or "" in names:
        names = [str(number) for number in range(len(options))]
    return dict(zip(names, options, strict=True))


def name_of(value: Any, options: Mapping[str, Option]) -> str | None:
    """Return the name of the option with this value; None if there is none."""
    return next((name for name, option in options.items() if same(option.value, value)), None)


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def parse_number(text: str, *, whole: bool) -> int | float:
    """Read a JSON number. Raises ValueError for anything else, and with `whole` for fractions."""
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if whole and number.is_integer():
        return int(number)
    if whole or not math.isfinite(number):
        raise ValueError(text)
    return number


def with_plain_line_ends(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _among(value: Any, values: Sequence[Any]) -> bool:
    return any(same(value, one) for one in values)


def _is_multiple(number: Decimal, step: Decimal) -> bool:
    try:
        return step == 0 or number % step == 0
    except InvalidOperation:
        return False
