"""Reply to what people ask back about a request, while a run waits for it.

The run's code gets each question once, also across restarts: a reply is on the request's trail, with the
number of the entry that it answers, and the record of the open call has the number of the last question that
the code was given, for those to which it has no reply.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias
from uuid import UUID

from approvals import deciding, queries
from approvals.database.threads import LOST, in_database
from approvals.domain.commands import Actor
from approvals.domain.lifecycle import Outcome
from approvals.exceptions import ApprovalError, Busy, InvalidRequest, Unavailable
from approvals.waiting.waiting_room import waiting_room
from orchestration.catalog import isolation
from orchestration.models import StepStatus
from orchestration.runs import call_records, journal
from orchestration.runs.call_records import Call
from orchestration.runs.recorder import Recorder

log = logging.getLogger(__name__)

# Gets the question, and the name of who asked it (None: a program); returns the reply, or None.
OnQuestion: TypeAlias = Callable[[str, str | None], Awaitable[str | None]]


def check_on_question(function: object) -> None:
    """Raise InvalidRequest unless it is a coroutine function, or None."""
    called = getattr(function, "__call__", None)  # noqa: B004 - of an object whose call is a coroutine
    if function is not None and not any(map(inspect.iscoroutinefunction, (function, called))):
        raise InvalidRequest(
            "on_question must be a coroutine function (async def) of a question and who asked it.",
            field="on_question",
        )


def considered(request_id: UUID, number: int = 0) -> dict[str, Any]:
    """Return the record of an open call whose questions are replied to up to that entry of the trail."""
    return {"request": str(request_id), "considered": number}


def considered_in(result: Any, request_id: UUID | None) -> int | None:
    """Return the number in such a record; None if it is none, or that of another request."""
    if not isinstance(result, dict) or result.get("request") != str(request_id):
        return None
    number = result.get("considered")
    return number if isinstance(number, int) else None


class Replying:
    """Gives what is asked back about one request to the run's code, and puts its replies on the trail."""

    def __init__(self, record: Recorder, call: Call, request_id: UUID, on_question: OnQuestion) -> None:
        self._record = record
        self._call = call
        self._request_id = request_id
        self._on_question = on_question

    async def listen(self) -> None:
        """Reply until the request is closed."""
        recorded = self._record.replay.find(self._call)
        known = considered_in(recorded and recorded.result, self._request_id) or 0
        while (found := await self._read(known)) is not None:
            questions, last = found
            for question in questions:
                await self._consider(question)
            known = last
            if not questions:
                await waiting_room().wait_for_comment(self._request_id, known)

    async def _read(self, known: int) -> tuple[list[queries.Comment], int] | None:
        return await journal.try_until_done(
            lambda: in_database(queries.open_questions, self._request_id, known),
            LOST,
            log,
            "questions not read",
        )

    async def _consider(self, question: queries.Comment) -> None:
        await self._record.active_steps.admit_step()
        with self._record.active_steps.track():
            # From here on a death of the process is one of the run's.
            await self._record.write(call_records.record_status)
            reply = None if question.text is None else await self._reply_to(question.text, question.author)
            if reply is not None:
                await self._say(reply, question.sequence)
        result = considered(self._request_id, question.sequence)
        await self._record.record(
            self._call, StepStatus.OPEN, waits=True, request_id=self._request_id, result=result
        )

    async def _reply_to(self, text: str, author: str | None) -> str | None:
        """Return what the run's code replies; None where it fails, which is logged."""

        async def ask() -> str | None:
            return await self._on_question(text, author)

        caught = await isolation.catch(ask())
        if isinstance(caught, isolation.Returned):
            return caught.value
        self._note_failure(caught.error)
        return None

    async def _say(self, reply: str, sequence: int) -> None:
        async def say() -> Outcome:
            return await deciding.acomment(Actor.program(), self._request_id, reply, reply_to=sequence)

        try:
            await journal.try_until_done(say, (Busy, Unavailable, *LOST), log, "reply not recorded")
        except ApprovalError as error:
            self._note_failure(error)

    def _note_failure(self, error: BaseException) -> None:
        log.error(
            "on_question failed run=%s request=%s",
            self._record.ownership.run_id,
            self._request_id,
            exc_info=error,
        )
