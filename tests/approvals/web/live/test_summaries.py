"""Whatever requests and outcomes hold, a frame carries them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from approvals import queries
from approvals.database.fields import new_id
from approvals.domain.lifecycle import Outcome
from approvals.domain.term_rules import HIGHLIGHT_LIMIT, HIGHLIGHT_NAME_LIMIT
from approvals.models import HumanRequest
from approvals.queries.serialization import LARGE_IN_REQUEST
from approvals.web.live.protocol import LARGE, outcome_in_frame, request_in_frame

# A few characters, each of another length in JSON, up to as many as a frame carries.
texts = st.builds(
    lambda part, times: part * times, st.text(st.sampled_from("aé\n\x01😀"), max_size=3), st.integers(0, 9000)
)
values = st.none() | texts | st.lists(texts, max_size=3) | st.dictionaries(st.just("key"), texts)
MOMENT = datetime(2026, 11, 22, tzinfo=UTC)


@given(
    title=texts,
    details=texts,
    arguments=values,
    highlight=st.lists(texts, max_size=HIGHLIGHT_LIMIT),
    default=values,
    pending=st.booleans(),
)
def test_a_request_in_a_frame_is_whole_or_a_summary_and_never_large(
    title: str, details: str, arguments: Any, highlight: list[str], default: Any, pending: bool
) -> None:
    asked = {"title": title[:200], "details": details, "arguments": arguments, "default": default}
    asked["highlight"] = [name[:HIGHLIGHT_NAME_LIMIT] for name in highlight]
    status = "pending" if pending else "approved"
    row: Any = HumanRequest(pk=new_id(), kind="approval", status=status, opened_at=MOMENT, **asked)
    row._prefetched_objects_cache = {"assigned_users": [], "assigned_groups": []}
    row.asked_whole = True
    frame = request_in_frame(row)
    wire = json.loads(frame)
    assert len(frame.encode()) <= LARGE
    if wire.pop("summary", False):
        assert wire.keys() == queries.on_the_wire(row).keys() - LARGE_IN_REQUEST
    else:
        whole = queries.on_the_wire(row)
        assert wire == (whole if pending else {k: v for k, v in whole.items() if k != "arguments"})


@given(comment=texts, answer=values, arguments=values)
def test_an_outcome_in_a_frame_is_whole_or_a_summary_and_never_large(
    comment: str, answer: Any, arguments: Any
) -> None:
    outcome = Outcome(
        request_id=str(new_id()),
        kind="approval",
        status="approved",
        approved=True,
        answer=answer,
        arguments=arguments,
        comment=comment,
        decided_by="ada",
        decided_at=MOMENT,
        timed_out=False,
        withdrawn=False,
    )
    frame = outcome_in_frame(outcome)
    wire = json.loads(frame)
    assert len(frame.encode()) <= LARGE
    if not wire.pop("summary", False):
        assert wire == queries.outcome_on_the_wire(outcome)
