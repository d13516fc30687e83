"""What is asked, as the server takes it: keys, titles, and the terms of a question."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from types import EllipsisType
from typing import Any, TypeAlias, TypedDict

from sayso_client.values import to_json

KEY_LIMIT = TITLE_LIMIT = 200

Assignees: TypeAlias = Mapping[str, Iterable[str]] | Iterable[str]


class Terms(TypedDict, total=False):
    """What an approval and a question may say besides, as `docs/api.md` of Sayso describes it.

    `assignees`: usernames, or `{"users": […], "groups": […]}`. `timeout`: seconds to the deadline, None:
    none; left out: the server's default.
    """

    details: str
    context: str
    links: Iterable[Mapping[str, str]]
    metadata: Mapping[str, str]
    group: Mapping[str, str] | None
    assignees: Assignees | None
    timeout: float | EllipsisType | None
    severity: str
    escalation: Iterable[Mapping[str, Any]]
    remind: float | None
    confidential: bool
    origin: Mapping[str, str] | None
    callback_url: str


class ApprovalTerms(Terms, total=False):
    """What only approvals say."""

    arguments: Any
    highlight: Iterable[str]
    editable: bool | Mapping[str, Any]
    required: int
    four_eyes: bool
    decisions: Iterable[str]
    reason_required: bool
    on_timeout: str


class QuestionTerms(Terms, total=False):
    """What only questions for an answer say."""

    choices: Iterable[str] | Mapping[str, str] | None
    multiple: bool
    schema: Mapping[str, Any] | None
    default: Any


def key_of(*parts: object) -> str:
    """Return a key of these parts, of at most 200 characters: long ones end with a hash of the whole.

    Keys hold for ever: name the run *and* the call, since a second, equal call is a new question.
    """
    key = ":".join(str(part) for part in parts)
    if len(key) <= KEY_LIMIT:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()
    return f"{key[: KEY_LIMIT - len(digest) - 1]}:{digest}"


def title_of(text: str) -> str:
    """Return the text as a title: in one line, cut at 200 characters with an ellipsis."""
    line = " ".join(text.split())
    return line if len(line) <= TITLE_LIMIT else f"{line[: TITLE_LIMIT - 1]}…"


def title_of_call(name: str, arguments: Mapping[str, Any]) -> str:
    """Return a title for a tool's call: its name and arguments, cut as `title_of` cuts, all of it visible."""
    shown = ", ".join(f"{each}={json.dumps(value, ensure_ascii=False)}" for each, value in arguments.items())
    return title_of(visible(f"{name}({shown})"))


def visible(text: str) -> str:
    """Return the text with characters that can't be seen, line ends too, as escapes."""
    return "".join(each if each.isprintable() else ascii(each)[1:-1] for each in text)


def body_of(kind: str, title: str, key: str, terms: Mapping[str, Any]) -> dict[str, Any]:
    """Return the body of POST /requests; UnfitValue for what is no JSON."""
    said = {name: value for name, value in terms.items() if not isinstance(value, EllipsisType)}
    assignees = said.pop("assignees", None)
    for name in ("origin", "group", "choices", "schema"):
        if name in said and said[name] is None:
            del said[name]
    if said.get("arguments", "") is None:
        del said["arguments"]
    for name in ("choices", "highlight", "links", "escalation", "decisions"):
        if name in said and not isinstance(said[name], Mapping | str):
            said[name] = list(said[name])
    body = {name: to_json(value, name) for name, value in said.items()}
    if assignees is not None:
        body["assignees"] = _assignees(assignees)
    return {"kind": kind, "title": title, "key": key, **body}


def _assignees(named: Assignees) -> dict[str, Any]:
    if isinstance(named, Mapping):
        return {name: value if isinstance(value, bool) else list(value) for name, value in named.items()}
    return {"users": [named] if isinstance(named, str) else list(named)}
