"""What a JSON Schema says about each place of a value, as forms need it. Pure, without Django.

References and `allOf` are resolved, and `null` is kept apart from other types. Whether a value fits is not
checked here but by the decision, against the whole schema.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any, TypeAlias
from urllib.parse import unquote

from approvals.web.pages.json_values import ABSENT, is_number

Schema: TypeAlias = Mapping[str, Any]

# Keywords that a form of an object's properties can't express: no value it makes might fit.
CONDITIONS = frozenset(
    [
        *("patternProperties", "propertyNames", "minProperties", "maxProperties", "unevaluatedProperties"),
        *("if", "then", "else", "not", "dependentSchemas", "dependencies", "$dynamicRef", "$recursiveRef"),
        *("contains", "prefixItems", "unevaluatedItems"),
    ]
)
ANNOTATIONS = frozenset(
    ["title", "description", "default", "examples", "example", "deprecated", "readOnly", "writeOnly"]
)
ABOUT_THE_DOCUMENT = frozenset(["$schema", "$id", "id", "$defs", "definitions", "$comment", "$anchor"])
DEEPEST = 8
# Subschemas read for one form: `allOf` and references can make them many times as many as are written.
MOST_READ = 5_000


class NoFieldError(Exception):
    """No form field can be made for this place; it is edited as JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    value: Any
    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is said about one place. It has `options` to pick from, or `variants` with titles, or neither.

    `followed` are the references that led here: meeting one of them again means a circle.
    """

    schema: Schema
    nullable: bool = False
    options: tuple[Option, ...] | None = None
    variants: tuple[Rule, ...] | None = None
    followed: frozenset[str] = frozenset()
    depth: int = 0

    @property
    def type(self) -> str:
        """The one type that a value may have; empty if the schema does not name exactly one."""
        named = self.schema.get("type")
        if isinstance(named, str):
            return named
        return "object" if named is None and isinstance(self.schema.get("properties"), dict) else ""

    @property
    def title(self) -> str:
        return _text(self.schema.get("title"))

    @property
    def description(self) -> str:
        return _text(self.schema.get("description"))

    @property
    def default(self) -> Any:
        return self.schema.get("default", ABSENT)

    @property
    def required(self) -> frozenset[str]:
        names = self.schema.get("required")
        return frozenset(names) if isinstance(names, list) else frozenset()

    @property
    def properties(self) -> dict[str, Any]:
        """The schemas of an object's properties, by name, also if `propertyNames` lists the names."""
        properties = self.schema.get("properties")
        names, each = self.schema.get("propertyNames"), self.schema.get("additionalProperties")
        keys = names.get("enum") if isinstance(names, dict) and set(names) <= {"enum", "type"} else None
        if not properties and isinstance(each, dict) and isinstance(keys, list):
            return {key: each for key in keys if isinstance(key, str)}
        return properties if isinstance(properties, dict) else {}

    @property
    def conditions(self) -> frozenset[str]:
        """Keywords that may rule out every value that a form can make."""
        known_keys = not self.schema.get("properties") and self.properties
        return frozenset(self.schema) & CONDITIONS - ({"propertyNames"} if known_keys else set())


