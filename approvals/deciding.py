"""How people and programs decide: what they say is checked here, and handed to the writer.

Each action is one synchronous function, callable from any thread outside a transaction, and an `a` twin for
coroutines. Refusals are raised after the commit.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from concurrent.futures import Future
from typing import Any
from uuid import UUID

from approvals import fitting, queries
from approvals.database.threads import in_database
from approvals.database.transactions import arefuse_inside_a_transaction, refuse_inside_a_transaction
from approvals.domain.commands import (
    Actor,
    Answer,
    Comment,
    Decision,
    Misuse,
    Result,
    View,
    Withdraw,
)
from approvals.domain.lifecycle import DECISIONS, RESPOND, Outcome, Verdict
from approvals.domain.payloads import check_json, check_text
from approvals.exceptions import ApprovalError, InvalidAnswer, InvalidRequest
from approvals.fitting import Deciding
from approvals.process import telemetry
from approvals.reassignments import make_reassignment
from approvals.writer import queue

COMMENT_LIMIT = 10_000


def decide(
    actor: Actor,
    request_id: UUID | str,
    verdict: str,
    *,
    comment: str = "",
    arguments: dict[str, Any] | None = None,
    answer: str | None = None,
) -> Outcome:
    """Approve or reject, or "respond" with a text, the `answer`, where the request takes one instead.

    `arguments`: the edited action, where the request lets it be edited. Returns what is now on record; with a
    quorum that may still be pending. Repeating one's own decision is harmless. Raises UnknownRequest,
    NotPermitted, AlreadyDecided, TooLate, InvalidAnswer, Busy, Unavailable.
    """
    with _span(actor, request_id) as span:
        decision = _make_decision(
            actor, request_id, verdict, comment=comment, arguments=arguments, answer=answer
        )
        return _note(span, queue.write(fitting.fit(decision)))


async def adecide(
    actor: Actor,
    request_id: UUID | str,
    verdict: str,
    *,
    comment: str = "",
    arguments: dict[str, Any] | None = None,
    answer: str | None = None,
) -> Outcome:
    """Do as `decide`, without blocking the event loop; cancelling the caller does not take it back."""
    await arefuse_inside_a_transaction()
    with _span(actor, request_id) as span:
        decision = _make_decision(
            actor, request_id, verdict, comment=comment, arguments=arguments, answer=answer
        )
        if fitting.has_content(decision):
            decision = await in_database(fitting.fit, decision)
        return _note(span, await queue.awrite(decision))


def make_decision(
    actor: Actor,
    request_id: UUID | str,
    verdict: str,
    *,
    comment: str = "",
    arguments: dict[str, Any] | None = None,
    answer: str | None = None,
) -> Deciding | ApprovalError:
    """Return a decision for `decide_each`, or the error that keeps its place there."""
    try:
        return _make_decision(actor, request_id, verdict, comment=comment, arguments=arguments, answer=answer)
    except ApprovalError as error:
        return error


def decide_each(decisions: Sequence[Deciding | ApprovalError]) -> list[Outcome | ApprovalError]:
    """Write many decisions together; return the outcome or the refusal of each, in order.

    A constant number of queries before the writer's. Raises Busy where there is no room for all of them.
    """
    refuse_inside_a_transaction()
    fitted = fitting.fit_each(decisions)
    futures = iter(queue.submit_many([one for one in fitted if not isinstance(one, ApprovalError)]))
    return [one if isinstance(one, ApprovalError) else _outcome_or_error(next(futures)) for one in fitted]


def decide_many(
    actor: Actor, decisions: Sequence[tuple[UUID | str, str]], *, comment: str = ""
) -> list[Outcome | ApprovalError]:
    """Write many decisions, ids and verdicts, with one comment; as `decide_each`."""
    return decide_each([make_decision(actor, id_, verdict, comment=comment) for id_, verdict in decisions])


async def adecide_many(
    actor: Actor, decisions: Sequence[tuple[UUID | str, str]], *, comment: str = ""
) -> list[Outcome | ApprovalError]:
    """Do as `decide_many`, without blocking the event loop; cancelling the caller does not take it back."""
    await arefuse_inside_a_transaction()
    return await in_database(decide_many, actor, decisions, comment=comment)


def answer(actor: Actor, request_id: UUID | str, answer: Any, *, comment: str = "") -> Outcome:
    """Answer a clarification: with text, a choice (a list, where several may be chosen), or structured data.

    Returns and raises as `decide` does.
    """
    with _span(actor, request_id) as span:
        return _note(span, queue.write(fitting.fit(_make_answer(actor, request_id, answer, comment))))


async def aanswer(actor: Actor, request_id: UUID | str, answer: Any, *, comment: str = "") -> Outcome:
    """Do as `answer`, without blocking the event loop; cancelling the caller does not take it back."""
    await arefuse_inside_a_transaction()
    with _span(actor, request_id) as span:
        command = await in_database(fitting.fit, _make_answer(actor, request_id, answer, comment))
        return _note(span, await queue.awrite(command))


def withdraw(actor: Actor, request_id: UUID | str, reason: str = "", *, by_origin: bool = False) -> Outcome:
    """Take the question back; who waits for it learns that it was withdrawn, not rejected.

    `by_origin` says that what asked has ended, by this actor, who then needs no right to the request.
    """
    return queue.write(_make_withdrawal(actor, request_id, reason, by_origin=by_origin))


async def awithdraw(
    actor: Actor, request_id: UUID | str, reason: str = "", *, by_origin: bool = False
) -> Outcome:
    """Do as `withdraw`, without blocking the event loop; cancelling the caller does not take it back."""
    await arefuse_inside_a_transaction()
    return await queue.awrite(_make_withdrawal(actor, request_id, reason, by_origin=by_origin))


def withdraw_each(
    actor: Actor, request_ids: Sequence[UUID | str], reason: str = ""
) -> list[Outcome | ApprovalError]:
    """Take several questions back together; return the outcome or the refusal of each, in order."""
    refuse_inside_a_transaction()
    commands = [_make_withdrawal(actor, one, reason, by_origin=False) for one in request_ids]
    return [_outcome_or_error(future) for future in queue.submit_many(commands)]


def reassign(
    actor: Actor,
    request_id: UUID | str,
    users: Collection[str | int] = (),
    groups: Collection[str | int] = (),
    *,
    reason: str = "",
) -> Outcome:
    """Name others, by username or id and by group name or id, instead of those who may decide now.

    REVIEWERS as `users` names any reviewer. Who reassigns a request that needs four eyes can't decide it.
    The `reason` is on the trail.
    """
    reason = check_text(reason, "reason", max_length=COMMENT_LIMIT)
    return queue.write(make_reassignment(actor, request_id, users, groups, reason))


async def areassign(
    actor: Actor,
    request_id: UUID | str,
    users: Collection[str | int] = (),
    groups: Collection[str | int] = (),
    *,
    reason: str = "",
) -> Outcome:
    """Do as `reassign`, without blocking the event loop; cancelling the caller does not take it back."""
    await arefuse_inside_a_transaction()
    reason = check_text(reason, "reason", max_length=COMMENT_LIMIT)
    command = await in_database(make_reassignment, actor, request_id, users, groups, reason)
    return await queue.awrite(command)


def comment(
    actor: Actor,
    request_id: UUID | str,
    text: str,
    question: bool = False,
    *,
    reply_to: int | None = None,
) -> Outcome:
    """Say something about the request on its trail, or ask a question about it; its outcome stays as it is.

    Whoever may see the request may, until 30 days after it was closed, 60 times an hour. Saying the same
    again, with nothing said in between, changes nothing for an hour. `reply_to` is for programs: the number
    of the entry that asked, which gets one reply. Raises InvalidRequest, UnknownRequest, TooLate,
    RateLimited, Busy, Unavailable.
    """
    return queue.write(_make_comment(actor, request_id, text, question, reply_to))


async def acomment(
    actor: Actor,
    request_id: UUID | str,
    text: str,
    question: bool = False,
    *,
    reply_to: int | None = None,
) -> Outcome:
    """Do as `comment`, without blocking the event loop; cancelling the caller does not take it back."""
    await arefuse_inside_a_transaction()
    return await queue.awrite(_make_comment(actor, request_id, text, question, reply_to))


def record_view(actor: Actor, request_id: UUID | str) -> None:
    """Record that the actor was shown the request's page; the trail keeps the first time."""
    queue.write(View(request_id=queries.as_id(request_id), actor=actor))


