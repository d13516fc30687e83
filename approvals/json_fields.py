"""Form fields for JSON: made from a JSON Schema of plain values where that can be, a text area otherwise.

Only shapes and types are read here; whether a value fits its schema is checked where decisions are made.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from django import forms
from django.core.exceptions import ValidationError

Schema: TypeAlias = Mapping[str, Any]

# A rule that says no more leaves the value open: any JSON.
OPEN_KEYWORDS = frozenset({"title", "description", "default"})
# What an object schema may say and still be shown as one field for each property.
OBJECT_KEYWORDS = frozenset(
    {
        "$schema",
        "$id",
        "type",
        "title",
        "description",
        "properties",
        "required",
        "additionalProperties",
        "default",
    }
)
COMBINING_KEYWORDS = frozenset({"$ref", "anyOf", "oneOf", "allOf", "not", "if"})
INPUT_TYPES = {"date": "date", "email": "email", "uri": "url", "time": "time"}
LONG_TEXT = 200
FEW_OPTIONS = 5
MOST_PROPERTIES = 40


class JSONValueField(forms.CharField):
    """A text area that holds one JSON value, exactly: no NaN, no infinities."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"widget": json_area(), "strip": True, **options})

    def to_python(self, value: Any) -> Any:
        text = str(super().to_python(value))
        if not text:
            return None
        try:
            return json.loads(text, parse_constant=_refuse_constant)
        except json.JSONDecodeError as error:
            message = f"This is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
            raise ValidationError(message, code="invalid") from None
        except (ValueError, RecursionError):
            message = "This JSON is nested too deeply or has impossible numbers."
            raise ValidationError(message, code="invalid") from None

    def validate(self, value: Any) -> None:
        if value is None and self.required:
            raise ValidationError(self.error_messages["required"], code="required")

    def run_validators(self, value: Any) -> None:
        """Text validators do not fit JSON values; NUL is refused where the value is checked."""

    def prepare_value(self, value: Any) -> Any:
        if value is None:
            return ""
        return value if isinstance(value, str) else as_json(value)

    def has_changed(self, initial: Any, data: Any) -> bool:
        return bool(initial != data)


class NumberField(forms.CharField):
    """A JSON number: an integer stays one, whatever its size."""

    def __init__(self, *, whole: bool, **options: Any) -> None:
        super().__init__(**options)
        self.whole = whole

    def to_python(self, value: Any) -> int | float | None:  # type: ignore[override]
        text = str(super().to_python(value)).strip()
        if not text:
            return None
        try:
            return _number(text, whole=self.whole)
        except (ValueError, OverflowError):
            kind = "whole number" if self.whole else "number"
            raise ValidationError(f"Enter a {kind}.", code="invalid") from None

    def run_validators(self, value: Any) -> None:
        """Bounds are the schema's to check; there are none of text."""


