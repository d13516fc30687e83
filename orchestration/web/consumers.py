"""The WebSocket of one run: its state, its messages, and its requests.

After `hello` and `snapshot` (the run's pending requests that this person may see) come `run_status`, all
messages so far in order, and `run_finished` if the run has ended; then all changes. With `?after=ID` messages
come from the first whose id is greater. For a run that is unknown, or that this person may not see (any
more), come the error `unknown_run` and the close code 4404.
"""

from __future__ import annotations

from django.http import QueryDict

from approvals.web.edge.credentials import Credential
from approvals.web.live.consumers import LiveConsumer
from approvals.web.live.inbox import InboxSeat, inbox_hub
from approvals.web.pages.filters import number_of
from orchestration.web.run_hub import run_hub
from orchestration.web.run_reads import RunSeat


class RunConsumer(LiveConsumer):
    """Serves `/ws/runs/<id>/`."""

    def join(self, credential: Credential) -> None:
        run_id = self.scope["url_route"]["kwargs"]["run_id"]
        heard = number_of(QueryDict(self.scope["query_string"]), "after", digits=18)

        def watch() -> None:
            self.take_seat(run_hub(), RunSeat(self.outbox, credential, run_id, heard))

        self.take_seat(inbox_hub(), InboxSeat(self.outbox, credential, str(run_id), greeted=watch))
