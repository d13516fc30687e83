"""The API's errors as RFC 9457 problems: the one place where a code becomes an HTTP status.

Any error with `code`, `detail` and `field` can be one, those of `orchestration` too.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, Protocol

from django.http import HttpResponse
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict

from approvals.domain.lifecycle import Outcome
from approvals.exceptions import ApprovalError, InvalidRequest, KeyConflict, QuotaExceeded
from approvals.process import telemetry
from approvals.queries import outcome_on_the_wire
from approvals.web.api.wire import OUTCOME_EXAMPLE, OutcomeOnTheWire

MEDIA_TYPE = "application/problem+json"

# The status of each code, and its meaning for the documentation.
_CODES: Mapping[str, tuple[int, str]] = {
    "unauthenticated": (401, "No valid token, and no valid session."),
    "not_permitted": (
        403,
        "You may see it, but not do this; or the token lacks the scope, the call a CSRF token.",
    ),
    "unknown_request": (404, "There is no such request, or you may not see it."),
    "unknown_delegation": (404, "There is no such delegation, or it is not yours to end."),
    "unknown_run": (404, "There is no such run, or you may not see it."),
    "not_found": (404, "There is nothing at this address."),
    "method_not_allowed": (405, "The address does not take this method; see `Allow`."),
    "already_decided": (
        409,
        "It was decided before, or you have voted otherwise; `outcome` is what is on record.",
    ),
    "already_finished": (409, "The run has ended."),
    "too_late": (
        409,
        (
            "The deadline had passed, or, for a comment, the request was closed more than 30 days ago;"
            " `outcome` is what is on record."
        ),
    ),
    "key_conflict": (
        409,
        (
            "The same key was used for something else; nothing was opened. Of a request, `id` names it,"
            " `outcome` says what has come of it, and `differs` which fields are others."
        ),
    ),
    "link_dead": (410, "The link in a message decides nothing any more; the text says why."),
    "link_used": (410, "The link in a message has decided before, which it does once."),
    "too_large": (413, "The body is larger than may be sent."),
    "invalid": (422, "What was sent breaks a rule; `errors` names each field at fault."),
    "rate_limited": (429, "Too many requests, or comments; see `Retry-After`."),
    "quota_exceeded": (429, "You have as many requests pending as one account may have; nothing was opened."),
    "internal": (500, "An error of this installation; its log has the details."),
    "busy": (503, "Too much is queued. Nothing was recorded; see `Retry-After`."),
    "unavailable": (503, "The database does not answer. Repeating is safe; see `Retry-After`."),
}
STATUSES = {code: HTTPStatus(status) for code, (status, _) in _CODES.items()}
MEANINGS = {code: meaning for code, (_, meaning) in _CODES.items()}

# Problems of these codes name fields of the body.
_OF_FIELDS = ("invalid", "key_conflict")
# Problems of these codes have the outcome that is on record.
_WITH_OUTCOME = ("already_decided", "too_late", "key_conflict")

# The codes that every operation may answer with.
_ALWAYS = ("rate_limited", "internal", "busy", "unavailable")

_HEADERS: Mapping[HTTPStatus, Mapping[str, str]] = {
    HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": 'Bearer realm="Sayso"'},
    HTTPStatus.TOO_MANY_REQUESTS: {"Retry-After": "1"},
    HTTPStatus.SERVICE_UNAVAILABLE: {"Retry-After": "2"},
}
_TEXT = {"schema": {"type": "string"}}


class FieldError(BaseModel):
    """One field at fault."""

    field: str = Field(description="Its path: `arguments.items[3]`. Empty: the body as a whole.")
    message: str


PROBLEM_EXAMPLE: JsonDict = {
    "type": "about:blank",
    "title": "Unprocessable Entity",
    "status": 422,
    "detail": "title is required.",
    "code": "invalid",
    "errors": [{"field": "title", "message": "title is required."}],
}


class Problem(BaseModel):
    """An RFC 9457 problem. `code` is stable: match on it, never on texts."""

    model_config = ConfigDict(json_schema_extra={"examples": [PROBLEM_EXAMPLE]})

    type: str
    title: str
    status: int
    detail: str
    code: str = Field(json_schema_extra={"enum": list(STATUSES)})
    errors: list[FieldError] | None = Field(
        default=None, description="Each field at fault; only where fields are."
    )
    outcome: OutcomeOnTheWire | None = Field(
        default=None,
        description="What is on record; only with `already_decided`, `too_late` and `key_conflict`.",
    )
    id: str | None = Field(
        default=None, description="The request that has the key; only with `key_conflict`."
    )
    differs: list[str] | None = Field(
        default=None, description="The fields that it has otherwise; only with `key_conflict`."
    )


class Refusal(Protocol):
    """An error that a problem can be made of."""

    code: str
    detail: str
    field: str | None


class Unauthenticated(ApprovalError):
    """No valid credentials, or they have expired or been revoked."""

    code = "unauthenticated"


class TooLarge(ApprovalError):
    code = "too_large"


class InvalidFields(InvalidRequest):
    """Several fields break their rules; `errors` has each with its message."""

    def __init__(self, errors: Iterable[tuple[str, str]]) -> None:
        self.errors = tuple(errors)
        field, message = self.errors[0]
        super().__init__(message, field=field)


def problem_of(error: Refusal) -> HttpResponse:
    """Return the problem of this error, with Retry-After where the error knows it."""
    response = _response(error.code, contents_of(error))
    if retry_after := getattr(error, "retry_after", None):
        response["Retry-After"] = str(retry_after)
    return response


def problem(code: str, detail: str) -> HttpResponse:
    return _response(code, {"code": code, "detail": detail})


def described(summary: str, *codes: str, **more: Any) -> dict[str, Any]:
    """Return what documents an operation: a summary, and its problems: these, and those of all operations."""
    by_status: dict[HTTPStatus, list[str]] = {}
    for code in ("unauthenticated", "not_permitted", "invalid", *codes, *_ALWAYS):
        by_status.setdefault(STATUSES[code], []).append(code)
    responses = {
        status.value: {
            "description": " ".join(f"`{code}`: {MEANINGS[code]}" for code in codes),
            "headers": dict.fromkeys(_HEADERS.get(status, {}), _TEXT),
            "content": {
                MEDIA_TYPE: {
                    "schema": {"$ref": "#/components/schemas/Problem"},
                    "examples": {code: {"value": _example(code)} for code in codes},
                }
            },
        }
        for status, codes in sorted(by_status.items())
    }
    return {"summary": summary, "openapi_extra": {"responses": responses, **more}}


def _example(code: str) -> dict[str, Any]:
    contents: dict[str, Any] = {"code": code, "detail": MEANINGS[code]}
    if code == "invalid":
        message = "arguments.items[3] is not a finite number."
        contents |= {"detail": message, "errors": [{"field": "arguments.items[3]", "message": message}]}
    if code in _WITH_OUTCOME:
        contents["outcome"] = OUTCOME_EXAMPLE
    if code == KeyConflict.code:
        contents |= {"id": OUTCOME_EXAMPLE["request_id"], "differs": ["arguments"]}
    return _body(code, contents)


def contents_of(error: Refusal) -> dict[str, Any]:
    """Return the members of a problem that depend on the error, for use inside another answer."""
    contents: dict[str, Any] = {"code": error.code, "detail": error.detail}
    errors = getattr(error, "errors", None) or [(error.field, error.detail)]
    if error.code in _OF_FIELDS and errors[0][0] is not None:
        contents["errors"] = [{"field": field, "message": message} for field, message in errors]
    outcome: Outcome | None = getattr(error, "outcome", None)
    if outcome is not None and error.code in _WITH_OUTCOME:
        contents["outcome"] = outcome_on_the_wire(outcome)
    if isinstance(error, KeyConflict):
        contents |= {"id": error.request_id, "differs": list(error.differs)}
    return contents


def _response(code: str, contents: Mapping[str, Any]) -> HttpResponse:
    status = STATUSES[code]
    telemetry.http_refusals.labels(code).inc()
    return HttpResponse(
        json.dumps(_body(code, contents)),
        content_type=MEDIA_TYPE,
        status=status,
        headers=None if code == QuotaExceeded.code else _HEADERS.get(status),
    )


def _body(code: str, contents: Mapping[str, Any]) -> dict[str, Any]:
    status = STATUSES[code]
    return {"type": "about:blank", "title": status.phrase, "status": status.value, **contents}