class TextField(forms.CharField):
    """Text as it was typed, with the line ends of every other system than a browser's."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**{"strip": False, **options})

    def to_python(self, value: Any) -> Any:
        return str(super().to_python(value)).replace("\r\n", "\n").replace("\r", "\n")


class SchemaFields:
    """The form fields for one schema under one name, and the way from their values back to JSON.

    `current` is what the fields start from; what it holds beside the schema's properties is kept.
    """

    def __init__(self, schema: Schema, name: str, current: Any = None) -> None:
        self.name = name
        self.current = current
        self.properties: dict[str, str] = {}
        made = _fields_of_object(schema, name, current) or _field_of_plain(schema, name, current)
        self.generated = made is not None
        self.fields = made or {name: JSONValueField(label=_label(schema, name), initial=current)}
        if self.generated and name not in self.fields:
            self.properties = dict(zip(self.fields, _properties(schema), strict=True))

    def value(self, cleaned: Mapping[str, Any]) -> Any:
        """The JSON value that the cleaned fields stand for; optional fields left empty are left out."""
        if not self.properties:
            return cleaned.get(self.name)
        known = set(self.properties.values())
        kept = self.current if isinstance(self.current, dict) else {}
        value = {key: kept[key] for key in kept if key not in known}
        filled = {key: cleaned.get(field) for field, key in self.properties.items()}
        value |= {key: given for key, given in filled.items() if given not in (None, "")}
        return {key: value[key] for key in [*kept, *filled] if key in value}


def as_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def json_area() -> forms.Textarea:
    return forms.Textarea(attrs={"class": "json", "rows": 6, "spellcheck": "false", "autocomplete": "off"})


def option_field(
    options: Sequence[Any], *, required: bool = True, few: int = FEW_OPTIONS, **more: Any
) -> forms.TypedChoiceField:
    """One of these JSON values: radio buttons for a few, a menu for many."""
    values = {_option_name(option): option for option in options}
    if len(values) != len(options):
        values = {str(number): option for number, option in enumerate(options)}
    choices = [(name, _option_label(option)) for name, option in values.items()]
    as_buttons = len(choices) <= few
    if not required:
        choices.insert(0, ("", "None of these" if as_buttons else "—"))
    elif not as_buttons:
        choices.insert(0, ("", "Choose one"))
    initial = more.pop("initial", None)
    return forms.TypedChoiceField(
        choices=choices,
        coerce=values.__getitem__,
        empty_value=None,
        required=required,
        widget=forms.RadioSelect if as_buttons else forms.Select,
        initial=next((name for name, option in values.items() if _same(option, initial)), None),
        **more,
    )


def _fields_of_object(schema: Schema, name: str, current: Any) -> dict[str, forms.Field] | None:
    properties = _properties(schema)
    if not properties or len(properties) > MOST_PROPERTIES or not OBJECT_KEYWORDS.issuperset(schema):
        return None
    if current is not None and not isinstance(current, dict):
        return None
    known: dict[str, Any] = current or {}
    required = schema.get("required", [])
    fields: dict[str, forms.Field] = {}
    for key, rule in properties.items():
        default = rule.get("default") if isinstance(rule, dict) else None
        initial = known.get(key, default)
        field = _plain(rule, label=_label(rule, key), required=key in required, initial=initial)
        if field is None or (key in known and not _fits(field, initial)):
            return None
        fields[f"{name}.{key}"] = field
    return fields


def _field_of_plain(schema: Schema, name: str, current: Any) -> dict[str, forms.Field] | None:
    rule = {"enum": [True, False], **schema} if schema.get("type") == "boolean" else schema
    field = _plain(rule, label=_label(schema, name), required=True, initial=current)
    return None if field is None else {name: field}


def _plain(rule: Any, **options: Any) -> forms.Field | None:
    if not isinstance(rule, dict) or COMBINING_KEYWORDS & set(rule):
        return None
    options["help_text"] = str(rule.get("description", ""))
    if "enum" in rule:
        return _enum(rule["enum"], options)
    if OPEN_KEYWORDS.issuperset(rule):
        return JSONValueField(**options)
    maker = PLAIN_TYPES.get(str(rule.get("type")))
    return maker(rule, options) if maker else None


def _enum(values: Any, options: dict[str, Any]) -> forms.Field | None:
    scalars = isinstance(values, list) and all(isinstance(value, str | int | float) for value in values)
    return option_field(values, **options) if scalars and values else None


def _text(rule: Schema, options: dict[str, Any]) -> forms.Field:
    longest = rule.get("maxLength")
    initial = options.get("initial")
    several_lines = isinstance(initial, str) and "\n" in initial
    if several_lines or (isinstance(longest, int) and longest > LONG_TEXT):
        return TextField(widget=forms.Textarea(attrs={"rows": 4}), **options)
    attributes = {"type": INPUT_TYPES.get(str(rule.get("format")), "text")}
    if isinstance(longest, int):
        attributes["maxlength"] = str(longest)
    return TextField(widget=forms.TextInput(attrs=attributes), **options)


def _whole_number(rule: Schema, options: dict[str, Any]) -> forms.Field:
    return NumberField(whole=True, widget=_number_input(rule, step="1"), **options)


def _any_number(rule: Schema, options: dict[str, Any]) -> forms.Field:
    return NumberField(whole=False, widget=_number_input(rule, step="any"), **options)


def _yes_or_no(rule: Schema, options: dict[str, Any]) -> forms.Field:
    # An empty check box is an answer too: False.
    return forms.BooleanField(**{**options, "required": False})


PLAIN_TYPES: Mapping[str, Callable[[Schema, dict[str, Any]], forms.Field]] = {
    "string": _text,
    "integer": _whole_number,
    "number": _any_number,
    "boolean": _yes_or_no,
}


def _number_input(rule: Schema, step: str) -> forms.NumberInput:
    attributes: dict[str, Any] = {"step": step}
    attributes |= {end: rule[word] for end, word in (("min", "minimum"), ("max", "maximum")) if word in rule}
    return forms.NumberInput(attrs=attributes)


def _fits(field: forms.Field, value: Any) -> bool:
    """Can this field hold that value without changing it?"""
    if isinstance(field, forms.BooleanField):
        return isinstance(value, bool)
    if isinstance(field, NumberField):
        return isinstance(value, int if field.whole else int | float) and not isinstance(value, bool)
    if isinstance(field, forms.TypedChoiceField):
        return field.initial is not None
    # As JSON a text would need the quotes that such a field leaves out.
    return isinstance(value, str) is not isinstance(field, JSONValueField)


def _properties(schema: Schema) -> dict[str, Any]:
    properties = schema.get("properties")
    return properties if schema.get("type") == "object" and isinstance(properties, dict) else {}


def _label(rule: Any, name: str) -> str:
    title = rule.get("title") if isinstance(rule, dict) else None
    return str(title or name.replace("_", " ").capitalize())


def _option_name(option: Any) -> str:
    return option if isinstance(option, str) else json.dumps(option)


def _option_label(option: Any) -> str:
    if isinstance(option, bool):
        return "Yes" if option else "No"
    return _option_name(option)


def _same(one: Any, other: Any) -> bool:
    """Equal as JSON, where true is not 1."""
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _number(text: str, *, whole: bool) -> int | float:
    try:
        return int(text)
    except ValueError:
        number = float(text)
    if whole and number.is_integer():
        return int(number)
    if whole or not math.isfinite(number):
        raise ValueError(text)
    return number


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
