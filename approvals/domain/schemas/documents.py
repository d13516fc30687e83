"""A schema, read once: its subschemas, where its references lead, its patterns, and how far it unfolds.

What could make an evaluation run away is refused here, while somebody who can mend it is looking: references
that leave the document or lead back to themselves, patterns that only a backtracking engine runs, subschemas
that multiply. What depends on the value as well is bounded by the evaluation's own budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from approvals.domain.payloads import FlawError
from approvals.domain.schemas.dialects import Dialect
from approvals.domain.schemas.patterns import Pattern
from approvals.domain.schemas.terse import Object, terse

BYTES_LIMIT = 65_536
DEPTH_LIMIT = 32
SUBSCHEMAS_LIMIT = 1_000
PATTERNS_LIMIT = 100
PROGRAMS_LIMIT = 100_000
"""RE2 instructions in all patterns together."""
CHAIN_LIMIT = 32
"""Subschemas that apply to the same value, one inside or behind the other."""
UNFOLDED_LIMIT = 10_000
"""Subschemas that apply to the same value in all."""

ONE_SCHEMA = frozenset(
    [
        "additionalItems",
        "additionalProperties",
        "contains",
        "else",
        "if",
        "items",
        "not",
        "propertyNames",
        "then",
        "unevaluatedItems",
        "unevaluatedProperties",
    ]
)
MANY_SCHEMAS = frozenset(["allOf", "anyOf", "items", "oneOf", "prefixItems"])
NAMED_SCHEMAS = frozenset(
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"]
)
SAME_VALUE = frozenset(
    ["allOf", "anyOf", "dependencies", "dependentSchemas", "else", "if", "not", "oneOf", "then"]
)
"""Keywords whose subschemas apply to the very value that their own schema applies to."""

NOT_SUPPORTED = ("$dynamicRef", "$recursiveRef")

Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A schema that may be evaluated. Shared between threads, never changed."""

    dialect: Dialect
    root: Object
    subschemas: Mapping[Location, Any]
    targets: Mapping[str, Any]
    patterns: Mapping[str, Pattern]


def read(schema: dict[str, Any], dialect: Dialect) -> Document:
    """Raises FlawError at the first spot that is not supported; the metaschema has not been asked yet."""
    about = {"$schema", dialect.id_keyword}
    # With them the library would look for a validator and a base URI of its own.
    root = terse({key: value for key, value in schema.items() if key not in about})
    subschemas: dict[Location, Any] = {}
    for location, subschema in _walk(root, (), dialect.keywords):
        subschemas[location] = subschema
        _leave_out_unknown(subschema, dialect)
        if len(subschemas) > SUBSCHEMAS_LIMIT:
            raise FlawError(f"has more than {SUBSCHEMAS_LIMIT:,} subschemas")
        _check_supported(subschema, location, dialect)
    _spell_out_false(root, subschemas)
    return Document(
        dialect=dialect,
        root=root,
        subschemas=subschemas,
        targets=_targets(subschemas),
        patterns=_patterns(subschemas),
    )


def check_work(document: Document) -> None:
    """Refuses a schema whose subschemas multiply, or lead back to themselves, on one and the same value."""
    unfolding = _Unfolding(document)
    for location, subschema in document.subschemas.items():
        unfolding.size(subschema, location, 1)


def same_value(schema: Any, targets: Mapping[str, Any]) -> Iterator[Any]:
    """The subschemas that apply to the value itself, references included."""
    if not isinstance(schema, dict):
        return
    if isinstance(reference := schema.get("$ref"), str):
        yield targets[reference]
    for _, child in _children(schema, SAME_VALUE):
        yield child


class _Unfolding:
    """How many subschemas apply to one value, counting each as often as it would be evaluated."""

    def __init__(self, document: Document) -> None:
        self._targets = document.targets
        self._sizes: dict[int, int] = {}

    def size(self, schema: Any, location: Location, depth: int) -> int:
        if id(schema) in self._sizes:
            return self._sizes[id(schema)]
        if depth > CHAIN_LIMIT:
            raise FlawError(f"leads back to itself, or through more than {CHAIN_LIMIT} subschemas", location)
        inner = (self.size(child, location, depth + 1) for child in same_value(schema, self._targets))
        size = 1 + sum(inner)
        if size > UNFOLDED_LIMIT:
            raise FlawError(f"unfolds to more than {UNFOLDED_LIMIT:,} subschemas for one value", location)
        if isinstance(schema, dict):
            self._sizes[id(schema)] = size
        return size


