"""The page that starts runs: what can be started, what it takes, and what is refused."""

from __future__ import annotations

from urllib.parse import urlencode

import pytest
from django.contrib.auth.models import User
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from pytest_django import Settings

from orchestration.models import Run, RunStatus
from tests import factories as make
from tests.marks import both_databases
from tests.submissions import Page, post

pytestmark = [pytest.mark.django_db, pytest.mark.one_stack]

DISK = {"input.directory": "/var/tmp", "input.limit": "7", "input.minimum": "1"}
ITEM = {"input.title": "Release", "input.items": "0", "input.items[0].title": "All tests are green"}
STEP = {"input.task": "t", "input.steps": "0", "input.steps[0].agent": "http", "input.steps[0].action": "GET"}


@pytest.fixture(autouse=True)
def allowed(settings: Settings) -> None:
    settings.SAYSO_CLEANUP_DIRECTORIES = ["/var/tmp"]
    settings.SAYSO_HTTP_HOSTS = ["example.org"]


@pytest.fixture
def olga() -> User:
    return make.user("olga", may=("add_run",))


@pytest.fixture
def client(olga: User) -> Client:
    client = Client()
    client.force_login(olga)
    return client


def address(name: str = "") -> str:
    return reverse("run-start") + (f"?{urlencode({'orchestration': name})}" if name else "")


def sent(client: Client, name: str, **values: str) -> HttpResponse:
    return client.post(address(name), {"key": "page-1", **values})  # type: ignore[return-value]


def test_what_can_be_started_is_listed_and_linked(client: Client) -> None:
    assert reverse("run-start") in client.get(reverse("runs")).text
    page = client.get(address()).text
    for name in ("checklist", "disk_cleanup", "plan"):
        assert f"?orchestration={name}" in page


def test_plain_input_has_a_field_each_with_its_default(client: Client) -> None:
    page = client.get(address("disk_cleanup")).text
    assert 'name="input.directory"' in page
    assert 'value="20"' in page


@both_databases
def test_a_run_is_queued_for_who_starts_it_and_shown(client: Client, olga: User) -> None:
    answer = sent(client, "disk_cleanup", **DISK)
    run = Run.objects.get()
    assert (answer.status_code, answer["Location"]) == (303, reverse("run", args=[run.pk]))
    assert (run.orchestration, run.owner, run.status) == ("disk_cleanup", olga, RunStatus.QUEUED)
    assert run.input == {"directory": "/var/tmp", "limit": 7, "minimum": 1}


def test_a_list_has_rows_that_can_be_added(client: Client) -> None:
    """By a button that starts nothing; each row has the fields of its model."""
    page = Page(client.get(address("checklist")).text, "input")
    assert post(client, address("checklist"), page.press("more", "input.items")).status_code == 200
    page = Page(post(client, address("checklist"), page.press("more", "input.items")).text, "input")
    assert not Run.objects.exists()
    page.fill("input.title", "Release").fill("input.items[0].title", "All tests are green")
    page.fill("input.items[1].title", "Backup is restorable").fill("input.items[1].required", "2")
    assert post(client, address("checklist"), page.sent()).status_code == 303
    first, second = Run.objects.get().input["items"]
    assert (first["title"], second["title"], second["required"]) == (
        "All tests are green",
        "Backup is restorable",
        2,
    )


def test_a_plans_steps_are_fields_of_agents_that_there_are(client: Client) -> None:
    page = Page(client.get(address("plan")).text, "input")
    page.fill("input.task", "See how full the disk is").pick("input.steps[0].agent", "command")
    page.fill("input.steps[0].action", "run").fill("input.steps[0].arguments", '{"program": "df"}')
    page.pick("input.steps[0].approval", "on")
    answer = post(client, address("plan"), page.sent())
    assert (answer.status_code, "program" in answer.text) == (422, True), "no program is allowed here"
    page.pick("input.steps[0].agent", "http").fill("input.steps[0].action", "GET")
    page.fill("input.steps[0].arguments", '{"url": "https://example.org/"}')
    assert post(client, address("plan"), page.sent()).status_code == 303
    assert Run.objects.get().input["steps"] == [
        {"agent": "http", "action": "GET", "arguments": {"url": "https://example.org/"}, "approval": True}
    ]


@both_databases
def test_a_form_that_is_sent_twice_starts_one_run(client: Client) -> None:
    first, again = (sent(client, "disk_cleanup", **DISK) for _ in range(2))
    assert first["Location"] == again["Location"]
    assert Run.objects.count() == 1


def test_a_form_that_was_changed_after_it_was_sent_starts_nothing_else(client: Client) -> None:
    sent(client, "disk_cleanup", **DISK)
    answer = sent(client, "disk_cleanup", **{**DISK, "input.limit": "8"})
    assert answer.status_code == 422
    assert "another orchestration or input" in answer.content.decode()
    assert Run.objects.get().input["limit"] == 7


@pytest.mark.parametrize(
    ("name", "values", "said"),
    [
        ("disk_cleanup", {**DISK, "input.directory": ""}, "Directory is required."),
        ("disk_cleanup", {**DISK, "input.limit": "many"}, "Limit must be a whole number."),
        ("disk_cleanup", {**DISK, "input.limit": "0"}, "Limit: input should be greater than or equal to 1"),
        ("checklist", {"input.title": "Release"}, "Items: list should have at least 1 item"),
        ("checklist", {**ITEM, "input.items[0].required": "0"}, "Required: input should be greater than"),
        ("plan", {**STEP, "input.steps[0].arguments": "{"}, "Arguments is not JSON"),
        ("plan", {**STEP, "input.steps[0].agent": "nobody"}, "Agent must be one of the options."),
        ("plan", {**STEP, "input.steps[0].arguments": "[]"}, "Arguments: "),
    ],
)
def test_what_does_not_fit_is_named_and_starts_nothing(
    client: Client, name: str, values: dict[str, str], said: str
) -> None:
    answer = sent(client, name, **values)
    assert answer.status_code == 422
    assert said in answer.content.decode()
    assert not Run.objects.exists()


def test_who_may_not_start_runs_is_not_offered_it(olga: User) -> None:
    client = Client()
    client.force_login(make.user())
    assert reverse("run-start") not in client.get(reverse("runs")).text
    assert client.get(address()).status_code == 403
    assert sent(client, "disk_cleanup", **DISK).status_code == 403
    assert not Run.objects.exists()


def test_what_is_unknown_is_not_found(client: Client) -> None:
    assert client.get(address("nonsense")).status_code == 404


def test_strangers_log_in_first() -> None:
    assert Client().get(address())["Location"].startswith(reverse("login"))
