"""Reads: what a user may see, what has come of requests, what changed, what is due, what happened.

Synchronous ORM code; coroutines cross over by approvals.database.connections.in_database.
"""

from approvals.queries.inboxes import COUNTED, OVERDUE_SOON, Waiting, inbox, waiting_for
from approvals.queries.people import (
    Rights,
    TimelineEntry,
    history,
    last_closed_for,
    listed,
    may,
    object_of,
    request_for,
    visible_ids,
    visible_to,
)
from approvals.queries.processes import (
    Look,
    changed_since,
    look,
    next_deadline,
    not_on_record,
    on_record,
    open_requests_of,
    outcomes,
    overdue,
    request_of_key,
    requests_by_id,
    requests_of_keys,
    seconds_left,
)
from approvals.queries.requests import as_id, unknown, with_people
from approvals.queries.shapes import (
    LARGE_IN_REQUEST,
    moment_on_the_wire,
    on_the_wire,
    outcome_of,
    outcome_on_the_wire,
    outcome_summary_on_the_wire,
    summary_on_the_wire,
)
from approvals.queries.standings import Standing, standing
from approvals.queries.weights import fill

__all__ = [
    "COUNTED",
    "LARGE_IN_REQUEST",
    "OVERDUE_SOON",
    "Look",
    "Rights",
    "Standing",
    "TimelineEntry",
    "Waiting",
    "as_id",
    "changed_since",
    "fill",
    "history",
    "inbox",
    "last_closed_for",
    "listed",
    "look",
    "may",
    "moment_on_the_wire",
    "next_deadline",
    "not_on_record",
    "object_of",
    "on_record",
    "on_the_wire",
    "open_requests_of",
    "outcome_of",
    "outcome_on_the_wire",
    "outcome_summary_on_the_wire",
    "outcomes",
    "overdue",
    "request_for",
    "request_of_key",
    "requests_by_id",
    "requests_of_keys",
    "seconds_left",
    "standing",
    "summary_on_the_wire",
    "unknown",
    "visible_ids",
    "visible_to",
    "waiting_for",
    "with_people",
]
