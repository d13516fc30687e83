"""The recipes of docs/recipes.md, as programs of the engines' own environment."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from django.contrib.auth import get_user_model

from approvals.delivery.webhooks.messages import secrets_of
from tests.adapters.desk import Desk
from tests.documents import examples
from tests.patience import patience
from tests.processes import Process, free_port


@dataclass(frozen=True)
class Kitchen:
    """A folder with the files of a recipe, and the processes that were started of them."""

    desk: Desk
    folder: Path
    running: ExitStack
    more: dict[str, str] = field(default_factory=dict)

    def lay_out(self, name: str, *files: str) -> None:
        """Save the code blocks of this name as these files, in order."""
        for file, code in zip(files, examples("recipes.md", name), strict=True):
            (self.folder / file).write_text(code, encoding="utf-8")

    def start(self, program: str, *arguments: str) -> Process:
        """Start a program of the engines' environment; killed at the end."""
        command = [f"{os.environ['SAYSO_TEST_HOSTS']}/bin/{program}", *arguments]
        environment = self.desk.environment(HOME=str(self.folder), **self.more)
        process = Process(command, environment=environment, directory=self.folder, name=program)
        return self.running.enter_context(process)

    def be_called(self) -> None:
        """Have an address at which callbacks come, on a port of its own."""
        port = str(free_port())
        (secret,) = secrets_of(get_user_model().objects.get(username="billing").pk)
        self.more.update(PORT=port, CALLBACK_URL=f"http://127.0.0.1:{port}/sayso", WEBHOOK_SECRET=secret)

    def post(self, path: str) -> None:
        """Post nothing to the service with that address."""
        url = f"http://127.0.0.1:{self.more['PORT']}{path}"
        assert httpx.post(url, timeout=patience(), trust_env=False).is_success


@pytest.fixture
def kitchen(desk: Desk, tmp_path: Path) -> Iterator[Kitchen]:
    with ExitStack() as running:
        yield Kitchen(desk, tmp_path, running)


def until_it_answers(process: Process, port: str) -> None:
    """Wait until somebody answers there, while the process runs."""
    with httpx.Client(trust_env=False, timeout=patience()) as http:
        while True:
            try:
                http.get(f"http://127.0.0.1:{port}/")
            except httpx.TransportError:
                process.wait_briefly(0.1)
            else:
                return
