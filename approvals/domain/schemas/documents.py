"""Read a schema once: its subschemas, where its references lead, its patterns, and how many apply at once.

Refused here, at the call that brings the schema, is what would make every evaluation run away: references
that leave the document or lead back to themselves, patterns that only a backtracking engine runs, subschemas
that multiply. Work that depends on the value, too, is bounded by the evaluation's budget.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from approvals.domain.payloads import FlawError
from approvals.domain.schemas.dialects import Dialect
from approvals.domain.schemas.patterns import Pattern
from approvals.domain.schemas.values import Object, prepare

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

_CONDITIONS = frozenset(["else", "if", "not", "then"])
_OF_PARTS = frozenset(["additionalItems", "additionalProperties", "contains", "items", "propertyNames"])
ONE_SCHEMA = _CONDITIONS | _OF_PARTS | {"unevaluatedItems", "unevaluatedProperties"}
MANY_SCHEMAS = frozenset(["allOf", "anyOf", "items", "oneOf", "prefixItems"])
NAMED_SCHEMAS = frozenset(
    ["$defs", "definitions", "dependencies", "dependentSchemas", "patternProperties", "properties"]
)
SAME_VALUE = _CONDITIONS | {"allOf", "anyOf", "dependencies", "dependentSchemas", "oneOf"}
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


def read_document(schema: dict[str, Any], dialect: Dialect) -> Document:
    """Read a schema for evaluation, before or after it is checked against the metaschema.

    Raises FlawError at the first spot that is not supported.
    """
    about = {"$schema", dialect.id_keyword}
    # With them the library would look for a validator and a base URI of its own.
    root = prepare({key: value for key, value in schema.items() if key not in about})
    subschemas: dict[Location, Any] = {}
    for location, subschema in _walk(root, (), dialect.keywords):
        subschemas[location] = subschema
        if len(subschemas) > SUBSCHEMAS_LIMIT:
            raise FlawError(f"has more than {SUBSCHEMAS_LIMIT:,} subschemas")
        if isinstance(subschema, dict):
            _remove_unknown(subschema, dialect)
            _check_supported(subschema, location, dialect)
    _replace_false(root, subschemas)
    return Document(
        dialect=dialect,
        root=root,
        subschemas=subschemas,
        targets=_targets(subschemas),
        patterns=_compile_patterns(subschemas),
    )


def check_work(document: Document) -> None:
    """Refuse a schema whose subschemas multiply, or lead back to themselves, on one and the same value."""
    sizes: dict[int, int] = {}
    for location, subschema in document.subschemas.items():
        _unfolded_size(document, subschema, location, 1, sizes)


def _unfolded_size(
    document: Document, schema: Any, location: Location, depth: int, sizes: dict[int, int]
) -> int:
    """Count the subschemas that apply to one value, each as often as it would be evaluated.

    `sizes` has the counts that are known already, by the subschema's identity.
    """
    if id(schema) in sizes:
        return sizes[id(schema)]
    if depth > CHAIN_LIMIT:
        raise FlawError(f"leads back to itself, or through more than {CHAIN_LIMIT} subschemas", location)
    if not isinstance(schema, dict):
        return 1
    inner = [child for _, child in _children(schema, SAME_VALUE)]
    if isinstance(reference := schema.get("$ref"), str):
        inner.insert(0, document.targets[reference])
    size = 1 + sum(_unfolded_size(document, child, location, depth + 1, sizes) for child in inner)
    if size > UNFOLDED_LIMIT:
        raise FlawError(f"unfolds to more than {UNFOLDED_LIMIT:,} subschemas for one value", location)
    sizes[id(schema)] = size
    return size


def _walk(schema: Any, location: Location, keywords: frozenset[str]) -> Iterator[tuple[Location, Any]]:
    yield location, schema
    if isinstance(schema, dict):
        for step, child in _children(schema, keywords):
            yield from _walk(child, location + step, keywords)


def _children(schema: dict[str, Any], keywords: frozenset[str]) -> Iterator[tuple[Location, Any]]:
    """Yield the subschemas under some keywords. Whatever else stands there, the metaschema refuses."""
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


def _replace_false(root: Object, subschemas: dict[Location, Any]) -> None:
    """Write each `false` as a `not` that nothing fits, for the library doesn't say where a `false` failed."""
    for location in [location for location, subschema in subschemas.items() if subschema is False]:
        container: Any = root
        for step in location[:-1]:
            container = container[step]
        container[location[-1]] = subschemas[location] = prepare({"not": {}})


def _remove_unknown(schema: dict[str, Any], dialect: Dialect) -> None:
    """Remove keywords that say nothing: each would be looked at again for each value."""
    for keyword in schema.keys() - dialect.keywords - dialect.validator.VALIDATORS.keys():
        del schema[keyword]


def _check_supported(schema: dict[str, Any], location: Location, dialect: Dialect) -> None:
    for keyword in NOT_SUPPORTED:
        if keyword in schema and keyword in dialect.validator.VALIDATORS:
            raise FlawError("is not supported: use $ref", (*location, keyword))
    for keyword in ("$schema", dialect.id_keyword):
        if keyword in schema:
            raise FlawError("is supported at the top only", (*location, keyword))


def _targets(subschemas: Mapping[Location, Any]) -> dict[str, Any]:
    """Return the subschema that each reference leads to."""
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
    """Split a JSON pointer in a URI fragment (RFC 6901). None for a name or another document."""
    if not isinstance(reference, str) or (reference != "#" and not reference.startswith("#/")):
        return None
    steps = unquote(reference[1:]).split("/")[1:]
    return tuple(step.replace("~1", "/").replace("~0", "~") for step in steps)


def _compile_patterns(subschemas: Mapping[Location, Any]) -> dict[str, Pattern]:
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
