"""Requests and outcomes as frames carry them: whole, or a summary where they are large.

Whether one is large depends on itself alone, so that events and snapshots always agree. A program reads the
rest over HTTP; pages are rendered by the server.
"""

from __future__ import annotations

from typing import Any

from approvals import queries
from approvals.domain.lifecycle import Outcome, Status
from approvals.web.live.protocol import Json

# The characters of JSON that a request or an outcome may take in a frame. All are ASCII: as many bytes.
LARGE = 16_384


def request_in_frame(row: Any) -> Json:
    """Return a request that `queries.fill` has filled up to LARGE.

    A closed one is without its arguments, which its outcome has.
    """
    if row.asked_whole:
        wire = queries.on_the_wire(row)
        if row.status != Status.PENDING:
            del wire["arguments"]
        whole = Json.of(wire)
        if len(whole) <= LARGE:
            return whole
    return Json.of(queries.summary_on_the_wire(row))


def outcome_of_row(row: Any) -> Json:
    """Return the outcome of a closed request that `queries.fill` has filled up to LARGE."""
    outcome = queries.outcome_of(row)
    return outcome_in_frame(outcome) if row.outcome_whole else _summary_of(outcome)


def outcome_in_frame(outcome: Outcome) -> Json:
    whole = Json.of(queries.outcome_on_the_wire(outcome))
    return whole if len(whole) <= LARGE else _summary_of(outcome)


def _summary_of(outcome: Outcome) -> Json:
    return Json.of(queries.outcome_summary_on_the_wire(outcome))
