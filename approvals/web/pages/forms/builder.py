"""Makes the parts of a form from a schema: a field for each value if possible, else a JSON text area.

A property is edited as JSON if its schema refers to itself, if its alternatives have no titles, or if its
present value does not fit; the other properties keep their fields. The number of parts is bounded.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from django import forms
from django.core.exceptions import TooManyFieldsSent

from approvals.domain.payloads import is_plain_name
from approvals.web.pages.forms.examples import example_of, schema_text
from approvals.web.pages.forms.fields import (
    SCALARS,
    JSONValueField,
    OptionField,
    TicksField,
    hint_of,
    scalar_field,
)
from approvals.web.pages.forms.parts import NEW, Fixed, Group, Leaf, Part, Row, Rows, Variants
from approvals.web.pages.forms.schema_reader import NoFieldError, Option, Rule, Rules, Schema, label_of
from approvals.web.pages.forms.submission import Submission
from approvals.web.pages.json_values import ABSENT, is_number, same

MOST_PARTS = 400
MOST_PARTS_ADDED = 1_500
YES_OR_NO = (Option(value=True, label="Yes"), Option(value=False, label="No"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a part goes. `start` is what it shows at first: the present value (`given`) or a default.

    `editing`: the value around it exists already, so a property that it lacks gets no default.
    """

    name: str
    label: str
    required: bool = True
    start: Any = ABSENT
    given: bool = False
    editing: bool = False
    root: bool = False


def build(
    schema: Schema, name: str, current: Any = ABSENT, *, sent: Submission | None = None, label: str = ""
) -> Part:
    """Make the parts of a schema under one name.

    They start from `current`; values in it that the schema does not name are kept. With `sent`, what a
    browser sent, its rows and ticks decide which fields there are.
    """
    given = current is not ABSENT
    label = label or label_of(schema, name)
    place = Place(name=name, label=label, start=current, given=given, editing=given, root=True)
    return _Builder(Rules(schema), sent).part(schema, place)


