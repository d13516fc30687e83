"""A person follows a run at a real browser: what it does, says and waits for, until its end."""

from __future__ import annotations

import re
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.db.models.functions import Now
from django.utils import timezone
from playwright.async_api import Page, expect
from pytest_django import Settings

from approvals import deciding, queries
from approvals.database.threads import in_database
from approvals.process import hints
from approvals.web.edge.hidden_characters import visible
from orchestration.manager import OrchestrationManager
from orchestration.models import Message, Run
from tests import factories as make
from tests.approvals.domain.test_characters import HIDING, WRITTEN
from tests.conftest import Serve
from tests.connections import session_of
from tests.marks import both_databases
from tests.patience import patience
from tests.processes import Server

pytestmark = [pytest.mark.django_db, pytest.mark.timeout(180), pytest.mark.one_stack]


@pytest.fixture
async def olga(stack: Any) -> User:
    return await in_database(make.user, "olga", may=("add_run",))


@pytest.fixture
def server(serve: Serve, settings: Settings, tmp_path: Path) -> Server:
    """One where the folder of the test may be cleaned up."""
    settings.SAYSO_CLEANUP_DIRECTORIES = [str(tmp_path)]
    return serve(SAYSO_CLEANUP_DIRECTORIES=str(tmp_path))


@pytest.fixture
async def at_work(page: Page, server: Server, olga: User) -> Page:
    key = await in_database(session_of, olga)
    await page.context.add_cookies([{"name": "sessionid", "value": key, "url": server.url}])
    return page


async def started(name: str, given: Any, owner: User) -> UUID:
    return await in_database(OrchestrationManager().start, name, given, owner)


SCREENS = [(width, scheme) for width in (1280, 360) for scheme in ("light", "dark")]


@both_databases
async def test_a_run_is_started_decided_and_started_again_on_its_page(
    at_work: Page, server: Server, olga: User, tmp_path: Path
) -> None:
    """All by hand, on one page; the list lives; nothing stands out of the screen, in either scheme."""
    shots = tmp_path / "screens"
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "large.bin").write_bytes(b"x" * 3000)
    run_id = await started("disk_cleanup", {"directory": str(folder)}, olga)
    await at_work.goto(f"{server.url}/runs/{run_id}/")
    await expect(at_work.locator("h1")).to_contain_text("Disk cleanup: /")
    asked = at_work.locator("#asked")
    await expect(asked).to_contain_text("Which files shall be removed?")
    await look(at_work, shots, "asked")

    await asked.get_by_label("large.bin").check()
    await asked.get_by_role("button", name="Answer").last.click()
    await expect(asked).to_contain_text("Remove 1 file")
    await look(at_work, shots, "approve")
    await asked.get_by_label("Note").fill("Not needed any more.")
    await asked.get_by_role("button", name="Approve").last.click()
    await expect(at_work.locator("#end-title")).to_have_text("Result")
    happened = at_work.locator(".timeline")
    await expect(happened).to_contain_text("Answered by olga")
    await expect(happened).to_contain_text("Approved by olga")
    await expect(happened).to_contain_text("Not needed any more.")
    await expect(at_work.locator("#asked")).to_have_count(0)
    assert names_in(folder) == []
    await look(at_work, shots, "done")

    await at_work.get_by_text("Start again with this input").click()
    await expect(at_work.get_by_label("Directory")).to_have_value(str(folder))
    await at_work.goto(f"{server.url}/runs/")
    await expect(at_work.locator("tbody tr")).to_have_count(1)
    await expect(at_work.locator(".pill")).to_have_text("Live")
    row = at_work.get_by_role("link", name="Disk cleanup")
    await row.focus()
    await started("checklist", {"title": "Friday", "items": ["Lock the door"]}, olga)
    await expect(at_work.locator("tbody tr").first).to_contain_text("Checklist: Friday")
    await expect(at_work.locator(".states")).to_contain_text("Waiting 1")
    await expect(row).to_be_focused()
    await look(at_work, shots, "list")


