"""A live connection to one run: the run and its messages, and the requests that it asks people.

After `hello` and `snapshot` (the run's pending requests that this person may see) come `run_status`, every
message so far in order, and `run_finished` if it is; then whatever is new. A run that is unknown, or that
this person may not see (any more), is an `unknown_run` error and the close code 4404.
"""

from __future__ import annotations

from approvals.web.edge.credentials import Credential
from approvals.web.live.consumers import LiveConsumer
from approvals.web.live.inbox import InboxSeat, inbox_hub
from orchestration.web.hub import RunSeat, run_hub


class RunConsumer(LiveConsumer):
    """`/ws/runs/<id>/`."""

    _requests: InboxSeat | None = None

    @property
    def user_id(self) -> int | None:
        return self._requests.user_id if self._requests else None

    def join(self, credential: Credential) -> None:
        run_id = self.scope["url_route"]["kwargs"]["run_id"]
        self._inbox, self._runs = inbox_hub(), run_hub()
        self._run = RunSeat(self.outbox, credential, run_id)
        self._requests = InboxSeat(self.outbox, credential, str(run_id), greeted=self._watch)
        self._inbox.join(self._requests)

    def leave(self) -> None:
        if self._requests:
            self._inbox.leave(self._requests)
            self._runs.leave(self._run)

    def _watch(self) -> None:
        self._runs.join(self._run)
