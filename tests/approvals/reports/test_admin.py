"""The report page: who may read it, what it says, and the rows that each figure leads to."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib import admin
from django.contrib.auth import get_user
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from approvals.domain.lifecycle import Status
from approvals.models import HumanRequest
from approvals.reports import By, Period, report
from orchestration.models import Run, RunStatus
from tests import factories as make
from tests.approvals.reports.records import Asked, after, put_on_record
from tests.marks import both_databases

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

DAY = 86_400
PAGE = "/admin/reports/"
PERIOD = "since=2026-03-02&until=2026-03-04"
SECTION = re.compile(r'<section class="plot .*?</section>', re.DOTALL)


def reader(*may: str) -> Client:
    """Logged in as staff with these permissions."""
    client = Client()
    client.force_login(make.user(may=may, is_staff=True))
    return client


@pytest.fixture
def auditor() -> Client:
    return reader("view_report", "view_humanrequest")


@pytest.fixture
def record() -> None:
    """Of each end some, of each part some."""
    runs = [
        Run.objects.create(
            orchestration=name,
            title=name,
            status=RunStatus.COMPLETED,
            created_at=after(0),
            finished_at=after(0),
            changed_at=after(0),
        )
        for name in ("refund", "deploy & roll back")
    ]
    ends = [*Status][1:]
    put_on_record(
        Asked(
            opened=number * 6_500.5 - 40_000,
            closed=number * 6_900.25 - 40_000 + 60 if number % 6 else None,
            status=ends[number % 5],
            by=(None, "ana", "ben")[number % 3] if number % 5 < 3 else None,
            groups=((), ("finance",), ("finance", "legal & risk"))[number % 3],
            run=str(runs[number % 2].pk) if number % 4 else "",
        )
        for number in range(48)
    )


@both_databases
def test_each_figure_leads_to_as_many_rows_as_it_says(auditor: Client, record: None) -> None:
    """Whatever is counted, of all requests and of every part; what several reports count, once."""
    counts: set[tuple[str, int]] = set()
    for by in By:
        page = auditor.get(f"{PAGE}?{PERIOD}&by={by}").content.decode()
        counted = counts_of(SECTION.sub("", page))
        assert len(counted) > 12, by
        counts |= counted
    assert_listed(auditor, counts)


@both_databases
def test_each_figure_behind_a_plot_leads_to_as_many_rows_as_it_says(auditor: Client, record: None) -> None:
    """Day by day, and for each hour of the week; however the report is grouped."""
    page = auditor.get(f"{PAGE}?{PERIOD}&by=kind").content.decode()
    counts: set[tuple[str, int]] = set()
    for plot, least in (("outcomes", 12), ("backlog", 3), ("week", 24)):
        (section,) = [found[0] for found in SECTION.finditer(page) if f"plot-{plot}" in found[0]]
        counted = counts_of(section)
        assert len(counted) >= least, plot
        counts |= counted
    assert_listed(auditor, counts)


def test_each_time_behind_a_plot_leads_somewhere(auditor: Client, record: None) -> None:
    page = auditor.get(f"{PAGE}?{PERIOD}&by=kind").content.decode()
    for plot in ("times", "ages"):
        (section,) = [found[0] for found in SECTION.finditer(page) if f"plot-{plot}" in found[0]]
        cells = re.findall(r'<td class="number">(.*?)</td>', section)
        assert cells
        assert all("/admin/approvals/humanrequest/?" in cell for cell in cells if cell != "-")


def counts_of(page: str) -> set[tuple[str, int]]:
    links = re.findall(r'<a href="(/admin/approvals/humanrequest/[^"]+)"[^>]*>([^<]+)</a>', page)
    return {(unescape(url), int(text.replace(",", ""))) for url, text in links if text.isdecimal()}


def assert_listed(auditor: Client, counts: set[tuple[str, int]]) -> None:
    """Of hundreds of lists the rows alone: they are all shown by one page."""
    listing = admin.site.get_model_admin(HumanRequest)
    for url, count in counts:
        request = RequestFactory().get(url)
        request.session = auditor.session
        request.user = get_user(request)
        assert len(listing.get_changelist_instance(request).result_list) == count, url
    assert len(auditor.get(url).context["cl"].result_list) == count


@both_databases
def test_times_lead_to_what_was_decided(auditor: Client, record: None) -> None:
    page = auditor.get(f"{PAGE}?{PERIOD}&by=kind").content.decode()
    found = report(Period(since=after(0), until=after(3 * DAY)), By.KIND)
    url = re.search(r'Median time to decision</span> <b><a href="([^"]+)"', page)
    assert url
    listed = auditor.get(unescape(url[1])).context["cl"].result_list
    assert len(listed) == found.total.decided > 0


@both_databases
@pytest.mark.parametrize("moment", ["soon", "2026-02-31", "9999-12-31T23:59:59-10:00", "%00"])
def test_what_was_open_at_no_moment_is_no_error(auditor: Client, record: None, moment: str) -> None:
    assert auditor.get(f"/admin/approvals/humanrequest/?open_at={moment}").status_code == 200


@both_databases
@pytest.mark.parametrize("hour", ["7-00", "0-24", "1", "monday", "\u0661-01", "%00", "1" * 30])
def test_what_was_opened_in_no_hour_is_no_error(auditor: Client, record: None, hour: str) -> None:
    assert auditor.get(f"/admin/approvals/humanrequest/?opened_in={hour}").status_code == 200


def test_a_listed_request_has_the_page_of_its_kind(auditor: Client, record: None) -> None:
    row = auditor.get("/admin/approvals/humanrequest/").context["cl"].result_list[0]
    answer = auditor.get(f"/admin/approvals/humanrequest/{row.pk}/change/")
    assert answer.headers["Location"] == f"/admin/approvals/{row.kind}/{row.pk}/change/"
    assert auditor.get("/admin/approvals/humanrequest/nothing/change/").status_code == 404
    assert auditor.get("/admin/approvals/humanrequest/add/").status_code == 403


def test_only_those_who_may_read_reports_do() -> None:
    assert reader("view_humanrequest").get(PAGE).status_code == 403
    assert reader("view_report").get(PAGE).status_code == 200
    assert Client().get(PAGE).status_code == 302
    stranger = Client()
    stranger.force_login(make.user(may=("view_report",)))
    assert stranger.get(PAGE).status_code == 302
    boss = Client()
    boss.force_login(User.objects.create_superuser("boss"))
    assert boss.get(PAGE).status_code == 200


def test_who_may_not_see_all_requests_has_figures_without_links(record: None) -> None:
    page = reader("view_report").get(f"{PAGE}?{PERIOD}").content.decode()
    assert "humanrequest/?" not in page
    assert "Time to decision" in page


def test_reports_are_named_on_the_index_for_those_who_may_read_them(auditor: Client) -> None:
    assert PAGE in auditor.get("/admin/").content.decode()
    assert PAGE not in reader().get("/admin/").content.decode()


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("since=2026-03-04&until=2026-03-02", "Until: This must be later than since."),
        ("since=soon", "From: This must be a date"),
        ("since=2999-01-01", "From: This must be in the past."),
        ("by=colour", "By: This must be one of day, kind"),
    ],
)
def test_an_impossible_choice_is_told_beside_the_form(auditor: Client, query: str, said: str) -> None:
    answer = auditor.get(f"{PAGE}?{query}")
    assert answer.status_code == 400
    assert said in answer.content.decode()


@pytest.mark.parametrize("kind", ["csv", "json", "html"])
def test_the_same_report_is_there_as_a_file(auditor: Client, record: None, kind: str) -> None:
    answer = auditor.get(f"{PAGE}?{PERIOD}&by=group&format={kind}")
    named = f'attachment; filename="report-by-group-2026-03-02-2026-03-04.{kind}"'
    assert answer.headers["Content-Disposition"] == named
    assert "legal &" in answer.content.decode()


def test_there_is_no_other_file(auditor: Client) -> None:
    assert auditor.get(f"{PAGE}?format=xml").status_code == 404


def test_the_page_needs_as_many_queries_for_much_as_for_little(auditor: Client) -> None:
    put_on_record([Asked(opened=1, closed=2, groups=("finance",))])
    with CaptureQueriesContext(connection) as little:
        auditor.get(f"{PAGE}?{PERIOD}&by=group")
    put_on_record(Asked(opened=number, closed=number + 9, groups=(f"g{number}",)) for number in range(40))
    with CaptureQueriesContext(connection) as much:
        auditor.get(f"{PAGE}?{PERIOD}&by=group")
    assert len(much) == len(little)
