"""Django projects of their own, in a temporary folder, in which the built wheel is installed.

Made as docs/install.md says, by reading that page. Their processes are forks (tests/forks.py), and find
the wheel before the checkout.
"""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path

from tests.processes import PROJECT, Forked, Process, bare_environment, free_port

PAGE = (PROJECT / "docs" / "install.md").read_text(encoding="utf-8")
# What the page calls the project, and where it serves it.
NAME, PORT = "mysite", "8000"
PASSWORD = "correct horse battery staple"

# What a person types when a command asks for it.
_UNASKED = {"createsuperuser": ["--noinput"]}
_ACCOUNT = {"DJANGO_SUPERUSER_PASSWORD": PASSWORD}

ACCOUNTS = """
import uuid
from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import PermissionsMixin
from django.db import models

class People(BaseUserManager):
    def create_user(self, email, password=None, **more):
        person = self.model(email=self.normalize_email(email), **more)
        person.set_password(password)
        person.save(using=self._db)
        return person

    def create_superuser(self, email, password=None, **more):
        return self.create_user(email, password, is_staff=True, is_superuser=True, **more)

class Person(AbstractBaseUser, PermissionsMixin):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    email = models.EmailField(unique=True)
    is_staff = models.BooleanField(default=False)
    is_active = models.BooleanField(default=True)
    objects = People()
    USERNAME_FIELD = "email"
"""


def block(mark: str) -> str:
    """The code block of docs/install.md after this mark."""
    found = re.search(rf"<!-- {mark} -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
    assert found, f"docs/install.md has no block marked {mark}"
    return found[1]


def lines_of(mark: str) -> list[str]:
    """The lines of such a block, without empty ones."""
    return [line for line in block(mark).splitlines() if line]


def build_wheel(folder: Path) -> Path:
    """Build the wheel from a copy of what ships, so that nothing is left in the checkout."""
    for each in ("approvals", "orchestration", "config", "templates"):
        shutil.copytree(PROJECT / each, folder / each, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "manage.py"):
        shutil.copy(PROJECT / name, folder / name)
    # The packages that it needs are there: those of the tests.
    build = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "-q",
        "--no-deps",
        "--no-build-isolation",
        "-w",
        "dist",
        ".",
    ]
    subprocess.run(build, cwd=folder, check=True, capture_output=True, timeout=100)
    (wheel,) = (folder / "dist").iterdir()
    return wheel


class HostProject:
    """A project made by `startproject`, with what docs/install.md adds to its files."""

    def __init__(self, folder: Path, wheel: Path) -> None:
        self.folder = folder / "project"
        self.folder.mkdir()
        self._packages = folder / "packages"
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(self._packages)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.run(["-m", "django", "startproject", NAME, "."])

    def add_lines(self) -> int:
        """Add the page's lines to the project's files; return how many these are."""
        lines = 0
        for mark in ("settings", "urls", "asgi"):
            lines += len(lines_of(mark))
            self.append(f"{NAME}/{mark}.py", block(mark))
        return lines

    def take_own_accounts(self) -> None:
        """Give the project accounts with an email address as their name and a UUID as their primary key."""
        (self.folder / "people").mkdir()
        (self.folder / "people" / "__init__.py").touch()
        self.append("people/models.py", ACCOUNTS)
        self.append(
            f"{NAME}/settings.py", 'INSTALLED_APPS += ["people"]\nAUTH_USER_MODEL = "people.Person"\n'
        )
        self.run(["manage.py", "makemigrations", "people"])

    def take_own_frame(self) -> None:
        """Put the page's template around Sayso's pages."""
        self.append(f"{NAME}/settings.py", 'TEMPLATES[0]["DIRS"] = [BASE_DIR / "templates"]')
        (self.folder / "templates" / "approvals").mkdir(parents=True)
        self.append("templates/approvals/base.html", block("frame"))

    def append(self, path: str, text: str) -> None:
        with (self.folder / path).open("a") as file:
            file.write(f"\n{text}")

    def run(self, arguments: list[str], environment: Mapping[str, str] = {}, *, status: int = 0) -> str:
        """Run `python` with these arguments to its end; what it printed."""
        with self.start(arguments, environment) as process:
            assert process.wait() == status, process.output.text
            return process.output.text

    def commands(self, mark: str) -> str:
        """Run the commands of a block of the page, each to its end; what they printed."""
        commands = [_words(line) for line in lines_of(mark)]
        return "\n".join(self.run([*words, *_UNASKED.get(words[1], [])], _ACCOUNT) for words in commands)

    def serve(self) -> Process:
        """Start the page's server on the project's own port, and wait until it listens."""
        (line,) = block("serve").splitlines()
        process = self.start(_words(line.replace(PORT, str(self.port))))
        process.output.wait_for(f"Sayso listens on {self.url}/", 60.0)
        return process

    def start(self, arguments: list[str], environment: Mapping[str, str] = {}) -> Process:
        told = bare_environment() | {"PYTHONPATH": str(self._packages)} | dict(environment)
        return Forked(arguments, environment=told, name=arguments[0], directory=self.folder)


def _words(command: str) -> list[str]:
    """Split a command of the page as a shell does; without `python`."""
    return shlex.split(command)[1:]
