"""Checks answers against a request's choices or schema, and edited arguments against what may be edited.

That is done before the writer has them, since a schema may take long, but only where the actor may decide:
who may not, learns nothing about the request's rules. A request that turns out to be overdue is timed out.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

from approvals import queries
from approvals.domain.commands import Answer, Decision, Expire
from approvals.domain.lifecycle import RESPOND, Kind
from approvals.domain.payloads import check_text
from approvals.domain.schemas import check_against, check_choice
from approvals.exceptions import ApprovalError, InvalidAnswer
from approvals.queries import people_reads, permissions
from approvals.writer import queue

# Characters of the text by which an approval is answered instead.
RESPONSE_LIMIT = 100_000

Deciding: TypeAlias = Decision | Answer


def fit(command: Deciding) -> Deciding:
    """Return the command, checked against the request's rules; raise InvalidAnswer where it does not fit."""
    (fitted,) = fit_each([command])
    if isinstance(fitted, ApprovalError):
        raise fitted
    return fitted


def fit_each(commands: Sequence[Deciding | ApprovalError]) -> list[Deciding | ApprovalError]:
    """Return the commands, checked against the rules of their requests, or the error where one does not fit.

    Of a request that is closed or overdue, the writer says that instead: its commands are left as they are.
    """
    requests = _requests_to_check([one for one in commands if has_content(one)])
    fitted = [one if isinstance(one, ApprovalError) else _fit_to(requests, one) for one in commands]
    misfits = {
        place: one
        for place, one in enumerate(commands)
        if not isinstance(one, ApprovalError) and isinstance(fitted[place], ApprovalError)
    }
    over = _expire_overdue({one.request_id for one in misfits.values()})
    return [
        misfits[n] if n in misfits and misfits[n].request_id in over else one for n, one in enumerate(fitted)
    ]


def has_content(command: Decision | Answer | ApprovalError) -> bool:
    """Tell whether there is something to check before the writer has it."""
    return isinstance(command, Answer) or (isinstance(command, Decision) and command.arguments is not None)


def _requests_to_check(commands: Collection[Any]) -> dict[tuple[int | None, Any], Any]:
    """Return the requests that the commands' actors may decide, by actor and id."""
    if not commands:
        return {}
    rows = queries.requests_by_id({one.request_id for one in commands})
    people = people_reads.persons({one.actor.user_id for one in commands} - {None})
    audiences = people_reads.audiences(rows) if people else {}
    found: dict[tuple[int | None, Any], Any] = {(None, row.pk): row for row in rows}
    for person in people.values():
        mine = (row for row in rows if permissions.may_decide(person, audiences[row.pk]))
        found.update(((person.id, row.pk), row) for row in mine)
    return found


def _fit_to(requests: dict[tuple[int | None, Any], Any], command: Deciding) -> Deciding | ApprovalError:
    request = requests.get((command.actor.user_id, command.request_id)) if has_content(command) else None
    try:
        if request is None:
            return command
        if isinstance(command, Answer):
            return replace(command, answer=fit_answer(request, command.answer))
        return replace(command, arguments=fit_arguments(request, command.arguments))
    except InvalidAnswer as error:
        return error


def fit_arguments(request: Any, arguments: Any) -> Any:
    """Return edited arguments as the request lets them be; raise InvalidAnswer where it does not."""
    if request.kind != Kind.APPROVAL:
        return arguments
    if request.editable is False:
        raise InvalidAnswer("arguments of this request may not be edited.", field="arguments")
    return arguments if request.editable is True else check_against(request.editable, arguments, "arguments")


def fit_answer(request: Any, answer: Any) -> Any:
    """Return an answer that fits the request's choices or schema; raise InvalidAnswer where it does not."""
    if request.kind != Kind.CLARIFICATION:
        if RESPOND in request.decisions:
            check_text(answer, "answer", max_length=RESPONSE_LIMIT, required=True, error=InvalidAnswer)
        return answer
    if request.choices is not None:
        return check_choice(request.choices, request.multiple, answer, "answer")
    if request.schema is not None:
        return check_against(request.schema, answer, "answer")
    if not isinstance(answer, str):
        raise InvalidAnswer("answer must be text.", field="answer")
    return answer


def _expire_overdue(request_ids: Collection[Any]) -> set[Any]:
    """Time out those of these requests that are overdue; return which are closed."""
    ids = list(request_ids)
    futures = queue.submit_many([Expire(request_id=request_id) for request_id in ids])
    results = zip(ids, (future.result() for future in futures), strict=True)
    return {one for one, result in results if result.outcome is not None and result.outcome.closed}