class _Builder:
    """Makes the parts of one form. `sent` is what a browser sent of it; None: nothing yet."""

    def __init__(self, rules: Rules, sent: Submission | None) -> None:
        self._rules = rules
        self._sent = sent
        self._left = MOST_PARTS
        self._left_for_rows = MOST_PARTS_ADDED
        self._adding = False

    def part(self, schema: Any, place: Place, within: Rule | None = None) -> Part:
        """Make the part for a subschema of the rule `within`."""
        try:
            return self._build(self._rules.of(schema, within), place)
        except NoFieldError:
            return self._json(schema, place)

    def _build(self, rule: Rule, place: Place) -> Part:
        self._spend(1)
        if not place.given and place.start is ABSENT and not place.editing:
            place = replace(place, start=rule.default)
        if rule.variants is not None:
            return self._variants(rule, rule.variants, place)
        if rule.options is not None:
            return self._options(rule, rule.options, place)
        makers = {
            "boolean": self._boolean,
            "null": self._nothing,
            "array": self._list,
            "object": self._group,
            **dict.fromkeys(SCALARS, self._scalar),
        }
        if rule.type not in makers:
            raise NoFieldError
        return makers[rule.type](rule, place)

    def _spend(self, parts: int) -> None:
        if parts > self._left:
            raise NoFieldError
        self._left -= parts

    def _submission_of(self, place: Place) -> Submission | None:
        return self._sent if self._sent is not None and self._sent.knows(place.name) else None

    # One value

    def _json(self, schema: Any, place: Place) -> Leaf:
        about = schema if isinstance(schema, dict) else {}
        shown = ABSENT if place.start is None and not place.given else place.start
        if shown is ABSENT and not place.editing and about.get("default") is not None:
            shown = about["default"]
        help_text = str(about.get("description", ""))
        return Leaf(
            name=place.name,
            label=place.label,
            field=JSONValueField(
                label=place.label, required=place.required, value=shown, help_text=help_text
            ),
            example=example_of(self._rules, schema),
            schema=schema_text(self._rules, schema),
        )

    def _scalar(self, rule: Rule, place: Place) -> Leaf:
        start = _not_null(rule, place.start)
        blank_is_a_value = start == "" and rule.type == "string"
        required = _is_required(rule, place) and not blank_is_a_value
        field = scalar_field(rule, start, label=place.label, required=required)
        if blank_is_a_value and (place.given or place.required):
            return _leaf(rule, place, field, empty="")
        return _leaf(rule, place, field)

    def _boolean(self, rule: Rule, place: Place) -> Leaf:
        start = _not_null(rule, place.start)
        if start is not ABSENT and not isinstance(start, bool):
            raise NoFieldError
        may_be_left_out = rule.nullable or (place.editing and not place.given and not place.required)
        if may_be_left_out or place.root:
            required = _is_required(rule, place)
            field: forms.Field = OptionField(
                YES_OR_NO, required=required, value=start, none="Not given", label=place.label
            )
        else:
            field = forms.BooleanField(label=place.label, required=False, initial=start is True)
        return _leaf(rule, place, field)

    def _options(self, rule: Rule, options: tuple[Option, ...], place: Place) -> Part:
        start = place.start if any(one.value is None for one in options) else _not_null(rule, place.start)
        if start is not ABSENT and not any(same(one.value, start) for one in options):
            raise NoFieldError
        required = _is_required(rule, place)
        if len(options) == 1 and required and not place.root:
            return Fixed(name=place.name, label=place.label, fixed=options[0].value)
        field = OptionField(options, required=required, value=start, label=place.label)
        return _leaf(rule, place, field)

    def _nothing(self, _: Rule, place: Place) -> Fixed:
        if place.start not in (ABSENT, None):
            raise NoFieldError
        there = place.required or place.given
        return Fixed(name=place.name, label=place.label, fixed=None if there else ABSENT)

    # Lists

    def _list(self, rule: Rule, place: Place) -> Part:
        items = rule.schema.get("items")
        start = _not_null(rule, place.start)
        entries: Any = [] if start is ABSENT else start
        if not isinstance(items, dict) or "prefixItems" in rule.schema or not isinstance(entries, list):
            raise NoFieldError
        item = self._rules.of(items, rule)
        if item.nullable:
            raise NoFieldError
        if item.options is not None:
            return self._ticks(rule, item.options, place, entries)
        return self._rows(rule, item, place, entries)

    def _ticks(self, rule: Rule, options: tuple[Option, ...], place: Place, start: list[Any]) -> Leaf:
        known = [next((one.value for one in options if same(one.value, value)), ABSENT) for value in start]
        distinct = {json.dumps(value, sort_keys=True) for value in start}
        if ABSENT in known or len(distinct) < len(start):
            raise NoFieldError
        field = TicksField(options, values=start, label=place.label, required=False)
        return _leaf(rule, place, field, empty=_empty_list(rule, place))

    def _rows(self, rule: Rule, item: Rule, place: Place, start: list[Any]) -> Rows:
        fewest, most = (_count(rule.schema.get(end)) for end in ("minItems", "maxItems"))
        # An empty text or number is no entry, so one more to fill in does no harm.
        wanted = min(fewest or 0, 20) if place.required and place.start is not None else 0
        suggested = max(wanted, 1 if item.type in SCALARS else 0)
        first = [str(number) for number in range(len(start) or suggested)]
        label = item.title or place.label
        # These are made first: whether they get fields must not depend on what was sent.
        parts = {row_id: self._entry(item, place, row_id, label, start) for row_id in [*first, NEW]}
        sent = self._submission_of(place)
        ids = first if sent is None else sent.ids(place.name)
        rows = []
        for position, row_id in enumerate(ids):
            part = parts.get(row_id) or self._entry_sent(item, place, row_id, label)
            new = int(row_id) >= len(start) and position >= (fewest or 0)
            rows.append(Row(id=row_id, part=part, untouched=new and self._is_untouched(part)))
        ids_sent = forms.Field(
            label=place.label, required=False, initial=first, widget=forms.MultipleHiddenInput
        )
        return Rows(
            **_about(rule, place, empty=_empty_list(rule, place)),
            field=ids_sent,
            rows=rows,
            blank=parts[NEW],
            most=most,
        )

    def _entry(self, item: Rule, place: Place, row_id: str, label: str, start: list[Any]) -> Part:
        there = row_id != NEW and int(row_id) < len(start)
        entry = Place(
            name=f"{place.name}[{row_id}]",
            label=label,
            start=start[int(row_id)] if there else ABSENT,
            given=there,
            editing=there,
        )
        part = self._build(item, entry)
        if isinstance(part, Leaf):
            part.field.required = False  # an empty row is no entry
        return part

    def _entry_sent(self, item: Rule, place: Place, row_id: str, label: str) -> Part:
        """Make a row that a person added, with the rows inside it; these have a budget of their own."""
        kept = None if self._adding else self._left
        if not self._adding:
            self._adding, self._left = True, self._left_for_rows
        try:
            return self._entry(item, place, row_id, label, [])
        except NoFieldError:
            raise TooManyFieldsSent("There are more rows than a form may have.") from None
        finally:
            if kept is not None:
                self._adding, self._left, self._left_for_rows = False, kept, self._left

    def _is_untouched(self, part: Part) -> bool:
        """Tell whether a new row came back as it was shown, although something in it is required."""
        if self._sent is None or isinstance(part, Leaf):
            return False
        missing = any(one.required and one.initial in (None, "") for one in part.fields.values())
        return missing and not any(self._sent.changed(name, one) for name, one in part.fields.items())

    # Objects

    def _group(self, rule: Rule, place: Place) -> Group:
        properties = rule.properties
        start = _not_null(rule, place.start)
        if not properties or rule.conditions or not rule.required <= properties.keys():
            raise NoFieldError
        known: Any = {} if start is ABSENT else start
        if not isinstance(known, dict) or len(properties) > self._left:
            raise NoFieldError
        can_be_left_out = not place.root and (rule.nullable or not place.required)
        on = not can_be_left_out or start is not ABSENT
        sent = self._submission_of(place)
        if can_be_left_out and sent is not None:
            on = sent.has(place.name)
        switch = forms.BooleanField(label=place.label, required=False, initial=on)
        return Group(
            **_about(rule, place),
            field=switch if can_be_left_out else None,
            parts={
                key: self.part(inner, _place_within(rule, place, key, start), rule)
                for key, inner in properties.items()
            },
            kept={key: value for key, value in known.items() if key not in properties},
            order=tuple(known),
            on=on,
        )

    # Alternatives

    def _variants(self, rule: Rule, variants: tuple[Rule, ...], place: Place) -> Variants:
        start = _not_null(rule, place.start)
        ids = [str(number) for number in range(len(variants))]
        fitting = [
            one for one in ids if start is not ABSENT and _fits(variants[int(one)], start, self._rules)
        ]
        if start is not ABSENT and not fitting:
            raise NoFieldError
        chosen = fitting[0] if fitting else ""
        branches = {
            one: self._branch(variant, place, one, one == chosen)
            for one, variant in zip(ids, variants, strict=True)
        }
        sent = self._submission_of(place)
        required = _is_required(rule, place)
        choices = [(one, part.label) for one, part in branches.items()]
        chooser = forms.ChoiceField(
            label=place.label,
            required=required,
            choices=choices if required else [("", "None of these"), *choices],
            widget=forms.RadioSelect,
            initial=chosen,
        )
        return Variants(
            **_about(rule, place),
            field=chooser,
            branches=branches,
            chosen=chosen if sent is None else sent.chosen(place.name),
        )

    def _branch(self, variant: Rule, place: Place, branch_id: str, chosen: bool) -> Part:
        inner = Place(
            name=f"{place.name}<{branch_id}>",
            label=variant.title,
            start=place.start if chosen else ABSENT,
            given=chosen,
            editing=chosen,
            root=variant.type != "boolean" and not variant.options,
        )
        return self._build(variant, inner)


