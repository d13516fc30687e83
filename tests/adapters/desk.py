"""Who decides what the agents under test ask, and the processes that the agents are."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from sayso_client import AsyncSayso, Request, Sayso

from approvals.web.edge import tokens
from tests import factories as make
from tests.patience import patience
from tests.processes import PROJECT, Process, Server, bare_environment

# Of an approval: "approve", ("reject", "why"), ("edit", {what changes}); of a question: ("answer", what).
Say = Any


@dataclass(frozen=True)
class Desk:
    """Ann, who decides at a real server, and the account of the agents."""

    server: Server
    token: str
    ann: Sayso

    def asking(self) -> Sayso:
        return Sayso(self.server.url, self.token)

    def asking_async(self) -> AsyncSayso:
        return AsyncSayso(self.server.url, self.token)

    def be_set_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """This process has the server's address and the token in its environment."""
        monkeypatch.setenv("SAYSO_URL", self.server.url)
        monkeypatch.setenv("SAYSO_TOKEN", self.token)

    def all(self) -> list[Request]:
        """All that was asked, in order."""
        return list(self.ann.requests())[::-1]

    def pending(self, count: int, process: Process | None = None) -> list[Request]:
        """So many requests, in order, once they are open."""
        until = time.monotonic() + patience(60)
        while len(found := list(self.ann.requests(status="pending"))) != count:
            assert time.monotonic() < until, found
            (process or self.server).wait_briefly(0.1)
        return found[::-1]

    def decide(self, *said: Say, process: Process | None = None) -> None:
        """Wait until as many are open, and say one of these to each, in order."""
        for request, one in zip(self.pending(len(said), process), said, strict=True):
            self.say(request, one)

    def say(self, request: Request, said: Say) -> None:
        match said:
            case ("edit", changed):
                arguments = {**request.raw["arguments"], **changed}
                self.ann.decide(request.id, "approve", arguments=arguments)
            case ("answer", what):
                self.ann.answer(request.id, what)
            case (decision, comment):
                self.ann.decide(request.id, decision, comment=comment)
            case decision:
                self.ann.decide(request.id, decision)

    def start(self, module: str, *arguments: str | Path) -> Process:
        """An agent as a process of its own, which has the client and knows the server's address."""
        command = [sys.executable, "-m", f"tests.adapters.{module}", *arguments]
        return Process(command, environment=self.environment(), name=module)

    def environment(self, **more: str) -> dict[str, str]:
        """What such a process finds."""
        given = {"SAYSO_URL": self.server.url, "SAYSO_TOKEN": self.token}
        return bare_environment() | given | {"PYTHONPATH": str(PROJECT / "client")} | more


@pytest.fixture
def desk(server: Server) -> Iterator[Desk]:
    asking = tokens.issue(make.user("billing").pk, "agent", ["ask"])[1]
    deciding = tokens.issue(make.reviewer("ann").pk, "page", ["decide", "read"])[1]
    with Sayso(server.url, deciding) as ann:
        yield Desk(server, asking, ann)
