"""The drafts of JSON Schema that Sayso knows, each with its metaschema as one self-contained document.

The later drafts spread their metaschema over files that refer to each other by URI and by dynamic scope. As
one document with plain local references they need no registry and nothing that Sayso does not support.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any
from urllib.parse import urljoin

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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Dialect:
    """One draft: the library's validator, the metaschema with its keywords, and how a document is named."""

    validator: Any
    metaschema: dict[str, Any]
    keywords: frozenset[str]
    id_keyword: str


def dialect_of(schema: dict[str, Any]) -> Dialect:
    """Return the draft that `$schema` names, else the latest."""
    uri = schema.get("$schema", LATEST)
    if not isinstance(uri, str) or uri.removesuffix("#") not in _VALIDATORS:
        known = ", ".join(_VALIDATORS)
        raise FlawError(f"must be one of the drafts that are known here: {known}", ["$schema"])
    return _dialect(uri.removesuffix("#"))


@cache
def _dialect(uri: str) -> Dialect:
    metaschema = _bundle(uri)
    parts = [metaschema, *metaschema.get("$defs", {}).values()]
    return Dialect(
        validator=_VALIDATORS[uri],
        metaschema=metaschema,
        keywords=frozenset(keyword for part in parts for keyword in part.get("properties", {})),
        id_keyword="id" if uri.endswith("draft-04/schema") else "$id",
    )


def _bundle(uri: str) -> dict[str, Any]:
    """Return a draft's metaschema, with the other files that it consists of as its `$defs`."""
    main = REGISTRY.contents(uri)
    document: dict[str, Any] = _rewrite(main, "#")
    if files := [part["$ref"] for part in main.get("allOf", [])]:
        document["$defs"] = {
            _name(file): _rewrite(REGISTRY.contents(urljoin(uri, file)), f"#/$defs/{_name(file)}")
            for file in files
        }
    return document


def _rewrite(value: Any, home: str) -> Any:
    """Make every reference a pointer into the one document, where the file is found at `home`."""
    if isinstance(value, list):
        return [_rewrite(child, home) for child in value]
    if not isinstance(value, dict):
        return value
    rewritten = {key: _rewrite(child, home) for key, child in value.items()}
    for keyword in ("$schema", "$id", "$dynamicRef", "$recursiveRef"):
        # As a property's name it is beside a schema, not a text.
        if isinstance(value.get(keyword), str):
            del rewritten[keyword]
            if keyword.endswith("Ref"):
                rewritten["$ref"] = "#"
    if isinstance(value.get("$ref"), str):
        rewritten["$ref"] = _pointer(value["$ref"], home)
    return rewritten


def _pointer(reference: str, home: str) -> str:
    file, _, fragment = reference.partition("#")
    return (f"#/$defs/{_name(file)}" if file else home) + fragment


def _name(file: str) -> str:
    return file.rpartition("/")[2]
