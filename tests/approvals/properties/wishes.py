"""Commands that people, programs and deadlines may come up with, for hypothesis to choose from.

In the model's numbers: any request, asked or not, by anybody, allowed or not; some more often than others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TypeVar
from uuid import UUID

from hypothesis import strategies as st

from approvals.domain.commands import (
    DEADLINE,
    Actor,
    Answer,
    Channel,
    Command,
    Comment,
    Decision,
    Expire,
    Keyed,
    OpenRequest,
    Reassign,
    Reference,
    Reschedule,
    View,
    Withdraw,
)
from approvals.domain.lifecycle import Kind, Severity, Verdict
from approvals.domain.questions import assignees_by_name, fingerprint, meaning_of
from tests.approvals.properties.model import CAST, DESK, Who

T = TypeVar("T")

APPROVALS = (UUID(int=1), UUID(int=2), UUID(int=3))
CLARIFICATIONS = (UUID(int=4), UUID(int=5))
IDS = (*APPROVALS, *CLARIFICATIONS)
KEYS = ("refund", "audit")
FAR = 3600.0


def actor(who: Who) -> Actor:
    return Actor.program() if who is None else Actor(user_id=who, channel=Channel.API, address="127.0.0.1")


def mostly(usual: Sequence[T], *unusual: T) -> st.SearchStrategy[T]:
    """One of the usual eight times in nine; or one of all the others."""
    return st.sampled_from(range(9)).flatmap(lambda at: st.sampled_from(unusual if at == 8 else usual))


ids = st.sampled_from(IDS)
keyed: tuple[Reference, ...] = tuple(Keyed(key_scope="", key=key) for key in KEYS)
some_approval: st.SearchStrategy[Reference] = mostly(APPROVALS, *CLARIFICATIONS, *keyed)
some_clarification: st.SearchStrategy[Reference] = mostly(CLARIFICATIONS, *APPROVALS, *keyed)
some_request: st.SearchStrategy[Reference] = mostly(IDS, *keyed)
actors = mostly([1, 2, 3], None, *CAST).map(actor)
comments = st.sampled_from(["", "Fine."])
named = mostly([(), (1, 2, 3)], (1,), (3, 6))
groups = mostly([()], (DESK,))


@st.composite
def questions(
    draw: st.DrawFn,
    ids: st.SearchStrategy[UUID] = ids,
    timeouts: st.SearchStrategy[float | None] = mostly([FAR, FAR, FAR, None], 0.0),  # noqa: B008  a constant
) -> OpenRequest:
    """Approvals, of which some want several votes or may be edited (never both), and clarifications."""
    request_id = draw(ids)
    approval = request_id in APPROVALS
    required = draw(st.sampled_from([1, 2, 3])) if approval else 1
    question = OpenRequest(
        request_id=request_id,
        actor=draw(mostly([None], 1, 6).map(actor)),
        kind=Kind.APPROVAL if approval else Kind.CLARIFICATION,
        title=draw(mostly(["Refund"], "Other")),
        severity=draw(mostly([Severity.NORMAL], Severity.HIGH)),
        arguments=(arguments := draw(mostly([{}], {"amount": 12})) if approval else {}),
        highlight=draw(st.sampled_from([[], [*arguments]])),
        editable=approval and required == 1 and draw(st.booleans()),
        requester_id=draw(st.sampled_from([None, 1, 6])),
        user_ids=draw(named),
        group_ids=draw(groups),
        required=required,
        four_eyes=approval and draw(st.booleans()),
        timeout=draw(timeouts),
        on_timeout=draw(st.sampled_from([*Verdict])) if approval else None,
        default=None if approval else draw(st.sampled_from([None, "none"])),
        key=draw(st.sampled_from(["", *KEYS])),
        new_round=draw(st.booleans()),
    )
    assignees = assignees_by_name(question.user_ids, question.group_ids)
    meaning = meaning_of(question, assignees)
    return replace(question, named=assignees, fingerprint=fingerprint(meaning))


@st.composite
def decisions(draw: st.DrawFn) -> Decision:
    verdict = draw(st.sampled_from([Verdict.APPROVE, Verdict.APPROVE, Verdict.APPROVE, Verdict.REJECT]))
    edited = draw(mostly([None], {"amount": 10})) if verdict is Verdict.APPROVE else None
    return Decision(
        request_id=draw(some_approval),
        actor=draw(actors),
        verdict=verdict,
        comment=draw(comments),
        arguments=edited,
    )


answers = st.builds(
    Answer,
    request_id=some_clarification,
    actor=actors,
    answer=st.sampled_from(["", "4711"]),
    comment=comments,
)
withdrawals = st.builds(
    Withdraw,
    request_id=some_request,
    actor=st.sampled_from([None, 1, 6, 4, 2]).map(actor),
    reason=comments,
)
reassignments = st.builds(
    Reassign,
    request_id=some_request,
    actor=mostly([None, 4, 1], *CAST).map(actor),
    user_ids=named,
    group_ids=groups,
)
expiries = st.builds(Expire, request_id=ids, actor=st.just(DEADLINE))
reschedulings = st.builds(
    Reschedule,
    request_id=some_request,
    actor=st.just(Actor.program()),
    timeout=mostly([FAR], 0.0),
)
views = st.builds(View, request_id=ids, actor=actors)
remarks = st.builds(
    Comment,
    request_id=ids,
    actor=actors,
    text=st.sampled_from(["What for?", "Fine."]),
    question=st.booleans(),
)

others: st.SearchStrategy[Command] = st.one_of(
    withdrawals, reassignments, expiries, reschedulings, views, remarks
)
commands: st.SearchStrategy[Command] = st.one_of(
    questions(), decisions(), decisions(), decisions(), answers, answers, others
)
