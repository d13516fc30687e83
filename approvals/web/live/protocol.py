"""The messages of a live connection: declared types, read strictly, encoded once for all who get them.

A frame is JSON text, `{"type": …, "ref": …, "data": {…}}`. `ref` is the client's own text or number (null:
none) and comes back in the answer. What does not fit a declared message is refused as `invalid`, with the
field at fault; what a message means is checked where it is carried out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar, NoReturn, TypeAlias

from approvals.exceptions import ApprovalError, InvalidRequest

PROTOCOL = 1

# What a client may send: the largest payload that a request may carry, and room for what stands around it.
FRAME_LIMIT = 1_048_576 + 16_384
# The bytes of requests in a frame that is sent: much less than clients take without being told to.
FRAME_BUDGET = 262_144
REF_LIMIT = 200

Ref: TypeAlias = str | int | None


class Malformed(InvalidRequest):
    """The frame is none of the declared messages. `ref` is the client's, where it could be read."""

    def __init__(self, detail: str, *, field: str | None = None, ref: Ref = None) -> None:
        super().__init__(detail, field=field)
        self.ref = ref


# What a client says


@dataclass(frozen=True, slots=True, kw_only=True)
class Decide:
    request_id: str
    decision: str
    comment: str = ""
    arguments: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    request_id: str
    answer: Any
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ping:
    pass


ClientMessage: TypeAlias = Decide | Answer | Ping


def read(frame: str | None) -> tuple[Ref, ClientMessage]:
    """The ref of a text frame, and its message. Malformed where it is none; None is a binary frame."""
    envelope = _envelope(frame)
    ref = _ref(envelope.pop("ref", None))
    try:
        return ref, _message(envelope)
    except Malformed as error:
        error.ref = ref
        raise


def _message(envelope: dict[str, Any]) -> ClientMessage:
    kind = envelope.pop("type", None)
    data = envelope.pop("data", {})
    _refuse_unknown(envelope, "a frame")
    if not isinstance(kind, str) or kind not in _READERS:
        raise Malformed(f"A message's type is one of: {', '.join(_READERS)}.", field="type")
    if not isinstance(data, dict):
        raise Malformed("A message's data is a JSON object.", field="data")
    return _READERS[kind](data)


def _envelope(frame: str | None) -> dict[str, Any]:
    if frame is None:
        raise Malformed("A frame is text, not binary.")
    if len(frame) > FRAME_LIMIT:
        raise Malformed(f"A frame has {FRAME_LIMIT} characters at most.")
    try:
        envelope = json.loads(frame, parse_constant=_no_number)
    except RecursionError:
        raise Malformed("The frame is nested too deeply.") from None
    except ValueError:
        raise Malformed("The frame is not valid JSON.") from None
    if not isinstance(envelope, dict):
        raise Malformed('A frame is a JSON object {"type", "ref", "data"}.')
    return envelope


def _no_number(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is not JSON")


def _ref(ref: Any) -> Ref:
    if isinstance(ref, str) and len(ref) <= REF_LIMIT:
        return ref
    if ref is None or (isinstance(ref, int) and not isinstance(ref, bool) and abs(ref) < 2**53):
        return ref
    raise Malformed(f"A ref is a whole number, or text of {REF_LIMIT} characters at most.", field="ref")


def _read_decide(data: dict[str, Any]) -> Decide:
    message = Decide(
        request_id=_text(data, "request_id"),
        decision=_text(data, "decision"),
        comment=_text(data, "comment", default=""),
        arguments=_object_or_nothing(data, "arguments"),
    )
    _refuse_unknown(data, "decide")
    return message


def _read_answer(data: dict[str, Any]) -> Answer:
    if "answer" not in data:
        raise Malformed("answer is required.", field="answer")
    message = Answer(
        request_id=_text(data, "request_id"),
        answer=data.pop("answer"),
        comment=_text(data, "comment", default=""),
    )
    _refuse_unknown(data, "answer")
    return message


def _read_ping(data: dict[str, Any]) -> Ping:
    _refuse_unknown(data, "ping")
    return Ping()


_READERS: Mapping[str, Callable[[dict[str, Any]], ClientMessage]] = {
    "decide": _read_decide,
    "answer": _read_answer,
    "ping": _read_ping,
}


def _text(data: dict[str, Any], field: str, default: str | None = None) -> str:
    value = data.pop(field, default)
    if value is None:
        raise Malformed(f"{field} is required.", field=field)
    if not isinstance(value, str):
        raise Malformed(f"{field} is text.", field=field)
    return value


def _object_or_nothing(data: dict[str, Any], field: str) -> dict[str, Any] | None:
    value = data.pop(field, None)
    if value is not None and not isinstance(value, dict):
        raise Malformed(f"{field} is a JSON object.", field=field)
    return value


def _refuse_unknown(rest: Mapping[str, Any], where: str) -> None:
    for field in rest:
        name = field[:REF_LIMIT]
        raise Malformed(f"{where} has no field {name!r}.", field=name)


# What the server says


class Json(str):
    """Text that is JSON already: encoded once, put into many frames."""

    __slots__ = ()

    @classmethod
    def of(cls, value: Any) -> Json:
        return cls(json.dumps(value, separators=(",", ":")))

    @classmethod
    def array(cls, values: Iterable[Json]) -> Json:
        return cls(f"[{','.join(values)}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerMessage:
    """Base of what a server says; the fields are the frame's data."""

    type: ClassVar[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(ServerMessage):
    type: ClassVar[str] = "hello"
    user: str
    protocol: int = PROTOCOL
    server_time: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot(ServerMessage):
    """All that this connection shows now, in parts: the first replaces everything that came before it, each
    that follows one with `more` adds to it. Events may come between them."""

    type: ClassVar[str] = "snapshot"
    requests: Json
    more: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestOpened(ServerMessage):
    type: ClassVar[str] = "request_opened"
    request: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestUpdated(ServerMessage):
    type: ClassVar[str] = "request_updated"
    request: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClosed(ServerMessage):
    """The request is without its arguments: the outcome has them, as they were approved."""

    type: ClassVar[str] = "request_closed"
    request: Json
    outcome: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class DecisionAccepted(ServerMessage):
    type: ClassVar[str] = "decision_accepted"
    outcome: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Error(ServerMessage):
    type: ClassVar[str] = "error"
    code: str
    detail: str
    field: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LostError(Error):
    """Somebody or something was first: the error says what is on record."""

    outcome: Json


@dataclass(frozen=True, slots=True, kw_only=True)
class Pong(ServerMessage):
    type: ClassVar[str] = "pong"


def encode(message: ServerMessage, ref: Ref = None) -> str:
    """The text frame of this message."""
    data = ",".join(
        f"{Json.of(field.name)}:{_encoded(getattr(message, field.name))}" for field in fields(message)
    )
    return f'{{"type":"{message.type}","ref":{Json.of(ref)},"data":{{{data}}}}}'


def refusal(error: ApprovalError, outcome: Json | None = None) -> Error:
    """The one place where an error becomes a message."""
    if outcome is None:
        return Error(code=error.code, detail=error.detail, field=error.field)
    return LostError(code=error.code, detail=error.detail, field=error.field, outcome=outcome)


def _encoded(value: Any) -> Json:
    return value if isinstance(value, Json) else Json.of(value)