def record_views(actor: Actor, request_ids: Collection[UUID]) -> None:
    """Record that the actor was shown these requests together, as `record_view`.

    What the actor may not see is left out. Raises Busy, Unavailable.
    """
    for future in queue.submit_many([View(request_id=one, actor=actor) for one in request_ids]):
        future.result()


def record_misuse(actor: Actor, request_id: UUID, link_of: int) -> None:
    """Record that the actor, who is logged in, tried to decide by the personal link of the account `link_of`.

    It is a refusal, of which the trail takes a few a minute. Raises Busy, Unavailable.
    """
    refuse_inside_a_transaction()
    queue.submit(Misuse(request_id=request_id, actor=actor, link_of=link_of)).result()


def _span(actor: Actor, request_id: UUID | str) -> telemetry.Span:
    return telemetry.span("sayso.decide", request=request_id, channel=actor.channel)


def _note(span: telemetry.Span, outcome: Outcome) -> Outcome:
    span.note(outcome=outcome.status)
    return outcome


def _outcome_or_error(future: Future[Result]) -> Outcome | ApprovalError:
    try:
        return queue.outcome_of_result(future.result())
    except ApprovalError as error:
        return error


# What is checked without the request


def _make_decision(
    actor: Actor,
    request_id: UUID | str,
    verdict: str,
    *,
    comment: str,
    arguments: dict[str, Any] | None,
    answer: str | None,
) -> Deciding:
    if verdict not in DECISIONS:
        raise InvalidRequest("decision must be 'approve', 'reject' or 'respond'.", field="decision")
    if verdict == RESPOND:
        if arguments is not None:
            raise InvalidAnswer("arguments can be edited by an approval only.", field="arguments")
        return _make_answer(actor, request_id, answer, comment)
    if answer is not None:
        raise InvalidAnswer(f"answer is for the decision {RESPOND!r} only.", field="answer")
    return Decision(
        request_id=queries.as_id(request_id),
        actor=actor,
        verdict=Verdict(verdict),
        comment=check_text(comment, "comment", max_length=COMMENT_LIMIT),
        arguments=None if arguments is None else _check_arguments(arguments, verdict),
    )