class Rules:
    """The rules of one schema document."""

    def __init__(self, root: Schema) -> None:
        self.root = root
        self._left = MOST_READ

    def of(self, schema: Any, within: Rule | None = None) -> Rule:
        """Read a subschema of the rule `within`. Raises NoFieldError if it is circular or no schema."""
        followed = within.followed if within else frozenset()
        depth = within.depth + 1 if within else 0
        if depth > DEEPEST:
            raise NoFieldError
        return self._rule(schema, followed, depth)

    def _rule(self, schema: Any, followed: frozenset[str], depth: int) -> Rule:
        merged, followed = self._merge(schema, followed)
        branches = merged.get("anyOf", merged.get("oneOf"))
        if isinstance(branches, list):
            outer = {key: value for key, value in merged.items() if key not in ("anyOf", "oneOf")}
            if len(merged) - len(outer) > 1:
                raise NoFieldError
            return self._alternatives(branches, outer, followed, depth)
        return _scalar(merged, followed, depth)

    def _alternatives(self, branches: list[Any], outer: Schema, followed: frozenset[str], depth: int) -> Rule:
        rules = [self._rule(branch, followed, depth) for branch in branches]
        nullable = any(rule.nullable or _is_null(rule) for rule in rules)
        rules = [rule for rule in rules if not _is_null(rule)]
        if set(outer) - ANNOTATIONS - ABOUT_THE_DOCUMENT - {"type", "discriminator"} or not rules:
            raise NoFieldError
        about = {key: value for key, value in outer.items() if key in ANNOTATIONS}
        if len(rules) == 1:
            (only,) = rules
            return replace(only, schema={**only.schema, **about}, nullable=nullable)
        every = Rule(schema=about, nullable=nullable, followed=followed, depth=depth)
        if all(rule.options is not None for rule in rules):
            options = [option for rule in rules for option in rule.options or ()]
            return replace(every, options=tuple(options))
        if [rule.type for rule in rules] == ["number", "string"]:
            # So pydantic describes a Decimal.
            number, text = (rule.schema for rule in rules)
            return replace(every, schema={**number, **text, "type": "decimal", **about})
        titles = [rule.title for rule in rules]
        if len(set(titles)) < len(titles) or not all(titles):
            titles = self._titles_by_constant(rules)
        variants = [
            replace(rule, schema={**rule.schema, "title": title})
            for rule, title in zip(rules, titles, strict=True)
        ]
        return replace(every, variants=tuple(variants))

    def _titles_by_constant(self, rules: list[Rule]) -> list[str]:
        """Find titles: a property that is another constant in each variant. Raises NoFieldError."""
        shared = set.intersection(*({*rule.properties} & rule.required for rule in rules))
        for name in sorted(shared):
            options = [self.of(rule.properties[name], rule).options or () for rule in rules]
            labels = [each[0].label for each in options if len(each) == 1]
            if len(set(labels)) == len(rules):
                return labels
        raise NoFieldError

    def _merge(self, schema: Any, followed: frozenset[str]) -> tuple[Schema, frozenset[str]]:
        """Merge the keywords of a subschema with those of its reference and of its `allOf`."""
        self._left -= 1
        if self._left < 0:
            raise NoFieldError
        if schema is True:
            return {}, followed
        if not isinstance(schema, dict):
            raise NoFieldError
        own = {key: value for key, value in schema.items() if key not in ("$ref", "allOf")}
        parts: list[Schema] = []
        if "$ref" in schema:
            reference = schema["$ref"]
            if reference in followed:
                raise NoFieldError
            target, followed = self._merge(self.target(reference), followed | {reference})
            parts.append(target)
        for part in schema.get("allOf", ()):
            merged, followed = self._merge(part, followed)
            parts.append(merged)
        return reduce(_merge_pair, [*parts, own]), followed

    def target(self, reference: Any) -> Any:
        """Look up a reference within the document. Raises NoFieldError if it leads nowhere."""
        if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
            raise NoFieldError
        target: Any = self.root
        for step in unquote(reference[1:]).split("/")[1:]:
            name = step.replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(name)] if isinstance(target, list) else target[name]
            except (KeyError, IndexError, ValueError, TypeError):
                raise NoFieldError from None
        return target


def label_of(schema: Any, name: str) -> str:
    """Return a property's label: its own title, not that of what it refers to, or else its name."""
    title = _text(schema.get("title")) if isinstance(schema, dict) else ""
    return title or name.replace("_", " ").strip().capitalize() or "(no name)"


def _scalar(schema: Schema, followed: frozenset[str], depth: int) -> Rule:
    """Read a subschema without alternatives; null among its types or options makes it nullable."""
    nullable = False
    types = schema.get("type")
    if isinstance(types, list):
        nullable = "null" in types and len(types) > 1
        types = [one for one in types if one != "null"] if nullable else types
        if len(types) != 1:
            raise NoFieldError
        schema = {**schema, "type": types[0]}
    rule = Rule(schema=schema, nullable=nullable, followed=followed, depth=depth)
    if "const" in schema:
        return replace(rule, options=(_option(schema["const"], rule.title),))
    if isinstance(schema.get("enum"), list):
        values = [value for value in schema["enum"] if value is not None] or [None]
        nullable = nullable or (None in schema["enum"] and values != [None])
        return replace(rule, nullable=nullable, options=tuple(_option(value) for value in values))
    return rule


def _option(value: Any, title: str = "") -> Option:
    if isinstance(value, bool):
        return Option(value=value, label=title or ("Yes" if value else "No"))
    return Option(
        value=value,
        label=title or (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)),
    )


def _is_null(rule: Rule) -> bool:
    return rule.type == "null" or (rule.options is not None and [one.value for one in rule.options] == [None])


def _merge_pair(one: Schema, other: Schema) -> Schema:
    """Merge two subschemas that both apply, as far as forms need it. Raises NoFieldError if it can't."""
    merged = {**one, **other}
    for keyword in one.keys() & other.keys() - ANNOTATIONS - ABOUT_THE_DOCUMENT:
        merged[keyword] = _merge_keyword(keyword, one[keyword], other[keyword])
    return merged


def _merge_keyword(keyword: str, one: Any, other: Any) -> Any:
    if one == other or keyword in {"pattern", "format"}:
        return one
    if keyword == "properties" and isinstance(one, dict) and isinstance(other, dict):
        shared = {name: {"allOf": [one[name], other[name]]} for name in one.keys() & other.keys()}
        return {**one, **other, **shared}
    if keyword == "required" and isinstance(one, list) and isinstance(other, list):
        return list(dict.fromkeys([*one, *other]))
    if keyword == "type" and sorted([str(one), str(other)]) == ["integer", "number"]:
        return "integer"
    return _narrow(keyword, one, other)


def _narrow(keyword: str, one: Any, other: Any) -> Any:
    if is_number(one) and is_number(other) and keyword.startswith(("min", "exclusiveMin")):
        return max(one, other)
    if is_number(one) and is_number(other) and keyword.startswith(("max", "exclusiveMax")):
        return min(one, other)
    if keyword == "additionalProperties" and False in (one, other):
        return False
    raise NoFieldError


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""
