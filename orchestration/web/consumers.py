"""The WebSockets of runs: of one, with its state, its messages and its requests; and of their list.

Of one run: after `hello` and `snapshot` (the run's pending requests that this person may see) come
`run_status`, all messages so far in order, and `run_finished` if the run has ended; then all changes. With
`?after=ID` messages come from the first whose id is greater. For a run that is unknown, or that this person
may not see (any more), come the error `unknown_run` and the close code 4404.

Of the list: after `hello` and an empty `snapshot` comes `runs_changed`, at first without ids, then whenever
runs that this person may see are new or in another state.
"""

from __future__ import annotations

from django.http import QueryDict

from approvals.web.edge.credentials import Credential
from approvals.web.live.consumers import LiveConsumer
from approvals.web.live.hubs import Seat
from approvals.web.live.inbox import InboxSeat, inbox_hub
from approvals.web.pages.filters import number_of
from orchestration.web.run_hub import run_hub
from orchestration.web.run_list_hub import run_list_hub
from orchestration.web.run_reads import RunSeat

# No run has it as its id.
NO_RUN = "none"


class RunListConsumer(LiveConsumer):
    """Serves `/ws/runs/`."""

    def join(self, credential: Credential) -> None:
        def watch() -> None:
            self.take_seat(run_list_hub(), Seat(self.outbox, credential))

        # It greets, and counts connections.
        self.take_seat(inbox_hub(), InboxSeat(self.outbox, credential, NO_RUN, greeted=watch))


class RunConsumer(LiveConsumer):
    """Serves `/ws/runs/<id>/`."""

    def join(self, credential: Credential) -> None:
        run_id = self.scope["url_route"]["kwargs"]["run_id"]
        heard = number_of(QueryDict(self.scope["query_string"]), "after", digits=18)

        def watch() -> None:
            self.take_seat(run_hub(), RunSeat(self.outbox, credential, run_id, heard))

        self.take_seat(inbox_hub(), InboxSeat(self.outbox, credential, str(run_id), greeted=watch))
