"""Commands that people, programs and deadlines may come up with, for hypothesis to choose from.

In the model's numbers: any request, asked or not, by anybody, allowed or not; some more often than others.
"""

from __future__ import annotations

from uuid import UUID

from hypothesis import strategies as st

from approvals.commands import (
    DEADLINE,
    Actor,
    Answer,
    Channel,
    Command,
    Decide,
    Expire,
    Keyed,
    OpenRequest,
    Reassign,
    Reference,
    Reschedule,
    View,
    Withdraw,
)
from approvals.lifecycle import Kind, Verdict
from tests.approvals.properties.model import CAST, DESK, Who

IDS = tuple(UUID(int=number) for number in range(1, 6))
KEYS = ("refund", "audit")
FAR = 3600.0


def actor(who: Who) -> Actor:
    return Actor.program() if who is None else Actor(user_id=who, channel=Channel.API, address="127.0.0.1")


ids = st.sampled_from(IDS)
people = st.sampled_from([*CAST])
actors = st.sampled_from([1, 2, 3, 1, 2, 3, None, *CAST]).map(actor)
comments = st.sampled_from(["", "Fine."])
references: st.SearchStrategy[Reference] = st.one_of(
    ids, ids, ids, st.builds(Keyed, key_scope=st.just(""), key=st.sampled_from(KEYS))
)
named = st.sampled_from([(), (), (1,), (1, 2), (3, 6)])
groups = st.sampled_from([(), (), (DESK,)])
timeouts = st.sampled_from([None, FAR, FAR, 0.0])
arguments = st.sampled_from([{}, {"amount": 12}])


@st.composite
def questions(
    draw: st.DrawFn,
    ids: st.SearchStrategy[UUID] = ids,
    timeouts: st.SearchStrategy[float | None] = timeouts,
) -> OpenRequest:
    """Approvals, of which some want several votes or may be edited (never both), and clarifications."""
    kind = draw(st.sampled_from([Kind.APPROVAL, Kind.APPROVAL, Kind.CLARIFICATION]))
    approval = kind is Kind.APPROVAL
    required = draw(st.sampled_from([1, 1, 2, 3])) if approval else 1
    return OpenRequest(
        request_id=draw(ids),
        actor=draw(st.sampled_from([None, None, 1, 6]).map(actor)),
        kind=kind,
        title=draw(st.sampled_from(["Refund", "Refund", "Other"])),
        arguments=draw(arguments) if approval else {},
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


@st.composite
def decisions(draw: st.DrawFn) -> Decide:
    verdict = draw(st.sampled_from([Verdict.APPROVE, Verdict.APPROVE, Verdict.REJECT]))
    edited = draw(st.sampled_from([None, None, {"amount": 10}])) if verdict is Verdict.APPROVE else None
    return Decide(
        request_id=draw(references),
        actor=draw(actors),
        verdict=verdict,
        comment=draw(comments),
        arguments=edited,
    )


answers = st.builds(
    Answer, request_id=references, actor=actors, answer=st.sampled_from(["", "4711"]), comment=comments
)
withdrawals = st.builds(
    Withdraw, request_id=references, actor=st.sampled_from([None, 1, 6, 4, 2]).map(actor), reason=comments
)
reassignments = st.builds(Reassign, request_id=references, actor=actors, user_ids=named, group_ids=groups)
expiries = st.builds(Expire, request_id=ids, actor=st.just(DEADLINE))
reschedulings = st.builds(
    Reschedule, request_id=references, actor=st.just(Actor.program()), timeout=st.sampled_from([0.0, FAR])
)
views = st.builds(View, request_id=ids, actor=actors)

commands: st.SearchStrategy[Command] = st.one_of(
    questions(), decisions(), decisions(), answers, withdrawals, reassignments, expiries, reschedulings, views
)