async def look(page: Page, shots: Path, name: str) -> None:
    """Photograph the page at each width and scheme; nothing may stand out of it to the right."""
    for width, scheme in SCREENS:
        await page.set_viewport_size({"width": width, "height": 900})
        await page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # a literal each
        await page.screenshot(path=shots / f"{name}-{width}-{scheme}.png", full_page=True)
        assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth"), (name, width)
    await page.set_viewport_size({"width": 1280, "height": 900})


@both_databases
async def test_a_run_is_followed_from_its_first_question_to_its_result(
    at_work: Page, server: Server, olga: User, tmp_path: Path
) -> None:
    """Nobody reloads: what it waits for, then asks next, then came to, appears."""
    (tmp_path / "large.bin").write_bytes(b"x" * 3000)
    (tmp_path / "small.bin").write_bytes(b"x" * 1000)
    run_id = await started("disk_cleanup", {"directory": str(tmp_path)}, olga)
    await at_work.goto(f"{server.url}/runs/{run_id}/")
    await expect(at_work.locator(".pill")).to_have_text("Live")

    question = await waited_for(at_work, "Which files shall be removed?")
    (large,) = [choice for choice in question.choices if "large.bin" in choice]
    await deciding.aanswer(make.actor(olga), question.pk, [large])
    approval = await waited_for(at_work, "Remove 1 file")
    await deciding.adecide(make.actor(olga), approval.pk, "approve")

    await expect(at_work.locator("article[data-run]")).to_contain_text("Completed")
    await expect(at_work.locator("#end-title")).to_have_text("Result")
    await expect(at_work.get_by_text("Cancel this run")).to_have_count(0)
    assert names_in(tmp_path) == ["small.bin"]


async def test_what_is_typed_stays_where_somebody_else_decides_meanwhile(
    at_work: Page, server: Server, olga: User, tmp_path: Path
) -> None:
    """With who decided; what the run asks next is listed beside it, and opens once the page is loaded."""
    (tmp_path / "large.bin").write_bytes(b"x")
    run_id = await started("disk_cleanup", {"directory": str(tmp_path)}, olga)
    await at_work.goto(f"{server.url}/runs/{run_id}/")
    question = await waited_for(at_work, "Which files shall be removed?")
    asked = at_work.locator("#asked")
    await asked.get_by_label("Note").fill("Only the large one.")
    await deciding.aanswer(make.actor(olga), question.pk, question.choices)
    await expect(asked).to_contain_text("Answered by olga")
    await expect(asked).to_contain_text("Your note was not sent:")
    await expect(asked).to_contain_text("Only the large one.")
    await expect(at_work.locator("[data-part=waits]")).to_contain_text("Remove 1 file")
    await at_work.reload()
    await expect(asked).to_contain_text("Remove 1 file")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


async def waited_for(page: Page, title: str) -> Any:
    """The request, once the page says that the run waits for it."""
    link = page.locator("#asked-title a", has_text=title)
    await expect(link).to_be_visible(timeout=1000 * patience(15))
    address = await link.get_attribute("href") or ""
    (request,) = await in_database(queries.requests_by_id, [address.split("/")[2]])
    return request