def _check_arguments(arguments: object, verdict: str) -> Any:
    if not isinstance(arguments, dict):
        raise InvalidAnswer("arguments must be a JSON object.", field="arguments")
    if verdict == Verdict.REJECT:
        raise InvalidAnswer("arguments can be edited by an approval only.", field="arguments")
    return check_json(arguments, "arguments", error=InvalidAnswer)


def _make_answer(actor: Actor, request_id: UUID | str, answer: Any, comment: str) -> Answer:
    return Answer(
        request_id=queries.as_id(request_id),
        actor=actor,
        answer=check_json(answer, "answer", error=InvalidAnswer),
        comment=check_text(comment, "comment", max_length=COMMENT_LIMIT),
    )


def _make_withdrawal(actor: Actor, request_id: UUID | str, reason: str, *, by_origin: bool) -> Withdraw:
    reason = check_text(reason, "reason", max_length=COMMENT_LIMIT)
    return Withdraw(request_id=queries.as_id(request_id), actor=actor, reason=reason, by_origin=by_origin)


def _make_comment(
    actor: Actor, request_id: UUID | str, text: str, question: bool, reply_to: int | None
) -> Comment:
    return Comment(
        request_id=queries.as_id(request_id),
        actor=actor,
        text=check_text(text, "text", max_length=COMMENT_LIMIT, required=True),
        question=question,
        reply_to=reply_to,
    )