def _about(rule: Rule, place: Place, **about: Any) -> dict[str, Any]:
    hint, empty = rule.description, _empty(rule, place)
    return {"name": place.name, "label": place.label, "hint": hint, "empty": empty, **about}


def _leaf(rule: Rule, place: Place, field: forms.Field, **about: Any) -> Leaf:
    field.help_text = hint_of(rule)
    return Leaf(**_about(rule, place, **about), field=field)


def _place_within(rule: Rule, place: Place, key: str, start: Any) -> Place:
    """Return the place of an object's property; `start` is the object, or ABSENT."""
    known: Any = {} if start is ABSENT else start
    return Place(
        name=f"{place.name}.{key}" if is_plain_name(key) else f"{place.name}[{json.dumps(key)}]",
        label=label_of(rule.properties[key], key),
        required=key in rule.required,
        start=known.get(key, ABSENT),
        given=key in known,
        editing=start is not ABSENT,
    )


def _is_required(rule: Rule, place: Place) -> bool:
    return place.required and not rule.nullable


def _not_null(rule: Rule, start: Any) -> Any:
    """Return what a field starts from: ABSENT instead of a null that the rule allows."""
    if start is not None:
        return start
    if rule.nullable:
        return ABSENT
    raise NoFieldError


def _empty(rule: Rule, place: Place) -> Any:
    """Return the value of an empty field: null if the rule allows it and a value is expected, else ABSENT."""
    meant = place.required or place.given or place.start not in (ABSENT, None)
    return None if rule.nullable and meant else ABSENT


def _empty_list(rule: Rule, place: Place) -> Any:
    return [] if isinstance(place.start, list) or _is_required(rule, place) else _empty(rule, place)


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _fits(rule: Rule, value: Any, rules: Rules) -> bool:
    """Tell whether a value can be of this variant, by its type, its keys and its constants."""
    types: dict[str, Any] = {"object": dict, "array": list, "string": str, "boolean": bool}
    if rule.options is not None:
        return any(same(option.value, value) for option in rule.options)
    if rule.type in ("integer", "number"):
        return is_number(value)
    if not isinstance(value, types.get(rule.type, object)):
        return False
    if rule.type != "object":
        return True
    return rule.required <= value.keys() and all(
        _may_be(inner, value[key], rules, rule) for key, inner in rule.properties.items() if key in value
    )


def _may_be(schema: Any, value: Any, rules: Rules, within: Rule) -> bool:
    """Tell whether a subschema allows a value, as far as its list of options says."""
    try:
        options = rules.of(schema, within).options
    except NoFieldError:
        return True
    return options is None or any(same(option.value, value) for option in options)
