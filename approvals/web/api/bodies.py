"""Bodies as they come in: JSON in the strict sense, bounded, and every value of it fit to be recorded."""

from __future__ import annotations

import json
from typing import Any

from django.http import HttpRequest
from django.http.request import RawPostDataException, UnreadablePostError
from ninja.parser import Parser

from approvals.domain.payloads import BYTES_LIMIT, DEPTH_LIMIT, check_json
from approvals.exceptions import InvalidRequest
from approvals.web.edge.problems import TooLarge
from approvals.web.pages.json_values import refuse_constant

# The largest payload, and room for what stands around it and for how JSON may escape it.
BODY_LIMIT = 2 * BYTES_LIMIT
# Levels that a body may have around a payload.
AROUND = 4


def read_body(request: HttpRequest) -> None:
    """Read the body before anybody else does, and no more of it than may be."""
    length = request.META.get("CONTENT_LENGTH") or ""
    if length.isdecimal() and int(length) > BODY_LIMIT:
        raise _too_large()
    try:
        body = request.read(BODY_LIMIT + 1)
    except (RawPostDataException, UnreadablePostError):
        raise InvalidRequest("The body could not be read.", field="") from None
    if len(body) > BODY_LIMIT:
        raise _too_large()
    request._body = body  # what `request.body` keeps what it read in


class StrictJson(Parser):
    """Refuses what other programs would read otherwise, or not at all."""

    def parse_body(self, request: HttpRequest) -> Any:
        media_type = request.content_type or ""
        if media_type not in ("", "application/json") and not media_type.endswith("+json"):
            raise InvalidRequest("A body is JSON: send it with `Content-Type: application/json`.", field="")
        body = _parse(request.body)
        # Django's requests are part of cycles, and would keep it until the collector finds them.
        request._body = b""
        return _copy_recordable(body)


def _too_large() -> TooLarge:
    return TooLarge(f"The body is larger than {BODY_LIMIT:,} bytes.")


def _parse(body: bytes) -> dict[str, Any]:
    try:
        value = json.loads(
            body.decode("utf-8"), parse_constant=refuse_constant, object_pairs_hook=_without_duplicates
        )
    except RecursionError:
        raise InvalidRequest("The body is nested too deeply.", field="") from None
    except UnicodeDecodeError:
        raise InvalidRequest("The body is not UTF-8.", field="") from None
    except ValueError as error:
        raise InvalidRequest(f"The body is not valid JSON: {error}.", field="") from None
    if not isinstance(value, dict):
        raise InvalidRequest("The body is a JSON object.", field="")
    return value


def _copy_recordable(body: dict[str, Any]) -> Any:
    """Return a copy, and refuse what can't be recorded: U+0000, lone surrogates, numbers beyond JSON's.

    Floats that are not stable are refused where they would be recorded: requests on record may have them, and
    are asked for again by their key.
    """
    try:
        return check_json(body, "", max_bytes=4 * BODY_LIMIT, max_depth=DEPTH_LIMIT + AROUND, stable=False)
    except InvalidRequest as error:
        field = (error.field or "").removeprefix(".")
        raise InvalidRequest(error.detail.removeprefix("."), field=field) from None


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        seen: set[str] = set()
        again = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise ValueError(f"the name {again[:100]!r} comes twice in an object")
    return names
