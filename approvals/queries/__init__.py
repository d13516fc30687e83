"""Every read of the record: inboxes, permissions, outcomes, what has changed, what is due, histories.

Synchronous ORM code; coroutines cross over by approvals.database.threads.in_database.
"""

from approvals.domain.payloads import parse_object
from approvals.queries.comments import (
    Comment,
    Discussed,
    comment_on_the_wire,
    comments_on,
    discussed,
    last_comment_by,
    open_questions,
)
from approvals.queries.due_soon import is_due_soon, soon_from
from approvals.queries.escalation import NextStep, next_steps
from approvals.queries.inbox import Counts, Inbox, Listed, Selection, Sort, Tab, list_inbox
from approvals.queries.inboxes import list_inboxes
from approvals.queries.large_columns import ask_for_large, load_large
from approvals.queries.lookups import (
    ask_for_open_requests,
    changed_since,
    due_steps,
    next_due,
    open_requests_of,
    origin_names,
    origins_beginning,
    outcomes,
    overdue,
    pending_requests,
    request_of_key,
    requests_by_id,
    requests_of_keys,
    requests_of_run,
    seconds_left,
)
from approvals.queries.named_in_steps import name_steps
from approvals.queries.notices import list_told
from approvals.queries.preferences import is_destination, preference_of, told_by_mail
from approvals.queries.quorum import Ballot, Standing, ballot, standing, votes_on
from approvals.queries.request_rows import ask_for_rows
from approvals.queries.requests import as_id, id_or_none, unknown_request, with_people
from approvals.queries.serialization import (
    moment_on_the_wire,
    on_the_wire,
    outcome_of,
    outcome_on_the_wire,
    outcome_summary_on_the_wire,
    summary_on_the_wire,
)
from approvals.queries.visibility import (
    Rights,
    TimelineEntry,
    has_responded,
    history,
    list_requests,
    open_beside,
    request_for,
    rights_among,
    rights_of,
    titles_between,
    to_be_decided_by,
    viewed_among,
    visible_ids,
    visible_to,
    was_handed_on,
)

__all__ = [
    "Ballot",
    "Comment",
    "Counts",
    "Discussed",
    "Inbox",
    "Listed",
    "NextStep",
    "Rights",
    "Selection",
    "Sort",
    "Standing",
    "Tab",
    "TimelineEntry",
    "as_id",
    "ask_for_large",
    "ask_for_open_requests",
    "ask_for_rows",
    "ballot",
    "changed_since",
    "comment_on_the_wire",
    "comments_on",
    "discussed",
    "due_steps",
    "has_responded",
    "history",
    "id_or_none",
    "is_destination",
    "is_due_soon",
    "last_comment_by",
    "list_inbox",
    "list_inboxes",
    "list_requests",
    "list_told",
    "load_large",
    "moment_on_the_wire",
    "name_steps",
    "next_due",
    "next_steps",
    "on_the_wire",
    "open_beside",
    "open_questions",
    "open_requests_of",
    "origin_names",
    "origins_beginning",
    "outcome_of",
    "outcome_on_the_wire",
    "outcome_summary_on_the_wire",
    "outcomes",
    "overdue",
    "parse_object",
    "pending_requests",
    "preference_of",
    "request_for",
    "request_of_key",
    "requests_by_id",
    "requests_of_keys",
    "requests_of_run",
    "rights_among",
    "rights_of",
    "seconds_left",
    "soon_from",
    "standing",
    "summary_on_the_wire",
    "titles_between",
    "to_be_decided_by",
    "told_by_mail",
    "unknown_request",
    "viewed_among",
    "visible_ids",
    "visible_to",
    "votes_on",
    "was_handed_on",
    "with_people",
]
