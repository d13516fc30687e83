"""A Django engineer with docs/install.md, word for word: from `startproject` to a decision and a run."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from asgiref.sync import sync_to_async
from playwright.async_api import Page, expect

from orchestration.benchmark.installation import create_database, drop_database
from tests.conftest import Servers
from tests.host_projects import PASSWORD, HostProject, block, build_wheel, lines_of
from tests.processes import Process

pytestmark = [pytest.mark.browser, pytest.mark.processes]

POSTGRESQL = """
import environ
DATABASES = {{"default": environ.Env.db_url_config("{url}")}}
"""

OWN_WAYS = """
DATABASES["other"] = {"ENGINE": "django.db.backends.sqlite3", "NAME": BASE_DIR / "other.sqlite3"}
for each in DATABASES.values():
    each["ATOMIC_REQUESTS"] = True
DATABASE_ROUTERS = ["people.routers.ArchiveElsewhere"]
LANGUAGE_CODE = "de"
TIME_ZONE = "Europe/Berlin"
USE_THOUSAND_SEPARATOR = True
"""
# The project's own layer, and one beside it for Sayso.
LAYERS = """
def on_redis(prefix):
    config = {{"hosts": ["{url}"], "prefix": prefix}}
    return {{"BACKEND": "channels_redis.pubsub.RedisPubSubChannelLayer", "CONFIG": config}}

CHANNEL_LAYERS = {{"default": on_redis("shop_{port}"), "sayso": on_redis("beside_{port}")}}
SAYSO = {{"CHANNEL_LAYER": "sayso"}}
"""
ROUTER = """
class ArchiveElsewhere:
    def db_for_read(self, model, **hints):
        return "other" if model._meta.app_label == "archive" else None

    db_for_write = db_for_read

    def allow_migrate(self, db, app_label, **hints):
        return (db == "other") == (app_label == "archive")
"""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_wheel(tmp_path_factory.mktemp("build"))


@pytest.fixture
def project(tmp_path: Path, wheel: Path) -> HostProject:
    return HostProject(tmp_path, wheel)


@pytest.fixture(params=["Sayso's", "its own"])
def frame(request: pytest.FixtureRequest, project: HostProject) -> str:
    if request.param == "its own":
        project.take_own_frame()
    return str(request.param)


@pytest.fixture
def served(project: HostProject, frame: str, servers: Servers) -> Iterator[Process]:
    """The project with the page's lines and account, served; with a layer of its own if it has a frame."""
    assert project.add_lines() <= 10
    if frame == "its own":
        project.append("mysite/settings.py", LAYERS.format(url=servers.redis.url, port=project.port))
    assert "no issues" in project.commands("prepare")
    with project.serve() as server:
        yield server


def test_the_wheel_is_both_apps_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.partition("/")[0] for name in names if ".dist-info" not in name} == {
        "approvals",
        "orchestration",
    }
    for needed in (
        "approvals/templates/approvals/base.html",
        "approvals/static/approvals/sayso.js",
        "approvals/migrations/0001_initial.py",
        "orchestration/templates/orchestration/run.html",
        "orchestration/management/commands/benchmark.py",
    ):
        assert needed in names


def test_what_is_missing_is_said_with_the_line_to_add(project: HostProject) -> None:
    """With the apps alone, `check` leads to each line of the page; with all of them it says nothing."""
    apps, *settings = lines_of("settings")
    project.append("mysite/settings.py", apps)
    said = project.run(["manage.py", "check"], status=1)
    for line in settings:
        assert line in said
    assert 'path("sayso/", include("orchestration.urls")),' in said
    project.append("mysite/settings.py", "\n".join(settings))
    project.append("mysite/urls.py", block("urls"))
    said = project.run(["manage.py", "check"])
    first, second = lines_of("asgi")
    assert f"At its end: {first}; {second}" in said
    project.append("mysite/asgi.py", block("asgi"))
    assert "no issues" in project.run(["manage.py", "check"])


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_project_keeps_its_accounts_and_ways(
    request: pytest.FixtureRequest, project: HostProject, servers: Servers, database: str
) -> None:
    """Email addresses as names, UUIDs as keys; a second database, ATOMIC_REQUESTS, language and time."""
    project.add_lines()
    if database == "postgresql":
        name = f"host_{project.port}"
        url = create_database(servers.postgres.url, name)
        request.addfinalizer(lambda: drop_database(servers.postgres.url, name))
        project.append("mysite/settings.py", POSTGRESQL.format(url=url))
    project.take_own_accounts()
    project.append("people/routers.py", ROUTER)
    project.append("mysite/settings.py", OWN_WAYS)
    for alias in ("default", "other"):
        project.run(["manage.py", "migrate", "-v", "0", "--database", alias])
    script = Path(__file__).with_name("in_a_project.py")
    said = project.run(["manage.py", "shell", "-v", "0", "-c", f"exec(open({str(script)!r}).read())"])
    assert "all is well" in said


async def test_from_startproject_to_a_decision_and_a_run(
    page: Page, project: HostProject, served: Process, frame: str, servers: Servers
) -> None:
    await page.goto(f"{project.url}/sayso/")
    await page.get_by_label("Username").fill("ada")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_role("button", name="Log in").click()
    await expect(page.get_by_role("link", name="Inbox")).to_be_visible()
    await expect(page.locator(".pill")).to_have_text("Live")
    own = int(frame == "its own")
    await expect(page.get_by_role("link", name="Your own header")).to_have_count(own)
    assert channels_on(servers.redis.url, f"beside_{project.port}") >= own
    assert channels_on(servers.redis.url, f"shop_{project.port}") == 0

    await sync_to_async(project.run)(["manage.py", "shell", "-v", "0", "-c", block("ask")])
    await approve(page, "Refund 12.40 EUR to ACME")

    await sync_to_async(project.commands)("start")
    await page.get_by_role("link", name="Inbox").click()
    await approve(page, "Tests are green")
    await page.get_by_role("link", name="Runs").click()
    await page.get_by_role("link", name="Checklist").click()
    await expect(page.get_by_text("Completed").first).to_be_visible()

    assert "The trail holds." in await sync_to_async(project.commands)("trail")
    await page.goto(f"{project.url}/sayso/healthz/ready")
    assert json.loads(await page.inner_text("body"))["ready"] is True


def channels_on(redis_url: str, prefix: str) -> int:
    """How many channels with this prefix somebody listens to."""
    with redis.Redis.from_url(redis_url) as client:
        return len(client.pubsub_channels(f"{prefix}*"))


async def approve(page: Page, title: str) -> None:
    """Open a request from the list, once it is there, and approve it."""
    await page.locator("#rows a", has_text=title).click()
    detail = page.locator("#detail")
    await expect(detail.get_by_role("heading", level=1)).to_contain_text(title)
    await detail.get_by_role("button", name="Approve", exact=True).click()
    await expect(detail.locator(".done")).to_contain_text(title)
