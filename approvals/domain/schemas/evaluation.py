"""Check a value against a schema: the `jsonschema` library, with bounds on its work.

The library searches patterns with `re`, compares every pair of entries for `uniqueItems`, collects every
failure of every alternative, looks references up in a registry, and lets a small schema multiply its work on
a small value without end. Here patterns run on RE2, only the first failure of an alternative is kept,
references lead to subschemas found beforehand, and each keyword pays out of a budget before it starts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextvars import ContextVar
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from typing import Any

from jsonschema import validators
from jsonschema.exceptions import ValidationError
from referencing import Registry

from approvals.domain.payloads import FlawError, canonical
from approvals.domain.schemas.dialects import Dialect
from approvals.domain.schemas.documents import Document
from approvals.domain.schemas.formats import FORMATS
from approvals.domain.schemas.messages import abbreviate
from approvals.domain.schemas.values import prepare, weight

BUDGET = 800_000
"""Steps that one evaluation may take. Each takes about a microsecond at most, so that the most expensive one
takes about a second; what counts is their number, which is the same on every machine."""

KEYWORD = 2
DESCENT = 5
"""Applying a subschema to a value, beside what its keywords cost."""
FAILURE = 6
"""Reporting that an alternative does not fit, and as much again for each level that passes it on."""

Keyword = Callable[[Any, Any, Any, Any], Iterator[ValidationError] | None]


@dataclass(slots=True)
class Evaluation:
    """Checks values against one schema; counts the steps that this has taken, of those that it may take."""

    document: Document
    budget: int = BUDGET
    spent: int = 0

    def first_error(self, value: Any) -> ValidationError | None:
        """Return the first failure in the schema's own order, None where the value fits.

        Raises FlawError where finding out takes more than the budget, or more nesting than the stack holds.
        """
        validator = _validator_of(self.document.dialect)
        checking = validator(self.document.root, format_checker=FORMATS, registry=Registry())
        current = _current.set(self)
        try:
            return next(checking.iter_errors(prepare(value)), None)
        except RecursionError:
            raise FlawError("is nested too deeply to be checked against the schema") from None
        finally:
            _current.reset(current)

    def finds(self, pattern: str, text: str) -> bool:
        """Tell whether a pattern of the schema matches somewhere in the text."""
        compiled = self.document.patterns[pattern]
        self.spend(compiled.price(text))
        return compiled.found_in(text)

    def spend(self, steps: int) -> None:
        """Count steps before they are taken. Raises FlawError where they would exceed the budget."""
        self.spent += steps
        if self.spent > self.budget:
            raise FlawError(
                f"takes too much work to be checked against the schema: more than {self.budget:,} steps"
            )


# Keyword functions get the library's validator, which cannot carry anything of ours.
_current: ContextVar[Evaluation] = ContextVar("current")


@cache
def _validator_of(dialect: Dialect) -> Any:
    library: Mapping[str, Keyword] = dialect.validator.VALIDATORS
    keywords = {name: _OWN.get(name, function) for name, function in library.items()}
    priced = {name: _with_price(name, function) for name, function in keywords.items()}
    return validators.extend(dialect.validator, priced)  # type: ignore[no-untyped-call]  # as the stubs have it


def _with_price(name: str, function: Keyword) -> Keyword:
    price = _PRICES.get(name)

    def check(validator: Any, value: Any, instance: Any, schema: Any) -> Iterator[ValidationError] | None:
        _current.get().spend(KEYWORD + (price(value, instance) if price else 0))
        return function(validator, value, instance, schema)

    return check


# --- What keywords cost, beside the call, and beside what their subschemas pay themselves ---


def _size(value: Any) -> int:
    return len(value) if isinstance(value, list | dict) else 1


def _each_branch(value: Any, _: Any) -> int:
    return DESCENT * _size(value)


def _each_entry(_: Any, instance: Any) -> int:
    return DESCENT * _size(instance)


def _each_named(value: Any, instance: Any) -> int:
    """Count a look for each name, and a descent for each that is there."""
    return _size(value) + DESCENT * min(_size(value), _size(instance))


_PRICES: dict[str, Callable[[Any, Any], int]] = {
    **dict.fromkeys(["$ref", "if", "not"], lambda _, __: DESCENT),
    **dict.fromkeys(["allOf", "anyOf", "oneOf", "prefixItems"], _each_branch),
    **dict.fromkeys(["additionalItems", "additionalProperties", "contains", "items"], _each_entry),
    **dict.fromkeys(["propertyNames", "unevaluatedItems", "unevaluatedProperties"], _each_entry),
    **dict.fromkeys(["dependentSchemas", "properties"], _each_named),
    "dependencies": lambda value, instance: weight(value) + _each_named(value, instance),
    "required": lambda value, _: _size(value),
    **dict.fromkeys(["const", "enum", "dependentRequired"], lambda value, _: weight(value)),
    "format": lambda _, instance: DESCENT + weight(instance),
    "multipleOf": lambda _, __: 2 * DESCENT,
    # Each entry is written out, in the form that equal ones share.
    "uniqueItems": lambda _, instance: 2 * weight(instance),
}


# --- Keywords of our own ---


def _ref(validator: Any, reference: str, instance: Any, _: Any) -> Iterator[ValidationError]:
    yield from validator.descend(instance, _current.get().document.targets[reference])


def _pattern(_: Any, pattern: str, instance: Any, __: Any) -> Iterator[ValidationError]:
    if isinstance(instance, str) and not _current.get().finds(pattern, instance):
        yield ValidationError("does not match")


def _pattern_properties(
    validator: Any, rules: dict[str, Any], instance: Any, _: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for pattern, rule in rules.items():
        for name, value in instance.items():
            if _current.get().finds(pattern, name):
                yield from validator.descend(value, rule, path=name)


def _additional_properties(
    validator: Any, rule: Any, instance: Any, schema: Any
) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for name, value in instance.items():
        if not _describes(schema, name):
            yield from validator.descend(value, rule, path=name)


def _property_names(validator: Any, rule: Any, instance: Any, _: Any) -> Iterator[ValidationError]:
    if not isinstance(instance, dict):
        return
    for name in instance:
        if _first_failure(validator, name, rule) is not None:
            yield ValidationError("has a name that is not allowed", path=[name])


def _multiple_of(_: Any, step: float, instance: Any, __: Any) -> Iterator[ValidationError]:
    """Compare the numbers as they are written: 19.99 is a multiple of 0.01, though not in binary."""
    if isinstance(instance, bool) or not isinstance(instance, int | float):
        return
    if Fraction(str(instance)) % Fraction(str(step)):
        yield ValidationError("is no multiple")


def _dependencies(
    validator: Any, dependencies: dict[str, Any], instance: Any, _: Any
) -> Iterator[ValidationError]:
    """Require other names beside a name, or, in the earlier drafts, apply a schema where it is there."""
    if not isinstance(instance, dict):
        return
    for name, needed in dependencies.items():
        if name not in instance:
            continue
        if not isinstance(needed, list):
            yield from validator.descend(instance, needed)
            continue
        for companion in needed:
            if companion not in instance:
                yield ValidationError(f"is missing: {abbreviate(name)} needs it", path=[companion])


def _unique_items(_: Any, wanted: bool, instance: Any, __: Any) -> Iterator[ValidationError]:
    """Compare canonical texts, in which equal JSON is equal: a set finds what comparing all pairs would."""
    if wanted and isinstance(instance, list) and len({canonical(one) for one in instance}) < len(instance):
        yield ValidationError("has equal entries")


def _alternatives(enough: int) -> Keyword:
    """Make `anyOf`, which one fitting branch ends, or `oneOf`, which a second one ends and lets fail."""

    def check(validator: Any, branches: list[Any], instance: Any, _: Any) -> Iterator[ValidationError]:
        fitting, failures = 0, []
        for branch in branches:
            failure = _first_failure(validator, instance, branch)
            if failure is not None:
                failures.append(failure)
            elif (fitting := fitting + 1) == enough:
                break
        if not fitting:
            yield ValidationError("fits none of the alternatives", context=failures)
        if fitting > 1:
            yield ValidationError("fits more than one of the alternatives, and must fit exactly one")

    return check


def _first_failure(validator: Any, instance: Any, schema: Any) -> ValidationError | None:
    failure: ValidationError | None = next(validator.descend(instance, schema), None)
    if failure is not None:
        _current.get().spend(FAILURE * (1 + len(failure.relative_schema_path)))
    return failure


def _describes(schema: dict[str, Any], name: str) -> bool:
    """Tell whether the schema itself, without its parts, says anything about a property of this name."""
    return name in schema.get("properties", ()) or any(
        _current.get().finds(pattern, name) for pattern in schema.get("patternProperties", ())
    )


# --- What has been evaluated, for `unevaluatedProperties` and `unevaluatedItems` ---

_Directly = Callable[[Any, Any, dict[str, Any]], set[Any]]


def _unevaluated(keyword: str, kind: type[Any], directly: _Directly) -> Keyword:
    def check(validator: Any, rule: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
        if not isinstance(instance, kind):
            return
        others = {other: value for other, value in schema.items() if other != keyword}
        evaluated = _evaluated(validator, instance, others, directly)
        for part in instance if kind is dict else range(len(instance)):
            if part not in evaluated:
                yield from validator.descend(instance[part], rule, path=part)

    return check


def _evaluated(validator: Any, instance: Any, schema: Any, directly: _Directly) -> set[Any]:
    """Return the names or indexes that the schema describes, or a subschema of it that the value fits."""
    if not isinstance(schema, dict):
        return set()
    _current.get().spend(1 + len(instance))
    evaluated = directly(validator, instance, schema)
    for subschema in _fitting_parts(validator, instance, schema):
        evaluated |= _evaluated(validator, instance, subschema, directly)
    return evaluated


def _fitting_parts(validator: Any, instance: Any, schema: dict[str, Any]) -> Iterator[Any]:
    """Yield the subschemas applied to the same value (`$ref`, `allOf`, …) that it is valid against."""
    if "$ref" in schema:
        yield _current.get().document.targets[schema["$ref"]]
    for keyword in ("allOf", "anyOf", "oneOf"):
        for branch in schema.get(keyword, ()):
            if _first_failure(validator, instance, branch) is None:
                yield branch
    for name, dependent in schema.get("dependentSchemas", {}).items():
        if isinstance(instance, dict) and name in instance:
            yield dependent
    if "if" in schema:
        if _first_failure(validator, instance, schema["if"]) is None:
            yield schema["if"]
            yield schema.get("then", True)
        else:
            yield schema.get("else", True)


def _evaluated_names(_: Any, instance: dict[str, Any], schema: dict[str, Any]) -> set[str]:
    if "additionalProperties" in schema or "unevaluatedProperties" in schema:
        return set(instance)
    return {name for name in instance if _describes(schema, name)}


def _evaluated_indexes(validator: Any, instance: list[Any], schema: dict[str, Any]) -> set[int]:
    items = schema.get("items")
    if "unevaluatedItems" in schema or isinstance(items, dict | bool):
        return set(range(len(instance)))
    if isinstance(items, list):
        return set(range(len(instance) if "additionalItems" in schema else len(items)))
    evaluated = set(range(len(schema.get("prefixItems", ()))))
    if "contains" in schema and "prefixItems" in validator.VALIDATORS:
        evaluated |= {
            index
            for index, one in enumerate(instance)
            if _first_failure(validator, one, schema["contains"]) is None
        }
    return evaluated


_OWN: dict[str, Keyword] = {
    "$ref": _ref,
    "pattern": _pattern,
    "patternProperties": _pattern_properties,
    "additionalProperties": _additional_properties,
    "propertyNames": _property_names,
    "multipleOf": _multiple_of,
    "dependencies": _dependencies,
    "dependentRequired": _dependencies,
    "uniqueItems": _unique_items,
    "anyOf": _alternatives(1),
    "oneOf": _alternatives(2),
    "unevaluatedProperties": _unevaluated("unevaluatedProperties", dict, _evaluated_names),
    "unevaluatedItems": _unevaluated("unevaluatedItems", list, _evaluated_indexes),
}
