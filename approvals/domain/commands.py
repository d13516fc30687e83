"""What the writer may be told, and what it answers. Values only; nothing here acts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, TypeAlias
from uuid import UUID

from approvals.domain.lifecycle import Kind, Outcome, Verdict
from approvals.domain.request_terms import RequestTerms


class Channel(StrEnum):
    """Where a command came from; kept with every trail entry."""

    ADMIN = "admin"
    PAGE = "page"
    WEBSOCKET = "websocket"
    API = "api"
    LINK = "link"
    COMMAND = "command"
    RULE = "rule"
    DEADLINE = "deadline"
    PROGRAM = "program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts, through which channel, from where.

    `user_id` None is this installation's own code, which is trusted; only code can make such an actor.
    `address` is the peer's IP address where there is a peer; `token_id` the API token that was shown;
    `link_id` the notification whose personal link was opened, which decides once.
    """

    user_id: int | None
    channel: Channel
    address: str | None = None
    user_agent: str = ""
    token_id: UUID | None = None
    link_id: UUID | None = None

    @classmethod
    def program(cls) -> Actor:
        return cls(user_id=None, channel=Channel.PROGRAM)


# Why a removal is refused.
ALTERED = "altered"
STILL_NEEDED = "still_needed"

DEADLINE = Actor(user_id=None, channel=Channel.DEADLINE)
RULE = Actor(user_id=None, channel=Channel.RULE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """The latest request that was asked under this key, for those who know no id."""

    key_scope: str
    key: str


Reference: TypeAlias = UUID | Keyed


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenRequest(RequestTerms):
    """Ask for what the terms say.

    The id is the caller's, so that asking again after a lost answer finds the same request. `timeout` is in
    seconds from the moment of recording. A `key` re-attaches to what it asked before in its `key_scope`, if
    that is the same question; `new_round` opens anew where that is closed, `asked_since` where it is closed
    and was asked before that moment. `named` are the assignees as the asker named them, `named_four_eyes`
    four eyes as the asker asked for them, where that is not what holds. `fingerprint` and
    `former_fingerprint` are what the question hashes to now and before (approvals.domain.questions).
    `override` says by whose word others decide than the asker named, for the trail. `counted_bytes` is what
    the request counts while it is pending against what its requester may ask over HTTP; 0: it is not
    counted.
    """

    request_id: UUID
    actor: Actor
    kind: Kind
    key_scope: str = ""
    new_round: bool = False
    asked_since: datetime | None = None
    named: Any = None
    fingerprint: str = ""
    former_fingerprint: str = ""
    counted_bytes: int = 0
    named_four_eyes: bool | None = None
    override: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """Vote on an approval; `arguments` are the edited ones, None: as asked."""

    request_id: Reference
    actor: Actor
    verdict: Verdict
    comment: str = ""
    arguments: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Answer a clarification; `answer` has been checked against the request's choices or schema."""

    request_id: Reference
    actor: Actor
    answer: Any
    comment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expire:
    """Record the timeout if the deadline has passed; otherwise nothing happens."""

    request_id: UUID
    actor: Actor = DEADLINE


@dataclass(frozen=True, slots=True, kw_only=True)
class Withdraw:
    """Take the question back.

    `by_origin`: the actor has ended what asked it, such as a run, and needs no right to the request.
    """

    request_id: Reference
    actor: Actor
    reason: str = ""
    by_origin: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Reassign:
    """Let others decide, instead of those who were named before."""

    request_id: Reference
    actor: Actor
    user_ids: tuple[int, ...] = ()
    group_ids: tuple[int, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Escalate:
    """Let those decide whom this step of the request's escalation names, if it is due; else nothing happens.

    Steps are counted from 0.
    """

    request_id: UUID
    step: int
    actor: Actor = RULE


@dataclass(frozen=True, slots=True, kw_only=True)
class Comment:
    """Say something about a request, or ask something back; its outcome stays as it is.

    `reply_to` is the number of the entry that asked, where a program replies to it, which it does once.
    """

    request_id: UUID
    actor: Actor
    text: str
    question: bool = False
    reply_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """The actor looked at the request's page; recorded once an actor and request."""

    request_id: UUID
    actor: Actor


@dataclass(frozen=True, slots=True, kw_only=True)
class Misuse:
    """The actor, who is logged in, pressed a button on the page of the personal link of another account.

    It decides nothing, and is refused; `link_of` is that account.
    """

    request_id: UUID
    actor: Actor
    link_of: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Reschedule:
    """Put the deadline `timeout` seconds from now; only the first one of a request counts."""

    request_id: Reference
    actor: Actor
    timeout: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Purge:
    """Take away what a closed request asked, and what was shown and said about it before that moment."""

    request_id: UUID
    actor: Actor
    before: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Forget:
    """Take away the name and the words of one person from a request; what was asked stays.

    While it is pending, only what does not count: that the person looked at it, handed it on, was refused.
    """

    request_id: UUID
    actor: Actor
    user_id: int


Removal: TypeAlias = Purge | Forget
Command: TypeAlias = (
    OpenRequest
    | Decision
    | Answer
    | Expire
    | Withdraw
    | Reassign
    | Escalate
    | Comment
    | View
    | Misuse
    | Reschedule
    | Removal
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Accepted:
    """It is on record; `changed` is false where it already was."""

    outcome: Outcome
    changed: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """It was refused, for the reason `code` (see approvals.exceptions); `outcome` is what is on record.

    `differs`: of a key that was used before, the fields in which that question was another. `retry_after`:
    where it was too often, whole seconds after which it is not any more.
    """

    code: str
    detail: str
    outcome: Outcome | None = None
    field: str | None = None
    differs: tuple[str, ...] = ()
    retry_after: int = 0


Result: TypeAlias = Accepted | Refused
