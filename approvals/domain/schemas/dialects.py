"""The drafts of JSON Schema that Sayso knows, each with its metaschema as one self-contained document.

The later drafts spread their metaschema over files that refer to each other by URI and by dynamic scope. As
one document with plain local references they need no registry and nothing that Sayso does not support.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

from jsonschema import validators
from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped]  # it has no annotations

from approvals.domain.payloads import FlawError

LATEST = "https://json-schema.org/draft/2020-12/schema"

_VALIDATORS: dict[str, Any] = {
    LATEST: validators.Draft202012Validator,
    "https://json-schema.org/draft/2019-09/schema": validators.Draft201909Validator,
    "http://json-schema.org/draft-07/schema": validators.Draft7Validator,
    "http://json-schema.org/draft-06/schema": validators.Draft6Validator,
    "http://json-schema.org/draft-04/schema": validators.Draft4Validator,
}

_ABOUT_THE_DOCUMENT = {"$schema", "$id", "$vocabulary", "$dynamicAnchor", "$recursiveAnchor"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One draft: the library's validator, what its metaschema describes, and how it names a document."""

    uri: str
    validator: Any = field(compare=False)
    metaschema: dict[str, Any] = field(compare=False)
    keywords: frozenset[str]
    id_keyword: str


def dialect_of(schema: dict[str, Any]) -> Dialect:
    """The draft that `$schema` names, else the latest."""
    uri = schema.get("$schema", LATEST)
    if not isinstance(uri, str) or uri.removesuffix("#") not in _VALIDATORS:
        known = ", ".join(_VALIDATORS)
        raise FlawError(f"must be one of the drafts that are known here: {known}", ["$schema"])
    return _dialect(uri.removesuffix("#"))


@cache
def _dialect(uri: str) -> Dialect:
    metaschema = _in_one_document(uri)
    return Dialect(
        uri=uri,
        validator=_VALIDATORS[uri],
        metaschema=metaschema,
        keywords=frozenset(_described_by(metaschema)),
        id_keyword="id" if uri.endswith("draft-04/schema") else "$id",
    )


def _in_one_document(uri: str) -> dict[str, Any]:
    main = REGISTRY.contents(uri)
    parts = [part["$ref"] for part in main.get("allOf", [])]
    document: dict[str, Any] = _rewritten(main, "#")
    if parts:
        document["$defs"] = {_name(part): _part(uri, part) for part in parts}
    return document


def _part(uri: str, reference: str) -> dict[str, Any]:
    contents = REGISTRY.contents(uri.removesuffix("schema") + reference)
    part = _rewritten(contents, f"#/$defs/{_name(reference)}")
    return {key: value for key, value in part.items() if key not in _ABOUT_THE_DOCUMENT}


def _rewritten(value: Any, home: str) -> Any:
    """With every reference as a pointer into the one document; `home` is where the file itself went."""
    if isinstance(value, list):
        return [_rewritten(child, home) for child in value]
    if not isinstance(value, dict):
        return value
    rewritten = {key: _rewritten(child, home) for key, child in value.items()}
    for keyword in ("$dynamicRef", "$recursiveRef"):
        if isinstance(rewritten.get(keyword), str):
            del rewritten[keyword]
            rewritten["$ref"] = "#"
    if isinstance(value.get("$ref"), str):
        rewritten["$ref"] = _pointer(value["$ref"], home)
    return rewritten


def _pointer(reference: str, home: str) -> str:
    file, _, fragment = reference.partition("#")
    return (f"#/$defs/{_name(file)}" if file else home) + fragment


def _name(reference: str) -> str:
    return reference.rpartition("/")[2]


def _described_by(metaschema: dict[str, Any]) -> set[str]:
    parts = [metaschema, *metaschema.get("$defs", {}).values()]
    return {keyword for part in parts for keyword in part.get("properties", {})}
