"""What a hub reads of many inboxes at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from approvals import deciding
from approvals.web.edge import tokens
from approvals.web.live import inbox_reads
from tests import factories
from tests.connections import session_of
from tests.other_threads import elsewhere

pytestmark = pytest.mark.django_db


def test_a_request_decided_during_a_reading_does_not_shorten_the_list(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All of a reading is of one moment: a list that was cut is full, and said to be cut."""
    monkeypatch.setattr(inbox_reads, "SNAPSHOT_REQUESTS", 3)
    ada = factories.user()
    first, *others = [factories.approval(timeout=100.0 * n, assignees=[ada]) for n in range(1, 5)]
    during = _AfterTheFirst(lambda: elsewhere(deciding.decide, factories.actor(ada), first, "approve"))
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


@pytest.mark.stacks("postgresql-redis")
def test_without_plans_of_its_own_it_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """As behind a pooler that gives each transaction another connection."""
    ada, group = factories.user(), factories.group("finance")
    ada.groups.add(group)
    request = UUID(factories.approval(assignees=[group], requester=ada))
    key, program = session_of(ada), tokens.issue(ada.pk, "Ada's", ["read"])[0].pk
    factories.approval(assignees=[ada], timeout=None)

    def read() -> tuple[object, ...]:
        inboxes = inbox_reads.inboxes([(key, None), (program, None)])
        news = inbox_reads.news({request}, {}, set(), lambda user_id: {key, program})
        shown = [row.pk for row in inboxes.inboxes[ada.pk, None].rows]
        return inboxes.attendance, shown, news

    usual = read()
    monkeypatch.setattr(connection.connection, "prepare_threshold", None)
    with CaptureQueriesContext(connection) as statements:
        assert read() == usual
    assert "EXECUTE" not in str(statements.captured_queries)