async def test_messages_appear_as_they_are_spoken_and_none_twice(
    at_work: Page, server: Server, olga: User, tmp_path: Path
) -> None:
    """Also for a page that was loaded in the middle of one, and after the server was away."""
    (tmp_path / "large.bin").write_bytes(b"x")
    run_id = await started("disk_cleanup", {"directory": str(tmp_path)}, olga)
    await at_work.goto(f"{server.url}/runs/{run_id}/")
    await waited_for(at_work, "Which files shall be removed?")
    message = await said(run_id, "I look", complete=False)
    await at_work.reload()
    texts = at_work.locator(".timeline .said .text")
    await expect(at_work.locator(".pill")).to_have_text("Live")
    first = re.compile("^Found 1 file")
    await expect(texts).to_have_text([first, "I look"])

    await grown(run_id, message, text="I look <b>here</b>")
    await expect(texts).to_have_text([first, "I look <b>here</b>"])
    await grown(run_id, message, text="I look <b>here</b>.", complete=True)
    await said(run_id, "Third.")
    await said(run_id, "Fo\u202eur", complete=False)
    marked = "FoU+202Eur"
    await expect(texts.last).to_have_text(marked)
    await grown(run_id, message + 2, text="Fo\u202eur \u200b\u200b👨‍👩‍👧", complete=True)
    marked += " U+200B × 2👨‍👩‍👧"
    everything: list[str | re.Pattern[str]] = [first, "I look <b>here</b>.", "Third.", marked]
    await expect(texts).to_have_text(everything)

    await in_database(server.kill)
    await expect(at_work.locator(".pill")).to_have_text("Reconnecting")
    again = await in_database(server.again)
    try:
        await expect(at_work.locator(".pill")).to_have_text("Live", timeout=1000 * patience(45))
        await said(run_id, "Fifth.")
        await expect(texts).to_have_text([*everything, "Fifth."])
    finally:
        await in_database(again.kill)


async def test_what_arrives_live_is_marked_as_the_server_marks_it(
    at_work: Page, server: Server, olga: User, tmp_path: Path
) -> None:
    """Whatever hides in a text, and wherever the same characters belong."""
    run_id = await started("disk_cleanup", {"directory": str(tmp_path)}, olga)
    await at_work.goto(f"{server.url}/runs/{run_id}/")
    around = [
        "a{}b",
        "{}",
        "م{}م",
        "👨{}👩",
        "क्{}ष",
        "र{}्",
        "葛{}",
        "1{}\u20e3",
        "\U0001f3f4{}",
        "a{0}b{0}{0}",
    ]
    hiding = [
        *HIDING,
        "\ufe0f\u200d",
        "\u202e\u2066",
        "\u202e\u200b\u2066\u200b",
        "\r",
        "\U000e0067\U000e007f",
    ]
    texts = [*WRITTEN, *(text.format(hidden) for text in around for hidden in hiding), "a\u200b" * 200]
    live = await at_work.evaluate(
        """async (texts) => {
            const { marked } = await import("/static/approvals/marks.js");
            return texts.map((text) => marked(text).textContent);
        }""",
        texts,
    )
    assert live == [unescape(re.sub(r"<[^>]+>", "", visible(text))) for text in texts]


async def said(run_id: UUID, text: str, *, complete: bool = True) -> int:
    def say() -> int:
        message = Message.objects.create(
            run_id=run_id, agent="disk", text=text, complete=complete, said_at=timezone.now()
        )
        return int(message.pk)

    return await told(run_id, say)


async def grown(run_id: UUID, message: int, **fields: Any) -> None:
    await told(run_id, lambda: Message.objects.filter(pk=message).update(**fields))


async def told(run_id: UUID, change: Callable[[], int]) -> int:
    """Change what was said, as the process that executes the run does."""

    def changed() -> int:
        result = change()
        Run.objects.filter(pk=run_id).update(changed_at=Now())
        hints.send("runs", [run_id])
        return result

    return await in_database(changed)


async def test_a_run_is_cancelled_after_a_confirmation(
    at_work: Page, server: Server, olga: User, tmp_path: Path
) -> None:
    (tmp_path / "large.bin").write_bytes(b"x")
    run_id = await started("disk_cleanup", {"directory": str(tmp_path)}, olga)
    await at_work.goto(f"{server.url}/runs/{run_id}/")
    question = await waited_for(at_work, "Which files shall be removed?")
    await at_work.get_by_text("Cancel this run").click()
    await at_work.get_by_role("button", name="Cancel the run").click()
    await expect(at_work.locator("article")).to_contain_text("Cancelled by olga")
    await at_work.goto(f"{server.url}/requests/{question.pk}/")
    await expect(at_work.locator("#detail")).to_contain_text("Withdrawn")
