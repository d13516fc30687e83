"""Sayso around a project's application: its own paths by its rules, everything else as it came."""

from __future__ import annotations

from typing import Any

import pytest
from channels.testing import ApplicationCommunicator
from django.core.asgi import get_asgi_application
from django.core.exceptions import ImproperlyConfigured
from pytest_django import Settings

import approvals.asgi
import orchestration.asgi
from approvals.web.edge.asgi import Application, Message, Receive, Scope, Send
from approvals.web.edge.lifespan import Lifespan
from approvals.web.wrapping import wrap

pytestmark = pytest.mark.urls("tests.approvals.web.below_a_path")


class Project:
    """A project's application, which knows every kind of connection. It notes what reaches it."""

    def __init__(self) -> None:
        self.reached: list[Scope] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.reached.append(scope)
        await receive()
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 4000})
        else:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            await send({"type": "http.response.body", "body": b"the project's"})


@pytest.fixture
def project() -> Project:
    return Project()


@pytest.fixture(params=[orchestration.asgi, approvals.asgi], ids=["both apps", "approvals alone"])
def application(request: pytest.FixtureRequest, project: Project) -> Application:
    wrapped: Application = request.param.application(project)
    return wrapped


def scope(kind: str, path: str, **more: Any) -> dict[str, Any]:
    return {
        "type": kind,
        "path": path,
        "method": "GET",
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"origin", b"http://localhost")],
        "client": ("192.0.2.7", 4711),
        **more,
    }


async def sent(application: Application, scope: Scope) -> Message:
    """The first message that it answers with."""
    call = ApplicationCommunicator(application, scope)
    await call.send_input(
        {"type": "websocket.connect"}
        if scope["type"] == "websocket"
        else {"type": "http.request", "body": b""}
    )
    answer: Message = await call.receive_output(5)
    call.stop(exceptions=False)
    return answer


async def test_what_is_not_below_our_path_reaches_the_project_as_it_came(
    application: Application, project: Project
) -> None:
    """Also what looks like ours elsewhere, and sockets of the project's."""
    for kind, path in [("http", "/"), ("http", "/api/v1/requests"), ("websocket", "/ws/inbox/")]:
        came = scope(kind, path)
        await sent(application, came)
        assert project.reached[-1] is came


async def test_what_is_below_it_has_our_rules(application: Application, project: Project) -> None:
    answer = await sent(application, scope("http", "/tools/sayso/rows/"))
    assert project.reached[-1]["path"] == "/tools/sayso/rows/"
    assert b"x-request-id" in dict(answer["headers"])


async def test_behind_a_prefix_the_path_is_ours_below_it(
    application: Application, project: Project, settings: Settings
) -> None:
    settings.FORCE_SCRIPT_NAME = "/behind"
    answer = await sent(application, scope("http", "/tools/sayso/rows/"))
    assert b"x-request-id" in dict(answer["headers"])
    assert project.reached[-1]["path"] == "/behind/tools/sayso/rows/"


async def test_our_sockets_do_not_reach_the_project(application: Application, project: Project) -> None:
    """One that there is not is denied, and so is one of a foreign page."""
    foreign = scope("websocket", "/tools/sayso/ws/inbox/", headers=[(b"origin", b"http://evil.test")])
    for came in (scope("websocket", "/tools/sayso/ws/nothing/"), foreign):
        assert (await sent(application, came))["type"] == "websocket.close"
    assert project.reached == []


async def test_django_itself_gets_no_socket() -> None:
    wrapped = orchestration.asgi.application(get_asgi_application())
    assert (await sent(wrapped, scope("websocket", "/elsewhere/")))["type"] == "websocket.close"


class Lively:
    """A project's application with a lifespan, which notes what happens in it."""

    def __init__(self, *answers: str) -> None:
        self.answers = list(answers)
        self.happened: list[str] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"]["pool"] = "open"
        while self.answers:
            self.happened.append((await receive())["type"])
            await send({"type": self.answers.pop(0)})
        raise ValueError("No application for 'lifespan'.")


async def lived_through(project: Application, happened: list[str]) -> tuple[Scope, list[str]]:
    """Start and stop the wrapped project as a server does; return its scope and our answers."""

    async def begin() -> None:
        happened.append("ours began")

    async def end() -> None:
        happened.append("ours ended")

    lifespan = Lifespan(begin, end, patience=lambda: 5.0)
    wrapped = wrap(project, lifespan, page_sockets=[], program_sockets=[])
    scope: Scope = {"type": "lifespan", "state": {}}
    server = ApplicationCommunicator(wrapped, scope)
    answers = []
    for message in ("lifespan.startup", "lifespan.shutdown"):
        await server.send_input({"type": message})
        answers.append((await server.receive_output(5))["type"])
    await server.wait(5)
    return scope, answers


BEGAN, ENDED = "lifespan.startup.complete", "lifespan.shutdown.complete"


async def test_a_projects_own_lifespan_is_around_ours() -> None:
    project = Lively(BEGAN, ENDED)
    scope, answers = await lived_through(project, project.happened)
    assert project.happened == ["lifespan.startup", "ours began", "ours ended", "lifespan.shutdown"]
    assert (answers, scope["state"]) == ([BEGAN, ENDED], {"pool": "open"})


async def test_a_project_that_can_not_start_does_not_start() -> None:
    project = Lively("lifespan.startup.failed")
    _, answers = await lived_through(project, project.happened)
    assert answers[0] == "lifespan.startup.failed"
    assert "ours began" not in project.happened


@pytest.mark.parametrize("answers", [(), (BEGAN,)], ids=["at the start", "later"])
async def test_a_project_without_lifespan_is_no_error(answers: tuple[str, ...]) -> None:
    happened: list[str] = []
    _, ours = await lived_through(Lively(*answers), happened)
    assert (ours, happened) == ([BEGAN, ENDED], ["ours began", "ours ended"])


@pytest.mark.urls("tests.approvals.web.without_ours")
def test_a_project_without_our_urls_is_told_the_line_to_add(project: Project) -> None:
    with pytest.raises(ImproperlyConfigured, match=r'path\("sayso/", include\("orchestration\.urls"\)\)'):
        orchestration.asgi.application(project)
