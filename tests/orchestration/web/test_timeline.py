"""What happened in a run, in order, as each reader may see it, however long the run is."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import given
from hypothesis import strategies as st

from approvals import deciding
from approvals.models import HumanRequest
from orchestration.models import Message, Run, RunStatus, StepRecord
from orchestration.web import timeline
from orchestration.web.timeline import Place, Timeline, read_timeline
from tests import factories as make
from tests.marks import both_databases
from tests.plans import plan_of

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

BEGINNING = datetime(2026, 11, 22, 12, tzinfo=UTC)


def at(minute: float) -> datetime:
    return BEGINNING + timedelta(minutes=minute)


def run(owner: User | None, **fields: Any) -> Run:
    known = {"orchestration": "checklist", "title": "Tidy up", "status": RunStatus.WAITING}
    return Run.objects.create(owner=owner, created_at=BEGINNING, changed_at=BEGINNING, **{**known, **fields})


def step(one: Run, minute: float, kind: str = "step", **fields: Any) -> StepRecord:
    key = f"{kind}#{one.steps.count()}"
    known = {"name": f"{kind} at {minute}", "status": "done", "started_at": at(minute)}
    made: StepRecord = one.steps.create(key=key, kind=kind, **{**known, **fields})
    return made


def say(one: Run, minute: float, text: str = "", **fields: Any) -> Message:
    made: Message = one.messages.create(
        agent="disk", text=text or f"said at {minute}", said_at=at(minute), **fields
    )
    return made


def ask(one: Run, minute: float, title: str = "", **terms: Any) -> str:
    origin = {"kind": "run", "id": str(one.pk), "url": f"/runs/{one.pk}/"}
    request = make.approval(title or f"asked at {minute}", origin=origin, requester=one.owner, **terms)
    HumanRequest.writing.filter(pk=request).update(opened_at=at(minute))
    return request


def words(page: Timeline) -> list[str]:
    return [_word(entry) for entry in page.entries]


def _word(entry: timeline.Entry) -> str:
    if entry.what == "message":
        return str(entry.row.text)
    if entry.what == "request":
        return str(entry.row.title)
    return str(entry.row.name) if entry.row else entry.what


def pages(reader: User, one: Run) -> list[Timeline]:
    """All pages, the latest first."""
    found = [read_timeline(reader.pk, one)]
    while (older := found[-1].older) is not None:
        found.append(read_timeline(reader.pk, one, Place.from_text(str(older))))
    return found


@pytest.fixture
def olga() -> User:
    return make.user("olga")


@both_databases
def test_everything_is_told_in_the_order_in_which_it_happened(olga: User) -> None:
    one = run(
        olga,
        resumed_at=at(6),
        cancel_requested_at=at(8),
        finished_at=at(9),
        status=RunStatus.CANCELLED,
    )
    say(one, 2)
    step(one, 1)
    step(one, 2, "say")  # the message is told, not that it was
    ask(one, 3)
    step(one, 3, "approve", name="asked at 3")
    step(one, 4, "sleep", due_at=at(5), name="sleep")
    step(one, 7, name="again")
    (page,) = pages(olga, one)
    assert words(page) == [
        "started",
        "step at 1",
        "said at 2",
        "asked at 3",
        "sleep",
        "resumed",
        "again",
        "cancelled",
        "ended",
    ]
    assert (page.latest, page.heard, page.sees_requests) == (True, 0, True)


@both_databases
def test_who_decided_what_and_when_and_what_was_said(olga: User) -> None:
    one = run(olga)
    ann, bob = make.user("ann"), make.user("bob")
    request = ask(one, 1, assignees=[ann, bob], required=2)
    deciding.decide(make.actor(ann), request, "approve", comment="Fine.")
    (first,) = [entry for entry in read_timeline(olga.pk, one).entries if entry.what == "request"]
    assert [(vote.actor, vote.verdict) for vote in first.votes] == [(ann, "approve")]
    deciding.decide(make.actor(bob), request, "reject", comment="Too much.")
    (second,) = [entry for entry in read_timeline(olga.pk, one).entries if entry.what == "request"]
    assert (second.status, second.row.decided_by, second.row.comment) == ("rejected", bob, "Too much.")
    assert second.row.closed_at is not None


@both_databases
def test_no_word_of_a_request_that_the_reader_may_not_see(olga: User) -> None:
    """But that there is one."""
    one = run(olga)
    origin = {"kind": "run", "id": str(one.pk)}
    make.approval("Secret", origin=origin, assignees=[make.user()])
    page = read_timeline(olga.pk, one)
    assert words(page) == ["started", "unseen"]
    assert (page.entries[1].row, page.entries[1].status, page.sees_requests) == (None, "", False)


@both_databases
@pytest.mark.parametrize("limit", [1, 3, 7])
def test_a_long_run_is_told_page_by_page_each_thing_once(
    olga: User, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    monkeypatch.setattr(timeline, "LIMIT", limit)
    one = run(olga, resumed_at=at(5.5), finished_at=at(20), status=RunStatus.COMPLETED)
    for minute in range(1, 12):
        if minute % 3 == 0:
            say(one, minute)
            step(one, minute, "say")
        elif minute % 3 == 1:
            step(one, minute)
        else:
            ask(one, minute)
    told = pages(olga, one)
    assert len(told) > 1
    assert all(len(page.entries) <= limit + 3 for page in told)
    happened = [word for page in reversed(told) for word in words(page)]
    expected = [
        *(f"{['said', 'step', 'asked'][minute % 3]} at {minute}" for minute in range(1, 12)),
    ]
    assert happened == ["started", *expected[:5], "resumed", *expected[5:], "ended"]


def test_long_texts_make_pages_shorter_and_one_that_is_longer_stands_alone(
    olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "BYTES", 100)
    one = run(olga)
    for minute, text in ((1, "a" * 60), (2, "b" * 60), (3, "c" * 500), (4, "d" * 30), (5, "e" * 30)):
        say(one, minute, text)
    assert [[word[:1] for word in words(page)] for page in pages(olga, one)] == [
        ["d", "e"],
        ["c"],
        ["b"],
        ["s", "a"],
    ]


def test_what_is_heard_over_the_socket_begins_where_the_page_ends(
    olga: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(timeline, "LIMIT", 2)
    one = run(olga)
    said = [say(one, minute) for minute in range(1, 5)]
    assert read_timeline(olga.pk, one).heard == said[1].pk
    for minute in range(5, 8):
        step(one, minute)
    assert read_timeline(olga.pk, one).heard == said[3].pk


def test_results_are_shown_in_place_where_they_are_short(olga: User) -> None:
    """Of one that is long only that there is one."""
    one = run(olga)
    step(one, 1, result={"freed": 3})
    step(one, 2, result="x" * timeline.SHORT_RESULT)
    step(one, 3, attempts=3, error="Step 'c' failed.", status="failed", finished_at=at(3.1))
    short, long, failed = read_timeline(olga.pk, one).entries[1:]
    assert (short.row.short_result, short.large) == ({"freed": 3}, False)
    assert (long.row.short_result, long.large) == (None, True)
    assert (failed.took, failed.row.attempts, failed.row.error) == ("6.0 s", 3, "Step 'c' failed.")


@both_databases
def test_a_page_takes_the_same_queries_and_rows_however_long_the_run_is(olga: User) -> None:
    one = run(olga)

    def grow(count: int) -> None:
        for minute in range(count):
            step(one, minute)
            say(one, minute)
            ask(one, minute)

    def cost() -> int:
        with CaptureQueriesContext(connection) as captured:
            read_timeline(olga.pk, one)
        assert all("LIMIT" in query["sql"] or " IN (" in query["sql"] for query in captured if _of_run(query))
        return len(captured)

    grow(3)
    few = cost()
    grow(timeline.LIMIT // 2)
    assert cost() == few


def _of_run(query: dict[str, str]) -> bool:
    tables = ("orchestration_steprecord", "orchestration_message", "approvals_humanrequest")
    return any(f'FROM "{table}"' in query["sql"] for table in tables)


@both_databases
def test_records_are_read_from_an_index_in_their_order(olga: User) -> None:
    one = run(olga)
    sources = (
        (StepRecord.objects.filter(run=one), "step_of_run"),
        (Message.objects.filter(run=one), "message_of_run"),
    )
    for rows, index in sources:
        plan = plan_of(rows.order_by("-pk")[:101], "seqscan", "bitmapscan", "sort")
        assert index in plan or "Index Scan Backward" in plan, plan
        assert "TEMP" not in plan


ROWS = st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.integers(0, 40)), max_size=12)


@given(several=st.tuples(ROWS, ROWS, ROWS), limit=st.integers(1, 5))
def test_whatever_the_order_of_moments_pages_have_each_row_once(
    several: tuple[list[tuple[int, bool, int]], ...], limit: int
) -> None:
    """Of each source in its own order: a step that was begun anew has a later moment than those behind it."""
    everything = [
        [
            timeline._Row(id=number, at=at(minute), shown=shown, octets=octets)
            for number, (minute, shown, octets) in reversed(list(enumerate(rows, start=1)))
        ]
        for rows in several
    ]
    seen: list[list[int]] = [[], [], []]
    last: list[Any] = [None, None, None]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timeline, "LIMIT", limit)
        patch.setattr(timeline, "BYTES", 50)
        for _ in range(100):
            sources = [
                timeline._Source(
                    rows=[row for row in rows if end is None or row.id < end][: limit + 1], last=end
                )
                for rows, end in zip(everything, last, strict=True)
            ]
            timeline._take(sources)
            for source, ids in zip(sources, seen, strict=True):
                ids += [row.id for row in source.taken]
            last = [source.last for source in sources]
            assert sum(row.shown for source in sources for row in source.taken) <= limit
            if not any(source.goes_on for source in sources):
                break
    assert seen == [[row.id for row in rows] for rows in everything]


@given(st.text() | st.from_regex(r"[0-9]*\.[0-9]*\.[0-9a-f-]*\.[0-9]*"))
def test_whatever_an_address_says_there_is_a_page(text: str) -> None:
    place = Place.from_text(text)
    assert place is None or Place.from_text(str(place)) == place
