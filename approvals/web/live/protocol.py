"""The messages of a live connection: what clients may send, as the API's bodies, and what the server sends.

A frame is JSON text, `{"type": …, "ref": …, "data": {…}}`. `ref` is the client's own text or number (null:
none) and comes back in the answer. What does not fit a declared message is refused as `invalid`, with the
field at fault; what a message means is checked where it is carried out. The messages of a run's page are in
orchestration/web/run_hub.py.

Requests and outcomes are told whole, or in a summary where they are large. Whether one is large depends on
itself alone, so that events and snapshots always agree. A program reads the rest over HTTP; pages are
rendered by the server.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias, dataclass_transform

from pydantic import PlainValidator, ValidationError

from approvals import queries
from approvals.domain.lifecycle import Outcome, Status
from approvals.exceptions import ApprovalError, InvalidRequest
from approvals.web.api.schemas import AnswerBody, Body, DecisionBody
from approvals.web.api.validation import field_error
from approvals.web.pages.json_values import refuse_constant

PROTOCOL = 1

# What a client may send: the largest payload that a request may carry, and room for what stands around it.
FRAME_LIMIT = 1_048_576 + 16_384
# The bytes of requests in a frame that is sent: much less than clients take without being told to.
FRAME_BUDGET = 262_144
REF_LIMIT = 200
# The characters of JSON that a request or an outcome may take in a frame. All are ASCII: as many bytes.
LARGE = 16_384

Ref: TypeAlias = str | int | None


class Malformed(InvalidRequest):
    """The frame is not a declared message. `ref` is the client's, where it could be read."""

    def __init__(self, detail: str, *, field: str | None = None, ref: Ref = None) -> None:
        super().__init__(detail, field=field)
        self.ref = ref


# What a client says


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("must be text")  # noqa: TRY004 - what pydantic makes an error of
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else _text(value)


# Any text: what can't be an id is no malformed message, but an unknown request.
RequestId = Annotated[str, PlainValidator(_text)]
RequestIdOrNone = Annotated[str | None, PlainValidator(_text_or_none)]


class Decide(DecisionBody):
    """Approve or reject a request."""

    request_id: RequestId


class Answer(AnswerBody):
    """Answer a clarification."""

    request_id: RequestId


class Look(Body):
    """Say whose page is open, to be told of its changes once it is closed, too; null: none is."""

    request_id: RequestIdOrNone


class Ping(Body):
    """Ask for a `pong`."""


ClientMessage: TypeAlias = Decide | Answer | Look | Ping

_MESSAGES: Mapping[str, type[ClientMessage]] = {
    "decide": Decide,
    "answer": Answer,
    "look": Look,
    "ping": Ping,
}


def read(frame: str | None) -> tuple[Ref, ClientMessage]:
    """Return the ref of a text frame, and its message; None is a binary frame. Raises Malformed."""
    envelope = _envelope(frame)
    ref = _ref(envelope.pop("ref", None))
    try:
        return ref, _message(envelope)
    except Malformed as error:
        error.ref = ref
        raise


def _message(envelope: dict[str, Any]) -> ClientMessage:
    kind, data = envelope.pop("type", None), envelope.pop("data", {})
    for field in envelope:
        name = field[:REF_LIMIT]
        raise Malformed(f"{name} is not a field here.", field=name)
    if not isinstance(kind, str) or kind not in _MESSAGES:
        raise Malformed(f"type must be one of: {', '.join(_MESSAGES)}.", field="type")
    if not isinstance(data, dict):
        raise Malformed("data must be a JSON object.", field="data")
    try:
        return _MESSAGES[kind].model_validate(data)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        field, detail = field_error({**first, "loc": ("data", *first["loc"])})
        raise Malformed(detail, field=field) from None


def _envelope(frame: str | None) -> dict[str, Any]:
    if frame is None:
        raise Malformed("A frame must be text, not binary.")
    if len(frame) > FRAME_LIMIT:
        raise Malformed(f"A frame must have at most {FRAME_LIMIT:,} characters.")
    try:
        envelope = json.loads(frame, parse_constant=refuse_constant)
    except RecursionError:
        raise Malformed("The frame is nested too deeply.") from None
    except ValueError:
        raise Malformed("The frame is not valid JSON.") from None
    if not isinstance(envelope, dict):
        raise Malformed('A frame must be a JSON object {"type", "ref", "data"}.')
    return envelope


