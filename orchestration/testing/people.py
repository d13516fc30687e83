"""The people of a test: their replies, in the order of the requests, or a function of each request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

from approvals import fitting
from approvals.domain.lifecycle import (
    RESPOND,
    Kind,
    Outcome,
    Severity,
    Status,
    Verdict,
    missing_reason,
    usual_decisions,
)
from approvals.exceptions import InvalidAnswer
from approvals.queries.serialization import recorded_outcome

OF_BOTH_KINDS = "withdraw() or nobody()"
FITTING = {Kind.APPROVAL: "approve(), reject(), ", Kind.CLARIFICATION: "answer(...), "}


class PeopleMismatch(AssertionError):
    """The replies of `people` do not fit what the run asked: too few, too many, or of another kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What becomes of one request: see `approve`, `reject`, `answer`, `withdraw` and `nobody`."""

    status: Status
    words: str
    comment: str = ""
    answer: Any = None
    arguments: dict[str, Any] | None = None
    by: str | None = None
    after: float = 0.0

    def __repr__(self) -> str:
        return self.words


def approve(
    comment: str = "", *, arguments: dict[str, Any] | None = None, by: str | None = None, after: float = 0.0
) -> Reply:
    """Approve, with these arguments instead of those that were asked where the request is `editable`.

    One reply decides the request, however many approvals it needs. `by` is the `decided_by` of the outcome;
    the reply comes `after` so many seconds by the run's clock, if the request is open then.
    """
    return Reply(
        status=Status.APPROVED, words="approve()", comment=comment, arguments=arguments, by=by, after=after
    )


def reject(comment: str = "", *, by: str | None = None, after: float = 0.0) -> Reply:
    """Reject an approval."""
    return Reply(status=Status.REJECTED, words="reject()", comment=comment, by=by, after=after)


def answer(answer: Any, comment: str = "", *, by: str | None = None, after: float = 0.0) -> Reply:
    """Answer a question, or an approval whose `decisions` have "respond" with a text instead."""
    words = f"answer({answer!r})"
    return Reply(status=Status.ANSWERED, words=words, comment=comment, answer=answer, by=by, after=after)


def withdraw(reason: str = "", *, by: str | None = None, after: float = 0.0) -> Reply:
    """Withdraw a request."""
    return Reply(status=Status.WITHDRAWN, words="withdraw()", comment=reason, by=by, after=after)


def nobody() -> Reply:
    """Let the request's deadline pass, by the run's clock."""
    return Reply(status=Status.TIMED_OUT, words="nobody()")


@dataclass(kw_only=True)
class AskedRequest:
    """A request of a run under test. `assignees` are those whom the run named.

    `escalation` has the steps that it would have; no time passes for them in a test. `timeout` is in seconds.
    `outcome` is None while the request is open.
    """

    id: UUID
    key: str
    kind: Kind
    title: str
    details: str
    timeout: float | None
    opened_at: datetime
    assignees: Any
    escalation: list[dict[str, Any]] = field(default_factory=list)
    severity: Severity = Severity.NORMAL
    arguments: dict[str, Any] = field(default_factory=dict)
    highlight: list[str] = field(default_factory=list)
    editable: bool | dict[str, Any] = False
    required: int = 1
    four_eyes: bool = False
    decisions: list[str] = field(default_factory=usual_decisions)
    reason_required: bool = False
    on_timeout: Verdict | None = None
    choices: Any = None
    multiple: bool = False
    schema: dict[str, Any] | None = None
    default: Any = None
    outcome: Outcome | None = None

    def __str__(self) -> str:
        return f"the {self.kind} {self.title!r}"

    @property
    def deadline(self) -> datetime | None:
        """The moment from which nobody can decide; None without one."""
        return None if self.timeout is None else self.opened_at + timedelta(seconds=self.timeout)

    def due(self, reply: Reply) -> datetime | None:
        """Return when this reply comes; None: never."""
        if reply.status is Status.TIMED_OUT:
            return self.deadline
        return self.opened_at + timedelta(seconds=reply.after)

    def in_time(self, reply: Reply) -> Reply:
        """Return the reply, or `nobody()` where it comes after the deadline."""
        late = self.deadline is not None and self.deadline <= self.opened_at + timedelta(seconds=reply.after)
        return nobody() if late else reply

    def close(self, reply: Reply, at: datetime) -> None:
        """Record the outcome that this reply leads to. Raises InvalidAnswer for a reply that is refused."""
        status = reply.status
        arguments, said = self.arguments, reply.answer
        if reply.arguments is not None:
            arguments = fitting.fit_arguments(self, reply.arguments)
        missing = missing_reason(self.reason_required, reply.comment)
        if missing and status in (Status.APPROVED, Status.REJECTED):
            raise InvalidAnswer(missing, field="comment")
        if status is Status.ANSWERED:
            said = fitting.fit_answer(self, said)
        elif status is Status.TIMED_OUT:
            said = self.default
        outcome = recorded_outcome(
            request_id=str(self.id),
            kind=self.kind,
            status=status,
            on_timeout=self.on_timeout or "",
            answer=said,
            arguments=arguments,
            comment=reply.comment,
            decided_by=None,
            closed_at=at,
        )
        self.outcome = replace(outcome, decided_by=reply.by)


Replies: TypeAlias = Iterable[Reply] | Callable[[AskedRequest], Reply]


class People:
    """Those who reply in one run."""

    def __init__(self, replies: Replies) -> None:
        self._choose = replies if callable(replies) else None
        self._replies = [] if callable(replies) else list(replies)
        self.asked: list[AskedRequest] = []
        self._chosen: dict[UUID, Reply] = {}
        for place, reply in enumerate(self._replies):
            if not isinstance(reply, Reply):
                raise TypeError(f"people[{place}]: approve(), reject(), answer(...), …, not {reply!r}")

    def reply_to(self, request: AskedRequest) -> Reply:
        """Return the reply to this request, the next one unless it has one. Raises PeopleMismatch."""
        if request.id in self._chosen:
            return self._chosen[request.id]
        self.asked.append(request)
        place = len(self.asked) - 1
        if self._choose is not None:
            where, reply = "people()", self._choose(request)
        elif place < len(self._replies):
            where, reply = f"people[{place}]", self._replies[place]
        else:
            raise PeopleMismatch(
                f"people: too few replies. {self._asked_so_far()}, and people has {_number(self._replies)}:"
                f" nobody replies to {request}. Add {FITTING[request.kind]}{OF_BOTH_KINDS}."
            )
        _check_fit(request, reply, where)
        self._chosen[request.id] = reply
        return reply

    def close(self, request: AskedRequest, reply: Reply, at: datetime) -> None:
        """Close the request. Raises PeopleMismatch where the reply is not among what was asked for."""
        try:
            request.close(reply, at)
        except InvalidAnswer as error:
            raise PeopleMismatch(
                f"{self._where(request)}: {reply} is no reply to {request}: {error.detail}"
            ) from error

    def nothing_comes(self, request: AskedRequest) -> PeopleMismatch:
        """Return the error that nobody replies to a request for which the run waits for ever."""
        reply = self._chosen[request.id]
        return PeopleMismatch(
            f"{self._where(request)}: {request} has no deadline, so after {reply} the run waits for ever."
        )

    def _where(self, request: AskedRequest) -> str:
        return f"people[{self.asked.index(request)}]" if self._choose is None else "people()"

    def check_all_replied(self, error: str) -> None:
        """Raise PeopleMismatch if there are more replies than requests; `error`: why the run failed."""
        if unused := self._replies[len(self.asked) :]:
            words = ", ".join(map(repr, unused))
            raise PeopleMismatch(
                f"people: too many replies. {self._asked_so_far()}, so nothing was left to reply to for"
                f" {words}.{f' The run failed: {error}' if error else ''}"
            )

    def _asked_so_far(self) -> str:
        times = "1 time" if len(self.asked) == 1 else f"{len(self.asked)} times"
        titles = ", ".join(repr(each.title) for each in self.asked)
        return f"The run asked {times} ({titles})" if titles else "The run asked nothing"


def _check_fit(request: AskedRequest, reply: Reply, where: str) -> None:
    if not isinstance(reply, Reply):
        raise PeopleMismatch(f"{where}: {reply!r} is no reply to {request}.")
    only: Mapping[Status, Kind] = {
        Status.APPROVED: Kind.APPROVAL,
        Status.REJECTED: Kind.APPROVAL,
        Status.ANSWERED: Kind.CLARIFICATION,
    }
    instead = (
        reply.status is Status.ANSWERED and request.kind is Kind.APPROVAL and RESPOND in request.decisions
    )
    if only.get(reply.status, request.kind) is not request.kind and not instead:
        raise PeopleMismatch(
            f"{where}: {reply} is no reply to {request}. Use {FITTING[request.kind]}{OF_BOTH_KINDS}."
        )


def _number(replies: list[Reply]) -> str:
    return "1 reply" if len(replies) == 1 else f"{len(replies)} replies"
