"""What a hub reads of many inboxes at once."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from django.db import connection, connections

from approvals import deciding
from approvals.web.live import inbox_reads
from tests import factories
from tests.connections import session_of

pytestmark = pytest.mark.django_db


def test_a_request_decided_during_a_reading_does_not_shorten_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of a reading is of one moment: a list that was cut is full, and said to be cut."""
    monkeypatch.setattr(inbox_reads, "SNAPSHOT_REQUESTS", 3)
    ada = factories.user()
    first, *others = [factories.approval(timeout=100.0 * n, assignees=[ada]) for n in range(1, 5)]
    during = _AfterTheFirst(lambda: _elsewhere(deciding.decide, factories.actor(ada), first, "approve"))
    credential = session_of(ada)
    with connection.execute_wrapper(during):
        read = inbox_reads.inboxes([(credential, None)])
    assert during.done
    inbox = read.inboxes[ada.pk, None]
    assert ([str(row.pk) for row in inbox.rows], inbox.cut) == ([first, *others[:2]], True)
    again = inbox_reads.inboxes([(credential, None)]).inboxes[ada.pk, None]
    assert [str(row.pk) for row in again.rows] == others


class _AfterTheFirst:
    """Does something once, after the first statement that reads requests, or the first message."""

    def __init__(self, deed: Callable[[], object]) -> None:
        self._deed = deed
        self.done = False

    def __call__(self, execute: Any, statement: str, *rest: Any) -> Any:
        result = execute(statement, *rest)
        if not self.done and ("approvals_humanrequest" in statement or "EXECUTE" in statement):
            self.done = True
            self._deed()
        return result


def _elsewhere(deed: Callable[..., object], *arguments: object) -> object:
    """In another thread, by a connection of its own."""

    def do() -> object:
        try:
            return deed(*arguments)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(do).result()