def _ref(ref: Any) -> Ref:
    if isinstance(ref, str) and len(ref) <= REF_LIMIT:
        return ref
    if ref is None or (isinstance(ref, int) and not isinstance(ref, bool) and abs(ref) < 2**53):
        return ref
    raise Malformed(f"ref must be a whole number, or text of at most {REF_LIMIT} characters.", field="ref")


# What the server says


class Json(str):
    """JSON text: encoded once, put into many frames."""

    __slots__ = ()

    @classmethod
    def of(cls, value: Any) -> Json:
        return cls(json.dumps(value, separators=(",", ":")))

    @classmethod
    def array(cls, values: Iterable[Json]) -> Json:
        return cls(f"[{','.join(values)}]")


@dataclass_transform(kw_only_default=True, frozen_default=True)
class ServerMessage:
    """Base of the server's messages, dataclasses whose fields are the data of frames with this `type`."""

    type: ClassVar[str]

    def __init_subclass__(cls, *, type: str) -> None:  # noqa: A002 - the frame's word
        cls.type = type
        dataclass(frozen=True, kw_only=True)(cls)


class Hello(ServerMessage, type="hello"):
    user: str
    protocol: int = PROTOCOL
    server_time: str | None


class Snapshot(ServerMessage, type="snapshot"):
    """All requests that this connection shows now, in parts.

    The first part replaces everything before it; one that follows a part with `more` adds to that. Events may
    come between them.
    """

    requests: Json
    more: bool


class RequestOpened(ServerMessage, type="request_opened"):
    request: Json


class RequestUpdated(ServerMessage, type="request_updated"):
    request: Json


class RequestClosed(ServerMessage, type="request_closed"):
    """The request is without its arguments: the outcome has them, as they were approved.

    It also comes for what is said about a closed request whose page is open (`look`), which no list has.
    """

    request: Json
    outcome: Json


class DecisionAccepted(ServerMessage, type="decision_accepted"):
    outcome: Json


class Error(ServerMessage, type="error"):
    code: str
    detail: str
    field: str | None = None


class LostError(Error, type=Error.type):
    """A decision that came second; `outcome` is what is on record."""

    outcome: Json


class Pong(ServerMessage, type="pong"):
    """The answer to a ping."""


def encode(message: ServerMessage, ref: Ref = None) -> str:
    data = ",".join(
        f"{Json.of(name)}:{value if isinstance(value, Json) else Json.of(value)}"
        for name, value in vars(message).items()
    )
    return f'{{"type":"{message.type}","ref":{Json.of(ref)},"data":{{{data}}}}}'


def refusal(error: ApprovalError) -> Error:
    """Return the message of an error; the one place where they are made."""
    if error.outcome is None:
        return Error(code=error.code, detail=error.detail, field=error.field)
    outcome = outcome_in_frame(error.outcome)
    return LostError(code=error.code, detail=error.detail, field=error.field, outcome=outcome)


def request_in_frame(row: Any) -> Json:
    """Return a request that `queries.fill` has filled up to LARGE.

    A closed one is without its arguments, which its outcome has.
    """
    if row.asked_whole:
        wire = queries.on_the_wire(row)
        if row.status != Status.PENDING:
            del wire["arguments"]
        whole = Json.of(wire)
        if len(whole) <= LARGE:
            return whole
    return Json.of(queries.summary_on_the_wire(row))


def outcome_of_row(row: Any) -> Json:
    """Return the outcome of a closed request that `queries.fill` has filled up to LARGE."""
    outcome = queries.outcome_of(row)
    return outcome_in_frame(outcome) if row.outcome_whole else _summary_of(outcome)


def outcome_in_frame(outcome: Outcome) -> Json:
    whole = Json.of(queries.outcome_on_the_wire(outcome))
    return whole if len(whole) <= LARGE else _summary_of(outcome)


def _summary_of(outcome: Outcome) -> Json:
    return Json.of(queries.outcome_summary_on_the_wire(outcome))