def _walk(schema: Any, location: Location, keywords: frozenset[str]) -> Iterator[tuple[Location, Any]]:
    yield location, schema
    if isinstance(schema, dict):
        for step, child in _children(schema, keywords):
            yield from _walk(child, location + step, keywords)


def _children(schema: dict[str, Any], keywords: frozenset[str]) -> Iterator[tuple[Location, Any]]:
    """Subschemas, wherever one can be; what else is found there is the metaschema's business."""
    for keyword, value in schema.items():
        if keyword not in keywords:
            continue
        if keyword in ONE_SCHEMA and isinstance(value, dict | bool):
            yield (keyword,), value
        elif keyword in MANY_SCHEMAS and isinstance(value, list):
            yield from (((keyword, index), one) for index, one in enumerate(value) if _is_schema(one))
        elif keyword in NAMED_SCHEMAS and isinstance(value, dict):
            yield from (((keyword, name), one) for name, one in value.items() if _is_schema(one))


def _is_schema(value: Any) -> bool:
    return isinstance(value, dict | bool)


def _spell_out_false(root: Object, subschemas: dict[Location, Any]) -> None:
    """The library does not say where a plain `false` struck; a `not` that nothing fits means the same."""
    for location in [location for location, subschema in subschemas.items() if subschema is False]:
        container: Any = root
        for step in location[:-1]:
            container = container[step]
        container[location[-1]] = subschemas[location] = terse({"not": {}})


def _leave_out_unknown(schema: Any, dialect: Dialect) -> None:
    """Whatever says nothing would be looked at again for each value."""
    if isinstance(schema, dict):
        for keyword in schema.keys() - dialect.keywords - dialect.validator.VALIDATORS.keys():
            del schema[keyword]


def _check_supported(schema: Any, location: Location, dialect: Dialect) -> None:
    if not isinstance(schema, dict):
        return
    for keyword in NOT_SUPPORTED:
        if keyword in schema and keyword in dialect.validator.VALIDATORS:
            raise FlawError("is not supported: use $ref", (*location, keyword))
    for keyword in ("$schema", dialect.id_keyword):
        if keyword in schema:
            raise FlawError("is supported at the top only", (*location, keyword))


def _targets(subschemas: Mapping[Location, Any]) -> dict[str, Any]:
    by_pointer = {tuple(map(str, location)): subschema for location, subschema in subschemas.items()}
    targets: dict[str, Any] = {}
    for location, subschema in subschemas.items():
        if isinstance(subschema, dict) and "$ref" in subschema:
            reference = subschema["$ref"]
            steps = _steps(reference)
            if steps is None or steps not in by_pointer:
                raise FlawError("must lead to a subschema of this schema: #/…", (*location, "$ref"))
            targets[reference] = by_pointer[steps]
    return targets


def _steps(reference: object) -> tuple[str, ...] | None:
    """A JSON pointer in a URI fragment (RFC 6901); None for anything else, a name or another document."""
    if not isinstance(reference, str) or (reference != "#" and not reference.startswith("#/")):
        return None
    steps = unquote(reference[1:]).split("/")[1:]
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)


def _patterns(subschemas: Mapping[Location, Any]) -> dict[str, Pattern]:
    patterns: dict[str, Pattern] = {}
    for location, text in _pattern_texts(subschemas):
        if text in patterns:
            continue
        if len(patterns) == PATTERNS_LIMIT:
            raise FlawError(f"has more than {PATTERNS_LIMIT} different patterns")
        try:
            patterns[text] = Pattern(text)
        except FlawError as flaw:
            raise FlawError(flaw.rule, location) from None
        if sum(pattern.size for pattern in patterns.values()) > PROGRAMS_LIMIT:
            raise FlawError("makes the patterns too large in all", location)
    return patterns


def _pattern_texts(subschemas: Mapping[Location, Any]) -> Iterator[tuple[Location, str]]:
    for location, schema in subschemas.items():
        if not isinstance(schema, dict):
            continue
        if isinstance(text := schema.get("pattern"), str):
            yield (*location, "pattern"), text
        if isinstance(by_name := schema.get("patternProperties"), dict):
            for name in by_name:
                yield (*location, "patternProperties", name), name
