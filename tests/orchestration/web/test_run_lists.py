"""The list of runs: whose, by orchestration, by state with counts, searched, page by page."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.http import QueryDict
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from orchestration import queries
from orchestration.models import Run, RunStatus
from orchestration.web import run_lists
from orchestration.web.run_lists import RunFilters, read_list
from tests import factories as make
from tests.marks import both_databases
from tests.plans import plan_of

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

BEGINNING = timezone.now()


def run(owner: User | None, title: str, minute: int = 0, **fields: Any) -> Run:
    at = BEGINNING + timedelta(minutes=minute)
    ended = {"finished_at": at} if fields.get("status") in {"completed", "failed"} else {}
    known = {"orchestration": "checklist", "input": {"name": "Friday"}, "status": RunStatus.WAITING}
    return Run.objects.create(
        owner=owner, title=title, created_at=at, changed_at=at, **{**known, **ended, **fields}
    )


@pytest.fixture
def auditor() -> User:
    return make.user("ada", may=("view_run",))


@pytest.fixture
def client(auditor: User) -> Client:
    client = Client()
    client.force_login(auditor)
    return client


def titles_in(client: Client, query: str = "") -> list[str]:
    html = client.get(f"/runs/{query}").content.decode()
    return re.findall(r'<th scope="row"><a href="[^"]*">([^<]*)</a>', html)


@both_databases
def test_whose_which_orchestration_and_which_state(client: Client, auditor: User) -> None:
    olga = make.user("olga")
    run(olga, "Hers", 1)
    run(auditor, "Mine", 2)
    run(auditor, "Failed", 3, status=RunStatus.FAILED)
    run(auditor, "Tidied", 4, orchestration="disk_cleanup")
    assert titles_in(client) == ["Tidied", "Failed", "Mine", "Hers"]
    assert titles_in(client, "?show=mine") == ["Tidied", "Failed", "Mine"]
    assert titles_in(client, "?orchestration=disk_cleanup") == ["Tidied"]
    assert titles_in(client, "?status=failed") == ["Failed"]
    assert titles_in(client, "?status=waiting&show=mine&q=MIN") == ["Mine"]
    assert titles_in(client, "?q=olga") == ["Hers"]


@both_databases
def test_counts_are_of_the_runs_in_the_list_whatever_their_state(client: Client, auditor: User) -> None:
    run(make.user(), "Foreign")
    for status in (RunStatus.FAILED, RunStatus.FAILED, RunStatus.WAITING):
        run(auditor, "Own", status=status)
    run(auditor, "Other", orchestration="plan")

    def counts(query: str) -> dict[str, int]:
        found = read_list(auditor.pk, RunFilters.from_query(QueryDict(query))).counts
        return {state: number for state, number in found.items() if number}

    assert counts("") == counts("status=failed") == {"failed": 2, "waiting": 3}
    assert counts("show=mine") == {"failed": 2, "waiting": 2}
    assert counts("orchestration=plan") == {"waiting": 1}
    assert counts("q=own&status=waiting") == {"failed": 2, "waiting": 1}
    html = re.sub(r"\s+", " ", re.sub("<[^>]+>", " ", client.get("/runs/?status=queued").content.decode()))
    assert "Every state Queued 0 Waiting 3 Failed 2" in html


@both_databases
def test_history_is_read_page_by_page(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each run once, also those that began in the same moment; the filters stay."""
    monkeypatch.setattr(run_lists, "PAGE", 3)
    for number in range(8):
        run(None, f"Run {number}", number // 4)
    run(None, "Other", orchestration="plan")
    seen: list[str] = []
    address = "?orchestration=checklist"
    while address:
        html = client.get(f"/runs/{address}").content.decode()
        seen += re.findall(r'<th scope="row"><a href="[^"]*">([^<]*)</a>', html)
        older = re.search(r'<a href="([^"]*)" rel="next">Older', html)
        address = unescape(older[1]) if older else ""
    assert sorted(seen) == [f"Run {number}" for number in range(8)]
    assert seen[:4] == sorted(seen[:4], reverse=True)
    assert '<a href="?orchestration=checklist">Newest</a>' in html
    assert titles_in(client, "?before=nonsense") == titles_in(client)


@both_databases
def test_searches_end_at_the_newest_runs_and_the_page_says_so(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """But for an id, which is looked up."""
    monkeypatch.setattr(run_lists, "SEARCHED", 3)
    old, *_ = (run(None, f"Run {number}", number) for number in range(4))
    assert titles_in(client, "?q=run") == ["Run 3", "Run 2", "Run 1"]
    assert "Only the newest 3 runs were searched." in client.get("/runs/?q=run").content.decode()
    assert titles_in(client, f"?q={old.pk}") == ["Run 0"]
    assert len(titles_in(client)) == 4
    assert "were searched" not in client.get("/runs/").content.decode()


def test_a_script_gets_what_changes_of_the_list_alone(client: Client) -> None:
    run(None, "Tidy up")
    html = client.get("/runs/", headers={"HX-Target": "detail"}).content.decode()
    assert "<html" not in html
    assert re.findall(r'data-part="(\w+)"', html) == ["states", "list"]
    assert "Tidy up" in html


def test_counting_ends(client: Client, auditor: User, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lists, "COUNTED", 2)
    for _ in range(3):
        run(auditor, "Done", status=RunStatus.COMPLETED)
    assert read_list(auditor.pk, RunFilters()).counts["completed"] == 2


@both_databases
def test_history_makes_no_list_dearer() -> None:
    """Newest first, and by state, rows come from an index in their order: nothing else is read or sorted."""
    olga = make.user("olga")
    for runs in (Run.objects.all(), Run.objects.filter(owner=olga)):
        for listed in (runs, run_lists._in_state(runs, "failed")):
            plan = plan_of(listed.order_by("-created_at", "-id")[:51], "seqscan")
            assert re.search(r"(USING INDEX|using) run_(created|of_owner|ended)", plan), plan
            assert "Sort" not in plan
            assert "TEMP" not in plan


def test_a_list_takes_the_same_queries_however_long_it_is(client: Client) -> None:
    def count(query: str) -> int:
        with CaptureQueriesContext(connection) as captured:
            assert client.get(f"/runs/{query}").status_code == 200
        return len(captured)

    def counted() -> list[int]:
        return [count(query) for query in ("", "?show=mine", "?q=run", "?status=failed&orchestration=plan")]

    run(None, "Run")
    few = counted()
    for number in range(60):
        run(make.user() if number % 2 else None, f"Run {number}", number)
    assert counted() == few


def test_only_short_inputs_are_shown_and_nothing_large_is_read(auditor: User) -> None:
    run(auditor, "Short", 1, input={"order": 812})
    run(auditor, "Long", 0, input={"text": "x" * run_lists.SHORT_INPUT})
    with CaptureQueriesContext(connection) as captured:
        short, long = read_list(auditor.pk, RunFilters()).runs
        assert (short.short_input, long.short_input) == ({"order": 812}, None)
        assert (short.title, short.get_status_display()) == ("Short", "Waiting")
    assert not any('"orchestration_run"."result"' in query["sql"] for query in captured)


def test_all_is_offered_to_those_who_may_see_all(client: Client) -> None:
    assert 'href="?show=mine"' in client.get("/runs/").content.decode()
    other = Client()
    other.force_login(make.user())
    assert "show=mine" not in other.get("/runs/").content.decode()


def test_who_may_see_a_run_is_asked_each_time(client: Client, auditor: User) -> None:
    run(None, "Foreign")
    assert titles_in(client) == ["Foreign"]
    auditor.user_permissions.clear()
    assert titles_in(client) == []
    assert queries.list_runs(auditor.pk) == []


def test_a_moment_in_the_address_is_one_of_this_list() -> None:
    """Whatever else stands there is ignored."""
    for before in ("", "x", "9" * 500, "\x00"):
        query = QueryDict(mutable=True)
        query["before"] = before
        assert RunFilters.from_query(query).before is None
